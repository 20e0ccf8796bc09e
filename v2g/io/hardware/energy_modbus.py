"""An energy manager that writes and reads the charger's registers over Modbus TCP."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

from v2g.errors import FrameError
from v2g.hardware.energy_manager.commands import ManagedStation, Refused, Take
from v2g.hardware.energy_manager.modbus_server import ModbusConversation, ModbusRefused, Table
from v2g.hardware.energy_manager.registers import EnergyRegisters
from v2g.io.hardware.energy_config import EnergyModbusConfig
from v2g.io.network.plain_tcp import listen, port_of

MOST_CONNECTIONS: Final = 8
"""Limit of connections: beyond it one without a request for `QUIET_S` is closed; if there is none, the new one."""

QUIET_S: Final = 30.0
"""A manager that lost its connection makes a new one while the old one still seems open here."""

IDLE_S: Final = 300.0
"""A connection without a request for this time is closed."""


class ModbusEnergyManager:
    """See EnergyManagerLink. `renew` has the present state notified, before it is read."""

    def __init__(
        self,
        config: EnergyModbusConfig,
        evses: int,
        take: Take,
        refused: Refused,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._registers = EnergyRegisters(evses)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._asked_at: dict[asyncio.Task[None], float] = {}
        self._take, self._refused, self._renew = take, refused, renew

    @property
    def port(self) -> int:
        """Its address."""
        return port_of(self._server)

    async def open(self) -> None:
        host, port = self._config.host, self._config.port
        hint = "host must be an address of this machine; ports below 1024 need the right to use them"
        self._server = await listen("Modbus TCP", self._serve, host, port, hint=hint)

    @property
    def kept(self) -> str:
        """See EnergyRegisters."""
        return self._registers.kept

    def resume(self, kept: str) -> None:
        """See EnergyRegisters. Raises DecodeError."""
        self._registers.resume(kept)

    def notify(self, state: ManagedStation) -> None:
        self._registers.notify(state)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _read(self, table: Table, address: int, count: int) -> Sequence[int]:
        if table == "input":
            self._renew()
        return self._registers.read(table, address, count)

    def _write(self, address: int, values: Sequence[int]) -> None:
        try:
            wanted = self._registers.write(address, values)
        except ModbusRefused as refused:
            self._refused(f"register {address}: {refused}")
            raise
        for place, command in wanted:
            self._take(place, command)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        if len(self._connections) >= MOST_CONNECTIONS:
            quietest = min(self._asked_at, key=self._asked_at.__getitem__)
            if self._asked_at[quietest] > loop.time() - QUIET_S:
                writer.close()
                return
            self._connections[quietest].transport.abort()
            del self._asked_at[quietest]
        self._connections[task] = writer
        self._asked_at[task] = -math.inf
        conversation = ModbusConversation(self._read, self._write)
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    data = await reader.read(4096)
                    if not data:
                        break
                    answers = list(conversation.receive(data))
                    if answers and task in self._asked_at:
                        self._asked_at[task] = loop.time()
                    writer.writelines(answers)
                    await writer.drain()
                    await asyncio.sleep(0)  # neither of these yields while more has come
        except TimeoutError:
            writer.transport.abort()  # `close` would wait until the peer has read its answers
        except OSError:
            pass
        except FrameError as error:
            self._refused(str(error))
        finally:
            del self._connections[task]
            self._asked_at.pop(task, None)
            writer.close()
