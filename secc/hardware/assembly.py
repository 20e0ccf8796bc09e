"""Builds the power hardware from its configuration: each part by its configured driver."""

import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from secc.hardware.ac import FOLLOW_S, AcEvse, Mains, flowing
from secc.hardware.acdp import AcdpEvse
from secc.hardware.calibration import CalibratedStage
from secc.hardware.check_log import CheckLog
from secc.hardware.config import HardwareConfig, Kind, check_parts, settings_of
from secc.hardware.dc import DcEvse
from secc.hardware.drivers import opened
from secc.hardware.evse import Evse, Parts
from secc.hardware.fault_file import FaultKeeper
from secc.hardware.heat import RUNAWAY, HeatWatch
from secc.hardware.meter import Meter, SimulatedMeter
from secc.hardware.meter_remote import RemoteMeter
from secc.hardware.safety import SafetyChannel
from secc.hardware.simulated import BenchAcEvse, BenchEvse, SimulatedMains, make_faults
from secc.hardware.wpt import INPUT_MV, WptEvse
from secc.session.config import SeccConfig
from v2g.energy.frequency_trace import load_grid_trace
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.hardware import interfaces
from v2g.io.hardware.driver import DriverContext, PowerKind
from v2g.io.hardware.emergency import Emergency
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.coil import SimulatedPrimary
from v2g.io.simulation.contact import SimulatedConnection
from v2g.io.simulation.lines import ChargerAcLine, ChargerCoilLine, ChargerContactLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.simulation.power import Simulation
from v2g.io.storage.emergency_log import FILE, EmergencyLog
from v2g.io.storage.journal_file import open_alone
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.d20.charts import Family
from v2g.observe import Observe
from v2g.safety import ChargerRating

_FAMILIES: Final[dict[Kind, Family]] = {"dc": Family.DC, "ac": Family.AC, "wpt": Family.WPT, "acdp": Family.ACDP}

LOCK: Final = "hardware.lock"
"""File in an EVSE's folder that the program holds whose hardware it is."""


@dataclass
class Assembled:
    """The hardware of one charger. `pilot` is None on a bench and at a primary device; `medium` None without simulated
    wires."""

    evse: Evse
    meter: Meter
    safety: SafetyChannel
    pilot: interfaces.ChargerPilot | None = None
    medium: Medium | None = None


@dataclass(frozen=True)
class BareParts:
    """The parts alone, each behind the guard, and the contactor and power stage behind the safety channel. `stage` is
    None without direct current."""

    safety: SafetyChannel
    board: interfaces.BoardParts
    meter: Meter
    stage: interfaces.StageParts | None = None


@dataclass
class Assembly:
    """Creates parts, and registers their cleanup in `stack`. `folder` stores a simulated meter's registers;
    `medium` has the simulated wires, `name` is the charger's name there, `connector` the number of its
    plug."""

    config: HardwareConfig
    charger: SeccConfig
    clock: Clock
    stack: contextlib.AsyncExitStack
    observe: Callable[[Observe], None]
    folder: Path
    meter_serial: str
    medium_folder: Path | None
    name: str
    keys: RecordKeys | None = None
    """Seal a simulated meter's registers."""
    connector: int = 1
    watchdog: Watchdog | None = None
    service: FaultKeeper | None = None
    """Where latched faults are stored; None does not store them."""
    log: CheckLog | None = None
    """Where results of self-tests and checks are kept."""
    disk: DiskThread | None = None
    """Writes the record of emergencies; None: a thread of its own."""

    async def make(self) -> Assembled:
        """Return everything, tested. Raises as `untested` does."""
        assembled = await self.untested()
        await assembled.evse.power_up()
        return assembled

    async def untested(self) -> Assembled:
        """Return everything, for `Evse.power_up`: several EVSEs test themselves at once. Raises ConfigError for invalid
        combinations, TransportError for missing hardware, or if another program uses it."""
        safety = self._begin()
        assembled = await self._assembled()
        safety.stand_over(assembled.evse)
        return assembled

    async def make_bare(self) -> BareParts:
        """Return the parts without the hardware of a session above them, for maintenance. Raises as `make` does."""
        if self.config.backend == "bench":
            raise ConfigError("a bench has no parts", hint="remove hardware.backend")
        safety = self._begin()
        meter, board = await self._open_parts()
        stage = None
        if self.config.kind in ("dc", "acdp"):
            stage = await self._power(board.contactor, meter)
        return BareParts(safety, board, meter, stage)

    def _begin(self) -> SafetyChannel:
        check_parts(self.config)
        # keep other programs from this EVSE's hardware until the end
        path = self.folder / LOCK
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.stack.callback(os.close, open_alone(path))
        except BlockingIOError:
            raise TransportError(
                f"another program uses this hardware ({path} is locked)", hint="stop the charger program"
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None
        self._evse: Evse | None = None
        self._safety = SafetyChannel(self._safe_rating(), self.clock, self.observe, watchdog=self.watchdog)
        self.stack.callback(self._safety.close)
        return self._safety

    async def _assembled(self) -> Assembled:
        config, safety = self.config, self._safety
        if config.backend == "bench":
            simulated = SimulatedMeter(
                self.meter_serial, self.folder / "meter", now_ms=self.clock.elapsed_ms, keys=self.keys
            )
            self.stack.callback(simulated.close)
            bench: Evse
            if config.kind == "ac":
                rating = self.charger.ac_rating
                bench = BenchAcEvse(
                    simulated, self.clock, config.simulated, rating, safety=safety, service=self.service
                )
            else:
                bench = BenchEvse(
                    simulated, self.clock, config.simulated, self.charger.rating, safety=safety, service=self.service
                )
            return Assembled(bench, simulated, safety)
        meter, board = await self._open_parts()
        tests = board.self_test, self.log, safety.test_cut
        # open the emergency output with its record
        log = EmergencyLog.open(self.folder / FILE)
        self.stack.callback(log.close)
        disk = self.disk
        if disk is None:
            self.stack.push_async_callback((disk := DiskThread()).close)
        output = self._safety.guard(await self._open("emergency"), interfaces.EmergencyOutput)
        emergency = Emergency(output, log, disk, utc_ms=self.clock.utc_ms, observe=self.observe)
        latched = (RUNAWAY,) if emergency.cause else ()
        parts = Parts(
            board.contactor,
            board.cabinet,
            meter,
            board.pilot,
            self.service,
            *tests,
            latched,
            board.phases,
            clock=self.clock,
            watch=config.watch,
            report_s=config.simulated.report_s,
            most_w=self._most_w,
        )
        safety.watch_heat(HeatWatch(config.watch.runaway), lambda: board.cabinet.temperatures, emergency)
        self._evse = evse = await EVSES[config.kind](self, parts)
        return Assembled(evse, meter, safety, board.pilot, self._simulation.medium)

    async def _open_parts(self) -> tuple[Meter, interfaces.BoardParts]:
        """Open what all kinds have."""
        config, safety = self.config, self._safety
        self.faults = make_faults(config.simulated, self.clock)
        self.stack.callback(self.faults.close)
        self._simulation = Simulation(
            faults=self.faults,
            medium=await self._attach(),
            connector=self.connector,
            plug=config.kind != "wpt",
            current_ma=lambda: 0 if self._evse is None else self._evse.present.current_ma,
            lines=self.charger.ac_rating.phases if config.kind == "ac" else 0,
            folder=self.folder,
            serial=self.meter_serial,
            keys=self.keys,
        )
        measuring = await self._open("meter")
        meter: Meter = (
            measuring
            if isinstance(measuring, SimulatedMeter)
            else RemoteMeter(self.meter_serial, safety.guard(measuring, interfaces.EnergyMeter), self.clock.monotonic)
        )
        board: interfaces.BoardParts = await self._open("pilot")
        if board.pilot is None and self._simulation.plug:
            raise ConfigError(f"the driver {config.pilot!r} has no control pilot", hint="a plug needs one")
        pilot = None if board.pilot is None else safety.guard(board.pilot, interfaces.ChargerPilot)
        if pilot is not None:
            safety.pilot(pilot)
        if board.monitor is not None:
            safety.forward_to(safety.guard(board.monitor, interfaces.BoardMonitor))
        contactor = safety.contactor(safety.guard(board.contactor, interfaces.Contactor))
        phases = None if board.phases is None else safety.guard(board.phases, interfaces.PhaseSwitch)
        cabinet = safety.guard(board.cabinet, interfaces.Cabinet)
        return meter, interfaces.BoardParts(pilot, contactor, cabinet, board.self_test, phases=phases)

    async def _open(self, kind: PowerKind, contactor: interfaces.Contactor | None = None) -> Any:
        """Open a part with its driver. Raises ConfigError or TransportError."""
        settings = settings_of(self.config, kind)
        context = DriverContext(
            clock=self.clock, observe=self.observe, contactor=contactor, simulation=self._simulation
        )
        return await self.stack.enter_async_context(opened(kind, getattr(self.config, kind), settings, context))

    def _safe_rating(self) -> ChargerRating:
        """Return the safety monitor's limits for this charger."""
        kind, watch = self.config.kind, self.config.watch
        charge_w, discharge_w = self.charger.power_rating(_FAMILIES[kind])
        lines = self.charger.ac_rating
        currents = {"charge_ma": lines.charge_ma, "discharge_ma": lines.discharge_ma} if kind == "ac" else {}
        return ChargerRating(
            charge_w=charge_w,
            discharge_w=discharge_w,
            follow_s=FOLLOW_S if kind == "ac" else 0.75,  # a vehicle on alternating current controls its power itself
            close_s=watch.contactor_s + 0.5,
            **currents,
        )

    # -- kinds of current

    async def _dc(self, parts: Parts) -> DcEvse:
        return DcEvse(parts, await self._power(parts.contactor, parts.meter))

    async def _acdp(self, parts: Parts) -> AcdpEvse:
        power = await self._power(parts.contactor, parts.meter)
        window = self.charger.acdp
        device = SimulatedConnection(
            ChargerContactLine(self._simulation.wires("the connection device"), connector=self.connector),
            self.faults,
            self.clock,
            self.config.simulated.pantograph,
            window=(window.window_x, window.window_y),
        )
        self.stack.callback(device.close)
        return AcdpEvse(parts, power, device)

    async def _wpt(self, parts: Parts) -> WptEvse:
        rating = self.charger.wpt
        device = SimulatedPrimary(
            ChargerCoilLine(self._simulation.wires("the air above the primary device"), connector=self.connector),
            parts.contactor,
            self.faults,
            self.config.simulated.coil,
            max_coil_ma=rating.max_coil_current_a * 1000,
        )
        self.stack.callback(device.close)
        if isinstance(parts.meter, SimulatedMeter):
            meter = parts.meter
            device.on_report(
                lambda each: meter.flow(self.clock.elapsed_ms(), INPUT_MV, each.sent_w * 1_000_000 // INPUT_MV)
            )
        self._compare(lambda: device.report.sent_w, parts.meter)
        return WptEvse(parts, self._safety.primary(device))

    def _compare(self, watts: Callable[[], int], meter: Meter) -> None:
        """Have the safety monitor compare the output with its meter."""
        errors = self.config.watch.errors
        if isinstance(meter, SimulatedMeter):
            errors = msgspec.structs.replace(errors, late_s=0.0)
        self._safety.compare(watts, meter, errors, self._most_w)

    @property
    def _most_w(self) -> int:
        """The most that can flow, in either direction."""
        return max(self.charger.power_rating(_FAMILIES[self.config.kind]))

    async def _power(self, contactor: interfaces.Contactor, meter: Meter) -> interfaces.StageParts:
        """Return the direct-current stage, metered if the meter is simulated."""
        made: interfaces.StageParts = await self._open("stage", contactor)
        stage = self._safety.guard(made.stage, interfaces.PowerStage)
        isolation = self._safety.guard(made.isolation, interfaces.IsolationMonitor)
        if isinstance(meter, SimulatedMeter):
            stage.on_report(lambda each: meter.flow(self.clock.elapsed_ms(), each.voltage_mv, each.current_ma))
        self._compare(lambda: stage.present.power_w, meter)
        offset_mv = self.config.voltmeter_offset_mv
        guarded = self._safety.stage(CalibratedStage(stage, offset_mv) if offset_mv else stage)
        return interfaces.StageParts(guarded, isolation, made.isolation_test)

    async def _ac(self, parts: Parts) -> AcEvse:
        rating, meter = self.charger.ac_rating, parts.meter
        simulated: SimulatedMains | None = None
        if isinstance(meter, SimulatedMeter):
            line = ChargerAcLine(self._simulation.wires("the AC line"), connector=self.connector)
            mains: Mains = (simulated := SimulatedMains(line, parts.contactor, rating, parts.phases))
            if self.config.simulated.grid is not None:
                simulated.play(load_grid_trace(self.config.simulated.grid), self.clock)
                self.stack.callback(simulated.close)
            mains.on_change(
                lambda: meter.flow(self.clock.elapsed_ms(), mains.present.voltage_mv, mains.present.current_ma)
            )
            self._compare(lambda: mains.present.watts, meter)
        else:
            assert isinstance(meter, RemoteMeter)  # which measures the mains itself
            if meter.values.power_w is None and meter.values.currents is None and not meter.values.line_w:
                raise ConfigError(
                    "the meter shows neither a power nor currents", hint="what flows must be seen: see map"
                )
            mains = meter.mains(rating.nominal_voltage_v * 1000)
        allow = self._safety.mains(
            lambda: flowing(mains), volts=rating.nominal_voltage_v, lines=rating.phases, part=simulated
        )
        return AcEvse(parts, mains, lines=rating.phases, allow=allow, measures=simulated is not None)

    # -- parts

    async def _attach(self) -> Medium | None:
        if self.medium_folder is None:
            return None
        medium = await FolderMedium.attach(self.medium_folder, self.name)
        self.stack.callback(medium.close)
        return medium


EVSES: Final[dict[Kind, Callable[[Assembly, Parts], Awaitable[Evse]]]] = {
    "dc": Assembly._dc,
    "ac": Assembly._ac,
    "wpt": Assembly._wpt,
    "acdp": Assembly._acdp,
}
