"""A port that is reopened after a loss: a USB modem unplugged, an interface deleted.

Users of the port continue: frames sent meanwhile are lost, and the port is reopened with growing
pauses between the attempts.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from v2g.errors import TransportError
from v2g.io.plc.link import OnFrame, OnPort, PlcLink
from v2g.observe import Observe

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
"""Pauses between attempts to reopen the port: doubled each time up to the longest."""


class ReconnectingLink:
    """A PlcLink over one that is reopened."""

    def __init__(
        self, port: PlcLink, open_again: Callable[[], PlcLink], *, name: str, observe: Callable[[Observe], None]
    ) -> None:
        """Use `port` until it is lost, then the result of `open_again` once it raises no TransportError."""
        self._open_again = open_again
        self._name = name
        self._observe = observe
        self._callback: OnFrame | None = None
        self._on_port: list[OnPort] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE_S
        self._lost_at = 0.0
        self._closed = False
        self._mac = port.mac
        self._port: PlcLink | None = None
        self._use(port)

    @property
    def mac(self) -> bytes:
        """The port's own address, from its first opening."""
        return self._mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        """See PlcLink."""
        self._on_port.append(callback)

    def send(self, frame: bytes) -> None:
        """See PlcLink. A frame for a lost port is dropped; nothing is raised."""
        if self._port is None:
            return
        try:
            self._port.send(frame)
        except TransportError as error:
            self._lost(str(error))

    def close(self) -> None:
        """See PlcLink."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None

    def _use(self, port: PlcLink) -> None:
        self._port = port
        port.on_frame(self._received)
        port.on_port(lambda present: None if present else self._lost("it is gone"))

    def _received(self, frame: bytes) -> None:
        if self._callback is not None:
            self._callback(frame)

    def _lost(self, why: str) -> None:
        if self._port is None or self._closed:
            return
        self._port.close()
        self._port = None
        self._lost_at = self._loop.time()
        self._observe(Observe("link", "port_lost", {"port": self._name, "error": why}))
        self._pause = FIRST_PAUSE_S
        self._timer = self._loop.call_later(self._pause, self._try)
        self._notify(present=False)

    def _try(self) -> None:
        try:
            port = self._open_again()
        except TransportError:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            self._timer = self._loop.call_later(self._pause, self._try)
            return
        self._use(port)
        gone_s = round(self._loop.time() - self._lost_at, 3)
        self._observe(Observe("link", "port_back", {"port": self._name, "gone_s": gone_s}))
        self._notify(present=True)

    def _notify(self, *, present: bool) -> None:
        for callback in self._on_port:
            callback(present)
