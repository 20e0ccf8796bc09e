"""From the grid operator's signal to the charging profiles of a station (use cases K01, K15, K19, Q01, Q02).

A profile's id is fixed by its purpose and EVSE, so that a newer one replaces the older (K01.FR.05). In OCPP 2.1
vehicles that requested bidirectional transfer run in `ExternalSetpoint`: vehicle and charger agree on the power
themselves, inside `limit` and `dischargeLimit`. Nothing but charging is allowed once a signal has run out.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from v2g.grid.tariff import GridSignal
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsRequest
from v2g.ocpp.messages.smart_charging import SetChargingProfileRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time

_STATION_PROFILE, _DEFAULT_PROFILE, _FIRST_TRANSACTION_PROFILE = 1, 2, 100

_CLOCK_SLACK_MS: Final = 60_000
"""How far a station's clock may be behind: schedules begin that long ago, so that they are in force on arrival."""

BIDIRECTIONAL: Final = frozenset({"AC_BPT", "AC_BPT_DER", "DC_BPT", "DC_ACDP_BPT"})
"""Energy transfer modes in which energy may flow back."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle said in NotifyEVChargingNeeds. `max_periods`: the most schedule periods it can take (0: any).

    `energy_wh` it wants until `departure_ms` (UTC); currents in mA on each phase, powers in W. 0 and None: not said.
    `priority` is raised while its driver uses priority charging (K21, K22).
    """

    evse_id: int
    requested: str
    max_periods: int = 0
    energy_wh: int = 0
    departure_ms: int | None = None
    least_ma: int = 0
    most_ma: int = 0
    most_w: int = 0
    most_discharge_w: int = 0
    soc: int | None = None
    dynamic: bool = False
    priority: int = 0

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back."""
        return self.requested in BIDIRECTIONAL


def needs_of(request: NotifyEVChargingNeedsRequest) -> Needs:
    """Return what a vehicle wants, from AC, DC or V2X parameters, whichever it gave (K15.FR.06, K17.FR.06)."""
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
            most_w=_whole(both.max_charge_power or 0),
            most_discharge_w=_whole(abs(both.max_discharge_power or 0)),
        )
    return found


def _whole(number: float) -> int:
    """Return a quantity as a whole number, within what any vehicle has."""
    return int(max(0.0, min(float(number), 1e9)))


def answer_needs(needs: Needs, allowed: Iterable[str], *, has_signal: bool, version: Version) -> str:
    """Return the status of NotifyEVChargingNeedsResponse. `allowed`: modes of the contract; empty means any.

    A mode outside the contract is Rejected (K19.FR.15, Q01.FR.04); 2.0.1 cannot name modes beyond plain charging.
    """
    allowed = tuple(allowed)
    if allowed and version == "2.1" and needs.requested not in allowed:
        return "Rejected"
    if has_signal:
        return "Accepted"
    return "NoChargingProfile" if version == "2.1" else "Rejected"  # K19.FR.04, K15.FR.04


def station_profiles(signal: GridSignal, version: Version, now_ms: int) -> list[SetChargingProfileRequest]:
    """Return what a station is told whatever transactions it has: the site's limit, and in 2.1 each one's default."""
    site = _profile(signal, _STATION_PROFILE, "ChargingStationMaxProfile", _charging_only(signal), now_ms)
    requests = [SetChargingProfileRequest(evse_id=0, charging_profile=site)]
    if version == "2.1":
        default = _profile(signal, _DEFAULT_PROFILE, "TxDefaultProfile", _two_way(signal, now_ms), now_ms)
        requests.append(SetChargingProfileRequest(evse_id=0, charging_profile=default))
    return requests


def transaction_profile(
    signal: GridSignal, version: Version, now_ms: int, transaction_id: str, needs: Needs
) -> SetChargingProfileRequest:
    """Return the profile of a transaction whose vehicle has told its needs (K15.FR.07, K19.FR.07, Q02.FR.01)."""
    two_way = needs.bidirectional and version == "2.1"
    periods = _two_way(signal, now_ms) if two_way else _charging_only(signal)
    duration = None
    if 0 < needs.max_periods < len(periods):  # then the default profile takes over where this one ends
        duration = periods[needs.max_periods].start_period
        periods = periods[: needs.max_periods]
    profile_id = _FIRST_TRANSACTION_PROFILE + needs.evse_id
    profile = _profile(signal, profile_id, "TxProfile", periods, now_ms, transaction_id, duration)
    return SetChargingProfileRequest(evse_id=needs.evse_id, charging_profile=profile)


def _charging_only(signal: GridSignal) -> tuple[ChargingSchedulePeriod, ...]:
    return (ChargingSchedulePeriod(start_period=0, limit=float(signal.site_import_limit_w)),)


def _two_way(signal: GridSignal, now_ms: int) -> tuple[ChargingSchedulePeriod, ...]:
    seconds_left = (signal.valid_until_ms - _start_ms(now_ms)) // 1000
    limit = float(signal.site_import_limit_w)
    if signal.valid_until_ms <= now_ms:
        return (ChargingSchedulePeriod(start_period=0, limit=limit, operation_mode="ChargingOnly"),)
    return (
        ChargingSchedulePeriod(
            start_period=0,
            limit=limit,
            discharge_limit=-float(signal.export_limit_w),
            operation_mode="ExternalSetpoint",
        ),
        ChargingSchedulePeriod(start_period=seconds_left, limit=limit, operation_mode="ChargingOnly"),
    )


def _start_ms(now_ms: int) -> int:
    return max(0, now_ms - _CLOCK_SLACK_MS) // 1000 * 1000


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
        start_schedule=format_time(_start_ms(now_ms)),
        duration=duration,
        charging_rate_unit="W",
        charging_schedule_period=periods,
    )
    return ChargingProfile(
        id=profile_id,
        stack_level=0,
        charging_profile_purpose=purpose,  # type: ignore[arg-type]  # one of the literal names above
        charging_profile_kind="Absolute",
        transaction_id=transaction_id,
        charging_schedule=(schedule,),
    )
