"""The vehicle's side of signed discharge: decides on offers, signs commands, renews them before they end.

`VehicleDischarge` does no I/O: payloads of V2GTP frames go in and out, time and entropy are arguments.
"""

import itertools
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.asn1.discharge import (
    CheckpointReceipt,
    DecisionReason,
    DischargeCheckpoint,
    DischargeCommand,
    DischargeDecision,
    DischargeOffer,
    DischargeResult,
    ReceiptStatus,
    ResultStatus,
)
from v2g.energy.signed import Party, open_signed, sign_content, terms_hash
from v2g.errors import RefusedError
from v2g.pki.keys import SigningKey


class VehicleDischargeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The vehicle's timing of commands, in ms of the clock that stamps the messages.

    A command is renewed when `renew_before_ms` of its `command_validity_ms` are left. A checkpoint is countersigned if
    its energy, in either direction, differs from the vehicle's own by at most `energy_tolerance_mwh` and
    `energy_tolerance_percent` of the larger one.
    """

    command_validity_ms: Annotated[int, Meta(ge=1)] = 10_000
    renew_before_ms: Annotated[int, Meta(ge=0)] = 4_000
    max_skew_ms: Annotated[int, Meta(ge=0)] = 2_000
    energy_tolerance_mwh: Annotated[int, Meta(ge=0)] = 250_000
    energy_tolerance_percent: Annotated[int, Meta(ge=0, le=100)] = 15


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's policy on an offer; `minimum_soc` in %, `max_discharge_w` is its limit."""

    accepted: bool
    reason: DecisionReason
    minimum_soc: int = 0
    max_discharge_w: int = 0


Policy = Callable[[DischargeOffer, int], Verdict]
"""(offer, utc_ms) -> Verdict; called only for authentic and complete offers."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An offer was decided; `reply` goes back to the charger."""

    offer: DischargeOffer
    decision: DischargeDecision
    payload: bytes
    reply: bytes


class ResultReceived(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's result of a command; `command` is None if it is none of this vehicle's (sequence 0 or unknown)."""

    result: DischargeResult
    command: DischargeCommand | None
    payload: bytes


class Checkpointed(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint was checked; `reply` goes back to the charger once both are stored."""

    checkpoint: DischargeCheckpoint
    status: ReceiptStatus
    payload: bytes
    reply: bytes


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    offer: DischargeOffer
    hash: bytes
    decision: DischargeDecision


class VehicleDischarge:
    """Signed discharge of one session, on the vehicle's side.

    `key`/`certificate` are the contract leaf (DER), `charger_certificate` the charger's TLS leaf (DER); `policy`
    decides on offers; `entropy(n)` returns n random bytes. With `energy` (version 2), which returns the energy (mWh)
    into and out of the battery since this part of the session began, checkpoints are countersigned; `last` is the one
    that was countersigned before a pause.
    """

    def __init__(
        self,
        *,
        session_id: bytes,
        key: SigningKey,
        certificate: bytes,
        charger_certificate: bytes,
        policy: Policy,
        entropy: Callable[[int], bytes],
        config: VehicleDischargeConfig | None = None,
        energy: Callable[[], tuple[int, int]] | None = None,
        last: DischargeCheckpoint | None = None,
    ) -> None:
        self._energy = energy
        self._checked = self._countersigned = last
        self._reference = None if last is None or not last.final else (last.now.import_mwh, last.now.export_mwh)
        self._session_id = session_id
        self._key = key
        self._own = Party.of(certificate)
        self._charger = Party.of(charger_certificate)
        self._policy = policy
        self._entropy = entropy
        self._config = config or VehicleDischargeConfig()
        self._terms: _Terms | None = None
        self._last: DischargeCommand | None = None
        self._result: DischargeResult | None = None
        self._sequence = 0

    @property
    def accepted(self) -> bool:
        """Whether this vehicle has accepted the current offer."""
        return self._terms is not None and self._terms.decision.accepted

    @property
    def offer(self) -> DischargeOffer | None:
        """The newest offer, accepted or not."""
        return self._terms.offer if self._terms else None

    @property
    def last_command(self) -> DischargeCommand | None:
        """The newest signed command."""
        return self._last

    @property
    def countersigned(self) -> DischargeCheckpoint | None:
        """The last checkpoint that was countersigned, with its receipt stored."""
        return self._countersigned

    def stored(self, outcome: Checkpointed) -> None:
        """Checkpoint and receipt are stored: if countersigned, later decisions and commands name it."""
        if outcome.status is ReceiptStatus.COUNTERSIGNED:
            self._countersigned = outcome.checkpoint

    def effective_w(self, utc_ms: int) -> int:
        """Return the power, W, that the charger accepted for the newest command, 0 if it ended or was not accepted."""
        command, result = self._last, self._result
        if command is None or result is None or result.sequence != command.sequence:
            return 0
        live = utc_ms < command.valid_until_ms
        return result.effective_w if live and result.status in (ResultStatus.ACCEPTED, ResultStatus.CLAMPED) else 0

    def on_message(
        self, payload: bytes, utc_ms: int, *, ended: bool | None = None
    ) -> Answered | ResultReceived | Checkpointed:
        """Handle an offer, a result or a checkpoint from the charger.

        `ended` is for the receipt of a final checkpoint in version 3: whether the vehicle ends the session.

        Raises RefusedError (`malformed`, `unknown_signer`, `bad_signature`, `wrong_session`) for a message that is not
        the charger's, without any change of state.
        """
        content = open_signed(payload, self._charger)
        if content.session_id != self._session_id:
            raise RefusedError(f"session {content.session_id.hex()}", reason=ResultStatus.WRONG_SESSION.value)
        match content:
            case DischargeOffer():
                return self._on_offer(content, payload, utc_ms)
            case DischargeResult():
                command = self._last if self._last is not None and self._last.sequence == content.sequence else None
                if command is not None:
                    self._result = content
                return ResultReceived(result=content, command=command, payload=payload)
            case DischargeCheckpoint() if self._energy is not None:
                status = self._judge(content, self._energy())
                receipt = CheckpointReceipt(
                    session_id=self._session_id,
                    number=content.number,
                    checkpoint_hash=terms_hash(payload),
                    signed_at_ms=utc_ms,
                    status=status,
                    ended=ended if content.final else None,
                )
                if status is ReceiptStatus.COUNTERSIGNED:
                    self._checked = content
                reply = sign_content(receipt, self._key, self._own.fingerprint)
                return Checkpointed(checkpoint=content, status=status, payload=payload, reply=reply)
        raise RefusedError(f"{type(content).__name__} is not a charger's message", reason=ResultStatus.MALFORMED.value)

    def withdraw(self, reason: DecisionReason, utc_ms: int) -> bytes | None:
        """Return the payload that withdraws an acceptance, None if nothing is accepted. No command follows it."""
        if self._terms is None or not self._terms.decision.accepted:
            return None
        verdict = Verdict(accepted=False, reason=reason, minimum_soc=self._terms.decision.minimum_soc)
        return self._decide(self._terms.offer, self._terms.hash, verdict, utc_ms)[1]

    def command_due(self, power_w: int, utc_ms: int) -> bool:
        """Return whether `power_w` W needs a new command: none is live, the power changed, or the end is near."""
        if not self.accepted or self._terms is None:
            return False
        last = self._last
        if last is None:
            return power_w > 0
        if last.offer_id != self._terms.offer.offer_id:
            # requesting nothing needs a command too, while an earlier one may be live: the charger may have rejected
            # the 0 W
            return power_w > 0 or utc_ms < last.valid_until_ms
        if power_w == 0 and last.power_w == 0:
            return False
        limit = min(self._terms.offer.limits.max_discharge_w, self._terms.decision.max_discharge_w)
        if min(power_w, limit) != last.power_w:
            return True
        ends = last.valid_until_ms
        if ends == self._terms.offer.valid_until_ms:
            return False  # it cannot be renewed beyond the offer
        return utc_ms >= ends - self._config.renew_before_ms

    def command(self, power_w: int, utc_ms: int) -> bytes:
        """Return the payload that requests `power_w` W (reduced to what was agreed) from now on.

        Raises RefusedError: `not_accepted` without accepted terms, `offer_expired` after their end.
        """
        terms = self._terms
        if terms is None or not terms.decision.accepted:
            raise RefusedError("no offer is accepted", reason=ResultStatus.NOT_ACCEPTED.value)
        if utc_ms >= terms.offer.valid_until_ms:
            raise RefusedError("the offer has ended", reason=ResultStatus.OFFER_EXPIRED.value)
        self._sequence += 1
        command = DischargeCommand(
            session_id=self._session_id,
            offer_id=terms.offer.offer_id,
            terms_hash=terms.hash,
            challenge=terms.offer.challenge,
            sequence=self._sequence,
            nonce=self._entropy(16),
            power_w=max(0, min(power_w, terms.offer.limits.max_discharge_w, terms.decision.max_discharge_w)),
            issued_at_ms=utc_ms,
            valid_until_ms=min(utc_ms + self._config.command_validity_ms, terms.offer.valid_until_ms),
            checkpoint=self._named,
        )
        self._last = command
        return sign_content(command, self._key, self._own.fingerprint)

    def _on_offer(self, offer: DischargeOffer, payload: bytes, utc_ms: int) -> Answered:
        wrong = self._wrong_with(offer, utc_ms)
        verdict = Verdict(accepted=False, reason=DecisionReason.TERMS_INVALID) if wrong else self._policy(offer, utc_ms)
        decision, reply = self._decide(offer, terms_hash(payload), verdict, utc_ms)
        return Answered(offer=offer, decision=decision, payload=payload, reply=reply)

    def _wrong_with(self, offer: DischargeOffer, utc_ms: int) -> str:
        limits, prices = offer.limits, offer.prices
        if limits.max_discharge_w > min(limits.ev_w, limits.evse_w, limits.site_w, limits.operator_w):
            return "more power is offered than the limits allow"
        if not utc_ms - self._config.max_skew_ms < offer.valid_until_ms:
            return "it has ended"
        if offer.issued_at_ms > utc_ms + self._config.max_skew_ms:
            return "it is from the future"
        if any(after.start_ms != before.end_ms for before, after in itertools.pairwise(prices)):
            return "its prices overlap or leave a gap"
        if prices[0].start_ms > offer.issued_at_ms or prices[-1].end_ms < offer.valid_until_ms:
            return "its prices do not cover its time"
        return ""

    def _decide(
        self, offer: DischargeOffer, hash_: bytes, verdict: Verdict, utc_ms: int
    ) -> tuple[DischargeDecision, bytes]:
        decision = DischargeDecision(
            offer_id=offer.offer_id,
            session_id=self._session_id,
            terms_hash=hash_,
            accepted=verdict.accepted,
            reason=verdict.reason,
            decided_at_ms=utc_ms,
            minimum_soc=verdict.minimum_soc,
            max_discharge_w=verdict.max_discharge_w if verdict.accepted else 0,
            checkpoint=self._named,
        )
        reply = sign_content(decision, self._key, self._own.fingerprint)
        self._terms = _Terms(offer=offer, hash=hash_, decision=decision)
        return decision, reply

    @property
    def _named(self) -> int | None:
        """The checkpoint that a decision or command names."""
        if self._energy is None:
            return None
        return 0 if self._countersigned is None else self._countersigned.number

    def _judge(self, checkpoint: DischargeCheckpoint, own_mwh: tuple[int, int]) -> ReceiptStatus:
        """Compare a checkpoint with the last one, and with the vehicle's own energy in this part of the session."""
        last, begin, now = self._checked, checkpoint.begin, checkpoint.now
        if last is not None and (checkpoint.number <= last.number or checkpoint.entries <= last.entries):
            return ReceiptStatus.OUT_OF_ORDER
        floor = begin if last is None else last.now
        moved = last is not None and begin != last.begin
        if moved or now.import_mwh < floor.import_mwh or now.export_mwh < floor.export_mwh:
            return ReceiptStatus.REGISTER_DECREASED
        if self._reference is None and last is None:
            self._reference = begin.import_mwh, begin.export_mwh
        elif self._reference is None:  # resumed after a checkpoint that was not final: what followed it is unknown
            self._reference = now.import_mwh - own_mwh[0], now.export_mwh - own_mwh[1]
        theirs = now.import_mwh - self._reference[0], now.export_mwh - self._reference[1]
        if any(self._differs(*pair) for pair in zip(theirs, own_mwh, strict=True)):
            return ReceiptStatus.ENERGY_DIFFERS
        return ReceiptStatus.COUNTERSIGNED

    def _differs(self, theirs: int, own: int) -> bool:
        relative = max(theirs, own) * self._config.energy_tolerance_percent // 100
        return abs(theirs - own) > self._config.energy_tolerance_mwh + relative
