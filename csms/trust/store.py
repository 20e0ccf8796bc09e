"""The roots of the trust list of an ecosystem, and which stations have been brought up to it."""

from collections.abc import Collection
from typing import Final, cast

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, String, Table, Text, delete, insert, select, update

from csms.db.base import metadata
from csms.stations.tables import stations
from v2g.pki.certificates import chain_from_pem, chain_to_pem, load_certificate
from v2g.pki.pools import PoolRoot, RootKind
from v2g.pki.trust_list import TrustList
from v2g.typed_json import Fields

listed_roots: Final = Table(
    "listed_roots",
    metadata,
    Column("fingerprint", String(64), primary_key=True),  # SHA-256, hex
    Column("kinds", String(32), nullable=False),  # V2G, MO, OEM, PE behind commas
    Column("subject", String(255), nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("removed_ms", BigInteger),  # it is no longer in the list
    Column("pem", Text, nullable=False),
)

trust_list_states: Final = Table(
    "trust_list_states",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("list_number", BigInteger, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Column("fetched_ms", BigInteger, nullable=False),
    Column("problem", String(255), nullable=False),  # of the last attempt
)

root_rollouts: Final = Table(
    "root_rollouts",
    metadata,
    Column("station_id", String(48), primary_key=True),
    Column("list_number", BigInteger, nullable=False),
    Column("removes", Boolean, nullable=False),
    Column("state", String(16), nullable=False),  # Waiting, Done, Failed
    Column("detail", String(255), nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

_NAME: Final = "roots"
_AT_ONCE: Final = 20
_LEASE_MS: Final = 300_000


class ListState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest list: its number (0: none yet), until when it counts, when it was fetched, and what is wrong."""

    list_number: int = 0
    until_ms: int = 0
    fetched_ms: int = 0
    problem: str = ""


def state(connection: Connection) -> ListState:
    row = connection.execute(select(trust_list_states).where(trust_list_states.c.name == _NAME)).first()
    if row is None:
        return ListState()
    return ListState(list_number=row.list_number, until_ms=row.until_ms, fetched_ms=row.fetched_ms, problem=row.problem)


def take(connection: Connection, found: TrustList, now_ms: int) -> tuple[list[str], list[str]]:
    """Store a verified list, unless there is a newer one meanwhile; return the fingerprints of the roots that are new
    in it, or now of other kinds, and of those that it lacks."""
    if found.number < state(connection).list_number:
        return [], []
    there = listed_roots.c
    rows = connection.execute(select(there.fingerprint, there.kinds).where(there.removed_ms.is_(None)))
    before: dict[str, str] = {row.fingerprint: row.kinds for row in rows}
    present = {each.fingerprint: each for each in found.roots}
    new = [key for key, each in present.items() if before.get(key) != ",".join(each.kinds)]
    gone = [each for each in before if each not in present]
    for each in new:
        certificate = load_certificate(present[each].certificate)
        connection.execute(delete(listed_roots).where(there.fingerprint == each))
        connection.execute(
            insert(listed_roots).values(
                fingerprint=each,
                kinds=",".join(present[each].kinds),
                subject=certificate.subject.rfc4514_string()[:255],
                until_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
                since_ms=now_ms,
                pem=chain_to_pem((present[each].certificate,)),
            )
        )
    if gone:
        connection.execute(update(listed_roots).where(there.fingerprint.in_(gone)).values(removed_ms=now_ms))
    _set_state(
        connection,
        list_number=found.number,
        until_ms=int(found.until.timestamp() * 1000),
        fetched_ms=now_ms,
        problem="",
    )
    return new, gone


def note_problem(connection: Connection, problem: str) -> None:
    """Store why the last attempt to get a list failed."""
    before = state(connection)
    _set_state(
        connection,
        list_number=before.list_number,
        until_ms=before.until_ms,
        fetched_ms=before.fetched_ms,
        problem=problem[:255],
    )


def _set_state(connection: Connection, **columns: object) -> None:
    connection.execute(delete(trust_list_states).where(trust_list_states.c.name == _NAME))
    connection.execute(insert(trust_list_states).values(name=_NAME, **columns))


def roots(connection: Connection) -> list[Fields]:
    """Return all roots that a list has ever had, by fingerprint."""
    query = select(listed_roots).order_by(listed_roots.c.fingerprint)
    return [dict(row._mapping) for row in connection.execute(query)]


def trusted(connection: Connection, *, removed: bool) -> list[PoolRoot]:
    """Return the roots of the newest list; `removed`: those that it no longer has."""
    gone = listed_roots.c.removed_ms.is_not(None)
    rows = connection.execute(select(listed_roots).where(gone if removed else ~gone))
    return [
        PoolRoot(
            kinds=cast("tuple[RootKind, ...]", tuple(row.kinds.split(","))),
            certificate=chain_from_pem(row.pem.encode())[0],
        )
        for row in rows
    ]


def booted(connection: Connection) -> tuple[str, ...]:
    """Return all stations that have ever booted."""
    return tuple(connection.execute(select(stations.c.station_id).where(stations.c.booted_ms.is_not(None))).scalars())


def order(connection: Connection, names: Collection[str], number: int, now_ms: int, *, removes: bool) -> None:
    """Note that stations are to be brought up to a list; `removes`: also delete the roots that it no longer has."""
    connection.execute(delete(root_rollouts).where(root_rollouts.c.station_id.in_(names)))
    if names:
        row = {
            "list_number": number,
            "removes": removes,
            "state": "Waiting",
            "detail": "",
            "due_ms": now_ms,
            "changed_ms": now_ms,
        }
        connection.execute(insert(root_rollouts), [{"station_id": each, **row} for each in sorted(names)])


def claim(connection: Connection, connected: Collection[str], now_ms: int) -> list[tuple[str, bool]]:
    """Return connected stations whose turn it is, and whether roots are deleted there; they stay this node's for a
    while."""
    there = root_rollouts.c
    due = (there.state == "Waiting") & (there.due_ms <= now_ms) & there.station_id.in_(connected)
    query = select(there.station_id, there.removes).where(due).order_by(there.due_ms, there.station_id).limit(_AT_ONCE)
    found = [(row.station_id, row.removes) for row in connection.execute(query.with_for_update(skip_locked=True))]
    taken = there.station_id.in_([each for each, _ in found])
    connection.execute(update(root_rollouts).where(taken).values(due_ms=now_ms + _LEASE_MS))
    return found


def settle(connection: Connection, station_id: str, now_ms: int, outcome: str, detail: str, again_ms: int = 0) -> None:
    """Store what became of a station: Done, Failed, or Waiting for another attempt."""
    connection.execute(
        update(root_rollouts)
        .where(root_rollouts.c.station_id == station_id)
        .values(state=outcome, detail=detail[:255], due_ms=now_ms + again_ms, changed_ms=now_ms)
    )


def rollouts(connection: Connection) -> list[dict[str, object]]:
    """Return the stations that were to be brought up to a list, by identity."""
    query = select(root_rollouts).order_by(root_rollouts.c.station_id)
    return [{k: v for k, v in row._mapping.items() if k != "due_ms"} for row in connection.execute(query)]
