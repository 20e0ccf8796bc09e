"""From the handshake to the ways of identification."""

from secc.core.config import SeccConfig
from secc.core.context import Fresh, Offered, Opened, Step, World
from v2g.iso15118.messages import app_protocol as app
from v2g.iso15118.messages.common_messages import (
    Authorization,
    AuthorizationSetupReq,
    AuthorizationSetupRes,
    EIM_ASResAuthorizationMode,
    PnC_ASResAuthorizationMode,
    SessionSetupReq,
    SessionSetupRes,
    SupportedProvidersList,
)
from v2g.iso15118.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.messages.schemas import DC
from v2g.iso15118.session import NO_SESSION, Entropy
from v2g.observe import Observe, Scalar

VERSION = (1, 0)
"""Major and minor version of the -20 DC namespace that is spoken here."""


def supported_app_protocol(request: app.SupportedAppProtocolReq, context: Fresh, world: World) -> Step:
    """Take the best-ranked protocol that is served here, after dropping the others (V2G20-167, -169)."""
    offered = Observe(
        "session",
        "protocols_offered",
        {"namespaces": " ".join(each.protocol_namespace.rpartition(":")[2] for each in request.app_protocol)},
    )
    served = [
        each
        for each in request.app_protocol
        if each.protocol_namespace == DC.uri and each.version_number_major == VERSION[0]  # V2G20-149
    ]
    if not served:
        response = app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
        return Step(response, context, (offered,))
    best = min(served, key=lambda each: each.priority)
    code = (
        app.ResponseCode.OK_SuccessfulNegotiation
        if best.version_number_minor == VERSION[1]
        else app.ResponseCode.OK_SuccessfulNegotiationWithMinorDeviation
    )
    picked = Observe("session", "protocol_negotiated", {"protocol": "ISO 15118-20 DC", "schema_id": best.schema_id})
    response = app.SupportedAppProtocolRes(response_code=code, schema_id=best.schema_id)
    return Step(response, context, (offered, picked))


def session_setup(request: SessionSetupReq, context: Fresh, world: World) -> Step:
    """Open a session. Paused sessions are not kept, so an old id gets a new session too (V2G20-2626, -2627)."""
    session_id = new_session_id(world.entropy)
    opened = Opened(session_id=session_id, evcc_id=request.evcc_id)
    data: dict[str, Scalar] = {
        "session_id": session_id.hex(),
        "evse_id": world.config.evse_id,
        "evcc_id": request.evcc_id,
        "resumed": request.header.session_id != NO_SESSION,
    }
    response = SessionSetupRes(
        header=MessageHeader(session_id=session_id, time_stamp=world.header.time_stamp),
        response_code=ResponseCode.OK_NewSessionEstablished,
        evse_id=world.config.evse_id,
    )
    return Step(response, opened, (Observe("session", "session_started", data),))


def new_session_id(entropy: Entropy) -> bytes:
    """Return 8 unpredictable bytes that are not all zero (V2G20-2106, -2621)."""
    while (session_id := entropy(8)) == NO_SESSION:
        pass
    return session_id


def authorization_setup(request: AuthorizationSetupReq, context: Opened, world: World) -> Step:
    """Offer Plug & Charge, external means or both; with a challenge as soon as Plug & Charge is among them."""
    services = world.config.authorization
    pnc = Authorization.PnC in services
    challenge = world.entropy(16) if pnc else b""  # V2G20-697, -2108: used once
    response = AuthorizationSetupRes(
        header=world.header,
        response_code=ResponseCode.OK,
        authorization_services=services,
        certificate_installation_service=False,
        # V2G20-1219, -1220: the mode of Plug & Charge whenever it is offered, the other one only without it
        pnc_as_res_authorization_mode=_challenge_mode(challenge, world.config) if pnc else None,
        eim_as_res_authorization_mode=None if pnc else EIM_ASResAuthorizationMode(),
    )
    offered = Observe("authorization", "offered", {"services": " ".join(each.name for each in services)})
    return Step(response, Offered(opened=context, challenge=challenge), (offered,))


def _challenge_mode(challenge: bytes, config: SeccConfig) -> PnC_ASResAuthorizationMode:
    providers = config.supported_providers
    return PnC_ASResAuthorizationMode(
        gen_challenge=challenge,
        supported_providers=SupportedProvidersList(provider_id=providers) if providers else None,
    )
