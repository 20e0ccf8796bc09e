"""A transaction is priced by the plan that was in force when its driver began it, whatever is assigned later."""

import pytest

from csms.booking.held import decide
from csms.tariffs import store as tariffs
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.fixtures import Start
from tests.csms.fixtures import backend as backend
from v2g.energy.price_plan import Charge, PricePlan, Rate

CHEAP, DEAR = (
    PricePlan(id=name, currency="EUR", energy=Charge(rates=(Rate(price=price),)))
    for name, price in (("a", "0.5"), ("b", "0.9"))
)


@pytest.mark.parametrize("held", [False, True])
async def test_another_plan_that_is_assigned_meanwhile_is_for_later_transactions(backend: Start, held: bool) -> None:
    async with backend(tokens=TOKENS) as csms:
        run, everywhere = csms.services.store.run, tariffs.Scope()
        for plan in (CHEAP, DEAR):
            await run(tariffs.add_plan, plan, 0)
        await run(tariffs.assign, everywhere, "a", 0)
        charging = Charging(csms, await csms.booted())
        await charging.event("Started", "Authorized", state="Charging", token=VALID, context="Transaction.Begin")
        charging.wh += 10_000
        for _ in range(60):
            csms.clock.advance(60)
        await run(tariffs.assign, everywhere, "b", 0)
        if held:
            charging.wh -= 20_000
            await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
            charging.wh += 20_000
        await charging.event("Ended", "StopAuthorized", stopped="Local", token=VALID, context="Transaction.End")
        if held:
            await run(decide, charging.station.id, charging.id, "released", "ada", "as the meter says", 0)
            await run(tariffs.release_cost, charging.station.id, charging.id, csms.clock.utc_ms())
        found = await run(tariffs.cost, charging.station.id, charging.id)
        assert found is not None
        assert found["excl_tax"] == 5_000_000


async def test_a_session_that_its_station_reports_later_has_the_plan_that_was_assigned_then(backend: Start) -> None:
    """The station was away while the assignment changed."""
    async with backend(tokens=TOKENS) as csms:
        run, everywhere, began_ms = csms.services.store.run, tariffs.Scope(), csms.clock.utc_ms()
        for plan in (CHEAP, DEAR):
            await run(tariffs.add_plan, plan, 0)
        await run(tariffs.assign, everywhere, "a", began_ms - 1000)
        await run(tariffs.assign, everywhere, "b", began_ms + 86_400_000)
        charging = Charging(csms, await csms.booted())
        offline = {"offline": True, "token": VALID}
        await charging.event("Started", "Authorized", state="Charging", context="Transaction.Begin", **offline)
        charging.wh += 10_000
        for _ in range(60):
            csms.clock.advance(60)
        await charging.event("Ended", "StopAuthorized", stopped="Local", context="Transaction.End", **offline)
        found = await run(tariffs.cost, charging.station.id, charging.id)
        assert found is not None
        assert found["excl_tax"] == 5_000_000
