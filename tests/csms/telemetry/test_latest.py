"""Latest states: the same for every order of arrival, in memory, in Redis, and after a start."""

import random
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from csms.alerts.rules import RULES
from csms.alerts.sources import observe
from csms.db.store import Store
from csms.db.store_key import load_store_key
from csms.telemetry.latest import LatestStates
from csms.telemetry.redis_states import RedisStates
from csms.telemetry.seal import TelemetrySeal, open_seal
from csms.vehicles.rules import CONTEXT, KEYFRAME, VehicleState, join, readings_of
from tests.csms.db.telemetry_values import made, put
from v2g.errors import TransportError
from v2g.io.runtime.clock import Clock
from v2g.telemetry.signals import MAX_NUMBER, Record

NAMES = ("battery.soc", "motor.speed", "location.latitude")
RECORDS = st.lists(
    st.builds(
        made,
        st.integers(1, 40),
        st.integers(0, 10**12),
        st.dictionaries(st.sampled_from(NAMES), st.floats(0, 90), min_size=1),
        boot=st.integers(1, 3) | st.just(MAX_NUMBER),
    ),
    unique_by=lambda each: (each.boot, each.seq),
    min_size=1,
    max_size=12,
)
_prefixes = count()


def newest(records: list[Record]) -> dict[str, tuple[int, int, float]]:
    """What the state must say, found in another way."""
    found: dict[str, tuple[int, int, float]] = {}
    for each in sorted(records, key=lambda each: (each.boot, each.seq)):
        found |= {name: (each.boot, each.seq, float(value)) for name, value in each.signals.items()}
    return found


def shown(state: VehicleState | None) -> dict[str, tuple[int, int, float]]:
    assert state is not None
    beside = (CONTEXT, KEYFRAME)
    return {
        name: (each.boot, each.seq, float(each.value)) for name, each in state.readings.items() if name not in beside
    }


def test_what_a_newer_record_of_all_signals_lacks_is_not_present_any_more() -> None:
    def record(seq: int, *names: str, keyframe: bool) -> VehicleState:
        made_of = msgspec.structs.replace(made(seq, 1000, dict.fromkeys(names, 1.0)), keyframe=keyframe)
        return VehicleState("EV-1", readings_of(made_of))

    first, second = record(1, "battery.soc", "motor.speed", keyframe=True), record(2, "battery.soc", keyframe=False)
    whole = record(3, "battery.soc", keyframe=True)
    for state, there in ((join(first, second), True), (join(whole, join(second, first)), False)):
        assert (state.present("motor.speed") is not None) is there
        assert state.present("battery.soc") is not None
    assert join(whole, record(4, "motor.speed", keyframe=False)).present("motor.speed") is not None


@pytest.mark.requirement("R173")
@given(RECORDS, st.randoms(use_true_random=False))
def test_no_order_of_records_makes_a_value_older(records: list[Record], chance: random.Random) -> None:
    expected = newest(records)
    chance.shuffle(records)
    parts = [VehicleState("EV-1", readings_of(each)) for each in records]
    while len(parts) > 1:  # joined in any tree
        one = parts.pop(chance.randrange(len(parts)))
        other = parts.pop(chance.randrange(len(parts)))
        parts.append(join(join(one, other), other))
    assert shown(parts[0]) == expected


@pytest.mark.some(1)
@pytest.mark.requirement("R173")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, chance=st.randoms(use_true_random=False))
async def test_redis_makes_no_value_older_either(
    redis_url: str, store: Store, tmp_path: Path, records: list[Record], chance: random.Random
) -> None:
    """Nor between a node that seals values and one that does not."""
    expected, prefix = newest(records), f"latest-{store.engine.dialect.name}-{next(_prefixes)}"
    chance.shuffle(records)
    seals = TelemetrySeal(), await open_seal(store, load_store_key(None, tmp_path), 0, 30, sealing=True)
    nodes = [RedisStates(redis_url, store, each, prefix) for each in seals]
    for each in records:
        await chance.choice(nodes).put([VehicleState("EV-1", readings_of(each))])
    ((state,), since) = await nodes[0].changed("")
    assert shown(state) == expected
    assert await nodes[1].changed(since) == ([], since)
    for node in nodes:
        await node.close()


@pytest.mark.requirement("R145")
async def test_redis_shows_no_value_and_a_plain_one_gives_way(redis_url: str, store: Store, tmp_path: Path) -> None:
    """Only nodes with the store key read values; another one has none."""
    prefix = f"sealed-{store.engine.dialect.name}"
    state = VehicleState("EV-1", readings_of(made(1, 1000, {"location.latitude": 48.137154})))

    async def stored() -> str:
        async with Redis.from_url(redis_url) as redis:
            return str((await redis.hgetall(prefix))[b"EV-1"])

    plain = RedisStates(redis_url, store, TelemetrySeal(), prefix)
    await plain.put([state])
    assert "48.137154" in await stored()
    seal = await open_seal(store, load_store_key(None, tmp_path), 0, 30, sealing=True)
    sealed = RedisStates(redis_url, store, seal, prefix)
    await sealed.put([state])
    once = await stored()
    assert "48.137154" not in once
    await sealed.put([state])
    await plain.put([state])
    assert await stored() == once
    assert await sealed.changed("") == ([state], (await plain.changed(""))[1])
    await open_seal(store, load_store_key(None, tmp_path / "other"), 0, 30, sealing=True)
    assert (await sealed.changed(""))[0] == []
    for each in (plain, sealed):
        await each.close()


@pytest.mark.requirement("R173")
async def test_nodes_know_what_others_received_and_forget_what_is_erased(redis_url: str, store: Store) -> None:
    key = f"nodes-{store.engine.dialect.name}"
    one, other = (LatestStates(store, Clock(), RedisStates(redis_url, store, TelemetrySeal(), key)) for _ in range(2))
    one.update([made(1, 1000, {"battery.soc": 1.0})])
    other.update([made(2, 2000, {"motor.speed": 2.0})])
    await one.exchange("")
    since = await other.exchange("")
    await one.exchange("")
    assert shown(one.get("EV-1")) == shown(other.get("EV-1")) == {
        "battery.soc": (1, 1, 1.0), "motor.speed": (1, 2, 2.0)
    }  # fmt: skip
    other.update([made(3, 3000, {"battery.soc": 3.0})])  # not sent or saved yet
    await one.erase("EV-1", (1, 3))
    await other.exchange(since)  # it does not know yet
    await other.save()
    await one.exchange("")
    await other.erase("EV-1", (1, 3))
    await one.exchange("")
    await other.exchange("")
    assert (one.get("EV-1"), other.get("EV-1")) == (None, None)
    third = LatestStates(store, Clock(), RedisStates(redis_url, store, TelemetrySeal(), key))
    await third.load()
    await third.exchange("")
    assert third.get("EV-1") is None
    one.update([made(4, 4000, {"battery.soc": 4.0})])
    assert shown(one.get("EV-1")) == {"battery.soc": (1, 4, 4.0)}
    await third.close()
    for node in (one, other):
        await node.close()


async def test_without_redis_a_node_knows_its_own_and_sends_it_later(redis_url: str, store: Store) -> None:
    away = LatestStates(store, Clock(), RedisStates("redis://127.0.0.1:1/0", store, TelemetrySeal()))
    away.update([made(1, 1000, {"battery.soc": 1.0})])
    with pytest.raises(TransportError):
        await away.exchange("")
    assert shown(away.get("EV-1")) == {"battery.soc": (1, 1, 1.0)}
    await away.close()


@pytest.mark.requirement("R173")
async def test_a_start_finds_saved_states_and_newer_records(store: Store) -> None:
    before = LatestStates(store, Clock())
    early = [made(1, 1000, {"battery.soc": 1.0, "motor.speed": 7.0}), made(2, 2000, {"battery.soc": 2.0})]
    put(store, early)
    before.update(early)
    await before.save()
    put(store, [made(3, 3000, {"battery.soc": 3.0}), made(4, 4000, {"battery.soc": 4.0})])  # killed before it saves
    after = LatestStates(store, Clock())
    await after.load()
    assert shown(after.get("EV-1")) == {"battery.soc": (1, 4, 4.0), "motor.speed": (1, 1, 7.0)}


async def test_a_vehicle_whose_clock_is_wrong_is_not_silent(store: Store) -> None:
    states, now_ms = LatestStates(store, Clock()), Clock().utc_ms()
    states.update([made(1, 1000, {"battery.soc": 1.0})])  # of 1970
    await states.save()
    put(store, [made(2, 2000, {"battery.soc": 2.0})], at_ms=now_ms)  # killed before it saves
    after = LatestStates(store, Clock())
    await after.load()
    await after.save()
    assert (after.silent(3600), store.do(observe, now_ms, RULES).values["vehicle_silent"]) == (0, [])
