"""Records of vehicles in either database."""

import random
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from csms.db.store import Store
from csms.retention import store as retention
from csms.telemetry import aggregate_store as telemetry_aggregates
from csms.telemetry import store as rows
from csms.telemetry.rules import DeliveryOutcome, read_delivery
from csms.telemetry.tables import telemetry, telemetry_marks, telemetry_quarantine
from csms.vehicles import store as telemetry_values
from tests.csms.databases import Databases
from tests.csms.db.telemetry import kept, record, take
from tests.csms.sealed_store import store
from v2g.errors import UnstorableError
from v2g.telemetry import signals
from v2g.telemetry.delivery import DeliveryNotice, encode_delivery, encode_notice

__all__ = ["store"]

LATER = "v2g-telemetry/9"


def later(seq: int, soc: float = 50.0) -> bytes:
    return record(seq, soc).replace(b"v2g-telemetry/1", LATER.encode())


def documents(connection: Connection) -> list[bytes]:
    found = connection.execute(select(telemetry).order_by(telemetry.c.seq)).all()
    return [telemetry_values.document_of(connection, row) for row in found]


@pytest.fixture
def updated() -> Iterator[None]:
    """A version that knows one more schema, for the time of a test."""

    signals.SCHEMAS[LATER] = signals.Version((), (), signals.SIGNALS)
    yield
    del signals.SCHEMAS[LATER]


ONE, OTHER = "00" * 8, "ff" * 8


def under(boot_id: str, boot: int, *seqs: int) -> list[bytes]:
    """A delivery of somebody's boot."""
    return [
        encode_notice(DeliveryNotice("EV-1", boot, boot_id=boot_id)),
        *(record(seq, seq, boot=boot) for seq in seqs),
    ]


def test_a_boot_belongs_to_whose_it_was_first(store: Store) -> None:
    """Of another one nothing is stored under its number, and no mark says that it was."""
    (mark,) = take(store, *under(ONE, 5, 1, 2)).marks
    assert (mark.boot_id, mark.contiguous, mark.next_boot) == (ONE, 2, 0)
    for stranger in (under(OTHER, 5, 1, 2, 3), under(OTHER, 5, 1, 2, 3)[1:]):  # also of a gateway without ids
        refused = take(store, *stranger)
        ((boot, elements),) = refused.strangers
        assert (boot, elements, refused.fresh) == (("EV-1", 5), len(stranger), [])
        assert (refused.marks[0].highest, refused.marks[0].next_boot) == (0, 6)
    assert take(store, *under(ONE, 5, 3)).marks[0].contiguous == 3
    assert take(store, *under(OTHER, 6, 1)).marks[0].contiguous == 1


def test_a_new_boot_is_above_all_others_whatever_the_clock_says(store: Store) -> None:
    """Of boots that have waited together all are refused, so that they keep their order."""
    take(store, *under(ONE, 1900, 1))
    waiting = [encode_notice(DeliveryNotice("EV-1", boot, boot_id=OTHER)) for boot in (100, 101, 2000)]
    refused = take(store, *waiting)
    assert [(each.boot, each.next_boot) for each in refused.marks] == [(100, 1901), (101, 1901), (2000, 1901)]
    assert {each["boot"] for each in store.do(rows.marks, "EV-1", 10, None)} == {1900}
    raised = [encode_notice(DeliveryNotice("EV-1", boot, boot_id=OTHER)) for boot in (1901, 1902, 1903)]
    assert {each.next_boot for each in take(store, *raised).marks} == {0}
    assert {each["boot"] for each in store.do(rows.marks, "EV-1", 10, None)} == {1900, 1901, 1902, 1903}
    assert len(take(store, *under(ONE, 1900, 2), *under(OTHER, 1902, 1)).fresh) == 2


def test_a_boot_of_before_keeps_its_gateway(store: Store) -> None:
    """Records without an id, of a gateway before its update, go on; one that has ids may not take their number."""
    take(store, record(1, boot=7))
    assert take(store, *under(ONE, 7, 1)).marks[0].next_boot == 8
    take(store, *under(ONE, 8, 1))
    assert take(store, record(2, boot=7)).marks[0].contiguous == 2


def poison(store: Store, table: str, seq: int) -> None:
    """Let the database reject a number."""
    if store.engine.dialect.name == "sqlite":
        statement = f"CREATE TRIGGER of_{table} BEFORE INSERT ON {table} WHEN NEW.seq = {seq} "
        statement += "BEGIN SELECT RAISE(ABORT, 'poison'); END"
    else:
        statement = f"ALTER TABLE {table} ADD CONSTRAINT poison CHECK (seq <> {seq})"
    store.do(lambda connection: connection.execute(text(statement)))


@pytest.fixture
def own(owner_url: str) -> Iterator[Store]:
    found = Store(owner_url)
    yield found
    found.close()


def test_a_record_that_the_database_rejects_goes_into_quarantine_and_the_others_are_stored(own: Store) -> None:
    poison(own, "telemetry", 2)
    sent = b" " + record(2)
    notice = encode_notice(DeliveryNotice("EV-1", 1, ((4, 5),)))
    with pytest.raises(UnstorableError):
        take(own, record(1), sent)
    arrival = rows.Arrival(read_delivery(encode_delivery([record(1), sent, record(3), notice, b"{}", record(6)])), 7)
    outcome = own.do(rows.store_each, arrival)
    assert ([each.key[2] for each in outcome.fresh], outcome.missing) == ([1, 3, 6], [("EV-1", 1, 4, 5)])
    assert (outcome.refused, [each.contiguous for each in outcome.marks]) == ([], [6])
    (found,) = own.do(rows.quarantined, None, 10, None)
    assert (found["seq"], found["document"].encode()) == (2, sent.strip())
    assert "poison" in found["reason"]
    assert take(own, sent, record(3)).duplicates == 2


def test_a_record_that_the_quarantine_rejects_too_is_refused_alone(own: Store) -> None:
    poison(own, "telemetry", 2)
    poison(own, "telemetry_quarantine", 2)
    arrival = rows.Arrival(read_delivery(encode_delivery([b"{}", record(1), record(2), record(3)])), 7)
    outcome = own.do(rows.store_each, arrival)
    ((key, reason),) = outcome.refused
    assert (key, arrival.delivery.places[key], "poison" in reason) == (("EV-1", 1, 2), 2, True)
    assert ([each.key[2] for each in outcome.fresh], outcome.missing) == ([1, 3], [])
    assert outcome.marks[0].contiguous == 3, "else the gateway would repeat it for ever"
    (mark,) = own.do(rows.marks, "EV-1", 10, None)
    assert (mark["stored"], mark["quarantined"], mark["missing"]) == (2, 0, 1)


@pytest.mark.requirement("R160")
@pytest.mark.usefixtures("updated")
def test_a_record_that_the_database_rejects_delays_no_release(own: Store) -> None:
    del signals.SCHEMAS[LATER]
    take(own, *(later(seq) for seq in range(1, 5)))
    signals.SCHEMAS[LATER] = signals.Version((), (), signals.SIGNALS)
    poison(own, "telemetry", 2)
    assert [each.key[2] for each in own.do(rows.release, None, 8).fresh] == [1, 3, 4]
    assert [each["seq"] for each in own.do(rows.quarantined, None, 10, None)] == [2]


@pytest.mark.usefixtures("updated")
def test_a_short_page_is_not_the_end_of_a_release(store: Store) -> None:
    """Another node may have taken a part of it."""
    del signals.SCHEMAS[LATER]
    take(store, later(1))
    signals.SCHEMAS[LATER] = signals.Version((), (), signals.SIGNALS)
    assert store.do(rows.release, None, 8).last == ("EV-1", 1, 1)
    del signals.SCHEMAS[LATER]
    take(store, later(2))
    signals.SCHEMAS[LATER] = signals.Version((), (), signals.SIGNALS)
    second = store.do(rows.release, ("EV-1", 1, 1), 8)
    assert ([each.key[2] for each in second.fresh], second.last) == ([2], ("EV-1", 1, 2))
    assert store.do(rows.release, second.last, 8).last is None


@pytest.mark.requirement("R83")
def test_records_are_stored_in_the_order_of_their_source(store: Store) -> None:
    """With jitter of seconds, and in whatever order, what is read is in the order in which it was made."""
    numbers = list(range(1, 301))
    random.Random(1).shuffle(numbers)
    for start in range(0, len(numbers), 37):
        take(store, *(record(seq) for seq in numbers[start : start + 37]))
    assert store.do(kept) == [("EV-1", 1, seq) for seq in range(1, 301)]
    (mark,) = store.do(rows.marks, "EV-1", 10, None)
    assert (mark["contiguous"], mark["highest"], mark["stored"], mark["duplicates"]) == (300, 300, 300, 0)


@pytest.mark.requirement("R65", "R99")
def test_a_delivery_that_comes_twice_is_stored_once_and_a_contradiction_is_not(store: Store) -> None:
    assert len(take(store, record(1), record(2)).fresh) == 2
    again = take(store, record(2), record(1, soc=99.0), record(3))
    assert (len(again.fresh), again.duplicates, again.conflicts) == (1, 1, [("EV-1", 1, 1)])
    assert store.do(documents) == [record(1), record(2), record(3)]
    (vehicle,) = store.do(rows.vehicles, None, 10, None)
    assert {name: vehicle[name] for name in ("boots", "stored", "duplicates", "conflicts")} == {
        "boots": 1, "stored": 3, "duplicates": 1, "conflicts": 1
    }  # fmt: skip


@pytest.mark.requirement("R104")
def test_many_vehicles_share_a_transaction(store: Store) -> None:
    deliveries = [encode_delivery(record(seq, ev=f"EV-{n}") for seq in (1, 2)) for n in range(300)]
    outcomes = store.do(rows.store, [rows.Arrival(read_delivery(each), 7) for each in (*deliveries, *deliveries)])
    assert [len(each.fresh) for each in outcomes] == [2] * 300 + [0] * 300
    assert {each.marks[0].contiguous for each in outcomes} == {2}
    page = store.do(rows.vehicles, None, 200, None)
    rest = store.do(rows.vehicles, None, 200, (page[-1]["ev"],))
    assert len({each["ev"] for each in (*page, *rest)}) == 300
    assert [each["ev"] for each in store.do(rows.vehicles, ("EV-7",), 10, None)] == ["EV-7"]


def test_a_question_about_a_boot_makes_nothing(store: Store) -> None:
    outcome = take(store, encode_notice(DeliveryNotice("EV-1", 9)))
    assert (outcome.marks[0].boot, outcome.marks[0].contiguous) == (9, 0)
    assert store.do(rows.marks, "EV-1", 10, None) == []


@pytest.mark.requirement("R103")
def test_what_is_given_up_is_counted(store: Store) -> None:
    take(store, record(1), record(9))
    take(store, encode_notice(DeliveryNotice("EV-1", 1, ((2, 7),))))
    (mark,) = store.do(rows.marks, "EV-1", 10, None)
    assert (mark["contiguous"], mark["highest"], mark["missing"]) == (7, 9, 6)
    take(store, record(8), record(3))
    (mark,) = store.do(rows.marks, "EV-1", 10, None)
    assert (mark["contiguous"], mark["missing"], mark["stored"]) == (9, 5, 4)


@pytest.mark.requirement("R160")
@pytest.mark.usefixtures("updated")
def test_what_is_in_quarantine_is_released_when_it_is_understood(store: Store) -> None:
    count = rows.RELEASE_STEP + 20
    del signals.SCHEMAS[LATER]
    take(store, record(1), *(later(seq) for seq in range(2, count + 1)), b'{"ev":"EV-1","boot":2,"seq":1}')
    found = store.do(rows.quarantined, None, 1000, None)
    assert len(found) == count
    assert found[0]["schema_version"] in (LATER, signals.SCHEMA)
    assert {each["reason"] for each in found if each["boot"] == 1} == {f"0x2B9 UNSUPPORTED_SCHEMA_VERSION {LATER!r}"}
    assert store.do(rows.quarantined, ("EV-2",), 10, None) == []
    assert store.do(rows.release, None, 8).fresh == ()  # nothing is understood yet
    again = take(store, later(2), later(3, soc=1.0))
    assert (again.duplicates, again.conflicts) == (1, [("EV-1", 1, 3)])

    signals.SCHEMAS[LATER] = signals.Version((), (), signals.SIGNALS)
    early = take(store, later(4), later(5, soc=1.0))  # understood, and in quarantine still
    assert (early.duplicates, early.conflicts, early.fresh) == (1, [("EV-1", 1, 5)], [])
    released, after = 0, None
    while True:
        step = store.do(rows.release, after, 8)
        released, after = released + len(step.fresh), step.last
        if after is None:
            break
    assert released == count - 1
    assert store.do(kept) == [("EV-1", 1, seq) for seq in range(1, count + 1)]
    (left,) = store.do(rows.quarantined, None, 10, None)
    assert (left["boot"], left["document"]) == (2, '{"ev":"EV-1","boot":2,"seq":1}')
    marks = store.do(rows.marks, "EV-1", 10, None)
    assert [(each["boot"], each["stored"], each["quarantined"]) for each in marks] == [(2, 0, 1), (1, count, 0)]


@pytest.mark.requirement("R106")
def test_both_kinds_of_record_go_when_they_are_old_and_do_not_come_back(store: Store) -> None:
    take(store, record(1), later(2), at_ms=10)
    take(store, record(3), later(4), at_ms=2000)
    while store.do(telemetry_aggregates.aggregate_pending):
        pass
    while store.do(retention.delete_old, "telemetry", 1000):
        pass
    assert store.do(kept) == [("EV-1", 1, 3)]
    assert [each["seq"] for each in store.do(rows.quarantined, None, 10, None)] == [4]
    again = take(store, record(1), later(2))
    assert (again.duplicates, again.fresh, again.quarantine) == (2, [], [])


def test_two_nodes_that_store_records_of_one_vehicle_at_a_time_store_each_once(store_url: str) -> None:
    """Each has every other delivery, some have both: as after a node was away."""
    nodes = [Store(store_url) for _ in range(2)]
    failed: list[Exception] = []

    def deliver(node: int) -> None:
        order = random.Random(node)
        for first in range(1, 400, 10):
            batch = [record(seq) for seq in range(first, first + 10)]
            if order.random() < 0.7 or node == first // 10 % 2:
                try:
                    take(nodes[node], *order.sample(batch, len(batch)))
                except Exception as error:  # noqa: BLE001 - the test reports it
                    failed.append(error)

    threads = [threading.Thread(target=deliver, args=(node,)) for node in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert nodes[0].do(kept) == [("EV-1", 1, seq) for seq in range(1, 401)]
    (mark,) = nodes[0].do(rows.marks, "EV-1", 10, None)
    assert (mark["contiguous"], mark["stored"]) == (400, 400)
    for node in nodes:
        node.close()


def meanwhile(databases: Databases, *elements: bytes) -> DeliveryOutcome:
    """Store a delivery at one node while another has not committed the first record of boot 10; return its outcome."""
    nodes = [Store(url) for url in [databases.create()] * 3]
    outcomes: list[DeliveryOutcome] = []
    second = threading.Thread(target=lambda: outcomes.append(take(nodes[1], *elements)))
    with nodes[0].engine.begin() as connection:
        arrival = rows.Arrival(read_delivery(encode_delivery(under(ONE, 10, 1))), 7)
        assert rows.store(connection, [arrival])[0].strangers == []
        second.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while second.is_alive() and not nodes[2].do(lambda other: other.execute(waiting).scalar_one()):
            second.join(0.01)
    second.join()
    assert [each["boot"] for each in nodes[0].do(rows.marks, "EV-1", 10, None)] == [10]
    for node in nodes:
        node.close()
    return outcomes[0]


@pytest.mark.requirement("R98", "R99")
def test_two_nodes_begin_boots_of_a_vehicle_one_after_the_other(postgresql_databases: Databases) -> None:
    """The lower one comes while the other node has not committed the higher one: it has to take another number."""
    (mark,) = meanwhile(postgresql_databases, *under(OTHER, 9, 1)).marks
    assert (mark.boot, mark.boot_id, mark.next_boot) == (9, OTHER, 11)


@pytest.mark.requirement("R98", "R99")
def test_two_nodes_begin_one_boot_together(postgresql_databases: Databases) -> None:
    """Each gets a delivery of it: the second is stored, too, and the boot keeps its number."""
    outcome = meanwhile(postgresql_databases, *under(ONE, 10, 2))
    (mark,) = outcome.marks
    assert (outcome.strangers, mark.boot, mark.boot_id, mark.next_boot) == ([], 10, ONE, 0)
    assert len(outcome.fresh) == 1


@pytest.mark.some(1)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_stored_agrees_with_the_marks(store: Store, data: st.DataObject) -> None:
    def clear(connection: Connection) -> None:
        for table in (telemetry, telemetry_marks, telemetry_quarantine):
            connection.execute(table.delete())

    store.do(clear)
    element = st.one_of(
        st.builds(record, st.integers(1, 12)),
        st.builds(later, st.integers(1, 12)),
        st.builds(lambda n: encode_notice(DeliveryNotice("EV-1", 1, ((n, n + 2),))), st.integers(1, 12)),
    )
    for elements in data.draw(st.lists(st.lists(element, min_size=1, max_size=8), max_size=5)):
        take(store, *elements)
    for mark in store.do(rows.marks, "EV-1", 10, None):
        stored = {seq for _, _, seq in store.do(kept)}
        held = {each["seq"] for each in store.do(rows.quarantined, None, 100, None)}
        assert stored & held == set()
        assert (mark["stored"], mark["quarantined"]) == (len(stored), len(held))
        assert mark["contiguous"] <= len(stored) + len(held) + mark["missing"]


@pytest.mark.some(1)
def test_a_step_of_aggregating_takes_a_limited_number_of_records(store: Store) -> None:
    """In SQLite new records wait for it (R102): deliveries of a drain have hundreds each. One that takes all that wait
    is the last of its interval: what comes meanwhile is aggregated with more."""
    longest = telemetry_aggregates.MAX_RECORDS // 4
    for number in range(6):
        take(store, *(record(seq) for seq in range(1 + longest * number, 1 + longest * (number + 1))))
    assert [store.do(telemetry_aggregates.aggregate_pending) for _ in range(2)] == [True, False]
    found = store.do(telemetry_aggregates.aggregates, "EV-1", "battery.soc", 60, (0, 10**8), 9, None)
    assert sum(each["number"] for each in found) == 6 * longest
