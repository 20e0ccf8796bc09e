"""Price plans in OCPP's words are valid by its schema and say the same; costs likewise."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ocpp.official import validator
from tests.together import together
from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.errors import RefusedError
from v2g.ocpp.messages.tariff_cost import (
    Price,
    SetDefaultTariffRequest,
    Tariff,
    TariffConditions,
    TariffEnergy,
    TariffEnergyPrice,
    TaxRate,
)
from v2g.ocpp.messages.transactions import Transaction as Info
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.versions import read_payload, write_payload
from v2g.translate.details import cost_details
from v2g.translate.ocpp_tariffs import elements, has_conditions, to_wire
from v2g.translate.station_tariffs import plan_of
from v2g.units import decimals_of

whens = st.builds(
    When,
    from_minute=st.none() | st.integers(0, 1439),
    to_minute=st.none() | st.integers(0, 1439),
    weekdays=st.lists(st.integers(0, 6), unique=True).map(tuple),
    holidays=st.none() | st.booleans(),
    from_day=st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    evse_kind=st.sampled_from([None, "AC", "DC"]),
    max_energy_wh=st.none() | st.integers(0, 10**6),
    min_power_w=st.none() | st.integers(0, 10**6),
    min_idle_s=st.none() | st.integers(0, 10**4),
)
taxes = st.builds(Tax, kind=st.just("vat"), ppm=st.integers(0, 10**6), stack=st.integers(0, 2))
rates = st.builds(Rate, price=st.integers(0, 10**9).map(decimals_of), when=whens)
charges = st.builds(
    Charge, rates=st.lists(rates, min_size=1, max_size=3).map(tuple), taxes=st.lists(taxes, max_size=2).map(tuple)
)
plans = st.builds(
    PricePlan,
    id=st.text("abc-1", min_size=1, max_size=60),
    currency=st.just("EUR"),
    zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    description=st.text(max_size=50),
    holidays=st.lists(st.dates(date(2026, 1, 1), date(2027, 1, 1)), min_size=1, max_size=3).map(tuple),
    energy=st.none() | charges,
    charging_time=st.none() | charges,
    idle_time=st.none() | charges,
    fixed=st.none() | charges,
    reservation_time=st.none() | charges,
    reservation_fixed=st.none() | charges,
    least=st.none() | st.builds(Bound, excl_tax=st.none() | st.integers(0, 10**9)),
)


@settings(max_examples=15, deadline=None)
@given(plans)
def test_a_plan_is_a_valid_tariff_of_the_standard(plan: PricePlan) -> None:
    tariff = to_wire(plan)
    payload = write_payload(SetDefaultTariffRequest(evse_id=0, tariff=tariff), "2.1")
    validator("SetDefaultTariffRequest", "2.1").validate(msgspec.json.decode(payload))


def test_holidays_become_dates_and_the_days_between_them() -> None:
    holidays = (date(2026, 12, 25), date(2026, 5, 1))
    rates = (Rate(price="0.000001", when=When(holidays=True)), Rate(price="0.000002", when=When(holidays=False)))
    energy = to_wire(PricePlan(id="h", currency="EUR", holidays=holidays, energy=Charge(rates=rates))).energy
    assert energy is not None
    spans = [
        (price.price_kwh, price.conditions.valid_from_date, price.conditions.valid_to_date)
        for price in energy.prices
        if price.conditions is not None
    ]
    assert spans == [
        (1e-6, "2026-05-01", "2026-05-02"),
        (1e-6, "2026-12-25", "2026-12-26"),
        (2e-6, None, "2026-05-01"),
        (2e-6, "2026-05-02", "2026-12-25"),
        (2e-6, "2026-12-26", None),
    ]


@together(
    ("when", "spans"),
    [
        (When(holidays=True, from_day=date(2026, 6, 1)), [("2026-12-25", "2026-12-26")]),
        (When(holidays=True, from_day=date(2026, 5, 2)), [("2026-12-25", "2026-12-26")]),
        (When(holidays=True, to_day=date(2026, 12, 25)), [("2026-05-01", "2026-05-02")]),
        (When(holidays=True, from_day=date(2026, 5, 2), to_day=date(2026, 12, 25)), []),
        (
            When(holidays=False, from_day=date(2026, 3, 1), to_day=date(2026, 12, 31)),
            [("2026-03-01", "2026-05-01"), ("2026-05-02", "2026-12-25"), ("2026-12-26", "2026-12-31")],
        ),
        (When(holidays=False, from_day=date(2026, 12, 25), to_day=date(2026, 12, 26)), []),
    ],
)
def test_holidays_are_within_the_days_of_a_price(when: When, spans: list[tuple[str, str]]) -> None:
    """The last day is excluded (validToDate, 2.97 TariffConditionsType): a price without a day is left out."""
    charge = Charge(rates=(Rate(price="0.1", when=when),))
    holidays = (date(2026, 5, 1), date(2026, 12, 25))
    plan = PricePlan(id="h", currency="EUR", holidays=holidays, energy=charge, idle_time=charge, fixed=charge)
    told = to_wire(plan)
    for each in (told.energy, told.idle_time, told.fixed_fee):
        days = [price.conditions for price in each.prices] if each is not None else []
        assert [(day.valid_from_date, day.valid_to_date) for day in days if day is not None] == spans


def test_a_description_is_text() -> None:
    plan = PricePlan(id="d", currency="EUR", description="0.50 €/kWh")
    assert msgspec.to_builtins(to_wire(plan).description) == ({"format": "UTF8", "content": "0.50 €/kWh"},)
    assert to_wire(msgspec.structs.replace(plan, description="")).description == ()


@pytest.mark.parametrize("when", [When(payment_brand="Card"), When(payment_recognition="CC")])
def test_how_is_paid_decides_about_fees_alone(when: When) -> None:
    """OCPP has paymentBrand and paymentRecognition in the conditions of fixed prices only."""
    charge = Charge(rates=(Rate(price="0.1", when=when),))
    assert to_wire(PricePlan(id="p", currency="EUR", fixed=charge)).fixed_fee is not None
    for part in ("energy", "charging_time"):
        with pytest.raises(RefusedError) as caught:
            to_wire(PricePlan(id="p", currency="EUR", **{part: charge}))  # type: ignore[arg-type]
        assert caught.value.reason == "not_local"


def test_what_a_station_may_limit_is_counted() -> None:
    plain = to_wire(PricePlan(id="a", currency="EUR", energy=Charge(rates=(Rate(price="0.000001"),))))
    assert (elements(plain), has_conditions(plain)) == (1, False)
    night = When(from_minute=0, to_minute=360)
    more = to_wire(
        PricePlan(
            id="b", currency="EUR", energy=Charge(rates=(Rate(price="0.000001", when=night), Rate(price="0.000002")))
        )
    )
    assert (elements(more), has_conditions(more)) == (2, True)


def test_a_driver_s_tariff_has_no_valid_from_and_energy_fed_back_is_not_local() -> None:
    plan = PricePlan(id="a", currency="EUR", valid_from_ms=1, energy=Charge(rates=(Rate(price="0.000001"),)))
    assert to_wire(plan).valid_from is not None
    assert to_wire(plan, driver=True).valid_from is None
    with pytest.raises(RefusedError) as caught:
        to_wire(msgspec.structs.replace(plan, export=plan.energy))
    assert caught.value.reason == "not_local"


def test_a_bill_is_a_valid_costDetails() -> None:
    start = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)
    usage = Usage(
        start_ms=start,
        end_ms=start + 3_600_000,
        readings=(Registers(start, 0, 0), Registers(start + 3_600_000, 10_000_000, 0)),
        charging=((start, True),),
        reserved_ms=start - 60_000,
    )
    charge = Charge(rates=(Rate(price="0.25"),), taxes=(Tax(kind="vat", ppm=100_000),))
    plan = PricePlan(id="10", currency="EUR", energy=charge, fixed=charge, reservation_time=charge)
    details = cost_details(bill([(start, plan)], usage, ended=True))
    request = TransactionEventRequest(
        cost_details=details,
        event_type="Ended",
        timestamp="2030-01-01T01:00:00Z",
        trigger_reason="RunningCost",
        seq_no=3,
        transaction_info=Info(transaction_id="t"),
    )
    validator("TransactionEventRequest", "2.1").validate(msgspec.json.decode(write_payload(request, "2.1")))
    energy = details.total_cost.energy
    assert energy is not None
    assert (energy.excl_tax, energy.incl_tax) == (2.5, 2.75)
    assert (details.total_usage.energy, details.total_usage.reservation_time) == (10_000, 60)
    least = msgspec.structs.replace(plan, least=Bound(excl_tax="9", incl_tax="9.9"))
    fixed = cost_details(bill([(start, least)], usage, ended=True)).total_cost
    assert (fixed.type_of_cost, fixed.energy) == ("MinCost", None)
    assert fixed.fixed is not None
    assert fixed.fixed.incl_tax == 9.9  # I12.FR.38


# -- as a station reads them

local = st.builds(
    When,
    from_minute=st.none() | st.integers(0, 1439),
    to_minute=st.none() | st.integers(0, 1439),
    weekdays=st.lists(st.integers(0, 6), unique=True).map(tuple),
    from_day=st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)),
    evse_kind=st.sampled_from([None, "AC", "DC"]),
    max_energy_wh=st.none() | st.integers(0, 10**6),
    min_power_w=st.none() | st.integers(0, 10**6),
    max_current_a=st.none() | st.integers(0, 500),
    min_idle_s=st.none() | st.integers(0, 10**4),
)
fees = st.builds(When, payment_brand=st.none() | st.just("Card"), payment_recognition=st.none() | st.just("CC"))


def _rates(conditions: st.SearchStrategy[When]) -> st.SearchStrategy[Charge | None]:
    rate = st.builds(Rate, price=st.integers(-(10**9), 10**9).map(decimals_of), when=conditions)
    return st.none() | st.builds(Charge, rates=st.lists(rate, min_size=1, max_size=3).map(tuple), taxes=taxes.map(_one))


def _one(tax: Tax) -> tuple[Tax, ...]:
    return (tax,)


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        PricePlan,
        id=st.text("abc-1", min_size=1, max_size=60),
        currency=st.just("EUR"),
        zone=st.sampled_from(["UTC", "Europe/Berlin", "+01:00"]),
        valid_from_ms=st.none() | st.integers(0, 10**13),
        energy=_rates(local),
        charging_time=_rates(local),
        idle_time=_rates(local),
        fixed=_rates(fees),
        reservation_time=_rates(local),
        reservation_fixed=_rates(fees),
        least=st.none() | st.builds(Bound, excl_tax=st.integers(0, 10**9).map(decimals_of)),
        greatest=st.none() | st.builds(Bound, incl_tax=st.integers(0, 10**9).map(decimals_of)),
    )
)
def test_a_station_reads_what_a_back_end_meant(plan: PricePlan) -> None:
    payload = write_payload(SetDefaultTariffRequest(evse_id=0, tariff=to_wire(plan)), "2.1")
    tariff = read_payload(payload, SetDefaultTariffRequest, "2.1").tariff
    assert plan_of(tariff, plan.zone) == plan


def energy(**conditions: Any) -> Tariff:
    """A tariff whose price has these conditions."""
    price = TariffEnergyPrice(price_kwh=0.25, conditions=TariffConditions(**conditions))
    return Tariff(tariff_id="t", currency="EUR", energy=TariffEnergy(prices=(price,)))


@together(
    ("tariff", "why"),
    [
        (energy(start_time_of_day="24:00"), "invalid"),
        (energy(end_time_of_day="8:00"), "invalid"),
        (energy(end_time_of_day="08:"), "invalid"),
        (energy(end_time_of_day="8" * 500), "invalid"),
        (energy(valid_from_date="2026-02-30"), "invalid"),
        (energy(valid_to_date="20260201"), "invalid"),
        (energy(min_power=-10.0), "condition"),
        (energy(max_current=16.5), "condition"),
        (energy(max_energy=float("inf")), "condition"),
        (msgspec.structs.replace(energy(), currency="eur"), "invalid"),
        (msgspec.structs.replace(energy(), tariff_id=""), "invalid"),
        (msgspec.structs.replace(energy(), valid_from="yesterday"), "invalid"),
        (msgspec.structs.replace(energy(), min_cost=Price()), "invalid"),
        (msgspec.structs.replace(energy(), max_cost=Price(excl_tax=-1.0)), "invalid"),
        (
            Tariff(tariff_id="t", currency="EUR", energy=TariffEnergy(prices=(TariffEnergyPrice(price_kwh=1e13),))),
            "invalid",
        ),
    ],
)
def test_what_a_station_cannot_work_out_is_refused(tariff: Tariff, why: str) -> None:
    with pytest.raises(RefusedError) as caught:
        plan_of(tariff, "UTC")
    assert caught.value.reason == why
    assert 10 < len(str(caught.value)) <= 400


def test_what_begins_at_0_is_a_condition_and_a_tax_without_a_stack_is_on_the_first() -> None:
    told = energy(min_power=0.0, max_power=11_000.0)
    assert told.energy is not None
    vat = msgspec.structs.replace(told.energy, tax_rates=(TaxRate(type="vat", tax=19.0),))
    found = plan_of(msgspec.structs.replace(told, energy=vat), "UTC").energy
    assert found is not None
    assert (found.rates[0].when, found.taxes) == (
        When(min_power_w=0, max_power_w=11_000), (Tax(kind="vat", ppm=190_000, stack=0),),
    )  # fmt: skip


def test_a_price_without_end_is_refused_as_one_that_is_too_high_is() -> None:
    price = TariffEnergyPrice(price_kwh=float("inf"))
    with pytest.raises(RefusedError, match="out of range"):
        plan_of(Tariff(tariff_id="t", currency="EUR", energy=TariffEnergy(prices=(price,))), "UTC")


def test_an_unknown_zone_prices_nothing() -> None:
    for zone in ("Mars/Olympus", "+1", ""):
        with pytest.raises(RefusedError):
            plan_of(energy(), zone)
