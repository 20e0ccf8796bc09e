"""When a charging profile is valid, and which of its periods is in force (functional blocks K and Q)."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages import charging_profiles as ocpp
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_station.blocks.evse import Evse
from v2g_station.kernel.kernel import Kernel, status_info
from v2g_station.kernel.layout import V2X
from v2g_station.kernel.local_time import ZULU, LocalTime, known_zone, local_time, naive, parse_offset

_RECURRENCE: Final[Mapping[str, int]] = {"Daily": 86_400_000, "Weekly": 7 * 86_400_000}
_FOR_EVER: Final = float("inf")


class InstalledProfile(msgspec.Struct, frozen=True):
    """A profile as set: its EVSE (0 is the station) and version of OCPP."""

    evse_id: int
    profile: ocpp.ChargingProfile
    version: Version
    source: str = "CSO"
    """Its source, as named by OCPP."""
    ended: bool = False
    """Whether it was offline for too long and has ended for good (invalidAfterOfflineDuration)."""


class OpenTransaction(msgspec.Struct, frozen=True):
    """The properties of a transaction that profiles depend on."""

    transaction_id: str
    evse_id: int
    started_ms: int
    """When it could first deliver energy, from which Relative profiles count (K01.FR.42)."""
    priority: bool = False
    """Whether it charges with priority (K21, K22)."""
    soc: int | None = None
    """The vehicle's state of charge, percent, if known."""


class ProfileSituation(msgspec.Struct, frozen=True, kw_only=True):
    """The context in which profiles are evaluated: an EVSE with its transaction, and what else they depend on."""

    evse_id: int
    transaction: OpenTransaction | None = None
    supposed_ms: int | None = None
    """Start of a transaction that is supposed where there is none (K08.FR.06)."""
    sharers: int = 1
    """Number of active transactions: profiles for the whole station are shared by them."""
    offline_since_ms: int | None = None
    """Since when the CSMS is unreachable."""
    local: LocalTime = ZULU
    volts: float = 230.0
    """Between phase and neutral, to convert a limit in A."""
    phases: int = 3
    """Number of phases in use: those of the EVSE, or of its vehicle if that is known to use fewer."""
    lines: int = 0
    """Number of the EVSE's own phases; 0: direct current."""
    csms_first: bool = False
    """Whether set-points of the CSMS take precedence over those of external systems (SetpointPriority)."""
    both_ways: bool = True
    """Whether the CSMS lets vehicles discharge at all (V2XChargingCtrlr.Enabled)."""


@lru_cache(maxsize=1024)
def at(text: str) -> int:
    """Return a time in ms; cached. Raises OcppError."""
    return parse_time(text)


def window(profile: ocpp.ChargingProfile) -> tuple[float, float]:
    """Return the validity in ms, open ends infinite (K01.FR.10, .36, .37)."""
    start = at(profile.valid_from) if profile.valid_from else -_FOR_EVER
    return start, at(profile.valid_to) if profile.valid_to else _FOR_EVER


def offline_end(item: InstalledProfile, around: ProfileSituation) -> int | None:
    """Return when a profile becomes invalid because the CSMS is unreachable, or None (K01.FR.101, .103)."""
    longest = item.profile.max_offline_duration
    return None if longest is None or around.offline_since_ms is None else around.offline_since_ms + longest * 1000


def period_at(item: InstalledProfile, utc_ms: int, around: ProfileSituation) -> ocpp.ChargingSchedulePeriod | None:
    """Return the period of a profile that is in force, if it covers the time (K01.FR.11, .12, .30, .36, .37)."""
    start, end = window(item.profile)
    limit = offline_end(item, around)
    if item.ended or not start <= utc_ms < end or (limit is not None and utc_ms >= limit):
        return None
    schedule, since = item.profile.charging_schedule[0], _since(item.profile, utc_ms, around)
    if since is None:
        return None
    if schedule.duration is not None and since >= schedule.duration * 1000:
        return None
    starts = _starts(item.profile, around.transaction)
    # a period that would start after its successor never does (K01.FR.97): the last started one is in force
    begun = [p for p, begin in zip(schedule.charging_schedule_period, starts, strict=True) if begin <= since]
    return begun[-1] if begun else None


def begun_ms(item: InstalledProfile, utc_ms: int, around: ProfileSituation) -> int:
    """Return when the schedule in force at a time started."""
    return utc_ms - (_since(item.profile, utc_ms, around) or 0)


def edges(item: InstalledProfile, utc_ms: int, around: ProfileSituation) -> Iterable[int]:
    """Return the times at which a profile's values may change."""
    profile, schedule = item.profile, item.profile.charging_schedule[0]
    yield from (int(edge) for edge in window(profile) if abs(edge) != _FOR_EVER)
    limit = offline_end(item, around)
    if limit is not None:
        yield limit
    since = _since(profile, utc_ms, around)
    if since is None:
        return
    origin = utc_ms - since
    marks = _starts(profile, around.transaction)
    if schedule.duration is not None:
        marks = (*marks, schedule.duration * 1000)
    if profile.charging_profile_kind == "Recurring":
        marks = (*marks, _RECURRENCE[profile.recurrency_kind or "Daily"])
    yield from (origin + mark for mark in marks)
    if _is_local(profile):
        again = around.local.next_check_ms(utc_ms)
        if again is not None:
            yield again


def is_over(item: InstalledProfile, utc_ms: int, around: ProfileSituation) -> bool:
    """Return whether a profile was valid and no longer is, unless the CSMS becomes reachable."""
    limit = offline_end(item, around)
    if item.ended or utc_ms >= window(item.profile)[1] or (limit is not None and utc_ms >= limit):
        return True
    since, duration = _since(item.profile, utc_ms, around), item.profile.charging_schedule[0].duration
    recurring = item.profile.charging_profile_kind == "Recurring"
    return since is not None and duration is not None and not recurring and since >= duration * 1000


def _is_local(profile: ocpp.ChargingProfile) -> bool:
    schedule = profile.charging_schedule[0]
    return bool(schedule.use_local_time) and schedule.start_schedule is not None


def _since(profile: ocpp.ChargingProfile, utc_ms: int, around: ProfileSituation) -> int | None:
    """Return how long (ms) the schedule in force at `utc_ms` has run, None if it has no start.

    With useLocalTime the time is that of a wall clock, so that it skips or repeats the hour of a daylight saving change
    (K01.FR.90, .91).
    """
    schedule = profile.charging_schedule[0]
    match profile.charging_profile_kind:
        case "Relative":
            start = around.transaction.started_ms if around.transaction else around.supposed_ms
            return None if start is None else utc_ms - start
        case "Dynamic":  # counts from the last update (K28.FR.13, K29.FR.07, Q05.FR.07)
            return utc_ms - at(profile.dyn_update_time) if profile.dyn_update_time else utc_ms
        case kind:
            text = schedule.start_schedule or ""
            ahead = around.local.offset_ms(utc_ms) if _is_local(profile) else 0
            since = utc_ms + ahead - (naive if _is_local(profile) else at)(text)
            if kind == "Recurring" and since >= 0:  # K01.FR.40: not before its start
                since %= _RECURRENCE[profile.recurrency_kind or "Daily"]
            return since


def _starts(profile: ocpp.ChargingProfile, transaction: OpenTransaction | None) -> tuple[int, ...]:
    """Return the starts of periods, ms after the schedule's, each but the first with its own delay (K01.FR.92, .94)."""
    schedule = profile.charging_schedule[0]
    if not schedule.randomized_delay or transaction is None:  # K08.FR.06
        return _plain(schedule)
    most, name = schedule.randomized_delay, transaction.transaction_id
    return tuple(
        start + (delay_s(name, profile.id, number, most) * 1000 if start else 0)
        for number, start in enumerate(_plain(schedule))
    )


def _plain(schedule: ocpp.ChargingSchedule) -> tuple[int, ...]:
    return tuple(period.start_period * 1000 for period in schedule.charging_schedule_period)


@lru_cache(maxsize=4096)
def delay_s(transaction_id: str, profile_id: int, number: int, most: int) -> int:
    """Return the delay (s) of a period, 0 to `most`, the same for a whole transaction (K01.FR.93).

    It is derived from the transaction's identifier, which is random: it need not be stored across a restart.
    """
    drawn = hashlib.sha256(f"{transaction_id}/{profile_id}/{number}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % (most + 1)


class ProfileContext:
    """The context of one station's profiles; `changed` is called when it changes."""

    def __init__(self, kernel: Kernel, evses: Mapping[int, Evse], changed: Callable[[], None]) -> None:
        self._k = kernel
        self._evses = evses
        self._changed = changed
        self._priority = set(kernel.stored_text("priority"))
        model = kernel.model
        for name in ("TimeZone", "TimeOffset", "TimeOffset[NextTransition]"):
            model.checks[f"clockctrlr.{name.lower()}"] = _check_zone if name == "TimeZone" else _check_offset
        for name in ("TimeZone", "TimeOffset", "TimeOffset[NextTransition]", "NextTimeOffsetTransitionDateTime"):
            model.after[f"clockctrlr.{name.lower()}"] = lambda _: changed()
        for key in ("smartchargingctrlr.setpointpriority", V2X.lower()):
            model.after[key] = lambda _: changed()
        alternating = any(evse.phases for evse in kernel.layout.evses)
        self.units: tuple[ocpp.ChargingRateUnit, ...] = ("W", "A") if alternating else ("W",)
        kernel.put("SmartChargingCtrlr.RateUnit", ",".join(self.units))

    def set_priority(self, transaction_id: str, *, active: bool) -> bool:
        """Set a transaction's priority; return whether that is a change (K21, K22)."""
        if active == (transaction_id in self._priority):
            return False
        if active:
            self._priority.add(transaction_id)
            self._k.keep_text("priority", transaction_id, "yes")
        else:
            self.forget(transaction_id)
        self._changed()
        return True

    def forget(self, transaction_id: str) -> None:
        """Remove an ended transaction and its priority."""
        if transaction_id in self._priority:
            self._priority.discard(transaction_id)
            self._k.forget("priority", transaction_id)

    def open(self) -> tuple[OpenTransaction, ...]:
        """Return all transactions."""
        return tuple(t for evse in self._evses.values() if (t := self._transaction(evse)) is not None)

    def _transaction(self, evse: Evse | None) -> OpenTransaction | None:
        if evse is None or (record := evse.record) is None:
            return None
        ready_ms = record.started_ms if record.reference else record.ready_ms
        return OpenTransaction(
            record.transaction_id,
            evse.number,
            self._k.utc_ms if ready_ms is None else ready_ms,  # until then the first period holds
            priority=record.transaction_id in self._priority,
            soc=record.last_sample.soc if record.last_sample is not None else None,
        )

    def at(self, evse_id: int, *, sharers: int | None = None) -> ProfileSituation:
        """Return the context of profiles at an EVSE, or at the station (0)."""
        evse = self._evses.get(evse_id)
        model = self._k.model
        layout = self._k.layout
        own = layout.evses[evse_id - 1].phases if evse is not None else max(each.phases for each in layout.evses)
        phases = own or layout.supply_phases
        return ProfileSituation(
            evse_id=evse_id,
            transaction=self._transaction(evse),
            sharers=max(1, len(self.open())) if sharers is None else sharers,
            offline_since_ms=self._k.offline_since_ms,
            local=local_time(model),
            volts=layout.evses[evse_id - 1].line_v if evse is not None else layout.evses[0].line_v,
            phases=min(phases, evse.phases or phases) if evse is not None else phases,
            lines=own,
            csms_first=model.text("SmartChargingCtrlr.SetpointPriority") == "CSMS",
            both_ways=model.flag(V2X),
        )


def _check_zone(name: str) -> StatusInfo | None:
    if not name or known_zone(name):
        return None
    return status_info("InvalidValue", f"{name!r} is not a time zone of the IANA database")


def _check_offset(text: str) -> StatusInfo | None:
    try:
        parse_offset(text)
    except OcppError:
        return status_info("InvalidValue", f"{text!r} is not an offset, +hh:mm or -hh:mm")
    return None
