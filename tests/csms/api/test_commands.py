"""Commands: every action, the station's own answer, and what is said when there is none."""

import asyncio

import msgspec
import pytest

from csms.core.commands import COMMANDS
from tests.certification.scripted import Refused
from tests.csms.api.support import ApiClient
from v2g.ocpp.routes import DECLARED, known, request_type


async def test_a_command_has_the_stations_own_answer(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    variables = [{"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}]
    result = [{**variables[0], "attributeStatus": "Accepted", "attributeValue": "300"}]
    station.answers["GetVariables"] = {"getVariableResult": result}
    answer = await ask("POST", f"/stations/{station.id}/commands/GetVariables", {"getVariableData": variables})
    assert (answer.status, answer.json) == (200, {"getVariableResult": result})
    assert station.payloads("GetVariables") == [{"getVariableData": variables}]


async def test_a_station_may_say_no_and_that_is_its_answer(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["ClearCache"] = {"status": "Rejected"}
    answer = await ask("POST", f"/stations/{station.id}/commands/ClearCache")
    assert (answer.status, answer.json) == (200, {"status": "Rejected"})


async def test_a_station_that_is_not_connected_is_a_conflict_and_an_unknown_one_not_found(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    await station.disconnect()
    while station.id in ask.backend.services.switchboard.connected():
        await asyncio.sleep(0)  # a request in memory alone would let nobody else run
    answer = await ask("POST", f"/stations/{station.id}/commands/ClearCache")
    assert (answer.status, answer.json["code"]) == (409, "not_connected")
    assert (await ask("POST", "/stations/CS-404/commands/ClearCache")).status == 404


async def test_a_station_that_does_not_answer_is_a_time_out(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    answer = await ask("POST", f"/stations/{station.id}/commands/ClearCache?timeout_s=0.01")
    assert answer.status == 504


async def test_a_payload_that_breaks_the_schema_does_not_reach_the_station(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    for body in ({"type": "Sometimes"}, {}, [1], {"type": "OnIdle", "more": 1}):
        answer = await ask("POST", f"/stations/{station.id}/commands/Reset", body)
        assert (answer.status, "payload" in answer.json["detail"]) == (400, True), body
    assert station.payloads("Reset") == []


async def test_an_action_of_another_version_is_a_conflict(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.0.1")
    answer = await ask("POST", f"/stations/{station.id}/commands/GetTariffs", {"evseId": 1})
    assert (answer.status, answer.json["code"]) == (409, "version")


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("NotSupported", 501), ("InternalError", 502)])
async def test_a_callerror_is_told_with_its_code(ask: ApiClient, code: str, status: int) -> None:
    station = await ask.backend.booted()
    station.answers["ClearCache"] = Refused(code)
    answer = await ask("POST", f"/stations/{station.id}/commands/ClearCache")
    assert (answer.status, answer.json["code"]) == (status, code)


BY_STATIONS = frozenset({
    "Authorize", "BatterySwap", "BootNotification", "ClearedChargingLimit", "ClosePeriodicEventStream",
    "FirmwareStatusNotification", "Get15118EVCertificate", "GetCertificateChainStatus", "GetCertificateStatus",
    "Heartbeat", "LogStatusNotification", "MeterValues", "NotifyChargingLimit", "NotifyCustomerInformation",
    "NotifyDERAlarm", "NotifyDERStartStop", "NotifyDisplayMessages", "NotifyEVChargingNeeds",
    "NotifyEVChargingSchedule", "NotifyEvent", "NotifyMonitoringReport", "NotifyPeriodicEventStream",
    "NotifyPriorityCharging", "NotifyReport", "NotifySettlement", "OpenPeriodicEventStream",
    "PublishFirmwareStatusNotification", "PullDynamicScheduleUpdate", "ReportChargingProfiles", "ReportDERControl",
    "ReservationStatusUpdate", "SecurityEventNotification", "SignCertificate", "StatusNotification",
    "TransactionEvent", "VatNumberValidation",
})  # fmt: skip
"""Actions that only stations send (OCPP 2.1 edition 2, part 2)."""


def test_every_action_that_a_back_end_may_send_is_a_command() -> None:
    assert set(COMMANDS) == DECLARED - BY_STATIONS
    assert known("2.0.1") <= DECLARED
    assert all(issubclass(request_type(action), msgspec.Struct) for action in COMMANDS)
