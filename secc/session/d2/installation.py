"""Contracts from the back end in ISO 15118-2: installed for a provisioning certificate, or updated for an old contract.

The request goes to the back end unchanged, and so does the answer. The vehicle does not poll: the answer has to come
within the time of the message.
"""

from secc.session.d2 import contract
from secc.session.installation import FOR_OTHERS, Installing, forward
from secc.session.request_context import Wait, refuse
from secc.session.v2g_message.request_context import ISO2_HANDLERS, Presenting, RequestContext, Step
from v2g.errors import CertificateError, CodecError, Iso15118Error, RevocationError, SignatureError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.emaid import is_same_contract
from v2g.iso15118.d2.messages.common import CertificateInstallationReq, CertificateUpdateReq
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.response_codes import USES
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import sub_cas
from v2g.iso15118.d2.timing import MESSAGES
from v2g.iso15118.engine.sequence import code_of
from v2g.iso15118.engine.v2g_message import body_of, decode_message, is_same_session
from v2g.observe import Observe, Scalar
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.profile import Role
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest

Request = CertificateInstallationReq | CertificateUpdateReq


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
    if not context.facts.can_install:
        raise _nothing("no_back_end")
    _check(request, context)
    update = isinstance(request, CertificateUpdateReq)
    return forward(stage, context, seconds, ContractRequest(schema=ISO2.uri, exi=context.exi, update=update))


ISO2_HANDLERS.on_request(CertificateInstallationReq)(certificate)
ISO2_HANDLERS.on_request(CertificateUpdateReq)(certificate)


def _check(request: Request, context: RequestContext) -> None:
    """Check the signature and, if its root is known here, the chain. Raises Iso15118Error."""
    trust = context.connection.trust
    try:
        if isinstance(request, CertificateUpdateReq):
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
        contract.verify(leaf, subs, role, roots, context)
    except SignatureError as error:
        raise refuse("FAILED_SignatureError", str(error)) from None
    except (CertificateError, RevocationError) as error:
        if error.reason not in FOR_OTHERS:
            raise contract.refused(error) from None


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
    data: dict[str, Scalar] = {
        "code": code,
        "bytes": len(outcome.exi),
        "seconds": round(context.now - stage.since, 4),
    }
    answered = Observe("installation", "answered", data)
    return Step(response, stage.before, (answered,), exi=outcome.exi)


_NOTHING = "FAILED_NoCertificateAvailable"


def _nothing(why: str) -> Iso15118Error:
    return refuse(_NOTHING, f"no contract: {why}")
