"""The handler of each request of ISO 15118-2."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session import ports
from secc.session.d2 import charging, contract, installation, setup, stop
from secc.session.delivery import on_cable_check
from secc.session.installation import Installing, on_installed
from secc.session.request_context import Handler, OnFact, awaited, handled
from secc.session.stages import CableChecking, Stage, on_decided
from secc.session.v2g_message import delivery
from secc.session.v2g_message.request_context import Authorizing
from v2g.iso15118.d2.messages import charging as energy
from v2g.iso15118.d2.messages import common
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import Fact

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    dict(
        [
            handled(app.SupportedAppProtocolReq, setup.supported_app_protocol),
            handled(common.SessionSetupReq, setup.session_setup),
            handled(common.ServiceDiscoveryReq, setup.service_discovery),
            handled(common.ServiceDetailReq, setup.service_detail),
            handled(common.PaymentServiceSelectionReq, setup.payment_service_selection),
            handled(common.CertificateInstallationReq, installation.certificate),
            handled(common.CertificateUpdateReq, installation.certificate),
            handled(common.PaymentDetailsReq, contract.payment_details),
            handled(common.AuthorizationReq, charging.authorize),
            handled(common.ChargeParameterDiscoveryReq, charging.charge_parameter_discovery),
            handled(energy.CableCheckReq, charging.cable_check),
            handled(energy.PreChargeReq, charging.pre_charge),
            handled(common.PowerDeliveryReq, charging.power_delivery),
            handled(energy.ChargingStatusReq, charging.charging_status),
            handled(energy.CurrentDemandReq, charging.current_demand),
            handled(common.MeteringReceiptReq, charging.metering_receipt),
            handled(energy.WeldingDetectionReq, delivery.welding_detection),
            handled(common.SessionStopReq, stop.session_stop),
        ]
    )
)
"""Name of the request -> its handler."""

ON_FACT: Final[Mapping[type[Fact], tuple[type[Stage], OnFact]]] = MappingProxyType(
    dict(
        [
            awaited(ports.AuthorizationDecided, Authorizing, on_decided),
            awaited(ports.CableCheckFinished, CableChecking, on_cable_check),
            awaited(ports.ContractAnswered, Installing, on_installed),
        ]
    )
)
"""Facts that a stage waits for, and their handlers."""
