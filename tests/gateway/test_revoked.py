"""A gateway whose certificate is revoked: broker and back end refuse it, also on connections that are open."""

import asyncio
import contextlib
import json
import shutil
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from csms.accounts.config import ApiClient
from evcc.checkpoints import line_of
from pki_tools.renewal import crls_as_pem, refresh_crls, revoke_certificate
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start, start
from tests.csms.program import Program, write_config
from tests.csms.support import make_config, provide
from tests.gateway.gateway import AT_ONCE, data_of, gateway, send_frames, until_event
from tests.gateway.local_source import copies, program
from tests.gateway.program import CONFIG, supervised
from tests.packages import need
from tests.telemetry.brokers import access, leaf
from tests.telemetry.reference import ReferenceBackEnd
from tests.waiting import until
from v2g.energy.settlement.checkpoints import encode_copy
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
    mosquitto = find_mosquitto()
    assert mosquitto is not None
    for name in ("EV-1", "EV-2"):
        leaf(tree, name)
    crl = tmp_path / "crls.pem"
    crl.write_bytes(crls_as_pem(tree.directory, refresh_crls(tree.directory, at=datetime.now(UTC))))
    broker = start_broker(mosquitto, tmp_path / "broker", tree, crl=crl)
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
        await until(lambda: {ev for ev, _, _ in back_end.records} == {"EV-1", "EV-2"})
        revoke_certificate(tree.directory, name="csms/EV-1", at=datetime.now(UTC))
        crl.write_bytes(crls_as_pem(tree.directory, refresh_crls(tree.directory, at=datetime.now(UTC))))
        broker.stop()
        broker = await asyncio.to_thread(broker.again)
        before = {key for key in back_end.records if key[0] == "EV-1"}
        send_frames(can, port, 60, 60, 60)
        send_frames(other_can, other, 60, 60, 60)
        await until_event(events, "waiting")
        await until(lambda: max(value["signals"].get("battery.soc", 0) for value in back_end.records.values()) >= 60)
        assert {key for key in back_end.records if key[0] == "EV-1"} == before
    assert data_of(events, "stopped")[0]["waiting"]
    await back_end.close()
    broker.stop()


@pytest.mark.long
@pytest.mark.e2e
async def test_programs_end_the_connection_of_a_revoked_gateway_while_others_go_on(
    tree: PkiTree, tmp_path: Path, empty_database: Path
) -> None:
    """Over HTTPS, without a restart; a connection that is made anew is refused, too."""
    names, now = ("EV-1", "EV-2"), datetime.now(UTC)
    certificates = {name: tree.path(leaf(tree, name)) for name in names}
    refresh_crls(tree.directory, at=now)
    clients = tuple(ApiClient(common_name=name, evs=(name,)) for name in names)
    config = make_config(tmp_path, tree, api={"crls": (tree.path("csms/root.crl"),), "clients": clients})
    provide(empty_database, config)
    csms = await Program.start(write_config(tmp_path / "csms.yaml", config), tmp_path / "csms.events", tree, quiet=True)
    root, url = tree.path("csms/root.pem"), f"https://localhost:{csms.ports['api']}"

    def reported(name: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (tmp_path / "csms.events").read_text().splitlines())
        return [each["data"] for each in lines if each["name"] == name]

    def stored() -> int:
        return sum(each["records"] for each in reported("telemetry_stored"))

    async with asyncio.timeout(120), contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(csms.stop)
        locals_, gateways, connections = {}, {}, {}
        for name, files in certificates.items():
            (folder := tmp_path / name).mkdir()
            locals_[name], _ = await stack.enter_async_context(program(folder, stored=1))
            tls = ssl.create_default_context(cafile=str(root))
            tls.load_cert_chain(files / "chain.pem", files / "leaf.key")
            connector = aiohttp.TCPConnector(ssl=tls, limit=1)
            connections[name] = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            http = f'[http]\nurl = "{url}/telemetry"\nca = "{root}"\n'
            http += f'chain = "{files}/chain.pem"\nkey = "{files}/leaf.key"\n'
            own = CONFIG.partition("[mqtt]")[0].replace("EV-1", name) + http
            gateways[name] = await stack.enter_async_context(
                supervised(folder, sys.executable, "-m", "v2g_gateway", config=own, most_s=120)
            )

        async def asked(name: str) -> tuple[int, str | None]:
            async with connections[name].get(f"{url}/access/me") as answer:
                return answer.status, answer.headers.get("Connection")

        while stored() < 2:
            await asyncio.sleep(0.05)
        assert [await asked(name) for name in names] == [(200, None), (200, None)]
        revoke_certificate(tree.directory, name="csms/EV-1", at=datetime.now(UTC))
        for local in locals_.values():
            local.publish(line_of(encode_copy(copies([2])[0])))
        await gateways["EV-1"].until("waiting", 1)
        while stored() < 3:
            await asyncio.sleep(0.05)
        assert {each["reason"] for each in reported("http_client_refused")} == {"revoked"}
        assert "401" in gateways["EV-1"].events("waiting")[0]["data"]["reason"]
        for _ in range(2):
            assert [await asked(name) for name in names] == [(401, "close"), (200, None)]
        assert stored() == 3, "one of EV-2"


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
        assert "401" in (await until_event(events, "waiting"))["reason"]
        await port.close()
        await running.close(drain=0.0)
    assert data_of(events, "stopped")[0]["waiting"]
