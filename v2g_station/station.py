"""A charging station: all functional blocks on one kernel, and the interface for frames, facts and time.

Every call takes the `Moment` and returns the actions that follow, in order. `deadline` says when to call `tick`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from v2g.errors import OcppError
from v2g.hardware.faults import FAULTS
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import Message, OperationMode
from v2g.ocpp.messages.provisioning import BootReason
from v2g.ocpp.messages.transactions import Reason
from v2g.ocpp.routes import Version, action_of
from v2g.ocpp.rpc import Mend
from v2g.ocpp.times import format_time
from v2g_station.blocks.authorization.authorization import Authorizer
from v2g_station.blocks.authorization.cache import Cache
from v2g_station.blocks.authorization.contracts import AuthorizeOutcome
from v2g_station.blocks.authorization.local_list import LocalAuthorizationList
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.connection.link import CsmsLink
from v2g_station.blocks.connection.network import NetworkProfiles
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.cost.local_cost import LocalCosts, TariffCost
from v2g_station.blocks.cost.priced import stored_prices
from v2g_station.blocks.cost.tariffs import StationTariffs
from v2g_station.blocks.data_transfer import DataTransfer
from v2g_station.blocks.der.der import DerControls, GridEvent
from v2g_station.blocks.der.reactive import DerReactive
from v2g_station.blocks.der.response import DerResponse
from v2g_station.blocks.der.vehicle_inverters import VehicleGridEvent, VehicleInverters
from v2g_station.blocks.diagnostics.data_collector import DataCollector
from v2g_station.blocks.diagnostics.diagnostics import Diagnostics, LogProgress, problem_event
from v2g_station.blocks.diagnostics.monitoring import Monitors, factory_monitors
from v2g_station.blocks.display import DisplayMessages
from v2g_station.blocks.evse import (
    Bay,
    ContractPresented,
    Evse,
    EvseConnector,
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
from v2g_station.blocks.firmware import FirmwareProgress, FirmwareUpdates
from v2g_station.blocks.firmware_publishing import Fetched, Publishing, PublishProgress
from v2g_station.blocks.payment.payment import CardPayments
from v2g_station.blocks.provisioning import StationProvisioning
from v2g_station.blocks.remote_control import RemoteControl
from v2g_station.blocks.reservation import Reservations
from v2g_station.blocks.reservation_book import ReservationBook
from v2g_station.blocks.security.certificate_store import CertificateStore
from v2g_station.blocks.security.certificates import CertificateStatuses
from v2g_station.blocks.security.signing import CertificateTaken, ChainFound, RequestMade, Signing
from v2g_station.blocks.settings import NEEDS, StationSettings, with_der
from v2g_station.blocks.smart_charging import smart_charging
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit, ExternalLimits
from v2g_station.blocks.smart_charging.high_level import HighLevel
from v2g_station.blocks.smart_charging.local_control import (
    FrequencyResponse,
    GridFrequency,
    LoadBalancing,
    UpstreamLoad,
)
from v2g_station.blocks.smart_charging.profile_rules import MODES
from v2g_station.blocks.smart_charging.smart_charging import PriorityChargingRequested, SleepRefused
from v2g_station.blocks.transaction_limits import DriverLimit, TransactionLimits
from v2g_station.blocks.transaction_records import MeterSample, ReadMeter, TransactionRecord
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.blocks.transactions.metering import Metering
from v2g_station.blocks.transactions.resumption import Restarted, Resumption
from v2g_station.blocks.transactions.sessions import EvseSessions, Shared
from v2g_station.blocks.triggers import Triggers
from v2g_station.blocks.web_payment import WebPaymentRequested, WebPayments
from v2g_station.kernel.kernel import Action, Answer, Kernel, Moment, SavedDocuments

if TYPE_CHECKING:
    from v2g.ocpp.v16.mirrored import MirroredPeer


class StationCore:
    """One station: its blocks, by name. `read` returns the current meter sample of an EVSE (0: the main meter), or None
    without one; `serves` returns whether an EVSE has a service for any of some energy transfer modes."""

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
        self.kernel = kernel = Kernel(
            with_der(settings), saved, moment, entropy, scale=settings.scale, values=settings.values
        )
        self.settings = settings
        self.evses = evses = {
            number: Evse(
                number=number,
                connectors=[
                    EvseConnector(number=position, fixed_cable=connector.fixed_cable, station_end=connector.fixed_cable)
                    for position, connector in enumerate(evse.connectors, 1)
                ],
            )
            for number, evse in enumerate(settings.layout.evses, 1)
        }
        managed, able = settings.managed, settings.able
        self.outbox = outbox = CsmsOutbox(kernel, limit=settings.max_events)
        self.sessions = sessions = (ManagedSessions if managed else EvseSessions)(kernel, outbox, evses, read)
        shared = Shared(kernel, evses, sessions, outbox, read)
        self.resumption = Resumption(shared)
        book = ReservationBook(kernel, evses)
        self.availability = availability = Availability(shared, book)
        self.reservations = Reservations(shared, book, availability)
        self.web_payments = WebPayments(shared, availability, self.reservations)
        self.cache = Cache(kernel)
        self.local_list = LocalAuthorizationList(kernel)
        self.authorizer = Authorizer(shared, self.cache, self.local_list, self.reservations, self.web_payments)
        local: dict[str, OperationMode] = {"frequency": FrequencyResponse.mode, "load": LoadBalancing.mode}
        modes = (*MODES, *(mode for ability, mode in local.items() if ability in able))
        self.smart_charging = smart = smart_charging.ChargingProfiles(shared, modes)
        self.frequency = FrequencyResponse(shared, smart)
        self.load_balancing = LoadBalancing(shared, smart)
        close = partial(availability.close, "reset")
        self.provisioning = StationProvisioning(
            shared, self.resumption, close, managed=managed, can_reset="reset" in able
        )
        self.metering = Metering(shared)
        self.energy_transfers = smart_charging.EnergyTransfers(shared, serves)
        self.data_transfer = DataTransfer(kernel, attests="attestation" in able)
        self.monitors = Monitors(shared, factory=factory_monitors(kernel.model))
        priced = stored_prices(kernel)
        self.tariffs = StationTariffs(shared, self.cache, self.monitors, priced)
        reserved = self.reservations.made_ms
        self.local_costs = LocalCosts(shared, self.tariffs, priced, reserved=reserved, managed=managed)
        self.tariff_cost = TariffCost(shared, self.local_costs)
        self.data_collector = DataCollector(shared)
        self.diagnostics = Diagnostics(shared, self.monitors, self.cache, self.local_list, self.data_collector.log)
        security_event = self.diagnostics.security_event
        self.certificates = CertificateStore(kernel, settings.roots, settings.chains)
        self.signing = Signing(kernel, self.certificates, security_event)
        self.certificate_status = CertificateStatuses(kernel, self.certificates)
        self.networks = NetworkProfiles(
            kernel, settings.network, settings.identity, certificates=self.certificates, security_event=security_event
        )
        self.firmware = FirmwareUpdates(
            shared,
            self.certificates,
            version=settings.layout.firmware,
            busy=lambda: any(evse.record is not None for evse in evses.values()),
            promised=lambda: bool(book.all) or any(each.authorization and not each.record for each in evses.values()),
            window=settings.update_window,
            close=partial(availability.close, "firmware"),
            security_event=security_event,
        )
        self.publishing = Publishing(shared)
        self.display = DisplayMessages(shared, availability, managed=managed)
        hertz, volt, inverter = settings.nominal_hz, settings.nominal_v, settings.inverter
        self.der = DerControls(shared, settings.der_controls, inverter=inverter, nominal_v=volt)
        self.vehicle_inverters = VehicleInverters(
            kernel, self.der, settings.vehicle_controls, nominal_hz=hertz, nominal_v=volt
        )
        self.der_response = DerResponse(
            shared,
            self.der,
            nominal_hz=hertz,
            nominal_v=volt,
            own=settings.frequency_response,
            led=lambda evse: self.frequency.period(evse) is not None,
        )
        out = self.der_response.out
        self.der_reactive = DerReactive(shared, self.der, out=out, nominal_v=volt, max_var=inverter.max_var)
        self.der_response.on_follow(self.der_reactive.follow)
        self.high_level = HighLevel(shared, smart)
        self.external_limits = ExternalLimits(shared, smart)
        self.dynamic_profiles = smart_charging.DynamicProfiles(kernel, smart)
        self.priority = smart_charging.PriorityCharging(shared, smart)
        self.transaction_limits = limits = TransactionLimits(shared, self.local_costs, self.tariff_cost)
        self.remote_control = RemoteControl(
            shared, self.authorizer, smart, self.web_payments, managed=managed, can_start="remote_start" in able
        )
        self.triggers = Triggers(
            shared,
            availability,
            self.metering,
            self.external_limits,
            self.diagnostics,
            self.signing,
            self.firmware,
            self.publishing,
            able=able,
        )
        self.payments = CardPayments(shared, self.authorizer, self.web_payments, limits, self.local_costs)
        # the handlers of all blocks by action, without those of missing abilities
        blocks = (
            self.networks, self.sessions, self.availability, self.cache, self.local_list, self.reservations,
            self.smart_charging, self.remote_control, self.triggers, self.provisioning, self.tariff_cost, self.tariffs,
            self.local_costs, self.energy_transfers, self.data_transfer, self.monitors, self.diagnostics,
            self.certificates, self.signing, self.firmware, self.publishing, self.display, self.dynamic_profiles,
            self.frequency, self.der, self.web_payments, self.priority,
        )  # fmt: skip
        self.table = handlers = {action: handler for block in blocks for action, handler in block.answers.items()}
        for ability, actions in NEEDS.items():
            if ability not in self.settings.able:
                for action in actions:
                    del handlers[action]
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
        self._takers = self._fact_handlers()
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
        for name in ("SupportsEvseSleep", "SupportsFeature[EvseSleep]"):
            kernel.put(f"SmartChargingCtrlr.{name}", str("sleep" in self.settings.able).lower())
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
            self.diagnostics.show_problem(evse_id, 1, FAULTS[problem].component, problem, active=active)

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

    def _fact_handlers(self) -> dict[type[Fact], Callable[..., None]]:
        """Return the handlers of facts that concern one block alone."""
        return {
            TokenPresented: self.authorizer.token,
            ContractPresented: self.authorizer.contract,
            VehicleAddress: self.authorizer.vehicle,
            StopButton: self.authorizer.stop_button,
            Power: self.sessions.power,
            PowerLimited: self.sessions.limited,
            Bay: self.sessions.bay,
            MeterSigns: self.sessions.signature,
            ExternalLimit: self.external_limits.take,
            GridEvent: self.der.grid_event,
            VehicleGridEvent: self.vehicle_inverters.grid_event,
            UpstreamLoad: self.load_balancing.measured,
            PriorityChargingRequested: self.priority.requested,
            DriverLimit: self.transaction_limits.driver,
            WebPaymentRequested: self.web_payments.requested,
            RequestMade: self.signing.request_made,
            ChainFound: self.signing.found,
            SleepRefused: self.smart_charging.sleep_refused,
            CertificateTaken: self.signing.taken,
            FirmwareProgress: self.firmware.progress,
            PublishProgress: self.publishing.progress,
            Fetched: self.publishing.fetched,
            LogProgress: self.diagnostics.progress,
            SecurityEventFound: lambda fact: self.diagnostics.security_event(fact.type, fact.info),
            Restarted: self.resumption.restarted,
            Unlocked: self.remote_control.unlocked,
        }

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
