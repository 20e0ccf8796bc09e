"""What the page on safety promises, measured in every edition, at every kind of power, with default settings."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from docs.hazards import read_promised
from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from secc.hardware.parts import Kind as ChargerKind
from secc.session.config import EnergyService, SeccConfig
from tests.safety.judged import older_play, older_vehicle_play, play
from tests.safety.judged.rig import ENERGY_W
from tests.safety.judged.vehicle_rig import settings, vehicle_rig
from tests.safety.vehicle_places import Kind
from tests.virtual_time import VirtualLoop
from v2g.iso15118.d20.timing import Timing

PROMISED = read_promised()
WAYS = ("20 dc", "20 ac", "20 wpt", "20 acdp", "2 dc", "2 ac", "din dc")
LONGEST_S = 70.0


async def measure_vehicle(what: str, edition: str, kind: Kind) -> float:
    """Return how long a vehicle in the charge loop takes to be off."""
    options: dict[str, Any] = {"config": settings(kind)}
    if edition != "20":
        made = {"2": (older_vehicle_play.Play2, older_vehicle_play.Station2),
                "din": (older_vehicle_play.PlayDin, older_vehicle_play.StationDin)}[edition]  # fmt: skip
        options = dict(zip(("made", "charger"), made, strict=True))
        config: SessionConfig = older_vehicle_play.settings(edition, kind)  # type: ignore[arg-type]
        options["config"] = replace(config, program=(ProgramStep(do="charge", for_s=36_000),))
    async with vehicle_rig(kind, **options) as found:
        loops = older_vehicle_play.LOOPS if edition != "20" else None
        await (found.charge() if loops is None else found.asked(loops[kind], times=5))
        await found.until(lambda: found.power_w > 5_000, 10.0)
        match what:
            case "the charger stops responding":
                found.station.answer = lambda _: None
            case "the battery stops reporting":
                found.faults.add("battery_silent")
            case "the inlet stops reporting":
                found.faults.add("inlet_silent")
        return await found.off(LONGEST_S)


def measure_charger(what: str, edition: str, kind: ChargerKind, pki: PkiTree, folder: Path) -> float:
    """Return how long a charger in the charge loop takes until no power flows."""
    took: list[float] = []
    base: Any = play.Play if edition == "20" else older_play.PLAYS[edition]  # type: ignore[index]

    class Measuring(base):  # type: ignore[misc]
        async def do_measure(self) -> None:
            looping = True
            match what:
                case "the vehicle stops responding":
                    looping = False
                case "the operator permits no power":
                    await self.do_limit("operator", 0, 0)
                case "the session is stopped":
                    await self.do_stop()
                case "an emergency stop is pressed":
                    await self.do_fault("estop")
            began = self.now
            while abs(self.car.power_w) > ENERGY_W:
                assert self.now - began < LONGEST_S
                await (self.go_on(0.02) if looping else asyncio.sleep(0.01))
            took.append(self.now - began)

    if edition == "20":
        config = SeccConfig(services=tuple(EnergyService), timing=Timing(close=5.4))  # or the rig takes one of its own
    else:
        config = older_play.config(edition)  # type: ignore[arg-type]
    play.play(pki, folder, kind, [("charge",), ("loop", 1.0), ("measure",)], made=Measuring, config=config)
    return took[0]


def promised(role: str) -> list[Any]:
    """Return (what happens, edition, kind, s) of a role."""
    rows = [(what, *way.split(), seconds) for what, each in PROMISED[role].items() for way, seconds in each.items()]
    return [pytest.param(*row, id=f"{row[0]}, {row[1]} {row[2]}") for row in rows]


def test_every_way_has_its_promise() -> None:
    assert {tuple(each) for role in PROMISED.values() for each in role.values()} == {WAYS}


@pytest.mark.parametrize(("what", "edition", "kind", "seconds"), promised("vehicle"))
def test_a_vehicle_keeps_its_promises(what: str, edition: str, kind: Kind, seconds: float) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        took = runner.run(measure_vehicle(what, edition, kind))
    assert seconds / 2 < took <= seconds, "a promise is neither broken nor far from what happens"


@pytest.mark.parametrize(("what", "edition", "kind", "seconds"), promised("charger"))
def test_a_charger_keeps_its_promises(
    what: str, edition: str, kind: ChargerKind, seconds: float, pki: PkiTree, tmp_path: Path
) -> None:
    assert seconds / 2 < measure_charger(what, edition, kind, pki, tmp_path) <= seconds
