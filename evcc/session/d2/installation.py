"""Contracts of ISO 15118-2 from a charger: installed by the provisioning certificate, or updated by the old contract.

Only verified contracts are stored: the service's chain to a V2G root [V2G2-891], its signature over all four elements,
the match of key, certificate and eMAID, which an update keeps. After a contract that cannot be trusted the session
continues with the present ones.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from msgspec.structs import replace

from evcc.session.contracts import RETRY_MS, Contract, Provisioning, emaid, is_pending, rejection, usable
from evcc.session.d2.stages import HANDLERS, FetchingContract, PresentingContract
from evcc.session.ports import PostponeInstallation, StoreContract
from evcc.session.steps import seen
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Authorizing, Ending, Step
from evcc.session.v2g_message.stop import stop
from v2g.errors import CertificateError, EnvelopeError, TrustError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import Envelope, unseal
from v2g.iso15118.d2.messages import common as iso
from v2g.iso15118.d2.messages.common import AuthorizationReq, PaymentDetailsReq, PaymentDetailsRes
from v2g.iso15118.d2.messages.data_types import CertificateChain, ListOfRootCertificateIDs, SelectedService
from v2g.iso15118.d2.signatures import chain_of, sign, sub_cas
from v2g.iso15118.d2.timing import CONTRACT_SERVICE
from v2g.iso15118.engine.response_codes import Consequence, consequence
from v2g.iso15118.engine.xmldsig import issuer_serial
from v2g.observe import Observe
from v2g.pki.certificates import emaid_of, is_same_contract, load_certificate
from v2g.pki.keys import AgreementKey, PrivateKey, PublicKey, SoftwareKey
from v2g.pki.profile import Generation, Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import verify_chain

SIGNED_ID: Final = "id1"
"""Id of the element that a request's header signs; there is never more than one in a message."""


def present(context: MessageContext) -> Step:
    """Return the step that sends the contract's chain: leaf, then its issuer first [V2G2-656]."""
    assert context.contract is not None
    own = context.contract
    request = PaymentDetailsReq(emaid=emaid(own), contract_signature_cert_chain=chain_of(own.chain))
    return Step(stage=PresentingContract(), request=request)


@HANDLERS.on_response(PresentingContract)
def on_details(
    stage: PresentingContract, request: PaymentDetailsReq, response: PaymentDetailsRes, context: MessageContext
) -> Step:
    """Sign the challenge with the contract's key; repetitions of the request are empty [V2G2-684]."""
    assert context.contract is not None
    signed = AuthorizationReq(gen_challenge=response.gen_challenge, id=SIGNED_ID)
    expires = consequence(response) is Consequence.RENEW_CONTRACT
    return Step(
        stage=Authorizing(),
        request=signed,
        signature=sign(signed, context.contract.key),
        observed=(seen("authorization", "contract_expires_soon", emaid=request.emaid),) if expires else (),
    )


INSTALL, UPDATE = 1, 2
"""Parameter sets of the service for contracts."""

MOST_ROOTS: Final = 20
"""Roots that a request has room for."""

RENEW: Final = timedelta(days=1)
"""A contract that ends sooner is updated."""


def wanted_set(context: MessageContext) -> int | None:
    """Return which parameter set of the service the vehicle would use now, None if it needs no contract."""
    config, own = context.config.installation.install, context.provisioning
    if own is None or config == "never" or not context.tls:
        return None
    valid = usable(context.contracts, context.utc_ms)
    good = [each for each in valid if each.chain[0] not in context.refused]
    if valid and is_pending(own.postponed_until_ms, context.utc_ms):
        return None
    if config == "always" or not good:
        return INSTALL
    end = load_certificate(good[0].chain[0]).not_valid_after_utc
    return UPDATE if end - _now(context) < RENEW else None


def offered_set(response: iso.ServiceDetailRes, context: MessageContext) -> int | None:
    """Return the parameter set to select, None if the charger has none that the vehicle wants."""
    sets = response.service_parameter_list.parameter_set if response.service_parameter_list is not None else ()
    wanted = wanted_set(context)
    return (
        wanted
        if response.service_id == CONTRACT_SERVICE and wanted in {each.parameter_set_id for each in sets}
        else None
    )


def selection(parameter_set: int) -> SelectedService:
    return SelectedService(service_id=CONTRACT_SERVICE, parameter_set_id=parameter_set)


def fetch(parameter_set: int, context: MessageContext) -> Step:
    """Request a contract: signed with the provisioning key, or with that of the contract to be replaced."""
    own = context.provisioning
    assert own is not None
    trusted = (*own.v2g_roots, *own.mo_roots)[:MOST_ROOTS]
    roots = ListOfRootCertificateIDs(root_certificate_id=tuple(map(issuer_serial, trusted)))
    request: Element
    if parameter_set == UPDATE and context.contract is not None:
        key = context.contract.key
        request = iso.CertificateUpdateReq(
            contract_signature_cert_chain=chain_of(context.contract.chain),
            emaid=emaid(context.contract),
            list_of_root_certificate_ids=roots,
            id=SIGNED_ID,
        )
    else:
        key = own.key
        request = iso.CertificateInstallationReq(
            oem_provisioning_cert=own.chain[0], list_of_root_certificate_ids=roots, id=SIGNED_ID
        )
    asked = seen("installation", "requested", pcid=own.pcid, maximum=1)
    return Step(
        stage=FetchingContract(),
        request=request,
        signature=signatures.sign(request, key),
        commands=(PostponeInstallation(context.utc_ms + RETRY_MS),),
        observed=(asked,),
    )


@HANDLERS.on_response(FetchingContract)
def on_contract(
    stage: FetchingContract,
    request: Element,
    response: iso.CertificateInstallationRes | iso.CertificateUpdateRes,
    context: MessageContext,
) -> Step:
    """Store the contract and pay with it, or continue with the present ones, if there are any."""
    own = context.provisioning
    assert own is not None
    key: AgreementKey | None = own.key
    if isinstance(request, iso.CertificateUpdateReq) and context.contract is not None:
        key = context.contract.key if isinstance(context.contract.key, SoftwareKey) else None
    try:
        name, chain, opened = _open(request, response, key, own, context)
    except TrustError as error:
        rejected = seen("installation", "rejected", reason=rejection(error), error=str(error))
        if context.contract is None:
            step = stop(stage, context, Ending("no_contract", failed=True))
            return replace(step, observed=(*step.observed, rejected))
        return _with(present(context), rejected)
    step = present(replace(context, contract=Contract(chain, SoftwareKey(opened))))
    installed = seen("installation", "installed", emaid=name, remaining=0)
    return replace(_with(step, installed), installed=StoreContract(name, chain, opened))


def _open(
    request: Element,
    response: iso.CertificateInstallationRes | iso.CertificateUpdateRes,
    key: AgreementKey | None,
    own: Provisioning,
    context: MessageContext,
) -> tuple[str, tuple[bytes, ...], PrivateKey]:
    """Verify the service, then decrypt its contract; return its eMAID, chain and key. Raises TrustError."""
    at = _now(context)
    service = _verified(response.sa_provisioning_certificate_chain, own.v2g_roots, Role.CPS, own, at)
    signatures.verify(context.signature, response, _key_of(service))
    contract = response.contract_signature_cert_chain
    leaf = load_certificate(contract.certificate)
    if own.mo_roots:
        leaf = _verified(contract, (*own.mo_roots, *own.v2g_roots), Role.CONTRACT, own, at)
    elif at > leaf.not_valid_after_utc:
        raise CertificateError("the contract certificate has expired", reason="expired")
    name = emaid_of(leaf)
    for other in (response.emaid.value, getattr(request, "emaid", name)):
        if not is_same_contract(name, other):
            raise CertificateError(f"the contract is of {name}, not of {other}", reason="wrong_subject")
    if key is None:
        raise EnvelopeError("the vehicle's key cannot be used for key agreement", reason="not_supported")
    envelope = Envelope(response.dh_public_key.value, response.contract_signature_encrypted_private_key.value)
    return name, (contract.certificate, *sub_cas(contract)), unseal(envelope, key, contract=_key_of(leaf))


def _verified(
    chain: CertificateChain, roots: tuple[bytes, ...], role: Role, own: Provisioning, at: datetime
) -> x509.Certificate:
    """Return the leaf of a chain that leads to one of the roots. Raises CertificateError, RevocationError."""
    verified = verify_chain(
        chain.certificate,
        sub_cas(chain),
        roots,
        role=role,
        at=at,
        interop=own.interop,
        generation=Generation.ISO15118_2,
        crosses=own.crosses,
    )
    refuse_revoked(verified, own.crls, at=at)
    return verified.leaf


def _key_of(certificate: x509.Certificate) -> PublicKey:
    return certificate.public_key()  # type: ignore[return-value] # verification refuses keys of other kinds


def _with(step: Step, *observed: Observe) -> Step:
    return replace(step, observed=(*observed, *step.observed))


def _now(context: MessageContext) -> datetime:
    return datetime.fromtimestamp(context.utc_ms / 1000, UTC)
