"""Set-points for vehicles, profiles that carry them, and reports of DER controls.

Powers are W, positive into the vehicle, negative out of it.
"""

from collections.abc import Iterator, Mapping

import msgspec

from csms.smart_charging.rules import DISPATCH_LEVEL, DISPATCH_PROFILE
from v2g.energy.grid_signal import ALL, ConnectionPoint
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.der_control import MEMBERS, ReportDERControlRequest, SetDERControlRequest
from v2g.ocpp.messages.smart_charging import ChargingScheduleUpdate
from v2g.ocpp.times import format_time


def dispatch_profile(
    evse_id: int,
    setpoint_w: int,
    mode: str,
    now_ms: int,
    transaction_id: str,
    *,
    duration_s: int,
    pull_interval_s: int | None = None,
) -> ChargingProfile:
    """Return the dynamic profile that puts a transaction under central control (Q04, Q07).

    It expires `duration_s` after the last update, so that a vehicle does not follow an abandoned set-point.
    """
    period = ChargingSchedulePeriod(start_period=0, setpoint=float(setpoint_w), operation_mode=mode)  # type: ignore[arg-type]
    schedule = ChargingSchedule(
        id=DISPATCH_PROFILE + evse_id, duration=duration_s, charging_rate_unit="W", charging_schedule_period=(period,)
    )
    return ChargingProfile(
        id=DISPATCH_PROFILE + evse_id,
        stack_level=DISPATCH_LEVEL,
        charging_profile_purpose="TxProfile",
        charging_profile_kind="Dynamic",
        transaction_id=transaction_id,
        dyn_update_interval=pull_interval_s,
        dyn_update_time=format_time(now_ms),
        charging_schedule=(schedule,),
    )


def setpoint_update(setpoint_w: int) -> ChargingScheduleUpdate:
    """Return the values of a dynamic profile that carries a set-point."""
    return ChargingScheduleUpdate(setpoint=float(setpoint_w))


def reported(report: ReportDERControlRequest) -> Iterator[tuple[SetDERControlRequest, bool]]:
    """Yield each control of a report as it was set, and whether it is superseded."""
    for curve in report.curve:
        control = SetDERControlRequest(
            is_default=curve.is_default, control_id=curve.id, control_type=curve.curve_type, curve=curve.curve
        )
        yield control, curve.is_superseded
    for kind, member in MEMBERS.items():
        for held in getattr(report, member):
            value = getattr(held, member.removesuffix("_absorb").removesuffix("_inject"))
            default = getattr(held, "is_default", True)  # two kinds are always defaults, and never superseded
            control = SetDERControlRequest(is_default=default, control_id=held.id, control_type=kind, **{member: value})
            yield control, getattr(held, "is_superseded", False)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A set-point (W, positive into the vehicles) for the vehicles of some stations, of all when None.

    `until_ms`: when it expires without renewal (UTC). `parts`: each vehicle's own set-point, by its name in plans; then
    nothing is split, and vehicles without one get none. `fleet`: whose plan they follow, `planned_w`: what it says.
    `evses`: those behind its connection point, as `STATION/EVSE`; None for all of its stations. `source`: the grid
    source that commands it, if any.
    """

    setpoint_w: int
    stations: frozenset[str] | None
    frequency: bool
    pull_s: int | None
    until_ms: int
    parts: Mapping[str, int] | None = None
    fleet: str = ""
    planned_w: int = 0
    connection_point: ConnectionPoint = ALL
    evses: frozenset[str] | None = None
    source: str = ""

    def concerns(self, station_id: str) -> bool:
        """Return whether it applies to a station."""
        return self.stations is None or station_id in self.stations

    def meets(self, other: "Order") -> bool:
        """Return whether both may be for the same vehicle: the later one counts."""
        if self.evses is not None and other.evses is not None:
            return bool(self.evses & other.evses)
        return self.stations is None or other.stations is None or bool(self.stations & other.stations)


class Orders:
    """What this node knows of the vehicles that it has sent set-points. The set-points in force are in the store."""

    def __init__(self) -> None:
        self.unsure: set[tuple[str, str]] = set()
        """Stations and transactions whose answer was lost: unknown whether they received their part."""
        self.noted_ms = 0
        """The minute (UTC) up to which their course is stored."""
