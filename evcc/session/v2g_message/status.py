"""What the charger demands by its status, and its limits."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from evcc.session.context import EvseLimits
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Ending, Plan
from v2g.exi.declare import Element
from v2g.iso15118.engine.dc_status import Demand, demand
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, watts
from v2g.iso15118.engine.quirks import MISSING_FIELDS, Quirk
from v2g.iso15118.v2g_message import DC_EVSEChargeParameter, DC_EVSEStatus, EVSEStatus
from v2g.safety.output import UNBOUNDED

_CAUSES: Final[Mapping[str, Ending]] = {
    "EVSE_EmergencyShutdown": Ending("evse_emergency_shutdown", failed=True),
    "EVSE_Malfunction": Ending("evse_malfunction", failed=True),
    "EVSE_UtilityInterruptEvent": Ending("evse_utility_interrupt"),
}
"""EVSEStatusCode -> the end that it leads to."""

_TERMINATED: Final = Ending("evse_terminated")
_RESIDUAL_CURRENT: Final = Ending("evse_rcd_fault", failed=True)


def status_of(response: Element) -> EVSEStatus | None:
    """Return the status in a response, also that beside the limits; None without one."""
    part = getattr(response, "evse_charge_parameter", response)
    fields = ("dc_evse_status", "ac_evse_status", "evse_status")
    return next((getattr(part, field) for field in fields if hasattr(part, field)), None)


def wanted_end(status: EVSEStatus | None) -> Ending | None:
    """Return the end of session that a status demands, None for none; without a notification it demands none."""
    if isinstance(status, DC_EVSEStatus):
        stops = demand(status) in (Demand.STOP, Demand.STOP_NOW)
        return _CAUSES.get(status.evse_status_code.value, _TERMINATED) if stops else None
    if getattr(status, "rcd", False):
        return _RESIDUAL_CURRENT
    notification = getattr(status, "evse_notification", None)
    return _TERMINATED if notification is not None and notification.value == "StopCharging" else None


def dc_limits(parameter: DC_EVSEChargeParameter) -> tuple[EvseLimits, tuple[Quirk, ...]]:
    """Return the limits in a DC_EVSEChargeParameter, and a quirk where fields or units are missing.

    Raises Iso15118Error for values of another unit.
    """
    fields = (
        parameter.evse_maximum_current_limit,
        parameter.evse_maximum_voltage_limit,
        parameter.evse_maximum_power_limit,
    )
    current, voltage, power = fields
    tolerance = parameter.evse_current_regulation_tolerance
    limits = EvseLimits(
        charge_w=UNBOUNDED if power is None else max(0, watts(power, Rounding.DOWN)),
        charge_ma=max(0, milliamperes(current)),
        voltage_mv=max(0, millivolts(voltage)),
        min_voltage_mv=max(0, millivolts(parameter.evse_minimum_voltage_limit)),
        tolerance_ma=0
        if tolerance is None
        else max(0, milliamperes(tolerance) + milliamperes(parameter.evse_peak_current_ripple)),
    )
    return limits, (MISSING_FIELDS,) if any(each is None or each.unit is None for each in fields) else ()


_PRESENT: Final = (
    ("charge_ma", "evse_max_current", milliamperes),
    ("charge_ma", "evse_maximum_current_limit", milliamperes),
    ("voltage_mv", "evse_maximum_voltage_limit", millivolts),
    ("charge_w", "evse_maximum_power_limit", watts),
)
"""A limit, the field of a loop's response with it, and how that is read."""


def followed(plan: Plan, response: Element, context: MessageContext) -> Plan:
    """Return the plan with the limits in the response of a loop, within those agreed; those that it omits stay, as does
    a voltage for 0. Raises Iso15118Error for values of another unit.
    """
    given = ((name, getattr(response, field, None), read) for name, field, read in _PRESENT)
    changes = {name: max(0, read(value)) for name, value, read in given if value is not None}
    changes["voltage_mv"] = changes.get("voltage_mv") or plan.limits.voltage_mv
    limits = replace(plan.limits, **changes).bounded(plan.agreed, raises=context.config.raised_limits)
    return replace(plan, limits=limits)
