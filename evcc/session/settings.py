"""The part of the vehicle's configuration that its pure core reads. `evcc.config` adds files and interfaces.

Times of programs and drivers (departure, steps, validity) use the clock that may be simulated;
the timers of the protocol always use real seconds.
"""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.energy.conductors import line_rating_ma
from v2g.energy.grid_support import FUNCTIONS, Function
from v2g.iec61851.pilot import PilotTiming
from v2g.iso15118.d2 import timing as d2
from v2g.iso15118.d20.services import Flavour
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.d20.wpt_methods import AlignmentMethod, PairingMethod, PositioningMethod
from v2g.iso15118.din import timing as din
from v2g.units import MICRO

NOMINAL_V: Final = 230
"""Voltage of alternating current between a line and the neutral, where nothing else states it."""

Percent = Annotated[float, Meta(ge=0, le=100)]


class VehicleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's identity."""

    evcc_id: Annotated[str, Meta(min_length=1, max_length=255)] = "WMIV1234567890ABCDEX"
    """EVCCID; equals the common name of the vehicle certificate."""
    mac_address: Annotated[str, Meta(pattern=r"^(([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})?\Z")] = ""
    """MAC address of the vehicle's modem: EVCCID of ISO 15118-2 and DIN 70121, such as 02:00:00:00:00:01; empty: an
    address derived from evcc_id."""

    @property
    def mac(self) -> bytes:
        """`mac_address`; a derived one is local and of no group."""
        if self.mac_address:
            return bytes.fromhex(self.mac_address.replace(":", ""))
        return b"\x02" + hashlib.sha256(self.evcc_id.encode()).digest()[:5]


class AuthorizationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Methods of payment."""

    allow_eim: bool = False
    """Accept external identification (card, app) when plug and charge is not offered."""
    prefer_eim: bool = False
    """Use external identification even when plug and charge is offered."""


class InstallationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contracts that the vehicle requests, and when it fetches them (CertificateInstallation)."""

    install: Literal["missing", "always", "never"] = "missing"
    """Fetch contracts from a charger that offers it: if there is no valid one, or it was refused, or expires soon; in
    every session; or never."""
    maximum_contracts: Annotated[int, Meta(ge=1, le=255)] = 8
    """Maximum number of stored contracts."""
    prioritized_emaids: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    """Contracts (EMAID) to fetch and to pay with first, best first."""


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's selection of services, best first."""

    energy: Annotated[
        tuple[Literal["DC_BPT", "DC", "AC_BPT", "AC", "WPT", "DC_ACDP_BPT", "DC_ACDP", "MCS_BPT", "MCS"], ...],
        Meta(min_length=1),
    ] = ("DC_BPT", "DC")
    """Energy transfer services, best first."""
    der: Flavour | None = None
    """Prefer AC DER of Amendment 1 where it is offered and `der_functions` suffice: the inverter applies the grid's
    demands; built from public facts, without the amendment's text, by sae as far as these carry. A vehicle without it,
    or them, charges, and feeds back only where nothing is demanded."""
    der_functions: tuple[Function, ...] = FUNCTIONS
    """The functions of grid support that the inverter has."""
    negative_discharge_limits: bool = False
    """Send limits of discharge by AC DER as negative numbers (Amendment 1)."""
    control_mode: Annotated[tuple[Literal["dynamic", "scheduled"], ...], Meta(min_length=1)] = ("dynamic", "scheduled")
    """Control modes, best first."""
    confirm_beside: bool = True
    """Sign readings on their side stream during the loop, else between two loops."""
    renegotiate_beside: bool = False
    """Renegotiate schedules on their side stream while energy flows; not all chargers support it."""
    confirm_tolerance: bool = True
    """Confirm the power tolerance of a schedule: this vehicle never requests more."""
    mobility_needs: Annotated[tuple[Literal["evcc", "secc"], ...], Meta(min_length=1)] = ("evcc", "secc")
    """Which side sets departure and states of charge, best first: the vehicle, or, in dynamic mode, the charger."""
    internet: bool = False
    """Select the service Internet when it is offered."""
    parking: Literal["none", "Manual", "MVGuideManual", "AutoParking"] = "none"
    """Select the service ParkingStatus when it is offered, and park by this method."""
    signed_discharge: bool = True
    """Select the signed-discharge service when offered."""
    checkpoints: bool = True
    """Countersign the charger's journal (version 2 of signed discharge) when offered; false for tests of older
    vehicles."""
    signed_discharge_id: Annotated[int, Meta(ge=1, le=65535)] = 61440
    """Service id of signed discharge (vendor specific)."""


class InverterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's inverter: what it says of it (AC DER by SAE), and its direct current."""

    maker: Annotated[str, Meta(max_length=32)] = "unknown"
    """Its maker."""
    model: Annotated[str, Meta(max_length=32)] = "unknown"
    """Its model."""
    serial: Annotated[str, Meta(max_length=32)] = "0"
    """Its serial number."""
    software: Annotated[str, Meta(max_length=32)] = "0"
    """Version of its software."""
    certified_s: Annotated[int, Meta(ge=0, le=4_102_444_800)] | None = None
    """Date of its certificate by SAE J3072, s since 1970; none: it is not certified."""
    direct_a: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Direct current that the simulated one injects, A, unless the charger's grid code limits it (AC DER by IEC)."""


class OnBoardChargerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's own charger for alternating current; powers are those of all phases together."""

    phases: Literal[1, 2, 3] = 3
    """Number of phases."""
    max_charge_w: Annotated[int, Meta(ge=0, le=1_000_000)] = 11_000
    """Maximum charging power, W."""
    min_charge_w: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_380
    """Minimum charging power other than 0, W."""
    max_discharge_w: Annotated[int, Meta(ge=0, le=1_000_000)] = 11_000
    """Maximum discharging power, W."""
    max_reactive_var: Annotated[int, Meta(ge=0, le=1_000_000)] = 4_800
    """Maximum reactive power, var; AC DER only."""
    inverter: InverterConfig = InverterConfig()
    max_current_a: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """Maximum current of each line conductor, A: the least of charger, inlet and cable; none: that of the larger power
    at 230 V, in whole amperes where these differ by 1 % at most."""
    measures_lines: bool = True
    """The current of each line conductor is measured; false: their sum, taken as equal on all."""

    def __post_init__(self) -> None:
        """Check V2G20-1619: the minimum power must not exceed the maximum."""
        if self.min_charge_w > self.max_charge_w:
            raise ValueError("on_board_charger.min_charge_w must not exceed on_board_charger.max_charge_w")

    @property
    def line_ma(self) -> int:
        """The maximum current of each line conductor, mA, in both directions."""
        most_w = max(self.max_charge_w, self.max_discharge_w)
        return line_rating_ma(self.max_current_a, most_w, NOMINAL_V, self.phases)

    def most_w(self, lines: int) -> int:
        """Return the maximum charging power on so many phases, W: each has its part."""
        return self.max_charge_w * min(lines, self.phases) // self.phases

    def most_out_w(self, lines: int) -> int:
        """Return the maximum discharging power on so many phases, W."""
        return self.max_discharge_w * min(lines, self.phases) // self.phases


class WirelessConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's secondary device for wireless power; its methods by their names in the standard."""

    max_power_w: Annotated[int, Meta(ge=0, le=1_000_000)] = 11_000
    """Maximum received power, W."""
    min_clearance_mm: Annotated[int, Meta(ge=0, le=65535)] = 140
    """Minimum ground clearance, mm."""
    max_clearance_mm: Annotated[int, Meta(ge=0, le=65535)] = 210
    """Maximum ground clearance, mm."""
    natural_frequency_hz: Annotated[int, Meta(ge=1, le=10_000_000)] = 85_000
    """Natural frequency, Hz."""
    natural_offset_mm: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Offset of its magnetic centre, mm."""
    coil_current_a: Annotated[int, Meta(ge=0, le=1000)] = 20
    """Coil current for the alignment check, A."""
    device_id: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 1
    """Id that it transmits if the charger pairs by observing (LF_TxEV)."""
    positioning: Annotated[tuple[PositioningMethod, ...], Meta(min_length=1, max_length=8)] = ("Manual", "LPE")
    """Methods of positioning."""
    pairing: Annotated[tuple[PairingMethod, ...], Meta(min_length=1, max_length=8)] = ("LPE", "Optical")
    """Methods of pairing."""
    alignment: Annotated[tuple[AlignmentMethod, ...], Meta(min_length=1, max_length=8)] = ("PowerCheck",)
    """Methods of the alignment check."""


class NeedsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The driver's needs for the next trip."""

    departure_after_s: Annotated[int, Meta(ge=60, le=0xFFFFFFFF)] = 8 * 3600
    """Departure, seconds after the session begins."""
    target_soc: Percent = 80.0
    """Charge desired at departure, %."""
    minimum_soc: Percent = 30.0
    """Charge required in any case, %."""

    def __post_init__(self) -> None:
        """Check V2G20-1640: the minimum must not exceed the target."""
        if self.minimum_soc > self.target_soc:
            raise ValueError("needs.minimum_soc must not exceed needs.target_soc")


class PlanningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules of planning by prices (steps `plan` of the program)."""

    losses_percent: Annotated[float, Meta(ge=0, le=50)] = 3.0
    """Energy lost between charger and battery, %."""
    wear: Decimal = Decimal("0.02")
    """Cost of a discharged kWh beside its price: losses and wear, currency units."""
    unsigned_prices: Literal["accept", "refuse"] = "accept"
    """Whether unsigned price schedules count; an invalid signature, or one of an unknown signer while signed ones are
    required, ends the session."""


class DischargeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions for discharging."""

    enabled: bool = True
    """Permit discharging."""
    consent: Literal["given", "ask"] = "given"
    """given: the owner has consented to discharging; ask: only once the driver consents in the session (driver);
    earlier offers are refused."""
    cycle_budget: Annotated[float, Meta(gt=0, le=100)] | None = None
    """Maximum energy fed back from plug-in to plug-out, in capacities of the battery; none: no limit."""
    policy: Path | None = None
    """The owner's own policy: a Python file of mode 0600 with a function `decide`."""
    require_signed: bool = True
    """Discharge only under terms that both sides signed (signed-discharge service)."""
    minimum_soc: Percent = 40.0
    """Minimum charge for discharging, %."""
    minimum_compensation: Decimal = Decimal("0.10")
    """Minimum compensation, currency units per kWh."""
    currency: Annotated[str, Meta(min_length=3, max_length=3)] = "EUR"
    """Currency of minimum_compensation."""
    max_power_w: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    """Maximum discharging power, W."""
    offer_energy: bool = False
    """Offer energy to chargers in scheduled mode, at a price of at least minimum_compensation."""
    minimum_temperature_c: Annotated[float, Meta(ge=-60, le=100)] = 0.0
    """Minimum battery temperature for discharging, degrees C."""
    maximum_temperature_c: Annotated[float, Meta(ge=-60, le=100)] = 45.0
    """Maximum battery temperature for discharging, degrees C."""
    departure_soc: Percent | None = None
    """Minimum charge to reach by recharging before departure, %; default: discharge.minimum_soc."""
    departure_reserve_s: Annotated[int, Meta(ge=0, le=604_800)] = 900
    """Time without discharging before departure, s."""
    command_validity_ms: Annotated[int, Meta(ge=100, le=86_400_000)] = 10_000
    """Validity of a signed command, ms (of the simulated clock)."""
    command_renew_ms: Annotated[int, Meta(ge=50, le=86_400_000)] = 5_000
    """Remaining validity at which a command is renewed, ms."""
    clock_skew_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 2_000
    """Maximum difference between the charger's clock and ours, ms."""
    checkpoint_tolerance_wh: Annotated[float, Meta(ge=0, le=10**6)] = 250.0
    """Maximum difference between the charger's energy and ours for countersigning, Wh."""
    checkpoint_tolerance_percent: Annotated[int, Meta(ge=0, le=100)] = 15
    """And in addition, of the larger one, %: includes losses before the battery."""
    checkpoint_wait_s: Annotated[float, Meta(ge=0, le=10)] = 2.0
    """How long to wait for the last checkpoint before the session stops, s."""
    offer_wait_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """How long to wait for an announced offer in the charge loop, s."""
    overdraw_tolerance_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 250
    """Discharging power above the agreed one that counts as measurement error, W."""
    overdraw_tolerance_s: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """How long more than the agreed power is tolerated, s."""

    @property
    def minimum_compensation_micro(self) -> int:
        """`minimum_compensation` in micro-units per kWh."""
        return int(self.minimum_compensation * MICRO)


class BasicConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Charging by the control pilot alone, if matching or communication fails (IEC 61851-1)."""

    wait_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """How long the charger may take to show a nominal duty cycle, and maximum interruption, s."""
    ventilation: bool = False
    """The battery needs ventilation: state D instead of C."""
    timers: PilotTiming = PilotTiming()
    """Response times to the pilot."""


class ProgramStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of the session: it ends when any of its end conditions is reached, and the next one begins."""

    do: Literal["charge", "discharge", "wait", "plan", "follow"]
    """Direction of energy; plan: by prices until needs.target_soc and departure, if the charger sends prices or offers
    schedules, else charge; follow: the charger's set-point until departure, in both directions, without one charge."""
    until_soc: Percent | None = None
    """Ends at this charge, %."""
    energy_wh: Annotated[int, Meta(gt=0, le=10**9)] | None = None
    """Ends after this amount of energy, Wh."""
    for_s: Annotated[int, Meta(gt=0, le=31_622_400)] | None = None
    """Ends after this time, seconds of the simulated clock."""
    power_w: Annotated[int, Meta(gt=0, le=10_000_000)] | None = None
    """Maximum power of the step, W."""
    standby: bool = False
    """Wait in standby if the charger allows it, else in the loop."""
    pause: bool = False
    """Wait in a pause: the session is suspended, and joined again after `for_s`."""


class TimingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pace of the vehicle's own requests, in real seconds."""

    loop_pause_s: Annotated[float, Meta(ge=0, le=0.25)] = 0.1
    """Pause between a charge-loop answer and the next request (V2G20-1501)."""
    poll_pause_s: Annotated[float, Meta(ge=0, le=5)] = 0.05
    """Pause before a request is repeated after an answer of Ongoing."""
    no_energy_s: Annotated[float, Meta(ge=60, le=86_400)] = 900.0
    """How long a step `charge` waits without current, whichever side's limit is 0, before the session is paused, or
    ended where its edition has no pause."""
    place_s: Annotated[float, Meta(gt=0, le=55)] = 10.0
    """How long a charger may take to confirm the vehicle's position (WPT, DC_ACDP), or to send power, before the
    vehicle leaves."""
    contactor_s: Annotated[float, Meta(gt=0, le=10)] = 1.5
    """Maximum switching time of the vehicle's contactor."""
    sensor_s: Annotated[float, Meta(ge=0.5, le=10)] = 1.0
    """Maximum age of reports of battery and inlet while voltage is requested; half of it when the contactor closes."""


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of the session core."""

    vehicle: VehicleConfig = VehicleConfig()
    """identity."""
    installation: InstallationConfig = InstallationConfig()
    """When contracts are installed, and which are preferred."""
    authorization: AuthorizationConfig = AuthorizationConfig()
    """Authorisation methods."""
    services: ServiceConfig = ServiceConfig()
    """Services, best first."""
    on_board_charger: OnBoardChargerConfig = OnBoardChargerConfig()
    """The vehicle's own charger for alternating current."""
    wireless: WirelessConfig = WirelessConfig()
    """The vehicle's device for wireless power."""
    needs: NeedsConfig = NeedsConfig()
    """Departure and targets."""
    discharge: DischargeConfig = DischargeConfig()
    """Discharge policy."""
    planning: PlanningConfig = PlanningConfig()
    """Planning by prices."""
    raised_limits: bool = False
    """Whether a charger may raise, in its loops, powers and currents above those of its charge parameters; the voltage,
    with which the insulation was tested, it may not."""
    program: Annotated[tuple[ProgramStep, ...], Meta(min_length=1, max_length=64)] = (
        ProgramStep(do="charge", until_soc=80.0),
        ProgramStep(do="discharge"),
    )
    """Steps of the session, in order."""
    timing: TimingConfig = TimingConfig()
    """Pace of requests."""
    timers: Timing = Timing()
    """The protocol's timeouts; the defaults are the standard's."""
    timers_2: d2.Timing = d2.Timing()
    """Timeouts of ISO 15118-2."""
    timers_din: din.Timing = din.Timing()
    """Timeouts of DIN 70121."""
