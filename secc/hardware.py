"""The power electronics behind the controller: one small interface, and simulated chargers that stand behind it.

A backend for real hardware offers the same methods over its own fieldbus; see `EvseHardware`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from secc.core import ports
from secc.meter import SimulatedMeter
from v2g.errors import StoreError
from v2g.iso15118.session import Command, Fact
from v2g.net.clock import Clock
from v2g.net.dc_line import VehicleDc

OnFact = Callable[[Fact], None]

INSULATION_OHM_PER_V: Final = 100
"""Least insulation resistance a volt (IEC 61851-23 limit for d.c. outputs)."""

DEADBAND_MA: Final = 20
"""Smaller corrections of the current are not worth a change on the line."""

Seconds = Annotated[float, Meta(ge=0, le=60)]


class EvseHardware(Protocol):
    """What the session needs of a charger's power electronics. All methods are called in one event loop."""

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """Call `callback` with every Measured, MeterRead, ContactorState and HardwareFault from now on.

        Returns what ends that; a session that is over lets go of its hardware.
        """

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """Carry out a hardware command of `secc.core.ports`, as the command says: at once, or by a coroutine.

        SetOutput, StartPreCharge and EmergencyOff are done when this returns; a coroutine that an EmergencyOff
        overtakes neither closes a contactor nor brings voltage any more. Other commands are not for hardware and
        do nothing.
        """

    async def close(self) -> None:
        """Leave everything safe: no voltage, contactors open."""


class DcLine(Protocol):
    """The charger's end of the DC line: `v2g.net.dc_line.ChargerDcLine`, or `BenchLine`."""

    @property
    def vehicle(self) -> VehicleDc | None:
        """What the vehicle shows; None when none is there."""

    def on_change(self, callback: Callable[[VehicleDc | None], None]) -> None:
        """Call `callback` with what the vehicle shows from now on, None when it has let go."""

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Show the vehicle what is driven."""


class BenchLine:
    """No line at all: a load at the output stands for the vehicle, and bears what the vehicle says in its messages."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[VehicleDc | None], None]] = []
        self._load: VehicleDc | None = None

    @property
    def vehicle(self) -> VehicleDc | None:
        """What the load shows."""
        return self._load

    def on_change(self, callback: Callable[[VehicleDc | None], None]) -> None:
        """Call `callback` with what the load shows from now on."""
        self._callbacks.append(callback)

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Nobody sees what is driven."""

    def connect(self, load: VehicleDc | None) -> None:
        """Let the load show this; None takes it off."""
        if load != self._load:
            self._load = load
            for callback in self._callbacks:
                callback(load)


class SimulatedEvseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the simulated charger behaves. Waits are real seconds and 0 by default."""

    insulation_ohm: Annotated[int, Meta(ge=0)] = 1_000_000
    cable_check_s: Seconds = 0.0
    contactor_s: Seconds = 0.0
    contactors_stick: bool = False
    """The contactors do not follow, as a charger with welded or dead contactors would show."""
    report_s: Annotated[float, Meta(gt=0, le=10)] = 0.25
    """How often voltage, current and meter are reported while nothing changes."""


class SimulatedEvse:
    """A converter on the simulated DC line: it follows the battery's voltage and drives the current it is told to.

    Never more current than the vehicle lets pass, nor more power than the last SetOutput allows. What it does not
    model: rise times, ripple, losses, cable resistance.
    """

    def __init__(
        self,
        line: DcLine,
        meter: SimulatedMeter,
        clock: Clock,
        config: SimulatedEvseConfig | None = None,
    ) -> None:
        self._line, self._meter, self._clock = line, meter, clock
        self._config = config or SimulatedEvseConfig()
        self._callbacks: list[OnFact] = []
        self._output: ports.SetOutput | None = None
        self._idle_mv = 0
        self._closed = False
        self._driven = (0, 0)
        self._offs = 0  # what began before the last EmergencyOff has no say any more
        line.on_change(lambda _: self._drive())
        self._drive()
        self._reporter = asyncio.create_task(self._report_forever(), name="evse")

    @property
    def present(self) -> ports.Measured:
        """Voltage and current at the output."""
        return ports.Measured(*self._driven)

    @property
    def contactors_closed(self) -> bool:
        """Whether the output is connected to the inlet."""
        return self._closed

    def subscribe(self, callback: OnFact) -> Callable[[], None]:
        """Call `callback` with every fact from now on, and with the present values at once."""
        self._callbacks.append(callback)
        callback(self.present)
        callback(self._reading())
        return lambda: self._callbacks.remove(callback)

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """Carry out a hardware command; anything else does nothing."""
        match command:
            case ports.SetOutput():
                self._output = command
                self._drive()
            case ports.StartPreCharge(voltage_mv=voltage_mv):
                self._output, self._idle_mv = None, voltage_mv
                self._drive()
            case ports.EmergencyOff():
                self._offs += 1
                self._off()
                if not self._config.contactors_stick:
                    self._closed = False
                self._drive()
                self._tell(ports.ContactorState(self._closed))
            case ports.StartCableCheck(voltage_mv=voltage_mv):
                return self._cable_check(voltage_mv, self._offs)
            case ports.CloseContactors():
                return self._move_contactors(self._offs, closed=True)
            case ports.OpenContactors():
                return self._move_contactors(self._offs, closed=False)
        return None

    async def close(self) -> None:
        """Leave everything safe and stop reporting."""
        self._offs += 1
        self._off()
        self._closed = False
        self._drive()
        self._reporter.cancel()
        with contextlib.suppress(asyncio.CancelledError, StoreError):  # a StoreError was told as a fault
            await self._reporter
        self._meter.save()

    # -- inside -------------------------------------------------------------------------------------------------

    def _off(self) -> None:
        self._output, self._idle_mv = None, 0

    def _drive(self) -> None:
        """Put the line where commands and vehicle want it, and let the meter count what flowed until now."""
        voltage_mv, current_ma = self._operating_point(self._line.vehicle)
        before = self._driven
        if before[1] * current_ma > 0 and 0 <= abs(current_ma) - abs(before[1]) < DEADBAND_MA:
            current_ma = before[1]  # never more than is allowed now
        self._driven = (voltage_mv, current_ma)
        self._meter.flow(self._clock.utc_ms(), voltage_mv, current_ma)
        self._line.publish(voltage_mv, current_ma, contactor_closed=self._closed)
        if self._driven != before:
            self._tell(self.present)

    def _operating_point(self, vehicle: VehicleDc | None) -> tuple[int, int]:
        """Return the voltage (mV) and current (mA) that the output settles at."""
        output = self._output
        connected = vehicle is not None and vehicle.contactor_closed and self._closed
        if vehicle is None or not connected:
            return (self._idle_mv, 0)
        voltage_mv = vehicle.voltage_mv
        if output is None or voltage_mv <= 0 or (output.current_ma > 0 and voltage_mv > output.voltage_mv):
            return voltage_mv, 0
        if output.current_ma >= 0:
            return voltage_mv, min(
                output.current_ma, output.charge_w * 1_000_000 // voltage_mv, max(0, vehicle.max_charge_ma)
            )
        return voltage_mv, -min(
            -output.current_ma, output.discharge_w * 1_000_000 // voltage_mv, max(0, vehicle.max_discharge_ma)
        )

    async def _cable_check(self, voltage_mv: int, offs: int) -> Fact:
        if offs != self._offs:
            return ports.CableCheckFinished(passed=False)
        if not self._config.contactors_stick:
            self._closed = True
        self._output, self._idle_mv = None, voltage_mv
        self._drive()
        await asyncio.sleep(self._config.cable_check_s)
        if offs != self._offs:
            return ports.CableCheckFinished(passed=False)
        self._idle_mv = 0
        self._drive()
        insulated = self._config.insulation_ohm * 1000 >= INSULATION_OHM_PER_V * voltage_mv
        return ports.CableCheckFinished(passed=insulated and self._closed)

    async def _move_contactors(self, offs: int, *, closed: bool) -> Fact:
        if not closed:
            self._off()
            self._drive()  # no contactor is opened under current
        await asyncio.sleep(self._config.contactor_s)
        if offs == self._offs and not self._config.contactors_stick:
            self._closed = closed
        self._drive()
        return ports.ContactorState(self._closed)

    def _reading(self) -> ports.MeterRead:
        reading = self._meter.read(self._clock.utc_ms())
        return ports.MeterRead(reading.utc_ms, reading.import_mwh, reading.export_mwh, self._meter.serial)

    def _tell(self, fact: Fact) -> None:
        for callback in tuple(self._callbacks):
            callback(fact)

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(self._config.report_s)
            try:
                reading = self._reading()
                self._meter.save(sync=False)
            except StoreError:
                self._tell(ports.HardwareFault("meter_store"))
                raise
            self._tell(self.present)
            self._tell(reading)


class BenchEvse(SimulatedEvse):
    """A charger on a test bench: a load at its output stands for the vehicle, and bears what that says in its messages.

    So energy flows and is metered with a vehicle of any make at the other end of a network cable. The load stands at
    the voltage of the vehicle, or of the output if that is lower.
    """

    def __init__(self, meter: SimulatedMeter, clock: Clock, config: SimulatedEvseConfig | None = None) -> None:
        self._bench = BenchLine()
        super().__init__(self._bench, meter, clock, config)

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """Carry out a hardware command; anything else does nothing."""
        match command:
            case ports.Reported(voltage_mv=voltage_mv):
                ceiling = self._output.voltage_mv if self._output is not None else voltage_mv
                self._bench.connect(
                    VehicleDc(
                        max(0, min(voltage_mv, ceiling)),
                        contactor_closed=True,
                        max_charge_ma=command.max_charge_ma,
                        max_discharge_ma=command.max_discharge_ma,
                    )
                )
            case ports.StartCableCheck() | ports.OpenContactors() | ports.EmergencyOff():
                self._bench.connect(None)
        return super().execute(command)
