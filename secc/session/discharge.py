"""Signed discharge of one session: the gate, and what the books and the outside are told of it."""

from typing import Final

from secc.session.config import SeccConfig
from secc.session.identity import Contract, Trust
from secc.session.ports import Journal
from v2g.asn1.discharge import DischargeLimits
from v2g.energy.discharge import Accepted, Decided, DischargeGate, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.records import TermsOffered, record_of
from v2g.errors import RefusedError
from v2g.iso15118.engine.session import Command, Entropy
from v2g.observe import Observe, Scalar

Commands = list[Command | Observe]

MAX_REJECTIONS: Final = 64
"""After so many rejected messages nothing more is judged in a session: each costs a signature and a journal entry."""

DECISION_S: Final = 0.5
"""How long a vehicle may take to decide on an offer."""


class SignedDischarge:
    """Makes offers, takes decisions and commands. Exists once the vehicle has selected the service."""

    def __init__(
        self, config: SeccConfig, trust: Trust, entropy: Entropy, *, session_id: bytes, contract: Contract
    ) -> None:
        self._gate = DischargeGate(
            session_id=session_id,
            evse_id=config.evse_id,
            key=trust.key,
            certificate=trust.chain[0],
            signer_certificate=contract.chain[0],
            entropy=entropy,
            config=config.signed_discharge.terms,
        )
        self._offered_at = 0.0
        self._undecided = False
        self._rejections = 0
        self._tariff_version: int | None = None

    def signed_w(self, utc_ms: int) -> int:
        """Return the W that may leave the vehicle now, by a live command and within the limits."""
        return self._gate.allowed_w(utc_ms)

    def expires_ms(self, utc_ms: int) -> int | None:
        """Return when the live command ends, None without one."""
        until = self._gate.expires_ms()
        return until if until is not None and until > utc_ms else None

    def renewal_ms(self) -> int | None:
        """Return when a new offer is due because the standing one nears its end."""
        offer = self._gate.current_offer
        if offer is None:
            return None
        return offer.valid_until_ms - (offer.valid_until_ms - offer.issued_at_ms) // 10

    @property
    def standing(self) -> bool:
        """Whether an offer has been made."""
        return self._gate.current_offer is not None

    def set_limits(self, limits: DischargeLimits) -> None:
        """Obey new limits at once."""
        self._gate.set_limits(limits)

    def decision_due_s(self, now: float) -> float:
        """Return how long (s) the vehicle may still take to decide on the standing offer; 0 when nothing is awaited."""
        return max(0.0, DECISION_S - (now - self._offered_at)) if self._undecided else 0.0

    def outdated(self, limits: DischargeLimits, tariff: Tariff | None) -> bool:
        """Return whether the terms have changed since the offer; what the vehicle bears is its own affair."""
        offer = self._gate.current_offer
        if offer is None or self._tariff_version != (tariff.version if tariff else None):
            return True
        known = offer.limits
        return (known.evse_w, known.site_w, known.operator_w) != (limits.evse_w, limits.site_w, limits.operator_w)

    def offer(self, tariff: Tariff | None, now: float, utc_ms: int) -> tuple[bytes | None, Commands]:
        """Return the payload of a new offer, None when no price is known, and what goes into the books."""
        if tariff is None:
            return None, [Observe("offer", "not_possible", {"reason": "no_tariff"})]
        try:
            payload = self._gate.offer(tariff, utc_ms)
        except RefusedError as error:
            return None, [Observe("offer", "not_possible", {"reason": error.reason})]
        self._offered_at, self._undecided = now, True
        self._tariff_version = tariff.version
        offer = self._gate.current_offer
        assert offer is not None
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

    def receive(self, payload: bytes, now: float, utc_ms: int) -> tuple[bytes | None, Commands]:
        """Judge a message of the vehicle; return the answer, if it gets one, and what goes into the books first."""
        if self._rejections >= MAX_REJECTIONS:
            return None, []
        outcome = self._gate.on_message(payload, utc_ms)
        books: Commands = [Journal(record_of(outcome))]
        match outcome:
            case Decided():
                decision = outcome.decision
                self._undecided = False
                data: dict[str, Scalar] = {
                    "accepted": decision.accepted,
                    "reason": decision.reason.value,
                    "max_discharge_w": decision.max_discharge_w,
                    "minimum_soc": decision.minimum_soc,
                    "latency_ms": round((now - self._offered_at) * 1000, 3),
                }
                return None, [*books, Observe("offer", "decided", data)]
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
                        "valid_ms": outcome.until_ms - utc_ms,
                    },
                )
                return outcome.reply, [*books, accepted]
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
                        *books,
                        rejected,
                        Observe("offer", "gave_up", {"rejections": MAX_REJECTIONS}),
                    ]
                return outcome.reply, [*books, rejected]

    def stop(self) -> None:
        """End all discharge of this session."""
        self._gate.stop()
