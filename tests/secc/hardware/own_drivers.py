"""Drivers of another distribution, which open what a test has set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from secc.hardware.drivers import POWER_KINDS
from tests.driver_packages import install
from v2g.io.hardware.driver import Driver, DriverContext, PowerKind

PARTS: Final[dict[PowerKind, Any]] = {}
"""What each of them opens."""

CONTEXTS: Final[dict[PowerKind, DriverContext]] = {}
"""What each of them was given last."""


class Settings(msgspec.Struct, frozen=True):
    """They need none."""


def _driver(kind: PowerKind) -> Driver:
    @asynccontextmanager
    async def opens(_: Settings, context: DriverContext) -> AsyncIterator[Any]:
        CONTEXTS[kind] = context
        yield PARTS[kind]

    return Driver(kind, Settings, opens)


DRIVERS: Final = tuple(_driver(each) for each in POWER_KINDS)  # the entry point of the package names it


def install_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install them by the name `own`."""
    install(folder, monkeypatch, {"own": f"{__name__}:DRIVERS"}, {})
