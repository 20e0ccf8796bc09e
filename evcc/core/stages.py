"""What the vehicle is waiting for, one frozen Struct each; a stage that is further on knows more.

A handler takes the stage, the response (or the wake-up) and the `World`, and returns a `Step`. No handler holds
state of its own, so that every stage can be tested against every message.
"""

import enum
from typing import Any, ClassVar

import msgspec

from evcc.core.policy import Terms
from evcc.core.ports import BatteryState, PresentVoltage
from evcc.core.program import IDLE, Progress, Wish
from evcc.core.settings import SessionConfig
from v2g.iso15118.messages.common_messages import ChargingSession
from v2g.iso15118.messages.common_types import MessageHeader, MeterInfo
from v2g.iso15118.messages.schedules import PowerSchedule
from v2g.iso15118.messages.xmldsig import Signature
from v2g.iso15118.sequence import State
from v2g.iso15118.session import Command
from v2g.observe import Observe, Scalar
from v2g.pki.keys import SigningKey


class Contract(msgspec.Struct, frozen=True):
    """The contract certificate with its sub-CAs (DER, leaf first, no root) and the key of the leaf."""

    chain: tuple[bytes, ...]
    key: SigningKey


class Agreement(enum.Enum):
    """Where signed discharge stands: not selected, selected without an offer yet, or what we said to the newest."""

    NONE = "none"
    WAITING = "waiting"
    DECLINED = "declined"
    AGREED = "agreed"


class Choice(msgspec.Struct, frozen=True):
    """The selected services. `signed_set` is the parameter set of the signed-discharge service, if taken."""

    service_id: int
    parameter_set_id: int
    bpt: bool
    dynamic: bool
    signed_set: int | None = None
    renegotiable: bool = False


class Resume(msgspec.Struct, frozen=True):
    """What survives a pause: the session, what was selected in it, and which charger it belongs to.

    `charger` is SHA-512(SessionID || SHA-512(charger's leaf)), the worked example of V2G20-2539.
    """

    session_id: bytes
    choice: Choice
    charger: bytes


class World(msgspec.Struct, frozen=True):
    """All that is known at one moment besides the stage."""

    config: SessionConfig
    now: float
    utc_ms: int
    state: State
    session_id: bytes
    battery: BatteryState
    inlet: PresentVoltage
    contactor_closed: bool
    departure_ms: int
    contract: Contract | None = None
    resume: Resume | None = None
    agreement: Agreement = Agreement.NONE
    terms: Terms | None = None

    def header(self, signature: Signature | None = None) -> MessageHeader:
        """Return the header of a request sent at this moment."""
        return MessageHeader(session_id=self.session_id, time_stamp=self.utc_ms // 1000, signature=signature)


class EvseLimits(msgspec.Struct, frozen=True):
    """What the charger can do: W, mA and mV, never negative."""

    charge_w: int
    discharge_w: int
    charge_ma: int
    discharge_ma: int
    max_voltage_mv: int
    min_voltage_mv: int


class Schedule(msgspec.Struct, frozen=True):
    """The schedule tuple that was chosen in Scheduled mode; `since_ms` (UTC) is when its first entry begins."""

    tuple_id: int
    since_ms: int
    charge: PowerSchedule
    discharge: PowerSchedule | None = None


class Plan(msgspec.Struct, frozen=True):
    """What is settled before energy flows."""

    choice: Choice
    limits: EvseLimits
    schedule: Schedule | None = None


class Ending(msgspec.Struct, frozen=True):
    """How and why the session is being ended. A `failed` one ends with its cause as the reason."""

    cause: str
    mode: ChargingSession = ChargingSession.Terminate
    failed: bool = False

    @property
    def reason(self) -> str:
        """The word that Close carries."""
        if self.failed:
            return self.cause
        return "paused" if self.mode is ChargingSession.Pause else "finished"


class Stage(msgspec.Struct, frozen=True):
    """Base of all stages. `chain` names the timer that runs as long as stages of that name follow each other."""

    chain: ClassVar[str] = ""


class Negotiating(Stage, frozen=True):
    """SupportedAppProtocolRes."""


class SettingUp(Stage, frozen=True):
    """SessionSetupRes."""


class AskingAuthorization(Stage, frozen=True):
    """AuthorizationSetupRes."""


class Authorizing(Stage, frozen=True):
    """AuthorizationRes. `signature` is repeated unchanged while the charger says Ongoing (V2G20-1582)."""

    chain: ClassVar[str] = "authorization"
    polls: int = 0


class Discovering(Stage, frozen=True):
    """ServiceDiscoveryRes."""


class Detailing(Stage, frozen=True):
    """ServiceDetailRes: about `asked`; `candidates` are energy services still to be looked at, best first."""

    asked: int
    candidates: tuple[int, ...]
    signed_offered: bool
    renegotiable: bool
    choice: Choice | None = None


class Selecting(Stage, frozen=True):
    """ServiceSelectionRes."""

    choice: Choice


class Parametrizing(Stage, frozen=True):
    """DC_ChargeParameterDiscoveryRes."""

    choice: Choice


class Looping(Stage, frozen=True):
    """DC_ChargeLoopRes, or the pause before the next request. `since` is when the loop began (s)."""

    plan: Plan
    progress: Progress
    since: float
    wish: Wish = IDLE
    meter: MeterInfo | None = None


class Scheduling(Stage, frozen=True):
    """ScheduleExchangeRes; `looping` is where a renegotiation came from."""

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
    """The contactor's answer."""

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


class PowerStopping(Stage, frozen=True):
    """PowerDeliveryRes to Stop."""

    ending: Ending


class OpeningContactor(Stage, frozen=True):
    """The contactor's answer."""

    chain: ClassVar[str] = "contactor"
    ending: Ending


class Welding(Stage, frozen=True):
    """DC_WeldingDetectionRes; the detection is given up at `until` (s)."""

    ending: Ending
    until: float
    finished: bool = False


class Stopping(Stage, frozen=True):
    """SessionStopRes."""

    ending: Ending


class Ended(Stage, frozen=True):
    """Nothing any more."""


ENDING_STAGES = (PowerStopping, OpeningContactor, Welding, Stopping, Ended)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What follows: the next stage, and exactly one of `request`, `wait` (s), a fact to come, `end`, `failure`.

    `end` closes in good order, `failure` at once with everything made safe. Commands are executed before the
    request is sent. `discharge_w` asks for a live signed command of that power before the request.
    """

    stage: Stage
    request: Any = None
    payload_type: int | None = None
    wait: float | None = None
    end: str = ""
    failure: str = ""
    commands: tuple[Command, ...] = ()
    observed: tuple[Observe, ...] = ()
    discharge_w: int | None = None
    session_id: bytes | None = None
    choice: Choice | None = None


def fail(stage: Stage, reason: str, **data: Scalar) -> Step:
    """Return the step that ends everything at once."""
    return Step(stage=stage, failure=reason, observed=(seen("session", reason, **data),) if data else ())


def seen(stage: str, name: str, **data: Scalar) -> Observe:
    """Return an observation."""
    return Observe(stage, name, data)
