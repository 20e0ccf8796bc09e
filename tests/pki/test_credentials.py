import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from v2g.errors import CertificateError, KeyAccessError, SignatureError
from v2g.pki.certificates import MAX_PEM_BYTES, chain_from_pem, chain_to_pem, load_certificate, normalize_emaid
from v2g.pki.credentials import (
    Credentials,
    load_authorities,
    load_bundle,
    load_chain,
    load_credentials,
    matching,
    save_bundle,
)
from v2g.pki.keys import LeafKey, load_key, load_private_key, verify_signature


def copy(pki: PkiTree, name: str, folder: Path, mode: int) -> Path:
    path = folder / "leaf.key"
    shutil.copyfile(pki.path(name), path)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_touch_is_refused(pki: PkiTree, tmp_path: Path, mode: int) -> None:
    path = copy(pki, "secc/leaf.key", tmp_path, mode)
    with pytest.raises(KeyAccessError) as error:
        load_credentials(pki.path("secc/chain.pem"), path)
    assert f"{mode:04o}" in str(error.value)
    assert "chmod 600" in error.value.hint


def test_the_owners_own_modes_are_fine(pki: PkiTree, tmp_path: Path) -> None:
    assert load_credentials(pki.path("secc/chain.pem"), copy(pki, "secc/leaf.key", tmp_path, 0o400)).chain


def test_the_key_of_another_certificate_is_refused(pki: PkiTree) -> None:
    with pytest.raises(KeyAccessError, match="is not the key of"):
        load_credentials(pki.path("secc/chain.pem"), pki.path("vehicle/leaf.key"))


def test_credentials_sign_and_never_print_their_key(pki: PkiTree) -> None:
    credentials = pki.credentials("contract")
    signature = credentials.key.sign(b"data")
    verify_signature(pki.key("contract").public_key, b"data", signature)
    with pytest.raises(SignatureError):
        verify_signature(pki.key("contract").public_key, b"other", signature)
    assert "3 certificates" in repr(credentials)
    assert "Key" not in repr(credentials)


def test_keys_of_a_kind_that_15118_does_not_know_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rsa.key"
    path.touch(mode=0o600)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(KeyAccessError, match="neither an EC nor an Ed448 key"):
        load_key(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_an_unreadable_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    for file in (path, tmp_path / "missing.key", tmp_path):
        with pytest.raises(KeyAccessError):
            load_private_key(file)


def test_an_unreadable_chain_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "chain.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(CertificateError, match=path.name) as error:
            load_chain(path)
        assert error.value.reason == "malformed"


def test_a_chain_survives_the_way_through_pem(pki: PkiTree) -> None:
    pem = chain_to_pem(pki.chain("contract"))
    assert chain_from_pem(pem.encode()) == pki.chain("contract")
    assert pem.count("BEGIN CERTIFICATE") == 3
    assert len(pem) <= 5500  # what OCPP's AuthorizeRequest carries


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda data: b"-----BEGIN CERTIFICATE-----\n" + data))
def test_any_other_text_is_malformed(data: bytes) -> None:
    with pytest.raises(CertificateError) as error:
        chain_from_pem(data)
    assert error.value.reason == "malformed"


def test_endless_input_is_not_read(pki: PkiTree) -> None:
    for call in (lambda: chain_from_pem(bytes(MAX_PEM_BYTES + 1)), lambda: load_certificate(bytes(20_000))):
        with pytest.raises(CertificateError) as error:
            call()
        assert error.value.reason == "malformed"


def test_bytes_after_a_certificate_are_malformed(pki: PkiTree) -> None:
    with pytest.raises(CertificateError):
        load_certificate(pki.chain("secc")[0] + b"\0")


def test_emaids_compare_without_separators_and_case() -> None:
    assert normalize_emaid("de-v2g-C00000001") == normalize_emaid("DEV2GC00000001")


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_bundle_has_a_chain_and_its_key_alone(pki: PkiTree, tmp_path: Path, passphrase: bytes | None) -> None:
    path, key = tmp_path / "bundle.pem", load_private_key(pki.path("secc/leaf.key"))
    save_bundle(path, pki.chain("secc"), key, passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in path.read_bytes()) == (passphrase is not None)
    found = load_bundle(path, passphrase)
    assert (found.chain, found.leaf) == (pki.chain("secc"), pki.chain("secc")[0])
    assert found.private_key.public_key() == key.public_key()
    if passphrase is not None:
        with pytest.raises(KeyAccessError):
            load_bundle(path, b"wrong")
    save_bundle(path, pki.chain("vehicle"), key, passphrase)
    with pytest.raises(KeyAccessError, match="does not match"):
        load_bundle(path, passphrase)
    save_bundle(path, (), key, passphrase)
    with pytest.raises(CertificateError, match=path.name) as error:
        load_bundle(path, passphrase)
    assert error.value.reason == "malformed"


def test_all_certificates_of_all_files_are_authorities(pki: PkiTree) -> None:
    paths = [pki.path(f"{name}/chain.pem") for name in ("secc", "vehicle")]
    assert load_authorities(paths) == (*pki.chain("secc"), *pki.chain("vehicle"))


def test_a_chain_and_its_key_are_read_again_while_they_are_renewed(pki: PkiTree, tmp_path: Path) -> None:
    """A chain that stays as it is has the wrong key; of renewals without an end ten are followed."""
    path, names, asked = tmp_path / "chain.pem", ["vehicle", "secc"] * 10, list[object]()

    def renewed(leaf: object) -> LeafKey:
        asked.append(leaf)
        path.write_bytes(pki.path(f"{names.pop()}/chain.pem").read_bytes())
        return pki.credentials("contract").key

    path.write_bytes(pki.path("contract/chain.pem").read_bytes())
    assert matching(path, renewed, "key").chain == pki.chain("contract")
    assert len(asked) == 1
    with pytest.raises(KeyAccessError, match=r"key is not the key of .*chain\.pem"):
        matching(path, renewed, "key")
    assert len(asked) == 11
    names[:] = ["contract", "contract"]
    assert matching(path, renewed, "key").chain == pki.chain("contract")
    assert len(asked) == 13
    path.write_bytes(pki.path("secc/chain.pem").read_bytes())
    names[:] = ["secc"]
    with pytest.raises(KeyAccessError):
        matching(path, renewed, "key")
    assert len(asked) == 14


def test_a_key_in_a_store_does_not_leave_it(pki: PkiTree) -> None:
    class Stored(LeafKey):
        public_key = pki.credentials("secc").key.public_key

        def sign(self, data: bytes) -> bytes:
            raise NotImplementedError

    with pytest.raises(KeyAccessError, match="cannot leave its store"):
        _ = Credentials(pki.chain("secc"), Stored()).private_key
