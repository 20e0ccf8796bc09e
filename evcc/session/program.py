"""The vehicle's plan for the session: charge, discharge and wait, one step after the other.

`advance` moves the plan on by battery state and clock; `power_request` converts the running step into
power limits. Both are pure: the progress is a value.
"""

from typing import Final

import msgspec

from evcc.policy.planner import Storage
from evcc.policy.policy import AT_MINIMUM_SOC, CYCLES_SPENT, DEPARTURE, Permit
from evcc.session.context import Context
from evcc.session.ports import BatteryState
from evcc.session.settings import ProgramStep


class ProgramProgress(msgspec.Struct, frozen=True):
    """Position in the program: step `index` began at `since_ms` (`session_ms` of Context; UTC over a pause) with these
    counters. `ended`: why it is over."""

    index: int
    since_ms: int
    charged_mwh: int
    discharged_mwh: int
    ended: str = ""


class PowerRequest(msgspec.Struct, frozen=True):
    """The power that the vehicle requests now: maximum W in each direction.

    Both are above 0 only in a step `follow`, where the charger's set-point decides on the direction.
    """

    charge_w: int
    discharge_w: int


IDLE = PowerRequest(0, 0)


class PlannedProgram(msgspec.Struct, frozen=True):
    """Present output of a plan by prices: power (signed W), and whether all its energy has flowed.

    None if nothing is planned: then a step `plan` charges.
    """

    power_w: int | None = None
    over: bool | None = None


NOTHING_PLANNED: Final = PlannedProgram()


def begin(battery: BatteryState, session_ms: int, *, index: int = 0) -> ProgramProgress:
    """Return the progress of a program at the start of step `index`."""
    return ProgramProgress(index, session_ms, battery.charged_mwh, battery.discharged_mwh)


def advance(
    program: tuple[ProgramStep, ...],
    progress: ProgramProgress,
    battery: BatteryState,
    discharge: Permit,
    *,
    session_ms: int,
    left_ms: int,
    pays_later: bool,
    planned: PlannedProgram = NOTHING_PLANNED,
) -> ProgramProgress:
    """Return the progress after leaving every step whose end is reached.

    `session_ms` and `left_ms` are those of Context. `discharge` is the policy's present permit and `pays_later` whether
    a time with sufficient compensation is still to come: a discharge step without `for_s` does not wait for a time that
    never comes.
    """
    if progress.ended:
        return progress
    if left_ms <= 0:
        return msgspec.structs.replace(progress, ended="departure")
    while progress.index < len(program):
        step = program[progress.index]
        timed_out = step.for_s is not None and session_ms - progress.since_ms >= step.for_s * 1000
        over = (
            planned.over
            if step.do == "plan" and planned.over is not None
            else _is_over(step, progress, battery, discharge, pays_later=pays_later)
        )
        if not (timed_out or over):
            return progress
        progress = begin(battery, session_ms, index=progress.index + 1)
    return msgspec.structs.replace(progress, ended="program_finished")


def _is_over(
    step: ProgramStep, progress: ProgramProgress, battery: BatteryState, discharge: Permit, *, pays_later: bool
) -> bool:
    if step.do == "wait":
        return step.for_s is None  # nothing to wait for
    if step.do == "follow":
        return False  # the charger decides, until departure
    if step.do in ("charge", "plan"):
        moved = battery.charged_mwh - progress.charged_mwh
        reached = battery.soc >= (100.0 if step.until_soc is None else step.until_soc)
        return reached or (step.energy_wh is not None and moved >= step.energy_wh * 1000)
    moved = battery.discharged_mwh - progress.discharged_mwh
    if step.energy_wh is not None and moved >= step.energy_wh * 1000:
        return True
    if step.until_soc is not None and battery.soc <= step.until_soc:
        return True
    if discharge.reason in (AT_MINIMUM_SOC, DEPARTURE, CYCLES_SPENT):
        return True
    return bool(discharge.reason) and step.for_s is None and not pays_later


def power_request(
    program: tuple[ProgramStep, ...],
    progress: ProgramProgress,
    battery: BatteryState,
    discharge: Permit,
    *,
    charge_w: int,
    planned: PlannedProgram = NOTHING_PLANNED,
) -> PowerRequest:
    """Return the power of the running step, limited by `charge_w` and by the policy's permit."""
    if progress.ended or progress.index >= len(program) or battery.fault:
        return IDLE
    step = program[progress.index]
    if step.do == "plan" and planned.power_w is not None:
        most = step.power_w or abs(planned.power_w)
        if planned.power_w >= 0:
            return PowerRequest(min(charge_w, battery.max_charge_w, planned.power_w, most), 0)
        return PowerRequest(0, min(discharge.power_w, battery.max_discharge_w, -planned.power_w, most))
    if step.do in ("charge", "plan"):
        return PowerRequest(min(charge_w, battery.max_charge_w, step.power_w or charge_w), 0)
    given_w = min(discharge.power_w, battery.max_discharge_w, step.power_w or discharge.power_w)
    if step.do == "discharge":
        return PowerRequest(0, given_w)
    if step.do == "follow":
        return PowerRequest(min(charge_w, battery.max_charge_w, step.power_w or charge_w), given_w)
    return IDLE


def charges_before_discharge(program: tuple[ProgramStep, ...], progress: ProgramProgress) -> bool:
    """Return whether the program charges, now or later, before its next discharge step."""
    for step in program[progress.index :]:
        if step.do == "discharge":
            return False
        if step.do in ("charge", "plan", "follow"):
            return True
    return False


def wants_plan(program: tuple[ProgramStep, ...]) -> bool:
    """Return whether the program plans by prices."""
    return any(step.do == "plan" for step in program)


def storage(context: Context) -> Storage:
    """Return the battery and the driver's needs, with charging losses included."""
    battery, needs, config = context.battery, context.config.needs, context.config

    def energy(soc: float) -> int:
        return int(battery.capacity_wh * soc / 100)

    def drawn(soc: float) -> int:
        """Return the energy for a state of charge including the losses of charging; present energy has no losses."""
        missing = energy(soc) - present
        return present + (int(missing * losses) if missing > 0 else missing)

    present = energy(battery.soc)
    losses = 1 + config.planning.losses_percent / 100
    floor = config.discharge.minimum_soc
    if config.discharge.departure_soc is not None:
        floor = max(floor, config.discharge.departure_soc)
    return Storage(
        energy_wh=present,
        capacity_wh=max(present, battery.capacity_wh),
        target_wh=drawn(needs.target_soc),
        minimum_wh=drawn(needs.minimum_soc),
        reserve_wh=energy(floor),
        wear=float(config.planning.wear),
    )
