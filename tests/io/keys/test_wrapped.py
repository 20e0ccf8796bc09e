"""Files of secrets under a key in each store. R145"""

import base64
from pathlib import Path

import pytest
from typer.testing import CliRunner

from csms.db.store_key import load_store_key
from tests.io.keys.stores import Files, Store, refer
from v2g.errors import KeyAccessError, V2GError
from v2g.io.keys.wrapped import read_wrapped, save_wrapped, wrapped_by
from v2g.io.storage.record_keys import RecordKeys
from v2g.pki.keys import Algorithm
from v2g.pki.reference import KeyReference
from v2g_cli.main import app


@pytest.fixture
def reference(store: Store) -> KeyReference:
    return refer(store.make(Algorithm.ECDSA_SHA256), store)


def test_record_keys_under_a_key_are_used_and_rotated_there(reference: KeyReference, store: Store) -> None:
    file = store.folder / "journal.keys"
    RecordKeys.rotate(file)
    number, sealed = RecordKeys(file).seal(b"record", b"name")
    plain = file.read_text()
    save_wrapped(file, read_wrapped(file), reference)
    assert file.stat().st_mode & 0o777 == 0o600
    assert wrapped_by(file) == reference
    assert RecordKeys.rotate(file) == 2
    assert wrapped_by(file) == reference
    keys = RecordKeys(file)
    assert (keys.open(number, sealed, b"name"), keys.newest) == (b"record", 2)
    content = file.read_bytes() + base64.b64decode(file.read_bytes().split(b"\n")[1])
    assert plain.split()[1].encode() not in content
    assert bytes.fromhex(plain.split()[1]) not in content


def test_without_its_key_a_copied_file_says_nothing(reference: KeyReference, store: Store) -> None:
    file = store.folder / "store.key"
    save_wrapped(file, b"11" * 32, reference)
    assert load_store_key(file, store.folder).seal("secret", "webhook")
    store.withdraw()
    with pytest.raises(KeyAccessError):
        load_store_key(file, store.folder)


@pytest.mark.parametrize(
    "text",
    [
        "wrapped by FILE",
        "wrapped by FILE\n!",
        "wrapped by FILE\nAAAA\n",
        "wrapped by nothing:x\nAAAA\n",
        "wrapped by \n\n",
    ],
)
def test_a_damaged_file_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    files = Files(tmp_path)
    reference = refer(files.make(Algorithm.ECDSA_SHA512), files)
    file = tmp_path / "journal.keys"
    file.touch(mode=0o600)
    file.write_text(text.replace("FILE", str(reference)))
    with pytest.raises(V2GError, match=r"journal\.keys"):
        RecordKeys(file)


def test_the_command_wraps_and_unwraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(app, ["settle", "key", "journal.keys"]).exit_code == 0
    plain = Path("journal.keys").read_bytes()
    assert run(app, ["pki", "key", "file:storage.key"]).exit_code == 0
    said = run(app, ["pki", "wrap", "journal.keys", "--by", "file:storage.key"])
    assert (said.exit_code, said.output) == (0, "journal.keys: opens with file:storage.key\n")
    assert Path("journal.keys").read_bytes().startswith(b"wrapped by file:storage.key\n")
    assert run(app, ["settle", "key", "journal.keys"]).output.startswith("journal.keys: key 2")
    assert run(app, ["pki", "wrap", "journal.keys"]).exit_code == 0
    assert Path("journal.keys").read_bytes().startswith(plain)
