"""A TCP proxy that is as bad as configured: late, deaf on one way, in little pieces, gone in the midst of one."""

import asyncio
import contextlib
import random
from typing import Literal

Way = Literal["up", "down"]
WAYS: tuple[Way, ...] = ("up", "down")
MOST = 4096


class Proxy:
    """Passes connections on to `target`, a port. `late_s` is how long each way takes; `deaf` ways are not read."""

    def __init__(self, target: int, chance: random.Random | None = None) -> None:
        self.port = 0
        self.late_s = 0.0
        self.cutting = False
        """Whether connections end with the next piece, half of which still arrives."""
        self.connections = 0
        self.octets = 0
        """What came, of both ways."""
        self._target = target
        self._chance = chance or random.Random(0)
        self._deaf: set[Way] = set()
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._server: asyncio.Server
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    def be_deaf(self, way: Way) -> None:
        """Read nothing more of one way: its sender finds out when nobody answers, or when its buffers are full."""
        self._deaf.add(way)
        self._hearing.clear()

    def heal(self) -> None:
        """Be a good network."""
        self.late_s, self.cutting = 0.0, False
        self._deaf.clear()
        self._hearing.set()

    def cut(self) -> None:
        """End every connection at once."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Stop."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        far: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
            ends: tuple[tuple[Way, asyncio.StreamReader, asyncio.StreamWriter], ...] = (
                ("up", reader, far),
                ("down", far_reader, writer),
            )
            pumps = [asyncio.create_task(self._pump(*each)) for each in ends]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        for end in (writer, far):
            if end is not None:
                end.transport.abort()
        self._tasks.discard(task)

    async def _pump(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes, in pieces of any length, until one end is gone or the connection is cut."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST)
        taking = asyncio.create_task(self._take(way, reader, under_way))
        try:
            while (piece := await under_way.get())[1]:
                await asyncio.sleep(piece[0] - asyncio.get_running_loop().time())
                writer.write(piece[1][: len(piece[1]) // 2] if self.cutting else piece[1])
                await writer.drain()
                if self.cutting:
                    return
        except OSError:
            return
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(
        self, way: Way, reader: asyncio.StreamReader, under_way: "asyncio.Queue[tuple[float, bytes]]"
    ) -> None:
        data = b"begin"
        while data:
            try:
                data = await reader.read(self._chance.choice((7, 64, MOST)))
            except OSError:
                data = b""
            self.octets += len(data)
            while way in self._deaf:
                await self._hearing.wait()
            await under_way.put((asyncio.get_running_loop().time() + self.late_s, data))
