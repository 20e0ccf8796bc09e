"""ISO 15118-20 CommonMessages: certificate chains and the encrypted contract key."""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ATTRIBUTE, Choice, Element
from v2g.iso15118.d20.messages.common_types import Identifier
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

SCHEMA: Final = COMMON_MESSAGES

Certificate: TypeAlias = Annotated[bytes, Meta(max_length=1600)]
DhPublicKey: TypeAlias = Annotated[bytes, Meta(min_length=133, max_length=133)]
Secp521_EncryptedPrivateKey: TypeAlias = Annotated[bytes, Meta(min_length=94, max_length=94)]
X448_EncryptedPrivateKey: TypeAlias = Annotated[bytes, Meta(min_length=84, max_length=84)]
Tpm_EncryptedPrivateKey: TypeAlias = Annotated[bytes, Meta(min_length=206, max_length=206)]


class EcdhCurve(Enum):
    """The curve of the key agreement that protects a contract key (ecdhCurveType)."""

    SECP521 = "SECP521"
    X448 = "X448"


class SubCertificates(Element, frozen=True, kw_only=True):
    """Intermediate certificates in DER, the issuer of the leaf first."""

    certificate: Annotated[tuple[Certificate, ...], Meta(min_length=1, max_length=3)]


class CertificateChain(Element, frozen=True, kw_only=True):
    """A leaf in DER and its sub-CAs."""

    certificate: Certificate
    sub_certificates: SubCertificates | None = None


class SignedCertificateChain(Element, frozen=True, kw_only=True):
    """A chain signed by its sender."""

    certificate: Certificate
    sub_certificates: SubCertificates | None = None
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class ContractCertificateChain(Element, frozen=True, kw_only=True):
    """The contract certificate in DER and its intermediates."""

    certificate: Certificate
    sub_certificates: SubCertificates


class SignedInstallationData(Element, frozen=True, kw_only=True):
    """A contract certificate with its private key, encrypted for one vehicle; signed by the provisioning service."""

    contract_certificate_chain: ContractCertificateChain
    ecdh_curve: EcdhCurve
    dh_public_key: DhPublicKey
    secp521_encrypted_private_key: Annotated[Secp521_EncryptedPrivateKey | None, Choice("private_key")] = field(
        name="SECP521_EncryptedPrivateKey", default=None
    )
    x448_encrypted_private_key: Annotated[X448_EncryptedPrivateKey | None, Choice("private_key")] = field(
        name="X448_EncryptedPrivateKey", default=None
    )
    tpm_encrypted_private_key: Annotated[Tpm_EncryptedPrivateKey | None, Choice("private_key")] = field(
        name="TPM_EncryptedPrivateKey", default=None
    )
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class EMAIDList(Element, frozen=True, kw_only=True):
    """Contracts (EMAID) in the vehicle's order of preference."""

    emaid: Annotated[tuple[Identifier, ...], Meta(min_length=1, max_length=8)] = field(name="EMAID")


ELEMENTS: Final = {"SignedInstallationData": SignedInstallationData}
