"""Transaction events in the database: many at once come to the same as one after the other, on either database."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from csms.db.bulk import delete_many, insert_rows, upsert_rows
from csms.db.store import Store
from csms.stations import store as stations
from csms.tokens.tables import tokens
from csms.transactions.events import EventArrival, add_events
from csms.transactions.tables import transaction_events
from tests.csms.databases import Databases
from tests.csms.db.events import arrival, found_as, stored
from v2g.errors import StoreError

ARRIVALS = st.lists(
    st.builds(
        arrival,
        st.sampled_from(["CS-1", "CS-2"]),
        st.sampled_from(["T1", "T2"]),
        st.integers(0, 4),
        st.sampled_from(["Started", "Updated", "Ended"]),
        st.integers(0, 2),
    ),
    max_size=12,
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest) -> Any:
    """A store of either kind for many examples, which leave nothing behind."""
    databases: Databases = request.getfixturevalue(f"{request.param}_databases")
    store = Store(databases.create())
    for station_id in ("CS-1", "CS-2"):
        store.do(stations.touch, station_id, "ocpp2.1", 1)
    yield store
    store.close()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARRIVALS)
@example(  # one that began first ends after the other
    [
        arrival("CS-2", "T2", 0, "Started", 2),
        arrival("CS-2", "T1", 0, "Started", 1),
        arrival("CS-2", "T1", 1, "Ended", 0),
        arrival("CS-2", "T2", 1, "Ended", 0),
    ]
)
@example(  # each is judged again by an event after its end
    [
        arrival("CS-2", "T1", 0, "Started", 1),
        arrival("CS-2", "T1", 2, "Ended", 2),
        arrival("CS-2", "T2", 0, "Started", 1),
        arrival("CS-2", "T2", 2, "Ended", 2),
        arrival("CS-2", "T1", 1, "Updated", 1),
    ]
)
@pytest.mark.some(1)
def test_many_events_at_once_come_to_the_same_as_each_alone(shared: Store, arrivals: list[EventArrival]) -> None:
    found = []
    for together in (True, False):
        with shared.engine.connect() as connection:
            if together:
                results = add_events(connection, arrivals)
            else:
                results = [add_events(connection, [each])[0] for each in arrivals]
            found.append((results, stored(connection)))
            connection.rollback()
    assert found[0] == found[1]


def test_a_repeated_event_is_counted_once_and_a_contradiction_is_kept_out(store: Store) -> None:
    store.do(stations.touch, "CS-1", "ocpp2.1", 1)
    first = arrival("CS-1", "T1", 0, "Started", 100)
    other = arrival("CS-1", "T1", 0, "Started", 999)
    outcomes = [outcome for outcome, _ in store.do(add_events, [first, first, other])]
    outcomes += [outcome for outcome, _ in store.do(add_events, [first, other, arrival("CS-1", "T1", 1)])]
    assert outcomes == ["new", "duplicate", "conflict", "duplicate", "conflict", "new"]
    assert store.do(lambda c: c.execute(select(func.count()).select_from(transaction_events)).scalar()) == 2
    (found,) = store.do(found_as, "T1")
    assert [value["value"] for value in found["meter_values"]] == ["100", "0"]


async def test_an_event_of_an_unknown_station_does_not_harm_those_of_others(store: Store) -> None:
    await store.run(stations.touch, "CS-1", "ocpp2.1", 1)
    arrivals = [arrival("CS-1" if n != 7 else "nobody", "T1", n) for n in range(20)]
    results = await asyncio.gather(*(store.gather(add_events, each) for each in arrivals), return_exceptions=True)
    assert isinstance(results.pop(7), StoreError)
    assert [outcome for outcome, _ in results] == ["new"] * 19  # type: ignore[misc]
    (found,) = await store.read(found_as, "T1")
    assert found["missing"] == [(7, 7)]


async def test_two_nodes_that_get_events_of_one_transaction_lose_none(postgresql_databases: Databases) -> None:
    """Its station moved from one to the other while the first was still at work."""
    url = postgresql_databases.create()
    nodes = [Store(url), Store(url)]
    await nodes[0].run(stations.touch, "CS-1", "ocpp2.1", 1)
    arrivals = [
        arrival("CS-1", "T1", n, "Started" if n == 0 else "Ended" if n == 99 else "Updated", n) for n in range(100)
    ]
    await asyncio.gather(*(nodes[n % 2].gather(add_events, each) for n, each in enumerate(arrivals)))
    (found,) = await nodes[0].read(found_as, "T1")
    assert found["complete"]
    assert (found["first_seq"], found["last_seq"], found["import_wh"]) == (0, 99, "99")
    for node in nodes:
        node.close()


def test_rows_with_everything_that_text_may_hold_come_back_as_they_were(store: Store) -> None:
    rows = [
        {"token_type": "Central", "id_token": text, "status": "Accepted", "energy_transfer": "[]"}
        for text in ("plain", 'quo"te', "back\\slash", "new\nline", "ünïcode €", "{brace}", "%s ? :x")
    ]

    def work(connection: Connection) -> set[str]:
        insert_rows(connection, tokens, rows)
        upsert_rows(connection, tokens, [{**row, "status": "Blocked"} for row in rows])
        return {f"{row.id_token}:{row.status}" for row in connection.execute(select(tokens))}

    assert store.do(work) == {f"{row['id_token']}:Blocked" for row in rows}
    gone = [{"token_type": "Central", "id_token": row["id_token"]} for row in rows[1:]]
    store.do(delete_many, tokens, [*gone, {"token_type": "Local", "id_token": "plain"}])
    store.do(delete_many, tokens, [])
    assert store.do(lambda c: [row.id_token for row in c.execute(select(tokens))]) == ["plain"]
