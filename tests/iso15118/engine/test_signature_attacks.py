"""Nothing but the one signature over the one element is believed, even where the right key has really signed it."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118.engine.signing import ED448, ELEMENTS, P256, P521, replace, resigned, with_reference, with_value
from v2g import exi
from v2g.errors import SignatureError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.certificates import SubCertificates
from v2g.iso15118.d20.schemas import AC, COMMON_MESSAGES, DC
from v2g.iso15118.engine import signature as signatures
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.signature import CANONICAL_EXI, INTEROP
from v2g.iso15118.engine.xmldsig import (
    HMACOutputLength,
    KeyInfo,
    KeyName,
    Object,
    Signature,
    SignedInfo,
    Transform,
    Transforms,
    XPath,
)
from v2g.pki.keys import SoftwareKey

sign, verify = (partial(each, schema=COMMON_MESSAGES) for each in (signatures.sign, signatures.verify))

KEYS: Final = pytest.mark.parametrize("key", [P521, ED448], ids=lambda key: key.algorithm.value)
EVERY: Final = pytest.mark.parametrize("element", ELEMENTS.values(), ids=list(ELEMENTS))
NAMES: Final = tuple(ELEMENTS)
MODE: Final = ELEMENTS["PnC_AReqAuthorizationMode"]


def refusal(signature: Signature | None, elements: Any, key: SoftwareKey, **options: Any) -> str:
    with pytest.raises(SignatureError) as error:
        verify(signature, elements, key.public_key, **options)
    return str(error.value)


class TestEveryElement:
    """What holds for each element that -20 signs."""

    def test_all_of_them_are_here(self) -> None:
        assert set(NAMES) == {
            *("PnC_AReqAuthorizationMode", "OEMProvisioningCertificateChain", "SignedInstallationData"),
            *("SignedMeteringData", "AbsolutePriceSchedule", "PriceLevelSchedule"),
        }

    @KEYS
    @EVERY
    @pytest.mark.parametrize("grammar", [XMLDSIG, COMMON_MESSAGES], ids=lambda schema: schema.prefix)
    def test_it_is_believed(self, key: SoftwareKey, element: Element, grammar: Schema) -> None:
        verify(sign(element, key, grammar=grammar), element, key.public_key)

    @KEYS
    @EVERY
    def test_the_signature_of_another_element_with_its_id_is_not(self, key: SoftwareKey, element: Any) -> None:
        for other in ELEMENTS.values():
            if other is not element:
                assert "hash" in refusal(sign(replace(other, id=element.id), key), element, key)

    @KEYS
    @EVERY
    def test_another_id_is_not(self, key: SoftwareKey, element: Any) -> None:
        assert "is signed, not" in refusal(sign(element, key), replace(element, id="id1x"), key)

    @KEYS
    @EVERY
    @pytest.mark.parametrize("grammar", [DC, AC, ISO2], ids=lambda schema: schema.prefix)
    def test_signed_info_in_the_grammar_of_other_messages_is_not(
        self, key: SoftwareKey, element: Element, grammar: Schema
    ) -> None:
        assert "does not match" in refusal(sign(element, key, grammar=grammar), element, key)

    @KEYS
    @EVERY
    def test_a_hash_over_a_document_instead_of_the_fragment_is_not(self, key: SoftwareKey, element: Element) -> None:
        """Such as one made by a codec that has no fragments: the same octets but for event codes and the end."""
        fragment = exi.encode_fragment(element, COMMON_MESSAGES)
        info = sign(element, key).signed_info
        for data in (fragment[:-1], fragment + b"\0", fragment[1:]):
            digest = hashlib.sha512(data).digest() if key is P521 else hashlib.shake_256(data).digest(64)
            assert "hash" in refusal(resigned(with_reference(info, digest_value=digest), key), element, key)


def test_a_full_list_is_believed_in_both_forms_that_peers_hash() -> None:
    """cbexigen ends a list that is filled to its maximum, as three sub-CAs are, in another way."""
    three = SubCertificates(certificate=(b"sub3", b"sub2", b"sub1"))
    mode = replace(MODE, contract_certificate_chain=replace(MODE.contract_certificate_chain, sub_certificates=three))
    theirs = hashlib.sha512(exi.encode_fragment(mode, COMMON_MESSAGES, dialect=exi.Dialect.CBEXIGEN)).digest()
    ours = sign(mode, P521)
    assert ours.signed_info.reference[0].digest_value != theirs
    signature = resigned(with_reference(ours.signed_info, digest_value=theirs), P521)
    verify(signature, mode, P521.public_key)
    changed = replace(mode, gen_challenge=bytes(16))
    assert "hash" in refusal(signature, changed, P521)


# What the right key has signed, and yet is not what ISO 15118 knows: (what the refusal says, the change).
Change = Callable[[SignedInfo], SignedInfo]
SURPLUS: Final[dict[str, Change]] = {
    "Id of SignedInfo": lambda info: replace(info, id="x"),
    "Id of Reference": lambda info: with_reference(info, id="x"),
    "Type of Reference": lambda info: with_reference(info, type="http://www.w3.org/2000/09/xmldsig#Object"),
    "text in CanonicalizationMethod": lambda info: replace(
        info, canonicalization_method=replace(info.canonicalization_method, content=("x",))
    ),
    "HMACOutputLength": lambda info: replace(
        info, signature_method=replace(info.signature_method, content=(HMACOutputLength(value=1),))
    ),
    "text in DigestMethod": lambda info: with_reference(
        info, digest_method=replace(info.reference[0].digest_method, content=("x",))
    ),
    "XPath in Transform": lambda info: with_reference(
        info, transforms=Transforms(transform=(Transform(algorithm=CANONICAL_EXI, content=(XPath(value="/"),)),))
    ),
}
WRONG: Final[dict[str, tuple[str, Change]]] = {
    "two transforms": (
        "transformed",
        lambda info: with_reference(info, transforms=Transforms(transform=(Transform(algorithm=CANONICAL_EXI),) * 2)),
    ),
    "an XPath transform first": (
        "transformed",
        lambda info: with_reference(
            info,
            transforms=Transforms(
                transform=(
                    Transform(algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116", content=(XPath(value="/"),)),
                    Transform(algorithm=CANONICAL_EXI),
                )
            ),
        ),
    ),
    "no transform": ("transformed", lambda info: with_reference(info, transforms=None)),
    "the same element twice": ("references", lambda info: replace(info, reference=info.reference * 2)),
    "an element beside it": (
        "references",
        lambda info: replace(info, reference=(*info.reference, replace(info.reference[0], uri="#other"))),
    ),
    "the whole document": ("is signed", lambda info: with_reference(info, uri="")),
    "no URI": ("'' is signed, not '#", lambda info: with_reference(info, uri=None)),
    "an XPointer": ("is signed", lambda info: with_reference(info, uri=f"#xpointer(id('{MODE.id}'))")),
    "a resource elsewhere": ("is signed", lambda info: with_reference(info, uri=f"http://e.example/#{MODE.id}")),
    "an Id without its #": ("is signed", lambda info: with_reference(info, uri=MODE.id)),
    "another canonicalization": (
        "Canonical EXI",
        lambda info: replace(
            info,
            canonicalization_method=replace(
                info.canonicalization_method, algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
            ),
        ),
    ),
}


def test_no_text_of_a_peer_fills_the_logs() -> None:
    info = sign(MODE, P521).signed_info
    long = "x" * 10_000 + "\n"
    for change in (
        with_reference(info, uri=long),
        replace(info, signature_method=replace(info.signature_method, algorithm=long)),
        replace(info, canonicalization_method=replace(info.canonicalization_method, algorithm=long)),
        with_reference(info, digest_method=replace(info.reference[0].digest_method, algorithm=long)),
    ):
        assert len(refusal(resigned(change, P521), MODE, P521)) < 200
    for length, end in ((80, ""), (81, "...")):
        named = refusal(resigned(with_reference(info, uri="x" * length), P521), MODE, P521)
        assert named == f"'{'x' * 80}{end}' is signed, not '#{MODE.id}'"


class TestSignedByTheRightKey:
    """The owner of the key has signed it. It is not believed all the same: it is not what stands in the message."""

    @KEYS
    @pytest.mark.parametrize("change", SURPLUS.values(), ids=list(SURPLUS))
    @pytest.mark.parametrize("grammar", [XMLDSIG, COMMON_MESSAGES], ids=lambda schema: schema.prefix)
    def test_parts_that_15118_leaves_out(self, key: SoftwareKey, change: Change, grammar: Schema) -> None:
        info = change(sign(MODE, key).signed_info)
        assert "leaves out" in refusal(resigned(info, key, grammar), MODE, key)

    @KEYS
    @pytest.mark.parametrize(("what", "change"), WRONG.values(), ids=list(WRONG))
    def test_references_and_methods_that_are_others(self, key: SoftwareKey, what: str, change: Change) -> None:
        assert what in refusal(resigned(change(sign(MODE, key).signed_info), key), MODE, key)

    @KEYS
    @pytest.mark.parametrize(
        "change",
        [
            {"id": "x"},
            {"key_info": KeyInfo(content=(KeyName(value="me"),))},
            {"object": (Object(),)},
            {"object": (Object(id="id1"),)},
        ],
        ids=["Id", "KeyInfo", "Object", "Object with the Id"],
    )
    def test_parts_beside_signed_info_which_nobody_signs(self, key: SoftwareKey, change: dict[str, Any]) -> None:
        assert "leaves out" in refusal(replace(sign(MODE, key), **change), MODE, key)

    @KEYS
    def test_an_id_on_the_value(self, key: SoftwareKey) -> None:
        signature = sign(MODE, key)
        value = replace(signature.signature_value, id=MODE.id)
        assert "leaves out" in refusal(replace(signature, signature_value=value), MODE, key)


class TestAlgorithms:
    """The key decides; what the message says has to agree with it in every word."""

    @pytest.mark.parametrize("key", [P521, ED448, P256], ids=lambda key: key.algorithm.value)
    def test_the_names_of_another_suite(self, key: SoftwareKey) -> None:
        own = sign(MODE, key).signed_info
        for other in (P521, ED448, P256):
            if other is key:
                continue
            theirs = sign(MODE, other).signed_info
            method = replace(own, signature_method=theirs.signature_method)
            assert "signature method" in refusal(resigned(method, key), MODE, key, allowed=INTEROP)
            digest = with_reference(own, digest_method=theirs.reference[0].digest_method)
            assert "digest method" in refusal(resigned(digest, key), MODE, key, allowed=INTEROP)
            value = with_reference(own, digest_value=theirs.reference[0].digest_value)
            assert "hash" in refusal(resigned(value, key), MODE, key, allowed=INTEROP)
            assert "signature method" in refusal(resigned(theirs, key), MODE, key, allowed=INTEROP)

    @KEYS
    @pytest.mark.parametrize("length", [0, 1, 20, 32, 63, 65, 128])
    def test_a_hash_that_is_shorter_or_longer(self, key: SoftwareKey, length: int) -> None:
        info = sign(MODE, key).signed_info
        digest = (info.reference[0].digest_value * 2)[:length]
        assert "hash" in refusal(resigned(with_reference(info, digest_value=digest), key), MODE, key)

    def test_the_value_of_the_other_kind_of_key(self) -> None:
        ecdsa, edwards = sign(MODE, P521), sign(MODE, ED448)
        for key, own, other in ((P521, ecdsa, edwards), (ED448, edwards, ecdsa)):
            refusal(with_value(own, other.signature_value.value), MODE, key)
            refusal(other, MODE, key)

    def test_sha_256_where_it_is_not_allowed(self) -> None:
        assert "not allowed" in refusal(sign(MODE, P256), MODE, P256)
        assert "not allowed" in refusal(sign(MODE, P521), MODE, P256)

    def test_keys_that_15118_does_not_know(self) -> None:
        for curve in (ec.SECP384R1(), ec.SECP256K1(), ec.BrainpoolP512R1()):
            with pytest.raises(SignatureError, match="not used"):
                verify(sign(MODE, P521), MODE, ec.generate_private_key(curve).public_key(), allowed=INTEROP)


ORDER: Final = int(
    "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
    "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    16,
)
ORDER_448: Final = 2**446 - 0x8335DC163BB124B65129C96FDE933D8D723A70AADC873D6D54A7BB0D
PRIME_448: Final = 2**448 - 2**224 - 1

BY_P521: Final = sign(MODE, P521)
BY_ED448: Final = sign(MODE, ED448)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(66, "big") + s.to_bytes(66, "big")


class TestValues:
    """Numbers outside their ranges, and other ways to write the same numbers."""

    def test_ecdsa_values_out_of_range(self) -> None:
        value = BY_P521.signature_value.value
        r, s = int.from_bytes(value[:66], "big"), int.from_bytes(value[66:], "big")
        most = 2**528 - 1
        for one, other in (
            *((0, 0), (0, s), (r, 0), (1, 0), (0, 1), (1, 1)),
            *((ORDER, s), (r, ORDER), (ORDER, ORDER), (r + ORDER, s), (r, s + ORDER), (r + ORDER, s + ORDER)),
            *((most, most), (most, s), (r, most), (s, r), (ORDER - r, s), (ORDER - r, ORDER - s)),
        ):
            assert "does not match" in refusal(with_value(BY_P521, raw(one, other)), MODE, P521)

    def test_the_second_value_of_ecdsa_is_one(self) -> None:
        """(r, n - s) signs what (r, s) signs, by the definition of ECDSA: no value may be taken as an identity."""
        value = BY_P521.signature_value.value
        r, s = int.from_bytes(value[:66], "big"), int.from_bytes(value[66:], "big")
        verify(with_value(BY_P521, raw(r, ORDER - s)), MODE, P521.public_key)

    def test_other_encodings_of_ecdsa(self) -> None:
        value = BY_P521.signature_value.value
        r, s = value[:66], value[66:]
        der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        for other in (der, value[:-1], value[1:], value + b"\0", b"\0" + r + b"\0" + s, r[2:] + s[2:], r, b""):
            assert "bytes instead of 132" in refusal(with_value(BY_P521, other), MODE, P521)

    def test_ed448_values_that_are_not_canonical(self) -> None:
        value = BY_ED448.signature_value.value
        point, scalar = value[:57], int.from_bytes(value[57:], "little")
        y = int.from_bytes(point[:56], "little")
        points = [bytes(57), (1).to_bytes(57, "little"), b"\xff" * 57, point[:56] + bytes([point[56] ^ 0x80])]
        points += [point[:56] + bytes([point[56] | low]) for low in (1, 2, 0x40)]
        if y + PRIME_448 < 2**448:  # hardly ever
            points.append((y + PRIME_448).to_bytes(56, "little") + point[56:])
        values = [each + value[57:] for each in points]
        scalars = (0, ORDER_448, scalar + ORDER_448, ORDER_448 - scalar, 2**446, 2**456 - 1)
        values += [point + each.to_bytes(57, "little") for each in scalars]
        values += [value[:-1], value + b"\0", point, b"", value[57:] + point]
        for each in values:
            assert "does not match" in refusal(with_value(BY_ED448, each), MODE, ED448)

    @pytest.mark.parametrize("y", [0, 1, PRIME_448 - 1, PRIME_448, PRIME_448 + 1])
    def test_an_ed448_key_of_low_order_has_signed_nothing(self, y: int) -> None:
        """No secret belongs to such a key: OpenSSL alone takes R and S of zero for every fourth message under y = 0."""
        key = ed448.Ed448PublicKey.from_public_bytes(y.to_bytes(56, "little") + b"\0")
        for first in (1, PRIME_448 - 1, 0, y):
            value = first.to_bytes(56, "little") + b"\0" + bytes(57)
            for challenge in range(8):
                element = replace(MODE, gen_challenge=bytes(15) + bytes([challenge]))
                with pytest.raises(SignatureError, match="low order"):
                    verify(with_value(sign(element, ED448), value), element, key)

    @given(
        value=st.binary(min_size=132, max_size=132) | st.binary(min_size=114, max_size=114) | st.binary(max_size=140)
    )
    def test_no_drawn_value_is_believed(self, value: bytes) -> None:
        refusal(with_value(BY_P521, value), MODE, P521)
        refusal(with_value(BY_ED448, value), MODE, ED448)


class TestSeveralElements:
    """One signature over several schedules, as ScheduleExchangeRes carries it: one reference each."""

    LEVELS: Final = ELEMENTS["PriceLevelSchedule"]
    PRICES: Final = ELEMENTS["AbsolutePriceSchedule"]
    BOTH: Final = (LEVELS, PRICES)

    @KEYS
    def test_both_are_believed_in_any_order(self, key: SoftwareKey) -> None:
        signature = sign(self.BOTH, key)
        assert [each.uri for each in signature.signed_info.reference] == [f"#{each.id}" for each in self.BOTH]
        verify(signature, self.BOTH, key.public_key)
        verify(signature, self.BOTH[::-1], key.public_key)

    @KEYS
    def test_one_of_two_is_not(self, key: SoftwareKey) -> None:
        signature = sign(self.BOTH, key)
        for one in self.BOTH:
            assert "2 references instead of 1" in refusal(signature, one, key)
            assert "1 references instead of 2" in refusal(sign(one, key), self.BOTH, key)

    @KEYS
    def test_swapped_ids_are_not(self, key: SoftwareKey) -> None:
        one, other = self.BOTH
        swapped = (replace(one, id=other.id), replace(other, id=one.id))
        assert "hash" in refusal(sign(self.BOTH, key), swapped, key)

    @KEYS
    def test_swapped_hashes_are_not(self, key: SoftwareKey) -> None:
        info = sign(self.BOTH, key).signed_info
        one, other = info.reference
        crossed = (replace(one, digest_value=other.digest_value), replace(other, digest_value=one.digest_value))
        assert "hash" in refusal(resigned(replace(info, reference=crossed), key), self.BOTH, key)

    @KEYS
    def test_two_elements_with_one_id_are_not(self, key: SoftwareKey) -> None:
        double = (self.LEVELS, replace(self.PRICES, id=self.LEVELS.id))
        with pytest.raises(SignatureError, match="the Id of another"):
            sign(double, key)
        assert "the Id of another" in refusal(sign(self.BOTH, key), double, key)

    @KEYS
    def test_one_element_referenced_twice_is_not_two(self, key: SoftwareKey) -> None:
        info = sign(self.BOTH, key).signed_info
        twice = replace(info, reference=(info.reference[0],) * 2)
        assert "two references" in refusal(resigned(twice, key), self.BOTH, key)

    @KEYS
    def test_no_element_and_no_id_are_nothing(self, key: SoftwareKey) -> None:
        assert "nothing" in refusal(sign(self.LEVELS, key), (), key)
        nameless = replace(self.LEVELS, id=None)
        assert "no Id" in refusal(sign(self.LEVELS, key), nameless, key)
        with pytest.raises(SignatureError, match="no Id"):
            sign(replace(self.LEVELS, id=""), key)
