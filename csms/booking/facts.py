"""Facts of sessions, none of which may contradict another: what each EVSE's meter counted and when, and where each
contract and vehicle was meanwhile (R195).

Plausibility judges a session alone; these rules judge it beside all others that are booked.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from csms.booking.plausibility import CLOCK_MS, LEAST_MWH, REGISTER_MWH, Reason, wh
from csms.tokens.rules import CONTRACT, normalise
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import ContractAuthorized, MeterReading, SessionStarted, VehicleDescribed
from v2g.energy.settlement.registers import MeterState
from v2g.energy.settlement.settle import Settlement
from v2g.text import moment

Kind = Literal["evse", "contract", "vehicle"]
Source = Literal["transaction", "journal", "exchange"]
State = Literal["booked", "proven", "disputed", "held", "released", "withdrawn"]
"""`proven`: booked, and its vehicle has signed for it. `disputed`: held because only other stations contradict it, and
no vehicle has signed for either."""

STANDING: Final[tuple[State, ...]] = ("booked", "proven", "disputed", "released")
"""States of facts that others must fit."""

Span = tuple[int, int]
"""The first and last value of a register, mWh."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What a session, or the exchange of a meter, says about an EVSE, a contract or a vehicle, by `key`.

    Times are UTC ms. Registers are those of an EVSE, None where it has none; those of an exchange are the old meter's
    last value and the new one's first. `transaction_id` is the OCPP transaction that a session is a part of, empty
    without one: a journal and its transaction are one session. `released`: it stands by a person's word.
    """

    kind: Kind
    key: str
    station_id: str
    evse_id: int
    source: Source
    source_id: str
    transaction_id: str
    from_ms: int
    to_ms: int
    imports: Span | None = None
    exports: Span | None = None
    state: State = "booked"

    @property
    def name(self) -> str:
        """What it is from, for a person."""
        return f"{self.source} {self.source_id} of {self.station_id}"


class Contradiction(msgspec.Struct, frozen=True):
    """Why a fact cannot be, and the one that says so."""

    reason: Reason
    detail: str
    other: Fact


def held_by(against: Contradiction) -> State:
    """Return what a session is that cannot be beside another one."""
    decided = against.reason != "elsewhere" or against.other.state in ("proven", "released")
    return "held" if decided else "disputed"


def evse_key(station_id: str, evse_id: int) -> str:
    """Return the key of an EVSE; its number is 0 where its station does not say."""
    return f"{station_id}/{evse_id}"


def of_session(evse: Fact, contract: str, vehicle: str = "") -> tuple[Fact, ...]:
    """Return all facts of a session by that of its EVSE; contract (normalised) and vehicle are empty if unknown."""
    keys: tuple[tuple[Kind, str], ...] = ("contract", contract), ("vehicle", vehicle)
    also = (msgspec.structs.replace(evse, kind=kind, key=key, imports=None, exports=None) for kind, key in keys if key)
    return (evse, *also)


def of_journal(entries: Sequence[Entry], settlement: Settlement) -> tuple[Fact, ...]:
    """Return the facts of a journal; its back end knows the transaction and the EVSE's number.

    Registers that start again at a maximum count in those of the transaction only.
    """
    contract = vehicle = ""
    first = entries[0].data
    assert isinstance(first, SessionStarted), "checked by verify_lines"
    meter = MeterState.at_start(first, entries[0].utc_ms)
    for entry in entries:
        match entry.data:
            case ContractAuthorized(emaid=emaid):
                contract = normalise(CONTRACT, emaid)
            case VehicleDescribed(evcc_id=evcc_id):
                vehicle = evcc_id
            case MeterReading():
                meter = meter.after(entry.data, entry.utc_ms)
    counts = first.rollover_mwh is UNSET
    evse = Fact(
        kind="evse",
        key=evse_key(first.station_id, 0),
        station_id=first.station_id,
        evse_id=0,
        source="journal",
        source_id=first.session_id,
        transaction_id="",
        from_ms=settlement.begin.utc_ms,
        to_ms=settlement.end.utc_ms,
        imports=(first.import_mwh, meter.shown_import_mwh) if counts else None,
        exports=(first.export_mwh, meter.shown_export_mwh) if counts else None,
    )
    return of_session(evse, contract, vehicle)


def placed(facts: Iterable[Fact], station_id: str, session_id: str, transaction_id: str, evse_id: int) -> list[Fact]:
    """Return a journal's facts with the EVSE and the OCPP transaction to which it belongs."""
    place = {"station_id": station_id, "source_id": session_id, "transaction_id": transaction_id, "evse_id": evse_id}
    return [
        msgspec.structs.replace(each, key=evse_key(station_id, evse_id) if each.kind == "evse" else each.key, **place)
        for each in facts
    ]


def contradictions(fact: Fact, others: Sequence[Fact]) -> Iterator[Contradiction]:
    """Yield what contradicts a fact among those of the same kind and key that stand, overlapping or next to it.

    Where a vehicle has signed that it was here, only another signature or a person's word says that it was elsewhere.
    """
    apart = [each for each in others if not _is_same_session(fact, each)]
    proven = [each for each in (fact, *others) if each.state == "proven" and _is_same_session(fact, each)]
    for each in apart:
        from_ms, to_ms = max(fact.from_ms, each.from_ms), min(fact.to_ms, each.to_ms)
        overlap_ms = to_ms - from_ms
        if fact.kind == "evse":
            if overlap_ms > (0 if _is_same_transaction(fact, each) else CLOCK_MS):
                detail = f"{each.name} was at its EVSE from {moment(each.from_ms)} to {moment(each.to_ms)}"
                yield Contradiction("repeated", detail, each)
        elif overlap_ms > 2 * CLOCK_MS and (each.station_id, each.evse_id) != (fact.station_id, fact.evse_id):
            if each.state in ("booked", "disputed") and any(
                one.from_ms <= from_ms + CLOCK_MS and to_ms - CLOCK_MS <= one.to_ms for one in proven
            ):
                continue
            detail = f"its {fact.kind} was at another EVSE from {moment(each.from_ms)} to {moment(each.to_ms)}"
            yield Contradiction("elsewhere", detail, each)
    if fact.kind == "evse":
        when = fact.from_ms, fact.to_ms
        earlier = [each for each in apart if (each.from_ms, each.to_ms) <= when]
        earlier.sort(key=lambda each: (each.to_ms, each.from_ms), reverse=True)
        later = [each for each in apart if (each.from_ms, each.to_ms) > when]
        later.sort(key=lambda each: (each.from_ms, each.to_ms))
        for each in _chained(earlier):
            yield from _of_registers(each, fact, each)
        for each in _chained(later):
            yield from _of_registers(fact, each, each)


def _is_same_transaction(fact: Fact, other: Fact) -> bool:
    return (
        bool(fact.transaction_id)
        and fact.transaction_id == other.transaction_id
        and (fact.station_id == other.station_id)
    )


def _is_same_session(fact: Fact, other: Fact) -> bool:
    """Return whether they are one session: of a transaction's journals each is one of its own."""
    same = fact.station_id == other.station_id and (fact.source, fact.source_id) == (other.source, other.source_id)
    return same or (_is_same_transaction(fact, other) and fact.source != other.source)


def _chained(neighbours: Iterable[Fact]) -> Iterator[Fact]:
    """Yield neighbours, the nearest first, up to one behind which registers count anew."""
    for each in neighbours:
        yield each
        if each.source == "exchange" or each.state == "released":
            return


def _of_registers(first: Fact, second: Fact, other: Fact) -> Iterator[Contradiction]:
    """Yield where a register falls from one fact to the next; of a meter that counts each session from 0 it may."""
    least = LEAST_MWH if first.source == second.source else REGISTER_MWH
    for name, before, after in (("import", first.imports, second.imports), ("export", first.exports, second.exports)):
        if before is None or after is None or before[1] <= after[0] + least or before[0] == after[0] == 0:
            continue
        stood = f"the {name} register is {wh(after[0])} to {wh(after[1])} Wh, that of {other.name}"
        if other is second:
            stood = f"the {name} register is {wh(before[0])} to {wh(before[1])} Wh, later that of {other.name}"
        values = before if other is first else after
        reason: Reason = "fall" if after[1] <= before[0] else "repeated"
        yield Contradiction(reason, f"{stood} {wh(values[0])} to {wh(values[1])} Wh", other)
