"""How a configuration says what installs updates, and what it says is opened."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.config import Flaw, Table, without_flaw
from v2g.errors import InstallError
from v2g.io.entry_points import EntryPointOffer, choose, offers, said, settings_flaws
from v2g.io.ota.folder_installer import FolderInstaller
from v2g.io.ota.installer import Argv, CommandInstaller, CommandsConfig, Installer, RaucConfig, RaucInstaller
from v2g.ota.release import RepositoryConfig
from v2g.ota.window import parse_window

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
        slot = await self._step("running")
        if not isinstance(slot, str) or len(slot.split()) != 1:
            raise InstallError(f"running: installer {self._name!r} returned no slot name")
        return slot

    async def install(self, image: Path) -> None:
        await self._step("install", image)

    async def activate(self) -> None:
        await self._step("activate")

    async def confirm(self) -> None:
        await self._step("confirm")

    async def roll_back(self) -> None:
        await self._step("roll_back")

    def image(self) -> Path | None:
        """See Installer. One that fails has none: updates are whole images then."""
        with contextlib.suppress(InstallError), self._failing("image"):
            found = self._own.open(self._settings).image()
            return found if isinstance(found, Path) else None
        return None

    def back(self) -> tuple[Argv, ...]:
        with self._failing("back"):
            return typed_json.convert(self._own.open(self._settings).back(), tuple[Argv, ...])

    async def _step(self, step: str, *arguments: Path) -> object:
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
            _log.exception("the installer %r has failed", self._name, extra={"of_others": True})
            raise InstallError(f"{step}: installer {self._name!r}: {said(error)}") from None


class InstallerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `rauc`, `commands`, `slots` and `installer`."""

    rauc: Annotated[RaucConfig | None, Meta(description="bundles of RAUC")] = None
    commands: Annotated[CommandsConfig | None, Meta(description="the device's own commands")] = None
    slots: Annotated[
        Path | None, Meta(description="folder with two slots, started by trial.py; a restart ends the program")
    ] = None
    installer: Annotated[str | None, Meta(description="installer of the maker, of the group v2g.installers")] = None
    settings: Annotated[Table | None, Meta(description="the installer's keys")] = None

    def __post_init__(self) -> None:
        """Require exactly one way."""
        if sum(each is not None for each in (self.rauc, self.commands, self.slots, self.installer)) != 1:
            raise ValueError("update needs one of rauc, commands, slots and installer")


def installer_flaws(config: InstallerConfig | None, path: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield why an installer of a maker cannot be used, and its invalid keys."""
    if config is not None and (name := config.installer) is not None:
        yield from settings_flaws("installer", lambda: find(name).config, config.settings, path)
    elif config is not None and config.settings is not None:
        yield (*path, "settings"), "is ignored without installer", "set installer"


def open_installer(config: InstallerConfig, *, restart: Callable[[], None]) -> Installer:
    """Return the configured installer; `restart` is what slots in folders have for a restart. Raises ConfigError."""
    if config.rauc is not None:
        return RaucInstaller(config.rauc)
    if config.commands is not None:
        return CommandInstaller(config.commands)
    if config.installer is not None:
        return GuardedInstaller(config.installer, config.settings)
    assert config.slots is not None
    bench = FolderInstaller(config.slots, restart=restart)
    bench.boot()
    return bench


# -- Configuration of what follows a repository of releases: gateway, vehicle and back end ---------------------------


class ReleasesConfig(InstallerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Updates by signed releases (R139): one of `rauc`, `commands`, `slots` and `installer`."""

    releases: Annotated[RepositoryConfig, Meta(description="the repository that lists what may be installed")]
    ca: Annotated[Path | None, Meta(description="CA of the repository's server; none: those of the system")] = None
    window: Annotated[
        str, Meta(max_length=11, description="local time at which they are installed; equal times: always")
    ] = "22:00-06:00"
    confirm_s: Annotated[float, Meta(gt=0, le=86_400, description="time within which new firmware must work, s")] = 50.0
    download_s: Annotated[float, Meta(gt=0, le=86_400, description="time limit of a download, s")] = 3600.0

    def __post_init__(self) -> None:
        """Require exactly one way, and a valid window."""
        InstallerConfig.__post_init__(self)
        parse_window(self.window)


class FollowerConfig(ReleasesConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Updates of a program that runs all the time."""

    every_s: Annotated[float, Meta(ge=1, le=604_800, description="interval of looking for releases, s")] = 3600.0
