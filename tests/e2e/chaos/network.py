"""A network in memory that is as bad as configured: websockets, and what can fail between their ends.

It behaves as TCP does: what is sent one way arrives in order or not at all, and what is not acknowledged is sent again
when the way is free again, unless the connection has been given up meanwhile. Pings are those of the real ends.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from websockets.exceptions import ConnectionClosedError

from v2g.errors import TransportError
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version

SERVER_PING_S = 20.0
"""How often the back end's end of a connection pings, as `v2g.io.websocket.server` has it."""

Way = Literal["up", "down"]
"""To the back end, to the station."""

Kind = Literal["text", "ping", "pong", "end"]


class Weather(msgspec.Struct, kw_only=True):
    """How the network is at the moment: seconds for each way, ways on which nothing arrives, frames that come twice."""

    up_s: float = 0.02
    down_s: float = 0.02
    lost: set[Way] = msgspec.field(default_factory=set)
    refuses: bool = False
    twice: int = 0

    def takes_s(self, way: Way) -> float:
        """Return how long a frame takes."""
        return self.up_s if way == "up" else self.down_s


class End:
    """One end of a connection, as `OcppSocket` wants it. `way` is the one that leads away from it."""

    def __init__(self, line: "Line", way: Way, ping_s: float | None) -> None:
        self.over = False
        self.way: Way = way
        self._line = line
        self._ping_s = ping_s
        self._heard = True
        self._coming: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        if ping_s is not None:
            self._timer = self._loop.call_later(ping_s, self._look_after)

    async def send(self, message: str) -> None:
        """Send a frame; nobody knows whether it arrives."""
        if self.over:
            raise ConnectionClosedError(None, None)
        self._line.carry(self, "text", message)

    async def recv(self) -> str:
        """Return the next frame."""
        frame = await self._coming.get()
        if frame is None:
            self._coming.put_nowait(None)
            raise ConnectionClosedError(None, None)
        return frame

    async def close(self, _code: int = 1000, _reason: str = "") -> None:
        """End the connection; the other end learns of it when that arrives."""
        if not self.over:
            self._line.carry(self, "end", "")
            self.vanish()

    def vanish(self) -> None:
        """Be over, without a word."""
        self.over = True
        self._coming.put_nowait(None)
        if self._timer is not None:
            self._timer.cancel()

    def take(self, kind: Kind, text: str) -> None:
        """Take what arrives; who is over says so (RST)."""
        if self.over:
            if kind != "end":
                self._line.carry(self, "end", "")
            return
        self._heard = True
        match kind:
            case "text":
                self._coming.put_nowait(text)
            case "ping":
                self._line.carry(self, "pong", "")
            case "end":
                self.vanish()

    def _look_after(self) -> None:
        assert self._ping_s is not None
        if not self._heard:
            self._line.carry(self, "end", "")
            self.vanish()
            return
        self._heard = False
        self._line.carry(self, "ping", "")
        self._timer = self._loop.call_later(self._ping_s, self._look_after)


class Line:
    """One connection between a station and the back end."""

    def __init__(self, weather: Weather, ping_s: float | None) -> None:
        self._weather = weather
        self.near, self.far = End(self, "up", ping_s), End(self, "down", SERVER_PING_S)
        self._loop = asyncio.get_running_loop()
        self._free_at = {"up": 0.0, "down": 0.0}
        self._stuck: list[tuple[End, Kind, str]] = []

    def carry(self, sender: End, kind: Kind, text: str) -> None:
        """Bring something to the other end, after what was sent that way before."""
        if sender.way in self._weather.lost:
            self._stuck.append((sender, kind, text))
            return
        due = max(self._free_at[sender.way], self._loop.time() + self._weather.takes_s(sender.way))
        self._free_at[sender.way] = due
        receiver = self.far if sender is self.near else self.near
        times = 1
        if kind == "text" and self._weather.twice > 0:
            self._weather.twice -= 1
            times = 2
        for _ in range(times):
            self._loop.call_at(due, self._arrive, sender, receiver, kind, text)

    def _arrive(self, sender: End, receiver: End, kind: Kind, text: str) -> None:
        if sender.way in self._weather.lost:  # the way broke while it was on it
            self._stuck.append((sender, kind, text))
        else:
            receiver.take(kind, text)

    def heal(self) -> None:
        """Send again what was not acknowledged."""
        stuck, self._stuck = self._stuck, []
        for each in stuck:
            self.carry(*each)

    @property
    def over(self) -> bool:
        """Whether neither end uses it any more."""
        return self.near.over and self.far.over


class Network:
    """All connections between one station and the back end. `listener` takes new ones, None while nobody listens."""

    def __init__(self) -> None:
        self.weather = Weather()
        self.listener: Callable[[OcppSocket], None] | None = None
        self._lines: list[Line] = []

    async def connect(
        self,
        url: str,
        identity: str,
        *,
        versions: Sequence[Version],
        timeout: float,
        ping_interval: float | None,
        **_: Any,
    ) -> OcppSocket:
        """Connect, as `v2g.io.websocket.client.connect` does."""
        there, back = self.weather.up_s, self.weather.down_s
        if "up" in self.weather.lost or there > timeout:
            await asyncio.sleep(timeout)
            raise TransportError(f"{url}: timed out")
        await asyncio.sleep(there)
        if self.listener is None or self.weather.refuses:
            raise TransportError(f"{url}: refused")
        line = Line(self.weather, ping_interval)
        self._lines = [each for each in self._lines if not each.over] + [line]
        self.listener(OcppSocket(line.far, identity, versions[0]))
        try:
            if "down" in self.weather.lost or there + back > timeout:
                await asyncio.sleep(timeout - there)
                raise TransportError(f"{url}: timed out")
            await asyncio.sleep(back)
        except BaseException:
            await line.near.close()
            raise
        return OcppSocket(line.near, identity, versions[0])

    def heal(self) -> None:
        """Let both ways be free."""
        self.weather.lost.clear()
        for line in self._lines:
            line.heal()

    def cut(self, *, near: bool = True, far: bool = True) -> None:
        """Cut every connection, whatever is under way; who is not notified finds out by himself."""
        for line in self._lines:
            for end, reported in ((line.near, near), (line.far, far)):
                if reported and not end.over:
                    end.vanish()
