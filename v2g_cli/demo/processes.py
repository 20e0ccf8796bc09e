"""Starts the programs as separate processes and follows their events."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import TimeoutExpired, TransportError
from v2g.io.storage.growing_file import generations
from v2g.typed_json import Fields


class Event(msgspec.Struct, frozen=True):
    """One line of a program's event file: see `v2g.io.runtime.events.EventLog`."""

    t: float
    utc_ms: int
    process: str
    stage: str
    name: str
    data: Fields


_LOOKS: Final = 3
"""Checks for a file that is being renamed: it may be missing in one, not in three."""


class EventFile:
    """Reads a growing event file; an incomplete line is left for the next read.

    A full or renamed file is read to its end before its successor.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        """The open file: it keeps its identity while it is open."""
        self._offset = 0
        self._decoder = typed_json.decoder(Event)

    def __del__(self) -> None:
        self._go_on(-1)

    def read(self) -> Iterator[Event]:
        """Yield the events added since the last call."""
        if self._fd < 0:
            with contextlib.suppress(FileNotFoundError):
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        while self._fd >= 0:
            newer = self._newer()  # first: a file with a successor no longer grows
            try:
                yield from self._rest()
            except BaseException:  # the reader stopped, or the line is invalid
                if newer >= 0:
                    os.close(newer)
                raise
            if newer < 0:
                return
            self._go_on(newer)

    def _rest(self) -> Iterator[Event]:
        with os.fdopen(os.dup(self._fd), "rb") as file:
            if os.fstat(self._fd).st_size < self._offset:  # truncated, and rewritten
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
        """Open the successor of the file, and return it; -1 if there is none.

        If the current one has been removed, that is the oldest remaining one.
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
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables of its environment, which other users cannot read."""

    def start(self) -> None:
        """Start the process in its own session, so that Ctrl-C does not reach it directly."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **self.secrets},
            )  # fmt: skip
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
        """Signal the process and wait; it is killed after `patience` seconds."""
        if self.process is None or self.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)  # one that is held ends only then
        self.process.send_signal(how)
        deadline = time.monotonic() + patience
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                deadline = float("inf")
            time.sleep(0.01)


def program(name: str, folder: Path, config: Path, *, module: str = "", arguments: tuple[str, ...] = ()) -> Program:
    """Return a project program that writes `NAME.log` and `NAME.events.jsonl` in `folder`."""
    events = folder / f"{name}.events.jsonl"
    command = [sys.executable, "-m", module or name, *arguments, "--config", str(config), "--events", str(events)]
    return Program(name, command, folder / f"{name}.log", EventFile(events))


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that was just free on both loopback addresses."""
    with socket.socket(socket.AF_INET6, kind) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


def wait_for(program: Program, stage: str, name: str, seen: list[Event], *, seconds: float) -> Event:
    """Return the program's next event of that stage and name; every event read before is added to `seen`.

    Raises TransportError when the program ends first, TimeoutExpired after the time-out.
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
