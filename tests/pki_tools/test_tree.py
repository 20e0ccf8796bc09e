import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki, refresh_staple
from v2g.errors import ConfigError, RevocationError
from v2g.pki.ocsp import check_ocsp
from v2g.pki.profile import KeyKind, Role

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def certificates(tree: PkiTree, leaf: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in tree.chain(leaf)]


@openssl
@pytest.mark.parametrize(
    ("leaf", "root", "purpose"),
    [
        ("secc", "v2g", "sslserver"),
        ("vehicle", "oem", "sslclient"),
        ("provisioning", "oem", "any"),
        ("contract", "mo", "any"),
        ("meter", "v2g", "any"),
        ("csms/server", "csms", "sslserver"),
        ("csms/station", "csms", "sslclient"),
        ("csms/gateway", "csms", "sslclient"),
        ("csms/broker", "csms", "sslserver"),
    ],
)
def test_openssl_accepts_every_chain_in_strict_mode(pki: PkiTree, leaf: str, root: str, purpose: str) -> None:
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(pki.path(f"{root}/root.pem"))]
    command += ["-untrusted", str(pki.path(f"{leaf}/chain.pem")), str(pki.path(f"{leaf}/leaf.pem"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@openssl
@pytest.mark.parametrize(("leaf", "ca", "root"), [("secc", "cpo", "v2g"), ("contract", "mo", "mo")])
def test_openssl_believes_the_ocsp_answer(pki: PkiTree, leaf: str, ca: str, root: str, tmp_path: Path) -> None:
    subs = tmp_path / "subs.pem"
    subs.write_bytes(pki.path(f"{ca}/sub2.pem").read_bytes() + pki.path(f"{ca}/sub1.pem").read_bytes())
    command = ["openssl", "ocsp", "-respin", str(pki.path(f"{leaf}/ocsp.der")), "-no_nonce"]
    command += ["-issuer", str(pki.path(f"{ca}/sub2.pem")), "-sha256", "-cert", str(pki.path(f"{leaf}/leaf.pem"))]
    command += ["-CAfile", str(pki.path(f"{root}/root.pem")), "-verify_other", str(subs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Response verify OK" in done.stderr
    assert "leaf.pem: good" in done.stdout


def test_every_key_is_for_its_owner_only(pki: PkiTree) -> None:
    keys = list(pki.directory.rglob("*.key"))
    assert len(keys) > 15
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_every_certificate_of_the_standard_is_secp521r1_with_sha512_and_fits_its_schema(pki: PkiTree) -> None:
    for leaf in ("secc", "vehicle", "provisioning", "contract"):
        for certificate, der in zip(certificates(pki, leaf), pki.chain(leaf), strict=True):
            key = certificate.public_key()
            assert key.curve.name == "secp521r1"
            assert certificate.signature_hash_algorithm is not None
            assert certificate.signature_hash_algorithm.name == "sha512"
            # Those that travel in messages keep the cap of -2, which some peers still apply; -20 allows twice as much.
            assert len(der) <= (1600 if leaf in ("secc", "vehicle") else 800)


def test_credentials_hold_the_leafs_own_key(pki: PkiTree) -> None:
    for leaf in ("secc", "vehicle", "contract", "meter", "csms/station"):
        credentials = pki.credentials(leaf)
        assert x509.load_der_x509_certificate(credentials.leaf).public_key() == pki.key(leaf).public_key


def test_names_of_subjects_are_what_the_options_say(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(evcc_id="WMI00000000000000001", station_id="CS-7"))
    assert certificates(tree, "vehicle")[0].subject.rfc4514_string() == "O=V2G Engine Operator,CN=WMI00000000000000001"
    assert "CN=CS-7" in certificates(tree, "csms/station")[0].subject.rfc4514_string()


def test_an_interop_tree_is_on_p256(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(key_kind=KeyKind.SECP256R1))
    certificate = certificates(tree, "secc")[1]
    assert certificate.public_key().curve.name == "secp256r1"
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"


@pytest.mark.parametrize("fault", list(TreeFault))
def test_every_fault_can_be_made(tmp_path: Path, fault: TreeFault) -> None:
    tree = make_pki(tmp_path, now=NOW, options=PkiOptions(secc=fault, vehicle=fault, contract=fault))
    assert (tree.directory / "foreign").exists() == (fault is TreeFault.FOREIGN_ROOT)
    assert len(tree.chain("secc")) == 3


def test_a_staple_can_be_renewed(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW)
    leaf, issuer = certificates(tree, "secc")[:2]
    later = NOW + timedelta(days=8)
    with pytest.raises(RevocationError) as error:
        check_ocsp(tree.staple(), leaf, issuer, later)
    assert error.value.reason == "expired"
    assert refresh_staple(tree, now=later) == tree.staple()
    check_ocsp(tree.staple(), leaf, issuer, later)


def test_a_folder_without_a_pki_is_named(tmp_path: Path) -> None:
    make_pki(tmp_path / "a", now=NOW)
    assert PkiTree.load(tmp_path / "a").chain("secc")
    with pytest.raises(ConfigError) as error:
        PkiTree.load(tmp_path)
    assert "v2g pki make" in error.value.hint


def test_a_tree_made_anew_leaves_nothing_of_the_one_before_and_keeps_other_files(tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=NOW)
    renew_certificate(tmp_path, "secc", Renewal(), at=NOW)
    renew_certificate(tmp_path, "cpo/sub2", Renewal(), at=NOW)
    tree.path("notes.txt").write_text("mine")
    make_pki(tmp_path, now=NOW, options=PkiOptions(more_emaids=()))
    assert not list(tmp_path.rglob("versions"))
    assert not tree.path("contract-2/leaf.pem").exists()
    assert not tree.path("secc/leaf.key").is_symlink()
    assert tree.credentials("secc").leaf == tree.chain("secc")[0]
    assert tree.path("notes.txt").read_text() == "mine"
    assert {entry.name for entry in tree.index().entries if entry.replaced} == set()


@openssl
@pytest.mark.parametrize(("leaf", "cross"), [("vehicle", "oem"), ("contract-3", "mo"), ("provisioning", "oem")])
def test_openssl_accepts_chains_over_cross_certificates(pki: PkiTree, leaf: str, cross: str) -> None:
    chain, over = pki.path(f"{leaf}/chain.pem"), pki.path(f"cross/{cross}-by-v2g.pem")
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(pki.path("v2g/root.pem"))]
    command += ["-untrusted", str(over), "-untrusted", str(chain), str(chain)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_authority_has_a_responder_a_list_and_a_key(pki: PkiTree) -> None:
    index = pki.index()
    authorities = [entry for entry in index.entries if entry.is_authority and entry.role is not Role.CROSS]
    assert len(authorities) == 12
    for entry in authorities:
        delegates = [each for each in index.issued_by(entry.key) if each.role is Role.OCSP_RESPONDER]
        assert len(delegates) == 1
        assert {pki.path(entry.file).with_suffix(suffix).exists() for suffix in (".key", ".crl")} == {True}
