"""Set-points that are in force: what is to be shared anew when a vehicle no longer follows its part (block Q)."""

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A set-point (W, positive into the vehicles) for the vehicles of some stations, of all when None.

    `until_ms`: when nobody keeps it up any more (UTC).
    """

    setpoint_w: int
    stations: frozenset[str] | None
    frequency: bool
    pull_s: int | None
    until_ms: int

    def concerns(self, station_id: str) -> bool:
        """Say whether a station's vehicles are among those meant."""
        return self.stations is None or station_id in self.stations


class Orders:
    """The newest set-points of this node: of two that concern the same station the later one counts."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self.unsure: set[tuple[str, str]] = set()
        """Stations and transactions of which nobody knows whether they have heard their part: the answer was lost."""

    def put(self, order: Order) -> None:
        """Let a set-point hold in place of those that it meets."""
        self._orders = [each for each in self._orders if not _meet(each, order)]
        self._orders.append(order)

    def touched(self, stations: set[str], now_ms: int) -> list[Order]:
        """Return those in force that concern one of some stations; those that are over are forgotten."""
        self._orders = [each for each in self._orders if each.until_ms > now_ms]
        return [each for each in self._orders if any(map(each.concerns, stations))]


def _meet(one: Order, other: Order) -> bool:
    return one.stations is None or other.stations is None or bool(one.stations & other.stations)
