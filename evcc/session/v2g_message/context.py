"""What handlers of ISO 15118-2 and DIN 70121 know beside their stage, and what their edition provides."""

from typing import TYPE_CHECKING, Any, Protocol

from evcc.session.context import Context
from evcc.session.v2g_message.stages import Choice, Ending, Plan
from v2g.iso15118.engine.quirks import Quirk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evcc.session.v2g_message.requests import DcRequests
    from v2g.iso15118.engine.power_schedule import PowerSchedule
    from v2g.iso15118.engine.sequence import State


class Vocabulary(Protocol):
    """Requests of an edition, and the parts of its responses that differ. Pure."""

    @property
    def dc(self) -> "DcRequests":
        """The requests of direct current."""

    @property
    def delivering(self) -> "frozenset[State]":
        """States in which PowerDelivery comes before the end of a session."""

    def evse_id(self, response: Any) -> tuple[str, tuple[Quirk, ...]]:
        """Return the EVSEID of a SessionSetupRes, empty if unknown, and a quirk of its form."""

    def session_setup(self, context: "MessageContext") -> Any:
        """Return SessionSetupReq."""

    def discover(self, context: "MessageContext") -> Any:
        """Return ServiceDiscoveryReq."""

    def authorize(self, context: "MessageContext") -> Any:
        """Return the request for authorisation by external means."""

    def parameters(self, context: "MessageContext") -> Any:
        """Return ChargeParameterDiscoveryReq."""

    def schedules(self, response: Any) -> "Mapping[int, PowerSchedule]":
        """Return the schedules on offer by their tuple ids."""

    def power_start(self, plan: Plan, context: "MessageContext") -> Any:
        """Return PowerDeliveryReq with the vehicle's profile."""

    def power_stop(self, context: "MessageContext") -> Any:
        """Return PowerDeliveryReq that stops energy."""

    def session_stop(self, ending: Ending) -> Any:
        """Return SessionStopReq."""


class MessageContext(Context, frozen=True, kw_only=True):
    """The present state except the stage. `plan` is the latest one."""

    vocabulary: Vocabulary
    choice: Choice | None = None
    plan: Plan | None = None
