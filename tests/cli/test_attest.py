"""`v2g attest`: what it writes is what a charger compares, and what it lists is what differs."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.conftest import Run
from v2g.pki.keys import save_key


@pytest.mark.requirement("R148")
def test_a_manifest_is_made_and_checked(v2g: Run, tmp_path: Path) -> None:
    key, public, manifest = tmp_path / "s.key", tmp_path / "s.pem", tmp_path / "manifest.json"
    save_key(key, private := ec.generate_private_key(ec.SECP256R1()))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    (program := tmp_path / "program").mkdir()
    (program / "a.py").write_text("A = 1")
    done = v2g("attest", "make", str(manifest), str(program), "--key", str(key), "--number", "4")
    assert (done.code, done.output) == (0, f"{manifest}: 1 files, number 4\n")
    (program / "a.py").write_text("A = 2")
    (program / "b\x1b.py").touch()
    checked = v2g("attest", "check", str(manifest), "--public-key", str(public), "--number", "5", "--json")
    found = [msgspec.json.decode(line) for line in checked.output.splitlines()]
    ours = {(each["kind"], each["path"]) for each in found if each["path"].startswith(str(tmp_path))}
    assert ours == {("older", str(manifest)), ("changed", f"{program}/a.py"), ("extra", f"{program}/b\x1b.py")}
    assert checked.code == 4
    assert "\x1b" not in v2g("attest", "check", str(manifest), "--public-key", str(public)).output
    nothing = v2g("attest", "make", str(tmp_path / "no" / "m.json"), str(program), "--key", str(key))
    assert (nothing.code, "No such file" in nothing.errors) == (8, True)
