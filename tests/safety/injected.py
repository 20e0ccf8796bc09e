"""Faults at every input of both monitors: each gets those of a sound session, with one wrong from some moment on.
What the monitor says, and when, is the coverage in docs/reference/injected-faults.md.

The rest of the world stays sound, and obeys: so a fault that no verdict follows has left nothing unsafe by itself, or
is for somebody else to notice. `docs/hazards.toml` says which.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, Final, Literal

import msgspec

from v2g.safety import (
    UNBOUNDED,
    Ask,
    BatteryReading,
    ChargerMonitor,
    ChargerRating,
    Output,
    Phase,
    Request,
    VehicleMonitor,
    VehicleRating,
)

Failure = Literal["missing", "late", "repeated", "frozen", "zero", "maximum", "wrong sign", "swapped"]
FAILURES: Final[tuple[Failure, ...]] = (
    "missing", "late", "repeated", "frozen", "zero", "maximum", "wrong sign", "swapped"
)  # fmt: skip
OF_EVENTS: Final = ("missing", "late", "repeated")

BEGINS: Final = (0.0, 10.0, 22.0)
"""When an input goes wrong: from the start, while charging, while discharging, s."""

LATE_S: Final = 2.0
CHARGE_S, DISCHARGE_S, STOP_S, END_S = 2.0, 20.0, 35.0, 40.0
FOREVER: Final = float("inf")

PAIRS: Final = (("charge_w", "discharge_w"), ("voltage_mv", "current_ma"))
"""Arguments that a swap exchanges."""


class Event(msgspec.Struct, frozen=True):
    """A call of a method. Fields of structures are arguments, too."""

    at: float
    method: str
    arguments: dict[str, Any]


class Outcome(msgspec.Struct, frozen=True):
    """What a monitor said first, and how long after the first wrong input, s; empty: nothing."""

    said: str = ""
    seconds: float = 0.0


def _power(at: float) -> int:
    """Return the power of the sound session, W: it follows every limit."""
    if not CHARGE_S <= at < STOP_S:
        return 0
    watts = 10_000 if at < DISCHARGE_S else -5_000
    return watts // 2 if 12 <= at < 15 or 25 <= at < 28 else watts


def _output(watts: int, **others: int) -> dict[str, int]:
    milliamps = abs(watts) * 10 // 4 + 1_000 if watts else 0
    charge, discharge = (milliamps, 0) if watts > 0 else (0, milliamps)
    output = {"charge_w": max(0, watts), "discharge_w": max(0, -watts), "charge_ma": charge, "discharge_ma": discharge}
    return {**output, "voltage_mv": 450_000 if watts else 0, **others}


def _steps(begin: float, end: float, step: float) -> Iterator[float]:
    for number in range(round((end - begin) / step)):
        yield round(begin + number * step, 6)


BEARS: Final = {
    "charge_w": 20_000, "discharge_w": 10_000, "charge_ma": 60_000, "discharge_ma": 40_000, "voltage_mv": 450_000
}  # fmt: skip
_LIMITED: Final = {"charge_w": 5_000, "discharge_w": 2_500}
_LIMIT: Final = {"charge_w": 11_000, "discharge_w": 6_000}


_AGREED: Final = {
    "limit.charge_w": 11_000, "limit.discharge_w": 6_000, "limit.charge_ma": 20_000, "limit.discharge_ma": 20_000,
    "limit.voltage_mv": 450_000, "lines": 3, "into_w": 5_000, "out_w": 5_000,
}  # fmt: skip
"""What charger and vehicle have agreed on."""


def _lines(power_w: int) -> dict[str, int]:
    """Return the current of each line conductor, mA, at 230 V."""
    return dict.fromkeys(("first_ma", "second_ma", "third_ma"), power_w * 1_000 // 690)


@cache
def charger_session() -> tuple[Event, ...]:
    """Return the inputs of a charger's monitor in a sound session with direct current; its power is given as that of
    alternating current, too."""
    asked = {"ready": True, "notice_s": 0.0, **BEARS}
    reported = [
        Event(0.0, "forget_paused", {}),
        Event(0.0, "begin", {}),
        Event(0.1, "authorise", {"allowed": True, "paused": False}),
        Event(0.1, "discharge", {"rule": "signed"}),
        Event(1.0, "request", {"phase": Phase.VOLTAGE, "closed_s": 5.0, "target_mv": 400_000, **asked}),
        Event(1.2, "close", {}),
        Event(1.3, "feedback", {"closed": True}),
        Event(STOP_S, "stop", {}),
        Event(STOP_S + 0.6, "open", {}),
        Event(STOP_S + 0.7, "feedback", {"closed": False}),
        Event(STOP_S + 1.0, "request", {"phase": Phase.IDLE, **asked}),
        Event(STOP_S + 1.5, "fault", {"word": "isolation_low", "active": True}),
        Event(STOP_S + 2.0, "authorise", {"allowed": False, "paused": False}),
        Event(30.0, "signed_less", {"power_w": 5_500, "until_s": 37.0}),
    ]
    for at in _steps(0.2, END_S, 1.0):
        bounds = _LIMITED if 12 <= at < 14 or 25 <= at < 27 else _LIMIT
        reported.append(Event(at, "limit", {"source": "site", **bounds, "from_s": 0.0, "until_s": at + 5.0}))
    reported += [
        Event(at, "signed", {"power_w": 6_000, "until_s": at + 10.0}) for at in _steps(DISCHARGE_S - 1, STOP_S, 5.0)
    ]
    for at in _steps(CHARGE_S, STOP_S, 0.25):
        loop = {"phase": Phase.POWER, "power_s": 1.0, "closed_s": 5.0, **asked}
        reported += [Event(at, "request", loop), Event(at, "drive", _output(_power(at)))]
    reported.append(Event(STOP_S, "drive", _output(0)))
    for at in _steps(0.0, END_S, 0.1):
        voltage_mv = 400_000 if 1.3 <= at < STOP_S + 0.6 else 0
        reported += [
            Event(at, "measured", {"voltage_mv": voltage_mv, "current_ma": _power(at) * 10 // 4}),
            Event(at, "drawn", {"power_w": _power(at), **_lines(_power(at))}),
            Event(at, "tick", {}),
        ]
    return _in_order(reported)


@cache
def vehicle_session() -> tuple[Event, ...]:
    """Return the inputs of a vehicle's monitor in one, with the currents of alternating current, too."""
    reported = [
        Event(0.0, "begin", {}),
        Event(1.0, "ask", {"phase": Phase.VOLTAGE, "alive_s": 2.0, "charge_w": 11_000, **_AGREED, "stop": False}),
        Event(1.1, "show", {}),
        Event(1.5, "close", {}),
        Event(1.6, "feedback", {"closed": True}),
        Event(STOP_S, "ask", {"phase": Phase.REST, "alive_s": 5.0, "charge_w": 0, **_AGREED, "stop": True}),
        Event(STOP_S, "stop", {}),
        Event(STOP_S + 1.0, "open", {}),
        Event(STOP_S + 1.1, "feedback", {"closed": False}),
        Event(STOP_S + 1.2, "rest", {}),
        Event(STOP_S + 1.5, "fault", {"word": "driver_failed"}),
        Event(STOP_S + 2.0, "end", {}),
        Event(STOP_S + 2.1, "isolate", {"word": "thermal_runaway"}),
    ]
    for at in _steps(CHARGE_S, STOP_S, 0.25):
        watts = _power(at)
        loop = {"phase": Phase.POWER, "alive_s": 0.6, "charge_w": max(0, watts), **_AGREED, "stop": False}
        reported += [Event(at, "ask", loop), Event(at, "drive", _output(watts)), Event(at, "draw", {"power_w": watts})]
    reported += [Event(STOP_S, "drive", _output(0)), Event(STOP_S, "draw", {"power_w": 0})]
    reported += [
        Event(at, "signed", {"power_w": 6_000, "until_s": at + 10.0}) for at in _steps(DISCHARGE_S - 1, STOP_S, 5.0)
    ]
    for at in _steps(0.0, END_S, 0.1):
        milliamps, there = _power(at) * 10 // 4, 1.3 <= at < STOP_S + 1.0
        battery = {"bears.charge_ma": 60_000, "bears.discharge_ma": 40_000, "bears.voltage_mv": 450_000, "fault": ""}
        reported += [
            Event(at, "battery", {"voltage_mv": 400_000, "current_ma": milliamps, **battery}),
            Event(
                at,
                "inlet",
                {"voltage_mv": 400_000 if there else 0, "current_ma": milliamps, "lines": 3}
                | dict.fromkeys(("first_ma", "second_ma", "third_ma"), milliamps // 3),
            ),
            Event(at, "tick", {}),
        ]
    return _in_order(reported)


def _in_order(reported: list[Event]) -> tuple[Event, ...]:
    return tuple(sorted(reported, key=lambda event: event.at))


def _tell_charger(monitor: Any, event: Event) -> None:
    now, given = event.at, dict(event.arguments)
    match event.method:
        case "request":
            bears = Output(**{name: given.pop(name) for name in BEARS})
            monitor.request(Request(bears=bears, **given), now)
        case "drive":
            monitor.drive(Output(**given), now)
        case "forget_paused":
            monitor.forget_paused()
        case "limit" | "fault":
            getattr(monitor, event.method)(given.pop("source" if event.method == "limit" else "word"), now, **given)
        case "authorise" | "feedback":
            getattr(monitor, event.method)(now, **given)
        case "drawn":
            monitor.drawn(given.pop("power_w"), now, tuple(given.values()))
        case _:
            getattr(monitor, event.method)(*given.values(), now)


def _part(given: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the arguments of a structure out of all, and return them."""
    return {name.removeprefix(prefix): given.pop(name) for name in list(given) if name.startswith(prefix)}


def _tell_vehicle(monitor: Any, event: Event) -> None:
    now, given = event.at, dict(event.arguments)
    match event.method:
        case "ask":
            limit, line_w = Output(**_part(given, "limit.")), (given.pop("into_w"), given.pop("out_w"))
            monitor.ask(Ask(limit=limit, line_w=line_w, **given), now)
        case "inlet":
            line_ma = tuple(given.pop(name) for name in ("first_ma", "second_ma", "third_ma"))
            monitor.inlet(given.pop("voltage_mv"), given.pop("current_ma"), now, line_ma=line_ma, **given)
        case "battery":
            bears = _part(given, "bears.")
            monitor.battery(BatteryReading(bears=Output(UNBOUNDED, UNBOUNDED, **bears), **given), now)
        case "drive":
            monitor.drive(Output(**given), now)
        case "feedback":
            monitor.feedback(now, **given)
        case "begin" | "end" | "signed" | "rest":
            getattr(monitor, event.method)(*given.values())
        case _:
            getattr(monitor, event.method)(*given.values(), now)


def _charger() -> ChargerMonitor:
    return ChargerMonitor(ChargerRating(charge_w=20_000, discharge_w=10_000))


def _vehicle() -> VehicleMonitor:
    return VehicleMonitor(VehicleRating(signed=True))


Role = Literal["charger", "vehicle"]
ROLES: Final[Mapping[Role, tuple[Any, Any, Callable[[Any, Event], None]]]] = {
    "charger": (charger_session, _charger, _tell_charger),
    "vehicle": (vehicle_session, _vehicle, _tell_vehicle),
}


def inputs(role: Role) -> list[tuple[str, str]]:
    """Return the inputs of a monitor: methods, and their arguments (empty: the call itself)."""
    found: dict[tuple[str, str], None] = {}
    for event in ROLES[role][0]():
        found[event.method, ""] = None
        found.update({(event.method, name): None for name in event.arguments})
    return sorted(found)


def _changed(value: Any, failure: Failure, arguments: Mapping[str, Any], name: str, before: Any) -> Any:
    """Return an argument as it is wrong; the same where this failure is none of it."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    match failure:
        case "frozen":
            return before
        case "zero":
            return 0 if numeric else False if isinstance(value, bool) else value
        case "maximum" if name.endswith("_s"):
            return FOREVER
        case "maximum":
            return UNBOUNDED if numeric else True if isinstance(value, bool) else value
        case "wrong sign":
            return -value if numeric else not value if isinstance(value, bool) else value
        case "swapped":
            other = next((b if name == a else a for a, b in PAIRS if name in (a, b) and {a, b} <= set(arguments)), name)
            return arguments[other]
    return value


def wrong(
    reported: tuple[Event, ...], method: str, name: str, failure: Failure, begin: float
) -> tuple[list[Event], float]:
    """Return the events with a failure, and when it first changed something; infinity: never."""
    events: list[Event] = []
    first, before = FOREVER, None
    for event in reported:
        if event.method != method or event.at < begin:
            events.append(event)
            before = event.arguments.get(name) if event.method == method else before
            continue
        if failure in OF_EVENTS:
            first = min(first, event.at)
            if failure == "late":
                events.append(msgspec.structs.replace(event, at=event.at + LATE_S))
            elif failure == "repeated":
                events += [event, event]
            continue
        value = event.arguments.get(name)
        if name in event.arguments:
            before = value if before is None else before
            value = _changed(value, failure, event.arguments, name, before)
        if value != event.arguments.get(name):
            first = min(first, event.at)
        events.append(
            Event(event.at, event.method, {**event.arguments, **({name: value} if name in event.arguments else {})})
        )
    return sorted(events, key=lambda event: event.at), first


@cache
def _still_sound(role: Role, until: float) -> Any:
    """Return a monitor after the part of the session that all failures of later inputs share."""
    session, make, tell = ROLES[role]
    monitor = make()
    for event in session():
        if event.at < until:
            tell(monitor, event)
    return monitor


def outcome(role: Role, method: str, name: str, failure: Failure, begin: float) -> Outcome | None:
    """Return what the monitor says; None if this failure does not exist there."""
    if (failure in OF_EVENTS) is bool(name):
        return None
    session, _, tell = ROLES[role]
    events, first = wrong(session(), method, name, failure, begin)
    if first == FOREVER:
        return None
    monitor = deepcopy(_still_sound(role, begin))
    for event in events:
        if event.at < begin:
            continue
        tell(monitor, event)
        for verdict in monitor.verdicts():
            return Outcome(f"{type(verdict).__name__.lower()} {verdict.reason}", max(0.0, event.at - first))
    return Outcome()


def outcomes(role: Role, method: str, name: str, failure: Failure) -> tuple[Outcome, ...]:
    """Return what follows a failure of one input, by when it begins."""
    found = (outcome(role, method, name, failure, begin) for begin in BEGINS)
    return tuple(each for each in found if each is not None)


@cache
def coverage(role: Role) -> dict[tuple[str, str], dict[Failure, tuple[Outcome, ...]]]:
    """Return all outcomes by input and failure."""
    return {
        (method, name): {failure: each for failure in FAILURES if (each := outcomes(role, method, name, failure))}
        for method, name in inputs(role)
    }
