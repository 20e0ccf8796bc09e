"""A character display that follows ESC/POS, on a serial port."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.hardware.line_display import CodeTable, octets, pages, setup
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.serial_port import SerialPort

BITS: Final = 10
"""Of an octet on the line, with start and stop bit."""


class LineDisplayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A character display that follows ESC/POS, as at points of sale."""

    device: Annotated[str, Meta(min_length=1)]
    """The serial port of the display, such as /dev/ttyUSB2."""
    baud_rate: Annotated[int, Meta(ge=1_200, le=115_200)] = 9_600
    """Speed of the serial port, bit/s."""
    columns: Annotated[int, Meta(ge=8, le=40)] = 20
    """Characters of a line."""
    rows: Annotated[int, Meta(ge=1, le=4)] = 2
    """Lines of the display."""
    code_table: CodeTable = "cp850"
    """Characters that the display has; others are question marks."""
    page_s: Annotated[float, Meta(ge=0.5, le=60)] = 3.0
    """How long each page of a long text is displayed."""


class LineDisplay:
    """See DriverDisplay. Such a display answers nothing: only a lost port shows that it is gone."""

    def __init__(self, config: LineDisplayConfig) -> None:
        """Open the port. Raises TransportError."""
        self._config = config
        self._turn: asyncio.TimerHandle | None = None
        self._port = SerialPort(config.device, config.baud_rate, on_data=lambda _: None, on_gone=self._stop)

    async def show(self, shown: Mapping[str, object]) -> None:
        """See DriverDisplay; the pages of a long text take turns. Raises TransportError."""
        self._stop()
        config = self._config
        found = pages(shown, config.columns, config.rows)
        sent = self._send(setup(config.code_table) + octets(found[0], config.code_table))  # it may have lost power
        if len(found) > 1:
            self._next_at(itertools.islice(itertools.cycle(found), 1, None))
        await asyncio.sleep(sent * BITS / config.baud_rate)

    def close(self) -> None:
        """Close the port."""
        self._stop()
        self._port.close()

    def _send(self, data: bytes) -> int:
        self._port.write(data)
        return len(data)

    def _next_at(self, order: Iterator[Sequence[str]]) -> None:
        self._turn = asyncio.get_running_loop().call_later(self._config.page_s, self._next, order)

    def _next(self, order: Iterator[Sequence[str]]) -> None:
        with contextlib.suppress(TransportError):  # the next message finds out
            self._send(octets(next(order), self._config.code_table))
            self._next_at(order)

    def _stop(self) -> None:
        if self._turn is not None:
            self._turn.cancel()


@contextlib.asynccontextmanager
async def _open(config: LineDisplayConfig, context: DriverContext) -> AsyncIterator[LineDisplay]:
    with contextlib.closing(LineDisplay(config)) as display:
        await display.show({})
        try:
            yield display
        finally:
            with contextlib.suppress(TransportError):
                await display.show({})


DRIVER = Driver("display", LineDisplayConfig, _open)
