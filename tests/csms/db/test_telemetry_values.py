"""Typed values, aggregates that outlive their records, erasure, and latest states, in either database."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text

from csms.db.store import Store
from csms.telemetry import aggregate_store as telemetry_aggregates
from csms.telemetry import store as records
from csms.telemetry.rules import read_delivery
from csms.telemetry.tables import telemetry, telemetry_pending
from csms.vehicles import store as rows
from csms.vehicles.rules import VehicleState, readings_of
from tests.csms.databases import Databases
from tests.csms.db.telemetry_values import made, put
from tests.csms.sealed_store import store
from v2g.telemetry.batch import Batcher
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.signals import SIGNALS, CellSamples, encode_record

__all__ = ["store"]

ALWAYS = (0, 2**53)


def aggregated(store: Store) -> None:
    while store.do(telemetry_aggregates.aggregate_pending):
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


@pytest.mark.some(1)
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


@pytest.mark.requirement("R107")
def test_what_is_erased_is_gone_everywhere_and_does_not_come_back(store: Store) -> None:
    found = [made(seq, seq * 1000, {"battery.soc": seq}) for seq in range(1, 9)]
    put(store, found)
    put(store, [made(1, 1, {"battery.soc": 1.0}, ev="EV-2")])
    aggregated(store)
    store.do(rows.save_states, [VehicleState("EV-1", readings_of(found[-1]))], {"EV-1": 1})
    while store.do(rows.erase, "EV-1", 7, ("lake",)):
        pass
    aggregated(store)
    assert soc(store) == []
    assert store.do(telemetry_aggregates.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 9, None) == []
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
            assert not telemetry_aggregates.aggregate_pending(other)
            erasing = thread.submit(erase)
            while not store.do(lambda connection: connection.execute(waits).scalar()):
                assert not erasing.done()
        erasing.result(60)
    assert store.do(telemetry_aggregates.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 10, None) == []
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
        store.do(rows.save_states, [each], {each.ev: 1})
    ((state, changed_ms),) = store.do(rows.states)
    assert changed_ms == 1
    assert {name: each.seq for name, each in state.readings.items()} == {
        "battery.soc": 9, "motor.speed": 3, "context": 9
    }  # fmt: skip


@pytest.mark.requirement("R104")
def test_samples_of_cells_are_found_among_other_records(store: Store) -> None:
    batcher = Batcher("EV-1", 1)
    put(
        store, [batcher.cells(CellSamples(number, ((0, (37_000 + number, None)),)), number) for number in range(1, 251)]
    )
    put(store, [made(seq, seq, {"battery.soc": 50.0}) for seq in range(251, 260)])
    put(store, [batcher.event(LocalEvent("evcc", "session.ended", 1, {}), 400)])
    first = store.do(rows.cell_samples, "EV-1", ALWAYS, 240, None)
    after = first[-1]["at_ms"], first[-1]["boot"], first[-1]["seq"]
    rest = store.do(rows.cell_samples, "EV-1", ALWAYS, 240, after)
    assert [each["cells"].begin_ms for each in (*first, *rest)] == list(range(1, 251))
    assert rest[-1]["cells"].samples == ((0, (37_250, None)),)
    assert store.do(rows.cell_samples, "EV-2", ALWAYS, 10, None) == []
