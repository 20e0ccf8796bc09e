"""Negative responses: each request's own response type, with placeholders where the schema insists (V2G20-736)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from secc.core.config import SeccConfig
from v2g.iso15118.messages import app_protocol as app
from v2g.iso15118.messages import common_messages as cm
from v2g.iso15118.messages import dc
from v2g.iso15118.messages.certificates import (
    CertificateChain,
    ContractCertificateChain,
    EcdhCurve,
    SignedInstallationData,
    SubCertificates,
)
from v2g.iso15118.messages.common_types import MessageHeader, Processing, RationalNumber, ResponseCode
from v2g.iso15118.messages.schedules import Dynamic_SEResControlMode

ZERO: Final = RationalNumber(exponent=0, value=0)

Fill = Callable[[Any, SeccConfig], dict[str, Any]]


def _nothing(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {}


def _finished(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {"evse_processing": Processing.Finished}


def _voltage(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {"evse_present_voltage": ZERO}


def _session_setup(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {"evse_id": config.evse_id}


def _authorization_setup(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {
        "authorization_services": config.authorization,
        "certificate_installation_service": False,
        "eim_as_res_authorization_mode": cm.EIM_ASResAuthorizationMode(),
    }


def _certificate_installation(request: Any, config: SeccConfig) -> dict[str, Any]:
    sub_certificates = SubCertificates(certificate=(b"",))
    return {
        "evse_processing": Processing.Finished,
        "cps_certificate_chain": CertificateChain(certificate=b""),
        "signed_installation_data": SignedInstallationData(
            id="none",
            contract_certificate_chain=ContractCertificateChain(certificate=b"", sub_certificates=sub_certificates),
            ecdh_curve=EcdhCurve.SECP521,
            dh_public_key=bytes(133),
            secp521_encrypted_private_key=bytes(94),
        ),
        "remaining_contract_certificate_chains": 0,
    }


def _service_discovery(request: Any, config: SeccConfig) -> dict[str, Any]:
    services = tuple(cm.Service(service_id=int(each), free_service=False) for each in config.services)
    return {
        "service_renegotiation_supported": False,
        "energy_transfer_service_list": cm.ServiceList(service=services),
    }


def _service_detail(request: Any, config: SeccConfig) -> dict[str, Any]:
    parameter = cm.Parameter(name="none", int_value=0)
    sets = (cm.ParameterSet(parameter_set_id=0, parameter=(parameter,)),)
    return {
        "service_id": request.service_id,
        "service_parameter_list": cm.ServiceParameterList(parameter_set=sets),
    }


def _charge_parameters(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {
        "dc_cpd_res_energy_transfer_mode": dc.DC_CPDResEnergyTransferMode(
            evse_maximum_charge_power=ZERO,
            evse_minimum_charge_power=ZERO,
            evse_maximum_charge_current=ZERO,
            evse_minimum_charge_current=ZERO,
            evse_maximum_voltage=ZERO,
            evse_minimum_voltage=ZERO,
        )
    }


def _schedule(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {"evse_processing": Processing.Finished, "dynamic_se_res_control_mode": Dynamic_SEResControlMode()}


def _charge_loop(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {
        "evse_present_current": ZERO,
        "evse_present_voltage": ZERO,
        "evse_power_limit_achieved": False,
        "evse_current_limit_achieved": False,
        "evse_voltage_limit_achieved": False,
        "cl_res_control_mode": dc.Scheduled_DC_CLResControlMode(),
    }


def _check_out(request: Any, config: SeccConfig) -> dict[str, Any]:
    return {"evse_check_out_status": cm.EvseCheckOutStatus.Completed}


_REFUSALS: Final[Mapping[type, tuple[type, Fill]]] = MappingProxyType(
    {
        cm.SessionSetupReq: (cm.SessionSetupRes, _session_setup),
        cm.AuthorizationSetupReq: (cm.AuthorizationSetupRes, _authorization_setup),
        cm.AuthorizationReq: (cm.AuthorizationRes, _finished),
        cm.CertificateInstallationReq: (cm.CertificateInstallationRes, _certificate_installation),
        cm.ServiceDiscoveryReq: (cm.ServiceDiscoveryRes, _service_discovery),
        cm.ServiceDetailReq: (cm.ServiceDetailRes, _service_detail),
        cm.ServiceSelectionReq: (cm.ServiceSelectionRes, _nothing),
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
)


def is_request(message: Any) -> bool:
    """Return whether the message is a request that a charger can answer at all."""
    return type(message) in _REFUSALS or type(message) is app.SupportedAppProtocolReq


def refusal(request: Any, code: str, header: MessageHeader, config: SeccConfig) -> Any:
    """Return the negative response to `request`; `code` is a value of responseCodeType."""
    if isinstance(request, app.SupportedAppProtocolReq):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
    response_type, fill = _REFUSALS[type(request)]
    return response_type(header=header, response_code=ResponseCode(code), **fill(request, config))
