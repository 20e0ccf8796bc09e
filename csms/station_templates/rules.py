"""What a configuration template wants of which stations, and where a station differs from it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from csms.device_model.rules import VariableKey, is_secret
from v2g import typed_json
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import EVSE, Component, Variable
from v2g.ocpp.messages.provisioning import GetVariableData, SetVariableData

Name = Annotated[str, Meta(max_length=50)]
Texts = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=60)], ...], Meta(max_length=10_000)]
TemplateId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}\Z", examples=["depots"])]


class WantedValue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that an attribute of a variable should have, named as in OCPP; 0 and "" stand for none."""

    component: Annotated[str, Meta(min_length=1, max_length=50)]
    component_instance: Name = ""
    evse_id: Annotated[int, Meta(ge=0, le=10_000)] = 0
    connector_id: Annotated[int, Meta(ge=0, le=10_000)] = 0
    variable: Annotated[str, Meta(min_length=1, max_length=50)]
    variable_instance: Name = ""
    attribute: Literal["Actual", "Target", "MinSet", "MaxSet"] = "Actual"
    value: Annotated[str, Meta(max_length=2500)]

    @property
    def key(self) -> VariableKey:
        """Its attribute."""
        return VariableKey(*(getattr(self, name) for name in VariableKey.__struct_fields__))

    @property
    def _component(self) -> Component:
        evse = EVSE(id=self.evse_id, connector_id=self.connector_id or None) if self.evse_id else None
        return Component(name=self.component, instance=self.component_instance or None, evse=evse)

    @property
    def _variable(self) -> Variable:
        return Variable(name=self.variable, instance=self.variable_instance or None)

    @property
    def to_set(self) -> SetVariableData:
        """What sets it (B05)."""
        return SetVariableData(
            attribute_value=self.value,
            component=self._component,
            variable=self._variable,
            attribute_type=self.attribute,
        )

    @property
    def to_get(self) -> GetVariableData:
        """What reads it (B06)."""
        return GetVariableData(component=self._component, variable=self._variable, attribute_type=self.attribute)


class TemplateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values that stations should have which fit `sites`, `models` (such as `ACME Fast 150`) and `stations`; an empty
    one fits all."""

    sites: Texts = ()
    models: Texts = ()
    stations: Texts = ()
    values: Annotated[tuple[WantedValue, ...], Meta(min_length=1, max_length=200)]

    def fits(self, station_id: str, site_id: str, model: str) -> bool:
        given = ((self.sites, site_id), (self.models, model), (self.stations, station_id))
        return all(not wanted or each in wanted for wanted, each in given)

    def check(self) -> None:
        """Raise RefusedError for a variable that is named twice, or whose value is never stored."""
        keys = [each.key for each in self.values]
        lowered = [key.lowered for key in keys]
        for key in keys:
            name = f"{key.component}.{key.variable}"
            if lowered.count(key.lowered) > 1:
                raise RefusedError(f"{name} is named twice", reason="duplicate")
            if is_secret(key.variable):
                raise RefusedError(f"{name} is a secret, which is compared with nothing", reason="secret")


class StationTemplate(TemplateBody, frozen=True, kw_only=True):
    """A stored template; `version` counts its changes."""

    id: TemplateId
    version: int


DriftState = Literal["differs", "not reported", "after its next boot"]


class VariableDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A variable of a station that is not as its template wants; `actual` null: the station has not reported it."""

    key: VariableKey
    wanted: str
    actual: str | None
    state: DriftState


def drift(
    wanted: Sequence[WantedValue], reported: Mapping[VariableKey, tuple[str | None, str | None]]
) -> Iterable[VariableDrift]:
    """Yield what differs of a station that reported these values, each with that after its next boot, by lowered
    keys."""
    for each in wanted:
        actual, coming = reported.get(each.key.lowered, (None, None))
        if actual is not None and same(each.value, actual) and coming is None:
            continue
        state: DriftState = "differs" if actual is not None else "not reported"
        if coming is not None and same(each.value, coming):
            state = "after its next boot"
        yield VariableDrift(key=each.key, wanted=each.value, actual=actual, state=state)


_LINE: Final = re.compile(
    r"(\w+)(?:\[(?!EVSE \d)([^][]*)\])?(?:\[EVSE (\d{1,5})(?:\.(\d{1,5}))?\])?\.(\w+)(?:\[([^][]*)\])?"
    r"(?: (Target|MinSet|MaxSet))? *= *(.*)",
    re.ASCII,
)


def read_values(text: str) -> tuple[WantedValue, ...]:
    """Return the values in lines such as `OCPPCommCtrlr.HeartbeatInterval = 300`, named as `place_of` does. Raises
    RefusedError."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise RefusedError(f"line {number} is not Component.Variable = value", reason="line")
        component, instance, evse, connector, variable, kind, attribute, value = match.groups(default="")
        try:
            each = typed_json.convert(
                {
                    "component": component, "component_instance": instance, "evse_id": int(evse or 0),
                    "connector_id": int(connector or 0), "variable": variable, "variable_instance": kind,
                    "attribute": attribute or "Actual", "value": value,
                },
                WantedValue,
            )  # fmt: skip
        except msgspec.ValidationError as error:
            raise RefusedError(f"line {number}: {error}", reason="line") from None
        found.append(each)
    return tuple(found)


def place_of(key: VariableKey | WantedValue) -> str:
    """Return the name of an attribute for people: `Component[instance][EVSE 1.1].Variable[instance] MaxSet`."""
    component = f"{key.component}[{key.component_instance}]" if key.component_instance else key.component
    connector = f".{key.connector_id}" if key.connector_id else ""
    evse = f"[EVSE {key.evse_id}{connector}]" if key.evse_id else ""
    variable = f"{key.variable}[{key.variable_instance}]" if key.variable_instance else key.variable
    return f"{component}{evse}.{variable}" + (f" {key.attribute}" if key.attribute != "Actual" else "")


_WORDS: Final = frozenset({"true", "false"})


def same(wanted: str, actual: str) -> bool:
    """Return whether two values are the same: as text, number or truth value."""
    if wanted == actual:
        return True
    if {wanted.lower(), actual.lower()} <= _WORDS:
        return wanted.lower() == actual.lower()
    try:
        return Decimal(wanted) == Decimal(actual)
    except InvalidOperation:
        return False
