"""From the handshake to authorization: protocol, session, authorization."""

import msgspec

from evcc.session.d20 import installation, stages
from evcc.session.d20 import requests as ask
from evcc.session.d20.payment import another, pay
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.stop import stop
from evcc.session.paused import Resume
from evcc.session.steps import Negotiating, Stage, seen
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.iso15118.d20.session import binding
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq, SupportedAppProtocolRes
from v2g.iso15118.engine.session import NO_SESSION


@stages.on_response(Negotiating)
def on_protocol(
    stage: Negotiating, request: SupportedAppProtocolReq, response: SupportedAppProtocolRes, context: RequestContext
) -> stages.Step:
    """Open the session, or join the paused one, if it had these messages."""
    offered = request.app_protocol
    schema_id = response.schema_id
    if schema_id is None and len(offered) == 1:
        schema_id = offered[0].schema_id  # some chargers omit it if there is no choice
    family = next((ask.family_of(each) for each in offered if each.schema_id == schema_id), None)
    if family is None:
        return stages.fail(stage, "unknown_schema_id", schema_id=response.schema_id)
    resume = context.resume
    before = resume.session_id if resume is not None and resume.choice.family is family else NO_SESSION
    setup = iso.SessionSetupReq(
        header=msgspec.structs.replace(context.header(), session_id=before), evcc_id=context.config.vehicle.evcc_id
    )
    return stages.Step(stage=stages.SettingUp(), request=setup, family=family)


@stages.on_response(stages.SettingUp)
def on_session(
    stage: stages.SettingUp, request: iso.SessionSetupReq, response: iso.SessionSetupRes, context: RequestContext
) -> stages.Step:
    """Set the session id; a joined session continues with its old services (V2G20-1032)."""
    session_id = response.header.session_id
    if session_id == NO_SESSION:
        return stages.fail(stage, "no_session_id")
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
        resume = context.resume
        if resume is None or session_id != resume.session_id or resume.choice.family is not context.family:
            return stages.fail(stage, "joined_unknown_session")
        choice = resume.choice
        step = ask.charge_parameters(choice, inside)
        return msgspec.structs.replace(step, session_id=session_id, choice=choice, joined=True, observed=(observed,))
    return stages.Step(
        stage=stages.AskingAuthorization(),
        request=iso.AuthorizationSetupReq(header=inside.header()),
        session_id=session_id,
        observed=(observed,),
    )


@stages.on_response(stages.AskingAuthorization)
def on_authorization_setup(
    stage: stages.AskingAuthorization,
    request: iso.AuthorizationSetupReq,
    response: iso.AuthorizationSetupRes,
    context: RequestContext,
) -> stages.Step:
    """Fetch contracts first if configured and offered, else pay with the present ones."""
    if installation.is_wanted(response, context):
        return installation.fetch(response, context)
    return pay(stage, response, context)


@stages.on_response(stages.Authorizing)
def on_authorization(
    stage: stages.Authorizing, request: iso.AuthorizationReq, response: iso.AuthorizationRes, context: RequestContext
) -> stages.Step:
    """Continue once authorised. A warning means a refusal (Table 224): try the next means, or stop and report it."""
    code = response.response_code
    if reaction(response) is Reaction.TRY_ANOTHER:
        # try another contract, fetch new ones, identify externally, in this order; else stop (V2G20-2226, -1978)
        denied = seen("authorization", "denied", code=code.name)
        refused = request.selected_authorization_service
        step: stages.Step | None = None
        last = refused is iso.Authorization.PnC and not stage.untried and not stage.fetched
        if last and installation.is_offered(stage.setup, context):
            step = installation.fetch(stage.setup, context, used=stage.used)
        step = step or another(stage, refused, context)
        if step is None:
            step = stop(stage, context, stages.Ending(code.name, failed=True))
            return msgspec.structs.replace(step, observed=(*step.observed, denied))
        return msgspec.structs.replace(step, observed=(denied, *step.observed))
    if response.evse_processing is not Processing.Finished:
        customer = response.evse_processing is Processing.Ongoing_WaitingForCustomerInteraction
        waiting = msgspec.structs.replace(stage, polls=stage.polls + 1, customer=customer)
        return stages.Step(stage=waiting, wait=context.config.timing.poll_pause_s)
    renewable = code is ResponseCode.OK_CertificateExpiresSoon and not stage.fetched
    if renewable and installation.is_offered(stage.setup, context):
        step = installation.fetch(stage.setup, context, renewal=True)
    else:
        step = ask.discover(context)
    granted = seen("authorization", "granted", service=request.selected_authorization_service.name, code=code.name)
    return msgspec.structs.replace(step, observed=(granted, *step.observed))


@stages.on_wake(stages.Authorizing, stages.FetchingContracts)
def repeat_signed(
    stage: Stage, request: iso.AuthorizationReq | iso.CertificateInstallationReq, context: RequestContext
) -> stages.Step:
    """Send the same request again; only the time stamp may differ (V2G20-1582, V2G20-1972)."""
    header = context.header(request.header.signature)
    return stages.Step(stage=stage, request=msgspec.structs.replace(request, header=header))


def same_charger(resume: Resume, charger_leaf: bytes) -> bool:
    """Return whether a paused session belongs to the charger with this certificate (V2G20-2539)."""
    return resume.charger == binding(resume.session_id, charger_leaf)
