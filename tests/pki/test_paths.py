"""Paths over cross certificates, and searches that hostile certificates cannot make long."""

import base64
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pki.forge import CN, DAY, ISO, NOW, ORG, Forge, Made, Party, name, remade
from tests.pki.forge_chains import cross
from tests.together import together
from v2g.errors import CertificateError
from v2g.pki import paths
from v2g.pki.certificates import load_certificate
from v2g.pki.issue import Issuer, IssueRequest, Subject, cross_certify
from v2g.pki.paths import PathSearch
from v2g.pki.profile import Role
from v2g.pki.verify import VerifiedChain, verify_chain

BY_SHA1 = base64.b64decode(
    "MIIBEzCBugIUWbr18LvVPa841p6QovObzOUoVfAwCQYHKoZIzj0EATAMMQowCAYDVQQDDAFyMCAXDTI2MTIwMTA1MTY1N1oYDzIxMjYxMTA3MDUx"
    "NjU3WjAMMQowCAYDVQQDDAFyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEX59Wh+jXBbpj3VIXtZ1L0q11IXKVRfzNG/Lgj+lRra8oUc+jqm38"
    "WRwjQxJCcB2mEwbiJKgNoNtY5kZHb5P9fDAJBgcqhkjOPQQBA0kAMEYCIQCAk2N6KcnJeRj8XXCJMC21kCMMIcBsGk60EpDdVBq/ggIhAL5+CKkW"
    "SYScBMYi8dmrSuXPN7e2vNvkSHTkGK0N/THa"
)
"""Signed with its own key, by the command openssl."""

OLD = name((CN, "old root"), (ORG, "Forge"))


def verify(made: Made, role: Role, anchors: Sequence[bytes], crosses: Sequence[bytes] = ()) -> VerifiedChain:
    return verify_chain(made.chain[0], made.chain[1:], anchors, role=role, at=NOW, crosses=crosses)


def refusal(made: Made, role: Role, anchors: Sequence[bytes], crosses: Sequence[bytes] = ()) -> str:
    with pytest.raises(CertificateError) as error:
        verify(made, role, anchors, crosses)
    return error.value.reason


def without_path(certificate: x509.Certificate) -> CertificateError:
    """Return why a certificate that its own key seems to have signed is not accepted as a root."""
    search = PathSearch(certificate, [], [certificate])
    assert not list(search.paths())
    return search.failure()


def test_a_signature_by_sha_1_is_weak_not_wrong() -> None:
    failure = without_path(load_certificate(BY_SHA1))
    assert (failure.reason, str(failure)) == ("weak_hash", "certificate 'CN=r' is signed with sha1")


def test_a_wrong_signature_that_names_no_hash_is_wrong() -> None:
    key, other = ed448.Ed448PrivateKey.generate(), ed448.Ed448PrivateKey.generate()
    builder = x509.CertificateBuilder(OLD, OLD, key.public_key(), 1, NOW - DAY, NOW + DAY)
    assert without_path(builder.sign(other, None)).reason == "bad_signature"


# --- cross certificates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ISO)
def test_who_has_one_root_only_believes_the_other_by_its_cross_certificate(role: Role) -> None:
    """Both ways: the old root has signed the new key, and the new root the old one."""
    forge = Forge(role)
    new, old = forge.good(), forge.parties(root={"subject": OLD})
    for mine, theirs in ((old, new), (new, old)):
        anchors, link = (mine["root"].der,), cross(theirs["root"], mine["root"])
        plain = forge.shown(theirs)
        assert refusal(plain, role, anchors) == "unknown_root"
        sent = verify(forge.shown(theirs, also=(link,)), role, anchors)
        held = verify(plain, role, anchors, (link,))
        assert sent.der == held.der == (*plain.chain, link)
        assert sent.anchor == mine["root"].certificate


def test_the_shorter_path_is_taken_and_the_longer_one_where_the_shorter_is_not_believed() -> None:
    forge = Forge(Role.SECC)
    new, old = forge.good(), forge.parties(root={"subject": OLD})
    link = cross(new["root"], old["root"])
    made = forge.shown(new, also=(link,))
    both = (old["root"].der, new["root"].der)
    assert verify(made, Role.SECC, both).anchor == new["root"].certificate
    expired = forge.party("root", Role.V2G_ROOT, None, key=new["root"].key, end=NOW - DAY)
    assert expired.certificate.subject == new["root"].certificate.subject
    assert verify(made, Role.SECC, (old["root"].der, expired.der)).anchor == old["root"].certificate
    assert refusal(forge.shown(new), Role.SECC, (old["root"].der, expired.der)) == "expired"
    early = forge.parties(root={"subject": OLD, "begin": NOW + DAY})["root"]
    both = forge.shown(new, also=(cross(new["root"], early),))
    assert refusal(both, Role.SECC, (early.der, expired.der)) == "expired"  # of two the shorter


def test_a_root_that_changes_its_key_keeps_its_name() -> None:
    """New with old and old with new (RFC 4210 4.4): self-issued, so that they count in no path length."""
    forge = Forge(Role.VEHICLE)
    before, after = forge.good(), forge.fresh()
    assert before["root"].certificate.subject == after["root"].certificate.subject
    limited = forge.party("root", Role.OEM_ROOT, None, add=[(x509.BasicConstraints(ca=True, path_length=2), True)])
    for mine, theirs in ((before, after), (after, before), ({"root": limited}, after)):
        made = forge.shown(theirs, also=(cross(theirs["root"], mine["root"]),))
        assert verify(made, Role.VEHICLE, (mine["root"].der,)).anchor == mine["root"].certificate
    assert refusal(forge.shown(after), Role.VEHICLE, (before["root"].der,)) == "unknown_root"


def test_a_new_key_is_certified_by_the_old_one_without_key_identifiers() -> None:
    forge = Forge(Role.SECC)
    bare = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    before, after = forge.good()["root"], forge.fresh()
    link = remade(after["root"].certificate, before, without=bare)
    assert link.subject == link.issuer
    made = forge.shown(after, also=(link.public_bytes(serialization.Encoding.DER),))
    assert verify(made, Role.SECC, (before.der,)).certificates[-1] == link


@pytest.mark.parametrize("role", ISO)
def test_a_cross_certificate_is_judged_like_everything_else(role: Role) -> None:
    forge = Forge(role)
    new, old = forge.good(), forge.parties(root={"subject": OLD})
    request = IssueRequest(
        role=Role.CROSS,
        subject=Subject(common_name="unused"),
        public_key=new["root"].certificate.public_key(),  # type: ignore[arg-type]
        serial=7,
        not_before=NOW - 2 * DAY,
        not_after=NOW - DAY,
    )
    expired = cross_certify(new["root"].certificate, request, Issuer(old["root"].certificate, old["root"].key))
    link = expired.public_bytes(serialization.Encoding.DER)
    assert refusal(forge.shown(new, also=(link,)), role, (old["root"].der,)) == "expired"
    # Held here or sent, a sub-CA is no cross certificate: without its path length it may not stand in a chain.
    stray = forge.parties(**{forge.top: {"add": [(x509.BasicConstraints(ca=True, path_length=None), True)]}})
    assert refusal(forge.shown(stray), role, (stray["root"].der,)) == "path_length"


def test_a_cross_certificate_between_families_does_not_make_a_contract_of_a_vehicle() -> None:
    vehicle, contract = Forge(Role.VEHICLE).good(), Forge(Role.CONTRACT)
    root = contract.good()["root"]
    made = contract.shown(contract.good(), also=(cross(root, vehicle["root"]),))
    assert refusal(made, Role.CONTRACT, (vehicle["root"].der,)) == "wrong_root"


# --- bounds ----------------------------------------------------------------------------------------------------

KEYS = [ec.generate_private_key(ec.SECP521R1()) for _ in range(4)]
NAMES = [name((CN, letter)) for letter in "abcd"]


def bare(subject: int, key: int, issuer: int, signer: int, serial: int = 1) -> Party:
    """Return a CA without anything by which candidates could be told apart."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAMES[subject])
        .issuer_name(NAMES[issuer])
        .public_key(KEYS[key].public_key())
        .serial_number(serial)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return Party(builder.sign(KEYS[signer], hashes.SHA512()), KEYS[key])


@together(
    ("named", "held", "fits"),
    [
        (b"a", b"a", True),
        (b"a", b"b", False),
        (None, b"a", True),
        (b"a", None, True),
        (b"", b"a", True),
        (None, None, True),
    ],
)
def test_namesakes_are_told_apart_by_key_identifiers_where_both_have_one(
    named: bytes | None, held: bytes | None, fits: bool
) -> None:
    """RFC 5280 4.2.1.1: the authority key identifier may hold no key identifier at all (here: empty)."""
    issuer = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(NAMES[0])], 7)
    identifiers = (
        None if held is None else x509.SubjectKeyIdentifier(held),
        None if named is None else x509.AuthorityKeyIdentifier(named, None, None) if named else issuer,
    )
    authority, leaf = (
        remade(
            bare(subject, 0, 0, 0).certificate,
            bare(0, 0, 0, 0),
            add=[(identifier, False)] if identifier is not None else [],
        )
        for subject, identifier in enumerate(identifiers)
    )
    assert list(PathSearch(leaf, [], [authority]).paths()) == ([(leaf, authority)] if fits else [])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count checks of signatures."""
    count = [0]
    check = paths.signature_matches

    def counting(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
        count[0] += 1
        return check(issuer, subject)

    monkeypatch.setattr(paths, "signature_matches", counting)
    return count


def test_a_web_of_cross_certificates_is_not_searched_for_ever(counted: list[int]) -> None:
    """Every key has certified every other under every name: without bounds that is thousands of paths."""
    web = [
        bare(subject, key, issuer, signer)
        for subject in range(2)
        for issuer in range(2)
        for key in range(4)
        for signer in range(4)
        if (subject, key) != (issuer, signer)
    ]
    leaf = bare(0, 0, 1, 1, serial=99)
    search = PathSearch(leaf.certificate, [each.certificate for each in web], [])
    assert list(search.paths()) == []
    assert counted[0] <= 64
    assert search.failure().reason == "chain_too_long"
    everyone = PathSearch(leaf.certificate, [each.certificate for each in web], [web[-1].certificate] * 3)
    assert len(list(everyone.paths())) <= 3 * (1 + 64 * 3)
    assert counted[0] <= 128


def test_no_more_paths_are_followed_than_signatures_checked(counted: list[int]) -> None:
    """Eighty ways of the same length, over few certificates, of which 64 are taken."""
    layers = [
        bare(level, level, (level + 1) % 4, (level + 1) % 4, serial) for level in (1, 2, 3) for serial in range(1, 6)
    ]
    leaf, root = bare(0, 0, 1, 1, serial=99), bare(0, 0, 0, 0)
    between = [each.certificate for each in layers[:-1] if each is not layers[9]]
    found = list(PathSearch(leaf.certificate, between, [root.certificate]).paths())
    assert [len(path) for path in found] == [5] * 64
    assert counted[0] == 5 + 5 * 4 + 4 * 4 + 4


def test_one_signature_too_many_is_another_reason_than_a_wrong_one(counted: list[int]) -> None:
    """64 CAs of the right name, none of which has signed the leaf."""
    leaf = bare(0, 0, 1, 1, serial=99).certificate
    strangers = [bare(1, 2, 1, 2, serial).certificate for serial in range(1, 66)]
    for count, reason in ((64, "bad_signature"), (65, "chain_too_long")):
        search = PathSearch(leaf, strangers[:count], [])
        assert list(search.paths()) == []
        assert search.failure().reason == reason
    assert counted[0] == 2 * 64


def test_the_wrong_signature_next_to_the_leaf_is_named() -> None:
    leaf, sub = bare(0, 0, 1, 1, serial=99).certificate, bare(1, 1, 2, 2).certificate
    strangers = [bare(1, 3, 1, 3).certificate, bare(2, 3, 2, 3).certificate]
    search = PathSearch(leaf, [strangers[0], sub], [strangers[1]])
    assert list(search.paths()) == []
    assert "CN=a" in str(search.failure())


def test_a_key_may_have_two_names() -> None:
    """A CA that was renamed certifies its old name."""
    path = (bare(0, 0, 1, 1), bare(1, 1, 2, 1), bare(2, 1, 3, 2), bare(3, 2, 3, 2))
    leaf, old, new, root = (each.certificate for each in path)
    assert list(PathSearch(leaf, [new, old], [root]).paths()) == [(leaf, old, new, root)]


def test_a_root_above_four_cas_is_too_far_away() -> None:
    line = [bare(0, 0, 1, 1), bare(1, 1, 2, 2), bare(2, 2, 3, 3), bare(3, 3, 0, 1), bare(0, 1, 1, 2), bare(1, 2, 1, 2)]
    leaf, *between, root = (each.certificate for each in line)
    assert list(PathSearch(leaf, between, [root]).paths()) == []
    assert [len(path) for path in PathSearch(between[0], between[1:], [root]).paths()] == [5]


edges = st.lists(st.tuples(*[st.integers(0, 1), st.integers(0, 3)] * 2), max_size=8)


@settings(max_examples=25, deadline=None)
@given(sent=edges, held=edges, roots=edges)
def test_whatever_is_thrown_at_it_a_search_ends_with_real_paths(
    sent: list[tuple[int, ...]], held: list[tuple[int, ...]], roots: list[tuple[int, ...]]
) -> None:
    leaf = bare(0, 0, 1, 1, serial=99).certificate
    between = [bare(*each).certificate for each in (*sent, *held)]
    anchors = [bare(*each).certificate for each in roots]
    lengths = []
    for path in PathSearch(leaf, between, anchors).paths():
        assert path[0] == leaf
        assert path[-1] in anchors
        assert len(path) <= 5
        for below, above in pairwise(path):
            below.verify_directly_issued_by(above)
        assert len({(each.subject, each.public_key().public_numbers()) for each in path[:-1]}) == len(path) - 1  # type: ignore[union-attr]
        lengths.append(len(path))
    assert lengths == sorted(lengths)
