"""One variable monitor: when its value triggers an event (N07)."""

from typing import Final

import msgspec

from v2g.ocpp.messages.device_model import Component
from v2g.ocpp.messages.device_model import Variable as VariableName
from v2g.ocpp.messages.diagnostics import EventNotification
from v2g.ocpp.messages.event_streams import PeriodicEventStreamParams
from v2g.ocpp.messages.monitoring import Monitor
from v2g_station.kernel.device_model import DeviceModel, component_of
from v2g_station.kernel.layout import Variable

NUMERIC: Final = ("integer", "decimal")
TARGET: Final = ("TargetDelta", "TargetDeltaRelative")


class Monitoring(msgspec.Struct, frozen=True, kw_only=True):
    """One monitor. `exceeded` means that a threshold is exceeded; `last` is the last reported value."""

    id: int
    key: str
    type: Monitor
    value: float
    severity: int
    kind: EventNotification = "CustomMonitor"
    transaction: bool = False
    exceeded: bool = False
    last: str = ""
    stream: PeriodicEventStreamParams | None = None


def factory_monitors(model: DeviceModel) -> tuple[Monitoring, ...]:
    """Return the preconfigured monitors: every Problem of the station's components."""
    keys = sorted(v.key for v in model.variables("2.1") if v.name == "Problem")
    return tuple(
        Monitoring(id=number, key=key, type="Delta", value=1, severity=3, kind="PreconfiguredMonitor", last="false")
        for number, key in enumerate(keys, 1)
    )


def names_of(variable: Variable) -> tuple[Component, VariableName]:
    return (component_of(variable), VariableName(name=variable.name, instance=variable.instance))


def in_range(variable: Variable, value: float) -> bool:
    low, high = variable.low, variable.high
    return (low is None or value >= low) and (high is None or value <= high)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def shown(variable: Variable, text: str) -> str:
    return "" if variable.mutability == "WriteOnly" else text[:2500]  # N07.FR.10


def exceeds(monitor: Monitoring, text: str, target: str) -> bool:
    value, aim = _number(text), _number(target)
    if value is None or (aim is None and monitor.type in TARGET):
        return monitor.exceeded
    if aim is not None:
        share = abs(aim) if monitor.type == "TargetDeltaRelative" else 1.0
        return abs(value - aim) > monitor.value * share  # N07.FR.22, .23
    return value > monitor.value if monitor.type == "UpperThreshold" else value < monitor.value


def differs(monitor: Monitoring, variable: Variable, text: str) -> bool:
    new, old = _number(text), _number(monitor.last)
    if variable.data_type not in NUMERIC or new is None or old is None:
        return text != monitor.last
    return abs(new - old) > monitor.value
