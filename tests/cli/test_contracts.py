"""`v2g contracts`: an operator fills the pool, sees what is in it, and learns what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pki_tools.tree import PkiTree
from v2g.errors import V2GError
from v2g.pki.keys import save_key
from v2g_cli.main import app

PCID = "WMIV2GENGINE00001X"

CONFIG = """
data_dir = "data"

[ocpp]
certificate = "{pki}/csms/server/chain.pem"
key = "{pki}/csms/server/leaf.key"
client_roots = ["{pki}/csms/root.pem"]

[api]
certificate = "{pki}/csms/server/chain.pem"
key = "{pki}/csms/server/leaf.key"

[trust]
roots = ["{pki}/mo/root.pem"]
"""

PROVISIONING = """
[provisioning]
pool = "file:pool?pin-source=file:pool.secret"
chain = "{pki}/cps/chain.pem"
key = "{pki}/cps/leaf.key"
oem_roots = ["{pki}/oem/root.pem"]
"""

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, pki: PkiTree) -> Path:
    for name, text in (("csms.toml", CONFIG + PROVISIONING), ("pool.secret", "a long secret")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text.format(pki=pki.directory))
    return tmp_path / "csms.toml"


@pytest.fixture
def run(config: Path) -> Run:
    def go(command: str, *arguments: object) -> Result:
        words = ["contracts", command, "--config", str(config), *map(str, arguments)]
        return CliRunner().invoke(app, words, catch_exceptions=True)

    return go


def added(run: Run, pki: PkiTree, *more: str) -> Result:
    chain, key = pki.path("contract/chain.pem"), pki.path("contract/leaf.key")
    return run("add", "--pcid", PCID, "--chain", chain, "--key", key, *more)


def test_a_contract_is_added_listed_and_removed(run: Run, pki: PkiTree, tmp_path: Path) -> None:
    done = added(run, pki)
    assert done.exit_code == 0, done.output
    assert f"DEV2GC00000001 is available to {PCID}" in done.output
    assert "no token" in done.output
    locked = tmp_path / "locked.key"
    save_key(locked, pki.key("contract").expose(), b"a long secret")
    key = f"file:{locked}?pin-source=file:{tmp_path / 'pool.secret'}"
    assert run("add", "--pcid", PCID, "--chain", pki.path("contract/chain.pem"), "--key", key).exit_code == 0
    (line,) = run("list").stdout.splitlines()
    assert line.split("\t")[:2] == [PCID, "DEV2GC00000001"]
    assert run("remove", "--pcid", PCID, "--emaid", "de-v2g-c00000001").exit_code == 0
    assert run("list").stdout == ""


def test_machines_get_records(run: Run, pki: PkiTree, config: Path) -> None:
    config.write_text(config.read_text() + '\n[[tokens]]\nid_token = "DEV2GC00000001"\n')
    record = json.loads(added(run, pki, "--json").stdout)
    assert (record["pcid"], record["emaid"], record["has_token"]) == (PCID, "DEV2GC00000001", True)
    (listed,) = map(json.loads, run("list", "--json").stdout.splitlines())
    assert (listed["emaid"], listed["problem"]) == ("DEV2GC00000001", "")
    removed = json.loads(run("remove", "--pcid", PCID, "--emaid", "DEV2GC00000001", "--json").stdout)
    assert removed["removed"] == 1


def test_what_cannot_be_delivered_is_shown(run: Run, pki: PkiTree, config: Path) -> None:
    added(run, pki)
    roots = config.read_text()
    config.write_text(roots.replace("/mo/root.pem", "/v2g/root.pem"))
    (line,) = run("list").stdout.splitlines()
    assert "unknown_root: " in line
    assert "it cannot be delivered now: unknown_root: " in added(run, pki).output
    config.write_text(roots)
    (line,) = run("list").stdout.splitlines()
    assert line.split("\t")[3] == ""
    (config.parent / "pool.secret").write_text("another secret")
    (line,) = run("list").stdout.splitlines()
    assert "wrong passphrase, or a damaged file" in line


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [("add", ("--pcid", "my car"), "PCID"), ("remove", ("--pcid", PCID, "--emaid", "DEV2GC00000009"), "no contract")],
)
def test_mistakes_are_named(run: Run, pki: PkiTree, command: str, arguments: tuple[str, ...], words: str) -> None:
    if command == "add":
        arguments += ("--chain", str(pki.path("contract/chain.pem")), "--key", str(pki.path("contract/leaf.key")))
    done = run(command, *arguments)
    assert isinstance(done.exception, V2GError)
    assert words in str(done.exception)


def test_a_back_end_without_a_pool_is_named(run: Run, config: Path, pki: PkiTree) -> None:
    config.write_text(CONFIG.format(pki=pki.directory))
    done = run("list")
    assert isinstance(done.exception, V2GError)
    assert "[provisioning]" in str(done.exception)
