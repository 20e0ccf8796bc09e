"""What a back end may ask of stations, and which permission it takes to have it asked."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from csms.core.access import Permission

_BY_PERMISSION: Final = {
    Permission.COMMAND_STATIONS: "ChangeAvailability ClearCache CostUpdated CustomerInformation DataTransfer "
    "GetBaseReport GetReport GetTransactionStatus GetVariables NotifyWebPaymentStarted RequestBatterySwap "
    "RequestStartTransaction RequestStopTransaction CancelReservation ReserveNow Reset SetNetworkProfile SetVariables "
    "TriggerMessage UnlockConnector GetLocalListVersion SendLocalList",
    Permission.WRITE_TARIFFS: "ChangeTransactionTariff ClearTariffs GetTariffs SetDefaultTariff",
    Permission.WRITE_ENERGY: "AFRRSignal ClearChargingProfile ClearDERControl GetChargingProfiles GetCompositeSchedule "
    "GetDERControl NotifyAllowedEnergyTransfer SetChargingProfile SetDERControl UpdateDynamicSchedule "
    "UsePriorityCharging",
    Permission.WRITE_MAINTENANCE: "AdjustPeriodicEventStream ClearDisplayMessage ClearVariableMonitoring "
    "GetDisplayMessages GetLog GetMonitoringReport GetPeriodicEventStream PublishFirmware SetDisplayMessage "
    "SetMonitoringBase SetMonitoringLevel SetVariableMonitoring UnpublishFirmware UpdateFirmware",
    Permission.WRITE_CERTIFICATES: "CertificateSigned DeleteCertificate GetInstalledCertificateIds InstallCertificate",
}

COMMANDS: Final[Mapping[str, Permission]] = MappingProxyType(
    dict(sorted((action, permission) for permission, actions in _BY_PERMISSION.items() for action in actions.split()))
)
"""Every action that a back end may call (of OCPP 2.0.1 and 2.1) -> the permission it takes."""
