"""The simulated battery's control units: they send the battery's state on the CAN bus, as those of a car would.

Only the simulation needs them; in a vehicle the frames come from the BMS and this module is not used.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from v2g.io.can import CanConfig, CanPort
from v2g.telemetry.signals import MODULES
from v2g.telemetry.simulated_battery import CELLS, CELLS_IN_FRAME, battery_dbc

if TYPE_CHECKING:
    from cantools.database.can import Message

CONTEXT_CODES = {"parked": 0, "city": 1, "highway": 2, "charging": 3, "discharging": 4}


class BatterySnapshot(msgspec.Struct, frozen=True):
    """The control units' data: V, A (positive while charging), %, degC, Wh, W. `grid_hz` is what the on-board charger
    measures, None without a grid."""

    voltage_v: float
    current_a: float
    soc_percent: float
    soh_percent: float
    temperature_min: float
    temperature_max: float
    coolant_temperature: float
    cell_voltage_min: float
    cell_voltage_max: float
    cell_voltage_mean: float
    charged_wh: int
    discharged_wh: int
    contactor_closed: bool
    power_request_w: int
    charging_power_w: int
    motor_rpm: int
    ambient_temperature: float
    context: str
    grid_hz: float | None = None
    cells_v: tuple[float, ...] = ()
    """Voltages of single cells, V; empty: they are not on the bus."""
    modules_c: tuple[float, ...] = ()
    """Mean temperatures of modules, degrees C; empty: they are not on the bus."""
    health: "PackHealth | None" = None
    """None: an older control unit, which does not send this."""


class PackHealth(msgspec.Struct, frozen=True):
    """Further data of the pack's control unit: ohm, full cycles, kPa in the housing, l/min of coolant, degrees C, and
    whether the contactors are closed."""

    resistance_ohm: float
    cycles: float
    pressure_kpa: float
    coolant_l_min: float
    temperature_mean: float
    positive_closed: bool
    negative_closed: bool
    precharge_closed: bool


class BatteryEcu:
    """Sends `snapshot()` as CAN frames `rate` times per second (1 to 100 Hz, R73) until cancelled."""

    def __init__(self, config: CanConfig, snapshot: Callable[[], BatterySnapshot], *, rate: float = 10.0) -> None:
        from cantools.database.can import Database

        self._database = Database()
        self._database.add_dbc_string(battery_dbc())
        self._config, self._snapshot, self._period = config, snapshot, 1 / rate
        self._encoded: dict[str, tuple[dict[str, float], bytes]] = {}
        self._alive = 0
        self._cells_every, self._cycles = round(rate), 0

    def frames(self, state: BatterySnapshot) -> list[tuple[int, bytes]]:
        """Return the frames `(id, data)` for `state`; increments the alive counter."""
        self._alive = (self._alive + 1) % 16
        middle = (state.temperature_min + state.temperature_max) / 2
        values: dict[str, dict[str, float]] = {
            "BMS_Pack": {
                "PackVoltage": state.voltage_v,
                "PackCurrent": state.current_a,
                "StateOfCharge": state.soc_percent,
                "StateOfHealth": state.soh_percent,
                "AliveCounter": self._alive,
            },
            "BMS_Temperature": {
                "CellTemperatureMin": state.temperature_min,
                "CellTemperatureMax": state.temperature_max,
                "CoolantTemperature": state.coolant_temperature,
                "CellTemperatureMean": middle if state.health is None else state.health.temperature_mean,
            },
            "BMS_Cells": {
                "CellVoltageMin": state.cell_voltage_min,
                "CellVoltageMax": state.cell_voltage_max,
                "CellVoltageMean": state.cell_voltage_mean,
            },
            "BMS_Energy": {"EnergyCharged": state.charged_wh, "EnergyDischarged": state.discharged_wh},
            "BMS_Power": {"PackPower": round(state.voltage_v * state.current_a)},
            "VCU_Status": {
                "DriveCycle": CONTEXT_CODES[state.context],
                "ContactorClosed": state.contactor_closed,
                "PowerRequest": state.power_request_w,
            },
            "OBC_Charging": {"ChargingPower": state.charging_power_w},
            "VCU_Drive": {"MotorSpeed": state.motor_rpm, "AmbientTemperature": state.ambient_temperature},
        }
        if state.grid_hz is not None:
            values["OBC_Grid"] = {"GridFrequency": state.grid_hz}
        if (health := state.health) is not None:
            values["BMS_Health"] = {
                "InternalResistance": health.resistance_ohm,
                "FullCycles": health.cycles,
                "PackPressure": health.pressure_kpa,
                "CoolantFlow": health.coolant_l_min,
            }
            values["BMS_Contactors"] = {
                "PositiveClosed": health.positive_closed,
                "NegativeClosed": health.negative_closed,
                "PrechargeClosed": health.precharge_closed,
            }
        frames = [*values.items(), *self._single(state)]
        find = self._database.get_message_by_name
        return [(find(name).frame_id, self._data(find(name), signals)) for name, signals in frames]

    def _data(self, message: "Message", signals: dict[str, float]) -> bytes:
        """Return a message's data; most have the same signals as before. As a real control unit, it sends whatever fits
        into the bits: a check of each signal's range costs as much as the rest."""
        before = self._encoded.get(message.name)
        if before is not None and before[0] == signals:
            return before[1]
        data = message.encode(signals, strict=False)
        self._encoded[message.name] = signals, data
        return data

    def _single(self, state: BatterySnapshot) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield the frames of all cells and modules, once a second."""
        self._cycles += 1
        if self._cycles % self._cells_every != 1 % self._cells_every:
            return
        cells_v = state.cells_v[:CELLS]
        for first in range(0, len(cells_v) - CELLS_IN_FRAME + 1, CELLS_IN_FRAME):
            cells = {f"Cell{first + place + 1}": cells_v[first + place] for place in range(CELLS_IN_FRAME)}
            yield "BMS_CellVoltages", {"Group": first // CELLS_IN_FRAME} | cells
        for index, celsius in enumerate(state.modules_c[:MODULES]):
            yield "BMS_ModuleTemperatures", {"ModuleIndex": index, f"Module{index + 1}": celsius}

    async def run(self) -> None:
        """Send until cancelled."""
        port = CanPort(self._config)
        now = asyncio.get_running_loop().time
        due = now()
        try:
            while True:
                for frame_id, data in self.frames(self._snapshot()):
                    port.send(frame_id, data)
                due = max(due + self._period, now())
                await asyncio.sleep(due - now())
        finally:
            await port.close()
