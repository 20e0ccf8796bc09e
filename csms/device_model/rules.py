"""The mirror of a station's device model: variables in its messages, and the sizes of requests."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Component, Variable
from v2g.ocpp.messages.diagnostics import EventData
from v2g.ocpp.messages.provisioning import GetVariableResult, ReportData, SetVariableData, SetVariableResult

UNKNOWN_LIMIT: Final = 10
"""Variables in one request to a station that has not reported its limit."""

_SECRET: Final = re.compile(r"password|\Akey\Z|simpin|sharedsecret", re.IGNORECASE)
"""Names of variables and fields whose values are never stored."""

T = TypeVar("T")


def is_secret(name: str) -> bool:
    """Return whether the values of a variable or field are never stored."""
    return _SECRET.search(name) is not None


class Limit(msgspec.Struct, frozen=True):
    """Limits of one request (ItemsPerMessage, BytesPerMessage); None: not reported."""

    items: int | None = None
    octets: int | None = None


class VariableKey(msgspec.Struct, frozen=True):
    """One attribute of one variable; 0 and "" stand for none."""

    component: str
    component_instance: str
    evse_id: int
    connector_id: int
    variable: str
    variable_instance: str
    attribute: str

    @property
    def lowered(self) -> "VariableKey":
        """The same with names in small letters: those of OCPP mean the same in any case."""
        names = "component", "component_instance", "variable", "variable_instance"
        return msgspec.structs.replace(self, **{each: getattr(self, each).lower() for each in names})


def key_of(component: Component, variable: Variable, attribute: str | None) -> VariableKey:
    """Return the key in a message; an omitted attribute is Actual."""
    evse = component.evse
    return VariableKey(
        component.name,
        component.instance or "",
        evse.id if evse is not None else 0,
        (evse.connector_id or 0) if evse is not None else 0,
        variable.name,
        variable.instance or "",
        attribute or "Actual",
    )


def reported(data: Iterable[ReportData], now_ms: int) -> Iterator[dict[str, object]]:
    """Yield the columns of every attribute in a report (B07, B08)."""
    for entry in data:
        kind = entry.variable_characteristics
        for attribute in entry.variable_attribute:
            key = key_of(entry.component, entry.variable, attribute.type)
            yield {
                **msgspec.structs.asdict(key),
                "value": None if is_secret(key.variable) else attribute.value,
                "value_ms": now_ms,
                "mutability": attribute.mutability or "ReadWrite",
                "constant": attribute.constant,
                "persistent": attribute.persistent,
                "data_type": kind.data_type if kind else "",
                "unit": (kind.unit or "") if kind else "",
                "min_limit": kind.min_limit if kind else None,
                "max_limit": kind.max_limit if kind else None,
                "values_list": (kind.values_list or "") if kind else "",
                "supports_monitoring": kind.supports_monitoring if kind else False,
            }


def read_values(results: Iterable[GetVariableResult], now_ms: int) -> Iterator[dict[str, object]]:
    """Yield the columns of variables that were read (B06)."""
    for each in results:
        key = key_of(each.component, each.variable, each.attribute_type)
        if each.attribute_status == "Accepted" and not is_secret(key.variable):
            yield {**msgspec.structs.asdict(key), "value": each.attribute_value, "value_ms": now_ms}


def written_values(
    data: Sequence[SetVariableData], results: Iterable[SetVariableResult], now_ms: int
) -> Iterator[dict[str, object]]:
    """Yield the columns of variables that were set; some take effect only after a reboot (B05)."""
    wanted = {key_of(each.component, each.variable, each.attribute_type): each.attribute_value for each in data}
    for each in results:
        key = key_of(each.component, each.variable, each.attribute_type)
        if each.attribute_status not in ("Accepted", "RebootRequired") or is_secret(key.variable) or key not in wanted:
            continue
        columns = msgspec.structs.asdict(key)
        if each.attribute_status == "Accepted":
            yield {**columns, "value": wanted[key], "value_ms": now_ms, "after_reboot": None}
        else:
            yield {**columns, "after_reboot": wanted[key]}


def noticed(events: Iterable[EventData], now_ms: int) -> Iterator[dict[str, object]]:
    """Yield the columns of variables whose values events report (N07)."""
    for each in events:
        key = key_of(each.component, each.variable, "Actual")
        if not is_secret(key.variable):
            yield {**msgspec.structs.asdict(key), "value": each.actual_value, "value_ms": now_ms}


def without_secrets(value: object) -> object:
    """Return a document without its passwords and keys."""
    if isinstance(value, dict):
        return {key: without_secrets(each) for key, each in value.items() if not is_secret(key)}
    return value


def check_distinct(data: Iterable[SetVariableData]) -> None:
    """Raise RefusedError (`duplicate`) when one variable is to be set twice (B05.FR.13)."""
    seen = set[VariableKey]()
    for each in data:
        key = key_of(each.component, each.variable, each.attribute_type)
        if key in seen:
            raise RefusedError(f"{key.component}.{key.variable} is set twice", reason="duplicate")
        seen.add(key)


def batches(items: Sequence[T], limit: Limit) -> Iterator[tuple[T, ...]]:
    """Yield the items in portions within the station's limits (B05.FR.11, B06.FR.05, B06.FR.17), at least one each."""
    most = UNKNOWN_LIMIT if limit.items is None else limit.items
    portion: list[T] = []
    size = 0
    for item in items:
        octets = len(msgspec.json.encode(item)) + 1
        full = limit.octets is not None and size + octets > limit.octets - _AROUND
        if portion and (len(portion) >= most or full):
            yield tuple(portion)
            portion, size = [], 0
        portion.append(item)
        size += octets
    if portion:
        yield tuple(portion)


_AROUND: Final = 100  # message type, id, action and the name of the list
