"""Commands: every action, the station's own answer, and what is said when there is none."""

import asyncio
from typing import Any

import msgspec
import pytest

from csms.accounts.rules import Role
from csms.requests.rules import COMMANDS
from csms.smart_charging import store as charging
from csms.smart_charging.rules import SITE_PROFILE
from tests.csms.api.support import ApiClient
from tests.csms.scripted_station import Refused
from v2g import typed_json
from v2g.ocpp.messages.charging_profiles import ChargingProfile
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


async def test_a_number_that_cannot_be_recorded_does_not_reach_the_station(ask: ApiClient) -> None:
    """PostgreSQL refused to store what the station had accepted."""
    station = await ask.backend.booted(version="2.1")
    monitor = {
        "value": 1,
        "type": "Periodic",
        "severity": 2**32 - 1,
        "component": {"name": "A"},
        "variable": {"name": "B"},
    }
    for action, body, where in (
        ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 2**31}}, "$.evse.id"),
        ("SetVariableMonitoring", {"setMonitoringData": [monitor]}, "$.setMonitoringData.severity"),
    ):
        answer = await ask("POST", f"/stations/{station.id}/commands/{action}", body)
        assert (answer.status, where in answer.json["detail"]) == (400, True), answer.json
        assert station.payloads(action) == []


async def test_a_payload_that_breaks_the_schema_does_not_reach_the_station(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    for body in ({"type": "Sometimes"}, {}, [1], {"type": "OnIdle", "more": 1}):
        answer = await ask("POST", f"/stations/{station.id}/commands/Reset", body)
        assert (answer.status, "payload" in answer.json["detail"]) == (400, True), body
    assert station.payloads("Reset") == []


async def test_an_action_of_another_version_is_a_conflict(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.0.1")
    for action in ("GetTariffs", "GetConfiguration"):
        answer = await ask("POST", f"/stations/{station.id}/commands/{action}", {"evseId": 1})
        assert (answer.status, answer.json["code"]) == (409, "version")


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("NotSupported", 501), ("InternalError", 502)])
async def test_a_callerror_is_reported_with_its_code(ask: ApiClient, code: str, status: int) -> None:
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


BY_STATIONS_OF_16 = frozenset({
    "DiagnosticsStatusNotification", "SignedFirmwareStatusNotification", "StartTransaction", "StopTransaction",
})  # fmt: skip


def test_every_action_that_a_back_end_may_send_is_a_command() -> None:
    assert set(COMMANDS) & DECLARED == DECLARED - BY_STATIONS
    assert set(COMMANDS) - DECLARED == known("1.6") - DECLARED - BY_STATIONS_OF_16
    assert known("2.0.1") <= DECLARED
    for action in COMMANDS:
        assert issubclass(request_type(action, "2.1" if action in DECLARED else "1.6"), msgspec.Struct)


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


def profile(profile_id: int, *, level: int = 0, limit: float = 11_000.0, purpose: str = "TxProfile") -> dict[str, Any]:
    """Return a charging profile; with a negative limit it feeds back."""
    power = {"limit": limit} if limit >= 0 else {"setpoint": limit, "operationMode": "CentralSetpoint"}
    schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, **power}]}
    found = {
        "id": profile_id,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": [schedule],
    }
    return found | ({"transactionId": "T1"} if purpose == "TxProfile" else {})


@pytest.mark.parametrize("profile_id", [1_000_000_000, 1_000_999_999])
async def test_a_command_takes_no_id_of_the_back_ends_own_profiles(ask: ApiClient, profile_id: int) -> None:
    station = await ask.backend.booted(version="2.1")
    here = f"/stations/{station.id}"
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    for method, path, body in (
        ("POST", "commands/SetChargingProfile", {"evseId": 1, "chargingProfile": profile(profile_id)}),
        (
            "POST",
            "commands/RequestStartTransaction",
            {"idToken": token, "remoteStartId": 1, "evseId": 1, "chargingProfile": profile(profile_id)},
        ),
        (
            "POST",
            "commands/UpdateDynamicSchedule",
            {"chargingProfileId": profile_id, "scheduleUpdate": {"limit": 99_000.0}},
        ),
        ("PUT", f"charging-profiles/{profile_id}/schedule", {"limit": 99_000.0}),
    ):
        answer = await ask(method, f"{here}/{path}", body)
        assert (answer.status, answer.json["code"]) == (409, "reserved_id"), path
    for action in ("SetChargingProfile", "RequestStartTransaction", "UpdateDynamicSchedule"):
        assert station.payloads(action) == []
    station.answers["SetChargingProfile"] = {"status": "Rejected"}
    for other in (999_999_999, 1_001_000_000):
        body = {"evseId": 1, "chargingProfile": profile(other)}
        assert (await ask("POST", f"{here}/commands/SetChargingProfile", body)).status == 200


async def test_a_command_takes_no_place_of_an_own_profile_and_feeds_back_only_what_is_permitted(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    services = ask.backend.services
    own = typed_json.convert(profile(SITE_PROFILE, purpose="ChargingStationMaxProfile"), ChargingProfile)
    await services.store.run(charging.save_profile, station.id, 0, own, charging.CSO, 0)
    path = f"/stations/{station.id}/commands/SetChargingProfile"
    taken = {"evseId": 0, "chargingProfile": profile(5, purpose="ChargingStationMaxProfile")}
    assert (await ask("POST", path, taken)).json["code"] == "reserved_level"
    record = {
        "evse_id": 0,
        "operator": "DSO",
        "valid_from_ms": 0,
        "valid_until_ms": 253_402_300_799_999,
        "most_export_w": 5_000,
    }
    assert (await ask("PUT", f"/stations/{station.id}/prequalifications/VDE-1", record)).status == 200
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    for limit, status in ((-5_000.0, 200), (-5_001.0, 409)):
        answer = await ask("POST", path, {"evseId": 1, "chargingProfile": profile(6, limit=limit)})
        assert (answer.status, answer.json.get("code", "")) == (status, "" if status == 200 else "not_prequalified")
