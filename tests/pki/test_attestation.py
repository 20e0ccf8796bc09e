"""A manifest counts as signed by its key alone; the openssl command verifies it, too."""

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import KeyAccessError, SignatureError, VerificationError
from v2g.pki.attestation import LINK, MOST_BYTES, SIGNATURE, Manifest, parse_manifest, sign_manifest
from v2g.pki.keys import SoftwareKey, load_public_key

KEY = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
MANIFEST = Manifest(
    release="1.0", version=3, folders=("/opt",), system=("/lib",), files={"/opt/a": "00", "/opt/b": "11"}
)


def public(key: SoftwareKey) -> bytes:
    """Return the public half in PEM."""
    return key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.requirement("R148")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_it(tmp_path: Path) -> None:
    data, signature = sign_manifest(MANIFEST, KEY)
    for name, content in {"m": data, "m.sig": signature, "key.pem": public(KEY)}.items():
        (tmp_path / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "m.sig", "m"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout == "Verified OK\n"
    (tmp_path / "m").write_bytes(data.replace(b"00", b"01"))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0


@pytest.mark.requirement("R148")
def test_installed_releases_read_what_was_written_before() -> None:
    """Signed files outlast programs: names, marks and layout of them are a format."""
    data, _ = sign_manifest(msgspec.structs.replace(MANIFEST, files={"/opt/b": f"{LINK}a", "/opt/a": "00"}), KEY)
    assert data.decode() == MANIFEST_TEXT
    assert (SIGNATURE, MOST_BYTES) == (".sig", 16_777_216)


MANIFEST_TEXT = """\
{
 "files": {
  "/opt/a": "00",
  "/opt/b": "link:a"
 },
 "folders": [
  "/opt"
 ],
 "format": 1,
 "release": "1.0",
 "system": [
  "/lib"
 ],
 "version": 3
}
"""


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1(), None])
def test_keys_of_each_kind_sign_it(tmp_path: Path, curve: ec.EllipticCurve | None) -> None:
    key = SoftwareKey(ed448.Ed448PrivateKey.generate() if curve is None else ec.generate_private_key(curve))
    (tmp_path / "key.pem").write_bytes(public(key))
    assert parse_manifest(*sign_manifest(MANIFEST, key), load_public_key(tmp_path / "key.pem")) == MANIFEST
    with pytest.raises(SignatureError):
        parse_manifest(*sign_manifest(MANIFEST, key), KEY.public_key)


@pytest.mark.requirement("R148")
@given(st.integers(0, 400), st.integers(1, 255))
def test_no_octet_of_it_can_change(place: int, change: int) -> None:
    data, signature = sign_manifest(MANIFEST, KEY)
    place %= len(data)
    changed = data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
    with pytest.raises(SignatureError):
        parse_manifest(changed, signature, KEY.public_key)


@given(st.binary(max_size=200))
def test_arbitrary_signatures_are_refused(signature: bytes) -> None:
    data, _ = sign_manifest(MANIFEST, KEY)
    with pytest.raises(SignatureError):
        parse_manifest(data, signature, KEY.public_key)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(msgspec.json.encode))
def test_what_is_signed_but_no_manifest_is_malformed(data: bytes) -> None:
    with pytest.raises(VerificationError, match="manifest: malformed"):
        parse_manifest(data, KEY.sign(data), KEY.public_key)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"])
def test_a_file_without_a_public_key_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(text)
    for path in (tmp_path / "key.pem", tmp_path / "none.pem"):
        with pytest.raises(KeyAccessError):
            load_public_key(path)
