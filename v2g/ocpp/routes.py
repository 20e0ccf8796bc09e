"""The message classes of actions, and the modules that declare them.

Modules of declarations are imported when one of their actions is first used: a station without tariffs
does not load them.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from v2g.ocpp.messages.base import Message

Version = Literal["2.0.1", "2.1"]

SUBPROTOCOLS: Final[Mapping[str, Version]] = {"ocpp2.1": "2.1", "ocpp2.0.1": "2.0.1"}
"""WebSocket subprotocol -> version, in order of preference (OCPP-J 3.1.2)."""

_IN_201: Final[Mapping[str, str]] = {
    "authorization": "Authorize ClearCache",
    "availability": "ChangeAvailability Heartbeat StatusNotification",
    "certificates": "DeleteCertificate Get15118EVCertificate GetCertificateStatus GetInstalledCertificateIds "
    "InstallCertificate",
    "data_transfer": "DataTransfer",
    "diagnostics": "CustomerInformation GetLog LogStatusNotification NotifyCustomerInformation NotifyEvent",
    "display": "ClearDisplayMessage GetDisplayMessages NotifyDisplayMessages SetDisplayMessage",
    "ev_charging": "NotifyEVChargingNeeds NotifyEVChargingSchedule",
    "firmware": "FirmwareStatusNotification PublishFirmware PublishFirmwareStatusNotification UnpublishFirmware "
    "UpdateFirmware",
    "local_list": "GetLocalListVersion SendLocalList",
    "metering": "MeterValues",
    "monitoring": "ClearVariableMonitoring GetMonitoringReport NotifyMonitoringReport SetMonitoringBase "
    "SetMonitoringLevel SetVariableMonitoring",
    "network_profile": "SetNetworkProfile",
    "provisioning": "BootNotification GetBaseReport GetReport GetVariables NotifyReport Reset SetVariables",
    "remote_control": "RequestStartTransaction RequestStopTransaction TriggerMessage UnlockConnector",
    "reservation": "CancelReservation ReservationStatusUpdate ReserveNow",
    "security": "CertificateSigned SecurityEventNotification SignCertificate",
    "smart_charging": "ClearChargingProfile ClearedChargingLimit GetChargingProfiles GetCompositeSchedule "
    "NotifyChargingLimit ReportChargingProfiles SetChargingProfile",
    "tariff_cost": "CostUpdated",
    "transactions": "GetTransactionStatus TransactionEvent",
}
"""Module of declarations -> the actions of both versions."""

_NEW_IN_21: Final[Mapping[str, str]] = {
    "battery_swap": "BatterySwap RequestBatterySwap",
    "bidirectional": "AFRRSignal NotifyAllowedEnergyTransfer",
    "certificates": "GetCertificateChainStatus",
    "der_control": "ClearDERControl GetDERControl NotifyDERAlarm NotifyDERStartStop ReportDERControl SetDERControl",
    "event_streams": "AdjustPeriodicEventStream ClosePeriodicEventStream GetPeriodicEventStream "
    "NotifyPeriodicEventStream OpenPeriodicEventStream",
    "payment": "NotifySettlement NotifyWebPaymentStarted VatNumberValidation",
    "smart_charging": "NotifyPriorityCharging PullDynamicScheduleUpdate UpdateDynamicSchedule UsePriorityCharging",
    "tariff_cost": "ChangeTransactionTariff ClearTariffs GetTariffs SetDefaultTariff",
}
"""Module of declarations -> the actions of 2.1 only."""

UNCONFIRMED: Final[frozenset[str]] = frozenset(["NotifyPeriodicEventStream"])
"""Actions sent as SEND and never answered (OCPP-J 2.1, 4.2.4); their message has no suffix."""


def _modules(actions: Mapping[str, str]) -> dict[str, str]:
    return {action: module for module, names in actions.items() for action in names.split()}


_DECLARED: Final[Mapping[str, str]] = _modules(_IN_201) | _modules(_NEW_IN_21)
_KNOWN: Final[Mapping[Version, frozenset[str]]] = {"2.0.1": frozenset(_modules(_IN_201)), "2.1": frozenset(_DECLARED)}

DECLARED: Final[frozenset[str]] = frozenset(_DECLARED)
"""Every action of either version."""


def known(version: Version) -> frozenset[str]:
    """Return every action that a version of OCPP defines."""
    return _KNOWN[version]


@cache
def request_type(action: str) -> type[Message]:
    """Return the class of an action's request, or of an unanswered message. Raises KeyError for an unknown action."""
    return _message(action, "" if action in UNCONFIRMED else "Request")


@cache
def response_type(action: str) -> type[Message]:
    """Return the class of an action's response. Raises KeyError for an unknown action, and one without a response."""
    if action in UNCONFIRMED:
        raise KeyError(action)
    return _message(action, "Response")


def action_of(request: Message) -> str:
    """Return the action of a request: its class name without `Request` (OCPP-J 4.1.6)."""
    return type(request).__name__.removesuffix("Request")


def _message(action: str, suffix: str) -> type[Message]:
    module = importlib.import_module(f"v2g.ocpp.messages.{_DECLARED[action]}")
    found: type[Message] = getattr(module, action + suffix)
    return found
