"""Security events (A04), certificates of the built-in authority (A02, A03), which station a charger is of."""

from typing import Final

import sqlalchemy as sa
from cryptography import x509

from csms.db.base import AnySelect, declare_table, page, row_id
from csms.station_security.rules import Charger
from csms.stations.tables import stations
from v2g.energy.settlement.canonical import sha256_hex
from v2g.errors import CertificateError
from v2g.pki.certificates import chain_to_pem, common_name, load_certificate
from v2g.units import WEEK_MS

security_events: Final = declare_table(
    "security_events",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("source", sa.String(8), nullable=False),  # "station", or "csms" for events of the back end
    sa.Column("type", sa.String(50), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("tech_info", sa.String(255), nullable=False, default="", server_default=""),
    sa.Column("times", sa.BigInteger, nullable=False, default=1, server_default="1"),
    sa.Column("last_ms", sa.BigInteger),  # of the last repetition
    sa.Index(None, "station_id", "at_ms"),
)

station_certificates: Final = declare_table(
    "station_certificates",
    sa.Column("serial", sa.String(40), primary_key=True),  # hex
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),  # CertificateSigningUseEnumType
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("issued_ms", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # Issued, Accepted, Rejected, Failed, Used
    sa.Column("pem", sa.Text, nullable=False),
    sa.Index(None, "station_id", "issued_ms"),
)

chargers: Final = declare_table(
    "chargers",
    sa.Column("digest", sa.String(64), primary_key=True),  # SHA-256 of the subject (DER), hex
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("station_id", sa.String(48), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Index(None, "station_id", "since_ms"),
)
"""Chargers by the subject of their certificates: each is of one station."""

enrolments: Final = declare_table(
    "enrolments",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("kind", sa.String(32), primary_key=True),  # CertificateSigningUseEnumType, or empty: combined
    sa.Column("csr", sa.Text, nullable=False),
    sa.Column("request_id", sa.BigInteger),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("due_ms", sa.BigInteger, nullable=False),  # of the next attempt
    sa.Column("chain", sa.Text, nullable=False),  # PEM, once it is issued
)


def add_event(
    connection: sa.Connection, station_id: str, source: str, kind: str, at_ms: int, received_ms: int, tech_info: str
) -> int:
    """Store a security event; return its number. `source` is `station` or `csms`."""
    made = connection.execute(
        sa.insert(security_events).values(
            station_id=station_id,
            source=source,
            type=kind,
            at_ms=at_ms,
            received_ms=received_ms,
            tech_info=tech_info[:255],
        )
    )
    number: int = made.inserted_primary_key[0]  # type: ignore[index]  # there is one
    return number


def count_event(connection: sa.Connection, number: int, times: int, last_ms: int) -> None:
    """Count repetitions of a security event."""
    table = security_events
    more = {"times": table.c.times + times, "last_ms": last_ms}
    connection.execute(sa.update(table).where(table.c.id == number).values(**more))


def list_events(
    connection: sa.Connection, after: tuple[int, int] | None = None, limit: int = 100, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return security events, newest first; of one station, or of all; those `after` a time and number."""
    query = page(sa.select(security_events), (security_events.c.at_ms, security_events.c.id), after, limit)
    if station_id is not None:
        query = query.where(security_events.c.station_id == station_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def add_certificate(connection: sa.Connection, /, serial: str, **columns: object) -> bool:
    """Store a certificate that is about to be delivered; False when its serial number is that of another station's."""
    known = connection.execute(
        sa.select(station_certificates.c.station_id).where(station_certificates.c.serial == serial)
    ).scalar()
    if known is None:
        connection.execute(sa.insert(station_certificates).values(serial=serial, **columns))
    return known in (None, columns["station_id"])


def set_certificate_status(connection: sa.Connection, serial: str, status: str) -> None:
    """Store the state of a certificate."""
    connection.execute(
        sa.update(station_certificates).where(station_certificates.c.serial == serial).values(status=status)
    )


def due(connection: sa.Connection, before_ms: int) -> list[tuple[str, str]]:
    """Return station and kind of accepted certificates that expire before a time and have not been renewed."""
    table = station_certificates
    query = (
        sa.select(table.c.station_id, table.c.kind)
        .where(table.c.status == "Accepted")
        .group_by(table.c.station_id, table.c.kind)
        .having(sa.func.max(table.c.until_ms) < before_ms)
        .order_by(table.c.station_id, table.c.kind)
    )
    return [(row.station_id, row.kind) for row in connection.execute(query)]


def expiring(
    connection: sa.Connection, after: tuple[int, str, str] | None = None, limit: int = 100
) -> list[dict[str, object]]:
    """Return the newest certificate of each kind of each station, the first to expire first; those `after` one."""
    one = _newest().subquery()
    query = page(sa.select(one), (one.c.until_ms, one.c.station_id, one.c.kind), after, limit, rising=True)
    return [dict(row._mapping) for row in connection.execute(query)]


def forecast(connection: sa.Connection, now_ms: int, weeks: int) -> list[tuple[int, str, int]]:
    """Return how many of the newest certificates expire in each of the next weeks: week (-1: before now), kind, number;
    those later are left out."""
    one = _newest().subquery()
    week = sa.case((one.c.until_ms < now_ms, -1), else_=(one.c.until_ms - now_ms) // WEEK_MS).label("week")
    query = sa.select(week, one.c.kind, sa.func.count()).where(one.c.until_ms < now_ms + weeks * WEEK_MS)
    return [(row[0], row[1], row[2]) for row in connection.execute(query.group_by(week, one.c.kind).order_by(week))]


def _newest() -> AnySelect:
    """Return the newest certificate that a station has accepted, or shown, of each kind."""
    column = station_certificates.c
    newest = sa.select(column.station_id, column.kind, sa.func.max(column.until_ms).label("until_ms"))
    return newest.where(column.status.in_(["Accepted", "Used"])).group_by(column.station_id, column.kind)


def list_certificates(
    connection: sa.Connection, after: tuple[int, str] | None = None, limit: int = 100, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return issued certificates, newest first; those `after` a time and serial number."""
    columns = station_certificates.c
    query = page(sa.select(station_certificates), (columns.issued_ms, columns.serial), after, limit)
    if station_id is not None:
        query = query.where(station_certificates.c.station_id == station_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def known(connection: sa.Connection, station_id: str, certificate: bytes) -> Charger | None:
    """Return what is known about a charger (DER) beside a station's session; None if it cannot be read."""
    try:
        found = load_certificate(certificate)
    except CertificateError:
        return None
    last = sa.select(chargers.c.subject).where(chargers.c.station_id == station_id).order_by(chargers.c.since_ms.desc())
    return Charger(
        subject=found.subject.rfc4514_string(),
        station_id=_station(connection, found, certificate),
        known=connection.execute(last.limit(1)).scalar() or "",
    )


def take(connection: sa.Connection, station_id: str, certificate: bytes, now_ms: int) -> None:
    """Store that a charger (DER) is a station's, and of no other one."""
    found = load_certificate(certificate)
    digest, subject = _digest(found), found.subject.rfc4514_string()
    connection.execute(sa.delete(chargers).where(chargers.c.digest == digest))
    row = {"digest": digest, "subject": subject, "station_id": station_id, "since_ms": now_ms}
    connection.execute(sa.insert(chargers).values(row))


def _digest(certificate: x509.Certificate) -> str:
    return sha256_hex(certificate.subject.public_bytes())


def _station(connection: sa.Connection, certificate: x509.Certificate, der: bytes) -> str:
    """Return whose it is, empty if nobody knows: what was booked or released counts first."""
    there = station_certificates.c
    issued = sa.select(there.station_id).where(
        (there.serial == f"{certificate.serial_number:x}") & (there.pem == chain_to_pem((der,)))
    )
    for query in (
        sa.select(chargers.c.station_id).where(chargers.c.digest == _digest(certificate)),
        issued,
        sa.select(stations.c.station_id).where(stations.c.station_id == common_name(certificate)),
    ):
        if found := connection.execute(query).scalar():
            return str(found)
    return ""
