"""All time of a process passes faster: timers and both clocks, at the same pace."""

import asyncio

import pytest

from v2g.io.runtime.clock import Clock, clock_of, loop_of


def test_timers_and_clocks_pass_at_the_same_pace() -> None:
    clock, real = clock_of(1000), Clock()

    async def five_minutes() -> None:
        loop = asyncio.get_running_loop()
        readings = (loop.time, clock.monotonic, lambda: clock.utc_ms() / 1000, lambda: clock.elapsed_ms() / 1000)
        began = real.monotonic()
        before = [each() for each in readings]
        await asyncio.sleep(300)
        passed = [each() - start for each, start in zip(readings, before, strict=True)]
        assert min(passed) >= 299
        assert max(passed) <= (real.monotonic() - began) * 1000 + 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop_of(1000)) as runner:
        runner.run(five_minutes())


def test_without_a_factor_time_is_real() -> None:
    assert loop_of(1) is None
    assert type(clock_of(1)) is Clock
