"""From the handshake to authorization: protocol, session, authorization."""

import msgspec

from evcc.session.d20 import installation
from evcc.session.d20 import requests as ask
from evcc.session.d20.payment import another, pay
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.stages import (
    AskingAuthorization,
    Authorizing,
    Ending,
    FetchingContracts,
    SettingUp,
    Step,
    fail,
    on_response,
    on_wake,
)
from evcc.session.d20.stop import stop
from evcc.session.paused import Resume
from evcc.session.steps import Negotiating, Stage, seen
from v2g.iso15118.d20.messages.common_messages import (
    Authorization,
    AuthorizationReq,
    AuthorizationRes,
    AuthorizationSetupReq,
    AuthorizationSetupRes,
    CertificateInstallationReq,
    SessionSetupReq,
    SessionSetupRes,
)
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq, SupportedAppProtocolRes
from v2g.iso15118.engine.session import NO_SESSION


@on_response(Negotiating)
def on_protocol(
    stage: Negotiating, request: SupportedAppProtocolReq, response: SupportedAppProtocolRes, context: RequestContext
) -> Step:
    """Open the session, or join the paused one."""
    offered = request.app_protocol
    schema_id = response.schema_id
    if schema_id is None and len(offered) == 1:
        schema_id = offered[0].schema_id  # some chargers omit it if there is no choice
    family = next((ask.family_of(each) for each in offered if each.schema_id == schema_id), None)
    if family is None:
        return fail(stage, "unknown_schema_id", schema_id=response.schema_id)
    setup = SessionSetupReq(
        header=msgspec.structs.replace(
            context.header(), session_id=context.resume.session_id if context.resume else NO_SESSION
        ),
        evcc_id=context.config.vehicle.evcc_id,
    )
    return Step(stage=SettingUp(), request=setup, family=family)


@on_response(SettingUp)
def on_session(stage: SettingUp, request: SessionSetupReq, response: SessionSetupRes, context: RequestContext) -> Step:
    """Set the session id; a joined session continues with its old services (V2G20-1032)."""
    session_id = response.header.session_id
    if session_id == NO_SESSION:
        return fail(stage, "no_session_id")
    joined = response.response_code is ResponseCode.OK_OldSessionJoined
    observed = seen(
        "session",
        "joined" if joined else "established",
        session_id=session_id.hex(),
        evse_id=response.evse_id,
        evcc_id=request.evcc_id,
    )
    inside = msgspec.structs.replace(context, session_id=session_id)
    if joined:
        if context.resume is None or session_id != context.resume.session_id:
            return fail(stage, "joined_unknown_session")
        step = ask.charge_parameters(context.resume.choice, inside)
        choice = context.resume.choice
        return msgspec.structs.replace(step, session_id=session_id, choice=choice, joined=True, observed=(observed,))
    return Step(
        stage=AskingAuthorization(),
        request=AuthorizationSetupReq(header=inside.header()),
        session_id=session_id,
        observed=(observed,),
    )


@on_response(AskingAuthorization)
def on_authorization_setup(
    stage: AskingAuthorization, request: AuthorizationSetupReq, response: AuthorizationSetupRes, context: RequestContext
) -> Step:
    """Fetch contracts first if configured and offered, else pay with the present ones."""
    if installation.is_wanted(response, context):
        return installation.fetch(response, context)
    return pay(stage, response, context)


@on_response(Authorizing)
def on_authorization(
    stage: Authorizing, request: AuthorizationReq, response: AuthorizationRes, context: RequestContext
) -> Step:
    """Continue once authorised. A warning means a refusal (Table 224): try the next means, or stop and report it."""
    code = response.response_code
    if reaction(response) is Reaction.TRY_ANOTHER:
        # try another contract, fetch new ones, identify externally, in this order; else stop (V2G20-2226, -1978)
        denied = seen("authorization", "denied", code=code.name)
        refused = request.selected_authorization_service
        step: Step | None = None
        last = refused is Authorization.PnC and not stage.untried and not stage.fetched
        if last and installation.is_offered(stage.setup, context):
            step = installation.fetch(stage.setup, context, used=stage.used)
        step = step or another(stage, refused, context)
        if step is None:
            step = stop(stage, context, Ending(code.name, failed=True))
            return msgspec.structs.replace(step, observed=(*step.observed, denied))
        return msgspec.structs.replace(step, observed=(denied, *step.observed))
    if response.evse_processing is not Processing.Finished:
        customer = response.evse_processing is Processing.Ongoing_WaitingForCustomerInteraction
        waiting = msgspec.structs.replace(stage, polls=stage.polls + 1, customer=customer)
        return Step(stage=waiting, wait=context.config.timing.poll_pause_s)
    renewable = code is ResponseCode.OK_CertificateExpiresSoon and not stage.fetched
    if renewable and installation.is_offered(stage.setup, context):
        step = installation.fetch(stage.setup, context, renewal=True)
    else:
        step = ask.discover(context)
    granted = seen("authorization", "granted", service=request.selected_authorization_service.name, code=code.name)
    return msgspec.structs.replace(step, observed=(granted, *step.observed))


@on_wake(Authorizing, FetchingContracts)
def repeat_signed(
    stage: Stage, request: AuthorizationReq | CertificateInstallationReq, context: RequestContext
) -> Step:
    """Send the same request again; only the time stamp may differ (V2G20-1582, V2G20-1972)."""
    header = context.header(request.header.signature)
    return Step(stage=stage, request=msgspec.structs.replace(request, header=header))


def same_charger(resume: Resume, charger_leaf: bytes) -> bool:
    """Return whether a paused session belongs to the charger with this certificate (V2G20-2539)."""
    return resume.charger == binding(resume.session_id, charger_leaf)
