"""Starts the programs as processes of their own and follows what they report."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from v2g import typed_json
from v2g.errors import TimeoutExpired, TransportError


class Event(msgspec.Struct, frozen=True):
    """One line of a program's event file: see `v2g.net.events.EventLog`."""

    t: float
    utc_ms: int
    process: str
    stage: str
    name: str
    data: dict[str, Any]


@dataclass
class EventFile:
    """Reads a growing event file; a line that is still being written waits for its end."""

    path: Path
    _offset: int = 0
    _decoder: msgspec.json.Decoder[Event] = field(default_factory=lambda: typed_json.decoder(Event))

    def read(self) -> Iterator[Event]:
        """Yield the events that were added since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield self._decoder.decode(line)


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
