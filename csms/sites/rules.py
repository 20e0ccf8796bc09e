"""Sites: their fuses, the EVSEs behind them, and shares of their power.

Into the vehicles dispatch may use current not given to others; out of them the site's feed-back limit, whatever others
draw, since they may stop at any moment.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from csms.smart_charging.charging_plans import limit_at, steps
from csms.smart_charging.rules import Needs, is_direct
from csms.transactions.rules import Transaction, flowing_w
from v2g.config import Seconds
from v2g.energy.balancing import LEAST_MA, PHASES, Load, Node, check_tree, needed_ma, share
from v2g.energy.conductors import VOLTAGE
from v2g.energy.settlement.pieces import zone_of
from v2g.ocpp.messages.smart_charging import NotifyChargingLimitRequest
from v2g.ocpp.times import parse_time

_MOST_W: Final = 1e9
"""More than any vehicle or site has: higher limits count as none."""

_SLACK_MA: Final = 500
"""So much more than its limit an EVSE may draw on each phase without being named, beside a tenth of it."""

_STANDBY_W: Final = 100
"""A vehicle at a faulted connector that draws less draws nothing, whatever its charging state says."""

_PHASES_OF_MODE: Final = {"AC_single_phase": 1, "AC_two_phase": 2}
"""How many phases, the first of the EVSE's own, a vehicle uses by its energy transfer mode (EnergyTransferModeEnum)."""

WANTING: Final = frozenset({"Charging", "SuspendedEVSE", "EVConnected", ""})
"""Charging states of vehicles that would take energy; one that has paused keeps its least current."""


class Overloads(dict[str, float]):
    """Sites that this node balances: by how much (A) their vehicles may exceed the worst fuse."""


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An EVSE at its node. Currents are mA on each phase."""

    station_id: Annotated[str, Meta(min_length=1, max_length=48, description="Its charging station.")]
    evse_id: Annotated[int, Meta(ge=1, le=10_000, description="Its number at the station.")]
    node: Annotated[str, Meta(description="The node that it is connected to.")]
    phases: Annotated[
        tuple[Literal["L1", "L2", "L3"], ...], Meta(description="The site's phases that its own are on, in order.")
    ] = ("L1", "L2", "L3")
    most_ma: Annotated[int, Meta(ge=1, le=10_000_000, description="Its greatest current, mA.")]
    least_ma: Annotated[
        int, Meta(ge=0, le=10_000_000, description="The least at which vehicles charge, mA (IEC 61851-1: 6 A).")
    ] = LEAST_MA
    priority: Annotated[int, Meta(ge=-9, le=9, description="Higher goes first.")] = 0

    @property
    def id(self) -> str:
        """The name of its load."""
        return f"{self.station_id}/{self.evse_id}"


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A balanced site."""

    id: Annotated[str, Meta(min_length=1, max_length=60, description="Its name.")]
    nodes: Annotated[
        tuple[Node, ...], Meta(min_length=1, max_length=1000, description="Fuses, cables and transformers.")
    ]
    places: Annotated[tuple[Place, ...], Meta(max_length=10_000, description="EVSEs.")] = ()
    waiting_ma: Annotated[
        int, Meta(ge=0, le=100_000, description="What an EVSE may draw until its transaction has a share, mA.")
    ] = 0
    least_raise_ma: Annotated[int, Meta(ge=0, le=100_000, description="Smaller raises are not sent, mA.")] = 500
    zone: Annotated[
        str,
        Meta(
            max_length=64, description="Time zone of its stations' clocks, as `Europe/Berlin`; empty: `ocpp.time_zone`."
        ),
    ] = ""
    time_sources: Annotated[
        tuple[Literal["Heartbeat", "NTP", "GPS", "RealTimeClock", "MobileNetwork", "RadioTimeTransmitter"], ...],
        Meta(max_length=6, description="Time sources of its stations' clocks, best first (`ClockCtrlr.TimeSource`)."),
    ] = ()

    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    """Where it is, for maps, degrees."""
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    """Where it is, for maps, degrees."""

    def __post_init__(self) -> None:
        """Reject an invalid tree, places without node, duplicate EVSEs, and a zone by its offset."""
        check_tree(self.nodes)
        known = {node.id for node in self.nodes}
        for place in self.places:
            if place.node not in known or not place.phases or len(set(place.phases)) != len(place.phases):
                raise ValueError(f"{place.id} has no node, no phase, or a duplicate phase")
        if len({place.id for place in self.places}) != len(self.places):
            raise ValueError("an EVSE is listed twice")
        if self.zone[:1] in ("+", "-"):
            raise ValueError("unknown time zone; example: Europe/Berlin")

    @property
    def known_zone(self) -> str:
        """`zone`; empty if this machine does not know it, such as one that newer time zone data has dropped."""
        try:
            zone_of(self.zone)
        except ValueError:
            return ""
        return self.zone


def homes(sites: Iterable[Site]) -> dict[str, list[str]]:
    """Return the sites in which each EVSE stands, by its name: one, but for what an earlier version has stored."""
    found: dict[str, list[str]] = {}
    for site in sites:
        for place in site.places:
            found.setdefault(place.id, []).append(site.id)
    return found


def site_of_stations(sites: Iterable[Site]) -> dict[str, str]:
    """Return the site of each station that has an EVSE in one."""
    return {place.station_id: site.id for site in sites for place in site.places}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """State of one EVSE: its open transaction, its vehicle's needs, and external limits (W) by source.

    `taken_wh`: what its vehicle has taken since it sent its needs, less what it gave. `dispatch_w`: the set-point in
    force for it (negative: out of it), None without one.
    """

    transaction: Transaction | None = None
    needs: Needs | None = None
    taken_wh: int = 0
    external: Mapping[str, float] = {}
    connected: bool = False
    priority: int = 0
    dispatch_w: int | None = None
    rotation: tuple[int, ...] = ()
    """The site's phases (0 to 2) of the EVSE's L1 to L3 by its station's PhaseRotation; empty: as its place says."""
    selects_phase: bool = False
    """Whether its station can choose the phase of a vehicle that uses one (ACPhaseSwitchingSupported)."""
    in_watts: bool = False
    """Whether its station takes limits in W only (RateUnit)."""
    faulted: bool = False
    """Whether a connector of it is Faulted."""
    uncontrolled: bool = False
    """Whether its station reports that its contactor does not open: it draws what it may, whatever it is told."""
    drawn_w: int = 0
    """Its power into the vehicle by a reading since its share was accepted."""
    phase_to_use: int | None = None
    """The EVSE's own phase (1 to 3) in the profile of its share."""

    @property
    def external_w(self) -> float | None:
        """The lowest external limit (W)."""
        return min(self.external.values(), default=None)


def loads_of(site: Site, known: Mapping[str, Known], given: Mapping[str, int], now_ms: int) -> list[Load]:
    """Return the loads of a site. `given`: the last limit of each EVSE (mA), as accepted by its station.

    An unreachable station continues with its last limit, and an uncontrolled EVSE with its last one or all that it can.
    One that does not obey its limit draws what it draws.
    An EVSE without a transaction may draw `waiting_ma`.
    A dispatched vehicle draws its set-point, and keeps its limit for afterwards.
    """
    loads = []
    chosen = chosen_phases(site, known)
    for place in site.places:
        about = known.get(place.id, Known())
        transaction = about.transaction
        if not about.connected or (transaction is not None and about.dispatch_w is not None):
            dispatched = current_of(about.dispatch_w or 0, place)
            loads.append(_load(place, fixed=max(dispatched, given.get(place.id, site.waiting_ma))))
        elif beyond_w(place, about, given):
            loads.append(_load(place, fixed=_drawn_ma(place, about)))
        elif about.uncontrolled:
            loads.append(_load(place, fixed=given.get(place.id, place.most_ma)))
        elif transaction is None:
            if site.waiting_ma:
                loads.append(_load(place, fixed=site.waiting_ma))
        else:
            lines = (chosen[place.id],) if place.id in chosen else lines_in_use(len(place.phases), about)
            phases = tuple(sorted(own_phases(place, about)[line] for line in lines))
            running = bool(given.get(place.id))
            loads.append(_vehicle(place, about, transaction, phases, running=running, now_ms=now_ms))
    return loads


def beyond_w(place: Place, about: Known, given: Mapping[str, int]) -> int:
    """Return by how much (W) an EVSE draws more than its limit; 0 within what voltage and meters may differ."""
    drawn_ma, limit_ma = _drawn_ma(place, about), given.get(place.id)
    if limit_ma is None or about.dispatch_w is not None or drawn_ma <= limit_ma * 11 // 10 + _SLACK_MA:
        return 0
    return (drawn_ma - limit_ma) * about.drawn_w // drawn_ma


def _drawn_ma(place: Place, about: Known) -> int:
    return _milliampere(about.drawn_w, len(lines_in_use(len(place.phases), about)))


def _load(place: Place, *, fixed: int) -> Load:
    return Load(id=place.id, node=place.node, phases=phases_of(place), most=place.most_ma, fixed=fixed)


def own_phases(place: Place, about: Known) -> tuple[int, ...]:
    """Return the site's phases (0 to 2) of an EVSE's own L1, L2 and L3."""
    stated = tuple(int(name[1]) - 1 for name in place.phases)
    return about.rotation if len(stated) == 3 == len(about.rotation) and stated == PHASES else stated


def lines_in_use(phases: int, about: Known) -> tuple[int, ...]:
    """Return which of an EVSE's own `phases` (from 0) its vehicle uses: by its energy transfer mode, and those with a
    current. A vehicle of which nothing is known may use all of them."""
    drawn = {int(line) - 1 for line in about.transaction.lines} if about.transaction is not None else set()
    count = _PHASES_OF_MODE.get(about.needs.requested) if about.needs is not None else None
    if count is None:
        count = 0 if drawn else 3
    return tuple(line for line in range(phases) if line < count or line in drawn) or (0,)


def sure_phases(place: Place, about: Known) -> int:
    """Return on how many phases its vehicle draws for sure: on one where neither it nor its meter says more. Direct
    current loads all phases of the grid alike."""
    lines, soc = ("", None) if (now := about.transaction) is None else (now.lines, now.soc)
    of_mode = about.needs is not None and about.needs.requested.endswith("_phase")
    known = lines or of_mode or is_direct(about.needs, soc)
    return len(lines_in_use(len(place.phases), about)) if known else 1


def chosen_phases(site: Site, known: Mapping[str, Known]) -> dict[str, int]:
    """Return the own phase (from 0) of each EVSE whose station can choose it for a vehicle on one phase.

    A vehicle keeps the phase of its last share; another one gets that with the fewest vehicles on one phase.
    """
    counts, open_ = [0, 0, 0], []
    chosen: dict[str, int] = {}
    for place in site.places:
        about = known.get(place.id, Known())
        own, used = own_phases(place, about), lines_in_use(len(place.phases), about)
        if about.transaction is None or len(used) > 1:
            continue
        if about.selects_phase and len(own) > 1:
            if about.phase_to_use is None:
                open_.append((place, own))
                continue
            chosen[place.id] = min(about.phase_to_use, len(own)) - 1
        counts[own[chosen.get(place.id, used[0])]] += 1
    for place, own in open_:
        chosen[place.id] = min(range(len(own)), key=lambda line: counts[own[line]])
        counts[own[chosen[place.id]]] += 1
    return chosen


def _vehicle(
    place: Place, about: Known, transaction: Transaction, phases: tuple[int, ...], *, running: bool, now_ms: int
) -> Load:
    most, least = place.most_ma, place.least_ma
    needed = 0
    needs = about.needs
    if needs is not None:
        most = min([most, *(value for value in (needs.most_ma, _milliampere(needs.most_w, len(phases))) if value)])
        least = max(least, needs.least_ma)
        if needs.departure_ms is not None:
            seconds = max(60.0, (needs.departure_ms - now_ms) / 1000)
            needed = needed_ma(needs.energy_wh - about.taken_wh, seconds, len(phases))
    if about.external_w is not None:
        most = min(most, _milliampere(about.external_w, len(place.phases)))  # K01.FR.50: spread over the EVSE's phases
    state = transaction.charging_state.value if transaction.charging_state else ""
    flowing = flowing_w(transaction.power_w, transaction.charging_state) if about.faulted else None
    stands = flowing is not None and 0 <= flowing < _STANDBY_W
    if stands or state not in WANTING:  # it draws nothing now: its least current lets it resume
        most, needed = min(most, least), 0
    return Load(
        id=place.id,
        node=place.node,
        phases=phases,
        least=least,
        most=most,
        needed=needed,
        priority=place.priority + about.priority,
        since_ms=transaction.started_ms or 0,
        running=running,
    )


def current_of(power_w: float, place: Place) -> int:
    """Return the current (mA) on each phase of a place for a power."""
    return _milliampere(power_w, len(place.phases))


def phases_of(place: Place) -> tuple[int, ...]:
    """Return the site's phases (0 to 2) that a place draws from."""
    return tuple(phase for phase in PHASES if f"L{phase + 1}" in place.phases)


def _milliampere(power_w: float, phases: int) -> int:
    return int(max(0.0, min(power_w, _MOST_W)) * 1000 / (VOLTAGE * phases))


def external_limit_w(request: NotifyChargingLimitRequest, since_ms: int, now_ms: int) -> float | None:
    """Return the external limit (W) in force now; None for none (K12)."""
    found = []
    for schedule in request.charging_schedule:
        begin = parse_time(schedule.start_schedule) if schedule.start_schedule is not None else since_ms
        limit = limit_at(steps(schedule, begin), now_ms)
        if limit is not None:
            found.append(limit)
    return min(found, default=None)


class PowerRange(msgspec.Struct, frozen=True, kw_only=True):
    """Capability of a vehicle at a place (W): maximum into it, and out of it, and the least that it takes and gives."""

    most_w: int
    most_out_w: int = 0
    least_w: int = 0
    least_out_w: int = 0


def bound(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> dict[str, PowerRange]:
    """Return the capabilities together, by place: within each vehicle's maximum and every node's limits.

    `given`: the last limit of each EVSE (mA), which dispatched vehicles keep for afterwards.
    """
    places = {place.id: place for place in site.places if place.id in ranges}
    inward = share(site.nodes, _inward(site, known, given, ranges, now_ms))
    outward = share(
        [
            msgspec.structs.replace(node, limits=node.limits if node.feed_back is None else node.feed_back)
            for node in site.nodes
        ],
        _outward(site, known, ranges),
    )
    return {
        name: msgspec.structs.replace(
            ranges[name],
            most_w=_watts(inward[name], ranges[name].most_w, place),
            most_out_w=_watts(outward[name], ranges[name].most_out_w, place),
        )
        for name, place in places.items()
    }


def keeps_more(place: Place, given: Mapping[str, int], allowed: PowerRange) -> bool:
    """Return whether a vehicle keeps more for afterwards (mA) than it may draw: together these shares do not fit."""
    return place.id in given and given[place.id] > current_of(allowed.most_w + 1, place)  # powers are in whole W


def kept_shares(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> dict[str, int]:
    """Return the lower limit (mA) of each vehicle in `ranges` that keeps more for afterwards than it is to draw.

    What a vehicle does not draw by its plan is for those that do, and what does not fit any more is for nobody.
    """
    planned = {name: given[name] for name in given if name not in ranges} | dict.fromkeys(ranges, 0)
    drawn = share(site.nodes, _inward(site, known, planned, ranges, now_ms))
    return {name: drawn[name] for name in ranges if drawn[name] < given.get(name, site.waiting_ma)}


def _inward(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> list[Load]:
    places = {place.id: place for place in site.places}
    found = []
    for load in loads_of(site, known, given, now_ms):
        if load.id not in ranges:
            fixed = load.fixed if load.fixed is not None else given.get(load.id, site.waiting_ma)
            found.append(msgspec.structs.replace(load, fixed=fixed))
            continue
        place, least = places[load.id], given.get(load.id, site.waiting_ma)
        most = min(place.most_ma, current_of(ranges[load.id].most_w, place))
        external_w = known[load.id].external_w
        if external_w is not None:
            most = min(most, current_of(external_w, place))
        found.append(_free(place, least, max(most, least)))
    return found


def _outward(site: Site, known: Mapping[str, Known], ranges: Mapping[str, PowerRange]) -> list[Load]:
    found = []
    for place in site.places:
        if place.id in ranges:
            most = min(place.most_ma, current_of(ranges[place.id].most_out_w, place))
            found.append(_free(place, 0, most))
        elif (dispatched_w := known.get(place.id, Known()).dispatch_w or 0) < 0:
            out = current_of(-dispatched_w, place)
            found.append(msgspec.structs.replace(_free(place, 0, out), fixed=out))
    return found


def _free(place: Place, least: int, most: int) -> Load:
    return Load(id=place.id, node=place.node, phases=phases_of(place), least=least, most=most, running=True)


def _watts(milliampere: int, most_w: int, place: Place) -> int:
    """Return the power of a current, and `most_w` for its own, which is less than 1 mA more."""
    if milliampere >= current_of(most_w, place):
        return most_w
    return milliampere * VOLTAGE * len(place.phases) // 1000


class Balancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Load balancing of sites."""

    settle_s: Seconds = 1.0
    """Changes within this time are handled together."""
    interval_s: Seconds = 60.0
    """Interval of balancing without changes."""
    dispatch_duration_s: Annotated[int, msgspec.Meta(ge=1, le=86400)] = 300
    """A dispatch set-point ends this long after its last renewal."""
