"""The vehicle's stages, and the steps between them; see `evcc.session.steps`."""

import enum
import math
from typing import ClassVar, Final

import msgspec

from evcc.session import steps
from evcc.session.contracts import Contract
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.paused import PausedChoice
from evcc.session.ports import NeedsChanged, StoreContract
from evcc.session.program import IDLE, PowerRequest, ProgramProgress
from evcc.session.steps import Ended, Handlers, LeavingLoop, Stage, StageKinds
from v2g.energy.grid_support import GridSupport
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import AuthorizationSetupRes, ChargeProgress, ChargingSession
from v2g.iso15118.d20.messages.common_types import EvseNotification, MeterInfo
from v2g.iso15118.engine.v2gtp import PayloadType


class Ending(msgspec.Struct, frozen=True):
    """Mode and cause of the session's end. A `failed` one has its cause as the reason."""

    cause: str
    mode: ChargingSession = ChargingSession.Terminate
    failed: bool = False

    @property
    def reason(self) -> str:
        """The reason code in Close."""
        if self.failed:
            return self.cause
        return "paused" if self.mode is ChargingSession.Pause else "finished"

    @property
    def goes_on(self) -> bool:
        """Whether the session continues after it."""
        return self.mode is not ChargingSession.Terminate


PAUSED_BY_EVSE: Final = Ending("evse_asked_to_pause", ChargingSession.Pause)
"""The charger asks for a pause, in the loop or with a schedule."""
TERMINATED_BY_EVSE: Final = Ending("evse_terminated")
"""The charger ends the session, which it does not let pause any more."""


class SettingUp(Stage, frozen=True):
    """SessionSetupRes."""


class AskingAuthorization(Stage, frozen=True):
    """AuthorizationSetupRes."""


class Authorizing(Stage, frozen=True):
    """AuthorizationRes. The request is repeated unchanged while the charger sends Ongoing (V2G20-1582).

    `setup` is the charger's offer, `untried` are the remaining contracts, best first, `used` the leaves of
    those that have signed the challenge; `fetched` whether new ones were requested. `customer` while the charger waits
    for a card or an app.
    """

    chain: ClassVar[str] = "authorization"
    setup: AuthorizationSetupRes
    untried: tuple[Contract, ...] = ()
    used: tuple[bytes, ...] = ()
    fetched: bool = False
    polls: int = 0
    customer: bool = False


class FetchingContracts(Stage, frozen=True):
    """CertificateInstallationRes. At most `maximum` contracts are accepted, `received` have arrived, `remaining` are to
    come by the last of them; 256, more than there can be, before it.

    With `renewal` the vehicle is authorised and continues with the services, else with authorization by `setup` with
    contracts that have not been `used`.
    """

    chain: ClassVar[str] = "installation"
    setup: AuthorizationSetupRes
    renewal: bool
    maximum: int
    emaids: tuple[str, ...] = ()
    received: int = 0
    remaining: int = 256
    polls: int = 0
    used: tuple[bytes, ...] = ()


class Discovering(Stage, frozen=True):
    """ServiceDiscoveryRes. `without_der` after the demands of AC DER made no sense."""

    without_der: bool = False


class Detailing(Stage, frozen=True):
    """ServiceDetailRes: of `asked`; `candidates` are energy services still to be examined, best first."""

    asked: int
    candidates: tuple[int, ...]
    signed_offered: bool
    renegotiable: bool
    choice: PausedChoice | None = None
    further: tuple[int, ...] = ()
    """Value-added services still to be examined."""


class Selecting(Stage, frozen=True):
    """ServiceSelectionRes."""

    choice: PausedChoice


class FindingPlace(Stage, frozen=True):
    """WPT_FinePositioningSetupRes, WPT_FinePositioningRes or ACDP_VehiclePositioningRes, or the end of driving."""

    chain: ClassVar[str] = "positioning"
    choice: PausedChoice
    in_place: bool = False
    methods: tuple[str, str] = ("", "")
    """Methods of positioning and pairing of a wireless vehicle; empty until agreed."""
    until: float | None = None
    """When a vehicle in place stops waiting for the charger's confirmation (s)."""


class Pairing(Stage, frozen=True):
    """WPT_PairingRes, or an observation. `method` is the agreed one; `done` once the vehicle's part is complete."""

    chain: ClassVar[str] = "pairing"
    choice: PausedChoice
    method: str
    observed: int | None = None
    done: bool = False


class Aligning(Stage, frozen=True):
    """WPT_AlignmentCheckRes; the check times out at `until` (s)."""

    chain: ClassVar[str] = "alignment"
    plan: "Plan"
    until: float
    aligned: bool = False


class ConnectingDevice(Stage, frozen=True):
    """ACDP_ConnectRes."""

    chain: ClassVar[str] = "connection"
    plan: "Plan"


class DisconnectingDevice(Stage, frozen=True):
    """ACDP_DisconnectRes."""

    chain: ClassVar[str] = "disconnection"
    ending: "Ending"


class CheckingIn(Stage, frozen=True):
    """VehicleCheckInRes, or the end of driving in."""

    chain: ClassVar[str] = "check_in"
    choice: PausedChoice
    in_place: bool = False


class CheckingOut(Stage, frozen=True):
    """VehicleCheckOutRes; requested at `since` (s)."""

    ending: "Ending"
    since: float


class Parametrizing(Stage, frozen=True):
    """AC_ or DC_ChargeParameterDiscoveryRes.

    With AC DER: whether the vehicle has sent Finished, the last demands, or what is wrong with them, and how often the
    charger has sent Ongoing. `enabled` are the modes of SAE that are acknowledged.
    """

    chain: ClassVar[str] = "parameters"
    choice: PausedChoice
    finished: bool = False
    support: GridSupport | None = None
    wrong: str = ""
    enabled: int = 0
    polls: int = 0


class Standby(enum.Enum):
    """Whether the vehicle stays connected without energy, or the charger has refused this."""

    OFF = "off"
    ON = "on"
    REFUSED = "refused"


class Looping(Stage, frozen=True):
    """AC_ or DC_ChargeLoopRes, or the pause before the next request.

    The loop began at `since` (s). At `asked` the vehicle has asked for another schedule, as the present one was over or
    the charger notified it. `notified` is what the latest response notified.
    """

    plan: Plan
    progress: ProgramProgress
    since: float
    power_request: PowerRequest = IDLE
    meter: MeterInfo | None = None
    standby: Standby = Standby.OFF
    asked: float = -math.inf
    notified: EvseNotification | None = None


class Scheduling(Stage, frozen=True):
    """ScheduleExchangeRes; `looping` is the loop that a renegotiation returns to."""

    chain: ClassVar[str] = "schedule"
    plan: Plan
    polls: int = 0
    looping: Looping | None = None


class CableChecking(Stage, frozen=True):
    """DC_CableCheckRes."""

    chain: ClassVar[str] = "cable_check"
    plan: Plan


class PreCharging(Stage, frozen=True):
    """DC_PreChargeRes; `connected` once the contactor has closed and Finished was sent."""

    chain: ClassVar[str] = "pre_charge"
    plan: Plan
    connected: bool = False


class ClosingContactor(Stage, frozen=True):
    """The contactor's state."""

    chain: ClassVar[str] = "contactor"
    plan: Plan


class Starting(Stage, frozen=True):
    """PowerDeliveryRes to Start."""

    plan: Plan
    looping: Looping | None = None


class Confirming(Stage, frozen=True):
    """MeteringConfirmationRes."""

    looping: Looping


class Renegotiating(Stage, frozen=True):
    """PowerDeliveryRes to ScheduleRenegotiation."""

    looping: Looping


class EnteringStandby(Stage, frozen=True):
    """PowerDeliveryRes to Standby."""

    looping: Looping


class RampingDown(LeavingLoop[Looping], frozen=True):
    """See its base: before the end of energy."""

    ending: Ending


class Lowering(LeavingLoop[Looping], frozen=True):
    """See its base: before the vehicle leaves the loop for `progress`: standby, or a renegotiation."""

    progress: ChargeProgress


class PowerStopping(Stage, frozen=True):
    """PowerDeliveryRes to Stop."""

    ending: Ending


class OpeningContactor(Stage, frozen=True):
    """The contactor's state."""

    chain: ClassVar[str] = "contactor"
    ending: Ending


class Welding(Stage, frozen=True):
    """DC_WeldingDetectionRes; the detection times out at `until` (s)."""

    ending: Ending
    until: float
    finished: bool = False


class Stopping(Stage, frozen=True):
    """SessionStopRes."""

    ending: Ending


ENDING_STAGES = (
    DisconnectingDevice,
    CheckingOut,
    RampingDown,
    PowerStopping,
    OpeningContactor,
    Welding,
    Stopping,
    Ended,
)


CLOSING_STAGES = (Aligning, ConnectingDevice, CableChecking, PreCharging, ClosingContactor)
"""Stages before energy; the contactor may be about to close."""

_POWERED = (
    *CLOSING_STAGES,
    Starting,
    Looping,
    Lowering,
    Confirming,
    Renegotiating,
    EnteringStandby,
    RampingDown,
    PowerStopping,
)


def is_powered(stage: Stage) -> bool:
    """Return whether the vehicle has requested voltage or power."""
    if isinstance(stage, Scheduling):
        return stage.looping is not None
    return isinstance(stage, _POWERED) and not isinstance(stage, ConnectingDevice)


KINDS: Final = StageKinds(ENDING_STAGES, CLOSING_STAGES, is_powered)


class Step(steps.Step, frozen=True, kw_only=True):
    """Result of a handler; see its base.

    `discharge_w` requires a valid signed command of that power before the request. `contract` is the paying one from
    now on, `installed` one received from the charger.
    """

    beside: tuple[tuple[PayloadType, Element], ...] = ()
    """Additional requests for side streams."""
    discharge_w: int | None = None
    choice: PausedChoice | None = None
    joined: bool = False
    replan: bool = False
    """Plan again on the side stream."""
    family: Family | None = None
    contract: Contract | None = None
    installed: StoreContract | None = None
    needs: NeedsChanged | None = None
    """The driver's needs as set by the charger."""


fail = Step.failing

HANDLERS: Final = Handlers[RequestContext, Step]()
on_response, on_wake, on_contactor = HANDLERS.on_response, HANDLERS.on_wake, HANDLERS.on_contactor
