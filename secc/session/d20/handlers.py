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
from secc.session.request_context import Handler, OnFact, awaited, handled
from secc.session.stages import CableChecking, Stage
from v2g.iso15118.d20.messages import ac as alternating
from v2g.iso15118.d20.messages import acdp as contacts
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import dc as direct
from v2g.iso15118.d20.messages import wpt as wireless
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import Fact

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    dict(
        [
            handled(app.SupportedAppProtocolReq, setup.supported_app_protocol),
            handled(cm.SessionSetupReq, setup.session_setup),
            handled(cm.AuthorizationSetupReq, setup.authorization_setup),
            handled(cm.AuthorizationReq, authorization.authorization),
            handled(cm.CertificateInstallationReq, installation.certificate_installation),
            handled(cm.ServiceDiscoveryReq, service.service_discovery),
            handled(cm.ServiceDetailReq, service.service_detail),
            handled(cm.ServiceSelectionReq, service.service_selection),
            handled(direct.DC_ChargeParameterDiscoveryReq, parameters.charge_parameter_discovery),
            handled(alternating.AC_ChargeParameterDiscoveryReq, ac.charge_parameter_discovery),
            handled(wireless.WPT_FinePositioningSetupReq, wpt.fine_positioning_setup),
            handled(wireless.WPT_FinePositioningReq, wpt.fine_positioning),
            handled(wireless.WPT_PairingReq, wpt.pairing),
            handled(wireless.WPT_ChargeParameterDiscoveryReq, wpt.charge_parameter_discovery),
            handled(wireless.WPT_AlignmentCheckReq, wpt.alignment_check),
            handled(contacts.ACDP_VehiclePositioningReq, acdp.vehicle_positioning),
            handled(contacts.ACDP_ConnectReq, acdp.connect),
            handled(contacts.ACDP_DisconnectReq, acdp.disconnect),
            handled(cm.ScheduleExchangeReq, renegotiation.renegotiated),
            handled(direct.DC_CableCheckReq, delivery.cable_check),
            handled(direct.DC_PreChargeReq, delivery.pre_charge),
            handled(cm.PowerDeliveryReq, delivery.power_delivery),
            handled(alternating.AC_ChargeLoopReq, ac.charge_loop),
            handled(direct.DC_ChargeLoopReq, loop.charge_loop),
            handled(wireless.WPT_ChargeLoopReq, wpt.charge_loop),
            handled(cm.MeteringConfirmationReq, loop.metering_confirmation),
            handled(direct.DC_WeldingDetectionReq, delivery.welding_detection),
            handled(cm.SessionStopReq, stop.session_stop),
            handled(cm.VehicleCheckInReq, parking.check_in),
            handled(cm.VehicleCheckOutReq, parking.check_out),
        ]
    )
)
"""Name of the request -> its handler. A request of the chart without handler is out of order."""

ON_FACT: Final[Mapping[type[Fact], tuple[type[Stage], OnFact]]] = MappingProxyType(
    dict(
        [
            awaited(ports.AuthorizationDecided, Authorizing, on_decided),
            awaited(ports.CertificateInstalled, Installing, on_installed),
            awaited(ports.CableCheckFinished, CableChecking, on_cable_check),
        ]
    )
)
"""Facts that a stage waits for, and their handlers."""
