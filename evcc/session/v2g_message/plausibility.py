"""Whether a response of ISO 15118-2 or DIN 70121 can be right, from the charge parameters to the end of the loop.

The insulation, the status, limits, present values, and whether EVSE and schedule are still those of the session.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from evcc.session import plausibility
from evcc.session.plausibility import NO_ERROR, Finding
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.status import status_of, wanted_end
from v2g.exi.declare import Element
from v2g.iso15118.engine import evse_id
from v2g.iso15118.engine.dc_status import FAULT, NO_CURRENT_MA, is_sound
from v2g.iso15118.engine.physical_values import PhysicalNumber, milliamperes, millivolts, watts
from v2g.iso15118.engine.quirks import EVSEID_NOT_REPEATED, NOT_READY_AFTER_CHECK, Quirk
from v2g.iso15118.v2g_message import ChargeParameterDiscoveryRes, CurrentDemandRes, DC_EVSEStatus, EVSEStatus

_CHECKED: Final = frozenset({"PreChargeRes", "PowerDeliveryRes", "CurrentDemandRes", "MeteringReceiptRes"})
"""Responses after the insulation test."""

_READERS: Final[Mapping[str, Callable[[PhysicalNumber], int]]] = MappingProxyType(
    {"voltage": millivolts, "current": milliamperes, "power": watts}
)

_LIMITS: Final = ("evse_maximum_", "evse_minimum_voltage", "evse_max_current", "evse_nominal_voltage")
"""Beginnings of the names of limits; a minimum of current decides nothing."""

Judgement = tuple[Finding | None, tuple[Quirk, ...]]


def judge(response: Element, context: MessageContext) -> Judgement:
    """Return what is wrong with a response, and quirks that are tolerated; what it demands is for the handlers.

    Raises Iso15118Error for values of another unit.
    """
    name, status = type(response).__name__, status_of(response)
    if status is None or wanted_end(status) is not None:
        return None, ()
    found, quirks = _status(name, status, response)
    parameter = getattr(response, "evse_charge_parameter", response)
    if not isinstance(response, ChargeParameterDiscoveryRes) or response.evse_processing.value == "Finished":
        found = found or plausibility.limits(_limits(parameter, context))
    if hasattr(response, "evse_present_voltage"):
        found = found or _present(response, context)
    if found is None and hasattr(response, "evse_id"):
        found, more = _identity(response, context)
        quirks += more
    return found, quirks


def _status(name: str, status: EVSEStatus, response: Any) -> Judgement:
    """Judge a DC_EVSEStatus by the phase: before the insulation test only a fault counts, NotReady only in the loop and
    beside a current that ought to stop.
    """
    if not isinstance(status, DC_EVSEStatus):  # alternating current
        return None, ()
    code = status.evse_status_code
    isolation, checked = status.evse_isolation_status, name in _CHECKED
    if isolation is not None and (isolation.value == FAULT or (checked and not is_sound(status))):
        return Finding("insulation_fault", "evse_isolation_status", isolation.value, NO_ERROR), ()
    if code.value.startswith("Reserved"):
        return Finding("evse_status_unknown", "evse_status_code", code.value), ()
    if not checked or code.value != "EVSE_NotReady":
        return None, ()
    current = getattr(response, "evse_present_current", None)
    if current is not None and milliamperes(current) >= NO_CURRENT_MA:
        return Finding("evse_not_ready", "evse_status_code", code.value, NO_ERROR), ()
    return None, (NOT_READY_AFTER_CHECK,)


def _limits(parameter: Element, context: MessageContext) -> dict[str, int]:
    """Return the limits in a response, beside the known minimum voltage."""
    known = context.plan.limits.min_voltage_mv if context.plan is not None else 0
    values = {"evse_minimum_voltage_limit": known} if known else {}
    for field in parameter.__struct_fields__:
        value = getattr(parameter, field)
        if value is not None and field.startswith(_LIMITS):
            values[field] = next(read for word, read in _READERS.items() if word in field)(value)
    if isinstance(parameter, CurrentDemandRes) and values.get("evse_maximum_voltage_limit") == 0:
        del values["evse_maximum_voltage_limit"]  # not given: the voltage is there
    return values


def _present(response: Any, context: MessageContext) -> Finding | None:
    current = getattr(response, "evse_present_current", None)
    return plausibility.present(
        voltage=("evse_present_voltage", millivolts(response.evse_present_voltage)),
        current=None if current is None else ("evse_present_current", milliamperes(current)),
        max_voltage_mv=context.battery.max_voltage_mv if context.contactor_closed else None,
    )


def _identity(response: Any, context: MessageContext) -> Judgement:
    """Judge EVSEID and SAScheduleTupleID of a loop's response."""
    begun, present = evse_id.plain(context.evse_id), evse_id.plain(response.evse_id)
    quirks = (EVSEID_NOT_REPEATED,) if bool(begun) != bool(present) else ()
    if begun and present and begun != present:
        return Finding("evse_id_changed", "evse_id", response.evse_id), quirks
    schedule = context.plan.schedule if context.plan is not None else None
    if schedule is not None and response.sa_schedule_tuple_id != schedule.tuple_id:
        return Finding("schedule_changed", "sa_schedule_tuple_id", response.sa_schedule_tuple_id), quirks
    return None, quirks
