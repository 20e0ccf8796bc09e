"""Tokens, their groups, their usage, and stations' local lists."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

import msgspec
from sqlalchemy import Connection, Table, delete, insert, select, tuple_, update
from sqlalchemy.sql import ColumnElement

from csms.booking import held
from csms.db.base import AnyRow
from csms.db.bulk import insert_rows, upsert_rows
from csms.db.documents import Documents
from csms.tariffs.tables import transaction_costs
from csms.tokens.rules import Allowance, Group, Known, Terms, Token, Used, period_start, together
from csms.tokens.tables import local_lists, token_groups, token_uses, tokens
from csms.transactions.rules import Transaction
from csms.transactions.tables import transactions
from v2g import typed_json
from v2g.typed_json import Fields

ABROAD: Final = "*"
"""Stands for the stations of roaming partners."""


def replace_configured(connection: Connection, entries: Iterable[Token]) -> None:
    """Replace the tokens of the configuration; those that operators created or changed stay."""
    connection.execute(delete(tokens).where(tokens.c.source == "config"))
    there = connection.execute(select(tokens.c.token_type, tokens.c.id_token))
    changed = {(row.token_type, row.id_token) for row in there}
    rows = [_row(token, "config") for token in entries if (token.type, token.id_token) not in changed]
    upsert_rows(connection, tokens, rows)


def put(connection: Connection, token: Token) -> None:
    """Store a token, replacing one of the same type and identifier."""
    upsert_rows(connection, tokens, [_row(token, "api")])


def remove(connection: Connection, token_type: str, id_token: str) -> bool:
    """Delete a token; False when there was none. A configured one returns at the next start."""
    return connection.execute(delete(tokens).where(_is(token_type, id_token))).rowcount > 0


def set_status(connection: Connection, token_type: str, id_token: str, status: str) -> bool:
    """Block or unblock a token; False when there is none."""
    values = {"status": status, "source": "api"}
    return connection.execute(update(tokens).where(_is(token_type, id_token)).values(**values)).rowcount > 0


def find(connection: Connection, token_type: str, id_token: str) -> Token | None:
    """Return a token by its type and normalised identifier."""
    row = connection.execute(select(tokens).where(_is(token_type, id_token))).first()
    return None if row is None else _token(row)


def list_all(connection: Connection) -> list[Token]:
    query = select(tokens).order_by(tokens.c.token_type, tokens.c.id_token)
    return [_token(row) for row in connection.execute(query)]


def list_named(connection: Connection, token_types: Sequence[str], numbers: Sequence[str]) -> list[Token]:
    """Return tokens of these types and identifiers, as `list_all` does."""
    key = tokens.c.token_type, tokens.c.id_token
    query = select(tokens).where(key[0].in_(token_types) & key[1].in_(numbers)).order_by(*key)
    return [_token(row) for row in connection.execute(query)]


def list_page(
    connection: Connection,
    after: tuple[str, str] | None,
    limit: int,
    group_id: str | None = None,
    status: str | None = None,
    text: str | None = None,
) -> list[Token]:
    """Return tokens by type and identifier, or only members of a group, of a status, with a text in the identifier: at
    most `limit` of those after `after`."""
    key = tokens.c.token_type, tokens.c.id_token
    query = select(tokens).order_by(*key)
    if after is not None:
        query = query.where((key[0] > after[0]) | ((key[0] == after[0]) & (key[1] > after[1])))
    if status is not None:
        query = query.where(tokens.c.status == status)
    if text:
        query = query.where(tokens.c.id_token.icontains(text, autoescape=True))
    if group_id is None:
        return [_token(row) for row in connection.execute(query.limit(limit))]
    found = (_token(row) for row in connection.execute(query))
    return list(islice((token for token in found if token.terms.group_id == group_id), limit))


def list_known(connection: Connection) -> list[Known]:
    """Return all tokens with their groups, without their usage."""
    groups = {group.group_id: group for group in list_groups(connection)}
    return [Known(token=token, group=groups.get(token.terms.group_id)) for token in list_all(connection)]


def look_up(
    connection: Connection, token_type: str, id_token: str, at_ms: int, transaction: tuple[str, str] | None = None
) -> Known | None:
    """Return a token with everything that decides about it. `transaction` is the one that it is for, if any."""
    token = find(connection, token_type, id_token)
    if token is None:
        return None
    group = find_group(connection, token.terms.group_id) if token.terms.group_id else None
    own = (token_uses.c.token_type == token_type) & (token_uses.c.id_token == id_token)
    used = [(each, _used(connection, own, each, at_ms)) for each in token.terms.allowances]
    if group is not None:
        theirs = token_uses.c.group_id == group.group_id
        used += [(each, _used(connection, theirs, each, at_ms)) for each in group.allowances]
    elsewhere = token.terms.one_at_a_time and _is_charging(connection, own, transaction)
    return Known(token=token, group=group, used=tuple(used), elsewhere=elsewhere)


def note_use(connection: Connection, station_id: str, transaction_id: str, token: Token, at_ms: int) -> bool:
    """Link a transaction to its token, the first one that it names; False when it is linked already."""
    key = (token_uses.c.station_id == station_id) & (token_uses.c.transaction_id == transaction_id)
    if connection.execute(select(token_uses.c.since_ms).where(key)).first() is not None:
        return False
    row = {
        "station_id": station_id,
        "transaction_id": transaction_id,
        "token_type": token.type,
        "id_token": token.id_token,
        "group_id": token.terms.group_id,
        "since_ms": at_ms,
    }
    insert_rows(connection, token_uses, [row])
    return True


def note_use_abroad(connection: Connection, name: str, token: Token, at_ms: int, used: Used) -> None:
    """Store what a token has used at stations of roaming partners."""
    row = {"token_type": token.type, "id_token": token.id_token, "group_id": token.terms.group_id, "since_ms": at_ms}
    upsert_rows(connection, token_uses, [{"station_id": ABROAD, "transaction_id": name, **row, **_columns(used)}])


def _columns(used: Used) -> dict[str, object]:
    return {"energy_wh": used.energy_wh, "cost": used.cost, "currency": used.currency or None}


_groups: Final = Documents(token_groups, typed_json.decoder(Group).decode)

find_group = _groups.find
list_groups = _groups.all
remove_group = _groups.remove
"""Its members stay and still belong together."""


def put_group(connection: Connection, group: Group) -> None:
    """Store a group, replacing one of the same name."""
    _groups.save(connection, group.group_id, group)


def _used(connection: Connection, whose: ColumnElement[bool], allowance: Allowance, at_ms: int) -> Used:
    """Add up the usage of an allowance: transactions that began in its current period."""
    start = period_start(allowance.period, at_ms)
    uses = _uses(connection, whose & (token_uses.c.since_ms >= start), at_ms)
    return together(uses.values())


def settle_uses(connection: Connection, keys: Sequence[tuple[str, str]]) -> None:
    """Store the usage of transactions that are about to be deleted, for allowances."""
    chosen = tuple_(token_uses.c.station_id, token_uses.c.transaction_id).in_(keys)
    for (station_id, transaction_id), used in _uses(connection, chosen, 0).items():
        key = (token_uses.c.station_id == station_id) & (token_uses.c.transaction_id == transaction_id)
        connection.execute(update(token_uses).where(key).values(**_columns(used)))


def _uses(connection: Connection, which: ColumnElement[bool], at_ms: int) -> dict[tuple[str, str], Used]:
    """Return the usage of transactions, or what was stored when they were deleted; none of what is held."""
    query = (
        select(
            token_uses,
            transactions.c.document,
            transaction_costs.c.incl_tax,
            transaction_costs.c.currency.label("billed_in"),
        )
        .outerjoin(transactions, _same(transactions))
        .outerjoin(transaction_costs, _same(transaction_costs))
        .where(which)
    )
    found: dict[tuple[str, str], Used] = {}
    for row in connection.execute(query):
        energy, cost, currency = Decimal(row.energy_wh or 0), row.cost or 0, row.currency
        if row.document is not None:
            reported = typed_json.decode(row.document, Transaction)
            cost, currency = row.incl_tax or 0, row.billed_in
            judged = held.judged(connection, reported, at_ms)
            key = row.station_id, row.transaction_id
            released = not judged.findings if reported.active else not held.is_open(connection, *key)
            energy = Decimal(judged.import_mwh if released else 0) / 1000
        found[row.station_id, row.transaction_id] = Used(int(energy), cost, currency or "")
    return found


def _is_charging(connection: Connection, whose: ColumnElement[bool], transaction: tuple[str, str] | None) -> bool:
    query = (
        select(token_uses.c.station_id, token_uses.c.transaction_id)
        .join(transactions, _same(transactions))
        .where(whose & transactions.c.active)
    )
    return any((row.station_id, row.transaction_id) != transaction for row in connection.execute(query))


def find_local_list(connection: Connection, station_id: str) -> Fields | None:
    """Return a station's expected list, as columns, or None when none was ever sent."""
    row = connection.execute(select(local_lists).where(local_lists.c.station_id == station_id)).first()
    return dict(row._mapping) if row else None


def list_local_lists(connection: Connection) -> list[str]:
    """Return the stations that received a list."""
    return list(connection.execute(select(local_lists.c.station_id).where(local_lists.c.version > 0)).scalars())


def save_local_list(connection: Connection, /, station_id: str, **values: object) -> None:
    """Store a station's list; columns of `local_lists`."""
    where = local_lists.c.station_id == station_id
    if connection.execute(update(local_lists).where(where).values(**values)).rowcount == 0:
        connection.execute(insert(local_lists).values(station_id=station_id, **values))


def _same(table: Table) -> ColumnElement[bool]:
    same: ColumnElement[bool] = (table.c.station_id == token_uses.c.station_id) & (
        table.c.transaction_id == token_uses.c.transaction_id
    )
    return same


def _is(token_type: str, id_token: str) -> ColumnElement[bool]:
    return (tokens.c.token_type == token_type) & (tokens.c.id_token == id_token)


def _row(token: Token, source: str) -> dict[str, object]:
    return {
        "token_type": token.type,
        "id_token": token.id_token,
        "status": token.status,
        "energy_transfer": msgspec.json.encode(token.energy_transfer).decode(),
        "terms": msgspec.json.encode(token.terms).decode(),
        "source": source,
    }


def _token(row: AnyRow) -> Token:
    energy_transfer = tuple(msgspec.json.decode(row.energy_transfer))
    terms = Terms() if row.terms == "{}" else typed_json.decode(row.terms, Terms)
    return Token(row.token_type, row.id_token, row.status, energy_transfer, terms)
