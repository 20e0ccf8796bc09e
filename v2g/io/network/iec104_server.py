"""The listening socket of an outstation of IEC 60870-5-104, plain or with mutual TLS (IEC 62351-3)."""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Callable, Collection
from typing import Final

from v2g.errors import FrameError
from v2g.iec60870.outstation import Outstation
from v2g.io.network.plain_tcp import listen, port_of

MOST_CONNECTIONS: Final = 8
"""Further ones are closed at once."""

_TICK_S: Final = 0.5


class Iec104Server:
    """Connects control centres to an outstation, in one event loop.

    Only hosts of `clients` are let in. `refused` is told of each that is not, and why a connection was closed.
    """

    def __init__(
        self,
        outstation: Outstation,
        clients: Collection[str],
        refused: Callable[[str], None],
        utc_ms: Callable[[], int],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._outstation, self._clients, self._refused, self._utc_ms = outstation, clients, refused, utc_ms
        self._context = context
        self._server: asyncio.Server | None = None
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keys = itertools.count()

    @property
    def port(self) -> int:
        """Where it listens."""
        return port_of(self._server)

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises TransportError."""
        self._server = await listen("IEC 60870-5-104", self._serve, host, port, tls=self._context)

    async def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers.values():
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self) -> None:
        """Send what waits, after points were updated."""
        for key, writer in self._writers.items():
            if out := self._outstation.to_send(key):
                writer.write(out)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str((writer.get_extra_info("peername") or ("",))[0])
        if host.removeprefix("::ffff:") not in self._clients or len(self._writers) >= MOST_CONNECTIONS:
            self._refused(f"connection of {host}: not in clients, or too many")
            writer.transport.abort()
            return
        task, key = asyncio.current_task(), next(self._keys)
        assert task is not None
        self._tasks.add(task)
        self._writers[key] = writer
        self._outstation.open(key, time.monotonic())
        try:
            await self._converse(key, reader, writer)
        except FrameError as error:
            self._refused(f"connection of {host}: {error}")
        except OSError:
            pass  # the line is gone
        finally:
            self._outstation.close(key)
            del self._writers[key]
            self._tasks.discard(task)
            writer.transport.abort()
            self.send()

    async def _converse(self, key: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                data = None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TICK_S):
                        data = await reader.read(4096)
                if data == b"":
                    return
                now_s = time.monotonic()
                if data is not None:
                    self._outstation.receive(key, data, now_s, self._utc_ms())
                self._outstation.tick(key, now_s)
                self.send()
                async with asyncio.timeout(self._outstation.patience_s):
                    await writer.drain()
                await asyncio.sleep(0)  # neither of these yields while more has come
        except TimeoutError:
            raise FrameError("nothing is read any more") from None
