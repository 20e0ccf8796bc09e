"""Charging profiles, and what they allow."""

from typing import Any

from tests.station.bench import START_MS, Bench, at
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, part

BEFORE = at(START_MS - 3_600_000)


def profile(purpose: str = "TxDefaultProfile", number: int = 1, limit: float = 6000.0, **more: Any) -> dict[str, Any]:
    """A profile that holds from now on."""
    schedule: dict[str, Any] = {
        "id": number,
        "chargingRateUnit": more.pop("unit", "W"),
        "chargingSchedulePeriod": more.pop("periods", [{"startPeriod": 0, "limit": limit}]),
    }
    schedule |= more.pop("schedule", {})
    if more.get("chargingProfileKind", "Absolute") != "Relative":
        schedule.setdefault("startSchedule", BEFORE)
    return {
        "id": number,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [schedule],
    } | more


def put(found: Bench, evse_id: int = 1, **more: Any) -> str:
    """Set a profile."""
    status: str = found.ask("SetChargingProfile", evseId=evse_id, chargingProfile=profile(**more))["status"]
    return status


def limit(found: Bench, evse_id: int = 1) -> float | None:
    """The hardware's last command, with an equal part of what is the station's."""
    reported = [each for each in found.commands if isinstance(each, ProfileLimits) and each.evse_id == evse_id]
    return part(reported[-1]).charge_w if reported else None


def transaction(found: Bench) -> str:
    """The transaction that runs."""
    identifier: str = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    return identifier
