"""A back end's copy of a session's journal: only continuations and repetitions; the session's course by it.

A station may deliver lines again and in any portions. Equal lines are fine; a different line in an existing place is
a fork: one of the two histories is false, and neither may replace the other.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final

import msgspec

from v2g import typed_json
from v2g.energy.settlement import records
from v2g.energy.settlement.canonical import parse_canonical
from v2g.energy.settlement.journal import Entry, Journal
from v2g.errors import CodecError, RefusedError, StoreError, VerificationError
from v2g.observe import Scalar
from v2g.units import PositiveDecimals

MAX_LINES: Final = 2000
"""Limit of lines in one delivery."""

SafeName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.=+@*|-]{0,63}\Z")]
"""A name that is also a safe file name: no separator, no leading dot."""


_MAX_CHAIN: Final = 5

Certificate = Annotated[bytes, msgspec.Meta(min_length=1, max_length=8192)]


class Delivery(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """DataTransfer JournalEntries: consecutive lines of one session's journal, without line feeds."""

    station_id: SafeName
    session_id: SafeName
    lines: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]


class DeliveredCertificates(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """DataTransfer JournalCertificates: chains (DER, base64, leaf first) of a session's charger and contract.

    `contract` is empty without one.
    """

    station_id: SafeName
    session_id: SafeName
    charger: Annotated[tuple[Certificate, ...], msgspec.Meta(min_length=1, max_length=_MAX_CHAIN)]
    contract: Annotated[tuple[Certificate, ...], msgspec.Meta(max_length=_MAX_CHAIN)]


def read_certificates(data: object) -> DeliveredCertificates:
    """Return the payload of a DataTransfer as certificates. Raises CodecError."""
    try:
        return typed_json.convert(data, DeliveredCertificates)
    except msgspec.ValidationError as error:
        raise CodecError(f"JournalCertificates: {error}") from None


def read_delivery(data: object) -> Delivery:
    """Return the payload of a DataTransfer as a delivery. Raises CodecError."""
    try:
        return typed_json.convert(data, Delivery)
    except msgspec.ValidationError as error:
        raise CodecError(f"JournalEntries: {error}") from None


class Copy:
    """The copy of one journal, in memory: enough to verify the next delivery. Storage is the caller's task.

    After any error but RefusedError (`fork`, `gap`, `foreign`, `correction`) the copy must be discarded and read again.
    """

    def __init__(self, station_id: str, session_id: str) -> None:
        self._station_id = station_id
        self._session_id = session_id
        self._journal = Journal()
        self._digests: list[bytes] = []

    @property
    def lines(self) -> int:
        """Number of lines in the copy."""
        return len(self._digests)

    @property
    def head(self) -> str:
        """The hash of the last line, in hex; zeros before the first."""
        return self._journal.state.head

    @property
    def ended(self) -> bool:
        """Whether the session has ended; only corrections follow."""
        return self._journal.state.ended

    def take(self, lines: Sequence[bytes], *, stored: bool = False) -> list[bytes]:
        """Return the new ones of `lines`, verified to continue the copy, as bytes to append.

        Only `stored` lines may be corrections: those are the operator's. Raises RefusedError (`fork`, `gap`,
        `foreign`, `correction`) and VerificationError for an invalid line; then none of the delivery is accepted.
        """
        entries = [
            parse_canonical(line, Entry, where=f"{self._session_id}: delivered line {number}")
            for number, line in enumerate(lines, 1)
        ]
        known = self._count_known(entries, lines)
        if not stored and any(isinstance(entry.data, records.Addition) for entry in entries[known:]):
            raise RefusedError("corrections are the operator's", reason="correction")
        return [self._append(entry, line) for entry, line in zip(entries[known:], lines[known:], strict=True)]

    def _count_known(self, entries: Sequence[Entry], lines: Sequence[bytes]) -> int:
        known = 0
        for place, (entry, line) in enumerate(zip(entries, lines, strict=True)):
            if entry.sequence != entries[0].sequence + place:
                raise RefusedError(f"entry {entry.sequence} is out of place in its delivery", reason="gap")
            if entry.sequence < self.lines:
                if self._digests[entry.sequence] != hashlib.sha256(line).digest():
                    raise RefusedError(f"entry {entry.sequence} differs from the copy", reason="fork")
                known += 1
        if entries[0].sequence > self.lines:
            raise RefusedError(
                f"entry {entries[0].sequence} is delivered, entry {self.lines} is next",
                reason="gap",
                hint=f"deliver from entry {self.lines} on",
            )
        if known < len(entries) and entries[known].previous != self.head:
            raise RefusedError(f"entry {entries[known].sequence} does not continue the copy", reason="fork")
        return known

    def _append(self, entry: Entry, line: bytes) -> bytes:
        """Verify a line by writing it again: only the one valid continuation gives the same text."""
        where = f"{self._session_id}: entry {entry.sequence}"
        if isinstance(entry.data, records.SessionStarted):
            named = entry.data.station_id, entry.data.session_id
            if named != (self._station_id, self._session_id):
                raise RefusedError(f"the journal is of session {named[1]} at {named[0]}", reason="foreign")
        try:
            proved = self._journal.append(entry.data, entry.utc_ms)
        except StoreError as error:
            raise VerificationError(str(error), where=where) from None
        if proved != line + b"\n":
            raise VerificationError("the line's hash does not match", where=where)
        self._digests.append(hashlib.sha256(line).digest())
        return proved


def entries_of(session_id: str, lines: Iterable[bytes], *kinds: type[msgspec.Struct]) -> Iterator[Entry]:
    """Yield the entries of verified lines that name one of these kinds of records: parsing all costs."""
    marks = [f'"kind":"{each.__struct_config__.tag}"'.encode() for each in kinds]
    for line in lines:
        if any(mark in line for mark in marks):
            yield parse_canonical(line.removesuffix(b"\n"), Entry, where=session_id)


SHOWN: Final[Mapping[type[msgspec.Struct], Sequence[str]]] = {
    records.SessionStarted: ("evse_id", "discharge"),
    records.ContractAuthorized: ("authorized_by",),
    records.VehicleDescribed: ("battery_capacity_wh",),
    records.TermsOffered: (),
    records.TermsDecided: ("accepted", "reason"),
    records.CommandAccepted: ("effective_w",),
    records.CommandRejected: ("reason", "detail"),
    records.LimitChanged: ("max_discharge_w", "source", "ev_w", "evse_w", "site_w", "operator_w"),
    records.ServiceChanged: ("service", "reason", "discharge"),
    records.GridSupportGiven: ("functions",),
    records.EnergyUnmetered: ("import_mwh", "export_mwh"),
    records.SessionEnded: ("reason",),
}
"""What of each kind of record is shown: nothing by which a person is known."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a session: a kind of record of its journal, and facts of that, as the records name them."""

    at_ms: int
    session_id: str
    kind: str
    facts: dict[str, Scalar]


class PriceStep(msgspec.Struct, frozen=True, kw_only=True):
    """Prices from a time on, in millionths of the currency per kWh, without taxes."""

    at_ms: int
    currency: str
    import_price: int
    export_price: int


class SessionCourse(msgspec.Struct, frozen=True, kw_only=True):
    """Moments and prices in order of time; of equal permitted powers the first."""

    moments: tuple[Moment, ...] = ()
    prices: tuple[PriceStep, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An offer that the vehicle accepted or refused (`terms`), or its command that the charger refused (`command`)."""

    at_ms: int
    kind: str
    accepted: bool
    reason: str
    detail: str


def course_of(journals: Mapping[str, Iterable[bytes]], until_ms: int) -> SessionCourse:
    """Return the course of the sessions of a transaction, from verified lines by session id; prices until a time."""
    moments: list[Moment] = []
    prices: list[PriceStep] = []
    for session_id, lines in journals.items():
        permitted_w = 0
        for entry in entries_of(session_id, lines, *SHOWN, records.TariffSet):
            record = entry.data
            if isinstance(record, records.TariffSet):
                slots = [each for each in record.tariff.slots if each.end_ms > entry.utc_ms]
                steps = [
                    PriceStep(
                        at_ms=max(entry.utc_ms, each.start_ms),
                        currency=record.tariff.currency,
                        import_price=each.import_price,
                        export_price=each.export_compensation,
                    )
                    for each in slots
                ]
                prices = [*(each for each in prices if each.at_ms < entry.utc_ms), *steps]
            if type(record) not in SHOWN:
                continue
            if isinstance(record, records.CommandAccepted):
                if record.effective_w == permitted_w:
                    continue  # the vehicle repeats its command
                permitted_w = record.effective_w
            found = {name: getattr(record, name) for name in SHOWN[type(record)]}
            facts = {name: " ".join(value) if isinstance(value, tuple) else value for name, value in found.items()}
            moments.append(Moment(at_ms=entry.utc_ms, session_id=session_id, kind=entry.kind, facts=facts))
    moments.sort(key=lambda each: each.at_ms)
    return SessionCourse(moments=tuple(moments), prices=tuple(each for each in prices if each.at_ms <= until_ms))


def decision_of(entry: Entry) -> Decision | None:
    """Return what an entry decides about an offer or a command; None for any other."""
    match entry.data:
        case records.TermsDecided(accepted=accepted, reason=reason):
            return Decision(at_ms=entry.utc_ms, kind="terms", accepted=accepted, reason=reason, detail="")
        case records.CommandRejected(reason=reason, detail=detail):
            return Decision(at_ms=entry.utc_ms, kind="command", accepted=False, reason=reason, detail=detail[:300])
        case _:
            return None


class SettlementRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a session's journal must fulfil to be booked."""

    wait_s: Annotated[float, msgspec.Meta(gt=0, le=2_678_400)] = 3600.0
    """So long a complete journal waits for its transaction, meter values and certificates; then it goes into
    quarantine."""
    unsigned_feed_in: bool = False
    """Book feed-in that no signed command of the vehicle covers, as vehicles without signed discharge do it."""
    unsigned_contracts: bool = False
    """Book sessions of contracts for which no vehicle has signed, as chargers of version 0.2 and earlier have them."""
    wear_per_kwh: PositiveDecimals | None = None
    """What stations are configured to pay for wear, per kWh fed back; journals with another price go into
    quarantine. None by default."""
