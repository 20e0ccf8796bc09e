"""Lists of steps that are played to a charger or a vehicle: steps are JSON, so that a list that fails can be printed,
made smaller, and run again. What those who play them share: making a list smaller, the command that plays it once
more, random walks, and how long something has been wrong.
"""

import asyncio
import json
import random
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest

WINDOWS_S: Final = (2.0, 5.0, 10.0, 20.0, 60.0)
PART: Final = 8
"""What flows too long again and again makes no more than this part of a window, the page says."""
EXCESS_S: Final = 1.0 + 0.1 + 0.35
"""How long what flows too much is within its margin at the most, a look of the monitor, and the contactor."""

Step = Sequence[Any]
Plays = Callable[[Sequence[Step]], list[str]]
"""Plays steps, and returns what was wrong."""

Chances = Mapping[str, tuple[int, Callable[[random.Random], Sequence[Step]]]]
"""What a walk may do next: how often, and which steps that are."""


class Since:
    """How long something has been wrong."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def over(self, what: str, wrong: bool, most_s: float, now: float) -> bool:
        """Say whether it has been wrong for longer than it may."""
        if not wrong:
            self._began.pop(what, None)
            return False
        return now - self._began.setdefault(what, now) > most_s + 1e-6


class InTurns:
    """How much of the last while something has been wrong: each moment by itself, whatever was right in between."""

    def __init__(self, while_s: float = 20.0) -> None:
        self._while_s = while_s
        self._spells: dict[str, list[tuple[float, float]]] = {}
        self._last: dict[str, tuple[float, bool]] = {}

    def over(self, what: str, wrong: bool, most_s: float, now: float) -> bool:
        """Say whether it has been wrong for longer than it may, all in all; so is what is between two wrong looks."""
        spells = self._spells.setdefault(what, [])
        before, was_wrong = self._last.get(what, (now, False))
        self._last[what] = now, wrong
        if wrong and was_wrong:
            spells.append((before, now))
        while spells and spells[0][1] < now - self._while_s:
            spells.pop(0)
        return sum(end - begin for begin, end in spells) > most_s + 1e-6


class Lately:
    """The most that was allowed in the last while: what follows it may lag so far behind."""

    def __init__(self) -> None:
        self._told: dict[str, list[tuple[float, float]]] = {}

    def most(self, what: str, allowed: float, lag_s: float, now: float) -> float:
        """Take what is allowed now; return the most of all moments that are no older."""
        reported = self._told.setdefault(what, [])
        if not reported or reported[-1][1] != allowed:
            reported.append((now, allowed))
        while len(reported) > 1 and reported[1][0] <= now - lag_s:  # the first one was in force until then
            reported.pop(0)
        return max(each for _, each in reported)


class Windows:
    """What flows beyond what is allowed, in windows of several lengths that end now. What is promised of them
    (docs/explanation/safety.md): in any window of T s no more than the highest value that was allowed, for the time to
    follow it, for an excess, and for T / 8, besides the margin. What is missing counts against it."""

    def __init__(self, follow_s: float) -> None:
        self._follow_s = follow_s
        self._allowed: list[tuple[float, float]] = []
        self.begin()

    def begin(self) -> None:
        """Another session, of which nothing has flowed."""
        self._sums: list[tuple[float, float]] = []
        self._rate = self._most = 0.0
        self._astray_at = float("-inf")

    def over(self, flow: float, allowed: float, margin: float, now: float) -> str:
        """Take what flows and what is allowed; return what is wrong."""
        known, sums, longest_s = self._allowed, self._sums, WINDOWS_S[-1]
        if not known or known[-1][1] != allowed:
            known.append((now, allowed))
        while len(known) > 1 and known[1][0] <= now - 2 * longest_s:  # the first one was in force until then
            known.pop(0)
        beyond = max(0.0, flow - allowed - margin)
        if beyond:
            self._astray_at = now
        elif now - self._astray_at > longest_s:
            self.begin()
            return ""
        sums.append((now, sums[-1][1] + self._rate * (now - sums[-1][0]) if sums else 0.0))
        while sums[1:] and sums[1][0] <= now - longest_s:
            sums.pop(0)
        self._rate, self._most = beyond or min(0.0, max(0.0, flow) - allowed), max(self._most, flow)
        for length_s in WINDOWS_S:
            at = max(1, bisect_right(sums, (now - length_s, float("inf")))) - 1
            area, peak = sums[-1][1] - sums[at][1], 0.0
            if area <= self._most * EXCESS_S:
                continue
            for since, value in reversed(known):
                peak = max(peak, value)
                if since <= now - length_s - self._follow_s:
                    break
            most = peak * (self._follow_s + length_s / PART) + self._most * EXCESS_S
            if area > most:
                return f"{area:.0f} too much in {length_s:g} s, {most:.0f} promised"
        return ""


def goes_on(looking: "asyncio.Task[None]") -> None:
    """Raise what has ended a judge's look, which would else see nothing more."""
    if looking.done():
        looking.result()


def smaller(fails: Callable[[Sequence[Step]], bool], steps: Sequence[Step], *, tries: int = 300) -> list[Step]:
    """Return as few of the steps as still fail, leaving out ever smaller parts."""
    found, size = list(steps), max(1, len(steps) // 2)
    while size and tries > 0:
        at, shrunk = 0, False
        while at < len(found) and tries > 0:
            rest = found[:at] + found[at + size :]
            tries -= 1
            if rest and fails(rest):
                found, shrunk = rest, True
            else:
                at += size
        size = size if shrunk and size == 1 else size // 2
    return found


def script(module: str, words: Sequence[str], steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return f"python -m {module} {' '.join(words)} '{json.dumps([list(each) for each in steps])}'"


def judged(plays: Plays, steps: Sequence[Step], command: Callable[[Sequence[Step]], str]) -> None:
    """Play steps; where something is wrong, fail with the command of the fewest that do the same."""
    wrong = plays(steps)
    if wrong:
        pytest.fail("\n".join([*wrong, command(smaller(lambda rest: bool(plays(rest)), steps))]))


def walk(chance: random.Random, count: int, chances: Chances, *, first: Sequence[Step] = ()) -> list[Step]:
    """Return `count` random steps."""
    steps, names = list(first), tuple(chances)
    weights = [weight for weight, _ in chances.values()]
    while len(steps) < count:
        steps += chances[chance.choices(names, weights)[0]][1](chance)
    return steps[:count]


def reported(wrong: Sequence[str]) -> int:
    """Print what was wrong, and return the exit code for it."""
    sys.stdout.write("\n".join(wrong or ["nothing was wrong"]) + "\n")
    return 1 if wrong else 0
