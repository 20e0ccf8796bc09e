"""Partners that we did not write: extrawest-ocpi and py-ocpi over HTTPS, and ocpi-types reads all that is sent."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.foreign_partner import INTEROP, ForeignPartner, foreign
from tests.csms.roaming.peers import LOCATION, PLAN, Operator, Wire
from tests.csms.roaming.registered import TOKEN, charge, operating
from tests.csms.roaming.scripted_partner import ScriptedPartner
from tests.interop.environments import environment

pytestmark = [pytest.mark.requirement("R202", "R203"), pytest.mark.interop, pytest.mark.long]

CLASSES = {"locations": "Location", "tariffs": "Tariff", "sessions": "Session", "cdrs": "Cdr", "tokens": "Token"}
WHEN = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(("package", "count"), [("extrawest-ocpi", 1000), ("py-ocpi", 1000)])
async def test_a_foreign_provider_gets_every_cdr_once_though_it_is_killed(
    cpo: Operator, pki: PkiTree, tmp_path: Path, package: str, count: int
) -> None:
    """Its log names each CDR that it was sent: a repetition has the same id and content."""
    assert cpo.clock is not None
    clock = cpo.clock
    async with foreign(pki, tmp_path, package) as partner:
        await cpo.ask("POST", "/tariffs", PLAN, 201)
        await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "both ways"})
        await cpo.ask("PUT", "/roaming/locations/Depot", LOCATION)
        body = {"partner_id": "xtw", "versions_url": partner.versions, "token": "token-a"}
        await cpo.ask("POST", "/roaming/partners", body, 201)
        assert (await cpo.ask("POST", "/roaming/partners/xtw/register"))["version"] == "2.2.1"
        (location,) = (await partner.has("locations", 1)).values()
        assert location["evses"][0]["connectors"][0]["tariff_ids"] == ["both ways"]
        assert len(await partner.has("tariffs", 2)) == 2
        await partner.ask("POST", "/own/tokens", {**TOKEN, "party_id": "XTW"})
        async with cpo.csms.connect() as socket:
            station = Wire(socket)
            boot = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
            await station.call("BootNotification", boot)
            token = {"idToken": TOKEN["uid"], "type": "ISO14443"}
            assert (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"] == "Accepted"
            for number in range(count):
                for seq_no, (kind, context) in enumerate(
                    (("Started", "Transaction.Begin"), ("Ended", "Transaction.End"))
                ):
                    clock.advance(1)
                    now = datetime.fromtimestamp(clock.utc_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    sample = {"value": 1000 + 100 * (number + seq_no), "context": context}
                    await station.call("TransactionEvent", {
                        "eventType": kind, "triggerReason": "Authorized", "timestamp": now, "seqNo": seq_no,
                        "transactionInfo": {"transactionId": f"tx-{number}", "chargingState": "Charging"},
                        "evse": {"id": 1, "connectorId": 1},
                        "idToken": token, "meterValue": [{"timestamp": now, "sampledValue": [sample]}],
                    })  # fmt: skip
                if number % (count // 10) == 5:
                    await partner.kill()
                    await partner.start()
        found = await partner.has("cdrs", count, partial(clock.advance, 60))  # deliveries wait longer each time
        assert {each["total_energy"] for each in found.values()} == {0.1}
        assert len({each["session_id"] for each in found.values()}) == count


async def test_a_foreign_operator_pushes_and_is_pulled_from(cpo: Operator, pki: PkiTree, tmp_path: Path) -> None:
    async with foreign(pki, tmp_path) as partner:
        body = {"partner_id": "xtw", "versions_url": partner.versions, "token": "token-a"}
        await cpo.ask("POST", "/roaming/partners", body, 201)
        await cpo.ask("POST", "/roaming/partners/xtw/register")
        assert (await cpo.ask("GET", "/roaming/partners/xtw"))["version"] == "2.2.1"
        ours = (await partner.kept())["partner"]
        party = {"country_code": "NL", "party_id": "XTW", "last_updated": WHEN}
        connector = {"id": "1", "standard": "CHADEMO", "format": "CABLE", "power_type": "DC", "max_voltage": 500,
                     "max_amperage": 125, "tariff_ids": ["T1"], "last_updated": WHEN}  # fmt: skip
        place = {"address": "A", "city": "B", "country": "NLD", "coordinates": {"latitude": "1.0", "longitude": "2.0"}}
        evse = {"uid": "E1", "evse_id": "NL*XTW*E1", "status": "AVAILABLE", "connectors": [connector]}
        tariff = {**party, "id": "T1", "currency": "EUR", "elements": [{"price_components": [
            {"type": "ENERGY", "price": 0.5, "vat": 21, "step_size": 1}]}]}  # fmt: skip
        user = {"country_code": "DE", "party_id": "CPO", "uid": "04A1B2C3", "type": "RFID", "contract_id": "none"}
        period = {"start_date_time": "2026-01-01T00:00:00Z", "dimensions": [
            {"type": "ENERGY", "volume": 10.0}, {"type": "TIME", "volume": 1.0}], "tariff_id": "T1"}  # fmt: skip
        cost = {"excl_vat": 5.0, "incl_vat": 6.05}
        session = {**party, "id": "S1", "start_date_time": WHEN, "kwh": 10.0, "cdr_token": user, "currency": "EUR",
                   "auth_method": "WHITELIST", "location_id": "L1", "evse_uid": "E1", "connector_id": "1",
                   "charging_periods": [period], "total_cost": cost, "status": "COMPLETED"}  # fmt: skip
        cdr = {**party, "id": "C1", "session_id": "S1", "start_date_time": WHEN, "end_date_time": "2026-01-01T01:00:00",
               "cdr_token": user, "auth_method": "WHITELIST", "currency": "EUR", "charging_periods": [period],
               "cdr_location": {**place, "id": "L1", "evse_uid": "E1", "evse_id": "NL*XTW*E1", "connector_id": "1",
                                "connector_standard": "CHADEMO", "connector_format": "CABLE",
                                "connector_power_type": "DC"},
               "total_cost": cost, "total_energy": 10.0, "total_time": 1.0}  # fmt: skip
        own = {
            "locations": {**party, **place, "id": "L1", "publish": True, "time_zone": "Europe/Amsterdam",
                          "evses": [{**evse, "last_updated": WHEN}]},
            "tariffs": tariff, "sessions": session, "cdrs": cdr,
            "tokens": {**TOKEN, "party_id": "XTW", "last_updated": WHEN},
        }  # fmt: skip
        (details,) = [each["url"] for each in await offered(partner, cpo, ours) if each["version"] == "2.2.1"]
        receiver = {"endpoints_url": details, "auth_token": ours["token"]}
        for module, found in own.items():
            await partner.ask("POST", f"/own/{module}", found)
            name = found.get("id", found.get("uid"))
            push = {"module_id": module, "object_id": name, "receivers": [receiver]}
            (said,) = (await partner.ask("POST", "/push/2.2.1", push))["receiver_responses"]
            assert said["status_code"] == 201, said
            assert module == "cdrs" or said["response"]["status_code"] == 1000
        pulled = await cpo.ask("POST", "/roaming/partners/xtw/pull")
        assert {each["module"]: each["objects"] for each in pulled} == dict.fromkeys(own, 1)
        (claimed,) = await cpo.ask("GET", "/roaming/cdrs")
        assert (claimed["state"], claimed["detail"]) == ("disputed", "token: 04a1b2c3 is none of ours")


async def offered(partner: ForeignPartner, cpo: Operator, ours: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the versions that the partner sees."""
    said = await cpo.ocpi("GET", ours["url"], ours["token"])
    return list(said.data)


@pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])
async def test_another_reader_understands_all_that_is_sent(backend: Any, version: str) -> None:
    """What it reads and writes again is the same: no field that it does not know, none of another type."""
    python = environment("ocpi-types", ("ocpi-types==0.3.0",))
    pairs: list[tuple[str, str, Any]] = []
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner) as roaming:
            await roaming.register(version)
            hours = {"twentyfourseven": False, "regular_hours": [
                {"weekday": 1, "period_begin": "06:00", "period_end": "22:00"}]}  # fmt: skip
            more = {"name": "Depot", "postal_code": "10115", "opening_times": hours, "help_phone": "+49 30 1234567"}
            await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, **more})
            path = f"/cpo/{version}/tokens/NL/TNM/04A1B2C3"
            await roaming.ocpi("PUT", path, {**TOKEN, "whitelist": "ALWAYS"})
            await charge(roaming, {"idToken": "04A1B2C3", "type": "ISO14443"})
            await partner.sent("POST", "/cdrs")
            for module, kind in CLASSES.items():
                side = "emsp" if module == "tokens" else "cpo"
                listed = await roaming.ocpi("GET", f"/{side}/{version}/{module}?date_from=2020-01-01")
                pairs += [(version, kind, each) for each in listed.json["data"]]
                pairs += [
                    (version, kind, body) for how, where, body in partner.bodies
                    if where.startswith(f"/{module}") and how in ("PUT", "POST")
                ]  # fmt: skip
            versions = (await roaming.ocpi("GET", "/versions")).json["data"]
            details = (await roaming.ocpi("GET", f"/{version}")).json["data"]
            credentials = (await roaming.ocpi("GET", f"/{version}/credentials")).json["data"]
            await roaming.ask("PUT", "/tokens/ISO14443/0A1B2C3D", {"status": "Accepted"})
            said = await roaming.ocpi("POST", f"/emsp/{version}/tokens/0A1B2C3D/authorize", {"location_id": "X"})
            pairs += [(version, "Version", each) for each in versions if each["version"] == version]
            pairs += [(version, "VersionDetails", details), (version, "Credentials", credentials)]
            pairs.append((version, "AuthorizationInfo", said.json["data"]))
    assert {kind for _, kind, _ in pairs} >= {*CLASSES.values(), "Credentials", "AuthorizationInfo"}
    reader = await asyncio.create_subprocess_exec(
        str(python), str(INTEROP / "ocpi_reader.py"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    lines = "\n".join(json.dumps(each) for each in pairs)
    printed, _ = await reader.communicate(lines.encode())
    assert (reader.returncode, printed.decode()) == (0, "")
