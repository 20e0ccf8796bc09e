"""Executes the commands of running sessions, and what remains to be done for sessions that pause or have ended."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from secc.evse.backend import Outcome as Reported
from secc.evse.paused_session_store import PausedSessionFile
from secc.evse.ports import ClosePaused, PausedStored
from secc.evse.session_records import RecordKeeping, SessionRecords
from secc.hardware.evse import Evse
from secc.hardware.safety import SafetyChannel
from secc.session import ports
from secc.session.ports import Paused
from v2g.errors import StoreError, V2GError
from v2g.hardware.interfaces import ChargerPilot
from v2g.io.runtime.runner import Outcome
from v2g.io.runtime.supervision import child
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.pki.credentials import Credentials

Step = Callable[[Fact | Command], "asyncio.Future[Any] | None"]
"""Passes a fact to the core of the EVSE; returns what its last action waits for, if anything."""


class Execution:
    """Routes commands to the safety channel, the core, the records, the pilot, the hardware and the back end.

    `report` executes a command for the back end. Paused sessions have their records here until they resume or end.
    """

    def __init__(
        self,
        step: Step,
        keeping: RecordKeeping,
        file: PausedSessionFile,
        hardware: Evse,
        safety: SafetyChannel,
        pilot: ChargerPilot | None,
        report: Callable[[Command], Reported],
    ) -> None:
        self._step, self._keeping, self._file, self._report_to = step, keeping, file, report
        self._hardware, self._safety, self._pilot = hardware, safety, pilot
        self._records: SessionRecords | None = None
        self._paused: dict[bytes, SessionRecords] = {}
        self._endings: set[asyncio.Task[None]] = set()

    # -- the running session

    def begin(self, own: Credentials) -> SessionRecords:
        """Begin the records of a session, whose vehicle was shown this chain."""
        self._records = SessionRecords(self._keeping, own)
        return self._records

    def execute(self, command: Command) -> Outcome | None:
        """Execute a command of the running session. Journal entries return a future: nothing may follow without it."""
        records = self._records
        assert records is not None
        self._safety.command(command)
        match command:
            case ports.SaveSession(paused=paused):
                self._hardware.execute(command)  # no longer authorised from here on
                self._paused[paused.session_id] = records
                return self._step(command)
            case ports.JoinSession():
                if (joined := self._step(command)) is None:
                    raise StoreError("the paused session is closed", hint="the vehicle may begin another one")
                self._hardware.execute(command)  # permits power again; requests for it wait
                return joined
            case ports.ForgetSession():
                return self._step(command)
            case ports.TransactionStarted():
                self._step(command)
            case ports.SetPilot() | ports.LowerPilot():
                pilot = self._pilot
                assert pilot is not None
                if isinstance(command, ports.LowerPilot):
                    shown = pilot.duty_percent
                    if shown is not None and command.duty_percent < shown:
                        pilot.set_duty(command.duty_percent)
                elif command.forced is not None:
                    pilot.set_error(command.forced)
                else:
                    pilot.set_duty(command.duty_percent)
        closes = isinstance(command, ports.CloseJournal) and records.session_id
        if closes and (counted := self._hardware.counted()) is not None:
            records.settling = self._later(self._close_journal(records, command, counted))
            return None
        saving = records.execute(command)
        if closes:
            records.settling = self._later(records.settle(saving))
        if saving is not None:
            return saving
        outcome = self._hardware.execute(command)
        if isinstance(command, ports.TransactionEnded) and records.settling is not None:
            self._later(self._end_transaction(command, records.settling))
            return outcome
        return outcome or self._report_to(command)

    # -- paused sessions

    def reopen(self, own: Credentials, known: Callable[[str], bool]) -> Paused | None:
        """Return the session that was paused when the program ended, if its transaction is `known`; None without one.

        An unusable one is reported, and deleted.
        """
        try:
            paused = self._file.load()
            if paused is not None and known(paused.session_id.hex()):
                records = SessionRecords(self._keeping, own)
                if records.reopen(paused.session_id.hex()):
                    self._paused[paused.session_id] = records
                    return paused
        except V2GError as error:
            self._keeping.observe(Observe("session", "not_kept", {"error": str(error)}))
        self._file.remove()
        return None

    def store(self, paused: Paused) -> "asyncio.Future[None]":
        """Store a session that pauses, or has; it is durable when the future is done, or that has the StoreError."""

        def failed(future: "asyncio.Future[None]") -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                self._step(PausedStored(paused.session_id, str(error)))

        def saved() -> None:
            self._step(PausedStored(paused.session_id))

        saving = self._keeping.disk.do(partial(self._file.save, paused), saved)
        saving.add_done_callback(failed)
        return saving

    def join(self, session_id: bytes) -> "asyncio.Future[Fact | None]":
        """Let the running session continue this one, which is no longer stored when the future is done."""
        assert self._records is not None
        gone = self._keeping.disk.do(self._file.remove, _nothing)
        return child(_both(gone, self._records.resume(self._paused.pop(session_id))))

    def close(self, why: ClosePaused) -> "asyncio.Task[None] | None":
        """Close and settle the session of a vehicle that will not return."""
        records = self._paused.pop(why.session_id, None)
        return None if records is None else self._later(self._close(records, why))

    async def _close(self, records: SessionRecords, why: ClosePaused) -> None:
        session_id = records.session_id
        if why.delete:
            await self._reported(self._keeping.disk.do(self._file.remove, _nothing))  # a file that stays ends nothing
        await self._reported(self._end(records, why))
        data = {"reason": why.reason, "session_id": session_id}
        self._keeping.observe(Observe("session", "session_ended", {**data}))

    async def _end(self, records: SessionRecords, why: ClosePaused) -> None:
        await records.end(why.reason)
        await self._report(ports.ForgetSession(records.session_id, why.reason, why.stopped))

    async def _reported(self, work: Awaitable[None]) -> None:
        """Wait for work on the disk; a failure is reported."""
        try:
            await work
        except StoreError as error:
            self._keeping.observe(Observe("metering", "books_failed", {"error": str(error)}))

    async def put_down(self) -> None:
        """Leave paused sessions open on the disk: they continue after a restart."""
        for records in self._paused.values():
            await records.journal.put_down()

    # -- follow-up work

    def _later(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run the follow-up work of a session; the next vehicle and the program's end wait for it."""
        task = child(work, name="ending")
        self._endings.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._endings.discard(task)
        if not self._endings:
            self._keeping.awaited.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._keeping.observe(Observe("metering", "books_failed", {"error": str(error)}))

    async def _close_journal(
        self, records: SessionRecords, command: Command, counted: Coroutine[object, object, None]
    ) -> None:
        """Close the journal with a reading that includes all energy, and settle it. Raises StoreError."""
        await counted
        await records.settle(records.execute(command))

    async def settled(self) -> None:
        """Wait until the follow-up work of earlier sessions is done."""
        while self._endings:
            self._keeping.awaited.set()
            await asyncio.wait(self._endings)

    async def _end_transaction(self, command: ports.TransactionEnded, settling: "asyncio.Task[None]") -> None:
        """Report to the back end with the meter's signatures, which are in the bundle; without them if that failed."""
        await asyncio.wait([settling])
        await self._report(command)

    async def _report(self, command: Command) -> None:
        """Send to the back end; return when it has stored the entry. Raises StoreError."""
        outcome = self._report_to(command)
        if outcome is not None:
            await outcome


async def _both(first: "asyncio.Future[None]", then: "asyncio.Future[Fact | None]") -> Fact | None:
    """Return the result of the second, once both are done. Raises what either has raised."""
    _, outcome = await asyncio.gather(first, then)
    return outcome


def _nothing() -> None:
    """Have no result."""
