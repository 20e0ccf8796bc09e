"""What is exported is what openssl reads."""

import stat
from pathlib import Path

import pytest
from cryptography import x509

from pki_tools.export import LEAVES, export_der, export_josev, export_pem, export_pkcs12
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import ConfigError
from v2g.pki.profile import KeyKind


def test_pem_is_the_chain_and_der_the_certificate(tree: PkiTree, openssl: Openssl, tmp_path: Path) -> None:
    index = tree.index()
    for name in ("secc", "contract", "cpo/sub2", "v2g/root", "cross/mo-by-v2g"):
        pem, der = tmp_path / "e.pem", tmp_path / "e.der"
        pem.write_bytes(export_pem(tree.directory, index, index.find(name)))
        der.write_bytes(export_der(tree.directory, index.find(name)))
        first = openssl("x509", "-in", pem, "-noout", "-fingerprint", "-sha256").stdout
        assert first == openssl("x509", "-in", der, "-inform", "DER", "-noout", "-fingerprint", "-sha256").stdout
    assert export_pem(tree.directory, index, index.find("secc")) == tree.path("secc/chain.pem").read_bytes()


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", [KeyKind.SECP521R1, KeyKind.ED448])
def test_openssl_opens_pkcs12_with_the_password_and_not_without(
    tmp_path: Path, openssl: Openssl, kind: KeyKind
) -> None:
    tree = make_pki(tmp_path / "t", now=NOW, options=PkiOptions(key_kind=kind))
    index, file = tree.index(), tmp_path / "vehicle.p12"
    file.write_bytes(export_pkcs12(tree.directory, index, index.find("vehicle"), b"secret 42"))
    info = openssl("pkcs12", "-in", file, "-passin", "pass:secret 42", "-info", "-nokeys")
    assert "PBES2, PBKDF2, AES-256-CBC, Iteration 600000" in info.stderr
    assert "friendlyName: vehicle" in info.stdout
    assert info.stdout.count("BEGIN CERTIFICATE") == 3
    key = tmp_path / "key.pem"
    openssl("pkcs12", "-in", file, "-passin", "pass:secret 42", "-nocerts", "-nodes", "-out", key)
    ours = openssl("pkey", "-in", tree.path("vehicle/leaf.key"), "-pubout").stdout
    assert openssl("pkey", "-in", key, "-pubout").stdout == ours
    wrong = openssl("pkcs12", "-in", file, "-passin", "pass:secret 43", "-noout", check=False)
    assert "invalid password" in wrong.stderr


def test_a_key_is_not_exported_without_a_password_nor_from_where_it_is_not(tree: PkiTree) -> None:
    index = tree.index()
    with pytest.raises(ConfigError, match="without a password"):
        export_pkcs12(tree.directory, index, index.find("vehicle"), b"")
    tree.path("vehicle/leaf.key").unlink()
    with pytest.raises(ConfigError, match="another party holds the key"):
        export_pkcs12(tree.directory, index, index.find("vehicle"), b"x")


def test_the_folder_of_the_peer_has_its_names_and_locked_keys(tmp_path: Path, openssl: Openssl) -> None:
    options = PkiOptions(key_kind=KeyKind.SECP256R1)
    tree = make_pki(tmp_path / "t", now=NOW, options=options)
    files = export_josev(tree.directory, tree.index(), tmp_path / "pki", b"12345", leaves=LEAVES)
    assert {"iso15118_2/certs/cpoCertChain.pem", "iso15118_2/private_keys/moSubCA2LeafPassword.txt"} < set(files)
    assert len(files) == 2 * 15 + 15 + 5 + 2
    keys = tmp_path / "pki" / "iso15118_2" / "private_keys"
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    assert b"ENCRYPTED" in (keys / "seccLeaf.key").read_bytes()
    ours = openssl("pkey", "-in", tree.path("secc/leaf.key"), "-pubout").stdout
    assert openssl("pkey", "-in", keys / "seccLeaf.key", "-passin", "pass:12345", "-pubout").stdout == ours
    chain = tmp_path / "pki" / "iso15118_2" / "certs" / "cpoCertChain.pem"
    assert len(x509.load_pem_x509_certificates(chain.read_bytes())) == 3


@pytest.mark.parametrize("password", [b"", b"two\nlines", b" spaces "])
def test_a_password_that_its_loader_would_misread_is_refused(tmp_path: Path, password: bytes) -> None:
    tree = make_pki(tmp_path / "t", now=NOW, options=PkiOptions(key_kind=KeyKind.SECP256R1))
    with pytest.raises(ConfigError, match="one line"):
        export_josev(tree.directory, tree.index(), tmp_path / "pki", password, leaves=LEAVES)


def test_a_tree_that_the_peer_cannot_use_is_refused_in_words(tree: PkiTree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secp256r1 only") as error:
        export_josev(tree.directory, tree.index(), tmp_path / "pki", b"x", leaves=LEAVES)
    assert "--key-kind" in error.value.hint
