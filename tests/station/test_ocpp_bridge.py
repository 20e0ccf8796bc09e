"""`v2g ocpp-bridge` between two peers of the independent package `ocpp`: 1.6 below, 2.0.1 above (R201)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ocpp.v16
import ocpp.v201
import pytest
import websockets
from ocpp.routing import on
from ocpp.v16 import call as call_16
from ocpp.v16 import call_result as result_16
from ocpp.v201 import call as call_201
from ocpp.v201 import call_result as result_201
from typer.testing import CliRunner
from websockets.typing import Subprotocol

from pki_tools.tree import PkiTree
from tests.csms.network import basic
from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.ocpp.routes import known
from v2g.ocpp.v16.bridge import TO_STATION
from v2g_cli.main import app
from v2g_station.ocpp_bridge import PARTLY, REFUSED, BridgeOptions, OcppBridge

pytestmark = pytest.mark.requirement("R201")

STATION = "CS-V2G-0001"
PASSWORD = "password of a station"
AT = "2026-01-01T00:00:00Z"


class BackEnd(ocpp.v201.ChargePoint):  # type: ignore[misc]  # published without types
    """A back end that accepts everything, and keeps the events of transactions."""

    def __init__(self, *args: Any, events: list[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.events = events
        self.booted = asyncio.Event()

    @on("BootNotification")
    async def boot(self, **_: Any) -> Any:
        self.booted.set()
        return result_201.BootNotification(current_time=AT, interval=300, status="Accepted")

    @on("Authorize")
    async def authorize(self, **_: Any) -> Any:
        return result_201.Authorize(id_token_info={"status": "Accepted"})

    @on("TransactionEvent")
    async def event(self, **said: Any) -> Any:
        self.events.append(said)
        return result_201.TransactionEvent(id_token_info={"status": "Accepted"} if "id_token" in said else None)

    @on("StatusNotification")
    async def status(self, **_: Any) -> Any:
        return result_201.StatusNotification()


class OldStation(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """A station that accepts a remote start."""

    @on("RemoteStartTransaction")
    async def start_remotely(self, **_: Any) -> Any:
        return result_16.RemoteStartTransaction(status="Accepted")


class Above:
    """A server of the package, which keeps whom it has seen, and the events."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.points: list[BackEnd] = []
        self.names: list[str] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        async def handle(websocket: Any) -> None:
            shown = websocket.transport.get_extra_info("peercert") or {}
            self.names += [value for group in shown.get("subject", ()) for key, value in group if key == "commonName"]
            point = BackEnd(websocket.request.path, websocket, events=self.events)
            self.points.append(point)
            with contextlib.suppress(websockets.ConnectionClosed):
                await point.start()

        protocols = [Subprotocol("ocpp2.0.1")]
        async with websockets.serve(handle, "127.0.0.1", 0, subprotocols=protocols, ssl=context) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"{'ws' if context is None else 'wss'}://localhost:{port}/ocpp"
            yield


@contextlib.asynccontextmanager
async def bridging(options: BridgeOptions) -> AsyncIterator[tuple[OcppBridge, int]]:
    """Run the bridge; at the end its connections are cut."""
    bridge = OcppBridge(options, Clock(), lambda _event: None)
    server = await bridge.start()
    yield bridge, server.port
    await server.close()
    bridge.facts.close()


@contextlib.asynccontextmanager
async def station(port: int, context: ssl.SSLContext | None = None, password: str = PASSWORD) -> AsyncIterator[Any]:
    """Connect a station, and boot."""
    url = f"{'ws' if context is None else 'wss'}://localhost:{port}/ocpp/{STATION}"
    headers = basic(STATION, password)
    protocols = [Subprotocol("ocpp1.6")]
    async with websockets.connect(url, subprotocols=protocols, ssl=context, additional_headers=headers) as websocket:
        point = OldStation(STATION, websocket)
        task = asyncio.create_task(point.start())
        try:
            answer = await point.call(call_16.BootNotification(charge_point_vendor="V", charge_point_model="M"))
            assert answer.status == "Accepted"
            yield point
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await task


async def test_a_transaction_goes_on_when_the_bridge_was_restarted(tmp_path: Path) -> None:
    above = Above()
    async with above.serving():
        options = BridgeOptions(listen="ws://127.0.0.1:0/ocpp", to=above.url, store=tmp_path / "bridge.sqlite3")
        begin = call_16.StartTransaction(connector_id=1, id_tag="04A1B2C3", meter_start=5, timestamp=AT)
        values = [{"timestamp": AT, "sampled_value": [{"value": "7"}]}]
        async with bridging(options) as (_, port), station(port) as point:
            assert (await point.call(call_16.Authorize(id_tag="04A1B2C3"))).id_tag_info["status"] == "Accepted"
            asked = call_201.RequestStartTransaction(
                id_token={"idToken": "04A1B2C3", "type": "ISO14443"}, remote_start_id=9, evse_id=1
            )
            assert (await above.points[-1].call(asked)).status == "Accepted"
            number = (await point.call(begin)).transaction_id
            await point.call(call_16.MeterValues(connector_id=1, transaction_id=number, meter_value=values))
        async with bridging(options) as (bridge, port), station(port) as point:
            assert (await point.call(begin)).transaction_id == number
            await point.call(call_16.MeterValues(connector_id=1, transaction_id=number, meter_value=values))
            stop = call_16.StopTransaction(transaction_id=number, meter_stop=9, timestamp=AT)
            assert await point.call(stop) is not None
            assert await point.call(stop) is not None
            other = call_16.StartTransaction(connector_id=2, id_tag="04A1B2C3", meter_start=5, timestamp=AT)
            assert (await point.call(other)).transaction_id > number
            metrics = bridge.metrics().decode()
        assert "v2g_bridge_stations 1.0" in metrics
    found = [(each["event_type"], each["seq_no"], each["transaction_info"]["transaction_id"]) for each in above.events]
    first = str(number)
    assert found[:3] == [("Started", 0, first), ("Updated", 1, first), ("Ended", 2, first)]
    assert [each[0] for each in found[3:]] == ["Started"]
    assert above.events[0]["transaction_info"]["remote_start_id"] == 9


async def test_a_station_with_a_password_has_a_certificate_above(tmp_path: Path, pki: PkiTree) -> None:
    folder = tmp_path / "identities" / STATION
    folder.mkdir(parents=True, mode=0o700)
    for ours, theirs in (("chain.pem", "chain.pem"), ("leaf.key", "leaf.key")):
        (folder / ours).write_bytes(pki.path(f"csms/station/{theirs}").read_bytes())
    (folder / "password").write_text(PASSWORD)
    for each in folder.iterdir():
        each.chmod(0o600)
    server, root = [pki.path(f"csms/server/{each}") for each in ("chain.pem", "leaf.key")], pki.path("csms/root.pem")
    up = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    up.load_cert_chain(*server)
    up.load_verify_locations(root)
    up.verify_mode = ssl.CERT_REQUIRED
    above = Above()
    async with above.serving(up):
        options = BridgeOptions(
            listen="wss://127.0.0.1:0/ocpp", to=above.url, store=tmp_path / "b.sqlite3", chain=server[0], key=server[1],
            ca=root, identities=tmp_path / "identities",
        )  # fmt: skip
        down = ssl.create_default_context(cafile=str(root))
        async with bridging(options) as (_, port):
            async with station(port, down):
                assert above.names == [STATION]
            with pytest.raises(websockets.InvalidStatus):
                async with station(port, down, "another password"):
                    pass
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(
                    f"wss://localhost:{port}/ocpp/..", ssl=down, subprotocols=[Subprotocol("ocpp1.6")],
                    additional_headers=basic("..", PASSWORD),
                )  # fmt: skip
    assert above.names == [STATION]


async def test_without_a_back_end_a_station_is_told_to_come_back(tmp_path: Path) -> None:
    options = BridgeOptions(listen="ws://127.0.0.1:0", to="ws://127.0.0.1:1", store=tmp_path / "bridge.sqlite3")
    async with bridging(options) as (bridge, port):
        async with websockets.connect(
            f"ws://127.0.0.1:{port}/{STATION}", subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=basic(STATION, PASSWORD),
        ) as websocket:  # fmt: skip
            await websocket.wait_closed()
        assert websocket.close_code == 1013
        assert 'kind="back_end_not_reached"} 1.0' in bridge.metrics().decode()


@pytest.mark.parametrize("ends", [("wss://127.0.0.1:0", "ws://localhost:1"), ("ws://127.0.0.1:0", "wss://localhost:1")])
def test_tls_needs_its_files(tmp_path: Path, ends: tuple[str, str]) -> None:
    with pytest.raises(ConfigError):
        OcppBridge(BridgeOptions(listen=ends[0], to=ends[1], store=tmp_path / "b"), Clock(), lambda _event: None)


BY_STATIONS = frozenset({
    "Authorize", "BootNotification", "ClearedChargingLimit", "FirmwareStatusNotification", "Get15118EVCertificate",
    "GetCertificateStatus", "Heartbeat", "LogStatusNotification", "MeterValues", "NotifyChargingLimit",
    "NotifyCustomerInformation", "NotifyDisplayMessages", "NotifyEVChargingNeeds", "NotifyEVChargingSchedule",
    "NotifyEvent", "NotifyMonitoringReport", "NotifyReport", "PublishFirmwareStatusNotification",
    "ReportChargingProfiles", "ReservationStatusUpdate", "SecurityEventNotification", "SignCertificate",
    "StatusNotification", "TransactionEvent",
})  # fmt: skip
"""Actions that only stations send (OCPP 2.0.1, part 2)."""


def test_what_is_refused_is_listed_and_everything_else_translated() -> None:
    refused = {action for actions in REFUSED for action in actions.split()}
    translated = {each.__name__.removesuffix("Request") for each in TO_STATION}
    assert refused | translated == known("2.0.1") - BY_STATIONS
    assert not refused & translated
    assert set(PARTLY) <= translated
    shown = CliRunner().invoke(app, ["ocpp-bridge", "--explain"])
    assert all(f"{action}: " in shown.output for action in refused | set(PARTLY))
