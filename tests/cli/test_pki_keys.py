"""`v2g pki key` and `v2g pki csr --key URI`: a key that is made where it stays gets its certificate.

The openssl command judges the requests.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree, make_pki
from tests.cli.conftest import Run
from tests.io.keys import stores
from tests.io.keys.stores import PIN, SOFTHSM
from tests.packages import need
from v2g.io.keys.stores import load_credentials
from v2g.pki.profile import Role
from v2g.pki.reference import KeyReference
from v2g.pki.verify import verify_chain


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    return make_pki(tmp_path_factory.mktemp("pki") / "lab", now=datetime.now(UTC))


@pytest.fixture(params=["file", "pkcs11", "pkcs11-ed448", "tpm"])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A place for a key, and the options to make one there."""
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN)
    match request.param:
        case "file":
            yield f"file:{tmp_path}/new.key?pin-source=file:{pin}", []
        case "tpm":
            with stores.swtpm(tmp_path) as tpm:
                yield f"file:{tmp_path}/new.tss?pin-source=file:{pin}&tcti={tpm.tcti}", ["--tpm"]
        case other:
            (tmp_path / "hsm").mkdir()
            with stores.softhsm(tmp_path / "hsm"):
                options = ["--key-kind", "ed448"] if "ed448" in other else []
                yield f"pkcs11:token=car;object=new?pin-source=file:{pin}&module-path={SOFTHSM}", options


@pytest.mark.some(1)
def test_a_key_is_made_requested_certified_and_used(
    v2g: Run, key: tuple[str, list[str]], tree: PkiTree, tmp_path: Path
) -> None:
    need("openssl", program="openssl")
    uri, options = key
    made = v2g("pki", "key", uri, *options, "--json")
    assert made.code == 0, made.errors
    assert PIN not in made.output + made.errors
    request = tmp_path / "new.csr"
    asked = v2g("pki", "csr", "--key", uri, "--role", "vehicle", "--cn", "WMINEW", "-o", str(request))
    assert asked.code == 0, asked.errors
    verified = subprocess.run(
        ["openssl", "req", "-in", str(request), "-verify", "-noout", "-pubkey"], capture_output=True, text=True
    )
    assert "verify OK" in verified.stdout + verified.stderr
    assert json.loads(made.output)["public_key"] in verified.stdout
    chain = tmp_path / "new.pem"
    issued = v2g("pki", "issue", str(tree.directory), "--role", "vehicle", "--csr", str(request), "--out", str(chain),
                 "--name", f"new-{uuid.uuid4().hex}")  # fmt: skip
    assert issued.code == 0, issued.errors
    credentials = load_credentials(chain, KeyReference.from_text(uri, tmp_path))
    leaf, *above = credentials.chain
    verified_chain = verify_chain(leaf, above, tree.anchors("v2g", "oem"), role=Role.VEHICLE, at=datetime.now(UTC))
    assert verified_chain.subject_cn == "WMINEW"


def test_a_key_is_never_made_over_another(v2g: Run, key: tuple[str, list[str]]) -> None:
    uri, options = key
    assert v2g("pki", "key", uri, *options).code == 0
    again = v2g("pki", "key", uri, *options)
    assert again.code in (2, 4)
    assert "another" in again.errors


@pytest.mark.parametrize("uri", ["pkcs11:token=car;object=x?pin-value=1234", "handle:5", "vault:x"])
def test_what_cannot_be_meant_ends_with_words(v2g: Run, uri: str) -> None:
    done = v2g("pki", "key", uri)
    assert done.code == 2
    assert "Traceback" not in done.errors
