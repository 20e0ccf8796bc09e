"""An EVSE sleeps and wakes by the device's own commands (Q10)."""

from pathlib import Path

from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.smart_charging import Sleep, SleepRefused
from v2g_station.device.sleeping import SleepConfig, Sleeping


class Device:
    """Two EVSEs whose commands write down what they were asked; `sleep` may end with a code."""

    def __init__(self, folder: Path, *, code: int = 0) -> None:
        self.log = folder / "log"
        self.reported: list[Fact] = []
        config = SleepConfig(
            sleep=("/bin/sh", "-c", f"echo sleep {{evse}} >> {self.log}; exit {code}"),
            wake=("/bin/sh", "-c", f"echo wake {{evse}} >> {self.log}"),
        )
        self.parts = Sleeping(config, 2, self.reported.append, lambda _: None)

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines()


async def test_whoever_slept_when_the_program_ended_is_woken_and_sleeps_when_it_is_wanted(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.parts.start()
    await device.parts.finished()
    assert sorted(device.done) == ["wake 1", "wake 2"]
    device.parts.want(Sleep(evse_id=2, asleep=True))
    await device.parts.finished()
    assert device.done[2:] == ["sleep 2"]
    assert device.reported == []


async def test_the_last_wish_counts(tmp_path: Path) -> None:
    """A command that runs is not overtaken: sleep and wake never run at a time."""
    device = Device(tmp_path)
    for asleep in (True, False, True, False):
        device.parts.want(Sleep(evse_id=1, asleep=asleep))
    await device.parts.finished()
    assert device.done == ["wake 1"]


async def test_one_that_cannot_sleep_is_reported(tmp_path: Path) -> None:
    device = Device(tmp_path, code=1)
    device.parts.want(Sleep(evse_id=1, asleep=True))
    await device.parts.finished()
    assert device.reported == [SleepRefused(evse_id=1)]
    missing = Sleeping(SleepConfig(sleep=("/none",), wake=("/none",)), 1, device.reported.append, lambda _: None)
    missing.want(Sleep(evse_id=1, asleep=True))
    await missing.finished()
    assert len(device.reported) == 2
