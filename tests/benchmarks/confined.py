"""A control group of Linux that gives programs no more processor and memory than a small computer has."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000


@contextlib.contextmanager
def confined(*, mib: int, cores: float) -> Iterator[list[Path]]:
    """Yield files that take the id of a process to confine. Skips a test that may not make groups."""
    octets, quota = mib * 1024 * 1024, round(cores * PERIOD_US)
    if (ROOT / "cgroup.controllers").exists():
        limits = {"": {"memory.max": octets, "memory.swap.max": 0, "cpu.max": f"{quota} {PERIOD_US}"}}
    else:
        limits = {
            "memory": {"memory.limit_in_bytes": octets},
            "cpu": {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota},
        }
    groups = []
    try:
        for controller, values in limits.items():
            groups.append(group := ROOT / controller / f"v2g-{os.getpid()}")
            try:
                group.mkdir()
                for name, value in values.items():
                    (group / name).write_text(str(value))
            except OSError as error:
                pytest.skip(f"no control group: {error}")
        yield [group / "cgroup.procs" for group in groups]
    finally:
        for group in groups:
            with contextlib.suppress(OSError):
                group.rmdir()
