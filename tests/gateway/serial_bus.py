"""A CAN bus that a gateway in another process reads."""

import asyncio
import contextlib
import os
import tty
from collections.abc import AsyncIterator

from evcc.hardware.ecu import BatteryEcu
from tests.gateway.gateway import snapshot
from v2g.io.can import CanConfig


class SerialBus:
    """A CAN adapter on a serial line (slcan), with the control units of a battery."""

    def __init__(self) -> None:
        self._adapter, self._line = os.openpty()
        tty.setraw(self._line)
        os.set_blocking(self._adapter, False)
        self.channel = os.ttyname(self._line)

    def send(self, soc: float) -> None:
        """Send the battery's state once."""
        for frame_id, data in BatteryEcu(CanConfig(), lambda: snapshot(soc)).frames(snapshot(soc)):
            os.write(self._adapter, f"t{frame_id:03X}{len(data)}{data.hex().upper()}\r".encode())

    def close(self) -> None:
        os.close(self._adapter)
        os.close(self._line)


@contextlib.asynccontextmanager
async def driving(bus: SerialBus) -> AsyncIterator[None]:
    """Let the battery change all the time."""

    async def drive() -> None:
        soc = 90.0
        while True:
            bus.send(soc := soc - 1 if soc > 10 else 90.0)
            await asyncio.sleep(0.1)

    task = asyncio.create_task(drive())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
