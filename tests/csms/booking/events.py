"""What the back end makes of the events of a transaction before its booking is judged."""

from collections.abc import Sequence
from typing import Any

import msgspec

from csms.booking.plausibility import ReceivedEvent
from csms.transactions.rules import Event, Transaction, merge


def transaction_of(events: Sequence[ReceivedEvent], id_token: str | None = "A", **more: Any) -> Transaction:
    """Return the transaction that the back end has after these events."""
    known: Transaction | None = None
    for each in events:
        event = Event(
            station_id="CS", transaction_id="t", seq_no=each.seq_no, kind=each.kind, at_ms=each.at_ms, trigger="",
            digest="", offline=each.offline, evse_id=each.evse_id, id_token=id_token, token_type="ISO14443",
            samples=each.samples,
        )  # fmt: skip
        known = merge(known, event)
    assert known is not None
    return msgspec.structs.replace(known, **more)
