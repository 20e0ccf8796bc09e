"""Contract installation: requested with the provisioning certificate, verified, decrypted and stored, one by one.

Only verified contracts are stored: the service's chain to a V2G root, its signature, the envelope, and the match of
key and certificate. After a refusal the vehicle continues with its present contracts.
"""

from datetime import UTC, datetime

import msgspec

from evcc.session.contracts import Contract, rejection, usable
from evcc.session.d20 import requests as ask
from evcc.session.d20.payment import pay
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.stages import Ending, FetchingContracts, Step, on_response
from evcc.session.d20.stop import stop
from evcc.session.ports import StoreContract
from evcc.session.steps import Stage, seen
from v2g.errors import TrustError
from v2g.iso15118.d20.installation import InstallationRequest, make_request, open_contract, verify_service
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import Processing, ResponseCode
from v2g.observe import Observe
from v2g.pki.keys import SoftwareKey


def is_offered(setup: iso.AuthorizationSetupRes, context: RequestContext) -> bool:
    """Return whether contracts can be fetched: the charger offers it, and the vehicle is able and permitted to."""
    able = context.provisioning is not None and context.config.installation.install != "never" and context.tls
    return able and setup.certificate_installation_service


def is_wanted(setup: iso.AuthorizationSetupRes, context: RequestContext) -> bool:
    """Return whether to fetch contracts before payment: none is valid, or it is configured for each session."""
    if not is_offered(setup, context):
        return False
    return context.config.installation.install == "always" or not usable(context.contracts, context.utc_ms)


def fetch(
    setup: iso.AuthorizationSetupRes, context: RequestContext, *, renewal: bool = False, used: tuple[bytes, ...] = ()
) -> Step:
    """Request contracts; `renewal` if the vehicle is already authorised, by one that expires soon (V2G20-2218).

    `used` are the leaves of contracts that need not be tried again.
    """
    config = context.config.installation
    room = config.maximum_contracts - len(usable(context.contracts, context.utc_ms))
    stage = FetchingContracts(
        setup=setup, renewal=renewal, maximum=max(1, room), emaids=config.prioritized_emaids, used=used
    )
    return _ask(stage, context)


def _ask(stage: FetchingContracts, context: RequestContext, *observed: Observe) -> Step:
    own = context.provisioning
    assert own is not None
    wanted = InstallationRequest(
        roots=(*own.v2g_roots, *own.mo_roots), maximum=max(1, stage.maximum - stage.received), emaids=stage.emaids
    )
    request = make_request(context.header(), own.chain, own.key, wanted)
    asked = seen("installation", "requested", pcid=own.pcid, maximum=wanted.maximum)
    return Step(stage=msgspec.structs.replace(stage, polls=0), request=request, observed=(*observed, asked))


@on_response(FetchingContracts)
def on_installation(
    stage: FetchingContracts,
    request: iso.CertificateInstallationReq,
    response: iso.CertificateInstallationRes,
    context: RequestContext,
) -> Step:
    """Wait, store the contract and request the next, or continue with the present ones."""
    code = response.response_code
    if reaction(response) is Reaction.TRY_ANOTHER:
        refused = seen("installation", "refused", code=code.name)
        if code is ResponseCode.WARNING_eMSPUnknown and stage.emaids:  # V2G20-2224: once more, for any contract
            return _ask(msgspec.structs.replace(stage, emaids=()), context, refused)
        return _go_on(stage, context, refused)
    if response.evse_processing is not Processing.Finished:
        waiting = msgspec.structs.replace(stage, polls=stage.polls + 1)
        return Step(stage=waiting, wait=context.config.timing.poll_pause_s)
    assert context.provisioning is not None
    try:
        # verify the service, then decrypt its contract. Raises TrustError
        own = context.provisioning
        at = datetime.fromtimestamp(context.utc_ms / 1000, UTC)
        verify_service(response, own.v2g_roots, at=at, interop=own.interop, crls=own.crls, crosses=own.crosses)
        opened = open_contract(
            response.signed_installation_data,
            own.key,
            own.pcid,
            roots=(*own.mo_roots, *own.v2g_roots) if own.mo_roots else (),
            at=at,
            interop=own.interop,
            rules=own.rules,
            crls=own.crls,
            crosses=own.crosses,
        )
    except TrustError as error:
        rejected = seen("installation", "rejected", reason=rejection(error), error=str(error))
        return _next(stage, response, context, rejected)
    if stage.received >= stage.maximum:
        too_many = seen("installation", "rejected", reason="more_than_asked_for", error=opened.emaid)
        return _next(stage, response, context, too_many)
    new = Contract(opened.chain, SoftwareKey(opened.key))
    remaining = response.remaining_contract_certificate_chains
    installed = seen("installation", "installed", emaid=opened.emaid, remaining=remaining)
    step = _next(stage, response, context.with_contract(new), installed)
    return msgspec.structs.replace(step, installed=StoreContract(opened.emaid, opened.chain, opened.key))


def _next(
    stage: FetchingContracts, response: iso.CertificateInstallationRes, context: RequestContext, *observed: Observe
) -> Step:
    """Request the next contract while there is one (V2G20-1973), also more than there is room for, else continue
    (V2G20-1975).

    A count that does not fall, as where a contract is added meanwhile, ends the session once the vehicle has no room.
    """
    remaining = response.remaining_contract_certificate_chains
    further = msgspec.structs.replace(stage, received=stage.received + 1, remaining=remaining)
    if not remaining:
        return _go_on(further, context, *observed)
    if remaining >= stage.remaining and further.received >= stage.maximum:
        return _after(stop(stage, context, Ending("installation_endless", failed=True)), *observed)
    return _ask(further, context, *observed)


def _go_on(stage: Stage, context: RequestContext, *observed: Observe) -> Step:
    assert isinstance(stage, FetchingContracts)
    step = ask.discover(context) if stage.renewal else pay(stage, stage.setup, context, fetched=True, used=stage.used)
    return _after(step, *observed)


def _after(step: Step, *observed: Observe) -> Step:
    return msgspec.structs.replace(step, observed=(*observed, *step.observed))
