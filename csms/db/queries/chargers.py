"""Which station a charger is of: by what was booked, by certificates that this back end issued, and by their names."""

from cryptography import x509
from sqlalchemy import Connection, delete, insert, select

from csms.db.tables import chargers, station_certificates, stations
from csms.domain.billing.booking import Charger
from v2g.energy.settlement.canonical import sha256_hex
from v2g.errors import CertificateError
from v2g.pki.certificates import chain_to_pem, common_name, load_certificate


def known(connection: Connection, station_id: str, certificate: bytes) -> Charger | None:
    """Return what is known about a charger (DER) beside a station's session; None if it cannot be read."""
    try:
        found = load_certificate(certificate)
    except CertificateError:
        return None
    last = select(chargers.c.subject).where(chargers.c.station_id == station_id).order_by(chargers.c.since_ms.desc())
    return Charger(
        subject=found.subject.rfc4514_string(),
        station_id=_station(connection, found, certificate),
        known=connection.execute(last.limit(1)).scalar() or "",
    )


def take(connection: Connection, station_id: str, certificate: bytes, now_ms: int) -> None:
    """Store that a charger (DER) is a station's, and of no other one."""
    found = load_certificate(certificate)
    digest, subject = _digest(found), found.subject.rfc4514_string()
    connection.execute(delete(chargers).where(chargers.c.digest == digest))
    row = {"digest": digest, "subject": subject, "station_id": station_id, "since_ms": now_ms}
    connection.execute(insert(chargers).values(row))


def _digest(certificate: x509.Certificate) -> str:
    return sha256_hex(certificate.subject.public_bytes())


def _station(connection: Connection, certificate: x509.Certificate, der: bytes) -> str:
    """Return whose it is, empty if nobody knows: what was booked or released counts first."""
    there = station_certificates.c
    issued = select(there.station_id).where(
        (there.serial == f"{certificate.serial_number:x}") & (there.pem == chain_to_pem((der,)))
    )
    for query in (
        select(chargers.c.station_id).where(chargers.c.digest == _digest(certificate)),
        issued,
        select(stations.c.station_id).where(stations.c.station_id == common_name(certificate)),
    ):
        if found := connection.execute(query).scalar():
            return str(found)
    return ""
