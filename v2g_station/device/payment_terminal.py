"""The charger's payment terminal (C18 to C22): connects the charging station and the network."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from v2g.hardware.zvt.till import JobEnded, ReadCard, RegisterJob, ReserveJob, TillJob
from v2g.io.hardware.zvt_terminal import ZvtTerminal
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g_station.device.terminal_config import TerminalConfig
from v2g_station.device.terminal_translation import TerminalTranslator
from v2g_station.kernel.kernel import StationCommand

READ_REST_S: Final = 1.0
"""Maximum time for which a declined card is not read again; and least time after a terminal has not read one: it may
refuse at once, as while it is updated."""


class PaymentTerminal:
    """One terminal; `notify` takes its facts for the station."""

    def __init__(
        self,
        config: TerminalConfig,
        clock: Clock,
        *,
        notify: Callable[[Fact], None],
        observe: Callable[[Observe], None],
    ) -> None:
        self._clock, self._notify, self._observe, self._rest_s = clock, notify, observe, config.rest_s
        self._translator = TerminalTranslator(evse_id=config.evse, digits=config.currency_digits, secret=os.urandom(16))
        self._terminal = ZvtTerminal(config.zvt, clock, on_ended=self._ended, idle=self._idle)
        self._connected: bool | None = None
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._rest_until = 0.0

    def start(self) -> None:
        """Connect, and stay connected."""
        self._task = spawn(self._terminal.run(), name="payment terminal")

    async def close(self) -> None:
        """Disconnect from the terminal."""
        if self._reading is not None:
            self._reading.cancel()
        await cancel_tasks(self._task)

    def carry_out(self, command: StationCommand) -> bool:
        """Begin to carry out a command; return False for one that is not a terminal's."""
        found = self._translator.job(command)
        if found is None:
            return False
        if isinstance(found, TillJob):
            self._terminal.do(found)
        else:
            asyncio.get_running_loop().call_soon(self._notify, found)
        return True

    def _ended(self, ended: JobEnded) -> None:
        if isinstance(ended.job, RegisterJob):
            if ended.done is not self._connected:
                self._connected = ended.done
                self._observe(Observe("hardware", "terminal_ready" if ended.done else "terminal_lost"))
        else:
            rest_s = self._rest_s if isinstance(ended.job, ReserveJob) else min(self._rest_s, READ_REST_S)
            if isinstance(ended.job, ReadCard) and not ended.done:
                rest_s = READ_REST_S
            self._rest_until = max(self._rest_until, self._clock.monotonic() + rest_s)
        for fact in self._translator.facts(ended, self._clock.utc_ms()):
            asyncio.get_running_loop().call_soon(self._notify, fact)

    def _idle(self) -> None:
        """Wait for the next card, after the consequences of the last one were sent."""
        if self._reading is None:
            rest = max(0.0, self._rest_until - self._clock.monotonic())
            self._reading = asyncio.get_running_loop().call_later(rest, self._read)

    def _read(self) -> None:
        self._reading = None
        if not self._terminal.idle:
            return
        if self._clock.monotonic() < self._rest_until:  # another job has ended since
            self._idle()
        else:
            self._terminal.do(ReadCard())
