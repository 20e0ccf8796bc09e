"""Back ends of two operators that roam with each other over HTTPS, and a client that we did not write."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from csms.accounts.rules import Role
from csms.app import running
from csms.config import RoamingConfig
from pki_tools.tree import PkiTree
from tests.csms.backend import TestClock
from tests.csms.support import TOKENS, Running, make_config, provide
from v2g_cli.demo.processes import free_port


@pytest.fixture(autouse=True)
def no_system_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine's roots of trust be none: each back end that roams loads them, which takes as long as a test."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)


class Operator:
    """A back end of one operator."""

    def __init__(self, csms: Running, port: int) -> None:
        self.csms = csms
        self.url = f"https://127.0.0.1:{port}"
        self.services = csms.csms.services
        self.clock = csms.hand
        self._context = csms.context(None)

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send a request of the operator; return the JSON of an answer with this status."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKENS[Role.ADMIN]}"}) as session,
            session.request(method, f"{self.url}{path}", json=body, ssl=self._context) as response,
        ):
            assert response.status == status, await response.text()
            return await response.json() if response.status != 204 else None

    async def ocpi(
        self, method: str, path: str, token: str, body: Any = None, *, bare: bool = False, **headers: str
    ) -> "Said":
        """Send a request of OCPI, as a partner with a token would."""
        written = token if bare else base64.b64encode(token.encode()).decode()
        url = path if path.startswith("https:") else f"{self.url}/ocpi{path}"
        sent = {"Authorization": f"Token {written}", "X-Request-ID": "r-1", "X-Correlation-ID": "c-1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=sent, ssl=self._context, **content) as response,
        ):
            return Said(response.status, dict(response.headers), await response.json())


class Said:
    """An answer of OCPI."""

    def __init__(self, status: int, headers: dict[str, str], body: dict[str, Any]) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.code: int = body["status_code"]
        self.data: Any = body.get("data")


@contextlib.asynccontextmanager
async def operator(
    folder: Path, pki: PkiTree, empty_database: Path, party: str, port: int = 0, hand_ms: int = 0, **changes: Any
) -> AsyncIterator[Operator]:
    """Run the back end of the party `DE*party`; `hand_ms`: its clock shows this time until the test sets another."""
    port = port or free_port()
    clock = TestClock(hand_ms) if hand_ms else None
    roaming: dict[str, Any] = {
        "url": f"https://127.0.0.1:{port}", "country_code": "DE", "party_id": party, "name": f"Operator {party}",
        "allow": ("127.0.0.1",), "roots": (pki.path("csms/root.pem"),), **changes.pop("roaming", {}),
    }  # fmt: skip
    config = make_config(folder / party, pki, api={"port": port}, roaming=RoamingConfig(**roaming), **changes)
    provide(empty_database, config)
    events = folder / f"{party}.jsonl"
    async with running(config, events, clock) as csms:
        yield Operator(Running(csms, config, events, pki, clock), port)


async def acquainted(cpo: Operator, emsp: Operator, **settings: Any) -> None:
    """Let two operators register: the second with the first."""
    invited = await cpo.ask("POST", "/roaming/partners", {"partner_id": "emsp", **settings}, 201)
    body = {"partner_id": "cpo", "versions_url": invited["versions_url"], "token": invited["token"], **settings}
    await emsp.ask("POST", "/roaming/partners", body, 201)
    await emsp.ask("POST", "/roaming/partners/cpo/register")


LOCATION = {
    "id": "Depot", "address": "Ladestr. 1", "city": "Berlin", "country": "DEU", "latitude": "52.52000",
    "longitude": "13.40500", "time_zone": "Europe/Berlin",
    "evses": [{
        "station_id": "CS-V2G-0001", "evse_id": "DE*CPO*E1",
        "connectors": [{"standard": "IEC_62196_T2_COMBO", "format": "CABLE", "power_type": "DC", "max_voltage": 900,
                        "max_amperage": 100}],
    }],
}  # fmt: skip
PLAN = {
    "id": "both ways", "currency": "EUR", "zone": "Europe/Berlin",
    "energy": {"rates": [{"price": "0.4977"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
    "export": {"rates": [{"price": "0.31"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
    "idle_time": {"rates": [{"price": "0.02"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
    "fixed": {"rates": [{"price": "0.35"}], "taxes": [{"kind": "VAT", "ppm": 190000}]},
}  # fmt: skip
TOKEN = {"token_type": "ISO14443", "id_token": "04A1B2C3"}


class Wire:
    """A station on a websocket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, action: str, payload: Any) -> Any:
        """Send a request; return the answer. Requests of the back end are answered Rejected meanwhile."""
        number = str(next(self._numbers))
        await self._socket.send(json.dumps([2, number, action, payload]))
        while True:
            frame = json.loads(await self._socket.recv())
            if frame[0] == 2:
                await self._socket.send(json.dumps([4, frame[1], "NotSupported", "", {}]))
            elif frame[1] == number:
                assert frame[0] == 3, frame
                return frame[2]


async def charge(cpo: Operator, taken_wh: int, back_wh: int, signed: dict[str, Any] | None = None) -> str:
    """Charge and feed back within 50 minutes of the operator's clock; return the answer to Authorize."""
    assert cpo.clock is not None
    clock = cpo.clock

    def now() -> str:
        return datetime.fromtimestamp(clock.utc_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def register(context: str, taken: int, back: int, more: Any = None) -> dict[str, Any]:
        values = [
            {"value": value, "context": context, "measurand": f"Energy.Active.{way}.Register",
             "unitOfMeasure": {"unit": "Wh"}, **({"signedMeterValue": more} if more and way == "Import" else {})}
            for way, value in (("Import", 1000 + taken), ("Export", 500 + back))
        ]  # fmt: skip
        return {"timestamp": now(), "sampledValue": values}

    async with cpo.csms.connect() as socket:
        station = Wire(socket)
        await station.call("BootNotification", {
            "reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}})  # fmt: skip
        await station.call("StatusNotification", {
            "timestamp": now(), "connectorStatus": "Available", "evseId": 1, "connectorId": 1,
        })  # fmt: skip
        token = {"idToken": TOKEN["id_token"], "type": "ISO14443"}
        status = (await station.call("Authorize", {"idToken": token}))["idTokenInfo"]["status"]
        if status != "Accepted":
            return str(status)
        before = 0
        steps = [
            ("Started", "Authorized", "Charging", 0, "Transaction.Begin", 0, 0),
            ("Updated", "MeterValuePeriodic", "Charging", 25, "Sample.Periodic", taken_wh, 0),
            ("Updated", "ChargingStateChanged", "SuspendedEV", 40, "Sample.Periodic", taken_wh, back_wh),
            ("Ended", "StopAuthorized", "Idle", 50, "Transaction.End", taken_wh, back_wh),
        ]
        for number, (kind, trigger, state, minute, context, taken, back) in enumerate(steps):
            clock.advance(60 * (minute - before))
            before = minute
            event = {
                "eventType": kind, "triggerReason": trigger, "timestamp": now(),
                "seqNo": number, "transactionInfo": {"transactionId": "tx-1", "chargingState": state},
                "evse": {"id": 1, "connectorId": 1}, "idToken": token,
                "meterValue": [register(context, taken, back, signed if kind == "Ended" else None)],
            }  # fmt: skip
            await station.call("TransactionEvent", event)
    return str(status)


async def roaming(cpo: Operator, emsp: Operator, **settings: Any) -> None:
    """Let both know each other, with a price, a location and a driver."""
    await cpo.ask("POST", "/tariffs", PLAN, 201)
    await cpo.ask("PUT", "/tariff-assignments", {"plan_id": "both ways"})
    await cpo.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await acquainted(cpo, emsp, **settings)


async def eventually(operator: Operator, path: str, count: int = 1) -> Any:
    """Return the list there once it has so many."""
    async with asyncio.timeout(60):
        while len(found := await operator.ask("GET", path)) < count:
            await asyncio.sleep(0.05)
    return found
