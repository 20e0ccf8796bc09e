"""From the handshake to the selected payment in DIN 70121: external payment, and one charge service."""

from typing import Final

from secc.session.config import SeccConfig
from secc.session.request_context import refuse
from secc.session.stages import Fresh, Opened
from secc.session.v2g_message import setup
from secc.session.v2g_message.request_context import DIN_HANDLERS, Discovered, Paying, RequestContext, Step
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.din.messages import data_types as iso
from v2g.iso15118.din.messages.common import ServiceDiscoveryReq, ServicePaymentSelectionReq, SessionSetupReq
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import evcc_id as evcc_ids
from v2g.iso15118.engine import evse_id as evse_ids
from v2g.iso15118.engine.quirks import EVCCID_LENGTH
from v2g.iso15118.engine.v2g_message import asks_for_new_session
from v2g.iso15118.select import best_ranked

CHARGE_SERVICE: Final = 1
"""ServiceID of the charge service."""

_CORE: Final = 1
"""Value of `charger.connector` for the DC pins of a core inlet; all others are of an extended one."""


def serves(protocol: app.AppProtocol, config: SeccConfig) -> bool:
    """Return whether a protocol is DIN 70121, and the charger has direct current and external identification."""
    known = protocol.protocol_namespace == DIN.uri and protocol.version_number_major == setup.VERSION[0]
    return known and Authorization.EIM in config.authorization and bool(config.offers(Family.DC))


def transfer_type(config: SeccConfig) -> str:
    """Return the one energy transfer type on offer (V2G-DC-625, -635)."""
    return "DC_core" if config.connector == _CORE else "DC_extended"


def is_offered(requested: iso.EVRequestedEnergyTransferType, config: SeccConfig) -> bool:
    """Return whether a requested type is that on offer (V2G-DC-397)."""
    return requested.value == transfer_type(config)


@DIN_HANDLERS.on_request(app.SupportedAppProtocolReq)
def supported_app_protocol(request: app.SupportedAppProtocolReq, stage: Fresh, context: RequestContext) -> Step:
    """Accept DIN 70121."""
    best = best_ranked(request.app_protocol, lambda each: serves(each, context.config))
    return setup.supported_app_protocol(request, best, context.messages.protocol, DIN.uri)


@DIN_HANDLERS.on_request(SessionSetupReq)
def session_setup(request: SessionSetupReq, stage: Fresh, context: RequestContext) -> Step:
    """Open a new session: there are no pauses."""
    begun, commands = setup.opened(request.evcc_id, context, resumed=not asks_for_new_session(context.asked_session))
    response = context.messages.response(
        "SessionSetupRes",
        "OK_NewSessionEstablished",
        evse_id=evse_ids.as_bytes(context.config.evse_id),
        date_time_now=context.utc_ms // 1000,
    )
    return Step(response, begun, commands, quirks=() if evcc_ids.is_regular(request.evcc_id) else (EVCCID_LENGTH,))


@DIN_HANDLERS.on_request(ServiceDiscoveryReq)
def service_discovery(request: ServiceDiscoveryReq, stage: Opened, context: RequestContext) -> Step:
    """Offer the charge service; scope and category select among services that there are not (V2G-DC-628, -629)."""
    response = context.messages.response(
        "ServiceDiscoveryRes",
        payment_options=iso.PaymentOptions(payment_option=(iso.PaymentOption.ExternalPayment,)),
        charge_service=iso.ServiceCharge(
            service_tag=iso.ServiceTag(service_id=CHARGE_SERVICE, service_category=iso.ServiceCategory.EVCharging),
            free_service=False,
            energy_transfer_type=iso.EVSESupportedEnergyTransferType(transfer_type(context.config)),
        ),
    )
    return Step(response, Discovered(stage, frozenset({CHARGE_SERVICE})))


@DIN_HANDLERS.on_request(ServicePaymentSelectionReq)
def service_payment_selection(request: ServicePaymentSelectionReq, stage: Discovered, context: RequestContext) -> Step:
    """Accept external payment (V2G-DC-252, -395) for the charge service (V2G-DC-396)."""
    if request.selected_payment_option is not iso.PaymentOption.ExternalPayment:
        raise refuse("FAILED_PaymentSelectionInvalid", f"{request.selected_payment_option.value} was not offered")
    selected = {each.service_id for each in request.selected_service_list.selected_service}
    if CHARGE_SERVICE not in selected or not selected <= stage.services:
        raise refuse("FAILED_ServiceSelectionInvalid", f"services {sorted(selected)} were not offered")
    return Step(context.messages.response("ServicePaymentSelectionRes"), Paying(stage.opened))
