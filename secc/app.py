"""Puts the charger program together, and takes it apart: power off first, back end last."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from secc.archive import Archive, Owner
from secc.charger import Charger, Wires, Wrap, roots
from secc.config import ProgramConfig, load_config
from secc.hardware import BenchEvse, EvseHardware, SimulatedEvse
from secc.meter import SimulatedMeter
from v2g.errors import ConfigError
from v2g.net.clock import Clock
from v2g.net.dc_line import ChargerDcLine
from v2g.net.events import EventLog
from v2g.net.medium import Medium
from v2g.net.plc.pilot import SimulatedChargerPilot
from v2g.net.program import read_config, run
from v2g.pki.credentials import load_credentials


def main(config_path: Path, events: Path | None, *, wrap: Wrap = lambda stream: stream) -> int:
    """Run a charger until SIGTERM or SIGINT; return the exit code."""
    return run(
        lambda: load_config(read_config(config_path), name=str(config_path)),
        lambda config: config.log.level,
        lambda config: _run(config, events or config.log.events, wrap),
    )


async def _run(config: ProgramConfig, events: Path | None, wrap: Wrap) -> int:
    clock = Clock(config.clock)
    observe = EventLog("secc", clock, events)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(observe.close)
        charger = await stack.enter_async_context(assemble(config, clock, observe))
        await charger.serve(wrap)
    return 0


@contextlib.asynccontextmanager
async def assemble(config: ProgramConfig, clock: Clock, observe: EventLog) -> AsyncIterator[Charger]:
    """Build the charger from its configuration and take it apart again: power off first, back end last."""
    async with contextlib.AsyncExitStack() as stack:
        owner = Owner(
            charger=load_credentials(config.tls.chain, config.tls.key),
            meter=load_credentials(config.meter.chain, config.meter.key),
            roots=roots(*config.tls.v2g_roots, *config.tls.mo_roots),
        )
        archive = Archive(config.data_dir, owner, clock=clock, observe=observe)
        meter = SimulatedMeter(archive.meter_serial, config.data_dir / "meter")
        stack.callback(meter.close)
        hardware, wires = await _output(config, meter, clock, stack)
        charger = Charger(config, clock, observe, owner, archive, meter, hardware, wires)
        if config.station is not None:
            stack.push_async_callback(charger.connect_station())
        else:
            archive.recover(meter, lambda _session, _lines: None)
        stack.push_async_callback(hardware.close)
        yield charger


async def _output(
    config: ProgramConfig, meter: SimulatedMeter, clock: Clock, stack: contextlib.AsyncExitStack
) -> tuple[EvseHardware, Wires | None]:
    """Return the power electronics, and the wires that a bench does not have."""
    if config.hardware.backend == "bench":
        if config.link.slac is not None:
            raise ConfigError("link.slac needs a control pilot", hint="a bench has none: leave [link.slac] out")
        return BenchEvse(meter, clock, config.hardware.simulated), None
    if config.link.medium is None:
        raise ConfigError(
            "link.medium is missing", hint='name the folder of the simulated wires, or set hardware.backend = "bench"'
        )
    medium = await Medium.attach(config.link.medium, config.link.name)
    stack.callback(medium.close)
    hardware = SimulatedEvse(ChargerDcLine(medium), meter, clock, config.hardware.simulated)
    return hardware, Wires(medium, SimulatedChargerPilot(medium))
