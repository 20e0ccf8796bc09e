"""The OCPP log: frames of stations, published in the feed while a client watches, on any node.

Watching is announced in the feed repeatedly; without a recent announcement frames cost nothing.
"""

from typing import Final, Literal

from csms.cluster.feed import Feed
from csms.cluster.frames import presentable
from v2g.io.runtime.clock import Clock

FRAME: Final = "ocpp_frame"
"""Kind of the event that shows a frame: `direction` (as seen from the back end) and `text`."""

WANTED: Final = "ocpp_frames_wanted"
"""Kind of the event that announces that a client watches a station (or, without one, all)."""

LEASE_S: Final = 30.0


class FrameLog:
    """The stations whose frames are watched, as announced to this node."""

    def __init__(self, feed: Feed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self._until: dict[str | None, float] = {}

    def want(self, station_id: str | None) -> None:
        """Request frames of a station (None: of all) from every node for the next `LEASE_S`."""
        self.wanted(station_id)
        self._feed.publish(WANTED, station_id, {})

    def wanted(self, station_id: str | None) -> None:
        """Note that a client watches, on any node."""
        now = self._clock.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until[station_id] = now + LEASE_S

    def show(self, station_id: str, direction: Literal["received", "sent"], text: str) -> None:
        """Publish a frame if a client watches."""
        if not self._until:
            return
        now = self._clock.monotonic()
        if max(self._until.get(station_id, now), self._until.get(None, now)) > now:
            self._feed.publish(FRAME, station_id, {"direction": direction, "text": presentable(text)})
