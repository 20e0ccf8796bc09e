"""What several tests of line display use."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.hardware.line_display import Screen
from tests.io.conftest import PtyPair


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[PtyPair, Screen]]:
    """Yield a cable, and a display at its far end."""
    cable, screen = PtyPair(), Screen()
    port = os.open(cable.devices[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError):
            screen.receive(os.read(port, 512))

    loop.add_reader(port, read)
    yield cable, screen
    loop.remove_reader(port)
    os.close(port)
    cable.close()
