"""The independent ISO 15118 implementation loads and believes the folder that `v2g pki export` writes for it."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.export import LEAVES, export_josev
from pki_tools.tree import PkiOptions, make_pki
from tests.interop import peer as peers
from v2g.pki.profile import KeyKind

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]

LOADER = """
import json, ssl
from iso15118.shared.settings import load_shared_settings, shared_settings
load_shared_settings()
from iso15118.shared import security as s

names = [name for name in vars(s.CertPath) if name.endswith(("_DER", "_PEM"))]
certificates = {name: len(open(getattr(s.CertPath, name), "rb").read()) for name in names}
keys = {}
for key, password in (("SECC_LEAF_PEM", "SECC_LEAF_KEY_PASSWORD"), ("OEM_LEAF_PEM", "OEM_LEAF_KEY_PASSWORD"),
                      ("CONTRACT_LEAF_PEM", "CONTRACT_LEAF_KEY_PASSWORD"), ("CPS_LEAF_PEM", "CPS_LEAF_KEY_PASSWORD"),
                      ("MO_SUB_CA2_PEM", "MO_SUB_CA2_PASSWORD")):
    loaded = s.load_priv_key(getattr(s.KeyPath, key), s.KeyEncoding.PEM, getattr(s.KeyPasswordPath, password))
    keys[key] = loaded.curve.name
for leaf, subs, root in (("SECC_LEAF_DER", ("CPO_SUB_CA2_DER", "CPO_SUB_CA1_DER"), "V2G_ROOT_DER"),
                         ("OEM_LEAF_DER", ("OEM_SUB_CA2_DER", "OEM_SUB_CA1_DER"), "OEM_ROOT_DER"),
                         ("CONTRACT_LEAF_DER", ("MO_SUB_CA2_DER", "MO_SUB_CA1_DER"), "MO_ROOT_DER"),
                         ("CPS_LEAF_DER", ("CPS_SUB_CA2_DER", "CPS_SUB_CA1_DER"), "V2G_ROOT_DER")):
    s.verify_certs(s.load_cert(getattr(s.CertPath, leaf)), [s.load_cert(getattr(s.CertPath, sub)) for sub in subs],
                   s.load_cert(getattr(s.CertPath, root)))
contexts = [s.get_ssl_context(server) for server in (True, False)]
cn = s.get_cert_cn(s.load_cert(s.CertPath.CONTRACT_LEAF_DER))
print(json.dumps({"certificates": certificates, "keys": keys, "emaid": cn,
                  "contexts": [isinstance(each, ssl.SSLContext) for each in contexts]}))
"""
"""Runs in the peer's own environment: every path it knows, every key, its own verification, both TLS contexts."""


@pytest.mark.long
def test_its_loader_reads_every_file_and_its_own_checks_pass(tmp_path: Path) -> None:
    if reason := peers.missing():
        pytest.skip(reason)
    options = PkiOptions(key_kind=KeyKind.SECP256R1, emaid="UKSWI123456791A")
    tree = make_pki(tmp_path / "tree", now=datetime.now(UTC), options=options)
    export_josev(tree.directory, tree.index(), tmp_path / "pki", b"correct horse", leaves=LEAVES)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    settings = {"PKI_PATH": f"{tmp_path / 'pki'}/", "ENABLE_TLS_1_3": "True", "PYTHONPATH": str(peers.CACHE / "extra")}
    done = subprocess.run(
        [str(peers.install()), "-c", LOADER],
        env=kept | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["contexts"] == [True, True]
    assert set(said["keys"].values()) == {"secp256r1"}
    assert said["emaid"] == "UKSWI123456791A"
    assert len(said["certificates"]) == 20
    assert max(said["certificates"].values()) < 4096
