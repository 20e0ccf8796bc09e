"""The monitor in C, compiled."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "board"

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return what builds a file of `board/Makefile`, with that compiler, from the sources in a folder."""

    def run(name: str, compiler: str = "gcc", sources: Path = SOURCES, checks: str | None = None) -> Path:
        if shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed")
        folder = tmp_path_factory.mktemp("board")
        command = ["make", "-C", str(sources), f"OUT={folder}", f"CC={compiler}", str(folder / name)]
        done = subprocess.run(
            command + ([] if checks is None else [f"WARNINGS={checks}"]), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return folder / name

    return run
