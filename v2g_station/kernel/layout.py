"""What a station consists of, and the standard variables that this implies (part 2, appendices 3)."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, cast, get_args

import msgspec

from v2g.ocpp.messages.base import EVSE, OperationMode
from v2g.ocpp.messages.provisioning import AttributeType, DataType, Mutability
from v2g.ocpp.routes import Version

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

V2X: Final = "V2XChargingCtrlr.Enabled"
"""Whether vehicles may discharge: by it the CSMS turns that off for the whole station."""

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
    lists: dict[str, str] = {}
    component = ""
    for line in _lines("variables.txt"):
        if line.startswith("["):
            component = line.strip("[]")
        elif line.startswith("$"):
            name, lists[name] = line.split()
        else:
            found.append(_declared(component, line, lists))
    return tuple(found)


def _lines(name: str) -> Iterator[str]:
    """Yield the lines of a table beside this module."""
    for line in (files("v2g_station.kernel") / name).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


@cache
def generic() -> Mapping[str, Variable]:
    """Return the variables that any physical component may have, by name."""
    lines = map(str.split, _lines("generic_variables.txt"))
    return {
        name: Variable(
            component="", name=name, data_type=cast("DataType", type_), unit=None if unit == "-" else unit,
            only="2.1" if flags == "21" else None, optional=True,
        )
        for name, type_, unit, flags in lines
    }  # fmt: skip


PHYSICAL_COMPONENTS: Final = frozenset(PHYSICAL.split())


def _declared(component: str, line: str, lists: Mapping[str, str]) -> Variable:
    """Parse one line of the declaration."""
    name, type_, access, default, unit, bounds, flags = line.split()
    name, _, instance = name.rstrip("]").partition("[")
    default = lists.get(default, default)
    default = "" if default == "-" else default
    bounds = lists.get(bounds, bounds)
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
