"""Firmware for other stations of the site, downloaded once and served from here over HTTP (L03, L04).

Only published files are served, each only under its checksum. The server starts with the first of them.
"""

import asyncio
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.runtime.supervision import new_thread, spawn
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.firmware import PublishFirmwareStatus
from v2g_station.blocks.firmware_publishing import Fetched, Publish, PublishProgress, Unpublish

if TYPE_CHECKING:
    from v2g_station.device.firmware_server import FirmwareServer

MIB: Final = 1024 * 1024


class PublishConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where this charger publishes firmware for other stations of its site (L03), which check its signature."""

    address: str = "0.0.0.0"  # noqa: S104  # for others on the site
    """Where to listen."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8180
    """TCP port to listen at; 0 takes a free one."""
    url: str = ""
    """Its URL for others, `http://HOST:PORT`; optional if `address` is specific."""
    folder: Path | None = None
    """Folder of the files; default: `published` beside `store`."""
    most_mib: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    """Largest file, MiB."""
    most_clients: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Maximum number of connections; others are rejected."""

    def __post_init__(self) -> None:
        """Require an address that others can use."""
        if not self.url and self.address in ("0.0.0.0", "::", ""):  # noqa: S104
            raise ValueError("publish needs url, because address is not a specific one")


class Publisher:
    """Carries out the commands of `v2g_station.blocks.firmware_publishing`. `notify` takes progress."""

    def __init__(
        self,
        config: PublishConfig,
        folder: Callable[[], Path],
        *,
        notify: Callable[[Fact], None],
        context: Callable[[], ssl.SSLContext],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config, self._folder, self._notify = config, folder, notify
        self._context, self._pause = context, pause
        self._tasks: dict[str, tuple[asyncio.Task[None], Cancel]] = {}
        self._server: FirmwareServer | None = None
        self._thread: threading.Thread | None = None

    def command(self, command: Publish | Unpublish) -> None:
        """Start to carry out a command."""
        match command:
            case Publish(checksum=checksum):
                cancel = Cancel()
                work = self._publish(command, cancel)
                self._tasks[checksum] = spawn(work, name="publish"), cancel
            case Unpublish(checksum=checksum):
                if self._server is not None:
                    self._server.found.pop(checksum, None)
                with contextlib.suppress(OSError):
                    (self._folder() / checksum).unlink(missing_ok=True)

    async def finished(self) -> None:
        """Wait until no publication is in progress."""
        for task, _ in list(self._tasks.values()):
            await asyncio.wait([task])

    async def close(self) -> None:
        """Cancel what is in progress, and stop serving."""
        for task, cancel in self._tasks.values():
            cancel.cancel()
            task.cancel()
        await asyncio.gather(*(task for task, _ in self._tasks.values()), return_exceptions=True)
        if self._server is not None and self._thread is not None:
            server, self._server = self._server, None
            await asyncio.to_thread(server.shutdown)
            self._thread.join()
            server.server_close()

    async def _publish(self, command: Publish, cancel: Cancel) -> None:
        report = partial(self._report, command.checksum)
        try:
            file = self._folder() / command.checksum
            if not await asyncio.to_thread(_has, file, command.checksum):
                report("Downloading")
                digest = await self._fetch(command, file, cancel)
                if digest is None:
                    report("DownloadFailed")
                    return
                report("Downloaded")
                if digest != command.checksum:  # L03.FR.02, .07
                    await asyncio.to_thread(file.unlink, missing_ok=True)
                    report("InvalidChecksum")
                    return
                report("ChecksumVerified")
            server = self._serving()
            server.found[command.checksum] = file
        except OSError:
            report("PublishFailed")  # L03.FR.08
            return
        self._notify(PublishProgress(checksum=command.checksum, status="Published", locations=(self._url(command),)))

    async def _fetch(self, command: Publish, file: Path, cancel: Cancel) -> str | None:
        """Download the file to disk; return its checksum, None if it is not available."""
        for attempt in range(1 + (2 if command.retries is None else command.retries)):
            if attempt:
                await self._pause(command.retry_interval_s)
            try:
                return await asyncio.to_thread(self._download, command.url, file, cancel)
            except TransferError as error:
                if error.lasting:
                    break
        return None

    def _download(self, url: str, file: Path, cancel: Cancel) -> str:
        from v2g.io.http.files import download  # loads the HTTP client, which is rarely needed

        digest, part = hashlib.md5(usedforsecurity=False), file.with_suffix(".part")
        try:
            with part.open("wb") as into:
                context = self._context() if url.startswith("https:") else None
                most = self._config.most_mib * MIB
                download(url, into, most=most, context=context, cancel=cancel, each=digest.update)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest()

    def _serving(self) -> "FirmwareServer":
        """Return the server, starting it if necessary. Raises OSError."""
        if self._server is None:
            loop = asyncio.get_running_loop()

            def fetching(checksum: str, count: int) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._notify, Fetched(checksum=checksum, count=count))

            from v2g_station.device.firmware_server import FirmwareServer  # imports the standard library's server

            config = self._config
            self._server = FirmwareServer(config.address, config.port, config.most_clients, fetching)
            self._thread = new_thread(target=partial(self._server.serve_forever, 0.2), name="firmware server")
            self._thread.start()
        return self._server

    def _url(self, command: Publish) -> str:
        """Return the URL of a file for others (L03.FR.04)."""
        assert self._server is not None
        host, port = self._config.address, self._server.server_port
        base = self._config.url.rstrip("/") or f"http://{f'[{host}]' if ':' in host else host}:{port}"
        return f"{base}/firmware/{command.checksum}"

    def _report(self, checksum: str, status: PublishFirmwareStatus) -> None:
        self._notify(PublishProgress(checksum=checksum, status=status))


def _has(file: Path, checksum: str) -> bool:
    """Return whether a file is complete: it may have been downloaded before a restart."""
    try:
        with file.open("rb") as read:
            return hashlib.file_digest(read, partial(hashlib.md5, usedforsecurity=False)).hexdigest() == checksum
    except OSError:
        return False
