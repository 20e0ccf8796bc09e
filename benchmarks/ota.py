"""Updates over the air: size of a patch, what it costs a charger to apply it, and how long an installation takes."""

import asyncio
import gzip
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, median
from v2g.errors import ConfigError
from v2g.io.ota.folder_installer import FolderInstaller

ABOUT = "a patch between two states of this project's own code, and the installation of the image"
REQUIREMENTS = ("R134",)

_ROOT = Path(__file__).parent.parent
_BACK = 200
"""How many commits the older state is behind."""
_MIB = 1024 * 1024

_APPLY = """
import resource, sys
from detools import apply_patch
if len(sys.argv) > 1:
    old, patch, new = sys.argv[1:]
    with open(old, "rb") as before, open(patch, "rb") as difference, open(new, "wb") as after:
        apply_patch(before, difference, after)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
"""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the ratio of sizes, time and memory of applying, and the time of an installation. Raises ConfigError."""
    from detools import create_patch

    with tempfile.TemporaryDirectory() as folder:
        old, new, patch, made = (Path(folder) / name for name in ("old", "new", "patch", "made"))
        old.write_bytes(_tree(f"HEAD~{5 if quick else _BACK}", quick=quick))
        new.write_bytes(_tree("HEAD", quick=quick))
        for packed in (False, True):
            if packed:
                for each in (old, new):
                    each.write_bytes(gzip.compress(each.read_bytes(), mtime=0))
            with old.open("rb") as before, new.open("rb") as after, patch.open("wb") as into:
                create_patch(before, after, into)
            whole = new.stat().st_size
            yield Figure(
                f"patch, share of the {'compressed ' if packed else ''}image",
                100 * patch.stat().st_size / whole,
                "%",
                note=f"{patch.stat().st_size / 1024:.0f} KiB for {whole / _MIB:.1f} MiB",
            )
            if not packed:
                yield from _applied(old, patch, new, made)
                yield _installed(new, Path(folder) / "slots", 1 if quick else 5)


def _tree(commit: str, *, quick: bool) -> bytes:
    command = ["git", "archive", "--format=tar", commit, "v2g/ocpp" if quick else "."]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ConfigError(f"git archive {commit}: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout


def _applied(old: Path, patch: Path, new: Path, made: Path) -> Iterator[Figure]:
    bare, _ = _usage()
    peak, seconds = _usage(old, patch, made)
    if hashlib.sha256(made.read_bytes()).digest() != hashlib.sha256(new.read_bytes()).digest():
        raise ConfigError("the patch does not make the image")
    note = f"an image of {new.stat().st_size / _MIB:.1f} MiB, hash-exact"
    yield Figure("CPU to apply a patch", seconds, "s", note=note)
    note = f"the whole process, of which {bare / 1024:.0f} MiB before it begins"
    yield Figure("peak memory to apply a patch", peak / 1024, "MiB", note=note)


def _usage(*files: Path) -> tuple[int, float]:
    """Return peak memory (KiB) and CPU (s) of a process that applies a patch; without files, of one that does not."""
    done = subprocess.run([sys.executable, "-c", _APPLY, *map(str, files)], capture_output=True, text=True, check=True)
    peak, seconds = done.stdout.split()
    return int(peak), float(seconds)


def _installed(image: Path, slots: Path, times: int) -> Figure:
    spans = []
    for _ in range(times):
        installer = FolderInstaller(slots, restart=lambda: None)
        installer.boot()
        start = time.perf_counter()
        asyncio.run(_install(installer, image))
        spans.append(time.perf_counter() - start)
    return Figure(
        "installation: write the other slot, start it, confirm it",
        median(spans),
        "s",
        note=f"{times} times, {image.stat().st_size / _MIB:.1f} MiB, durable; without download and restart",
    )


async def _install(installer: FolderInstaller, image: Path) -> None:
    await installer.install(image)
    await installer.activate()
    installer.boot()
    await installer.confirm()
