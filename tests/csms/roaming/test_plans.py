"""SQLite finds what partners' and own objects are of by their indexes: without one it reads all of a module."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event

from csms.alerts import sources
from csms.alerts.rules import RULES
from csms.config import RoamingConfig
from csms.db.base import metadata
from csms.roaming import store as rows
from csms.roaming.publication import OfferedLocation, publish_station, put_place
from tests.csms.roaming.peers import LOCATION
from v2g.typed_json import convert

pytestmark = pytest.mark.requirement("R202")


@pytest.fixture
def asked() -> Iterator[tuple[Connection, list[tuple[str, Any]]]]:
    """A connection, and the queries that it is asked."""
    engine, found = create_engine("sqlite://"), list[tuple[str, Any]]()
    with engine.connect() as connection:
        metadata.create_all(connection)
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
    plans = _plans(connection, found)
    assert len(plans) == 9
    for query, steps in plans:
        searched = next(each for each in steps if each.startswith("SEARCH"))
        by = ("about=?", "alias=?", "object_id=?", "object_id>?", "updated_ms>?", "owner>?")
        assert any(column in searched for column in by), (query, steps)


def test_a_cdr_of_each_session_is_found_by_an_index(asked: tuple[Connection, list[tuple[str, Any]]]) -> None:
    """With 30,000 sessions and CDRs of a month `cdr_missing` read for 6 s, every 5 s; the time grows by the square."""
    connection, found = asked
    sources.observe(connection, 0, RULES)
    (steps,) = (steps for query, steps in _plans(connection, found) if "EXISTS" in query)
    by = [step for step in steps if "roaming_objects_1" in step]
    assert ["about=?" in by[0], "alias=?" in by[1]] == [True, True], steps


def test_objects_of_a_state_are_found_by_an_index(asked: tuple[Connection, list[tuple[str, Any]]]) -> None:
    """With 80,000 CDRs a page of disputed ones took 85 ms, and each look for alerts as long."""
    connection, found = asked
    rows.of_partners(connection, ("tnm", "nl*tnm*1"), 10, "cdrs", "disputed")
    rows.objects_in(connection, "tnm", "cdrs", "disputed")
    sources.observe(connection, 0, RULES)
    plans = [(query, steps) for query, steps in _plans(connection, found) if "roaming_objects.state " in query]
    assert len(plans) >= 3
    for query, steps in plans:
        assert any("state=?" in step for step in steps), (query, steps)
        assert not any("TEMP B-TREE" in step for step in steps), (query, steps)


def test_a_status_asks_as_little_at_a_large_location(asked: tuple[Connection, list[tuple[str, Any]]]) -> None:
    """At one with 1000 EVSEs each took 1.7 s, in which nothing else was stored."""
    connection, found = asked
    config = RoamingConfig(url="https://cpo.test", country_code="DE", party_id="CPO", name="Operator")
    asked_for = []
    for size in (2, 20):
        evses = [{**LOCATION["evses"][0], "station_id": f"CS-{number}"} for number in range(size)]
        put_place(connection, config, convert({**LOCATION, "evses": evses}, OfferedLocation), (), 0)
        del found[:]
        publish_station(connection, config, "CS-0", ("CS-0",), 1000)
        asked_for.append([query for query, _ in found])
    assert asked_for[0] == asked_for[1]


def _plans(connection: Connection, found: list[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    return [
        (query, [each[3] for each in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)])
        for query, values in list(found)
    ]
