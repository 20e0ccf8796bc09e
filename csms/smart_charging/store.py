"""Charging profiles at stations, external limits, vehicles' plans, templates, dynamic values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Connection, and_, delete, select, text, tuple_, update

from csms.db.base import AnyRow
from csms.db.bulk import delete_rows, insert_numbered, insert_rows, upsert_rows
from csms.db.documents import Documents
from csms.device_model.store import feeds_of_evses
from csms.diagnostics import store as diagnostics
from csms.sites.rules import Known, external_limit_w
from csms.smart_charging import rules
from csms.smart_charging.charging_plans import FOLLOWED_MS, ProfileTemplate, milliampere
from csms.smart_charging.limits_in_force import (
    EXPORT_SIGNAL,
    UNKNOWN,
    Bound,
    LimitPoint,
    Steps,
    evse_limits,
    rises,
    steps_of,
)
from csms.smart_charging.local_schedules import as_made
from csms.smart_charging.tables import (
    LOCAL,
    charging_limits,
    charging_profiles,
    dynamic_schedules,
    ev_schedules,
    limit_course,
    limits_in_force,
    profile_templates,
)
from csms.stations.store import faulted_evses
from csms.transaction_keys import named_by_station
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from csms.transactions.events import find_last
from csms.transactions.rules import Transaction, net_wh
from csms.transactions.tables import transactions as transactions_table
from v2g import typed_json
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.smart_charging import ChargingScheduleUpdate, NotifyChargingLimitRequest
from v2g.ocpp.times import format_time
from v2g.typed_json import Fields

CSO = "CSO"
"""The source of this back end's limits (ChargingLimitSource)."""

_BESIDE: Final = {rules.SIGNAL_EXPORT: EXPORT_SIGNAL, rules.GENERATED: "LocalGeneration"}
"""What limits beside the profiles of this back end, by what stands for their ids."""

DynamicRow = tuple[int, str]
"""The start (UTC ms) and JSON of a dynamic profile's values."""


def save_profile(
    connection: Connection, station_id: str, evse_id: int, profile: ChargingProfile, source: str, now_ms: int,
    remote_start_id: int | None = None, *, whole: bool = False,
) -> None:  # fmt: skip
    """Store a profile that a station holds, replacing one with its id, or with its purpose and level.

    K01.FR.05 and FR.06: same id, or same stack level and purpose on the same EVSE (and transaction). One of a remote
    start that has no transaction yet waits for `bind_profile`. `whole`: all profiles of the station are known.
    """
    columns = charging_profiles.c
    transaction_id = profile.transaction_id if remote_start_id is None else _pending(remote_start_id)
    connection.execute(
        delete(charging_profiles).where(
            (columns.station_id == station_id)
            & (columns.evse_id == evse_id)
            & (columns.purpose == profile.charging_profile_purpose)
            & (columns.stack_level == profile.stack_level)
            & (columns.transaction_id.is_not_distinct_from(transaction_id))
        )
    )
    values = {
        "evse_id": evse_id,
        "purpose": profile.charging_profile_purpose,
        "stack_level": profile.stack_level,
        "source": source,
        "transaction_id": transaction_id,
        "updated_ms": now_ms,
        "document": msgspec.json.encode(named_by_station(profile)).decode(),
    }
    upsert_rows(connection, charging_profiles, [{"station_id": station_id, "profile_id": profile.id} | values])
    place = _place(evse_id, profile, transaction_id)
    _note_limit(connection, station_id, profile.id, place, now_ms, steps_of(profile, now_ms), whole=whole)


def update_profile(
    connection: Connection, station_id: str, profile_id: int, values: ChargingScheduleUpdate | None, now_ms: int,
    *, whole: bool,
) -> None:  # fmt: skip
    """Store that a dynamic profile has new values (K28). None: its station has refused them, so that it may have lost
    the profile, or has pulled them before."""
    row = _stored(connection, station_id, profile_id)
    if row is not None and values is None:
        _note_limit(connection, station_id, profile_id, _place_of(row), now_ms, UNKNOWN, whole=whole)
    elif row is not None and values is not None:
        changed = _updated(row, values, now_ms)
        document = msgspec.json.encode(named_by_station(changed)).decode()
        key = (charging_profiles.c.station_id == station_id) & (charging_profiles.c.profile_id == profile_id)
        connection.execute(update(charging_profiles).where(key).values(updated_ms=now_ms, document=document))
        _note_limit(connection, station_id, profile_id, _place_of(row), now_ms, steps_of(changed, now_ms), whole=whole)


def _updated(row: AnyRow, values: ChargingScheduleUpdate, now_ms: int) -> ChargingProfile:
    profile = _profile(row)
    schedule = profile.charging_schedule[0]
    new = {name: value for name, value in asdict(values).items() if value is not None and name != "custom_data"}
    period = msgspec.structs.replace(schedule.charging_schedule_period[0], **new)
    schedule = msgspec.structs.replace(schedule, charging_schedule_period=(period,))
    return msgspec.structs.replace(profile, charging_schedule=(schedule,), dyn_update_time=format_time(now_ms))


def note_beside(connection: Connection, station_id: str, number: int, steps: Steps, now_ms: int) -> None:
    """Note what `_BESIDE` profiles permits from now on, in the place of what it has replaced."""
    _note_limit(connection, station_id, number, _place_beside(number), now_ms, steps, whole=True)


_PLACE: Final = ("evse_id", "purpose", "stack_level", "transaction_id")
"""Columns that two limits in the same place have in common: the later one counts."""


def _place_of(row: AnyRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in _PLACE}


def _place(evse_id: int, profile: ChargingProfile, transaction_id: str | None) -> dict[str, object]:
    return dict(
        zip(_PLACE, (evse_id, profile.charging_profile_purpose, profile.stack_level, transaction_id), strict=True)
    )


def _place_beside(number: int) -> dict[str, object]:
    return dict(zip(_PLACE, (0, _BESIDE[number], rules.SIGNAL_LEVEL, None), strict=True))


def _note_limit(
    connection: Connection, station_id: str, profile_id: int, place: Mapping[str, object], now_ms: int, steps: Steps,
    *, whole: bool,
) -> None:  # fmt: skip
    there = limits_in_force.c
    same_place = and_(*(there[name].is_not_distinct_from(value) for name, value in place.items()))
    _end_limits(connection, station_id, now_ms, same_place | (there.profile_id == profile_id))
    row = {"station_id": station_id, "profile_id": profile_id, "from_ms": now_ms, "to_ms": None, "whole": whole}
    insert_rows(connection, limits_in_force, [{**row, **place, "steps": msgspec.json.encode(steps).decode()}])


# -- before a station is asked: what it may have taken when nobody lives to note its answer

Doubt = Mapping[str, object]
"""A profile's number and place, where a limit may soon be higher."""


def raised(connection: Connection, station_id: str, evse_id: int, profile: ChargingProfile, now_ms: int) -> list[Doubt]:
    """Return the doubts about a profile that a station is going to be asked for: none where it only lowers."""
    place, wanted = _place(evse_id, profile, profile.transaction_id), steps_of(profile, now_ms)
    return _raised(connection, station_id, profile.id, place, wanted, now_ms)


def raised_by_update(
    connection: Connection, station_id: str, profile_id: int, values: ChargingScheduleUpdate, now_ms: int
) -> list[Doubt]:
    """Return the doubts about new values of a dynamic profile."""
    if (row := _stored(connection, station_id, profile_id)) is None:
        return []
    wanted = steps_of(_updated(row, values, now_ms), now_ms)
    return _raised(connection, station_id, profile_id, _place_of(row), wanted, now_ms)


def raised_beside(connection: Connection, station_id: str, number: int, steps: Steps, now_ms: int) -> list[Doubt]:
    """Return the doubts about what limits beside profiles."""
    return _raised(connection, station_id, number, _place_beside(number), steps, now_ms)


def raised_by_clearing(connection: Connection, station_id: str, given: Doubt, now_ms: int) -> list[Doubt]:
    """Return the doubts about profiles that are going to be cleared: all that have these values in their columns."""
    return [
        {"profile_id": row.profile_id, **_place_of(row)}
        for row in _open_limits(connection, station_id)
        if row.profile_id not in _BESIDE
        and all(getattr(row, name) == value for name, value in given.items())
        and rises([typed_json.decode(row.steps, Steps)], (), now_ms)
    ]


def _raised(
    connection: Connection, station_id: str, profile_id: int, place: Mapping[str, object], wanted: Steps, now_ms: int
) -> list[Doubt]:
    known = _open_limits(connection, station_id)
    here = [row for row in known if row.profile_id == profile_id or _place_of(row) == place]
    held = [typed_json.decode(row.steps, Steps) for row in here]
    higher = rises(held, wanted, now_ms) if here else bool(known)
    return [{"profile_id": profile_id, **place}] if higher else []


def note_doubts(connection: Connection, station_id: str, doubts: Sequence[Doubt], now_ms: int) -> list[int]:
    """Note that from now on it is unknown what is permitted there; return the numbers of the notes."""
    values = {
        "station_id": station_id, "from_ms": now_ms, "whole": True, "steps": msgspec.json.encode(UNKNOWN).decode(),
    }  # fmt: skip
    return [insert_numbered(connection, limits_in_force, None, {**values, **each}) for each in doubts]


def end_doubts(connection: Connection, notes: Collection[int]) -> None:
    """Delete notes: the station has answered."""
    if notes:
        connection.execute(delete(limits_in_force).where(limits_in_force.c.id.in_(notes)))


def _open_limits(connection: Connection, station_id: str) -> Sequence[AnyRow]:
    there = limits_in_force.c
    here = (there.station_id == station_id) & there.to_ms.is_(None)
    return connection.execute(select(limits_in_force).where(here)).all()


def confirm_limits(
    connection: Connection, station_id: str, reported: Collection[int], asked_ms: int, now_ms: int
) -> None:
    """Note that a station has reported all profiles of this back end: their limits are all that is in force from now
    on, beside local generation. What was set after it was asked may be missing from the report.
    """
    there = limits_in_force.c
    unreported = (there.from_ms < asked_ms) & there.profile_id.not_in(reported)
    _end_limits(connection, station_id, now_ms, unreported & there.profile_id.not_in(_BESIDE))
    here = (there.station_id == station_id) & there.to_ms.is_(None) & ~there.whole
    rows = [dict(row._mapping) for row in connection.execute(select(limits_in_force).where(here))]
    _end_limits(connection, station_id, now_ms, ~there.whole)
    for row in rows:
        del row["id"]
    insert_rows(connection, limits_in_force, [{**row, "from_ms": now_ms, "whole": True} for row in rows])
    if _generates(connection, station_id):
        note_beside(connection, station_id, rules.GENERATED, UNKNOWN, now_ms)


def _generates(connection: Connection, station_id: str) -> bool:
    """Return whether a station may take more than its profiles permit."""
    return any(_exceeds(each) for _, _, each in limits(connection, station_id))


def _exceeds(limit: NotifyChargingLimitRequest) -> bool:
    """Return whether an external limit is what sources there generate (K27), or may have other set-points (Q06)."""
    schedules = limit.charging_schedule
    others = any(each.setpoint is not None for schedule in schedules for each in schedule.charging_schedule_period)
    return bool(limit.charging_limit.is_local_generation) or not schedules or others


def _end_limits(connection: Connection, station_id: str, at_ms: int, which: ColumnElement[bool]) -> None:
    there = limits_in_force.c
    here = (there.station_id == station_id) & there.to_ms.is_(None) & which
    connection.execute(update(limits_in_force).where(here).values(to_ms=at_ms))


def bind_profile(
    connection: Connection, station_id: str, remote_start_id: int, evse_id: int, transaction_id: str
) -> None:
    """Give the profile of a remote start, if any, its transaction and EVSE."""
    columns = charging_profiles.c
    of_start = (columns.station_id == station_id) & (columns.transaction_id == _pending(remote_start_id))
    if (row := connection.execute(select(charging_profiles).where(of_start)).first()) is not None:
        held = msgspec.structs.replace(typed_json.decode(row.document, ChargingProfile), transaction_id=transaction_id)
        save_profile(connection, station_id, evse_id, held, row.source, row.updated_ms)


def _pending(remote_start_id: int) -> str:
    """Return what stands for the transaction of a remote start that has not begun."""
    return f"remote start {remote_start_id}"


def _profile(row: AnyRow) -> ChargingProfile:
    """Return a stored profile; its document has the id that the station uses for its transaction."""
    found = typed_json.decode(row.document, ChargingProfile)
    return msgspec.structs.replace(found, transaction_id=row.transaction_id) if found.transaction_id else found


def clear_profiles(
    connection: Connection,
    station_id: str,
    now_ms: int,
    *,
    profile_id: int | None = None,
    evse_id: int | None = None,
    purpose: str | None = None,
    stack_level: int | None = None,
) -> int:
    """Delete the profiles that a ClearChargingProfile removed (K10.FR.03, FR.04); return how many."""
    columns = charging_profiles.c
    wanted = {"profile_id": profile_id, "evse_id": evse_id, "purpose": purpose, "stack_level": stack_level}
    given = {name: value for name, value in wanted.items() if value is not None}
    key = [columns[name] == value for name, value in given.items()]
    there = limits_in_force.c
    cleared = [there[name] == value for name, value in given.items()]
    _end_limits(connection, station_id, now_ms, and_(there.profile_id.not_in(_BESIDE), *cleared))
    external = columns.purpose == "ChargingStationExternalConstraints"  # K10.FR.06: cannot be cleared
    return connection.execute(
        delete(charging_profiles).where(columns.station_id == station_id, *key, ~external)
    ).rowcount


def profiles(
    connection: Connection, station_id: str, evse_id: int | None = None, transaction_id: str | None = None
) -> list[tuple[int, str, ChargingProfile]]:
    """Return (EVSE, source, profile) of a station, or of one EVSE or transaction."""
    columns = charging_profiles.c
    query = select(charging_profiles).where(columns.station_id == station_id).order_by(columns.profile_id)
    if evse_id is not None:
        query = query.where(columns.evse_id == evse_id)
    if transaction_id is not None:
        query = query.where(columns.transaction_id == transaction_id)
    return [(row.evse_id, row.source, _profile(row)) for row in connection.execute(query)]


def profile(connection: Connection, station_id: str, profile_id: int) -> ChargingProfile | None:
    row = _stored(connection, station_id, profile_id)
    return None if row is None else _profile(row)


def local_profiles(connection: Connection, stations: Collection[str]) -> list[tuple[str, int, ChargingProfile]]:
    """Return (station, EVSE, profile) of this back end's profiles of local time at some stations."""
    columns = charging_profiles.c
    query = select(charging_profiles).where(columns.source == CSO, text(LOCAL)).order_by(columns.station_id)
    return [
        (row.station_id, row.evse_id, _profile(row)) for row in connection.execute(query) if row.station_id in stations
    ]


def _stored(connection: Connection, station_id: str, profile_id: int) -> AnyRow | None:
    columns = charging_profiles.c
    here = (columns.station_id == station_id) & (columns.profile_id == profile_id)
    return connection.execute(select(charging_profiles).where(here)).first()


def save_reported(
    connection: Connection, station_id: str, evse_id: int, source: str, reported: Iterable[ChargingProfile], now_ms: int
) -> None:
    """Store profiles that a station reported, of one EVSE and source."""
    for each in reported:
        if each.transaction_id is not None:
            each = msgspec.structs.replace(each, transaction_id=find_last(connection, station_id, each.transaction_id))
        if (held := profile(connection, station_id, each.id)) is not None:
            each = as_made(each, held)
        save_profile(connection, station_id, evse_id, each, source, now_ms)


class Seen(msgspec.Struct, frozen=True):
    """State of a station's EVSEs, the last limit of each (mA), and external limits (W) of the station by source.

    `waiting`: whether it holds a default for transactions without a share; `uncontrolled`: EVSEs whose contactor does
    not open.
    """

    known: dict[int, Known]
    shares: dict[int, int]
    station: dict[str, float]
    waiting: bool
    uncontrolled: frozenset[int] = frozenset()


def look(connection: Connection, station_id: str, now_ms: int, followed_ms: int = FOLLOWED_MS) -> Seen:
    """Return the input of balancing: open transactions, vehicles' needs, external limits, accepted shares, and what
    vehicles draw by readings that came `followed_ms` after these."""
    external: dict[int, dict[str, float]] = {}
    for evse_id, since_ms, request in limits(connection, station_id):
        if (power_w := external_limit_w(request, since_ms, now_ms)) is not None:
            external.setdefault(evse_id, {})[request.charging_limit.charging_limit_source] = power_w
    needs_of = dict(transactions.with_needs(connection, station_id))
    of_station = external.get(0, {})
    faulted = faulted_evses(connection, station_id)
    known: dict[int, Known] = {}
    for each in sorted(transactions.active(connection, station_id), key=lambda found: found.started_ms or 0):
        if each.evse_id is not None:
            here = external.get(each.evse_id, {})
            its_needs = needs_of.get(each.transaction_id)
            known[each.evse_id] = Known(
                transaction=each,
                needs=its_needs,
                taken_wh=net_wh(each) - (its_needs.net_wh if its_needs is not None else 0),
                external={
                    source: min(found[source] for found in (of_station, here) if source in found)
                    for source in of_station | here
                },
                priority=its_needs.priority if its_needs is not None else 0,
                dispatch_w=_dispatched(connection, station_id, each, now_ms),
                faulted=each.evse_id in faulted,
            )
    stored = profiles(connection, station_id)
    running = {name: each.transaction.transaction_id for name, each in known.items() if each.transaction is not None}
    own = {evse: held for evse, _, held in stored if evse in running and held.id == rules.SHARE_PROFILE + evse}
    shares = {evse: milliampere(held) for evse, held in own.items() if held.transaction_id == running[evse]}
    for evse_id in shares:
        phase = own[evse_id].charging_schedule[0].charging_schedule_period[0].phase_to_use
        known[evse_id] = msgspec.structs.replace(known[evse_id], phase_to_use=phase)
    for evse_id, feed in (feeds_of_evses(connection, station_id, known) if known else {}).items():
        known[evse_id] = msgspec.structs.replace(known[evse_id], **feed._asdict())
    for evse_id, drawn_w in (_drawn(connection, station_id, followed_ms) if shares else {}).items():
        if evse_id in known:
            known[evse_id] = msgspec.structs.replace(known[evse_id], drawn_w=drawn_w)
    waiting = any(held.id == rules.WAITING_PROFILE for _, _, held in stored)
    return Seen(known, shares, of_station, waiting, diagnostics.uncontrolled(connection, station_id, faulted))


def _drawn(connection: Connection, station_id: str, followed_ms: int) -> dict[int, int]:
    """Return the power (W) into the vehicles of EVSEs by readings since their shares were accepted."""
    there = charging_profiles.c
    query = select(there.transaction_id, there.evse_id, there.updated_ms)
    of_share = (there.station_id == station_id) & (there.profile_id == rules.SHARE_PROFILE + there.evse_id)
    shares = {row.transaction_id: row for row in connection.execute(query.where(of_share))}
    return {
        share.evse_id: max(0, round(watts))
        for each in running_powers.powers(connection, frozenset({station_id}))
        if (share := shares.get(each.transaction_id))
        and each.received_ms >= share.updated_ms + followed_ms
        and (watts := each.watts) is not None
    }


def look_all(
    connection: Connection, stations: Iterable[str], now_ms: int, followed_ms: int = FOLLOWED_MS
) -> dict[str, Seen]:
    """Return the input of balancing for each station."""
    return {each: look(connection, each, now_ms, followed_ms) for each in stations}


def note_limits(
    connection: Connection, stations: Collection[str], phases: Mapping[tuple[str, int], int], now_ms: int
) -> list[str]:
    """Store what limits the running transactions of some stations where it has changed. `phases`: of EVSEs, else 3.

    Return the stations with limits that can change without a message: external ones with a schedule, and set-points.
    """
    running = transactions_table.c.active.is_(True) & transactions_table.c.station_id.in_(stations)
    busy = connection.execute(select(transactions_table.c.station_id).where(running).distinct()).scalars().all()
    timed = []
    for station_id in busy:
        seen = look(connection, station_id, now_ms)
        if any(each.external or each.dispatch_w is not None for each in seen.known.values()):
            timed.append(station_id)
        for evse_id, known in seen.known.items():
            share_ma = seen.shares.get(evse_id)
            found = evse_limits(station_id, known, share_ma, phases.get((station_id, evse_id), 3))
            if found is not None:
                point = LimitPoint(at_ms=now_ms, setpoint_w=found.setpoint_w, bounds=found.bounds)
                transaction_id = found.transaction_id
                there = limit_course.c
                key = {"station_id": station_id, "transaction_id": transaction_id}
                query = select(there.setpoint_w, there.bounds).where(
                    (there.station_id == station_id) & (there.transaction_id == transaction_id)
                )
                last = connection.execute(query.order_by(there.at_ms.desc()).limit(1)).first()
                values = {"setpoint_w": point.setpoint_w, "bounds": msgspec.json.encode(point.bounds).decode()}
                nothing = (None, "[]")
                if tuple(values.values()) != (nothing if last is None else tuple(last)):
                    upsert_rows(connection, limit_course, [key | {"at_ms": point.at_ms} | values])
    return timed


def limits_over_time(connection: Connection, station_id: str, transaction_id: str) -> list[LimitPoint]:
    """Return what has limited a transaction, by time; each point holds until the next."""
    there = limit_course.c
    query = select(limit_course).where((there.station_id == station_id) & (there.transaction_id == transaction_id))
    return [
        LimitPoint(at_ms=row.at_ms, setpoint_w=row.setpoint_w, bounds=typed_json.decode(row.bounds, tuple[Bound, ...]))
        for row in connection.execute(query.order_by(there.at_ms))
    ]


def _dispatched(connection: Connection, station_id: str, transaction: Transaction, now_ms: int) -> int | None:
    """Return the set-point (W) that a transaction follows, None without a valid one."""
    profile_id = rules.DISPATCH_PROFILE + (transaction.evse_id or 0)
    held = profile(connection, station_id, profile_id)
    if held is None or held.transaction_id != transaction.transaction_id:
        return None
    return _setpoint(held, dynamic_row(connection, station_id, profile_id), now_ms)


def _setpoint(held: ChargingProfile, values: DynamicRow | None, now_ms: int) -> int | None:
    """Return the set-point (W) of a dynamic profile, None once it has expired."""
    lasts_ms = (held.charging_schedule[0].duration or 0) * 1000
    if values is None or values[0] + lasts_ms <= now_ms:
        return None
    return round(typed_json.decode(values[1], ChargingScheduleUpdate).setpoint or 0)


def following(connection: Connection, now_ms: int) -> dict[tuple[str, str], int]:
    """Return the set-points (W) in force, by station and transaction."""
    dynamic, held, open_ = dynamic_schedules.c, charging_profiles.c, transactions_table.c
    rows = connection.execute(
        select(
            held.station_id, held.transaction_id, held.document, dynamic.updated_ms, dynamic.document.label("dynamic")
        )
        .select_from(dynamic_schedules)
        .join(charging_profiles, (held.station_id == dynamic.station_id) & (held.profile_id == dynamic.profile_id))
        .join(
            transactions_table,
            (open_.station_id == held.station_id) & (open_.transaction_id == held.transaction_id) & open_.active,
        )
        .where(
            dynamic.updated_ms > now_ms - rules.LONGEST_SETPOINT_MS,
            held.profile_id == rules.DISPATCH_PROFILE + held.evse_id,
        )
    )
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if (power := _setpoint(_profile(row), (row.updated_ms, row.dynamic), now_ms)) is not None:
            found[row.station_id, row.transaction_id] = power
    return found


def save_limit(connection: Connection, station_id: str, request: NotifyChargingLimitRequest, now_ms: int) -> None:
    """Store an external limit (K12)."""
    key = {
        "station_id": station_id,
        "evse_id": request.evse_id or 0,
        "source": request.charging_limit.charging_limit_source,
    }
    row = key | {"at_ms": now_ms, "document": msgspec.json.encode(request).decode()}
    upsert_rows(connection, charging_limits, [row])
    if _exceeds(request):
        note_beside(connection, station_id, rules.GENERATED, UNKNOWN, now_ms)


def clear_limit(connection: Connection, station_id: str, evse_id: int, source: str, now_ms: int) -> bool:
    """Delete an external limit (K13); False when there was none."""
    generated = _generates(connection, station_id)
    known = delete_rows(connection, charging_limits, station_id=station_id, evse_id=evse_id, source=source)
    if generated and not _generates(connection, station_id):
        _end_limits(connection, station_id, now_ms, limits_in_force.c.profile_id == rules.GENERATED)
    return known


def limits(connection: Connection, station_id: str) -> list[tuple[int, int, NotifyChargingLimitRequest]]:
    """Return (EVSE, since UTC ms, limit) of a station."""
    query = select(charging_limits).where(charging_limits.c.station_id == station_id)
    return [
        (row.evse_id, row.at_ms, typed_json.decode(row.document, NotifyChargingLimitRequest))
        for row in connection.execute(query.order_by(charging_limits.c.evse_id, charging_limits.c.source))
    ]


def save_ev_schedule(
    connection: Connection, station_id: str, evse_id: int, document: bytes, now_ms: int, *, within_limits: bool
) -> None:
    """Store a vehicle's plan, and whether it is allowed (K15.FR.11)."""
    values = {"at_ms": now_ms, "within_limits": within_limits, "document": document.decode()}
    upsert_rows(connection, ev_schedules, [{"station_id": station_id, "evse_id": evse_id} | values])


def ev_schedule(connection: Connection, station_id: str, evse_id: int) -> Fields | None:
    """Return the plan of the vehicle at an EVSE."""
    columns = ev_schedules.c
    row = connection.execute(
        select(ev_schedules).where((columns.station_id == station_id) & (columns.evse_id == evse_id))
    ).first()
    return None if row is None else {**row._mapping, "document": msgspec.json.decode(row.document)}


_templates: Final = Documents(profile_templates, typed_json.decoder(ProfileTemplate).decode)

template = _templates.find
templates = _templates.all
remove_template = _templates.remove


def save_template(connection: Connection, template: ProfileTemplate, now_ms: int) -> None:
    """Store a template, replacing one of the same name."""
    _templates.save(connection, template.name, template, updated_ms=now_ms)


class Dynamic(msgspec.Struct, frozen=True):
    """The values of a station's dynamic profile, from a time on (UTC)."""

    station_id: str
    profile_id: int
    values: ChargingScheduleUpdate
    updated_ms: int


def save_dynamic(connection: Connection, items: Sequence[Dynamic]) -> list[None]:
    """Store the values of dynamic profiles (K28)."""
    rows = {
        (each.station_id, each.profile_id): {
            "station_id": each.station_id,
            "profile_id": each.profile_id,
            "updated_ms": each.updated_ms,
            "document": msgspec.json.encode(each.values).decode(),
        }
        for each in items
    }
    upsert_rows(connection, dynamic_schedules, list(rows.values()))
    return [None] * len(items)


def dynamic(connection: Connection, station_id: str, profile_id: int) -> ChargingScheduleUpdate | None:
    """Return the values of a dynamic profile."""
    columns = dynamic_schedules.c
    document = connection.execute(
        select(columns.document).where((columns.station_id == station_id) & (columns.profile_id == profile_id))
    ).scalar()
    return None if document is None else typed_json.decode(document, ChargingScheduleUpdate)


def dynamic_row(connection: Connection, station_id: str, profile_id: int) -> DynamicRow | None:
    """Return a dynamic profile's values, to restore them."""
    columns = dynamic_schedules.c
    row = connection.execute(
        select(dynamic_schedules).where((columns.station_id == station_id) & (columns.profile_id == profile_id))
    ).first()
    return None if row is None else (row.updated_ms, row.document)


def held_profiles(
    connection: Connection, places: Sequence[tuple[str, int]]
) -> list[tuple[ChargingProfile | None, DynamicRow | None]]:
    """Return each profile, by station and profile id, and its values if it is dynamic."""
    columns, key = dynamic_schedules.c, list(places)
    rows = connection.execute(select(dynamic_schedules).where(tuple_(columns.station_id, columns.profile_id).in_(key)))
    values = {(row.station_id, row.profile_id): (row.updated_ms, row.document) for row in rows}
    columns = charging_profiles.c
    rows = connection.execute(select(charging_profiles).where(tuple_(columns.station_id, columns.profile_id).in_(key)))
    found = {(row.station_id, row.profile_id): _profile(row) for row in rows}
    return [(found.get(place), values.get(place)) for place in places]


def put_back(connection: Connection, station_id: str, profile_id: int, before: DynamicRow | None) -> None:
    """Restore the previous values of a dynamic profile; None: there were none."""
    key: Fields = {"station_id": station_id, "profile_id": profile_id}
    if before is None:
        delete_rows(connection, dynamic_schedules, **key)
    else:
        upsert_rows(connection, dynamic_schedules, [key | {"updated_ms": before[0], "document": before[1]}])


def forget_unreported(
    connection: Connection, station_id: str, evse_id: int | None, reported: Collection[int], before_ms: int
) -> list[int]:
    """Delete profiles of this back end that a station's complete report does not contain; return their ids.

    `before_ms`: profiles set after the report was requested may be missing from it.
    """
    columns = charging_profiles.c
    query = select(columns.profile_id).where(
        (columns.station_id == station_id) & (columns.source == CSO) & (columns.updated_ms < before_ms)
    )
    if evse_id is not None:
        query = query.where(columns.evse_id == evse_id)
    gone = [each for each in connection.execute(query).scalars() if each not in reported]
    for profile_id in gone:
        clear_profiles(connection, station_id, before_ms, profile_id=profile_id)
        put_back(connection, station_id, profile_id, None)
    return gone
