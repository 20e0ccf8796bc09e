"""What is old is deleted as configured, in steps, and nothing else."""

import os

import pytest
from sqlalchemy import Connection, insert, select

from csms.accounts import store as access
from csms.booking import store as reviews
from csms.db.store import Store
from csms.payments.store import battery_swaps
from csms.remote_control.store import remote_starts
from csms.reservations.store import reservations
from csms.retention import store as retention
from csms.roaming.store import Kept, put_object
from csms.roaming.tables import roaming_objects
from csms.stations import store as stations
from csms.telemetry.aggregate_store import aggregate_pending
from csms.transactions.events import EventArrival, add_events
from tests.csms.conftest import Start
from tests.csms.db.events import add_document, arrival, found_as, stored
from tests.csms.db.telemetry import kept, record, take
from tests.waiting import until


def aged(transaction_id: str, heard_ms: int, kind: str) -> EventArrival:
    made = arrival("CS-1", transaction_id, 0, "Started")
    return (
        EventArrival(made.event, made.document, heard_ms)
        if kind == "Started"
        else EventArrival(arrival("CS-1", transaction_id, 1, kind).event, made.document, heard_ms)
    )


@pytest.mark.some(1)
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
    assert store.do(found_as, "old-7") == []
    assert (after["T1"], after["T2"]) == (before["T1"], before["T2"])
    assert len(after["transaction_events"]) == 3


@pytest.mark.parametrize("state", ["waiting", "quarantined", "booked"])
def test_a_transaction_stays_while_a_journal_of_it_is_not_decided(store: Store, state: reviews.State) -> None:
    """Once that is released, it is booked at the transaction's EVSE, and a partner's CDR is made of both."""
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(add_events, [aged("T1", 10, "Started"), aged("T1", 10, "Ended")])
    review = reviews.Review(
        station_id="CS-1", session_id="0A", state=state, transaction_id="T1", begin_ms=1, end_ms=9, reason="prices",
        detail="", since_ms=10, due_ms=10,
    )  # fmt: skip
    store.do(reviews.put, review)
    store.do(retention.delete_old, "transactions", 1_000)
    assert (store.do(found_as, "T1") == []) == (state == "booked")


def test_what_names_drivers_goes_with_their_transactions(store: Store) -> None:
    """Starts, reservations, swaps, and drivers of roaming partners were kept for ever."""

    def fill(connection: Connection) -> None:
        for at_ms in (10, 2_000):
            start = {"station_id": "CS-1", "token_type": "ISO14443", "id_token": f"{at_ms}"}
            connection.execute(insert(remote_starts).values(**start, requested_ms=at_ms))
            connection.execute(insert(battery_swaps).values(
                **start, request_id=at_ms, event="BatteryIn", received_ms=at_ms, document="{}"
            ))  # fmt: skip
            for state in ("Used", "Accepted"):
                reserved = {"expires_ms": at_ms, "updated_ms": at_ms, "state": state}
                connection.execute(insert(reservations).values(**start, **reserved))
            for owner, module, state in (("", "grants", ""), ("", "sessions", "billed"), ("", "sessions", "open"),
                                         ("tnm", "sessions", ""), ("", "cdrs", "sent")):  # fmt: skip
                key = {"owner": owner, "module": module, "object_id": f"{at_ms}-{state}"}
                put_object(connection, Kept(**key, updated_ms=at_ms, document="{}", state=state))

    def left(connection: Connection) -> list[str]:
        tables = (remote_starts.c.id_token, battery_swaps.c.id_token, reservations.c.state)
        found = [str(each) for column in tables for each in connection.execute(select(column)).scalars()]
        shown = select(roaming_objects.c.module + roaming_objects.c.object_id + roaming_objects.c.owner)
        return sorted([*found, *connection.execute(shown).scalars()])

    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    store.do(fill)
    while store.do(retention.delete_old, "transactions", 1_000):
        pass
    assert store.do(left) == sorted([
        "2000", "2000", "Used", "Accepted", "Accepted", "grants2000-", "sessions2000-billed", "sessions2000-open",
        "sessions10-open", "sessions2000-tnm", "cdrs10-sent", "cdrs2000-sent",
    ])  # fmt: skip


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


async def test_a_copy_from_before_an_update_goes_after_a_week_while_the_program_runs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has vehicles that were erased since, and stayed until another start."""
    monkeypatch.setattr("csms.retention.work._INTERVAL_S", 0.05)
    async with start() as csms:
        old, new = (csms.config.data_dir / f"csms.sqlite3.revision-00{each}" for each in (58, 87))
        old.touch()
        new.touch()
        os.utime(old, (0, 0))
        await until(lambda: not old.exists())
        assert new.exists()
