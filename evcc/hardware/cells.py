"""Sensors at the cells of the simulated battery, which may fail, and cells that may burn."""

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from evcc.session.ports import BatteryState

AIR_KPA: Final = 101.3
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
