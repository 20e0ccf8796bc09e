"""`v2g grid-code`: presets are shown with their sources, and only the installer changes what a charger keeps."""

from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Run
from v2g.energy.grid_code import presets
from v2g.errors import ConfigError, RefusedError
from v2g.io.storage.grid_code_file import read_grid_code, set_grid_code

pytestmark = pytest.mark.requirement("R209")


def test_presets_are_listed_shown_and_given_out_to_edit(v2g: Run, tmp_path: Path) -> None:
    names = [line.split("\t")[0] for line in v2g("grid-code", "list").output.splitlines()]
    assert "vde-ar-n-4105-2018" in names
    records = [msgspec.json.decode(line) for line in v2g("grid-code", "list", "--json").output.splitlines()]
    assert [each["preset"] for each in records] == names
    shown = v2g("grid-code", "show", "vde-ar-n-4105-2018").output
    assert "f>\t> 51.5 Hz\t0.1 s\tH" in shown
    assert "10 %/min" in shown
    assert "over frequency watt\talways\tstart_hz 50.2, stop_hz 51.5, slope 40.0, ramp 10\tH" in shown
    assert "after at most 3 s without a grid it waits 5 s only (K)" in shown
    text = v2g("grid-code", "show", "g98", "--toml").output
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('edition = "read 2026"', 'edition = "mine"'))
    assert v2g("grid-code", "show", str(mine)).output.startswith("EREC G98:mine")
    assert msgspec.json.decode(v2g("grid-code", "show", str(mine), "--json").output)["edition"] == "mine"
    assert v2g("grid-code", "show", "nothing").code == 2


def test_a_code_is_set_with_the_installers_code_only_and_each_change_is_noted(v2g: Run, tmp_path: Path) -> None:
    file, right, wrong = tmp_path / "code.json", tmp_path / "right", tmp_path / "wrong"
    for path, code in ((right, "installer-7"), (wrong, "installer-8")):
        path.write_text(f"{code}\n")
        path.chmod(0o600)
    first = v2g("grid-code", "set", str(file), "g98", "--reason", "commissioned", "--installer-code", str(right))
    assert "check them" in first.output
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert b"installer-7" not in before
    refused = v2g("grid-code", "set", str(file), "cei-0-21", "--reason", "moved", "--installer-code", str(wrong))
    assert refused.code == 5
    assert file.read_bytes() == before
    assert v2g("grid-code", "set", str(file), "g98", "--reason", "x", "--installer-code", str(right)).code == 2
    assert v2g("grid-code", "set", str(file), "cei-0-21", "--reason", "moved", "--installer-code", str(right)).code == 0
    lines = [line.split("\t")[1:] for line in v2g("grid-code", "log", str(file)).output.splitlines()]
    assert [(title, reason) for title, _, reason in lines] == [
        ("EREC G98:read 2026", "commissioned"),
        ("CEI 0-21:read 2026", "moved"),
    ]
    records = [msgspec.json.decode(line) for line in v2g("grid-code", "log", str(file), "--json").output.splitlines()]
    assert [each["reason"] for each in records] == ["commissioned", "moved"]


def test_without_a_terminal_the_installers_code_comes_from_a_file(v2g: Run, tmp_path: Path) -> None:
    result = v2g("grid-code", "set", str(tmp_path / "code.json"), "g98", "--reason", "commissioned")
    assert result.code == 2
    assert "--installer-code" in result.errors
    short = tmp_path / "short"
    short.write_text("1234")
    short.chmod(0o600)
    arguments = ("set", str(tmp_path / "code.json"), "g98", "--reason", "commissioned", "--installer-code", str(short))
    assert "8 characters" in v2g("grid-code", *arguments).errors
    assert not (tmp_path / "code.json").exists()


def test_the_lengths_of_reason_and_installers_code_are_exact(tmp_path: Path) -> None:
    code = presets()["g98"]
    for number, (installer, reason, fits) in enumerate(
        (("12345678", "abc", True), ("12345678", "x" * 500, True), ("1234567", "abc", False),
         ("12345678", "ab ", False), ("12345678", "x" * 501, False))
    ):  # fmt: skip
        file = tmp_path / f"{number}.json"
        if fits:
            assert set_grid_code(file, code, installer, reason=reason, utc_ms=1) == read_grid_code(file)
        else:
            with pytest.raises(ConfigError, match="characters"):
                set_grid_code(file, code, installer, reason=reason, utc_ms=1)
    assert read_grid_code(tmp_path / "0.json").installer != read_grid_code(tmp_path / "1.json").installer, "no salt"


def test_a_thousand_changes_with_the_longest_reasons_are_read_and_no_more_are_taken(tmp_path: Path) -> None:
    file, code = tmp_path / "code.json", presets()["g98"]
    first = set_grid_code(file, code, "installer-7", reason="\N{ELECTRIC PLUG}" * 500, utc_ms=1)
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(first, changes=first.changes * 999)))
    set_grid_code(file, code, "installer-7", reason="the last", utc_ms=2)
    assert len(read_grid_code(file).changes) == 1000
    for installer, reason in (("installer-7", "full"), ("installer-8", "installer_code")):
        with pytest.raises(RefusedError) as refused:
            set_grid_code(file, code, installer, reason="one more", utc_ms=3)
        assert refused.value.reason == reason
