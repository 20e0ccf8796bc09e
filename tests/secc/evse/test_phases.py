"""An AC outlet that changes between three phases and one while a vehicle charges, by whole programs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pki_tools.tree import PkiTree
from secc.energy_manager.grid import SiteGrid
from secc.evse.phases import PhaseChange
from secc.session import ports
from tests.secc.stand import Stand, stand
from tests.virtual_time import in_simulated_time
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.smart_charging import SetPhases

CHARGER = """[charger]
services = [{service}]
poll_hold_s = 0.05
[charger.ac_rating]
phase_pause_s = 1.0
phase_interval_s = 0.0
[charger.signed_discharge]
required = false
[hardware]
kind = "ac"
[hardware.simulated]
phase_switch = {switch}
"""
VEHICLE = """[services]
energy = ["AC"]
control_mode = ["{mode}"]
[[program]]
do = "charge"
energy_wh = 20000
[on_board_charger]
max_charge_w = 11040
min_charge_w = 0
"""


def carrying(both: Stand) -> tuple[int, ...]:
    """Return the conductors of the mains that carry current."""
    currents = both.controller.hardware.present.currents
    assert currents is not None
    assert max(currents) <= 16_000
    return tuple(line for line, current_ma in enumerate(currents) if current_ma > 2_000)


@pytest.mark.requirement("R192")
@pytest.mark.parametrize("mode", ["dynamic", pytest.param("scheduled", marks=pytest.mark.long)])
async def test_a_vehicle_goes_on_with_the_phases_that_are_left(pki: PkiTree, tmp_path: Path, mode: str) -> None:
    charger = CHARGER.format(service=1, switch="true")
    vehicle = VEHICLE.format(mode=mode)
    async with stand(tmp_path, pki, charger, "", head=vehicle) as both:
        hardware, used = both.controller.hardware, list[tuple[int, ...]]()

        async def change() -> None:
            await both.until(lambda: carrying(both) == (0, 1, 2))
            for lines in ((1,), (0, 1, 2), (0,)):
                both.charger.carry_out(SetPhases(evse_id=1, lines=lines))
                await both.until(lambda: not hardware.contactors_closed)
                await both.until(lambda: carrying(both))
                used.append(carrying(both))
            both.controller.tell(ports.StopRequested("operator"))

        changing = asyncio.create_task(change())
        assert await both.run() == "finished"
        await changing
        assert used == [(1,), (0, 1, 2), (0,)]
        assert [each["lines"] for each in both.named("secc", "power", "phases_changed")] == ["L2", "L1 L2 L3", "L1"]
        assert hardware.faults == ()


async def test_hardware_without_a_switch_refuses(pki: PkiTree, tmp_path: Path) -> None:
    charger = CHARGER.format(service=1, switch="false")
    async with stand(tmp_path, pki, charger, "", head=VEHICLE.format(mode="dynamic")) as both:
        both.charger.carry_out(SetPhases(evse_id=1, lines=(0,)))
        (refused,) = both.named("secc", "power", "phases_refused")
        assert refused["reason"] == "the hardware has no phase switch"


class Relays:
    """A phase switch, and a charge point whose contactor is open. See PhaseSwitch and Evse."""

    selects, contactors_closed, present = True, False, ports.Measured(0, 0)

    def __init__(self) -> None:
        self.lines: tuple[int, ...] = (0, 1, 2)
        self.moved: list[tuple[float, int]] = []
        self.stuck = False
        self.interlock = SimpleNamespace(commanded=False)

    def set(self, lines: tuple[int, ...]) -> None:
        self.lines = self.lines if self.stuck else lines
        self.moved.append((asyncio.get_running_loop().time(), len(lines)))


def test_relays_stay_while_the_contactor_is_about_to_close() -> None:
    """It was commanded just before, and takes its time; its session opens it again."""
    relays = Relays()
    relays.interlock.commanded = True

    async def scene() -> float:
        loop, grid = asyncio.get_running_loop(), SiteGrid(charge_w=22_000, discharge_w=0)

        def tell(facts: Sequence[Fact]) -> None:
            if grid.response.trip:
                loop.call_later(0.2, lambda: setattr(relays.interlock, "commanded", False))

        changes = PhaseChange(
            relays, relays, grid, tell, lambda _: None, pause_s=10.0, interval_s=0.0  # type: ignore[arg-type]
        )  # fmt: skip
        began = loop.time()
        changes.request((0,))
        await asyncio.sleep(20.0)
        return began

    began = in_simulated_time(scene())
    ((moved_s, used),) = relays.moved
    assert used == 1
    assert moved_s - began >= 0.2


def test_changes_wait_for_the_interval_and_the_last_request_counts() -> None:
    relays, seen = Relays(), list[Observe]()

    async def scene() -> None:
        grid = SiteGrid(charge_w=22_000, discharge_w=0)
        changes = PhaseChange(
            relays, relays, grid, lambda _: None, seen.append, pause_s=10.0, interval_s=300.0  # type: ignore[arg-type]
        )  # fmt: skip
        for wait_s, lines in ((20.0, (0,)), (100.0, (0, 1, 2)), (5.0, (0,)), (300.0, (0, 1, 2)), (300.0, (0, 1, 2))):
            changes.request(lines)
            await asyncio.sleep(wait_s)

    in_simulated_time(scene())
    (first_s, one), (then_s, three) = relays.moved
    assert (one, three, then_s - first_s) == (1, 3, pytest.approx(300.0, abs=1.0))
    (deferred,) = (each for each in seen if each.name == "phases_deferred")
    assert deferred.data["lines"] == "L1 L2 L3"
    assert deferred.data["wait_s"] == pytest.approx(280.0, abs=1.0)


def test_a_switch_that_has_not_moved_is_commanded_to_stay() -> None:
    """A relay that is commanded elsewhere is a fault, and lets no contactor close."""
    relays, seen = Relays(), list[Observe]()
    relays.stuck = True

    async def scene() -> None:
        grid = SiteGrid(charge_w=22_000, discharge_w=0)
        changes = PhaseChange(
            relays, relays, grid, lambda _: None, seen.append, pause_s=10.0, interval_s=0.0  # type: ignore[arg-type]
        )  # fmt: skip
        changes.request((0,))
        await asyncio.sleep(60.0)

    in_simulated_time(scene())
    assert [used for _, used in relays.moved] == [1, 3]
    assert [each.data["reason"] for each in seen if each.name == "phases_refused"] == ["the switch has not moved"]
