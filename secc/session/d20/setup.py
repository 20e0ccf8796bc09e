"""From the handshake to the offer of authorisation methods."""

import hmac
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from secc.session.config import SeccConfig
from secc.session.d20.stages import HANDLERS, Fresh, Offered, RequestContext, Step, refuse, selected_again
from secc.session.installation import is_offered
from secc.session.journal import discharge_rule, journal_opening, resume_journal
from secc.session.ports import ForgetSession, JoinSession, Paused
from secc.session.stages import Opened
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC, AC_DER_SAE, ACDP, DC, WPT
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import NO_SESSION, Command, Entropy
from v2g.iso15118.select import best_ranked
from v2g.observe import Observe, Scalar

VERSION: Final = (1, 0)
"""Major and minor version of the supported -20 namespaces."""

NAMESPACES: Final[Mapping[str, Family]] = {
    AC.uri: Family.AC,
    AC_DER_IEC.uri: Family.AC,
    AC_DER_SAE.uri: Family.AC,
    DC.uri: Family.DC,
    WPT.uri: Family.WPT,
    ACDP.uri: Family.ACDP,
}
"""Namespace of a protocol -> its set of messages."""


def serves(protocol: app.AppProtocol, config: SeccConfig) -> bool:
    """Return whether a protocol is served: each is a set of messages, and requires an energy service of that set. Those
    of Amendment 1 are one more name of alternating current: where either flavour is on, both are known."""
    family = NAMESPACES.get(protocol.protocol_namespace)
    major = protocol.version_number_major == VERSION[0]  # V2G20-149
    return (
        major
        and family is not None
        and bool(config.offers(family))
        and (config.der is not None or protocol.protocol_namespace not in (AC_DER_IEC.uri, AC_DER_SAE.uri))
    )


@HANDLERS.on_request(app.SupportedAppProtocolReq)
def supported_app_protocol(request: app.SupportedAppProtocolReq, stage: Fresh, context: RequestContext) -> Step:
    """Select the vehicle's best-ranked protocol among those served (V2G20-167, -169)."""
    namespaces = " ".join(each.protocol_namespace for each in request.app_protocol)
    offered = Observe("session", "protocols_offered", {"namespaces": namespaces})
    best = best_ranked(request.app_protocol, lambda each: serves(each, context.config))
    if best is None:
        response = app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
        served = " ".join(context.connection.served)
        refused = Observe("session", "protocol_refused", {"offered": namespaces, "served": served})
        return Step(response, stage, (offered, refused))
    code = (
        app.ResponseCode.OK_SuccessfulNegotiation
        if best.version_number_minor == VERSION[1]
        else app.ResponseCode.OK_SuccessfulNegotiationWithMinorDeviation
    )
    family = NAMESPACES[best.protocol_namespace]
    protocol = f"ISO 15118-20 {family.value}"
    picked = Observe("session", "protocol_negotiated", {"protocol": protocol, "schema_id": best.schema_id})
    response = app.SupportedAppProtocolRes(response_code=code, schema_id=best.schema_id)
    return Step(response, Fresh(family=family), (offered, picked))


@HANDLERS.on_request(iso.SessionSetupReq)
def session_setup(request: iso.SessionSetupReq, stage: Fresh, context: RequestContext) -> Step:
    """Open a session, or join the paused one of this vehicle; any other old id gets a new session (V2G20-2626)."""
    paused = context.paused
    if paused is not None and request.header.session_id == paused.session_id and _is_same_vehicle(paused, context):
        return _join(paused, request, context)
    forget: tuple[Command, ...] = ()
    if paused is not None:
        forget = (ForgetSession(paused.session_id.hex(), "not_resumed", "Other"),)
    session_id = new_session_id(context.connection.entropy)
    opened = Opened(session_id=session_id, evcc_id=request.evcc_id)
    data: dict[str, Scalar] = {
        "session_id": session_id.hex(),
        "evse_id": context.config.evse_id,
        "evcc_id": request.evcc_id,
        "resumed": request.header.session_id != NO_SESSION,
    }
    response = iso.SessionSetupRes(
        header=MessageHeader(session_id=session_id, time_stamp=context.header.time_stamp),
        response_code=ResponseCode.OK_NewSessionEstablished,
        evse_id=context.config.evse_id,
    )
    return Step(response, opened, (*forget, Observe("session", "session_started", data)))


def _is_same_vehicle(paused: Paused, context: RequestContext) -> bool:
    """Whether this connection has the same vehicle certificate, and the services are still served (V2G20-2545)."""
    leaf = context.connection.vehicle_certificate
    known = bool(leaf) and hmac.compare_digest(paused.vehicle, binding(paused.session_id, leaf))
    return known and paused.service in context.config.offers(context.family)


def _join(paused: Paused, request: iso.SessionSetupReq, context: RequestContext) -> Step:
    """Continue the paused session: services are selected and the authorization is valid (V2G20-1032, -1844)."""
    session_id = paused.session_id.hex()
    selected = selected_again(paused)
    data: dict[str, Scalar] = {"session_id": session_id, "evse_id": context.config.evse_id, "evcc_id": request.evcc_id}
    response = iso.SessionSetupRes(
        header=MessageHeader(session_id=paused.session_id, time_stamp=context.header.time_stamp),
        response_code=ResponseCode.OK_OldSessionJoined,
        evse_id=context.config.evse_id,
    )
    discharge = discharge_rule(context.config, bidirectional=selected.bidirectional, signed=selected.signed_discharge)
    resumed = resume_journal(selected.service.name, discharge, context.facts.tariff)
    return Step(response, selected, (JoinSession(session_id), *resumed, Observe("session", "session_joined", data)))


def new_session_id(entropy: Entropy) -> bytes:
    """Return 8 unpredictable bytes that are not all zero (V2G20-2106, -2621)."""
    while (session_id := entropy(8)) == NO_SESSION:
        pass
    return session_id


@HANDLERS.on_request(iso.AuthorizationSetupReq)
def authorization_setup(request: iso.AuthorizationSetupReq, stage: Opened, context: RequestContext) -> Step:
    """Offer Plug & Charge, external means or both; with a challenge if Plug & Charge is among them."""
    services = context.authorization
    if not services:
        raise refuse(ResponseCode.FAILED, "Plug & Charge requires TLS, and no other method is offered")
    pnc = iso.Authorization.PnC in services
    opening = journal_opening(context, stage.session_id) if pnc else None  # V2G20-2608: its challenge is used once
    installable = is_offered(context)
    response = iso.AuthorizationSetupRes(
        header=context.header,
        response_code=ResponseCode.OK,
        authorization_services=services,
        certificate_installation_service=installable,
        # V2G20-1219, -1220: the mode of Plug & Charge whenever it is offered, otherwise that of external means
        pnc_as_res_authorization_mode=None if opening is None else _challenge_mode(opening.challenge, context.config),
        eim_as_res_authorization_mode=None if pnc else iso.EIM_ASResAuthorizationMode(),
    )
    offered = Observe(
        "authorization",
        "offered",
        {"services": " ".join(each.name for each in services), "certificate_installation": installable},
    )
    return Step(response, Offered(opened=replace(stage, installable=installable), opening=opening), (offered,))


def _challenge_mode(challenge: bytes, config: SeccConfig) -> iso.PnC_ASResAuthorizationMode:
    providers = config.supported_providers
    return iso.PnC_ASResAuthorizationMode(
        gen_challenge=challenge,
        supported_providers=iso.SupportedProvidersList(provider_id=providers) if providers else None,
    )
