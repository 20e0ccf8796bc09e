"""Charging profiles in a station: which are acceptable, and what they allow at a time (functional block K, and Q).

Only W is supported: these are DC stations. Profiles of one purpose are ordered by stack level; purposes are then
combined by the smallest limit, where a TxProfile stands in for the TxDefaultProfile.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from v2g.grid.limits import Limit, Setpoint
from v2g.ocpp.messages.base import OperationMode, StatusInfo
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingProfilePurpose,
    ChargingSchedule,
    ChargingSchedulePeriod,
)
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, ClearChargingProfile, CompositeSchedule
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time

MAX_STACK_LEVEL: Final = 99
MAX_PERIODS: Final = 1024
MAX_PROFILES: Final = 100
DAY_MS: Final = 86_400_000
UNBOUNDED_W: Final = 10_000_000
"""The largest power that limits and set points can name."""

MODES: Final[tuple[OperationMode, ...]] = (
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "CentralFrequency",
    "ExternalSetpoint",
    "ExternalLimits",
)
"""Operation modes of OCPP 2.1 that are followed here; local control by frequency or load is refused."""

_RECURRENCE: Final[Mapping[str, int]] = MappingProxyType({"Daily": 86_400_000, "Weekly": 7 * 86_400_000})


class Installed(msgspec.Struct, frozen=True):
    """A profile as it was set: on which EVSE (0 is the station) and by which version of OCPP."""

    evse_id: int
    profile: ChargingProfile
    version: Version
    source: str = "CSO"
    """Who set it, in OCPP's words."""


class OpenTransaction(msgspec.Struct, frozen=True):
    """What profiles need to know about a transaction."""

    transaction_id: str
    evse_id: int
    started_ms: int


class Later(msgspec.Struct, frozen=True):
    """What profiles will allow from a time on, W as in Allowance."""

    from_ms: int
    charge_w: float | None
    discharge_w: float | None


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What profiles allow: W of charge and of discharge (both positive, None for no word on it), a set point
    (signed W) and the mode. `until_ms` is when this may change without a new profile, None for never."""

    charge_w: float | None = None
    discharge_w: float | None = None
    setpoint_w: float | None = None
    operation_mode: OperationMode | None = None
    until_ms: int | None = None
    later: tuple[Later, ...] = ()
    """How it goes on, as far as it was asked for."""


def refuse(
    profile: ChargingProfile,
    evse_id: int,
    *,
    version: Version,
    evses: int,
    installed: Iterable[Installed],
    transactions: Iterable[OpenTransaction],
    modes: Collection[OperationMode] = MODES,
) -> StatusInfo | None:
    """Return why a profile is not acceptable (K01, Q10), or None. `evses` is how many there are, `modes` what they do.

    Raises OcppError when a time in it is none.
    """
    if not 0 <= evse_id <= evses:
        return _because("UnknownEvse", f"there are {evses} EVSEs")
    if profile.charging_profile_purpose == "ChargingStationExternalConstraints":
        return _because("InvalidProfile", "external constraints do not come from the CSMS (K01.FR.22)")
    if profile.charging_profile_purpose in ("PriorityCharging", "LocalGeneration"):
        return _because("UnsupportedPurpose", profile.charging_profile_purpose)
    if not 0 <= profile.stack_level <= MAX_STACK_LEVEL:
        return _because("InvalidStackLevel", f"at most {MAX_STACK_LEVEL}")
    _window(profile)
    return (
        _refuse_unsupported(profile)
        or _refuse_target(profile, evse_id, transactions)
        or next(filter(None, (_refuse_schedule(profile, s, version, modes) for s in profile.charging_schedule)), None)
        or _refuse_duplicate(profile, evse_id, list(installed))
    )


def replace(installed: Iterable[Installed], new: Installed) -> tuple[Installed, ...]:
    """Return the profiles with `new` in place of the one with its id (K01.FR.05)."""
    return (*(old for old in installed if old.profile.id != new.profile.id), new)


def allowance(
    installed: Iterable[Installed],
    utc_ms: int,
    *,
    evse_id: int,
    transaction: OpenTransaction | None,
    sharers: int = 1,
) -> Allowance:
    """Return what all profiles together allow on an EVSE at a time.

    `sharers` is how many transactions run: what is set for the whole station is for all of them together.
    """
    installed = list(installed)
    station = _best(installed, "ChargingStationMaxProfile", utc_ms, 0, transaction)
    default = _best(installed, "TxDefaultProfile", utc_ms, evse_id, transaction)
    own = _best(installed, "TxProfile", utc_ms, evse_id, transaction)
    external = _best(installed, "ChargingStationExternalConstraints", utc_ms, evse_id, transaction)
    chosen = [_limits(*found) for found in (own or default,) if found]
    if station:
        chosen.append(_part(_limits(*station), sharers))
    if external:  # K11.FR.01, K12.FR.01
        whole = external[1].evse_id == 0
        chosen.append(_part(_limits(*external), sharers) if whole else _limits(*external))
    edges = (edge for item in installed for edge in _edges(item, utc_ms, transaction))
    return Allowance(
        charge_w=min((a.charge_w for a in chosen if a.charge_w is not None), default=None),
        discharge_w=min((a.discharge_w for a in chosen if a.discharge_w is not None), default=None),
        setpoint_w=next((a.setpoint_w for a in chosen if a.setpoint_w is not None), None),
        operation_mode=next((a.operation_mode for a in chosen if a.operation_mode is not None), None),
        until_ms=min((edge for edge in edges if edge > utc_ms), default=None),
    )


def _part(whole: Allowance, sharers: int) -> Allowance:
    """Return an equal part."""

    def part(watts: float | None) -> float | None:
        return None if watts is None else watts / sharers

    return msgspec.structs.replace(
        whole, charge_w=part(whole.charge_w), discharge_w=part(whole.discharge_w), setpoint_w=part(whole.setpoint_w)
    )


def foreseen(
    installed: Iterable[Installed],
    utc_ms: int,
    *,
    evse_id: int,
    transaction: OpenTransaction | None,
    sharers: int = 1,
) -> Allowance:
    """Return what all profiles together allow on an EVSE at a time, and how that goes on for a day."""
    installed = list(installed)

    def at(moment: int) -> Allowance:
        return allowance(installed, moment, evse_id=evse_id, transaction=transaction, sharers=sharers)

    now = last = found = at(utc_ms)
    later: list[Later] = []
    while found.until_ms is not None and found.until_ms < utc_ms + DAY_MS and len(later) < MAX_PERIODS:
        since, found = found.until_ms, at(found.until_ms)
        if (found.charge_w, found.discharge_w) != (last.charge_w, last.discharge_w):
            later.append(Later(since, found.charge_w, found.discharge_w))
            last = found
    return msgspec.structs.replace(now, later=tuple(later))


def composite(
    installed: Iterable[Installed],
    utc_ms: int,
    duration_s: int,
    *,
    evse_id: int,
    transaction: OpenTransaction | None,
    max_w: int,
) -> CompositeSchedule:
    """Return the limits over the next `duration_s` (K08); `max_w` where no profile limits."""
    installed = list(installed)
    periods: list[ChargingSchedulePeriod] = []
    at, end = utc_ms, utc_ms + duration_s * 1000
    while len(periods) < MAX_PERIODS:
        now = allowance(installed, at, evse_id=evse_id, transaction=transaction)
        limit = min(max_w, now.charge_w if now.charge_w is not None else max_w)
        start = (at - utc_ms) // 1000
        if periods and periods[-1].start_period == start:
            periods.pop()  # two changes within a second: the schedule knows seconds, the last one holds
        if not periods or periods[-1].limit != limit:
            periods.append(ChargingSchedulePeriod(start_period=start, limit=limit))
        if now.until_ms is None or now.until_ms >= end:
            break
        at = now.until_ms
    return CompositeSchedule(
        evse_id=evse_id,
        duration=duration_s,
        schedule_start=format_time(utc_ms),
        charging_rate_unit="W",
        charging_schedule_period=tuple(periods),
    )


def matches_clearing(item: Installed, profile_id: int | None, criteria: ClearChargingProfile | None) -> bool:
    """Return whether ClearChargingProfile means a profile: by its id, or by all criteria that are given (K10)."""
    if item.profile.charging_profile_purpose == "ChargingStationExternalConstraints":
        return False  # K10.FR.05: not the CSMS's to clear
    if profile_id is not None:
        return item.profile.id == profile_id
    return criteria is None or (
        criteria.evse_id in (None, item.evse_id)
        and criteria.charging_profile_purpose in (None, item.profile.charging_profile_purpose)
        and criteria.stack_level in (None, item.profile.stack_level)
    )


def matches_report(item: Installed, evse_id: int | None, criterion: ChargingProfileCriterion) -> bool:
    """Return whether GetChargingProfiles asks for a profile (K09)."""
    if evse_id is not None and item.evse_id != evse_id:
        return False
    if criterion.charging_profile_id:
        return item.profile.id in criterion.charging_profile_id
    return (
        criterion.charging_profile_purpose in (None, item.profile.charging_profile_purpose)
        and criterion.stack_level in (None, item.profile.stack_level)
        and (not criterion.charging_limit_source or item.source in criterion.charging_limit_source)
    )


def _because(code: str, text: str) -> StatusInfo:
    return StatusInfo(reason_code=code, additional_info=text)


def _refuse_unsupported(profile: ChargingProfile) -> StatusInfo | None:
    """Refuse what would have to be left out, although it changes what is meant (SmartChargingCtrlr.Supports*)."""
    if profile.charging_profile_kind != "Dynamic" and (profile.dyn_update_interval or profile.dyn_update_time):
        return _because("InvalidProfile", "only Dynamic profiles are updated (K01.FR.122)")
    if profile.max_offline_duration is not None:
        return _because("UnsupportedParam", "maxOfflineDuration is not supported")
    for schedule in profile.charging_schedule:
        if schedule.use_local_time:
            return _because("InvalidSchedule", "useLocalTime is not supported (K01.FR.123)")
        if schedule.randomized_delay:
            return _because("InvalidSchedule", "randomizedDelay is not supported (K01.FR.124)")
        if schedule.limit_at_soc is not None:
            return _because("InvalidSchedule", "limitAtSoC is not supported (K01.FR.125)")
        if any(period.evse_sleep and period.operation_mode != "Idle" for period in schedule.charging_schedule_period):
            return _because("InvalidSchedule", "only an idle EVSE may sleep (K01.FR.126)")
    return None


def _refuse_target(
    profile: ChargingProfile, evse_id: int, transactions: Iterable[OpenTransaction]
) -> StatusInfo | None:
    match profile.charging_profile_purpose:
        case "TxProfile":
            if evse_id == 0:
                return _because("InvalidValue", "a TxProfile belongs to an EVSE (K01.FR.16)")
            if profile.transaction_id is None:
                return _because("MissingParam", "a TxProfile names its transaction (K01.FR.03)")
            if not any(t.transaction_id == profile.transaction_id and t.evse_id == evse_id for t in transactions):
                return _because("TxNotFound", "no such transaction on this EVSE (K01.FR.09, K01.FR.33)")
        case "ChargingStationMaxProfile":
            if evse_id != 0:
                return _because("InvalidValue", "a ChargingStationMaxProfile belongs to EVSE 0")
            if profile.charging_profile_kind == "Relative":
                return _because("InvalidProfile", "a ChargingStationMaxProfile is not Relative (K01.FR.38)")
    return None


def _refuse_schedule(
    profile: ChargingProfile, schedule: ChargingSchedule, version: Version, modes: Collection[OperationMode]
) -> StatusInfo | None:
    kind = profile.charging_profile_kind
    starts = [period.start_period for period in schedule.charging_schedule_period]
    if schedule.start_schedule is not None:
        parse_time(schedule.start_schedule)
    if schedule.charging_rate_unit != "W":
        return _because("UnsupportedRateUnit", "W is supported (K01.FR.26)")
    if kind in ("Absolute", "Recurring") and schedule.start_schedule is None:
        return _because("InvalidSchedule", f"{kind} needs startSchedule (K01.FR.40)")
    if kind == "Relative" and schedule.start_schedule is not None:
        return _because("InvalidSchedule", "Relative has no startSchedule (K01.FR.41)")
    if kind == "Recurring" and profile.recurrency_kind is None:
        return _because("InvalidProfile", "Recurring needs recurrencyKind")
    if starts[0] != 0 or starts != sorted(set(starts)):
        return _because("InvalidSchedule", "periods begin at 0 and ascend (K01.FR.31, K01.FR.35)")
    if kind == "Dynamic" and len(starts) > 1:
        return _because("InvalidSchedule", "Dynamic has one period (K28.FR.01)")
    if version == "2.1":
        return next(filter(None, (_refuse_mode(period, modes) for period in schedule.charging_schedule_period)), None)
    return None


def _refuse_mode(period: ChargingSchedulePeriod, modes: Collection[OperationMode]) -> StatusInfo | None:
    mode = period.operation_mode or "ChargingOnly"
    if mode not in modes:
        return _because("UnsupportedParam", f"operation mode {mode} is not supported")
    limited = period.limit is not None or period.discharge_limit is not None
    if mode == "LocalFrequency":
        if limited or period.setpoint is not None or period.setpoint_reactive is not None:
            return _because("InvalidSchedule", "LocalFrequency has neither limits nor set points (Q08.FR.04)")
        if len(period.v2x_freq_watt_curve) < 2 or period.v2x_baseline is None:
            return _because("NoFreqWattCurve", "LocalFrequency needs v2xBaseline and v2xFreqWattCurve (Q08.FR.03)")
    if mode == "Idle" and (limited or period.setpoint is not None):
        return _because("InvalidSchedule", "Idle has neither limits nor set point (Q10.FR.02)")
    if mode == "ChargingOnly" and (period.discharge_limit is not None or period.setpoint is not None):
        return _because("InvalidSchedule", "ChargingOnly has neither dischargeLimit nor setpoint (Q02.FR.02)")
    if mode == "ChargingOnly" and period.limit is None:
        return _because("InvalidSchedule", "ChargingOnly needs a limit")
    if mode in ("CentralSetpoint", "CentralFrequency") and period.setpoint is None:
        return _because("InvalidSchedule", f"{mode} needs a setpoint")
    return None


def _refuse_duplicate(profile: ChargingProfile, evse_id: int, installed: list[Installed]) -> StatusInfo | None:
    """Refuse a second profile of the same purpose, level and place (K01.FR.06, .39, .52, .53)."""
    others = [item for item in installed if item.profile.id != profile.id]
    if len(others) >= MAX_PROFILES:
        return _because("TooManyElements", f"at most {MAX_PROFILES} profiles")
    for other in others:
        same_place = other.evse_id == evse_id or 0 in (other.evse_id, evse_id)
        if (
            same_place
            and other.profile.charging_profile_purpose == profile.charging_profile_purpose
            and other.profile.stack_level == profile.stack_level
            and other.profile.transaction_id == profile.transaction_id
            and _overlap(_window(other.profile), _window(profile))
        ):
            return _because("DuplicateProfile", f"profile {other.profile.id} has this purpose and stack level")
    return None


def _window(profile: ChargingProfile) -> tuple[float, float]:
    """Return the validity in ms, open ends infinite (K01.FR.10, .36, .37)."""
    start = parse_time(profile.valid_from) if profile.valid_from else float("-inf")
    end = parse_time(profile.valid_to) if profile.valid_to else float("inf")
    return start, end


def _overlap(one: tuple[float, float], two: tuple[float, float]) -> bool:
    return one[0] < two[1] and two[0] < one[1]


Found = tuple[ChargingSchedulePeriod, Installed]


def in_force(
    installed: Iterable[Installed], utc_ms: int, *, evse_id: int, transaction: OpenTransaction | None
) -> ChargingSchedulePeriod | None:
    """Return the period that leads an EVSE: of its TxProfile, or else of the TxDefaultProfile."""
    installed = list(installed)
    own = _best(installed, "TxProfile", utc_ms, evse_id, transaction)
    found = own or _best(installed, "TxDefaultProfile", utc_ms, evse_id, transaction)
    return found[0] if found else None


def _best(
    installed: list[Installed],
    purpose: ChargingProfilePurpose,
    utc_ms: int,
    evse_id: int,
    transaction: OpenTransaction | None,
) -> Found | None:
    """Return the period in force of the highest stack level that has one (K01.FR.17)."""
    candidates = [
        item
        for item in installed
        if item.profile.charging_profile_purpose == purpose
        and item.evse_id in (0, evse_id)
        and (purpose != "TxProfile" or (transaction and item.profile.transaction_id == transaction.transaction_id))
    ]
    for item in sorted(candidates, key=lambda item: -item.profile.stack_level):
        start, end = _window(item.profile)
        period = _period(item.profile, utc_ms, transaction) if start <= utc_ms < end else None
        if period is not None:
            return period, item
    return None


def _origin(profile: ChargingProfile, utc_ms: int, transaction: OpenTransaction | None) -> int | None:
    """Return when the schedule that concerns `utc_ms` begins, or None when it has no beginning yet."""
    schedule = profile.charging_schedule[0]
    match profile.charging_profile_kind:
        case "Relative":
            return transaction.started_ms if transaction else None
        case "Dynamic":
            return 0
        case "Recurring":
            first = parse_time(schedule.start_schedule or "")
            step = _RECURRENCE[profile.recurrency_kind or "Daily"]
            return first + max(0, (utc_ms - first) // step) * step  # K01.FR.40: not before it starts
        case _:
            return parse_time(schedule.start_schedule or "")


def _period(
    profile: ChargingProfile, utc_ms: int, transaction: OpenTransaction | None
) -> ChargingSchedulePeriod | None:
    """Return the period of a profile that is in force, if its schedule covers the time (K01.FR.11, .12, .30)."""
    schedule = profile.charging_schedule[0]
    origin = _origin(profile, utc_ms, transaction)
    if origin is None or utc_ms < origin:
        return None
    if schedule.duration is not None and utc_ms >= origin + schedule.duration * 1000:
        return None
    begun = [p for p in schedule.charging_schedule_period if origin + p.start_period * 1000 <= utc_ms]
    return begun[-1] if begun else None


def _edges(item: Installed, utc_ms: int, transaction: OpenTransaction | None) -> Iterable[int]:
    """Return times at which a profile's word may change."""
    schedule = item.profile.charging_schedule[0]
    yield from (int(edge) for edge in _window(item.profile) if abs(edge) != float("inf"))
    origin = _origin(item.profile, utc_ms, transaction)
    if origin is None:
        return
    yield from (origin + period.start_period * 1000 for period in schedule.charging_schedule_period)
    if schedule.duration is not None:
        yield origin + schedule.duration * 1000
    if item.profile.charging_profile_kind == "Recurring":
        yield origin + _RECURRENCE[item.profile.recurrency_kind or "Daily"]


def _limits(period: ChargingSchedulePeriod, item: Installed) -> Allowance:
    """Return what a period says. OCPP 2.0.1 is silent on discharge; in 2.1 a missing mode means ChargingOnly."""
    mode = period.operation_mode or ("ChargingOnly" if item.version == "2.1" else None)
    if mode == "Idle":
        return Allowance(charge_w=0, discharge_w=0, setpoint_w=0, operation_mode=mode)
    discharge = abs(period.discharge_limit) if period.discharge_limit is not None else None
    if item.profile.charging_profile_purpose in ("ChargingStationMaxProfile", "ChargingStationExternalConstraints"):
        return Allowance(charge_w=period.limit, discharge_w=discharge)
    if mode == "ChargingOnly":
        discharge = 0
    return Allowance(charge_w=period.limit, discharge_w=discharge, setpoint_w=period.setpoint, operation_mode=mode)


def as_limit(found: Allowance, version: int) -> Limit:
    """Return an allowance as a limit of the source `csms`; what profiles do not mention they do not bound."""
    return Limit(
        source="csms",
        charge_w=_watts(found.charge_w),
        discharge_w=_watts(found.discharge_w),
        version=version,
    )


def as_setpoint(found: Allowance, version: int) -> Setpoint | None:
    """Return the power that profiles wish for, or None when they leave it to charger and vehicle."""
    if found.setpoint_w is None:
        return None
    power = max(-UNBOUNDED_W, min(UNBOUNDED_W, round(found.setpoint_w)))
    return Setpoint(power_w=power, source="csms", version=version, valid_until_ms=found.until_ms)


def _watts(limit: float | None) -> int:
    return UNBOUNDED_W if limit is None else min(UNBOUNDED_W, max(0, int(limit)))
