"""A plan: the power of each vehicle over time, what the site then draws, and why a vehicle gets nothing."""

import bisect
from enum import StrEnum
from typing import Final

import msgspec

from v2g.energy.limits import Limit


class Reason(StrEnum):
    """Why a vehicle has no power in a plan, or less than it wants."""

    NONE = ""
    AT_TARGET = "at_target"
    ABSENT = "absent"
    NO_POWER = "no_power"
    TEMPERATURE = "temperature"
    DEPARTS_TOO_SOON = "departs_too_soon"
    SITE_LIMIT = "site_limit"


REASONS: Final = {
    Reason.NONE: "gets what it needs",
    Reason.AT_TARGET: "has its target, and no trade pays",
    Reason.ABSENT: "is not connected within the plan",
    Reason.NO_POWER: "accepts no power",
    Reason.TEMPERATURE: "accepts no power at the forecast temperatures",
    Reason.DEPARTS_TOO_SOON: "departs before its target can be reached at full power",
    Reason.SITE_LIMIT: "shares a site limit that does not suffice for all",
}


class Method(StrEnum):
    """How a plan was found."""

    OPTIMAL = "optimal"
    BOUNDED = "bounded"
    AT_ONCE = "at_once"


class VehiclePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's power in each period while it is connected (W), and the energy in its battery after it (Wh).

    `shortfall_wh`: of the target at departure, or at the end of the plan of what is needed there to reach it.
    """

    id: str
    power_w: tuple[int, ...]
    energy_wh: tuple[int, ...]
    shortfall_wh: int = 0
    reason: Reason = Reason.NONE


class DispatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Powers of all vehicles, in the order of the problem.

    `grid_w`: at the grid connection in each period, negative if fed in, if all vehicles draw what is planned.
    `curtailed_w`: of the generation. `excess_w`: by which the site's own load exceeds its limit. `method`: `bounded`
    plans cost at most `gap_micro` more than the best possible one; `at_once` is the fall-back without optimisation.
    """

    edges_ms: tuple[int, ...]
    """Starts of the periods, and the end of the last one."""
    vehicles: tuple[VehiclePlan, ...]
    grid_w: tuple[int, ...]
    curtailed_w: tuple[int, ...]
    excess_w: tuple[int, ...]
    method: Method
    gap_micro: int = 0

    def vehicle(self, vehicle_id: str) -> VehiclePlan | None:
        """Return a vehicle's part, None if it has none."""
        return next((each for each in self.vehicles if each.id == vehicle_id), None)

    def index(self, utc_ms: int) -> int | None:
        """Return the number of the period at a time, None outside of the plan."""
        index = bisect.bisect_right(self.edges_ms, utc_ms) - 1
        return index if 0 <= index < len(self.edges_ms) - 1 else None

    def power_w(self, vehicle_id: str, utc_ms: int) -> int | None:
        """Return the power planned for a vehicle at a time; None without one: no set-point, not 0 W."""
        part, index = self.vehicle(vehicle_id), self.index(utc_ms)
        return None if part is None or index is None else part.power_w[index]


class PlanFollower:
    """Turns a plan's power into a set-point without chatter at the reserve.

    Discharging ends when the battery is at its reserve, and only starts again `margin_wh` above it.
    """

    def __init__(self, *, reserve_wh: int, margin_wh: int) -> None:
        self._reserve_wh, self._margin_wh = reserve_wh, margin_wh
        self._resting = False

    def setpoint_w(self, planned_w: int | None, energy_wh: int, limit: Limit, utc_ms: int) -> int:
        """Return the power for now (W): the planned one within the vehicle's limits. Nothing planned is 0 W.

        The sign of the planned power never changes: 0 W stays 0 W.
        """
        if energy_wh <= self._reserve_wh:
            self._resting = True
        elif energy_wh >= self._reserve_wh + self._margin_wh:
            self._resting = False
        if not planned_w:
            return 0
        if planned_w > 0:
            return min(planned_w, limit.charge_w)
        return 0 if self._resting else -min(-planned_w, limit.discharge_at(utc_ms))
