"""The index is read strictly: what is not one is named, and nothing in it leads out of the tree."""

import random

import msgspec
import pytest

from pki_tools.index import FILE, load_index, save_index
from pki_tools.tree import PkiTree
from tests.fuzz.mutations import mutated
from v2g.errors import ConfigError, V2GError


def test_what_is_saved_is_loaded(tree: PkiTree) -> None:
    index = tree.index()
    save_index(tree.directory, index)
    assert load_index(tree.directory) == index
    assert index.find("secc").subject.endswith("CN=DEV2GS00000000000000000000000000000001X")
    serial = index.find("secc").serial
    assert index.find_serial(f"0x{serial.upper()}") == index.find("secc")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../../etc/passwd"),
        ("file", "/etc/passwd"),
        ("name", "../secc"),
        ("serial", "xyz"),
        ("issuer", "12g4"),
        ("reason", "bored"),
        ("not_after", "2027-01-01T00:00:00"),
        ("role", "emperor"),
    ],
)
def test_a_line_that_cannot_be_is_refused(tree: PkiTree, field: str, value: str) -> None:
    data = msgspec.json.decode(tree.path(FILE).read_bytes())
    data["entries"][3][field] = value
    tree.path(FILE).write_bytes(msgspec.json.encode(data))
    with pytest.raises(ConfigError):
        tree.index()


def test_a_folder_without_an_index_says_how_to_make_one(tree: PkiTree) -> None:
    tree.path(FILE).unlink()
    with pytest.raises(ConfigError) as error:
        tree.index()
    assert "v2g pki make" in error.value.hint


def test_mutations_are_read_or_refused(tree: PkiTree) -> None:
    original, chance = tree.path(FILE).read_bytes()[:4000], random.Random(4)
    for _ in range(300):
        tree.path(FILE).write_bytes(mutated([original], chance))
        try:
            tree.index()
        except V2GError:
            continue
