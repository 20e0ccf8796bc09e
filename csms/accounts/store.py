"""Tokens of the API, answers of idempotency keys, the audit log; people and their sessions."""

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select, update

from csms.accounts import tables
from csms.accounts.rules import IDLE_MS, NAME, SESSION_MS, Permission, Principal, Role, Sites, is_over
from csms.accounts.tables import api_tokens, audit, idempotency_keys, user_passkeys, user_sessions, users
from csms.db.base import AnyRow, newest, page
from csms.sites import store as site_store
from v2g import typed_json
from v2g.errors import RefusedError
from v2g.typed_json import Fields

KEPT_MS: Final = 24 * 3600 * 1000
"""Retention of answers of idempotency keys."""

_encode = msgspec.json.Encoder().encode


def add_token(connection: Connection, row: Fields) -> None:
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
    found = filter(None, (site_store.site(connection, name) for name in sorted(known)))
    return Sites(known, frozenset(place.station_id for site in found for place in site.places))


def sites_text(connection: Connection, names: Collection[str] | None) -> str | None:
    """Return sites as they are stored. Raises RefusedError (`site`) for an unknown one."""
    if names is None:
        return None
    for name in names:
        if site_store.site(connection, name) is None:
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


def list_tokens(connection: Connection, after: tuple[str, ...] | None, limit: int) -> list[Fields]:
    """Return tokens without secrets, by id: at most `limit` of those after `after`."""
    rows = connection.execute(page(select(api_tokens), (api_tokens.c.token_id,), after, limit, rising=True))
    return [_token(row._mapping) for row in rows]


def find_token(connection: Connection, token_id: str) -> dict[str, object] | None:
    """Return one token, without its secret."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.token_id == token_id)).first()
    return None if row is None else _token(row._mapping)


def revoke_token(connection: Connection, token_id: str, now_ms: int) -> bool:
    """Revoke a token; False if there is no valid one."""
    changed = update(api_tokens).where((api_tokens.c.token_id == token_id) & api_tokens.c.revoked_ms.is_(None))
    return connection.execute(changed.values(revoked_ms=now_ms)).rowcount > 0


def _token(row: RowMapping) -> Fields:
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


def _key(caller: str, key: str) -> ColumnElement[bool]:
    return (idempotency_keys.c.caller == caller) & (idempotency_keys.c.key == key)


def add_entry(connection: Connection, row: dict[str, object]) -> None:
    """Write a line of the audit log."""
    connection.execute(insert(audit).values(**row))


def list_entries(
    connection: Connection,
    before: int | None = None,
    limit: int = 1000,
    caller: str | None = None,
    operation: str | None = None,
) -> list[dict[str, object]]:
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


_SEEN_MS: Final = 60_000
"""A session's last use is stored once in this time."""

_COLUMNS: Final = ("name", "role", "sites", "initial", "created_ms", "created_by", "login_ms")
_SHOWN: Final = tuple(users.c[name] for name in _COLUMNS)


class StoredUser(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `initial`: the password was issued and has to be changed; `sealed_factor` None: no second factor."""

    name: str
    role: Role
    password: str
    initial: bool
    sealed_factor: str | None
    factor_step: int
    sites: Sites | None


def find(connection: Connection, name: str) -> StoredUser | None:
    """Return a person with this name."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    return None if row is None else _user(connection, row)


def _user(connection: Connection, row: AnyRow) -> StoredUser:
    return StoredUser(
        name=row.name,
        role=Role(row.role),
        password=row.password,
        initial=row.initial,
        sealed_factor=row.sealed_factor,
        factor_step=row.factor_step,
        sites=sites_of(connection, row.sites),
    )


def describe(connection: Connection, name: str) -> Fields | None:
    """Return a person without secrets."""
    row = connection.execute(select(*_SHOWN, users.c.sealed_factor).where(users.c.name == name)).first()
    return None if row is None else _described(row)


def list_page(connection: Connection, after: tuple[str, ...] | None, limit: int) -> list[dict[str, object]]:
    """Return people without secrets, by name: at most `limit` of those after `after`."""
    wanted = page(select(*_SHOWN, users.c.sealed_factor), (users.c.name,), after, limit, rising=True)
    return [_described(row) for row in connection.execute(wanted)]


def _described(row: AnyRow) -> Fields:
    found = dict(row._mapping)
    sites = None if found["sites"] is None else msgspec.json.decode(found["sites"])
    return {**found, "second_factor": found.pop("sealed_factor") is not None, "sites": sites}


def add(
    connection: Connection,
    name: str,
    role: Role,
    password: str,
    now_ms: int,
    by: str,
    sites: Collection[str] | None = None,
) -> bool:
    """Store a person with the hash of an issued password; False if the name is taken. Raises RefusedError: a site."""
    if find(connection, name) is not None:
        return False
    row: dict[str, object] = {"name": name, "role": role.value, "password": password, "initial": True, "factor_step": 0}
    row["sites"] = sites_text(connection, sites)
    connection.execute(insert(users).values(**row, created_ms=now_ms, created_by=by))
    return True


def add_first(connection: Connection, name: str, password: str, now_ms: int) -> bool:
    """Store the first administrator, with the hash of an issued password, unless there are people; return whether."""
    if connection.execute(select(users.c.name).limit(1)).first() is not None:
        return False
    return add(connection, name, Role.ADMIN, password, now_ms, "configuration")


def adopt(
    connection: Connection, subject: str, name: str, role: Role, sites: Collection[str] | None, now_ms: int
) -> None:
    """Store a person whom an OpenID provider has identified, without password, or give them this role and name.

    Raises RefusedError (`name`) for a name that is not valid, or of somebody else; (`site`) for an unknown site.
    """
    if not NAME.fullmatch(name):
        raise RefusedError(f"{name[:64]!r} is not a name here", reason="name", hint="see api.openid.name_claim")
    known = connection.execute(select(users.c.name).where(users.c.subject == subject)).scalar()
    if known not in (None, name):
        remove(connection, str(known))
        known = None
    if known is None:
        if not add(connection, name, role, "", now_ms, "OpenID provider", sites):
            raise RefusedError("another account has your name", reason="name", hint="ask the administrator")
        connection.execute(update(users).where(users.c.name == name).values(subject=subject, initial=False))
    set_role(connection, name, role, sites)


def remove(connection: Connection, name: str) -> bool:
    """Delete a person and their sessions; False if there is none."""
    end_sessions(connection, name)
    remove_passkeys(connection, name)
    return connection.execute(delete(users).where(users.c.name == name)).rowcount > 0


def set_role(connection: Connection, name: str, role: Role, sites: Collection[str] | None = None) -> None:
    """Give a person another role, at these sites (None: all). Raises RefusedError for an unknown site."""
    values = {"role": role.value, "sites": sites_text(connection, sites)}
    connection.execute(update(users).where(users.c.name == name).values(values))


def set_password(connection: Connection, name: str, password: str, *, initial: bool) -> None:
    """Store the hash of another password, and end all sessions."""
    connection.execute(update(users).where(users.c.name == name).values(password=password, initial=initial))
    end_sessions(connection, name)


def set_factor(connection: Connection, name: str, sealed: str | None, step: int = 0) -> None:
    """Store a second factor, used last in this step, or remove it (None)."""
    connection.execute(update(users).where(users.c.name == name).values(sealed_factor=sealed, factor_step=step))


def use_step(connection: Connection, name: str, step: int) -> bool:
    """Note the use of a code; False if its step, or a later one, was used before."""
    fresh = (users.c.name == name) & (users.c.factor_step < step)
    return connection.execute(update(users).where(fresh).values(factor_step=step)).rowcount > 0


class StoredPasskey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey of a person."""

    credential_id: str
    name: str
    public_key: str
    sign_count: int
    label: str
    created_ms: int


def add_passkey(connection: Connection, passkey: StoredPasskey) -> bool:
    """Store a passkey; False if it is known."""
    if find_passkey(connection, passkey.credential_id) is not None:
        return False
    connection.execute(insert(user_passkeys).values(msgspec.structs.asdict(passkey)))
    return True


def find_passkey(connection: Connection, credential_id: str) -> StoredPasskey | None:
    row = connection.execute(select(user_passkeys).where(user_passkeys.c.credential_id == credential_id)).first()
    return None if row is None else StoredPasskey(**row._mapping)


def passkeys(connection: Connection, name: str) -> list[StoredPasskey]:
    """Return a person's passkeys, oldest first."""
    wanted = select(user_passkeys).where(user_passkeys.c.name == name).order_by(user_passkeys.c.created_ms)
    return [StoredPasskey(**row._mapping) for row in connection.execute(wanted)]


def count_passkey(connection: Connection, credential_id: str, sign_count: int) -> None:
    """Store the counter of a passkey."""
    which = user_passkeys.c.credential_id == credential_id
    connection.execute(update(user_passkeys).where(which).values(sign_count=sign_count))


def remove_passkeys(connection: Connection, name: str, credential_id: str | None = None) -> None:
    """Delete a passkey of a person, or all (None)."""
    which = user_passkeys.c.name == name
    if credential_id is not None:
        which &= user_passkeys.c.credential_id == credential_id
    connection.execute(delete(user_passkeys).where(which))


class SavedView(msgspec.Struct, frozen=True, kw_only=True):
    """A view of a list of the console: the query of its address. `shared`: everybody sees its name."""

    name: str
    query: str
    owner: str
    shared: bool


MOST_VIEWS: Final = 20
"""Views that a person may have of a list."""


def saved_views(connection: Connection, path: str, name: str) -> list[SavedView]:
    """Return a person's views of a list, and those that others share, by name."""
    views = tables.saved_views
    fits = (views.c.path == path) & ((views.c.owner == name) | views.c.shared)
    rows = connection.execute(select(views).where(fits).order_by(views.c.name, views.c.owner).limit(100))
    return [SavedView(name=row.name, query=row.query, owner=row.owner, shared=row.shared) for row in rows]


def save_view(connection: Connection, path: str, view: SavedView) -> bool:
    """Store a view, in place of the owner's of the same name; return whether there is room for it."""
    views = tables.saved_views
    forget_view(connection, path, view.owner, view.name)
    mine = (views.c.path == path) & (views.c.owner == view.owner)
    room = connection.execute(select(func.count()).select_from(views).where(mine)).scalar_one() < MOST_VIEWS
    if room:
        connection.execute(insert(views).values(path=path, **msgspec.structs.asdict(view)))
    return room


def forget_view(connection: Connection, path: str, owner: str, name: str) -> None:
    """Delete a view of a person."""
    views = tables.saved_views.c
    which = (views.path == path) & (views.owner == owner) & (views.name == name)
    connection.execute(delete(tables.saved_views).where(which))


def begin_session(
    connection: Connection, sha256: str, name: str, now_ms: int, *, alone: bool = False, scale: float = 1.0
) -> None:
    """Store a session of a person who has logged in now; delete those that are over. `alone`: their others, too.
    `scale`: see `is_over`."""
    if alone:
        end_sessions(connection, name)
    idle_ms, longest_ms = round(IDLE_MS * scale), round(SESSION_MS * scale)
    late = (user_sessions.c.seen_ms < now_ms - idle_ms) | (user_sessions.c.created_ms < now_ms - longest_ms)
    connection.execute(delete(user_sessions).where(late))
    connection.execute(insert(user_sessions).values(sha256=sha256, name=name, created_ms=now_ms, seen_ms=now_ms))
    connection.execute(update(users).where(users.c.name == name).values(login_ms=now_ms))


def find_session(
    connection: Connection, sha256: str, now_ms: int, scale: float = 1.0
) -> tuple[StoredUser, bool] | None:
    """Return whose session this is, and whether its use is to be stored; None without one, or if it is over.
    `scale`: see `is_over`."""
    joined = user_sessions.join(users, users.c.name == user_sessions.c.name)
    wanted = select(users, user_sessions.c.created_ms.label("begun_ms"), user_sessions.c.seen_ms).select_from(joined)
    row = connection.execute(wanted.where(user_sessions.c.sha256 == sha256)).first()
    if row is None or is_over(row.begun_ms, row.seen_ms, now_ms, scale):
        return None
    return _user(connection, row), now_ms - row.seen_ms >= _SEEN_MS


def note_use(connection: Connection, sha256: str, now_ms: int) -> None:
    """Store that a session is used."""
    connection.execute(update(user_sessions).where(user_sessions.c.sha256 == sha256).values(seen_ms=now_ms))


def end_session(connection: Connection, sha256: str) -> None:
    """Delete a session."""
    connection.execute(delete(user_sessions).where(user_sessions.c.sha256 == sha256))


def end_sessions(connection: Connection, name: str) -> None:
    """Delete all sessions of a person."""
    connection.execute(delete(user_sessions).where(user_sessions.c.name == name))
