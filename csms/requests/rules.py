"""Actions that a back end may call, and the permission for each."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from csms.accounts.rules import Permission
from v2g.config import nearest
from v2g.errors import RefusedError
from v2g.ocpp.messages.provisioning import SetVariableData

_BY_PERMISSION: Final = {
    Permission.COMMAND_STATIONS: "ChangeAvailability CostUpdated DataTransfer "
    "GetBaseReport GetReport GetTransactionStatus GetVariables NotifyWebPaymentStarted RequestBatterySwap "
    "RequestStartTransaction RequestStopTransaction CancelReservation ReserveNow Reset SetVariables TriggerMessage "
    "UnlockConnector GetLocalListVersion ChangeConfiguration ExtendedTriggerMessage GetConfiguration "
    "RemoteStartTransaction RemoteStopTransaction",
    Permission.ADMIT_STATIONS: "SetNetworkProfile",
    Permission.WRITE_TOKENS: "ClearCache SendLocalList",
    Permission.WRITE_TARIFFS: "ChangeTransactionTariff ClearTariffs GetTariffs SetDefaultTariff",
    Permission.WRITE_ENERGY: "AFRRSignal ClearChargingProfile ClearDERControl GetChargingProfiles GetCompositeSchedule "
    "GetDERControl NotifyAllowedEnergyTransfer SetChargingProfile SetDERControl UpdateDynamicSchedule "
    "UsePriorityCharging",
    Permission.WRITE_MAINTENANCE: "AdjustPeriodicEventStream ClearDisplayMessage ClearVariableMonitoring "
    "CustomerInformation GetDisplayMessages GetLog GetMonitoringReport GetPeriodicEventStream PublishFirmware "
    "SetDisplayMessage SetMonitoringBase SetMonitoringLevel SetVariableMonitoring UnpublishFirmware UpdateFirmware "
    "GetDiagnostics SignedUpdateFirmware",
    Permission.WRITE_CERTIFICATES: "CertificateSigned DeleteCertificate GetInstalledCertificateIds InstallCertificate",
}

COMMANDS: Final[Mapping[str, Permission]] = MappingProxyType(
    dict(sorted((action, permission) for permission, actions in _BY_PERMISSION.items() for action in actions.split()))
)
"""Every action that a back end may call (of OCPP 2.0.1, 2.1 and 1.6) -> the permission of its own route."""


def unknown_action(action: str) -> tuple[str, str]:
    """Return what is wrong with an action that is not one of these, and how to fix it."""
    return f"{action[:50]!r} is not an OCPP action that a CSMS can send", nearest(action, COMMANDS)


_OF_QR_CODES: Final = frozenset({"urltemplate", "totpversion", "validitytime", "length", "sharedsecret"})


def check_own_variables(variables: Iterable[SetVariableData]) -> None:
    """Raise RefusedError (`own_variable`) for variables that the back end sets together with a record of its own."""
    for each in variables:
        if each.component.name.casefold() == "webpaymentsctrlr" and each.variable.name.casefold() in _OF_QR_CODES:
            raise RefusedError(
                f"the back end verifies QR codes by {each.variable.name}, so it sets it itself",
                reason="own_variable",
                hint="v2g csms request POST /stations/STATION/qr-codes",
            )


_OF_ACCESS: Final = frozenset({"securityctrlr", "networkconfiguration"})
_OF_NETWORK: Final = frozenset({"networkconfigurationpriority", "networkprofileconnectionattempts"})


def permission_to_set(variables: Iterable[SetVariableData]) -> Permission:
    """Return the permission to set variables: passwords and network profiles need a higher one."""
    for each in variables:
        if each.component.name.lower() in _OF_ACCESS or each.variable.name.lower() in _OF_NETWORK:
            return Permission.ADMIT_STATIONS
    return Permission.COMMAND_STATIONS
