"""Models of power hardware as seen by a controller, and their faults. Pure.

Times are arguments: s of (possibly simulated) time for physics, s of real time for scripts.
"""

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.hardware.interfaces import OFF

DEADBAND_MA: Final = 20
"""Smaller corrections of the current are not sent to the line."""

SimulatedFault = Literal[
    "weld",
    "stuck_closed",
    "no_close",
    "drop",
    "isolation",
    "isolation_monitor",
    "isolation_test",
    "over_voltage",
    "stage_trip",
    "stage_silent",
    "stage_strays",
    "slow_discharge",
    "over_temperature",
    "runaway",
    "sensor_lost",
    "fan_dead",
    "estop",
    "latch_jammed",
    "meter_stuck",
    "meter_backward",
    "meter_jump",
    "meter_silent",
    "meter_wrong",
    "foreign_object",
    "living_object",
    "device_jammed",
    "contacts_worn",
]
"""Simulated faults. `weld` keeps a contactor from opening, `stuck_closed` has it closed regardless of
commands. `isolation` has the resistance (ohm) as its value, `over_temperature` degrees C, `runaway` K/s,
`meter_jump` Wh, `meter_wrong` W that the meter adds, `stage_strays` A that flow whatever is commanded, negative out of
the vehicle."""

Moment = Literal["start", "connected", "moving", "closed", "current"]


class FaultStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of a script: `fault` begins `after_s` after the first `when`, and lasts `for_s`. Seconds are real
    ones."""

    fault: SimulatedFault
    """The fault: `weld` keeps a contactor from opening, `stuck_closed` has it closed regardless of commands; the
    others are named after their effect."""
    when: Moment = "start"
    """Trigger: the charger's start, a vehicle connected (or near), the connection device
    moving, the contactor closed, or a current flowing."""
    after_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """Delay after the trigger."""
    for_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    """Duration; none is permanent."""
    value: Annotated[float, Meta(ge=-(10**9), le=10**9)] = 0.0
    """Resistance of `isolation` (ohm), temperature of `over_temperature` (°C), rise at `runaway` (K/s),
    step of `meter_jump` (Wh), power that
    `meter_wrong` adds (W), current of `stage_strays` (A, negative out of the vehicle); the others have none."""


class FaultScript:
    """Active faults over time. `note` triggers as they happen; `changes` returns what begins and ends."""

    def __init__(self, steps: tuple[FaultStep, ...], now: float) -> None:
        self._steps = steps
        self._moments: dict[str, float] = {"start": now}
        self._active: set[int] = set()

    def note(self, moment: Moment, now: float) -> bool:
        """A trigger has happened; return whether it counts, as only the first time does."""
        if moment in self._moments:
            return False
        self._moments[moment] = now
        return True

    def changes(self, now: float) -> list[tuple[FaultStep, bool]]:
        """Return each step that began (True) or ended since the last call."""
        changed = []
        for number, step in enumerate(self._steps):
            begun = self._moments.get(step.when)
            if begun is None or now < begun + step.after_s:
                active = False
            else:
                active = step.for_s is None or now < begun + step.after_s + step.for_s
            if active is not (number in self._active):
                self._active.symmetric_difference_update((number,))
                changed.append((step, active))
        return changed

    def deadline(self, now: float) -> float | None:
        """Return when `changes` will next return something, as far as known."""
        times = []
        for step in self._steps:
            begun = self._moments.get(step.when)
            if begun is None:
                continue
            begin = begun + step.after_s
            times += [begin] if step.for_s is None else [begin, begin + step.for_s]
        return min((at for at in times if at > now), default=None)


class StageLoad(msgspec.Struct, frozen=True):
    """The load at the output: its voltage (mV), whether its own contactor is closed, and its maximum currents (mA)
    each way."""

    voltage_mv: int
    contactor_closed: bool
    max_charge_ma: int
    max_discharge_ma: int


class StageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Physics of a power stage. Currents fall at once and rise by a ramp, as in converters; the output's capacitance
    discharges through a resistor. Rates are per second of (simulated) time; 0 is at once."""

    voltage_v_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 1_000.0
    """Slew rate of the voltage, V/s."""
    current_a_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 200.0
    """Slew rate of the rising current, A/s."""
    discharge_tau_s: Annotated[float, Meta(ge=0, le=3_600)] = 0.25
    """Time constant of the discharge: from 920 V below 60 V in 0.7 s."""
    max_var: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Maximum reactive power, injected or absorbed, independent of active power."""


class StageModel:
    """A converter on a line: `advance` it by a time, then read voltage and current, and whether it is `moving`."""

    def __init__(self, config: StageConfig) -> None:
        self._config = config
        self.demand = OFF
        self.tripped = self.overshoots = self.keeps_voltage = False
        self.strays_ma: int | None = None
        self._voltage_mv = 0.0
        self._current_ma = 0.0
        self.moving = False

    @property
    def max_var(self) -> int:
        """The maximum reactive power."""
        return self._config.max_var

    @property
    def voltage_mv(self) -> int:
        """Voltage at the output."""
        return round(self._voltage_mv)

    @property
    def current_ma(self) -> int:
        """Current at the output, signed."""
        return int(self._current_ma)

    def advance(self, seconds: float, load: StageLoad | None, *, connected: bool) -> None:
        """Advance by `seconds` with this load; `connected` through both contactors. Reductions apply at once."""
        if load is not None and connected and load.voltage_mv > 0:
            self._voltage_mv = float(load.voltage_mv) * (1.5 if self.overshoots else 1.0)
            # the steady-state current: the lowest of all limits
            demand = self.demand
            if self.strays_ma is not None:
                target_ma = self.strays_ma
            elif self.tripped or (demand.current_ma > 0 and load.voltage_mv > demand.voltage_mv):
                target_ma = 0
            else:
                by_power = demand.power_w * 1_000_000 // load.voltage_mv
                if demand.current_ma >= 0:
                    target_ma = min(demand.current_ma, by_power, max(0, load.max_charge_ma))
                else:
                    target_ma = -min(-demand.current_ma, by_power, max(0, load.max_discharge_ma))
            now, rate = self._current_ma, self._config.current_a_per_s * 1000
            if now * target_ma > 0 and 0 <= abs(target_ma) - abs(now) < DEADBAND_MA:
                self.moving = False
                return  # never more than allowed now
            if now * target_ma < 0:
                now = 0.0
            if abs(target_ma) > abs(now) and rate:
                reach = abs(now) + rate * seconds
                now = math.copysign(min(abs(target_ma), reach), target_ma)
            else:
                now = float(target_ma)
            self._current_ma = now
            self.moving = now != target_ma
        else:
            self._current_ma = 0.0
            self._ramp_voltage(seconds, 0 if self.tripped else self.demand.voltage_mv)

    def _ramp_voltage(self, seconds: float, target_mv: int) -> None:
        now, rate = self._voltage_mv, self._config.voltage_v_per_s * 1000
        if self.overshoots:
            target_mv = target_mv * 3 // 2
        if now < target_mv:
            now = min(float(target_mv), now + rate * seconds) if rate else float(target_mv)
        elif self.keeps_voltage:
            self.moving = False
            return
        elif now > target_mv:
            tau = self._config.discharge_tau_s
            now = max(float(target_mv), now * math.exp(-seconds / tau)) if tau else float(target_mv)
            if now - target_mv < 5_000:
                now = float(target_mv)
        self._voltage_mv = now
        self.moving = now != target_mv


class ThermalModel:
    """A part that a current heats and a fan cools: first order, towards ambient plus losses."""

    def __init__(self, *, ambient_c: float = 25.0, rise_c_per_ka2: float = 300.0, tau_s: float = 300.0) -> None:
        self._ambient, self._rise, self._tau = ambient_c, rise_c_per_ka2, tau_s
        self.celsius = ambient_c

    def advance(self, seconds: float, current_ma: int, fan_percent: int) -> None:
        """Advance by a time with a current."""
        rise = self._rise * (current_ma / 1_000_000) ** 2 / (1 + fan_percent / 50)
        self.celsius += (self._ambient + rise - self.celsius) * (1 - math.exp(-seconds / self._tau))
