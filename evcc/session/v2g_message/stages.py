"""The vehicle's stages in ISO 15118-2 and DIN 70121, and the steps between them; see `evcc.session.steps`."""

from typing import Any, ClassVar, Final

import msgspec

from evcc.policy.planner import ChargePlan
from evcc.session import steps
from evcc.session.context import EvseLimits
from evcc.session.ports import StoreContract
from evcc.session.program import IDLE, PowerRequest, ProgramProgress
from evcc.session.steps import Ended, LeavingLoop, Stage, StageKinds
from evcc.session.watch import NO_ERROR
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.quirks import Quirk
from v2g.iso15118.engine.xmldsig import Signature


class Ending(msgspec.Struct, frozen=True):
    """Cause of the session's end, and whether it is a pause. A `failed` one has its cause as the reason.

    `ev_error` is the DC_EVErrorCode that the charger is sent.
    """

    cause: str
    failed: bool = False
    pause: bool = False
    ev_error: str = NO_ERROR

    @property
    def reason(self) -> str:
        """The reason code in Close."""
        if self.failed:
            return self.cause
        return "paused" if self.pause else "finished"

    @property
    def goes_on(self) -> bool:
        """Whether the session continues after it."""
        return self.pause


class Choice(msgspec.Struct, frozen=True):
    """The selected charge service: its id and the kind of energy transfer (an enumeration of the edition).

    `phases` are those of alternating current, 0 with direct current. `contract`: a contract pays, perhaps one that is
    fetched by the parameter set `fetch` of the service ContractCertificate.
    """

    service_id: int
    mode: Any
    phases: int = 0
    contract: bool = False
    fetch: int | None = None


class Schedule(msgspec.Struct, frozen=True):
    """The agreed power over time, within offer and limits, which begins at `since_ms` (`session_ms` of Context)."""

    tuple_id: int
    since_ms: int
    power: PowerSchedule
    plan: ChargePlan | None = None
    """The vehicle's plan, if the program plans by prices."""


class Plan(msgspec.Struct, frozen=True):
    """Agreements before energy flows; `limits` are the charger's present ones, within those `agreed`."""

    limits: EvseLimits
    agreed: EvseLimits
    schedule: Schedule | None = None


class SettingUp(Stage, frozen=True):
    """SessionSetupRes."""


class Discovering(Stage, frozen=True):
    """ServiceDiscoveryRes."""


class Selecting(Stage, frozen=True):
    """The response to the selection of payment and service."""


class Authorizing(Stage, frozen=True):
    """The response to the request for authorisation; `customer` while the charger waits for a card or an app."""

    chain: ClassVar[str] = "authorization"
    polls: int = 0
    customer: bool = False


class Looping(Stage, frozen=True):
    """The charge loop's response, or the pause before the next request."""

    plan: Plan
    progress: ProgramProgress
    power_request: PowerRequest = IDLE


class Parametrizing(Stage, frozen=True):
    """ChargeParameterDiscoveryRes; `again` in a renegotiation."""

    chain: ClassVar[str] = "parameters"
    polls: int = 0
    again: bool = False


class CableChecking(Stage, frozen=True):
    """CableCheckRes."""

    chain: ClassVar[str] = "cable_check"
    plan: Plan


class PreCharging(Stage, frozen=True):
    """PreChargeRes, since `since`; `inlet_mv` is the voltage of the inlet that last moved, at `moved_at` (s)."""

    chain: ClassVar[str] = "pre_charge"
    plan: Plan
    since: float
    inlet_mv: int = 0
    moved_at: float = 0.0


class ClosingContactor(Stage, frozen=True):
    """The contactor's state."""

    chain: ClassVar[str] = "contactor"
    plan: Plan


class Starting(Stage, frozen=True):
    """PowerDeliveryRes to the start of energy."""

    plan: Plan


class RampingDown(LeavingLoop[Looping], frozen=True):
    """See its base: before the end of energy."""

    ending: Ending


class PowerStopping(Stage, frozen=True):
    """PowerDeliveryRes to the end of energy."""

    ending: Ending


class OpeningContactor(Stage, frozen=True):
    """The contactor's state."""

    chain: ClassVar[str] = "contactor"
    ending: Ending


class Welding(Stage, frozen=True):
    """WeldingDetectionRes; the detection times out at `until` (s)."""

    ending: Ending
    until: float


class Stopping(Stage, frozen=True):
    """SessionStopRes."""

    ending: Ending


ENDING: Final = (RampingDown, PowerStopping, OpeningContactor, Welding, Stopping, Ended)
CLOSING: Final = (CableChecking, PreCharging, ClosingContactor)
_POWERED: Final = (*CLOSING, Starting, Looping, RampingDown, PowerStopping)


def is_powered(stage: Stage) -> bool:
    """Return whether the vehicle has requested voltage or power."""
    return isinstance(stage, _POWERED)


KINDS: Final = StageKinds(ENDING, CLOSING, is_powered)


class Step(steps.Step, frozen=True, kw_only=True):
    """Result of a handler; see its base.

    `signature` is that of the request. `quirks` of the charger were tolerated. `joined`: the charger continues the
    session that was paused. `installed` is a contract received from the charger, `evse_id` the id of its EVSE.
    """

    choice: Choice | None = None
    quirks: tuple[Quirk, ...] = ()
    signature: Signature | None = None
    joined: bool = False
    installed: StoreContract | None = None
    evse_id: str | None = None


fail = Step.failing
