"""The live feed: readers get what they asked for, slow ones learn what they lost, other nodes receive it too."""

import asyncio

import pytest
from redis import Redis

from csms.cluster.bus import LocalBus
from csms.cluster.feed import LOST, UPDATED, Feed, FeedEvent
from csms.cluster.redis_bus import RedisBus
from tests.csms.cluster.buses import KEY, Buses, redis_buses
from tests.waiting import until


def make() -> tuple[Feed, LocalBus]:
    bus = LocalBus("a")
    return Feed(bus, lambda: 1_000), bus


async def test_a_reader_gets_every_event_of_the_kinds_and_the_station_that_it_asked_for() -> None:
    feed, bus = make()
    await bus.start()
    with feed.subscribe() as everything, feed.subscribe({"boot"}, "CS-1") as boots:
        for station in ("CS-1", "CS-2"):
            feed.publish("boot", station, {"model": "m"})
            feed.publish("status", station, {})
        feed.close()
        assert [(event.kind, event.station_id) async for event in everything] == [
            ("boot", "CS-1"),
            ("status", "CS-1"),
            ("boot", "CS-2"),
            ("status", "CS-2"),
        ]
        assert [event async for event in boots] == [FeedEvent("boot", "CS-1", {"model": "m"}, 1_000, "a")]


async def test_a_reader_that_is_too_slow_loses_the_oldest_and_learns_how_many() -> None:
    feed, _ = make()
    with feed.subscribe(max_queued=3) as reader:
        for number in range(10):
            feed.publish("tick", None, {"number": number})
        feed.close()
        reported = [(event.kind, dict(event.data)) async for event in reader]
    assert reported == [(LOST, {"count": 7}), *(("tick", {"number": number}) for number in (7, 8, 9))]


async def test_a_reader_that_waits_wakes_up_and_ends_when_closed() -> None:
    feed, _ = make()
    reader = feed.subscribe()
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    feed.publish("tick", None, {})
    assert (await waiting).kind == "tick"
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    reader.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    feed.publish("tick", None, {})  # nobody is there any more


async def test_events_in_quick_succession_are_one_batch() -> None:
    feed, _ = make()
    reader = feed.subscribe()
    assert await reader.batch(0.0, within_s=0.0) == []
    for number in range(3):
        feed.publish("tick", None, {"number": number})
    assert [each.data["number"] for each in await reader.batch(0.0)] == [0, 1, 2]
    waiting = asyncio.create_task(reader.batch(0.05, within_s=5.0))
    for number in range(2):
        feed.publish("tick", None, {"number": number})
        await asyncio.sleep(0)
    assert [each.data["number"] for each in await waiting] == [0, 1]
    reader.close()
    with pytest.raises(StopAsyncIteration):
        await reader.batch(0.0)


async def test_readers_on_other_nodes_get_the_same_event(buses: Buses) -> None:
    here, there = buses.node("a"), buses.node("b")
    feeds = [Feed(bus, lambda: 1_000) for bus in (here, there)]
    await here.start()
    await there.start()
    await until(lambda: len(here.nodes()) >= 2)
    with feeds[1].subscribe() as far, feeds[0].subscribe() as near:
        feeds[0].publish("boot", "CS-1", {"vendor": "v"})
        async with asyncio.timeout(60):
            assert await anext(far) == await anext(near) == FeedEvent("boot", "CS-1", {"vendor": "v"}, 1_000, "a")
    await here.close()
    await there.close()


async def test_readings_reach_another_node_only_while_it_hears_them(buses: Buses) -> None:
    here, there = buses.node("a"), buses.node("b")
    feeds = [Feed(bus, lambda: 1_000) for bus in (here, there)]
    await here.start()
    await there.start()
    with feeds[1].subscribe() as far, feeds[0].subscribe() as near:
        for number, hears in enumerate((False, True, False)):
            if number:
                feeds[1].hear(1 if hears else -1)
            async with asyncio.timeout(60):
                while len(here.nodes()) < 2 or here.heard is not hears:
                    await asyncio.sleep(0.002)
                kinds = [UPDATED, "near", "boot"]
                for kind in kinds:
                    feeds[0].publish(kind, "CS-1", {}, only_here=kind == "near")
                assert [(await anext(near)).kind for _ in kinds] == kinds
                assert [(await anext(far)).kind for _ in range(1 + hears)] == [UPDATED, "boot"][1 - hears :]
    await here.close()
    await there.close()


async def test_nothing_is_built_when_nobody_reads() -> None:
    feed, bus = make()
    await bus.start()

    def never() -> int:
        raise AssertionError("an event was made for nobody")

    Feed(bus, never).publish("boot", "CS-1", {})
    feed.publish("boot", "CS-1", {})


async def test_a_silent_node_hears_later_what_is_also_for_nodes_that_are_away(redis_url: str) -> None:
    """Else it would go on showing a vehicle that was erased meanwhile."""
    buses = redis_buses(redis_url)
    here = buses.node("a")
    there = RedisBus(redis_url, "b", KEY, prefix=buses.prefix, expiry_s=60, beat_s=3600)
    feeds = [Feed(bus, lambda: 1_000) for bus in (here, there)]
    await there.start()
    with Redis.from_url(redis_url) as redis:
        redis.zadd(f"{buses.prefix}:nodes", {"b": 0})
    await here.start()
    assert here.nodes() == {"a"}
    with feeds[1].subscribe() as far:
        feeds[0].publish("boot", None, {})
        feeds[0].publish("erased", None, {}, also_away=True)
        async with asyncio.timeout(60):
            assert (await anext(far)).kind == "erased"
    await here.close()
    await there.close()
