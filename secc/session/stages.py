"""The stages of a session of any edition: each is a frozen record of what is known in that phase."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from secc.session.config import ControlMode, EnergyService
from secc.session.identity import Contract
from secc.session.ports import Output, Paused
from secc.session.terms import OfferedTuple
from v2g.energy.grid_support import Function, GridSupport
from v2g.energy.limits import EffectiveLimits
from v2g.energy.needs import DerNeeds
from v2g.energy.settlement.authorization import challenge_of
from v2g.energy.settlement.records import SessionStarted
from v2g.iso15118.d20.charts import Family
from v2g.safety.flow import Flow
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

SILENT, RENEGOTIATES = "vehicle_silent", "renegotiation"
"""Why a vehicle's loop does not continue: it has gone quiet, or negotiates a new schedule."""


class Stage(msgspec.Struct, frozen=True):
    """Base of all stages."""


class Fresh(Stage, frozen=True):
    """Nothing is known of the vehicle, at most the protocol."""


class Opened(Stage, frozen=True):
    """The session has its id; `evcc_id` is the vehicle's own identification, not verified.

    `mac_address` is the MAC address in it that may identify the vehicle, empty if none does.
    `installable` is whether it may request contracts, `fetches` the number of its requests.
    """

    session_id: bytes
    evcc_id: str
    mac_address: str = ""
    installable: bool = False
    fetches: int = 0


class AfterSetup(Stage, frozen=True):
    """Base of the stages in which the session has its id, and no services are selected."""

    opened: Opened


class JournalOpening(msgspec.Struct, frozen=True):
    """The first entry of a journal, made before a contract's vehicle signs: its hash is the challenge.

    `request` is the AuthorizationReq (EXI) with that signature, once there is one.
    """

    started: SessionStarted
    utc_ms: int
    request: bytes = b""

    @property
    def challenge(self) -> bytes:
        """16 unpredictable bytes (V2G20-697, -2108)."""
        return challenge_of(self.started, self.utc_ms)


class Authorizing(Stage, frozen=True, kw_only=True):
    """An external decision is pending since `since` (s)."""

    attempt: int
    since: float
    contract: Contract | None
    opening: JournalOpening | None = None
    status: AuthorizationStatus | None = None


class Authorized(AfterSetup, frozen=True):
    """The vehicle may charge: by `contract`, or by external means if None. `opening` has the vehicle's signature."""

    contract: Contract | None
    opening: JournalOpening | None = None


class Selected(Stage, frozen=True):
    """The selection. `signed_discharge` is whether discharge requires a signed command."""

    authorized: Authorized
    service: EnergyService
    control_mode: ControlMode
    signed_discharge: bool
    checkpoints: bool = False
    """Whether signed discharge has version 2, in which the vehicle countersigns the journal."""
    added: frozenset[int] = frozenset()
    """Value-added services selected in addition."""
    methods: tuple[str, str, str] = ("", "", "")
    """Methods of positioning, pairing and alignment check of a wireless vehicle; empty until agreed."""
    needs_by_secc: bool = False
    """Whether the charger sets departure and states of charge (MobilityNeedsMode 2)."""
    functions: frozenset[Function] = frozenset()
    """Grid support that AC DER demands of the vehicle."""
    pricing: int = 0
    """The service parameter Pricing: 0 none, 1 absolute prices, 2 price levels."""

    @property
    def contract(self) -> Contract | None:
        """The paying contract; None after external authorisation."""
        return self.authorized.contract

    @property
    def session_id(self) -> bytes:
        """The id of the session in which it was selected."""
        return self.authorized.opened.session_id

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.service.bidirectional

    @property
    def family(self) -> Family:
        """The set of messages in use."""
        return self.service.family


_MOST_CAPACITY_WH: Final = 10_000_000
"""As much as a journal takes."""


def plausible_capacity(watt_hours: int) -> int | None:
    """Return a battery's capacity (Wh) as a vehicle reported it, None for one that no vehicle has."""
    return watt_hours if 0 < watt_hours <= _MOST_CAPACITY_WH else None


class Vehicle(msgspec.Struct, frozen=True):
    """The vehicle's latest limits: W, mA and mV, never negative. Discharge limits are 0 without BPT."""

    max_charge_w: int
    max_charge_ma: int
    max_voltage_mv: int
    min_voltage_mv: int
    max_discharge_w: int = 0
    max_discharge_ma: int = 0
    min_charge_w: int = 0
    min_discharge_w: int = 0
    soc: int | None = None
    capacity_wh: int | None = None
    """Its battery's, None while it has not reported a plausible one."""
    phases: int = 0
    """Line conductors that it uses by its own account, with alternating current; 0 for direct current."""
    line_charge_w: tuple[int, ...] = ()
    """Maximum power of each conductor that it uses, 0 of one that it left out, where it has sent those of several."""
    line_discharge_w: tuple[int, ...] = ()
    cycled: bool = False
    """Whether it leaves the direction to the charger: a signed command then only allows discharge."""
    der: DerNeeds | None = None
    """What it says of its inverter in AC DER."""
    given: GridSupport | None = None
    """What its inverter is asked for in AC DER; None in other sessions."""
    enabled: int | None = None
    """Modes of AC DER by SAE that were enabled for it; None in other sessions."""

    @property
    def may_feed(self) -> bool:
        """Whether its inverter may feed back: by SAE where the mode of discharge was enabled."""
        return self.enabled is None or bool(self.enabled & 2)

    def bounded(self, agreed: "Vehicle", *, raises: bool = False) -> "Vehicle":
        """Return these limits within those that were agreed before power; the voltage always, as the insulation was
        tested with it, powers and currents unless the vehicle `raises` them."""
        tested = replace(self, max_voltage_mv=min(self.max_voltage_mv, agreed.max_voltage_mv))
        if raises:
            return tested
        return replace(
            tested,
            max_charge_w=min(self.max_charge_w, agreed.max_charge_w),
            max_charge_ma=min(self.max_charge_ma, agreed.max_charge_ma),
            max_discharge_w=min(self.max_discharge_w, agreed.max_discharge_w),
            max_discharge_ma=min(self.max_discharge_ma, agreed.max_discharge_ma),
            line_charge_w=_lower(self.line_charge_w, agreed.line_charge_w),
            line_discharge_w=_lower(self.line_discharge_w, agreed.line_discharge_w),
        )

    def line_w(self, *, charge: bool) -> tuple[int, ...]:
        """Return the maximum power of each conductor in a direction, nothing where it has not sent those of several."""
        return self.line_charge_w if charge else self.line_discharge_w

    def most_w(self, lines: int) -> tuple[int, int]:
        """Return the maximum charge and discharge power (W) of the first so many conductors."""
        return (
            min(self.max_charge_w, sum(self.line_charge_w[:lines] or (self.max_charge_w,))),
            min(self.max_discharge_w, sum(self.line_discharge_w[:lines] or (self.max_discharge_w,))),
        )


def _lower(powers_w: tuple[int, ...], agreed_w: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lower power of each conductor; one that only one of them has stays."""
    return tuple(min(pair) for pair in zip(powers_w, agreed_w, strict=False)) or powers_w or agreed_w


class Parametrised(Stage, frozen=True):
    """The vehicle's limits are known: `vehicle` the latest, `rated` those agreed before power.

    In the loop a vehicle lowers its limits to its present needs; schedules use its capabilities. Only another exchange
    of charge parameters changes `rated`, and only another cable check its voltage.
    """

    selected: Selected
    vehicle: Vehicle
    rated: Vehicle | None = None
    applying_since: float | None = None
    """Since when (s) a vehicle of AC DER applies the demands, until it has finished."""
    derived_from: object = None
    """The values of the last loop request from which `vehicle` was derived."""
    departure_ms: int | None = None
    """What a charger that sets the needs has said (UTC): another schedule does not move it."""

    @property
    def able(self) -> Vehicle:
        """The vehicle's capabilities."""
        return self.rated or self.vehicle


class Plan(msgspec.Struct, frozen=True):
    """Result of ScheduleExchange: the tuples to choose from, none in dynamic mode, and the departure (UTC) if known.

    `prices` are those of a dynamic vehicle, or of all tuples, as its edition has them.
    """

    tuples: tuple[OfferedTuple, ...] = ()
    departure_ms: int | None = None
    prices: Any = None


class Awaiting(Stage, frozen=True):
    """The back end has the vehicle's needs, and is still planning. `status` is its answer so far."""

    parametrised: Parametrised
    since: float
    status: str | None = None


class Planned(Stage, frozen=True):
    """A schedule is agreed; the contactors are open. A wireless vehicle checks its alignment with `coil_ma`, which
    sends at most `coil_w`, instead of the requested `coil_asked_ma`."""

    parametrised: Parametrised
    plan: Plan
    coil_ma: int = 0
    coil_w: int = 0
    coil_asked_ma: int = 0

    @property
    def selected(self) -> Selected:
        """The selection."""
        return self.parametrised.selected


class AfterPlan(Stage, frozen=True):
    """Base of the stages with an agreed schedule."""

    planned: Planned

    @property
    def parametrised(self) -> Parametrised:
        """The limits of vehicle and charger."""
        return self.planned.parametrised

    @property
    def selected(self) -> Selected:
        """The selection."""
        return self.planned.parametrised.selected

    @property
    def vehicle(self) -> Vehicle:
        """The vehicle's latest limits."""
        return self.planned.parametrised.vehicle


class CableChecking(AfterPlan, frozen=True):
    """The insulation is being tested; `passed` is None without a result."""

    since: float
    passed: bool | None = None
    why: str = ""


class PreCharging(AfterPlan, frozen=True):
    """The output follows the battery's voltage; `target_mv` 0 before the first request."""

    target_mv: int = 0


class Starting(AfterPlan, frozen=True):
    """The contactors are being closed; `closed` is None without a result. `asked_mv` is the pre-charge's target."""

    since: float
    closed: bool | None = None
    asked_mv: int = 0


class Charging(AfterPlan, frozen=True):
    """Energy flows, or may. `chosen` is the scheduled tuple, None in dynamic mode.

    `asked_ma`/`asked_mv` are a scheduled vehicle's targets; `output` the last SetOutput; `sent_readings` the latest
    MeterInfos sent, one of which a MeteringConfirmation has to repeat; `sent_receipts` the latest Receipts, one of
    which it may repeat; `confirmed` the latest confirmed MeterInfo.
    """

    chosen: OfferedTuple | None = None
    asked_ma: int = 0
    asked_mv: int = 0
    asked_w: int = 0
    """Power requested by a wireless vehicle."""
    output: Output | None = None
    limits: EffectiveLimits | None = None
    """The limits that `output` results from, and their sources."""
    output_ms: int = 0
    """When `output` was last computed (UTC); used if a gradient limits its rise."""
    sent_readings: tuple[object, ...] = ()
    sent_receipts: tuple[object, ...] = ()
    confirmed: object = None
    loops: int = 0
    halted: str = SILENT
    """Why the vehicle's loop does not continue, so that no power flows; empty while its last request is not older than
    the loop's timeout."""
    held: bool = False
    """Whether an AC vehicle has interrupted by its pilot, or the grid has tripped: the loop continues without energy
    until the contactor is closed again."""
    closing: bool = False
    """Whether it has been commanded closed since; whatever it reports of the opening comes first."""
    standby: bool = False
    """Whether the vehicle stays connected without energy."""
    suspended: str = ""
    """The charging state that the CSMS has while energy is withheld in the loop; empty: Charging."""
    flow: Flow = Flow()
    """Since when (s) the vehicle exceeds its permitted power."""
    grid_event: int = 0
    """GridEventCondition, or DERAlarmStatus, of a vehicle of AC DER; 0: none."""
    enabled_modes: int | None = None
    """Its last EnabledModes, by SAE."""
    beside: Parametrised | Planned | None = None
    """Result so far of a renegotiation on its side stream; energy flows by `planned` until it is complete."""
    running: object = None
    """Cost of the energy so far, if prices are known."""


class Stopping(AfterPlan, frozen=True):
    """The contactors are being opened; `opened` is None without a result. Readings and receipts as in Charging."""

    since: float
    opened: bool | None = None
    sent_readings: tuple[object, ...] = ()
    sent_receipts: tuple[object, ...] = ()
    confirmed: object = None


class Stopped(AfterPlan, frozen=True):
    """No energy flows any more; `welding` is whether the vehicle has begun to detect welding."""

    welding: bool = False


def parametrised_of(stage: Stage) -> "Parametrised | None":
    """Return the limits of vehicle and charger, in any phase after the charge parameters; None before."""
    match stage:
        case Parametrised():
            return stage
        case Planned() | Awaiting() | AfterPlan():
            return stage.parametrised
    return None


def selected_of(stage: Stage) -> Selected | None:
    """Return the selection, in any phase after it; None before."""
    if isinstance(stage, Selected):
        return stage
    parametrised = parametrised_of(stage)
    return parametrised.selected if parametrised else None


class Finished(Stage, frozen=True):
    """Only closing is left. `paused` is the stored state of a session that continues later."""

    paused: Paused | None = None
