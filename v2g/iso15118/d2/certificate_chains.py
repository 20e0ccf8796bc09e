"""Certificate chains of ISO 15118-2 as elements."""

from v2g.iso15118.d2.messages.data_types import CertificateChain, SubCertificates


def chain_of(certificates: tuple[bytes, ...], element_id: str | None = None) -> CertificateChain:
    """Return a chain (DER, leaf first, no root) as an element; `element_id` is for a signature."""
    leaf, *above = certificates
    subs = SubCertificates(certificate=tuple(above)) if above else None
    return CertificateChain(certificate=leaf, sub_certificates=subs, id=element_id)


def sub_cas(chain: CertificateChain) -> tuple[bytes, ...]:
    """Return the sub-CAs in an element (DER), the leaf's issuer first."""
    return chain.sub_certificates.certificate if chain.sub_certificates is not None else ()
