"""Telemetry without a broker: a gateway and a back end over HTTPS."""

import asyncio
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.csms.conftest import Start, start
from tests.gateway.gateway import AT_ONCE, data_of, send_frames, until_event
from v2g.io.can import CanPort
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway
from v2g_gateway.uplink import HttpConfig

__all__ = ["start"]


@pytest.mark.requirement("R85", "R98")
async def test_records_go_by_https_and_wait_while_the_back_end_is_away(
    start: Start, pki: PkiTree, tmp_path: Path
) -> None:
    """Deliveries and marks are the same as over MQTT."""
    files = {name: pki.path(f"csms/{file}") for name, file in (("ca", "root.pem"), ("chain", "gateway/chain.pem"))}
    key, can, events = pki.path("csms/gateway/leaf.key"), CanSource(channel=str(tmp_path)), list[Observe]()
    async with asyncio.timeout(60), start() as csms:
        url = f"https://localhost:{csms.csms.ports['api']}/telemetry"
        config = GatewayConfig(
            ev="EV-1", outbox=tmp_path / "o.db", http=HttpConfig(url=url, key=key, **files), can=can, rates=AT_ONCE
        )
        gateway, port = await Gateway.open(config, Clock(), events.append), CanPort(can)
        send_frames(can, port, 50, 60)
        await csms.event("telemetry_stored")
        await port.close()
        await gateway.close(drain=20.0)
    (stopped,) = data_of(events, "stopped")
    assert stopped["stored"] > 0
    assert stopped["waiting"] == 0
    events.clear()
    gateway, port = await Gateway.open(config, Clock(), events.append), CanPort(can)
    send_frames(can, port, 70)
    assert url in (await until_event(events, "waiting"))["reason"]
    await port.close()
    await gateway.close(drain=0.0)
    assert data_of(events, "stopped")[0]["waiting"] > 0
