"""Charging profiles: set, stored, reported, and what they allow now (functional block K)."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.base import Message, OperationMode, StatusInfo
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedulePeriod
from v2g.ocpp.messages.smart_charging import NotifyAllowedEnergyTransferRequest, NotifyAllowedEnergyTransferResponse
from v2g.ocpp.times import format_time
from v2g.translate.csms_prices import CsmsPrices
from v2g_station.blocks.evse import Evse, Indicate
from v2g_station.blocks.smart_charging import profile_rules, profile_times, profiles
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer, Handler, Kernel, StationCommand, status_info

_BALANCING: Final = tuple(
    f"V2XChargingCtrlr.LocalLoadBalancing[{name}]"
    for name in ("UpperThreshold", "LowerThreshold", "UpperOffset", "LowerOffset")
)


class AnnouncePrices(StationCommand, frozen=True, kw_only=True):
    """The prices of charging profiles on an EVSE have changed; sent before the limits of the same profile."""

    evse_id: int
    prices: CsmsPrices | None


class SetPhases(StationCommand, frozen=True, kw_only=True):
    """Use these line conductors of an EVSE (0 to 2: L1 to L3) and no others (K01.FR.46, .47).

    The charger first ends the flow of energy, and pauses as IEC 61851-1 has it, before vehicles draw again.
    """

    evse_id: int
    lines: tuple[int, ...]


class ProfileTaken(StationCommand, frozen=True, kw_only=True):
    """A profile of the transaction on an EVSE is installed, and its consequences have been sent."""

    evse_id: int


class Sleep(StationCommand, frozen=True, kw_only=True):
    """Turn an EVSE's electronics off until needed again (Q10.FR.03), or on."""

    evse_id: int
    asleep: bool


class SleepRefused(Fact, frozen=True, kw_only=True):
    """An EVSE's electronics could not be turned off (Q10.FR.05)."""

    evse_id: int


class ChargingProfiles(FunctionalBlock):
    """Profiles of one station with its operation modes; `where` gives the context of their evaluation."""

    def __init__(self, shared: Shared, modes: tuple[OperationMode, ...]) -> None:
        super().__init__(shared)
        self.installed = tuple(self._k.stored("profiles", InstalledProfile).values())
        """All profiles."""
        self.apart: tuple[InstalledProfile, ...] = ()
        """Profiles of the whole station as an external system has filled them for one EVSE: there they come first."""
        self._remote_profiles: dict[int, tuple[int, ChargingProfile]] = {}
        """The last remote start at each EVSE with a profile, until a transaction is that start's."""
        self._limits: dict[int, ProfileLimits] = {}
        self._until_ms: dict[int, int | None] = {}
        """When the limits of each EVSE change next."""
        self._sharers = 1
        self._ready_ms: dict[int, int | None] = {}
        self._lines: dict[int, tuple[int, ...]] = {}
        """The line conductors that an EVSE was told to use, where it can switch them."""
        self._prices: dict[int, CsmsPrices] = {}
        self._due: list[Collection[int]] | None = None
        """Where to evaluate at the end of what changes together; None: nothing changes."""
        self._fresh: dict[int, InstalledProfile] = {}
        """Profiles installed meanwhile, by id."""
        self.where = profile_times.ProfileContext(self._k, self._evses, self.limits_changed)
        self.modes = modes
        self._k.put("V2XChargingCtrlr.SupportedOperationModes", ",".join(modes))
        self.on_put: Final = Callbacks[InstalledProfile]()
        """Called with a profile before it is evaluated."""
        self.on_changes: Final = Callbacks[[]]()
        """Called before profiles are evaluated: others may install theirs."""
        self.on_installed: Final = Callbacks[InstalledProfile]()
        self.on_limits: Final = Callbacks[Collection[int]]()
        """Called with the EVSEs that have been re-evaluated."""
        self.answers: dict[str, Handler] = {
            "SetChargingProfile": self._set,
            "ClearChargingProfile": self._clear,
            "GetChargingProfiles": self._get,
            "GetCompositeSchedule": self._composite,
        }
        self._sessions.on_starting(self._starting)
        self._sessions.on_started(self._started)
        self._sessions.on_ended(self._ended)
        self._sessions.on_change(self._readied)
        self._sessions.on_power(lambda _: self._remeasured(uses=self._in_amperes))
        self._sessions.on_sample(lambda _: self._remeasured(uses=self._by_soc))
        self._k.on_clock_set.append(lambda _: self.limits_changed())
        self._measure()

    # -- the CSMS

    def refuse(self, profile: ChargingProfile, evse_id: int, *, remote: bool = False) -> StatusInfo | None:
        """Return why a profile is not acceptable, or None. A remote start's has no transaction yet."""
        transactions = self.where.open()
        if remote:
            transactions = (*transactions, profile_times.OpenTransaction("", evse_id, self._k.utc_ms))
            profile = msgspec.structs.replace(profile, transaction_id="")
        return profile_rules.refuse(
            profile,
            evse_id,
            version=self._k.version,
            able=self._abilities(),
            installed=self.installed,
            transactions=transactions,
            utc_ms=self._k.utc_ms,
        )

    def refuse_lines(self, item: InstalledProfile) -> StatusInfo | None:
        """Return why values of single conductors are not acceptable in a profile, or None."""
        return profile_rules.refuse_lines(item.profile, item.evse_id, self._abilities())

    def _abilities(self) -> profile_rules.Abilities:
        text = self._k.model.text
        thresholds = [text(key) for key in _BALANCING]
        foreign = text("SmartChargingCtrlr.MaxExternalConstraintsId")
        return profile_rules.Abilities(
            evses=len(self._evses),
            modes=self.modes,
            units=self.where.units,
            direct_current=[n for n, evse in enumerate(self._k.layout.evses, 1) if not evse.phases],
            phases={number: self.where.at(number).phases for number in self._evses},
            switches_phases=[n for n, evse in enumerate(self._k.layout.evses, 1) if evse.switches_phases],
            lines={number: evse.lines for number, evse in self._evses.items()},
            selects_phase=self._k.model.flag("SmartChargingCtrlr.ACPhaseSwitchingSupported"),
            thresholds=all(thresholds) and float(thresholds[0]) > float(thresholds[1]),
            foreign_id=int(foreign) if foreign else None,
        )

    def take_remote(self, profile: ChargingProfile | None, evse_id: int, remote_start_id: int) -> None:
        """Store the profile of a remote start for its transaction (F01.FR.10)."""
        self._remote_profiles.pop(evse_id, None)
        if profile is not None:
            self._remote_profiles[evse_id] = remote_start_id, profile

    def give_remote(self, evse: Evse) -> bool:
        """Install the profile of the remote start that an EVSE's transaction is of; return whether there is one."""
        wanted, record = self._remote_profiles.get(evse.number), evse.record
        if wanted is None or record is None or record.remote_start_id != wanted[0]:
            return False
        del self._remote_profiles[evse.number]
        self.install(msgspec.structs.replace(wanted[1], transaction_id=record.transaction_id), evse.number)
        return True

    def install(self, profile: ChargingProfile, evse_id: int) -> None:
        if profile.charging_profile_kind == "Dynamic":
            given, now = profile.dyn_update_time, format_time(self._k.utc_ms)  # K28.FR.05
            if given is None or profile_times.at(given) > self._k.utc_ms:  # the CSMS's clock may be ahead
                profile = msgspec.structs.replace(profile, dyn_update_time=now)
        self.put(InstalledProfile(evse_id, profile, self._k.version))

    def put(self, item: InstalledProfile) -> None:
        """Install a profile of any source."""
        with self.together():
            self._keep(profile_rules.replace(self.installed, item))
            self._fresh[item.profile.id] = item
            self.on_put.tell(item)

    def remove(self, profile_id: int) -> None:
        self._keep(tuple(item for item in self.installed if item.profile.id != profile_id))

    def period_in_force(self, evse: Evse) -> ChargingSchedulePeriod | None:
        """Return the period that controls an EVSE now."""
        around = self.where.at(evse.number, sharers=1)
        return profiles.in_force(self._applying(evse.number), self._k.utc_ms, around)

    def leading(self, evse: Evse) -> InstalledProfile | None:
        """Return the profile that controls an EVSE now."""
        around = self.where.at(evse.number, sharers=1)
        return profiles.leading(self._applying(evse.number), self._k.utc_ms, around)

    def limits_of(self, evse: Evse) -> ProfileLimits:
        """Return the last evaluated limits of an EVSE."""
        return self._limits.get(evse.number, ProfileLimits(evse_id=evse.number))

    def _set(self, request: ocpp.SetChargingProfileRequest) -> Message:
        """K01."""
        if not self._k.model.flag("SmartChargingCtrlr.Enabled"):
            return ocpp.SetChargingProfileResponse(status="Rejected", status_info=status_info("NotEnabled"))
        refused = self.refuse(request.charging_profile, request.evse_id)
        if refused is not None:
            return ocpp.SetChargingProfileResponse(status="Rejected", status_info=refused)
        self.install(request.charging_profile, request.evse_id)
        return ocpp.SetChargingProfileResponse(status="Accepted")

    def _clear(self, request: ocpp.ClearChargingProfileRequest) -> Message:
        """K10."""
        profile_id, criteria = request.charging_profile_id, request.charging_profile_criteria
        installed = tuple(i for i in self.installed if not profile_rules.matches_clearing(i, profile_id, criteria))
        if len(installed) == len(self.installed):
            return ocpp.ClearChargingProfileResponse(status="Unknown")
        self._keep(installed)
        return ocpp.ClearChargingProfileResponse(status="Accepted")

    def _get(self, request: ocpp.GetChargingProfilesRequest) -> Message:
        """K09: ReportChargingProfiles for each EVSE that has some, by source."""
        wanted = request.charging_profile
        found = [item for item in self.installed if profile_rules.matches_report(item, request.evse_id, wanted)]
        if not found:
            return ocpp.GetChargingProfilesResponse(status="NoProfiles")
        places = sorted({(item.evse_id, item.source) for item in found})
        for number, (evse_id, source) in enumerate(places):
            report = ocpp.ReportChargingProfilesRequest(
                request_id=request.request_id,
                charging_limit_source=source,
                charging_profile=tuple(
                    item.profile for item in found if (item.evse_id, item.source) == (evse_id, source)
                ),
                tbc=number + 1 < len(places),
                evse_id=evse_id,
            )
            self._k.after(f"profiles.{request.request_id}.{number:03d}", 0, partial(self._k.call, report))
        return ocpp.GetChargingProfilesResponse(status="Accepted")

    def _composite(self, request: ocpp.GetCompositeScheduleRequest) -> Message:
        """K08."""
        if request.evse_id not in self._evses and request.evse_id != 0:
            return ocpp.GetCompositeScheduleResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        evse_ids = (request.evse_id,) if request.evse_id else tuple(self._evses)
        layouts = [self._k.layout.evses[number - 1] for number in evse_ids]
        direct = not any(each.phases for each in layouts)
        unit = request.charging_rate_unit or "W"
        if unit not in self.where.units or (unit == "A" and direct):  # K08.FR.07
            info = status_info("UnsupportedRateUnit", f"{unit} is not supported here")
            return ocpp.GetCompositeScheduleResponse(status="Rejected", status_info=info)
        now = self._k.utc_ms // 1000 * 1000
        around, *each = (  # supposing a transaction at each (K08.FR.06)
            msgspec.structs.replace(self.where.at(number, sharers=len(evse_ids)), supposed_ms=now)
            for number in (request.evse_id, *evse_ids)
        )
        schedule = profiles.composite(
            (*self.apart, *self.installed),
            now,
            max(0, request.duration),
            around,
            [(place, layout.max_power_w) for place, layout in zip(each, layouts, strict=True)],
            version=self._k.version,
            unit=unit,
        )
        return ocpp.GetCompositeScheduleResponse(status="Accepted", schedule=schedule)

    # -- evaluation

    def _starting(self, evse: Evse) -> None:
        """Start the transaction in the operation mode of its profiles, None without one."""
        found = profiles.limits_at(self._applying(evse.number), self._k.utc_ms, self.where.at(evse.number))
        if evse.record is not None:
            evse.record = msgspec.structs.replace(evse.record, operation_mode=found.operation_mode)

    def _started(self, evse: Evse) -> None:
        if not self.give_remote(evse):
            self.limits_changed()

    def _readied(self, evse: Evse) -> None:
        """Let Relative profiles begin (K01.FR.42)."""
        ready_ms = None if evse.record is None else evse.record.ready_ms
        if ready_ms != self._ready_ms.get(evse.number):
            self._ready_ms[evse.number] = ready_ms
            self.limits_changed((evse.number,))

    def _ended(self, evse: Evse, record: TransactionRecord) -> None:
        """Remove the TxProfile of an ended transaction, and its priority."""
        self.where.forget(record.transaction_id)
        self._sleep(evse, asleep=False)
        self._keep(tuple(i for i in self.installed if i.profile.transaction_id != record.transaction_id))

    def _keep(self, installed: tuple[InstalledProfile, ...]) -> None:
        old = {str(item.profile.id): item for item in self.installed}
        new = {str(item.profile.id): item for item in installed}
        for key in old.keys() - new.keys():
            self._k.forget("profiles", key)
        for key, item in new.items():
            if old.get(key) != item and item.source == "CSO":  # K01.FR.27: external systems send theirs again
                durable = item.profile.charging_profile_kind != "Dynamic"  # would wear out the disk
                self._k.keep("profiles", key, item, durable=durable)
        self.installed = installed
        self._measure()
        differ = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
        places = {each[key].evse_id for each in (old, new) for key in differ if key in each}
        self.limits_changed(() if 0 in places else places)

    def _applying(self, number: int) -> list[InstalledProfile]:
        """Return the profiles of an EVSE and of the whole station."""
        return [item for item in (*self.apart, *self.installed) if item.evse_id in (0, number)]

    def _measure(self) -> None:
        self._k.put("SmartChargingCtrlr.Entries[ChargingProfiles]", str(len(self.installed)))

    @property
    def _in_amperes(self) -> bool:
        return any(item.profile.charging_schedule[0].charging_rate_unit == "A" for item in self.installed)

    @property
    def _by_soc(self) -> bool:
        return any(item.profile.charging_schedule[0].limit_at_soc is not None for item in self.installed)

    def _remeasured(self, *, uses: bool) -> None:
        """Re-evaluate if a profile depends on measurements."""
        if uses:
            self.limits_changed()

    def limits_changed(self, places: Collection[int] = ()) -> None:
        """Re-evaluate the profiles at these EVSEs, or at all."""
        with self.together() as due:
            due.append(places)

    @contextlib.contextmanager
    def together(self) -> Iterator[list[Collection[int]]]:
        """Evaluate at the end what changes meanwhile, once: in between power might rise that is lowered at once."""
        if self._due is not None:
            yield self._due
            return
        due = self._due = []
        try:
            yield due
            # end profiles for good that expired while the CSMS was unreachable (K01.FR.102)
            before = self.installed
            around = self.where.at(0)
            for item in self.installed:
                limit = profile_times.offline_end(item, around)
                over = limit is not None and self._k.utc_ms >= limit and item.profile.invalid_after_offline_duration
                if over and not item.ended:
                    ended = msgspec.structs.replace(item, ended=True)
                    self.installed = profile_rules.replace(self.installed, ended)
                    self._k.keep("profiles", str(item.profile.id), ended)
            if self.installed is not before:
                due.append(())
            self.on_changes.tell()
        finally:
            self._due, fresh, self._fresh = None, self._fresh, {}
        if due:
            self._evaluate({number for places in due for number in places} if all(due) else ())
        for item in fresh.values():
            self.on_installed.tell(item)
            if item.profile.charging_profile_purpose == "TxProfile":
                self._k.do(ProfileTaken(evse_id=item.evse_id))

    def _evaluate(self, places: Collection[int]) -> None:
        """Evaluate the profiles; report changes, and schedule the next one.

        At a station of many EVSEs a new set-point of one must not wait for the others to be looked at.
        """
        sharers = max(1, len(self.where.open()))
        if sharers != self._sharers:
            places = ()
        self._sharers = sharers
        numbers = sorted(self._evses.keys() & places) or list(self._evses)
        for number in numbers:
            evse, applying = self._evses[number], self._applying(number)
            around = self.where.at(number, sharers=sharers)
            self._announce_prices(number, profiles.prices(applying, self._k.utc_ms, around))
            found = msgspec.structs.replace(profiles.foreseen(applying, self._k.utc_ms, around), evse_id=number)
            self._until_ms[number] = found.until_ms
            before = self._limits.get(number, ProfileLimits(evse_id=number))
            if msgspec.structs.replace(found, until_ms=None) != msgspec.structs.replace(before, until_ms=None):
                self._limits[number] = found
                self._k.note("limits", evse_id=number, charge_w=found.charge_w, discharge_w=found.discharge_w)
                self._k.do(found)
            evse.profile_w = profiles.part(found).setpoint_w
            self._switch(number, found)
            self._enter(evse, found)
        self.on_limits.tell(numbers)
        self._k.cancel("limits")
        until = [each for each in self._until_ms.values() if each is not None]
        if until:
            self._k.at_utc("limits", min(until), self.limits_changed)

    def _switch(self, number: int, found: ProfileLimits) -> None:
        """Have the charger use another number of phases, or another one; all of them again without a profile that says
        less."""
        layout = self._k.layout.evses[number - 1]
        if not layout.switches_phases:
            return
        lines = (0, 1, 2)[: layout.phases]
        if found.number_phases == 1:
            lines = ((found.phase_to_use or 1) - 1,)
        if lines != self._lines.get(number, (0, 1, 2)[: layout.phases]):
            self._lines[number] = lines
            self._k.do(SetPhases(evse_id=number, lines=lines))

    def _announce_prices(self, number: int, found: CsmsPrices | None) -> None:
        if found == self._prices.get(number):
            return
        if found is None:
            del self._prices[number]
        else:
            self._prices[number] = found
        self._k.do(AnnouncePrices(evse_id=number, prices=found))

    def _enter(self, evse: Evse, found: ProfileLimits) -> None:
        """Report to the CSMS that a transaction continues in another operation mode (K01.FR.110)."""
        record = evse.record
        if record is None:
            return
        asleep = found.asleep and self._k.model.flag("SmartChargingCtrlr.SupportsEvseSleep")  # Q10.FR.03, .05
        self._sleep(evse, asleep=asleep)
        mode = found.operation_mode or ("ChargingOnly" if record.operation_mode else None)
        if mode is not None and mode != (record.operation_mode or "ChargingOnly"):
            self._sessions.enter_mode(evse, mode)

    def _sleep(self, evse: Evse, *, asleep: bool) -> None:
        if asleep != evse.asleep:
            evse.asleep = asleep
            self._k.do(Sleep(evse_id=evse.number, asleep=asleep))

    def sleep_refused(self, fact: SleepRefused) -> None:
        """Handle an EVSE that stays awake: events do not report it as asleep."""
        evse = self._evses.get(fact.evse_id)
        if evse is not None:
            evse.asleep = False


class AllowEnergyTransfer(StationCommand, frozen=True, kw_only=True):
    """Restrict a transaction to these modes (EnergyTransferModeEnum): let the vehicle select a service again."""

    evse_id: int
    transaction_id: str
    reference: str
    """The charger's reference of the transaction."""

    modes: tuple[str, ...]


class EnergyTransfers(FunctionalBlock):
    """Allowed modes of one station. `serves` returns whether an EVSE has a service for any of some modes."""

    def __init__(self, shared: Shared, serves: Callable[[int, Sequence[str]], bool]) -> None:
        super().__init__(shared)
        self._serves = serves
        self.answers: dict[str, Handler] = {"NotifyAllowedEnergyTransfer": self._allowed}

    def _allowed(self, request: NotifyAllowedEnergyTransferRequest) -> Message:
        """Q02.FR.06."""
        evse = self._sessions.find(request.transaction_id)
        if evse is None or evse.record is None:
            return _rejected("TxNotFound")
        modes = tuple(request.allowed_energy_transfer)
        if not self._serves(evse.number, modes):
            return _rejected("UnsupportedRequest", "this EVSE has no energy service for any of these modes")
        record = evse.record
        if evse.authorization is not None:
            evse.authorization = msgspec.structs.replace(evse.authorization, energy_transfer=modes)
        self._k.do(
            AllowEnergyTransfer(
                evse_id=evse.number, transaction_id=record.transaction_id, reference=record.reference, modes=modes
            )
        )
        return NotifyAllowedEnergyTransferResponse(status="Accepted")


def _rejected(code: str, text: str = "") -> NotifyAllowedEnergyTransferResponse:
    return NotifyAllowedEnergyTransferResponse(status="Rejected", status_info=status_info(code, text))


class PriorityChargingRequested(Fact, frozen=True, kw_only=True):
    """A driver requests priority for a transaction, or cancels it, by a button or at the display."""

    evse_id: int
    active: bool


class PriorityCharging(FunctionalBlock):
    """Priority of one station's transactions."""

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared)
        self._smart = smart_charging
        self.answers: dict[str, Handler] = {"UsePriorityCharging": self._use}

    def _use(self, request: ocpp.UsePriorityChargingRequest) -> Message:
        """K21."""
        evse = self._sessions.find(request.transaction_id)
        if evse is None:
            return ocpp.UsePriorityChargingResponse(status="Rejected", status_info=status_info("TxNotFound"))
        if request.activate and not profiles.has_priority(self._smart.installed, evse.number):
            return ocpp.UsePriorityChargingResponse(status="NoProfile", status_info=status_info("NotFound"))
        self._set(request.transaction_id, active=request.activate)
        return ocpp.UsePriorityChargingResponse(status="Accepted")

    def requested(self, fact: PriorityChargingRequested) -> None:
        """K22."""
        evse = self._evses[fact.evse_id]
        if evse.record is None or (fact.active and not profiles.has_priority(self._smart.installed, evse.number)):
            self._k.do(Indicate(evse_id=evse.number, word="no_priority_charging"))  # K22.FR.01
            return
        self._set(evse.record.transaction_id, active=fact.active)

    def _set(self, transaction_id: str, *, active: bool) -> None:
        """Change the priority and report it; offline changes are reported later (K21.FR.05, .08, K22.FR.03, .05)."""
        if self._smart.where.set_priority(transaction_id, active=active):
            self._outbox.add(ocpp.NotifyPriorityChargingRequest(transaction_id=transaction_id, activated=active))


class DynamicProfiles:
    """Keeps dynamic profiles up to date."""

    def __init__(self, kernel: Kernel, smart_charging: ChargingProfiles) -> None:
        self._k = kernel
        self._smart = smart_charging
        self.answers: dict[str, Handler] = {"UpdateDynamicSchedule": self._update}
        smart_charging.on_installed(self._plan)

    def start(self) -> None:
        """Resume pulling updates of profiles installed before a restart."""
        for item in self._smart.installed:
            self._plan(item)

    def _find(self, profile_id: int) -> InstalledProfile | None:
        """Return a dynamic profile of the CSMS: those of external systems are not its to change (K01.FR.05), and one
        that has ended for good (K01.FR.102) would not hold what it is told."""
        own = (item for item in self._smart.installed if item.profile.id == profile_id and item.source == "CSO")
        return next((each for each in own if each.profile.charging_profile_kind == "Dynamic" and not each.ended), None)

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
