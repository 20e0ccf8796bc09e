"""What all stations share, with the parts that features add to it, and the context of the handlers of one station."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed, FrameLog
from csms.cluster.precedence import Precedence
from csms.config import CsmsConfig
from csms.db import leases
from csms.db.store import Store
from csms.db.store_key import StoreKey
from csms.metrics import Metrics
from csms.smart_charging.rules import Needs
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar
from v2g.ocpp.routes import Version

PartT = TypeVar("PartT")

STEP_S: Final = 5.0
"""Interval of periodic steps, and after which work that has ended is run again (`csms/background.py`), s."""


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The services shared by all stations. `services[GridSource]` is the grid's part, and so on for each feature."""

    config: CsmsConfig
    store: Store
    store_key: StoreKey
    clock: Clock
    observe: EventLog
    connections: ConnectionRegistry
    feed: Feed
    frames: FrameLog
    precedence: Precedence = msgspec.field(default_factory=Precedence)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    parts: Mapping[type, object]
    """Each by its type."""

    def __getitem__(self, part: type[PartT]) -> PartT:
        """Return the part of a feature. Raises KeyError for one that is not configured."""
        found = self.parts[part]
        assert isinstance(found, part)
        return found

    def find(self, part: type[PartT]) -> PartT | None:
        """Return the part of a feature, None if it is not configured."""
        return self[part] if part in self.parts else None

    def report(self, stage: str, name: str, station_id: str, data: Mapping[str, Scalar]) -> None:
        """Record an event of a station, and publish it."""
        self.observe(Observe(stage, name, {"station": station_id, **data}))
        self.feed.publish(name, station_id, data)

    def announce(self, stage: str, name: str, **data: Scalar) -> None:
        """Record an event that concerns no single station, and publish it."""
        self.observe(Observe(stage, name, data))
        self.feed.publish(name, None, data)

    def log_name(self, ev: str) -> str:
        """See `StoreKey.log_name`."""
        return self.store_key.log_name(ev)

    async def leads(self, work: str, every_s: float) -> bool:
        """Return whether this node is the one that does a work, for the next three of its intervals (s)."""
        now_ms = self.clock.utc_ms()
        return await self.store.run(leases.take, work, self.feed.node, now_ms, now_ms + round(3000 * every_s))


class HandlerContext:
    """One station's requests on one connection. `on_needs(evse_id)` is called when a vehicle has sent its needs,
    `on_turnover` when a transaction has begun or ended. `behind_s`: so long (real s) the station may have waited for
    answers to its requests before this one."""

    __slots__ = ("behind_s", "early_needs", "on_needs", "on_turnover", "pending", "services", "station_id", "version")

    def __init__(
        self,
        services: Services,
        station_id: str,
        version: Version,
        on_needs: Callable[[str, Needs], None],
        on_turnover: Callable[[], None],
    ) -> None:
        self.services: Final = services
        self.station_id: Final = station_id
        self.version: Final = version
        self.on_needs: Final = on_needs
        self.on_turnover: Final = on_turnover
        self.behind_s = 0.0
        self.early_needs: Final[dict[int, Needs]] = {}
        self.pending: Final[dict[int, tuple[int, int]]] = {}
        """Event stream -> how many readings were queued at the station, and how often in a row that had grown."""

    def observe(self, stage: str, name: str, **data: Scalar) -> None:
        """Record an event of this station."""
        self.services.report(stage, name, self.station_id, data)
