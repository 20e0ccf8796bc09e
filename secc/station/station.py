"""The charging-station side of a SECC: the charger's reports to its CSMS, and the CSMS's requests to the charger.

`Station` is the interface for the rest of the program, a shell around `v2g_station.blocks`. Reporting a transaction
returns at once; the message is on disk when `saving` is done, and is delivered once, in order, whenever the CSMS is
reachable.
"""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from secc.station.csms_requests import CsmsRequests
from secc.station.device import Premises, certificate_folder, charger_machine, configured_roots
from secc.station.settings import settings_of
from secc.station_config import StationConfig, password_of
from v2g.errors import StoreError
from v2g.hardware.session_metrics import MESSAGE, MetricName, SessionMetrics
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.supervision import Supervisor, spawn
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest
from v2g.ocpp.messages.metering import ReadingContext
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.transactions import ChargingState, Reason, TriggerReason
from v2g_station.blocks.authorization.contracts import AuthorizeOutcome
from v2g_station.blocks.evse import Lock, LockFailure, Unlocked
from v2g_station.blocks.security.certificate_store import RootsChanged, stored_chains
from v2g_station.blocks.smart_charging.high_level import VehicleKnown
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister, TransactionRecord, public_key_text
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.device.certificates import CsmsTls
from v2g_station.journal_uploader import STRANGER, JournalUploader
from v2g_station.kernel.kernel import Moment, StationCommand
from v2g_station.runner import ChargerPort, Saving, StationRunner
from v2g_station.station import StationCore
from v2g_station.store import StationStore

__all__ = ["AuthorizeOutcome", "ChargerStation", "MeterSample", "SignedRegister", "StationConfig"]

PREMISES: Final = Premises()

CONNECTOR: Final = 1
"""Every EVSE has one connector."""


class ChargerStation:
    """One charging station. `run` must be running to deliver anything; everything else may come before."""

    def __init__(
        self,
        config: StationConfig,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        observe: Callable[[Observe], None],
        charger: ChargerPort,
        boot_id: str = "",
        meter_public_keys: Sequence[bytes] = (),
        premises: Premises = PREMISES,
        keys: RecordKeys | None = None,
        received: Callable[[str, bytes], None] = lambda session_id, receipt: None,
    ) -> None:
        """Open the store, sealed with `keys`. `received` gets the back end's receipt of a session's complete journal.
        `boot_id` identifies the machine's current boot (Linux:
        /proc/sys/kernel/random/boot_id), `premises` is what the station knows of its charger.

        Raises StoreError, and KeyAccessError for unusable TLS files.
        """
        self._config = config
        self._clock = clock
        self._entropy = entropy
        self._observe = observe
        self._charger = charger
        self._tls = CsmsTls(config.tls, certificate_folder(config), observe) if config.tls else None
        tls = self._tls
        self._store, self._disk = StationStore(config.store, keys), DiskThread()
        self._supervisor = Supervisor(observe)
        saved = self._store.saved()
        notes = saved.get("program", {})
        same_boot = bool(boot_id) and notes.get("boot_id", b"").decode() == boot_id
        self._same_boot = same_boot
        reason: BootReason = "PowerUp"
        if same_boot:
            reason = "ApplicationReset" if notes.get("running") == b"yes" else "LocalReset"
        self._unlockings: set[asyncio.Task[None]] = set()
        self._early: list[StationCommand] | None = []
        """Commands to carry out once there is an event loop."""
        self._machine = charger_machine(
            config,
            premises,
            clock=clock,
            notify=self.fact,
            accepted=lambda: self.online,
            observe=observe,
            boot_id=boot_id,
            roots=lambda: (tls.roots,) if tls is not None else (),
        )
        assert self._machine.certificates is not None
        self._machine.certificates.settle(stored_chains(saved))
        self._runner = StationRunner(
            StationCore(
                settings_of(
                    config,
                    reason,
                    same_boot=same_boot,
                    scale=clock.scale,
                    able=self._machine.able | charger.able,
                    premises=premises,
                    roots=configured_roots(config, premises),
                    chains=self._machine.certificates.chains(),
                    password=password_of(config, os.environ),
                ),
                saved,
                Moment(clock.monotonic(), clock.utc_ms()),
                entropy=entropy,
                read=self._read,
                serves=charger.serves,
            ),
            self._store,
            clock=clock,
            command=self._carry_out,
            observe=observe,
            context=tls.context if tls is not None else lambda _: None,
            changed=self._changed,
            disk=self._disk,
            failed=charger.store_failed,
        )
        self._core = core = self._runner.core
        sessions = core.sessions
        assert isinstance(sessions, ManagedSessions)
        self._sessions = sessions
        self.requests = CsmsRequests(config, self._runner, sessions, clock, observe)
        """The charger's requests to its CSMS while a vehicle waits."""
        for number, key in enumerate(meter_public_keys, 1):
            core.kernel.put(f"FiscalMetering#{number}.PublicKey", public_key_text(key))
        self._idle = asyncio.Event()
        self._uploader = JournalUploader(
            config.identity,
            self._store,
            self._runner,
            self._disk,
            clock,
            observe,
            delivered=self._idle.set,
            received=received,
            stranger=None if config.journal_copies == "always" else notes.get(STRANGER, b"").decode(),
        )
        self._was_online = False
        core.kernel.keep_text("program", "boot_id", boot_id)
        core.kernel.keep_text("program", "running", "yes")
        self._runner.step(core.tick)

    # -- lifecycle

    @property
    def saving(self) -> Saving | None:
        """The outcome of the newest change: done when it is on disk; None if nothing has changed."""
        return self._runner.saving

    @property
    def online(self) -> asyncio.Event:
        """Set while the CSMS is connected and has accepted this station."""
        return self._runner.online

    @property
    def tried(self) -> asyncio.Event:
        """Set once the CSMS has accepted this station, or the first attempt to connect has failed."""
        return self._runner.tried

    @property
    def judges_contracts(self) -> bool:
        """Whether the CSMS is reachable, and judges contracts whose root the charger does not know (C07.FR.06)."""
        return self._core.kernel.online and self._core.kernel.model.flag(
            "ISO15118Ctrlr.CentralContractValidationAllowed"
        )

    @property
    def connected(self) -> bool:
        """Whether the socket to the CSMS is open now."""
        return self._runner.connected

    async def run(self) -> None:
        """Stay connected to the CSMS until cancelled."""
        self._supervisor.keep("journal copies", self._uploader.run)
        if self._tls is not None:
            self._supervisor.keep("certificates", self._tls.run)
        self._machine.start()
        early, self._early = self._early, None
        for command in early or ():
            self._machine.carry_out(command)
        try:
            await self._runner.run()
        finally:
            for task in self._unlockings:
                task.cancel()
            await self._machine.close()
            await self._supervisor.close()

    def restarting(self) -> None:
        """Note that the charger is about to restart, as requested by the CSMS."""
        self._core.provisioning.restarting()
        self._runner.step(self._core.tick)

    async def close(self) -> None:
        """Close the store after `run` has ended, as an orderly shutdown."""
        self._core.kernel.keep_text("program", "running", "no")
        self._runner.step(self._core.tick)
        await self._disk.close()
        self._store.close()

    def recover(
        self, samples: Callable[[TransactionRecord], MeterSample | None] = lambda _: None, *, keep: Collection[str] = ()
    ) -> list[str]:
        """End, once, each transaction that was open when the program last stopped; return their references.

        Those of `keep` belong to paused sessions and stay open; so do, without a session, those interrupted for at most
        TxCtrlr.ResumptionTimeout: they wait for their vehicle (E17).

        `samples` returns the current meter sample; without one the last sample applies. The reason is PowerLoss, or
        Reboot if only the program was restarted.
        """
        reason: Reason = "Reboot" if self._same_boot else "PowerLoss"
        open_on = {*keep, *self._sessions.waiting.values()}
        ending = [record for record in self._sessions.records.values() if record.reference not in open_on]
        latest = {record.evse_id: record.reference for record in ending}
        for record in list(ending):
            if latest[record.evse_id] == record.reference and (
                self._core.resuming or self._core.resumption.in_time(record)
            ):
                ending.remove(record)
                self._resume(record, samples(record))
        for record in ending:
            self.ended(record.reference, trigger="AbnormalCondition", reason=reason, sample=samples(record))
            data: dict[str, Scalar] = {"transaction_id": record.transaction_id, "reason": reason}
            self._observe(Observe("ocpp", "transaction_recovered", data))
        return [record.reference for record in ending]

    def _resume(self, record: TransactionRecord, sample: MeterSample | None) -> None:
        self._runner.step(lambda now: self._core.resume(record, sample, now))

    async def drain(self, timeout: float) -> bool:
        """Wait until everything is delivered, at most `timeout` s; return whether it was."""
        try:
            async with asyncio.timeout(timeout):
                while len(self._core.outbox) or await self._disk.ask(self._store.waiting):
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def _changed(self) -> None:
        """Handle a new state of the core."""
        online = self._core.kernel.online
        if online != self._was_online:
            self._was_online = online
            if not online:
                self._uploader.lost()
            self._charger.online(online)
        self._uploader.wake()
        self._idle.set()

    def _read(self, evse_id: int, _context: ReadingContext = "Other") -> MeterSample | None:
        return self._charger.meter(evse_id) if evse_id else None

    def _carry_out(self, command: StationCommand) -> None:
        """Have the charger or the machine carry out a command, once there is an event loop."""
        if isinstance(command, Lock) and not command.locked:
            task = spawn(self._unlock(command), name="unlock")
            self._unlockings.add(task)
            task.add_done_callback(self._unlockings.discard)
            return
        if self._charger.carry_out(command):
            return
        if self._early is not None and not isinstance(command, RootsChanged):
            self._early.append(command)
        else:
            self._machine.carry_out(command)

    async def _unlock(self, command: Lock) -> None:
        """Report the result of an unlocking (F05.FR.04, .05)."""
        place = {"evse_id": command.evse_id, "connector_id": command.connector_id}
        free = await self._charger.unlock(command.evse_id)
        self.fact(Unlocked(**place) if free else LockFailure(**place, unlocking=True))

    # -- transactions

    def started(
        self,
        reference: str,
        emaid: str,
        *,
        evse_id: int = 1,
        trigger: TriggerReason = "Authorized",
        sample: MeterSample | None = None,
        id_token_type: str | None = None,
        remote_start_id: int | None = None,
        charging_state: ChargingState = "EVConnected",
        evcc_id: str = "",
        protocol: str = "",
    ) -> str:
        """Open a transaction, or continue one that waits for its vehicle (E17), and return its id.

        `reference` is the caller's name for it, unique among open ones.
        `id_token_type` is eMAID unless given; an empty `emaid` means that there was no identification.
        Raises StoreError, also for a reference in use.
        """
        if reference in self._sessions.records:
            raise StoreError(f"transaction {reference} is already open")
        self._lead(lambda sessions: sessions.rejoin(evse_id, reference, emaid))
        if reference in self._sessions.records:
            self.updated(reference, trigger=trigger, charging_state=charging_state, sample=sample)
            return self._sessions.records[reference].transaction_id
        reservation_id, group = self._sessions.admitted.pop(evse_id, (None, None))
        # 16 random bytes as a version 4 UUID, 36 characters (E01.FR.08)
        record = TransactionRecord(
            transaction_id=str(uuid.UUID(bytes=self._entropy(16), version=4)),
            reference=reference,
            evse_id=evse_id,
            connector_id=CONNECTOR,
            started_ms=self._clock.utc_ms(),
            id_token=emaid,
            id_token_type=(id_token_type or "eMAID") if emaid else "NoAuthorization",
            charging_state=charging_state,
            remote_start_id=remote_start_id,
            evccid=evcc_id if self._sessions.both_ways() else "",
            reservation_id=reservation_id,
            group=group,
        )
        self.fact(VehicleKnown(evse_id=evse_id, evccid=evcc_id, protocol=protocol))
        self._lead(lambda sessions: sessions.begin(record, trigger=trigger, sample=sample))
        return record.transaction_id

    def updated(
        self,
        reference: str,
        *,
        trigger: TriggerReason,
        charging_state: ChargingState | None = None,
        sample: MeterSample | None = None,
    ) -> None:
        """Report progress. KeyError for a reference that is not open."""
        self._lead(lambda sessions: sessions.progress(reference, trigger, charging_state=charging_state, sample=sample))

    def ended(
        self,
        reference: str,
        *,
        trigger: TriggerReason,
        reason: Reason,
        begin: MeterSample | None = None,
        sample: MeterSample | None = None,
    ) -> None:
        """Close a transaction, unless a restart keeps it (B13). `sample` is the last reading; KeyError if not open."""
        self._lead(
            lambda sessions: sessions.finish(reference, trigger=trigger, reason=reason, begin=begin, sample=sample)
        )

    def journal(self, session_id: str, line: str) -> Saving | None:
        """Queue a line of the settlement journal for the CSMS; it must already be in the journal's own file.

        Or, before the first one, the line of the session's signers. Return what is done once it is on the disk.
        """
        if self._config.journal_copies == "never":
            return None
        saving = self._disk.do(partial(self._store.add_line, session_id, line), self._uploader.queued)
        saving.add_done_callback(self._on_copied)
        return saving

    def restate_journal(self, session_id: str, lines: Iterable[str], *, wait: bool = False) -> Saving | None:
        """Queue a whole journal of which it is unknown which lines are queued: after a kill, or a full disk.

        The CSMS stores each line once, however often it is sent. Return what is done once they are queued; with `wait`
        they are on return: the journal's own file, by which a start after another kill would do so, may be removed.
        """
        if self._config.journal_copies == "never":
            return None
        tried = threading.Event()

        def queue() -> None:
            try:
                self._store.replace_lines(session_id, tuple(lines))
            finally:
                tried.set()

        saving = self._disk.do(queue, self._uploader.queued)
        saving.add_done_callback(self._on_copied)
        if wait:
            tried.wait()
        return saving

    async def journals_taken(self) -> dict[str, int]:
        """Return how many lines of each session's journal the CSMS has accepted, from its first one without a gap."""
        return await self._disk.ask(self._store.taken)

    async def forget_taken(self, sessions: Sequence[str]) -> None:
        """Forget the accepted counts of sessions that no longer exist here."""
        await self._disk.ask(partial(self._store.forget_taken, sessions))

    def _on_copied(self, saving: Saving) -> None:
        """Report a copy that could not be queued: the whole journal is, at the session's end or the next start."""
        if not saving.cancelled() and (error := saving.exception()) is not None:
            self._observe(Observe("ocpp", "not_kept", {"collection": "journal", "reason": str(error)[:200]}))

    def transaction_id(self, reference: str) -> str | None:
        """Return the OCPP id of an open transaction."""
        record = self._sessions.records.get(reference)
        return record.transaction_id if record else None

    # -- notices

    def fact(self, fact: Fact) -> None:
        """Pass an external fact to the station: its consequences happen before this returns."""
        self._runner.fact(fact)

    def status(self, evse_id: int, status: ConnectorStatus) -> None:
        """Set the state of an EVSE's connector; Unavailable takes precedence while the CSMS has set it inoperative."""
        self._runner.step(lambda now: self._core.show((evse_id, CONNECTOR), status, now))

    def problem(self, evse_id: int, word: str, *, active: bool) -> None:
        """Report the start or end of a hardware fault (N07); `word` is one of `v2g.hardware.faults.FAULTS`."""
        self._runner.step(lambda now: self._core.problem(evse_id, word, now, active=active))

    def session_metrics(self, evse_id: int, session_id: str, values: Mapping[MetricName, float]) -> None:
        """Report how the charger's parts worked in a session, to a CSMS that takes this project's messages (P02)."""
        if self._config.journal_copies == "never" or self._uploader.unwanted:
            return
        data = SessionMetrics(
            session_id=session_id, evse_id=evse_id, at_ms=self._clock.utc_ms(), values=dict(values.items())
        )
        request = DataTransferRequest(vendor_id=VENDOR, message_id=MESSAGE, data=msgspec.to_builtins(data))
        self._runner.step(lambda now: self._core.notify(request, now))

    def _lead(self, work: Callable[[ManagedSessions], None]) -> None:
        self._runner.step(lambda now: self._core.lead(work, now))
