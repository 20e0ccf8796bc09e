"""From the handshake to an open session."""

from collections.abc import Callable

from secc.session.ports import AuthorizeExternally, ForgetSession, TransactionStarted
from secc.session.request_context import Wait, refuse
from secc.session.stages import Authorized, Fresh, Opened
from secc.session.v2g_message.request_context import Authorizing, Paying, RequestContext, Step
from v2g.exi.declare import Element
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import identifiers as evcc_ids
from v2g.iso15118.engine.quirks import PROTOCOL_ORDER, SCHEMA_ID_ZERO, Quirk
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.select import NAMESPACES
from v2g.observe import Observe, Scalar
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

VERSION = (2, 0)
"""Major and minor version of the namespaces of both editions."""


def supported_app_protocol(
    request: app.SupportedAppProtocolReq, served: app.AppProtocol | None, context: RequestContext
) -> Step:
    """Answer the handshake with the protocol that is `served`, the vehicle's best-ranked one, if any."""
    namespaces = " ".join(each.protocol_namespace for each in request.app_protocol)
    offered = Observe("session", "protocols_offered", {"namespaces": namespaces})
    if served is None:
        data: dict[str, Scalar] = {"offered": namespaces, "served": " ".join(context.connection.served)}
        refused = Observe("session", "protocol_refused", data)
        response = app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
        return Step(response, Fresh(), (offered, refused))
    code = (
        app.ResponseCode.OK_SuccessfulNegotiation
        if served.version_number_minor == VERSION[1]
        else app.ResponseCode.OK_SuccessfulNegotiationWithMinorDeviation
    )
    picked = Observe(
        "session", "protocol_negotiated", {"protocol": context.messages.protocol, "schema_id": served.schema_id}
    )
    response = app.SupportedAppProtocolRes(response_code=code, schema_id=served.schema_id)
    return Step(response, Fresh(), (offered, picked), quirks=_offer_quirks(request, served))


def _offer_quirks(request: app.SupportedAppProtocolReq, served: app.AppProtocol) -> tuple[Quirk, ...]:
    """Return what is unusual in a vehicle's offer: another order than by edition, and SchemaID 0."""
    first = min(request.app_protocol, key=lambda each: each.priority).protocol_namespace
    newer = any(each.protocol_namespace == ISO2.uri for each in request.app_protocol)
    order = first not in NAMESPACES or (first == DIN.uri and newer)
    return (*((PROTOCOL_ORDER,) if order else ()), *((SCHEMA_ID_ZERO,) if served.schema_id == 0 else ()))


def opened(
    evcc_id: bytes, context: RequestContext, *, resumed: bool
) -> tuple[Opened, tuple[ForgetSession | Observe, ...]]:
    """Return the stage of a new session, and its commands; a session that was paused here is forgotten."""
    paused = context.paused
    forget = () if paused is None else (ForgetSession(paused.session_id.hex(), "not_resumed", "Other"),)
    stage = Opened(
        session_id=new_session_id(context.connection.entropy),
        evcc_id=evcc_ids.shown(evcc_id),
        mac_address=evcc_ids.mac_address(evcc_id) or "",
    )
    event = Observe(
        "session",
        "session_started",
        {
            "session_id": stage.session_id.hex(),
            "evse_id": context.config.evse_id,
            "evcc_id": stage.evcc_id,
            "resumed": resumed,
        },
    )
    return stage, (*forget, event)


def new_session_id(entropy: Entropy) -> bytes:
    """Return 8 unpredictable bytes that are not all zero [V2G2-750]."""
    while not any(session_id := entropy(8)):
        pass
    return session_id


# -- Authorisation: the vehicle repeats its request until the back end has decided

_ATTEMPT = 1


def external(
    stage: Paying | Authorizing,
    context: RequestContext,
    respond: Callable[[str], Element],
    *,
    ongoing: str,
    patience_s: float,
) -> Step | Wait:
    """Ask for a decision, and answer `ongoing` until there is one, at most for `patience_s`.

    `respond` returns the response with this EVSEProcessing.
    """
    if isinstance(stage, Paying) and context.joined is not None:
        return Step(respond("Finished"), Authorized(opened=stage.opened, contract=context.joined.contract))
    if isinstance(stage, Paying):
        asked = Observe("authorization", "asked", {"method": "EIM"})
        waiting = Authorizing(attempt=_ATTEMPT, since=context.now, contract=None, opened=stage.opened)
        mac_address = stage.opened.mac_address if context.config.autocharge else ""
        command = AuthorizeExternally(attempt=_ATTEMPT, mac_address=mac_address)
        return Wait(waiting, context.config.poll_hold_s, (asked, command))
    if stage.status is AuthorizationStatus.ACCEPTED:
        opened, session_id = stage.opened, stage.opened.session_id.hex()
        contract, emaid = stage.contract, stage.contract.emaid if stage.contract is not None else ""
        who = {"method": "PnC", "emaid": emaid} if contract is not None else {"method": "EIM"}
        data: dict[str, Scalar] = {"session_id": session_id, "evcc_id": opened.evcc_id, **who}
        data["seconds"] = round(context.now - stage.since, 4)
        started = TransactionStarted(session_id, emaid, evcc_id=opened.evcc_id, protocol=context.messages.protocol)
        commands = (started, Observe("authorization", "authorized", data))
        authorized = Authorized(opened=opened, contract=contract, opening=stage.opening)
        return Step(respond("Finished"), authorized, commands)
    if stage.status is not None:
        raise refuse("FAILED", f"the authorisation was refused: {stage.status.value}")
    if context.now - stage.since >= patience_s:
        raise refuse("FAILED", "there was no decision in time", reason="ongoing_timeout")
    if not context.waited:
        return Wait(stage, context.config.poll_hold_s)
    return Step(respond(ongoing), stage)
