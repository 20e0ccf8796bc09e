"""Which prices a station may hold, the same on either kind of database."""

import pytest
from sqlalchemy import Connection

from csms.db.store import Store
from csms.retention import store as retention
from csms.tariffs import store as rows

CS = "CS-1"


def held(connection: Connection, *tariffs: str) -> list[tuple[str, int, int | None]]:
    """Return (tariff, sent, ended) in order."""
    found = rows.deliveries(connection, CS, tariffs or ("A", "B", "C"))
    return [(name, each.sent_ms, each.ended_ms) for name in sorted(found) for each in found[name]]


@pytest.mark.requirement("R33")
def test_prices_end_when_others_are_accepted_not_when_they_are_sent(store: Store) -> None:
    def work(connection: Connection) -> None:
        rows.begin(connection, CS, "A", 1)
        rows.accept(connection, CS, "A", 2)
        rows.begin(connection, CS, "A", 3)  # after another connection
        rows.accept(connection, CS, "A", 4)
        rows.begin(connection, CS, "B", 5)  # without an answer
        rows.begin(connection, CS, "C", 6)
        rows.refuse(connection, CS, "C")
        rows.refuse(connection, CS, "A")  # accepted before: a station that can no longer read them still has them
        assert held(connection) == [("A", 1, None), ("B", 5, None)]
        rows.begin(connection, "CS-2", "C", 7)
        rows.accept(connection, "CS-2", "C", 8)
        assert held(connection) == [("A", 1, None), ("B", 5, None)]
        rows.begin(connection, CS, "C", 9)
        rows.accept(connection, CS, "C", 10)
        assert held(connection) == [("A", 1, 10), ("B", 5, 10), ("C", 9, None)]
        rows.begin(connection, CS, "A", 11)
        rows.accept(connection, CS, "A", 12)
        assert held(connection) == [("A", 1, 10), ("A", 11, None), ("B", 5, 10), ("C", 9, 12)]
        assert retention.delete_old(connection, "transactions", 12) == 2
        assert held(connection) == [("A", 11, None), ("C", 9, 12)]

    store.do(work)
