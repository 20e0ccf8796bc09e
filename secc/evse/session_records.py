"""The records of one session: its journal, the chain of its contract, and its settlement."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from secc.evse.archive import Archive
from secc.evse.journal import JournalWriter
from secc.hardware.meter import Meter
from secc.session import ports
from v2g.energy.settlement.records import MeterStatus, SessionStarted
from v2g.errors import V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread, Turnstile
from v2g.io.runtime.supervision import child
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.pki.credentials import Credentials
from v2g_station.store import JournalSigners


class RecordKeeping(msgspec.Struct, frozen=True):
    """What all records of an EVSE are kept with.

    `on_line` gets the session id and each line of a journal, for the copy at the CSMS, and returns what is done once
    that is queued on the disk; `on_journal` gets all lines of one instead. `disk` writes journals, `bundles` settles
    them, when the `turnstile` permits, or at once when that is `awaited`: by the next vehicle, which has passed the
    turnstile, or by the program's end.
    """

    archive: Archive
    meter: Meter
    clock: Clock
    disk: DiskThread
    bundles: DiskThread
    observe: Callable[[Observe], None]
    on_line: Callable[[str, str], "asyncio.Future[None] | None"]
    on_journal: Callable[[str, list[str]], "asyncio.Future[None] | None"]
    turnstile: Turnstile
    flowed_mwh: Callable[[], tuple[int, int]]
    awaited: asyncio.Event = msgspec.field(default_factory=asyncio.Event)


class SessionRecords:
    """Journal, contract and settlement of one session; `own` is the chain that its vehicle was shown."""

    def __init__(self, keeping: RecordKeeping, own: Credentials) -> None:
        self._keeping, self._own = keeping, own
        self._contract: tuple[bytes, ...] = ()
        self._copied: asyncio.Future[None] | None = None
        self._torn = False
        """Whether the disk did not take a line of the copy."""
        self.session_id = ""
        """Of the journal; empty before it begins."""
        self.settling: asyncio.Task[None] | None = None
        """Of the ended session."""
        self.journal = JournalWriter(
            lambda session_id: keeping.archive.open_journal(session_id, self._contract),
            meter=keeping.meter,
            clock=keeping.clock,
            disk=keeping.disk,
            on_line=lambda line: self._copy(line.decode()),
            on_status=self._reading_status,
            flowed_mwh=keeping.flowed_mwh,
        )

    def execute(self, command: Command) -> "asyncio.Future[Fact | None] | None":
        """Execute a command for the journal; the result is on the disk when the future is done. Others are ignored."""
        match command:
            case ports.AuthorizeContract(chain=chain):
                self._contract = chain
            case ports.Journal(record=SessionStarted(session_id=session_id)):
                self.session_id = session_id
                signers = JournalSigners(self._own.chain, self._contract)
                self._copy(signers.line())
        return self.journal.execute(command)

    def _copy(self, line: str) -> None:
        self._copied = self._keeping.on_line(self.session_id, line)
        if self._copied is not None:
            self._copied.add_done_callback(self._on_copied)

    def _on_copied(self, copied: "asyncio.Future[None]") -> None:
        self._torn |= not copied.cancelled() and copied.exception() is not None

    def resume(self, earlier: "SessionRecords") -> "asyncio.Future[Fact | None]":
        """Continue the open session of `earlier`, and read the meter: nothing has flowed since.

        Its journal names the certificate of its beginning, which may have been renewed in the pause.
        """
        self.session_id, self._contract, self._own = earlier.session_id, earlier._contract, earlier._own
        self._torn = earlier._torn
        self.journal.take_over(earlier.journal)
        return self.journal.record_meter("resume", power_w=0)

    def reopen(self, session_id: str) -> bool:
        """Continue the journal of a session that was paused when the program ended; False without one.

        Raises StoreError and VerificationError for an unusable one.
        """
        found = self._keeping.archive.reopen_journal(session_id)
        if found is None:
            return False
        self.session_id, (file, self._own) = session_id, found
        self.journal.reopen(file, file.recovered)
        return True

    async def end(self, reason: str) -> None:
        """Close the journal of a paused session, and settle it. Raises StoreError."""
        closed = self.journal.close(reason)
        if closed is not None:
            await closed
        await self.settle(None)

    async def settle(self, closed: "asyncio.Future[Fact | None] | None") -> None:
        """Make the bundle while other vehicles are served: it takes signatures, and a dozen files.

        `closed` is done when the journal is complete. If that, the copy or the bundle failed, the journal stays for the
        next start.
        """
        archive = self._keeping.archive
        try:
            if closed is not None:
                await closed
            if self._copied is not None:  # before the journal goes, by which a start would queue its lines again
                await asyncio.wait([self._copied])
            if self._torn:
                lines = await self._keeping.bundles.ask(lambda: archive.lines(self.session_id, self._own))
                if (copied := self._keeping.on_journal(self.session_id, lines)) is not None:
                    await copied
            turn = child(self._keeping.turnstile.enter(vehicle=False)), child(self._keeping.awaited.wait())
            try:
                await asyncio.wait(turn, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in turn:
                    each.cancel()
            if archive.may_leave_loop(self._own):
                made = await self._keeping.bundles.ask(lambda: archive.make_bundle(self.session_id, self._own))
            else:
                made = archive.make_bundle(self.session_id, self._own)
            archive.tell_finished(self.session_id, made)
        except V2GError as error:
            self._keeping.observe(Observe("settlement", "bundle_failed", {"error": str(error)}))

    def _reading_status(self, status: Sequence[MeterStatus], reason: str) -> None:
        """A reading was missing, or its registers or time do not continue the one before."""
        data = {"session_id": self.session_id, "status": "+".join(status), "reason": reason}
        self._keeping.observe(Observe("metering", "reading_status", {**data}))
