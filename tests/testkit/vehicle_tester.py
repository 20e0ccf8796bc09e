"""What several tests of vehicle tester use."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from evcc.app import assemble
from evcc.config import load_config
from pki_tools.tree import PkiTree
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.iso15118.d20.charts import Family
from v2g_cli.conform.kit import chargers_of_tree
from v2g_cli.demo.processes import free_port
from v2g_testkit.vehicle_tester import EvccTester, Starter, VehicleBench


class Here(Starter):
    """Our vehicle, in this process."""

    def __init__(self, folder: Path, pki: PkiTree, port: int) -> None:
        super().__init__(None)
        self._text = f"""[link]
interface = "lo"
[sdp]
port = {port}
[hardware]
backend = "bench"
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
[contract]
chain = "{pki.path("contract/chain.pem")}"
key = "{pki.path("contract/leaf.key")}"
[services]
energy = ["DC"]
signed_discharge = false
[discharge]
require_signed = false
[authorization]
allow_eim = true
[[program]]
do = "charge"
for_s = 60
"""

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        clock = Clock()
        async with assemble(load_config(self._text, name="evcc.toml"), clock, EventLog("evcc", clock)) as vehicle:
            driving = asyncio.create_task(vehicle.drive(lambda stream, _key: stream))
            try:
                yield
            finally:
                driving.cancel()
                await asyncio.gather(driving, return_exceptions=True)
                await asyncio.sleep(0)  # what was aborted closes its socket in the next round of the loop


def prepared(pki: PkiTree, starter: Callable[[PkiTree, int], Here], *, wait_s: float) -> EvccTester:
    port = free_port(socket.SOCK_DGRAM)
    bench = VehicleBench(
        interface="lo",
        family=Family.DC,
        identities=chargers_of_tree(pki, datetime.now(UTC)),
        anchors=pki.anchors("oem"),
        sdp_port=port,
        wait_s=wait_s,
    )
    return EvccTester(bench, Clock(), starter=starter(pki, port))
