"""Tokens of the API, stored answers of idempotency keys, and the audit log."""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from csms.db.paging import newest
from csms.db.queries import charging
from csms.db.tables import api_tokens, audit, idempotency_keys
from csms.domain.security.access import Permission, Principal, Role, Sites
from v2g import typed_json
from v2g.errors import RefusedError

KEPT_MS: Final = 24 * 3600 * 1000
"""Retention of answers of idempotency keys."""

_encode = msgspec.json.Encoder().encode


def add_token(connection: Connection, row: dict[str, Any]) -> None:
    """Store a token's row; `scopes` and `evs` as they are in `Principal`. Raises RefusedError for unknown `sites`."""
    scopes = row["scopes"]
    texts = {
        "scopes": None if scopes is None else _encode(sorted(scopes)).decode(),
        "sites": sites_text(connection, row["sites"]),
    }
    connection.execute(insert(api_tokens).values(**{**row, **texts}))


def sites_of(connection: Connection, names: str | None) -> Sites | None:
    """Return the sites of a JSON list, with their stations now; None is all."""
    if names is None:
        return None
    known = typed_json.decode(names, frozenset[str])
    found = filter(None, (charging.site(connection, name) for name in sorted(known)))
    return Sites(known, frozenset(place.station_id for site in found for place in site.places))


def sites_text(connection: Connection, names: Collection[str] | None) -> str | None:
    """Return sites as they are stored. Raises RefusedError (`site`) for an unknown one."""
    if names is None:
        return None
    for name in names:
        if charging.site(connection, name) is None:
            raise RefusedError(f"there is no site {name}", reason="site", hint="store the site first")
    return _encode(sorted(set(names))).decode()


def find_principal(connection: Connection, sha256: str, now_ms: int) -> Principal | None:
    """Return the token with this SHA-256, unless it was revoked or has expired."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.sha256 == sha256)).first()
    if row is None or row.revoked_ms is not None or (row.expires_ms is not None and row.expires_ms <= now_ms):
        return None
    scopes = None if row.scopes is None else frozenset(typed_json.decode(row.scopes, tuple[Permission, ...]))
    sites = sites_of(connection, row.sites)
    return Principal(row.name, Role(row.role), tuple(msgspec.json.decode(row.evs)), scopes, row.token_id, sites)


def list_tokens(connection: Connection, after: str = "", limit: int = 1000) -> list[dict[str, Any]]:
    """Return tokens without secrets, by id: at most `limit` of those after `after`."""
    rows = connection.execute(
        select(api_tokens).where(api_tokens.c.token_id > after).order_by(api_tokens.c.token_id).limit(limit)
    )
    return [_token(row._mapping) for row in rows]


def find_token(connection: Connection, token_id: str) -> dict[str, Any] | None:
    """Return one token, without its secret."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.token_id == token_id)).first()
    return None if row is None else _token(row._mapping)


def revoke_token(connection: Connection, token_id: str, now_ms: int) -> bool:
    """Revoke a token; False if there is no valid one."""
    changed = update(api_tokens).where((api_tokens.c.token_id == token_id) & api_tokens.c.revoked_ms.is_(None))
    return connection.execute(changed.values(revoked_ms=now_ms)).rowcount > 0


def _token(row: Any) -> dict[str, Any]:
    found = {name: value for name, value in row.items() if name != "sha256"}
    found["scopes"] = None if row["scopes"] is None else msgspec.json.decode(row["scopes"])
    found["evs"] = msgspec.json.decode(row["evs"])
    found["sites"] = None if row["sites"] is None else msgspec.json.decode(row["sites"])
    return found


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A used idempotency key: its request, and the answer (`status` None: pending)."""

    fingerprint: str
    status: int | None
    headers: dict[str, str]
    body: bytes


def claim_key(connection: Connection, caller: str, key: str, fingerprint: str, now_ms: int) -> StoredAnswer | None:
    """Claim an idempotency key for a request; return its record if it was claimed before."""
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_ms < now_ms - KEPT_MS))
    found = connection.execute(select(idempotency_keys).where(_key(caller, key))).first()
    if found is None:
        row = {"caller": caller, "key": key, "fingerprint": fingerprint, "created_ms": now_ms}
        connection.execute(insert(idempotency_keys).values(**row))
        return None
    headers = {} if found.headers is None else typed_json.decode(found.headers, dict[str, str])
    return StoredAnswer(fingerprint=found.fingerprint, status=found.status, headers=headers, body=found.body or b"")


def keep_answer(
    connection: Connection, caller: str, key: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Store the answer to the request that has claimed the key."""
    connection.execute(
        update(idempotency_keys)
        .where(_key(caller, key))
        .values(status=status, headers=_encode(headers).decode(), body=body)
    )


def release_key(connection: Connection, caller: str, key: str) -> None:
    """Release the key: nothing was done."""
    connection.execute(delete(idempotency_keys).where(_key(caller, key)))


def _key(caller: str, key: str) -> Any:
    return (idempotency_keys.c.caller == caller) & (idempotency_keys.c.key == key)


def add_entry(connection: Connection, row: dict[str, Any]) -> None:
    """Write a line of the audit log."""
    connection.execute(insert(audit).values(**row))


def list_entries(
    connection: Connection,
    *,
    before: int | None = None,
    limit: int = 1000,
    caller: str | None = None,
    operation: str | None = None,
) -> list[dict[str, Any]]:
    """Return lines of the audit log, newest first: at most `limit` of those older than the id `before`."""
    wanted = newest(audit, before, limit, caller=caller, operation=operation)
    documents = ("request", "before", "after")
    return [
        {
            **row._mapping,
            **{name: None if row._mapping[name] is None else msgspec.Raw(row._mapping[name]) for name in documents},
        }
        for row in connection.execute(wanted)
    ]
