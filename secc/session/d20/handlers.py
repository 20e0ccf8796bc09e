"""The handler of each request on the main stream of a charge point."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session import ports
from secc.session.authorization import on_decided
from secc.session.d20 import (
    ac,
    acdp,
    authorization,
    delivery,
    installation,
    loop,
    parameters,
    parking,
    renegotiation,
    service,
    setup,
    stop,
    wpt,
)
from secc.session.d20.stages import Authorizing
from secc.session.delivery import on_cable_check
from secc.session.installation import Installing, on_installed
from secc.session.request_context import Handler, OnFact
from secc.session.stages import CableChecking
from v2g.iso15118.engine.session import Fact

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "SupportedAppProtocolReq": setup.supported_app_protocol,
        "SessionSetupReq": setup.session_setup,
        "AuthorizationSetupReq": setup.authorization_setup,
        "AuthorizationReq": authorization.authorization,
        "CertificateInstallationReq": installation.certificate_installation,
        "ServiceDiscoveryReq": service.service_discovery,
        "ServiceDetailReq": service.service_detail,
        "ServiceSelectionReq": service.service_selection,
        "DC_ChargeParameterDiscoveryReq": parameters.charge_parameter_discovery,
        "AC_ChargeParameterDiscoveryReq": ac.charge_parameter_discovery,
        "WPT_FinePositioningSetupReq": wpt.fine_positioning_setup,
        "WPT_FinePositioningReq": wpt.fine_positioning,
        "WPT_PairingReq": wpt.pairing,
        "WPT_ChargeParameterDiscoveryReq": wpt.charge_parameter_discovery,
        "WPT_AlignmentCheckReq": wpt.alignment_check,
        "ACDP_VehiclePositioningReq": acdp.vehicle_positioning,
        "ACDP_ConnectReq": acdp.connect,
        "ACDP_DisconnectReq": acdp.disconnect,
        "ScheduleExchangeReq": renegotiation.renegotiated,
        "DC_CableCheckReq": delivery.cable_check,
        "DC_PreChargeReq": delivery.pre_charge,
        "PowerDeliveryReq": delivery.power_delivery,
        "AC_ChargeLoopReq": ac.charge_loop,
        "DC_ChargeLoopReq": loop.charge_loop,
        "WPT_ChargeLoopReq": wpt.charge_loop,
        "MeteringConfirmationReq": loop.metering_confirmation,
        "DC_WeldingDetectionReq": delivery.welding_detection,
        "SessionStopReq": stop.session_stop,
        "VehicleCheckInReq": parking.check_in,
        "VehicleCheckOutReq": parking.check_out,
    }
)
"""Name of the request -> its handler. A request of the chart without handler is out of order."""

ON_FACT: Final[Mapping[type[Fact], tuple[type, OnFact]]] = MappingProxyType(
    {
        ports.AuthorizationDecided: (Authorizing, on_decided),
        ports.CertificateInstalled: (Installing, on_installed),
        ports.CableCheckFinished: (CableChecking, on_cable_check),
    }
)
"""Facts that a stage waits for, and their handlers."""
