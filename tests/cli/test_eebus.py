"""`v2g eebus`: what a charger's node shows, and boxes that it trusts (R206)."""

from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Run
from v2g.io.eebus.files import SEEN, Seen, SeenPeer, as_text, trusted

BOX = "ab" * 20


def test_the_lab_lists_its_cases_and_names_wrong_options(v2g: Run) -> None:
    device = ("wss://127.0.0.1:1/ship/", "--ski", BOX)
    listed = v2g("conform", "eebus", *device, "--list").output
    assert len(listed.splitlines()) == 12
    assert len(v2g("conform", "eebus", *device, "--list", "--quick").output.splitlines()) == 6
    for options in (("--use-case", "lpx"), ("--only", "nothing"), ("--least", "5", "--most", "4")):
        assert v2g("conform", "eebus", *device, *options).code == 2


def test_the_lab_names_a_folder_for_its_report_before_it_reaches_for_the_device(v2g: Run, tmp_path: Path) -> None:
    device = ("wss://127.0.0.1:1/ship/", "--ski", BOX, "--folder", str(tmp_path / "guard"))
    refused = v2g("conform", "eebus", *device, "--quick", "--junit", str(tmp_path))
    assert "is a folder" in refused.errors
    assert not (tmp_path / "guard").exists()


@pytest.mark.requirement("R206")
def test_a_box_is_shown_trusted_and_trusted_no_more(v2g: Run, tmp_path: Path) -> None:
    assert "start the charger once" in v2g("eebus", "show", str(tmp_path)).errors
    seen = Seen(ski="cd" * 20, qr="SHIP;ENDSHIP;", peers=(SeenPeer(ski=BOX, id="box", state="waiting"),))
    (tmp_path / SEEN).write_bytes(as_text(seen))
    shown = v2g("eebus", "show", str(tmp_path)).output
    assert shown.splitlines()[1:] == ["SHIP;ENDSHIP;", f"{BOX}\tnot trusted\twaiting\t\tbox"]
    typed = " ".join(BOX[at : at + 4] for at in range(0, 40, 4)).upper()
    assert v2g("eebus", "trust", str(tmp_path), typed).output == f"{BOX}: trusted\n"
    assert v2g("eebus", "trust", str(tmp_path), BOX).output == f"{BOX}: no change\n"
    assert trusted(tmp_path) == {BOX}
    lines = v2g("eebus", "show", str(tmp_path), "--json").output.splitlines()
    assert msgspec.json.decode(lines[1]) == {"ski": BOX, "id": "box", "state": "waiting", "trusted": True}
    assert v2g("eebus", "untrust", str(tmp_path), BOX).code == 0
    assert trusted(tmp_path) == frozenset()
    assert v2g("eebus", "trust", str(tmp_path), "box").code == 2
    (tmp_path / "commands.jsonl.1").write_text('{"at": "2026-01-02T00:00:00.000Z", "event": "eebus_state"}\n')
    (tmp_path / "commands.jsonl").write_text('{"at": "2026-03-02T00:00:00.000Z", "event": "drawn"}\n{"at": "20')
    logged = v2g("eebus", "log", str(tmp_path)).output.splitlines()
    assert [msgspec.json.decode(each)["event"] for each in logged] == ["eebus_state", "drawn"]
    assert len(v2g("eebus", "log", str(tmp_path), "--since", "2026-02-01").output.splitlines()) == 1
    assert v2g("eebus", "log", str(tmp_path), "--since", "yesterday").code == 2


def test_a_box_that_the_configuration_trusts_is_shown_so_and_stays_trusted(v2g: Run, tmp_path: Path) -> None:
    peers = (SeenPeer(ski=BOX, state="connected"),)
    (tmp_path / SEEN).write_bytes(as_text(Seen(ski="cd" * 20, qr="SHIP;ENDSHIP;", peers=peers, configured=(BOX,))))
    assert f"{BOX}\ttrusted by the configuration\tconnected" in v2g("eebus", "show", str(tmp_path)).output
    assert v2g("eebus", "trust", str(tmp_path), BOX).code == 0
    done = v2g("eebus", "untrust", str(tmp_path), BOX)
    assert (done.code, trusted(tmp_path)) == (2, frozenset())
    assert "remove it from `trusted`" in done.errors


@pytest.mark.parametrize("command", [("show",), ("log",), ("trust", BOX)])
@pytest.mark.parametrize("name", ["nothing", "secc.toml"])
def test_what_is_no_folder_is_refused(v2g: Run, tmp_path: Path, command: tuple[str, ...], name: str) -> None:
    (tmp_path / "secc.toml").touch()
    what, *more = command
    assert v2g("eebus", what, str(tmp_path / name), *more).code == 2
