"""Chains that are believed, and every way in which one is not."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.pki.chains import LEAVES, ROLES, ROOTS, der, issuer_of, own_contract, refusal
from tests.pki.forge import DAY, NOW, Forge, Made
from v2g.errors import CERTIFICATE_REASONS, CertificateError, CertificateReason
from v2g.io.tls.peer_verifier import VERIFY_CODES
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.profile import KeyKind, Role
from v2g.pki.verify import verify_chain


def judged(made: Made, *, at: datetime = NOW, **options: Any) -> str:
    """Return for which reason a charger's chain is refused, or nothing."""
    try:
        verify_chain(made.chain[0], made.chain[1:], made.anchors, role=Role.SECC, at=at, **options)
    except CertificateError as error:
        return error.reason
    return ""


# --- believed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leaf", "roots", "role"), LEAVES)
@pytest.mark.parametrize("interop", [False, True])
def test_every_chain_of_a_tree_is_believed(
    pki: PkiTree, leaf: str, roots: tuple[str, ...], role: Role, interop: bool
) -> None:
    """For interop in any order."""
    chain = pki.chain(leaf)
    order = -1 if interop else 1
    verified = verify_chain(chain[0], chain[1:][::order], pki.anchors(*roots), role=role, at=NOW, interop=interop)
    assert verified.der == chain
    assert verified.leaf_issuer == ([*verified.certificates, verified.anchor])[1]
    assert der(verified.anchor) in pki.anchors(*roots)
    assert verified.subject_cn


@pytest.mark.parametrize("kind", [KeyKind.ED448, KeyKind.SECP256R1])
def test_ed448_is_part_of_the_standard_and_p256_of_interop_only(tmp_path: Path, kind: KeyKind) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=kind))
    for leaf in ("secc", "vehicle", "contract"):
        chain = tree.chain(leaf)
        options = {"role": ROLES[leaf], "at": NOW}
        verify_chain(chain[0], chain[1:], tree.anchors(*ROOTS[leaf]), interop=True, **options)
        if kind is KeyKind.ED448:
            verify_chain(chain[0], chain[1:], tree.anchors(*ROOTS[leaf]), **options)
        else:
            assert refusal(tree, leaf) == "wrong_curve"


def test_extensions_that_annex_b_marks_critical_are_understood(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(annex_b_critical=True))
    for leaf, roots, role in LEAVES:
        chain = tree.chain(leaf)
        verify_chain(chain[0], chain[1:], tree.anchors(*roots), role=role, at=NOW)


def test_roots_sent_along_are_ignored(pki: PkiTree) -> None:
    """They do not count among the three CAs that may come along."""
    chain = pki.chain("secc")
    root, *others = pki.anchors("v2g", "oem", "mo")
    assert verify_chain(chain[0], [*chain[1:], root, *others], [root], role=Role.SECC, at=NOW).der == chain


def test_a_contract_gives_its_emaid_as_it_is_compared(pki: PkiTree) -> None:
    chain = own_contract(pki, subject=Subject(common_name="de-v2g-c00000003-x", organization="eMSP"))
    verified = verify_chain(chain[0], chain[1:], pki.anchors("mo"), role=Role.CONTRACT, at=NOW)
    assert verified.emaid == "DEV2GC00000003X"
    assert verified.subject_cn == "de-v2g-c00000003-x"


def test_a_contract_may_hang_below_the_v2g_root_and_below_one_sub_ca(pki: PkiTree) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    root = issuer_of(pki, "v2g/root")
    subject = Subject(common_name="MO sub", organization="MO")
    begin = NOW - timedelta(days=1)
    request = IssueRequest(role=Role.MO_SUB2, subject=subject, public_key=key.public_key(), serial=5, not_before=begin)
    sub = issue(request, root)
    contract = ec.generate_private_key(ec.SECP521R1())
    leaf = issue(
        IssueRequest(
            role=Role.CONTRACT,
            subject=Subject(common_name="DEV2GC00000009", organization="MO"),
            public_key=contract.public_key(),
            serial=6,
            not_before=begin,
            crl_url="http://crl.invalid",
        ),
        Issuer(sub, key),
    )
    assert verify_chain(der(leaf), [der(sub)], pki.anchors("v2g"), role=Role.CONTRACT, at=NOW).emaid


# --- expired, early, foreign -----------------------------------------------------------------------------------


def test_a_missing_link_is_an_unknown_root(pki: PkiTree) -> None:
    leaf, sub2, sub1 = pki.chain("contract")
    for chain in ((leaf,), (leaf, sub1), (leaf, sub2)):
        assert refusal(pki, "contract", chain=chain) == "unknown_root"
    assert refusal(pki, "contract", anchors=()) == "unknown_root"


def test_mo_roots_never_anchor_tls_and_oem_roots_never_a_contract(pki: PkiTree) -> None:
    assert refusal(pki, "contract", role=Role.VEHICLE, anchors=pki.anchors("mo")) == "wrong_root"
    assert refusal(pki, "contract", role=Role.SECC, anchors=pki.anchors("mo")) == "wrong_root"
    assert refusal(pki, "vehicle", role=Role.CONTRACT, anchors=pki.anchors("oem")) == "wrong_root"


def test_the_first_and_the_last_second_are_valid_and_those_beside_them_are_not() -> None:
    made = Forge(Role.SECC).made(leaf={"begin": NOW - DAY, "end": NOW + DAY})
    for at, reason in ((-1, "not_yet_valid"), (0, ""), (2 * 86_400, ""), (2 * 86_400 + 1, "expired")):
        assert judged(made, at=NOW - DAY + timedelta(seconds=at)) == reason


def test_serial_numbers_are_remembered_by_issuer_and_key() -> None:
    """RFC 5280 4.1.2.2. A CA of the same name with another key has numbers of its own."""
    forge, other = Forge(Role.SECC), Forge(Role.SECC).fresh()
    first, twin = (forge.made(leaf={"serial": 7}) for _ in range(2))
    namesake = forge.shown({**other, "leaf": forge.party("leaf", Role.SECC, other["sub2"], serial=7)})
    seen = verify_chain(first.chain[0], first.chain[1:], first.anchors, role=Role.SECC, at=NOW).serials
    assert {serial for _, serial in seen} == {
        x509.load_der_x509_certificate(each).serial_number for each in first.chain
    }
    assert {hashlib.sha256(each).digest() for each in first.chain} == set(seen.values())
    assert judged(first, seen=seen) == ""
    assert judged(twin, seen=seen) == "serial_reuse"
    assert judged(namesake, seen=seen) == ""


def test_a_leaf_that_comes_twice_is_no_ca_in_the_wrong_place() -> None:
    made = Forge(Role.SECC).made()
    assert judged(msgspec.structs.replace(made, chain=(*made.chain, made.chain[0]))) == ""


@pytest.mark.parametrize("interop", [False, True])
def test_a_leaf_that_comes_after_a_ca_is_named_as_that(interop: bool) -> None:
    leaf, sub2, sub1 = (made := Forge(Role.SECC).made()).chain
    mixed = msgspec.structs.replace(made, chain=(sub2, leaf, sub1))
    assert judged(mixed, interop=interop) == "chain_out_of_order"


def test_a_contract_right_below_its_root_is_refused_by_its_name() -> None:
    forge = Forge(Role.CONTRACT)
    root = forge.good()["root"]
    leaf = forge.party("leaf", Role.CONTRACT, root)
    with pytest.raises(CertificateError, match=r"CN=DEV2GC00000042.*no sub-CA above it"):
        verify_chain(leaf.der, (), (root.der,), role=Role.CONTRACT, at=NOW)


# --- signatures ------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 2), position=st.integers(0, 5000), bit=st.integers(0, 7))
def test_no_flipped_bit_anywhere_in_a_chain_is_believed(pki: PkiTree, which: int, position: int, bit: int) -> None:
    chain = [bytearray(each) for each in pki.chain("contract")]
    chain[which][position % len(chain[which])] ^= 1 << bit
    with pytest.raises(CertificateError):
        verify_chain(
            bytes(chain[0]), [bytes(each) for each in chain[1:]], pki.anchors("mo"), role=Role.CONTRACT, at=NOW
        )


def test_a_tampered_leaf_has_a_bad_signature(pki: PkiTree) -> None:
    chain = pki.chain("secc")
    tampered = chain[0].replace(b"DEV2GS", b"DEXXXS")
    assert tampered != chain[0]
    assert refusal(pki, "secc", chain=(tampered, *chain[1:])) == "bad_signature"


# --- garbage ---------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=400))
def test_anything_that_is_no_certificate_is_malformed(data: bytes) -> None:
    for leaf, subs, roots in ((data, [], []),):
        with pytest.raises(CertificateError) as error:
            verify_chain(leaf, subs, roots, role=Role.SECC, at=NOW)
        assert error.value.reason == "malformed"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_certificate_is_only_ever_a_certificate_error(pki: PkiTree, data: st.DataObject) -> None:
    leaf = bytearray(pki.chain("secc")[0])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(leaf) - 1))
        cut = data.draw(st.integers(0, 3))
        leaf[position : position + cut] = data.draw(st.binary(max_size=4))
    if bytes(leaf) == pki.chain("secc")[0]:
        return
    with pytest.raises(CertificateError):
        verify_chain(bytes(leaf), pki.chain("secc")[1:], pki.anchors("v2g"), role=Role.SECC, at=NOW)


def test_every_reason_has_a_meaning_and_a_tls_alert() -> None:
    assert list(CERTIFICATE_REASONS) == list(get_args(CertificateReason))
    assert set(VERIFY_CODES) == set(CERTIFICATE_REASONS)
