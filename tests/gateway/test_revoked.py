"""A gateway whose certificate is revoked: broker and back end refuse it, also on connections that are open."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.revocation import crls_as_pem, refresh_crls, revoke_certificate
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start, start
from tests.gateway.gateway import AT_ONCE, data_of, gateway, send_frames, until
from tests.packages import need
from tests.telemetry.brokers import access, leaf
from tests.telemetry.reference import ReferenceBackEnd
from v2g.io.can import CanPort
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g_cli.demo.broker import find_mosquitto, start_broker
from v2g_gateway.config import CanSource, GatewayConfig
from v2g_gateway.gateway import Gateway
from v2g_gateway.uplink import HttpConfig

__all__ = ["start"]

pytestmark = pytest.mark.requirement("R82")


@pytest.fixture
def tree(pki: PkiTree, tmp_path: Path) -> PkiTree:
    """Certificates of which a test may revoke some."""
    return PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "pki")))


async def test_a_broker_refuses_a_revoked_gateway_after_its_restart_and_others_go_on(
    tree: PkiTree, tmp_path: Path
) -> None:
    """The connection that is open ends with the restart; the records wait."""
    need("mosquitto", program="mosquitto")
    program = find_mosquitto()
    assert program is not None
    for name in ("EV-1", "EV-2"):
        leaf(tree, name)
    crl = tmp_path / "crls.pem"
    crl.write_bytes(crls_as_pem(tree.directory, refresh_crls(tree.directory, at=datetime.now(UTC))))
    broker = start_broker(program, tmp_path / "broker", tree, crl=crl)
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, tree)
    folders = [tmp_path / name for name in ("one", "two")]
    for each in folders:
        each.mkdir()
    async with (
        gateway(folders[0], access(broker, tree, "EV-1"), drain=0.0) as (can, port, events),
        gateway(folders[1], access(broker, tree, "EV-2"), ev="EV-2", drain=0.0) as (other_can, other, _),
    ):
        send_frames(can, port, 50)
        send_frames(other_can, other, 50)
        while {ev for ev, _, _ in back_end.records} != {"EV-1", "EV-2"}:
            await asyncio.sleep(0.01)
        revoke_certificate(tree.directory, name="csms/EV-1", at=datetime.now(UTC))
        crl.write_bytes(crls_as_pem(tree.directory, refresh_crls(tree.directory, at=datetime.now(UTC))))
        broker.stop()
        broker = await asyncio.to_thread(broker.again)
        before = {key for key in back_end.records if key[0] == "EV-1"}
        send_frames(can, port, 60, 60, 60)
        send_frames(other_can, other, 60, 60, 60)
        await until(events, "waiting")
        while max(value["signals"].get("battery.soc", 0) for value in back_end.records.values()) < 60:
            await asyncio.sleep(0.01)
        assert {key for key in back_end.records if key[0] == "EV-1"} == before
    assert data_of(events, "stopped")[0]["waiting"]
    await back_end.close()
    broker.stop()


async def test_the_back_end_refuses_the_next_request_of_a_revoked_gateway(
    start: Start, tree: PkiTree, tmp_path: Path
) -> None:
    """Over the connection that is open, without a restart."""
    files = {"ca": tree.path("csms/root.pem"), "chain": tree.path("csms/gateway/chain.pem")}
    can, events = CanSource(channel=str(tmp_path)), list[Observe]()
    refresh_crls(tree.directory, at=datetime.now(UTC))
    async with asyncio.timeout(60), start(api={"crls": (tree.path("csms/root.crl"),)}) as csms:
        url = f"https://localhost:{csms.csms.ports['api']}/telemetry"
        config = GatewayConfig(
            ev="EV-1",
            outbox=tmp_path / "o.db",
            http=HttpConfig(url=url, key=tree.path("csms/gateway/leaf.key"), **files),
            can=can,
            rates=AT_ONCE,
        )
        running, port = await Gateway.open(config, Clock(), events.append), CanPort(can)
        send_frames(can, port, 50)
        await csms.event("telemetry_stored")
        revoke_certificate(tree.directory, name="csms/gateway", at=datetime.now(UTC))
        send_frames(can, port, 60, 60, 60)
        assert (await csms.event("http_client_refused"))["reason"] == "revoked"
        assert "401" in (await until(events, "waiting"))["reason"]
        await port.close()
        await running.close(drain=0.0)
    assert data_of(events, "stopped")[0]["waiting"]
