"""Functional block N, diagnostics: CSMS cases of OCPP 2.0.1 part 6."""

import json
from typing import Any

import pytest

from csms.db.queries import diagnostics as rows
from csms.services.authorization import local_lists
from csms.services.diagnostics import diagnostics, monitoring
from tests.certification.backend import Backend
from tests.certification.fleet import CUSTOMER, TOKENS, VALID, Start, accepted, device_event, parts_of, request_of
from tests.certification.monitors import EVSE_1, NOW, STATE, STATION, install
from tests.certification.scripted import Payload, ScriptedStation
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import CertificateHashData
from v2g.ocpp.messages.device_model import Component
from v2g.ocpp.messages.monitoring import MonitoringCriterion, SetMonitoringData

WIRE: dict[str, Payload] = {
    "EVSE": {"name": "EVSE", "evse": {"id": 1}},
    "ChargingStation": {"name": "ChargingStation"},
}


def wire(component: str, variable: str) -> Payload:
    """Return a component's variable as it is sent."""
    return {"component": WIRE[component], "variable": {"name": variable}}


# -- monitoring reports


async def report(
    csms: Backend,
    station: ScriptedStation,
    status: str,
    criteria: tuple[MonitoringCriterion, ...],
) -> Payload:
    """Have the back end ask for a report; unless it is empty, send it in two parts. Return the request."""
    station.answers["GetMonitoringReport"] = {"status": status}
    asked = await monitoring.report(csms.services, station.id, criteria)
    sent = station.payloads("GetMonitoringReport")[-1]
    assert sent.pop("requestId") == asked.request_id
    if status == "Accepted":
        for seq_no in (0, 1):
            monitor = {
                "component": WIRE["EVSE"],
                "variable": {"name": "Power"},
                "variableMonitoring": [
                    {"id": seq_no + 1, "transaction": False, "value": 5, "type": "Delta", "severity": 4}
                ],
            }
            part = {
                "requestId": asked.request_id, "seqNo": seq_no, "generatedAt": NOW, "tbc": seq_no == 0,
                "monitor": [monitor],
            }  # fmt: skip
            assert await station.call("NotifyMonitoringReport", part) == {}
        assert (await request_of(csms, asked.request_id))["done_ms"] is not None
        assert len(await parts_of(csms, asked.request_id)) == 2
        monitors = await csms.services.store.run(rows.list_monitors, station.id)
        assert [each["monitor_id"] for each in monitors] == [1, 2]
    return sent


async def test_tc_n_01_csms_report_by_criteria(csms: Backend) -> None:
    station = await csms.booted()
    sent = await report(csms, station, "EmptyResultSet", ("DeltaMonitoring",))
    assert sent == {"monitoringCriteria": ["DeltaMonitoring"]}
    sent = await report(csms, station, "Accepted", ("ThresholdMonitoring",))
    assert sent == {"monitoringCriteria": ["ThresholdMonitoring"]}


# -- setting and clearing monitors


def delta(component: Component, severity: int = 8) -> SetMonitoringData:
    """Return a monitor of a component's AvailabilityState."""
    return SetMonitoringData(value=1.0, type="Delta", severity=severity, component=component, variable=STATE)


async def test_tc_n_08_csms_set_one_monitor(csms: Backend) -> None:
    station = await csms.booted()
    install(station)
    (result,) = await monitoring.set_monitors(csms.services, station.id, [delta(EVSE_1)])
    assert result.status == "Accepted"
    (sent,) = station.payloads("SetVariableMonitoring")
    wanted = {"value": 1.0, "type": "Delta", "severity": 8, **wire("EVSE", "AvailabilityState")}
    assert sent == {"setMonitoringData": [wanted]}
    (monitor,) = await csms.services.store.run(rows.list_monitors, station.id)
    assert (monitor["monitor_id"], monitor["severity"], monitor["source"]) == (1, 8, "CustomMonitor")


async def test_tc_n_09_csms_set_monitors_of_two_components(csms: Backend) -> None:
    station = await csms.booted()
    install(station)
    results = await monitoring.set_monitors(csms.services, station.id, [delta(EVSE_1), delta(STATION)])
    assert [each.status for each in results] == ["Accepted"] * 2
    (sent,) = station.payloads("SetVariableMonitoring")
    assert [each["component"]["name"] for each in sent["setMonitoringData"]] == ["EVSE", "ChargingStation"]


def clearing(station: ScriptedStation, status: str = "Accepted") -> None:
    """Let a station answer so to each monitor that shall go; it takes two in a message."""
    install(station)
    station.answers["ClearVariableMonitoring"] = lambda request: {
        "clearMonitoringResult": [{"id": number, "status": status} for number in request["id"]]
    }


async def test_tc_n_18_csms_clear_more_monitors_than_fit(csms: Backend) -> None:
    station = await csms.booted()
    clearing(station)
    results = await monitoring.clear_monitors(csms.services, station.id, [1, 2, 3])
    (asked,) = station.payloads("GetVariables")
    variable = {"name": "ItemsPerMessage", "instance": "ClearVariableMonitoring"}
    assert asked["getVariableData"] == [{"component": {"name": "MonitoringCtrlr"}, "variable": variable}]
    assert [each["id"] for each in station.payloads("ClearVariableMonitoring")] == [[1, 2], [3]]
    assert [each.id for each in results] == [1, 2, 3]


async def test_tc_n_44_csms_clear_monitor_rejected(csms: Backend) -> None:
    station = await csms.booted()
    clearing(station, "Rejected")
    await monitoring.set_monitors(csms.services, station.id, [delta(EVSE_1)])
    (result,) = await monitoring.clear_monitors(csms.services, station.id, [1])
    assert result.status == "Rejected"
    assert len(await csms.services.store.run(rows.list_monitors, station.id)) == 1


# -- events


async def notified(csms: Backend, **changes: Any) -> dict[str, Any]:
    """Let a station send an event; return it as kept."""
    station = await csms.booted()
    request = {"generatedAt": NOW, "seqNo": 0, "eventData": [device_event(**changes)]}
    assert await station.call("NotifyEvent", request) == {}
    (event,) = await csms.services.store.run(rows.list_events, station.id)
    return event


async def test_tc_n_21_csms_hard_wired_monitor(csms: Backend) -> None:
    event = await notified(csms, eventNotificationType="HardWiredMonitor", variableMonitoringId=7, trigger="Alerting")
    assert (event["trigger"], event["monitor_id"]) == ("Alerting", 7)


async def test_tc_n_24_csms_periodic_event(csms: Backend) -> None:
    station = await csms.booted()
    for seq_no in range(3):
        event = device_event(trigger="Periodic", eventNotificationType="CustomMonitor", eventId=seq_no)
        request = {"generatedAt": NOW, "seqNo": seq_no, "eventData": [event]}
        assert await station.call("NotifyEvent", request) == {}
    assert len(await csms.services.store.run(rows.list_events)) == 3


async def test_tc_n_48_csms_write_only_variable(csms: Backend) -> None:
    assert (await notified(csms, actualValue=""))["document"]["actualValue"] == ""


async def test_tc_n_49_csms_cleared(csms: Backend) -> None:
    assert (await notified(csms, cleared=True, trigger="Alerting"))["cleared"] is True


async def test_tc_n_50_csms_periodic_triggered(csms: Backend) -> None:
    assert (await notified(csms, trigger="Periodic"))["trigger"] == "Periodic"


# -- logs


async def log(csms: Backend, station: ScriptedStation, kind: str, status: str = "Accepted") -> int:
    """Have the back end ask for a log; return its request's number."""
    station.answers["GetLog"] = {"status": status, "filename": "log.txt"}
    where = "https://logs.example/CS-V2G-0001"
    asked = await diagnostics.get_log(csms.services, station.id, kind, where)  # type: ignore[arg-type]
    sent = {"log": {"remoteLocation": where}, "logType": kind, "requestId": asked.request_id}
    assert station.payloads("GetLog")[-1] == sent
    return asked.request_id


async def uploaded(station: ScriptedStation, number: int, *statuses: str) -> None:
    """Let the station tell how the upload goes."""
    for status in statuses:
        assert await station.call("LogStatusNotification", {"status": status, "requestId": number}) == {}


async def test_tc_n_25_csms_diagnostics_log(csms: Backend) -> None:
    station = await csms.booted()
    number = await log(csms, station, "DiagnosticsLog")
    await uploaded(station, number, "Uploading", "Uploaded")
    found = await request_of(csms, number)
    assert found["progress"] == "Uploaded"
    assert found["done_ms"] is not None


async def test_tc_n_35_csms_security_log(csms: Backend) -> None:
    station = await csms.booted()
    number = await log(csms, station, "SecurityLog")
    await uploaded(station, number, "Uploading", "Uploaded")
    assert (await request_of(csms, number))["progress"] == "Uploaded"


async def test_tc_n_34_csms_log_rejected(csms: Backend) -> None:
    number = await log(csms, await csms.booted(), "DiagnosticsLog", "Rejected")
    assert (await request_of(csms, number))["answer"] == "Rejected"


async def test_tc_n_36_csms_second_log_request(csms: Backend) -> None:
    station = await csms.booted()
    first = await log(csms, station, "DiagnosticsLog")
    await uploaded(station, first, "Uploading")
    second = await log(csms, station, "DiagnosticsLog", "AcceptedCanceled")
    await uploaded(station, first, "AcceptedCanceled")
    assert (await request_of(csms, first))["progress"] == "AcceptedCanceled"
    await uploaded(station, second, "Uploading", "Uploaded")
    assert (await request_of(csms, second))["progress"] == "Uploaded"


async def test_tc_n_100_csms_data_collector_log(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    number = await log(csms, station, "DataCollectorLog")
    await uploaded(station, number, "Uploading", "Uploaded")
    assert (await request_of(csms, number))["progress"] == "Uploaded"


async def test_tc_n_102_csms_log_to_a_server_with_a_password(csms: Backend) -> None:
    """N01.FR.17: the password is in the address, which is neither kept nor told to those who watch."""
    station = await csms.booted(version="2.1")
    station.answers["GetLog"] = accepted
    where = "https://logs:hunter2@logs.example/CS-V2G-0001"
    asked = await diagnostics.get_log(csms.services, station.id, "DiagnosticsLog", where)
    assert station.payloads("GetLog")[0]["log"]["remoteLocation"] == where
    assert "hunter2" not in str(csms.events.told)
    assert "logs:***@logs.example" in (await request_of(csms, asked.request_id))["document"]


# -- customers


async def customer(
    csms: Backend, station: ScriptedStation, status: str = "Accepted", data: str | None = None, **wish: Any
) -> dict[str, Any]:
    """Have the back end ask about a customer; let the station tell `data`. Return the request as noted."""
    station.answers["CustomerInformation"] = {"status": status}
    wish.setdefault("report", True)
    wish.setdefault("clear", False)
    if not wish.keys() & {"certificate", "identifier"}:
        wish["id_token"] = CUSTOMER
    asked = await diagnostics.customer_information(csms.services, station.id, **wish)
    sent = station.payloads("CustomerInformation")[-1]
    assert (sent["report"], sent["clear"]) == (wish["report"], wish["clear"])
    assert sent.get("idToken") == (VALID if "id_token" in wish else None)
    if data is not None:
        part = {"data": data, "seqNo": 0, "generatedAt": NOW, "requestId": asked.request_id}
        assert await station.call("NotifyCustomerInformation", part) == {}
        assert [json.loads(each) for each in await parts_of(csms, asked.request_id)] == [data]
    return await request_of(csms, asked.request_id)


async def test_tc_n_27_csms_customer_with_data(csms: Backend) -> None:
    assert (await customer(csms, await csms.booted(), data="charged twice"))["done_ms"] is not None
    assert "charged twice" not in str(csms.events.told)


async def test_tc_n_28_csms_customer_without_data(csms: Backend) -> None:
    assert (await customer(csms, await csms.booted(), data=""))["done_ms"] is not None


async def test_tc_n_29_csms_customer_not_accepted(csms: Backend) -> None:
    assert (await customer(csms, await csms.booted(), "Rejected"))["answer"] == "Rejected"


async def test_tc_n_30_csms_clear_and_report(csms: Backend) -> None:
    await customer(csms, await csms.booted(), data="gone", clear=True)


async def test_tc_n_46_csms_clear_updates_the_local_list(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted()
        station.answers |= {"GetLocalListVersion": {"versionNumber": 1}, "SendLocalList": accepted}
        await local_lists.replace(csms.services, station.id)
        station.answers["GetLocalListVersion"] = {"versionNumber": 2}
        await customer(csms, station, data="gone", clear=True)
        sent = station.payloads("SendLocalList")[-1]
        assert (sent["updateType"], sent["versionNumber"]) == ("Differential", 3)
        assert sent["localAuthorizationList"] == [{"idToken": VALID}]


async def test_tc_n_62_csms_clear_by_identifier(csms: Backend) -> None:
    station = await csms.booted()
    await customer(csms, station, data="gone", clear=True, identifier="OpenChargeAlliance")
    assert station.payloads("CustomerInformation")[0]["customerIdentifier"] == "OpenChargeAlliance"


async def test_tc_n_63_csms_clear_by_certificate(csms: Backend) -> None:
    station = await csms.booted()
    hashes = CertificateHashData(
        hash_algorithm="SHA256", issuer_name_hash="aa", issuer_key_hash="bb", serial_number="1"
    )
    await customer(csms, station, data="gone", clear=True, certificate=hashes)
    assert station.payloads("CustomerInformation")[0]["customerCertificate"]["serialNumber"] == "1"


# -- beyond the cases


async def test_a_customer_is_named_one_way(csms: Backend) -> None:
    """N09.FR.04, N10.FR.08."""
    station = await csms.booted()
    for wish in ({}, {"id_token": CUSTOMER, "identifier": "x"}):
        with pytest.raises(RefusedError, match="exactly one"):
            await diagnostics.customer_information(
                csms.services,
                station.id,
                report=True,
                clear=False,
                **wish,  # type: ignore[arg-type]
            )


async def test_an_event_has_the_severity_of_its_monitor(csms: Backend) -> None:
    station = await csms.booted()
    install(station)
    await monitoring.set_monitors(csms.services, station.id, [delta(EVSE_1, severity=3)])
    event = device_event(variableMonitoringId=1)
    await station.call("NotifyEvent", {"generatedAt": NOW, "seqNo": 0, "eventData": [event]})
    (kept,) = await csms.services.store.run(rows.list_events, station.id)
    assert kept["severity"] == 3


async def test_going_back_to_factory_default_ends_our_monitors(csms: Backend) -> None:
    """N03.FR.04."""
    station = await csms.booted()
    install(station)
    station.answers["SetMonitoringBase"] = accepted
    await monitoring.set_monitors(csms.services, station.id, [delta(EVSE_1)])
    await monitoring.set_base(csms.services, station.id, "All")
    assert len(await csms.services.store.run(rows.list_monitors, station.id)) == 1
    await monitoring.set_base(csms.services, station.id, "FactoryDefault")
    assert await csms.services.store.run(rows.list_monitors, station.id) == []
