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
from tests.together import together
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


def nothing(reason: str) -> ExportPermit:
    """Return a permit for nothing."""
    return ExportPermit(station_w=0, evse_w=0, reason=reason)


EXPIRED = "prequalification {} expired at 1970-01-01T00:00:00.100Z"
LATER = "prequalification {} is valid from 1970-01-01T00:00:00.060Z on"


@pytest.mark.requirement("R45")
@together(
    ("records", "at_ms", "granted"),
    [
        ([record()], 0, ExportPermit(station_w=5000, until_ms=100)),
        ([record()], 99, ExportPermit(station_w=5000, until_ms=100)),
        ([record()], 100, nothing(EXPIRED.format("A"))),
        ([record("A", end=40), record("B"), record("C", end=90)], 100, nothing(EXPIRED.format("B"))),
        ([record(begin=60)], 59, nothing(LATER.format("A"))),
        ([record("A", end=40), record("B", begin=60), record("C", begin=70)], 50, nothing(LATER.format("B"))),
    ],
)
def test_a_record_holds_in_its_time_and_says_why_outside_of_it(
    records: list[Prequalification], at_ms: int, granted: ExportPermit
) -> None:
    """The next certificate to begin is named, or else the last one to end."""
    assert permit(records, 1, at_ms, required=False) == granted


def test_without_records_export_depends_on_the_configuration() -> None:
    """A station with records is bound by them in any case, at each of its EVSEs."""
    missing = nothing("EVSE 1 has no prequalification record")
    assert permit([], 1, 50, required=False) is OPEN
    assert permit([], 1, 50, required=True) == missing
    assert permit([record(evse_id=2)], 1, 50, required=False) == missing


def test_an_evses_record_bounds_it_and_the_stations_the_sum() -> None:
    """The end is that of the first one to end."""
    both = [record("A", most_w=9000), record("B", end=80, most_w=6000, evse_id=1)]
    assert permit(both, 1, 50, required=True) == ExportPermit(station_w=9000, evse_w=6000, until_ms=80)
    assert permit(both, 2, 50, required=True) == ExportPermit(station_w=9000, until_ms=100)
    strictest = permit_of_all([permit(both, evse_id, 50, required=True) for evse_id in (1, 2)])
    assert strictest == ExportPermit(station_w=9000, evse_w=6000, until_ms=80)


def test_the_strictest_of_all_permits_is_the_least_of_each_bound() -> None:
    """In whatever order they come; an open one bounds nothing."""
    one = ExportPermit(station_w=9000, evse_w=3000, until_ms=80)
    other = ExportPermit(station_w=7000, evse_w=4000, until_ms=90)
    for permits in ([one, OPEN, other], [other, OPEN, one]):
        assert permit_of_all(permits) == ExportPermit(station_w=7000, evse_w=3000, until_ms=80)
    assert permit_of_all([one, nothing("expired")]) == ExportPermit(
        station_w=0, evse_w=0, until_ms=80, reason="expired"
    )


@pytest.mark.requirement("R45")
@pytest.mark.parametrize(
    ("begin", "end", "most_w", "until_ms"),
    [
        (90, 200, 5000, 200),
        (100, 200, 5000, 200),
        (101, 200, 5000, 100),
        (90, 200, 4999, 100),
        (10, 30, 6000, 100),
    ],
)
def test_a_renewal_continues_without_a_gap(begin: int, end: int, most_w: int, until_ms: int) -> None:
    """If it permits as much, and begins before the other ends."""
    records = [record("A"), record("B", begin=begin, end=end, most_w=most_w)]
    assert permit(records, 1, 50, required=True) == ExportPermit(station_w=5000, until_ms=until_ms)


def test_a_smaller_record_takes_over_at_the_end_of_the_larger() -> None:
    """Both ends are changes."""
    smaller = [record("A"), record("B", begin=90, end=200, most_w=3000)]
    assert permit(smaller, 1, 95, required=True) == ExportPermit(station_w=5000, until_ms=100)
    assert permit(smaller, 1, 100, required=True) == ExportPermit(station_w=3000, until_ms=200)
    assert next_change_ms(smaller, 95) == 100
    assert next_change_ms(smaller, 200) is None


@together(
    ("granted", "export_w"),
    [
        (OPEN, 10_000),
        (ExportPermit(station_w=7000), 7000),
        (ExportPermit(station_w=20_000), 10_000),
        (ExportPermit(evse_w=3000), 6000),
        (ExportPermit(evse_w=6000), 10_000),
        (ExportPermit(station_w=7000, evse_w=4000), 7000),
        (ExportPermit(station_w=7000, evse_w=3000), 6000),
    ],
)
def test_a_signal_is_bounded_in_power(granted: ExportPermit, export_w: int) -> None:
    """By the station's bound, and by that of each of the two EVSEs that it is divided among; it is never raised."""
    assert permitted(grid_signal(1, export_limit_w=10_000), granted, 2).export_limit_w == export_w


@pytest.mark.parametrize(
    ("until_ms", "issued_and_valid"),
    [(None, (500, 900)), (901, (500, 900)), (899, (500, 899)), (501, (500, 501)), (500, (499, 500))],
)
def test_a_signal_is_bounded_in_time(until_ms: int | None, issued_and_valid: tuple[int, int]) -> None:
    """It was issued before it ends, as every signal."""
    signal = grid_signal(1, issued_at_ms=500, valid_until_ms=900)
    ended = permitted(signal, ExportPermit(station_w=7000, until_ms=until_ms), 1)
    assert (ended.issued_at_ms, ended.valid_until_ms) == issued_and_valid


def test_a_bare_signal_limits_nothing_for_ten_years() -> None:
    """It is older than every signal of a grid operator, and says where it comes from."""
    bare = parse_grid_signal(bare_signal(5).to_json())
    assert (bare.version, bare.source, bare.slots) == (0, "prequalification", ())
    assert bare.site_import_limit_w == bare.export_limit_w == 10_000_000
    assert (bare.issued_at_ms, bare.valid_until_ms) == (5, 315_360_000_005)


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


@together(
    ("unit", "period", "export_w"),
    [
        ("W", {"limit": 11_000.0}, 0),
        ("W", {"limit": 11_000.0, "discharge_limit": -4000.0}, 4000),
        ("W", {"setpoint": -3000.0, "setpoint_l2": -1000.0}, 4000),
        ("W", {"setpoint": 2000.0, "setpoint_l2": -3000.0, "setpoint_l3": -500.0}, 3500),
        ("W", {"setpoint": -3000.0, "discharge_limit": -4000.0, "discharge_limit_l3": -1000.0}, 5000),
        ("W", {"discharge_limit": -10_000_001.0}, 10_000_000),
        ("A", {"discharge_limit": -10.0}, 6900),
        ("W", {"v2x_freq_watt_curve": ((49.8, -7000.0), (50.2, 9000.0))}, 7000),
        ("A", {"v2x_freq_watt_curve": ((49.8, -7000.0), (50.2, 9000.0))}, 7000),
    ],
)
def test_every_way_to_ask_for_export_is_found(unit: str, period: dict[str, Any], export_w: int) -> None:
    """Limits, set-points, curves, in watts; a phase that charges takes nothing from one that feeds back."""
    curve = tuple(V2XFreqWattPoint(frequency=hz, power=w) for hz, w in period.get("v2x_freq_watt_curve", ()))
    assert export_of(profile(unit, **{**period, "v2x_freq_watt_curve": curve})) == export_w
