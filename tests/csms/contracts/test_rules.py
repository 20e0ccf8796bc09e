"""Which contract may charge and which charger is believed, by what is known here and what responders answer (C07)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from csms.contracts.rules import LONGEST, Verdict, assess, charger_fault, conclude
from csms.tokens.rules import ChainVerdict
from csms.trust.rules import Anchors
from pki_tools.tree import PkiTree
from tests.csms.trust.contracts import hash_data
from tests.io.tls.support import pki_2
from tests.pki.chains import issuer_of, own_contract
from tests.pki.forge import NOW
from v2g.errors import OcppError
from v2g.ocpp.messages.certificates import Get15118EVCertificateResponse
from v2g.ocpp.routes import Version2
from v2g.ocpp.versions import write_payload
from v2g.pki.certificates import load_certificate
from v2g.pki.crl import RevocationList, Revoked, load_crl, make_crl
from v2g.pki.issue import Subject
from v2g.pki.ocsp import make_response

__all__ = ["pki_2"]

EMAID = "DEV2GC00000001"
VALID, BROKEN, REVOKED = ChainVerdict.VALID, ChainVerdict.BROKEN, ChainVerdict.REVOKED
DAY = timedelta(days=1)


def anchors(pki: PkiTree, **changes: Any) -> Anchors:
    issuers = tuple(load_certificate(each) for each in pki.chain("contract")[1:])
    return Anchors(**{"roots": pki.anchors("mo", "v2g"), "issuers": issuers} | changes)


def serial(pki: PkiTree, place: int, name: str = "contract") -> int:
    return load_certificate(pki.chain(name)[place]).serial_number


def crl(pki: PkiTree, signer: str, *serials: int) -> RevocationList:
    revoked = [Revoked(each, NOW) for each in serials]
    return load_crl(make_crl(issuer_of(pki, signer), revoked, number=1, at=NOW, validity=DAY))


def pem(*chain: bytes) -> str:
    return "".join(load_certificate(each).public_bytes(Encoding.PEM).decode() for each in chain)


def first(pki: PkiTree, kind: str, known: Anchors) -> Verdict:
    """Return the verdict before any answer, on the chain or on hash data."""
    if kind == "chain":
        return assess(EMAID, pem(*pki.chain("contract")), (), known, NOW)
    return assess(EMAID, None, hash_data(pki), known, NOW)


KINDS = pytest.mark.parametrize("kind", ["chain", "hashes"])


@KINDS
def test_a_good_contract_is_asked_about_from_leaf_to_root(pki: PkiTree, kind: str) -> None:
    verdict = first(pki, kind, anchors(pki))
    assert (verdict.chain, verdict.reason, verdict.unproven) == (VALID, "", "")
    assert [each.serial for each in verdict.questions] == [serial(pki, place) for place in range(3)]


@KINDS
@pytest.mark.parametrize("place", range(3))
def test_what_is_revoked_here_needs_no_answer(pki: PkiTree, kind: str, place: int) -> None:
    verdict = first(pki, kind, anchors(pki, revoked=frozenset({serial(pki, place)})))
    assert (verdict.chain, verdict.reason.partition(":")[0]) == (REVOKED, "revoked")
    answered = conclude(verdict, {}, anchors(pki), NOW, accept_unknown=True)
    assert answered == verdict, "whatever is answered"


def test_nothing_and_a_chain_for_another_driver_prove_nothing(pki: PkiTree) -> None:
    assert assess(EMAID, None, (), anchors(pki), NOW).chain is ChainVerdict.ABSENT
    sent = pem(*pki.chain("contract"))
    for emaid, chain, reason in (
        ("DEV2GC00000002", BROKEN, "the certificate is for DEV2GC00000001"),
        ("de-v2g-c00000001", VALID, ""),
    ):
        verdict = assess(emaid, sent, (), anchors(pki), NOW)
        assert (verdict.chain, verdict.reason) == (chain, reason)
    verdict = assess(EMAID, None, hash_data(pki), anchors(pki, roots=pki.anchors("v2g"), issuers=()), NOW)
    assert (verdict.chain, "unknown issuer" in verdict.reason) == (BROKEN, True)


def test_the_check_digit_of_an_emaid_is_no_part_of_it(pki: PkiTree) -> None:
    sent = pem(*own_contract(pki, subject=Subject(common_name="DE-V2G-C00000002-9", organization="eMSP")))
    for emaid in ("DEV2GC00000002", "DEV2GC000000029"):
        assert assess(emaid, sent, (), anchors(pki), NOW).chain is VALID


def test_an_expired_contract_is_named_as_such_and_any_other_fault_is_a_broken_chain(pki: PkiTree) -> None:
    sent = pem(*pki.chain("contract"))
    for at, chain, reason in (
        (NOW + 9999 * DAY, ChainVerdict.EXPIRED, "expired"),
        (NOW - DAY, BROKEN, "not_yet_valid"),
    ):
        verdict = assess(EMAID, sent, (), anchors(pki), at)
        assert (verdict.chain, verdict.reason.partition(":")[0]) == (chain, reason)


def test_each_generation_has_its_own_profile_and_what_is_tolerated_is_configured(pki: PkiTree, pki_2: PkiTree) -> None:
    leaf, sub2, sub1 = pki.chain("contract")
    for known in (anchors(pki), anchors(pki, interop=True)):
        swapped = assess(EMAID, pem(leaf, sub1, sub2), (), known, NOW)
        assert swapped.chain is (VALID if known.interop else BROKEN)
    assert assess(EMAID, pem(*pki_2.chain("contract")), (), anchors(pki_2), NOW).chain is VALID


Answers = Callable[[PkiTree, Verdict], dict[bytes, bytes | None]]
SIGNERS = ("mo/sub2", "mo/sub1", "mo/root")


def answer(place: int, *, revoked: bool = False, signer: str = "") -> Answers:
    """Have a responder that knows one certificate of the chain."""

    def answers(pki: PkiTree, verdict: Verdict) -> dict[bytes, bytes | None]:
        path = [load_certificate(each) for each in (*pki.chain("contract"), *pki.anchors("mo"))]
        made = make_response(
            path[place],
            path[place + 1],
            issuer_of(pki, signer or SIGNERS[place]),
            at=NOW,
            revoked_at=NOW if revoked else None,
        )
        return {each.request: made if at == place else None for at, each in enumerate(verdict.questions)}

    return answers


def silence(_: PkiTree, __: Verdict) -> dict[bytes, bytes | None]:
    return {}


@KINDS
@pytest.mark.parametrize(
    ("answers", "lists", "status", "unproven"),
    [
        (answer(0), (), "good", ""),
        (answer(0, revoked=True), (), "revoked", ""),
        (answer(1, revoked=True), (), "revoked", ""),
        (answer(2, revoked=True), (), "revoked", ""),
        (answer(0, signer="cpo/sub2"), (), "unknown", "bad_signature"),
        (answer(1), (), "unknown", "missing"),
        (silence, (), "unknown", "missing"),
        (silence, ("mo/sub2",), "good", ""),
        (silence, ("cpo/sub2", "mo/sub2"), "good", ""),
        (silence, ("cpo/sub2",), "unknown", "missing"),
        (silence, ("mo/sub1",), "unknown", "missing"),
    ],
    ids=[
        "good", "revoked", "sub2-revoked", "sub1-revoked", "forged", "sub2-only", "silent", "listed", "also-listed",
        "list-of-a-stranger", "list-of-sub1",
    ],
)  # fmt: skip
def test_a_contract_charges_if_it_is_good_or_its_status_is_unknown_and_may_be(
    pki: PkiTree, kind: str, answers: Answers, lists: tuple[str, ...], status: str, unproven: str
) -> None:
    """C07.FR.05, C07.FR.17. Of its CAs only a revocation counts."""
    known = anchors(pki, crls=tuple(crl(pki, each) for each in lists))
    assessed = first(pki, kind, known)
    for accept in (False, True):
        found = conclude(assessed, answers(pki, assessed), known, NOW, accept_unknown=accept)
        chain = {"good": VALID, "revoked": REVOKED, "unknown": VALID if accept else BROKEN}[status]
        assert (found.chain, found.unproven.partition(":")[0]) == (chain, unproven)
        assert found.reason.partition(":")[0] == {VALID: "", REVOKED: "revoked", BROKEN: unproven}[chain]
        if chain is VALID:
            assert msgspec.structs.replace(found, unproven="") == assessed


def test_a_charger_is_believed_by_its_chain_at_the_time_of_its_session(pki: PkiTree, pki_2: PkiTree) -> None:
    """A journal may come years later; one signed before the certificate began was not signed by this charger."""
    chain = pki.chain("secc")
    leaf, *subs = chain
    for at, known, sent, fault in (
        (NOW, anchors(pki), chain, ""),
        (load_certificate(leaf).not_valid_after_utc + DAY, anchors(pki), chain, ""),
        (NOW - DAY, anchors(pki), chain, "not_yet_valid"),
        (NOW, anchors(pki, roots=pki.anchors("mo")), chain, "unknown_root"),
        (NOW, anchors(pki, revoked=frozenset({serial(pki, 1, "secc")})), chain, "revoked"),
        (NOW, anchors(pki), (leaf, *reversed(subs)), "chain_out_of_order"),
        (NOW, anchors(pki, interop=True), (leaf, *reversed(subs)), ""),
        (NOW, anchors(pki_2), pki_2.chain("secc"), ""),
    ):
        assert charger_fault(sent, known, at).partition(":")[0] == fault


@pytest.mark.parametrize("version", get_args(Version2))
def test_a_contract_for_a_vehicle_is_as_long_as_a_response_may_be(version: Version2) -> None:
    def response(size: int) -> Get15118EVCertificateResponse:
        return Get15118EVCertificateResponse(status="Accepted", exi_response="A" * size)

    assert write_payload(response(LONGEST[version]), version)
    with pytest.raises(OcppError):
        write_payload(response(LONGEST[version] + 1), version)
