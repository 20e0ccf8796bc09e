"""Resources: what a station sent and received is found again, and what is asked reaches the station."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from csms.accounts.rules import Role
from csms.admission.work import StationAdmissions
from csms.booking import store as reviews
from csms.config import Provisioning, StationEntry
from csms.stations import store as stations
from csms.tariffs import store as tariffs
from csms.transactions.events import add_events, meter_key
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.db.events import arrival
from tests.csms.fixtures import Start
from tests.csms.scripted_station import ScriptedStation
from tests.csms.settlement.journals import SESSION, T0, journal
from tests.csms.settlement.witness import delivered_whole
from tests.iso15118.d20.contracts import PCID
from tests.meter_keys import printed_public_key
from v2g.energy.settlement.costing import Bill
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import SessionStarted
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.ocpp.times import parse_time
from v2g.pki.keys import save_secret
from v2g.pki.reference import KeyReference

TOKEN = {"idToken": "04A1B2C3", "type": "ISO14443"}
SESSION_STATION = "CS-V2G-0001"
CHOSEN = "a-password-of-the-station"
HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}


def at(second: int) -> str:
    """A time of a station."""
    return f"2030-03-17T17:{second // 60:02}:{second % 60:02}Z"


async def tell(station: ScriptedStation, transaction_id: str, seq_no: int, kind: str, second: int) -> None:
    """Send an event of a transaction, with a reading of its register."""
    trigger = {"Started": "Authorized", "Updated": "MeterValuePeriodic", "Ended": "StopAuthorized"}[kind]
    value = {"value": 1000.0 + second, "measurand": "Energy.Active.Import.Register", "unitOfMeasure": {"unit": "Wh"}}
    payload = {
        "eventType": kind,
        "timestamp": at(second),
        "triggerReason": trigger,
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": transaction_id},
        "evse": {"id": 1, "connectorId": 1},
        "idToken": TOKEN,
        "meterValue": [{"timestamp": at(second), "sampledValue": [value]}],
    }
    await station.call("TransactionEvent", payload)


async def test_transactions_are_found_by_what_they_are_and_page_by_page(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    for number in range(5):
        await tell(station, f"tx-{number}", 0, "Started", number * 60)
    await tell(station, "tx-1", 1, "Ended", 90)
    for name in ("tx-9", "tx-8", "tx-7"):  # of whose beginning nothing is known
        await tell(station, name, 3, "Updated", 30)
    found: list[str] = []
    path = "/transactions?limit=2"
    while path and len(found) < 10:  # they came again and again
        answer = await ask("GET", path)
        found += [each["transaction_id"] for each in answer.json]
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert found == ["tx-4", "tx-3", "tx-2", "tx-1", "tx-0", "tx-7", "tx-8", "tx-9"]
    ended = (await ask("GET", "/transactions?active=false")).json
    assert [(each["transaction_id"], each["import_wh"]) for each in ended] == [("tx-1", "1090")]
    assert (await ask("GET", "/transactions?station_id=CS-V2G-0002")).json == []
    start = (await ask("GET", "/transactions/tx-2")).json["started_ms"]
    window = await ask("GET", f"/transactions?since_ms={start}&before_ms={start + 1}")
    assert [each["transaction_id"] for each in window.json] == ["tx-2"]


async def test_a_transaction_whose_end_never_came_is_closed(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    await tell(station, "tx-1", 0, "Started", 0)
    assert (await ask("POST", "/transactions/tx-1/close")).json["closed_reason"] == "operator"
    assert (await ask("POST", "/transactions/tx-1/close")).json["code"] == "ended"
    assert (await ask("POST", "/transactions/none/close")).status == 404


async def test_a_price_plan_is_kept_assigned_and_charged(ask: ApiClient) -> None:
    ask.backend.clock.now_ms = parse_time(at(0))
    station = await ask.backend.booted()
    plan = {"id": "flat", "currency": "EUR", "energy": {"rates": [{"price": "0.4"}]}}
    made = await ask("POST", "/tariffs", plan, role=Role.BILLING)
    assert (made.status, made.headers["location"]) == (201, "/tariffs/flat")
    other = {**plan, "currency": "SEK"}
    assert (await ask("POST", "/tariffs", other)).json["code"] == "plan_taken"
    assert (await ask("PUT", "/tariff-assignments", {"plan_id": "none"})).status == 404
    assigned = await ask("PUT", "/tariff-assignments", {"plan_id": "flat", "station_id": station.id})
    assert [each["plan_id"] for each in assigned.json] == ["flat"]
    await tell(station, "tx-1", 0, "Started", 0)
    ask.backend.clock.advance(120)
    await tell(station, "tx-1", 1, "Ended", 120)
    cost = (await ask("GET", "/transactions/tx-1/cost")).json
    assert (cost["incl_tax"], cost["final"]) == ({"amount": "0.048", "currency": "EUR"}, True)  # 120 Wh at 0.40 a kWh
    assert (await ask("DELETE", "/tariffs/flat")).json["code"] == "plan_in_use"
    assert (await ask("DELETE", f"/tariff-assignments?station_id={station.id}")).status == 204
    assert (await ask("GET", "/tariff-assignments")).json == []
    assert (await ask("GET", "/tariffs/flat")).json["energy"] == plan["energy"]
    for wrong, status in (
        ({"site_id": "none"}, 404), ({"site_id": "a", "group_id": "b"}, 400), ({"group_id": "b", "evse_id": 1}, 400),
        ({"id_token": "0A"}, 400),  # would be for every driver
    ):  # fmt: skip
        assert (await ask("PUT", "/tariff-assignments", {"plan_id": "flat", **wrong})).status == status, wrong
        assert (await ask("DELETE", f"/tariff-assignments?{urlencode(wrong)}")).status == status, wrong
    (group,) = (await ask("PUT", "/tariff-assignments", {"plan_id": "flat", "group_id": "fleet"})).json
    assert (group["group_id"], group["station_id"]) == ("fleet", "")
    assert (await ask("DELETE", "/tariffs/flat")).json["code"] == "plan_in_use"
    assert (await ask("DELETE", "/tariff-assignments?group_id=fleet")).status == 204
    evening = {
        "plan": {**plan, "energy": {"rates": [{"price": "0.5", "when": {"from_minute": 1020}}, {"price": "0.4"}]}}
    }
    for hour, cost in (("16", "12.00"), ("17", "15.00")):
        start_ms = parse_time(f"2027-01-07T{hour}:00:00Z")
        priced = await ask("POST", "/tariffs/example", {**evening, "start_ms": start_ms})
        assert priced.json["incl_tax"] == cost


async def test_remote_control_reaches_the_station_and_returns_its_answer(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["RequestStartTransaction"] = {"status": "Accepted"}
    started = (await ask("POST", f"/stations/{station.id}/transactions", {"id_token": TOKEN, "evse_id": 1})).json
    (asked,) = station.payloads("RequestStartTransaction")
    assert (asked["remoteStartId"], asked["idToken"]) == (started["remote_start_id"], TOKEN)
    await tell(station, "tx-1", 0, "Started", 0)
    station.answers["RequestStopTransaction"] = {"status": "Rejected"}
    assert (await ask("POST", "/transactions/tx-1/stop")).json == {"status": "Rejected"}
    assert (await ask("POST", "/transactions/tx-2/stop")).status == 404
    station.answers["UnlockConnector"] = {"status": "Unlocked"}
    path = f"/stations/{station.id}/evses/1/connectors/1/unlock"
    assert (await ask("POST", path)).json == {"status": "Unlocked"}
    station.answers["ChangeAvailability"] = {"status": "Scheduled"}
    order = await ask("POST", f"/stations/{station.id}/availability", {"wanted": "Inoperative", "evse_id": 1})
    assert order.json["state"] == "Scheduled"
    assert (await ask("GET", f"/stations/{station.id}/availability?open=true")).json == [order.json]


SWAP = {
    "batteryData": [{"evseId": 2, "serialNumber": "B-1", "soC": 12.5, "soH": 98.0}],
    "eventType": "BatteryIn",
    "idToken": TOKEN,
    "requestId": 17,
}


@pytest.mark.requirement("R43")
async def test_a_battery_swap_reported_over_http_is_stored_as_one_of_ocpp_and_once(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    assert await station.call("BatterySwap", SWAP) == {}
    path = f"/stations/{station.id}/battery-swaps"
    first = await ask("POST", f"{path}/events", SWAP, idempotency_key="17/in")
    again = await ask("POST", f"{path}/events", SWAP, idempotency_key="17/in")
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (204, 204, "true")
    reused = await ask("POST", f"{path}/events", {**SWAP, "eventType": "BatteryOut"}, idempotency_key="17/in")
    assert (reused.status, reused.json["code"]) == (409, "key_reused")
    by_ocpp, by_http = (await ask("GET", path)).json
    for number, status in ((17, 200), (2**31, 400), (2**63, 400)):
        assert (await ask("GET", f"{path}?request_id={number}")).status == status
    assert {**by_ocpp, "id": by_http["id"]} == by_http
    event = {"station": station.id, "request_id": 17, "change": "BatteryIn", "batteries": "B-1"}
    assert [each.data for each in ask.backend.events.named("battery_swap")] == [event, event]


@pytest.mark.requirement("R43")
@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"requestId": 2**31}, 400, "OCPP integer"),
        ({"eventType": "BatteryLost"}, 400, "eventType"),
        ({"batteryData": []}, 400, "batteryData"),
        ({"more": 1}, 400, "more"),
    ],
)
async def test_a_battery_swap_that_ocpp_does_not_allow_is_refused(
    ask: ApiClient, change: dict[str, Any], status: int, detail: str
) -> None:
    station = await ask.backend.booted()
    path = f"/stations/{station.id}/battery-swaps"
    answer = await ask("POST", f"{path}/events", {**SWAP, **change}, idempotency_key="1")
    assert (answer.status, detail in answer.json["detail"]) == (status, True), answer.json
    assert (await ask("GET", path)).json == []


@pytest.mark.requirement("R43")
async def test_a_battery_swap_needs_a_key_and_an_admitted_station(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    assert (await ask("POST", f"/stations/{station.id}/battery-swaps/events", SWAP)).status == 400
    await ask("PUT", f"/admissions/{station.id}", {"decision": "Refused"})
    assert (await ask("POST", f"/stations/{station.id}/battery-swaps/events", SWAP, idempotency_key="2")).status == 404


async def test_a_reservation_is_made_found_and_cancelled(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["ReserveNow"] = {"status": "Accepted"}
    station.answers["CancelReservation"] = {"status": "Accepted"}
    soon = ask.backend.clock.utc_ms() + 3_600_000
    body = {"id_token": TOKEN, "expires_ms": soon, "evse_id": 1}
    made = (await ask("POST", f"/stations/{station.id}/reservations", body)).json
    assert made["state"] == "Accepted"
    path = f"/reservations/{made['reservation_id']}"
    (listed,) = (await ask("GET", "/reservations?active=true")).json
    assert listed["reservation_id"] == made["reservation_id"]
    assert (await ask("DELETE", path)).json == {"status": "Accepted"}
    assert (await ask("GET", path)).json["state"] == "Cancelled"
    past = {**body, "expires_ms": 1}
    assert (await ask("POST", f"/stations/{station.id}/reservations", past)).status == 409


async def test_a_campaign_is_begun_and_cancelled(ask: ApiClient) -> None:
    plan = {"image": {"location": "https://files.example/1.4.bin"}}
    body = {"name": "1.4", "plan": plan, "station_ids": ["CS-V2G-0001", "CS-V2G-0002"]}
    made = await ask("POST", "/campaigns", body)
    assert made.status == 201
    whole = (await ask("GET", made.headers["location"])).json
    assert {each["station_id"] for each in whole["members"]} == set(body["station_ids"])
    path, some = made.headers["location"], {"station_ids": ["CS-V2G-0001"]}
    assert (await ask("POST", path + "/pause")).json["state"] == "Paused"
    assert (await ask("POST", path + "/resume")).json["state"] == "Running"
    assert (await ask("POST", path + "/rollback")).status == 409
    assert (await ask("POST", path + "/force", some)).status == 200
    forced = {each["station_id"]: each["forced"] for each in (await ask("GET", path)).json["members"]}
    assert forced == {"CS-V2G-0001": True, "CS-V2G-0002": False}
    excluded = (await ask("POST", path + "/exclude", some)).json["members"]
    assert {each["station_id"]: each["state"] for each in excluded}["CS-V2G-0001"] == "Excluded"
    assert (await ask("POST", path + "/exclude", {"station_ids": []})).status == 400
    assert (await ask("POST", path + "/cancel")).json["state"] == "Cancelled"
    assert (await ask("POST", made.headers["location"] + "/resume")).status == 409
    assert [each["name"] for each in (await ask("GET", "/campaigns?state=Cancelled")).json] == ["1.4"]
    for wrong in ({"cohorts": [0.5, 0.1, 1]}, {"window": "22:00"}, {"test": {"tolerated": 0.03}}):
        assert (await ask("POST", "/campaigns", {**body, "plan": {**plan, **wrong}})).status == 400


async def test_a_log_is_asked_for_and_its_progress_found(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["GetLog"] = {"status": "Accepted", "filename": "log.txt"}
    body = {"log_type": "SecurityLog", "remote_location": "https://files.example/"}
    number = (await ask("POST", f"/stations/{station.id}/logs", body)).json["request_id"]
    assert station.payloads("GetLog")[0]["requestId"] == number
    await station.call("LogStatusNotification", {"status": "Uploaded", "requestId": number})
    found = (await ask("GET", f"/requests/{number}")).json
    assert (found["answer"], found["progress"], found["done_ms"] is not None) == ("Accepted", "Uploaded", True)
    assert [each["request_id"] for each in (await ask("GET", "/requests?action=GetLog")).json] == [number]


async def test_monitors_messages_and_lists_are_kept_as_the_station_took_them(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    monitor = {"value": 5.0, "type": "UpperThreshold", "severity": 4, **HEARTBEAT}
    result = {"id": 7, "status": "Accepted", "type": "UpperThreshold", "severity": 4, **HEARTBEAT}
    station.answers["SetVariableMonitoring"] = {"setMonitoringResult": [result]}
    base = f"/stations/{station.id}"
    assert (await ask("POST", f"{base}/monitors", {"monitors": [monitor]})).json == [result]
    assert [each["monitor_id"] for each in (await ask("GET", f"{base}/monitors")).json] == [7]
    station.answers["SetDisplayMessage"] = {"status": "Accepted"}
    message = {"id": 0, "priority": "NormalCycle", "message": {"format": "UTF8", "content": "Closed"}}
    shown = (await ask("POST", f"{base}/display-messages", message)).json
    listed = (await ask("GET", f"{base}/display-messages?shown=true")).json
    assert [each["message_id"] for each in listed] == [shown["message_id"]]
    station.answers["GetLocalListVersion"] = {"versionNumber": 0}
    station.answers["SendLocalList"] = {"status": "Accepted"}
    assert (await ask("GET", f"{base}/local-list")).status == 404
    sent = (await ask("POST", f"{base}/local-list/synchronise")).json
    kept = (await ask("GET", f"{base}/local-list")).json
    assert (sent["status"], kept["version"], len(kept["entries"])) == ("Accepted", sent["version"], sent["entries"])


async def test_variables_that_were_read_are_in_the_mirror_and_passwords_nowhere(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    result = {**HEARTBEAT, "attributeStatus": "Accepted", "attributeValue": "300"}
    station.answers["GetVariables"] = {"getVariableResult": [result]}
    base = f"/stations/{station.id}"
    assert (await ask("POST", f"{base}/variables/read", {"variables": [HEARTBEAT]})).json == [result]
    (kept,) = (await ask("GET", f"{base}/variables?component=OCPPCommCtrlr")).json
    assert (kept["variable"], kept["value"]) == ("HeartbeatInterval", "300")
    password = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    station.answers["SetVariables"] = {"setVariableResult": [{**password, "attributeStatus": "Accepted"}]}
    secret = {"variables": [{**password, "attributeValue": "correct-horse-battery"}]}
    assert (await ask("POST", f"{base}/variables", secret)).status == 200
    raw = {"setVariableData": secret["variables"]}
    assert (await ask("POST", f"{base}/commands/SetVariables", raw)).status == 200
    for path in ("/audit", f"{base}/variables"):
        assert b"correct-horse-battery" not in (await ask("GET", path)).body


async def test_a_token_is_kept_blocked_and_forgotten(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    path = "/tokens/ISO14443/04a1b2c3"
    terms = {"group_id": "fleet-7", "one_at_a_time": True}
    made = (await ask("PUT", path, {"terms": terms})).json
    assert (made["id_token"], made["status"]) == ("04A1B2C3", "Accepted")
    assert (await station.call("Authorize", {"idToken": TOKEN}))["idTokenInfo"]["status"] == "Accepted"
    tag = (await ask("GET", path)).headers["etag"]
    assert (await ask("PUT", f"{path}/status", {"status": "Blocked"}, if_match=tag)).json["status"] == "Blocked"
    assert (await ask("PUT", path, {}, if_match=tag)).status == 412
    assert (await station.call("Authorize", {"idToken": TOKEN}))["idTokenInfo"]["status"] == "Blocked"
    group = {"group_id": "fleet-7", "name": "Fleet 7"}
    assert (await ask("PUT", "/token-groups", group)).json == group
    assert [each["id_token"] for each in (await ask("GET", "/tokens?group_id=fleet-7")).json] == ["04A1B2C3"]
    first = await ask("GET", "/tokens?limit=1")
    second = await ask("GET", first.headers["link"].partition(">")[0].removeprefix("<"))
    assert [each.json[0]["token_type"] for each in (first, second)] == ["ISO14443", "eMAID"]
    station.answers["ClearCache"] = {"status": "Accepted"}
    assert (await ask("POST", "/clear-caches")).json == {"answers": {station.id: "Accepted"}}
    assert (await ask("DELETE", path)).status == 204
    assert (await ask("DELETE", "/token-groups/fleet-7")).status == 204
    assert (await ask("GET", path)).status == 404
    entry = (await ask("GET", "/audit?operation=set_token_status")).json[0]
    assert (entry["before"]["status"], entry["after"]["status"]) == ("Accepted", "Blocked")


async def test_names_of_any_kind_are_safe_in_the_headers_of_an_answer(ask: ApiClient) -> None:
    plan = {"id": "Nacht \u2013 Tag\r\nX-Evil: 1", "currency": "EUR"}
    made = await ask("POST", "/tariffs", plan)
    assert (made.status, "x-evil" in made.headers) == (201, False)
    assert made.headers["location"] == "/tariffs/Nacht%20%E2%80%93%20Tag%0D%0AX-Evil%3A%201"


async def test_there_are_no_contracts_where_none_are_given(ask: ApiClient) -> None:
    assert (await ask("GET", "/contracts")).json["code"] == "not_configured"


async def test_a_contract_is_added_listed_and_removed_and_its_key_never_shown(
    backend: Start, pki: PkiTree, tmp_path: Path
) -> None:
    save_secret(tmp_path / "pool.secret", b"a long and random secret")
    pool = Provisioning(
        pool=KeyReference.from_text("file:pool?pin-source=file:pool.secret", tmp_path),
        chain=pki.path("cps/chain.pem"),
        key=KeyReference.of(pki.path("cps/leaf.key")),
        oem_roots=(pki.path("oem/root.pem"),),
    )
    chain, key = (pki.path(f"contract/{each}").read_text() for each in ("chain.pem", "leaf.key"))
    other = pki.path("cps/leaf.key").read_text()
    async with backend(provisioning=pool) as memory, serving(memory) as ask:
        wanted = {"pcid": PCID, "chain": chain, "key": key}
        added = await ask("POST", "/contracts", wanted)
        assert added.status == 201, added.json
        (listed,) = (await ask("GET", "/contracts")).json
        assert (added.json["contract"], listed["problem"]) == (listed, "")
        path = added.headers["location"]
        assert "PRIVATE" not in json.dumps([added.json, (await ask("GET", "/audit")).json])
        for wrong in ({"key": other}, {"key": "x"}, {"chain": "x"}, {"pcid": "../x"}, {"passphrase": "x"}):
            assert (await ask("POST", "/contracts", wanted | wrong)).status == 400, wrong
        assert (await ask("POST", "/contracts", wanted, role=Role.OPERATOR)).status == 403
        assert (await ask("DELETE", path)).status == 204
        assert (await ask("GET", "/contracts")).json == []


async def test_a_profile_that_a_station_takes_is_listed_until_it_is_cleared(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    station.answers["ClearChargingProfile"] = {"status": "Accepted"}
    period = {"startPeriod": 0, "limit": 11000.0}
    profile = {
        "id": 7,
        "stackLevel": 1,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [
            {"id": 1, "startSchedule": at(0), "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
        ],
    }
    path = f"/stations/{station.id}/charging-profiles"
    assert (await ask("POST", path, {"evse_id": 1, "profile": profile})).json == {"status": "Accepted"}
    (held,) = (await ask("GET", path)).json
    assert (held["evse_id"], held["source"], held["profile"]["id"]) == (1, "CSO", 7)
    assert (await ask("DELETE", f"{path}?profile_id=7")).json == {"status": "Accepted"}
    assert (await ask("GET", path)).json == []
    assert station.payloads("ClearChargingProfile") == [{"chargingProfileId": 7}]


async def test_a_site_is_kept_changed_and_passed_to_those_who_balance(ask: ApiClient) -> None:
    place = {"station_id": "CS-V2G-0001", "evse_id": 1, "node": "main", "most_ma": 32000}
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [63000, 63000, 63000]}], "places": [place]}
    with ask.backend.services.feed.subscribe({"site_changed"}) as changes:
        assert (await ask("PUT", "/sites/depot", site)).status == 200
        assert (await anext(changes)).data == {"site": "depot"}
    tag = (await ask("GET", "/sites/depot")).headers["etag"]
    other = {**site, "waiting_ma": 6000}
    assert (await ask("PUT", "/sites/depot", other, if_match=tag)).status == 200
    assert (await ask("PUT", "/sites/depot", site, if_match=tag)).status == 412
    assert (await ask("PUT", "/sites/other", site)).status == 400
    assert (await ask("PUT", "/sites/depot", {**site, "zone": "Europe/Nowhere"})).status == 400
    assert (await ask("PUT", "/sites/depot", {**site, "nodes": [{**site["nodes"][0], "parent": "x"}]})).status == 400
    assert (await ask("POST", "/sites/depot/balance")).json == {"shares_ma": {}}
    assert (await ask("DELETE", "/sites/depot")).status == 204
    assert (await ask("GET", "/sites")).json == []


async def test_signals_of_frequency_restoration_reach_stations_of_2_1(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    station.answers["AFRRSignal"] = {"status": "Accepted"}
    answer = await ask("POST", "/dispatch/afrr", {"signal": -5, "stations": [station.id, "CS-404"]})
    assert answer.json["answers"][station.id] == "Accepted"
    assert "not connected" in answer.json["answers"]["CS-404"]
    assert station.payloads("AFRRSignal")[0]["signal"] == -5
    assert (await ask("POST", "/dispatch/setpoint", {"setpoint_w": -11000})).json == []  # no vehicle is there
    assert (await ask("POST", "/dispatch/setpoint", {"setpoint_w": 1}, role=Role.BILLING)).status == 403


async def test_an_unknown_station_is_admitted_with_a_password(backend: Start) -> None:
    async with backend(unknown_stations="refuse", stations=()) as memory, serving(memory) as ask:
        assert await admitted(memory, "CS-NEW") is None
        decided = await ask("PUT", "/admissions/CS-NEW", {"decision": "Accepted"}, role=Role.INSTALLER)
        assert decided.json == {"station_id": "CS-NEW", "decision": "Accepted"}
        assert await admitted(memory, "CS-NEW") == "Accepted"
        made = (await ask("POST", "/admissions/CS-NEW/password", {})).json["password"]
        assert len(made) >= 16
        (visitor,) = (await ask("GET", "/admissions")).json
        assert (visitor["has_password"], visitor["decided_by"]) == (True, "installer")
        assert made.encode() not in (await ask("GET", "/audit")).body
        assert (await ask("GET", "/admissions/faults")).json == []
        assert (await ask("DELETE", "/admissions/CS-NEW")).status == 204
        assert await admitted(memory, "CS-NEW") is None


async def test_the_copy_of_a_journal_is_given_as_it_came_to_those_who_may_read_tokens(ask: ApiClient) -> None:
    lines = journal()
    await delivered_whole(ask, lines)
    path = f"/settlements/{SESSION}/journal"
    for role in (Role.ADMIN, Role.OPERATOR, Role.BILLING):
        answer = await ask("GET", path, role=role)
        assert (answer.status, answer.body) == (200, b"".join(lines))
        assert verify_lines(answer.body, name=SESSION)
    for role in (Role.VIEWER, Role.INSTALLER):
        assert (await ask("GET", path, role=role)).status == 403
    assert (await ask("GET", f"{path}?station=CS-404")).status == 404
    assert (await ask("GET", "/settlements/0000/journal")).status == 404


async def test_a_receipt_without_prices_in_the_journal_has_the_cost_of_the_transaction(ask: ApiClient) -> None:
    ledger = SessionJournal()
    first = next(iter(verify_lines(b"".join(journal())))).data
    assert isinstance(first, SessionStarted)
    lines = ledger.record(first, T0) + ledger.end("vehicle", T0 + 60_000, import_mwh=1_000_500_000, export_mwh=0)
    await delivered_whole(ask, lines)
    path = f"/settlements/{SESSION}/receipt"
    assert "<b>No price</b>" in (await ask("GET", path)).body.decode()
    (review,) = await ask.backend.services.store.read(reviews.find, SESSION)
    assert review.transaction_id is not None
    bill = Bill(currency="EUR", excl_tax=50_000, incl_tax=56_000)
    key = SESSION_STATION, review.transaction_id
    await ask.backend.services.store.run(
        lambda connection: tariffs.save_cost(connection, *key, bill, "{}", T0, final=True, source="station")
    )
    page = (await ask("GET", path)).body.decode()
    assert ("To pay <b>0.06 EUR</b>" in page, "<b>No price</b>" in page) == (True, False)
    assert (await ask("GET", f"/transactions/{key[1]}/cost")).json["incl_tax"] == {"amount": "0.056", "currency": "EUR"}


async def test_of_an_id_that_several_stations_use_the_right_one_is_found_or_asked_for(
    ask: ApiClient,
) -> None:
    """Stations number their transactions from 1: a station of the same id holds none of another one's."""
    run = ask.backend.services.store.run
    for number in range(10):
        await run(stations.touch, f"CS-{number}", "ocpp2.0.1", 1)
        await run(add_events, [arrival(f"CS-{number}", "1", 0, "Started", 60 + number)])
    await run(add_events, [arrival("CS-9", "1", 1, "Ended", 30)])  # its register falls
    for path in ("/transactions/1", "/transactions/1/prices", "/transactions/1/cost"):
        refused = await ask("GET", path)
        assert (refused.status, refused.json["code"]) == (409, "ambiguous")
        assert refused.json["detail"].endswith("CS-6, CS-7 and 2 more")
        assert "station" in refused.json["hint"]
    found = (await ask("GET", "/transactions/1?station=CS-7")).json
    assert (found["station_id"], found["meter_values"][0]["value"], len(found["events"])) == ("CS-7", "67", 1)
    assert (await ask("GET", "/transactions/1?station=CS-V2G-0001")).status == 404
    assert (await ask("GET", "/transactions/1/cost?station=CS-9")).json["code"] == "held"
    assert (await ask("GET", "/transactions/1/cost?station=CS-8")).status == 404
    assert (await ask("POST", "/transactions/1/close?station=CS-3")).json["station_id"] == "CS-3"
    assert (await ask("POST", "/transactions/1/close")).json["code"] == "ambiguous"
    running = (await ask("GET", "/transactions?active=true&limit=20")).json
    assert sorted(each["station_id"] for each in running) == [f"CS-{number}" for number in (0, 1, 2, 4, 5, 6, 7, 8)]


async def test_a_held_transaction_is_decided_beside_another_stations_session_of_that_id(ask: ApiClient) -> None:
    await delivered_whole(ask, journal())
    other = await ask.backend.booted("CS-V2G-0002")
    await tell(other, SESSION, 0, "Started", 60)
    await tell(other, SESSION, 1, "Ended", 30)  # its register falls
    path = f"/books/quarantine/{SESSION}"
    assert (await ask("GET", path)).json["code"] == "ambiguous"
    found = [(await ask("GET", f"{path}?station={name}")).json for name in (SESSION_STATION, "CS-V2G-0002")]
    assert [(each["kind"], each["state"]) for each in found] == [("journal", "booked"), ("transaction", "quarantined")]
    rejected = await ask("POST", f"{path}/reject?station=CS-V2G-0002", {"note": "no meter falls"}, role=Role.BILLING)
    assert (rejected.status, rejected.json["state"]) == (200, "rejected")
    assert (await ask("GET", f"/settlements/{SESSION}/receipt")).status == 200


async def test_a_receipt_is_a_page_in_the_drivers_language_and_zone(ask: ApiClient) -> None:
    await delivered_whole(ask, journal())
    path = f"/settlements/{SESSION}/receipt"
    answer = await ask("GET", path, role=Role.BILLING)
    page = answer.body.decode()
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "To pay <b>0.40 EUR</b>" in page
    assert "operator's copy" in page
    german = (await ask("GET", f"{path}?language=de&zone=%2B02:00")).body.decode()
    assert "Zu zahlen <b>0,40 EUR</b>" in german
    assert "20:00:00" in german
    for wrong in ("language=xx", "zone=Nowhere/Land", "zone=%2B1"):
        assert (await ask("GET", f"{path}?{wrong}")).status == 400
    assert (await ask("GET", path, role=Role.VIEWER)).status == 403
    assert (await ask("GET", "/settlements/0000/receipt")).status == 404


async def test_passwords_of_many_stations_are_set_all_or_none(backend: Start) -> None:
    entries = (StationEntry(id="CS-1"), StationEntry(id="CS-2", password="of-the-configuration"))
    async with backend(stations=entries) as memory, serving(memory) as ask:
        wanted = [{"station_id": "CS-1", "password": CHOSEN}, {"station_id": "CS-NEW"}]
        answer = await ask("POST", "/admissions/passwords", {"passwords": wanted, "admit": True}, role=Role.INSTALLER)
        (made,) = answer.json["made"]
        assert (answer.json["count"], made["station_id"], len(made["password"])) == (2, "CS-NEW", 32)
        assert await admitted(memory, "CS-NEW") == "Accepted"
        assert len(memory.events.named("password_set")) == 2
        audit = (await ask("GET", "/audit")).body.decode()
        assert "set_station_passwords" in audit
        for secret in (CHOSEN, made["password"]):
            assert secret not in audit + str([each.data for each in memory.events.reported])
        for taken in ("CS-1", "CS-2"):  # one has been given a password, the other is configured with one
            again = {"passwords": [{"station_id": "CS-3"}, {"station_id": taken}]}
            refused = await ask("POST", "/admissions/passwords", again)
            assert (refused.status, refused.json["code"], taken in refused.json["detail"]) == (
                409,
                "has_password",
                True,
            )
        visitors = (await ask("GET", "/admissions")).json
        assert {each["station_id"] for each in visitors if each["has_password"]} == {"CS-1", "CS-NEW"}
        assert (await ask("POST", "/admissions/passwords", {**again, "replace": True})).json["count"] == 2
        assert (await ask("POST", "/admissions/passwords", {"passwords": wanted}, role=Role.VIEWER)).status == 403
        assert (await ask("POST", "/admissions/passwords", {"passwords": wanted + wanted})).status == 400
        short = {"passwords": [{"station_id": "CS-4"}, {"station_id": "CS-5", "password": "\u200b" * 16}]}
        assert (await ask("POST", "/admissions/passwords", short)).status == 409
        assert "CS-4" not in {each["station_id"] for each in (await ask("GET", "/admissions")).json}


async def admitted(memory: Backend, identity: str) -> Any:
    """Say how a station would be treated."""
    found = await memory.services[StationAdmissions].admission(identity)
    return found and found.boot


async def test_security_events_of_stations_are_found(ask: ApiClient) -> None:
    station = await ask.backend.booted()
    await station.call("SecurityEventNotification", {"type": "StartupOfTheDevice", "timestamp": at(0)})
    (event,) = (await ask("GET", f"/security-events?station_id={station.id}")).json
    assert (event["type"], event["source"]) == ("StartupOfTheDevice", "station")
    station.answers["TriggerMessage"] = {"status": "Accepted"}
    path = f"/stations/{station.id}/certificates/renew"
    renewed = await ask("POST", path, {"kind": "ChargingStationCertificate"})
    assert renewed.json == {"status": "Accepted"}
    assert station.payloads("TriggerMessage") == [{"requestedMessage": "SignChargingStationCertificate"}]
    assert (await ask("POST", path, {"kind": None}, role=Role.OPERATOR)).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/device-events",
        "/vendor-data",
        "/payments/settlements",
        "/certificates",
        "/requests",
        "/settlements",
    ],
)
async def test_lists_of_what_never_happened_are_empty(ask: ApiClient, path: str) -> None:
    assert json.loads((await ask("GET", path)).body) == []


@pytest.mark.parametrize(("said", "shown"), [("EUR", "EUR"), ("eur", "EUR"), ("€", "XXX"), ("", "XXX"), ("US1", "XXX")])
async def test_whatever_a_station_calls_a_currency_transactions_are_listed(
    ask: ApiClient, said: str, shown: str
) -> None:
    charging = Charging(ask.backend, await ask.backend.booted(version="2.1"))
    total = {"currency": said, "typeOfCost": "NormalCost", "total": {"inclTax": 2.4}}
    used = {"energy": 1000, "chargingTime": 60, "idleTime": 0}
    await charging.event("Started", "CablePluggedIn", extra={"costDetails": {"totalCost": total, "totalUsage": used}})
    (listed,) = (await ask("GET", "/transactions")).json
    assert listed["cost"] == {"amount": "2.40", "currency": shown}


async def test_limits_wait_for_the_next_event_and_keys_of_meters_are_vouched_for(ask: ApiClient) -> None:
    station = await ask.backend.booted(version="2.1")
    charging = Charging(ask.backend, station)
    await charging.event("Started", "CablePluggedIn")
    path = f"/transactions/{charging.id}/limit"
    assert (await ask("PUT", path, {"max_energy_wh": 5000})).status == 204
    assert (await charging.event("Updated", "MeterValuePeriodic"))["transactionLimit"] == {"maxEnergy": 5000.0}
    shown = (await ask("GET", f"/transactions/{charging.id}")).json
    assert (shown["wanted_limit"], shown["limit_told"]) == ('{"maxEnergy":5000.0}', True)
    await charging.event("Ended", "EVDeparted")
    assert (await ask("PUT", path, {"max_energy_wh": 5000})).status == 404
    old = Charging(ask.backend, await ask.backend.booted("CS-V2G-0002"))
    await old.event("Started", "CablePluggedIn")
    assert (await ask("PUT", f"/transactions/{old.id}/limit", {"max_soc": 80})).status == 204
    keys = f"/stations/{station.id}/meter-key"
    assert (await ask("PUT", keys, {"public_key": "bm9uc2Vuc2U="})).status == 400
    key = printed_public_key(ec.derive_private_key(7, ec.SECP256R1()).public_key())
    assert (await ask("PUT", keys, {"public_key": key})).status == 204
    kept = await ask.backend.services.store.run(meter_key, station.id, 3)
    assert kept == key
