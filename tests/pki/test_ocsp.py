"""OCSP answers: ours judged by ours and by openssl, openssl's by ours, and everything that must not pass."""

import hashlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.pki.forge import Forge, usage
from v2g.errors import RevocationError
from v2g.pki.issue import Issuer, Request, Subject, issue
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import check_ocsp, make_response, ocsp_request_data, responder_url
from v2g.pki.profiles import KeyKind, Role

NOW = datetime.now(UTC).replace(microsecond=0)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def pair(tree: PkiTree, leaf: str = "secc") -> tuple[x509.Certificate, x509.Certificate]:
    certificate, issuer = (x509.load_der_x509_certificate(each) for each in tree.chain(leaf)[:2])
    return certificate, issuer


def signer(tree: PkiTree, name: str) -> Issuer:
    path = tree.path(f"{name}.pem")
    return Issuer(x509.load_pem_x509_certificate(path.read_bytes()), load_private_key(path.with_suffix(".key")))


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
    check_ocsp(tree.staple(), *pair(tree), NOW)


def test_revocation_is_seen(pki: PkiTree) -> None:
    answer = make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW, revoked_at=NOW - timedelta(days=1))
    assert refusal(pki, answer) == "revoked"


def test_an_answer_has_its_time(pki: PkiTree) -> None:
    answer = make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW)
    check_ocsp(answer, *pair(pki), NOW + timedelta(days=7))
    check_ocsp(answer, *pair(pki), NOW - timedelta(minutes=4))
    assert refusal(pki, answer, NOW + timedelta(days=7, seconds=1)) == "expired"
    assert refusal(pki, answer, NOW - timedelta(minutes=6)) == "not_yet_valid"


def test_an_answer_lives_for_a_week_at_most(pki: PkiTree) -> None:
    """V2G20-1021."""
    with pytest.raises(ValueError, match="7 days"):
        make_response(*pair(pki), signer(pki, "cpo/ocsp"), at=NOW, validity=timedelta(days=8))
    certificate, issuer = pair(pki)
    responder = signer(pki, "cpo/sub2")
    for next_update in (NOW + timedelta(days=8), None):
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate, issuer, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, next_update, None, None
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, issuer)
        answer = builder.sign(responder.key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
        assert refusal(pki, answer) == "malformed"


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
    request = Request(
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


def test_no_answer_and_a_refusing_responder_are_named(pki: PkiTree) -> None:
    assert refusal(pki, b"") == "missing"
    busy = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert refusal(pki, busy.public_bytes(serialization.Encoding.DER)) == "refused"


@given(data=st.binary(min_size=1, max_size=300))
def test_anything_else_is_malformed(pki: PkiTree, data: bytes) -> None:
    assert refusal(pki, data) in {"malformed", "refused"}


def test_an_endless_answer_is_not_read(pki: PkiTree) -> None:
    assert refusal(pki, bytes(20_000)) == "malformed"


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
