"""OCSP answers: ours judged by ours and by openssl, openssl's by ours, and everything that must not pass."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.pki.forge import Forge, usage
from tests.pki.ocsp import signer
from v2g.errors import RevocationError
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.ocsp import check_ocsp, make_response, ocsp_request_data, responder_url
from v2g.pki.profile import KeyKind, Role

NOW = datetime.now(UTC).replace(microsecond=0)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def pair(tree: PkiTree, leaf: str = "secc") -> tuple[x509.Certificate, x509.Certificate]:
    certificate, issuer = (x509.load_der_x509_certificate(each) for each in tree.chain(leaf)[:2])
    return certificate, issuer


def refusal(tree: PkiTree, response: bytes, at: datetime = NOW) -> str:
    with pytest.raises(RevocationError) as error:
        check_ocsp(response, *pair(tree), at)
    return error.value.reason


@pytest.mark.parametrize("responder", ["cpo/ocsp", "cpo/sub2"])
def test_the_issuer_and_its_responder_may_both_answer(pki: PkiTree, responder: str) -> None:
    check_ocsp(make_response(*pair(pki), signer(pki, responder), at=NOW), *pair(pki), NOW)


@pytest.mark.parametrize("kind", [KeyKind.ED448, KeyKind.SECP256R1])
def test_other_keys_sign_too(tmp_path: Path, kind: KeyKind) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=kind))
    answer = tree.staple()
    check_ocsp(answer, *pair(tree), NOW)
    signature = ocsp.load_der_ocsp_response(answer).signature
    forged = answer.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
    assert refusal(tree, forged) == "bad_signature"


def test_revocation_is_seen(pki: PkiTree) -> None:
    answer = make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW, revoked_at=NOW - timedelta(days=1))
    assert refusal(pki, answer) == "revoked"


def test_an_answer_has_its_time(pki: PkiTree) -> None:
    answer = make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW)
    check_ocsp(answer, *pair(pki), NOW + timedelta(days=7))
    check_ocsp(answer, *pair(pki), NOW - timedelta(minutes=5))
    assert refusal(pki, answer, NOW + timedelta(days=7, seconds=1)) == "expired"
    assert refusal(pki, answer, NOW - timedelta(minutes=5, seconds=1)) == "not_yet_valid"


def test_an_answer_lives_for_a_week_at_most(pki: PkiTree) -> None:
    """V2G20-1021."""
    with pytest.raises(ValueError, match="7 days"):
        make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW, validity=timedelta(days=8))
    certificate, issuer = pair(pki)
    responder = signer(pki, "cpo/sub2")
    for next_update, until in ((NOW + timedelta(days=8), timedelta(days=8)), (None, timedelta(hours=1))):
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, next_update, None, None
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, issuer)
        answer = builder.sign(responder.key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
        assert refusal(pki, answer) == "malformed"
        check_ocsp(answer, *pair(pki), NOW + until, asked=True)  # by whoever asked the responder
        with pytest.raises(RevocationError, match="expired"):
            check_ocsp(answer, *pair(pki), NOW + until + timedelta(seconds=1), asked=True)


def test_a_responder_named_by_subject_and_a_sha1_certid_are_fine(pki: PkiTree) -> None:
    certificate, issuer = pair(pki)
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + timedelta(days=1), None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, issuer)
    answer = builder.sign(signer(pki, "cpo/sub2").key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
    check_ocsp(answer, certificate, issuer, NOW)


def test_a_responder_that_does_not_know_is_no_yes(pki: PkiTree) -> None:
    certificate, issuer = pair(pki)
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.UNKNOWN, NOW, NOW + timedelta(days=1), None, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    answer = builder.sign(signer(pki, "cpo/sub2").key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
    assert refusal(pki, answer) == "unknown"


def test_answers_about_other_certificates_do_not_count(pki: PkiTree) -> None:
    answer = make_response(*pair(pki, "meter"), signer(pki, "cpo/ocsp"), at=NOW)
    assert refusal(pki, answer) == "wrong_certificate"


def test_only_the_issuer_and_whom_it_delegated_are_believed(pki: PkiTree) -> None:
    for stranger in ("mo/ocsp", "mo/sub2", "cpo/sub1", "secc/leaf"):
        answer = make_response(*pair(pki), signer(pki, stranger), at=NOW)
        assert refusal(pki, answer) == "bad_signature", stranger


def test_a_responder_whose_certificate_ran_out_is_not_believed(pki: PkiTree) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    request = IssueRequest(
        role=Role.OCSP_RESPONDER,
        subject=Subject(common_name="late", organization="CPO"),
        public_key=key.public_key(),
        serial=5,
        not_before=NOW - timedelta(days=9),
        not_after=NOW - timedelta(days=1),
    )
    late = Issuer(issue(request, signer(pki, "cpo/sub2")), key)
    assert refusal(pki, make_response(*pair(pki), late, at=NOW)) == "bad_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"add": [(usage(key_agreement=True), True)]},
        {"digest": hashes.SHA224()},
        {"add": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)]},
        {"key": ec.generate_private_key(ec.BrainpoolP512R1())},
        {"add": [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]},
    ],
)
def test_a_responder_outside_its_profile_is_not_believed(change: dict[str, Any]) -> None:
    forge = Forge(Role.SECC)
    parties = forge.good()
    leaf, above = parties["leaf"].certificate, parties["sub2"]
    for changes, believed in (({}, True), (change, False)):
        responder = forge.party("responder", Role.OCSP_RESPONDER, above, **changes)
        issuer = Issuer(responder.certificate, responder.key)
        answer = make_response(leaf, above.certificate, issuer, at=NOW)
        if believed:
            check_ocsp(answer, leaf, above.certificate, NOW)
        else:
            with pytest.raises(RevocationError) as error:
                check_ocsp(answer, leaf, above.certificate, NOW)
            assert error.value.reason == "bad_signature"


def test_a_responder_is_believed_from_its_first_to_its_last_moment(pki: PkiTree) -> None:
    responder = signer(pki, "cpo/ocsp")
    assert responder.certificate is not None
    begin, end = responder.certificate.not_valid_before_utc, responder.certificate.not_valid_after_utc
    second = timedelta(seconds=1)
    for at, believed in ((begin, True), (begin - second, False), (end, True), (end + second, False)):
        answer = make_response(*pair(pki), responder, at=at)
        if believed:
            check_ocsp(answer, *pair(pki), at)
        else:
            assert refusal(pki, answer, at) == "bad_signature"


def test_a_responder_is_found_among_several(pki: PkiTree) -> None:
    forge = Forge(Role.SECC)
    parties = forge.good()
    leaf, issuer = parties["leaf"].certificate, parties["sub2"]
    one, two = (forge.party("responder", Role.OCSP_RESPONDER, issuer) for _ in range(2))
    builder = answer_about(leaf, issuer.certificate).responder_id(ocsp.OCSPResponderEncoding.HASH, two.certificate)
    signed = builder.certificates([one.certificate, two.certificate]).sign(two.key, hashes.SHA512())
    check_ocsp(signed.public_bytes(serialization.Encoding.DER), leaf, issuer.certificate, NOW)


def answer_about(certificate: x509.Certificate, issuer: x509.Certificate) -> ocsp.OCSPResponseBuilder:
    """Return a good answer, to be signed."""
    return ocsp.OCSPResponseBuilder().add_response(
        certificate, issuer, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, NOW, NOW + timedelta(days=1), None, None
    )


def authority(key: Any) -> x509.Certificate:
    """Return the certificate of a CA with a key of any kind."""
    forge = Forge(Role.SECC)
    above = forge.good()["root"]
    builder = x509.CertificateBuilder(above.certificate.subject, forge.good()["sub2"].certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(7).not_valid_before(NOW).not_valid_after(NOW)
    return builder.sign(above.key, hashes.SHA512())


NAME, HASH = ocsp.OCSPResponderEncoding.NAME, ocsp.OCSPResponderEncoding.HASH

RSA: Callable[[], Any] = cache(partial(rsa.generate_private_key, 65537, 2048))
EC: Callable[[], Any] = partial(ec.generate_private_key, ec.SECP256R1())


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("make", "encoding", "digest", "said"),
    [
        (RSA, HASH, hashes.SHA256(), ""),
        (RSA, NAME, hashes.SHA384(), ""),
        (RSA, HASH, hashes.SHA224(), "weak hash"),
        (EC, HASH, hashes.SHA224(), "weak hash"),
        (ed25519.Ed25519PrivateKey.generate, HASH, None, "a kind of key that ISO 15118 does not allow"),
        (partial(dsa.generate_private_key, 2048), NAME, hashes.SHA256(), "an unknown kind of key"),
    ],
)
def test_issuers_with_keys_of_every_kind(make: Callable[[], Any], encoding: Any, digest: Any, said: str) -> None:
    key = make()
    issuer = authority(key)
    leaf = Forge(Role.SECC).good()["leaf"].certificate
    signed = answer_about(leaf, issuer).responder_id(encoding, issuer).sign(key, digest)
    der = signed.public_bytes(serialization.Encoding.DER)
    if not said:
        check_ocsp(der, leaf, issuer, NOW)
        signature = signed.signature
        forged = der.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
        with pytest.raises(RevocationError) as error:
            check_ocsp(forged, leaf, issuer, NOW)
    else:
        with pytest.raises(RevocationError, match=said) as error:
            check_ocsp(der, leaf, issuer, NOW)
    assert error.value.reason == "bad_signature"


@pytest.mark.parametrize("wrong", ["issuer_name_hash", "issuer_key_hash", "serial_number", ""])
def test_an_answer_names_certificate_and_issuer(pki: PkiTree, wrong: str) -> None:
    certificate, issuer = pair(pki)
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
    named: dict[str, Any] = {
        "issuer_name_hash": asked.issuer_name_hash,
        "issuer_key_hash": asked.issuer_key_hash,
        "serial_number": asked.serial_number,
    }
    if wrong:
        named[wrong] = named[wrong] + 1 if wrong == "serial_number" else bytes(32)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        **named, algorithm=hashes.SHA256(), cert_status=ocsp.OCSPCertStatus.GOOD, this_update=NOW,
        next_update=NOW + timedelta(days=1), revocation_time=None, revocation_reason=None,
    )  # fmt: skip
    signed = builder.responder_id(HASH, issuer).sign(signer(pki, "cpo/sub2").key, hashes.SHA512())
    answer = signed.public_bytes(serialization.Encoding.DER)
    if wrong:
        assert refusal(pki, answer) == "wrong_certificate"
    else:
        check_ocsp(answer, certificate, issuer, NOW)


def test_an_answer_that_is_signed_but_names_an_unknown_hash_is_malformed() -> None:
    key = ed448.Ed448PrivateKey.generate()
    issuer, leaf = authority(key), Forge(Role.SECC).good()["leaf"].certificate
    signed = answer_about(leaf, issuer).responder_id(HASH, issuer).sign(key, None)
    tbs, sha256 = signed.tbs_response_bytes, bytes.fromhex("608648016503040201")
    changed = tbs.replace(sha256, sha256[:-1] + b"\x7f")
    der = signed.public_bytes(serialization.Encoding.DER).replace(tbs, changed)
    with pytest.raises(RevocationError) as error:
        check_ocsp(der.replace(signed.signature, key.sign(changed)), leaf, issuer, NOW)
    assert error.value.reason == "malformed"


def test_a_key_alone_answers_for_its_issuer(pki: PkiTree) -> None:
    answer = make_response(*pair(pki), Issuer(None, signer(pki, "cpo/sub2").key), at=NOW)
    check_ocsp(answer, *pair(pki), NOW)


def test_only_an_ocsp_responder_with_a_url_is_asked() -> None:
    access, uri = AuthorityInformationAccessOID, x509.UniformResourceIdentifier
    others = [
        x509.AccessDescription(access.CA_ISSUERS, uri("http://issuer")),
        x509.AccessDescription(access.OCSP, x509.DNSName("responder")),
    ]
    wanted = x509.AccessDescription(access.OCSP, uri("http://responder"))
    for descriptions, url in (([*others, wanted], "http://responder"), (others, "")):
        added = [(x509.AuthorityInformationAccess(descriptions), False)]
        leaf = Forge(Role.STATION).parties(leaf={"add": added})["leaf"].certificate
        assert responder_url(leaf) == url


def test_no_answer_and_a_refusing_responder_are_named(pki: PkiTree) -> None:
    assert refusal(pki, b"") == "missing"
    busy = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert refusal(pki, busy.public_bytes(serialization.Encoding.DER)) == "refused"


@given(data=st.binary(min_size=1, max_size=300))
def test_anything_else_is_malformed(pki: PkiTree, data: bytes) -> None:
    assert refusal(pki, data) in {"malformed", "refused"}


def test_an_endless_answer_is_not_read(pki: PkiTree) -> None:
    for size, said in ((16 * 1024, "not an OCSP answer"), (16 * 1024 + 1, "has 16385 bytes")):
        with pytest.raises(RevocationError, match=said) as error:
            check_ocsp(bytes(size), *pair(pki), NOW)
        assert error.value.reason == "malformed"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_a_flipped_bit_never_changes_what_is_believed(pki: PkiTree, position: int, bit: int) -> None:
    answer = make_response(*pair(pki), signer(pki, "cpo/sub2"), at=NOW)
    changed = bytearray(answer)
    changed[position % len(changed)] ^= 1 << bit
    try:
        check_ocsp(bytes(changed), *pair(pki), NOW)
    except RevocationError:
        return
    # Only the count of unused bits of the signature can differ without meaning anything.
    before, after = ocsp.load_der_ocsp_response(answer), ocsp.load_der_ocsp_response(bytes(changed))
    assert (before.tbs_response_bytes, before.signature) == (after.tbs_response_bytes, after.signature)


@needs_openssl
def test_an_answer_made_by_openssl_is_understood(pki: PkiTree, tmp_path: Path) -> None:
    leaf, issuer = str(pki.path("secc/leaf.pem")), str(pki.path("cpo/sub2.pem"))
    request, answer, index = tmp_path / "request.der", tmp_path / "answer.der", tmp_path / "index.txt"
    run = ["openssl", "ocsp", "-issuer", issuer, "-cert", leaf, "-no_nonce", "-reqout", str(request)]
    subprocess.run(run, check=True, capture_output=True)
    serial = f"{pair(pki)[0].serial_number:X}"
    serial = "0" * (len(serial) % 2) + serial
    run = ["openssl", "ocsp", "-index", str(index), "-CA", issuer, "-rsigner", issuer, "-ndays", "7"]
    run += ["-rkey", str(pki.path("cpo/sub2.key")), "-reqin", str(request), "-respout", str(answer), "-rmd", "sha512"]
    for state, reason in ((f"V\t990101000000Z\t\t{serial}\tunknown\t/CN=x\n", ""), ("", "unknown")):
        index.write_text(state)
        subprocess.run(run, check=True, capture_output=True)
        later = datetime.now(UTC)
        if reason:
            assert refusal(pki, answer.read_bytes(), later) == reason
        else:
            check_ocsp(answer.read_bytes(), *pair(pki), later)


@needs_openssl
@pytest.mark.parametrize("kind", [KeyKind.SECP521R1, KeyKind.ED448])
@pytest.mark.parametrize("responder", ["cpo/ocsp", "cpo/sub2"])
def test_openssl_believes_our_answers_and_refuses_the_same_as_we(tmp_path: Path, kind: KeyKind, responder: str) -> None:
    tree = make_pki(tmp_path / "pki", now=NOW, options=PkiOptions(key_kind=kind))

    def judged(answer: bytes, leaf: str = "secc/leaf.pem") -> str:
        (tmp_path / "answer.der").write_bytes(answer)
        run = ["openssl", "ocsp", "-respin", str(tmp_path / "answer.der"), "-no_nonce", "-CAfile"]
        run += [str(tree.path("v2g/root.pem")), "-verify_other", str(tree.path("secc/chain.pem"))]
        run += ["-issuer", str(tree.path("cpo/sub2.pem")), "-sha256", "-cert", str(tree.path(leaf))]
        done = subprocess.run(run, check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    good = make_response(*pair(tree), signer(tree, responder), at=NOW)
    assert "Response verify OK" in judged(good)
    assert "leaf.pem: good" in judged(good)
    revoked = make_response(*pair(tree), signer(tree, responder), at=NOW, revoked_at=NOW)
    assert "leaf.pem: revoked" in judged(revoked)
    old = make_response(*pair(tree), signer(tree, responder), at=NOW - timedelta(days=8))
    assert "Status times invalid" in judged(old)
    assert "No Status found" in judged(good, "vehicle/leaf.pem")
    forged = make_response(*pair(tree), signer(tree, "mo/ocsp"), at=NOW)
    assert "Response verify OK" not in judged(forged)


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_ocpp_gets_the_hashes_that_it_describes(pki: PkiTree, algorithm: str) -> None:
    """OCPP 2.0.1 part 2, 2.36: over the issuer's DER name, and the public key without tag and length."""
    certificate, issuer = pair(pki)
    data = ocsp_request_data(certificate, issuer, algorithm)
    point = issuer.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    assert data.hash_algorithm == algorithm
    assert data.issuer_name_hash == hashlib.new(algorithm, issuer.subject.public_bytes()).hexdigest()
    assert data.issuer_key_hash == hashlib.new(algorithm, point).hexdigest()
    assert int(data.serial_number, 16) == certificate.serial_number
    assert not data.serial_number.startswith("0")
    assert data.responder_url == responder_url(certificate)
    assert data.responder_url.endswith(".invalid/cpo")
    assert responder_url(x509.load_der_x509_certificate(pki.anchors("v2g")[0])) == ""
    assert ocsp_request_data(certificate, issuer).hash_algorithm == "SHA256"


def test_an_answer_is_read_once_and_judged_at_each_time(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charger staples the same answer in every handshake, until it expires."""
    read, times = ocsp.load_der_ocsp_response, list[bytes]()
    monkeypatch.setattr(ocsp, "load_der_ocsp_response", lambda data: (times.append(data), read(data))[1])
    answer = make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW, validity=timedelta(hours=5))
    for hours in range(3):
        check_ocsp(answer, *pair(pki), NOW + timedelta(hours=hours))
    assert refusal(pki, answer, NOW + timedelta(hours=6)) == "expired"
    assert times == [answer]
