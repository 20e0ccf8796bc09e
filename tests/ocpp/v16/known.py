"""A bridge whose store knows one transaction, 7."""

from typing import Any

from tests.ocpp.v16.drawing import Run as Translation
from v2g.ocpp.v16.bridge import (
    EventOf,
    HeldProfiles,
    IsStored,
    Numbered,
    NumberOf,
    OngoingAt,
    RemoteOf,
    Steps,
    TransactionOf,
)

NOW_MS = 1_800_000_000_000
AT = "2027-01-15T08:00:00Z"


def facts(question: Any) -> Any:
    """Answer a question of the bridge as a store would that knows one transaction."""
    match question:
        case NumberOf(connector_id=connector):
            return Numbered(number=7, connector_id=connector)
        case TransactionOf(number=number):
            return Numbered(number=7, connector_id=1, next_seq=3) if number == 7 else None
        case OngoingAt():
            return (Numbered(number=7, connector_id=1, next_seq=3),)
        case IsStored():
            return False
        case RemoteOf() | EventOf():
            return None
        case HeldProfiles():
            return ()
    return "ISO14443"


def Run(steps: Steps[Any], answer: Any) -> Translation:
    """Carry out a translation with these facts."""
    return Translation(steps, answer, facts)
