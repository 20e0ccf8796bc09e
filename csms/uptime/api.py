"""Uptime by the definition of a regulation, outages, and what does not count of them."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Annotated, Final

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, delete, get, post
from csms.http.parameters import (
    Cursor,
    Limit,
    OfAnyStation,
    RowNumber,
    StationId,
    newest_first,
    read_cursor,
    shown,
    write_cursor,
)
from csms.http.problems import ApiError, existing
from csms.stations import store as stations
from csms.uptime import store as rows
from csms.uptime.rules import PRESETS, Cause, EvseOutage, TimeSpan, Uptime, UptimeRules, mean, percent, uptime, within
from v2g.units import DAY_MS, HOUR_MS, UtcMs

_BY_STATIONS: Final = 200
"""Stations of which a summary reads the history at once."""


class WhichUptime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The definition, and the period (UTC, ms): by default as long as the definition says, until now."""

    rules: Annotated[str, msgspec.Meta(description="Name of a definition.", examples=["nevi"])] = "nevi"
    from_ms: UtcMs | None = None
    to_ms: UtcMs | None = None


class UptimeParameters(WhichUptime, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for a list of EVSEs' uptime."""

    limit: Limit = 100
    cursor: Cursor = None
    station_id: Annotated[str | None, msgspec.Meta(description="Only of this station.")] = None


class UptimeOfEvse(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE in a period: percent (three digits, rounded down; null: nothing is known), for how long it is known, what
    counts as outage and what was left out (ms), hours between and of outages on average (null without one), each.

    `attempts`: transactions that ended in the period; `charged`: those in which energy flowed, which is the success of
    starts by ChargeX. A token that is rejected before a transaction does not count as an attempt.
    """

    station_id: str
    evse_id: int
    percent: str | None
    reaches_target: bool | None
    known_ms: int
    outage_ms: int
    excluded_ms: int
    hours_between: float | None
    hours_of: float | None
    attempts: int
    charged: int
    charged_percent: str | None
    outages: tuple[EvseOutage, ...]


class UptimeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All EVSEs in a period by a definition: how many are known, how many miss the target, the average, and whether the
    definition's target is reached; `back_end_percent`: of the back end since its first start, to five minutes;
    `attempts`, `charged`: as of an EVSE."""

    rules: UptimeRules
    from_ms: int
    to_ms: int
    evses: int
    below_target: int
    average_percent: str | None
    reaches_target: bool | None
    attempts: int
    charged: int
    charged_percent: str | None
    back_end_percent: str | None


class NewExclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time in which an outage may not count, why, and the evidence; of an EVSE, or all of a station (0)."""

    station_id: StationId
    evse_id: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    from_ms: UtcMs
    to_ms: UtcMs
    cause: Cause
    evidence: Annotated[str, msgspec.Meta(min_length=3, max_length=2000)]


class UptimeExclusion(NewExclusion, frozen=True, kw_only=True):
    """An exclusion, who added it, and when."""

    exclusion_id: int
    added_by: str
    added_ms: int


@get("/uptime/rules", Permission.READ_STATIONS, for_sites=True)
async def list_uptime_rules(call: Call) -> tuple[UptimeRules, ...]:
    """List definitions of uptime, with source and date of each."""
    return tuple(_definitions(call).values())


@get("/uptime", Permission.READ_STATIONS, for_sites=True, large=True, problems=(404,))
async def list_uptime(call: Call, parameters: UptimeParameters) -> Page[UptimeOfEvse]:
    """List the uptime of EVSEs by station, with their outages; a page has all EVSEs of at most `limit` stations."""
    rules, period = _asked(call, parameters)
    after = read_cursor(parameters.cursor, tuple[str])
    only = call.stations
    if parameters.station_id is not None:
        only = frozenset({parameters.station_id}) if only is None or parameters.station_id in only else frozenset()
    names = await call.run(rows.names_after, after[0] if after else "", parameters.limit + 1, only)
    page = names[: parameters.limit]
    read = await call.run(_read, rules, period, page, await call.run(rows.blind, period), *_connected(call))
    begun = await call.run(rows.attempts, page, period)
    found = tuple(_shown(rules, *each, *begun.get(each[:2], (0, 0))) for each in read)
    return Page(found, write_cursor(page[-1]) if len(names) > parameters.limit else None)


@get("/uptime/summary", Permission.READ_STATIONS, for_sites=True, large=True, problems=(404,))
async def read_uptime_summary(call: Call, parameters: WhichUptime) -> UptimeSummary:
    """Return the uptime of all EVSEs together, and that of the back end."""
    rules, period = _asked(call, parameters)
    shares: list[Fraction | None] = []
    attempts = charged = 0
    after = ""
    blind = await call.run(rows.blind, period)
    while names := await call.run(rows.names_after, after, _BY_STATIONS, call.stations):
        read = await call.run(_read, rules, period, names, blind, *_connected(call))
        shares += [found.share for _, _, found in read]
        for ended, flowed in (await call.run(rows.attempts, names, period)).values():
            attempts, charged = attempts + ended, charged + flowed
        after = names[-1]
    began_ms = await call.run(rows.began)
    seen_ms = 0 if began_ms is None else period.to_ms - max(period.from_ms, began_ms)
    away = sum(each.to_ms - each.from_ms for each in within(blind, *period))
    known = [each for each in shares if each is not None]
    average = mean(known)
    target = Fraction(str(rules.target_percent)) / 100
    below = sum(each < target for each in known)
    reached = None if average is None else average >= target if rules.of == "average" else not below
    return UptimeSummary(
        rules=rules,
        from_ms=period.from_ms,
        to_ms=period.to_ms,
        evses=len(known),
        below_target=below,
        average_percent=percent(average),
        reaches_target=reached,
        attempts=attempts,
        charged=charged,
        charged_percent=_charged_percent(attempts, charged),
        back_end_percent=percent(1 - Fraction(away, seen_ms) if seen_ms > 0 else None),
    )


@get("/uptime/exclusions", Permission.READ_STATIONS)
async def list_uptime_exclusions(call: Call, parameters: OfAnyStation) -> Page[UptimeExclusion]:
    """List times in which outages may not count, the newest first."""
    return await newest_first(
        call, parameters, UptimeExclusion, "exclusion_id", rows.exclusions_before, parameters.station_id
    )


@post("/uptime/exclusions", Permission.WRITE_MAINTENANCE, status=201, problems=(404,))
async def add_uptime_exclusion(call: Call, body: NewExclusion) -> UptimeExclusion:
    """Record why an outage may not count. Which causes a definition leaves out, and how much of them, is its own."""
    if body.to_ms <= body.from_ms:
        raise ApiError(400, "to_ms must be after from_ms")
    existing("station", await call.run(stations.find, body.station_id))
    values = msgspec.structs.asdict(body) | {"added_by": call.caller.id[:200], "added_ms": call.now_ms}
    return shown(await call.run(rows.add_exclusion, **values), UptimeExclusion)


@delete("/uptime/exclusions/{exclusion_id}", Permission.WRITE_MAINTENANCE, problems=(404,))
async def delete_uptime_exclusion(call: Call, exclusion_id: RowNumber) -> None:
    """Delete a time in which outages may not count; the audit log keeps it."""
    await call.remove(
        "exclusion",
        lambda connection: rows.exclusion(connection, exclusion_id),
        lambda connection, _: rows.drop_exclusion(connection, exclusion_id),
    )


def _definitions(call: Call) -> dict[str, UptimeRules]:
    return {**PRESETS, **{each.name: each for each in call.services.config.uptime}}


def _asked(call: Call, parameters: WhichUptime) -> tuple[UptimeRules, TimeSpan]:
    known = _definitions(call)
    rules = known.get(parameters.rules)
    if rules is None:
        raise ApiError(404, f"no definition {parameters.rules[:40]!r}", f"there are {', '.join(known)}")
    to_ms = min(call.now_ms, parameters.to_ms or call.now_ms)
    from_ms = to_ms - rules.days * DAY_MS if parameters.from_ms is None else parameters.from_ms
    if to_ms <= from_ms:
        raise ApiError(400, "to_ms must be after from_ms, which must be past")
    return rules, TimeSpan(max(0, from_ms), to_ms)


def _connected(call: Call) -> tuple[Collection[str], int]:
    return call.services.connections.connected(), call.now_ms


def _read(
    connection: Connection,
    rules: UptimeRules,
    period: TimeSpan,
    names: Sequence[str],
    blind: Sequence[TimeSpan],
    connected: Collection[str],
    now_ms: int,
) -> list[tuple[str, int, Uptime]]:
    """Return the uptime of all EVSEs of stations, by station and EVSE; computed beside the loop, for it takes long."""
    found: list[tuple[str, int, Uptime]] = []
    for past in rows.pasts(connection, names, period, connected, now_ms):
        for evse_id, history in sorted(past.history.items()):
            left_out = [*past.exclusions.get(0, ()), *past.exclusions.get(evse_id, ())]
            charged = past.sessions.get(evse_id, ())
            known = uptime(rules, period, history, past.absences, left_out, blind, charged)
            found.append((past.station_id, evse_id, known))
    return found


def _charged_percent(attempts: int, charged: int) -> str | None:
    return percent(Fraction(charged, attempts) if attempts else None)


def _shown(
    rules: UptimeRules, station_id: str, evse_id: int, found: Uptime, attempts: int, charged: int
) -> UptimeOfEvse:
    share = found.share
    counting = [each.counts_ms for each in found.outages if each.counts_ms]
    return UptimeOfEvse(
        station_id=station_id,
        evse_id=evse_id,
        percent=percent(share),
        reaches_target=None if share is None else share >= Fraction(str(rules.target_percent)) / 100,
        known_ms=found.known_ms,
        outage_ms=found.outage_ms,
        excluded_ms=found.excluded_ms,
        hours_between=round((found.known_ms - found.outage_ms) / len(counting) / HOUR_MS, 3) if counting else None,
        hours_of=round(sum(counting) / len(counting) / HOUR_MS, 3) if counting else None,
        attempts=attempts,
        charged=charged,
        charged_percent=_charged_percent(attempts, charged),
        outages=found.outages,
    )
