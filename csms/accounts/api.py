"""People who log in to the console, bearer tokens of this API, and the audit log."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from csms.accounts import store as rows
from csms.accounts.rules import Permission, Role, check_role, evs_of, permissions
from csms.backend import ACCESS_CHANGED
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post, put
from csms.http.parameters import PRINTED, OnlySites, Paged, newest_first, pages, shown
from csms.http.problems import ApiError, conflict, existing
from v2g.units import UtcMs

UserName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}\Z", description="Lower-case letters, digits, ._@+-.", examples=["ada"]
    ),
]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person who may log in to the console. `sites`: the only ones that the role is for; null is all. `initial`: has
    not changed the issued password yet."""

    name: str
    role: Role
    sites: tuple[str, ...] | None
    initial: bool
    second_factor: bool
    created_ms: int
    created_by: str
    login_ms: int | None


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person who may log in from now on. Roles of programs and drivers are refused."""

    name: UserName
    role: Role
    sites: OnlySites = None


class NewRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another role."""

    role: Role
    sites: OnlySites = None


class IssuedPassword(msgspec.Struct, frozen=True, kw_only=True):
    """A password, shown once, here; it has to be changed at the first login."""

    user: User
    password: str


@get("/access/users", Permission.MANAGE_ACCESS, tag="users")
async def list_users(call: Call, parameters: Paged) -> Page[User]:
    """List the people who may log in to the console, by name."""
    return await pages(call, parameters, User, tuple[str], ("name",), rows.list_page)


@post(
    "/access/users",
    Permission.MANAGE_ACCESS,
    status=201,
    confidential=True,
    example={"name": "ada", "role": "viewer"},
    tag="users",
)
async def add_user(call: Call, body: NewUser) -> Reply[IssuedPassword]:
    """Let a person log in to the console. The issued password is only in this answer."""
    from csms.accounts.work import (
        hash_password,  # on demand: argon2 is for people only
        new_password,
    )

    check_role(body.role)
    password = new_password()
    hashed = await asyncio.to_thread(hash_password, password)

    def write(connection: Connection, _before: object) -> None:
        if not rows.add(connection, body.name, body.role, hashed, call.now_ms, call.caller.name, body.sites):
            raise conflict(f"{body.name} exists already", "reset issues another password", code="exists")

    user = await _change(call, body.name, write, exists=False)
    headers = {"Location": f"/access/users/{body.name}"}
    return Reply(content=IssuedPassword(user=user, password=password), status=201, headers=headers)


@get("/access/users/{name}", Permission.MANAGE_ACCESS, problems=(404,), tag="users")
async def read_user(call: Call, name: UserName) -> User:
    """Return one person."""
    return shown(existing("user", await call.run(rows.describe, name)), User)


@put(
    "/access/users/{name}/role",
    Permission.MANAGE_ACCESS,
    problems=(404, 409),
    example={"role": "operator"},
    tag="users",
)
async def set_user_role(call: Call, name: UserName, body: NewRole) -> User:
    """Give a person another role and sites, at once. Nobody changes their own: another administrator has to."""
    check_role(body.role)
    _require_another(call, name)
    return await _change(call, name, lambda connection, _: rows.set_role(connection, name, body.role, body.sites))


@post("/access/users/{name}/reset", Permission.MANAGE_ACCESS, problems=(404,), confidential=True, tag="users")
async def reset_user(call: Call, name: UserName) -> IssuedPassword:
    """Issue another password, remove the second factor and passkeys, and end all sessions of a person."""
    from csms.accounts.work import (
        hash_password,  # on demand: argon2 is for people only
        new_password,
    )

    password = new_password()
    hashed = await asyncio.to_thread(hash_password, password)

    def write(connection: Connection, _before: object) -> None:
        rows.set_password(connection, name, hashed, initial=True)
        rows.set_factor(connection, name, None)
        rows.remove_passkeys(connection, name)

    return IssuedPassword(user=await _change(call, name, write), password=password)


@delete("/access/users/{name}", Permission.MANAGE_ACCESS, problems=(404, 409), tag="users")
async def remove_user(call: Call, name: UserName) -> None:
    """Remove a person, at once. Nobody removes themselves."""
    _require_another(call, name)
    await _change(call, name, lambda connection, _: rows.remove(connection, name), stays=False)


def _require_another(call: Call, name: str) -> None:
    """Let no administrator lock themselves out. Raises ApiError."""
    if call.caller.id == f"user {name}":
        raise conflict("this is your own account", "another administrator has to", code="own_account")


async def _change(
    call: Call,
    name: str,
    write: Callable[[Connection, User | None], object],
    *,
    exists: bool = True,
    stays: bool = True,
) -> User:
    def read(connection: Connection) -> User | None:
        found = rows.describe(connection, name)
        return None if found is None else shown(found, User)

    def checked(connection: Connection, before: User | None) -> None:
        write(connection, existing("user", before) if exists else before)

    before, after = await call.change(read, checked)
    await call.services.connections.decided()
    call.services.feed.publish(ACCESS_CHANGED, None, {"user": name})
    found = after if stays else before
    assert found is not None, "it was checked"
    return found


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to create: its owner, role, and restrictions.

    `scopes` (null: all of the role) are permissions. `evs`: the vehicles whose telemetry it may handle or read; `*` is
    all, the default of most roles; `driver`, `fleet` and `insurer` have none without it.
    `expires_ms`: ms since 1970 in UTC; null is never.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=PRINTED)]
    role: Role
    scopes: tuple[Permission, ...] | None = None
    evs: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] | None = None
    sites: OnlySites = None
    expires_ms: UtcMs | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret."""

    token_id: str
    name: str
    role: Role
    scopes: tuple[Permission, ...] | None
    evs: tuple[str, ...]
    sites: tuple[str, ...] | None
    created_ms: int
    created_by: str
    expires_ms: int | None
    revoked_ms: int | None


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. `secret` is what its owner sends; it is shown once, here, and not stored."""

    token: Token
    secret: str


class OneToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a token."""

    token_id: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's identity and permissions."""

    name: str
    role: Role
    sites: tuple[str, ...] | None
    permissions: tuple[Permission, ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the audit log: caller, operation, and the document before and after, if there is one."""

    id: int
    at_ms: int
    caller: str
    role: str
    peer: str
    operation: str
    path: str
    status: int
    request: Any
    before: Any
    after: Any


class WhichEntries(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for the audit log."""

    caller: Annotated[str | None, msgspec.Meta(description="Only entries of this caller.")] = None
    operation: Annotated[str | None, msgspec.Meta(description="Only this operationId.")] = None


@get("/access/tokens", Permission.MANAGE_ACCESS, tag="access")
async def list_access_tokens(call: Call, parameters: Paged) -> Page[Token]:
    """List the tokens created here; those of the configuration file are not included."""
    return await pages(call, parameters, Token, tuple[str], ("token_id",), rows.list_tokens)


@get("/access/tokens/{token_id}", Permission.MANAGE_ACCESS, problems=(404,), tag="access")
async def read_access_token(call: Call, parameters: OneToken) -> Token:
    """Return one token."""
    return shown(existing("token", await call.run(rows.find_token, parameters.token_id)), Token)


@post(
    "/access/tokens",
    Permission.MANAGE_ACCESS,
    status=201,
    confidential=True,
    example={"name": "console", "role": "viewer"},
    tag="access",
)
async def make_access_token(call: Call, body: NewToken) -> Reply[MadeToken]:
    """Create a token. Its secret is only in this answer."""
    if body.expires_ms is not None and body.expires_ms <= call.now_ms:
        raise ApiError(400, "expires_ms lies in the past")
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    row = {
        "token_id": token_id,
        "name": body.name,
        "role": body.role.value,
        "scopes": None if body.scopes is None else [each.value for each in body.scopes],
        "evs": msgspec.json.encode(evs_of(body.role, body.evs)).decode(),
        "sites": body.sites,
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "created_ms": call.now_ms,
        "created_by": call.caller.name,
        "expires_ms": body.expires_ms,
    }
    after = await call.put(
        lambda connection: rows.find_token(connection, token_id),
        lambda connection, _before: rows.add_token(connection, row),
    )
    made = MadeToken(token=shown(after, Token), secret=secret)
    return Reply(content=made, status=201, headers={"Location": f"/access/tokens/{token_id}"})


@delete("/access/tokens/{token_id}", Permission.MANAGE_ACCESS, problems=(404,), conditional=True, tag="access")
async def revoke_access_token(call: Call, parameters: OneToken) -> None:
    """Revoke a token. It stops working immediately and stays in the list."""

    def revoke(connection: Connection, _: Token) -> None:
        if not rows.revoke_token(connection, parameters.token_id, call.now_ms):
            raise conflict("the token is revoked already", code="revoked")

    def read(connection: Connection) -> Token | None:
        found = rows.find_token(connection, parameters.token_id)
        return None if found is None else shown(found, Token)

    await call.remove("token", read, revoke)
    await call.services.connections.decided()
    call.services.feed.publish(ACCESS_CHANGED, None, {"token": parameters.token_id})


@get("/access/me", Permission.READ_SELF, tag="access")
async def read_self(call: Call) -> Who:
    """Return the caller."""
    may = tuple(sorted(permissions(call.caller), key=lambda each: each.value))
    sites = None if call.caller.sites is None else tuple(sorted(call.caller.sites.names))
    return Who(name=call.caller.name, role=call.caller.role, sites=sites, permissions=may)


@get("/audit", Permission.READ_AUDIT, tag="access")
async def list_audit(call: Call, parameters: WhichEntries) -> Page[Entry]:
    """List the audit log, newest first."""
    return await newest_first(call, parameters, Entry, "id", rows.list_entries, parameters.caller, parameters.operation)
