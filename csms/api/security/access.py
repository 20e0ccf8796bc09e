"""Bearer tokens of this API, and the audit log."""

import hashlib
import secrets
from typing import Annotated, Any

import msgspec

from csms.api.backend import ACCESS_CHANGED
from csms.api.http.call import Call
from csms.api.http.operations import Page, Reply, delete, get, post
from csms.api.http.paging import newest_first, pages, shown
from csms.api.http.parameters import PRINTED, OnlySites, Paged
from csms.api.http.problems import ApiError, conflict, missing
from csms.db.queries import access as rows
from csms.domain.security.access import Permission, Role, evs_of, permissions
from v2g.units import UtcMs


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


@get("/access/tokens", Permission.MANAGE_ACCESS)
async def list_access_tokens(call: Call, parameters: Paged) -> Page[Token]:
    """List the tokens created here; those of the configuration file are not included."""
    return await pages(
        call,
        parameters,
        Token,
        tuple[str],
        ("token_id",),
        lambda connection, after, limit: rows.list_tokens(connection, after[0] if after else "", limit),
    )


@get("/access/tokens/{token_id}", Permission.MANAGE_ACCESS, problems=(404,))
async def read_access_token(call: Call, parameters: OneToken) -> Token:
    """Return one token."""
    found = await call.run(rows.find_token, parameters.token_id)
    if found is None:
        raise missing("token")
    return shown(found, Token)


@post(
    "/access/tokens",
    Permission.MANAGE_ACCESS,
    status=201,
    confidential=True,
    example={"name": "console", "role": "viewer"},
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
    _before, after = await call.change(
        lambda connection: rows.find_token(connection, token_id),
        lambda connection, _before: rows.add_token(connection, row),
    )
    made = MadeToken(token=shown(after, Token), secret=secret)
    return Reply(content=made, status=201, headers={"Location": f"/access/tokens/{token_id}"})


@delete("/access/tokens/{token_id}", Permission.MANAGE_ACCESS, problems=(404,), conditional=True)
async def revoke_access_token(call: Call, parameters: OneToken) -> None:
    """Revoke a token. It stops working immediately and stays in the list."""

    def revoke(connection: Any, before: Token | None) -> None:
        if before is None:
            raise missing("token")
        if not rows.revoke_token(connection, parameters.token_id, call.now_ms):
            raise conflict("the token is revoked already", code="revoked")

    def read(connection: Any) -> Token | None:
        found = rows.find_token(connection, parameters.token_id)
        return None if found is None else shown(found, Token)

    await call.change(read, revoke)
    await call.services.connections.decided()
    call.services.feed.publish(ACCESS_CHANGED, None, {"token": parameters.token_id})


@get("/access/me", Permission.READ_SELF)
async def read_self(call: Call) -> Who:
    """Return the caller."""
    may = tuple(sorted(permissions(call.caller), key=lambda each: each.value))
    sites = None if call.caller.sites is None else tuple(sorted(call.caller.sites.names))
    return Who(name=call.caller.name, role=call.caller.role, sites=sites, permissions=may)


@get("/audit", Permission.READ_AUDIT)
async def list_audit(call: Call, parameters: WhichEntries) -> Page[Entry]:
    """List the audit log, newest first."""
    return await newest_first(
        call,
        parameters,
        Entry,
        "id",
        lambda connection, before, limit: rows.list_entries(
            connection, before=before, limit=limit, caller=parameters.caller, operation=parameters.operation
        ),
    )
