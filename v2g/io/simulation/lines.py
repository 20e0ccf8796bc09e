"""The simulated lines between a charger and a vehicle, over the medium: DC, AC, coils and contacts."""

import msgspec

from v2g.energy.conductors import Currents
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.io.simulation.wire import SimulatedWire

# -- The simulated DC line between a charger's power stage and a vehicle's battery. The charger's end publishes its
# output, the vehicle's end its battery. Units are integer mV and mA; current is positive from charger to vehicle (as
# power in V2G20-1034). Not modelled: cable resistance and capacitance; the ends compute the result from what they
# see.


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


class ChargerDcLine(SimulatedWire[ChargerDc, VehicleDc]):
    """The charger's end: `publish` its output, `seen` is the vehicle's last VehicleDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.DC, VehicleDc, connector=connector)

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Publish this output."""
        self.hold(ChargerDc(voltage_mv, current_ma, contactor_closed))

    @property
    def vehicle(self) -> VehicleDc | None:
        """The vehicle's state; None when there is none or its process died."""
        return self.seen


class VehicleDcLine(SimulatedWire[VehicleDc, ChargerDc]):
    """The vehicle's end: `publish` the battery, `seen` is the charger's last ChargerDc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.DC, ChargerDc, connector=connector)

    def publish(
        self, voltage_mv: int, *, contactor_closed: bool, max_charge_ma: int = 0, max_discharge_ma: int = 0
    ) -> None:
        """Publish this state."""
        self.hold(VehicleDc(voltage_mv, contactor_closed, max_charge_ma, max_discharge_ma))

    @property
    def charger(self) -> ChargerDc | None:
        """The charger's output; None when there is none or its process died."""
        return self.seen


# -- The simulated AC line between a charge point's contactor and a vehicle's on-board charger. The charge point's end
# publishes its output, the vehicle's end its draw. Units are integer mV between phase and neutral, and mA of each
# line conductor; current is positive from charge point to vehicle. Not modelled: reactive power on the line, voltages
# that differ.


class ChargerAc(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """The charge point's output: voltage (mV), phases, whether its contactor is closed, frequency (Hz)."""

    voltage_mv: int
    phases: int
    contactor_closed: bool
    frequency_hz: float = 50


class VehicleAc(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """The vehicle's draw (mA in each line conductor, negative when it feeds back)."""

    currents: Currents


class ChargerAcLine(SimulatedWire[ChargerAc, VehicleAc]):
    """The charge point's end: `publish` its output; `seen` is the vehicle's last VehicleAc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.AC, VehicleAc, connector=connector)

    def publish(self, voltage_mv: int, phases: int, *, contactor_closed: bool, frequency_hz: float = 50) -> None:
        """Publish this output."""
        self.hold(ChargerAc(voltage_mv, phases, contactor_closed, frequency_hz))


class VehicleAcLine(SimulatedWire[VehicleAc, ChargerAc]):
    """The vehicle's end: `publish` its draw; `seen` is the charge point's last ChargerAc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.AC, ChargerAc, connector=connector)

    def publish(self, currents: Currents) -> None:
        """Publish this draw."""
        self.hold(VehicleAc(currents))


# -- The simulated air gap between a primary device in the ground and a vehicle's secondary device. The charger's end
# publishes its field, the vehicle's end its position and its draw. Power W, lengths mm, currents mA. Not modelled:
# phase, harmonics, other vehicles' fields.


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


class ChargerCoilLine(SimulatedWire[ChargerCoil, VehicleCoil]):
    """The charger's end; `seen` is the vehicle's last VehicleCoil, None where none is near."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.COIL, VehicleCoil, connector=connector)


class VehicleCoilLine(SimulatedWire[VehicleCoil, ChargerCoil]):
    """The vehicle's end; `seen` is the charger's last ChargerCoil, None where there is none."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.COIL, ChargerCoil, connector=connector)


# -- The simulated contacts between a charger's connection device and the rails on a vehicle's roof. The charger's end
# publishes its device's position and contacts, the vehicle's end its position and the height of its rails. Not
# modelled: force, wear, and contacts that close one after the other.


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


class ChargerContactLine(SimulatedWire[ChargerContact, VehicleContact]):
    """The charger's end; `seen` is the vehicle's last VehicleContact, None where none is near."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.CONTACT, VehicleContact, connector=connector)


class VehicleContactLine(SimulatedWire[VehicleContact, ChargerContact]):
    """The vehicle's end; `seen` is the charger's last ChargerContact, None where there is none."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, MediumChannel.CONTACT, ChargerContact, connector=connector)
