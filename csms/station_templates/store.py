"""Configuration templates, and where stations differ from them, since when."""

from collections.abc import Collection
from typing import Final

import msgspec
import sqlalchemy as sa

from csms.db.base import declare_table, page
from csms.db.bulk import delete_many, upsert_rows
from csms.db.documents import Documents
from csms.device_model.rules import VariableKey
from csms.device_model.store import device_variables
from csms.sites import store as site_store
from csms.sites.rules import site_of_stations
from csms.station_templates.rules import StationTemplate, TemplateBody, drift, place_of
from csms.stations.tables import stations
from v2g import typed_json
from v2g.typed_json import Fields

station_templates: Final = declare_table(
    "station_templates",
    sa.Column("template_id", sa.String(60), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

template_drift: Final = declare_table(
    "template_drift",
    sa.Column("template_id", sa.String(60), primary_key=True),
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("place", sa.String(240), primary_key=True),  # component, variable and attribute, with instances
    sa.Column("wanted", sa.Text, nullable=False),
    sa.Column("actual", sa.Text),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "station_id"),
)
"""What stations have otherwise than their templates want, since it was seen first."""

_FEW: Final = 500


_templates: Final = Documents(station_templates, typed_json.decoder(StationTemplate).decode)

template = _templates.find
templates = _templates.all


def save_template(connection: sa.Connection, template_id: str, wanted: TemplateBody) -> None:
    """Store a template: with another version unless it is as before. Raises as `TemplateBody.check`."""
    wanted.check()
    before = template(connection, template_id)
    version = before.version if before is not None else 1
    new = StationTemplate(id=template_id, version=version, **msgspec.structs.asdict(wanted))
    if new != before:
        new = msgspec.structs.replace(new, version=version + (before is not None))
        _templates.save(connection, template_id, new)


def remove_template(connection: sa.Connection, template_id: str) -> None:
    """Delete a template, and where stations differ from it."""
    for table in (station_templates, template_drift):
        connection.execute(sa.delete(table).where(table.c.template_id == template_id))


def group(connection: sa.Connection, of: StationTemplate) -> list[str]:
    """Return the stations that a template is for, of those that have connected, by identity."""
    site_of = site_of_stations(site_store.all_sites(connection))
    column = stations.c
    rows = connection.execute(
        sa.select(column.station_id, column.vendor, column.model).order_by(column.station_id)
    ).all()
    return [each for each, vendor, model in rows if of.fits(each, site_of.get(each, ""), f"{vendor} {model}".strip())]


def stale(connection: sa.Connection, of: StationTemplate, names: Collection[str], before_ms: int) -> list[str]:
    """Return those of these stations whose values that a template names were reported before a time, or never."""
    found = _reported(connection, of, names)
    keys = {each.key.lowered for each in of.values}
    return [
        name
        for name in sorted(names)
        if any(key not in (own := found.get(name, {})) or (own[key][2] or 0) < before_ms for key in keys)
    ]


def compare(connection: sa.Connection, of: StationTemplate, now_ms: int) -> tuple[list[str], list[str]]:
    """Store where stations differ from a template, as they reported; return those that do now and did not, and those
    that did and do not any more."""
    names = group(connection, of)
    reported = _reported(connection, of, names)
    there = template_drift.c
    own = there.template_id == of.id
    before = {(row.station_id, row.place): row for row in connection.execute(sa.select(template_drift).where(own))}
    now: dict[tuple[str, str], dict[str, object]] = {}
    for name in names:
        known = {key: (value, coming) for key, (value, coming, _) in reported.get(name, {}).items()}
        for each in drift(of.values, known):
            key = {"template_id": of.id, "station_id": name, "place": place_of(each.key)}
            old = before.get((name, key["place"]))
            since_ms = now_ms if old is None else old.since_ms
            values = {"wanted": each.wanted, "actual": each.actual, "state": each.state, "since_ms": since_ms}
            now[name, key["place"]] = key | values
    gone = [{"template_id": of.id, "station_id": name, "place": place} for name, place in before.keys() - now.keys()]
    delete_many(connection, template_drift, gone)
    changed = [row for key, row in now.items() if key not in before or row != dict(before[key]._mapping)]
    upsert_rows(connection, template_drift, changed)
    differ, did = {name for name, _ in now}, {name for name, _ in before}
    return sorted(differ - did), sorted(did - differ)


def _reported(
    connection: sa.Connection, of: StationTemplate, names: Collection[str]
) -> dict[str, dict[VariableKey, tuple[str | None, str | None, int | None]]]:
    """Return what stations reported of the variables of a template, by lowered keys: value, that after a boot, and
    when."""
    column = device_variables.c
    keys = [each.key.lowered for each in of.values]
    wanted = sa.and_(
        sa.func.lower(column.component).in_({each.component for each in keys}),
        sa.func.lower(column.variable).in_({each.variable for each in keys}),
    )
    found: dict[str, dict[VariableKey, tuple[str | None, str | None, int | None]]] = {}
    every = sorted(names)
    for at in range(0, len(every), _FEW):
        query = sa.select(device_variables).where(wanted, column.station_id.in_(every[at : at + _FEW]))
        query = query.order_by(column.value_ms.nulls_first())  # of several spellings the last report counts
        for row in connection.execute(query):
            key = VariableKey(*(getattr(row, name) for name in VariableKey.__struct_fields__))
            found.setdefault(row.station_id, {})[key.lowered] = row.value, row.after_reboot, row.value_ms
    return found


def differing_stations(connection: sa.Connection) -> dict[str, int]:
    """Return how many stations differ, by template; those without any are left out."""
    there = template_drift.c
    query = sa.select(there.template_id, sa.func.count(there.station_id.distinct())).group_by(there.template_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def differing(
    connection: sa.Connection,
    after: tuple[str, str, str] | None = None,
    limit: int = 100_000,
    template_id: str | None = None,
    station_id: str | None = None,
) -> list[Fields]:
    """Return where stations differ, of a template and of a station if given, by template, station and variable."""
    there = template_drift.c
    query = page(
        sa.select(template_drift), (there.template_id, there.station_id, there.place), after, limit, rising=True
    )
    for column, value in ((there.template_id, template_id), (there.station_id, station_id)):
        query = query if value is None else query.where(column == value)
    return [dict(row._mapping) for row in connection.execute(query)]
