"""A fleet's flexibility is forecast, bid, called, delivered and settled: the whole chain, by API and meters."""

from collections.abc import Sequence
from typing import Any

import pytest

from csms.fleets import store as rows
from csms.fleets.rules import Fleet, FleetBid
from csms.fleets.work import Fleets
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.services.charging.support import HOUR_MS, fleet_vehicle, next_hour, offer, running, settled
from v2g.energy.dispatch import lp  # noqa: F401 - takes long to import, and no test should
from v2g.energy.dispatch.forecast import FleetQuarter
from v2g.units import QUARTER_MS

CHEAP, DEAR = (100_000, 50_000), (600_000, 500_000)
FLEET = Fleet(id="depot", import_limit_w=60_000, export_limit_w=60_000, gate_closure_s=900)


async def fleet_with_a_past(csms: Backend) -> list[Charging]:
    """Have a fleet of two vehicles been followed for 15 days: from 18:00 on it could give 5 kW up. Return them."""
    next_hour(csms.clock)
    charges = [await fleet_vehicle(csms, name) for name in ("CS-V2G-0001", "CS-V2G-0002")]
    now_ms = csms.clock.utc_ms()
    begin_ms = now_ms - now_ms % QUARTER_MS - 15 * 24 * HOUR_MS
    known = [FleetQuarter(at_ms, 4_000, 5_000, 2_000) for at_ms in range(begin_ms, now_ms, QUARTER_MS)]
    await csms.services.store.run(rows.save, FLEET, now_ms)
    await csms.services.store.run(rows.put_quarters, FLEET.id, known)
    await offer(csms, CHEAP, DEAR)
    return charges


async def bid(ask: ApiClient, start_ms: int, power_w: int, minutes: int = 15, direction: str = "up") -> Any:
    """Give a bid."""
    return await ask(
        "POST",
        "/fleets/depot/bids",
        {
            "start_ms": start_ms, "end_ms": start_ms + minutes * 60_000, "direction": direction, "power_w": power_w,
            "price_per_kwh": "0.20",
        },
    )  # fmt: skip


async def meters_read(
    csms: Backend, at_ms: int, charges: Sequence[Charging], powers: Sequence[float] = (0, 0), seconds: int = 0
) -> None:
    """Have the meters of vehicles read at a time, after so many seconds with these powers (W)."""
    for charge, power_w in zip(charges, powers, strict=True):
        csms.clock.now_ms = at_ms - 60_000  # until the event
        charge.wh += round(power_w * seconds / 3600)
        await charge.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")


@pytest.mark.requirement("R181", "R186")
async def test_what_is_forecast_is_bid_called_delivered_and_settled(csms: Backend) -> None:
    """Late bids, bids of more than the fleet can do, and calls of more than was bid are refused by name."""
    charges = await fleet_with_a_past(csms)
    async with serving(csms) as ask, running(Fleets(csms.services)):
        found = (await ask("GET", "/fleets/depot/forecast")).json
        assert found["quarters"][8]["up_w"]["low"] == 5_000
        assert found["skill"]["load"]["days"] in (8, 9)
        assert found["skill"]["load"]["loss_w"] < 10
        begin_ms = csms.clock.utc_ms() + HOUR_MS // 2
        late = await bid(ask, csms.clock.utc_ms() + 900_000, 1_000)
        assert (late.status, late.json["code"]) == (409, "gate_closed")
        beyond = await bid(ask, begin_ms, 100_000)
        assert (beyond.status, beyond.json["code"]) == (409, "beyond_range")
        given = await bid(ask, begin_ms, 8_000)
        assert (given.status, given.json["gate_closure_ms"]) == (201, begin_ms - 900_000)
        again = await bid(ask, begin_ms + 300_000, 60_000)
        assert again.json["code"] == "beyond_range"
        assert "8000 W are bid already" in again.json["detail"]
        far = await bid(ask, csms.clock.utc_ms() + 20 * HOUR_MS, 5_001)
        assert far.json["code"] == "beyond_range", "beyond prices the forecast says how much"
        assert (await bid(ask, csms.clock.utc_ms() + 20 * HOUR_MS, 5_000)).status == 201
        path = f"/fleets/depot/bids/{given.json['id']}/call"
        early = await ask("POST", path, {"power_w": 8_000})
        assert (early.status, early.json["code"]) == (409, "not_callable")
        await meters_read(csms, begin_ms, charges)
        assert (await ask("POST", path, {"power_w": 8_001})).json["code"] == "not_callable"
        called = await ask("POST", path, {"power_w": 8_000})
        assert called.status == 200
        assert [each.data["duration_s"] for each in csms.events.named("fleet_called")] == [900]
        assert (await ask("POST", path, {"power_w": 1_000})).json["code"] == "not_callable", "once"
        powers = [each["setpoint_w"] for each in called.json]
        await meters_read(csms, begin_ms + 800_000, charges, powers, 800)
        for now_ms, is_settled in ((begin_ms + 901_000, False), (begin_ms + 1_100_000, True)):
            csms.clock.now_ms = now_ms
            if is_settled:
                await meters_read(csms, now_ms, charges, powers, 300)
            csms.services.feed.publish("fleet_changed", None, {})
            await settled()
            shown = (await ask("GET", "/fleets/depot/bids")).json[0]
            assert shown["settled"] is is_settled, "not before meters have been read after its end"
    assert (shown["called_w"], shown["asked_wh"]) == (8_000, 2_000)
    assert shown["delivered_wh"] == pytest.approx(2_000, abs=3)
    assert float(shown["paid"]["amount"]) == pytest.approx(0.40, abs=0.01)
    (event,) = csms.events.named("fleet_bid_settled")
    assert event.data["bid"] == given.json["id"]


@pytest.mark.requirement("R181", "R186")
async def test_a_plan_counts_to_its_end_and_the_forecast_from_there(csms: Backend) -> None:
    """Prices are known for four hours. By the forecast the fleet could take no more than 2 kW."""
    await fleet_with_a_past(csms)
    async with serving(csms) as ask:
        now_ms = csms.clock.utc_ms()
        end_ms = now_ms - now_ms % QUARTER_MS + 4 * HOUR_MS
        for start_ms, status in ((end_ms - QUARTER_MS, 201), (end_ms, 409)):
            answer = await bid(ask, start_ms, 2_001, direction="down")
            assert answer.status == status, answer.json


@pytest.mark.requirement("R181")
async def test_a_bid_is_measured_to_its_end_although_the_next_one_is_called_then(csms: Backend) -> None:
    """Meters are read when five sixths of a quarter hour are over, and after each."""
    charges = await fleet_with_a_past(csms)
    async with serving(csms) as ask, running(Fleets(csms.services)):
        begin_ms = csms.clock.utc_ms() + HOUR_MS // 2
        given = [(await bid(ask, begin_ms + each, 8_000)).json["id"] for each in (0, QUARTER_MS)]
        await meters_read(csms, begin_ms, charges)
        states = []
        for number, name in enumerate(given):
            csms.clock.now_ms = begin_ms + number * QUARTER_MS
            called = await ask("POST", f"/fleets/depot/bids/{name}/call", {"power_w": 8_000})
            assert called.status == 200
            powers = [each["setpoint_w"] for each in called.json]
            for at_s, seconds in ((200, 200), (750, 550)) if number else ((750, 750),):
                since_s = 150 if number and at_s == 200 else 0  # the rest of the quarter hour before
                at_ms = begin_ms + number * QUARTER_MS + at_s * 1000
                await meters_read(csms, at_ms, charges, powers, seconds + since_s)
                csms.services.feed.publish("fleet_changed", None, {})
                await settled()
                states.append([each["settled"] for each in (await ask("GET", "/fleets/depot/bids")).json])
        await meters_read(csms, begin_ms + 2 * QUARTER_MS + 100_000, charges, powers, 250)
        csms.services.feed.publish("fleet_changed", None, {})
        await settled()
        shown = (await ask("GET", "/fleets/depot/bids")).json
    assert states == [[False, False], [True, False], [True, False]]
    assert [each["delivered_wh"] for each in shown] == pytest.approx([2_000, 2_000], abs=5)


async def test_without_a_past_there_is_no_forecast_and_without_prices_no_plan(csms: Backend) -> None:
    """Nothing can be bid then."""
    await csms.services.store.run(rows.save, FLEET, csms.clock.utc_ms())
    async with serving(csms) as ask:
        answer = await ask("GET", "/fleets/depot/forecast")
        assert (answer.status, answer.json["code"]) == (409, "no_history")
        refused = await bid(ask, csms.clock.utc_ms() + HOUR_MS, 1)
        assert refused.json["code"] == "beyond_range"
        assert (await ask("POST", "/fleets/depot/bids/none/call", {"power_w": 1})).status == 404


async def test_a_followed_fleet_gets_a_past(csms: Backend) -> None:
    """Means by quarter hour of what flows, and of how far it could deviate."""
    next_hour(csms.clock)
    charge = await fleet_vehicle(csms)
    next_hour(csms.clock)
    await offer(csms, CHEAP, DEAR)
    begin_ms = csms.clock.utc_ms()
    await csms.services.store.run(rows.save, FLEET, begin_ms)
    async with running(Fleets(csms.services)):
        for watts in (2_000, 4_000, 6_000):
            sample = {"value": watts, "measurand": "Power.Active.Import", "context": "Sample.Periodic"}
            values = [{"timestamp": charge.now(), "sampledValue": [sample]}]
            await charge.event("Updated", "MeterValuePeriodic", state="Charging", extra={"meterValue": values})
            csms.services.feed.publish("fleet_changed", None, {})
            await settled()
    (quarter,) = await csms.services.store.read(rows.quarters, "depot", begin_ms)
    assert quarter.at_ms == begin_ms
    assert quarter.load_w in (3_000, 4_000), "the mean of two readings, or of all"
    assert quarter.up_w > 0


@pytest.mark.requirement("R181")
def test_nobody_pays_for_more_than_was_asked_or_for_the_opposite() -> None:
    """Up is paid to the fleet, down by it."""
    one = FleetBid(
        id="b", fleet_id="depot", start_ms=0, end_ms=900_000, direction="up", power_w=8_000,
        price_micro_per_kwh=200_000, gate_closure_ms=0,
    )  # fmt: skip
    assert [one.settle(2_000, had).paid_micro for had in (2_000, 9_000, 500, -300)] == [400_000, 400_000, 100_000, 0]
    down = FleetBid(
        id="b", fleet_id="depot", start_ms=0, end_ms=900_000, direction="down", power_w=8_000,
        price_micro_per_kwh=200_000, gate_closure_ms=0,
    )  # fmt: skip
    assert [down.settle(-2_000, had).paid_micro for had in (-2_000, -9_000, 300)] == [-400_000, -400_000, 0]
    assert down.settle(-2_000, -1_000).delivered_wh == 1_000
