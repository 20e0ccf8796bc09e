"""What a session knows, by how far it has come: a phase that knows more is another frozen stage."""

from typing import Any

import msgspec

from secc.session.config import ControlMode, EnergyService
from secc.session.d20.scheduling.offers import OfferedTuple
from secc.session.d20.scheduling.receipts import Running
from secc.session.identity import Contract
from secc.session.paused import Paused
from secc.session.ports import AuthorizationStatus, CertificateInstalled, Output
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import MeterInfo
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule


class Fresh(msgspec.Struct, frozen=True):
    """Nothing is known but, after the handshake, the set of messages."""

    family: Family | None = None


class Opened(msgspec.Struct, frozen=True):
    """The session has its id; `evcc_id` is what the vehicle calls itself, not yet believed.

    `installable` tells whether it may ask for contracts, `fetches` how often it did.
    """

    session_id: bytes
    evcc_id: str
    installable: bool = False
    fetches: int = 0


class Offered(msgspec.Struct, frozen=True):
    """The ways to identify were offered; `challenge` (16 bytes) waits to be signed, empty for EIM only.

    `signed_by` are the contracts (leaves) that have used it: it is good for one judgement of each. `refusals` counts
    the attempts that came to nothing.
    """

    opened: Opened
    challenge: bytes
    attempt: int = 0
    signed_by: frozenset[bytes] = frozenset()
    refusals: int = 0


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


class Installing(msgspec.Struct, frozen=True):
    """The back end looks for a contract. `asked` is the request without its header, which repeats must equal."""

    before: Offered | Authorized
    asked: Any
    since: float
    outcome: CertificateInstalled | None = None


class Variant(msgspec.Struct, frozen=True):
    """What the parameter sets of an energy service differ in."""

    control_mode: ControlMode
    mobility_needs: int
    pricing: int


class Discovered(msgspec.Struct, frozen=True):
    """Services were listed; `details` are the (service, parameter set) pairs that the vehicle has seen.

    `variants` are the parameter sets of energy services by their id, once one was shown.
    """

    authorized: Authorized
    services: frozenset[int]
    details: frozenset[tuple[int, int]] = frozenset()
    variants: tuple[Variant, ...] = ()


class Selected(msgspec.Struct, frozen=True):
    """What was chosen. `signed_discharge` tells whether every watt of discharge needs a signed command."""

    authorized: Authorized
    service: EnergyService
    control_mode: ControlMode
    signed_discharge: bool
    added: frozenset[int] = frozenset()
    """Value-added services that were selected beside."""
    methods: tuple[str, str, str] = ("", "", "")
    """How a wireless vehicle finds its place, pairs, and checks its alignment; empty until agreed."""
    needs_by_secc: bool = False
    """Whether departure and states of charge are the charger's to say (MobilityNeedsMode 2)."""
    pricing: int = 0
    """The service parameter Pricing: 0 none, 1 absolute prices, 2 price levels."""

    @property
    def contract(self) -> Contract | None:
        """What pays; None where something outside has said that the vehicle may charge."""
        return self.authorized.contract

    @property
    def session_id(self) -> bytes:
        """Of the session in which it was chosen."""
        return self.authorized.opened.session_id

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.service.bidirectional

    @property
    def family(self) -> Family:
        """The set of messages that is spoken."""
        return self.service.family


class Vehicle(msgspec.Struct, frozen=True):
    """What the vehicle bears, as it last said: W, mA and mV, never negative. Discharge figures are 0 without BPT."""

    max_charge_w: int
    max_charge_ma: int
    max_voltage_mv: int
    min_voltage_mv: int
    max_discharge_w: int = 0
    max_discharge_ma: int = 0
    soc: int | None = None
    phases: int = 0
    """Phases of alternating current that are told apart, 0 for direct current."""


class Parametrised(msgspec.Struct, frozen=True):
    """The vehicle's limits are known: `vehicle` as it last said, `rated` as it said before it charged.

    In the loop a vehicle lowers its limits to what it wants at the moment; schedules are made of what it can do.
    """

    selected: Selected
    vehicle: Vehicle
    rated: Vehicle | None = None
    heard: Any = None
    """What of the loop's last request `vehicle` comes from."""

    @property
    def able(self) -> Vehicle:
        """What the vehicle can do."""
        return self.rated or self.vehicle


class Plan(msgspec.Struct, frozen=True):
    """What ScheduleExchange settled: the tuples to choose from, none in dynamic mode, and the departure (UTC) if known.

    `prices` are those of a dynamic vehicle.
    """

    tuples: tuple[OfferedTuple, ...] = ()
    departure_ms: int | None = None
    prices: AbsolutePriceSchedule | None = None


class Awaiting(msgspec.Struct, frozen=True):
    """The back end has been told what the vehicle needs, and still looks for a plan. `status` is its word so far."""

    parametrised: Parametrised
    since: float
    status: str | None = None


class Planned(msgspec.Struct, frozen=True):
    """A schedule is agreed; the contactors are open. A wireless vehicle checks its alignment with `coil_ma`, by which
    at most `coil_w` are sent, of the `coil_asked_ma` that it has asked for."""

    parametrised: Parametrised
    plan: Plan
    coil_ma: int = 0
    coil_w: int = 0
    coil_asked_ma: int = 0

    @property
    def selected(self) -> Selected:
        """What was chosen."""
        return self.parametrised.selected


class AfterPlan(msgspec.Struct, frozen=True):
    """Base of the stages that go by an agreed schedule."""

    planned: Planned

    @property
    def parametrised(self) -> Parametrised:
        """What vehicle and charger can do."""
        return self.planned.parametrised

    @property
    def selected(self) -> Selected:
        """What was chosen."""
        return self.planned.parametrised.selected

    @property
    def vehicle(self) -> Vehicle:
        """What the vehicle bears, as it last said."""
        return self.planned.parametrised.vehicle


class Connecting(AfterPlan, frozen=True):
    """The connection device moves to the vehicle."""

    since: float


class Disconnecting(AfterPlan, frozen=True):
    """The connection device moves home."""

    since: float


class CableChecking(AfterPlan, frozen=True):
    """The insulation is being tested; `passed` is None until it is known."""

    since: float
    passed: bool | None = None


class PreCharging(AfterPlan, frozen=True):
    """The output follows the battery's voltage; `target_mv` 0 before the first request."""

    target_mv: int = 0


class Starting(AfterPlan, frozen=True):
    """The contactors are being closed; `closed` is None until it is known. `asked_mv` is the pre-charge's target."""

    since: float
    closed: bool | None = None
    asked_mv: int = 0


class Charging(AfterPlan, frozen=True):
    """Energy flows, or may. `chosen` is the scheduled tuple, None in dynamic mode.

    `asked_ma`/`asked_mv` are a scheduled vehicle's targets; `output` the last SetOutput; `told_meter` the newest
    MeterInfos that were sent, one of which a MeteringConfirmation has to repeat; `confirmed` the newest one that has.
    """

    chosen: OfferedTuple | None = None
    asked_ma: int = 0
    asked_mv: int = 0
    asked_w: int = 0
    """What a wireless vehicle asks for."""
    output: Output | None = None
    output_ms: int = 0
    """When `output` was last found to hold (UTC), as far as a gradient bounds how it rises."""
    told_meter: tuple[MeterInfo, ...] = ()
    confirmed: MeterInfo | None = None
    loops: int = 0
    alive: bool = False
    """Whether the vehicle's loop goes on: its newest request is not older than the loop's time-out. Else no power."""
    held: bool = False
    """Whether an AC vehicle has interrupted by its pilot: the contactor is open, the loop goes on."""
    standby: bool = False
    """Whether the vehicle stays connected without energy."""
    violated_since: float | None = None
    """Since when the vehicle takes or gives more than it was allowed (s)."""
    beside: Parametrised | Planned | None = None
    """What a renegotiation on its side stream has come to; energy flows by `planned` until it is done."""
    running: Running | None = None
    """What the energy has cost so far, where prices are known."""


class Stopping(AfterPlan, frozen=True):
    """The contactors are being opened; `opened` is None until it is known. Readings as in Charging."""

    since: float
    opened: bool | None = None
    told_meter: tuple[MeterInfo, ...] = ()
    confirmed: MeterInfo | None = None


class Stopped(AfterPlan, frozen=True):
    """No energy flows any more."""


def authorized_of(stage: Any) -> Authorized | None:
    """Return who may charge, in whatever phase after the authorization; None before it."""
    selected = selected_of(stage)
    if selected is not None:
        return selected.authorized
    if isinstance(stage, Discovered):
        return stage.authorized
    return stage if isinstance(stage, Authorized) else None


def parametrised_of(stage: Any) -> "Parametrised | None":
    """Return what vehicle and charger can do, in whatever phase after the charge parameters; None before them."""
    match stage:
        case Parametrised():
            return stage
        case Planned() | Awaiting() | AfterPlan():
            return stage.parametrised
    return None


def selected_of(stage: Any) -> Selected | None:
    """Return what was selected, in whatever phase after the selection; None before it."""
    if isinstance(stage, Selected):
        return stage
    parametrised = parametrised_of(stage)
    return parametrised.selected if parametrised else None


class Finished(msgspec.Struct, frozen=True):
    """Nothing is left but to close. `paused` is what is kept of the session, if it goes on later."""

    paused: Paused | None = None


def selected_again(paused: Paused) -> Selected:
    """Return where a joined session goes on: services stay selected, and authorization holds (V2G20-1844)."""
    opened = Opened(session_id=paused.session_id, evcc_id=paused.evcc_id)
    return Selected(
        authorized=Authorized(opened=opened, contract=paused.contract),
        service=paused.service,
        control_mode=paused.control_mode,
        signed_discharge=paused.signed_discharge,
        added=paused.added,
        needs_by_secc=paused.needs_by_secc,
        pricing=paused.pricing,
    )
