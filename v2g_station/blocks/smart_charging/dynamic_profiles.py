"""Dynamic charging profiles: one period whose values the CSMS pushes, or the station pulls (K28)."""

from functools import partial

import msgspec

from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.times import format_time
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.kernel.kernel import Answer, Handler, Kernel, status_info


class DynamicProfiles:
    """Keeps dynamic profiles up to date."""

    def __init__(self, kernel: Kernel, smart_charging: ChargingProfiles) -> None:
        self._k = kernel
        self._smart = smart_charging
        self.answers: dict[str, Handler] = {"UpdateDynamicSchedule": self._update}
        smart_charging.on_installed.append(self._plan)

    def start(self) -> None:
        """Resume pulling updates of profiles installed before a restart."""
        for item in self._smart.installed:
            self._plan(item)

    def _find(self, profile_id: int) -> InstalledProfile | None:
        return next(
            (
                item
                for item in self._smart.installed
                if item.profile.id == profile_id and item.profile.charging_profile_kind == "Dynamic"
            ),
            None,
        )

    def _update(self, request: ocpp.UpdateDynamicScheduleRequest) -> Message:
        """K28.FR.06, .11."""
        item = self._find(request.charging_profile_id)
        if item is None:
            return ocpp.UpdateDynamicScheduleResponse(status="Rejected", status_info=status_info("InvalidProfile"))
        refused = self._apply(item, request.schedule_update)
        status: ocpp.ChargingProfileStatus = "Accepted" if refused is None else "Rejected"
        return ocpp.UpdateDynamicScheduleResponse(status=status, status_info=refused)

    def _apply(self, item: InstalledProfile, update: ocpp.ChargingScheduleUpdate) -> StatusInfo | None:
        """Apply new values, and set the time of the update (K28.FR.08, .09); return why not, if so."""
        schedule = item.profile.charging_schedule[0]
        period = schedule.charging_schedule_period[0]
        known = {field.name for field in msgspec.structs.fields(type(period))}
        new = {
            name: value
            for name, value in msgspec.structs.asdict(update).items()
            if value is not None and name in known and name != "custom_data"
        }
        period = msgspec.structs.replace(period, **new)
        schedule = msgspec.structs.replace(schedule, charging_schedule_period=(period,))
        profile = msgspec.structs.replace(
            item.profile, charging_schedule=(schedule,), dyn_update_time=format_time(self._k.utc_ms)
        )
        changed = msgspec.structs.replace(item, profile=profile)
        if (refused := self._smart.refuse_lines(changed)) is None:
            self._smart.put(changed)
        return refused

    def _plan(self, item: InstalledProfile) -> None:
        name = f"dynamic.{item.profile.id}"
        interval = item.profile.dyn_update_interval or 0
        if item.profile.charging_profile_kind == "Dynamic" and interval > 0:
            self._k.after(name, interval, partial(self._pull, item.profile.id))  # K28.FR.10
        else:
            self._k.cancel(name)

    def _pull(self, profile_id: int) -> None:
        item = self._find(profile_id)
        if item is None:
            return
        self._plan(item)

        def answered(answer: Answer) -> None:
            current = self._find(profile_id)
            good = isinstance(answer, ocpp.PullDynamicScheduleUpdateResponse) and answer.status == "Accepted"
            if good and current is not None and answer.schedule_update is not None:  # type: ignore[union-attr]
                self._apply(current, answer.schedule_update)  # type: ignore[union-attr]

        self._k.call(ocpp.PullDynamicScheduleUpdateRequest(charging_profile_id=profile_id), answered)
