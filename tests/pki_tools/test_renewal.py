"""Renewal overlaps: what ran with the old certificate goes on, and whoever asks gets good for both."""

import threading
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pki_tools.issuing import make_request, read_request
from pki_tools.renewal import Renewal, renew_certificate, revoke_certificate
from pki_tools.tree import PkiTree, refresh_staple
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.credentials import load_credentials
from v2g.pki.issue import Subject
from v2g.pki.keys import load_private_key
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

LATER = NOW + timedelta(days=40)
PLAIN = Renewal()


def load(tree: PkiTree, leaf: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in tree.chain(leaf)]


def believed(tree: PkiTree, leaf: str, *roots: str, role: Role, at: datetime) -> None:
    chain = tree.chain(leaf)
    verify_chain(chain[0], chain[1:], tree.anchors(*roots), role=role, at=at)


def test_a_leaf_is_renewed_while_the_old_one_stays_good(tree: PkiTree) -> None:
    old, issuer = load(tree, "secc")[:2]
    (issued,) = renew_certificate(tree.directory, "secc", PLAIN, at=LATER)
    new = load(tree, "secc")[0]
    assert new.subject == old.subject
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert new.public_key() != old.public_key()
    assert tree.credentials("secc").leaf == tree.chain("secc")[0]
    believed(tree, "secc", "v2g", role=Role.SECC, at=LATER)
    kept = load_credentials(
        tree.path(issued.former).with_name("chain.pem"), tree.path(issued.former).with_suffix(".key")
    )
    assert x509.load_der_x509_certificate(kept.leaf) == old
    # A charger that still runs with the old one has an answer to staple, too, in the same file.
    for certificate in (old, new):
        check_ocsp(tree.staple(), certificate, issuer, LATER)
    assert refresh_staple(tree, now=LATER + timedelta(days=1)) == tree.staple()
    for certificate in (old, new):
        check_ocsp(tree.staple(), certificate, issuer, LATER + timedelta(days=2))


def test_the_same_key_can_be_certified_again(tree: PkiTree) -> None:
    old = load(tree, "contract")[0]
    renew_certificate(tree.directory, "contract", Renewal(keep_key=True, days=100), at=LATER)
    new = load(tree, "contract")[0]
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert (new.not_valid_after_utc - LATER).days == 100


def test_a_certificate_of_a_foreign_key_is_renewed_by_a_request(tree: PkiTree) -> None:
    key = load_private_key(tree.path("vehicle/leaf.key"))
    tree.path("vehicle/leaf.key").unlink()
    with pytest.raises(ConfigError) as error:
        renew_certificate(tree.directory, "vehicle", PLAIN, at=LATER)
    assert "--csr" in error.value.hint
    request = read_request(make_request(key, Role.VEHICLE, Subject(common_name="x")), Role.VEHICLE).request
    renew_certificate(tree.directory, "vehicle", Renewal(request=request), at=LATER)
    new = load(tree, "vehicle")[0]
    assert new.public_key() == key.public_key()
    assert new.subject.rfc4514_string().endswith("CN=WMIV2GENGINE0000001X")  # the authority decides, not the request


def test_server_names_survive_renewal(tree: PkiTree) -> None:
    old = load(tree, "csms/server")[0].extensions.get_extension_for_class(x509.SubjectAlternativeName)
    renew_certificate(tree.directory, "csms/server", PLAIN, at=LATER)
    assert load(tree, "csms/server")[0].extensions.get_extension_for_class(x509.SubjectAlternativeName) == old


def test_a_sub_ca_gets_a_new_key_and_its_former_one_goes_on(tree: PkiTree, openssl: Openssl) -> None:
    before = tree.chain("secc")
    former = load(tree, "secc")[1]
    issued = renew_certificate(tree.directory, "cpo/sub2", PLAIN, at=LATER)
    assert [each.entry.name for each in issued] == ["cpo/sub2", "cpo/ocsp"]
    current = x509.load_pem_x509_certificate(tree.path("cpo/sub2.pem").read_bytes())
    assert current.public_key() != former.public_key()
    # Leaves keep their chain over the former key, with answers by its responder ...
    assert tree.chain("secc") == before
    believed(tree, "secc", "v2g", role=Role.SECC, at=LATER)
    refresh_staple(tree, now=LATER)
    check_ocsp(tree.staple(), load(tree, "secc")[0], former, LATER)
    # ... until they are renewed.
    renew_certificate(tree.directory, "secc", PLAIN, at=LATER)
    leaf, issuer = load(tree, "secc")[:2]
    assert issuer == current
    check_ocsp(tree.staple(), leaf, current, LATER)
    believed(tree, "secc", "v2g", role=Role.SECC, at=LATER)
    chain = tree.path("secc/chain.pem")
    openssl(
        "verify", "-attime", int(LATER.timestamp()), "-CAfile", tree.path("v2g/root.pem"), "-untrusted", chain, chain
    )


def test_everything_below_can_be_renewed_at_once_but_for_what_is_revoked(tree: PkiTree) -> None:
    revoke_certificate(tree.directory, name="contract-3", at=LATER)
    issued = renew_certificate(tree.directory, "mo/sub1", Renewal(below=True), at=LATER)
    names = {each.entry.name for each in issued}
    assert names == {"mo/sub1", "mo/sub1-ocsp", "mo/sub2", "mo/ocsp", "contract", "contract-2"}
    for leaf in ("contract", "contract-2"):
        believed(tree, leaf, "mo", role=Role.CONTRACT, at=LATER)
        check_ocsp(tree.staple(leaf), *load(tree, leaf)[:2], LATER)
    new = x509.load_pem_x509_certificate(tree.path("mo/sub1.pem").read_bytes())
    assert load(tree, "contract")[2] == new


def test_a_sub_ca_that_keeps_its_key_gets_into_the_chains_below(tree: PkiTree) -> None:
    keys = {leaf: tree.path(f"{leaf}/leaf.key").read_bytes() for leaf in ("secc", "meter")}
    old = load(tree, "secc")
    renew_certificate(tree.directory, "cpo/sub2", Renewal(keep_key=True), at=LATER)
    new = load(tree, "secc")
    assert (new[0], new[2]) == (old[0], old[2])
    assert new[1].serial_number != old[1].serial_number
    assert new[1].public_key() == old[1].public_key()
    for leaf, role in (("secc", Role.SECC), ("meter", Role.METER)):
        believed(tree, leaf, "v2g", role=role, at=LATER)
        assert tree.path(f"{leaf}/leaf.key").read_bytes() == keys[leaf]
    check_ocsp(tree.staple(), *new[:2], NOW)


def test_a_root_with_a_new_key_is_believed_through_either(tree: PkiTree, openssl: Openssl) -> None:
    (former,) = tree.anchors("v2g")
    renew_certificate(tree.directory, "v2g/root", PLAIN, at=LATER)
    renew_certificate(tree.directory, "cpo/sub1", Renewal(below=True), at=LATER)
    chain = tree.chain("secc")
    new_by_former, former_by_new = (
        x509.load_pem_x509_certificate(tree.path(f"v2g/root-{word}.pem").read_bytes())
        for word in ("new-by-former", "former-by-new")
    )
    cross = new_by_former.public_bytes(Encoding.DER)
    options = {"role": Role.SECC, "at": LATER}
    verify_chain(chain[0], chain[1:], tree.anchors("v2g"), **options)  # type: ignore[arg-type]
    verify_chain(chain[0], (*chain[1:], cross), (former,), **options)  # type: ignore[arg-type]
    # And the other way round: who has only the new root believes what the former key signed.
    cps, back = tree.chain("cps"), former_by_new.public_bytes(Encoding.DER)
    verify_chain(cps[0], cps[1:], tree.anchors("v2g"), role=Role.CPS, at=LATER, crosses=(back,))
    crosses, file = tree.path("v2g/root-new-by-former.pem"), tree.path("secc/chain.pem")
    old_root = tree.path("v2g/versions/root/1/root.pem")
    at = ("-attime", int(LATER.timestamp()))
    openssl("verify", *at, "-CAfile", old_root, "-untrusted", crosses, "-untrusted", file, file)


def test_cross_certificates_are_not_renewed_by_themselves(tree: PkiTree) -> None:
    with pytest.raises(ConfigError, match="cross certificate"):
        renew_certificate(tree.directory, "cross/oem-by-v2g", PLAIN, at=LATER)


def test_without_the_authoritys_key_nothing_changes(tree: PkiTree) -> None:
    tree.path("cpo/sub1.key").unlink()
    before = tree.index(), tree.chain("secc")
    with pytest.raises(KeyAccessError):
        renew_certificate(tree.directory, "cpo/sub2", Renewal(below=True), at=LATER)
    assert (tree.index(), tree.chain("secc")) == before


def test_programs_that_start_while_certificates_are_renewed_find_a_pair(tree: PkiTree) -> None:
    failures, loaded, stop = [], set(), threading.Event()

    def start() -> None:
        while not stop.is_set():
            try:
                loaded.add(tree.credentials("secc").leaf)
            except Exception as error:  # noqa: BLE001 - whatever it is, a program would not have started
                failures.append(error)

    reader = threading.Thread(target=start)
    reader.start()
    for number in range(12):
        renew_certificate(tree.directory, "secc", PLAIN, at=NOW + timedelta(minutes=number))
    stop.set()
    reader.join()
    assert not failures
    assert len(loaded) > 1
