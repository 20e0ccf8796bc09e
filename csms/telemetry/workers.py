"""Ingest workers: processes that read, check and store deliveries, each with its own connections to the database.

A vehicle's deliveries go to one worker as long as it lives (R171). When a worker ends, the others take over its
vehicles, and what it had not answered is given to them: records are stored once all the same. On PostgreSQL workers
share no lock: the database locks the rows of one boot. On SQLite they read and check beside each other, and take turns
to store.

DeliveryReception of a delivery: read, checked against its sender, and stored; in this process or in a worker.
"""

import asyncio
import logging
import os
import struct
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec import structs

from csms.db.store import Store
from csms.telemetry import store as rows
from csms.telemetry.rules import Delivery, DeliveryOutcome, owner, read_delivery, timely
from v2g import typed_json
from v2g.errors import CodecError, StoreError, UnstorableError
from v2g.io.runtime.supervision import Backoff, Supervisor
from v2g.text import printable


class DeliveryReception(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery. `outcome` is None where nothing was stored, since it is `malformed` or names a
    `foreign` vehicle. `refused`: index and reason of elements without a key. `asks`: the gateway expects an answer."""

    outcome: DeliveryOutcome | None = None
    malformed: str = ""
    foreign: str = ""
    refused: tuple[tuple[int, str], ...] = ()
    elements: int = 0
    asks: bool = False


async def keep(store: Store, arrival: rows.Arrival) -> DeliveryOutcome:
    """Store a delivery; what is mistimed or the database rejects goes into quarantine, or is refused. Raises
    StoreError."""
    arrival = structs.replace(arrival, delivery=timely(arrival.delivery, arrival.at_ms))
    try:
        return await store.gather_reports(rows.store, arrival)
    except UnstorableError:  # would come back with every attempt
        return await store.report(rows.store_each, arrival)


async def receive(
    payload: bytes, ev: str, store: Callable[[Delivery], Awaitable[DeliveryOutcome]]
) -> DeliveryReception:
    """Store a vehicle's delivery. Raises StoreError."""
    try:
        delivery = read_delivery(payload)
    except CodecError as error:
        return DeliveryReception(malformed=printable(str(error))[:200])
    foreign = min({whose for whose, _ in delivery.boots} - {ev}, default="")
    return DeliveryReception(
        outcome=None if foreign else await store(delivery),
        foreign=foreign,
        refused=delivery.refused,
        elements=len(delivery.elements),
        asks=delivery.asks,
    )


_log = logging.getLogger(__name__)

_LENGTH: Final = struct.Struct(">I")
_END_S: Final = 10.0
MAX_FRAME: Final = 64 * 2**20


class WorkerSettings(msgspec.Struct, frozen=True):
    """First message to a worker: the database, the file of its `store_key` (empty: the one in `data_dir`), and how
    telemetry is sealed."""

    url: str
    store_key: str
    data_dir: str
    sealed: bool
    key_days: int


class IngestJob(msgspec.Struct, frozen=True):
    """A vehicle's delivery, its number, time of arrival (UTC) and the sinks that get its records."""

    number: int
    ev: str
    payload: bytes
    at_ms: int
    sinks: tuple[str, ...]


class Done(msgspec.Struct, frozen=True):
    """Result of a job; without a reception the `error`: of the database, or of the program (`failed`)."""

    number: int
    reception: DeliveryReception | None
    error: str = ""
    failed: bool = False


encode: Final = msgspec.msgpack.Encoder().encode
_done = typed_json.packed(Done)


def frame(message: msgspec.Struct) -> bytes:
    """Return a message with its length."""
    content = encode(message)
    return _LENGTH.pack(len(content)) + content


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next message. Raises EOFError at the end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_FRAME:
            raise EOFError(f"a message of {length} bytes")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError(str(error)) from None


def count(threads: int) -> int:
    """Return the number of workers for `ingestion_worker.threads`: 0 means one for each core (R163)."""
    return threads or len(os.sched_getaffinity(0))


class _Worker:
    """A running worker, and the jobs that it has not done."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.input, self.output = process.stdin, process.stdout
        self.jobs: dict[int, tuple[IngestJob, asyncio.Future[DeliveryReception]]] = {}


async def _end(worker: _Worker) -> None:
    """End a worker; it finishes what it has begun, unless that takes too long."""
    worker.input.close()
    try:
        async with asyncio.timeout(_END_S):
            await worker.process.wait()
    except TimeoutError:
        worker.process.kill()
        await worker.process.wait()


class IngestWorkers:
    """Runs workers from `start` to `close`."""

    def __init__(self, settings: WorkerSettings, workers: int, supervisor: Supervisor) -> None:
        """`workers`: how many, at least 1."""
        self._settings, self._number = settings, workers
        self._supervisor = supervisor
        self._workers: dict[str, _Worker] = {}
        self._waiting: list[tuple[IngestJob, asyncio.Future[DeliveryReception]]] = []
        self._last = 0
        self._closed = False

    @property
    def running(self) -> dict[str, int]:
        """The process id of each running worker, by name."""
        return {name: each.process.pid for name, each in self._workers.items()}

    def start(self) -> None:
        """Start all workers; deliveries wait for the first."""
        for number in range(self._number):
            self._supervisor.keep(f"ingest worker {number}", partial(self._keep, f"worker-{number}"))

    async def receive(self, ev: str, payload: bytes, at_ms: int, sinks: Sequence[str]) -> DeliveryReception:
        """Have a vehicle's delivery stored. Raises StoreError."""
        self._last += 1
        done: asyncio.Future[DeliveryReception] = asyncio.get_running_loop().create_future()
        self._give(IngestJob(self._last, ev, payload, at_ms, tuple(sinks)), done)
        try:
            return await done
        except asyncio.CancelledError:  # without workers nothing else would let go of the delivery
            self._waiting = [each for each in self._waiting if each[1] is not done]
            raise

    async def close(self) -> None:
        """End all workers; they finish what they have begun."""
        self._closed = True
        await asyncio.gather(*(_end(each) for each in list(self._workers.values())))

    def _give(self, job: IngestJob, done: asyncio.Future[DeliveryReception]) -> None:
        if done.done():  # its caller has been cancelled
            return
        if not self._workers:
            self._waiting.append((job, done))
            return
        worker = self._workers[owner(job.ev, self._workers)]
        worker.jobs[job.number] = job, done
        worker.input.write(frame(job))

    async def _keep(self, name: str) -> None:
        """Run a worker, and another one when it ends."""
        backoff = Backoff()
        while not self._closed:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "csms.telemetry.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # a terminal's Ctrl-C is for the back end, which ends its workers
            )
            worker = _Worker(process)
            try:
                worker.input.write(frame(self._settings))
                await read_frame(worker.output)  # it is ready
                self._workers[name] = worker
                waiting, self._waiting = self._waiting, []
                for job, done in waiting:
                    self._give(job, done)
                while True:
                    self._finish(worker, _done(await read_frame(worker.output)))
                    backoff.reset()
            except EOFError:
                if not self._closed:
                    _log.warning("ingest %s has ended", name)
            finally:
                self._workers.pop(name, None)
                for job, done in worker.jobs.values():
                    self._give(job, done)
                await _end(worker)
            await asyncio.sleep(backoff.pause_s())

    @staticmethod
    def _finish(worker: _Worker, result: Done) -> None:
        _job, done = worker.jobs.pop(result.number)
        if done.done():
            return
        if result.reception is None:
            done.set_exception(RuntimeError(result.error) if result.failed else StoreError(result.error))
        else:
            done.set_result(result.reception)
