"""A whole session in which no program has a private key of charger, vehicle, contract or meter: a token has them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run, v2g
from tests.io.keys import stores
from tests.io.keys.stores import PIN, SOFTHSM
from v2g_cli.demo.folder import RunFolder

__all__ = ["v2g"]

LEAVES = ("vehicle", "contract", "secc", "meter")


@pytest.mark.e2e
@pytest.mark.long
def test_a_session_runs_with_every_key_in_a_token(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own checks hold, among them that every signature of the settlement bundle verifies."""
    write = RunFolder.write
    folder = tmp_path / "run"
    (tmp_path / "pin").touch(mode=0o600)
    (tmp_path / "pin").write_text(PIN)

    def into_token(leaf: str) -> str:
        file = folder / "pki" / leaf / "leaf.key"
        if file.exists():
            named = ["--token", "car", "--label", leaf, "--id", leaf.encode().hex(), "--pin", PIN]
            subprocess.run(["softhsm2-util", "--import", file, *named], check=True, capture_output=True)
            file.unlink()
        return f"pkcs11:token=car;object={leaf}?pin-source=file:{tmp_path}/pin&module-path={SOFTHSM}"

    def write_configuration(self: RunFolder, name: str, text: str) -> Path:
        for leaf in LEAVES:
            line = f'key = "pki/{leaf}/leaf.key"'
            if line in text:
                text = text.replace(line, f'key = "{into_token(leaf)}"')
        return write(self, name, text)

    monkeypatch.setattr(RunFolder, "write", write_configuration)
    (tmp_path / "hsm").mkdir()
    with stores.softhsm(tmp_path / "hsm"):
        done = v2g("demo", "--json", "--time-scale", "900", "--folder", str(folder))
    records = [json.loads(line) for line in done.output.splitlines()]
    assert [check for check in records[-1]["checks"] if not check["passed"]] == []
    assert done.code == 0
    assert not any((folder / "pki" / leaf / "leaf.key").exists() for leaf in LEAVES)
