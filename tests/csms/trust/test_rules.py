"""The status of certificates: what is asked of whom, and what an answer or a list is worth."""

from datetime import datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from csms.trust.rules import (
    Anchors,
    StatusFinding,
    is_revoked,
    question_about,
    question_of,
    read_answer,
    read_list,
)
from pki_tools.tree import PkiTree
from tests.pki.chains import issuer_of
from tests.pki.forge import NOW
from v2g.errors import CertificateError
from v2g.ocpp.messages.base import CertificateHashData, OCSPRequestData
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.ocsp import make_response, ocsp_request_data

DAY = timedelta(days=1)


def pairs(pki: PkiTree) -> list[tuple[x509.Certificate, x509.Certificate]]:
    """Return each certificate of the contract's chain with its issuer, leaf first."""
    chain = (*pki.chain("contract"), *pki.anchors("mo"))
    return list(pairwise(x509.load_der_x509_certificate(each) for each in chain))


def hashes_of(pki: PkiTree, place: int, algorithm: str = "SHA256") -> OCSPRequestData:
    found = ocsp_request_data(*pairs(pki)[place], algorithm)
    return OCSPRequestData(**msgspec.structs.asdict(found))


def anchors(pki: PkiTree) -> Anchors:
    return Anchors(roots=pki.anchors("v2g", "mo"), issuers=tuple(issuer for _, issuer in pairs(pki)[:2]))


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("place", range(3))
def test_a_certificate_known_by_its_hashes_is_asked_about_at_the_named_responder(
    pki: PkiTree, place: int, algorithm: str
) -> None:
    data = hashes_of(pki, place, algorithm)
    question = question_about(data, anchors(pki))
    certificate, issuer = pairs(pki)[place]
    assert (question.serial, question.issuer) == (certificate.serial_number, issuer)
    asked = ocsp.load_der_ocsp_request(question.request)
    assert (asked.serial_number, asked.hash_algorithm.name.upper()) == (certificate.serial_number, algorithm)
    assert (asked.issuer_name_hash.hex(), asked.issuer_key_hash.hex()) == (data.issuer_name_hash, data.issuer_key_hash)
    assert question.places == (data.responder_url,)
    assert question_about(msgspec.structs.replace(data, responder_url=""), anchors(pki)).places == ()
    unnamed = CertificateHashData(
        hash_algorithm=data.hash_algorithm,
        issuer_name_hash=data.issuer_name_hash,
        issuer_key_hash=data.issuer_key_hash,
        serial_number=data.serial_number,
    )
    assert question_about(unnamed, anchors(pki)) == msgspec.structs.replace(question, places=())
    if algorithm == "SHA256":
        assert question_of(certificate, issuer) == question


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"serial_number": "xyz"}, "malformed"),
        ({"issuer_name_hash": "not hex"}, "malformed"),
        ({"issuer_key_hash": "00"}, "malformed"),
        ({"issuer_name_hash": "00" * 32}, "unknown_root"),
        ({"issuer_key_hash": "00" * 32}, "unknown_root"),
    ],
)
def test_hashes_of_nobody_who_is_trusted_are_refused(pki: PkiTree, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(CertificateError) as refused:
        question_about(msgspec.structs.replace(hashes_of(pki, 0), **changes), anchors(pki))
    assert refused.value.reason == reason


def test_no_deviation_is_tolerated_unless_it_is_configured() -> None:
    assert not Anchors(roots=()).interop


def test_a_certificate_is_revoked_by_its_number_or_by_a_list_of_its_issuer(pki: PkiTree) -> None:
    certificate, issuer = pairs(pki)[0]
    number = certificate.serial_number
    listed = make_crl(issuer_of(pki, "mo/sub2"), [Revoked(number, NOW)], number=1, at=NOW, validity=DAY)
    strange = make_crl(issuer_of(pki, "cpo/sub2"), [Revoked(number, NOW)], number=1, at=NOW, validity=DAY)
    for changes, revoked in (
        ({}, False),
        ({"revoked": frozenset({number})}, True),
        ({"crls": (load_crl(strange),)}, False),
        ({"crls": (load_crl(strange), load_crl(listed))}, True),
    ):
        assert is_revoked(number, issuer, msgspec.structs.replace(anchors(pki), **changes)) is revoked
    assert not is_revoked(number + 1, issuer, msgspec.structs.replace(anchors(pki), crls=(load_crl(listed),)))


def answer(pki: PkiTree, *, place: int = 0, signer: str = "mo/sub2", revoked: bool = False) -> bytes:
    return make_response(
        *pairs(pki)[place], issuer_of(pki, signer), at=NOW, validity=DAY, revoked_at=NOW if revoked else None
    )


def unknown(pki: PkiTree) -> bytes:
    """Return the answer of a responder that does not know the certificate."""
    signer = issuer_of(pki, "mo/sub2")
    certificate, issuer = pairs(pki)[0]
    builder = ocsp.OCSPResponseBuilder().add_response(
        certificate, issuer, hashes.SHA256(), ocsp.OCSPCertStatus.UNKNOWN, NOW, NOW + DAY, None, None
    )
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer).sign(signer.key, hashes.SHA512())
    return signed.public_bytes(Encoding.DER)


def test_an_answer_holds_until_its_next_update_and_one_that_is_not_trusted_says_nothing(pki: PkiTree) -> None:
    question = question_about(hashes_of(pki, 0), anchors(pki))
    until, failed = NOW + DAY, StatusFinding("Failed", None)
    for made, at, found in (
        (answer(pki), NOW, StatusFinding("Good", until)),
        (answer(pki, revoked=True), NOW, StatusFinding("Revoked", until)),
        (unknown(pki), NOW, StatusFinding("Unknown", until)),
        (answer(pki), NOW + 2 * DAY, failed),
        (answer(pki, signer="cpo/sub2"), NOW, failed),
        (answer(pki, place=1, signer="mo/sub1"), NOW, failed),
        (b"?", NOW, failed),
        (b"", NOW, failed),
    ):
        assert read_answer(made, question, at) == found


def listing(pki: PkiTree, *serials: int, signer: str = "mo/sub2", at: datetime = NOW) -> bytes:
    return make_crl(issuer_of(pki, signer), [Revoked(each, at) for each in serials], number=1, at=at, validity=DAY)


def test_a_list_holds_until_its_next_update_and_one_that_is_not_trusted_says_nothing(pki: PkiTree) -> None:
    question = question_about(hashes_of(pki, 0), anchors(pki))
    until, failed = NOW + DAY, StatusFinding("Failed", None)
    for made, found in (
        (listing(pki), StatusFinding("Good", until)),
        (listing(pki, question.serial + 1), StatusFinding("Good", until)),
        (listing(pki, question.serial), StatusFinding("Revoked", until)),
        (listing(pki, question.serial, at=NOW - 3 * DAY), StatusFinding("Revoked", NOW - 2 * DAY)),
        (listing(pki, at=NOW - 3 * DAY), failed),
        (listing(pki, question.serial, signer="cpo/sub2"), failed),
        (b"?", failed),
    ):
        assert read_list(made, question, NOW) == found
