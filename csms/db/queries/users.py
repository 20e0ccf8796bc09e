"""People who log in to the console, and their sessions."""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from csms.db.queries.access import sites_of, sites_text
from csms.db.tables import user_passkeys, user_sessions, users
from csms.domain.security.access import Role, Sites
from csms.domain.security.users import IDLE_MS, NAME, SESSION_MS, is_over
from v2g.errors import RefusedError

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


def _user(connection: Connection, row: Any) -> StoredUser:
    return StoredUser(
        name=row.name,
        role=Role(row.role),
        password=row.password,
        initial=row.initial,
        sealed_factor=row.sealed_factor,
        factor_step=row.factor_step,
        sites=sites_of(connection, row.sites),
    )


def describe(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return a person without secrets."""
    row = connection.execute(select(*_SHOWN, users.c.sealed_factor).where(users.c.name == name)).first()
    return None if row is None else _described(row)


def list_page(connection: Connection, after: str = "", limit: int = 1000) -> list[dict[str, Any]]:
    """Return people without secrets, by name: at most `limit` of those after `after`."""
    wanted = select(*_SHOWN, users.c.sealed_factor).where(users.c.name > after).order_by(users.c.name).limit(limit)
    return [_described(row) for row in connection.execute(wanted)]


def _described(row: Any) -> dict[str, Any]:
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
    """Return a passkey."""
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


def begin_session(connection: Connection, sha256: str, name: str, now_ms: int, *, alone: bool = False) -> None:
    """Store a session of a person who has logged in now; delete those that are over. `alone`: their others, too."""
    if alone:
        end_sessions(connection, name)
    late = (user_sessions.c.seen_ms < now_ms - IDLE_MS) | (user_sessions.c.created_ms < now_ms - SESSION_MS)
    connection.execute(delete(user_sessions).where(late))
    connection.execute(insert(user_sessions).values(sha256=sha256, name=name, created_ms=now_ms, seen_ms=now_ms))
    connection.execute(update(users).where(users.c.name == name).values(login_ms=now_ms))


def find_session(connection: Connection, sha256: str, now_ms: int) -> tuple[StoredUser, bool] | None:
    """Return whose session this is, and whether its use is to be stored; None without one, or if it is over."""
    joined = user_sessions.join(users, users.c.name == user_sessions.c.name)
    wanted = select(users, user_sessions.c.created_ms.label("begun_ms"), user_sessions.c.seen_ms).select_from(joined)
    row = connection.execute(wanted.where(user_sessions.c.sha256 == sha256)).first()
    if row is None or is_over(row.begun_ms, row.seen_ms, now_ms):
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
