"""A charger that starts without a certificate gets one by EST first, and keeps it valid (R217)."""

from pathlib import Path

import pytest

from pki_tools.est import EstSettings
from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.config import check_config, load_config
from secc.station.device import vehicle_chain
from tests.pki_tools.conftest import tree
from tests.pki_tools.est_lab import SECC_ID, Lab
from tests.secc.bench_program import BENCH
from tests.secc_toml import identity
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g.pki.credentials import load_credentials
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain

__all__ = ["tree"]  # a fixture


def configured(lab: Lab, folder: Path, key: str = "own.key") -> str:
    lab.server()  # writes the password
    own = identity(lab.tree, "v2g", "oem", "mo")
    own = own.replace(str(lab.tree.path("secc/chain.pem")), "own.pem").replace(str(lab.tree.path("secc/leaf.key")), key)
    return f"""data_dir = "data"
{own}

{BENCH}
[tls.enrolment]
roots = ["{lab.tree.path("v2g/root.pem")}"]
common_name = "{SECC_ID}"

[tls.enrolment.est]
url = "https://localhost:{lab.port}/.well-known/est/cpo"
root = "{lab.tree.path("csms/root.pem")}"
user = "lab"
password_file = "{folder / "password"}"
"""


@pytest.mark.requirement("R217")
async def test_a_charger_without_certificate_gets_one_before_it_serves(tree: PkiTree, tmp_path: Path) -> None:
    lab = Lab(tree, tmp_path)
    await lab.start(EstSettings(users={"lab": "a secret"}))
    try:
        text, name = configured(lab, tmp_path), str(tmp_path / "secc.toml")
        assert check_config(text, name=name) == [], "its files need not be there yet"
        config = load_config(text, name=name)
        clock, seen = Clock(), list[Observe]()
        observe = EventLog("secc", clock)
        observe.on_event(seen.append)
        for _ in range(2):
            async with assemble(config, clock, observe):
                shown = load_credentials(tmp_path / "own.pem", tmp_path / "own.key")
                verify_chain(shown.chain[0], shown.chain[1:], tree.anchors("v2g"), role=Role.SECC, at=clock.now())
        observe.close()
        assert [each.data["certificate"] for each in seen if each.name == "enrolled"] == [SECC_ID], "once"
        assert not vehicle_chain(config.tls), "its CSMS does not renew it, too"
    finally:
        await lab.stop()


def test_a_key_in_a_token_is_not_renewed_so(tree: PkiTree, tmp_path: Path) -> None:
    text = configured(Lab(tree, tmp_path), tmp_path, key="pkcs11:token=t;object=o")
    found = [str(each) for each in check_config(text, name=str(tmp_path / "secc.toml"))]
    assert any("cannot renew" in each for each in found), found
