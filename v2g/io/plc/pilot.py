"""Control pilot ports of charger and vehicle, and the simulated pilot wire between two processes.

Each end sets its side of the simulated wire (oscillator and faults; or resistance, diode and
proximity contact), and reads levels as its hardware would, by `v2g.iec61851`. Not
modelled: rise times, noise and contact bounce.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.hardware.pilot import ReportingPilot
from v2g.iec61851 import pilot
from v2g.iec61851.proximity import SEATED_OHM, read_proximity
from v2g.io.simulation.medium import Medium, MediumChannel
from v2g.io.simulation.wire import SimulatedWire
from v2g.observe import Callbacks


class VehiclePilot(Protocol):
    """The vehicle's end of the control pilot."""

    @property
    def duty(self) -> pilot.DutyReading:
        """The charger's signal; `no_charging` when unplugged, faulty or absent."""

    def on_duty(self, callback: Callable[[pilot.DutyReading], None]) -> None:
        """Call `callback` with each new reading."""

    def set_state(self, state: pilot.PilotState) -> None:
        """Show B, C or D."""

    def unplug(self) -> None:
        """Release the wire."""


Ohm = Annotated[int, Meta(ge=0, le=10_000_000)]


class ChargerSignal(msgspec.Struct, frozen=True, tag="charger", array_like=True, forbid_unknown_fields=True):
    """The charger's side: duty cycle in percent or None (constant level), or a forced `E` or `F`."""

    duty_percent: float | None = None
    fault: Literal["E", "F"] | None = None


class VehicleSignal(msgspec.Struct, frozen=True, tag="vehicle", array_like=True, forbid_unknown_fields=True):
    """The vehicle's side: resistance (ohm, None is unplugged), diode, proximity contact (ohm)."""

    resistance_ohm: Ohm | None = None
    diode: bool = True
    proximity_ohm: Ohm | None = None


class SimulatedChargerPilot(ReportingPilot, SimulatedWire[ChargerSignal, VehicleSignal]):
    """The charger's end over the medium; see ChargerPilot."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        ReportingPilot.__init__(self, pilot.PilotState.A)
        self._signal = ChargerSignal()
        SimulatedWire.__init__(self, medium, MediumChannel.CP, VehicleSignal, connector=connector)
        self.on_change(lambda _: self._read())
        self.hold(self._signal)

    @property
    def age_s(self) -> float:
        """The wire reports each change at once."""
        return 0.0

    @property
    def duty_percent(self) -> float | None:
        """The duty cycle set, None while the oscillator is off."""
        return self._signal.duty_percent

    def _drive(self, percent: float | None, error: pilot.PilotState | None) -> None:
        self._signal = ChargerSignal(percent, None if error is None else "E" if error is pilot.PilotState.E else "F")
        self.hold(self._signal)
        self._report_oscillator(on=percent is not None)
        self._read()

    def _read(self) -> None:
        seen = self.seen or VehicleSignal()
        if self._signal.fault is not None:
            reading = pilot.PilotReading(pilot.PilotState(self._signal.fault))
        else:
            resistance = seen.resistance_ohm
            high = pilot.pilot_high_mv(resistance, diode=seen.diode)
            low = None if self._signal.duty_percent is None else pilot.pilot_low_mv(resistance, diode=seen.diode)
            reading = pilot.read_levels(high, low)
        state, fault = (self.state, self.fault) if reading.state is None else (reading.state, reading.fault)
        self._report_wire(state, fault, read_proximity(seen.proximity_ohm))


class SimulatedVehiclePilot(SimulatedWire[VehicleSignal, ChargerSignal]):
    """The vehicle's end over the medium; see VehiclePilot."""

    def __init__(self, medium: Medium, *, connector: int = 1) -> None:
        self._signal = VehicleSignal()
        self.duty = pilot.DutyReading("no_charging")
        """The charger's signal; `no_charging` when unplugged, faulty or absent."""
        self.on_duty: Final = Callbacks[pilot.DutyReading]()
        """Called with each new reading."""
        super().__init__(medium, MediumChannel.CP, ChargerSignal, connector=connector)
        self.on_change(lambda _: self._read())

    @property
    def plugged(self) -> bool:
        """Whether the plug is in."""
        return self._signal.resistance_ohm is not None

    def plug(self, *, proximity_ohm: int | None = SEATED_OHM, diode: bool = True) -> None:
        """Plug in and show B. `proximity_ohm` None is a plug that is not latched."""
        self._show(VehicleSignal(pilot.VEHICLE_OHM[pilot.PilotState.B], diode, proximity_ohm))

    def set_state(self, state: pilot.PilotState) -> None:
        """Show B, C or D. Raises ValueError for another state, and for C and D when unplugged."""
        if state is pilot.PilotState.B and not self.plugged:
            return  # returning to the safe state is fine while unplugged
        if state not in pilot.VEHICLE_OHM or not self.plugged:
            raise ValueError(f"a vehicle that is {'plugged in' if self.plugged else 'unplugged'} cannot show {state}")
        self._show(msgspec.structs.replace(self._signal, resistance_ohm=pilot.VEHICLE_OHM[state]))

    def unplug(self) -> None:
        """Pull the plug."""
        self._show(VehicleSignal())

    def _show(self, signal: VehicleSignal) -> None:
        self._signal = signal
        self.hold(signal)
        self._read()

    def _read(self) -> None:
        seen = self.seen
        duty = pilot.DutyReading("no_charging")
        if seen is not None and seen.fault is None and self.plugged:
            duty = _read_duty(100.0 if seen.duty_percent is None else seen.duty_percent)
        if duty != self.duty:
            self.duty = duty
            self.on_duty.tell(duty)


def _read_duty(percent: float) -> pilot.DutyReading:
    try:
        return pilot.read_duty(percent)
    except ValueError:  # invalid data of another program
        return pilot.DutyReading("error")
