"""The reservations of a station, and the EVSEs that they block."""

from collections.abc import Callable, Mapping, Sequence

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
        """Return whether an EVSE is reserved: itself, or because the others are too few (H01.FR.07, .20, .24).

        `usable` returns whether an EVSE is in service.
        """
        taken = {item.evse_id for item in self.all.values()}
        kinds = [item.connector_type for item in self.all.values() if item.evse_id is None]
        if evse.number in taken:
            return True
        if evse.record is not None or evse.authorization is not None or not usable(evse):
            return False
        others = [each for each in self._evses.values() if each.free and each is not evse and usable(each)]
        others = [each for each in others if each.number not in taken]
        return any(self.has(evse, kind) for kind in kinds) and not self._fit(kinds, others)

    def _fit(self, kinds: Sequence[str | None], evses: Sequence[Evse]) -> bool:
        """Return whether reservations of any EVSE, or of kinds of connectors, can each have one of their own."""
        given: dict[int, int] = {}

        def give(item: int, tried: set[int]) -> bool:
            for evse in evses:
                if evse.number not in tried and self.has(evse, kinds[item]):
                    tried.add(evse.number)
                    if evse.number not in given or give(given[evse.number], tried):  # who has it may have another one
                        given[evse.number] = item
                        return True
            return False

        return all(give(item, set()) for item in range(len(kinds)))

    def has(self, evse: Evse, kind: str | None) -> bool:
        """Return whether an EVSE has a connector of a type, None for any."""
        layout = self._k.layout.evses[evse.number - 1]
        return kind is None or any(connector.connector_type == kind for connector in layout.connectors)
