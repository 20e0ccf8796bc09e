"""XML Signature (W3C, 2002), completely, as imported by ISO 15118.

V2G messages only ever use `Signature` with `SignedInfo`, childless algorithm elements and digest references; the rest
is declared because event codes count every name of the schema, and because a peer may send it.
"""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import ANY, ATTRIBUTE, OTHER, TEXT, Alt, AnyElement, Content, Element, Many, Maybe, Seq
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.pki.certificates import load_certificate

SCHEMA: Final = XMLDSIG

Mixed: TypeAlias = tuple[str | AnyElement, ...]
"""Text and foreign elements in document order."""


class CanonicalizationMethod(Element, frozen=True, kw_only=True):
    """How SignedInfo becomes octets: Canonical EXI in V2G messages."""

    algorithm: Annotated[str, ATTRIBUTE]
    content: Annotated[Mixed, Content(Many(ANY), mixed=True)] = ()


class HMACOutputLength(Element, frozen=True, kw_only=True, tag=True):
    """Length of a truncated HMAC in bits."""

    value: Annotated[int, TEXT]


class SignatureMethod(Element, frozen=True, kw_only=True):
    """The signature algorithm."""

    algorithm: Annotated[str, ATTRIBUTE]
    content: Annotated[
        tuple[str | HMACOutputLength | AnyElement, ...],
        Content(Seq((Maybe(HMACOutputLength), Many(OTHER))), mixed=True),
    ] = ()


class XPath(Element, frozen=True, kw_only=True, tag=True):
    """A filter expression."""

    value: Annotated[str, TEXT]


class Transform(Element, frozen=True, kw_only=True):
    """One step from the referenced element to the octets that are hashed."""

    content: Annotated[tuple[str | XPath | AnyElement, ...], Content(Many(Alt((OTHER, XPath))), mixed=True)] = ()
    algorithm: Annotated[str, ATTRIBUTE]


class Transforms(Element, frozen=True, kw_only=True):
    """The steps in order."""

    transform: Annotated[tuple[Transform, ...], Meta(min_length=1)]


class DigestMethod(Element, frozen=True, kw_only=True):
    """The hash algorithm."""

    content: Annotated[Mixed, Content(Many(OTHER), mixed=True)] = ()
    algorithm: Annotated[str, ATTRIBUTE]


DigestValue: TypeAlias = bytes


class Reference(Element, frozen=True, kw_only=True):
    """What is signed (`#` and its Id), and its hash."""

    transforms: Transforms | None = None
    digest_method: DigestMethod
    digest_value: DigestValue
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)
    uri: Annotated[str | None, ATTRIBUTE] = None
    type: Annotated[str | None, ATTRIBUTE] = None


class SignedInfo(Element, frozen=True, kw_only=True):
    """What the signature value signs: algorithms and the hashes of all signed elements."""

    canonicalization_method: CanonicalizationMethod
    signature_method: SignatureMethod
    reference: Annotated[tuple[Reference, ...], Meta(min_length=1)]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class SignatureValue(Element, frozen=True, kw_only=True):
    """The signature: r and s side by side for ECDSA."""

    value: Annotated[bytes, TEXT]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class KeyName(Element, frozen=True, kw_only=True, tag=True):
    """A name for the key."""

    value: Annotated[str, TEXT]


class MgmtData(Element, frozen=True, kw_only=True, tag=True):
    """Key management data; its use is discouraged."""

    value: Annotated[str, TEXT]


class P(Element, frozen=True, kw_only=True, tag=True):
    """DSA prime modulus."""

    value: Annotated[bytes, TEXT]


class Q(Element, frozen=True, kw_only=True, tag=True):
    """DSA subgroup order."""

    value: Annotated[bytes, TEXT]


class G(Element, frozen=True, kw_only=True, tag=True):
    """DSA generator."""

    value: Annotated[bytes, TEXT]


class Y(Element, frozen=True, kw_only=True, tag=True):
    """DSA public key."""

    value: Annotated[bytes, TEXT]


class J(Element, frozen=True, kw_only=True, tag=True):
    """(P - 1) / Q."""

    value: Annotated[bytes, TEXT]


class Seed(Element, frozen=True, kw_only=True, tag=True):
    """DSA generation seed."""

    value: Annotated[bytes, TEXT]


class PgenCounter(Element, frozen=True, kw_only=True, tag=True):
    """DSA generation counter."""

    value: Annotated[bytes, TEXT]


class DSAKeyValue(Element, frozen=True, kw_only=True, tag=True):
    """A DSA public key."""

    content: Annotated[
        tuple[P | Q | G | Y | J | Seed | PgenCounter, ...],
        Content(Seq((Maybe(Seq((P, Q))), Maybe(G), Y, Maybe(J), Maybe(Seq((Seed, PgenCounter)))))),
    ]


class RSAKeyValue(Element, frozen=True, kw_only=True, tag=True):
    """An RSA public key."""

    modulus: bytes
    exponent: bytes


class KeyValue(Element, frozen=True, kw_only=True, tag=True):
    """A public key."""

    content: Annotated[
        tuple[str | DSAKeyValue | RSAKeyValue | AnyElement, ...],
        Content(Alt((DSAKeyValue, RSAKeyValue, OTHER)), mixed=True),
    ]


class RetrievalMethod(Element, frozen=True, kw_only=True, tag=True):
    """Location of the key."""

    transforms: Transforms | None = None
    uri: Annotated[str | None, ATTRIBUTE] = None
    type: Annotated[str | None, ATTRIBUTE] = None


class X509IssuerSerial(Element, frozen=True, kw_only=True, tag=True):
    """A certificate by its issuer's distinguished name (RFC 4514) and its serial number."""

    x509_issuer_name: str
    x509_serial_number: int


class X509SKI(Element, frozen=True, kw_only=True, tag=True):
    """A subject key identifier."""

    value: Annotated[bytes, TEXT]


class X509SubjectName(Element, frozen=True, kw_only=True, tag=True):
    """A subject's distinguished name (RFC 4514)."""

    value: Annotated[str, TEXT]


class X509Certificate(Element, frozen=True, kw_only=True, tag=True):
    """A certificate in DER."""

    value: Annotated[bytes, TEXT]


class X509CRL(Element, frozen=True, kw_only=True, tag=True):
    """A revocation list in DER."""

    value: Annotated[bytes, TEXT]


class X509Data(Element, frozen=True, kw_only=True, tag=True):
    """Certificates, or what identifies them."""

    content: Annotated[
        tuple[X509IssuerSerial | X509SKI | X509SubjectName | X509Certificate | X509CRL | AnyElement, ...],
        Content(Many(Alt((X509IssuerSerial, X509SKI, X509SubjectName, X509Certificate, X509CRL, OTHER)), least=1)),
    ]


class PGPKeyID(Element, frozen=True, kw_only=True, tag=True):
    """An OpenPGP key identifier."""

    value: Annotated[bytes, TEXT]


class PGPKeyPacket(Element, frozen=True, kw_only=True, tag=True):
    """An OpenPGP key packet."""

    value: Annotated[bytes, TEXT]


class PGPData(Element, frozen=True, kw_only=True, tag=True):
    """An OpenPGP key."""

    content: Annotated[
        tuple[PGPKeyID | PGPKeyPacket | AnyElement, ...],
        Content(Alt((Seq((PGPKeyID, Maybe(PGPKeyPacket), Many(OTHER))), Seq((PGPKeyPacket, Many(OTHER)))))),
    ]


class SPKISexp(Element, frozen=True, kw_only=True, tag=True):
    """An SPKI S-expression."""

    value: Annotated[bytes, TEXT]


class SPKIData(Element, frozen=True, kw_only=True, tag=True):
    """An SPKI key or certificate."""

    content: Annotated[tuple[SPKISexp | AnyElement, ...], Content(Many(Seq((SPKISexp, Maybe(OTHER))), least=1))]


class KeyInfo(Element, frozen=True, kw_only=True):
    """The key that verifies the signature; V2G messages omit it."""

    content: Annotated[
        tuple[str | KeyName | KeyValue | RetrievalMethod | X509Data | PGPData | SPKIData | MgmtData | AnyElement, ...],
        Content(
            Many(Alt((KeyName, KeyValue, RetrievalMethod, X509Data, PGPData, SPKIData, MgmtData, OTHER)), least=1),
            mixed=True,
        ),
    ]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class Object(Element, frozen=True, kw_only=True):
    """Any object inside the signature."""

    content: Annotated[Mixed, Content(Many(ANY), mixed=True)] = ()
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)
    mime_type: Annotated[str | None, ATTRIBUTE] = None
    encoding: Annotated[str | None, ATTRIBUTE] = None


class Signature(Element, frozen=True, kw_only=True):
    """A signature over elements of the message that carries it."""

    signed_info: SignedInfo
    signature_value: SignatureValue
    key_info: KeyInfo | None = None
    object: tuple[Object, ...] = ()
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class Manifest(Element, frozen=True, kw_only=True):
    """References that the application checks itself."""

    reference: Annotated[tuple[Reference, ...], Meta(min_length=1)]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class SignatureProperty(Element, frozen=True, kw_only=True):
    """A statement about a signature."""

    content: Annotated[Mixed, Content(Many(OTHER, least=1), mixed=True)]
    target: Annotated[str, ATTRIBUTE]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class SignatureProperties(Element, frozen=True, kw_only=True):
    """Statements about signatures."""

    signature_property: Annotated[tuple[SignatureProperty, ...], Meta(min_length=1)]
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


ELEMENTS: Final = {
    "DigestValue": DigestValue,
    **{
        each.__name__: each
        for each in (
            Signature,
            SignatureValue,
            SignedInfo,
            CanonicalizationMethod,
            SignatureMethod,
            Reference,
            Transforms,
            Transform,
            DigestMethod,
            KeyInfo,
            KeyName,
            MgmtData,
            KeyValue,
            RetrievalMethod,
            X509Data,
            PGPData,
            SPKIData,
            Object,
            Manifest,
            SignatureProperties,
            SignatureProperty,
            DSAKeyValue,
            RSAKeyValue,
        )
    },
}


def issuer_serial(certificate: bytes) -> X509IssuerSerial:
    """Return a certificate's (DER) issuer and serial number. Raises CertificateError."""
    found = load_certificate(certificate)
    return X509IssuerSerial(x509_issuer_name=found.issuer.rfc4514_string(), x509_serial_number=found.serial_number)
