"""SQLite finds what partners' and own objects are of by their indexes: without one it reads all of a module."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event

from csms.roaming import store as rows
from csms.roaming.tables import roaming_objects

pytestmark = pytest.mark.requirement("R202")


@pytest.fixture
def asked() -> Iterator[tuple[Connection, list[tuple[str, Any]]]]:
    """A connection, and the queries that it is asked."""
    engine, found = create_engine("sqlite://"), list[tuple[str, Any]]()
    with engine.connect() as connection:
        roaming_objects.create(connection)
        event.listen(engine, "before_cursor_execute", lambda *args: found.append((args[2], args[3])))
        yield connection, found
    engine.dispose()


def test_objects_of_one_thing_are_found_by_an_index(asked: tuple[Connection, list[tuple[str, Any]]]) -> None:
    """With 200,000 CDRs of a partner each new one took 1 to 3 s, and as long each event of a roaming transaction."""
    connection, found = asked
    rows.objects_about(connection, "", "sessions", "CS/tx")
    rows.cdrs_near(connection, "tnm", "s1", "04A1B2C3", 0)
    rows.tokens_like(connection, "04A1B2C3", "DEABCC1")
    rows.tariff_at(connection, "tnm", "nl*tnm*t", 0)
    rows.of_partners(connection, ("tnm", "nl*tnm*1"), 10, "cdrs")
    plans = [
        (query, [each[3] for each in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)])
        for query, values in list(found)
    ]
    assert len(plans) == 9
    for query, steps in plans:
        searched = next(each for each in steps if each.startswith("SEARCH"))
        by = ("about=?", "alias=?", "object_id=?", "object_id>?", "updated_ms>?", "owner>?")
        assert any(column in searched for column in by), (query, steps)
