"""Price plans in OCPP's words are valid by its schema and say the same; costs likewise."""

from datetime import UTC, date, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.core.tariffs import Moment, cost_details, elements, has_conditions, to_wire, usage_of
from csms.core.transactions import Dated, Transaction
from tests.ocpp.official import validator
from v2g.errors import RefusedError
from v2g.grid.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.ocpp.messages.tariff_cost import SetDefaultTariffRequest
from v2g.ocpp.messages.transactions import Transaction as Info
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.versions import write_payload
from v2g.settlement.costing import bill

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
charges = st.builds(
    Charge,
    rates=st.lists(st.builds(Rate, price=st.integers(0, 10**9), when=whens), min_size=1, max_size=3).map(tuple),
    taxes=st.lists(taxes, max_size=2).map(tuple),
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
    rates = (Rate(price=1, when=When(holidays=True)), Rate(price=2, when=When(holidays=False)))
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


def test_what_a_station_may_limit_is_counted() -> None:
    plain = to_wire(PricePlan(id="a", currency="EUR", energy=Charge(rates=(Rate(price=1),))))
    assert (elements(plain), has_conditions(plain)) == (1, False)
    night = When(from_minute=0, to_minute=360)
    more = to_wire(PricePlan(id="b", currency="EUR", energy=Charge(rates=(Rate(price=1, when=night), Rate(price=2)))))
    assert (elements(more), has_conditions(more)) == (2, True)


def test_a_driver_s_tariff_has_no_valid_from_and_energy_fed_back_is_not_local() -> None:
    plan = PricePlan(id="a", currency="EUR", valid_from_ms=1, energy=Charge(rates=(Rate(price=1),)))
    assert to_wire(plan).valid_from is not None
    assert to_wire(plan, driver=True).valid_from is None
    with pytest.raises(RefusedError) as caught:
        to_wire(msgspec.structs.replace(plan, export=plan.energy))
    assert caught.value.reason == "not_local"


def transaction(start_ms: int) -> Transaction:
    return Transaction(
        station_id="CS",
        transaction_id="t",
        first_seq=0,
        last_seq=3,
        started_ms=start_ms,
        import_start_wh=Dated(0, "0"),
        export_start_wh=Dated(1, "500"),
    )


def test_use_runs_forward_whatever_meter_and_clock_say() -> None:
    moments = [
        Moment(1000, import_wh="0"),
        Moment(61_000, charging=True, import_wh="100", export_wh="500"),
        Moment(31_000, import_wh="90"),  # both fell
        Moment(121_000, charging=False, import_wh="200.5", export_wh="700"),
    ]
    usage = usage_of(transaction(1000), moments, 200_000)
    assert [(r.utc_ms, r.import_mwh, r.export_mwh) for r in usage.readings] == [
        (1000, 0, 500_000),
        (61_000, 100_000, 500_000),
        (61_000, 100_000, 500_000),
        (121_000, 200_500, 700_000),
    ]
    assert usage.charging == ((61_000, True), (121_000, False))


def test_a_bill_is_a_valid_costDetails() -> None:
    start = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp() * 1000)
    moments = [Moment(start, charging=True, import_wh="0"), Moment(start + 3_600_000, import_wh="10000")]
    usage = usage_of(transaction(start), moments, start + 3_600_000, reserved_ms=start - 60_000)
    charge = Charge(rates=(Rate(price=250_000),), taxes=(Tax(kind="vat", ppm=100_000),))
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
    least = msgspec.structs.replace(plan, least=Bound(excl_tax=9_000_000, incl_tax=9_900_000))
    fixed = cost_details(bill([(start, least)], usage, ended=True)).total_cost
    assert (fixed.type_of_cost, fixed.energy) == ("MinCost", None)
    assert fixed.fixed is not None
    assert fixed.fixed.incl_tax == 9.9  # I12.FR.38


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(10**15), 10**15), st.none() | st.booleans(), st.none() | st.integers(-(10**20), 10**20)
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(-(10**15), 10**15),
    st.none() | st.integers(-(10**15), 10**15),
)
def test_whatever_a_station_says_comes_to_some_cost_in_no_time(
    said: list[tuple[int, bool | None, int | None]], start: int, end: int | None
) -> None:
    night = When(from_minute=1320, to_minute=360, weekdays=(5, 6), min_idle_s=60, max_energy_wh=500)
    charge = Charge(rates=(Rate(price=1000, when=night), Rate(price=2000)))
    plan = PricePlan(
        id="p", currency="EUR", zone="Europe/Berlin", energy=charge, charging_time=charge, idle_time=charge
    )
    moments = [Moment(at, charging, None if wh is None else str(wh)) for at, charging, wh in said]
    known = msgspec.structs.replace(transaction(start), ended_ms=end)
    result = bill([(0, plan)], usage_of(known, moments, 2_000_000_000_000), ended=True)
    assert result.charging_ms + result.idle_ms <= 366 * 86_400_000
    assert result.energy_mwh >= 0
