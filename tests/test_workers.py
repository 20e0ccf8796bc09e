"""Each test runs once, in the worker of its name, and is reported as it would be without workers."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.inner_pytest import run, start
from tests.waiting import until

TESTS = """
import os, pathlib, pytest
def note(what):
    with (pathlib.Path(__file__).parent / "ran").open("a") as file:
        file.write(f"{what} {os.getpid()}" + chr(10))
@pytest.mark.parametrize("number", range(60))
def test_alone(number):
    note(f"alone-{number}")
@pytest.mark.one_worker("together")
@pytest.mark.parametrize("number", range(9))
def test_together(number, subtests):
    for each in range(2):
        with subtests.test(each):
            pass
    note(f"together-{number}")
"""
CRASH = """
def test_crash():
    note("crash")
    os._exit(3)
"""
OUTCOMES = """
import pytest, warnings
@pytest.fixture(scope="session")
def shared():
    yield
    print("taken down")
def test_fails(shared):
    print("what it printed")
    assert 1 + 1 == 3
@pytest.mark.skip(reason="not here")
def test_skipped():
    pass
@pytest.mark.xfail(reason="a known one", strict=True)
def test_known():
    assert False
def test_warns(tmp_path):
    warnings.warn(RuntimeWarning("look at this"))
def test_parts(subtests):
    with subtests.test("the second"):
        assert False
@pytest.fixture
def broken():
    raise ValueError("no fixture")
def test_without(broken):
    pass
"""


def test_each_test_runs_once_and_those_of_a_name_in_one_worker(tmp_path: Path) -> None:
    done = run(tmp_path, TESTS + CRASH, "--workers", "3")
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    expected = {*(f"alone-{each}" for each in range(60)), *(f"together-{each}" for each in range(9)), "crash"}
    assert Counter(name for name, _ in ran) == Counter(expected), done.stdout
    assert len({worker for name, worker in ran if name.startswith("together")}) == 1
    assert len({worker for _, worker in ran}) >= 3
    assert "1 failed, 69 passed" in done.stdout, done.stdout
    assert "exit code 3" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.long  # runs pytest
def test_workers_that_crash_again_and_again_end_the_run(tmp_path: Path) -> None:
    crashes = "import os, pytest\n@pytest.mark.parametrize('n', range(90))\ndef test_crash(n):\n    os._exit(1)\n"
    done = run(tmp_path, crashes, "--workers", "2")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "3 workers have crashed" in done.stdout


@pytest.mark.long  # runs pytest
def test_what_a_crashed_worker_has_left_is_run(tmp_path: Path) -> None:
    done = run(tmp_path, f"{CRASH}{TESTS}".replace("def test_crash", "import os\ndef test_crash"), "--workers", "1")
    assert "1 failed, 69 passed" in done.stdout, done.stdout


def test_what_is_shown_is_what_one_process_shows(tmp_path: Path) -> None:
    def shown(*options: str) -> tuple[list[str], list[str]]:
        text = run(tmp_path, OUTCOMES, "-rA", *options).stdout
        summary = sorted(line for line in text.splitlines() if re.match(r"[A-Z]+ +(\[|test|.*test_it)", line))
        return summary, sorted(re.findall(r"look at this|what it printed|no fixture|\d+ \w+(?=[, ])", text))

    assert shown("--workers", "2") == shown()


@pytest.mark.long  # runs pytest
def test_the_first_failure_can_end_it(tmp_path: Path) -> None:
    fails = "def test_fails():\n    assert False\n"
    done = run(tmp_path, f"{fails}{TESTS}", "--workers", "2", "-x")
    assert "1 failed" in done.stdout
    assert "stopping after 1 failures" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.long  # runs pytest
async def test_workers_end_with_the_first_process(tmp_path: Path) -> None:
    waits = """
import multiprocessing, os, pathlib, pytest
@pytest.fixture(scope="session")
def shared():
    yield
    pathlib.Path(__file__).with_name(f"end-{os.getpid()}").touch()
@pytest.mark.parametrize("n", range(50))
def test_waits(n, shared):
    pathlib.Path(__file__).with_name(f"begin-{os.getpid()}").touch()
    multiprocessing.parent_process().join()
"""
    with start(tmp_path, waits, "--workers", "2") as program:
        await until(lambda: len(list(tmp_path.glob("begin-*"))) == 2)
        program.kill()
        await until(lambda: len(list(tmp_path.glob("end-*"))) == 2)
