"""The powerline behind a network interface (AF_PACKET, EtherType 0x88E1, CAP_NET_RAW) or a serial port (QCA7000)."""

import asyncio
import errno
import os
import socket

from v2g.errors import TransportError
from v2g.io.plc.link import ETHERTYPE, OnFrame, OnPort, PlcConfig, PlcLink, own_mac
from v2g.io.serial_port import SerialPort
from v2g.io.simulation.medium import Medium
from v2g.slac import uart

_MAX_FRAME = 1518
_READ_BATCH = 64
_PACKET_OUTGOING = 4  # linux/if_packet.h
_ETH_P_ALL = 3  # linux/if_ether.h


class RawLink:
    """A PlcLink on one interface.

    With `overhear`, frames that this machine sends are received, too: for observing another program's port.
    """

    def __init__(self, interface: str, *, overhear: bool = False) -> None:
        """Open the interface. Raises TransportError when it is missing, down, or not permitted."""
        self._interface = interface
        self._overhear = overhear
        self._callback: OnFrame | None = None
        self._on_port: OnPort | None = None
        self._loop = asyncio.get_running_loop()
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except PermissionError:
            raise TransportError(
                f"raw frames on {interface} are not permitted",
                hint="run as root, or grant CAP_NET_RAW (systemd: AmbientCapabilities=CAP_NET_RAW)",
            ) from None
        try:
            # Only a socket for all EtherTypes receives this machine's own frames.
            self._socket.bind((interface, _ETH_P_ALL if overhear else ETHERTYPE))
            self.mac: bytes = self._socket.getsockname()[4]
            """Address of the interface."""
            down = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as error:
            self._socket.close()
            raise TransportError(f"{interface}: {error.strerror}", hint="`ip link` lists the interfaces") from None
        if down:
            self._socket.close()
            raise TransportError(f"{interface}: {os.strerror(down)}", hint=f"ip link set {interface} up")
        self._loop.add_reader(self._socket, self._readable)

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        """See PlcLink. An interface that is down counts as lost: its modem may have lost power."""
        self._on_port = callback

    def send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except (BlockingIOError, InterruptedError):
            return  # the interface's queue is full: lost, as on the line
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return  # the same
            raise TransportError(f"{self._interface}: {error.strerror}") from None

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):
            if self._socket.fileno() < 0:
                return
            try:
                frame, address = self._socket.recvfrom(_MAX_FRAME)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # deleted or set down
                self.close()
                if self._on_port is not None:
                    self._on_port(False)  # noqa: FBT003
                return
            ours = address[2] == _PACKET_OUTGOING
            if self._callback is not None and (not ours or self._overhear) and address[1] == ETHERTYPE:
                self._callback(frame)


def open_raw(config: PlcConfig, _medium: Medium | None) -> PlcLink:
    """Open `config.interface`."""
    return RawLink(config.interface)


class SerialLink:
    """A PlcLink on one port, 8N1 without flow control."""

    def __init__(self, device: str, baud_rate: int, mac: bytes) -> None:
        """Open the port. Raises TransportError when it is missing or in use."""
        self.mac = mac
        """The port's own address, configured or random."""
        self._callback: OnFrame | None = None
        self._on_port: OnPort | None = None
        self._deframer = uart.Deframer()
        self._port = SerialPort(device, baud_rate, on_data=self._received, on_gone=self._gone)

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        self._on_port = callback

    def send(self, frame: bytes) -> None:
        self._port.write(uart.wrap(frame))

    def close(self) -> None:
        self._port.close()

    def _received(self, data: bytes) -> None:
        for frame in self._deframer.feed(data):
            if self._callback is not None:
                self._callback(frame)

    def _gone(self) -> None:
        """Handle the port's loss."""
        if self._on_port is not None:
            self._on_port(False)  # noqa: FBT003


def open_serial(config: PlcConfig, _medium: Medium | None) -> PlcLink:
    """Open `config.device`."""
    return SerialLink(config.device, config.baud_rate, own_mac(config))
