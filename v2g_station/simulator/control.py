"""Steps at simulated stations by hand, a line each over TCP: `plug 1`, `present 1 0A1B2C3D ISO14443`, `reboot`.

The answer is `ok`, `no TEXT` if it is not possible now, or `error TEXT`. Where there are several stations the identity
comes first. Every client can move the station, so this listens on the loopback interface only.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.io.network.plain_tcp import start_server
from v2g_station.simulator.fleet import SimulatedStation

MOST_LINE: Final = 200


class StationControl:
    """Listens for steps. `stations` by identity."""

    def __init__(self, stations: Mapping[str, SimulatedStation]) -> None:
        self._stations = stations
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int) -> int:
        """Listen at 127.0.0.1; return the port, which is chosen for 0. Raises OSError."""
        self._server = await start_server(self._serve, "127.0.0.1", port, limit=MOST_LINE)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
            for client in self._clients:
                client.transport.abort()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                writer.write(f"{self.carry_out(line.decode(errors='replace').strip())}\n".encode())
                await writer.drain()
        except (OSError, ValueError):  # ValueError: a line that is too long
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    def carry_out(self, line: str) -> str:
        """Carry out a step; return the answer."""
        first, _, rest = line.partition(" ")
        station = self._stations.get(first)
        if station is None and len(self._stations) == 1:
            (station,) = self._stations.values()
        else:
            line = rest
        if station is None:
            return f"error no station {first}"
        try:
            station.do(line)
        except LookupError as error:
            return f"no {error.args[0]}"
        except (ValueError, msgspec.ValidationError) as error:
            return f"error {error}"
        return "ok"
