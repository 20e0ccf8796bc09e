"""What is revoked is revoked everywhere at once: index, CRL, stapled answer."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from pki_tools.renewal import Renewal, refresh_crls, renew_certificate, revoke_certificate
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki, refresh_staple
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import ConfigError, RevocationError
from v2g.pki.crl import check_crl, load_crl
from v2g.pki.ocsp import check_ocsp


def load(tree: PkiTree, leaf: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in tree.chain(leaf)]


def crl_reason(tree: PkiTree, crl: str, leaf: str) -> str:
    certificate, issuer = load(tree, leaf)[:2]
    try:
        check_crl(load_crl(tree.path(crl).read_bytes()), certificate, issuer, NOW)
    except RevocationError as error:
        return error.reason
    return "good"


def test_list_and_answer_say_so_with_time_and_reason(tree: PkiTree, openssl: Openssl) -> None:
    since = NOW - timedelta(hours=5)
    assert crl_reason(tree, "mo/sub2.crl", "contract") == "good"
    done = revoke_certificate(tree.directory, name="contract", reason="key_compromise", since=since, at=NOW)
    assert set(done.files) == {"mo/sub2.crl", "contract/ocsp.der"}
    assert crl_reason(tree, "mo/sub2.crl", "contract") == "revoked"
    assert crl_reason(tree, "mo/sub2.crl", "contract-2") == "good"
    (entry,) = x509.load_der_x509_crl(tree.path("mo/sub2.crl").read_bytes())
    assert entry.revocation_date_utc == since
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    (answer,) = ocsp.load_der_ocsp_response(tree.staple("contract")).responses
    assert (answer.revocation_time_utc, answer.revocation_reason) == (since, x509.ReasonFlags.key_compromise)
    with pytest.raises(RevocationError) as error:
        check_ocsp(tree.staple("contract"), *load(tree, "contract")[:2], NOW)
    assert error.value.reason == "revoked"
    chain, root = tree.path("contract/chain.pem"), tree.path("mo/root.pem")
    lists = [part for name in ("root", "sub1", "sub2") for part in ("-CRLfile", tree.path(f"mo/{name}.crl"))]
    said = openssl("verify", "-crl_check_all", *lists, "-CAfile", root, "-untrusted", chain, chain, check=False)
    assert "certificate revoked" in said.stderr


def test_the_list_that_openssl_reads_is_signed_by_its_authority(tree: PkiTree, openssl: Openssl) -> None:
    revoke_certificate(tree.directory, name="secc", at=NOW)
    for name in ("v2g/root", "cpo/sub1", "cpo/sub2", "oem/sub2", "mo/sub2", "cps/sub2", "csms/root"):
        done = openssl("crl", "-in", tree.path(f"{name}.crl"), "-CAfile", tree.path(f"{name}.pem"), "-noout", "-text")
        assert "verify OK" in done.stderr
        assert ("Serial Number" in done.stdout) == (name == "cpo/sub2")


def test_a_revoked_authority_is_in_its_issuers_list(tree: PkiTree) -> None:
    revoke_certificate(tree.directory, name="cpo/sub2", reason="ca_compromise", at=NOW)
    crl = x509.load_der_x509_crl(tree.path("cpo/sub1.crl").read_bytes())
    serial = int(tree.index().find("cpo/sub2").serial, 16)
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    with pytest.raises(ConfigError, match="revoked"):
        renew_certificate(tree.directory, "secc", Renewal(), at=NOW)
    renew_certificate(tree.directory, "cpo/sub2", Renewal(below=True), at=NOW)
    assert crl_reason(tree, "cpo/sub2.crl", "secc") == "good"


def test_a_former_certificate_is_revoked_by_its_serial_number(tree: PkiTree) -> None:
    old, issuer = load(tree, "secc")[:2]
    renew_certificate(tree.directory, "secc", Renewal(), at=NOW)
    revoke_certificate(tree.directory, serial=f"{old.serial_number:X}", reason="superseded", at=NOW)
    with pytest.raises(RevocationError) as error:
        check_ocsp(tree.staple(), old, issuer, NOW)
    assert error.value.reason == "revoked"
    check_ocsp(tree.staple(), load(tree, "secc")[0], issuer, NOW)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "v2g/root"}, "is a root"),
        ({"name": "nobody"}, "no certificate named"),
        ({"serial": "abc"}, "no certificates have the serial"),
        ({"name": "secc", "reason": "bored"}, "unknown reason"),
        ({"name": "secc", "since": NOW + timedelta(days=1)}, "in the future"),
    ],
)
def test_what_cannot_be_revoked_is_named(tree: PkiTree, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        revoke_certificate(tree.directory, at=NOW, **options)  # type: ignore[arg-type]


def test_nothing_is_revoked_twice(tree: PkiTree) -> None:
    revoke_certificate(tree.directory, name="secc", at=NOW)
    with pytest.raises(ConfigError, match="has been revoked since"):
        revoke_certificate(tree.directory, name="secc", at=NOW)


def test_a_list_whose_key_is_elsewhere_waits_for_it_and_answers_do_not(tree: PkiTree) -> None:
    tree.path("cpo/sub2.key").rename(tree.path("elsewhere.key"))
    done = revoke_certificate(tree.directory, name="secc", at=NOW)
    assert (done.waiting, done.files) == ("cpo/sub2", ("secc/ocsp.der",))
    assert crl_reason(tree, "cpo/sub2.crl", "secc") == "good"
    tree.path("elsewhere.key").rename(tree.path("cpo/sub2.key"))
    assert "cpo/sub2.crl" in refresh_crls(tree.directory, at=NOW)
    assert crl_reason(tree, "cpo/sub2.crl", "secc") == "revoked"


def test_a_tree_made_with_a_revoked_leaf_says_so_everywhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = PkiOptions(secc=TreeFault.REVOKED)
    tree = make_pki(tmp_path_factory.mktemp("revoked"), now=NOW, options=options)
    assert crl_reason(tree, "cpo/sub2.crl", "secc") == "revoked"
    refresh_staple(tree, now=NOW)
    with pytest.raises(RevocationError):
        check_ocsp(tree.staple(), *load(tree, "secc")[:2], NOW)


def test_programs_that_change_a_tree_at_the_same_time_lose_nothing(tree: PkiTree) -> None:
    names = ["secc", "contract", "contract-2", "contract-3", "cps", "vehicle"]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: revoke_certificate(tree.directory, name=name, at=NOW), names))
    assert {entry.name for entry in tree.index().entries if entry.revoked_at} == set(names)
