"""Attestation of stations: keys of their TPMs, and what they have proved last."""

from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, String, Text, delete, select, update

from csms.attestations.rules import Attested
from csms.db.base import AnyRow, declare_table
from csms.db.bulk import upsert_rows
from v2g import typed_json

attestations: Final = declare_table(
    "attestations",
    Column("station_id", String(48), primary_key=True),
    Column("tpm_key", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("verified_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)


def every(connection: Connection) -> list[Attested]:
    """Return all enrolled stations, by identity."""
    return [_read(row) for row in connection.execute(select(attestations).order_by(attestations.c.station_id))]


def find(connection: Connection, station_id: str) -> Attested | None:
    """Return an enrolled station."""
    row = connection.execute(select(attestations).where(attestations.c.station_id == station_id)).first()
    return None if row is None else _read(row)


def enrol(connection: Connection, one: Attested) -> None:
    """Store a station, replacing what was known of it."""
    upsert_rows(connection, attestations, [_row(one)])


def save(connection: Connection, before: Attested, after: Attested) -> bool:
    """Store what has become of a station; False if another node was faster, or it was enrolled anew."""
    there = attestations.c
    same = (
        (there.station_id == before.station_id)
        & (there.tpm_key == before.tpm_key)
        & (there.nonce == before.nonce)
        & (there.asked_ms == before.asked_ms)
    )
    return connection.execute(update(attestations).where(same).values(**_row(after))).rowcount > 0


def remove(connection: Connection, station_id: str) -> bool:
    """Delete a station; False when it is unknown."""
    return connection.execute(delete(attestations).where(attestations.c.station_id == station_id)).rowcount > 0


def not_whole(connection: Connection) -> dict[str, str]:
    """Return the enrolled stations that have not proved to be whole, each with a reason."""
    rows = connection.execute(select(attestations).where(attestations.c.state != "Whole"))
    return {one.station_id: (one.reasons or ("nothing yet",))[0] for one in map(_read, rows)}


def _row(one: Attested) -> dict[str, object]:
    return msgspec.structs.asdict(one) | {"reasons": msgspec.json.encode(one.reasons).decode()}


def _read(row: AnyRow) -> Attested:
    return Attested(**{**row._mapping, "reasons": typed_json.decode(row.reasons, tuple[str, ...])})
