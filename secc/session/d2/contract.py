"""Plug & Charge in ISO 15118-2: the contract's chain, a challenge, and its signature.

The order of checks: chain and revocation lists with PaymentDetails, challenge and signature with Authorization, then
the CSMS.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from secc.session.identity import Contract, contract_of
from secc.session.installation import FOR_OTHERS, Installing, forward
from secc.session.journal import journal_opening
from secc.session.ports import AuthorizeContract
from secc.session.request_context import Wait, refuse
from secc.session.stages import Authorized
from secc.session.v2g_message.request_context import (
    ISO2_HANDLERS,
    Authorizing,
    Challenged,
    Presenting,
    RequestContext,
    Step,
)
from v2g.energy.settlement.authorization import CHALLENGE_BYTES
from v2g.errors import CertificateError, CodecError, Iso15118Error, RevocationError, SignatureError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.response_codes import USES, code_of_chain
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import sub_cas
from v2g.iso15118.d2.timing import MESSAGES
from v2g.iso15118.engine.quirks import EMAID_FORM, SIGNATURE_FORM
from v2g.iso15118.engine.sequence import code_of
from v2g.iso15118.engine.v2g_message import body_of, decode_message, is_same_session
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import emaid_of, is_same_contract, load_certificate
from v2g.pki.profile import Generation, Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import VerifiedChain, verify_chain
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest


@ISO2_HANDLERS.on_request(common.PaymentDetailsReq)
def payment_details(request: common.PaymentDetailsReq, stage: Presenting, context: RequestContext) -> Step:
    """Check the contract's chain, and send a challenge [V2G2-697], [V2G2-698]."""
    chain, trust = request.contract_signature_cert_chain, context.connection.trust
    try:
        roots = (*trust.mo_roots, *trust.v2g_roots)
        contract = _contract(chain.certificate, sub_cas(chain), roots, context)
    except (CertificateError, RevocationError) as error:
        raise refused(error) from None
    if not is_same_contract(contract.emaid, request.emaid):
        why = f"the certificate is of {contract.emaid}, not of {request.emaid}"
        raise refuse(code_of_chain("wrong_subject"), why)
    earlier = context.joined.contract if context.joined is not None else None
    if earlier is not None and contract.chain[0] != earlier.chain[0]:  # journal and transaction are the earlier one's
        raise refuse("FAILED_CertificateNotAllowedAtThisEVSE", "another contract than before the pause")
    opening = journal_opening(context, stage.opened.session_id) if context.joined is None else None
    challenge = context.connection.entropy(CHALLENGE_BYTES) if opening is None else opening.challenge
    response = context.messages.response(
        "PaymentDetailsRes",
        "OK_CertificateExpiresSoon" if contract.expires_soon else "OK",
        gen_challenge=challenge,
        evse_time_stamp=context.utc_ms // 1000,
    )
    quirks = () if request.emaid == contract.emaid else (EMAID_FORM,)
    return Step(response, Challenged(stage.opened, contract, challenge, opening), quirks=quirks)


def authorize(
    request: common.AuthorizationReq, stage: Challenged, context: RequestContext, respond: Callable[[str], Element]
) -> Step | Wait:
    """Check challenge and signature of the first AuthorizationReq, and ask the CSMS; a paused session's transaction is
    authorized, also while the CSMS is away.

    `respond` returns the response with this EVSEProcessing.
    """
    if request.gen_challenge != stage.challenge:  # [V2G2-475]
        raise refuse("FAILED_ChallengeInvalid", "the challenge is missing, or not the one that was sent")
    try:
        key = load_certificate(stage.contract.chain[0]).public_key()
        deviations = signatures.verify(context.signature, request, key)  # type: ignore[arg-type] # judged with the chain
    except SignatureError as error:
        raise refuse("FAILED_SignatureError", str(error)) from None
    seen = (Observe("session", "quirk_tolerated", {"quirk": SIGNATURE_FORM.name}),) if deviations else ()
    if context.joined is not None:
        return Step(respond("Finished"), Authorized(opened=stage.opened, contract=stage.contract), seen)
    asked = Observe("authorization", "asked", {"method": "PnC", "emaid": stage.contract.emaid})
    opening = None if stage.opening is None else replace(stage.opening, request=context.exi)
    waiting = Authorizing(attempt=1, since=context.now, contract=stage.contract, opening=opening, opened=stage.opened)
    shown = stage.contract
    command = AuthorizeContract(1, shown.emaid, shown.chain, known_root=shown.known_root)
    return Wait(waiting, context.config.poll_hold_s, (*seen, asked, command))


def refused(error: CertificateError | RevocationError) -> Iso15118Error:
    """Return the refusal of a chain."""
    return refuse(code_of_chain(error.reason), str(error), reason=error.reason)


def _contract(leaf: bytes, subs: tuple[bytes, ...], roots: tuple[bytes, ...], context: RequestContext) -> Contract:
    """Return the contract; one whose root is not known here may be for the CSMS to judge (C07.FR.06).

    Raises CertificateError, RevocationError.
    """
    try:
        return contract_of(verify(leaf, subs, Role.CONTRACT, roots, context).der, _now(context))
    except CertificateError as error:
        if error.reason not in FOR_OTHERS or not context.connection.trust.central:
            raise
        return contract_of((leaf, *subs), _now(context), known_root=False)


def verify(
    leaf: bytes, sub_cas: tuple[bytes, ...], role: Role, roots: tuple[bytes, ...], context: RequestContext
) -> VerifiedChain:
    """Return the chain from a vehicle's certificate to one of `roots`, not revoked.

    Raises CertificateError, RevocationError.
    """
    trust = context.connection.trust
    verified = verify_chain(
        leaf, sub_cas, roots, role=role, at=_now(context), generation=Generation.ISO15118_2, crosses=trust.crosses
    )
    refuse_revoked(verified, trust.crls, at=_now(context))
    return verified


def _now(context: RequestContext) -> datetime:
    return datetime.fromtimestamp(context.utc_ms / 1000, tz=UTC)


Request = common.CertificateInstallationReq | common.CertificateUpdateReq


def certificate(request: Request, stage: Presenting | Installing, context: RequestContext) -> Step | Wait:
    """Forward a request, and its answer [V2G2-554], [V2G2-557]; a contract that does not come in time is none."""
    seconds = MESSAGES[type(request).__name__].performance
    if isinstance(stage, Installing):
        if stage.outcome is not None:
            return _deliver(request, stage, stage.outcome, context)
        if context.waited:
            raise _nothing("no_answer_in_time")
        return Wait(stage, seconds)
    if not stage.opened.installable:
        raise refuse("FAILED_SequenceError", "the installation of contracts was not offered")
    # check the signature and, if its root is known here, the chain
    trust = context.connection.trust
    try:
        if isinstance(request, common.CertificateUpdateReq):
            leaf, role = request.contract_signature_cert_chain.certificate, Role.CONTRACT
            subs = sub_cas(request.contract_signature_cert_chain)
            roots = (*trust.mo_roots, *trust.v2g_roots)
            if not is_same_contract(emaid_of(load_certificate(leaf)), request.emaid):
                raise refuse(_NOTHING, f"the certificate is not of {request.emaid}")
        else:
            leaf, subs, role = request.oem_provisioning_cert, (), Role.OEM_PROVISIONING
            roots = (*trust.oem_roots, *trust.v2g_roots)
        if context.config.check_installation_request:
            key = load_certificate(leaf).public_key()
            signatures.verify(context.signature, request, key)  # type: ignore[arg-type] # refuses other kinds
        verify(leaf, subs, role, roots, context)
    except SignatureError as error:
        raise refuse("FAILED_SignatureError", str(error)) from None
    except (CertificateError, RevocationError) as error:
        if error.reason not in FOR_OTHERS:
            raise refused(error) from None
    update = isinstance(request, common.CertificateUpdateReq)
    wanted = ContractRequest(schema=ISO2.uri, exi=context.exi, update=update, within_s=seconds)
    return forward(stage, context, seconds, wanted)


ISO2_HANDLERS.on_request(common.CertificateInstallationReq)(certificate)
ISO2_HANDLERS.on_request(common.CertificateUpdateReq)(certificate)


def _deliver(request: Request, stage: Installing, outcome: ContractAnswer, context: RequestContext) -> Step:
    """Forward the back end's response unchanged if it belongs to this session; the vehicle checks the rest."""
    name = type(request).__name__.replace("Req", "Res")
    if not outcome.exi:
        raise _nothing(outcome.status)
    try:
        message, _ = decode_message(outcome.exi, ISO2, handshake=False)
    except CodecError as error:
        raise _nothing(f"undecodable answer: {error}") from None
    response = body_of(message)
    if response is None or not isinstance(message, V2G_Message) or type(response).__name__ != name:
        raise _nothing(f"{type(response).__name__} instead of {name}")
    session_id = stage.before.opened.session_id
    if not is_same_session(session_id, message.header.session_id):
        raise _nothing("answer_of_another_session")
    code = code_of(response)
    if not code.startswith("OK"):
        raise refuse(code if name in USES[code].responses else _NOTHING, f"the back end answered {code}")
    if outcome.status != "answered":
        raise _nothing(outcome.status)
    data: dict[str, Scalar] = {"code": code, "bytes": len(outcome.exi), "seconds": round(context.now - stage.since, 4)}
    answered = Observe("installation", "answered", data)
    return Step(response, stage.before, (answered,), exi=outcome.exi)


_NOTHING = "FAILED_NoCertificateAvailable"


def _nothing(why: str) -> Iso15118Error:
    return refuse(_NOTHING, f"no contract: {why}")
