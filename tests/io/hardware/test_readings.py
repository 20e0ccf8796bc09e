"""What meters on all lines have in common: the last good reading, and the loss of the meter."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.together import together
from tests.virtual_time import in_simulated_time
from v2g.energy.conductors import Currents
from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.io.hardware.readings import MeterReadings, without_echo
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe

FIRST, SECOND = MeterValues(5_000, 3_000, 230_000, 10), MeterValues(6_000, 3_000)


class Hands(Clock):
    """A clock that stands at `now`."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Meter(MeterReadings):
    """A meter whose line is the test."""

    def __init__(self, *, rollover_kwh: int | None = None, swap: bool = False) -> None:
        self.clock = Hands()
        self.events: list[Observe] = []
        super().__init__("line", self.clock, self.events.append, lost_s=2.0, rollover_kwh=rollover_kwh, swap=swap)
        self.calls: list[str] = []
        self.faults: list[tuple[str, bool]] = []
        self.on_fault(lambda word, active: self.faults.append((word, active)))

    async def open(self) -> None:
        self.calls.append("open")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def first(self) -> None:
        await self._first(5.0, "is it there?")

    def take(self, values: MeterValues, age_s: float = 0.0) -> None:
        self._take(values, self.clock.now - age_s)

    def miss(self, *why: str) -> None:
        self._missed(*why)


def play(scene: Callable[[Meter], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        await scene(Meter())

    in_simulated_time(scenario())


def later(seconds: float, call: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


def elapsed() -> Callable[[], float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return lambda: round(loop.time() - began, 2)


def test_a_meter_is_open_for_as_long_as_it_is_used() -> None:
    async def scene(meter: Meter) -> None:
        with contextlib.suppress(ValueError):
            async with meter.opened() as part:
                assert (part, meter.calls) == (meter, ["open"])
                raise ValueError
        assert meter.calls == ["open", "stop"]

    play(scene)


def test_before_its_first_reading_it_has_no_values() -> None:
    meter = Meter()
    assert (meter.lost, meter.has_voltage, meter.errors) == (False, False, 0)
    with pytest.raises(TransportError, match="the meter on line has not answered"):
        _ = meter.values


def test_the_last_reading_is_kept_and_passed_on() -> None:
    meter, seen = Meter(), list[MeterValues]()
    meter.on_change(lambda: seen.append(meter.values))
    meter.take(FIRST)
    assert meter.has_voltage
    meter.take(SECOND)
    assert not meter.has_voltage
    assert seen == [FIRST, SECOND]


def test_a_meter_may_count_the_other_way_and_start_again() -> None:
    meter = Meter(rollover_kwh=3, swap=True)
    meter.take(FIRST)
    assert meter.values == MeterValues(3_000, 5_000, 230_000, -10)
    assert (meter.rollover_mwh, Meter().rollover_mwh) == (3_000_000, None)


def test_it_is_lost_once_there_was_no_reading_for_its_time_and_until_there_is_one() -> None:
    meter = Meter()
    meter.take(FIRST, age_s=0.5)
    meter.clock.now += 1.25
    meter.miss("garbage")
    meter.miss()
    assert (meter.faults, meter.errors, meter.failure) == ([], 1, "garbage")
    meter.clock.now += 0.25
    meter.miss()
    meter.miss()
    assert (meter.faults, meter.lost, meter.values) == ([("meter_lost", True)], True, FIRST)
    meter.take(FIRST)
    meter.take(FIRST)
    assert (meter.faults, meter.lost) == ([("meter_lost", True), ("meter_lost", False)], False)
    meter.clock.now += 2.0
    meter.miss()
    assert meter.events == [
        Observe("hardware", "meter_lost", {"place": "line", "why": why}) for why in ("garbage", "it does not answer")
    ]


@pytest.mark.requirement("R192")
def test_a_meter_that_no_longer_says_what_flows_is_lost_and_one_that_never_did_is_not() -> None:
    meter, counter = Meter(), Meter()
    meter.take(FIRST)
    for _ in range(4):
        for each in (meter, counter):
            each.clock.now += 0.6
            each.take(SECOND)
    assert (meter.lost, meter.values, meter.failure) == (True, SECOND, "the reading has neither power nor currents")
    assert (counter.lost, counter.errors) == (False, 0)
    meter.take(MeterValues(6_000, 3_000, line_w=(10, 0, 0)))
    assert not meter.lost
    meter.clock.now += 1.9
    meter.take(MeterValues(6_000, 3_000, currents=Currents(16_000, 0, 0)))
    meter.clock.now += 1.9
    meter.take(SECOND)
    assert not meter.lost


def test_the_time_until_it_is_lost_begins_with_the_meter() -> None:
    meter = Meter()
    meter.clock.now += 1.75
    meter.miss()
    assert not meter.lost
    meter.clock.now += 0.25
    meter.miss()
    assert meter.lost


def test_a_refresh_waits_for_a_reading_that_began_after_it() -> None:
    async def scene(meter: Meter) -> None:
        since = elapsed()
        later(0.5, lambda: meter.take(FIRST))
        await meter.refresh()
        assert since() == 0.5, "the first"
        await meter.refresh()
        assert since() == 0.5, "began at this moment"
        meter.clock.now += 1
        later(0.5, lambda: meter.take(SECOND, age_s=0.1))
        later(0.75, lambda: meter.take(SECOND))
        await meter.refresh()
        assert since() == 1.25

    play(scene)


def test_a_refresh_of_a_lost_meter_ends() -> None:
    async def scene(meter: Meter) -> None:
        since = elapsed()
        await meter.refresh()
        assert since() == 2.0

    play(scene)


def test_the_first_reading_is_waited_for() -> None:
    async def scene(meter: Meter) -> None:
        since = elapsed()
        for why in ("it does not answer", "garbage"):
            with pytest.raises(TransportError, match=f"no reading of the meter on line: {why}") as caught:
                await meter.first()
            assert caught.value.hint == "is it there?"
            later(1.0, lambda: meter.miss("garbage"))
        assert since() == 10.0
        later(0.5, lambda: meter.take(FIRST))
        await meter.first()
        assert since() == 10.5

    play(scene)


@together(
    ("received", "left"),
    [
        (b"", b""),
        (b"as", b""),
        (b"ask", b""),
        (b"askanswer", b"answer"),
        (b"answer", b"answer"),
        (b"asanswer", b"asanswer"),
    ],
)
def test_an_echo_is_no_answer(received: bytes, left: bytes) -> None:
    assert without_echo(received, b"ask") == left
