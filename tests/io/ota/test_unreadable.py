"""New firmware that cannot read its configuration: what each program does before it ends, as a process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from v2g.errors import ConfigError
from v2g.io.ota.unreadable import read_or_go_back

pytestmark = pytest.mark.requirement("R133", "R135")

UPDATE: Final = 'slots = "slots"\nof_tomorrow = 1\n'
PROGRAMS: Final = {
    "secc": ('[station]\nstore = "s/station.sqlite3"\n[station.update]\n' + UPDATE, "s/firmware", "activated"),
    "v2g_gateway": ('outbox = "o.db"\n[update]\n' + UPDATE, "o.update", "trial"),
}
"""Configuration, folder of the state, and how the state says that firmware is on trial."""


def on_trial(folder: Path, state: str, phase: str, **more: Any) -> Path:
    """Slot b runs, once; a is permanent. Return the file of the state."""
    for name, content in {"slots/a/image": "old", "slots/b/image": "new", "slots/runs": "b"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "slots" / "once").write_text("b")
    (folder / "slots" / "active").write_text("a")
    (folder / state).mkdir(parents=True)
    kept = {"phase": phase, "old": "a", "number": 7, "request_id": 7, "tries": 1} | more
    (file := folder / state / "update.json").write_text(json.dumps(kept))
    return file


def files(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in (folder / "slots").iterdir() if each.is_file()}


BACK: Final = {"runs": "b", "active": "a"}
"""The trial is over; the next start is that of a."""


@pytest.mark.e2e
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_goes_back_and_keeps_why(tmp_path: Path, program: str) -> None:
    text, state, phase = PROGRAMS[program]
    kept = on_trial(tmp_path, state, phase)
    (config := tmp_path / "c.toml").touch(mode=0o600)
    config.write_text(text)
    ended = subprocess.run([sys.executable, "-m", program, "--config", str(config)], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "back to the old firmware" in ended.stderr
    assert files(tmp_path) == BACK
    found = json.loads(kept.read_text())
    assert (found["phase"], found["request_id"]) == ("rolling_back" if program == "secc" else "trial", 7)
    assert "unknown key" in found["why"]


class Program:
    """A program whose configuration has a folder and `[update]`."""

    def __init__(self, folder: Path, text: str = '[update]\nslots = "slots"\n') -> None:
        self._path = folder / "c.toml"
        self._path.touch(mode=0o600)
        self._path.write_text(text)
        self.error = "no good"

    def read(self) -> Any:
        def read(text: str) -> str:
            if self.error:
                raise ConfigError(self.error)
            return text

        return read_or_go_back(self._path, read, lambda tree: (tree["update"], Path("state")))


def test_what_is_read_is_returned_and_nothing_changes(tmp_path: Path) -> None:
    on_trial(tmp_path, "state", "trial")
    program = Program(tmp_path)
    program.error = ""
    assert program.read().startswith("[update]")
    assert files(tmp_path) == BACK | {"once": "b"}


@pytest.mark.parametrize("phase", ["idle", "installing", "healthy", "rolling_back"])
def test_what_is_not_on_trial_stays(tmp_path: Path, phase: str) -> None:
    kept = on_trial(tmp_path, "state", phase)
    before = kept.read_text()
    with pytest.raises(ConfigError, match="no good"):
        Program(tmp_path).read()
    assert files(tmp_path) == BACK | {"once": "b"}
    assert kept.read_text() == before


def test_the_old_firmware_does_not_go_back(tmp_path: Path) -> None:
    """It runs again, and an operator has spoilt the configuration."""
    kept = on_trial(tmp_path, "state", "trial", old="b")
    before = kept.read_text()
    with pytest.raises(ConfigError):
        Program(tmp_path).read()
    assert kept.read_text() == before


@pytest.mark.parametrize("phase", ["activating", "activated", "trial"])
def test_what_is_on_trial_goes_back_and_says_why_in_short(
    tmp_path: Path, phase: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept = on_trial(tmp_path, "state", phase)
    (tmp_path / "slots" / "active").write_text("b")  # confirmed, but for the state
    program = Program(tmp_path)
    program.error = "x" * 300
    with pytest.raises(ConfigError, match="x" * 300):
        program.read()
    assert files(tmp_path) == BACK
    changed = {"phase": "trial", "why": "x" * 200}
    assert json.loads(kept.read_text()) == {"old": "a", "number": 7, "request_id": 7, "tries": 1} | changed
    assert kept.stat().st_mode & 0o777 == 0o600
    assert ["back to the old firmware" in each for each in caplog.messages] == [True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ""),
        ("update = 1\n", ""),
        ("[update", ""),
        ("[update]\nslots = 1\n", "update: slots"),
        ('[update]\ninstaller = "acme"\n', "no installer 'acme' is installed"),
        ('[update]\nrauc = {program = ["/nowhere/rauc"]}\n', "/nowhere/rauc"),
    ],
)
def test_where_that_cannot_be_done_the_error_is_the_same(
    tmp_path: Path, text: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    on_trial(tmp_path, "state", "trial")
    with pytest.raises(ConfigError, match="no good"):
        Program(tmp_path, text).read()
    assert [says in each for each in caplog.messages] == [True] * bool(says)
    assert files(tmp_path) == BACK | {"once": "b"}


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"phase": 1, "old": "a"}', "\0"])
def test_a_state_that_is_broken_is_no_trial(tmp_path: Path, state: str) -> None:
    on_trial(tmp_path, "state", "trial").write_text(state)
    with pytest.raises(ConfigError, match="no good"):
        Program(tmp_path).read()
    assert files(tmp_path) == BACK | {"once": "b"}


def test_without_an_update_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no good"):
        Program(tmp_path).read()
    assert [each.name for each in tmp_path.iterdir()] == ["c.toml"]
