"""Numbers of transactions of OCPP 1.6, in both databases (R198)."""

import pytest
from sqlalchemy import delete

from csms.db.store import Store
from csms.ocpp16 import store as numbers
from v2g.ocpp.v16.bridge import NumberOf

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
