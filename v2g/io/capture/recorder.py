"""Recording traffic of a port or a connection into a pcapng file, and reading it back.

A recording is enabled explicitly and readable by its owner only. Network keys (NMK) are blanked in it, and TLS secrets
omitted, unless the configuration asks for them.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError, FrameError, StoreError, V2GError
from v2g.io.capture import pcap, pcapng
from v2g.io.capture.pcapng import Packet, Record, Secrets
from v2g.io.runtime.clock import wall_ns
from v2g.io.storage.journal_file import open_alone

_log = logging.getLogger(__name__)
_CHUNK: Final = 64 * 1024
_MIB: Final = 1024 * 1024


class RecordConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recording that Wireshark opens: HomePlug frames of the powerline port, and the connection."""

    file: Annotated[Path, Meta(description="pcapng file; later recordings are appended, a full one becomes FILE.1")]
    network_keys: Annotated[bool, Meta(description="keep network keys (NMK) in recorded frames; else blanked")] = False
    max_mib: Annotated[int, Meta(ge=1, le=4096, description="size of a full file, MiB")] = 64


class FrameRecorder:
    """One file. A full disk ends the recording, never the program."""

    def __init__(self, config: RecordConfig, *, application: str, now_ns: Callable[[], int] = wall_ns) -> None:
        """Open the file, mode 0600. A block that a killed program left incomplete is removed.

        Raises StoreError when the file cannot be written, is not a capture, or is in use by another program.
        """
        self.network_keys = config.network_keys
        self.has_connections = False
        """Whether TCP connections are recorded at their endpoint, not at the port that carries them."""
        self._path = config.file
        self._limit = config.max_mib * _MIB
        self._application = application
        self._now_ns = now_ns
        self._interfaces: list[bytes] = []
        try:
            fd = open_alone(self._path, os.O_APPEND)
        except BlockingIOError:
            raise StoreError(
                f"{self._path}: another program records there", hint="use one file for each program"
            ) from None
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}", hint="choose a file that this user may write") from None
        try:
            self._size = _whole(fd, self._path)
            os.ftruncate(fd, self._size)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._write(pcapng.section(application))

    def interface(self, name: str, description: str) -> int:
        """Add an interface; return its number for `packet`."""
        self._interfaces.append(pcapng.interface(name, description))
        self._write(self._interfaces[-1])
        return len(self._interfaces) - 1

    def packet(self, number: int, frame: bytes, *, outbound: bool | None = None, comment: str = "") -> None:
        """Record an Ethernet frame seen on interface `number` now."""
        self._write(pcapng.packet(number, self._now_ns(), frame, outbound=outbound, comment=comment))

    def secrets(self, lines: bytes) -> None:
        """Record lines of a TLS key log, before the packets that they decrypt."""
        self._write(pcapng.secrets(lines))

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, block: bytes) -> None:
        if self._fd < 0:
            return
        try:
            if self._size + len(block) > self._limit and self._size:
                os.close(self._fd)
                self._fd = -1
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
                beginning = pcapng.section(self._application) + b"".join(self._interfaces)
                self._size = os.write(self._fd, beginning)
            os.write(self._fd, block)
            self._size += len(block)
        except OSError as error:
            _log.error("recording to %s ends: %s", self._path, error.strerror)
            self.close()


def _whole(fd: int, path: Path) -> int:
    """Return the length of the complete blocks. Raises StoreError unless the file is a recording."""
    reader = pcapng.PcapngReader()
    try:
        while data := os.read(fd, _CHUNK):
            reader.feed(data)
    except FrameError as error:
        raise StoreError(f"{path} is in the way: {error}", hint="choose another file for the recording") from None
    return reader.whole


def read(path: Path, errors: list[V2GError] | None = None) -> Iterator[Record]:
    """Yield the records of a capture, pcapng or pcap.

    An incomplete last block is skipped: the program that wrote it was killed, or is still writing. Raises
    ConfigError when it cannot be read, FrameError for an invalid one; with `errors` both are added to it, each with
    its place in the file, and what precedes is yielded.
    """
    size = 0
    try:
        with path.open("rb") as file:
            reader = pcap.PcapReader() if file.peek(4)[:4] in pcap.MAGICS else pcapng.PcapngReader()
            while data := file.read(_CHUNK):
                size += len(data)
                yield from reader.each(data)
            if errors is not None and not size:
                errors.append(FrameError(f"{path}: an empty file"))
            elif errors is not None and reader.unfinished:
                at = size - reader.unfinished
                errors.append(FrameError(f"{path}: cut short within a packet, from octet {at} on"))
    except FrameError as error:
        if errors is None:
            raise
        errors.append(FrameError(f"{path}, octet {size - reader.unfinished}: {error}", hint=error.hint))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="give a pcapng or pcap file") from None


def packets(path: Path, errors: list[V2GError] | None = None) -> Iterator[Packet]:
    """Yield the packets of a capture; see `read`."""
    return (record for record in read(path, errors) if isinstance(record, Packet))


__all__ = ["FrameRecorder", "Packet", "RecordConfig", "Secrets", "packets", "read"]
