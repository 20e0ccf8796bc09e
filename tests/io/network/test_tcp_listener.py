"""A port that is opened by a task which is cancelled, at each of its steps."""

import asyncio
import contextlib
import socket

from v2g.io.network.plain_tcp import start_server


def bound(port: int) -> int:
    """Bind a port of this machine, and free it; 0 is any. Raises OSError if it is in use."""
    with socket.create_server(("::1", port), family=socket.AF_INET6) as found:
        return int(found.getsockname()[1])


async def test_no_port_stays_open_however_far_its_opening_was() -> None:
    opened = 0
    for steps in range(20):
        port = bound(0)
        task = asyncio.create_task(start_server(lambda *_: None, "::1", port))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            server = await task
            opened += 1
            server.close()
            await server.wait_closed()
        await asyncio.sleep(0)
        assert bound(port) == port
    assert 0 < opened < 20
