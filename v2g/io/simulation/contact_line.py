"""The simulated contacts between a charger's connection device and the rails on a vehicle's roof.

The charger's end publishes its device's position and contacts, the vehicle's end its position and
the height of its rails. Not modelled: force, wear, and contacts that close one after the other.
"""

import msgspec

from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerContact(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """Height (mm above the road) of the device, and whether its contacts have closed."""

    height_mm: int
    connected: bool


class VehicleContact(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """Distance to the place, ahead and sideways (cm), whether the vehicle moves, and its rails' height (mm)."""

    x_cm: int
    y_cm: int
    moving: bool
    roof_mm: int


class ChargerContactLine(Wire[ChargerContact, VehicleContact]):
    """The charger's end; `seen` is the vehicle's last VehicleContact, None where none is near."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.CONTACT, VehicleContact, connector=connector)


class VehicleContactLine(Wire[VehicleContact, ChargerContact]):
    """The vehicle's end; `seen` is the charger's last ChargerContact, None where there is none."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.CONTACT, ChargerContact, connector=connector)
