"""The simulated contactor and stage."""

import asyncio
import itertools

from secc.hardware.simulated import BenchLine
from tests.virtual_time import in_simulated_time, simulated
from v2g.hardware.interfaces import REPORT_S, Demand
from v2g.hardware.simulation import StageConfig
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.power import Faults, SimulatedContactor, SimulatedStage


@simulated
async def test_a_contactor_that_was_cut_is_not_seen_closed_again_when_it_is_commanded_open() -> None:
    """The watchdog's thread cuts while the event loop hangs; the charger commands it when the loop runs again."""
    contactor = SimulatedContactor(Faults((), Clock()), 0.05)
    contactor.set(closed=True)
    await asyncio.sleep(0.1)
    assert contactor.closed
    contactor.cut()
    assert not contactor.closed
    contactor.set(closed=False)
    assert not contactor.closed
    await asyncio.sleep(0.1)
    assert not contactor.closed
    contactor.set(closed=True)
    await asyncio.sleep(0.1)
    assert contactor.closed


def test_a_stage_reports_often_enough_however_often_its_demand_changes() -> None:
    """While nothing flows, as in a charge loop whose limits a grid code moves ten times a second."""

    async def scene() -> list[float]:
        loop, faults, seen = asyncio.get_running_loop(), Faults((), Clock()), list[float]()
        stage = SimulatedStage(BenchLine(), SimulatedContactor(faults, 0.0), faults, Clock(), StageConfig())
        stage.on_report(lambda _: seen.append(loop.time()))
        for turn in range(50):
            stage.drive(Demand(400_000, 1000 + turn))
            await asyncio.sleep(0.1)
        stage.close()
        return seen

    seen = in_simulated_time(scene())
    assert max(b - a for a, b in itertools.pairwise(seen)) <= REPORT_S
    assert seen[-1] - seen[0] > 4
