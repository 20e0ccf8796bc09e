"""The powerline behind a network interface: AF_PACKET, EtherType 0x88E1."""

import asyncio
import socket

from v2g.errors import ConfigError, TransportError
from v2g.net.medium import Medium
from v2g.net.plc.link import ETHERTYPE, OnFrame, PlcConfig, PlcLink

_MAX_FRAME = 1518
_READ_BATCH = 64
_PACKET_OUTGOING = 4  # linux/if_packet.h


class RawLink:
    """A PlcLink on one interface."""

    def __init__(self, interface: str) -> None:
        """Open the interface. Raises TransportError when it is missing, down, or the right to use it is."""
        self._interface = interface
        self._callback: OnFrame | None = None
        self._loop = asyncio.get_running_loop()
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            raise TransportError(
                f"raw frames on {interface} are not permitted",
                hint="run as root, or grant CAP_NET_RAW (systemd: AmbientCapabilities=CAP_NET_RAW)",
            ) from None
        try:
            self._socket.bind((interface, ETHERTYPE))
            self._mac: bytes = self._socket.getsockname()[4]
        except OSError as error:
            self._socket.close()
            raise TransportError(f"{interface}: {error.strerror}", hint="`ip link` lists the interfaces") from None
        self._loop.add_reader(self._socket, self._readable)

    @property
    def mac(self) -> bytes:
        """Address of the interface."""
        return self._mac

    def on_frame(self, callback: OnFrame) -> None:
        """See PlcLink."""
        self._callback = callback

    def send(self, frame: bytes) -> None:
        """See PlcLink."""
        try:
            self._socket.send(frame)
        except BlockingIOError:
            return  # the interface's queue is full: lost, as on the line
        except OSError as error:
            raise TransportError(f"{self._interface}: {error.strerror}") from None

    def close(self) -> None:
        """See PlcLink."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):
            if self._socket.fileno() < 0:
                return
            try:
                frame, address = self._socket.recvfrom(_MAX_FRAME)
            except OSError:  # empty, or the interface went down; sending tells
                return
            if address[2] != _PACKET_OUTGOING and self._callback is not None:
                self._callback(frame)


def open_raw(config: PlcConfig, _medium: Medium | None) -> PlcLink:
    """Open `config.interface`."""
    if not config.interface:
        raise ConfigError("the raw powerline needs an interface", hint="set `interface`, such as eth1")
    return RawLink(config.interface)
