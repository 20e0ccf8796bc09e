"""No file ends a `v2g pki` command in a traceback: every reader gets dozens of files that are nearly right."""

import random
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pki_tools.issuing import make_request
from pki_tools.tree import PkiTree
from tests.fuzz.mutations import mutated
from v2g.errors import V2GError
from v2g.pki.issue import Subject
from v2g.pki.keys import load_private_key
from v2g.pki.profile import Role
from v2g_cli.main import app

RUNS = 10
runner = CliRunner()


@pytest.fixture(scope="module")
def lab(pki: PkiTree, tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    folder = tmp_path_factory.mktemp("fuzz")
    tree = PkiTree(Path(shutil.copytree(pki.directory, folder / "lab")))
    key = load_private_key(tree.path("secc/leaf.key"))
    tree.path("a.csr").write_bytes(make_request(key, Role.SECC, Subject(common_name="SECC")))
    tree.path("leaf.der").write_bytes(tree.chain("secc")[0])
    done = runner.invoke(app, ["pki", "ceremony", "split", str(tree.path("v2g/root.key")), "-o", str(tree.path("cer"))])
    assert done.exit_code == 0
    return tree


def _verify(*more: str, role: str = "secc", trust: str = "--tree={lab}") -> list[str]:
    return ["verify", f"{{lab}}/{role}/chain.pem", "--role", role, trust, *more]


READERS = {
    "show": ("secc/chain.pem", ["show", "{file}"]),
    "show der": ("leaf.der", ["show", "{file}"]),
    "verify": ("secc/chain.pem", ["verify", "{file}", "--role", "secc", "--tree", "{lab}"]),
    "root": ("v2g/root.pem", _verify(trust="--root={file}")),
    "cross": ("cross/oem-by-v2g.pem", _verify("--cross={file}", role="vehicle", trust="--root={lab}/v2g/root.pem")),
    "ocsp": ("secc/ocsp.der", _verify("--ocsp={file}")),
    "crl": ("cpo/sub2.crl", _verify("--crl={file}")),
    "csr": ("a.csr", ["issue", "{lab}/none", "--role", "secc", "--csr", "{file}"]),
    "csr key": ("secc/leaf.key", ["csr", "--key", "{file}", "--role", "secc", "--cn", "x"]),
    "sealed": ("cer/root.sealed", ["ceremony", "check", "{file}", "--share", "{lab}/cer/share-1-of-5.txt"]),
    "share": ("cer/share-1-of-5.txt", ["ceremony", "check", "{lab}/cer/root.sealed", "--share", "{file}"]),
    "index": ("index.json", ["show", "{folder}"]),
}
"""What reads which file: an original, and the command with the mutated one."""


def run(command: list[str], file: Path, lab: PkiTree, content: bytes) -> Result:
    file.write_bytes(content)
    file.chmod(0o600)
    places = {"file": str(file), "folder": str(file.parent), "lab": str(lab.directory)}
    return runner.invoke(app, ["pki", *(each.format(**places) for each in command)])


@pytest.mark.some(1)
@pytest.mark.parametrize("name", READERS)
def test_files_that_are_nearly_right_are_read_or_refused_in_words(lab: PkiTree, tmp_path: Path, name: str) -> None:
    original, command = READERS[name]
    seed, file, chance = lab.path(original).read_bytes(), tmp_path / Path(original).name, random.Random(name)
    right = run(command, file, lab, seed)
    assert right.exception is None or "none holds no PKI" in str(right.exception)  # a request is read before the tree
    for _ in range(RUNS):
        done = run(command, file, lab, mutated([seed], chance))
        assert done.exception is None or isinstance(done.exception, V2GError | SystemExit), (done.exception, file)


@pytest.mark.some(1)
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, b"\xff" * 5000, b"-----BEGIN CERTIFICATE-----\n" * 50, b"{}"],
    ids=["empty", "zeroes", "ones", "pem", "json"],
)
def test_files_of_nothing_are_refused(lab: PkiTree, tmp_path: Path, content: bytes) -> None:
    for original, command in READERS.values():
        done = run(command, tmp_path / Path(original).name, lab, content)
        assert isinstance(done.exception, V2GError | SystemExit), (original, done.output)
