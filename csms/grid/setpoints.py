"""Grid sources: how one is followed; its set-points are dispatched and kept up, of one source at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NoReturn

from csms.dispatch.store import dispatched_stations
from csms.dispatch.work import Dispatch, in_force
from csms.grid.source import GridSource
from csms.services import Services
from v2g.energy.grid_signal import ConnectionPoint
from v2g.errors import RefusedError, StoreError, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import wait_at_most
from v2g.observe import Observe, Scalar

_AGAIN_MS = 1000
_RETURN_MS: Final = 60_000
"""How long stations are waited for after a restart."""


class SetpointFollower:
    """Dispatches the set-point of one source, at its connection point or that of the grid. One of a source that is
    earlier in the configuration's order wins."""

    def __init__(self, services: Services, source: str, point: ConnectionPoint | None = None) -> None:
        self._services, self._source, self._point = services, source, point
        self._dispatch = Dispatch(services)
        self._setpoint: tuple[int, int] | None = None
        self._dispatched_ms = self._found_ms = 0

    async def follow(self, setpoint_w: int | None, until_ms: int, now_ms: int) -> int:
        """Dispatch a set-point (W, positive into the vehicles; None: none) until a time, or keep it up.

        Return when to call again (UTC ms).
        """
        config = self._services.config
        point, keep_up_ms = self._point or config.grid.connection_point, config.balancing.dispatch_duration_s * 500
        try:
            if setpoint_w is None:
                return until_ms if await self._end(point, now_ms) else now_ms + _AGAIN_MS
            blocked_ms = await self._blocked_until(now_ms)
            if blocked_ms > now_ms:
                self._setpoint = None
                return min(blocked_ms, now_ms + keep_up_ms)
            wanted = self._dispatch.within_grid(setpoint_w, point=point), until_ms
            if wanted != self._setpoint or now_ms >= self._dispatched_ms + keep_up_ms:
                results = await self._dispatch.set_point(
                    wanted[0], until_ms=until_ms, connection_point=point, source=self._source
                )
                if wanted != self._setpoint:
                    taken = sum(each.status == "Accepted" for each in results)
                    data: dict[str, Scalar] = {
                        "source": self._source,
                        "connection_point": str(point),
                        "setpoint_w": wanted[0],
                        "vehicles": taken,
                    }
                    self._services.observe(Observe("ocpp", "setpoint_dispatched", data))
                    self._services.feed.publish("setpoint_dispatched", None, data)
                self._setpoint, self._dispatched_ms = wanted, now_ms
        except (RefusedError, StoreError) as error:  # also of a connection point that no site has
            self._services.observe(Observe("ocpp", "setpoint_not_dispatched", {"reason": str(error)[:200]}))
            return now_ms + _AGAIN_MS
        return self._dispatched_ms + keep_up_ms

    async def _end(self, point: ConnectionPoint, now_ms: int) -> bool:
        """Have vehicles leave a set-point that has ended before its time, unless another has replaced it.

        One from before a restart waits, but not for long, for the stations that follow it; return whether it has ended.
        """
        about = self._source, point
        standing = [each for each in await in_force(self._services) if (each.source, each.connection_point) == about]
        if standing and self._setpoint is None:
            self._found_ms = self._found_ms or now_ms
            followers = await self._services.store.read(dispatched_stations, now_ms)
            away = not self._services.connections.connected().issuperset(followers)
            if away and now_ms < self._found_ms + _RETURN_MS:
                return False
        for each in standing:
            await self._dispatch.set_point(each.setpoint_w, until_ms=now_ms + _AGAIN_MS, connection_point=point)
        self._setpoint, self._found_ms = None, 0
        return True

    async def _blocked_until(self, now_ms: int) -> int:
        """Return until when a source before this one has a set-point; 0: none has."""
        for each in await self._services[GridSource].stated():
            if each.source == self._source:
                break
            apart = None not in (each.connection_point, self._point) and each.connection_point != self._point
            if each.setpoint_w is not None and now_ms < each.setpoint_until_ms and not apart:
                return each.setpoint_until_ms
        return 0


_LEAST_PAUSE_S: Final = 0.2


async def keep_polling(
    step: Callable[[], Awaitable[int]], clock: Clock, longest_s: float, woken: asyncio.Event | None = None
) -> NoReturn:
    """Call `step`, which returns when to do so again (UTC ms), for ever; at the latest after `longest_s`, and when
    `woken`."""
    woken = woken or asyncio.Event()
    while True:
        pause_s = min((await step() - clock.utc_ms()) / 1000, longest_s) / clock.scale
        await wait_at_most(max(_LEAST_PAUSE_S, pause_s), woken.wait())
        woken.clear()


@contextlib.asynccontextmanager
async def time_out(seconds: float) -> AsyncIterator[None]:
    """Bound all requests of a poll together: each may be quick enough, and all of them take for ever.

    Raises TransportError.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TransportError(f"its answers take longer than {seconds:g} s") from None
