"""Alerts over the API: who may read which, what acknowledging does, and what leaves by webhook and event."""

import json
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.alerts.rules import ESCALATE_MS, HOLD_MS, Evidence, Report
from tests.csms.api.receiver import Receiver
from tests.csms.api.support import ApiClient
from tests.csms.api_support import batch, record
from v2g.telemetry.local_events import reported
from v2g.telemetry.signals import TAGGED_SCHEMA

HEAT = {"battery.temperature.max": 61.0}


async def deliver_finding(ask: ApiClient, seq: int, *, ev: str = "EV-1", raised: bool = True) -> None:
    """Deliver what a vehicle's gateway found, as that would."""
    data = {"kind": "over_temperature", "severity": "error", "raised": raised, "value": 61.0, "limit": 55.0}
    event = reported("gateway", "telemetry", "battery_finding", ask.backend.clock.utc_ms(), data)
    tagged = {"trip": "1-0", "ambient_c": None, "charging_w": None, "schema": TAGGED_SCHEMA}
    made = record(seq, ev=ev, keyframe=True, signals=HEAT, event=event, **tagged)
    answer = await ask("POST", "/telemetry", batch(made), role=Role.GATEWAY)
    assert (answer.status, answer.json["refused"]) == (200, [])


def station_alert(ask: ApiClient, *, raised: bool = True) -> Report:
    at_ms = ask.backend.clock.utc_ms()
    return Report("station", "CS-V2G-0001", "station_silent", "warning", at_ms, raised, Evidence(900.0, 600.0))


@pytest.mark.requirement("R125")
async def test_a_finding_is_one_alert_with_its_samples_that_ends(ask: ApiClient) -> None:
    for seq in (7, 9, 9, 8):
        await deliver_finding(ask, seq)
    (alert,) = (await ask("GET", "/alerts")).json
    assert (alert["subject_kind"], alert["subject"], alert["kind"]) == ("vehicle", "EV-1", "over_temperature")
    assert (alert["value"], alert["limit"], alert["facts"]) == (61.0, 55.0, HEAT)
    assert (alert["severity"], alert["cleared_ms"], alert["count"]) == ("error", None, 1)
    assert (await ask("GET", f"/alerts/{alert['alert_id']}")).json == alert
    ask.backend.clock.advance(1)
    await deliver_finding(ask, 10, raised=False)
    assert (await ask("GET", "/alerts?active=true")).json == []
    (ended,) = (await ask("GET", "/alerts?active=false&subject=EV-1")).json
    assert ended["cleared_ms"] == ask.backend.clock.utc_ms()
    assert (await ask("GET", "/alerts?subject=EV-2")).json == []


@pytest.mark.some(2)
@pytest.mark.requirement("R113", "R125")
@pytest.mark.parametrize(
    ("role", "subjects"),
    [
        (Role.ADMIN, {"EV-1", "EV-2", "CS-V2G-0001"}),
        (Role.OPERATOR, {"CS-V2G-0001"}),
        (Role.VIEWER, {"CS-V2G-0001"}),
        (Role.DRIVER, {"EV-1"}),
        (Role.FLEET, {"EV-1"}),
        (Role.INSURER, None),
        (Role.GATEWAY, None),
        (Role.GRID_OPERATOR, None),
    ],
)
async def test_a_caller_sees_alerts_of_what_it_may_read(ask: ApiClient, role: Role, subjects: set[str] | None) -> None:
    await deliver_finding(ask, 1)
    await deliver_finding(ask, 1, ev="EV-2")
    await ask.alerts.take([station_alert(ask)])
    answer = await ask("GET", "/alerts", role=role)
    assert answer.status == (403 if subjects is None else 200)
    if subjects is not None:
        assert {each["subject"] for each in answer.json} == subjects
    for each in (await ask("GET", "/alerts")).json:
        status = 403 if subjects is None else 200 if each["subject"] in subjects else 404
        assert (await ask("GET", f"/alerts/{each['alert_id']}", role=role)).status == status
        if role is not Role.VIEWER:
            path = f"/alerts/{each['alert_id']}/acknowledge"
            assert (await ask("POST", path, {}, role=role)).status == status


@pytest.mark.requirement("R125")
async def test_alerts_are_posted_once_each_and_escalated_until_they_are_acknowledged(ask: ApiClient) -> None:
    async with Receiver().running() as receiver:

        async def said() -> dict[str, Any]:
            ask.alerts.wake()
            event: dict[str, Any] = json.loads((await receiver.call())[1])
            return {"kind": event["kind"], "station": event.get("station_id"), **event["data"]}

        await ask("POST", "/webhooks", {"url": receiver.url, "kinds": ["alert_raised", "alert_cleared"]})
        await ask("POST", "/webhooks", {"url": receiver.url, "kinds": ["alert_escalated"]})
        await deliver_finding(ask, 1)
        await deliver_finding(ask, 2)
        raised = await said()
        assert (raised["kind"], raised["subject_kind"], raised["severity"]) == ("over_temperature", "vehicle", "error")
        assert "EV-1" not in json.dumps(raised), "who may know the vehicle reads the alert"
        assert (await ask("GET", f"/alerts/{raised['alert']}")).json["subject"] == "EV-1"
        await ask.alerts.take([station_alert(ask)])
        assert (await said())["station"] == "CS-V2G-0001"
        ask.backend.clock.advance(ESCALATE_MS[0] / 1000)
        assert (await said())["alert"] == raised["alert"]
        note = {"note": "towed"}
        seen = await ask("POST", f"/alerts/{raised['alert']}/acknowledge", note)
        assert (seen.json["acknowledged_by"], seen.json["note"]) == ("admin", "towed")
        await deliver_finding(ask, 3, raised=False)
        ask.backend.clock.advance(HOLD_MS / 1000)
        assert (await said())["alert"] == raised["alert"]
        assert receiver.calls.empty()


async def test_an_acknowledgement_is_audited(ask: ApiClient) -> None:
    await ask.alerts.take([station_alert(ask)])
    (alert,) = (await ask("GET", "/alerts")).json
    await ask("POST", f"/alerts/{alert['alert_id']}/acknowledge", {"note": "on it"}, role=Role.OPERATOR)
    entry = (await ask("GET", "/audit")).json[0]
    assert (entry["operation"], entry["caller"]) == ("acknowledge_alert", "operator")
    assert (await ask("POST", "/alerts/999/acknowledge", {})).status == 404


@pytest.mark.requirement("R125")
async def test_who_reads_all_of_a_kind_may_silence_it_for_a_while(ask: ApiClient) -> None:
    now_ms = ask.backend.clock.utc_ms()
    body = {"subject_kind": "station", "subject": "CS-V2G-0001", "until_ms": now_ms + 60_000, "note": "replaced"}
    made = await ask("POST", "/alert-silences", body, role=Role.OPERATOR)
    assert (made.status, made.json["created_by"], made.json["kind"]) == (201, "operator", "")
    path = f"/alert-silences/{made.json['silence_id']}"
    assert (await ask("GET", path)).json == made.json
    assert (await ask("GET", "/alert-silences", role=Role.VIEWER)).json == [made.json]
    assert (await ask("GET", "/alert-silences", role=Role.DRIVER)).json == []
    assert (await ask("GET", path, role=Role.DRIVER)).status == 404
    assert (await ask("POST", "/alert-silences", body, role=Role.VIEWER)).status == 403
    of_vehicle = {"subject_kind": "vehicle", "subject": "EV-1", "until_ms": now_ms + 60_000}
    assert (await ask("POST", "/alert-silences", of_vehicle, role=Role.DRIVER)).status == 403, "others rely on it"
    assert (await ask("POST", "/alert-silences", body | {"until_ms": now_ms})).status == 409
    assert (await ask("POST", "/alert-silences", body | {"kind": "No\nkind"})).status == 400
    assert (await ask("DELETE", path, role=Role.BILLING)).status == 404
    assert (await ask("DELETE", path, role=Role.OPERATOR)).status == 204
    assert (await ask("DELETE", path)).status == 404
    assert (await ask("GET", "/audit")).json[0]["operation"] == "end_alert_silence"


async def test_rules_in_force_are_listed(ask: ApiClient) -> None:
    found = {each["name"]: each for each in (await ask("GET", "/alert-rules", role=Role.VIEWER)).json}
    assert found["over_temperature"]["limit"] == 80
    assert found["over_temperature"]["clear"] == 75
    assert (await ask("GET", "/alerts?kind=over_temperature")).json == []
