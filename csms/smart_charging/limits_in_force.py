"""What permitted a transaction power over time: the limits that its station has accepted, and held since. Pure.

A station obeys a profile of each kind, whichever of them it believes the highest: no more than the largest is known.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from csms.sites.rules import Known, lines_in_use
from csms.smart_charging.charging_plans import watts
from csms.smart_charging.rules import SITE_PROFILE
from csms.transactions.rules import flowing_w
from v2g.energy.conductors import VOLTAGE
from v2g.energy.limits import MOST_W
from v2g.ocpp.messages import charging_profiles as ocpp
from v2g.ocpp.times import parse_time

MARGIN_MS: Final = 120_000
"""A limit may be in force so long before it was accepted and after it was replaced: clocks differ by up to a minute,
answers take up to a minute, and power follows."""

_VOLTAGE_PERCENT: Final = 110
"""Of 230 V, the highest voltage (EN 50160)."""

LimitSource = ocpp.ChargingProfilePurpose | Literal["ExportSignal"]
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


def steps_of(profile: ocpp.ChargingProfile, now_ms: int) -> Steps:
    """Return what a profile permits over time, accepted now (UTC ms); where it may lapse unseen, no limit is known.

    That whose periods begin with its transaction, or again and again, permits the highest of them at any time, and so
    do several schedules, of which the vehicle chooses one.
    """
    schedules, kind = profile.charging_schedule, profile.charging_profile_kind
    fixed = kind in ("Absolute", "Dynamic") and len(schedules) == 1
    if (
        (profile.max_offline_duration and profile.id != SITE_PROFILE)  # what is below that one permits less
        or profile.invalid_after_offline_duration
        or any(each.use_local_time or each.randomized_delay for each in schedules)
        or not (fixed or all(each.duration is None for each in schedules))
        or (kind == "Absolute" and any(each.start_schedule is None for each in schedules))
    ):
        return UNKNOWN
    starts = [parse_time(each.start_schedule) for each in schedules if each.start_schedule is not None]
    start_ms, end_ms = now_ms if kind == "Dynamic" else max(starts, default=0), None
    if schedules[0].duration is not None:
        end_ms = start_ms + schedules[0].duration * 1000
    if profile.valid_to is not None:
        end_ms = min(parse_time(profile.valid_to), end_ms or parse_time(profile.valid_to))
    first_ms = start_ms if profile.valid_from is None else parse_time(profile.valid_from)
    found: dict[int, tuple[int, int]] = {}
    for schedule in schedules:
        for each in schedule.charging_schedule_period:
            powers = _powers(schedule, each, of_transaction=profile.charging_profile_purpose in _TRANSACTION)
            at_ms = max(first_ms, start_ms + each.start_period * 1000 * fixed)
            before = None if fixed else found.get(at_ms)
            found[at_ms] = powers if before is None else (max(powers[0], before[0]), max(powers[1], before[1]))
    if end_ms is None:
        return tuple(PermittedPower(at_ms, *powers) for at_ms, powers in found.items())
    pulled = MOST_W if profile.dyn_update_interval else None  # the station may have asked for its values again
    steps = (PermittedPower(at_ms, *powers) for at_ms, powers in found.items() if at_ms < end_ms)
    return *steps, PermittedPower(end_ms, pulled, pulled)


def rises(held: Sequence[Steps], wanted: Steps, now_ms: int) -> bool:
    """Return whether limits in the place of others may permit more than these at any time from now (UTC ms) on."""
    for at_ms in {now_ms, *(max(now_ms, each.at_ms) for steps in (*held, wanted) for each in steps)}:
        after, before = _said(wanted, at_ms), [_said(each, at_ms) for each in held]
        if any(after[way] > max(each[way] for each in before) for way in (0, 1)):
            return True
    return False


def _said(steps: Steps, at_ms: int) -> tuple[int, int]:
    """Return what is permitted, W; `MOST_W` where nothing is said."""
    found = _at(steps, at_ms) or PermittedPower(at_ms, None, None)
    return MOST_W if found.import_w is None else found.import_w, MOST_W if found.export_w is None else found.export_w


def _powers(
    schedule: ocpp.ChargingSchedule, period: ocpp.ChargingSchedulePeriod, *, of_transaction: bool
) -> tuple[int, int]:
    """Return what a period permits into the vehicle and out of it, W."""
    mode, export_w = period.operation_mode, MOST_W
    if mode == "ExternalLimits":  # an external system replaces them (Q05)
        return MOST_W, MOST_W
    if mode in ("CentralSetpoint", "CentralFrequency"):
        target = period.setpoint, period.setpoint_l2, period.setpoint_l3
        return _watts(target, 1, schedule, period), _watts(target, -1, schedule, period)
    if mode in ("ChargingOnly", "Idle") and of_transaction:
        export_w = 0
    else:
        discharges = period.discharge_limit, period.discharge_limit_l2, period.discharge_limit_l3
        export_w = _watts(discharges, -1, schedule, period)
    return _watts((period.limit, period.limit_l2, period.limit_l3), 1, schedule, period), export_w


def _watts(
    limits: tuple[float | None, ...], sign: int, schedule: ocpp.ChargingSchedule, period: ocpp.ChargingSchedulePeriod
) -> int:
    """Return a limit at the highest voltage, W; `MOST_W` where there is none, or phases have their own."""
    if limits[0] is None or limits[1:] != (None, None):
        return MOST_W
    percent = 100 if schedule.charging_rate_unit == "W" else _VOLTAGE_PERCENT
    most = max(0.0, sign * watts(limits[0], schedule.charging_rate_unit, period.number_phases))
    return min(MOST_W, round(most * percent / 100))


def permitted(
    held: Iterable[LimitInForce], evse_id: int, transaction_id: str, span: tuple[int, int], margin_ms: int = MARGIN_MS
) -> tuple[Course, Course]:
    """Return the most power (W) that an EVSE's transaction was permitted in a span (UTC ms): into the vehicle, out.

    Each is the highest in force up to `margin_ms` before and after it; `MOST_W` where no limit is known.
    """
    here = [
        each
        for each in held
        if each.purpose in _STATION | _RAISING | {EXPORT_SIGNAL}
        or (each.purpose in _TRANSACTION and each.evse_id in (0, evse_id)
            and each.transaction_id in (None, transaction_id))
    ]  # fmt: skip
    first_ms, last_ms = span[0] - 2 * margin_ms, span[1] + 2 * margin_ms
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
    moments = sorted({first_ms, *(at + shift for at in times for shift in (-margin_ms, margin_ms))})
    found: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for at_ms, next_ms in itertools.pairwise([*moments, last_ms]):
        if next_ms > at_ms:
            begins = max(0, bisect_right(times, at_ms - margin_ms) - 1)
            around = powers[begins : bisect_left(times, next_ms + margin_ms)]
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


BoundName = Literal["share", "external", "vehicle", "set_point"]


class Bound(msgspec.Struct, frozen=True):
    """A limit (W): the site's share, an external limit, what the vehicle takes at most, or a set-point, below 0 out of
    the vehicle. `source` of an external limit: OCPP's ChargingLimitSource."""

    name: BoundName
    power_w: int
    source: str = ""


class LimitPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a transaction from `at_ms` (UTC) on, as `EvseLimits`."""

    at_ms: int
    setpoint_w: int | None
    bounds: tuple[Bound, ...]


class EvseLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of an EVSE's transaction, lowest first: that one binds. `setpoint_w`: what dispatch has asked for,
    `power_w`: what it draws by a reading of the last 15 min, both below 0 out of the vehicle."""

    station_id: str
    evse_id: int
    transaction_id: str
    power_w: str | None
    setpoint_w: int | None
    bounds: tuple[Bound, ...]


def evse_limits(station_id: str, known: Known, share_ma: int | None, phases: int = 3) -> EvseLimits | None:
    """Return the limits of an EVSE with so many phases; None without a transaction. `share_ma`: its limit on each of
    them, as its station accepted it."""
    transaction, needs = known.transaction, known.needs
    if transaction is None or transaction.evse_id is None:
        return None
    phases = len(lines_in_use(phases, known))
    bounds: list[Bound] = []
    if share_ma is not None:
        bounds.append(Bound("share", round(share_ma * VOLTAGE * phases / 1000)))
    bounds += [Bound("external", round(power_w), source) for source, power_w in known.external.items()]
    if needs is not None:
        most = (needs.most_w, round(needs.most_ma * VOLTAGE * phases / 1000))
        bounds += [Bound("vehicle", min(filter(None, most)))] if any(most) else []
    if known.dispatch_w is not None:
        bounds.append(Bound("set_point", known.dispatch_w))
    flows_w = flowing_w(transaction.power_w, transaction.charging_state)
    return EvseLimits(
        station_id=station_id,
        evse_id=transaction.evse_id,
        transaction_id=transaction.transaction_id,
        power_w=None if flows_w is None else str(flows_w),
        setpoint_w=known.dispatch_w,
        bounds=tuple(sorted(bounds, key=lambda each: each.power_w)),
    )
