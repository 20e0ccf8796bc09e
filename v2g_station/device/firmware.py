"""Firmware updates of the charger: downloaded, written into the other slot, tried, confirmed or rolled back (L01, L02).

The core decides and reports to the CSMS; this carries out its commands, one at a time. Progress is in `update.json`
before the next step, so that a start after `kill -9` at any point finds the actual state.
"""

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import InstallError, StoreError, TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.ota.installer import Argv, Installer
from v2g.io.ota.opening import InstallerConfig
from v2g.io.ota.releases import Releases
from v2g.io.runtime.supervision import spawn
from v2g.io.storage.journal_file import sync_directory
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.firmware import FirmwareStatus
from v2g.ota.release import RepositoryConfig
from v2g.ota.window import parse_window
from v2g.pki.keys import save_secret
from v2g_station.blocks.firmware import (
    Activate,
    CancelFirmware,
    ConfirmInstall,
    DownloadFirmware,
    FirmwareProgress,
    Install,
)

MIB: Final = 1024 * 1024
PART: Final = ".image."
"""Prefix of incomplete images."""


MOST_TRIES: Final = 3
"""How often a step interrupted by a restart is repeated before the update fails."""


Phase = Literal["installing", "activating", "activated", "trial", "rolling_back"]


class UpdateConfig(InstallerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How new firmware is installed (L01): one of `rauc`, `commands`, `slots` and `installer`. Signatures of images
    must lead to `manufacturer_roots`, or to a root that the CSMS has installed for that use."""

    manufacturer_roots: tuple[Path, ...] = ()
    """Root certificates of firmware, PEM."""
    folder: Path | None = None
    """Folder of images and the state of an update; default: `firmware` beside `store`."""
    most_mib: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    """Largest image, MiB."""
    download_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """Time limit of one download attempt."""
    releases: RepositoryConfig | None = None
    """The repository that lists what may be installed; none: the signature of OCPP alone counts."""
    window: Annotated[str, Meta(max_length=11, examples=["22:00-06:00"])] = "22:00-06:00"
    """Local time (ClockCtrlr.TimeZone) at which updates are installed that the CSMS gives no time for; from a time to
    the same: always (R138)."""
    confirm_s: Annotated[float, Meta(gt=0, le=86_400)] = 50.0
    """Time within which the CSMS must accept a charger with new firmware; else the old one is restored (R135)."""

    def __post_init__(self) -> None:
        """Require exactly one way, and a valid window."""
        InstallerConfig.__post_init__(self)
        parse_window(self.window)


class FirmwareState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an update. `old` is the slot that was running before, `tries` how often this phase was entered,
    `boot_id` identifies the machine's boot at that time, `back` are the commands for `deploy/trial.py`."""

    request_id: int
    phase: Phase
    old: str
    tries: int = 1
    boot_id: str = ""
    back: tuple[Argv, ...] = ()


class FirmwareDevice:
    """Carries out the commands of `v2g_station.blocks.firmware`. `notify` takes progress, `accepted` returns an event
    set while the CSMS has accepted this station."""

    def __init__(
        self,
        config: UpdateConfig,
        folder: Callable[[], Path],
        installer: Installer,
        *,
        notify: Callable[[Fact], None],
        accepted: Callable[[], asyncio.Event],
        context: Callable[[], ssl.SSLContext],
        observe: Callable[[Observe], None],
        boot_id: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config, self._folder, self._installer = config, folder, installer
        self._notify, self._accepted, self._context, self._pause = notify, accepted, context, pause
        self._observe, self._boot_id = observe, boot_id
        self._first = True
        self._releases: Releases | None = None
        if config.releases is not None:
            self._releases = Releases(config.releases, folder, context, installer.image, observe)
        self._running: tuple[asyncio.Task[None], Cancel] | None = None

    def start(self) -> None:
        """Confirm what runs, unless it is on trial: boot loaders count the starts of firmware that nobody confirms."""
        if self._running is None and not (self._folder() / "update.json").exists():
            self._begin(self._keep)

    def command(self, command: DownloadFirmware | Install | Activate | ConfirmInstall | CancelFirmware) -> None:
        """Start to carry out a command."""
        match command:
            case DownloadFirmware():
                cancel = Cancel()
                self._begin(lambda: self._download(command, cancel), cancel)
            case Install():
                self._begin(lambda: self._install(command))
            case Activate():
                self._begin(lambda: self._activate(command.request_id))
            case ConfirmInstall():
                self._begin(lambda: self._settle(command.request_id))
            case CancelFirmware():
                self.cancel()

    def cancel(self) -> None:
        """Cancel what is in progress."""
        if self._running is not None:
            task, cancel = self._running
            cancel.cancel()
            task.cancel()
            self._running = None

    async def close(self) -> None:
        """Cancel, and wait for the end: the next start continues."""
        running = self._running
        self.cancel()
        if running is not None:
            await asyncio.gather(running[0], return_exceptions=True)

    async def finished(self) -> None:
        """Wait until nothing is in progress."""
        while self._running is not None and not self._running[0].done():
            await asyncio.wait([self._running[0]])

    def _begin(self, work: Callable[[], Awaitable[None]], cancel: Cancel | None = None) -> None:
        self.cancel()
        self._running = spawn(self._guard(work), name="firmware"), cancel or Cancel()

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a step and report its failure as an OCPP status."""
        try:
            await work()
        except (StoreError, OSError) as error:
            verification = isinstance(error, InstallError) and error.verification
            self._note("step_failed", error=str(error)[:200])
            self._end("InstallVerificationFailed" if verification else "InstallationFailed")

    # -- download

    async def _download(self, command: DownloadFirmware, cancel: Cancel) -> None:
        image = self._folder() / "image"
        if self._first:
            self._first = False
            for part in self._folder().glob(f"{PART}*"):
                part.unlink(missing_ok=True)  # left by a kill
        attempts = 1 + (2 if command.retries is None else command.retries)
        for attempt in range(attempts):
            if attempt:
                await self._pause(command.retry_interval_s)
            try:
                digest = await asyncio.to_thread(self._fetch, command.url, image, cancel)
            except TransferError as error:
                self._note("download_failed", error=str(error)[:200], attempt=attempt + 1)
                if error.lasting:
                    break
            except (StoreError, OSError) as error:
                if isinstance(error, InstallError) and error.verification:
                    self._note("release_refused", error=str(error)[:200])
                    self._notify(FirmwareProgress(status="InvalidSignature", reason=str(error)[:200]))
                    return
                self._note("download_failed", error=str(error)[:200], attempt=attempt + 1)
                break
            else:
                self._report("Downloaded", digest)
                return
        self._report("DownloadFailed")

    def _fetch(self, url: str, image: Path, cancel: Cancel) -> bytes:
        """Download an image to disk, synced; return its SHA-256."""
        from v2g.io.http.files import download  # loads the HTTP client, which is rarely needed

        if self._releases is not None:
            return self._releases.fetch(url, image, cancel, self._config.download_s)
        context = self._context() if url.startswith("https:") else None
        handle, name = tempfile.mkstemp(prefix=PART, dir=image.parent)  # a cancelled one may still be writing
        part, digest = Path(name), hashlib.sha256()
        try:
            with os.fdopen(handle, "wb") as into:
                download(
                    url,
                    into,
                    most=self._config.most_mib * MIB,
                    most_s=self._config.download_s,
                    context=context,
                    cancel=cancel,
                    each=digest.update,
                )
                into.flush()
                os.fsync(into.fileno())
            cancel.check()
            part.replace(image)
            sync_directory(image.parent)
        finally:
            part.unlink(missing_ok=True)
        return digest.digest()

    # -- installation

    async def _install(self, command: Install) -> None:
        """Write the image with the verified digest, and no other, into the inactive slot."""
        image, tries = self._folder() / "image", _tries(self._load(command.request_id), "installing")
        if tries > MOST_TRIES:
            raise InstallError("the device restarts whenever this image is installed")
        if self._releases is not None:
            self._releases.check(command.digest)
        self._save(command.request_id, "installing", await self._installer.running(), tries)
        if await asyncio.to_thread(_digest_of, image) != command.digest:
            raise InstallError("the image changed after its signature was verified", verification=True)
        await self._installer.confirm()  # if an update could not go back, the other slot still starts by default
        await self._installer.install(image)
        self._report("InstallRebooting")

    async def _activate(self, request_id: int) -> None:
        """Start the other slot."""
        running, tries = await self._installer.running(), _tries(self._load(request_id), "activating", "activated")
        if tries > MOST_TRIES:
            raise InstallError("the other slot cannot be started")
        self._save(request_id, "activating", running, tries)
        await self._installer.activate()  # the device may restart at any moment from here on
        self._save(request_id, "activated", running, tries)

    async def _settle(self, request_id: int) -> None:
        """Determine the state of an update after a restart, and complete it."""
        state, running = self._load(request_id), await self._installer.running()
        if state is None:
            raise InstallError("no state of this update is stored")
        if running != state.old and state.phase != "rolling_back":
            await self._try(state)
        elif running != state.old:
            await self._roll_back(state)
        elif state.phase == "activating" or (state.phase == "activated" and state.boot_id == self._boot_id):
            await self._activate(request_id)  # the machine has not restarted yet
        else:
            self._note("fell_back", slot=running)
            await self._keep()
            self._end("InstallationFailed")

    async def _keep(self) -> None:
        try:
            await self._installer.confirm()
        except (InstallError, OSError) as error:
            self._note("step_failed", error=str(error)[:200])

    async def _try(self, state: FirmwareState) -> None:
        """Confirm the running new firmware once the CSMS has accepted the station."""
        tries = _tries(state, "trial")
        if tries > MOST_TRIES:
            await self._roll_back(state)
            return
        self._save(state.request_id, "trial", state.old, tries, state.back)
        try:
            async with asyncio.timeout(self._config.confirm_s):
                await self._accepted().wait()
            await self._installer.confirm()
            if self._releases is not None:
                self._releases.keep_installed()
        except TimeoutError:
            self._note("not_accepted", seconds=self._config.confirm_s)
            await self._roll_back(state)
        except (InstallError, OSError) as error:
            self._note("step_failed", error=str(error)[:200])
            await self._roll_back(state)
        else:
            self._end("Installed")

    async def _roll_back(self, state: FirmwareState) -> None:
        tries = _tries(state, "rolling_back")
        if tries > MOST_TRIES:
            raise InstallError("the old firmware cannot be started")
        self._save(state.request_id, "rolling_back", state.old, tries, state.back)
        await self._installer.roll_back()

    # -- state and reports

    def _load(self, request_id: int) -> FirmwareState | None:
        """Return the state of this update; None if unreadable or another one's."""
        try:
            state = typed_json.decode((self._folder() / "update.json").read_bytes(), FirmwareState)
        except (OSError, msgspec.DecodeError):
            return None
        return state if state.request_id == request_id else None

    def _save(self, request_id: int, phase: Phase, old: str, tries: int, back: tuple[Argv, ...] = ()) -> None:
        """Store the state; `back` is the way back that the old firmware has left, if it has."""
        back = back or self._installer.back()
        state = FirmwareState(
            request_id=request_id, phase=phase, old=old, tries=tries, boot_id=self._boot_id, back=back
        )
        save_secret(self._folder() / "update.json", msgspec.json.encode(state))
        self._note("phase", phase=phase, tries=tries)

    def _end(self, status: FirmwareStatus) -> None:
        """Report to the core, which stores it, and only then delete the state."""
        self._report(status)
        with contextlib.suppress(OSError):
            for name in ("update.json", "image"):
                (self._folder() / name).unlink(missing_ok=True)

    def _report(self, status: FirmwareStatus, digest: bytes = b"") -> None:
        self._note("reported", status=status)
        self._notify(FirmwareProgress(status=status, digest=digest))

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("firmware", name, data))


def _tries(state: FirmwareState | None, *phases: Phase) -> int:
    """Return how often one of these phases has been entered, with this time."""
    return state.tries + 1 if state is not None and state.phase in phases else 1


def _digest_of(file: Path) -> bytes:
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").digest()
