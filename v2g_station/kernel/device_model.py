"""The device model of a charging station: reading, writing and reporting its variables (B05-B08).

`DeviceModel` holds the values. Values set by the CSMS are passed to `keep`, all changes to `changed`, which feeds the
monitors. Names are case-insensitive.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.base import Component, StatusInfo
from v2g.ocpp.messages.base import Variable as VariableName
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_station.kernel.layout import Variable, key_of

ITEMS_PER_MESSAGE: Final = 50

Check = Callable[[str], StatusInfo | ocpp.SetVariableStatus | None]
"""Checks a value set by the CSMS: None to accept it, else the reason, or `RebootRequired`."""


@lru_cache(maxsize=16)
def _by_key(variables: tuple[Variable, ...]) -> Mapping[str, Variable]:
    """Return variables by lower-case key; stations of the same layout share them."""
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
        """Values computed on each read, by lower-case key."""
        self.checks: dict[str, Check] = {}
        """Checks of values set by the CSMS, by lower-case key."""
        self.after: dict[str, Callable[[str], None]] = {}
        """Called after the CSMS has set a value, by lower-case key."""
        self.component_checks: dict[str, Callable[[Variable, str], StatusInfo | ocpp.SetVariableStatus | None]] = {}
        """Checks of all values of a component set by the CSMS, by component name."""
        self.component_after: dict[str, Callable[[Variable], None]] = {}
        """Called after the CSMS has set any value of a component, by component name."""

    # -- for the station itself

    def text(self, key: str) -> str:
        """Return a variable's value. KeyError if the station does not have it."""
        low = key.lower()
        if low in self.live:
            return self.live[low]()
        return self._values.get(low, self._variables[low].default)

    def flag(self, key: str) -> bool:
        """Return the value of a boolean variable."""
        return self.text(key) == "true"

    def number(self, key: str) -> float:
        """Return the value of a numeric variable, 0 if unset."""
        return float(self.text(key) or 0)

    def members(self, key: str) -> tuple[str, ...]:
        """Return the members of a list variable."""
        return tuple(part for part in self.text(key).split(",") if part)

    def has(self, key: str) -> bool:
        """Return whether the station has a variable."""
        return key.lower() in self._variables

    def variable(self, key: str) -> Variable:
        """Return a variable. KeyError if the station does not have it."""
        return self._variables[key.lower()]

    def put(self, key: str, value: str, *, durable: bool = False) -> None:
        """Change a value internally. KeyError if the station does not have the variable."""
        variable = self._variables[key.lower()]
        old = self.text(key)
        if old != value:
            self._values[key.lower()] = value
            if durable:
                self._keep(variable.key, value)
            self.changed(variable, old, value)

    def fix(self, key: str, value: str) -> None:
        """Let a variable that is not a number have this value only, whatever an earlier version has stored: the CSMS
        may set it to the same, a list in any order."""
        self.put(key, value)
        variable = self._variables[key.lower()]
        if variable.values is not None:
            variable = msgspec.structs.replace(variable, values=value)
            self._variables = MappingProxyType({**self._variables, key.lower(): variable})
        other = StatusInfo(reason_code="UnsupportedParam", additional_info=f"this charger has {value}")
        self.checks[key.lower()] = lambda wanted: None if set(wanted.split(",")) == set(value.split(",")) else other

    def target(self, variable: Variable) -> str:
        """Return a variable's Target, "" if unset."""
        return self._values.get(_slot(variable, "Target"), "")

    def aim(self, key: str, value: str) -> None:
        """Change a variable's Target internally and run its monitors."""
        variable = self._variables[key.lower()]
        if self.target(variable) != value:
            self._values[_slot(variable, "Target")] = value
            self.changed(variable, self.text(key), self.text(key))

    def variables(self, version: Version) -> list[Variable]:
        """Return all variables of an OCPP version."""
        return [variable for variable in self._variables.values() if variable.only in (None, version)]

    def find(self, component: Component, name: VariableName, version: Version) -> Variable | str:
        """Return a variable, or the unknown part of its name: `component` or `variable`."""
        key = key_of(component.name, name.name, component.instance, instance=name.instance, evse=component.evse)
        found = self._variables.get(key.lower())
        if found is not None and found.only in (None, version):
            return found
        known = any(_is_place(variable, component, exactly=True) for variable in self.variables(version))
        return "variable" if known else "component"

    # -- for the CSMS

    def get(self, wanted: ocpp.GetVariableData, version: Version) -> ocpp.GetVariableResult:
        """Read one variable (B06)."""
        found = self.find(wanted.component, wanted.variable, version)
        attribute = wanted.attribute_type or "Actual"
        result = ocpp.GetVariableResult(
            attribute_status="Accepted",
            attribute_type=attribute,  # B06.FR.11
            component=wanted.component,
            variable=wanted.variable,
        )
        if isinstance(found, str):
            status: ocpp.SetVariableStatus = "UnknownComponent" if found == "component" else "UnknownVariable"
            return msgspec.structs.replace(result, attribute_status=status)
        if attribute not in found.attributes:
            return msgspec.structs.replace(result, attribute_status="NotSupportedAttributeType")
        if found.mutability == "WriteOnly":
            return msgspec.structs.replace(result, attribute_status="Rejected")  # B06.FR.09
        return msgspec.structs.replace(result, attribute_value=self._attribute(found, attribute))

    def set(self, wanted: ocpp.SetVariableData, version: Version) -> ocpp.SetVariableResult:
        """Write one variable, if allowed (B05)."""
        found = self.find(wanted.component, wanted.variable, version)
        attribute = wanted.attribute_type or "Actual"
        verdict: StatusInfo | ocpp.SetVariableStatus | None
        if isinstance(found, str):
            verdict = "UnknownComponent" if found == "component" else "UnknownVariable"
        elif attribute not in found.attributes:
            verdict = "NotSupportedAttributeType"
        elif found.mutability == "ReadOnly":
            verdict = StatusInfo(reason_code="ReadOnly")
        else:
            verdict = _unacceptable(found, wanted.attribute_value)
            verdict = verdict or self._check(found, wanted.attribute_value)
            if verdict is None or verdict == "RebootRequired":
                self._write(found, attribute, wanted.attribute_value)
        status: ocpp.SetVariableStatus = "Rejected" if isinstance(verdict, StatusInfo) else verdict or "Accepted"
        return ocpp.SetVariableResult(
            attribute_status=status,
            attribute_status_info=verdict if isinstance(verdict, StatusInfo) else None,
            attribute_type=attribute,  # B05.FR.12
            component=wanted.component,
            variable=wanted.variable,
        )

    def _check(self, variable: Variable, value: str) -> StatusInfo | ocpp.SetVariableStatus | None:
        if (check := self.checks.get(variable.key.lower())) is not None:
            return check(value)
        component_check = self.component_checks.get(variable.component)
        return component_check(variable, value) if component_check is not None else None

    def report(self, base: ocpp.ReportBase, version: Version) -> tuple[ocpp.ReportData, ...]:
        """Return a base report: everything, what is configurable, or what concerns availability (B07)."""
        chosen = self.variables(version)
        if base == "ConfigurationInventory":
            chosen = [variable for variable in chosen if variable.mutability != "ReadOnly"]
        elif base == "SummaryInventory":
            chosen = [variable for variable in chosen if variable.name in ("AvailabilityState", "Problem")]
        return tuple(self._report(variable) for variable in chosen)

    def select(
        self, wanted: Iterable[tuple[Component, VariableName | None]], criteria: Iterable[str], version: Version
    ) -> tuple[ocpp.ReportData, ...]:
        """Return the report of named components and variables, of components that meet any criterion (B08)."""
        return tuple(self._report(v) for v in self.chosen(wanted, version) if self._meets(v, criteria))

    def chosen(self, wanted: Iterable[tuple[Component, VariableName | None]], version: Version) -> list[Variable]:
        """Return the named variables, or all if none is named (B08.FR.20 to .25)."""
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
        key = key_of(variable.component, criterion, variable.component_instance, evse=variable.evse)
        return self.text(key) == "true" if self.has(key) else criterion != "Problem"

    def _attribute(self, variable: Variable, attribute: ocpp.AttributeType) -> str:
        value = self.text(variable.key) if attribute == "Actual" else self._values.get(_slot(variable, attribute), "")
        return value[:2500]

    def _write(self, variable: Variable, attribute: ocpp.AttributeType, value: str) -> None:
        key = variable.key if attribute == "Actual" else _slot(variable, attribute)
        old = self.text(variable.key)
        self._values[key.lower()] = value
        self._keep(key, value)
        if attribute == "Actual":
            if old != value:
                self.changed(variable, old, value)
            if after := self.after.get(key.lower()):
                after(value)
            if listener := self.component_after.get(variable.component):
                listener(variable)
        elif attribute == "Target":
            self.changed(variable, old, old)

    def _report(self, variable: Variable) -> ocpp.ReportData:
        return ocpp.ReportData(
            component=component_of(variable),
            variable=VariableName(name=variable.name, instance=variable.instance),
            variable_attribute=tuple(
                ocpp.VariableAttribute(
                    type=attribute,
                    value=None if variable.mutability == "WriteOnly" else self._attribute(variable, attribute),
                    mutability=variable.mutability,
                    persistent=variable.mutability != "ReadOnly",
                )
                for attribute in variable.attributes
            ),
            variable_characteristics=ocpp.VariableCharacteristics(
                unit=variable.unit,
                data_type=variable.data_type,
                min_limit=variable.low,
                max_limit=variable.high,
                values_list=variable.values,
                supports_monitoring=True,
            ),
        )


def component_of(variable: Variable) -> Component:
    """Return a variable's component as an OCPP type."""
    return Component(name=variable.component, instance=variable.component_instance, evse=variable.evse)


def _slot(variable: Variable, attribute: ocpp.AttributeType) -> str:
    return f"{variable.key}@{attribute}".lower()


def _is_place(variable: Variable, component: Component, *, exactly: bool) -> bool:
    """Return whether a variable belongs to a component. Omitted parts of the component match any."""
    if variable.component.lower() != component.name.lower():
        return False
    part = component.instance or None
    if (exactly or part) and (part or "").lower() != (variable.component_instance or "").lower():
        return False  # B08.FR.20 to .25: an omitted part matches any
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
    """Return why a text is not a valid value of a variable (B05.FR.07, .08), or None."""
    match variable.data_type:
        case "integer" | "decimal":
            whole, _, fraction = value.removeprefix("-").partition(".")
            digits = (
                value.isascii() and len(value) <= 15 and whole.isdecimal() and (not fraction or fraction.isdecimal())
            )
            if not digits or value.endswith(".") or (variable.data_type == "integer" and "." in value):
                return StatusInfo(reason_code="InvalidValue")
            number = float(value)
            low, high = variable.low, variable.high
            if (low is not None and number < low) or (high is not None and number > high):
                return StatusInfo(reason_code="ValueOutOfRange")
            return None
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


def _is_time(value: str) -> bool:
    try:
        parse_time(value)
    except OcppError:
        return False
    return True
