"""Limits, set-points and local generation of other sources than the CSMS (K11 to K13, K27, K29, Q05, Q06)."""

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import CommandStep, FlowBounds
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import charging_profiles as ocpp
from v2g.ocpp.messages.base import EVSE, Message, OperationMode
from v2g.ocpp.messages.smart_charging import ChargingLimit, ClearedChargingLimitRequest, NotifyChargingLimitRequest
from v2g.ocpp.times import format_time
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile, period_at
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer

SOURCES: Final = ("EMS", "Other", "SO")
REPORT_S: Final = 5
"""Reports of one limit are at least so far apart: an energy manager may change it many times a second."""


class ExternalLimit(FlowBounds, Fact, frozen=True, kw_only=True):
    """Values of an external system for the station or one EVSE: for now, or as a schedule from the fact on.

    Without either, its earlier values end. `generation` means that the limit is locally generated power, which is added
    (K27).
    """

    source: str
    schedule: tuple[CommandStep, ...] = ()
    generation: bool = False
    evse_id: int = 0
    grid_critical: bool | None = None

    @property
    def periods(self) -> tuple[FlowBounds, ...]:
        """Its values, as periods."""
        return self.schedule or (() if self.silent else (self,))


Values = tuple[float | None, float | None, float | None]
"""Limit, discharge limit and set-point."""
_NOTHING: Final[Values] = (None, None, None)

_Place = tuple[int, int]
"""Number of a profile, and the EVSE for which it is filled."""
_Limit = tuple[str, int, bool]
"""Source and EVSE of a limit, and whether it is local generation."""


class ExternalLimits(FunctionalBlock):
    """Converts values of external systems into profiles, and reports them to the CSMS."""

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared)
        self._smart = smart_charging
        smart_charging.on_limits(self.changed)
        self._reported: dict[_Place, Values] = {}
        """The last reported values of profiles."""
        self._critical: dict[int, bool | None] = {}
        self._given: dict[tuple[str, int], ExternalLimit] = {}
        """The last values of each source for EVSEs (0: all), the newest last."""
        self._given_ms: dict[tuple[str, int], int] = {}
        """When they came."""
        self._left: dict[int, InstalledProfile] = {}
        """Such profiles as set by the CSMS, by number."""
        self._filling = False
        self._unsaid: dict[_Place, InstalledProfile] = {}
        """Profiles to report once they are evaluated and `REPORT_S` are over, unless they end before."""
        self._said: set[_Limit] = set()
        """Reported limits that have not been reported as cleared."""
        self._unreported: dict[_Limit, Message] = {}
        """Limit reports not delivered to the CSMS: the latest one each."""
        smart_charging.on_put(self._installed)
        smart_charging.on_changes(self._follow)

    def take(self, fact: ExternalLimit) -> None:
        """Handle values of an external system."""
        model = self._k.model
        if fact.source not in SOURCES or not model.flag("SmartChargingCtrlr.ExternalControlSignalsEnabled"):
            return
        if fact.generation and self._k.version == "2.0.1":
            return  # 2.0.1 cannot express it
        number = _number(fact)
        with self._smart.together():
            if not fact.generation:
                self._given.pop((fact.source, fact.evse_id), None)
                if fact.periods:
                    self._given[fact.source, fact.evse_id] = fact
                    self._given_ms[fact.source, fact.evse_id] = self._k.utc_ms
                self._restore(fact)
            if not fact.periods:
                # K13
                if self._has(number):
                    self._smart.remove(number)
            elif fact.generation:
                self._put(fact)
            else:
                self._fill(fact)
                if not self._leads(fact):
                    if self._own_allowed:
                        self._put(fact)
                elif self._has(number):
                    self._smart.remove(number)
        if not fact.periods:
            self._report_end(fact)
        self.changed(())

    def _report_end(self, fact: ExternalLimit) -> None:
        """Report that limits ended whose beginning was reported, be it by a profile of the CSMS (K13.FR.02)."""
        for limit in sorted(self._said):
            source, evse_id, generation = limit
            mine = source == fact.source and generation == fact.generation
            filled = not generation and not fact.evse_id and (source, evse_id) not in self._given
            if mine and (evse_id == fact.evse_id or filled):
                self._said.discard(limit)
                self._call(limit, ClearedChargingLimitRequest(charging_limit_source=source, evse_id=evse_id))
                self._report_transactions(evse_id)

    # -- own profiles

    @property
    def _own_allowed(self) -> bool:
        """K11.FR.07, Q06.FR.08."""
        return not self._k.model.flag("SmartChargingCtrlr.ExternalConstraintsProfileDisallowed")

    def _has(self, number: int) -> bool:
        return any(item.profile.id == number for item in self._smart.installed)

    def _leads(self, fact: ExternalLimit) -> bool:
        """Return whether a profile of the CSMS is in force with these values and no own one is needed (K29.FR.03, .04).

        Those of a schedule, of a second system, or for EVSEs that share them are more than such a profile has.
        """
        places = [fact.evse_id] if fact.evse_id else list(self._evses)
        others = [each for each in self._given.values() if each.source != fact.source]
        if len(places) > 1 or fact.schedule or any(each.evse_id in (0, *places) for each in others):
            return False
        period = self._smart.period_in_force(self._evses[places[0]])
        names = _LEFT.get(period.operation_mode if period is not None else None, ())
        new = self._period(fact)
        given = [name for name in ("limit", "discharge_limit", "setpoint") if getattr(new, name) is not None]
        return all(name in names and getattr(period, name) == getattr(new, name) for name in given)

    def _put(self, fact: ExternalLimit) -> None:
        """K29.FR.04 to .06, Q06.FR.01 to .07, K27.FR.01."""
        number = _number(fact)
        dynamic = self._k.version == "2.1" and not fact.schedule
        profile = ocpp.ChargingProfile(
            id=number,
            stack_level=0,
            charging_profile_purpose="LocalGeneration" if fact.generation else "ChargingStationExternalConstraints",
            charging_profile_kind="Dynamic" if dynamic else "Absolute",
            dyn_update_time=format_time(self._k.utc_ms) if dynamic else None,
            charging_schedule=(
                ocpp.ChargingSchedule(
                    id=abs(number),
                    charging_rate_unit="A" if fact.periods[0].in_amperes else "W",
                    start_schedule=None if dynamic else format_time(self._k.utc_ms // 1000 * 1000),
                    charging_schedule_period=tuple(self._period(each) for each in fact.periods),
                ),
            ),
        )
        item = InstalledProfile(fact.evse_id, profile, self._k.version, fact.source)
        before = self._reported.pop(_place(item), None)
        self._critical[number] = fact.grid_critical
        self._smart.put(item)
        if fact.schedule or before is None or self._is_significant(before, self._values(item)):
            self._notify(item)
        else:
            self._reported[_place(item)] = before

    def _period(self, wanted: FlowBounds) -> ocpp.ChargingSchedulePeriod:
        mode: OperationMode | None = None
        if self._k.version == "2.1":
            mode = "ExternalLimits" if wanted.setpoint_w is None else "ExternalSetpoint"
        return ocpp.ChargingSchedulePeriod(
            start_period=wanted.start_s if isinstance(wanted, CommandStep) else 0,
            limit=wanted.limit,
            discharge_limit=None if wanted.discharge is None else -wanted.discharge,
            setpoint=wanted.setpoint_w,
            operation_mode=mode,
        )

    # -- profiles of the CSMS that leave values to external systems

    def _fill(self, fact: ExternalLimit) -> None:
        """Put values into waiting profiles of the CSMS (K29.FR.03, Q05)."""
        for item in self._smart.installed:
            if _waits(item, fact) and fact.evse_id in (0, item.evse_id):  # not of the EVSEs beside it
                self._notify_filled(self._put_filled(item, fact), fact.source)

    def _filled(self, left: InstalledProfile, values: Iterable[FlowBounds], utc_ms: int) -> InstalledProfile:
        """Return a profile as set by the CSMS with values that came until a time (Q05.FR.01, .02, .05, .06): of several
        limits the least, of set-points the last."""
        new = functools.reduce(_least, map(self._period, values))
        schedule = left.profile.charging_schedule[0]
        periods = tuple(_fill_in(period, new) for period in schedule.charging_schedule_period)
        schedule = msgspec.structs.replace(schedule, charging_schedule_period=periods)
        profile = msgspec.structs.replace(left.profile, charging_schedule=(schedule,))
        if profile.charging_profile_kind == "Dynamic":
            profile = msgspec.structs.replace(profile, dyn_update_time=format_time(utc_ms))
        return msgspec.structs.replace(left, profile=profile)

    def _apart(self) -> list[tuple[InstalledProfile, str]]:
        """Return the profiles of the whole station that have values for one EVSE, for each such EVSE, where external
        systems may have no profile of their own; and the source of the newest values of each."""
        found = []
        for item in () if self._own_allowed else self._smart.installed:
            waits = {place: each for place, each in self._given.items() if _waits(item, each)}
            for number in {each for _, each in waits if each} if not item.evse_id else ():
                here = {place: each for place, each in waits.items() if place[1] in (0, number)}
                *_, newest = here
                values = sorted(here.values(), key=lambda each: each.evse_id)
                filled = self._filled(self._left.get(item.profile.id, item), values, self._given_ms[newest])
                found.append((msgspec.structs.replace(filled, evse_id=number), newest[0]))
        return found

    def _put_filled(self, item: InstalledProfile, wanted: FlowBounds) -> InstalledProfile:
        """Put values into a profile as set by the CSMS, replacing earlier ones."""
        left = self._left.setdefault(item.profile.id, item)
        filled = self._filled(left, (wanted,), self._k.utc_ms)
        if filled != item:
            self._filling = True
            self._smart.put(filled)
            self._filling = False
        return filled

    def _restore(self, fact: ExternalLimit) -> None:
        """Restore profiles of the CSMS for which the external system no longer gives values."""
        installed = {item.profile.id for item in self._smart.installed}
        for number, left in list(self._left.items()):
            if number not in installed:
                del self._left[number]
            elif not _waits(left, fact) and fact.evse_id in (0, left.evse_id):
                self._reported.pop(_place(left), None)
                self._smart.put(left)

    def _installed(self, item: InstalledProfile) -> None:
        """Fill a profile that is installed after the values."""
        if self._filling:
            return
        self._left.pop(item.profile.id, None)
        given = [each for each in self._given.values() if each.evse_id in (0, item.evse_id) and _waits(item, each)]
        if given:
            fact = max(reversed(given), key=lambda each: each.evse_id)
            filled = self._put_filled(item, fact)
            if not self._own_allowed:  # else the station's own has been reported
                self._notify_filled(filled, fact.source)

    # -- reports

    def triggered(self, place: EVSE | None) -> None:
        """Report the current limits at the CSMS's request (F06.FR.18)."""
        for item in self._at(place):
            self._request(item)

    def none_at(self, place: EVSE | None) -> bool:
        """Return whether there is nothing to report."""
        return not self._at(place)

    def _at(self, place: EVSE | None) -> list[InstalledProfile]:
        number = place.id if place is not None else 0
        return [item for item in self._smart.installed if item.source in SOURCES and number in (0, item.evse_id)]

    def _follow(self) -> None:
        """Install own profiles in place of those of the CSMS that no longer lead."""
        found = self._apart()
        if (apart := tuple(item for item, _ in found)) != self._smart.apart:
            self._smart.apart = apart
            self._smart.limits_changed()
        here = {_place(item) for item in (*self._smart.installed, *apart)}
        self._reported = {place: values for place, values in self._reported.items() if place in here}
        for item, source in found:
            self._notify_filled(item, source)
        for fact in tuple(self._given.values()) if self._own_allowed else ():
            if not self._has(_number(fact)) and not self._leads(fact):
                self._put(fact)

    def changed(self, _places: Collection[int]) -> None:
        """Report profiles that have changed, and local generation as its schedule advances (K27.FR.03)."""
        for item in self._smart.installed:
            before = self._reported.get(_place(item), _NOTHING)
            generated = item.profile.charging_profile_purpose == "LocalGeneration"
            if generated and self._is_significant(before, self._values(item)):
                self._notify(item)
        self._say()

    def _say(self) -> None:
        for place, item in list(self._unsaid.items()):
            timer = f"limit.{place[0]}.{place[1]}"
            if not self._k.planned(timer):
                del self._unsaid[place]
                if place in self._reported:
                    self._k.after(timer, REPORT_S, self._say)
                    self._said.add(_limit(item))
                    self._request(item)
                    self._report_transactions(item.evse_id)

    def _values(self, item: InstalledProfile) -> Values:
        """Return the current values of a profile."""
        period = period_at(item, self._k.utc_ms, self._smart.where.at(item.evse_id))
        return _NOTHING if period is None else (period.limit, period.discharge_limit, period.setpoint)

    def _is_significant(self, before: Values, values: Values) -> bool:
        """Return whether a change is significant (K11.FR.02, K12.FR.02, Q06.FR.11)."""
        percent = self._k.model.number("SmartChargingCtrlr.LimitChangeSignificance")
        return any(
            old is not new if old is None or new is None else abs(new - old) * 100 > percent * abs(old)
            for old, new in zip(before, values, strict=True)
        )

    def _notify_filled(self, item: InstalledProfile, source: str) -> None:
        """Report a profile of the CSMS with the values of an external system (K29)."""
        if self._is_significant(self._reported.get(_place(item), _NOTHING), self._values(item)):
            self._notify(msgspec.structs.replace(item, source=source))

    def _notify(self, item: InstalledProfile) -> None:
        self._reported[_place(item)] = self._values(item)
        self._unsaid[_place(item)] = item

    def _request(self, item: InstalledProfile) -> None:
        profile, values = item.profile, self._values(item)
        both_ways = values[1] is not None or values[2] is not None
        with_schedule = self._k.model.flag("SmartChargingCtrlr.NotifyChargingLimitWithSchedules")  # K11.FR.03
        self._call(
            _limit(item),
            NotifyChargingLimitRequest(
                charging_schedule=profile.charging_schedule if with_schedule or both_ways else (),  # Q06.FR.10, .11
                evse_id=item.evse_id,
                charging_limit=ChargingLimit(
                    charging_limit_source=item.source,
                    is_grid_critical=self._critical.get(profile.id),
                    is_local_generation=True if profile.charging_profile_purpose == "LocalGeneration" else None,
                ),
            ),
        )

    def _call(self, limit: _Limit, request: Message) -> None:
        """Send a report, now or when the CSMS is reachable again (K11.FR.02, K12.FR.02, K13.FR.02)."""
        self._unreported.pop(limit, None)

        def answered(answer: Answer) -> None:
            if isinstance(answer, TransportError):
                self._unreported.setdefault(limit, request)

        self._k.call(request, answered)

    def registered(self) -> None:
        """Send undelivered reports when the CSMS is reachable again."""
        for limit, request in list(self._unreported.items()):
            self._call(limit, request)

    def _report_transactions(self, evse_id: int) -> None:
        """K11.FR.04, K13.FR.03."""
        for evse in self._evses.values():
            if evse_id in (0, evse.number):
                self._sessions.update(evse, "ChargingRateChanged")


def _place(item: InstalledProfile) -> _Place:
    return item.profile.id, item.evse_id


def _limit(item: InstalledProfile) -> _Limit:
    return item.source, item.evse_id, item.profile.charging_profile_purpose == "LocalGeneration"


def _number(fact: ExternalLimit) -> int:
    """Return the id of an external system's profile: negative, one per source, place and kind (K11.FR.06)."""
    count = len(SOURCES)
    return -1 - SOURCES.index(fact.source) - count * fact.generation - 2 * count * fact.evse_id


_LIMITS: Final = ("limit", "discharge_limit")
_LEFT: Final[Mapping[str | None, tuple[str, ...]]] = {
    "ExternalLimits": _LIMITS,
    "ExternalSetpoint": ("setpoint",),
}
"""Operation mode -> the values of a period that it leaves to external systems."""


def _waits(item: InstalledProfile, wanted: FlowBounds) -> bool:
    """Return whether a profile of the CSMS leaves to an external system any of these values."""
    schedule, modes = item.profile.charging_schedule[0], set[str]()
    unit = "A" if wanted.in_amperes else "W"
    if wanted.limit is not None or wanted.discharge is not None:
        modes.add("ExternalLimits")
    if wanted.setpoint_w is not None:
        modes.add("ExternalSetpoint")
    given = item.source == "CSO" and schedule.charging_rate_unit == unit
    return given and any(each.operation_mode in modes for each in schedule.charging_schedule_period)


def _least(one: ocpp.ChargingSchedulePeriod, two: ocpp.ChargingSchedulePeriod) -> ocpp.ChargingSchedulePeriod:
    """Return the lower limits of two periods, and the set-point of the second that has one."""
    limits, out = ([value for each in (one, two) if (value := getattr(each, name)) is not None] for name in _LIMITS)
    return msgspec.structs.replace(
        two,
        limit=min(limits, default=None),
        discharge_limit=max(out, default=None),
        setpoint=one.setpoint if two.setpoint is None else two.setpoint,
    )


def _fill_in(period: ocpp.ChargingSchedulePeriod, new: ocpp.ChargingSchedulePeriod) -> ocpp.ChargingSchedulePeriod:
    """Return a period with the values that an external system may set; omit the others."""
    values = {name: getattr(new, name) for name in _LEFT.get(period.operation_mode, ())}
    return msgspec.structs.replace(period, **{name: value for name, value in values.items() if value is not None})
