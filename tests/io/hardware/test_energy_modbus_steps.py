"""An energy manager's connections over Modbus TCP, in simulated time: who is served and how long."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation
from v2g.io.hardware.energy_config import EnergyModbusConfig
from v2g.io.hardware.energy_modbus import QUIET_S, ModbusEnergyManager

READ_VERSION = bytes.fromhex("0001 0000 0006 01 04 0000 0001")
VERSION_1 = bytes.fromhex("0001 0000 0005 01 04 02 0001")
ASK_ALL = bytes.fromhex("0001 0000 0006 01 04 0000 0014")


def write(address: int, *values: int) -> bytes:
    body = struct.pack(f">BBHHB{len(values)}H", 1, 16, address, len(values), 2 * len(values), *values)
    return struct.pack(">HHH", 2, 0, len(body)) + body


def written(address: int, count: int) -> bytes:
    return struct.pack(">HHHBBHH", 2, 0, 6, 1, 16, address, count)


class Peer:
    """A connection of an energy manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, request: bytes, size: int) -> bytes:
        """Return the answer, of at most a size; empty: the connection was closed."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(request)
            async with asyncio.timeout(1):
                return await self._reader.read(size)
        return b""

    async def serves(self) -> bool:
        return await self.ask(READ_VERSION, 64) == VERSION_1

    async def ended(self) -> None:
        """Return when the charger has closed it."""
        with contextlib.suppress(ConnectionError):
            assert await self._reader.read(64) == b""

    def close(self) -> None:
        self._writer.transport.abort()


class Charger:
    """The link, open, with what it has taken and refused."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, EnergyCommand]] = []
        self.refused: list[str] = []
        self.renewed = 0
        self.link = ModbusEnergyManager(EnergyModbusConfig(port=0), 2, self._take, self.refused.append, self._renew)
        self.peers: list[Peer] = []

    def _renew(self) -> None:
        self.renewed += 1
        power_w = self.renewed * 1_000
        self.link.notify(ManagedStation(evses=(ManagedEvse(evse=1, status="Occupied", power_w=power_w),)))

    def _take(self, evse_id: int, command: EnergyCommand) -> None:
        self.taken.append((evse_id, command))

    async def peer(self) -> Peer:
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.link.port))
        self.peers.append(peer)
        await asyncio.sleep(0.01)  # accepted
        return peer

    async def serving(self) -> list[bool]:
        return [await each.serves() for each in self.peers]


def play(scene: Callable[[Charger], Coroutine[Any, Any, None]]) -> None:
    async def scenario() -> None:
        charger = Charger()
        await charger.link.open()
        try:
            await scene(charger)
        finally:
            for each in charger.peers:
                each.close()
            await charger.link.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_simulated_time(scenario())


def test_registers_are_written_and_read_in_order() -> None:
    async def scene(charger: Charger) -> None:
        peer = await charger.peer()
        assert await peer.ask(write(202, 0, 11_000)[:7], 0) == b""
        assert await peer.ask(write(202, 0, 11_000)[7:] + READ_VERSION, 64) == written(202, 2) + VERSION_1
        assert charger.taken == [(2, EnergyCommand(limit_w=11_000))]
        assert await peer.ask(bytes.fromhex("0001 0000 0006 01 04 0066 0002"), 64) == bytes.fromhex(
            "0001 0000 0007 01 04 04 000007d0"
        )

    play(scene)


def test_each_reading_of_the_state_has_that_of_its_moment() -> None:
    async def scene(charger: Charger) -> None:
        peer = await charger.peer()
        for power in ("03e8", "07d0"):
            answer = await peer.ask(bytes.fromhex("0001 0000 0006 01 04 0066 0002"), 64)
            assert answer == bytes.fromhex("0001 0000 0007 01 04 04 0000" + power)
        await peer.ask(bytes.fromhex("0001 0000 0006 01 03 0000 0002"), 64)
        assert charger.renewed == 2

    play(scene)


@pytest.mark.parametrize(
    ("request_", "said"),
    [(write(2, 5), "register 2: Modbus exception 3"), (write(300, 5), "register 300: Modbus exception 2")],
    ids=["half a value", "no EVSE"],
)
def test_what_cannot_be_written_is_refused_and_reported(request_: bytes, said: str) -> None:
    async def scene(charger: Charger) -> None:
        peer = await charger.peer()
        answer = await peer.ask(request_, 64)
        assert (answer[7], answer[8:]) == (0x90, bytes((int(said[-1]),)))
        assert (charger.taken, charger.refused) == ([], [said])
        assert await peer.serves()

    play(scene)


def test_nonsense_ends_its_connection_only() -> None:
    async def scene(charger: Charger) -> None:
        stranger, other = await charger.peer(), await charger.peer()
        assert await stranger.ask(b"GET / HTTP/1.1\r\n", 64) == b""
        assert charger.refused == ["not a frame of Modbus TCP"]
        assert await other.serves()

    play(scene)


def test_a_connection_ends_after_5_minutes_without_a_request() -> None:
    async def scene(charger: Charger) -> None:
        loop = asyncio.get_running_loop()
        peer = await charger.peer()
        for _ in range(2):
            assert await peer.serves()
            began = loop.time()
            await asyncio.sleep(299)
        assert await peer.serves()
        began = loop.time()
        await peer.ended()
        assert loop.time() - began == pytest.approx(300, abs=0.01)

    play(scene)


def test_of_many_connections_the_oldest_without_a_request_makes_room() -> None:
    async def scene(charger: Charger) -> None:
        first = await charger.peer()
        assert await first.serves()
        for _ in range(7):
            await charger.peer()
        await asyncio.gather(charger.peer(), charger.peer())
        await charger.peers[1].ended()
        await charger.peers[2].ended()
        assert await charger.serving() == [True, False, False, *[True] * 7]

    play(scene)


def test_of_many_connections_with_requests_none_makes_room() -> None:
    async def scene(charger: Charger) -> None:
        for _ in range(8):
            await charger.peer()
        assert await charger.serving() == [True] * 8
        late = await charger.peer()
        await late.ended()
        assert await charger.serving() == [*[True] * 8, False]
        charger.peers[3].close()
        await asyncio.sleep(0.01)
        assert await (await charger.peer()).serves(), "another one has ended"

    play(scene)


def test_of_many_connections_the_one_without_a_request_for_longest_makes_room() -> None:
    """A manager whose connections were lost on the way returns; here they still seem open."""

    async def scene(charger: Charger) -> None:
        for _ in range(8):
            await charger.peer()
        assert await charger.serving() == [True] * 8
        await asyncio.sleep(QUIET_S)
        for place in (0, *range(2, 8)):
            assert await charger.peers[place].serves()
        assert await (await charger.peer()).serves()
        await charger.peers[1].ended()
        await (await charger.peer()).ended()

    play(scene)


def test_a_part_of_a_request_is_none() -> None:
    async def scene(charger: Charger) -> None:
        for _ in range(8):
            await charger.peer()
        assert await charger.peers[2].ask(READ_VERSION[:7], 0) == b""
        assert [await each.serves() for each in charger.peers if each is not charger.peers[2]] == [True] * 7
        assert await (await charger.peer()).serves()
        await charger.peers[2].ended()

    play(scene)


def test_registers_are_kept_over_a_restart() -> None:
    assert QUIET_S == 30
    kept: list[str] = []

    async def before(charger: Charger) -> None:
        assert await (await charger.peer()).ask(write(202, 0, 11_000), 64) == written(202, 2)
        kept.append(charger.link.kept)

    async def after(charger: Charger) -> None:
        charger.link.resume(kept[0])
        assert charger.link.kept == kept[0]
        answer = await (await charger.peer()).ask(bytes.fromhex("0001 0000 0006 01 03 00ca 0002"), 64)
        assert answer == bytes.fromhex("0001 0000 0007 01 03 04 00002af8")

    play(before)
    play(after)


def test_one_that_ended_without_a_request_makes_no_room_again() -> None:
    async def scene(charger: Charger) -> None:
        gone = await charger.peer()
        gone.close()
        for _ in range(8):
            await charger.peer()
        assert await charger.peers[1].serves()
        assert await (await charger.peer()).serves()
        await charger.peers[2].ended()
        assert await charger.serving() == [False, True, False, *[True] * 7]

    play(scene)


def test_one_that_reads_no_answers_is_not_read_from_and_ends() -> None:
    async def scene(charger: Charger) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setblocking(False)  # noqa: FBT003
            await loop.sock_connect(peer, ("127.0.0.1", charger.link.port))
            requests = 10_000 * (write(2, 0, 11_000) + 100 * ASK_ALL)  # more than the system keeps
            sending = asyncio.create_task(loop.sock_sendall(peer, requests))
            await asyncio.sleep(250)
            assert 0 < len(charger.taken) < 10_000
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(sending, 3_600)

    play(scene)


def test_an_end_closes_the_port_and_all_connections() -> None:
    async def scene(charger: Charger) -> None:
        port = charger.link.port
        peer = await charger.peer()
        began = asyncio.get_running_loop().time()
        await charger.link.close()
        assert asyncio.get_running_loop().time() - began < 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await peer.ended()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", port)

    play(scene)


@simulated
async def test_an_address_that_is_not_ours_is_said() -> None:
    link = ModbusEnergyManager(EnergyModbusConfig(host="192.0.2.1", port=0), 1, lambda *_: None, lambda _: None)
    with pytest.raises(TransportError, match=r"Modbus TCP at 192\.0\.2\.1, port 0: ") as caught:
        await link.open()
    assert "host must be an address of this machine" in caught.value.hint
    await link.close()


def test_the_limits_of_its_configuration() -> None:
    assert msgspec.convert({}, EnergyModbusConfig) == EnergyModbusConfig(host="127.0.0.1", port=502)
    for port in (0, 65_535):
        assert msgspec.convert({"port": port}, EnergyModbusConfig).port == port
    for key, value in (("port", -1), ("port", 65_536), ("unit", 1)):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({key: value}, EnergyModbusConfig)
