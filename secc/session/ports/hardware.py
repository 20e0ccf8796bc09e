"""Commands to the power hardware and the meter, and the resulting facts."""

import msgspec

from v2g.energy.conductors import Currents
from v2g.energy.discharge import JournalHead
from v2g.energy.limits import MOST_MA
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.session import Command, Fact


class Energising(Command, frozen=True):
    """Base of commands that apply voltage or current to the output: none is carried out after an EmergencyOff."""


class Driving(Energising, frozen=True):
    """Base of commands that drive power. A reduction takes effect also while the journal is being written."""

    @property
    def overtakes(self) -> Command:
        """A reduction does not wait for the journal; an increase does."""
        assert isinstance(self, Output)
        return Lower(self)

    def supersedes(self, earlier: Command) -> bool:
        """An earlier output that still waits for the journal is dropped."""
        return isinstance(earlier, Driving)


class StartCableCheck(Energising, frozen=True):
    """Close the charger's contactors towards the inlet and test insulation. Outcome: CableCheckFinished."""

    voltage_mv: int


class StartPreCharge(Energising, frozen=True):
    """Bring the output to a voltage at minimal current. Done at once; Measured facts report the progress."""

    voltage_mv: int


class SetOutput(Driving, frozen=True):
    """Drive `current_ma` (signed) into the vehicle. Done at once: effective immediately.

    The hardware never exceeds `voltage_mv`, nor `charge_w` into the vehicle, nor `discharge_w` out of it.
    """

    voltage_mv: int
    current_ma: int
    charge_w: int
    discharge_w: int


class SetAcOutput(Driving, frozen=True):
    """Let the vehicle draw or feed back this power. Done at once, as far as a charge point can.

    With alternating current the vehicle's own charger controls the power; the charge point sends the target in its
    messages, permits at most `charge_w` and `discharge_w` on all conductors together and `charge_ma` and
    `discharge_ma` on each, and opens if the vehicle exceeds them.
    `power_w` is the target (signed, all phases together), None if the vehicle follows a schedule by itself.
    `lines` is the number of line conductors that the vehicle uses, 0 if unknown.
    """

    charge_w: int
    discharge_w: int
    power_w: int | None = None
    charge_ma: int = MOST_MA
    discharge_ma: int = MOST_MA
    lines: int = 0


class SetWptOutput(Driving, frozen=True):
    """Send this power through the primary device, at most `charge_w`. Done at once."""

    charge_w: int
    power_w: int

    @property
    def discharge_w(self) -> int:
        """No power flows back."""
        return 0


Output = SetOutput | SetAcOutput | SetWptOutput
"""Commands that drive power, by the kind of current."""


class Lower(Command, frozen=True):
    """Limit the output to `output` as far as that is less than the present one; nothing rises. Done at once."""

    output: Output


class StartPositioning(Command, frozen=True):
    """Observe the vehicle's positioning, by this method. DeviceChanged facts report the progress."""

    method: str


class StartPairing(Command, frozen=True):
    """Let the primary device send its id, or search for the vehicle's, by this method."""

    method: str
    device_id: int


class CheckAlignment(Driving, frozen=True):
    """Drive the primary device's coil with this current to check the vehicle's alignment, sending at most
    `power_w`; 0 switches the field off."""

    current_ma: int
    power_w: int

    @property
    def overtakes(self) -> Command:
        """A reduction does not wait for the journal."""
        return Lower(SetWptOutput(charge_w=self.power_w, power_w=self.power_w))


class MoveDevice(Command, frozen=True):
    """Move the connection device to the vehicle, or home. DeviceChanged facts report the progress."""

    to_vehicle: bool


class Reported(Command, frozen=True):
    """The vehicle's report of its battery: its voltage, and its present maximum currents (never negative).

    Only a bench without a vehicle at its output uses it; others ignore it.
    """

    voltage_mv: int
    max_charge_ma: int
    max_discharge_ma: int


class CloseContactors(Energising, frozen=True):
    """Ensure that the charger's contactors are closed. Outcome: ContactorState."""


class OpenContactors(Command, frozen=True):
    """Bring the current to zero, then open. Outcome: ContactorState."""

    @property
    def overtakes(self) -> Command:
        """Takes effect also while the journal is being written: without messages nothing else removes the power."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """Commands that would apply power, and still wait for the journal, are dropped."""
        return isinstance(earlier, Energising)


class EmergencyOff(Command, frozen=True):
    """No current, no voltage, contactors open, without waiting. Done at once."""

    reason: str

    @property
    def always(self) -> bool:
        """Carried out also after a failure."""
        return True

    @property
    def overtakes(self) -> Command:
        """Takes effect also while the journal is being written."""
        return self

    def supersedes(self, earlier: Command) -> bool:
        """Commands that would restore power, and still wait for the journal, are dropped."""
        return isinstance(earlier, Energising)


class SetPilot(Command, frozen=True):
    """Show this duty cycle (percent) on the control pilot, None is the oscillator off. `forced` is E or F instead."""

    duty_percent: float | None = None
    forced: PilotState | None = None

    @property
    def overtakes(self) -> Command:
        """Off, E and F, and a lower current than the present one, do not wait for the journal; a higher one does."""
        return self if self.duty_percent is None else LowerPilot(self.duty_percent)

    def supersedes(self, earlier: Command) -> bool:
        """An earlier state that still waits for the journal is dropped."""
        return isinstance(earlier, SetPilot)


class LowerPilot(Command, frozen=True):
    """Show this duty cycle (percent, one that expresses a current) if the present one is larger. Done at once."""

    duty_percent: float


class Ventilate(Command, frozen=True):
    """Switch the ventilation that a vehicle in state D needs on or off."""

    on: bool


class CableCheckFinished(Fact, frozen=True):
    """The insulation test has ended; a failure ends the session."""

    passed: bool


class ContactorState(Fact, frozen=True):
    """The charger's contactors, by their auxiliary contacts.

    `why` is the interlock's reason for opening them by itself: `pilot_` and the state's letter, or a fault; empty if
    they opened by command, or without one.
    """

    closed: bool
    why: str = ""


class Device(msgspec.Struct, frozen=True):
    """Known state of a primary or connection device and the vehicle at it.

    `x_cm`/`y_cm` is the vehicle's distance from its place, `observed_id` the id that the device has observed of the
    vehicle, `confirmed` whether a person has confirmed the pairing, `aligned` the outcome of an alignment check with
    the power sent. `mechanical` is `Home`, `Moving` or `EndPosition`, `connected` whether all contacts have closed,
    `insulation` a value of the schema, `trouble` a value of SPCChargeDiagnostics or empty.
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
    """Voltage and current at the output, several times per second and after each change.

    Alternating current: the voltage between phase and neutral, and the sum of the phases' active currents, so that
    their product is the power; `currents` are those of the conductors, None if only the sum is measured. A primary
    device reports only power.
    """

    voltage_mv: int
    current_ma: int
    power_w: int | None = None
    currents: Currents | None = None

    @property
    def watts(self) -> int:
        """The present power, W, signed."""
        return self.voltage_mv * self.current_ma // 1_000_000 if self.power_w is None else self.power_w


class MeterRead(Fact, frozen=True):
    """The meter's registers, which only grow. `signature` (at most 64 bytes) is the meter's own, if it creates one.

    A reading in the journal is durable; it has the `reason` of its entry, and the journal's head after it. The meter
    itself shows `rolled` less, if its registers start again at `rollover_mwh`.
    """

    utc_ms: int
    import_mwh: int
    export_mwh: int
    meter_id: str
    signature: bytes | None = None
    reason: str = ""
    journal: JournalHead | None = None
    rolled: tuple[int, int] = (0, 0)
    rollover_mwh: int | None = None


class PilotChanged(Fact, frozen=True):
    """The vehicle was plugged or unplugged, or became ready or not ready."""

    state: PilotState


class HardwareFault(Fact, frozen=True):
    """The charger cannot continue. `reason` is a stable reason code."""

    reason: str
