"""A till and a simulated ZVT terminal over TCP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from v2g.errors import TransportError
from v2g.hardware.zvt.terminal_sim import Card
from v2g.hardware.zvt.till import JobEnded, RegisterJob, ReserveJob, Settle
from v2g.io.hardware.zvt_config import ZvtConfig
from v2g.io.hardware.zvt_terminal import ZvtSimulator, ZvtTerminal
from v2g.io.runtime.clock import Clock
from v2g_cli.demo.processes import free_port


class Counter:
    """A till at the simulator's port."""

    def __init__(self, port: int) -> None:
        self.on_ended: list[JobEnded] = []
        config = ZvtConfig(host="127.0.0.1", port=port, retry_s=0.01)
        self.terminal = ZvtTerminal(config, Clock(), on_ended=self.on_ended.append, idle=lambda: None)
        self.running = asyncio.create_task(self.terminal.run())

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[ZvtSimulator]:
    found = ZvtSimulator(card=Card(), card_s=0.001)
    await found.open()
    yield found
    await found.close()


async def test_a_payment_over_the_wire_and_over_a_break(simulator: ZvtSimulator, until: Callable[..., Any]) -> None:
    counter = Counter(simulator.port)
    counter.terminal.do(ReserveJob(5_000))  # before the connection stands
    await until(lambda: [each.done for each in counter.on_ended] == [True, True])
    simulator.cut()
    await until(lambda: not counter.terminal.idle)
    counter.terminal.do(Settle("0001", 5_000, 1_234))
    await until(lambda: counter.on_ended[-1].job == Settle("0001", 5_000, 1_234))
    assert simulator.terminal.payments["0001"].taken == 1_234
    await counter.close()


async def test_a_terminal_that_is_not_there_is_reported_and_found_later(until: Callable[..., Any]) -> None:
    port = free_port()
    counter = Counter(port)
    await until(lambda: bool(counter.on_ended))
    assert (counter.on_ended[0].job, counter.on_ended[0].done) == (RegisterJob(), False)
    simulator = ZvtSimulator(port=port)
    await simulator.open()
    with pytest.raises(TransportError):
        await ZvtSimulator(port=port).open()
    await until(lambda: counter.on_ended[-1].done)
    await counter.close()
    await simulator.close()
