"""The keys that seal telemetry, themselves sealed by the store key."""

import msgspec
from sqlalchemy import Connection, select, text

from csms.db.tables import telemetry_keys


class TelemetryKey(msgspec.Struct, frozen=True):
    """A key: its number, when it was made (UTC), and its sealed octets."""

    number: int
    made_ms: int
    sealed: str


def list_all(connection: Connection) -> list[TelemetryKey]:
    """Return all keys, the oldest first."""
    rows = connection.execute(select(telemetry_keys).order_by(telemetry_keys.c.number))
    return [TelemetryKey(row.number, row.made_ms, row.sealed) for row in rows]


def add(connection: Connection, key: TelemetryKey) -> None:
    """Store a key, unless another node was faster."""
    statement = "INSERT INTO telemetry_keys (number, made_ms, sealed) VALUES (:number, :made_ms, :sealed)"
    connection.execute(text(f"{statement} ON CONFLICT DO NOTHING"), msgspec.structs.asdict(key))
