"""Who may wait enters by deadline, and only while event loop and disks keep up: responses do not wait for a crowd."""

import asyncio
import itertools
import threading

from tests.virtual_time import VirtualLoop, in_simulated_time, simulated
from v2g.io.runtime.disk import LATE_S, LONGEST_S, PAUSE_S, SPACE_S, YIELD_S, DiskThread, Turnstile
from v2g.iso15118.d20.timing import MESSAGES


async def burden() -> None:
    """Let each turn of the loop take too long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    while True:
        loop.be_late(2 * LATE_S)
        await asyncio.sleep(0)


@simulated
async def test_they_enter_in_order_one_after_the_other() -> None:
    turnstile, entered = Turnstile(), list[tuple[int, float]]()
    now = asyncio.get_running_loop().time

    async def one(number: int) -> None:
        await turnstile.enter(vehicle=True)
        entered.append((number, now()))

    await asyncio.gather(*map(one, range(5)))
    assert [number for number, _ in entered] == [0, 1, 2, 3, 4]
    assert all(later - at >= PAUSE_S for (_, at), (_, later) in itertools.pairwise(entered))


@simulated
async def test_nobody_enters_while_the_loop_is_late() -> None:
    turnstile, loop = Turnstile(), asyncio.get_running_loop()
    burdened = asyncio.create_task(burden())
    entering = asyncio.create_task(turnstile.enter(vehicle=True))
    await asyncio.sleep(LONGEST_S / 2)
    assert not entering.done()
    burdened.cancel()
    before = loop.time()
    await entering
    assert loop.time() - before <= 3 * PAUSE_S


@simulated
async def test_nobody_waits_for_ever_but_who_has_waited_too_long_is_no_crowd_again() -> None:
    turnstile, loop, at = Turnstile(), asyncio.get_running_loop(), list[float]()
    before = loop.time()

    async def one() -> None:
        await turnstile.enter(vehicle=True)
        at.append(loop.time() - before)

    burdened = asyncio.create_task(burden())
    await asyncio.gather(*(one() for _ in range(5)))
    burdened.cancel()
    assert LONGEST_S <= at[0] < LONGEST_S + 1
    assert all(SPACE_S <= later - earlier < SPACE_S + 1 for earlier, later in itertools.pairwise(at))


@simulated
async def test_bundles_of_ended_sessions_wait_for_new_vehicles() -> None:
    turnstile, entered = Turnstile(), list[bool]()

    async def one(vehicle: bool) -> None:
        await turnstile.enter(vehicle=vehicle)
        entered.append(vehicle)

    await asyncio.gather(*map(one, [False] * 5 + [True] * 5))
    assert entered == [True] * 5 + [False] * 5


@simulated
async def test_a_bundle_does_not_wait_for_ever_where_vehicles_never_cease_to_come() -> None:
    turnstile, loop = Turnstile(), asyncio.get_running_loop()

    async def crowd() -> None:
        while True:
            await turnstile.enter(vehicle=True)

    crowds = [asyncio.create_task(crowd()) for _ in range(2)]
    before = loop.time()
    async with asyncio.timeout(2 * YIELD_S):
        await turnstile.enter(vehicle=False)
    assert YIELD_S <= loop.time() - before < YIELD_S + 1
    for each in crowds:
        each.cancel()


STEPS, STEP_S, CROWD = 10, 0.01, 200
"""What a new session, or a bundle, costs the loop: so many turns of so long."""
ANSWER_S = 0.005


def slowest(turnstile: Turnstile | None) -> float:
    """Return the longest response time of a session that sends PowerDeliveryReq and others while a crowd arrives, and
    another one leaves."""
    waited = list[float]()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)

        async def one(vehicle: bool) -> None:
            if turnstile is not None:
                await turnstile.enter(vehicle=vehicle)
            for _ in range(STEPS):
                loop.be_late(STEP_S)
                await asyncio.sleep(0.02)

        def answer(asked: float) -> None:
            loop.be_late(ANSWER_S)
            waited.append(loop.time() - asked)

        crowd = asyncio.gather(*map(one, [True, False] * CROWD))
        while not crowd.done():
            loop.call_soon(answer, loop.time())
            await asyncio.sleep(0.05)

    in_simulated_time(scene())
    return max(waited)


def test_a_crowd_that_arrives_or_leaves_delays_no_response() -> None:
    limit_s = MESSAGES["PowerDeliveryReq"].timeout
    assert slowest(None) > limit_s
    assert slowest(Turnstile()) < limit_s / 4


def test_nobody_enters_while_operations_wait_for_a_disk() -> None:
    async def scene() -> None:
        disk, go = DiskThread(), threading.Event()
        turnstile = Turnstile((disk,))
        done = [disk.do(work, lambda: None) for work in (go.wait, *[int] * 5)]
        entering = asyncio.create_task(turnstile.enter(vehicle=True))
        await asyncio.sleep(10 * PAUSE_S)
        assert not entering.done()
        go.set()
        await asyncio.gather(*done)
        await entering
        assert disk.waiting == 0
        await disk.close()

    asyncio.run(scene())
