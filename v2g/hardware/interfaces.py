"""Interfaces of a charger's hardware: small protocols, implemented by simulators and real parts. All methods and
callbacks are called in one event loop.

Power and current are positive from charger to vehicle. Voltages mV, currents mA, power W.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from v2g.energy.conductors import Currents
from v2g.hardware.board.inputs import Input
from v2g.hardware.faults import Light
from v2g.iec61851.pilot import PilotFault, PilotState
from v2g.iec61851.proximity import Proximity

OnFault = Callable[[str, bool], None]
"""Called with a code of `v2g.hardware.faults.FAULTS`, and whether it began (True) or ended."""


class Cut(Protocol):
    """Removal of power by a watchdog when the event loop hangs."""

    def cut(self) -> None:
        """Switch off at once, from any thread and without the event loop; it stays off until commanded off.

        A part that switches itself off without commands needs none from this thread, but must get none to switch on
        from then on, in case the event loop goes on. The self-test at the start cuts each part, and commands it on.
        """


class Contactor(Cut, Protocol):
    """The switch between power electronics, or mains, and the vehicle's inlet."""

    @property
    def closed(self) -> bool:
        """The state of its auxiliary contact."""

    def set(self, *, closed: bool) -> None:
        """Close or open it; the auxiliary contact shows when it has moved."""

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` whenever the auxiliary contact moves."""


class PhaseSwitch(Protocol):
    """Connects the line conductors of the mains with those of an AC outlet."""

    @property
    def lines(self) -> Annotated[tuple[Annotated[int, Meta(ge=0, le=2)], ...], Meta(min_length=1, max_length=3)]:
        """The conductors in use, 0 to 2 for L1 to L3: the first one is L1 of the outlet."""

    @property
    def selects(self) -> bool:
        """Whether any of them may be the only one; otherwise that is L1."""

    def set(self, lines: tuple[int, ...]) -> None:
        """Use these conductors and no others. It is called with the contactor open, and `lines` then shows them."""


class Demand(msgspec.Struct, frozen=True):
    """A power stage's command: never more than `voltage_mv`, nor than `current_ma` (signed), nor than `power_w`
    (a magnitude) in the current's direction."""

    voltage_mv: int
    current_ma: int = 0
    power_w: int = 0


OFF: Final = Demand(0)


REPORT_S: Final = 0.5
"""Longest time between two reports of a power stage that is driven."""


class StageReport(msgspec.Struct, frozen=True):
    """Voltage and current at the output of a power stage."""

    voltage_mv: Annotated[int, Meta(ge=-2_000_000, le=2_000_000)]
    current_ma: Annotated[int, Meta(ge=-10_000_000, le=10_000_000)]

    @property
    def power_w(self) -> int:
        """The power, W, signed."""
        return self.voltage_mv * self.current_ma // 1_000_000


class PowerStage(Cut, Protocol):
    """A direct-current converter."""

    @property
    def present(self) -> StageReport:
        """The last measurement of the output."""

    @property
    def max_var(self) -> Annotated[int, Meta(ge=0)]:
        """Maximum reactive power, injected or absorbed; 0: none."""

    def drive(self, demand: Demand) -> None:
        """Follow this command. `OFF` removes current and voltage."""

    def react(self, var: int) -> None:
        """Provide this reactive power: injected is positive, within `max_var`."""

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        """Call `callback` with each new measurement: while the stage is driven at least every REPORT_S, also without a
        change. A stage that does not is at fault."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the stage trips, stops responding, or recovers."""


class IsolationMonitor(Protocol):
    """Measures the insulation between output and earth."""

    async def measure(self, voltage_mv: int) -> Annotated[int, Meta(ge=0)] | None:
        """Return the resistance (ohm) with the output at this voltage, None when the monitor does not answer."""

    @property
    def resistance_ohm(self) -> Annotated[int, Meta(ge=0)] | None:
        """The resistance while energy flows, or as last measured; None while the monitor does not answer."""


class Cabinet(Protocol):
    """Other parts: lamp, plug lock, emergency stop, fan and temperatures."""

    @property
    def has_latch(self) -> bool:
        """Whether there is a plug lock."""

    @property
    def temperatures(self) -> dict[str, Annotated[float, Meta(ge=-100, le=1_000)] | None]:
        """Degrees C by sensor; None for a failed one."""

    @property
    def fan_rpm(self) -> Annotated[int, Meta(ge=0)] | None:
        """The fan's speed; None without one."""

    def set_light(self, light: Light) -> None:
        """Set the lamp."""

    def set_latch(self, *, locked: bool) -> None:
        """Lock or release the plug."""

    def set_fan(self, percent: int) -> None:
        """Switch the fan."""

    def on_latch(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` when the lock has moved."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the emergency stop is pressed or released, or its board is lost or back."""


FRESH_S: Final = 1.0
"""Longest age of a pilot's state while it is not F."""


class ChargerPilot(Protocol):
    """The charger's end of the control pilot."""

    @property
    def state(self) -> PilotState:
        """The present state of the wire."""

    @property
    def age_s(self) -> Annotated[float, Meta(ge=0)]:
        """Time since the board last measured `state`, whether or not it changed. A board that has stopped repeats its
        last state for ever: only this shows it. While it is above FRESH_S, and the state not F, the board is at
        fault."""

    @property
    def fault(self) -> PilotFault:
        """Why the state is E, if known."""

    @property
    def proximity(self) -> Proximity:
        """The state of the plug's proximity contact."""

    @property
    def duty_percent(self) -> float | None:
        """The duty cycle set, None while the oscillator is off."""

    def on_state(self, callback: Callable[[PilotState], None]) -> None:
        """Call `callback` with each new state."""

    def on_proximity(self, callback: Callable[[Proximity], None]) -> None:
        """Call `callback` with each change of the proximity contact."""

    def on_oscillator(self, callback: Callable[[bool], None]) -> None:
        """Call `callback` when the oscillator is switched on or off."""

    def set_duty(self, percent: float | None) -> None:
        """Run the oscillator at `percent` (0..100), or switch it off with None (X1); ends a fault."""

    def set_error(self, state: PilotState) -> None:
        """Force E or F."""


class BoardMonitor(Protocol):
    """The safety monitor on a control board: a second processor with the same rule."""

    def tell(self, what: Input) -> None:
        """Tell it its next input."""

    def on_new(self, callback: Callable[[], None]) -> None:
        """Call `callback` at once, and whenever a board has started that knows nothing."""


SelfTest = Callable[[], Awaitable[str]]
"""Tests a part by itself, and returns what has failed; empty if nothing has. At most SELF_TEST_S."""

SELF_TEST_S: Final = 5.0


@dataclass(frozen=True)
class BoardParts:
    """A control board. `pilot` is None where there is no plug, `monitor` where the board runs none.

    `self_test`, which a driver may offer, is called while the contactor is open: at the start, and before the charger
    is used again after a failure. It tests what the interfaces do not show (levels, duty cycle read back, dead-man,
    auxiliary contact), may move the pilot's signal for that, and leaves all as it was. At the start a vehicle may be
    connected: then the signal stays, and what depends on it is not tested.
    """

    pilot: ChargerPilot | None
    contactor: Contactor
    cabinet: Cabinet
    self_test: SelfTest | None = None
    monitor: BoardMonitor | None = None
    phases: PhaseSwitch | None = None
    """Of an AC outlet that changes between three phases and one; None: it does not."""


@dataclass(frozen=True)
class StageParts:
    """A direct-current output. `isolation_test`, which a driver may offer, has the isolation monitor test itself before
    each cable check, without a voltage at the output."""

    stage: PowerStage
    isolation: IsolationMonitor
    isolation_test: SelfTest | None = None


class MeterValues(msgspec.Struct, frozen=True):
    """One reading of a meter: energies in mWh, voltage in mV, power in W, frequency in mHz; None if not available.
    Import is energy into the vehicle; power is positive while energy flows into it."""

    import_mwh: Annotated[int, Meta(ge=0)]
    export_mwh: Annotated[int, Meta(ge=0)]
    voltage_mv: int | None = None
    power_w: int | None = None
    frequency_mhz: int | None = None
    currents: Currents | None = None
    """Of L1, L2 and L3; None if the meter measures no conductor by itself."""
    line_mv: tuple[int, ...] = ()
    """Voltages of L1, L2 and L3 to the neutral, as many as are measured."""
    line_w: tuple[int, ...] = ()
    """Powers of L1, L2 and L3, signed as `power_w`, as many as are measured."""


class EnergyMeter(Protocol):
    """A meter with registers of its own, which it stores itself."""

    @property
    def values(self) -> MeterValues:
        """The last good reading. Its registers never fall, except to 0 at `rollover_mwh`."""

    @property
    def lost(self) -> bool:
        """Whether it does not answer."""

    @property
    def rollover_mwh(self) -> int | None:
        """Where its registers start again at 0; None if they do not."""

    @property
    def has_voltage(self) -> bool:
        """Whether `values` have a voltage."""

    async def refresh(self) -> None:
        """Return when `values` include all energy until now, or the meter is lost."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` with each new reading."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when the meter stops responding or responds again (`meter_lost`)."""


class PrimaryReport(msgspec.Struct, frozen=True):
    """State of a primary device in the ground. `sent_w` is its grid power and `coil_ma` its coil
    current; `in_place` whether a vehicle is above it, `observed_id` the vehicle's observed id, `confirmed`
    whether a person has confirmed the pairing; `aligned` the result while it is excited, else None."""

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
        """The present state."""

    def find(self, method: str) -> None:
        """Guide a vehicle to its position by this method, and watch it."""

    def pair(self, method: str, device_id: int) -> None:
        """Send this id, or observe the vehicle's, by this method."""

    def excite(self, coil_ma: int, power_w: int) -> None:
        """Drive this current through the coil, limited to `power_w`, to check a vehicle's
        alignment."""

    def send(self, power_w: int) -> None:
        """Send at most this power; 0 switches the field off."""

    def rest(self) -> None:
        """End the service: no field, no id."""

    def on_report(self, callback: Callable[[PrimaryReport], None]) -> None:
        """Call `callback` with each new report."""

    def on_fault(self, callback: OnFault) -> None:
        """Call `callback` when an object or a living being is detected, or is gone again."""


class ContactReport(msgspec.Struct, frozen=True):
    """State of an automatic connection device: `mechanical` is Home, Moving or EndPosition, `connected` whether all
    contacts have closed. `present` is whether a vehicle is near, `moving` whether it moves, `x_cm` and `y_cm` its
    distance from its place."""

    mechanical: str = "Home"
    connected: bool = False
    present: bool = False
    moving: bool = False
    x_cm: int = 0
    y_cm: int = 0


class ConnectionDevice(Protocol):
    """A pantograph, or another automatic connection device. It ignores voltage: the caller must check it."""

    @property
    def report(self) -> ContactReport:
        """The present state."""

    def send(self, *, down: bool) -> None:
        """Move to the vehicle, or home."""

    def on_report(self, callback: Callable[[ContactReport], None]) -> None:
        """Call `callback` with each new report."""


class EmergencyOutput(Protocol):
    """An output for emergencies: a solenoid that disconnects or extinguishes, or the input of a fire panel (R127)."""

    @property
    def asserted(self) -> bool:
        """Whether it is, by its feedback contact; without one, as commanded."""

    def set(self, *, asserted: bool) -> None:
        """Assert or release it, at once. It may not wait for anything."""


CardId = Annotated[str, Meta(pattern=r"^([0-9A-F]{2}){4,10}\Z")]
"""The identifier (UID) of a card, 4 to 10 octets in hexadecimal digits, in the order in which the card sends them."""

CardType = Literal["ISO14443", "ISO15693"]
"""The standard of a card: its token type in OCPP."""


class CardReader(Protocol):
    """A reader of RFID cards."""

    def on_card(self, callback: Callable[[CardId, CardType], None]) -> None:
        """Call `callback` with each new card: once, however long it stays, and again when it was away."""

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the reason when the reader stops responding: the charger closes it, and opens it
        again."""


class DriverDisplay(Protocol):
    """A display for the drivers of vehicles."""

    async def show(self, shown: Mapping[str, object]) -> None:
        """Show this instead of what was there, and return when it can be read. Raise TransportError for a display that
        does not respond: the charger closes it, and opens it again.

        `shown` is the object of `[station.display]`. It is never called while it is at work: a slow display gets the
        newest next.
        """
