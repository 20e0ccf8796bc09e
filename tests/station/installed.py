"""Charging profiles in place, and what they allow on EVSE 1."""

from typing import Any

from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction, ProfileSituation
from v2g_station.blocks.smart_charging.profiles import ProfileLimits, limits_at

NOON = parse_time("2026-06-01T12:00:00Z")
HOUR = 3_600_000
TRANSACTION = OpenTransaction("tx-1", 1, NOON)


def period(start: int = 0, limit: float | None = 10_000, **changes: Any) -> ChargingSchedulePeriod:
    """A period."""
    return ChargingSchedulePeriod(start_period=start, limit=limit, **changes)


def profile(
    *periods: ChargingSchedulePeriod,
    purpose: str = "TxDefaultProfile",
    kind: str = "Absolute",
    start: int | None = NOON,
    duration: int | None = None,
    unit: str = "W",
    **changes: Any,
) -> ChargingProfile:
    """A profile with one schedule."""
    schedule = ChargingSchedule(
        id=1,
        charging_rate_unit=unit,  # type: ignore[arg-type]
        start_schedule=None if start is None else format_time(start),
        duration=duration,
        charging_schedule_period=periods or (period(),),
    )
    fields: dict[str, Any] = {
        "id": 1,
        "stack_level": 0,
        "charging_profile_purpose": purpose,
        "charging_profile_kind": kind,
        "charging_schedule": (schedule,),
    }
    return ChargingProfile(**(fields | changes))


def installed(found: ChargingProfile, evse_id: int = 1, version: Version = "2.0.1") -> InstalledProfile:
    """A profile in place."""
    return InstalledProfile(evse_id, found, version)


def at(
    utc_ms: int, *items: InstalledProfile, transaction: OpenTransaction | None = TRANSACTION, **around: Any
) -> ProfileLimits:
    """What is allowed on EVSE 1."""
    return limits_at(items, utc_ms, ProfileSituation(evse_id=1, transaction=transaction, **around))


def alone(around: ProfileSituation, max_w: float) -> tuple[ProfileSituation, list[tuple[ProfileSituation, float]]]:
    """Where a composite schedule is of one EVSE."""
    return around, [(around, max_w)]


def each_line(*values: float, unit: str = "A", name: str = "limit", **changes: Any) -> InstalledProfile:
    """A TxProfile with values for L1, L2 and so on."""
    fields = dict(zip((name, f"{name}_l2", f"{name}_l3"), values, strict=False))
    found = profile(
        ChargingSchedulePeriod(start_period=0, **fields | changes),
        purpose="TxProfile", transaction_id="tx-1", unit=unit,
    )  # fmt: skip
    return installed(found, version="2.1")
