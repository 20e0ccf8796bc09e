"""All functional blocks of a station on one kernel, and the table of their request handlers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import EVSE, Message, OperationMode
from v2g.ocpp.messages.remote_control import TriggerMessageRequest, TriggerMessageResponse
from v2g_station.blocks.authorization.authorization import Authorizer
from v2g_station.blocks.authorization.cache import Cache
from v2g_station.blocks.authorization.local_list import LocalAuthorizationList
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.connection.network import NetworkProfiles
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.cost.local_cost import LocalCosts, TariffCost
from v2g_station.blocks.cost.priced import stored_prices
from v2g_station.blocks.cost.tariffs import StationTariffs
from v2g_station.blocks.data_transfer import DataTransfer
from v2g_station.blocks.der.der import DerControls
from v2g_station.blocks.der.reactive import DerReactive
from v2g_station.blocks.der.response import DerResponse
from v2g_station.blocks.der.vehicle_inverters import VehicleInverters
from v2g_station.blocks.diagnostics.data_collector import DataCollector
from v2g_station.blocks.diagnostics.diagnostics import Diagnostics
from v2g_station.blocks.diagnostics.monitoring import Monitors, factory_monitors
from v2g_station.blocks.display import DisplayMessages
from v2g_station.blocks.evse import Evse, EvseConnector
from v2g_station.blocks.firmware import FirmwareUpdates
from v2g_station.blocks.firmware_publishing import Publishing
from v2g_station.blocks.payment.payment import CardPayments
from v2g_station.blocks.provisioning import StationProvisioning
from v2g_station.blocks.remote_control import RemoteControl
from v2g_station.blocks.reservation import Reservations
from v2g_station.blocks.reservation_book import ReservationBook
from v2g_station.blocks.security.certificate_store import CertificateStore
from v2g_station.blocks.security.certificates import CertificateStatuses
from v2g_station.blocks.security.signing import Signing
from v2g_station.blocks.settings import NEEDS, TRIGGERS, StationSettings, with_der
from v2g_station.blocks.smart_charging import smart_charging
from v2g_station.blocks.smart_charging.external_limits import ExternalLimits
from v2g_station.blocks.smart_charging.high_level import HighLevel
from v2g_station.blocks.smart_charging.local_control import FrequencyResponse, LoadBalancing
from v2g_station.blocks.smart_charging.profile_rules import MODES
from v2g_station.blocks.transaction_limits import TransactionLimits
from v2g_station.blocks.transaction_records import ReadMeter
from v2g_station.blocks.transactions.managed import ManagedSessions
from v2g_station.blocks.transactions.metering import Metering
from v2g_station.blocks.transactions.resumption import Resumption
from v2g_station.blocks.transactions.sessions import EvseSessions, FunctionalBlock, Shared
from v2g_station.blocks.web_payment import WebPayments
from v2g_station.kernel.kernel import Handler, Kernel, Moment, SavedDocuments, status_info

_PER_EVSE: Final = frozenset({"MeterValues", "StatusNotification", "TransactionEvent", "NotifyChargingLimit"})


class Triggers(FunctionalBlock):
    """Has blocks send requested messages, as far as this station is `able` to."""

    def __init__(
        self,
        shared: Shared,
        availability: Availability,
        metering: Metering,
        external_limits: ExternalLimits,
        diagnostics: Diagnostics,
        signing: Signing,
        firmware: FirmwareUpdates,
        publishing: Publishing,
        *,
        able: frozenset[str],
    ) -> None:
        super().__init__(shared)
        self._availability = availability
        self._send: dict[str, Callable[[EVSE | None], None]] = {
            "BootNotification": lambda _: self._k.connection.boot(triggered=True),
            "LogStatusNotification": diagnostics.trigger,
            "FirmwareStatusNotification": firmware.trigger,
            "PublishFirmwareStatusNotification": publishing.trigger,
            "SignChargingStationCertificate": lambda _: signing.ask("ChargingStationCertificate"),
            "SignV2GCertificate": lambda _: signing.ask("V2GCertificate"),
            "SignV2G20Certificate": lambda _: signing.ask("V2GCertificate"),
            "SignCombinedCertificate": lambda _: signing.ask("ChargingStationCertificate"),
            "Heartbeat": lambda _: self._k.call(HeartbeatRequest(), always=True),
            "MeterValues": metering.trigger,
            "StatusNotification": self._send_status,
            "TransactionEvent": self._send_events,
        }
        for ability, names in TRIGGERS.items():
            if ability not in able:
                for name in names:
                    del self._send[name]
        self._send_custom = {"NotifyChargingLimit": external_limits.triggered}
        """Further messages, by name in CustomTriggers (2.1)."""
        self._k.put("CustomizationCtrlr.CustomTriggers", ",".join(self._send_custom))
        self._refuse: dict[str, Callable[[EVSE | None], bool]] = {
            "BootNotification": lambda _: self._k.registration == "Accepted",  # F06.FR.17
            "TransactionEvent": lambda place: not self._with_transaction(place),
            "NotifyChargingLimit": external_limits.none_at,
            "SignV2GCertificate": lambda _: not signing.asks_for("V2GCertificate"),
            "SignV2G20Certificate": lambda _: not signing.asks_for("V2G20Certificate"),
        }
        self.answers: dict[str, Handler] = {"TriggerMessage": self._trigger}

    def _trigger(self, request: TriggerMessageRequest) -> Message:
        """F06."""
        message: str = request.requested_message
        send = self._send.get(message)
        if message == "CustomTrigger":
            message = request.custom_trigger or ""
            send = self._send_custom.get(message)
        if send is None:
            return TriggerMessageResponse(status="NotImplemented")  # F06.FR.08, F06.FR.19
        evse = request.evse
        if evse is not None and evse.id != 0 and evse.id not in self._evses and message in _PER_EVSE:
            return TriggerMessageResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        if message in self._refuse and self._refuse[message](evse):
            return TriggerMessageResponse(status="Rejected")
        self._k.after(f"trigger.{message}", 0, lambda: send(evse))  # F06.FR.04, .18
        return TriggerMessageResponse(status="Accepted")

    def _with_transaction(self, place: EVSE | None) -> list[Evse]:
        numbers = [place.id] if place is not None and place.id else list(self._evses)
        return [evse for number, evse in self._evses.items() if number in numbers and evse.record is not None]

    def _send_events(self, place: EVSE | None) -> None:
        for evse in self._with_transaction(place):
            self._sessions.triggered(evse)

    def _send_status(self, place: EVSE | None) -> None:
        for number, evse in self._evses.items():
            for connector in evse.connectors:
                meant = place is None or place.id in (0, number)
                if meant and (place is None or place.connector_id in (None, connector.number)):
                    self._availability.notify((number, connector.number))


class Blocks:
    """The blocks. `read` returns the current meter sample of an EVSE (0: the main meter), or None without one; `serves`
    returns whether an EVSE has a service for any of some energy transfer modes."""

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
        self.web_payments = WebPayments(shared, availability, self.reservations, managed=managed)
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
        self.table = self._gather()

    def _gather(self) -> dict[str, Handler]:
        """Return the handlers of all blocks by action, without those of missing abilities."""
        blocks = (
            self.networks, self.sessions, self.availability, self.cache, self.local_list, self.reservations,
            self.smart_charging, self.remote_control, self.triggers, self.provisioning, self.tariff_cost, self.tariffs,
            self.local_costs, self.energy_transfers, self.data_transfer, self.monitors, self.diagnostics,
            self.certificates, self.signing, self.firmware, self.publishing, self.display, self.dynamic_profiles,
            self.frequency, self.der, self.web_payments, self.priority,
        )  # fmt: skip
        found = {action: handler for block in blocks for action, handler in block.answers.items()}
        for ability, actions in NEEDS.items():
            if ability not in self.settings.able:
                for action in actions:
                    del found[action]
        return found
