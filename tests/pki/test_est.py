"""Bodies of EST, and which certificate of an answer a client takes (R217); PKCS #7 by `openssl`."""

import base64
import contextlib
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.issuing import make_request
from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree
from tests.pki_tools.conftest import NOW, Openssl, openssl
from v2g.errors import CertificateError, RefusedError
from v2g.pki.credentials import load_chain
from v2g.pki.est import (
    MOST_BYTES,
    issued_chain,
    lacking,
    pause_s,
    read_certificates,
    read_csr,
    read_wanted,
    write_certificates,
    write_csr,
)
from v2g.pki.issue import Subject
from v2g.pki.profile import Generation, Role

__all__ = ["openssl"]  # a fixture

SECC = "secc"


def chain(pki: PkiTree, leaf: str = SECC) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_der_x509_certificate(der) for der in pki.chain(leaf))


def request_of(pki: PkiTree, leaf: str = SECC, cn: str = "") -> x509.CertificateSigningRequest:
    """A request with the key and the name of a leaf that the tree has issued."""
    key = load_pem_private_key(pki.path(f"{leaf}/leaf.key").read_bytes(), None)
    name = cn or str(chain(pki, leaf)[0].subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    return read_csr(make_request(key, Role.SECC, Subject(common_name=name)))  # type: ignore[arg-type]


def taken(pki: PkiTree, answer: tuple[x509.Certificate, ...], **changes: object) -> int:
    """How many certificates the accepted chain has."""
    options = {"role": Role.SECC, "generation": Generation.ISO15118_20, "at": NOW} | changes
    csr = options.pop("csr", None) or request_of(pki)
    return len(issued_chain(answer, csr, pki.anchors("v2g"), **options).certificates)  # type: ignore[arg-type]


def refused(pki: PkiTree, answer: tuple[x509.Certificate, ...], **changes: object) -> str:
    with pytest.raises((CertificateError, RefusedError)) as found:
        taken(pki, answer, **changes)
    return str(found.value.reason)


def test_every_form_in_which_servers_send_certificates_is_read(pki: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    """DER, PEM and base64 with breaks come from `openssl crl2pkcs7`; ours is read by `openssl pkcs7`."""
    shutil.copy(pki.path("secc/chain.pem"), tmp_path / "chain.pem")
    der, pem = tmp_path / "chain.p7", tmp_path / "chain.p7b"
    openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-outform", "DER", "-out", der)
    openssl("crl2pkcs7", "-nocrl", "-certfile", tmp_path / "chain.pem", "-out", pem)
    whole = der.read_bytes()
    for body in (
        whole,
        pem.read_bytes(),
        base64.encodebytes(whole),
        base64.b64encode(whole),
        b"\r\n" + base64.b64encode(whole),
    ):
        assert set(read_certificates(body)) == set(chain(pki))
    (tmp_path / "ours").write_bytes(base64.b64decode(write_certificates(chain(pki))))
    said = openssl("pkcs7", "-inform", "DER", "-in", tmp_path / "ours", "-print_certs").stdout
    assert said.count("BEGIN CERTIFICATE") == 3


@given(body=st.binary(max_size=400))
def test_no_body_is_a_traceback(body: bytes) -> None:
    for read in (read_certificates, read_csr):
        with contextlib.suppress(CertificateError):
            read(body)
        with pytest.raises(CertificateError):
            read(base64.b64encode(b"\x30" + body))


def test_bodies_are_bounded(pki: PkiTree) -> None:
    for read in (read_certificates, read_csr):
        with pytest.raises(CertificateError, match="bytes"):
            read(b"A" * (MOST_BYTES + 1))
    with pytest.raises(CertificateError, match="65 certificates"):
        read_certificates(write_certificates([chain(pki)[0]] * 65))


def test_a_request_survives_its_body(pki: PkiTree) -> None:
    csr = request_of(pki)
    for body in (write_csr(csr), csr.public_bytes(Encoding.DER), csr.public_bytes(Encoding.PEM)):
        assert read_csr(body) == csr


def test_an_answer_is_a_set(pki: PkiTree) -> None:
    """In any order, with the root, other leaves and other hierarchies beside it."""
    leaf, sub2, sub1 = chain(pki)
    root = x509.load_der_x509_certificate(pki.anchors("v2g")[0])
    others = chain(pki, "contract")
    assert taken(pki, (sub1, root, *others, leaf, sub2)) == 3
    assert taken(pki, (sub2, leaf, sub1)) == 3


def test_what_was_not_requested_is_refused(pki: PkiTree) -> None:
    whole = chain(pki)
    assert refused(pki, whole[1:]) == "wrong_key"
    assert refused(pki, chain(pki, "meter"), csr=request_of(pki)) == "wrong_key"
    assert refused(pki, whole, csr=request_of(pki, cn="DEV2GS99999999999999999999999999999999X")) == "wrong_subject"
    stranger = read_csr(make_request(ec.generate_private_key(ec.SECP521R1()), Role.SECC, Subject(common_name="X")))
    assert refused(pki, whole, csr=stranger) == "wrong_key"
    assert refused(pki, whole[:1]) == "unknown_root"
    assert refused(pki, whole, at=NOW + timedelta(days=20_000)) == "expired"
    assert refused(pki, whole, at=NOW - timedelta(days=20_000)) == "not_yet_valid"
    assert refused(pki, whole, role=Role.STATION) != "wrong_key"
    with pytest.raises(CertificateError) as found:
        issued_chain(
            whole, request_of(pki), pki.anchors("oem"), role=Role.SECC, generation=Generation.ISO15118_20, at=NOW
        )
    assert found.value.reason == "unknown_root"


def test_the_clock_of_a_ca_may_be_ahead(pki: PkiTree) -> None:
    """Its certificate is of use a little later; another one would have the same fault."""
    begin = chain(pki)[0].not_valid_before_utc
    assert taken(pki, chain(pki), at=begin - timedelta(minutes=5)) == taken(pki, chain(pki))
    assert refused(pki, chain(pki), at=begin - timedelta(minutes=5, seconds=1)) == "not_yet_valid"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 5),
        ("99999999999", 86_400),
        ("", 60),
        ("soon", 60),
        ("-3", 60),
        ("1e9", 60),
        ("\u0667", 60),
    ],
)
def test_the_pause_of_a_pending_answer_is_bounded(header: str, seconds: float) -> None:
    assert pause_s(header, NOW) == seconds


def test_a_pause_may_be_a_date() -> None:
    later = NOW + timedelta(seconds=90)
    assert pause_s(f"{later:%a, %d %b %Y %H:%M:%S} GMT", NOW) == 90
    assert pause_s("Mon, 01 Jan 2001 00:00:00 GMT", NOW) == 5


def test_an_answer_while_a_root_is_rolled_over(pki: PkiTree, tmp_path: Path) -> None:
    """A set with both roots and the certificates between their keys (RFC 7030 4.1.3), whichever root is configured."""
    tree = PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "tree", symlinks=True)))
    before = tree.anchors("v2g")[0]
    at = datetime.now(UTC)
    tuple(renew_certificate(tree.directory, "v2g/root", Renewal(below=True), at=at))
    after = tree.anchors("v2g")[0]
    links = [load_chain(tree.path(f"v2g/root-{name}.pem"))[0] for name in ("new-by-former", "former-by-new")]
    answer = (*chain(tree), *map(x509.load_der_x509_certificate, (before, after, *links)))
    for root, number in ((after, 3), (before, 4)):
        found = issued_chain(
            answer[::-1], request_of(tree), (root,), role=Role.SECC, generation=Generation.ISO15118_20, at=at
        )
        assert (len(found.certificates), found.anchor) == (number, x509.load_der_x509_certificate(root))


def test_an_answer_with_a_certificate_of_no_version_is_refused(pki: PkiTree) -> None:
    """The library has an error of its own for it, which is no ValueError."""
    good = write_certificates(chain(pki)[:1])
    version = bytes.fromhex("a003020102")
    broken = base64.b64decode(good).replace(version, version[:-1] + b"\x28")
    with pytest.raises(CertificateError, match="40 is not a valid X509 version"):
        read_certificates(broken)


_WANTED = """asn1 = SEQUENCE:all
[all]
a = OID:challengePassword
b = SEQUENCE:key
c = OID:ecdsa-with-SHA512
d = SEQUENCE:extensions
[key]
type = OID:id-ecPublicKey
values = SET:curves
[curves]
a = OID:secp384r1
b = OID:secp521r1
[extensions]
type = OID:extReq
values = SET:names
[names]
a = OID:subjectAltName
b = OID:2.999.4711
"""


def test_what_a_ca_wants_is_read_as_openssl_writes_it(pki: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    """csrattrs (RFC 7030 4.5.2): OIDs, and attributes with values."""
    (tmp_path / "wanted.cnf").write_text(_WANTED)
    der = tmp_path / "wanted.der"
    openssl("asn1parse", "-genconf", str(tmp_path / "wanted.cnf"), "-noout", "-out", str(der))
    wanted = read_wanted(der.read_bytes())
    assert wanted == read_wanted(base64.encodebytes(der.read_bytes()))
    assert len(wanted) == 8
    assert lacking(wanted, request_of(pki)) == (
        "challengePassword", "subjectAltName", "2.999.4711",
    )  # fmt: skip
    assert read_wanted(b"") == read_wanted(b"MAA=") == ()


@given(st.binary(max_size=300))
def test_any_attributes_are_read_or_refused(data: bytes) -> None:
    nested = b"\x06\x01\x80"
    for _ in range(20):
        nested = bytes((0x30, len(nested))) + nested
    for body in (data, b"\x30" + bytes((len(data[:100]),)) + data[:100], b"\x30\x82" + data, nested):
        with contextlib.suppress(CertificateError):
            assert all(x509.ObjectIdentifier(each) for each in read_wanted(body))
    for body in (b"A" * 9000, nested, b"<html>"):
        with pytest.raises(CertificateError, match="not attributes"):
            read_wanted(body)
