"""From the grid operator's signal to the charging profiles of a station (use cases K01, K15, K19, Q01, Q02).

In OCPP 2.1 vehicles that requested bidirectional transfer run in `ExternalSetpoint`: vehicle and charger agree on the
power themselves, inside `limit` and `dischargeLimit`. Once a signal has expired only charging is allowed. What a signal
does not limit has no limit in a profile, and no profile where that leaves nothing to say.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final

import msgspec

from v2g.energy.grid_signal import GridSignal
from v2g.energy.limits import MOST_W
from v2g.energy.price_plan import PricePlan, Use
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsRequest
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time
from v2g.translate.price_schedules import Asked, absolute_prices, price_levels, sales_tariff
from v2g.units import DAY_MS, HOUR_MS

CLOCK_SLACK_MS: Final = 60_000
"""Tolerance for stations' clocks: schedules begin that long ago, so that they are in force on arrival. So do prices."""

LIMIT_SLACK_MS: Final = DAY_MS
"""The same for limits without prices: one replaces another, and until it begins by its station's clock none holds."""

BIDIRECTIONAL: Final = frozenset({"AC_BPT", "AC_BPT_DER", "AC_DER", "DC_BPT", "DC_ACDP_BPT"})
"""Energy transfer modes in which energy may flow back."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's NotifyEVChargingNeeds. `max_periods`: the most schedule periods it supports (0: any).

    `energy_wh` needed until `departure_ms` (UTC), at most `most_wh` taken, and at least `least_wh`: below 0 it may give
    that much away. `net_wh`: what its transaction had taken (less what it gave) when it sent them. Currents in mA on
    each phase, powers in W. 0 and None: not sent.
    `edition_20`: whether it uses ISO 15118-20, which has prices in money; the older edition has levels only.
    `priority` is raised while its driver uses priority charging (K21, K22).
    `wished_departure_ms`, `wished_wh`: its driver's own departure, and energy that the transaction is to reach (OCPI).
    """

    evse_id: int
    requested: str
    max_periods: int = 0
    energy_wh: int = 0
    most_wh: int = 0
    least_wh: int = 0
    net_wh: int = 0
    departure_ms: int | None = None
    least_ma: int = 0
    most_ma: int = 0
    least_w: int = 0
    most_w: int = 0
    least_discharge_w: int = 0
    most_discharge_w: int = 0
    soc: int | None = None
    dynamic: bool = False
    edition_20: bool = False
    priority: int = 0
    wished_departure_ms: int | None = None
    wished_wh: int | None = None

    def as_wished(self) -> "Needs":
        """Return them with what the driver wishes in the place of what the vehicle asks for."""
        departure_ms, energy_wh = self.wished_departure_ms or self.departure_ms, self.energy_wh
        if self.wished_wh is not None:
            energy_wh = max(1, self.wished_wh - self.net_wh)  # 0: not sent
        return msgspec.structs.replace(self, departure_ms=departure_ms, energy_wh=energy_wh)

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.requested in BIDIRECTIONAL

    @property
    def bounded(self) -> bool:
        """Whether the vehicle has sent its limits."""
        return bool(self.most_w or self.most_ma)


def needs_of(request: NotifyEVChargingNeedsRequest) -> Needs:
    """Return a vehicle's needs, from its AC, DC or V2X parameters (K15.FR.06, K17.FR.06)."""
    needs = request.charging_needs
    alternating, direct, both = (
        needs.ac_charging_parameters,
        needs.dc_charging_parameters,
        needs.v2x_charging_parameters,
    )
    found = Needs(
        evse_id=request.evse_id,
        requested=needs.requested_energy_transfer,
        max_periods=request.max_schedule_tuples or 0,
        departure_ms=parse_time(needs.departure_time) if needs.departure_time is not None else None,
        dynamic=needs.control_mode == "DynamicControl",
        edition_20=needs.control_mode is not None or both is not None,
    )
    if alternating is not None:
        return msgspec.structs.replace(
            found,
            energy_wh=_whole(alternating.energy_amount),
            least_ma=_whole(alternating.ev_min_current * 1000),
            most_ma=_whole(alternating.ev_max_current * 1000),
        )
    if direct is not None:
        return msgspec.structs.replace(
            found,
            energy_wh=_whole(direct.energy_amount or 0),
            most_w=_whole(direct.ev_max_power or direct.ev_max_current * direct.ev_max_voltage),
            soc=direct.state_of_charge,
        )
    if both is not None:
        return msgspec.structs.replace(
            found,
            energy_wh=_whole(both.ev_target_energy_request or 0),
            most_wh=_whole(both.ev_max_energy_request or 0),
            least_wh=_least(both.ev_min_energy_request, both.ev_min_v2x_energy_request),
            least_w=_whole(both.min_charge_power or 0),
            most_w=_whole(_lines(both.max_charge_power, both.max_charge_power_l2, both.max_charge_power_l3)),
            least_discharge_w=_whole(abs(both.min_discharge_power or 0)),
            most_discharge_w=_whole(
                _lines(both.max_discharge_power, both.max_discharge_power_l2, both.max_discharge_power_l3)
            ),
        )
    return found


def _lines(*watts: float | None) -> float:
    """Return a power of all conductors, a magnitude: the value without suffix is that of L1 beside others."""
    return sum(abs(each) for each in watts if each is not None)


def _whole(number: float) -> int:
    """Return a quantity as an integer within a plausible range."""
    return int(max(0.0, min(float(number), 1e9)))


def _least(*wh: float | None) -> int:
    """Return the energy that a vehicle needs at least, below 0 what it can spare; 0 if it has sent neither."""
    return round(max(-1e9, min(1e9, max((each for each in wh if each is not None), default=0.0))))


def is_direct(needs: Needs | None, soc: object) -> bool:
    """Return whether a vehicle charges with direct current. Over OCPP 1.6, without needs, only those have a state of
    charge."""
    return soc is not None if needs is None or not needs.requested else not needs.requested.startswith("AC")


def answer_needs(needs: Needs, allowed: Collection[str], *, has_signal: bool, version: Version) -> str:
    """Return the status of NotifyEVChargingNeedsResponse. `allowed`: modes of the contract; empty means any.

    A mode outside the contract is Rejected (K19.FR.15, Q01.FR.04); 2.0.1 has no modes beyond plain charging.
    """
    if allowed and version == "2.1" and needs.requested not in allowed:
        return "Rejected"
    if has_signal:
        return "Accepted"
    return "NoChargingProfile" if version == "2.1" else "Rejected"  # K19.FR.04, K15.FR.04


def station_profiles(
    signal: GridSignal, version: Version, now_ms: int, *, evses: int = 1, offline: tuple[int, int] | None = None
) -> list[SetChargingProfileRequest]:
    """Return the profiles of a station independent of transactions: the site's limit, and in 2.1 the defaults.

    A default applies to each of the `evses` separately, with an equal part of the feed-back limit; a
    ChargingStationMaxProfile cannot express it (K01.FR.114, Q02.FR.02). `offline`, in 2.1: seconds after which a
    station without the back end leaves the site's limit for one of a lower stack level, and the W of that one, which
    never permits more (K01.FR.101).
    """
    limit = _import_limit(signal)
    if limit is None and offline is not None:
        limit = float(MOST_W)
    profiles = []
    if limit is not None:
        profiles.append(_limit(signal, SITE_PROFILE, limit, now_ms))
        if offline is not None:
            after_s, offline_w = offline
            profiles = [
                msgspec.structs.replace(profiles[0], stack_level=SIGNAL_LEVEL + 1, max_offline_duration=after_s),
                _limit(signal, OFFLINE_PROFILE, min(limit, float(offline_w)), now_ms),
            ]
    if version == "2.1":
        periods = _two_way(signal, now_ms, limit_start_ms(now_ms), evses)
        profiles.append(_profile(signal, DEFAULT_PROFILE, "TxDefaultProfile", periods, now_ms))
    return [SetChargingProfileRequest(evse_id=0, charging_profile=each) for each in profiles]


def open_profile(
    version: Version, now_ms: int, transaction_id: str, needs: Needs, *, most_export_w: int = MOST_W
) -> SetChargingProfileRequest | None:
    """Return the profile of a transaction without limits, which only carries prices: the vehicle's maximum.

    `most_export_w`: the most that prequalification permits to feed back. None for a vehicle that did not send its
    maximum.
    """
    if not needs.bounded:
        return None
    period = ChargingSchedulePeriod(start_period=0, limit=float(needs.most_w) or needs.most_ma / 1000)
    if needs.bidirectional and version == "2.1":
        period = msgspec.structs.replace(
            period,
            discharge_limit=-float(min(needs.most_discharge_w, most_export_w)),
            operation_mode="ExternalSetpoint",
        )
    profile_id = TRANSACTION_PROFILE + needs.evse_id
    schedule = ChargingSchedule(
        id=profile_id,
        start_schedule=format_time(_start_ms(now_ms)),
        charging_rate_unit="W" if needs.most_w else "A",
        charging_schedule_period=(period,),
    )
    profile = ChargingProfile(
        id=profile_id,
        stack_level=SIGNAL_LEVEL,
        charging_profile_purpose="TxProfile",
        charging_profile_kind="Absolute",
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )
    return SetChargingProfileRequest(evse_id=needs.evse_id, charging_profile=profile)


def asked_of(needs: Needs, begin_ms: int, started_ms: int, taken_wh: int, entries: int) -> Asked:
    """Return the time range of prices: until departure, or for a day. `entries`: the most that the station supports."""
    until_ms = begin_ms + DAY_MS if needs.departure_ms is None else needs.departure_ms // 1000 * 1000
    return Asked(
        from_ms=begin_ms,
        until_ms=min(max(until_ms, begin_ms + HOUR_MS), begin_ms + DAY_MS),
        started_ms=started_ms,
        evse_kind="AC" if needs.requested.startswith("AC") else "DC",
        use=Use(energy_mwh=taken_wh * 1000, power_w=needs.most_w),
        entries=min(entries, needs.max_periods or entries),
    )


def add_prices(profile: ChargingProfile, plan: PricePlan, asked: Asked, *, money: bool) -> ChargingProfile:
    """Return a profile with the prices for its vehicle (K15.FR.07, K18.FR.07, K19.FR.07).

    `money`: a vehicle of ISO 15118-20 gets prices, unless the plan can only be expressed in levels.
    """
    schedule = msgspec.structs.replace(
        profile.charging_schedule[0], sales_tariff=None, absolute_price_schedule=None, price_level_schedule=None
    )
    number = abs(profile.id)
    try:
        reported: dict[str, object] = {"absolute_price_schedule": absolute_prices(plan, asked, number)} if money else {}
    except RefusedError:
        reported = {}
    reported = reported or {"price_level_schedule": price_levels(plan, asked, number)}
    return msgspec.structs.replace(profile, charging_schedule=(msgspec.structs.replace(schedule, **reported),))


def add_sales_tariff(profile: ChargingProfile, plan: PricePlan, asked: Asked) -> ChargingProfile:
    """Return a profile with price levels for vehicles of ISO 15118-2 (K15.FR.07)."""
    reported = sales_tariff(plan, asked, 1)
    schedule = msgspec.structs.replace(profile.charging_schedule[0], sales_tariff=reported)
    return msgspec.structs.replace(profile, charging_schedule=(schedule,))


def transaction_profile(
    signal: GridSignal, version: Version, now_ms: int, transaction_id: str, needs: Needs, *, sharers: int = 1
) -> SetChargingProfileRequest | None:
    """Return the profile of a transaction whose vehicle has sent its needs (K15.FR.07, K19.FR.07, Q02.FR.01).

    None where the signal limits nothing. `sharers`: how many transactions the station has; each gets an equal part of
    the feed-back limit.
    """
    two_way = needs.bidirectional and version == "2.1"
    periods = _two_way(signal, now_ms, _start_ms(now_ms), sharers) if two_way else _charging_only(signal)
    if not periods:
        return None
    duration = None
    if 0 < needs.max_periods < len(periods):  # then the default profile takes over where this one ends
        duration = periods[needs.max_periods].start_period
        periods = periods[: needs.max_periods]
    profile_id = TRANSACTION_PROFILE + needs.evse_id
    profile = _profile(signal, profile_id, "TxProfile", periods, now_ms, transaction_id, duration)
    return SetChargingProfileRequest(evse_id=needs.evse_id, charging_profile=profile)


def _charging_only(signal: GridSignal) -> tuple[ChargingSchedulePeriod, ...]:
    limit = _import_limit(signal)
    return () if limit is None else (ChargingSchedulePeriod(start_period=0, limit=limit),)


def _limit(signal: GridSignal, profile_id: int, limit_w: float, now_ms: int) -> ChargingProfile:
    """Return a limit of a whole station's import, W."""
    period = ChargingSchedulePeriod(start_period=0, limit=limit_w)
    return _profile(signal, profile_id, "ChargingStationMaxProfile", (period,), now_ms)


def _two_way(signal: GridSignal, now_ms: int, start_ms: int, parts: int) -> tuple[ChargingSchedulePeriod, ...]:
    seconds_left = min((signal.valid_until_ms - start_ms) // 1000, 2**31 - 1)
    limit = _import_limit(signal)
    if limit is None:  # ChargingOnly needs one
        after = ChargingSchedulePeriod(start_period=0, discharge_limit=0.0, operation_mode="ExternalSetpoint")
    else:
        after = ChargingSchedulePeriod(start_period=0, limit=limit, operation_mode="ChargingOnly")
    if signal.valid_until_ms <= now_ms:
        return (after,)
    return (
        ChargingSchedulePeriod(
            start_period=0,
            limit=limit,
            discharge_limit=-float(signal.export_limit_w // parts),
            operation_mode="ExternalSetpoint",
        ),
        msgspec.structs.replace(after, start_period=seconds_left),
    )


def _import_limit(signal: GridSignal) -> float | None:
    """Return the import limit, None where the signal has none."""
    return None if signal.site_import_limit_w >= MOST_W else float(signal.site_import_limit_w)


def _start_ms(now_ms: int) -> int:
    return max(0, now_ms - CLOCK_SLACK_MS) // 1000 * 1000


def limit_start_ms(now_ms: int) -> int:
    """Return when a schedule of limits without prices begins, so that any station's clock is past it (UTC)."""
    return max(0, now_ms - LIMIT_SLACK_MS) // 1000 * 1000


def _profile(
    signal: GridSignal,
    profile_id: int,
    purpose: str,
    periods: tuple[ChargingSchedulePeriod, ...],
    now_ms: int,
    transaction_id: str | None = None,
    duration: int | None = None,
) -> ChargingProfile:
    schedule = ChargingSchedule(
        id=signal.version & 0x7FFFFFFF,
        start_schedule=format_time(limit_start_ms(now_ms) if transaction_id is None else _start_ms(now_ms)),
        duration=duration,
        charging_rate_unit="W",
        charging_schedule_period=periods,
    )
    return ChargingProfile(
        id=profile_id,
        stack_level=SIGNAL_LEVEL,
        charging_profile_purpose=purpose,  # type: ignore[arg-type]  # one of the literal names above
        charging_profile_kind="Absolute",
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )


FIRST_ID: Final = 1_000_000_000
LAST_ID: Final = 1_000_999_999

SITE_PROFILE: Final = FIRST_ID + 1
"""The grid signal's import limit, of a whole station."""
DEFAULT_PROFILE: Final = FIRST_ID + 2
"""The grid signal's limits, for each transaction without its own."""
WAITING_PROFILE: Final = FIRST_ID + 3
"""The limit of a balanced site, for each transaction without a share."""
SIGNAL_EXPORT: Final = FIRST_ID + 4
"""The grid signal's export limit at a station of OCPP 2.0.1, which has it in no profile."""
GENERATED: Final = FIRST_ID + 5
"""What sources at a station generate themselves, in no profile of this back end."""
OFFLINE_PROFILE: Final = FIRST_ID + 6
"""The limit of a station that is offline (2.1), below that of the grid signal."""
TRANSACTION_PROFILE: Final = FIRST_ID + 100_000
"""Plus the EVSE: the grid signal's limits or the prices of a transaction."""
SHARE_PROFILE: Final = FIRST_ID + 200_000
"""Plus the EVSE: a share of a balanced site."""
DISPATCH_PROFILE: Final = FIRST_ID + 300_000
"""Plus the EVSE: a set-point of dispatch."""

SIGNAL_LEVEL: Final = 0
SHARE_LEVEL: Final = 1
DISPATCH_LEVEL: Final = 2

LONGEST_SETPOINT_MS: Final = 86_400_000
"""The longest validity of a set-point of dispatch (`balancing.dispatch_duration_s`)."""


def is_own(profile: ChargingProfile) -> bool:
    """Return whether a profile has an id of this back end's own."""
    return FIRST_ID <= profile.id <= LAST_ID


def is_of_signal(profile: ChargingProfile) -> bool:
    """Return whether a profile carries a grid signal, or prices."""
    return (
        profile.id in (SITE_PROFILE, DEFAULT_PROFILE, OFFLINE_PROFILE)
        or TRANSACTION_PROFILE <= profile.id < SHARE_PROFILE
    )


def is_former(profile: ChargingProfile, signal_version: int | None) -> bool:
    """Return whether version 0.1 put a profile: its ids 1, 2 and 200. Those of its transactions ended with them."""
    place = profile.id, profile.charging_profile_purpose, profile.stack_level
    schedule = profile.charging_schedule[0]
    if place == (200, "TxDefaultProfile", SHARE_LEVEL):
        return schedule.id == 200
    if place not in ((1, "ChargingStationMaxProfile", SIGNAL_LEVEL), (2, "TxDefaultProfile", SIGNAL_LEVEL)):
        return False
    return schedule.id == signal_version or schedule.charging_schedule_period[0].limit == MOST_W


def check_operators(held: Iterable[tuple[int, ChargingProfile]], evse_id: int, profile: ChargingProfile) -> None:
    """Refuse an operator's profile in an own place. Raises RefusedError (`reserved_id`, `reserved_level`).

    `held`: what its station holds, by EVSE. Levels 0 to 2 are free where no own profile is.
    """
    check_operators_id(profile.id)
    for own in in_the_way(held, evse_id, profile):
        raise RefusedError(
            f"stack level {own.stack_level} of a {own.charging_profile_purpose} is taken by the back end's own profile"
            f" {own.id}",
            reason="reserved_level",
            hint=f"choose {DISPATCH_LEVEL + 1} or above; the profile then applies instead of the back end's own",
        )


def check_distinct(
    held: Iterable[tuple[int, ChargingProfile]], evse_id: int, wanted: ChargingProfile, now_ms: int
) -> None:
    """Refuse a profile beside another of its purpose and level that is valid at the same time.

    Raises RefusedError (`place_taken`). One with the same id is replaced (K01.FR.05).
    """
    for at_evse, other in held:
        same = (other.charging_profile_purpose, other.stack_level, other.transaction_id) == (
            wanted.charging_profile_purpose, wanted.stack_level, wanted.transaction_id,
        )  # fmt: skip
        if not same or other.id == wanted.id:
            continue
        if wanted.charging_profile_purpose == "TxProfile":
            rule = "K01.FR.39"
        elif at_evse == evse_id:
            rule = "K01.FR.06"
        elif wanted.charging_profile_purpose == "TxDefaultProfile" and 0 in (at_evse, evse_id):
            rule = "K01.FR.53" if evse_id else "K01.FR.52"
        else:
            continue
        begins, ends = _validity(wanted, now_ms)
        other_begins, other_ends = _validity(other, now_ms)
        if max(begins, other_begins) < min(ends, other_ends):
            raise RefusedError(
                f"the station holds profile {other.id} ({other.charging_profile_purpose}) on stack level"
                f" {other.stack_level} of EVSE {at_evse} ({rule})",
                reason="place_taken",
                hint="use its id to replace it, clear it (ClearChargingProfile), or choose another level",
            )


def _validity(profile: ChargingProfile, now_ms: int) -> tuple[float, float]:
    """Return from when, at the earliest now, and until when a profile is valid (UTC ms)."""
    begins = now_ms if profile.valid_from is None else max(now_ms, parse_time(profile.valid_from))
    return begins, math.inf if profile.valid_to is None else parse_time(profile.valid_to)


def check_operators_id(profile_id: int) -> None:
    """Refuse an id of the back end's own profiles. Raises RefusedError (`reserved_id`)."""
    if FIRST_ID <= profile_id <= LAST_ID:
        raise RefusedError(
            f"profile id {profile_id} is reserved for the back end's own profiles",
            reason="reserved_id",
            hint=f"ids {FIRST_ID} to {LAST_ID} are taken by grid signal, sites and dispatch: choose a lower one",
        )


def in_the_way(
    held: Iterable[tuple[int, ChargingProfile]], evse_id: int, wanted: ChargingProfile
) -> Iterator[ChargingProfile]:
    """Yield the profiles of others, by EVSE, whose purpose, level and place an own one would take; or the own ones.

    K01.FR.06, FR.39, FR.52, FR.53: a station then has to reject it.
    """
    for at_evse, other in held:
        if (
            is_own(other) != is_own(wanted)
            and other.charging_profile_purpose == wanted.charging_profile_purpose
            and other.stack_level == wanted.stack_level
            and other.transaction_id == wanted.transaction_id
            and (at_evse == evse_id or 0 in (at_evse, evse_id))
        ):
            yield other


class StationAbilities:
    """What a station lacks, until it boots with other firmware, and whether its profiles are known, until it boots."""

    def __init__(self) -> None:
        self._lacking: defaultdict[str, set[str]] = defaultdict(set)
        self._read: dict[str, bool] = {}

    def lack(self, station_id: str, what: str) -> None:
        """Note that a station answers a request with NotImplemented, NotSupported or UnknownVendorId."""
        self._lacking[station_id].add(what)

    def has(self, station_id: str, what: str) -> bool:
        """Return whether a request may be worth sending."""
        return what not in self._lacking.get(station_id, ())

    def note_read(self, station_id: str, *, whole: bool) -> None:
        """Note that a station has reported its profiles, and whether all of them."""
        self._read[station_id] = whole

    def is_whole(self, station_id: str) -> bool:
        """Return whether all profiles of a station are known since it booted."""
        return self._read.get(station_id, False)

    def is_read(self, station_id: str) -> bool:
        """Return whether a station has reported its profiles since it booted."""
        return station_id in self._read

    def forget(self, station_id: str, *, firmware_changed: bool) -> None:
        """Forget what a boot may have changed."""
        self._read.pop(station_id, None)
        if firmware_changed:
            self._lacking.pop(station_id, None)
