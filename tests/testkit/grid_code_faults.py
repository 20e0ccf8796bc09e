"""Chargers that are wrong on purpose, each with the case that must notice it: their grid code is another one than the
one that they should keep, or their program is changed."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest
from msgspec.structs import replace

from v2g.energy.frequency_limit import FrequencyLimit
from v2g.energy.grid_code import GridCode
from v2g.energy.grid_guard import GridGuard
from v2g.energy.limits import GridResponse
from v2g.energy.ride_through import CurveWatch, ReturnToService

VDE, CEI, G98, CALIFORNIA = "vde-ar-n-4105-2018", "cei-0-21", "g98", "rule-21"


class Fault(NamedTuple):
    """A fault in the grid code that a charger has, or in its program."""

    name: str
    preset: str
    case: str
    change: Callable[[GridCode], GridCode] = lambda code: code
    patch: Callable[[pytest.MonkeyPatch], None] = lambda _: None


def stage(name: str, **changes: Any) -> Callable[[GridCode], GridCode]:
    """Change a stage of protection; without changes it is missing."""

    def change(code: GridCode) -> GridCode:
        assert name in {each.name for each in code.protection}
        others = tuple(each for each in code.protection if each.name != name)
        (one,) = set(code.protection) - set(others)
        return replace(code, protection=others + ((replace(one, **changes),) if changes else ()))

    return change


def rule(which: str, **changes: Any) -> Callable[[GridCode], GridCode]:
    """Change the rule of connection or reconnection."""
    return lambda code: replace(code, **{which: replace(getattr(code, which), **changes)})


def function(name: str, **changes: Any) -> Callable[[GridCode], GridCode]:
    """Change a function; without changes it is missing."""

    def change(code: GridCode) -> GridCode:
        part = "support" if getattr(code.support, name) is not None else "reactive"
        support = getattr(code, part)
        new = replace(getattr(support, name), **changes) if changes else None
        sources = {key: value for key, value in code.sources.items() if changes or key != name}
        return replace(code, **{part: replace(support, **{name: new})}, sources=sources)

    return change


def curve(name: str, points: Callable[[float, float], tuple[float, float]]) -> Callable[[GridCode], GridCode]:
    """Change the points of a curve of reactive power."""

    def change(code: GridCode) -> GridCode:
        before = getattr(code.reactive, name).points
        return function(name, points=tuple(points(x, y) for x, y in before))(code)

    return change


def wrong_sign(patch: pytest.MonkeyPatch) -> None:
    init = FrequencyLimit.__init__
    patch.setattr(FrequencyLimit, "__init__", lambda self, support, *, over: init(self, support, over=not over))


def remembers(patch: pytest.MonkeyPatch) -> None:
    """A good grid counts as good for ever."""
    allows, good = ReturnToService.allows, set[bool]()

    def wrong(self: ReturnToService, hertz: float | None, volts: float) -> bool:
        good.update({True} if allows(self, hertz, volts) else ())
        return bool(good)

    patch.setattr(ReturnToService, "allows", wrong)


def hunts(patch: pytest.MonkeyPatch) -> None:
    """Power swings between two limits, long after the frequency does."""
    right = GridGuard.response

    def wrong(self: GridGuard, now: float) -> GridResponse:
        found = right(self, now)
        swings = found.floor_w is None and int(now) % 4 < 2
        return replace(found, floor_w=-8000) if swings else found

    patch.setattr(GridGuard, "response", wrong)


def draws_on(patch: pytest.MonkeyPatch) -> None:
    """A trip ends feed-back only."""
    right = GridGuard.response
    patch.setattr(
        GridGuard,
        "response",
        lambda self, now: replace(found, trip=False, ceiling_w=None) if (found := right(self, now)).trip else found,
    )


def adds_up(patch: pytest.MonkeyPatch) -> None:
    """Times beyond a limit add up: a stage forgets nothing."""
    feed = CurveWatch.feed

    def wrong(self: CurveWatch, value: float, now: float) -> None:
        if not self.beyond:
            feed(self, value, now)

    patch.setattr(CurveWatch, "feed", wrong)


FAULTS: Final = (
    Fault("f> trips late", VDE, "TRIP-6", stage("f>", seconds=0.8)),
    Fault("U< trips early", VDE, "TRIP-2", stage("U<", seconds=1.0)),
    Fault("U>> is missing", VDE, "TRIP-4", stage("U>>")),
    Fault("f< trips too far away", VDE, "TRIP-5", stage("f<", limit=47.3)),
    Fault("U< trips too near", VDE, "TRIP-2", stage("U<", limit=0.83)),
    Fault("the mean of ten minutes is missing", VDE, "TRIP-3", stage("U> 10 min")),
    Fault("the mean of ten minutes is too high", VDE, "TRIP-3", stage("U> 10 min", limit=1.115)),
    Fault("U< ends a ride through", VDE, "RIDE-UNDER", stage("U<", seconds=2.0)),
    Fault("no wait at the start", VDE, "CONNECT-1", rule("connection", wait_s=5.0)),
    Fault("no ramp at the start", VDE, "CONNECT-1", rule("connection", ramp=0.0)),
    Fault("connects above its bounds", VDE, "CONNECT-1", rule("connection", high_hz=50.3)),
    Fault("no wait after a trip", VDE, "CONNECT-2", rule("reconnection", wait_s=10.0)),
    Fault("returns too steeply", VDE, "CONNECT-2", rule("reconnection", ramp=30.0)),
    Fault("waits too long", VDE, "CONNECT-1", rule("connection", wait_s=75.0)),
    Fault("waits after a short interruption", VDE, "CONNECT-3", lambda code: replace(code, short_interruption=None)),
    Fault("LFSM-O is missing", VDE, "LFSM-O-100", function("over_frequency_watt")),
    Fault("LFSM-O with a droop of 6 %", VDE, "LFSM-O-100", function("over_frequency_watt", slope=33.3)),
    Fault("LFSM-O begins late", VDE, "LFSM-O-100", function("over_frequency_watt", start_hz=50.4)),
    Fault("LFSM-O returns at once", VDE, "LFSM-O-100", function("over_frequency_watt", ramp=None)),
    Fault("LFSM-O of the rating", VDE, "LFSM-O-50", function("over_frequency_watt", reference="maximum")),
    Fault("LFSM-O acts late", VDE, "LFSM-O-100", function("over_frequency_watt", delay_s=3)),
    Fault("LFSM-U is missing", VDE, "LFSM-U-100", function("under_frequency_watt")),
    Fault("no hysteresis", CEI, "LFSM-O-100", function("over_frequency_watt", hysteresis=False, deactivation_s=0)),
    Fault("returns after a minute", CEI, "LFSM-O-100", function("over_frequency_watt", deactivation_s=60)),
    Fault("Q(V) with the other sign", VDE, "QV-1", curve("volt_var", lambda x, y: (x, -y))),
    Fault("Q(V) is too slow", VDE, "QV-1", function("volt_var", response_s=15.0)),
    Fault("no lock-in", CEI, "QV-2", function("volt_var", lock_in=None, lock_out=None)),
    Fault("cos phi is over-excited", VDE, "COS-100", curve("watt_cos_phi", lambda x, y: (x, abs(y)))),
    Fault("P(V) is missing", CALIFORNIA, "PV-1", function("volt_watt")),
    Fault("P(V) begins late", CALIFORNIA, "PV-1", function("volt_watt", start_v=1.08)),
    Fault("RoCoF is missing", G98, "TRIP-7", stage("df/dt")),
    Fault("RoCoF trips too early", G98, "TRIP-7", stage("df/dt", limit=0.7)),
    Fault("the droop has the other sign", VDE, "LFSM-O-100", patch=wrong_sign),
    Fault("a bad moment restarts no wait", VDE, "CONNECT-1", patch=remembers),
    Fault("power hunts", VDE, "SWING-O", patch=hunts),
    Fault("a trip lets a vehicle draw", VDE, "TRIP-6", patch=draws_on),
    Fault("times beyond a limit add up", VDE, "TRIP-2", patch=adds_up),
)
