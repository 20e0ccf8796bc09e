"""Actions that a back end may call, and the permission for each."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from csms.domain.security.access import Permission
from v2g.config import nearest
from v2g.ocpp.messages.provisioning import SetVariableData

_BY_PERMISSION: Final = {
    Permission.COMMAND_STATIONS: "ChangeAvailability CostUpdated DataTransfer "
    "GetBaseReport GetReport GetTransactionStatus GetVariables NotifyWebPaymentStarted RequestBatterySwap "
    "RequestStartTransaction RequestStopTransaction CancelReservation ReserveNow Reset SetVariables TriggerMessage "
    "UnlockConnector GetLocalListVersion",
    Permission.ADMIT_STATIONS: "SetNetworkProfile",
    Permission.WRITE_TOKENS: "ClearCache SendLocalList",
    Permission.WRITE_TARIFFS: "ChangeTransactionTariff ClearTariffs GetTariffs SetDefaultTariff",
    Permission.WRITE_ENERGY: "AFRRSignal ClearChargingProfile ClearDERControl GetChargingProfiles GetCompositeSchedule "
    "GetDERControl NotifyAllowedEnergyTransfer SetChargingProfile SetDERControl UpdateDynamicSchedule "
    "UsePriorityCharging",
    Permission.WRITE_MAINTENANCE: "AdjustPeriodicEventStream ClearDisplayMessage ClearVariableMonitoring "
    "CustomerInformation GetDisplayMessages GetLog GetMonitoringReport GetPeriodicEventStream PublishFirmware "
    "SetDisplayMessage SetMonitoringBase SetMonitoringLevel SetVariableMonitoring UnpublishFirmware UpdateFirmware",
    Permission.WRITE_CERTIFICATES: "CertificateSigned DeleteCertificate GetInstalledCertificateIds InstallCertificate",
}

COMMANDS: Final[Mapping[str, Permission]] = MappingProxyType(
    dict(sorted((action, permission) for permission, actions in _BY_PERMISSION.items() for action in actions.split()))
)
"""Every action that a back end may call (of OCPP 2.0.1 and 2.1) -> the permission of its own route."""


def unknown_action(action: str) -> tuple[str, str]:
    """Return what is wrong with an action that is not one of these, and how to fix it."""
    return f"{action[:50]!r} is not an OCPP action that a CSMS can send", nearest(action, COMMANDS)


_OF_ACCESS: Final = frozenset({"securityctrlr", "networkconfiguration"})
_OF_NETWORK: Final = frozenset({"networkconfigurationpriority", "networkprofileconnectionattempts"})


def permission_to_set(variables: Iterable[SetVariableData]) -> Permission:
    """Return the permission to set variables: passwords and network profiles need a higher one."""
    for each in variables:
        if each.component.name.lower() in _OF_ACCESS or each.variable.name.lower() in _OF_NETWORK:
            return Permission.ADMIT_STATIONS
    return Permission.COMMAND_STATIONS
