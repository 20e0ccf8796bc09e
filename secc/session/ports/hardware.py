"""Commands to the power hardware and the meter, and the facts that come of them."""

import msgspec

from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Command, Fact


class Energising(Command, frozen=True):
    """Base of what brings voltage or current to the output: nothing of it happens after an EmergencyOff."""


class Driving(Energising, frozen=True):
    """Base of what drives power: as far as it is less than before it is done also while the books are being written."""

    @property
    def overtakes(self) -> Command:
        """Less than before does not wait for the books; more does."""
        assert isinstance(self, Output)
        return Lower(self)

    def supersedes(self, earlier: Command) -> bool:
        """An output of before that still waits for the books never comes."""
        return isinstance(earlier, Driving)


class StartCableCheck(Energising, frozen=True):
    """Close the charger's contactors towards the inlet and test insulation. Outcome: CableCheckFinished."""

    voltage_mv: int


class StartPreCharge(Energising, frozen=True):
    """Bring the output to a voltage with next to no current. Done at once; Measured facts tell how far it is."""

    voltage_mv: int


class SetOutput(Driving, frozen=True):
    """Drive `current_ma` (signed) into the vehicle from now on. Done at once: the next ampere obeys it.

    The hardware never exceeds `voltage_mv`, nor `charge_w` into the vehicle, nor `discharge_w` out of it.
    """

    voltage_mv: int
    current_ma: int
    charge_w: int
    discharge_w: int


class SetAcOutput(Driving, frozen=True):
    """Let the vehicle draw or give this power from now on. Done at once, in so far as a charge point can.

    With alternating current the vehicle's own charger makes the power; the charge point tells it the target in its
    messages, lets through at most `charge_w` and `discharge_w`, and opens when the vehicle does not keep to them.
    `power_w` is the target (signed, all phases together), None where the vehicle follows a schedule by itself.
    """

    charge_w: int
    discharge_w: int
    power_w: int | None = None


class SetWptOutput(Driving, frozen=True):
    """Send so many W through the primary device, at most `charge_w`. Done at once."""

    charge_w: int
    power_w: int

    @property
    def discharge_w(self) -> int:
        """Nothing comes back."""
        return 0


Output = SetOutput | SetAcOutput | SetWptOutput
"""What drives power, by the kind of current."""


class Lower(Command, frozen=True):
    """Keep within `output` from now on, as far as that is less than what is driven; nothing rises. Done at once."""

    output: Output


class StartPositioning(Command, frozen=True):
    """Watch the vehicle find its place, by this method. DeviceChanged facts tell how far it is."""

    method: str


class StartPairing(Command, frozen=True):
    """Let the primary device tell its id, or look for the vehicle's, by this method."""

    method: str
    device_id: int


class CheckAlignment(Driving, frozen=True):
    """Drive the primary device's coil with this current to see how well the vehicle is aligned, sending at most
    `power_w`; 0 takes the field away."""

    current_ma: int
    power_w: int

    @property
    def overtakes(self) -> Command:
        """Less than before does not wait for the books."""
        return Lower(SetWptOutput(charge_w=self.power_w, power_w=self.power_w))


class MoveDevice(Command, frozen=True):
    """Move the connection device to the vehicle, or home. DeviceChanged facts tell how far it is."""

    to_vehicle: bool


class Reported(Command, frozen=True):
    """What the vehicle says of its battery: its voltage, and the currents that it lets pass (never negative).

    Only a bench without a vehicle at its output believes it; others ignore it.
    """

    voltage_mv: int
    max_charge_ma: int
    max_discharge_ma: int


class CloseContactors(Energising, frozen=True):
    """Make sure that the charger's contactors are closed. Outcome: ContactorState."""


class OpenContactors(Command, frozen=True):
    """Bring the current to zero, then open. Outcome: ContactorState."""

    @property
    def overtakes(self) -> Command:
        """Also while the books are being written: without messages nothing else takes power away."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """What would bring power, and still waits for the books, never comes."""
        return isinstance(earlier, Energising)


class EmergencyOff(Command, frozen=True):
    """No current, no voltage, contactors open, without waiting for anybody. Done at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Also after a failure."""
        return True

    @property
    def overtakes(self) -> Command:
        """Also while the books are being written."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """What would bring power back, and still waits for the books, never comes."""
        return isinstance(earlier, Energising)


class SetPilot(Command, frozen=True):
    """Show this duty cycle (percent) on the control pilot, None is the oscillator off. `forced` is E or F instead."""

    duty_percent: float | None = None
    forced: PilotState | None = None

    @property
    def overtakes(self) -> Command:
        """Off, E and F, and a smaller current than is shown, do not wait for the books; a larger one does."""
        return self if self.duty_percent is None else LowerPilot(self.duty_percent)

    def supersedes(self, earlier: Command) -> bool:
        """What was to be shown before, and still waits for the books, is never shown."""
        return isinstance(earlier, SetPilot)


class LowerPilot(Command, frozen=True):
    """Show this duty cycle (percent, one that stands for a current) where a larger one is shown. Done at once."""

    duty_percent: float


class Ventilate(Command, frozen=True):
    """Switch the ventilation that a vehicle in state D needs on or off."""

    on: bool


class CableCheckFinished(Fact, frozen=True):
    """The insulation test ended; a failed one ends the session."""

    passed: bool


class ContactorState(Fact, frozen=True):
    """The charger's contactors, seen at their auxiliary contacts.

    `why` is what made the interlock open them by itself: `pilot_` and the state's letter, or a fault; empty where it
    was asked to, or where nobody had.
    """

    closed: bool
    why: str = ""


class Device(msgspec.Struct, frozen=True):
    """A primary or connection device and the vehicle at it, as far as is known.

    `x_cm`/`y_cm` is how far the vehicle is from its place, `observed_id` what the device has observed of the vehicle,
    `confirmed` whether a person has confirmed the pairing, `aligned` the outcome of an alignment check with the power
    that was sent. `mechanical` is `Home`, `Moving` or `EndPosition`, `connected` whether all contacts have closed,
    `insulation` one of the schema's words, `trouble` a word of SPCChargeDiagnostics or empty.
    """

    in_place: bool = False
    x_cm: int = 0
    y_cm: int = 0
    observed_id: int | None = None
    confirmed: bool = False
    aligned: bool | None = None
    alignment_w: int = 0
    coil_ma: int = 0
    mechanical: str = "Home"
    connected: bool = False
    insulation: str = "Invalid"
    trouble: str = ""


class DeviceChanged(Fact, frozen=True):
    """The primary or connection device, or the vehicle at it, has changed."""

    device: Device


class Measured(Fact, frozen=True):
    """Voltage and current at the output, some times a second and after each change.

    Alternating current: the voltage between phase and neutral, and the sum of the phases' active currents, so that
    their product is the power. A primary device has a power only.
    """

    voltage_mv: int
    current_ma: int
    power_w: int | None = None

    @property
    def watts(self) -> int:
        """The power that flows, W, signed."""
        return self.voltage_mv * self.current_ma // 1_000_000 if self.power_w is None else self.power_w


class MeterRead(Fact, frozen=True):
    """The meter's registers, which only grow. `signature` (at most 64 bytes) is the meter's own, if it makes one."""

    utc_ms: int
    import_mwh: int
    export_mwh: int
    meter_id: str
    signature: bytes | None = None


class PilotChanged(Fact, frozen=True):
    """The vehicle was plugged in or out, or became ready or not ready."""

    state: PilotState


class HardwareFault(Fact, frozen=True):
    """The charger cannot go on. `reason` is a stable word."""

    reason: str
