"""The vehicle's needs as known to the back end."""

from msgspec.structs import replace

from secc.session.ports import ChargingNeedsAnswered
from secc.session.request_context import RequestContext, Wait, refuse
from secc.session.stages import Awaiting
from v2g.energy.needs import EvNeeds

WORKING = "Processing"
"""Status of a back end that has not decided yet (NotifyEVChargingNeedsResponse)."""

ACCEPTED = "Accepted"
"""Status of a back end that will set a profile."""

PROFILE_SET = "profile_set"
"""The profile has been set."""

REJECTED = "Rejected"
"""Status of a back end that rejects this transfer of energy, when no other service is left to offer."""


class ReportedNeeds:
    """The needs of one vehicle as last reported."""

    def __init__(self) -> None:
        self.known: EvNeeds | None = None
        self._asked_again = False

    def ask_again(self) -> None:
        """The vehicle is asked for a new schedule: the back end may know its needs already."""
        self._asked_again = True

    def report(self, needs: EvNeeds, *, charging: bool) -> bool:
        """Return whether to report these needs; if so, they count as reported.

        The back end knows those of a vehicle that continues to charge and was only asked for a new schedule
        (K16.FR.09).
        """
        asked, self._asked_again = self._asked_again, False
        if asked and charging and self.known is not None and needs.go_on_from(self.known):
            return False
        self.known = needs
        return True


def on_needs_answered(fact: ChargingNeedsAnswered, stage: Awaiting) -> Awaiting:
    """Return the stage with the back end's status; a profile ends the wait as well, also before the answer."""
    if stage.status == PROFILE_SET and fact.status != REJECTED:
        return stage
    return replace(stage, status=fact.status)


def back_end_plans(stage: Awaiting, context: RequestContext) -> Wait | bool:
    """Return a wait for the back end's plan, or whether it is still planning although the answer is due.

    A back end that is planning gets its time as long as it reports Processing; a profile that it will set
    (K18.FR.20) is awaited briefly. Raises Iso15118Error if it rejects the transfer of energy.
    """
    if stage.status == REJECTED:
        why = "the back end rejects this transfer of energy"
        raise refuse("FAILED", why, reason="energy_transfer_rejected")
    late = context.now - stage.since >= context.config.schedules.patience_s
    if stage.status in (None, WORKING) and not late:
        return context.waited or Wait(stage, context.config.poll_hold_s)
    if stage.status == ACCEPTED and not context.waited:
        return Wait(stage, context.config.poll_hold_s)
    return False
