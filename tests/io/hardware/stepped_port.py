"""A serial port in simulated time, which notes what is sent through it, how fast, and when."""

import asyncio
from collections.abc import Callable

import pytest

from v2g.errors import TransportError


class SteppedPort:
    """A port that may be unplugged, and what happens at it: time since the start (s) and event."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        """`module` of `v2g.io.hardware` opens this one."""
        monkeypatch.setattr(f"v2g.io.hardware.{module}.SerialPort", self._connect)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.log: list[tuple[float, str | int | bytes]] = []
        self.missing = self.is_open = False

    @property
    def now(self) -> float:
        return round(self._loop.time() - self._began, 2)

    def _connect(
        self, device: str, baud_rate: int, *, on_data: Callable[[bytes], None], on_gone: Callable[[], None]
    ) -> "SteppedPort":
        if self.missing:
            raise TransportError(f"there is no {device}")
        self.send, self._on_gone, self.is_open = on_data, on_gone, True
        self.log.append((self.now, baud_rate))
        return self

    def write(self, data: bytes) -> None:
        if not self.is_open:
            raise TransportError("it is closed")
        self.log.append((self.now, data))

    def close(self) -> None:
        self.is_open = False
        self.log.append((self.now, "closed"))

    def unplug(self) -> None:
        self.is_open = False
        self._on_gone()

    async def until(self, at: float) -> None:
        await asyncio.sleep(self._began + at - self._loop.time())
