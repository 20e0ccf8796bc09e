"""Charging schedules: made from templates and from a site's shares, evaluated over time, compared and added.

A schedule has limits in W or A for consecutive periods. Currents are on each phase; for conversion a phase has
230 V and a period without `numberPhases` has three (OCPP's default, K01.FR.49).
"""

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from csms.smart_charging.local_schedules import offset_of
from csms.smart_charging.rules import SHARE_LEVEL, SHARE_PROFILE, WAITING_PROFILE, limit_start_ms
from v2g.energy.conductors import VOLTAGE
from v2g.ocpp.messages import charging_profiles as ocpp
from v2g.ocpp.messages.smart_charging import CompositeSchedule
from v2g.ocpp.times import format_time, parse_time

FOLLOWED_MS: Final = 3_000
"""So long after a limit or a share was sent, readings may be of the time before."""

_TOLERANCE_W: Final = 1.0


class TemplatePeriod(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit (W or A) from `start_s` after the schedule's start; discharging is negative."""

    start_s: Annotated[int, Meta(ge=0, le=31 * 86_400)]
    limit: Annotated[float, Meta(ge=0, le=10_000_000)]
    discharge_limit: Annotated[float, Meta(ge=-10_000_000, le=0)] | None = None
    phases: Annotated[int, Meta(ge=1, le=3)] | None = None


class ProfileTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charging profile without place and time, which an operator applies to stations by name.

    `Recurring` ones begin at the local midnight given when they are applied, and follow their site's clock changes.
    `valid_s`: their validity.
    """

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    purpose: Literal["ChargingStationMaxProfile", "TxDefaultProfile", "TxProfile", "PriorityCharging"]
    kind: Literal["Absolute", "Recurring", "Relative"] = "Absolute"
    recurrency: Literal["Daily", "Weekly"] | None = None
    stack_level: Annotated[int, Meta(ge=0, le=100)] = 0
    unit: ocpp.ChargingRateUnit = "W"
    duration_s: Annotated[int, Meta(ge=1, le=31 * 86_400)] | None = None
    valid_s: Annotated[int, Meta(ge=1, le=10 * 366 * 86_400)] | None = None
    periods: Annotated[tuple[TemplatePeriod, ...], Meta(min_length=1, max_length=1024)]

    def __post_init__(self) -> None:
        """Reject invalid templates: unordered periods, recurring without recurrency (K01.FR.31, FR.40)."""
        starts = [period.start_s for period in self.periods]
        if starts[0] != 0 or any(after <= before for before, after in itertools.pairwise(starts)):
            raise ValueError("periods must begin at 0 and ascend")
        if (self.kind == "Recurring") != (self.recurrency is not None):
            raise ValueError("recurrency is required for recurring profiles, and only for these")
        if self.kind == "Recurring" and self.duration_s is None:
            raise ValueError("a recurring profile must have a duration")


def from_template(
    template: ProfileTemplate,
    profile_id: int,
    now_ms: int,
    *,
    start_ms: int | None = None,
    transaction_id: str | None = None,
    zone: str = "",
) -> ocpp.ChargingProfile:
    """Return a template as a profile from now on; a transaction's profile is relative or begins at `start_ms`. A
    recurring one is of the local time of its `zone`, if that is known."""
    start_ms = now_ms if start_ms is None else start_ms
    local, start = template.kind == "Recurring" and bool(zone), format_time(start_ms)
    if local:
        start = datetime.fromtimestamp(start_ms // 1000, offset_of(zone, start_ms)).isoformat()
    schedule = ocpp.ChargingSchedule(
        id=profile_id,
        start_schedule=None if template.kind == "Relative" else start,
        use_local_time=True if local else None,
        duration=template.duration_s,
        charging_rate_unit=template.unit,
        charging_schedule_period=tuple(
            ocpp.ChargingSchedulePeriod(
                start_period=period.start_s,
                limit=_tenths(period.limit),
                number_phases=period.phases,
                discharge_limit=None if period.discharge_limit is None else _tenths(period.discharge_limit),
                operation_mode=None if period.discharge_limit is None else "ExternalSetpoint",  # Q02.FR.02
            )
            for period in template.periods
        ),
    )
    return ocpp.ChargingProfile(
        id=profile_id,
        stack_level=template.stack_level,
        charging_profile_purpose=template.purpose,
        charging_profile_kind=template.kind,
        recurrency_kind=template.recurrency,
        valid_from=None if template.valid_s is None else format_time(now_ms),
        valid_to=None if template.valid_s is None else format_time(now_ms + template.valid_s * 1000),
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )


def _tenths(limit: float) -> float:
    """Return a limit with one decimal, as OCPP has it, never a higher power."""
    return float(Decimal(repr(limit)).quantize(Decimal("0.1"), ROUND_DOWN))


def share_profile(
    evse_id: int, milliampere: int, phases: int, now_ms: int, transaction_id: str, *, phase_to_use: int | None = None
) -> ocpp.ChargingProfile:
    """Return the profile that limits a transaction to its share, until it is replaced.

    `phase_to_use` (1 to 3): the only phase that it may use, where its station can choose that (K01.FR.20).
    """
    phases = phases if phase_to_use is None else 1
    return _flat(SHARE_PROFILE + evse_id, "TxProfile", milliampere, phases, now_ms, transaction_id, phase_to_use)


def dynamic_share(profile: ocpp.ChargingProfile, now_ms: int) -> ocpp.ChargingProfile:
    """Return the profile of a share as a dynamic one, whose limit a short message can change (K28.FR.01, FR.05)."""
    schedule = msgspec.structs.replace(profile.charging_schedule[0], start_schedule=None)
    return msgspec.structs.replace(
        profile, charging_profile_kind="Dynamic", dyn_update_time=format_time(now_ms), charging_schedule=(schedule,)
    )


def waiting_profile(milliampere: int, now_ms: int) -> ocpp.ChargingProfile:
    """Return the default profile of a station on a shared site: the limit until the transaction has its share."""
    return _flat(WAITING_PROFILE, "TxDefaultProfile", milliampere, 3, now_ms, None)


def _flat(
    profile_id: int,
    purpose: ocpp.ChargingProfilePurpose,
    milliampere: int,
    phases: int,
    now_ms: int,
    transaction_id: str | None,
    phase_to_use: int | None = None,
) -> ocpp.ChargingProfile:
    limit = float(Decimal(milliampere // 100).scaleb(-1))  # OCPP's limits have one decimal
    schedule = ocpp.ChargingSchedule(
        id=profile_id,
        start_schedule=format_time(limit_start_ms(now_ms)),
        charging_rate_unit="A",
        charging_schedule_period=(
            ocpp.ChargingSchedulePeriod(
                start_period=0, limit=limit, number_phases=phases if phases < 3 else None, phase_to_use=phase_to_use
            ),
        ),
    )
    return ocpp.ChargingProfile(
        id=profile_id,
        stack_level=SHARE_LEVEL,
        charging_profile_purpose=purpose,
        charging_profile_kind="Absolute",
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )


def milliampere(profile: ocpp.ChargingProfile) -> int:
    """Return the limit in the profile of a share; one in W, as its station reports it, may be of one phase."""
    schedule = in_unit(profile, "A", 1).charging_schedule[0]
    return int(Decimal(repr(schedule.charging_schedule_period[0].limit or 0)) * 1000)


def in_unit(profile: ocpp.ChargingProfile, unit: ocpp.ChargingRateUnit, phases: int) -> ocpp.ChargingProfile:
    """Return a profile with its limits in a unit, rounded to no higher power: A and W count for so many phases, or
    fewer that it names."""

    def turned(limit: float | None, period: ocpp.ChargingSchedulePeriod) -> float | None:
        volts = watts(1, "A", min(phases, period.number_phases or phases))
        return None if limit is None else _tenths(limit * volts if unit == "W" else limit / volts)

    schedules = list(profile.charging_schedule)
    for at, schedule in enumerate(schedules):
        if schedule.charging_rate_unit != unit:
            periods = tuple(
                msgspec.structs.replace(
                    each, limit=turned(each.limit, each), discharge_limit=turned(each.discharge_limit, each)
                )
                for each in schedule.charging_schedule_period
            )
            schedules[at] = msgspec.structs.replace(schedule, charging_rate_unit=unit, charging_schedule_period=periods)
    return msgspec.structs.replace(profile, charging_schedule=tuple(schedules))


def watts(amount: float, unit: ocpp.ChargingRateUnit, phases: int | None) -> float:
    """Return a limit in W."""
    return amount if unit == "W" else amount * VOLTAGE * (3 if phases is None else phases)


class Step(msgspec.Struct, frozen=True):
    """A limit in W from a time (UTC ms) until the next step; None: no limit."""

    at_ms: int
    limit_w: float | None


def steps(schedule: ocpp.ChargingSchedule | CompositeSchedule, start_ms: int) -> list[Step]:
    """Return a schedule that begins at `start_ms` as steps, the last of which ends it."""
    found = [
        Step(
            start_ms + period.start_period * 1000,
            None if period.limit is None else watts(period.limit, schedule.charging_rate_unit, period.number_phases),
        )
        for period in schedule.charging_schedule_period
    ]
    if schedule.duration is not None:
        end_ms = start_ms + schedule.duration * 1000
        found = [step for step in found if step.at_ms < end_ms]
        found.append(Step(end_ms, None))
    return found


def limit_at(found: Sequence[Step], at_ms: int) -> float | None:
    """Return the limit (W) in force at a time, None for none."""
    limit = None
    for step in found:
        if step.at_ms > at_ms:
            break
        limit = step.limit_w
    return limit


def exceeds(plan: ocpp.ChargingSchedule, base_ms: int, held: Iterable[ocpp.ChargingProfile], started_ms: int) -> bool:
    """Return whether a vehicle's plan exceeds the profiles at any time (K15.FR.11, FR.12).

    `held`: its station's profiles for its EVSE and transaction. `base_ms`: start of the plan; `started_ms`: start of
    the transaction, from which relative profiles count.
    """
    mine = steps(plan, base_ms)
    bounds = [
        (profile, steps(schedule, parse_time(schedule.start_schedule) if schedule.start_schedule else started_ms))
        for profile in sorted(held, key=lambda each: -each.stack_level)
        for schedule in profile.charging_schedule[:1]
        if profile.charging_profile_kind in ("Absolute", "Relative")
    ]
    moments = {step.at_ms for found in (mine, *(each for _, each in bounds)) for step in found}
    for at_ms in sorted(moment for moment in moments if moment >= base_ms):
        # Of each purpose the highest stack level counts; a transaction's own profile replaces the default
        # one (K01.FR.14)
        found: dict[str, float] = {}
        for profile, each in bounds:
            limit = limit_at(each, at_ms)
            if limit is not None:
                found.setdefault(profile.charging_profile_purpose, limit)
        if "TxProfile" in found:
            found.pop("TxDefaultProfile", None)
        planned, bound = limit_at(mine, at_ms), min(found.values(), default=None)
        if planned is not None and bound is not None and planned > bound + _TOLERANCE_W:
            return True
    return False


def add_up(schedules: Sequence[CompositeSchedule], start_ms: int, duration_s: int) -> list[Step]:
    """Return the combined limit of several EVSEs (W): None while one of them has no limit."""
    each = [steps(schedule, parse_time(schedule.schedule_start)) for schedule in schedules]
    end_ms = start_ms + duration_s * 1000
    moments = sorted({start_ms} | {step.at_ms for found in each for step in found if start_ms < step.at_ms < end_ms})
    total: list[Step] = []
    for at_ms in moments:
        limits = [limit_at(found, at_ms) for found in each]
        known = [limit for limit in limits if limit is not None]
        limit = sum(known) if len(known) == len(limits) else None
        if not total or total[-1].limit_w != limit:
            total.append(Step(at_ms, limit))
    return total
