"""Partners, objects and deliveries of roaming."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, literal, or_, select, tuple_, update

from csms.db.base import AnyRow, AnySelect
from csms.db.bulk import upsert_rows
from csms.db.leases import lock
from csms.db.outbox import Outbox
from csms.roaming.rules import Partner
from csms.roaming.tables import roaming_deliveries, roaming_objects, roaming_partners
from v2g import typed_json
from v2g.errors import RefusedError
from v2g.ocpi.wire import ListQuery

MOST_PARTNERS: Final = 200
_AWAY_MS: Final = 300_000
"""A partner that was not seen for so long was away: then what failed waits longer than others do."""

_partner: Final = roaming_partners.c


class KnownPartner(NamedTuple):
    """A partner, the sealed token that we use, and when it was last heard (UTC ms)."""

    partner: Partner
    sealed_token: str
    seen_ms: int | None


def put_partner(
    connection: Connection, partner: Partner, *, token: str | None = None, digest: str | None = None
) -> None:
    """Store a partner; with a sealed `token` to use, or the `digest` of the only one that it may use.

    Parties behind a hub are only added: a handshake takes a while, in which another node may have stored some.
    """
    lock(connection, [f"roaming partner {partner.partner_id}"])
    known = find_partner(connection, partner.partner_id)
    if known is not None:
        clients = tuple(dict.fromkeys((*known.partner.clients, *partner.clients)))
        partner = msgspec.structs.replace(partner, clients=clients)
    values: dict[str, object] = {"document": msgspec.json.encode(partner).decode()}
    if token is not None:
        values["sealed_token"] = token
    if digest is not None:
        values |= {"digest": digest or None, "next_digest": None}
    if known is not None:
        key = _partner.partner_id == partner.partner_id
        connection.execute(update(roaming_partners).where(key).values(**values))
        return
    if connection.execute(select(func.count()).select_from(roaming_partners)).scalar_one() >= MOST_PARTNERS:
        raise RefusedError(f"there are {MOST_PARTNERS} partners", reason="too_many", hint="remove some")
    connection.execute(
        insert(roaming_partners).values(**{"partner_id": partner.partner_id, "sealed_token": "", **values})
    )


def expect_token(connection: Connection, partner_id: str, digest: str, *, ours: bool = False) -> None:
    """Accept a new token of a partner: its first use ends the present one. Where the rotation is `ours`, that is the
    newest that the partner has got; in one of its own, the one that it uses."""
    known, its = find_partner(connection, partner_id), _partner.partner_id == partner_id
    if known is not None and known.partner.rotated:
        if ours:
            unused = its & _partner.next_digest.is_not(None)
            connection.execute(update(roaming_partners).where(unused).values(digest=_partner.next_digest))
        put_partner(connection, msgspec.structs.replace(known.partner, rotated=False))
    connection.execute(update(roaming_partners).where(its).values(next_digest=digest))


def find_partner(connection: Connection, partner_id: str) -> KnownPartner | None:
    row = connection.execute(select(roaming_partners).where(_partner.partner_id == partner_id)).first()
    return None if row is None else _known(row)


def list_partners(connection: Connection) -> list[KnownPartner]:
    return [_known(row) for row in connection.execute(select(roaming_partners).order_by(_partner.partner_id))]


def _known(row: AnyRow) -> KnownPartner:
    return KnownPartner(typed_json.decode_kept(row.document.encode(), Partner), row.sealed_token, row.seen_ms)


def partner_of(connection: Connection, digests: Sequence[str]) -> tuple[KnownPartner, bool, bool] | None:
    """Return whose token has one of these digests, whether its first use has to be noted, and whether a newer one was
    issued."""
    wanted = or_(_partner.digest.in_(digests), _partner.next_digest.in_(digests))
    row = connection.execute(select(roaming_partners).where(wanted)).first()
    if row is None:
        return None
    fresh = row.next_digest in digests
    return _known(row), fresh, row.next_digest is not None and not fresh


def note_use(connection: Connection, partner_id: str, digests: Sequence[str], now_ms: int) -> None:
    """Note a partner's request or answer; the first use of a new token ends the one before, and repetitions of its
    handshake. One that was away gets now what it was to get meanwhile."""
    key = _partner.partner_id == partner_id
    away = key & or_(_partner.seen_ms.is_(None), _partner.seen_ms < now_ms - _AWAY_MS)
    if connection.execute(update(roaming_partners).where(away).values(seen_ms=now_ms)).rowcount:
        _outbox.hasten(connection, partner_id, now_ms)
    connection.execute(update(roaming_partners).where(key).values(seen_ms=now_ms))
    fresh = key & _partner.next_digest.in_(digests)
    change = update(roaming_partners).where(fresh).values(digest=_partner.next_digest, next_digest=None)
    known = find_partner(connection, partner_id) if connection.execute(change).rowcount else None
    if known is not None and known.partner.repeats_until_ms:
        put_partner(connection, msgspec.structs.replace(known.partner, repeats_until_ms=0))


def remove_partner(connection: Connection, partner_id: str) -> None:
    """Delete a partner with what it owns and is to be sent; sessions and CDRs stay, also those that it has not got, and
    what its CDRs are judged by: it may register again while sessions go on."""
    its = _delivery.partner_id == partner_id
    connection.execute(delete(roaming_deliveries).where(its & (_delivery.module != "cdrs")))
    connection.execute(update(roaming_deliveries).where(its).values(attempts=0, error=""))  # nobody refuses them now
    table = roaming_objects.c
    kept = table.module.in_(("sessions", "cdrs", "authorizations", "tariffs", "old_tariffs"))
    connection.execute(delete(roaming_objects).where((table.owner == partner_id) & ~kept))
    connection.execute(delete(roaming_partners).where(_partner.partner_id == partner_id))


# -- objects


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An object: `document` is JSON of the inner form, `owner` a partner or "", `audience` the only reader or ""."""

    owner: str
    module: str
    object_id: str
    updated_ms: int
    document: str
    audience: str = ""
    state: str = ""
    about: str = ""
    alias: str = ""
    detail: str = ""


def put_object(connection: Connection, kept: Kept) -> None:
    """Store an object, replacing one of the same key."""
    upsert_rows(connection, roaming_objects, [msgspec.structs.asdict(kept)])


def take_over(connection: Connection, kept: Kept, node: str) -> bool:
    """Note that a node has what another one had, by its detail; False when a third one was faster."""
    same = _is(kept.owner, kept.module, kept.object_id) & (roaming_objects.c.detail == kept.detail)
    return connection.execute(update(roaming_objects).where(same).values(detail=node)).rowcount > 0


def find_object(connection: Connection, owner: str, module: str, object_id: str) -> Kept | None:
    row = connection.execute(select(roaming_objects).where(_is(owner, module, object_id))).first()
    return None if row is None else _kept(row)


def objects_about(connection: Connection, owner: str, module: str, about: str) -> list[Kept]:
    """Return the objects of one thing here, by key. They are sorted here: SQLite would read a module in its order."""
    table = roaming_objects.c
    wanted = (table.owner == owner) & (table.module == module) & (table.about == about)
    found = _of_any(connection, select(roaming_objects).where(wanted))
    return sorted(found, key=lambda each: each.object_id)


def cdrs_near(connection: Connection, owner: str, session_id: str, uid: str, since_ms: int) -> list[Kept]:
    """Return the CDRs of a partner that are of a session, if it has an id, or of a token's number and not over by a
    time: a card may have thousands."""
    table = roaming_objects.c
    query = select(roaming_objects).where((table.owner == owner) & (table.module == "cdrs"))
    found = _of_any(connection, query.where((table.alias == uid) & (table.updated_ms > since_ms)),
                    *([query.where(table.about == session_id)] if session_id else []))  # fmt: skip
    return sorted(found, key=lambda each: each.object_id)


def _of_any(connection: Connection, *queries: AnySelect) -> list[Kept]:
    """Return what any of some queries finds, once. There is one for each index: for an OR of two, SQLite reads all
    objects of a module."""
    found = [_kept(row) for query in queries for row in connection.execute(query)]
    return list({(each.owner, each.object_id): each for each in found}.values())


def tariff_at(connection: Connection, owner: str, key: str, at_ms: int) -> Kept | None:
    """Return a partner's tariff as it was at a time (UTC ms), or the first that is known."""
    now, table = find_object(connection, owner, "tariffs", key), roaming_objects.c
    its = (table.owner == owner) & (table.module == "old_tariffs") & (table.about == key)
    query = select(roaming_objects).where(its & (table.updated_ms > at_ms)).order_by(table.updated_ms)
    known = _of_any(connection, query) + ([] if now is None else [now])
    begun = [each for each in known if int(each.detail or 0) <= at_ms]
    return max(begun, key=lambda each: int(each.detail or 0)) if begun else next(iter(known), None)


def remove_object(connection: Connection, owner: str, module: str, object_id: str) -> bool:
    """Delete an object; False when there was none."""
    return connection.execute(delete(roaming_objects).where(_is(owner, module, object_id))).rowcount > 0


def list_objects(
    connection: Connection, module: str, asked: ListQuery, *, seen_by: str | None = None, party: str = ""
) -> tuple[int, list[Kept], bool]:
    """Return how many objects of ours there are, those that are asked for, oldest change first, and whether more
    follow. `seen_by`: only what this partner may see; `party`: and of drivers those of this party behind it."""
    table = roaming_objects.c
    wanted: list[ColumnElement[bool]] = [table.module == module, table.owner == ""]
    if seen_by is not None:
        wanted.append(table.audience.in_(("", seen_by)))
    if party:
        country_code, _, party_id = party.partition("*")
        driver = f'"cdr_token":{{"country_code":"{country_code}","party_id":"{party_id}"'
        before = (table.alias == "") & func.lower(table.document).contains(
            driver, autoescape=True
        )  # an earlier program's
        wanted.append((table.audience == "") | (table.alias == party) | before)
    if asked.from_ms is not None:
        wanted.append(table.updated_ms >= asked.from_ms)
    if asked.to_ms is not None:
        wanted.append(table.updated_ms < asked.to_ms)
    total = asked.total
    if total is None:
        total = connection.execute(select(func.count()).select_from(roaming_objects).where(*wanted)).scalar_one()
    position = table.updated_ms, table.object_id
    query = select(roaming_objects).where(*wanted).order_by(*position).limit(asked.limit + 1)
    if asked.after is not None:
        query = query.where(tuple_(*position) > tuple_(*(literal(each) for each in asked.after)))
    elif asked.offset:  # the index alone finds where the page begins, from the nearer end: documents are long
        left = total - 1 - asked.offset
        order, skipped = (position, asked.offset) if asked.offset < left else ([each.desc() for each in position], left)
        begin = select(*position).where(*wanted).order_by(*order).offset(max(skipped, 0)).limit(1)
        row = connection.execute(begin).first()
        if row is None or left < 0:
            return total, [], False
        query = query.where(tuple_(*position) >= tuple_(literal(row.updated_ms), literal(row.object_id)))
    found = [_kept(row) for row in connection.execute(query)]
    if asked.total is not None:  # a list that grows while it is crawled shows it
        total = max(total, asked.offset + len(found))
    return total, found[: asked.limit], len(found) > asked.limit


def forget(connection: Connection, module: str, before_ms: int) -> None:
    """Delete old objects of a module."""
    old = (roaming_objects.c.module == module) & (roaming_objects.c.updated_ms < before_ms)
    connection.execute(delete(roaming_objects).where(old))


def stand_of(connection: Connection, *modules: str) -> str:
    """Return what is another text after each change of own objects of these modules: also after one that a slower node
    has stored with an earlier time than the newest."""
    table = roaming_objects.c
    own = (table.owner == "") & table.module.in_(modules)
    query = select(func.count(), func.max(table.updated_ms), func.sum(table.updated_ms)).where(own)
    return "/".join(str(each) for each in connection.execute(query).one())


def _kept(row: AnyRow) -> Kept:
    return Kept(**{name: getattr(row, name) for name in Kept.__struct_fields__})


def _is(owner: str, module: str, object_id: str) -> ColumnElement[bool]:
    table = roaming_objects.c
    return (table.owner == owner) & (table.module == module) & (table.object_id == object_id.lower())


# -- deliveries


class DueDelivery(NamedTuple):
    """A delivery to be made now; without a body it is the object as it is then."""

    id: int
    module: str
    subject: str
    method: str
    path: str
    body: str
    created_ms: int
    attempts: int


MOST_PAUSE_S: Final = 86_400
"""A partner may ask for a pause of so long."""
BACK_OFF_S: Final = (2, 5, 15, 60, 300, 900, 3600)
"""Pauses after failed attempts; the last one repeats until the partner acknowledges."""

_outbox: Final = Outbox(
    roaming_deliveries, "partner_id", lease_s=120, back_off_s=BACK_OFF_S, gives_up=False, asked_s=MOST_PAUSE_S
)
_delivery: Final = roaming_deliveries.c
_FIRST: Final = ("results", "sessions", "cdrs", "locations", "tariffs")
"""Modules that are sent before others."""


def enqueue(
    connection: Connection,
    partner_ids: Iterable[str],
    module: str,
    subject: str,
    now_ms: int,
    *,
    chain: str = "",
    method: str = "",
    path: str = "",
    body: str = "",
) -> None:
    """Note that partners are to be sent an object; one that waits already is sent as it is then.

    Deliveries of a `chain` are sent in order.
    """
    for partner_id in partner_ids:
        same = (_delivery.partner_id == partner_id) & (_delivery.module == module) & (_delivery.subject == subject)
        changed = update(roaming_deliveries).where(same).values(created_ms=_delivery.created_ms + 1)
        if connection.execute(changed).rowcount:  # another version, also within the same millisecond
            continue
        connection.execute(
            insert(roaming_deliveries).values(
                partner_id=partner_id, module=module, subject=subject, chain=chain, method=method, path=path, body=body,
                created_ms=now_ms, due_ms=now_ms, attempts=0, error="",
            )
        )  # fmt: skip


def with_due(connection: Connection, now_ms: int) -> set[str]:
    """Return the registered partners that are to be sent something now."""
    registered = select(_partner.partner_id).where(_partner.sealed_token != "")
    return _outbox.with_due(connection, now_ms, _delivery.partner_id.in_(registered))


def claim(connection: Connection, partner_id: str, now_ms: int, limit: int) -> list[DueDelivery]:
    """Claim due deliveries of a partner exclusively, oldest first, of each chain the first one; tokens, of which there
    may be hours of, after all others."""
    found = [*_outbox.claim(connection, partner_id, now_ms, limit, _delivery.module.in_(_FIRST))]
    found += _outbox.claim(connection, partner_id, now_ms, limit - len(found), _delivery.module.not_in(_FIRST))
    return [DueDelivery(*(getattr(row, name) for name in DueDelivery._fields)) for row in found]


def delivered(connection: Connection, due: DueDelivery, now_ms: int) -> None:
    """Delete a delivery that the partner has acknowledged, unless its object has changed since."""
    same = _delivery.id == due.id
    connection.execute(delete(roaming_deliveries).where(same & (_delivery.created_ms == due.created_ms)))
    connection.execute(update(roaming_deliveries).where(same).values(due_ms=now_ms, attempts=0))


def failed(connection: Connection, due: DueDelivery, error: str, now_ms: int, wait_s: float | None = None) -> None:
    """Store a failed attempt; `wait_s`: what the partner asked for."""
    _outbox.failed(connection, due.id, due.attempts, error, now_ms, wait_s)


def outbox(connection: Connection, partner_id: str) -> list[dict[str, object]]:
    """Return what a partner is yet to be sent."""
    query = select(roaming_deliveries).where(_delivery.partner_id == partner_id).order_by(_delivery.id).limit(1000)
    return [dict(row._mapping) for row in connection.execute(query)]


# -- tokens of partners


def tokens_like(connection: Connection, uid: str, contract: str) -> list[Kept]:
    """Return partners' tokens with a number, or of a contract (normalised), if it is not empty.

    The one that was changed last is first: a card that got another provider is still known to the one before.
    """
    table = roaming_objects.c
    query = select(roaming_objects).where((table.module == "tokens") & (table.owner != ""))
    query = query.order_by(table.updated_ms.desc(), table.owner, table.object_id).limit(10)  # the same one each time
    found = _of_any(
        connection, query.where(table.about == uid), *([query.where(table.alias == contract)] if contract else [])
    )
    return sorted(found, key=lambda each: (-each.updated_ms, each.owner, each.object_id))[:10]


def objects_in(connection: Connection, owner: str, module: str, *states: str) -> list[Kept]:
    """Return objects in these states; without any, all."""
    table = roaming_objects.c
    query = select(roaming_objects).where((table.owner == owner) & (table.module == module))
    return [_kept(row) for row in connection.execute(query.where(table.state.in_(states)) if states else query)]


def objects_named(connection: Connection, owner: str, module: str, names: Sequence[str]) -> list[Kept]:
    """Return the objects of these keys, of those that there are."""
    table = roaming_objects.c
    wanted = (table.owner == owner) & (table.module == module) & table.object_id.in_(names)
    return [_kept(row) for row in connection.execute(select(roaming_objects).where(wanted))]


def receivers(connection: Connection, module: str) -> list[str]:
    """Return the registered partners that are sent objects of a module."""
    found = (each.partner for each in list_partners(connection))
    return [each.partner_id for each in found if each.state == "registered" and each.endpoint(module, "RECEIVER")]


def of_partners(
    connection: Connection, after: tuple[str, str] | None, limit: int, module: str, state: str | None = None
) -> list[Kept]:
    """Return partners' objects of a module, those of a state if one is given, by owner and id: at most `limit` of those
    past `after`. There is one query for each owner: for all of them, SQLite would read and sort the whole module."""
    table, found = roaming_objects.c, list[Kept]()
    wanted = [table.module == module, *([] if state is None else [table.state == state])]
    owner, past = after or (_next_owner(connection, ""), "")
    while owner is not None and len(found) < limit:
        query = select(roaming_objects).where(table.owner == owner, table.object_id > past, *wanted)
        query = query.order_by(table.object_id).limit(limit - len(found))
        found += [_kept(row) for row in connection.execute(query)]
        owner, past = _next_owner(connection, owner), ""
    return found


def _next_owner(connection: Connection, owner: str) -> str | None:
    column = roaming_objects.c.owner
    found: str | None = connection.execute(select(func.min(column)).where(column > owner)).scalar()
    return found


def enqueue_all(connection: Connection, partner_id: str, modules: Iterable[str], now_ms: int) -> None:
    """Note that a new partner is to be sent all that it may see of these modules."""
    table = roaming_objects.c
    for module in modules:
        seen = (table.owner == "") & (table.module == module) & table.audience.in_(("", partner_id))
        waits = (_delivery.partner_id == partner_id) & (_delivery.module == module)
        again = update(roaming_deliveries).where(waits & _delivery.subject.in_(select(table.object_id).where(seen)))
        connection.execute(again.values(created_ms=_delivery.created_ms + 1))
        first = ~exists().where(waits & (_delivery.subject == table.object_id))
        values = {"partner_id": partner_id, "module": module, "chain": "", "method": "", "path": "", "body": "",
                  "created_ms": now_ms, "due_ms": now_ms, "attempts": 0, "error": ""}  # fmt: skip
        chosen = select(table.object_id, *(literal(each) for each in values.values())).where(seen & first)
        connection.execute(insert(roaming_deliveries).from_select(["subject", *values], chosen))
