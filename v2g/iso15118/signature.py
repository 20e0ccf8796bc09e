"""XML signatures over EXI fragments, as ISO 15118-20 puts them into message headers (V2G20-119, -1063, -1449).

The signed element is encoded as a fragment of its own schema and hashed; SignedInfo, which holds the hash, is encoded
as a fragment and signed. Sources disagree on the grammar for SignedInfo: XML Signature's own, or that of the whole
CommonMessages schema. We sign with the former and take both.
"""

import hashlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from v2g import exi
from v2g.errors import ExiEncodeError, SignatureError
from v2g.exi.declare import Schema
from v2g.iso15118.messages.schemas import COMMON_MESSAGES, XMLDSIG
from v2g.iso15118.messages.xmldsig import (
    CanonicalizationMethod,
    DigestMethod,
    Reference,
    Signature,
    SignatureMethod,
    SignatureValue,
    SignedInfo,
    Transform,
    Transforms,
)
from v2g.pki.keys import Algorithm, PublicKey, SigningKey, algorithm_of, verify_signature

CANONICAL_EXI: Final = "http://www.w3.org/TR/canonical-exi/"

STANDARD: Final = frozenset({Algorithm.ECDSA_SHA512, Algorithm.ED448})
"""What -20 allows."""

INTEROP: Final = STANDARD | {Algorithm.ECDSA_SHA256}
"""And what peers use that still sign as in -2."""

GRAMMARS: Final = (XMLDSIG, COMMON_MESSAGES)
"""Schemas whose fragment grammar SignedInfo is hashed with, ours first."""


class _Suite(msgspec.Struct, frozen=True):
    signature: str
    digest: str


_SUITES: Final[Mapping[Algorithm, _Suite]] = MappingProxyType(
    {
        Algorithm.ECDSA_SHA512: _Suite(
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512", "http://www.w3.org/2001/04/xmlenc#sha512"
        ),
        Algorithm.ED448: _Suite(  # V2G20-2473 to -2476
            "urn:iso:std:iso:15118:-20:Security:xmldsig#Ed448", "urn:iso:std:iso:15118:-20:Security:xmlenc#SHAKE256"
        ),
        Algorithm.ECDSA_SHA256: _Suite(
            "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"
        ),
    }
)


def sign(element: Any, key: SigningKey, *, schema: Schema = COMMON_MESSAGES, grammar: Schema = XMLDSIG) -> Signature:
    """Return the header signature over `element` (a message part with an `id`) of `schema`.

    `grammar` is the schema whose fragment grammar SignedInfo is encoded with. Raises ExiEncodeError.
    """
    suite = _SUITES[key.algorithm]
    info = SignedInfo(
        canonicalization_method=CanonicalizationMethod(algorithm=CANONICAL_EXI),
        signature_method=SignatureMethod(algorithm=suite.signature),
        reference=(
            Reference(
                uri=f"#{element.id}",
                transforms=Transforms(transform=(Transform(algorithm=CANONICAL_EXI),)),
                digest_method=DigestMethod(algorithm=suite.digest),
                digest_value=_digest(key.algorithm, exi.encode_fragment(element, schema)),
            ),
        ),
    )
    value = key.sign(exi.encode_fragment(info, grammar))
    return Signature(signed_info=info, signature_value=SignatureValue(value=value))


def verify(
    signature: Signature | None,
    element: Any,
    key: PublicKey,
    *,
    schema: Schema = COMMON_MESSAGES,
    allowed: Collection[Algorithm] = STANDARD,
) -> None:
    """Check that `signature` covers exactly `element` and was made with the other half of `key`.

    `allowed` are the algorithms that are taken; the key decides among them. Raises SignatureError.
    """
    if signature is None:
        raise SignatureError("the header carries no signature")
    if signature.key_info is not None or signature.object:
        raise SignatureError("the signature carries parts that -20 leaves out (V2G20-771)")
    algorithm = algorithm_of(key)
    if algorithm not in allowed:
        raise SignatureError(f"{algorithm.value} is not allowed here", hint="see security_profile: interop")
    info = signature.signed_info
    _check_reference(info, element.id, algorithm)
    try:
        digest = _digest(algorithm, exi.encode_fragment(element, schema))
    except ExiEncodeError as error:
        raise SignatureError(f"the signed element cannot be encoded: {error}") from None
    if info.reference[0].digest_value != digest:
        raise SignatureError(f"the hash of {type(element).__name__} does not match")
    _check_value(info, signature.signature_value.value, key)


def _check_reference(info: SignedInfo, element_id: str, algorithm: Algorithm) -> None:
    suite = _SUITES[algorithm]
    if info.canonicalization_method.algorithm != CANONICAL_EXI:
        raise SignatureError(f"canonicalization {info.canonicalization_method.algorithm!r} is not Canonical EXI")
    if info.signature_method.algorithm != suite.signature:
        raise SignatureError(f"signature method {info.signature_method.algorithm!r} is not that of the key")
    if len(info.reference) != 1:
        raise SignatureError(f"{len(info.reference)} references instead of one")
    reference = info.reference[0]
    if reference.uri != f"#{element_id}":
        raise SignatureError(f"{reference.uri!r} is signed, not {element_id!r}")
    transforms = reference.transforms.transform if reference.transforms else ()
    if [transform.algorithm for transform in transforms] != [CANONICAL_EXI]:
        raise SignatureError("the reference is not transformed by Canonical EXI alone")
    if reference.digest_method.algorithm != suite.digest:
        raise SignatureError(f"digest method {reference.digest_method.algorithm!r} is not that of the key")


def _check_value(info: SignedInfo, value: bytes, key: PublicKey) -> None:
    failure: SignatureError | None = None
    for grammar in GRAMMARS:
        try:
            verify_signature(key, exi.encode_fragment(info, grammar), value)
        except ExiEncodeError as error:
            failure = failure or SignatureError(f"SignedInfo cannot be encoded: {error}")
        except SignatureError as error:
            failure = failure or error
        else:
            return
    assert failure is not None
    raise failure


def _digest(algorithm: Algorithm, data: bytes) -> bytes:
    match algorithm:
        case Algorithm.ECDSA_SHA512:
            return hashlib.sha512(data).digest()
        case Algorithm.ECDSA_SHA256:
            return hashlib.sha256(data).digest()
        case Algorithm.ED448:
            return hashlib.shake_256(data).digest(64)
