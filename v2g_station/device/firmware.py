"""New firmware for the charger: fetched, written into the other slot, tried, confirmed or given up (L01, L02).

The core decides and tells the CSMS; this carries out its commands, one at a time. What has been reached stands in
`update.json` before the step that follows, so that a start after `kill -9` at any place finds out what is true.
"""

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import InstallError, StoreError, TransferError
from v2g.io.http.files import Cancel, download
from v2g.observe import Observe
from v2g.ocpp.messages.firmware import FirmwareStatus
from v2g.pki.keys import save_secret
from v2g_station.blocks.evse import Fact
from v2g_station.blocks.firmware import Activate, CancelFirmware, ConfirmInstall, Download, FirmwareProgress, Install
from v2g_station.device.installer import CommandsConfig, Installer

MIB: Final = 1024 * 1024
PART: Final = ".image."
"""How the names of images begin that have not come whole."""

MOST_TRIES: Final = 3
"""How often a step that a restart has cut off is done again before the update is given up."""


Phase = Literal["installing", "activating", "activated", "trial", "rolling_back"]
_STARTING: Final = ("activating", "activated")


class UpdateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How new firmware gets into the charger (L01). One of `commands` and `slots`; images are signed by whom
    `manufacturer_roots`, or a root that the CSMS has installed for that use, leads to."""

    commands: CommandsConfig | None = None
    """The device's own commands."""
    slots: Path | None = None
    """Folder with two slots as plain folders, for benches: a restart is the end of the program."""
    manufacturer_roots: tuple[Path, ...] = ()
    """Root certificates of firmware, PEM."""
    folder: Path | None = None
    """Where images and the state of an update are kept; default: `firmware` beside `store`."""
    most_mib: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    """Largest image, MiB."""
    download_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """How long an attempt to fetch an image may take."""
    confirm_s: Annotated[float, Meta(gt=0, le=86_400)] = 300.0
    """How soon the CSMS must have accepted a charger that runs new firmware; else the old one comes back."""

    def __post_init__(self) -> None:
        """Want one way."""
        if (self.commands is None) == (self.slots is None):
            raise ValueError("update needs either commands or slots")


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How far an update is. `old` is the slot that was running before, `tries` how often this phase was entered,
    `boot_id` names the machine's start at which that was."""

    request_id: int
    phase: Phase
    old: str
    tries: int = 1
    boot_id: str = ""


class Firmware:
    """Carries out the commands of `v2g_station.blocks.firmware`. `notify` takes progress, `accepted` gives what is set
    while the CSMS has accepted this station."""

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
        self._running: tuple[asyncio.Task[None], Cancel] | None = None

    def command(self, command: Download | Install | Activate | ConfirmInstall | CancelFirmware) -> None:
        """Begin what the core wants."""
        match command:
            case Download():
                cancel = Cancel()
                self._begin(self._download(command, cancel), cancel)
            case Install():
                self._begin(self._install(command))
            case Activate():
                self._begin(self._activate(command.request_id))
            case ConfirmInstall():
                self._begin(self._settle(command.request_id))
            case CancelFirmware():
                self.cancel()

    def cancel(self) -> None:
        """Give up what is under way."""
        if self._running is not None:
            task, cancel = self._running
            cancel.cancel()
            task.cancel()
            self._running = None

    async def close(self) -> None:
        """Give up, and wait for the end of it: the next start goes on."""
        running = self._running
        self.cancel()
        if running is not None:
            await asyncio.gather(running[0], return_exceptions=True)

    async def finished(self) -> None:
        """Return when nothing is under way."""
        while self._running is not None and not self._running[0].done():
            await asyncio.wait([self._running[0]])

    def _begin(self, work: Coroutine[Any, Any, None], cancel: Cancel | None = None) -> None:
        self.cancel()
        self._running = asyncio.get_running_loop().create_task(self._guard(work), name="firmware"), cancel or Cancel()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a step fail in OCPP's words."""
        try:
            await work
        except (StoreError, OSError) as error:
            verification = isinstance(error, InstallError) and error.verification
            self._note("step_failed", error=str(error)[:200])
            self._end("InstallVerificationFailed" if verification else "InstallationFailed")

    # -- fetching

    async def _download(self, command: Download, cancel: Cancel) -> None:
        image = self._folder() / "image"
        if self._first:
            self._first = False
            for part in self._folder().glob(f"{PART}*"):
                part.unlink(missing_ok=True)  # what a kill has left
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
            except OSError as error:
                self._note("download_failed", error=str(error)[:200], attempt=attempt + 1)
                break
            else:
                self._say("Downloaded", digest)
                return
        self._say("DownloadFailed")

    def _fetch(self, url: str, image: Path, cancel: Cancel) -> bytes:
        """Bring an image whole to the disk; return its SHA-256."""
        context = self._context() if url.startswith("https:") else None
        handle, name = tempfile.mkstemp(prefix=PART, dir=image.parent)  # one that is given up may still be writing
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
        finally:
            part.unlink(missing_ok=True)
        return digest.digest()

    # -- installing

    async def _install(self, command: Install) -> None:
        """Write the image that was believed, and no other, into the slot that does not run."""
        before, image = self._load(command.request_id), self._folder() / "image"
        again = before is not None and before.phase == "installing"
        tries = before.tries + 1 if before is not None and again else 1
        if tries > MOST_TRIES:
            raise InstallError("the device restarts whenever this image is installed")
        self._save(command.request_id, "installing", await self._installer.running(), tries)
        if await asyncio.to_thread(_digest_of, image) != command.digest:
            raise InstallError("the image changed after its signature was verified", verification=True)
        await self._installer.install(image)
        self._say("InstallRebooting")

    async def _activate(self, request_id: int) -> None:
        """Start the other slot."""
        before, running = self._load(request_id), await self._installer.running()
        tries = before.tries + 1 if before is not None and before.phase in _STARTING else 1
        if tries > MOST_TRIES:
            raise InstallError("the other slot cannot be started")
        self._save(request_id, "activating", running, tries)
        await self._installer.activate()  # from here on the device may be gone at any moment
        self._save(request_id, "activated", running, tries)

    async def _settle(self, request_id: int) -> None:
        """Find out, after a restart, what has become of an update, and bring it to its end."""
        state, running = self._load(request_id), await self._installer.running()
        if state is None:
            raise InstallError("nothing is known of this update")
        if running != state.old and state.phase != "rolling_back":
            await self._try(state)
        elif running != state.old:
            await self._roll_back(state)
        elif state.phase == "activating" or (state.phase == "activated" and state.boot_id == self._boot_id):
            await self._activate(request_id)  # the machine has not restarted yet
        else:
            self._note("fell_back", slot=running)
            self._end("InstallationFailed")

    async def _try(self, state: State) -> None:
        """The new firmware runs: it is good once the CSMS has accepted it."""
        tries = state.tries + 1 if state.phase == "trial" else 1
        if tries > MOST_TRIES:
            await self._roll_back(state)
            return
        self._save(state.request_id, "trial", state.old, tries)
        try:
            async with asyncio.timeout(self._config.confirm_s):
                await self._accepted().wait()
            await self._installer.confirm()
        except TimeoutError:
            self._note("not_accepted", seconds=self._config.confirm_s)
            await self._roll_back(state)
        except InstallError as error:
            self._note("step_failed", error=str(error)[:200])
            await self._roll_back(state)
        else:
            self._end("Installed")

    async def _roll_back(self, state: State) -> None:
        tries = state.tries + 1 if state.phase == "rolling_back" else 1
        if tries > MOST_TRIES:
            raise InstallError("the old firmware cannot be started")
        self._save(state.request_id, "rolling_back", state.old, tries)
        await self._installer.roll_back()

    # -- what is known, and told

    def _load(self, request_id: int) -> State | None:
        """Return the state of this update; another one's, and an unreadable one, is none."""
        try:
            state = typed_json.decode((self._folder() / "update.json").read_bytes(), State)
        except (OSError, msgspec.DecodeError):
            return None
        return state if state.request_id == request_id else None

    def _save(self, request_id: int, phase: Phase, old: str, tries: int) -> None:
        state = State(request_id=request_id, phase=phase, old=old, tries=tries, boot_id=self._boot_id)
        save_secret(self._folder() / "update.json", msgspec.json.encode(state))
        self._note("phase", phase=phase, tries=tries)

    def _end(self, status: FirmwareStatus) -> None:
        """Tell the core, which keeps it, and only then forget."""
        self._say(status)
        with contextlib.suppress(OSError):
            for name in ("update.json", "image"):
                (self._folder() / name).unlink(missing_ok=True)

    def _say(self, status: FirmwareStatus, digest: bytes = b"") -> None:
        self._notify(FirmwareProgress(status=status, digest=digest))

    def _note(self, name: str, **data: Any) -> None:
        self._observe(Observe("firmware", name, data))


def _digest_of(file: Path) -> bytes:
    with file.open("rb") as read:
        return hashlib.file_digest(read, "sha256").digest()
