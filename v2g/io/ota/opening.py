"""How a configuration says what installs updates, and what it says is opened."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from v2g.config import Flaw, Table
from v2g.io.entry_points import settings_flaws
from v2g.io.ota.folder_installer import FolderInstaller
from v2g.io.ota.installer import CommandInstaller, CommandsConfig, Installer, RaucConfig, RaucInstaller
from v2g.io.ota.own_installer import GuardedInstaller, find
from v2g.ota.release import RepositoryConfig
from v2g.ota.window import parse_window


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
