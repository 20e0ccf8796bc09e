"""What alert rules observe in the database: the same from every node."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from sqlalchemy import Connection, exists, func, select, union_all

from csms.admission.store import admissions
from csms.alerts import store as alert_mails
from csms.alerts.rules import Observed, Rule, RuleName
from csms.attestations.store import attestations
from csms.batteries.tables import battery_checks
from csms.db.base import AnySelect
from csms.db.leases import leases
from csms.device_model.store import device_variables
from csms.firmware.store import campaign_members, campaigns
from csms.roaming.tables import roaming_deliveries, roaming_objects, roaming_partners
from csms.session_metrics import store as session_metrics
from csms.settlements.tables import journal_reviews
from csms.sites.store import sites
from csms.station_security.store import station_certificates
from csms.stations.tables import connectors, stations
from csms.telemetry import store as telemetry_pending
from csms.telemetry.tables import telemetry_states
from csms.transactions.tables import held_transactions
from csms.webhooks.tables import webhook_deliveries
from v2g.units import DAY_MS

NODE: Final = "node "
"""Beginning of the name of a lease by which a node shows that it lives."""

_GONE_MS: Final = 7 * DAY_MS
"""A node that has been away for longer is no more."""

_ENDS: Final = "station_certificate_ends"
"""The more severe rule of certificates, which stands instead of the other one."""

_MOST: Final = 10_000
"""Subjects that one rule observes."""


class Seen(NamedTuple):
    """What rules observe, and the sites and nodes that exist."""

    values: dict[RuleName, list[Observed]]
    sites: set[str]
    nodes: set[str]


def observe(connection: Connection, now_ms: int, rules: Mapping[RuleName, Rule]) -> Seen:
    """Return what rules observe now that may be an alert or end one; other subjects have none."""
    expires, last = _certificates(connection, rules["station_certificate_expires"], now_ms), rules[_ENDS].limit
    values: dict[RuleName, list[Observed]] = {
        "station_offline": _since(connection, _offline(_before(rules, "station_offline", now_ms)), now_ms),
        "station_faulted": _since(connection, _faulted(), now_ms),
        "station_not_attested": _since(connection, _not_attested(), now_ms),
        "over_temperature": _hottest(connection, rules["over_temperature"]),
        "station_drifts": _worn(connection, "drift", rules["station_drifts"]),
        "station_differs": _worn(connection, "apart", rules["station_differs"]),
        "queue_ages": queues(connection, now_ms),
        "node_gone": _since(connection, _nodes(now_ms), now_ms),
        "station_certificate_expires": [each for each in expires if each.value > last or not rules[_ENDS].enabled],
        _ENDS: _certificates(connection, rules[_ENDS], now_ms),
        "money_quarantined": _quarantined(connection, now_ms),
        "vehicle_silent": _since(connection, _silent(_before(rules, "vehicle_silent", now_ms)), now_ms),
        "battery_unchecked": _since(connection, _unchecked(_before(rules, "battery_unchecked", now_ms)), now_ms),
        "campaign_halted": _halted(connection),
        "update_failed": _counted(connection, _failed_updates()),
        "partner_silent": _since(connection, _silent_partners(_before(rules, "partner_silent", now_ms)), now_ms),
        "cdrs_refused": _counted(connection, _refused_cdrs()),
        "cdrs_disputed": _counted(connection, _disputed_cdrs()),
        "cdr_missing": _since(connection, _unbilled(_before(rules, "cdr_missing", now_ms), now_ms), now_ms),
        "price_unpublished": _counted(connection, _unpublished()),
    }
    known = select(leases.c.node).where(leases.c.name.startswith(NODE, autoescape=True))
    nodes = known.where(leases.c.until_ms > now_ms - _GONE_MS)
    return Seen(
        values, set(connection.execute(select(sites.c.site_id)).scalars()), set(connection.execute(nodes).scalars())
    )


def _before(rules: Mapping[RuleName, Rule], name: RuleName, now_ms: int) -> int:
    return now_ms - round(1000 * rules[name].clear)


def _since(connection: Connection, query: AnySelect, now_ms: int) -> list[Observed]:
    """Return for how long (s) subjects have been in a state; rows are (subject, since ms)."""
    rows = connection.execute(query.limit(_MOST)).all()
    return [Observed(str(subject), max(0, now_ms - since) / 1000, {"since_ms": since}) for subject, since in rows]


def _offline(before_ms: int) -> AnySelect:
    """Stations that were accepted once, and that no operator has rejected since."""
    query = select(stations.c.station_id, stations.c.last_seen_ms)
    query = query.outerjoin(admissions, admissions.c.station_id == stations.c.station_id)
    accepted = stations.c.booted_ms.is_not(None) & (func.coalesce(admissions.c.boot, "") != "Rejected")
    return query.where(accepted, stations.c.last_seen_ms < before_ms).order_by(stations.c.station_id)


def _faulted() -> AnySelect:
    at = func.min(connectors.c.changed_ms)
    query = select(connectors.c.station_id, at).where(connectors.c.status == "Faulted")
    return query.group_by(connectors.c.station_id).order_by(connectors.c.station_id)


def _not_attested() -> AnySelect:
    bad = attestations.c.state.in_(["Failed", "Silent"])
    query = select(attestations.c.station_id, attestations.c.changed_ms).where(bad)
    return query.order_by(attestations.c.station_id)


def _nodes(now_ms: int) -> AnySelect:
    here = leases.c.name.startswith(NODE, autoescape=True)
    query = select(leases.c.node, leases.c.until_ms).where(here, leases.c.until_ms < now_ms)
    return query.where(leases.c.until_ms > now_ms - _GONE_MS).order_by(leases.c.node)


def _silent(before_ms: int) -> AnySelect:
    query = select(telemetry_states.c.ev, telemetry_states.c.at_ms).where(telemetry_states.c.at_ms < before_ms)
    return query.order_by(telemetry_states.c.ev)


def _unchecked(before_ms: int) -> AnySelect:
    """Vehicles whose batteries are checked against references, but no more."""
    last = func.max(battery_checks.c.at_ms)
    query = select(battery_checks.c.ev, last).where(battery_checks.c.kind == "reference").group_by(battery_checks.c.ev)
    return query.having(last < before_ms).order_by(battery_checks.c.ev)


def _hottest(connection: Connection, rule: Rule) -> list[Observed]:
    """Return the highest temperature that each station's device model has; a value that is no number is none."""
    column = device_variables.c
    query = select(column.station_id, column.component, column.evse_id, column.value, column.unit)
    query = query.where(column.variable == "Temperature", column.attribute == "Actual", column.value.is_not(None))
    found: dict[str, Observed] = {}
    for row in connection.execute(query):
        celsius = _celsius(row.value, row.unit)
        before = found.get(row.station_id)
        if celsius is not None and celsius > rule.clear and (before is None or celsius > before.value):
            found[row.station_id] = Observed(row.station_id, celsius, {"evse": float(row.evse_id)})
    return [found[each] for each in sorted(found)][:_MOST]


def _worn(connection: Connection, what: Literal["drift", "apart"], rule: Rule) -> list[Observed]:
    found = session_metrics.beyond(connection, what, rule.clear, _MOST)
    return [Observed(station_id, judged.value, judged.facts) for station_id, judged in found]


def _celsius(value: str, unit: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    if unit.lower().startswith("f"):
        number = (number - 32) / 1.8
    elif unit in ("K", "Kelvin"):
        number -= 273.15
    return number if abs(number) < 10_000 else None  # NaN compares false


def queues(connection: Connection, now_ms: int) -> list[Observed]:
    """Return how long (s) the oldest part of each queue has waited."""
    waiting = {f"telemetry {name}"[:64]: since for name, (_, since) in telemetry_pending.backlogs(connection).items()}
    due = webhook_deliveries.c
    if (
        since := connection.execute(select(func.min(due.created_ms)).where(due.due_ms.is_not(None))).scalar()
    ) is not None:
        waiting["webhooks"] = since
    if (since := alert_mails.oldest(connection)) is not None:
        waiting["e-mails"] = since
    return [Observed(name, max(0, now_ms - since) / 1000) for name, since in sorted(waiting.items())]


def _certificates(connection: Connection, rule: Rule, now_ms: int) -> list[Observed]:
    """Return the days until the newest certificate of a station, of each kind, expires, the fewest of each station."""
    column = station_certificates.c
    newest = select(column.station_id, column.kind, func.max(column.until_ms).label("until_ms"))
    newest = newest.where(column.status.in_(["Accepted", "Used"])).group_by(column.station_id, column.kind)
    one = newest.subquery()
    least = select(one.c.station_id, func.min(one.c.until_ms).label("until_ms")).group_by(one.c.station_id)
    near = least.having(func.min(one.c.until_ms) < now_ms + rule.clear * DAY_MS).order_by(one.c.station_id)
    rows = connection.execute(near.limit(_MOST)).all()
    return [Observed(row.station_id, (row.until_ms - now_ms) / DAY_MS, {"until_ms": row.until_ms}) for row in rows]


def _quarantined(connection: Connection, now_ms: int) -> list[Observed]:
    """Return how many journals and transactions of each station are in quarantine."""
    tables = (journal_reviews, held_transactions)
    both = union_all(
        *(select(each.c.station_id, each.c.since_ms).where(each.c.state == "quarantined") for each in tables)
    ).subquery()
    query = select(both.c.station_id, func.count().label("number"), func.min(both.c.since_ms).label("since_ms"))
    query = query.group_by(both.c.station_id).order_by(both.c.station_id)
    rows = connection.execute(query.limit(_MOST)).all()
    return [Observed(row.station_id, row.number, {"oldest_s": max(0, now_ms - row.since_ms) / 1000}) for row in rows]


def _halted(connection: Connection) -> list[Observed]:
    query = select(campaigns.c.campaign_id).where(campaigns.c.state.in_(["Halted", "RollingBack"]))
    numbers = connection.execute(query.order_by(campaigns.c.campaign_id).limit(_MOST)).scalars()
    return [Observed(str(each), 1.0) for each in numbers]


def _failed_updates() -> AnySelect:
    """Stations that failed and are not back, by campaign; a cancelled campaign has been dealt with."""
    stuck = (campaign_members.c.state == "Failed") & (campaign_members.c.trouble != "")
    return (
        select(campaign_members.c.campaign_id, func.count())
        .join(campaigns, campaigns.c.campaign_id == campaign_members.c.campaign_id)
        .where(stuck, campaigns.c.state != "Cancelled")
        .group_by(campaign_members.c.campaign_id)
    )


def _silent_partners(before_ms: int) -> AnySelect:
    """Registered partners: we have a token of theirs, and they have been heard."""
    column = roaming_partners.c
    query = select(column.partner_id, column.seen_ms).where(column.sealed_token != "", column.seen_ms < before_ms)
    return query.order_by(column.partner_id)


def _refused_cdrs() -> AnySelect:
    column = roaming_deliveries.c
    query = select(column.partner_id, func.count()).where(column.module == "cdrs", column.attempts > 0)
    return query.group_by(column.partner_id).order_by(column.partner_id)


def _disputed_cdrs() -> AnySelect:
    column = roaming_objects.c
    query = select(column.owner, func.count()).where(column.module == "cdrs", column.state == "disputed")
    return query.group_by(column.owner).order_by(column.owner)


def _unbilled(before_ms: int, now_ms: int) -> AnySelect:
    """Partners with sessions of our drivers that ended, with energy, and have no CDR; one may name no session, but
    its token: each way has an index of its own."""
    session, cdr = roaming_objects.c, roaming_objects.alias().c
    theirs = (cdr.owner == session.owner) & (cdr.module == "cdrs")
    named = exists().where(theirs & (cdr.about == session.about))
    unnamed = exists().where(theirs & (cdr.alias == session.alias) & (cdr.about == ""))
    lately = (session.updated_ms > now_ms - 31 * DAY_MS) & (session.updated_ms < before_ms)
    query = select(session.owner, func.min(session.updated_ms)).where(
        session.owner.in_(select(roaming_partners.c.partner_id))
    )
    query = query.where(session.module == "sessions", lately, session.state == "ended", ~named, ~unnamed)
    return query.group_by(session.owner).order_by(session.owner)


def _unpublished() -> AnySelect:
    """EVSEs whose plan OCPI cannot say, by station."""
    column = roaming_objects.c
    query = select(column.about, func.count()).where(column.owner == "", column.module == "evses", column.detail != "")
    return query.group_by(column.about).order_by(column.about)


def _counted(connection: Connection, query: AnySelect) -> list[Observed]:
    """Return how many things subjects have; rows are (subject, number)."""
    return [Observed(str(subject), number) for subject, number in connection.execute(query.limit(_MOST))]
