"""Limits from elsewhere than the CSMS: an energy manager, the grid operator (K11 to K13)."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from secc.core.station.evse import Evse, Fact
from secc.core.station.kernel import Kernel
from secc.core.station.profiles import Installed
from secc.core.station.sessions import Sessions
from secc.core.station.smart_charging import SmartCharging
from v2g.ocpp.messages.base import EVSE
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import ChargingLimit, ClearedChargingLimitRequest, NotifyChargingLimitRequest
from v2g.ocpp.times import format_time

SOURCES: Final = ("EMS", "Other", "SO")


class ExternalLimit(Fact, frozen=True, kw_only=True):
    """An external system limits the station, or one EVSE, to this power (W); None ends its limit."""

    source: str
    limit_w: Annotated[float, Meta(ge=0)] | None
    evse_id: int = 0
    grid_critical: bool | None = None


class ExternalLimits:
    """Makes profiles of external limits and tells the CSMS of them."""

    def __init__(
        self, kernel: Kernel, evses: Mapping[int, Evse], sessions: Sessions, smart_charging: SmartCharging
    ) -> None:
        self._k = kernel
        self._evses = evses
        self._sessions = sessions
        self._smart = smart_charging
        self._critical: dict[int, bool | None] = {}

    def take(self, fact: ExternalLimit) -> None:
        """An external system speaks."""
        if fact.source not in SOURCES or not self._k.model.flag("SmartChargingCtrlr.ExternalControlSignalsEnabled"):
            return
        number = -1 - SOURCES.index(fact.source) - len(SOURCES) * fact.evse_id  # negative ids: K11.FR.06
        old = next((item for item in self._smart.installed if item.profile.id == number), None)
        before = _limit_of(old)
        if fact.limit_w is None:
            if old is not None:
                self._smart.remove(number)
                self._cleared(fact)
            return
        profile = self._profile(number, fact.limit_w)
        self._critical[number] = fact.grid_critical
        self._smart.put(Installed(fact.evse_id, profile, self._k.version, fact.source))
        if self._significant(before, fact.limit_w):
            self._notify(fact, profile)
            self._tell_transactions(fact.evse_id)

    def _profile(self, number: int, limit_w: float) -> ChargingProfile:
        return ChargingProfile(
            id=number,
            stack_level=0,
            charging_profile_purpose="ChargingStationExternalConstraints",
            charging_profile_kind="Absolute",
            charging_schedule=(
                ChargingSchedule(
                    id=-number,
                    charging_rate_unit="W",
                    start_schedule=format_time(self._k.utc_ms // 1000 * 1000),
                    charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=limit_w),),
                ),
            ),
        )

    def _significant(self, before: float | None, now: float) -> bool:
        """Return whether a change is worth telling (K11.FR.02, K12.FR.02)."""
        if before is None:
            return True
        percent = self._k.model.number("SmartChargingCtrlr.LimitChangeSignificance")
        return abs(now - before) * 100 > percent * before

    def _notify(self, fact: ExternalLimit, profile: ChargingProfile) -> None:
        with_schedule = self._k.model.flag("SmartChargingCtrlr.NotifyChargingLimitWithSchedules")  # K11.FR.03
        self._k.call(
            NotifyChargingLimitRequest(
                charging_schedule=profile.charging_schedule if with_schedule else (),
                evse_id=fact.evse_id,
                charging_limit=ChargingLimit(charging_limit_source=fact.source, is_grid_critical=fact.grid_critical),
            )
        )

    def triggered(self, place: EVSE | None) -> None:
        """Tell the limits of now because the CSMS wants it (F06.FR.18)."""
        for item in self._at(place):
            limit_w, critical = _limit_of(item), self._critical.get(item.profile.id)
            fact = ExternalLimit(source=item.source, limit_w=limit_w, evse_id=item.evse_id, grid_critical=critical)
            self._notify(fact, item.profile)

    def none_at(self, place: EVSE | None) -> bool:
        """Return whether there is nothing to tell."""
        return not self._at(place)

    def _at(self, place: EVSE | None) -> list[Installed]:
        number = place.id if place is not None else 0
        return [item for item in self._smart.installed if item.source in SOURCES and number in (0, item.evse_id)]

    def _cleared(self, fact: ExternalLimit) -> None:
        """K13."""
        self._k.call(ClearedChargingLimitRequest(charging_limit_source=fact.source, evse_id=fact.evse_id))
        self._tell_transactions(fact.evse_id)

    def _tell_transactions(self, evse_id: int) -> None:
        """K11.FR.04, K13.FR.03."""
        for evse in self._evses.values():
            if evse.record is not None and evse_id in (0, evse.number):
                self._sessions.update(evse, "ChargingRateChanged")


def _limit_of(item: Installed | None) -> float | None:
    return None if item is None else item.profile.charging_schedule[0].charging_schedule_period[0].limit
