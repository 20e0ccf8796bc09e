"""A charging station: all functional blocks on one kernel, and the interface for frames, facts and time.

Every call takes the `Moment` and returns the actions that follow, in order. `deadline` says when to call `tick`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from v2g.errors import OcppError
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.transactions import Reason
from v2g.ocpp.routes import Version, action_of
from v2g.ocpp.rpc import Mend
from v2g.ocpp.times import format_time
from v2g_station.assembly import Blocks
from v2g_station.blocks.authorization.contracts import AuthorizeOutcome
from v2g_station.blocks.connection.link import CsmsLink
from v2g_station.blocks.der.der import GridEvent
from v2g_station.blocks.der.vehicle_inverters import VehicleGridEvent
from v2g_station.blocks.diagnostics.diagnostics import LogProgress, problem_event
from v2g_station.blocks.evse import (
    Bay,
    ContractPresented,
    Evse,
    Fault,
    LockFailure,
    MeterSigns,
    Plug,
    Power,
    PowerLimited,
    SecurityEventFound,
    StopButton,
    TokenPresented,
    TokenVerdict,
    Unlocked,
    VehicleAddress,
)
from v2g_station.blocks.firmware import FirmwareProgress
from v2g_station.blocks.firmware_publishing import Fetched, PublishProgress
from v2g_station.blocks.security.signing import CertificateTaken, ChainFound, RequestMade
from v2g_station.blocks.settings import StationSettings
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import GridFrequency, UpstreamLoad
from v2g_station.blocks.smart_charging.smart_charging import PriorityChargingRequested, SleepRefused
from v2g_station.blocks.transaction_limits import DriverLimit
from v2g_station.blocks.transaction_records import MeterSample, ReadMeter, TransactionRecord
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.blocks.transactions.resumption import Restarted
from v2g_station.blocks.web_payment import WebPaymentRequested
from v2g_station.kernel.kernel import Action, Answer, Moment, SavedDocuments

if TYPE_CHECKING:
    from v2g.ocpp.v16.mirrored import MirroredPeer

# -- Which block handles which fact


def takers(blocks: Blocks) -> dict[type[Fact], Callable[..., None]]:
    """Return the handlers of facts that concern one block alone."""
    return {
        TokenPresented: blocks.authorizer.token,
        ContractPresented: blocks.authorizer.contract,
        VehicleAddress: blocks.authorizer.vehicle,
        StopButton: blocks.authorizer.stop_button,
        Power: blocks.sessions.power,
        PowerLimited: blocks.sessions.limited,
        Bay: blocks.sessions.bay,
        MeterSigns: blocks.sessions.signature,
        ExternalLimit: blocks.external_limits.take,
        GridEvent: blocks.der.grid_event,
        VehicleGridEvent: blocks.vehicle_inverters.grid_event,
        UpstreamLoad: blocks.load_balancing.measured,
        PriorityChargingRequested: blocks.priority.requested,
        DriverLimit: blocks.transaction_limits.driver,
        WebPaymentRequested: blocks.web_payments.requested,
        RequestMade: blocks.signing.request_made,
        ChainFound: blocks.signing.found,
        SleepRefused: blocks.smart_charging.sleep_refused,
        CertificateTaken: blocks.signing.taken,
        FirmwareProgress: blocks.firmware.progress,
        PublishProgress: blocks.publishing.progress,
        Fetched: blocks.publishing.fetched,
        LogProgress: blocks.diagnostics.progress,
        SecurityEventFound: lambda fact: blocks.diagnostics.security_event(fact.type, fact.info),
        Restarted: blocks.resumption.restarted,
        Unlocked: blocks.remote_control.unlocked,
    }


class StationCore(Blocks):
    """One station. `read` and `serves` are those of `Blocks`."""

    def __init__(
        self,
        settings: StationSettings,
        saved: SavedDocuments,
        moment: Moment,
        *,
        entropy: Callable[[int], bytes],
        read: ReadMeter,
        serves: Callable[[int, Sequence[str]], bool],
    ) -> None:
        super().__init__(settings, saved, moment, entropy=entropy, read=read, serves=serves)
        kernel = self.kernel
        self.link = CsmsLink(
            kernel,
            self.networks,
            versions=settings.versions,
            handles=frozenset(self.table),
            answer=self._answer,
            amend=self.tariffs.authorized,
            outlets=(self.availability, self.outbox),
            security_event=self.diagnostics.security_event,
            boot_reason=self._boot_reason(),
            message_timeout=settings.message_timeout,
            mirror=self._mirror() if "1.6" in settings.versions else None,
        )
        self._takers = takers(self)
        self._join()
        self._restore()

    # -- assembly

    def _mirror(self) -> "Callable[[frozenset[str], float, Mend], MirroredPeer]":
        """Prepare for a back end of 1.6."""
        from v2g_station.blocks.mirror import StationMirror

        self.kernel.registers = True
        return StationMirror(self.kernel, self.evses, self.sessions, self.networks).peer

    def _join(self) -> None:
        """Connect blocks with each other."""
        kernel, link = self.kernel, self.link
        link.on_opened(self.web_payments.refresh)
        link.on_opened(self.signing.connected)
        self.networks.on_none_left(self.signing.stranded)
        link.on_registered(self._registered)
        link.on_registered(self.certificate_status.refresh)
        link.on_registered(self.signing.renew)
        self.signing.on_chain(self.certificate_status.refresh)
        self.outbox.on_answer(self.authorizer.event_answered)
        self.outbox.on_answer(self.tariff_cost.event_answered)
        self.outbox.on_answer(lambda _request, _answer: self.provisioning.idle())
        self.outbox.on_answer(self.transaction_limits.event_answered)
        self.sessions.on_started(self.reservations.used)
        self.resumption.on_resumed(self.metering.resumed)
        self.resumption.on_resumed(self.transaction_limits.resumed)
        self.sessions.on_authorized(self.reservations.used)
        self.sessions.on_unused(self.reservations.unused)
        self.sessions.on_authorized(self.tariffs.offer)
        self.sessions.on_ended(self._transaction_ended)
        kernel.model.live["clockctrlr.datetime"] = lambda: format_time(kernel.utc_ms)
        link.on_lost(self.smart_charging.limits_changed)
        kernel.put("SmartChargingCtrlr.SupportsEvseSleep", str("sleep" in self.settings.able).lower())
        if "display" not in self.settings.able:
            kernel.put("DisplayMessageCtrlr.Available", "false")

    def _restore(self) -> None:
        """Restore the state before the last restart."""
        self.reservations.start()
        self.availability.refresh()
        if isinstance(self.sessions, ManagedSessions):
            self.sessions.load()
        if self._boot_text in ("RemoteReset", "ScheduledReset"):
            self.resumption.restore("ImmediateReset", "ResetCommand", commanded=self.resuming)
        else:
            reason: Reason = "Reboot" if self.settings.same_boot else "PowerLoss"
            self.resumption.restore(reason, "AbnormalCondition", commanded=False)
        self.tariffs.start()
        self.local_costs.start()
        self.metering.align()
        self.monitors.start()
        self.data_collector.start()
        self.diagnostics.start()
        self.certificates.start()
        self.firmware.start()
        self.publishing.start()
        self.dynamic_profiles.start()
        self.der.start()
        self.der_response.start()
        self.display.refresh()
        # the restart of the station (A04)
        how = "ResetOrReboot" if self._boot_text or self.settings.same_boot else "StartupOfTheDevice"
        self.diagnostics.security_event(how, self.link.boot_reason)
        self.smart_charging.limits_changed()
        self.payments.start()
        self.kernel.started()

    def _boot_reason(self) -> BootReason:
        stored = self.kernel.stored_text("boot")
        self._boot_text = stored.get("reason", "")
        self.resuming = "resume" in stored
        """Whether transactions survive the restart (B13)."""
        for key in stored:
            self.kernel.forget("boot", key)
        known: tuple[BootReason, ...] = ("RemoteReset", "FirmwareUpdate", "ScheduledReset")
        return next((reason for reason in known if reason == self._boot_text), self.settings.boot_reason)

    # -- the interface

    def start(self, moment: Moment) -> list[Action]:
        """Start to connect."""
        return self._step(moment, self.link.start)

    def stop(self, moment: Moment) -> list[Action]:
        """Disconnect."""
        return self._step(moment, self.link.stop)

    def opened(self, version: Version, moment: Moment) -> list[Action]:
        """Handle an open connection."""
        return self._step(moment, lambda: self.link.opened(version), contained="opened")

    def failed(self, reason: str, moment: Moment, *, tls: str = "", wait_s: float = 0.0) -> list[Action]:
        """Handle a failed connection attempt; `tls` is the TLS error, as named by TlsError, `wait_s` how long the CSMS
        asks to wait."""
        return self._step(moment, lambda: self.link.failed(reason, tls, wait_s), contained="failed")

    def closed(self, reason: str, moment: Moment) -> list[Action]:
        """Handle a lost connection."""
        return self._step(moment, lambda: self.link.closed(reason), contained="closed")

    def lost(self, reason: str, moment: Moment) -> list[Action]:
        """Handle the end of a connection, or of an attempt to connect, whichever it was."""
        return self._step(moment, lambda: self.link.lost(reason), contained="lost")

    def receive(self, text: str, moment: Moment) -> list[Action]:
        """Handle a frame from the CSMS."""
        return self._step(moment, lambda: self.link.receive(text), contained="receive")

    def unsaved(self, moment: Moment, *, unsent: bool) -> list[Action]:
        """Handle changes that could not be saved; `unsent`: so a request was not sent, which may report them."""
        return self._step(moment, lambda: self._unsaved(unsent=unsent), contained="unsaved")

    def _unsaved(self, *, unsent: bool) -> None:
        self.outbox.unsaved()
        if unsent:
            self.link.unsent()

    def tick(self, moment: Moment) -> list[Action]:
        """Run the timers that are due."""
        return self._step(moment, lambda: None)

    def handle(self, fact: Fact, moment: Moment) -> list[Action]:
        """Handle a fact from the hardware."""
        return self._step(moment, lambda: self._take(fact), contained=type(fact).__name__)

    @property
    def version(self) -> Version:
        """The negotiated OCPP version, or the one to be offered first; 2.0.1 in place of 1.6."""
        first = self.settings.versions[0]
        return self.kernel.version if self.kernel.reachable else "2.0.1" if first == "1.6" else first

    def call(
        self, request: Message, then: Callable[[Answer], None], moment: Moment, *, timeout: float | None = None
    ) -> list[Action]:
        """Send a request of the charger; `then` gets the answer or the error, at once if there is no connection."""
        return self._step(moment, lambda: self.kernel.call(request, then, timeout=timeout))

    def judge_contract(
        self, fact: ContractPresented, then: Callable[[AuthorizeOutcome, TokenVerdict], None], moment: Moment
    ) -> list[Action]:
        """Check whether a vehicle's contract may charge; `then` gets the outcome, perhaps at once."""
        return self._step(moment, lambda: self.authorizer.judge_contract(fact, then))

    def notify(self, request: Message, moment: Moment) -> list[Action]:
        """Send the CSMS a message, now or when it is reachable again."""
        return self._step(moment, lambda: self.outbox.add(request))

    def remember(self, key: str, text: str, moment: Moment) -> list[Action]:
        """Store a text of the surrounding program across restarts."""
        return self._step(moment, lambda: self.kernel.keep_text("program", key, text))

    def problem(self, evse_id: int, problem: str, moment: Moment, *, active: bool) -> list[Action]:
        """Report the start or end of a hardware fault (N07); `problem` is one of `v2g.hardware.faults.FAULTS`."""

        def notify() -> None:
            number = self.monitors.next_event()
            self.outbox.add(problem_event(evse_id, problem, number, self.kernel.utc_ms, active=active))

        return self._step(moment, notify)

    def lead(self, work: Callable[[ManagedSessions], None], moment: Moment) -> list[Action]:
        """Let the charger act on the transactions that it manages."""
        assert isinstance(self.sessions, ManagedSessions)
        sessions = self.sessions
        return self._step(moment, lambda: work(sessions))

    def resume(self, record: TransactionRecord, sample: MeterSample | None, moment: Moment) -> list[Action]:
        """Resume a transaction that the charger manages after an interruption; `sample` is the current meter sample."""
        return self._step(moment, lambda: self._resume(record, sample))

    def _resume(self, record: TransactionRecord, sample: MeterSample | None) -> None:
        assert isinstance(self.sessions, ManagedSessions)
        self.sessions.wait_for_vehicle(record, sample)
        self.resumption.on_resumed.tell(self.evses[record.evse_id])
        self.resumption.stamp()

    def show(self, place: tuple[int, int], status: ConnectorStatus, moment: Moment) -> list[Action]:
        """Set a connector's state as known by the charger."""
        return self._step(moment, lambda: self._show(place, status))

    def _show(self, place: tuple[int, int], status: ConnectorStatus) -> None:
        self.availability.show(place, status)
        if isinstance(self.sessions, ManagedSessions):
            self.sessions.shown(place[0], status)
            evse = self.evses[place[0]]
            if status == "Occupied" and self.sessions.is_free(evse):
                self.authorizer.seat(evse)

    def deadline(self) -> float | None:
        """Return when `tick` is due, on the clock of `now`, or None."""
        due = [when for when in (self.kernel.deadline(), self.link.deadline()) if when is not None]
        return min(due, default=None)

    def _step(self, moment: Moment, work: Callable[[], None], *, contained: str = "") -> list[Action]:
        """Do one step. A defect in `contained` work, which comes from outside and which nothing awaits, ends there."""
        kernel = self.kernel
        kernel.at(moment)
        kernel.contain("link", self.link.tick)
        kernel.run_timers()
        if contained:
            kernel.contain(contained, work)
        else:
            work()
        kernel.contain("outbox", self.link.pump)
        while (due := kernel.deadline()) is not None and due <= kernel.now:
            kernel.run_timers()
            kernel.contain("outbox", self.link.pump)
        actions, self.kernel.actions = self.kernel.actions, []
        return actions

    # -- facts

    def _answer(self, request: Message) -> Message:
        if self.kernel.registration == "Rejected":
            raise OcppError("the CSMS has not accepted this station", answer="SecurityError")  # B03.FR.08
        return self.table[action_of(request)](request)

    def _take(self, fact: Fact) -> None:
        if (taker := self._takers.get(type(fact))) is not None:
            taker(fact)
        else:
            # facts that concern several blocks
            match fact:
                case Plug():
                    if fact.evse_id in self.evses:
                        self._plugged(fact)
                case Fault():
                    # one that stops energy ends the transaction (E06.FR.16)
                    self.availability.fault(fact)
                    self.diagnostics.fault(fact)
                    if fact.active and fact.stops:
                        for evse in self.evses.values():
                            if fact.evse_id in (0, evse.number) and evse.record is not None:
                                self.sessions.end(evse, "AbnormalCondition", reason="Other")
                case GridFrequency():
                    self.sessions.hertz = fact.hz if fact.measured else None
                    self.frequency.measured(fact)
                    self.der_response.measured(fact)
                    self.der_reactive.measured(fact)
                case LockFailure():
                    self.availability.lock_failure(fact)
                    self.remote_control.lock_failed(fact)
                    if not fact.unlocking:
                        self.sessions.suspend(self.evses[fact.evse_id])  # G05.FR.01
                case _:
                    if not self.payments.take(fact):
                        self.high_level.take(fact)
        self.availability.refresh()

    def _plugged(self, fact: Plug) -> None:
        """Update the status first, then send the transaction event; both set cable ends, hence the check up front."""
        evse = self.evses[fact.evse_id]
        connector = evse.connector(fact.connector_id)
        if connector is not None:
            ends = connector.station_end, connector.vehicle_end
            connector.station_end, connector.vehicle_end = fact.station, fact.vehicle
            connector.locked = connector.locked and fact.station  # without a cable there is none to hold
            self.availability.refresh()
            connector.station_end, connector.vehicle_end = ends
        if evse.resuming:
            self.resumption.plugged(fact)
        else:
            self.sessions.plug(fact)
        self.authorizer.plugged(evse)

    def _registered(self) -> None:
        if self.kernel.offline_since == float("-inf"):
            self.monitors.streams.forgotten()
        self.availability.registered(self.kernel.now - self.kernel.offline_since)
        self.monitors.streams.registered()
        self.smart_charging.limits_changed()
        self.external_limits.registered()

    def _transaction_ended(self, _evse: Evse, _record: TransactionRecord) -> None:
        self.availability.refresh()
        self.provisioning.idle()
        self.firmware.idle()
