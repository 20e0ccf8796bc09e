"""A modem that is silent or gone is reported to operators, until it takes a key again."""

import itertools
from collections.abc import Callable
from typing import Any

from secc.evse.controller import ModemWatch
from tests.io.conftest import PtyPair, until  # noqa: F401 - a fixture
from v2g.hardware.faults import FAULTS
from v2g.io.plc.datalink import ChargerLink
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.plc.raw import SerialLink
from v2g.io.simulation.medium import Room
from v2g.observe import Observe
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.modem import SimulatedModem
from v2g.slac.shared import SlacTiming

QUICK = EvseSlacConfig(timing=SlacTiming(set_key_s=0.1))


async def test_a_silent_modem_is_a_fault_until_it_takes_a_key(until: Callable[..., Any]) -> None:  # noqa: F811
    cable, room = PtyPair(), Room()
    faults: list[tuple[str, bool]] = []
    watch = ModemWatch(lambda word, active: faults.append((word, active)))
    port = open_link(PlcConfig(backend="serial", device=cable.devices[0]), role="evse", observe=watch.saw)
    pilot, vehicle = SimulatedChargerPilot(room.attach("secc")), SimulatedVehiclePilot(room.attach("evcc"))
    charger = ChargerLink(port, pilot, QUICK, observe=watch.saw)
    await until(lambda: faults == [("modem_lost", True)])

    far = SerialLink(cable.devices[1], 115_200, b"\x06" + port.mac[1:])
    modem = SimulatedModem(host_mac=port.mac, mac=far.mac, measures=None)

    def answer(frame: bytes) -> None:
        for each in modem.from_host(frame):
            if each.to == "host":
                far.send(each.frame)

    far.on_frame(answer)
    looks = itertools.count()

    def taken() -> bool:
        """A key is tried again at the latest for the next vehicle: a first one may come while a try is under way."""
        look = next(looks)
        if look % 400 == 0:
            (vehicle.unplug if look % 800 else vehicle.plug)()
        return faults[:2] == [("modem_lost", True), ("modem_lost", False)]  # by now a later try may have failed

    await until(taken)
    for each in (charger, port, far, cable):
        each.close()


def test_a_port_that_is_gone_is_one_fault_until_there_is_a_key_again() -> None:
    faults: list[tuple[str, bool]] = []
    watch = ModemWatch(lambda word, active: faults.append((word, active)))
    for name in ("key_set", "port_lost", "down", "port_back", "port_lost", "port_back", "key_set", "down"):
        watch.saw(Observe("link", name, {"reason": "port_lost"} if name == "down" else {}))
    assert faults == [("modem_lost", True), ("modem_lost", False)]
    assert not FAULTS["modem_lost"].stops, "vehicles without words can be charged all the same"
