"""Reception of a delivery: read, checked against its sender, and stored; in this process or in a worker."""

from collections.abc import Awaitable, Callable

import msgspec
from msgspec import structs

from csms.db.store import Store
from csms.telemetry import store as rows
from csms.telemetry.rules import Delivery, Outcome, read_delivery, timely
from v2g.errors import CodecError, UnstorableError
from v2g.text import printable


class Reception(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery. `outcome` is None where nothing was stored, since it is `malformed` or names a
    `foreign` vehicle. `refused`: index and reason of elements without a key. `asks`: the gateway expects an answer."""

    outcome: Outcome | None = None
    malformed: str = ""
    foreign: str = ""
    refused: tuple[tuple[int, str], ...] = ()
    elements: int = 0
    asks: bool = False


async def keep(store: Store, arrival: rows.Arrival) -> Outcome:
    """Store a delivery; what is mistimed or the database rejects goes into quarantine, or is refused. Raises
    StoreError."""
    arrival = structs.replace(arrival, delivery=timely(arrival.delivery, arrival.at_ms))
    try:
        return await store.gather_reports(rows.store, arrival)
    except UnstorableError:  # would come back with every attempt
        return await store.report(rows.store_each, arrival)


async def receive(payload: bytes, ev: str, store: Callable[[Delivery], Awaitable[Outcome]]) -> Reception:
    """Store a vehicle's delivery. Raises StoreError."""
    try:
        delivery = read_delivery(payload)
    except CodecError as error:
        return Reception(malformed=printable(str(error))[:200])
    foreign = min({whose for whose, _ in delivery.boots} - {ev}, default="")
    return Reception(
        outcome=None if foreign else await store(delivery),
        foreign=foreign,
        refused=delivery.refused,
        elements=len(delivery.elements),
        asks=delivery.asks,
    )
