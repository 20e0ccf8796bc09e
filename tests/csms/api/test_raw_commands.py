"""Raw commands: what a station accepts is recorded as for typed ones, what contradicts the records is not sent."""

import asyncio
from typing import Any

import pytest

from csms.admission.work import StationAdmissions
from csms.device_model import store as device_model
from csms.diagnostics import store as diagnostics
from csms.dispatch import der_controls as der
from csms.display import store as display
from csms.remote_control import store as commands
from csms.requests.rules import COMMANDS
from csms.station_security import store as security
from docs.api import RECORDS
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.customers import make_certificate
from tests.csms.scripted_station import ScriptedStation
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g.ocpp.times import format_time
from v2g.pki.certificates import chain_to_pem

STATELESS = frozenset({
    "AFRRSignal", "ClearCache", "CostUpdated", "DeleteCertificate", "ExtendedTriggerMessage", "GetCompositeSchedule",
    "GetConfiguration", "GetDiagnostics", "GetInstalledCertificateIds", "RemoteStartTransaction",
    "RemoteStopTransaction", "SignedUpdateFirmware",
    "GetLocalListVersion", "GetPeriodicEventStream", "GetTariffs", "GetTransactionStatus", "InstallCertificate",
    "NotifyAllowedEnergyTransfer", "RequestStopTransaction", "Reset", "SetMonitoringLevel", "TriggerMessage",
    "UnlockConnector", "UnpublishFirmware", "UsePriorityCharging",
})  # fmt: skip
"""Actions after which the back end knows nothing else of a station than before."""

HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
TOKEN = {"idToken": "04A1B2C3", "type": "ISO14443"}
MONITOR = {**HEARTBEAT, "type": "UpperThreshold", "severity": 5, "value": 7.0}
MESSAGE = {"id": 9, "priority": "AlwaysFront", "message": {"format": "UTF8", "content": "Hello"}}
CONTROL = {
    "isDefault": True, "controlId": "C1", "controlType": "LimitMaxDischarge",
    "limitMaxDischarge": {"priority": 0, "pctMaxDischargePower": 50.0},
}  # fmt: skip
NETWORK = {
    "ocppInterface": "Wired0", "ocppTransport": "JSON", "messageTimeout": 30,
    "ocppCsmsUrl": "wss://csms.example/ocpp", "securityProfile": 2,
}  # fmt: skip


def profile(number: int = 7, level: int = 5, purpose: str = "TxDefaultProfile", **changes: Any) -> dict[str, Any]:
    """Return a charging profile; a change to None leaves the field out. `schedule` changes its schedule."""
    schedule = {
        "id": 1, "chargingRateUnit": "W", "startSchedule": "2026-01-01T00:00:00Z",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5000.0}], **changes.pop("schedule", {}),
    }  # fmt: skip
    found = {
        "id": number, "stackLevel": level, "chargingProfilePurpose": purpose, "chargingProfileKind": "Absolute",
        "chargingSchedule": [{key: value for key, value in schedule.items() if value is not None}], **changes,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


async def send(ask: ApiClient, action: str, payload: Any, station: ScriptedStation) -> Any:
    """Send a raw command; return the answer of the API."""
    return await ask("POST", f"/stations/{station.id}/commands/{action}", payload)


def test_each_action_changes_what_is_recorded_or_nothing() -> None:
    assert (RECORDS.keys() | STATELESS, RECORDS.keys() & STATELESS) == (set(COMMANDS), set())


async def test_variables_that_are_set_or_read_are_in_the_mirror(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["SetVariables"] = {"setVariableResult": [{**HEARTBEAT, "attributeStatus": "Accepted"}]}
    await send(ask, "SetVariables", {"setVariableData": [{**HEARTBEAT, "attributeValue": "77"}]}, station)
    read = {**HEARTBEAT, "variable": {"name": "RetryBackOffWaitMinimum"}}
    station.answers["GetVariables"] = {
        "getVariableResult": [{**read, "attributeStatus": "Accepted", "attributeValue": "11"}]
    }
    await send(ask, "GetVariables", {"getVariableData": [read]}, station)
    found = (await ask("GET", f"/stations/{station.id}/variables?component=OCPPCommCtrlr")).json
    assert {each["variable"]: each["value"] for each in found} == {
        "HeartbeatInterval": "77",
        "RetryBackOffWaitMinimum": "11",
    }


async def test_network_profiles_lists_and_monitors_are_recorded(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    run = ask.backend.services.store.run
    station.answers |= {
        "SetNetworkProfile": {"status": "Accepted"},
        "SendLocalList": {"status": "Accepted"},
        "SetVariableMonitoring": {
            "setMonitoringResult": [
                {**HEARTBEAT, "id": 3, "status": "Accepted", "type": "UpperThreshold", "severity": 5}
            ]
        },
    }
    await send(ask, "SetNetworkProfile", {"configurationSlot": 2, "connectionData": NETWORK}, station)
    assert [each["slot"] for each in await run(device_model.list_profiles, station.id)] == [2]

    change = {"versionNumber": 5, "updateType": "Differential", "localAuthorizationList": [{"idToken": TOKEN}]}
    refused = await send(ask, "SendLocalList", change, station)
    assert (refused.json["code"], station.payloads("SendLocalList")) == ("unknown_list", [])
    entry = {"idToken": TOKEN, "idTokenInfo": {"status": "Accepted"}}
    full = {"versionNumber": 4, "updateType": "Full", "localAuthorizationList": [entry]}
    for body, version, entries in ((full, 4, 1), (change, 5, 0)):
        assert (await send(ask, "SendLocalList", body, station)).status == 200
        known = (await ask("GET", f"/stations/{station.id}/local-list")).json
        assert (known["version"], len(known["entries"])) == (version, entries)

    await send(ask, "SetVariableMonitoring", {"setMonitoringData": [MONITOR]}, station)
    assert [each["monitor_id"] for each in await run(diagnostics.list_monitors, station.id)] == [3]
    station.answers["ClearVariableMonitoring"] = {"clearMonitoringResult": [{"id": 3, "status": "Accepted"}]}
    await send(ask, "ClearVariableMonitoring", {"id": [3]}, station)
    assert await run(diagnostics.list_monitors, station.id) == []


async def test_messages_and_controls_are_recorded_and_cleared(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    run = ask.backend.services.store.run
    for action in ("SetDisplayMessage", "ClearDisplayMessage", "SetDERControl", "ClearDERControl"):
        station.answers[action] = {"status": "Accepted"}
    await send(ask, "SetDisplayMessage", {"message": MESSAGE}, station)
    assert [each["message_id"] for each in await run(display.list_messages, station.id, shown=True)] == [9]
    await send(ask, "ClearDisplayMessage", {"id": 9}, station)
    assert await run(display.list_messages, station.id, shown=True) == []
    assert (await send(ask, "SetDERControl", CONTROL, station)).status == 200
    assert [each["control_id"] for each in await run(der.controls, station.id)] == ["C1"]
    await send(ask, "ClearDERControl", {"isDefault": True, "controlId": "C1"}, station)
    assert await run(der.controls, station.id) == []


@pytest.mark.parametrize("version", [0, 1_000_000_001, 2**53])
async def test_a_version_after_which_there_is_none_is_refused(ask: ApiClient, version: int) -> None:
    station = await ask.backend.booted()
    refused = await send(ask, "SendLocalList", {"versionNumber": version, "updateType": "Full"}, station)
    assert (refused.status, station.payloads("SendLocalList")) == (409, [])


@pytest.mark.parametrize("status", ["Accepted", "Rejected"])
async def test_a_profile_is_recorded_only_when_it_is_accepted(ask: ApiClient, status: str) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers |= {"SetChargingProfile": {"status": status}, "ClearChargingProfile": {"status": "Accepted"}}
    await send(ask, "SetChargingProfile", {"evseId": 1, "chargingProfile": profile()}, station)
    path = f"/stations/{station.id}/charging-profiles"
    assert [each["profile"]["id"] for each in (await ask("GET", path)).json] == [7] * (status == "Accepted")
    criteria = {"chargingProfileCriteria": {"evseId": 1, "stackLevel": 5}}
    await send(ask, "ClearChargingProfile", criteria, station)
    assert (await ask("GET", path)).json == []


@pytest.mark.parametrize("order", ["answer first", "event first", "running"])
async def test_the_profile_of_a_remote_start_is_that_of_its_transaction(ask: ApiClient, order: str) -> None:
    """F01.FR.08, .13: two starts, of which the second one begins first; each transaction has its own profile."""
    station = await ask.backend.booted(version="2.1")
    first, second = (Charging(ask.backend, station, evse_id=evse_id) for evse_id in (1, 2))

    async def begin(charging: Charging, number: int) -> None:
        info = {"transactionId": charging.id, "remoteStartId": number}
        await charging.event("Started", "RemoteStart", token=TOKEN, extra={"transactionInfo": info})

    async def start(charging: Charging, number: int) -> None:
        body = {"idToken": TOKEN, "remoteStartId": number, "chargingProfile": profile(number, purpose="TxProfile")}
        sending = asyncio.create_task(send(ask, "RequestStartTransaction", body, station))
        asked = await station.expect("RequestStartTransaction")
        if order != "answer first":
            await begin(charging, number)
        more = {"transactionId": charging.id} if order == "running" else {}
        asked.reply({"status": "Accepted", **more})
        assert (await sending).json["status"] == "Accepted"

    await start(first, 8)
    await start(second, 9)
    path = f"/stations/{station.id}/charging-profiles"
    if order == "answer first":
        held = (await ask("GET", path)).json
        assert [(each["profile"]["id"], each["evse_id"]) for each in held] == [(8, 0), (9, 0)]
        await begin(second, 9)
        await begin(first, 8)
    held = (await ask("GET", path)).json
    assert [(each["profile"]["id"], each["evse_id"], each["profile"]["transactionId"]) for each in held] == [
        (8, 1, first.id), (9, 2, second.id),
    ]  # fmt: skip


async def test_the_profile_of_a_refused_remote_start_is_not_recorded(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["RequestStartTransaction"] = {"status": "Rejected"}
    body = {"idToken": TOKEN, "remoteStartId": 8, "chargingProfile": profile(8, purpose="TxProfile")}
    assert (await send(ask, "RequestStartTransaction", body, station)).status == 200
    assert (await ask("GET", f"/stations/{station.id}/charging-profiles")).json == []


TX: dict[str, Any] = {"transactionId": "T1", "purpose": "TxProfile"}
STEPS = [{"startPeriod": 0, "limit": 5000.0}]


REFUSED: list[tuple[int, dict[str, Any], str]] = [
    (1, profile(8, **TX), "K01.FR.39"),
    (2, profile(8, **TX), "K01.FR.39"),
    (1, profile(8), "K01.FR.06"),
    (1, profile(8, validTo="2999-01-01T00:00:00Z"), "K01.FR.06"),
    (0, profile(8), "K01.FR.52"),
    (2, profile(8, level=6), "K01.FR.53"),
    (1, profile(schedule={"startSchedule": None}), "K01.FR.40"),
    (1, profile(chargingProfileKind="Relative"), "K01.FR.41"),
    (1, profile(chargingProfileKind="Recurring"), "recurrencyKind"),
    (1, profile(recurrencyKind="Daily"), "recurrencyKind"),
    (1, profile(validFrom="2026-01-02T00:00:00Z", validTo="2026-01-01T00:00:00Z"), "validFrom"),
    (0, profile(9, level=9, **TX), "K01.FR.16"),
    (1, profile(9, purpose="TxProfile"), "K01.FR.03"),
    (1, profile(transactionId="T1"), "K01.FR.03"),
    (1, profile(purpose="ChargingStationMaxProfile"), "K04.FR.03"),
    (
        0,
        profile(purpose="ChargingStationMaxProfile", chargingProfileKind="Relative", schedule={"startSchedule": None}),
        "K01.FR.38",
    ),
    (0, profile(purpose="ChargingStationExternalConstraints"), "K01.FR.22"),
    (1, profile(purpose="PriorityCharging", schedule={"duration": 60}), "K01.FR.70"),
    (1, profile(purpose="LocalGeneration", schedule={"randomizedDelay": 60}), "K01.FR.95"),
    (1, profile(schedule={"chargingSchedulePeriod": [{**STEPS[0], "phaseToUse": 1}]}), "K01.FR.19"),
    (1, profile(schedule={"chargingSchedulePeriod": [{**STEPS[0], "startPeriod": 9}]}), "K01.FR.31"),
    (1, profile(schedule={"chargingSchedulePeriod": [{**STEPS[0], "limit_L2": 5000.0}]}), "K01.FR.143"),
    (
        1,
        profile(9, level=9, schedule={"chargingSchedulePeriod": [{"startPeriod": 0, "limit_L3": 5000.0}]}, **TX),
        "K01.FR.145",
    ),
    (1, profile(dynUpdateTime="2026-01-01T00:00:00Z"), "K01.FR.122"),
    (1, profile(chargingSchedule=profile()["chargingSchedule"] * 2), "K01.FR.34"),
    (1, profile(9, level=9, chargingSchedule=profile()["chargingSchedule"] * 2, **TX), "K01.FR.34"),
]


@pytest.mark.parametrize("path", ["commands/SetChargingProfile", "charging-profiles"])
async def test_a_profile_against_the_rules_is_not_sent(ask: ApiClient, path: str, subtests: pytest.Subtests) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    here = f"/stations/{station.id}/commands/SetChargingProfile"
    for place, each in ((1, profile(7)), (1, profile(6, **TX)), (0, profile(5, level=6))):
        assert (await ask("POST", here, {"evseId": place, "chargingProfile": each})).status == 200
    names = ("evseId", "chargingProfile") if path.startswith("commands") else ("evse_id", "profile")
    for *values, rule in REFUSED:
        with subtests.test(rule):
            refused = await ask("POST", f"/stations/{station.id}/{path}", dict(zip(names, values, strict=True)))
            assert (refused.status, rule in refused.json["detail"]) == (409, True), refused.json
    assert len(station.payloads("SetChargingProfile")) == 3


@pytest.mark.parametrize(
    ("evse_id", "wanted"),
    [
        (1, profile(7)),  # the same id replaces (K01.FR.05)
        (2, profile(8)),
        (1, profile(8, level=7)),
        (1, profile(8, purpose="PriorityCharging")),
        (1, profile(8, purpose="TxProfile", transactionId="T2")),
        (1, profile(8, validFrom="2030-01-01T00:00:00Z")),  # when the other has ended
    ],
)
async def test_a_profile_in_another_place_or_at_another_time_is_sent(
    ask: ApiClient, evse_id: int, wanted: dict[str, Any]
) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    first = profile(7, validTo="2030-01-01T00:00:00Z")
    for place, each in ((1, first), (1, profile(6, **TX)), (evse_id, wanted)):
        answer = await send(ask, "SetChargingProfile", {"evseId": place, "chargingProfile": each}, station)
        assert (answer.status, answer.json) == (200, {"status": "Accepted"})


async def test_a_number_of_the_back_end_is_not_used_again(ask: ApiClient) -> None:
    """The station's events name requests by their numbers."""
    station = await ask.backend.booted(version="2.1")
    station.answers |= {
        "RequestStartTransaction": {"status": "Accepted"},
        "GetMonitoringReport": {"status": "Accepted"},
        "ReserveNow": {"status": "Accepted"},
    }
    here = f"/stations/{station.id}"
    expires = {"expiryDateTime": format_time(ask.backend.clock.utc_ms() + 3_600_000)}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "RequestStartTransaction": ("remoteStartId", {"idToken": TOKEN, "evseId": 1}),
        "GetMonitoringReport": ("requestId", {}),
        "ReserveNow": ("id", {"idToken": TOKEN, **expires}),
    }
    for action, (name, body) in bodies.items():
        assert (await send(ask, action, {**body, name: 500}, station)).status == 200
        if action != "ReserveNow":  # there it replaces the reservation (H01.FR.02)
            again = await send(ask, action, {**body, name: 500}, station)
            assert again.json["code"] == "number_taken"
        for number in (0, 1_000_000_001):
            assert (await send(ask, action, {**body, name: number}, station)).json["code"] == "number_taken", number
    started = (await ask("POST", f"{here}/transactions", {"id_token": TOKEN})).json
    assert started["remote_start_id"] == 501
    assert (await ask("POST", f"{here}/monitors/report", {})).json["request_id"] == 501
    found = (await ask("GET", f"/reservations?station_id={station.id}")).json
    assert [(each["reservation_id"], each["state"]) for each in found] == [(500, "Accepted")]
    start = await ask.backend.services.store.run(commands.find_start, 500)
    assert start is not None
    assert (start["id_token"], start["answer"]) == ("04A1B2C3", "Accepted")
    about = {"requestId": 500, "seqNo": 0, "generatedAt": "2026-01-01T00:00:00Z"}
    await station.call("NotifyMonitoringReport", about)
    report = (await ask("GET", "/requests/500")).json
    assert (report["action"], report["answer"], len(report["parts"])) == ("GetMonitoringReport", "Accepted", 1)
    station.answers["CancelReservation"] = {"status": "Accepted"}
    await send(ask, "CancelReservation", {"reservationId": 500}, station)
    assert (await ask("GET", f"/reservations?station_id={station.id}")).json[0]["state"] == "Cancelled"


async def test_a_reservation_in_the_way_is_not_sent(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["ReserveNow"] = {"status": "Accepted"}
    body = {"idToken": TOKEN, "evseId": 1, "expiryDateTime": format_time(ask.backend.clock.utc_ms() + 3_600_000)}
    assert (await send(ask, "ReserveNow", {**body, "id": 5}, station)).status == 200
    assert (await send(ask, "ReserveNow", {**body, "id": 6}, station)).json["code"] == "reserved"


async def test_orders_in_and_out_of_service_are_recorded(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["ChangeAvailability"] = {"status": "Scheduled"}
    body = {"operationalStatus": "Inoperative", "evse": {"id": 1}}
    assert (await send(ask, "ChangeAvailability", body, station)).json == {"status": "Scheduled"}
    (order,) = await ask.backend.services.store.run(commands.list_orders, station.id)
    assert (order.evse_id, order.wanted, order.state) == (1, "Inoperative", "Scheduled")


PLAN = {
    "id": "day",
    "currency": "EUR",
    "energy": {"rates": [{"price": "0.3"}]},
}


async def test_a_tariff_of_others_is_not_sent_and_an_own_one_applies_here(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers |= {
        "SetDefaultTariff": {"status": "Accepted"},
        "ClearTariffs": {"clearTariffsResult": [{"tariffId": "day", "status": "Accepted"}]},
    }
    tariff = {"tariffId": "day", "currency": "EUR", "energy": {"prices": [{"priceKwh": 0.3}]}}
    request = {"evseId": 0, "tariff": tariff}
    refused = await send(ask, "SetDefaultTariff", request, station)
    assert (refused.json["code"], station.payloads("SetDefaultTariff")) == ("unknown_plan", [])
    assert (await ask("POST", "/tariffs", PLAN)).status in (200, 201)
    other = {**request, "tariff": {**tariff, "energy": {"prices": [{"priceKwh": 0.9}]}}}
    assert (await send(ask, "SetDefaultTariff", other, station)).json["code"] == "unknown_plan"
    assert (await send(ask, "SetDefaultTariff", request, station)).json == {"status": "Accepted"}
    assigned = (await ask("GET", "/tariff-assignments")).json
    assert [(each["station_id"], each["plan_id"]) for each in assigned] == [(station.id, "day")]
    await send(ask, "ClearTariffs", {"tariffIds": ["day"]}, station)
    assert (await ask("GET", "/tariff-assignments")).json == []
    change = {"transactionId": "T1", "tariff": tariff}
    assert (await send(ask, "ChangeTransactionTariff", change, station)).json["code"] == "unknown_transaction"


async def test_nothing_is_set_with_which_the_station_could_not_connect(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    await ask.backend.services[StationAdmissions].allow_profile(station.id, 2)

    def variable(component: str, name: str, value: str, instance: str | None = None) -> dict[str, Any]:
        place = {"name": component} | ({"instance": instance} if instance else {})
        return {"setVariableData": [{"component": place, "variable": {"name": name}, "attributeValue": value}]}

    refusals = [
        ("SetVariables", variable("SecurityCtrlr", "Identity", "CS-ELSE"), "identity"),
        ("SetVariables", variable("securityctrlr", "identity", "CS-ELSE"), "identity"),
        ("SetVariables", variable("NetworkConfiguration", "Identity", "CS-ELSE", "3"), "identity"),
        ("SetVariables", variable("SecurityCtrlr", "SecurityProfile", "1"), "security_profile"),
        ("SetVariables", variable("NetworkConfiguration", "SecurityProfile", "1", "3"), "security_profile"),
        ("SetVariables", variable("SecurityCtrlr", "BasicAuthPassword", "short"), "password"),
        ("SetVariables", variable("WebPaymentsCtrlr", "SharedSecret", "x" * 32), "own_variable"),
        (
            "SetNetworkProfile",
            {"configurationSlot": 2, "connectionData": {**NETWORK, "identity": "CS-ELSE"}},
            "identity",
        ),
        (
            "SetNetworkProfile",
            {"configurationSlot": 2, "connectionData": {**NETWORK, "securityProfile": 1}},
            "security_profile",
        ),
        ("DataTransfer", {"vendorId": VENDOR, "messageId": "GridSignal"}, "own_messages"),
    ]
    for action, payload, code in refusals:
        refused = await send(ask, action, payload, station)
        assert (refused.status, refused.json["code"]) == (409, code), payload
        assert station.payloads(action) == []


async def test_a_certificate_that_is_delivered_is_recorded(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["CertificateSigned"] = {"status": "Accepted"}
    refused = await send(ask, "CertificateSigned", {"certificateChain": "no certificate"}, station)
    assert (refused.json["code"], station.payloads("CertificateSigned")) == ("certificate", [])
    body = {"certificateChain": make_certificate(), "certificateType": "ChargingStationCertificate"}
    assert (await send(ask, "CertificateSigned", body, station)).json == {"status": "Accepted"}
    (found,) = await ask.backend.services.store.run(security.list_certificates, station_id=station.id)
    assert (found["kind"], found["status"]) == ("ChargingStationCertificate", "Accepted")
    other = await ask.backend.booted("CS-V2G-0002", version="2.1")
    assert (await send(ask, "CertificateSigned", body, other)).json["code"] == "certificate"


async def test_only_roots_are_installed_at_stations(ask: ApiClient, pki: PkiTree) -> None:
    """Also by hand. That of a CSMS may be signed by the one before it (M05.FR.10)."""
    station = await ask.backend.booted(version="2.0.1")
    station.answers["InstallCertificate"] = {"status": "Accepted"}
    root, below = (chain_to_pem((each,)) for each in (pki.anchors("v2g")[0], pki.chain("secc")[1]))

    async def status(use: str, pem: str) -> int:
        typed = await ask("POST", f"/stations/{station.id}/certificates", {"use": use, "pem": pem})
        raw = await send(ask, "InstallCertificate", {"certificateType": use, "certificate": pem}, station)
        assert typed.status == raw.status
        return raw.status

    leaf, pair = make_certificate(), root + below
    for use, pem in (("V2GRootCertificate", leaf), ("V2GRootCertificate", below), ("CSMSRootCertificate", leaf),
                     ("CSMSRootCertificate", pair), ("MORootCertificate", "no certificate")):  # fmt: skip
        assert await status(use, pem) == 409, use
    assert station.payloads("InstallCertificate") == []
    for use, pem in (("V2GRootCertificate", root), ("CSMSRootCertificate", below)):
        assert await status(use, pem) == 200
