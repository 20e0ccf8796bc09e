"""The simulated air between a primary device in the ground and a vehicle's secondary device.

The charger's end tells what it sends, the vehicle's end where it stands and what it draws of that. Power W, lengths
mm, currents mA. What it does not model: phase, harmonics, other vehicles' fields.
"""

import msgspec

from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerCoil(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """What the primary device does: the id and method by which it can be observed (empty while it is silent), its coil
    current, the most that it sends, and which share of that reaches the vehicle where it stands."""

    device_id: int = 0
    method: str = ""
    coil_ma: int = 0
    power_w: int = 0
    efficiency: float = 0.0


class VehicleCoil(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """Where the secondary device is (ahead, sideways, clearance), what it draws, and the id that it tells, if any."""

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
