"""OCSP answers by RFC 6960, judged by openssl and by `cryptography`; requests read strictly, and never a surprise."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from pki_tools import ocsp_wire
from pki_tools.renewal import Renewal, renew_certificate, revoke_certificate
from pki_tools.serve import INTERNAL_ERROR, MALFORMED, UNAUTHORIZED, Responder
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.fuzz.mutations import mutated
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import KeyAccessError, RevocationError
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profile import KeyKind

LEAVES = ["secc", "vehicle", "contract", "cps", "meter", "csms/server"]


def load(tree: PkiTree, leaf: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in tree.chain(leaf)]


def pair(tree: PkiTree, leaf: str) -> tuple[x509.Certificate, x509.Certificate]:
    chain = [*load(tree, leaf), x509.load_pem_x509_certificate(tree.path("csms/root.pem").read_bytes())]
    return chain[0], chain[1]


def request(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm or hashes.SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


def responder(tree: PkiTree) -> Responder:
    return Responder(tree.directory, tree.index(), at=NOW)


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_every_family_is_answered_for_however_the_issuer_is_named(
    pki: PkiTree, leaf: str, algorithm: hashes.HashAlgorithm
) -> None:
    certificate, issuer = pair(pki, leaf)
    answer = responder(pki).answer(request(certificate, issuer, algorithm), at=NOW)
    assert answer.outcome == "good"
    check_ocsp(answer.body, certificate, issuer, NOW)
    parsed = ocsp.load_der_ocsp_response(answer.body)
    assert parsed.serial_number == certificate.serial_number
    assert parsed.hash_algorithm.name == algorithm.name
    assert (answer.this_update, answer.next_update) == (parsed.this_update_utc, parsed.next_update_utc)


def test_every_authority_but_roots_is_answered_for(pki: PkiTree) -> None:
    serving = responder(pki)
    assert serving.silent == []
    for name, above in (
        ("cpo/sub2", "cpo/sub1"),
        ("cpo/sub1", "v2g/root"),
        ("cps/sub1", "v2g/root"),
        ("mo/sub1", "mo/root"),
    ):
        subject, issuer = (
            x509.load_pem_x509_certificate(pki.path(f"{each}.pem").read_bytes()) for each in (name, above)
        )
        check_ocsp(serving.answer(request(subject, issuer), at=NOW).body, subject, issuer, NOW)


def test_revoked_is_said_with_time_and_reason_and_only_of_that_one(tree: PkiTree) -> None:
    since = NOW - timedelta(days=1)
    revoke_certificate(tree.directory, name="contract", reason="affiliation_changed", since=since, at=NOW)
    serving = responder(tree)
    answer = serving.answer(request(*pair(tree, "contract")), at=NOW)
    parsed = ocsp.load_der_ocsp_response(answer.body)
    assert answer.outcome == "revoked"
    assert parsed.revocation_time_utc == since
    assert parsed.revocation_reason is x509.ReasonFlags.affiliation_changed
    assert serving.answer(request(*pair(tree, "contract-2")), at=NOW).outcome == "good"


def test_what_was_never_issued_is_unknown_and_whose_issuer_is_not_ours_unauthorized(
    pki: PkiTree, tree: PkiTree
) -> None:
    certificate, issuer = pair(pki, "secc")
    builder = ocsp.OCSPRequestBuilder()
    probe = ocsp_wire.certificate_id(12345, issuer)
    never = builder.add_certificate_by_hash(probe.name_hash, probe.key_hash, 12345, hashes.SHA256()).build()
    der = never.public_bytes(serialization.Encoding.DER)
    answer = responder(pki).answer(der, at=NOW)
    assert answer.outcome == "unknown"
    assert ocsp.load_der_ocsp_response(answer.body).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    other = make_pki(tree.directory, now=NOW)
    assert responder(other).answer(request(certificate, issuer), at=NOW).body == UNAUTHORIZED
    parsed = ocsp.load_der_ocsp_response(UNAUTHORIZED)
    assert parsed.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_a_nonce_comes_back_and_such_an_answer_is_not_kept(pki: PkiTree) -> None:
    serving = responder(pki)
    for nonce in (b"1", b"n" * 32, b"n" * 128):
        answer = serving.answer(request(*pair(pki, "secc"), nonce=nonce), at=NOW)
        parsed = ocsp.load_der_ocsp_response(answer.body)
        assert parsed.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        assert answer.next_update is None
        check_ocsp(answer.body, *pair(pki, "secc"), NOW)
    for nonce in (b"", b"n" * 129):
        assert serving.answer(request(*pair(pki, "secc"), nonce=nonce), at=NOW).body == MALFORMED


def test_answers_are_signed_once_until_half_their_life_is_over(pki: PkiTree) -> None:
    serving, der = responder(pki), request(*pair(pki, "secc"))
    first = serving.answer(der, at=NOW)
    assert serving.answer(der, at=NOW + timedelta(hours=11)) is first
    assert serving.answer(der, at=NOW + timedelta(hours=13)) is not first
    check_ocsp(serving.answer(der, at=NOW + timedelta(hours=13)).body, *pair(pki, "secc"), NOW + timedelta(hours=14))


def test_an_authority_with_a_new_key_and_its_former_one_are_both_answered_for(tree: PkiTree) -> None:
    before = pair(tree, "contract")
    renew_certificate(tree.directory, "mo/sub2", Renewal(below=True), at=NOW)
    after = pair(tree, "contract")
    assert before[1] != after[1]
    serving = responder(tree)
    for certificate, issuer in (before, after):
        check_ocsp(serving.answer(request(certificate, issuer), at=NOW).body, certificate, issuer, NOW)


def test_keys_of_authorities_may_be_elsewhere_and_an_expired_delegate_is_replaced_by_the_authority(
    tree: PkiTree,
) -> None:
    later = NOW + timedelta(days=400)
    in_time = Responder(tree.directory, tree.index(), at=later).answer(request(*pair(tree, "contract")), at=later)
    check_ocsp(in_time.body, *pair(tree, "contract"), later)
    for name in ("v2g/root", "cpo/sub1", "cpo/sub2"):
        tree.path(f"{name}.key").unlink()
    assert responder(tree).silent == []
    check_ocsp(responder(tree).answer(request(*pair(tree, "secc")), at=NOW).body, *pair(tree, "secc"), NOW)
    tree.path("cpo/ocsp.key").unlink()
    serving = responder(tree)
    assert serving.silent == ["cpo/sub2"]
    assert serving.answer(request(*pair(tree, "secc")), at=NOW).body == UNAUTHORIZED
    tree.path("mo/ocsp.key").chmod(0o644)
    with pytest.raises(KeyAccessError, match="has mode 0644"):
        responder(tree)


@pytest.mark.parametrize("kind", [KeyKind.ED448, KeyKind.SECP256R1])
def test_openssl_believes_answers_signed_with_other_keys(tmp_path: Path, openssl: Openssl, kind: KeyKind) -> None:
    tree = make_pki(tmp_path / "t", now=NOW, options=PkiOptions(key_kind=kind))
    judged_by_openssl(tree, openssl, tmp_path, "contract", "mo", "mo", "good")


def judged_by_openssl(
    tree: PkiTree, openssl: Openssl, folder: Path, leaf: str, family: str, root: str, word: str
) -> None:
    """Let openssl ask with a request of its own and judge the answer. With a nonce it asks in test_serve.py."""
    asked, answered, subs = folder / "request.der", folder / "answer.der", folder / "subs.pem"
    subs.write_bytes(tree.path(f"{family}/sub2.pem").read_bytes() + tree.path(f"{family}/sub1.pem").read_bytes())
    about = ["-issuer", tree.path(f"{family}/sub2.pem"), "-cert", tree.path(f"{leaf}/leaf.pem")]
    openssl("ocsp", *about, "-no_nonce", "-reqout", asked)
    answered.write_bytes(responder(tree).answer(asked.read_bytes(), at=NOW).body)
    trust = ["-CAfile", tree.path(f"{root}/root.pem"), "-verify_other", subs]
    done = openssl("ocsp", *about, "-no_nonce", "-respin", answered, *trust)
    assert "Response verify OK" in done.stderr
    assert f"leaf.pem: {word}" in done.stdout


def test_openssl_believes_what_is_said(tree: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    revoke_certificate(tree.directory, name="contract", reason="key_compromise", at=NOW)
    judged_by_openssl(tree, openssl, tmp_path, "contract", "mo", "mo", "revoked")
    judged_by_openssl(tree, openssl, tmp_path, "secc", "cpo", "v2g", "good")
    judged_by_openssl(tree, openssl, tmp_path, "cps", "cps", "v2g", "good")


@pytest.mark.parametrize("mixed", [False, True])
def test_openssl_gets_several_answers_to_several_questions(
    tree: PkiTree, openssl: Openssl, tmp_path: Path, *, mixed: bool
) -> None:
    revoke_certificate(tree.directory, name="contract-2", at=NOW)
    asked, answered, subs = tmp_path / "request.der", tmp_path / "answer.der", tmp_path / "subs.pem"
    subs.write_bytes(tree.path("mo/sub2.pem").read_bytes() + tree.path("mo/sub1.pem").read_bytes())
    words = {"contract": "good", "contract-2": "revoked", "contract-3": "good"}
    about = ["-no_nonce", "-issuer", tree.path("mo/sub2.pem")]
    about += [part for leaf in words for part in ("-cert", tree.path(f"{leaf}/leaf.pem"))]
    if mixed:  # about a certificate of another issuer this responder may say nothing
        about += ["-issuer", tree.path("cpo/sub2.pem"), "-cert", tree.path("secc/leaf.pem")]
        words["secc"] = "unknown"
    openssl("ocsp", *about, "-reqout", asked)
    answered.write_bytes(responder(tree).answer(asked.read_bytes(), at=NOW).body)
    trust = ["-CAfile", tree.path("mo/root.pem"), "-verify_other", subs]
    done = openssl("ocsp", *about, "-respin", answered, *trust, check=not mixed)
    assert ("Response verify OK" in done.stderr) or mixed  # openssl believes no delegate about two issuers
    for leaf, word in words.items():
        assert f"{leaf}/leaf.pem: {word}" in done.stdout


def test_a_list_is_signed_anew_at_half_its_life_and_a_file_handed_out_without_the_key(tree: PkiTree) -> None:
    serving = responder(tree)
    point = x509.CRLDistributionPoints
    url = pair(tree, "secc")[0].extensions.get_extension_for_class(point).value[0].full_name[0].value  # type: ignore[index]
    path = url.removeprefix("http://pki.invalid/")
    first = serving.crl(path, at=NOW)
    assert first is not None
    assert serving.crl(path, at=NOW + timedelta(days=3)) is first
    second = serving.crl(path, at=NOW + timedelta(days=4))
    assert second is not None
    number = x509.CRLNumber
    numbers = [
        x509.load_der_x509_crl(each.body).extensions.get_extension_for_class(number).value.crl_number
        for each in (first, second)
    ]
    assert numbers[0] < numbers[1]
    tree.path("cpo/sub2.key").unlink()
    found = responder(tree).crl(path, at=NOW)
    assert found is not None
    assert found.body == tree.path("cpo/sub2.crl").read_bytes()
    assert serving.crl("cpo/00000000.crl", at=NOW) is None
    tree.path("cpo/sub2.crl").write_bytes(b"rubbish")
    assert responder(tree).crl(path, at=NOW) is None


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_malformed(pki: PkiTree, data: bytes) -> None:
    assert responder_of(pki).answer(data, at=NOW).body == MALFORMED


_RESPONDERS: dict[Path, Responder] = {}


def responder_of(tree: PkiTree) -> Responder:
    """Return one responder for many examples."""
    return _RESPONDERS.setdefault(tree.directory, responder(tree))


def test_mutated_requests_are_answered_as_cryptography_reads_them_or_refused(pki: PkiTree) -> None:
    """Where we read one question, an independent parser reads the same one."""
    serving, chance, read = responder(pki), random.Random(4), 0
    seeds = [request(*pair(pki, leaf), nonce=b"n" * 16) for leaf in ("secc", "contract")]
    for _ in range(200):
        data = mutated(seeds, chance)
        body = serving.answer(data, at=NOW).body
        assert body != INTERNAL_ERROR
        if body == MALFORMED:
            continue
        ours = ocsp_wire.read_request(data)
        if len(ours.certificates) == 1:
            theirs = ocsp.load_der_ocsp_request(data)
            assert theirs.serial_number == ours.certificates[0].serial
            assert theirs.issuer_key_hash == ours.certificates[0].key_hash
            read += 1
    assert read


def test_requests_are_bounded(pki: PkiTree) -> None:
    certificate, issuer = pair(pki, "secc")
    one = ocsp_wire.certificate_id(certificate.serial_number, issuer).der
    item = b"\x30" + bytes((len(one),)) + one

    def asked(count: int) -> bytes:
        def wrap(data: bytes) -> bytes:
            return b"\x30\x82" + len(data).to_bytes(2, "big") + data

        return wrap(wrap(wrap(item * count)))

    assert len(ocsp_wire.read_request(asked(32)).certificates) == 32
    for count in (33, 200):
        with pytest.raises(RevocationError) as error:
            ocsp_wire.read_request(asked(count))
        assert error.value.reason == "malformed"
