"""An installer of a device's maker: an entry point of the group `v2g.installers` names an `OwnInstaller`."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g import typed_json
from v2g.config import Table, without_flaw
from v2g.errors import InstallError
from v2g.io.entry_points import EntryPointOffer, choose, offers, said
from v2g.io.ota.installer import Argv, Installer

GROUP: Final = "v2g.installers"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnInstaller:
    """`config` is the Struct of its settings; `open` gets a value of it, and returns the installer, for one step: the
    next may follow a restart. Everything but `image` is called in the program's event loop, which it must not block. A
    step that takes longer than `timeout_s` has failed."""

    config: type[msgspec.Struct]
    open: Callable[[Any], Installer]
    timeout_s: float = 900.0


def find(name: str) -> OwnInstaller:
    """Return the installer of this name. Raises ConfigError if there is none, or several, or it cannot be imported."""
    return choose("installer", name, list(_offers(name)), lambda: (each.name for each in _offers()))


def _offers(name: str | None = None) -> Iterator[EntryPointOffer[OwnInstaller]]:
    return offers(GROUP, OwnInstaller, "an installer", name=name)


class GuardedInstaller:
    """An installer of a maker: whatever it raises or returns, a step ends well or with InstallError. See Installer."""

    def __init__(self, name: str, settings: Table | None) -> None:
        """Raises ConfigError."""
        self._name, self._own = name, find(name)
        self._settings = without_flaw((settings or Table({})).read(self._own.config), f"installer {name!r}: ")

    async def running(self) -> str:
        """See Installer."""
        slot = await self._step("running")
        if not isinstance(slot, str) or len(slot.split()) != 1:
            raise InstallError(f"running: installer {self._name!r} returned no slot name")
        return slot

    async def install(self, image: Path) -> None:
        """See Installer."""
        await self._step("install", image)

    async def activate(self) -> None:
        """See Installer."""
        await self._step("activate")

    async def confirm(self) -> None:
        """See Installer."""
        await self._step("confirm")

    async def roll_back(self) -> None:
        """See Installer."""
        await self._step("roll_back")

    def image(self) -> Path | None:
        """See Installer. One that fails has none: updates are whole images then."""
        with contextlib.suppress(InstallError), self._failing("image"):
            found = self._own.open(self._settings).image()
            return found if isinstance(found, Path) else None
        return None

    def back(self) -> tuple[Argv, ...]:
        """See Installer."""
        with self._failing("back"):
            return typed_json.convert(self._own.open(self._settings).back(), tuple[Argv, ...])

    async def _step(self, step: str, *arguments: Path) -> Any:
        with self._failing(step):
            async with asyncio.timeout(self._own.timeout_s):
                return await getattr(self._own.open(self._settings), step)(*arguments)

    @contextlib.contextmanager
    def _failing(self, step: str) -> Iterator[None]:
        try:
            yield
        except InstallError:
            raise
        except TimeoutError:
            raise InstallError(f"{step}: installer {self._name!r} did not finish in time") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others
            _log.exception("the installer %r has failed", self._name)
            raise InstallError(f"{step}: installer {self._name!r}: {said(error)}") from None
