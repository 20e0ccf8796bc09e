"""The simulated medium between processes: all that attach to one folder are connected.

Every attachment binds a Unix datagram socket in the folder and sends to all others there. It is local to the
machine, needs no privilege, and different folders are separate.
"""

import asyncio
import contextlib
import logging
import os
import re
import socket
import stat
from collections import deque
from pathlib import Path
from typing import Final

from v2g.config import parse_config
from v2g.errors import TransportError, V2GError
from v2g.io.simulation.medium import MAX_PAYLOAD, Medium, MediumChannel, Neighbourhood

_log = logging.getLogger(__name__)

STATIONS: Final = "stations.toml"
"""File in the folder with the attenuation between stations: see Neighbourhood."""

_SUN_PATH: Final = 107  # 108 bytes with the closing NUL (unix(7))
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SUFFIX: Final = ".sock"
_LIVENESS_S: Final = 0.2
_RETRY_S: Final = 0.002
_RETRY_MAX_S: Final = 0.1
_BACKLOG: Final = 1024  # datagrams queued for a slow peer; the kernel's own queue may hold only 10
_READ_BATCH: Final = 64
_INCARNATION: Final = 8

_HELLO, _WELCOME, _BYE = 0xF0, 0xF1, 0xF2


class FolderMedium(Medium):
    """One attachment. Created by `attach`; all methods belong to the loop it was created in."""

    def __init__(self, directory: Path, name: str, sock: socket.socket, prefix: str, directory_fd: int) -> None:
        super().__init__(name, _neighbourhood(directory))
        self._version = _version(directory)
        self.directory = directory
        self._socket = sock
        self._prefix = prefix
        self._directory_fd = directory_fd
        self._incarnation = os.urandom(_INCARNATION)
        self._peers: dict[str, bytes] = {}  # name -> incarnation, empty until received from the peer
        self._backlog: dict[str, deque[bytes]] = {}
        self._loop = asyncio.get_running_loop()
        self._probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._liveness: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = _RETRY_S
        self._closed = False

    @classmethod
    async def attach(cls, directory: Path, name: str) -> "FolderMedium":
        """Join the folder `directory` (created if missing, mode 0700) as `name` ([A-Za-z0-9_-], up to 32 characters).

        A socket that a killed process left under the same name is replaced. Raises TransportError when a live
        process has the name, or when the folder cannot be used; ConfigError for its `stations.toml`.
        """
        if not _NAME.fullmatch(name):
            raise TransportError(f"{name!r} is not a valid attachment name", hint="letters, digits, _ and -, up to 32")
        directory = directory.absolute()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            raise TransportError(
                f"{directory}: {error.strerror}", hint="choose a folder that this user may write"
            ) from None
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            prefix = _short_prefix(directory, directory_fd, name)
            # bind `sock` under `name`, replacing a killed process's socket but not a live one's
            address = f"{prefix}{name}{_SUFFIX}"
            path = directory / (name + _SUFFIX)
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISSOCK(path.lstat().st_mode):
                    raise TransportError(f"{path} is in the way and not a socket", hint="use a separate folder")
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as probe:
                    try:
                        probe.connect(address)
                    except ConnectionRefusedError:
                        path.unlink()
                    else:
                        raise TransportError(
                            f"another process is attached to {directory} as {name!r}", hint="use another folder or name"
                        )
            try:
                sock.bind(address)
            except OSError as error:
                raise TransportError(
                    f"{path}: {error.strerror}", hint="choose a folder that this user may write"
                ) from None
            medium = cls(directory, name, sock, prefix, directory_fd)
        except BaseException:
            sock.close()
            os.close(directory_fd)
            raise
        medium._loop.add_reader(medium._socket, medium._readable)
        for entry in medium.directory.iterdir():  # names only: a stale socket is detected when sending
            peer = entry.name.removesuffix(_SUFFIX)
            if entry.name != peer and peer != medium.name and medium._greet(peer, _HELLO):
                medium._peers[peer] = b""
        medium._liveness = medium._loop.call_later(_LIVENESS_S, medium._check_liveness)
        return medium

    def attenuation_db(self, peer: str) -> int | None:
        """See Medium. The folder's file is read again when changed: a line may be cut while in use."""
        version = _version(self.directory)
        if version != self._version:
            with contextlib.suppress(V2GError):  # half-written: the next frame reads it
                self._neighbourhood = _neighbourhood(self.directory)
                self._version = version
        return super().attenuation_db(peer)

    @property
    def peers(self) -> frozenset[str]:
        """Names of the others that were alive at the last message or probe, at most 0.2 s ago."""
        return frozenset(self._peers)

    def send(self, channel: MediumChannel, payload: bytes, *, to: str | None = None) -> None:
        """See Medium. Up to 1024 datagrams are queued for a slow peer."""
        if self._closed:
            raise TransportError(f"{self.name} is detached from {self.directory}")
        if len(payload) > MAX_PAYLOAD:
            raise TransportError(f"{len(payload)} bytes do not fit a datagram of {MAX_PAYLOAD}")
        datagram = bytes((channel,)) + payload
        for peer in list(self._peers) if to is None else [to] if to in self._peers else []:
            if peer in self._backlog:
                self._enqueue(peer, datagram)
                continue
            try:
                self._socket.sendto(datagram, self._address(peer))
            except BlockingIOError:
                self._enqueue(peer, datagram)
            except OSError as error:
                self._lost(peer, str(error))

    def close(self) -> None:
        """Leave the folder and notify the others. Idempotent."""
        if self._closed:
            return
        for peer in list(self._peers):
            with contextlib.suppress(OSError):
                self._socket.sendto(bytes((_BYE,)) + self._incarnation, self._address(peer))
        self._closed = True
        for timer in (self._liveness, self._retry):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._probe.close()
        with contextlib.suppress(OSError):
            os.unlink(self.name + _SUFFIX, dir_fd=self._directory_fd)
        os.close(self._directory_fd)

    # -- called by the loop only ---------------------------------------------------------------------------------

    def _address(self, peer: str) -> str:
        return f"{self._prefix}{peer}{_SUFFIX}"

    def _greet(self, peer: str, word: int) -> bool:
        """Introduce this attachment to `peer`; return whether it is alive."""
        try:
            self._socket.sendto(bytes((word,)) + self._incarnation, self._address(peer))
        except BlockingIOError:
            self._enqueue(peer, bytes((word,)) + self._incarnation)
        except OSError:
            return False
        return True

    def _enqueue(self, peer: str, datagram: bytes) -> None:
        waiting = self._backlog.setdefault(peer, deque())
        if len(waiting) >= _BACKLOG:
            _log.warning("%s: %s does not read, datagram dropped", self.name, peer)
            return
        waiting.append(datagram)
        if self._retry is None:
            self._retry_s = _RETRY_S
            self._retry = self._loop.call_later(self._retry_s, self._flush)

    def _flush(self) -> None:
        """Retry datagrams rejected for a full queue, which gives no wake-up on unconnected sockets."""
        self._retry = None
        moved = False
        for peer in list(self._backlog):
            waiting = self._backlog.get(peer, deque())  # a callback of `_lost` may have changed the table
            try:
                while waiting:
                    self._socket.sendto(waiting[0], self._address(peer))
                    waiting.popleft()
                    moved = True
                self._backlog.pop(peer, None)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lost(peer, str(error))
        if self._backlog and not self._closed and self._retry is None:
            self._retry_s = _RETRY_S if moved else min(2 * self._retry_s, _RETRY_MAX_S)
            self._retry = self._loop.call_later(self._retry_s, self._flush)

    def _readable(self) -> None:
        for _ in range(_READ_BATCH):
            if self._closed:
                return
            try:
                datagram, address = self._socket.recvfrom(MAX_PAYLOAD + 1)
            except (BlockingIOError, InterruptedError):
                return
            if not isinstance(address, str) or not datagram:
                continue  # an unbound sender has no name
            peer = address.rpartition("/")[2].removesuffix(_SUFFIX)
            if _NAME.fullmatch(peer) and peer != self.name:
                self._received(peer, datagram[0], datagram[1:])

    def _received(self, peer: str, word: int, payload: bytes) -> None:
        if word == _BYE:
            # A BYE may arrive after the HELLO of the process that has taken the name.
            if self._peers.get(peer) in (b"", payload):
                self._lost(peer, "detached")
            return
        if word in (_HELLO, _WELCOME):
            known = self._peers.get(peer)
            if word == _HELLO and not self._greet(peer, _WELCOME):
                return
            if known not in (None, b"", payload):
                self._lost(peer, "started anew")
                known = None
            self._peers[peer] = payload
            if known is None:
                self._notify(peer, present=True)
            return
        try:
            channel = MediumChannel(word)
        except ValueError:
            return
        if peer in self._peers:
            self._deliver(peer, channel, payload)

    def _check_liveness(self) -> None:
        """Detect killed peers: connecting to their socket fails. Nothing is sent, so no process is woken."""
        for peer in list(self._peers):
            try:
                self._probe.connect(self._address(peer))
            except BlockingIOError:
                continue
            except OSError as error:
                self._lost(peer, str(error))
        if not self._closed:
            self._liveness = self._loop.call_later(_LIVENESS_S, self._check_liveness)

    def _lost(self, peer: str, why: str) -> None:
        self._backlog.pop(peer, None)
        if self._peers.pop(peer, None) is not None:
            _log.info("%s: %s left: %s", self.name, peer, why)
            self._notify(peer, present=False)


def _short_prefix(directory: Path, directory_fd: int, name: str) -> str:
    """Return a path prefix for sockets of `directory` that fits 108 bytes with any name.

    A deeply nested folder is reached through its open descriptor. Raises TransportError if not supported.
    """
    longest = len(os.fsencode(directory)) + 1 + 32 + len(_SUFFIX)
    if longest <= _SUN_PATH:
        return f"{directory}/"
    through = Path(f"/proc/self/fd/{directory_fd}")
    if not through.is_dir():
        raise TransportError(
            f"{directory}/{name}{_SUFFIX}: longer than the {_SUN_PATH} bytes that a Unix socket's path may have",
            hint="choose a run folder with a shorter path",
        )
    return f"{through}/"


def _version(directory: Path) -> int:
    """Return a value that changes with the folder's file; 0 without one."""
    try:
        return (directory / STATIONS).stat().st_mtime_ns
    except OSError:
        return 0


def _neighbourhood(directory: Path) -> Neighbourhood:
    """Return the attenuations in the folder's file. Raises ConfigError, TransportError."""
    path = directory / STATIONS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Neighbourhood()
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"{path}: {error}") from None
    return parse_config(text, Neighbourhood, name=str(path))
