"""The file of a paused session holds that of either edition."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from evcc.pauses import PauseFile
from evcc.session.paused import Paused, PausedChoice, PausedSession, Resume
from evcc.session.program import ProgramProgress
from tests.evcc.session.vehicle_bench import VehicleBench
from tests.later import later
from tests.sealing import Keys
from v2g.observe import Observe

PROGRESS = ProgramProgress(index=1, since_ms=5, charged_mwh=100, discharged_mwh=10)


@pytest.mark.parametrize(
    "paused",
    [
        Resume(b"12345678", PausedChoice(2, 1, bpt=False, dynamic=True), b"charger", PROGRESS),
        PausedSession(b"12345678", "DC_extended", contract=True, progress=PROGRESS),
    ],
)
@pytest.mark.requirement("R133", "R145")
def test_a_paused_session_is_stored_with_the_batterys_counters(tmp_path: Path, paused: Paused, keys: Keys) -> None:
    file = PauseFile(tmp_path / "pause.json", lambda _: None, keys)
    battery = replace(VehicleBench().model.state, charged_mwh=1000, discharged_mwh=500)
    file.save(paused, battery)
    assert (b"charged_mwh" in (tmp_path / "pause.json").read_bytes()) is (keys is None)
    stored = file.load()
    assert stored is not None
    assert stored.resume_with(battery) == paused
    if keys is None:
        (tmp_path / "pause.json").write_bytes(later((tmp_path / "pause.json").read_bytes()))
        assert file.load() == stored, "of a later program"
    restarted = stored.resume_with(replace(battery, charged_mwh=0, discharged_mwh=0))
    assert restarted is not None
    assert restarted.progress == replace(PROGRESS, charged_mwh=100 - 1000, discharged_mwh=10 - 500)


def test_a_vehicle_whose_disk_fails_rests_and_resumes_all_the_same(tmp_path: Path) -> None:
    """Only a restart forgets the session: the charger keeps it, and the vehicle is still plugged in."""
    (tmp_path / "no folder").touch()
    seen: list[Observe] = []
    paused = PausedSession(b"12345678", "DC_extended", contract=True, progress=PROGRESS)
    battery = VehicleBench().model.state
    stored = PauseFile(tmp_path / "no folder" / "pause.json", seen.append).save(paused, battery)
    assert stored.resume_with(battery) == paused
    assert [(each.stage, each.name) for each in seen] == [("session", "not_kept")]
