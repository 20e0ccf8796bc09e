"""Labelled fleets for scores: what vehicles report, and what is true of them.

`trips` and `traffic` are two generators, which share nothing but this module, and no code with the estimators: the
first tunes these, the second holds their figures. Labels of events are those of an observer, who misses some, imagines
some, and is a second early or late; all others are the simulation's truth. Kinds of events: `strong`, at least 3 m/s2
for a second; `phantom`, a braking that no vehicle ahead explains; `idle`, at rest for over three minutes below 5 degC
with the heater on.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

MISSED: Final = 0.02
IMAGINED: Final = 0.02
JITTER_MS: Final = 1000
"""How wrong labels of events are."""

BEGIN_MS: Final = 1_700_006_400_000


class Reading(NamedTuple):
    """A sample as the gateway sends it: UTC, context, and values in the units of the signal registry."""

    at_ms: int
    context: str
    values: Mapping[str, float]


class Event(NamedTuple):
    """Something that a driver or vehicle did, from when to when (ms)."""

    kind: str
    begin_ms: int
    end_ms: int


class Driven(NamedTuple):
    """Drives of a vehicle with labelled events, and the energy of its brakes (MJ/100 km)."""

    readings: list[Reading]
    events: list[Event]
    brakes: float


class History(NamedTuple):
    """Weeks of a vehicle, when it failed (ms; None: not), and how fast its battery aged, of 25 degC and half full."""

    readings: list[Reading]
    failed_ms: int | None
    ageing: float


class Fleets(NamedTuple):
    """A generator: `drives` takes a seed and hours; `history` a seed, days, and by which share its world is shifted
    after half of them. `mass_kg`: of its make, with two persons."""

    name: str
    mass_kg: float
    drives: Callable[[int, float], Driven]
    history: Callable[[int, int, float], History]


def observed(events: list[Event], random: Random) -> list[Event]:
    """Return what an observer notes of events."""
    noted = []
    for kind, begin_ms, end_ms in events:
        if random.random() >= MISSED:
            late_ms = random.randint(-JITTER_MS, JITTER_MS)
            noted.append(Event(kind, begin_ms + late_ms, end_ms + late_ms))
        if random.random() < IMAGINED:
            off_ms = random.randint(60_000, 600_000)
            noted.append(Event(kind, begin_ms + off_ms, end_ms + off_ms))
    return noted
