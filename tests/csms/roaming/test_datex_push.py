"""An access point gets table and status over HTTPS with a client certificate, each when it changes (R205)."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from csms.config import DatexPush
from csms.roaming.open_data import push_changes
from csms.roaming.partners import Partners
from csms.roaming.store import Kept, put_object, stand_of
from pki_tools.tree import PkiTree
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import Roaming, operating
from tests.csms.roaming.scripted_partner import ScriptedPartner
from v2g.io.http.server import BoundedServer, HttpHandler
from v2g.io.runtime.supervision import new_thread

pytestmark = pytest.mark.requirement("R205")


class AccessPoint:
    """A receiver that wants a client certificate; `status` is its answer, but for a path that is `refused`."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, Any]] = []
        self.status = 200
        self.refused = ""
        self.url = ""

    @contextlib.contextmanager
    def running(self, pki: PkiTree) -> Iterator["AccessPoint"]:
        point = self

        class Handler(HttpHandler):
            def do_POST(self) -> None:
                assert isinstance(self.connection, ssl.SSLSocket)
                peer = dict(pair[0] for pair in (self.connection.getpeercert() or {})["subject"])  # type: ignore[misc]
                body = json.loads(self.body.read(int(self.headers["Content-Length"])))
                status = 422 if self.path == point.refused else point.status
                if status == 200:
                    point.received.append((self.path, str(peer["commonName"]), body["messageContainer"]))
                self.close_connection = True
                self.answer(status, b"element x is missing", {})

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki.path("csms/root.pem"))
        context.load_cert_chain(pki.path("csms/server/chain.pem"), pki.path("csms/server/leaf.key"))
        context.verify_mode = ssl.CERT_REQUIRED
        server = BoundedServer("127.0.0.1", 0, Handler, most_clients=8, tls=context)
        self.url = f"https://127.0.0.1:{server.server_port}"
        thread = new_thread(lambda: server.serve_forever(0.01), name="access point")
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def config(self, pki: PkiTree) -> DatexPush:
        return DatexPush(
            table_url=f"{self.url}/table", status_url=f"{self.url}/status", every_s=1.0,
            certificate=pki.path("csms/station/chain.pem"), key=pki.path("csms/station/leaf.key"),
            roots=(pki.path("csms/root.pem"),),
        )  # fmt: skip

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.received]


async def faulted(roaming: Roaming) -> None:
    station = await roaming.backend.booted()
    await station.call("StatusNotification", {
        "timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Faulted", "evseId": 1, "connectorId": 1,
    })  # fmt: skip


async def test_changes_are_sent_in_order_once_and_again_after_an_outage(backend: Any, pki: PkiTree) -> None:
    with ScriptedPartner().running() as partner, AccessPoint().running(pki) as point:
        async with operating(backend, partner) as roaming:
            push, services = point.config(pki), roaming.backend.services
            partners = services.find(Partners)
            assert partners is not None

            async def pushed() -> bool:
                return await push_changes(services, partners, push)

            await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
            point.status = 422
            assert not await pushed()
            (refused,) = roaming.backend.events.named("datex_push_failed")
            assert refused.data["publication"] == "table"
            assert "HTTP 422: element x" in str(refused.data["reason"])
            point.status = 200
            for _ in range(2):
                assert await pushed()
            assert point.paths == ["/table", "/status"]
            (_, name, table), (_, _, status) = point.received
            assert name == "CS-V2G-0001"
            (known,) = table["payload"][0]["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"]
            said = status["payload"][0]["aegiEnergyInfrastructureStatusPublication"]["tableReference"]
            assert said[0]["versionG"] == known["versionG"]
            assert table["exchangeInformation"]["exchangeContext"]["codedExchangeProtocol"] == {"value": "snapshotPush"}
            roaming.backend.clock.advance(10)
            await faulted(roaming)
            async with asyncio.timeout(60):
                while "outOfOrder" not in json.dumps(point.received[-1]):  # the station may be seen before its fault
                    await asyncio.sleep(0.01)
                    assert await pushed()
            assert set(point.paths[2:]) == {"/status"}
            roaming.backend.clock.advance(6 * 3600)
            assert await pushed()
            assert point.paths[-2:] == ["/table", "/status"]
            sent = len(point.paths)
            point.refused = "/table"
            moved = {**LOCATION, "name": "Depot North"}
            await roaming.ask("PUT", "/roaming/locations/Depot", moved)
            assert not await pushed()
            assert len(point.paths) == sent + 1
            status = point.received[-1][2]
            said = status["payload"][0]["aegiEnergyInfrastructureStatusPublication"]["tableReference"]
            assert said[0]["versionG"] == known["versionG"], "that of the table that it has"
            assert not await pushed()
            assert len(point.paths) == sent + 1
            point.refused = ""
            assert await pushed()
            assert point.paths[-2:] == ["/table", "/status"]
            said = point.received[-1][2]["payload"][0]["aegiEnergyInfrastructureStatusPublication"]["tableReference"]
            assert said[0]["versionG"] != known["versionG"]


async def test_a_change_that_is_stored_late_is_not_missed(backend: Any) -> None:
    """Another node, or a slower task of this one, stores it with an earlier time than the newest."""
    with ScriptedPartner().running() as partner:
        async with operating(backend, partner) as roaming:
            run, stands = roaming.backend.services.store.run, []
            for name, updated_ms in (("a", 9), ("b", 5), ("b", 6)):
                kept = Kept(owner="", module="tariffs", object_id=name, updated_ms=updated_ms, document="{}")
                await run(put_object, kept)
                stands.append(await run(stand_of, "locations", "tariffs"))
            assert len(set(stands)) == 3


async def test_it_is_done_by_itself(backend: Any, pki: PkiTree) -> None:
    with ScriptedPartner().running() as partner, AccessPoint().running(pki) as point:
        async with operating(backend, partner, datex_push=point.config(pki)) as roaming:
            await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
            async with asyncio.timeout(60):
                while not any("Depot" in json.dumps(body) for path, _, body in point.received if path == "/status"):
                    await asyncio.sleep(0.05)
