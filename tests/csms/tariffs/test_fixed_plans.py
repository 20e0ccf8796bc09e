"""A transaction is priced by the plan that was in force when its driver began it, whatever is assigned later."""

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from csms.booking.held import decide
from csms.db.store import Store
from csms.stations import store as stations
from csms.tariffs import store as tariffs
from csms.transactions.events import add_events
from csms.transactions.rules import Dated, Transaction
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.db.events import arrival
from tests.csms.fixtures import Start
from tests.csms.fixtures import backend as backend
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.errors import RefusedError

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


TRANSACTION = Transaction(station_id="CS-1", transaction_id="T1", first_seq=0, last_seq=0)


def changed(connection: Connection, *changes: tuple[str, int]) -> list[tuple[int, str]]:
    """Change the plan of a transaction; return its plans, each with its start."""
    for name, now_ms in changes:
        tariffs.change_plan(connection, TRANSACTION, PLANS[name], now_ms)
    return [(since_ms, each.id) for since_ms, each in tariffs.plans_of(connection, TRANSACTION)]


PLANS = {each.id: each for each in (CHEAP, DEAR, PricePlan(id="usd", currency="USD"))}


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("assigned", [True, False])
def test_a_transaction_whose_plan_changes_has_each_from_its_time(store: Store, assigned: bool) -> None:
    """I11: also the first one again, and the same one once. Without a plan before, that time is free (I11.FR.08)."""

    def check(connection: Connection) -> None:
        for each in PLANS.values():
            tariffs.add_plan(connection, each, 0)
        if assigned:
            tariffs.assign(connection, tariffs.Scope(), "a", 0)
        first = [(0, "a")] if assigned else []
        assert changed(connection, ("b", 20), ("b", 30)) == [*first, (20, "b")]
        assert changed(connection, ("a", 40)) == [*first, (20, "b"), (40, "a")]
        with pytest.raises(RefusedError, match="currency"):  # I11.FR.05
            changed(connection, ("usd", 50))

    store.do(check)


def test_a_plan_is_fixed_once_its_driver_is_known_or_it_has_ended(store: Store) -> None:
    def check(connection: Connection) -> None:
        for each in PLANS.values():
            tariffs.add_plan(connection, each, 0)
        tariffs.assign(connection, tariffs.Scope(), "b", 0)
        for changes, plan in (({}, "b"), ({"ended_seq": 1}, "a"), ({"id_token": Dated(0, "X")}, "a")):
            name = f"T{len(changes)}{plan}{next(iter(changes), '')}"
            its = replace(TRANSACTION, transaction_id=name, **changes)
            for fixed in ("a", "b"):  # the first one stays
                tariffs.keep_plan(connection, its, fixed)
            assert [each.id for _, each in tariffs.plans_of(connection, its)] == [plan]

    store.do(check)


DUE: list[tuple[dict[str, str | None], str | None]] = [
    ({}, "Own"),
    ({"tariff_id": "OWN"}, None),
    ({"tariff_id": None}, None),
    ({"id_token": None}, None),
    ({"id_token": "another"}, None),
    ({"kind": "Ended"}, None),
]


def test_a_drivers_plan_is_due_where_the_station_calculates_by_another(store: Store) -> None:
    """None that pays for energy fed back: stations do not calculate that."""

    def check(connection: Connection) -> None:
        for plan in (CHEAP, replace(CHEAP, id="Own"), replace(CHEAP, id="back", export=CHEAP.energy)):
            tariffs.add_plan(connection, plan, 0)
        tariffs.assign(connection, tariffs.Scope(), "a", 0)
        stations.touch(connection, "CS-1", "ocpp2.1", 1)
        for number, (changes, due) in enumerate(DUE):
            for own in ("back", "Own"):
                driver = tariffs.Scope(token_type="ISO14443", id_token="0A1B2C3D")
                tariffs.assign(connection, driver, own, 0)
                name, about = f"{own}{number}", {"tariff_id": "a", "id_token": "0A1B2C3D", "token_type": "ISO14443"}
                began = arrival("CS-1", name, 0, "Started")
                event = replace(began.event, **{**about, **changes})  # type: ignore[arg-type]
                add_events(connection, [replace(began, event=event)])
                found = tariffs.driver_plan_due(connection, "CS-1", name)
                assert (found and found.id) == (due if own == "Own" else None), changes
        assert tariffs.driver_plan_due(connection, "CS-1", "unknown") is None

    store.do(check)
