"""Carries journal lines to the CSMS: parcels of one session, in order, after the transaction events (P02)."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from secc.core.station.data_transfer import VENDOR
from secc.station_runner import StationRunner
from secc.station_store import QueuedLines, StationStore
from v2g.errors import OcppError, TimeoutExpired, TransportError
from v2g.net.clock import Clock
from v2g.observe import Observe
from v2g.ocpp.messages.data_transfer import DataTransferRequest, DataTransferResponse

LINES_PER_MESSAGE: Final = 50
CHARACTERS_PER_MESSAGE: Final = 48_000


class Courier:
    """The carrier of one station."""

    def __init__(
        self,
        identity: str,
        store: StationStore,
        runner: StationRunner,
        clock: Clock,
        observe: Callable[[Observe], None],
    ) -> None:
        self._identity = identity
        self._store = store
        self._runner = runner
        self._clock = clock
        self._observe = observe
        self._wake = asyncio.Event()
        self._not_before = 0.0
        self._attempts = 0

    def wake(self) -> None:
        """Look again whether something can go."""
        self._wake.set()

    def lost(self) -> None:
        """The connection is gone: what the CSMS did not know it may know next time."""
        self._not_before = 0.0

    async def run(self) -> None:
        """Carry lines until cancelled."""
        while True:
            self._wake.clear()
            rest = self._not_before - self._clock.monotonic()
            lines = None
            if self._runner.online.is_set() and len(self._runner.core.outbox) == 0 and rest <= 0:
                lines = self._store.next_lines(LINES_PER_MESSAGE, CHARACTERS_PER_MESSAGE)
            if lines is not None:
                await self._carry(lines)
                continue
            try:
                async with asyncio.timeout(rest if 0 < rest < math.inf else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _carry(self, lines: QueuedLines) -> None:
        """Send lines. A CSMS that rejects them is asked again later, and at last not any more: what it has refused for
        good (a fork of its copy) must not hold up the sessions that follow, and the charger's own bundle is the
        evidence. A CSMS that does not know them is not asked until the next connection."""
        data = {"stationId": self._identity, "sessionId": lines.session_id, "lines": list(lines.lines)}
        request = DataTransferRequest(vendor_id=VENDOR, message_id="JournalEntries", data=data)
        try:
            status = (await self._runner.call(request, DataTransferResponse)).status
        except OcppError as error:
            status = error.answer  # type: ignore[assignment]
        except (TransportError, TimeoutExpired):
            self._not_before = self._clock.monotonic() + 1.0
            return
        if status == "Accepted":
            self._attempts = 0
            self._store.lines_delivered(lines)
            return
        self._note("journal_refused", status=status, lines=len(lines.lines))
        if status != "Rejected":
            self._not_before = math.inf
            return
        number = self._runner.core.kernel.model.number
        self._attempts += 1
        self._not_before = self._clock.monotonic() + number("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]")
        if self._attempts >= number("OCPPCommCtrlr.MessageAttempts[TransactionEvent]"):
            self._attempts = 0
            self._store.lines_delivered(lines)
            self._note("journal_given_up", session_id=lines.session_id, lines=len(lines.lines))

    def _note(self, name: str, **data: Any) -> None:
        self._observe(Observe("ocpp", name, data))
