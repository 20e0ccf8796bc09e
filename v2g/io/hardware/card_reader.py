"""A card reader with a PN532 on a serial port: opened again when it was unplugged."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.hardware.pn532 import Pn532
from v2g.io.runtime.clock import Clock
from v2g.io.serial_port import SerialPort

REOPEN_S: Final = 1.0
"""Interval of attempts to open a missing port."""


class CardReaderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reader of RFID cards (ISO 14443 type A): a PN532 on a serial port."""

    device: Annotated[str, Meta(min_length=1)]
    """The serial port of the reader, such as /dev/ttyUSB1."""
    baud_rate: Annotated[int, Meta(ge=9_600, le=1_288_000)] = 115_200
    """Speed of the serial port, bit/s."""
    evse: Annotated[int, Meta(ge=0, le=64)] = 0
    """EVSE at the reader; 0: all, and the driver plugs in at one of them."""
    away_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Time for which a card must be away before it counts again."""


class SerialCardReader:
    """One reader. `on_card` is called with the UID of each new card (hexadecimal digits), `on_ready` when the reader
    answers, or no longer does."""

    def __init__(
        self,
        config: CardReaderConfig,
        clock: Clock,
        *,
        on_card: Callable[[str], None],
        on_ready: Callable[[bool], None],
    ) -> None:
        self._config, self._clock, self._on_card, self._on_ready = config, clock, on_card, on_ready
        self._port: SerialPort | None = None
        self._wake = asyncio.Event()
        self._core = Pn532(clock.monotonic(), away_s=config.away_s)
        self._ready: bool | None = None

    async def run(self) -> None:
        """Read cards until cancelled."""
        try:
            while True:
                try:
                    self._port = SerialPort(
                        self._config.device, self._config.baud_rate, on_data=self._received, on_gone=self._gone
                    )
                except TransportError:
                    self._note(ready=False)
                    await asyncio.sleep(REOPEN_S)
                    continue
                self._core = Pn532(self._clock.monotonic(), away_s=self._config.away_s)
                await self._search()
        finally:
            if self._port is not None:
                self._port.close()

    async def _search(self) -> None:
        """Search for cards until the port is gone."""
        while self._port is not None and self._port.is_open:
            self._wake.clear()
            was_ready = self._core.ready
            self._core.tick(self._clock.monotonic())
            if was_ready and not self._core.ready:
                self._note(ready=False)
            self._port.write(self._core.output())
            try:
                async with asyncio.timeout(max(0.0, self._core.deadline() - self._clock.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._note(ready=False)

    def _received(self, data: bytes) -> None:
        for uid in self._core.receive(data, self._clock.monotonic()):
            self._on_card(uid)
        if self._core.ready:
            self._note(ready=True)
        self._wake.set()

    def _gone(self) -> None:
        self._port = None
        self._wake.set()

    def _note(self, *, ready: bool) -> None:
        if ready is not self._ready:
            self._ready = ready
            self._on_ready(ready)
