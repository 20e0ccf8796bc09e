"""Two of our back ends that know each other by a hub only (R202)."""

import asyncio
import json
from typing import Any

import pytest

from tests.csms.roaming.hub import Hub
from tests.csms.roaming.peers import LOCATION, PLAN, TOKEN, Operator, Wire, charge

pytestmark = pytest.mark.requirement("R202")


async def behind(hub: Hub, cpo: Operator, emsp: Operator) -> None:
    """Let both be behind the hub, with a price, a location and a driver."""
    await cpo.ask("POST", "/tariffs", PLAN, 201)
    await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "both ways"})
    await emsp.ask("PUT", "/tokens/ISO14443/04A1B2C3", {"status": "Accepted"})
    await hub.register(emsp, "MSP")
    await hub.register(cpo, "CPO")
    await cpo.ask("PUT", "/roaming/locations/Depot", LOCATION)


async def until(operator: Operator, path: str, **wanted: Any) -> Any:
    """Return the first object of a list once it has these values."""
    async with asyncio.timeout(60):
        while True:
            for each in await operator.ask("GET", path):
                if wanted.items() <= each.items():
                    return each
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("version", ["2.2.1", "2.3.0"])
async def test_pushes_reach_all_and_sessions_and_bills_only_whose_driver_it_is(
    cpo: Operator, emsp: Operator, version: str
) -> None:
    async with Hub(version).running() as hub:
        await behind(hub, cpo, emsp)
        known = await cpo.ask("GET", "/roaming/partners/hub")
        behind_it = {"2.2.1": ["NL*HUB HUB", "DE*MSP"], "2.3.0": ["DE*MSP CPO", "DE*MSP EMSP"]}
        assert (known["version"], known["parties"]) == (version, behind_it[version])
        assert await charge(cpo, 22_345, 3_210) == "Accepted"
        cdr = await until(emsp, "/roaming/cdrs", state="booked")
        assert cdr["document"]["party_id"] == "CPO"
        assert cdr["document"]["cdr_token"]["party_id"] == "MSP"
        routed = set(hub.routed)
        assert {("PUT", "locations", "NL*HUB"), ("PUT", "tariffs", "NL*HUB"), ("PUT", "tokens", "NL*HUB")} <= routed
        assert {("PUT", "sessions", "DE*MSP"), ("POST", "cdrs", "DE*MSP")} <= routed
        assert not [each for each in routed if each[1] in ("sessions", "cdrs") and each[2] != "DE*MSP"]
        waiting = "/roaming/partners/hub/deliveries"
        assert ("POST", "tokens", "NL*HUB") in routed  # the driver was unknown: the hub knows whom to ask
        async with asyncio.timeout(60):  # the partner has it before its answer is here
            while {"sessions", "cdrs"} & {each["module"] for each in await cpo.ask("GET", waiting)}:
                await asyncio.sleep(0.05)


async def test_a_commands_result_returns_to_the_party_behind_the_hub(cpo: Operator, emsp: Operator) -> None:
    async with Hub("2.2.1").running() as hub:
        await behind(hub, cpo, emsp)
        await emsp.ask("POST", "/roaming/partners/hub/pull")
        body = {"command": "START_SESSION", "location_id": "Depot", **TOKEN}
        async with cpo.csms.connect() as socket:
            station = Wire(socket)
            about = {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
            await station.call("BootNotification", about)
            await emsp.ask("POST", "/roaming/partners/hub/commands", body, 201)
            while (frame := json.loads(await socket.recv()))[2] != "RequestStartTransaction":
                await socket.send(json.dumps([4, frame[1], "NotSupported", "", {}]))
            await socket.send(json.dumps([3, frame[1], {"status": "Accepted"}]))
            await until(emsp, "/roaming/commands", state="ACCEPTED")
        assert ("POST", "commands", "DE*CPO") in hub.routed
        assert ("POST", "results", "DE*MSP") in hub.routed


async def test_a_hub_is_refused_that_claims_to_be_us_or_another_partner(cpo: Operator, emsp: Operator) -> None:
    """Parties of others that it names are left out: it does not speak for them."""
    async with Hub("2.3.0").running() as hub:
        await hub.register(emsp, "MSP")
        await hub.register(cpo, "CPO")
        (parties,) = [each["parties"] for each in await cpo.ask("GET", "/roaming/partners")]
        assert sorted(parties) == ["DE*MSP CPO", "DE*MSP EMSP"]
        member = hub.members[1]
        said = {"token": "CPO", "url": f"{hub.url}/versions", "hub_party_id": "DECPO", "roles": [
            {"role": "CPO", "country_code": "NL", "party_id": "ABC", "business_details": {"name": "A"}}]}  # fmt: skip
        answer = await cpo.ocpi("PUT", member.endpoints["credentials", "RECEIVER"], member.token, said)
        assert answer.code == 2001
