"""What files of a station's configuration hold: its password at the back end, and the version of its firmware."""

from collections.abc import Mapping
from typing import Final

from secc.station.config import StationConfig
from v2g.errors import ConfigError
from v2g.pki.keys import read_secret
from v2g.version import VERSION
from v2g_station.blocks.settings import MOST_VERSION

PASSWORD_VARIABLE: Final = "V2G_STATION_PASSWORD"  # noqa: S105 - a variable's name


def password_of(config: StationConfig, environment: Mapping[str, str]) -> str:
    """Return the station's initial password at its CSMS; empty without one.

    Raises KeyAccessError for an unusable file, ConfigError for an invalid password.
    """
    if config.password_file is not None:
        where = str(config.password_file)
        found = read_secret(config.password_file).decode(errors="replace").removesuffix("\n")
    else:
        where, found = PASSWORD_VARIABLE, environment.get(PASSWORD_VARIABLE, "")
        if not found:
            return ""
    if not (_LEAST <= len(found) <= _MOST and found.isprintable()):
        what = f"a password of {len(found)} characters, or with unprintable ones"
        raise ConfigError(
            f"{where}: {what}", hint=f"use {_LEAST} to {_MOST} characters on one line, as set at the CSMS"
        )
    return found


_LEAST, _MOST = 16, 64
"""Minimum and maximum length of BasicAuthPassword (A00.FR.205)."""


def running_firmware(config: StationConfig) -> str:
    """Return the version of the running firmware: from a file of its image, else as configured, else our own.

    Raises ConfigError for an unreadable file.
    """
    if config.firmware_file is None:
        return config.firmware or VERSION
    try:
        lines = config.firmware_file.read_text().strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config.firmware_file}: {error}", hint="see station.firmware_file") from None
    if not lines or len(lines[0]) > MOST_VERSION:
        raise ConfigError(
            f"{config.firmware_file} contains no version", hint="its first line must be the firmware's version"
        )
    return lines[0]
