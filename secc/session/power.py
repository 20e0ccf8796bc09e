"""Amount and direction of power: the one place that combines limits, schedules, set points and signatures.

The most restrictive bound wins in each direction, and its source is kept (`EffectiveLimits`). Sources are those of
`v2g.energy.limits`, the source of the set point (`csms`, `frequency`), and the names below.
"""

from typing import Final, Literal

from msgspec.structs import replace

from secc.session.config import ControlMode
from secc.session.ports import Output, RecordMeter, ReportLimits, SetAcOutput, SetOutput, SetWptOutput
from secc.session.request_context import RequestContext
from secc.session.stages import Charging, Selected, Vehicle
from v2g.energy.conductors import fill, line_current_ma, line_power_w
from v2g.energy.grid_support import covers
from v2g.energy.limits import VEHICLE, EffectiveLimits, GridResponse, Setpoint
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.services import DER_SCHEMAS
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe, Scalar
from v2g.safety.excess import microseconds
from v2g.safety.flow import ALTERNATING, Margin

SERVICE: Final = "service"
"""The selected service lets no power flow back."""
SIGNATURE: Final = "signature"
"""No command for more discharge is signed."""
NO_SETPOINT: Final = "no_setpoint"
"""Nobody has requested discharge."""
DIRECTION: Final = "direction"
"""Power is to flow in the other direction."""
SCHEDULE: Final = "schedule"
"""The schedule that the vehicle has chosen."""
GRID_RESPONSE: Final = "grid_response"
"""Frequency or voltage of the grid."""
GRID_SUPPORT: Final = "no_grid_support"
"""The vehicle does not apply what the grid demands of its inverter."""
RAMP: Final = "ramp"
"""The gradient by which power may rise."""
DIRECTION_CHANGE: Final = "direction_change"
"""The dead time after power in the other direction."""
_LOW_VOLTAGE: Final = 0.95
"""Of the nominal one, above which the tolerance of a current covers that a power is a larger one."""
_NO_MAINS: Final = 0.5
"""Of the nominal one, below which the contactor is open, or inverters carry no current (EN 50549-1, zero current)."""
_DIRECT: Final = (Family.DC, Family.ACDP)
"""Here the power electronics are the charger's; with alternating current the vehicle's turn around."""
STANDBY, ENDING, INTERRUPTED, NOT_READY, OBSTACLE = (
    "standby", "session_ends", "vehicle_interrupts", "vehicle_not_ready", "obstacle",
)  # fmt: skip
"""Why no power flows at all, beside `Charging.halted`."""


def choose_output(stage: Charging, context: RequestContext) -> tuple[Output, EffectiveLimits]:
    """Return the present output for the hardware, and the limits that it results from, with their sources.

    Charge and discharge never exceed the limits of vehicle, charger, site and operator (V2G20-2188), nor, under a
    schedule, the chosen tuple. Discharge needs a valid signed command if the session requires it. No power flows
    without a running loop, nor after a request to end the session, nor against a direction in which it has just flowed.
    """
    selected = stage.selected
    dynamic = selected.control_mode is ControlMode.DYNAMIC
    closed = _closed(stage, context)
    if closed:
        powers = context.station.at_most(closed, 0, 0)
    elif dynamic:
        powers = _slewed(_dynamic_powers(stage, context), stage, context)
    else:
        asked_w = stage.asked_mv * stage.asked_ma // 1_000_000 if selected.family in _DIRECT else None
        powers = _slewed(_bounded(_scheduled_powers(stage, context), asked_w, context.facts.response), stage, context)
    charge_w, discharge_w = powers.charge_w, powers.discharge_w
    if selected.family is Family.WPT:
        return SetWptOutput(charge_w=charge_w, power_w=min(stage.asked_w, charge_w)), powers
    if selected.family is Family.AC:
        vehicle, (most_ma, _), (least_ma, _) = (
            stage.vehicle,
            powers.charge_line or (0, ""),
            powers.discharge_line or (0, ""),
        )
        output = SetAcOutput(
            charge_w=charge_w,
            discharge_w=discharge_w,
            power_w=charge_w - discharge_w if dynamic or closed else None,
            charge_ma=min(most_ma, vehicle.max_charge_ma) if charge_w else 0,
            discharge_ma=min(least_ma, vehicle.max_discharge_ma) if discharge_w else 0,
            lines=used_lines(vehicle, context),
        )
        return output, powers
    make = _output if dynamic or (closed and not stage.asked_mv) else _scheduled
    direct = make(stage, context, charge_w=charge_w, discharge_w=discharge_w)
    if not context.turning or direction(direct) != context.turning:
        return direct, powers
    charge, discharge = {1: (0, None), -1: (None, 0)}[context.turning]
    # the vehicle keeps its limits: it must not plan as if there were none any more
    return replace(direct, current_ma=0), powers.at_most(DIRECTION_CHANGE, charge, discharge)


def direction(output: Output) -> int:
    """Return the direction of energy: 1 charge, -1 discharge, 0 none.

    An AC vehicle that follows a schedule by itself may always charge.
    """
    wanted = output.current_ma if isinstance(output, SetOutput) else output.power_w
    if wanted is None:
        wanted = output.charge_w or -1
    if wanted > 0 and output.charge_w:
        return 1
    return -1 if wanted < 0 and output.discharge_w else 0


def _closed(stage: Charging, context: RequestContext) -> str:
    """Return why no power may flow, or an empty string."""
    if context.stopping:
        return ENDING
    if stage.halted:
        return stage.halted
    if stage.standby:
        return STANDBY
    if stage.selected.family is Family.WPT:
        return OBSTACLE if context.facts.device.trouble else ""
    if stage.held:
        return INTERRUPTED
    return "" if context.ready else NOT_READY


def permitted(selected: Selected, vehicle: Vehicle, context: RequestContext) -> EffectiveLimits:
    """Return the limits of vehicle, charger, site and operator; for discharge also those of service and signature."""
    powers = over_lines(context.station, vehicle, context)
    powers = powers.at_most(VEHICLE, *vehicle.most_w(used_lines(vehicle, context)))
    if not selected.bidirectional:
        return powers.at_most(SERVICE, discharge_w=0)
    # the vehicle's grid code beside the site's: what it has selected must be all that is demanded now
    demanded = context.grid_support.functions if context.config.der and selected.family is Family.AC else ()
    fits = covers(selected.functions, demanded) if selected.service in DER_SCHEMAS else not demanded
    if not (vehicle.may_feed and fits):
        return powers.at_most(GRID_SUPPORT, discharge_w=0)
    if selected.signed_discharge:
        return powers.at_most(SIGNATURE, discharge_w=context.signed_w)
    return powers.at_most(SIGNATURE, discharge_w=0) if context.config.signed_discharge.required else powers


def over_lines(powers: EffectiveLimits, vehicle: Vehicle, context: RequestContext) -> EffectiveLimits:
    """Return the limits of a vehicle by the conductors that it uses: as many as it has said, or more if these are
    measured to carry current, of those in use. With direct current they stay."""
    if not vehicle.phases:
        return powers
    rating, measured = context.config.ac_rating, context.facts.measured.currents
    carrying = 0 if measured is None else len(measured.carrying)
    lines = min(max(vehicle.phases, min(carrying, rating.phases)), context.facts.lines)
    return powers.over(lines, line_v(context))


def used_lines(vehicle: Vehicle, context: RequestContext) -> int:
    """Return how many line conductors a vehicle uses of those in use: what is sent of each phase is for these."""
    return min(vehicle.phases, context.facts.lines)


def line_v(context: RequestContext) -> int:
    """Return V between a line and the neutral at which a power is so much current: those of the rating, or the measured
    ones where these are low, as the same power is a larger current there."""
    volts, nominal_v = context.facts.measured.voltage_mv // 1000, context.config.ac_rating.nominal_voltage_v
    return volts if _NO_MAINS * nominal_v <= volts < _LOW_VOLTAGE * nominal_v else nominal_v


def line_ma(power_w: int, most: tuple[int, str] | None, lines: int, context: RequestContext) -> int:
    """Return the current of each of so many conductors, mA: at a power, and within the limit of a conductor."""
    current_ma = line_current_ma(power_w, line_v(context), lines)
    return current_ma if most is None else min(most[0], current_ma)


def on_lines(power_w: int, most_ma: int, vehicle: Vehicle, context: RequestContext) -> tuple[int, ...]:
    """Return the parts of a power (W, signed) on the conductors in use: equal, but where those of the vehicle differ
    within what it has stated for each, and the limit of a conductor (mA)."""
    lines, sign = max(1, used_lines(vehicle, context)), 1 if power_w > 0 else -1
    bounds_w = vehicle.line_w(charge=power_w > 0)[:lines]
    if len(set(bounds_w)) <= 1:
        return (sign * (abs(power_w) // lines),) * lines
    most_w = line_power_w(most_ma, line_v(context), 1)
    return tuple(sign * part for part in fill(abs(power_w), [min(each, most_w) for each in bounds_w]))


def _dynamic_powers(stage: Charging, context: RequestContext) -> EffectiveLimits:
    """Return W of charge and of discharge, one of which is 0."""
    powers = most = permitted(stage.selected, stage.vehicle, context)
    if context.setpoint is not None:
        powers = towards(context.setpoint, powers)
    elif not stage.selected.signed_discharge or stage.vehicle.cycled:  # the charger decides
        powers = powers.at_most(NO_SETPOINT, discharge_w=0)
    if powers.discharge_w:
        powers = powers.at_most(DIRECTION, charge_w=0)
    planned_w = powers.charge_w - powers.discharge_w
    power_w = most.clamp(context.facts.response.bend(planned_w))
    if power_w == planned_w:
        return powers
    charge_w, discharge_w = max(0, power_w), max(0, -power_w)
    return replace(
        most,
        charge_w=charge_w,
        discharge_w=discharge_w,
        charge_source=most.charge_source if charge_w == most.charge_w else GRID_RESPONSE,
        discharge_source=most.discharge_source if discharge_w == most.discharge_w else GRID_RESPONSE,
    )


def _scheduled_powers(stage: Charging, context: RequestContext) -> EffectiveLimits:
    """Return the maximum W in each direction by the present entry of the chosen tuple."""
    chosen = stage.chosen
    assert chosen is not None
    powers = permitted(stage.selected, stage.vehicle, context).at_most(
        SCHEDULE, chosen.charge_w(context.utc_ms), chosen.discharge_w(context.utc_ms)
    )
    # obeyed at once, before the vehicle has agreed on another schedule (K16.FR.11)
    return powers if context.setpoint is None else towards(context.setpoint, powers)


def towards(setpoint: Setpoint, powers: EffectiveLimits) -> EffectiveLimits:
    """Return the limits up to a set-point: none against its direction."""
    return powers.at_most(setpoint.source, setpoint.power_w, -setpoint.power_w)


def _bounded(powers: EffectiveLimits, planned_w: int | None, response: GridResponse) -> EffectiveLimits:
    """Return the corrected limits of a vehicle that controls its power itself, by schedule or on its own.

    The correction starts from its planned power; if that is unknown, from each limit.
    """
    upper = response.bend(powers.charge_w if planned_w is None else planned_w)
    lower = response.bend(-powers.discharge_w if planned_w is None else planned_w)
    if response.delta_w < 0:
        powers = powers.at_most(GRID_RESPONSE, charge_w=upper)
    elif response.delta_w > 0 or response.floor_w is not None:
        powers = powers.at_most(GRID_RESPONSE, discharge_w=-lower)
    if response.ceiling_w is not None:
        powers = powers.at_most(GRID_RESPONSE, charge_w=response.ceiling_w)
    if response.floor_w is not None:
        powers = powers.at_most(GRID_RESPONSE, discharge_w=-response.floor_w)
    return powers


FOLLOW_S: Final = 5.0
"""Time for an AC vehicle to follow a lower power (IEC 61851-1)."""

LEAD_S: Final = 1.0
"""How far (s) a limit that rises by a gradient may be ahead of the present power."""


def _slewed(powers: EffectiveLimits, stage: Charging, context: RequestContext) -> EffectiveLimits:
    """Return limits that rise no faster than the gradient; reductions take effect at once.

    They start from the last limits, and stay close to the power of a vehicle that draws less.
    """
    percent, before = context.facts.response.ramp_percent, stage.output
    if not percent:
        return powers
    seconds = 0.0 if before is None else max(0, context.utc_ms - stage.output_ms) / 1000
    last = (0, 0) if before is None else (before.charge_w, getattr(before, "discharge_w", 0))
    flows = (max(0, context.facts.measured.watts), max(0, -context.facts.measured.watts))
    slewed = []
    for last_w, flow_w, rated_w in zip(last, flows, context.config.power_rating(context.family), strict=True):
        rise = percent / 100 * rated_w
        slewed.append(int(min(last_w + rise * seconds, flow_w + rise * LEAD_S)))
    return powers.at_most(RAMP, *slewed)


def _scheduled(stage: Charging, context: RequestContext, *, charge_w: int, discharge_w: int) -> SetOutput:
    vehicle = stage.vehicle
    rating = context.config.rating
    most = min(rating.max_charge_current_a * 1000, vehicle.max_charge_ma)
    least = -min(rating.max_discharge_current_a * 1000, vehicle.max_discharge_ma)
    return SetOutput(
        voltage_mv=min(stage.asked_mv, vehicle.max_voltage_mv, rating.max_voltage_v * 1000),
        current_ma=max(least, min(most, stage.asked_ma)),
        charge_w=charge_w,
        discharge_w=discharge_w,
    )


def _output(stage: Charging, context: RequestContext, *, charge_w: int, discharge_w: int) -> SetOutput:
    vehicle, rating = stage.vehicle, context.config.rating
    if discharge_w:
        current = -min(vehicle.max_discharge_ma, rating.max_discharge_current_a * 1000)
    else:
        current = min(vehicle.max_charge_ma, rating.max_charge_current_a * 1000)
    return SetOutput(
        voltage_mv=min(vehicle.max_voltage_mv, rating.max_voltage_v * 1000),
        current_ma=current,
        charge_w=charge_w,
        discharge_w=discharge_w,
    )


_NAMES: Final = {1: "charging", 0: "idle", -1: "discharging"}


def apply_output(stage: Charging, context: RequestContext) -> tuple[Charging, tuple[Command | Observe, ...]]:
    """Return the stage with the present output, and the commands for the hardware.

    A lower limit reaches the hardware first and the journal afterwards.
    """
    output, limits = choose_output(stage, context)
    before = stage.output
    if context.facts.response.ramp_percent:
        stage = replace(stage, output_ms=context.utc_ms)
    commands: list[Command | Observe] = []
    if limits != stage.limits:
        known, stage = stage.limits, replace(stage, limits=limits)
        if known is None or (known.charge_source, known.discharge_source) != (
            limits.charge_source,
            limits.discharge_source,
        ):
            commands.append(ReportLimits(limits.charge_source, limits.discharge_source))
            commands.append(Observe("power", "limited", limited(limits)))
    if output == before:
        return stage, tuple(commands)
    commands.insert(0, output)
    if direction(output) != (direction(before) if before else 0):
        soc = stage.vehicle.soc
        commands.append(RecordMeter("direction", power_w=power(context), soc=soc))
        commands.append(Observe("power", "direction", {"direction": _NAMES[direction(output)]}))
    return replace(stage, output=output), tuple(commands)


def limited(limits: EffectiveLimits) -> dict[str, Scalar]:
    """Return the fields of events that show the permitted power, W, and what limits it."""
    return {
        "charge_limit_w": limits.charge_w,
        "charge_limited_by": limits.charge_source,
        "discharge_limit_w": limits.discharge_w,
        "discharge_limited_by": limits.discharge_source,
    }


def power(context: RequestContext) -> int:
    """Return the present power, W, signed."""
    return context.facts.measured.watts


def loop_event(stage: Charging, context: RequestContext) -> tuple[Observe, ...]:
    """Return the event of one loop, if such events are configured."""
    if not context.config.loop_events or stage.limits is None:
        return ()
    data: dict[str, Scalar] = {
        "power_w": power(context),
        "voltage_mv": context.facts.measured.voltage_mv,
        "current_ma": context.facts.measured.current_ma,
        **limited(stage.limits),
        "soc": stage.vehicle.soc,
        "notice": context.notice.notification if context.notice else None,
    }
    return (Observe("loop", "response", data),)


def overdraw(stage: Charging, context: RequestContext) -> tuple[Charging, int, Literal["", "warn", "fail"]]:
    """Return the stage, by how many W an AC vehicle exceeds its permitted power, and what follows from that.

    A lower power may be followed until it would be warned. What it then exceeds adds up, dips included.
    """
    output, rules = stage.output, context.config.profile
    assert isinstance(output, SetAcOutput)
    follow_s, power_w = min(FOLLOW_S, rules.warn_s), power(context)
    measured, sign = context.facts.measured, 1 if power_w >= 0 else -1
    own_w = stage.vehicle.line_w(charge=power_w >= 0)
    beyond_w = [  # of each conductor, where the vehicle has stated what it bears
        sign * current_ma * measured.voltage_mv // 1_000_000 - most_w
        for current_ma, most_w in zip(measured.currents or (), own_w, strict=False)
    ]
    if max(beyond_w, default=0) > 0:
        bound_w = output.charge_w if power_w >= 0 else output.discharge_w
        power_w = sign * max(abs(power_w), bound_w + max(beyond_w))
    sensor_w = max(1, min(ALTERNATING.sensor, rules.margin_w))
    margin = Margin(sensor=sensor_w, control=rules.margin_w - sensor_w)
    follow_us, now_us = microseconds(follow_s), microseconds(context.now)
    flow = stage.flow.then(
        power_w, output.charge_w, output.discharge_w, margin=margin, follow_us=follow_us, now_us=now_us
    )
    above_w = max(power_w - output.charge_w, -power_w - output.discharge_w)
    levels: tuple[tuple[Literal["fail", "warn"], float], ...] = (("fail", rules.fail_s), ("warn", rules.warn_s))
    found = (level for level, seconds in levels if flow.excess.lasts(microseconds(seconds - follow_s)))
    return replace(stage, flow=flow), above_w, next(found, "")


STILL_SHARE: Final = 200
"""Power below this part (1/x) of the charger's rating counts as none: the measuring error at rest."""
TIMER: Final = "turnaround"


class Turnaround:
    """When power last flowed at a charger of this rating, and in which direction: 1 is into the vehicle, -1 out of it.

    Both what is commanded and what is measured count: power electronics need time to follow a command.
    """

    def __init__(self, time: SessionTime, dead_s: float, rating_w: int) -> None:
        self._time, self._dead_s, self._still_w = time, dead_s, rating_w // STILL_SHARE
        self._driven = self._last = 0
        self._at = 0.0

    def drive(self, direction: int) -> None:
        """The output is now commanded in this direction, or in none (0)."""
        self._note(self._driven)
        self._driven = direction

    def measure(self, power_w: int) -> None:
        """This power (W, signed) flows now."""
        if abs(power_w) > self._still_w:
            self._note(1 if power_w > 0 else -1)

    def _note(self, direction: int) -> None:
        if direction:
            self._last, self._at = direction, self._time.now

    @property
    def turning(self) -> int:
        """The direction that has to wait, or 0."""
        self._note(self._driven)
        return -self._last if self._time.now < self._at + self._dead_s else 0

    def arm(self) -> None:
        """Set the timer `turnaround` to the end of the dead time."""
        self._time.arm(TIMER, max(0.0, self._at + self._dead_s - self._time.now))
