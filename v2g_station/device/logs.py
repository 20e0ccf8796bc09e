"""Logs of the charger for its CSMS: collected from its own files into one archive, and uploaded (N01).

Diagnostics are a `.tar.gz` with `events.jsonl` and `trace.jsonl`, their older parts as `events.jsonl.1` and so on, the
settlement journals of the period as `journals/…`, `security.log` and `variables.json`. Of each file the newest lines
that fit are included.
"""

import asyncio
import contextlib
import io
import itertools
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import OcppError, TransferError, TransferFailure
from v2g.io.http.cancel import Cancel
from v2g.io.runtime.supervision import spawn
from v2g.io.storage.growing_file import MIB, generations
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.diagnostics import UploadLogStatus
from v2g.ocpp.times import parse_time
from v2g_station.blocks.diagnostics.diagnostics import LogProgress, UploadLog

_STATUS: Final[Mapping[TransferFailure, UploadLogStatus]] = {
    "denied": "PermissionDenied",
    "unsupported": "NotSupportedOperation",
    "refused": "BadMessage",
}
"""The status of a failure; any other is UploadFailure."""

_UTC_MS: Final = re.compile(rb'"utc_ms":\s*(\d+)')
_TIME: Final = re.compile(rb'"time":\s*"([^"]+)"')


class LogsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The logs available to the CSMS (N01). HTTPS servers are verified by the CSMS's roots and the system's."""

    most_mib: Annotated[int, Meta(ge=1, le=1024)] = 16
    """Maximum size of an archive before compression, MiB; the newest lines take precedence."""
    journals: bool = True
    """Include the settlement journals of the period in diagnostics."""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """Time limit of one upload attempt."""
    default_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    """Further attempts if the CSMS does not set retries."""


class LogSources(msgspec.Struct, frozen=True):
    """The logs of the machine. `recent` returns event lines that are in no file."""

    events: Path | None = None
    trace: Path | None = None
    journals: Sequence[Path] = ()
    """Folders of settlement journals."""
    recent: Callable[[], Iterable[bytes]] = tuple


class LogWindow:
    """The requested period; unbounded at a missing end."""

    def __init__(self, oldest: str | None, latest: str | None) -> None:
        self._oldest, self._latest = _ms(oldest), _ms(latest)

    def has(self, line: bytes) -> bool:
        """Return whether a JSON line is in the period; one without a time is."""
        if self._oldest is None and self._latest is None:
            return True
        at = _time_of(line)
        return at is None or self.covers(at)

    def covers(self, utc_ms: int) -> bool:
        """Return whether a time is in the period."""
        return (self._oldest is None or self._oldest <= utc_ms) and (self._latest is None or utc_ms <= self._latest)

    def since(self, utc_ms: int) -> bool:
        """Return whether a file last written at a time may contain lines of the period."""
        return self._oldest is None or utc_ms >= self._oldest


def _time_of(line: bytes) -> int | None:
    if found := _UTC_MS.search(line):
        return int(found[1])
    if found := _TIME.search(line):
        return _ms(found[1].decode(errors="replace"))
    return None


def _ms(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return parse_time(text)
    except OcppError:
        return None


def collect(command: UploadLog, sources: LogSources, config: LogsConfig, into: IO[bytes]) -> None:
    """Write the requested log. Raises OSError."""
    import gzip  # as tarfile: rarely needed
    import tarfile

    def add(name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        archive.addfile(member, io.BytesIO(data))

    security = "".join(f"{line}\n" for line in command.lines).encode()
    if command.log_type != "DiagnosticsLog":
        into.write(security)
        return
    window, room = LogWindow(command.oldest, command.latest), config.most_mib * MIB
    # the archive's timestamps are those of its content: the same logs make the same archive
    with (
        gzip.GzipFile(fileobj=into, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        add("security.log", security)
        variables = msgspec.json.encode(command.variables, order="deterministic")
        add("variables.json", msgspec.json.format(variables, indent=1))
        room = max(0, room - len(security) - len(variables))
        for name, lines in _members(sources, window, journals=config.journals):
            taken = _newest(lines, room)
            room -= len(taken)
            if taken:
                add(name, taken)


def _members(sources: LogSources, window: LogWindow, *, journals: bool) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the possible content of an archive, the most relevant first: name and lines, the newest first."""
    events = sources.events
    if events is None:
        yield "events.jsonl", filter(window.has, reversed(list(sources.recent())))
    grown = ((events, "events.jsonl"), (sources.trace, "trace.jsonl"))
    aged = [[(each, each.name.replace(path.name, name)) for each in generations(path)] for path, name in grown if path]
    for path, name in filter(None, itertools.chain(*itertools.zip_longest(*aged))):
        lines = _backwards(path)
        newest = next(lines, b"")
        if newest and window.since(_time_of(newest) or sys.maxsize):  # at most this part of older files is read
            yield name, filter(window.has, itertools.chain((newest,), lines))
    for folder in sources.journals if journals else ():
        for path in sorted(folder.glob("**/*.jsonl")):
            with contextlib.suppress(OSError):
                if path not in (events, sources.trace) and window.since(int(path.stat().st_mtime * 1000)):
                    yield f"journals/{path.relative_to(folder)}", _backwards(path)


def _newest(lines: Iterable[bytes], room: int) -> bytes:
    """Return the newest lines that fit, in the order they were written."""
    taken: list[bytes] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        taken.append(line + b"\n")
    return b"".join(reversed(taken))


def _backwards(path: Path, piece: int = 256 * 1024) -> Iterator[bytes]:
    """Yield the lines of a file from its end; none if it does not exist."""
    try:
        with path.open("rb") as file:
            at, rest = file.seek(0, io.SEEK_END), b""
            while at:
                size = min(piece, at)
                at -= size
                file.seek(at)
                first, *lines = (file.read(size) + rest).split(b"\n")
                yield from filter(None, reversed(lines))
                rest = first
            if rest:
                yield rest
    except OSError:
        return


class LogUploads:
    """Carries out the core's commands: one upload at a time. `notify` takes its progress."""

    def __init__(
        self,
        config: LogsConfig,
        folder: Callable[[], Path],
        sources: LogSources,
        *,
        notify: Callable[[Fact], None],
        context: Callable[[], ssl.SSLContext],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config, self._folder, self._sources = config, folder, sources
        self._notify, self._context, self._pause = notify, context, pause
        self._running: tuple[int, asyncio.Task[None], Cancel] | None = None

    def start(self, command: UploadLog) -> None:
        """Upload a log; the previous upload has been cancelled."""
        self.cancel()
        cancel = Cancel()
        task = spawn(self._carry(command, cancel), name="log upload")
        self._running = command.request_id, task, cancel

    def cancel(self, request_id: int | None = None) -> None:
        """Cancel the upload in progress, or only this one."""
        if self._running is not None and request_id in (None, self._running[0]):
            _, task, cancel = self._running
            cancel.cancel()
            task.cancel()
            self._running = None

    async def finished(self) -> None:
        """Wait until nothing is in progress."""
        if self._running is not None:
            await asyncio.wait([self._running[1]])

    async def close(self) -> None:
        """Cancel, and wait for the end."""
        running = self._running
        self.cancel()
        if running is not None:
            await asyncio.gather(running[1], return_exceptions=True)

    async def _carry(self, command: UploadLog, cancel: Cancel) -> None:
        self._report(command, "Uploading")
        file = self._folder() / command.filename
        try:
            await asyncio.to_thread(self._pack, command, file)
            await self._send(command, file, cancel)
        except OSError:
            self._report(command, "UploadFailure")
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def _pack(self, command: UploadLog, file: Path) -> None:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        with file.open("wb") as into:
            collect(command, self._sources, self._config, into)

    async def _send(self, command: UploadLog, file: Path, cancel: Cancel) -> None:
        """Try as often as requested (N01.FR.10); permanent failures are not retried."""
        from v2g.io.http.files import upload  # loads the HTTP client, which is rarely needed

        attempts = 1 + (self._config.default_retries if command.retries is None else command.retries)
        status: UploadLogStatus = "UploadFailure"
        redirected = False
        for attempt in range(attempts):
            if attempt:
                await self._pause(command.retry_interval_s)
            try:
                await asyncio.to_thread(
                    upload,
                    command.url,
                    file,
                    command.filename,
                    context=self._context() if command.url.startswith("https:") else None,
                    cancel=cancel,
                    most_s=self._config.timeout_s,
                )
            except TransferError as error:
                status = _STATUS.get(error.failure, "UploadFailure")
                redirected = error.failure == "redirect"
                if error.lasting:
                    break
            else:
                self._report(command, "Uploaded")
                return
        self._report(command, status, redirected=redirected)

    def _report(self, command: UploadLog, status: UploadLogStatus, *, redirected: bool = False) -> None:
        self._notify(LogProgress(request_id=command.request_id, status=status, redirected=redirected))
