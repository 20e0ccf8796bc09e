"""What several tests of nothing lost use."""

import asyncio
import contextlib
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from csms.db.store import Store
from csms.db.store_key import load_store_key
from csms.telemetry.seal import open_seal, seal_of
from csms.telemetry.tables import telemetry, telemetry_marks, telemetry_quarantine
from pki_tools.tree import PkiTree
from tests.csms.program import write_config
from tests.csms.support import make_config
from tests.telemetry.brokers import access, source
from tests.telemetry.sender import Order, ledger
from v2g_cli.demo.broker import Broker

STEP_S = 0.05
PROGRESS_S = 120.0
"""In so long something is stored while gateways drain."""


class Process:
    """A program of ours, and what it said."""

    def __init__(self, *arguments: str, before: Sequence[str] = ()) -> None:
        self._arguments = [*before, sys.executable, *arguments]
        self.said = ""
        self.kills = 0
        self.start()

    def start(self) -> None:
        """Start it, again after a kill."""
        self.process = subprocess.Popen(self._arguments, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, pipe: Any) -> None:
        for line in pipe:
            self.said += line
        pipe.close()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.kills += 1

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, which is a good one."""
        code = self.process.poll()
        assert code in (None, 0), self.said[-2000:]
        return code == 0


class Lives:
    """A sender that lives again and again, each time in a process that one process forks."""

    def __init__(self, order: Path) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "tests.telemetry.sender", str(order), "forking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.kills = 0
        self.said = ""
        self.start()

    def start(self) -> None:
        """Begin a life."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write("\n")
        self._mother.stdin.flush()
        self._process = int(self._mother.stdout.readline())

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        if not self.ended:
            os.kill(self._process, signal.SIGKILL)
            self.kills += 1
        while not self.ended:
            time.sleep(0.001)

    @property
    def ended(self) -> bool:
        """Whether this life has ended."""
        return not Path(f"/proc/{self._process}").exists()

    def close(self) -> None:
        """End everything."""
        self.kill()
        self._mother.communicate()


class Field:
    """Senders, a broker, and a back end of one node or more."""

    def __init__(
        self,
        folder: Path,
        pki: PkiTree,
        broker: Broker,
        store_url: str,
        nodes: int,
        config: Mapping[str, Any] | None = None,
        sender: Sequence[str] = (),
    ) -> None:
        """`config`: more of the nodes' configuration; `sender`: what comes before the command of a sender."""
        self.folder, self._pki, self.broker = folder, pki, broker
        self._sender = sender
        more = dict(config or {})
        self._names = ["csms-ingest", *(f"csms-{number}" for number in range(2, nodes + 1))]
        self._admit(broker)
        key = folder / "store.key"
        key.touch(mode=0o600)
        key.write_text("ab" * 32)
        self.store = Store(store_url)
        self.nodes: list[Process] = []
        for name in self._names:
            place = folder / name
            place.mkdir()
            settings = {"mqtt": source(broker, pki, name), "store_url": store_url, "store_key": key, "node": name}
            written = write_config(place / "csms.yaml", make_config(place, pki, **settings, **more))
            # -B: on the disk that is full, half a module's bytecode would be written
            self.nodes.append(Process("-B", "-m", "csms", "--config", str(written)))
        self.senders: list[Process | Lives] = []
        self.orders: list[Order] = []

    def _admit(self, broker: Broker) -> None:
        """Let every node do what the first may: each has a certificate of its own."""
        acl = broker.folder / "acl"
        rules = acl.read_text()
        mine = rules.partition("\n\n")[0]
        acl.write_text("".join(mine.replace("csms-ingest", name) + "\n\n" for name in self._names[1:]) + rules)
        broker.stop()
        self.broker = broker.again()

    def add_sender(self, count: int, per_s: int, *, mortal: bool = False) -> None:
        """Start a vehicle's gateway; a `mortal` one begins its lives quickly, seals its outbox, and sends JSON."""
        ev = f"EV-{len(self.senders) + 1}"
        folder = self.folder / ev
        folder.mkdir()
        order = Order(ev, count, per_s, folder, access(self.broker, self._pki, ev), mortal, not mortal)
        path = folder / "order.json"
        path.write_bytes(msgspec.json.encode(order, enc_hook=str))
        self.orders.append(order)
        command = "-m", "tests.telemetry.sender", str(path)
        self.senders.append(Lives(path) if mortal else Process(*command, before=self._sender))

    def stored(self) -> int:
        """How many records are in the database."""
        return self.store.do(lambda c: c.execute(select(func.count()).select_from(telemetry)).scalar_one())

    async def progress(self, records: int) -> None:
        """Wait until so many more are stored, or everything is."""
        wanted = min(self.stored() + records, sum(order.count for order in self.orders))
        await self.until(lambda: self.stored() >= wanted)

    def said(self, text: str) -> bool:
        """Return whether a node has said something."""
        return any(text in node.said for node in self.nodes)

    async def until(self, reached: Callable[[], bool], seconds: float = 240.0) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.report()
            await asyncio.sleep(STEP_S)

    def report(self) -> str:
        """Return what everybody said last."""
        return "\n".join(each.said[-1500:] for each in (*self.nodes, *self.senders))

    async def restart_broker(self) -> None:
        """Kill the broker; it comes back with nothing in its memory."""
        self.broker.process.kill()
        self.broker.process.wait()
        await asyncio.sleep(0.3)
        self.broker = await asyncio.to_thread(self.broker.again)

    async def leave_the_back_end_away(self, seconds: float) -> None:
        """Kill every node and start them later."""
        for node in self.nodes:
            node.kill()
        await asyncio.sleep(seconds)
        for node in self.nodes:
            node.start()

    async def supervise(self) -> None:
        """Start nodes again that ended by themselves, as a service manager does: without a database they do not start.

        Runs until cancelled.
        """
        while True:
            for node in self.nodes:
                if (node.process.poll() or 0) > 0:
                    node.start()
            await asyncio.sleep(0.5)

    async def kill_one_node(self) -> None:
        """Kill a node, and start it when the others have gone on."""
        node = random.choice(self.nodes)
        node.kill()
        if len(self.nodes) > 1:
            await self.progress(100)
        node.start()

    async def kill_a_sender(self) -> None:
        """Kill a gateway that has not ended, and start it again."""
        alive = [each for each in self.senders if not each.ended]
        if alive:
            each = random.choice(alive)
            each.kill()
            each.start()

    async def fill_the_disk(self, lasting: Awaitable[None], *, then_kill: bool) -> None:
        """Let every write of the back end fail while that lasts, which ends by itself or with the end of every node."""
        for node in self.nodes:
            limit(node, 4096)
        await lasting
        if then_kill:
            await self.leave_the_back_end_away(0.0)
        else:
            for node in self.nodes:
                limit(node, resource.RLIM_INFINITY)

    async def finish(self) -> None:
        """Wait until every gateway says that the back end has everything, as long as it gets more."""
        stored = -1
        while not self._ended():
            before, stored = stored, self.stored()
            assert stored > before, self.report()
            with contextlib.suppress(AssertionError):
                await self.until(self._ended, PROGRESS_S)

    def _ended(self) -> bool:
        return all(sender.ended for sender in self.senders)

    def judge(self) -> int:
        """Compare outboxes and database; return how many records there are."""
        held = self.store.do(everything)
        promised: dict[tuple[str, int, int], str] = {}
        for order in self.orders:
            entries = ledger(order.folder)
            assert len(entries) == order.count
            promised |= {(order.ev, each.boot, each.seq): each.digest for each in entries}
        lost = promised.keys() - held.keys()
        assert not lost, f"{len(lost)} records are lost, such as {sorted(lost)[:5]}"
        assert {key: held[key] for key in promised} == promised
        untold = held.keys() - promised.keys()  # a kill came between outbox and ledger
        assert len(untold) <= sum(sender.kills for sender in self.senders)
        marks = self.store.do(lambda c: c.execute(select(telemetry_marks)).all())
        assert sum(mark.stored for mark in marks) == len(held)
        assert {(mark.missing, mark.conflicts, mark.quarantined) for mark in marks} == {(0, 0, 0)}
        assert all(mark.contiguous == mark.highest for mark in marks)
        assert not self.store.do(lambda c: c.execute(select(telemetry_quarantine)).all())
        return len(held)

    def close(self) -> None:
        """End everything."""
        for each in (*self.nodes, *self.senders):
            each.kill()
            if isinstance(each, Lives):
                each.close()
        self.broker.stop()
        self.store.close()


def limit(node: Process, size: float) -> None:
    """Let files of a process grow to so many bytes only."""
    _, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (int(size), hard))


def everything(connection: Connection) -> dict[tuple[str, int, int], str]:
    """Return all records by key, with the SHA-256 of what is stored; a key that stands twice is an error."""
    rows = connection.execute(select(telemetry)).all()
    opened = partial(seal_of(connection).open, connection)
    keys = [(row.ev, row.boot, row.seq) for row in rows]
    found = {key: hashlib.sha256(opened(row.document, *key)).hexdigest() for key, row in zip(keys, rows, strict=True)}
    assert len(found) == len(rows)
    return found


@contextlib.asynccontextmanager
async def field(
    folder: Path,
    pki: PkiTree,
    broker: Broker,
    store_url: str,
    nodes: int = 1,
    *,
    config: Mapping[str, Any] | None = None,
    sender: Sequence[str] = (),
) -> AsyncIterator[Field]:
    made = Field(folder, pki, broker, store_url, nodes, config, sender)
    try:
        key = load_store_key(folder / "store.key", folder)
        await open_seal(made.store, key, 0, 1, sealing=False)  # reads what the nodes seal
        yield made
    finally:
        made.close()
