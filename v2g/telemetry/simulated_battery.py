"""CAN database of the simulated vehicle, and its mapping to the signal model: the defaults of `v2g telemetry`."""

from importlib import resources
from typing import Final

from v2g.telemetry.signals import CELL_VOLTAGE, MODULE_TEMPERATURE, MODULES

CELLS: Final = 96
"""Cells on the bus."""

CELLS_IN_FRAME: Final = 3

BATTERY_SIGNALS: Final[dict[str, str]] = {
    "BMS_Pack.PackVoltage": "battery.voltage",
    "BMS_Pack.PackCurrent": "battery.current",
    "BMS_Pack.StateOfCharge": "battery.soc",
    "BMS_Pack.StateOfHealth": "battery.soh",
    "BMS_Temperature.CellTemperatureMin": "battery.temperature.min",
    "BMS_Temperature.CellTemperatureMax": "battery.temperature.max",
    "BMS_Temperature.CoolantTemperature": "battery.temperature.coolant",
    "BMS_Temperature.CellTemperatureMean": "battery.temperature.mean",
    "BMS_Cells.CellVoltageMin": "battery.cell_voltage.min",
    "BMS_Cells.CellVoltageMax": "battery.cell_voltage.max",
    "BMS_Cells.CellVoltageMean": "battery.cell_voltage.mean",
    "BMS_Energy.EnergyCharged": "battery.energy.charged",
    "BMS_Energy.EnergyDischarged": "battery.energy.discharged",
    "BMS_Power.PackPower": "battery.power",
    "OBC_Grid.GridFrequency": "grid.frequency",
    "OBC_Charging.ChargingPower": "charging.power",
    "VCU_Drive.MotorSpeed": "motor.speed",
    "VCU_Drive.AmbientTemperature": "ambient.temperature",
    "VCU_Status.DriveCycle": "context",
    "VCU_Status.ContactorClosed": "vehicle.contactor",
    "VCU_Status.PowerRequest": "vehicle.power_request",
    "BMS_Health.InternalResistance": "battery.resistance",
    "BMS_Health.FullCycles": "battery.cycles",
    "BMS_Health.PackPressure": "battery.pressure",
    "BMS_Health.CoolantFlow": "battery.coolant.flow",
    "BMS_Contactors.PositiveClosed": "battery.contactor.positive",
    "BMS_Contactors.NegativeClosed": "battery.contactor.negative",
    "BMS_Contactors.PrechargeClosed": "battery.contactor.precharge",
    **{f"BMS_ModuleTemperatures.Module{each}": f"{MODULE_TEMPERATURE}.{each}" for each in range(1, MODULES + 1)},
    **{f"BMS_CellVoltages.Cell{number}": CELL_VOLTAGE for number in range(1, CELLS + 1)},
}


def battery_dbc() -> str:
    """Return the CAN database of the simulated vehicle."""
    return (resources.files("v2g.telemetry") / "data" / "battery.dbc").read_text()
