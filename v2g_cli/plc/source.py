"""Sources of frames: a port, or a recording; and the options of the powerline commands."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from v2g.errors import ConfigError, FrameError, V2GError
from v2g.io.capture import recorder
from v2g.io.capture.pcapng import ETHERNET, Packet
from v2g.io.plc.link import PlcConfig, PlcLink
from v2g.io.runtime.clock import wall_ns
from v2g.io.runtime.supervision import wait_at_most

InterfaceOption = Annotated[
    str | None, typer.Option("--interface", "-i", help="Network interface of a modem; needs CAP_NET_RAW.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", "-d", help="Serial port of a modem that no other program uses.")
]
BaudOption = Annotated[int, typer.Option("--baud", help="Baud rate of the serial port.")]
MediumOption = Annotated[
    Path | None, typer.Option("--medium", "-m", help="Folder of a simulated line, as RUN/medium of `v2g demo`.")
]
SecondsOption = Annotated[float | None, typer.Option("--seconds", help="Exit after this many seconds.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="JSON records, one a line.")]
FollowFlag = Annotated[bool, typer.Option("--follow", "-f", help="Follow the recording as it grows.")]


_ECHO_S = 0.2


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One frame, its time and port. `outbound` is from the port's own host; None if unknown."""

    time_ns: int
    port: str
    data: bytes
    outbound: bool | None = None
    comment: str = ""


class Source(msgspec.Struct, frozen=True):
    """A port, by the options of the command line; exactly one of them is given."""

    interface: str | None = None
    device: str | None = None
    medium: Path | None = None
    baud_rate: int = 115200

    def __post_init__(self) -> None:
        given = [each for each in (self.interface, self.device, self.medium) if each is not None]
        if len(given) != 1:
            raise ConfigError("give one port", hint="--interface eth1, --device /dev/ttyUSB0 or --medium FOLDER")

    @property
    def name(self) -> str:
        """The port's name."""
        return self.interface or self.device or str(self.medium)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[PlcLink]:
        """Open the port for listening. Raises TransportError."""
        if self.interface is not None:
            from v2g.io.plc.raw import RawLink

            link: PlcLink = RawLink(self.interface, overhear=True)
        elif self.device is not None:
            from v2g.io.plc.raw import open_serial

            link = open_serial(PlcConfig(device=self.device, baud_rate=self.baud_rate), None)
        else:
            async with _listening(self.medium) as link:
                yield link
            return
        try:
            yield link
        finally:
            link.close()

    def received(self, link: PlcLink, data: bytes) -> Seen:
        """Return the frames received since the last call."""
        ours = None if self.medium is not None else data[6:12] == link.mac
        return Seen(time_ns=wall_ns(), port=self.name, data=data, outbound=ours)


@contextlib.asynccontextmanager
async def _listening(folder: Path | None) -> AsyncIterator[PlcLink]:
    """Join a simulated line as a listener."""
    import os

    from v2g.io.plc.loopback import open_loopback
    from v2g.io.simulation.medium_folder import FolderMedium

    assert folder is not None
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder", hint="a running demo has RUN/medium")
    medium = await FolderMedium.attach(folder, f"listener-{os.getpid()}")
    try:
        yield open_loopback(PlcConfig(), medium)
    finally:
        medium.close()


async def frames(source: Source, *, seconds: float | None = None) -> AsyncIterator[Seen]:
    """Yield received frames, until `seconds` are over, the port is lost, or SIGINT or SIGTERM arrives."""
    queue: asyncio.Queue[Seen | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, queue.put_nowait, None)
    if seconds is not None:
        loop.call_later(seconds, queue.put_nowait, None)
    async with source.open() as link:
        link.on_frame(lambda data: queue.put_nowait(source.received(link, data)))
        link.on_port(lambda present: None if present else queue.put_nowait(None))
        while (seen := await queue.get()) is not None:
            yield seen


def recorded(path: Path, errors: list[V2GError]) -> Iterator[Seen]:
    """Yield the frames of a capture up to what cannot be read, which is added to `errors`. Raises ConfigError."""
    try:
        yield from map(_seen, recorder.packets(path, errors))
    except FrameError as error:
        errors.append(error)


async def followed(path: Path, *, seconds: float | None = None) -> AsyncIterator[Seen]:
    """Yield the frames of a capture, and those appended to it."""
    from v2g.io.capture.pcapng import PcapngReader

    loop, reader = asyncio.get_running_loop(), PcapngReader()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if seconds is not None:
        loop.call_later(seconds, stopped.set)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give a pcapng file") from None
    with file:
        while True:
            data = file.read(65536)
            for record in reader.feed(data):
                if isinstance(record, Packet):
                    yield _seen(record)
            if stopped.is_set():
                return
            if not data:
                await wait_at_most(_ECHO_S, stopped.wait())


def _seen(packet: Packet) -> Seen:
    """Return a captured frame. Raises FrameError unless it is an Ethernet frame."""
    if packet.interface.link_type != ETHERNET:
        raise FrameError(
            f"the packets of {packet.interface.name or 'this capture'} are not Ethernet frames "
            f"(link type {packet.interface.link_type})",
            hint="capture on the modem's interface, not on `any`",
        )
    return Seen(
        time_ns=packet.time_ns,
        port=packet.interface.name,
        data=packet.data,
        outbound=packet.outbound,
        comment=packet.comment,
    )
