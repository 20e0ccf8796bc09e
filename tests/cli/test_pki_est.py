"""`v2g pki est`, `approve` and `enrol` as a user runs them (R217)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run
from v2g.io.http.est import EstClient
from v2g.pki.certificates import chain_from_pem
from v2g.pki.est import read_wanted
from v2g.pki.keys import save_secret

SECC_ID = "DEV2GS00000000000000000000000000000001X"


@pytest.fixture
def tree(pki: PkiTree, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pki.directory, tmp_path / "tree", symlinks=True))


@pytest.fixture
def url(tree: Path, tmp_path: Path) -> Iterator[str]:
    """A server as a program, whose requests a person has to approve."""
    save_secret(tmp_path / "users", b"lab:a secret\n")
    save_secret(tmp_path / "password", b"a secret\n")
    command = [sys.executable, "-m", "v2g_cli", "pki", "est", tree, "--users", tmp_path / "users", "--approve"]
    with subprocess.Popen([*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["name"] == "ready"
        yield f"https://localhost:{ready['data']['port']}/.well-known/est"
        process.terminate()
        process.communicate(timeout=300)
        assert process.returncode == 0


@pytest.mark.requirement("R217")
def test_a_request_waits_is_approved_and_becomes_a_chain(
    v2g: Run, tree: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csr, out = tmp_path / "secc.csr", tmp_path / "secc.pem"
    made = v2g("pki", "csr", "--role", "secc", "--cn", SECC_ID, "--key", str(tmp_path / "own.key"), "--out", str(csr))
    assert made.code == 0, made.errors
    words = ["pki", "enrol", f"{url}/cpo", "--csr", str(csr), "--role", "secc", "--wait", "1", "--out", str(out)]
    files = {
        "--trust": tree / "v2g/root.pem",
        "--root": tree / "csms/root.pem",
        "--password-file": tmp_path / "password",
    }
    words += [word for name, path in files.items() for word in (name, str(path))]

    async def wanted(*_: object) -> tuple[str, ...]:
        return read_wanted(b"MAsGCSqGSIb3DQEJBw==")

    with monkeypatch.context() as patch:
        patch.setattr(EstClient, "wanted", wanted)
        waits = v2g(*words, "--user", "lab")
    assert waits.code == 6
    assert "the CA wants challengePassword, too" in waits.errors
    assert "repeat the command later" in waits.errors
    (asked,) = map(json.loads, v2g("pki", "approve", str(tree), "--json").output.splitlines())
    assert SECC_ID in asked["subject"]
    assert v2g("pki", "approve", str(tree), asked["id"]).output == f"{asked['id']}: approved\n"
    assert v2g("pki", "approve", str(tree)).output == "no request waits\n"

    done = v2g(*words, "--user", "lab")
    assert done.code == 0, done.errors
    assert f"{SECC_ID}, until" in done.output
    assert len(chain_from_pem(out.read_bytes())) == 3

    refused = v2g(*words, "--user", "nobody")
    assert refused.code == 5
    assert "401" in refused.errors
    assert v2g("pki", "enrol", "http://localhost/", *words[3:], "--user", "lab").code == 2
