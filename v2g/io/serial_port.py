"""A serial port in the event loop, 8N1 without flow control: bytes in and out, and a word when it is gone."""

import asyncio
import contextlib
import os
import termios
from collections.abc import Callable

from v2g.errors import TransportError

_READ_SIZE = 4096


class SerialPort:
    """One port. `on_data` is called with what came in; `on_gone` once, when the port was unplugged.

    `backlog` is how many bytes may wait for a slow port; what does not fit is lost, as on a line.
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
        import serial  # only a program with a serial port pays for it

        self.device = device
        self._on_data, self._on_gone, self._backlog = on_data, on_gone, backlog
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        try:
            self._port = serial.Serial(device, baud_rate, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError
            raise TransportError(f"{device}: {error}", hint="is the port there, free and readable?") from None
        self._fd: int = self._port.fileno()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)

    @property
    def is_open(self) -> bool:
        """Whether the port is there."""
        return bool(self._port.is_open)

    def write(self, data: bytes) -> None:
        """Send. Raises TransportError when the port is gone."""
        if not self.is_open:
            raise TransportError(f"{self.device} is closed")
        if not data or len(self._waiting) > self._backlog:
            return
        if not self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        self._waiting += data

    def close(self) -> None:
        """Let go of the port; safe to call twice."""
        if self.is_open:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            with contextlib.suppress(OSError):  # the far end of a pseudo-terminal may be gone already
                self._port.close()

    def read_now(self) -> None:
        """Pass on what waits in the port, without waiting for the loop to find it."""
        try:
            waits = self.is_open and self._port.in_waiting > 0
        except OSError:
            return  # gone: the loop finds that, too
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
        # The port's own write() waits; the descriptor, which is non-blocking, tells how much it took.
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
