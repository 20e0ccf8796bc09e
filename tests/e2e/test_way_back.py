"""The way back from this state to 0.2.0 (R133, R135): its own programs, in an environment of their own, go on with what
today's have stored."""

import shutil
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from benchmarks.compare import checkout
from tests.docs.documents import ROOT
from v2g.errors import TransportError
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.processes import Event, Program
from v2g_cli.demo.scenario import SCENARIOS, happened
from v2g_cli.demo.timeline import Timeline

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.requirement("R133", "R135")]

RELEASED: Final = "a85d9c3f"
"""The commit "Name this state 0.2.0"."""
DEVICE: Final = ("gateway", "secc", "evcc")
STORED: Final = ROOT / "tests/vectors/stores/0.2.0.tar.gz"


@pytest.fixture(scope="module")
def older() -> Path:
    """The Python that has 0.2.0."""
    python = checkout(RELEASED) / ".venv/bin/python"
    version = subprocess.run([python.with_name("v2g"), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == "v2g-engine 0.2.0\n"
    return python


class Switching(Conductor):
    """A run whose programs may be those of 0.2.0."""

    def __init__(self, folder: Path, older: Path) -> None:
        scenario = next(each for each in SCENARIOS if each.name == "pause")
        made = RunFolder(folder, scenario, 300.0)
        made.prepare()
        super().__init__(made, Timeline(time.monotonic(), "none"))
        self._python = older
        self.goes_back = False

    def _choose_fate(self) -> None:
        self._fate.append(self._go_back)

    def _go_back(self) -> bool:
        """In the pause, the device goes back to 0.2.0."""
        if not any((each.process, each.name) == ("evcc", "resting") for each in self.events):
            return False
        starts: tuple[Callable[[], None], ...] = (self._start_gateway, self._start_secc, self._start_evcc)
        for name in DEVICE:
            self.programs[name].stop()
        self.goes_back = True
        for start in starts:
            start()
        return True

    def _follow_settlement(self) -> None:
        super()._follow_settlement()
        self.goes_back = False  # and once more
        self.programs["secc"].stop()
        self._start_secc()

    def _start(self, new: Program, stage: str, name: str) -> Event:
        return super()._start(self._switched(new), stage, name)

    def _program(self, name: str, config: Path, fault: object) -> Program:
        if self.goes_back:
            config.write_text(config.read_text().replace(', "1.6"]', "]"))  # which 0.2.0 does not speak
        return self._switched(super()._program(name, config, fault))

    def _switched(self, new: Program) -> Program:
        if self.goes_back:
            new.command[0:1] = [str(self._python), "-P"]
        return new

    def start_csms(self, *, older: bool) -> None:
        """Start a back end, and stop it once it is ready."""
        self.goes_back = older
        self._start_csms()
        self.programs["csms"].stop()


def test_a_device_that_goes_back_in_a_pause_charges_on_and_loses_nothing(tmp_path: Path, older: Path) -> None:
    """Charger, vehicle and gateway of 0.2.0 read station's store, sealed outbox and the vehicle's pause as today's have
    written them, and today's read those again. The journal and the paused session have newer formats: the vehicle
    charges in a new session, and today's charger settles the old one once it is back."""
    run = Switching(tmp_path / "run", older)
    run.play()
    assert all(happened(each, run.events) for each in run.scenario.sees)
    names = ("session_started", "bundle_written")
    ids = [each.data["session_id"] for each in run.events if each.process == "secc" and each.name in names]
    first, second, *settled = ids
    assert settled == [second, first]
    boots = [each.data["boot"] for each in run.events if (each.process, each.name) == ("gateway", "started")]
    assert len(boots) == 2
    assert boots[0] < boots[1]
    broken = {"memory_unreadable", "outbox_damaged", "task_failed", "boot_renumbered"}
    assert [each for each in run.events if each.name in broken] == []
    today = ROOT / ".venv/bin/python"
    for python, session, proves in (
        (older, second, "Complete"),
        (today, second, "Complete"),
        (today, first, "INCOMPLETE"),
    ):
        bundle = run.folder.path / "secc" / "settlements" / session
        verify = [python.with_name("v2g"), "settle", "verify", bundle, "--max-reaction", "3600"]
        done = subprocess.run(verify, capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout.startswith(proves), done.stdout + done.stderr


def test_a_back_end_is_refused_what_it_cannot_read_and_goes_on_with_the_copy(tmp_path: Path, older: Path) -> None:
    """The copy is from before the update: what came since is in the newer file only."""
    run = Switching(tmp_path / "run", older)
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path / "stored", filter="data")
    (data := run.folder.path / "csms").mkdir(mode=0o700, exist_ok=True)
    shutil.copytree(tmp_path / "stored/csms", data, dirs_exist_ok=True)
    run.start_csms(older=False)
    copy = data / "csms.sqlite3.revision-0042"
    assert copy.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TransportError, match="ended with exit code 8"):
        run.start_csms(older=True)
    assert "was it written by a newer version?" in (run.folder.path / "csms.log").read_text()
    assert "Traceback" not in (run.folder.path / "csms.log").read_text()
    for each in data.glob("csms.sqlite3-*"):
        each.unlink()
    copy.rename(data / "csms.sqlite3")
    run.start_csms(older=True)
    with sqlite3.connect(data / "csms.sqlite3") as database:
        assert database.execute("SELECT count(*) FROM transactions").fetchone() == (1,)
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("0042",)
    database.close()
