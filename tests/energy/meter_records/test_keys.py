"""Public keys of meters: every form, every curve, and nothing else."""

import base64
import contextlib
import ssl
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import KEY, der_of
from tests.together import together
from v2g.energy.meter_records.keys import HashName, MeterKey, curve_name, key_of, read_key, transport_forms
from v2g.errors import CodecError, RecordError

HASHES: dict[HashName, hashes.HashAlgorithm] = {
    "SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()
}  # fmt: skip
CURVES = (
    ec.SECP192R1(), ec.SECP224R1(), ec.SECP256R1(), ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1(),
    ec.BrainpoolP256R1(), ec.BrainpoolP384R1(), ec.BrainpoolP512R1(),
)  # fmt: skip
KEYS = [ec.derive_private_key(0xC0FFEE, each) for each in CURVES]


def forms(der: bytes, point: bytes) -> list[str]:
    """How a key is written: by makers, by OCPP, by the transparency software."""
    spaced = " ".join(f"{each:02X}" for each in der)
    texts = [der.hex(), der.hex().upper(), spaced, ":".join(f"{each:02x}" for each in der), "0x" + der.hex()]
    texts += [base64.b64encode(der).decode(), base64.urlsafe_b64encode(der).decode().rstrip("=")]
    texts += [f"oca:base16:asn1:{der.hex()}", f"oca:base64:asn1:{base64.b64encode(der).decode()}"]
    pem = base64.encodebytes(der).decode()
    texts += [f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n"]
    texts += [base64.b64encode(each.encode()).decode() for each in texts]  # OCPP's publicKey is base64
    texts += [point.hex(), point[1:].hex(), base64.b64encode(point).decode(), base64.b32encode(point).decode()]
    texts += [f"-----BEGIN PUBLIC KEY-----\\n{base64.b64encode(der).decode()}\\n-----END PUBLIC KEY-----\\n"]
    texts += [f'"{der.hex()}"', f"\ufeff{der.hex()}", spaced.replace(" ", "-")]
    return [*texts, *(f"\r\n {each}\n" for each in texts)]


@pytest.mark.requirement("R196")
@pytest.mark.parametrize("key", KEYS, ids=[each.curve.name for each in KEYS])
def test_a_key_is_the_same_in_every_form(key: ec.EllipticCurvePrivateKey) -> None:
    public = key.public_key()
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    for text in forms(der_of(public), point):
        assert read_key(text) == key_of(public), text


def test_a_certificate_stands_for_its_key_in_every_form() -> None:
    key, name, begin = KEYS[2], x509.Name([]), datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256())
    der = certificate.public_bytes(serialization.Encoding.DER)
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    for text in (pem, pem * 2, der.hex(), base64.b64encode(der).decode(), base64.b64encode(pem.encode()).decode()):
        assert read_key(text) == key_of(key.public_key()), text
    wrong = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))  # a version that X.509 has not
    for text in (wrong.hex(), ssl.DER_cert_to_PEM_cert(wrong), pem.replace("M", "?")):
        with pytest.raises(CodecError, match="not a meter's public key"):
            read_key(text)


@pytest.mark.parametrize("key", KEYS, ids=[each.curve.name for each in KEYS])
def test_a_compressed_point_verifies_by_the_curve_that_the_record_names(key: ec.EllipticCurvePrivateKey) -> None:
    public = key.public_key()
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    signatures = {name: key.sign(b"data", ec.ECDSA(each)) for name, each in HASHES.items()}
    negative = read_key(bytes((point[0] ^ 1, *point[1:])).hex())
    for text in (point.hex(), base64.b64encode(point).decode(), base64.b32encode(point).decode()):
        found = read_key(text)
        assert found.curve in ("", public.curve.name)
        for name, signature in signatures.items():
            assert found.verifies(b"data", signature, public.curve.name, name) is True
            assert found.verifies(b"date", signature, public.curve.name, name) is False
            halves = (each.to_bytes((key.curve.key_size + 7) // 8) for each in decode_dss_signature(signature))
            assert found.verifies(b"data", b"".join(halves), public.curve.name, name)
        assert found.is_same(key_of(public))
        for other in (key_of(ec.derive_private_key(2, key.curve).public_key()), negative):
            assert not any(one.is_same(other) or other.is_same(one) for one in (found, key_of(public)))


def test_a_key_has_a_length_and_is_encoded_three_times_at_most() -> None:
    """Each time as base64 or hex; PEM and a prefix may stand within."""
    der = der_of(KEY.public_key())
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for octets, most in ((der, 3), (pem, 3), (f"\n oca:base16:asn1:{der.hex()}".encode(), 2)):
        for _ in range(most):
            octets = base64.b64encode(octets)
        assert read_key(octets.decode()) == key_of(KEY.public_key())
        assert read_key(octets.decode().ljust(8192)) == key_of(KEY.public_key())
        for wrong, reason in ((octets.decode().ljust(8193), "of 8193 characters"),
                              (base64.b64encode(octets).decode(), "neither DER nor a point")):  # fmt: skip
            with pytest.raises(CodecError, match=reason):
                read_key(wrong)


@together(
    ("text", "forms"),
    [
        ("", []), (" ", []), ("0x", []), ("===", []), ("?", []), ("A", []), ("0f5", []), ("AA=A", []),
        ("0x0F 5a,B4:c3-D2", [b"\x0f\x5a\xb4\xc3\xd2"]),
        ("-_8", [b"\xfb\xff"]), ("+/8=", [b"\xfb\xff"]), ("+ /\n8", [b"\xfb\xff"]), ("+/8?", []), ("+/9=", []),
        ("MZXW 6===", [b"foo"]), ("MZXW7", []),
        ("AAAAAAAA", [b"\xaa" * 4, bytes(6), bytes(5)]),
    ],
)  # fmt: skip
def test_a_text_is_read_in_each_encoding_that_it_fits_exactly(text: str, forms: list[bytes]) -> None:
    assert list(transport_forms(text)) == forms


def test_secp192k1_is_verified_by_a_library_of_its_own() -> None:
    """A key and signatures of OpenSSL, which has the curve."""
    point = "0484b221dff00fbcadcbef8acdbfc61ef772fab0b017f5e98b99a6d41d65bda89b9e680f765e538459c4c4a92fea5af44e"
    short = "0284b221dff00fbcadcbef8acdbfc61ef772fab0b017f5e98b"
    sha256 = (
        "303502187a9e53aa30b585335d18d224a0537551d0524c9bdd43588f021900a0d8e6ee58f6f0ddaedf3bd21ae3bd98c4731d36b658a26f"
    )
    sha384 = (
        "3036021900c0094cd5a197ab3b7c30a71081feaa4aa3d590d6e584fc28"
        "021900a69fd7a4528df20bcfef1c66b55ead8fc52a65770ade7e94"
    )
    spki = "301006072a8648ce3d020106052b8104001f03"
    keys = [read_key(each) for each in (f"3046{spki}3200{point}", f"302e{spki}1a00{short}", point, short)]
    assert [each.curve for each in keys] == ["secp192k1"] * 3 + [""]  # x is on secp192r1, too
    for key in keys:
        assert key.is_same(keys[0])
        assert key.verifies(b"data", bytes.fromhex(sha256), "secp192k1") is True
        assert key.verifies(b"data", bytes.fromhex(sha384), "secp192k1", "SHA384") is True
        assert key.verifies(b"date", bytes.fromhex(sha256), "secp192k1") is False
    x, y = point[2:50], point[50:]
    no_points = (x + point[:48], "04" + x + "0000" + y, "02" + x + "0000", f"{4:050x}", f"05{3:048x}")
    for wrong in (*no_points, f"3046{spki}3200{point[:-1]}f", f"3012{spki[:-2]}"):  # the last has no point at all
        with pytest.raises(CodecError, match="not a meter's public key"):
            read_key(wrong)
    other_curves = [read_key(each).curve for each in (f"03{5:048x}", f"03{1:048x}", f"03{2:048x}", "02" + x + y)]
    assert other_curves == ["", "secp192k1", "secp192r1", "brainpoolP384r1"]


def test_without_that_library_the_curve_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ecdsa", None)
    key = MeterKey("secp192k1", b"\x04" + bytes(48))
    with pytest.raises(RecordError, match=r"v2g-engine\[verify\]") as error:
        key.verifies(b"data", bytes(48), "")
    assert error.value.verdict == "unsupported"


def without_zeros(signature: bytes) -> bytes:
    """A signature of DER without the zero before a high bit."""
    start = 3 if signature[1] == 0x81 else 2
    at = start + 2 + signature[start + 1]
    parts = (each.lstrip(b"\0") for each in (signature[start + 2 : at], signature[at + 2 :]))
    body = b"".join(bytes((2, len(each))) + each for each in parts)
    return b"\x30" + signature[1 : start - 1] + bytes((len(body),)) + body


@pytest.mark.parametrize("key", [KEYS[0], KEYS[5]], ids=["short", "long"])
def test_a_signature_of_der_may_lack_the_zero_before_a_high_bit(key: ec.EllipticCurvePrivateKey) -> None:
    """As some meters write it; its tags and lengths must fit all the same."""
    public = key_of(key.public_key())
    for number in range(40):
        data = number.to_bytes(1, "big")
        signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
        bare = without_zeros(signature)
        assert public.verifies(data, signature, "") is public.verifies(data, bare, "") is True
        at = bare[-len(bare) + 1] == 0x81  # one octet more
        framing = (0, 1 + at, 2 + at, 3 + at, 4 + at + bare[3 + at], 5 + at + bare[3 + at])
        changed = [bytes((*bare[:each], bare[each] ^ 1, *bare[each + 1 :])) for each in framing]
        for wrong in (*changed, *(bare[:end] for end in range(len(bare))), bare + b"\0", bytes(300), b"\x30" * 300):
            assert public.verifies(data, wrong, "") is False


def test_a_signature_of_zeros_is_none() -> None:
    for key in (key_of(KEY.public_key()), read_key(f"03{1:048x}")):
        for wrong in (bytes.fromhex("3006020100020100"), bytes.fromhex("300402000200"), bytes(48), bytes(64)):
            assert key.verifies(b"data", wrong, "") is False


@together(
    ("text", "reason"),
    [
        ("", "empty"),
        ("zz", "neither DER nor a point"),
        ('{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}', r"write a JSON Web Key \(JWK\) as PEM"),
        ("00" * 65, "neither DER nor a point"),
        ("04" + "01" * 64, "neither DER nor a point"),
        ("30" + "00" * 20, "not a meter's public key"),
        ("oca:base16:asn1:zz", "neither DER nor a point"),
        (f"oca:base16:asn1{der_of(KEY.public_key()).hex()}", "neither DER nor a point"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "not a meter's public key"),
        ("A" * 9000, "9000 characters"),
    ],
)
def test_other_texts_are_no_keys(text: str, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        read_key(text)


def test_keys_of_other_kinds_sign_no_readings() -> None:
    for other in (ed448.Ed448PrivateKey.generate(), rsa.generate_private_key(65537, 1024)):
        der = other.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for text in (der.hex(), base64.b64encode(f"0x{der.hex()}".encode()).decode()):
            with pytest.raises(CodecError, match="not an elliptic curve"):
                read_key(text)


@pytest.mark.parametrize(
    ("key", "size", "curve"), [("", 64, "secp256k1"), ("", 64, "secp256r1"), ("secp192k1", 48, "secp192k1")]
)
def test_a_point_that_is_not_of_the_curve_that_a_record_names_is_unsupported(key: str, size: int, curve: str) -> None:
    alone = MeterKey(key, b"\x04" + bytes(size))
    with pytest.raises(RecordError, match=f"not a point of {curve}") as error:
        alone.verifies(b"", bytes(size), "" if curve == "secp256r1" else curve)
    assert error.value.verdict == "unsupported"


@together(
    ("name", "synonyms"),
    [
        ("secp192r1", "SECP192R1 prime192v1 nistp192 P-192"),
        ("secp224r1", "secp-224-r1"),
        ("secp256r1", "secp256r1 prime256v1 NIST_P-256 p256"),
        ("secp256k1", "secp256k1"),
        ("secp384r1", "secp384r1 prime384v1 NIST-P384 P-384"),
        ("secp521r1", "secp521r1 nistp521 P-521"),
        ("secp192k1", "secp192k1"),
        ("brainpoolP256r1", "brainpoolP256r1 brainpool256r1"),
        ("brainpoolP384r1", "BrainpoolP384r1 brainpool384r1"),
        ("brainpoolP512r1", "brainpoolP512r1 brainpool512r1"),
        ("", "curve25519 secp256 secp256r1x"),
    ],
)
def test_a_curve_has_synonyms(name: str, synonyms: str) -> None:
    for each in synonyms.split():
        assert curve_name(each) == curve_name(f" {each}\n") == name, each
    assert curve_name("NIST P-256") == "secp256r1"
    assert curve_name("") == ""


@given(text=st.text(max_size=200) | st.binary(max_size=100).map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_a_key_or_the_one_error(text: str) -> None:
    with contextlib.suppress(CodecError):
        assert read_key(text).point
