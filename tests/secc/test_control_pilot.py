"""The control pilot of IEC 61851-1 at a whole charge point, from the vehicle's resistors to lamp and contactor."""

from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.secc.bench_program import made
from tests.waiting import until
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.simulation.medium_folder import FolderMedium

AC = """[charger]
services = [1]
[charger.basic]
timing = { step_x1_s = 0.02, step_ef_s = 0.05, after_ef_s = 0.02 }
[link]
medium = "copper"
[site]
free = true
[hardware]
kind = "ac"
[[hardware.simulated.faults]]
fault = "estop"
when = "closed"
after_s = 0.1
for_s = 0.2
"""


@pytest.mark.requirement("R24")
async def test_states_a_to_f(pki: PkiTree, tmp_path: Path) -> None:
    """D: no energy where nothing ventilates. F: a fault under current. E: the vehicle's diode is shorted."""
    async with made(tmp_path, pki, AC) as charger:
        (controller,) = charger.controllers
        assert controller.wires is not None
        pilot, hardware = controller.wires.pilot, controller.hardware
        controller.connect_wires()
        states, lights = [pilot.state], [hardware.light]
        pilot.on_state(states.append)
        hardware.on_light(lights.append)
        medium = await FolderMedium.attach(tmp_path / "copper", "evcc")
        vehicle = SimulatedVehiclePilot(medium)
        vehicle.plug()
        await until(lambda: vehicle.duty.meaning == "off")  # nothing may be drawn before somebody is authorised
        await until(lambda: vehicle.duty.meaning == "current")
        vehicle.set_state(PilotState.D)
        await until(lambda: pilot.state is PilotState.D)
        assert not hardware.contactors_closed
        vehicle.set_state(PilotState.C)
        await until(lambda: hardware.contactors_closed)
        await until(lambda: pilot.state is PilotState.F)
        assert (hardware.contactors_closed, hardware.faults) == (False, ("emergency_stop",))
        await until(lambda: vehicle.duty.meaning == "no_charging")
        vehicle.unplug()
        await until(lambda: not hardware.faults)
        await until(lambda: pilot.state is PilotState.A)
        vehicle.plug(diode=False)
        await until(lambda: hardware.faults == ("diode_shorted",))
        assert not hardware.contactors_closed
        assert states[:8] == [PilotState(each) for each in "ABDCFABE"]
        assert {"available", "occupied", "charging", "red"} == set(lights)
        medium.close()
