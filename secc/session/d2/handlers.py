"""The handler of each request of ISO 15118-2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session import ports
from secc.session.authorization import on_decided
from secc.session.d2 import charging, contract, installation, setup, stop
from secc.session.delivery import on_cable_check
from secc.session.installation import Installing, on_installed
from secc.session.request_context import Handler, OnFact
from secc.session.stages import CableChecking
from secc.session.v2g_message import delivery
from secc.session.v2g_message.stages import Authorizing
from v2g.iso15118.engine.session import Fact

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "SupportedAppProtocolReq": setup.supported_app_protocol,
        "SessionSetupReq": setup.session_setup,
        "ServiceDiscoveryReq": setup.service_discovery,
        "ServiceDetailReq": setup.service_detail,
        "PaymentServiceSelectionReq": setup.payment_service_selection,
        "CertificateInstallationReq": installation.certificate,
        "CertificateUpdateReq": installation.certificate,
        "PaymentDetailsReq": contract.payment_details,
        "AuthorizationReq": charging.authorize,
        "ChargeParameterDiscoveryReq": charging.charge_parameter_discovery,
        "CableCheckReq": charging.cable_check,
        "PreChargeReq": charging.pre_charge,
        "PowerDeliveryReq": charging.power_delivery,
        "ChargingStatusReq": charging.charging_status,
        "CurrentDemandReq": charging.current_demand,
        "MeteringReceiptReq": charging.metering_receipt,
        "WeldingDetectionReq": delivery.welding_detection,
        "SessionStopReq": stop.session_stop,
    }
)
"""Name of the request -> its handler."""

ON_FACT: Final[Mapping[type[Fact], tuple[type, OnFact]]] = MappingProxyType(
    {
        ports.AuthorizationDecided: (Authorizing, on_decided),
        ports.CableCheckFinished: (CableChecking, on_cable_check),
        ports.CertificateInstalled: (Installing, on_installed),
    }
)
"""Facts that a stage waits for, and their handlers."""
