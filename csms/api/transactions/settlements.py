"""Settlements of sessions, from the back end's own copies of their journals."""

import asyncio
from datetime import tzinfo
from typing import Annotated, Any, Final

import msgspec

from csms.api.http.call import Call, encode
from csms.api.http.operations import Page, Reply, get
from csms.api.http.paging import read_cursor, shown, write_cursor
from csms.api.http.parameters import OfStation, Paged, one_of
from csms.api.http.problems import ApiError, conflict
from csms.db.queries import records as rows
from csms.domain.security.access import Permission
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pieces import zone_of
from v2g.energy.settlement.receipt import Language, receipt
from v2g.energy.settlement.settle import Settlement, settle
from v2g.errors import VerificationError


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


class OneReceipt(OneSession, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a session, and how its receipt is written."""

    language: Annotated[Language, msgspec.Meta(description="Language of the receipt.")] = "en"
    zone: Annotated[
        str,
        msgspec.Meta(
            max_length=64,
            description="Time zone: an IANA name, or an offset such as +01:00; default: `accounting_time_zone`.",
            examples=["Europe/Berlin"],
        ),
    ] = ""


@get(
    "/settlements/{session_id}/receipt",
    Permission.READ_TOKENS,
    media_type="text/html",
    problems=(404, 409),
    answer=str,
)
async def read_receipt(call: Call, parameters: OneReceipt) -> Reply[bytes]:
    """Return a session's receipt for the driver, a page (HTML), from the back end's copy of the journal.

    It names the contract, so it requires `read_tokens` besides `read_settlements`. For a running session it has the
    state so far. Signatures are not verified: only the charger's bundle has those of the meter.
    """
    call.require(Permission.READ_SETTLEMENTS)
    try:
        zone = call.services.config.accounting_zone if not parameters.zone else zone_of(parameters.zone)
    except ValueError as error:
        raise ApiError(400, str(error), "an IANA name such as Europe/Berlin, or an offset such as +01:00") from None
    found = await call.run(rows.find_journals, parameters.session_id)
    lines = one_of(found, parameters.station, "journal")["lines"]
    try:
        page = await asyncio.to_thread(_receipt, b"".join(lines), parameters.session_id, parameters.language, zone)
    except VerificationError as error:
        raise conflict(
            f"no settlement follows from the journal: {error}", "see the journal", code="unsettled"
        ) from None
    return Reply(content=page, media_type="text/html", headers={"Content-Security-Policy": _SANDBOX})


_SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""The page needs no script and loads nothing."""


def _receipt(journal: bytes, name: str, language: Language, zone: tzinfo) -> bytes:
    entries = verify_lines(journal, name=name)
    return receipt(entries, settle(entries, name=name), language=language, zone=zone).encode()


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


OPERATIONS = (list_settlements, read_settlement, read_receipt, read_journal)
