"""Each test runs once, in the worker of its group, also where a worker crashes."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TESTS = """
import os, pathlib, pytest
def note(what):
    with (pathlib.Path(__file__).parent / "ran").open("a") as file:
        file.write(what + " " + os.environ["PYTEST_XDIST_WORKER"] + chr(10))
@pytest.mark.parametrize("number", range(60))
def test_alone(number):
    note(f"alone-{number}")
@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(9))
def test_together(number, subtests):
    for each in range(2):
        with subtests.test(each):
            pass
    note(f"together-{number}")
def test_crash():
    note("crash")
    os._exit(1)
"""


@pytest.mark.long  # runs pytest
def test_each_test_runs_once_and_a_group_in_one_worker(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    chosen = ["-q", "--rootdir", str(tmp_path), "-c", "/dev/null", "-p", "xdist", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *chosen, "-p", "tests.scheduling", "-n", "2", "--dist", "loadgroup"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True)
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    expected = {*(f"alone-{each}" for each in range(60)), *(f"together-{each}" for each in range(9))}
    assert Counter(name for name, _ in ran if name != "crash") == Counter(expected), done.stdout
    assert len({worker for name, worker in ran if name.startswith("together")}) == 1
    assert "1 failed, 69 passed" in done.stdout, done.stdout
    assert sum(name == "crash" for name, _ in ran) == 1
