"""Settlements of sessions, from the back end's own copies of their journals."""

import asyncio
from datetime import tzinfo
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.booking import store as reviews
from csms.books import store as books
from csms.books.audit import same_document
from csms.books.operator_key import BooksKeys
from csms.http.call import Call, encode
from csms.http.operations import ALONE, Page, Reply, get, post
from csms.http.parameters import Money, OfAnyStation, OfStation, money_of, one_of, pages
from csms.http.problems import ApiError, conflict
from csms.settlements import store as rows
from csms.settlements.work import correct_journal, is_repeated, taxation_of
from csms.tariffs import store as tariffs
from v2g.energy.grid_signal import TypedTariff
from v2g.energy.settlement.checkpoints import copies_of, encode_copy
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pieces import zone_of
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.receipt import Language, receipt
from v2g.energy.settlement.records import Correction, LineCorrected, SessionRepriced
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import Taxation, taxes_of
from v2g.errors import VerificationError
from v2g.typed_json import Fields
from v2g.units import Decimals, micro_of, payable_micro

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class StoredSettlement(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement, when it was computed, and the head of its journal."""

    station_id: str
    session_id: str
    computed_ms: int
    journal_head: str
    document: Settlement


class RecomputedSettlement(StoredSettlement, frozen=True, kw_only=True):
    """`intact`: whether the settlement follows from the back end's copy of the journal, recomputed now."""

    intact: bool


class OneSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a session."""

    session_id: Annotated[str, msgspec.Meta(description="The ISO 15118 session id.", examples=["0A1B2C3D4E5F6071"])]
    station: OfStation = None


@get("/settlements/{session_id}", Permission.READ_SETTLEMENTS, problems=(404, 409), answer=RecomputedSettlement)
async def read_settlement(call: Call, parameters: OneSession) -> bytes:
    """Return the settlement of the back end's copy of a session's journal."""
    known = await call.run(rows.find_settlements, parameters.session_id, parameters.station)
    found = one_of(call, known, parameters.station, "settlement")
    lines = await call.run(rows.journal_lines, found["station_id"], parameters.session_id)
    intact = await asyncio.to_thread(same_document, found["document"], b"".join(lines))
    return encode({**found, "intact": intact})  # verbatim


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
    return Reply(content=await _journal(call, parameters), media_type="application/jsonl")


async def _journal(call: Call, parameters: OneSession) -> bytes:
    return b"".join((await _copy(call, parameters, "journal"))["lines"])


async def _copy(call: Call, parameters: OneSession, what: str) -> Fields:
    found = await call.run(rows.find_journals, parameters.session_id, parameters.station)
    return one_of(call, found, parameters.station, what)


@get(
    "/settlements/{session_id}/checkpoints",
    Permission.READ_SETTLEMENTS,
    media_type="application/jsonl",
    problems=(404, 409),
    answer=str,
)
async def read_checkpoints(call: Call, parameters: OneSession) -> Reply[bytes]:
    """Return the checkpoints that the vehicle countersigned, from the back end's copy of a session's journal.

    A file for `v2g settle verify --checkpoints`: lines with both signed messages, as the vehicle keeps them, too.
    """
    made = await asyncio.to_thread(_checkpoints, await _journal(call, parameters), parameters.session_id)
    return Reply(content=made, media_type="application/jsonl")


def _checkpoints(journal: bytes, session_id: str) -> bytes:
    return b"".join(encode_copy(copy) for copy in copies_of(verify_lines(journal, name=session_id), session_id))


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
    "/settlements/{session_id}/receipt", Permission.READ_TOKENS, media_type="text/html", problems=(404, 409), answer=str
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
    copy = await _copy(call, parameters, "journal")
    await _require_booked(call, parameters.session_id, copy["station_id"])
    cost = await call.run(_plan_cost, copy["station_id"], parameters.session_id)
    try:
        taxation = taxation_of(copy["receipt"], call.services.config.taxation)
        page = await asyncio.to_thread(
            _receipt, b"".join(copy["lines"]), parameters.session_id, parameters.language, zone, taxation, cost
        )
    except VerificationError as error:
        raise conflict(
            f"no settlement follows from the journal: {error}", "see the journal", code="unsettled"
        ) from None
    return Reply(content=page, media_type="text/html", headers={"Content-Security-Policy": ALONE})


async def _require_booked(call: Call, session_id: str, station_id: str) -> None:
    """Refuse what would show money of a session that waits, is in quarantine, or was rejected. Raises ApiError."""
    for each in await call.run(reviews.find, session_id, station_id):
        if each.state in ("waiting", "quarantined", "rejected"):
            hint = f"GET /books/quarantine/{session_id} says why"
            raise conflict(f"session {session_id} is {each.state}, not booked", hint, code="not_booked")


def _plan_cost(connection: Connection, station_id: str, session_id: str) -> tuple[int, str] | None:
    """Return what a price plan makes of a session's transaction, with taxes, and the currency; None without a plan."""
    for each in reviews.find(connection, session_id, station_id):
        if each.transaction_id is not None:
            found = tariffs.cost(connection, station_id, each.transaction_id)
            return None if found is None else (found["incl_tax"], found["currency"])
    return None


def _receipt(
    journal: bytes, name: str, language: Language, zone: tzinfo, taxation: Taxation, cost: tuple[int, str] | None
) -> bytes:
    entries = verify_lines(journal, name=name)
    settlement = settle(entries, name=name)
    taxes = taxes_of(entries, settlement, taxation)
    return receipt(entries, settlement, language=language, zone=zone, taxes=taxes, plan_cost=cost).encode()


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """What a session costs the driver with VAT, in each currency (below 0: is owed), by the journal with this head."""

    station_id: str
    session_id: str
    journal_head: str
    owed: tuple[Money, ...]


class NewPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The right price of a line in force, per kWh in its currency, and why the old one was wrong."""

    line: Annotated[str, msgspec.Meta(min_length=1, max_length=200, examples=["1795000000000/import"])]
    price_per_kwh: Decimals
    reason: Reason


class NewTariff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tariff by which a session is repriced, and why. Prices are decimal text per kWh; integers are millionths."""

    tariff: TypedTariff
    reason: Reason


@post(
    "/settlements/{session_id}/corrections",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    example={"line": "1795000000000/import", "price_per_kwh": "0.25", "reason": "wrong tariff"},
)
async def correct_line(call: Call, parameters: OneSession, body: NewPrice) -> Charged:
    """Correct the price of a line of a settled session.

    The correction, with caller and time and signed by `books_key`, continues the back end's copy of the journal. The
    line is reversed and entered again at the new price; the books reverse the session's posting and repost it in the
    first open period.
    """
    price = micro_of(body.price_per_kwh)
    record = LineCorrected(line=body.line, price=price, reason=body.reason, by=call.caller.name)
    return await _correct(call, parameters, record)


@post(
    "/settlements/{session_id}/reprice",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    example={
        "tariff": {
            "currency": "EUR",
            "slots": [
                {
                    "start_ms": 1_795_000_000_000,
                    "duration_ms": 86_400_000,
                    "import_price": "0.25",
                    "export_compensation": "0.18",
                }
            ],
            "version": 8,
            "source": "operator",
        },
        "reason": "wrong tariff",
    },
)
async def reprice_session(call: Call, parameters: OneSession, body: NewTariff) -> Charged:
    """Reprice a settled session by a tariff, which must cover it; lines for wear stay.

    Otherwise like the correction of a line. `v2g settle reprice` shows beforehand what changes.
    """
    return await _correct(
        call, parameters, SessionRepriced(tariff=body.tariff.tariff(), reason=body.reason, by=call.caller.name)
    )


@post("/settlements/{session_id}/corrections/sign", Permission.CORRECT_SETTLEMENTS, problems=(404, 409))
async def sign_corrections(call: Call, parameters: OneSession) -> Charged:
    """Sign the journal and corrections that a session has, by `books_key`: of earlier versions, or of a lost key."""
    return await _correct(call, parameters, None)


async def _correct(call: Call, parameters: OneSession, correction: Correction | None) -> Charged:
    copy = await _copy(call, parameters, "session")
    station_id, session_id = copy["station_id"], copy["session_id"]
    await _require_booked(call, session_id, station_id)
    if correction is not None and await asyncio.to_thread(is_repeated, copy["lines"], correction):
        known = await call.run(_charged, station_id, session_id)
        if known is not None:
            return known  # nothing changes
    key = call.services[BooksKeys].own
    taxation = taxation_of(copy["receipt"], call.services.config.taxation)
    found = await asyncio.to_thread(
        correct_journal, station_id, session_id, copy["lines"], correction, call.now_ms, key, taxation
    )
    zone = call.services.config.accounting_zone

    def charged(connection: Connection) -> Charged | None:
        return _charged(connection, station_id, session_id)

    _, after = await call.change(
        charged,
        lambda connection, _before: books.save_corrected(
            connection,
            found.row,
            found.before,
            found.lines,
            found.settled.posting,
            found.settled.document,
            call.now_ms,
            zone,
            found.receipt,
        ),
    )
    assert after is not None, "it is read after it was written"
    call.services.report(
        "settlement",
        "corrected",
        station_id,
        {
            "session": session_id,
            "by": call.caller.name,
            "reason": "signed" if correction is None else correction.reason,
            **found.settled.summary,
        },
    )
    return after


def _charged(connection: Connection, station_id: str, session_id: str) -> Charged | None:
    """Return what the books say that a driver owes for a session; None while it is not settled."""
    stored = next(iter(rows.find_settlements(connection, session_id, station_id)), None)
    if stored is None:
        return None
    owed: dict[str, int] = {
        each["currency"]: 0 for each in stored["document"]["totals"] if each["currency"] != NO_CURRENCY
    }
    for _, _, posting in books.of_session(connection, station_id, session_id):
        for entry in posting.entries:
            if entry.account == "driver":
                owed[entry.unit] = owed.get(entry.unit, 0) + payable_micro(entry.amount, entry.unit)
    return Charged(
        station_id=station_id,
        session_id=session_id,
        journal_head=stored["journal_head"],
        owed=tuple(money_of(amount, currency) for currency, amount in owed.items()),
    )


@get("/settlements", Permission.READ_SETTLEMENTS, answer=Page[StoredSettlement])
async def list_settlements(call: Call, parameters: OfAnyStation) -> Page[Any]:
    """List settlements, by station and session."""
    return await pages(
        call,
        parameters,
        Fields,  # verbatim
        tuple[str, str],
        ("station_id", "session_id"),
        lambda connection, after, limit: rows.list_settlements(connection, after, limit, parameters.station_id),
    )
