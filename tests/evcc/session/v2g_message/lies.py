"""What a charger says wrongly: changes of its responses."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tests.evcc.session.message_bench import MessageBench
from v2g.iso15118.engine.physical_values import Rounding

Lie = Callable[[Any, MessageBench], Any]
"""(response, bench) -> the response with the lie."""


def status(**changes: str) -> Lie:
    """Return a lie about the status, by names of enumerations."""

    def lie(response: Any, bench: MessageBench) -> Any:
        part = getattr(response, "evse_charge_parameter", response)
        name = "evse_status" if hasattr(part, "evse_status") else "dc_evse_status"
        known = getattr(part, name)
        made = {field: type(getattr(known, field))(value) for field, value in changes.items()}
        changed = replace(part, **{name: replace(known, **made)})
        return changed if part is response else replace(response, evse_charge_parameter=changed)

    return lie


def limit(field: str, value: int, quantity: str | None = None) -> Lie:
    """Return a lie about a value in mV, mA or W; `quantity` is another one than that of the field's name."""

    def lie(response: Any, bench: MessageBench) -> Any:
        part = getattr(response, "evse_charge_parameter", response)
        kind = quantity or next(word for word in ("voltage", "current", "power") if word in field)
        number = getattr(bench.charger.values, kind)(value, Rounding.NEAREST)
        changed = replace(part, **{field: number})
        return changed if part is response else replace(response, evse_charge_parameter=changed)

    return lie


def field(name: str, value: Any) -> Lie:
    return lambda response, bench: replace(response, **{name: value})
