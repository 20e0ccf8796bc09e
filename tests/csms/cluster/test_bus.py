"""The bus between nodes: claims are seen everywhere, questions are answered or fail, announcements reach all others."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis import Redis

from csms.cluster.bus import Bus, Claim
from csms.cluster.redis_bus import RedisBus
from tests.csms.cluster.buses import KEY, Buses, redis_buses, redis_server
from tests.waiting import until
from v2g.errors import TransportError


@pytest_asyncio.fixture
async def pair(buses: Buses) -> AsyncIterator[tuple[Bus, Bus]]:
    nodes = buses.node("a"), buses.node("b")
    for bus in nodes:
        await bus.start()
    await until(lambda: nodes[0].nodes() == nodes[1].nodes() == {"a", "b"})
    yield nodes
    for bus in nodes:
        await bus.close()


async def test_a_claim_is_seen_here_at_once_and_on_the_other_node_soon(pair: tuple[Bus, Bus]) -> None:
    a, b = pair
    a.claim("CS-1", "2.1")
    assert a.find("CS-1") == Claim("a", "2.1")
    await until(lambda: b.find("CS-1") == Claim("a", "2.1"))
    assert b.stations() == {"CS-1"}
    a.release("CS-1")
    assert a.find("CS-1") is None
    await until(lambda: not b.stations())


async def test_a_node_that_comes_later_sees_what_was_claimed_before(buses: Buses, pair: tuple[Bus, Bus]) -> None:
    pair[0].claim("CS-1", "2.0.1")
    await until(lambda: pair[1].find("CS-1") is not None)
    late = buses.node("c")
    await late.start()
    await until(lambda: late.find("CS-1") == Claim("a", "2.0.1"))
    await late.close()
    assert pair[0].find("CS-1") is not None


async def test_the_newest_claim_stands_and_the_older_node_is_notified(pair: tuple[Bus, Bus]) -> None:
    a, b = pair
    reported: list[str] = []
    a.moved = reported.append
    a.claim("CS-1", "2.1")
    await until(lambda: b.find("CS-1") is not None)
    b.claim("CS-1", "2.0.1")
    await until(lambda: reported == ["CS-1"])
    a.release("CS-1")  # too late to matter
    for bus in pair:
        await until(lambda bus=bus: bus.find("CS-1") == Claim("b", "2.0.1"))  # type: ignore[misc]
    await asyncio.sleep(0.02)
    assert a.find("CS-1") == b.find("CS-1") == Claim("b", "2.0.1")


async def test_a_question_is_answered_by_the_node_that_it_is_put_to(pair: tuple[Bus, Bus]) -> None:
    a, b = pair

    async def double(question: bytes) -> bytes:
        await asyncio.sleep(0)
        return question * 2

    b.answer = double
    answers = await asyncio.gather(*(a.ask("b", str(n).encode(), 5) for n in range(100, 150)))
    assert answers == [str(n).encode() * 2 for n in range(100, 150)]


async def test_a_question_to_a_node_that_is_not_there_fails_at_once(pair: tuple[Bus, Bus]) -> None:
    async with asyncio.timeout(2):
        with pytest.raises(TransportError, match="gone"):
            await pair[0].ask("nobody", b"?", 60)


async def test_a_question_that_nobody_answers_in_time_fails(pair: tuple[Bus, Bus]) -> None:
    a, b = pair

    async def silent(_question: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    b.answer = silent
    with pytest.raises(TransportError, match="did not answer within"):
        await a.ask("b", b"?", 0.02)


async def test_a_killed_node_fails_open_questions_and_loses_its_claims(buses: Buses, pair: tuple[Bus, Bus]) -> None:
    a, b = pair
    asked = asyncio.Event()

    async def silent(_question: bytes) -> bytes:
        asked.set()
        await asyncio.Event().wait()
        return b""

    b.answer = silent
    b.claim("CS-2", "2.1")
    a.claim("CS-1", "2.1")
    question = asyncio.create_task(a.ask("b", b"?", 60))
    await asked.wait()
    await buses.kill(b)
    async with asyncio.timeout(5):
        with pytest.raises(TransportError, match="gone"):
            await question
    await until(lambda: a.nodes() == {"a"} and a.stations() == {"CS-1"})


async def test_an_announcement_reaches_every_other_node_in_order_and_not_its_own(
    buses: Buses, pair: tuple[Bus, Bus]
) -> None:
    third = buses.node("c")
    received: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
    for bus in (*pair, third):
        bus.on_announcement = received[bus.node].append
    await third.start()
    await until(lambda: len(pair[0].nodes()) == 3)
    said = [str(n).encode() for n in range(500)]
    for each in said:
        pair[0].announce(each)
    await until(lambda: received["b"] == received["c"] == said)
    assert received["a"] == []
    await third.close()


async def test_a_node_of_an_older_version_which_says_nothing_of_it_gets_frequent_events(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        buses = redis_buses(server.url)
        a = buses.node("a")
        await a.start()
        assert not a.heard
        with Redis.from_url(server.url) as redis:
            seconds, microseconds = redis.time()
            redis.zadd(f"{buses.prefix}:nodes", {"old": seconds * 1000 + microseconds // 1000})
        await until(lambda: a.heard)
        assert a.nodes() == {"a", "old"}
        await a.close()


async def test_claims_and_announcements_come_back_after_redis_was_killed_and_is_empty(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        buses = redis_buses(server.url)
        a, b = buses.node("a"), buses.node("b")
        received: list[bytes] = []
        b.on_announcement, b.hears = received.append, True
        for bus in (a, b):
            await bus.start()
        a.claim("CS-1", "2.1")
        a.claim("CS-2", "2.1")
        await until(lambda: b.stations() == {"CS-1", "CS-2"})
        server.stop()
        await until(lambda: (a.nodes(), b.nodes()) == ({"a"}, {"b"}) and not b.stations())
        assert (a.heard, b.heard) == (True, False), "who wanted frequent events gets those of the meantime, too"
        with pytest.raises(TransportError):
            await b.ask("a", b"?", 1)
        a.release("CS-2")
        a.claim("CS-3", "2.0.1")
        a.announce(b"while Redis was away")
        server.restart()
        await until(lambda: b.stations() == {"CS-1", "CS-3"} and received == [b"while Redis was away"])
        assert b.find("CS-3") == Claim("a", "2.0.1")
        for bus in (a, b):
            await bus.close()


async def test_a_question_that_does_not_reach_redis_before_its_node_ends_fails_once(tmp_path: Path) -> None:
    """Nobody retrieved that the node is gone from a question that was not sent: a defect was reported."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    with redis_server(tmp_path) as server:
        bus = redis_buses(server.url).node("a")
        await bus.start()
        with Redis.from_url(server.url) as redis:
            redis.client_pause(600_000)
        question = asyncio.create_task(bus.ask("b", b"?", 60))
        await asyncio.sleep(0)
        await bus.close()
        with pytest.raises(TransportError):
            await question
        del question
    gc.collect()
    assert not reported


async def test_what_is_announced_together_is_one_entry_of_the_stream(redis_url: str) -> None:
    """An entry costs each node more than what it says: a second node would cost more than it carries."""
    buses = redis_buses(redis_url)
    a, b = buses.node("a"), buses.node("b")
    await a.start()
    await b.start()
    said = [b"%d" % number for number in range(300)]
    received: list[bytes] = []
    b.on_announcement = received.append
    for each in said:
        a.announce(each)
    await until(lambda: received == said)
    with Redis.from_url(redis_url) as redis:
        kinds = [entry[b"k"] for _, entry in redis.xrange(f"{buses.prefix}:stream")]
    assert kinds.count(b"all said") == 1
    await a.close()
    await b.close()


async def test_a_node_without_redis_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="Redis"):
        await redis_buses(f"unix://{tmp_path}/nothing.sock").node("a").start()


async def test_what_is_odd_forged_or_of_a_newer_node_is_passed_over(redis_url: str) -> None:
    buses, skipped = redis_buses(redis_url), list[str]()
    a = buses.node("a")
    await a.start()
    prefix = buses.prefix
    with Redis.from_url(redis_url) as redis:
        for entry in (
            {"n": "z"},
            {"k": "claim"},
            {"n": b"\xff", "k": "claim", "s": "CS-1", "c": "z 2.1 x"},
            {"n": "z", "k": "claim", "s": "CS-1", "c": "z 2.1"},
            {"n": "z", "k": "claim", "s": "CS-1", "c": f"z 2.1 {'0' * 64}"},
            {"n": "z", "k": "all said", "d": b'{"kind":"made up"}'},
        ):
            redis.xadd(f"{prefix}:stream", entry)
        for station_id, claim in (("CS-1", "z 9.9 x"), (b"\xff", "z"), ("CS-2", b"\xff\xfe")):
            redis.hset(f"{prefix}:claims", station_id, claim)
        b = RedisBus(redis_url, "b", KEY, skipped=skipped.append, prefix=prefix, expiry_s=60, beat_s=0.1)
        await b.start()
        assert len(skipped) == 6, "it starts, and looks twice"
        received: list[bytes] = []
        a.on_announcement = received.append
        b.announce(b"news")
        b.claim("CS-3", "2.1")
        await until(lambda: received == [b"news"] and a.find("CS-3") == Claim("b", "2.1"))
        assert b.stations() == {"CS-3"}
        stranger = RedisBus(redis_url, "c", b"another key", prefix=prefix, expiry_s=60, beat_s=0.1)
        await stranger.start()
        asked: list[bytes] = []

        async def answer(question: bytes) -> bytes:
            asked.append(question)
            return question

        b.answer = answer
        with pytest.raises(TransportError, match="did not answer"):
            await stranger.ask("b", b"reset CS-3", 0.2)
        stranger.claim("CS-3", "2.1")
        stranger.announce(b"made up")
        letters = redis.pubsub()
        letters.subscribe(f"{prefix}:to:b")
        letters.get_message(timeout=60)
        assert await a.ask("b", b"once", 5) == b"once"
        letter = letters.get_message(timeout=60)
        assert letter is not None
        redis.publish(f"{prefix}:to:b", letter["data"])  # again, word for word
        redis.publish(f"{prefix}:to:a", letter["data"])
        await until(lambda: any("replayed" in each for each in skipped))
        assert asked == [b"once"]
        assert received == [b"news"]
        assert a.find("CS-3") == Claim("b", "2.1")
        letters.close()
    for bus in (a, b, stranger):
        await bus.close()
