"""What the charger demands by its status, and its limits."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from evcc.session.v2g_message.stages import Ending, Limits
from v2g.exi.declare import Element
from v2g.iso15118.engine.dc_status import Demand, demand
from v2g.iso15118.engine.physical_values import Rounding, milliamperes, millivolts, watts
from v2g.iso15118.engine.quirks import MISSING_FIELDS, Quirk
from v2g.iso15118.v2g_message import CurrentDemandRes, DC_EVSEChargeParameter, DC_EVSEStatus, EVSEStatus

_CAUSES: Final[Mapping[str, Ending]] = MappingProxyType(
    {
        "EVSE_EmergencyShutdown": Ending("evse_emergency_shutdown", failed=True),
        "EVSE_Malfunction": Ending("evse_malfunction", failed=True),
        "EVSE_UtilityInterruptEvent": Ending("evse_utility_interrupt"),
    }
)
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


def dc_limits(parameter: DC_EVSEChargeParameter) -> tuple[Limits, tuple[Quirk, ...]]:
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
    limits = Limits(
        max_current_ma=max(0, milliamperes(current)),
        max_voltage_mv=max(0, millivolts(voltage)),
        min_voltage_mv=max(0, millivolts(parameter.evse_minimum_voltage_limit)),
        max_power_w=None if power is None else max(0, watts(power, Rounding.DOWN)),
        tolerance_ma=0
        if tolerance is None
        else max(0, milliamperes(tolerance) + milliamperes(parameter.evse_peak_current_ripple)),
    )
    return limits, (MISSING_FIELDS,) if any(each is None or each.unit is None for each in fields) else ()


def present_limits(limits: Limits, response: CurrentDemandRes) -> Limits:
    """Return the limits by a CurrentDemandRes; those that it omits stay, as does a voltage for 0. Raises
    Iso15118Error."""
    current, voltage, power = (
        response.evse_maximum_current_limit,
        response.evse_maximum_voltage_limit,
        response.evse_maximum_power_limit,
    )
    return replace(
        limits,
        max_current_ma=limits.max_current_ma if current is None else max(0, milliamperes(current)),
        max_voltage_mv=limits.max_voltage_mv if voltage is None else millivolts(voltage) or limits.max_voltage_mv,
        max_power_w=limits.max_power_w if power is None else max(0, watts(power, Rounding.DOWN)),
    )
