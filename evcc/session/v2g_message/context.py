"""What handlers of ISO 15118-2 and DIN 70121 know beside their stage, and what their edition provides."""

from typing import TYPE_CHECKING, Any, Final, Protocol

from evcc.session.context import Context, EvseLimits
from evcc.session.contracts import Contract, Provisioning
from evcc.session.paused import PausedSession
from evcc.session.program import ProgramProgress
from evcc.session.steps import Handlers
from evcc.session.v2g_message.stages import Choice, Ending, Plan, Step
from evcc.session.watch import NO_ERROR
from v2g.exi.declare import Element
from v2g.iso15118.engine.quirks import Quirk
from v2g.iso15118.engine.xmldsig import Signature

if TYPE_CHECKING:
    from v2g.iso15118.engine.sequence import State
    from v2g.iso15118.engine.session import Command
    from v2g.observe import Observe


class Vocabulary(Protocol):
    """Requests of an edition, and the parts of its responses that differ. Pure."""

    @property
    def delivering(self) -> "frozenset[State]":
        """States in which PowerDelivery comes before the end of a session."""

    def evse_id(self, response: Any) -> tuple[str, tuple[Quirk, ...]]:
        """Return the EVSEID of a SessionSetupRes, empty if unknown, and a quirk of its form."""

    def session_setup(self, context: "MessageContext") -> Element:
        """Return SessionSetupReq."""

    def discover(self, context: "MessageContext") -> Element:
        """Return ServiceDiscoveryReq."""

    def authorize(self, context: "MessageContext") -> Element:
        """Return the request for authorisation by external means."""

    def parameters(self, context: "MessageContext") -> Element:
        """Return ChargeParameterDiscoveryReq."""

    def agree(self, response: Any, limits: EvseLimits, context: "MessageContext") -> "tuple[Plan, tuple[Observe, ...]]":
        """Return the plan by the schedules in a ChargeParameterDiscoveryRes, and events about it."""

    def cable_check(self, context: "MessageContext") -> Element:
        """Return CableCheckReq."""

    def pre_charge(self, plan: Plan, context: "MessageContext") -> Element:
        """Return PreChargeReq for the battery's voltage."""

    def charge_loop(self, plan: Plan, context: "MessageContext", power_w: int) -> "tuple[Element, tuple[Command, ...]]":
        """Return the request of the loop for at most `power_w`, and commands before it."""

    def power_start(self, plan: Plan, context: "MessageContext") -> Element:
        """Return PowerDeliveryReq with the vehicle's profile."""

    def power_stop(self, context: "MessageContext") -> Element:
        """Return PowerDeliveryReq that stops energy."""

    def welding_detection(self, context: "MessageContext") -> Element:
        """Return WeldingDetectionReq."""

    def session_stop(self, ending: Ending) -> Element:
        """Return SessionStopReq."""


class MessageContext(Context, frozen=True, kw_only=True):
    """The present state except the stage. `plan` and `progress` are the latest ones.

    `signature` is that of the response. `resume` is the session that was paused before, `joined` whether this is its
    continuation. `renegotiated_ms` is the `session_ms` of the last renegotiation. `contract` pays, or would; `refused`
    are the leaves (DER) of those that chargers have refused lately. `price_signers` are certificates (DER) of permitted
    signers of tariffs. `evse_id` is that of SessionSetupRes, `ev_error` the DC_EVErrorCode of the present end.
    """

    vocabulary: Vocabulary
    choice: Choice | None = None
    plan: Plan | None = None
    progress: ProgramProgress | None = None
    signature: Signature | None = None
    resume: PausedSession | None = None
    joined: bool = False
    replan: bool = False
    renegotiated_ms: int | None = None
    contract: Contract | None = None
    contracts: tuple[Contract, ...] = ()
    refused: frozenset[bytes] = frozenset()
    provisioning: Provisioning | None = None
    price_signers: tuple[bytes, ...] = ()
    tls: bool = False
    evse_id: str = ""
    ev_error: str = NO_ERROR

    @property
    def max_charge_w(self) -> int:
        """The vehicle's present maximum charging power: that of its battery, and with AC of its own charger."""
        most = self.battery.max_charge_w
        lines = 0 if self.choice is None else self.choice.phases
        return min(most, self.config.on_board_charger.most_w(lines)) if lines else most


COMMON: Final = Handlers[MessageContext, Step]()
"""What both editions do alike."""
