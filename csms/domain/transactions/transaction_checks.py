"""What is wrong with a transaction's events, and when a transaction that nobody ended is over (E04, E14).

Faults are found from what is known when an event arrives; they are kept beside the transaction and change nothing in
it, so that events still add up to the same transaction in whatever order they come.
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
    "late",
    "conflict",
    "register_decreased",
    "clock_backwards",
    "after_end",
    "started_twice",
    "ended_twice",
    "lost",
]


class Fault(msgspec.Struct, frozen=True):
    """Something that does not fit: what, at which seqNo, and for a person how."""

    kind: FaultKind
    seq_no: int
    detail: str


def faults_of(known: Transaction | None, event: Event) -> list[Fault]:
    """Return what is wrong with an event that arrives for the first time, seen from what had arrived before it."""
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
    """Compare with the earliest and latest reading that is known; one fault is enough.

    An event may repeat older readings, as Ended does with that of the beginning: its newest is what must not be less
    than the latest one that is known.
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
    """Return what GetTransactionStatusResponse means for a transaction that is open here (E14.FR.01 to FR.05).

    A station that knows no such transaction, or ended it, and has nothing left to deliver about it will never end it
    here: it is over. While messages wait, its end may be among them.
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
    """Return the ids of open transactions to ask the station about.

    A transaction is suspect once the station has booted since it was last heard of, or nothing was heard of it for
    `silent_ms`. `heard_ms`: when the last event of each arrived.
    """
    found = []
    for each in open_transactions:
        heard = heard_ms.get(each.transaction_id, each.started_ms or 0)
        if (booted_ms is not None and booted_ms > heard) or now_ms - heard >= silent_ms:
            found.append(each.transaction_id)
    return found


def forgotten(newer: Transaction, heard_ms: int, open_transactions: Sequence[tuple[Transaction, int]]) -> list[str]:
    """Return the ids of the station's open transactions that are over because `newer` has begun on their EVSE.

    An EVSE has one transaction at a time, so its end was lost. Each open transaction stands with when (UTC ms) it was
    last heard of, `newer` with `heard_ms`: one that began earlier but was heard of later is a matter of a clock that
    was set, or of a Started that arrived late, and is left to GetTransactionStatus.
    """
    began = newer.started_ms
    if began is None or newer.evse_id is None:
        return []
    return [
        each.transaction_id
        for each, last_ms in open_transactions
        if each.transaction_id != newer.transaction_id
        and each.evse_id == newer.evse_id
        and each.started_ms is not None
        and each.started_ms < began
        and last_ms <= heard_ms
    ]


def lost(gaps: Sequence[tuple[int, int]]) -> list[Fault]:
    """Return what is wrong with an ended transaction whose station has nothing left to deliver, by its gaps."""
    return [Fault("lost", first, f"{first} to {last} will not come") for first, last in gaps]
