"""Starts the programs as processes of their own and follows what they report."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g import typed_json
from v2g.errors import TimeoutExpired, TransportError
from v2g.io.storage.growing_file import generations


class Event(msgspec.Struct, frozen=True):
    """One line of a program's event file: see `v2g.io.runtime.events.EventLog`."""

    t: float
    utc_ms: int
    process: str
    stage: str
    name: str
    data: dict[str, Any]


_LOOKS: Final = 3
"""How often a file is looked for that is being renamed: one may escape a look, not three."""


class EventFile:
    """Reads a growing event file; a line that is still being written waits for its end.

    A file that was full, or that others have renamed, is read to its end before the one that has its name now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        """The file that is read: while it is open, no other one can be taken for it."""
        self._offset = 0
        self._decoder = typed_json.decoder(Event)

    def __del__(self) -> None:
        self._go_on(-1)

    def read(self) -> Iterator[Event]:
        """Yield the events that were added since the last call."""
        if self._fd < 0:
            with contextlib.suppress(FileNotFoundError):
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        while self._fd >= 0:
            newer = self._newer()  # first: to a file behind which another one has begun nothing is added any more
            try:
                yield from self._rest()
            except BaseException:  # the reader has had enough, or the line is none
                if newer >= 0:
                    os.close(newer)
                raise
            if newer < 0:
                return
            self._go_on(newer)

    def _rest(self) -> Iterator[Event]:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            if os.fstat(self._fd).st_size < self._offset:  # cut, and written anew
                self._offset = 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield self._decoder.decode(line)

    def _go_on(self, fd: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset = fd, 0

    def _newer(self) -> int:
        """Open the file that follows, and return it; -1 where none has begun.

        Where the one that is read has been removed, that is the oldest that is left.
        """
        mine, newer = os.fstat(self._fd).st_ino, -1
        for _ in range(_LOOKS):
            if newer >= 0:
                os.close(newer)
            newer = -1
            for path in generations(self.path):
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    state = os.fstat(fd)
                    fd, newer = (newer, fd) if state.st_size and state.st_ino != mine else (fd, newer)
                    if fd >= 0:
                        os.close(fd)
                    if state.st_ino == mine:
                        return newer
        return newer


@dataclass
class Program:
    """One process: `python -m NAME`, its log and its events. `usage` is filled when it has ended."""

    name: str
    command: list[str]
    log: Path
    events: EventFile
    process: "subprocess.Popen[bytes] | None" = None
    cpu_s: float = 0.0
    rss_mib: float = 0.0
    exit_code: int | None = None

    def start(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C reaches it through us only."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.exit_code = None

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None while it runs."""
        if self.exit_code is None and self.process is not None:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.exit_code = self.process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s += usage.ru_utime + usage.ru_stime
                self.rss_mib = max(self.rss_mib, usage.ru_maxrss / 1024)
        return self.exit_code

    def stop(self, how: signal.Signals = signal.SIGTERM, *, patience: float = 20.0) -> None:
        """Signal the process and wait; what does not end within `patience` seconds is killed."""
        if self.process is None or self.poll() is not None:
            return
        self.process.send_signal(how)
        deadline = time.monotonic() + patience
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                deadline = float("inf")
            time.sleep(0.01)


def program(name: str, folder: Path, config: Path, *, module: str = "", arguments: tuple[str, ...] = ()) -> Program:
    """Return a program of ours that writes `NAME.log` and `NAME.events.jsonl` in `folder`."""
    events = folder / f"{name}.events.jsonl"
    command = [sys.executable, "-m", module or name, *arguments, "--config", str(config), "--events", str(events)]
    return Program(name, command, folder / f"{name}.log", EventFile(events))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that was free a moment ago on both loopback addresses."""
    with socket.socket(socket.AF_INET6, kind) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


def wait_for(program: Program, stage: str, name: str, seen: list[Event], *, seconds: float) -> Event:
    """Return the program's next event of that stage and name; every event read on the way goes to `seen`.

    Raises TransportError when the program ends first, TimeoutExpired when it takes too long.
    """
    deadline = time.monotonic() + seconds
    while True:
        ended = program.poll()
        for event in program.events.read():
            seen.append(event)
            if (event.stage, event.name) == (stage, name):
                return event
        if ended is not None:
            raise TransportError(
                f"{program.name} ended with exit code {ended} before it was ready", hint=f"see {program.log}"
            )
        if time.monotonic() > deadline:
            raise TimeoutExpired(f"start of {program.name}", seconds, hint=f"see {program.log}")
        time.sleep(0.01)
