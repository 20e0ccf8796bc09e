"""Limits of the grid signal at their connection points: how stations share them, what flows, and where none is bound.

Power (W) is shared over the tree of all stations, sites, feeders and EVSEs. Within a site the balancer shares currents
by phase over the same tree, which these limits lower. Stations outside sites share what holds over all.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from csms.sites.rules import Site
from csms.smart_charging.charging_plans import FOLLOWED_MS
from v2g.energy.balancing import Load, Node, overload, share
from v2g.energy.conductors import LINE_NAMES, LINES, VOLTAGE, line_current_ma, spread
from v2g.energy.grid_signal import ALL, ConnectionPoint, Direction, GridLimit, GridSignal
from v2g.energy.limits import MOST_MA, MOST_W

FUSE: Final = "fuse"
PART: Final = "share"
"""Sources of limits: a fuse, and a site's share of what all stations may draw."""

_ROOT: Final = "all"
_UNBOUNDED_W: Final = 1_000_000 * MOST_W

AHEAD_MS: Final = 10_000
"""How long before it begins a limit is shared: stations need time to follow."""


def to_share(signal: GridSignal, now_ms: int) -> list[GridLimit]:
    """Return the limits that stations have to share now or soon. The end of export is in their profiles: its limit
    stays."""
    own = msgspec.structs.replace(signal, limits=()).limits_at(signal.valid_until_ms - 1)
    return [*own, *(each for each in signal.limits if each.from_ms - AHEAD_MS <= now_ms < each.until_ms)]


def least_w(limits: Iterable[GridLimit], direction: Direction, point: ConnectionPoint = ALL) -> int:
    """Return the lowest limit (W) at a connection point in a direction."""
    here = (each for each in limits if (each.connection_point, each.direction) == (point, direction))
    return min((each.limit_w for each in here if each.limit_w is not None), default=MOST_W)


def unbound(limits: Iterable[GridLimit], sites: Sequence[Site]) -> str:
    """Return which limit has no connection point among these sites, and why; "" if all have one."""
    known = {point for site in sites for point in _points(site)}
    for each in limits:
        if each.connection_point == ALL:
            if each.phases_ma is not None:
                return "a limit by phase is unbound without a site, whose EVSEs say their phases"
        elif each.connection_point not in known:
            return f"a limit is unbound: no site has {each.connection_point}"
    return ""


def _points(site: Site) -> set[ConnectionPoint]:
    """Return the connection points of a site: its own, and those of its feeders and EVSEs."""
    evses = {ConnectionPoint(station_id=place.station_id, evse_id=place.evse_id) for place in site.places}
    return {
        ConnectionPoint(site=site.id),
        *(ConnectionPoint(site=site.id, feeder=node.id) for node in site.nodes),
    } | evses


def chains(sites: Iterable[Site]) -> dict[tuple[str, int], list[ConnectionPoint]]:
    """Return the connection points before each EVSE of these sites, the widest first and itself last."""
    found = {}
    for site in sites:
        parents = {node.id: node.parent for node in site.nodes}
        for place in site.places:
            points = [ConnectionPoint(station_id=place.station_id, evse_id=place.evse_id)]
            node: str | None = place.node
            while node is not None:
                points.append(ConnectionPoint(site=site.id, feeder=node))
                node = parents[node]
            points += ConnectionPoint(site=site.id), ALL
            found[place.station_id, place.evse_id] = points[::-1]
    return found


def behind(sites: Iterable[Site], point: ConnectionPoint) -> Callable[[str, int | None], bool]:
    """Return which stations, or EVSEs of them, are behind a connection point of these sites."""
    if point == ALL:
        return lambda _station_id, _evse_id: True
    evses = {evse for evse, points in chains(sites).items() if point in points}
    names = {station_id for station_id, _ in evses}
    return lambda station_id, evse_id: (station_id, evse_id) in evses or (not evse_id and station_id in names)


def of_site(site: Site, limits: Iterable[GridLimit], part_w: int | None, now_ms: int) -> list[GridLimit]:
    """Return all that limits a site, now or as announced, by place: its fuses, limits of the grid at its connection,
    feeders and EVSEs, and its part (W) of what all stations may draw."""
    points = _points(site)
    found = [each for each in limits if each.connection_point in points and now_ms < each.until_ms]
    if part_w is not None and part_w < MOST_W:
        top = ConnectionPoint(site=site.id)
        found.append(GridLimit(connection_point=top, direction="import", limit_w=part_w, source=PART))
    for node in site.nodes:
        at = ConnectionPoint(site=site.id, feeder=node.id)
        found.append(GridLimit(connection_point=at, direction="import", phases_ma=node.limits, source=FUSE))
        if node.feed_back is not None:
            found.append(GridLimit(connection_point=at, direction="export", phases_ma=node.feed_back, source=FUSE))
    return sorted(found, key=lambda each: (str(each.connection_point), each.direction, each.from_ms))


# -- within a site


def limited(site: Site, limits: Sequence[GridLimit], part_w: int | None = None) -> Site:
    """Return a site with the limits of the grid in its tree, and its part (W) of what all stations may draw.

    A limit in W is that of a balanced connection: the same current on each phase.
    """
    here: dict[ConnectionPoint, list[GridLimit]] = {}
    for each in limits:
        here.setdefault(each.connection_point, []).append(each)
    top = ConnectionPoint(site=site.id)
    if part_w is not None and part_w < MOST_W:
        here.setdefault(top, []).append(GridLimit(connection_point=top, direction="import", limit_w=part_w))
    evses = {
        place.id: point
        for place in site.places
        if (point := ConnectionPoint(station_id=place.station_id, evse_id=place.evse_id)) in here
    }
    feeders = {ConnectionPoint(site=site.id, feeder=node.id) for node in site.nodes}
    if not evses and here.keys().isdisjoint({top, *feeders}):
        return site
    nodes = [_lowered(Node(id=str(top), limits=(MOST_MA,) * 3), here.get(top, ()))]
    for node in site.nodes:
        own = here.get(ConnectionPoint(site=site.id, feeder=node.id), ())
        nodes.append(_lowered(msgspec.structs.replace(node, parent=node.parent or str(top)), own))
    places = []
    for place in site.places:
        if (at := evses.get(place.id)) is not None:
            nodes.append(_lowered(Node(id=str(at), parent=place.node, limits=(MOST_MA,) * 3), here[at]))
            place = msgspec.structs.replace(place, node=str(at))
        places.append(place)
    return msgspec.structs.replace(site, nodes=tuple(nodes), places=tuple(places))


def _lowered(node: Node, limits: Iterable[GridLimit]) -> Node:
    bounds = {"import": node.limits, "export": node.feed_back or node.limits}
    for each in limits:
        amperes = each.phases_ma or (line_current_ma(each.limit_w or 0, VOLTAGE, len(LINES)),) * 3
        first, second, third = map(min, bounds[each.direction], amperes)
        bounds[each.direction] = first, second, third
    return msgspec.structs.replace(node, limits=bounds["import"], feed_back=bounds["export"])


# -- over all stations


def tree(limits: Sequence[GridLimit], sites: Iterable[Site], direction: Direction) -> list[Node]:
    """Return the tree of connection points with what each carries in one direction, W (`Node.limits` on each phase).

    Its nodes are the same in both directions: EVSEs only where a limit names them.
    """
    bounds: dict[ConnectionPoint, int] = {}
    for each in limits:
        if each.direction == direction:
            # Which phase a station feeds is not known here: of the weakest one each may need as much.
            phases = each.phases_ma or (0,)
            amperes = sum(phases) if direction == "import" else len(LINES) * min(phases)
            power_w = amperes * VOLTAGE // 1000 if each.limit_w is None else each.limit_w
            bounds[each.connection_point] = min(bounds.get(each.connection_point, _UNBOUNDED_W), power_w)
    if bounds.get(ALL, _UNBOUNDED_W) >= MOST_W:
        bounds[ALL] = _UNBOUNDED_W
    nodes = [_node(_ROOT, None, bounds[ALL])]
    named = {each.connection_point for each in limits}
    for site in sites:
        top = ConnectionPoint(site=site.id)
        nodes.append(_node(str(top), _ROOT, bounds.get(top, _UNBOUNDED_W)))
        for node in site.nodes:
            at = ConnectionPoint(site=site.id, feeder=node.id)
            carried = node.limits if direction == "import" else node.feed_back or node.limits
            parent = top if node.parent is None else ConnectionPoint(site=site.id, feeder=node.parent)
            power_w = min(sum(carried) * VOLTAGE // 1000, bounds.get(at, _UNBOUNDED_W))
            nodes.append(_node(str(at), str(parent), power_w))
        for place in site.places:
            evse = ConnectionPoint(station_id=place.station_id, evse_id=place.evse_id)
            if evse in named:
                above = str(ConnectionPoint(site=site.id, feeder=place.node))
                nodes.append(_node(str(evse), above, bounds.get(evse, _UNBOUNDED_W)))
    return nodes


def _node(name: str, parent: str | None, power_w: int) -> Node:
    return Node(id=name, parent=parent, limits=(power_w, power_w, power_w))


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """A station, by its EVSEs at one node, and one direction, W.

    `granted`: what it is to have at most, None for a new one; `held`: what it has last accepted, None: nothing yet;
    `drawn`: its power by a reading since; `needed`: what its vehicles can use, of which `asked` is by set-points;
    `least`: with less none of them charges. `late`: it has not accepted less in time.
    """

    id: str
    node: str
    granted: int | None
    held: int | None
    drawn: int
    needed: int
    asked: int
    least: int = 0
    reachable: bool
    late: bool

    @property
    def may(self) -> int:
        """What it may have now: what it was sent may have arrived or not."""
        return max(self.granted or 0, self.held or 0)

    @property
    def due(self) -> int:
        """The most that it is to draw now."""
        return (self.granted or 0) if self.late else self.may

    @property
    def beyond(self) -> int:
        """By how much it does not obey; 0 within what its meter may be wrong."""
        return self.drawn - self.due if self.drawn > self.due + self.due // 50 + 100 else 0


def share_out(nodes: Sequence[Node], bearers: Sequence[Bearer], *, limits_changed: bool) -> dict[str, int]:
    """Return what to grant to each bearer now, W: within every node's limit together with what others still may have.

    Max-min fair: at first what set-points ask for, then what vehicles can use, then the rest evenly. Where the least of
    all vehicles does not fit, who charges goes on, and others wait with nothing. It is lowered at once, and raised only
    into what those have given back that were lowered. An unreachable station keeps what it may have, and so does one
    that does not accept less in time; what one draws beyond that is taken from others. While all have what they need,
    at least half of their fair share, and none exceeds a limit, nothing changes, unless `limits_changed`.
    """
    apart = {each.id for each in bearers if each.beyond or each.late}
    fixed = {
        each.id: max(each.may, each.drawn) if each.beyond else each.may
        for each in bearers
        if not each.reachable or each.id in apart
    }
    wanted = _wanted(nodes, bearers, fixed)
    if apart:  # their own share is as if they obeyed
        fair = _wanted(nodes, bearers, {name: may for name, may in fixed.items() if name not in apart})
        wanted |= {
            each.id: min(each.drawn if each.granted is None else each.may, fair[each.id])
            for each in bearers
            if each.id in apart
        }
    wanted |= {each.id: each.granted or 0 for each in bearers if not each.reachable}
    now = {each.id: fixed.get(each.id, each.may) for each in bearers}
    within = overload(nodes, [_load(each, fixed=now[each.id]) for each in bearers], now) is None
    served = all(
        each.id in fixed
        or (each.granted is not None and each.granted >= min(wanted[each.id], max(each.needed, wanted[each.id] // 2)))
        for each in bearers
    )
    if within and served and not limits_changed:
        return {each.id: each.granted or 0 for each in bearers}
    rising = {each.id for each in bearers if each.id not in fixed and wanted[each.id] > each.may}
    raised = {}
    if within:
        raised = share(
            nodes,
            [
                _load(each, least=each.may, most=wanted[each.id])
                if each.id in rising
                else _load(each, fixed=now[each.id])
                for each in bearers
            ],
        )
    return {
        each.id: raised.get(each.id, each.granted or 0) if each.id in rising else wanted[each.id] for each in bearers
    }


def _wanted(nodes: Sequence[Node], bearers: Sequence[Bearer], fixed: Mapping[str, int]) -> dict[str, int]:
    """Return what each would have if all could be changed at once."""

    def shared(*, asked_first: bool) -> dict[str, int]:
        return share(
            nodes,
            [
                _load(each, fixed=fixed[each.id])
                if each.id in fixed
                else _load(each, least=max(each.least, each.asked * asked_first), needed=each.needed)
                for each in bearers
            ],
        )

    found = shared(asked_first=True)
    if any(found[each.id] < each.asked for each in bearers if each.id not in fixed):
        return shared(asked_first=False)  # set-points that do not fit together are no more than other needs
    return found


def _load(each: Bearer, *, least: int = 0, most: int = MOST_W, needed: int = 0, fixed: int | None = None) -> Load:
    running = bool(each.asked) or (each.granted is not None and each.granted >= each.least)
    return Load(
        id=each.id, node=each.node, phases=(0,), least=least, most=most, needed=needed, fixed=fixed, running=running
    )


class EvseUse(msgspec.Struct, frozen=True, kw_only=True):
    """A running transaction: its power (W, negative out of the vehicle; None: unknown), when that was received (UTC
    ms), what its vehicle can use in each direction, the most that its EVSE can (`rated_w`: into it and out), its
    set-point, and the least with which it charges."""

    station_id: str
    evse_id: int
    power_w: int | None
    rated_w: tuple[int, int]
    received_ms: int
    import_w: int
    export_w: int
    setpoint_w: int | None
    least_w: int = 0


class StationShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a station's EVSEs at one node, of a site if any, are to draw and feed back at most, W.

    `held_import_w`, `held_export_w`: what it last accepted, at `since_ms` (UTC); None: nothing yet, since it has one.
    `lowered_ms`: since when it is to accept less.
    """

    station_id: str
    node: str
    site: str = ""
    import_w: int = 0
    export_w: int = 0
    held_import_w: int | None = None
    held_export_w: int | None = None
    since_ms: int = 0
    lowered_ms: int = 0

    @property
    def lowered(self) -> bool:
        """Whether it has not accepted yet that it is to have less."""
        return (self.held_import_w or 0) > self.import_w or (self.held_export_w or 0) > self.export_w

    def granted(self, import_w: int, export_w: int, now_ms: int) -> "StationShare":
        """Return it with what it is to have now."""
        found = msgspec.structs.replace(self, import_w=import_w, export_w=export_w)
        return msgspec.structs.replace(found, lowered_ms=now_ms) if found.lowered and not self.lowered else found


def share_stations(
    limits: Sequence[GridLimit],
    sites: Sequence[Site],
    known: Iterable[StationShare],
    use: Sequence[EvseUse],
    connected: Collection[str],
    followed_ms: int = FOLLOWED_MS,
    *,
    limits_changed: bool,
    absent: Collection[str] = (),
    suspects: Mapping[str, int] = MappingProxyType({}),
    since_ms: Mapping[str, int] = MappingProxyType({}),
    now_ms: int,
) -> tuple[list[StationShare], dict[str, int]]:
    """Return the shares of all stations that are connected, run a transaction, or had a share; and by how much (W)
    stations are beyond what they may have. `limits_changed`: or sites have. `absent`: stations that have no share.
    `suspects`: those that were beyond, and by how much: they are until a reading says otherwise. `since_ms`: since when
    (UTC) stations have been connected, as far as that is known: they can accept nothing before."""
    before = chains(sites)
    trees: dict[Direction, list[Node]] = {
        "import": tree(limits, sites, "import"),
        "export": tree(limits, sites, "export"),
    }
    names = {node.id for node in trees["import"]}

    def home(station_id: str, evse_id: int) -> tuple[str, str, str]:
        points = before.get((station_id, evse_id), [ALL])
        node = next(str(each) for each in reversed(points) if str(each) in names)
        return station_id, node, points[1].site if points[1:] else ""

    homes = {home(*known_evse) for known_evse in before if known_evse[0] not in absent} | {
        home(each.station_id, each.evse_id) for each in use
    }
    had = {(each.station_id, each.node): each for each in known}
    without = {*connected, *(station_id for station_id, _ in had)} - {station_id for station_id, *_ in homes}
    homes |= {(station_id, _ROOT, "") for station_id in without}
    here: dict[tuple[str, str], list[EvseUse]] = {}
    for evse in use:
        here.setdefault(home(evse.station_id, evse.evse_id)[:2], []).append(evse)
    shares = [
        msgspec.structs.replace(
            had.get((station, node)) or StationShare(station_id=station, node=node, since_ms=now_ms), site=site
        )
        for station, node, site in sorted(homes)
    ]
    granted: dict[Direction, dict[str, int]] = {}
    beyond: dict[str, int] = {}
    for direction, nodes in trees.items():
        bearers = [
            _bearer(
                each,
                here.get((each.station_id, each.node), ()),
                direction,
                suspects.get(each.station_id, 0),
                followed_ms,
                now_ms,
                since_ms.get(each.station_id, 0),
                new=(each.station_id, each.node) not in had,
                reachable=each.station_id in connected,
            )
            for each in shares
        ]
        if direction == "import":  # within a site its balancer moves power between stations
            obeying = _sites_within(bearers, [each.site for each in shares])
            bearers = [
                msgspec.structs.replace(bearer, drawn=0) if each.site in obeying else bearer
                for bearer, each in zip(bearers, shares, strict=True)
            ]
        granted[direction] = share_out(nodes, bearers, limits_changed=limits_changed)
        for bearer, each in zip(bearers, shares, strict=True):
            if bearer.beyond and bearer.held is not None:
                beyond[each.station_id] = max(beyond.get(each.station_id, 0), bearer.beyond)
    return [
        each.granted(import_w, export_w, now_ms)
        for each, import_w, export_w in zip(shares, granted["import"].values(), granted["export"].values(), strict=True)
    ], beyond


def _sites_within(bearers: Iterable[Bearer], sites: Iterable[str]) -> set[str]:
    """Return the sites whose stations together draw no more than they may together."""
    sums: dict[str, tuple[int, int]] = {}
    for each, site in zip(bearers, sites, strict=True):
        due, drawn = sums.get(site, (0, 0))
        sums[site] = due + each.due, drawn + each.drawn
    return {site for site, (due, drawn) in sums.items() if site and drawn <= due}


def _bearer(
    share: StationShare,
    use: Sequence[EvseUse],
    direction: Direction,
    excess_w: int,
    followed_ms: int,
    now_ms: int,
    since_ms: int,
    *,
    new: bool,
    reachable: bool,
) -> Bearer:
    """Return a station's part in one direction.

    An unknown power is what was permitted, or all that the EVSE can where nothing was accepted in time.
    """
    inward = direction == "import"
    sign, way = (1, 0) if inward else (-1, 1)
    held = share.held_import_w if inward else share.held_export_w
    granted = share.import_w if inward else share.export_w
    drawn, unknown = 0, []
    for each in use:
        if each.power_w is None:
            unknown.append(each.rated_w[way])
        elif held is None or excess_w or each.received_ms >= share.since_ms + followed_ms:
            drawn += max(0, sign * each.power_w)
    if unknown and held is not None:
        drawn = max(drawn, max(granted, held) + excess_w)
    elif now_ms >= share.since_ms + followed_ms:
        drawn += sum(unknown)
    asked = [sign * each.setpoint_w for each in use if each.setpoint_w is not None]
    return Bearer(
        id=f"{share.station_id}\0{share.node}",
        node=share.node,
        granted=None if new else granted,
        held=held,
        drawn=drawn,
        needed=sum(
            (each.import_w if inward else each.export_w) if each.setpoint_w is None else max(0, sign * each.setpoint_w)
            for each in use
        ),
        asked=sum(max(0, each) for each in asked),
        least=min((each.least_w for each in use if inward and each.import_w and each.setpoint_w is None), default=0),
        reachable=reachable,
        late=reachable and granted < (held or 0) and now_ms >= max(share.lowered_ms, since_ms) + followed_ms,
    )


# -- what flows


class PointPower(msgspec.Struct, frozen=True):
    """The power of an EVSE's vehicle, W, negative out of it, None: unknown; and the phases in use, as "13" for L1 and
    L3."""

    station_id: str
    evse_id: int | None
    power_w: int | None
    lines: str = ""


class LimitState(msgspec.Struct, frozen=True, kw_only=True):
    """A limit in force, and what flows there: W, positive into vehicles, by readings of the last 15 min; that of
    `unknown` more vehicles is unknown.

    `flow_ma`: the same on L1, L2 and L3, mA. `left_w`: the limit less the flow in its direction, of the worst phase
    where it is one by phase; below 0 it is exceeded. `connection_point`: `all`, `site SITE`, `feeder SITE/FEEDER` or
    `EVSE STATION/EVSE`.
    """

    connection_point: str
    direction: Direction
    limit_w: int | None
    phases_ma: tuple[int, int, int] | None
    from_ms: int
    until_ms: int
    source: str
    flow_w: int
    flow_ma: tuple[int, int, int]
    unknown: int
    left_w: int

    @property
    def watts(self) -> int:
        """The limit, W; that of all phases together where it is one by phase."""
        return (self.limit_w or 0) if self.phases_ma is None else sum(self.phases_ma) * VOLTAGE // 1000

    @property
    def worst(self) -> tuple[str, int] | None:
        """The phase with the least left, and how much (mA; below 0 it is exceeded), as pages show a limit by phase."""
        if self.phases_ma is None:
            return None
        sign = 1 if self.direction == "import" else -1
        left = [most - sign * drawn for most, drawn in zip(self.phases_ma, self.flow_ma, strict=True)]
        line = min(LINES, key=lambda each: left[each])
        return LINE_NAMES[line], left[line]

    @property
    def room_w(self) -> int:
        """What is left on the worst phase: by this limits compare. One of all phases counts as even on them."""
        return self.left_w // len(LINES) if self.phases_ma is None else self.left_w

    @property
    def subject(self) -> str:
        """The subject of alerts about it."""
        return self.direction if self.connection_point == str(ALL) else f"{self.connection_point} {self.direction}"


def tightest(limits: Iterable[LimitState]) -> list[LimitState]:
    """Return the limits, the one with the least left first; last, unless exceeded, those of the direction in which
    nothing flows."""

    def counts(each: LimitState) -> bool:
        return each.left_w < 0 or (each.flow_w >= 0) is (each.direction == "import")

    return sorted(limits, key=lambda each: (not counts(each), each.room_w))


def states(limits: Iterable[GridLimit], sites: Sequence[Site], powers: Iterable[PointPower]) -> list[LimitState]:
    """Return each limit with what flows at its connection point; a current that is not known by phase counts as even
    on the phases in use."""
    before = chains(sites)
    phases = {(place.station_id, place.evse_id): place.phases for site in sites for place in site.places}
    flows: dict[ConnectionPoint, int] = {}
    unknown = Counter[ConnectionPoint]()
    currents: dict[ConnectionPoint, list[int]] = {}
    for each in powers:
        evse = each.station_id, each.evse_id or 0
        if each.power_w is None:
            unknown.update(before.get(evse, (ALL,)))
            continue
        own = tuple(int(name[1]) - 1 for name in phases.get(evse, LINE_NAMES))
        used = [own[int(line) - 1] for line in each.lines if int(line) <= len(own)] or own
        drawn = spread(round(each.power_w * 1000 / VOLTAGE), used)
        for point in before.get(evse, (ALL,)):
            flows[point] = flows.get(point, 0) + each.power_w
            total = currents.setdefault(point, [0, 0, 0])
            for line in LINES:
                total[line] += drawn[line]
    found = []
    for limit in limits:
        sign = 1 if limit.direction == "import" else -1
        flow_w, drawn_ma = flows.get(limit.connection_point, 0), currents.get(limit.connection_point, [0, 0, 0])
        if limit.phases_ma is None:
            left_w = (limit.limit_w or 0) - sign * flow_w
        else:
            left_ma = min(most - sign * drawn for most, drawn in zip(limit.phases_ma, drawn_ma, strict=True))
            left_w = left_ma * VOLTAGE // 1000
        found.append(
            LimitState(
                connection_point=str(limit.connection_point),
                direction=limit.direction,
                limit_w=limit.limit_w,
                phases_ma=limit.phases_ma,
                from_ms=limit.from_ms,
                until_ms=limit.until_ms,
                source=limit.source,
                flow_w=flow_w,
                flow_ma=(drawn_ma[0], drawn_ma[1], drawn_ma[2]),
                unknown=unknown[limit.connection_point],
                left_w=left_w,
            )
        )
    return found
