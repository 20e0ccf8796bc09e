"""The event loop of the tests: what a process is kept from running does not count, what it waits for does."""

import asyncio
import time

import pytest

from v2g.io.runtime.clock import Clock


async def test_time_in_which_the_process_could_not_run_does_not_pass() -> None:
    clock, machine = asyncio.get_running_loop().time, time.monotonic
    for reads in (clock, Clock().monotonic):
        before, real = reads(), machine()
        time.sleep(0.1)
        assert reads() - before < 0.05 < machine() - real


async def test_time_that_is_waited_for_passes_and_ends_what_hangs() -> None:
    clock = asyncio.get_running_loop().time
    before = clock()
    await asyncio.sleep(0.02)
    assert clock() - before >= 0.02
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()


async def test_time_that_is_worked_for_passes() -> None:
    clock = asyncio.get_running_loop().time
    before, worked = clock(), time.process_time()
    while time.process_time() - worked < 0.02:
        sum(range(1000))
    assert clock() - before >= 0.02
