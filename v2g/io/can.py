"""CAN for asyncio, by python-can: socketcan, slcan, udp_multicast or the in-process virtual bus, by configuration."""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta

from v2g.dbc import LARGEST_ID, STANDARD_ID, identity
from v2g.errors import TransportError
from v2g.hardware.power_modules.can_errors import AGAIN_S, SLOW_HINT, BusHealth, CanFault
from v2g.io.runtime.supervision import ArgumentTs, new_thread
from v2g.typed_json import Fields

_log = logging.getLogger(__name__)

OnFrame = Callable[[int, bytes, float], None]
"""Called with id, data and time (s) of a frame; the time is of the adapter's clock, which may have any origin."""

OnFault = Callable[[CanFault], None]

MOST_AT_ONCE: Final = 256
"""Frames that the event loop gets at once; more wait for the next time."""

MOST_WAITING: Final = 100_000
"""Frames that may wait for the event loop (about 30 MB); newer ones are lost until it has caught up."""


class CanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A CAN bus."""

    interface: str = "virtual"
    """Kind of adapter, as python-can names it."""
    channel: str = "battery"
    """Channel of that adapter, as python-can names it."""
    bitrate: Annotated[int, Meta(ge=1, le=10_000_000)] = 500_000
    """Speed of the bus, bit/s, where the driver sets one."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 43113
    """UDP port of `udp_multicast`."""
    fd: bool = False
    """CAN FD: frames of up to 64 octets."""


class CanFrame(msgspec.Struct, frozen=True):
    """One frame on a bus: `time_s` of its source; `error` marks error frames of Linux, whose id is their class."""

    time_s: float
    frame_id: int
    data: bytes
    extended: bool = False
    error: bool = False

    @property
    def identity(self) -> int:
        """See `v2g.dbc.identity`."""
        return identity(self.frame_id, extended=self.extended)


def frame_of(message: Any) -> CanFrame:
    error = bool(message.is_error_frame)
    extended = bool(message.is_extended_id) and not error
    return CanFrame(message.timestamp, message.arbitration_id, bytes(message.data), extended, error)


def open_bus(config: CanConfig) -> Any:
    """Return an opened `can.BusABC`. Raises TransportError."""
    import can  # 80 ms to import: only for processes with a CAN bus

    options: Fields = {"fd": True} if config.fd else {}
    if config.interface == "udp_multicast":
        options["port"] = config.port
    try:
        return can.Bus(interface=config.interface, channel=config.channel, bitrate=config.bitrate, **options)
    except (can.CanError, OSError, ValueError, NotImplementedError) as error:
        hint = _HINTS.get(config.interface, "is the adapter there, and `channel` its name?")
        raise TransportError(f"CAN {config.interface} {config.channel}: {error}", hint=hint) from None


_HINTS: Final = {
    "socketcan": "ip link set can0 up type can bitrate 500000",
    "udp_multicast": "is there a route for multicast? ip route add 239.0.0.0/8 dev lo",
}


class CanPort:
    """One attachment to a bus. Received data frames go to `on_frame` in the loop that opened the port, faults
    of the bus to `on_fault`.

    A thread reads, until the port is closed or the bus fails: an unplugged adapter would otherwise keep the
    event loop busy with its error. It gathers frames for at most `gather_s`, so that they wake the loop once, and then
    waits for as long; 0 where each frame counts at once. Frames beyond `MOST_WAITING` are lost, which is a fault of
    the bus.
    """

    def __init__(
        self,
        config: CanConfig,
        on_frame: OnFrame | None = None,
        *,
        on_fault: OnFault | None = None,
        gather_s: float = 0.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Open it, which may take seconds with an adapter on a serial port; `loop`: receives the frames.

        Raises TransportError.
        """
        self._bus = open_bus(config)
        import can

        self._message, self._error = can.Message, can.CanError
        self._loop, self._on_frame, self._on_fault = loop or asyncio.get_running_loop(), on_frame, on_fault
        self._gather_s, self._health = gather_s, BusHealth(config.channel)
        self._name = f"CAN {config.interface} {config.channel}"
        self._given, self._taken = 0, 0  # frames: only the thread writes the first, only the loop the second
        self._lost, self._lost_reported, self._lost_at = 0, 0, -math.inf
        self._closed, self._failed, self._failure = threading.Event(), asyncio.Event(), ""
        self._reader = new_thread(target=self._read, name=self._name)
        if on_frame is not None:
            self._reader.start()

    @classmethod
    async def opened(
        cls, config: CanConfig, on_frame: OnFrame, *, on_fault: OnFault | None = None, gather_s: float = 0.0
    ) -> "CanPort":
        """Open a port in a thread, without blocking the event loop. Raises TransportError."""
        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(cls, config, on_frame, on_fault=on_fault, gather_s=gather_s, loop=loop)

    def _read(self) -> None:
        while not self._closed.is_set():
            found = []
            try:
                message, until = self._bus.recv(0.2), time.monotonic() + self._gather_s
                while message is not None:
                    found.append(message)
                    # `recv(0)` of an adapter on a serial port waits for the next frame: a bus is not always silent
                    more = len(found) < MOST_AT_ONCE and time.monotonic() < until
                    message = self._bus.recv(0) if more else None
            except Exception as error:  # noqa: BLE001 - each driver has its own errors
                self._offer(found)
                self._in_loop(self._fail, str(error))
                return
            if found:
                self._offer(found)
                if self._gather_s:
                    self._closed.wait(self._gather_s)

    def _offer(self, messages: list[object]) -> None:
        """Give messages to the loop unless too many wait for it."""
        if self._given - self._taken + len(messages) > MOST_WAITING:
            self._lost += len(messages)
            return
        self._given += len(messages)
        self._in_loop(self._deliver, messages)

    def _in_loop(self, function: Callable[[*ArgumentTs], None], *arguments: *ArgumentTs) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, messages: list[Any]) -> None:
        self._taken += len(messages)
        if self._lost > self._lost_reported and time.monotonic() >= self._lost_at + AGAIN_S:
            self._lost_at = time.monotonic()
            self._report_lost()
        for message in messages:
            if self._closed.is_set() or self._on_frame is None:
                return
            if message.is_error_frame:
                for each in self._health.error(message.arbitration_id, bytes(message.data), time.monotonic()):
                    self._report(each)
            elif not message.is_remote_frame:
                self._health.received()
                at_s = message.timestamp or time.monotonic()
                frame_id = identity(message.arbitration_id, extended=message.is_extended_id)
                self._on_frame(frame_id, bytes(message.data), at_s)

    @property
    def lost(self) -> int:
        """Frames that were lost because the event loop was too slow."""
        return self._lost

    def _report_lost(self) -> None:
        lost, self._lost_reported = self._lost - self._lost_reported, self._lost
        cause = f"{lost} frames were lost: they arrived faster than this program decoded them"
        self._report(CanFault("frames_lost", cause, SLOW_HINT))

    def _report(self, fault: CanFault) -> None:
        _log.warning("%s: %s: %s", self._name, fault.name, fault.cause)
        if self._on_fault is not None:
            self._on_fault(fault)

    def _fail(self, reason: str) -> None:
        self._failure = f"{self._name}: {reason}"
        _log.error("%s", self._failure)
        self._failed.set()

    async def failed(self) -> NoReturn:
        """Wait until the bus fails. Raises TransportError then."""
        await self._failed.wait()
        raise TransportError(self._failure, hint="is the adapter plugged in and the interface up?")

    def send(self, frame_id: int, data: bytes) -> None:
        """Send a data frame; above 0x7FF its id has 29 bits (`v2g.dbc.identity`). Raises TransportError when the bus
        rejects it."""
        number, long = frame_id & LARGEST_ID, frame_id > STANDARD_ID
        message = self._message(arbitration_id=number, data=data, is_extended_id=long, is_fd=len(data) > 8)
        try:
            self._bus.send(message)
        except Exception as error:  # noqa: BLE001 - each driver has its own errors, as socketcan for one that is closed
            raise TransportError(f"CAN frame {frame_id:#x} not sent: {error}") from None

    async def close(self) -> None:
        """Detach from the bus."""
        self._closed.set()
        if self._reader.ident is not None:
            await asyncio.to_thread(self._reader.join)
        if self._lost > self._lost_reported:
            self._report_lost()
        with contextlib.suppress(self._error, OSError):  # the adapter may be gone
            self._bus.shutdown()
