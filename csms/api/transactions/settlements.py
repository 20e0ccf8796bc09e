"""What sessions settle to, from the back end's own copies of their journals."""

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
    """A settlement, when it was computed, and the head of the journal that it follows from."""

    station_id: str
    session_id: str
    computed_ms: int
    journal_head: str
    document: Settlement


class OneSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which session."""

    session_id: Annotated[str, msgspec.Meta(description="The ISO 15118 session id.", examples=["0A1B2C3D4E5F6071"])]
    station: OfStation = None


@get("/settlements/{session_id}", Permission.READ_SETTLEMENTS, problems=(404, 409), answer=StoredSettlement)
async def read_settlement(call: Call, parameters: OneSession) -> bytes:
    """Tell what the back end's copy of a session's journal settles to."""
    found = await call.run(rows.find_settlements, parameters.session_id)
    return encode(one_of(found, parameters.station, "settlement"))  # word for word as it was settled


@get(
    "/settlements/{session_id}/journal",
    Permission.READ_TOKENS,
    media_type="application/jsonl",
    problems=(404, 409),
    answer=str,
)
async def read_journal(call: Call, parameters: OneSession) -> Reply[bytes]:
    """Give the back end's copy of a session's journal, a hash chain of JSON lines, as the charger has sent it.

    It names whose contract it was, and can leave nothing out: so it takes `read_tokens` beside `read_settlements`. A
    session that goes on has those lines that have arrived.
    """
    call.require(Permission.READ_SETTLEMENTS)  # all roles with the one permission have the other, scopes may not
    found = await call.run(rows.find_journals, parameters.session_id)
    lines = one_of(found, parameters.station, "journal")["lines"]
    return Reply(content=b"".join(lines), media_type="application/jsonl")


class WhichSettlements(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which settlements."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only of this station.")] = None


@get("/settlements", Permission.READ_SETTLEMENTS, answer=Page[StoredSettlement])
async def list_settlements(call: Call, parameters: WhichSettlements) -> Page[Any]:
    """List what sessions settle to, by station and session."""
    after = read_cursor(parameters.cursor, tuple[str, str])
    found = await call.run(rows.list_settlements, after, parameters.limit + 1, parameters.station_id)
    items = tuple(shown(each, dict[str, Any]) for each in found[: parameters.limit])  # word for word
    more = len(found) > parameters.limit
    return Page(items, write_cursor(items[-1]["station_id"], items[-1]["session_id"]) if more else None)


OPERATIONS = (list_settlements, read_settlement, read_journal)
