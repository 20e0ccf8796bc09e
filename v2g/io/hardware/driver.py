"""A driver of charger hardware, as its maker declares it: an entry point of the group `v2g.hardware` names a `Driver`,
or a tuple of them.

A driver opens one part behind the interfaces of `v2g.hardware.interfaces`. Everything is called in one event loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, TypeVar

import msgspec

from v2g.errors import V2GError
from v2g.hardware.interfaces import Contactor
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import Backoff
from v2g.io.simulation.power import Simulation
from v2g.observe import Observe

GROUP: Final = "v2g.hardware"

Part = TypeVar("Part")

PowerKind = Literal["pilot", "stage", "meter", "emergency"]
"""The keys of `[hardware]` that name a driver, and what it opens: BoardParts, StageParts, EnergyMeter,
EmergencyOutput."""

SideKind = Literal["card_reader", "display"]
"""What charging does not need, of `[[station.card_readers]]` and `[station.display]`: CardReader, DriverDisplay."""

Kind = PowerKind | SideKind

OnFailure = Callable[[str], None]
"""Called with what a driver has done, in a sentence."""

OpenSide = Callable[[OnFailure], AbstractAsyncContextManager[Part]]
"""Opens a part that charging does not need, behind its guard."""

REOPEN_S: Final = 1.0
REOPEN_LONGEST_S: Final = 10.0
"""Pause before a part that charging does not need is opened again: the first one, and the longest."""


@dataclass(frozen=True, kw_only=True)
class DriverContext:
    """What the program gives a driver. `contactor` is that of the output, for a stage; `simulation` joins the parts of
    a simulated charger."""

    clock: Clock
    observe: Callable[[Observe], None] = lambda _: None
    contactor: Contactor | None = None
    simulation: Simulation | None = None


@dataclass(frozen=True)
class Driver:
    """One driver. `config` is the Struct of its table in the configuration; `open` gets a value of it. A power stage
    that cannot take energy from a vehicle is not `bidirectional`: the charger then refuses services that do.

    `open` returns a context manager (`contextlib.asynccontextmanager`): entering it returns the part once it has
    answered, leaving it switches off and releases everything. Raise TransportError for hardware that does not answer,
    ConfigError for a configuration that it cannot follow.

    A `config` may have a property `devices`: names of what only one EVSE can have, such as a serial port.
    """

    kind: Kind
    config: type[msgspec.Struct]
    open: Callable[[Any, DriverContext], AbstractAsyncContextManager[Any]]
    bidirectional: bool = True


async def keep_open(open_: OpenSide[Part], use: Callable[[Part, OnFailure], None], lost: OnFailure) -> NoReturn:
    """Keep a part open that charging does not need. `use` gets it each time, and how to report that it is lost; `lost`
    is called with the reason when it is, or could not be opened."""
    loop = asyncio.get_running_loop()
    backoff = Backoff(REOPEN_S, REOPEN_LONGEST_S)
    while True:
        began = loop.time()
        failed: asyncio.Future[str] = loop.create_future()

        def fail(why: str, failed: asyncio.Future[str] = failed) -> None:
            if not failed.done():
                failed.set_result(why)

        try:
            async with open_(fail) as part:
                use(part, fail)
                lost(await failed)
        except V2GError as error:
            lost(f"{error} ({error.hint})" if error.hint else str(error))
        if loop.time() - began > REOPEN_LONGEST_S:
            backoff.reset()
        await asyncio.sleep(backoff.pause_s())
