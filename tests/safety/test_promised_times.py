"""What the page on safety promises, measured in every edition, at every kind of power, with default settings."""

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from docs.hazards import read_promised
from evcc.policy.battery import BatteryConfig
from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from secc.energy_manager.facts import EnergyManagerWatch
from secc.energy_manager.grid import SiteGrid
from secc.hardware.config import Kind as ChargerKind
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session.config import EnergyService, SeccConfig
from tests.safety.controllers import controllers, program
from tests.safety.judged import older_play, older_vehicle_play, play
from tests.safety.judged.pause_play import SERVICES
from tests.safety.judged.pilot_play import STATES, PilotPlay
from tests.safety.judged.rig import BATTERY_MV, ENERGY_W
from tests.safety.judged.rule import PHASE_V
from tests.safety.judged.vehicle_rig import settings, vehicle_rig
from tests.safety.vehicle_places import Kind
from tests.station.bench import FIXED, Bench
from tests.virtual_time import in_simulated_time
from v2g.battery.derating import DeratingSettings as Derating
from v2g.energy.conductors import Currents
from v2g.hardware.energy_manager.commands import EnergyCommand
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.timing import Timing
from v2g.safety.flow import ALTERNATING, DIRECT, LINE
from v2g_station.blocks.smart_charging.profiles import ProfileLimits

PROMISED = read_promised()
WAYS = ("20 dc", "20 ac", "20 wpt", "20 acdp", "2 dc", "2 ac", "din dc", "basic ac")
LONGEST_S = 70.0


HOT = ((-20.0, 0.0), (0.0, 1.0), (45.0, 1.0), (45.1, 0.1), (70.0, 0.1), (80.0, 0.0))
WARMING = BatteryConfig(
    soc=30,
    temperature_c=5.0,
    max_temperature_c=80.0,
    ambient_c=5.0,
    heat_capacity_j_per_k=5.0,
    cooling_w_per_k=0.1,
    derating=Derating(charge=HOT),
)
"""A battery that soon becomes too warm for what it bears at first."""
WEAK = BatteryConfig(soc=30, max_charge_current_a=20)
"""One that asks for less than the charger could drive."""


async def measure_vehicle(what: str, edition: str, kind: Kind) -> float:
    """Return how long a vehicle in the charge loop takes to be off."""
    options: dict[str, Any] = {"config": settings(kind)}
    if edition == "basic":
        kind = "basic"
        options["config"] = settings(kind)
    elif edition != "20":
        made = {"2": (older_vehicle_play.Play2, older_vehicle_play.Station2),
                "din": (older_vehicle_play.PlayDin, older_vehicle_play.StationDin)}[edition]  # fmt: skip
        options = dict(zip(("made", "charger"), made, strict=True))
        config: SessionConfig = older_vehicle_play.settings(edition, kind)  # type: ignore[arg-type]
        options["config"] = replace(config, program=(ProgramStep(do="charge", for_s=36_000),))
    options["battery"] = WARMING if what == "the battery is warm" else WEAK if what.startswith("more flows") else None
    most_w = 0.0
    async with vehicle_rig(kind, **options) as found:
        loops = older_vehicle_play.LOOPS if edition in ("2", "din") else None
        await (found.charge() if loops is None else found.asked(loops[kind], times=5))
        await found.until(lambda: found.power_w > 5_000, 10.0)
        match what:
            case "the charger stops responding" if edition == "basic":
                found.station.pilot.set_duty(None)
            case "the charger permits less" if edition == "basic":
                found.station.pilot.set_duty(10.0)
                most_w = found.power_w / 2
            case "the charger stops responding":
                found.station.answer = lambda _: None
            case "the battery stops reporting":
                found.faults.add("battery_silent")
            case "the inlet stops reporting":
                found.faults.add("inlet_silent")
            case "the battery is warm":
                half_w = WARMING.max_charge_power_w / 2
                await found.until(lambda: found.channel.battery.max_charge_w < half_w, LONGEST_S)
                most_w = found.channel.battery.max_charge_w * 1.05 + 150
            case "the charger permits less":
                most_w = LOWER_W * 1.05 + 150
                if edition == "20":
                    found.station.twist = targets_less
                else:
                    found.station.book.ac_ma = LOWER_W * 1000 // PHASE_V // 3  # type: ignore[attr-defined]
            case _ if what.startswith("one conductor"):
                assert found.wires is not None
                bound_ma = AT_W * 1000 // PHASE_V // 3  # what the charger gives each
                most_ma = bound_ma + round(LINE.of(bound_ma) * (LITTLE if what.endswith("little") else MUCH))
                found.wires.cross(lambda _: Currents(0, most_ma, 0))
            case _:
                margins = LITTLE if what.endswith("little") else MUCH
                mv, ma = found.station.driven
                found.station.force = (mv, ma + round(DIRECT.of(ma) * margins))
        if most_w:
            return await found.until(lambda: found.power_w <= most_w, LONGEST_S)
        return await found.off(LONGEST_S)


def targets_less(_request: Any, response: Any) -> Any:
    """Let the charger name a lower target in each loop."""
    mode = getattr(response, "cl_res_control_mode", None)
    if mode is None:
        return response
    part = RationalNumber(0, LOWER_W // 3)
    targets = {f"evse_target_active_power{each}": part for each in ("", "_l2", "_l3")}
    return replace(response, cl_res_control_mode=replace(mode, **targets))


AT_W, LOWER_W = 11_000, 3_000
WARM_C, WARM_PERCENT = 89.5, 1
"""A temperature at which the default curve leaves so much, rounded down."""
LINE_A = 10
LOOP_S, LOOK_S = 0.1, 0.01
LITTLE, MUCH = 1.05, 6.0
"""What flows too much, in margins: an excess of one lasts longest, one of four and more is the shortest."""


def managed(watts: int) -> list[ProfileLimits]:
    """Return what a charging station tells its EVSE when an energy manager permits no more than this."""
    station = Bench("2.1", evses=(FIXED,), managed=True)
    watch = EnergyManagerWatch("EMS", evses=1, timeout_s=60.0, fallback=EnergyCommand(limit_w=0))
    for fact in watch.begin():
        station.fact(fact)
    before = len(station.commands)
    for fact in watch.take(0, EnergyCommand(limit_w=watts), 0.0):
        station.fact(fact)
    return [each for each in station.commands[before:] if isinstance(each, ProfileLimits)]


def measure_charger(
    what: str, edition: str, kind: ChargerKind, pki: PkiTree, folder: Path, *, later_s: float = 0.0
) -> float:
    """Return how long a charger in the charge loop takes until no power flows, or no more than is allowed; it happens
    so much later than else."""
    if edition == "basic":
        return in_simulated_time(measure_basic(what, pki, folder, later_s))
    took: list[float] = []
    base: Any = play.Play if edition == "20" else older_play.PLAYS[edition]  # type: ignore[index]

    class Measuring(base):  # type: ignore[misc]
        def watch(self) -> None:
            super().watch()
            self.most_w, self.draws_w, self.low = 0, 0, ""
            self.rated_w, _ = self.config.power_rating(SERVICES[kind][0].family)
            outlet = (PHASE_V, 3) if kind == "ac" else None
            self.grid = SiteGrid(charge_w=40_000, discharge_w=0, outlet=outlet)
            self.evse.on_derating(self.derated)

        def derated(self, percent: int) -> None:
            """Pass a share of the charger's power on, as an EVSE does."""
            self.tell(*self.grid.derate(self.rated_w * percent // 100, 0))

        async def one_loop(self) -> None:
            """Say a loop; what an on-board charger draws obeys nobody where the test says so."""
            await self.do_say(self.loop_request, self.low)
            if self.draws_w:
                self.car.ac.drive(self.draws_w)

        def astray(self, watts: float) -> None:
            """Let so much flow, whatever is commanded."""
            if self.car.ac is None:
                self.faults.set("stage_strays", active=True, value=watts * 1000 / BATTERY_MV)
            else:
                self.draws_w = round(watts)

        async def do_measure(self) -> None:
            since_s = 0.0
            match what:
                case "the vehicle stops responding":
                    since_s = -LONGEST_S
                case "the operator permits no power":
                    await self.do_limit("operator", 0, 0)
                case "the session is stopped":
                    await self.do_stop()
                case "an emergency stop is pressed":
                    await self.do_fault("estop")
                case "site or charging profiles permit less":
                    self.most_w = LOWER_W
                    self.tell(*self.grid.profiles(ProfileLimits(charge_w=LOWER_W)))
                case "an energy manager permits less":
                    self.most_w = LOWER_W
                    for allowance in managed(LOWER_W):
                        self.tell(*self.grid.profiles(allowance))
                case "the vehicle permits less":
                    self.most_w, self.low, since_s = 2_000, "low power", LOOP_S
                case "a part is warm":
                    self.most_w = self.rated_w * WARM_PERCENT // 100
                    self.faults.set("over_temperature", active=True, value=WARM_C)
                case "a vehicle does not follow a lower limit":
                    self.astray(11_000)
                    self.tell(*self.grid.profiles(ProfileLimits(charge_w=LOWER_W)))
                case _:
                    if what.startswith("one conductor"):
                        await self.do_line("operator", LINE_A * 1000, 0)
                    else:
                        await self.do_limit("operator", AT_W, 0)
                    await self.do_loop(8.0)
                    margins, at_w = LITTLE if what.endswith("little") else MUCH, self.car.power_w
                    if what.startswith("one conductor"):
                        self.astray(at_w + LINE.of(LINE_A * 1000) * margins * PHASE_V / 1000)
                    elif kind == "ac":
                        self.astray(at_w + ALTERNATING.of(at_w) * margins)
                    else:
                        self.astray(at_w + DIRECT.of(at_w * 1000 * 1000 // BATTERY_MV) * margins * BATTERY_MV / 1e6)
            began, most_w = self.now, max(ENERGY_W, self.most_w * 1.05 + 50)
            while abs(self.car.power_w) > most_w:
                assert self.now - began < LONGEST_S
                if since_s >= LOOP_S:
                    since_s = 0.0
                    await self.one_loop()
                since_s += LOOK_S
                await asyncio.sleep(LOOK_S)
            took.append(self.now - began)

    if edition == "20":
        config = SeccConfig(services=tuple(EnergyService), timing=Timing(close=5.4))  # or the rig takes one of its own
    else:
        config = older_play.config(edition)  # type: ignore[arg-type]
    phases = 1 if what.startswith("one conductor") else 3
    way = (("phases", phases, phases), ("charge",), ("loop", 1.0), ("wait", later_s), ("measure",))
    play.play(pki, folder, kind, way, made=Measuring, config=config, simulated=SimulatedEvseConfig())
    return took[0]


async def measure_basic(what: str, pki: PkiTree, folder: Path, later_s: float) -> float:
    """Return the same of a charger whose vehicle has the pilot alone, and does at once what it shows."""
    config = program(pki, folder)
    hardware = replace(config.hardware, simulated=replace(config.hardware.simulated, report_s=0.25))
    phases: Literal[1, 3] = 1 if what.startswith("one conductor") else 3
    async with controllers(pki, folder, replace(config, hardware=hardware), phases=phases) as (found,):
        played, car, most_w, shown_w = PilotPlay((found,), "bare"), found.car, float(ENERGY_W), 0.0
        for step in (*STATES["charging"], ("wait", later_s)):
            await played.do(step)
        margins = LITTLE if what.endswith("little") else MUCH
        match what:
            case "the operator permits no power":
                played.do_signal(0)
            case "the session is stopped":
                played.do_stop("remote")
            case "an emergency stop is pressed":
                played.do_fault("estop")
            case "a part is warm":
                found.faults.set("over_temperature", active=True, value=WARM_C)
            case "a vehicle does not follow a lower limit":
                played.do_profile(AT_W)
                await asyncio.sleep(0.3)
                car.draw(AT_W + round(ALTERNATING.of(AT_W) * LITTLE), obeys=False)
            case "site or charging profiles permit less" | "an energy manager permits less":
                played.do_profile(15_000)
                await asyncio.sleep(0.3)  # the next duty cycle comes no sooner than 5 s later
                for allowance in managed(AT_W):
                    found.controller.grid_changed(found.controller.grid.profiles(allowance))
                most_w = AT_W * 1.01
            case _:
                played.do_line(LINE_A) if phases == 1 else played.do_profile(AT_W)
                await asyncio.sleep(9.0)
                shown_w = car.shown_w * phases / 3
                margin_w = LINE.of(LINE_A * 1000) * PHASE_V / 1000 if phases == 1 else ALTERNATING.of(round(shown_w))
                car.draw(round(shown_w + margin_w * margins), obeys=False)
        began = asyncio.get_running_loop().time()
        while car.power_w > most_w:
            assert asyncio.get_running_loop().time() - began < LONGEST_S
            await asyncio.sleep(LOOK_S)
        return asyncio.get_running_loop().time() - began


def promised(role: str) -> list[Any]:
    """Return (what happens, edition, kind, s) of a role."""
    rows = [(what, *way.split(), seconds) for what, each in PROMISED[role].items() for way, seconds in each.items()]
    return [pytest.param(*row, id=f"{row[0]}, {row[1]} {row[2]}") for row in rows]


def test_every_way_has_its_promise() -> None:
    for each in (each for role in PROMISED.values() for each in role.values()):
        assert tuple(each) == tuple(way for way in WAYS if way in each)
    assert all(WAYS in map(tuple, role.values()) for role in PROMISED.values())


def keeps(took: float, seconds: float) -> bool:
    """Say whether a promise is neither broken nor far from what happens."""
    return seconds / 2 - 0.05 < took <= seconds


@pytest.mark.some(13)
@pytest.mark.parametrize(("what", "edition", "kind", "seconds"), promised("vehicle"))
def test_a_vehicle_keeps_its_promises(what: str, edition: str, kind: Kind, seconds: float) -> None:
    took = in_simulated_time(measure_vehicle(what, edition, kind))
    assert keeps(took, seconds)


@pytest.mark.some(15)
@pytest.mark.parametrize(("what", "edition", "kind", "seconds"), promised("charger"))
def test_a_charger_keeps_its_promises(
    what: str, edition: str, kind: ChargerKind, seconds: float, pki: PkiTree, tmp_path: Path
) -> None:
    moments = (0.0, 0.06, 0.12, 0.18) if what == "a part is warm" else (0.0,)  # sensors are looked at each 0.25 s
    took = max(measure_charger(what, edition, kind, pki, tmp_path, later_s=each) for each in moments)
    assert keeps(took, seconds)
