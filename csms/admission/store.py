"""Which stations may connect, connection attempts, and why they failed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from csms.admission.rules import Decision, Fault, Known
from csms.db.base import declare_table, page, row_id
from csms.db.leases import lock
from csms.stations.tables import stations

admissions: Final = declare_table(
    "admissions",
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("boot", sa.String(16), nullable=False, default="", server_default=""),  # "": undecided
    sa.Column("decided_ms", sa.BigInteger),
    sa.Column("decided_by", sa.String(64), nullable=False, default="", server_default=""),
    sa.Column("first_seen_ms", sa.BigInteger),
    sa.Column("last_seen_ms", sa.BigInteger),
    sa.Column("attempts", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("address", sa.String(64), nullable=False, default="", server_default=""),
    sa.Column("offered", sa.String(255), nullable=False, default="", server_default=""),
    sa.Column("security_profile", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("least_profile", sa.Integer, nullable=False, default=0, server_default="0"),  # A05.FR.07
    sa.Column("password", sa.Text, nullable=False, default="", server_default=""),  # hashes: csms.admission.rules
    sa.Column("next_password", sa.Text, nullable=False, default="", server_default=""),
    sa.Column("verified", sa.Text, nullable=False, default="", server_default=""),  # marks: csms.admission.rules
    sa.Column("password_ms", sa.BigInteger),
    sa.Column(
        "expired_until_ms", sa.BigInteger
    ),  # until when an expired certificate is accepted, for renewal (A00.FR.429)
)

connection_faults: Final = declare_table(
    "door_faults",
    sa.Column("id", row_id, primary_key=True),
    sa.Column("station_id", sa.String(48), nullable=False),  # "": none in the attempt
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("detail", sa.String(400), nullable=False),
    sa.Column("hint", sa.String(400), nullable=False),
    sa.Column("first_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("times", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("station_id", "address", "kind"),
    sa.Index(None, "last_ms"),
)


MAX_FAULTS: Final = 2000
MAX_UNDECIDED: Final = 2000
"""Limit of rows that unauthenticated peers can create; the oldest are deleted."""


_UNDECIDED: Final = (admissions.c.boot == "") & (admissions.c.attempts > 0)

_STRANGER: Final = (
    _UNDECIDED
    & (admissions.c.password == "")
    & (admissions.c.next_password == "")
    & (admissions.c.least_profile == 0)
    & admissions.c.expired_until_ms.is_(None)
)
"""Rows that only connection attempts have created; others hold data of known stations."""

WAITING: Final = _UNDECIDED & ~sa.exists().where(
    stations.c.station_id == admissions.c.station_id,
    stations.c.boot_status == "Accepted",
    stations.c.last_seen_ms >= admissions.c.last_seen_ms,
)
"""Stations that wait for a decision: not those that the configuration has accepted at their last attempt."""


class FaultCount(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, its station, and its count since it was last stored."""

    station_id: str
    address: str
    fault: Fault
    times: int
    first_ms: int
    last_ms: int


class ConnectionAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An undecided station, as it tried to connect."""

    station_id: str
    address: str
    offered: str
    security_profile: int


def find_all(connection: sa.Connection, station_ids: Sequence[str]) -> list[Known | None]:
    """Return the admission records of some stations: after a restart, all connect at once."""
    names = ("station_id", "boot", "least_profile", "password", "next_password", "verified", "expired_until_ms")
    columns = (admissions.c[name] for name in names)
    found = {
        row.station_id: Known(
            decision=row.boot,
            least_profile=row.least_profile,
            password=row.password,
            next_password=row.next_password,
            verified=row.verified,
            expired_until_ms=row.expired_until_ms or 0,
        )
        for row in connection.execute(sa.select(*columns).where(admissions.c.station_id.in_(set(station_ids))))
    }
    return [found.get(station_id) for station_id in station_ids]


def note_attempt(connection: sa.Connection, visit: ConnectionAttempt, now_ms: int) -> bool:
    """Store a connection attempt; True when the station is new. The oldest undecided ones are deleted."""
    facts: dict[str, object] = {
        "last_seen_ms": now_ms,
        "address": visit.address,
        "offered": visit.offered[:255],
        "security_profile": visit.security_profile,
    }
    times = {"attempts": admissions.c.attempts + 1}
    known = admissions.c.station_id == visit.station_id
    if connection.execute(sa.update(admissions).where(known).values(**facts, **times)).rowcount:
        return False
    connection.execute(
        sa.insert(admissions).values(station_id=visit.station_id, first_seen_ms=now_ms, attempts=1, **facts)
    )
    if (connection.execute(sa.select(sa.func.count()).where(_STRANGER)).scalar() or 0) > MAX_UNDECIDED:
        oldest = sa.select(admissions.c.station_id).where(_STRANGER).order_by(admissions.c.last_seen_ms).limit(1)
        connection.execute(sa.delete(admissions).where(admissions.c.station_id.in_(oldest.scalar_subquery())))
    return True


def decide(connection: sa.Connection, station_id: str, decision: Decision, by: str, now_ms: int) -> None:
    """Store an operator's decision."""
    _put(connection, station_id, boot=decision, decided_ms=now_ms, decided_by=by[:64])


def set_password(connection: sa.Connection, station_id: str, hashed: str, now_ms: int) -> None:
    """Make this the station's only password ("": none)."""
    _put(connection, station_id, password=hashed, next_password="", password_ms=now_ms)


def set_first_password(connection: sa.Connection, station_id: str, hashed: str, now_ms: int) -> bool:
    """Make this the only password of a station that has none; False when it has one meanwhile."""
    lock(connection, [f"password of {station_id}"])
    (known,) = find_all(connection, [station_id])
    if known is not None and (known.password or known.next_password):
        return False
    set_password(connection, station_id, hashed, now_ms)
    return True


def set_passwords(
    connection: sa.Connection, hashed: Mapping[str, str], now_ms: int, *, replace: bool, admit_by: str | None
) -> list[str]:
    """Make each of these the only password of its station; admit them, if `admit_by` says who does so.

    Return the stations that have a password already: if there are any, nothing changes, unless `replace`.
    """
    known = zip(hashed, find_all(connection, list(hashed)), strict=True)
    taken = [name for name, each in known if each is not None and (each.password or each.next_password)]
    if taken and not replace:
        return taken
    for station_id, password in hashed.items():
        set_password(connection, station_id, password, now_ms)
        if admit_by is not None:
            decide(connection, station_id, "Accepted", admit_by, now_ms)
    return []


def note_verified(connection: sa.Connection, station_id: str, mark: str) -> None:
    """Store the mark of a verified password."""
    connection.execute(sa.update(admissions).where(admissions.c.station_id == station_id).values(verified=mark))


def offer_password(connection: sa.Connection, station_id: str, hashed: str) -> None:
    """Store a password that is about to be sent to the station, beside its present one."""
    _put(connection, station_id, next_password=hashed)


def settle_password(connection: sa.Connection, station_id: str, hashed: str, *, taken: bool, now_ms: int) -> bool:
    """Make an offered password the only one, or delete it; False when it is not the offered one."""
    key = (admissions.c.station_id == station_id) & (admissions.c.next_password == hashed)
    values: dict[str, object] = {"next_password": ""}
    if taken:
        values |= {"password": hashed, "password_ms": now_ms}
    return connection.execute(sa.update(admissions).where(key).values(**values)).rowcount > 0


def set_least_profile(connection: sa.Connection, station_id: str, profile: int) -> None:
    """Store the lowest security profile that a station may use (A05.FR.07)."""
    _put(connection, station_id, least_profile=profile)


def allow_expired(connection: sa.Connection, station_id: str, until_ms: int | None) -> None:
    """Store until when a station may connect with an expired certificate; None: not at all."""
    _put(connection, station_id, expired_until_ms=until_ms)


def forget(connection: sa.Connection, station_id: str) -> bool:
    """Delete a station's admission record; False when there was none."""
    connection.execute(sa.delete(connection_faults).where(connection_faults.c.station_id == station_id))
    return connection.execute(sa.delete(admissions).where(admissions.c.station_id == station_id)).rowcount > 0


def list_admissions(
    connection: sa.Connection,
    after: tuple[int | None, str] | None = None,
    limit: int = 1000,
    undecided: bool | None = None,
) -> list[dict[str, object]]:
    """Return stations that may connect or have tried to, newest first, without their passwords' hashes."""
    seen = sa.func.coalesce(admissions.c.last_seen_ms, 0)
    position = after and (after[0] or 0, after[1])
    query = page(sa.select(admissions), (seen, admissions.c.station_id), position, limit)
    if undecided is not None:
        query = query.where(WAITING if undecided else sa.not_(WAITING))
    rows = []
    for row in connection.execute(query):
        entry = dict(row._mapping)
        entry["has_password"] = bool(entry.pop("password"))
        del entry["verified"]
        entry["password_changing"] = bool(entry.pop("next_password"))
        rows.append(entry)
    return rows


def save_faults(connection: sa.Connection, counts: Iterable[FaultCount]) -> None:
    """Count faults; the oldest are deleted."""
    for each in counts:
        key = (
            (connection_faults.c.station_id == each.station_id)
            & (connection_faults.c.address == each.address)
            & (connection_faults.c.kind == each.fault.kind)
        )
        words = {"detail": each.fault.detail[:400], "hint": each.fault.hint[:400], "last_ms": each.last_ms}
        more = {"times": connection_faults.c.times + each.times}
        if connection.execute(sa.update(connection_faults).where(key).values(**words, **more)).rowcount == 0:
            connection.execute(
                sa.insert(connection_faults).values(
                    station_id=each.station_id,
                    address=each.address,
                    kind=each.fault.kind,
                    first_ms=each.first_ms,
                    times=each.times,
                    **words,
                )
            )
    surplus = (connection.execute(sa.select(sa.func.count()).select_from(connection_faults)).scalar() or 0) - MAX_FAULTS
    if surplus > 0:
        oldest = sa.select(connection_faults.c.id).order_by(connection_faults.c.last_ms).limit(surplus)
        connection.execute(sa.delete(connection_faults).where(connection_faults.c.id.in_(oldest.scalar_subquery())))


def list_faults(
    connection: sa.Connection, after: tuple[int, int] | None = None, limit: int = 100, station_id: str | None = None
) -> list[dict[str, object]]:
    """Return failed connection attempts, newest first; of one station, or of all; those `after` a time and number."""
    query = page(sa.select(connection_faults), (connection_faults.c.last_ms, connection_faults.c.id), after, limit)
    if station_id is not None:
        query = query.where(connection_faults.c.station_id == station_id)
    return [dict(row._mapping) for row in connection.execute(query)]


def any_faults(connection: sa.Connection, places: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each (station, address) whether a fault is stored."""
    table = connection_faults.c
    query = sa.select(table.station_id, table.address).where(table.station_id.in_({name for name, _ in places}))
    found = {(row.station_id, row.address) for row in connection.execute(query)}
    return [place in found for place in places]


def forget_faults(connection: sa.Connection, station_id: str, address: str) -> None:
    """Delete faults of a station that has connected."""
    connection.execute(
        sa.delete(connection_faults).where(
            (connection_faults.c.station_id == station_id) & (connection_faults.c.address == address)
        )
    )


def _put(connection: sa.Connection, station_id: str, **values: object) -> None:
    """Change a station's row, or make it."""
    if not connection.execute(
        sa.update(admissions).where(admissions.c.station_id == station_id).values(**values)
    ).rowcount:
        connection.execute(sa.insert(admissions).values(station_id=station_id, **values))
