"""A battery model: open-circuit voltage over state of charge, internal resistance, heat and limits.

Deterministic: the same currents over the same times result in the same state. Charge is integrated exactly for a
constant current, so the length of a step does not change the result.
"""

import itertools
import math
from bisect import bisect_left
from typing import Annotated

import msgspec
from msgspec import Meta

from evcc.session.ports import BatteryState
from v2g.battery.derating import DeratingSettings, share
from v2g.errors import ConfigError

Curve = tuple[tuple[float, float], ...]

_NMC_96S: Curve = (
    (0.0, 288.0),
    (5.0, 326.0),
    (10.0, 336.0),
    (20.0, 346.0),
    (30.0, 352.0),
    (40.0, 356.0),
    (50.0, 361.0),
    (60.0, 370.0),
    (70.0, 380.0),
    (80.0, 390.0),
    (90.0, 399.0),
    (100.0, 408.0),
)
"""A nickel-manganese-cobalt pack of 96 cells in series."""


class BatteryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated battery."""

    capacity_wh: Annotated[int, Meta(ge=100, le=2_000_000, description="energy between 0 and 100 % charge, Wh")] = (
        60_000
    )
    soc: Annotated[float, Meta(ge=0, le=100, description="state of charge at start, %")] = 50.0
    ocv: Annotated[Curve, Meta(min_length=2, description="open-circuit voltage: pairs of charge % and V, rising")] = (
        _NMC_96S
    )
    resistance_ohm: Annotated[float, Meta(gt=0, le=5, description="internal resistance, ohm")] = 0.05
    charge_efficiency: Annotated[float, Meta(gt=0.5, le=1, description="share of charge that is stored, 0.5 to 1")] = (
        0.995
    )
    max_charge_current_a: Annotated[float, Meta(ge=0, le=1000, description="maximum charging current, A")] = 150.0
    max_discharge_current_a: Annotated[float, Meta(ge=0, le=1000, description="maximum discharging current, A")] = 60.0
    max_charge_power_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum charging power, W")] = 50_000
    max_discharge_power_w: Annotated[int, Meta(ge=0, le=1_000_000, description="maximum discharging power, W")] = 20_000
    max_voltage_v: Annotated[float, Meta(gt=0, le=1500, description="maximum terminal voltage, V")] = 410.0
    min_voltage_v: Annotated[float, Meta(gt=0, le=1500, description="minimum terminal voltage, V")] = 280.0
    temperature_c: Annotated[float, Meta(ge=-60, le=100, description="temperature at start, degrees C")] = 25.0
    ambient_c: Annotated[float, Meta(ge=-60, le=100, description="temperature around the pack, degrees C")] = 20.0
    heat_capacity_j_per_k: Annotated[float, Meta(gt=0, le=10**9, description="heat capacity of the pack, J/K")] = (
        300_000.0
    )
    cooling_w_per_k: Annotated[
        float, Meta(gt=0, le=10**6, description="heat dissipation per degree above ambient, W/K")
    ] = 40.0
    min_temperature_c: Annotated[
        float, Meta(ge=-60, le=100, description="temperature below which the battery accepts no current")
    ] = -20.0
    max_temperature_c: Annotated[
        float, Meta(ge=-60, le=100, description="temperature above which the battery accepts no current")
    ] = 55.0
    derating: DeratingSettings = DeratingSettings()

    def __post_init__(self) -> None:
        """Reject an invalid curve."""
        if not all(a[0] < b[0] and a[1] <= b[1] for a, b in itertools.pairwise(self.ocv)):
            raise ValueError("battery.ocv must rise in both columns")
        if not self.ocv[0][1] > 0:
            raise ValueError("battery.ocv must be above 0 V")
        if self.ocv[0][0] != 0 or self.ocv[-1][0] != 100:
            raise ValueError("battery.ocv must reach from 0 to 100 %")
        if self.min_voltage_v >= self.max_voltage_v:
            raise ValueError("battery.min_voltage_v must be below battery.max_voltage_v")


class OcvLine:
    """A curve prepared for queries: linear between points and constant beyond the ends."""

    def __init__(self, curve: Curve) -> None:
        self._x = tuple(x for x, _ in curve)
        self._y = tuple(y for _, y in curve)
        pieces = ((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(curve))
        self._areas = tuple(itertools.accumulate(pieces, initial=0.0))

    def at(self, x: float) -> float:
        """Return the value at `x`."""
        index = bisect_left(self._x, x)
        if index == 0:
            return self._y[0]
        if index == len(self._x):
            return self._y[-1]
        x0, y0, x1, y1 = self._x[index - 1], self._y[index - 1], self._x[index], self._y[index]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    def area(self, x: float) -> float:
        """Return the area below the curve from its first point to `x`, which must be within its ends."""
        index = max(0, bisect_left(self._x, x) - 1)
        return self._areas[index] + (x - self._x[index]) * (self._y[index] + self.at(x)) / 2


class Battery:
    """The battery's changing state: `advance` by a current over a time, then read `state`."""

    def __init__(self, config: BatteryConfig, *, at_ms: int) -> None:
        self.config = config
        self._at_ms = at_ms
        self._soc = config.soc
        self._temperature = config.temperature_c
        self._current_a = 0.0
        self._charged_wh = 0.0
        self._discharged_wh = 0.0
        self._ocv = OcvLine(config.ocv)
        self._state: BatteryState | None = None
        self._wh_per_volt_percent = config.capacity_wh / self._ocv.area(100.0)
        self._capacity_ah = self._wh_per_volt_percent * 100
        if not math.isfinite(self._capacity_ah):
            raise ConfigError("battery.ocv results in no usable capacity")

    def advance(self, at_ms: int, current_ma: int) -> None:
        """Apply `current_ma` (positive charges) for the time since the last call, which may be 0."""
        hours = max(0, at_ms - self._at_ms) / 3_600_000
        self._at_ms, self._state = max(at_ms, self._at_ms), None
        self._current_a = current_ma / 1000
        if not hours:
            return
        before = self._terminal_v()
        stored_a = self._current_a * (self.config.charge_efficiency if current_ma > 0 else 1.0)
        self._soc = min(100.0, max(0.0, self._soc + 100 * stored_a * hours / self._capacity_ah))
        energy = self._current_a * hours * (before + self._terminal_v()) / 2
        self._charged_wh += max(0.0, energy)
        self._discharged_wh += max(0.0, -energy)
        seconds = hours * 3600
        c = self.config
        settled = c.ambient_c + self._current_a**2 * c.resistance_ohm / c.cooling_w_per_k
        decay = math.exp(-seconds * c.cooling_w_per_k / c.heat_capacity_j_per_k)
        self._temperature = settled + (self._temperature - settled) * decay

    def _terminal_v(self) -> float:
        return self._ocv.at(self._soc) + self._current_a * self.config.resistance_ohm

    def _limits_a(self) -> tuple[float, float]:
        """Return the maximum charging and discharging currents: limits, voltage window, temperature (R128)."""
        c, at_c = self.config, self._temperature
        if not c.min_temperature_c <= at_c <= c.max_temperature_c:
            return 0.0, 0.0
        ocv = self._ocv.at(self._soc)
        charge = min(c.max_charge_current_a, (c.max_voltage_v - ocv) / c.resistance_ohm, c.max_charge_power_w / ocv)
        # the current (A) at which a source gives a power at its terminals, or its greatest power
        discharge = min(
            c.max_discharge_current_a,
            (ocv - c.min_voltage_v) / c.resistance_ohm,
            (ocv - math.sqrt(max(0.0, ocv * ocv - 4 * c.resistance_ohm * c.max_discharge_power_w)))
            / (2 * c.resistance_ohm),
        )
        return (
            max(0.0, charge * share(c.derating.charge, at_c, at_c)) if self._soc < 100 else 0.0,
            max(0.0, discharge * share(c.derating.discharge, at_c, at_c)) if self._soc > 0 else 0.0,
        )

    @property
    def state(self) -> BatteryState:
        """The battery management system's present report."""
        if self._state is None:
            c = self.config
            charge_a, discharge_a = self._limits_a()
            ocv = self._ocv.at(self._soc)
            self._state = BatteryState(
                at_ms=self._at_ms,
                soc=round(self._soc, 4),
                capacity_wh=c.capacity_wh,
                energy_wh=round(self._wh_per_volt_percent * self._ocv.area(self._soc), 3),
                voltage_mv=round(self._terminal_v() * 1000),
                current_ma=round(self._current_a * 1000),
                temperature_c=round(self._temperature, 3),
                max_voltage_mv=round(c.max_voltage_v * 1000),
                min_voltage_mv=round(c.min_voltage_v * 1000),
                max_charge_ma=int(charge_a * 1000),
                max_discharge_ma=int(discharge_a * 1000),
                max_charge_w=min(c.max_charge_power_w, int(charge_a * (ocv + charge_a * c.resistance_ohm))),
                max_discharge_w=min(
                    c.max_discharge_power_w, int(discharge_a * (ocv - discharge_a * c.resistance_ohm) + 1e-6)
                ),
                charged_mwh=int(self._charged_wh * 1000),
                discharged_mwh=int(self._discharged_wh * 1000),
            )
        return self._state
