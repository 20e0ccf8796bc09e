"""A driver of power hardware, as its maker declares it: an entry point of the group `v2g.hardware` names a `Driver`, or
a tuple of them.

A driver opens one part behind the interfaces of `v2g.hardware.interfaces`. Everything is called in one event loop.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from v2g.hardware.interfaces import Contactor
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.power import Simulation
from v2g.observe import Observe

GROUP: Final = "v2g.hardware"

Kind = Literal["pilot", "stage", "meter"]
"""The keys of `[hardware]` that name a driver, and what it opens: BoardParts, StageParts, EnergyMeter."""


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
    """One driver. `config` is the Struct of its table in the configuration; `open` gets a value of it.

    `open` returns a context manager (`contextlib.asynccontextmanager`): entering it returns the part once it has
    answered, leaving it switches off and releases everything. Raise TransportError for hardware that does not answer,
    ConfigError for a configuration that it cannot follow.
    """

    kind: Kind
    config: type[msgspec.Struct]
    open: Callable[[Any, DriverContext], AbstractAsyncContextManager[Any]]
