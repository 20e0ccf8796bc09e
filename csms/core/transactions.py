"""What a transaction is after any of its events, in whatever order and however often they arrive.

A station numbers its events (`seqNo`), repeats those it saw no answer to, and delivers queued ones late. `merge` is
therefore commutative and idempotent by number: the same set of events gives the same transaction (E01 to E13).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g.ocpp.messages.payment import DIRECT_PAYMENT

Kind = Literal["Started", "Updated", "Ended"]

IMPORT_REGISTER: Final = "Energy.Active.Import.Register"
EXPORT_REGISTER: Final = "Energy.Active.Export.Register"
_MAX_GAPS: Final = 64


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One sampled value: `value` is a decimal number in `unit` with the multiplier applied, `signed` OCMF and the like.

    `at_ms` is UTC. `signed` holds the OCPP SignedMeterValue as JSON text, word for word, or is empty.
    """

    at_ms: int
    measurand: str
    value: str
    unit: str
    context: str = ""
    phase: str = ""
    location: str = ""
    signed: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A TransactionEvent, as far as decisions need it. `digest` is the SHA-256 of the whole message in hex."""

    station_id: str
    transaction_id: str
    seq_no: int
    kind: Kind
    at_ms: int
    trigger: str
    digest: str
    offline: bool = False
    evse_id: int | None = None
    connector_id: int | None = None
    id_token: str | None = None
    token_type: str | None = None
    charging_state: str | None = None
    operation_mode: str | None = None
    stopped_reason: str | None = None
    tariff_id: str | None = None
    limit: str | None = None
    samples: tuple[Sample, ...] = ()


class Dated(msgspec.Struct, frozen=True):
    """A value and the seqNo of the event that said it."""

    seq_no: int
    value: str


ClosedReason = Literal["station_lost_it", "operator"]


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """What the events so far say. Energies are in Wh, as decimal text; `None` is not known yet.

    `limit` is what the station says of its limits, `wanted_limit` what an operator wants, each a TransactionLimit as
    JSON; `limit_told`: the station has heard of the latter. `closed_ms`: when this back end found out that no end will
    come, and `closed_reason` how.
    """

    station_id: str
    transaction_id: str
    first_seq: int
    last_seq: int
    started_seq: int | None = None
    started_ms: int | None = None
    ended_seq: int | None = None
    ended_ms: int | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    id_token: Dated | None = None
    token_type: Dated | None = None
    charging_state: Dated | None = None
    operation_mode: Dated | None = None
    stopped_reason: Dated | None = None
    import_start_wh: Dated | None = None
    import_wh: Dated | None = None
    export_start_wh: Dated | None = None
    export_wh: Dated | None = None
    tariff_id: Dated | None = None
    limit: Dated | None = None
    wanted_limit: str | None = None
    limit_told: bool = False
    closed_ms: int | None = None
    closed_reason: ClosedReason | None = None

    @property
    def active(self) -> bool:
        """Whether the transaction is, as far as is known, still going on."""
        return self.ended_seq is None and self.closed_ms is None


def merge(known: Transaction | None, event: Event) -> Transaction:
    """Return the transaction with one more event. The caller leaves out events that it has already (same seqNo)."""
    old = known or Transaction(
        station_id=event.station_id,
        transaction_id=event.transaction_id,
        first_seq=event.seq_no,
        last_seq=event.seq_no,
    )
    imports, exports = _ends(event.samples, IMPORT_REGISTER), _ends(event.samples, EXPORT_REGISTER)
    started = event.kind == "Started" and (old.started_seq is None or event.seq_no < old.started_seq)
    goes_on = event.seq_no > old.last_seq  # whoever closed it was wrong
    ended = event.kind == "Ended" and (old.ended_seq is None or event.seq_no > old.ended_seq)
    return msgspec.structs.replace(
        old,
        first_seq=min(old.first_seq, event.seq_no),
        last_seq=max(old.last_seq, event.seq_no),
        started_seq=event.seq_no if started else old.started_seq,
        started_ms=event.at_ms if started else old.started_ms,
        ended_seq=event.seq_no if ended else old.ended_seq,
        ended_ms=event.at_ms if ended else old.ended_ms,
        evse_id=_greatest(old.evse_id, event.evse_id),
        connector_id=_greatest(old.connector_id, event.connector_id),
        id_token=_earliest(old.id_token, event.seq_no, event.id_token),
        token_type=_earliest(old.token_type, event.seq_no, event.token_type),
        charging_state=_latest(old.charging_state, event.seq_no, event.charging_state),
        operation_mode=_latest(old.operation_mode, event.seq_no, event.operation_mode),
        stopped_reason=_latest(old.stopped_reason, event.seq_no, event.stopped_reason),
        import_start_wh=_earliest(old.import_start_wh, event.seq_no, imports[0]),
        import_wh=_latest(old.import_wh, event.seq_no, imports[1]),
        export_start_wh=_earliest(old.export_start_wh, event.seq_no, exports[0]),
        export_wh=_latest(old.export_wh, event.seq_no, exports[1]),
        tariff_id=_latest(old.tariff_id, event.seq_no, event.tariff_id),
        limit=_latest(old.limit, event.seq_no, event.limit),
        closed_ms=None if goes_on else old.closed_ms,
        closed_reason=None if goes_on else old.closed_reason,
    )


def close(transaction: Transaction, now_ms: int, reason: ClosedReason) -> Transaction:
    """Return a transaction of which no end will come (E14): its last reading is what counts."""
    return msgspec.structs.replace(transaction, closed_ms=now_ms, closed_reason=reason)


def missing(transaction: Transaction, seen: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs of numbers that have not arrived, each (first, last), at most 64 of them.

    They are counted between the transaction's own first and last events: numbering may go on across transactions.
    """
    runs: list[tuple[int, int]] = []
    expected = transaction.first_seq
    for number in sorted(set(seen)):
        if number > expected:
            runs.append((expected, number - 1))
        expected = number + 1
    return runs[:_MAX_GAPS]


def complete(transaction: Transaction, seen: Iterable[int]) -> bool:
    """Say whether everything from Started to Ended has arrived."""
    return transaction.started_seq is not None and transaction.ended_seq is not None and not missing(transaction, seen)


def watt_hours(sample: Sample) -> Decimal:
    """Return an energy sample in Wh. Raises ValueError for a unit that is no active energy."""
    match sample.unit:
        case "Wh" | "":
            return Decimal(sample.value)
        case "kWh":
            return Decimal(sample.value) * 1000
        case other:
            raise ValueError(f"{other} is no unit of active energy")


def taken_wh(transaction: Transaction) -> int:
    """Return how much energy has been taken from the grid so far, in whole Wh; 0 while no reading tells."""
    first, last = transaction.import_start_wh, transaction.import_wh
    return max(0, int(Decimal(last.value) - Decimal(first.value))) if first is not None and last is not None else 0


def plain(number: Decimal) -> str:
    """Return a number as decimal text without exponent and needless zeros."""
    return f"{number.normalize() + 0:f}"


def registers(samples: Iterable[Sample]) -> tuple[str | None, str | None]:
    """Return the last reading of the import and of the export register (all phases together) among samples, in Wh."""
    found = tuple(samples)
    return _ends(found, IMPORT_REGISTER)[1], _ends(found, EXPORT_REGISTER)[1]


def _ends(samples: Iterable[Sample], measurand: str) -> tuple[str | None, str | None]:
    """Return the first and last reading of a register (all phases together), in Wh."""
    readings = sorted(
        (sample for sample in samples if sample.measurand == measurand and not sample.phase),
        key=lambda sample: sample.at_ms,
    )
    values: list[str] = []
    for sample in readings:
        try:
            values.append(plain(watt_hours(sample)))
        except ValueError:
            continue
    return (values[0], values[-1]) if values else (None, None)


def _greatest(old: int | None, new: int | None) -> int | None:
    return new if old is None else old if new is None else max(old, new)


def _earliest(old: Dated | None, seq_no: int, value: str | None) -> Dated | None:
    if value is None or (old is not None and old.seq_no <= seq_no):
        return old
    return Dated(seq_no, value)


def _latest(old: Dated | None, seq_no: int, value: str | None) -> Dated | None:
    if value is None or (old is not None and old.seq_no >= seq_no):
        return old
    return Dated(seq_no, value)


def cost_nothing(transaction: Transaction) -> bool:
    """Say whether a transaction that was paid for without a token was cancelled before energy flowed (C20.FR.03)."""
    paid = transaction.token_type is not None and transaction.token_type.value == DIRECT_PAYMENT
    return paid and taken_wh(transaction) == 0
