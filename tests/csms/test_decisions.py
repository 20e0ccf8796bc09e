"""An operator's decision is in force before it is answered, on the node that has the station: two nodes, one database.

Each test acts on the connection as soon as the other node has answered, without letting anything else run.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from csms.admission.rules import SecurityProfile
from csms.cluster.bus import LocalBus, LocalHub
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.api.watch import Watch
from tests.csms.backend import BOOT, Backend, daytime_ms, running_backend
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.scripted_station import Refused
from tests.csms.support import STATION, make_config
from tests.waiting import until
from v2g.io.websocket.server import serve
from v2g.pki import password_hash as passwords


class Nodes(NamedTuple):
    """Where operators ask, and where the station is connected."""

    asked: ApiClient
    has: Backend
    hub: LocalHub


@pytest_asyncio.fixture
async def nodes(
    tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Nodes]:
    """Two nodes with one database and one bus."""
    monkeypatch.setattr(passwords, "_COST", 16)
    config, hub = make_config(tmp_path, pki, tokens=TOKENS), LocalHub()
    now_ms = daytime_ms()
    async with contextlib.AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(running_backend(config, empty_database, now_ms, LocalBus(name, hub)))
            for name in ("one", "two")
        ]
        yield Nodes(await stack.enter_async_context(serving(one)), two, hub)


@pytest.mark.parametrize("decision", ["Pending", "Rejected", "Accepted"])
async def test_a_boot_right_after_a_decision_follows_it(nodes: Nodes, decision: str) -> None:
    before = "Pending" if decision == "Accepted" else "Accepted"
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": before})
    station = await nodes.has.join(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    for _ in range(3):
        assert (await station.call("BootNotification", BOOT))["status"] == before
        assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": decision})).status == 200
        assert (await station.call("BootNotification", BOOT))["status"] == decision
        await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": before})


@pytest.mark.parametrize("steps", range(12))
async def test_a_boot_that_is_being_answered_follows_the_decision(nodes: Nodes, steps: int) -> None:
    """Its answer may be on its way already: then the station has to boot again."""
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Accepted"})
    station = await nodes.has.join(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    booting = asyncio.create_task(station.call("BootNotification", BOOT))
    for _ in range(steps * 5):
        await asyncio.sleep(0)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Pending"})).status == 200
    if (await booting)["status"] == "Accepted":
        await until(lambda: station.payloads("TriggerMessage"))
        assert station.payloads("TriggerMessage") == [{"requestedMessage": "BootNotification"}]
    assert (await station.call("BootNotification", BOOT))["status"] == "Pending"


class RawStation:
    """A station's TCP connection with the smallest buffers, which reads when it is told to."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self._socket.settimeout(0)
        self._port = port

    async def connect(self) -> None:
        """Do the opening handshake."""
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        head = f"GET /ocpp/{STATION} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        await loop.sock_sendall(self._socket, f"{head}Sec-WebSocket-Protocol: ocpp2.0.1\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await loop.sock_recv(self._socket, 1)
        assert answer.startswith(b"HTTP/1.1 101")

    async def ask(self, identifier: str, action: str, payload: Mapping[str, object]) -> None:
        """Send a request, and do not read the answer."""
        text = json.dumps([2, identifier, action, payload]).encode()
        head = struct.pack("!BBH", 0x81, 0x80 | 126, len(text)) + bytes(4)  # masked by zeros
        await asyncio.get_running_loop().sock_sendall(self._socket, head + text)

    async def read(self) -> bytes:
        """Return all that comes until the connection ends."""
        found = b""
        with contextlib.suppress(ConnectionError):
            while part := await asyncio.get_running_loop().sock_recv(self._socket, 4096):
                found += part
        return found

    def close(self) -> None:
        """End."""
        self._socket.close()


@pytest.mark.parametrize("decision", ["Pending", "Refused"])
async def test_an_answer_that_a_station_has_not_taken_yet_does_not_come_after_a_decision(
    nodes: Nodes, decision: str
) -> None:
    """Its connection is full of answers that it does not read; the last one accepts its boot."""
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Accepted"})
    server = await serve("127.0.0.1", 0, lambda socket: nodes.has.server.serve(socket, 3), context=None)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        station = stack.enter_context(contextlib.closing(RawStation(server.port)))
        await station.connect()
        for number in range(100):
            await station.ask(f"early-{number}", "Heartbeat", {})
        await station.ask("boot", "BootNotification", BOOT)
        await until(lambda: nodes.has.events.named("boot_accepted"))
        assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": decision})).status == 200
        async with asyncio.timeout(60):
            taken = await station.read()
        assert b"early-0" in taken
        assert b"Accepted" not in taken
        await until(lambda: not nodes.has.services.connections.connected())


@pytest.mark.parametrize("steps", range(6))
async def test_a_station_that_connects_meanwhile_is_refused(nodes: Nodes, steps: int) -> None:
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Accepted"})
    joining = asyncio.create_task(nodes.has.join(STATION))
    for _ in range(steps * 3):
        await asyncio.sleep(0)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Refused"})).status == 200
    await (await joining).ended()


async def test_nothing_is_taken_from_a_station_once_it_is_refused(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Refused"})).status == 200
    started = {"transactionId": "late", "chargingState": "Charging"}
    event = {
        "eventType": "Started", "triggerReason": "CablePluggedIn", "timestamp": "2026-01-01T00:00:00Z", "seqNo": 0,
        "transactionInfo": started,
    }  # fmt: skip
    station.push([2, "late", "TransactionEvent", event])
    await station.ended()
    assert (await nodes.asked("GET", "/transactions")).json == []
    assert nodes.has.services.connections.connected() == frozenset()


@pytest.mark.parametrize(("profile", "stays"), [(1, False), (2, True)])
async def test_a_connection_below_the_least_profile_ends(
    nodes: Nodes, profile: SecurityProfile, *, stays: bool
) -> None:
    station = await nodes.has.join(STATION, profile=profile)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}/least-profile", {"least_profile": 2})).status == 200
    if stays:
        assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
    else:
        await station.ended()


async def test_a_station_that_has_to_boot_again_delivers_and_starts_nothing(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Pending"})).status == 200
    with pytest.raises(Refused, match="SecurityError"):
        await station.call("Heartbeat")
    order = {"evse_id": 1, "id_token": {"idToken": VALID["idToken"], "type": VALID["type"]}}
    answer = await nodes.asked("POST", f"/stations/{STATION}/transactions", order)
    assert (answer.status, answer.json["code"]) == (409, "not_accepted"), answer.json
    assert (await station.call("BootNotification", BOOT))["status"] == "Pending"


async def test_a_stream_of_a_token_that_is_revoked_shows_nothing_more(nodes: Nodes) -> None:
    """On the node that was not asked."""
    made = (await nodes.asked("POST", "/access/tokens", {"name": "wall", "role": "viewer"})).json
    async with serving(nodes.has) as there, Watch(there, "/events?kinds=campaign", token=made["secret"]) as stream:
        nodes.has.services.feed.publish("campaign", None, {"n": 1})
        assert (await stream.first("campaign")).data["data"] == {"n": 1}
        assert (await nodes.asked("DELETE", f"/access/tokens/{made['token']['token_id']}")).status == 204
        nodes.has.services.feed.publish("campaign", None, {"n": 2})
        async with asyncio.timeout(60):
            await stream.ended.wait()
        assert stream.left == []


async def test_tokens_and_limits_are_in_force_at_once(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION, version="2.1")
    charging = Charging(nodes.has, station)
    await charging.started()
    path = f"/transactions/{charging.id}/limit"
    assert (await nodes.asked("PUT", path, {"max_energy_wh": 5000})).status == 204
    answer = await charging.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    assert answer["transactionLimit"] == {"maxEnergy": 5000}
    token = f"/tokens/{VALID['type']}/{VALID['idToken']}/status"
    assert (await nodes.asked("PUT", token, {"status": "Blocked"})).status == 200
    answer = await station.call("Authorize", {"idToken": VALID})
    assert answer["idTokenInfo"]["status"] == "Blocked"
    answer = await charging.event("Updated", "MeterValuePeriodic", token=VALID, context="Sample.Periodic")
    assert answer["idTokenInfo"]["status"] == "Blocked"


async def test_a_charging_profile_is_at_the_station_before_it_is_answered(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    period = {"startPeriod": 0, "limit": 1000.0}
    schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
    profile = {
        "id": 77, "stackLevel": 7, "chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Relative",
        "chargingSchedule": [schedule],
    }  # fmt: skip
    body = {"evse_id": 1, "profile": profile}
    answer = await nodes.asked("POST", f"/stations/{STATION}/charging-profiles", body)
    assert answer.status == 200, answer.json
    assert len(station.payloads("SetChargingProfile")) == 1
