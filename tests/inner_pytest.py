"""A run of pytest on a file of its own, with this project's workers and repeats."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

CONFTEST: Final = """
from tests.repeats import Repeats
from tests.workers import Workers
def pytest_addoption(parser):
    parser.addoption("--workers", type=int, default=0)
    parser.addoption("--repeated", action="store_true")
def pytest_configure(config):
    config.addinivalue_line("markers", "one_worker(name): run together")
    config.pluginmanager.register(Repeats())
    if config.getoption("--workers"):
        config.pluginmanager.register(Workers(config.getoption("--workers")))
"""


def start(folder: Path, tests: str, *options: str) -> subprocess.Popen[str]:
    """Start pytest on these tests, in `test_it.py` of a folder."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    chosen = ["-q", "--rootdir", str(folder), "-c", "/dev/null", *options, str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *chosen],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # the others take seconds to load
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on these tests; return its exit code and what it said."""
    with start(folder, tests, *options) as program:
        said, errors = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, said, errors)
