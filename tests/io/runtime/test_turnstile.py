"""Who may wait enters in order, and only while event loop and disks keep up."""

import asyncio
import itertools
import threading
from collections.abc import Coroutine
from typing import Any

from tests.virtual_time import VirtualLoop
from v2g.io.runtime.disk import LATE_S, LONGEST_S, PAUSE_S, DiskThread, Turnstile


def played(scene: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scene)


async def burden() -> None:
    """Let each turn of the loop take too long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    while True:
        loop.be_late(2 * LATE_S)
        await asyncio.sleep(0)


def test_they_enter_in_order_one_after_the_other() -> None:
    async def scene() -> None:
        turnstile, entered = Turnstile(), list[tuple[int, float]]()
        now = asyncio.get_running_loop().time

        async def one(number: int) -> None:
            await turnstile.enter()
            entered.append((number, now()))

        await asyncio.gather(*map(one, range(5)))
        assert [number for number, _ in entered] == [0, 1, 2, 3, 4]
        assert all(later - at >= PAUSE_S for (_, at), (_, later) in itertools.pairwise(entered))

    played(scene())


def test_nobody_enters_while_the_loop_is_late() -> None:
    async def scene() -> None:
        turnstile, loop = Turnstile(), asyncio.get_running_loop()
        burdened = asyncio.create_task(burden())
        entering = asyncio.create_task(turnstile.enter())
        await asyncio.sleep(LONGEST_S / 2)
        assert not entering.done()
        burdened.cancel()
        before = loop.time()
        await entering
        assert loop.time() - before <= 3 * PAUSE_S

    played(scene())


def test_nobody_waits_for_ever() -> None:
    async def scene() -> None:
        turnstile, loop = Turnstile(), asyncio.get_running_loop()
        before = loop.time()
        burdened = asyncio.create_task(burden())
        await asyncio.gather(turnstile.enter(), turnstile.enter())
        assert LONGEST_S <= loop.time() - before < LONGEST_S + 1
        burdened.cancel()

    played(scene())


def test_nobody_enters_while_operations_wait_for_a_disk() -> None:
    async def scene() -> None:
        disk, go = DiskThread(), threading.Event()
        turnstile = Turnstile((disk,))
        done = [disk.do(work, lambda: None) for work in (go.wait, *[int] * 5)]
        entering = asyncio.create_task(turnstile.enter())
        await asyncio.sleep(10 * PAUSE_S)
        assert not entering.done()
        go.set()
        await asyncio.gather(*done)
        await entering
        assert disk.waiting == 0
        await disk.close()

    asyncio.run(scene())
