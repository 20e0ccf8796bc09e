"""One decision about a whole chain, from whatever evidence there is."""

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.pki.chains import issuer_of
from tests.pki.forge import NOW
from v2g.errors import RevocationError
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.issue import Issuer
from v2g.pki.ocsp import make_response
from v2g.pki.profile import Role
from v2g.pki.revocation import Fail, RevocationEvidence, RevocationPolicy, decide_revocation, refuse_revoked
from v2g.pki.verify import VerifiedChain, verify_chain

SIGNERS = ("mo/sub2", "mo/sub1", "mo/root")
HARD = RevocationPolicy(leaf=Fail.HARD, authorities=Fail.HARD)
SOFT = RevocationPolicy(leaf=Fail.SOFT, authorities=Fail.SOFT)
POLICIES = [HARD, SOFT, RevocationPolicy(), RevocationPolicy(leaf=Fail.SOFT, authorities=Fail.HARD)]
OLD = timedelta(days=30)


@pytest.fixture(scope="module")
def chain(pki: PkiTree) -> VerifiedChain:
    leaf, *subs = pki.chain("contract")
    return verify_chain(leaf, subs, pki.anchors("mo"), role=Role.CONTRACT, at=NOW)


def pairs(chain: VerifiedChain) -> list[tuple[x509.Certificate, x509.Certificate]]:
    return list(pairwise((*chain.certificates, chain.anchor)))


@pytest.fixture(scope="module")
def answers(pki: PkiTree, chain: VerifiedChain) -> dict[tuple[str, int], bytes]:
    """Return what may be said about each place: good, revoked, stale, forged or nothing useful."""
    made = {}
    for place, (certificate, issuer) in enumerate(pairs(chain)):
        signer, stranger = issuer_of(pki, SIGNERS[place]), issuer_of(pki, "cpo/sub2")
        made["good", place] = make_response(certificate, issuer, signer, at=NOW)
        made["revoked", place] = make_response(certificate, issuer, signer, at=NOW, revoked_at=NOW)
        made["stale", place] = make_response(certificate, issuer, signer, at=NOW - OLD)
        made["forged", place] = make_response(certificate, issuer, stranger, at=NOW)
        made["none", place] = b""
        refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        made["refused", place] = refused.public_bytes(serialization.Encoding.DER)
    return made


def crl(pki: PkiTree, place: int, *serials: int, at: timedelta = timedelta()) -> bytes:
    revoked = [Revoked(serial, NOW) for serial in serials]
    return make_crl(issuer_of(pki, SIGNERS[place]), revoked, number=1, at=NOW - at, validity=timedelta(days=7))


def decided(chain: VerifiedChain, policy: RevocationPolicy, evidence: RevocationEvidence) -> str:
    decision = decide_revocation(chain, evidence, at=NOW, policy=policy)
    try:
        decision.require()
    except RevocationError as error:
        return error.reason
    return ""


WORDS = {
    "good": "",
    "revoked": "revoked",
    "stale": "expired",
    "forged": "bad_signature",
    "none": "missing",
    "refused": "refused",
}
FORGIVEN = {"expired", "missing", "refused"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.tuples(*[st.sampled_from(sorted(WORDS))] * 3), policy=st.sampled_from(POLICIES))
def test_every_combination_is_decided_by_the_worst_that_the_policy_minds(
    chain: VerifiedChain, answers: dict[tuple[str, int], bytes], said: tuple[str, ...], policy: RevocationPolicy
) -> None:
    evidence = RevocationEvidence(ocsp={place: (answers[word, place],) for place, word in enumerate(said)})
    decision = decided(chain, policy, evidence)
    words = [WORDS[word] for word in said]
    if "revoked" in words:
        assert decision == "revoked"
        return
    fails = (policy.leaf, policy.authorities, policy.authorities)
    minded = [w for w, fail in zip(words, fails, strict=True) if w and not (fail is Fail.SOFT and w in FORGIVEN)]
    assert decision == (minded[0] if minded else "")


def test_without_evidence_the_policy_decides_and_says_what_is_unproven(chain: VerifiedChain) -> None:
    assert decided(chain, HARD, RevocationEvidence()) == "missing"
    assert decided(chain, SOFT, RevocationEvidence()) == ""
    decision = decide_revocation(chain, RevocationEvidence(), at=NOW, policy=SOFT)
    assert [each.certificate for each in decision.unproven] == list(chain.certificates)


def test_lists_of_all_cas_are_as_good_as_answers(pki: PkiTree, chain: VerifiedChain) -> None:
    whole = RevocationEvidence(crls=[load_crl(crl(pki, place)) for place in range(3)])
    assert decided(chain, HARD, whole) == ""
    assert [each.source for each in decide_revocation(chain, whole, at=NOW, policy=HARD).findings] == ["crl"] * 3
    for place, certificate in enumerate(chain.certificates):
        lists = [load_crl(crl(pki, p, *((certificate.serial_number,) if p == place else ()))) for p in range(3)]
        assert decided(chain, SOFT, RevocationEvidence(crls=lists)) == "revoked"


def test_one_bad_word_outweighs_a_good_one_of_another_source(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    serial = chain.leaf.serial_number
    evidence = RevocationEvidence(ocsp={0: (answers["good", 0],)}, crls=[load_crl(crl(pki, 0, serial, at=OLD))])
    assert decided(chain, SOFT, evidence) == "revoked"
    both = RevocationEvidence(ocsp={0: (answers["good", 0], answers["revoked", 0])})
    assert decided(chain, SOFT, both) == "revoked"


def test_one_good_word_outweighs_old_and_strange_ones(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    lists = [load_crl(crl(pki, 0, at=OLD)), load_crl(crl(pki, 2))]
    leaf_only = RevocationPolicy(leaf=Fail.HARD, authorities=Fail.SOFT)
    assert decided(chain, leaf_only, RevocationEvidence(ocsp={0: (answers["stale", 0],)}, crls=lists)) == "expired"
    assert (
        decided(chain, leaf_only, RevocationEvidence(ocsp={0: (answers["stale", 0], answers["good", 0])}, crls=lists))
        == ""
    )


def test_a_wrong_list_is_no_evidence_and_one_of_another_issuer_is_none_at_all(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    """Lists come from afar, not from the peer: a forged one may be forgiven, a forged answer never."""
    own, stranger = issuer_of(pki, SIGNERS[0]), issuer_of(pki, "cpo/sub2")
    named = [Revoked(chain.leaf.serial_number, NOW)]
    forged = load_crl(make_crl(Issuer(own.certificate, stranger.key), named, number=1, at=NOW, validity=OLD))
    assert decided(chain, HARD, RevocationEvidence(crls=[forged])) == "bad_signature"
    assert decided(chain, SOFT, RevocationEvidence(crls=[forged])) == ""
    assert decided(chain, SOFT, RevocationEvidence(ocsp={0: (answers["forged", 0],)})) == "bad_signature"
    assert decided(chain, HARD, RevocationEvidence(crls=[load_crl(crl(pki, 1))])) == "missing"
    refuse_revoked(chain, [forged, load_crl(crl(pki, 0)), load_crl(crl(pki, 1))], at=NOW)
    for place, certificate in enumerate(chain.certificates):
        with pytest.raises(RevocationError, match="was revoked") as error:
            refuse_revoked(chain, [forged, load_crl(crl(pki, place, certificate.serial_number, at=OLD))], at=NOW)
        assert error.value.reason == "revoked"


def test_a_finding_says_where_it_comes_from(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    for evidence, source, reason in (
        (RevocationEvidence(ocsp={0: (answers["good", 0],)}), "ocsp", None),
        (RevocationEvidence(ocsp={0: (answers["stale", 0],)}), "ocsp", "expired"),
        (RevocationEvidence(crls=[load_crl(crl(pki, 0))]), "crl", None),
        (RevocationEvidence(crls=[load_crl(crl(pki, 0, at=OLD))]), "crl", "expired"),
        (RevocationEvidence(), "", "missing"),
    ):
        found = decide_revocation(chain, evidence, at=NOW, policy=SOFT).findings[0]
        assert (found.source, found.reason, bool(found.message)) == (source, reason, reason is not None)


def test_a_policy_is_read_by_its_words() -> None:
    text = b'{"leaf":"soft","authorities":"hard"}'
    assert msgspec.json.decode(text, type=RevocationPolicy) == POLICIES[3]
