"""A serial port that cannot be opened says why, whatever goes wrong below; simulated wires take no nonsense."""

import asyncio
import os
import select
import termios
import tty
from collections.abc import Callable

import msgspec
import pytest

from tests.io.conftest import PtyPair
from v2g.errors import TransportError
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.serial_port import SerialPort
from v2g.io.simulation.medium import MediumChannel, Room


async def test_a_port_that_goes_while_it_is_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library's error reaches us as it is: no OSError, which those who open a port again and again wait for."""
    cable = PtyPair()

    def gone(*_: object) -> None:
        raise termios.error(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("serial.serialposix.termios.tcflush", gone)
        with pytest.raises(TransportError, match="Input/output error"):
            SerialPort(cable.devices[0], 115_200, on_data=lambda _: None, on_gone=lambda: None)
    SerialPort(cable.devices[0], 115_200, on_data=lambda _: None, on_gone=lambda: None).close()
    cable.close()


async def test_a_port_that_is_missing_is_named_once() -> None:
    with pytest.raises(TransportError) as missing:
        SerialPort("/dev/ttyACM99", 115_200, on_data=lambda _: None, on_gone=lambda: None)
    assert str(missing.value) == "serial port /dev/ttyACM99: No such file or directory"


async def test_a_port_is_not_unplugged_because_its_data_was_read_before_the_loop_does(
    until: Callable[..., object],
) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    seen: list[bytes | None] = []
    port = SerialPort(os.ttyname(slave), 115_200, on_data=seen.append, on_gone=lambda: seen.append(None))
    for data in (b"1", b"2"):
        os.write(master, data)
        select.select([slave], [], [])
        asyncio.get_running_loop().call_soon(port.read_now)
        await until(lambda data=data: data in seen)
    assert seen == [b"1", b"2"]
    os.close(master)
    await until(lambda: None in seen)
    os.close(slave)


@pytest.mark.parametrize("nonsense", [["vehicle", -1000, True, None], ["vehicle", 1 << 60, True, 1 << 60]])
async def test_resistances_that_nothing_has_are_not_taken(nonsense: list[object], until: Callable[..., object]) -> None:
    room = Room()
    charger, vehicle = room.attach("charger"), room.attach("vehicle")
    pilot = SimulatedChargerPilot(charger)
    vehicle.send(MediumChannel.CP, b"\x01S" + msgspec.msgpack.encode(nonsense))
    await asyncio.sleep(0)
    assert pilot.state is PilotState.A
    SimulatedVehiclePilot(vehicle).plug()
    await until(lambda: pilot.state is PilotState.B)
