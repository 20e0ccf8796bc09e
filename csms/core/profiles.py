"""From the grid operator's signal to the charging profiles of a station (use cases K01, K15, K19, Q01, Q02).

A profile's id is fixed by its purpose and EVSE, so that a newer one replaces the older (K01.FR.05). In OCPP 2.1
vehicles that requested bidirectional transfer run in `ExternalSetpoint`: vehicle and charger agree on the power
themselves, inside `limit` and `dischargeLimit`. Nothing but charging is allowed once a signal has run out.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from v2g.grid.tariff import GridSignal
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time

_STATION_PROFILE, _DEFAULT_PROFILE, _FIRST_TRANSACTION_PROFILE = 1, 2, 100

_CLOCK_SLACK_MS: Final = 60_000
"""How far a station's clock may be behind: schedules begin that long ago, so that they are in force on arrival."""

BIDIRECTIONAL: Final = frozenset({"AC_BPT", "AC_BPT_DER", "DC_BPT", "DC_ACDP_BPT"})
"""Energy transfer modes in which energy may flow back."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle said in NotifyEVChargingNeeds. `max_periods`: the most schedule periods it can take (0: any)."""

    evse_id: int
    requested: str
    max_periods: int = 0

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.requested in BIDIRECTIONAL


def answer_needs(needs: Needs, allowed: Iterable[str], *, has_signal: bool, version: Version) -> str:
    """Return the status of NotifyEVChargingNeedsResponse. `allowed`: modes of the contract; empty means any.

    A mode outside the contract is Rejected (K19.FR.15, Q01.FR.04); 2.0.1 cannot name modes beyond plain charging.
    """
    allowed = tuple(allowed)
    if allowed and version == "2.1" and needs.requested not in allowed:
        return "Rejected"
    if has_signal:
        return "Accepted"
    return "NoChargingProfile" if version == "2.1" else "Rejected"  # K19.FR.04, K15.FR.04


def station_profiles(signal: GridSignal, version: Version, now_ms: int) -> list[SetChargingProfileRequest]:
    """Return what a station is told whatever transactions it has: the site's limit, and in 2.1 each one's default."""
    site = _profile(signal, _STATION_PROFILE, "ChargingStationMaxProfile", _charging_only(signal), now_ms)
    requests = [SetChargingProfileRequest(evse_id=0, charging_profile=site)]
    if version == "2.1":
        default = _profile(signal, _DEFAULT_PROFILE, "TxDefaultProfile", _two_way(signal, now_ms), now_ms)
        requests.append(SetChargingProfileRequest(evse_id=0, charging_profile=default))
    return requests


def transaction_profile(
    signal: GridSignal, version: Version, now_ms: int, transaction_id: str, needs: Needs
) -> SetChargingProfileRequest:
    """Return the profile of a transaction whose vehicle has told its needs (K15.FR.07, K19.FR.07, Q02.FR.01)."""
    two_way = needs.bidirectional and version == "2.1"
    periods = _two_way(signal, now_ms) if two_way else _charging_only(signal)
    duration = None
    if 0 < needs.max_periods < len(periods):  # then the default profile takes over where this one ends
        duration = periods[needs.max_periods].start_period
        periods = periods[: needs.max_periods]
    profile_id = _FIRST_TRANSACTION_PROFILE + needs.evse_id
    profile = _profile(signal, profile_id, "TxProfile", periods, now_ms, transaction_id, duration)
    return SetChargingProfileRequest(evse_id=needs.evse_id, charging_profile=profile)


def _charging_only(signal: GridSignal) -> tuple[ChargingSchedulePeriod, ...]:
    return (ChargingSchedulePeriod(start_period=0, limit=float(signal.site_import_limit_w)),)


def _two_way(signal: GridSignal, now_ms: int) -> tuple[ChargingSchedulePeriod, ...]:
    seconds_left = (signal.valid_until_ms - _start_ms(now_ms)) // 1000
    limit = float(signal.site_import_limit_w)
    if signal.valid_until_ms <= now_ms:
        return (ChargingSchedulePeriod(start_period=0, limit=limit, operation_mode="ChargingOnly"),)
    return (
        ChargingSchedulePeriod(
            start_period=0,
            limit=limit,
            discharge_limit=-float(signal.export_limit_w),
            operation_mode="ExternalSetpoint",
        ),
        ChargingSchedulePeriod(start_period=seconds_left, limit=limit, operation_mode="ChargingOnly"),
    )


def _start_ms(now_ms: int) -> int:
    return max(0, now_ms - _CLOCK_SLACK_MS) // 1000 * 1000


def _profile(
    signal: GridSignal,
    profile_id: int,
    purpose: str,
    periods: tuple[ChargingSchedulePeriod, ...],
    now_ms: int,
    transaction_id: str | None = None,
    duration: int | None = None,
) -> ChargingProfile:
    schedule = ChargingSchedule(
        id=signal.version & 0x7FFFFFFF,
        start_schedule=format_time(_start_ms(now_ms)),
        duration=duration,
        charging_rate_unit="W",
        charging_schedule_period=periods,
    )
    return ChargingProfile(
        id=profile_id,
        stack_level=0,
        charging_profile_purpose=purpose,  # type: ignore[arg-type]  # one of the literal names above
        charging_profile_kind="Absolute",
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )
