"""A charger's EEBUS node on loopback: pairing, connecting by itself, mDNS, strangers and noise (R206)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.io.eebus.box import joined, opened, ski
from tests.waiting import until
from v2g.eebus.identity import ShipNode, node_of, ship_id
from v2g.eebus.spine import Moment, SpineDevice
from v2g.errors import ConfigError, StoreError, TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand
from v2g.io.eebus import node as node_module
from v2g.io.eebus.files import CERTIFICATE, KEY, SEEN, TRUSTED, node_key, seen, trust, trusted
from v2g.io.eebus.mdns import ShipDiscovery
from v2g.io.eebus.node import EebusNode
from v2g.io.hardware.energy_config import EnergyEebusConfig
from v2g.io.hardware.energy_eebus import EebusEnergyManager
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe


class Preset:
    fallback_charge_w = 4200
    fallback_discharge_w = 1000
    timeout_s = 60.0


class Charger:
    """A link, what it commanded, and its events."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.commands: list[EnergyCommand] = []
        self.events: list[Observe] = []
        options: dict[str, Any] = {"folder": folder, "port": 0, "mdns": False, "nominal_charge_w": 22_000, **config}
        self.link = EebusEnergyManager(
            EnergyEebusConfig(**options),
            Preset(),
            lambda _, command: self.commands.append(command),
            clock=Clock(),
            observe=self.events.append,
        )

    def states(self, peer: str) -> list[object]:
        return [each.data["state"] for each in self.events if each.name == "eebus_peer" and each.data["ski"] == peer]

    def refused(self) -> list[object]:
        return [each.data["reason"] for each in self.events if each.name == "eebus_refused"]


@contextlib.asynccontextmanager
async def running(folder: Path, **config: Any) -> AsyncIterator[Charger]:
    charger = Charger(folder, **config)
    await charger.link.open()
    try:
        async with asyncio.timeout(60):
            yield charger
    finally:
        await charger.link.close()


async def test_a_box_waits_until_the_user_trusts_it_and_goes_when_he_no_longer_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "LOOK_S", 0.05)
    own, box_ski = tmp_path / "eebus", ski(tmp_path / "box")
    async with running(own) as charger:
        waiting = asyncio.ensure_future(_shaken(tmp_path / "box", charger))
        await until(lambda: charger.states(box_ski) == ["waiting"])
        await until(lambda: (found := seen(own)) is not None and [each.ski for each in found.peers] == [box_ski])
        trust(own, trusted(own) | {box_ski})
        await waiting
        assert charger.states(box_ski)[:2] == ["waiting", "connected"]
        assert charger.commands == [EnergyCommand(limit_w=4200)], "no limit of production is offered"
    async with running(own) as charger, joined(tmp_path / "box", charger.link.ship.port, "") as box:
        trust(own, frozenset())
        while not any(frame.startswith(b"\3") and b"removedConnection" in frame for frame in box.frames):
            await box.hear_one()
    assert charger.link.node.ski == node_key(own, "").ski, "the key is kept"
    assert (own / KEY).stat().st_mode & 0o777 == 0o600


async def test_a_box_that_is_trusted_no_more_does_not_end_its_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may stay there as long as it asks for more time."""
    monkeypatch.setattr(node_module, "LOOK_S", 0.05)
    own, box_ski = tmp_path / "eebus", ski(tmp_path / "box")
    async with running(own) as charger:
        trust(own, frozenset({box_ski}))
        await until(lambda: charger.link.ship.trusted == {box_ski})
        async with opened(tmp_path / "box", charger.link.ship.port) as socket:
            await socket.send(b"\0\0")
            assert await socket.recv(decode=False) == b"\0\0"
            assert b"ready" in await socket.recv(decode=False)
            trust(own, frozenset())
            assert b"aborted" in await socket.recv(decode=False)
            await socket.wait_closed()
            assert socket.close_code == 4452


async def test_a_box_says_good_bye_in_its_own_language(tmp_path: Path) -> None:
    async with running(tmp_path / "eebus", trusted=(ski(tmp_path / "box"),)) as charger:
        async with joined(tmp_path / "box", charger.link.ship.port, "") as box:
            await box.end("Größe 漢字" * 20)
            assert box.frames[-1].startswith(b'\3{"connectionClose":[{"phase":"confirm"}')
        await until(lambda: charger.states(ski(tmp_path / "box"))[-1] == "disconnected")
        assert not any(each.name == "task_failed" for each in charger.events)


async def _shaken(folder: Path, charger: Charger) -> None:
    async with joined(folder, charger.link.ship.port, ""):
        pass


async def test_the_charger_connects_to_a_trusted_box_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "PAUSES_S", ((0.0, 0.0),))
    key = node_key(tmp_path / "box", "box")
    own = node_key(tmp_path / "eebus", "charger")
    clock, events = Clock(), list[Observe]()
    device = SpineDevice("d:_n:box_1", "ElectricitySupplySystem", {(0,): "DeviceInformation"}, (), (), Moment(0.0, 0))
    box = EebusNode(
        key,
        ShipNode(ski=key.ski, id="d:_n:box_1"),
        device,
        _Silent(),
        clock=clock,
        observe=events.append,
        trusted=lambda: frozenset({own.ski}),
        targets=dict,
    )
    await box.open("127.0.0.1", 0)
    other = node_key(tmp_path / "other", "other").ski
    boxes = {key.ski: f"wss://127.0.0.1:{box.port}/ship/", other: "wss://127.0.0.1:1/"}
    async with running(tmp_path / "eebus", trusted=(key.ski, other), boxes=boxes) as charger:
        await until(lambda: bool(device.links) and device.links[0].device == charger.link.node.id)
        assert [each.feature_type for each in device.links[0].features].count("LoadControl") == 1
        await until(lambda: "unreachable" in charger.states(other))
        assert charger.states(key.ski)[:2] == ["connecting", "connected"]
    await until(lambda: not device.links)
    await box.close()


class _Silent:
    def processed(self) -> None:
        """Nothing to do."""

    def peers_changed(self) -> None:
        """Nothing to do."""


async def test_strangers_and_noise_are_shut_out(tmp_path: Path) -> None:
    ski(tmp_path / "box")
    async with running(tmp_path / "eebus") as charger:
        port = charger.link.ship.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, OSError)):
            async with connect(f"wss://127.0.0.1:{port}/", ssl=context):
                raise AssertionError("without a certificate")
        await until(lambda: len(charger.refused()) == 2)  # the first one said no TLS
        assert "peer did not return a certificate" in str(charger.refused()[1])
        context.load_cert_chain(tmp_path / "box" / CERTIFICATE, tmp_path / "box" / KEY)
        with pytest.raises(InvalidStatus):
            async with connect(f"wss://127.0.0.1:{port}/", ssl=context):
                raise AssertionError("without the subprotocol")
        async with connect(f"wss://127.0.0.1:{port}/", ssl=context, subprotocols=["ship"]) as socket:  # type: ignore[list-item]
            await socket.send("text")
            await socket.wait_closed()
            assert socket.close_code == 1003


async def test_a_stranger_who_calls_all_the_time_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "CALLS_BURST", 3.0)
    async with running(tmp_path / "eebus") as charger:
        handshakes: list[bytes] = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", charger.link.ship.port)
            writer.write(bytes.fromhex("16030100050100000100"))  # no ClientHello: an alert
            with contextlib.suppress(OSError):
                handshakes.append(await reader.read())
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        assert len([each for each in handshakes if each]) == 3, "the others get no answer"


async def test_nodes_find_each_other_by_mdns(tmp_path: Path) -> None:
    pytest.importorskip("zeroconf")
    changed = asyncio.Event()
    box = ShipDiscovery(ShipNode(ski="ab" * 20, id="box", categories=("1",)), "127.0.0.1", 4711, changed.set)
    await box.open()
    async with running(tmp_path / "eebus", mdns=True, serial="77") as charger:
        await until(lambda: charger.link.node.ski in box.found)
        found = box.found[charger.link.node.ski]
        assert (found.host, found.port) == ("127.0.0.1", charger.link.ship.port)
        assert (found.node.serial, found.node.categories, found.node.register) == ("77", ("3",), False)
    await until(lambda: not box.found)
    await box.close()


async def test_a_host_that_is_no_address_is_named() -> None:
    pytest.importorskip("zeroconf")
    discovery = ShipDiscovery(ShipNode(ski="ab" * 20, id="x"), "charger.local", 4712, lambda: None)
    with pytest.raises(TransportError, match="mDNS at"):
        await discovery.open()
    await discovery.close()


def test_an_id_has_63_bytes_at_most_and_the_whole_serial_number() -> None:
    """Two chargers of one model must not have the same; mDNS has no room for a longer id."""
    assert ship_id("An Example", "Box", "7") == "d:_n:An-Example_Box-7"
    assert ship_id("B" * 32, "M" * 32, "0123456789ab") == f"d:_n:{'B' * 32}_{'M' * 12}-0123456789ab"
    assert ship_id("ö" * 32, "M", "7") == f"d:_n:{'ö' * 28}-7"
    assert ship_id("B", "M", "ö" * 32) == f"d:_n:-{'ö' * 28}"


def test_each_part_of_a_record_has_32_bytes_at_most() -> None:
    said = ShipNode(ski="ab" * 20, id="x", brand="B" * 33, model="aö" * 11, serial="ö" * 17).txt()
    assert (said["brand"], said["model"], said["serial"]) == ("B" * 32, "aö" * 10 + "a", "ö" * 16)


def test_a_record_that_is_not_of_ship_is_no_node() -> None:
    good = {b"txtvers": b"1", b"id": b"x", b"path": b"/ship/", b"ski": b"AB" * 20, b"register": b"false"}
    assert node_of(good).ski == "ab" * 20
    for key, value in ((b"txtvers", b"2"), (b"ski", b"ab"), (b"path", b"ship"), (b"id", None), (b"brand", b"\xff")):
        with pytest.raises(Exception, match="TXT record"):
            node_of({**good, key: value})


def test_files_of_others_are_named(tmp_path: Path) -> None:
    key = node_key(tmp_path, "one")
    (tmp_path / TRUSTED).write_text('{"skis": ["nonsense", "' + "cd" * 20 + '"]}')
    assert trusted(tmp_path) == {"cd" * 20}
    (tmp_path / SEEN).write_text("[")
    with pytest.raises(StoreError, match="seen"):
        seen(tmp_path)
    other = node_key(tmp_path / "other", "two")
    assert other.ski != key.ski
    (tmp_path / CERTIFICATE).write_bytes((tmp_path / "other" / CERTIFICATE).read_bytes())
    with pytest.raises(ConfigError, match="differ"):
        node_key(tmp_path, "one")
