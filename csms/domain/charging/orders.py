"""Set-points in force: what must be distributed again when a vehicle no longer follows its part (block Q)."""

from collections.abc import Collection, Mapping

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A set-point (W, positive into the vehicles) for the vehicles of some stations, of all when None.

    `until_ms`: when it expires without renewal (UTC). `parts`: each vehicle's own set-point, by its name in plans; then
    nothing is split, and vehicles without one get none. `fleet`: whose plan they follow, `planned_w`: what it says.
    """

    setpoint_w: int
    stations: frozenset[str] | None
    frequency: bool
    pull_s: int | None
    until_ms: int
    parts: Mapping[str, int] | None = None
    fleet: str = ""
    planned_w: int = 0

    def concerns(self, station_id: str) -> bool:
        """Return whether it applies to a station."""
        return self.stations is None or station_id in self.stations


class Orders:
    """The latest set-points of this node: for each station the later one counts."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self.unsure: set[tuple[str, str]] = set()
        """Stations and transactions whose answer was lost: unknown whether they received their part."""
        self.noted_ms = 0
        """The minute (UTC) up to which their course is stored."""

    def put(self, order: Order) -> None:
        """Add a set-point, replacing those for the same stations."""
        self._orders = [each for each in self._orders if not _meet(each, order)]
        self._orders.append(order)

    def touched(self, stations: Collection[str | None], now_ms: int) -> list[Order]:
        """Return those in force for any of some stations (None: any), discarding expired ones."""
        self._orders = [each for each in self._orders if each.until_ms > now_ms]
        return [each for each in self._orders if any(name is None or each.concerns(name) for name in stations)]


def _meet(one: Order, other: Order) -> bool:
    return one.stations is None or other.stations is None or bool(one.stations & other.stations)
