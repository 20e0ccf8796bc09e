"""Charging profiles: taken, kept, reported, and what they allow now (functional block K)."""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from secc.core.station import profiles
from secc.core.station.evse import Evse
from secc.core.station.kernel import Command, Handler, Kernel, because
from secc.core.station.profiles import Allowance, Installed, OpenTransaction
from secc.core.station.sessions import Sessions
from secc.core.station.transactions import TransactionRecord
from v2g.ocpp.messages.base import Message, OperationMode, StatusInfo
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import (
    ClearChargingProfileRequest,
    ClearChargingProfileResponse,
    GetChargingProfilesRequest,
    GetChargingProfilesResponse,
    GetCompositeScheduleRequest,
    GetCompositeScheduleResponse,
    ReportChargingProfilesRequest,
    SetChargingProfileRequest,
    SetChargingProfileResponse,
)
from v2g.ocpp.times import format_time


class SetLimit(Command, frozen=True, kw_only=True):
    """What charging profiles allow on an EVSE has changed; `version` counts up."""

    evse_id: int
    allowance: Allowance
    version: int


class SmartCharging:
    """Profiles of one station."""

    def __init__(self, kernel: Kernel, evses: Mapping[int, Evse], sessions: Sessions) -> None:
        self._k = kernel
        self._evses = evses
        self._sessions = sessions
        self._installed = tuple(kernel.stored("profiles", Installed).values())
        self._coming: dict[int, ChargingProfile] = {}
        """Profiles of remote starts, until the transaction begins."""
        self._limits: dict[int, Allowance] = {}
        self._version = 0
        self.modes: tuple[OperationMode, ...] = profiles.MODES
        self.on_installed: list[Callable[[Installed], None]] = []
        self.on_limits: list[Callable[[], None]] = []
        self.answers: dict[str, Handler] = {
            "SetChargingProfile": self._set,
            "ClearChargingProfile": self._clear,
            "GetChargingProfiles": self._get,
            "GetCompositeSchedule": self._composite,
        }
        sessions.on_started.append(self._started)
        sessions.on_ended.append(self._ended)
        kernel.on_clock_set.append(self.limits_changed)
        self._measure()

    @property
    def installed(self) -> tuple[Installed, ...]:
        """All profiles."""
        return self._installed

    # -- the CSMS

    def refuse(self, profile: ChargingProfile, evse_id: int, *, remote: bool = False) -> StatusInfo | None:
        """Return why a profile is not acceptable, or None. One of a remote start has no transaction yet."""
        transactions = self._open()
        if remote:
            transactions = (*transactions, OpenTransaction("", evse_id, self._k.utc_ms))
            profile = msgspec.structs.replace(profile, transaction_id="")
        return profiles.refuse(
            profile,
            evse_id,
            version=self._k.version,
            evses=len(self._evses),
            installed=self._installed,
            transactions=transactions,
            modes=self.modes,
        )

    def take_remote(self, profile: ChargingProfile, evse_id: int) -> None:
        """Keep the profile of a remote start for the transaction that follows (F01.FR.10)."""
        self._coming[evse_id] = profile

    def install(self, profile: ChargingProfile, evse_id: int) -> None:
        """Put a profile in place."""
        if profile.charging_profile_kind == "Dynamic" and profile.dyn_update_time is None:
            now = format_time(self._k.utc_ms)
            profile = msgspec.structs.replace(profile, dyn_update_time=now)  # K28.FR.05
        self.put(Installed(evse_id, profile, self._k.version))

    def put(self, item: Installed) -> None:
        """Put a profile in place, whoever it is from."""
        self._keep(profiles.replace(self._installed, item))
        for told in self.on_installed:
            told(item)

    def remove(self, profile_id: int) -> None:
        """Take a profile away."""
        self._keep(tuple(item for item in self._installed if item.profile.id != profile_id))

    def period_in_force(self, evse: Evse) -> ChargingSchedulePeriod | None:
        """Return the period that leads an EVSE now."""
        return profiles.in_force(
            self._installed, self._k.utc_ms, evse_id=evse.number, transaction=self._transaction(evse)
        )

    def limits_of(self, evse: Evse) -> Allowance:
        """Return what was last found to be allowed on an EVSE."""
        return self._limits.get(evse.number, Allowance())

    def _set(self, request: SetChargingProfileRequest) -> Message:
        """K01."""
        if not self._k.model.flag("SmartChargingCtrlr.Enabled"):
            return SetChargingProfileResponse(status="Rejected", status_info=because("NotEnabled"))
        refused = self.refuse(request.charging_profile, request.evse_id)
        if refused is not None:
            return SetChargingProfileResponse(status="Rejected", status_info=refused)
        self.install(request.charging_profile, request.evse_id)
        return SetChargingProfileResponse(status="Accepted")

    def _clear(self, request: ClearChargingProfileRequest) -> Message:
        """K10."""
        profile_id, criteria = request.charging_profile_id, request.charging_profile_criteria
        kept = tuple(i for i in self._installed if not profiles.matches_clearing(i, profile_id, criteria))
        if len(kept) == len(self._installed):
            return ClearChargingProfileResponse(status="Unknown")
        self._keep(kept)
        return ClearChargingProfileResponse(status="Accepted")

    def _get(self, request: GetChargingProfilesRequest) -> Message:
        """K09: ReportChargingProfiles for each EVSE that holds some, by where they come from."""
        wanted = request.charging_profile
        found = [item for item in self._installed if profiles.matches_report(item, request.evse_id, wanted)]
        if not found:
            return GetChargingProfilesResponse(status="NoProfiles")
        places = sorted({(item.evse_id, item.source) for item in found})
        for number, (evse_id, source) in enumerate(places):
            report = ReportChargingProfilesRequest(
                request_id=request.request_id,
                charging_limit_source=source,
                charging_profile=tuple(
                    item.profile for item in found if (item.evse_id, item.source) == (evse_id, source)
                ),
                tbc=number + 1 < len(places),
                evse_id=evse_id,
            )
            self._k.after(f"profiles.{request.request_id}.{number:03d}", 0, partial(self._k.call, report))
        return GetChargingProfilesResponse(status="Accepted")

    def _composite(self, request: GetCompositeScheduleRequest) -> Message:
        """K08."""
        if request.evse_id not in self._evses and request.evse_id != 0:
            return GetCompositeScheduleResponse(status="Rejected", status_info=because("UnknownEvse"))
        if request.charging_rate_unit == "A":
            info = because("UnsupportedRateUnit", "W is supported")
            return GetCompositeScheduleResponse(status="Rejected", status_info=info)
        evse = self._evses.get(request.evse_id)
        most = [each.max_power_w for each in self._k.layout.evses]
        schedule = profiles.composite(
            self._installed,
            self._k.utc_ms // 1000 * 1000,
            max(0, request.duration),
            evse_id=request.evse_id,
            transaction=self._transaction(evse) if evse is not None else None,
            max_w=most[request.evse_id - 1] if request.evse_id else sum(most),
        )
        return GetCompositeScheduleResponse(status="Accepted", schedule=schedule)

    # -- what follows

    def _started(self, evse: Evse) -> None:
        profile = self._coming.pop(evse.number, None)
        if profile is not None and evse.record is not None:
            mine = msgspec.structs.replace(profile, transaction_id=evse.record.transaction_id)
            self.install(mine, evse.number)
        else:
            self.limits_changed()

    def _ended(self, _: Evse, record: TransactionRecord) -> None:
        """A TxProfile ends with its transaction."""
        self._keep(tuple(i for i in self._installed if i.profile.transaction_id != record.transaction_id))

    def _keep(self, kept: tuple[Installed, ...]) -> None:
        old = {str(item.profile.id): item for item in self._installed}
        new = {str(item.profile.id): item for item in kept}
        for key in old.keys() - new.keys():
            self._k.forget("profiles", key)
        for key, item in new.items():
            if old.get(key) != item:
                self._k.keep("profiles", key, item)
        self._installed = kept
        self._measure()
        self.limits_changed()

    def _measure(self) -> None:
        self._k.put("SmartChargingCtrlr.Entries[ChargingProfiles]", str(len(self._installed)))

    def _open(self) -> tuple[OpenTransaction, ...]:
        return tuple(t for evse in self._evses.values() if (t := self._transaction(evse)) is not None)

    def _transaction(self, evse: Evse) -> OpenTransaction | None:
        record = evse.record
        return OpenTransaction(record.transaction_id, evse.number, record.started_ms) if record else None

    def limits_changed(self) -> None:
        """Work out anew what profiles allow, tell what is different, and come back when that may change."""
        sharers = max(1, len(self._open()))
        until: list[int] = []
        for number, evse in self._evses.items():
            found = profiles.foreseen(
                self._installed,
                self._k.utc_ms,
                evse_id=number,
                transaction=self._transaction(evse),
                sharers=sharers,
            )
            if found.until_ms is not None:
                until.append(found.until_ms)
            before = self._limits.get(number, Allowance())
            if msgspec.structs.replace(found, until_ms=None) != msgspec.structs.replace(before, until_ms=None):
                self._limits[number] = found
                self._version += 1
                self._k.note("limits", evse_id=number, charge_w=found.charge_w, discharge_w=found.discharge_w)
                self._k.do(SetLimit(evse_id=number, allowance=found, version=self._version))
        for told in self.on_limits:
            told()
        self._k.cancel("limits")
        if until:
            self._k.at_utc("limits", min(until), self.limits_changed)
