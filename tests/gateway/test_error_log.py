"""The error log: lines of the published form, whatever the detail holds."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.gateway import EV, NOBODY
from tests.gateway.local_source import gateway, program
from v2g.events import reported_by
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.storage.growing_file import LogFiles
from v2g.observe import Observe
from v2g.telemetry.error_codes import CODES, LINE, error_line
from v2g_cli.diag.can import explain
from v2g_gateway.app import ErrorLog
from v2g_gateway.config import GatewayConfig

ERRORS = {each.name: each.code for each in reported_by("gateway") if each.code}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"
PUBLISHED = re.compile(PAGE.read_text().partition("<!-- error log -->\n```text\n")[2].partition("\n```")[0])


@pytest.mark.requirement("R158")
@given(st.integers(0, 2**42), st.sampled_from(sorted(CODES)), st.text(max_size=2000))
def test_every_line_has_the_published_form(utc_ms: int, code: int, detail: str) -> None:
    line = error_line(utc_ms, "ERROR", code, detail)
    assert line.endswith("\n")
    found = PUBLISHED.fullmatch(line[:-1])
    assert found is not None
    assert (int(found["code"], 16), found["name"]) == (code, CODES[code].name)
    assert PUBLISHED.pattern == LINE.replace(r"\Z", "$")  # as grep has it
    assert len(line) < 1200


@pytest.mark.requirement("R158")
def test_errors_are_lines_and_other_events_are_not(tmp_path: Path) -> None:
    passed: list[Observe] = []
    path = tmp_path / "v2g-bridge.log"
    at = Clock(ClockConfig(origin_monotonic=0.0, origin_utc_ms=1_900_000_000_000))
    log = ErrorLog(path, LogFiles(), at, passed.append)
    log(Observe("telemetry", "started", {"transport": "mqtt"}))
    for name in ERRORS:
        log(Observe(*name.split("."), {"reason": "https://user:secret@host/ \x1b[31m\nfake", "hint": "h", "x": None}))
    log.close()
    lines = path.read_text().splitlines()
    assert [PUBLISHED.fullmatch(line) is not None for line in lines] == [True] * len(ERRORS)
    assert not any("secret" in line or "\x1b" in line for line in lines)
    assert len(passed) == len(ERRORS) + 1
    assert {each.code for each in explain(lines)} == {f"0x{code:X} {CODES[code].name}" for code in ERRORS.values()}


def test_a_full_file_is_turned_and_a_lost_one_is_no_failure(tmp_path: Path) -> None:
    log = ErrorLog(tmp_path / "e.log", LogFiles(max_mib=1, keep=1), Clock(), lambda _: None)
    for _ in range(2500):
        log(Observe("telemetry", "waiting", {"reason": "x" * 490}))
    while not all((tmp_path / name).exists() for name in ("e.log.1", "e.log")):  # a thread turns it, opens the next one
        time.sleep(0)
    log.close()
    assert {each.name for each in tmp_path.iterdir()} == {"e.log", "e.log.1"}
    ErrorLog(None, LogFiles(), Clock(), lambda _: None)(Observe("telemetry", "waiting", {}))


@pytest.mark.requirement("R159")
async def test_a_message_timeout_of_charger_or_vehicle_is_0x1a4_with_its_hint(tmp_path: Path) -> None:
    async with program(tmp_path) as (local, log), gateway(tmp_path) as events:
        while not local.is_read:
            pass_ = [each.name for each in events]
            assert "task_failed" not in pass_
            await _tick()
        log(Observe("session", "failed", {"reason": "message_timeout", "awaiting": "SessionSetupRes", "error": "x"}))
        log(Observe("session", "ended", {"reason": "finished"}))
        log(Observe("session", "failed", {"reason": "TimeoutExpired"}))
        while "message_timeout" not in [each.name for each in events]:
            await _tick()
    (timeout,) = [each for each in events if each.name == "message_timeout"]
    assert timeout.data == {"program": "evcc", "reason": "message_timeout", "awaiting": "SessionSetupRes"}
    errors = ErrorLog(tmp_path / "e.log", LogFiles(), Clock(), lambda _: None)
    errors(timeout)
    errors.close()
    (line,) = (tmp_path / "e.log").read_text().splitlines()
    assert " ERROR 0x1A4 ISO15118_MSG_TIMEOUT program=evcc" in line
    assert CODES[0x1A4].hint in line


async def _tick() -> None:
    import asyncio

    await asyncio.sleep(0.01)


@pytest.mark.requirement("R112")
async def test_a_gateway_whose_schema_is_not_registered_says_0x2b9(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    async with gateway(tmp_path, schemas=tmp_path / "schemas") as events:
        pass
    (event,) = [each for each in events if each.name == "schema_unregistered"]
    assert event.data["schema"] == "v2g-telemetry/5"
    assert event.declaration.code == 0x2B9


def test_the_log_is_off_by_default() -> None:
    assert GatewayConfig(ev=EV, outbox=Path("o"), mqtt=NOBODY).error_log is None
