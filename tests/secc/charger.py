"""What several tests of charger use."""

import asyncio

from secc.evse.controller import EvseController


class SilentVehicle:
    """A TLS stream whose vehicle has connected and says nothing."""

    version, cipher, group = "TLSv1.3", "TLS_AES_256_GCM_SHA384", "secp521r1"
    peer_name = "WMIV2GENGINE0000001X"
    peer_leaf = b"vehicle"
    address, began = "fe80::1", 0.0

    def __init__(self, controller: EvseController) -> None:
        self.own = controller.owner.chargers[0]
        self.closed = asyncio.Event()

    async def read(self, _n: int) -> bytes:
        await self.closed.wait()
        return b""

    async def write(self, _data: bytes) -> None:
        """Take it."""

    async def close(self) -> None:
        self.closed.set()
