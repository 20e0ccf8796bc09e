"""What profiles permitted a transaction over time: the limits that its station has accepted, and held since. Pure.

A station obeys a profile of each kind, whichever of them it believes the highest: no more than the largest is known.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from csms.smart_charging.charging_plans import watts
from v2g.energy.limits import MOST_W
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingProfilePurpose
from v2g.ocpp.times import parse_time

MARGIN_MS: Final = 120_000
"""A limit may be in force so long before it was accepted and after it was replaced: clocks differ by up to a minute,
answers take up to a minute, and power follows."""

_VOLTAGE_PERCENT: Final = 110
"""Of 230 V, the highest voltage (EN 50160)."""

_STATION: Final[frozenset[ChargingProfilePurpose]] = frozenset({"ChargingStationMaxProfile"})
_TRANSACTION: Final[frozenset[ChargingProfilePurpose]] = frozenset({"TxProfile", "TxDefaultProfile"})
_RAISING: Final[frozenset[ChargingProfilePurpose]] = frozenset({"PriorityCharging", "LocalGeneration"})
"""They permit more than the others."""

Steps = tuple[tuple[int, int | None], ...]
"""Power (W) from a time (UTC ms) until the next step; None: nothing is said then, `MOST_W`: no limit is known."""


class LimitInForce(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's limits from its acceptance or report until it was replaced, cleared, or unsure (UTC ms).

    `whole`: whether all profiles of its station were known then.
    """

    evse_id: int
    purpose: ChargingProfilePurpose
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
        and schedule.start_schedule is not None
        and len(profile.charging_schedule) == 1
        and not schedule.use_local_time
        and not schedule.randomized_delay
        and not profile.max_offline_duration
        and not profile.invalid_after_offline_duration
    )
    if not sure or schedule.start_schedule is None:
        return ((0, MOST_W),)
    start_ms, end_ms = parse_time(schedule.start_schedule), None
    if schedule.duration is not None:
        end_ms = start_ms + schedule.duration * 1000
    if profile.valid_to is not None:
        end_ms = min(parse_time(profile.valid_to), end_ms or parse_time(profile.valid_to))
    first_ms = start_ms if profile.valid_from is None else max(start_ms, parse_time(profile.valid_from))
    found: list[tuple[int, int | None]] = []
    for each in schedule.charging_schedule_period:
        power_w = MOST_W
        if each.limit is not None and each.limit_l2 is None and each.limit_l3 is None:
            percent = 100 if schedule.charging_rate_unit == "W" else _VOLTAGE_PERCENT
            most = max(0.0, watts(each.limit, schedule.charging_rate_unit, each.number_phases))
            power_w = min(MOST_W, round(most * percent / 100))
        at_ms = max(first_ms, start_ms + each.start_period * 1000)
        if found and found[-1][0] == at_ms:
            found.pop()
        found.append((at_ms, power_w))
    if end_ms is not None:
        found = [*(each for each in found if each[0] < end_ms), (end_ms, None)]
    return tuple(found)


def permitted(
    held: Iterable[LimitInForce], evse_id: int, transaction_id: str, span: tuple[int, int]
) -> tuple[tuple[int, int], ...]:
    """Return the most power (W) that an EVSE's transaction was permitted in a span (UTC ms), as steps.

    Each is the highest in force up to `MARGIN_MS` before and after it; `MOST_W` where no limit is known.
    """
    here = [
        each
        for each in held
        if each.purpose in _STATION | _RAISING
        or (each.purpose in _TRANSACTION and each.evse_id in (0, evse_id)
            and each.transaction_id in (None, transaction_id))
    ]  # fmt: skip
    first_ms, last_ms = span[0] - 2 * MARGIN_MS, span[1] + 2 * MARGIN_MS
    cuts = {first_ms}
    for each in here:
        cuts |= {each.from_ms, last_ms if each.to_ms is None else each.to_ms, *(at_ms for at_ms, _ in each.steps)}
    times = sorted(at_ms for at_ms in cuts if first_ms <= at_ms < last_ms)
    coming = sorted(here, key=lambda each: each.from_ms, reverse=True)
    active: list[LimitInForce] = []
    powers: list[int] = []
    for at_ms in times:
        active = [each for each in active if each.to_ms is None or each.to_ms > at_ms]
        while coming and coming[-1].from_ms <= at_ms:
            if (each := coming.pop()).to_ms is None or each.to_ms > at_ms:
                active.append(each)
        powers.append(_permitted_at(active, at_ms))
    moments = sorted({first_ms, *(at + shift for at in times for shift in (-MARGIN_MS, MARGIN_MS))})
    found: list[tuple[int, int]] = []
    for at_ms, next_ms in itertools.pairwise([*moments, last_ms]):
        if next_ms > at_ms:
            begins = max(0, bisect_right(times, at_ms - MARGIN_MS) - 1)
            most_w = max(powers[begins : max(begins + 1, bisect_left(times, next_ms + MARGIN_MS))])
            if not found or found[-1][1] != most_w:
                found.append((at_ms, most_w))
    return tuple(found)


def _permitted_at(active: Sequence[LimitInForce], at_ms: int) -> int:
    if any(each.purpose in _RAISING for each in active):
        return MOST_W
    found = MOST_W
    for purposes in (_STATION, _TRANSACTION):
        there = [(power_w, each.whole) for each in active if each.purpose in purposes
                 and (power_w := _at(each.steps, at_ms)) is not None]  # fmt: skip
        if there and all(whole for _, whole in there):
            found = min(found, max(power_w for power_w, _ in there))
    return found


def _at(steps: Steps, at_ms: int) -> int | None:
    place = bisect_right(steps, at_ms, key=lambda each: each[0])
    return steps[place - 1][1] if place else None
