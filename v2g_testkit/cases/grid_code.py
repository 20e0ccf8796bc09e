"""Test signals for a grid code, and the judge of what a charger did with them, in the shape of EN 50549-10 and IEEE
1547.1: steps, staircases, ramps, sweeps and oscillations of frequency and voltage (R209). Pure.

Each case begins with a charger that has just started at a good grid. A vehicle is plugged in at `plug_s`, and wants
all of its power in one direction. Power and time are judged in windows: the measured value lies within a band, which
is relative to the rating, or to the power before the signal.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, TypedDict, Unpack

import msgspec

from v2g.energy.curves import value_at
from v2g.energy.grid_code import ConnectionRule, GridCode, ProtectionStage, Reactive
from v2g.energy.grid_support import FrequencySupport, SupportCurve
from v2g.errors import CodecError
from v2g.text import printable
from v2g_testkit.cases.case import Described, Result, Verdict

Flow = Literal["out", "in"]
Energy = Literal["DC", "AC"]


# How far a charger may be beside its code. EN 50549-1 and IEEE 1547 were not available: these are chosen, in the size
# of what is publicly cited of both (voltage 1 % of the nominal one, frequency 10 to 50 mHz, time 2 cycles or 2 %), with
# time for measuring and for messages to the vehicle.

VOLTS: Final = 0.01
"""Of a voltage, per unit: a stage may act so near to its limit, and must act so far beyond it."""
HERTZ: Final = 0.05
"""The same of a frequency."""
EARLY_S: Final = 0.05
"""How early a stage may trip; or 2 %, whatever is more."""
LATE_S: Final = 0.3
"""How late, with two measurements, and the opening of contactors; or 2 %."""
MEAN_S: Final = 6.0
"""Of a trip by the mean of ten minutes, which is updated every 3 s."""
POWER: Final = 0.03
"""Part of the rating."""
REACTIVE: Final = 0.05
"""The same of reactive power."""
SETTLED_S: Final = 2.0
"""Until power follows a frequency."""
WAIT_S: Final = 2.0
"""Of the wait before a connection; or 2 %."""
CEASED: Final = 0.02
"""Part of the rating at which power counts as none."""
UNIT: Final = "of the rating"
_FOR_GOOD_S: Final = 0.25
"""Power that ceases or begins for a shorter time does not count."""
BIT_S: Final = 0.001
"""What a step takes."""
_SHARE: Final = 0.15
"""Part of the rating that is enough to see a trip: a charger comes to it early in its ramp."""
_SETTLE_S: Final = 8.0
"""Until a vehicle that is plugged in has all the power that it may have."""
_HOLD_S: Final = 4.0
_GAP_S: Final = 0.5
"""The longest time that may pass between two measurements."""
_APART_S: Final = 0.25
"""How far the clocks of a recording and of the signal may be apart, with the time that a measurement takes."""
_MOST_S: Final = 1_000_000.0
"""Later than any signal ends."""
_LAGS: Final = 3.0
"""After so many time constants 95 % of a step is there."""


class Sample(NamedTuple):
    """What was measured at a time: s since the start of the signal, Hz and V of the signal, W into the vehicle, var
    that are injected."""

    s: float
    hz: float
    volts: float
    watts: float
    var: float


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A value stays between two lines over a time; they are given at its beginning and end, as parts of the rating, or
    of the power before the signal. Power is positive in the direction that is tested."""

    name: str
    begin_s: float
    end_s: float
    low: tuple[float, float]
    high: tuple[float, float]
    of: Literal["rating", "before"] = "rating"
    offset: float = 0.0
    """Part of the rating that is added to the lines."""
    reactive: bool = False
    monotone: bool = False
    """The value must not fall, either, by more than a third of the tolerance of power."""

    def at(self, ends: tuple[float, float], before: float, s: float) -> float | None:
        """Return a line (`low` or `high`) at a time, as a part of the rating; None where it does not hold."""
        if not self.begin_s <= s <= self.end_s:
            return None
        share = (s - self.begin_s) / ((self.end_s - self.begin_s) or 1.0)
        return (ends[0] + (ends[1] - ends[0]) * share) * (before if self.of == "before" else 1.0) + self.offset


class PowerChange(msgspec.Struct, frozen=True, kw_only=True):
    """Power ceases, or begins, so many s after a time."""

    name: str
    at_s: float
    begins: bool
    least_s: float
    most_s: float


Check = Window | PowerChange


class Point(NamedTuple):
    """What was judged: a measured value, the band in which it would be right, and the unit; `at_s` is when it was
    worst."""

    name: str
    at_s: float
    measured: float
    low: float
    high: float
    unit: str

    @property
    def right(self) -> bool:
        """Whether it is in its band."""
        return self.low <= self.measured <= self.high

    def __str__(self) -> str:
        """Say both."""
        return f"{self.name}: {self.measured:.4g} {self.unit} (right: {self.low:.4g} to {self.high:.4g})"


class GridCodeCase(Described, frozen=True, kw_only=True):
    """A case of a grid code."""

    points: tuple[tuple[float, float, float], ...]
    """The signal: s, Hz, V between phase and neutral."""
    plug_s: float
    flow: Flow
    share: float = 1.0
    """Part of the rating that the vehicle wants."""
    reactive: Reactive | None = None
    """The curve that the network operator demands."""
    before: tuple[float, float]
    """When the power before the signal is measured; empty: none flows."""
    checks: tuple[Check, ...]
    quick: bool = False

    @property
    def ends_s(self) -> float:
        """When the signal ends."""
        return self.points[-1][0]

    def signal_at(self, s: float) -> tuple[float, float]:
        """Return Hz and V at a time."""
        return value_at(tuple((t, hz) for t, hz, _ in self.points), s), value_at(
            tuple((t, v) for t, _, v in self.points), s
        )

    @property
    def csv(self) -> str:
        """The signal as lines of seconds, hertz and volts."""
        verb = "charges" if self.flow == "in" else "feeds back"
        demand = "" if self.reactive is None else f"; demand {self.reactive}"
        about = f"at {self.plug_s:.0f} s plug in a vehicle that {verb} {self.share:.0%} of the rating{demand}"
        return f"# {self.id}: {about}\n# s,hz,v\n" + "".join(f"{s:.3f},{hz:.4f},{v:.3f}\n" for s, hz, v in self.points)


# -- signals


class _Rest(TypedDict, total=False):
    """The rest of a Window."""

    of: Literal["rating", "before"]
    offset: float
    reactive: bool
    monotone: bool


class _Course:
    """A signal that is written from its beginning, and what is demanded meanwhile."""

    def __init__(self, code: GridCode) -> None:
        self.code, self.now = code, 0.0
        self.hz, self.volts = code.nominal_hz, 1.0
        self.points: list[tuple[float, float, float]] = []
        self.checks: list[Check] = []
        self.before = (0.0, 0.0)
        self._mark()

    def _mark(self) -> None:
        self.points.append((round(self.now, 4), self.hz, self.volts * self.code.nominal_v))

    def hold(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self._mark()

    def step(self, hz: float | None = None, volts: float | None = None) -> float:
        """Change the grid at once, to nominal values where none are given; return when."""
        self.now += BIT_S
        self.hz = self.code.nominal_hz if hz is None else hz
        self.volts = 1.0 if volts is None else volts
        self._mark()
        return self.now

    def sweep(self, seconds: float, hz: float | None = None, volts: float | None = None) -> None:
        """Change it evenly."""
        self.hz = self.code.nominal_hz if hz is None else hz
        self.volts = 1.0 if volts is None else volts
        self.hold(seconds)

    def swing(self, period_s: float, times: int, *, hz: float = 0.0, volts: float = 0.0) -> None:
        """Let it oscillate around where it is, with these amplitudes."""
        about = self.hz, self.volts
        for step in range(1, times * 20 + 1):
            wave = math.sin(2 * math.pi * step / 20)
            self.hz, self.volts = about[0] + hz * wave, about[1] + volts * wave
            self.hold(period_s / 20)
        self.hz, self.volts = about

    def reference(self) -> None:
        """What flows in the last two seconds is the power before the signal."""
        self.before = self.now - 2.0, self.now

    def window(
        self, name: str, begin_s: float, low: float, high: float, rises: float = 0.0, **more: Unpack[_Rest]
    ) -> None:
        """From `begin_s` until now a value is between these, which rise so much per second."""
        rise = rises * (self.now - begin_s)
        ends = (low, low + rise), (high, high + rise)
        self.checks.append(Window(name=name, begin_s=begin_s, end_s=self.now, low=ends[0], high=ends[1], **more))

    def band(
        self, name: str, begin_s: float, value: float, off: float, rises: float = 0.0, **more: Unpack[_Rest]
    ) -> None:
        """The same, give or take `off`."""
        self.window(name, begin_s, value - off, value + off, rises, **more)

    def flows(self, name: str, begin_s: float) -> None:
        """From `begin_s` until now at least half of the power before flows."""
        self.window(name, begin_s, 0.5, 9.0, of="before")

    def settled(self, curve: SupportCurve, volts: float, for_s: float, *, locked: bool = False) -> None:
        """For so many s until now reactive power is that of a curve, or none."""
        value = 0.0 if locked else value_at(curve.points, volts)
        self.band(f"reactive power at {volts:g} Un", self.now - for_s, value, REACTIVE, reactive=True)

    def nothing(self, name: str, begin_s: float) -> None:
        """From `begin_s` until now nothing flows."""
        self.band(name, begin_s, 0.0, CEASED)

    def plugged(self, share: float) -> float:
        """Let the charger connect and come to a part of its rating, then plug a vehicle in; return when."""
        rule = self.code.connection
        self.hold(rule.wait_s + 1.0 + (share * 6000 / rule.ramp if rule.ramp else 0.0))
        plug_s = self.now
        self.hold(_SETTLE_S)
        self.reference()
        return plug_s

    def case(
        self, name: str, title: str, required: str, *, plug_s: float, flow: Flow, share: float = 1.0,
        reactive: Reactive | None = None, quick: bool = False,
    ) -> GridCodeCase:  # fmt: skip
        """Return the case."""
        return GridCodeCase(
            id=name,
            title=title,
            required=required,
            points=tuple(self.points),
            plug_s=plug_s,
            flow=flow,
            share=share,
            reactive=reactive,
            before=self.before,
            checks=tuple(self.checks),
            quick=quick,
        )


def cases_of(code: GridCode, energy: Energy) -> tuple[GridCodeCase, ...]:
    """Return the cases of a code; with alternating current reactive power is the vehicle's own."""
    found = [_connection(code), _reconnection(code)]
    found += [_short(code)] if code.short_interruption is not None else []
    found += [_trip(code, number, stage) for number, stage in enumerate(code.protection)]
    found += [each for side in ("under", "over") if (each := _ride(code, side)) is not None]
    found += [_sweep(code, "under"), _sweep(code, "over")]
    for over, droop in ((True, code.support.over_frequency_watt), (False, code.support.under_frequency_watt)):
        if droop is not None:
            found += [_droop(code, droop, over=over, share=share) for share in (1.0, 0.5)]
            found.append(_frequency_swings(code, droop, over=over))
    found += [_volt_watt(code)] if code.support.volt_watt is not None else []
    if energy == "DC":
        found += list(_reactive(code))
    found.append(_voltage_swings(code, energy))
    return tuple(found)


def _sides(code: GridCode, of: str, side: str) -> list[ProtectionStage]:
    return [each for each in code.protection if (each.of, each.side) == (of, side)]


def _beyond(stage: ProtectionStage, by: float) -> float:
    """Return the limit, moved outwards."""
    return stage.limit + (by if stage.side == "over" else -by)


def _at(stage: ProtectionStage, value: float) -> dict[str, float]:
    return {"hz": value} if stage.of == "frequency" else {"volts": value}


def _outside(code: GridCode, rule: ConnectionRule) -> dict[str, float] | None:
    """Return a grid that permits no connection, and disconnects nobody; None if there is none."""
    above, below = rule.high_hz + HERTZ, rule.low_hz - HERTZ
    if all(above < each.limit for each in _sides(code, "frequency", "over")):
        return {"hz": above}
    return {"hz": below} if all(below > each.limit for each in _sides(code, "frequency", "under")) else None


def _returns(course: _Course, rule: ConnectionRule, wait_s: float, good_s: float, *, plug: bool = False) -> float:
    """The grid has been good since `good_s`: nothing flows until the wait is over, then by the ramp; return when a
    vehicle is to be plugged in, if it is one that waits."""
    per_s = rule.ramp / 6000
    late_s = max(WAIT_S, 0.02 * wait_s)
    plug_s = max(0.0, good_s + wait_s - 20.0)
    course.hold(good_s + wait_s - late_s - course.now)
    course.nothing("power before the wait is over", max(good_s, plug_s) if plug else good_s)
    begins_s = wait_s + (CEASED / per_s if per_s else 0.0)
    course.checks.append(
        PowerChange(name="wait", at_s=good_s, begins=True, least_s=wait_s - late_s, most_s=begins_s + late_s + 3.0)
    )
    ramp_s = 40.0 if per_s else _SETTLE_S
    start_s = good_s + wait_s
    course.hold(start_s + ramp_s - course.now)
    if per_s:
        course.band("ramp", start_s + 5.0, 5.0 * per_s, POWER, rises=per_s)
    else:
        course.window("power", course.now - 2.0, 0.9, 1.1)
    return plug_s


def _connection(code: GridCode) -> GridCodeCase:
    course, rule = _Course(code), code.connection
    bad = _outside(code, rule)
    if bad is not None:
        course.step(**bad)
        course.hold(rule.wait_s + 15.0)
    good_s = course.step()
    course.hold(rule.wait_s / 2)
    if bad is not None:
        course.step(**bad)
        course.hold(0.4)
        good_s = course.step()
    plug_s = _returns(course, rule, rule.wait_s, good_s, plug=True)
    required = f"power after {rule.wait_s:g} s of a good grid" + (f", by {rule.ramp:g} %/min" if rule.ramp else "")
    title = "start outside the bounds; then a good grid, that is bad once more for 0.4 s"
    return course.case("CONNECT-1", title, required, plug_s=plug_s, flow="out", quick=True)


def _disconnected(course: _Course, flow_s: float) -> ProtectionStage:
    """Let the fastest stage of under-frequency disconnect."""
    stage = min(_sides(course.code, "frequency", "under"), key=lambda each: each.seconds)
    step_s = course.step(hz=stage.limit - 0.2)
    course.hold(stage.seconds + flow_s)
    _ceases(course, stage, step_s)
    return stage


def _ceases(course: _Course, stage: ProtectionStage, step_s: float, more_s: float = 0.0) -> None:
    early_s, late_s = max(EARLY_S, 0.02 * stage.seconds), max(LATE_S, 0.02 * stage.seconds)
    course.checks.append(
        PowerChange(
            name=f"{stage.name} trips",
            at_s=step_s,
            begins=False,
            least_s=max(0.0, stage.seconds - early_s),
            most_s=stage.seconds + late_s + more_s,
        )
    )


def _reconnection(code: GridCode) -> GridCodeCase:
    course, rule, short = _Course(code), code.reconnection, code.short_interruption
    plug_s = course.plugged(_SHARE)
    stage = _disconnected(course, 1.0 if short is None else short.lasting_s + 1.0)
    bad = _outside(code, rule)
    ceased_s = course.now
    if bad is not None:
        course.step(**bad)
        course.hold(rule.wait_s + 15.0)
    good_s = course.step()
    course.hold(rule.wait_s / 2)
    if bad is not None:
        course.step(**bad)
        course.hold(0.4)
        course.nothing("power while disconnected", ceased_s)
        good_s = course.step()
    _returns(course, rule, rule.wait_s, good_s)
    required = f"power after {rule.wait_s:g} s of a good grid" + (f", by {rule.ramp:g} %/min" if rule.ramp else "")
    title = f"{stage.name} trips; then just outside the bounds; then good, and bad once more for 0.4 s"
    return course.case("CONNECT-2", title, required, plug_s=plug_s, flow="out")


def _short(code: GridCode) -> GridCodeCase:
    short = code.short_interruption
    assert short is not None
    course = _Course(code)
    plug_s = course.plugged(_SHARE)
    stage = _disconnected(course, min(0.6, short.lasting_s / 2))
    good_s = course.step()
    _returns(course, code.reconnection, short.wait_s, good_s)
    title = f"{stage.name} trips, for less than {short.lasting_s:g} s"
    return course.case("CONNECT-3", title, f"power after {short.wait_s:g} s", plug_s=plug_s, flow="out", quick=True)


def _trip(code: GridCode, number: int, stage: ProtectionStage) -> GridCodeCase:
    name = f"TRIP-{number + 1}"
    if stage.of == "mean_voltage":
        return _mean_trip(code, name, stage)
    course = _Course(code)
    flow: Flow = "in" if stage.side == "over" else "out"  # what no droop, and no P(U), lowers
    plug_s = course.plugged(_SHARE)
    if stage.of == "rocof":
        return _rate_trip(course, name, stage, plug_s)
    off = HERTZ if stage.of == "frequency" else VOLTS
    others = [each.seconds for each in _sides(code, stage.of, stage.side) if each.seconds > stage.seconds]
    inside_s = course.step(**_at(stage, _beyond(stage, -off)))
    course.hold(min(stage.seconds * (1.02 if stage.seconds > 60 else 2) + 1.0, 0.8 * min(others, default=math.inf)))
    course.step()
    course.hold(1.0)
    course.flows("just inside the limit", inside_s)
    if stage.seconds >= 0.5:
        short_s = course.step(**_at(stage, _beyond(stage, off)))
        course.hold(min(0.8 * stage.seconds, stage.seconds - 0.25) if stage.seconds < 60 else 30.0)
        course.step()
        course.hold(1.5)
        course.flows("beyond the limit for a shorter time", short_s)
    step_s = course.step(**_at(stage, _beyond(stage, off)))
    course.hold(stage.seconds + max(LATE_S, 0.02 * stage.seconds) + 2.0)
    _ceases(course, stage, step_s)
    course.nothing("after the trip", course.now - 1.0)
    unit = " Hz" if stage.of == "frequency" else " Un"
    required = f"{stage.name}: no power after {stage.seconds:g} s {stage.side} {stage.limit:g}{unit}"
    title = f"{stage.of} just inside {stage.limit:g}{unit}, beyond it for a shorter time, and beyond it"
    quick = stage.seconds < 60
    return course.case(name, title, required, plug_s=plug_s, flow=flow, quick=quick)


def _rate_trip(course: _Course, name: str, stage: ProtectionStage, plug_s: float) -> GridCodeCase:
    hz = course.code.nominal_hz
    inside_s = course.now
    course.sweep(1.0, hz=hz + 0.9 * stage.limit)
    course.sweep(10.0)
    course.flows("just below the rate", inside_s)
    step_s, rate = course.now, 1.2 * stage.limit
    course.sweep(stage.seconds + 0.8, hz=hz + rate * (stage.seconds + 0.8))
    course.hold(1.0)
    _ceases(course, stage, step_s, more_s=0.2)  # the rate is that over a tenth of a second
    course.nothing("after the trip", course.now - 0.5)
    required = f"{stage.name}: no power after {stage.seconds:g} s above {stage.limit:g} Hz/s"
    title = f"the frequency rises by {0.9 * stage.limit:g} Hz/s, then by {rate:g}"
    return course.case(name, title, required, plug_s=plug_s, flow="in", quick=True)


def _mean_trip(code: GridCode, name: str, stage: ProtectionStage) -> GridCodeCase:
    course = _Course(code)
    off, beyond = VOLTS, 2 * VOLTS
    course.hold(code.connection.wait_s + 1.0)
    course.step(volts=stage.limit - off)
    course.hold(620.0)
    plug_s = course.now
    course.hold(_SETTLE_S)
    course.reference()
    step_s = course.step(volts=stage.limit + beyond)
    due_s = 600 * off / (off + beyond)  # until then the mean rises evenly
    course.hold(due_s + stage.seconds + MEAN_S + 3.0)
    course.checks.append(
        PowerChange(
            name=f"{stage.name} trips",
            at_s=step_s,
            begins=False,
            least_s=due_s - MEAN_S,
            most_s=due_s + stage.seconds + MEAN_S,
        )
    )
    required = f"{stage.name}: no power once the mean of ten minutes is above {stage.limit:g} Un"
    title = f"{stage.limit - off:g} Un for ten minutes, then {stage.limit + beyond:g} Un"
    return course.case(name, title, required, plug_s=plug_s, flow="in")


def _ride(code: GridCode, side: Literal["under", "over"]) -> GridCodeCase | None:
    """A staircase along the stages of voltage, each almost as long as it permits; None if all act at once."""
    course, past_s = _Course(code), 0.0
    plug_s = course.plugged(_SHARE)
    begin_s = course.now
    stages = sorted(_sides(code, "voltage", side), key=lambda each: each.seconds)
    levels = [each for each in stages if each.seconds >= 0.3]
    if not levels:
        return None
    for stage in levels:
        until_s = min(stage.seconds - 0.15, 0.9 * stage.seconds)
        course.step(volts=_beyond(stage, VOLTS))
        course.hold(until_s - past_s)
        past_s = until_s
    course.step()
    course.hold(1.0)
    back_s = course.now
    course.hold(3.0)
    course.flows("connected", begin_s)
    course.window("power 1 s later", back_s, 0.9, 9.0, of="before")
    flow: Flow = "in" if side == "over" else "out"
    title = f"a voltage {side} each limit for almost as long as it may last"
    return course.case(
        f"RIDE-{side.upper()}", title, "it stays connected, with its power within 1 s after",
        plug_s=plug_s, flow=flow, quick=True,
    )  # fmt: skip


def _bound(code: GridCode, of: str, side: str, lasting_s: float) -> float:
    """Return how far a value may go for so long: just inside the nearest stage that would act until then."""
    off = 2 * (HERTZ if of == "frequency" else VOLTS)
    limits = [_beyond(each, -off) for each in _sides(code, of, side) if each.seconds <= lasting_s]
    nearest = min if side == "over" else max
    default = code.nominal_hz + (2 if side == "over" else -2) if of == "frequency" else 1.1 if side == "over" else 0.9
    return nearest(limits, default=default)


def _sweep(code: GridCode, side: Literal["under", "over"]) -> GridCodeCase:
    course = _Course(code)
    plug_s = course.plugged(_SHARE)
    begin_s = course.now
    hz, volts = _bound(code, "frequency", side, 25.0), _bound(code, "voltage", side, 25.0)
    for each in ({"hz": hz}, {"volts": volts}):
        course.sweep(20.0, **each)
        course.sweep(20.0)
    course.flows("connected", begin_s)
    title = f"frequency to {hz:g} Hz and back, then voltage to {volts:g} Un and back, 20 s each way"
    flow: Flow = "in" if side == "over" else "out"
    return course.case(f"SWEEP-{side.upper()}", title, "it stays connected", plug_s=plug_s, flow=flow)


def _left(code: GridCode, droop: FrequencySupport, hz: float) -> tuple[float, float]:
    """Return the part of the power before that a frequency leaves, and the part of the rating that it takes."""
    excess = min(abs(hz - droop.start_hz), abs(droop.stop_hz - droop.start_hz)) * droop.slope / 100
    return (1 - excess, 0.0) if droop.reference == "momentary" else (1.0, -excess)


def _droop(code: GridCode, droop: FrequencySupport, *, over: bool, share: float) -> GridCodeCase:
    """A staircase of the frequency, down again, and the return."""
    course, sign = _Course(code), 1 if over else -1
    plug_s = course.plugged(1.0 if over else 0.0)
    end_hz = _bound(code, "frequency", "over" if over else "under", 60.0)
    levels = [hz for excess in (0.1, 0.5, 1.0) if ((hz := droop.start_hz + sign * excess) - end_hz) * sign <= 0]
    stairs = [*levels, *reversed(levels[:-1])]
    worst = 0.0
    for number, hz in enumerate(stairs):
        step_s = course.step(hz=hz)
        course.hold(_HOLD_S)
        held = droop.hysteresis and number >= len(levels)
        left, taken = _left(code, droop, levels[-1] if held else hz)
        worst = min(worst, left - 1 + taken)
        at_s = step_s + SETTLED_S + droop.delay_s
        name = f"power at {hz:g} Hz" + (", held" if held else "")
        course.band(name, at_s, max(0.0, left), POWER, of="before", offset=taken)
    left, taken = _left(code, droop, levels[-1] if droop.hysteresis else stairs[-1])
    back_s = course.step()
    if droop.hysteresis and droop.deactivation_s:
        course.hold(droop.deactivation_s - WAIT_S)
        course.band("power until it may return", back_s + 2.0, max(0.0, left), POWER, of="before", offset=taken)
        course.hold(WAIT_S)
    rising_s = course.now
    course.hold(60.0 if droop.ramp else _HOLD_S)
    if droop.ramp:
        per_s = droop.ramp / 6000
        most_s = max(0.0, (1 - left) / per_s)
        end_s, course.now = course.now, min(course.now, rising_s + max(4.0, most_s))
        course.band("return", rising_s + 2.0, min(1.0, left + 2 * per_s), POWER, of="before", rises=per_s)
        course.now = end_s
    else:
        course.band("return", rising_s + SETTLED_S, 1.0, POWER, of="before")
    name = f"LFSM-{'O' if over else 'U'}-{share * 100:.0f}"
    title = f"frequency in steps to {levels[-1]:g} Hz and back, from {share * 100:.0f} % of the rating"
    ramp = f", and returns by {droop.ramp:g} %/min" if droop.ramp else ""
    verb = "is fed back" if over else "is drawn"
    required = f"what {verb} falls by {droop.slope:g} %/Hz from {droop.start_hz:g} Hz on{ramp}"
    return course.case(
        name, title, required, plug_s=plug_s, flow="out" if over else "in", share=share, quick=share == 1.0
    )


def _frequency_swings(code: GridCode, droop: FrequencySupport, *, over: bool) -> GridCodeCase:
    course, sign = _Course(code), 1 if over else -1
    plug_s = course.plugged(1.0 if over else 0.0)
    begin_s = course.step(hz=droop.start_hz)
    course.swing(4.0, 10, hz=0.3)
    low = sum(_left(code, droop, droop.start_hz + sign * 0.3)) - POWER  # the power before is the rating
    course.window("power while it swings", begin_s, low, 1 + POWER, of="before")
    end_s = course.step()
    course.hold(15.0)
    course.window("power after it", end_s + 3.0, low, 1 + POWER, of="before", monotone=True)
    title = f"the frequency swings by 0.3 Hz about {droop.start_hz:g} Hz, ten times in 40 s"
    return course.case(
        f"SWING-{'O' if over else 'U'}", title, "power stays between what both ends leave, and settles after it",
        plug_s=plug_s, flow="out" if over else "in",
    )  # fmt: skip


def _voltage_swings(code: GridCode, energy: Energy) -> GridCodeCase:
    course = _Course(code)
    plug_s = course.plugged(_SHARE)
    begin_s = course.now
    course.swing(4.0, 10, volts=0.03)
    course.hold(20.0)
    course.flows("connected", begin_s)
    curve = code.reactive.volt_var if energy == "DC" else None
    if curve is not None:
        most = max(abs(value_at(curve.points, each)) for each in (0.97, 1.0, 1.03)) + REACTIVE
        course.window("reactive power while it swings", begin_s, -most, most, reactive=True)
        if curve.lock_in is None:
            course.settled(curve, 1.0, 3.0)
    return course.case(
        "SWING-V", "the voltage swings by 3 %, ten times in 40 s", "it stays connected, and reactive power settles",
        plug_s=plug_s, flow="out", reactive="volt_var" if curve is not None else None,
    )  # fmt: skip


def _volt_watt(code: GridCode) -> GridCodeCase:
    curve, course = code.support.volt_watt, _Course(code)
    assert curve is not None
    plug_s = course.plugged(1.0)
    most = _bound(code, "voltage", "over", math.inf) + VOLTS
    stairs = [curve.start_v + n * (curve.stop_v - curve.start_v) / 4 for n in (-1, 1, 2, 3, 1)]
    for volts in (each for each in stairs if each < most):
        course.step(volts=volts)
        course.hold(_LAGS * curve.response_s + SETTLED_S + curve.delay_s + 3.0)
        course.band(f"power at {volts:.4g} Un", course.now - 2.0, curve.share_at(volts), POWER + 0.02)
    course.step()
    course.hold(_LAGS * curve.response_s + SETTLED_S + 3.0)
    course.band("power back", course.now - 2.0, 1.0, POWER + 0.02)
    required = f"all of the rating up to {curve.start_v:g} Un, none from {curve.stop_v:g} Un on"
    return course.case(
        "PV-1", "the voltage in steps along P(V)", required, plug_s=plug_s, flow="out", quick=True
    )  # fmt: skip


def _reactive(code: GridCode) -> Iterator[GridCodeCase]:
    """Yield the cases of each curve of reactive power."""
    if (curve := code.reactive.volt_var) is not None:
        yield _volt_var(code, curve, "QV-1", 1.0)
        if curve.lock_in is not None:
            yield _volt_var(code, curve, "QV-2", curve.lock_in / 2)
    by_power: tuple[tuple[Reactive, SupportCurve | None], ...] = (
        ("watt_var", code.reactive.watt_var),
        ("watt_cos_phi", code.reactive.watt_cos_phi),
    )
    for kind, found in by_power:
        if found is not None:
            yield from (_by_power(code, kind, found, share) for share in (0.4, 0.75, 1.0))


def _volt_var(code: GridCode, curve: SupportCurve, name: str, share: float) -> GridCodeCase:
    course = _Course(code)
    plug_s = course.plugged(1.0)
    least, most = _bound(code, "voltage", "under", 60.0), _bound(code, "voltage", "over", 60.0)
    corners = [x for x, _ in curve.points]
    between = [(a + b) / 2 for a, b in itertools.pairwise(corners)]
    locked = curve.lock_in is not None and share < curve.lock_in
    stairs = sorted({round(each, 4) for each in (*corners, *between)}, reverse=True)
    begin_s = course.now
    for volts in (each for each in stairs if least <= each <= most):
        course.step(volts=volts)
        course.hold(_LAGS * curve.response_s + curve.delay_s + 3.0)
        course.settled(curve, volts, 1.5, locked=locked)
    course.flows("power flows", begin_s)
    title = f"the voltage in steps along Q(V), at {share * 100:.0f} % of the rating"
    required = "no reactive power" if locked else "reactive power by the curve, 95 % of it after three time constants"
    return course.case(
        name, title, required, plug_s=plug_s, flow="out", share=share, reactive="volt_var", quick=not locked
    )


def _by_power(code: GridCode, kind: Reactive, curve: SupportCurve, share: float) -> GridCodeCase:
    course = _Course(code)
    plug_s = course.plugged(1.0)
    volts = 1.0 if curve.lock_in is None else curve.lock_in + VOLTS
    begin_s = course.step(volts=volts)
    course.hold(_LAGS * curve.response_s + curve.delay_s + 3.0)
    course.flows("power flows", begin_s)
    if kind == "watt_var":
        value = value_at(curve.points, share)
    else:  # from 1 on, what is linear is the distance from it
        least = abs(curve.points[-1][1])
        factor = 1 - value_at(((curve.points[0][0], 0.0), (curve.points[-1][0], 1 - least)), share)
        value = math.copysign(share * math.sqrt(1 - factor**2) / factor, curve.points[-1][1])
    course.band(f"reactive power at {share * 100:.0f} %", course.now - 1.5, value, REACTIVE, reactive=True)
    name = f"{'QP' if kind == 'watt_var' else 'COS'}-{share * 100:.0f}"
    title = f"{share * 100:.0f} % of the rating at {volts:g} Un"
    required = "reactive power by the curve, 95 % of it after three time constants"
    return course.case(name, title, required, plug_s=plug_s, flow="out", share=share, reactive=kind, quick=share == 1.0)


# -- the judge


def judged(case: GridCodeCase, samples: Sequence[Sample], rating_w: float) -> tuple[Point, ...]:
    """Return what was measured at each point that the case judges, as parts of the rating and s."""
    power, before = _power(case, samples, rating_w)
    return tuple(
        _moment(check, power) if isinstance(check, PowerChange) else _window(check, power, samples, before, rating_w)
        for check in case.checks
    )


Line = Callable[[float], float | None]
"""A bound over time; None where it does not hold."""


def bands_of(case: GridCodeCase, samples: Sequence[Sample], rating_w: float) -> Iterator[tuple[bool, Line, Line]]:
    """Yield the bands of a case, for pictures: whether of reactive power, and the lower and upper bound."""
    _, before = _power(case, samples, rating_w)
    for check in case.checks:
        if isinstance(check, Window):
            yield check.reactive, partial(check.at, check.low, before), partial(check.at, check.high, before)


def _power(
    case: GridCodeCase, samples: Sequence[Sample], rating_w: float
) -> tuple[Sequence[tuple[float, float]], float]:
    """Return the power in the case's direction over time, and its mean before the signal, as parts of the rating."""
    sign = 1 if case.flow == "in" else -1
    power = [(each.s, each.watts * sign / rating_w) for each in samples]
    found = [value for s, value in power if case.before[0] <= s <= case.before[1]]
    return power, sum(found) / len(found) if found else 0.0


def _moment(check: PowerChange, power: Sequence[tuple[float, float]]) -> Point:
    """Return when power ceased or began, for good."""
    measured, since = math.inf, None
    for s, value in power:
        if s < check.at_s:
            continue
        if (abs(value) > CEASED) is not check.begins:
            since = None
        elif since is None:
            since = s
        elif s - since >= _FOR_GOOD_S:
            measured = since - check.at_s
            break
    return Point(check.name, check.at_s, round(measured, 3), check.least_s, check.most_s, "s")


def _window(
    check: Window, power: Sequence[tuple[float, float]], samples: Sequence[Sample], before: float, rating_w: float
) -> Point:
    """Return the value that was farthest out of its band, or nearest to its end."""
    values = [(each.s, each.var / rating_w) for each in samples] if check.reactive else power
    within = [(s, value) for s, value in values if check.begin_s <= s <= check.end_s]
    if not within:
        return Point(check.name, check.begin_s, math.nan, 0.0, 0.0, "of the rating, not measured")
    points = [
        Point(check.name, s, value, check.at(check.low, before, s) or 0.0, check.at(check.high, before, s) or 0.0, UNIT)
        for s, value in within
    ]
    worst = max(points, key=lambda each: max(each.low - each.measured, each.measured - each.high))
    falls = [a for a, b in itertools.pairwise(within) if check.monotone and b[1] < a[1] - POWER / 3]
    if worst.right and falls:
        return Point(f"{check.name}, falls again", falls[0][0], len(falls), 0, 0, "times")
    return worst


def _unfit(case: GridCodeCase, samples: Sequence[Sample]) -> str | None:
    """Return why measurements prove nothing: they have gaps, or the grid was not that of the signal."""
    seen = [case.plug_s, *(each.s for each in samples if case.plug_s < each.s < case.ends_s), case.ends_s]
    for a, b in itertools.pairwise(seen):
        if b - a > _GAP_S:
            return f"nothing was measured from {a:.2f} s to {b:.2f} s"
    nominal_v = case.points[0][2]
    times = [s for s, _, _ in case.points]
    for each in samples:
        if not 0.0 <= each.s <= case.ends_s:
            continue
        first, last = each.s - _APART_S, each.s + _APART_S
        ends = case.signal_at(first), case.signal_at(last)
        between = [(hz, v) for _, hz, v in case.points[bisect.bisect(times, first) : bisect.bisect(times, last)]]
        hertz, volts = zip(*ends, *between, strict=True)
        if not min(volts) - VOLTS / 2 * nominal_v <= each.volts <= max(volts) + VOLTS / 2 * nominal_v:
            return f"the grid had {each.volts:.1f} V at {each.s:.2f} s (signal: {min(volts):.1f} to {max(volts):.1f})"
        dips = min(volts) < nominal_v / 2  # where a frequency can hardly be measured
        if not dips and not min(hertz) - HERTZ / 2 <= each.hz <= max(hertz) + HERTZ / 2:
            return f"the grid had {each.hz:.3f} Hz at {each.s:.2f} s (signal: {min(hertz):.3f} to {max(hertz):.3f})"
    return None


def verdict(case: GridCodeCase, samples: Sequence[Sample], rating_w: float, seconds: float) -> Result:
    """Return the result of a case."""
    if (unfit := _unfit(case, samples)) is not None:
        return Result(case=case.id, verdict=Verdict.INCONCLUSIVE, found=unfit, seconds=seconds)
    points = judged(case, samples, rating_w)
    wrong = [each for each in points if not each.right]
    if case.before[1] and _power(case, samples, rating_w)[1] < CEASED:
        return Result(
            case=case.id, verdict=Verdict.FAIL, found="no power flowed before the signal began", seconds=seconds
        )
    if wrong:
        found = "; ".join(map(str, wrong[:3]))
        return Result(case=case.id, verdict=Verdict.FAIL, found=found, seconds=seconds)
    times = [f"{each.name}: {each.measured:.2f} s" for each in points if each.unit == "s"]
    found = ", ".join([*times, f"{len(points)} points within their bands"])
    return Result(case=case.id, verdict=Verdict.PASS, found=found, seconds=seconds)


def samples_csv(samples: Sequence[Sample]) -> str:
    """Return measurements as lines."""
    return "# s,hz,v,w,var\n" + "".join(
        f"{each.s:.3f},{each.hz:.4f},{each.volts:.3f},{each.watts:.1f},{each.var:.1f}\n" for each in samples
    )


def parse_samples(text: str) -> tuple[Sample, ...]:
    """Return measurements of lines `s,hz,v,w,var`; lines that begin with # are comments. Raises CodecError."""
    found: list[Sample] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            sample = Sample(*map(float, line.split(",")))
        except (TypeError, ValueError):
            raise CodecError(f"line {number} is not s,hz,v,w,var: {printable(line)[:80]}") from None
        if not all(map(math.isfinite, sample)) or (found and sample.s <= found[-1].s):
            raise CodecError(f"line {number}: times must rise, and values be finite")
        if abs(sample.s) > _MOST_S:
            raise CodecError(f"line {number}: times are s since the start of the signal")
        found.append(sample)
    if not found:
        raise CodecError("a recording must have measurements", hint="lines of s,hz,v,w,var")
    return tuple(found)
