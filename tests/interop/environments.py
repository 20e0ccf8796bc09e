"""Environments of their own for peers: made at first use, kept in .cache/, one process at a time."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"


def environment(name: str, *installs: tuple[str, ...]) -> Path:
    """Return the interpreter of `.cache/NAME/venv`; each of `installs` are arguments of `pip install`.

    `{folder}` in them stands for `.cache/NAME`.
    """
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    python = folder / "venv" / "bin" / "python"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for left in folder.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            _run(sys.executable, "-m", "venv", str(folder / "venv"))
            for arguments in installs:
                pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "5"]
                _run(*pip, *(each.format(folder=folder) for each in arguments))
            done.touch()
    return python


def _run(*command: str) -> None:
    """Run an installer as if from a shell: what our own interpreter was told (warnings, paths) is not its business."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(command, check=True, capture_output=True, env=kept)
