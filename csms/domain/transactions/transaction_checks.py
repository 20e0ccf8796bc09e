"""Faults in a transaction's events, and the detection of abandoned transactions (E04, E14).

Faults are derived from what is known when an event arrives; they are stored beside the transaction and do not change
it, so that events result in the same transaction in any order.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import msgspec

from csms.domain.transactions.transactions import (
    EXPORT_REGISTER,
    IMPORT_REGISTER,
    Dated,
    Event,
    Transaction,
    readings,
    watt_hours,
)

FaultKind = Literal[
    "late", "conflict", "register_decreased", "clock_backwards", "after_end", "started_twice", "ended_twice", "lost"
]


class Fault(msgspec.Struct, frozen=True):
    """An inconsistency: kind, seqNo, and a description."""

    kind: FaultKind
    seq_no: int
    detail: str


def faults_of(known: Transaction | None, event: Event) -> list[Fault]:
    """Return the faults of a new event, given what had arrived before it."""
    imports, exports = ([watt_hours(each) for each in register] for register in readings(event.samples))
    found = _falls_within(event, IMPORT_REGISTER, imports) + _falls_within(event, EXPORT_REGISTER, exports)
    if known is None:
        return found
    if event.seq_no < known.last_seq:
        found.append(Fault("late", event.seq_no, f"after {known.last_seq}"))
    if known.ended_seq is not None and event.seq_no > known.ended_seq:
        found.append(Fault("after_end", event.seq_no, f"the end was {known.ended_seq}"))
    if event.kind == "Started" and known.started_seq is not None:
        found.append(Fault("started_twice", event.seq_no, f"first with {known.started_seq}"))
    if event.kind == "Ended" and known.ended_seq is not None:
        found.append(Fault("ended_twice", event.seq_no, f"first with {known.ended_seq}"))
    found += _clock_faults(known, event)
    found += _register_faults(event, IMPORT_REGISTER, imports, (known.import_start_wh, known.import_wh))
    found += _register_faults(event, EXPORT_REGISTER, exports, (known.export_start_wh, known.export_wh))
    return found


def _clock_faults(known: Transaction, event: Event) -> list[Fault]:
    started, ended = known.started_ms, known.ended_ms
    after_start = known.started_seq is not None and event.seq_no > known.started_seq
    if started is not None and after_start and event.at_ms < started:
        return [Fault("clock_backwards", event.seq_no, f"{started - event.at_ms} ms before the start")]
    before_end = known.ended_seq is not None and event.seq_no < known.ended_seq
    if ended is not None and before_end and event.at_ms > ended:
        return [Fault("clock_backwards", event.seq_no, f"{event.at_ms - ended} ms after the end")]
    return []


def _register_faults(
    event: Event, measurand: str, values: list[Decimal], known: tuple[Dated | None, Dated | None]
) -> list[Fault]:
    """Compare with the earliest and latest known reading; one fault is enough.

    An event may repeat older readings, as Ended does with the first one: its newest must not be less
    than the latest known one.
    """
    if not values:
        return []
    first, last = known
    for limit, low in ((first, min(values)), (last, values[-1])):
        if limit is None:
            continue
        there = Decimal(limit.value)
        value = low if limit.seq_no < event.seq_no else max(values)
        before, after = (there, value) if limit.seq_no < event.seq_no else (value, there)
        if after < before:
            text = f"{measurand} {value} Wh beside {limit.value} Wh of {limit.seq_no}"
            return [Fault("register_decreased", event.seq_no, text)]
    return []


def _falls_within(event: Event, measurand: str, values: list[Decimal]) -> list[Fault]:
    return [
        Fault("register_decreased", event.seq_no, f"{measurand} falls from {before} to {after} Wh in one event")
        for before, after in pairwise(values)
        if after < before
    ]


Verdict = Literal["ongoing", "wait", "over"]


def judge_status(*, ongoing: bool | None, messages_in_queue: bool) -> Verdict:
    """Return the meaning of GetTransactionStatusResponse for an open transaction (E14.FR.01 to FR.05).

    If the station does not know the transaction, or ended it, and has no queued messages about it, no end will
    arrive: it is over. Queued messages may contain its end.
    """
    if messages_in_queue:
        return "wait"
    return "over" if ongoing is False else "ongoing"


def suspects(
    open_transactions: Sequence[Transaction],
    heard_ms: dict[str, int],
    now_ms: int,
    *,
    booted_ms: int | None,
    silent_ms: int,
) -> list[str]:
    """Return the ids of open transactions whose status must be requested.

    A transaction is suspect if the station has booted since its last message, or if that is older than
    `silent_ms`. `heard_ms`: when the last event of each arrived.
    """
    found = []
    for each in open_transactions:
        last_ms = heard_ms.get(each.transaction_id, each.started_ms or 0)
        if (booted_ms is not None and booted_ms > last_ms) or now_ms - last_ms >= silent_ms:
            found.append(each.transaction_id)
    return found


def forgotten(newer: Transaction, heard_ms: int, open_transactions: Sequence[tuple[Transaction, int]]) -> list[str]:
    """Return the ids of the station's open transactions that ended because `newer` has begun on their EVSE.

    An EVSE has one transaction at a time, so its end was lost. Each open transaction comes with the time (UTC ms) of
    its last message, `newer` with `heard_ms`: one that began earlier but has a later message is the result of a changed
    clock or a late Started, and is left to GetTransactionStatus, which cannot tell about one whose id is in use again.
    """
    began = newer.started_ms
    return [
        each.transaction_id
        for each, last_ms in open_transactions
        if each.next_id is not None
        or (
            each.transaction_id != newer.transaction_id
            and each.evse_id == newer.evse_id is not None
            and None not in (each.started_ms, began)
            and (each.started_ms or 0) < (began or 0)
            and last_ms <= heard_ms
        )
    ]


def lost(gaps: Sequence[tuple[int, int]]) -> list[Fault]:
    """Return the faults of an ended transaction whose station has no queued messages, by its gaps."""
    return [Fault("lost", first, f"{first} to {last} will not come") for first, last in gaps]
