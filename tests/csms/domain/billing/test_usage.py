"""What a transaction used, as its station reported it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.domain.billing.usage import Moment, energy_between, usage_of
from csms.domain.transactions.transactions import Dated, Transaction
from v2g.energy.price_plan import Charge, PricePlan, Rate, When
from v2g.energy.settlement.costing import Usage, bill
from v2g.energy.settlement.intervals import Registers

YEAR_3000_MS = 32_503_680_000_000


def transaction(start_ms: int | None) -> Transaction:
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


def test_an_ended_transaction_lasted_as_long_as_its_station_says() -> None:
    """Also where the station's clock is ahead of ours."""
    ended = msgspec.structs.replace(transaction(500_000), ended_seq=3, ended_ms=800_000)
    usage = usage_of(ended, [Moment(500_000, import_wh="0"), Moment(800_000, import_wh="50")], 600_000)
    assert (usage.start_ms, usage.end_ms, usage.readings[-1].utc_ms) == (500_000, 800_000, 800_000)


def test_without_a_start_a_transaction_began_with_its_earliest_event() -> None:
    usage = usage_of(transaction(None), [Moment(7000, import_wh="0"), Moment(5000, import_wh="0")], 9000)
    assert (usage.start_ms, [each.utc_ms for each in usage.readings]) == (5000, [7000, 7000])


@pytest.mark.parametrize(
    ("start_ms", "begins_ms"),
    [(-1, 0), (0, 0), (1, 1), (YEAR_3000_MS, YEAR_3000_MS), (YEAR_3000_MS + 1, YEAR_3000_MS)],
)
def test_a_start_lies_between_1970_and_the_year_3000(start_ms: int, begins_ms: int) -> None:
    assert usage_of(transaction(start_ms), [], 0).start_ms == begins_ms


def test_what_comes_after_a_year_is_of_its_end() -> None:
    year_ms = 366 * 86_400_000
    usage = usage_of(transaction(0), [Moment(year_ms + 1, charging=True, import_wh="5")], year_ms + 2)
    assert (usage.end_ms, usage.readings, usage.charging) == (
        year_ms,
        (Registers(year_ms, 5000, 500_000),),
        ((year_ms, True),),
    )


def test_a_register_that_was_never_reported_counts_nothing() -> None:
    unmetered = msgspec.structs.replace(transaction(0), import_start_wh=None)
    usage = usage_of(unmetered, [Moment(1000), Moment(2000, export_wh="600")], 3000)
    assert usage.readings == (Registers(2000, 0, 600_000),)


def test_charging_that_goes_on_is_one_change() -> None:
    states = [True, None, True, False, False, True]
    usage = usage_of(transaction(0), [Moment(at, state) for at, state in enumerate(states)], 9)
    assert usage.charging == ((0, True), (3, False), (5, True))


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "mwh"),
    [
        (1000, 3000, 200 - 20),
        (0, 9000, 300 - 20),
        (1500, 2500, 50 - 5 + 50 - 5),
        (3500, 9000, 50),
        (0, 500, 0),
        (8000, 9000, 0),
    ],
)
def test_energy_is_what_was_taken_less_what_was_fed_back(start_ms: int, end_ms: int, mwh: int) -> None:
    readings = (
        Registers(1000, 7000, 70),
        Registers(2000, 7100, 80),
        Registers(3000, 7200, 90),
        Registers(4000, 7300, 90),
    )
    assert energy_between(Usage(start_ms=0, end_ms=9000, readings=readings), start_ms, end_ms) == mwh
    assert energy_between(Usage(start_ms=0, end_ms=9000), start_ms, end_ms) == 0


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
    charge = Charge(rates=(Rate(price="0.001", when=night), Rate(price="0.002")))
    plan = PricePlan(
        id="p", currency="EUR", zone="Europe/Berlin", energy=charge, charging_time=charge, idle_time=charge
    )
    moments = [Moment(at, charging, None if wh is None else str(wh)) for at, charging, wh in said]
    known = msgspec.structs.replace(transaction(start), ended_ms=end)
    result = bill([(0, plan)], usage_of(known, moments, 2_000_000_000_000), ended=True)
    assert result.charging_ms + result.idle_ms <= 366 * 86_400_000
    assert result.energy_mwh >= 0
