"""Two uplinks: a satellite carries what is important while the first one is away; what was dropped is reported."""

import asyncio
import json
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.gateway.test_gateway import EV, data_of, gateway, send_frames, until
from tests.proxy import Proxy
from tests.telemetry.brokers import access
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
    fallback = FallbackConfig(mqtt=first, after_s=1.0)
    away = MqttConfig(**{name: getattr(first, name) for name in first.__struct_fields__} | {"port": port_of_first})
    async with gateway(tmp_path, away, fallback=fallback) as (can, port, events):
        send_frames(can, port, *range(50, 40, -1))
        assert (await until(events, "fallback_began"))["class"] == "satellite"
        await back_end.has(1)
        await asyncio.sleep(0.5)
        over_satellite = [decode_record(json.dumps(each).encode()) for each in back_end.records.values()]
        assert {each.keyframe for each in over_satellite} <= {True}  # one summary, whatever else has changed
        link = Proxy(broker.port)
        await link.start(port_of_first)
        await until(events, "fallback_ended")
        send_frames(can, port, 30, 20)
        await back_end.has(len(over_satellite) + 1)
    await link.close()
    (stopped,) = data_of(events, "stopped")
    assert stopped["waiting"] == 0
    numbers = sorted(seq for _, _, seq in back_end.records)
    assert numbers == list(range(1, len(numbers) + 1))
    assert (back_end.duplicates, back_end.missing) == (0, set())
    await back_end.close()


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
