"""`v2g telemetry`: pseudonyms and keys."""

import hmac
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from v2g.io.storage.record_keys import RecordKeys

VIN = "WVWZZZ1KZAW123456"


@pytest.mark.requirement("R143")
def test_pseudonyms_are_made_of_vins_on_standard_input(v2g: Run, tmp_path: Path) -> None:
    path = tmp_path / "pseudonyms.key"
    made = v2g("telemetry", "pseudonym", "--key", str(path), "--create", given=f"{VIN}\n\n{VIN.lower()}\n".encode())
    assert path.stat().st_mode & 0o777 == 0o600
    expected = "ev-" + hmac.digest(bytes.fromhex(path.read_text()), VIN.encode(), "sha256").hex()[:32]
    assert (made.code, made.output) == (0, f"{expected}\n" * 2)
    assert VIN not in made.output + made.errors
    assert v2g("telemetry", "pseudonym", "--key", str(path), given=VIN.encode()).output == f"{expected}\n"
    again = v2g("telemetry", "pseudonym", "--key", str(path), "--create")
    assert "exists" in again.errors
    wrong = v2g("telemetry", "pseudonym", "--key", str(path), given=b"WVWZZZ1KZAW12345O\n")
    assert (wrong.code, wrong.output) != (0, "")
    assert "not a VIN" in wrong.errors
    assert "WVWZZZ" not in wrong.errors
    path.write_text("nonsense")
    assert "holds no key" in v2g("telemetry", "pseudonym", "--key", str(path), given=VIN.encode()).errors


@pytest.mark.requirement("R145")
def test_keys_of_the_outbox_are_appended(v2g: Run, tmp_path: Path) -> None:
    path = tmp_path / "outbox.keys"
    assert "key 1" in v2g("telemetry", "key", str(path)).output
    assert "key 2" in v2g("telemetry", "key", str(path)).output
    assert RecordKeys.read(path).newest == 2


def test_the_gateway_needs_a_configuration(v2g: Run, tmp_path: Path) -> None:
    assert "add --config FILE" in v2g("telemetry", "--events", str(tmp_path / "e")).errors


def test_simulated_vehicles_that_cannot_begin_say_why_in_one_line(v2g: Run, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("no certificate")
    access = ("--url", "https://127.0.0.1:1", "--ca", str(tmp_path / "root.pem"))
    done = v2g("telemetry", "simulate", *access, "--token", "secret")
    assert (done.code, "root.pem: no certificate in it" in done.errors) == (4, True), done.errors
