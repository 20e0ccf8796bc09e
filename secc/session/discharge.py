"""Signed discharge of one session: the gate, the timing of offers, and the resulting journal entries and events."""

from typing import Final

from secc.session.config import SeccConfig
from secc.session.identity import Contract, SessionTrust
from secc.session.ports import Journal
from v2g.asn1.discharge import DischargeLimits
from v2g.energy.discharge_gate import Accepted, Decided, DischargeGate, JournalHead, Receipted, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.records import CheckpointIssued, TermsOffered, record_of
from v2g.errors import RefusedError
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.session import Command, Entropy
from v2g.observe import Observe, Scalar

Commands = list[Command | Observe]

MAX_REJECTIONS: Final = 64
"""After so many rejected messages no other is verified in a session: each costs a signature and a journal entry."""

DECISION_S: Final = 0.5
"""How long a vehicle may take to decide on an offer."""

SETTLING_S: Final = 1.0
"""How long an offer waits for the rest of a grid signal whose limits have arrived; limits are obeyed at once."""


class SignedDischarge:
    """Makes offers, handles decisions and commands. Exists once the vehicle has selected the service.

    Its timers: `offer` (due for renewal), `decision` and `terms` (an offer has waited long enough) require a call of
    `renew`; `discharge` (a command ends) one of `expire`.
    """

    def __init__(
        self,
        config: SeccConfig,
        trust: SessionTrust,
        entropy: Entropy,
        time: SessionTime,
        *,
        session_id: bytes,
        contract: Contract,
        checkpoints: bool,
        countersigned: int,
    ) -> None:
        """`checkpoints`: version 2 was selected; `countersigned` is the last one that the journal has."""
        self._time = time
        self._gate = DischargeGate(
            session_id=session_id,
            evse_id=config.evse_id,
            key=trust.key,
            certificate=trust.chain[0],
            signer_certificate=contract.chain[0],
            entropy=entropy,
            config=config.signed_discharge.terms,
            checkpoints=checkpoints,
            countersigned=countersigned,
        )
        self._checkpoints = checkpoints
        self._offered_at = 0.0
        self._undecided = False
        self._rejections = 0
        self._tariff_version: int | None = None

    def signed_w(self, utc_ms: int) -> int:
        """Return the power (W) that may leave the vehicle now, by a valid command and within the limits."""
        return self._gate.allowed_w(utc_ms)

    def set_limits(self, limits: DischargeLimits) -> None:
        """Apply new limits at once."""
        self._gate.set_limits(limits)

    def await_rest(self) -> bool:
        """Only limits have changed. Return whether their offer waits for other changes.

        A grid signal arrives in parts: charging profiles first, prices last. It is one change, and one offer.
        """
        if self._gate.current_offer is None:
            return False
        if "terms" not in self._time.timers:
            self._time.arm("terms", SETTLING_S)
        return True

    def renew(self, limits: DischargeLimits, tariff: Tariff | None, *, due: bool) -> tuple[bytes | None, Commands]:
        """Make a new offer if the terms have changed, or the offer is `due` for renewal.

        Return the payload, None if there is no new offer, and the journal entries. One offer at a time: terms
        that change again before the vehicle has decided go into the next one.
        """
        for timer in ("terms", "decision"):
            self._time.disarm(timer)
        if not due and not self._outdated(limits, tariff):
            return None, []
        if (wait := self._decision_due_s()) > 0:
            self._time.arm("decision", wait)
            return None, []
        return self._offer(tariff)

    @property
    def awaits_decision(self) -> bool:
        """Whether the next offer waits for a decision: once the vehicle has sent something, `renew` looks."""
        return "decision" in self._time.timers

    def _decision_due_s(self) -> float:
        """Return how long (s) the vehicle may still take to decide on the current offer; nothing above 0 if it has
        decided, or has had its time."""
        return DECISION_S - (self._time.now - self._offered_at) if self._undecided else 0.0

    def _outdated(self, limits: DischargeLimits, tariff: Tariff | None) -> bool:
        """Return whether the terms have changed since the offer; the vehicle's own limits do not count."""
        offer = self._gate.current_offer
        if offer is None or self._tariff_version != (tariff.version if tariff else None):
            return True
        known = offer.limits
        return (known.evse_w, known.site_w, known.operator_w) != (limits.evse_w, limits.site_w, limits.operator_w)

    def _offer(self, tariff: Tariff | None) -> tuple[bytes | None, Commands]:
        if tariff is None:
            return None, [Observe("offer", "not_possible", {"reason": "no_tariff"})]
        try:
            payload = self._gate.offer(tariff, self._time.utc_ms)
        except RefusedError as error:
            return None, [Observe("offer", "not_possible", {"reason": error.reason})]
        self._offered_at, self._undecided = self._time.now, True
        self._tariff_version = tariff.version
        offer = self._gate.current_offer
        assert offer is not None
        self._time.arm_utc("offer", offer.valid_until_ms - (offer.valid_until_ms - offer.issued_at_ms) // 10)
        limits = offer.limits
        event = Observe(
            "offer",
            "offered",
            {
                "offer_id": offer.offer_id.hex(),
                "max_discharge_w": limits.max_discharge_w,
                "ev_w": limits.ev_w,
                "evse_w": limits.evse_w,
                "site_w": limits.site_w,
                "operator_w": limits.operator_w,
                "source": limits.source,
                "currency": offer.currency,
                "import_price": offer.prices[0].import_price,
                "export_compensation": offer.prices[0].export_compensation,
                "slots": len(offer.prices),
            },
        )
        return payload, [Journal(TermsOffered(payload=payload)), event]

    @property
    def countersigned(self) -> int:
        """Number of the last checkpoint that the vehicle countersigned, 0 if none."""
        return self._gate.countersigned

    def checkpoint(self, journal: JournalHead, begin: tuple[int, int], *, final: bool) -> tuple[bytes | None, Commands]:
        """Return a checkpoint of the durable journal, to be sent once its own entry is durable; None in version 1.

        `begin` are the registers when the session began; `final`: power has stopped. Nothing waits for the receipt.
        """
        if not self._checkpoints:
            return None, []
        number, payload = self._gate.checkpoint(journal, begin, self._time.utc_ms, final=final)
        event = Observe("offer", "checkpoint_issued", {"number": number, "entries": journal.entries, "final": final})
        return payload, [Journal(CheckpointIssued(number=number, payload=payload)), event]

    def receive(self, payload: bytes) -> tuple[bytes | None, Commands]:
        """Verify a message of the vehicle; return the answer, if any, and the preceding journal entries."""
        judged = self._judge(payload)
        self._arm_expiry()
        return judged

    def expire(self) -> Commands:
        """A command has ended, or has been replaced."""
        return [] if self._arm_expiry() else [Observe("offer", "command_expired")]

    def _arm_expiry(self) -> bool:
        """Set the timer for the end of the valid command; return whether there is one."""
        until = self._gate.expires_ms()
        live = until is not None and until > self._time.utc_ms
        self._time.arm_utc("discharge", until if live else None)
        return live

    def _judge(self, payload: bytes) -> tuple[bytes | None, Commands]:
        if self._rejections >= MAX_REJECTIONS:
            return None, []
        outcome = self._gate.on_message(payload, self._time.utc_ms)
        entries: Commands = [Journal(record_of(outcome))]
        match outcome:
            case Decided():
                decision = outcome.decision
                self._undecided = False
                data: dict[str, Scalar] = {
                    "accepted": decision.accepted,
                    "reason": decision.reason.value,
                    "max_discharge_w": decision.max_discharge_w,
                    "minimum_soc": decision.minimum_soc,
                    "latency_ms": round((self._time.now - self._offered_at) * 1000, 3),
                }
                return None, [*entries, Observe("offer", "decided", data)]
            case Accepted():
                command = outcome.command
                accepted = Observe(
                    "offer",
                    "command_accepted",
                    {
                        "sequence": command.sequence,
                        "power_w": command.power_w,
                        "effective_w": outcome.effective_w,
                        "status": outcome.status.value,
                        "valid_ms": outcome.until_ms - self._time.utc_ms,
                    },
                )
                return outcome.reply, [*entries, accepted]
            case Receipted():
                receipt = outcome.receipt
                answered = Observe(
                    "offer", "checkpoint_answered", {"number": receipt.number, "status": receipt.status.value}
                )
                return None, [*entries, answered]
            case Rejected():
                rejected = Observe(
                    "offer",
                    "command_rejected",
                    {"reason": outcome.reason.value, "detail": outcome.detail, "sequence": outcome.sequence},
                )
                self._rejections += 1
                if self._rejections == MAX_REJECTIONS:
                    self._gate.stop()
                    return outcome.reply, [
                        *entries,
                        rejected,
                        Observe("offer", "gave_up", {"rejections": MAX_REJECTIONS}),
                    ]
                return outcome.reply, [*entries, rejected]

    def stop(self) -> None:
        """End all discharge of this session, and all offers."""
        for timer in ("offer", "decision", "terms", "discharge"):
            self._time.disarm(timer)
        self._gate.stop()
