"""The message classes of actions, and the modules that declare them.

Modules of declarations are imported when one of their actions is first used: a station without tariffs
does not load them.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Final, Literal

from v2g.ocpp.messages.base import Message

Version = Literal["1.6", "2.0.1", "2.1"]
Version2 = Literal["2.0.1", "2.1"]
"""What stations and cases of ours speak."""

SUBPROTOCOLS: Final[Mapping[str, Version]] = {"ocpp2.1": "2.1", "ocpp2.0.1": "2.0.1", "ocpp1.6": "1.6"}
"""WebSocket subprotocol -> version, in order of preference (OCPP-J 3.1.2)."""

_IN_201: Final[Mapping[str, str]] = {
    "authorization": "Authorize ClearCache GetLocalListVersion SendLocalList",
    "availability": "ChangeAvailability Heartbeat StatusNotification",
    "certificates": "DeleteCertificate Get15118EVCertificate GetCertificateStatus GetInstalledCertificateIds "
    "InstallCertificate",
    "data_transfer": "DataTransfer",
    "diagnostics": "CustomerInformation GetLog LogStatusNotification NotifyCustomerInformation NotifyEvent",
    "display": "ClearDisplayMessage GetDisplayMessages NotifyDisplayMessages SetDisplayMessage",
    "ev_charging": "NotifyEVChargingNeeds NotifyEVChargingSchedule",
    "firmware": "FirmwareStatusNotification PublishFirmware PublishFirmwareStatusNotification UnpublishFirmware "
    "UpdateFirmware",
    "metering": "MeterValues",
    "monitoring": "ClearVariableMonitoring GetMonitoringReport NotifyMonitoringReport SetMonitoringBase "
    "SetMonitoringLevel SetVariableMonitoring",
    "provisioning": "BootNotification GetBaseReport GetReport GetVariables NotifyReport Reset SetNetworkProfile "
    "SetVariables",
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
    "certificates": "GetCertificateChainStatus",
    "der_control": "ClearDERControl GetDERControl NotifyDERAlarm NotifyDERStartStop ReportDERControl SetDERControl",
    "monitoring": "AdjustPeriodicEventStream ClosePeriodicEventStream GetPeriodicEventStream "
    "NotifyPeriodicEventStream OpenPeriodicEventStream",
    "payment": "NotifySettlement NotifyWebPaymentStarted VatNumberValidation",
    "smart_charging": "AFRRSignal NotifyAllowedEnergyTransfer NotifyPriorityCharging PullDynamicScheduleUpdate "
    "UpdateDynamicSchedule UsePriorityCharging",
    "tariff_cost": "ChangeTransactionTariff ClearTariffs GetTariffs SetDefaultTariff",
}
"""Module of declarations -> the actions of 2.1 only."""

_IN_16: Final = {
    "messages": "Authorize BootNotification CancelReservation CertificateSigned ChangeAvailability "
    "ChangeConfiguration ClearCache ClearChargingProfile DataTransfer DeleteCertificate "
    "DiagnosticsStatusNotification ExtendedTriggerMessage FirmwareStatusNotification GetCompositeSchedule "
    "GetConfiguration GetDiagnostics GetInstalledCertificateIds GetLocalListVersion GetLog Heartbeat "
    "InstallCertificate LogStatusNotification MeterValues RemoteStartTransaction RemoteStopTransaction "
    "ReserveNow Reset SecurityEventNotification SendLocalList SetChargingProfile SignCertificate "
    "SignedFirmwareStatusNotification SignedUpdateFirmware StartTransaction StatusNotification "
    "StopTransaction TriggerMessage UnlockConnector UpdateFirmware"
}
"""Module of `v2g.ocpp.v16` -> the actions of 1.6."""

UNCONFIRMED: Final[frozenset[str]] = frozenset(["NotifyPeriodicEventStream"])
"""Actions sent as SEND and never answered (OCPP-J 2.1, 4.2.4); their message has no suffix."""


def _modules(actions: Mapping[str, str]) -> dict[str, str]:
    return {action: module for module, names in actions.items() for action in names.split()}


_DECLARED: Final[Mapping[str, str]] = _modules(_IN_201) | _modules(_NEW_IN_21)
_KNOWN: Final[Mapping[Version, frozenset[str]]] = {
    "1.6": frozenset(_modules(_IN_16)),
    "2.0.1": frozenset(_modules(_IN_201)),
    "2.1": frozenset(_DECLARED),
}

DECLARED: Final[frozenset[str]] = frozenset(_DECLARED)
"""Every action of 2.0.1 or 2.1."""


def known(version: Version) -> frozenset[str]:
    """Return every action that a version of OCPP defines."""
    return _KNOWN[version]


@cache
def request_type(action: str, version: Version = "2.1") -> type[Message]:
    """Return the class of an action's request, or of an unanswered message. Raises KeyError for an unknown action.

    Classes of 2.0.1 and 2.1 are the same.
    """
    return _message(action, "" if action in UNCONFIRMED else "Request", version)


@cache
def response_type(action: str, version: Version = "2.1") -> type[Message]:
    """Return the class of an action's response. Raises KeyError for an unknown action, and one without a response."""
    if action in UNCONFIRMED:
        raise KeyError(action)
    return _message(action, "Response", version)


def action_of(request: Message) -> str:
    """Return the action of a request: its class name without `Request`, in 1.6 `Req` (OCPP-J 4.1.6)."""
    return type(request).__name__.removesuffix("Request").removesuffix("Req")


def is_of_16(request: Message) -> bool:
    return type(request).__name__.endswith("Req")


def answer_to(request: Message) -> type[Message]:
    """Return the class of the response to a request of any version."""
    return response_type(action_of(request), "1.6" if is_of_16(request) else "2.1")


def _message(action: str, suffix: str, version: Version) -> type[Message]:
    if version == "1.6":
        if action not in _KNOWN[version]:
            raise KeyError(action)
        from v2g.ocpp.v16 import messages

        of_16: type[Message] = getattr(messages, action + {"Request": "Req", "Response": "Conf"}[suffix])
        return of_16
    module = importlib.import_module(f"v2g.ocpp.messages.{_DECLARED[action]}")
    found: type[Message] = getattr(module, action + suffix)
    return found
