"""Events of a program for readers on the same machine, such as the telemetry gateway: JSON lines on a Unix socket.

A reader never delays the program: each has a bounded queue, and one that does not read in time is disconnected.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransportError

_log = logging.getLogger(__name__)

MAX_LINE: Final = 65_536
"""Longest line, bytes; longer events are left out."""

MAX_WAITING: Final = 2000
"""Lines that wait for a reader before it is disconnected."""

MAX_READERS: Final = 8

_CLOSE_S: Final = 0.5
"""How long a program that ends waits for readers."""

_SUN_PATH: Final = 107  # 108 bytes with the closing NUL (unix(7))


class EventSocketConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unix socket from which local programs read events, such as the telemetry gateway."""

    socket: Annotated[Path, Meta(description="path of the socket; removed at the end")]
    group: Annotated[bool, Meta(description="also its group may read (mode 0660 instead of 0600)")] = False


class _EventReader(asyncio.Protocol):
    """One reader: gets kept lines first, then events."""

    def __init__(self, readers: "set[_EventReader]", on_made: "Callable[[_EventReader], None]") -> None:
        self._readers, self._on_made = readers, on_made
        self._lines: deque[bytes] = deque()
        self._kept: Iterator[bytes] = iter(())
        self._paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._readers) >= MAX_READERS:
            transport.abort()
            return
        self._readers.add(self)
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._readers.discard(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    @property
    def is_behind(self) -> bool:
        """Whether lines wait."""
        assert self._transport is not None
        return bool(self._lines) or self._paused or self._transport.get_write_buffer_size() > 0

    def offer(self, kept: Iterable[bytes]) -> None:
        """Send kept lines, at the reader's pace."""
        self._kept = iter(kept)
        self._pump()

    def send(self, line: bytes) -> None:
        """Queue a line."""
        if len(self._lines) >= MAX_WAITING:
            _log.warning("a reader of events is disconnected: %d lines behind", MAX_WAITING)
            self.abort()
            return
        self._lines.append(line)
        self._pump()

    def _pump(self) -> None:
        assert self._transport is not None
        while not self._paused and not self._transport.is_closing():
            line = next(self._kept, None) or (self._lines.popleft() if self._lines else None)
            if line is None:
                return
            self._transport.write(line)

    def abort(self) -> None:
        """Disconnect at once."""
        assert self._transport is not None
        self._readers.discard(self)
        self._transport.abort()


class EventSocket:
    """Serves lines to readers, from `open` to `close`. `kept` returns lines that every new reader gets first; it is
    called in a thread."""

    def __init__(self, config: EventSocketConfig, kept: Callable[[], Iterable[bytes]] = tuple) -> None:
        self._config, self._kept = config, kept
        self._readers: set[_EventReader] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def is_read(self) -> bool:
        """Whether there are readers."""
        return bool(self._readers)

    async def open(self) -> None:
        """Listen. Raises TransportError."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        # a bound socket, in place of one that a killed process left
        path = self._config.socket
        mode = 0o660 if self._config.group else 0o600
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            with socket_address(path) as address:
                _remove_stale(path, address)
                bound.bind(address)
            path.chmod(mode)  # nobody can connect before it listens
        except OSError as error:
            bound.close()
            raise TransportError(f"{path}: {error.strerror}", hint="choose a folder that this user may write") from None
        except BaseException:
            bound.close()
            raise
        self._server = await self._loop.create_unix_server(
            lambda: _EventReader(self._readers, self._read_kept), sock=bound
        )

    def _read_kept(self, reader: _EventReader) -> None:
        assert self._loop is not None
        self._loop.run_in_executor(None, lambda: list(self._kept())).add_done_callback(
            lambda done: self._offer(reader, done)
        )

    def _offer(self, reader: _EventReader, done: "asyncio.Future[list[bytes]]") -> None:
        if done.cancelled():
            return
        if error := done.exception():
            _log.error("kept lines cannot be read: %s", error)
        elif reader in self._readers:
            reader.offer(done.result())

    def publish(self, line: bytes) -> None:
        """Queue a line, with its line feed, for all readers. Never waits; may be called by any thread."""
        if not self._readers or len(line) > MAX_LINE:
            return
        if threading.get_ident() == self._thread:
            self._send(line)
        elif self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
                self._loop.call_soon_threadsafe(self._send, line)

    def _send(self, line: bytes) -> None:
        for reader in list(self._readers):
            reader.send(line)

    async def close(self) -> None:
        """Stop listening, and disconnect readers when they have read, within half a second. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._config.socket.unlink)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                while any(each.is_behind for each in self._readers):
                    await asyncio.sleep(0.01)
        for reader in list(self._readers):
            reader.abort()


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address of a Unix socket, also where its path is too long for one. Raises TransportError."""
    path = path.absolute()
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield str(path)
        return
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise TransportError(f"{path.parent}: {error.strerror}") from None
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _remove_stale(path: Path, address: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise TransportError(f"{path} exists and is not a socket", hint="choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise TransportError(f"another process serves {path}", hint="give each program its own socket")
