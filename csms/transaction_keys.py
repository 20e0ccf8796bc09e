"""Keys of transactions: the id of its station, with the begin if the station has used the id before."""

import re
from typing import Final, TypeVar

import msgspec

from v2g.ocpp.messages.base import Datatype
from v2g.ocpp.times import format_time

D = TypeVar("D", bound=Datatype)
_AGAIN: Final = re.compile(r"~[-0-9]+T[0-9:.]+Z\Z")


def key_again(transaction_id: str, begin_ms: int) -> str:
    """Return the id of a transaction whose station has used its own one before: with the time of its begin."""
    return f"{transaction_id}~{format_time(begin_ms)}"


def id_at_station(transaction_id: str) -> str:
    """Return the id by which a transaction's station knows it; OCPP's identifiers have no `~`."""
    return _AGAIN.sub("", transaction_id)


def named_by_station(content: D) -> D:
    """Return a message or part of one that names a transaction as its station does."""
    changes: dict[str, object] = {}
    if transaction_id := getattr(content, "transaction_id", None):
        changes["transaction_id"] = id_at_station(transaction_id)
    for name in ("charging_profile", "message"):
        if isinstance(part := getattr(content, name, None), Datatype):
            changes[name] = named_by_station(part)
    return msgspec.structs.replace(content, **changes) if changes else content
