"""Simulated impairment of any port: see v2g.io.plc.impairment."""

import asyncio
from collections.abc import Callable

from v2g.io.plc.impairment import DelayLine, Impairment, ImpairmentConfig
from v2g.io.plc.link import PlcLink
from v2g.io.plc.wrapped import WrappedLink


class _Direction:
    """Frames of one direction of a port; `arrive` is called for each that arrives."""

    def __init__(self, config: ImpairmentConfig, direction: str, arrive: Callable[[bytes], None]) -> None:
        self._impairment = Impairment(config, direction)
        self._line = DelayLine()
        self._arrive = arrive
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, frame: bytes) -> None:
        for delay, arriving in self._impairment.arrivals(frame):
            if delay:
                self._line.put(self._loop.time() + delay, arriving)
            else:
                self._arrive(arriving)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._line = DelayLine()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._line.deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._due, deadline)

    def _due(self, deadline: float) -> None:
        for frame in self._line.due(max(deadline, self._loop.time())):
            self._arrive(frame)
        self._arm()


class ImpairedLink(WrappedLink):
    """A PlcLink with simulated impairment."""

    def __init__(self, link: PlcLink, config: ImpairmentConfig) -> None:
        super().__init__(link)
        self._out = _Direction(config, "sent", link.send)
        self._in = _Direction(config, "received", self._pass_on)
        link.on_frame(self._in.put)

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        self._out.put(frame)

    def close(self) -> None:
        """See PlcLink. Frames in transit are lost."""
        self._out.close()
        self._in.close()
        super().close()
