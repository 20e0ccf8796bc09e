"""Signatures in ISO 15118-2: which elements of a message are signed, by whose key, and how peers deviate.

They are made by `engine.signature`: ecdsa-sha256 over EXI fragments of the schema of messages, SignedInfo in the
grammar of XML Signature. Peers that use the grammar of the messages, DER, or no Transforms are understood, too.
"""

from typing import Final

from v2g.errors import SignatureError
from v2g.exi.declare import Element
from v2g.iso15118.d2.messages import common as iso
from v2g.iso15118.d2.messages.data_types import CertificateChain, SAScheduleList, SubCertificates
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine import signature as signatures
from v2g.iso15118.engine.signature import EDITION_2, Names, SignatureDeviation
from v2g.iso15118.engine.xmldsig import Signature
from v2g.pki.keys import PublicKey, SigningKey

NAMES: Final[Names] = {CertificateChain: "ContractSignatureCertChain"}
"""The one signed type with two names."""


def signed_elements(body: Element) -> tuple[Element, ...]:
    """Return the elements of a request or response that its header's signature covers; none if it is not signed."""
    match body:
        case iso.AuthorizationReq():
            return (body,) if body.gen_challenge is not None else ()
        case iso.MeteringReceiptReq() | iso.CertificateInstallationReq() | iso.CertificateUpdateReq():
            return (body,)
        case iso.CertificateInstallationRes() | iso.CertificateUpdateRes():
            return (
                body.contract_signature_cert_chain,
                body.contract_signature_encrypted_private_key,
                body.dh_public_key,
                body.emaid,
            )
        case iso.ChargeParameterDiscoveryRes(sa_schedules=SAScheduleList() as schedules):
            tariffs = (each.sales_tariff for each in schedules.sa_schedule_tuple)
            return tuple(each for each in tariffs if each is not None and each.id is not None)
    return ()


def sign(body: Element, key: SigningKey) -> Signature:
    """Return the header signature over a request or response. Raises SignatureError if nothing in it is signed."""
    return signatures.sign(signed_elements(body), key, schema=ISO2, names=NAMES)


def verify(signature: Signature | None, body: Element, key: PublicKey) -> frozenset[SignatureDeviation]:
    """Verify the header signature over a request or response; return how it deviates from the standard.

    Raises SignatureError.
    """
    elements = signed_elements(body)
    if not elements:
        raise SignatureError(f"{type(body).__name__} has nothing to sign")
    return signatures.verify(signature, elements, key, schema=ISO2, names=NAMES, allowed=EDITION_2, tolerant=True)


# -- Certificate chains of ISO 15118-2 as elements


def chain_of(certificates: tuple[bytes, ...], element_id: str | None = None) -> CertificateChain:
    """Return a chain (DER, leaf first, no root) as an element; `element_id` is for a signature."""
    leaf, *above = certificates
    subs = SubCertificates(certificate=tuple(above)) if above else None
    return CertificateChain(certificate=leaf, sub_certificates=subs, id=element_id)


def sub_cas(chain: CertificateChain) -> tuple[bytes, ...]:
    """Return the sub-CAs in an element (DER), the leaf's issuer first."""
    return chain.sub_certificates.certificate if chain.sub_certificates is not None else ()
