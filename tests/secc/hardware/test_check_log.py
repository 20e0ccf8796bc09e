"""Results of self-tests and checks: reported, kept over restarts, and the oldest forgotten."""

import stat
from pathlib import Path

import msgspec
import pytest

from secc.hardware.check_log import CheckLog, CheckResult, load_checks
from v2g.io.runtime.disk import DiskThread
from v2g.observe import Observe


def result(number: int) -> CheckResult:
    return CheckResult(7, "self_test", "", "", number)


async def keep(folder: Path, numbers: range) -> None:
    disk = DiskThread()
    log = CheckLog(folder, disk, utc_ms=lambda: 7, observe=lambda _: None)
    for each in numbers:
        log.keep("self_test", "", took_ms=each)
    await disk.close()


@pytest.mark.parametrize("failed", ["", "the contactor does not open"])
async def test_a_result_is_reported_and_kept(tmp_path: Path, failed: str) -> None:
    disk, events = DiskThread(), list[Observe]()
    log = CheckLog(tmp_path, disk, utc_ms=lambda: 7, observe=events.append)
    log.keep("contactor", failed, took_ms=30, session_id="0011223344556677")
    await disk.close()
    data = {
        "check": "contactor",
        "passed": not failed,
        "failed": failed,
        "took_ms": 30,
        "session_id": "0011223344556677",
    }
    assert events == [Observe("hardware", "checked", data)]
    assert load_checks(tmp_path) == (CheckResult(7, "contactor", "0011223344556677", failed, 30),)
    assert stat.S_IMODE((tmp_path / "checks.json").stat().st_mode) == 0o600


async def test_the_latest_500_are_kept_over_restarts(tmp_path: Path) -> None:
    (tmp_path / "checks.json").write_bytes(msgspec.json.encode([result(each) for each in range(498)]))
    await keep(tmp_path, range(498, 500))
    assert load_checks(tmp_path) == tuple(map(result, range(500)))
    await keep(tmp_path, range(500, 502))
    assert load_checks(tmp_path) == tuple(map(result, range(2, 502)))


async def test_a_file_that_cannot_be_read_is_no_results(tmp_path: Path) -> None:
    assert load_checks(tmp_path) == ()
    (tmp_path / "checks.json").write_text("{")
    assert load_checks(tmp_path) == ()
    await keep(tmp_path, range(1))
    assert load_checks(tmp_path) == (result(0),)


async def test_a_disk_that_refuses_loses_results_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await keep(tmp_path / "file", range(1))
    assert load_checks(tmp_path / "file") == ()
