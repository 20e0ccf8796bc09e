"""Updates of the gateway: releases of a repository (TUF), by its own connection, into the other slot (R139, R140).

The gateway follows the newest release for its hardware, within a window of the machine's local time. New firmware is
confirmed once the back end answers over its uplink; otherwise the old one runs again, and that release is not tried
any more.
"""

import asyncio
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from v2g import typed_json
from v2g.errors import InstallError, StoreError, TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.storage.journal_file import write_files
from v2g.observe import Observe, Scalar
from v2g.ota.window import parse_window
from v2g_gateway.config import UpdateConfig
from v2g_station.device.installer import Installer, open_installer
from v2g_station.device.releases import Releases

_MOST_TRIES: Final = 3
"""How often new firmware may start before it has been confirmed."""
_ASK_S: Final = 0.5
_STATE: Final = "update.json"


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """A release that is tried: `old` is the slot that ran before, `why` the reason to go back to it. `failed`: numbers
    that did not work here. From `healthy` on it stays: the back end has answered."""

    phase: Literal["idle", "installing", "trial", "healthy"] = "idle"
    number: int = 0
    old: str = ""
    tries: int = 0
    why: str = ""
    failed: tuple[int, ...] = ()


class Updater:
    """Updates one gateway; see `run`."""

    def __init__(
        self,
        config: UpdateConfig,
        folder: Path,
        answers: Callable[[], Awaitable[bool]],
        utc_ms: Callable[[], int],
        observe: Callable[[Observe], None],
    ) -> None:
        """`folder` has images and state; `answers` asks the back end, and returns whether it answers."""
        self._config, self._folder, self._answers, self._observe = config, folder, answers, observe
        self._utc_ms = utc_ms
        self._window = parse_window(config.window)
        self._installer: Installer = open_installer(
            config.rauc, config.commands, config.slots, restart=lambda: os.kill(os.getpid(), signal.SIGTERM)
        )
        from v2g.io.ota import trusted  # noqa: F401 - a missing extra is named at the start

        self._releases = Releases(
            config.releases,
            lambda: folder,
            lambda: ssl.create_default_context(cafile=config.ca),
            self._installer.image,
            observe,
        )

    async def run(self) -> None:
        """Settle what was tried, then look for releases, for ever. Raises StoreError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._settle()
        while True:
            if self._window.is_open(self._utc_ms(), _local):
                await self._look()
            await asyncio.sleep(self._config.every_s)

    async def _look(self) -> None:
        """Install the newest release, unless it runs or has failed here."""
        state, cancel = self._load(), Cancel()
        try:
            release = await asyncio.to_thread(self._releases.newest)
            if release is None or release.facts.number in state.failed:
                return
            number, image = release.facts.number, self._folder / "image"
            url = f"{self._config.releases.url}/targets/{release.name}"
            await asyncio.to_thread(self._releases.fetch, url, image, cancel, self._config.download_s)
            self._note("update_began", number=number)
            old = await self._installer.running()
            self._save(msgspec.structs.replace(state, phase="installing", number=number, old=old, tries=0))
            await self._installer.install(image)
            self._save(msgspec.structs.replace(state, phase="trial", number=number, old=old, tries=0))
            await self._installer.activate()
            await asyncio.Event().wait()  # for the restart
        except (InstallError, TransferError) as error:
            self._note("update_refused", error=str(error)[:200])
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None
        finally:
            cancel.cancel()

    async def _settle(self) -> None:
        """Confirm new firmware once the back end answers, or go back; what is not on trial is confirmed at each start:
        boot loaders count the starts of firmware that nobody confirms."""
        state = self._load()
        if state.phase == "idle" or await self._installer.running() == state.old:
            try:
                await self._installer.confirm()
            except InstallError as error:
                self._note("step_failed", error=str(error)[:200])
            if state.phase != "idle":
                self._end(state, "" if state.phase == "installing" else state.why or "it did not start")
            return
        state, why = msgspec.structs.replace(state, tries=state.tries + 1), ""
        if state.phase != "healthy":
            self._save(state := msgspec.structs.replace(state, phase="trial"))
            why = "it restarts by itself" if state.tries > _MOST_TRIES else await self._health()
        if not why:
            self._save(msgspec.structs.replace(state, phase="healthy"))
            why = await self._confirm()
        if why:
            self._save(msgspec.structs.replace(state, why=why[:200]))
            await self._installer.roll_back()
            await asyncio.Event().wait()  # for the restart
        self._note("update_confirmed", number=state.number)
        self._end(state, "")

    async def _health(self) -> str:
        """Wait for the back end's answer; return why there is none."""
        try:
            async with asyncio.timeout(self._config.confirm_s):
                while not await self._answers():
                    await asyncio.sleep(_ASK_S)
        except TimeoutError:
            return f"the back end does not answer within {self._config.confirm_s:g} s"
        return ""

    async def _confirm(self) -> str:
        """Confirm the running firmware; return why that is not possible."""
        try:
            await self._installer.confirm()
        except InstallError as error:
            return str(error)
        await asyncio.to_thread(self._releases.keep_installed)
        return ""

    def _end(self, state: _State, why: str) -> None:
        """A release that has failed is reported, and not tried again."""
        if why:
            self._note("update_failed", number=state.number, reason=why)
        self._save(_State(failed=(*state.failed, state.number)[-100:] if why else state.failed))

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
