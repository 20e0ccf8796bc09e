"""An honest session on real keys, and the kinds of false journals that its station could deliver instead."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from csms.booking.rules import Reason
from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import EVSE_ID, SESSION_ID, Session, authorization_of
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import GridSignal, SignalSlot, Tariff
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    CommandAccepted,
    ContractAuthorized,
    IntervalClosed,
    LimitChanged,
    MeterReading,
    SessionEnded,
    SessionStarted,
    TariffSet,
    WearPriced,
)
from v2g.energy.settlement.session_journal import SessionJournal, readings_of
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import SoftwareKey, load_private_key
from v2g.pki.profile import Role

STATION: Final = "CS-V2G-0001"
EMAID: Final = "DEV2GC00000001"
MINUTE_MS: Final = 60_000

Record = tuple[AnyRecord, int]


@dataclass(frozen=True)
class Story:
    """What a station delivers: a journal's lines, meter values, and certificates; and the token that it reports."""

    lines: tuple[bytes, ...]
    readings: tuple[Registers, ...]
    charger: tuple[bytes, ...]
    contract: tuple[bytes, ...]
    token: tuple[str, str] | None = (EMAID, "eMAID")
    ended: bool = True
    certified: bool = True
    reported: bool = True
    exports: bool = True
    evse_name: str = ""
    late_signal_ms: int = 0
    superseded: bool = False

    @property
    def entries(self) -> Sequence[Entry]:
        return verify_lines(b"".join(self.lines))


class LyingSession(Session):
    """The session of a station that may ask for other terms than it shows."""

    signs = True

    def __init__(
        self,
        pki: PkiTree,
        start_ms: int,
        *,
        signer: str = "contract",
        charger: str | Credentials = "secc",
        secret: Tariff | None = None,
        station_id: str = STATION,
        session_id: bytes = SESSION_ID,
    ) -> None:
        self.station_id, self.session_id = station_id, session_id
        super().__init__(pki, start_ms)
        self.secret = secret
        if charger != "secc":
            self.charger = pki.credentials(charger) if isinstance(charger, str) else charger
            self._select(checkpoints=False)
        if signer != "contract":
            self.contract = pki.credentials(signer)
            self._select(checkpoints=False)

    def offer(self) -> None:
        shown = self.tariff
        self.tariff = self.secret or shown
        super().offer()
        self.tariff = shown


def charger_named(pki: PkiTree, common_name: str, not_before: datetime | None = None) -> Credentials:
    """Return a new key of a charger, and its chain to the trusted root."""
    chain = pki.chain("secc")
    authority, like = load_certificate(chain[1]), load_certificate(chain[0])
    key = ec.generate_private_key(ec.SECP521R1())
    request = IssueRequest(
        role=Role.SECC,
        subject=Subject(common_name=common_name, organization="V2G Engine Operator", country="DE", domain="CPO"),
        public_key=key.public_key(),
        serial=x509.random_serial_number(),
        not_before=not_before or like.not_valid_before_utc,
        ocsp_url="http://ocsp.example",
        crl_url="http://crl.example",
    )
    leaf = issue(request, Issuer(authority, load_private_key(pki.path("cpo/sub2.key"))))
    return Credentials((leaf.public_bytes(Encoding.DER), *chain[1:]), SoftwareKey(key))


def signal_at(start_ms: int, version: int = 7) -> GridSignal:
    """Return the prices and limits of these sessions."""
    begin = start_ms // 900_000 * 900_000
    return GridSignal(
        version=version,
        issued_at_ms=begin,
        source="dso",
        currency="EUR",
        slots=tuple(
            SignalSlot(
                start_ms=begin + number * 900_000,
                duration_s=900,
                import_price=300_000 + number,
                export_compensation=200_000 + number,
            )
            for number in range(8)
        ),
        site_import_limit_w=30_000,
        export_limit_w=11_000,
        valid_until_ms=begin + 7_200_000,
    )


def session_of(
    pki: PkiTree,
    start_ms: int,
    *,
    discharge: str = "signed",
    commands: bool = True,
    feeds_back: bool = True,
    tariff: Tariff | None = None,
    **options: Any,
) -> LyingSession:
    """Return a session that charges for two minutes, and may feed back for one."""
    session = LyingSession(pki, start_ms, **options)
    session.tariff = tariff or signal_at(start_ms).tariff()
    session.start(discharge)
    session.flow(11_000, 2 * MINUTE_MS, 20_000)
    if commands and feeds_back:
        session.offer()
        session.flow(-9_000, MINUTE_MS)
    elif feeds_back:
        for _ in range(12):
            session.export_mwh += 12_500
            session.now += 5_000
            session.read(-9_000)
    session.end()
    return session


def unpriced(pki: PkiTree, start_ms: int) -> Story:
    """Return the session of a station that holds no prices: it charges."""
    story = delivered(session_of(pki, start_ms, discharge="none", feeds_back=False))
    return rewritten(story, (each for each in records(story) if not isinstance(each[0], TariffSet)))


def delivered(session: Session, **changes: Any) -> Story:
    """Return what the station of a session delivers."""
    story = Story(
        lines=tuple(session.lines),
        readings=tuple(readings_of(verify_lines(session.journal))),
        charger=session.charger.chain,
        contract=session.contract.chain,
    )
    return replace(story, **changes)


def records(story: Story) -> list[Record]:
    """Return a journal's records without what follows from them."""
    return [
        (entry.data, entry.utc_ms)
        for entry in story.entries
        if not isinstance(entry.data, IntervalClosed | SessionEnded)
        and not (isinstance(entry.data, MeterReading) and entry.data.reason == "end")
    ]


def rewritten(story: Story, said: Iterable[Record], end_ms: int | None = None, **changes: Any) -> Story:
    """Return a story with a journal of other records, whole in itself: its intervals follow from its readings."""
    said, ledger, lines = list(said), SessionJournal(), list[bytes]()
    for record, utc_ms in said:
        lines += ledger.record(record, utc_ms)
    last = next(record for record, _ in reversed(said) if isinstance(record, MeterReading))
    at_ms = end_ms or story.entries[-1].utc_ms
    lines += ledger.end("vehicle", at_ms, import_mwh=last.import_mwh, export_mwh=last.export_mwh)
    return replace(story, lines=tuple(lines), **changes)


def each_record(story: Story, change: Callable[[AnyRecord], AnyRecord], **changes: Any) -> Story:
    """Return a story whose journal has other records."""
    return rewritten(story, ((change(record), at) for record, at in records(story)), **changes)


def more(register: str, mwh: int, *, from_place: float = 0.0) -> Callable[[Story], Story]:
    """Return the lie that a register moved by more, from a place within the session on."""

    def lie(story: Story) -> Story:
        readings = [at for record, at in records(story) if isinstance(record, MeterReading)]
        from_ms = readings[int(from_place * (len(readings) - 1))]
        said = [
            (msgspec.structs.replace(record, **{register: getattr(record, register) + mwh}), at)
            if isinstance(record, MeterReading) and at >= from_ms
            else (record, at)
            for record, at in records(story)
        ]
        return rewritten(story, said)

    return lie


def moved(story: Story) -> Story:
    """Tell that energy flowed later than it did: the end is right."""
    said = []
    readings = [at for record, at in records(story) if isinstance(record, MeterReading)]
    first = story.readings[0]
    for record, at in records(story):
        if isinstance(record, MeterReading) and at < readings[5]:
            record = msgspec.structs.replace(record, import_mwh=first.import_mwh)
        said.append((record, at))
    return rewritten(story, said)


def shifted(by_mwh: int) -> Callable[[Story], Story]:
    """Return the lie that the meter stood elsewhere."""

    def change(record: AnyRecord) -> AnyRecord:
        if isinstance(record, SessionStarted | MeterReading):
            return msgspec.structs.replace(record, import_mwh=record.import_mwh + by_mwh)
        return record

    return lambda story: each_record(story, change)


def renamed(story: Story, session: str) -> Story:
    """Return the same session under another name."""

    def change(record: AnyRecord) -> AnyRecord:
        return msgspec.structs.replace(record, session_id=session) if isinstance(record, SessionStarted) else record

    return each_record(story, change)


def priced(change: Callable[[Tariff], Tariff]) -> Callable[[Story], Story]:
    """Return the lie that other prices were sent."""

    def other(record: AnyRecord) -> AnyRecord:
        return TariffSet(tariff=change(record.tariff)) if isinstance(record, TariffSet) else record

    return lambda story: each_record(story, other)


def _dear(tariff: Tariff) -> Tariff:
    slots = tuple(msgspec.structs.replace(each, export_compensation=30_000_000) for each in tariff.slots)
    return msgspec.structs.replace(tariff, slots=slots)


def _first(kind: type[AnyRecord], change: Callable[[Any], AnyRecord]) -> Callable[[Story], Story]:
    """Return the lie about the first record of a kind."""

    def lie(story: Story) -> Story:
        said, done = [], False
        for record, at in records(story):
            if isinstance(record, kind) and not done:
                record, done = change(record), True
            said.append((record, at))
        return rewritten(story, said)

    return lie


def _added(record: AnyRecord) -> Callable[[Story], Story]:
    """Return the lie of one more record, after the first four."""
    return lambda story: rewritten(story, [*records(story)[:4], (record, records(story)[4][1]), *records(story)[4:]])


def _raw(drop: Callable[[AnyRecord], bool], change: Callable[[AnyRecord], AnyRecord]) -> Callable[[Story], Story]:
    """Return the lie of a journal whose intervals do not follow from its readings; the chain is whole."""

    def lie(story: Story) -> Story:
        journal = Journal()
        kept = [entry for entry in story.entries if not drop(entry.data)]
        return replace(story, lines=tuple(journal.append(change(entry.data), entry.utc_ms) for entry in kept))

    return lie


def _is_interval(record: AnyRecord) -> bool:
    return isinstance(record, IntervalClosed)


@dataclass(frozen=True)
class Lie:
    """A kind of false journal: made from an honest story, or from sessions of its own, and what is found."""

    name: str
    reason: Reason
    tell: Callable[[Story], Story] | None = None
    make: Callable[[PkiTree, int], Story] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def story(self, honest: Story, pki: PkiTree, start_ms: int) -> Story:
        """Return what the station delivers."""
        if self.make is not None:
            return self.make(pki, start_ms)
        assert self.tell is not None
        return self.tell(honest)


def _with(**changes: Any) -> Callable[[Story], Story]:
    return lambda story: replace(story, **changes)


def _report(change: Callable[[Registers], Registers]) -> Callable[[Story], Story]:
    return lambda story: replace(story, readings=tuple(change(each) for each in story.readings))


def _during(from_ms: int, to_ms: int) -> Callable[[Story], Story]:
    """Return the lie of a transaction that covered only a part of the session, from its begin and its end (ms)."""

    def lie(story: Story) -> Story:
        begin, end = story.readings[0].utc_ms + from_ms, story.readings[-1].utc_ms + to_ms
        moved_ = [msgspec.structs.replace(each, utc_ms=min(max(each.utc_ms, begin), end)) for each in story.readings]
        return replace(story, readings=tuple(moved_))

    return lie


def _other_session(pki: PkiTree, start_ms: int) -> Story:
    """Commands that the vehicle signed in another session, under these terms."""
    story, other = delivered(session_of(pki, start_ms)), delivered(session_of(pki, start_ms + 1))
    stolen = [entry.data for entry in other.entries if isinstance(entry.data, CommandAccepted)]
    used = iter(stolen)
    return each_record(story, lambda record: next(used) if isinstance(record, CommandAccepted) else record)


def _own_key(pki: PkiTree, start_ms: int) -> Story:
    """Commands signed by the station's own key, in the name of the contract."""
    session = session_of(pki, start_ms, signer="secc")
    genuine = pki.credentials("contract")
    named = ContractAuthorized(emaid=EMAID, contract_certificate=_fingerprint(genuine.leaf), authorized_by="csms")
    story = replace(delivered(session), contract=genuine.chain)
    return each_record(story, lambda record: named if isinstance(record, ContractAuthorized) else record)


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def _no_charger(pki: PkiTree, start_ms: int) -> Story:
    """Signed by a key whose certificate is a vehicle's."""
    return delivered(session_of(pki, start_ms, charger="vehicle"))


def _authorized(payload: Callable[[Session], bytes]) -> Callable[[PkiTree, int], Story]:
    """Return the lie of a session for which the vehicle signed this instead."""

    def lie(pki: PkiTree, start_ms: int) -> Story:
        session = session_of(pki, start_ms)
        signed = AuthorizationSigned(payload=payload(session))
        return each_record(
            delivered(session), lambda record: signed if isinstance(record, AuthorizationSigned) else record
        )

    return lie


def _older(story: Story) -> Story:
    """Tell that the charger is of an earlier version, in which vehicles did not sign for the session."""
    said = ((each, at) for each, at in records(story) if not isinstance(each, AuthorizationSigned))
    return rewritten(story, ((_version_2(each), at) for each, at in said))


def first_hash(session: Session) -> bytes:
    """Return the hash of a journal's first entry."""
    return bytes.fromhex(verify_lines(session.journal)[0].hash)


def _version_2(record: AnyRecord) -> AnyRecord:
    return msgspec.structs.replace(record, bundle=2) if isinstance(record, SessionStarted) else record


def _own_contract(pki: PkiTree, start_ms: int) -> Story:
    """A certificate that no operator has issued."""
    return delivered(session_of(pki, start_ms, signer="secc"))


def _fed_back(discharge: str) -> Callable[[PkiTree, int], Story]:
    return lambda pki, start_ms: delivered(session_of(pki, start_ms, discharge=discharge, commands=False))


def _beyond(pki: PkiTree, start_ms: int) -> Story:
    """Twice the energy that commands allowed; the meter values agree."""
    story = delivered(session_of(pki, start_ms))
    first = story.readings[0].export_mwh

    def doubled(record: AnyRecord) -> AnyRecord:
        if isinstance(record, MeterReading):
            return msgspec.structs.replace(record, export_mwh=2 * record.export_mwh - first)
        return record

    made = each_record(story, doubled)
    return replace(made, readings=tuple(readings_of(made.entries)))


def _secret_terms(pki: PkiTree, start_ms: int) -> Story:
    """The vehicle accepted an offer with prices that nobody sent."""
    return delivered(session_of(pki, start_ms, secret=_dear(signal_at(start_ms).tariff())))


def _cheap(tariff: Tariff) -> Tariff:
    slots = (PriceSlot(tariff.slots[0].start_ms, 7_200_000, 1, 200_000),)
    return msgspec.structs.replace(tariff, slots=slots)


LIES: Final = (
    Lie("a session without a transaction", "transaction", _with(reported=False)),
    Lie("a transaction of two hours before", "transaction", _report(
        lambda each: msgspec.structs.replace(each, utc_ms=each.utc_ms - 120 * MINUTE_MS))),
    Lie("a begin before the transaction", "times", _during(2 * MINUTE_MS, 0)),
    Lie("an end after the transaction", "times", _during(0, -2 * MINUTE_MS)),
    Lie("another EVSE", "evse", _with(evse_name="DE*V2G*E0002")),
    Lie("the contract of another driver's transaction", "token", _with(token=("DEV2GC00000002", "eMAID"))),
    Lie("a contract where a card was shown", "token", _with(token=(EMAID, "ISO14443"))),
    Lie("a contract where nobody was identified", "token", _with(token=None)),
    Lie("a contract that is not known", "authorization", lambda story: replace(
        _first(ContractAuthorized, lambda each: msgspec.structs.replace(each, emaid="DEV2GC09999999"))(story),
        token=("DEV2GC09999999", "eMAID"))),
    Lie("a contract that is blocked", "authorization", _with(), options={"status": "Blocked"}),
    Lie("two contracts", "contract", _added(
        ContractAuthorized(emaid="DEV2GC00000003", contract_certificate="00", authorized_by="csms"))),
    Lie("another certificate of the contract", "contract", _first(
        ContractAuthorized, lambda each: msgspec.structs.replace(each, contract_certificate="00"))),
    Lie("a contract certificate of its own", "contract", make=_own_contract),
    Lie("no certificates", "certificates", _with(certified=False)),
    Lie("another charger's certificate", "certificates", _first(
        SessionStarted, lambda each: msgspec.structs.replace(each, charger_certificate="00"))),
    Lie("a charger that is none", "certificates", make=_no_charger),
    Lie("more energy taken", "registers", more("import_mwh", 1_000_000, from_place=0.5)),
    Lie("more energy fed back", "registers", more("export_mwh", 50_000, from_place=1.0)),
    Lie("less energy fed back", "registers", more("export_mwh", -50_000, from_place=1.0)),
    Lie("energy at another time", "registers", moved),
    Lie("another begin of the register", "registers", shifted(500_000)),
    Lie("feed-in without meter values", "registers", _with(exports=False)),
    Lie("a transaction that does not end", "registers", lambda story: replace(
        story, ended=False, readings=story.readings[:-3])),
    Lie("a high price for feed-in", "prices", priced(_dear)),
    Lie("a low price for energy", "prices", priced(_cheap)),
    Lie("another currency", "prices", priced(lambda each: msgspec.structs.replace(each, currency="KWD"))),
    Lie("prices of a later version", "prices", priced(lambda each: msgspec.structs.replace(each, version=8))),
    Lie("prices before they were sent", "prices", _with(late_signal_ms=10 * MINUTE_MS)),
    Lie("prices that were replaced", "superseded", _with(superseded=True)),
    Lie("an offer of other prices", "terms", make=_secret_terms),
    Lie("a limit above the one sent", "limits", _first(LimitChanged, lambda each: msgspec.structs.replace(
        each, max_discharge_w=12_000, operator_w=12_000))),
    Lie("a price of wear", "wear", _added(WearPriced(price=1_000_000))),
    Lie("feed-in without a command", "feed_in", make=_fed_back("signed")),
    Lie("feed-in by the plain standard", "feed_in", make=_fed_back("standard")),
    Lie("feed-in in a session that only charges", "feed_in", make=_fed_back("none")),
    Lie("commands signed by the station", "signatures", make=_own_key),
    Lie("an authorisation of another session", "signatures", make=_authorized(
        lambda session: authorization_of(session.contract, SESSION_ID, bytes(16)))),
    Lie("an authorisation signed by the station", "signatures", make=_authorized(
        lambda session: authorization_of(
            Credentials(session.contract.chain, session.charger.key), SESSION_ID, first_hash(session)[:16]))),
    Lie("no authorisation by the vehicle", "signatures", lambda story: rewritten(
        story, (each for each in records(story) if not isinstance(each[0], AuthorizationSigned)))),
    Lie("no authorisation, as an earlier version", "unsigned", _older),
    Lie("commands of another session", "signatures", make=_other_session),
    Lie("more energy than commands allowed", "signatures", make=_beyond),
    Lie("a command that lasts longer", "signatures", _first(
        CommandAccepted, lambda each: msgspec.structs.replace(each, until_ms=each.until_ms + MINUTE_MS))),
    Lie("a command for more power", "signatures", _first(
        CommandAccepted, lambda each: msgspec.structs.replace(each, effective_w=10_999))),
    Lie("an interval that readings contradict", "journal", _raw(lambda _: False, lambda record: (
        msgspec.structs.replace(record, import_end_mwh=record.import_end_mwh + 1)
        if isinstance(record, IntervalClosed) else record))),
    Lie("an interval that is missing", "journal", _raw(_is_interval, lambda record: record)),
)  # fmt: skip
"""Kinds of false journals."""

__all__ = [
    "EMAID",
    "EVSE_ID",
    "LIES",
    "SESSION_ID",
    "STATION",
    "Lie",
    "Story",
    "delivered",
    "renamed",
    "session_of",
    "signal_at",
]
