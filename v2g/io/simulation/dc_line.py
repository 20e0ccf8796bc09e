"""The simulated DC line between a charger's power stage and a vehicle's battery.

The charger's end publishes its output, the vehicle's end its battery. Units are integer mV and mA;
current is positive from charger to vehicle (as power in V2G20-1034). Not modelled: cable resistance and
capacitance; the ends compute the result from what they see.
"""

import msgspec

from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerDc(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """The charger's output: voltage (mV), current (mA, signed), and whether its contactors are closed."""

    voltage_mv: int
    current_ma: int
    contactor_closed: bool


class VehicleDc(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """The vehicle: battery voltage (mV), contactors, and the maximum current each way (mA)."""

    voltage_mv: int
    contactor_closed: bool
    max_charge_ma: int
    max_discharge_ma: int


class ChargerDcLine(Wire[ChargerDc, VehicleDc]):
    """The charger's end: `publish` its output, `seen` is the vehicle's last VehicleDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.DC, VehicleDc, connector=connector)

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Publish this output."""
        self.hold(ChargerDc(voltage_mv, current_ma, contactor_closed))

    @property
    def vehicle(self) -> VehicleDc | None:
        """The vehicle's state; None when there is none or its process died."""
        return self.seen


class VehicleDcLine(Wire[VehicleDc, ChargerDc]):
    """The vehicle's end: `publish` the battery, `seen` is the charger's last ChargerDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.DC, ChargerDc, connector=connector)

    def publish(
        self, voltage_mv: int, *, contactor_closed: bool, max_charge_ma: int = 0, max_discharge_ma: int = 0
    ) -> None:
        """Publish this state."""
        self.hold(VehicleDc(voltage_mv, contactor_closed, max_charge_ma, max_discharge_ma))

    @property
    def charger(self) -> ChargerDc | None:
        """The charger's output; None when there is none or its process died."""
        return self.seen
