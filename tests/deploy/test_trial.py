"""What goes back from new firmware that ends before its own code runs: as the process that units and slots start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.service import TRIAL, settings
from v2g.io.ota.folder_installer import FolderInstaller

pytestmark = pytest.mark.requirement("R133", "R135")

ECHO: Final = sys.executable, "-I", "-S", "-c", "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
PRINT: Final = sys.executable, "-I", "-S", "-c", "import sys; print(sys.argv[1])"


def trial(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"STATE_DIRECTORY": str(folder), "SERVICE_RESULT": "exit-code"} | environment
    command = sys.executable, "-I", "-S", str(TRIAL), *words
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)


class Device:
    """A state that the firmware before has left; slot b runs as `printed` says, and going back takes two commands."""

    def __init__(self, folder: Path, printed: str = "b", **changes: Any) -> None:
        self._folder, self.state = folder, folder / "firmware" / "update.json"
        self.state.parent.mkdir(exist_ok=True)
        back = [[*PRINT, printed], *([*ECHO, str(folder / "done"), each] for each in "12")]
        kept = {"phase": "trial", "old": "a", "number": 7, "tries": 0, "back": back} | changes
        self.state.write_text(json.dumps({name: each for name, each in kept.items() if each is not None}))

    def ends(self, **environment: str) -> str:
        """End once more; return what that says."""
        done = trial("ended", folder=self._folder, **environment)
        assert done.stdout == ""
        return done.stderr

    @property
    def done(self) -> str:
        """Which commands have run."""
        path = self._folder / "done"
        return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("phase", ["activating", "activated", "trial"])
@pytest.mark.parametrize("printed", ["b", 'warning: old\n{"compatible": "x", "booted": "b"}'], ids=["command", "rauc"])
def test_the_third_end_goes_back_and_keeps_why(tmp_path: Path, phase: str, printed: str) -> None:
    device = Device(tmp_path, printed, phase=phase)
    for number in (1, 2):
        assert (device.ends(), device.done) == ("", "")
        state = json.loads(device.state.read_text())
        assert (state["phase"], state["ends"], state["number"]) == (phase, number, 7)
    why = "it ended 3 times before it could begin"
    assert (device.ends(), device.done) == (f"back to the old firmware: {why}\n", "12")
    state = json.loads(device.state.read_text())
    assert (state["phase"], state["why"], state["tries"], state["number"]) == ("trial", why, 3, 7)
    assert device.state.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in device.state.parent.iterdir()] == ["update.json"]


def test_what_hangs_goes_back_at_once(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert device.ends(SERVICE_RESULT="timeout") == "back to the old firmware: it hung before it could begin\n"
    assert device.done == "12"


@pytest.mark.parametrize("unit", ["v2g-secc", "v2g-telemetry"])
def test_a_device_that_hangs_at_its_start_is_back_within_a_minute(unit: str) -> None:
    assert float(settings(unit)["TimeoutStartSec"][0]) <= 45


@pytest.mark.parametrize(
    "changes",
    [
        *({"phase": phase} for phase in ("idle", "installing", "healthy", "rolling_back")),
        {"old": "b"},
        {"old": "b", "printed": '{"booted": "b"}'},
        {"back": None},
        {"back": []},
    ],
)
def test_what_is_not_on_trial_stays(tmp_path: Path, changes: dict[str, Any]) -> None:
    device = Device(tmp_path, **changes)
    before = device.state.read_text()
    for _ in range(3):
        assert device.ends() == ""
    assert (device.state.read_text(), device.done) == (before, "")


def test_an_orderly_end_and_a_service_without_updates_are_none_of_its_business(tmp_path: Path) -> None:
    assert trial("ended", folder=tmp_path).stderr == ""
    device = Device(tmp_path)
    before = device.state.read_text()
    assert device.ends(SERVICE_RESULT="success") == ""
    assert device.state.read_text() == before


@pytest.mark.parametrize(
    "state", ["", "[]", "7", "{", '{"back": 7}', '{"phase": "trial", "back": [["/nowhere"]]}',
              '{"phase": "trial", "back": [["/bin/false"], ["x"]], "old": "a"}',
              '{"phase": "trial", "back": [["/bin/echo", "{"], ["x"]], "old": "a"}']
)  # fmt: skip
def test_what_it_cannot_do_is_named_without_a_traceback(tmp_path: Path, state: str) -> None:
    device = Device(tmp_path)
    device.state.write_text(state)
    said = device.ends()
    assert said.startswith("cannot go back to the old firmware: ")
    assert said.count("\n") == 1


def test_a_slot_on_trial_is_started_once_and_what_takes_note_of_it_is_confirmed(tmp_path: Path) -> None:
    installer = FolderInstaller(tmp_path, lambda: None)

    def starts() -> str:
        done = trial("start", str(tmp_path), *PRINT, "{image}", folder=tmp_path)
        return Path(done.stdout.strip()).parent.name

    assert starts() == "a"
    (tmp_path / "once").write_text("b")
    assert [starts() for _ in range(3)] == ["b", "a", "a"], "it has not taken note of its start"
    (tmp_path / "once").write_text("b")
    assert (starts(), installer.boot(), starts()) == ("b", "b", "a"), "it has, but was not confirmed"
    (tmp_path / "active").write_text("b")
    assert (starts(), installer.boot()) == ("b", "b")
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["active", "runs"]


def test_words_that_mean_nothing_are_explained(tmp_path: Path) -> None:
    for words in ((), ("start",), ("start", "slots")):
        done = trial(*words, folder=tmp_path)
        assert (done.returncode, "trial.py start SLOTS COMMAND" in done.stderr) == (1, True)
    done = trial("start", str(tmp_path), "/nowhere/program", folder=tmp_path)
    assert (done.returncode, "No such file" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
