"""Which prices a transaction's profile brings: the plan in force, from when, for which use, in how many entries."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from csms.config import Tariffs
from csms.device_model import store as device_model
from csms.smart_charging.rules import Needs, add_prices, add_sales_tariff, asked_of
from csms.tariffs import store as tariffs
from csms.tariffs.vehicle_prices import LEAST_ENTRIES, are_there, has_prices, with_prices
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import Event, Sample, Transaction
from tests.csms.backend import Backend
from tests.csms.fixtures import Start
from v2g.energy.price_plan import Charge, PricePlan, Rate, When
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time

NAME = "CS-V2G-0001"
NEEDS = Needs(evse_id=1, requested="DC", most_w=11_000, edition_20=True)
HOURS = tuple(
    Rate(price=f"0.{hour + 10}", when=When(from_minute=60 * hour, to_minute=60 * (hour + 1) % 1440))
    for hour in range(24)
)
STARTED_MS = 1_000
TAKEN_WH = 1_500


def plan(name: str, *rates: Rate) -> PricePlan:
    return PricePlan(id=name, currency="EUR", zone="UTC", energy=Charge(rates=rates or HOURS))


def profile(**changes: Any) -> ChargingProfile:
    period = ChargingSchedulePeriod(start_period=0, limit=5000.0)
    schedule = ChargingSchedule(id=9, charging_rate_unit="W", charging_schedule_period=(period,))
    return ChargingProfile(**{
        "id": 10, "stack_level": 5, "charging_profile_purpose": "TxProfile", "charging_profile_kind": "Dynamic",
        "transaction_id": "tx", "charging_schedule": (schedule,), **changes,
    })  # fmt: skip


async def begin(csms: Backend, needs: Needs | None = NEEDS, kinds: Any = ("Started", "Updated")) -> None:
    """A transaction that has taken energy."""

    def events(connection: Any) -> None:
        for number, (kind, wh) in enumerate(zip(kinds, (0, TAKEN_WH), strict=True), kinds[0] != "Started"):
            sample = Sample(at_ms=STARTED_MS, measurand="Energy.Active.Import.Register", value=str(wh), unit="Wh")
            found = Event(
                station_id=NAME, transaction_id="tx", seq_no=number, kind=kind, at_ms=STARTED_MS,
                trigger="", digest=str(number), evse_id=1, samples=(sample,),
            )  # fmt: skip
            add_events(connection, [EventArrival(found, b'{"transactionInfo":{}}', 0)])
        if needs is not None:
            transactions.save_needs(connection, NAME, "tx", needs)

    await csms.services.store.run(events)


async def price(csms: Backend, *rates: Rate, station: str = NAME) -> None:
    await csms.services.store.run(tariffs.add_plan, plan("city", *rates), 0)
    await csms.services.store.run(tariffs.assign, tariffs.Scope(station_id=station), "city", 0)


async def transaction(csms: Backend) -> Transaction | None:
    return await csms.services.store.read(transactions.get, NAME, "tx")


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    async with backend() as running:
        await running.booted(NAME, version="2.1")
        running.clock.now_ms = 1_800_000_000_789
        yield running


def expected(bare: ChargingProfile, begin_ms: int, *, entries: int = LEAST_ENTRIES, money: bool = True) -> Any:
    return add_prices(bare, plan("city"), asked_of(NEEDS, begin_ms, STARTED_MS, TAKEN_WH, entries), money=money)


async def test_prices_are_from_the_schedule_s_start_or_from_now_in_whole_seconds(csms: Backend) -> None:
    await price(csms)
    await begin(csms)
    assert LEAST_ENTRIES == 12, "what OCPP requires of every station"
    assert await with_prices(csms.services, NAME, "2.1", profile()) == expected(profile(), 1_800_000_000_000)
    later = msgspec.structs.replace(profile().charging_schedule[0], start_schedule=format_time(1_800_003_600_000))
    bare = profile(charging_schedule=(later,))
    found = await with_prices(csms.services, NAME, "2.1", bare)
    assert found == expected(bare, 1_800_003_600_000) != expected(bare, 1_800_000_000_000)
    assert has_prices(found)
    assert not has_prices(bare)


async def test_a_vehicle_of_iso_15118_2_or_a_station_of_2_0_1_gets_a_sales_tariff(csms: Backend) -> None:
    await price(csms)
    await begin(csms)
    asked = asked_of(NEEDS, 1_800_000_000_000, STARTED_MS, TAKEN_WH, LEAST_ENTRIES)
    found = await with_prices(csms.services, NAME, "2.0.1", profile())
    assert found == add_sales_tariff(profile(), plan("city"), asked)
    assert has_prices(found)
    await csms.services.store.run(transactions.save_needs, NAME, "tx", msgspec.structs.replace(NEEDS, edition_20=False))
    assert await with_prices(csms.services, NAME, "2.1", profile()) == found


@pytest.mark.parametrize(
    ("values", "entries"), [(["8"], 8), (["13"], 13), (["9", "7"], 7), (["0"], 1), (["many"], 12), ([], 12)]
)
async def test_a_station_s_limit_of_entries_is_kept(csms: Backend, values: list[str], entries: int) -> None:
    await price(csms)
    await begin(csms)
    rows = [
        {"component": "ISO15118Ctrlr", "component_instance": "", "evse_id": evse_id, "connector_id": 0,
         "variable": "MaxPriceElements", "variable_instance": "", "attribute": "Actual", "value": value}
        for evse_id, value in enumerate(values)
    ]  # fmt: skip
    await csms.services.store.run(device_model.save, NAME, rows)
    found = await with_prices(csms.services, NAME, "2.1", profile())
    assert found == expected(profile(), 1_800_000_000_000, entries=entries)


async def test_the_plan_in_force_counts(csms: Backend) -> None:
    await price(csms)
    await begin(csms)
    known = await transaction(csms)
    assert known is not None
    for name, since_ms in (("first", 0), ("now", 1_800_000_000_789), ("next", 1_800_000_000_790)):
        flat = plan(name, Rate(price=f"0.{len(name)}"))
        await csms.services.store.run(tariffs.add_plan, flat, 0)
        await csms.services.store.run(tariffs.change_plan, known, flat, since_ms)
    found = await with_prices(csms.services, NAME, "2.1", profile())
    (stack,) = found.charging_schedule[0].absolute_price_schedule.price_rule_stacks  # type: ignore[union-attr]
    fee = stack.price_rule[0].energy_fee
    assert fee.value * 10.0**fee.exponent == pytest.approx(0.3)


@pytest.mark.parametrize("kinds", [("Started", "Updated"), ("Updated", "Updated")])
async def test_what_was_taken_since_the_start_counts(csms: Backend, kinds: tuple[str, ...]) -> None:
    """A start that was never reported is now."""
    blocks = (
        Rate(price="0.10", when=When(min_energy_wh=TAKEN_WH, min_time_s=3600)),
        Rate(price="0.20", when=When(min_energy_wh=TAKEN_WH + 1)),
        Rate(price="0.30", when=When(min_time_s=60)),
        Rate(price="0.40"),
    )
    await price(csms, *blocks)
    await begin(csms, kinds=kinds)
    found = await with_prices(csms.services, NAME, "2.1", profile())
    begin_ms = 1_800_000_000_000
    wanted = [
        add_prices(profile(), plan("city", *blocks), asked_of(NEEDS, begin_ms, since_ms, TAKEN_WH, 12), money=True)
        for since_ms in (STARTED_MS, begin_ms)
    ]
    assert wanted[0] != wanted[1]
    assert found == wanted[kinds[0] != "Started"]


async def test_without_plan_transaction_or_needs_a_profile_stays_as_it_is(csms: Backend) -> None:
    bare = profile()
    await begin(csms, None)
    for version in ("2.1", "2.0.1"):
        assert await with_prices(csms.services, NAME, version, bare) is bare  # type: ignore[arg-type]
    await price(csms)
    assert await with_prices(csms.services, NAME, "2.1", bare) is bare, "it has not sent its needs"
    await csms.services.store.run(transactions.save_needs, NAME, "tx", NEEDS)
    assert has_prices(await with_prices(csms.services, NAME, "2.1", bare))
    for other in (profile(transaction_id="other"), profile(transaction_id=None)):
        assert await with_prices(csms.services, NAME, "2.1", other) is other
    await csms.services.store.run(tariffs.unassign, tariffs.Scope(station_id=NAME), 0)
    await csms.services.store.run(tariffs.assign, tariffs.Scope(station_id="CS-V2G-0002"), "city", 0)
    assert await with_prices(csms.services, NAME, "2.1", bare) is bare, "its place has no plan"


async def test_prices_are_known_for_a_transaction_and_for_a_place(csms: Backend) -> None:
    await begin(csms)
    known = await transaction(csms)
    assert not await are_there(csms.services, NAME, known, 1)
    assert not await are_there(csms.services, NAME, None, 1)
    await price(csms)
    assert await are_there(csms.services, NAME, known, 1)
    assert await are_there(csms.services, NAME, None, 1)
    assert not await are_there(csms.services, "CS-V2G-0002", None, 1)


@pytest.mark.parametrize("form", ["levels", "nothing"])
async def test_the_operator_decides_in_what_form(backend: Start, form: Any) -> None:
    async with backend(tariffs=Tariffs(vehicle_prices=form)) as csms:
        await csms.booted(NAME, version="2.1")
        await price(csms)
        await begin(csms)
        found = await with_prices(csms.services, NAME, "2.1", profile())
        assert await are_there(csms.services, NAME, None, 1) is (form != "nothing")
        begin_ms = csms.clock.utc_ms() // 1000 * 1000
        assert found == (profile() if form == "nothing" else expected(profile(), begin_ms, money=False))
