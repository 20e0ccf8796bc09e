"""The simulated AC line between a charge point's contactor and a vehicle's on-board charger.

The charge point's end publishes its output, the vehicle's end its draw. Units are integer mV between phase and
neutral, and mA of each line conductor; current is positive from charge point to vehicle. The frequency is the grid's
nominal one. Not modelled: reactive power, voltages that differ.
"""

import msgspec

from v2g.energy.conductors import Currents
from v2g.io.simulation.medium import Channel, Medium
from v2g.io.simulation.wire import Wire


class ChargerAc(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """The charge point's output: voltage (mV), phases, whether its contactor is closed, frequency (Hz)."""

    voltage_mv: int
    phases: int
    contactor_closed: bool
    frequency_hz: int = 50


class VehicleAc(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """The vehicle's draw (mA in each line conductor, negative when it feeds back)."""

    currents: Currents


class ChargerAcLine(Wire[ChargerAc, VehicleAc]):
    """The charge point's end: `publish` its output; `seen` is the vehicle's last VehicleAc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.AC, VehicleAc, connector=connector)

    def publish(self, voltage_mv: int, phases: int, *, contactor_closed: bool, frequency_hz: int = 50) -> None:
        """Publish this output."""
        self.hold(ChargerAc(voltage_mv, phases, contactor_closed, frequency_hz))


class VehicleAcLine(Wire[VehicleAc, ChargerAc]):
    """The vehicle's end: `publish` its draw; `seen` is the charge point's last ChargerAc or None."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        super().__init__(medium, Channel.AC, ChargerAc, connector=connector)

    def publish(self, currents: Currents) -> None:
        """Publish this draw."""
        self.hold(VehicleAc(currents))
