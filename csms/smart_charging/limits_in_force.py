"""What permitted a transaction power over time: the limits that its station has accepted, and held since. Pure.

A station obeys a profile of each kind, whichever of them it believes the highest: no more than the largest is known.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from csms.smart_charging.charging_plans import watts
from v2g.energy.limits import MOST_W
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingProfilePurpose,
    ChargingSchedule,
    ChargingSchedulePeriod,
)
from v2g.ocpp.times import parse_time

MARGIN_MS: Final = 120_000
"""A limit may be in force so long before it was accepted and after it was replaced: clocks differ by up to a minute,
answers take up to a minute, and power follows."""

_VOLTAGE_PERCENT: Final = 110
"""Of 230 V, the highest voltage (EN 50160)."""

LimitSource = ChargingProfilePurpose | Literal["ExportSignal"]
"""What limits: a profile, or the grid signal as a station of OCPP 2.0.1 has it, whose profiles do not limit export."""

EXPORT_SIGNAL: Final = "ExportSignal"
_STATION: Final[frozenset[LimitSource]] = frozenset({"ChargingStationMaxProfile"})
_TRANSACTION: Final[frozenset[LimitSource]] = frozenset({"TxProfile", "TxDefaultProfile"})
_TOGETHER: Final = _STATION, _TRANSACTION, frozenset[LimitSource]({EXPORT_SIGNAL})
"""The lowest of these counts, and of each the highest."""
_RAISING: Final[frozenset[LimitSource]] = frozenset({"PriorityCharging", "LocalGeneration"})
"""They permit more than the others."""


class PermittedPower(NamedTuple):
    """The most power (W) into a vehicle and out of it from a time (UTC ms) until the next one.

    None: nothing is said then, `MOST_W`: no limit is known.
    """

    at_ms: int
    import_w: int | None
    export_w: int | None = MOST_W


Steps = tuple[PermittedPower, ...]

UNKNOWN: Final[Steps] = (PermittedPower(0, MOST_W, MOST_W),)

Course = tuple[tuple[int, int], ...]
"""The most power (W) from a time (UTC ms) on."""


class LimitInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's limits from its acceptance or report until it was replaced, cleared, or unsure (UTC ms).

    `whole`: whether all profiles of its station were known then.
    """

    evse_id: int
    purpose: LimitSource
    transaction_id: str | None
    from_ms: int
    to_ms: int | None
    whole: bool
    steps: Steps


def steps_of(profile: ChargingProfile) -> Steps:
    """Return what a profile permits over time; where that depends on more than time, no limit is known."""
    schedule = profile.charging_schedule[0]
    sure = (
        profile.charging_profile_kind == "Absolute"
        and len(profile.charging_schedule) == 1
        and not schedule.use_local_time
        and not schedule.randomized_delay
        and not profile.max_offline_duration
        and not profile.invalid_after_offline_duration
    )
    if not sure or schedule.start_schedule is None:
        return UNKNOWN
    start_ms, end_ms = parse_time(schedule.start_schedule), None
    if schedule.duration is not None:
        end_ms = start_ms + schedule.duration * 1000
    if profile.valid_to is not None:
        end_ms = min(parse_time(profile.valid_to), end_ms or parse_time(profile.valid_to))
    first_ms = start_ms if profile.valid_from is None else parse_time(profile.valid_from)
    found: list[PermittedPower] = []
    for each in schedule.charging_schedule_period:
        import_w = _watts((each.limit, each.limit_l2, each.limit_l3), 1, schedule, each)
        discharges = each.discharge_limit, each.discharge_limit_l2, each.discharge_limit_l3
        export_w = _watts(discharges, -1, schedule, each)
        if each.operation_mode in ("ChargingOnly", "Idle") and profile.charging_profile_purpose in _TRANSACTION:
            export_w = 0
        at_ms = max(first_ms, start_ms + each.start_period * 1000)
        if found and found[-1].at_ms == at_ms:
            found.pop()
        found.append(PermittedPower(at_ms, import_w, export_w))
    if end_ms is not None:
        found = [*(each for each in found if each.at_ms < end_ms), PermittedPower(end_ms, None, None)]
    return tuple(found)


def _watts(
    limits: tuple[float | None, ...], sign: int, schedule: ChargingSchedule, period: ChargingSchedulePeriod
) -> int:
    """Return a limit at the highest voltage, W; `MOST_W` where there is none, or phases have their own."""
    if limits[0] is None or limits[1:] != (None, None):
        return MOST_W
    percent = 100 if schedule.charging_rate_unit == "W" else _VOLTAGE_PERCENT
    most = max(0.0, sign * watts(limits[0], schedule.charging_rate_unit, period.number_phases))
    return min(MOST_W, round(most * percent / 100))


def permitted(
    held: Iterable[LimitInForce], evse_id: int, transaction_id: str, span: tuple[int, int]
) -> tuple[Course, Course]:
    """Return the most power (W) that an EVSE's transaction was permitted in a span (UTC ms): into the vehicle, out.

    Each is the highest in force up to `MARGIN_MS` before and after it; `MOST_W` where no limit is known.
    """
    here = [
        each
        for each in held
        if each.purpose in _STATION | _RAISING | {EXPORT_SIGNAL}
        or (each.purpose in _TRANSACTION and each.evse_id in (0, evse_id)
            and each.transaction_id in (None, transaction_id))
    ]  # fmt: skip
    first_ms, last_ms = span[0] - 2 * MARGIN_MS, span[1] + 2 * MARGIN_MS
    cuts = {first_ms}
    for each in here:
        cuts |= {each.from_ms, last_ms if each.to_ms is None else each.to_ms, *(step.at_ms for step in each.steps)}
    times = sorted(at_ms for at_ms in cuts if first_ms <= at_ms < last_ms)
    coming = sorted(here, key=lambda each: each.from_ms, reverse=True)
    active: list[LimitInForce] = []
    powers: list[tuple[int, int]] = []
    for at_ms in times:
        active = [each for each in active if each.to_ms is None or each.to_ms > at_ms]
        while coming and coming[-1].from_ms <= at_ms:
            if (each := coming.pop()).to_ms is None or each.to_ms > at_ms:
                active.append(each)
        powers.append(_permitted_at(active, at_ms))
    moments = sorted({first_ms, *(at + shift for at in times for shift in (-MARGIN_MS, MARGIN_MS))})
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for at_ms, next_ms in itertools.pairwise([*moments, last_ms]):
        if next_ms > at_ms:
            begins = max(0, bisect_right(times, at_ms - MARGIN_MS) - 1)
            around = powers[begins : bisect_left(times, next_ms + MARGIN_MS)]
            for course, each_w in zip(found, zip(*around, strict=True), strict=True):
                if not course or course[-1][1] != max(each_w):
                    course.append((at_ms, max(each_w)))
    return tuple(found[0]), tuple(found[1])


def _permitted_at(active: Sequence[LimitInForce], at_ms: int) -> tuple[int, int]:
    if any(each.purpose in _RAISING for each in active):
        return MOST_W, MOST_W
    import_w = export_w = MOST_W
    for purposes in _TOGETHER:
        there = [(step, each.whole) for each in active if each.purpose in purposes
                 and (step := _at(each.steps, at_ms)) is not None]  # fmt: skip
        if all(whole for _, whole in there):
            import_w = min(import_w, max((s.import_w for s, _ in there if s.import_w is not None), default=MOST_W))
            export_w = min(export_w, max((s.export_w for s, _ in there if s.export_w is not None), default=MOST_W))
    return import_w, export_w


def _at(steps: Steps, at_ms: int) -> PermittedPower | None:
    place = bisect_right(steps, at_ms, key=lambda each: each.at_ms)
    return steps[place - 1] if place else None
