"""The reservations of a station, and the EVSEs that they block."""

from collections.abc import Callable, Mapping

import msgspec

from v2g.ocpp.messages.authorization import IdToken
from v2g_station.blocks.evse import Evse
from v2g_station.kernel.kernel import Kernel


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """One reservation; `evse_id` of None for any EVSE, or any with this connector."""

    id: int
    expires_ms: int
    id_token: IdToken
    group: str | None = None
    evse_id: int | None = None
    connector_type: str | None = None
    made_ms: int | None = None


class ReservationBook:
    """The reservations of one station, by their id in `all`."""

    def __init__(self, kernel: Kernel, evses: Mapping[int, Evse]) -> None:
        self._k = kernel
        self._evses = evses
        self.all = {item.id: item for item in kernel.stored("reservations", Reservation).values()}

    def is_reserved(self, evse: Evse, usable: Callable[[Evse], bool]) -> bool:
        """Return whether an EVSE is reserved: itself, or as one of the last (H01.FR.07, .20, .24).

        `usable` returns whether an EVSE is in service.
        """
        if any(item.evse_id == evse.number for item in self.all.values()):
            return True
        if evse.authorization is not None or not usable(evse):
            return False
        for kind in {item.connector_type for item in self.all.values() if item.evse_id is None}:
            waiting = sum(1 for item in self.all.values() if item.evse_id is None and item.connector_type == kind)
            free = [each for each in self._evses.values() if self._could_serve(each, kind) and usable(each)]
            if evse in free and len(free) <= waiting:
                return True
        return False

    def _could_serve(self, evse: Evse, kind: str | None) -> bool:
        taken = any(item.evse_id == evse.number for item in self.all.values())
        return not taken and evse.free and self.has(evse, kind)

    def has(self, evse: Evse, kind: str | None) -> bool:
        """Return whether an EVSE has a connector of a type, None for any."""
        layout = self._k.layout.evses[evse.number - 1]
        return kind is None or any(connector.connector_type == kind for connector in layout.connectors)
