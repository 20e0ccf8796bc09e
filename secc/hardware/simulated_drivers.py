"""Drivers of the simulated parts, which a `Simulation` joins."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from secc.hardware.meter import SimulatedMeter
from secc.hardware.simulated import SimulatedEvseConfig
from v2g.hardware.interfaces import BoardParts, StageParts
from v2g.io.hardware.driver import Driver, DriverContext
from v2g.io.hardware.emergency import OUTPUT, SimulatedEmergencyOutput
from v2g.io.plc.pilot import SimulatedChargerPilot
from v2g.io.simulation import power
from v2g.io.simulation.lines import ChargerDcLine


@asynccontextmanager
async def _pilot(config: SimulatedEvseConfig, context: DriverContext) -> AsyncIterator[BoardParts]:
    with_ = _simulation(context)
    pilot = None
    if with_.plug:
        pilot = SimulatedChargerPilot(with_.wires("the control pilot"), connector=with_.connector)
    cabinet = power.SimulatedCabinet(with_.faults, context.clock, with_.current_ma, latch=config.latch)
    with closing(power.SimulatedContactor(with_.faults, config.contactor_s)) as contactor:
        phases = power.SimulatedPhaseSwitch(contactor, with_.lines) if config.phase_switch and with_.lines else None
        yield BoardParts(pilot, contactor, cabinet, phases=phases)


@asynccontextmanager
async def _stage(config: SimulatedEvseConfig, context: DriverContext) -> AsyncIterator[StageParts]:
    with_ = _simulation(context)
    assert context.contactor is not None
    line = ChargerDcLine(with_.wires("the DC line"), connector=with_.connector)
    made = power.SimulatedStage(line, context.contactor, with_.faults, context.clock, config.stage)
    with closing(made) as stage:
        isolation = power.SimulatedIsolation(with_.faults, config.insulation_ohm, config.cable_check_s)
        yield StageParts(stage, isolation, isolation.self_test)


@asynccontextmanager
async def _meter(_: SimulatedEvseConfig, context: DriverContext) -> AsyncIterator[SimulatedMeter]:
    with_ = _simulation(context)
    path = None if with_.folder is None else with_.folder / "meter"
    with closing(SimulatedMeter(with_.serial, path, now_ms=context.clock.elapsed_ms, keys=with_.keys)) as meter:
        meter.obey(with_.faults)
        yield meter


@asynccontextmanager
async def _emergency(_: SimulatedEvseConfig, context: DriverContext) -> AsyncIterator[SimulatedEmergencyOutput]:
    folder = _simulation(context).folder
    yield SimulatedEmergencyOutput(None if folder is None else folder / OUTPUT)


def _simulation(context: DriverContext) -> power.Simulation:
    assert context.simulation is not None  # the program and the contract test give one
    return context.simulation


PILOT = Driver("pilot", SimulatedEvseConfig, _pilot)
STAGE = Driver("stage", SimulatedEvseConfig, _stage)
METER = Driver("meter", SimulatedEvseConfig, _meter)
EMERGENCY = Driver("emergency", SimulatedEvseConfig, _emergency)
