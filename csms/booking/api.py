"""Journals that are not booked, and held transactions: what is wrong or missing, and an operator's decision."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.booking import held
from csms.booking import store as rows
from csms.http.call import Call
from csms.http.operations import Page, get, post
from csms.http.paging import pages, shown
from csms.http.parameters import OfStation, Paged, StationId, one_of
from csms.http.problems import conflict
from csms.payments import work as payments
from csms.settlements.rules import SafeName, SessionCourse, course_of
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import VerificationError

_OPEN: Final[tuple[rows.State, ...]] = ("waiting", "quarantined")


class ShownReview(msgspec.Struct, frozen=True, kw_only=True):
    """A complete journal: `waiting` for evidence until `due_ms`, `quarantined`, or decided: `released` or `rejected`.

    Or, by `kind`, a held transaction: `session_id` is its id, too, and it never waits.

    `reason` and `detail` say what is wrong or missing. `transaction_id` is the OCPP transaction that fits best, empty
    without one; `since_ms` when the journal was complete. `booked` ones had nothing wrong.
    """

    kind: rows.Kind
    station_id: str
    session_id: str
    state: rows.State
    reason: str
    detail: str
    transaction_id: str
    begin_ms: int
    end_ms: int
    since_ms: int
    due_ms: int
    decided_ms: int | None
    decided_by: str
    note: str


class WhichReviews(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for journals."""

    state: Annotated[
        Literal["waiting", "quarantined", "released", "rejected"] | None,
        msgspec.Meta(description="Only these; default: those that wait, and those in quarantine."),
    ] = None


class OneReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a session."""

    session_id: Annotated[SafeName, msgspec.Meta(description="The session.", examples=["0A1B2C3D4E5F6071"])]
    station: OfStation = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a journal is released or rejected."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@get("/books/quarantine", Permission.READ_SETTLEMENTS, tag="quarantine")
async def list_quarantine(call: Call, parameters: WhichReviews) -> Page[ShownReview]:
    """List journals that are not booked, and held transactions, by station and session."""
    states = _OPEN if parameters.state is None else (parameters.state,)
    return await pages(
        call,
        parameters,
        ShownReview,
        tuple[str, str, str],
        ("station_id", "session_id", "kind"),
        lambda connection, after, limit: rows.list_page(connection, after, limit, states=states),
    )


@get("/books/quarantine/{session_id}", Permission.READ_SETTLEMENTS, problems=(404, 409), tag="quarantine")
async def read_quarantine(call: Call, parameters: OneReview) -> ShownReview:
    """Return what is decided about a session's journal, or about a held transaction."""
    return shown(await _found(call, parameters), ShownReview)


class OfTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a transaction of a station."""

    station_id: StationId
    transaction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["tx-1"])]


@get("/stations/{station_id}/transactions/{transaction_id}/journals", Permission.READ_SETTLEMENTS, tag="quarantine")
async def list_journals_of_transaction(call: Call, parameters: OfTransaction) -> tuple[ShownReview, ...]:
    """List the complete journals of a transaction's sessions, booked or not, by time; a charger keeps them."""
    found = await call.run(rows.of_transaction, parameters.station_id, parameters.transaction_id)
    return tuple(shown(asdict(each), ShownReview) for each in found)


@get("/stations/{station_id}/transactions/{transaction_id}/course", Permission.READ_SETTLEMENTS, tag="quarantine")
async def read_course_of_transaction(call: Call, parameters: OfTransaction) -> SessionCourse:
    """Return what happened in the ISO 15118 sessions of a transaction, by the journals that its charger has sent so
    far: steps, offers and answers, limits of discharging with what binds, and prices (millionths per kWh)."""
    station_id, now_ms, margin_ms = parameters.station_id, call.now_ms, call.services.bookkeeper.margin_ms
    journals = await call.run(rows.journals_of, station_id, parameters.transaction_id, now_ms, margin_ms=margin_ms)
    return await asyncio.to_thread(course_of, journals, now_ms)


@post(
    "/books/quarantine/{session_id}/release",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    example={"note": "the station's clock was wrong; confirmed by the driver"},
    tag="quarantine",
)
async def release_journal(call: Call, parameters: OneReview, body: Verdict) -> ShownReview:
    """Book a journal in quarantine on your word: it is settled, posted and debited like any other.

    A held transaction gets its cost: of the energy and time that the judge proposes, by its price plan.

    The audit log has caller and note. Released from `charger`, the charger that signed is its station's from then on.
    Releasing a released one again changes nothing.
    """
    known = typed_json.convert(await _found(call, parameters), rows.Review)
    if known.kind == "transaction":
        return await _decide_transaction(call, known, "released", body.note)
    try:
        settled = await call.services.bookkeeper.release(known.station_id, known.session_id)
    except VerificationError as error:
        raise conflict(f"no settlement follows from it: {error}", "reject it", code="unsettled") from None
    now_ms, zone = call.now_ms, call.services.config.accounting_zone
    posting = replace(settled.posting, station_id=known.station_id, session_id=known.session_id)

    def book(connection: Connection, before: ShownReview | None) -> None:
        if before is not None and before.state == "released":
            return
        found = rows.require_quarantined(rows.get(connection, known.station_id, known.session_id), known.session_id)
        released = replace(found, state="released", decided_ms=now_ms, decided_by=call.caller.name, note=body.note)
        rows.book(connection, released, posting, settled.document, now_ms, zone)

    return await _decide(call, known, book, "journal_released")


@post(
    "/books/quarantine/{session_id}/reject",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    example={"note": "no vehicle was there"},
    tag="quarantine",
)
async def reject_journal(call: Call, parameters: OneReview, body: Verdict) -> ShownReview:
    """Reject a journal or transaction in quarantine: it is never booked.

    Rejecting a rejected one again changes nothing.
    """
    known = typed_json.convert(await _found(call, parameters), rows.Review)
    if known.kind == "transaction":
        return await _decide_transaction(call, known, "rejected", body.note)

    def refuse(connection: Connection, before: ShownReview | None) -> None:
        if before is None or before.state != "rejected":
            place = known.station_id, known.session_id
            rows.reject(connection, *place, call.caller.name, body.note, call.now_ms)

    return await _decide(call, known, refuse, "journal_rejected")


async def _decide_transaction(
    call: Call, known: rows.Review, state: Literal["released", "rejected"], note: str
) -> ShownReview:
    place = known.station_id, known.session_id

    def write(connection: Connection, before: ShownReview | None) -> None:
        if before is None or before.state != state:
            held.decide(connection, *place, state, call.caller.name, note, call.now_ms)
            if state == "released":
                tariffs.release_cost(connection, *place, call.now_ms)

    event = "transaction_released" if state == "released" else "transaction_rejected"
    decided = await _decide(call, known, write, event)
    if state == "released" != known.state and (transaction := await call.run(transactions.get, *place)) is not None:
        await payments.announce_due(call.services, known.station_id, transaction)
    return decided


async def _found(call: Call, parameters: OneReview) -> dict[str, Any]:
    found = await call.run(rows.find, parameters.session_id)
    return one_of(call, [asdict(each) for each in found], parameters.station, "session")


async def _decide(
    call: Call, known: rows.Review, write: Callable[[Connection, ShownReview | None], None], event: str
) -> ShownReview:
    def read(connection: Connection) -> ShownReview | None:
        found = (each for each in rows.find(connection, known.session_id) if each.station_id == known.station_id)
        return next((shown(asdict(each), ShownReview) for each in found), None)

    before, after = await call.change(read, write)
    assert after is not None, "it was found"
    if before != after:
        data = {"session": known.session_id, "reason": after.reason, "by": call.caller.name, "note": after.note}
        call.services.report("settlement", event, known.station_id, data)
    return after
