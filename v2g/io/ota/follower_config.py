"""Configuration of what follows a repository of releases: gateway, vehicle and back end."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from v2g.io.ota.opening import InstallerConfig
from v2g.ota.release import RepositoryConfig
from v2g.ota.window import parse_window


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
