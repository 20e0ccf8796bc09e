"""A control centre's connection by IEC 60870-5-104, by octets."""

import asyncio
import contextlib
import struct

from v2g.iec60870.apci import UFunction, i_frame, s_frame, u_frame
from v2g.iec60870.asdu import Asdu, TypeId, decode, encode


class LineToSite:
    """A control centre's connection, by octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sent = self.received = 0

    async def start(self) -> None:
        """Start, and read that the site was initialised."""
        self._writer.write(u_frame(UFunction.STARTDT_ACT))
        assert await self._frame() == u_frame(UFunction.STARTDT_CON)

    async def _frame(self) -> bytes:
        head = await self._reader.readexactly(2)
        return head + await self._reader.readexactly(head[1])

    async def asdu(self) -> Asdu:
        """Return the next ASDU."""
        while (frame := await self._frame())[2] & 1:
            pass
        self.received += 1
        return decode(frame[6:])

    async def command(self, address: int, kw: float, *, select: bool = True) -> list[bool]:
        """Select and operate; return whether each was confirmed."""
        found = []
        for qualifier in (0x80, 0)[0 if select else 1 :]:
            element = struct.pack("<fB", kw, qualifier)
            asdu = Asdu(type=TypeId.C_SE_NC, cause=6, common_address=1, objects=((address, element),))
            self._writer.write(i_frame(self.sent, self.received, encode(asdu)))
            self.sent += 1
            while (answer := await self.asdu()).type != TypeId.C_SE_NC or answer.cause != 7:
                pass
            found.append(not answer.negative)
        return found

    async def interrogate(self) -> dict[int, tuple[int, bytes]]:
        """Ask for all points; return type and element of each."""
        asdu = Asdu(type=TypeId.C_IC_NA, cause=6, common_address=1, objects=((0, bytes((20,))),))
        self._writer.write(i_frame(self.sent, self.received, encode(asdu)))
        self.sent += 1
        found: dict[int, tuple[int, bytes]] = {}
        while (answer := await self.asdu()).cause != 10:
            self._writer.write(s_frame(self.received))
            if answer.cause == 20:
                found |= {address: (answer.type, element) for address, element in answer.objects}
        return found

    async def ended(self) -> bool:
        """Whether the site has closed the connection."""
        with contextlib.suppress(OSError):
            return await self._reader.read() == b""
        return True

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
