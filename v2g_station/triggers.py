"""What the CSMS can have sent at any time: which message which block sends (F06)."""

from v2g.ocpp.messages.availability import HeartbeatRequest
from v2g.ocpp.messages.base import EVSE
from v2g_station.assembly import Blocks
from v2g_station.blocks.connection.link import Link
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.settings import TRIGGERS


def join_triggers(blocks: Blocks, link: Link) -> None:
    """Tell the block that serves TriggerMessage who sends what, as far as this station can."""
    kernel, control, signing = blocks.kernel, blocks.remote_control, blocks.signing
    control.triggers |= {
        "BootNotification": lambda _: link.boot(),
        "LogStatusNotification": blocks.diagnostics.trigger,
        "FirmwareStatusNotification": blocks.firmware.trigger,
        "PublishFirmwareStatusNotification": blocks.publishing.trigger,
        "SignChargingStationCertificate": lambda _: signing.ask("ChargingStationCertificate"),
        "SignV2GCertificate": lambda _: signing.ask("V2GCertificate"),
        "SignCombinedCertificate": lambda _: signing.ask("ChargingStationCertificate"),
        "Heartbeat": lambda _: kernel.call(HeartbeatRequest(), always=True),
        "MeterValues": blocks.metering.trigger,
        "StatusNotification": lambda place: _send_status(blocks, place),
        "TransactionEvent": lambda place: _send_events(blocks, place),
    }
    control.custom_triggers["NotifyChargingLimit"] = blocks.external_limits.triggered
    kernel.put("CustomizationCtrlr.CustomTriggers", ",".join(control.custom_triggers))
    for ability, names in TRIGGERS.items():
        if ability not in blocks.settings.able:
            for name in names:
                del control.triggers[name]
    control.trigger_refused |= {
        "BootNotification": lambda _: kernel.registration == "Accepted",  # F06.FR.17
        "TransactionEvent": lambda place: not _with_transaction(blocks, place),
        "NotifyChargingLimit": blocks.external_limits.none_at,
    }


def _with_transaction(blocks: Blocks, place: EVSE | None) -> list[Evse]:
    numbers = [place.id] if place is not None and place.id else list(blocks.evses)
    return [evse for number, evse in blocks.evses.items() if number in numbers and evse.record is not None]


def _send_events(blocks: Blocks, place: EVSE | None) -> None:
    for evse in _with_transaction(blocks, place):
        blocks.sessions.triggered(evse)


def _send_status(blocks: Blocks, place: EVSE | None) -> None:
    for number, evse in blocks.evses.items():
        for connector in evse.connectors:
            meant = place is None or place.id in (0, number)
            if meant and (place is None or place.connector_id in (None, connector.number)):
                blocks.availability.notify((number, connector.number))
