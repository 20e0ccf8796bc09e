"""The charger's side of signed discharge: no power leaves the vehicle without a live command signed by it.

`DischargeGate` makes offers, checks decisions and commands, and gives the allowed power (W) at any time. It does no
I/O: payloads of V2GTP frames go in and out, time and entropy are arguments. The vehicle's side: `vehicle.py`.

The rules of both: an offer is binding until it ends or is replaced; decision and commands refer to it by the hash of
its signed bytes; a command is short-lived, its sequence number increases within a session and its nonce is new; no
power without a live command; limits apply at once, whatever was signed. In version 2 the vehicle countersigns
checkpoints of the charger's journal.
"""

from collections import deque
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g.asn1.discharge import (
    MAX_PRICES,
    CheckpointReceipt,
    DischargeCheckpoint,
    DischargeCommand,
    DischargeDecision,
    DischargeLimits,
    DischargeOffer,
    DischargeResult,
    MeterRegisters,
    ReceiptStatus,
    ResultStatus,
)
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.energy.signed import Party, open_signed, sign_content, terms_hash
from v2g.errors import RefusedError
from v2g.pki.keys import SigningKey

UNANSWERED: Final = 16
"""Checkpoints whose receipts are accepted; that of an older one counts as late."""

REMEMBERED_NONCES: Final = 256
"""Nonces stored for the replay check; the increasing sequence number excludes everything older."""


class DischargeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The charger's limits. Times are those of the clock that stamps the messages."""

    offer_validity_ms: Annotated[int, Meta(ge=1000, le=604_800_000)] = 3_600_000
    """Validity of an offer; it ends earlier if the known tariff does."""
    max_command_validity_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 60_000
    """Maximum validity of a command; a longer one is rejected."""
    max_skew_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 2_000
    """How far the vehicle's clock may be ahead; a command from further in the future is rejected."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle has decided on the current offer."""

    decision: DischargeDecision
    payload: bytes
    latency_ms: int


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A command is accepted: `effective_w` may flow until `until_ms`. `reply` goes back to the vehicle."""

    command: DischargeCommand
    status: ResultStatus
    effective_w: int
    until_ms: int
    payload: bytes
    reply: bytes


class Receipted(msgspec.Struct, frozen=True, kw_only=True):
    """The vehicle has answered a checkpoint."""

    receipt: CheckpointReceipt
    payload: bytes


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A message had no effect. `reply` is the signed result of a command, None for a decision or a receipt."""

    reason: ResultStatus
    detail: str
    sequence: int
    payload: bytes
    reply: bytes | None


class JournalHead(msgspec.Struct, frozen=True, kw_only=True):
    """A durable journal after a meter reading: how many entries it has, the hash of the last one, both registers (mWh),
    and the numbers of its last checkpoint and of the last countersigned one.
    """

    entries: int
    head: str
    import_mwh: int
    export_mwh: int
    checkpoint: int = 0
    countersigned: int = 0


class _Standing(msgspec.Struct, kw_only=True):
    """An offer and its state."""

    offer: DischargeOffer
    hash: bytes
    decision: DischargeDecision | None = None


class _Live(msgspec.Struct, frozen=True, kw_only=True):
    power_w: int
    from_ms: int
    until_ms: int


class DischargeGate:
    """Signed discharge of one session, on the charger's side.

    `key`/`certificate` are the charger's TLS leaf (DER), `signer_certificate` the vehicle's contract leaf (DER) whose
    chain the caller has validated; `entropy(n)` returns n random bytes. Nothing is allowed before `set_limits` and
    `offer`. With `checkpoints` (version 2) the vehicle countersigns the journal, and each of its decisions and commands
    names the last checkpoint that it countersigned; `countersigned` is that of an earlier part of the session.
    """

    def __init__(
        self,
        *,
        session_id: bytes,
        evse_id: str,
        key: SigningKey,
        certificate: bytes,
        signer_certificate: bytes,
        entropy: Callable[[int], bytes],
        config: DischargeConfig | None = None,
        checkpoints: bool = False,
        countersigned: int = 0,
    ) -> None:
        self._checkpoints = checkpoints
        self._unanswered: dict[int, bytes] = {}
        self._issued = self._answered = self._countersigned = countersigned
        self._session_id = session_id
        self._evse_id = evse_id
        self._key = key
        self._own = Party.of(certificate)
        self._vehicle = Party.of(signer_certificate)
        self._entropy = entropy
        self._config = config or DischargeConfig()
        self._limits = discharge_limits(ev_w=0, evse_w=0, site_w=0, operator_w=0)
        self._standing: _Standing | None = None
        self._live: _Live | None = None
        self._sequence = 0
        self._nonces: deque[bytes] = deque(maxlen=REMEMBERED_NONCES)
        self._stopped = False

    @property
    def current_offer(self) -> DischargeOffer | None:
        """The offer that commands must refer to."""
        return self._standing.offer if self._standing else None

    @property
    def accepted(self) -> bool:
        """Whether the vehicle accepted the current offer and did not withdraw."""
        standing = self._standing
        return standing is not None and _is_current(standing)

    @property
    def countersigned(self) -> int:
        """Number of the last checkpoint that the vehicle countersigned, 0 if none."""
        return self._countersigned

    @property
    def limits(self) -> DischargeLimits:
        """The limits in force."""
        return self._limits

    def set_limits(self, limits: DischargeLimits) -> None:
        """Apply new limits; a live command is reduced to them at once. The smallest of the four applies."""
        self._limits = limits

    def allowed_w(self, utc_ms: int) -> int:
        """Return the allowed discharging power, W: 0 unless a live command covers this time."""
        live = self._live
        if live is None or not live.from_ms <= utc_ms < live.until_ms:
            return 0
        return min(live.power_w, _smallest(self._limits))

    def expires_ms(self) -> int | None:
        """Return when the live command ends, to arm a timer."""
        return self._live.until_ms if self._live else None

    def stop(self) -> None:
        """End all discharge of this session; every later command is rejected as `stopped`."""
        self._stopped = True
        self._live = None

    def offer(self, tariff: Tariff, utc_ms: int) -> bytes:
        """Return the payload of a new offer within the current limits; it replaces the current one.

        A live command continues until it expires, the vehicle declines the new offer, or a command under the new offer
        replaces it; a command under the old one can still reduce it. Raises RefusedError: `no_price` if the tariff has
        no price now, `stopped`.
        """
        if self._stopped:
            raise RefusedError("discharge of this session has ended", reason="stopped")
        slots = tariff.window(utc_ms, utc_ms + self._config.offer_validity_ms, at_most=MAX_PRICES)
        if not slots:
            raise RefusedError(f"the tariff has no price at {utc_ms}", reason="no_price")
        offer = DischargeOffer(
            offer_id=self._entropy(16),
            session_id=self._session_id,
            evse_id=self._evse_id,
            issued_at_ms=utc_ms,
            valid_until_ms=min(utc_ms + self._config.offer_validity_ms, slots[-1].end_ms),
            currency=tariff.currency,
            prices=slots,
            limits=self._limits,
            challenge=self._entropy(16),
        )
        payload = sign_content(offer, self._key, self._own.fingerprint)
        self._standing = _Standing(offer=offer, hash=terms_hash(payload))
        return payload

    def checkpoint(
        self, journal: JournalHead, begin: tuple[int, int], utc_ms: int, *, final: bool
    ) -> tuple[int, bytes]:
        """Return the number and the payload of a new checkpoint of the journal; the vehicle may answer it at any time.

        `begin` are the registers of import and export when the session began; `final`: power has stopped.
        """
        self._issued = max(self._issued, journal.checkpoint) + 1
        checkpoint = DischargeCheckpoint(
            session_id=self._session_id,
            number=self._issued,
            issued_at_ms=utc_ms,
            entries=journal.entries,
            head=bytes.fromhex(journal.head),
            begin=MeterRegisters(import_mwh=begin[0], export_mwh=begin[1]),
            now=MeterRegisters(import_mwh=journal.import_mwh, export_mwh=journal.export_mwh),
            final=final,
        )
        payload = sign_content(checkpoint, self._key, self._own.fingerprint)
        self._unanswered[self._issued] = terms_hash(payload)
        if len(self._unanswered) > UNANSWERED:
            del self._unanswered[min(self._unanswered)]
        return self._issued, payload

    def on_message(self, payload: bytes, utc_ms: int) -> Decided | Accepted | Receipted | Rejected:
        """Check one payload from the vehicle: a decision, a command or a receipt; others are rejected by name."""
        try:
            content = open_signed(payload, self._vehicle)
        except RefusedError as error:
            return self._reject(ResultStatus(error.reason), str(error), 0, payload, utc_ms)
        match content:
            case DischargeDecision():
                return self._on_decision(content, payload, utc_ms)
            case DischargeCommand():
                return self._on_command(content, payload, utc_ms)
            case CheckpointReceipt():
                reason, detail = self._check_receipt(content)
                if reason is not None:
                    return Rejected(reason=reason, detail=detail, sequence=0, payload=payload, reply=None)
                self._answered = content.number
                if content.status is ReceiptStatus.COUNTERSIGNED:
                    self._countersigned = content.number
                return Receipted(receipt=content, payload=payload)
        name = type(content).__name__
        return self._reject(ResultStatus.MALFORMED, f"{name} is not a vehicle's message", 0, payload, utc_ms)

    def _check_receipt(self, receipt: CheckpointReceipt) -> tuple[ResultStatus | None, str]:
        if receipt.session_id != self._session_id:
            return ResultStatus.WRONG_SESSION, f"session {receipt.session_id.hex()}"
        if receipt.number <= self._answered:
            return ResultStatus.REPLAYED, f"checkpoint {receipt.number} was answered before"
        if receipt.number not in self._unanswered:
            return ResultStatus.UNKNOWN_CHECKPOINT, f"checkpoint {receipt.number} awaits no receipt"
        if receipt.checkpoint_hash != self._unanswered[receipt.number]:
            return ResultStatus.TERMS_MISMATCH, "the receipt refers to another checkpoint"
        return None, ""

    def _check_named(self, number: int | None) -> tuple[ResultStatus | None, str]:
        """Return why a decision or command may not name this checkpoint, None if it may."""
        if (number is not None) != self._checkpoints:
            return ResultStatus.UNKNOWN_CHECKPOINT, "a message of another version"
        if number is not None and number > self._countersigned:
            return ResultStatus.UNKNOWN_CHECKPOINT, f"checkpoint {number} was not countersigned here"
        return None, ""

    def _on_decision(self, decision: DischargeDecision, payload: bytes, utc_ms: int) -> Decided | Rejected:
        reason, detail = self._check_decision(decision)
        if reason is not None or self._standing is None:
            return Rejected(
                reason=reason or ResultStatus.UNKNOWN_OFFER, detail=detail, sequence=0, payload=payload, reply=None
            )
        standing = self._standing
        standing.decision = decision
        if not decision.accepted:
            self._live = None
        return Decided(decision=decision, payload=payload, latency_ms=utc_ms - standing.offer.issued_at_ms)

    def _check_decision(self, decision: DischargeDecision) -> tuple[ResultStatus | None, str]:
        standing = self._standing
        if decision.session_id != self._session_id:
            return ResultStatus.WRONG_SESSION, f"session {decision.session_id.hex()}"
        if standing is None or decision.offer_id != standing.offer.offer_id:
            return ResultStatus.UNKNOWN_OFFER, f"offer {decision.offer_id.hex()}"
        if decision.terms_hash != standing.hash:
            return ResultStatus.TERMS_MISMATCH, "the decision refers to other terms"
        if standing.decision is not None and (decision.accepted or not standing.decision.accepted):
            return ResultStatus.REPLAYED, "the offer is already decided; an acceptance can only be withdrawn once"
        return self._check_named(decision.checkpoint) if decision.accepted else (None, "")

    def _on_command(self, command: DischargeCommand, payload: bytes, utc_ms: int) -> Accepted | Rejected:
        reason, detail = self._check_order(command)
        if reason is None:
            self._lower(command)
            reason, detail = self._check_terms(command, utc_ms)
        if command.session_id == self._session_id:  # it cannot be used again, even if it is otherwise wrong
            self._sequence = max(self._sequence, command.sequence)
            self._nonces.append(command.nonce)
        if reason is not None:
            return self._reject(reason, detail, command.sequence, payload, utc_ms)
        assert self._standing is not None
        assert self._standing.decision is not None
        ceiling = self._standing.decision.max_discharge_w
        self._live = _Live(
            power_w=min(command.power_w, ceiling),
            from_ms=min(command.issued_at_ms, utc_ms),
            until_ms=min(command.valid_until_ms, self._standing.offer.valid_until_ms),
        )
        effective = self.allowed_w(utc_ms)
        status = ResultStatus.ACCEPTED if effective == command.power_w else ResultStatus.CLAMPED
        return Accepted(
            command=command,
            status=status,
            effective_w=effective,
            until_ms=self._live.until_ms,
            payload=payload,
            reply=self._result(command.sequence, status, effective, utc_ms),
        )

    def _lower(self, command: DischargeCommand) -> None:
        """Reduce the live command to the power and end of the vehicle's newest command, whatever its terms are.

        A command that crosses a new offer on the wire is rejected, and the previous one remains live; but a vehicle
        that requests less, or nothing, gets no more than that.
        """
        if (live := self._live) is not None:
            self._live = replace(
                live, power_w=min(live.power_w, command.power_w), until_ms=min(live.until_ms, command.valid_until_ms)
            )

    def _check_order(self, command: DischargeCommand) -> tuple[ResultStatus | None, str]:
        """Return why a command with a valid signature is not the newest of the session, None if it is."""
        if command.session_id != self._session_id:
            return ResultStatus.WRONG_SESSION, f"session {command.session_id.hex()}"
        if self._stopped:
            return ResultStatus.STOPPED, "discharge of this session has ended"
        if command.nonce in self._nonces or command.sequence == self._sequence:
            return ResultStatus.REPLAYED, f"sequence {command.sequence} was used"
        if command.sequence < self._sequence:
            return ResultStatus.OUT_OF_ORDER, f"sequence {command.sequence} after {self._sequence}"
        return None, ""

    def _check_terms(self, command: DischargeCommand, utc_ms: int) -> tuple[ResultStatus | None, str]:
        """Return the first error in the newest command, None if it is to be followed."""
        standing = self._standing
        if standing is None or command.offer_id != standing.offer.offer_id:
            return ResultStatus.UNKNOWN_OFFER, f"offer {command.offer_id.hex()}"
        if command.terms_hash != standing.hash:
            return ResultStatus.TERMS_MISMATCH, "the command refers to other terms"
        if command.challenge != standing.offer.challenge:
            return ResultStatus.WRONG_CHALLENGE, "the command does not repeat the offer's challenge"
        if not _is_current(standing):
            return ResultStatus.NOT_ACCEPTED, "the offer is not accepted"
        reason, detail = self._check_named(command.checkpoint)
        return (reason, detail) if reason is not None else self._check_times(command, standing.offer, utc_ms)

    def _check_times(
        self, command: DischargeCommand, offer: DischargeOffer, utc_ms: int
    ) -> tuple[ResultStatus | None, str]:
        if utc_ms >= offer.valid_until_ms:
            return ResultStatus.OFFER_EXPIRED, f"the offer ended {utc_ms - offer.valid_until_ms} ms ago"
        if command.valid_until_ms <= utc_ms or command.valid_until_ms <= command.issued_at_ms:
            return ResultStatus.EXPIRED, f"it ended {utc_ms - command.valid_until_ms} ms ago"
        if command.issued_at_ms > utc_ms + self._config.max_skew_ms:
            return ResultStatus.NOT_YET_VALID, f"it starts in {command.issued_at_ms - utc_ms} ms"
        if command.valid_until_ms - command.issued_at_ms > self._config.max_command_validity_ms:
            return ResultStatus.VALIDITY_TOO_LONG, f"more than {self._config.max_command_validity_ms} ms"
        return None, ""

    def _reject(self, reason: ResultStatus, detail: str, sequence: int, payload: bytes, utc_ms: int) -> Rejected:
        reply = self._result(sequence, reason, 0, utc_ms)
        return Rejected(reason=reason, detail=detail, sequence=sequence, payload=payload, reply=reply)

    def _result(self, sequence: int, status: ResultStatus, effective_w: int, utc_ms: int) -> bytes:
        result = DischargeResult(
            session_id=self._session_id, sequence=sequence, status=status, effective_w=effective_w, decided_at_ms=utc_ms
        )
        return sign_content(result, self._key, self._own.fingerprint)


def _is_current(standing: _Standing) -> bool:
    return standing.decision is not None and standing.decision.accepted


def _smallest(limits: DischargeLimits) -> int:
    """Return the actual minimum, not the field that states it."""
    return max(0, min(limits.ev_w, limits.evse_w, limits.site_w, limits.operator_w))
