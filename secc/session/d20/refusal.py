"""Negative responses: each request's own response type, with placeholders for mandatory fields (V2G20-736)."""

import sys
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Final, get_args, get_origin

import msgspec

from secc.session.config import SeccConfig
from v2g.exi.declare import Element
from v2g.iso15118.d20 import installation
from v2g.iso15118.d20.messages import ac, acdp, dc, schedules, wpt
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import wpt_positioning as place
from v2g.iso15118.d20.messages.common_types import (
    CLReqControlMode,
    MessageHeader,
    Processing,
    RationalNumber,
    ResponseCode,
)
from v2g.iso15118.engine import app_protocol as app

MAX_SERVICES: Final = 8
"""Maximum length of a ServiceList."""

_CONTACTOR: Final = frozenset({"contactor_welded", "contactor_stuck_open", "contactor_dropped"})
_ENERGISING: Final = frozenset({"DC_CableCheckReq", "DC_PreChargeReq", "WPT_AlignmentCheckReq", "ACDP_ConnectReq"})

ZERO: Final = RationalNumber(exponent=0, value=0)

Fill = Callable[..., dict[str, object]]
"""(request, configuration) -> the mandatory fields of its response."""


def _nothing(request: Element, config: SeccConfig) -> dict[str, object]:
    return {}


def _finished(request: Element, config: SeccConfig) -> dict[str, object]:
    return {"evse_processing": Processing.Finished}


def _voltage(request: Element, config: SeccConfig) -> dict[str, object]:
    return {"evse_present_voltage": ZERO}


def _session_setup(request: Element, config: SeccConfig) -> dict[str, object]:
    return {"evse_id": config.evse_id}


def _authorization_setup(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "authorization_services": (cm.Authorization.EIM,),
        "certificate_installation_service": False,
        "eim_as_res_authorization_mode": cm.EIM_ASResAuthorizationMode(),
    }


def _certificate_installation(request: cm.CertificateInstallationReq, config: SeccConfig) -> dict[str, object]:
    empty = msgspec.structs.asdict(installation.refusal(request.header, ResponseCode.FAILED))
    return {name: value for name, value in empty.items() if name not in ("header", "response_code")}


def _service_discovery(request: Element, config: SeccConfig) -> dict[str, object]:
    shown = config.services[:MAX_SERVICES]  # a placeholder: a charger may have more services than the list may contain
    services = tuple(cm.Service(service_id=int(each), free_service=False) for each in shown)
    return {"service_renegotiation_supported": False, "energy_transfer_service_list": cm.ServiceList(service=services)}


def _service_detail(request: cm.ServiceDetailReq, config: SeccConfig) -> dict[str, object]:
    parameter = cm.Parameter(name="none", int_value=0)
    sets = (cm.ParameterSet(parameter_set_id=0, parameter=(parameter,)),)
    return {"service_id": request.service_id, "service_parameter_list": cm.ServiceParameterList(parameter_set=sets)}


def _zeros(asked: Element) -> Element:
    """Return the response mode for this request mode (V2G20-1600), with the schema's minimum, all of it 0."""
    module = sys.modules[type(asked).__module__] if type(asked) is not CLReqControlMode else dc
    name = type(asked).__name__.replace("Req", "Res")
    answer: type[Element] = getattr(
        module, name, dc.Scheduled_DC_CLResControlMode
    )  # the abstract head of all modes is possible, too
    return _least(answer)


def _least(kind: type[Element]) -> Element:
    return kind(**{each.name: _nil(each.type) for each in msgspec.structs.fields(kind) if each.required})


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
    if kind is RationalNumber:
        return ZERO
    return _least(kind) if issubclass(kind, Element) else kind()


def _charge_parameters(request: dc.DC_ChargeParameterDiscoveryReq, config: SeccConfig) -> dict[str, object]:
    return {"dc_cpd_res_energy_transfer_mode": _zeros(request.dc_cpd_req_energy_transfer_mode)}


def _ac_charge_parameters(request: ac.AC_ChargeParameterDiscoveryReq, config: SeccConfig) -> dict[str, object]:
    return {"ac_cpd_res_energy_transfer_mode": _zeros(request.ac_cpd_req_energy_transfer_mode)}


def _ac_charge_loop(request: ac.AC_ChargeLoopReq, config: SeccConfig) -> dict[str, object]:
    return {"cl_res_control_mode": _zeros(request.cl_req_control_mode)}


def _positioning_setup(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "primary_device_fine_positioning_method_list": place.WPT_FinePositioningMethodList(
            wpt_fine_positioning_method=(place.WPT_FinePositioningMethod.Manual,)
        ),
        "primary_device_pairing_method_list": place.WPT_PairingMethodList(
            wpt_pairing_method=(place.WPT_PairingMethod.External_confirmation,)
        ),
        "primary_device_alignment_check_method_list": place.WPT_AlignmentCheckMethodList(
            wpt_alignment_check_method=(place.WPT_AlignmentCheckMethod.PowerCheck,)
        ),
        "natural_offset": 0,
    }


def _wpt_charge_parameters(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "pd_input_power_class": wpt.WPT_PowerClass(config.wpt.power_class),
        "sd_min_output_power": ZERO,
        "sd_max_output_power": ZERO,
        "sd_max_ground_clearance_support": 0,
        "sd_min_ground_clearance_support": 0,
        "pd_min_coil_current": ZERO,
        "pd_max_coil_current": ZERO,
    }


def _wpt_charge_loop(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "evpc_power_request": ZERO,
        "spc_max_output_power_limit": ZERO,
        "spc_min_output_power_limit": ZERO,
        "spc_charge_diagnostics": wpt.WPT_SPCChargeDiagnostics.SPCNoIssue,
    }


def _vehicle_positioning(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "evse_processing": Processing.Finished,
        "evse_positioning_support": False,
        "ev_relative_x_deviation": 0,
        "ev_relative_y_deviation": 0,
        "contact_window_xc": 0,
        "contact_window_yc": 0,
        "ev_in_charge_position": False,
    }


def _connection(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "evse_processing": Processing.Finished,
        "evse_electrical_charging_device_status": acdp.ElectricalChargingDeviceStatus.State_A,
        "evse_mechanical_charging_device_status": acdp.MechanicalChargingDeviceStatus.Moving,
    }


def _system_status(request: Element, config: SeccConfig) -> dict[str, object]:
    return {
        "evse_mechanical_charging_device_status": acdp.MechanicalChargingDeviceStatus.Moving,
        "evse_ready_to_charge": False,
        "evse_isolation_status": acdp.IsolationStatus.Invalid,
        "evse_disabled": True,
        "evse_utility_interrupt_event": False,
        "evse_emergency_shutdown": False,
        "evse_malfunction": True,
        "ev_in_charge_position": False,
        "ev_association_status": False,
    }


def _schedule(request: cm.ScheduleExchangeReq, config: SeccConfig) -> dict[str, object]:
    finished = {"evse_processing": Processing.Finished}
    if request.scheduled_se_req_control_mode is None:
        return finished | {"dynamic_se_res_control_mode": schedules.Dynamic_SEResControlMode()}
    entry = schedules.PowerScheduleEntry(duration=1, power=ZERO)
    nothing = schedules.PowerSchedule(
        time_anchor=0, power_schedule_entries=schedules.PowerScheduleEntryList(power_schedule_entry=(entry,))
    )
    offer = schedules.ScheduleTuple(
        schedule_tuple_id=1, charging_schedule=schedules.ChargingSchedule(power_schedule=nothing)
    )
    return finished | {"scheduled_se_res_control_mode": schedules.Scheduled_SEResControlMode(schedule_tuple=(offer,))}


def _charge_loop(request: dc.DC_ChargeLoopReq, config: SeccConfig) -> dict[str, object]:
    return {
        "evse_present_current": ZERO,
        "evse_present_voltage": ZERO,
        "evse_power_limit_achieved": False,
        "evse_current_limit_achieved": False,
        "evse_voltage_limit_achieved": False,
        "cl_res_control_mode": _zeros(request.cl_req_control_mode),
    }


def _check_out(request: Element, config: SeccConfig) -> dict[str, object]:
    return {"evse_check_out_status": cm.EvseCheckOutStatus.Completed}


_REFUSALS: Final[Mapping[type[Element], tuple[type[Element], Fill]]] = {
    cm.SessionSetupReq: (cm.SessionSetupRes, _session_setup),
    cm.AuthorizationSetupReq: (cm.AuthorizationSetupRes, _authorization_setup),
    cm.AuthorizationReq: (cm.AuthorizationRes, _finished),
    cm.CertificateInstallationReq: (cm.CertificateInstallationRes, _certificate_installation),
    cm.ServiceDiscoveryReq: (cm.ServiceDiscoveryRes, _service_discovery),
    cm.ServiceDetailReq: (cm.ServiceDetailRes, _service_detail),
    cm.ServiceSelectionReq: (cm.ServiceSelectionRes, _nothing),
    ac.AC_ChargeParameterDiscoveryReq: (ac.AC_ChargeParameterDiscoveryRes, _ac_charge_parameters),
    ac.AC_ChargeLoopReq: (ac.AC_ChargeLoopRes, _ac_charge_loop),
    wpt.WPT_FinePositioningSetupReq: (wpt.WPT_FinePositioningSetupRes, _positioning_setup),
    wpt.WPT_FinePositioningReq: (wpt.WPT_FinePositioningRes, _finished),
    wpt.WPT_PairingReq: (wpt.WPT_PairingRes, _finished),
    wpt.WPT_ChargeParameterDiscoveryReq: (wpt.WPT_ChargeParameterDiscoveryRes, _wpt_charge_parameters),
    wpt.WPT_AlignmentCheckReq: (wpt.WPT_AlignmentCheckRes, _finished),
    wpt.WPT_ChargeLoopReq: (wpt.WPT_ChargeLoopRes, _wpt_charge_loop),
    acdp.ACDP_VehiclePositioningReq: (acdp.ACDP_VehiclePositioningRes, _vehicle_positioning),
    acdp.ACDP_ConnectReq: (acdp.ACDP_ConnectRes, _connection),
    acdp.ACDP_DisconnectReq: (acdp.ACDP_DisconnectRes, _connection),
    acdp.ACDP_SystemStatusReq: (acdp.ACDP_SystemStatusRes, _system_status),
    dc.DC_ChargeParameterDiscoveryReq: (dc.DC_ChargeParameterDiscoveryRes, _charge_parameters),
    cm.ScheduleExchangeReq: (cm.ScheduleExchangeRes, _schedule),
    dc.DC_CableCheckReq: (dc.DC_CableCheckRes, _finished),
    dc.DC_PreChargeReq: (dc.DC_PreChargeRes, _voltage),
    cm.PowerDeliveryReq: (cm.PowerDeliveryRes, _nothing),
    dc.DC_ChargeLoopReq: (dc.DC_ChargeLoopRes, _charge_loop),
    cm.MeteringConfirmationReq: (cm.MeteringConfirmationRes, _nothing),
    dc.DC_WeldingDetectionReq: (dc.DC_WeldingDetectionRes, _voltage),
    cm.SessionStopReq: (cm.SessionStopRes, _nothing),
    cm.VehicleCheckInReq: (cm.VehicleCheckInRes, _nothing),
    cm.VehicleCheckOutReq: (cm.VehicleCheckOutRes, _check_out),
}


def is_request(message: Element) -> bool:
    """Return whether the message is a request that a charger can answer."""
    return _known(type(message)) is not None or type(message) is app.SupportedAppProtocolReq


def _known(kind: type[Element]) -> tuple[type[Element], Fill] | None:
    """Return the response of a request; that of AC DER is the one in its own module."""
    base = next((each for each in kind.__mro__ if each in _REFUSALS), None)
    if base is None:
        return None
    response, fill = _REFUSALS[base]
    return response if base is kind else getattr(sys.modules[kind.__module__], response.__name__), fill


def refusal(request: Element, code: str, header: MessageHeader, config: SeccConfig) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType."""
    if isinstance(request, app.SupportedAppProtocolReq):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
    known = _known(type(request))
    assert known is not None, f"{type(request).__name__} is not a request"
    response_type, fill = known
    return response_type(header=header, response_code=ResponseCode(code), **fill(request, config))


def fault_code(request: Element, fault: str) -> str:
    """Return the response code by which a fault of the charger is reported in the answer to this request."""
    if not isinstance(request, cm.PowerDeliveryReq):
        return ResponseCode.FAILED.name
    return (
        ResponseCode.FAILED_ContactorError if fault in _CONTACTOR else ResponseCode.FAILED_PowerDeliveryNotApplied
    ).name


def brings_power(request: Element) -> bool:
    """Return whether a request leads to voltage or current."""
    if isinstance(request, cm.PowerDeliveryReq):
        return request.charge_progress is cm.ChargeProgress.Start
    return type(request).__name__ in _ENERGISING
