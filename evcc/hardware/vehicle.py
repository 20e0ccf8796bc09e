"""The vehicle around the controller: one small interface, and a simulated vehicle behind it.

A backend for real hardware implements the same methods over its own CAN or I/O; see `VehicleHardware`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final, Literal, Protocol

import msgspec

from evcc.hardware.ac import BenchAcLine, OnBoardCharger
from evcc.hardware.couplings import SecondaryDevice
from evcc.hardware.drive import Driving
from evcc.hardware.pack import CellSensors
from evcc.policy.battery import Battery, BatteryConfig
from evcc.session import ports
from v2g.energy.grid_support import NO_SUPPORT
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import wait_at_most
from v2g.io.simulation.lines import ChargerDc, VehicleDc
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Callbacks

BREAKABLE_MA: Final = 5_000
"""Current that the contactor may break without wear."""

BREAK_ANYWAY_S: Final = 1.0
"""Time after which the contactor opens under any current: the charger should have been off long before."""

MATCHED_MV: Final = 20_000
"""Maximum voltage across an open contactor for closing it (ISO 15118-20 requires the charger to pre-charge)."""

RESOLUTION_MV: Final = 100
RESOLUTION_MA: Final = 200
"""Smaller changes are not published on the line, as with a real sensor: charger and battery would respond to each
other endlessly."""

VehicleFault = Literal[
    "weld", "stuck_closed", "no_close", "drop", "battery_silent", "battery_insulation", "inlet_silent"
]
"""Faults that can be simulated. `weld` keeps the contactor from opening, `stuck_closed` keeps it closed whatever
the command, `drop` open. Of a silent sensor only the last reading is known. `battery_insulation` is a fault in the
battery's report."""

OnFact = Callable[[Fact], None]


class VehicleHardware(Protocol):
    """The vehicle's interface for sessions. All methods are called in one event loop."""

    @property
    def battery(self) -> ports.BatteryState:
        """The battery's present report."""

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """Call `callback` with every BatteryState, PresentVoltage, ContactorState and HardwareFault from now on.

        Battery and inlet report several times per second, even without changes: missing reports count as
        silence. Returns a function that ends the subscription.
        """

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """Carry out a command of `evcc.session.ports`: at once (None) or by a coroutine whose outcome is a fact."""

    def cut(self) -> None:
        """Switch off at once, from any thread and without the event loop: pilot in B, contactor open. It stays so until
        the contactor is commanded to open.

        Has no effect if the hardware itself switches off without communication.
        """

    async def close(self) -> None:
        """Leave everything safe: contactor open, pilot in B."""


class PilotPort(Protocol):
    """The vehicle's end of the control pilot."""

    def set_state(self, state: PilotState) -> None:
        """Show B or C."""


class DcLine(Protocol):
    """The vehicle's end of the DC line: `v2g.io.simulation.lines.VehicleDcLine`, or `BenchLine`."""

    def on_change(self, callback: Callable[[ChargerDc | None], None]) -> None:
        """Call `callback` with the charger's output, None when it is gone."""

    def publish(
        self, voltage_mv: int, *, contactor_closed: bool, max_charge_ma: int = 0, max_discharge_ma: int = 0
    ) -> None:
        """Publish the battery's state for the charger."""


class Converter(Protocol):
    """A path of energy into the battery other than the DC line: the on-board charger, or a coil."""

    @property
    def present(self) -> ports.PresentVoltage:
        """Voltage and current at its inlet, or if it has none, at its output."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` when voltage or current has changed."""

    def limit(self, charge_w: int) -> None:
        """Limit the power into the battery from now on."""

    def drive(self, power_w: int) -> None:
        """Draw (positive) or feed back this power from now on, as far as the vehicle controls it."""

    def battery_ma(self, battery_mv: int) -> int:
        """Return the current into the battery (negative out of it) at its voltage."""

    def cut(self) -> None:
        """Draw and feed back nothing from now on; may be called from any thread, and calls no callbacks."""


class BenchLine:
    """No line: for protocol tests against a charger without a power stage.

    The battery follows the current that the charger reports in its messages, and with `pre_charges` the inlet the
    voltage; else every pre-charge counts as done.
    """

    def __init__(self, *, pre_charges: bool = False) -> None:
        self._pre_charges, self._closed = pre_charges, False
        self._battery_mv = 0
        self.on_change: Final = Callbacks[ChargerDc | None]()
        """Called with the charger's assumed output."""

    def publish(self, voltage_mv: int, *, contactor_closed: bool, **_: object) -> None:
        """Store the battery's voltage, and whether it is connected; the rest has no effect."""
        self._battery_mv, self._closed = voltage_mv, contactor_closed

    def report(self, current_ma: int | None, voltage_mv: int = 0) -> None:
        """Set the current and the voltage that the charger reports; None when it has switched off."""
        inlet_mv = voltage_mv if self._pre_charges and not self._closed else self._battery_mv
        charger = None if current_ma is None else ChargerDc(inlet_mv, current_ma, contactor_closed=True)
        self.on_change.tell(charger)


class BenchPilot:
    """No pilot wire: the charger is assumed to require digital communication, and does not see our state."""

    duty = DutyReading("digital")

    def __init__(self) -> None:
        self.mains = BenchAcLine()

    def on_duty(self, callback: Callable[[DutyReading], None]) -> None:
        """The reading never changes."""

    def plug(self) -> None:
        """Nothing to plug in."""

    def set_state(self, state: PilotState) -> None:
        """The state is not visible; alternating current is assumed to be present in C and D."""
        self.mains.pass_on(closed=state in (PilotState.C, PilotState.D))

    def unplug(self) -> None:
        """Nothing to unplug."""


class SimulatedVehicle:
    """VehicleHardware: a battery behind a contactor on the simulated DC line, stepping on the (possibly scaled) clock.

    The charger sets the current: the battery accepts it while both contactors are closed, and publishes its limits
    on the line. Not modelled: inrush at the contactor, ripple, cable resistance.
    `faults` are the present faults, read again at each step.
    """

    def __init__(
        self,
        config: BatteryConfig,
        *,
        line: DcLine,
        pilot: PilotPort,
        clock: Clock,
        step_s: float = 0.05,
        contactor_delay_s: float = 0.0,
        on_board: Converter | None = None,
        driving: Driving | None = None,
        faults: set[VehicleFault] | None = None,
        cells: CellSensors | None = None,
    ) -> None:
        self._clock = clock
        self._cells = cells
        self._faults = set() if faults is None else faults
        self._off = False
        self._moves = 0  # commands to the contactor, of which the latest counts
        self._sensed: tuple[ports.BatteryState, ports.BatteryState] | None = None  # by the model, and with the sensors
        self._on_board = on_board
        self._driving = driving or Driving()
        self._line = line
        self._pilot = pilot
        self._state = PilotState.B
        self._step_s = step_s
        self._contactor_delay_s = contactor_delay_s
        self._model = Battery(config, at_ms=clock.elapsed_ms())
        self._closed = self._coil = False
        self.limits = ports.SetPowerLimits(0, 0)
        """The vehicle's limits, W."""
        self._callbacks: list[OnFact] = []
        self._current_fell = asyncio.Event()
        self._charger: ChargerDc | None = None
        self._shown: VehicleDc | None = None
        self._driven_ma = 0
        line.on_change(self._charger_changed)
        if on_board is not None:
            on_board.on_change(self.step)
        self._publish()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(step_s, self._step_in_time)

    @property
    def battery(self) -> ports.BatteryState:
        """The battery's present report."""
        state = self._model.state
        if self._cells is not None:
            if self._sensed is None or self._sensed[0] is not state:
                self._sensed = state, self._cells.read(state, self._clock.monotonic())
            state = self._sensed[1]
        if "battery_insulation" in self._faults:
            return msgspec.structs.replace(state, fault="battery_insulation")
        return state

    @property
    def contactor_closed(self) -> bool:
        """Whether the battery is connected to the inlet."""
        return self._closed

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """Call `callback` with every fact from now on, and with the present state at once."""
        self._callbacks.append(callback)
        for fact in (self.battery, self._inlet, ports.ContactorState(self._closed)):
            callback(fact)
        return lambda: self._callbacks.remove(callback)

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """Carry out a command of `evcc.session.ports`."""
        if isinstance(command, ports.OpenContactor):
            self._off, self._moves = False, self._moves + 1
        elif self._off:
            return None
        match command:
            case ports.SetCpState(state=state):
                self._pilot.set_state(state)
                self._state = state
                if state is PilotState.B and isinstance(self._on_board, OnBoardCharger):
                    self._on_board.support(NO_SUPPORT)
                if state is PilotState.B and isinstance(self._line, BenchLine):
                    self._line.report(None)
            case ports.Reported() if isinstance(self._line, BenchLine):
                self._line.report(command.current_ma, command.voltage_mv)
            case ports.SetAcPower(power_w=power_w) if self._on_board is not None:
                self._on_board.drive(power_w)
            case ports.SetGridSupport(support=support) if isinstance(self._on_board, OnBoardCharger):
                self._on_board.support(support)
            case ports.SetPowerLimits():
                self.limits = command
                self._shown = None  # a new limit is published however small the change
                if self._on_board is not None:
                    self._on_board.limit(command.charge_w)
                self.step()
            case ports.CloseContactor():
                self._moves += 1
                return self._close_contactor(self._moves)
            case ports.DriveIn():
                return self._driving.drive(command)
            case ports.ObserveDevice(method=method) if isinstance(self._on_board, SecondaryDevice):
                return self._on_board.observe(method)
            case ports.TransmitId(device_id=device_id) if isinstance(self._on_board, SecondaryDevice):
                self._on_board.transmit(device_id)
            case ports.OpenContactor():
                return self._open_contactor()
        return None

    def contacts_lost(self) -> None:
        """The charger's contacts have left the rails: reported unless the vehicle is in state B and
        its circuit open, as after a normal end of power."""
        if self._closed or self._state is not PilotState.B:
            self._notify(ports.PlugState(connected=False))

    def cut(self) -> None:
        if isinstance(self._line, BenchLine):
            return  # there is nothing to switch off
        self._off, self._moves = True, self._moves + 1
        if self._state is not PilotState.B:
            self._state = PilotState.B
            self._pilot.set_state(PilotState.B)
        if self._on_board is not None:
            self._on_board.cut()
        self._coil = False
        if "weld" not in self._faults:
            self._closed = False
            self._line.publish(self._model.state.voltage_mv, contactor_closed=False)

    async def close(self) -> None:
        """Leave everything safe: contactor open, pilot in B, battery at rest."""
        self._timer.cancel()
        self._moves += 1
        if self._on_board is not None:
            self._on_board.drive(0)
            self._on_board.limit(0)
        if self._state is not PilotState.B:  # a pilot that was never plugged in shows nothing
            self._pilot.set_state(PilotState.B)
        await self._open_contactor()

    def step(self) -> None:
        """Apply the present current until now, and report the new state."""
        # move the contactor as far as possible, and report its auxiliary contact
        closed = ("stuck_closed" in self._faults) or (self._coil and "drop" not in self._faults)
        if closed is not self._closed and ("no_close" if closed else "weld") not in self._faults:
            self._closed = closed
            self._notify(ports.ContactorState(closed))
        if abs(self._flowing_ma()) <= BREAKABLE_MA:  # also if the contactor has dropped: it must not close again
            self._current_fell.set()
        self._settle()
        if isinstance(self._on_board, OnBoardCharger):
            self._on_board.advance(self._clock.elapsed_ms() / 1000)
        self._driven_ma = self._on_board.battery_ma(self._model.state.voltage_mv) if self._on_board is not None else 0
        self._publish()
        if "battery_silent" not in self._faults:
            self._notify(self.battery)

    def _flowing_ma(self) -> int:
        charger = self._charger
        return charger.current_ma if charger is not None and charger.contactor_closed and self._closed else 0

    def _settle(self) -> None:
        """Let both currents have flowed until now."""
        self._model.advance(self._clock.elapsed_ms(), self._driven_ma + self._flowing_ma())

    def _charger_changed(self, charger: ChargerDc | None) -> None:
        self._settle()
        self._charger = charger
        self.step()

    def _publish(self) -> None:
        state = self._model.state
        volts = max(state.voltage_mv, 1) / 1000
        shown = VehicleDc(
            state.voltage_mv,
            self._closed,
            min(state.max_charge_ma, int(self.limits.charge_w / volts * 1000)),
            min(state.max_discharge_ma, int(self.limits.discharge_w / volts * 1000)),
        )
        if self._shown is None or _differs(self._shown, shown):
            self._shown = shown
            self._line.publish(
                shown.voltage_mv,
                contactor_closed=shown.contactor_closed,
                max_charge_ma=shown.max_charge_ma,
                max_discharge_ma=shown.max_discharge_ma,
            )
        driven = self._charger.voltage_mv if self._charger is not None and self._charger.contactor_closed else 0
        inlet = ports.PresentVoltage(state.voltage_mv if self._closed else driven, self._flowing_ma())
        if self._on_board is not None and self._on_board.present.voltage_mv:
            inlet = self._on_board.present
        self._inlet = inlet
        if "inlet_silent" not in self._faults:
            self._notify(inlet)

    def _notify(self, fact: Fact) -> None:
        for callback in tuple(self._callbacks):
            callback(fact)

    async def _close_contactor(self, move: int) -> Fact:
        await asyncio.sleep(self._contactor_delay_s)
        if move != self._moves:
            return ports.ContactorState(self._closed)
        across = abs(self._inlet.voltage_mv - self._model.state.voltage_mv)
        if across > MATCHED_MV:
            return ports.HardwareFault("contactor_voltage_mismatch")
        self._coil = True
        self.step()
        return ports.ContactorState(self._closed)

    async def _open_contactor(self) -> Fact:
        if abs(self._flowing_ma()) > BREAKABLE_MA:
            self._current_fell.clear()
            await wait_at_most(BREAK_ANYWAY_S, self._current_fell.wait())
        await asyncio.sleep(self._contactor_delay_s)
        self._settle()
        self._coil = False
        self.step()
        return ports.ContactorState(self._closed)

    def _step_in_time(self) -> None:
        self.step()
        self._timer = self._loop.call_later(self._step_s, self._step_in_time)


def _differs(shown: VehicleDc, now: VehicleDc) -> bool:
    """Whether the line needs an update."""
    return (
        shown.contactor_closed is not now.contactor_closed
        or abs(shown.voltage_mv - now.voltage_mv) >= RESOLUTION_MV
        or any(
            (before == 0) is not (after == 0) or abs(before - after) >= RESOLUTION_MA
            for before, after in (
                (shown.max_charge_ma, now.max_charge_ma),
                (shown.max_discharge_ma, now.max_discharge_ma),
            )
        )
    )
