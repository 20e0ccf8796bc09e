"""Typed values, aggregates that outlive their records, erasure, and latest states, in either database."""

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

from csms.db.queries import retention
from csms.db.queries import telemetry as records
from csms.db.queries import telemetry_values as rows
from csms.db.store import Store, migrate
from csms.db.tables import telemetry, telemetry_pending
from csms.domain.diagnostics.telemetry import read_delivery
from csms.domain.diagnostics.vehicle_state import VehicleState, readings_of
from tests.csms.databases import Databases
from tests.csms.db.telemetry_values import made, put
from tests.csms.sealed_store import store
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import SIGNALS, encode_record

__all__ = ["store"]

ALWAYS = (0, 2**53)


def aggregated(store: Store) -> None:
    while store.do(rows.aggregate_pending):
        pass


def soc(store: Store, span: tuple[int, int] = ALWAYS) -> list[tuple[int, float]]:
    found = store.do(rows.values, "EV-1", ("battery.soc",), span, 10_000, None)
    return [(each["at_ms"], each["values"]["battery.soc"]) for each in found]


@pytest.mark.requirement("R104")
def test_without_sealing_other_programs_query_columns(owner_url: str) -> None:
    with contextlib.closing(Store(owner_url)) as store:
        put(store, [made(seq, seq * 1000, {"motor.speed": seq}) for seq in range(1, 6)])
        fastest = select(func.max(rows.column_of("motor.speed"))).where(telemetry.c.ev == "EV-1")
        assert store.do(lambda c: c.execute(fastest).scalar()) == 5.0


@pytest.mark.requirement("R104", "R111")
def test_a_value_is_found_by_vehicle_signal_and_time_without_reading_the_record_again(store: Store) -> None:
    put(store, [made(seq, seq * 1000, {"battery.soc": 50 + seq, "motor.speed": seq}) for seq in range(1, 6)])
    put(store, [made(1, 1, {"battery.soc": 1.0}, ev="EV-2")])
    assert soc(store, (2000, 4000)) == [(2000, 52.0), (3000, 53.0)]
    for signal in SIGNALS:
        assert rows.column_of(signal).type.python_type is float


def test_pages_of_values_follow_one_another(store: Store) -> None:
    put(store, [made(seq, 1000, {"battery.soc": seq}) for seq in range(1, 8)])  # all at one time
    first = store.do(rows.values, "EV-1", ("battery.soc",), ALWAYS, 3, None)
    after = first[-1]["at_ms"], first[-1]["boot"], first[-1]["seq"]
    rest = store.do(rows.values, "EV-1", ("battery.soc",), ALWAYS, 100, after)
    assert [each["seq"] for each in (*first, *rest)] == [*range(1, 8)]


@pytest.mark.requirement("R78", "R100")
def test_a_route_is_complete_after_an_outage_and_has_both_coordinates(store: Store) -> None:
    """An hour's records arrive late and out of order; each has only the coordinate that changed."""
    way: list[tuple[float, float]] = [(48.0, 11.0)]
    hour = [made(1, 0, {"location.latitude": 48.0, "location.longitude": 11.0})]
    for seq in range(2, 3601):
        name = "location.latitude" if seq % 2 else "location.longitude"
        latitude, longitude = way[-1]
        way.append((latitude + 1e-4, longitude) if seq % 2 else (latitude, longitude + 1e-4))
        hour.append(made(seq, seq * 1000, {name: way[-1][0 if seq % 2 else 1], "battery.soc": 50.0}))
    for start in (0, 1800, 900, 2700):
        put(store, hour[start : start + 900])
    found: list[dict[str, Any]] = []
    while part := store.do(rows.route, "EV-1", ALWAYS, 1000, _place(found)):
        found += part
    assert [(each["latitude"], each["longitude"]) for each in found] == way


def _place(found: list[dict[str, Any]]) -> tuple[int, int, int] | None:
    return (found[-1]["at_ms"], found[-1]["boot"], found[-1]["seq"]) if found else None


MINUTE = 60_000
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(1, 150), st.integers(-1000, 1000)),
        st.tuples(st.just("refresh"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("delete"), st.integers(0, 40), st.just(0)),
    ),
    max_size=40,
)


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


def test_aggregates_of_before_are_made_anew_where_their_records_are_there(owner_url: str) -> None:
    """Of an older interval only the mean of its records is known, and that it is one."""
    store = Store(owner_url)
    hour = 3_600_000
    put(store, [made(seq, seq * 300_000, {"battery.soc": 50.0 + seq}) for seq in range(1, 13)], at_ms=hour)
    put(store, [made(seq, seq * 300_000, {"battery.soc": 50.0 + seq}) for seq in range(13, 37)], at_ms=3 * hour)
    aggregated(store)

    def older(connection: Connection) -> None:
        connection.execute(text("DROP TABLE telemetry_segments"))
        for column in ("integral", "held_ms"):
            connection.execute(text(f"ALTER TABLE telemetry_aggregates DROP COLUMN {column}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0033'"))

    store.do(older)
    migrate(store.engine, "0034")
    aggregated(store)
    quarters = store.do(rows.aggregates, "EV-1", "battery.soc", 900, ALWAYS, 99, None)
    assert [each["number"] for each in quarters] == [2, *[3] * 11, 1]
    assert [each["held_s"] for each in quarters] == [*[0.0] * 5, *[900.0] * 7, 0.0]
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


@pytest.mark.requirement("R107")
def test_what_is_erased_is_gone_everywhere_and_does_not_come_back(store: Store) -> None:
    found = [made(seq, seq * 1000, {"battery.soc": seq}) for seq in range(1, 9)]
    put(store, found)
    put(store, [made(1, 1, {"battery.soc": 1.0}, ev="EV-2")])
    aggregated(store)
    store.do(rows.save_states, [VehicleState("EV-1", readings_of(found[-1]))])
    while store.do(rows.erase, "EV-1", 7, ("lake",)):
        pass
    aggregated(store)
    assert soc(store) == []
    assert store.do(rows.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 9, None) == []
    assert store.do(rows.states) == []
    marker = select(telemetry_pending.c.sink, telemetry_pending.c.ev, telemetry_pending.c.boot)
    assert [tuple(row) for row in store.do(lambda c: c.execute(marker).all())] == [("lake", "EV-1", 0)]
    assert len(store.do(rows.values, "EV-2", ("battery.soc",), ALWAYS, 9, None)) == 1
    put(store, found)  # the gateway repeats them
    assert soc(store) == []


@pytest.mark.requirement("R107")
def test_what_another_node_is_aggregating_is_erased_too(postgresql_databases: Databases) -> None:
    store = Store(postgresql_databases.create())
    put(store, [made(seq, 1000 * seq, {"battery.soc": 50.0}) for seq in range(1, 10)])

    def erase() -> None:
        while store.do(rows.erase, "EV-1", 10**15, ()):
            pass

    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor(1) as thread:
        with store.engine.begin() as other:
            assert rows.aggregate_pending(other) == 1
            erasing = thread.submit(erase)
            while not store.do(lambda connection: connection.execute(waits).scalar()):
                assert not erasing.done()
        erasing.result(10)
    assert store.do(rows.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 10, None) == []
    store.close()


@pytest.mark.requirement("R97", "R160")
@pytest.mark.parametrize("name", ["\\u0000", "\\u001b[2J", "\\r\\n"])
def test_a_record_with_any_name_of_a_field_goes_into_quarantine(store: Store, name: str) -> None:
    sent = encode_record(made(1, 1000, {"battery.soc": 50.0}))[:-1] + f',"{name}":1}}'.encode()
    arrival = records.Arrival(read_delivery(encode_delivery([sent])), 7)
    (outcome,) = store.do(records.store, [arrival])
    assert outcome.marks[0].contiguous == 1
    (found,) = store.do(records.quarantined, None, 10, None)
    assert "unknown field" in found["reason"]
    assert found["reason"].isprintable()
    assert found["document"].encode() == sent


@pytest.mark.requirement("R173")
def test_nodes_that_save_a_state_make_no_value_older(store: Store) -> None:
    new = VehicleState("EV-1", readings_of(made(9, 9000, {"battery.soc": 9.0})))
    old = VehicleState("EV-1", readings_of(made(3, 3000, {"battery.soc": 3.0, "motor.speed": 30.0})))
    for each in (new, old):
        store.do(rows.save_states, [each])
    (state,) = store.do(rows.states)
    assert {name: each.seq for name, each in state.readings.items()} == {
        "battery.soc": 9, "motor.speed": 3, "context": 9
    }  # fmt: skip
