"""What a charger needs of its power hardware, part by part: small protocols, behind which simulators and real parts
stand. All methods are called in one event loop; callbacks come in it.

Signs as everywhere: power and current are positive from charger to vehicle. Voltages mV, currents mA, power W.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from v2g.hardware.faults import Light

OnFault = Callable[[str, bool], None]
"""Called with a word of `v2g.hardware.faults.FAULTS`, and whether it began (True) or ended."""


class Cut(Protocol):
    """What a watchdog can take power away with when the event loop hangs."""

    def cut(self) -> None:
        """Off at once, from any thread and without the event loop; it stays off until it is told to be off.

        Does nothing where the part itself goes off when it is not spoken to.
        """


class Contactor(Cut, Protocol):
    """The switch between power electronics, or mains, and the vehicle's inlet."""

    @property
    def closed(self) -> bool:
        """What its auxiliary contact says."""

    def set(self, *, closed: bool) -> None:
        """Close or open it; the auxiliary contact tells when it has moved."""

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` whenever the auxiliary contact moves."""


class Demand(msgspec.Struct, frozen=True):
    """What a power stage is to do: never more than `voltage_mv`, nor than `current_ma` (signed), nor than `power_w`
    (a magnitude) in the current's direction."""

    voltage_mv: int
    current_ma: int = 0
    power_w: int = 0


OFF: Final = Demand(0)


class StageReport(msgspec.Struct, frozen=True):
    """Voltage and current at the output of a power stage."""

    voltage_mv: int
    current_ma: int

    @property
    def power_w(self) -> int:
        """The power that flows, W, signed."""
        return self.voltage_mv * self.current_ma // 1_000_000


class PowerStage(Cut, Protocol):
    """The electronics that make a direct current."""

    @property
    def present(self) -> StageReport:
        """What is at the output, as last measured."""

    @property
    def max_var(self) -> int:
        """The reactive power that it can inject into the grid or absorb at most; 0: it makes none."""

    def drive(self, demand: Demand) -> None:
        """Do this from now on. `OFF` takes current and voltage away."""

    def react(self, var: int) -> None:
        """Make this reactive power from now on: injected is positive, within `max_var`."""

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        """Call `callback` with each new measurement."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the stage trips, falls silent, or is well again."""


class IsolationMonitor(Protocol):
    """Measures the insulation between output and earth."""

    async def measure(self, voltage_mv: int) -> int | None:
        """Return the resistance (ohm) with the output at this voltage, None when the monitor does not answer."""

    @property
    def resistance_ohm(self) -> int | None:
        """The resistance while energy flows; None when the monitor does not answer."""


class Cabinet(Protocol):
    """The rest: lamp, plug lock, emergency stop, fan and temperatures."""

    @property
    def has_latch(self) -> bool:
        """Whether there is a plug lock of ours."""

    @property
    def temperatures(self) -> dict[str, float | None]:
        """Degrees C by sensor; None for one that does not answer."""

    @property
    def fan_rpm(self) -> int | None:
        """How fast the fan turns; None without one."""

    def set_light(self, light: Light) -> None:
        """Let the lamp say this."""

    def set_latch(self, *, locked: bool) -> None:
        """Lock or release the plug."""

    def set_fan(self, percent: int) -> None:
        """Let the fan turn."""

    def on_latch(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` when the lock has moved."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the emergency stop is pressed or released, or the board behind it is lost or found."""


class PrimaryReport(msgspec.Struct, frozen=True):
    """What a primary device in the ground knows. `sent_w` is what it takes from the grid and `coil_ma` its coil
    current; `in_place` whether a vehicle stands above it, `observed_id` what it has observed of that, `confirmed`
    whether a person has confirmed the pairing; `aligned` its judgement while it is excited, else None."""

    in_place: bool = False
    observed_id: int | None = None
    confirmed: bool = False
    aligned: bool | None = None
    coil_ma: int = 0
    sent_w: int = 0


class PrimaryDevice(Cut, Protocol):
    """The coil in the ground and its electronics. Methods by the names of WPT_FinePositioningMethod and so on."""

    @property
    def report(self) -> PrimaryReport:
        """What is known now."""

    def find(self, method: str) -> None:
        """Help a vehicle to find its place by this method, and watch it."""

    def pair(self, method: str, device_id: int) -> None:
        """Tell this id, or look for the vehicle's, by this method."""

    def excite(self, coil_ma: int, power_w: int) -> None:
        """Drive this current through the coil, or less so that at most `power_w` are sent, to see how well a vehicle is
        aligned."""

    def send(self, power_w: int) -> None:
        """Send at most this power from now on; 0 takes the field away."""

    def rest(self) -> None:
        """Nobody is served any more: no field, no id."""

    def on_report(self, callback: Callable[[PrimaryReport], None]) -> None:
        """Call `callback` with each new report."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when something lies on the device or lives near it, or is gone again."""


class ContactReport(msgspec.Struct, frozen=True):
    """What an automatic connection device knows: `mechanical` is Home, Moving or EndPosition, `connected` whether all
    contacts have closed. `present` is whether a vehicle is near, `moving` whether it moves, `x_cm` and `y_cm` how far
    it is from its place."""

    mechanical: str = "Home"
    connected: bool = False
    present: bool = False
    moving: bool = False
    x_cm: int = 0
    y_cm: int = 0


class ConnectionDevice(Protocol):
    """A pantograph, or another device that connects by itself. It does not know of voltage: whoever sends it does."""

    @property
    def report(self) -> ContactReport:
        """What is known now."""

    def send(self, *, down: bool) -> None:
        """Move to the vehicle, or home."""

    def on_report(self, callback: Callable[[ContactReport], None]) -> None:
        """Call `callback` with each new report."""
