"""Signed discharge in a vehicle's session: the policy decides on offers, and the program's power becomes commands."""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from evcc.policy import policy
from evcc.policy.policy import Compensation, DischargeTerms
from evcc.session import program
from evcc.session.contracts import Contract
from evcc.session.d20.request_context import Agreement, RequestContext
from evcc.session.d20.stages import Looping
from evcc.session.ports import StoreCheckpoint
from evcc.session.settings import SessionConfig
from evcc.session.steps import seen
from v2g.asn1 import discharge
from v2g.energy.vehicle import Answered, Checkpointed, VehicleDischarge, VehicleDischargeConfig, Verdict
from v2g.errors import Asn1Error, RefusedError
from v2g.iso15118.engine.session import Action, Entropy
from v2g.observe import Observe

_REASONS: Final = MappingProxyType(
    {
        "": discharge.DecisionReason.ACCEPTED,
        policy.BATTERY_FAULT: discharge.DecisionReason.BATTERY_CONDITION,
        policy.TOO_COLD: discharge.DecisionReason.BATTERY_CONDITION,
        policy.TOO_HOT: discharge.DecisionReason.BATTERY_CONDITION,
        policy.AT_MINIMUM_SOC: discharge.DecisionReason.STATE_OF_CHARGE_TOO_LOW,
        policy.DEPARTURE: discharge.DecisionReason.DEPARTURE_TOO_SOON,
        policy.COMPENSATION: discharge.DecisionReason.COMPENSATION_TOO_LOW,
        policy.CURRENCY: discharge.DecisionReason.TERMS_INVALID,
        policy.EXPIRED: discharge.DecisionReason.TERMS_INVALID,
        policy.NO_POWER: discharge.DecisionReason.OTHER,
    }
)
"""Reasons of the policy -> reasons of the messages. All others are the owner's: no consent, no cycles left, an own
policy."""

PATIENCE: Final = 3
"""Number of consecutive rejected commands after which the offer counts as declined by the charger."""

UNBOUNDED: Final = 10**9
"""W. Limit by signatures if none are required: only the policy limits the power."""


class Discharge:
    """Decides on offers and signs commands. Idle until `begin`: a session without the service has no agreement."""

    def __init__(self, config: SessionConfig, stopwatch: Callable[[], float] | None) -> None:
        self._config = config
        self._stopwatch = stopwatch
        self._vehicle: VehicleDischarge | None = None
        self._outbox: list[bytes] = []
        self._decided = False
        self._rejections = 0
        self._asking: tuple[RequestContext, bool] | None = None
        self._storing: dict[int, Checkpointed] = {}
        self._checkpoints = False
        self._ends = False
        self._ended: bool | None = None
        self._held: bytes | None = None
        self.awaits_final = False
        """Whether the charger's last checkpoint is still to come."""
        self.terms: DischargeTerms | None = None

    @property
    def agreement(self) -> Agreement:
        """State of the agreement on signed discharge."""
        if self._vehicle is None:
            return Agreement.NONE
        if not self._decided:
            return Agreement.WAITING
        agreed = self._vehicle.accepted and self._rejections < PATIENCE
        return Agreement.AGREED if agreed else Agreement.DECLINED

    def begin(
        self,
        *,
        session_id: bytes,
        contract: Contract,
        charger_certificate: bytes,
        entropy: Entropy,
        energy: Callable[[], tuple[int, int]] | None,
        ends: bool,
        last: discharge.DischargeCheckpoint | None,
    ) -> None:
        """The service was selected, in version 2 with `energy` (mWh into and out of the battery since this part began).

        With `ends` (version 3) the receipt of a final checkpoint says whether the session ends. `last` is the last
        checkpoint before a pause. Raises CertificateError if the charger's certificate is unusable.
        """
        self._ends, self._ended, self._held = ends, None, None
        if self._vehicle is not None:
            return  # selected again in the same session: the agreement stays
        limits = self._config.discharge
        self._vehicle = VehicleDischarge(
            session_id=session_id,
            key=contract.key,
            certificate=contract.chain[0],
            charger_certificate=charger_certificate,
            policy=self._judge,
            entropy=entropy,
            config=VehicleDischargeConfig(
                command_validity_ms=limits.command_validity_ms,
                renew_before_ms=min(limits.command_renew_ms, limits.command_validity_ms),
                max_skew_ms=limits.clock_skew_ms,
                energy_tolerance_mwh=round(limits.checkpoint_tolerance_wh * 1000),
                energy_tolerance_percent=limits.checkpoint_tolerance_percent,
            ),
            energy=energy,
            last=last,
        )
        self._checkpoints = energy is not None

    def outbox(self) -> list[bytes]:
        """Return payloads to send, and clear them."""
        payloads, self._outbox = self._outbox, []
        return payloads

    def signed_w(self, utc_ms: int) -> int:
        """Return the power (W) covered by a valid command of ours; without the service no command is needed."""
        if self._vehicle is None:
            return UNBOUNDED
        last = self._vehicle.last_command
        return last.power_w if last is not None and utc_ms < last.valid_until_ms else 0

    def receive(self, payload: bytes, context: RequestContext, looping: Looping | None) -> list[Action]:
        """Handle an offer, a result or a checkpoint.

        Messages without the charger's signature are reported and have no effect.
        """
        if self._vehicle is None:
            return [seen("offer", "ignored", reason="service_not_selected")]
        charges_first = (
            program.charges_before_discharge(context.config.program, looping.progress)
            if looping is not None
            else program.charges_before_discharge(
                context.config.program, program.begin(context.battery, context.session_ms)
            )
        )
        if self._ends and self._ended is None and _is_final(payload):
            self._held = payload  # answered by `leaving`
            return []
        self._asking = context, charges_first
        started = self._stopwatch() if self._stopwatch else 0.0
        try:
            outcome = self._vehicle.on_message(payload, context.utc_ms, ended=self._ended if self._ends else None)
        except RefusedError as error:
            return [seen("offer", "refused_message", reason=error.reason, error=str(error))]
        if isinstance(outcome, Checkpointed):
            # store a checkpoint before it is countersigned; a refusal needs no storage
            number = outcome.checkpoint.number
            if outcome.status is not discharge.ReceiptStatus.COUNTERSIGNED:
                return [self._receipt(outcome)]
            self._storing[number] = outcome
            return [
                StoreCheckpoint(
                    session_id=outcome.checkpoint.session_id,
                    number=number,
                    checkpoint=outcome.payload,
                    receipt=outcome.reply,
                )
            ]
        if not isinstance(outcome, Answered):
            sequence, status, effective_w = outcome.result.sequence, outcome.result.status, outcome.result.effective_w
            accepted = status in (discharge.ResultStatus.ACCEPTED, discharge.ResultStatus.CLAMPED)
            self._rejections = 0 if accepted else self._rejections + 1
            name = "command_accepted" if accepted else "command_rejected"
            return [seen("power", name, sequence=sequence, status=status.value, effective_w=effective_w)]
        decision_ms = (self._stopwatch() - started) * 1000 if self._stopwatch else None
        offer, decision = outcome.offer, outcome.decision
        self._decided, self._rejections = True, 0
        self.terms = terms_of(offer, min(offer.limits.max_discharge_w, decision.max_discharge_w))
        self._outbox.append(outcome.reply)
        return [
            seen(
                "offer",
                "received",
                offer_id=offer.offer_id.hex(),
                currency=offer.currency,
                max_discharge_w=offer.limits.max_discharge_w,
                source=offer.limits.source,
                operator_version=offer.limits.operator_version,
                best_compensation=max(slot.export_compensation for slot in offer.prices),
                valid_until_ms=offer.valid_until_ms,
            ),
            seen(
                "offer",
                "decided",
                offer_id=offer.offer_id.hex(),
                accepted=decision.accepted,
                reason=decision.reason.value,
                max_discharge_w=decision.max_discharge_w,
                decision_ms=None if decision_ms is None else round(decision_ms, 3),
                soc=context.battery.soc,
            ),
        ]

    def leaving(self, context: RequestContext, looping: Looping | None, *, ended: bool) -> list[Action]:
        """SessionStopReq is due, and ends the session or not: a final checkpoint can be answered now."""
        self._ended = ended
        held, self._held = self._held, None
        if held is None:
            return []
        actions = self.receive(held, context, looping)
        self.awaits_final = self.awaits_final or bool(self._storing)
        return actions

    def power_stopped(self) -> None:
        """Power has stopped: the charger sends its last checkpoint, if this version has them."""
        self.awaits_final = self._checkpoints

    @property
    def checkpoint(self) -> discharge.DischargeCheckpoint | None:
        """The last checkpoint that was countersigned."""
        return None if self._vehicle is None else self._vehicle.countersigned

    def stored(self, number: int, *, stored: bool) -> list[Observe]:
        """A checkpoint is durable, and its receipt may go, or it cannot be stored: then there is no receipt."""
        outcome = self._storing.pop(number, None)
        if outcome is None or self._vehicle is None:
            return []
        if not stored:
            self.awaits_final = self.awaits_final and not outcome.checkpoint.final
            return []
        self._vehicle.stored(outcome)
        return [self._receipt(outcome)]

    def _receipt(self, outcome: Checkpointed) -> Observe:
        self._outbox.append(outcome.reply)
        checkpoint = outcome.checkpoint
        self.awaits_final = self.awaits_final and not checkpoint.final
        return seen(
            "offer",
            "checkpoint_signed",
            number=checkpoint.number,
            status=outcome.status.value,
            import_mwh=checkpoint.now.import_mwh - checkpoint.begin.import_mwh,
            export_mwh=checkpoint.now.export_mwh - checkpoint.begin.export_mwh,
            final=checkpoint.final,
        )

    def command(self, power_w: int, context: RequestContext) -> list[Observe]:
        """Ensure that a valid command requests `power_w` W (0 ends the discharge)."""
        vehicle = self._vehicle
        if vehicle is None or not vehicle.command_due(power_w, context.utc_ms):
            return []
        try:
            self._outbox.append(vehicle.command(power_w, context.utc_ms))
        except RefusedError as error:
            return [seen("power", "command_not_signed", reason=error.reason)]
        command = vehicle.last_command
        assert command is not None
        return [
            seen(
                "power",
                "command_signed",
                sequence=command.sequence,
                power_w=command.power_w,
                offer_id=command.offer_id.hex(),
                valid_until_ms=command.valid_until_ms,
                soc=context.battery.soc,
            )
        ]

    def withdraw(self, context: RequestContext) -> list[Observe]:
        """The owner withdraws the consent: no command follows under the present offer."""
        payload = (
            None
            if self._vehicle is None
            else self._vehicle.withdraw(discharge.DecisionReason.OWNER_REFUSED, context.utc_ms)
        )
        if payload is None:
            return []
        self._outbox.append(payload)
        return [seen("offer", "withdrawn", reason=discharge.DecisionReason.OWNER_REFUSED.value)]

    def _judge(self, offer: discharge.DischargeOffer, utc_ms: int) -> Verdict:
        assert self._asking is not None
        context, charges_first = self._asking
        permit = policy.judge(
            context.config.discharge,
            terms_of(offer, offer.limits.max_discharge_w),
            context.battery,
            utc_ms=utc_ms,
            departure_ms=context.departure_ms,
            charges_first=charges_first,
            owner=context.owner,
        )
        return Verdict(
            accepted=permit.power_w > 0,
            reason=_REASONS.get(permit.reason, discharge.DecisionReason.OWNER_REFUSED),
            minimum_soc=math.ceil(context.config.discharge.minimum_soc),
            max_discharge_w=permit.power_w,
        )


def _is_final(payload: bytes) -> bool:
    """Return whether a message, not yet verified, is a final checkpoint."""
    try:
        content = discharge.signed_content(payload)
    except Asn1Error:
        return False
    return isinstance(content, discharge.DischargeCheckpoint) and content.final


def terms_of(offer: discharge.DischargeOffer, max_discharge_w: int) -> DischargeTerms:
    """Return an offer's terms for the policy."""
    return DischargeTerms(
        currency=offer.currency,
        compensation=tuple(Compensation(slot.start_ms, slot.end_ms, slot.export_compensation) for slot in offer.prices),
        max_discharge_w=max_discharge_w,
        valid_until_ms=offer.valid_until_ms,
    )
