"""Where the charger knows the grid's frequency from."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from secc.energy_manager.grid_frequency import FrequencyConfig, GridWatch
from secc.hardware.meter import SimulatedMeter
from secc.hardware.meter_remote import RemoteMeter
from tests.waiting import until
from v2g.errors import ConfigError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.registers import shipped_map, values_of
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.local_control import GridFrequency


class Polled:
    """A Modbus meter that says what a test says."""

    rollover_mwh, lost = None, False

    def __init__(self) -> None:
        self.values = MeterValues(0, 0, 231_000, 0, 50_000)
        self.changed: list[Any] = []
        self.faults: list[Any] = []

    def on_change(self, callback: Any) -> None:
        self.changed.append(callback)

    def on_fault(self, callback: Any) -> None:
        self.faults.append(callback)

    def reads(self, mhz: int | None) -> None:
        self.values = MeterValues(0, 0, 231_000, 0, mhz)
        for callback in self.changed:
            callback()


class GridReports:
    """What the grid does, as reported."""

    def __init__(self, config: FrequencyConfig, meters: Any, clock: Clock | None = None) -> None:
        self.grid: list[GridFrequency] = []
        self.events: list[Observe] = []
        self.watch = GridWatch(config, meters, clock or Clock(), self.events.append, self.grid.append)


def test_every_reading_of_the_meter_is_reported_at_once() -> None:
    meter = Polled()
    reported = GridReports(FrequencyConfig(), [RemoteMeter("M", meter, lambda: 0.0)])  # type: ignore[arg-type]
    meter.reads(49_870)
    meter.reads(50_010)
    assert reported.grid == [GridFrequency(hz=49.87, volt=231.0), GridFrequency(hz=50.01, volt=231.0)]


async def test_the_frequency_is_unknown_until_the_first_good_measurement(tmp_path: Path) -> None:
    meter, file = Polled(), tmp_path / "trace.csv"
    file.write_text("0,65\n1000,65\n")
    measured = GridReports(FrequencyConfig(), [RemoteMeter("M", meter, lambda: 0.0)])  # type: ignore[arg-type]
    played = GridReports(FrequencyConfig(source="trace", trace=file), [])
    for watch in (measured.watch, played.watch):
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(0)
        await cancel_tasks(running)
    assert [each.measured for each in (*measured.grid, *played.grid)] == [False, False, False]
    assert [event.name for event in (*measured.events, *played.events)] == ["frequency_lost"], (
        "65 Hz are not those of this grid"
    )
    meter.reads(50_000)
    assert measured.grid[-1].measured
    assert measured.events == [], "nothing was lost"


def test_a_meter_that_falls_silent_or_talks_nonsense_measures_no_grid() -> None:
    meter = Polled()
    reported = GridReports(FrequencyConfig(), [RemoteMeter("M", meter, lambda: 0.0)])  # type: ignore[arg-type]
    meter.reads(49_500)
    for lost in (True, False):
        meter.faults[0]("meter_lost", lost)
    meter.reads(49_800)
    meter.reads(0)
    meter.reads(0)
    meter.reads(49_900)
    meter.reads(None)
    meter.reads(50_000)
    assert [(each.hz, each.volt, each.measured) for each in reported.grid] == [
        (49.5, 231.0, True), (50.0, None, False), (49.8, 231.0, True), (50.0, None, False), (49.9, 231.0, True),
        (50.0, None, False), (50.0, 231.0, True),
    ]  # fmt: skip
    assert [event.name for event in reported.events] == [
        "frequency_lost", "frequency_back", "frequency_lost", "frequency_back", "frequency_lost", "frequency_back",
    ]  # fmt: skip


def test_a_meter_without_a_frequency_is_refused() -> None:
    with pytest.raises(ConfigError, match="meter"):
        GridReports(FrequencyConfig(), [SimulatedMeter("M", now_ms=lambda: 0)])


async def test_a_trace_is_played_on_the_simulated_clock(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("# synthetic\n0,50\n1000,49\n")
    reported = GridReports(
        FrequencyConfig(source="trace", trace=file, every_s=0.001), [], Clock(ClockConfig(scale=10_000.0))
    )
    running = asyncio.create_task(reported.watch.run())
    await until(lambda: reported.grid and reported.grid[-1].hz <= 49.0)
    await cancel_tasks(running)
    seen = [each.hz for each in reported.grid]
    assert seen == sorted(seen, reverse=True)


def test_source_and_file_belong_together() -> None:
    with pytest.raises(msgspec.ValidationError, match="trace"):
        msgspec.convert({"source": "trace"}, FrequencyConfig)


def test_an_sdm630_reports_the_frequency() -> None:
    registers = shipped_map("sdm630")
    words = {(table, first + at): 0 for table, first, count in registers.requests() for at in range(count)}
    assert values_of(registers, words | {("input", 0x46): 0x4248}).frequency_mhz == 50_000
