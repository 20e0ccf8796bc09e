"""The handler of each request of DIN 70121."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session import ports
from secc.session.delivery import on_cable_check
from secc.session.din import charging, setup
from secc.session.request_context import Handler, OnFact, awaited, handled
from secc.session.stages import CableChecking, Stage, on_decided
from secc.session.v2g_message import delivery
from secc.session.v2g_message.request_context import Authorizing
from v2g.iso15118.din.messages import charging as energy
from v2g.iso15118.din.messages import common
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import Fact

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    dict(
        [
            handled(app.SupportedAppProtocolReq, setup.supported_app_protocol),
            handled(common.SessionSetupReq, setup.session_setup),
            handled(common.ServiceDiscoveryReq, setup.service_discovery),
            handled(common.ServicePaymentSelectionReq, setup.service_payment_selection),
            handled(common.ContractAuthenticationReq, charging.contract_authentication),
            handled(common.ChargeParameterDiscoveryReq, charging.charge_parameter_discovery),
            handled(energy.CableCheckReq, delivery.cable_check),
            handled(energy.PreChargeReq, delivery.pre_charge),
            handled(common.PowerDeliveryReq, charging.power_delivery),
            handled(energy.CurrentDemandReq, charging.current_demand),
            handled(energy.WeldingDetectionReq, delivery.welding_detection),
            handled(common.SessionStopReq, delivery.session_stop),
        ]
    )
)
"""Name of the request -> its handler; those of contracts and alternating current are out of order."""

ON_FACT: Final[Mapping[type[Fact], tuple[type[Stage], OnFact]]] = MappingProxyType(
    dict(
        [
            awaited(ports.AuthorizationDecided, Authorizing, on_decided),
            awaited(ports.CableCheckFinished, CableChecking, on_cable_check),
        ]
    )
)
"""Facts that a stage waits for, and their handlers."""
