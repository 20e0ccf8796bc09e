"""The simulated contactor."""

import asyncio

from tests.virtual_time import VirtualLoop
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.power import Faults, SimulatedContactor


def test_a_contactor_that_was_cut_is_not_seen_closed_again_when_it_is_commanded_open() -> None:
    """The watchdog's thread cuts while the event loop hangs; the charger commands it when the loop runs again."""

    async def scene() -> None:
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

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scene())
