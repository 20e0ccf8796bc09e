"""Tokens, their terms and groups; caches (block C) and local authorization lists (block D) of stations."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, delete, get, post, put, to_station
from csms.http.parameters import PRINTED, Paged, StationId, check_printed, page_of, read_cursor, write_cursor
from csms.http.problems import existing, missing
from csms.tokens import local_lists
from csms.tokens import store as rows
from csms.tokens import work as service
from csms.tokens.rules import Group, Terms, Token, check_form, normalise
from v2g.ocpp.messages.authorization import ClearCacheStatus
from v2g.ocpp.messages.base import EnergyTransferMode

TokenType = Annotated[str, msgspec.Meta(min_length=1, max_length=20, pattern=PRINTED, examples=["ISO14443"])]
Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=PRINTED, examples=["04A1B2C3"])]
GroupId = Annotated[str, msgspec.Meta(min_length=1, max_length=36, pattern=PRINTED, examples=["fleet-7"])]
Status = Literal[
    "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
    "NotAtThisTime", "Unknown",
]  # fmt: skip


class TokenContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token's status, the modes of energy transfer that it allows (2.1; empty: any), and its terms."""

    status: Status = "Accepted"
    energy_transfer: Annotated[tuple[EnergyTransferMode, ...], msgspec.Meta(max_length=30)] = ()
    terms: Terms = Terms()


class KnownToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token; `id_token` is normalised."""

    token_type: str
    id_token: str
    status: str
    energy_transfer: tuple[str, ...]
    terms: Terms


class OneToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a token."""

    token_type: TokenType
    id_token: Identifier


class WhichTokens(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for tokens."""

    group_id: Annotated[str | None, msgspec.Meta(description="Only members of this group.")] = None
    status: Annotated[Status | None, msgspec.Meta(description="Only these.")] = None
    text: Annotated[
        Annotated[str, msgspec.Meta(max_length=60)] | None, msgspec.Meta(description="Only with this in them.")
    ] = None


class NewStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token's new status."""

    status: Status


class CacheCleared(msgspec.Struct, frozen=True, kw_only=True):
    """The station's answer."""

    status: ClearCacheStatus


class CachesCleared(msgspec.Struct, frozen=True, kw_only=True):
    """Each connected station's answer, or why it could not be asked."""

    answers: dict[str, str]


@get("/tokens", Permission.READ_TOKENS)
async def list_tokens(call: Call, parameters: WhichTokens) -> Page[KnownToken]:
    """List tokens, by type and identifier."""
    after = read_cursor(parameters.cursor, tuple[str, str])
    found = await call.run(
        rows.list_page, after, parameters.limit + 1, parameters.group_id, parameters.status, parameters.text
    )
    items = tuple(_shown(each) for each in found[: parameters.limit])
    more = len(found) > parameters.limit
    return Page(items, write_cursor(items[-1].token_type, items[-1].id_token) if more else None)


@get("/tokens/{token_type}/{id_token}", Permission.READ_TOKENS, problems=(404,))
async def read_token(call: Call, parameters: OneToken) -> KnownToken:
    """Return one token."""
    return existing("token", await call.run(_reader(parameters)))


@put("/tokens/{token_type}/{id_token}", Permission.WRITE_TOKENS, conditional=True, example={"status": "Accepted"})
async def put_token(call: Call, parameters: OneToken, body: TokenContent) -> KnownToken:
    """Store a token, replacing one of the same type and identifier."""
    check_printed(group_id=body.terms.group_id)
    check_form(parameters.token_type, parameters.id_token)
    kind, name = _key(parameters)
    token = Token(kind, name, body.status, body.energy_transfer, body.terms)
    await call.change(_reader(parameters), lambda connection, _before: rows.put(connection, token))
    call.services.feed.publish("token_put", None, {"type": kind, "status": body.status})
    return _shown(token)


@put(
    "/tokens/{token_type}/{id_token}/status",
    Permission.WRITE_TOKENS,
    problems=(404,),
    conditional=True,
    example={"status": "Blocked"},
)
async def set_token_status(call: Call, parameters: OneToken, body: NewStatus) -> KnownToken:
    """Block or unblock a token.

    Stations may use cached answers until these expire: `POST /clear-caches` clears them.
    """
    after = await call.update(
        "token", _reader(parameters), lambda connection, _: rows.set_status(connection, *_key(parameters), body.status)
    )
    call.services.feed.publish("token_status", None, {"type": parameters.token_type, "status": body.status})
    return after


@delete("/tokens/{token_type}/{id_token}", Permission.WRITE_TOKENS, problems=(404,), conditional=True)
async def delete_token(call: Call, parameters: OneToken) -> None:
    """Delete a token. Tokens of the configuration return at the next start."""
    await call.remove("token", _reader(parameters), lambda connection, _: rows.remove(connection, *_key(parameters)))
    call.services.feed.publish("token_removed", None, {"type": parameters.token_type})


@get("/token-groups", Permission.READ_TOKENS)
async def list_groups(call: Call, parameters: Paged) -> Page[Group]:
    """List groups of tokens, by id."""
    return page_of(call, await call.run(rows.list_groups), parameters, lambda each: each.group_id)


@get("/token-groups/{group_id}", Permission.READ_TOKENS, problems=(404,))
async def read_group(call: Call, group_id: GroupId) -> Group:
    """Return one group."""
    return existing("group", await call.run(rows.find_group, group_id))


@put("/token-groups", Permission.WRITE_TOKENS, example={"group_id": "fleet-7", "name": "Fleet 7"})
async def put_group(call: Call, body: Group) -> Group:
    """Store a group, replacing one of the same id; blocking it blocks its members."""
    check_printed(group_id=body.group_id, name=body.name)
    await call.change(
        lambda connection: rows.find_group(connection, body.group_id),
        lambda connection, _before: rows.put_group(connection, body),
    )
    call.services.feed.publish("token_group_put", None, {"group": body.group_id, "blocked": body.blocked})
    return body


@delete("/token-groups/{group_id}", Permission.WRITE_TOKENS, problems=(404,), conditional=True)
async def delete_group(call: Call, group_id: GroupId) -> None:
    """Delete a group; its members stay and still belong together."""
    await call.remove(
        "group",
        lambda connection: rows.find_group(connection, group_id),
        lambda connection, group: rows.remove_group(connection, group.group_id),
    )
    call.services.feed.publish("token_group_put", None, {"group": group_id, "blocked": False})


@to_station("POST", "/clear-cache", Permission.WRITE_TOKENS)
async def clear_cache(call: Call, station_id: StationId) -> CacheCleared:
    """Have a station clear its authorization cache (C11)."""
    return CacheCleared(status=await service.clear_cache(call.services, station_id))


@post("/clear-caches", Permission.WRITE_TOKENS)
async def clear_caches(call: Call) -> CachesCleared:
    """Have every connected station clear its authorization cache (C11)."""
    return CachesCleared(answers=await service.clear_caches(call.services))


def _key(one: OneToken) -> tuple[str, str]:
    return one.token_type, normalise(one.token_type, one.id_token)


def _reader(one: OneToken) -> Callable[[Connection], KnownToken | None]:
    def read(connection: Connection) -> KnownToken | None:
        found = rows.find(connection, *_key(one))
        return None if found is None else _shown(found)

    return read


def _shown(token: Token) -> KnownToken:
    return KnownToken(
        token_type=token.type,
        id_token=token.id_token,
        status=token.status,
        energy_transfer=token.energy_transfer,
        terms=token.terms,
    )


class LocalList(msgspec.Struct, frozen=True, kw_only=True):
    """A station's list as last sent: `status` is the station's answer, `entries` are OCPP's AuthorizationData."""

    station_id: str
    version: int
    status: str
    updated_ms: int
    entries: Any


@get("/stations/{station_id}/local-list", Permission.READ_TOKENS, problems=(404,), tag="local_lists")
async def read_local_list(call: Call, station_id: StationId) -> LocalList:
    """Return the expected content of a station's list."""
    found = await call.run(rows.find_local_list, station_id)
    if found is None:
        raise missing("local list of that station")
    return LocalList(**{**found, "entries": msgspec.json.decode(found["entries"])})


@to_station("POST", "/local-list/synchronise", Permission.WRITE_TOKENS, tag="local_lists")
async def synchronise_local_list(call: Call, station_id: StationId) -> local_lists.SentList:
    """Synchronise a station's list with the tokens, by differences or in full (D01)."""
    return await local_lists.synchronise(call.services, station_id)


@to_station("DELETE", "/local-list", Permission.WRITE_TOKENS, status=200, tag="local_lists")
async def clear_local_list(call: Call, station_id: StationId) -> local_lists.SentList:
    """Empty a station's list (D01)."""
    return await local_lists.clear(call.services, station_id)
