"""A header signature covers its element and nothing else, made and read in every way that peers use."""

import hashlib
from functools import partial

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g import exi
from v2g.errors import SignatureError
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_messages import PnC_AReqAuthorizationMode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature as signatures
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.signature import INTEROP
from v2g.iso15118.engine.xmldsig import (
    KeyInfo,
    KeyName,
    Object,
    Reference,
    Signature,
    SignatureValue,
    Transform,
    Transforms,
)
from v2g.pki.keys import SoftwareKey

sign, verify = (partial(each, schema=COMMON_MESSAGES) for each in (signatures.sign, signatures.verify))

P521 = SoftwareKey(ec.generate_private_key(ec.SECP521R1()))
P256 = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
ED448 = SoftwareKey(ed448.Ed448PrivateKey.generate())

ELEMENT = PnC_AReqAuthorizationMode(
    id="id1",
    gen_challenge=bytes(range(16)),
    contract_certificate_chain=ContractCertificateChain(
        certificate=b"leaf", sub_certificates=SubCertificates(certificate=(b"sub2", b"sub1"))
    ),
)
replace = msgspec.structs.replace


@pytest.mark.parametrize("key", [P521, ED448, P256], ids=lambda key: key.algorithm.value)
@pytest.mark.parametrize("grammar", [XMLDSIG, COMMON_MESSAGES], ids=lambda schema: schema.prefix)
def test_what_is_signed_verifies_in_both_grammars(key: SoftwareKey, grammar: object) -> None:
    signature = sign(ELEMENT, key, grammar=grammar)  # type: ignore[arg-type]
    verify(signature, ELEMENT, key.public_key, allowed=INTEROP)


def test_another_library_finds_the_same_hash_and_signature() -> None:
    signature = sign(ELEMENT, P521)
    digest = hashlib.sha512(exi.encode_fragment(ELEMENT, COMMON_MESSAGES)).digest()
    assert signature.signed_info.reference[0].digest_value == digest
    signed = exi.encode_fragment(signature.signed_info, XMLDSIG)
    assert signed[:4].hex() == "808112b4"  # SignedInfo in XML Signature's own fragment grammar
    value = signature.signature_value.value
    assert len(value) == 132
    r, s = int.from_bytes(value[:66], "big"), int.from_bytes(value[66:], "big")
    public = P521.public_key
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA512()))


def test_sha256_is_refused_unless_interoperability_is_wanted() -> None:
    signature = sign(ELEMENT, P256)
    with pytest.raises(SignatureError, match="not allowed"):
        verify(signature, ELEMENT, P256.public_key)


def test_a_missing_signature_is_refused() -> None:
    with pytest.raises(SignatureError, match="no signature"):
        verify(None, ELEMENT, P521.public_key)


def test_a_key_that_did_not_sign_is_refused() -> None:
    other = SoftwareKey(ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(SignatureError, match="does not match"):
        verify(sign(ELEMENT, P521), ELEMENT, other.public_key)


def test_a_changed_element_is_refused() -> None:
    with pytest.raises(SignatureError, match="hash"):
        verify(sign(ELEMENT, P521), replace(ELEMENT, gen_challenge=bytes(16)), P521.public_key)


def test_an_element_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(SignatureError, match="encoded"):
        verify(sign(ELEMENT, P521), replace(ELEMENT, gen_challenge=b"short"), P521.public_key)


def _info(signature: Signature, **changes: object) -> Signature:
    return replace(signature, signed_info=replace(signature.signed_info, **changes))


def _reference(signature: Signature, **changes: object) -> Signature:
    return _info(signature, reference=(replace(signature.signed_info.reference[0], **changes),))


def _other(element: object) -> object:
    return replace(element, algorithm="urn:other")


@together(
    ("what", "change"),
    [
        ("leaves out", lambda s: replace(s, key_info=KeyInfo(content=(KeyName(value="me"),)))),
        ("leaves out", lambda s: replace(s, object=(Object(),))),
        ("Canonical EXI", lambda s: _info(s, canonicalization_method=_other(s.signed_info.canonicalization_method))),
        ("signature method", lambda s: _info(s, signature_method=_other(s.signed_info.signature_method))),
        ("references", lambda s: _info(s, reference=s.signed_info.reference * 2)),
        ("is signed", lambda s: _reference(s, uri="#id2")),
        ("is signed", lambda s: _reference(s, uri=None)),
        ("transformed", lambda s: _reference(s, transforms=None)),
        ("transformed", lambda s: _reference(s, transforms=Transforms(transform=(Transform(algorithm="urn:x"),)))),
        ("digest method", lambda s: _reference(s, digest_method=_other(s.signed_info.reference[0].digest_method))),
        ("hash", lambda s: _reference(s, digest_value=bytes(64))),
        ("leaves out", lambda s: _reference(s, type="urn:x")),
        ("bytes instead", lambda s: replace(s, signature_value=SignatureValue(value=bytes(64)))),
    ],
)
def test_each_part_of_a_signature_is_checked(what: str, change: object) -> None:
    signature = sign(ELEMENT, P521)
    assert isinstance(signature.signed_info.reference[0], Reference)
    with pytest.raises(SignatureError, match=what):
        verify(change(signature), ELEMENT, P521.public_key)  # type: ignore[operator]


SIGNED = sign(ELEMENT, P521)


@given(st.integers(0, 132 * 8 - 1))
def test_no_flipped_bit_of_the_value_is_believed(bit: int) -> None:
    value = bytearray(SIGNED.signature_value.value)
    value[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(replace(SIGNED, signature_value=SignatureValue(value=bytes(value))), ELEMENT, P521.public_key)
