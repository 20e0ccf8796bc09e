"""Plug and charge with the best contract, or external identification; after a refusal with the next one."""

import msgspec

from evcc.session.contracts import Contract, ranked
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.stages import Authorizing, Ending, Step
from evcc.session.d20.stop import stop
from evcc.session.steps import Stage, seen
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.signature import sign

SIGNED_ID = "id1"
"""Id of the element that a request's header signs; there is never more than one in a message."""


def pay(
    stage: Stage,
    setup: iso.AuthorizationSetupRes,
    context: RequestContext,
    *,
    fetched: bool = False,
    used: tuple[bytes, ...] = (),
) -> Step:
    """Choose a means of payment: plug and charge if both sides can, external identification if allowed.

    Contracts are sent and challenges signed only over TLS, whatever the charger offers. `fetched`: contracts have been
    requested already; `used` are the leaves of those that have signed this challenge, which counts once.
    """
    services = setup.authorization_services
    config = context.config.authorization
    external = iso.Authorization.EIM in services
    waiting = Authorizing(setup=setup, fetched=fetched, used=used)
    if external and config.prefer_eim:
        return _identify_externally(waiting, context)
    challenge = setup.pnc_as_res_authorization_mode
    usable = tuple(each for each in context.contracts if each.chain[0] not in used)
    if iso.Authorization.PnC in services and challenge is not None and usable and context.tls:
        named = challenge.supported_providers
        first, *others = ranked(
            usable,
            context.utc_ms,
            preferred=context.config.installation.prioritized_emaids,
            providers=named.provider_id if named is not None else (),
        )
        return _plug_and_charge(msgspec.structs.replace(waiting, untried=tuple(others)), context, first)
    if external and config.allow_eim:
        return _identify_externally(waiting, context)
    offered = " ".join(service.name for service in services)
    step = stop(stage, context, Ending("no_authorization_possible", failed=True))
    return msgspec.structs.replace(step, observed=(*step.observed, seen("authorization", "refused", offered=offered)))


def another(stage: Authorizing, refused: iso.Authorization, context: RequestContext) -> Step | None:
    """Return the next means of payment after a refusal (V2G20-2226), None if there is none left."""
    if refused is not iso.Authorization.PnC:
        return None
    if stage.untried:
        first, *others = stage.untried
        return _plug_and_charge(msgspec.structs.replace(stage, untried=tuple(others), polls=0), context, first)
    if iso.Authorization.EIM in stage.setup.authorization_services and context.config.authorization.allow_eim:
        return _identify_externally(msgspec.structs.replace(stage, polls=0), context)
    return None


def _plug_and_charge(stage: Authorizing, context: RequestContext, contract: Contract) -> Step:
    """Sign the charger's challenge together with the contract chain (V2G20-1063)."""
    challenge = stage.setup.pnc_as_res_authorization_mode
    assert challenge is not None
    leaf, *subs = contract.chain
    mode = iso.PnC_AReqAuthorizationMode(
        id=SIGNED_ID,
        gen_challenge=challenge.gen_challenge,
        contract_certificate_chain=ContractCertificateChain(
            certificate=leaf, sub_certificates=SubCertificates(certificate=tuple(subs))
        ),
    )
    request = iso.AuthorizationReq(
        header=context.header(sign(mode, contract.key, schema=COMMON_MESSAGES)),
        selected_authorization_service=iso.Authorization.PnC,
        pnc_a_req_authorization_mode=mode,
    )
    selected = seen("authorization", "selected", service="PnC", algorithm=contract.key.algorithm.value)
    stage = msgspec.structs.replace(stage, used=(*stage.used, leaf))
    return Step(stage=stage, request=request, contract=contract, observed=(selected,))


def _identify_externally(stage: Authorizing, context: RequestContext) -> Step:
    request = iso.AuthorizationReq(
        header=context.header(),
        selected_authorization_service=iso.Authorization.EIM,
        eim_a_req_authorization_mode=iso.EIM_AReqAuthorizationMode(),
    )
    return Step(stage=stage, request=request, observed=(seen("authorization", "selected", service="EIM"),))
