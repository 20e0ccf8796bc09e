"""`v2g vtn`: what its lines do, what it refuses, and that an independent OpenADR client gets on with it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from openadr3.api import OpenADRClient
from typer.testing import CliRunner

from tests.together import together
from v2g.errors import ConfigError
from v2g_cli.main import app
from v2g_cli.simulators import obey_vtn
from v2g_testkit.vtn import Vtn, fault_of

PERIOD = {"start": "2026-11-21T00:00:00Z", "duration": "PT1H"}
EVENT = {"intervalPeriod": PERIOD, "intervals": [{"id": 0, "payloads": [{"type": "PRICE", "values": [0.17]}]}]}


def test_lines_publish_show_and_delete_events() -> None:
    """As JSON, the program filled in."""
    vtn = Vtn()
    program = vtn.put("programs", {"programName": "depot"})["id"]
    event_id = obey_vtn(vtn, program, f"event {json.dumps(EVENT)}").strip()
    assert json.loads(obey_vtn(vtn, program, "show"))["programID"] == program
    assert obey_vtn(vtn, program, "reports") == ""
    assert obey_vtn(vtn, program, f"delete {event_id}") == ""
    assert vtn.objects["events"] == {}


@together(
    "line", ["dance", "event", "event {", "event 5", 'event {"priority": -1}', "delete nothing", f"event {'[' * 5000}"]
)
def test_a_line_that_is_no_command_says_so(line: str) -> None:
    """With what to do."""
    with pytest.raises(ConfigError) as refused:
        obey_vtn(Vtn(), "program-1", line)
    assert str(refused.value)


@pytest.mark.parametrize(
    ("request_", "changed", "where"),
    [
        ("eventRequest", {"programID": "a b"}, "$.programID"),
        ("eventRequest", {"duration": "1 hour"}, "$.duration"),
        ("eventRequest", {"intervals": [{"payloads": []}]}, "$.intervals[0]"),
        ("programRequest", {"programName": ""}, "$.programName"),
        ("reportRequest", {"resources": [{"resourceName": "a"}]}, "$.resources[0]"),
    ],
)
def test_a_body_that_the_api_does_not_have_is_refused_where_it_is_wrong(
    request_: str, changed: dict[str, Any], where: str
) -> None:
    """By the schemas of the API."""
    whole = {
        "eventRequest": {"programID": "p", **EVENT},
        "programRequest": {"programName": "p"},
        "reportRequest": {"eventID": "e", "clientName": "c", "resources": []},
    }[request_]
    assert fault_of(request_, whole) is None
    assert (fault_of(request_, whole | changed) or "").startswith(f"{where}: ")


async def test_an_independent_client_gets_on_with_it() -> None:
    """The package `openadr3` asks for programs and events, and writes some."""
    vtn = Vtn()
    port = await vtn.start(0)

    def use() -> None:
        import httpx

        token = httpx.post(
            f"http://127.0.0.1:{port}/auth/token",
            data={"grant_type": "client_credentials", "client_id": "bl_client", "client_secret": "bl_secret"},
        ).json()["access_token"]
        with OpenADRClient(f"http://127.0.0.1:{port}", token) as client:
            program = client.create_program({"programName": "tariff"}).json()
            client.create_event({"programID": program["id"], **EVENT})
            assert [each.program_name for each in client.programs()] == ["tariff"]
            (event,) = client.events()
            assert [str(payload.values[0]) for payload in event.intervals[0].payloads] == ["0.17"]

    try:
        await asyncio.to_thread(use)
    finally:
        await vtn.close()


def test_a_file_of_events_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Exit code 2 and one line."""
    for text in ("{", "{}", '[{"priority": "high"}]'):
        (tmp_path / "events.json").write_text(text)
        result = CliRunner().invoke(app, ["vtn", "--port", "0", "--events", str(tmp_path / "events.json")])
        assert isinstance(result.exception, ConfigError)


def test_an_alert_may_begin_at_the_day_that_means_now() -> None:
    for start, right in (("0001-01-01", True), ("2026-11-27T10:00:00Z", True), ("2026-11-27", False)):
        event = {"programID": "p", "intervalPeriod": {"start": start}, "intervals": []}
        fault = fault_of("eventRequest", event) or ""
        assert ("start" not in fault) is right, fault
