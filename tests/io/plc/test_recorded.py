"""Recording and replaying a port: what was recorded makes the same core say the same again; keys stay out of files."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.io.capture.pcapng import tshark
from tests.io.conftest import PtyPair
from v2g.io.capture import recorder as capture
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.plc.datalink import ChargerLink, VehicleLink
from v2g.io.plc.link import PlcConfig, PlcLink
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.plc.tap import BLANKED, without_keys
from v2g.io.simulation.medium import Room
from v2g.slac import mme, vendor
from v2g.slac.ev import EvSlacConfig
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.inspection import replay
from v2g.slac.mme import MmeFrame
from v2g.slac.shared import FAST, Matched, SendFrame
from v2g.slac.watch import SlacWatch

PEV, EVSE = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")


def _entropy() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda size: bytes((next(numbers) % 256,)) * size


async def _matched(tmp_path: Path, until: Callable, *, keys: bool, ports: list[PlcConfig] | None = None) -> Path:
    """Match over a port of the charger that is recorded; return the file."""
    path = tmp_path / "secc.pcapng"
    room = Room()
    mediums = [room.attach("secc"), room.attach("evcc")]
    configs = ports or [PlcConfig(mac=EVSE.hex(":")), PlcConfig(mac=PEV.hex(":"))]
    recorder = FrameRecorder(RecordConfig(file=path, network_keys=keys), application="v2g test")
    links: list[PlcLink] = [
        open_link(configs[0], role="evse", medium=mediums[0], recorder=recorder),
        open_link(configs[1], role="ev", medium=mediums[1]),
    ]
    pilots = SimulatedChargerPilot(mediums[0]), SimulatedVehiclePilot(mediums[1])
    charger = ChargerLink(links[0], pilots[0], EvseSlacConfig(timing=FAST), observe=lambda _: None, entropy=_entropy())
    pilots[1].plug()
    vehicle = VehicleLink(links[1], pilots[1], EvSlacConfig(timing=FAST), observe=lambda _: None)
    await vehicle.ready()
    await until(lambda: charger.matched)
    recorder.close()
    for each in (vehicle, charger, *links, *mediums):
        each.close()
    return path


async def test_a_recording_makes_the_core_say_the_same_again(tmp_path: Path, until: Callable) -> None:
    path = await _matched(tmp_path, until, keys=True)
    packets = list(capture.packets(path))
    received = [((each.time_ns - packets[0].time_ns) / 1e9, each.data) for each in packets if not each.outbound]
    core = EvseSlac(EvseSlacConfig(timing=FAST), mac=EVSE, entropy=_entropy())
    core.prepare(0.0)
    core.connect(0.0)
    done = [action for _, action in replay(core, received)]
    said = [action.frame for action in done if isinstance(action, SendFrame)]

    def matching(frames: list[bytes]) -> list[bytes]:
        kinds = (mme.CmSlacParmCnf, mme.CmAttenCharInd, mme.CmSlacMatchCnf)
        return [frame for frame in frames if isinstance(mme.decode(frame).message, kinds)]

    assert len(matching(said)) == 3
    assert matching(said) == matching([each.data for each in packets if each.outbound])
    (matched,) = [action for action in done if isinstance(action, Matched)]
    assert (matched.evse_mac, matched.pev_mac) == (EVSE, PEV)


async def test_keys_are_blanked_unless_asked_for(tmp_path: Path, until: Callable) -> None:
    path = await _matched(tmp_path, until, keys=False)
    packets = list(capture.packets(path))
    blanked = [mme.decode(each.data).message for each in packets if each.comment == BLANKED]
    assert {type(each) for each in blanked} == {mme.CmSetKeyReq, mme.CmSlacMatchCnf}
    assert all(each.nmk == bytes(16) for each in blanked)
    assert b"\x01" * 16 not in path.read_bytes(), "the first key that entropy gave"
    assert len(tshark(path, "-Y", "homeplug-av")) == len(packets)
    assert tshark(path, "-Y", "_ws.malformed") == []


async def test_every_kind_of_port_is_recorded(tmp_path: Path, until: Callable, veth: tuple[str, str]) -> None:
    serial = PtyPair()
    for name, ports in (
        ("serial", [PlcConfig(backend="serial", device=each, simulated_modem=True) for each in serial.devices]),
        ("raw", [PlcConfig(backend="raw", interface=each, simulated_modem=True) for each in veth]),
    ):
        (tmp_path / name).mkdir()
        path = await _matched(tmp_path / name, until, keys=False, ports=ports)
        watch = SlacWatch()
        for packet in capture.packets(path):
            watch.take(packet.data, packet.time_ns)
        assert watch.conversations[-1].stage == "matched"
        assert next(capture.packets(path)).interface.name == (ports[0].device or ports[0].interface)
    serial.close()


def test_what_cannot_be_read_and_may_hold_a_key_is_blanked_altogether() -> None:
    key = mme.encode(MmeFrame(mme.LOCAL_MODEM, EVSE, mme.CmSetKeyReq(nid=b"network", nmk=b"K" * 16)))
    cut = key[:50]
    assert b"K" not in without_keys(key)
    assert b"K" not in without_keys(cut)
    assert len(without_keys(cut)) == len(cut)
    assert without_keys(key)[:41] == key[:41]
    for frame in (b"", b"x" * 14, bytes(12) + b"\x86\xdd" + bytes(60)):
        assert without_keys(frame) == frame
    sound = mme.encode(MmeFrame(mme.BROADCAST, PEV, mme.CmMnbcSoundInd(cnt=0, run_id=bytes(8), rnd=b"K" * 16)))
    assert without_keys(sound) == sound
    version = mme.encode(MmeFrame(mme.LOCAL_MODEM, EVSE, vendor.VsSwVerReq()))
    assert without_keys(version) == version
