"""An operator's stations at a partner: locations, tariffs, drivers, sessions, CDRs and commands."""

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from csms.roaming.charging_profiles import ProfileCommand
from csms.roaming.commands import PROFILE, resume_commands
from csms.roaming.partners import Partners
from csms.roaming.store import Kept, find_object, put_object, remove_object
from csms.smart_charging.charging_plans import share_profile
from csms.smart_charging.rules import Needs
from csms.smart_charging.store import CSO, look, save_profile
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from tests.csms.api.support import Answer
from tests.csms.charging import Charging, away
from tests.csms.customers import connector_is
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import TOKEN, UID, Roaming, charge, operating
from tests.csms.roaming.registered import roaming as roaming
from tests.csms.roaming.scripted_partner import ROLE, ScriptedPartner
from tests.csms.scripted_station import ScriptedStation
from v2g import typed_json
from v2g.datex import afir
from v2g.energy.settlement.costing import Bill
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiProfile, UnlockConnector
from v2g.ocpp.times import format_time

pytestmark = pytest.mark.requirement("R202")


async def test_a_location_is_pushed_with_its_tariff_and_each_status(roaming: Roaming) -> None:
    station = await roaming.backend.booted()
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)).status == 200
    pushed = await roaming.partner.sent("PUT", "/locations/DE/CPO/Depot")
    assert pushed["evses"][0]["uid"] == UID
    assert pushed["evses"][0]["connectors"][0]["tariff_ids"] == ["day"]
    tariff = await roaming.partner.sent("PUT", "/tariffs/DE/CPO/day")
    parts = [component for element in tariff["elements"] for component in element["price_components"]]
    assert {(each["type"], each["price"], each["vat"], each["step_size"]) for each in parts} == {
        ("ENERGY", 0.5, 19, 1), ("FLAT", 1, 19, 1),
    }  # fmt: skip
    assert "tax_included" not in tariff  # 2.2.1 does not know it
    for number, (status, expected) in enumerate((("Occupied", "CHARGING"), ("Faulted", "OUTOFORDER")), 1):
        await station.call("StatusNotification", {
            "timestamp": "2026-01-01T00:00:00Z", "connectorStatus": status, "evseId": 1, "connectorId": 1,
        })  # fmt: skip
        patch = await roaming.partner.sent("PATCH", "/locations/DE/CPO/Depot/", number)
        assert patch["status"] == expected
        assert patch["last_updated"]
    listed = await roaming.ocpi("GET", "/cpo/2.2.1/locations?limit=1")
    assert listed.headers["x-total-count"] == "1"
    assert listed.json["data"][0]["evses"][0]["status"] == "OUTOFORDER"
    for path in ("", f"/{UID}", f"/{UID}/1"):
        assert (await roaming.ocpi("GET", f"/cpo/2.2.1/locations/depot{path}")).json["status_code"] == 1000
    assert (await roaming.ocpi("GET", "/cpo/2.2.1/locations/other")).status == 404
    assert (await roaming.ask("DELETE", "/roaming/locations/Depot")).status == 204
    gone = await roaming.partner.sent("PUT", "/locations/DE/CPO/Depot", 2)
    assert gone["evses"][0]["status"] == "REMOVED"


async def test_of_two_partners_cards_of_one_number_the_one_that_may_charge_does(roaming: Roaming) -> None:
    """Numbers of cards are unique at their makers only."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    with ScriptedPartner().running() as other:
        second = Roaming(roaming.ask, other)
        await second.register(party="OTH", partner_id="zoo")
        theirs = {**TOKEN, "party_id": "OTH", "contract_id": "NLOTHC00000002"}
        for each, party, token, allowed in ((roaming, "TNM", TOKEN, "BLOCKED"), (second, "OTH", theirs, "ALLOWED")):
            assert (await each.ocpi("PUT", f"/cpo/2.2.1/tokens/NL/{party}/04A1B2C3", token)).status == 201
            each.partner.answers["/tokens/04A1B2C3/authorize"] = 200, {"allowed": allowed, "token": token}
        await charge(second, {"idToken": "04A1B2C3", "type": "ISO14443"})
        assert (await other.sent("POST", "/cdrs"))["cdr_token"]["contract_id"] == "NLOTHC00000002"


@pytest.mark.parametrize("whitelist", ["NEVER", "ALWAYS"])
async def test_of_two_partners_that_both_allow_a_card_the_one_that_changed_it_last_pays(
    roaming: Roaming, whitelist: str
) -> None:
    """A driver has a new provider; the one before still has its card."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    with ScriptedPartner().running() as other:
        second = Roaming(roaming.ask, other)
        await second.register(party="OTH", partner_id="zoo")
        for each, party, changed in ((second, "OTH", "2026-02-01T00:00:00"), (roaming, "TNM", "2026-01-01T00:00:00")):
            token = {**TOKEN, "party_id": party, "whitelist": whitelist, "last_updated": changed}
            assert (await each.ocpi("PUT", f"/cpo/2.2.1/tokens/NL/{party}/04A1B2C3", token)).status == 201
            each.partner.answers["/tokens/04A1B2C3/authorize"] = 200, {"allowed": "ALLOWED", "token": token}
        await charge(second, {"idToken": "04A1B2C3", "type": "ISO14443"})
        assert (await other.sent("POST", "/cdrs"))["cdr_token"]["party_id"] == "OTH"
    (said, *_) = roaming.backend.events.named("token_of_several")
    assert said.data == {"station": "CS-V2G-0001", "party": "nl*oth", "others": "nl*tnm"}


async def test_a_partners_driver_charges_and_the_partner_gets_session_and_cdr(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    path = "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3"
    assert (await roaming.ocpi("PUT", path, TOKEN)).status == 201
    assert (await roaming.ocpi("GET", path)).json["data"]["whitelist"] == "NEVER"
    allowed = {"allowed": "ALLOWED", "token": TOKEN, "authorization_reference": "ref-1"}
    roaming.partner.answers["/tokens/04A1B2C3/authorize"] = 200, allowed
    await charge(roaming, {"idToken": "04a1b2c3", "type": "ISO14443"})
    asked = await roaming.partner.sent("POST", "/tokens/04A1B2C3/authorize")
    assert asked == {"location_id": "Depot", "evse_uids": [UID]}
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    assert session["status"] == "ACTIVE"
    assert session["cdr_token"]["contract_id"] == "NLTNMC00000001"
    cdr = await roaming.partner.sent("POST", "/cdrs")
    assert cdr["authorization_reference"] == "ref-1"
    assert cdr["total_energy"] == 10
    assert cdr["total_cost"] == {"excl_vat": 6, "incl_vat": 7.14}  # 10 kWh at 0.50, and 1.00
    assert cdr["total_fixed_cost"]["excl_vat"] == 1
    assert cdr["session_id"] == session["id"]
    async with asyncio.timeout(10):  # the session's last state may come after the CDR
        while True:
            states = [body["status"] for _, where, body in roaming.partner.bodies if where.startswith("/sessions")]
            if states[-1] == "COMPLETED":
                break
            await asyncio.sleep(0.01)
    assert (await roaming.ocpi("GET", "/cpo/2.2.1/sessions")).json["status_code"] == 2001
    sessions = await roaming.ocpi("GET", "/cpo/2.2.1/sessions?date_from=2020-01-01T00:00:00Z")
    assert [each["id"] for each in sessions.json["data"]] == [session["id"]]
    listed = await roaming.ocpi("GET", "/cpo/2.3.0/cdrs")
    (other,) = listed.json["data"]
    assert other["total_cost"]["before_taxes"] == 6
    assert Decimal(str(other["total_cost"]["taxes"][0]["amount"])) == Decimal("1.14")


async def test_a_partners_driver_does_not_charge_where_no_location_is(roaming: Roaming) -> None:
    """It charged for nothing: there was no session to bill, and nobody knew."""
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station, token = await roaming.backend.booted(), {"idToken": "04A1B2C3", "type": "ISO14443"}

    async def authorized(**unknown: str) -> Any:
        return (await station.call("Authorize", {"idToken": {**token, **unknown}}))["idTokenInfo"]["status"]

    assert [await authorized(), await authorized(idToken="FF")] == ["NotAtThisLocation", "Unknown"]
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    assert await authorized() == "Accepted"
    for evse_id, status in ((2, "NotAtThisLocation"), (1, "Accepted")):
        charging = Charging(roaming.backend, station, evse_id=evse_id)
        answer = await charging.event("Started", "Authorized", token=token, context="Transaction.Begin")
        assert answer["idTokenInfo"]["status"] == status


async def test_a_driver_whose_station_was_offline_for_days_is_billed(roaming: Roaming) -> None:
    """Its local list let the driver charge; the partner is asked when the events come."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    clock, station = roaming.backend.clock, await roaming.backend.booted()
    await away(roaming.backend, station)
    token, charging = {"idToken": "04A1B2C3", "type": "ISO14443"}, Charging(roaming.backend, station)
    clock.advance(60)
    begin = charging.reading("Transaction.Begin")
    clock.advance(3600)
    charging.wh += 10_000
    end = charging.reading("Transaction.End")
    clock.advance(2 * 86_400)
    charging.station = await roaming.backend.booted()
    for kind, trigger, reading in (("Started", "Authorized", begin), ("Ended", "StopAuthorized", end)):
        about = {"timestamp": reading["timestamp"], "meterValue": [reading]}
        await charging.event(kind, trigger, token=token, offline=True, extra=about)
    assert (await roaming.partner.sent("POST", "/cdrs"))["total_energy"] == 10


@pytest.mark.parametrize(
    ("whitelist", "answer", "status"),
    [
        ("ALWAYS", None, "Accepted"),
        ("ALLOWED_OFFLINE", None, "Accepted"),
        ("NEVER", None, "Unknown"),
        ("ALLOWED", "BLOCKED", "Blocked"),
        ("NEVER", "EXPIRED", "Expired"),
        ("NEVER", "ALLOWED", "Accepted"),
    ],
)
async def test_whitelist_rules(roaming: Roaming, whitelist: str, answer: str | None, status: str) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": whitelist})
    if answer is not None:
        roaming.partner.answers["/tokens/04A1B2C3/authorize"] = 200, {"allowed": answer, "token": TOKEN}
    else:
        roaming.partner.answers["/tokens/04A1B2C3/authorize"] = 500, None
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == status


@pytest.mark.parametrize(
    ("whitelist", "said", "status"),
    [
        ("ALLOWED_OFFLINE", {"allowed": "BLOCKED"}, "Blocked"),
        ("ALLOWED", {"allowed": "NOT_ALLOWED", "token": None}, "Invalid"),
        ("NEVER", {"allowed": "ALLOWED", "token": {**TOKEN, "contract_id": ""}, "location": {}}, "Accepted"),
        (None, {"allowed": "ALLOWED"}, "Unknown"),
    ],
)
async def test_a_partners_decision_counts_whatever_it_says_of_the_token(
    roaming: Roaming, whitelist: str | None, said: dict[str, Any], status: str
) -> None:
    """A driver whom it had refused charged by the whitelist, as its answer had no token: nobody would have paid."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    if whitelist is not None:
        await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": whitelist})
    roaming.partner.answers["/tokens/04A1B2C3/authorize"] = 200, said
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == status


@pytest.mark.parametrize("http", [200, 404])
@pytest.mark.parametrize("whitelist", ["ALLOWED", "ALLOWED_OFFLINE"])
async def test_a_partner_that_does_not_know_its_token_any_more_has_answered(
    roaming: Roaming, whitelist: str, http: int
) -> None:
    """Its whitelist is for partners that cannot be reached; 2004 is the answer that the token is none."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": whitelist})
    roaming.partner.answers["/tokens/04A1B2C3/authorize"] = http, None
    roaming.partner.codes["/tokens/04A1B2C3/authorize"] = 2004
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == "Unknown"


async def test_a_session_is_published_once_its_partner_has_said_that_it_may(roaming: Roaming) -> None:
    """Its transaction began before: the event of the start was looked at while the partner was asked (R202)."""
    stations, path = await two_stations(roaming), "/tokens/04A1B2C3/authorize"
    roaming.partner.answers[path] = 200, {"allowed": "ALLOWED", "token": TOKEN}
    held = roaming.partner.held[path] = threading.Event()
    begin = Charging(roaming.backend, stations[0]).event(
        "Started", "Authorized", token={"idToken": "04A1B2C3", "type": "ISO14443"}, context="Transaction.Begin"
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(begin)
        try:
            await roaming.partner.sent("POST", path)
            await connector_is(roaming.backend, stations[1], "Available")
            await roaming.partner.sent("PATCH", "/locations/DE/CPO/Depot/")  # after the start, published in order
        finally:
            held.set()
    async with asyncio.timeout(20):  # a sweep, that finds it too, is in a minute
        assert (await roaming.partner.sent("PUT", "/sessions/DE/CPO/"))["status"] == "ACTIVE"


async def test_each_authorize_is_the_partners_word_of_that_moment(roaming: Roaming) -> None:
    """A refusal, or a partner that did not answer, does not last; nor is one authorization for two sessions."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", TOKEN)
    station, found = await roaming.backend.booted(), []
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    for allowed in (None, "NO_CREDIT", "ALLOWED", "BLOCKED"):
        said = (500, None) if allowed is None else (200, {"allowed": allowed, "token": TOKEN})
        roaming.partner.answers["/tokens/04A1B2C3/authorize"] = said
        found.append((await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"])
    assert found == ["Unknown", "NoCredit", "Accepted", "Blocked"]


@pytest.mark.parametrize(
    ("whitelist", "answer", "status"),
    [
        ("ALWAYS", "ALLOWED", "Invalid"),
        ("NEVER", "ALLOWED", "Accepted"),
        ("ALLOWED_OFFLINE", "ALLOWED", "Accepted"),
        ("ALLOWED_OFFLINE", None, "Invalid"),
    ],
)
async def test_a_token_that_was_not_valid_may_be_by_now(
    roaming: Roaming, whitelist: str, answer: str | None, status: str
) -> None:
    """Where real-time authorization is required, the partner is asked whatever it has pushed."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": whitelist, "valid": False})
    said = (500, None) if answer is None else (200, {"allowed": answer, "token": TOKEN})
    roaming.partner.answers["/tokens/04A1B2C3/authorize"] = said
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == status


async def test_tokens_are_those_of_the_partner_and_changed_by_patch(roaming: Roaming) -> None:
    path = "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3?type=RFID"

    async def said(method: str, path: str, body: Any) -> tuple[int, int]:
        answer = await roaming.ocpi(method, path, body)
        return answer.status, answer.json["status_code"]

    assert await said("PATCH", path, {"valid": False, "last_updated": "2026-02-01T00:00:00Z"}) == (404, 2004)
    assert await said("PUT", path, {**TOKEN, "future_field": {"a": [1]}, "type": "RFID"}) == (201, 1000)
    assert await said("PUT", path.replace("NL", "DE"), TOKEN) == (404, 2001)
    assert await said("PUT", path, {**TOKEN, "uid": "other"}) == (200, 2001)
    assert await said("GET", path.replace("04A1", "%00"), None) == (400, 2001)
    assert await said("PUT", path, b"{") == (400, 2001)
    assert await said("PUT", path, {**TOKEN, "valid": None}) == (200, 2001)
    assert await said("PATCH", path, {"valid": False}) == (200, 2001)
    assert await said("PATCH", path, {"valid": False, "last_updated": "2026-02-01T00:00:00"}) == (200, 1000)
    assert await said("PUT", path, TOKEN) == (200, 1000)  # older: a repetition that was late
    kept = (await roaming.ocpi("GET", path)).json["data"]
    assert kept["valid"] is False
    assert kept["future_field"] == {"a": [1]}
    ahead = {"valid": True, "last_updated": "2099-01-01T00:00:00Z"}  # once by a clock that was wrong
    assert await said("PATCH", path, ahead) == (200, 1000)
    assert await said("PATCH", path, {"valid": False, "last_updated": "2026-02-02T00:00:00Z"}) == (200, 1000)
    assert (await roaming.ocpi("GET", path)).json["data"]["valid"] is False
    assert await said("DELETE", path, None) == (405, 2000)
    assert (await roaming.ocpi("DELETE", path)).headers["allow"] == "GET, PUT, PATCH"  # RFC 9110, 15.5.6
    named = {"country_code", "party_id", "uid", "type"}  # the URL has them, too
    bare = {name: value for name, value in TOKEN.items() if name not in named}
    assert await said("PUT", path.replace("04A1B2C3", "FF").replace("?", "/?"), bare) == (201, 1000)
    assert await said("GET", path.replace("04A1B2C3", "ff"), None) == (200, 1000)


async def test_a_partner_that_is_only_sent_things_is_not_silent(roaming: Roaming) -> None:
    """A national access point asks for nothing: it was an alert after a day."""
    partners, clock = roaming.backend.services[Partners], roaming.backend.clock
    clock.advance(90_000)
    await partners.call(await partners.known("tnm"), "PUT", f"{roaming.partner.url}/locations/DE/CPO/Depot", {})
    assert (await partners.known("tnm")).seen_ms == clock.utc_ms()


async def test_a_command_starts_and_stops_a_session(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    url = f"{roaming.partner.url}/commands/result/1"
    start = {"response_url": url, "token": TOKEN, "location_id": "Depot", "evse_uid": UID}
    answer = await roaming.ocpi("POST", "/cpo/2.2.1/commands/START_SESSION", start)
    (await station.expect("RequestStartTransaction")).reply({"status": "Accepted"})
    assert answer.json["data"]["result"] == "ACCEPTED"
    assert await roaming.partner.sent("POST", "/commands/result/1") == {"result": "ACCEPTED"}
    charging = Charging(roaming.backend, station)
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event("Started", "RemoteStart", state="Charging", token=token, context="Transaction.Begin")
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    assert session["auth_method"] == "COMMAND"

    async def command(name: str, **fields: Any) -> Any:
        said = await roaming.ocpi("POST", f"/cpo/2.2.1/commands/{name}", {"response_url": url, **fields})
        return said.json["data"]["result"] if said.json["status_code"] == 1000 else said.json["status_code"]

    assert await command("START_SESSION", token=TOKEN, location_id="nowhere") == 2003
    assert await command("START_SESSION", token=TOKEN, location_id="Depot", evse_uid=UID, connector_id="9") == 2003
    assert await command("START_SESSION", token={**TOKEN, "party_id": "XYZ"}, location_id="Depot") == 2004
    assert (await roaming.ask("PUT", "/tokens/ISO14443/FFEEDDCC", {"status": "Accepted"})).status < 300
    theirs = {**TOKEN, "uid": "ffeeddcc"}  # says the partner: it is that of our own driver
    assert await command("START_SESSION", token=theirs, location_id="Depot") == "REJECTED"
    assert await command("STOP_SESSION", session_id="none") == "UNKNOWN_SESSION"
    assert await command("STOP_SESSION", session_id=session["id"], response_url="https://169.254.169.254/") == 3001
    preferences = {"profile_type": "CHEAP"}
    path = f"/cpo/2.2.1/sessions/{session['id']}/charging_preferences"
    assert (await roaming.ocpi("PUT", path, preferences)).json["data"] == "DEPARTURE_REQUIRED"
    preferences |= {"departure_time": "2030-01-01T00:00:00Z", "energy_need": "20", "discharge_allowed": True}
    for wrong in ("-1", "1e20", "NaN"):
        assert (await roaming.ocpi("PUT", path, {**preferences, "energy_need": wrong})).json["status_code"] == 2001
    assert (await roaming.ocpi("PUT", path, preferences)).json["data"] == "ACCEPTED"
    assert await command("STOP_SESSION", session_id=session["id"]) == "ACCEPTED"
    (await station.expect("RequestStopTransaction")).reply({"status": "Accepted"})
    assert await roaming.partner.sent("POST", "/commands/result/1", 2) == {"result": "ACCEPTED"}


async def test_energy_that_a_driver_prefers_counts_from_then(roaming: Roaming) -> None:
    """What the vehicle wanted before does not grow with another departure."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station, run = await roaming.backend.booted(), roaming.backend.services.store.run
    charging, token = Charging(roaming.backend, station), {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    await run(transactions.save_needs, station.id, charging.id, Needs(evse_id=1, requested="AC", energy_wh=30_000))
    charging.wh += 20_000
    await charging.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    path = f"/cpo/2.2.1/sessions/{session['id']}/charging_preferences"
    departure = {"profile_type": "REGULAR", "departure_time": "2030-01-01T00:00:00Z"}
    for said, left_wh in ((departure, 10_000), ({**departure, "energy_need": "5"}, 5_000)):
        assert (await roaming.ocpi("PUT", path, said)).json["data"] == "ACCEPTED"
        known = (await run(look, station.id, roaming.backend.clock.utc_ms())).known[1]
        assert known.needs is not None
        assert known.needs.energy_wh - known.taken_wh == left_wh


async def test_what_a_partner_did_not_take_is_sent_again_with_the_same_id(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    roaming.partner.answers["/cdrs"] = 500, None
    await charge(roaming, {"idToken": "04A1B2C3", "type": "ISO14443"})
    first = await roaming.partner.sent("POST", "/cdrs")
    async with asyncio.timeout(60):
        while True:  # until it is noted that this has failed
            waiting = (await roaming.ask("GET", "/roaming/partners/tnm/deliveries")).json
            if [each["attempts"] for each in waiting if each["module"] == "cdrs"] == [1]:
                break
            await asyncio.sleep(0.01)
    roaming.partner.answers["/cdrs"] = 200, None
    roaming.backend.clock.advance(60)
    assert await roaming.partner.sent("POST", "/cdrs", 2) == first


async def test_a_partner_that_asks_to_wait_gets_nothing_else_instead(roaming: Roaming) -> None:
    station = await roaming.backend.booted()
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.partner.sent("PUT", "/locations/DE/CPO/Depot")
    path = f"/locations/DE/CPO/Depot/{UID}".replace("*", "%2A")
    roaming.partner.answers[path], roaming.partner.headers[path] = (429, None), {"Retry-After": "50"}
    await station.call("StatusNotification", {
        "timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Faulted", "evseId": 1, "connectorId": 1,
    })  # fmt: skip
    await roaming.partner.sent("PATCH", path)
    async with asyncio.timeout(60):
        while True:
            waiting = (await roaming.ask("GET", "/roaming/partners/tnm/deliveries")).json
            if [(each["subject"], each["attempts"]) for each in waiting] == [(f"Depot/{UID}", 1)]:
                break
            await asyncio.sleep(0.01)
    assert waiting[0]["due_ms"] - roaming.backend.clock.utc_ms() > 40_000


async def test_a_partner_that_left_gets_its_cdr_when_it_is_back(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    said = {**TOKEN, "valid": "true", "whitelist": "ALWAYS"}  # a truth value as text
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", said)
    station, token = await roaming.backend.booted(), {"idToken": "04A1B2C3", "type": "ISO14443"}
    charging = Charging(roaming.backend, station)
    assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == "Accepted"
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    assert (await roaming.ask("DELETE", "/roaming/partners/tnm")).status == 204
    charging.wh += 10_000
    roaming.backend.clock.advance(3600)
    await charging.event("Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End")
    async with asyncio.timeout(60):
        while not (await roaming.ask("GET", "/roaming/partners/tnm/deliveries")).json:
            await asyncio.sleep(0.01)
    await roaming.register()
    assert (await roaming.partner.sent("POST", "/cdrs"))["id"] == session["id"]


async def test_a_corrected_cost_is_credited_and_billed_again_in_order(roaming: Roaming) -> None:
    """The first CDR is refused for a while: its credit and what replaces it wait for it."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    roaming.partner.answers["/cdrs"] = 500, None
    charging = await charge(roaming, {"idToken": "04A1B2C3", "type": "ISO14443"})
    first = await roaming.partner.sent("POST", "/cdrs")
    services, key = roaming.backend.services, (charging.station.id, charging.id)

    def corrected(connection: Connection) -> None:
        before = typed_json.convert((tariffs.cost(connection, *key) or {})["document"], Bill)
        bill = msgspec.structs.replace(before, excl_tax=before.excl_tax - 10**6, incl_tax=before.incl_tax - 1_190_000)
        document = msgspec.json.encode(bill).decode()
        tariffs.save_cost(connection, *key, bill, document, services.clock.utc_ms(), final=True, source="csms")

    await services.store.run(corrected)
    services.feed.publish("corrected", key[0], {"session": key[1]})
    async with asyncio.timeout(60):
        while len((await roaming.ask("GET", "/roaming/partners/tnm/deliveries")).json) < 3:
            await asyncio.sleep(0.01)
    roaming.partner.answers["/cdrs"] = 200, None
    roaming.backend.clock.advance(60)
    await roaming.partner.sent("POST", "/cdrs", 4)
    again, credit, second = [body for how, where, body in roaming.partner.bodies if where == "/cdrs"][-3:]
    assert again == first
    assert (credit["id"], credit["credit_reference_id"]) == (f"{first['id']}-C", first["id"])
    assert credit["total_cost"] == {name: -value for name, value in first["total_cost"].items()}
    assert second["id"] == f"{first['id']}-1"
    assert second["total_cost"] == {"excl_vat": 5, "incl_vat": 5.95}


async def test_a_cdr_has_the_signed_values_of_begin_and_end_of_many(roaming: Roaming) -> None:
    """With one each minute it had those of the first 100 minutes: they proved less energy than was billed.

    A station may write them in hex; OCPI has base64.
    """
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station, token = await roaming.backend.booted(), {"idToken": "04A1B2C3", "type": "ISO14443"}
    charging = Charging(roaming.backend, station)

    def signed(number: int) -> dict[str, str]:
        record = f"OCMF|{{}}|{number}".encode()
        data = record.hex() if number % 2 else base64.b64encode(record).decode()
        return {"signedMeterData": data, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": ""}

    await charging.event("Started", "Authorized", token=token, context="Transaction.Begin", signed=signed(0))
    for number in range(1, 120):
        charging.wh += 100
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic", signed=signed(number))
    await charging.event("Ended", "StopAuthorized", stopped="Local", context="Transaction.End", signed=signed(120))
    values = (await roaming.partner.sent("POST", "/cdrs"))["signed_data"]["signed_values"]
    sent = [int(base64.b64decode(each["signed_data"]).decode().rpartition("|")[2]) for each in values]
    assert sent == [*range(50), *range(71, 121)]
    assert [values[0]["nature"], values[-1]["nature"]] == ["Start", "End"]


async def test_what_is_rejected_after_it_was_billed_is_credited(roaming: Roaming) -> None:
    """Its driver paid for what the operator had rejected for good; released by new evidence, it is billed again."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    charging = await charge(roaming, {"idToken": "04A1B2C3", "type": "ISO14443"})
    first = await roaming.partner.sent("POST", "/cdrs")

    async def decided_again(decision: str) -> None:
        charging.wh += 500
        await charging.event("Ended", "StopAuthorized", stopped="Local", offline=True, context="Transaction.End")
        answer = await roaming.ask("POST", f"/books/quarantine/{charging.id}/{decision}", {"note": "seen"})
        assert answer.status == 200, answer.json

    await decided_again("reject")
    credit = await roaming.partner.sent("POST", "/cdrs", 2)
    assert (credit["id"], credit["credit_reference_id"]) == (f"{first['id']}-C", first["id"])
    assert credit["total_cost"] == {name: -value for name, value in first["total_cost"].items()}
    await decided_again("release")
    again = await roaming.partner.sent("POST", "/cdrs", 3)
    assert (again["id"], again.get("credit")) == (f"{first['id']}-1", None)


async def result(roaming: Roaming, count: int) -> Any:
    """Return the `count`-th result of a command."""
    return await roaming.partner.sent("POST", "/commands/result", count)


async def test_reserving_cancelling_and_unlocking(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    where = {"response_url": f"{roaming.partner.url}/commands/result", "location_id": "Depot", "evse_uid": UID}
    until = format_time(roaming.backend.clock.utc_ms() + 3_600_000)
    reserve = {**where, "token": TOKEN, "expiry_date": until, "reservation_id": "R-1"}
    station.answers["ReserveNow"] = station.answers["CancelReservation"] = {"status": "Accepted"}
    station.answers["UnlockConnector"] = {"status": "Unlocked"}
    for number, (name, body, expected) in enumerate((
        ("RESERVE_NOW", reserve, "ACCEPTED"),
        ("CANCEL_RESERVATION", {**where, "reservation_id": "r-1"}, "ACCEPTED"),
        ("CANCEL_RESERVATION", {**where, "reservation_id": "r-1"}, "UNKNOWN_RESERVATION"),
        ("UNLOCK_CONNECTOR", {**where, "connector_id": "1"}, "ACCEPTED"),
        ("RESERVE_NOW", {**reserve, "expiry_date": "2020-01-01T00:00:00Z"}, "REJECTED"),
        ("RESERVE_NOW", reserve, "ACCEPTED"),
        ("RESERVE_NOW", {**reserve, "reservation_id": "R-2"}, "EVSE_OCCUPIED"),
        ("CANCEL_RESERVATION", {**where, "reservation_id": "R-1"}, "ACCEPTED"),
    ), 1):  # fmt: skip
        said = await roaming.ocpi("POST", f"/cpo/2.2.1/commands/{name}", body)
        assert said.json["data"]["result"] == "ACCEPTED"
        assert await result(roaming, number) == {"result": expected}
    reserved, cancelled = station.payloads("ReserveNow")[0], station.payloads("CancelReservation")[0]
    assert reserved["id"] == cancelled["reservationId"]
    assert (reserved["evseId"], reserved["idToken"]["idToken"]) == (1, "04A1B2C3")
    station.answers["ReserveNow"] = {"status": "Occupied"}
    await roaming.ocpi("POST", "/cpo/2.2.1/commands/RESERVE_NOW", {**reserve, "reservation_id": "R-2"})
    assert await result(roaming, 9) == {"result": "EVSE_OCCUPIED"}
    await away(roaming.backend, station)
    await roaming.ocpi("POST", "/cpo/2.2.1/commands/UNLOCK_CONNECTOR", {**where, "connector_id": "1"})
    assert await result(roaming, 10) == {"result": "EVSE_INOPERATIVE"}


async def two_stations(roaming: Roaming) -> list[ScriptedStation]:
    """Return the stations of a depot with two EVSEs."""
    (evse,) = LOCATION["evses"]
    second = {**evse, "station_id": "CS-V2G-0002", "evse_id": "DE*CPO*E2"}
    await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "evses": [evse, second]})
    return [await roaming.backend.booted(name) for name in ("CS-V2G-0001", "CS-V2G-0002")]


async def test_a_reservation_is_extended_where_it_is_and_made_again_once_it_is_over(roaming: Roaming) -> None:
    """A partner may name a location alone, and use the id of a reservation again."""
    stations = await two_stations(roaming)
    for each in stations:
        each.answers["ReserveNow"] = {"status": "Accepted"}
        await connector_is(roaming.backend, each, "Available")
    expires = format_time(roaming.backend.clock.utc_ms() + 3_600_000)
    reserve = {
        "response_url": f"{roaming.partner.url}/commands/result", "token": TOKEN, "expiry_date": expires,
        "reservation_id": "R-1", "location_id": "Depot",
    }  # fmt: skip
    for number in range(1, 4):
        if number == 2:
            await connector_is(roaming.backend, stations[0], "Reserved")
            async with asyncio.timeout(10):  # until it is published
                while (await roaming.ocpi("GET", f"/cpo/2.2.1/locations/Depot/{UID}")).json["data"][
                    "status"
                ] != "RESERVED":
                    await asyncio.sleep(0.01)
        if number == 3:
            update = {"reservationId": 1, "reservationUpdateStatus": "Removed"}
            await stations[0].call("ReservationStatusUpdate", update)
        await roaming.ocpi("POST", "/cpo/2.2.1/commands/RESERVE_NOW", reserve)
        assert await result(roaming, number) == {"result": "ACCEPTED"}
    assert [[sent["id"] for sent in each.payloads("ReserveNow")] for each in stations] == [[1, 1], [2]]


_PROFILE = {"charging_rate_unit": "W", "charging_profile_period": [{"start_period": 0, "limit": "7400.5"}]}


@pytest.mark.parametrize(
    ("about", "command", "action", "lost"),
    [
        (
            "UNLOCK_CONNECTOR",
            UnlockConnector(response_url="", location_id="Depot", evse_uid=UID, connector_id="1"),
            "UnlockConnector",
            "TIMEOUT",
        ),
        (
            PROFILE,
            ProfileCommand(
                method="PUT", station_id="CS-V2G-0001", transaction_id="T1", evse_id=1, response_url="",
                charging_profile=typed_json.convert(_PROFILE, OcpiProfile),
            ),
            "SetChargingProfile",
            "UNKNOWN",
        ),
    ],
    ids=["command", "charging profile"],
)  # fmt: skip
async def test_commands_outlive_a_restart(
    roaming: Roaming, about: str, command: UnlockConnector | ProfileCommand, action: str, lost: str
) -> None:
    """One that waited is carried out, unless it is too late; what became of one that was under way is not known."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    station.answers.update(UnlockConnector={"status": "Unlocked"}, SetChargingProfile={"status": "Accepted"})
    services = roaming.backend.services
    command = msgspec.structs.replace(command, response_url=f"{roaming.partner.url}/commands/result")
    now_ms = services.clock.utc_ms()
    commands = ("sent", now_ms), ("waiting", now_ms - 61_000), ("waiting", now_ms)
    for number, (state, since_ms) in enumerate(commands, 1):
        kept = Kept(owner="tnm", module="commands", object_id=str(number), updated_ms=since_ms, state=state,
                    about=about, document=wire.encode(command).decode())  # fmt: skip
        await services.store.run(put_object, kept)
        await resume_commands(services)
        assert await result(roaming, number) == {"result": lost if number < 3 else "ACCEPTED"}
    assert len(station.payloads(action)) == 1


async def test_a_charging_profile_is_set_read_and_cleared(roaming: Roaming) -> None:
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    await station.call("Authorize", {"idToken": token})
    charging = Charging(roaming.backend, station)
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    path = f"/cpo/2.2.1/chargingprofiles/{session['id']}"
    answer_to = f"{roaming.partner.url}/commands/result"
    profile = _PROFILE
    roaming.backend.clock.advance(60)
    for each in ("SetChargingProfile", "ClearChargingProfile"):
        station.answers[each] = {"status": "Accepted"}
    station.answers["GetCompositeSchedule"] = {"status": "Accepted", "schedule": {
        "evseId": 1, "duration": 60, "scheduleStart": "2026-01-01T00:00:00Z", "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.5}]}}  # fmt: skip
    said = await roaming.ocpi("PUT", path, {"charging_profile": profile, "response_url": answer_to})
    assert said.json["data"] == {"result": "ACCEPTED", "timeout": 60}
    assert await result(roaming, 1) == {"result": "ACCEPTED"}
    sent = station.payloads("SetChargingProfile")[-1]["chargingProfile"]
    assert (sent["chargingProfilePurpose"], sent["transactionId"]) == ("TxProfile", charging.id)
    assert sent["chargingSchedule"][0]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 7400.5}]
    begin = session["start_date_time"].replace("Z", "")
    assert sent["chargingSchedule"][0]["startSchedule"].startswith(begin), "relative to the start of charging"
    await roaming.ocpi("GET", f"{path}?duration=60&response_url={answer_to}")
    assert await result(roaming, 2) == {"result": "ACCEPTED", "profile": {
        "start_date_time": "2026-01-01T00:00:00Z", "charging_profile": {"charging_rate_unit": "A", "duration": 60,
            "charging_profile_period": [{"start_period": 0, "limit": 16.5}]}}}  # fmt: skip
    await roaming.ocpi("DELETE", f"{path}?response_url={answer_to}")
    assert await result(roaming, 3) == {"result": "ACCEPTED"}
    assert station.payloads("ClearChargingProfile")[-1]["chargingProfileId"] == sent["id"]
    station.answers["ClearChargingProfile"] = {"status": "Unknown"}
    await roaming.ocpi("DELETE", f"{path}?response_url={answer_to}")
    assert await result(roaming, 4) == {"result": "UNKNOWN"}
    assert (await roaming.ocpi("DELETE", f"{path}?response_url=https://10.0.0.1/")).json["status_code"] == 3001
    assert [(await roaming.ocpi(each, path)).json["status_code"] for each in ("GET", "DELETE")] == [2001, 2001]
    services, now_ms = roaming.backend.services, roaming.backend.clock.utc_ms()
    share = share_profile(1, 16_000, 3, now_ms, charging.id)
    await services.store.run(save_profile, station.id, 1, share, CSO, now_ms)
    before = len(station.payloads("SetChargingProfile"))
    await roaming.ocpi("PUT", path, {"charging_profile": profile, "response_url": answer_to})
    assert await result(roaming, 5) == {"result": "REJECTED"}, "at a site, whose share it would replace"
    assert len(station.payloads("SetChargingProfile")) == before
    empty = {"charging_profile": {**profile, "charging_profile_period": []}, "response_url": answer_to}
    assert (await roaming.ocpi("PUT", path, empty)).json["data"]["result"] == "REJECTED"
    endless = await roaming.ocpi("GET", f"{path}?duration={'9' * 5000}&response_url={answer_to}")
    assert endless.json["data"]["result"] == "ACCEPTED"
    unknown = await roaming.ocpi("DELETE", f"/cpo/2.2.1/chargingprofiles/none?response_url={answer_to}")
    assert unknown.json["data"]["result"] == "UNKNOWN_SESSION"


async def test_a_partner_learns_what_else_limits_a_session_for_which_it_has_set_a_profile(roaming: Roaming) -> None:
    """As OCPI demands of an operator that knows it."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    profiles = {"identifier": "chargingprofiles", "role": "SENDER", "url": f"{roaming.partner.url}/profiles"}
    roaming.partner.answers["/d"][1]["endpoints"].append(profiles)
    said = {"token": "token-b", "url": f"{roaming.partner.url}/versions", "roles": [ROLE]}
    roaming.token = (await roaming.ocpi("PUT", "/2.2.1/credentials", said)).json["data"]["token"]
    station = await roaming.backend.booted()
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    await station.call("Authorize", {"idToken": token})
    charging = Charging(roaming.backend, station)
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    session = await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    station.answers["GetCompositeSchedule"] = {"status": "Accepted", "schedule": {
        "evseId": 1, "duration": 1800, "scheduleStart": "2026-01-01T00:00:00Z", "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 4200}]}}  # fmt: skip
    answer_to = f"{roaming.partner.url}/commands/result"
    path = f"/cpo/2.2.1/chargingprofiles/{session['id']}"
    await roaming.ocpi("PUT", path, {"charging_profile": _PROFILE, "response_url": answer_to})
    assert await result(roaming, 1) == {"result": "ACCEPTED"}
    await station.call("NotifyChargingLimit", {"chargingLimit": {"chargingLimitSource": "SO"}, "evseId": 1})
    active = await roaming.partner.sent("PUT", f"/profiles/{session['id']}")
    assert active["start_date_time"] == "2026-01-01T00:00:00Z"
    assert active["charging_profile"] == {
        "charging_rate_unit": "W", "duration": 1800, "charging_profile_period": [{"start_period": 0, "limit": 4200}],
    }  # fmt: skip
    station.answers["GetCompositeSchedule"] = {"status": "Rejected"}
    await station.call("ClearedChargingLimit", {"chargingLimitSource": "SO", "evseId": 1})
    async with asyncio.timeout(60):
        while len(station.payloads("GetCompositeSchedule")) < 2:
            await asyncio.sleep(0.01)
    assert [where for _, where, _ in roaming.partner.bodies if where.startswith("/profiles/")] == [
        f"/profiles/{session['id']}"
    ]


@pytest.mark.parametrize("by_contract", [False, True])
async def test_a_driver_consents_to_feed_back_by_contract_or_while_it_charges(backend: Any, by_contract: bool) -> None:
    """A running session of OCPP 2.1 is told (Q02); the driver may take its consent back."""
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner) as roaming:
            await roaming.register(discharge=by_contract)
            await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
            await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
            station = await roaming.backend.booted(version="2.1")
            station.answers["NotifyAllowedEnergyTransfer"] = {"status": "Accepted"}
            token = {"idToken": "04A1B2C3", "type": "ISO14443"}
            said = await station.call("Authorize", {"idToken": token})
            assert ("DC_BPT" in said["allowedEnergyTransfer"]) == by_contract
            assert ("AC_DER" in said["allowedEnergyTransfer"]) == by_contract
            charging = Charging(roaming.backend, station)
            await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
            session = await partner.sent("PUT", "/sessions/DE/CPO/")
            path = f"/cpo/2.2.1/sessions/{session['id']}/charging_preferences"
            for number, allowed in enumerate((not by_contract, by_contract), 1):
                preferences = {"profile_type": "REGULAR", "discharge_allowed": allowed}
                assert (await roaming.ocpi("PUT", path, preferences)).json["data"] == "ACCEPTED"
                async with asyncio.timeout(60):
                    while len(told := station.payloads("NotifyAllowedEnergyTransfer")) < number:
                        await asyncio.sleep(0.01)
                assert ("DC_BPT" in told[-1]["allowedEnergyTransfer"]) == allowed
                assert told[-1]["transactionId"] == charging.id


async def register_hub(roaming: Roaming) -> Callable[..., Awaitable[Answer]]:
    """Make the partner a hub; return how a party behind it asks."""
    parties = [{**ROLE, "party_id": party} for party in ("TNM", "OTH")] + [{**ROLE, "role": "HUB", "party_id": "HUB"}]
    said = {"token": "token-b", "url": f"{roaming.partner.url}/versions", "roles": parties}
    roaming.token = (await roaming.ocpi("PUT", "/2.2.1/credentials", said)).json["data"]["token"]

    async def as_party(party: str, method: str, path: str, body: Any = None, side: str = "cpo") -> Answer:
        token = base64.b64encode(roaming.token.encode()).decode()
        whose = {"ocpi_from_country_code": "NL", "ocpi_from_party_id": party}
        return await roaming.ask(
            method, f"/ocpi/{side}/2.2.1{path}", body, role=None, authorization=f"Token {token}", **whose
        )

    return as_party


async def test_parties_behind_a_hub_have_reservations_of_the_same_id(roaming: Roaming) -> None:
    """One that an earlier program has stored without its party is its driver's."""
    stations = await two_stations(roaming)
    for each in stations:
        each.answers["ReserveNow"] = each.answers["CancelReservation"] = {"status": "Accepted"}
    as_party = await register_hub(roaming)
    until = format_time(roaming.backend.clock.utc_ms() + 3_600_000)
    cancel = {"response_url": f"{roaming.partner.url}/commands/result", "reservation_id": "R-1"}
    reserve = {**cancel, "location_id": "Depot", "expiry_date": until}
    first = {**reserve, "token": TOKEN, "evse_uid": UID}
    other = {**reserve, "token": {**TOKEN, "party_id": "OTH", "uid": "0B"}, "evse_uid": "CS-V2G-0002*1"}
    kept = Kept(owner="tnm", module="reservations", object_id="r-1", updated_ms=0, document="{}", about="1")
    for number, (party, name, body, expected) in enumerate((
        ("TNM", "RESERVE_NOW", first, "ACCEPTED"),
        ("OTH", "RESERVE_NOW", other, "ACCEPTED"),
        ("OTH", "CANCEL_RESERVATION", cancel, "ACCEPTED"),
        ("OTH", "CANCEL_RESERVATION", cancel, "UNKNOWN_RESERVATION"),
        ("TNM", "RESERVE_NOW", first, "ACCEPTED"),
        ("TNM", "CANCEL_RESERVATION", cancel, "ACCEPTED"),
        ("TNM", "CANCEL_RESERVATION", cancel, "UNKNOWN_RESERVATION"),
    ), 1):  # fmt: skip
        if number == 3:
            await roaming.backend.services.store.run(put_object, kept)
            await roaming.backend.services.store.run(remove_object, "tnm", "reservations", "nl*tnm*r-1")
        await as_party(party, "POST", f"/commands/{name}", body)
        assert await result(roaming, number) == {"result": expected}
    assert [[sent["id"] for sent in each.payloads("ReserveNow")] for each in stations] == [[1, 1], [2]]
    cancelled = [[sent["reservationId"] for sent in each.payloads("CancelReservation")] for each in stations]
    assert cancelled == [[1], [2]]


async def test_parties_behind_a_hub_have_cdrs_of_their_own(roaming: Roaming) -> None:
    """Their sessions may have the same id."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    await charge(roaming, {"idToken": "04A1B2C3", "type": "ISO14443"})
    bill = await roaming.partner.sent("POST", "/cdrs")
    as_party = await register_hub(roaming)
    for party in ("TNM", "OTH"):
        theirs = {**bill, "country_code": "NL", "party_id": party}
        assert (await as_party(party, "POST", "/cdrs", theirs, "emsp")).status == 201
    kept = (await roaming.ask("GET", "/roaming/cdrs")).json
    assert [(each["key"], "twice" in each["detail"]) for each in kept] == [
        (f"nl*{party}*{bill['id']}".lower(), False) for party in ("oth", "tnm")
    ]
    for party, status in (("TNM", 200), ("HUB", 200), ("OTH", 404)):
        assert (await as_party(party, "GET", f"/cdrs/nl*tnm*{bill['id']}", side="emsp")).status == status


async def test_a_party_behind_a_hub_sees_and_changes_only_what_is_its_drivers(roaming: Roaming) -> None:
    """The hub routes what any of its parties asks; all have the hub's token."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    as_party = await register_hub(roaming)
    always = {**TOKEN, "whitelist": "ALWAYS"}
    assert (await as_party("OTH", "PUT", "/tokens/NL/TNM/04A1B2C3", always)).status == 404
    assert (await as_party("TNM", "PUT", "/tokens/NL/TNM/04A1B2C3", always)).status == 201
    station = await roaming.backend.booted()
    charging = Charging(roaming.backend, station)
    token = {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    number = (await roaming.partner.sent("PUT", "/sessions/DE/CPO/"))["id"]
    url = f"{roaming.partner.url}/results"
    start = {"location_id": "Depot", "token": TOKEN, "response_url": url}
    stop = {"session_id": number, "response_url": url}
    assert (await as_party("OTH", "POST", "/commands/START_SESSION", start)).json["status_code"] == 2004
    assert (await as_party("OTH", "POST", "/commands/STOP_SESSION", stop)).json["data"]["result"] == "UNKNOWN_SESSION"
    charging.wh += 10_000
    roaming.backend.clock.advance(3600)
    await charging.event("Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End")
    bill = (await roaming.partner.sent("POST", "/cdrs"))["id"]
    kept = await roaming.backend.services.store.read(find_object, "", "cdrs", bill)
    assert kept is not None  # as an earlier program has stored it
    await roaming.backend.services.store.run(put_object, msgspec.structs.replace(kept, alias=""))
    for party, count, status in (("TNM", 1, 200), ("HUB", 1, 200), ("OTH", 0, 404)):
        for module, name in (("sessions", number), ("cdrs", bill)):
            listed = await as_party(party, "GET", f"/{module}?date_from=2020-01-01T00:00:00Z")
            assert (len(listed.json["data"]), listed.headers["x-total-count"]) == (count, str(count))
            assert (await as_party(party, "GET", f"/{module}/{name}")).status == status
        assert len((await as_party(party, "GET", "/locations")).json["data"]) == 1


@pytest.mark.requirement("R205")
async def test_a_national_access_point_reads_places_status_and_prices_without_a_token(backend: Any) -> None:
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner, open_data=True) as roaming:
            await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
            station = await roaming.backend.booted()

            async def read(path: str) -> Answer:
                return await roaming.ask("GET", f"/ocpi/open/{path}", role=None)

            await station.call("StatusNotification", {
                "timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Faulted", "evseId": 1, "connectorId": 1,
            })  # fmt: skip
            async with asyncio.timeout(60):
                while (await read("2.2.1/locations")).json["data"][0]["evses"][0]["status"] != "OUTOFORDER":
                    await asyncio.sleep(0.01)
            assert [each["id"] for each in (await read("2.2.1/tariffs?limit=1")).json["data"]] == ["day"]
            table, status = (await read("datex/table")).json, (await read("datex/status")).json
            (known,) = table["payload"]["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"]
            said = status["payload"]["aegiEnergyInfrastructureStatusPublication"]
            assert said["tableReference"][0]["versionG"] == known["versionG"]
            (site,) = said["energyInfrastructureSiteStatus"]
            (point,) = site["energyInfrastructureStationStatus"][0]["refillPointStatus"]
            assert point["aegiElectricChargingPointStatus"]["status"] == {"value": "outOfOrder"}
            assert "helpdesk" in (await read("datex/missing")).json[1]
            assert (await read("2.2.1/tokens")).status == 404
            assert (await roaming.ask("POST", "/ocpi/open/datex/table", role=None)).status == 405


async def test_open_data_are_made_once_for_all_who_ask(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers who asked for those of a thousand places at once kept operators and stations waiting for a minute."""
    made, table = [], afir.table

    def counted(*about: Any) -> Any:
        made.append(about)
        return table(*about)

    monkeypatch.setattr(afir, "table", counted)
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner, open_data=True) as roaming:

            async def read() -> str:
                return (await roaming.ask("GET", "/ocpi/open/datex/table", role=None)).body.decode()

            await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
            assert len({*await asyncio.gather(*(read() for _ in range(5)))}) == 1
            assert len(made) == 1
            await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "name": "Another name"})
            assert "Another name" in (before := await read()), "also within a millisecond, or with a clock set back"
            assert await read() == before
            roaming.backend.clock.advance(60)
            assert await read() != before
            assert len(made) == 3


async def test_opening_hours_and_helpdesk_are_published(roaming: Roaming) -> None:
    """Partners of OCPI 2.2.1 have no field for the phone."""
    hours = [{"weekday": each, "period_begin": "06:00", "period_end": "22:00"} for each in (1, 2)]
    times: dict[str, Any] = {"twentyfourseven": False, "regular_hours": hours}
    known = {"help_phone": "+49 30 1234567", "nuts": "DE3", "parking_spaces": 12, "disabled_spaces": 1}
    (evse,) = LOCATION["evses"]
    evse = {**evse, "capabilities": ["CONTACTLESS_CARD_SUPPORT", "RESERVABLE"], "parking_restrictions": ["EV_ONLY"]}
    place = {**LOCATION, "opening_times": times, "green_energy": True, "evses": [evse], **known}
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", place)).status == 200
    pushed = await roaming.partner.sent("PUT", "/locations/DE/CPO/Depot")
    assert (pushed["opening_times"], pushed["energy_mix"]) == (times, {"is_green_energy": True})
    assert pushed["evses"][0]["parking_restrictions"] == ["EV_ONLY"]
    said = pushed["evses"][0]["capabilities"]
    assert (said.count("RESERVABLE"), said.count("CONTACTLESS_CARD_SUPPORT")) == (1, 1)
    assert not known.keys() & pushed.keys()
    listed = await roaming.ocpi("GET", "/cpo/2.3.0/locations/Depot")
    assert known.items() <= listed.json["data"].items()
    for wrong in (
        {"twentyfourseven": True, "regular_hours": hours}, {"twentyfourseven": False},
        {"twentyfourseven": False, "regular_hours": [{**hours[0], "period_end": "05:00"}]},
        {"twentyfourseven": False, "regular_hours": [{**hours[0], "weekday": 8}]},
    ):  # fmt: skip
        assert (await roaming.ask("PUT", "/roaming/locations/Depot", {**place, "opening_times": wrong})).status == 400
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", {**place, "help_phone": "110"})).status == 400


@pytest.mark.parametrize("standard", ["IEC_60309_2_three_32", "IEC_60309_2_single_16"])
async def test_an_industrial_socket_is_published_by_its_name(roaming: Roaming, standard: str) -> None:
    """Of all names of OCPI these alone have small letters."""
    connector = {**LOCATION["evses"][0]["connectors"][0], "standard": standard, "format": "SOCKET"}
    place = {**LOCATION, "evses": [{**LOCATION["evses"][0], "connectors": [connector]}]}
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", place)).status == 200
    pushed = await roaming.partner.sent("PUT", "/locations/DE/CPO/Depot")
    assert pushed["evses"][0]["connectors"][0]["standard"] == standard
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", {**place, "publish": False})).status == 200


async def test_an_evse_is_published_once_at_a_place(roaming: Roaming) -> None:
    evses = [*LOCATION["evses"], {**LOCATION["evses"][0], "evse_id": "DE*CPO*E2"}]
    refused = await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "evses": evses})
    assert (refused.status, "CS-V2G-0001*1 is there twice" in refused.body.decode()) == (400, True)


async def test_an_evse_that_moves_to_another_place_is_known_there(roaming: Roaming) -> None:
    """Its old place, stored without it, took it from the new one: UNKNOWN, and no driver of partners charged there."""
    station = await roaming.backend.booted()
    for place in (LOCATION, {**LOCATION, "id": "Yard"}, {**LOCATION, "evses": []}):
        assert (await roaming.ask("PUT", f"/roaming/locations/{place['id']}", place)).status == 200
    await station.call("StatusNotification", {
        "timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Faulted", "evseId": 1, "connectorId": 1,
    })  # fmt: skip
    assert (await roaming.partner.sent("PATCH", "/locations/DE/CPO/Yard/"))["status"] == "OUTOFORDER"


@pytest.mark.parametrize(
    ("station_id", "capability"), [("CS-Ü", "CREDIT_CARD_PAYABLE"), ("CS-V2G-0001", "Plug and Charge")]
)
async def test_a_place_that_could_not_be_published_is_refused(
    roaming: Roaming, station_id: str, capability: str
) -> None:
    """It was stored, and from then on open data of all places was an internal error, as was its correction."""
    connector = {**LOCATION["evses"][0]["connectors"][0], "capabilities": [capability]}
    evse = {**LOCATION["evses"][0], "station_id": station_id, "connectors": [connector]}
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "evses": [evse]})).status == 400


async def test_nothing_is_open_unless_the_operator_says_so(roaming: Roaming) -> None:
    assert (await roaming.ask("GET", "/ocpi/open/datex/table", role=None)).status == 401


@pytest.mark.parametrize("change", ["withdrawn", "exchanged", "renamed", "moved"])
async def test_a_session_is_billed_at_its_place_as_that_was_when_it_began(roaming: Roaming, change: str) -> None:
    """The site closes or changes its name, or its charger is exchanged or moves, before the last events have come."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station = await roaming.backend.booted()
    charging, token = Charging(roaming.backend, station), {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event("Started", "Authorized", state="Charging", token=token, context="Transaction.Begin")
    await roaming.partner.sent("PUT", "/sessions/DE/CPO/")
    if change == "withdrawn":
        await roaming.ask("DELETE", "/roaming/locations/Depot")
    elif change == "renamed":
        await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "city": "Potsdam"})
    elif change == "moved":
        await roaming.ask("PUT", "/roaming/locations/Yard", {**LOCATION, "id": "Yard"})
    else:
        (evse,) = LOCATION["evses"]
        await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "evses": [{**evse, "station_id": "CS-2"}]})
    charging.wh += 10_000
    for _ in range(60):
        roaming.backend.clock.advance(60)
    await charging.event("Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End")
    cdr = await roaming.partner.sent("POST", "/cdrs")
    assert cdr["total_cost"] == {"excl_vat": 6, "incl_vat": 7.14}
    assert (cdr["cdr_location"]["id"], cdr["cdr_location"]["evse_uid"]) == ("Depot", UID)
    assert cdr["cdr_location"]["city"] == "Berlin"
