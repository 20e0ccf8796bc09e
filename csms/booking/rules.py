"""Whether a journal may be booked: it is held against what this back end itself has seen, sent and accepted.

A station's word is not enough. A journal whose evidence has not arrived yet waits; one that contradicts the evidence is
put into quarantine, until an operator decides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from csms.booking.plausibility import REGISTER_MWH, Point, RatedPower, judge_limits, judge_register, kw, wh
from csms.booking.plausibility import Finding as Finding
from csms.booking.plausibility import Reason as Reason
from csms.prequalifications.rules import Prequalification, permit
from csms.station_security.rules import Charger
from csms.tokens.rules import CONTRACT, normalise
from v2g.energy.settlement import records
from v2g.energy.settlement.authorization import SignedChallenge, check_authorization
from v2g.energy.settlement.canonical import sha256_hex
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.operator import other_terms, tariff_digest
from v2g.energy.settlement.proof import prove_discharge, signed_messages
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.settlement.settle import Settlement
from v2g.energy.signed import Party
from v2g.errors import CertificateError, VerificationError
from v2g.pki.keys import PublicKey
from v2g.text import age, moment

_OF_ANOTHER: Final[tuple[Reason, ...]] = ("times", "evse", "token", "contract", "registers")
"""Where a journal does not fit another transaction: one whose end is not known, or, all but the last, one at another
EVSE; of an EVSE whose name is known the first two."""
_SLACK_MS: Final = 2_000
"""By so much the time of a meter value may differ from the journal's, ms: a clock may be set by less than a second."""


class Reading(msgspec.Struct, frozen=True):
    """Registers that a station reported by OCPP, mWh; None where it left one out."""

    at_ms: int
    import_mwh: int | None
    export_mwh: int | None


class SeenTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction as this back end saw it, with its `readings` in order of time.

    `evse` is the EVSE's number by OCPP, `evse_id` its name by ISO 15118, None and empty if the station has not reported
    them. `answer` is what this back end answered about its token, empty if it was not asked. Times are those that its
    events can be of by their receipt; `ended_ms` is None while it goes on; `over`: no more of its events is expected.
    `permitted`: see `TransactionContext`.
    """

    transaction_id: str
    started_ms: int
    ended_ms: int | None
    over: bool
    evse: int | None
    evse_id: str
    id_token: str
    token_type: str
    answer: str
    readings: tuple[Reading, ...]
    rating: RatedPower = RatedPower()
    permitted: tuple[Sequence[Point], Sequence[Point]] = ((), ())


class PriceDelivery(msgspec.Struct, frozen=True):
    """When a station was sent a tariff, and when it accepted another one (UTC ms); None: it may still hold it.

    One that it has not acknowledged may have arrived, and so may not have: it then still holds the one before.
    """

    sent_ms: int
    ended_ms: int | None


class Certificates(msgspec.Struct, frozen=True):
    """The certificates of a session's signers (DER), as its station delivered them.

    `emaid` is that of the contract, empty unless its chain led to a root that this back end trusts. `charger_fault`
    says why the charger's did not; it is empty if it did.
    """

    charger: bytes
    contract: bytes
    emaid: str
    charger_fault: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that this back end knows about a session of a station beside its journal.

    `deliveries` are those of tariffs to its station, by their hash; `most_export_w` is the highest limit of the grid
    signals that may have been in force during the session. `prequalifications` are the records of its station.
    `charger` is None without a certificate that can be read. `booked` are the times of other booked sessions, by
    transaction.
    """

    station_id: str
    transactions: tuple[SeenTransaction, ...]
    deliveries: Mapping[str, tuple[PriceDelivery, ...]]
    most_export_w: int | None
    prequalifications: tuple[Prequalification, ...]
    certificates: Certificates | None
    charger: Charger | None
    booked: Mapping[str, tuple[tuple[int, int], ...]]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator has agreed: the price of wear (micro-units a kWh), feed-in that no signed command covers, and
    contracts for whose session no vehicle has signed, as in journals of earlier versions.

    `margin_ms`: by so much a session may begin before its transaction, and end after it.
    """

    wear: int | None = None
    unsigned_feed_in: bool = False
    unsigned_contracts: bool = False
    margin_ms: int = 60_000


class BookingJudgement(msgspec.Struct, frozen=True):
    """The transaction that the session belongs to, if one was found, and why it is not booked: None if it is."""

    transaction_id: str
    finding: Finding | None


class _Case(msgspec.Struct, frozen=True):
    entries: Sequence[Entry]
    settlement: Settlement
    evidence: Evidence
    rules: Rules

    @property
    def started(self) -> records.SessionStarted:
        first = self.entries[0].data
        assert isinstance(first, records.SessionStarted), "checked by verify_lines"
        return first

    @property
    def authorized(self) -> records.ContractAuthorized | None:
        return next((each.data for each in self.entries if isinstance(each.data, records.ContractAuthorized)), None)


def is_signed(entries: Iterable[Entry]) -> bool:
    """Return whether a journal relies on signatures of its charger."""
    return next(signed_messages(entries), None) is not None


def judge(entries: Sequence[Entry], settlement: Settlement, evidence: Evidence, rules: Rules) -> BookingJudgement:
    """Decide about the verified entries of a complete journal, and its settlement."""
    case = _Case(entries, settlement, evidence, rules)
    found = _of_transactions(case)
    if found.finding is not None and not found.finding.missing:
        return found
    its = (each.evse for each in evidence.transactions if each.transaction_id == found.transaction_id)
    wrong = next(_wrong(case, next(its, None) if found.finding is None else None), None)
    if wrong is None or (wrong.missing and found.finding is not None):
        return found
    return BookingJudgement(found.transaction_id, wrong)


# -- the transaction


def _of_transactions(case: _Case) -> BookingJudgement:
    """Return what is wrong with the transaction that fits best: several EVSEs may have one at the same time.

    A vehicle that soon comes back begins another one with the registers at which the session ended: that fits, too. So
    those come first that went on during most of the session.
    """
    best: tuple[int, BookingJudgement] | None = None
    for each in sorted(case.evidence.transactions, key=lambda each: -_shared_ms(case, each)):
        findings = (check(case, each) for check in (_times, _evse, _token, _registers, _repeated))
        failed: tuple[int, Finding | None] | None
        failed = next(((place, one) for place, one in enumerate(findings) if one is not None), None)
        if failed is None:
            return BookingJudgement(each.transaction_id, None)
        if failed[1].reason == "repeated":  # with what it contradicts, the ledger says
            failed = failed[0], None
        elif (
            failed[1].reason
            in _OF_ANOTHER[: None if each.ended_ms is None or not each.over else 2 if each.evse_id else 4]
        ):
            failed = failed[0], msgspec.structs.replace(failed[1], missing=True)  # its own may not have arrived
        if best is None or failed[0] > best[0]:
            best = failed[0], BookingJudgement(each.transaction_id, failed[1])
    if best is not None:
        return best[1]
    begin_ms, end_ms = case.settlement.begin.utc_ms, case.settlement.end.utc_ms
    detail = f"the station has reported no transaction between {moment(begin_ms)} and {moment(end_ms)}"
    return BookingJudgement("", Finding("transaction", detail, missing=True))


def _shared_ms(case: _Case, seen: SeenTransaction) -> int:
    """Return for how long a transaction went on during the session, ms; below 0: how far they are apart."""
    end_ms = case.settlement.end.utc_ms if seen.ended_ms is None else min(seen.ended_ms, case.settlement.end.utc_ms)
    return end_ms - max(seen.started_ms, case.settlement.begin.utc_ms)


def _times(case: _Case, seen: SeenTransaction) -> Finding | None:
    early_ms = seen.started_ms - case.settlement.begin.utc_ms
    if early_ms > case.rules.margin_ms:
        return Finding("times", f"it begins {age(early_ms)} before transaction {seen.transaction_id}")
    late_ms = 0 if seen.ended_ms is None else case.settlement.end.utc_ms - seen.ended_ms
    if late_ms > case.rules.margin_ms:
        return Finding("times", f"it ends {age(late_ms)} after transaction {seen.transaction_id}")
    return None


def _evse(case: _Case, seen: SeenTransaction) -> Finding | None:
    if seen.evse_id in ("", case.settlement.evse_id):
        return None
    return Finding("evse", f"EVSE {case.settlement.evse_id}, the transaction was at {seen.evse_id}")


def _token(case: _Case, seen: SeenTransaction) -> Finding | None:
    if case.authorized is None:
        if seen.token_type != CONTRACT:
            return None
        return Finding("contract", f"it names no contract, the transaction was paid by {seen.id_token}")
    emaid = normalise(CONTRACT, case.authorized.emaid)
    paid = normalise(CONTRACT, seen.id_token) if seen.token_type == CONTRACT else ""
    if paid != emaid:
        return Finding("token", f"contract {emaid}, the transaction was paid by {paid or 'no contract'}")
    if not seen.answer:
        return Finding("authorization", f"this back end was not asked about contract {emaid}", missing=not seen.over)
    if seen.answer != "Accepted":
        return Finding("authorization", f"contract {emaid} was answered {seen.answer}")
    return None


def _repeated(case: _Case, seen: SeenTransaction) -> Finding | None:
    for begin_ms, end_ms in case.evidence.booked.get(seen.transaction_id, ()):
        if begin_ms < case.settlement.end.utc_ms and case.settlement.begin.utc_ms < end_ms:
            return Finding("repeated", f"another session of transaction {seen.transaction_id} covers that time")
    return None


# -- the meter


def _registers(case: _Case, seen: SeenTransaction) -> Finding | None:
    """Compare the journal's registers with meter values: before the session, at each of them, and after it."""
    rollover = case.started.rollover_mwh
    jumped = any(
        isinstance(each.data, records.MeterReading)
        and each.data.status is not UNSET
        and "time_jump" in each.data.status
        for each in case.entries
    )
    readings = readings_of(case.entries)
    imports = [(each.at_ms, each.import_mwh) for each in seen.readings if each.import_mwh is not None]
    exports = [(each.at_ms, each.export_mwh) for each in seen.readings if each.export_mwh is not None]
    rating, permitted = seen.rating, seen.permitted
    for name, journal, values, watts, most in (
        ("import", [(each.utc_ms, each.import_mwh) for each in readings], imports, rating.import_w, permitted[0]),
        ("export", [(each.utc_ms, each.export_mwh) for each in readings], exports, rating.export_w, permitted[1]),
    ):
        if not values and seen.readings and journal[-1][1] == journal[0][1]:
            continue  # a register that the station does not report, and that has not moved
        impossible, beyond = judge_register(name, journal, watts)[1], [*judge_limits(name, journal, most, watts)]
        differs = _compare(
            name, journal, values, over=seen.over, jumped=jumped, rollover_mwh=0 if rollover is UNSET else rollover
        )
        if not impossible and differs is not None and not (differs.missing and beyond):
            return differs  # what meter values contradict says nothing about limits
        if impossible or beyond:
            return Finding((impossible or beyond)[0].reason, "; ".join(each.detail for each in (*impossible, *beyond)))
    return None


def _compare(
    name: str,
    journal: Sequence[tuple[int, int]],
    values: Sequence[tuple[int, int]],
    *,
    over: bool,
    jumped: bool,
    rollover_mwh: int,
) -> Finding | None:
    """Compare one register: (UTC ms, mWh) of the journal and of meter values, both in order of time."""
    (begin_ms, begin), (end_ms, end) = journal[0], journal[-1]
    before = [value for at_ms, value in values if at_ms <= begin_ms + _SLACK_MS]
    after = [value for at_ms, value in values if at_ms >= end_ms]
    if not values or not (after or over):
        detail = f"no meter value of the {name} register at the end of the session"
        return Finding("registers", detail, missing=not over)
    first, last = before[-1] if before else begin, after[0] if after else values[-1][1]
    # whole rollovers, which a journal does not count
    shift = 0 if not rollover_mwh else round((first - begin) / rollover_mwh) * rollover_mwh
    for what, of_journal, of_value in (("began", begin, first - shift), ("ended", end, last - shift)):
        if abs(of_value - of_journal) > REGISTER_MWH:
            detail = f"the {name} register {what} at {wh(of_journal)} Wh, by the meter value at {wh(of_value)} Wh"
            return Finding("registers", detail)
    for at_ms, value in () if jumped else values:
        if not begin_ms <= at_ms <= end_ms:
            continue
        low = max((each for at, each in journal if at <= at_ms - _SLACK_MS), default=begin)
        high = min((each for at, each in journal if at >= at_ms + _SLACK_MS), default=end)
        if not low - REGISTER_MWH <= value - shift <= high + REGISTER_MWH:
            was = f"the {name} register was {wh(value - shift)} Wh at {moment(at_ms)} by a meter value"
            return Finding("registers", f"{was}, not {wh(low)} to {wh(high)} Wh")
    return None


# -- prices, limits, signatures


def _wrong(case: _Case, evse: int | None) -> Iterator[Finding]:
    """Yield what is wrong beside the transaction, which was at an EVSE; what is missing comes last."""
    contracts = {each.data.emaid for each in case.entries if isinstance(each.data, records.ContractAuthorized)}
    if len(contracts) > 1:
        yield Finding("contract", f"{len(contracts)} contracts in one session")
    yield from wrong_prices(case.entries, case.evidence.deliveries, case.rules, case.settlement.end.utc_ms)
    yield from _wrong_limits(case, evse)
    yield from _wrong_signatures(case)
    yield from _wrong_authorization(case)


def wrong_prices(
    entries: Sequence[Entry], deliveries: Mapping[str, tuple[PriceDelivery, ...]], rules: Rules, end_ms: int
) -> Iterator[Finding]:
    """Yield which prices of a session that ended then (UTC ms) are not the operator's."""
    for number, entry in enumerate(entries, 1):
        match entry.data:
            case records.TariffSet(tariff=tariff):
                later = (each.utc_ms for each in entries[number:] if isinstance(each.data, records.TariffSet))
                span = entry.utc_ms, next(later, end_ms)
                yield from _undelivered(number, deliveries.get(tariff_digest(tariff)), rules.margin_ms, span)
            case records.WearPriced(price=price) if price != rules.wear:
                agreed = (rules.wear or 0) / 1_000_000
                yield Finding("wear", f"entry {number} pays {price / 1_000_000:f} a kWh for wear, not {agreed:f}")
    for number in other_terms(entries):  # which can be read: the session was settled
        yield Finding("terms", f"entry {number} offers other prices than those in force")


def _undelivered(
    number: int, deliveries: Sequence[PriceDelivery] | None, margin_ms: int, span: tuple[int, int]
) -> Iterator[Finding]:
    """Yield what is wrong with an entry whose tariff priced the session for `span` (UTC ms)."""
    if not deliveries:
        yield Finding("prices", f"entry {number} has prices that this back end has not sent to the station")
        return
    covered_ms, last_ms = span[0], None  # one that was sent again does not count for the time between
    for each in sorted(deliveries, key=lambda each: each.sent_ms):
        if each.sent_ms - margin_ms > covered_ms:
            break
        if each.ended_ms is None:
            return
        last_ms = max(last_ms or 0, each.ended_ms)
        covered_ms = max(covered_ms, each.ended_ms + margin_ms)
    if last_ms is None:
        early_ms = min(each.sent_ms for each in deliveries) - span[0]
        yield Finding("prices", f"entry {number} has prices that were sent {age(early_ms)} later")
    elif span[1] - last_ms > margin_ms:
        until = f"entry {number} has prices until {moment(span[1])}"
        yield Finding("superseded", f"{until}, the station has accepted others at {moment(last_ms)}")


def _wrong_limits(case: _Case, evse: int | None) -> Iterator[Finding]:
    sent_w, priced = case.evidence.most_export_w, False
    for number, entry in enumerate(case.entries, 1):
        match entry.data:
            case records.TariffSet():
                priced = True  # from here on the station has the back end's limits, too
            case records.LimitChanged(max_discharge_w=watts) | records.CommandAccepted(effective_w=watts) if priced:
                permitted_w = _permitted_w(case, evse, entry.utc_ms)
                if sent_w is not None and watts > sent_w:
                    yield Finding(
                        "limits", f"entry {number} allows {kw(watts)} out of the vehicle, {kw(sent_w)} were sent"
                    )
                elif permitted_w is not None and watts > permitted_w:
                    detail = f"entry {number} allows {kw(watts)} out of the vehicle, prequalified are {kw(permitted_w)}"
                    yield Finding("limits", detail)


def _permitted_w(case: _Case, evse: int | None, at_ms: int) -> int | None:
    """Return the most that an EVSE might export by records, up to the margin before and after; None: unknown EVSE."""
    margin_ms = case.rules.margin_ms
    begun = [each for each in case.evidence.prequalifications if each.valid_from_ms <= at_ms + margin_ms]
    if evse is None:
        return None
    moments = at_ms - margin_ms, at_ms, at_ms + margin_ms
    return max(permit(begun, evse, moment, required=False).most_w for moment in moments)


def _wrong_signatures(case: _Case) -> Iterator[Finding]:
    authorized, held = case.authorized, case.evidence.certificates
    signed = is_signed(case.entries)
    export_mwh = case.settlement.end.export_mwh - case.settlement.begin.export_mwh
    if export_mwh and not signed and not case.rules.unsigned_feed_in:
        yield Finding("feed_in", f"{wh(export_mwh)} Wh were fed back without any signed command")
    if held is None:
        if authorized is not None or signed:
            yield Finding("certificates", "the station has not delivered the session's certificates", missing=True)
        return
    if authorized is not None:
        emaid = normalise(CONTRACT, authorized.emaid)
        if sha256_hex(held.contract) != authorized.contract_certificate:
            yield Finding("contract", "the contract certificate is not the one that the journal names")
        elif held.emaid != emaid:
            yield Finding("contract", f"no certificate of contract {emaid} under a trusted root")
    if not signed:
        return
    if sha256_hex(held.charger) != case.started.charger_certificate:
        yield Finding("certificates", "the charger's certificate is not the one that the journal names")
    if held.charger_fault:
        yield Finding("certificates", f"the charger's certificate: {held.charger_fault}")
    try:
        vehicle = None if authorized is None else Party.of(held.contract)
        proof = prove_discharge(case.entries, charger=Party.of(held.charger), vehicle=vehicle)
    except (VerificationError, CertificateError) as error:
        yield Finding("signatures", str(error))
        return
    if export_mwh and not proof.covered and not case.rules.unsigned_feed_in:
        yield Finding("feed_in", f"of {wh(export_mwh)} Wh some were fed back without signed commands")
    known = case.evidence.charger
    if known is not None and (fault := known.fault(case.evidence.station_id)):
        yield Finding("charger", fault)


def _wrong_authorization(case: _Case) -> Iterator[Finding]:
    """Yield why it is not shown that the contract's vehicle was there for this very session."""

    def read(payload: bytes, key: PublicKey) -> SignedChallenge:
        from v2g.iso15118.signed_requests import read_authorization  # on demand: messages of ISO 15118

        return read_authorization(payload, key)

    held = case.evidence.certificates
    try:
        found = check_authorization(case.entries, None if held is None else held.contract, read)
    except VerificationError as error:
        yield Finding("signatures", str(error))
        return
    if found == "unsigned" and not case.rules.unsigned_contracts:
        yield Finding("unsigned", "no vehicle of its contract signed for this session")
