"""What a station consists of, and the standard variables that this implies (part 2, appendices 3)."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, cast, get_args

import msgspec

from v2g.ocpp.messages.base import EVSE, OperationMode
from v2g.ocpp.messages.provisioning import AttributeType, DataType, Mutability
from v2g.ocpp.routes import Version
from v2g_station.kernel.variables import DECLARED, WORDS

# -- Hardware that a station may have, and the variables of any hardware component (part 2, appendices 3)

PHYSICAL: Final = """
AccessBarrier AcDcConverter AcPhaseSelector Actuator AirCoolingSystem AreaVentilation BayOccupancySensor
BeaconLighting CableBreakawaySensor CaseAccessSensor ChargingStation ChargingStatusIndicator ConnectedEV
Connector ConnectorHolsterRelease ConnectorHolsterSensor ConnectorPlugRetentionLock ConnectorProtectionRelease
Controller ControlMetering CPPWMController DataLink Display DistributionPanel ElectricalFeed ELVSupply
EmergencyStopSensor EnvironmentalLighting EVRetentionLock EVSE ExternalTemperatureSensor FiscalMetering
FloodSensor GroundIsolationProtection Heater HumiditySensor LightSensor LiquidCoolingSystem
LocalAvailabilitySensor LocalController LocalEnergyStorage OverCurrentProtection OverCurrentProtectionRecloser
PowerContactor RCD RCDRecloser RealTimeClock ShockSensor SpacesCountSignage Switch TemperatureSensor
TiltSensor TokenReader UpstreamProtectionTrigger UIInput VehicleIdSensor
"""
"""Physical components, which may have any of the generic variables."""

GENERIC: Final = """
ACCurrent decimal A -
Active boolean - -
ACVoltage decimal V -
AllowReset boolean - -
Angle decimal Deg -
Attempts integer - -
Available boolean - -
Certificate string - -
Color string - -
Complete boolean - -
ConnectedTime decimal s -
Count integer - -
CurrentImbalance decimal Percent -
DataText string - -
DateTime dateTime - -
DCCurrent decimal A -
DCVoltage decimal V -
ECVariant string - -
Enabled boolean - -
Energy decimal Wh -
Entries integer - -
Fallback boolean - -
FanSpeed decimal RPM -
FirmwareVersion string - -
Force decimal N -
Formats MemberList - -
Frequency decimal Hz -
FuseRating decimal A -
Height decimal m -
Humidity decimal RH -
Hysteresis decimal Percent -
ICCID string - -
Impedance decimal Ohm -
IMSI string - -
Interval integer s -
Length decimal m -
Light decimal lx -
Manufacturer string - -
Message string - -
MinimumStatusDuration integer s -
Mode string - -
Model string - -
NetworkAddress string - -
Operated boolean - -
OperatingTimes string - -
Overload boolean - -
Percent decimal Percent -
PhaseRotation OptionList - -
PostChargingTime decimal s -
Power decimal W -
Problem boolean - -
Protecting boolean - -
SerialNumber string - -
SignalStrength decimal dBm -
State string - -
StateOfCharge decimal Percent -
Storage integer B -
SupplyPhases integer - -
Suspending boolean - -
Suspension boolean - -
Temperature decimal Celsius -
Time dateTime - -
Timeout decimal s -
Tries integer - -
Tripped boolean - -
VendorName string - -
VersionDate dateTime - -
VersionNumber string - -
VoltageImbalance decimal Percent -
CommunicationParent string - 21
ElectricalParent string - 21
LogicalParent string - 21
PhysicalParent string - 21
Label string - 21
"""
"""Name, type, unit and flags of variables that any component may have."""


# -- Components that a station has only if its layout or configuration says so, in the form of `variables`

OPTIONAL: Final = """
[CHAdeMOCtrlr]
SelftestActive boolean r - - - o
CHAdeMOProtocolNumber integer r - - - o
VehicleStatus boolean r - - - o
DynamicControl boolean r - - - o
HighCurrentControl boolean r - - - o
HighVoltageControl boolean r - - - o
AutoManufacturerCode integer r - - - o
[Controller]
MaxMsgElements integer r - - - 201,o
[CustomizationCtrlr]
CustomImplementationEnabled[<vendorId>] boolean r - - - o
[DistributionPanel]
ChargingStation string r - - - 201,o
DistributionPanel string r - - - 201,o
Fuse[<n>] integer r - A - 201,o
[LocalEnergyStorage]
Capacity decimal r - Wh - o
[FrequencySimulator]
Enabled boolean rw false - - 21,o
DateTime[Start] dateTime rw - - - 21,o
DateTime[End] dateTime rw - - - 21,o
FrequencySchedule string rw - - - 21,o
[DataCollector]
Enabled boolean rw false - - 21,o
DateTime[Start] dateTime rw - - - 21,o
DateTime[End] dateTime rw - - - 21,o
SamplingInterval decimal rw 1 s - 21,o
SampledMeasurands MemberList rw - - $MEASURANDS 21,o
[DCDERCtrlr]
Enabled boolean rw false - - 21,o
MaxW decimal r - W - 21,o
OverExcitedW decimal r - W - 21,o
OverExcitedPF decimal r - - - 21,o
UnderExcitedW decimal r - W - 21,o
UnderExcitedPF decimal r - - - 21,o
MaxVA decimal r - VA - 21,o
MaxVar decimal r - Var - 21,o
MaxVarNeg decimal r - Var - 21,o
MaxChargeRateW decimal r - W - 21,o
MaxChargeRateVA decimal r - VA - 21,o
VNom decimal r - V - 21,o
MaxV decimal r - V - 21,o
MinV decimal r - V - 21,o
ModesSupported MemberList r - - $DER 21,o
InverterManufacturer string r - - - 21,o
InverterModel string r - - - 21,o
InverterSerialNumber string r - - - 21,o
InverterSwVersion string r - - - 21,o
InverterHwVersion string r - - - 21,o
IslandingDetectionMethod OptionList r - - $ISLANDING 21,o
IslandingDetectionTripTime decimal r - s - 21,o
ReactiveSusceptance decimal r - s - 21,o
[ACDERCtrlr]
ModesSupported MemberList r - - $DER 21,o
[BatterySwapCtrlr]
TargetSoC integer r - Percent - 21,o
MaxSoc integer r - Percent - 21,o
IdToken string r - - - 21,o
Timeout[In] integer r - s - 21,o
Timeout[Out] integer r - s - 21,o
[BatteryCartridge]
SoC integer r - Percent - 21,o
SoH integer r - Percent - 21,o
WorkingMode OptionList r - - - 21,o
[PaymentCtrlr]
Enabled boolean rw true - - 21,o
Problem boolean r false - - 21,o
AuthorizeDirectPayment boolean rw false - - 21,o
AuthorizationAmount decimal rw 50 - 0.. 21,o
IncrementalAuthorizationAmount decimal rw 0 - 0.. 21,o
IncrementalAuthorizationThreshold decimal rw - - 0.. 21,o
PaymentDetails MemberList rw - - - 21,o
SettlementByCSMS boolean rw false - - 21,o
ReceiptServerUrl string rw - - ..2000 21,o
ReceiptByCSMS boolean rw false - - 21,o
Merchant[Id] string rw - - - 21,o
Merchant[TaxId] string rw - - - 21,o
Merchant[Name] string rw - - - 21,o
Merchant[Address] string rw - - - 21,o
Merchant[City] string rw - - - 21,o
TerminalID string r - - - 21,o
PaymentServiceProvider string r - - - 21,o
VendorName string r - - - 21,o
Model string r - - - 21,o
SerialNumber string r - - - 21,o
FirmwareVersion string r - - - 21,o
IMSI string r - - - 21,o
ICCID string r - - - 21,o
Connected boolean r true - - 21,o
[WebPaymentsCtrlr]
Enabled boolean rw false - - 21,o
URLTemplate string rw - - ..2000 21,o
URLParameters MemberList r maxtime,maxenergy,maxcost - = 21,o
TOTPVersion OptionList rw v1 - = 21,o
RoamingEvseId string rw - - ..255 21,o
ValidityTime integer rw 30 s 6..3600 21,o
SharedSecret string w - - 1..255 21,o
Length integer rw 8 - 6..64 21,o
QRCodeQuality OptionList rw Medium - Low,Medium,Quartile,High 21,o
"""


_ACCESS: Final[Mapping[str, Mutability]] = {"r": "ReadOnly", "w": "WriteOnly", "rw": "ReadWrite"}
_PER_EVSE: Final = frozenset(
    {
        "EVSE",
        "ConnectedEV",
        "DataCollector",
        "FiscalMetering",
        "CPPWMController",
        "ACDERCtrlr",
        "DCDERCtrlr",
        "WebPaymentsCtrlr.RoamingEvseId",
    }
)
_OF_MODES: Final = frozenset(
    f"V2XChargingCtrlr.Tx{name}" for name in ("StartedMeasurands", "UpdatedMeasurands", "EndedMeasurands")
)
"""Variables that exist for each operation mode where energy can flow back (Q01.FR.33 to .35)."""
_PER_CONNECTOR: Final = frozenset({"Connector", "ConnectorPlugRetentionLock"})
_PER_SLOT: Final = frozenset({"NetworkConfiguration"})

SLOTS: Final = (1, 2, 3, 4)
"""Slots for network profiles (B09.FR.06)."""


class ConnectorLayout(msgspec.Struct, frozen=True, kw_only=True):
    """A connector: its OCPP type, and whether it has a fixed cable."""

    connector_type: str = "cCCS2"
    fixed_cable: bool = True


class EvseLayout(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE: its connectors 1, 2, ..., its maximum charging and discharging power (W), its phases (0: direct
    current), its voltage between phase and neutral, and its name towards vehicles (EVSEID), if known."""

    connectors: tuple[ConnectorLayout, ...] = (ConnectorLayout(),)
    evse_id: str = ""
    max_power_w: int = 150_000
    max_discharge_w: int = 0
    phases: int = 0
    line_v: float = 230.0
    phase_rotation: str = ""
    """The feeder's phases (R, S, T) of its own L1, L2 and L3, such as STR; empty if not known (PhaseRotation)."""
    switches_phases: bool = False
    """Whether it changes from three phases to one and back while a vehicle is connected (Phases3to1)."""
    selects_phase: bool = False
    """Whether it can also choose which one (ACPhaseSwitchingSupported)."""


class TerminalLayout(msgspec.Struct, frozen=True, kw_only=True):
    """A payment terminal. `details` are the types of appendix 6.2 that it can report for a payment, `incremental`
    whether it can increase the reserved amount later (C23)."""

    details: tuple[str, ...] = ("PaymentBrand", "CardBin", "CardLast4Digits")
    incremental: bool = False
    terminal_id: str = ""
    provider: str = ""
    vendor: str = ""
    model: str = ""
    serial_number: str = ""
    firmware: str = ""


class StationLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What a station consists of. `optional` names further standard components or variables (`CustomizationCtrlr`,
    `ElectricalFeed.ACVoltage`) that it has; values are set with `DeviceModel.put`."""

    evses: tuple[EvseLayout, ...] = (EvseLayout(),)
    vendor: str = "v2g-engine"
    model: str = "DC_BPT"
    serial_number: str | None = None
    firmware: str = "0.1.0"
    supply_phases: int = 3
    optional: tuple[str, ...] = ()
    terminal: TerminalLayout | None = None


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable. `values` are the choices of a list; `low` and `high` bound numbers or a string's length."""

    component: str
    component_instance: str | None = None
    name: str
    instance: str | None = None
    evse: EVSE | None = None
    data_type: DataType = "string"
    mutability: Mutability = "ReadOnly"
    default: str = ""
    unit: str | None = None
    values: str | None = None
    low: int | None = None
    high: int | None = None
    attributes: tuple[AttributeType, ...] = ("Actual",)
    only: Version | None = None
    optional: bool = False

    @property
    def key(self) -> str:
        """The key of its value: `Connector#1.2.Available`, `X.Name[instance]`, `X[instance].Name`."""
        return key_of(self.component, self.name, self.component_instance, instance=self.instance, evse=self.evse)


def key_of(
    component: str, name: str, part: str | None = None, *, instance: str | None = None, evse: EVSE | None = None
) -> str:
    """Return the key of a variable; `part` is the instance of its component."""
    place = f"[{part}]" if part else ""
    if evse is not None:
        place += f"#{evse.id}" + (f".{evse.connector_id}" if evse.connector_id is not None else "")
    return f"{component}{place}.{name}" + (f"[{instance}]" if instance else "")


@cache
def catalog() -> tuple[Variable, ...]:
    """Return all variables that the standard defines for particular components, without places."""
    found: list[Variable] = []
    component = ""
    for line in (DECLARED + OPTIONAL).split("\n"):
        if line.startswith("["):
            component = line.strip("[]")
        elif line:
            found.append(_declared(component, line))
    return tuple(found)


@cache
def generic() -> Mapping[str, Variable]:
    """Return the variables that any physical component may have, by name."""
    lines = (line.split() for line in GENERIC.strip().split("\n"))
    return {
        name: Variable(
            component="", name=name, data_type=cast("DataType", type_), unit=None if unit == "-" else unit,
            only="2.1" if flags == "21" else None, optional=True,
        )
        for name, type_, unit, flags in lines
    }  # fmt: skip


PHYSICAL_COMPONENTS: Final = frozenset(PHYSICAL.split())


def _declared(component: str, line: str) -> Variable:
    """Parse one line of the declaration."""
    name, type_, access, default, unit, bounds, flags = line.split()
    name, _, instance = name.rstrip("]").partition("[")
    default = WORDS.get(default, default)
    default = "" if default == "-" else default
    bounds = WORDS.get(bounds, bounds)
    low = high = values = None
    if ".." in bounds:
        low, high = (int(part) if part else None for part in bounds.split(".."))
    elif bounds != "-":
        values = default if bounds == "=" else bounds
    words = flags.split(",")
    attributes = tuple(word for word in words if word in get_args(AttributeType))
    return Variable(
        component=component,
        name=name,
        instance=instance or None,
        data_type=cast("DataType", type_),
        mutability=_ACCESS[access],
        default=default,
        unit=None if unit == "-" else unit,
        values=values,
        low=low,
        high=high,
        attributes=("Actual", *cast("tuple[AttributeType, ...]", attributes)),
        only="2.1" if "21" in words else "2.0.1" if "201" in words else None,
        optional="o" in words,
    )


@cache
def station_variables(layout: StationLayout) -> tuple[Variable, ...]:
    """Return the variables of a station, each at its place, with values from the layout."""
    found: list[Variable] = []
    wanted = frozenset(layout.optional)
    if any(evse.max_discharge_w for evse in layout.evses):
        wanted |= _OF_MODES
    for variable in _for_every_mode(catalog()):
        if variable.component == "PaymentCtrlr":
            if layout.terminal is not None and (layout.terminal.incremental or "Incremental" not in variable.name):
                # a variable of PaymentCtrlr with the terminal's values
                terminal = layout.terminal
                announced = {
                    "PaymentDetails": ",".join(terminal.details),
                    "TerminalID": terminal.terminal_id,
                    "PaymentServiceProvider": terminal.provider,
                    "VendorName": terminal.vendor,
                    "Model": terminal.model,
                    "SerialNumber": terminal.serial_number,
                    "FirmwareVersion": terminal.firmware,
                }
                default = announced.get(variable.name, variable.default)
                values = default if variable.name == "PaymentDetails" else variable.values
                found.append(msgspec.structs.replace(variable, default=default, values=values))
            continue
        if variable.optional and not {variable.component, f"{variable.component}.{variable.name}"} & wanted:
            continue
        if variable.component in _PER_SLOT:
            found += [msgspec.structs.replace(variable, component_instance=str(slot)) for slot in SLOTS]
            continue
        places: Iterable[EVSE | None] = (None,)
        if {variable.component, f"{variable.component}.{variable.name}"} & _PER_EVSE:
            places = [
                EVSE(id=number)
                for number, evse in enumerate(layout.evses, 1)
                if evse.phase_rotation or variable.name != "PhaseRotation"
            ]
        elif variable.component in _PER_CONNECTOR:
            places = [
                EVSE(id=number, connector_id=connector)
                for number, evse in enumerate(layout.evses, 1)
                for connector in range(1, len(evse.connectors) + 1)
            ]
        found += [_placed(variable, place, layout) for place in places]
    for name in layout.optional:
        component, _, variable_name = name.partition(".")
        if component in PHYSICAL_COMPONENTS and variable_name in generic():
            found.append(msgspec.structs.replace(generic()[variable_name], component=component))
    return tuple({variable.key: variable for variable in found}.values())


def _for_every_mode(variables: Iterable[Variable]) -> Iterable[Variable]:
    """Repeat each variable that exists per operation mode for every mode."""
    for variable in variables:
        if variable.instance == "<OperationMode>":
            yield from (msgspec.structs.replace(variable, instance=mode) for mode in get_args(OperationMode))
        else:
            yield variable


def _placed(variable: Variable, place: EVSE | None, layout: StationLayout) -> Variable:
    """Return a variable at its place with its own bounds and default."""
    default, high = variable.default, variable.high
    evse = layout.evses[place.id - 1] if place else None
    match (variable.component, variable.name):
        case ("ChargingStation", "Model"):
            default = layout.model
        case ("ChargingStation", "VendorName"):
            default = layout.vendor
        case ("ChargingStation", "SupplyPhases"):
            default = str(layout.supply_phases)
        case ("SmartChargingCtrlr", "Phases3to1"):
            default = str(any(each.switches_phases for each in layout.evses)).lower()
        case ("SmartChargingCtrlr", "ACPhaseSwitchingSupported"):
            default = str(any(each.selects_phase for each in layout.evses)).lower()
        case (_, "SupplyPhases") if evse:
            default = str(evse.phases)
        case ("EVSE", "PhaseRotation") if evse:
            default = evse.phase_rotation
        case ("EVSE", "Power") if evse:
            high = evse.max_power_w
        case ("EVSE", "DischargePower") if evse:
            high = evse.max_discharge_w
        case ("Connector", "ConnectorType") if evse and place and place.connector_id:
            default = evse.connectors[place.connector_id - 1].connector_type
    return msgspec.structs.replace(variable, evse=place, default=default, high=high)
