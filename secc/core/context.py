"""What a session knows, by how far it has come: a phase that knows more is another frozen context.

A handler gets a request, the context of its phase and the world as it is now, and returns a `Step`, or a `Wait` when
the answer depends on a fact that has not come yet.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from secc.core.config import ControlMode, EnergyService, SeccConfig
from secc.core.ports import AuthorizationStatus, Measured, MeterRead, SetOutput
from v2g.errors import Iso15118Error
from v2g.grid.limits import EffectiveLimits
from v2g.grid.tariff import Tariff
from v2g.iso15118.messages.common_types import MessageHeader, MeterInfo, ResponseCode
from v2g.iso15118.session import Command, Entropy
from v2g.observe import Observe
from v2g.pki.keys import SigningKey
from v2g.slac.pilot import PilotState


class Trust(msgspec.Struct, frozen=True):
    """Whom the charger believes, and who it is: `key` and `chain` of its TLS leaf. DER, `chain` leaf first.

    `interop` also takes what -2 era peers sign with: P-256 and SHA-256.
    """

    v2g_roots: tuple[bytes, ...]
    mo_roots: tuple[bytes, ...]
    key: SigningKey
    chain: tuple[bytes, ...]
    interop: bool = False


class Identity(msgspec.Struct, frozen=True):
    """Names that stand in the books. `meter_certificate` is the meter's certificate (DER)."""

    station_id: str
    meter_serial: str
    meter_certificate: bytes


# -- phases -------------------------------------------------------------------------------------------------------


class Fresh(msgspec.Struct, frozen=True):
    """Nothing is known."""


class Opened(msgspec.Struct, frozen=True):
    """The session has its id; `evcc_id` is what the vehicle calls itself, not yet believed."""

    session_id: bytes
    evcc_id: str


class Offered(msgspec.Struct, frozen=True):
    """The ways to identify were offered; `challenge` (16 bytes) waits to be signed, empty for EIM only."""

    opened: Opened
    challenge: bytes
    attempt: int = 0


class Contract(msgspec.Struct, frozen=True):
    """A contract certificate whose chain and signature held. `key` is its public half."""

    emaid: str
    chain: tuple[bytes, ...]
    expires_soon: bool


class Authorizing(msgspec.Struct, frozen=True):
    """Somebody outside decides. `asked` is the request without its header: repeats must equal it (V2G20-1582)."""

    offered: Offered
    asked: Any
    since: float
    contract: Contract | None
    status: AuthorizationStatus | None = None


class Authorized(msgspec.Struct, frozen=True):
    """The vehicle may charge: by `contract`, or by something outside if None. `renegotiated` counts returns."""

    opened: Opened
    contract: Contract | None


class Discovered(msgspec.Struct, frozen=True):
    """Services were listed; `details` are the (service, parameter set) pairs that the vehicle has seen."""

    authorized: Authorized
    services: frozenset[int]
    details: frozenset[tuple[int, int]] = frozenset()


class Selected(msgspec.Struct, frozen=True):
    """What was chosen. `signed_discharge` tells whether every watt of discharge needs a signed command."""

    authorized: Authorized
    service: EnergyService
    control_mode: ControlMode
    signed_discharge: bool

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.service is EnergyService.DC_BPT


class Vehicle(msgspec.Struct, frozen=True):
    """What the vehicle bears, as it last said: W, mA and mV, never negative. Discharge figures are 0 without BPT."""

    max_charge_w: int
    max_charge_ma: int
    max_voltage_mv: int
    min_voltage_mv: int
    max_discharge_w: int = 0
    max_discharge_ma: int = 0
    soc: int | None = None


class Parametrised(msgspec.Struct, frozen=True):
    """The vehicle's limits are known."""

    selected: Selected
    vehicle: Vehicle


class Plan(msgspec.Struct, frozen=True):
    """What ScheduleExchange settled: the powers (W, signed by direction) that a scheduled tuple offers.

    `tuples` are (id, charge W, discharge W); empty in dynamic mode. `departure_ms` UTC if the vehicle told.
    """

    tuples: tuple[tuple[int, int, int], ...] = ()
    departure_ms: int | None = None


class Planned(msgspec.Struct, frozen=True):
    """A schedule is agreed; the contactors are open."""

    parametrised: Parametrised
    plan: Plan


class CableChecking(msgspec.Struct, frozen=True):
    """The insulation is being tested; `passed` is None until it is known."""

    planned: Planned
    since: float
    passed: bool | None = None


class PreCharging(msgspec.Struct, frozen=True):
    """The output follows the battery's voltage; `target_mv` 0 before the first request."""

    planned: Planned
    target_mv: int = 0


class Starting(msgspec.Struct, frozen=True):
    """The contactors are being closed; `closed` is None until it is known."""

    planned: Planned
    since: float
    closed: bool | None = None


class Charging(msgspec.Struct, frozen=True):
    """Energy flows, or may. `chosen` is the scheduled tuple (id, charge W, discharge W), None in dynamic mode.

    `asked_ma`/`asked_mv` are a scheduled vehicle's targets; `output` the last SetOutput; `told_meter` the newest
    MeterInfos that were sent, one of which a MeteringConfirmation has to repeat.
    """

    planned: Planned
    chosen: tuple[int, int, int] | None = None
    asked_ma: int = 0
    asked_mv: int = 0
    output: SetOutput | None = None
    told_meter: tuple[MeterInfo, ...] = ()
    loops: int = 0


class Stopping(msgspec.Struct, frozen=True):
    """The contactors are being opened; `opened` is None until it is known."""

    planned: Planned
    since: float
    opened: bool | None = None


class Stopped(msgspec.Struct, frozen=True):
    """No energy flows any more."""

    planned: Planned


class Finished(msgspec.Struct, frozen=True):
    """Nothing is left but to close."""


# -- the world and the answer -------------------------------------------------------------------------------------


class Notice(msgspec.Struct, frozen=True):
    """What the vehicle is to be told by EVSEStatus, by the wire name; `until` is when it must have obeyed."""

    notification: str
    until: float


class World(msgspec.Struct, frozen=True):
    """Everything outside the session, as it is at this moment."""

    config: SeccConfig
    trust: Trust
    identity: Identity
    now: float
    utc_ms: int
    entropy: Entropy
    header: MessageHeader
    station: EffectiveLimits
    """What charger, site and operator allow together; the vehicle is in the context."""
    setpoint_w: int | None
    signed_w: int
    """W of discharge that the vehicle has signed for at this moment."""
    tariff: Tariff | None
    measured: Measured
    pilot: PilotState | None
    meter: MeterRead | None
    meter_begin: tuple[int, int]
    """The registers (mWh import, export) when the session began."""
    notice: Notice | None
    waited: bool
    """Whether the request must be answered now; a handler may `Wait` only while this is False."""


class Step(msgspec.Struct, frozen=True):
    """A handled request: commands are carried out before the response leaves.

    `heard` is the wire name of a notification that the vehicle has followed by this request.
    """

    response: Any
    context: Any
    commands: tuple[Command | Observe, ...] = ()
    heard: str = ""


class Wait(msgspec.Struct, frozen=True):
    """The answer has to wait for a fact, at most so many seconds; the handler is asked again then."""

    context: Any
    seconds: float
    commands: tuple[Command | Observe, ...] = ()


Handler = Callable[[Any, Any, World], Step | Wait]


def refuse(code: ResponseCode, why: str) -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session."""
    return Iso15118Error(why, answer=code.name)
