"""Simulated chargers: on the simulated lines to a vehicle's process, or on a bench."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from secc.hardware.ac import AcEvse, anything
from secc.hardware.dc import DcEvse
from secc.hardware.evse import Parts, WatchConfig
from secc.hardware.fault_file import FaultKeeper
from secc.hardware.meter import SimulatedMeter
from secc.hardware.safety import SafetyChannel
from secc.session import ports
from secc.session.config import AcRating, EvseRating
from v2g.energy.conductors import LINES, Currents, spread
from v2g.energy.frequency_trace import GridTrace
from v2g.hardware.interfaces import ChargerPilot, Contactor, PhaseSwitch, StageParts
from v2g.hardware.pantograph import PantographConfig
from v2g.hardware.simulation import FaultStep, StageConfig
from v2g.io.runtime.clock import Clock
from v2g.io.simulation import power
from v2g.io.simulation.coil import CoilConfig
from v2g.io.simulation.lines import ChargerAcLine, VehicleAc, VehicleDc
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Callbacks

Seconds = Annotated[float, Meta(ge=0, le=60)]


class SimulatedEvseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Behaviour of the simulated charger. Waits are real seconds and 0 by default; ramps run in simulated time."""

    insulation_ohm: Annotated[int, Meta(ge=0, le=10**9)] = 1_000_000
    """Insulation resistance that the isolation monitor measures."""
    cable_check_s: Seconds = 0.0
    """Measuring time of the isolation monitor."""
    contactor_s: Seconds = 0.0
    """Movement time of the contactor."""
    contactors_stick: bool = False
    """The contactor does not close."""
    report_s: Annotated[float, Meta(gt=0, le=10)] = 0.25
    """Report interval of voltage, current and meter without changes."""
    stage: StageConfig = StageConfig()
    grid: Path | None = None
    """Kind `ac`: a file with the frequency and voltage of the mains, lines of `seconds,hertz,volts`, which repeat, in
    simulated time."""
    phase_switch: bool = False
    """Kind `ac`: the outlet changes between three phases and one (charging profiles with numberPhases)."""
    latch: bool = False
    """The plug has a lock on the charger's side, like an AC socket."""
    coil: CoilConfig = CoilConfig()
    """The primary device of kind `wpt`."""
    pantograph: PantographConfig = PantographConfig()
    """The connection device of kind `acdp`."""
    faults: tuple[FaultStep, ...] = ()
    """Faults, and their triggers."""


class BenchLine:
    """No line: a load at the output represents the vehicle, with the limits in the vehicle's messages."""

    def __init__(self) -> None:
        self.on_change: Final = Callbacks[VehicleDc | None]()
        """Called with the load's state."""
        self.vehicle: VehicleDc | None = None
        """The load's state."""

    def publish(self, voltage_mv: int, current_ma: int, *, contactor_closed: bool) -> None:
        """Ignore: there is no vehicle."""

    def connect(self, load: VehicleDc | None) -> None:
        """Set the load; None removes it."""
        if load != self.vehicle:
            self.vehicle = load
            self.on_change.tell(load)


class SimulatedEvse(DcEvse):
    """A charger for direct current with simulated parts, on a DC line. `bench` controls its faults."""

    def __init__(
        self,
        line: power.DcLine,
        meter: SimulatedMeter,
        clock: Clock,
        config: SimulatedEvseConfig,
        rating: EvseRating,
        *,
        pilot: ChargerPilot | None = None,
        watch: WatchConfig | None = None,
        safety: SafetyChannel | None = None,
        service: FaultKeeper | None = None,
    ) -> None:
        self.bench = bench = make_faults(config, clock)
        self.contactor = power.SimulatedContactor(bench, config.contactor_s)
        meter.obey(bench)
        self._simulated = power.SimulatedStage(line, self.contactor, bench, clock, config.stage)
        self._simulated.on_report(lambda report: meter.flow(clock.elapsed_ms(), report.voltage_mv, report.current_ma))
        self.cabinet = power.SimulatedCabinet(bench, clock, lambda: self.present.current_ma, latch=config.latch)
        super().__init__(
            Parts(
                safety.contactor(self.contactor) if safety else self.contactor,
                self.cabinet,
                meter,
                pilot,
                service,
                clock=clock,
                watch=watch or _watch_of(config),
                report_s=config.report_s,
                most_w=max(rating.max_charge_power_w, rating.max_discharge_power_w),
            ),
            StageParts(
                safety.stage(self._simulated) if safety else self._simulated,
                power.SimulatedIsolation(bench, config.insulation_ohm, config.cable_check_s),
            ),
        )

    async def close(self) -> None:
        """Leave everything safe and stop moving."""
        await super().close()
        self._simulated.close()
        self.contactor.close()
        self.bench.close()


class BenchEvse(SimulatedEvse):
    """A charger on a test bench: a load at its output represents the vehicle, with the limits in its messages.

    So energy flows and is metered with any vendor's vehicle at the other end of a network cable. The load has
    the voltage of the vehicle, or of the output if that is lower.
    """

    def __init__(
        self,
        meter: SimulatedMeter,
        clock: Clock,
        config: SimulatedEvseConfig,
        rating: EvseRating,
        *,
        safety: SafetyChannel | None = None,
        service: FaultKeeper | None = None,
    ) -> None:
        self._line = BenchLine()
        super().__init__(self._line, meter, clock, config, rating, safety=safety, service=service)

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """Execute a hardware command; others are ignored."""
        match command:
            case ports.Reported(voltage_mv=voltage_mv):
                ceiling = self._demand.voltage_mv or voltage_mv
                self._line.connect(
                    VehicleDc(
                        min(voltage_mv, ceiling),
                        contactor_closed=True,
                        max_charge_ma=command.max_charge_ma,
                        max_discharge_ma=command.max_discharge_ma,
                    )
                )
            case ports.StartCableCheck() | ports.OpenContactors() | ports.EmergencyOff():
                self._line.connect(None)
        return super().execute(command)


class BenchAcLine:
    """No AC line: a vehicle that draws or gives all it may is at its end."""

    def __init__(self) -> None:
        self.on_change: Final = Callbacks[VehicleAc | None]()
        """Called with the vehicle's draw."""
        self.seen: VehicleAc | None = None

    def publish(self, voltage_mv: int, phases: int, *, contactor_closed: bool, frequency_hz: float) -> None:
        """Ignore: there is no vehicle."""

    def draw(self, power_w: int, nominal_mv: int, lines: int) -> None:
        """Set the vehicle's draw (positive) or feed, in equal parts on so many lines."""
        self.seen = VehicleAc(spread(power_w * 1_000_000 // nominal_mv, range(lines)))
        self.on_change.tell(self.seen)


class BenchAcEvse(AcEvse):
    """A charge point on a test bench: any vendor's vehicle, connected by a network cable only.

    It is assumed to follow its target, or without one to draw all it may; so energy is metered.
    """

    def __init__(
        self,
        meter: SimulatedMeter,
        clock: Clock,
        config: SimulatedEvseConfig,
        rating: AcRating,
        *,
        safety: SafetyChannel | None = None,
        service: FaultKeeper | None = None,
    ) -> None:
        self._line, self._nominal_mv = BenchAcLine(), rating.nominal_voltage_v * 1000
        self.bench = bench = make_faults(config, clock)
        self.contactor = power.SimulatedContactor(bench, config.contactor_s)
        meter.obey(bench)
        mains = SimulatedMains(self._line, self.contactor, rating)
        mains.on_change(lambda: meter.flow(clock.elapsed_ms(), mains.present.voltage_mv, mains.present.current_ma))
        cabinet = power.SimulatedCabinet(bench, clock, lambda: self.present.current_ma, latch=config.latch)
        super().__init__(
            Parts(
                safety.contactor(self.contactor) if safety else self.contactor,
                cabinet,
                meter,
                None,
                service,
                clock=clock,
                watch=_watch_of(config),
                report_s=config.report_s,
                most_w=max(rating.max_charge_power_w, rating.max_discharge_power_w),
            ),
            mains,
            lines=rating.phases,
            allow=(
                safety.mains(lambda: mains.present, volts=rating.nominal_voltage_v, lines=rating.phases)
                if safety
                else anything
            ),
        )

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """Execute a hardware command; others are ignored."""
        outcome = super().execute(command)
        if isinstance(command, ports.SetAcOutput):
            wanted = command.charge_w if command.power_w is None else command.power_w
            power_w = max(-command.discharge_w, min(command.charge_w, wanted))
            self._line.draw(power_w, self._nominal_mv, self._used)
        return outcome

    async def close(self) -> None:
        """Leave everything safe."""
        await super().close()
        self.contactor.close()
        self.bench.close()


STEP_S: Final = 0.05
"""How often mains that follow a trace change."""


class SimulatedMains:
    """Mains behind a contactor on the simulated AC line; the flow is the vehicle's draw. See Mains."""

    fresh = True

    def __init__(
        self,
        line: ChargerAcLine | BenchAcLine,
        contactor: Contactor,
        rating: AcRating,
        switch: PhaseSwitch | None = None,
    ) -> None:
        self._line, self._contactor, self._rating, self._switch = line, contactor, rating, switch
        self._grid: tuple[float, float] = rating.nominal_frequency_hz, rating.nominal_voltage_v
        self._timer: asyncio.TimerHandle | None = None
        self.present = ports.Measured(0, 0, currents=Currents())
        self.on_change: Final = Callbacks[[]]()
        line.on_change(lambda _: self._act())
        contactor.on_change(lambda _: self._act())
        self._act()

    def cut(self) -> None:
        """See Cut: the line shows no output."""
        self._publish(0, closed=False)

    def play(self, trace: GridTrace, clock: Clock) -> None:
        """Let frequency and voltage follow a trace from now on, until closed."""
        began_ms = clock.elapsed_ms()

        def step() -> None:
            hertz, volts = trace.at((clock.elapsed_ms() - began_ms) / 1000)
            self._grid = hertz, self._rating.nominal_voltage_v if volts is None else volts
            self._act()
            self._timer = asyncio.get_running_loop().call_later(STEP_S, step)

        step()

    def close(self) -> None:
        """End a trace."""
        if self._timer is not None:
            self._timer.cancel()

    def _act(self) -> None:
        closed, vehicle = self._contactor.closed, self._line.seen
        voltage_mv = round(self._grid[1] * 1000) if closed else 0
        currents = self._of_mains(vehicle.currents) if closed and vehicle is not None else Currents()
        self._publish(voltage_mv, closed=closed)
        present = ports.Measured(voltage_mv, currents.total_ma, currents=currents)
        if present != self.present:
            self.present = present
            self.on_change.tell()

    @property
    def _lines(self) -> tuple[int, ...]:
        return tuple(range(self._rating.phases)) if self._switch is None else self._switch.lines

    def _of_mains(self, drawn: Currents) -> Currents:
        """Return the currents of the mains' conductors, of those at the outlet."""
        found = dict(zip(self._lines, drawn, strict=False))
        return Currents(*(found.get(line, 0) for line in LINES))

    def _publish(self, voltage_mv: int, *, closed: bool) -> None:
        self._line.publish(voltage_mv, len(self._lines), contactor_closed=closed, frequency_hz=self._grid[0])


def _watch_of(config: SimulatedEvseConfig) -> WatchConfig:
    """Return limits that a slow contactor keeps."""
    return WatchConfig(contactor_s=max(3.0, 2 * config.contactor_s))


def make_faults(config: SimulatedEvseConfig, clock: Clock) -> power.Faults:
    """Return the faults of a configuration."""
    faults = power.Faults(config.faults, clock)
    if config.contactors_stick:
        faults.set("no_close")
    return faults
