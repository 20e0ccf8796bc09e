"""Prequalification records: who may export, how much, until when, and why not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.prequalifications.rules import (
    OPEN,
    ExportPermit,
    Prequalification,
    bare_signal,
    export_of,
    next_change_ms,
    permit,
    permit_of_all,
    permitted,
)
from tests.csms.support import grid_signal
from v2g.energy.grid_signal import parse_grid_signal
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingSchedule,
    ChargingSchedulePeriod,
    V2XFreqWattPoint,
)


def record(certificate: str = "A", begin: int = 0, end: int = 100, most_w: int = 5000, evse_id: int = 0) -> Any:
    """Return a record."""
    return Prequalification(
        station_id="CS",
        certificate=certificate,
        evse_id=evse_id,
        operator="DSO",
        valid_from_ms=begin,
        valid_until_ms=end,
        most_export_w=most_w,
    )


@pytest.mark.requirement("R45")
def test_a_record_holds_in_its_time_and_says_why_outside_of_it() -> None:
    """Its certificate is named."""
    assert permit([record()], 1, 50, required=True) == ExportPermit(station_w=5000, until_ms=100)
    over = permit([record()], 1, 100, required=False)
    assert (over.most_w, over.reason) == (0, "prequalification A expired at 1970-01-01T00:00:00.100Z")
    early = permit([record(begin=60)], 1, 50, required=False)
    assert (early.most_w, early.reason) == (0, "prequalification A is valid from 1970-01-01T00:00:00.060Z on")


def test_without_records_export_depends_on_the_configuration() -> None:
    """A station with records is bound by them in any case, at each of its EVSEs."""
    assert permit([], 1, 50, required=False) is OPEN
    assert permit([], 1, 50, required=True).reason == "EVSE 1 has no prequalification record"
    other = permit([record(evse_id=2)], 1, 50, required=False)
    assert (other.most_w, other.reason) == (0, "EVSE 1 has no prequalification record")


def test_an_evses_record_bounds_it_and_the_stations_the_sum() -> None:
    """The end is that of the first one to end."""
    both = [record("A", most_w=9000), record("B", end=80, most_w=6000, evse_id=1)]
    assert permit(both, 1, 50, required=True) == ExportPermit(station_w=9000, evse_w=6000, until_ms=80)
    assert permit(both, 2, 50, required=True) == ExportPermit(station_w=9000, until_ms=100)
    strictest = permit_of_all([permit(both, evse_id, 50, required=True) for evse_id in (1, 2)])
    assert strictest == ExportPermit(station_w=9000, evse_w=6000, until_ms=80)


@pytest.mark.requirement("R45")
def test_a_renewal_continues_without_a_gap() -> None:
    """If it permits as much; a smaller one takes over at the end of the larger."""
    renewed = [record("A"), record("B", begin=90, end=200)]
    assert permit(renewed, 1, 50, required=True).until_ms == 200
    smaller = [record("A"), record("B", begin=90, end=200, most_w=3000)]
    assert permit(smaller, 1, 95, required=True) == ExportPermit(station_w=5000, until_ms=100)
    assert permit(smaller, 1, 100, required=True) == ExportPermit(station_w=3000, until_ms=200)
    assert next_change_ms(smaller, 95) == 100
    assert next_change_ms(smaller, 200) is None


def test_a_signal_is_bounded_in_power_and_time() -> None:
    """By what the station divides it into; never raised."""
    signal = grid_signal(1, export_limit_w=10_000)
    until_ms = signal.valid_until_ms
    assert permitted(signal, OPEN, 2) is signal
    assert permitted(signal, ExportPermit(station_w=7000), 2).export_limit_w == 7000
    assert permitted(signal, ExportPermit(evse_w=3000), 2).export_limit_w == 6000
    assert permitted(signal, ExportPermit(station_w=20_000), 2).export_limit_w == 10_000
    ended = permitted(signal, ExportPermit(station_w=7000, until_ms=until_ms - 5), 1)
    assert ended.valid_until_ms == until_ms - 5
    assert permitted(signal, ExportPermit(station_w=7000, until_ms=until_ms + 5), 1).valid_until_ms == until_ms
    assert parse_grid_signal(bare_signal(5).to_json()).export_limit_w == 10_000_000


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 9), st.integers(0, 2)), max_size=6),
    st.integers(0, 120),
)
def test_nothing_is_permitted_that_no_valid_record_permits(cells: list[tuple[int, int, int, int]], at: int) -> None:
    """Now and at every moment until the permit ends."""
    records = [record(str(n), b, b + length, watts, evse) for n, (b, length, watts, evse) in enumerate(cells)]
    for evse_id in (1, 2):
        granted = permit(records, evse_id, at, required=True)
        assert bool(granted.reason) == (not any(r.valid(at) and r.evse_id in (0, evse_id) for r in records))
        if granted.reason:
            assert granted.most_w == 0
            continue
        assert granted.until_ms is not None
        for later in range(at, granted.until_ms):
            valid = [r.most_export_w for r in records if r.valid(later) and r.evse_id in (0, evse_id)]
            assert max(valid) >= granted.most_w


def profile(unit: Any = "W", **period: Any) -> ChargingProfile:
    """Return a profile of one period."""
    schedule = ChargingSchedule(
        id=1, charging_rate_unit=unit, charging_schedule_period=(ChargingSchedulePeriod(start_period=0, **period),)
    )
    return ChargingProfile(
        id=1,
        stack_level=0,
        charging_profile_purpose="TxProfile",
        charging_profile_kind="Relative",
        charging_schedule=(schedule,),
    )


def test_every_way_to_ask_for_export_is_found() -> None:
    """Limits, set-points, curves; in watts."""
    assert export_of(profile(limit=11_000.0)) == 0
    assert export_of(profile(limit=11_000.0, discharge_limit=-4000.0)) == 4000
    assert export_of(profile(setpoint=-3000.0, setpoint_l2=-1000.0)) == 4000
    assert export_of(profile("A", discharge_limit=-10.0)) == 6900
    curve = (V2XFreqWattPoint(frequency=49.8, power=-7000.0), V2XFreqWattPoint(frequency=50.2, power=7000.0))
    assert export_of(profile(v2x_freq_watt_curve=curve)) == 7000
