"""`v2g ocpp-bridge` between two peers of the independent package `ocpp`, of 1.6 and 2.0.1 (R201)."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ocpp.exceptions
import ocpp.v16
import ocpp.v201
import pytest
import websockets
from ocpp.routing import after, on
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
from v2g.ocpp.v16.explained import PARTLY, PARTLY_BEHIND_16, REFUSED, REFUSED_BEHIND_16
from v2g.ocpp.v16.mirror import FROM_OUR_STATION
from v2g_cli.main import app
from v2g_station.ocpp_bridge.program import BridgeOptions, OcppBridge

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

    protocol = "ocpp1.6"
    boot = call_16.BootNotification(charge_point_vendor="V", charge_point_model="M")

    @on("RemoteStartTransaction")
    async def start_remotely(self, **_: Any) -> Any:
        return result_16.RemoteStartTransaction(status="Accepted")


class OneLevelStation(OldStation):
    """A station of a make that refuses stack levels above 0."""

    boot = call_16.BootNotification(charge_point_vendor="ABB", charge_point_model="Terra AC")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits: list[tuple[int, float]] = []

    @on("SetChargingProfile")
    async def limit(self, cs_charging_profiles: Any, **_: Any) -> Any:
        (period,) = cs_charging_profiles["charging_schedule"]["charging_schedule_period"]
        self.limits.append((cs_charging_profiles["stack_level"], period["limit"]))
        return result_16.SetChargingProfile(status="Accepted")

    @on("ClearChargingProfile")
    async def clear(self, **_: Any) -> Any:
        return result_16.ClearChargingProfile(status="Accepted")


class NewStation(ocpp.v201.ChargePoint):  # type: ignore[misc]
    """A station of 2.0.1 that reports its limits, and accepts what it is asked for."""

    protocol = "ocpp2.0.1"
    boot = call_201.BootNotification(charging_station={"vendorName": "V", "model": "M"}, reason="PowerUp")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[Any] = []

    @on("GetReport")
    async def report(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return result_201.GetReport(status="Accepted")

    @after("GetReport")
    async def notify(self, request_id: int, component_variable: Any, **_: Any) -> None:
        limits = {"data_type": "integer", "supports_monitoring": False, "max_limit": 40}
        data = [
            {**each, "variable_attribute": [{"value": "3"}], "variable_characteristics": limits}
            for each in component_variable
        ]
        await self.call(
            call_201.NotifyReport(request_id=request_id, generated_at=AT, seq_no=0, tbc=False, report_data=data)
        )

    @on("GetVariables")
    async def read(self, get_variable_data: Any, **_: Any) -> Any:
        results = [{**each, "attribute_status": "Accepted", "attribute_value": "60"} for each in get_variable_data]
        return result_201.GetVariables(get_variable_result=results)

    @on("SetVariables")
    async def write(self, set_variable_data: Any, **_: Any) -> Any:
        self.asked += set_variable_data
        results = [
            {"attribute_status": "Accepted", "component": each["component"], "variable": each["variable"]}
            for each in set_variable_data
        ]
        return result_201.SetVariables(set_variable_result=results)

    @on("RequestStopTransaction")
    async def stop_remotely(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return result_201.RequestStopTransaction(status="Accepted")


class OldBackEnd(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """A back end of 1.6 that numbers transactions, and keeps what it hears of them."""

    def __init__(self, *args: Any, events: list[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.events = events
        self.refuses = False

    @on("BootNotification")
    async def boot(self, **_: Any) -> Any:
        return result_16.BootNotification(current_time=AT, interval=300, status="Accepted")

    @on("StatusNotification")
    async def status(self, connector_id: int, status: str, **_: Any) -> Any:
        self.events.append((f"{connector_id} {status}",))
        return result_16.StatusNotification()

    @on("Authorize")
    async def authorize(self, id_tag: str) -> Any:
        return result_16.Authorize(id_tag_info={"status": "Blocked"})

    @on("StartTransaction")
    async def begin(self, **said: Any) -> Any:
        number = 70 + sum(each[0] == "start" for each in self.events)
        self.events.append(("start", number, said["connector_id"], said["id_tag"], said["meter_start"]))
        return result_16.StartTransaction(transaction_id=number, id_tag_info={"status": "Accepted"})

    @on("MeterValues")
    async def values(self, **said: Any) -> Any:
        self.events.append(("values", said["transaction_id"]))
        return result_16.MeterValues()

    @on("StopTransaction")
    async def stop(self, **said: Any) -> Any:
        self.events.append(("stop", said["transaction_id"], said["meter_stop"]))
        return result_16.StopTransaction()


class Above:
    """A server of the package, which keeps whom it has seen, and the events."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.points: list[Any] = []
        self.sockets: list[Any] = []
        self.names: list[str] = []
        self.passwords: list[str | None] = []
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(
        self, context: ssl.SSLContext | None = None, kind: Any = BackEnd, protocol: str = "ocpp2.0.1"
    ) -> AsyncIterator[None]:
        async def handle(websocket: Any) -> None:
            self.passwords.append(websocket.request.headers.get("Authorization"))
            shown = websocket.transport.get_extra_info("peercert") or {}
            self.names += [value for group in shown.get("subject", ()) for key, value in group if key == "commonName"]
            point = kind(websocket.request.path, websocket, events=self.events)
            self.points.append(point)
            self.sockets.append(websocket)
            with contextlib.suppress(websockets.ConnectionClosed):
                await point.start()

        protocols = [Subprotocol(protocol)]
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
async def station(
    port: int, context: ssl.SSLContext | None = None, password: str = PASSWORD, kind: Any = OldStation
) -> AsyncIterator[Any]:
    """Connect a station, and boot."""
    url = f"{'ws' if context is None else 'wss'}://localhost:{port}/ocpp/{STATION}"
    headers = basic(STATION, password)
    protocols = [Subprotocol(kind.protocol)]
    async with websockets.connect(url, subprotocols=protocols, ssl=context, additional_headers=headers) as websocket:
        point = kind(STATION, websocket)
        task = point.runs = asyncio.create_task(point.start())
        try:
            assert (await point.call(kind.boot)).status == "Accepted"
            yield point
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await task


async def test_a_transaction_goes_on_when_the_bridge_was_restarted(tmp_path: Path) -> None:
    above = Above()
    async with above.serving():
        options = BridgeOptions(
            pause_s=0, listen="ws://127.0.0.1:0/ocpp", to=above.url, store=tmp_path / "bridge.sqlite3"
        )
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


async def test_equal_starts_without_a_clock_are_one_until_it_has_ended(tmp_path: Path) -> None:
    above = Above()
    async with above.serving():
        options = BridgeOptions(
            pause_s=0, listen="ws://127.0.0.1:0/ocpp", to=above.url, store=tmp_path / "bridge.sqlite3"
        )
        begin = call_16.StartTransaction(connector_id=1, id_tag="04A1B2C3", meter_start=0, timestamp="no time at all")
        numbers = []
        for _ in range(2):
            for _ in range(2):  # the first answer is lost with its connection
                async with bridging(options) as (_, port), station(port) as point:
                    numbers.append((await point.call(begin)).transaction_id)
            async with bridging(options) as (_, port), station(port) as point:
                await point.call(call_16.StopTransaction(transaction_id=numbers[-1], meter_stop=9, timestamp=AT))
    assert numbers[0] == numbers[1] < numbers[2] == numbers[3]
    assert [each["event_type"] for each in above.events] == ["Started", "Ended"] * 2


async def test_a_make_with_one_level_keeps_the_lower_limit_when_the_bridge_was_restarted(tmp_path: Path) -> None:
    above = Above()

    def limit(profile_id: int, level: int, rate: float) -> Any:
        schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": rate}]}
        profile = {
            "id": profile_id, "stackLevel": level, "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative", "chargingSchedule": [schedule],
        }  # fmt: skip
        return call_201.SetChargingProfile(evse_id=1, charging_profile=profile)

    async with above.serving():
        options = BridgeOptions(
            pause_s=0, listen="ws://127.0.0.1:0/ocpp", to=above.url, store=tmp_path / "bridge.sqlite3"
        )
        async with bridging(options) as (_, port), station(port, kind=OneLevelStation) as point:
            assert (await above.points[-1].call(limit(1, 3, 10))).status == "Accepted"
            assert point.limits == [(0, 10)]
        async with bridging(options) as (_, port), station(port, kind=OneLevelStation) as point:
            answer = await above.points[-1].call(limit(2, 1, 32))
            assert answer.status_info["additional_info"].endswith("no higher than profile 1")
            await above.points[-1].call(call_201.ClearChargingProfile(charging_profile_id=1))
            assert point.limits == [(0, 10), (0, 32)]


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
                assert above.passwords == [None]
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
    options = BridgeOptions(
        pause_s=0, listen="ws://127.0.0.1:0", to="ws://127.0.0.1:1", store=tmp_path / "bridge.sqlite3"
    )
    async with bridging(options) as (bridge, port):
        async with websockets.connect(
            f"ws://127.0.0.1:{port}/{STATION}", subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers=basic(STATION, PASSWORD),
        ) as websocket:  # fmt: skip
            await websocket.wait_closed()
        assert websocket.close_code == 1013
        assert 'kind="back_end_not_reached"} 1.0' in bridge.metrics().decode()


def event(kind: str, seq_no: int, wh: int, **more: Any) -> Any:
    """Return an event of the transaction "T-1" at EVSE 2."""
    info = {"transaction_id": "T-1", **({"charging_state": more.pop("state")} if "state" in more else {})}
    return call_201.TransactionEvent(
        event_type=kind, timestamp=AT, trigger_reason="Authorized", seq_no=seq_no, transaction_info=info,
        evse={"id": 2, "connector_id": 1}, meter_value=[{"timestamp": AT, "sampled_value": [{"value": wh}]}], **more,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def reversed_at(above: Above, path: Path, **more: Any) -> AsyncIterator[tuple[OcppBridge, NewStation]]:
    """Run the bridge before a back end of 1.6, with a booted station of 2.0.1."""
    options = BridgeOptions(back_end="1.6", listen="ws://127.0.0.1:0/ocpp", to=above.url, store=path, **more)
    async with bridging(options) as (bridge, port), station(port, kind=NewStation) as point:
        yield bridge, point


async def test_a_station_of_2_0_1_keeps_its_number_at_a_back_end_of_1_6(tmp_path: Path) -> None:
    above, path = Above(), tmp_path / "bridge.sqlite3"
    token = {"id_token": "04A1B2C3", "type": "ISO14443"}
    ended = event("Ended", 3, 900)
    async with above.serving(kind=OldBackEnd, protocol="ocpp1.6"):
        async with reversed_at(above, path) as (_, point):
            for evse in (1, 2):
                said = call_201.StatusNotification(
                    timestamp=AT, connector_status="Occupied", evse_id=evse, connector_id=1
                )
                await point.call(said)
            begun = event("Started", 0, 500, id_token=token, state="EVConnected")
            assert (await point.call(begun)).id_token_info["status"] == "Accepted"
            assert (await point.call(begun)).id_token_info["status"] == "Blocked", "sent again, it is asked for again"
            await point.call(event("Updated", 1, 600, state="Charging"))
            refused = call_201.ReservationStatusUpdate(reservation_id=1, reservation_update_status="Expired")
            with pytest.raises(ocpp.exceptions.NotSupportedError):
                await point.call(refused, suppress=False)
        async with reversed_at(above, path) as (_, point):
            answer = await above.points[-1].call(call_16.RemoteStopTransaction(transaction_id=70))
            assert answer.status == "Accepted"
            assert point.asked[-1] == {"transaction_id": "T-1"}
            assert (await above.points[-1].call(call_16.RemoteStopTransaction(transaction_id=71))).status == "Rejected"
            await point.call(event("Updated", 2, 800, state="SuspendedEV"))
            await point.call(ended)
        async with reversed_at(above, path) as (bridge, point):
            await point.call(ended)
            assert "v2g_bridge_stations 1.0" in bridge.metrics().decode()
    assert [each for each in above.events if len(each) > 1] == [
        ("start", 70, 2, "04A1B2C3", 500), ("values", 70), ("values", 70), ("stop", 70, 900),
    ]  # fmt: skip
    states = [each[0] for each in above.events if len(each) == 1 and each[0].startswith("2 ")]
    assert states == ["2 Preparing", "2 Charging", "2 SuspendedEV", "2 Finishing"]


async def test_a_back_end_of_1_6_reads_keys_of_a_station_of_2_0_1(tmp_path: Path) -> None:
    above = Above()
    async with (
        above.serving(kind=OldBackEnd, protocol="ocpp1.6"),
        reversed_at(above, tmp_path / "bridge.sqlite3", identities=identity(tmp_path)) as (_, point),
    ):
        await point.call(
            call_201.StatusNotification(timestamp=AT, connector_status="Available", evse_id=2, connector_id=1)
        )
        assert above.passwords == [basic(STATION, PASSWORD)["Authorization"]]
        back_end = above.points[-1]
        wanted = ["HeartbeatInterval", "LocalAuthListMaxLength", "NumberOfConnectors", "Nonsense"]
        while "LocalAuthListMaxLength" in (answer := await read(back_end, wanted)).unknown_key:
            pass  # the station's report is still on its way
        assert answer.unknown_key == ["Nonsense"]
        found = {each["key"]: each["value"] for each in answer.configuration_key}
        assert found == {"HeartbeatInterval": "60", "LocalAuthListMaxLength": "40", "NumberOfConnectors": "2"}
        changes = {"HeartbeatInterval": "Accepted", "AuthorizationKey": "Rejected", "SecurityProfile": "Rejected"}
        for key, status in changes.items():
            assert (await back_end.call(call_16.ChangeConfiguration(key=key, value="3"))).status == status
        assert [each["variable"]["name"] for each in point.asked if "variable" in each] == ["HeartbeatInterval"]


async def read(back_end: Any, keys: list[str]) -> Any:
    """Read keys."""
    return await back_end.call(call_16.GetConfiguration(key=keys))


def identity(path: Path) -> Path:
    """Return a folder in which the station has a password, and no certificate."""
    folder = path / "identities" / STATION
    folder.mkdir(parents=True, mode=0o700)
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o600)
    return path / "identities"


async def test_an_event_that_did_not_arrive_is_not_refused(tmp_path: Path) -> None:
    above, goes_on = Above(), asyncio.Event()
    async with (
        above.serving(kind=OldBackEnd, protocol="ocpp1.6"),
        reversed_at(above, tmp_path / "bridge.sqlite3") as (_, point),
    ):
        arrived = asyncio.Event()

        async def begin(**_: Any) -> None:
            arrived.set()
            await goes_on.wait()

        above.points[-1].route_map["StartTransaction"]["_on_action"] = begin
        begun = event("Started", 0, 500, id_token={"id_token": "04A1B2C3", "type": "ISO14443"})
        asked = asyncio.create_task(point.call(begun))
        await arrived.wait()
        await above.sockets[-1].close()
        await asyncio.wait([point.runs])
        assert not asked.done(), "an answer would count as an attempt"
        asked.cancel()
        goes_on.set()


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
    behind = {action for actions in REFUSED_BEHIND_16 for action in actions.split()}
    heard = {each.__name__.removesuffix("Request") for each in FROM_OUR_STATION}
    assert behind | heard | {"NotifyReport"} == BY_STATIONS | {"DataTransfer"}
    assert not behind & heard
    shown = CliRunner().invoke(app, ["ocpp-bridge", "--explain", "--back-end", "1.6"])
    assert all(f"{action}: " in shown.output for action in behind | set(PARTLY_BEHIND_16))
