"""Runs the contract test of a driver; simulated surroundings for simulated drivers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec

from secc.hardware.driver_guard import guarded
from secc.hardware.drivers import INTERFACES, opened
from v2g.errors import V2GError
from v2g.hardware import interfaces
from v2g.iec61851.pilot import PilotState
from v2g.io.hardware.driver import DriverContext, Kind
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.lines import VehicleDcLine
from v2g.io.simulation.medium import Room
from v2g.io.simulation.power import Faults, SimulatedContactor, Simulation
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.driver_cases import Bench, DriverCase, Failed, Inapplicable


class DriverTester:
    """Runs cases in sequence, each with a part of its own."""

    def __init__(self, kind: Kind, name: str, config: msgspec.Struct, bench: Bench, context: DriverContext) -> None:
        self._kind, self._name, self._config, self._bench, self._context = kind, name, config, bench, context

    async def run(self, case: DriverCase) -> Result:
        """Run a case and evaluate it."""
        loop = asyncio.get_running_loop()
        began, wrong = loop.time(), list[str]()

        @contextlib.asynccontextmanager
        async def open_() -> AsyncIterator[object]:
            async with opened(self._kind, self._name, self._config, self._context) as part:
                yield _guarded(self._kind, part, wrong)

        verdict, found = Verdict.INCONCLUSIVE, case.obstacle(self._bench)
        if not found:
            try:
                verdict, found = Verdict.PASS, await case.check(open_, self._bench)
            except Inapplicable as why:
                verdict, found = Verdict.NOT_APPLICABLE, str(why)
            except (Failed, V2GError) as why:
                verdict, found = Verdict.FAIL, str(why)
            if wrong and verdict is Verdict.PASS:
                verdict, found = Verdict.FAIL, wrong[0]
        return Result(case=case.case.id, verdict=verdict, found=found, seconds=round(loop.time() - began, 3))


def _guarded(kind: Kind, part: object, wrong: list[str]) -> object:
    """Return a part as the charger has it; what the driver fails to do is added to `wrong`."""
    match part:
        case interfaces.BoardParts():
            pilot = None if part.pilot is None else guarded(part.pilot, interfaces.ChargerPilot, wrong.append)
            contactor = guarded(part.contactor, interfaces.Contactor, wrong.append)
            return interfaces.BoardParts(
                pilot, contactor, guarded(part.cabinet, interfaces.Cabinet, wrong.append), part.self_test
            )
        case interfaces.StageParts():
            stage = guarded(part.stage, interfaces.PowerStage, wrong.append)
            return interfaces.StageParts(
                stage, guarded(part.isolation, interfaces.IsolationMonitor, wrong.append), part.isolation_test
            )
    return guarded(part, INTERFACES[kind], wrong.append)


@contextlib.asynccontextmanager
async def simulated(bench: Bench, clock: Clock) -> AsyncIterator[tuple[Bench, DriverContext]]:
    """Join simulated parts with a simulated vehicle, whose battery is the load."""
    room = Room()
    car = room.attach("evcc")
    pilot, line, faults = SimulatedVehiclePilot(car), VehicleDcLine(car), Faults((), clock)
    contactor = SimulatedContactor(faults)
    contactor.set(closed=True)
    if bench.load_mv is not None:
        line.publish(bench.load_mv, contactor_closed=True, max_charge_ma=1_000_000, max_discharge_ma=1_000_000)

    async def vehicle(state: PilotState) -> None:
        if not pilot.plugged:
            pilot.plug()
        pilot.set_state(state)

    simulation = Simulation(faults=faults, medium=room.attach("evse"), serial="TEST")
    yield replace(bench, vehicle=vehicle), DriverContext(clock=clock, contactor=contactor, simulation=simulation)
    faults.close()
