"""Functional block R, control of distributed energy resources, beyond the cases of the test lab."""

import msgspec
import pytest

from csms.dispatch import der_controls as der
from csms.dispatch.der import DerService
from csms.dispatch.rules import reported
from csms.requests import store as requests
from tests.csms.backend import Backend
from tests.csms.scripted_station import ScriptedStation
from v2g.errors import RefusedError
from v2g.ocpp.messages.der_control import (
    DERCurve,
    DERCurvePoint,
    FixedPF,
    Gradient,
    LimitMaxDischarge,
    ReportDERControlRequest,
    SetDERControlRequest,
)

CURVE = DERCurve(
    curve_data=(DERCurvePoint(x=51.5, y=0.2), DERCurvePoint(x=52.0, y=0.1)), priority=2, y_unit="Not_Applicable"
)
TRIP = SetDERControlRequest(is_default=True, control_id="trip-1", control_type="HFMustTrip", curve=CURVE)
HALF = SetDERControlRequest(
    is_default=False,
    control_id="half-1",
    control_type="LimitMaxDischarge",
    limit_max_discharge=LimitMaxDischarge(priority=1, pct_max_discharge_power=50.0),
)


async def station_of(csms: Backend) -> ScriptedStation:
    station = await csms.booted(version="2.1")
    for action in ("SetDERControl", "GetDERControl", "ClearDERControl"):
        station.answers[action] = {"status": "Accepted"}
    return station


async def known(csms: Backend, station: ScriptedStation) -> dict[str, tuple[bool, bool]]:
    found = await csms.services.store.run(der.controls, station.id)
    return {each["control_id"]: (each["superseded"], each["started"]) for each in found}


async def test_controls_are_stored_until_they_end(csms: Backend) -> None:
    station = await station_of(csms)
    service = DerService(csms.services)
    for control in (TRIP, HALF):
        assert (await service.set(station.id, control)).status == "Accepted"
    assert [each["controlType"] for each in station.payloads("SetDERControl")] == ["HFMustTrip", "LimitMaxDischarge"]
    station.answers["SetDERControl"] = {"status": "Accepted", "supersededIds": ["trip-1"]}
    newer = msgspec.structs.replace(TRIP, control_id="trip-2")
    await service.set(station.id, newer)
    assert await known(csms, station) == {
        "half-1": (False, False),
        "trip-1": (True, False),
        "trip-2": (False, False),
    }
    started = {"controlId": "half-1", "started": True, "timestamp": "2026-01-01T00:00:00Z"}
    assert await station.call("NotifyDERStartStop", started) == {}
    assert (await known(csms, station))["half-1"] == (False, True)
    await station.call("NotifyDERStartStop", {**started, "started": False})
    assert "half-1" not in await known(csms, station)  # R04.FR.10
    await service.clear(station.id, is_default=True, control_type="HFMustTrip")
    assert await known(csms, station) == {}
    assert station.payloads("ClearDERControl") == [{"isDefault": True, "controlType": "HFMustTrip"}]


async def test_alarms_are_stored(csms: Backend) -> None:
    station = await station_of(csms)
    alarm = {"controlType": "HFMustTrip", "gridEventFault": "OverFrequency", "timestamp": "2026-01-01T00:00:00Z"}
    assert await station.call("NotifyDERAlarm", alarm) == {}
    assert await station.call("NotifyDERAlarm", {**alarm, "alarmEnded": True}) == {}
    found = await csms.services.store.run(der.alarms, None, 9, station.id)
    assert [(each["fault"], each["ended"]) for each in found] == [("OverFrequency", True), ("OverFrequency", False)]
    told = [(each.stage, each.data["fault"], each.data["ended"]) for each in csms.events.named("der_alarm")]
    assert told == [("ocpp", "OverFrequency", False), ("ocpp", "OverFrequency", True)]


async def test_controls_are_mirrored_from_reports(csms: Backend) -> None:
    station = await station_of(csms)
    asked = await DerService(csms.services).get(station.id, control_type="HFMustTrip")
    assert station.payloads("GetDERControl") == [{"requestId": asked.request_id, "controlType": "HFMustTrip"}]
    curve = {
        "curve": msgspec.json.decode(msgspec.json.encode(CURVE)),
        "id": "old",
        "curveType": "HFMustTrip",
        "isDefault": True,
        "isSuperseded": True,
    }
    part = {"requestId": asked.request_id, "curve": [curve], "tbc": True}
    assert await station.call("ReportDERControl", part) == {}
    power = {"fixedPF": {"priority": 1, "displacement": 0.9, "excitation": True}, "id": "pf", "isDefault": True,
             "isSuperseded": False}  # fmt: skip
    await station.call("ReportDERControl", {"requestId": asked.request_id, "fixedPFInject": [power]})
    assert await known(csms, station) == {"old": (True, False), "pf": (False, False)}
    assert len(await csms.services.store.run(requests.parts, asked.request_id)) == 2
    reported = [(each.stage, each.data["tbc"]) for each in csms.events.named("der_report")]
    assert reported == [("ocpp", True), ("ocpp", False)]


@pytest.mark.parametrize("more", [True, False])
async def test_a_report_is_whole_with_its_last_part(csms: Backend, more: bool) -> None:
    station = await station_of(csms)
    asked = await DerService(csms.services).get(station.id)
    await station.call("ReportDERControl", {"requestId": asked.request_id, **({"tbc": True} if more else {})})
    kept = await csms.services.store.run(requests.find, asked.request_id)
    assert kept is not None
    assert (kept["done_ms"] is None) is more


async def test_a_control_that_starts_supersedes_others(csms: Backend) -> None:
    station = await station_of(csms)
    for control in (TRIP, HALF):
        await DerService(csms.services).set(station.id, control)
    started = {"controlId": "half-1", "started": True, "timestamp": "2026-01-01T00:00:00Z", "supersededIds": ["trip-1"]}
    await station.call("NotifyDERStartStop", started)
    assert await known(csms, station) == {"half-1": (False, True), "trip-1": (True, False)}
    (event,) = csms.events.named("der_start_stop")
    assert (event.stage, event.data["control"], event.data["started"]) == ("ocpp", "half-1", True)


async def test_a_report_that_a_station_does_not_send_is_not_waited_for(csms: Backend) -> None:
    station = await station_of(csms)
    for status, over in (("Accepted", False), ("NotSupported", True)):
        station.answers["GetDERControl"] = {"status": status}
        asked = await DerService(csms.services).get(station.id)
        kept = await csms.services.store.run(requests.find, asked.request_id)
        assert kept is not None
        assert (kept["done_ms"] is not None) is over


async def test_a_control_that_a_station_does_not_have_is_forgotten(csms: Backend) -> None:
    station = await station_of(csms)
    service = DerService(csms.services)
    await service.set(station.id, TRIP)
    for status, kept in (("NotSupported", ["trip-1"]), ("NotFound", [])):
        station.answers["ClearDERControl"] = {"status": status}
        assert (await service.clear(station.id, is_default=True, control_id="trip-1")).status == status
        assert list(await known(csms, station)) == kept


async def test_a_control_with_another_type_s_values_is_not_sent(csms: Backend) -> None:
    station = await station_of(csms)
    wrong = msgspec.structs.replace(TRIP, control_type="FixedPFAbsorb")
    with pytest.raises(RefusedError) as caught:
        await DerService(csms.services).set(station.id, wrong)
    assert caught.value.reason == "bad_control"
    assert not station.payloads("SetDERControl")


def test_everything_that_can_be_reported_is_a_control_that_could_be_set() -> None:
    from tests.ocpp.official import maximal, schema
    from v2g.ocpp.versions import read_payload

    root = schema("ReportDERControlRequest", "2.1")
    value = maximal(root, root)
    for curve in value["curve"]:
        curve["curveType"] = "HFMustTrip"
    report = read_payload(msgspec.json.encode(value), ReportDERControlRequest, "2.1")
    found = [control for control, _ in reported(report)]
    assert len(found) == 3 * 8  # three of each of eight kinds
    assert all(control.fits for control in found)
    assert not msgspec.structs.replace(HALF, gradient=Gradient(priority=1, gradient=1, soft_gradient=1)).fits
    assert SetDERControlRequest(
        is_default=True,
        control_id="x",
        control_type="FixedPFAbsorb",
        fixed_pf_absorb=FixedPF(priority=0, displacement=0.9, excitation=False),
    ).fits
