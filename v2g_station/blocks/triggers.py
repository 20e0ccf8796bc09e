"""Messages that the CSMS requests of the station (functional block F, use case F06)."""

from collections.abc import Callable
from typing import Final

from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import EVSE, Message
from v2g.ocpp.messages.remote_control import TriggerMessageRequest, TriggerMessageResponse
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.diagnostics.diagnostics import Diagnostics
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.firmware import FirmwareUpdates
from v2g_station.blocks.firmware_publishing import Publishing
from v2g_station.blocks.security.signing import Signing
from v2g_station.blocks.settings import TRIGGERS
from v2g_station.blocks.smart_charging.external_limits import ExternalLimits
from v2g_station.blocks.transactions.metering import Metering
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, status_info

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
            # F06.FR.17; back ends of 1.6 ask so what a station is that only connects again
            "BootNotification": lambda _: self._k.registration == "Accepted" and not self._k.bridged,
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
