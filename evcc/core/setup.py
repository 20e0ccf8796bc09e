"""From the handshake to the permission to charge: protocol, session, authorization."""

import hashlib

import msgspec

from evcc.core import ask
from evcc.core.stages import (
    AskingAuthorization,
    Authorizing,
    Ending,
    Negotiating,
    Resume,
    SettingUp,
    Step,
    World,
    fail,
    seen,
)
from evcc.core.stop import stop
from v2g.iso15118.messages.app_protocol import SupportedAppProtocolReq, SupportedAppProtocolRes
from v2g.iso15118.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.messages.common_messages import (
    Authorization,
    AuthorizationReq,
    AuthorizationRes,
    AuthorizationSetupReq,
    AuthorizationSetupRes,
    EIM_AReqAuthorizationMode,
    PnC_AReqAuthorizationMode,
    SessionSetupReq,
    SessionSetupRes,
)
from v2g.iso15118.messages.common_types import Processing, ResponseCode
from v2g.iso15118.session import NO_SESSION
from v2g.iso15118.signature import sign

SIGNED_ID = "id1"
"""Id of the element that a request's header signs; there is never more than one in a message."""


def charger_binding(session_id: bytes, charger_leaf: bytes) -> bytes:
    """Return what tells after a pause that it is the same charger (V2G20-2539, the standard's worked example)."""
    return hashlib.sha512(session_id + hashlib.sha512(charger_leaf).digest()).digest()


def on_protocol(
    stage: Negotiating, request: SupportedAppProtocolReq, response: SupportedAppProtocolRes, world: World
) -> Step:
    """Open the session, or join the one that was paused."""
    if response.schema_id not in (None, ask.SCHEMA_ID):
        return fail(stage, "unknown_schema_id", schema_id=response.schema_id)
    setup = SessionSetupReq(
        header=msgspec.structs.replace(
            world.header(), session_id=world.resume.session_id if world.resume else NO_SESSION
        ),
        evcc_id=world.config.vehicle.evcc_id,
    )
    return Step(stage=SettingUp(), request=setup)


def on_session(stage: SettingUp, request: SessionSetupReq, response: SessionSetupRes, world: World) -> Step:
    """Take the session id; a joined session goes on with its old services (V2G20-1032, -2615)."""
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
    inside = msgspec.structs.replace(world, session_id=session_id)
    if joined:
        if world.resume is None or session_id != world.resume.session_id:
            return fail(stage, "joined_unknown_session")
        step = ask.charge_parameters(world.resume.choice, inside)
        choice = world.resume.choice
        return msgspec.structs.replace(step, session_id=session_id, choice=choice, observed=(observed,))
    return Step(
        stage=AskingAuthorization(),
        request=AuthorizationSetupReq(header=inside.header()),
        session_id=session_id,
        observed=(observed,),
    )


def on_authorization_setup(
    stage: AskingAuthorization, request: AuthorizationSetupReq, response: AuthorizationSetupRes, world: World
) -> Step:
    """Choose a means of payment: plug and charge if both sides can, external identification if allowed."""
    services = response.authorization_services
    config = world.config.authorization
    external = Authorization.EIM in services
    if external and config.prefer_eim:
        return _identify_externally(world)
    challenge = response.pnc_as_res_authorization_mode
    if Authorization.PnC in services and challenge is not None and world.contract is not None:
        return _plug_and_charge(world, challenge.gen_challenge)
    if external and config.allow_eim:
        return _identify_externally(world)
    offered = " ".join(service.name for service in services)
    step = stop(stage, world, Ending("no_authorization_possible", failed=True))
    return msgspec.structs.replace(step, observed=(*step.observed, seen("authorization", "refused", offered=offered)))


def _plug_and_charge(world: World, challenge: bytes) -> Step:
    """Sign the charger's challenge together with the contract chain (V2G20-1063)."""
    assert world.contract is not None
    leaf, *subs = world.contract.chain
    mode = PnC_AReqAuthorizationMode(
        id=SIGNED_ID,
        gen_challenge=challenge,
        contract_certificate_chain=ContractCertificateChain(
            certificate=leaf, sub_certificates=SubCertificates(certificate=tuple(subs))
        ),
    )
    request = AuthorizationReq(
        header=world.header(sign(mode, world.contract.key)),
        selected_authorization_service=Authorization.PnC,
        pnc_a_req_authorization_mode=mode,
    )
    selected = seen("authorization", "selected", service="PnC", algorithm=world.contract.key.algorithm.value)
    return Step(stage=Authorizing(), request=request, observed=(selected,))


def _identify_externally(world: World) -> Step:
    request = AuthorizationReq(
        header=world.header(),
        selected_authorization_service=Authorization.EIM,
        eim_a_req_authorization_mode=EIM_AReqAuthorizationMode(),
    )
    return Step(stage=Authorizing(), request=request, observed=(seen("authorization", "selected", service="EIM"),))


def on_authorization(stage: Authorizing, request: AuthorizationReq, response: AuthorizationRes, world: World) -> Step:
    """Go on once authorised. A warning means that we are not (Table 224): stop and say why."""
    code = response.response_code
    if code.name.startswith("WARNING"):
        step = stop(stage, world, Ending(code.name, failed=True))
        return msgspec.structs.replace(step, observed=(*step.observed, seen("authorization", "denied", code=code.name)))
    if response.evse_processing is not Processing.Finished:
        waiting = msgspec.structs.replace(stage, polls=stage.polls + 1)
        return Step(stage=waiting, wait=world.config.timing.poll_pause_s)
    step = ask.discover(world)
    granted = seen("authorization", "granted", service=request.selected_authorization_service.name, code=code.name)
    return msgspec.structs.replace(step, observed=(granted,))


def repeat_authorization(stage: Authorizing, request: AuthorizationReq, world: World) -> Step:
    """Send the same request again; only the time stamp may differ (V2G20-1582)."""
    header = world.header(request.header.signature)
    return Step(stage=stage, request=msgspec.structs.replace(request, header=header))


def same_charger(resume: Resume, charger_leaf: bytes) -> bool:
    """Say whether a paused session belongs to the charger with this certificate (V2G20-2613)."""
    return resume.charger == charger_binding(resume.session_id, charger_leaf)
