"""Starts a program of ours with three faults that a test switches on from outside; the program itself has no switch.

`python -m tests.safety.launcher NAME --config FILE --events FILE`: HANG holds the event loop up for HUNG_S,
SLOW_DISK makes each write to the disk take SLOW_S from then on, SLOW_DRIVER the next word to the power modules HUNG_S.
"""

import contextlib
import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from v2g.hardware.interfaces import Demand
from v2g.io.can import CanPort
from v2g.io.runtime.program import arguments
from v2g.io.simulation.power import SimulatedStage

HANG: Final = signal.SIGHUP
SLOW_DISK: Final = signal.SIGUSR2
"""SIGUSR1 is taken: it lets a vehicle pause."""
SLOW_DRIVER: Final = signal.SIGALRM

PERIOD_US: Final = 20_000
HUNG_S: Final = 5.0
SLOW_S: Final = 10.0
SLOW: Final = "a slow write begins"
SLOW_CALL: Final = "a slow call begins at"
"""What is written to standard error then, and when it is (s, CLOCK_MONOTONIC)."""


def _hang(*_: object) -> None:
    """Run in the main thread, which is the event loop's: nothing else of it goes on meanwhile, threads do."""
    time.sleep(HUNG_S)


def _slow(*_: object) -> None:
    for name in ("fsync", "fdatasync"):
        prompt = getattr(os, name)

        def late(descriptor: int, prompt: object = prompt) -> None:
            sys.stderr.write(f"{SLOW}\n")
            time.sleep(SLOW_S)
            prompt(descriptor)  # type: ignore[operator]

        setattr(os, name, late)


def _slow_driver(*_: object) -> None:
    """Let one call take its time, and then do what it was called for."""
    send, drive = CanPort.send, SimulatedStage.drive

    def wait() -> None:
        CanPort.send, SimulatedStage.drive = send, drive  # type: ignore[method-assign]
        sys.stderr.write(f"{SLOW_CALL} {time.monotonic()}\n")
        time.sleep(HUNG_S)

    def late_send(port: CanPort, frame_id: int, data: bytes) -> None:
        wait()
        send(port, frame_id, data)

    def late_drive(stage: SimulatedStage, demand: Demand) -> None:
        wait()
        drive(stage, demand)

    CanPort.send, SimulatedStage.drive = late_send, late_drive  # type: ignore[method-assign]


def _limit(share: float) -> None:
    """Give this process that share of a core at the most, in periods of 20 ms, as a slow processor would have."""
    root = Path("/sys/fs/cgroup/cpu")
    for ended in root.glob("v2g-*"):
        with contextlib.suppress(OSError):  # in use
            ended.rmdir()
    group = root / f"v2g-{os.getpid()}"
    group.mkdir()
    (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
    (group / "cpu.cfs_quota_us").write_text(str(round(share * PERIOD_US)))
    (group / "cgroup.procs").write_text(str(os.getpid()))


if __name__ == "__main__":
    os.nice(int(os.environ.get("V2G_NICE", "0")))  # see tests/safety/reactions.py
    program = sys.argv.pop(1)
    if program == "secc" and (share := os.environ.get("V2G_SHARE")):
        _limit(float(share))
    signal.signal(HANG, _hang)
    signal.signal(SLOW_DISK, _slow)
    signal.signal(SLOW_DRIVER, _slow_driver)
    main = importlib.import_module(f"{program}.app").main
    sys.exit(main(*arguments(program, "A program with faults to switch on.")))
