"""Fleets over the API: kept, planned with reasons, and offered to the grid (R51)."""

from typing import Any

import pytest

from tests.csms.api.support import ApiClient, serving
from tests.csms.fixtures import Start
from tests.csms.services.charging.support import TOKENS, fleet_vehicle, offer

FLEET = {"id": "depot", "stations": ["CS-V2G-0001"], "import_limit_w": 60_000, "export_limit_w": 60_000}


async def put(ask: ApiClient, **changes: Any) -> None:
    assert (await ask("PUT", "/fleets/depot", {**FLEET, **changes})).status == 200


async def test_a_fleet_is_kept_changed_and_forgotten(ask: ApiClient) -> None:
    await put(ask)
    assert [each["id"] for each in (await ask("GET", "/fleets")).json] == ["depot"]
    await put(ask, import_limit_w=7_000)
    assert (await ask("GET", "/fleets/depot")).json["import_limit_w"] == 7_000
    assert (await ask("PUT", "/fleets/other", FLEET)).status == 400
    assert (await ask("PUT", "/fleets/depot", {**FLEET, "zone": "Europe/Nowhere"})).status == 400
    assert (await ask("DELETE", "/fleets/depot")).status == 204
    for method, path in (("GET", ""), ("GET", "/plan"), ("GET", "/capability"), ("DELETE", "")):
        assert (await ask(method, f"/fleets/depot{path}")).status == 404, path


async def test_without_prices_a_plan_is_refused_by_name(ask: ApiClient) -> None:
    await put(ask)
    answer = await ask("GET", "/fleets/depot/plan")
    assert (answer.status, answer.json["code"]) == (409, "no_price")


@pytest.mark.requirement("R51", "R181")
async def test_a_plan_says_why_and_a_fleet_says_what_it_can_do(backend: Start) -> None:
    async with backend(tokens=TOKENS) as running, serving(running) as ask:
        await plan_and_call(ask)


async def plan_and_call(ask: ApiClient) -> None:
    await put(ask)
    charge = await fleet_vehicle(ask.backend)
    await offer(ask.backend, (100_000, 50_000), (600_000, 500_000))
    shown = (await ask("GET", "/fleets/depot/plan")).json
    (part,) = shown["plan"]["vehicles"]
    assert part["id"] == f"CS-V2G-0001/{charge.id}"
    assert max(part["power_w"]) > 0 > min(part["power_w"]), "cheap before dear"
    assert any(sentence.startswith("Net gain") or "Net gain" in sentence for sentence in shown["explanation"])
    assert float(shown["earnings"]["net"]["amount"]) > 0
    assert shown["chart"].startswith("<svg")
    found = (await ask("GET", "/fleets/depot/capability")).json
    now = found["ranges"][0]
    assert sum(each["up_w"] for each in now["vehicles"]) * 0.9 >= now["up_w"] > 0, "headroom for departures"
    assert {each["direction"] for each in found["bids"]} <= {"up", "down"}
    assert all(each["power_w"] % 1000 == 0 for each in found["bids"])
    beyond = await ask("POST", "/fleets/depot/call", {"power_w": now["up_w"] + 1, "duration_s": 900})
    assert (beyond.status, beyond.json["code"]) == (409, "beyond_range")
    given = await ask("POST", "/fleets/depot/call", {"power_w": 2_000, "duration_s": 900})
    assert [each["setpoint_w"] for each in given.json] == [part["power_w"][0] - 2_000]
