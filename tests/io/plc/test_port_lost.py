"""A modem that is pulled out in the middle: the link goes down at once, and comes back with the modem."""

from collections.abc import Callable
from pathlib import Path

from tests.io.conftest import PtyPair
from v2g.io.plc.datalink import ChargerLink, VehicleLink
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.simulation.medium import Medium
from v2g.observe import Observe
from v2g.slac.ev import EvSlacConfig
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.shared import FAST


class Cable:
    """A serial cable whose ends keep their names when it is replaced."""

    def __init__(self, folder: Path) -> None:
        self.devices = [folder / "ttyCharger", folder / "ttyVehicle"]
        self.lay()

    def lay(self) -> None:
        self.pair = PtyPair()
        for device, real in zip(self.devices, self.pair.devices, strict=True):
            device.unlink(missing_ok=True)
            device.symlink_to(real)


async def test_a_pulled_modem_is_a_lost_link_and_a_returned_one_a_new_match(
    charger_medium: Medium, vehicle_medium: Medium, tmp_path: Path, until: Callable
) -> None:
    cable = Cable(tmp_path)
    events: list[Observe] = []
    ports = [
        open_link(
            PlcConfig(backend="serial", device=str(device), simulated_modem=True), role=role, observe=events.append
        )
        for device, role in zip(cable.devices, ("evse", "ev"), strict=True)
    ]
    pilots = SimulatedChargerPilot(charger_medium), SimulatedVehiclePilot(vehicle_medium)
    charger = ChargerLink(ports[0], pilots[0], EvseSlacConfig(timing=FAST), observe=events.append)
    vehicle = VehicleLink(ports[1], pilots[1], EvSlacConfig(timing=FAST), observe=events.append)
    downs: list[str] = []
    charger.on_down(downs.append)
    vehicle.on_down(downs.append)
    pilots[1].plug()
    first = await vehicle.ready()
    await until(lambda: charger.matched)
    cable.pair.close()
    await until(lambda: downs.count("port_lost") == 2)
    assert charger.matched is None
    assert vehicle.matched is None
    cable.lay()
    await until(lambda: charger.matched and vehicle.matched)
    assert vehicle.matched is not None
    assert vehicle.matched.nmk != first.nmk, "the key of before is known to a modem that was out of our hands"
    assert [event.name for event in events].count("port_back") == 2
    for each in (charger, vehicle, *ports):
        each.close()
    cable.pair.close()
