"""One decision about a whole chain, from whatever evidence there is."""

from datetime import timedelta
from itertools import pairwise

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.pki.chains import issuer_of
from tests.pki.forge import NOW
from v2g.errors import RevocationError
from v2g.pki.crl import Revoked, load_crl, make_crl
from v2g.pki.ocsp import make_response
from v2g.pki.profiles import Role
from v2g.pki.revocation import Evidence, Fail, RevocationPolicy, decide_revocation
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
    return made


def crl(pki: PkiTree, place: int, *serials: int, at: timedelta = timedelta()) -> bytes:
    revoked = [Revoked(serial, NOW) for serial in serials]
    return make_crl(issuer_of(pki, SIGNERS[place]), revoked, number=1, at=NOW - at, validity=timedelta(days=7))


def decided(chain: VerifiedChain, policy: RevocationPolicy, evidence: Evidence) -> str:
    decision = decide_revocation(chain, evidence, at=NOW, policy=policy)
    try:
        decision.require()
    except RevocationError as error:
        return error.reason
    return ""


WORDS = {"good": "", "revoked": "revoked", "stale": "expired", "forged": "bad_signature", "none": "missing"}
FORGIVEN = {"expired", "missing"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.tuples(*[st.sampled_from(sorted(WORDS))] * 3),
    policy=st.sampled_from(POLICIES),
)
def test_every_combination_is_decided_by_the_worst_that_the_policy_minds(
    chain: VerifiedChain,
    answers: dict[tuple[str, int], bytes],
    said: tuple[str, ...],
    policy: RevocationPolicy,
) -> None:
    evidence = Evidence(ocsp={place: (answers[word, place],) for place, word in enumerate(said)})
    decision = decided(chain, policy, evidence)
    words = [WORDS[word] for word in said]
    if "revoked" in words:
        assert decision == "revoked"
        return
    fails = (policy.leaf, policy.authorities, policy.authorities)
    minded = [w for w, fail in zip(words, fails, strict=True) if w and not (fail is Fail.SOFT and w in FORGIVEN)]
    assert decision == (minded[0] if minded else "")


def test_without_evidence_the_policy_decides_and_says_what_is_unproven(chain: VerifiedChain) -> None:
    assert decided(chain, HARD, Evidence()) == "missing"
    assert decided(chain, SOFT, Evidence()) == ""
    decision = decide_revocation(chain, Evidence(), at=NOW, policy=SOFT)
    assert [each.certificate for each in decision.unproven] == list(chain.certificates)


def test_lists_of_all_cas_are_as_good_as_answers(pki: PkiTree, chain: VerifiedChain) -> None:
    whole = Evidence(crls=[load_crl(crl(pki, place)) for place in range(3)])
    assert decided(chain, HARD, whole) == ""
    assert [each.source for each in decide_revocation(chain, whole, at=NOW, policy=HARD).findings] == ["crl"] * 3
    for place, certificate in enumerate(chain.certificates):
        lists = [load_crl(crl(pki, p, *((certificate.serial_number,) if p == place else ()))) for p in range(3)]
        assert decided(chain, SOFT, Evidence(crls=lists)) == "revoked"


def test_one_bad_word_outweighs_a_good_one_of_another_source(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    serial = chain.leaf.serial_number
    evidence = Evidence(ocsp={0: (answers["good", 0],)}, crls=[load_crl(crl(pki, 0, serial, at=OLD))])
    assert decided(chain, SOFT, evidence) == "revoked"
    both = Evidence(ocsp={0: (answers["good", 0], answers["revoked", 0])})
    assert decided(chain, SOFT, both) == "revoked"


def test_one_good_word_outweighs_old_and_strange_ones(
    pki: PkiTree, chain: VerifiedChain, answers: dict[tuple[str, int], bytes]
) -> None:
    lists = [load_crl(crl(pki, 0, at=OLD)), load_crl(crl(pki, 2))]
    leaf_only = RevocationPolicy(leaf=Fail.HARD, authorities=Fail.SOFT)
    assert decided(chain, leaf_only, Evidence(ocsp={0: (answers["stale", 0],)}, crls=lists)) == "expired"
    assert decided(chain, leaf_only, Evidence(ocsp={0: (answers["stale", 0], answers["good", 0])}, crls=lists)) == ""
