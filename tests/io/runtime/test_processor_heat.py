"""Whether the processor is hot or throttled, by files as Linux has them."""

import asyncio
from pathlib import Path

import pytest

from tests.processor import Thermal
from v2g.io.runtime.processor_heat import HeatReading, ProcessorConfig, ProcessorWatch, read_processor


def test_the_hottest_zone_of_the_processor_counts(tmp_path: Path) -> None:
    thermal = Thermal(tmp_path)
    assert read_processor(tmp_path) == HeatReading(None, throttled=False)
    thermal.zone("acpitz", "99000")
    assert read_processor(tmp_path).celsius == 99.0
    for kind, text in (("cpu-thermal", "61500"), ("x86_pkg_temp", "64000"), ("soc-thermal", ""), ("cpu1", "off")):
        thermal.zone(kind, text)
    assert read_processor(tmp_path) == HeatReading(64.0, throttled=False)


@pytest.mark.parametrize(
    ("kind", "state", "throttled"),
    [("thermal-cpufreq-0", "2", True), ("Processor", "0", False), ("Processor", "1", True), ("Fan", "3", False)],
)
def test_a_processor_with_a_lowered_frequency_is_throttled(
    tmp_path: Path, kind: str, state: str, throttled: bool
) -> None:
    Thermal(tmp_path).cooling(kind, state)
    assert read_processor(tmp_path) == HeatReading(None, throttled=throttled)


def test_hot_begins_and_ends_at_two_temperatures() -> None:
    said: list[tuple[float | None, bool]] = []
    watch = ProcessorWatch(ProcessorConfig(), lambda reading, hot, late_s: said.append((reading.celsius, hot)))
    for celsius in (None, 85.0, 85.1, 95.0, 75.1, None, 85.0, 85.5, 75.0):
        watch.look(HeatReading(celsius), 0.0)
    assert said == [(85.1, True), (None, False), (85.5, True), (75.0, False)]
    watch.look(HeatReading(40.0, throttled=True), 0.0)
    assert said[-1] == (40.0, True)


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="cool_c"):
        ProcessorConfig(hot_c=70)


async def test_it_reads_again_and_again_and_says_how_late_the_program_is() -> None:
    readings = iter([HeatReading(20.0), HeatReading(90.0), HeatReading(20.0)])
    said: asyncio.Queue[tuple[bool, float]] = asyncio.Queue()
    watch = ProcessorWatch(
        ProcessorConfig(poll_s=0.01),
        lambda reading, hot, late_s: said.put_nowait((hot, late_s)),
        lambda folder: next(readings, HeatReading(20.0)),
    )
    running = asyncio.create_task(watch.run())
    assert [(await said.get())[0], (await said.get())[0]] == [True, False]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
