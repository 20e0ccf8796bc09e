"""Updates of gateway, vehicle and back end: releases of a repository (TUF) into the other slot (R133, R139, R140).

Each follows the newest release for its hardware by its own connection, within a window of the machine's local time.
New firmware is confirmed once it works, which each program judges in its own way; otherwise the old one runs again, and
that release is not tried any more (R135).
"""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NoReturn

import msgspec

from v2g import typed_json
from v2g.errors import InstallError, StoreError, TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.ota.installer import Installer
from v2g.io.ota.opening import ReleasesConfig, open_installer
from v2g.io.ota.releases import Releases
from v2g.io.storage.journal_file import write_files
from v2g.observe import Observe, Scalar
from v2g.ota.window import parse_window

_MOST_TRIES: Final = 3
"""How often new firmware may start before it has been confirmed, and how often a release whose trial ended without a
verdict, as by a power cut, is tried."""
_ASK_S: Final = 0.5
_STATE: Final = "update.json"


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """A release that is tried: `old` is the slot that ran before, `why` the reason to go back to it, `back` the
    commands for `deploy/trial.py`. `failed`: numbers that did not work here; `silent`: one for each trial that ended
    without a verdict. From `healthy` on it stays: it has worked."""

    phase: Literal["idle", "installing", "trial", "healthy"] = "idle"
    number: int = 0
    old: str = ""
    tries: int = 0
    why: str = ""
    back: tuple[tuple[str, ...], ...] = ()
    failed: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()


Problem = Callable[[], Awaitable[str]]
"""Returns why the program does not work, empty if it does."""

Turn = Callable[[int], Awaitable[bool]]
"""Returns whether the release of that number may be installed now."""


async def _at_once(_number: int) -> bool:
    return True


class Follower:
    """Updates the program that it is part of: `start`, then `settle`, which waits until it works, and `look`; what is
    `installed` changes by a restart only."""

    def __init__(
        self, config: ReleasesConfig, folder: Path, utc_ms: Callable[[], int], observe: Callable[[Observe], None]
    ) -> None:
        """`folder` has images and state. Raises V2GError."""
        self._config, self._folder, self._observe = config, folder, observe
        self._utc_ms = utc_ms
        self._window = parse_window(config.window)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from None
        self._installer: Installer = open_installer(config, restart=lambda: os.kill(os.getpid(), signal.SIGTERM))
        from v2g.io.ota import trusted  # noqa: F401 - a missing extra is named at the start

        self._releases = Releases(
            config.releases,
            lambda: folder,
            lambda: ssl.create_default_context(cafile=config.ca),
            self._installer.image,
            observe,
        )

    async def start(self) -> None:
        """Count a start of what is on trial, and go back after too many: first of all, since the program may fail
        before it can settle that. Raises InstallError, StoreError."""
        state = self._load()
        if state.phase in ("installing", "trial") and await self._installer.running() != state.old:
            self._save(state := msgspec.structs.replace(state, phase="trial", tries=state.tries + 1))
            if state.tries > _MOST_TRIES:
                await self._go_back(state, "it restarts by itself")

    async def on_trial(self) -> bool:
        """Return whether what runs has yet to show that it works. Raises InstallError."""
        state = self._load()
        return state.phase == "trial" and await self._installer.running() != state.old

    async def go_back(self, why: str) -> NoReturn:
        """Return to the old slot from what is on trial: this release has failed. Raises InstallError, StoreError."""
        await self._go_back(self._load(), why)

    async def look(self, turn: Turn = _at_once) -> None:
        """Within the window, install the newest release, unless it runs or has failed here, or it is not its `turn`.

        Raises StoreError.
        """
        if not self._window.is_open(self._utc_ms(), _local):
            return
        state, cancel = self._load(), Cancel()
        if state.phase in ("trial", "healthy"):  # the program has failed before it could settle that
            return
        try:
            release = await asyncio.to_thread(self._releases.newest)
            if release is None or release.facts.number in state.failed or not await turn(release.facts.number):
                return
            number, image = release.facts.number, self._folder / "image"
            url = f"{self._config.releases.url}/targets/{release.name}"
            await asyncio.to_thread(self._releases.fetch, url, image, cancel, self._config.download_s)
            self._note("update_began", number=number)
            old = await self._installer.running()
            self._save(msgspec.structs.replace(state, phase="installing", number=number, old=old, tries=0))
            await self._installer.install(image)
            back = self._installer.back()
            self._save(msgspec.structs.replace(state, phase="trial", number=number, old=old, tries=0, back=back))
            await self._installer.activate()
            await asyncio.Event().wait()  # for the restart
        except (InstallError, TransferError) as error:
            self._note("update_refused", error=str(error)[:200])
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None
        finally:
            cancel.cancel()

    async def settle(self, problem: Problem) -> None:
        """Confirm new firmware once it works, or go back; what is not on trial is confirmed at each start: boot loaders
        count the starts of firmware that nobody confirms. Raises InstallError, StoreError."""
        state = self._load()
        if state.phase == "idle" or await self._installer.running() == state.old:
            try:
                await self._installer.confirm()
            except InstallError as error:
                self._note("step_failed", error=str(error)[:200])
            if state.phase == "installing":
                self._end(state, "")
            elif state.phase != "idle":
                self._ended(state)
            return
        why = "" if state.phase == "healthy" else await self._health(problem)
        if not why:
            self._save(msgspec.structs.replace(state, phase="healthy"))
            why = await self._confirm()
        if why:
            await self._go_back(state, why)
        self._note("update_confirmed", number=state.number)
        self._end(state, "")

    def installed(self) -> Observe:
        """Return the event that says what is installed, for the back end: the kind of hardware, name and number of the
        release that was confirmed last, and the newest one above it that did not work here."""
        name, number = "", 0
        with contextlib.suppress(InstallError):  # looking for releases says why
            name, number = self._releases.installed()
        failed = max((each for each in self._load().failed if each > number), default=None)
        hardware = self._config.releases.hardware
        data: dict[str, Scalar] = {"hardware": hardware, "version": name, "number": number, "failed": failed}
        return Observe("firmware", "installed", data)

    async def _go_back(self, state: _State, why: str) -> NoReturn:
        self._save(msgspec.structs.replace(state, why=why[:200]))
        await self._installer.roll_back()
        await asyncio.Event().wait()  # for the restart
        raise AssertionError

    async def _health(self, problem: Problem) -> str:
        """Wait until the program works; return why it does not."""
        why = "it does not work"
        try:
            async with asyncio.timeout(self._config.confirm_s):
                while found := await problem():
                    why = found
                    await asyncio.sleep(_ASK_S)
        except TimeoutError:
            return f"after {self._config.confirm_s:g} s: {why}"
        return ""

    async def _confirm(self) -> str:
        """Confirm the running firmware; return why that is not possible."""
        try:
            await self._installer.confirm()
        except InstallError as error:
            return str(error)
        await asyncio.to_thread(self._releases.keep_installed)
        return ""

    def _ended(self, state: _State) -> None:
        """The old slot runs again. Without a verdict, the release may be tried again, a few times."""
        silent = (*state.silent, state.number)[-_MOST_TRIES:]
        if state.why or silent.count(state.number) >= _MOST_TRIES:
            self._end(state, state.why or "it did not start")
            return
        self._note("update_interrupted", number=state.number)
        self._save(_State(failed=state.failed, silent=silent))

    def _end(self, state: _State, why: str) -> None:
        """A release that has failed is reported, and not tried again."""
        if why:
            self._note("update_failed", number=state.number, reason=why)
        failed = (*state.failed, state.number)[-100:] if why else state.failed
        self._save(_State(failed=failed, silent=state.silent))

    def _load(self) -> _State:
        try:
            return typed_json.decode((self._folder / _STATE).read_bytes(), _State)
        except (OSError, msgspec.DecodeError):
            return _State()

    def _save(self, state: _State) -> None:
        write_files(self._folder, {_STATE: msgspec.json.encode(state)}, private=True)

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("firmware", name, data))


def _local(utc_ms: int) -> int:
    """Return how far the machine's local time is ahead of UTC, ms."""
    ahead = datetime.fromtimestamp(utc_ms / 1000).astimezone().utcoffset()
    assert ahead is not None
    return round(ahead.total_seconds() * 1000)
