"""The simulated DC line between a charger's power stage and a vehicle's battery.

The charger's end tells what it drives, the vehicle's end what its battery shows. Units are integer mV and mA;
current is positive from charger to vehicle (as power in V2G20-1034). What it does not model: cable resistance and
capacitance; the ends decide what follows from what they see.
"""

import msgspec

from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerDc(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """What the charger does: output voltage (mV), current (mA, signed), and whether its contactors are closed."""

    voltage_mv: int
    current_ma: int
    contactor_closed: bool


class VehicleDc(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """What the vehicle shows: battery voltage (mV), contactors, and the most current it lets pass each way (mA)."""

    voltage_mv: int
    contactor_closed: bool
    max_charge_ma: int
    max_discharge_ma: int


class ChargerDcLine(Wire[ChargerDc, VehicleDc]):
    """The charger's end: `publish` what it drives, `seen` is the vehicle's last VehicleDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.DC, VehicleDc, connector=connector)

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Drive the line from now on."""
        self.hold(ChargerDc(voltage_mv, current_ma, contactor_closed))

    @property
    def vehicle(self) -> VehicleDc | None:
        """What the vehicle shows; None when none is there or its process died."""
        return self.seen


class VehicleDcLine(Wire[VehicleDc, ChargerDc]):
    """The vehicle's end: `publish` what the battery shows, `seen` is the charger's last ChargerDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.DC, ChargerDc, connector=connector)

    def publish(
        self, voltage_mv: int, *, contactor_closed: bool, max_charge_ma: int = 0, max_discharge_ma: int = 0
    ) -> None:
        """Show this to the charger from now on."""
        self.hold(VehicleDc(voltage_mv, contactor_closed, max_charge_ma, max_discharge_ma))

    @property
    def charger(self) -> ChargerDc | None:
        """What the charger drives; None when none is there or its process died."""
        return self.seen
