"""Bodies of EST, and which certificate of an answer a client takes (R217); PKCS #7 by `openssl`."""

import base64
import contextlib
import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.issuing import make_request
from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree
from tests.pki_tools.conftest import NOW, Openssl, openssl
from tests.together import together
from v2g.errors import CertificateError, RefusedError
from v2g.pki import est
from v2g.pki.credentials import load_chain
from v2g.pki.est import (
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


def malformed(read: Callable[[bytes], object], body: bytes) -> str:
    """Why a body is refused."""
    with pytest.raises(CertificateError) as found:
        read(body)
    assert found.value.reason == "malformed"
    return str(found.value)


def test_bodies_are_bounded(pki: PkiTree) -> None:
    for read in (read_certificates, read_csr):
        assert " of 262145 bytes" in malformed(read, b"A" * 262_145)
        assert "262144 bytes" not in malformed(read, b"A" * 262_144)
    assert len(read_certificates(write_certificates([chain(pki)[0]] * 64))) == 64
    assert "65 certificates" in malformed(read_certificates, write_certificates([chain(pki)[0]] * 65))


def test_bodies_that_are_none_are_malformed(pki: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    openssl("crl2pkcs7", "-nocrl", "-outform", "DER", "-out", tmp_path / "empty")
    malformed(read_certificates, (tmp_path / "empty").read_bytes())
    for body in (b"<html>", b"\x30\x80", b"MAA=", b"-----BEGIN PKCS7-----"):
        malformed(read_certificates, body)
        malformed(read_csr, body)
    good = write_csr(request_of(pki))
    assert "base64" in malformed(read_csr, good[:8] + b"!" + good[8:])


def test_media_types() -> None:
    """RFC 7030 3.2.4, RFC 8951 3.3."""
    assert (est.CERTIFICATES, est.REQUEST, est.WANTED) == (
        "application/pkcs7-mime", "application/pkcs10", "application/csrattrs",
    )  # fmt: skip


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
    begin, end = chain(pki)[0].not_valid_before_utc, chain(pki)[0].not_valid_after_utc
    assert taken(pki, chain(pki), at=end) == 3, "and is of use until its end"
    assert taken(pki, chain(pki), at=begin - timedelta(minutes=5)) == taken(pki, chain(pki))
    assert refused(pki, chain(pki), at=begin - timedelta(minutes=5, seconds=1)) == "not_yet_valid"


def certified(
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    begin: datetime,
) -> x509.Certificate:
    """A certificate without extensions, for a year."""
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
    return builder.not_valid_after(begin + timedelta(days=365)).sign(by, hashes.SHA512())


def copied(pki: PkiTree, begin: datetime) -> x509.Certificate:
    """A leaf as the tree's, from another time on."""
    leaf = chain(pki)[0]
    key = load_pem_private_key(pki.path("cpo/sub2.key").read_bytes(), None)
    builder = x509.CertificateBuilder(extensions=list(leaf.extensions)).subject_name(leaf.subject)
    builder = builder.public_key(leaf.public_key()).issuer_name(leaf.issuer).not_valid_before(begin)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_after(leaf.not_valid_after_utc)
    return builder.sign(key, leaf.signature_hash_algorithm)  # type: ignore[arg-type]


def test_of_certificates_for_the_requested_key_the_newest_is_taken(pki: PkiTree) -> None:
    leaf, *above = chain(pki)
    newer = copied(pki, NOW)
    for leaves in ((leaf, newer), (newer, leaf)):
        found = issued_chain(
            (*leaves, *above),
            request_of(pki),
            pki.anchors("v2g"),
            role=Role.SECC,
            generation=Generation.ISO15118_20,
            at=NOW,
        )
        assert found.certificates[0] == newer


def test_sub_cas_of_the_same_name_are_told_apart_by_signature_then_by_time(pki: PkiTree) -> None:
    """A set may hold the sub-CA's former certificate, or that of its former key."""
    leaf, sub2, sub1 = chain(pki)
    stranger = ec.generate_private_key(ec.SECP521R1())
    later = sub2.not_valid_after_utc + timedelta(days=1)
    other = certified(sub2.subject, stranger.public_key(), sub2.issuer, stranger, later)
    former = certified(sub2.subject, sub2.public_key(), sub2.issuer, stranger, NOW - timedelta(days=700))
    for beside in (other, former):
        assert taken(pki, (leaf, beside, sub2, sub1)) == 3
        assert taken(pki, (leaf, sub2, beside, sub1)) == 3


def test_four_sub_cas_are_too_many(pki: PkiTree) -> None:
    leaf, key = chain(pki)[0], ec.generate_private_key(ec.SECP256R1())
    names = [leaf.issuer, *(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{each}")]) for each in range(4))]
    above = [certified(one, key.public_key(), next_, key, NOW) for one, next_ in itertools.pairwise(names)]
    assert refused(pki, (leaf, *above)) == "chain_too_long"
    assert refused(pki, (leaf, *above[:3])) != "chain_too_long"


@together(
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


@pytest.mark.parametrize(
    ("curve", "named"),
    [(ec.SECP256R1(), "1.2.840.10045.3.1.7"), (ec.SECP384R1(), "1.3.132.0.34"), (ec.SECP521R1(), "1.3.132.0.35")],
)
def test_of_the_curves_that_a_ca_wants_one_is_enough(curve: ec.EllipticCurve, named: str) -> None:
    """OIDs of RFC 5480 2.1.1.1."""
    csr = signed_request(ec.generate_private_key(curve))
    every = ("1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35")
    assert lacking(every, csr) == lacking((named,), csr) == ()
    assert len(lacking([each for each in every if each != named], csr)) == 2


@pytest.mark.parametrize(("digest", "named"), [(hashes.SHA256(), "2"), (hashes.SHA384(), "3"), (hashes.SHA512(), "4")])
def test_of_the_digests_that_a_ca_wants_one_is_enough(digest: hashes.SHA256, named: str) -> None:
    """OIDs of ecdsa-with-SHA256 to -SHA512, RFC 5758 3.2."""
    csr = signed_request(ec.generate_private_key(ec.SECP256R1()), digest)
    every = [f"1.2.840.10045.4.3.{each}" for each in "234"]
    assert lacking(every, csr) == lacking([f"1.2.840.10045.4.3.{named}"], csr) == ()
    assert len(lacking([each for each in every if each[-1] != named], csr)) == 2


def signed_request(
    key: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey, digest: hashes.HashAlgorithm | None = None
) -> x509.CertificateSigningRequest:
    """A request that has a common name, names of hosts, and a password as an attribute."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "X")])
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("x")]), critical=False)
    builder = builder.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")
    ecdsa = isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, digest or hashes.SHA256() if ecdsa else None)  # type: ignore[arg-type]


def test_names_extensions_and_attributes_of_a_request_are_what_a_ca_wants() -> None:
    csr = signed_request(ec.generate_private_key(ec.SECP256R1()))
    wanted = {
        "2.5.4.3": "commonName", "2.5.4.10": "organizationName", "2.5.29.17": "subjectAltName",
        "2.5.29.15": "keyUsage", "1.2.840.113549.1.9.7": "challengePassword",
    }  # fmt: skip
    assert lacking(tuple(wanted), csr) == ("organizationName", "keyUsage")
    assert lacking(["1.2.840.10045.2.1"], csr) == ()
    assert len(lacking(["1.2.840.10045.2.1"], signed_request(ed448.Ed448PrivateKey.generate()))) == 1


def value(tag: int, content: bytes, octets: int = 0) -> bytes:
    """DER by X.690 8.1, with the length in so many octets behind the first; 0: in this itself."""
    length = bytes((0x80 | octets, *len(content).to_bytes(octets, "big"))) if octets else bytes((len(content),))
    return bytes((tag,)) + length + content


def test_object_identifiers_are_read_by_x_690() -> None:
    """8.19: the first two arcs in one, the others in groups of 7 bits."""
    for octets, dotted in (
        ("0992268993f22c640119", "0.9.2342.19200300.100.1.25"),  # domainComponent, RFC 4519
        ("2801", "1.0.1"),
        ("2b818000", "1.3.16384"),
        ("2a864886f70d01090e", "1.2.840.113549.1.9.14"),
        ("883703", "2.999.3"),
        ("2a" + 31 * "01", "1.2" + 31 * ".1"),
    ):
        assert read_wanted(value(0x30, value(6, bytes.fromhex(octets)))) == (dotted,)
    for octets in ("2a81", "2a80", "2a" + 32 * "01"):
        assert "identifier" in malformed(read_wanted, value(0x30, value(6, bytes.fromhex(octets))))


def test_lengths_are_read_by_x_690() -> None:
    """8.1.3: in one octet to 127, else in as many as the first one says; to 4 here."""
    oid = value(6, b"\x2a\x03")
    for count, octets in ((1, 0), (31, 0), (33, 1), (64, 2), (2, 3), (2, 4)):
        assert read_wanted(value(0x30, oid * count, octets)) == ("1.2.3",)
    other = value(4, 50 * value(6, b"\x2a"), 1)  # an OCTET STRING, whatever is in it
    assert read_wanted(value(0x30, other + oid, 1)) == ("1.2.3",)
    assert read_wanted(b"\x30\x80" + oid + b"\0\0") == ("1.2.3",), "a set of indefinite length (8.1.3.6)"
    for body in (
        value(0x30, oid, 5),
        value(0x30, oid)[:-1],
        value(0x30, oid[:-1]),
        value(0x30, b"\x06\x00"),
        value(0x30, b"\x05\x05"),
        value(0x30, b"\x05"),
        b"\x30",
    ):
        assert "cut off" in malformed(read_wanted, body)
    assert "no SEQUENCE" in malformed(read_wanted, base64.b64encode(oid))


def test_what_a_ca_wants_is_bounded() -> None:
    def nested(levels: int) -> bytes:
        body = value(6, b"\x2a\x03")
        for _ in range(levels):
            body = value(0x31, body)
        return value(0x30, body)

    assert read_wanted(nested(7)) == ("1.2.3",)
    assert "too deep" in malformed(read_wanted, nested(8))
    null = b"\x05\x00"
    assert read_wanted(value(0x30, 4094 * null, 2)) == ()
    assert "8194 bytes" in malformed(read_wanted, value(0x30, 4095 * null, 2))


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
