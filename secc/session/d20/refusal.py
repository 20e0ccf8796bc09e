"""Negative responses: each request's own response type, with placeholders for mandatory fields (V2G20-736)."""

import sys
from enum import Enum
from functools import cache
from typing import Annotated, Final, get_args, get_origin

import msgspec

from secc.session.config import SeccConfig
from v2g.exi.declare import Element
from v2g.iso15118.d20 import installation
from v2g.iso15118.d20.messages import ac, acdp, dc, schedules, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import common_types as iso
from v2g.iso15118.engine import app_protocol as app

MAX_SERVICES: Final = 8
"""Maximum length of a ServiceList."""

_CONTACTOR: Final = frozenset({"contactor_welded", "contactor_stuck_open", "contactor_dropped"})
_ENERGISING: Final = frozenset({"DC_CableCheckReq", "DC_PreChargeReq", "WPT_AlignmentCheckReq", "ACDP_ConnectReq"})

ZERO: Final = iso.RationalNumber(exponent=0, value=0)


def _zeros(asked: Element) -> Element:
    """Return the response mode for this request mode (V2G20-1600), with the schema's minimum, all of it 0."""
    answer: type[Element] = getattr(sys.modules[type(asked).__module__], type(asked).__name__.replace("Req", "Res"))
    return _least(answer)


def _least(kind: type[Element], **known: object) -> Element:
    """Return an element with these fields, and placeholders in the other mandatory ones."""
    fields = (each for each in msgspec.structs.fields(kind) if each.required and each.name not in known)
    return kind(**{each.name: _nil(each.type) for each in fields}, **known)


def _nil(kind: object) -> object:
    """Return the placeholder of a mandatory field: 0, the first of an enumeration, an element with as little."""
    if get_origin(kind) is Annotated:
        plain, *more = get_args(kind)
        if get_origin(plain) is tuple:
            count = max(each.min_length or 0 for each in more if isinstance(each, msgspec.Meta))
            return (_nil(get_args(plain)[0]),) * count
        return _nil(plain)
    assert isinstance(kind, type)
    if issubclass(kind, Enum):
        return next(iter(kind))
    if kind is iso.RationalNumber:
        return ZERO
    return _least(kind) if issubclass(kind, Element) else kind()


def _own(request: Element, config: SeccConfig) -> dict[str, object]:
    """Return the fields of a response that are not the least which the schema allows."""
    match request:
        case cm.SessionSetupReq():
            return {"evse_id": config.evse_id}
        case cm.AuthorizationSetupReq():
            return {"eim_as_res_authorization_mode": cm.EIM_ASResAuthorizationMode()}
        case cm.CertificateInstallationReq():
            return msgspec.structs.asdict(installation.refusal(request.header, iso.ResponseCode.FAILED))
        case cm.ServiceDiscoveryReq():
            shown = config.services[:MAX_SERVICES]  # a charger may have more services than the list may contain
            services = tuple(cm.Service(service_id=int(each), free_service=False) for each in shown)
            return {"energy_transfer_service_list": cm.ServiceList(service=services)}
        case cm.ServiceDetailReq():
            parameter = cm.Parameter(name="none", int_value=0)
            sets = (cm.ParameterSet(parameter_set_id=0, parameter=(parameter,)),)
            return {
                "service_id": request.service_id,
                "service_parameter_list": cm.ServiceParameterList(parameter_set=sets),
            }
        case ac.AC_ChargeParameterDiscoveryReq():
            return {"ac_cpd_res_energy_transfer_mode": _zeros(request.ac_cpd_req_energy_transfer_mode)}
        case dc.DC_ChargeParameterDiscoveryReq():
            return {"dc_cpd_res_energy_transfer_mode": _zeros(request.dc_cpd_req_energy_transfer_mode)}
        case wpt.WPT_ChargeParameterDiscoveryReq():
            return {"pd_input_power_class": wpt.WPT_PowerClass(config.wpt.power_class)}
        case cm.ScheduleExchangeReq():
            return _schedule(request)
        case ac.AC_ChargeLoopReq() | dc.DC_ChargeLoopReq():
            return {"cl_res_control_mode": _zeros(request.cl_req_control_mode)}
        case acdp.ACDP_ConnectReq() | acdp.ACDP_DisconnectReq():
            return {"evse_mechanical_charging_device_status": acdp.MechanicalChargingDeviceStatus.Moving}
        case acdp.ACDP_SystemStatusReq():
            moving = acdp.MechanicalChargingDeviceStatus.Moving
            return {"evse_mechanical_charging_device_status": moving, "evse_disabled": True, "evse_malfunction": True}
        case cm.VehicleCheckOutReq():
            return {"evse_check_out_status": cm.EvseCheckOutStatus.Completed}
    return {}


def _schedule(request: cm.ScheduleExchangeReq) -> dict[str, object]:
    if request.scheduled_se_req_control_mode is None:
        return {"dynamic_se_res_control_mode": schedules.Dynamic_SEResControlMode()}
    entry = schedules.PowerScheduleEntry(duration=1, power=ZERO)
    nothing = schedules.PowerSchedule(
        time_anchor=0, power_schedule_entries=schedules.PowerScheduleEntryList(power_schedule_entry=(entry,))
    )
    offer = schedules.ScheduleTuple(
        schedule_tuple_id=1, charging_schedule=schedules.ChargingSchedule(power_schedule=nothing)
    )
    return {"scheduled_se_res_control_mode": schedules.Scheduled_SEResControlMode(schedule_tuple=(offer,))}


@cache
def _response_of(kind: type[Element]) -> type[Element] | None:
    """Return the response of a request, in its own module; None for what is no request."""
    name = kind.__name__
    if not name.endswith("Req") or "abstract" in vars(kind):
        return None
    response: type[Element] = getattr(sys.modules[kind.__module__], f"{name.removesuffix('Req')}Res")
    return response


def is_request(message: Element) -> bool:
    """Return whether the message is a request that a charger can answer."""
    return type(message) is app.SupportedAppProtocolReq or _response_of(type(message)) is not None


def refusal(request: Element, code: str, header: iso.MessageHeader, config: SeccConfig) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType."""
    if isinstance(request, app.SupportedAppProtocolReq):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
    response = _response_of(type(request))
    assert response is not None, f"{type(request).__name__} is not a request"
    return _least(response, **{**_own(request, config), "header": header, "response_code": iso.ResponseCode(code)})


def fault_code(request: Element, fault: str) -> str:
    """Return the response code by which a fault of the charger is reported in the answer to this request."""
    if not isinstance(request, cm.PowerDeliveryReq):
        return iso.ResponseCode.FAILED.name
    return (
        iso.ResponseCode.FAILED_ContactorError
        if fault in _CONTACTOR
        else iso.ResponseCode.FAILED_PowerDeliveryNotApplied
    ).name


def brings_power(request: Element) -> bool:
    """Return whether a request leads to voltage or current."""
    if isinstance(request, cm.PowerDeliveryReq):
        return request.charge_progress is cm.ChargeProgress.Start
    return type(request).__name__ in _ENERGISING
