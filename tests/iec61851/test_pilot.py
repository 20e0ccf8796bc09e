"""What levels, duty cycles and the proximity contact mean (IEC 61851-1)."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.together import together
from v2g.iec61851.pilot import (
    DUTY_RANGES,
    TOLERANCE_MV,
    VEHICLE_OHM,
    BcbCounter,
    DutyReading,
    PilotFilter,
    PilotReading,
    PilotState,
    duty_for,
    offer,
    pilot_high_mv,
    pilot_low_mv,
    read_duty,
    read_levels,
    toggles,
)
from v2g.iec61851.proximity import CABLES, read_proximity

pytestmark = pytest.mark.requirement("R24")

A, B, C, D, E, F = PilotState


@together(
    ("high", "state"),
    [(12_000, A), (9_000, B), (9_900, B), (6_000, C), (3_000, D), (0, E), (-12_000, F), (10_500, None), (-6_000, None)],
)
def test_high_levels(high: int, state: PilotState | None) -> None:
    assert read_levels(high, None).state is state


@pytest.mark.parametrize("state", [B, C, D])
def test_the_vehicles_resistors_give_the_nominal_levels(state: PilotState) -> None:
    assert abs(pilot_high_mv(VEHICLE_OHM[state]) - {B: 9_000, C: 6_000, D: 3_000}[state]) < TOLERANCE_MV / 4
    assert read_levels(pilot_high_mv(VEHICLE_OHM[state]), pilot_low_mv(VEHICLE_OHM[state])).state is state
    assert read_levels(pilot_high_mv(None), pilot_low_mv(None)).state is A


def test_a_shorted_diode_shows_only_while_the_oscillator_runs() -> None:
    ohm = VEHICLE_OHM[B]
    assert read_levels(pilot_high_mv(ohm, diode=False), None).state is B
    assert read_levels(pilot_high_mv(ohm, diode=False), pilot_low_mv(ohm, diode=False)).state is E


@together(
    ("percent", "reading"),
    [
        (0, DutyReading("no_charging")),
        (2.9, DutyReading("no_charging")),
        (3, DutyReading("digital")),
        (5, DutyReading("digital")),
        (7, DutyReading("digital")),
        (7.5, DutyReading("error")),
        (8, DutyReading("current", 6.0)),
        (10, DutyReading("current", 6.0)),
        (25, DutyReading("current", 15.0)),
        (85, DutyReading("current", 51.0)),
        (90, DutyReading("current", 65.0)),
        (96, DutyReading("current", 80.0)),
        (97, DutyReading("current", 80.0)),
        (97.5, DutyReading("no_charging")),
        (100, DutyReading("off")),
    ],
)
def test_duty_cycles(percent: float, reading: DutyReading) -> None:
    assert read_duty(percent) == reading


@given(st.floats(6, 80))
def test_an_offered_current_is_read_back(current: float) -> None:
    read = read_duty(duty_for(current)).max_current_a
    assert read == pytest.approx(51.0 if 51 < current <= 52.5 else current)


def test_currents_without_a_duty_cycle() -> None:
    assert duty_for(5.9) == 100.0
    assert duty_for(200) == 96.0
    with pytest.raises(ValueError, match="outside"):
        read_duty(101)


@together(
    ("ohm", "state", "ampere"),
    [
        (None, "open", 0),
        (5_000, "open", 0),
        (4_500, "seated", 13),
        (1_500, "seated", 13),
        (937, "seated", 13),  # between two ranges: the lower current
        (680, "seated", 20),
        (220, "seated", 32),
        (100, "seated", 63),
        (59, "fault", 0),
    ],
)
def test_proximity(ohm: int | None, state: str, ampere: int) -> None:
    reading = read_proximity(ohm)
    assert (reading.state, reading.max_current_a) == (state, ampere)


def test_toggles_are_counted_when_their_c_lasts_200_to_400_ms() -> None:
    counter = BcbCounter()
    at = 0.0
    for state, lasts in [
        (B, 0.3),
        (C, 0.2),
        (B, 0.3),
        (C, 0.4),
        (B, 0.3),
        (C, 0.05),
        (B, 0.3),
        (C, 2.0),
        (B, 0.3),
        (C, 0.3),
        (D, 0.1),
        (B, 1),
    ]:
        counter.on_state(state, at)
        counter.on_state(state, at + 0.01)  # reported twice
        at += lasts
    assert counter.count == 2


def test_what_a_vehicle_toggles_is_what_a_charger_counts() -> None:
    counter, at = BcbCounter(), 0.0
    counter.on_state(B, at)
    at += 1
    for state, lasts in toggles(3, 0.3):
        counter.on_state(state, at)
        at += lasts
    assert counter.count == 3


def test_why_an_e_is_one() -> None:
    ohm = VEHICLE_OHM[C]
    assert read_levels(0, None) == PilotReading(E, "pilot_shorted")
    assert read_levels(0, -12_000) == PilotReading(E, "pilot_shorted")  # shorted behind the diode
    assert read_levels(6_000, -6_000) == PilotReading(E, "diode_shorted")
    assert read_levels(pilot_high_mv(ohm, diode=False), pilot_low_mv(ohm, diode=False)).fault == "diode_shorted"
    assert read_levels(12_000, -12_000) == PilotReading(A)


def test_ranges_follow_each_other_without_a_gap() -> None:
    """LINK_FACTS 6.2: every duty cycle means something, and only one thing."""
    ends = [(each.below, each.closed) for each in DUTY_RANGES]
    assert ends == sorted(ends)
    assert ends[-1] == (100, True)


@given(st.floats(0, 300))
@example(52.515625)
def test_no_oscillator_offers_more_than_it_may(current: float) -> None:
    duty = offer(current)
    assert round(duty * 100) == pytest.approx(duty * 100)  # a step of 0.01 %
    assert read_duty(duty).max_current_a <= current + 1e-9
    if 6 <= current <= 51 or 52.53 < current <= 80:  # 85 % is 51 A, and the next step, 85.01 %, is 52.525 A
        assert read_duty(duty).max_current_a > current - 0.03


def test_a_type_1_plug_reports_its_latch() -> None:
    assert [read_proximity(ohm, "type1").state for ohm in (150, 480, 2_000, 59, None)] == [
        "seated",
        "unlatched",
        "open",
        "fault",
        "open",
    ]


@pytest.mark.parametrize(("least", "most", "ampere"), CABLES)
def test_a_cable_is_never_taken_for_a_stronger_one(least: int, most: int, ampere: int) -> None:
    """What lies between two ranges of the table counts as the weaker cable, that of the higher resistance."""
    assert {read_proximity(ohm).max_current_a for ohm in (least, most)} == {ampere}
    below = max((highest for _, highest, _ in CABLES if highest < least), default=None)
    if below is not None:
        assert {read_proximity(ohm).max_current_a for ohm in range(below + 1, least)} == {ampere}


class TestFilter:
    def test_a_state_counts_when_it_has_settled(self) -> None:
        seen = PilotFilter()
        assert not seen.feed(PilotReading(B), 0.0)
        assert not seen.feed(PilotReading(A), 0.005)  # the contact bounces
        assert not seen.feed(PilotReading(B), 0.010)
        assert not seen.feed(PilotReading(B), 0.020)
        assert seen.feed(PilotReading(B), 0.026)
        assert seen.state is B

    @pytest.mark.parametrize("state", [E, F])
    def test_what_takes_power_away_counts_at_once(self, state: PilotState) -> None:
        seen = PilotFilter()
        assert seen.feed(PilotReading(state), 0.0)
        assert seen.state is state

    def test_a_level_between_two_states_is_e_when_it_stays(self) -> None:
        seen = PilotFilter()
        seen.feed(PilotReading(C), 0.0)
        seen.feed(PilotReading(C), 0.02)
        assert not seen.feed(PilotReading(None), 0.03)
        assert not seen.feed(PilotReading(None), 0.12)
        assert seen.state is C
        assert seen.feed(PilotReading(None), 0.14)
        assert (seen.state, seen.fault) == (E, "pilot_shorted")

    def test_c_to_b_is_found_within_50_ms_and_a_toggle_of_200_ms_passes(self) -> None:
        seen, counter, found = PilotFilter(), BcbCounter(), {}
        for ms in range(2_000):
            level = B if ms < 500 or ms >= 700 else C
            if seen.feed(PilotReading(level), ms / 1000):
                found.setdefault(seen.state, ms)
                counter.on_state(seen.state, ms / 1000)
        assert counter.count == 1
        assert found[C] - 500 <= 50
