"""Proves from a journal, with two certificates, that no energy was fed back without a live signed command.

Every signed message in the journal is opened and checked again by the rules of `v2g.energy.discharge_gate`, at the
entry's time; then the energy between any two readings is compared with what the live commands allowed. Checkpoints
are checked in `v2g.energy.settlement.checkpoints`.
"""

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from v2g.asn1.discharge import DischargeCommand, DischargeDecision, DischargeOffer, DischargeResult, ResultStatus
from v2g.energy.settlement import records
from v2g.energy.settlement.canonical import sha256_hex
from v2g.energy.settlement.checkpoints import Checker, Checkpoints, open_message
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.session_journal import readings_of
from v2g.energy.signed import Party, terms_hash
from v2g.errors import VerificationError

_PERMILLE_W_MS = 3_600_000
"""One mWh is 3600 W·ms; energies are compared in thousandths of W·ms, so that the tolerance stays an integer."""


_STRICTEST_FIRST: Final[tuple[records.Discharge, ...]] = ("none", "signed", "standard")


class DischargeProof(msgspec.Struct, frozen=True, kw_only=True):
    """The result: counts of signed messages, and the export covered by commands."""

    offers: int
    acceptances: int
    commands: int
    rejections: int
    export_mwh: int
    covered: bool
    checkpoints: Checkpoints


class AllowedPower(msgspec.Struct, frozen=True):
    """Discharge (W) that was allowed from one time to another (UTC ms)."""

    start_ms: int
    end_ms: int
    watts: int


def signed_messages(entries: Iterable[Entry]) -> Iterator[tuple[str, bytes]]:
    """Yield the signed messages that a journal relies on, each with its place.

    Rejected messages may contain anything and are left out; the results that reject them are not.
    """
    for number, entry in enumerate(entries, 1):
        where = f"journal.jsonl:{number}"
        match entry.data:
            case records.TermsOffered(payload=payload) | records.TermsDecided(payload=payload):
                yield where, payload
            case records.CheckpointIssued(payload=payload) | records.CheckpointAnswered(payload=payload):
                yield where, payload
            case records.CommandAccepted(payload=payload, result=result):
                yield where, payload
                yield where, result
            case records.CommandRejected(result=bytes() as result):
                yield where, result


class _Standing(msgspec.Struct, kw_only=True):
    offer: DischargeOffer
    hash: bytes
    decision: DischargeDecision | None = None


class _Checker:
    """Checks the journal in one pass."""

    def __init__(
        self, session_id: bytes, charger: Party, vehicle: Party | None, name: str, checkpoints: Checker
    ) -> None:
        self._checkpoints = checkpoints
        self._session_id = session_id
        self._charger = charger
        self._vehicle = vehicle
        self._name = name
        self._standing: _Standing | None = None
        self._sequence = 0
        self._nonces: set[bytes] = set()
        self._live: AllowedPower | None = None
        self._cap: int | None = None
        self.allowed: list[AllowedPower] = []
        self.counts = dict.fromkeys(("offers", "acceptances", "commands", "rejections"), 0)

    def take(self, number: int, entry: Entry) -> None:
        where = f"{self._name}:{number}"
        match entry.data:
            case records.TermsOffered(payload=payload):
                offer = self._open(payload, self._charger, where)
                if not isinstance(offer, DischargeOffer):
                    raise VerificationError("no offer", where=where)
                limits = offer.limits
                if limits.max_discharge_w > min(limits.ev_w, limits.evse_w, limits.site_w, limits.operator_w):
                    raise VerificationError("the offer is higher than the smallest of its limits", where=where)
                self._standing = _Standing(offer=offer, hash=terms_hash(payload))
                self.counts["offers"] += 1
            case records.TermsDecided():
                self._decided(entry.data, entry.utc_ms, where)
            case records.CommandAccepted():
                self._accepted(entry.data, entry.utc_ms, where)
            case records.CommandRejected():
                record = entry.data
                if record.payload and (record.size, record.sha256) != (len(record.payload), sha256_hex(record.payload)):
                    raise VerificationError("the entry belongs to another message", where=where)
                if record.result is not None:
                    try:
                        status = ResultStatus(record.reason)
                    except ValueError:
                        raise VerificationError(f"{record.reason} is not a valid reason", where=where) from None
                    self._check_result(record.result, record.sequence, (status, 0), where)
                self.counts["rejections"] += 1
            case records.CheckpointIssued():
                self._checkpoints.issued(entry.data, number - 1, where)
            case records.CheckpointAnswered():
                self._checkpoints.answered(entry.data, where)
            case records.ServiceChanged():
                self._checkpoints.select()
                self.end(entry.utc_ms)
                self._standing, self._sequence = None, 0
            case records.LimitChanged(max_discharge_w=watts):
                if watts > min(entry.data.ev_w, entry.data.evse_w, entry.data.site_w, entry.data.operator_w):
                    raise VerificationError("the limit is higher than the smallest of the four", where=where)
                self.end(entry.utc_ms, ongoing=True)
                self._cap = watts

    def end(self, utc_ms: int, *, ongoing: bool = False) -> None:
        """Record what the live command allowed until now; it may continue under another limit."""
        live, self._live = self._live, None
        if live is None:
            return
        end = min(live.end_ms, utc_ms)
        if end > live.start_ms:
            watts = live.watts if self._cap is None else min(live.watts, self._cap)
            self.allowed.append(AllowedPower(live.start_ms, end, watts))
        if ongoing:
            self._live = AllowedPower(utc_ms, live.end_ms, live.watts)

    def _open(self, payload: bytes, party: Party | None, where: str) -> object:
        content = open_message(payload, party, where)
        if content.session_id != self._session_id:
            raise VerificationError("the message belongs to another session", where=where)
        return content

    def _decided(self, record: records.TermsDecided, utc_ms: int, where: str) -> None:
        decision = self._open(record.payload, self._vehicle, where)
        standing = self._standing
        if not isinstance(decision, DischargeDecision):
            raise VerificationError("no decision", where=where)
        if standing is None or (decision.offer_id, decision.terms_hash) != (standing.offer.offer_id, standing.hash):
            raise VerificationError("the decision refers to other terms", where=where)
        if (decision.accepted, decision.reason.value) != (record.accepted, record.reason):
            raise VerificationError("the entry differs from the decision", where=where)
        if decision.accepted and standing.decision is not None:
            raise VerificationError("the offer was already decided", where=where)
        standing.decision = decision
        if decision.accepted:
            self._checkpoints.named(decision.checkpoint, where)
            self.counts["acceptances"] += 1
        else:
            self.end(utc_ms)

    def _accepted(self, record: records.CommandAccepted, utc_ms: int, where: str) -> None:
        command = self._open(record.payload, self._vehicle, where)
        if not isinstance(command, DischargeCommand):
            raise VerificationError("no command", where=where)
        standing = self._standing
        decision = standing.decision if standing is not None else None
        if standing is None or decision is None or not decision.accepted:
            raise VerificationError("the command should have been rejected: no offer was accepted", where=where)
        self._checkpoints.named(command.checkpoint, where)
        until = min(command.valid_until_ms, standing.offer.valid_until_ms)
        for wrong, why in (
            (
                (command.offer_id, command.terms_hash) != (standing.offer.offer_id, standing.hash),
                "it refers to other terms",
            ),
            (command.challenge != standing.offer.challenge, "it does not repeat the challenge"),
            (command.sequence <= self._sequence or command.nonce in self._nonces, "it was used before"),
            (utc_ms >= until, "it had expired"),
        ):
            if wrong:
                raise VerificationError(f"the command should have been rejected: {why}", where=where)
        ceiling = min(command.power_w, decision.max_discharge_w)
        if (record.sequence, record.until_ms) != (command.sequence, until) or record.effective_w > ceiling:
            raise VerificationError("the entry differs from the command", where=where)
        status = ResultStatus.ACCEPTED if record.effective_w == command.power_w else ResultStatus.CLAMPED
        self._check_result(record.result, record.sequence, (status, record.effective_w), where)
        self._sequence = command.sequence
        self._nonces.add(command.nonce)
        self.end(utc_ms)
        self._live = AllowedPower(utc_ms, until, ceiling)
        self.counts["commands"] += 1

    def _check_result(self, payload: bytes, sequence: int, expected: tuple[ResultStatus, int], where: str) -> None:
        result = self._open(payload, self._charger, where)
        if not isinstance(result, DischargeResult) or result.sequence != sequence:
            raise VerificationError("not the result of this command", where=where)
        if (result.status, result.effective_w) != expected:
            raise VerificationError("the vehicle received a command that differs from the journal", where=where)


def prove_discharge(
    entries: Sequence[Entry], *, charger: Party, vehicle: Party | None, name: str = "journal.jsonl"
) -> DischargeProof:
    """Return what the signed messages of a journal prove. `vehicle` is the contract certificate's holder.

    Raises VerificationError, with `where` as `name:line`, for any message that does not match its entry, and for energy
    fed back beyond what live commands allowed.
    """
    started = entries[0].data
    assert isinstance(started, records.SessionStarted), "checked by verify_lines"
    session_id = bytes.fromhex(started.session_id)
    checkpoints = Checker(entries, session_id, charger, vehicle)
    checker = _Checker(session_id, charger, vehicle, name, checkpoints)
    for number, entry in enumerate(entries, 1):
        checker.take(number, entry)
    checker.end(entries[-1].utc_ms)
    readings = readings_of(entries)
    export = readings[-1].export_mwh - readings[0].export_mwh
    _check_energy(entries, checker.allowed, started, name)
    modes = {started.discharge} | {
        each.data.discharge for each in entries if isinstance(each.data, records.ServiceChanged)
    }
    return DischargeProof(
        **checker.counts,
        export_mwh=export,
        covered="signed" in modes and "standard" not in modes,
        checkpoints=checkpoints.result(),
    )


def _pairs(
    entries: Sequence[Entry], mode: records.Discharge
) -> Iterator[tuple[int, Registers, Registers, records.Discharge]]:
    """Yield each pair of adjacent readings, with the strictest mode between them.

    Each starts with the number of the later entry. `mode` is that of the session's start.
    """
    before, modes = readings_of(entries)[0], {mode}
    for number, entry in enumerate(entries[1:], 2):
        if isinstance(entry.data, records.ServiceChanged):
            mode = entry.data.discharge
            modes = {mode} if entry.data.reason == "selected" else modes | {mode}
        for reading in readings_of([entry]):
            if reading.basis == "substitute":
                continue
            yield number, before, reading, min(modes, key=_STRICTEST_FIRST.index)
            before, modes = reading, {mode}


def _check_energy(
    entries: Sequence[Entry], allowed: list[AllowedPower], started: records.SessionStarted, name: str
) -> None:
    """Compare the export between any two readings with the integral of the power allowed between them.

    No energy may be fed back without an allowance; by the plain standard nothing is claimed. An allowance extends by
    `reaction_ms`, and the first reading may be as much older than its time: meters are polled. `tolerance_permille`,
    one mWh for each reading's rounding and, where something was allowed, the meter's resolution are added. As any two
    readings count, none of this adds up.
    """
    energy = PowerIntegral([AllowedPower(a.start_ms, a.end_ms + started.reaction_ms, a.watts) for a in allowed])
    at_once = PowerIntegral(allowed)
    permille, step_mwh = 1000 + started.tolerance_permille, _step_mwh(readings_of(entries))

    def between(first: Registers, last: Registers) -> int:
        unread = at_once.between(first.utc_ms - started.reaction_ms, first.utc_ms)
        return (unread + energy.between(first.utc_ms, last.utc_ms)) * permille

    since: Registers | None = None  # the reading that least was allowed after, beside what was fed back
    for number, before, after, mode in _pairs(entries, started.discharge):
        if mode == "none" and after.export_mwh > before.export_mwh:
            fed_back = after.export_mwh - before.export_mwh
            raise VerificationError(f"{fed_back} mWh were fed back where nothing was allowed", where=f"{name}:{number}")
        if mode != "signed":
            since = None
            continue
        earlier = (before.export_mwh - since.export_mwh) * _PERMILLE_W_MS if since is not None else 0
        if since is None or earlier < between(since, before) - between(before, before):
            since = before
        for first in (since, before):
            fed_back, limit = after.export_mwh - first.export_mwh, between(first, after)
            if (fed_back - (step_mwh + 1 if limit else 2)) * _PERMILLE_W_MS > limit:
                raise VerificationError(
                    f"{fed_back} mWh were fed back where signed commands allowed {limit // _PERMILLE_W_MS} mWh",
                    where=f"{name}:{number}",
                )


def _step_mwh(readings: Iterable[Registers]) -> int:
    """Return the resolution of a meter (mWh), a power of ten: that of all of its registers, at most 0.1 kWh."""
    together = math.gcd(*(register for each in readings for register in (each.import_mwh, each.export_mwh)))
    return next(10**digits for digits in (5, 4, 3, 2, 1, 0) if together % 10**digits == 0)


class PowerIntegral:
    """W·ms of overlapping allowances, of which the largest counts at any moment."""

    def __init__(self, allowed: list[AllowedPower]) -> None:
        self._times: list[int] = []
        self._watts: list[int] = []
        self._sums: list[int] = []
        edges = sorted({edge for a in allowed for edge in (a.start_ms, a.end_ms)})
        waiting = sorted(allowed, key=lambda a: a.start_ms)
        heap: list[tuple[int, int]] = []  # (-W, end)
        position = total = 0
        for index, edge in enumerate(edges):
            while position < len(waiting) and waiting[position].start_ms <= edge:
                heapq.heappush(heap, (-waiting[position].watts, waiting[position].end_ms))
                position += 1
            while heap and heap[0][1] <= edge:
                heapq.heappop(heap)
            if index:
                total += self._watts[-1] * (edge - edges[index - 1])
            self._times.append(edge)
            self._watts.append(-heap[0][0] if heap else 0)
            self._sums.append(total)

    def between(self, start_ms: int, end_ms: int) -> int:
        """Return the W·ms from one time to another."""
        return self._until(end_ms) - self._until(start_ms)

    def _until(self, utc_ms: int) -> int:
        index = bisect_right(self._times, utc_ms) - 1
        return 0 if index < 0 else self._sums[index] + self._watts[index] * (utc_ms - self._times[index])
