"""States and estimates of batteries, sealed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, text

from csms.alerts import store as alerts
from csms.alerts.rules import Report
from csms.batteries.rules import Advanced, Battery, BatteryCheck, BatteryReport, report_of
from csms.batteries.tables import battery_checks, battery_estimates, battery_reports, battery_states
from csms.db.bulk import find_rows
from csms.telemetry.seal import TelemetrySeal, seal_of
from v2g import typed_json
from v2g.battery.scores import ScoreState
from v2g.typed_json import Fields

_PUT_STATE: Final = text(
    "INSERT INTO battery_states (ev, boot, seq, document, changes) VALUES (:ev, :boot, :seq, :document, :changes) "
    "ON CONFLICT (ev) DO UPDATE SET boot = excluded.boot, seq = excluded.seq, document = excluded.document, "
    "changes = excluded.changes"
)
_PUT_ESTIMATES: Final = text(
    "INSERT INTO battery_estimates (ev, at_ms, document) VALUES (:ev, :at_ms, :document) "
    "ON CONFLICT (ev, at_ms) DO UPDATE SET document = excluded.document"
)

_PUT_REPORT: Final = text(
    "INSERT INTO battery_reports (month, made_ms, document) VALUES (:month, :made_ms, :document) ON CONFLICT DO NOTHING"
)

_PLACE: Final = ("ev", "boot", "seq", "changes")

_encode: Final = msgspec.json.Encoder().encode
_battery = typed_json.decoder(Battery).decode
_check = typed_json.decoder(BatteryCheck).decode
_report = typed_json.decoder(BatteryReport).decode
_estimates = typed_json.decoder(dict[str, float]).decode


def batteries(connection: Connection, evs: Collection[str]) -> dict[str, Battery]:
    """Return the batteries of vehicles; those that are not known, or not understood any more, are missing."""
    found, seal = {}, seal_of(connection)
    for row in find_rows(connection, battery_states, (*_PLACE, "document"), [{"ev": ev} for ev in sorted(evs)]):
        document = seal.find(connection, row.document, "battery", row.ev)
        try:
            battery = _battery(document or b"")
        except msgspec.DecodeError:  # of another version, or its store key was lost: it begins anew here
            battery = Battery(row.boot, row.seq)
        found[row.ev] = msgspec.structs.replace(battery, changes=row.changes)
    return found


def scored(connection: Connection, evs: Collection[str] | None) -> dict[str, ScoreState]:
    """Return the scores of vehicles whose persons consent to them; `evs`: only of these."""
    if evs is None:
        evs = connection.execute(select(battery_states.c.ev)).scalars().all()
    return {ev: each.scores for ev, each in batteries(connection, evs).items() if each.scores is not None}


def save(
    connection: Connection, before: Mapping[str, Battery], after: Mapping[str, Advanced], now_ms: int
) -> bool | None:
    """Store batteries, their estimates, and alerts of what was found; return whether an alert has changed.

    None: a battery is not the one of `before` any more, and nothing was stored.
    """
    given = [{"ev": ev} for ev in sorted(after)]
    places = {row[0]: row[1:] for row in find_rows(connection, battery_states, _PLACE, given, for_update=True)}
    if places != {ev: (each.boot, each.seq, each.changes) for ev, each in before.items() if ev in after}:
        return None
    seal = seal_of(connection)
    states, estimates = [], []
    for ev, each in after.items():
        one = each.battery
        states.append(_row(seal, ev, one))
        for at_ms, values in each.estimates:
            document = seal.seal(_encode(values), "estimates", ev, at_ms)
            estimates.append({"ev": ev, "at_ms": at_ms, "document": document})
    if states:
        connection.execute(_PUT_STATE, states)
    if estimates:
        connection.execute(_PUT_ESTIMATES, estimates)
    return alerts.take(connection, [report for each in after.values() for report in each.reports], now_ms)


def _row(seal: TelemetrySeal, ev: str, one: Battery) -> dict[str, object]:
    document = seal.seal(_encode(one), "battery", ev)
    return {"ev": ev, "boot": one.boot, "seq": one.seq, "document": document, "changes": one.changes}


Checking = Callable[[Battery, BatteryCheck], tuple[Battery, BatteryCheck, Sequence[Report]]]


def check(connection: Connection, asked: BatteryCheck, act: Checking, now_ms: int) -> BatteryCheck:
    """Change a battery by a check, and store that with what it found, in one transaction. Raises what `act` raises."""
    ev, here = asked.ev, battery_states.c.ev == asked.ev
    connection.execute(select(battery_states.c.ev).where(here).with_for_update())  # what feeds it waits, reads again
    battery, done, reports = act(batteries(connection, [ev]).get(ev, Battery()), asked)
    seal = seal_of(connection)
    connection.execute(_PUT_STATE, [_row(seal, ev, battery)])
    document = seal.seal(_encode(done), "check", ev)
    values = {"ev": ev, "kind": done.kind, "at_ms": done.at_ms, "document": document}
    connection.execute(insert(battery_checks).values(**values))
    alerts.take(connection, reports, now_ms)
    return done


def checks(
    connection: Connection, span_ms: tuple[int, int], ev: str | None = None, limit: int | None = None
) -> list[BatteryCheck]:
    """Return checks, oldest first: from the first time to before the second; with a `limit` the newest ones."""
    at = battery_checks.c.at_ms
    query = select(battery_checks).where(at >= span_ms[0], at < span_ms[1])
    if ev is not None:
        query = query.where(battery_checks.c.ev == ev)
    rows = connection.execute(query.order_by(at.desc(), battery_checks.c.id.desc()).limit(limit)).all()
    seal = seal_of(connection)
    documents = [seal.find(connection, row.document, "check", row.ev) for row in reversed(rows)]
    return [_check(each) for each in documents if each is not None]


def make_report(
    connection: Connection, month: str, span_ms: tuple[int, int], apart_percent: float, now_ms: int
) -> BatteryReport | None:
    """Store the report of a month; None if another node has done so."""
    if connection.execute(select(battery_reports.c.month).where(battery_reports.c.month == month)).scalar() is not None:
        return None
    vehicles = connection.execute(select(func.count()).select_from(battery_states)).scalar_one()
    made = report_of(month, vehicles, checks(connection, span_ms), apart_percent)
    values = {"month": month, "made_ms": now_ms, "document": _encode(made)}
    stored = connection.execute(_PUT_REPORT, values).rowcount
    return made if stored else None


def reports(connection: Connection) -> list[BatteryReport]:
    """Return the reports of all months, newest first."""
    rows = connection.execute(select(battery_reports.c.document).order_by(battery_reports.c.month.desc()).limit(1200))
    return [_report(each) for each in rows.scalars()]


def estimates(
    connection: Connection, ev: str, span_ms: tuple[int, int], limit: int, after: tuple[int, ...] | None
) -> list[Fields]:
    """Return the estimates of a vehicle, oldest first: from the first time to before the second."""
    at = battery_estimates.c.at_ms
    query = select(battery_estimates).where(battery_estimates.c.ev == ev, at >= span_ms[0], at < span_ms[1])
    if after is not None:
        query = query.where(at > after[0])
    seal, found = seal_of(connection), []
    for row in connection.execute(query.order_by(at).limit(limit)).all():
        document = seal.find(connection, row.document, "estimates", ev, row.at_ms)
        found.append({"at_ms": row.at_ms, "values": {} if document is None else _estimates(document)})
    return found


def last_estimates(
    connection: Connection, evs: Sequence[str] | None, span_ms: tuple[int, int]
) -> dict[str, dict[str, float]]:
    """Return the last estimates of each vehicle from the first time to before the second; `evs`: only of these."""
    here, known = battery_estimates.c, battery_states.c
    there = (here.ev == known.ev) & (here.at_ms >= span_ms[0]) & (here.at_ms < span_ms[1])
    at_ms, document = (
        select(column).where(there).order_by(here.at_ms.desc()).limit(1).scalar_subquery().label(column.name)
        for column in (
            here.at_ms,
            here.document,
        )  # sought by index for each vehicle; for a join SQLite reads all of them
    )
    query = select(known.ev, at_ms, document)
    if evs is not None:
        query = query.where(known.ev.in_(evs))
    seal, found = seal_of(connection), {}
    for row in connection.execute(query):
        if row.at_ms is not None and (values := seal.find(connection, row.document, "estimates", row.ev, row.at_ms)):
            found[row.ev] = _estimates(values)
    return found


def erase(connection: Connection, ev: str) -> None:
    """Erase what is known of a vehicle's battery, with its alerts."""
    for table in (battery_states, battery_estimates, battery_checks):
        connection.execute(delete(table).where(table.c.ev == ev))
    alerts.erase(connection, ev)
