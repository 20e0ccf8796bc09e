"""A tree is shown as a person reads it, and a chain judged with the word of the rule that broke."""

from datetime import timedelta

import pytest

from pki_tools.judge import ChainCase, judge, read_lists, tree_anchors, tree_lists
from pki_tools.renewal import Renewal, renew_certificate, revoke_certificate
from pki_tools.show import TreeLine, overview
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from tests.pki_tools.conftest import NOW
from v2g.errors import CertificateError, RevocationError
from v2g.pki.certificates import chain_from_pem
from v2g.pki.crl import load_crls
from v2g.pki.profile import Role


def lines(tree: PkiTree, *, days: float = 0, everything: bool = False) -> list[TreeLine]:
    return list(overview(tree.directory, tree.index(), at=NOW + timedelta(days=days), everything=everything))


def one(tree: PkiTree, name: str, *, days: float = 0) -> TreeLine:
    (line,) = (line for line in lines(tree, days=days) if line.name == name)
    return line


def test_every_certificate_stands_once_below_its_issuer(pki: PkiTree) -> None:
    shown = lines(pki)
    assert sorted(line.name for line in shown) == sorted(entry.name for entry in pki.index().entries)
    above: list[str] = []
    for line in shown:
        del above[line.depth :]
        issuer = pki.index().authority(next(e.issuer for e in pki.index().entries if e.name == line.name))
        assert issuer is not None
        assert above[-1:] == ([issuer.name] if line.depth else [])
        above.append(line.name)
    assert {line.state for line in shown} == {"valid"}
    assert [line.name for line in shown if line.depth == 0] == ["v2g/root", "oem/root", "mo/root", "csms/root"]


def test_what_ends_soon_is_due_and_what_lies_beside_says_how_long_it_lasts(pki: PkiTree) -> None:
    assert one(pki, "secc", days=45).state == "valid"
    assert one(pki, "secc", days=51).state == "due"
    assert one(pki, "secc", days=61).state == "expired"
    assert one(pki, "secc", days=61).days < 0
    assert one(pki, "secc", days=-1).state == "not_yet_valid"
    secc, sub2 = one(pki, "secc"), one(pki, "cpo/sub2")
    assert secc.ocsp_until is not None
    assert (secc.ocsp_until - NOW).days in (6, 7)
    assert secc.crl_until is None
    assert sub2.crl_until is not None
    assert sub2.ocsp_until is None


def test_what_was_replaced_shows_while_it_is_good_and_what_was_revoked_says_why(tree: PkiTree) -> None:
    renew_certificate(tree.directory, "secc", Renewal(), at=NOW + timedelta(days=30))
    revoke_certificate(tree.directory, name="contract", reason="key_compromise", at=NOW)
    tree.path("vehicle/leaf.key").unlink()
    assert [line.state for line in lines(tree, days=31) if line.name == "secc"] == ["replaced", "valid"]
    assert [line.state for line in lines(tree, days=61) if line.name == "secc"] == ["valid"]
    both = [line.state for line in lines(tree, days=61, everything=True) if line.name == "secc"]
    assert both == ["expired", "valid"]
    contract = one(tree, "contract")
    assert (contract.state, contract.reason) == ("revoked", "key_compromise")
    assert not one(tree, "vehicle").key


def case(tree: PkiTree, leaf: str, role: Role, **more: object) -> ChainCase:
    index = tree.index()
    options = {"anchors": tree_anchors(tree.directory, index)} | more
    return ChainCase(chain=tree.chain(leaf), role=role, **options)  # type: ignore[arg-type]


def test_a_chain_is_believed_with_all_evidence_at_hand(pki: PkiTree) -> None:
    lists = tree_lists(pki.directory, pki.index())
    found = judge(case(pki, "secc", Role.SECC, crls=lists, ocsp=pki.staple()), at=NOW)
    assert [(finding.source, finding.reason) for finding in found.findings] == [
        ("ocsp", None),
        ("crl", None),
        ("crl", None),
    ]
    assert found.path[-1].endswith("CN=V2G Engine V2G ROOT")


def test_cross_certificates_lead_to_the_v2g_root(pki: PkiTree) -> None:
    for leaf, role, cross in (("vehicle", Role.VEHICLE, "oem"), ("contract", Role.CONTRACT, "mo")):
        anchors = pki.anchors("v2g")
        with pytest.raises(CertificateError) as error:
            judge(case(pki, leaf, role, anchors=anchors), at=NOW)
        assert error.value.reason == "unknown_root"
        der = chain_from_pem(pki.path(f"cross/{cross}-by-v2g.pem").read_bytes())
        assert len(judge(case(pki, leaf, role, anchors=anchors, crosses=der), at=NOW).path) == 5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (TreeFault.EXPIRED, "expired"),
        (TreeFault.NOT_YET_VALID, "not_yet_valid"),
        (TreeFault.FOREIGN_ROOT, "unknown_root"),
        (TreeFault.REVOKED, "revoked"),
    ],
)
def test_the_rule_that_broke_is_named(tmp_path_factory: pytest.TempPathFactory, fault: TreeFault, reason: str) -> None:
    tree = make_pki(tmp_path_factory.mktemp("bad"), now=NOW, options=PkiOptions(secc=fault))
    with pytest.raises((CertificateError, RevocationError)) as error:
        judge(case(tree, "secc", Role.SECC, crls=tree_lists(tree.directory, tree.index())), at=NOW)
    assert error.value.reason == reason  # type: ignore[attr-defined]


def test_evidence_that_is_given_must_be_good(pki: PkiTree) -> None:
    with pytest.raises(RevocationError) as error:
        judge(case(pki, "secc", Role.SECC, ocsp=pki.staple("contract")), at=NOW)
    assert error.value.reason in ("wrong_certificate", "bad_signature")
    with pytest.raises(RevocationError) as error:  # though the lists say that it is good
        judge(case(pki, "secc", Role.SECC, ocsp=b"rubbish", crls=tree_lists(pki.directory, pki.index())), at=NOW)
    assert error.value.reason == "malformed"
    with pytest.raises(RevocationError) as error:
        judge(case(pki, "secc", Role.SECC, ocsp=pki.staple()), at=NOW + timedelta(days=8))
    assert error.value.reason == "expired"
    with pytest.raises(RevocationError) as error:
        judge(case(pki, "secc", Role.SECC, crls=load_crls(pki.path("mo/sub2.crl").read_bytes())), at=NOW)
    assert error.value.reason == "missing"
    with pytest.raises(RevocationError, match=r"v2g/root\.pem"):
        read_lists([pki.path("v2g/root.pem")])
