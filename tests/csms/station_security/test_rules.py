"""What the back end's authority signs for stations, and which charger's certificate is whose (A02, A03, A00)."""

import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from csms.station_security.rules import (
    BACKDATED,
    Authority,
    Charger,
    SigningRequest,
    delivered,
    is_root_of,
    read_request,
    sign,
)
from tests.together import together
from v2g.errors import CertificateError
from v2g.ocpp.messages.base import CertificateHashData
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.ocsp import ocsp_request_data
from v2g.pki.profile import Generation, Role

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
CS = "CS-1"
KEY = ec.generate_private_key(ec.SECP384R1())
OLD_KEY = ec.generate_private_key(ec.SECP256R1())
DER = serialization.Encoding.DER


def certificate(
    role: Role, issuer: Issuer | None, key: ec.EllipticCurvePrivateKey, name: str, serial: int = 1
) -> x509.Certificate:
    subject = Subject(common_name=name, organization="Operator")
    wanted = IssueRequest(
        role=role, subject=subject, public_key=key.public_key(), serial=serial, not_before=NOW - timedelta(days=1),
        not_after=NOW + timedelta(days=1000),
    )  # fmt: skip
    return issue(wanted, issuer or Issuer(None, key))


ROOT = certificate(Role.CSMS_ROOT, None, KEY, "Root", 0x0A0B)
SUB = certificate(Role.CSMS_SUB, Issuer(ROOT, KEY), KEY, "Sub", 3)
OLD_SUB = certificate(Role.CSMS_SUB, Issuer(ROOT, KEY), OLD_KEY, "Old Sub", 4)


def authority(
    role: Role = Role.STATION, sub: x509.Certificate = SUB, key: ec.EllipticCurvePrivateKey = KEY,
    days: int | None = None, ocsp_url: str | None = None, crl_url: str | None = None,
) -> Authority:  # fmt: skip
    chain = (sub.public_bytes(DER), ROOT.public_bytes(DER))
    return Authority(chain=chain, issuer=Issuer(sub, key), organization="Operator", role=role, days=days,
                     ocsp_url=ocsp_url, crl_url=crl_url)  # fmt: skip


def csr(*names: str, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    with warnings.catch_warnings():  # of names that are too short or too long
        warnings.simplefilter("ignore")
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each, _validate=False) for each in names])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@together(
    ("role", "sub", "generation"),
    [
        (Role.SECC, OLD_SUB, Generation.ISO15118_2),
        (Role.SECC, SUB, Generation.ISO15118_20),
        (Role.STATION, OLD_SUB, Generation.ISO15118_20),
        (Role.STATION, SUB, Generation.ISO15118_20),
    ],
)
def test_an_authority_on_the_curve_of_iso_15118_2_issues_by_it(
    role: Role, sub: x509.Certificate, generation: Generation
) -> None:
    assert authority(role, sub).generation is generation


def read(pem: str, *, vehicles_only: bool = False) -> SigningRequest:
    return read_request(pem, CS, Role.STATION, Generation.ISO15118_20, vehicles_only=vehicles_only)


def test_a_request_names_its_station_unless_it_is_for_vehicles_only() -> None:
    asked = read(csr(CS))
    assert (asked.common_name, asked.key.public_numbers()) == (CS, KEY.public_key().public_numbers())
    assert read(csr("DEV2GS01"), vehicles_only=True).common_name == "DEV2GS01"
    for name in ("x", "x" * 64):
        assert read(csr(name), vehicles_only=True).common_name == name
    for names, only in (
        ((), False), ((), True), ((CS, CS), False), (("a", "b"), True), (("",), True), (("x" * 65,), True),
    ):  # fmt: skip
        with pytest.raises(CertificateError) as refused:
            read(csr(*names), vehicles_only=only)
        assert str(refused.value) == "the request must have exactly one common name, of at most 64 characters"
        assert refused.value.reason == "wrong_subject"
    with pytest.raises(CertificateError) as refused:
        read(csr("x" * 63))
    assert str(refused.value) == f"the request's common name is {'x' * 60!r}"
    assert (refused.value.reason, refused.value.hint) == ("wrong_subject", "it must be the station's identity, 'CS-1'")


def test_a_request_that_is_none_or_whose_key_is_not_of_the_role_is_refused() -> None:
    with pytest.raises(CertificateError) as refused:
        read("no PEM")
    assert refused.value.reason == "malformed"
    with pytest.raises(CertificateError) as refused:
        read_request(csr(CS, key=KEY), CS, Role.SECC, Generation.ISO15118_2, vehicles_only=False)
    assert refused.value.reason == "wrong_curve"


@together(
    ("days", "end"),
    [(90, NOW + timedelta(days=90)), (2000, NOW + timedelta(days=1000)), (None, NOW - BACKDATED + timedelta(days=730))],
)
def test_a_certificate_begins_before_now_and_does_not_outlive_its_authority(days: int | None, end: datetime) -> None:
    made = sign(read(csr(CS)), authority(days=days), 77, NOW)
    assert (made.not_valid_before_utc, made.not_valid_after_utc) == (NOW - timedelta(minutes=5), end)
    assert made.serial_number == 77
    made.verify_directly_issued_by(SUB)
    assert made.subject.rfc4514_string() == "O=Operator,CN=CS-1"
    assert made.public_key() == KEY.public_key()


def test_a_certificate_says_where_its_revocation_is_found() -> None:
    urls = {"ocsp_url": "http://ocsp.example/", "crl_url": "http://crl.example/"}
    made = sign(read(csr(CS)), authority(**urls), 1, NOW)
    (access,) = made.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert access.access_method == AuthorityInformationAccessOID.OCSP
    assert access.access_location.value == urls["ocsp_url"]
    (point,) = made.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    assert [each.value for each in point.full_name] == [urls["crl_url"]]


def test_a_certificate_of_a_charger_keeps_the_profile_of_its_authoritys_edition() -> None:
    asked = SigningRequest(common_name="DEV2GS01", key=OLD_KEY.public_key())
    made = sign(asked, authority(Role.SECC, OLD_SUB, OLD_KEY), 1, NOW)
    assert made.not_valid_after_utc - made.not_valid_before_utc < timedelta(days=100)  # of -2: three months


def test_a_station_receives_its_chain_without_the_root() -> None:
    leaf = sign(read(csr(CS)), authority(), 1, NOW)
    assert x509.load_pem_x509_certificates(delivered(leaf, authority()).encode()) == [leaf, SUB]


def named(root: x509.Certificate, **changes: str) -> CertificateHashData:
    found = ocsp_request_data(root, root, "SHA256")
    values = {
        "issuer_name_hash": found.issuer_name_hash, "issuer_key_hash": found.issuer_key_hash,
        "serial_number": found.serial_number,
    }  # fmt: skip
    return CertificateHashData(hash_algorithm="SHA256", **(values | changes))


def test_a_root_is_known_by_its_hashes_in_any_writing() -> None:
    held = [SUB.public_bytes(DER), ROOT.public_bytes(DER)]
    wanted = named(ROOT)
    assert wanted.serial_number == "a0b"
    assert is_root_of(wanted, held)
    written = named(
        ROOT, serial_number="000A0B", issuer_name_hash=wanted.issuer_name_hash.upper(),
        issuer_key_hash=wanted.issuer_key_hash.upper(),
    )  # fmt: skip
    assert is_root_of(written, held)
    for changes in ({"serial_number": "a0b0"}, {"issuer_name_hash": "00" * 32}, {"issuer_key_hash": "00" * 32}):
        assert not is_root_of(named(ROOT, **changes), held)
    assert not is_root_of(wanted, held[:1])
    assert not is_root_of(wanted, [])
    assert not is_root_of(named(SUB), held)  # it is no root


@together(
    ("station_id", "known", "fault"),
    [
        (CS, "", ""),
        (CS, "CN=OLD", ""),
        ("CS-2", "CN=OLD", "charger CN=NEW is station CS-2's"),
        ("CS-2", "", "charger CN=NEW is station CS-2's"),
        ("", "", ""),
        ("", "CN=OLD", "charger CN=NEW is new, the station is known by CN=OLD"),
    ],
)
def test_a_chargers_certificate_is_of_one_station(station_id: str, known: str, fault: str) -> None:
    assert Charger("CN=NEW", station_id, known).fault(CS) == fault
