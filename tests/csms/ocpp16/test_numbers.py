"""Numbers of transactions of OCPP 1.6, in both databases (R198)."""

import pytest
from sqlalchemy import delete

from csms.db.store import Store
from csms.ocpp16 import store as numbers
from csms.remote_control.store import match_start, open_start, save_start_answer
from csms.reservations.store import open_reservation
from csms.tokens import store as tokens
from csms.tokens.rules import Token
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.v16.bridge import NumberOf, Remote, RemoteOf, short_id_tag

pytestmark = pytest.mark.requirement("R198")


def start(meter_wh: int = 5) -> NumberOf:
    return NumberOf(connector_id=1, id_tag="CARD", meter_start=meter_wh, timestamp="2027-01-15T08:00:00Z")


async def test_no_two_transactions_have_a_number_and_a_repeated_start_keeps_its_own(store: Store) -> None:
    first = await store.run(numbers.number_of, "CS-1", start(), 1)
    assert (await store.run(numbers.number_of, "CS-1", start(), 2)).number == first.number
    others = [
        await store.run(numbers.number_of, "CS-1", start(6), 3),
        await store.run(numbers.number_of, "CS-2", start(), 4),
    ]
    assert len({first.number, *(each.number for each in others)}) == 3
    assert await store.read(numbers.find, "CS-1", others[1].number) is None, "it is another station's"
    assert await store.read(numbers.find, "CS-2", others[1].number) == others[1]


async def test_a_number_is_never_used_again(store: Store) -> None:
    last = await store.run(numbers.number_of, "CS-1", start(), 1)
    await store.run(lambda connection: connection.execute(delete(numbers.numbers)))
    assert (await store.run(numbers.number_of, "CS-1", start(7), 2)).number > last.number


async def test_a_token_keeps_the_type_under_which_it_was_to_start(store: Store) -> None:
    """Its payer or app plugs in after the station was away, whose connection has forgotten it."""
    token = IdToken(id_token="PAY00000001123456789", type="Central")
    await store.run(open_start, "CS-1", 1, token, None, 1)
    assert await store.read(numbers.type_of, "CS-1", token.id_token.lower()) == "Central"
    assert await store.read(numbers.type_of, "CS-2", token.id_token) == "ISO14443"
    await store.run(tokens.put, Token("KeyCode", token.id_token, "Accepted"))
    assert await store.read(numbers.type_of, "CS-1", token.id_token) == "KeyCode"


async def test_a_long_token_is_found_by_its_short_idtag(store: Store) -> None:
    token = IdToken(id_token="9b2e7a44-5a0b-4c57-b8e5-1c0a2f6d8e11", type="Central")
    reserved = IdToken(id_token="5f0c7d9e-5a0b-4c57-b8e5-1c0a2f6d8e11", type="Central")
    await store.run(open_start, "CS-1", 1, token, None, 1)
    booked = {"station_id": "CS-1", "token_type": reserved.type, "id_token": reserved.id_token}
    await store.run(lambda connection: open_reservation(connection, **booked, expires_ms=9, updated_ms=1))
    for each in (token, reserved):
        tag = short_id_tag(each.id_token)
        assert await store.read(numbers.token_of, "CS-1", tag.lower()) == each
        assert await store.read(numbers.token_of, "CS-2", tag) is None


async def test_a_remote_start_is_found_after_a_reconnection_once_and_only_if_its_driver_came_in_time(
    store: Store,
) -> None:
    """Else its own limit is lost: the connection that had asked for it is gone."""
    token = IdToken(id_token="9b2e7a44-5a0b-4c57-b8e5-1c0a2f6d8e11", type="Central")
    tag = short_id_tag(token.id_token).lower()
    first, second, third = [await store.run(open_start, "CS-1", evse, token, None, 1_000_000) for evse in (1, 2, 1)]

    async def found(at_ms: int = 1_500_000, connector: int = 1, station: str = "CS-1", id_tag: str = tag) -> object:
        return await store.read(numbers.remote_of, station, RemoteOf(id_tag, connector, at_ms))

    await store.run(save_start_answer, third, "Rejected", None)
    await store.run(save_start_answer, second, "Unanswered", None)
    assert await found() == Remote(token, first, 1)
    assert await found(connector=2) == Remote(token, second, 2)
    for other in (found(900_000), found(1_700_000), found(station="CS-2"), found(id_tag="X")):
        assert await other is None
    await store.run(match_start, "CS-1", first, "7", 1_500_000)
    assert await found() is None
