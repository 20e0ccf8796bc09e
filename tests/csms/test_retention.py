"""What is old is deleted as configured, in steps, and nothing else."""

from sqlalchemy import Connection

from csms.rows import retention, stations, transactions
from csms.rows.events import Arrival, add_events
from csms.store import Store
from tests.csms.rows.test_events import add_document, arrival, stored


def aged(transaction_id: str, heard_ms: int, kind: str) -> Arrival:
    made = arrival("CS-1", transaction_id, 0, "Started")
    return (
        Arrival(made.event, made.document, heard_ms)
        if kind == "Started"
        else Arrival(arrival("CS-1", transaction_id, 1, kind).event, made.document, heard_ms)
    )


def test_old_transactions_go_with_all_that_belongs_to_them_and_running_ones_stay(store: Store) -> None:
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(add_events, [aged(f"old-{number}", 10, kind) for number in range(120) for kind in ("Started", "Ended")])
    store.do(add_events, [aged("T1", 10, "Started")])  # still runs
    store.do(add_events, [aged("T2", 2_000, "Started"), aged("T2", 2_000, "Ended")])  # heard of lately
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


def test_every_kind_can_be_deleted_on_an_empty_database(store: Store) -> None:
    for kind in ("reports", "events", "transactions", "telemetry", "audit"):
        assert store.do(retention.delete_old, kind, 10**15) == 0  # type: ignore[arg-type]
