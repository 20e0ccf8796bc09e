"""Chargers that are put together from their configuration: of simulated parts, and of parts of other drivers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from secc.config import ProgramConfig, look
from secc.hardware.assembly import Assembled, Assembly
from secc.hardware.config import HardwareConfig, Kind, devices_of, on_simulated_wires, settings_of, switches_phases
from secc.hardware.evse import WatchConfig
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from secc.session.config import AcRating, EvseRating, SeccConfig, WptRating
from tests.io.hardware.linux_machine import KEYS, RELAY
from tests.safety.judged.rig import Car
from tests.secc.asking import ask_for_everything
from tests.secc.hardware.bare import LineMeter, Log, run
from tests.secc.hardware.channel import Board, Isolation, Stage, Switch
from tests.secc.hardware.own_drivers import CONTEXTS, PARTS, install_own
from tests.secc.hardware.plain import Latched, Wire
from tests.secc_toml import SECC
from tests.together import together
from v2g.config import Table, faults
from v2g.energy.conductors import Currents
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.hardware.board import inputs
from v2g.hardware.coils import CoilPair
from v2g.hardware.interfaces import BoardParts, StageParts, StageReport
from v2g.hardware.simulation import FaultStep, StageConfig
from v2g.iec61851.pilot import PilotState
from v2g.io.hardware.board import BoardConfig
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.coil import CoilConfig
from v2g.io.simulation.medium import Medium, Room
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.safety.flow import Errors

KINDS: Final[tuple[Kind, ...]] = ("dc", "ac", "wpt", "acdp")
AT_ONCE: Final = StageConfig(voltage_v_per_s=0, current_a_per_s=0, discharge_tau_s=0)


@dataclass
class Place:
    """Where a charger is put together, and a vehicle may come."""

    folder: Path
    room: Room
    stack: contextlib.AsyncExitStack
    events: list[Observe]
    log: Log
    watchdog: Watchdog
    clock: Clock

    def assembly(self, config: HardwareConfig, charger: SeccConfig | None = None, **more: Any) -> Assembly:
        more = {"folder": self.folder, "medium_folder": self.folder, "watchdog": self.watchdog} | more
        return Assembly(
            config,
            charger or SeccConfig(),
            self.clock,
            self.stack,
            self.events.append,
            meter_serial="M",
            name="evse",
            log=self.log,  # type: ignore[arg-type]
            **more,
        )

    async def make(self, config: HardwareConfig, charger: SeccConfig | None = None, **more: Any) -> Assembled:
        made = await self.assembly(config, charger, **more).make()
        self.stack.push_async_callback(made.evse.close)
        return made


@contextlib.asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    loop, room = asyncio.get_running_loop(), Room()

    async def attach(_folder: Path, name: str) -> Medium:
        return room.attach(name)

    clock = Clock(ClockConfig(origin_monotonic=loop.time(), origin_utc_ms=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderMedium, "attach", attach)
        async with contextlib.AsyncExitStack() as stack:
            yield Place(folder, room, stack, [], Log(), Watchdog(), clock)


def scenes(folder: Path, scene: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        async with place(folder) as found:
            await scene(found)

    run(scenario)


# -- configuration


def test_what_is_not_configured_is_itself_a_valid_configuration() -> None:
    config = HardwareConfig()
    assert msgspec.convert(msgspec.to_builtins(config), HardwareConfig) == config


IGNORED: Final = "is ignored by the bench"
AC_ONLY: Final = ["simulated.grid: is ignored", "simulated.phase_switch: is ignored"]
ONE_WAY: Final = 'charger.services: has 6 (DC_BPT), but hardware.stage = "infypower" gives energy to vehicles only'


@together(
    ("text", "flaws"),
    [
        ("", []),
        ('backend = "bench"', []),
        ('pilot = "board"\nboard.device = "d"', []),
        ('stage = "can"\ncan = {}', []),
        ('meter = "modbus"\nmodbus.device = "d"', []),
        ('meter = "d0"\ndrivers.d0 = {device = "d"}', []),
        ('meter = "d0"', ["drivers.d0: the key device is missing"]),
        ('meter = "d0"\ndrivers.d0 = {device = "d", devise = 1}', ["unknown key 'hardware.drivers.d0.devise'"]),
        ('pilot = "board"', ["board: is missing"]),
        ('stage = "nobodys"', ["stage: no driver 'nobodys' is installed"]),
        ('stage = "board"', ["stage: no driver 'board' is installed"]),
        (
            'backend = "bench"\nstage = "infypower"\ndrivers.infypower = {}',
            [f"stage: {IGNORED}", "drivers.infypower: is ignored"],
        ),
        ('backend = "bench"\npilot = "board"', [f"pilot: {IGNORED}"]),
        ('backend = "bench"\nmeter = "nobodys"', [f"meter: {IGNORED}"]),
        ('backend = "bench"\nboard.device = "d"', [f"board: {IGNORED}"]),
        ('board.device = "d"', ["board: is ignored while pilot is 'simulated'"]),
        ('stage = "infypower"\ncan = {}', [ONE_WAY, "can: is ignored while stage is 'infypower'"]),
        ('stage = "can"\ncan = {}\nboard.device = "d"', ["board: is ignored while pilot is 'simulated'"]),
        ('backend = "bench"\ndrivers.infypower = {}', ["drivers.infypower: is ignored"]),
        ('pilot = "board"\nboard.device = "d"\ndrivers.board = {}', ["drivers.board: is ignored"]),
        ('meter = "d0"\ndrivers.d0 = {device = "d"}\ndrivers.linux = {}', ["drivers.linux: is ignored"]),
        ("simulated = {grid = 'mains.csv', phase_switch = true}", AC_ONLY),
        ("backend = 'bench'\nsimulated = {grid = 'mains.csv', phase_switch = true}", AC_ONLY),
    ],
)
def test_each_key_that_is_not_used_is_named_and_why(text: str, flaws: list[str]) -> None:
    found = faults(f"{SECC}[hardware]\n{text}\n", ProgramConfig, name="secc.toml", look=look)
    assert [str(each).split(": ", 1)[1].removeprefix("hardware.") for each in found] == flaws


def test_settings_are_those_of_the_part_or_are_missing() -> None:
    board = BoardConfig(device="d")
    assert settings_of(HardwareConfig(pilot="board", board=board), "pilot") is board
    with pytest.raises(ConfigError, match=r"^hardware\.board: is missing"):
        settings_of(HardwareConfig(pilot="board"), "pilot")


@together(
    ("config", "part"),
    [
        (HardwareConfig(backend="bench"), ""),
        (HardwareConfig(kind="wpt"), "the air above the primary device"),
        (HardwareConfig(), "the control pilot"),
        (HardwareConfig(pilot="board", kind="acdp"), "the connection device"),
        (HardwareConfig(pilot="board"), "the DC line"),
        (HardwareConfig(pilot="board", stage="can"), ""),
        (HardwareConfig(pilot="board", kind="ac"), "the AC line"),
        (HardwareConfig(pilot="board", kind="ac", meter="modbus"), ""),
    ],
)
def test_a_part_that_simulated_wires_join_to_the_vehicle_is_named(config: HardwareConfig, part: str) -> None:
    assert on_simulated_wires(config) == part


def test_what_only_one_evse_can_have_is_of_its_part_and_of_no_bench() -> None:
    config = HardwareConfig(pilot="board", board=BoardConfig(device="/dev/ttyUSB0"), meter="modbus")
    assert devices_of(config) == [("pilot", "/dev/ttyUSB0")]
    assert devices_of(msgspec.structs.replace(config, backend="bench")) == []


@pytest.mark.parametrize("relay", [True, False])
def test_phases_are_switched_by_a_board_with_a_relay_and_on_no_bench(relay: bool) -> None:
    config = HardwareConfig(pilot="linux", drivers={"linux": Table(KEYS | RELAY if relay else KEYS)})
    assert switches_phases(config) is relay
    assert not switches_phases(msgspec.structs.replace(config, backend="bench"))
    assert not switches_phases(HardwareConfig())


# -- simulated parts


@dataclass
class Bay:
    """A charger of simulated parts, and a vehicle at it."""

    place: Place
    made: Assembled
    car: Car
    facts: list[Fact]

    async def do(self, command: Any) -> Fact | None:
        doing = self.made.evse.execute(command)
        return None if doing is None else await doing

    async def arrive(self) -> None:
        """A vehicle comes, and may have everything; the contactor closes for it."""
        made, car = self.made, self.car
        if made.pilot is not None:
            made.pilot.set_duty(5.0)
        car.arrive()
        await self.do(ports.TransactionStarted("0011223344556677", ""))
        ask_for_everything(made.safety)
        if car.kind == "acdp":
            await self.do(ports.MoveDevice(to_vehicle=True))
            await asyncio.sleep(6.0)
        if made.pilot is not None:
            car.pilot.set_state(PilotState.C)
            await asyncio.sleep(0.1)
        assert await self.do(ports.CloseContactors()) == ports.ContactorState(closed=True)

    async def power(self, watts: int) -> None:
        """Command a power into the vehicle; with direct current at its 400 V."""
        if self.car.ac is not None:
            await self.do(ports.SetAcOutput(watts, 0))
            self.car.ac.drive(watts)
        elif self.car.coil is not None:
            await self.do(ports.SetWptOutput(charge_w=watts, power_w=watts))
        else:
            await self.do(ports.StartPreCharge(400_000))
            await asyncio.sleep(0.5)
            self.car.switch(closed=True)
            await asyncio.sleep(0.1)
            await self.do(ports.SetOutput(450_000, watts * 1_000 // 400, watts, 0))
        await asyncio.sleep(0.1)


def bays(
    folder: Path,
    scene: Callable[[Bay], Coroutine[Any, Any, None]],
    kind: Kind = "dc",
    *,
    charger: SeccConfig | None = None,
    draws_w: int = 20_000,
    more: Any = None,
    **simulated: Any,
) -> None:
    async def whole(found: Place) -> None:
        car = Car(kind, found.room.attach("evcc"))
        car.draws_w = draws_w
        config = HardwareConfig(kind=kind, simulated=SimulatedEvseConfig(**({"stage": AT_ONCE} | simulated)))
        made = await found.make(msgspec.structs.replace(config, **(more or {})), charger)
        bay = Bay(found, made, car, [])
        made.evse.subscribe(bay.facts.append)
        await scene(bay)

    scenes(folder, whole)


POWERS: Final[dict[Kind, int]] = {"dc": 20_000, "ac": 9_200, "wpt": 10_000, "acdp": 20_000}


@pytest.mark.parametrize("kind", KINDS)
def test_what_flows_is_measured_and_metered(tmp_path: Path, kind: Kind) -> None:
    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(watts := POWERS[kind])
        assert bay.made.evse.present.watts == watts
        before = bay.made.meter.read(0)
        await asyncio.sleep(36.0)
        after = bay.made.meter.read(0)
        assert (after.import_mwh - before.import_mwh, after.export_mwh) == (watts * 10, 0)
        assert (tmp_path / "meter").stat().st_size
        assert bay.made.evse.faults == ()

    bays(tmp_path, scene, kind)


def wrong(watts: float, *, after_s: float = 0.0) -> tuple[FaultStep, ...]:
    """The meter adds this from so long after the first current."""
    return (FaultStep(fault="meter_wrong", when="closed", after_s=after_s, value=watts),)


@pytest.mark.parametrize("kind", KINDS)
def test_output_and_meter_are_compared_at_once(tmp_path: Path, kind: Kind) -> None:
    """The energies alone are compared, too, which takes 7 s at this power."""

    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(POWERS[kind])
        assert bay.made.evse.faults == ()
        bay.facts.clear()
        await asyncio.sleep(1.0)
        assert ports.HardwareFault("measurements_differ") in bay.facts

    bays(tmp_path, scene, kind, faults=wrong(100_000.0, after_s=0.3 if kind in ("ac", "wpt") else 1.0))


def test_a_simulated_meter_is_never_late(tmp_path: Path) -> None:
    """What the output was a second ago is no reason for what the meter measures now."""

    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(40_000)
        await asyncio.sleep(4.28)
        await bay.do(ports.SetOutput(450_000, 0, 0, 0))
        await asyncio.sleep(0.9)
        assert bay.made.evse.faults == ("measurements_differ",)

    bays(tmp_path, scene, faults=wrong(40_000.0, after_s=5.0))


def test_small_differences_are_those_of_the_larger_direction(tmp_path: Path) -> None:
    """5 per mille of 150 kW, while 50 kW may flow back."""

    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(1_000)
        await asyncio.sleep(60.0)
        assert bay.made.evse.faults == ()

    bays(tmp_path, scene, faults=wrong(600.0))


def test_a_meter_may_count_as_fast_as_energy_flows_in_the_larger_direction(tmp_path: Path) -> None:
    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(120_000)
        await asyncio.sleep(60.0)
        assert bay.made.evse.faults == ()

    bays(tmp_path, scene, report_s=10.0)


def test_what_flows_heats_the_plug(tmp_path: Path) -> None:
    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(150_000)
        await asyncio.sleep(10.0)
        assert bay.made.evse.faults == ()
        await asyncio.sleep(50.0)
        assert bay.made.evse.faults == ("over_temperature",)

    bays(tmp_path, scene, more={"watch": WatchConfig(max_temperature_c=31.0)})


@pytest.mark.parametrize(
    ("pair", "sent_w", "counted_mwh"),
    [
        (CoilPair(), 16_875, 168_748),  # what 75 A send, less than a mA
        (CoilPair(reflected_ohm=300.0), 400_000, 4_000_000),
    ],
)
def test_a_primary_device_sends_what_its_coil_bears_and_it_is_metered(
    tmp_path: Path, pair: CoilPair, sent_w: int, counted_mwh: int
) -> None:
    async def scene(bay: Bay) -> None:
        await bay.arrive()
        await bay.power(400_000)
        assert bay.made.evse.present.watts == sent_w
        before = bay.made.meter.read(0).import_mwh
        await asyncio.sleep(36.0)
        assert bay.made.meter.read(0).import_mwh - before == counted_mwh

    charger = SeccConfig(wpt=WptRating(max_power_w=400_000))
    bays(tmp_path, scene, "wpt", charger=charger, draws_w=400_000, coil=CoilConfig(pair=pair))


def test_a_voltmeter_is_corrected_by_its_offset(tmp_path: Path) -> None:
    async def scene(bay: Bay) -> None:
        assert bay.made.evse.present.voltage_mv == 300

    bays(tmp_path, scene, more={"voltmeter_offset_mv": 300})


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_end_nothing_moves_or_is_watched(tmp_path: Path, kind: Kind) -> None:
    async def scene(bay: Bay) -> None:
        assert "evse" in bay.place.room.stations
        failed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        bay.car.arrive()
        await asyncio.sleep(0.1)
        if kind == "wpt":
            await bay.do(ports.StartPairing("External confirmation", 1))
        elif kind == "acdp":
            await bay.do(ports.MoveDevice(to_vehicle=True))
        await asyncio.sleep(1.0)
        await bay.made.evse.close()
        await bay.place.stack.aclose()
        assert "evse" not in bay.place.room.stations
        bay.facts.clear()
        await asyncio.sleep(20.0)
        assert (failed, bay.facts, bay.made.evse.contactors_closed) == ([], [], False)

    script = (FaultStep(fault="stuck_closed", after_s=10.0),)
    bays(tmp_path, scene, kind, faults=script, coil=CoilConfig(confirm_after_s=5.0))


BENCH: Final[dict[Kind, tuple[ports.Output, int]]] = {
    "dc": (ports.SetOutput(400_000, 1_000_000, 400_000, 0), 400_000),
    "ac": (ports.SetAcOutput(92_000, 0), 92_000),
}
BENCH_RATED: Final = SeccConfig(
    rating=EvseRating(max_charge_power_w=400_000, max_charge_current_a=1_000),
    ac_rating=AcRating(max_charge_power_w=92_000),
)


@pytest.mark.parametrize("kind", BENCH)
def test_a_bench_charges_any_vehicle_and_keeps_what_it_has_metered(tmp_path: Path, kind: Kind) -> None:
    """Up to its rating, and also where nobody has ended it before."""
    output, watts = BENCH[kind]

    async def scene(found: Place) -> None:
        config = HardwareConfig(backend="bench", kind=kind, simulated=SimulatedEvseConfig(stage=AT_ONCE, report_s=10.0))
        made = await found.assembly(config, BENCH_RATED).make()
        assert (made.pilot, made.medium, made.meter.serial) == (None, None, "M")
        made.evse.execute(ports.TransactionStarted("0011223344556677", ""))
        ask_for_everything(made.safety)
        closing = made.evse.execute(ports.CloseContactors())
        assert closing is not None
        assert await closing == ports.ContactorState(closed=True)
        made.evse.execute(output)
        made.evse.execute(ports.Reported(400_000, max_charge_ma=1_000_000, max_discharge_ma=0))
        assert made.evse.present.watts == watts
        await asyncio.sleep(36.0)
        counted = made.meter.read(0).import_mwh
        assert (counted, made.evse.faults) == (pytest.approx(watts * 10, abs=10), ())
        await found.stack.aclose()
        again = await found.make(config)
        assert again.meter.read(0).import_mwh == counted
        assert (tmp_path / "meter").exists()

    scenes(tmp_path, scene)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (HardwareConfig(backend="bench", kind="wpt"), "a bench has no device of kind wpt"),
        (HardwareConfig(backend="bench", kind="acdp"), "a bench has no device of kind acdp"),
        (HardwareConfig(kind="ac", stage="own"), "a charge point for alternating current has no power stage"),
        (HardwareConfig(kind="wpt", stage="own"), "a primary device has no power stage"),
        (HardwareConfig(kind="wpt", pilot="own"), "a primary device has no control pilot"),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, config: HardwareConfig, why: str) -> None:
    async def scene(found: Place) -> None:
        with pytest.raises(ConfigError, match=why):
            await found.make(config)

    scenes(tmp_path, scene)


# -- parts of other drivers


@dataclass
class Own:
    """Parts that do what they are set to."""

    pilot: Wire
    contactor: Switch
    cabinet: Latched
    board: Board
    stage: Stage
    isolation: Isolation
    meter: LineMeter
    tested: list[str]

    async def self_test(self) -> str:
        self.tested.append("board")
        return ""


def owns(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[Place, Own], Coroutine[Any, Any, None]],
) -> None:
    install_own(folder / "site", monkeypatch)

    async def whole(found: Place) -> None:
        own = Own(Wire(), Switch(), Latched(), Board(), Stage(), Isolation(), LineMeter(), [])
        own.stage.present = StageReport(0, 0)
        PARTS["pilot"] = BoardParts(own.pilot, own.contactor, own.cabinet, own.self_test, own.board)
        PARTS["stage"] = StageParts(own.stage, own.isolation)
        PARTS["meter"] = own.meter
        await scene(found, own)

    scenes(folder, whole)


OWN: Final = HardwareConfig(pilot="own", stage="own", meter="own")
OWN_AC: Final = HardwareConfig(kind="ac", pilot="own", meter="own")


async def connected(made: Assembled, own: Own) -> None:
    """A vehicle has everything that it asks for."""
    own.pilot.set_duty(5.0)
    own.pilot.plug(PilotState.C)
    made.evse.execute(ports.TransactionStarted("0011223344556677", ""))
    ask_for_everything(made.safety)
    closing = made.evse.execute(ports.CloseContactors())
    assert closing is not None
    assert await closing == ports.ContactorState(closed=True)


def test_hardware_is_tested_before_it_is_used_and_needs_no_simulated_wires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(found: Place, own: Own) -> None:
        made = await found.make(OWN, medium_folder=None)
        assert own.tested == ["board"]
        assert [each[:2] for each in found.log.kept] == [("self_test", "")]
        assert (made.medium, made.evse.faults, made.meter.serial) == (None, (), "M")
        assert made.pilot is not None
        assert made.pilot.state is PilotState.A

    owns(tmp_path, monkeypatch, scene)


@pytest.mark.parametrize("config", [OWN, msgspec.structs.replace(OWN, voltmeter_offset_mv=500)])
def test_a_drivers_cut_that_does_nothing_is_a_fault_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: HardwareConfig
) -> None:
    async def scene(found: Place, own: Own) -> None:
        own.contactor.obeys_cut = False
        made = await found.make(config)
        assert [each[:2] for each in found.log.kept] == [("self_test", "the contactor is on after cut")]
        assert "self_test_failed" in made.evse.faults
        assert not own.contactor.closed

    owns(tmp_path, monkeypatch, scene)


@pytest.mark.parametrize(
    ("config", "rating"),
    [
        (OWN, (150_000, 50_000, 750, 2_500)),
        (OWN_AC, (22_000, 11_000, 5_000, 2_500)),
    ],
)
def test_a_board_watches_by_the_rating_and_times_of_its_charger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: HardwareConfig, rating: tuple[int, ...]
) -> None:
    async def scene(found: Place, own: Own) -> None:
        await found.make(msgspec.structs.replace(config, watch=WatchConfig(contactor_s=2.0)))
        (said,) = (each for each in own.board.inputs if isinstance(each, inputs.BoardRating))
        assert (said.charge_w, said.discharge_w, said.follow_ms, said.close_ms) == rating

    owns(tmp_path, monkeypatch, scene)


def test_a_board_needs_a_pilot_for_a_plug_and_no_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(found: Place, own: Own) -> None:
        parts = PARTS["pilot"]
        PARTS["pilot"] = replace(parts, pilot=None)
        with pytest.raises(ConfigError, match="the driver 'own' has no control pilot"):
            await found.make(OWN)
        await found.stack.aclose()
        PARTS["pilot"] = replace(parts, monitor=None)
        made = await found.make(OWN)
        assert (made.evse.faults, own.board.inputs) == ((), [])

    owns(tmp_path, monkeypatch, scene)


def test_a_pilot_that_is_not_measured_any_more_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(found: Place, own: Own) -> None:
        made = await found.make(OWN)
        await asyncio.sleep(1.0)
        assert made.evse.faults == ()
        own.pilot.age_s = 60.0
        await asyncio.sleep(0.5)
        assert made.evse.faults == ("charger_failed",)

    owns(tmp_path, monkeypatch, scene)


def test_a_stage_has_the_contactor_behind_the_monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(found: Place, own: Own) -> None:
        await found.make(OWN)
        contactor = CONTEXTS["stage"].contactor
        assert contactor is not None
        assert CONTEXTS["pilot"].contactor is CONTEXTS["meter"].contactor is None
        contactor.set(closed=True)
        assert not own.contactor.closed

    owns(tmp_path, monkeypatch, scene)


def test_a_fault_of_the_hardware_forbids_energy_and_one_of_the_monitor_is_the_hardwares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(found: Place, own: Own) -> None:
        made = await found.make(OWN)
        await connected(made, own)
        own.contactor.move(closed=False)
        assert "contactor_dropped" in made.evse.faults
        faults = [each for each in own.board.inputs if isinstance(each, inputs.Fault)]
        assert inputs.Fault(word="contactor_dropped", active=True) in faults

    owns(tmp_path, monkeypatch, scene)


def test_a_meter_may_be_as_late_as_is_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows 40 kW for 0.9 s after the output has ended."""

    async def scene(found: Place, own: Own, late_s: float) -> tuple[str, ...]:
        made = await found.make(msgspec.structs.replace(OWN, watch=WatchConfig(errors=Errors(late_s=late_s))))
        await connected(made, own)
        made.evse.execute(ports.SetOutput(450_000, 100_000, 40_000, 0))
        for watts in (40_000,) * 10 + (0,) * 9:
            own.stage.present = StageReport(400_000, watts * 1_000 // 400)
            own.stage.report()
            own.meter.show(power_w=40_000)
            await asyncio.sleep(0.1)
        return made.evse.faults

    async def late(found: Place, own: Own) -> None:
        assert await scene(found, own, 1.0) == ()

    async def never(found: Place, own: Own) -> None:
        assert await scene(found, own, 0.0) == ("measurements_differ",)

    owns(tmp_path, monkeypatch, late)
    owns(tmp_path / "other", monkeypatch, never)


def test_a_meter_measures_the_mains_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its registers have to count what its power says: 9.2 kW, and then none while they go on."""

    async def scene(found: Place, own: Own) -> None:
        made = await found.make(OWN_AC)
        await connected(made, own)
        made.evse.execute(ports.SetAcOutput(22_000, 0))
        own.meter.show(power_w=9_200)
        assert made.evse.present == ports.Measured(230_000, 40_000)
        for second in range(240):
            own.meter.show(import_mwh=second * 9_200_000 // 3_600)
            await asyncio.sleep(1.0)
        assert made.evse.faults == ()
        own.meter.show(power_w=0)
        for second in range(240, 360):
            own.meter.show(import_mwh=second * 9_200_000 // 3_600)
            await asyncio.sleep(1.0)
        assert made.evse.faults == ("measurements_differ",)

    owns(tmp_path, monkeypatch, scene)


def test_a_charger_for_alternating_current_refuses_a_meter_that_shows_no_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(found: Place, own: Own) -> None:
        own.meter.show(power_w=None)
        with pytest.raises(ConfigError, match="neither a power nor currents"):
            await found.make(OWN_AC)

    async def with_currents(found: Place, own: Own) -> None:
        own.meter.show(power_w=None, currents=Currents(16_000))
        assert (await found.make(OWN_AC)).evse.present.currents == Currents(16_000)

    owns(tmp_path / "none", monkeypatch, scene)
    owns(tmp_path / "lines", monkeypatch, with_currents)


def test_a_vehicle_that_the_meter_sees_exceed_its_limit_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(found: Place, own: Own) -> None:
        made = await found.make(OWN_AC)
        await connected(made, own)
        made.evse.execute(ports.SetAcOutput(9_200, 0))
        own.meter.show(power_w=22_000)
        await asyncio.sleep(2.0)
        assert not own.contactor.closed

    owns(tmp_path, monkeypatch, scene)


def test_a_meter_of_another_driver_counts_what_a_primary_device_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(found: Place, own: Own) -> None:
        own.meter.show(import_mwh=7)
        made = await found.make(HardwareConfig(kind="wpt", meter="own"))
        assert made.meter.read(0).import_mwh == 7

    owns(tmp_path, monkeypatch, scene)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_alone_have_a_stage_where_there_is_direct_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    async def scene(found: Place, own: Own) -> None:
        bare = await found.assembly(HardwareConfig(kind=kind, meter="own")).make_bare()
        assert bare.meter.serial == "M"
        assert (bare.stage is not None) is (kind in ("dc", "acdp"))
        assert (bare.board.pilot is not None) is (kind != "wpt")
        assert not own.tested

    owns(tmp_path, monkeypatch, scene)


def test_nothing_is_watched_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    class Read(Wire):
        @property
        def age_s(self) -> float:  # type: ignore[override]
            read.append(self)
            return 0.0

        @age_s.setter
        def age_s(self, _: float) -> None:
            """It stays."""

    async def scene(found: Place, own: Own) -> None:
        PARTS["pilot"] = replace(PARTS["pilot"], pilot=Read())
        made = await found.make(OWN)
        await asyncio.sleep(1.0)
        await made.evse.close()
        await found.stack.aclose()
        assert read
        read.clear()
        await asyncio.sleep(1.0)
        assert not read

    owns(tmp_path, monkeypatch, scene)


# -- the place


def test_the_hardware_belongs_to_one_program_and_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    async def scene(found: Place) -> None:
        async with place(folder) as other:
            await found.make(HardwareConfig(), folder=folder)
            assert (folder / "hardware.lock").stat().st_mode & 0o777 == 0o600
            with pytest.raises(TransportError, match="another program uses this hardware"):
                await other.make(HardwareConfig())
            await found.stack.aclose()
            await other.make(HardwareConfig())

    scenes(tmp_path, scene)


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scene(found: Place) -> None:
        with pytest.raises(StoreError, match=r"file/hardware\.lock: "):
            await found.make(HardwareConfig(), folder=tmp_path / "file")

    scenes(tmp_path, scene)
