"""A gateway's process that has no certificate yet gets one by EST, and keeps it over a restart (R217)."""

import os
import signal
import sys
from pathlib import Path

import pytest

from pki_tools.est import EstSettings
from pki_tools.tree import PkiTree
from tests.gateway.program import CONFIG, supervised
from tests.pki_tools.conftest import tree
from tests.pki_tools.est_lab import Lab
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.pki.credentials import load_credentials
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain
from v2g_gateway.config import check_config, load_config

__all__ = ["tree"]  # a fixture


def configured(lab: Lab, folder: Path) -> str:
    lab.server()  # writes the password
    files = f'ca = "{lab.tree.path("csms/root.pem")}"\nchain = "own.pem"\nkey = "own.key"'
    return f"""{CONFIG.replace("without_tls = true", files)}
[enrolment]
roots = ["{lab.tree.path("csms/root.pem")}"]
common_name = "EV-1"

[enrolment.est]
url = "https://localhost:{lab.port}/.well-known/est/gateway"
root = "{lab.tree.path("csms/root.pem")}"
user = "lab"
password_file = "{folder / "password"}"
"""


@pytest.mark.requirement("R217")
async def test_a_gateway_without_certificate_gets_one_and_keeps_it(tree: PkiTree, tmp_path: Path) -> None:
    lab = Lab(tree, tmp_path)
    await lab.start(EstSettings(users={"lab": "a secret"}))
    try:
        config = configured(lab, tmp_path)
        async with supervised(tmp_path, sys.executable, "-m", "v2g_gateway", config=config) as gateway:
            await gateway.until("started", 1)
            shown = load_credentials(tmp_path / "own.pem", tmp_path / "own.key")
            verify_chain(shown.chain[0], shown.chain[1:], tree.anchors("csms"), role=Role.GATEWAY, at=Clock().now())
            os.kill(gateway.pids[0], signal.SIGKILL)
            await gateway.until("started", 2)
            assert load_credentials(tmp_path / "own.pem", tmp_path / "own.key").chain == shown.chain
            assert [each["data"]["certificate"] for each in gateway.events("enrolled")] == ["EV-1"]
    finally:
        await lab.stop()


def test_files_of_an_enrolment_need_not_be_there_yet(tree: PkiTree, tmp_path: Path) -> None:
    config = configured(Lab(tree, tmp_path), tmp_path)
    assert not [each for each in check_config(config, name=str(tmp_path / "g.toml")) if "own.pem" in str(each)]


def test_enrolment_without_files_is_a_flaw(tree: PkiTree, tmp_path: Path) -> None:
    config = configured(Lab(tree, tmp_path), tmp_path).replace('chain = "own.pem"\n', "")
    with pytest.raises(ConfigError, match="has no files to renew"):
        load_config(config, name=str(tmp_path / "gateway.toml"))
