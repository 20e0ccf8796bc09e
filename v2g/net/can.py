"""CAN for asyncio, by python-can: socketcan, slcan, udp_multicast or the in-process virtual bus, by configuration."""

import asyncio
from collections.abc import Callable

import msgspec

from v2g.errors import TransportError


class CanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bus. `interface` and `channel` are python-can's words; `bitrate` (bit/s) where the driver sets one."""

    interface: str = "virtual"
    channel: str = "battery"
    bitrate: int = 500_000


class CanPort:
    """One attachment to a bus. Received data frames go to `on_frame(id, data)` in the loop that opened the port."""

    def __init__(self, config: CanConfig, on_frame: Callable[[int, bytes], None] | None = None) -> None:
        import can  # 80 ms to import: only a process that has a CAN bus pays

        self._message = can.Message
        try:
            self._bus = can.Bus(interface=config.interface, channel=config.channel, bitrate=config.bitrate)
        except (can.CanError, OSError, ValueError, NotImplementedError) as error:
            raise TransportError(
                f"CAN {config.interface} {config.channel}: {error}",
                hint="ip link set can0 up type can bitrate 500000",
            ) from None
        self._error = can.CanError
        self._notifier: can.Notifier | None = None
        if on_frame is not None:
            receive = on_frame

            def listen(message: can.Message) -> None:
                if not message.is_error_frame and not message.is_remote_frame:
                    receive(message.arbitration_id, bytes(message.data))

            self._notifier = can.Notifier(self._bus, [listen], timeout=0.2, loop=asyncio.get_running_loop())

    def send(self, frame_id: int, data: bytes) -> None:
        """Send a data frame with an 11-bit id (29-bit above 0x7FF). Raises TransportError when the bus refuses."""
        try:
            self._bus.send(
                self._message(arbitration_id=frame_id, data=data, is_extended_id=frame_id > 0x7FF, is_fd=len(data) > 8)
            )
        except self._error as error:
            raise TransportError(f"CAN frame {frame_id:#x} not sent: {error}") from None

    async def close(self) -> None:
        """Detach from the bus."""
        if self._notifier is not None:
            await asyncio.to_thread(self._notifier.stop)
        self._bus.shutdown()
