"""The simulated air gap between a primary device in the ground and a vehicle's secondary device.

The charger's end publishes its field, the vehicle's end its position and its draw. Power W, lengths
mm, currents mA. Not modelled: phase, harmonics, other vehicles' fields.
"""

import msgspec

from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerCoil(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """The primary device: its observable id and method (empty if none), its coil
    current, its maximum power, and the fraction that reaches the vehicle at its position."""

    device_id: int = 0
    method: str = ""
    coil_ma: int = 0
    power_w: int = 0
    efficiency: float = 0.0


class VehicleCoil(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """The secondary device's position (ahead, sideways, clearance), its draw, and its observable id, if any."""

    x_mm: int
    y_mm: int
    clearance_mm: int
    drawn_w: int = 0
    device_id: int | None = None


class ChargerCoilLine(Wire[ChargerCoil, VehicleCoil]):
    """The charger's end; `seen` is the vehicle's last VehicleCoil, None where none is near."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.COIL, VehicleCoil, connector=connector)


class VehicleCoilLine(Wire[VehicleCoil, ChargerCoil]):
    """The vehicle's end; `seen` is the charger's last ChargerCoil, None where there is none."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.COIL, ChargerCoil, connector=connector)
