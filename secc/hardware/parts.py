"""Builds the power hardware from its configuration: each part by its configured backend."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from secc.hardware.ac import OVERDRAW_S, AcEvse, Mains
from secc.hardware.acdp import AcdpEvse
from secc.hardware.calibration import CalibratedStage
from secc.hardware.dc import DcEvse
from secc.hardware.evse import Evse, Parts, WatchConfig
from secc.hardware.fault_file import FaultKeeper
from secc.hardware.meter import Meter, SimulatedMeter
from secc.hardware.meter_remote import RemoteMeter
from secc.hardware.safety import SafetyChannel
from secc.hardware.simulated import BenchAcEvse, BenchEvse, SimulatedEvseConfig, SimulatedMains, make_faults
from secc.hardware.wpt import INPUT_MV, WptEvse
from secc.session.config import SeccConfig
from v2g.config import Flaw
from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import Cabinet, Contactor, IsolationMonitor, PowerStage
from v2g.hardware.power_modules import ModulesConfig
from v2g.io.hardware.board import BoardConfig, SerialBoard
from v2g.io.hardware.modbus import ModbusConfig, ModbusMeter
from v2g.io.plc.pilot import ChargerPilot, SimulatedChargerPilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.ac_line import ChargerAcLine
from v2g.io.simulation.coil import SimulatedPrimary
from v2g.io.simulation.coil_line import ChargerCoilLine
from v2g.io.simulation.contact import SimulatedConnection
from v2g.io.simulation.contact_line import ChargerContactLine
from v2g.io.simulation.dc_line import ChargerDcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.power import SimulatedCabinet, SimulatedContactor, SimulatedIsolation, SimulatedStage
from v2g.iso15118.d20.charts import Family
from v2g.observe import Observe
from v2g.safety import ChargerRating

Front = tuple[ChargerPilot | None, Contactor, Cabinet]
Power = tuple[PowerStage, IsolationMonitor]

Kind = Literal["dc", "ac", "wpt", "acdp"]

_FAMILIES: Final[dict[Kind, Family]] = {
    "dc": Family.DC,
    "ac": Family.AC,
    "wpt": Family.WPT,
    "acdp": Family.ACDP,
}

BOARD_S: Final = 2.0
"""Time for a control board to answer at the start."""


class HardwareConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The power electronics. Every part is simulated unless another backend is configured; simulated parts are
    connected to the vehicle by `link.medium`."""

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
        Literal["simulated", "board"],
        Meta(description="control pilot, contactor, lock, lamp: simulated, or a control board"),
    ] = "simulated"
    stage: Annotated[
        Literal["simulated", "can"], Meta(description="power stage and isolation monitor: simulated, or modules on CAN")
    ] = "simulated"
    meter: Annotated[Literal["simulated", "modbus"], Meta(description="meter: simulated, or on a Modbus RTU line")] = (
        "simulated"
    )
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


def ignored_hardware(config: HardwareConfig, path: tuple[str, ...]) -> Iterator[Flaw]:
    """Yield the keys of real parts that a charger would not use although they are configured."""
    parts = (("pilot", config.pilot, "board"), ("stage", config.stage, "can"), ("meter", config.meter, "modbus"))
    for name, chosen, table in parts:
        given = getattr(config, table) is not None
        if config.backend == "bench":
            wrong = [key for key, is_there in ((name, chosen != "simulated"), (table, given)) if is_there]
            for key in wrong:
                yield (*path, key), "is ignored by the bench", 'remove it, or remove backend = "bench"'
        elif given and chosen != table:
            yield (*path, table), f"is ignored while {name} is {chosen!r}", f'{name} = "{table}" uses it'


@dataclass
class Assembled:
    """The hardware of one charger. `pilot` is None on a bench and at a primary device; `medium` None without simulated
    wires."""

    evse: Evse
    meter: Meter
    safety: SafetyChannel
    pilot: ChargerPilot | None = None
    medium: Medium | None = None


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
    connector: int = 1
    watchdog: Watchdog | None = None
    service: FaultKeeper | None = None
    """Where latched faults are stored; None does not store them."""

    async def make(self) -> Assembled:
        """Return everything. Raises ConfigError for invalid combinations, TransportError for missing hardware."""
        self._safety = safety = SafetyChannel(self._safe_rating(), self.clock, self.observe, watchdog=self.watchdog)
        self.stack.callback(safety.close)
        assembled = await self._assembled()
        safety.stand_over(assembled.evse)
        return assembled

    async def _assembled(self) -> Assembled:
        config, safety = self.config, self._safety
        if config.backend == "bench":
            if config.kind not in ("dc", "ac"):
                raise ConfigError(f"a bench has no device of kind {config.kind}", hint="remove hardware.backend")
            simulated = self._simulated_meter()
            if config.kind == "ac":
                rating = self.charger.ac_rating
                ac = BenchAcEvse(simulated, self.clock, config.simulated, rating, safety=safety, service=self.service)
                return Assembled(ac, simulated, safety)
            dc = BenchEvse(simulated, self.clock, config.simulated, safety=safety, service=self.service)
            return Assembled(dc, simulated, safety)
        self._faults = make_faults(config.simulated, self.clock)
        self.stack.callback(self._faults.close)
        self._medium = await self._attach()
        self._evse: Evse | None = None
        meter = await METERS[config.meter](self)
        pilot, contactor, cabinet = await PILOTS[config.pilot](self)
        parts = Parts(safety.contactor(contactor), cabinet, meter, pilot, self.service)
        self._contactor = contactor
        self._evse = evse = KINDS[config.kind](self, parts)
        if isinstance(meter, SimulatedMeter):
            meter.obey(self._faults)
        return Assembled(evse, meter, safety, pilot, self._medium)

    def _safe_rating(self) -> ChargerRating:
        """Return the safety monitor's limits for this charger."""
        kind, watch = self.config.kind, self.config.watch
        charge_w, discharge_w = self.charger.power_rating(_FAMILIES[kind])
        slow = OVERDRAW_S + 1.0 if kind == "ac" else 1.0  # a vehicle on alternating current controls its power itself
        return ChargerRating(
            charge_w=charge_w,
            discharge_w=discharge_w,
            margin_w=max(500, charge_w // 20 if kind == "ac" else charge_w // 50),
            flow_s=slow,
            close_s=watch.contactor_s + 0.5,
        )

    # -- kinds of current

    def _dc(self, parts: Parts) -> DcEvse:
        stage, isolation = self._power(parts)
        return DcEvse(parts, stage, isolation, self.clock, self.config.watch, **self._reports(*self._dc_rating))

    def _acdp(self, parts: Parts) -> AcdpEvse:
        stage, isolation = self._power(parts)
        window = self.charger.acdp
        device = SimulatedConnection(
            ChargerContactLine(self._wires("the connection device"), connector=self.connector),
            self._faults,
            self.clock,
            self.config.simulated.pantograph,
            window=(window.window_x, window.window_y),
        )
        self.stack.callback(device.close)
        return AcdpEvse(
            parts, stage, isolation, device, self.clock, self.config.watch, **self._reports(*self._dc_rating)
        )

    def _wpt(self, parts: Parts) -> WptEvse:
        if self.config.stage != "simulated":
            raise ConfigError("a primary device has no power stage on CAN", hint="remove hardware.stage")
        rating = self.charger.wpt
        device = SimulatedPrimary(
            ChargerCoilLine(self._wires("the air above the primary device"), connector=self.connector),
            self._contactor,
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
        guarded = self._safety.primary(device)
        return WptEvse(parts, guarded, self.clock, self.config.watch, **self._reports(rating.max_power_w))

    @property
    def _dc_rating(self) -> tuple[int, int]:
        rating = self.charger.rating
        return rating.max_charge_power_w, rating.max_discharge_power_w

    def _reports(self, *powers_w: int) -> dict[str, Any]:
        """Return the common settings of all kinds: the report interval, and the meter's maximum rate."""
        return {"report_s": self.config.simulated.report_s, "most_w": max(powers_w)}

    def _power(self, parts: Parts) -> Power:
        """Return the direct-current stage, metered if the meter is simulated."""
        stage, isolation = STAGES[self.config.stage](self, self._contactor)
        if isinstance(parts.meter, SimulatedMeter):
            meter = parts.meter
            stage.on_report(lambda each: meter.flow(self.clock.elapsed_ms(), each.voltage_mv, each.current_ma))
        offset_mv = self.config.voltmeter_offset_mv
        return self._safety.stage(CalibratedStage(stage, offset_mv) if offset_mv else stage), isolation

    def _ac(self, parts: Parts) -> AcEvse:
        if self.config.stage != "simulated":
            raise ConfigError("a charge point for alternating current has no power stage", hint="remove stage")
        rating = self.charger.ac_rating
        meter = parts.meter
        mains: Mains
        if isinstance(meter, RemoteMeter):
            mains = meter.mains(rating.nominal_voltage_v * 1000)
        elif not isinstance(meter, SimulatedMeter):
            raise ConfigError(f"the meter {self.config.meter} does not measure the mains", hint="use another meter")
        else:
            mains = SimulatedMains(
                ChargerAcLine(self._wires("the AC line"), connector=self.connector), self._contactor, rating
            )

            def flow() -> None:
                meter.flow(self.clock.elapsed_ms(), mains.present.voltage_mv, mains.present.current_ma)

            mains.on_change(flow)
        most_w = (rating.max_charge_power_w, rating.max_discharge_power_w)
        simulated = mains if isinstance(mains, SimulatedMains) else None
        allow = self._safety.mains(lambda: mains.present.watts, part=simulated)
        return AcEvse(parts, mains, self.clock, self.config.watch, allow=allow, **self._reports(*most_w))

    # -- parts

    async def _attach(self) -> Medium | None:
        if self.medium_folder is None:
            return None
        medium = await Medium.attach(self.medium_folder, self.name)
        self.stack.callback(medium.close)
        return medium

    def _wires(self, what: str) -> Medium:
        if self._medium is None:
            raise ConfigError(
                f"link.medium is missing: {what} is simulated",
                hint='set it to the folder of the simulated wires, or set hardware.backend = "bench"',
            )
        return self._medium

    async def _simulated_pilot(self) -> Front:
        simulated = self.config.simulated
        pilot = None
        if self.config.kind != "wpt":
            pilot = SimulatedChargerPilot(self._wires("the control pilot"), connector=self.connector)
        contactor = SimulatedContactor(self._faults, simulated.contactor_s)
        self.stack.callback(contactor.close)
        return pilot, contactor, SimulatedCabinet(self._faults, self.clock, self._current_ma, latch=simulated.latch)

    async def _board(self) -> Front:
        if self.config.kind == "wpt":
            raise ConfigError("a primary device has no control pilot", hint="remove hardware.pilot")
        if self.config.board is None:
            raise ConfigError("hardware.board is missing", hint="set `device` to the control board's serial port")
        board = SerialBoard(self.config.board, self.clock, self.observe)
        self.stack.callback(board.close)
        if not await board.ready(BOARD_S):
            raise TransportError(
                f"the control board on {self.config.board.device} does not answer",
                hint="device and baud_rate of [hardware.board] must match the board",
            )
        if not board.has_contactor:
            raise ConfigError(f"the control board on {self.config.board.device} has no contactor")
        return board, board.contactor, board

    def _current_ma(self) -> int:
        return 0 if self._evse is None else self._evse.present.current_ma

    def _simulated_stage(self, contactor: Contactor) -> Power:
        simulated = self.config.simulated
        line = ChargerDcLine(self._wires("the DC line"), connector=self.connector)
        stage = SimulatedStage(line, contactor, self._faults, self.clock, simulated.stage)
        self.stack.callback(stage.close)
        return stage, SimulatedIsolation(self._faults, simulated.insulation_ohm, simulated.cable_check_s)

    def _can_stage(self, _: Contactor) -> Power:
        from v2g.io.hardware.modules import CanStage  # python-can is slow to import

        if self.config.can is None:
            raise ConfigError("hardware.can is missing", hint="configure the bus of the power modules")
        if not self.config.can.isolation:
            raise ConfigError("hardware.can.isolation is missing", hint="no direct current without isolation monitor")
        modules = CanStage(self.config.can, self.clock)
        self.stack.push_async_callback(modules.close)
        return modules, modules

    async def _meter_in_memory(self) -> Meter:
        return self._simulated_meter()

    async def _modbus_meter(self) -> Meter:
        if self.config.modbus is None:
            raise ConfigError("hardware.modbus is missing", hint="set `device` to the meter's serial port")
        modbus = ModbusMeter(self.config.modbus, self.clock)
        await modbus.open()
        self.stack.push_async_callback(modbus.stop)
        return RemoteMeter(self.meter_serial, modbus)

    def _simulated_meter(self) -> SimulatedMeter:
        meter = SimulatedMeter(self.meter_serial, self.folder / "meter", now_ms=self.clock.elapsed_ms)
        self.stack.callback(meter.close)
        return meter


KINDS: Final[dict[Kind, Callable[[Assembly, Parts], Evse]]] = {
    "dc": Assembly._dc,
    "ac": Assembly._ac,
    "wpt": Assembly._wpt,
    "acdp": Assembly._acdp,
}
PILOTS: Final[dict[str, Callable[[Assembly], Awaitable[Front]]]] = {
    "simulated": Assembly._simulated_pilot,
    "board": Assembly._board,
}
STAGES: Final[dict[str, Callable[[Assembly, Contactor], Power]]] = {
    "simulated": Assembly._simulated_stage,
    "can": Assembly._can_stage,
}
METERS: Final[dict[str, Callable[[Assembly], Awaitable[Meter]]]] = {
    "simulated": Assembly._meter_in_memory,
    "modbus": Assembly._modbus_meter,
}
"""Configured name -> factory of the part. Another backend needs one more line here, and its section."""
