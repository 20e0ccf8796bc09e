"""Revocation lists: ours judged by ours and by openssl, openssl's by ours, and everything that must not pass."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.packages import need
from tests.pki.chains import issuer_of
from tests.pki.forge import CN, NOW, name, usage
from tests.together import together
from v2g.errors import RevocationError
from v2g.pki.crl import (
    MAX_CRL_BYTES,
    Revoked,
    check_crl,
    check_serial,
    is_listed,
    is_older,
    load_crl,
    load_crls,
    make_crl,
    series_of,
)
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import load_private_key
from v2g.pki.profile import KeyKind, Role

DAY = timedelta(days=1)


def pair(tree: PkiTree, leaf: str = "secc") -> tuple[x509.Certificate, x509.Certificate]:
    certificate, issuer = (x509.load_der_x509_certificate(each) for each in tree.chain(leaf)[:2])
    return certificate, issuer


def listed(tree: PkiTree, *revoked: Revoked, signer: str = "cpo/sub2", **options: object) -> bytes:
    settings = {"number": 1, "at": NOW, "validity": 7 * DAY} | options
    return make_crl(issuer_of(tree, signer), revoked, **settings)  # type: ignore[arg-type]


def refusal(tree: PkiTree, crl: bytes, at: datetime = NOW, leaf: str = "secc") -> str:
    with pytest.raises(RevocationError) as error:
        check_crl(load_crl(crl), *pair(tree, leaf), at)
    return error.value.reason


def test_who_is_on_the_list_is_revoked_and_who_is_not_is_good(pki: PkiTree) -> None:
    certificate, issuer = pair(pki)
    for reason in set(x509.ReasonFlags) - {x509.ReasonFlags.remove_from_crl}:
        crl = listed(pki, Revoked(certificate.serial_number, NOW - DAY, reason))
        assert refusal(pki, crl) == "revoked"
        assert load_crl(crl).entries[certificate.serial_number] == Revoked(certificate.serial_number, NOW - DAY, reason)
    check_crl(load_crl(listed(pki, Revoked(certificate.serial_number + 1, NOW - DAY))), certificate, issuer, NOW)
    check_crl(load_crl(listed(pki)), certificate, issuer, NOW)


@pytest.mark.parametrize("kind", [KeyKind.ED448, KeyKind.SECP256R1])
def test_other_keys_sign_too(tmp_path: Path, kind: KeyKind) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=kind))
    check_crl(load_crl(listed(tree)), *pair(tree), NOW)


def test_a_list_has_its_time_and_a_revocation_has_none(pki: PkiTree) -> None:
    crl = listed(pki)
    check_crl(load_crl(crl), *pair(pki), NOW + 7 * DAY)
    check_crl(load_crl(crl), *pair(pki), NOW - timedelta(minutes=4))
    assert refusal(pki, crl, NOW + 7 * DAY + timedelta(seconds=1)) == "expired"
    assert refusal(pki, crl, NOW - timedelta(minutes=6)) == "not_yet_valid"
    named = listed(pki, Revoked(pair(pki)[0].serial_number, NOW))
    assert refusal(pki, named, NOW + 400 * DAY) == "revoked"


def test_a_list_counts_from_five_minutes_before_its_time(pki: PkiTree) -> None:
    """So far two clocks may differ."""
    crl = load_crl(listed(pki))
    check_crl(crl, *pair(pki), NOW - timedelta(minutes=5))
    with pytest.raises(RevocationError) as error:
        check_crl(crl, *pair(pki), NOW - timedelta(minutes=5, seconds=1))
    assert error.value.reason == "not_yet_valid"


def tlvs(data: bytes) -> list[bytes]:
    """Split DER into its elements."""
    found = []
    while data:
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        found.append(data[: start + size])
        data = data[start + size :]
    return found


def tlv(tag: int, *elements: bytes) -> bytes:
    body = b"".join(elements)
    size = len(body).to_bytes(2, "big").lstrip(b"\0") or b"\0"
    return bytes([tag, *([0x80 | len(size)] if len(body) > 127 else []), *size]) + body


def contents(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def rebuilt(tree: PkiTree, *revoked: Revoked, has_next: bool = True, algorithm: bytes | None = None) -> bytes:
    """A list that no library makes, with a good signature."""
    key = load_private_key(tree.path("cpo/sub2.key"))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    body, named, _ = tlvs(contents(listed(tree, *revoked)))
    version, _, issuer, this, following, *rest = tlvs(contents(body))
    algorithm = algorithm or named
    body = tlv(0x30, version, algorithm, issuer, this, *([following] if has_next else []), *rest)
    return tlv(0x30, body, algorithm, tlv(0x03, b"\0", key.sign(body, ec.ECDSA(hashes.SHA512()))))


def test_a_list_that_names_no_next_one_is_none(pki: PkiTree) -> None:
    """RFC 5280 5.1.2.5; it would be good for ever. A revocation in it counts all the same."""
    certificate = pair(pki)[0]
    check_crl(load_crl(rebuilt(pki)), *pair(pki), NOW)
    assert refusal(pki, rebuilt(pki, Revoked(certificate.serial_number, NOW), has_next=False)) == "revoked"
    with pytest.raises(RevocationError, match="nextUpdate") as error:
        check_crl(load_crl(rebuilt(pki, has_next=False)), *pair(pki), NOW)
    assert error.value.reason == "malformed"


def test_a_list_signed_in_an_unknown_way_is_not_read(pki: PkiTree) -> None:
    unknown = tlv(0x30, tlv(0x06, b"\x2a\x03\x04"))
    with pytest.raises(RevocationError) as error:
        load_crl(rebuilt(pki, algorithm=unknown))
    assert error.value.reason == "malformed"


def test_what_we_make_can_be_read_by_those_who_know_rfc_5280_only(pki: PkiTree) -> None:
    """Critical is the distribution point alone (5.2.5), and it covers every certificate and reason."""
    made = load_crl(listed(pki, url="http://pki.invalid/own.crl")).crl
    assert [type(each.value) for each in made.extensions if each.critical] == [x509.IssuingDistributionPoint]
    only = made.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert only == scope(full_name=[x509.UniformResourceIdentifier("http://pki.invalid/own.crl")])
    (entry,) = load_crl(listed(pki, Revoked(1, NOW, x509.ReasonFlags.superseded))).crl
    assert [each.critical for each in entry.extensions] == [False]
    assert {type(each.value) for each in load_crl(listed(pki)).crl.extensions} == {
        x509.AuthorityKeyIdentifier,
        x509.CRLNumber,
    }


NAME, ELSE = name((CN, "issuer")), name((CN, "somebody else"))
KEY, EDWARDS, ED25519 = (
    ec.generate_private_key(ec.SECP521R1()),
    ed448.Ed448PrivateKey.generate(),
    ed25519.Ed25519PrivateKey.generate(),
)
OWN_HASH = (ed448.Ed448PrivateKey, ed25519.Ed25519PrivateKey)
OWN_ID = x509.SubjectKeyIdentifier(b"own")


def issuer_with(key: CertificateIssuerPrivateKeyTypes, *extensions: x509.ExtensionType) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(key, None if isinstance(key, OWN_HASH) else hashes.SHA512())


@together(
    ("issuer", "named", "signer", "key_id", "reason"),
    [
        (issuer_with(KEY), NAME, KEY, None, ""),
        (issuer_with(KEY), NAME, KEY, b"other", ""),
        (issuer_with(KEY, OWN_ID), NAME, KEY, b"own", ""),
        (issuer_with(KEY, OWN_ID), NAME, KEY, None, ""),
        (issuer_with(KEY, OWN_ID), NAME, KEY, b"other", "wrong_certificate"),
        (issuer_with(KEY), ELSE, KEY, None, "wrong_certificate"),
        (issuer_with(KEY, OWN_ID), ELSE, KEY, b"own", "wrong_certificate"),
        (issuer_with(KEY, usage(crl_sign=True)), NAME, KEY, None, ""),
        (issuer_with(KEY, usage(key_cert_sign=True)), NAME, KEY, None, "bad_signature"),
        (issuer_with(EDWARDS), NAME, EDWARDS, None, ""),
        (issuer_with(KEY), NAME, EDWARDS, None, "bad_signature"),
        (issuer_with(EDWARDS), NAME, KEY, None, "bad_signature"),
        (issuer_with(ED25519), NAME, ED25519, None, "bad_signature"),
    ],
)
def test_a_list_is_its_issuers_by_name_key_identifier_usage_and_signature(
    issuer: x509.Certificate,
    named: x509.Name,
    signer: CertificateIssuerPrivateKeyTypes,
    key_id: bytes | None,
    reason: str,
) -> None:
    """Key identifiers count where both have one; Ed25519 is a kind of key that no profile allows."""
    builder = x509.CertificateRevocationListBuilder(named, NOW, NOW + DAY)
    if key_id is not None:
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(key_id, None, None), critical=False)
    crl = builder.sign(signer, None if isinstance(signer, OWN_HASH) else hashes.SHA512())
    revoked = load_crl(crl.public_bytes(serialization.Encoding.DER))
    said = ""
    try:
        check_crl(revoked, issuer, issuer, NOW)
    except RevocationError as error:
        said = error.reason
    assert said == reason


def test_whoever_knows_a_serial_number_only_asks_lists_about_everything(pki: PkiTree) -> None:
    certificate, issuer = pair(pki)
    serial, stranger = certificate.serial_number, issuer_of(pki, "mo/sub2").certificate
    assert stranger is not None
    empty, naming = listed(pki), listed(pki, Revoked(serial, NOW))
    check_serial(load_crl(empty), serial, issuer, NOW)
    for crl, by, reason in (
        (naming, issuer, "revoked"),
        (naming, stranger, "wrong_certificate"),
        (listed(pki, url="http://pki.invalid/own.crl"), issuer, "wrong_certificate"),
        (listed(pki, at=NOW - 30 * DAY), issuer, "expired"),
    ):
        with pytest.raises(RevocationError) as error:
            check_serial(load_crl(crl), serial, by, NOW)
        assert error.value.reason == reason
    assert [is_listed(load_crl(crl), serial, by) for crl in (empty, naming) for by in (issuer, stranger)] == [
        False,
        False,
        True,
        False,
    ]


def test_of_two_lists_of_a_series_the_number_says_which_is_older(pki: PkiTree) -> None:
    """RFC 5280 5.2.3; the number goes before the time, which a clock may have had wrong."""
    held = load_crl(listed(pki, number=2))
    for other, older in (
        (listed(pki, number=1, at=NOW + DAY), True),
        (listed(pki, number=3, at=NOW - DAY), False),
        (listed(pki, number=2, at=NOW - DAY), True),
        (listed(pki, number=2), False),
    ):
        assert is_older(load_crl(other), held) is older


def test_a_series_is_of_one_issuers_key_about_the_same_certificates(pki: PkiTree, tmp_path: Path) -> None:
    held = series_of(load_crl(listed(pki)))
    assert series_of(load_crl(listed(pki, Revoked(1, NOW), number=2, at=NOW + DAY))) == held
    for other in (
        listed(pki, signer="mo/sub2"),
        listed(pki, url="http://pki.invalid/other.crl"),
        listed(make_pki(tmp_path, now=NOW)),
    ):
        assert series_of(load_crl(other)) != held


def test_of_lists_without_a_number_the_time_says_which_is_older(pki: PkiTree) -> None:
    key, issuer = load_private_key(pki.path("cpo/sub2.key")), pair(pki)[1]
    first, second = (
        x509.CertificateRevocationListBuilder(issuer.subject, at, at + DAY).sign(key, hashes.SHA512())
        for at in (NOW, NOW + DAY)
    )
    former, later = (load_crl(each.public_bytes(serialization.Encoding.DER)) for each in (first, second))
    assert (is_older(former, later), is_older(later, former)) == (True, False)
    numbered = load_crl(listed(pki, number=1, at=NOW + DAY))
    assert (is_older(former, numbered), is_older(numbered, former)) == (True, False)


def test_only_the_issuers_own_list_counts(pki: PkiTree, tmp_path: Path) -> None:
    assert refusal(pki, listed(pki, signer="mo/sub2")) == "wrong_certificate"
    assert refusal(pki, listed(pki, signer="cpo/sub1")) == "wrong_certificate"
    namesake = make_pki(tmp_path, now=NOW)
    assert refusal(pki, listed(namesake)) == "wrong_certificate"  # told apart by its key identifier
    own, stranger = issuer_of(pki, "cpo/sub2"), issuer_of(namesake, "cpo/sub2")
    forged = make_crl(Issuer(own.certificate, stranger.key), (), number=1, at=NOW, validity=DAY)
    assert refusal(pki, forged) == "bad_signature"


def test_a_ca_that_may_not_sign_lists_is_not_believed(pki: PkiTree) -> None:
    root = issuer_of(pki, "v2g/root")
    key = issuer_of(pki, "cpo/sub2").key
    builder = (
        x509.CertificateBuilder()
        .subject_name(issuer_of(pki, "cpo/sub2").certificate.subject)  # type: ignore[union-attr]
        .issuer_name(root.certificate.subject)  # type: ignore[union-attr]
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    issuer = builder.sign(root.key, hashes.SHA512())
    with pytest.raises(RevocationError) as error:
        check_crl(load_crl(listed(pki)), pair(pki)[0], issuer, NOW)
    assert error.value.reason == "bad_signature"


# --- form ------------------------------------------------------------------------------------------------------

Change = Callable[[x509.CertificateRevocationListBuilder], x509.CertificateRevocationListBuilder]
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def own_made(tree: PkiTree, change: Change, digest: hashes.HashAlgorithm | None = None) -> bytes:
    issuer = issuer_of(tree, "cpo/sub2")
    assert issuer.certificate is not None
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, NOW, NOW + DAY)
    return change(builder).sign(issuer.key, digest or hashes.SHA512()).public_bytes(serialization.Encoding.DER)


def scope(**changes: object) -> x509.IssuingDistributionPoint:
    plain = dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    return x509.IssuingDistributionPoint(
        **({"full_name": None, "relative_name": None, "only_some_reasons": None} | plain | changes)  # type: ignore[arg-type]
    )


def entry(extension: x509.ExtensionType, *, critical: bool) -> Change:
    made = x509.RevokedCertificateBuilder(77, NOW).add_extension(extension, critical).build()
    return lambda builder: builder.add_revoked_certificate(made)


def add(extension: x509.ExtensionType, *, critical: bool = True) -> Change:
    return lambda builder: builder.add_extension(extension, critical)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add(x509.DeltaCRLIndicator(3)), "malformed"),
        (add(x509.DeltaCRLIndicator(3), critical=False), "malformed"),
        (add(scope(indirect_crl=True)), "malformed"),
        (add(UNKNOWN), "malformed"),
        (entry(UNKNOWN, critical=True), "malformed"),
        (entry(x509.CertificateIssuer([x509.DNSName("x")]), critical=True), "malformed"),
        (entry(x509.CRLReason(x509.ReasonFlags.remove_from_crl), critical=False), "malformed"),
        (add(scope(only_contains_ca_certs=True)), "wrong_certificate"),
        (add(scope(only_contains_attribute_certs=True)), "wrong_certificate"),
        (add(scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))), "wrong_certificate"),
        (add(scope(full_name=[x509.UniformResourceIdentifier("http://elsewhere")])), "wrong_certificate"),
        (add(scope(relative_name=x509.RelativeDistinguishedName(NAME))), "wrong_certificate"),
    ],
)
def test_a_list_that_is_not_a_whole_list_about_the_certificate_is_refused(
    pki: PkiTree, change: Change, reason: str
) -> None:
    """RFC 5280 5.2.4, 5.2.5, 5.3."""
    assert refusal(pki, own_made(pki, change)) == reason


@pytest.mark.parametrize(
    "change",
    [
        add(UNKNOWN, critical=False),
        add(scope(only_contains_user_certs=True)),
        entry(x509.InvalidityDate(NOW.replace(tzinfo=None)), critical=False),
        entry(UNKNOWN, critical=False),
        entry(x509.CRLReason(x509.ReasonFlags.superseded), critical=True),
    ],
)
def test_what_else_may_stand_in_a_list_does_no_harm(pki: PkiTree, change: Change) -> None:
    check_crl(load_crl(own_made(pki, change)), *pair(pki), NOW)


def test_a_list_for_end_entities_says_nothing_about_cas(pki: PkiTree) -> None:
    issuer = issuer_of(pki, "cpo/sub1")
    assert issuer.certificate is not None
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, NOW, NOW + DAY)
    crl = builder.add_extension(scope(only_contains_user_certs=True), critical=True).sign(issuer.key, hashes.SHA512())
    sub2 = x509.load_der_x509_certificate(pki.chain("secc")[1])
    with pytest.raises(RevocationError) as error:
        check_crl(load_crl(crl.public_bytes(serialization.Encoding.DER)), sub2, issuer.certificate, NOW)
    assert error.value.reason == "wrong_certificate"


def own_points(certificate: x509.Certificate) -> x509.CRLDistributionPoints:
    return certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value


def test_a_list_of_the_certificates_own_distribution_point_counts(pki: PkiTree) -> None:
    key, url = issuer_of(pki, "cpo/sub2"), "http://crl.invalid/cpo"
    request = IssueRequest(
        role=Role.SECC,
        subject=Subject(common_name="DEV2GS1", organization="CPO"),
        public_key=key.key.public_key(),
        serial=8,
        not_before=NOW - DAY,
        crl_url=url,
    )
    leaf = issue(request, key)
    assert key.certificate is not None
    check_crl(load_crl(listed(pki, url=url)), leaf, key.certificate, NOW)
    with pytest.raises(RevocationError) as error:
        check_crl(load_crl(listed(pki, Revoked(8, NOW), url=url)), leaf, key.certificate, NOW)
    assert error.value.reason == "revoked"
    assert refusal(pki, listed(pki, url=url)) == "wrong_certificate"  # the tree's own point is another
    relative = x509.DistributionPoint(None, x509.RelativeDistinguishedName(NAME), None, None)
    for points, reason in (([relative], "wrong_certificate"), ([relative, *own_points(leaf)], "revoked")):
        named = issuer_with(key.key, x509.CRLDistributionPoints(points))
        crl = load_crl(listed(pki, Revoked(5, NOW), url=url))
        with pytest.raises(RevocationError) as error:
            check_crl(crl, named, key.certificate, NOW)
        assert error.value.reason == reason


def test_a_weak_hash_is_not_believed(pki: PkiTree) -> None:
    assert refusal(pki, own_made(pki, lambda builder: builder, hashes.SHA224())) == "bad_signature"


def test_an_endless_list_is_not_read() -> None:
    with pytest.raises(RevocationError) as error:
        load_crl(bytes(MAX_CRL_BYTES + 1))
    assert (error.value.reason, str(error.value)) == ("malformed", "CRL has 1048577 bytes, more than 1048576")
    with pytest.raises(RevocationError, match="not a CRL"):
        load_crl(bytes(MAX_CRL_BYTES))


@given(data=st.binary(max_size=300) | st.binary(max_size=90).map(b"-----BEGIN X509 CRL-----\n".__add__))
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(RevocationError) as error:
        load_crl(data)
    assert error.value.reason == "malformed"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_no_flipped_bit_makes_a_revoked_certificate_good(pki: PkiTree, position: int, bit: int) -> None:
    certificate, issuer = pair(pki)
    changed = bytearray(listed(pki, Revoked(certificate.serial_number, NOW)))
    changed[position % len(changed)] ^= 1 << bit
    with pytest.raises(RevocationError):
        check_crl(load_crl(bytes(changed)), certificate, issuer, NOW)


def test_a_file_has_one_list_in_der_or_several_in_pem(pki: PkiTree) -> None:
    one, other = listed(pki), listed(pki, number=2)
    texts = [x509.load_der_x509_crl(each).public_bytes(serialization.Encoding.PEM) for each in (one, other)]
    for data, lists in ((one, [one]), (b"# of March\r\n" + b"#\n".join(texts), [one, other])):
        assert [each.crl.public_bytes(serialization.Encoding.DER) for each in load_crls(data)] == lists
    with pytest.raises(RevocationError, match=r"^not a CRL: it is empty$"):
        load_crls(b"")


# --- openssl ---------------------------------------------------------------------------------------------------


def test_openssl_believes_our_list_and_refuses_whom_it_names(pki: PkiTree, tmp_path: Path) -> None:
    need("openssl", program="openssl")
    certificate, _ = pair(pki)
    bundle = tmp_path / "crls.pem"
    for revoked, verdict in (((), ": OK"), ((Revoked(certificate.serial_number, NOW),), "certificate revoked")):
        path = tmp_path / "crl.der"
        path.write_bytes(listed(pki, *revoked))
        run = ["openssl", "crl", "-inform", "DER", "-in", str(path), "-CAfile", str(pki.path("cpo/sub2.pem"))]
        shown = subprocess.run([*run, "-text"], check=True, capture_output=True, text=True)
        assert "verify OK" in shown.stderr
        assert (f"{certificate.serial_number:X}" in shown.stdout) is bool(revoked)
        bundle.write_text(shown.stdout[shown.stdout.index("-----BEGIN") :])
        command = ["openssl", "verify", "-crl_check", "-CRLfile", str(bundle), "-CAfile", str(pki.path("v2g/root.pem"))]
        command += ["-untrusted", str(pki.path("secc/chain.pem")), str(pki.path("secc/leaf.pem"))]
        judged = subprocess.run(command, check=False, capture_output=True, text=True)
        assert verdict in judged.stdout + judged.stderr


def test_a_list_made_by_openssl_is_understood(pki: PkiTree, tmp_path: Path) -> None:
    need("openssl", program="openssl")
    certificate, issuer = pair(pki)
    serial = f"{certificate.serial_number:X}"
    serial = "0" * (len(serial) % 2) + serial
    config, index = tmp_path / "ca.cnf", tmp_path / "index.txt"
    config.write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\ndefault_md=sha512\ndefault_crl_days=7\n"
        f"crlnumber={tmp_path}/number\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"
    )
    for state, revoked in (("", False), (f"R\t990101000000Z\t240101000000Z,keyCompromise\t{serial}\tx\t/CN=x\n", True)):
        index.write_text(state)
        (tmp_path / "number").write_text("01\n")
        path = tmp_path / "crl.pem"
        command = ["openssl", "ca", "-gencrl", "-config", str(config), "-out", str(path)]
        command += ["-cert", str(pki.path("cpo/sub2.pem")), "-keyfile", str(pki.path("cpo/sub2.key"))]
        subprocess.run(command, check=True, capture_output=True)
        at = datetime.now(UTC)
        if revoked:
            assert refusal(pki, path.read_bytes(), at) == "revoked"
        else:
            check_crl(load_crl(path.read_bytes()), certificate, issuer, at)
