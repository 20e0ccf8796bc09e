"""The cells of the simulated battery: they differ, age, and are not equally warm, always alike for one seed."""

import math
import random
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from evcc.session.ports import BatteryState

CYCLES_TO_80_PERCENT: Final = 1500
"""Full cycles that cost a fifth of the capacity: an order of magnitude of nickel-manganese-cobalt cells."""


PUMP_K: Final = 2.0
"""So much above its surroundings the pack is cooled at rest, too."""

AIR_KPA: Final = 101.3
SWELLING_KPA: Final = 1.2
"""Cells that swell press the housing's air together: by so much when they are charged, and when a fifth of the capacity
is lost."""


class PackConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modules and cells of the simulated battery."""

    modules: Annotated[int, Meta(ge=1, le=64, description="modules in series")] = 8
    cells: Annotated[int, Meta(ge=12, le=24, description="cells of a module, in series")] = 12
    temperatures: Annotated[int, Meta(ge=4, le=8, description="temperature sensors of a module")] = 4
    spread_mv: Annotated[float, Meta(ge=0, le=500, description="largest difference between two cells at rest, mV")] = (
        8.0
    )
    weak_mv: Annotated[float, Meta(ge=0, le=1000, description="by which the first cell is below the others, mV")] = 0.0
    health_percent: Annotated[float, Meta(ge=50, le=100, description="state of health at start, %")] = 97.0
    coolant_l_min: Annotated[
        float, Meta(ge=0, le=100, description="what the coolant's pump delivers while it runs, l/min; 0: it has failed")
    ] = 12.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="the same seed makes the same cells")] = 1


class PackMeasurement(msgspec.Struct, frozen=True):
    """What the control unit of the pack measures: V by cell, degrees C by sensor, module and of the coolant, health in
    %, full cycles since it was new, kPa in its housing, l/min of coolant."""

    cells_v: tuple[float, ...]
    temperatures_c: tuple[float, ...]
    modules_c: tuple[float, ...]
    coolant_c: float
    coolant_l_min: float
    health_percent: float
    cycles: float
    pressure_kpa: float


class SensedPack:
    """Distributes the battery's voltage and heat over cells and sensors."""

    def __init__(self, config: PackConfig, *, ambient_c: float) -> None:
        self._config, self._ambient_c = config, ambient_c
        chance = random.Random(config.seed)  # noqa: S311 - a simulation
        raw = [chance.random() for _ in range(config.modules * config.cells)]
        mean, width = sum(raw) / len(raw), max(raw) - min(raw)
        self._offsets = [(each - mean) / width * config.spread_mv / 1000 for each in raw]
        self._offsets[0] -= config.weak_mv / 1000
        self._ohm_share = [chance.uniform(0.9, 1.1) for _ in raw]
        self._warmth = [chance.uniform(0.85, 1.15) for _ in range(config.modules * config.temperatures)]

    def measure(self, battery: BatteryState, resistance_ohm: float) -> PackMeasurement:
        """Return the measurements for a state of the battery; its resistance makes cells differ under load."""
        count = len(self._offsets)
        drop = battery.current_ma / 1000 * resistance_ohm / count
        mean = battery.voltage_mv / 1000 / count
        shares = sum(self._ohm_share) / count
        cycles = (battery.charged_mwh + battery.discharged_mwh) / 1000 / (2 * battery.capacity_wh)
        above = battery.temperature_c - self._ambient_c
        health = max(0.0, self._config.health_percent - 20 * cycles / CYCLES_TO_80_PERCENT)
        sensors = self._config.temperatures
        heats = tuple(self._ambient_c + above * each for each in self._warmth)
        return PackMeasurement(
            tuple(
                mean + offset + drop * (share - shares)
                for offset, share in zip(self._offsets, self._ohm_share, strict=True)
            ),
            heats,
            tuple(sum(heats[each : each + sensors]) / sensors for each in range(0, len(heats), sensors)),
            self._ambient_c + above / 2,
            self._config.coolant_l_min if above >= PUMP_K or battery.current_ma else 0.0,
            health,
            (100 - self._config.health_percent) / 20 * CYCLES_TO_80_PERCENT + cycles,
            AIR_KPA + SWELLING_KPA * (battery.soc / 100 + (100 - health) / 20),
        )


VENT_C: Final = 80.0
"""Temperature at which the cell vents: the pressure rises, and its voltage falls."""


class HeatConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to the simulated cells."""

    what: Annotated[
        Literal["runaway", "glitches", "stuck"],
        Meta(
            description="runaway: a cell heats up, vents and fails; glitches: each second one sample of all sensors is "
            "no number or far too high; stuck: the temperature no longer changes while a cell vents"
        ),
    ]
    after_s: Annotated[float, Meta(ge=0, le=86_400, description="s after the first current")] = 2.0
    rise: Annotated[float, Meta(gt=0, le=100, description="runaway: rise of the temperature, K/s")] = 15.0


class CellSensors:
    """Adds what sensors at the cells measure to the battery's report."""

    def __init__(self, config: HeatConfig | None, *, cells: int) -> None:
        self._config, self._cells = config, cells
        self._begun: float | None = None
        self._glitch: int | None = None

    def read(self, battery: BatteryState, now: float) -> BatteryState:
        """Return the report with them; `now` in s."""
        mean_mv = battery.voltage_mv / self._cells
        hottest_c, lowest_mv, pressure_kpa = battery.temperature_c, mean_mv, AIR_KPA
        if self._begun is None and battery.current_ma:
            self._begun = now
        config, begun = self._config, self._begun
        if config is not None and begun is not None and (passed_s := now - begun - config.after_s) >= 0:
            hot_c = hottest_c + config.rise * passed_s
            if config.what == "glitches":
                hottest_c, lowest_mv, pressure_kpa = self._glitched((hottest_c, lowest_mv, pressure_kpa), passed_s)
            else:
                hottest_c = hottest_c if config.what == "stuck" else min(hot_c, 800.0)
                if hot_c >= VENT_C:
                    lowest_mv, pressure_kpa = mean_mv / 4, AIR_KPA + 20
        return msgspec.structs.replace(
            battery, hottest_c=hottest_c, lowest_cell_mv=lowest_mv, mean_cell_mv=mean_mv, pressure_kpa=pressure_kpa
        )

    def _glitched(self, values: tuple[float, float, float], passed_s: float) -> tuple[float, float, float]:
        """Return wrong values once each second."""
        number = int(passed_s)
        if number == self._glitch:
            return values
        self._glitch = number
        return (math.nan,) * 3 if number % 2 else (400.0, 1.0, 900.0)
