"""Valid profiles: the rules of their purposes, kinds and operation modes."""

from collections.abc import Iterator
from typing import Final

from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import ChargingScheduleUpdate
from v2g.ocpp.times import parse_time

_SETPOINTS: Final = (
    "setpoint", "setpoint_l2", "setpoint_l3", "setpoint_reactive", "setpoint_reactive_l2", "setpoint_reactive_l3",
)  # fmt: skip
_LIMITS: Final = ("limit", "limit_l2", "limit_l3", "discharge_limit", "discharge_limit_l2", "discharge_limit_l3")
_OF_LINES: Final = ("limit", "discharge_limit", "setpoint", "setpoint_reactive")
_DISCHARGES: Final = _LIMITS[3:]
_FORBIDDEN: Final = {
    "ChargingOnly": (*_DISCHARGES, *_SETPOINTS),  # Q02.FR.02
    "CentralSetpoint": _LIMITS,  # Q03.FR.02
    "CentralFrequency": _LIMITS,
}
_CENTRAL: Final = frozenset({"CentralSetpoint", "CentralFrequency"})


def problems(profile: ChargingProfile, evse_id: int | None) -> Iterator[str]:
    """Yield the errors of a profile of an EVSE (0: the station), by the rules of its purpose, kind and operation modes.

    `evse_id` is None in a remote start, whose transaction has no id yet.
    """
    yield from _purpose_problems(profile, evse_id)
    schedules = profile.charging_schedule
    dynamic = profile.charging_profile_kind == "Dynamic"
    if dynamic and (len(schedules) != 1 or len(schedules[0].charging_schedule_period) != 1):
        yield "a dynamic profile must have one schedule of one period (K28.FR.01)"
    if not dynamic and (profile.dyn_update_interval is not None or profile.dyn_update_time is not None):
        yield "only a dynamic profile may have an update interval or time (K28.FR.04, K01.FR.122)"
    if (profile.charging_profile_kind == "Recurring") != (profile.recurrency_kind is not None):
        yield "a recurring profile, and no other, must have a recurrencyKind (K01.FR.40)"
    if profile.valid_from and profile.valid_to and parse_time(profile.valid_from) >= parse_time(profile.valid_to):
        yield "validFrom must be before validTo (K01.FR.36, FR.37)"
    if profile.charging_profile_kind in ("Absolute", "Recurring") and any(s.start_schedule is None for s in schedules):
        yield "an absolute or recurring schedule must have a start (K01.FR.40)"
    if profile.charging_profile_kind == "Relative" and any(s.start_schedule is not None for s in schedules):
        yield "a relative schedule must not have a start (K01.FR.41)"
    for schedule in schedules:
        starts = [period.start_period for period in schedule.charging_schedule_period]
        if starts[0] != 0 or starts != sorted(set(starts)):
            yield "periods must begin at 0 and ascend (K01.FR.31, FR.35)"
        for period in schedule.charging_schedule_period:
            yield from _period_problems(period)
            for name in _OF_LINES:
                if getattr(period, f"{name}_l2") is None and getattr(period, f"{name}_l3") is None:
                    continue
                if profile.charging_profile_purpose != "TxProfile":
                    yield f"only a TxProfile may have {name} of L2 and L3 (K01.FR.143, V2X.09)"
                elif getattr(period, name) is None:
                    yield f"{name} of L2 and L3 needs that of L1 beside it (K01.FR.145, V2X.07)"


def _purpose_problems(profile: ChargingProfile, evse_id: int | None) -> Iterator[str]:
    purpose, schedules = profile.charging_profile_purpose, profile.charging_schedule
    if purpose == "ChargingStationExternalConstraints":
        yield "external constraints are set by other systems only (K01.FR.22)"
    if purpose == "TxProfile":
        if evse_id == 0:
            yield "a TxProfile must be of one EVSE, above 0 (K01.FR.16)"
        if evse_id is not None and profile.transaction_id is None:
            yield "a TxProfile must name its transaction (K01.FR.03)"
    elif profile.transaction_id is not None:
        yield "only a TxProfile may name a transaction (K01.FR.03)"
    if purpose == "ChargingStationMaxProfile":
        if evse_id:
            yield "a ChargingStationMaxProfile must be of EVSE 0 (K04.FR.03)"
        if profile.charging_profile_kind == "Relative":
            yield "a ChargingStationMaxProfile must not be relative (K01.FR.38)"
    if purpose == "PriorityCharging":
        if any(each.duration is not None for each in schedules):
            yield "a PriorityCharging profile must not have a duration (K01.FR.70)"
        if any(p.operation_mode not in (None, "ChargingOnly") for s in schedules for p in s.charging_schedule_period):
            yield "a PriorityCharging profile must be for charging only (K01.FR.71)"
    if purpose not in ("TxProfile", "TxDefaultProfile") and any(each.randomized_delay for each in schedules):
        yield "only a TxProfile or TxDefaultProfile may have a randomizedDelay (K01.FR.95)"
    if purpose != "TxProfile" and len(schedules) > 1:
        yield "only a TxProfile of an ISO 15118 session may have several schedules (K01.FR.34)"


def limit_problems(values: ChargingSchedulePeriod | ChargingScheduleUpdate) -> Iterator[str]:
    """Yield the limits below 0: older stations feed back by them, whatever prequalification permits."""
    for name in ("limit", "limit_l2", "limit_l3"):
        if (getattr(values, name) or 0) < 0:
            yield f"{name} must not be negative: in OCPP 2.1 dischargeLimit and setpoint feed back"


def _period_problems(period: ChargingSchedulePeriod) -> Iterator[str]:
    yield from limit_problems(period)
    if period.phase_to_use is not None and period.number_phases != 1:
        yield "phaseToUse needs numberPhases 1 (K01.FR.19)"
    mode = period.operation_mode or "ChargingOnly"
    for name in _FORBIDDEN.get(mode, ()):
        if getattr(period, name) is not None:
            yield f"a period in {mode} must not have {name}"
    if mode in _CENTRAL and period.setpoint is None:
        yield f"a period in {mode} must have a setpoint (Q03.FR.01)"
    if mode == "LocalFrequency" and not period.v2x_freq_watt_curve:
        yield "a period in LocalFrequency must have a frequency-watt curve (Q08)"
