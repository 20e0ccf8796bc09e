"""An AC outlet that changes between three phases and one while a vehicle charges, by whole programs."""

import asyncio
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from secc.session import ports
from tests.secc.stand import Stand, stand
from v2g_station.blocks.smart_charging.smart_charging import SetPhases

CHARGER = """[charger]
services = [{service}]
poll_hold_s = 0.05
[charger.ac_rating]
phase_pause_s = 1.0
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
