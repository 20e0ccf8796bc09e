"""Functional blocks E and J: transactions, meter values, and commands of operators that these complete."""

import hashlib

import msgspec

from csms.booking import held
from csms.booking.plausibility import LATE_MS
from csms.booking.work import Bookkeeper, announce_due
from csms.display import store as display
from csms.handlers import answers, small
from csms.remote_control import store as commands
from csms.reservations import store as reservations
from csms.services import HandlerContext
from csms.smart_charging import store as charging
from csms.smart_charging.station import take_needs
from csms.tariffs import store as tariffs
from csms.tokens import store as tokens
from csms.tokens.rules import TokenAnswer, answer_known
from csms.tokens.work import look_up, token_info, where
from csms.transactions import events, rules
from csms.transactions.events import READINGS, EventArrival, add_events
from csms.transactions.store import limit_told, save_answer, save_tariff_text, want_limit
from csms.transactions.work import LIMITED, LIMITED_READING, known_limits
from v2g import typed_json
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.metering import MeterValuesRequest, MeterValuesResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse, TransactionLimit
from v2g.ocpp.times import parse_time
from v2g.translate.details import bill_of
from v2g.translate.ocpp_tariffs import money


@answers
async def answer_transaction_event(
    context: HandlerContext, request: TransactionEventRequest
) -> TransactionEventResponse:
    """Store an event, once; check the token that it names (E01 to E13)."""
    services = context.services
    document = msgspec.json.encode(request)
    event, id_token = _event(context.station_id, request, document), request.id_token
    if id_token is None and request.trigger_reason == "RemoteStart":
        id_token = await _started_for(context, request)
        if id_token is not None:
            event = msgspec.structs.replace(event, id_token=id_token.id_token, token_type=id_token.type)
    scale = services.clock.scale  # messages take real time
    waited_ms = round(LATE_MS * (scale - 1) + context.behind_s * 1000 * scale)
    arrival = EventArrival(event, document, services.clock.utc_ms(), waited_ms)
    store = services.store.gather_reports if event.trigger in READINGS else services.store.gather
    outcome, transaction = await store(add_events, arrival)
    if outcome != "new":
        name = "transaction_event_duplicate" if outcome == "duplicate" else "transaction_event_conflict"
    elif event.kind == "Updated":
        name = "transaction_updated"
    else:
        name = "transaction_started" if event.kind == "Started" else "transaction_ended"
    context.observe(
        "ocpp",
        name,
        transaction=transaction.transaction_id,
        seq_no=event.seq_no,
        trigger=event.trigger,
        import_wh=transaction.import_wh.value if transaction.import_wh else None,
        export_wh=transaction.export_wh.value if transaction.export_wh else None,
    )
    if outcome == "new" and event.kind != "Updated":
        context.on_turnover()
    if transaction.active and transaction.evse_id in context.early_needs:
        needs = context.early_needs.pop(transaction.evse_id)
        await take_needs(context, transaction.transaction_id, needs)
    limit = await _linked(context, request, event.at_ms, transaction) if outcome != "conflict" else None
    if outcome != "conflict" and event.kind == "Ended":  # again where it is repeated: this program may have been killed
        now_ms = services.clock.utc_ms()  # O02.FR.02: the station removes them
        await services.store.run(display.end_messages_of, context.station_id, transaction.transaction_id, now_ms)
        await announce_due(services, context.station_id, transaction)
    if limit is None and transaction.wanted_limit is not None and not transaction.limit_told:
        limit = await _limit(context, transaction, transaction.wanted_limit)
    if event.trigger == "TxResumed":
        context.observe("ocpp", "transaction_resumed", transaction=transaction.transaction_id)
    if outcome == "conflict":  # what it says is not stored, so its cost is not either
        request = msgspec.structs.replace(request, cost_details=None)
    total = await _total_cost(context, request, transaction, arrival.received_ms)
    if not transaction.active:
        services[Bookkeeper].look_again(context.station_id)
    text = await _tariff_text(context, transaction)
    if id_token is None:
        limit = await _told(context, transaction, limit)
        return TransactionEventResponse(transaction_limit=limit, total_cost=total, updated_personal_message=text)
    answer, begins = await _authorize(context, id_token, request, transaction)
    limit = await _told(context, transaction, _left(answer, limit) if begins else limit)
    return TransactionEventResponse(
        id_token_info=token_info(answer), transaction_limit=limit, total_cost=total, updated_personal_message=text
    )


async def _tariff_text(context: HandlerContext, transaction: rules.Transaction) -> MessageContent | None:
    """Return what the driver of a running transaction is to see of its changed tariff, once (I06.FR.02)."""
    if transaction.tariff_text is None or not transaction.active:
        return None
    await context.services.store.run(save_tariff_text, context.station_id, transaction.transaction_id, None)
    return MessageContent(format="UTF8", content=transaction.tariff_text[: 1024 if context.version == "2.1" else 512])


async def _started_for(context: HandlerContext, request: TransactionEventRequest) -> IdToken | None:
    """Return the token of the remote start that an event names: some stations leave it out, as the back end knows it,
    and the transaction would have no driver (F01.FR.25, F02.FR.05)."""
    if request.transaction_info.remote_start_id is None:
        return None
    number = small(request.transaction_info.remote_start_id)
    start = await context.services.store.read(commands.find_start, number)
    if start is None or start["station_id"] != context.station_id:
        return None
    return IdToken(id_token=start["id_token"], type=start["token_type"])


async def _authorize(
    context: HandlerContext, id_token: IdToken, request: TransactionEventRequest, transaction: rules.Transaction
) -> tuple[TokenAnswer, bool]:
    """Return the token's status for an event; link token and transaction if necessary (C01, C09, C16).

    Returns also whether the event is that by which they are linked, also when it comes again: its answer may be lost.
    """
    starts = request.event_type != "Ended" and request.trigger_reason != "StopAuthorized"
    known = await look_up(context, id_token, transaction.transaction_id)
    if (
        known is not None and request.offline
    ):  # it is not of now: the ledger says whether the contract was elsewhere then
        known = msgspec.structs.replace(known, elsewhere=False)
    here = where(context, transaction.evse_id)
    answer = answer_known(known, here, starts=starts)
    if starts:
        await context.services.store.run(save_answer, context.station_id, transaction.transaction_id, answer.status)
    if known is None or not known.is_tracked or not starts or answer.status != "Accepted":
        return answer, False
    key, first = (context.station_id, transaction.transaction_id), transaction.id_token
    linked = await context.services.store.run(tokens.note_use, *key, known.token, here.at_ms)
    return answer, linked or (first is not None and first.seq_no == request.seq_no)


def _left(answer: TokenAnswer, limit: TransactionLimit | None) -> TransactionLimit | None:
    """Return a limit, lowered to what the driver has left (C17.FR.03)."""
    cost = None if answer.remaining_cost is None else money(answer.remaining_cost)
    return rules.tightest(TransactionLimit(max_energy=answer.remaining_wh, max_cost=cost), limit)


async def _told(
    context: HandlerContext, transaction: rules.Transaction, limit: TransactionLimit | None
) -> TransactionLimit | None:
    """Return the limit in an answer. Of what the station does not know (E16.FR.12), before 2.1 all, the back end ends
    what has reached it."""
    if limit is None:
        return None
    known, rest = await _divided(context, limit)
    key = context.station_id, transaction.transaction_id
    if rest is not None and await context.services.store.run(want_limit, *key, rest, add=True):
        context.observe("ocpp", LIMITED, transaction=transaction.transaction_id)
    return None if known is None else rules.limit_to_tell(limit, None, known)


async def _divided(
    context: HandlerContext, limit: TransactionLimit
) -> tuple[list[str] | None, TransactionLimit | None]:
    """Return the limits that a station knows, None before 2.1, and what it does not know of this one, which the back
    end keeps."""
    if context.version != "2.1":
        return None, limit
    known = await known_limits(context.services, context.station_id)
    return known, rules.kept_here(limit, known)


async def _limit(context: HandlerContext, transaction: rules.Transaction, wanted: str) -> TransactionLimit | None:
    """Return an operator's limits, once (E16.FR.02), but for those that the station does not know, before 2.1 all: the
    back end looks whether they are reached."""
    if not transaction.active:
        return None
    limit = typed_json.decode(wanted, TransactionLimit)
    known, rest = await _divided(context, limit)
    if rest is not None:
        data = {"transaction": transaction.transaction_id}
        context.services.feed.publish(LIMITED_READING, context.station_id, data, only_here=True)
    if known is None or rest == limit:
        return None
    reported = None if transaction.limit is None else typed_json.decode(transaction.limit.value, TransactionLimit)
    kept = None if rest is None else msgspec.json.encode(rest).decode()
    await context.services.store.run(limit_told, context.station_id, transaction.transaction_id, wanted, kept)
    return rules.limit_to_tell(limit, reported, known)


async def _total_cost(
    context: HandlerContext, request: TransactionEventRequest, transaction: rules.Transaction, received_ms: int
) -> float | None:
    """Return the cost of an ended transaction (I03.FR.02), none while it is held; store a station's own cost (I12),
    unless it could not calculate it: it may be a part (I12.FR.14)."""
    run, now_ms = context.services.store.run, context.services.clock.utc_ms()
    key = (transaction.station_id, transaction.transaction_id)
    why = None if transaction.active else await context.services.store.read(held.find, *key)
    if why is not None and why["state"] in held.OPEN:
        await run(tariffs.update_cost, *key, now_ms)
        if why["since_ms"] == received_ms:
            context.observe(
                "settlement", "transaction_held", transaction=key[1], reason=why["reason"], detail=why["detail"]
            )
        return None
    late = not transaction.active and request.event_type != "Ended"  # of before the end, whose cost stays
    stored = await context.services.store.read(tariffs.cost, *key) if late else None
    final = stored is not None and stored["final"]
    if stored is not None and final and stored["source"] == "station":
        return None
    details = request.cost_details
    if details is not None and not details.failure_to_calculate and not final:
        plans = await context.services.store.read(tariffs.plans_of, transaction)
        if all(plan.export is None for _, plan in plans):  # stations do not calculate what is paid for energy fed back
            found = bill_of(details)
            document = msgspec.json.encode(details).decode()
            final = request.event_type == "Ended"
            await run(tariffs.save_cost, *key, found, document, now_ms, final=final, source="station")
            return money(found.incl_tax) if final else None
    known = transaction.id_token
    if transaction.active:
        if known is not None and known.seq_no == request.seq_no:  # from now on its driver is known
            await run(tariffs.fix_plan, *key)
        return None
    if not await context.services.store.read(tariffs.any_assigned):
        return 0.0 if rules.cost_nothing(transaction) else None
    bill = await run(tariffs.update_cost, *key, now_ms)
    return None if bill is None else money(bill.incl_tax)  # I03.FR.04: 0 is sent as well


def _event(station_id: str, request: TransactionEventRequest, document: bytes) -> rules.Event:
    info, evse, token = request.transaction_info, request.evse, request.id_token
    # an event as a station that was never offline would send it
    return rules.Event(
        station_id=station_id,
        transaction_id=info.transaction_id,
        seq_no=small(request.seq_no),
        kind=request.event_type,
        at_ms=parse_time(request.timestamp),
        trigger=request.trigger_reason,
        digest=hashlib.sha256(
            msgspec.json.encode(msgspec.structs.replace(request, offline=False)) if request.offline else document
        ).hexdigest(),
        offline=request.offline,
        evse_id=small(evse.id) if evse is not None else None,
        connector_id=small(evse.connector_id) if evse is not None and evse.connector_id is not None else None,
        id_token=token.id_token if token is not None else None,
        token_type=token.type if token is not None else None,
        charging_state=info.charging_state,
        operation_mode=info.operation_mode,
        stopped_reason=info.stopped_reason,
        tariff_id=info.tariff_id,
        limit=msgspec.json.encode(info.transaction_limit).decode() if info.transaction_limit is not None else None,
        samples=rules.samples_of(request.meter_value),
    )


@answers
async def answer_meter_values(context: HandlerContext, request: MeterValuesRequest) -> MeterValuesResponse:
    """Store meter values outside a transaction (J01)."""
    evse_id, samples = small(request.evse_id), rules.samples_of(request.meter_value)
    store, now_ms = context.services.store, context.services.clock.utc_ms()
    await store.report(events.add_samples, context.station_id, evse_id, samples)
    if not evse_id and (reading := rules.connection_reading(samples)) is not None:
        await store.report(events.note_grid_reading, context.station_id, reading, now_ms)
    context.observe("metering", "meter_values", evse=evse_id, samples=len(samples))
    return MeterValuesResponse()


async def _linked(
    context: HandlerContext, request: TransactionEventRequest, at_ms: int, transaction: rules.Transaction
) -> TransactionLimit | None:
    """After an event was stored, or came again: link it to the remote start and the reservation that it names. This
    program may have been killed in between.

    Returns the limit of the remote start, for the answer to its first event (F07.FR.02).
    """
    info, run, limit = request.transaction_info, context.services.store.run, None
    transaction_id = transaction.transaction_id
    if info.remote_start_id is not None:  # F01.FR.25, F02.FR.05
        number = small(info.remote_start_id)
        start = await run(commands.match_start, context.station_id, number, transaction_id, at_ms)
        context.observe(
            "ocpp", "remote_start_matched", remote_start=number, transaction=transaction_id, known=start is not None
        )
        if start is not None:
            evse_id = transaction.evse_id or start["evse_id"] or 0
            await run(charging.bind_profile, context.station_id, number, evse_id, transaction_id)
            if start["transaction_limit"] and start["started_ms"] == at_ms:  # Updated where the vehicle has waited
                limit = typed_json.decode(start["transaction_limit"], TransactionLimit)
    if request.reservation_id is not None:  # H03.FR.09: the reservation has its transaction
        number, now_ms = small(request.reservation_id), context.services.clock.utc_ms()
        used = await run(reservations.save_reservation, context.station_id, number, "Used", now_ms, transaction_id)
        context.observe("ocpp", "reservation", reservation=number, state="Used", known=used)
    return limit
