"""When a vehicle that gets no energy is asked to pause, and when it is woken."""

import asyncio
from typing import TYPE_CHECKING

from secc.session import ports
from secc.session.session import SeccSession

if TYPE_CHECKING:
    from secc.evse.controller import Outlet


class Idling:
    """Watches what site and operator allow at one EVSE."""

    def __init__(self, outlet: "Outlet") -> None:
        self._outlet = outlet
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Ask for a pause when nothing is allowed: at once when it is foretold for long, else after some patience.

        A vehicle that rests is woken when something is.
        """
        outlet = self._outlet
        if not outlet.grid.nothing_allowed(bidirectional=self._bidirectional):
            self.close()
            if outlet.kept is not None:
                outlet.wake_up()
            return
        patience = self._patience()
        if patience == 0.0:
            self.close()  # it waits already, and longer
        if patience is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(patience / outlet.clock.scale, self._ask)

    def close(self) -> None:
        """Ask nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _bidirectional(self) -> bool:
        """Whether the vehicle that is there, or rests, could give energy back; unknown counts as yes."""
        session, kept = self._outlet.session, self._outlet.kept
        if isinstance(session, SeccSession):
            return session.bidirectional
        return kept is None or kept.paused is None or kept.paused.service.bidirectional

    def _patience(self) -> float | None:
        """Return how long a vehicle may wait for energy before it is asked to pause, s; None for ever."""
        outlet = self._outlet
        site, until_ms = outlet.config.site, outlet.grid.nothing_until_ms
        if site.pause_for_s is None or until_ms is None:
            return site.pause_after_s
        long = until_ms - outlet.clock.utc_ms() >= site.pause_for_s * 1000
        return 0.0 if long else site.pause_after_s

    def _ask(self) -> None:
        self._timer = None
        self._outlet.tell(ports.PauseRequested())
