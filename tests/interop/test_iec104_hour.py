"""An hour of events and a thousand commands beside c104, over a line that is cut, late and deaf (R208).

Event time is given: an hour passes as fast as c104 goes. Timers of both ends are real.
"""

import asyncio
import contextlib
import os
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.interop.environments import environment
from tests.interop.iec104_peer import ControlCentre
from tests.proxy import Proxy
from tests.waiting import until
from v2g.iec60870.apci import LinkTimes
from v2g.iec60870.outstation import CommandPoint, MonitoredPoint, Outstation, OutstationSettings
from v2g.io.network.iec104_server import Iec104Server

pytestmark = [pytest.mark.requirement("R208"), pytest.mark.interop, pytest.mark.long]

HOUR_S = 3600
COMMANDS = 1000
VALUE, LIMIT = 1105, 2101
TIMES = LinkTimes(k=12, w=8, t1_s=3.0, t2_s=1.0, t3_s=2.0)
LATE_S = 2.0
"""How late a timer of the outstation may be seen, on a busy machine."""


class Hour:
    """An outstation behind a bad line, and c104. `at_ms`: what time it is there (UTC)."""

    def __init__(self, begin_ms: int) -> None:
        self.begin_ms = self.at_ms = begin_ms
        self.executed: list[float] = []
        self.closed: list[str] = []
        self.outstation = Outstation(
            OutstationSettings(times=TIMES),
            [MonitoredPoint(address=VALUE, kind="float")],
            [CommandPoint(address=LIMIT, kind="float", most=10_000)],
            self._execute,
        )
        self.server = Iec104Server(self.outstation, ("127.0.0.1",), self.closed.append, lambda: self.at_ms)
        self.proxy: Proxy
        self.centre: ControlCentre
        self.happened = 0

    def _execute(self, _address: int, value: float) -> bool:
        self.executed.append(value)
        return True

    def go_on(self, seconds: int) -> None:
        """Let seconds of the hour pass, with an event in each."""
        for _ in range(min(seconds, HOUR_S - self.happened)):
            self.happened += 1
            self.at_ms = self.begin_ms + 1000 * self.happened
            self.outstation.update(VALUE, self.happened, time.monotonic(), self.at_ms)
        self.server.send()

    async def delivered(self) -> None:
        """Wait until no event waits; c104 sometimes takes a line that is lost for one that is there."""
        async with asyncio.timeout(60):
            while self.outstation.waiting:
                assert await self.centre.do("wait")
                await asyncio.sleep(0.02)

    async def lost(self) -> None:
        """Cut the line while much happens, and have c104 connect again."""
        self.go_on(7)
        self.proxy.cut()
        self.go_on(20)
        assert await self.centre.do("wait")


@contextlib.asynccontextmanager
async def beginning(begin_ms: int) -> AsyncIterator[Hour]:
    python = environment("c104", ("c104==2.2.1",))
    hour = Hour(begin_ms)
    await hour.server.open("127.0.0.1", 0)
    hour.proxy = Proxy(hour.server.port)
    await hour.proxy.start()
    process = await asyncio.create_subprocess_exec(
        str(python), str(Path(__file__).with_name("iec104_centre.py")), str(hour.proxy.port),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**26, env=os.environ | {"TZ": "UTC"},
    )  # fmt: skip
    hour.centre = ControlCentre(process)
    try:
        assert await hour.centre.do("wait")
        yield hour
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()
        await hour.proxy.close()
        await hour.server.close()


@pytest.mark.parametrize(
    "begin", ["2026-10-25T00:30:00+00:00", "2026-12-31T23:30:00+00:00"], ids=["end of summer time", "new year"]
)
async def test_an_hour_beside_c104_loses_no_event_and_operates_no_command_twice(begin: str) -> None:
    chance, losses = random.Random(104), 0
    attempts: dict[float, int] = {}
    async with beginning(round(datetime.fromisoformat(begin).timestamp() * 1000)) as hour:
        for number in range(COMMANDS):
            hour.go_on(3)
            value, done = float(number), False
            if number % 20 == 10:
                assert not await hour.centre.do("direct", address=LIMIT, value=value), "without select"
                assert value not in hour.executed
            while not done:
                attempts[value] = attempts.get(value, 0) + 1
                asked = asyncio.create_task(hour.centre.do("once", address=LIMIT, value=value))
                if chance.random() < 0.02:  # in the midst of select and operate, or before, or after
                    await asyncio.sleep(chance.random() * 0.01)
                    hour.proxy.cut()
                    losses += 1
                done = await asked
                assert await hour.centre.do("wait")
            if number % 50 == 25:
                await hour.lost()
                losses += 1
        hour.go_on(HOUR_S)
        await hour.delivered()
        # nothing of c104 arrives any more: what is sent is not acknowledged within t1
        hour.proxy.be_deaf("up")
        ended, deaf_s = len(hour.closed), time.monotonic()
        hour.outstation.update(VALUE, HOUR_S + 1, time.monotonic(), hour.at_ms + 1)
        hour.server.send()
        await until(lambda: len(hour.closed) != ended)
        closed_after_s = time.monotonic() - deaf_s
        assert hour.closed[-1] == "connection of 127.0.0.1: no acknowledgement within 3 s"
        hour.proxy.heal()
        losses += 1
        await hour.delivered()
        await asyncio.sleep(2 * TIMES.t3_s + 1)  # real silence: both ends have timers of their own
        events, frames = await hour.centre.do("events"), await hour.centre.do("frames")

    # events: each, in order, with its own time; again only what a lost line left unacknowledged
    times: dict[float, set[float]] = {}
    for address, value, at_s in events:
        assert address == VALUE
        times.setdefault(value, set()).add(at_s)
    assert sorted(times) == list(range(1, HOUR_S + 2))
    begin_s = hour.begin_ms / 1000
    assert all(found == {begin_s + value} for value, found in times.items() if value <= HOUR_S)
    first = list(dict.fromkeys(value for _, value, _ in events))  # as they came
    assert first == sorted(first)
    again = len(events) - len(first)
    assert again <= TIMES.k * losses
    assert all(after > before - TIMES.k for (_, before, _), (_, after, _) in pairwise(events))
    # commands: what c104 was told of is done once; what it was not told of at most once an attempt
    counts = Counter(hour.executed)
    assert hour.executed == sorted(hour.executed)
    assert all(1 <= counts[value] <= most for value, most in attempts.items())
    assert set(counts) == set(attempts)
    repeated = sum(attempts.values()) - COMMANDS
    windows, tests, late_s = read_frames(frames)
    assert windows <= TIMES.k
    assert tests, "after t3 of silence the outstation asks"
    assert late_s <= TIMES.t2_s + LATE_S
    assert TIMES.t1_s <= closed_after_s <= TIMES.t1_s + LATE_S
    sys.stdout.write(
        f"\n{begin}: {len(first)} events, {again} again after {losses} losses; {COMMANDS} commands, {repeated} tried "
        f"again, {len(hour.executed)} operated; at most {windows} frames without acknowledgement (k {TIMES.k}), "
        f"acknowledged within {late_s:.2f} s (t2 {TIMES.t2_s:g}), {tests} tests (t3), closed after "
        f"{closed_after_s:.2f} s (t1 {TIMES.t1_s:g})\n"
    )


def read_frames(frames: list[tuple[float, bool, str]]) -> tuple[int, int, float]:
    """Return how many frames of the outstation waited for c104's acknowledgement at most, its tests, and how late (s)
    the outstation acknowledged one of c104."""
    unacknowledged = most = tests = 0
    came = sent = acknowledged = 0
    waiting: list[tuple[int, float]] = []
    late_s = 0.0
    for at_s, incoming, text in frames:
        frame = bytes.fromhex(text)
        control, number = frame[2], struct.unpack("<H", frame[4:6])[0] >> 1
        if control & 3 == 3:
            if control == 0x07 or (incoming and control == 0x0B):  # a connection starts
                came = sent = acknowledged = 0
                waiting.clear()
            tests += incoming and control == 0x43
            continue
        if incoming:
            came += control & 1 == 0
            late_s = max([late_s, *(at_s - since for each, since in waiting if each < number)])
            waiting = [each for each in waiting if each[0] >= number]
        else:
            acknowledged = number
            if control & 1 == 0:
                waiting.append((sent, at_s))
                sent += 1
        unacknowledged = came - acknowledged
        most = max(most, unacknowledged)
    return most, tests, late_s
