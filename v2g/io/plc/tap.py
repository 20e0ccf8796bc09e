"""A network interface on a powerline port: IPv6 over a modem without a kernel driver.

HomePlug frames go to the program; all others between the port and a TAP device, so that SDP, TCP and
TLS work over a serial modem as over any interface. The device belongs to the program and vanishes with it, unless
the administrator created it before (`ip tuntap add dev plc0 mode tap user v2g`), in which case no
CAP_NET_ADMIN is needed.
"""

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

import msgspec

from v2g.errors import ConfigError, FrameError, TransportError
from v2g.io.capture.recorder import FrameRecorder
from v2g.io.plc.link import ETHERTYPE, OnFrame, OnPort, PlcLink
from v2g.observe import Observe
from v2g.slac import mme

# -- Base of ports that wrap another one


class WrappedLink:
    """A PlcLink that forwards everything to the wrapped one; subclasses override parts."""

    def __init__(self, link: PlcLink) -> None:
        self._link = link
        self._callback: OnFrame | None = None

    @property
    def mac(self) -> bytes:
        return self._link.mac

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        self._link.on_port(callback)

    def send(self, frame: bytes) -> None:
        self._link.send(frame)

    def close(self) -> None:
        self._link.close()

    def _pass_on(self, frame: bytes) -> None:
        """Pass a frame to the callback."""
        if self._callback is not None:
            self._callback(frame)


_DEVICE: Final = "/dev/net/tun"
_TUNSETIFF, _TAP, _NO_HEADER = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
_GET_FLAGS, _SET_FLAGS, _GET_MAC, _SET_MAC = 0x8913, 0x8914, 0x8927, 0x8924  # linux/sockios.h
_UP: Final = 1
_ETHER: Final = 1  # ARPHRD_ETHER
_MAX_NAME: Final = 15
_MAX_FRAME: Final = 1518
_READ_BATCH: Final = 64
_PAUSE_S: Final = 1.0
_HOMEPLUG: Final = ETHERTYPE.to_bytes(2, "big")


class TapLink(WrappedLink):
    """A PlcLink whose other frames go to a network interface: only HomePlug frames arrive here."""

    def __init__(self, link: PlcLink, name: str, *, observe: Callable[[Observe], None]) -> None:
        """Create or open the interface `name`, with the port's address. Raises ConfigError, TransportError."""
        if not 0 < len(os.fsencode(name)) <= _MAX_NAME or "/" in name or name in (".", ".."):
            raise ConfigError(f"{name!r} is not a valid interface name", hint="up to 15 characters, such as plc0")
        super().__init__(link)
        self._name = name
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        self._open()
        link.on_frame(self._received)

    def close(self) -> None:
        """See PlcLink. This also removes the interface."""
        if self._timer is not None:
            self._timer.cancel()
        self._close()
        super().close()

    def _open(self) -> None:
        try:
            self._fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TransportError(
                f"{_DEVICE}: {error.strerror}", hint="load the kernel's tun module and let this user open the device"
            ) from None
        try:
            fcntl.ioctl(self._fd, _TUNSETIFF, _request(self._name, struct.pack("H", _TAP | _NO_HEADER)))
            # set the interface's address and state, unless the administrator has done so
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_:
                address = struct.pack("H6s", _ETHER, self.mac)
                if fcntl.ioctl(any_, _GET_MAC, _request(self._name))[16:24] != address:
                    fcntl.ioctl(any_, _SET_MAC, _request(self._name, address))
                (flags,) = struct.unpack_from("H", fcntl.ioctl(any_, _GET_FLAGS, _request(self._name)), 16)
                if not flags & _UP:
                    fcntl.ioctl(any_, _SET_FLAGS, _request(self._name, struct.pack("H", flags | _UP)))
        except OSError as error:
            os.close(self._fd)
            self._fd = -1
            raise TransportError(
                f"interface {self._name}: {error.strerror}",
                hint="grant CAP_NET_ADMIN, or create it before: ip tuntap add dev NAME mode tap user USER",
            ) from None
        self._loop.add_reader(self._fd, self._readable)

    def _received(self, frame: bytes) -> None:
        if frame[12:14] == _HOMEPLUG:
            self._pass_on(frame)
        elif self._fd >= 0:
            try:
                os.write(self._fd, frame)
            except OSError:  # interface down or queue full: lost, as on a line
                return

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):
            if self._fd < 0:
                return
            try:
                frame = os.read(self._fd, _MAX_FRAME)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # deleted
                self._close()
                self._observe(Observe("link", "tap_lost", {"interface": self._name, "error": error.strerror}))
                self._timer = self._loop.call_later(_PAUSE_S, self._try)
                return
            if frame[12:14] != _HOMEPLUG:
                self._link.send(frame)

    def _try(self) -> None:
        try:
            self._open()
        except TransportError:
            self._timer = self._loop.call_later(_PAUSE_S, self._try)
            return
        self._observe(Observe("link", "tap_back", {"interface": self._name}))

    def _close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def _request(name: str, value: bytes = b"") -> bytes:
    """Return a struct ifreq."""
    return os.fsencode(name).ljust(16, b"\0") + value.ljust(24, b"\0")


# -- Recording of a host's traffic on its powerline port -------------------------------------------------------------

_IPV6, _TCP = b"\x86\xdd", b"\x06"

BLANKED: Final = "network key blanked"
"""Comment of a recorded frame whose NMK was overwritten with zeros."""


class RecordedLink(WrappedLink):
    """A PlcLink that writes every frame into a Recorder, which belongs to the caller."""

    def __init__(self, link: PlcLink, recorder: FrameRecorder, name: str) -> None:
        super().__init__(link)
        self._recorder = recorder
        self._number = recorder.interface(name, "powerline port: host to modem and back")
        link.on_frame(self._received)

    def send(self, frame: bytes) -> None:
        self._record(frame, outbound=True)
        super().send(frame)

    def _received(self, frame: bytes) -> None:
        self._record(frame, outbound=False)
        self._pass_on(frame)

    def _record(self, frame: bytes, *, outbound: bool) -> None:
        if self._recorder.has_connections and frame[12:14] == _IPV6 and frame[20:21] == _TCP:
            return
        recorded = frame if self._recorder.network_keys else without_keys(frame)
        self._recorder.packet(self._number, recorded, outbound=outbound, comment="" if recorded == frame else BLANKED)


def without_keys(frame: bytes) -> bytes:
    """Return the frame with keys and other secrets zeroed; the same frame if it has none."""
    try:
        header = mme.read_header(frame)
    except FrameError:
        return frame
    codec = mme.CODECS.get((header.mmtype, header.version > 0, header.oui))
    if codec is None or not codec.holds_secrets:
        return frame
    try:
        message = mme.decode(frame).message
    except FrameError:  # the key's position is unknown
        return frame[: header.payload_at] + bytes(len(frame) - header.payload_at)
    blank = {name: bytes(len(getattr(message, name))) for name in codec.secrets}
    changed = mme.encode(mme.MmeFrame(frame[:6], frame[6:12], msgspec.structs.replace(message, **blank)))
    return (frame[: header.payload_at] + changed[header.payload_at :]).ljust(len(frame), b"\0")
