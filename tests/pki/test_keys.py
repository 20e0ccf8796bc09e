"""Raw signatures as ISO 15118 carries them, checked by the openssl command where it can."""

import os
import shutil
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x448
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import KeyAccessError, SignatureError
from v2g.pki.keys import (
    Algorithm,
    PrivateKey,
    SoftwareKey,
    algorithm_of,
    has_low_order,
    load_key,
    load_private_key,
    load_public_key,
    new_ed448_contract_key,
    parse_private_key,
    parse_public_key,
    raw_signature,
    read_secret,
    read_secret_text,
    save_key,
    save_secret,
    sign_der,
    verify_signature,
    x448_of,
    x448_public_of,
)

KEYS: list[tuple[PrivateKey, Algorithm, int]] = [
    (ec.generate_private_key(ec.SECP521R1()), Algorithm.ECDSA_SHA512, 132),
    (ec.generate_private_key(ec.SECP256R1()), Algorithm.ECDSA_SHA256, 64),
    (ed448.Ed448PrivateKey.generate(), Algorithm.ED448, 114),
]


@pytest.mark.parametrize(("key", "algorithm", "length"), KEYS)
def test_signatures_are_raw_and_of_fixed_length(key: PrivateKey, algorithm: Algorithm, length: int) -> None:
    signer = SoftwareKey(key)
    assert signer.algorithm is algorithm is algorithm_of(key.public_key())
    for number in range(20):  # r and s of secp521r1 are often shorter than 66 bytes
        signature = signer.sign(bytes([number]))
        assert len(signature) == length
        verify_signature(signer.public_key, bytes([number]), signature)
        with pytest.raises(SignatureError):
            verify_signature(signer.public_key, b"other", signature)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize(("key", "digest"), [(KEYS[0][0], "sha512"), (KEYS[1][0], "sha256")])
def test_openssl_verifies_what_we_sign(tmp_path: Path, key: PrivateKey, digest: str) -> None:
    raw = SoftwareKey(key).sign(b"data")
    half = len(raw) // 2
    (tmp_path / "data").write_bytes(b"data")
    der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
    (tmp_path / "signature").write_bytes(der)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    command = ["openssl", "dgst", f"-{digest}", "-verify", "public.pem", "-signature", "signature", "data"]
    assert "Verified OK" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("key", "_algorithm", "length"), KEYS)
def test_a_signature_of_another_length_is_refused(key: PrivateKey, _algorithm: Algorithm, length: int) -> None:
    signature = SoftwareKey(key).sign(b"data")
    if length != 114:
        with pytest.raises(SignatureError, match=f"has {length - 1} bytes instead of {length}"):
            verify_signature(key.public_key(), b"data", signature[:-1])
    for wrong in (signature[:-1], signature + b"\0", b"\0" + signature, b"", bytes(length), b"\xff" * length):
        with pytest.raises(SignatureError):
            verify_signature(key.public_key(), b"data", wrong)


@given(signature=st.binary(max_size=140))
def test_no_bytes_are_a_signature_by_chance(signature: bytes) -> None:
    for key, _algorithm, _length in KEYS:
        with pytest.raises(SignatureError):
            verify_signature(key.public_key(), b"data", signature)


def test_a_curve_that_15118_does_not_know_is_refused() -> None:
    with pytest.raises(SignatureError, match="secp384r1"):
        SoftwareKey(ec.generate_private_key(ec.SECP384R1()))


def test_a_saved_key_is_for_its_owner_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    path.write_text("what was there before")
    path.chmod(0o644)
    save_key(path, KEYS[0][0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(path).public_key == KEYS[0][0].public_key()


@pytest.mark.parametrize(("curve", "size"), [(ec.SECP521R1(), 66), (ec.SECP256R1(), 32)])
def test_both_sides_agree_on_the_x_coordinate(curve: ec.EllipticCurve, size: int) -> None:
    ours, theirs = ec.generate_private_key(curve), ec.generate_private_key(curve)
    secret = SoftwareKey(ours).agree(theirs.public_key())
    assert len(secret) == size
    assert secret == theirs.exchange(ec.ECDH(), ours.public_key())


@given(st.binary(min_size=57, max_size=57), st.binary(min_size=56, max_size=56))
def test_an_ed448_key_agrees_through_its_x448_counterpart(seed: bytes, scalar: bytes) -> None:
    """The peer knows only the Ed448 certificate: its mapped point and our mapped scalar meet in one secret."""
    ours, theirs = ed448.Ed448PrivateKey.from_private_bytes(seed), x448.X448PrivateKey.from_private_bytes(scalar)
    mapped = x448_public_of(ours.public_key())
    assert mapped == x448_of(ours).public_key()
    assert SoftwareKey(ours).agree(theirs.public_key()) == theirs.exchange(mapped)


def test_the_base_point_of_ed448_maps_to_that_of_x448() -> None:
    """RFC 7748, 4.2 prints y(P) of edwards448 and u(P) = 5 of curve448."""
    y = int(
        "298819210078481492676017930443930673437544040154080242095928241"
        "372331506189835876003536878655418784733982303233503462500531545062832660"
    )
    assert x448_public_of(_ed448_point(y)).public_bytes_raw() == (5).to_bytes(56, "little")


@together("y", [0, 1, 2, 2**448 - 2**224 - 2, 2**448 - 2**224 - 1, 2**448 - 1])
def test_points_of_low_order_and_numbers_that_are_no_point_do_not_agree(y: int) -> None:
    with pytest.raises(SignatureError):
        x448_public_of(_ed448_point(y))


def _ed448_point(y: int) -> ed448.Ed448PublicKey:
    return ed448.Ed448PublicKey.from_public_bytes(y.to_bytes(57, "little"))


def test_keys_of_different_curves_and_points_of_low_order_share_no_secret() -> None:
    p521, goldilocks = SoftwareKey(ec.generate_private_key(ec.SECP521R1())), SoftwareKey(KEYS[2][0])
    with pytest.raises(SignatureError, match="secp256r1 cannot agree with one of secp521r1"):
        p521.agree(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(SignatureError, match="x448 cannot agree with one of secp521r1"):
        p521.agree(x448.X448PrivateKey.generate().public_key())
    with pytest.raises(SignatureError, match="low order"):
        goldilocks.agree(x448.X448PublicKey.from_public_bytes(bytes(56)))


@together(("y", "low"), [(0, True), (1, True), (-1, True), (2, False), (-2, False), (2**447, False)])
def test_the_points_of_low_order_are_four(y: int, low: bool) -> None:
    """(0, 1), (0, -1) and (+-x, 0), RFC 8032, 5.2; the last octet has the sign of x, and y + p is y."""
    prime = 2**448 - 2**224 - 1
    for number in {y % prime, y % prime + prime if y % prime < 2**224 else y % prime}:
        for sign in (0, 0x80):
            key = ed448.Ed448PublicKey.from_public_bytes(number.to_bytes(56, "little") + bytes((sign,)))
            assert has_low_order(key) is low


def test_nothing_is_signed_by_a_point_of_low_order() -> None:
    """R the neutral element and S 0 fit each message where the key is it, too."""
    neutral = (1).to_bytes(57, "little")
    with pytest.raises(SignatureError, match="anyone can have signed"):
        verify_signature(ed448.Ed448PublicKey.from_public_bytes(neutral), b"any", neutral + bytes(57))


def test_an_ed448_contract_s_key_has_56_octets() -> None:
    asked = list[int]()

    def entropy(count: int) -> bytes:
        asked.append(count)
        return b"\x07" * count

    assert new_ed448_contract_key(entropy).private_bytes_raw() == b"\x07" * 56 + b"\0"
    assert asked == [56]


@pytest.mark.parametrize(("key", "_algorithm", "length"), KEYS)
def test_a_signature_in_der_is_that_of_x509_and_its_raw_form_that_of_15118(
    key: PrivateKey, _algorithm: Algorithm, length: int
) -> None:
    signature, public = sign_der(SoftwareKey(key), b"data"), key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, b"data", ec.ECDSA(hashes.SHA512() if length == 132 else hashes.SHA256()))
    else:
        public.verify(signature, b"data")
    raw = raw_signature(public, signature)
    assert len(raw) == length
    verify_signature(public, b"data", raw)
    assert raw_signature(public, raw) == raw
    octets = length - (7 if length > 130 else 6)
    long = encode_dss_signature(*(1 << 8 * part - 2 for part in (octets // 2, octets - octets // 2)))
    assert len(long) == length, "in DER as long as a raw one"
    for odd in (
        b"",
        b"\x30\x03\x02\x01",
        long,
        encode_dss_signature(2**600, 1),
    ):
        assert raw_signature(public, odd) == odd


def test_names_of_algorithms_are_written_to_files() -> None:
    assert [each.value for each in Algorithm] == ["ecdsa-sha512", "ed448", "ecdsa-sha256"]


def test_a_key_may_be_had_for_libraries_that_need_it() -> None:
    assert SoftwareKey(KEYS[0][0]).expose() is KEYS[0][0]


# -- files


def pem(key: object, passphrase: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
    )


PKCS12 = bytes.fromhex("308205d7020103308205a106092a864886f70d010701")
"""How such a file begins."""


@pytest.mark.parametrize(
    ("data", "passphrase", "said", "hint"),
    [
        (pem(KEYS[0][0], b"secret"), None, "^the key is encrypted$", "said"),
        (pem(KEYS[0][0]), b"secret", "^the key is not encrypted$", "said"),
        (pem(KEYS[0][0], b"secret"), b"other", "^the key: wrong passphrase, or a damaged file$", "the passphrase may"),
        (b"no PEM", None, r"^the key: not a private key in PEM: \w+$", "is it complete?"),
        (
            bytes.fromhex("3081ff"),
            None,
            r"^the key is not PEM, but binary \(DER\)$",
            "openssl x509 -inform DER, or openssl pkey",
        ),
        (PKCS12, None, r"^the key is not PEM, but binary \(DER\)$", "openssl pkcs12"),
        (pem(x448.X448PrivateKey.generate()), None, "^the key is neither an EC nor an Ed448 key$", ""),
    ],
    ids=["locked", "open", "locked otherwise", "no PEM", "DER", "PKCS 12", "of another kind"],
)
def test_a_key_that_cannot_be_read_says_why(data: bytes, passphrase: bytes | None, said: str, hint: str) -> None:
    with pytest.raises(KeyAccessError, match=said) as caught:
        parse_private_key(data, passphrase, hint="said")
    assert caught.value.hint.startswith(hint)
    assert bool(caught.value.hint) is bool(hint)


def test_a_key_from_elsewhere_has_no_hint() -> None:
    with pytest.raises(KeyAccessError) as caught:
        parse_private_key(pem(KEYS[0][0]), b"secret")
    assert caught.value.hint == ""


def test_a_key_s_file_says_how_its_passphrase_is_given(tmp_path: Path) -> None:
    locked, plain = tmp_path / "locked.key", tmp_path / "plain.key"
    save_key(locked, KEYS[0][0], b"secret")
    save_key(plain, KEYS[0][0])
    assert load_key(locked, b"secret").public_key == KEYS[0][0].public_key()
    for path, passphrase, hint in (
        (locked, None, f"use file:{locked}?pin-source=... for its passphrase"), (plain, b"secret", "remove pin-source"),
    ):  # fmt: skip
        with pytest.raises(KeyAccessError, match="encrypted") as caught:
            load_private_key(path, passphrase)
        assert caught.value.hint == hint


def test_a_public_key_is_read_from_its_pem_or_a_certificate_s(tmp_path: Path) -> None:
    how = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    for key, _, _ in KEYS:
        path = tmp_path / "public.pem"
        path.write_bytes(key.public_key().public_bytes(*how))
        assert load_public_key(path) == key.public_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone")])
    days = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, KEYS[1][0].public_key(), 1, *days).sign(KEYS[1][0], hashes.SHA256())
    assert parse_public_key(made.public_bytes(serialization.Encoding.PEM), "it") == KEYS[1][0].public_key()
    for odd, kind in (
        (rsa.generate_private_key(65537, 2048), "this kind of key"), (ec.generate_private_key(ec.SECP384R1()), "curve"),
    ):  # fmt: skip
        with pytest.raises(KeyAccessError, match=rf"^it: {kind}.* is not used by ISO 15118") as caught:
            parse_public_key(odd.public_key().public_bytes(*how), "it")
        assert caught.value.hint.startswith("a public key or a certificate in PEM")
    with pytest.raises(KeyAccessError, match="No such file"):
        load_public_key(tmp_path / "none.pem")


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    save_secret(path, b"it")
    assert read_secret(path) == b"it"
    path.chmod(mode)
    with pytest.raises(KeyAccessError, match=f"has mode 0{mode:o}") as caught:
        read_secret(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o1777, True), (0o777, False), (0o702, False)])
def test_a_secret_in_a_folder_where_anyone_may_replace_it_is_refused(tmp_path: Path, mode: int, safe: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_secret(folder / "secret", b"it")
    folder.chmod(mode)
    if safe:
        assert read_secret(folder / "secret") == b"it"
        return
    with pytest.raises(KeyAccessError, match="anyone may replace files") as caught:
        read_secret(folder / "secret")
    assert caught.value.hint == f"chmod o-w {folder}"


def test_a_secret_is_a_file_of_bounded_length(tmp_path: Path) -> None:
    save_secret(tmp_path / "long", bytes(70_000))
    assert len(read_secret(tmp_path / "long")) == 65_536
    assert read_secret(tmp_path / "long", 5) == bytes(5)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyAccessError, match="is not a file"):
        read_secret(tmp_path / "pipe")
    with pytest.raises(KeyAccessError) as caught:
        read_secret(tmp_path / "none")
    assert caught.value.hint == "is the path right? v2g pki key makes one"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(KeyAccessError) as caught:
        read_secret(tmp_path / "loop")
    assert caught.value.hint == "may this user read it?"


def test_a_password_is_text_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    save_secret(path, "  a pass wörd\n".encode())
    assert read_secret_text(path) == "a pass wörd"
    for odd in (b"", b" \n", b"\xff"):
        save_secret(path, odd)
        with pytest.raises(KeyAccessError, match="has no text in UTF-8") as caught:
            read_secret_text(path)
        assert caught.value.hint == "a password or secret on one line"


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_secret_that_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    save_secret(path, b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    with pytest.raises(OSError, match="irectory"):
        save_secret(tmp_path / "folder", b"new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "secret"]
    synced, opened = list[bool](), handles()
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        assert synced[-1] or os.fstat(handle).st_size == 3, "what is written is flushed first"
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    save_secret(path, b"new")
    assert (path.read_bytes(), synced, handles()) == (b"new", [False, True], opened)
