"""Orders to take stations, EVSEs and connectors in and out of service (G03, G04)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, get_args

import msgspec

from v2g.ocpp.messages.availability import ConnectorStatus, OperationalStatus
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.diagnostics import EventData
from v2g.ocpp.times import parse_time

OrderState = Literal["Planned", "Sent", "Accepted", "Scheduled", "Rejected", "Failed", "Done", "Replaced"]

OPEN: Final = frozenset({"Planned", "Sent", "Accepted", "Scheduled"})
"""States of unfulfilled orders."""

_OUT_OF_SERVICE: Final = "Unavailable"
_STATUSES: Final[Mapping[str, ConnectorStatus]] = {word: word for word in get_args(ConnectorStatus)}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order for a station (`evse_id` 0), an EVSE (`connector_id` 0) or a connector, from `not_before_ms` on."""

    order_id: int
    station_id: str
    evse_id: int = 0
    connector_id: int = 0
    wanted: OperationalStatus
    state: OrderState = "Planned"
    not_before_ms: int = 0
    updated_ms: int = 0
    detail: str = ""

    @property
    def evse(self) -> EVSE | None:
        """The EVSE in ChangeAvailability; None is the whole station (G04)."""
        return EVSE(id=self.evse_id, connector_id=self.connector_id or None) if self.evse_id else None


def statuses_of(events: Iterable[EventData]) -> Iterator[tuple[tuple[int, int], ConnectorStatus, int]]:
    """Yield EVSE and connector, status, and its time (UTC ms), of events that report a connector's status (G01.FR.07).

    A station may send these in place of StatusNotification.
    """
    for event in events:
        evse, status = event.component.evse, _STATUSES.get(event.actual_value)
        is_status = (event.component.name, event.variable.name) == ("Connector", "AvailabilityState")
        if is_status and status and evse is not None and evse.connector_id is not None:
            yield (evse.id, evse.connector_id), status, parse_time(event.timestamp)


def covers(order: Order, evse_id: int, connector_id: int) -> bool:
    return order.evse_id in (0, evse_id) and order.connector_id in (0, connector_id)


def fulfilled(order: Order, connectors: Iterable[tuple[int, int, ConnectorStatus]]) -> bool:
    """Return whether an order is fulfilled: every connector that it covers is in, or out of, service."""
    found = [status for evse, connector, status in connectors if covers(order, evse, connector)]
    wanted_out = order.wanted == "Inoperative"
    return bool(found) and all((status == _OUT_OF_SERVICE) == wanted_out for status in found)
