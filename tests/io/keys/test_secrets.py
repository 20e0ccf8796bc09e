"""Key files and the secrets that open them; encrypted keys are exchanged with the openssl command."""

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from tests.packages import need
from v2g.errors import KeyAccessError
from v2g.io.keys.pins import read_pin
from v2g.io.keys.stores import open_key
from v2g.pki.keys import PrivateKey, load_key, load_private_key, read_secret, save_key
from v2g.pki.reference import KeyReference, PinSource

KEYS: list[PrivateKey] = [ec.generate_private_key(ec.SECP521R1()), ed448.Ed448PrivateKey.generate()]


def secret(path: Path, text: bytes = b"correct horse\n", mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.write_bytes(text)
    path.chmod(mode)
    return path


class TestSources:
    """Where PINs and passphrases come from."""

    def test_a_file_is_read_without_its_line_end(self, tmp_path: Path) -> None:
        for text in (b"correct horse", b"correct horse\n", b"correct horse\r\n"):
            assert read_pin(PinSource("file", str(secret(tmp_path / "pin", text)))) == b"correct horse"

    def test_a_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(KeyAccessError, match="mode 0640"):
            read_pin(PinSource("file", str(secret(tmp_path / "pin", mode=0o640))))

    def test_a_variable_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("V2G_PIN", "2468")
        assert read_pin(PinSource("env", "V2G_PIN")) == b"2468"

    def test_a_credential_of_systemd_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        secret(tmp_path / "secc", mode=0o440)  # as systemd gives it
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        assert read_pin(PinSource("credential", "secc")) == b"correct horse"
        with pytest.raises(KeyAccessError, match="No such file") as error:
            read_pin(PinSource("credential", "evcc"))
        assert "LoadCredential=evcc" in error.value.hint

    @pytest.mark.parametrize("source", [PinSource("env", "V2G_NOTHING"), PinSource("credential", "secc")])
    def test_what_is_missing_is_named(self, source: PinSource, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        with pytest.raises(KeyAccessError) as error:
            read_pin(source)
        assert source.name in error.value.hint

    def test_an_empty_file_is_no_pin(self, tmp_path: Path) -> None:
        with pytest.raises(KeyAccessError, match="no PIN or passphrase"):
            read_pin(PinSource("file", str(secret(tmp_path / "pin", b"\n"))))


class TestFiles:
    """PEM files, encrypted or not."""

    @pytest.mark.parametrize("key", KEYS)
    def test_openssl_reads_what_we_encrypt_and_we_what_it_encrypts(self, tmp_path: Path, key: PrivateKey) -> None:
        need("openssl", program="openssl")
        ours, theirs, word = tmp_path / "ours.key", tmp_path / "theirs.key", secret(tmp_path / "word")
        save_key(ours, key, b"correct horse")
        assert b"ENCRYPTED" in ours.read_bytes()
        command = ["openssl", "pkcs8", "-topk8", "-scrypt", "-in", ours, "-passin", f"file:{word}", "-out", theirs]
        subprocess.run([*command, "-passout", "pass:correct horse"], check=True, capture_output=True)
        reference = KeyReference.from_text("file:theirs.key?pin-source=file:word", tmp_path)
        assert open_key(reference).public_key == key.public_key()

    def test_a_passphrase_too_few_or_too_many_is_named(self, tmp_path: Path) -> None:
        locked, plain = tmp_path / "locked.key", tmp_path / "plain.key"
        save_key(locked, KEYS[0], b"correct horse")
        save_key(plain, KEYS[0])
        for path, word, said, hint in (
            (locked, None, "is encrypted", "pin-source"),
            (plain, b"correct horse", "is not encrypted", "remove pin-source"),
            (locked, b"battery staple", "locked.key: wrong passphrase", "another key"),
        ):
            with pytest.raises(KeyAccessError, match=said) as error:
                load_private_key(path, word)
            assert hint in error.value.hint

    def test_a_folder_where_everybody_may_exchange_files_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "open"
        folder.mkdir()
        save_key(folder / "a.key", KEYS[0])
        folder.chmod(0o777)
        with pytest.raises(KeyAccessError, match="anyone may replace") as error:
            load_key(folder / "a.key")
        assert error.value.hint == f"chmod o-w {folder}"
        folder.chmod(0o1777)  # as /tmp: only the owner of a file may exchange it
        assert load_key(folder / "a.key").public_key == KEYS[0].public_key()

    def test_what_is_no_file_is_refused_without_waiting_for_it(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe, 0o600)
        for path in (pipe, tmp_path):
            with pytest.raises(KeyAccessError):
                read_secret(path)

    def test_saving_replaces_the_old_key_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.key"
        save_key(path, KEYS[0])

        def full_disk(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            save_key(path, KEYS[1])
        monkeypatch.undo()
        assert load_key(path).public_key == KEYS[0].public_key()
        assert [each.name for each in tmp_path.iterdir()] == ["a.key"]
        save_key(path, KEYS[1])
        assert load_key(path).public_key == KEYS[1].public_key()
        assert path.stat().st_mode & 0o777 == 0o600
