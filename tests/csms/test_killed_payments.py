"""kill -9 while a driver's payment is at each of its stages: it is held and taken once, and nothing is lost."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets
from aiohttp.test_utils import TestServer

from csms.db.store import Store
from csms.direct_payments import store as rows
from csms.payments.config import DirectPaymentConfig, Payments
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from pki_tools.tree import PkiTree
from tests.csms.direct_payments.paying import NAME
from tests.csms.direct_payments.payment_server import TOKEN, FakePayments
from tests.csms.killable import BackendProcess, survivors_killed
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax
from v2g.ocpp.times import format_time
from v2g.pki.keys import save_secret

__all__ = ["survivors_killed"]  # a fixture

DEAR = PricePlan(
    id="dear", currency="EUR", energy=Charge(rates=(Rate(price="500"),), taxes=(Tax(kind="vat", ppm=200_000),))
)
STAGES = (
    "POST authorizations, asked", "POST authorizations, done", "GET authorizations, done", "start, asked",
    "start, answered", "Started, stored", "Ended, stored", "POST captures, asked", "POST captures, done",
    "POST releases, asked", "POST releases, done",
)  # fmt: skip
"""What has happened last when the back end is killed."""
ALONE = "start, answered", "Ended, stored"
"""Those that a kill before them, or one just after, may hide."""
RUNS = (
    pytest.param([each for each in STAGES if each not in ALONE], id="one after the other"),
    *(pytest.param([each], id=each, marks=() if each in ALONE else pytest.mark.long) for each in STAGES),
)


class PaidStation:
    """A station whose vehicle charges 10 Wh once it is asked to start. It repeats what was not answered, over as many
    connections as that takes. `reached` is called with what has happened."""

    def __init__(self, port: int, reached: Callable[[str], bool]) -> None:
        self._port, self._reached = port, reached
        self.starts: list[dict[str, Any]] = []
        self._events: list[tuple[str, dict[str, Any]]] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with BackendProcess.connect(self._port, NAME, None) as socket:  # type: ignore[arg-type]
                    await self._talk(socket)
            await asyncio.sleep(0.01)

    async def _talk(self, socket: websockets.ClientConnection) -> None:
        station = {"model": "M", "vendorName": "V"}
        await self._send(socket, "BootNotification", {"reason": "PowerUp", "chargingStation": station})
        while True:
            kind, number, *rest = json.loads(await socket.recv())
            if kind == 2:
                await self._answer(socket, number, *rest)
                continue
            assert kind == 3, rest
            if self._events and number == self._events[0][0]:
                (_, event) = self._events.pop(0)
                self._reached(f"{event['eventType']}, stored")
            if self._events:
                await self._send(socket, "TransactionEvent", self._events[0][1], self._events[0][0])

    async def _answer(self, socket: websockets.ClientConnection, number: str, action: str, payload: Any) -> None:
        if action != "RequestStartTransaction":
            await socket.send(json.dumps([4, number, "NotSupported", "", {}]))
            return
        self.starts.append(payload)
        self._events = [(f"event-{place}", self._event(payload, place)) for place in range(2)]
        if self._reached("start, asked"):
            return
        await socket.send(json.dumps([3, number, {"status": "Accepted"}]))
        self._reached("start, answered")
        await self._send(socket, "TransactionEvent", self._events[0][1], self._events[0][0])

    @staticmethod
    def _event(asked: dict[str, Any], place: int) -> dict[str, Any]:
        at = format_time(time.time_ns() // 1_000_000 - 20_000 * (1 - place))
        value = {"value": 10 * place, "measurand": "Energy.Active.Import.Register"}
        return {
            "eventType": ("Started", "Ended")[place],
            "timestamp": at,
            "triggerReason": ("RemoteStart", "EVCommunicationLost")[place],
            "seqNo": place,
            "transactionInfo": {"transactionId": "tx-1", "remoteStartId": asked["remoteStartId"]},
            "evse": {"id": 1, "connectorId": 1},
            "idToken": asked["idToken"],
            "meterValue": [{"timestamp": at, "sampledValue": [value]}],
        }

    @staticmethod
    async def _send(socket: websockets.ClientConnection, action: str, payload: Any, number: str = "boot") -> None:
        await socket.send(json.dumps([2, number, action, payload]))


@pytest.mark.requirement("R218")
@pytest.mark.parametrize("due", RUNS)
@pytest.mark.some(2)
async def test_a_payment_goes_on_where_a_killed_back_end_has_left_it(
    store_url: str, tmp_path: Path, pki: PkiTree, due: list[str]
) -> None:
    """What is held and taken is the provider's ledger, which counts twice what it is asked twice without a key."""
    provider, due = FakePayments(), list(due)
    server = TestServer(provider.application())
    await server.start_server()
    save_secret(tmp_path / "secret", TOKEN.encode())
    config = DirectPaymentConfig(
        url=str(server.make_url("")), secret_file=tmp_path / "secret", amount="30.00", currency="EUR",
        poll_interval_s=0.02,
    )  # fmt: skip
    store = Store(store_url)
    store.do(tariffs.add_plan, DEAR, 0)
    store.do(tariffs.assign, Scope(), DEAR.id, 0)
    killed = asyncio.Event()

    def start(port: int = 0) -> BackendProcess:
        payments = Payments(direct=config)
        return BackendProcess(tmp_path, store_url, pki.path("mo/root.pem"), port=port, payments=payments)

    backend = await asyncio.to_thread(start)

    def reached(stage: str) -> bool:
        if stage not in due:
            return False
        due.remove(stage)
        backend.kill()
        killed.set()
        return True

    provider.on_act = reached
    station = PaidStation(backend.port, reached)
    running = asyncio.create_task(station.run())
    about = NAME, 1, 30_000_000, "EUR", time.time_ns() // 1_000_000, str
    assert store.do(rows.open_payment, *about) is not None
    async with asyncio.timeout(60):
        while (found := store.do(rows.payment, 1)) is not None and found.state != "settled":
            assert not running.done(), running
            if found.state == "pending":
                provider.approve()
            if killed.is_set():
                killed.clear()
                backend = await asyncio.to_thread(start, backend.port)
            await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running  # its connection closes
    await server.close()
    assert due == []
    assert found is not None
    assert found.captured_micro == 6_000_000, "10 Wh at 600 EUR/kWh with tax"
    assert (provider.taken, provider.held, len(provider.holds), len(station.starts)) == (6, 0, 1, 1)
    store.close()
