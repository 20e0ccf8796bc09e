"""Which action is which message, and where it is declared.

Modules of declarations are imported when one of their actions is first met: a station that never sees a tariff
does not pay for declaring one.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

from v2g.ocpp.messages.base import Message

Version = Literal["2.0.1", "2.1"]

SUBPROTOCOLS: Final[Mapping[str, Version]] = MappingProxyType({"ocpp2.1": "2.1", "ocpp2.0.1": "2.0.1"})
"""WebSocket subprotocol -> version, in order of preference (OCPP-J 3.1.2)."""

_DECLARED: Final[Mapping[str, str]] = MappingProxyType(
    {
        action: module
        for module, actions in {
            "authorization": "Authorize ClearCache",
            "availability": "ChangeAvailability Heartbeat StatusNotification",
            "certificates": "DeleteCertificate Get15118EVCertificate GetCertificateStatus "
            "GetInstalledCertificateIds InstallCertificate",
            "data_transfer": "DataTransfer",
            "diagnostics": "GetLog LogStatusNotification NotifyEvent",
            "ev_charging": "NotifyEVChargingNeeds NotifyEVChargingSchedule",
            "metering": "MeterValues",
            "provisioning": "BootNotification GetBaseReport GetReport GetVariables NotifyReport Reset SetVariables",
            "remote_control": "RequestStartTransaction RequestStopTransaction TriggerMessage UnlockConnector",
            "security": "CertificateSigned SecurityEventNotification SignCertificate",
            "smart_charging": "ClearChargingProfile ClearedChargingLimit GetChargingProfiles GetCompositeSchedule "
            "NotifyChargingLimit ReportChargingProfiles SetChargingProfile",
            "tariff_cost": "CostUpdated",
            "transactions": "GetTransactionStatus TransactionEvent",
        }.items()
        for action in actions.split()
    }
)

_OTHERS_201: Final = frozenset(
    [
        "CancelReservation",
        "ClearDisplayMessage",
        "ClearVariableMonitoring",
        "CustomerInformation",
        "FirmwareStatusNotification",
        "GetDisplayMessages",
        "GetLocalListVersion",
        "GetMonitoringReport",
        "NotifyCustomerInformation",
        "NotifyDisplayMessages",
        "NotifyMonitoringReport",
        "PublishFirmware",
        "PublishFirmwareStatusNotification",
        "ReservationStatusUpdate",
        "ReserveNow",
        "SendLocalList",
        "SetDisplayMessage",
        "SetMonitoringBase",
        "SetMonitoringLevel",
        "SetNetworkProfile",
        "SetVariableMonitoring",
        "UnpublishFirmware",
        "UpdateFirmware",
    ]
)

_NEW_IN_21: Final = frozenset(
    [
        "AFRRSignal",
        "AdjustPeriodicEventStream",
        "BatterySwap",
        "ChangeTransactionTariff",
        "ClearDERControl",
        "ClearTariffs",
        "ClosePeriodicEventStream",
        "GetCertificateChainStatus",
        "GetDERControl",
        "GetPeriodicEventStream",
        "GetTariffs",
        "NotifyAllowedEnergyTransfer",
        "NotifyDERAlarm",
        "NotifyDERStartStop",
        "NotifyPriorityCharging",
        "NotifySettlement",
        "NotifyWebPaymentStarted",
        "OpenPeriodicEventStream",
        "PullDynamicScheduleUpdate",
        "ReportDERControl",
        "RequestBatterySwap",
        "SetDERControl",
        "SetDefaultTariff",
        "UpdateDynamicSchedule",
        "UsePriorityCharging",
        "VatNumberValidation",
    ]
)

DECLARED: Final[frozenset[str]] = frozenset(_DECLARED)
"""Actions whose messages this library declares; both versions know them all."""


def known(version: Version) -> frozenset[str]:
    """Return every action that a version of OCPP defines, declared here or not."""
    return DECLARED | _OTHERS_201 | (_NEW_IN_21 if version == "2.1" else frozenset())


@cache
def request_type(action: str) -> type[Message]:
    """Return the class of an action's request. Raises KeyError for an action that is not declared here."""
    return _message(action, "Request")


@cache
def response_type(action: str) -> type[Message]:
    """Return the class of an action's response. Raises KeyError for an action that is not declared here."""
    return _message(action, "Response")


def action_of(request: Message) -> str:
    """Return the action that a request is sent under: its name without `Request` (OCPP-J 4.1.6)."""
    return type(request).__name__.removesuffix("Request")


def _message(action: str, suffix: str) -> type[Message]:
    module = importlib.import_module(f"v2g.ocpp.messages.{_DECLARED[action]}")
    found: type[Message] = getattr(module, action + suffix)
    return found
