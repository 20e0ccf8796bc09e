"""Two uplinks: a satellite carries what is important while the first one is away; what was dropped is reported."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.csms.databases import Cluster, running_cluster
from tests.csms.program import Program, write_config
from tests.csms.support import make_config
from tests.gateway.gateway import EV, data_of, gateway, send_frames, until_event
from tests.gateway.program import supervised
from tests.gateway.serial_bus import SerialBus, driving
from tests.proxy import Proxy
from tests.telemetry.brokers import access, source
from tests.telemetry.reference import ReferenceBackEnd
from v2g.io.mqtt.config import MqttConfig
from v2g.io.storage.outbox import Outbox
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import Record, decode_record, encode_record
from v2g_cli.demo.broker import Broker
from v2g_cli.demo.processes import free_port
from v2g_gateway.config import FallbackConfig


@pytest.mark.requirement("R94")
async def test_a_satellite_carries_summaries_while_the_first_uplink_is_away(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """The first uplink is another port of the same broker, which begins later."""
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    port_of_first = free_port()
    first = access(broker, pki, EV)
    fallback = FallbackConfig(mqtt=first, after_s=1.0, back_s=1.5)
    away = MqttConfig(**{name: getattr(first, name) for name in first.__struct_fields__} | {"port": port_of_first})
    async with gateway(tmp_path, away, fallback=fallback) as (can, port, events):
        send_frames(can, port, *range(50, 40, -1))
        assert (await until_event(events, "fallback_began"))["class"] == "satellite"
        await back_end.has(1)
        await asyncio.sleep(0.5)
        over_satellite = [decode_record(json.dumps(each).encode()) for each in back_end.records.values()]
        assert {each.keyframe for each in over_satellite} <= {True}  # one summary, whatever else has changed
        link = Proxy(broker.port)
        await link.start(port_of_first)
        await until_event(events, "fallback_ended")
        send_frames(can, port, 30, 20)
        await back_end.has(len(over_satellite) + 1)
    await link.close()
    (stopped,) = data_of(events, "stopped")
    assert stopped["waiting"] == 0
    numbers = sorted(seq for _, _, seq in back_end.records)
    assert numbers == list(range(1, len(numbers) + 1))
    assert (back_end.duplicates, back_end.missing) == (0, set())
    await back_end.close()


def stored_by(folder: Path) -> int:
    """Return how many records a back end has stored, by its events."""
    lines = (folder / "events").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["name"] == "telemetry_stored"]
    return sum(event["data"]["records"] for event in events)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server."""
    with running_cluster() as found:
        yield found


@pytest.mark.long
@pytest.mark.requirement("R94", "R98")
async def test_the_fallback_is_used_when_the_first_uplink_connects_and_no_back_end_answers(
    pki: PkiTree, broker: Broker, tmp_path: Path, cluster: Cluster
) -> None:
    """Two nodes of a real back end: one behind mosquitto, which hangs and comes back, one over HTTPS.

    The gateway returns when the first has answered several times in a row; each record is stored once.
    """
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    shared = {"store_url": cluster.url(cluster.create()), "store_key": key}
    nodes: dict[str, Program] = {}
    for name, more in (("mqtt", {"mqtt": source(broker, pki)}), ("https", {})):
        (folder := tmp_path / name).mkdir()
        config = write_config(folder / "csms.yaml", make_config(folder, pki, **shared, **more))
        nodes[name] = await Program.start(config, folder / "events", pki)
    bus, mqtt = SerialBus(), access(broker, pki, EV)
    https = {"ca": mqtt.ca, "chain": pki.path("csms/gateway/chain.pem"), "key": pki.path("csms/gateway/leaf.key")}
    config_text = (
        f'ev = "{EV}"\noutbox = "o.db"\noutbox_sealed = false\n[can]\ninterface = "slcan"\nchannel = "{bus.channel}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        + "".join(f'{name} = "{getattr(mqtt, name)}"\n' for name in ("ca", "chain", "key"))
        + '[fallback]\nclass = "usual"\nafter_s = 2\nback_s = 1.5\n'
        + f'[fallback.http]\nurl = "https://localhost:{nodes["https"].ports["api"]}/telemetry"\n'
        + "".join(f'{name} = "{path}"\n' for name, path in https.items())
    )

    async def reaches(name: str, records: int) -> None:
        while stored_by(tmp_path / name) < records:
            await asyncio.sleep(0.1)

    try:
        command = sys.executable, "-m", "v2g_gateway"
        async with supervised(tmp_path, *command, config=config_text) as running, driving(bus):
            await reaches("mqtt", 5)
            assert stored_by(tmp_path / "https") == 0
            nodes["mqtt"].process.send_signal(signal.SIGSTOP)  # its connections stay
            await running.until("fallback_began", 1)
            await reaches("https", 20)
            assert running.events("fallback_ended") == []
            nodes["mqtt"].process.send_signal(signal.SIGCONT)
            await running.until("fallback_ended", 1)
            before = stored_by(tmp_path / "mqtt")
            await reaches("mqtt", before + 10)
            assert len(running.events("fallback_began")) == 1
            (mark,) = (await nodes["https"].request("GET", f"/telemetry/{EV}/hwm"))[1]
            total = stored_by(tmp_path / "mqtt") + stored_by(tmp_path / "https")
            assert mark["contiguous"] == mark["highest"] >= mark["stored"] - 100
            assert (mark["missing"], mark["conflicts"]) == (0, 0)
            assert abs(mark["stored"] - total) < 20  # events count each record once, some seconds apart
    finally:
        for each in nodes.values():
            await each.kill()
        bus.close()


@pytest.mark.requirement("R103")
async def test_what_was_dropped_in_an_outage_is_a_record_afterwards(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """With how many, and from when to when."""
    size = 100_000
    box = await Outbox.open(tmp_path / "outbox.db", EV, 1, max_bytes=size)
    seq = 0
    while box.dropped < 100:
        seq += 1
        body = encode_record(Record(EV, 1, seq, 1000 * seq, "parked", False, {"battery.cell_voltage.min": 3.7}))  # noqa: FBT003
        await box.put(seq, body, Priority.DIAGNOSTIC, 1000 * seq)
    await box.close()
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    async with gateway(tmp_path, access(broker, pki, EV), max_outbox_bytes=2 * size) as (_can, _port, _events):
        while not (found := [each["event"] for each in back_end.records.values() if "event" in each]):
            await asyncio.sleep(0.05)
    assert found == [
        {
            "program": "gateway",
            "name": "telemetry.records_dropped",
            "utc_ms": 100_000,
            "data": {"priority": "diagnostic", "records": 100, "first_ms": 1000, "last_ms": 100_000},
        }
    ]
    assert back_end.missing == {(EV, 1, n) for n in range(1, 101)}
    await back_end.close()
