"""A payment terminal as the charger's program has it: when it reads cards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.virtual_time import in_simulated_time
from v2g.hardware.zvt.till import JobEnded, ReadCard, RegisterJob, ReserveJob, TillJob
from v2g.io.hardware.zvt_config import ZvtConfig
from v2g.io.runtime.clock import Clock
from v2g_station.device import payment_terminal as module
from v2g_station.device.payment_terminal import PaymentTerminal
from v2g_station.device.terminal_config import TerminalConfig


class Terminal:
    """A terminal that ends each job soon. See ZvtTerminal."""

    idle = True

    def __init__(self, _: Any, __: Any, *, on_ended: Callable[[JobEnded], None], idle: Callable[[], None]) -> None:
        self._ended, self._idle, self.done = on_ended, idle, False
        self.begun: list[float] = []

    def do(self, job: TillJob) -> None:
        if isinstance(job, ReadCard):
            self.begun.append(asyncio.get_running_loop().time())
        asyncio.get_running_loop().call_later(0.01, self.end, job, self.done)

    def end(self, job: TillJob, done: bool) -> None:
        self._ended(JobEnded(job=job, done=done))
        self._idle()

    async def run(self) -> None:
        self.end(RegisterJob(), done=True)
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("rest_s", "first", "least_s"), [(10.0, ReadCard(), 1.0), (0.0, ReadCard(), 1.0), (10.0, ReserveJob(5_000), 10.0)]
)
def test_a_terminal_that_refuses_to_read_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, rest_s: float, first: TillJob, least_s: float
) -> None:
    """As while its program is updated: it was asked thousands of times a second."""
    opened: list[Terminal] = []

    def open_(*parts: Any, **callbacks: Any) -> Terminal:
        opened.append(Terminal(*parts, **callbacks))
        return opened[-1]

    monkeypatch.setattr(module, "ZvtTerminal", open_)

    async def scene() -> list[float]:
        config = TerminalConfig(zvt=ZvtConfig(host="terminal"), rest_s=rest_s)
        terminal = PaymentTerminal(config, Clock(), notify=lambda _: None, observe=lambda _: None)
        began = asyncio.get_running_loop().time()
        terminal.start()
        await asyncio.sleep(0.5)
        (far,) = opened
        if not isinstance(first, ReadCard):
            far.begun.clear()
            began = asyncio.get_running_loop().time()
            far.do(first)
            far.done = True
        await asyncio.sleep(20.0)
        await terminal.close()
        return [each - began for each in far.begun]

    begun = in_simulated_time(scene())
    if isinstance(first, ReadCard):
        assert len(begun) == pytest.approx(20.5 / least_s, abs=1)
    else:
        assert begun[0] == pytest.approx(least_s, abs=0.6)
