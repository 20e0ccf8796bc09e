"""One suite for all powerline backends: loopback in one process and in a folder, raw Ethernet (needs root), serial."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.io.conftest import PtyPair
from v2g.errors import ConfigError, TransportError
from v2g.io.plc.link import ImpairmentConfig, PlcConfig, PlcLink, parse_mac
from v2g.io.plc.opening import open_link
from v2g.io.plc.raw import RawLink
from v2g.io.simulation.medium import Medium, MediumChannel, Neighbourhood, Pair, Room
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.observe import Observe
from v2g.slac import mme, vendor
from v2g.slac.mme import MmeFrame

Ports = tuple[PlcLink, PlcLink]
BACKENDS = ("room", "folder", "raw", "serial")


def _backend(request: pytest.FixtureRequest) -> tuple[str, bool, ImpairmentConfig | None]:
    """Return what a test asks for: backend, simulated modem, what the vehicle's port does to frames."""
    name, simulated, *impairment = request.param
    return name, simulated, impairment[0] if impairment else None


@pytest_asyncio.fixture
async def ports(request: pytest.FixtureRequest, tmp_path: Path, until) -> AsyncIterator[Ports]:
    """Return the charger's and the vehicle's port of the backend that the test names."""
    name, simulated, impairment = _backend(request)
    here: list[dict[str, str]] = [{"mac": "02:00:00:00:00:01"}, {}]
    mediums: list[Medium] = []
    closing: list[Callable[[], None]] = []
    if name == "room":
        room = Room()
        mediums = [room.attach("secc"), room.attach("evcc")]
    elif name == "folder":
        mediums = [await FolderMedium.attach(tmp_path / "copper", who) for who in ("secc", "evcc")]
        await until(lambda: mediums[0].peers and mediums[1].peers)
    elif name == "raw":
        here = [{"backend": "raw", "interface": each} for each in request.getfixturevalue("veth")]
    else:
        serial = PtyPair()
        closing.append(serial.close)
        here = [{"backend": "serial", "device": each} for each in serial.devices]
    configs = [PlcConfig(simulated_modem=simulated, **each) for each in here]  # type: ignore[arg-type]
    if impairment is not None:
        configs[1] = PlcConfig(simulated_modem=simulated, impairment=impairment, **here[1])  # type: ignore[arg-type]
    pair = (
        open_link(configs[0], role="evse", medium=mediums[0] if mediums else None),
        open_link(configs[1], role="ev", medium=mediums[1] if mediums else None),
    )
    yield pair
    for link in pair:
        link.close()
        link.close()
    for close in (*closing, *(medium.close for medium in mediums)):
        close()


def on(*backends: tuple[object, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ports", backends, indirect=True, ids=[str(each[0]) for each in backends])


# On the medium there is always a simulated modem; it passes on what is for its host.
plain = on(("room", True), ("folder", True), ("raw", False), ("serial", False))
with_modem = on(*((name, True) for name in BACKENDS))


def _heard(link: PlcLink) -> list[bytes]:
    """Return a list that fills with the HomePlug frames that `link` receives."""
    frames: list[bytes] = []
    link.on_frame(lambda frame: frames.append(frame) if frame[12:14] == b"\x88\xe1" else None)
    return frames


def _frame(destination: bytes, source: bytes, run: int = 0) -> bytes:
    return mme.encode(MmeFrame(destination, source, mme.CmSlacParmReq(run_id=run.to_bytes(8, "big"))))


@plain
async def test_frames_cross_in_order_unchanged_and_are_not_echoed(ports: Ports, until: Callable) -> None:
    charger, vehicle = ports
    at_charger, at_vehicle = _heard(charger), _heard(vehicle)
    sent = [_frame(mme.BROADCAST, vehicle.mac, number) for number in range(30)]
    for frame in sent:
        vehicle.send(frame)
    await until(lambda: len(at_charger) == 30)
    assert at_charger == sent
    longest = (charger.mac + vehicle.mac + b"\x88\xe1").ljust(1514, b"\x5a")
    vehicle.send(longest)
    charger.send(_frame(vehicle.mac, charger.mac, 99))
    await until(lambda: len(at_charger) == 31 and at_vehicle)
    assert at_charger[-1] == longest
    assert at_vehicle == [_frame(vehicle.mac, charger.mac, 99)]
    assert charger.mac != vehicle.mac
    assert len(charger.mac) == 6


@with_modem
async def test_a_simulated_modem_takes_keys_measures_and_forms_a_link(ports: Ports, until: Callable) -> None:
    charger, vehicle = ports
    at_charger, at_vehicle = _heard(charger), _heard(vehicle)

    def kinds(frames: list[bytes]) -> list[type[mme.Mme]]:
        return [type(mme.decode(frame).message) for frame in frames]

    for link in (charger, vehicle):
        key = mme.CmSetKeyReq(nid=b"network", nmk=bytes(16))
        link.send(mme.encode(MmeFrame(mme.LOCAL_MODEM, link.mac, key)))
    assert kinds(at_charger) == kinds(at_vehicle) == [mme.CmSetKeyCnf]

    def up(link: PlcLink, frames: list[bytes]) -> bool:
        link.send(mme.encode(MmeFrame(mme.LOCAL_MODEM, link.mac, vendor.VsPlLinkStatusReq())))
        return mme.decode(frames[-1]).message == vendor.VsPlLinkStatusCnf(link_status=1)

    await until(lambda: up(charger, at_charger) and up(vehicle, at_vehicle))
    at_charger.clear()
    sound = mme.CmMnbcSoundInd(cnt=0, run_id=bytes(8), rnd=bytes(16))
    vehicle.send(mme.encode(MmeFrame(mme.BROADCAST, vehicle.mac, sound)))
    await until(lambda: len(at_charger) == 2)
    assert kinds(at_charger) == [mme.CmMnbcSoundInd, mme.CmAttenProfileInd]


async def test_a_port_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="medium"):
        open_link(PlcConfig(), role="ev")
    with pytest.raises(ValueError, match="interface"):
        PlcConfig(backend="raw")
    with pytest.raises(ValueError, match="device"):
        PlcConfig(backend="serial")
    with pytest.raises(TransportError, match="not-there"):
        open_link(PlcConfig(backend="serial", device=str(tmp_path / "not-there")), role="ev")
    with pytest.raises(TransportError):  # missing for root, not permitted for others
        open_link(PlcConfig(backend="raw", interface="not-there"), role="ev")
    for text in ("", "02:00", "zz:00:00:00:00:01", "01:00:00:00:00:01"):
        with pytest.raises(ConfigError, match="not a unicast address"):
            parse_mac(text)


async def test_two_processes_hear_each_other(charger_medium: Medium, until: Callable) -> None:
    link = open_link(PlcConfig(mac="02:00:00:00:00:01"), role="evse", medium=charger_medium)
    frames = _heard(link)
    child = f"""
import asyncio
from pathlib import Path
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link

async def main():
    medium = await FolderMedium.attach(Path({str(charger_medium.directory)!r}), "evcc")
    link = open_link(PlcConfig(), role="ev", medium=medium)
    link.on_frame(lambda frame: link.send(frame[6:12] + frame[:6] + frame[12:]))
    await asyncio.Event().wait()

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", child])
    try:
        await until(lambda: charger_medium.peers)
        frame = _frame(mme.BROADCAST, link.mac, 7)
        await until(lambda: link.send(frame) or frames)
        assert frames[0] == link.mac + mme.BROADCAST + frame[12:]
    finally:
        process.kill()
        process.wait()


STORM = ImpairmentConfig(seed=7, loss=0.2, duplicate=0.2, reorder=0.2, bit_error=0.2)


@on(("room", True, STORM), ("folder", True, STORM), ("raw", False, STORM), ("serial", False, STORM))
async def test_the_same_seed_is_the_same_weather_on_every_backend(ports: Ports, until: Callable) -> None:
    charger, vehicle = ports
    sent = [bytes(mme.BROADCAST + b"\x02" * 6 + b"\x88\xe1") + bytes((number,)) * 60 for number in range(40)]
    at_charger: list[bytes] = []
    charger.on_frame(at_charger.append)
    calm = [frame for frame in sent if _number(frame) is not None]
    for frame in sent:
        vehicle.send(frame)

    def counted() -> list[int]:
        # A frame whose address was damaged comes in on some ports and not on others: it counts on none.
        return [number for frame in at_charger if (number := _number(frame)) is not None]

    await until(lambda: len(counted()) >= _arriving(sent))
    arrived = counted()
    assert set(arrived) < set(range(40)), "some are lost"
    assert len(arrived) > len(set(arrived)), "some come twice"
    assert arrived != sorted(arrived), "some are late"
    assert any(_number(frame) is not None and frame not in calm for frame in at_charger), "some are damaged"
    ARRIVED.setdefault("numbers", sorted(arrived))
    assert sorted(arrived) == ARRIVED["numbers"], "as on the other backends"


ARRIVED: dict[str, list[int]] = {}


def _arriving(sent: list[bytes]) -> int:
    """Return how many of these frames come through the storm with an address and EtherType that let them in."""
    from v2g.io.plc.link import Impairment

    impairment = Impairment(STORM, "sent")
    arriving = [frame for each in sent for _, frame in impairment.arrivals(each)]
    return sum(_number(frame) is not None for frame in arriving)


def _number(frame: bytes) -> int | None:
    """Return the number of a frame of the storm test, by a majority of its octets; None for what a port drops."""
    if frame[:6] != mme.BROADCAST or frame[12:14] != b"\x88\xe1":
        return None
    return max(frame[14:], key=frame[14:].count)


async def _vanishes_and_returns(
    link: PlcLink, events: list[Observe], *, leave: Callable, return_: Callable, until: Callable
) -> None:
    states: list[bool] = []
    link.on_port(states.append)
    leave()
    await until(lambda: link.send(_frame(mme.BROADCAST, link.mac)) or states == [False])
    link.send(_frame(mme.BROADCAST, link.mac))
    assert [event.name for event in events] == ["port_lost"]
    return_()
    await until(lambda: states == [False, True])
    assert [event.name for event in events] == ["port_lost", "port_back"]
    assert events[1].data["gone_s"] > 0


async def test_a_serial_port_that_is_pulled_out_is_opened_again(tmp_path: Path, until: Callable) -> None:
    """As a USB adapter: the name stays, the device behind it is another one."""
    device = tmp_path / "ttyModem"
    cable = PtyPair()
    device.symlink_to(cable.devices[0])
    events: list[Observe] = []
    config = PlcConfig(backend="serial", device=str(device))
    link = open_link(config, role="ev", observe=events.append)
    mac, frames = link.mac, _heard(link)
    cables = [cable]

    def return_() -> None:
        cables.append(PtyPair())
        device.unlink()
        device.symlink_to(cables[1].devices[0])

    await _vanishes_and_returns(link, events, leave=cable.close, return_=return_, until=until)
    assert link.mac == mac
    other = open_link(PlcConfig(backend="serial", device=cables[1].devices[1]), role="evse")
    other.send(_frame(mme.BROADCAST, other.mac))
    await until(lambda: frames == [_frame(mme.BROADCAST, other.mac)])
    for each in (link, other, cables[1]):
        each.close()


@pytest.mark.parametrize("how", ["deleted", "down"])
async def test_an_interface_that_vanishes_is_opened_again(veth: tuple[str, str], until: Callable, how: str) -> None:
    one, two = veth
    events: list[Observe] = []
    link = open_link(PlcConfig(backend="raw", interface=one), role="ev", observe=events.append)
    frames = _heard(link)

    def leave() -> None:
        _ip(*(("link", "del", one) if how == "deleted" else ("link", "set", one, "down")))

    def return_() -> None:
        if how == "deleted":
            _ip("link", "add", one, "type", "veth", "peer", "name", two)
            _ip("link", "set", two, "up")
        _ip("link", "set", one, "up")

    await _vanishes_and_returns(link, events, leave=leave, return_=return_, until=until)
    other = open_link(PlcConfig(backend="raw", interface=two), role="evse")
    await until(lambda: other.send(_frame(mme.BROADCAST, other.mac)) or frames)
    assert set(frames) == {_frame(mme.BROADCAST, other.mac)}
    other.close()
    link.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


async def test_a_port_that_is_gone_is_reported_by_the_backend_when_sending(veth: tuple[str, str]) -> None:
    link = RawLink(veth[0])
    _ip("link", "set", veth[0], "down")
    with pytest.raises(TransportError, match="down"):
        link.send(_frame(mme.BROADCAST, link.mac))
    link.close()
    with pytest.raises(TransportError, match="down"):
        RawLink(veth[0])


async def test_who_taps_a_port_receives_both_sides_of_it(veth: tuple[str, str], until: Callable) -> None:
    ear, near, far = RawLink(veth[0], overhear=True), RawLink(veth[0]), RawLink(veth[1])
    overheard, received = _heard(ear), _heard(near)
    near.send(_frame(mme.BROADCAST, near.mac, 1))
    far.send(_frame(near.mac, far.mac, 2))
    await until(lambda: len(overheard) == 2 and received)
    assert sorted(overheard) == sorted([_frame(mme.BROADCAST, near.mac, 1), _frame(near.mac, far.mac, 2)])
    assert received == [_frame(near.mac, far.mac, 2)]
    for link in (ear, near, far):
        link.close()


CAP_NET_RAW = 1 << 13


@pytest.mark.parametrize("capabilities", ["-all,+net_raw", "-all"])
def test_raw_frames_need_cap_net_raw_and_nothing_else(veth: tuple[str, str], capabilities: str) -> None:
    """The child says which capabilities it has; with that one alone it sends, without it the error names what is
    missing."""
    child = f"""
import asyncio
from v2g.errors import TransportError
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link

async def main():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["CapEff"], 16))
    try:
        link = open_link(PlcConfig(backend="raw", interface={veth[0]!r}), role="ev")
    except TransportError as error:
        print(error, error.hint)
        return
    link.send(bytes.fromhex("ffffffffffff") + link.mac + bytes.fromhex("88e1") + bytes(46))
    print("sent")

asyncio.run(main())
"""
    sets = [f"--{each}={capabilities}" for each in ("inh-caps", "bounding-set")]
    done = subprocess.run(
        ["setpriv", "--no-new-privs", *sets, sys.executable, "-c", child], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    held, said = done.stdout.splitlines()
    if capabilities == "-all":
        assert held == "0"
        assert "not permitted" in said
        assert "CAP_NET_RAW" in said
    else:
        assert (int(held), said) == (CAP_NET_RAW, "sent")


async def test_stations_of_a_medium_hear_each_other_as_well_as_it_says(until: Callable) -> None:
    """Two chargers and two vehicles: each charger's modem measures the far vehicle weaker, the deaf pair not at all."""
    pairs = (Pair(("one", "far"), 30), Pair(("two", "near"), 35), Pair(("two", "far"), 100))
    room = Room(Neighbourhood(pair=pairs))
    names = ("one", "two", "near", "far")
    mediums = {name: room.attach(name) for name in names}
    links = {
        name: open_link(PlcConfig(), role="evse" if name in ("one", "two") else "ev", medium=mediums[name])
        for name in names
    }
    incoming = {name: _heard(links[name]) for name in ("one", "two")}
    for name in ("near", "far"):
        sound = mme.CmMnbcSoundInd(cnt=0, run_id=bytes(8), rnd=bytes(16))
        links[name].send(mme.encode(MmeFrame(mme.BROADCAST, links[name].mac, sound)))
    await until(lambda: len(incoming["one"]) == 4 and len(incoming["two"]) == 2)

    def profiles(name: str) -> dict[bytes, int]:
        messages = [mme.decode(frame).message for frame in incoming[name]]
        return {m.pev_mac: m.aag[0] for m in messages if isinstance(m, mme.CmAttenProfileInd)}

    near, far, base = links["near"].mac, links["far"].mac, PlcConfig().attenuation.low_db
    assert profiles("one") == {near: base, far: base + 30}
    assert profiles("two") == {near: base + 35}
    for each in (*links.values(), *mediums.values()):
        each.close()


async def test_a_folder_says_how_well_its_stations_hear_each_other(tmp_path: Path) -> None:
    (tmp_path / "stations.toml").write_text(
        'other_db = 12\ninaudible_db = 90\n[[pair]]\nstations = ["evse", "ev2"]\ndb = 90\n'
    )
    medium = await FolderMedium.attach(tmp_path, "evse")
    assert (medium.attenuation_db("ev1"), medium.attenuation_db("ev2")) == (12, None)
    medium.close()
    (tmp_path / "stations.toml").write_text("others_db = 12\n")
    with pytest.raises(ConfigError, match="others_db"):
        await FolderMedium.attach(tmp_path, "evse")


async def test_a_line_may_be_cut_while_it_is_in_use(tmp_path: Path) -> None:
    medium = await FolderMedium.attach(tmp_path, "evse")
    file = tmp_path / "stations.toml"
    assert medium.attenuation_db("ev") == 0
    file.write_text("other_db = 127\n")
    assert medium.attenuation_db("ev") is None
    file.write_text("other_db = half a word")
    os.utime(file, ns=(1, 1))
    assert medium.attenuation_db("ev") is None, "what cannot be read changes nothing"
    file.write_text("other_db = 3\n")
    assert medium.attenuation_db("ev") == 3
    medium.close()


async def test_a_room_has_each_name_once_and_reports_who_comes_and_goes(until: Callable) -> None:
    room = Room()
    first = room.attach("one")
    seen: list[tuple[str, bool]] = []
    first.on_peer(lambda *change: seen.append(change))
    second = room.attach("two")
    with pytest.raises(TransportError, match="another station"):
        room.attach("two")
    assert (first.peers, second.peers) == ({"two"}, {"one"})
    second.close()
    second.close()
    await until(lambda: seen == [("two", True), ("two", False)])
    with pytest.raises(TransportError, match="left the room"):
        second.send(MediumChannel.PLC, b"x")
    with pytest.raises(TransportError, match="do not fit"):
        first.send(MediumChannel.PLC, bytes(17000))
    first.close()


async def test_noise_on_the_medium_is_for_the_modem_to_drop(
    charger_medium: Medium, vehicle_medium: Medium, until
) -> None:
    await until(lambda: vehicle_medium.peers and charger_medium.peers)
    link = open_link(PlcConfig(), role="evse", medium=charger_medium)
    frames: list[bytes] = []
    link.on_frame(frames.append)
    for payload in (b"", b"x", b"\x02" + os.urandom(199), _frame(mme.BROADCAST, b"\x02" * 6)):
        vehicle_medium.send(MediumChannel.PLC, payload)
    await until(lambda: frames)
    assert frames == [_frame(mme.BROADCAST, b"\x02" * 6)]
    link.close()
    vehicle_medium.send(MediumChannel.PLC, _frame(mme.BROADCAST, b"\x02" * 6))
    await asyncio.sleep(0)
