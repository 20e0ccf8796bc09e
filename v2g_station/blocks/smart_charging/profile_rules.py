"""Which charging profiles a station accepts (K01, K28, Q01 to Q10), and which ones a request selects (K09, K10)."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages import charging_profiles as ocpp
from v2g.ocpp.messages.base import OperationMode, StatusInfo
from v2g.ocpp.messages.smart_charging import ChargingProfileCriterion, ClearChargingProfile
from v2g.ocpp.routes import Version
from v2g.translate.csms_prices import read_csms_prices
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, OpenTransaction, at, window
from v2g_station.kernel.kernel import status_info
from v2g_station.kernel.local_time import naive

MAX_STACK_LEVEL: Final = 99
MAX_PROFILES: Final = 1000

MODES: Final[tuple[OperationMode, ...]] = (
    "Idle",
    "ChargingOnly",
    "CentralSetpoint",
    "CentralFrequency",
    "ExternalSetpoint",
    "ExternalLimits",
)
"""Operation modes of OCPP 2.1 that every station supports; control by local measurements needs hardware."""

FOREIGN: Final[tuple[ocpp.ChargingProfilePurpose, ...]] = ("ChargingStationExternalConstraints", "LocalGeneration")
"""Purposes that the CSMS cannot clear (K10.FR.08, .09)."""

_MODES_OF: Final[dict[ocpp.ChargingProfilePurpose, frozenset[OperationMode]]] = {
    "PriorityCharging": frozenset({"ChargingOnly"}),  # K01.FR.111
    "ChargingStationMaxProfile": frozenset({"ChargingOnly"}),
    "LocalGeneration": frozenset({"ChargingOnly", "ExternalLimits"}),  # K01.FR.113
}

_OF_LINES: Final = ("limit", "discharge_limit", "setpoint", "setpoint_reactive")
"""Fields that are those of L1 beside one with the suffix _L2 or _L3."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a station can do with profiles, and its limits."""

    evses: int
    """Number of EVSEs."""
    modes: Collection[OperationMode] = MODES
    units: tuple[ocpp.ChargingRateUnit, ...] = ("W",)
    direct_current: Collection[int] = ()
    """EVSEs without per-phase currents."""
    phases: Mapping[int, int] = {}
    """How many phases each EVSE with alternating current will use at most: those of its vehicle, if known."""
    switches_phases: Collection[int] = ()
    """EVSEs that can change from three phases to one and back."""
    lines: Mapping[int, tuple[int, int]] = {}
    """Of how many conductors the vehicle at an EVSE has sent powers, of charging and of discharging."""
    selects_phase: bool = False
    """Whether they can also choose the one (ACPhaseSwitchingSupported)."""
    thresholds: bool = True
    """Whether thresholds and offsets of local load balancing are set (Q09.FR.02)."""
    foreign_id: int | None = None
    """The highest profile id of external systems, if set by the CSMS (MaxExternalConstraintsId)."""


def refuse(
    profile: ocpp.ChargingProfile,
    evse_id: int,
    *,
    version: Version,
    able: Abilities,
    installed: Iterable[InstalledProfile],
    transactions: Iterable[OpenTransaction],
    utc_ms: int = 0,
) -> StatusInfo | None:
    """Return why a profile is not acceptable now, or None. Raises OcppError for an invalid time."""
    installed = list(installed)
    if not 0 <= evse_id <= able.evses:
        return status_info("UnknownEvse", f"there are {able.evses} EVSEs")
    if profile.charging_profile_purpose == "ChargingStationExternalConstraints":
        return status_info("InvalidProfile", "external constraints do not come from the CSMS (K01.FR.22)")
    if any(each.profile.id == profile.id and each.source != "CSO" for each in installed):
        return status_info("InvalidProfileId", "this is a profile of an external system (K01.FR.05)")
    if able.foreign_id is not None and profile.id <= able.foreign_id:
        return status_info("InvalidProfileId", f"ids must be above {able.foreign_id} (K01.FR.81)")
    if not 0 <= profile.stack_level <= MAX_STACK_LEVEL:
        return status_info("InvalidStackLevel", f"the maximum is {MAX_STACK_LEVEL}")
    if (
        window(profile)[1] <= utc_ms
    ):  # a message that comes late must not end the limits of the profile that it replaces
        return status_info("InvalidProfile", "its validTo is over")
    return (
        _refuse_unsupported(profile)
        or _refuse_target(profile, evse_id, transactions)
        or refuse_lines(profile, evse_id, able)
        or _refuse_phases(profile, evse_id, version, able)
        or next(filter(None, (_refuse_schedule(profile, s, evse_id, able) for s in profile.charging_schedule)), None)
        or (_refuse_modes(profile, able) if version == "2.1" else _refuse_negative(profile))
        or _refuse_beside(profile, evse_id, installed)
    )


def replace(installed: Iterable[InstalledProfile], new: InstalledProfile) -> tuple[InstalledProfile, ...]:
    """Return the profiles with `new` in place of the one with its id (K01.FR.05)."""
    return (*(old for old in installed if old.profile.id != new.profile.id), new)


def matches_clearing(item: InstalledProfile, profile_id: int | None, criteria: ClearChargingProfile | None) -> bool:
    """Return whether ClearChargingProfile selects a profile: by its id, or by all given criteria (K10)."""
    if item.profile.charging_profile_purpose in FOREIGN:
        return False
    if profile_id is not None:
        return item.profile.id == profile_id
    return criteria is None or (
        criteria.evse_id in (None, item.evse_id)
        and criteria.charging_profile_purpose in (None, item.profile.charging_profile_purpose)
        and criteria.stack_level in (None, item.profile.stack_level)
    )


def matches_report(item: InstalledProfile, evse_id: int | None, criterion: ChargingProfileCriterion) -> bool:
    """Return whether GetChargingProfiles selects a profile (K09)."""
    if evse_id is not None and item.evse_id != evse_id:
        return False
    if criterion.charging_profile_id:
        return item.profile.id in criterion.charging_profile_id
    return (
        criterion.charging_profile_purpose in (None, item.profile.charging_profile_purpose)
        and criterion.stack_level in (None, item.profile.stack_level)
        and (not criterion.charging_limit_source or item.source in criterion.charging_limit_source)
    )


def _refuse_unsupported(profile: ocpp.ChargingProfile) -> StatusInfo | None:
    """Reject fields that do not apply."""
    kind, purpose = profile.charging_profile_kind, profile.charging_profile_purpose
    if kind != "Dynamic" and (profile.dyn_update_interval or profile.dyn_update_time):
        return status_info("InvalidProfile", "only Dynamic profiles are updated (K01.FR.122, K28.FR.04)")
    if profile.dyn_update_time:
        at(profile.dyn_update_time)
    for schedule in profile.charging_schedule:
        if schedule.randomized_delay and purpose not in ("TxProfile", "TxDefaultProfile"):
            return status_info("InvalidSchedule", "randomizedDelay is for Tx(Default)Profiles (K01.FR.95)")
        if purpose == "PriorityCharging" and schedule.duration is not None:
            return status_info("InvalidSchedule", "PriorityCharging has no duration (K01.FR.70)")
    if any(period.evse_sleep and period.operation_mode != "Idle" for period in _periods(profile)):
        return status_info("InvalidSchedule", "only an idle EVSE may sleep (K01.FR.126)")
    return None


def _refuse_target(
    profile: ocpp.ChargingProfile, evse_id: int, transactions: Iterable[OpenTransaction]
) -> StatusInfo | None:
    match profile.charging_profile_purpose:
        case "TxProfile":
            if evse_id == 0:
                return status_info("InvalidValue", "a TxProfile belongs to an EVSE (K01.FR.16)")
            if profile.transaction_id is None:
                return status_info("MissingParam", "a TxProfile names its transaction (K01.FR.03)")
            if not any(t.transaction_id == profile.transaction_id and t.evse_id == evse_id for t in transactions):
                return status_info("TxNotFound", "no such transaction on this EVSE (K01.FR.09, K01.FR.33)")
        case "ChargingStationMaxProfile":
            if evse_id != 0:
                return status_info("InvalidValue", "a ChargingStationMaxProfile belongs to EVSE 0")
            if profile.charging_profile_kind == "Relative":
                return status_info("InvalidProfile", "a ChargingStationMaxProfile is not Relative (K01.FR.38)")
    return None


def refuse_lines(profile: ocpp.ChargingProfile, evse_id: int, able: Abilities) -> StatusInfo | None:
    """Return why values for L2 and L3 are not acceptable, or None: they are for vehicles that have sent powers of these
    conductors (ISO 15118-20), and beside the value of L1 (K01.FR.142 to .146, V2X.06 to .10)."""
    charging, discharging = able.lines.get(evse_id, (1, 1))
    for period, name in itertools.product(_periods(profile), _OF_LINES):
        needed = 3 if getattr(period, name + "_l3") is not None else 2
        if getattr(period, f"{name}_l{needed}") is None:
            continue
        if profile.charging_profile_purpose != "TxProfile":
            why = "values for L2 and L3 are for a TxProfile (K01.FR.144, V2X.10)"
        elif name == "setpoint_reactive":
            why = "reactive power of single conductors is not supported"
        elif getattr(period, name) is None:
            why = "L2 and L3 need the value of L1 beside them (K01.FR.146, V2X.07)"
        elif needed > (charging if name == "limit" else discharging):
            why = f"the vehicle has not sent a power of L{needed} (K01.FR.144, V2X.10)"
        elif needed > (period.number_phases or needed):
            why = f"numberPhases {period.number_phases} has no L{needed}"
        else:
            continue
        return status_info("PhaseConflict", why)
    return None


def _refuse_phases(profile: ocpp.ChargingProfile, evse_id: int, version: Version, able: Abilities) -> StatusInfo | None:
    """Refuse numbers of phases that the station cannot keep, and a choice of a phase that it cannot make.

    More phases than there are do no harm (K01.FR.45).
    """
    places = [evse_id] if evse_id else list(range(1, able.evses + 1))
    alternating = {each: able.phases.get(each, 3) for each in places if each not in able.direct_current}
    fixed = {each: count for each, count in alternating.items() if each not in able.switches_phases}
    for period in _periods(profile):
        count, chosen = period.number_phases, period.phase_to_use
        if count is None and not chosen:
            continue
        if not alternating:
            if version == "2.1":
                return status_info("NoPhaseForDC", "direct current has no phases (K01.FR.44)")
            continue
        if chosen and count != 1:
            return status_info("InvalidSchedule", "phaseToUse needs numberPhases = 1 (K01.FR.19)")
        if count == 0 or (count == 2 and any(each == 3 for each in alternating.values())):
            return status_info("InvalidSchedule", f"numberPhases {count} is not supported (K01.FR.43)")
        if count is not None and any(each > count for each in fixed.values()):
            return status_info("InvalidSchedule", "the number of phases cannot be switched here (K01.FR.43)")
        if chosen and chosen != 1 and (fixed or not able.selects_phase):
            return status_info("InvalidSchedule", "the phase cannot be chosen here (K01.FR.20, K01.FR.48)")
    return None


def _refuse_schedule(
    profile: ocpp.ChargingProfile, schedule: ocpp.ChargingSchedule, evse_id: int, able: Abilities
) -> StatusInfo | None:
    kind = profile.charging_profile_kind
    starts = [period.start_period for period in schedule.charging_schedule_period]
    if schedule.start_schedule is not None:
        (naive if schedule.use_local_time else at)(schedule.start_schedule)
    try:
        read_csms_prices(schedule, 0)
    except RefusedError as error:
        return status_info("InvalidSchedule", str(error))
    unit = schedule.charging_rate_unit
    if unit not in able.units or (unit == "A" and evse_id in able.direct_current):
        return status_info("UnsupportedRateUnit", f"{unit} is not supported here (K01.FR.26)")
    if kind in ("Absolute", "Recurring") and schedule.start_schedule is None:
        return status_info("InvalidSchedule", f"{kind} needs startSchedule (K01.FR.40)")
    if kind == "Relative" and schedule.start_schedule is not None:
        return status_info("InvalidSchedule", "Relative has no startSchedule (K01.FR.41)")
    if kind == "Recurring" and profile.recurrency_kind is None:
        return status_info("InvalidProfile", "Recurring needs recurrencyKind")
    if starts[0] != 0 or starts != sorted(set(starts)):
        return status_info("InvalidSchedule", "periods begin at 0 and ascend (K01.FR.31, K01.FR.35)")
    if kind == "Dynamic" and (len(starts) > 1 or len(profile.charging_schedule) > 1):
        return status_info("InvalidSchedule", "Dynamic has one period (K28.FR.01)")
    return None


def _refuse_negative(profile: ocpp.ChargingProfile) -> StatusInfo | None:
    """Reject a charging rate below 0, which OCPP 2.0.1 does not define; 2.1 reads it as no charging."""
    rates = (p.limit for s in profile.charging_schedule for p in s.charging_schedule_period)
    return (
        status_info("InvalidSchedule", "a limit is not negative") if any(each and each < 0 for each in rates) else None
    )


def _refuse_modes(profile: ocpp.ChargingProfile, able: Abilities) -> StatusInfo | None:
    """Check periods of OCPP 2.1 by their operation mode."""
    purpose = profile.charging_profile_purpose
    modes = _MODES_OF.get(purpose)
    for schedule in profile.charging_schedule:
        for period in schedule.charging_schedule_period:
            if modes is not None and (period.operation_mode or "ChargingOnly") not in modes:
                return status_info("InvalidOperationMode", f"not in a {purpose} profile (K01.FR.114)")
            refused = _refuse_mode(period, able)
            if refused is None and period.operation_mode == "LocalFrequency" and schedule.charging_rate_unit != "W":
                refused = status_info("InvalidSchedule", "frequency curves are in W (Q08.FR.05)")
            if refused is not None:
                text = f"{refused.additional_info}; schedule {schedule.id}, startPeriod {period.start_period}"
                return status_info(refused.reason_code, text)
    return None


def _refuse_mode(period: ocpp.ChargingSchedulePeriod, able: Abilities) -> StatusInfo | None:
    mode = period.operation_mode or "ChargingOnly"
    limited = period.limit is not None or period.discharge_limit is not None
    if mode not in able.modes:
        code = "UnsupportedParam" if mode == "LocalLoadBalancing" else "InvalidOperationMode"  # Q09.FR.01, K01.FR.115
        return status_info(code, f"operation mode {mode} is not supported")
    if mode == "LocalFrequency":
        if limited or period.setpoint is not None or period.setpoint_reactive is not None:
            return status_info("InvalidSchedule", "LocalFrequency has neither limits nor set points (Q08.FR.04)")
        if len(period.v2x_freq_watt_curve) < 2 or period.v2x_baseline is None:
            return status_info("NoFreqWattCurve", "LocalFrequency needs v2xBaseline and v2xFreqWattCurve (Q08.FR.03)")
    if mode == "LocalLoadBalancing" and not able.thresholds:
        return status_info("MissingDevModelInfo", "LocalLoadBalancing needs its thresholds and offsets (Q09.FR.02)")
    if mode == "Idle" and (limited or period.setpoint is not None or period.setpoint_reactive is not None):
        return status_info("InvalidSchedule", "Idle has neither limits nor set point (Q10.FR.02)")
    if mode == "ChargingOnly" and (period.discharge_limit is not None or period.setpoint is not None):
        return status_info("InvalidSchedule", "ChargingOnly has neither dischargeLimit nor setpoint (Q02.FR.02)")
    if mode == "ChargingOnly" and period.limit is None:
        return status_info("InvalidSchedule", "ChargingOnly needs a limit")
    if mode in ("CentralSetpoint", "CentralFrequency") and period.setpoint is None:
        return status_info("InvalidSchedule", f"{mode} needs a setpoint")
    # reject a set-point outside its own limits (V2X.05, .06)
    for line in ("", "_l2", "_l3"):
        setpoint, most, least = (getattr(period, name + line) for name in ("setpoint", "limit", "discharge_limit"))
        if setpoint is not None and (
            (most is not None and setpoint > most) or (least is not None and setpoint < least)
        ):
            return status_info("InvalidSchedule", "the setpoint is not between dischargeLimit and limit (V2X.05)")
    return None


def _refuse_beside(profile: ocpp.ChargingProfile, evse_id: int, installed: list[InstalledProfile]) -> StatusInfo | None:
    """Reject a second profile of the same purpose, level and place (K01.FR.06, .39, .52, .53), and another phaseToUse
    than that of one that applies at the same time, in whatever period (K01.FR.141)."""
    others = [item for item in installed if item.profile.id != profile.id]
    if sum(item.source == "CSO" for item in others) >= MAX_PROFILES:
        return status_info("TooManyElements", f"at most {MAX_PROFILES} profiles")
    purpose, (since, until) = profile.charging_profile_purpose, window(profile)
    phases = {period.phase_to_use or 0 for period in _periods(profile)} - {0}
    for item in others:
        other, (begin, end) = item.profile, window(item.profile)
        apart = item.evse_id != evse_id and 0 not in (item.evse_id, evse_id)
        if apart or item.ended or begin >= until or since >= end:
            continue
        same = other.charging_profile_purpose == purpose and item.source == "CSO"
        if same and (other.stack_level, other.transaction_id) == (profile.stack_level, profile.transaction_id):
            return status_info("DuplicateProfile", f"profile {other.id} has this purpose and stack level")
        leading = {"TxProfile", "TxDefaultProfile", "PriorityCharging"}  # one of them applies, with a station's limits
        instead = same or {other.charging_profile_purpose, purpose} <= leading
        used = {period.phase_to_use or 0 for period in _periods(other)} - {0}
        if not instead and phases and used and len(phases | used) > 1:
            return status_info("PhaseConflict", f"profile {other.id} has another phaseToUse (K01.FR.141)")
    return None


def _periods(profile: ocpp.ChargingProfile) -> list[ocpp.ChargingSchedulePeriod]:
    return [period for schedule in profile.charging_schedule for period in schedule.charging_schedule_period]
