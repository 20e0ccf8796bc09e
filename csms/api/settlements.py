"""What sessions settle to, from the back end's own copies of their journals."""

from typing import Annotated, Any

import msgspec

from csms.api.call import Call, encode, read_cursor, shown, write_cursor
from csms.api.operations import Page, get
from csms.api.parameters import Paged
from csms.api.several import OfStation, one_of
from csms.core.access import Permission
from csms.rows import records as rows
from v2g.settlement.settle import Settlement


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


OPERATIONS = (list_settlements, read_settlement)
