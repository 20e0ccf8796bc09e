"""Steps at simulated stations by hand."""

import asyncio

from v2g_station.simulator.control import Control


async def test_a_client_that_stays_connected_does_not_keep_the_program_running() -> None:
    """From Python 3.12 on, `wait_closed` waits for every connection."""
    control = Control({})
    reader, writer = await asyncio.open_connection("127.0.0.1", await control.listen(0))
    writer.write(b"plug 1\n")
    assert await reader.readline() == b"error no station plug\n"
    async with asyncio.timeout(10):
        await control.close()
        assert await reader.read() == b""
    writer.close()
