"""Simulated power hardware: the models of `v2g.hardware.simulation`, driven by the clock and the simulated DC line.

Faults of a script, or of a test by `Bench.fault`, act like real ones: a welded contactor does not open,
a tripped stage gives no current. Software above gets only what real parts would report.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from v2g.errors import ConfigError
from v2g.hardware import simulation
from v2g.hardware.faults import Light
from v2g.hardware.interfaces import OFF, REPORT_S, Contactor, Demand, StageReport
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.lines import VehicleDc
from v2g.io.simulation.medium import Medium
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Callbacks

STEP_S = 0.05
"""Real seconds between two steps of a model that moves."""


class Faults:
    """The active faults; parts read them, and are notified of changes."""

    def __init__(self, script: tuple[simulation.FaultStep, ...], clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._script = simulation.FaultScript(script, clock.monotonic())
        self._values: dict[simulation.SimulatedFault, float] = {}
        self.on_change: Final = Callbacks[[]]()
        """Called when a fault begins or ends."""
        self._timer: asyncio.TimerHandle | None = None
        self._run()

    def value(self, fault: simulation.SimulatedFault) -> float | None:
        """Return the value of an active fault (0 if it has none), None if it is not active."""
        return self._values.get(fault)

    def __contains__(self, fault: simulation.SimulatedFault) -> bool:
        return fault in self._values

    def set(self, fault: simulation.SimulatedFault, *, active: bool = True, value: float = 0.0) -> None:
        """Set or clear a fault."""
        if active:
            self._values[fault] = value
        else:
            self._values.pop(fault, None)
        self.on_change.tell()

    def note(self, moment: simulation.Moment) -> None:
        """Report an event to the script."""
        if self._script.note(moment, self._clock.monotonic()):
            self._run()

    def close(self) -> None:
        """Stop the script."""
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        now = self._clock.monotonic()
        for step, active in self._script.changes(now):
            self.set(step.fault, active=active, value=step.value)
        self.close()
        at = self._script.deadline(now)
        if at is not None:
            self._timer = self._loop.call_later(at - now + 0.001, self._run)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What joins the simulated parts of one charger. `medium` has the wires to the vehicle, at the plug number
    `connector`; `plug` is False for a primary device; `lines` are those of an AC outlet. `folder`, `serial` and `keys`
    are the meter's; without a folder it forgets its registers, with keys it seals them."""

    faults: Faults
    medium: Medium | None = None
    connector: int = 1
    plug: bool = True
    current_ma: Callable[[], int] = lambda: 0
    lines: int = 0
    folder: Path | None = None
    serial: str = ""
    keys: RecordKeys | None = None

    def wires(self, what: str) -> Medium:
        """Return the medium. Raises ConfigError if there is none."""
        if self.medium is None:
            raise without_medium(what)
        return self.medium


def without_medium(what: str) -> ConfigError:
    """Return the error of a part without its simulated wires."""
    return ConfigError(
        f"link.medium is missing: {what} is simulated",
        hint="name the real part in [hardware], set link.medium to the folder of the simulated wires, or set "
        'hardware.backend = "bench"',
    )


class SimulatedPhaseSwitch:
    """Relays between mains and outlet, that move at once while the contactor is open. See PhaseSwitch."""

    selects = True

    def __init__(self, contactor: "SimulatedContactor", lines: int) -> None:
        self._contactor, self.lines = contactor, tuple(range(lines))

    def set(self, lines: tuple[int, ...]) -> None:
        """See PhaseSwitch. Under voltage the relays stay locked."""
        if not self._contactor.closed:
            self.lines = lines


class SimulatedContactor:
    """A contactor that takes `delay_s` (real seconds; 0 is at once). See Contactor."""

    def __init__(self, faults: Faults, delay_s: float = 0.0) -> None:
        self._faults, self._delay_s = faults, delay_s
        self._loop = asyncio.get_running_loop()
        self._commanded = self._dropped = self._cut = self._was_cut = False
        self._closed = "stuck_closed" in faults
        self._timer: asyncio.TimerHandle | None = None
        self.on_change: Final = Callbacks[bool]()
        faults.on_change(self._faults_changed)

    @property
    def closed(self) -> bool:
        return self._closed and not self._cut and not self._was_cut

    def cut(self) -> None:
        """See Cut."""
        self._cut = True

    def set(self, *, closed: bool) -> None:
        self._was_cut = self._cut and not closed  # it is open: no command to open it shows it closed again
        self._dropped, self._cut = self._dropped and closed, self._cut and closed
        self._commanded = closed and not self._cut
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._delay_s:
            self._timer = self._loop.call_later(self._delay_s, self._move)
        else:
            self._move()

    def close(self) -> None:
        """Stop moving."""
        if self._timer is not None:
            self._timer.cancel()

    def _faults_changed(self) -> None:
        if "drop" in self._faults and self._closed:
            self._dropped = True
        self._move()

    def _move(self) -> None:
        self._was_cut = False
        closed = (self._commanded and not self._dropped) or "stuck_closed" in self._faults
        if closed is self._closed:
            return
        if ("weld" in self._faults and not closed) or ("no_close" in self._faults and closed):
            return
        self._closed = closed
        if closed:
            self._faults.note("closed")
        self.on_change.tell(closed)


class DcLine(Protocol):
    """The charger's end of the DC line: `v2g.io.simulation.lines.ChargerDcLine`, or a bench's load."""

    @property
    def vehicle(self) -> VehicleDc | None:
        """The vehicle's state; None when there is none."""

    def on_change(self, callback: Callable[[VehicleDc | None], None]) -> None:
        """Call `callback` with the vehicle's state, None when it has disconnected."""

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Publish the output to the vehicle."""


class SimulatedStage:
    """A converter on the simulated DC line. See PowerStage; changes of the output are reported immediately."""

    def __init__(
        self, line: DcLine, contactor: Contactor, faults: Faults, clock: Clock, config: simulation.StageConfig
    ) -> None:
        self._line, self._contactor, self._faults, self._clock = line, contactor, faults, clock
        self._loop = asyncio.get_running_loop()
        self._model = simulation.StageModel(config)
        self._at_ms = clock.elapsed_ms()
        self._present = StageReport(0, 0)
        self._reported_s = self._loop.time()
        self._var = 0
        self._timer: asyncio.TimerHandle | None = None
        self._acting = self._cut = False
        self.on_report: Final = Callbacks[StageReport]()
        self.on_fault: Final = Callbacks[str, bool]()
        self._reported: set[str] = set()
        line.on_change(self._vehicle_changed)
        contactor.on_change(lambda _: self._act())
        faults.on_change(self._faults_changed)
        self._act()

    @property
    def max_var(self) -> int:
        return self._model.max_var

    @property
    def var(self) -> int:
        """The reactive power; none while the stage has tripped."""
        return 0 if self._model.tripped else self._var

    @property
    def present(self) -> StageReport:
        return self._present

    def react(self, var: int) -> None:
        self._var = var

    def cut(self) -> None:
        """See Cut: the line shows no output."""
        self._cut, self._model.demand = True, OFF
        self._line.publish(0, 0, contactor_closed=False)

    def drive(self, demand: Demand) -> None:
        self._cut = self._cut and demand != OFF
        demand = OFF if self._cut else demand
        if demand != self._model.demand:
            if self._model.demand == OFF:
                self._reported_s = self._loop.time()
            self._model.demand = demand
            self._act()

    def close(self) -> None:
        """Stop moving, discarding remaining charge."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._model.demand = OFF
        self._act(last=True)

    def _vehicle_changed(self, vehicle: VehicleDc | None) -> None:
        if vehicle is not None:
            self._faults.note("connected")
        self._act()

    def _faults_changed(self) -> None:
        model, faults = self._model, self._faults
        model.tripped = "stage_trip" in faults or "stage_silent" in faults
        model.overshoots, model.keeps_voltage = "over_voltage" in faults, "slow_discharge" in faults
        strays_a = faults.value("stage_strays")
        model.strays_ma = None if strays_a is None else round(strays_a * 1000)
        self._act()
        for fault, active in (("stage_tripped", "stage_trip" in faults), ("stage_lost", "stage_silent" in faults)):
            if active is not (fault in self._reported):
                self._reported.symmetric_difference_update((fault,))
                self.on_fault.tell(fault, active)

    def _act(self, *, last: bool = False) -> None:
        """Advance the model, publish the result, and continue while it moves."""
        if self._acting:
            return  # changes by the callbacks below are handled by the loop
        self._acting = True
        try:
            while self._step():
                pass
        finally:
            self._acting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._model.moving and not last:
            self._timer = self._loop.call_later(STEP_S, self._act)
        elif self._model.demand != OFF and not last:
            due_s = self._reported_s + REPORT_S / 2 - self._loop.time()  # however often the demand changes
            self._timer = self._loop.call_later(max(0.0, due_s), self._repeat)

    def _repeat(self) -> None:
        self._report()
        self._act()

    def _report(self) -> None:
        self._reported_s = self._loop.time()
        self.on_report.tell(self._present)

    def _step(self) -> bool:
        """Take one step; return whether its result requires another one."""
        now_ms = self._clock.elapsed_ms()
        seconds, self._at_ms = max(0, now_ms - self._at_ms) / 1000, now_ms
        vehicle, closed, demand = self._line.vehicle, self._contactor.closed, self._model.demand
        load = None
        if vehicle is not None:
            load = simulation.StageLoad(
                vehicle.voltage_mv, vehicle.contactor_closed, vehicle.max_charge_ma, vehicle.max_discharge_ma
            )
        connected = closed and load is not None and load.contactor_closed
        self._model.advance(seconds, load, connected=connected)
        report = StageReport(self._model.voltage_mv, self._model.current_ma)
        self._line.publish(report.voltage_mv, report.current_ma, contactor_closed=closed)
        if report.current_ma:
            self._faults.note("current")
        if report != self._present:
            self._present = report
            self._report()
        return (vehicle, closed, demand) != (self._line.vehicle, self._contactor.closed, self._model.demand)


class SimulatedIsolation:
    """A monitor that measures `resistance_ohm`. See IsolationMonitor."""

    def __init__(self, faults: Faults, resistance_ohm: int, check_s: float = 0.0) -> None:
        self._faults, self._resistance_ohm, self._check_s = faults, resistance_ohm, check_s

    @property
    def resistance_ohm(self) -> int | None:
        if "isolation_monitor" in self._faults:
            return None
        low = self._faults.value("isolation")
        return self._resistance_ohm if low is None else int(low)

    async def self_test(self) -> str:
        """See StageParts."""
        return "the monitor does not find its test resistor" if "isolation_test" in self._faults else ""

    async def measure(self, voltage_mv: int) -> int | None:
        await asyncio.sleep(self._check_s)
        return self.resistance_ohm


class SimulatedCabinet:
    """Lamp, lock, emergency stop, fan and two temperatures, one of which the current heats. See Cabinet."""

    def __init__(self, faults: Faults, clock: Clock, current_ma: Callable[[], int], *, latch: bool = False) -> None:
        self._faults, self._clock, self._current_ma, self._latch = faults, clock, current_ma, latch
        self._plug = simulation.ThermalModel()
        self._at_ms = clock.elapsed_ms()
        self._fan = 0
        self._runaway_at: float | None = None
        self.light: Light = "available"
        self.locked = False
        self.on_latch: Final = Callbacks[bool]()
        self.on_fault: Final = Callbacks[str, bool]()
        self._stopped = False
        faults.on_change(self._faults_changed)

    @property
    def has_latch(self) -> bool:
        return self._latch

    @property
    def temperatures(self) -> dict[str, float | None]:
        now_ms = self._clock.elapsed_ms()
        self._plug.advance(max(0, now_ms - self._at_ms) / 1000, self._current_ma(), self._fan)
        self._at_ms = now_ms
        hot = self._faults.value("over_temperature")
        plug: float | None = round(self._plug.celsius + self._runaway_k(), 1) if hot is None else hot
        return {"plug": None if "sensor_lost" in self._faults else plug, "cabinet": 30.0}

    def _runaway_k(self) -> float:
        """Return by how much the plug has heated itself, K; its speed is in real time."""
        rise = self._faults.value("runaway")
        if rise is None:
            self._runaway_at = None
            return 0.0
        now = self._clock.monotonic()
        self._runaway_at = now if self._runaway_at is None else self._runaway_at
        return min(500.0, rise * (now - self._runaway_at))

    @property
    def fan_rpm(self) -> int | None:
        return 0 if "fan_dead" in self._faults else self._fan * 30

    def set_light(self, light: Light) -> None:
        self.light = light

    def set_latch(self, *, locked: bool) -> None:
        if "latch_jammed" in self._faults or locked is self.locked:
            return
        self.locked = locked
        self.on_latch.tell(locked)

    def set_fan(self, percent: int) -> None:
        self._fan = percent

    def _faults_changed(self) -> None:
        stopped = "estop" in self._faults
        if stopped is not self._stopped:
            self._stopped = stopped
            self.on_fault.tell("emergency_stop", stopped)
