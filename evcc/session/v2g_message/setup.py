"""From the handshake to authorisation."""

from msgspec.structs import replace

from evcc.session.steps import Negotiating, seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.stages import Authorizing, Discovering, Parametrizing, Selecting, SettingUp, Step, fail
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq, SupportedAppProtocolRes
from v2g.iso15118.engine.quirks import SESSION_ID_LENGTH
from v2g.iso15118.engine.v2g_message import SESSION_ID_BYTES, asks_for_new_session
from v2g.iso15118.v2g_message import AuthorizationRes, SessionSetupRes


@COMMON.on_response(Negotiating)
def on_protocol(
    stage: Negotiating, request: SupportedAppProtocolReq, response: SupportedAppProtocolRes, context: MessageContext
) -> Step:
    """Open the session."""
    offered = request.app_protocol
    missing = response.schema_id is None and len(offered) == 1  # some chargers omit it if there is no choice
    if not missing and response.schema_id not in {each.schema_id for each in offered}:
        return fail(stage, "unknown_schema_id", schema_id=response.schema_id)
    return Step(stage=SettingUp(), request=context.vocabulary.session_setup(context))


@COMMON.on_response(SettingUp)
def on_session(stage: SettingUp, request: Element, response: SessionSetupRes, context: MessageContext) -> Step:
    """Note the session's id, and request its services."""
    session_id = context.session_id
    if asks_for_new_session(session_id) or len(session_id) > SESSION_ID_BYTES:
        return fail(stage, "no_session_id")
    evse_id, quirks = context.vocabulary.evse_id(response)
    if len(session_id) != SESSION_ID_BYTES:
        quirks = (*quirks, SESSION_ID_LENGTH)
    joined = response.response_code.name == "OK_OldSessionJoined"
    if joined and (context.resume is None or session_id != context.resume.session_id):
        return fail(stage, "joined_unknown_session")
    observed = seen(
        "session",
        "joined" if joined else "established",
        session_id=session_id.hex(),
        evse_id=evse_id,
        evcc_id=context.config.vehicle.mac.hex().upper(),
    )
    return Step(
        stage=Discovering(),
        request=context.vocabulary.discover(context),
        session_id=session_id,
        joined=joined,
        evse_id=evse_id,
        observed=(observed,),
        quirks=quirks,
    )


@COMMON.on_response(Selecting)
def on_selected(stage: Selecting, request: Element, response: Element, context: MessageContext) -> Step:
    """Request authorisation by external means."""
    return Step(stage=Authorizing(), request=context.vocabulary.authorize(context))


@COMMON.on_response(Authorizing)
def on_authorization(stage: Authorizing, request: Element, response: AuthorizationRes, context: MessageContext) -> Step:
    """Continue once authorised."""
    if response.evse_processing.value != "Finished":
        customer = response.evse_processing.value == "Ongoing_WaitingForCustomerInteraction"
        waiting = replace(stage, polls=stage.polls + 1, customer=customer)
        return Step(stage=waiting, wait=context.config.timing.poll_pause_s)
    service = "PnC" if context.choice is not None and context.choice.contract else "EIM"
    return Step(
        stage=Parametrizing(),
        request=context.vocabulary.parameters(context),
        observed=(seen("authorization", "granted", service=service, code=response.response_code.name),),
    )


@COMMON.on_wake(Authorizing)
def repeat_authorization(stage: Authorizing, request: Element, context: MessageContext) -> Step:
    """Ask again whether the vehicle is authorised."""
    return Step(stage=stage, request=context.vocabulary.authorize(context))
