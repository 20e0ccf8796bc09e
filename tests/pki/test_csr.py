"""Certificate requests: those that field documents make with openssl, and who may have what they ask for."""

import subprocess
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.packages import need
from tests.pki.chains import der, issuer_of
from tests.pki.forge import NOW
from v2g.errors import CertificateError
from v2g.pki.csr import load_csr, requested_key
from v2g.pki.issue import IssueRequest, Subject, issue
from v2g.pki.profile import Generation, Role
from v2g.pki.profiles import PROFILES, PROFILES_2
from v2g.pki.verify import verify_chain


@pytest.fixture(scope="module")
def field_csr(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return what the command in field documents makes."""
    need("openssl", program="openssl")
    folder: Path = tmp_path_factory.mktemp("gateway")
    command = "openssl req -new -newkey rsa:4096 -nodes -keyout v2g_gateway.key -out v2g_gateway.csr"
    subject = ["-subj", "/C=DE/O=Fleet/CN=WMIV2GENGINE0000001X"]
    subprocess.run([*command.split(), *subject], cwd=folder, check=True, capture_output=True)
    return (folder / "v2g_gateway.csr").read_bytes()


def refusal(data: bytes, role: Role = Role.GATEWAY) -> str:
    with pytest.raises(CertificateError) as error:
        requested_key(load_csr(data), role)
    return error.value.reason


@pytest.mark.long
@pytest.mark.requirement("R19")
def test_an_rsa_gateway_is_taken_at_the_broker_and_nowhere_else(pki: PkiTree, field_csr: bytes) -> None:
    csr = load_csr(field_csr)
    for role in PROFILES:
        if role is not Role.GATEWAY:
            assert refusal(field_csr, role) == "wrong_curve"
    request = IssueRequest(
        role=Role.GATEWAY,
        subject=Subject(common_name="WMIV2GENGINE0000001X", organization="Fleet"),
        public_key=requested_key(csr, Role.GATEWAY),
        serial=1,
        not_before=NOW - timedelta(hours=1),
    )
    leaf = der(issue(request, issuer_of(pki, "csms/root")))
    verify_chain(leaf, (), pki.anchors("csms"), role=Role.GATEWAY, at=NOW)
    for role in (Role.API_CLIENT, Role.STATION, Role.CSMS_SERVER, Role.BROKER, Role.VEHICLE, Role.SECC):
        with pytest.raises(CertificateError) as error:
            verify_chain(leaf, (), pki.anchors("csms"), role=role, at=NOW)
        assert error.value.reason == "wrong_curve"


def make_csr(key: object, *extensions: x509.ExtensionType, common_name: str = "x") -> bytes:
    with warnings.catch_warnings():  # of a name that is too long
        warnings.simplefilter("ignore")
        attribute = x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([attribute]))
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    digest = None if isinstance(key, ed448.Ed448PrivateKey | ed25519.Ed25519PrivateKey) else hashes.SHA512()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]


def test_keys_are_those_of_the_profile() -> None:
    p521, p256 = (make_csr(ec.generate_private_key(curve)) for curve in (ec.SECP521R1(), ec.SECP256R1()))
    for role in (Role.SECC, Role.VEHICLE, Role.CONTRACT, Role.STATION):
        requested_key(load_csr(p521), role)
        requested_key(load_csr(make_csr(ed448.Ed448PrivateKey.generate())), role)
    requested_key(load_csr(p256), Role.STATION)
    assert refusal(p256, Role.SECC) == "wrong_curve"
    requested_key(load_csr(p256), Role.SECC, interop=True)
    assert all(requested_key(load_csr(p256), role, Generation.ISO15118_2) for role in PROFILES_2)
    for stranger in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.BrainpoolP512R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ):
        for role in PROFILES:
            assert refusal(make_csr(stranger), role) == "wrong_curve"
            with pytest.raises(CertificateError):
                requested_key(load_csr(make_csr(stranger)), role, interop=True)


def test_who_does_not_have_the_key_gets_no_certificate() -> None:
    data = make_csr(ec.generate_private_key(ec.SECP521R1()))
    assert refusal(data[:-1] + bytes([data[-1] ^ 1])) == "bad_signature"


def test_a_request_that_is_too_large_is_not_read() -> None:
    for size, said in ((16_384, "not a certificate request: "), (16_385, "certificate request of 16385 bytes")):
        with pytest.raises(CertificateError) as refused:
            load_csr(bytes(size))
        assert refused.value.reason == "malformed"
        assert str(refused.value).startswith(said)


def test_a_signed_request_is_read_to_its_end() -> None:
    """What cannot be read is malformed here, and not where it is needed; an odd name is no warning of the program."""
    key = ec.generate_private_key(ec.SECP521R1())
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x01")
    assert refusal(make_csr(key, broken)) == "malformed"
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x01")
    assert load_csr(make_csr(key, unknown)).public_key() == key.public_key()
    assert load_csr(make_csr(key, common_name="x" * 65)).public_key() == key.public_key()


@given(data=st.binary(max_size=200) | st.binary(max_size=50).map(b"-----BEGIN CERTIFICATE REQUEST-----\n".__add__))
def test_anything_else_is_malformed(data: bytes) -> None:
    assert refusal(data) == "malformed"
