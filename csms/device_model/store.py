"""The mirror of stations' device models, and their network profiles."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    false,
    select,
    text,
    update,
)

from csms.db.base import metadata
from csms.db.bulk import upsert_rows
from csms.device_model.rules import Limit

device_variables: Final = Table(
    "device_variables",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("component", String(50), primary_key=True),
    Column("component_instance", String(50), primary_key=True),  # "": none, here and below; evse_id 0: the station's
    Column("evse_id", Integer, primary_key=True, autoincrement=False),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("variable", String(50), primary_key=True),
    Column("variable_instance", String(50), primary_key=True),
    Column("attribute", String(6), primary_key=True),
    Column("value", Text),
    Column("value_ms", BigInteger),
    Column("after_reboot", Text),  # takes effect when the station boots (B05, RebootRequired)
    Column("mutability", String(9), nullable=False, default="", server_default=""),
    Column("constant", Boolean, nullable=False, default=False, server_default=false()),
    Column("persistent", Boolean, nullable=False, default=False, server_default=false()),
    Column("data_type", String(12), nullable=False, default="", server_default=""),
    Column("unit", String(16), nullable=False, default="", server_default=""),
    Column("min_limit", Float),
    Column("max_limit", Float),
    Column("values_list", Text, nullable=False, default="", server_default=""),
    Column("supports_monitoring", Boolean, nullable=False, default=False, server_default=false()),
    Index(
        "ix_device_variables_temperature",
        "station_id",
        sqlite_where=text("variable = 'Temperature' AND attribute = 'Actual'"),  # and in PostgreSQL
    ),
)

network_profiles: Final = Table(
    "network_profiles",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("set_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("document", Text, nullable=False),  # without passwords and keys
)


def save(connection: Connection, station_id: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Store reported variables; return how many attributes. `rows` may have different columns."""
    groups: dict[tuple[str, ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
    count = 0
    for row in rows:
        values = {"station_id": station_id, **row}
        key = tuple(values[column.name] for column in device_variables.primary_key)
        groups.setdefault(tuple(values), {})[key] = values  # the last value counts
        count += 1
    for group in groups.values():
        upsert_rows(connection, device_variables, list(group.values()))
    return count


def notice(connection: Connection, station_id: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Store values reported by events, for known variables only: events alone do not create a model."""
    for row in rows:
        names = ("component", "component_instance", "evse_id", "connector_id", "variable", "variable_instance")
        key = device_variables.c.station_id == station_id
        for name in (*names, "attribute"):
            key &= device_variables.c[name] == row[name]
        values = {"value": row["value"], "value_ms": row["value_ms"]}
        connection.execute(update(device_variables).where(key).values(**values))


def rebooted(connection: Connection, boots: Sequence[tuple[str, int]]) -> list[bool]:
    """Apply values that were set to take effect after a reboot; return the stations with a known model.

    `boots`: stations, and the time (UTC ms) of their boot; values stored at the same time count as set before.
    """
    table, here = device_variables, device_variables.c.station_id.in_({station_id for station_id, _ in boots})
    now_ms = max(at_ms for _, at_ms in boots)
    values = {"value": table.c.after_reboot, "value_ms": now_ms, "after_reboot": None}
    connection.execute(update(table).where(here & table.c.after_reboot.is_not(None)).values(**values))
    known = set(connection.execute(select(table.c.station_id).where(here).distinct()).scalars())
    return [station_id in known for station_id, _ in boots]


def forget(connection: Connection, station_id: str) -> None:
    """Delete a station's device model, before it is reported again."""
    connection.execute(delete(device_variables).where(device_variables.c.station_id == station_id))


def list_variables(
    connection: Connection, station_id: str, component: str | None = None, variable: str | None = None
) -> list[dict[str, Any]]:
    """Return the mirror of a station, or of one component or variable of it, in the order of names."""
    table = device_variables
    query = select(table).where(table.c.station_id == station_id).order_by(*table.primary_key)
    if component is not None:
        query = query.where(table.c.component == component)
    if variable is not None:
        query = query.where(table.c.variable == variable)
    return [dict(row._mapping) for row in connection.execute(query)]


def phases_of_evses(
    connection: Connection, station_id: str, evse_ids: Collection[int]
) -> dict[int, tuple[tuple[int, ...], bool]]:
    """Return for EVSEs the grid's phases (0 to 2) of their own L1 to L3, empty if their station does not say it
    (PhaseRotation), and whether they can choose the phase of a vehicle (ACPhaseSwitchingSupported)."""
    table = device_variables.c
    query = select(table.evse_id, table.connector_id, table.variable, table.value).where(
        (table.station_id == station_id)
        & (table.attribute == "Actual")
        & table.variable.in_(("PhaseRotation", "ACPhaseSwitchingSupported"))
    )
    rotations: dict[int, tuple[int, ...]] = {}
    selects: dict[int, bool] = {}
    for row in connection.execute(query.order_by(table.connector_id.desc())):
        if row.variable == "PhaseRotation" and sorted(str(row.value)) == ["R", "S", "T"]:
            rotations[row.evse_id] = tuple("RST".index(letter) for letter in row.value)
        elif row.variable == "ACPhaseSwitchingSupported":
            selects[row.evse_id] = row.value == "true"
    return {
        evse_id: (rotations.get(evse_id, rotations.get(0, ())), selects.get(evse_id, selects.get(0, False)))
        for evse_id in evse_ids
    }


def external_ids(connection: Connection, stations: Sequence[str]) -> list[int]:
    """Return the highest profile id that each station reserves for external constraints, 0 for none."""
    table = device_variables.c
    rows = connection.execute(
        select(table.station_id, table.value).where(
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


def limit_of(connection: Connection, station_id: str, action: str) -> Limit:
    """Return the size limits for a request of this action to a station, as far as reported."""
    table = device_variables
    query = select(table.c.variable, table.c.value).where(
        (table.c.station_id == station_id)
        & (table.c.component == "DeviceDataCtrlr")
        & (table.c.variable_instance == action)
        & (table.c.attribute == "Actual")
    )
    reported = {row.variable: int(row.value) for row in connection.execute(query) if (row.value or "").isdecimal()}
    return Limit(reported.get("ItemsPerMessage"), reported.get("BytesPerMessage"))


def slots_in_use(connection: Connection, station_id: str) -> frozenset[str]:
    """Return the network configuration slots that a station uses, as far as reported."""
    (found, *_) = [*list_variables(connection, station_id, "OCPPCommCtrlr", "NetworkConfigurationPriority"), None]
    return frozenset((found["value"] or "").replace(" ", "").split(",")) if found else frozenset()


def save_profile(connection: Connection, station_id: str, slot: int, status: str, document: bytes, now_ms: int) -> None:
    """Store the network profile offered for a slot, and the station's answer; an accepted one stays."""
    columns = {"status": status, "document": document.decode(), "set_ms": now_ms}
    upsert_rows(connection, network_profiles, [{"station_id": station_id, "slot": slot, **columns}])


def list_profiles(connection: Connection, station_id: str) -> list[dict[str, Any]]:
    """Return the network profiles that a station has accepted."""
    query = (
        select(network_profiles).where(network_profiles.c.station_id == station_id).order_by(network_profiles.c.slot)
    )
    return [dict(row._mapping) for row in connection.execute(query)]
