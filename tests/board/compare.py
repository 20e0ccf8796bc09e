"""The monitor in C beside the one in Python: the same random inputs, and the same verdicts after each.

All times are multiples of 1/64 s: both a float of Python and whole microseconds (15,625) are exact then, also their
sums, so that both monitors have to agree to the instant. Run alone: `python -m tests.board.compare LIBRARY STEPS SEED`.
"""

import ctypes
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from ctypes import byref, c_bool, c_int32, c_int64
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.safety import UNBOUNDED, ChargerMonitor, ChargerRating, Open, Output, Phase, Request
from v2g.safety.excess import microseconds
from v2g.safety.flow import Agreement, Errors

QUANTUM_S: Final = 1 / 64
FOREVER: Final = float("inf")
STEPS_OF_ONE: Final = 2_500
"""Steps until both begin anew, with another rating."""

WATTS: Final = (0, 1, 499, 1_000, 3_000, 11_000, 19_999, 20_000, 50_000, 50_001, 350_000, UNBOUNDED)
MILLIAMPS: Final = (0, 1, 5_000, 50_000, 60_000, 500_000, UNBOUNDED)
MILLIVOLTS: Final = (0, 1, 60_000, 380_000, 400_000, 405_000, 450_000, 499_999, 1_000_000, UNBOUNDED)
SOURCES: Final = ("site", "operator", "grid", "schedule", "cable")
FAULTS: Final = ("emergency_stop", "isolation_low", "board_lost", "over_temperature")


class Walk:
    """Random inputs, in an order in which power often flows."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = chance.choice((0.0, 1.0, 100.0, 3e6))
        self.driven = Output()
        self.closed = False
        self.stuck = False
        self.last: tuple[str, tuple[Any, ...], dict[str, Any]] = ("measured", (0, 0), {})
        self.queue: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def rating(self) -> ChargerRating:
        seconds, pick = self.seconds, self.chance.choice
        return ChargerRating(
            charge_w=pick((11_000, 50_000, 350_000)),
            discharge_w=pick((0, 11_000, 30_000)),
            charge_ma=pick((16_000, 32_000, UNBOUNDED)),
            discharge_ma=pick((16_000, UNBOUNDED)),
            follow_s=pick((0.0, 0.75, 2.0, 5.0)),
            excess_s=pick((0.0, 0.5, 1.0, 4.0)),
            open_s=0.5,
            close_s=pick((1.0, 3.5)),
            grace_s=pick((0.0, 0.25)),
            stop_s=pick((0.5, 65.0, seconds())),
            voltage_s=pick((2.0, 150.0)),
        )

    def seconds(self) -> float:
        """Return a duration, mostly short."""
        most = self.chance.choice((4, 4, 32, 64, 640, 10_000))
        return self.chance.randint(0, most) * QUANTUM_S

    def output(self) -> Output:
        pick = self.chance.choice
        return Output(pick(WATTS), pick(WATTS), pick(MILLIAMPS), pick(MILLIAMPS), pick(MILLIVOLTS))

    def next(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Return the next input: method, arguments before `now`, arguments by name."""
        if self.chance.random() < 0.7:
            self.now += self.chance.choice((1, 1, 2, 6, 6, 7, 16, 64)) * QUANTUM_S
        if self.chance.random() < 0.001:
            self.now += self.seconds()
        if not self.queue and self.chance.random() < 0.01:
            self.queue = list(self.session())
        if self.queue:
            return self.queue.pop(0)
        (name,) = self.chance.choices(tuple(self.KINDS), self.WEIGHTS)
        return self.KINDS[name](self)

    def session(self) -> Any:
        """Yield what lets power flow."""
        if self.chance.random() < 0.3:
            yield "begin", (), {}
        self.closed = False
        yield "feedback", (), {"closed": False}
        for each in FAULTS:
            yield "fault", (each,), {"active": False}
        yield "authorise", (), {"allowed": False}
        yield "authorise", (), {"allowed": True}
        yield "discharge", (self.chance.choice(("signed", "standard")),), {}
        yield "signed", (20_000, self.now + 100.0), {}
        for each in SOURCES:
            yield "limit", (each,), {}
        bears = Output(20_000, 11_000, 60_000, 40_000, 450_000)
        pre_charged = self.chance.random() < 0.5
        if pre_charged:
            yield "request", (Request(phase=Phase.VOLTAGE, closed_s=60.0, bears=bears, target_mv=400_000),), {}
            yield self.close()
            yield "feedback", (), {"closed": True}
            yield "measured", (400_000, 0), {}
        wide = Request(phase=Phase.POWER, power_s=60.0, closed_s=FOREVER, bears=bears, ready=True, notice_s=0.0)
        yield "request", (wide,), {}
        yield self.close()
        yield self.feedback()
        watts, milliamps = (0, 10_000), (0, 40_000)
        if self.chance.random() < 0.7:
            watts, milliamps = watts[::-1], milliamps[::-1]
        yield "drive", (Output(*watts, *milliamps, 450_000),), {}
        if self.chance.random() < 0.2:  # a loop whose time may be over just then
            yield "request", (replace(wide, power_s=self.chance.choice((1, 6)) * QUANTUM_S),), {}
            yield "tick", (), {}
        if self.chance.random() < 0.1:  # a bound that goes up and down, and a flow that stays
            high, low = Output(*watts, *milliamps, 450_000), Output(0, 0, 0, 0, 450_000)
            over_ma = self.chance.choice((0, 1_150, 1_151))
            line_ma = (milliamps[0] + over_ma, 0, -milliamps[1])
            on, off = self.chance.choice(((1, 6), (2, 2), (6, 1), (1, 20), (1, 0)))
            for turn in range(self.chance.choice((5, 30))):
                yield "drive", (high if turn % (on + off) < on else low,), {}
                yield "measured", (400_000, milliamps[0] - milliamps[1]), {}
                yield "drawn", (watts[0] - watts[1],), {"line_ma": line_ma}

    def close(self) -> Any:
        self.closed = True
        return "close", (), {}

    def feedback(self) -> Any:
        return "feedback", (), {"closed": self.closed if self.chance.random() < 0.99 else not self.closed}

    def measured(self) -> Any:
        """Return what flows, near its bounds or anything; for a while the same."""
        chance, driven = self.chance, self.driven
        if chance.random() < 0.01:
            self.stuck = not self.stuck
        if self.stuck:
            return self.last
        wild = chance.random() < 0.05
        voltage_mv = chance.choice((*MILLIVOLTS, -1, -2_000_000) if wild else (0, 399_000, 400_000, 401_000))
        power_w = chance.choice((driven.charge_w, -driven.discharge_w))
        power_w = chance.choice(WATTS) * chance.choice((1, -1)) if wild else min(400_000, max(-400_000, power_w))
        if chance.random() < 0.5:
            power_w = power_w * chance.choice((90, 100, 105, 106, 110, 130)) // 100
            power_w += chance.choice((0, 0, -151, -150, 150, 151, 350, 501))
            self.last = "drawn", (power_w,), {"line_ma": self.lines()} if chance.random() < 0.5 else {}
        else:
            most = chance.choice((driven.charge_ma, -driven.discharge_ma))
            by_power = power_w * 1_000_000 // max(1, voltage_mv)
            current_ma = min(most, by_power, key=abs) * chance.choice((90, 100, 105, 106, 110, 130)) // 100
            current_ma += chance.choice((0, 0, -1_001, -1_000, 1_000, 1_001, 2_001, 3_500, 3_501))
            self.last = "measured", (voltage_mv, max(-(10**9), min(10**9, current_ma))), {}
        return self.last

    def lines(self) -> tuple[int, ...]:
        """Return what flows in each conductor, near its bounds or anything."""
        chance, driven = self.chance, self.driven

        def one() -> int:
            most = chance.choice((driven.charge_ma, -driven.discharge_ma, 0))
            near = most * chance.choice((0, 0, 50, 90, 100, 100, 105, 106, 110)) // 100
            return near + chance.choice((0, 0, 0, 0, -651, -650, 650, 651, 1_150, 1_151))

        return one(), one(), one()

    def request(self) -> Any:
        chance, some = self.chance, self.chance.random
        request = Request(
            phase=chance.choice((None, Phase.POWER, Phase.POWER, Phase.POWER, Phase.VOLTAGE, Phase.REST, Phase.IDLE)),
            power_s=chance.choice((0.0, 0.5, 1.0, 60.0, FOREVER, self.seconds())),
            closed_s=chance.choice((0.0, 60.0, 60.0, FOREVER, self.seconds())),
            bears=self.output() if some() < 0.3 else None,
            ready=chance.choice((None, None, True, True, False)),
            target_mv=chance.choice((None, None, None, *MILLIVOLTS[:7])),
            notice_s=chance.choice((None, None, 0.0, 5.0)),
        )
        return "request", (request,), {}

    def limit(self) -> Any:
        chance = self.chance
        bounds: dict[str, Any] = {}
        if chance.random() < 0.7:
            bounds["charge_w"] = chance.choice(WATTS)
        if chance.random() < 0.7:
            bounds["discharge_w"] = chance.choice(WATTS)
        for each in ("charge_ma", "discharge_ma"):
            if chance.random() < 0.4:
                bounds[each] = chance.choice((*MILLIAMPS, 6_000, 16_000))
        if chance.random() < 0.3:
            bounds["from_s"] = self.now + chance.choice((0.0, self.seconds() - 1.0))
        if chance.random() < 0.5:
            bounds["until_s"] = self.now + self.seconds()
        return "limit", (chance.choice(SOURCES),), bounds

    def switch(self) -> Any:
        if self.chance.random() < 0.7:
            return self.close()
        self.closed = False
        return "open", (), {}

    KINDS: Final[dict[str, Callable[["Walk"], Any]]] = {
        "tick": lambda walk: ("tick", (), {}),
        "measured": measured,
        "drive": lambda walk: ("drive", (walk.output() if walk.chance.random() < 0.5 else walk.driven,), {}),
        "request": request,
        "limit": limit,
        "switch": switch,
        "feedback": feedback,
        "fault": lambda walk: (
            "fault", (walk.chance.choice(FAULTS),), {"active": walk.chance.random() < 0.3}
        ),
        "authorise": lambda walk: (
            "authorise", (), {"allowed": walk.chance.random() < 0.7, "paused": walk.chance.random() < 0.3}
        ),
        "begin": lambda walk: ("begin", (), {}),
        "stop": lambda walk: ("stop", (), {}),
        "forget_paused": lambda walk: ("forget_paused", (), {}),
        "discharge": lambda walk: ("discharge", (walk.chance.choice(("none", "signed", "signed", "standard")),), {}),
        "signed": lambda walk: ("signed", (walk.chance.choice(WATTS), walk.now + walk.seconds()), {}),
        "signed_less": lambda walk: ("signed_less", (walk.chance.choice(WATTS), walk.now + walk.seconds()), {}),
    }  # fmt: skip
    WEIGHTS: Final = (30, 25, 8, 10, 5, 4, 6, 1.5, 1, 0.5, 0.3, 0.2, 1, 2, 5)


def differences(library: Path, steps: int, seed: int) -> tuple[str, Counter[str]]:
    """Return the first difference, empty if there is none, and how often each verdict was seen."""
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    for begin in range(0, steps, STEPS_OF_ONE):
        walk = Walk(chance)
        rating = walk.rating()
        ours, theirs = ChargerMonitor(rating), CompiledMonitor(library, rating)
        past: list[str] = []
        for step in range(begin, min(steps, begin + STEPS_OF_ONE)):
            name, arguments, named = walk.next()
            both = [_after(each, name, arguments, named, walk.now) for each in (ours, theirs)]
            past.append(f"{walk.now}: {name} {arguments} {named} -> {both[0]}")
            if both[0] != both[1]:
                return "\n".join((f"step {step} of seed {seed}, {rating}", *past[-12:], f"in C: {both[1]}")), seen
            said, verdicts, _ = both[0]
            if name == "drive":
                walk.driven = said
            for verdict in verdicts:
                seen[f"{type(verdict).__name__} {verdict.reason}"] += 1
                walk.driven = getattr(verdict, "output", Output(0, 0))
                if isinstance(verdict, Open):
                    walk.closed = False
                    walk.queue = list(walk.session()) if chance.random() < 0.2 else []
    return "", seen


class CompiledAgreement:
    """`Agreement` in C."""

    def __init__(self, library: Path, errors: Errors, most_w: int) -> None:
        self._library = ctypes.CDLL(str(library.resolve()))
        self._library.v2g_agreement_differ.restype = c_bool
        self._memory = ctypes.create_string_buffer(self._library.v2g_agreement_size())
        least_w = max(200, int(most_w * errors.offset_permille / 1000))
        parts = (c_int32(round(each * 10_000)) for each in (errors.stage_percent, errors.meter_percent))
        self._library.v2g_agreement_init(
            self._memory, byref(_Errors(*parts, c_int32(least_w), c_int64(microseconds(errors.late_s))))
        )

    def differ(self, first_w: int, second_w: int | None, read_at: float, now: float) -> bool:
        """See Agreement."""
        second = c_bool(second_w is not None), c_int32(second_w or 0)
        times = (c_int64(microseconds(each)) for each in (read_at, now))
        return bool(self._library.v2g_agreement_differ(self._memory, c_int32(first_w), *second, *times))


class _Errors(ctypes.Structure):
    _fields_ = [*((each, c_int32) for each in ("first_ppm", "second_ppm", "least_w")), ("late_us", c_int64)]


def disagreements(library: Path, steps: int, seed: int) -> tuple[str, int]:
    """Return the first difference of both agreements, empty if there is none, and how often they found one."""
    chance, found = random.Random(seed), 0
    for begin in range(0, steps, STEPS_OF_ONE):
        pick = chance.choice
        errors = Errors(
            stage_percent=pick((0.0, 0.5, 3.0, 50.0)),
            meter_percent=pick((0.0, 1.0, 2.5)),
            offset_permille=pick((0.0, 5.0)),
            late_s=pick((0.0, 0.5, 1.0, 1.25, 7.0, 60.0)),
        )
        most_w, now, first_w, second_w = pick((11_000, 150_000)), pick((0.0, 100.0, 3e6)), 0, 0
        both = Agreement(errors, most_w), CompiledAgreement(library, errors, most_w)
        step_s, wrong_w, read_at = QUANTUM_S, 0, now
        for step in range(begin, min(steps, begin + STEPS_OF_ONE)):
            if chance.random() < 0.02:
                step_s = pick((0, 1, 1, 2, 3, 6, 7, 32, 700)) * QUANTUM_S
            if chance.random() < 0.05:
                first_w = pick((0, most_w, -most_w, 10**9, -(10**9), chance.randint(-most_w, most_w)))
            if chance.random() < 0.01:
                margin = max(200, most_w * 5 // 1000) + abs(first_w) * pick((0, 3, 4)) // 100
                wrong_w = pick((0, 0, margin - 1, margin, margin + 1, 2 * margin, most_w)) * pick((1, -1))
            if chance.random() < 0.9:
                second_w, read_at = first_w + wrong_w, now
            now += step_s
            read = None if chance.random() < 0.002 else second_w
            said = [each.differ(first_w, read, read_at, now) for each in both]
            found += said[0]
            if said[0] != said[1]:
                return f"step {step} of seed {seed}, {errors} {most_w}: {first_w} {read} {read_at} {now}: {said}", found
    return "", found


def _after(monitor: Any, name: str, arguments: tuple[Any, ...], named: dict[str, Any], now: float) -> Any:
    """Return what a monitor says to an input."""
    match name:
        case "forget_paused":
            said = monitor.forget_paused()
        case "limit":
            said = monitor.limit(*arguments, now, **named)
        case _:
            said = getattr(monitor, name)(*arguments, now, **named)
    return said, monitor.verdicts(), monitor.live


def following(library: Path, follow_times: Iterable[int]) -> str:
    """Let a command fall again and again, for each time to follow it (us): as many values as there may be are kept.
    Return the first difference."""
    for follow_us in follow_times:
        rating = ChargerRating(charge_w=50_000, discharge_w=0, follow_s=follow_us / 1_000_000, excess_s=0.0)
        both = ChargerMonitor(rating), CompiledMonitor(library, rating)
        bears, step_us, now_us = Output(UNBOUNDED), max(1, follow_us // 128), 10_000_000
        for each in both:
            each.authorise(10.0, allowed=True)
            each.request(Request(phase=Phase.POWER, power_s=600.0, closed_s=600.0, bears=bears), 10.0)
        for step in range(200):
            now_us += step_us
            now, watts = now_us / 1_000_000, 45_000 - 100 * step
            for each in both:
                each.drive(Output(watts), now)
            flows = 0 if step < 150 else watts + 400 * (step - 150)  # up to more than may still be followed
            said = [_after(each, "drawn", (flows,), {}, now)[1] for each in both]
            if said[0] != said[1]:
                return f"follow time {follow_us} us, step {step}: {said}"
            if said[0]:
                break
    return ""


if __name__ == "__main__":
    given = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    times = (*range(1_100), *range(1_100, 70_000, 977), 750_000, 5_000_000, 10**15)
    sys.exit(differences(*given)[0] or disagreements(*given)[0] or following(given[0], times) or 0)
