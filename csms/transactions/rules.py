"""The state of a transaction from any set of its events, in any order; its faults, limits, meter values.

A station numbers its events (`seqNo`), repeats unanswered ones, and delivers queued ones late. `merge` is
therefore commutative and idempotent by number: the same set of events gives the same transaction (E01 to E13).

Faults are derived from what is known when an event arrives; they are stored beside the transaction and do not change
it, so that events result in the same transaction in any order.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec

from v2g import typed_json
from v2g.config import Seconds
from v2g.energy.limits import MOST_W
from v2g.errors import OcppError
from v2g.hardware.energy_manager.commands import ConnectionReading
from v2g.ocpp.messages.metering import MeterValue, SampledValue, UnitOfMeasure
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.times import parse_time
from v2g.text import age

Kind = Literal["Started", "Updated", "Ended"]

IMPORT_REGISTER: Final = "Energy.Active.Import.Register"
EXPORT_REGISTER: Final = "Energy.Active.Export.Register"
_POWERS: Final = {"Power.Active.Import": 1, "Power.Active.Export": -1}
"""Measurands of power, and their sign: positive into the vehicle."""
_REACTIVE: Final = {"Power.Reactive.Import": 1, "Power.Reactive.Export": -1}
ENERGY_UNITS: Final = ("Wh", "", "kWh")
"""Units of active energy; "" is Wh."""
_POWER_UNITS: Final = ("W", "kW", "var", "kvar", "Wh", "")
"""A value in another one, such as A, does not count as power. UnitOfMeasure without a unit is of Wh."""
_MAX_GAPS: Final = 64
UPSTREAM: Final = "Upstream"
"""Where a meter of EVSE 0 measures the grid connection: vehicles, and all else behind it."""
OUTLET: Final = "Outlet"
"""Where a register is by default, and what is sold: at other places losses of the station are in it."""
_LOCATIONS: Final = (OUTLET, "Cable", "EV", "Inlet", "Body", UPSTREAM)
_PHASES: Final = ("L1", "L2", "L3")
_MOST_A, _MOST_V, _MOST_HZ, _MOST_WH = 100_000, 500_000, 1_000, 2**53
"""Beyond these a reading of a grid connection is none."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sampled value: `value` is a decimal number in `unit` with the multiplier applied, `signed` OCMF and the like.

    `at_ms` is UTC. `signed` holds the OCPP SignedMeterValue as JSON text, verbatim, or is empty.
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
    """The relevant part of a TransactionEvent. `digest` is the SHA-256 of the message in hex, except for
    `offline`: an unanswered message is repeated as offline (E11.FR.07)."""

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
    """A value and the seqNo of its event."""

    seq_no: int
    value: str


def flowing_w(power_w: Dated | None, charging_state: Dated | None) -> Decimal | None:
    """Return the power of a running transaction, W: of its last reading, 0 since a state in which no energy flows, None
    where it is unknown."""
    if power_w is not None and (charging_state is None or charging_state.seq_no <= power_w.seq_no):
        return Decimal(power_w.value)
    if charging_state is not None and charging_state.value != "Charging":
        return Decimal(0)
    return None if power_w is None else Decimal(power_w.value)


ClosedReason = Literal["station_lost_it", "operator", "next_began"]


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """The state from the events so far. Energies are in Wh, as decimal text; `None` is not known yet.

    `limit` is the station's limit, `wanted_limit` an operator's, each a TransactionLimit as JSON; `limit_told`: the
    latter was sent, or, where the station does not know it, it has agreed to stop what reached it; once the part that
    the station knows was sent, `wanted_limit` is the other one. `closed_ms`: when this back end concluded that no end
    will come, and `closed_reason` why.
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
    power_w: Dated | None = None
    power_ms: int = 0
    """When the event of `power_w` was received, UTC; 0 where that is not known."""
    lines: str = ""
    """The EVSE's phases from which its vehicle was seen to draw or to which it gave, as "13" for L1 and L3."""
    soc: Dated | None = None
    tariff_id: Dated | None = None
    limit: Dated | None = None
    wanted_limit: str | None = None
    limit_told: bool = False
    closed_ms: int | None = None
    closed_reason: ClosedReason | None = None
    next_id: str | None = None
    """The later transaction for which its station has used the id again."""
    tariff_text: str | None = None
    """What the answer to the next event is to say of its changed tariff (I06)."""

    @property
    def active(self) -> bool:
        """Whether the transaction is, as far as known, running."""
        return self.ended_seq is None and self.closed_ms is None


read_transaction: Final = typed_json.decoder(Transaction).decode
"""Return the transaction in a stored document."""


def merge(known: Transaction | None, event: Event, received_ms: int = 0) -> Transaction:
    """Return the transaction with one more event, received at a time (UTC ms). The caller omits known events (same
    seqNo)."""
    number = event.seq_no
    old = known or Transaction(
        station_id=event.station_id, transaction_id=event.transaction_id, first_seq=number, last_seq=number
    )
    changes: dict[str, object] = {
        "first_seq": min(old.first_seq, number),
        "last_seq": max(old.last_seq, number),
        "evse_id": _highest(old.evse_id, event.evse_id),
        "connector_id": _highest(old.connector_id, event.connector_id),
    }
    if lines := lines_of(event.samples):
        changes["lines"] = "".join(sorted({*old.lines, *lines}))
    if number > old.last_seq:  # it continues: closing it, if it was, was wrong
        changes["closed_ms"] = changes["closed_reason"] = None
    if event.kind == "Started" and (old.started_seq is None or number < old.started_seq):
        changes["started_seq"], changes["started_ms"] = number, event.at_ms
    elif event.kind == "Ended" and (old.ended_seq is None or number > old.ended_seq):
        changes["ended_seq"], changes["ended_ms"] = number, event.at_ms
    imports, exports = readings(event.samples)
    for name, was, value in (
        ("id_token", old.id_token, event.id_token),
        ("token_type", old.token_type, event.token_type),
        ("import_start_wh", old.import_start_wh, _wh(imports[0]) if imports else None),
        ("export_start_wh", old.export_start_wh, _wh(exports[0]) if exports else None),
    ):
        if value is not None and (was is None or number < was.seq_no):
            changes[name] = Dated(number, value)
    for name, was, value in (
        ("charging_state", old.charging_state, event.charging_state),
        ("operation_mode", old.operation_mode, event.operation_mode),
        ("stopped_reason", old.stopped_reason, event.stopped_reason),
        ("import_wh", old.import_wh, _wh(imports[-1]) if imports else None),
        ("export_wh", old.export_wh, _wh(exports[-1]) if exports else None),
        ("power_w", old.power_w, power_w(event.samples)),
        ("soc", old.soc, _soc(event.samples)),
        ("tariff_id", old.tariff_id, event.tariff_id),
        ("limit", old.limit, event.limit),
    ):
        if value is not None and (was is None or number > was.seq_no):
            changes[name] = Dated(number, value)
    if "power_w" in changes:
        changes["power_ms"] = received_ms
    return msgspec.structs.replace(old, **changes)


def _highest(one: int | None, other: int | None) -> int | None:
    return one if other is None or (one is not None and one > other) else other


def starts_again(known: Transaction, event: Event, heard_ms: int, booted_ms: int | None) -> bool:
    """Return whether an event begins another transaction, though its station has used the id before.

    So it is after a boot since the last event of the known one was heard (UTC ms), unless it is of before then:
    whether that repeats the known one's start by a wrong clock, only a person can tell.
    """
    again = event.kind == "Started" and known.started_seq is not None
    return again and booted_ms is not None and heard_ms <= booted_ms and heard_ms < event.at_ms


def lines_of(samples: Sequence[Sample]) -> set[str]:
    """Return the numbers of the phases with a current by these samples."""
    return {
        each.phase[1]
        for each in samples
        if each.measurand in _CURRENTS
        and each.phase.removesuffix("-N") in _PHASES  # stations say "L1-N" of currents, too
        and Decimal(each.value) >= LEAST_LINE_A
    }


_CURRENTS: Final = frozenset({"Current.Import", "Current.Export"})
LEAST_LINE_A: Final = 1
"""A phase with less, A, is not in use: vehicles draw at least 6 A, and chargers alone much less than 1 A."""


def power_w(samples: Sequence[Sample], location: str = OUTLET, measurands: Mapping[str, int] = _POWERS) -> str | None:
    """Return the power in the newest samples at a place, W or var, negative out of the vehicle; None without one."""
    reported: dict[str, list[Sample]] = {}
    for each in samples:
        if each.measurand in measurands and (each.location or OUTLET) == location and each.unit in _POWER_UNITS:
            reported.setdefault(each.measurand, []).append(each)
    if not reported:
        return None
    total = Decimal()
    for measurand, of_it in reported.items():
        for each in of_it if len(of_it) == 1 else _newest(of_it):  # nearly every event has one
            total += Decimal(each.value) * (measurands[measurand] * (1000 if each.unit in ("kW", "kvar") else 1))
    return f"{total:.0f}"


def _newest(reported: Sequence[Sample]) -> list[Sample]:
    """Return the newest readings of one direction: of all phases together, else of each one."""
    last_ms = max(each.at_ms for each in reported)
    newest = [each for each in reported if each.at_ms == last_ms]
    return [each for each in newest if not each.phase] or newest


def connection_reading(samples: Sequence[Sample]) -> ConnectionReading | None:
    """Return what the meter at the grid connection reads; None without a power that can be."""
    reading = reading_at(samples, UPSTREAM)
    return None if reading.power_w is None else reading


def reading_at(samples: Sequence[Sample], location: str) -> ConnectionReading:
    """Return what a meter at a place reads: the newest that can be."""
    there = sorted((each for each in samples if (each.location or OUTLET) == location), key=lambda each: each.at_ms)

    def power(measurands: Mapping[str, int]) -> int | None:
        found = power_w(there, location, measurands)
        return None if found is None or abs(Decimal(found)) > MOST_W else int(Decimal(found))

    newest = {(each.measurand, each.phase.removesuffix("-N")): each for each in there}

    def read(measurand: str, line: str, unit: str, most: float) -> float | None:
        found = newest.get((measurand, line))
        number = None if found is None or found.unit not in (unit, "") else float(found.value)
        return None if number is None or abs(number) > most else number

    def current(line: str) -> float | None:
        drawn, fed = (read(f"Current.{way}", line, "A", _MOST_A) for way in ("Import", "Export"))
        return None if drawn is None and fed is None else (drawn or 0) - (fed or 0)

    def register(measurand: str) -> int | None:
        found = newest.get((measurand, ""))
        counted = None if found is None or found.unit not in ENERGY_UNITS else int(watt_hours(found))
        return counted if counted is not None and 0 <= counted < _MOST_WH else None

    return ConnectionReading(
        power_w=power(_POWERS),
        reactive_var=power(_REACTIVE),
        import_wh=register(IMPORT_REGISTER),
        export_wh=register(EXPORT_REGISTER),
        current_a=tuple(current(line) for line in _PHASES),
        voltage_v=tuple(read("Voltage", line, "V", _MOST_V) for line in _PHASES),
        frequency_hz=read("Frequency", "", "Hz", _MOST_HZ),
    )


def _soc(samples: Sequence[Sample]) -> str | None:
    """Return the newest state of charge, in percent; stations also send -1, 255, or energies for one they lack."""
    reported = [
        (each.at_ms, each.value) for each in samples if each.measurand == "SoC" and 0 <= Decimal(each.value) <= 100
    ]
    return max(reported)[1] if reported else None


def close(transaction: Transaction, now_ms: int, reason: ClosedReason) -> Transaction:
    """Return a transaction closed without an end event (E14): its last reading counts."""
    return msgspec.structs.replace(transaction, closed_ms=now_ms, closed_reason=reason)


def missing(transaction: Transaction, seen: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges of missing numbers, each (first, last), at most 64 of them.

    They count between the transaction's own first and last events: numbering may continue across transactions.
    """
    runs: list[tuple[int, int]] = []
    expected = transaction.first_seq
    for number in sorted(set(seen)):
        if number > expected:
            runs.append((expected, number - 1))
        expected = number + 1
    return runs[:_MAX_GAPS]


def complete(transaction: Transaction, seen: Iterable[int]) -> bool:
    """Return whether everything from Started to Ended has arrived."""
    return transaction.started_seq is not None and transaction.ended_seq is not None and not missing(transaction, seen)


def watt_hours(sample: Sample) -> Decimal:
    """Return an energy sample in Wh. Raises ValueError for a unit other than of active energy."""
    match sample.unit:
        case "Wh" | "":
            return Decimal(sample.value)
        case "kWh":
            return Decimal(sample.value) * 1000
        case other:
            raise ValueError(f"{other} is not a unit of active energy")


def taken_wh(transaction: Transaction) -> int:
    """Return the energy imported from the grid so far, in whole Wh; 0 without readings."""
    first, last = transaction.import_start_wh, transaction.import_wh
    return max(0, int(Decimal(last.value) - Decimal(first.value))) if first is not None and last is not None else 0


def net_wh(transaction: Transaction) -> int:
    """Return the energy imported from the grid so far less the energy fed back, in whole Wh; 0 without readings."""
    ways = ((transaction.import_start_wh, transaction.import_wh), (transaction.export_start_wh, transaction.export_wh))
    into, out = (
        Decimal(0) if first is None or last is None else Decimal(last.value) - Decimal(first.value)
        for first, last in ways
    )
    return int(into - out)


def plain(number: Decimal) -> str:
    """Return a number as decimal text without exponent and trailing zeros."""
    return f"{number.normalize() + 0:f}"


def readings(samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the readings of the import and of the export register among samples, each in order of time.

    They are those at the outlet; without any, those of the first location in order of `_LOCATIONS`. A reading of all
    phases together counts before the sum of its phases, which must be as many as the register has at other times.
    Readings of the beginning are first and those of the end last, even if the clock was changed meanwhile.
    """
    imports: list[Sample] = []
    exports: list[Sample] = []
    for sample in samples:
        register = (
            imports if sample.measurand == IMPORT_REGISTER else exports if sample.measurand == EXPORT_REGISTER else None
        )
        if register is not None and sample.unit in ENERGY_UNITS:
            register.append(sample)
    return _series(imports), _series(exports)


def _series(samples: list[Sample]) -> list[Sample]:
    """Return one register's readings of all phases together at one location, in order of time."""
    if not samples or (len(samples) == 1 and not samples[0].phase):  # nearly every event
        return samples
    places = {each.location or OUTLET for each in samples}
    place = next((each for each in _LOCATIONS if each in places), min(places))
    whole: list[Sample] = []
    parts: dict[tuple[int, str], dict[str, Sample]] = {}
    for each in samples:
        if (each.location or OUTLET) == place:
            if not each.phase:
                whole.append(each)
            elif (phase := each.phase.removesuffix("-N")) in _PHASES:  # L1 and L1-N are one
                parts.setdefault((each.at_ms, each.context), {})[phase] = each
    there = {(each.at_ms, each.context) for each in whole}
    phases = {phase for found in parts.values() for phase in found}
    for key, found in parts.items():
        if key not in there and found.keys() == phases:
            total = plain(sum((watt_hours(each) for each in found.values()), Decimal()))
            whole.append(msgspec.structs.replace(next(iter(found.values())), value=total, unit="Wh", phase=""))
    whole.sort(key=_when)
    return whole


def _when(sample: Sample) -> tuple[bool, bool, int]:
    return sample.context == "Transaction.End", sample.context != "Transaction.Begin", sample.at_ms


def _wh(sample: Sample) -> str:
    """Return an energy sample in Wh, as decimal text."""
    return plain(watt_hours(sample)) if sample.unit == "kWh" else sample.value


def pays_directly(transaction: Transaction) -> bool:
    """Return whether a transaction is paid for without a token."""
    return transaction.token_type is not None and transaction.token_type.value == DIRECT_PAYMENT


def cost_nothing(transaction: Transaction) -> bool:
    """Return whether a transaction paid for without a token was cancelled before energy flowed (C20.FR.03)."""
    return pays_directly(transaction) and taken_wh(transaction) == 0


FaultKind = Literal[
    "late", "conflict", "register_decreased", "clock_backwards", "after_end", "started_twice", "ended_twice", "lost"
]


class EventFault(msgspec.Struct, frozen=True):
    """An inconsistency: kind, seqNo, and a description."""

    kind: FaultKind
    seq_no: int
    detail: str


def faults_of(known: Transaction | None, event: Event) -> list[EventFault]:
    """Return the faults of a new event, given what had arrived before it."""
    imports, exports = ([watt_hours(each) for each in register] for register in readings(event.samples))
    found = _falls_within(event, IMPORT_REGISTER, imports) + _falls_within(event, EXPORT_REGISTER, exports)
    if known is None:
        return found
    if event.seq_no < known.last_seq:
        found.append(EventFault("late", event.seq_no, f"after {known.last_seq}"))
    if known.ended_seq is not None and event.seq_no > known.ended_seq:
        found.append(EventFault("after_end", event.seq_no, f"the end was {known.ended_seq}"))
    if event.kind == "Started" and known.started_seq is not None:
        found.append(EventFault("started_twice", event.seq_no, f"first with {known.started_seq}"))
    if event.kind == "Ended" and known.ended_seq is not None:
        found.append(EventFault("ended_twice", event.seq_no, f"first with {known.ended_seq}"))
    found += _clock_faults(known, event)
    found += _register_faults(event, IMPORT_REGISTER, imports, (known.import_start_wh, known.import_wh))
    found += _register_faults(event, EXPORT_REGISTER, exports, (known.export_start_wh, known.export_wh))
    return found


def _clock_faults(known: Transaction, event: Event) -> list[EventFault]:
    number, at_ms = event.seq_no, event.at_ms
    start, start_ms, end, end_ms = known.started_seq, known.started_ms, known.ended_seq, known.ended_ms
    if start is not None and start_ms is not None and number > start and at_ms < start_ms:
        return [EventFault("clock_backwards", number, f"{age(start_ms - at_ms)} before the start")]
    if end is not None and end_ms is not None and number < end and at_ms > end_ms:
        return [EventFault("clock_backwards", number, f"{age(at_ms - end_ms)} after the end")]
    return []


_LEAST_FALL_WH: Final = 1
"""A register seems to fall by less where one of two readings is rounded, as meterStart and meterStop of OCPP 1.6."""


def _register_faults(
    event: Event, measurand: str, values: list[Decimal], known: tuple[Dated | None, Dated | None]
) -> list[EventFault]:
    """Compare with the earliest and latest known reading; one fault is enough.

    An event may repeat older readings, as Ended does with the first one: its newest must not be less
    than the latest known one.
    """
    if not values:
        return []
    first, last = known
    for limit, low in ((first, min(values)), (last, values[-1])):
        if limit is not None:
            there, later = Decimal(limit.value), limit.seq_no < event.seq_no
            value = low if later else max(values)
            if (there - value if later else value - there) >= _LEAST_FALL_WH:
                text = f"{measurand} {value} Wh beside {limit.value} Wh of {limit.seq_no}"
                return [EventFault("register_decreased", event.seq_no, text)]
    return []


def _falls_within(event: Event, measurand: str, values: list[Decimal]) -> list[EventFault]:
    return [
        EventFault("register_decreased", event.seq_no, f"{measurand} falls from {before} to {after} Wh in one event")
        for before, after in pairwise(values)
        if before - after >= _LEAST_FALL_WH
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
            each.evse_id == newer.evse_id is not None
            and each.started_ms is not None
            and began is not None
            and each.started_ms < began
            and last_ms <= heard_ms
        )
    ]


def lost(gaps: Sequence[tuple[int, int]]) -> list[EventFault]:
    """Return the faults of an ended transaction whose station has no queued messages, by its gaps."""
    return [EventFault("lost", first, f"{first} to {last} will not come") for first, last in gaps]


_NAMES: Final = {
    "max_cost": ("maxCost",),
    "max_energy": ("maxEnergy",),
    "max_time": ("maxTime", "maxLength"),  # the second is what the device model's own list says
    "max_soc": ("maxSoC",),
}


def limit_to_tell(
    wanted: TransactionLimit, reported: TransactionLimit | None, supported: Collection[str] = ()
) -> TransactionLimit | None:
    """Return the limits to send, None for none.

    A station's own equal or lower limit stays (E16.FR.08). `supported`: the station's
    TxCtrlr.SupportedLimits, empty if unknown (E16.FR.12).
    """
    sent = {}
    for name, words in _NAMES.items():
        ours = getattr(wanted, name)
        theirs = getattr(reported, name) if reported is not None else None
        if ours is not None and (theirs is None or theirs > ours) and (not supported or set(words) & set(supported)):
            sent[name] = ours
    return msgspec.structs.replace(TransactionLimit(), **sent) if sent else None


def kept_here(wanted: TransactionLimit, supported: Collection[str]) -> TransactionLimit | None:
    """Return the limits that a station does not know, by its TxCtrlr.SupportedLimits, None for none: the back end keeps
    them."""
    found = {
        name: getattr(wanted, name) for name, words in _NAMES.items() if supported and not set(words) & set(supported)
    }
    return tightest(TransactionLimit(**found), None)


def tightest(one: TransactionLimit, other: TransactionLimit | None) -> TransactionLimit | None:
    """Return the lower of two limits of each kind, None without any."""
    both = [one] if other is None else [one, other]
    found = {}
    for name in _NAMES:
        given = [value for each in both if (value := getattr(each, name)) is not None]
        if given:
            found[name] = min(given)
    return TransactionLimit(**found) if found else None


def reached(transaction: Transaction, wanted: TransactionLimit, cost: Decimal | None, now_ms: int) -> str:
    """Return which limit a running transaction has reached, such as `max_cost`; "" for none. `cost`: with taxes, so
    far, None for no price."""
    first, last, soc = transaction.import_start_wh, transaction.import_wh, transaction.soc
    so_far = {
        "max_cost": cost,
        "max_energy": None if first is None or last is None else Decimal(last.value) - Decimal(first.value),
        "max_time": None if transaction.started_ms is None else Decimal(now_ms - transaction.started_ms) / 1000,
        "max_soc": None if soc is None else Decimal(soc.value),
    }
    for name, value in so_far.items():
        limit = getattr(wanted, name)
        if limit is not None and value is not None and value >= Decimal(str(limit)):
            return name
    return ""


_LARGEST: Final = Decimal(10) ** 18
_SMALLEST: Final = -18

_NO_UNIT: Final = UnitOfMeasure()


def samples_of(values: Iterable[MeterValue]) -> tuple[Sample, ...]:
    """Return the samples of meter values, multipliers applied.

    Raises OcppError (PropertyConstraintViolation) for an invalid time and for a number of more than 18 digits
    before or after the point, which no meter has.
    """
    found: list[Sample] = []
    for meter_value in values:
        at_ms = parse_time(meter_value.timestamp)
        found += [_sample(sampled, at_ms) for sampled in meter_value.sampled_value]
    return tuple(found)


def _sample(sampled: SampledValue, at_ms: int) -> Sample:
    unit = sampled.unit_of_measure or _NO_UNIT
    signed = sampled.signed_meter_value
    return Sample(
        at_ms=at_ms,
        measurand=sampled.measurand or IMPORT_REGISTER,
        value=_decimal(sampled.value, unit.multiplier),
        unit=unit.unit,
        context=sampled.context or "Sample.Periodic",
        phase=sampled.phase or "",
        location=sampled.location or "Outlet",
        signed=msgspec.json.encode(signed).decode() if signed is not None else "",
    )


def _decimal(value: float, multiplier: int) -> str:
    text = repr(value)
    if multiplier == 0 and len(text) < -_SMALLEST and "e" not in text:  # nearly every value
        return text.removesuffix(".0") if value else "0"
    number = Decimal(text)
    exponent = int(number.as_tuple().exponent)
    if _SMALLEST <= multiplier <= -_SMALLEST and exponent + multiplier >= _SMALLEST:
        number = number.scaleb(multiplier)
        if abs(number) < _LARGEST:
            return plain(number)
    raise OcppError(f"no meter counts {value} times ten to the {multiplier}", answer="PropertyConstraintViolation")


class Transactions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Abandoned transactions."""

    silent_after_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    """After this time without a message the station is asked for a transaction's status."""
    check_interval_s: Seconds = 60.0
    """Interval of checks of open transactions; they are also checked after a station's boot."""
