"""What is old is deleted as configured, in steps, and nothing else."""

from sqlalchemy import Connection

from csms.accounts import store as access
from csms.db.store import Store
from csms.retention import store as retention
from csms.stations import store as stations
from csms.telemetry.aggregate_store import aggregate_pending
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from tests.csms.db.events import add_document, arrival, stored
from tests.csms.db.telemetry import kept, record, take


def aged(transaction_id: str, heard_ms: int, kind: str) -> EventArrival:
    made = arrival("CS-1", transaction_id, 0, "Started")
    return (
        EventArrival(made.event, made.document, heard_ms)
        if kind == "Started"
        else EventArrival(arrival("CS-1", transaction_id, 1, kind).event, made.document, heard_ms)
    )


def test_old_transactions_go_with_all_that_belongs_to_them_and_running_ones_stay(store: Store) -> None:
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(add_events, [aged(f"old-{number}", 10, kind) for number in range(120) for kind in ("Started", "Ended")])
    store.do(add_events, [aged("T1", 10, "Started")])  # still runs
    store.do(add_events, [aged("T2", 2_000, "Started"), aged("T2", 2_000, "Ended")])  # reported lately
    before = store.do(stored)
    steps = 0
    while store.do(retention.delete_old, "transactions", 1_000):
        steps += 1
    after = store.do(stored)
    assert steps > 1
    assert store.do(transactions.find, "old-7") == []
    assert (after["T1"], after["T2"]) == (before["T1"], before["T2"])
    assert len(after["transaction_events"]) == 3


def test_old_reports_go_in_steps_and_new_ones_stay(store: Store) -> None:
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)

    def fill(connection: Connection) -> None:
        for number in range(retention.STEP + 10):
            add_document(connection, "{}", number)

    store.do(fill)
    assert store.do(retention.delete_old, "reports", retention.STEP + 5) == retention.STEP
    assert store.do(retention.delete_old, "reports", retention.STEP + 5) == 5
    assert store.do(retention.delete_old, "reports", retention.STEP + 5) == 0


def test_old_telemetry_goes_and_what_was_stored_once_is_stored_no_second_time(store: Store) -> None:
    take(store, *(record(seq) for seq in range(1, 11)), at_ms=10)
    take(store, *(record(seq) for seq in range(11, 16)), at_ms=2_000)
    assert store.do(retention.delete_old, "telemetry", 1_000) == 0  # not aggregated yet
    while store.do(aggregate_pending):
        pass
    assert store.do(retention.delete_old, "telemetry", 1_000) == 10
    assert store.do(retention.delete_old, "telemetry", 1_000) == 0
    assert [seq for _, _, seq in store.do(kept)] == [*range(11, 16)]
    assert take(store, record(3)).duplicates == 1


def test_old_lines_of_the_audit_log_go_and_new_ones_stay(store: Store) -> None:
    for at_ms in (10, 999, 1_000, 2_000):
        store.do(
            access.add_entry,
            {
                "at_ms": at_ms, "caller": "tests", "role": "admin", "peer": "::1", "path": "/x",
                "operation": "x", "status": 200,
            },
        )  # fmt: skip
    assert store.do(retention.delete_old, "audit", 1_000) == 2
    assert [entry["at_ms"] for entry in store.do(lambda connection: access.list_entries(connection))] == [2_000, 1_000]


def test_every_kind_can_be_deleted_on_an_empty_database(store: Store) -> None:
    for kind in ("reports", "events", "transactions", "telemetry", "audit"):
        assert store.do(retention.delete_old, kind, 10**15) == 0  # type: ignore[arg-type]
