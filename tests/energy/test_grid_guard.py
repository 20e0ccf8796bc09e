"""A unit under each grid code: test signals in the shape of EN 50549-10 and IEEE 1547.1, against the codes' tables."""

import itertools
import math
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.energy.feeder import Feeder, FeederNode
from v2g.energy.grid_code import GridCode, ProtectionStage, ShortInterruption, presets
from v2g.energy.grid_guard import GridGuard, GridProtection
from v2g.energy.grid_support import FrequencySupport, GridSupport
from v2g.energy.limits import GridResponse

pytestmark = pytest.mark.requirement("R209")

STEP_S = 0.02
MOST_W = 10_000
VDE, CEI, G98 = (presets()[name] for name in ("vde-ar-n-4105-2018", "cei-0-21", "g98"))
CODES = pytest.mark.parametrize("code", presets().values(), ids=presets())
STAGES = [(code, stage) for code in presets().values() for stage in code.protection]
PLAIN = [(code, stage) for code, stage in STAGES if stage.of in ("voltage", "frequency")]


class State(NamedTuple):
    """What the code does to a unit now: disconnected, by which stage, limited."""

    out: bool = False
    stage: str = ""
    limited: bool = False


class Unit:
    """A unit at a grid whose values are set, measured every STEP_S."""

    def __init__(self, code: GridCode, *, flow_w: int = -MOST_W, phases: int = 1, tripped: str = "") -> None:
        self.code, self.now, self.flow_w = code, 0.0, flow_w
        support = code.functions_for(volts=code.nominal_v, watts=MOST_W, reactive=None)
        self.protection = GridProtection(code, nominal_v=code.nominal_v, tripped=tripped)
        self.guard = GridGuard(self.protection, support, most_out_w=MOST_W, most_in_w=MOST_W)
        self.hertz: float | None = code.nominal_hz
        self.volts: tuple[float, ...] = (code.nominal_v,) * phases

    def play(self, seconds: float, step_s: float = STEP_S) -> None:
        """Let time pass, measuring."""
        for _ in range(max(1, round(seconds / step_s))):
            self.now += step_s
            self.protection.measured(self.hertz, self.volts, self.now)
            self.guard.measured(self.flow_w, self.now)

    def rest(self, seconds: float) -> None:
        """Let a long time pass, measuring each second."""
        self.play(seconds, 1.0)

    def connected(self) -> "Unit":
        """Let it connect, with all of its power."""
        self.rest(self.code.connection.wait_s + 6000 / (self.code.connection.ramp or 6000) + 2)
        assert self.response == GridResponse()
        return self

    def set(self, stage: ProtectionStage, beyond: float) -> None:
        """Put the grid beyond a stage's limit (or within, if negative)."""
        value = stage.limit + (beyond if stage.side == "over" else -beyond)
        if stage.of == "frequency":
            self.hertz = value
        else:
            self.volts = (self.code.nominal_v * value,) * len(self.volts)

    @property
    def response(self) -> GridResponse:
        return self.guard.response(self.now)

    def tick(self, now: float) -> None:
        """Let time pass without a measurement."""
        self.protection.tick(now)
        self.guard.tick(now)

    @property
    def due(self) -> float | None:
        """When it is to be woken."""
        dues = self.protection.due(self.now), self.guard.due(self.now)
        return min((each for each in dues if each is not None), default=None)

    @property
    def state(self) -> "State":
        return State(self.protection.out, self.protection.tripped, self.guard.limited)

    @property
    def leaves_w(self) -> int:
        """The most that may leave."""
        return MOST_W if self.response.floor_w is None else -self.response.floor_w

    @property
    def enters_w(self) -> int:
        """The most that may enter."""
        return MOST_W if self.response.ceiling_w is None else self.response.ceiling_w


def least(code: GridCode, stage: ProtectionStage, beyond: float) -> float:
    """How long the value may last, by all stages of its side, by hand."""
    sign = 1 if stage.side == "over" else -1
    value = stage.limit + sign * beyond
    return min(
        each.seconds
        for each in code.protection
        if (each.of, each.side) == (stage.of, stage.side) and (value - each.limit) * sign > 0
    )


@pytest.mark.parametrize(("code", "stage"), PLAIN, ids=[f"{c.name} {s.name}" for c, s in PLAIN])
@pytest.mark.some(14)
def test_a_stage_acts_after_its_time_not_before_and_never_within_its_limit(
    code: GridCode, stage: ProtectionStage
) -> None:
    beyond = 0.01 if stage.of == "voltage" else 0.02
    unit = Unit(code).connected()
    unit.set(stage, beyond)
    seconds = least(code, stage, beyond)
    unit.play(seconds - 0.04, STEP_S if seconds < 30 else 0.5)
    assert not unit.response.trip
    unit.play(0.6 if seconds >= 30 else 0.08)
    assert unit.response == GridResponse(floor_w=0, ceiling_w=0, trip=True)
    assert unit.state.out
    inside = Unit(code).connected()
    inside.set(stage, -beyond)
    slower = [each.seconds for each in code.protection if (each.of, each.side) == (stage.of, stage.side)]
    inside.play(min(slower) + stage.seconds + 0.2 if len(slower) == 1 else min(slower) * 0.9)
    assert not inside.response.trip


@CODES
def test_a_unit_feeds_back_only_after_the_grid_was_within_bounds_for_the_time_of_connection(code: GridCode) -> None:
    unit = Unit(code, flow_w=0)
    unit.rest(code.connection.wait_s - 1)
    assert (unit.leaves_w, unit.enters_w) == (0, MOST_W), "a load may draw"
    assert unit.state == State(out=True)
    unit.hertz = code.connection.high_hz + 0.01
    unit.rest(1)
    unit.hertz = code.nominal_hz
    unit.rest(code.connection.wait_s - 1)
    assert unit.leaves_w == 0, "one bad measurement begins the time anew"
    unit.rest(3)
    assert unit.leaves_w > 0
    assert not unit.state.out


def test_what_is_beyond_a_stage_begins_the_time_of_connection_anew_though_it_is_within_its_bounds() -> None:
    unit = Unit(G98, flow_w=0)
    unit.rest(15)
    for hertz in (50.15, 50.3, 50.15):
        unit.hertz = hertz
        unit.play(0.1, 0.1)
    unit.rest(19)
    assert unit.state == State(out=True)
    unit.rest(3)
    assert unit.state == State()


@CODES
@pytest.mark.some(2)
def test_after_a_disconnection_power_returns_by_the_ramp_of_the_code(code: GridCode) -> None:
    unit = Unit(code).connected()
    unit.volts = (code.nominal_v * 1.3,)
    unit.play(0.6)
    assert unit.response.trip
    unit.rest(5)  # longer than a short interruption
    unit.volts = (code.nominal_v,)
    wait_s, ramp = code.reconnection.wait_s, code.reconnection.ramp
    unit.play(wait_s - 0.1)
    assert unit.response.trip
    unit.play(0.2)
    assert not unit.response.trip
    if ramp:
        begun = unit.leaves_w
        unit.play(30)
        assert unit.leaves_w - begun == pytest.approx(min(MOST_W - begun, MOST_W * ramp / 100 / 2), abs=2)
        assert unit.leaves_w == unit.enters_w
        unit.rest(6000 / ramp)
    assert unit.response == GridResponse()


@CODES
@pytest.mark.parametrize("stage", ["U<<", "unreadable"])
def test_a_restart_while_disconnected_waits_as_after_a_disconnection(code: GridCode, stage: str) -> None:
    """Never as after a short interruption, and both directions return by the ramp."""
    unit = Unit(code, flow_w=0, tripped=stage)
    assert (unit.response.trip, unit.state) == (True, State(out=True, stage=stage))
    unit.rest(code.reconnection.wait_s - 1)
    assert unit.response.trip
    unit.play(2.2)
    assert not unit.response.trip
    assert unit.state.stage == ""
    if code.reconnection.ramp:
        assert unit.enters_w == unit.leaves_w < MOST_W


def test_units_of_one_connection_disconnect_and_return_together_and_each_has_limits_of_its_own() -> None:
    one = Unit(VDE)
    support = VDE.functions_for(volts=230, watts=22_000, reactive=None)
    other = GridGuard(one.protection, support, most_out_w=22_000, most_in_w=22_000)
    one.connected()
    one.hertz = 50.7
    one.play(STEP_S)
    other.measured(-22_000, one.now)
    assert (one.leaves_w, other.response(one.now).floor_w) == (8_000, -17_600)
    one.hertz = 51.6
    one.play(0.2)
    assert one.response.trip
    assert other.response(one.now).trip


def test_after_a_short_interruption_a_unit_waits_for_a_short_time_only() -> None:
    unit = Unit(VDE).connected()
    unit.volts = (0.0,)
    unit.play(2.0)
    assert unit.state.stage == "U<<"
    unit.volts = (230.0,)
    unit.play(4.9)
    assert unit.response.trip
    unit.play(0.2)
    assert not unit.response.trip
    unit.volts = (0.0,)
    unit.play(4.0)
    unit.volts = (230.0,)
    unit.play(10)
    assert unit.response.trip, "it was longer than 3 s"


def test_a_short_interruption_is_as_long_as_the_code_says_to_the_last_second() -> None:
    for lasting_s, trips in ((3, False), (4, True)):
        unit = Unit(VDE).connected()
        unit.volts = (0.0,)
        unit.rest(1 + lasting_s)  # it disconnects at the second measurement
        unit.volts = (230.0,)
        unit.rest(6)
        assert unit.response.trip is trips


def test_a_unit_that_has_returned_connects_anew_by_the_rule_of_connection_not_of_an_interruption() -> None:
    short = ShortInterruption(lasting_s=600, wait_s=5, source="K")
    unit = Unit(msgspec.structs.replace(VDE, short_interruption=short)).connected()
    unit.volts = (0.0,)
    unit.rest(2)
    unit.volts = (230.0,)
    unit.rest(6)
    assert unit.state == State()
    unit.hertz = None
    unit.rest(5)
    unit.hertz = 50.0
    unit.rest(60)
    assert unit.state.out
    unit.rest(1)
    assert not unit.state.out


def test_power_has_returned_exactly_when_the_ramp_ends() -> None:
    unit = Unit(VDE)
    unit.rest(660)
    assert MOST_W * 0.99 < unit.leaves_w < MOST_W
    unit.rest(1)
    assert unit.response == GridResponse()


def test_a_late_look_names_the_stage_that_was_due_first() -> None:
    unit = Unit(VDE).connected()
    unit.volts = (0.0,)
    unit.play(STEP_S)
    assert unit.due == pytest.approx(unit.now + 0.3)
    unit.tick(unit.now + 10)
    assert unit.state.stage == "U<<"


@pytest.mark.parametrize(("flow_w", "hertz"), [(MOST_W // 2, 51.4), (-MOST_W // 2, 48.0)])
def test_power_in_the_other_direction_is_none_to_lower_or_to_return(flow_w: int, hertz: float) -> None:
    over = FrequencySupport(start_hz=50.2, stop_hz=51.5, slope=100, ramp=10)
    under = FrequencySupport(start_hz=49.8, stop_hz=47.5, slope=100, ramp=10)
    support = GridSupport(over_frequency_watt=over, under_frequency_watt=under)
    unit = Unit(msgspec.structs.replace(VDE, support=support), flow_w=flow_w).connected()
    silent = GridGuard(unit.protection, support, most_out_w=MOST_W, most_in_w=MOST_W)
    unit.hertz = hertz
    unit.play(STEP_S)
    silent.tick(unit.now)
    for response in (unit.response, silent.response(unit.now)):
        assert (response.floor_w, response.ceiling_w) == ((0, None) if hertz > 50 else (None, 0))
    unit.hertz = 50.0
    unit.play(STEP_S)
    silent.tick(unit.now)
    assert unit.response == silent.response(unit.now) == GridResponse()


def test_a_limit_of_all_of_the_rating_is_none() -> None:
    """Of a vehicle that draws more than it may."""
    under = FrequencySupport(start_hz=49.5, stop_hz=47.5, slope=40, reference="maximum")
    support = msgspec.structs.replace(VDE.support, under_frequency_watt=under)
    unit = Unit(msgspec.structs.replace(VDE, support=support), flow_w=MOST_W + 2000).connected()
    unit.hertz = 49.0
    unit.play(STEP_S)
    assert unit.response == GridResponse()
    assert unit.state == State()


@pytest.mark.parametrize("excess", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("flow_w", [-MOST_W, -MOST_W // 2])
@pytest.mark.parametrize("code", [VDE, CEI, presets()["en-50549-1-2019"], G98], ids=lambda each: each.name)
def test_over_frequency_lowers_the_momentary_power_by_the_droop(code: GridCode, flow_w: int, excess: float) -> None:
    support = code.support.over_frequency_watt
    assert support is not None
    unit = Unit(code, flow_w=flow_w).connected()
    unit.hertz = support.start_hz + excess
    unit.play(STEP_S)
    expected = max(0.0, -flow_w * (1 - support.slope / 100 * min(excess, support.stop_hz - support.start_hz)))
    assert unit.leaves_w == pytest.approx(expected, abs=0.003 * MOST_W)
    assert unit.enters_w == MOST_W


@pytest.mark.parametrize("short", [0.1, 0.5, 1.0])
@CODES
def test_under_frequency_lowers_what_a_vehicle_draws(code: GridCode, short: float) -> None:
    support = code.support.under_frequency_watt
    assert support is not None
    unit = Unit(code, flow_w=MOST_W // 2).connected()
    unit.hertz = support.start_hz - short
    unit.play(STEP_S)
    reference = MOST_W if support.reference == "maximum" else MOST_W / 2
    expected = max(0.0, MOST_W / 2 - support.slope / 100 * min(short, support.start_hz - support.stop_hz) * reference)
    assert unit.enters_w == pytest.approx(expected, abs=0.003 * MOST_W)
    assert unit.leaves_w == MOST_W, "what is fed back helps"


def test_power_lowered_by_frequency_follows_it_and_returns_by_ten_percent_a_minute() -> None:
    unit = Unit(VDE).connected()
    seen = []
    for hertz in (50.7, 51.2, 50.7, 50.3):
        unit.hertz = hertz
        unit.play(STEP_S)
        seen.append(unit.leaves_w)
    assert seen == pytest.approx([8000, 6000, 8000, 9600], abs=20)
    unit.hertz = 51.2
    unit.play(STEP_S)
    unit.hertz = 50.1
    unit.rest(60)
    assert unit.leaves_w == pytest.approx(7000, abs=30)
    unit.hertz = 50.25
    unit.flow_w = -7000
    unit.play(STEP_S)
    assert unit.leaves_w <= 7000, "it had not returned, so it falls from there"
    unit.hertz = 50.0
    unit.rest(600)
    assert unit.response == GridResponse()


def test_in_italy_power_stays_low_for_300_s_after_an_excess() -> None:
    unit = Unit(CEI).connected()
    unit.hertz = 50.7
    unit.play(STEP_S)
    lowest = unit.leaves_w
    unit.hertz = 50.0
    unit.rest(299)
    assert unit.leaves_w == lowest
    unit.rest(62)
    assert unit.leaves_w > lowest


@pytest.mark.parametrize("outside", [50.15, 49.85])
def test_in_italy_power_returns_only_within_a_narrower_band(outside: float) -> None:
    """Not where the deviation began, and a ramp that is interrupted waits anew, and does not fall."""
    unit = Unit(CEI).connected()
    unit.hertz = 50.7
    unit.play(STEP_S)
    lowest = unit.leaves_w
    unit.hertz = outside
    unit.rest(400)
    assert unit.leaves_w == lowest
    unit.hertz = 50.1
    unit.rest(330)
    risen = unit.leaves_w
    assert lowest < risen < MOST_W
    unit.hertz = outside
    unit.rest(60)
    assert unit.leaves_w == pytest.approx(risen, abs=150)
    held = unit.leaves_w
    unit.hertz = 49.9
    unit.rest(299)
    assert unit.leaves_w == held
    unit.rest(400)
    assert unit.response == GridResponse()


@pytest.mark.parametrize("stage", CEI.narrow_stages, ids=lambda each: each.name)
def test_narrow_stages_act_while_they_are_selected(stage: ProtectionStage) -> None:
    unit = Unit(CEI).connected()
    unit.set(stage, 0.02)
    unit.play(1)
    assert not unit.response.trip, "they are not"
    unit.protection.select(narrow=True)
    unit.play(stage.seconds - STEP_S)
    assert not unit.response.trip
    unit.play(3 * STEP_S)
    assert unit.state == State(out=True, stage=stage.name)
    unit.protection.select(narrow=False)
    unit.hertz = 50.0
    unit.rest(CEI.reconnection.wait_s - 1)
    assert unit.response.trip, "what they disconnected returns by the rule of all"
    unit.rest(3)
    assert not unit.response.trip
    unit.protection.select(narrow=True)
    unit.set(stage, -0.02)
    unit.play(1)
    assert not unit.response.trip


def test_stages_that_are_selected_leave_the_times_of_the_others() -> None:
    unit = Unit(CEI).connected()
    unit.volts = (0.8 * 230,)  # 27.S1 acts after 1.5 s
    unit.play(1.4)
    unit.protection.select(narrow=True)
    unit.play(0.06)
    assert not unit.response.trip
    unit.play(0.1)
    assert unit.state.stage == "27.S1"


def test_the_mean_of_ten_minutes_disconnects_though_no_value_is_beyond_a_stage() -> None:
    unit = Unit(VDE).connected()
    unit.volts = (230 * 1.12,)
    seconds = next(n for n in itertools.count(1) if (unit.rest(1), unit.response.trip)[1] or n > 700)
    assert seconds == pytest.approx(600 * 0.10 / 0.12, abs=6), "from 100 % to a mean of 110 %"
    assert unit.state.stage == "U> 10 min"
    unit = Unit(VDE)
    unit.volts = (230 * 1.12,)
    unit.rest(494)
    assert not unit.response.trip, "ten minutes before the start count as nominal"
    unit.rest(12)
    assert unit.response.trip


@pytest.mark.parametrize(("code", "share", "trips"), [(VDE, 1.23, True), (VDE, 1.212, False), (CEI, 1.212, True)])
def test_the_mean_of_ten_minutes_is_quadratic_in_italy(code: GridCode, share: float, *, trips: bool) -> None:
    """Between 0.98 Un and more, half a minute each, long enough that nothing but the mean counts."""
    (stage,) = (each for each in code.protection if each.of == "mean_voltage")
    assert stage.rms is (code is CEI)
    plain = msgspec.structs.replace(code, protection=(stage,))
    unit = Unit(plain).connected()
    for turn in range(44):
        unit.volts = (230 * (0.98 if turn % 2 else share),)
        unit.rest(30)
    assert unit.response.trip is trips
    if code is CEI:
        assert (0.98 + share) / 2 < stage.limit < ((0.98**2 + share**2) / 2) ** 0.5, "the arithmetic one is below"


def test_the_worst_phase_counts() -> None:
    for volts, stage in (((230, 180, 230), "U<"), ((230, 230, 290), "U>>")):
        unit = Unit(VDE, phases=3).connected()
        unit.volts = volts
        unit.play(3.1)
        assert unit.state.stage == stage
        unit.volts = (230, 230, 190)
        unit.rest(200)
        assert unit.response.trip, "one phase is not well"


@pytest.mark.parametrize("missing", ["hertz", "volts"])
@CODES
def test_what_is_not_measured_permits_no_connection_and_no_feed_back(code: GridCode, missing: str) -> None:
    unit = Unit(code)
    setattr(unit, missing, None if missing == "hertz" else ())
    unit.rest(1000)
    assert unit.state.out
    assert unit.due is None
    unit = Unit(code).connected()
    setattr(unit, missing, None if missing == "hertz" else ())
    unit.play(1)
    assert (unit.leaves_w, unit.enters_w, unit.response.trip) == (0, MOST_W, False)


@pytest.mark.parametrize(("hertz", "volts"), [(None, (230.0,)), (50.0, ()), (None, ())])
def test_a_unit_that_did_not_know_the_grid_for_long_connects_anew(
    hertz: float | None, volts: tuple[float, ...]
) -> None:
    unit = Unit(VDE).connected()
    for lost_s, stays in ((3, True), (4, False)):
        unit.now = math.ceil(unit.now)
        unit.hertz, unit.volts = hertz, volts
        unit.play(lost_s + 1, 1)
        assert (unit.leaves_w, unit.enters_w) == (0, MOST_W)
        unit.hertz, unit.volts = 50.0, (230.0,)
        unit.play(0.1)
        assert (unit.leaves_w == MOST_W) is stays
    assert unit.state == State(out=True)
    unit.rest(58)
    assert (unit.leaves_w, unit.enters_w) == (0, MOST_W)
    unit.rest(31)
    assert unit.leaves_w == pytest.approx(MOST_W * 0.05, abs=200)
    assert unit.enters_w == MOST_W


def test_a_unit_that_has_not_connected_yet_is_woken_when_it_may_or_a_stage_is_due() -> None:
    for code in (presets()["rule-21"], VDE):
        unit = Unit(code)
        unit.play(STEP_S)
        assert unit.due == unit.now + code.connection.wait_s
    unit.hertz = 47.0
    unit.play(STEP_S)
    assert not unit.response.trip
    due = unit.due
    assert due == pytest.approx(unit.now + 0.1)
    unit.tick(due)
    unit.now = due
    assert unit.response.trip
    assert unit.due is None


@pytest.mark.parametrize(("rate", "trips"), [(0.9, False), (1.1, True), (-1.1, True)])
def test_a_steep_frequency_disconnects_where_the_code_says_so(rate: float, *, trips: bool) -> None:
    unit = Unit(G98).connected()
    for _ in range(35):
        assert unit.hertz is not None
        unit.hertz += rate * STEP_S
        unit.play(STEP_S)
    assert unit.response.trip is trips
    assert unit.state.stage == ("df/dt" if trips else "")


def test_a_rate_of_change_needs_measurements_that_are_just_a_tenth_of_a_second_apart() -> None:
    stage = ProtectionStage(name="df/dt", of="rocof", limit=0.5, seconds=0.0, source="K")
    code = msgspec.structs.replace(G98, protection=(stage,))
    for hertz, now, trips in (
        ((50.0, 50.04), (1.0, 1.0 + 0.09), False),
        ((50.0, 50.06), (1.0 - 0.1, 1.0), True),
        ((50.0, 50.05, 50.05), (1.0, 1.3, 1.32), False),  # the first is as old as it has to be for the third
        ((50.0, 50.0, 50.16), (1.0, 1.3, 1.6), True),  # over 0.3 s, not 0.6
    ):
        protection = GridProtection(code, nominal_v=230, tripped="")
        for hz, at in zip(hertz, now, strict=True):
            assert not protection.tripped
            protection.measured(hz, (230.0,), at)
        assert bool(protection.tripped) is trips


def test_high_voltage_lowers_what_leaves_where_the_code_says_so() -> None:
    unit = Unit(presets()["rule-21"]).connected()
    unit.volts = (277 * 1.08,)
    unit.play(10)
    assert unit.leaves_w == pytest.approx(MOST_W * (0.5 + 0.5 * 0.1), rel=0.004), "90 % of the step after 10 s"
    assert unit.state == State(limited=True)
    unit.volts = (277, 277 * 1.09, 277)
    unit.play(60)
    assert unit.leaves_w == pytest.approx(MOST_W / 4, rel=0.001), "the highest phase counts"
    unit.hertz = 60.236
    unit.play(STEP_S)
    assert unit.leaves_w == pytest.approx(MOST_W / 4, rel=0.001), "the smaller limit counts"
    unit.hertz, unit.flow_w = 60.0, -MOST_W // 4
    unit.play(STEP_S)
    unit.hertz = 61.036
    unit.play(STEP_S)
    assert unit.leaves_w == 0


def test_a_unit_that_is_disconnected_is_not_limited_and_woken_for_nothing_that_only_the_grid_changes() -> None:
    unit = Unit(VDE)
    assert unit.response == GridResponse(floor_w=0), "before anything is measured a load may draw"
    unit.hertz = 50.7
    unit.play(STEP_S)
    assert unit.state == State(out=True)
    assert unit.due is None


def test_a_unit_that_is_limited_or_follows_a_voltage_is_woken_twice_a_second() -> None:
    for code, hertz, share in (
        (VDE, 50.7, 1.0),
        (VDE, 49.5, 1.0),
        (presets()["rule-21"], 60.0, 1.08),
        (presets()["rule-21"], 60.0, 1.105),
    ):
        unit = Unit(code).connected()
        assert unit.due is None
        unit.hertz, unit.volts = hertz, (code.nominal_v * share,)
        unit.play(STEP_S)
        assert unit.state.limited is (share == 1.0), "the voltage acts with a lag"
        assert unit.due == unit.now + 0.5


def test_a_code_without_functions_only_connects_and_disconnects() -> None:
    plain = msgspec.structs.replace(VDE, support=GridSupport(), sources={"volt_var": "K", "watt_cos_phi": "H"})
    unit = Unit(plain).connected()
    for hertz in (51.4, 47.6, 50.0):
        unit.hertz = hertz
        unit.play(1)
        assert unit.response == GridResponse()
        assert unit.state == State()


def test_what_was_disconnected_by_the_mean_of_ten_minutes_waits_until_that_is_good() -> None:
    unit = Unit(VDE, phases=2).connected()
    unit.volts = (230 * 0.99, 230 * 1.13)
    unit.rest(600)
    assert unit.state.stage == "U> 10 min"
    unit.volts = (230 * 0.99, 230 * 1.09)
    unit.rest(120)
    assert unit.response.trip, "the voltage is good, its mean is not"
    unit.rest(500)
    assert not unit.response.trip


@pytest.mark.parametrize(("share", "connects"), [(0.85, True), (0.849, False), (1.10, True), (1.101, False)])
@pytest.mark.parametrize("other", [1.0, 0.9995, 1.0005, 0.88])
def test_the_bounds_of_connection_are_exact_and_each_phase_counts(
    share: float, other: float, *, connects: bool
) -> None:
    unit = Unit(VDE)
    unit.volts = (230 * other, 230 * share)
    unit.rest(62)
    assert unit.state.out is not connects


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize(("rate", "trips"), [(0.99, False), (1.02, True)])
def test_the_rate_of_change_is_that_over_a_tenth_of_a_second(step_s: float, rate: float, *, trips: bool) -> None:
    unit = Unit(G98).connected()
    begun, hertz = unit.now, G98.nominal_hz
    while unit.now - begun < 0.8 + 2 * step_s:
        unit.hertz = hertz + rate * (unit.now + step_s - begun)
        unit.play(step_s, step_s)
    assert unit.response.trip is trips
    unit.hertz = 50.0
    unit.play(0.3)
    assert unit.leaves_w == 0 or not trips


SCENES = st.lists(
    st.tuples(
        st.sampled_from([-3.0, -1.0, -0.3, 0.0, 0.0, 0.0, 0.3, 1.0, 3.0]),
        st.sampled_from([0.0, 0.5, 0.84, 1.0, 1.0, 1.0, 1.07, 1.12, 1.3]),
        st.sampled_from([0.3, 2.0, 8.0, 100.0]),
    ),
    max_size=8,
)


@given(code=st.sampled_from(list(presets().values())), scenes=SCENES)
def test_a_unit_that_is_woken_when_it_is_due_does_what_one_does_that_always_looks(
    code: GridCode, scenes: list[tuple[float, float, float]]
) -> None:
    woken, looking = Unit(code), Unit(code)
    for off_hz, share, seconds in scenes:
        for unit in (woken, looking):
            unit.hertz, unit.volts, unit.flow_w = code.nominal_hz + off_hz, (code.nominal_v * share,), -MOST_W // 2
            unit.play(STEP_S)
        end = woken.now + seconds
        while (due := woken.due) is not None and due < end:
            woken.now = max(due, woken.now + 0.001)
            woken.tick(woken.now)
        for step in range(1, round(seconds / 0.1)):
            looking.tick(looking.now + step * 0.1)
        woken.now = looking.now = end
        woken.tick(end)
        looking.tick(end)
        assert (woken.state.out, woken.state.stage) == (looking.state.out, looking.state.stage)
        assert woken.leaves_w == pytest.approx(looking.leaves_w, abs=0.01 * MOST_W)
        assert woken.enters_w == pytest.approx(looking.enters_w, abs=0.01 * MOST_W)


@given(
    code=st.sampled_from(list(presets().values())),
    steps=st.lists(
        st.tuples(st.floats(-3, 3), st.floats(0, 1.4), st.floats(0.01, 400), st.integers(-MOST_W, MOST_W)), max_size=30
    ),
)
def test_any_grid_only_lowers_and_an_alarm_clock_finds_nothing_that_measurements_do_not(
    code: GridCode, steps: list[tuple[float, float, float, int]]
) -> None:
    unit = Unit(code)
    for off_hz, share, seconds, flow_w in steps:
        unit.hertz, unit.volts, unit.flow_w = code.nominal_hz + off_hz, (code.nominal_v * share,), flow_w
        unit.play(STEP_S)
        end = unit.now + seconds
        while (due := unit.due) is not None and due < end:
            assert due >= unit.now
            unit.now = max(due, unit.now + 0.001)
            unit.tick(unit.now)
        unit.now = end
        floor, ceiling = unit.response.floor_w, unit.response.ceiling_w
        assert floor is None or -MOST_W <= floor <= 0
        assert ceiling is None or 0 <= ceiling <= MOST_W
        assert unit.response.delta_w == 0
        if unit.response.trip:
            assert (floor, ceiling) == (0, 0)


@pytest.mark.requirement("R46")
@pytest.mark.parametrize("period_s", [2.0, 10.0, 60.0])
@pytest.mark.some(1)
def test_fifty_vehicles_at_the_end_of_a_weak_feeder_do_not_hunt_even_if_its_voltage_swings(period_s: float) -> None:
    """Their power follows the swing of the head, and once that ends it settles; nobody swings against another."""
    code = presets()["rule-21"]
    feeder = Feeder(nodes=(FeederNode(name="end", r_ohm=0.05, x_ohm=0.02),))
    units = [Unit(code) for _ in range(50)]
    head_v, seen = [code.nominal_v * 1.02], list[float]()

    def volts() -> float:
        drawn = sum(float(-unit.leaves_w) for unit in units)
        return feeder.voltages({"end": complex(drawn)}, head_v[0])["end"]

    def play(seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            end_v = volts()
            seen.append(end_v)
            for unit in units:
                unit.volts, unit.flow_w = (end_v,), -unit.leaves_w
                unit.play(0.5, 0.5)

    for unit in units:
        unit.play(400, 10.0)
    assert volts() > code.nominal_v * 1.1, "or this feeder is too strong"
    play(40)
    assert max(seen[-20:]) - min(seen[-20:]) < 0.05
    for step in range(round(2 * period_s / 0.5)):
        head_v[0] = code.nominal_v * (1.02 + 0.01 * math.sin(2 * math.pi * step * 0.5 / period_s))
        play(0.5)
    head_v[0] = code.nominal_v * 1.02
    play(40)
    assert max(seen[-20:]) - min(seen[-20:]) < 0.05
    assert code.nominal_v * 1.06 < seen[-1] < code.nominal_v * 1.1
