"""Pausing and waking of vehicles without energy."""

import asyncio
from typing import TYPE_CHECKING

from secc.session import ports
from secc.session.edition import NegotiatedSession

if TYPE_CHECKING:
    from secc.evse.controller import EvseController


class Idling:
    """Watches the limits of site and operator at one EVSE."""

    def __init__(self, controller: "EvseController") -> None:
        self._controller = controller
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Request a pause when no energy is permitted: at once if forecast for long, else after a delay.

        A paused vehicle is woken when energy is permitted.
        """
        controller = self._controller
        if not controller.grid.nothing_allowed(bidirectional=self._bidirectional):
            self.close()
            if controller.paused_visit is not None:
                controller.wake_up()
            return
        patience = self._patience()
        if patience == 0.0:
            self.close()  # it already waits, and longer
        if patience is not None and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(patience / controller.clock.scale, self._ask)

    def close(self) -> None:
        """Cancel the request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _bidirectional(self) -> bool:
        """Whether the present or paused vehicle could feed back; unknown counts as yes."""
        session, visit = self._controller.session, self._controller.paused_visit
        if isinstance(session, NegotiatedSession):
            return session.bidirectional
        return visit is None or visit.paused is None or visit.paused.service.bidirectional

    def _patience(self) -> float | None:
        """Return how long a vehicle may wait for energy before a pause is requested, s; None for ever."""
        controller = self._controller
        site, until_ms = controller.config.site, controller.grid.nothing_until_ms
        if site.pause_for_s is None or until_ms is None:
            return site.pause_after_s
        long = until_ms - controller.clock.utc_ms() >= site.pause_for_s * 1000
        return 0.0 if long else site.pause_after_s

    def _ask(self) -> None:
        self._timer = None
        self._controller.tell(ports.PauseRequested())
