"""A payment terminal on the network with ZVT, and a simulated one."""

import asyncio
from collections.abc import Callable
from typing import Final

from v2g.errors import FrameError
from v2g.hardware.zvt.terminal_sim import Card, SimulatedZvtTerminal
from v2g.hardware.zvt.till import JobEnded, RegisterJob, Till, TillConfig, TillJob
from v2g.io.hardware.zvt_config import ZvtConfig
from v2g.io.network.plain_tcp import listen, port_of
from v2g.io.runtime.clock import Clock

CONNECT_S: Final = 5.0


class ZvtTerminal:
    """One terminal. `on_ended` is called with every completed job; `idle` when the terminal has nothing to do."""

    def __init__(
        self, config: ZvtConfig, clock: Clock, *, on_ended: Callable[[JobEnded], None], idle: Callable[[], None]
    ) -> None:
        self._config, self._clock, self._on_ended, self._idle = config, clock, on_ended, idle
        self._till = Till(
            TillConfig(
                password=config.password,
                currency=config.currency,
                config_byte=config.config_byte,
                read_s=config.read_s,
                reverses_booked=config.partial_reversal == "booked",
            )
        )
        self._writer: asyncio.StreamWriter | None = None
        self._timer: asyncio.TimerHandle | None = None

    def do(self, job: TillJob) -> None:
        """Queue a job for when the terminal can be reached."""
        self._till.do(job, self._clock.monotonic())
        self._act()

    @property
    def idle(self) -> bool:
        """Whether the terminal is connected and idle."""
        return self._till.idle

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    reader, self._writer = await asyncio.open_connection(self._config.host, self._config.port)
                await self._talk(reader)
            except (OSError, TimeoutError, FrameError):
                if self._writer is None:
                    self._on_ended(JobEnded(job=RegisterJob(), done=False))
            finally:
                writer, self._writer = self._writer, None
                if writer is not None:
                    writer.transport.abort()
                    self._till.closed()
                    self._act()
            await asyncio.sleep(self._config.retry_s)

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        self._till.opened(self._clock.monotonic())
        self._act()
        while data := await reader.read(4096):
            self._till.receive(data, self._clock.monotonic())
            self._act()
            if self._till.refused:
                return

    def _act(self) -> None:
        """Send pending messages, report results, and schedule the next call."""
        data = self._till.output()
        if self._writer is not None:
            self._writer.write(data)
        for event in self._till.events():
            self._on_ended(event)
        if self._timer is not None:
            self._timer.cancel()
        if self._till.idle:
            self._idle()
        elif self._till.due is not None:
            wait = self._till.due - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        try:
            self._till.tick(self._clock.monotonic())
        except FrameError:
            if self._writer is not None:
                self._writer.transport.abort()  # the reader detects the end
            return
        self._act()


class ZvtSimulator:
    """A simulated terminal at a TCP port, for one till at a time. `card` is presented `card_s` after each
    request; without it use `present`."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, card: Card | None = None, card_s: float = 1.0
    ) -> None:
        self._host, self._port, self._card, self._card_s = host, port, card, card_s
        self.terminal = SimulatedZvtTerminal()
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._coming: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """Its address."""
        return port_of(self._server)

    async def open(self) -> None:
        """Listen. Raises TransportError."""
        self._server = await listen("ZVT", self._serve, self._host, self._port)

    async def close(self) -> None:
        """End."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> None:
        """Lose the connection."""
        if self._writer is not None:
            self._writer.transport.abort()

    def present(self, card: Card) -> None:
        self.terminal.present(card)
        self._act()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.close()
            return
        self._writer = writer
        try:
            while data := await reader.read(4096):
                self.terminal.receive(data)
                self._act()
        except (OSError, FrameError):
            pass
        finally:
            self._writer = None
            self.terminal.closed()
            writer.close()

    def _act(self) -> None:
        data = self.terminal.output()
        if self._writer is not None:
            self._writer.write(data)
        if self.terminal.waits_for_card and self._card is not None and self._coming is None:
            self._coming = asyncio.get_running_loop().call_later(self._card_s, self._come, self._card)

    def _come(self, card: Card) -> None:
        self._coming = None
        self.present(card)
