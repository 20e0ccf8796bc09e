"""Settlements of sessions, from the back end's own copies of their journals."""

from typing import Annotated, Any

import msgspec

from csms.api.http.call import Call, encode
from csms.api.http.operations import Page, Reply, get
from csms.api.http.paging import read_cursor, shown, write_cursor
from csms.api.http.parameters import OfStation, Paged, one_of
from csms.db.queries import records as rows
from csms.domain.security.access import Permission
from v2g.energy.settlement.settle import Settlement


class StoredSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement, when it was computed, and the head of its journal."""

    station_id: str
    session_id: str
    computed_ms: int
    journal_head: str
    document: Settlement


class OneSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a session."""

    session_id: Annotated[str, msgspec.Meta(description="The ISO 15118 session id.", examples=["0A1B2C3D4E5F6071"])]
    station: OfStation = None


@get("/settlements/{session_id}", Permission.READ_SETTLEMENTS, problems=(404, 409), answer=StoredSettlement)
async def read_settlement(call: Call, parameters: OneSession) -> bytes:
    """Return the settlement of the back end's copy of a session's journal."""
    found = await call.run(rows.find_settlements, parameters.session_id)
    return encode(one_of(found, parameters.station, "settlement"))  # verbatim


@get(
    "/settlements/{session_id}/journal",
    Permission.READ_TOKENS,
    media_type="application/jsonl",
    problems=(404, 409),
    answer=str,
)
async def read_journal(call: Call, parameters: OneSession) -> Reply[bytes]:
    """Return the back end's copy of a session's journal, a hash chain of JSON lines, as the charger sent it.

    It names the contract and cannot omit anything, so it requires `read_tokens` besides `read_settlements`. For a
    running session it has the lines received so far.
    """
    call.require(Permission.READ_SETTLEMENTS)  # all roles with one permission have the other; scopes may not
    found = await call.run(rows.find_journals, parameters.session_id)
    lines = one_of(found, parameters.station, "journal")["lines"]
    return Reply(content=b"".join(lines), media_type="application/jsonl")


class WhichSettlements(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for settlements."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only of this station.")] = None


@get("/settlements", Permission.READ_SETTLEMENTS, answer=Page[StoredSettlement])
async def list_settlements(call: Call, parameters: WhichSettlements) -> Page[Any]:
    """List settlements, by station and session."""
    after = read_cursor(parameters.cursor, tuple[str, str])
    found = await call.run(rows.list_settlements, after, parameters.limit + 1, parameters.station_id)
    items = tuple(shown(each, dict[str, Any]) for each in found[: parameters.limit])  # verbatim
    more = len(found) > parameters.limit
    return Page(items, write_cursor(items[-1]["station_id"], items[-1]["session_id"]) if more else None)


OPERATIONS = (list_settlements, read_settlement, read_journal)
