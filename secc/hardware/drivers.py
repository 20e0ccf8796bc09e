"""Drivers of the hardware by kind and name: ours, and those that other distributions install as entry points."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, get_args

import msgspec

from secc.hardware.driver_guard import guarded
from v2g.config import Flaw, Table, without_flaw
from v2g.errors import TransportError, V2GError
from v2g.extras import extras_named
from v2g.hardware.interfaces import BoardParts, CardReader, DriverDisplay, EmergencyOutput, EnergyMeter, StageParts
from v2g.io.entry_points import EntryPointOffer, choose, offers, said
from v2g.io.hardware.driver import GROUP, Driver, DriverContext, Kind, OnFailure, OpenSide, PowerKind, SideKind
from v2g.version import VERSION

_log = logging.getLogger(__name__)

OURS: Final = "v2g-engine"

BUILT_IN: Final[Mapping[tuple[Kind, str], str]] = {
    ("pilot", "simulated"): "secc.hardware.simulated_drivers:PILOT",
    ("pilot", "board"): "v2g.io.hardware.board:DRIVER",
    ("pilot", "linux"): "v2g.io.hardware.linux_board:DRIVER",
    ("stage", "simulated"): "secc.hardware.simulated_drivers:STAGE",
    ("stage", "can"): "v2g.io.hardware.modules:DRIVER",
    ("stage", "infypower"): "v2g.io.hardware.modules:INFYPOWER",
    ("meter", "simulated"): "secc.hardware.simulated_drivers:METER",
    ("meter", "modbus"): "v2g.io.hardware.modbus:DRIVER",
    ("meter", "d0"): "v2g.io.hardware.d0:DRIVER",
    ("emergency", "simulated"): "secc.hardware.simulated_drivers:EMERGENCY",
    ("emergency", "gpio"): "v2g.io.hardware.emergency:DRIVER",
    ("card_reader", "pn532"): "v2g.io.hardware.pn532:DRIVER",
    ("display", "escpos"): "v2g.io.hardware.line_display:DRIVER",
}
"""Kind and name -> the driver. Another one needs a line here; its table is `[hardware.drivers.NAME]`."""

POWER_KINDS: Final[tuple[PowerKind, ...]] = get_args(PowerKind)
KINDS: Final[tuple[Kind, ...]] = (*POWER_KINDS, *get_args(SideKind))

INTERFACES: Final[Mapping[Kind, Any]] = {
    "meter": EnergyMeter,
    "emergency": EmergencyOutput,
    "card_reader": CardReader,
    "display": DriverDisplay,
}
"""What a driver opens, if it is one part."""

_OPENED: Final[Mapping[Kind, type]] = {"pilot": BoardParts, "stage": StageParts}
"""What a driver opens; the guard checks the others."""

OPEN_S: Final = 30.0
CLOSE_S: Final = 5.0
"""Time for a driver to open its part, and to release it."""


@dataclass(frozen=True)
class InstalledDriver(EntryPointOffer[Driver]):
    """A driver that a configuration may name."""

    @property
    def kind(self) -> Kind | None:
        """Its kind, None if it cannot be used."""
        return None if self.part is None else self.part.kind


def find(kind: Kind, name: str) -> Driver:
    """Return the driver of this kind. Raises ConfigError if there is none, or several, or it cannot be imported."""
    if (kind, name) in BUILT_IN:
        return _ours(kind, name)
    named = [
        each if each.kind in (kind, None) else replace(each, part=None, error=f"is a driver for {each.kind!r}")
        for each in _offers(name)
    ]
    return choose("driver", name, named, lambda: (each.name for each in installed() if each.kind == kind))


def installed() -> list[InstalledDriver]:
    """Return all drivers, ours first. Those that cannot be used have an `error`."""
    found = [InstalledDriver(name, OURS, VERSION, _ours(kind, name)) for kind, name in BUILT_IN]
    for each in _offers():
        if (each.kind, each.name) in BUILT_IN:
            each = replace(each, part=None, error=f"has a name of {OURS}: never used")
        found.append(each)
    return found


@contextlib.asynccontextmanager
async def opened(kind: Kind, name: str, config: msgspec.Struct, context: DriverContext) -> AsyncIterator[object]:
    """Open a part. Raises ConfigError or TransportError; leaving raises nothing, and takes at most CLOSE_S."""
    about = f"the driver {name!r} of kind {kind}"
    driver = find(kind, name)
    try:
        with extras_named():
            manager = driver.open(config, context)
            async with asyncio.timeout(OPEN_S):
                part = await manager.__aenter__()
    except V2GError:
        raise
    except TimeoutError:
        raise TransportError(f"{about} has not opened its part within {OPEN_S:g} s") from None
    except Exception as error:  # noqa: BLE001 - whatever a driver of others raises
        _log.exception("%s has failed", about, extra={"of_others": True})
        raise TransportError(f"{about} failed: {said(error)}") from None
    try:
        expected = _OPENED.get(kind, object)
        if not isinstance(part, expected):
            raise TransportError(f"{about} has opened {type(part).__name__}, not {expected.__name__}")
        yield part
    finally:
        try:
            async with asyncio.timeout(CLOSE_S):
                await manager.__aexit__(None, None, None)
        except Exception:  # noqa: BLE001 - the other parts still have to be closed
            _log.exception("%s has not closed its part", about, extra={"of_others": True})


def read_settings(kind: Kind, name: str, table: Table | None) -> tuple[msgspec.Struct | None, list[Flaw]]:
    """Return a driver's configuration from its table, None if it is invalid, and its errors. Raises ConfigError as
    `find` does."""
    return (table or Table({})).read(find(kind, name).config)


def settings_from(kind: Kind, name: str, table: Table | None) -> msgspec.Struct:
    """Return a driver's configuration from its table. Raises ConfigError if it is invalid, and as `find` does."""
    return without_flaw(read_settings(kind, name, table), f"driver {name!r}: ")


def side_opener(kind: SideKind, name: str, table: Table | None, context: DriverContext) -> OpenSide[Any]:
    """Return what opens a part that charging does not need, behind its guard. Raises ConfigError."""
    config = settings_from(kind, name, table)

    @contextlib.asynccontextmanager
    async def open_(failed: OnFailure) -> AsyncIterator[object]:
        async with opened(kind, name, config, context) as part:
            yield guarded(part, INTERFACES[kind], failed)

    return open_


def _ours(kind: Kind, name: str) -> Driver:
    module, _, name = BUILT_IN[kind, name].partition(":")
    driver = getattr(import_module(module), name)
    assert isinstance(driver, Driver)
    return driver


def _offers(name: str | None = None) -> Iterator[InstalledDriver]:
    for each in offers(GROUP, Driver, "a driver", name=name):
        found = InstalledDriver(**vars(each))
        if found.part is not None and found.kind not in KINDS:
            found = replace(found, part=None, error=f"is not a driver of a known kind: {found.kind!r}")
        yield found
