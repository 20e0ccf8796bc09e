"""Commands: every action, the station's own answer, and what is said when there is none."""

import asyncio

import msgspec
import pytest

from csms.domain.security.access import Role
from csms.domain.stations.commands import COMMANDS
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
    while station.id in ask.backend.services.connections.connected():
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


async def scoped(ask: ApiClient, name: str, *scopes: str, role: str = "operator") -> str:
    """Make a token that may do only this; return it."""
    made = await ask("POST", "/access/tokens", {"name": name, "role": role, "scopes": list(scopes)})
    token: str = made.json["secret"]
    return token


async def test_each_action_takes_the_permission_of_its_own_route(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    token = await scoped(ask, "commander", "command_stations")
    here = f"/stations/{station.id}"

    def variables(component: str, variable: str) -> dict[str, object]:
        return {"component": {"name": component}, "variable": {"name": variable}, "attributeValue": "x" * 20}

    password = [variables("SecurityCtrlr", "BasicAuthPassword")]
    way = [variables("OCPPCommCtrlr", "NetworkConfigurationPriority")]
    slot = [variables("OCPPCommCtrlr", "HeartbeatInterval"), variables("NetworkConfiguration", "BasicAuthPassword")]
    connection = {
        "ocppVersion": "OCPP20", "ocppInterface": "Wired0", "ocppTransport": "JSON", "messageTimeout": 30,
        "ocppCsmsUrl": "wss://evil.example/ocpp", "securityProfile": 2,
    }  # fmt: skip
    for path, body in (
        ("commands/SendLocalList", {"versionNumber": 1, "updateType": "Full"}),
        ("commands/SetNetworkProfile", {"configurationSlot": 1, "connectionData": connection}),
        *(("commands/SetVariables", {"setVariableData": each}) for each in (password, way, slot)),
        *(("variables", {"variables": each}) for each in (password, way, slot)),
    ):
        assert (await ask("POST", f"{here}/{path}", body, token=token)).status == 403, path
    installer = Role.INSTALLER
    body = {"versionNumber": 1, "updateType": "Full"}
    assert (await ask("POST", f"{here}/commands/SendLocalList", body, role=installer)).status == 403
    assert not any(station.payloads(each) for each in ("SendLocalList", "SetNetworkProfile", "SetVariables"))
    result = {"attributeStatus": "Accepted", "component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "X"}}
    station.answers["SetVariables"] = {"setVariableResult": [result]}
    ordinary = {"setVariableData": [variables("OCPPCommCtrlr", "HeartbeatInterval")]}
    assert (await ask("POST", f"{here}/commands/SetVariables", ordinary, token=token)).status == 200
    assert (
        await ask("POST", f"{here}/commands/SetVariables", {"setVariableData": password}, role=installer)
    ).status == 200
