"""What charging profiles allow at a time, on an EVSE and for a whole station (functional blocks K and Q).

Profiles of one purpose are ordered by stack level. Purposes are then combined by the smallest limit, where a TxProfile
replaces the TxDefaultProfile, and PriorityCharging both; local generation is added. A limit bounds the power of all
phases and the current of each: one in A does the latter, and the power is that of its number of phases; one in W is
spread over its number of phases (K01.FR.49, .50). With values for L2 and L3 it is that of L1 (R192, V2X.06).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from v2g.energy.conductors import LINES
from v2g.ocpp.messages.base import OperationMode
from v2g.ocpp.messages.charging_profiles import ChargingProfilePurpose, ChargingRateUnit, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import CompositeSchedule
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.translate.csms_prices import CsmsPrices, read_csms_prices
from v2g.units import DAY_MS
from v2g_station.blocks.smart_charging.profile_times import (
    InstalledProfile,
    ProfileSituation,
    begun_ms,
    edges,
    is_over,
    period_at,
)
from v2g_station.kernel.kernel import StationCommand

MAX_PERIODS: Final = 1024


class ProfileLimits(StationCommand, frozen=True, kw_only=True):
    """What profiles allow on an EVSE: W of charging and discharging (both positive, None for no limit), a set-point
    (signed W) and the mode. `until_ms` is when this may change without a new profile, None for never. The charger obeys
    the latest ones."""

    evse_id: int = 0
    charge_w: float | None = None
    discharge_w: float | None = None
    setpoint_w: float | None = None
    operation_mode: OperationMode | None = None
    asleep: bool = False
    """Whether the EVSE's electronics may be turned off (Q10)."""
    export_w: float | None = None
    """The power that the CSMS allows to be discharged, W, by the first profile with a discharge limit, even if another
    one leads by a set-point, which may have none (Q03.FR.02); None if no profile has one."""
    until_ms: int | None = None
    from_ms: int = 0
    later: tuple["ProfileLimits", ...] = ()
    """Limits and set-points from later times on, as far as requested."""
    charge_a: float | None = None
    """With alternating current: the charging current of each line conductor, A; None for no limit."""
    discharge_a: float | None = None
    """The discharging current of each line conductor, A, a magnitude."""
    charge_lines_a: tuple[float, ...] = ()
    """The charging currents of L1, L2 and L3, A, where a profile sets them apart; `charge_a` is then the lowest."""
    discharge_lines_a: tuple[float, ...] = ()
    number_phases: int | None = None
    """How many phases may be used (K01.FR.140); None if no profile says it."""
    phase_to_use: int | None = None
    """The only phase that may be used, 1 to 3 (K01.FR.46); None if no profile says it."""
    whole: "ProfileLimits | None" = None
    """What profiles of the whole station allow the sum of its EVSEs, None for no limit: above each has all of it; a
    set-point here is that of `setpoint_w`, of the station. In `later` each has its equal part."""
    equal: "ProfileLimits | None" = None
    """This EVSE's part of that if all with a transaction had the same."""


_LEADING: Final[tuple[ChargingProfilePurpose, ...]] = ("TxProfile", "TxDefaultProfile")
"""Purposes that control an EVSE, by precedence."""

Found = tuple[ChargingSchedulePeriod, InstalledProfile]


def limits_at(installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation) -> ProfileLimits:
    """Return what all profiles together allow on an EVSE at a time (K08.FR.04, .08), of the whole station a part."""
    return part(_undivided(installed, utc_ms, around))


def _undivided(installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation) -> ProfileLimits:
    """Return what all profiles together allow on an EVSE at a time, if it had all of what is the whole station's."""
    installed = list(installed)
    leader = _leader(installed, utc_ms, around)
    own = _limits(leader, around) if leader else _without(installed, utc_ms, around)
    # K11, K12.FR.01
    external, external_whole = _shared(installed, "ChargingStationExternalConstraints", utc_ms, around)
    most, most_whole = _shared(installed, "ChargingStationMaxProfile", utc_ms, around)
    # on top of all limits (SC.01, K04.FR.05)
    at_evse, at_station = _shared(installed, "LocalGeneration", utc_ms, around)
    generated = [*at_evse, *(_divided(each, around.sharers) for each in at_station)]
    never = [] if around.both_ways else [ProfileLimits(discharge_w=0, discharge_a=0 if around.lines else None)]
    found = _smallest([own, *most, *external, *never], generated)
    source = _setpoint_source(own, [*external, *external_whole], around)
    changes = (edge for item in installed for edge in edges(item, utc_ms, around))
    if bounds := [*most_whole, *external_whole]:
        shared_w = source.setpoint_w if any(source is each for each in external_whole) else None
        whole = msgspec.structs.replace(_smallest(bounds, [*at_evse, *at_station]), setpoint_w=shared_w)
        equal = _smallest([_divided(each, around.sharers) for each in bounds], generated)
        equal = msgspec.structs.replace(equal, setpoint_w=None if shared_w is None else shared_w / around.sharers)
        found = msgspec.structs.replace(_smallest([found, whole], ()), whole=whole, equal=equal)
    return msgspec.structs.replace(
        found,
        setpoint_w=_within(source.setpoint_w, found.charge_w, found.discharge_w),
        operation_mode=source.operation_mode or own.operation_mode,
        asleep=own.asleep,
        export_w=_export(installed, utc_ms, around),
        until_ms=min((edge for edge in changes if edge > utc_ms), default=None),
    )


def _smallest(limits: Sequence[ProfileLimits], generated: Iterable[ProfileLimits]) -> ProfileLimits:
    """Return the smallest of limits, with what is generated on top."""
    added_w, added_a = (sum(getattr(each, name) or 0 for each in generated) for name in ("charge_w", "charge_a"))
    charge_w, discharge_w, charge_a, discharge_a, number_phases = (
        min((value for each in limits if (value := getattr(each, name)) is not None), default=None)
        for name in ("charge_w", "discharge_w", "charge_a", "discharge_a", "number_phases")
    )
    return ProfileLimits(
        charge_w=None if charge_w is None else charge_w + added_w,
        discharge_w=discharge_w,
        charge_a=None if charge_a is None else charge_a + added_a,
        discharge_a=discharge_a,
        charge_lines_a=tuple(
            each + added_a for each in _lines((each.charge_lines_a, each.charge_a) for each in limits)
        ),
        discharge_lines_a=_lines((each.discharge_lines_a, each.discharge_a) for each in limits),
        number_phases=number_phases,
        phase_to_use=next((each.phase_to_use for each in limits if each.phase_to_use), None),
    )


def part(limits: ProfileLimits) -> ProfileLimits:
    """Return the limits with an equal part of what is the whole station's."""
    if limits.equal is None:
        return limits
    found = _smallest([limits, limits.equal], ())
    wish = limits.setpoint_w if limits.equal.setpoint_w is None else limits.equal.setpoint_w
    return msgspec.structs.replace(
        limits,
        charge_w=found.charge_w,
        discharge_w=found.discharge_w,
        setpoint_w=_within(wish, found.charge_w, found.discharge_w),
        charge_a=found.charge_a,
        discharge_a=found.discharge_a,
        charge_lines_a=found.charge_lines_a,
        discharge_lines_a=found.discharge_lines_a,
        whole=None,
        equal=None,
    )


def _lines(
    limits: Iterable[tuple[tuple[float, ...], float | None]], join: Callable[[tuple[float, ...]], float] = min
) -> tuple[float, ...]:
    """Return the joined current of each line conductor, A, where one of these limits sets them apart, else nothing."""
    limits = list(limits)
    if not any(lines for lines, _ in limits):
        return ()
    found = [lines or (every,) * len(LINES) for lines, every in limits if every is not None]
    return tuple(join(each) for each in zip(*found, strict=True))


def foreseen(installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation) -> ProfileLimits:
    """Return what all profiles together allow on an EVSE at a time and over the following day."""
    installed = list(installed)
    now = _undivided(installed, utc_ms, around)
    last = found = part(now)
    later: list[ProfileLimits] = []
    while found.until_ms is not None and found.until_ms < utc_ms + DAY_MS and len(later) < MAX_PERIODS:
        since = found.until_ms
        found = limits_at(installed, since, around)
        if _values(found) != _values(last):
            later.append(msgspec.structs.replace(ProfileLimits(from_ms=since), **_values(found)))
            last = found
    return msgspec.structs.replace(now, later=tuple(later))


def composite(
    installed: Sequence[InstalledProfile],
    utc_ms: int,
    duration_s: int,
    around: ProfileSituation,
    evses: Sequence[tuple[ProfileSituation, float]],
    *,
    version: Version = "2.0.1",
    unit: ChargingRateUnit = "W",
) -> CompositeSchedule:
    """Return the limits over the next `duration_s` (K08) of an EVSE or a station, with its EVSEs, each with the W that
    it has without a profile. OCPP 2.1 also has set-points and discharge limits, if profiles have them."""
    periods: list[ChargingSchedulePeriod] = []
    at, end = utc_ms, utc_ms + duration_s * 1000
    per_unit = 1.0 if unit == "W" else around.volts * around.lines
    while len(periods) < MAX_PERIODS:
        now = _of_all(installed, at, around, evses)
        period = _composed(now, (at - utc_ms) // 1000, per_unit, version, around)
        if periods and periods[-1].start_period == period.start_period:
            periods.pop()  # two changes within one second, the resolution of the schedule: the last one applies
        if not periods or msgspec.structs.replace(periods[-1], start_period=period.start_period) != period:
            periods.append(period)
        if now.until_ms is None or now.until_ms >= end:
            break
        at = now.until_ms
    return CompositeSchedule(
        evse_id=around.evse_id,
        duration=duration_s,
        schedule_start=format_time(utc_ms),
        charging_rate_unit=unit,
        charging_schedule_period=tuple(periods),
    )


def _of_all(
    installed: Sequence[InstalledProfile],
    utc_ms: int,
    around: ProfileSituation,
    evses: Sequence[tuple[ProfileSituation, float]],
) -> ProfileLimits:
    """Return what the EVSEs of a station may have together, within what the whole station may have (K08.FR.03)."""
    found = []
    for place, max_w in evses:
        now = _undivided(installed, utc_ms, place)
        most_w = max_w if place.lines or now.charge_w is None else min(max_w, now.charge_w)
        most_a = most_w / (place.volts * (place.lines or place.phases))  # direct current is drawn from all phases
        bounded = _smallest([now, ProfileLimits(charge_w=max_w, charge_a=most_a)], ())
        kept = {name: getattr(now, name) for name in ("number_phases", "phase_to_use", "operation_mode", "until_ms")}
        found.append(msgspec.structs.replace(bounded, setpoint_w=part(now).setpoint_w, **kept))
    names = ("charge_w", "discharge_w", "setpoint_w", "charge_a", "discharge_a")
    each = {name: [getattr(limits, name) for limits in found] for name in names}
    summed: dict[str, object] = {name: sum(values) for name, values in each.items() if None not in values}
    for name in ("charge", "discharge"):
        if f"{name}_a" in summed:
            lines = [(getattr(limits, f"{name}_lines_a"), getattr(limits, f"{name}_a")) for limits in found]
            summed[f"{name}_lines_a"] = _lines(lines, sum)
    for name in ("number_phases", "phase_to_use", "operation_mode"):
        first, *others = {getattr(limits, name) for limits in found}
        summed[name] = None if others else first
    whole = _undivided(installed, utc_ms, around).whole
    together = msgspec.structs.replace(ProfileLimits(), **summed)
    bound = _smallest([together, whole or together], ())
    return msgspec.structs.replace(
        bound,
        setpoint_w=_within(together.setpoint_w, bound.charge_w, bound.discharge_w),
        operation_mode=together.operation_mode,
        until_ms=min((limits.until_ms for limits in found if limits.until_ms is not None), default=None),
    )


def _composed(
    now: ProfileLimits, start_s: int, per_unit: float, version: Version, around: ProfileSituation
) -> ChargingSchedulePeriod:
    """Return a period of a composite schedule, with limits of each conductor where profiles have them (K08.FR.09)."""
    if per_unit == 1.0:
        limit, discharge = now.charge_w, now.discharge_w
    else:
        limit, discharge = now.charge_a, now.discharge_a
    period = ChargingSchedulePeriod(
        start_period=start_s, limit=limit, number_phases=now.number_phases, phase_to_use=now.phase_to_use
    )
    if version == "2.0.1":
        return period
    lines: dict[str, float] = {}
    if around.lines:
        per_a = around.volts if per_unit == 1.0 else 1.0
        for name, values, sign in (("limit", now.charge_lines_a, 1), ("discharge_limit", now.discharge_lines_a, -1)):
            for suffix, value in zip(("", "_l2", "_l3")[: around.lines], values, strict=False):
                lines[name + suffix] = sign * value * per_a
    return msgspec.structs.replace(
        period,
        **{"discharge_limit": -discharge if discharge else None} | lines,
        setpoint=None if now.setpoint_w is None else now.setpoint_w / per_unit,
        operation_mode=now.operation_mode,
    )


def in_force(
    installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation
) -> ChargingSchedulePeriod | None:
    """Return the period that controls an EVSE."""
    found = _leader(list(installed), utc_ms, around)
    return found[0] if found else None


def leading(installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation) -> InstalledProfile | None:
    """Return the profile that controls an EVSE."""
    found = _leader(list(installed), utc_ms, around)
    return found[1] if found else None


def prices(installed: Iterable[InstalledProfile], utc_ms: int, around: ProfileSituation) -> CsmsPrices | None:
    """Return the prices of profiles on an EVSE: the first price schedule, by the precedence of the profiles.

    The leading profile need not have prices: those of the transaction's other profiles remain in force.
    """
    installed = list(installed)
    for purpose in _LEADING:
        for item in _ordered(installed, purpose, around):
            if period_at(item, utc_ms, around) is not None:
                found = read_csms_prices(item.profile.charging_schedule[0], begun_ms(item, utc_ms, around))
                if found is not None:
                    return found
    return None


def has_priority(installed: Iterable[InstalledProfile], evse_id: int) -> bool:
    """Return whether there is a PriorityCharging profile for an EVSE (K21.FR.01, .03)."""
    return any(
        item.profile.charging_profile_purpose == "PriorityCharging" and item.evse_id in (0, evse_id)
        for item in installed
    )


def _leader(installed: list[InstalledProfile], utc_ms: int, around: ProfileSituation) -> Found | None:
    """Return the leading period: PriorityCharging if requested, else TxProfile, else TxDefaultProfile."""
    order = _LEADING
    if around.transaction is not None and around.transaction.priority:
        order = ("PriorityCharging", *order)  # K21.FR.04, K22.FR.02
    return next(filter(None, (_best(installed, purpose, utc_ms, around) for purpose in order)), None)


def _best(
    installed: list[InstalledProfile], purpose: ChargingProfilePurpose, utc_ms: int, around: ProfileSituation
) -> Found | None:
    """Return the period in force of the highest stack level with one (K01.FR.17)."""
    for item in _ordered(installed, purpose, around):
        period = period_at(item, utc_ms, around)
        if period is not None:
            return period, item
    return None


def _ordered(
    installed: list[InstalledProfile], purpose: ChargingProfilePurpose, around: ProfileSituation
) -> list[InstalledProfile]:
    """Return the profiles of a purpose for a place, highest stack level first."""
    candidates = [item for item in installed if _concerns(item, purpose, around)]
    return sorted(candidates, key=lambda item: -item.profile.stack_level)


def _concerns(item: InstalledProfile, purpose: ChargingProfilePurpose, around: ProfileSituation) -> bool:
    """Return whether a profile has a purpose and applies to this EVSE and transaction."""
    if item.profile.charging_profile_purpose != purpose or item.evse_id not in (0, around.evse_id):
        return False
    transaction = around.transaction
    return purpose != "TxProfile" or (
        transaction is not None and item.profile.transaction_id == transaction.transaction_id
    )


def _shared(
    installed: list[InstalledProfile], purpose: ChargingProfilePurpose, utc_ms: int, around: ProfileSituation
) -> tuple[list[ProfileLimits], list[ProfileLimits]]:
    """Return what the profiles in force of a purpose allow: those of an EVSE, and those of the whole station. Each
    external system counts separately, for an EVSE and for the station."""
    by_source: dict[tuple[str, int | None], list[InstalledProfile]] = {}
    for item in sorted(installed, key=lambda item: -item.evse_id):
        if item.profile.charging_profile_purpose == purpose:
            place = None if item.source == "CSO" else item.evse_id
            by_source.setdefault((item.source, place), []).append(item)
    found: tuple[list[ProfileLimits], list[ProfileLimits]] = [], []
    for items in by_source.values():
        best = _best(items, purpose, utc_ms, around)
        if best is not None:
            found[best[1].evse_id == 0].append(_limits(best, around))
    return found


def _divided(whole: ProfileLimits, sharers: int) -> ProfileLimits:
    """Return an equal share of the limits."""
    shared = ("charge_w", "discharge_w", "charge_a", "discharge_a")
    values = {name: value / sharers for name in shared if (value := getattr(whole, name)) is not None}
    lines = ("charge_lines_a", "discharge_lines_a")
    return msgspec.structs.replace(
        whole, **values, **{name: tuple(each / sharers for each in getattr(whole, name)) for name in lines}
    )


def _without(installed: list[InstalledProfile], utc_ms: int, around: ProfileSituation) -> ProfileLimits:
    """Return what is allowed without a leading profile: everything, but only charging once a bidirectional profile has
    ended without another to fall back to (Q11)."""
    over = (
        item
        for purpose in _LEADING
        for item in installed
        if _concerns(item, purpose, around) and _goes_both_ways(item) and is_over(item, utc_ms, around)
    )
    return ProfileLimits(discharge_w=0, operation_mode="ChargingOnly", discharge_a=0) if any(over) else ProfileLimits()


def _goes_both_ways(item: InstalledProfile) -> bool:
    periods = (period for schedule in item.profile.charging_schedule for period in schedule.charging_schedule_period)
    return any(period.operation_mode not in (None, "ChargingOnly") for period in periods)


def _setpoint_source(own: ProfileLimits, external: list[ProfileLimits], around: ProfileSituation) -> ProfileLimits:
    """Return the profile whose set-point applies if several have one (Q06.FR.20 to .22)."""
    others = [each for each in external if each.setpoint_w is not None]
    if own.operation_mode == "Idle" or not others:
        return own
    return own if around.csms_first and own.setpoint_w is not None else others[0]


def _limits(found: Found, around: ProfileSituation) -> ProfileLimits:
    """Return what a period allows. OCPP 2.0.1 has no discharging; in 2.1 a missing mode means ChargingOnly."""
    period, item = found
    mode = period.operation_mode or ("ChargingOnly" if item.version == "2.1" else None)
    if mode == "Idle":
        asleep = bool(period.evse_sleep)
        return ProfileLimits(
            charge_w=0, discharge_w=0, setpoint_w=0, operation_mode=mode, asleep=asleep, charge_a=0, discharge_a=0
        )
    charges = (period.limit, period.limit_l2, period.limit_l3)
    limits = _apart([None if each is None else max(0.0, each) for each in charges], found, around)
    beyond = item.profile.charging_schedule[0].limit_at_soc
    soc = around.transaction.soc if around.transaction is not None else None
    if beyond is not None and soc is not None and soc >= beyond.soc:  # K01.FR.100; a set-point stays within limits
        late = _apart((beyond.limit, None, None), found, around)
        both = ((limits.lines_a, limits.line_a), (late.lines_a, late.line_a))
        limits = _Bound(_smaller(limits.watts, late.watts), _smaller(limits.line_a, late.line_a), _lines(both))
    discharges = (period.discharge_limit, period.discharge_limit_l2, period.discharge_limit_l3)
    out = _apart([None if each is None else abs(each) for each in discharges], found, around)
    setpoint = _apart((period.setpoint, period.setpoint_l2, period.setpoint_l3), found, around).watts
    purpose = item.profile.charging_profile_purpose
    external = purpose == "ChargingStationExternalConstraints"
    if mode == "ChargingOnly" and not external and purpose not in ("ChargingStationMaxProfile", "LocalGeneration"):
        out = _Bound(0.0, 0.0 if around.lines else None)
    allowed = ProfileLimits(
        charge_w=limits.watts,
        discharge_w=out.watts,
        charge_a=limits.line_a,
        discharge_a=out.line_a,
        charge_lines_a=limits.lines_a,
        discharge_lines_a=out.lines_a,
        number_phases=period.number_phases,
        phase_to_use=period.phase_to_use,
    )
    mode = None if external and setpoint is None else mode
    return msgspec.structs.replace(allowed, setpoint_w=setpoint, operation_mode=mode)


class _Bound(NamedTuple):
    """A limit: W of all conductors, A of each line conductor, and A of L1 to L3 where they differ."""

    watts: float | None
    line_a: float | None
    lines_a: tuple[float, ...] = ()


def _apart(values: Sequence[float | None], found: Found, around: ProfileSituation) -> _Bound:
    """Return a limit by its value and those for L2 and L3. A conductor without one has the lowest."""
    first, *others = values
    if first is None:
        return _Bound(None, None)
    if all(each is None for each in others):
        # the A of each line conductor of one of the schedule's unit; None with direct current
        period, item = found
        if not around.lines or item.profile.charging_schedule[0].charging_rate_unit == "A":
            line = 1.0 if around.lines else None
        else:
            line = 1 / (around.volts * min(period.number_phases or 3, around.lines))
        return _Bound(first * _per_unit(found, around), None if line is None else first * line)
    given = [each for each in values if each is not None]
    volts = 1.0 if found[1].profile.charging_schedule[0].charging_rate_unit == "A" else around.volts
    lines = tuple((min(given) if each is None else each) / volts for each in values)
    return _Bound(sum(given) * around.volts / volts, min(lines), lines)


def _smaller(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _per_unit(found: Found, around: ProfileSituation) -> float:
    """Return the W of one of the schedule's unit (K01.FR.45, .49 to .51): A are per phase."""
    period, item = found
    if item.profile.charging_schedule[0].charging_rate_unit == "W":
        return 1.0
    return around.volts * min(period.number_phases or 3, around.phases)


def _within(setpoint: float | None, charge_w: float | None, discharge_w: float | None) -> float | None:
    """Return a set-point limited to the bounds (V2X.03, V2X.04)."""
    if setpoint is None:
        return None
    if charge_w is not None:
        setpoint = min(setpoint, charge_w)
    return setpoint if discharge_w is None else max(setpoint, -discharge_w)


def _export(installed: list[InstalledProfile], utc_ms: int, around: ProfileSituation) -> float | None:
    """Return the discharge limit of the first profile with one, by precedence."""
    for purpose in _LEADING:
        for item in _ordered(installed, purpose, around):
            period = period_at(item, utc_ms, around)
            if period is not None and period.discharge_limit is not None:
                limits = (period.discharge_limit, period.discharge_limit_l2, period.discharge_limit_l3)
                return abs(_apart(limits, (period, item), around).watts or 0)
    return None


def _values(limits: ProfileLimits) -> dict[str, float | None]:
    """Return what is planned ahead of limits."""
    names = ("charge_w", "discharge_w", "setpoint_w", "export_w", "charge_a", "discharge_a")
    return {name: getattr(limits, name) for name in names}
