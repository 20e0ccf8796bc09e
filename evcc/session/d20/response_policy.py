"""The vehicle's reaction to every response code in every response: data.

A code that is not in a table has the reaction of its kind, so that codes in unexpected places
are tolerated: OK continues, a warning is reported, a failure ends the session (clause 8.6).
"""

import enum
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from evcc.session import watch
from evcc.session.d20.quantities import to_milli
from evcc.session.d20.request_context import RequestContext
from evcc.session.watch import Implausible
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages import dc as iso
from v2g.iso15118.d20.messages.ac import AC_ChargeParameterDiscoveryRes
from v2g.iso15118.d20.messages.common_types import ChargeLoopRes, ResponseCode


class Reaction(enum.Enum):
    """Reaction to a response."""

    GO_ON = "continue"
    NOTE = "report it and continue"
    TRY_ANOTHER = "not authorised or not installed: try the next means, or stop normally"
    KEEP = "continue with the previous state"
    STOP = "stop normally"
    END = "end at once, make everything safe, send no further request"


_WARNINGS: Final = tuple(code for code in ResponseCode if code.name.startswith("WARNING"))

REACTIONS: Final[Mapping[str, Mapping[ResponseCode, Reaction]]] = {
    # Table 224: with any warning the vehicle is not authorised
    "AuthorizationRes": dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER),
    "CertificateInstallationRes": dict.fromkeys(_WARNINGS, Reaction.TRY_ANOTHER),
    # with any warning the charger has returned to its previous state (see the charts)
    "ScheduleExchangeRes": dict.fromkeys(_WARNINGS, Reaction.KEEP),
    "PowerDeliveryRes": {
        **dict.fromkeys(_WARNINGS, Reaction.STOP),
        ResponseCode.WARNING_PowerToleranceNotConfirmed: Reaction.NOTE,
        ResponseCode.WARNING_ScheduleRenegotiationFailed: Reaction.KEEP,
        ResponseCode.WARNING_StandbyNotAllowed: Reaction.KEEP,
        ResponseCode.WARNING_EVPowerProfileViolation: Reaction.NOTE,
        ResponseCode.WARNING_WPT: Reaction.NOTE,
    },
}
"""Name of the response -> code -> reaction, if the kind of the code does not determine it."""


def reaction(response: Any) -> Reaction:
    """Return the reaction to a response (a message Struct)."""
    return _reaction(type(response).__name__, response.response_code)


@cache
def _reaction(name: str, code: ResponseCode) -> Reaction:
    known = REACTIONS.get(name, {}).get(code)
    if known is not None:
        return known
    kind = code.name.partition("_")[0].upper()
    return {"OK": Reaction.GO_ON, "WARNING": Reaction.NOTE}.get(kind, Reaction.END)


# Whether a response of ISO 15118-20 can be right, from the charge parameters to the end of the loop.
#
# Its messages have no status of the insulation and no units: limits and present values are left.

_LIMITS: Final = ("evse_maximum_", "evse_minimum_")
_IN_LOOP: Final = ("evse_maximum_", "evse_minimum_voltage")
"""A charger may repeat its first minimum of power while its maximum is limited below it (V2G20-2655)."""

_BOTH_WAYS: Final = (iso.BPT_Dynamic_DC_CLResControlMode, iso.BPT_Scheduled_DC_CLResControlMode)


def judge(response: Element, context: RequestContext) -> Implausible | None:
    """Return what is wrong with a response."""
    match response:
        case iso.DC_ChargeParameterDiscoveryRes(dc_cpd_res_energy_transfer_mode=mode):
            return watch.limits(_limits(mode))
        case AC_ChargeParameterDiscoveryRes(ac_cpd_res_energy_transfer_mode=mode):
            return watch.limits(_limits(mode))
        case iso.DC_PreChargeRes():
            return _present(response, None, context)
        case iso.DC_ChargeLoopRes(cl_res_control_mode=mode):
            current_ma = None if isinstance(mode, _BOTH_WAYS) else to_milli(response.evse_present_current)
            return watch.limits(_limits(mode, *_IN_LOOP)) or _present(response, current_ma, context)
        case ChargeLoopRes() if hasattr(response, "cl_res_control_mode"):
            return watch.limits(_limits(response.cl_res_control_mode, *_IN_LOOP))
    return None


def _limits(mode: Element, *names: str) -> dict[str, int]:
    names = names or _LIMITS
    values = {field: getattr(mode, field) for field in mode.__struct_fields__ if field.startswith(names)}
    return {field: to_milli(value) for field, value in values.items() if value is not None}


def _present(
    response: iso.DC_PreChargeRes | iso.DC_ChargeLoopRes, current_ma: int | None, context: RequestContext
) -> Implausible | None:
    return watch.present(
        voltage=("evse_present_voltage", to_milli(response.evse_present_voltage)),
        current=None if current_ma is None else ("evse_present_current", current_ma),
        max_voltage_mv=context.battery.max_voltage_mv if context.contactor_closed else None,
    )
