"""The powerline behind a serial port: a QCA7000 in UART mode."""

import asyncio
import os

import serial

from v2g.errors import ConfigError, TransportError
from v2g.net.medium import Medium
from v2g.net.plc.link import OnFrame, PlcConfig, PlcLink, parse_mac
from v2g.net.plc.simulation import random_mac
from v2g.slac import uart

_READ_SIZE = 4096
_BACKLOG = 64 * 1024  # bytes waiting for a slow port: about 5 s at 115200 baud


class SerialLink:
    """A PlcLink on one port, 8N1 without flow control."""

    def __init__(self, device: str, baud_rate: int, mac: bytes) -> None:
        """Open the port. Raises TransportError when it is missing or in use."""
        self._device = device
        self._mac = mac
        self._callback: OnFrame | None = None
        self._loop = asyncio.get_running_loop()
        self._deframer = uart.Deframer()
        self._waiting = bytearray()
        try:
            self._port = serial.Serial(device, baud_rate, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise TransportError(f"{device}: {error}", hint="is the port there, free and readable?") from None
        self._fd: int = self._port.fileno()
        os.set_blocking(self._fd, False)
        self._loop.add_reader(self._fd, self._readable)

    @property
    def mac(self) -> bytes:
        """Our address; a serial port brings none."""
        return self._mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        if not self._port.is_open:
            raise TransportError(f"{self._device} is closed")
        if len(self._waiting) > _BACKLOG:
            return  # slower than what is sent: lost, as on the line
        if not self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        self._waiting += uart.wrap(frame)

    def close(self) -> None:
        """See PlcLink."""
        if self._port.is_open:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._port.close()

    def _writable(self) -> None:
        # The port's own write() waits; the descriptor, which is non-blocking, tells how much it took.
        try:
            del self._waiting[: os.write(self._fd, self._waiting)]
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()
            self.close()
        if not self._waiting and self._port.is_open:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # unplugged: sending tells
            self.close()
            return
        for frame in self._deframer.feed(data):
            if self._callback is not None:
                self._callback(frame)


def open_serial(config: PlcConfig, _medium: Medium | None) -> PlcLink:
    """Open `config.device`."""
    if not config.device:
        raise ConfigError("the serial powerline needs a port", hint="set `device`, such as /dev/ttyUSB0")
    return SerialLink(config.device, config.baud_rate, parse_mac(config.mac) if config.mac else random_mac())
