"""What a vehicle's updates cost on the wire: by a gateway over MQTT, and by HTTP with a connection for each."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from csms.accounts.rules import Role
from csms.app import running
from pki_tools.tree import PkiTree
from tests.csms.api_support import batch, read, record
from tests.csms.support import TOKENS, Running, make_config, provide
from tests.gateway.gateway import EV, gateway, send_frames
from tests.proxy import Proxy
from tests.telemetry.brokers import files, source
from v2g.io.mqtt.config import MqttConfig
from v2g_cli.demo.broker import Broker

UPDATES = 10


async def charge(csms: Running) -> float | None:
    """Return the state of charge that the back end knows."""
    (found,) = await read(csms, "/vehicles") or ({"values": {}},)
    known: dict[str, float] = found["values"]
    return known.get("battery.soc")


async def by_mqtt(csms: Running, broker: Broker, folder: Path) -> float:
    """Return octets of an update of the state of charge over a connection that is there; each is known to the back end
    before the next one."""
    wire = Proxy(broker.port)
    await wire.start()
    mqtt = MqttConfig(host="127.0.0.1", port=wire.port, **files(csms.pki, EV))
    async with gateway(folder, mqtt, encoding="compact") as (can, bus, _):
        octets = list[int]()
        for soc in range(50, 51 + UPDATES):
            send_frames(can, bus, soc)
            while await charge(csms) != soc:
                await asyncio.sleep(0.02)
            octets.append(wire.octets)
    await wire.close()
    return (octets[-1] - octets[0]) / UPDATES


async def by_http(csms: Running) -> float:
    """Return octets of such an update, each over a connection of its own."""
    wire, seqs = Proxy(csms.csms.ports["api"]), range(1, 6)
    await wire.start()
    for seq in seqs:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKENS[Role.GATEWAY]}"}) as session:
            body, url = batch(record(seq, ev="EV-2")), f"https://127.0.0.1:{wire.port}/telemetry"
            async with session.post(url, data=body, ssl=csms.context(None)) as answer:
                assert answer.status == 200
    await wire.close()
    return wire.octets / len(seqs)


@pytest.mark.requirement("R84")
async def test_an_update_costs_80_percent_less_than_with_a_connection_for_each(
    pki: PkiTree, broker: Broker, empty_database: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path, pki, mqtt=source(broker, pki))
    provide(empty_database, config)
    async with running(config, tmp_path / "events.jsonl") as back_end:
        csms = Running(back_end, config, tmp_path / "events.jsonl", pki)
        mqtt = await by_mqtt(csms, broker, tmp_path)
        assert 50 < mqtt < 0.2 * await by_http(csms)
