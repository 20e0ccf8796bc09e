"""Ingest workers: a vehicle has one, a killed one's share moves, and nothing is lost or stored twice."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from csms.app import worker_settings
from csms.cluster.bus import LocalBus
from csms.cluster.feed import Feed
from csms.cluster.precedence import Precedence
from csms.config import CsmsConfig, look
from csms.db.store import Store
from csms.metrics import Metrics
from csms.telemetry.config import IngestionWorker
from csms.telemetry.ingest import Ingest
from csms.telemetry.latest import LatestStates
from csms.telemetry.rules import owner, read_delivery
from csms.telemetry.tables import telemetry
from csms.telemetry.workers import DeliveryReception, IngestWorkers, WorkerSettings, count
from pki_tools.tree import PkiTree
from tests.csms.api_support import T0
from tests.csms.db.telemetry_values import made
from tests.csms.program import Program, write_config
from tests.csms.support import make_config
from tests.waiting import until
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import Supervisor
from v2g.telemetry.delivery import DeliveryNotice, encode_delivery, encode_notice
from v2g.telemetry.signals import EV_PATTERN, encode_record

VEHICLES = [f"EV-{number}" for number in range(2000)]
TOLERANCE = 6
"""Standard deviations by which a share may exceed 1/n: 4 are exceeded in one of 100 runs of so many shares."""


def most(workers: int) -> float:
    """The largest share of `VEHICLES` that one of so many workers may have."""
    share = 1 / workers
    return share + TOLERANCE * (share * (1 - share) / len(VEHICLES)) ** 0.5


@pytest.mark.long
@pytest.mark.requirement("R171")
@settings(max_examples=30, deadline=None)
@given(names=st.sets(st.text("abcdefghij0123456789", min_size=1), min_size=2, max_size=8), data=st.data())
def test_only_a_lost_workers_share_moves_and_it_is_about_one_in_n(names: set[str], data: st.DataObject) -> None:
    before = {ev: owner(ev, names) for ev in VEHICLES}
    lost = data.draw(st.sampled_from(sorted(names)))
    after = {ev: owner(ev, names - {lost}) for ev in VEHICLES}
    moved = [ev for ev in VEHICLES if before[ev] != after[ev]]
    assert moved == [ev for ev in VEHICLES if before[ev] == lost]
    assert len(moved) / len(VEHICLES) <= most(len(names))
    assert max(Counter(after.values()).values()) / len(VEHICLES) <= most(len(names) - 1)


@pytest.mark.requirement("R171")
@given(st.from_regex(EV_PATTERN), st.lists(st.text(min_size=1, max_size=8), min_size=1, unique=True))
def test_all_agree_on_the_worker_of_a_vehicle(ev: str, names: list[str]) -> None:
    assert owner(ev, names) == owner(ev, names[::-1])


@pytest.mark.requirement("R159", "R163")
def test_there_are_as_many_as_configured_or_as_cores(tmp_path: Path, pki: PkiTree) -> None:
    assert (count(3), count(0)) == (3, len(os.sched_getaffinity(0)))
    config: CsmsConfig = make_config(tmp_path, pki, ingestion_worker=IngestionWorker(threads=2))
    assert list(look(config)) == []
    assert worker_settings(config).url == f"sqlite:///{config.data_dir / 'csms.sqlite3'}"


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R163")
@pytest.mark.parametrize(("threads", "workers"), [(0, len(os.sched_getaffinity(0))), (3, 3)])
async def test_a_back_end_starts_a_process_for_each_core_or_as_many_as_configured(
    tmp_path: Path, pki: PkiTree, store_url: str, threads: int, workers: int
) -> None:
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    config = make_config(
        tmp_path, pki, store_url=store_url, store_key=key,
        ingestion_worker=IngestionWorker(threads=threads),
    )  # fmt: skip
    program = await Program.start(write_config(tmp_path / "csms.yaml", config), tmp_path / "csms.events", pki)
    children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children")

    def running() -> list[str]:
        paths = (Path("/proc") / each / "cmdline" for each in children.read_text().split())
        return [each.read_text() for each in paths]

    try:
        await until(lambda: len([each for each in running() if "csms.telemetry.worker" in each]) >= workers)
        assert len(running()) == workers
    finally:
        code = await program.stop()
    assert code == 0


class Ingesting:
    """An ingest with workers, and its database."""

    def __init__(self, ingest: Ingest, workers: IngestWorkers, latest: LatestStates, store: Store) -> None:
        self.ingest, self.workers, self.latest, self._store = ingest, workers, latest, store

    def change(self, statement: str) -> None:
        self._store.do(lambda connection: connection.execute(text(statement)))

    def stored(self) -> list[tuple[str, int]]:
        query = select(telemetry.c.ev, telemetry.c.seq).order_by(telemetry.c.ev, telemetry.c.seq)
        return [(row.ev, row.seq) for row in self._store.do(lambda connection: connection.execute(query).all())]


async def _take(_: object) -> None:
    """What follows from records and checkpoints is of other tests."""


@pytest.fixture
async def ingesting(owner_url: str, tmp_path: Path) -> AsyncIterator[Ingesting]:
    store, clock = Store(owner_url), Clock()
    observe = EventLog("csms", clock, tmp_path / "events.jsonl")
    supervisor = Supervisor(observe)
    workers = IngestWorkers(WorkerSettings(owner_url, "", str(tmp_path), sealed=True, key_days=30), 2, supervisor)
    feed = Feed(LocalBus("node"), clock.utc_ms)
    latest = LatestStates(store, Clock())
    workers.start()
    ingest = Ingest(store, clock, observe, feed, Precedence(most=10_000), latest, Metrics(), _take, _take, (), workers)
    yield Ingesting(ingest, workers, latest, store)
    await workers.close()
    await supervisor.close()
    ingest.close()
    observe.close()
    store.close()


def delivery(ev: str, first: int, number: int) -> bytes:
    found = (made(seq, T0 + seq, {"battery.soc": 50.0}, ev=ev) for seq in range(first, first + number))
    return encode_delivery(encode_record(each) for each in found)


@pytest.mark.requirement("R97", "R171")
@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.some(1)
async def test_a_killed_worker_loses_nothing_and_its_vehicles_move(ingesting: Ingesting, kills: int) -> None:
    """Killed while vehicles deliver."""
    evs = VEHICLES[:20]

    async def drive(ev: str) -> None:
        for first in range(1, 201, 10):
            reception = await ingesting.ingest.receive(ev, delivery(ev, first, 10))
            assert reception.outcome is not None
            assert reception.outcome.marks[0].contiguous == first + 9

    async def kill() -> None:
        for _ in range(kills):
            await until(lambda: len(ingesting.workers.running) >= 2)
            victim = sorted(ingesting.workers.running)[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(ingesting.workers.running[victim], signal.SIGKILL)
            while victim in ingesting.workers.running:
                await asyncio.sleep(0.001)

    killing = asyncio.create_task(kill())
    await asyncio.gather(*map(drive, evs))
    await killing
    assert ingesting.stored() == [(ev, seq) for ev in sorted(evs) for seq in range(1, 201)]


@pytest.mark.long
async def test_without_workers_a_delivery_is_held_only_as_long_as_its_sender_waits(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _: None)
    workers = IngestWorkers(
        WorkerSettings("postgresql://nobody@127.0.0.1:1/none", "", str(tmp_path), sealed=True, key_days=30),
        1,
        supervisor,
    )
    workers.start()
    payload = delivery("EV-1", 1, 50)
    before = sys.getrefcount(payload)
    sender = asyncio.create_task(workers.receive("EV-1", payload, 1, ()))
    await asyncio.sleep(0)
    assert sys.getrefcount(payload) > before
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    del sender
    await asyncio.sleep(0)
    gc.collect()
    held = sys.getrefcount(payload) - before
    await workers.close()
    await supervisor.close()
    assert held == 0


@pytest.mark.long
async def test_a_job_that_no_database_can_take_is_answered_all_the_same(ingesting: Ingesting) -> None:
    async with asyncio.timeout(60):
        job = ingesting.workers.receive("EV-1", delivery("EV-1", 1, 1), 2**63, ())
        (answer,) = await asyncio.gather(job, return_exceptions=True)
    if isinstance(answer, DeliveryReception):  # PostgreSQL says that the number is too large, SQLite's driver fails
        assert answer.outcome is not None
        assert [key for key, _ in answer.outcome.refused] == [("EV-1", 1, 1)]
    else:
        assert isinstance(answer, RuntimeError)
    assert (await ingesting.ingest.receive("EV-1", delivery("EV-1", 1, 1))).outcome is not None


@pytest.mark.long
async def test_a_record_that_the_database_rejects_does_not_stop_the_delivery(
    ingesting: Ingesting, owner_url: str
) -> None:
    ingesting.change(
        "CREATE TRIGGER poison BEFORE INSERT ON telemetry WHEN NEW.seq = 2 BEGIN SELECT RAISE(ABORT, 'poison'); END"
        if owner_url.startswith("sqlite:")
        else "ALTER TABLE telemetry ADD CONSTRAINT poison CHECK (seq <> 2)"
    )
    outcome = (await ingesting.ingest.receive("EV-1", delivery("EV-1", 1, 3))).outcome
    assert outcome is not None
    assert ([each.key[2] for each in outcome.fresh], [each.key[2] for each in outcome.quarantine]) == ([1, 3], [2])


@pytest.mark.long
@pytest.mark.requirement("R97")
async def test_what_follows_from_records_that_were_stored_without_a_result_is_done_later(ingesting: Ingesting) -> None:
    """As when a worker is killed between its commit and its answer."""
    streamed: list[bytes] = []
    ingesting.ingest.subscribe(streamed.extend)
    payload = delivery("EV-1", 1, 3)
    await ingesting.workers.receive("EV-1", payload, T0, ())
    assert ingesting.latest.get("EV-1") is None
    await ingesting.ingest.receive("EV-1", payload)
    state = ingesting.latest.get("EV-1")
    assert state is not None
    assert state.position == (1, 3)
    assert streamed == []
    await ingesting.ingest.receive("EV-1", delivery("EV-1", 2, 1))
    assert state.position == (1, 3)


@pytest.mark.long
@pytest.mark.requirement("R171")
async def test_a_delivery_of_several_vehicles_is_shared_out(ingesting: Ingesting) -> None:
    parts = [
        encode_record(made(seq, T0 + seq, {"battery.soc": 1.0}, ev=ev))
        for ev in ("EV-1", "EV-2", "EV-3")
        for seq in (1, 2)
    ]
    body = encode_delivery([*parts, encode_notice(DeliveryNotice("EV-2", 1, ((3, 7),))), parts[0]])
    outcome = await ingesting.ingest.store(read_delivery(body))
    assert (len(outcome.fresh), outcome.duplicates, outcome.missing) == (6, 1, [("EV-2", 1, 3, 7)])
    assert [(each.ev, each.contiguous) for each in outcome.marks] == [("EV-1", 2), ("EV-2", 7), ("EV-3", 2)]
    foreign = await ingesting.ingest.receive("EV-9", delivery("EV-1", 3, 1))
    assert (foreign.outcome, foreign.foreign) == (None, "EV-1")
    assert (await ingesting.ingest.receive("EV-9", b"nonsense")).malformed
