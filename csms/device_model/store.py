"""The mirror of stations' device models, and their network profiles."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa

from csms.db.base import declare_table
from csms.db.bulk import upsert_rows
from csms.device_model.rules import Limit
from v2g.typed_json import Fields

device_variables: Final = declare_table(
    "device_variables",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("component", sa.String(50), primary_key=True),
    sa.Column(
        "component_instance", sa.String(50), primary_key=True
    ),  # "": none, here and below; evse_id 0: the station's
    sa.Column("evse_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("connector_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("variable", sa.String(50), primary_key=True),
    sa.Column("variable_instance", sa.String(50), primary_key=True),
    sa.Column("attribute", sa.String(6), primary_key=True),
    sa.Column("value", sa.Text),
    sa.Column("value_ms", sa.BigInteger),
    sa.Column("after_reboot", sa.Text),  # takes effect when the station boots (B05, RebootRequired)
    sa.Column("mutability", sa.String(9), nullable=False, default="", server_default=""),
    sa.Column("constant", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("persistent", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("data_type", sa.String(12), nullable=False, default="", server_default=""),
    sa.Column("unit", sa.String(16), nullable=False, default="", server_default=""),
    sa.Column("min_limit", sa.Float),
    sa.Column("max_limit", sa.Float),
    sa.Column("values_list", sa.Text, nullable=False, default="", server_default=""),
    sa.Column("supports_monitoring", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Index(
        "ix_device_variables_temperature",
        "station_id",
        sqlite_where=sa.text("variable = 'Temperature' AND attribute = 'Actual'"),  # and in PostgreSQL
    ),
)

network_profiles: Final = declare_table(
    "network_profiles",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("set_ms", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("document", sa.Text, nullable=False),  # without passwords and keys
)


def save(connection: sa.Connection, station_id: str, rows: Iterable[Mapping[str, object]]) -> int:
    """Store reported variables; return how many attributes. `rows` may have different columns."""
    groups: dict[tuple[str, ...], dict[tuple[object, ...], dict[str, object]]] = {}
    count = 0
    for row in rows:
        values = {"station_id": station_id, **row}
        key = tuple(values[column.name] for column in device_variables.primary_key)
        groups.setdefault(tuple(values), {})[key] = values  # the last value counts
        count += 1
    for group in groups.values():
        upsert_rows(connection, device_variables, list(group.values()))
    return count


def notice(connection: sa.Connection, station_id: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Store values reported by events, for known variables only: events alone do not create a model."""
    for row in rows:
        names = ("component", "component_instance", "evse_id", "connector_id", "variable", "variable_instance")
        key = device_variables.c.station_id == station_id
        for name in (*names, "attribute"):
            key &= device_variables.c[name] == row[name]
        values = {"value": row["value"], "value_ms": row["value_ms"]}
        connection.execute(sa.update(device_variables).where(key).values(**values))


def rebooted(connection: sa.Connection, boots: Sequence[tuple[str, int]]) -> list[bool]:
    """Apply values that were set to take effect after a reboot; return the stations with a known model.

    `boots`: stations, and the time (UTC ms) of their boot; values stored at the same time count as set before.
    """
    table, here = device_variables, device_variables.c.station_id.in_({station_id for station_id, _ in boots})
    now_ms = max(at_ms for _, at_ms in boots)
    values = {"value": table.c.after_reboot, "value_ms": now_ms, "after_reboot": None}
    connection.execute(sa.update(table).where(here & table.c.after_reboot.is_not(None)).values(**values))
    known = set(connection.execute(sa.select(table.c.station_id).where(here).distinct()).scalars())
    return [station_id in known for station_id, _ in boots]


def list_variables(
    connection: sa.Connection, station_id: str, component: str | None = None, variable: str | None = None
) -> list[Fields]:
    """Return the mirror of a station, or of one component or variable of it, in the order of names."""
    table = device_variables
    query = sa.select(table).where(table.c.station_id == station_id).order_by(*table.primary_key)
    if component is not None:
        query = query.where(table.c.component == component)
    if variable is not None:
        query = query.where(table.c.variable == variable)
    return [dict(row._mapping) for row in connection.execute(query)]


class EvseFeed(NamedTuple):
    """The grid's phases (0 to 2) of an EVSE's own L1 to L3, empty if its station does not say it (PhaseRotation);
    whether it can choose the phase of a vehicle (ACPhaseSwitchingSupported), and takes limits in W only (RateUnit)."""

    rotation: tuple[int, ...] = ()
    selects_phase: bool = False
    in_watts: bool = False


def feeds_of_evses(connection: sa.Connection, station_id: str, evse_ids: Collection[int]) -> dict[int, EvseFeed]:
    """Return what a station says of how its EVSEs are fed."""
    table = device_variables.c
    query = sa.select(table.evse_id, table.connector_id, table.variable, table.value).where(
        (table.station_id == station_id)
        & (table.attribute == "Actual")
        & table.variable.in_(("PhaseRotation", "ACPhaseSwitchingSupported", "RateUnit"))
    )
    rotations: dict[int, tuple[int, ...]] = {}
    selects: dict[int, bool] = {}
    in_watts = False
    for row in connection.execute(query.order_by(table.connector_id.desc())):
        if row.variable == "PhaseRotation" and sorted(str(row.value)) == ["R", "S", "T"]:
            rotations[row.evse_id] = tuple("RST".index(letter) for letter in row.value)
        elif row.variable == "ACPhaseSwitchingSupported":
            selects[row.evse_id] = row.value == "true"
        elif row.variable == "RateUnit":
            in_watts = only_unit(row.value) == "W"
    return {
        evse_id: EvseFeed(
            rotations.get(evse_id, rotations.get(0, ())), selects.get(evse_id, selects.get(0, False)), in_watts
        )
        for evse_id in evse_ids
    }


def only_unit(units: str | None) -> Literal["A", "W"] | None:
    """Return the unit of limits that a RateUnit names, None if it names both, or neither."""
    said = {word.strip() for word in (units or "").split(",")}
    return None if {"A", "W"} <= said else "A" if "A" in said else "W" if "W" in said else None


def external_ids(connection: sa.Connection, stations: Sequence[str]) -> list[int]:
    """Return the highest profile id that each station reserves for external constraints, 0 for none."""
    table = device_variables.c
    rows = connection.execute(
        sa.select(table.station_id, table.value).where(
            table.station_id.in_(stations)
            & (table.component == "SmartChargingCtrlr")
            & (table.variable == "MaxExternalConstraintsId")
        )
    )
    found: dict[str, int] = {}
    for row in rows:
        if str(row.value).isdecimal():
            found[row.station_id] = max(int(row.value), found.get(row.station_id, 0))
    return [found.get(each, 0) for each in stations]


def limit_of(connection: sa.Connection, station_id: str, action: str) -> Limit:
    """Return the size limits for a request of this action to a station, as far as reported."""
    table = device_variables
    query = sa.select(table.c.variable, table.c.value).where(
        (table.c.station_id == station_id)
        & (table.c.component == "DeviceDataCtrlr")
        & (table.c.variable_instance == action)
        & (table.c.attribute == "Actual")
    )
    reported = {row.variable: int(row.value) for row in connection.execute(query) if (row.value or "").isdecimal()}
    return Limit(reported.get("ItemsPerMessage"), reported.get("BytesPerMessage"))


def slots_in_use(connection: sa.Connection, station_id: str) -> frozenset[str]:
    """Return the network configuration slots that a station uses, as far as reported."""
    (found, *_) = [*list_variables(connection, station_id, "OCPPCommCtrlr", "NetworkConfigurationPriority"), None]
    return frozenset((found["value"] or "").replace(" ", "").split(",")) if found else frozenset()


def save_profile(
    connection: sa.Connection, station_id: str, slot: int, status: str, document: bytes, now_ms: int
) -> None:
    """Store the network profile offered for a slot, and the station's answer; an accepted one stays."""
    columns = {"status": status, "document": document.decode(), "set_ms": now_ms}
    upsert_rows(connection, network_profiles, [{"station_id": station_id, "slot": slot, **columns}])


def list_profiles(connection: sa.Connection, station_id: str) -> list[Fields]:
    """Return the network profiles that a station has accepted."""
    query = (
        sa.select(network_profiles).where(network_profiles.c.station_id == station_id).order_by(network_profiles.c.slot)
    )
    return [dict(row._mapping) for row in connection.execute(query)]
