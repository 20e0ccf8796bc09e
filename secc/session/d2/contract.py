"""Plug & Charge in ISO 15118-2: the contract's chain, a challenge, and its signature.

The order of checks: chain and revocation lists with PaymentDetails, challenge and signature with Authorization, then
the CSMS.
"""

from datetime import UTC, datetime

from msgspec.structs import replace

from secc.session.books import journal_opening
from secc.session.identity import Contract
from secc.session.ports import AuthorizeContract
from secc.session.request_context import Wait, refuse
from secc.session.stages import EXPIRES_SOON
from secc.session.v2g_message.request_context import (
    ISO2_HANDLERS,
    Authorizing,
    Challenged,
    Presenting,
    RequestContext,
    Step,
)
from v2g.energy.settlement.authorization import CHALLENGE_BYTES
from v2g.errors import CertificateError, Iso15118Error, RevocationError, SignatureError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.emaid import is_same_contract
from v2g.iso15118.d2.messages.common import AuthorizationReq, PaymentDetailsReq
from v2g.iso15118.d2.response_codes import code_of_chain
from v2g.iso15118.d2.signatures import sub_cas
from v2g.iso15118.engine.quirks import EMAID_FORM, SIGNATURE_FORM
from v2g.observe import Observe
from v2g.pki.certificates import load_certificate
from v2g.pki.profile import Generation, Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import VerifiedChain, verify_chain


@ISO2_HANDLERS.on_request(PaymentDetailsReq)
def payment_details(request: PaymentDetailsReq, stage: Presenting, context: RequestContext) -> Step:
    """Check the contract's chain, and send a challenge [V2G2-697], [V2G2-698]."""
    chain, trust = request.contract_signature_cert_chain, context.connection.trust
    try:
        roots = (*trust.mo_roots, *trust.v2g_roots)
        verified = verify(chain.certificate, sub_cas(chain), Role.CONTRACT, roots, context)
    except (CertificateError, RevocationError) as error:
        raise refused(error) from None
    if not is_same_contract(verified.emaid, request.emaid):
        why = f"the certificate is of {verified.emaid}, not of {request.emaid}"
        raise refuse(code_of_chain("wrong_subject"), why)
    earlier = context.joined.contract if context.joined is not None else None
    if earlier is not None and verified.der[0] != earlier.chain[0]:  # journal and transaction are the earlier one's
        raise refuse("FAILED_CertificateNotAllowedAtThisEVSE", "another contract than before the pause")
    soon = verified.leaf.not_valid_after_utc - _now(context) <= EXPIRES_SOON
    contract = Contract(verified.emaid, verified.der, soon)
    opening = journal_opening(context, stage.opened.session_id) if context.joined is None else None
    challenge = context.connection.entropy(CHALLENGE_BYTES) if opening is None else opening.challenge
    response = context.messages.response(
        "PaymentDetailsRes",
        "OK_CertificateExpiresSoon" if soon else "OK",
        gen_challenge=challenge,
        evse_time_stamp=context.utc_ms // 1000,
    )
    quirks = () if request.emaid == verified.emaid else (EMAID_FORM,)
    return Step(response, Challenged(stage.opened, contract, challenge, opening), quirks=quirks)


def authorize(request: AuthorizationReq, stage: Challenged, context: RequestContext) -> Wait:
    """Check challenge and signature of the first AuthorizationReq, and ask the CSMS."""
    if request.gen_challenge != stage.challenge:  # [V2G2-475]
        raise refuse("FAILED_ChallengeInvalid", "the challenge is missing, or not the one that was sent")
    try:
        key = load_certificate(stage.contract.chain[0]).public_key()
        deviations = signatures.verify(context.signature, request, key)  # type: ignore[arg-type] # judged with the chain
    except SignatureError as error:
        raise refuse("FAILED_SignatureError", str(error)) from None
    seen = (Observe("session", "quirk_tolerated", {"quirk": SIGNATURE_FORM.name}),) if deviations else ()
    asked = Observe("authorization", "asked", {"method": "PnC", "emaid": stage.contract.emaid})
    opening = None if stage.opening is None else replace(stage.opening, request=context.exi)
    waiting = Authorizing(attempt=1, since=context.now, contract=stage.contract, opening=opening, opened=stage.opened)
    command = AuthorizeContract(attempt=1, emaid=stage.contract.emaid, chain=stage.contract.chain)
    return Wait(waiting, context.config.poll_hold_s, (*seen, asked, command))


def refused(error: CertificateError | RevocationError) -> Iso15118Error:
    """Return the refusal of a chain."""
    return refuse(code_of_chain(error.reason), str(error), reason=error.reason)


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
