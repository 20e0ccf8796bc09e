"""People who log in to the console."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.api.backend import ACCESS_CHANGED
from csms.api.http.call import Call
from csms.api.http.operations import Page, Reply, delete, get, post, put
from csms.api.http.paging import pages, shown
from csms.api.http.parameters import OnlySites, Paged
from csms.api.http.problems import conflict, missing
from csms.db.queries import users as rows
from csms.domain.security.access import Permission, Role
from csms.domain.security.users import check_role

UserName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}\Z", description="Lower case.", examples=["ada"])
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


class OneUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a user."""

    name: UserName


@get("/access/users", Permission.MANAGE_ACCESS)
async def list_users(call: Call, parameters: Paged) -> Page[User]:
    """List the people who may log in to the console, by name."""
    return await pages(
        call,
        parameters,
        User,
        tuple[str],
        ("name",),
        lambda connection, after, limit: rows.list_page(connection, after[0] if after else "", limit),
    )


@post(
    "/access/users", Permission.MANAGE_ACCESS, status=201, confidential=True, example={"name": "ada", "role": "viewer"}
)
async def add_user(call: Call, body: NewUser) -> Reply[IssuedPassword]:
    """Let a person log in to the console. The issued password is only in this answer."""
    from csms.services.security.users import hash_password, new_password  # on demand: argon2 is for people only

    check_role(body.role)
    password = new_password()
    hashed = await asyncio.to_thread(hash_password, password)

    def write(connection: Connection, _before: object) -> None:
        if not rows.add(connection, body.name, body.role, hashed, call.now_ms, call.caller.name, body.sites):
            raise conflict(f"{body.name} exists already", "reset issues another password", code="exists")

    user = await _change(call, body.name, write, exists=False)
    headers = {"Location": f"/access/users/{body.name}"}
    return Reply(content=IssuedPassword(user=user, password=password), status=201, headers=headers)


@get("/access/users/{name}", Permission.MANAGE_ACCESS, problems=(404,))
async def read_user(call: Call, parameters: OneUser) -> User:
    """Return one person."""
    found = await call.run(rows.describe, parameters.name)
    if found is None:
        raise missing("user")
    return shown(found, User)


@put("/access/users/{name}/role", Permission.MANAGE_ACCESS, problems=(404, 409), example={"role": "operator"})
async def set_user_role(call: Call, parameters: OneUser, body: NewRole) -> User:
    """Give a person another role and sites, at once. Nobody changes their own: another administrator has to."""
    check_role(body.role)
    _require_another(call, parameters.name)
    return await _change(
        call, parameters.name, lambda connection, _: rows.set_role(connection, parameters.name, body.role, body.sites)
    )


@post("/access/users/{name}/reset", Permission.MANAGE_ACCESS, problems=(404,), confidential=True)
async def reset_user(call: Call, parameters: OneUser) -> IssuedPassword:
    """Issue another password, remove the second factor and passkeys, and end all sessions of a person."""
    from csms.services.security.users import hash_password, new_password  # on demand: argon2 is for people only

    password = new_password()
    hashed = await asyncio.to_thread(hash_password, password)

    def write(connection: Connection, _before: object) -> None:
        rows.set_password(connection, parameters.name, hashed, initial=True)
        rows.set_factor(connection, parameters.name, None)
        rows.remove_passkeys(connection, parameters.name)

    return IssuedPassword(user=await _change(call, parameters.name, write), password=password)


@delete("/access/users/{name}", Permission.MANAGE_ACCESS, problems=(404, 409))
async def remove_user(call: Call, parameters: OneUser) -> None:
    """Remove a person, at once. Nobody removes themselves."""
    _require_another(call, parameters.name)
    await _change(call, parameters.name, lambda connection, _: rows.remove(connection, parameters.name), stays=False)


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
        if exists and before is None:
            raise missing("user")
        write(connection, before)

    before, after = await call.change(read, checked)
    await call.services.connections.decided()
    call.services.feed.publish(ACCESS_CHANGED, None, {"user": name})
    found = after if stays else before
    assert found is not None, "it was checked"
    return found
