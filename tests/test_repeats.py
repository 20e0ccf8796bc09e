"""Only tests that start programs are repeated, and the last line names them."""

from pathlib import Path

import pytest

from tests.inner_pytest import run
from tests.repeats import REPEATABLE

PROGRAM = """
import pathlib, subprocess, sys
def test_program():
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)
    seen = pathlib.Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
PLAIN = "\ndef test_plain():\n    assert False\n"


@pytest.mark.long  # runs pytest
@pytest.mark.parametrize("workers", ["2", "0"])
def test_a_test_of_a_program_may_fail_once(tmp_path: Path, workers: str) -> None:
    grouped = PROGRAM.replace("def test_program", 'import pytest\n@pytest.mark.one_worker("a")\ndef test_program')
    tests = f"{grouped}\ndef test_right():\n    pass\n"
    kept = ("-o", f"cache_dir={tmp_path}/cache")
    assert run(tmp_path, tests, "--workers", workers, *kept).returncode == REPEATABLE
    again = run(tmp_path, tests, "--last-failed", "--repeated", *kept)
    assert (again.returncode, again.stdout.splitlines()[-2:][0][:11]) == (0, "1 repeated:"), again.stdout


@pytest.mark.long  # runs pytest
@pytest.mark.parametrize("workers", ["2", "0"])
def test_any_other_failure_is_one(tmp_path: Path, workers: str) -> None:
    grouped = PLAIN.replace("def", 'import pytest\n@pytest.mark.one_worker("a")\ndef')
    kept = ("-o", f"cache_dir={tmp_path}/cache")
    first = run(tmp_path, PROGRAM + grouped, "--workers", workers, *kept)
    assert first.returncode == pytest.ExitCode.TESTS_FAILED
    again = run(tmp_path, PROGRAM + grouped, "--last-failed", *kept)
    assert "1 failed, 1 passed" in again.stdout, "both are known by their names without a group"


def test_a_serial_line_is_one_of_real_time(tmp_path: Path) -> None:
    line = "import os\ndef test_line():\n    os.open(os.ttyname(os.openpty()[1]), os.O_RDWR)\n    assert False\n"
    assert run(tmp_path, line).returncode == REPEATABLE


def test_a_run_without_a_cache_ends_as_well(tmp_path: Path) -> None:
    """As those of mutants."""
    assert run(tmp_path, PROGRAM, "-p", "no:cacheprovider").returncode == REPEATABLE
