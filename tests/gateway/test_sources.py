"""Sources of a gateway: receivers of satellites, with Debian's gpsd (R211), and data of other makes (R212)."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from benchmarks.gateway import plain_broker
from tests.gateway.control_unit import VIN, ControlUnit, Vehicle
from tests.gateway.gateway import EV, NOBODY, data_of, gateway, intake, until_event
from tests.packages import need
from tests.telemetry.j1939 import packets
from tests.telemetry.receiver import Place, apart_m, drive, epoch, off_track_m, track
from tests.waiting import until
from v2g.errors import ConfigError
from v2g.io.can import CanConfig, CanPort
from v2g.io.mqtt.config import MqttConfig
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.storage.outbox import Outbox
from v2g.observe import Observe
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.obd import UnitValue
from v2g.telemetry.signals import LATITUDE, LONGITUDE, Record, decode_record
from v2g_gateway.config import load_config
from v2g_gateway.sources import SOURCES, FleetKafka, ObdConfig, SourceConfig

pytestmark = pytest.mark.requirement("R78", "R211")

EXACT: Final[dict[str, Any]] = {
    "signals": {"BMS_Pack.StateOfCharge": "battery.soc"},  # no context, for which the first records would wait
    "consent": ("location",),
    "position_noise_m": 0.0,
    "dead_bands": {LATITUDE: 0.0, LONGITUDE: 0.0},
}


@contextlib.asynccontextmanager
async def receiver(*epochs: bytes) -> AsyncIterator[SourceConfig]:
    """A receiver over TCP that sends a drive as fast as it is read, and then nothing."""

    connected = list[asyncio.StreamWriter]()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        for each in epochs:
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield SourceConfig("nmea", port=server.sockets[0].getsockname()[1])
    server.close()
    for each in connected:
        each.close()
    await asyncio.sleep(0)


async def kept(folder: Path) -> list[Record]:
    box = await Outbox.open(folder / "outbox.db", EV, 1)
    found = [decode_record(row.body) for row in await box.pending(limit=10_000)]
    await box.close()
    return found


def positions(records: Sequence[Record]) -> list[Place]:
    """Return the position in each record that has one; a coordinate that did not change is that of the one before."""
    known: dict[str, Any] = {}
    found = []
    for each in records:
        if LATITUDE in each.signals or LONGITUDE in each.signals:
            known |= each.signals
            found.append((known[LATITUDE], known[LONGITUDE]))
    return found


async def ran(
    folder: Path, places: Sequence[Place | None], awaited: str, **more: Any
) -> tuple[list[Record], list[Observe]]:
    """Return what a gateway keeps of a drive, once it has reported `awaited`."""
    async with (
        receiver(*track(places)) as source,
        gateway(folder, NOBODY, drain=0.0, sources=(source,), **more) as (_, _, events),
    ):
        await until_event(events, awaited)
        await asyncio.sleep(0)
    return await kept(folder), events


DRIVE: Final = (*drive(30), *[None] * 20, *drive(1), (60.0, 11.0), *drive(10), None)


async def test_positions_with_quality_and_dilution_reach_the_records_and_a_jump_is_named(tmp_path: Path) -> None:
    records, events = await ran(tmp_path, DRIVE, "position_jumped", **EXACT)
    assert data_of(events, "source_connected")[0]["source"].startswith("nmea 127.0.0.1:")
    known = {name: value for each in records for name, value in each.signals.items()}
    assert (known["location.quality"], known["location.hdop"]) == (1, 0.9)
    assert all(off_track_m(each, drive(30)) < 2 for each in positions(records))
    assert [each.event.name for each in records if each.event] == ["telemetry.position_jumped"]


@pytest.mark.requirement("R143", "R144")
async def test_without_consent_nothing_of_a_position_leaves_and_with_it_a_cell(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "blur").mkdir()
    records, _ = await ran(tmp_path / "none", DRIVE, "position_jumped", consent=("battery", "driving"))
    assert not any(each.event or each.signals.keys() & {LATITUDE, "location.quality"} for each in records)
    records, _ = await ran(tmp_path / "blur", DRIVE, "position_jumped", **EXACT | {"position_noise_m": 200.0})
    shown = set(positions(records))
    assert 1 <= len(shown) <= 6  # 450 m of way are in few cells of 300 m
    assert not any(off_track_m(each, drive(30)) < 0.1 for each in shown)


async def test_a_silent_receiver_is_a_lost_position_and_no_later_record_has_it(tmp_path: Path) -> None:
    async with receiver(*track(drive(10))) as source:
        lost = SourceConfig("nmea", port=source.port, lost_s=1.0)
        async with gateway(tmp_path, NOBODY, drain=0.0, sources=(lost,), keyframe_s=0.2, **EXACT) as (_, _, events):
            assert (await until_event(events, "position_lost"))["after_s"] >= 1
            await asyncio.sleep(0.5)
    last = (await kept(tmp_path))[-1]
    assert last.keyframe
    assert last.signals == {"location.quality": 0}


async def test_a_serial_receiver_that_is_pulled_out_is_found_again(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    link = tmp_path / "gnss"
    link.symlink_to(os.ttyname(slave))
    source = SourceConfig("nmea", device=str(link))
    async with gateway(tmp_path, NOBODY, drain=0.0, sources=(source,), **EXACT) as (_, _, events):
        await until_event(events, "source_connected")
        os.write(master, b"\xff\xfe" + b"".join(track(drive(5))))
        os.close(slave)
        await asyncio.sleep(0.1)
        os.close(master)
        assert (await until_event(events, "source_lost"))["source"] == f"nmea {link}"
        master, slave = os.openpty()
        tty.setraw(slave)
        link.unlink()
        link.symlink_to(os.ttyname(slave))
        while len(data_of(events, "source_connected")) < 2:
            await asyncio.sleep(0.05)
        os.write(master, epoch(50_000, drive(5)[4], quality=2))
        await asyncio.sleep(0.2)
    os.close(master)
    os.close(slave)
    records = await kept(tmp_path)
    assert [each.signals["location.quality"] for each in records if "location.quality" in each.signals] == [1, 2]


# -- OVMS --------------------------------------------------------------------------------------------------------------

MODULE = "ovms/user/EV-1"


@contextlib.contextmanager
def ovms_broker(folder: Path) -> Iterator[tuple[SourceConfig, Callable[..., None]]]:
    """Run a mosquitto, and return how its clients publish metrics as OVMS does: by MQTT 3.1.1."""
    need("mosquitto", program="mosquitto")
    need("mosquitto-clients", program="mosquitto_pub")
    with plain_broker(folder) as port:

        def publish(metric: str, *values: str) -> None:
            topic = f"{MODULE}/metric/{metric.replace('.', '/')}"
            command = ["mosquitto_pub", "-V", "mqttv311", "-p", str(port), "-q", "1", "-t", topic, "-l"]
            subprocess.run(command, input="".join(f"{each}\n" for each in values).encode(), check=True, timeout=60)

        mqtt = MqttConfig(host="127.0.0.1", port=port, without_tls=True)
        yield SourceConfig("ovms", mqtt=mqtt, topic=MODULE), publish


@pytest.mark.requirement("R212")
@pytest.mark.long
async def test_10000_metrics_of_ovms_are_taken_in_order_and_none_is_lost(tmp_path: Path) -> None:
    taken, events = list[Any](), list[Observe]()
    with ovms_broker(tmp_path) as (config, publish):
        following = asyncio.create_task(SOURCES["ovms"](config, intake(taken.append), events.append).run())
        await until_event(events, "source_connected")
        while not taken:  # it has subscribed
            await asyncio.to_thread(publish, "v.m.rpm", "1")
        sent = [f"{each / 100:.2f}" for each in range(10_000)]
        await asyncio.to_thread(publish, "v.b.soc", *sent)
        async with asyncio.timeout(60):
            while len(found := [each.values for each in taken if "battery.soc" in each.values]) < len(sent):
                await asyncio.sleep(0.2)
        await cancel_tasks(following)
    assert found == [{"battery.soc": float(each)} for each in sent]


@pytest.mark.requirement("R212")
async def test_metrics_of_ovms_become_records_with_our_units_signs_and_context(tmp_path: Path) -> None:
    with ovms_broker(tmp_path) as (config, publish):
        more = {"consent": ("battery", "charging", "driving"), "sources": (config,)}
        async with gateway(tmp_path, NOBODY, drain=0.0, **EXACT | more) as (_, _, events):
            await until_event(events, "source_connected")
            await asyncio.sleep(1.0)  # its subscription
            for metric, value in (
                ("v.c.charging", "yes"), ("v.b.current", "-120.5"), ("v.b.power", "-48.2"), ("v.p.odometer", "12345.6"),
                ("v.p.latitude", "48.1"), ("m.version", "3.3"), ("v.b.soh", "x"),
            ):  # fmt: skip
                await asyncio.to_thread(publish, metric, value)
            await asyncio.sleep(0.3)
    records = await kept(tmp_path)
    known = {name: value for each in records for name, value in each.signals.items()}
    assert known == {"battery.current": 120.5, "battery.power": 48_200, "vehicle.odometer": 12_345.6}
    assert records[-1].context == "charging"


@pytest.mark.requirement("R212")
async def test_gateways_of_two_vehicles_at_one_broker_do_not_displace_each_other(tmp_path: Path) -> None:
    events, others = list[Observe](), list[Observe]()
    with ovms_broker(tmp_path) as (config, _):
        both = [
            asyncio.create_task(SOURCES["ovms"](each, intake(lambda _: None), seen.append).run())
            for each, seen in ((config, events), (msgspec.structs.replace(config, topic="ovms/user/EV-2"), others))
        ]
        await until_event(events, "source_connected")
        await until_event(others, "source_connected")
        await asyncio.sleep(2.5)  # whoever is displaced comes back after a second
        await cancel_tasks(*both)
    for seen in (events, others):
        names = [each.name for each in seen]
        assert names[names.index("source_connected") :] == ["source_connected"]


def test_each_kind_of_the_configuration_is_a_source() -> None:
    (kinds,) = (each.type.type for each in msgspec.inspect.type_info(SourceConfig).fields if each.name == "kind")  # type: ignore[attr-defined]
    assert set(kinds.values) == set(SOURCES)


NO_BROKER = MqttConfig(host="127.0.0.1", port=1, without_tls=True)
NO_BUS = CanConfig(interface="socketcan", channel="none0")
ABSENT: Final = {
    "gpsd": SourceConfig("gpsd", port=1),
    "nmea": SourceConfig("nmea", port=1),
    "ovms": SourceConfig("ovms", mqtt=NO_BROKER),
    "tesla": SourceConfig("tesla", mqtt=NO_BROKER, vin=VIN),
    "tesla by kafka": SourceConfig("tesla", kafka=FleetKafka("127.0.0.1:1"), vin=VIN),
    "tesla by a topic of no name": SourceConfig("tesla", kafka=FleetKafka("127.0.0.1:1", "^["), vin=VIN),
    "obd": SourceConfig("obd", can=NO_BUS),
    "j1939": SourceConfig("j1939", can=NO_BUS),
}


@pytest.mark.requirement("R212")
@pytest.mark.parametrize("name", ABSENT)
async def test_a_source_that_is_absent_fails_nothing_and_ends_when_asked(name: str) -> None:
    """What holds for every source."""
    config, taken, events = ABSENT[name], list[object](), list[Observe]()
    following = asyncio.create_task(SOURCES[config.kind](config, intake(taken.append), events.append).run())
    assert set(SOURCES) <= {name.partition(" ")[0] for name in ABSENT}
    async with asyncio.timeout(60):
        lost = await until_event(events, "source_lost")
    assert lost["source"].startswith(config.kind)
    assert lost["reason"]
    assert not following.done()
    await cancel_tasks(following)
    assert taken == []
    assert {each.name for each in events} == {"source_lost"}


# -- A control unit ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def read_unit(
    answers: Callable[[bytes], bytes | None], channel: Path, request_id: int = 0x7E0, **more: Any
) -> AsyncIterator[tuple[ControlUnit, list[Mapped], list[Observe]]]:
    """Read a unit that answers so."""
    can, taken, events = CanConfig(channel=str(channel)), list[Any](), list[Observe]()
    values = UnitValue(0x0101, "battery.cycles", octets=4), UnitValue(0x0101, "ambient.temperature", 4, offset=-40.0)
    obd = ObdConfig(request_id, interval_s=0.01, values=values)
    source = SOURCES["obd"](SourceConfig("obd", can=can, obd=obd, **more), intake(taken.append), events.append)
    async with ControlUnit(can, answers, request_id, obd.answers) as unit, asyncio.timeout(60):
        following = asyncio.create_task(source.run())
        try:
            yield unit, taken, events
        finally:
            await cancel_tasks(following)


@pytest.mark.requirement("R212")
@pytest.mark.parametrize("request_id", [0x7E0, 0x7E4, 0x18DA10F1])
async def test_a_unit_is_read_at_its_identifiers_and_an_answer_that_follows_later_is_awaited(
    request_id: int, tmp_path: Path
) -> None:
    vehicle, unit = Vehicle(), list[ControlUnit]()

    def answers(request: bytes) -> bytes | None:
        if request == b"\x01\x0d":
            unit[0].send(bytes.fromhex("037f0178cccccccc"))
        return vehicle(request)

    async with read_unit(answers, tmp_path, request_id, vin=VIN) as (found, taken, _):
        unit.append(found)
        await until(lambda: Mapped({"battery.cycles": 2.0}) in taken)
    assert Mapped({"vehicle.speed": 90.0}, "highway") in taken
    assert Mapped({"ambient.temperature": -40.0}) in taken, "two values of one identifier"
    assert found.others == []
    assert found.flow == [bytes.fromhex("300000cccccccccc")] * len(found.flow)


@pytest.mark.requirement("R212")
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (Vehicle("5YJ3E1EA7HF000337"), "another vehicle"),
        (lambda request: bytes([0x7F, request[0], 0x11]), "does not tell the VIN"),
        (lambda _: None, "no answer from unit 0x7e0"),
    ],
    ids=["another", "none", "silent"],
)
async def test_without_the_vehicles_vin_nothing_is_taken(
    answers: Callable[[bytes], bytes | None], reason: str, tmp_path: Path
) -> None:
    async with read_unit(answers, tmp_path, vin=VIN) as (_, taken, events):
        assert reason in (await until_event(events, "source_lost"))["reason"]
    assert [each for each in taken if each.values] == []


@pytest.mark.requirement("R212")
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_a_unit_answers_only_reading_requests_and_flow_control_are_sent(
    seed: int, tmp_path: Path
) -> None:
    world, vehicle = random.Random(seed), Vehicle()

    def answers(request: bytes) -> bytes | None:
        for _ in range(world.randrange(4)):
            unit.send(world.randbytes(world.randrange(1, 9)))
        return world.choice((vehicle(request), vehicle(request), bytes([0x7F, request[0], world.choice((0x12, 0x31))])))

    async with read_unit(answers, tmp_path) as (unit, _, _):
        await until(lambda: len(unit.requests) >= 30)
    assert {each[0] for each in unit.requests} <= {0x01, 0x22}
    assert {(each[0] >> 4, len(each)) for each in unit.flow} <= {(3, 8)}
    assert unit.others == []


@pytest.mark.requirement("R212")
async def test_a_truck_with_another_vin_gives_no_values(tmp_path: Path) -> None:
    can, taken, events = CanConfig(channel=str(tmp_path)), list[Any](), list[Observe]()
    config = SourceConfig("j1939", can=can, vin=VIN)
    following = asyncio.create_task(SOURCES["j1939"](config, intake(taken.append), events.append).run())
    await until_event(events, "source_connected")
    port = CanPort(can)
    for vin in (VIN, "5YJ3E1EA7HF000337"):
        for frame in (*packets(0xFEEC, f"{vin}*".encode()), (0x18FEF100, bytes.fromhex("f30050ffffffffff"))):
            port.send(*frame)
    assert "another vehicle" in (await until_event(events, "source_lost"))["reason"]
    await cancel_tasks(following)
    await port.close()
    assert taken == [Mapped({"vehicle.speed": 80.0}, "city")]


def test_a_configuration_that_cannot_work_is_refused() -> None:
    text = 'ev = "EV-1"\noutbox = "o.db"\n[mqtt]\nhost = "h"\nwithout_tls = true\n[[sources]]\n'
    with pytest.raises(ConfigError, match="gpsd has its own"):
        load_config(f'{text}kind = "gpsd"\ndevice = "/dev/ttyUSB0"\n', name="g.toml")
    with pytest.raises(ConfigError, match="needs a section mqtt"):
        load_config(f'{text}kind = "ovms"\n', name="g.toml")
    with pytest.raises(ConfigError, match="times of its own"):
        load_config(f'{text}kind = "gpsd"\n[can]\nreplay = "x.log"\n', name="g.toml")
    for wrong, error in (
        ('kind = "obd"', "needs a section can"),
        ('kind = "gpsd"\n[sources.can]', "has no section can"),
        ('kind = "tesla"\n[sources.kafka]\nbrokers = "b:9092"', "needs the vin"),
        ('kind = "obd"\n[sources.can]\n[sources.obd]\nrequest_id = 0x100', "at least 1792"),
        ('kind = "obd"\n[sources.can]\n[sources.obd]\nrequest_id = 0x7DF', "not of one unit"),
        ('kind = "gpsd"\n[[sources]]\nkind = "gpsd"', "same kind"),
    ):
        with pytest.raises(ConfigError, match=error):
            load_config(text + wrong, name="g.toml")


def test_requests_have_only_identifiers_of_diagnosis() -> None:
    """Every identifier of 11 bits, and samples of 29."""
    allowed = set()
    for request_id in (
        *range(0x800),
        *(0x18DA00F1 | unit << 8 for unit in range(256)),
        0x18DB33F1,
        0x18DA10F2,
        0x18FEF100,
    ):
        with contextlib.suppress(ValueError):
            allowed.add(ObdConfig(request_id).request_id)
    assert allowed == {*range(0x700, 0x7F8)} - {0x7DF} | {0x18DA00F1 | unit << 8 for unit in range(256)}


# -- Debian's gpsd, fed by its own test harness ------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def gpsfake(log: Path) -> AsyncIterator[SourceConfig]:
    """Run gpsd with a receiver that sends the sentences of a file, once somebody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["gpsfake", "-1", "-q", "-n", "-c", "0.015", "-P", str(port), str(log)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}, start_new_session=True,
    )  # fmt: skip
    try:
        yield SourceConfig("gpsd", port=port, lost_s=2.0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it ignores others, once gpsd has ended
        await process.wait()
        (Path(tempfile.gettempdir()) / f"gpsfake-{process.pid}.sock").unlink(missing_ok=True)


@pytest.mark.long
async def test_the_track_of_gpsd_is_that_of_its_file_within_2_m(tmp_path: Path) -> None:
    need("gpsd", "gpsd-clients", program="gpsfake")
    assert shutil.which("gpsfake")
    places = drive(50)
    log = tmp_path / "drive.log"
    log.write_bytes(b"".join(track([*places[:1] * 20, *places])))  # parked, while gpsd and gateway start
    async with (
        gpsfake(log) as source,
        gateway(tmp_path, NOBODY, drain=0.0, sources=(source,), **EXACT) as (_, _, events),
    ):
        await until_event(events, "position_lost")  # the file has ended
    records = await kept(tmp_path)
    assert {each.signals["location.hdop"] for each in records if "location.hdop" in each.signals} == {0.9}
    shown = positions(records)
    worst = max(off_track_m(each, places) for each in shown)
    gap = max(min(apart_m(place, each) for each in shown) for place in places)
    assert (worst <= 2, gap < 50) == (True, True), f"{worst:.2f} m, {gap:.0f} m left out"  # fixes may share a record
