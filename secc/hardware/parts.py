"""Builds the power hardware from its configuration: each part by its configured driver."""

import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from secc.hardware.ac import FOLLOW_S, AcEvse, Mains
from secc.hardware.acdp import AcdpEvse
from secc.hardware.calibration import CalibratedStage
from secc.hardware.check_log import CheckLog
from secc.hardware.dc import DcEvse
from secc.hardware.drivers import BUILT_IN, POWER_KINDS, opened, read_settings
from secc.hardware.evse import Evse, Parts, WatchConfig
from secc.hardware.fault_file import FaultKeeper
from secc.hardware.heat import RUNAWAY, HeatWatch
from secc.hardware.meter import Meter, SimulatedMeter
from secc.hardware.meter_remote import RemoteMeter
from secc.hardware.safety import SafetyChannel
from secc.hardware.simulated import BenchAcEvse, BenchEvse, SimulatedEvseConfig, SimulatedMains, make_faults
from secc.hardware.wpt import INPUT_MV, WptEvse
from secc.session.config import SeccConfig
from v2g.config import Flaw, Table, without_flaw
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.hardware.interfaces import (
    BoardMonitor,
    BoardParts,
    Cabinet,
    ChargerPilot,
    Contactor,
    EmergencyOutput,
    EnergyMeter,
    IsolationMonitor,
    PhaseSwitch,
    PowerStage,
    SelfTest,
    StageParts,
)
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.iec61851.proximity import Coding
from v2g.io.hardware.board import BoardConfig
from v2g.io.hardware.driver import DriverContext, PowerKind
from v2g.io.hardware.emergency import Emergency
from v2g.io.hardware.modbus import ModbusConfig
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
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.d20.charts import Family
from v2g.observe import Observe
from v2g.safety import ChargerRating

Power = tuple[PowerStage, IsolationMonitor, SelfTest | None]

Kind = Literal["dc", "ac", "wpt", "acdp"]

_FAMILIES: Final[dict[Kind, Family]] = {"dc": Family.DC, "ac": Family.AC, "wpt": Family.WPT, "acdp": Family.ACDP}

LOCK: Final = "hardware.lock"
"""File in an EVSE's folder that the program holds whose hardware it is."""

DriverName = Annotated[str, Meta(min_length=1, max_length=64)]


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The power electronics. Every part is simulated unless another driver is configured; simulated parts are
    connected to the vehicle by `link.medium`. `v2g hardware list` lists the drivers."""

    backend: Annotated[
        Literal["simulated", "bench"],
        Meta(description="simulated: the parts below; bench: no parts, a load at the output represents the vehicle"),
    ] = "simulated"
    kind: Annotated[
        Kind,
        Meta(
            description="energy transfer to the vehicle: dc and ac by a plug, wpt wirelessly (a primary device "
            "in the ground), acdp by an automatic connection device (direct current)"
        ),
    ] = "dc"
    pilot: Annotated[
        DriverName, Meta(description='control pilot, contactor, lock, lamp: "simulated", "board", or another driver')
    ] = "simulated"
    stage: Annotated[
        DriverName,
        Meta(
            description='power stage and isolation monitor: "simulated", "can" (modules on CAN), "infypower", or '
            "another driver"
        ),
    ] = "simulated"
    plug: Annotated[
        Coding | None,
        Meta(
            description="plug or socket, as the back end sees it: type1 (SAE J1772, CCS1) or type2 (IEC 62196, CCS2); "
            "none: that of `board.proximity`, else type2"
        ),
    ] = None
    meter: Annotated[DriverName, Meta(description='meter: "simulated", "modbus", or another driver')] = "simulated"
    emergency: Annotated[
        DriverName,
        Meta(
            description='emergency output, asserted at a thermal runaway until it is reset by hand: "simulated", '
            '"gpio", or another driver'
        ),
    ] = "simulated"
    drivers: Annotated[
        dict[str, Table], Meta(description="other drivers by name, each with the keys that it knows")
    ] = {}
    simulated: Annotated[SimulatedEvseConfig, Meta(description="behaviour of the simulation")] = SimulatedEvseConfig()
    board: Annotated[BoardConfig | None, Meta(description="control board")] = None
    can: Annotated[ModulesConfig | None, Meta(description="power modules")] = None
    modbus: Annotated[ModbusConfig | None, Meta(description="meter")] = None
    watch: Annotated[WatchConfig, Meta(description="limits beyond which the hardware is at fault")] = WatchConfig()
    voltmeter_offset_mv: Annotated[
        int,
        Meta(
            ge=-10_000,
            le=10_000,
            description="what the output's voltmeter reads too little (below 0: too much) against a reference, mV; "
            "recorded in every journal",
        ),
    ] = 0


def hardware_flaws(config: HardwareConfig, path: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield drivers that are not installed, their invalid keys, and keys that a charger would not use."""
    chosen: dict[PowerKind, str] = {kind: getattr(config, kind) for kind in POWER_KINDS}
    bench = config.backend == "bench"
    for kind, name in chosen.items():
        if bench and name != "simulated":
            yield (*path, kind), "is ignored by the bench", 'remove it, or remove backend = "bench"'
        elif not bench:
            for key, why, hint in _settings(config, kind)[1]:
                yield (*path, *key), why, hint
    for kind, name in ((kind, name) for kind in POWER_KINDS for each, name in BUILT_IN if each == kind):
        if name != "simulated" and getattr(config, name, None) is not None:
            if bench:
                yield (*path, name), "is ignored by the bench", 'remove it, or remove backend = "bench"'
            elif chosen[kind] != name:
                yield (*path, name), f"is ignored while {kind} is {chosen[kind]!r}", f'{kind} = "{name}" uses it'
    for name in config.drivers:
        if bench or not any(each == name and not _has_own_table(kind, each) for kind, each in chosen.items()):
            yield (*path, "drivers", name), "is ignored", f'{", ".join(POWER_KINDS)} = "{name}" would use it'


def devices_of(config: HardwareConfig) -> list[tuple[PowerKind, str]]:
    """Return the names of what only one EVSE can have, such as a serial port, each with the part that it is of."""
    kinds = () if config.backend == "bench" else POWER_KINDS
    return [(kind, each) for kind in kinds for each in getattr(_settings(config, kind)[0], "devices", ())]


def switches_phases(config: HardwareConfig) -> bool:
    """Return whether the configured board has a relay that connects L2 and L3."""
    return config.backend != "bench" and getattr(_settings(config, "pilot")[0], "phase_relay", None) is not None


def _has_own_table(kind: PowerKind, name: str) -> bool:
    """Return whether a driver's configuration is `[hardware.NAME]`; otherwise it is `[hardware.drivers.NAME]`."""
    return (kind, name) in BUILT_IN and name in HardwareConfig.__struct_fields__


def _settings(config: HardwareConfig, kind: PowerKind) -> tuple[msgspec.Struct | None, list[Flaw]]:
    """Return the configuration of a part's driver, None if it is invalid, and its errors."""
    name = getattr(config, kind)
    if _has_own_table(kind, name):
        own: msgspec.Struct | None = getattr(config, name)
        return own, [((name,), "is missing", f'{kind} = "{name}" needs it')] if own is None else []
    try:
        found, flaws = read_settings(kind, name, config.drivers.get(name))
    except ConfigError as error:
        return None, [((kind,), str(error), error.hint)]
    return found, [(("drivers", name, *key), why, hint) for key, why, hint in flaws]


def settings_of(config: HardwareConfig, kind: PowerKind) -> msgspec.Struct:
    """Return the configuration of a part's driver. Raises ConfigError if it is missing or invalid."""
    return without_flaw(_settings(config, kind), "hardware.")


@dataclass
class Assembled:
    """The hardware of one charger. `pilot` is None on a bench and at a primary device; `medium` None without simulated
    wires."""

    evse: Evse
    meter: Meter
    safety: SafetyChannel
    pilot: ChargerPilot | None = None
    medium: Medium | None = None


@dataclass(frozen=True)
class BareParts:
    """The parts alone, each behind the guard, and the contactor and power stage behind the safety channel. `stage` is
    None without direct current."""

    safety: SafetyChannel
    board: BoardParts
    meter: Meter
    stage: StageParts | None = None


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
            power, isolation, _ = await self._power(board.contactor, meter)
            stage = StageParts(power, isolation)
        return BareParts(safety, board, meter, stage)

    def _begin(self) -> SafetyChannel:
        self._hold()
        self._evse: Evse | None = None
        self._safety = SafetyChannel(self._safe_rating(), self.clock, self.observe, watchdog=self.watchdog)
        self.stack.callback(self._safety.close)
        return self._safety

    def _hold(self) -> None:
        """Keep other programs from this EVSE's hardware until the end."""
        path = self.folder / LOCK
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TransportError(
                f"another program uses this hardware ({path} is locked)", hint="stop the charger program"
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: {error}") from None

    async def _assembled(self) -> Assembled:
        config, safety = self.config, self._safety
        if config.backend == "bench":
            if config.kind not in ("dc", "ac"):
                raise ConfigError(f"a bench has no device of kind {config.kind}", hint="remove hardware.backend")
            simulated = self._simulated_meter()
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
        emergency = await self._emergency()
        latched = (RUNAWAY,) if emergency.cause else ()
        parts = Parts(board.contactor, board.cabinet, meter, board.pilot, self.service, *tests, latched, board.phases)
        safety.watch_heat(HeatWatch(config.watch.runaway), lambda: board.cabinet.temperatures, emergency)
        self._evse = evse = await EVSES[config.kind](self, parts)
        return Assembled(evse, meter, safety, board.pilot, self._simulation.medium)

    async def _open_parts(self) -> tuple[Meter, BoardParts]:
        """Open what all kinds have."""
        config, safety = self.config, self._safety
        self._faults = make_faults(config.simulated, self.clock)
        self.stack.callback(self._faults.close)
        if config.kind == "wpt" and config.pilot != "simulated":
            raise ConfigError("a primary device has no control pilot", hint="remove hardware.pilot")
        self._simulation = Simulation(
            faults=self._faults,
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
            else RemoteMeter(self.meter_serial, safety.guard(measuring, EnergyMeter), self.clock.monotonic)
        )
        board: BoardParts = await self._open("pilot")
        if board.pilot is None and self._simulation.plug:
            raise ConfigError(f"the driver {config.pilot!r} has no control pilot", hint="a plug needs one")
        pilot = None if board.pilot is None else safety.guard(board.pilot, ChargerPilot)
        if pilot is not None:
            safety.pilot(pilot)
        if board.monitor is not None:
            safety.forward_to(safety.guard(board.monitor, BoardMonitor))
        contactor = safety.contactor(safety.guard(board.contactor, Contactor))
        phases = None if board.phases is None else safety.guard(board.phases, PhaseSwitch)
        cabinet = safety.guard(board.cabinet, Cabinet)
        return meter, BoardParts(pilot, contactor, cabinet, board.self_test, phases=phases)

    async def _emergency(self) -> Emergency:
        """Open the emergency output with its record. Raises StoreError for an unreadable one."""
        log = EmergencyLog.open(self.folder / FILE)
        self.stack.callback(log.close)
        disk = self.disk
        if disk is None:
            self.stack.push_async_callback((disk := DiskThread()).close)
        output = self._safety.guard(await self._open("emergency"), EmergencyOutput)
        return Emergency(output, log, disk, utc_ms=self.clock.utc_ms, observe=self.observe)

    async def _open(self, kind: PowerKind, contactor: Contactor | None = None) -> Any:
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
        stage, isolation, test = await self._power(parts.contactor, parts.meter)
        reports = self._reports(*self._dc_rating)
        return DcEvse(parts, stage, isolation, self.clock, self.config.watch, isolation_test=test, **reports)

    async def _acdp(self, parts: Parts) -> AcdpEvse:
        stage, isolation, test = await self._power(parts.contactor, parts.meter)
        window = self.charger.acdp
        device = SimulatedConnection(
            ChargerContactLine(self._simulation.wires("the connection device"), connector=self.connector),
            self._faults,
            self.clock,
            self.config.simulated.pantograph,
            window=(window.window_x, window.window_y),
        )
        self.stack.callback(device.close)
        watch, reports = self.config.watch, self._reports(*self._dc_rating)
        return AcdpEvse(parts, stage, isolation, device, self.clock, watch, isolation_test=test, **reports)

    async def _wpt(self, parts: Parts) -> WptEvse:
        if self.config.stage != "simulated":
            raise ConfigError("a primary device has no power stage for direct current", hint="remove hardware.stage")
        rating = self.charger.wpt
        device = SimulatedPrimary(
            ChargerCoilLine(self._simulation.wires("the air above the primary device"), connector=self.connector),
            parts.contactor,
            self._faults,
            self.config.simulated.coil,
            max_coil_ma=rating.max_coil_current_a * 1000,
        )
        self.stack.callback(device.close)
        if isinstance(parts.meter, SimulatedMeter):
            meter = parts.meter
            device.on_report(
                lambda each: meter.flow(self.clock.elapsed_ms(), INPUT_MV, each.sent_w * 1_000_000 // INPUT_MV)
            )
        self._compare(lambda: device.report.sent_w, parts.meter, rating.max_power_w)
        guarded = self._safety.primary(device)
        return WptEvse(parts, guarded, self.clock, self.config.watch, **self._reports(rating.max_power_w))

    def _compare(self, watts: Callable[[], int], meter: Meter, *powers_w: int) -> None:
        """Have the safety monitor compare the output with its meter."""
        errors = self.config.watch.errors
        if isinstance(meter, SimulatedMeter):
            errors = msgspec.structs.replace(errors, late_s=0.0)
        self._safety.compare(watts, meter, errors, max(powers_w))

    @property
    def _dc_rating(self) -> tuple[int, int]:
        rating = self.charger.rating
        return rating.max_charge_power_w, rating.max_discharge_power_w

    def _reports(self, *powers_w: int) -> dict[str, Any]:
        """Return the common settings of all kinds: the report interval, and the meter's maximum rate."""
        return {"report_s": self.config.simulated.report_s, "most_w": max(powers_w)}

    async def _power(self, contactor: Contactor, meter: Meter) -> Power:
        """Return the direct-current stage, metered if the meter is simulated."""
        made: StageParts = await self._open("stage", contactor)
        stage = self._safety.guard(made.stage, PowerStage)
        isolation = self._safety.guard(made.isolation, IsolationMonitor)
        if isinstance(meter, SimulatedMeter):
            stage.on_report(lambda each: meter.flow(self.clock.elapsed_ms(), each.voltage_mv, each.current_ma))
        self._compare(lambda: stage.present.power_w, meter, *self._dc_rating)
        offset_mv = self.config.voltmeter_offset_mv
        guarded = self._safety.stage(CalibratedStage(stage, offset_mv) if offset_mv else stage)
        return guarded, isolation, made.isolation_test

    async def _ac(self, parts: Parts) -> AcEvse:
        if self.config.stage != "simulated":
            raise ConfigError("a charge point for alternating current has no power stage", hint="remove stage")
        rating, meter = self.charger.ac_rating, parts.meter
        most_w = (rating.max_charge_power_w, rating.max_discharge_power_w)
        simulated: SimulatedMains | None = None
        if isinstance(meter, SimulatedMeter):
            line = ChargerAcLine(self._simulation.wires("the AC line"), connector=self.connector)
            mains: Mains = (simulated := SimulatedMains(line, parts.contactor, rating, parts.phases))
            mains.on_change(
                lambda: meter.flow(self.clock.elapsed_ms(), mains.present.voltage_mv, mains.present.current_ma)
            )
            self._compare(lambda: mains.present.watts, meter, *most_w)
        else:
            assert isinstance(meter, RemoteMeter)  # which measures the mains itself
            if meter.values.power_w is None and meter.values.currents is None and not meter.values.line_w:
                raise ConfigError(
                    "the meter shows neither a power nor currents", hint="what flows must be seen: see map"
                )
            mains = meter.mains(rating.nominal_voltage_v * 1000)
        allow = self._safety.mains(
            lambda: mains.present, volts=rating.nominal_voltage_v, lines=rating.phases, part=simulated
        )
        measures, reports = simulated is not None, self._reports(*most_w)
        return AcEvse(
            parts, mains, self.clock, self.config.watch, lines=rating.phases, allow=allow, measures=measures, **reports
        )

    # -- parts

    async def _attach(self) -> Medium | None:
        if self.medium_folder is None:
            return None
        medium = await FolderMedium.attach(self.medium_folder, self.name)
        self.stack.callback(medium.close)
        return medium

    def _simulated_meter(self) -> SimulatedMeter:
        meter = SimulatedMeter(self.meter_serial, self.folder / "meter", now_ms=self.clock.elapsed_ms, keys=self.keys)
        self.stack.callback(meter.close)
        return meter


EVSES: Final[dict[Kind, Callable[[Assembly, Parts], Awaitable[Evse]]]] = {
    "dc": Assembly._dc,
    "ac": Assembly._ac,
    "wpt": Assembly._wpt,
    "acdp": Assembly._acdp,
}
