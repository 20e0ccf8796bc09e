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
from v2g.iec61851.timing import PilotTiming
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

    evcc_id: Annotated[
        str, Meta(min_length=1, max_length=255, description="EVCCID; equals the common name of the vehicle certificate")
    ] = "WMIV1234567890ABCDEX"
    mac_address: Annotated[
        str,
        Meta(
            pattern=r"^(([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})?\Z",
            description="MAC address of the vehicle's modem: EVCCID of ISO 15118-2 and DIN 70121, such as "
            "02:00:00:00:00:01; empty: an address derived from evcc_id",
        ),
    ] = ""

    @property
    def mac(self) -> bytes:
        """`mac_address`; a derived one is local and of no group."""
        if self.mac_address:
            return bytes.fromhex(self.mac_address.replace(":", ""))
        return b"\x02" + hashlib.sha256(self.evcc_id.encode()).digest()[:5]


class AuthorizationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Methods of payment."""

    allow_eim: Annotated[
        bool, Meta(description="accept external identification (card, app) when plug and charge is not offered")
    ] = False
    prefer_eim: Annotated[
        bool, Meta(description="use external identification even when plug and charge is offered")
    ] = False


class InstallationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contracts that the vehicle requests, and when it fetches them (CertificateInstallation)."""

    install: Annotated[
        Literal["missing", "always", "never"],
        Meta(
            description="fetch contracts from a charger that offers it: if there is no valid one, or it was refused, "
            "or expires soon; in every session; or never"
        ),
    ] = "missing"
    maximum_contracts: Annotated[int, Meta(ge=1, le=255, description="maximum number of stored contracts")] = 8
    prioritized_emaids: Annotated[
        tuple[str, ...], Meta(max_length=8, description="contracts (EMAID) to fetch and to pay with first, best first")
    ] = ()


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's selection of services, best first."""

    energy: Annotated[
        tuple[Literal["DC_BPT", "DC", "AC_BPT", "AC", "WPT", "DC_ACDP_BPT", "DC_ACDP", "MCS_BPT", "MCS"], ...],
        Meta(min_length=1, description="energy transfer services, best first"),
    ] = ("DC_BPT", "DC")
    der: Annotated[
        Flavour | None,
        Meta(
            description="prefer AC DER of Amendment 1 where it is offered and `der_functions` suffice: the inverter "
            "applies the grid's demands; built from public facts, without the amendment's text, by sae as far as these "
            "carry. A vehicle without it, or them, charges, and feeds back only where nothing is demanded"
        ),
    ] = None
    der_functions: Annotated[
        tuple[Function, ...], Meta(description="the functions of grid support that the inverter has")
    ] = FUNCTIONS
    negative_discharge_limits: Annotated[
        bool, Meta(description="send limits of discharge by AC DER as negative numbers (Amendment 1)")
    ] = False
    control_mode: Annotated[
        tuple[Literal["dynamic", "scheduled"], ...], Meta(min_length=1, description="control modes, best first")
    ] = ("dynamic", "scheduled")
    confirm_beside: Annotated[
        bool, Meta(description="sign readings on their side stream during the loop, else between two loops")
    ] = True
    renegotiate_beside: Annotated[
        bool,
        Meta(description="renegotiate schedules on their side stream while energy flows; not all chargers support it"),
    ] = False
    confirm_tolerance: Annotated[
        bool, Meta(description="confirm the power tolerance of a schedule: this vehicle never requests more")
    ] = True
    mobility_needs: Annotated[
        tuple[Literal["evcc", "secc"], ...],
        Meta(
            min_length=1,
            description="which side sets departure and states of charge, best first: the vehicle, or, in dynamic "
            "mode, the charger",
        ),
    ] = ("evcc", "secc")
    internet: Annotated[bool, Meta(description="select the service Internet when it is offered")] = False
    parking: Annotated[
        Literal["none", "Manual", "MVGuideManual", "AutoParking"],
        Meta(description="select the service ParkingStatus when it is offered, and park by this method"),
    ] = "none"
    signed_discharge: Annotated[bool, Meta(description="select the signed-discharge service when offered")] = True
    checkpoints: Annotated[
        bool,
        Meta(
            description="countersign the charger's journal (version 2 of signed discharge) when offered; false for "
            "tests of older vehicles"
        ),
    ] = True
    signed_discharge_id: Annotated[
        int, Meta(ge=1, le=65535, description="service id of signed discharge (vendor specific)")
    ] = 61440


class InverterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the vehicle says of its inverter (AC DER by SAE)."""

    maker: Annotated[str, Meta(max_length=32, description="its maker")] = "unknown"
    model: Annotated[str, Meta(max_length=32, description="its model")] = "unknown"
    serial: Annotated[str, Meta(max_length=32, description="its serial number")] = "0"
    software: Annotated[str, Meta(max_length=32, description="version of its software")] = "0"
    certified_s: Annotated[
        Annotated[int, Meta(ge=0, le=4_102_444_800)] | None,
        Meta(description="date of its certificate by SAE J3072, s since 1970; none: it is not certified"),
    ] = None


class OnBoardChargerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The vehicle's own charger for alternating current; powers are those of all phases together."""

    phases: Annotated[Literal[1, 2, 3], Meta(description="number of phases")] = 3
    max_charge_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum charging power, W")] = 11_000
    min_charge_w: Annotated[int, Meta(ge=0, le=1_000_000, description="minimum charging power other than 0, W")] = 1_380
    max_discharge_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum discharging power, W")] = 11_000
    max_reactive_var: Annotated[
        int, Meta(ge=0, le=1_000_000, description="maximum reactive power, var; AC DER only")
    ] = 4_800
    inverter: InverterConfig = InverterConfig()
    max_current_a: Annotated[
        Annotated[float, Meta(gt=0, le=1000)] | None,
        Meta(
            description="maximum current of each line conductor, A: the least of charger, inlet and cable; none: that "
            "of the larger power at 230 V, in whole amperes where these differ by 1 % at most"
        ),
    ] = None
    measures_lines: Annotated[
        bool,
        Meta(description="the current of each line conductor is measured; false: their sum, taken as equal on all"),
    ] = True

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

    max_power_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum received power, W")] = 11_000
    min_clearance_mm: Annotated[int, Meta(ge=0, le=65535, description="minimum ground clearance, mm")] = 140
    max_clearance_mm: Annotated[int, Meta(ge=0, le=65535, description="maximum ground clearance, mm")] = 210
    natural_frequency_hz: Annotated[int, Meta(ge=1, le=10_000_000, description="natural frequency, Hz")] = 85_000
    natural_offset_mm: Annotated[int, Meta(ge=0, le=65535, description="offset of its magnetic centre, mm")] = 0
    coil_current_a: Annotated[int, Meta(ge=0, le=1000, description="coil current for the alignment check, A")] = 20
    device_id: Annotated[
        int, Meta(ge=1, le=2**32 - 1, description="id that it transmits if the charger pairs by observing (LF_TxEV)")
    ] = 1
    positioning: Annotated[
        tuple[PositioningMethod, ...], Meta(min_length=1, max_length=8, description="methods of positioning")
    ] = ("Manual", "LPE")
    pairing: Annotated[
        tuple[PairingMethod, ...], Meta(min_length=1, max_length=8, description="methods of pairing")
    ] = ("LPE", "Optical")
    alignment: Annotated[
        tuple[AlignmentMethod, ...], Meta(min_length=1, max_length=8, description="methods of the alignment check")
    ] = ("PowerCheck",)


class NeedsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The driver's needs for the next trip."""

    departure_after_s: Annotated[
        int, Meta(ge=60, le=0xFFFFFFFF, description="departure, seconds after the session begins")
    ] = 8 * 3600
    target_soc: Annotated[Percent, Meta(description="charge desired at departure, %")] = 80.0
    minimum_soc: Annotated[Percent, Meta(description="charge required in any case, %")] = 30.0

    def __post_init__(self) -> None:
        """Check V2G20-1640: the minimum must not exceed the target."""
        if self.minimum_soc > self.target_soc:
            raise ValueError("needs.minimum_soc must not exceed needs.target_soc")


class PlanningConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules of planning by prices (steps `plan` of the program)."""

    losses_percent: Annotated[float, Meta(ge=0, le=50, description="energy lost between charger and battery, %")] = 3.0
    wear: Annotated[
        Decimal, Meta(description="cost of a discharged kWh beside its price: losses and wear, currency units")
    ] = Decimal("0.02")
    unsigned_prices: Annotated[
        Literal["accept", "refuse"],
        Meta(
            description="whether unsigned price schedules count; an invalid signature, or one of an unknown signer "
            "while signed ones are required, ends the session"
        ),
    ] = "accept"


class DischargeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions for discharging."""

    enabled: Annotated[bool, Meta(description="permit discharging")] = True
    consent: Annotated[
        Literal["given", "ask"],
        Meta(
            description="given: the owner has consented to discharging; ask: only once the driver consents "
            "in the session (driver); earlier offers are refused"
        ),
    ] = "given"
    cycle_budget: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(
            description="maximum energy fed back from plug-in to plug-out, in capacities of the battery; none: no limit"
        ),
    ] = None
    policy: Annotated[
        Path | None, Meta(description="the owner's own policy: a Python file of mode 0600 with a function `decide`")
    ] = None
    require_signed: Annotated[
        bool, Meta(description="discharge only under terms that both sides signed (signed-discharge service)")
    ] = True
    minimum_soc: Annotated[Percent, Meta(description="minimum charge for discharging, %")] = 40.0
    minimum_compensation: Annotated[Decimal, Meta(description="minimum compensation, currency units per kWh")] = (
        Decimal("0.10")
    )
    currency: Annotated[str, Meta(min_length=3, max_length=3, description="currency of minimum_compensation")] = "EUR"
    max_power_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum discharging power, W")] = 10_000
    offer_energy: Annotated[
        bool,
        Meta(description="offer energy to chargers in scheduled mode, at a price of at least minimum_compensation"),
    ] = False
    minimum_temperature_c: Annotated[
        float, Meta(ge=-60, le=100, description="minimum battery temperature for discharging, degrees C")
    ] = 0.0
    maximum_temperature_c: Annotated[
        float, Meta(ge=-60, le=100, description="maximum battery temperature for discharging, degrees C")
    ] = 45.0
    departure_soc: Annotated[
        Percent | None,
        Meta(description="minimum charge to reach by recharging before departure, %; default: discharge.minimum_soc"),
    ] = None
    departure_reserve_s: Annotated[
        int, Meta(ge=0, le=604_800, description="time without discharging before departure, s")
    ] = 900
    command_validity_ms: Annotated[
        int, Meta(ge=100, le=86_400_000, description="validity of a signed command, ms (of the simulated clock)")
    ] = 10_000
    command_renew_ms: Annotated[
        int, Meta(ge=50, le=86_400_000, description="remaining validity at which a command is renewed, ms")
    ] = 5_000
    clock_skew_ms: Annotated[
        int, Meta(ge=0, le=86_400_000, description="maximum difference between the charger's clock and ours, ms")
    ] = 2_000
    checkpoint_tolerance_wh: Annotated[
        float,
        Meta(
            ge=0,
            le=10**6,
            description="maximum difference between the charger's energy and ours for countersigning, Wh",
        ),
    ] = 250.0
    checkpoint_tolerance_percent: Annotated[
        int, Meta(ge=0, le=100, description="and in addition, of the larger one, %: includes losses before the battery")
    ] = 15
    checkpoint_wait_s: Annotated[
        float, Meta(ge=0, le=10, description="how long to wait for the last checkpoint before the session stops, s")
    ] = 2.0
    offer_wait_s: Annotated[
        float, Meta(ge=0, le=600, description="how long to wait for an announced offer in the charge loop, s")
    ] = 10.0
    overdraw_tolerance_w: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="discharging power above the agreed one that counts as measurement error, W",
        ),
    ] = 250
    overdraw_tolerance_s: Annotated[
        float, Meta(gt=0, le=10, description="how long more than the agreed power is tolerated, s")
    ] = 1.0

    @property
    def minimum_compensation_micro(self) -> int:
        """`minimum_compensation` in micro-units per kWh."""
        return int(self.minimum_compensation * MICRO)


class BasicConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Charging by the control pilot alone, if matching or communication fails (IEC 61851-1)."""

    wait_s: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            description="how long the charger may take to show a nominal duty cycle, and maximum interruption, s",
        ),
    ] = 30.0
    ventilation: Annotated[bool, Meta(description="the battery needs ventilation: state D instead of C")] = False
    timers: Annotated[PilotTiming, Meta(description="response times to the pilot")] = PilotTiming()


class ProgramStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of the session: it ends when any of its end conditions is reached, and the next one begins."""

    do: Annotated[
        Literal["charge", "discharge", "wait", "plan", "follow"],
        Meta(
            description="direction of energy; plan: by prices until needs.target_soc and departure, if the charger "
            "sends prices or offers schedules, else charge; follow: the charger's set-point until departure, in both "
            "directions, without one charge"
        ),
    ]
    until_soc: Annotated[Percent | None, Meta(description="ends at this charge, %")] = None
    energy_wh: Annotated[
        Annotated[int, Meta(gt=0, le=10**9)] | None, Meta(description="ends after this amount of energy, Wh")
    ] = None
    for_s: Annotated[
        Annotated[int, Meta(gt=0, le=31_622_400)] | None,
        Meta(description="ends after this time, seconds of the simulated clock"),
    ] = None
    power_w: Annotated[
        Annotated[int, Meta(gt=0, le=10_000_000)] | None, Meta(description="maximum power of the step, W")
    ] = None
    standby: Annotated[bool, Meta(description="wait in standby if the charger allows it, else in the loop")] = False
    pause: Annotated[
        bool, Meta(description="wait in a pause: the session is suspended, and joined again after `for_s`")
    ] = False


class TimingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pace of the vehicle's own requests, in real seconds."""

    loop_pause_s: Annotated[
        float, Meta(ge=0, le=0.25, description="pause between a charge-loop answer and the next request (V2G20-1501)")
    ] = 0.1
    poll_pause_s: Annotated[
        float, Meta(ge=0, le=5, description="pause before a request is repeated after an answer of Ongoing")
    ] = 0.05
    no_energy_s: Annotated[
        float,
        Meta(
            ge=60,
            le=86_400,
            description="how long a step `charge` waits without current, whichever side's limit is 0, before the "
            "session is paused, or ended where its edition has no pause",
        ),
    ] = 900.0
    place_s: Annotated[
        float,
        Meta(
            gt=0,
            le=55,
            description="how long a charger may take to confirm the vehicle's position (WPT, DC_ACDP), or to "
            "send power, before the vehicle leaves",
        ),
    ] = 10.0
    contactor_s: Annotated[
        float, Meta(gt=0, le=10, description="maximum switching time of the vehicle's contactor")
    ] = 1.5
    sensor_s: Annotated[
        float,
        Meta(
            ge=0.5,
            le=10,
            description="maximum age of reports of battery and inlet while voltage is requested; half of "
            "it when the contactor closes",
        ),
    ] = 1.0


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of the session core."""

    vehicle: Annotated[VehicleConfig, Meta(description="identity")] = VehicleConfig()
    installation: Annotated[
        InstallationConfig, Meta(description="when contracts are installed, and which are preferred")
    ] = InstallationConfig()
    authorization: Annotated[AuthorizationConfig, Meta(description="authorisation methods")] = AuthorizationConfig()
    services: Annotated[ServiceConfig, Meta(description="services, best first")] = ServiceConfig()
    on_board_charger: Annotated[
        OnBoardChargerConfig, Meta(description="the vehicle's own charger for alternating current")
    ] = OnBoardChargerConfig()
    wireless: Annotated[WirelessConfig, Meta(description="the vehicle's device for wireless power")] = WirelessConfig()
    needs: Annotated[NeedsConfig, Meta(description="departure and targets")] = NeedsConfig()
    discharge: Annotated[DischargeConfig, Meta(description="discharge policy")] = DischargeConfig()
    planning: Annotated[PlanningConfig, Meta(description="planning by prices")] = PlanningConfig()
    raised_limits: Annotated[
        bool,
        Meta(
            description="whether a charger may raise, in its loops, powers and currents above those of its charge "
            "parameters; the voltage, with which the insulation was tested, it may not"
        ),
    ] = False
    program: Annotated[
        tuple[ProgramStep, ...], Meta(min_length=1, max_length=64, description="steps of the session, in order")
    ] = (ProgramStep(do="charge", until_soc=80.0), ProgramStep(do="discharge"))
    timing: Annotated[TimingConfig, Meta(description="pace of requests")] = TimingConfig()
    timers: Annotated[Timing, Meta(description="the protocol's timeouts; the defaults are the standard's")] = Timing()
    timers_2: Annotated[d2.Timing, Meta(description="timeouts of ISO 15118-2")] = d2.Timing()
    timers_din: Annotated[din.Timing, Meta(description="timeouts of DIN 70121")] = din.Timing()
