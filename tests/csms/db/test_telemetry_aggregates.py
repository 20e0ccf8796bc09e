"""Aggregates of telemetry, over time; they outlive their records, and are sealed; in either database."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

from csms.db.store import Store, open_engine
from csms.retention import store as retention
from csms.telemetry import aggregate_store as rows
from csms.telemetry.tables import telemetry, telemetry_aggregates
from tests.csms.databases import Cluster, Databases
from tests.csms.db.older import make_0_2_0
from tests.csms.db.telemetry_values import made, put
from tests.csms.sealed_store import sealing, store

__all__ = ["store"]

ALWAYS = (0, 2**53)


def aggregated(store: Store) -> None:
    while store.do(rows.aggregate_pending):
        pass


@contextlib.contextmanager
def older(url: str) -> Iterator[Connection]:
    """A connection to a new database of release 0.2.0, which is committed at the end."""
    engine = open_engine(url)
    make_0_2_0(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> str:
    """The address of a database without tables."""
    return f"sqlite:///{tmp_path}/old.sqlite3" if request.param == "sqlite" else cluster.url(cluster.create())


MINUTE = 60_000
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 150), st.integers(-1000, 1000)),
        st.tuples(st.just("refresh"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("delete"), st.integers(0, 40), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.long
@pytest.mark.requirement("R106")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_aggregates_survive_whatever_is_refreshed_and_deleted_when(
    sqlite_databases: Any, steps: list[tuple[str, int, int]]
) -> None:
    """They are those of everything that ever arrived, late and after deletions, too."""
    store = Store(sqlite_databases.create())
    seq, everything = 0, []
    for now, (kind, number, value) in enumerate(steps):
        if kind == "arrive":
            seq += 1
            at_ms = (everything[-1][0] if everything else 0) + number * 1000
            everything.append((at_ms, seq, float(value)))
            put(store, [made(seq, at_ms, {"battery.power": value})], at_ms=now)
        elif kind == "refresh":
            for _ in range(number):
                store.do(rows.aggregate_pending)
        else:
            while store.do(retention.delete_old, "telemetry", number):
                pass
    aggregated(store)
    while store.do(retention.delete_old, "telemetry", 10**6):
        pass
    assert store.do(lambda c: c.execute(select(func.count()).select_from(telemetry)).scalar()) == 0
    found = store.do(rows.aggregates, "EV-1", "battery.power", 60, ALWAYS, 100, None)
    names = "at_ms", "minimum", "maximum", "mean", "held_s", "number", "last"
    assert [tuple(each[name] for name in names) for each in found] == expected_minutes(everything)
    store.close()


def expected_minutes(everything: list[tuple[int, int, float]]) -> list[tuple[float, ...]]:
    """Return what minutes have, looked at in each second: (time, number, value) of records without a gap."""
    minutes: dict[int, list[tuple[int, int, float]]] = {}
    weights: dict[int, list[tuple[int, float]]] = {}
    numbers: dict[int, int] = {}
    for at, seq, value in everything:
        minutes.setdefault(at // MINUTE, []).append((at, seq, value))
        numbers[at // MINUTE] = numbers.get(at // MINUTE, 0) + 1
    for (at, seq, value), (until, _, _) in itertools.pairwise(everything):
        for second in range(at, until, 1000):
            weights.setdefault(second // MINUTE, []).append((1000, value))
            minutes.setdefault(second // MINUTE, []).append((second, seq, value))
    found = []
    for minute, inside in sorted(minutes.items()):
        values, held = [value for *_, value in inside], weights.get(minute, [])
        records = [value for at, _, value in everything if at // MINUTE == minute]
        mean = (
            sum(ms * value for ms, value in held) / sum(ms for ms, _ in held) if held else sum(records) / len(records)
        )
        row = minute * MINUTE, min(values), max(values), mean, len(held) * 1.0, numbers.get(minute, 0), max(inside)[2]
        found.append(row)
    return found


def test_a_mean_is_over_the_time_that_a_value_held_and_a_gap_has_no_weight(store: Store) -> None:
    """7 kW for 50 s, reported once, then 3 kW with nine reports; the tenth is lost, and the rest of the minute."""
    power = [(1, 0, 7000.0), *((n, 48_000 + 1000 * n, 3000.0 + n) for n in range(2, 11)), (12, 90_000, 5000.0)]
    put(store, [made(seq, at_ms, {"charging.power": value}) for seq, at_ms, value in power])
    aggregated(store)
    first, second = store.do(rows.aggregates, "EV-1", "charging.power", 60, ALWAYS, 9, None)
    assert (first["held_s"], first["number"]) == (58.0, 10)
    assert first["mean"] == pytest.approx((7000 * 50 + sum(3000 + n for n in range(2, 10))) / 58)
    assert (second["held_s"], second["number"], second["mean"]) == (0.0, 1, 5000.0)
    put(store, [made(11, 59_000, {"battery.soc": 50.0})])  # late: the value of before held until the next one
    aggregated(store)
    first, second = store.do(rows.aggregates, "EV-1", "charging.power", 60, ALWAYS, 9, None)
    assert (first["held_s"], second["held_s"], second["mean"]) == (60.0, 30.0, pytest.approx(3010.0))


@pytest.mark.some(1)
@pytest.mark.requirement("R145")
def test_aggregates_of_before_are_sealed(empty_url: str, tmp_path: Path) -> None:
    """Release 0.2.0 left them to the back end; values to their last digit, and those added later."""
    aggregate = text(
        "INSERT INTO telemetry_aggregates (ev, width_s, at_ms, document) VALUES ('EV-1', 60, :at_ms, :document)"
    )
    values = [0.1, 0.2, 0.30000000000000004, 2, 0.2, 7, 1, 1, 9.5, 60]
    document = json.dumps({"battery.soc": values, "motor.speed": values}).encode()
    with older(empty_url) as connection:
        for number in range(300):
            connection.execute(aggregate, {"document": document, "at_ms": number * MINUTE})
    with contextlib.closing(Store(empty_url)) as store:
        plain = store.do(rows.aggregates, "EV-1", "motor.speed", 60, ALWAYS, 999, None)
        assert len(plain) == 300
        assert store.do(rows.seal_plain) == 0, "without a key"
        sealing(store, tmp_path)
        assert [store.do(rows.seal_plain) for _ in range(3)] == [200, 100, 0]
        documents = store.do(lambda c: c.execute(select(telemetry_aggregates.c.document)).scalars().all())
        assert {bytes(each[:1]) for each in documents} == {b"\x01"}
        assert store.do(rows.aggregates, "EV-1", "motor.speed", 60, ALWAYS, 999, None) == plain
        put(store, [made(1, 0, {"motor.speed": 10.0})])
        aggregated(store)
        first, second = store.do(rows.aggregates, "EV-1", "motor.speed", 60, ALWAYS, 2, None)
        assert (first["number"], first["maximum"], first["minimum"]) == (3, 10.0, 0.1)
        assert (second["mean"], second["held_s"], second["last"]) == (9.5 / 60, 0.06, 0.2)


@pytest.mark.long
def test_two_nodes_add_to_the_same_intervals_at_once(postgresql_databases: Databases) -> None:
    """Neither overwrites what the other adds, also where the interval is new to both."""
    store = Store(postgresql_databases.create())
    for boot in (1, 2):
        found = [made(seq, 100 * seq, {"battery.soc": 50.0}, boot=boot) for seq in range(1, 500)]
        for start in range(0, len(found), 2):  # more runs than one step takes
            put(store, found[start : start + 2])
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as thread:
        with store.engine.begin() as other:
            assert rows.aggregate_pending(other)
            aggregating = thread.submit(store.do, rows.aggregate_pending)
            while not store.do(lambda connection: connection.execute(waits).scalar()):
                assert not aggregating.done()
        assert aggregating.result(60)
    aggregated(store)
    (minute,) = store.do(rows.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 9, None)
    assert minute["number"] == 998
    store.close()


@pytest.mark.requirement("R106", "R107")
def test_positions_have_no_aggregates_and_both_widths_agree(store: Store) -> None:
    put(store, [made(n, n * 10_000, {"motor.speed": n, "location.latitude": 48.0}) for n in range(1, 181)])
    aggregated(store)
    minutes = store.do(rows.aggregates, "EV-1", "motor.speed", 60, ALWAYS, 100, None)
    quarters = store.do(rows.aggregates, "EV-1", "motor.speed", 900, ALWAYS, 100, None)
    assert sum(each["number"] for each in minutes) == sum(each["number"] for each in quarters) == 180
    assert (quarters[0]["minimum"], quarters[0]["maximum"], quarters[0]["last"]) == (1.0, 89.0, 89.0)
    assert store.do(rows.aggregates, "EV-1", "location.latitude", 60, ALWAYS, 9, None) == []
