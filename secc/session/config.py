"""Properties and choices of a charge point: the part of `secc`'s configuration that its core reads."""

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from secc.session.terms import PriceTerms, ScheduleRules, SeccNeeds
from v2g.energy.conductors import line_rating_ma
from v2g.energy.discharge_gate import DischargeConfig
from v2g.energy.grid_support import NO_SUPPORT, GridSupport
from v2g.energy.limits import EVSE, Limit
from v2g.iec61851.pilot import PilotTiming
from v2g.iso15118.d2.timing import Timing as Iso2Timing
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.services import AC_DER, ENERGY_TRANSFER, Flavour, ServiceId
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.d20.wpt_methods import AlignmentMethod, PairingMethod, PositioningMethod
from v2g.iso15118.din.timing import Timing as DinTiming
from v2g.iso15118.engine.quirks import VehicleQuirks
from v2g.iso15118.select import EditionName

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
Volts = Annotated[int, Meta(ge=0, le=3000)]
Amperes = Annotated[int, Meta(ge=0, le=10_000)]

SIGNED_DISCHARGE_SERVICE: Final = 0xF000
"""Default id of our value-added service. Which range the standard leaves to vendors is not publicly known."""


class EnergyService(enum.IntEnum):
    """Energy services that a charger can serve, by their id."""

    AC = ServiceId.AC
    DC = ServiceId.DC
    WPT = ServiceId.WPT
    DC_ACDP = ServiceId.DC_ACDP
    AC_BPT = ServiceId.AC_BPT
    AC_DER_IEC = ServiceId.AC_DER_IEC
    AC_DER_SAE = ServiceId.AC_DER_SAE
    DC_BPT = ServiceId.DC_BPT
    DC_ACDP_BPT = ServiceId.DC_ACDP_BPT
    MCS = ServiceId.MCS
    MCS_BPT = ServiceId.MCS_BPT

    @property
    def family(self) -> Family:
        """The set of messages that it uses."""
        return ENERGY_TRANSFER[self].family

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return ENERGY_TRANSFER[self].bidirectional


_DER: Final = frozenset({EnergyService.AC_DER_IEC, EnergyService.AC_DER_SAE})
SERVICES: Final[Mapping[str, frozenset[EnergyService]]] = {
    "AC_single_phase": frozenset({EnergyService.AC}),
    "AC_two_phase": frozenset({EnergyService.AC}),
    "AC_three_phase": frozenset({EnergyService.AC}),
    "AC_BPT": frozenset({EnergyService.AC_BPT}),
    "AC_DER": _DER,
    "AC_BPT_DER": _DER | {EnergyService.AC_BPT},
    "DC": frozenset({EnergyService.DC, EnergyService.MCS}),
    "DC_BPT": frozenset({EnergyService.DC_BPT, EnergyService.MCS_BPT}),
    "DC_ACDP": frozenset({EnergyService.DC_ACDP}),
    "DC_ACDP_BPT": frozenset({EnergyService.DC_ACDP_BPT}),
    "WPT": frozenset({EnergyService.WPT}),
}
"""OCPP's energy transfer mode -> services of ISO 15118-20; megawatt charging counts as direct current there."""


def services_of(modes: Iterable[str]) -> frozenset[int]:
    """Return the ids of all services that these modes allow; unknown modes allow none."""
    return frozenset(int(service) for mode in modes for service in SERVICES.get(mode, ()))


def offered(own: Iterable[EnergyService], allowed: frozenset[int] | None) -> tuple[EnergyService, ...]:
    """Return the services on offer, best first: the charger's own, less those that the CSMS excludes, if it does."""
    return tuple(each for each in own if allowed is None or int(each) in allowed)


class ControlMode(enum.IntEnum):
    """Which side controls the power: the vehicle by a schedule, or the charger in each loop (values of Table 207)."""

    SCHEDULED = 1
    DYNAMIC = 2


class EvseRating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rating of the power electronics at the DC output. It is sent to vehicles, and limits only lower it."""

    max_charge_power_w: Watts = 150_000
    """Maximum power towards the vehicle."""
    min_charge_power_w: Watts = 0
    """Minimum power towards the vehicle that can be held (0: none); where limits permit less, none flows."""
    max_charge_current_a: Amperes = 300
    """Maximum current towards the vehicle."""
    min_charge_current_a: Amperes = 0
    """Minimum current towards the vehicle."""
    max_discharge_power_w: Watts = 50_000
    """Maximum power out of the vehicle."""
    min_discharge_power_w: Watts = 0
    """Minimum power out of the vehicle that can be held (0: none); where limits permit less, none flows."""
    max_discharge_current_a: Amperes = 125
    """Maximum current out of the vehicle."""
    min_discharge_current_a: Amperes = 0
    """Minimum current out of the vehicle."""
    max_voltage_v: Volts = 920
    """Maximum voltage at the output."""
    min_voltage_v: Volts = 150
    """Minimum voltage at the output for current to flow."""
    current_ripple_a: Amperes = 1
    """Peak-to-peak ripple of the current, sent to vehicles of ISO 15118-2 and DIN 70121."""


class AcRating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rating of an AC charge point. Powers are those of all phases together, currents those of each line conductor."""

    phases: Literal[1, 2, 3] = 3
    """Number of phases of the socket or cable."""
    feeder_phases: Annotated[tuple[Literal["L1", "L2", "L3"], ...], Meta(min_length=1, max_length=3)] = (
        "L1",
        "L2",
        "L3",
    )
    """The feeder's conductors that its own L1, L2 and L3 are connected to, where several EVSEs share one."""
    nominal_voltage_v: Annotated[int, Meta(ge=90, le=500)] = 230
    """Voltage of the grid between phase and neutral."""
    nominal_frequency_hz: Annotated[int, Meta(ge=40, le=70)] = 50
    """Frequency of the grid."""
    max_charge_power_w: Watts = 22_000
    """Maximum power towards the vehicle."""
    min_charge_power_w: Watts = 0
    """Minimum power towards the vehicle that can be held (0: none); where limits permit less, none flows."""
    max_discharge_power_w: Watts = 11_000
    """Maximum power out of the vehicle."""
    min_discharge_power_w: Watts = 0
    """Minimum power out of the vehicle that can be held (0: none); where limits permit less, none flows."""
    max_charge_current_a: Amperes | None = None
    """Maximum current of each line conductor towards the vehicle, A; omitted: that of `max_charge_power_w` on all
    phases, in whole amperes where these differ by 1 % at most (22,000 W: 32 A)."""
    max_discharge_current_a: Amperes | None = None
    """Maximum current of each line conductor out of the vehicle, A; omitted: that of `max_discharge_power_w`."""
    phase_pause_s: Annotated[float, Meta(ge=1, le=600)] = 10.0
    """How long a vehicle is without mains while the outlet changes between three phases and one, real seconds. Some
    vehicles need minutes."""
    phase_interval_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    """Least time between two such changes, real seconds, for the life of the relay and for vehicles that end a session
    after many; limits apply meanwhile. Other makes: 300 s (KEBA, output X2), 600 s (go-e, `mptwt`)."""
    max_asymmetry_w: Watts | None = None
    """Maximum difference (W) between the powers of two phases; not sent by default."""
    ramp_w_s: Watts | None = None
    """Maximum rate of change of power (W/s) requested from the vehicle; not sent by default."""
    three_phase_connector: Literal[2, 3] = 2
    """Value of the parameter Connector for three phases: implementations disagree."""
    islanding_parameter: Literal["GridCodeIslandingDetectionMethod", "DetectionMethodGridCodeIslanding"] = (
        "GridCodeIslandingDetectionMethod"
    )
    """Name of the parameter for the islanding detection method: implementations disagree."""
    islanding_detection: Literal["active", "passive"] = "active"
    """Islanding detection method that AC_BPT sends to vehicles: active or passive."""

    def __post_init__(self) -> None:
        """Reject fewer conductors of the feeder than phases, and one twice."""
        if not self.phases <= len(self.feeder_phases) == len(set(self.feeder_phases)):
            raise ValueError(f"feeder_phases must name {self.phases} different conductors, in their order here")

    @property
    def charge_ma(self) -> int:
        """The maximum current of each line conductor towards the vehicle, mA."""
        return line_rating_ma(self.max_charge_current_a, self.max_charge_power_w, self.nominal_voltage_v, self.phases)

    @property
    def discharge_ma(self) -> int:
        """The maximum current of each line conductor out of the vehicle, mA."""
        return line_rating_ma(
            self.max_discharge_current_a, self.max_discharge_power_w, self.nominal_voltage_v, self.phases
        )


class NeighbourDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another charger that a vehicle may mean instead, and its address."""

    device_id: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    """Id that vehicles observe of its primary device."""
    ssid: Annotated[str, Meta(max_length=255)] | None = None
    """Name of its wireless network (AlternativeSECC); not sent by default."""
    ip_address: Annotated[str, Meta(max_length=39)] | None = None
    """Its IPv6 or IPv4 address; not sent by default."""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """Its TCP port; not sent by default."""


class WptRating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rating of a primary device in the ground. Methods are listed in order of preference."""

    device_id: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 1
    """Id of this device that vehicles observe when they pair with it."""
    neighbours: Annotated[tuple[NeighbourDevice, ...], Meta(max_length=8)] = ()
    power_class: Literal["MF-WPT1", "MF-WPT2", "MF-WPT3", "MF-WPT4"] = "MF-WPT3"
    """Class of the input power (PDInputPowerClass)."""
    max_power_w: Watts = 11_000
    """Maximum power sent."""
    min_power_w: Watts = 0
    """Minimum power that can be sent."""
    max_coil_current_a: Amperes = 75
    """Maximum current in the coil."""
    alignment_power_w: Watts = 2_000
    """Maximum power sent to check a vehicle's alignment."""
    min_coil_current_a: Amperes = 0
    """Minimum current in the coil."""
    max_clearance_mm: Annotated[int, Meta(ge=0, le=65535)] = 250
    """Maximum ground clearance of vehicles that can be charged."""
    min_clearance_mm: Annotated[int, Meta(ge=0, le=65535)] = 100
    """Minimum ground clearance of vehicles that can be charged."""
    max_frequency_hz: Annotated[int, Meta(ge=1, le=10_000_000)] = 90_000
    """Maximum accepted natural frequency of a vehicle's device."""
    min_frequency_hz: Annotated[int, Meta(ge=1, le=10_000_000)] = 79_000
    """Minimum accepted natural frequency of a vehicle's device."""
    natural_offset_mm: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Offset of the device's magnetic centre, sent to vehicles for fine positioning."""
    trouble_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """How long power may wait for an object on the device to be removed, real seconds, before the session ends."""
    positioning: Annotated[tuple[PositioningMethod, ...], Meta(min_length=1, max_length=8)] = ("Manual",)
    """Methods of fine positioning that can be agreed on."""
    pairing: Annotated[tuple[PairingMethod, ...], Meta(min_length=1, max_length=8)] = ("LPE", "Optical")
    """Methods of pairing that can be agreed on."""
    alignment: Annotated[tuple[AlignmentMethod, ...], Meta(min_length=1, max_length=8)] = ("PowerCheck",)
    """Methods of the alignment check that can be agreed on."""


class AcdpDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An automatic connection device, such as a pantograph, and the window in which it can connect."""

    window_x: Annotated[int, Meta(ge=0, le=32767)] = 50
    """Maximum distance of a vehicle before or behind the device's place, cm."""
    window_y: Annotated[int, Meta(ge=0, le=32767)] = 30
    """Maximum lateral distance of a vehicle, cm."""
    positioning_support: bool = True
    """Whether the charger measures the vehicle's position."""


class ProfileRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tolerances for a vehicle that follows a schedule or a target, and the reaction to deviations (V2G20-1864)."""

    power_tolerance_w: Watts | None = None
    """Band around the schedule that vehicles are asked to keep; none by default."""
    tolerance_required: bool = False
    """Whether a vehicle that does not confirm the band gets no power."""
    margin_w: Watts = 500
    """How far an AC vehicle may exceed its permitted power, for measuring errors and control: at least a twentieth,
    150 W of it where no power is permitted, or none in that direction."""
    warn_s: Annotated[float, Meta(ge=0, le=600)] = 5.0
    """How long it may exceed the margin before it is warned, dips included."""
    fail_s: Annotated[float, Meta(ge=0, le=600)] = 15.0
    """How long it may exceed the margin before the session ends, dips included; a larger excess sooner."""

    def __post_init__(self) -> None:
        """Check that a warning comes before the end."""
        if self.warn_s > self.fail_s:
            raise ValueError("warn_s must not exceed fail_s")


Protocol = Literal["ftp-20", "ftp-21", "http-80", "https-443"]

_PROTOCOLS: Final[tuple[Protocol, ...]] = get_args(Protocol)
"""In the order of the standard's parameter sets, from 1."""


class ParkingSpace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A space in which vehicles check in and out (service ParkingStatus)."""

    check_in: bool = True
    """Vehicles can check in."""
    check_out: bool = True
    """Vehicles can check out."""
    automatic: bool = False
    """Whether a machine steers vehicles."""
    inside: bool = True
    """Whether the machine or the driver is inside the vehicle."""
    space: Annotated[int, Meta(ge=0, le=32767)] | None = None
    """Number of the space; not sent by default."""
    device_location: Annotated[int, Meta(ge=-32768, le=32767)] | None = None
    """Position of the charging device, in the space's own measure (cm from its entrance)."""


class SignedDischargeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value-added service by which a vehicle signs each discharge."""

    offered: bool = True
    """Offer the service to vehicles with a contract, if energy may flow back."""
    required: bool = True
    """Whether a vehicle that does not select it may only charge."""
    checkpoints: bool = True
    """Offer version 2 besides 1: the vehicle countersigns the journal. Without it for tests of older peers."""
    service_id: Annotated[int, Meta(ge=1, le=65535)] = SIGNED_DISCHARGE_SERVICE
    """Its service id; vehicles look for the same."""
    terms: DischargeConfig = DischargeConfig()


class NoEnergy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long a session goes on without energy, in real seconds; none: for ever. Then the vehicle is asked to end it,
    and a minute later the charger does. After 30 s the event `no_energy` says whose limit is 0. A vehicle in stand-by
    and a set point of 0 W do not count."""

    vehicle_s: Annotated[float, Meta(ge=60, le=604_800)] | None = 3_600.0
    """The vehicle's limit, or what it asks for, is 0."""
    charger_s: Annotated[float, Meta(ge=60, le=604_800)] | None = 43_200.0
    """Charger, site, operator or schedule permit nothing, as perhaps all night. `site.pause_after_s` asks for a pause
    before."""


class BasicChargingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Charging by the duty cycle of the control pilot alone (IEC 61851-1), for vehicles that cannot match or
    communicate. Phases, voltage and power are those of `ac_rating`."""

    max_current_a: Annotated[float, Meta(ge=6, le=80)] = 32.0
    """Maximum current per phase; the plug's coding may lower it."""
    conversations: Annotated[int, Meta(ge=1, le=10)] = 1
    """Number of failed ISO 15118 sessions after which the charger attempts no other until the vehicle leaves."""
    timing: PilotTiming = PilotTiming()


ParameterTable = Annotated[
    dict[str, bool | Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | str], Meta(min_length=1, max_length=16)
]


class Iso2Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value-added service of the charger's owner (category OtherCustom)."""

    service_id: Annotated[int, Meta(ge=60_000, le=65_535)]
    """Its ServiceID."""
    name: Annotated[str, Meta(max_length=32)] = ""
    """Its ServiceName; empty: not sent."""
    scope: Annotated[str, Meta(max_length=64)] = ""
    """Its ServiceScope, by which vehicles may filter; empty: not sent."""
    free: bool = True
    """Whether it is free of charge."""
    parameter_sets: Annotated[tuple[ParameterTable, ...], Meta(max_length=255)] = ()
    """Its variants, of which a vehicle selects one: tables of names and values, numbered from 1."""


class Iso2Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Choices for ISO 15118-2."""

    strict: bool = False
    """Refuse what vehicles in the field do beyond the standard: stops at any time, charging profiles above PMax."""
    services: Annotated[tuple[Iso2Service, ...], Meta(max_length=6)] = ()
    """Value-added services beside those for contracts and Internet access (`internet`). The charger announces them and
    reports the selection (event `service added`)."""
    timing: Iso2Timing = Iso2Timing()

    def __post_init__(self) -> None:
        """Check that ids are unique."""
        if len({each.service_id for each in self.services}) < len(self.services):
            raise ValueError("a service_id is used twice")


class DinConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Choices for DIN 70121."""

    strict: bool = False
    """Refuse what vehicles in the field do beyond the specification: stops at any time, profiles above PMax."""
    timing: DinTiming = DinTiming()


class SeccConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The choices of one charge point."""

    evse_id: Annotated[str, Meta(min_length=7, max_length=255)] = "DEV2GE00001"
    """EVSEID in SessionSetupRes, journals and events."""
    editions: Annotated[tuple[EditionName, ...], Meta(min_length=1, max_length=3)] = ("20",)
    """Editions of the protocol that are served: 20 (ISO 15118-20), 2 (ISO 15118-2), din (DIN 70121, with EIM in
    `authorization` only). The vehicle's priorities choose; the first one answers vehicles that support none of
    them."""
    rating: EvseRating = EvseRating()
    ac_rating: AcRating = AcRating()
    """Rating of the AC services; `rating` is that of the DC services."""
    no_energy: NoEnergy = NoEnergy()
    vehicle_quirks: Annotated[tuple[VehicleQuirks, ...], Meta(max_length=100)] = ()
    """Vehicles by the beginning of their EVCCID, and which quirks of theirs are tolerated (ISO 15118-2 and DIN 70121),
    in place of what is known of their make, and of `strict`."""
    basic: BasicChargingConfig | None = None
    """AC only: charge a vehicle that does not match, or whose session fails, by the nominal duty cycle; none: off."""
    authorization: Annotated[tuple[Authorization, ...], Meta(min_length=1, max_length=2)] = (Authorization.PnC,)
    """Authorisation methods in the order of the offer: PnC (contract) and EIM (card, app, terminal)."""
    autocharge: bool = False
    """With EIM, ask the back end whether the vehicle may charge by the MAC address that it announces in ISO 15118-2 or
    DIN 70121 (EVCCID; idToken of type MacAddress), while it waits for a card. Not secure: the address is sent in the
    clear and easily copied, and anyone who copies it charges at the owner's expense."""
    supported_providers: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=80)], ...], Meta(max_length=128)
    ] = ()
    """Provider ids sent to the vehicle; an empty list names none and excludes none."""
    certificate_installation: bool = False
    """Offer to install contracts (CertificateInstallation), and in -2 to update them, while the back end is
    reachable."""
    check_installation_request: bool = True
    """Check the vehicle's signature before the back end is asked (V2G20-461). It covers the chain of the
    provisioning certificate; sources of the standard do not all agree on that."""
    services: Annotated[tuple[EnergyService, ...], Meta(min_length=1)] = (EnergyService.DC_BPT, EnergyService.DC)
    """Energy services in the order of the offer."""
    der: Flavour | None = None
    """With alternating current also offer AC DER of Amendment 1, best first: the vehicle's own inverter gets the values
    of `grid_support`. Built from public facts, without the amendment's text; by `sae` only certified vehicles feed
    back, and only functions that its messages have. A vehicle without it charges, and feeds back only where nothing is
    demanded."""
    grid_support: GridSupport = NO_SUPPORT
    control_modes: Annotated[tuple[ControlMode, ...], Meta(min_length=1)] = (ControlMode.DYNAMIC, ControlMode.SCHEDULED)
    """Control modes in the order of their parameter sets; some vehicles select the first set whatever it contains."""
    mobility_needs: Annotated[tuple[Literal[1, 2], ...], Meta(min_length=1, max_length=2)] = (1,)
    """MobilityNeedsMode of the parameter sets, best first: 1 the vehicle sets the needs, 2 the charger. 2 is
    offered in Dynamic mode only (V2G20-2663)."""
    needs: SeccNeeds = SeccNeeds()
    """Needs for vehicles that leave them to the charger."""
    connector: Annotated[int, Meta(ge=1, le=4)] = 2
    """Table 207: 1 Core, 2 Extended, 3 Dual2, 4 Dual4."""
    mcs_connector: Annotated[int, Meta(ge=1, le=7)] = 1
    """1 MCS, 2 ChaoJi, 3 UltraChaoJi, 4 rMCS, 5 xMCS, 6 Aviation, 7 Marine."""
    wpt: WptRating = WptRating()
    """The primary device of the service WPT."""
    acdp: AcdpDevice = AcdpDevice()
    """The connection device of the services DC_ACDP and DC_ACDP_BPT; `rating` is that of its output."""
    signed_discharge: SignedDischargeConfig = SignedDischargeConfig()
    offer_prices: bool = True
    """Send price schedules in ScheduleExchangeRes (V2G20-2176) when a tariff is known."""
    prices: PriceTerms = PriceTerms()
    """Fees and taxes beside the tariff, and how prices are sent."""
    schedules: ScheduleRules = ScheduleRules()
    """Schedules for vehicles to choose from."""
    negative_discharge_limits: bool = False
    """Write discharge limits as negative numbers (Amendment 1) instead of positive ones (2022 edition)."""
    meter_info: bool = True
    """Include MeterInfo in the first charge-loop response even without a request (V2G20-1833)."""
    metering_confirmation: bool = True
    """Request a contract's signature of the meter's reading at the end of each interval (V2G20-1083; in -2 a
    receipt). Some vehicles abort on a notification that they do not know."""
    profile: ProfileRules = ProfileRules()
    raised_limits: bool = False
    """Whether a vehicle may raise, in its loops, currents and powers above those of its charge parameters. The voltage,
    with which the insulation was tested, it may not."""
    internet: tuple[Protocol, ...] = ()
    """Other uses of the connection beside charging (service Internet); none by default."""
    parking: ParkingSpace | None = None
    """The service ParkingStatus; none by default."""
    pause: bool = True
    """Store a session that the vehicle pauses, so that it can be joined again (V2G20-2545)."""
    standby: bool = True
    """Let a vehicle stay connected without energy (ChargeProgress Standby)."""
    service_renegotiation: bool = True
    """Let a vehicle select services again within a session (V2G20-1477)."""
    reaction_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 2_000
    """How long the power electronics take to follow a lower limit, ms of (simulated) UTC; recorded in the journal."""
    direction_change_s: Annotated[float, Meta(ge=0, le=60)] = 0.5
    """Dead time (real seconds) without power between charge and discharge: power electronics that change direction
    under load may be damaged."""
    loop_events: bool = True
    """Record one event per charge loop."""
    iso2: Iso2Config = Iso2Config()
    din: DinConfig = DinConfig()
    poll_hold_s: Annotated[float, Meta(ge=0, le=1.2)] = 0.5
    """How long a poll waits for a result before it is answered Ongoing; saves polls on slow hardware."""
    timing: Timing = Timing()

    def __post_init__(self) -> None:
        """Check that nothing is listed twice, and that the frequencies of grid support are those of this grid."""
        for name in ("editions", "services", "authorization"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} lists one twice")
        if wrong := self.grid_support.wrong_at(self.ac_rating.nominal_frequency_hz):
            raise ValueError(f"grid_support: {wrong}")

    def power_rating(self, family: Family) -> tuple[int, int]:
        """Return the maximum power with that set of messages: W of charge and of discharge."""
        if family is Family.WPT:
            return self.wpt.max_power_w, 0
        rating = self.ac_rating if family is Family.AC else self.rating
        return rating.max_charge_power_w, rating.max_discharge_power_w

    def rated(self, family: Family) -> Limit:
        """Return the charger's limit with that set of messages, with alternating current also of each conductor."""
        charge_w, discharge_w = self.power_rating(family)
        limit = Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w)
        if family is Family.WPT:
            return limit
        rating = self.ac_rating if family is Family.AC else self.rating
        least_w, least_out_w = rating.min_charge_power_w, rating.min_discharge_power_w
        limit = replace(limit, least_charge_w=least_w, least_discharge_w=least_out_w)
        if family is not Family.AC:
            return limit
        return replace(limit, charge_ma=self.ac_rating.charge_ma, discharge_ma=self.ac_rating.discharge_ma)

    def internet_protocols(self) -> Iterator[tuple[int, str, int]]:
        """Yield the permitted protocols of the service Internet: number of the parameter set, name, and port."""
        for each in self.internet:
            name, _, port = each.partition("-")
            yield _PROTOCOLS.index(each) + 1, name, int(port)

    @property
    def served(self) -> tuple[EnergyService, ...]:
        """The energy services, AC DER among them."""
        return tuple(each for family in Family for each in self.offers(family))

    def offers(self, family: Family) -> tuple[EnergyService, ...]:
        """Return the energy services of that set of messages, in the order of the offer."""
        own = tuple(each for each in self.services if each.family is family and each not in _DER)  # only by `der`
        return (EnergyService(AC_DER[self.der]), *own) if own and family is Family.AC and self.der else own
