"""Uploads journal lines to the CSMS: batches of one session, in order, after the transaction events (P02).

The certificates of a session's signers come before its first line.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final

import msgspec

from v2g import typed_json
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.operator import JournalReceipt
from v2g.errors import NOT_THERE, OcppError, TimeoutExpired, TransportError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g_station.runner import StationRunner
from v2g_station.store import QueuedLines, StationStore

LINES_PER_MESSAGE: Final = 50
CHARACTERS_PER_MESSAGE: Final = 48_000

STRANGER: Final = "journal_stranger"
"""Key in the collection `program` of the URL of a CSMS that does not support journals."""

_UNKNOWN: Final = NOT_THERE | {"UnknownVendorId", "UnknownMessageId"}
_REASONS: Final = frozenset({"InvalidEntries", "JournalRefused"})
"""Reasons of a CSMS that supports journals for rejecting lines; any other rejection means that it does not."""


class JournalUploader:
    """The uploader of one station."""

    def __init__(
        self,
        identity: str,
        store: StationStore,
        runner: StationRunner,
        disk: DiskThread,
        clock: Clock,
        observe: Callable[[Observe], None],
        delivered: Callable[[], None],
        received: Callable[[str, bytes], None],
        *,
        stranger: str | None = None,
    ) -> None:
        """`delivered` is called when the queue has become empty, `received` with a session's id and the operator's
        receipt of its complete journal (canonical JSON), which is not verified here.

        `stranger`: the URL of a CSMS known not to support journals, empty if none; with None every CSMS is tried again
        on each connection.
        """
        self._stranger = stranger
        self._identity = identity
        self._store = store
        self._runner = runner
        self._disk = disk
        self._clock = clock
        self._observe = observe
        self._delivered = delivered
        self._received = received
        self._queued = True
        """Whether the store may hold lines: it is not read in vain."""
        self._wake = asyncio.Event()
        self._not_before = 0.0
        self._attempts = 0

    def queued(self) -> None:
        """Send the lines that the store holds now."""
        self._queued = True
        self._wake.set()

    def wake(self) -> None:
        """Check again whether queued lines can be sent."""
        if self._queued:
            self._wake.set()

    def lost(self) -> None:
        """Handle a lost connection: the CSMS may support journals at the next one."""
        self._not_before = 0.0

    async def run(self) -> None:
        """Upload lines until cancelled."""
        self._queued = True  # again, if a failing disk has ended an earlier run
        lines: QueuedLines | None = None
        while True:
            self._wake.clear()
            rest = self._not_before - self._clock.monotonic()
            if self._queued and self._runner.online.is_set() and len(self._runner.core.outbox) == 0 and rest <= 0:
                if lines is None:
                    lines = await self._read()
                elif self.unwanted:
                    lines = await self._forget(lines)
                else:
                    lines = await self._carry(lines)
                continue
            lines = None  # read again: others may have joined them by then
            try:
                async with asyncio.timeout(rest if 0 < rest < math.inf else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _carry(self, lines: QueuedLines) -> QueuedLines | None:
        """Send lines; return the next ones if these are over. A rejected batch is retried later and finally dropped: a
        permanent rejection (the CSMS's copy has diverged) must not hold up the following sessions, and the charger's
        own bundle is the evidence. A CSMS that does not support journals is remembered and not asked again."""
        data: dict[str, object] = {"stationId": self._identity, "sessionId": lines.session_id}
        if lines.signers is None:
            request = self._request("JournalEntries", {**data, "lines": list(lines.lines)})
        else:
            request = self._request("JournalCertificates", data | msgspec.to_builtins(lines.signers))
        status, reason, given = "", "", None
        try:
            answer = await self._runner.call(request, DataTransferResponse)
            given = answer.data
            status, reason = answer.status, answer.status_info.reason_code if answer.status_info else ""
        except OcppError as error:
            status = error.answer
        except (TransportError, TimeoutExpired):
            self._not_before = self._clock.monotonic() + 1.0
            return None
        if status == "Accepted" or (lines.signers is not None and status == "UnknownMessageId"):
            self._attempts = 0
            following = await self._forget(lines, accepted=True)
            if isinstance(given, dict) and "receipt" in given:
                self._take_receipt(lines.session_id, given["receipt"])
            return following
        self._note("journal_refused", status=status, reason=reason, lines=len(lines.lines))
        if self._stranger is not None and (status in _UNKNOWN or (status == "Rejected" and reason not in _REASONS)):
            self._stranger = self._url
            self._runner.step(lambda now: self._runner.core.remember(STRANGER, self._url, now))
            self._note("journal_not_wanted", status=status)
            return None
        if status != "Rejected":
            self._not_before = math.inf
            return None
        number = self._runner.core.kernel.model.number
        self._attempts += 1
        self._not_before = self._clock.monotonic() + number("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]")
        if self._attempts >= number("OCPPCommCtrlr.MessageAttempts[TransactionEvent]"):
            self._attempts = 0
            following = await self._forget(lines)
            self._note("journal_given_up", session_id=lines.session_id, lines=len(lines.lines))
            return following
        return None

    @staticmethod
    def _request(message_id: str, data: dict[str, object]) -> DataTransferRequest:
        return DataTransferRequest(vendor_id=VENDOR, message_id=message_id, data=data)

    def _take_receipt(self, session_id: str, given: object) -> None:
        try:
            receipt = typed_json.convert(given, JournalReceipt)
        except msgspec.ValidationError as error:
            self._note("journal_receipt_invalid", session_id=session_id, reason=str(error)[:200])
            return
        self._received(session_id, canonical(receipt))

    @property
    def unwanted(self) -> bool:
        """Whether the CSMS is known not to support this project's messages."""
        return bool(self._stranger) and self._stranger == self._url

    @property
    def _url(self) -> str:
        return self._runner.core.networks.current()[1].ocpp_csms_url

    async def _forget(self, lines: QueuedLines, *, accepted: bool = False) -> QueuedLines | None:
        """Remove lines, and return the next ones: one operation for both."""
        following = await self._read(lambda: self._store.lines_over(lines, accepted=accepted))
        if following is None:
            self._delivered()
        return following

    async def _read(self, before: Callable[[], None] = lambda: None) -> QueuedLines | None:
        """Return the oldest lines, once `before` is done in the store's thread."""

        def work() -> QueuedLines | None:
            before()
            return self._store.next_lines(LINES_PER_MESSAGE, CHARACTERS_PER_MESSAGE)

        self._queued = False  # before reading: what is queued meanwhile sets it again
        lines = await self._disk.ask(work)
        self._queued |= lines is not None
        return lines

    def _note(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("ocpp", name, data))
