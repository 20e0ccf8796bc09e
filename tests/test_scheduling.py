"""Each test runs once, in the worker of its group, also where a worker crashes; each failure is reported."""

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
@pytest.fixture(params=["before", "after"])
def broken(request):
    assert request.param == "after"
    yield
    assert False
def test_broken(broken):
    note("broken")
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
    assert Counter(name for name, _ in ran if name not in ("crash", "broken")) == Counter(expected), done.stdout
    assert len({worker for name, worker in ran if name.startswith("together")}) == 1
    assert "1 failed, 70 passed, 2 errors" in done.stdout, done.stdout
    assert sum(name == "crash" for name, _ in ran) == 1


PART = """
import os, pathlib
ran = pathlib.Path(__file__).with_name("ran")
def note(what):
    with ran.open("a") as file:
        file.write(what + " " + os.environ["PYTEST_XDIST_WORKER"] + chr(10))
note("collected " + __name__)
def test_it():
    note("ran " + __name__)
"""


@pytest.mark.long  # runs pytest
@pytest.mark.parametrize("crash", ["", "in a test", "while collecting"])
def test_a_worker_collects_two_parts_and_what_has_groups(tmp_path: Path, crash: str) -> None:
    names = [f"test_{each:02}" for each in range(40)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(PART)
    ends = {"": "", "in a test": "    os._exit(1)", "while collecting": "if 'gw1' in os.environ.values(): os._exit(1)"}
    (tmp_path / "test_20.py").write_text(f"{PART}{ends[crash]}\n")
    for name in ("test_03", "test_37"):
        (tmp_path / f"{name}.py").write_text(f"{PART}import pytest\npytestmark = pytest.mark.xdist_group('all')\n")
    chosen = ["-q", "--rootdir", str(tmp_path), "-c", "/dev/null", "-p", "xdist", "-p", "no:cacheprovider"]
    several = ["-o", "testpaths=.", "-n", "5", "--dist", "loadgroup", "--import-mode", "importlib"]
    command = [sys.executable, "-m", "pytest", *chosen, "-p", "tests.scheduling", *several]
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ("1 failed, 39 passed" if crash == "in a test" else "40 passed") in done.stdout, done.stdout
    notes = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    ran = Counter(name for what, name, _ in notes if what == "ran")
    assert ran == Counter(names)
    assert len({worker for what, name, worker in notes if what == "ran" and name in ("test_03", "test_37")}) == 1
    first = {f"gw{each}" for each in range(5)}
    collected = Counter(name for what, name, worker in notes if what == "collected" and worker in first)
    assert crash == "while collecting" or collected == {
        name: 5 if name in ("test_03", "test_37") else 2 for name in names
    }
