"""Journals that are not booked, and held transactions: what is wrong or missing, and an operator's decision."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.booking import held, ledger
from csms.booking import store as rows
from csms.booking.facts import Fact, Source, evse_key
from csms.booking.plausibility import wh
from csms.booking.work import Bookkeeper, announce_due
from csms.http.call import Call
from csms.http.operations import Page, get, post
from csms.http.parameters import EvseId, OfStation, Paged, StationId, one_of, pages, shown
from csms.http.problems import conflict
from csms.settlements.rules import SessionCourse, course_of
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.errors import VerificationError
from v2g.typed_json import Fields
from v2g.units import UtcMs

_OPEN: Final[tuple[rows.State, ...]] = ("waiting", "quarantined")


MilliwattHours = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_EXAMPLE: Final = {"old_import_mwh": 5_005_000_000, "new_import_mwh": 0}


class BookedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A booked session, or the exchange of a meter: where it was, when (UTC ms), and the first and last values of the
    EVSE's registers, null without them."""

    kind: Source
    station_id: str
    session_id: str
    evse_id: int
    begin_ms: int
    end_ms: int
    import_wh: tuple[str, str] | None
    export_wh: tuple[str, str] | None


class ShownContradiction(BookedSession, frozen=True, kw_only=True):
    """A session that is booked, and the one that it contradicts; null where your role does not extend to that."""

    contradicts: BookedSession | None


class MeterExchange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The registers of the old meter when it was taken out, and of the new one; `at_ms`: when, else now."""

    old_import_mwh: MilliwattHours
    new_import_mwh: MilliwattHours
    old_export_mwh: MilliwattHours | None = None
    new_export_mwh: MilliwattHours | None = None
    at_ms: UtcMs | None = None


class ShownReview(msgspec.Struct, frozen=True, kw_only=True):
    """A complete journal: `waiting` for evidence until `due_ms`, `quarantined`, or decided: `released` or `rejected`.

    Or, by `kind`, a held transaction: `session_id` is its id, too, and it never waits.

    `reason` and `detail` say what is wrong or missing, `contradicts` with which session it cannot be.
    `transaction_id` is the OCPP transaction that fits best, empty without one; `since_ms` when the journal was
    complete. `booked` ones had nothing wrong.
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
    contradicts: BookedSession | None = None


class WhichReviews(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for journals."""

    state: Annotated[
        Literal["waiting", "quarantined", "released", "rejected"] | None,
        msgspec.Meta(description="Only these; default: those that wait, and those in quarantine."),
    ] = None


class OneReview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a session, or of a held transaction."""

    session_id: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, description="The session.", examples=["0A1B2C3D4E5F6071"])
    ]
    station: OfStation = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a journal is released or rejected."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@get("/books/quarantine", Permission.READ_SETTLEMENTS, tag="quarantine")
async def list_quarantine(call: Call, parameters: WhichReviews) -> Page[ShownReview]:
    """List journals that are not booked, and held transactions, by station and session."""
    states = _OPEN if parameters.state is None else (parameters.state,)

    def read(connection: Connection, after: tuple[str, str, str] | None, limit: int) -> list[Fields]:
        return _with_contradicted(call, connection, rows.list_page(connection, after, limit, states=states))

    return await pages(call, parameters, ShownReview, tuple[str, str, str], ("station_id", "session_id", "kind"), read)


@get("/books/quarantine/{session_id}", Permission.READ_SETTLEMENTS, problems=(404, 409), tag="quarantine")
async def read_quarantine(call: Call, parameters: OneReview) -> ShownReview:
    """Return what is decided about a session's journal, or about a held transaction."""
    return shown(await _found(call, parameters), ShownReview)


TransactionId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, examples=["tx-1"])]


@get("/stations/{station_id}/transactions/{transaction_id}/journals", Permission.READ_SETTLEMENTS, tag="quarantine")
async def list_journals_of_transaction(
    call: Call, station_id: StationId, transaction_id: TransactionId
) -> tuple[ShownReview, ...]:
    """List the complete journals of a transaction's sessions, booked or not, by time; a charger keeps them."""
    found = await call.run(rows.of_transaction, station_id, transaction_id)
    return tuple(shown(asdict(each), ShownReview) for each in found)


@get("/stations/{station_id}/transactions/{transaction_id}/course", Permission.READ_SETTLEMENTS, tag="quarantine")
async def read_course_of_transaction(call: Call, station_id: StationId, transaction_id: TransactionId) -> SessionCourse:
    """Return what happened in the ISO 15118 sessions of a transaction, by the journals that its charger has sent so
    far: steps, offers and answers, limits of discharging with what binds, and prices (millionths per kWh)."""
    now_ms, margin_ms = call.now_ms, call.services[Bookkeeper].margin_ms
    journals = await call.run(rows.journals_of, station_id, transaction_id, now_ms, margin_ms=margin_ms)
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
        settled = await call.services[Bookkeeper].release(known.station_id, known.session_id)
    except VerificationError as error:
        raise conflict(f"no settlement follows from it: {error}", "reject it", code="unsettled") from None
    now_ms, zone = call.now_ms, call.services.config.accounting_zone
    posting = replace(settled.posting, station_id=known.station_id, session_id=known.session_id)

    def book(connection: Connection, before: ShownReview | None) -> None:
        if before is not None and before.state == "released":
            return
        found = rows.require_quarantined(rows.get(connection, known.station_id, known.session_id), known.session_id)
        released = replace(found, state="released", decided_ms=now_ms, decided_by=call.caller.name, note=body.note)
        rows.book(connection, released, posting, settled.document, settled.facts, now_ms, zone)

    return await _decide(call, known, book, "journal_released")


@post(
    "/books/quarantine/{session_id}/reject",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    lasting=True,
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
        await announce_due(call.services, known.station_id, transaction)
    return decided


async def _found(call: Call, parameters: OneReview) -> dict[str, object]:
    found = await call.run(partial(_find, call), parameters.session_id, parameters.station)
    return one_of(call, found, parameters.station, "session")


def _find(call: Call, connection: Connection, session_id: str, station_id: str | None) -> list[dict[str, object]]:
    return _with_contradicted(
        call, connection, [asdict(each) for each in rows.find(connection, session_id, station_id)]
    )


async def _decide(
    call: Call, known: rows.Review, write: Callable[[Connection, ShownReview | None], None], event: str
) -> ShownReview:
    def read(connection: Connection) -> ShownReview | None:
        found = _find(call, connection, known.session_id, known.station_id)
        return next((shown(each, ShownReview) for each in found), None)

    before, after = await call.change(read, write)
    assert after is not None, "it was found"
    if before != after:
        data = {"session": known.session_id, "reason": after.reason, "by": call.caller.name, "note": after.note}
        call.services.report("settlement", event, known.station_id, data)
    return after


@get("/books/contradictions", Permission.READ_SETTLEMENTS, tag="quarantine")
async def list_contradictions(call: Call, parameters: Paged) -> Page[ShownContradiction]:
    """List booked sessions that others contradict, by station and session: found after they were booked."""

    def read(connection: Connection, after: tuple[str, str, str] | None, limit: int) -> list[Fields]:
        found = ledger.booked_contradictions(connection, after, limit)
        others = ledger.contradicted(connection, [_key(each) for each in found])
        return [_session(each) | {"contradicts": _visible(call, others.get(_key(each)))} for each in found]

    keys = ("station_id", "kind", "session_id")
    return await pages(call, parameters, ShownContradiction, tuple[str, str, str], keys, read)


@post(
    "/stations/{station_id}/evses/{evse_id}/meter-exchanges",
    Permission.CORRECT_SETTLEMENTS,
    status=201,
    problems=(409,),
    example=_EXAMPLE,
    tag="quarantine",
)
async def exchange_meter(call: Call, station_id: StationId, evse_id: EvseId, body: MeterExchange) -> BookedSession:
    """Note that an EVSE's meter was exchanged: later registers count on from the new one's.

    409 where booked sessions have other registers at that time.
    """
    old, new = body.old_export_mwh, body.new_export_mwh
    at_ms = call.now_ms if body.at_ms is None else body.at_ms
    fact = Fact(
        kind="evse",
        key=evse_key(station_id, evse_id),
        station_id=station_id,
        evse_id=evse_id,
        source="exchange",
        source_id=f"{evse_id}-{at_ms}",
        transaction_id="",
        from_ms=at_ms,
        to_ms=at_ms,
        imports=(body.old_import_mwh, body.new_import_mwh),
        exports=None if old is None or new is None else (old, new),
    )

    if at_ms > call.now_ms:
        raise conflict("that is in the future", "note it when it has happened", code="future")

    def write(connection: Connection, _before: None) -> None:
        if (found := ledger.exchange(connection, fact, call.now_ms)) is not None:
            raise conflict(found.detail, "read the registers again, or look at that session", code="contradiction")

    await call.change(lambda _connection: None, write)
    return BookedSession(**_session(fact))


def _visible(call: Call, other: Fact | None) -> dict[str, object] | None:
    """Return the session of a fact, None if the caller's role does not extend to it."""
    return next((_session(each) for each in call.own([] if other is None else [other])), None)


def _session(fact: Fact) -> Fields:
    """Return what `BookedSession` shows of an EVSE's fact."""
    imports, exports = (None if each is None else (wh(each[0]), wh(each[1])) for each in (fact.imports, fact.exports))
    return {
        "kind": fact.source,
        "station_id": fact.station_id,
        "session_id": fact.source_id,
        "evse_id": fact.evse_id,
        "begin_ms": fact.from_ms,
        "end_ms": fact.to_ms,
        "import_wh": imports,
        "export_wh": exports,
    }


def _with_contradicted(call: Call, connection: Connection, reviews: list[dict[str, object]]) -> list[dict[str, object]]:
    """Add the session that contradicts each of these reviews, if one does."""
    others = ledger.contradicted(connection, [_of_review(each) for each in reviews])
    return [each | {"contradicts": _visible(call, others.get(_of_review(each)))} for each in reviews]


def _of_review(review: Fields) -> ledger.Key:
    return review["station_id"], review["kind"], review["session_id"]


def _key(fact: Fact) -> ledger.Key:
    return fact.station_id, fact.source, fact.source_id
