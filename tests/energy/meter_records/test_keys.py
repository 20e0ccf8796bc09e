"""Public keys of meters: every form, every curve, and nothing else."""

import base64
import contextlib
import sys

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import KEY, der_of
from v2g.energy.meter_records.keys import MeterKey, curve_name, key_of, read_key
from v2g.errors import CodecError, RecordError

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


@pytest.mark.parametrize("key", KEYS, ids=[each.curve.name for each in KEYS])
def test_a_compressed_point_verifies_by_the_curve_that_the_record_names(key: ec.EllipticCurvePrivateKey) -> None:
    public = key.public_key()
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    signature = key.sign(b"data", ec.ECDSA(hashes.SHA384()))
    for text in (point.hex(), base64.b64encode(point).decode(), base64.b32encode(point).decode()):
        found = read_key(text)
        assert found.curve in ("", public.curve.name)
        assert found.verifies(b"data", signature, public.curve.name, "SHA384")
        assert not found.verifies(b"date", signature, public.curve.name, "SHA384")
        assert found.is_same(key_of(public))
        assert not found.is_same(key_of(ec.derive_private_key(2, key.curve).public_key()))


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
        assert key.verifies(b"data", bytes.fromhex(sha256), "secp192k1")
        assert key.verifies(b"data", bytes.fromhex(sha384), "secp192k1", "SHA384")
        assert not key.verifies(b"date", bytes.fromhex(sha256), "secp192k1")


def test_without_that_library_the_curve_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ecdsa", None)
    key = MeterKey("secp192k1", b"\x04" + bytes(48))
    with pytest.raises(RecordError, match=r"v2g-engine\[verify\]") as error:
        key.verifies(b"data", bytes(48), "")
    assert error.value.verdict == "unsupported"


def test_a_signature_of_der_may_lack_the_zero_before_a_high_bit() -> None:
    """As some meters write it; its lengths must fit all the same."""
    public = key_of(KEY.public_key())
    for number in range(40):
        data = number.to_bytes(1, "big")
        signature = KEY.sign(data, ec.ECDSA(hashes.SHA256()))
        at = 2
        bare = b""
        for _ in range(2):
            value = signature[at + 2 : at + 2 + signature[at + 1]].lstrip(b"\0")
            bare += bytes((2, len(value))) + value
            at += 2 + signature[at + 1]
        bare = bytes((0x30, len(bare))) + bare
        assert public.verifies(data, bare, "secp256r1")
        for wrong in (bare + b"\0", bare[:-1], b"\x31" + bare[1:], bare[:1] + b"\x81" + bare[1:] + b"\0", b""):
            assert not public.verifies(data, wrong, "secp256r1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("zz", "neither DER nor a point"),
        ('{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}', r"write a JSON Web Key \(JWK\) as PEM"),
        ("00" * 65, "neither DER nor a point"),
        ("04" + "01" * 64, "neither DER nor a point"),
        ("30" + "00" * 20, "not a meter's public key"),
        ("oca:base16:asn1:zz", "neither DER nor a point"),
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
        with pytest.raises(CodecError, match="not an elliptic curve"):
            read_key(der.hex())


def test_a_point_that_is_not_of_the_curve_that_a_record_names_is_unsupported() -> None:
    alone = MeterKey("", b"\x04" + bytes(64))
    with pytest.raises(RecordError, match="not a point of secp256k1") as error:
        alone.verifies(b"", bytes(64), "secp256k1")
    assert error.value.verdict == "unsupported"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("secp256r1", "secp256r1"), ("SECP256R1", "secp256r1"), ("prime256v1", "secp256r1"),
        ("NIST P-256", "secp256r1"), ("brainpool256r1", "brainpoolP256r1"), ("brainpoolP384r1", "brainpoolP384r1"),
        ("secp192k1", "secp192k1"),        ("NIST-P384", "secp384r1"), ("curve25519", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_curve_has_synonyms(written: str, name: str) -> None:
    assert curve_name(written) == name


@given(text=st.text(max_size=200) | st.binary(max_size=100).map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_a_key_or_the_one_error(text: str) -> None:
    with contextlib.suppress(CodecError):
        assert read_key(text).point
