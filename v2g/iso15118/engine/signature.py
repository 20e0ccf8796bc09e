"""XML signatures over EXI fragments in ISO 15118-20 message headers (V2G20-119, -1063, -1449).

A signed element is encoded as a fragment of its own schema and hashed; SignedInfo, which has the hash of each, is
encoded as a fragment and signed. Sources disagree on the grammar for SignedInfo: XML Signature's own, or that of the
messages' whole schema. We sign with the former and accept both. ISO 15118-2 does the same with its own schema and
ecdsa-sha256; its Annex J has an example.
"""

import contextlib
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec

from v2g import exi
from v2g.errors import ExiEncodeError, SignatureError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.engine import xmldsig
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.pki.keys import Algorithm, PublicKey, SigningKey, algorithm_of, raw_signature, verify_signature

CANONICAL_EXI: Final = "http://www.w3.org/TR/canonical-exi/"

STANDARD: Final = frozenset({Algorithm.ECDSA_SHA512, Algorithm.ED448})
"""Allowed by -20."""

INTEROP: Final = STANDARD | {Algorithm.ECDSA_SHA256}
"""Allowed by -20, and used by peers that still sign as in -2."""

EDITION_2: Final = frozenset({Algorithm.ECDSA_SHA256})
"""Allowed by -2."""

Names = Mapping[type[Element], str]

NAMES: Final[Names] = {}
"""In -20 every signed element has its own type."""


class SignatureDeviation(Enum):
    """A form of signature that peers of -2 use beside the standard's."""

    MESSAGE_GRAMMAR = "SignedInfo in the grammar of the messages"
    DER_VALUE = "the value as DER"
    NO_TRANSFORMS = "a reference without Transforms"


_LONGEST_SHOWN: Final = 80


class _Suite(msgspec.Struct, frozen=True):
    signature: str
    digest: str


_SUITES: Final[Mapping[Algorithm, _Suite]] = {
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


def sign(
    elements: Element | Sequence[Element],
    key: SigningKey,
    *,
    schema: Schema,
    names: Names = NAMES,
    grammar: Schema = XMLDSIG,
) -> xmldsig.Signature:
    """Return the header signature over message parts with an `id`, one or several, of `schema`.

    `names` gives the element name for a type with several names in `schema`. `grammar` is the schema whose
    fragment grammar SignedInfo is encoded with. Raises ExiEncodeError; SignatureError for missing or duplicate
    Ids.
    """
    digests = [
        (uri, _digest(key.algorithm, exi.encode_fragment(each, schema, name=names.get(type(each)))))
        for uri, each in _by_uri(elements).items()
    ]
    info = _signed_info(key.algorithm, digests)
    value = key.sign(exi.encode_fragment(info, grammar))
    return xmldsig.Signature(signed_info=info, signature_value=xmldsig.SignatureValue(value=value))


def verify(
    signature: xmldsig.Signature | None,
    elements: Element | Sequence[Element],
    key: PublicKey,
    *,
    schema: Schema,
    names: Names = NAMES,
    allowed: Collection[Algorithm] = STANDARD,
    tolerant: bool = False,
) -> frozenset[SignatureDeviation]:
    """Verify that `signature` covers exactly `elements`, one or several, and was made with the other half of `key`.

    `elements` are those that the caller uses: nothing is looked up by its Id, so nothing can be substituted.
    `allowed` are the accepted algorithms; the key selects among them. `tolerant` also accepts values in DER and
    references without Transforms. Return how the signature deviates from the standard. Raises SignatureError.
    """
    if signature is None:
        raise SignatureError("the header carries no signature")
    algorithm = algorithm_of(key)
    if algorithm not in allowed:
        wants = " or ".join(sorted(each.value for each in allowed))
        hint = "" if algorithm in STANDARD else "see security_profile: interop"
        raise SignatureError(f"{algorithm.value} is not allowed here, only {wants}", hint=hint)
    wanted = _by_uri(elements)
    info, value = signature.signed_info, signature.signature_value.value
    references = _check_references(info, wanted)
    _check_methods(info, algorithm, tolerant=tolerant)
    for uri, each in references.items():
        if each.digest_value not in _digests(algorithm, wanted[uri], schema, names):
            raise SignatureError(f"the hash of {type(wanted[uri]).__name__} does not match")
    bare = frozenset(uri for uri, each in references.items() if each.transforms is None)
    expected = _signed_info(algorithm, ((uri, each.digest_value) for uri, each in references.items()), bare=bare)
    if signature != xmldsig.Signature(signed_info=expected, signature_value=xmldsig.SignatureValue(value=value)):
        raise SignatureError("the signature carries parts that ISO 15118 leaves out (V2G20-771)")
    raw = raw_signature(key, value) if tolerant else value
    grammar = _check_value(expected, raw, key, schema)
    found = {
        SignatureDeviation.NO_TRANSFORMS: bool(bare),
        SignatureDeviation.DER_VALUE: raw != value,
        SignatureDeviation.MESSAGE_GRAMMAR: grammar is not XMLDSIG,
    }
    return frozenset(each for each, deviates in found.items() if deviates)


def _by_uri(elements: Element | Sequence[Element]) -> dict[str, Element]:
    """Return elements by the URI of their reference."""
    found: dict[str, Element] = {}
    for each in (elements,) if isinstance(elements, Element) else elements:
        name = getattr(each, "id", None)
        if not name or f"#{name}" in found:
            raise SignatureError(f"{type(each).__name__} has {'the Id of another element' if name else 'no Id'}")
        found[f"#{name}"] = each
    if not found:
        raise SignatureError("nothing to sign")
    return found


def _signed_info(
    algorithm: Algorithm, digests: Iterable[tuple[str, bytes]], *, bare: Collection[str] = ()
) -> xmldsig.SignedInfo:
    """Return SignedInfo with only the parts of ISO 15118; references to the URIs in `bare` have no Transforms."""
    suite = _SUITES[algorithm]
    transforms = xmldsig.Transforms(transform=(xmldsig.Transform(algorithm=CANONICAL_EXI),))
    return xmldsig.SignedInfo(
        canonicalization_method=xmldsig.CanonicalizationMethod(algorithm=CANONICAL_EXI),
        signature_method=xmldsig.SignatureMethod(algorithm=suite.signature),
        reference=tuple(
            xmldsig.Reference(
                uri=uri,
                transforms=None if uri in bare else transforms,
                digest_method=xmldsig.DigestMethod(algorithm=suite.digest),
                digest_value=digest,
            )
            for uri, digest in digests
        ),
    )


def _check_methods(info: xmldsig.SignedInfo, algorithm: Algorithm, *, tolerant: bool) -> None:
    """Check the names of all methods; additional parts are detected by comparison."""
    suite = _SUITES[algorithm]
    if info.canonicalization_method.algorithm != CANONICAL_EXI:
        raise SignatureError(f"canonicalization {_shown(info.canonicalization_method.algorithm)} is not Canonical EXI")
    if info.signature_method.algorithm != suite.signature:
        named = next((each for each, its in _SUITES.items() if its.signature == info.signature_method.algorithm), None)
        said = named.value if named is not None else _shown(info.signature_method.algorithm)
        raise SignatureError(f"signature method {said} is not that of the key, {algorithm.value}")
    for reference in info.reference:
        transforms = reference.transforms.transform if reference.transforms else ()
        missing = tolerant and reference.transforms is None
        if not missing and [transform.algorithm for transform in transforms] != [CANONICAL_EXI]:
            raise SignatureError("the reference is not transformed by Canonical EXI alone")
        if reference.digest_method.algorithm != suite.digest:
            raise SignatureError(f"digest method {_shown(reference.digest_method.algorithm)} is not that of the key")


def _check_references(info: xmldsig.SignedInfo, wanted: Collection[str]) -> dict[str, xmldsig.Reference]:
    """Return all references by their URI, in order, if these are exactly the wanted ones."""
    if len(info.reference) != len(wanted):
        raise SignatureError(f"{len(info.reference)} references instead of {len(wanted)}")
    found = {each.uri or "": each for each in info.reference}
    for uri in found:
        if uri not in wanted:
            raise SignatureError(f"{_shown(uri)} is signed, not {', '.join(map(_shown, wanted))}")
    if len(found) != len(wanted):
        raise SignatureError("two references to the same element")
    return found


def _shown(text: str) -> str:
    """Return a peer's text in a form for logs."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _check_value(info: xmldsig.SignedInfo, value: bytes, key: PublicKey, schema: Schema) -> Schema:
    """Return the grammar in which the value fits: XML Signature's own, or that of the messages."""
    with contextlib.suppress(SignatureError):
        verify_signature(key, exi.encode_fragment(info, XMLDSIG), value)
        return XMLDSIG
    verify_signature(key, exi.encode_fragment(info, schema), value)
    return schema


def _digests(algorithm: Algorithm, element: Element, schema: Schema, names: Names) -> Iterator[bytes]:
    """Yield the hash of an element as the specification codes it, then as a common peer does, which differs for
    full lists, such as three sub-CAs. Raises SignatureError."""
    name = names.get(type(element))
    try:
        yield _digest(algorithm, exi.encode_fragment(element, schema, name=name))
    except ExiEncodeError as error:
        raise SignatureError(f"the signed element cannot be encoded: {error}") from None
    with contextlib.suppress(ExiEncodeError):  # the peer cannot have signed what it cannot encode
        yield _digest(algorithm, exi.encode_fragment(element, schema, name=name, dialect=exi.Dialect.CBEXIGEN))


def _digest(algorithm: Algorithm, data: bytes) -> bytes:
    match algorithm:
        case Algorithm.ECDSA_SHA512:
            return hashlib.sha512(data).digest()
        case Algorithm.ECDSA_SHA256:
            return hashlib.sha256(data).digest()
        case Algorithm.ED448:
            return hashlib.shake_256(data).digest(64)
