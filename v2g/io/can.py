"""CAN for asyncio, by python-can: socketcan, slcan, udp_multicast or the in-process virtual bus, by configuration."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import NoReturn

import msgspec

from v2g.errors import TransportError

_log = logging.getLogger(__name__)

OnFrame = Callable[[int, bytes], None]


class CanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CAN bus."""

    interface: str = "virtual"
    """Kind of adapter, as python-can names it."""
    channel: str = "battery"
    """Channel of that adapter, as python-can names it."""
    bitrate: int = 500_000
    """Speed of the bus, bit/s, where the driver sets one."""


class CanPort:
    """One attachment to a bus. Received data frames go to `on_frame(id, data)` in the loop that opened the port.

    A thread reads, until the port is closed or the bus fails: an unplugged adapter would otherwise keep the
    event loop busy with its error.
    """

    def __init__(
        self, config: CanConfig, on_frame: OnFrame | None = None, *, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """Open it, which may take seconds with an adapter on a serial port; `loop`: receives the frames.

        Raises TransportError.
        """
        import can  # 80 ms to import: only for processes with a CAN bus

        self._message = can.Message
        try:
            self._bus = can.Bus(interface=config.interface, channel=config.channel, bitrate=config.bitrate)
        except (can.CanError, OSError, ValueError, NotImplementedError) as error:
            raise TransportError(
                f"CAN {config.interface} {config.channel}: {error}",
                hint="ip link set can0 up type can bitrate 500000",
            ) from None
        self._error = can.CanError
        self._loop, self._on_frame = loop or asyncio.get_running_loop(), on_frame
        self._name = f"CAN {config.interface} {config.channel}"
        self._closed, self._failed, self._failure = threading.Event(), asyncio.Event(), ""
        self._reader = threading.Thread(target=self._read, name=self._name, daemon=True)
        if on_frame is not None:
            self._reader.start()

    @classmethod
    async def opened(cls, config: CanConfig, on_frame: OnFrame) -> "CanPort":
        """Open a port in a thread, without blocking the event loop. Raises TransportError."""
        return await asyncio.to_thread(cls, config, on_frame, loop=asyncio.get_running_loop())

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                message = self._bus.recv(0.2)
            except Exception as error:  # noqa: BLE001 - each driver has its own errors
                self._in_loop(self._fail, str(error))
                return
            if message is not None and not message.is_error_frame and not message.is_remote_frame:
                self._in_loop(self._deliver, message.arbitration_id, bytes(message.data))

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, frame_id: int, data: bytes) -> None:
        if self._on_frame is not None and not self._closed.is_set():
            self._on_frame(frame_id, data)

    def _fail(self, reason: str) -> None:
        self._failure = f"{self._name}: {reason}"
        _log.error("%s", self._failure)
        self._failed.set()

    async def failed(self) -> NoReturn:
        """Wait until the bus fails. Raises TransportError then."""
        await self._failed.wait()
        raise TransportError(self._failure, hint="is the adapter plugged in and the interface up?")

    def send(self, frame_id: int, data: bytes) -> None:
        """Send a data frame with an 11-bit id (29-bit above 0x7FF). Raises TransportError when the bus rejects it."""
        try:
            self._bus.send(
                self._message(arbitration_id=frame_id, data=data, is_extended_id=frame_id > 0x7FF, is_fd=len(data) > 8)
            )
        except self._error as error:
            raise TransportError(f"CAN frame {frame_id:#x} not sent: {error}") from None

    async def close(self) -> None:
        """Detach from the bus."""
        self._closed.set()
        if self._reader.ident is not None:
            await asyncio.to_thread(self._reader.join)
        with contextlib.suppress(self._error, OSError):  # the adapter may be gone
            self._bus.shutdown()
