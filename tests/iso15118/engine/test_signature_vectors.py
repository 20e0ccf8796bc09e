"""Signatures that others made, and ours judged by others: the standard's own example, an EXI processor, openssl."""

import base64
import hashlib
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.exi.peer import PeerCodec
from tests.exi.peer_codec import one_line
from tests.iso15118.engine.signature_vectors import J_ELEMENT, J_PRIVATE, J_VALUE
from tests.iso15118.engine.signing import ED448, ELEMENTS, ELEMENTS_2, NAMES_2, P256, P521, replace, with_value
from v2g import exi
from v2g.errors import SignatureError
from v2g.exi.declare import Element, Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import signature as signatures
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.signature import EDITION_2
from v2g.iso15118.engine.xmldsig import Signature
from v2g.pki.keys import Algorithm, SoftwareKey

sign, verify = (partial(each, schema=COMMON_MESSAGES) for each in (signatures.sign, signatures.verify))

J_FRAGMENT: Final = "80040152510c40829b7b6b2902930b73237b6902230ba309e8"
J_DIGEST: Final = "d1b5e03d0065bee56b317984453051eb54ca18fc0e0916174f8b3c77a98f4aa9"
J_SIGNED_INFO: Final = (
    "808112b43a3a381d1797bbbbbb973b999737b93397aa2917b1b0b737b734b1b0b616b2bc3497a1ab43a3a381d1797bbbbbb973b999737b93"
    "3979918181897981a17bc36b63239b4b396b6b7b93291b2b1b239b096b9b430991a9b220623494431025687474703a2f2f7777772e77332e"
    "6f72672f54522f63616e6f6e6963616c2d6578692f4852d0e8e8e0745e5eeeeeee5cee665cdee4ce5e646060625e60685ef0dad8cadcc646"
    "e6d0c2646a6c841a36bc07a00cb7dcad662f3088a60a3d6a99431f81c122c2e9f1678ef531e9552370"
)
J_PUBLIC: Final = (
    "0443e4fc4ccb643904279c7a5e6576b323e55ec79ff0e5a4056e334084cbc336ff46e44c1addf69162e5192c2a83fc2bca9d8f46ecf4b780"
    "67c2476f6b3f34600e"
)


class TestAnnexJ:
    """The example of ISO 15118-2, byte for byte."""

    def test_element_and_digest(self) -> None:
        fragment = exi.encode_fragment(J_ELEMENT, ISO2)
        assert fragment == bytes.fromhex(J_FRAGMENT)
        assert hashlib.sha256(fragment).hexdigest() == J_DIGEST

    def test_signed_info(self) -> None:
        signature = sign(J_ELEMENT, P256, schema=ISO2)
        assert exi.encode_fragment(signature.signed_info, XMLDSIG) == bytes.fromhex(J_SIGNED_INFO)

    def test_its_value_is_believed(self) -> None:
        key = SoftwareKey(ec.derive_private_key(J_PRIVATE, ec.SECP256R1()))
        public = key.public_key
        assert isinstance(public, ec.EllipticCurvePublicKey)
        point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        assert point == bytes.fromhex(J_PUBLIC)
        signature = with_value(sign(J_ELEMENT, P256, schema=ISO2), bytes.fromhex(J_VALUE))
        verify(signature, J_ELEMENT, public, schema=ISO2, allowed=EDITION_2)
        with pytest.raises(SignatureError, match="hash"):
            verify(signature, replace(J_ELEMENT, gen_challenge=bytes(16)), public, schema=ISO2, allowed=EDITION_2)


class TestEdition2:
    """The form of -2, for peers of its generation."""

    @pytest.mark.parametrize("element", ELEMENTS_2.values(), ids=list(ELEMENTS_2))
    @pytest.mark.parametrize("grammar", [XMLDSIG, ISO2], ids=lambda schema: schema.prefix)
    def test_every_element_is_believed_and_no_other(self, element: Any, grammar: Schema) -> None:
        options: dict[str, Any] = {"schema": ISO2, "names": NAMES_2}
        signature = sign(element, P256, grammar=grammar, **options)
        verify(signature, element, P256.public_key, allowed=EDITION_2, **options)
        for other in ELEMENTS_2.values():
            if other is not element:
                with pytest.raises(SignatureError, match="hash"):
                    verify(signature, replace(other, id=element.id), P256.public_key, allowed=EDITION_2, **options)

    def test_one_signature_over_the_four_elements_of_an_installation(self) -> None:
        """CertificateInstallationRes and CertificateUpdateRes: a reference to each, in any order."""
        names = ("ContractSignatureCertChain", "ContractSignatureEncryptedPrivateKey", "DHpublickey", "eMAID")
        four = tuple(ELEMENTS_2[each] for each in names)
        options: dict[str, Any] = {"schema": ISO2, "names": NAMES_2}
        signature = sign(four, P256, **options)
        verify(signature, four[::-1], P256.public_key, allowed=EDITION_2, **options)
        for place in range(4):
            with pytest.raises(SignatureError, match="references"):
                verify(signature, four[:place] + four[place + 1 :], P256.public_key, allowed=EDITION_2, **options)

    @pytest.mark.parametrize("key", [P521, ED448], ids=lambda key: key.algorithm.value)
    def test_algorithms_of_20_are_refused(self, key: SoftwareKey) -> None:
        with pytest.raises(SignatureError, match="not allowed"):
            verify(sign(J_ELEMENT, key, schema=ISO2), J_ELEMENT, key.public_key, schema=ISO2, allowed=EDITION_2)

    @pytest.mark.parametrize("grammar", [COMMON_MESSAGES, DIN], ids=lambda schema: schema.prefix)
    def test_grammars_of_others_are_refused(self, grammar: Schema) -> None:
        signature = sign(J_ELEMENT, P256, schema=ISO2, grammar=grammar)
        with pytest.raises(SignatureError, match="does not match"):
            verify(signature, J_ELEMENT, P256.public_key, schema=ISO2, allowed=EDITION_2)

    def test_an_element_without_id_is_refused(self) -> None:
        with pytest.raises(SignatureError, match="no Id"):
            verify(
                sign(J_ELEMENT, P256, schema=ISO2),
                replace(J_ELEMENT, id=None),
                P256.public_key,
                schema=ISO2,
                allowed=EDITION_2,
            )


# -- by openssl and by an EXI processor that is not ours ----------------------------------------------------------

SUITES: Final = {
    Algorithm.ECDSA_SHA512: (
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        "http://www.w3.org/2001/04/xmlenc#sha512",
        ("-sha512",),
    ),
    Algorithm.ED448: (
        "urn:iso:std:iso:15118:-20:Security:xmldsig#Ed448",
        "urn:iso:std:iso:15118:-20:Security:xmlenc#SHAKE256",
        ("-shake256", "-xoflen", "64"),
    ),
    Algorithm.ECDSA_SHA256: (
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        "http://www.w3.org/2001/04/xmlenc#sha256",
        ("-sha256",),
    ),
}
"""URIs of signature and digest, and how openssl gets the digest: said once more, not taken from the code."""

SIGNED_INFO: Final = """<SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#">\
<CanonicalizationMethod Algorithm="http://www.w3.org/TR/canonical-exi/"/><SignatureMethod Algorithm="{method}"/>\
<Reference URI="#{id}"><Transforms><Transform Algorithm="http://www.w3.org/TR/canonical-exi/"/></Transforms>\
<DigestMethod Algorithm="{digest}"/><DigestValue>{value}</DigestValue></Reference></SignedInfo>"""


class OpenSsl:
    """openssl with one key, in a folder of its own."""

    def __init__(self, folder: Path, key: SoftwareKey) -> None:
        program = shutil.which("openssl")
        if program is None:
            pytest.skip("openssl is not installed (Debian package openssl)")
        self._program, self._folder, self._key = program, folder, key
        pem = serialization.Encoding.PEM
        private = key.expose().private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / "key.pem").write_bytes(private)
        public = key.public_key.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / "public.pem").write_bytes(public)

    def digest(self, data: bytes) -> bytes:
        return self._run("dgst", *SUITES[self._key.algorithm][2], "-binary", self._file("data", data))

    def sign(self, data: bytes) -> bytes:
        """Return the raw value."""
        where = self._file("data", data)
        if self._key.algorithm is Algorithm.ED448:
            return self._run("pkeyutl", "-sign", "-rawin", "-inkey", "key.pem", "-in", where)
        width = 66 if self._key.algorithm is Algorithm.ECDSA_SHA512 else 32
        r, s = decode_dss_signature(self._run("dgst", *SUITES[self._key.algorithm][2], "-sign", "key.pem", where))
        return r.to_bytes(width, "big") + s.to_bytes(width, "big")

    def believes(self, data: bytes, value: bytes) -> bool:
        where = self._file("data", data)
        if self._key.algorithm is Algorithm.ED448:
            signed = self._file("value", value)
            said = self._run(
                *("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public.pem", "-in", where, "-sigfile", signed),
                check=False,
            )
            return b"Signature Verified Successfully" in said
        half = len(value) // 2
        der = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
        options = (*SUITES[self._key.algorithm][2], "-verify", "public.pem", "-signature", self._file("value", der))
        return b"Verified OK" in self._run("dgst", *options, where, check=False)

    def _file(self, name: str, data: bytes) -> str:
        (self._folder / name).write_bytes(data)
        return name

    def _run(self, *words: str, check: bool = True) -> bytes:
        done = subprocess.run([self._program, *words], cwd=self._folder, capture_output=True, check=check)
        return done.stdout


@pytest.fixture(params=[P521, ED448, P256], ids=lambda key: key.algorithm.value)
def openssl(request: pytest.FixtureRequest, tmp_path: Path) -> OpenSsl:
    return OpenSsl(tmp_path, request.param)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> SoftwareKey:
    """The key that openssl has."""
    found = request.node.callspec.params["openssl"]
    assert isinstance(found, SoftwareKey)
    return found


def test_openssl_believes_what_we_sign(openssl: OpenSsl, key: SoftwareKey) -> None:
    for element in ELEMENTS.values():
        signature = sign(element, key)
        (reference,) = signature.signed_info.reference
        assert reference.digest_value == openssl.digest(exi.encode_fragment(element, COMMON_MESSAGES))
        signed, value = exi.encode_fragment(signature.signed_info, XMLDSIG), signature.signature_value.value
        assert openssl.believes(signed, value)
        assert not openssl.believes(signed + b"\0", value)


def test_we_believe_what_openssl_signs(openssl: OpenSsl, key: SoftwareKey) -> None:
    for element in ELEMENTS.values():
        ours = sign(element, key)
        value = openssl.sign(exi.encode_fragment(ours.signed_info, XMLDSIG))
        assert value != ours.signature_value.value or key is ED448  # ECDSA draws a number, Ed448 does not
        verify(with_value(ours, value), element, key.public_key, allowed=set(Algorithm))


def by_others(
    peer: PeerCodec, openssl: OpenSsl, element: Any, key: SoftwareKey, *, schema: Schema, name: str, grammar: Schema
) -> Signature:
    """Return a signature that was made of text by tools of others; only its last decoding is ours."""
    xml = one_line(exi.to_xml(element, schema=schema, name=name))
    digest = openssl.digest(peer.encode(schema, xml, fragment=True))
    method, hashing, _ = SUITES[key.algorithm]
    text = SIGNED_INFO.format(method=method, digest=hashing, id=element.id, value=base64.b64encode(digest).decode())
    signed = peer.encode(grammar, text, fragment=True)
    info: Any = exi.decode_fragment(signed, grammar)
    return with_value(replace(sign(element, key, schema=schema, names=NAMES_2), signed_info=info), openssl.sign(signed))


@pytest.mark.one_worker("peer_codec")
@pytest.mark.parametrize("name", list(ELEMENTS))
def test_a_signature_made_by_others_alone_is_believed(
    peer_codec: PeerCodec, openssl: OpenSsl, key: SoftwareKey, name: str
) -> None:
    """From XML to value: fragments by the other processor, digest and value by openssl, text by hand."""
    element = ELEMENTS[name]
    for grammar in (XMLDSIG, COMMON_MESSAGES):
        signature = by_others(peer_codec, openssl, element, key, schema=COMMON_MESSAGES, name=name, grammar=grammar)
        verify(signature, element, key.public_key, allowed=set(Algorithm))
        with pytest.raises(SignatureError):
            verify(signature, replace(element, id=f"{element.id}x"), key.public_key, allowed=set(Algorithm))


@pytest.mark.one_worker("peer_codec")
@pytest.mark.parametrize("openssl", [P256], ids=["ecdsa-sha256"], indirect=True)
@pytest.mark.parametrize("name", list(ELEMENTS_2))
def test_a_signature_of_2_made_by_others_alone_is_believed(
    peer_codec: PeerCodec, openssl: OpenSsl, key: SoftwareKey, name: str
) -> None:
    element: Element = ELEMENTS_2[name]
    signature = by_others(peer_codec, openssl, element, key, schema=ISO2, name=name, grammar=XMLDSIG)
    verify(signature, element, key.public_key, schema=ISO2, names=NAMES_2, allowed=EDITION_2)


@pytest.mark.one_worker("peer_codec")
@pytest.mark.parametrize("key", [P521, ED448], ids=lambda key: key.algorithm.value)
def test_signed_info_is_encoded_alike(peer_codec: PeerCodec, key: SoftwareKey) -> None:
    """In both grammars, with the names of both suites."""
    for element in ELEMENTS.values():
        info = sign(element, key).signed_info
        for grammar in (XMLDSIG, COMMON_MESSAGES):
            ours = exi.encode_fragment(info, grammar)
            text = one_line(exi.to_xml(info, schema=XMLDSIG))
            assert peer_codec.encode(grammar, text, fragment=True) == ours
