"""kill -9 at random points: what was confirmed to a station as stored is there, and nothing is there twice."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from sqlalchemy import Connection, select
from websockets.typing import Subprotocol

from csms.db.store import Store
from csms.settlements import store as records
from csms.transactions.events import read_samples
from csms.transactions.tables import transaction_events
from pki_tools.tree import PkiTree
from tests.csms.db.events import found_as
from tests.csms.killable import BackendProcess, survivors_killed
from tests.csms.killed import event_frame
from tests.csms.settlement.journals import booted, delivery, journal, transfer
from tests.csms.settlement.witness import witness
from tests.kills import MANY, Progress
from v2g.pki.keys import save_secret

__all__ = ["survivors_killed"]  # a fixture


BOOT = '[2,"boot","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"M","vendorName":"V"}}]'
VALUES = 2
"""Meter values in every event."""


class PersistentStation:
    """A station that repeats each event until it is answered, over as many connections as that takes (E04, E13)."""

    def __init__(self, name: str, ports: list[int]) -> None:
        self.name = name
        self.answered: list[tuple[str, int]] = []
        self.finish = asyncio.Event()
        self._ports = ports
        self._transaction, self._seq_no = 0, 0

    async def run(self) -> None:
        """Send until told to finish, and the last transaction has ended."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with self._connected() as socket:
                    await self._ask(socket, BOOT)
                    if await self._send_events(socket):
                        return
            await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        url = f"ws://127.0.0.1:{random.choice(self._ports)}/ocpp/{self.name}"
        protocols = [Subprotocol("ocpp2.1")]
        async with websockets.connect(url, subprotocols=protocols, compression=None, close_timeout=0.1) as socket:
            yield socket

    async def _send_events(self, socket: Any) -> bool:
        while True:
            last = self._seq_no == 9
            kind = "Started" if self._seq_no == 0 else "Ended" if last else "Updated"
            identifier = f"{self.name}-{self._transaction}"
            await self._ask(socket, event_frame(identifier, self._seq_no, kind))
            self.answered.append((identifier, self._seq_no))
            self._seq_no = 0 if last else self._seq_no + 1
            self._transaction += last
            if last and self.finish.is_set():
                return True

    async def _ask(self, socket: Any, frame: str) -> None:
        await socket.send(frame)
        while True:
            answer = json.loads(await socket.recv())
            if answer[0] in (3, 4):
                assert answer[0] == 3, answer
                return


def stored(connection: Connection) -> tuple[Counter[tuple[str, int]], Counter[tuple[str, int]]]:
    """Events and meter values, counted by transaction and seqNo."""
    events, values = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    there = transaction_events.c
    for transaction_id, seq_no, samples in connection.execute(
        select(there.transaction_id, there.seq_no, there.samples)
    ):
        events[transaction_id, seq_no] += 1
        values[transaction_id, seq_no] += len(read_samples(samples))
    return events, values


def check(store_url: str, stations: list[PersistentStation]) -> int:
    """Compare what is stored with what was answered; return how many events there were."""
    store = Store(store_url)
    events, values = store.do(stored)
    answered = [key for station in stations for key in station.answered]
    assert len(set(answered)) == len(answered)
    assert set(answered) == set(events)  # every station has finished, so nothing is in doubt
    assert set(events.values()) == {1}
    assert set(values.values()) == {VALUES}
    for transaction_id in sorted({transaction_id for transaction_id, _ in answered}):
        (found,) = store.do(found_as, transaction_id)
        assert (found["complete"], found["import_wh"], found["active"]) == (True, "9", False)
    store.close()
    return len(events)


@pytest.mark.parametrize("kills", [2, pytest.param(MANY, marks=[pytest.mark.long, pytest.mark.hours])])
async def test_a_killed_back_end_has_lost_nothing_acknowledged_and_counts_nothing_twice(
    store_url: str, tmp_path: Path, pki: PkiTree, kills: int
) -> None:
    seed, root = time.time_ns(), pki.path("mo/root.pem")
    chance = random.Random(seed)
    backend = await asyncio.to_thread(BackendProcess, tmp_path, store_url, root)
    stations = [PersistentStation(f"CS-{number}", [backend.port]) for number in range(4)]
    running = [asyncio.create_task(station.run()) for station in stations]
    progress = Progress(kills)
    for _ in range(kills):
        before = sum(len(station.answered) for station in stations)
        async with asyncio.timeout(600):
            while sum(len(station.answered) for station in stations) == before:
                await asyncio.sleep(0.001)
        await asyncio.sleep(chance.uniform(0, 0.03))
        backend.kill()
        backend = await asyncio.to_thread(BackendProcess, tmp_path, store_url, root, "", backend.port)
        progress(events=sum(len(station.answered) for station in stations))
    for station in stations:
        station.finish.set()
    async with asyncio.timeout(600):
        await asyncio.gather(*running)
    backend.kill()
    assert check(store_url, stations) >= kills, f"seed {seed}"


@pytest.mark.parametrize("kills", [pytest.param(each, marks=pytest.mark.long) for each in (2, 50)])
async def test_nodes_killed_and_added_under_load_lose_nothing(
    postgresql_databases: Any, redis_url: str, tmp_path: Path, pki: PkiTree, kills: int
) -> None:
    """Three nodes on one database and one bus; whichever dies, its stations go on at another."""
    chance, store_url, root = random.Random(7), postgresql_databases.create(), pki.path("mo/root.pem")
    start = partial(asyncio.to_thread, BackendProcess)
    save_secret(tmp_path / "store.key", b"7" * 64)  # the same for every node
    nodes = [await start(tmp_path / str(number), store_url, root, redis_url) for number in range(2)]
    ports = [node.port for node in nodes]
    stations = [PersistentStation(f"CS-{number}", ports) for number in range(4)]
    running = [asyncio.create_task(station.run()) for station in stations]
    for number in range(kills):
        await asyncio.sleep(chance.uniform(0.05, 0.2))
        nodes.append(await start(tmp_path / f"{number}+", store_url, root, redis_url))
        ports.append(nodes[-1].port)
        victim = nodes.pop(chance.randrange(len(nodes)))
        ports.remove(victim.port)
        victim.kill()
    for station in stations:
        station.finish.set()
    async with asyncio.timeout(600):
        await asyncio.gather(*running)
    for node in nodes:
        node.kill()
    assert check(store_url, stations) > 0


class BookKeeper:
    """A station that delivers the journals of its sessions line by line, at whichever node answers."""

    def __init__(self, number: int, ports: list[int], sessions: int) -> None:
        name = f"CS-{number}"
        names = [f"{number:02x}{session:02x}" for session in range(sessions)]
        emaid = f"DEV2GC{number:08}"
        self.books = {session: journal(session, name, nth=nth, emaid=emaid) for nth, session in enumerate(names)}
        self.answered = 0
        self.name = name
        self._ports = ports

    async def run(self) -> None:
        """Deliver all; a line that was not answered is delivered again."""
        waiting = [(session, line) for place in range(len(journal())) for session, line in self._each(place)]
        while waiting:
            url = f"ws://127.0.0.1:{random.choice(self._ports)}/ocpp/{self.name}"
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.1")], close_timeout=0.1) as socket:
                    await booted(socket)
                    while waiting:
                        session, line = waiting[0]
                        answer = await transfer(socket, delivery([line], session, self.name))
                        assert answer["status"] == "Accepted", answer
                        waiting.pop(0)
                        self.answered += 1
            await asyncio.sleep(0.002)

    def _each(self, place: int) -> Iterator[tuple[str, bytes]]:
        return ((session, lines[place]) for session, lines in self.books.items())


@pytest.mark.parametrize("sessions", [2, pytest.param(10, marks=pytest.mark.long)])
async def test_journals_are_whole_when_a_node_is_killed_in_the_middle_of_them(
    postgresql_databases: Any, redis_url: str, tmp_path: Path, pki: PkiTree, sessions: int
) -> None:
    """Ten stations with sessions on two nodes that share a database; one node dies, nothing is refused or missing."""
    store_url, root = postgresql_databases.create(), pki.path("mo/root.pem")
    save_secret(tmp_path / "store.key", b"7" * 64)
    start = partial(asyncio.to_thread, BackendProcess)
    nodes = [await start(tmp_path / str(number), store_url, root, redis_url) for number in range(2)]
    ports = [node.port for node in nodes]
    stations = [BookKeeper(number, ports, sessions) for number in range(10)]
    store = Store(store_url)
    for station in stations:
        for session, lines in station.books.items():
            store.do(witness, lines, station.name, session)
    store.close()
    total = sum(len(lines) for station in stations for lines in station.books.values())
    running = [asyncio.create_task(station.run()) for station in stations]
    while sum(station.answered for station in stations) < total // 2:
        assert not any(each.done() and each.exception() for each in running)
        await asyncio.sleep(0.001)
    ports.remove(nodes[0].port)
    nodes[0].kill()
    async with asyncio.timeout(600):
        await asyncio.gather(*running)
    for station in stations:
        assert station.answered == sum(len(lines) for lines in station.books.values())
    nodes[1].kill()
    store = Store(store_url)
    for station in stations:
        for session, lines in station.books.items():
            assert store.do(records.journal_lines, station.name, session) == lines
            assert len(store.do(records.find_settlements, session)) == 1
    store.close()
