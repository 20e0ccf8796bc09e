"""Two of our back ends over HTTPS: a driver of one charges at the other, and the CDR is checked to the cent."""

import asyncio
import base64
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection

from csms.roaming.partners import Partners
from csms.tariffs import store as tariffs
from tests.csms.roaming.peers import LOCATION, PLAN, Operator, Wire, acquainted, charge, eventually, roaming
from tests.csms.support import EMAID
from v2g import typed_json
from v2g.energy.settlement.costing import Bill
from v2g.energy.settlement.ocmf import Assignment, MeterIdentity, Reading, sign_session, signed_meter_data
from v2g.ocpi import wire
from v2g.pki.keys import SoftwareKey

pytestmark = pytest.mark.requirement("R202", "R203")


@pytest.mark.parametrize("negative", [True, False])
async def test_a_driver_charges_abroad_and_money_is_equal_on_both_sides(
    cpo: Operator, emsp: Operator, negative: bool
) -> None:
    await cpo.ask("POST", "/tariffs", PLAN, 201)
    await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "both ways"})
    await cpo.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await acquainted(cpo, emsp, negative_energy=negative)
    assert await charge(cpo, 1, 1) == "Unknown"
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert await charge(cpo, 22_345, 3_210) == "Accepted"
    found = await eventually(emsp, "/roaming/cdrs", 1 if negative else 2)
    assert [(each["state"], each["detail"]) for each in found] == [("booked", "")] * len(found)
    (cost,) = [each["cost"]["amount"] for each in await cpo.ask("GET", "/transactions") if each["cost"]]
    totals = [each["document"]["total_cost"] for each in found]
    net = sum(each["before_taxes"] for each in totals)
    gross = net + sum(tax["amount"] for each in totals for tax in each["taxes"])
    assert round(gross, 2) == round(float(cost), 2)
    assert {each["document"].get("credit", False) for each in found} == ({False} if negative else {False, True})


@pytest.mark.parametrize("negative", [True, False])
async def test_energy_fed_back_that_has_no_price_is_of_no_tariff(cpo: Operator, emsp: Operator, negative: bool) -> None:
    """Its period named a tariff that nobody had published."""
    await roaming(cpo, emsp, negative_energy=negative)
    plan = {name: each for name, each in PLAN.items() if name != "export"}
    await cpo.ask("POST", "/tariffs", {**plan, "id": "one way"}, 201)
    await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "one way"})
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert await charge(cpo, 20_000, 3_000) == "Accepted"
    found = await eventually(emsp, "/roaming/cdrs", 1 if negative else 2)
    assert [(each["state"], each["detail"]) for each in found] == [("booked", "")] * len(found)
    (cdr, *_) = [each["document"] for each in found if not each["document"].get("credit")]
    tariffs = {each["id"] for each in cdr["tariffs"]}
    assert {each.get("tariff_id") for each in cdr["charging_periods"]} <= {*tariffs, None}


async def test_a_correction_of_energy_fed_back_alone_is_passed_on(cpo: Operator, emsp: Operator) -> None:
    """The CDR of the energy taken is the same, but its credit CDR is not: both are taken back and made anew."""
    await cpo.ask("POST", "/tariffs", PLAN, 201)
    await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "both ways"})
    await cpo.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await acquainted(cpo, emsp, negative_energy=False)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert await charge(cpo, 20_000, 10_000) == "Accepted"
    before = await eventually(emsp, "/roaming/cdrs", 2)
    key = "CS-V2G-0001", "tx-1"

    def corrected(connection: Connection) -> None:
        bill = typed_json.convert((tariffs.cost(connection, *key) or {})["document"], Bill)
        periods = tuple(  # 2 kWh less
            msgspec.structs.replace(each, export_mwh=each.export_mwh and each.export_mwh - 2_000_000)
            for each in bill.periods
        )
        less = msgspec.structs.replace(
            bill, periods=periods, excl_tax=bill.excl_tax + 620_000, incl_tax=bill.incl_tax + 737_800
        )
        document = msgspec.json.encode(less).decode()
        tariffs.save_cost(connection, *key, less, document, 0, final=True, source="csms")

    await cpo.services.store.run(corrected)
    cpo.services.feed.publish("corrected", key[0], {"session": key[1]})
    found = [each["document"] for each in await eventually(emsp, "/roaming/cdrs", 5)]
    sums = [Decimal(str(each["total_cost"]["before_taxes"])) for each in found]
    first = sum(Decimal(str(each["document"]["total_cost"]["before_taxes"])) for each in before)
    assert sum(sums) == first + Decimal("0.62")
    assert {each["id"]: each["total_energy"] for each in found if each["id"].endswith("-1E")}.popitem()[1] == 8


async def test_what_a_partner_claims_is_checked(cpo: Operator, emsp: Operator) -> None:
    await roaming(cpo, emsp)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert await charge(cpo, 20_000, 0) == "Accepted"
    (booked,) = await eventually(emsp, "/roaming/cdrs")
    assert booked["state"] == "booked"
    document = booked["document"]
    token = await as_cpo(cpo)

    async def sent(**changes: Any) -> Any:
        return await emsp.ocpi("POST", "/emsp/2.3.0/cdrs", token, {**document, **changes})

    same = await sent()
    assert (same.status, same.code) == (200, 1000)  # a repetition
    assert same.headers["Location"].startswith(f"{emsp.url}/ocpi/emsp/2.3.0/cdrs/")
    assert (await emsp.ocpi("GET", same.headers["Location"], token)).data["id"] == document["id"]
    assert (await sent(last_updated="2026-11-28T23:59:59Z")).code == 1000  # as well, made anew
    assert (await sent(total_energy=21)).code == 2001  # the same id, another content
    place = document["cdr_location"]
    path = f"/emsp/2.3.0/locations/DE/CPO/Depot/{place['evse_uid']}/{place['connector_id']}"
    two = {"power_type": "AC_2_PHASE", "max_voltage": 230, "max_amperage": 63, "max_electric_power": None}
    assert (await emsp.ocpi("PATCH", path, token, {**two, "last_updated": "2099-01-01T00:00:00Z"})).code == 1000
    wrong = {
        "price": {"total_cost": {"before_taxes": document["total_cost"]["before_taxes"] + 0.02}},
        "tariff": {"tariffs": [{**document["tariffs"][0], "elements": [
            {"price_components": [{"type": "ENERGY", "price": 9, "step_size": 1}]}]}, *document["tariffs"][1:]]},
        "token": {"cdr_token": {**document["cdr_token"], "uid": "FFFFFFFF"}},
        "authorization": {"authorization_reference": "never-issued"},
        "energy": {"total_energy": 30},
        "times": {"end_date_time": "2099-01-01T00:00:00Z"},
        "signed data": {"signed_data": {"encoding_method": "OCMF", "signed_values": [
            {"nature": "End", "plain_data": "x", "signed_data": base64.b64encode(b"OCMF|{}|{}").decode()}]}},
    }  # fmt: skip
    for number, (word, changes) in enumerate(wrong.items()):
        answer = await sent(id=f"wrong-{number}", session_id=f"other-{number}", **changes)
        assert (answer.status, answer.code) == (201, 1000)
        found = {each["key"]: each for each in await emsp.ask("GET", "/roaming/cdrs?state=disputed")}
        detail = found[f"de*cpo*wrong-{number}"]["detail"]
        assert word in detail
        assert "power" not in detail  # 24 kW by two phases
    dearer = {**document["tariffs"][0], "elements": wrong["tariff"]["tariffs"][0]["elements"]}
    period = {name: each for name, each in document["charging_periods"][0].items() if name != "tariff_id"}
    await sent(id="unnamed", session_id="unnamed", tariffs=[dearer], charging_periods=[period])
    found = {each["key"]: each for each in await emsp.ask("GET", "/roaming/cdrs?state=disputed")}
    assert "is not what was published" in found["de*cpo*unnamed"]["detail"]
    assert (await sent(id="none", total_energy="NaN")).code == 2001
    await sent(id="twice")
    assert "twice" in (await emsp.ask("GET", "/roaming/cdrs?state=disputed"))[0]["detail"]
    path = "/roaming/partners/cpo/cdrs/de*cpo*twice/decision"
    body = {"decision": "rejected", "note": "it is of the same session"}
    assert (await emsp.ask("POST", path, body))["state"] == "rejected"
    await emsp.ask("POST", path, body, 409)
    cost = {"before_taxes": -document["total_cost"]["before_taxes"]}
    await sent(id="credit", credit=True, credit_reference_id=document["id"], total_cost=cost)
    (kept,) = [each for each in await emsp.ask("GET", "/roaming/cdrs") if each["key"] == "de*cpo*credit"]
    assert (kept["state"], kept["detail"]) == ("booked", "")
    foreign = await sent(id="foreign", party_id="XYZ")
    assert foreign.code == 2001


async def as_cpo(cpo: Operator) -> str:
    """Return the token with which the operator calls its partner."""
    partners = cpo.services.find(Partners)
    assert partners is not None
    known = await partners.known("emsp")
    return partners.token_of(known)


async def test_own_tokens_are_offered_and_asked_about(cpo: Operator, emsp: Operator) -> None:
    await acquainted(cpo, emsp)
    token = await as_cpo(cpo)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    async with asyncio.timeout(60):
        while True:
            listed = (await emsp.ocpi("GET", "/emsp/2.2.1/tokens", token)).data
            found = {each["uid"]: each for each in listed}
            if "04A1B2C3" in found:
                break
            await asyncio.sleep(0.05)
    assert found[EMAID]["type"] == "OTHER"  # 2.2.1 has no type for contracts
    where = {"location_id": "Depot", "evse_uids": ["1"]}
    allowed = await emsp.ocpi("POST", "/emsp/2.2.1/tokens/04a1b2c3/authorize?type=RFID", token, where)
    assert (allowed.data["allowed"], allowed.data["location"]) == ("ALLOWED", where)
    assert allowed.data["authorization_reference"]
    for nowhere in ({}, b"null"):
        allowed = await emsp.ocpi("POST", "/emsp/2.2.1/tokens/04A1B2C3/authorize", token, nowhere)
        assert allowed.data["allowed"] == "ALLOWED"
    contract = await emsp.ocpi("POST", f"/emsp/2.2.1/tokens/{EMAID}/authorize?type=OTHER", token, None)
    assert contract.data["token"]["contract_id"] == EMAID
    unknown = await emsp.ocpi("POST", "/emsp/2.2.1/tokens/FF/authorize", token, where)
    assert (unknown.status, unknown.code) == (404, 2004)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Blocked"})
    blocked = await emsp.ocpi("POST", "/emsp/2.2.1/tokens/04A1B2C3/authorize", token, where)
    assert blocked.data["allowed"] == "BLOCKED"


async def test_a_partners_objects_are_kept_and_changed(cpo: Operator, emsp: Operator) -> None:
    await acquainted(cpo, emsp)
    token = await as_cpo(cpo)
    path, when = "/emsp/2.2.1/locations/DE/CPO/L1", "2026-01-01T00:00:00Z"
    connector = {"id": "1", "standard": "CHADEMO", "format": "CABLE", "power_type": "DC", "max_voltage": "500",
                 "max_amperage": 125, "last_updated": when}  # fmt: skip
    evse = {"uid": "E1", "status": "NEW_STATUS", "connectors": [connector], "last_updated": when}
    location = {
        "country_code": "DE", "party_id": "CPO", "id": "L1", "publish": True, "address": "A", "city": "B",
        "country": "DEU", "coordinates": {"latitude": "1.0", "longitude": "2.0"}, "time_zone": "Europe/Berlin",
        "evses": [evse], "last_updated": when,
    }  # fmt: skip
    assert (await emsp.ocpi("PUT", path, token, location)).status == 201
    later = "2026-01-02T00:00:00"
    changed = await emsp.ocpi("PATCH", f"{path}/e1", token, {"status": "CHARGING", "last_updated": later})
    assert changed.code == 1000, changed.body
    assert (await emsp.ocpi("PATCH", f"{path}/e1/1", token, {"max_amperage": 9, "last_updated": later})).code == 1000
    second = {**evse, "uid": "E2", "last_updated": later}
    assert (await emsp.ocpi("PUT", f"{path}/E2", token, second)).code == 1000
    kept = (await emsp.ocpi("GET", path, token)).data
    assert [each["status"] for each in kept["evses"]] == ["CHARGING", "NEW_STATUS"]
    assert kept["evses"][0]["connectors"][0]["max_amperage"] == 9
    assert wire.read_time(kept["last_updated"]) == wire.read_time(later)
    between = "2026-01-01T12:00:00Z"  # the other EVSE's later change was faster
    third = {**evse, "uid": "E3"}
    assert (await emsp.ocpi("PUT", f"{path}/E3", token, third)).code == 1000
    assert (await emsp.ocpi("PATCH", f"{path}/E3", token, {"status": "BLOCKED", "last_updated": between})).code == 1000
    assert (await emsp.ocpi("PATCH", f"{path}/E1", token, {"status": "BLOCKED", "last_updated": between})).code == 1000
    kept = (await emsp.ocpi("GET", path, token)).data
    assert [each["status"] for each in kept["evses"]] == ["CHARGING", "NEW_STATUS", "BLOCKED"]
    assert wire.read_time(kept["last_updated"]) == wire.read_time(later)
    for each in (f"{path}/E4", f"{path}/E1/4", path.replace("L1", "L4")):
        assert (await emsp.ocpi("GET", each, token)).status == 404
        unknown = await emsp.ocpi("PATCH", each, token, {"status": "BLOCKED", "last_updated": later})
        assert (unknown.status, unknown.code) == (404, 2003)
    assert (await emsp.ocpi("PUT", path.replace("CPO", "XYZ"), token, location)).status == 404
    assert (await emsp.ocpi("PATCH", f"{path}/E1", token, {"status": "CHARGING"})).code == 2001
    session = {
        "country_code": "DE", "party_id": "CPO", "id": "S1", "start_date_time": when, "kwh": 0, "cdr_token": {
            "country_code": "DE", "party_id": "MSP", "uid": "A", "type": "RFID", "contract_id": "C"},
        "auth_method": "WHITELIST", "location_id": "L1", "evse_uid": "E1", "connector_id": "1", "currency": "EUR",
        "status": "ACTIVE", "charging_periods": "", "last_updated": when,  # as some write that there are none
    }  # fmt: skip
    where = "/emsp/2.2.1/sessions/DE/CPO/S1"
    assert (await emsp.ocpi("PUT", where, token, session)).status == 201
    period = {"start_date_time": when, "dimensions": [{"type": "ENERGY", "volume": 1}]}
    more = {"charging_periods": [period], "last_updated": later}
    for _ in range(2):  # its answer was lost
        assert (await emsp.ocpi("PATCH", where, token, more)).code == 1000
    assert (await emsp.ocpi("PATCH", where, token, {**more, "charging_periods": 5})).code == 2001
    assert (await emsp.ocpi("GET", where, token)).data["charging_periods"] == [period]
    place = {"id": "L1", "address": "A", "city": "B", "country": "DEU", "coordinates": location["coordinates"],
             "evse_uid": "E1", "evse_id": "DE*CPO*E1", "connector_id": "1", "connector_standard": "CHADEMO",
             "connector_format": "CABLE", "connector_power_type": "DC"}  # fmt: skip
    cdr = {**{name: session[name] for name in ("country_code", "party_id", "id", "start_date_time", "cdr_token",
           "auth_method", "currency", "last_updated")}, "end_date_time": later, "cdr_location": place,
           "charging_periods": [period], "total_cost": {"excl_vat": 0}, "total_energy": 1,
           "total_time": 24}  # fmt: skip
    assert (await emsp.ocpi("POST", "/emsp/2.2.1/cdrs", token, cdr)).code == 1000  # of a voltage in text


async def test_what_no_push_has_brought_is_pulled(cpo: Operator, emsp: Operator) -> None:
    await roaming(cpo, emsp)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert await charge(cpo, 20_000, 0) == "Accepted"
    (pushed,) = await eventually(emsp, "/roaming/cdrs")
    pulled = await emsp.ask("POST", "/roaming/partners/cpo/pull")
    found = {each["module"]: each["objects"] for each in pulled}
    assert found == {"locations": 1, "tariffs": 2, "sessions": 1, "cdrs": 1, "tokens": found["tokens"]}
    assert found["tokens"] >= 1
    assert await emsp.ask("GET", "/roaming/cdrs") == [pushed]


@pytest.mark.parametrize("forged", [False, True])
async def test_the_meters_signature_travels_with_the_cdr_and_is_verified(
    cpo: Operator, emsp: Operator, forged: bool
) -> None:
    """The key is in the CDR; a register that another key has signed is disputed."""
    await roaming(cpo, emsp)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    assert cpo.clock is not None
    begin, end = (Reading(cpo.clock.utc_ms() + ms, mwh) for ms, mwh in ((0, 1_000_000), (3_000_000, 21_000_000)))
    text = sign_session(
        "import", begin=begin, end=end, identity=MeterIdentity(meter_serial="M1"), pagination=1, key=SoftwareKey(key),
        assignment=Assignment(emaid=None, evse_id="DE*CPO*E1"),
    )  # fmt: skip
    shown = (other if forged else key).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = {"signedMeterData": signed_meter_data(text), "signingMethod": "", "encodingMethod": "OCMF",
              "publicKey": base64.b64encode(shown).decode()}  # fmt: skip
    assert await charge(cpo, 20_000, 0, signed) == "Accepted"
    (cdr,) = await eventually(emsp, "/roaming/cdrs")
    (value,) = cdr["document"]["signed_data"]["signed_values"]
    assert base64.b64decode(value["signed_data"]).decode() == text
    assert cdr["document"]["signed_data"]["encoding_method"] == "OCMF"
    assert cdr["state"] == ("disputed" if forged else "booked"), cdr["detail"]
    assert ("signed data" in cdr["detail"]) == forged


async def test_a_driver_charges_abroad_at_a_station_of_ocpp_1_6(cpo: Operator, emsp: Operator) -> None:
    await roaming(cpo, emsp)
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    assert cpo.clock is not None
    clock = cpo.clock

    def now() -> str:
        return datetime.fromtimestamp(clock.utc_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async with cpo.csms.connect(versions=("ocpp1.6",)) as socket:
        station = Wire(socket)
        await station.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Available", "timestamp": now()}
        await station.call("StatusNotification", status)
        assert (await station.call("Authorize", {"idTag": "04A1B2C3"}))["idTagInfo"]["status"] == "Accepted"
        start = {"connectorId": 1, "idTag": "04A1B2C3", "meterStart": 1000, "timestamp": now()}
        begun = await station.call("StartTransaction", start)
        await station.call("StatusNotification", {**status, "status": "Charging", "timestamp": now()})
        # that station would end the session first
        where = {"location_id": "Depot", "evse_uid": "CS-V2G-0001*1", "connector_id": "1"}
        await emsp.ask("POST", "/roaming/partners/cpo/commands", {"command": "UNLOCK_CONNECTOR", **where}, 201)
        async with asyncio.timeout(60):
            while (await emsp.ask("GET", "/roaming/commands"))[0]["state"] in ("waiting", "accepted"):
                await asyncio.sleep(0.05)
        assert (await emsp.ask("GET", "/roaming/commands"))[0]["state"] == "REJECTED"
        clock.advance(3000)
        stop = {"transactionId": begun["transactionId"], "meterStop": 21_000, "timestamp": now(), "idTag": "04A1B2C3"}
        await station.call("StopTransaction", stop)
        (cdr,) = await eventually(emsp, "/roaming/cdrs")
    assert (cdr["state"], cdr["detail"]) == ("booked", "")
    assert cdr["document"]["total_energy"] == 20
