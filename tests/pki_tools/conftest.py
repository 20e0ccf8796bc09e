"""A tree that a test may change, and openssl to judge it."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.packages import need

NOW = datetime.now(UTC).replace(microsecond=0)

Openssl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(pki: PkiTree, tmp_path: Path) -> PkiTree:
    """A copy of the tests' tree."""
    return PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "tree", symlinks=True)))


@pytest.fixture
def openssl() -> Openssl:
    """Return a function that runs openssl; it fails the test when the code is not 0, unless `check` says otherwise."""
    need("openssl", program="openssl")

    def run(*arguments: object, check: bool = True, given: str = "") -> subprocess.CompletedProcess[str]:
        command = ["openssl", *map(str, arguments)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run
