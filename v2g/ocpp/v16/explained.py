"""What is lost between the versions, and at a make, and why."""

from collections.abc import Iterator, Mapping
from typing import Final

from v2g.ocpp.quirks import PROFILE_OPTIONS, StationQuirks
from v2g.ocpp.routes import Version

REFUSED: Final[Mapping[str, str]] = {
    "ClearDisplayMessage GetDisplayMessages SetDisplayMessage": "no messages on displays",
    "ClearVariableMonitoring GetMonitoringReport SetMonitoringBase SetMonitoringLevel": "no monitors",
    "SetVariableMonitoring": "no monitors",
    "CustomerInformation": "no data of customers",
    "GetChargingProfiles": "no report of profiles",
    "GetReport": "reports of all keys alone (GetBaseReport)",
    "GetTransactionStatus": "no state of queued messages",
    "PublishFirmware UnpublishFirmware": "no local distribution of firmware",
    "SetNetworkProfile": "no network profiles",
}
"""Requests of 2.0.1 that no station of 1.6 gets, and why."""

PARTLY: Final[Mapping[str, str]] = {
    "CostUpdated": "by DataTransfer, where CustomDisplayCostAndPrice is true",
    "GetBaseReport": "no summary inventory",
    "GetLog": "no security log without the security whitepaper",
    "RequestStartTransaction": "an idTag has 20 characters",
    "Reset": "not of one EVSE",
    "SetChargingProfile": "one schedule, no discharge, limits in tenths, rounded down",
    "TriggerMessage": "of eight messages",
}
"""Requests of which a part is refused."""

REFUSED_BEHIND_16: Final[Mapping[str, str]] = {
    "ClearedChargingLimit NotifyChargingLimit": "no limits of others",
    "NotifyCustomerInformation": "no data of customers",
    "NotifyDisplayMessages": "no messages on displays",
    "NotifyEVChargingSchedule": "no schedules of vehicles",
    "NotifyMonitoringReport": "no monitors",
    "PublishFirmwareStatusNotification": "no local distribution of firmware",
    "ReportChargingProfiles": "no report of profiles",
    "ReservationStatusUpdate": "no ends of reservations",
}
"""Requests of a station of 2.0.1 that no back end of 1.6 gets, and why."""

PARTLY_BEHIND_16: Final[Mapping[str, str]] = {
    "Authorize": "an identifier of more than 20 characters is Invalid",
    "ChangeConfiguration": "SecurityProfile is rejected, AuthorizationKey too where the bridge knows the password",
    "NotifyEVChargingNeeds": "rejected: no schedules by needs",
    "NotifyEvent": "problems alone",
    "TransactionEvent": "readings of 22 measurands; without an identifier nothing",
}
"""Requests of both of which a part is lost."""


def explain(back_end: Version) -> str:
    """Return what gets lost at a back end of this version, a line for each request."""
    refused, partly = (REFUSED_BEHIND_16, PARTLY_BEHIND_16) if back_end == "1.6" else (REFUSED, PARTLY)
    lost = [(action, f"refused: {why}") for actions, why in refused.items() for action in actions.split()]
    return "".join(f"{action}: {why}\n" for action, why in sorted([*lost, *partly.items()]))


def lost_at(quirks: StationQuirks) -> Iterator[tuple[str, str]]:
    """Yield what a station of 1.6 of a make cannot do, and why."""
    for what, why in (*REFUSED.items(), *PARTLY.items()):
        yield what, f"OCPP 1.6: {why}"
    for key in quirks.never_read:
        yield f"reading {key}", "its make: a station restarts"
    for option in quirks.profiles:
        what, why = PROFILE_OPTIONS[option]
        yield "SetChargingProfile", f"its make {what}: {why}"
    if quirks.steps_a:
        yield (
            "SetChargingProfile",
            f"its make takes {', '.join(f'{each:g}' for each in quirks.steps_a)} A: rounded down",
        )
