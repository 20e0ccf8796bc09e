"""The device model of a charging station: which variables it has, and how they are read, written, reported (B05-B08).

`DeviceModel` holds the values. What the CSMS sets is handed to `keep`, what anybody changes to `changed`, from which
monitors live. Names are case-insensitive.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Final, cast, get_args

import msgspec

from secc.core.station.variables import DECLARED, GENERIC, PHYSICAL, WORDS
from v2g.errors import OcppError
from v2g.ocpp.messages.base import EVSE, StatusInfo
from v2g.ocpp.messages.device_model import Component
from v2g.ocpp.messages.device_model import Variable as VariableName
from v2g.ocpp.messages.provisioning import (
    AttributeType,
    DataType,
    GetVariableData,
    GetVariableResult,
    Mutability,
    ReportBase,
    ReportData,
    SetVariableData,
    SetVariableResult,
    SetVariableStatus,
    VariableAttribute,
    VariableCharacteristics,
)
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time

ITEMS_PER_MESSAGE: Final = 50
_ACCESS: Final[Mapping[str, Mutability]] = MappingProxyType({"r": "ReadOnly", "w": "WriteOnly", "rw": "ReadWrite"})
_PER_EVSE: Final = frozenset({"EVSE", "ConnectedEV", "FiscalMetering", "CPPWMController"})
_PER_CONNECTOR: Final = frozenset({"Connector", "ConnectorPlugRetentionLock"})


class ConnectorLayout(msgspec.Struct, frozen=True, kw_only=True):
    """A connector: its type in OCPP's words, and whether its cable hangs on the station."""

    connector_type: str = "cCCS2"
    fixed_cable: bool = True


class EvseLayout(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE: its connectors 1, 2, ..., the most it gives and takes (W), and its phases (0: direct current)."""

    connectors: tuple[ConnectorLayout, ...] = (ConnectorLayout(),)
    max_power_w: int = 150_000
    max_discharge_w: int = 0
    phases: int = 0


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What a station consists of. `optional` names further components or variables (`CustomizationCtrlr`,
    `ElectricalFeed.ACVoltage`) of the standard that it has; values are set with `DeviceModel.put`."""

    evses: tuple[EvseLayout, ...] = (EvseLayout(),)
    vendor: str = "v2g-engine"
    model: str = "DC_BPT"
    serial_number: str | None = None
    firmware: str = "0.1.0"
    supply_phases: int = 3
    optional: tuple[str, ...] = ()


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One variable. `values` are the choices of a list; `low` and `high` bound numbers, or a string's length."""

    component: str
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
    monitored: bool = False
    only: Version | None = None
    optional: bool = False

    @property
    def key(self) -> str:
        """The name under which its value is kept, such as `Connector#1.2.Available` or `X.Name[instance]`."""
        return key_of(self.component, self.name, instance=self.instance, evse=self.evse)


def key_of(component: str, name: str, *, instance: str | None = None, evse: EVSE | None = None) -> str:
    """Return the key of a variable."""
    place = ""
    if evse is not None:
        place = f"#{evse.id}" + (f".{evse.connector_id}" if evse.connector_id is not None else "")
    return f"{component}{place}.{name}" + (f"[{instance}]" if instance else "")


@cache
def catalog() -> tuple[Variable, ...]:
    """Return all variables that the standard names for particular components, without their places."""
    found: list[Variable] = []
    component = ""
    for line in DECLARED.split("\n"):
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
    """Read one line of the declaration."""
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
        monitored="m" in words,
        only="2.1" if "21" in words else "2.0.1" if "201" in words else None,
        optional="o" in words,
    )


@cache
def station_variables(layout: Layout) -> tuple[Variable, ...]:
    """Return the variables of a station, each at its place, with what the layout says about them."""
    found: list[Variable] = []
    wanted = frozenset(layout.optional)
    for variable in catalog():
        if variable.optional and not {variable.component, f"{variable.component}.{variable.name}"} & wanted:
            continue
        places: Iterable[EVSE | None] = (None,)
        if variable.component in _PER_EVSE:
            places = [EVSE(id=number) for number in range(1, len(layout.evses) + 1)]
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
            found.append(msgspec.structs.replace(generic()[variable_name], component=component, monitored=True))
    return tuple({variable.key: variable for variable in found}.values())


def _placed(variable: Variable, place: EVSE | None, layout: Layout) -> Variable:
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
        case (_, "SupplyPhases") if evse:
            default = str(evse.phases)
        case ("EVSE", "Power") if evse:
            high = evse.max_power_w
        case ("EVSE", "DischargePower") if evse:
            high = evse.max_discharge_w
        case ("Connector", "ConnectorType") if evse and place and place.connector_id:
            default = evse.connectors[place.connector_id - 1].connector_type
    return msgspec.structs.replace(variable, evse=place, default=default, high=high)


Check = Callable[[str], StatusInfo | SetVariableStatus | None]
"""Judges a value that the CSMS sets: None for yes, why not, or `RebootRequired`."""


@lru_cache(maxsize=16)
def _by_key(variables: tuple[Variable, ...]) -> Mapping[str, Variable]:
    """Return variables by key in small letters; stations of the same layout share them."""
    return MappingProxyType({variable.key.lower(): variable for variable in variables})


class DeviceModel:
    """The variables of a station and their values."""

    def __init__(
        self,
        variables: Iterable[Variable],
        stored: Mapping[str, str] = MappingProxyType({}),
        *,
        keep: Callable[[str, str], None] = lambda _key, _value: None,
        changed: Callable[[Variable, str, str], None] = lambda _variable, _old, _new: None,
    ) -> None:
        self._variables = _by_key(tuple(variables))
        self._values: dict[str, str] = {key.lower(): value for key, value in stored.items()}
        self._keep = keep
        self.changed = changed
        self.live: dict[str, Callable[[], str]] = {}
        """Values that are worked out whenever they are read, by key in small letters."""
        self.checks: dict[str, Check] = {}
        """Judges of values that the CSMS sets, by key in small letters."""
        self.after: dict[str, Callable[[str], None]] = {}
        """What follows once a value was set by the CSMS, by key in small letters."""

    # -- for the station itself

    def text(self, key: str) -> str:
        """Return a variable's value. KeyError for one that the station has not."""
        low = key.lower()
        if low in self.live:
            return self.live[low]()
        return self._values.get(low, self._variables[low].default)

    def flag(self, key: str) -> bool:
        """Return a boolean's value."""
        return self.text(key) == "true"

    def number(self, key: str) -> float:
        """Return a number's value, 0 while it has none."""
        return float(self.text(key) or 0)

    def members(self, key: str) -> tuple[str, ...]:
        """Return what a list holds."""
        return tuple(part for part in self.text(key).split(",") if part)

    def has(self, key: str) -> bool:
        """Return whether the station has a variable."""
        return key.lower() in self._variables

    def variable(self, key: str) -> Variable:
        """Return a variable. KeyError for one that the station has not."""
        return self._variables[key.lower()]

    def put(self, key: str, value: str, *, durable: bool = False) -> None:
        """Change a value from inside; KeyError for a variable that the station has not."""
        variable = self._variables[key.lower()]
        old = self.text(key)
        if old != value:
            self._values[key.lower()] = value
            if durable:
                self._keep(variable.key, value)
            self.changed(variable, old, value)

    def variables(self, version: Version) -> list[Variable]:
        """Return all variables that a version knows."""
        return [variable for variable in self._variables.values() if variable.only in (None, version)]

    def find(self, component: Component, name: VariableName, version: Version) -> Variable | str:
        """Return a variable, or which part of its name is unknown: `component` or `variable`."""
        key = key_of(component.name, name.name, instance=name.instance, evse=component.evse).lower()
        found = self._variables.get(key)
        if found is not None and not component.instance and found.only in (None, version):
            return found
        known = any(_is_place(variable, component, exactly=True) for variable in self.variables(version))
        return "variable" if known else "component"

    # -- for the CSMS

    def get(self, wanted: GetVariableData, version: Version) -> GetVariableResult:
        """Read one variable (B06)."""
        found = self.find(wanted.component, wanted.variable, version)
        attribute = wanted.attribute_type or "Actual"
        result = GetVariableResult(
            attribute_status="Accepted",
            attribute_type=attribute,  # B06.FR.11
            component=wanted.component,
            variable=wanted.variable,
        )
        if isinstance(found, str):
            status: SetVariableStatus = "UnknownComponent" if found == "component" else "UnknownVariable"
            return msgspec.structs.replace(result, attribute_status=status)
        if attribute not in found.attributes:
            return msgspec.structs.replace(result, attribute_status="NotSupportedAttributeType")
        if found.mutability == "WriteOnly":
            return msgspec.structs.replace(result, attribute_status="Rejected")  # B06.FR.09
        return msgspec.structs.replace(result, attribute_value=self._attribute(found, attribute))

    def set(self, wanted: SetVariableData, version: Version) -> SetVariableResult:
        """Write one variable, if that is allowed (B05)."""
        found = self.find(wanted.component, wanted.variable, version)
        attribute = wanted.attribute_type or "Actual"
        verdict: StatusInfo | SetVariableStatus | None
        if isinstance(found, str):
            verdict = "UnknownComponent" if found == "component" else "UnknownVariable"
        elif attribute not in found.attributes:
            verdict = "NotSupportedAttributeType"
        elif found.mutability == "ReadOnly":
            verdict = StatusInfo(reason_code="ReadOnly")
        else:
            verdict = _unacceptable(found, wanted.attribute_value)
            check = self.checks.get(found.key.lower())
            if verdict is None and check is not None:
                verdict = check(wanted.attribute_value)
            if verdict is None or verdict == "RebootRequired":
                self._write(found, attribute, wanted.attribute_value)
        status: SetVariableStatus = "Rejected" if isinstance(verdict, StatusInfo) else verdict or "Accepted"
        return SetVariableResult(
            attribute_status=status,
            attribute_status_info=verdict if isinstance(verdict, StatusInfo) else None,
            attribute_type=attribute,  # B05.FR.12
            component=wanted.component,
            variable=wanted.variable,
        )

    def report(self, base: ReportBase, version: Version) -> tuple[ReportData, ...]:
        """Return the report of a base: everything, or what can be configured, or what tells of availability (B07)."""
        chosen = self.variables(version)
        if base == "ConfigurationInventory":
            chosen = [variable for variable in chosen if variable.mutability != "ReadOnly"]
        elif base == "SummaryInventory":
            chosen = [variable for variable in chosen if variable.name in ("AvailabilityState", "Problem")]
        return tuple(self._report(variable) for variable in chosen)

    def select(
        self, wanted: Iterable[tuple[Component, VariableName | None]], criteria: Iterable[str], version: Version
    ) -> tuple[ReportData, ...]:
        """Return the report of named components and variables, of components that meet any criterion (B08)."""
        return tuple(self._report(v) for v in self.chosen(wanted, version) if self._meets(v, criteria))

    def chosen(self, wanted: Iterable[tuple[Component, VariableName | None]], version: Version) -> list[Variable]:
        """Return the variables that are named, all of them when none is (B08.FR.20 to .25)."""
        wanted = tuple(wanted)
        return [
            variable
            for variable in self.variables(version)
            if not wanted or any(_is_meant(variable, component, name) for component, name in wanted)
        ]

    def _meets(self, variable: Variable, criteria: Iterable[str]) -> bool:
        """Return whether a variable's component meets one of the criteria (B08.FR.07 to .10, .13)."""
        criteria = tuple(criteria)
        return not criteria or any(self._component_is(variable, criterion) for criterion in criteria)

    def _component_is(self, variable: Variable, criterion: str) -> bool:
        key = key_of(variable.component, criterion, evse=variable.evse)
        return self.text(key) == "true" if self.has(key) else criterion != "Problem"

    def _attribute(self, variable: Variable, attribute: AttributeType) -> str:
        value = self.text(variable.key) if attribute == "Actual" else self._values.get(_slot(variable, attribute), "")
        return value[:2500]

    def _write(self, variable: Variable, attribute: AttributeType, value: str) -> None:
        key = variable.key if attribute == "Actual" else _slot(variable, attribute)
        old = self.text(variable.key)
        self._values[key.lower()] = value
        self._keep(key, value)
        if attribute == "Actual":
            if old != value:
                self.changed(variable, old, value)
            if after := self.after.get(key.lower()):
                after(value)

    def _report(self, variable: Variable) -> ReportData:
        return ReportData(
            component=Component(name=variable.component, evse=variable.evse),
            variable=VariableName(name=variable.name, instance=variable.instance),
            variable_attribute=tuple(
                VariableAttribute(
                    type=attribute,
                    value=None if variable.mutability == "WriteOnly" else self._attribute(variable, attribute),
                    mutability=variable.mutability,
                    persistent=variable.mutability != "ReadOnly",
                )
                for attribute in variable.attributes
            ),
            variable_characteristics=VariableCharacteristics(
                unit=variable.unit,
                data_type=variable.data_type,
                min_limit=variable.low,
                max_limit=variable.high,
                values_list=variable.values,
                supports_monitoring=True,
            ),
        )


def _slot(variable: Variable, attribute: AttributeType) -> str:
    return f"{variable.key}@{attribute}".lower()


def _is_place(variable: Variable, component: Component, *, exactly: bool) -> bool:
    """Return whether a variable stands at a component. Parts of the place that are left out mean any."""
    if variable.component.lower() != component.name.lower() or component.instance:
        return False
    wanted, place = component.evse, variable.evse
    if exactly or (wanted is not None and wanted.connector_id is not None):
        return wanted == place
    return wanted is None or (place is not None and place.id == wanted.id)


def _is_meant(variable: Variable, component: Component, name: VariableName | None) -> bool:
    if not _is_place(variable, component, exactly=False):
        return False
    if name is None:
        return True
    instance = name.instance.lower() if name.instance else None
    return variable.name.lower() == name.name.lower() and (
        instance is None or instance == (variable.instance or "").lower()
    )


def _unacceptable(variable: Variable, value: str) -> StatusInfo | None:
    """Return why a text is no value of a variable (B05.FR.07, .08), or None."""
    match variable.data_type:
        case "integer" | "decimal":
            return _unacceptable_number(variable, value)
        case "boolean":
            fine = value in ("true", "false")
        case "OptionList":
            fine = value in (variable.values or value).split(",")
        case "MemberList" | "SequenceList":
            parts = value.split(",") if value else []
            fine = variable.values is None or set(parts) <= set(variable.values.split(","))
            fine = fine and len(set(parts)) == len(parts)
        case "dateTime":
            fine = _is_time(value)
        case _:
            fine = (variable.low or 0) <= len(value) <= (2500 if variable.high is None else variable.high)
    return None if fine else StatusInfo(reason_code="InvalidValue")


def _unacceptable_number(variable: Variable, value: str) -> StatusInfo | None:
    whole, _, fraction = value.removeprefix("-").partition(".")
    digits = value.isascii() and len(value) <= 15 and whole.isdecimal() and (not fraction or fraction.isdecimal())
    if not digits or value.endswith(".") or (variable.data_type == "integer" and "." in value):
        return StatusInfo(reason_code="InvalidValue")
    number = float(value)
    low, high = variable.low, variable.high
    if (low is not None and number < low) or (high is not None and number > high):
        return StatusInfo(reason_code="ValueOutOfRange")
    return None


def _is_time(value: str) -> bool:
    try:
        parse_time(value)
    except OcppError:
        return False
    return True
