"""Grid signals, and stations' shares of their limits, decided in one transaction: two nodes never share twice."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from csms.admission.store import admissions
from csms.booking import held
from csms.db.bulk import upsert_rows
from csms.db.leases import lock
from csms.grid.limits import EvseUse, LimitState, PointPower, StationShare, share_stations, states
from csms.grid.rules import SiteLimits, SourceSignal, combine
from csms.grid.tables import grid_memories, grid_shares, grid_signals, grid_sources
from csms.sites import store as site_store
from csms.sites.rules import WANTING
from csms.smart_charging import store as charging
from csms.smart_charging.charging_plans import FOLLOWED_MS
from csms.smart_charging.rules import Needs, is_direct
from csms.stations.tables import stations
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.energy.balancing import LEAST_MA
from v2g.energy.conductors import LINES, VOLTAGE, line_power_w
from v2g.energy.grid_signal import ALL, GridLimit, GridSignal, parse_grid_signal
from v2g.energy.limits import MOST_W
from v2g.energy.settlement.operator import tariff_digest

ABSENT_MS: Final = 900_000
"""A station without connection and transaction keeps its share so long."""

_LOCK: Final = "grid shares"
_ALL_SOURCES: Final = "grid sources"
"""Names of locks; no station has them, as there is a blank in each."""

_KEPT_SIGNALS: Final = 100
"""Prices by the minute make a new grid signal each minute, of up to 1 MB: of older ones a hash and a limit stay."""


class Share(NamedTuple):
    """What a station may draw and feed back, W."""

    import_w: int = MOST_W
    export_w: int = MOST_W


def share_of(connection: Connection, station_id: str, shared: str) -> Share | None:
    """Return a station's share; None if it has none by these limits, of which `share_all` returned the hash.

    At a site it may draw what the whole site may: its balancer holds that.
    """
    own = connection.execute(select(grid_shares).where(grid_shares.c.station_id == station_id)).all()
    if not own or any(row.shared != shared for row in own):
        return None
    import_w = sum(row.import_w for row in own if not row.site)
    if at_sites := {row.site for row in own if row.site}:
        parts = parts_of(connection)
        import_w += sum(parts[site] for site in at_sites)
    return Share(min(MOST_W, import_w), min(row.export_w for row in own))


def parts_of(connection: Connection) -> dict[str, int]:
    """Return how much each site may draw, W."""
    there = grid_shares.c
    query = select(there.site, func.sum(there.import_w)).where(there.site != "").group_by(there.site)
    return {site: int(power_w) for site, power_w in connection.execute(query)}


def accept(connection: Connection, station_id: str, import_w: int | None, export_w: int | None, now_ms: int) -> None:
    """Note what a station has accepted of its share, None: not that; at sites only that of export, as their balancer
    holds the other."""
    there = grid_shares.c
    here = there.station_id == station_id
    if export_w is not None:
        connection.execute(update(grid_shares).where(here).values(held_export_w=export_w, since_ms=now_ms))
    if import_w is not None:
        here &= there.site == ""
        connection.execute(update(grid_shares).where(here).values(held_import_w=import_w, since_ms=now_ms))


def accept_site(connection: Connection, site: str, part_w: int, now_ms: int) -> bool:
    """Note that the EVSEs of a site are within a part; return whether that is new, and the part still its own."""
    there = grid_shares.c
    if parts_of(connection).get(site) != part_w:
        return False
    here = (there.site == site) & there.held_import_w.is_distinct_from(there.import_w)
    values = {"held_import_w": there.import_w, "since_ms": now_ms}
    return connection.execute(update(grid_shares).where(here).values(values)).rowcount > 0


def states_of(
    connection: Connection, limits: Sequence[GridLimit], since_ms: int, followed_ms: int = FOLLOWED_MS,
    suspects: Collection[str] = (),
) -> list[LimitState]:  # fmt: skip
    """Return limits with what flows at their connection points by readings received since a time (UTC ms).

    A reading of before its station accepted less counts as that, unless it is one of `suspects`, which do not obey.
    """
    query = select(grid_shares).where(grid_shares.c.site == "")
    left = {row.station_id: [row.held_import_w, row.held_export_w, row.since_ms] for row in connection.execute(query)}
    powers = []
    for each in running_powers.powers(connection, since_ms=since_ms):
        power_w, share = None if (watts := each.watts) is None else round(watts), left.get(each.station_id)
        followed = share is None or each.received_ms >= share[2] + followed_ms or each.station_id in suspects
        if power_w is not None and share is not None and not followed:
            way = 0 if power_w >= 0 else 1
            if share[way] is not None:
                counted_w = min(abs(power_w), share[way])
                share[way] -= counted_w
                power_w = counted_w if power_w >= 0 else -counted_w
        powers.append(PointPower(each.station_id, each.evse_id, power_w, each.lines))
    return states(limits, site_store.all_sites(connection), powers)


def forget(connection: Connection) -> None:
    """Delete all shares: nothing is limited."""
    connection.execute(delete(grid_shares))


def share_all(
    connection: Connection,
    limits: Sequence[GridLimit],
    connected: Collection[str],
    now_ms: int,
    followed_ms: int = FOLLOWED_MS,
    suspects: Mapping[str, int] = MappingProxyType({}),
    since_ms: Mapping[str, int] = MappingProxyType({}),
) -> tuple[set[str], dict[str, int], str]:
    """Share limits over all stations; return those whose share has changed, by how much (W) some exceed theirs, and a
    hash of the limits and their tree.

    `suspects`: those that did so before. `since_ms`: see `share_stations`.
    """
    lock(connection, (_LOCK,))
    sites = site_store.all_sites(connection)
    # what changes when the tree of connection points or its limits do, not with their validity
    bounds = sorted((str(each.connection_point), each.direction, each.limit_w, each.phases_ma) for each in limits)
    places = [(site.id, site.nodes, [(place.id, place.node) for place in site.places]) for site in sites]
    shared = hashlib.sha256(msgspec.json.encode((bounds, places))).hexdigest()
    refused = select(admissions.c.station_id).where(admissions.c.boot == "Rejected")
    connection.execute(delete(grid_shares).where(grid_shares.c.station_id.in_(refused)))
    use = _use(connection, now_ms)
    # Others get the shares of stations that were last seen long ago; these have one again once they are back
    here = {*connected, *(each.station_id for each in use)}
    seen = stations.c.last_seen_ms < now_ms - ABSENT_MS
    query = select(stations.c.station_id).join(grid_shares, grid_shares.c.station_id == stations.c.station_id)
    absent = [each for each in connection.execute(query.where(seen).distinct()).scalars() if each not in here]
    connection.execute(update(grid_shares).where(grid_shares.c.station_id.in_(absent)).values(shared=""))
    rows = connection.execute(select(grid_shares).where(grid_shares.c.station_id.not_in(absent))).all()
    known = {
        (row.station_id, row.node): StationShare(
            **{name: getattr(row, name) for name in StationShare.__struct_fields__}
        )
        for row in rows
    }
    limits_changed = any(row.shared != shared for row in rows)
    found, beyond = share_stations(
        limits, sites, known.values(), use, connected, followed_ms, limits_changed=limits_changed, absent=absent,
        suspects=suspects, since_ms=since_ms, now_ms=now_ms,
    )  # fmt: skip
    changed, sites_changed = set(), set()
    for each in found:
        before = known.pop((each.station_id, each.node), None)
        if before is None or (each.import_w, each.export_w) != (before.import_w, before.export_w):
            changed.add(each.station_id)
            sites_changed.add(each.site)
    for station_id, node in known:
        there = grid_shares.c
        connection.execute(delete(grid_shares).where(there.station_id == station_id, there.node == node))
    if limits_changed or changed or known:
        upsert_rows(connection, grid_shares, [{**msgspec.structs.asdict(each), "shared": shared} for each in found])
    return changed | {each.station_id for each in found if each.site and each.site in sites_changed}, beyond, shared


def _use(connection: Connection, now_ms: int) -> list[EvseUse]:
    """Return what running transactions draw, and what their vehicles can use: at most what their EVSEs can."""
    running = running_powers.powers(connection)
    needs = {(each[0], each[1]): each[2] for each in transactions.all_with_needs(connection)}
    asked = charging.following(connection, now_ms)
    rated = held.ratings(connection, {(each.station_id, each.evse_id) for each in running})
    found = []
    for each in running:
        key = each.station_id, each.transaction_id
        can, rating = needs.get(key), rated[each.station_id, each.evse_id]
        import_w, export_w = rating.import_w, 0
        if can is not None:
            of_current_w = line_power_w(can.most_ma, VOLTAGE, len(LINES))
            import_w = min([import_w, *(power_w for power_w in (can.most_w, of_current_w) if power_w)])
            export_w = min(rating.export_w, can.most_discharge_w if can.bidirectional else 0)
        if each.charging_state is not None and each.charging_state.value not in WANTING:
            import_w = 0  # it draws nothing now
        found.append(
            EvseUse(
                station_id=each.station_id,
                evse_id=each.evse_id or 0,
                power_w=None if (watts := each.watts) is None else round(watts),
                rated_w=(rating.import_w, rating.export_w if can is not None and can.bidirectional else 0),
                received_ms=each.received_ms,
                import_w=import_w,
                export_w=export_w,
                setpoint_w=asked.get(key),
                least_w=0 if is_direct(can, each.soc) else _least_w(each, can),  # any power will do
            )
        )
    return found


def _least_w(running: running_powers.RunningPower, needs: Needs | None) -> int:
    """Return the least power with which a vehicle charges with alternating current (IEC 61851-1: 6 A), or does now."""
    least_ma = max(LEAST_MA, 0 if needs is None else needs.least_ma)
    of_current_w = line_power_w(least_ma, VOLTAGE, len(running.lines) or len(LINES))
    drawn_w = running.watts or 0
    return min(of_current_w, round(drawn_w)) if drawn_w > 0 else of_current_w


def memory_of(connection: Connection, source: str) -> str:
    """Return what the client of a source has stored; empty if nothing."""
    query = select(grid_memories.c.document).where(grid_memories.c.source == source)
    return str(connection.execute(query).scalar() or "")


def save_memory(connection: Connection, source: str, document: str) -> None:
    """Store what the client of a source must not forget."""
    upsert_rows(connection, grid_memories, [{"source": source, "document": document}])


def save_signal(connection: Connection, version: int, document: bytes, origin: str, now_ms: int) -> bool:
    """Store a grid signal; False when one with that version or a higher one exists: another node was first."""
    if connection.execute(select(grid_signals.c.version).where(grid_signals.c.version >= version).limit(1)).first():
        return False
    signal = parse_grid_signal(document)
    connection.execute(
        insert(grid_signals).values(
            version=version,
            received_ms=now_ms,
            received_from=origin,
            document=document.decode(),
            tariff=tariff_digest(signal.tariff()),
            export_limit_w=signal.export_limit_w if signal.connection_point == ALL else MOST_W,  # for all sessions
        )
    )
    old = (grid_signals.c.version < version - _KEPT_SIGNALS) & (grid_signals.c.document != "")
    connection.execute(update(grid_signals).where(old).values(document=""))
    return True


def newest_signal(connection: Connection) -> bytes | None:
    """Return the grid signal with the highest version, as JSON."""
    document: str | None = connection.execute(
        select(grid_signals.c.document)
        .where(grid_signals.c.document != "")
        .order_by(grid_signals.c.version.desc())
        .limit(1)
    ).scalar()
    return None if document is None else document.encode()


def source_signals(connection: Connection, site: SiteLimits) -> list[SourceSignal]:
    """Return what each source of the configuration states, in its order."""
    rows = connection.execute(select(grid_sources.c.document).where(grid_sources.c.source.in_(site.sources))).scalars()
    found = [typed_json.decode(row, SourceSignal) for row in rows]
    return sorted(found, key=lambda each: site.sources.index(each.source))


def source_stated_ms(connection: Connection, source: str) -> int | None:
    """Return when any node last stored what a source states (UTC ms); None: never."""
    query = select(grid_sources.c.updated_ms).where(grid_sources.c.source == source)
    found: int | None = connection.execute(query).scalar()
    return found


def save_source(connection: Connection, site: SiteLimits, stated: SourceSignal, now_ms: int) -> GridSignal | None:
    """Store what a source states; return the grid signal that then follows from all sources, None if unchanged.

    Sources that the configuration does not name are removed.
    """
    lock(connection, (_ALL_SOURCES,))  # else two nodes could each miss what the other stores
    key = grid_sources.c.source
    connection.execute(delete(grid_sources).where((key == stated.source) | key.not_in(site.sources)))
    document = msgspec.json.encode(stated).decode()
    connection.execute(insert(grid_sources).values(source=stated.source, updated_ms=now_ms, document=document))
    newest = newest_signal(connection)
    current = None if newest is None else parse_grid_signal(newest)
    signal = combine(site, source_signals(connection, site), current, now_ms)
    if signal is None or not save_signal(connection, signal.version, signal.to_json(), stated.source, now_ms):
        return None
    return signal
