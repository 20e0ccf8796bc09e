"""Load balancing of a site: the current of each load, over a tree of fuses, cables and transformers (K02 to K04).

Currents are integer mA on each phase. A node's limits apply to the sum of everything below it. A load draws the same
on each of its phases; it either draws at least its `least` or nothing. Each load may draw less than it may at any
moment, so what loads draw from one phase and not from another is held within a node's `unbalance` whatever others do.

Order: running vehicles keep their least current before others get theirs, by priority, urgency and time
of arrival; the rest raises vehicles to what they need to be ready at departure, then to their maximum. In each
step higher priorities go first, and equal ones share max-min fair: no load gains at the cost of one
that has less or as much.
"""

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from heapq import heappop, heappush
from typing import Annotated

import msgspec
from msgspec import Meta

MilliAmpere = Annotated[int, Meta(ge=0, le=10_000_000)]
PHASES = (0, 1, 2)
LEAST_MA = 6_000
"""The least current at which vehicles charge (IEC 61851-1)."""

Place = tuple[str, int, int | None]
"""A phase of a node, or its unbalance above another one."""


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fuse or cable."""

    id: Annotated[str, Meta(min_length=1, max_length=60, description="Its name in the site.")]
    parent: Annotated[str | None, Meta(description="The node that feeds it; none for the grid connection.")] = None
    limits: Annotated[
        tuple[MilliAmpere, MilliAmpere, MilliAmpere],
        Meta(description="What it carries on L1, L2 and L3, for everything at or below it, mA."),
    ]
    feed_back: Annotated[
        tuple[MilliAmpere, MilliAmpere, MilliAmpere] | None,
        Meta(description="How much may flow back through it, mA; none: as `limits`."),
    ] = None
    unbalance: Annotated[
        MilliAmpere | None,
        Meta(
            description="How much more may be drawn from one phase than from another, for everything at or below it, "
            "mA (VDE-AR-N 4100: 4.6 kVA, which are 20000 at 230 V); none: any."
        ),
    ] = None


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle that charges or will. `phases` are the site's (0 to 2) that it draws from.

    `most`: the maximum of vehicle, cable and EVSE. `needed`: the average needed to be ready at departure.
    `fixed`: draws that much regardless, because its station cannot be reached.
    """

    id: str
    node: str
    phases: tuple[int, ...] = PHASES
    least: int = LEAST_MA
    most: int
    needed: int = 0
    priority: int = 0
    since_ms: int = 0
    running: bool = False
    fixed: int | None = None


class Limits:
    """Remaining current on every phase of every node, and the path of each load."""

    def __init__(self, nodes: Sequence[Node], loads: Sequence[Load]) -> None:
        self.left: dict[Place, int] = {(node.id, phase, None): node.limits[phase] for node in nodes for phase in PHASES}
        self.left |= {
            (node.id, phase, other): node.unbalance
            for node in nodes
            if node.unbalance is not None
            for phase, other in itertools.permutations(PHASES, 2)
        }
        self._parents = {node.id: node.parent for node in nodes}
        self._ways: dict[tuple[str, tuple[int, ...]], list[Place]] = {}
        self.through = {load.id: self.way(load.node, load.phases) for load in loads}

    def way(self, node: str, phases: tuple[int, ...]) -> list[Place]:
        """Return the places on the way of a load, the same for all at its node and phases."""
        if (found := self._ways.get((node, phases))) is None:
            every = itertools.product(_up(self._parents, node), phases, (None, *PHASES))
            found = [place for place in every if place[2] not in phases and place in self.left]
            self._ways[node, phases] = found
        return found

    def room(self, way: Sequence[Place]) -> int:
        """Return by how much a load on this way can be raised."""
        return max(0, min(self.left[place] for place in way))

    def draw(self, way: Sequence[Place], amount: int) -> None:
        """Subtract the current of a load on this way."""
        for place in way:
            self.left[place] -= amount


def share(nodes: Sequence[Node], loads: Sequence[Load]) -> dict[str, int]:
    """Return the current of each load (mA on each of its phases), within every node's limits together.

    Where `fixed` loads alone exceed a limit the others below it get nothing.
    Raises ValueError for an invalid tree, and for a load without phases or node.
    """
    check_tree(nodes)
    known = {node.id for node in nodes}
    for load in loads:
        if load.node not in known or not load.phases or not set(load.phases) <= set(PHASES):
            raise ValueError(f"load {load.id} has no node or no phase")
    limits = Limits(nodes, loads)
    given: dict[str, int] = {}
    for load in loads:
        if load.fixed is not None:
            given[load.id] = load.fixed
            limits.draw(limits.through[load.id], load.fixed)
    free = [load for load in loads if load.fixed is None]
    admitted = []
    for load in sorted(free, key=lambda each: (not each.running, -each.priority, -each.needed, each.since_ms, each.id)):
        fits = load.most >= load.least and limits.room(limits.through[load.id]) >= load.least
        given[load.id] = load.least if fits else 0
        if fits:
            limits.draw(limits.through[load.id], load.least)
            admitted.append(load)
    for target in (
        {load.id: min(load.needed, load.most) for load in admitted},
        {load.id: load.most for load in admitted},
    ):
        for priority in sorted({load.priority for load in admitted}, reverse=True):
            _fill(given, limits, [load.id for load in admitted if load.priority == priority], target)
    return given


def _fill(given: dict[str, int], limits: Limits, loads: Sequence[str], targets: Mapping[str, int]) -> None:
    """Raise loads towards their targets, the lowest first and equals together, as far as possible.

    One level rises from event to event: a load stands there, has its target, or a place on its way is full. Each event
    costs as much as a load's way is long, so that thousands of loads can share.
    """
    order = {load: at for at, load in enumerate(loads)}
    waiting = sorted((load for load in loads if given[load] < targets[load]), key=lambda load: -given[load])
    level, number = 0, itertools.count()
    rising: dict[Place, set[str]] = {}
    settled: dict[Place, int] = {}  # up to which level what rises is subtracted
    reached: list[tuple[int, str]] = []
    full: list[tuple[int, int, Place]] = []
    fills: dict[Place, int] = {}  # when, or before: loads have stopped since

    def settle(place: Place) -> int:
        limits.left[place] -= len(rising[place]) * (level - settled[place])
        settled[place] = level
        return limits.left[place]

    def foresee(place: Place) -> None:
        fills[place] = level + max(0, limits.left[place] // len(rising[place]))
        heappush(full, (fills[place], next(number), place))

    def stop(load: str) -> None:
        given[load] = level
        for place in limits.through[load]:
            settle(place)
            rising[place].discard(load)

    while waiting or reached:
        level = min(
            [*(given[load] for load in waiting[-1:]), *(at for at, _ in reached[:1]), *(at for at, *_ in full[:1])]
        )
        while reached and reached[0][0] == level:
            if (load := heappop(reached)[1]) in rising[limits.through[load][0]]:
                stop(load)
        joined = set()
        while waiting and given[waiting[-1]] == level:
            heappush(reached, (targets[load := waiting.pop()], load))
            for place in limits.through[load]:
                settled.setdefault(place, level)
                rising.setdefault(place, set())
                settle(place)
                rising[place].add(load)
                joined.add(place)
        for place in joined:
            foresee(place)
        spare = {}
        while full and full[0][0] == level:
            place = heappop(full)[2]
            if fills[place] == level and rising[place] and place not in spare:
                if settle(place) < len(rising[place]):
                    spare[place] = limits.left[place]
                else:
                    foresee(place)
        # fewer mA left than loads: the last mA go one by one
        for load in sorted({load for place in spare for load in rising[place]}, key=order.__getitem__):
            tight = [place for place in limits.through[load] if place in spare]
            if min(spare[place] for place in tight) > 0:
                for place in tight:
                    spare[place] -= 1
            else:
                stop(load)
        for place in spare:
            if rising[place]:
                foresee(place)


def check_tree(nodes: Sequence[Node]) -> None:
    """Raise ValueError unless nodes form trees: unique ids, known parents, no cycle."""
    parents = {node.id: node.parent for node in nodes}
    if len(parents) != len(nodes):
        raise ValueError("two nodes have the same id")
    for node in nodes:
        _up(parents, node.id)


def _up(parents: Mapping[str, str | None], node: str) -> list[str]:
    """Return a node and all its ancestors."""
    found = [node]
    while (parent := parents[found[-1]]) is not None:
        if parent not in parents or parent in found:
            raise ValueError(f"node {found[-1]} has parent {parent}, which is unknown or below it")
        found.append(parent)
    return found


def needed_ma(energy_wh: int, seconds: float, phases: int) -> int:
    """Return the current on each phase of 230 V that delivers an energy within a time; 0 for no energy."""
    if energy_wh <= 0:
        return 0
    watts = Decimal(energy_wh) * 3600 / Decimal(max(1.0, seconds))
    return min(10_000_000, int(watts * 1000 / (230 * phases)) + 1)


class Overload(msgspec.Struct, frozen=True):
    """By how much (mA) loads exceed a node's limit of a phase (0 to 2), or its `unbalance` above the phase `other`."""

    excess_ma: int
    node: str
    phase: int
    other: int | None = None


def overload(nodes: Sequence[Node], loads: Sequence[Load], drawn: Mapping[str, int]) -> Overload | None:
    """Return the worst overload by what each load may draw, or not draw (mA); None without one."""
    limits = Limits(nodes, loads)
    for load in loads:
        limits.draw(limits.through[load.id], drawn[load.id])
    (node, phase, other), left = min(limits.left.items(), key=lambda each: each[1])
    return Overload(-left, node, phase, other) if left < 0 else None


class Change(msgspec.Struct, frozen=True):
    """One step of a new distribution: a load and its new current (mA)."""

    load: str
    limit: int


def changes(
    old: Mapping[str, int], new: Mapping[str, int], *, least_raise: int = 500
) -> tuple[list[Change], list[Change]]:
    """Return the loads to be lowered, and those to be raised afterwards.

    A raise below `least_raise` (mA) is skipped, except from and to zero.
    """
    lower = [Change(load, limit) for load, limit in new.items() if limit < old.get(load, 0)]
    lower += [Change(load, 0) for load in old if load not in new and old[load]]
    raises = [
        Change(load, limit)
        for load, limit in new.items()
        if limit > old.get(load, 0) and (limit - old.get(load, 0) >= least_raise or not old.get(load, 0))
    ]
    return lower, raises
