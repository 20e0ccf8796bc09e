"""The emergency output: at once, recorded before it is acknowledged, repeated where it failed (R127)."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.waiting import until
from v2g.errors import TransportError
from v2g.io.hardware.emergency import OUTPUT, Emergency, GpioEmergencyOutput, SimulatedEmergencyOutput
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.emergency_log import FILE, EmergencyLog, EmergencyRecord
from v2g.observe import Observe


class Output:
    """An output that may fail, or not follow."""

    def __init__(self) -> None:
        self.commanded: list[bool] = []
        self.fails = self.deaf = False

    @property
    def asserted(self) -> bool:
        return bool(self.commanded) and self.commanded[-1] and not self.deaf

    def set(self, *, asserted: bool) -> None:
        if self.fails:
            raise TransportError("no line")
        self.commanded.append(asserted)


class Desk:
    """An emergency output with its record in a folder."""

    def __init__(self, folder: Path, output: Output | None = None) -> None:
        self.output, self.events, self.disk = output or Output(), list[Observe](), DiskThread()
        self.log = EmergencyLog.open(folder / FILE)
        self.emergency = Emergency(self.output, self.log, self.disk, utc_ms=lambda: 7, observe=self.events.append)

    async def close(self) -> None:
        await self.disk.close()
        self.log.close()

    def named(self) -> list[str]:
        return [each.name for each in self.events]


async def test_it_is_asserted_at_once_and_acknowledged_once_it_is_on_the_disk(tmp_path: Path) -> None:
    desk, gate = Desk(tmp_path), threading.Event()
    assert (desk.output.commanded, desk.emergency.cause) == ([False], "")
    desk.disk.do(gate.wait, lambda: None)  # the disk is busy
    desk.emergency.trip("thermal_runaway", {"plug": 91.0})
    desk.emergency.trip("something_else", {})
    assert desk.output.commanded == [False, True]
    await asyncio.sleep(0.01)
    assert (desk.events, (tmp_path / FILE).read_bytes()) == ([], b"")
    gate.set()
    await desk.close()
    assert desk.events == [Observe("emergency", "asserted", {"cause": "thermal_runaway", "since_ms": 7})]
    assert desk.log.entries == (
        EmergencyRecord(utc_ms=7, what="asserted", cause="thermal_runaway", evidence={"plug": 91.0}),
    )


async def test_after_a_restart_it_is_asserted_again_and_released_only_after_a_reset(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.emergency.trip("thermal_runaway", {})
    await desk.close()
    again = Desk(tmp_path)
    assert (again.output.commanded, again.emergency.cause) == ([True], "thermal_runaway")
    assert again.events == [Observe("emergency", "asserted", {"cause": "thermal_runaway", "since_ms": 7})]
    again.emergency.trip("thermal_runaway", {})
    assert len(again.log.entries) == 1
    again.log.append(EmergencyRecord(utc_ms=9, what="reset", reason="replaced"))
    await again.close()
    released = Desk(tmp_path)
    assert (released.output.commanded, released.emergency.cause, released.events) == ([False], "", [])
    await released.close()


async def test_an_output_that_does_not_follow_is_reported_once_and_asserted_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.emergency.check()
    assert desk.output.commanded == [False]
    desk.output.deaf = True
    desk.emergency.trip("thermal_runaway", {})
    for _ in range(3):
        desk.emergency.check()
    assert desk.output.commanded == [False, True, True, True, True]
    assert desk.named().count("without_effect") == 1
    desk.output.deaf = False
    desk.emergency.check()
    desk.output.fails = True
    desk.output.deaf = True
    desk.emergency.check()
    assert desk.named().count("without_effect") == 2
    await desk.close()


async def test_a_broken_output_keeps_nothing_from_the_record(tmp_path: Path) -> None:
    output = Output()
    output.fails = True
    desk = Desk(tmp_path, output)
    desk.emergency.trip("thermal_runaway", {})
    await desk.close()
    assert desk.log.latched is not None
    assert desk.named() == ["asserted"]


async def test_a_record_that_fails_is_reported_and_written_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    full = EmergencyLog(tmp_path / FILE, os.open(tmp_path / FILE, os.O_RDONLY), ())
    emergency = Emergency(desk.output, full, desk.disk, utc_ms=lambda: 7, observe=desk.events.append)
    emergency.trip("thermal_runaway", {})
    await until(lambda: desk.named() == ["not_recorded"])
    emergency.check()
    await until(lambda: desk.named() == ["not_recorded"] * 2)
    assert desk.output.commanded[-1]
    assert desk.events[0].data["cause"] == "thermal_runaway"
    assert "Bad file descriptor" in str(desk.events[0].data["error"])
    full.close()
    await desk.close()


async def test_evidence_of_any_size_is_bounded(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.emergency.trip("thermal_runaway", {f"{n}" * 600: float("nan") for n in range(200)})
    await desk.close()
    again = EmergencyLog.open(tmp_path / FILE)
    assert len(again.entries[0].evidence) <= 100
    again.close()


class Lines:
    """GPIO lines."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bool]] = []
        self.effect = False

    def read(self) -> dict[str, bool]:
        return {"feedback": self.effect}

    def write(self, name: str, *, active: bool) -> None:
        self.written.append((name, active))

    def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize("feedback", [False, True])
def test_a_line_shows_what_was_commanded_or_its_feedback(feedback: bool) -> None:
    lines = Lines()
    output = GpioEmergencyOutput(lines, feedback=feedback)
    assert not output.asserted
    output.set(asserted=True)
    assert lines.written == [("output", True)]
    assert output.asserted is not feedback
    lines.effect = True
    assert output.asserted
    output.set(asserted=False)
    assert lines.written[-1] == ("output", False)
    assert output.asserted is feedback


def test_a_simulated_output_latches_like_a_relay(tmp_path: Path) -> None:
    for path in (tmp_path / OUTPUT, None):
        output = SimulatedEmergencyOutput(path)
        output.set(asserted=False)
        assert not output.asserted
        output.set(asserted=True)
        assert output.asserted
        assert SimulatedEmergencyOutput(path).asserted is (path is not None)
    with pytest.raises(TransportError, match="none"):
        SimulatedEmergencyOutput(tmp_path / "none" / OUTPUT).set(asserted=True)
