"""The table of handlers: all actions that this back end accepts from stations.

Each block's module has `async def answer_X(context, request)`, which returns the response, or raises OcppError for
a CALLERROR.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from csms.contracts.station import (
    answer_certificate_chain_status,
    answer_certificate_status,
    answer_get_15118_ev_certificate,
)
from csms.device_model.station import answer_report
from csms.diagnostics.station import (
    answer_close_stream,
    answer_customer_information,
    answer_event,
    answer_log_status,
    answer_monitoring_report,
    answer_open_stream,
    take,
)
from csms.dispatch.station import answer_der_alarm, answer_der_report, answer_der_start_stop
from csms.display.station import answer_display_messages
from csms.firmware.station import answer_firmware_status, answer_publish_status
from csms.ocpp.base import HandlerContext
from csms.payments.station import answer_battery_swap, answer_settlement
from csms.remote_control.station import answer_data_transfer, answer_heartbeat, answer_status_notification
from csms.reservations.station import answer_reservation_status
from csms.smart_charging.station import (
    answer_charging_limit,
    answer_charging_needs,
    answer_cleared_limit,
    answer_ev_schedule,
    answer_priority,
    answer_profile_report,
    answer_pull,
)
from csms.station_security.station import answer_security_event, answer_sign_certificate
from csms.tariffs.station import answer_vat_number_validation
from csms.tokens.station import answer_authorize
from csms.transactions.station import answer_meter_values, answer_transaction_event
from v2g.ocpp.messages.base import Message

ANSWERS: Final[Mapping[str, Callable[[HandlerContext, Any], Awaitable[Message]]]] = {
    "Authorize": answer_authorize,
    "BatterySwap": answer_battery_swap,
    "ClearedChargingLimit": answer_cleared_limit,
    "ClosePeriodicEventStream": answer_close_stream,
    "DataTransfer": answer_data_transfer,
    "FirmwareStatusNotification": answer_firmware_status,
    "GetCertificateChainStatus": answer_certificate_chain_status,
    "GetCertificateStatus": answer_certificate_status,
    "Get15118EVCertificate": answer_get_15118_ev_certificate,
    "LogStatusNotification": answer_log_status,
    "MeterValues": answer_meter_values,
    "NotifyChargingLimit": answer_charging_limit,
    "NotifyCustomerInformation": answer_customer_information,
    "NotifyDERAlarm": answer_der_alarm,
    "NotifyDERStartStop": answer_der_start_stop,
    "NotifyDisplayMessages": answer_display_messages,
    "NotifyEVChargingNeeds": answer_charging_needs,
    "NotifyEVChargingSchedule": answer_ev_schedule,
    "NotifyEvent": answer_event,
    "NotifyMonitoringReport": answer_monitoring_report,
    "NotifyReport": answer_report,
    "NotifyPriorityCharging": answer_priority,
    "NotifySettlement": answer_settlement,
    "OpenPeriodicEventStream": answer_open_stream,
    "PublishFirmwareStatusNotification": answer_publish_status,
    "PullDynamicScheduleUpdate": answer_pull,
    "ReportChargingProfiles": answer_profile_report,
    "ReportDERControl": answer_der_report,
    "ReservationStatusUpdate": answer_reservation_status,
    "SecurityEventNotification": answer_security_event,
    "SignCertificate": answer_sign_certificate,
    "StatusNotification": answer_status_notification,
    "TransactionEvent": answer_transaction_event,
    "VatNumberValidation": answer_vat_number_validation,
}

TAKES: Final[Mapping[str, Callable[[HandlerContext, Message], Awaitable[None]]]] = {"NotifyPeriodicEventStream": take}
"""Messages of stations without an answer (2.1)."""

QUICK: Final[Mapping[str, Callable[[HandlerContext, Any], Message]]] = {"Heartbeat": answer_heartbeat}
"""Actions that are answered at once, without waiting."""

HANDLES: Final = frozenset({"BootNotification", *ANSWERS, *QUICK, *TAKES})
"""Every action that stations may send; the session itself handles BootNotification."""


async def answer(context: HandlerContext, action: str, request: Message) -> Message:
    """Return the response to a request. Raises OcppError for a CALLERROR."""
    return await ANSWERS[action](context, request)


async def take_unanswered(context: HandlerContext, action: str, message: Message) -> None:
    """Handle an unanswered message. Raises V2GError."""
    await TAKES[action](context, message)
