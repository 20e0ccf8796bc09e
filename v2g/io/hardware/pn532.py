"""A card reader with a PN532 on a serial port."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.hardware.interfaces import CardType
from v2g.hardware.readers.pn532 import Pn532
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.runtime.clock import Clock
from v2g.io.serial_port import SerialPort
from v2g.observe import Callbacks

READY_S: Final = 3.0
"""Time for a reader to answer at the start."""


class Pn532Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A PN532 on a serial port, which reads cards of ISO 14443 type A."""

    device: Annotated[str, Meta(min_length=1)]
    """The serial port of the reader, such as /dev/ttyUSB1."""
    baud_rate: Annotated[int, Meta(ge=9_600, le=1_288_000)] = 115_200
    """Speed of the serial port, bit/s."""
    away_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    """Time for which a card must be away before it counts again."""


class SerialCardReader:
    """See CardReader: a reader that searches for cards once its `answered` is set."""

    def __init__(self, config: Pn532Config, clock: Clock) -> None:
        """Open the port. Raises TransportError."""
        self._clock = clock
        self.on_card: Final = Callbacks[str, CardType]()
        self.on_lost: Final = Callbacks[str]()
        self._timer: asyncio.TimerHandle | None = None
        self.answered = asyncio.Event()
        self._core = Pn532(clock.monotonic(), away_s=config.away_s)
        self._port = SerialPort(config.device, config.baud_rate, on_data=self._received, on_gone=self._gone)
        self._tick()

    def close(self) -> None:
        """Close the port."""
        if self._timer is not None:
            self._timer.cancel()
        self._port.close()

    def _tick(self) -> None:
        """Search, and come back when the core wants to."""
        was_ready = self._core.ready
        self._core.tick(self._clock.monotonic())
        if was_ready and not self._core.ready:
            self.on_lost.tell("it does not answer")
        self._send()

    def _received(self, data: bytes) -> None:
        for uid in self._core.receive(data, self._clock.monotonic()):
            self.on_card.tell(uid, "ISO14443")
        if self._core.ready:
            self.answered.set()
        self._send()

    def _send(self) -> None:
        if not self._port.is_open:
            return
        with contextlib.suppress(TransportError):  # a port that is gone is reported as such
            self._port.write(self._core.output())
        if self._timer is not None:
            self._timer.cancel()
        delay = self._core.deadline() - self._clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _gone(self) -> None:
        self.on_lost.tell("its port is gone")


@contextlib.asynccontextmanager
async def _open(config: Pn532Config, context: DriverContext) -> AsyncIterator[SerialCardReader]:
    with contextlib.closing(SerialCardReader(config, context.clock)) as reader:
        try:
            async with asyncio.timeout(READY_S):
                await reader.answered.wait()
        except TimeoutError:
            hint = "device and baud_rate must match the reader, and its interface be set to HSU"
            raise TransportError(f"no card reader answers on {config.device}", hint=hint) from None
        yield reader


DRIVER = Driver("card_reader", Pn532Config, _open)
