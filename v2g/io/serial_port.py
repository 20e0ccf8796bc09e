"""A serial port in the event loop, 8N1 without flow control: bytes in and out, and a callback when it is lost."""

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable

from v2g.errors import TransportError

_READ_SIZE = 4096


class SerialPort:
    """One port. `on_data` is called with received bytes; `on_gone` once, when the port was unplugged.

    `backlog` limits the bytes queued for a slow port; excess data is dropped, as on a line.
    """

    def __init__(
        self,
        device: str,
        baud_rate: int,
        *,
        on_data: Callable[[bytes], None],
        on_gone: Callable[[], None],
        backlog: int = 64 * 1024,
    ) -> None:
        """Open the port. Raises TransportError when it is missing or in use."""
        import serial  # only for programs with a serial port

        self.device = device
        self._on_data, self._on_gone, self._backlog = on_data, on_gone, backlog
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        try:
            self._port = serial.Serial(
                device, baud_rate, timeout=0, write_timeout=0, exclusive=True,
                inter_byte_timeout=0,  # sets VMIN to 1: with 0 a port without data reads like one that is unplugged
            )  # fmt: skip
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            why = os.strerror(number) if (number := getattr(error, "errno", None)) else error  # pyserial has it thrice
            hint = "is it there, free and readable? ls /dev/serial/by-id"
            raise TransportError(f"serial port {device}: {why}", hint=hint) from None
        self._fd: int = self._port.fileno()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)

    @property
    def is_open(self) -> bool:
        return bool(self._port.is_open)

    def write(self, data: bytes) -> None:
        """Send. Raises TransportError when the port is lost."""
        if not self.is_open:
            raise TransportError(f"{self.device} is closed")
        if not data or len(self._waiting) > self._backlog:
            return
        if not self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        self._waiting += data

    def close(self) -> None:
        """Close the port; idempotent."""
        if self.is_open:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            with contextlib.suppress(OSError):  # the far end of a pseudo-terminal may be gone already
                self._port.close()

    def read_now(self) -> None:
        """Pass on received bytes, without waiting for the loop."""
        try:
            waits = self.is_open and self._port.in_waiting > 0
        except OSError:
            return  # lost: the loop detects that, too
        if waits:
            self._readable()

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:  # readable, and nothing to read: unplugged
            self._gone()

    def _writable(self) -> None:
        # The port's own write() blocks; the non-blocking descriptor returns how much it accepted.
        try:
            del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()
            self._gone()
            return
        if not self._waiting:
            self._loop.remove_writer(self._fd)

    def _gone(self) -> None:
        self.close()
        self._on_gone()
