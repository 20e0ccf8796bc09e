"""Nodes of the back end and stations of OCPP 1.6 are cut off at any point: each transaction is there once (R198)."""

import asyncio
import contextlib
import json
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from sqlalchemy import select
from websockets.typing import Subprotocol

from csms.db.store import Store
from csms.transactions.tables import transactions as transactions_
from pki_tools.tree import PkiTree
from tests.csms.db.events import found_as
from tests.csms.killable import BackendProcess, survivors_killed
from v2g.ocpp.times import format_time
from v2g.pki.keys import save_secret

__all__ = ["survivors_killed"]  # a fixture

pytestmark = pytest.mark.requirement("R198")

BOOT = '[2,"boot","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'
READINGS = 6


class OlderStation:
    """A station that repeats each message of a transaction until it is answered, and forgets all but those when its
    power fails, which it does at any point."""

    def __init__(self, name: str, ports: list[int]) -> None:
        self.name = name
        self.numbers: list[int] = []
        self.finish = asyncio.Event()
        self._ports = ports
        self._message, self._sent, self._unanswered = 0, 0, False

    async def run(self) -> None:
        """Send until told to finish, and the last transaction has ended."""
        number = 0
        while not self._finished:
            url = f"ws://127.0.0.1:{random.choice(self._ports)}/ocpp/{self.name}"
            with contextlib.suppress(OSError, websockets.ConnectionClosedError, websockets.InvalidMessage):
                protocols = [Subprotocol("ocpp1.6")]
                async with websockets.connect(
                    url, subprotocols=protocols, compression=None, close_timeout=0.1
                ) as socket:
                    await self._ask(socket, BOOT)
                    while not self._finished:
                        frame, self._unanswered = self._frame(number), True
                        if random.random() < 0.05:
                            await socket.send(frame)
                            socket.transport.abort()
                        answer = await self._ask(socket, frame)
                        self._unanswered = False
                        if self._message == 0:
                            number = answer["transactionId"]
                            self.numbers.append(number)
                        self._message = (self._message + 1) % (READINGS + 2)
                        self._sent += 1
            await asyncio.sleep(0.002)

    @property
    def _finished(self) -> bool:
        """Whether it may stop: between transactions, and with nothing that the back end may have and did not answer."""
        return self.finish.is_set() and self._message == 0 and not self._unanswered

    def _frame(self, number: int) -> str:
        at = format_time(1_767_225_600_000 + 1000 * self._sent)
        match self._message:
            case 0:
                action, payload = (
                    "StartTransaction",
                    {"connectorId": 1, "idTag": "CARD", "meterStart": 0, "timestamp": at},
                )
            case 7:
                action, payload = "StopTransaction", {"transactionId": number, "meterStop": 7, "timestamp": at}
            case wh:
                values = [{"timestamp": at, "sampledValue": [{"value": str(wh)}]}]
                action, payload = "MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": values}
        return json.dumps([2, str(self._sent), action, payload])

    async def _ask(self, socket: Any, frame: str) -> Any:
        await socket.send(frame)
        while True:
            answer = json.loads(await socket.recv())
            if answer[0] in (3, 4):
                assert answer[0] == 3, answer
                return answer[2]


def check(store_url: str, stations: list[OlderStation]) -> None:
    """Every transaction is stored once, with all its events and both registers."""
    store = Store(store_url)
    numbers = [number for station in stations for number in station.numbers]
    assert len(set(numbers)) == len(numbers) > 0
    booked = store.do(lambda connection: connection.execute(select(transactions_.c.transaction_id)).scalars().all())
    assert sorted(map(int, booked)) == sorted(numbers)
    for number in numbers:
        (found,) = store.do(found_as, str(number))
        assert (found["complete"], found["active"], len(found["events"])) == (True, False, READINGS + 2), found
        assert (found["import_start_wh"], found["import_wh"]) == ("0", "7")
    store.close()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)])
async def test_a_killed_back_end_books_each_transaction_of_1_6_once(
    store_url: str, tmp_path: Path, pki: PkiTree, kills: int
) -> None:
    seed, root = time.time_ns(), pki.path("mo/root.pem")
    chance = random.Random(seed)
    backend = await asyncio.to_thread(BackendProcess, tmp_path, store_url, root)
    stations = [OlderStation(f"CS-{number}", [backend.port]) for number in range(3)]
    running = [asyncio.create_task(station.run()) for station in stations]
    for _ in range(kills):
        before = sum(len(station.numbers) for station in stations)
        async with asyncio.timeout(600):
            while sum(len(station.numbers) for station in stations) == before:
                assert not [each.exception() for each in running if each.done()]
                await asyncio.sleep(0.001)
        await asyncio.sleep(chance.uniform(0, 0.03))
        backend.kill()
        backend = await asyncio.to_thread(BackendProcess, tmp_path, store_url, root, "", backend.port)
    for station in stations:
        station.finish.set()
    async with asyncio.timeout(600):
        await asyncio.gather(*running)
    backend.kill()
    check(store_url, stations)


@pytest.mark.long
async def test_two_nodes_killed_in_turn_book_each_transaction_of_1_6_once(
    postgresql_databases: Any, redis_url: str, tmp_path: Path, pki: PkiTree
) -> None:
    chance, store_url, root = random.Random(7), postgresql_databases.create(), pki.path("mo/root.pem")
    start = partial(asyncio.to_thread, BackendProcess)
    save_secret(tmp_path / "store.key", b"7" * 64)
    nodes = [await start(tmp_path / str(number), store_url, root, redis_url) for number in range(2)]
    ports = [node.port for node in nodes]
    stations = [OlderStation(f"CS-{number}", ports) for number in range(4)]
    running = [asyncio.create_task(station.run()) for station in stations]
    for number in range(10):
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        victim = number % 2
        nodes[victim].kill()
        nodes[victim] = await start(tmp_path / f"{number}+", store_url, root, redis_url)
        ports[victim] = nodes[victim].port
    for station in stations:
        station.finish.set()
    async with asyncio.timeout(600):
        await asyncio.gather(*running)
    for node in nodes:
        node.kill()
    check(store_url, stations)
