"""Brokers that are killed, back ends that are away or cannot store, gateways that die: every record, each once.

Real processes and a real mosquitto; what was in an outbox is compared with what is in the database.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from csms.telemetry.tables import telemetry
from pki_tools.tree import PkiTree
from tests.csms.databases import Cluster, running_cluster
from tests.kills import MANY, Progress
from tests.telemetry.nothing_lost import STEP_S, Field, Lives, field
from tests.telemetry.sender import ledger
from v2g_cli.demo.broker import Broker

pytestmark = pytest.mark.requirement("R82", "R97", "R98", "R111")


@pytest.mark.long
@pytest.mark.requirement("R100")
async def test_every_record_is_stored_once_through_kills_absence_and_a_full_disk(
    tmp_path: Path, pki: PkiTree, broker: Broker
) -> None:
    """One of each misfortune, with two nodes that share the records."""
    async with field(tmp_path, pki, broker, f"sqlite:///{tmp_path / 'csms.sqlite3'}", nodes=2) as here:
        for _ in range(2):
            here.add_sender(1500, per_s=300)
        await here.progress(100)
        await here.restart_broker()
        await here.progress(100)
        await here.leave_the_back_end_away(1.0)
        await here.progress(100)
        here.add_sender(300, per_s=300)  # on a slow machine the others' records may be stored already
        await here.fill_the_disk(here.until(lambda: here.said("handling of MQTT messages failed")), then_kill=False)
        await here.progress(100)
        # what the broker has been given is nowhere any more
        await here.fill_the_disk(asyncio.sleep(1.0), then_kill=True)
        await here.progress(100)
        await here.kill_one_node()
        await here.kill_a_sender()
        await here.finish()
        assert here.judge() >= 3300


@pytest.mark.long
@pytest.mark.parametrize("nodes", [1, 2])
async def test_a_hundred_thousand_records_are_stored_each_once(
    tmp_path: Path, pki: PkiTree, broker: Broker, nodes: int
) -> None:
    """One node with SQLite on a disk that fills up; two with a PostgreSQL server that dies."""
    chance = random.Random(seed := time.time_ns())
    with contextlib.ExitStack() as stack:
        cluster: Cluster | None = None
        url = f"sqlite:///{tmp_path / 'csms.sqlite3'}"
        if nodes > 1:
            cluster = stack.enter_context(running_cluster(fsync=True))
            url = cluster.url(cluster.create())
        async with field(tmp_path, pki, broker, url, nodes) as here:
            supervisor = asyncio.create_task(here.supervise())
            for _ in range(4):
                here.add_sender(25_000, per_s=250)

            async def break_the_store() -> None:
                if cluster is None:
                    await here.fill_the_disk(asyncio.sleep(chance.uniform(0.5, 4.0)), then_kill=chance.random() < 0.5)
                else:
                    await asyncio.to_thread(cluster.stop)
                    await asyncio.sleep(chance.uniform(0.0, 3.0))
                    await asyncio.to_thread(cluster.start)

            misfortunes: list[Callable[[], Awaitable[None]]] = [
                here.restart_broker,
                lambda: here.leave_the_back_end_away(chance.uniform(0.0, 5.0)),
                here.kill_one_node,
                here.kill_a_sender,
                break_the_store,
            ]
            count = 0
            while not all(sender.ended for sender in here.senders):
                await chance.choice(misfortunes)()
                count += 1
                await asyncio.sleep(chance.uniform(0.0, 6.0))
            await here.finish()
            supervisor.cancel()
            assert here.judge() >= 100_000, f"seed {seed}"
            sys.stderr.write(f"{here.stored()} records, {count} misfortunes, seed {seed}\n")


async def kill_again_and_again(here: Field, times: int) -> None:
    """Kill a gateway in each part of its life, and the broker and the back end now and then; compare the end."""
    chance = random.Random(seed := time.time_ns())
    count = times * 40
    here.add_sender(count, per_s=400, mortal=True)
    (gateway,) = here.senders
    assert isinstance(gateway, Lives)
    shown, folder = Progress(times), here.orders[0].folder
    while gateway.kills < times and len(ledger(folder)) < count:  # on a slow machine lives are longer: they use it up
        if gateway.kills % 4 == 0:  # at least these lives have records, however slow the machine is
            known = len(ledger(folder))
            await here.until(lambda known=known: gateway.ended or len(ledger(folder)) > known)  # type: ignore[misc]
        await asyncio.sleep(chance.choice([0.0, 0.05, 0.1, 0.2]) + chance.uniform(0, 0.1))
        gateway.kill()
        gateway.start()
        if gateway.kills % 50 == 5:
            await here.restart_broker()
        if gateway.kills % 50 == 10:
            await here.leave_the_back_end_away(chance.uniform(0, 0.5))
        shown(stored=here.stored())
    deadline = time.monotonic() + 300
    while len(ledger(folder)) < count or not gateway.ended:
        assert time.monotonic() < deadline, f"seed {seed}"
        if gateway.ended:
            gateway.start()
        await asyncio.sleep(STEP_S)
    here.judge()
    rows = here.store.do(lambda c: c.execute(select(telemetry.c.boot, telemetry.c.seq, telemetry.c.at_ms)).all())
    boots: dict[int, list[tuple[int, int]]] = {}
    for row in rows:
        boots.setdefault(row.boot, []).append((row.seq, row.at_ms))
    assert len(boots) > times // 10  # a life that ends at once has no records
    for found in boots.values():
        assert sorted(seq for seq, _ in found) == [*range(1, len(found) + 1)]  # without gaps
        assert len({at_ms - seq for seq, at_ms in found}) == 1  # as the source made them


@pytest.mark.long
@pytest.mark.requirement("R83", "R99", "R145")
async def test_a_gateway_that_is_killed_20_times_loses_nothing(tmp_path: Path, pki: PkiTree, broker: Broker) -> None:
    async with field(tmp_path, pki, broker, f"sqlite:///{tmp_path / 'csms.sqlite3'}") as here:
        await kill_again_and_again(here, 20)


@pytest.mark.long
async def test_a_gateway_that_is_killed_1000_times_loses_nothing(tmp_path: Path, pki: PkiTree, broker: Broker) -> None:
    async with field(tmp_path, pki, broker, f"sqlite:///{tmp_path / 'csms.sqlite3'}") as here:
        await kill_again_and_again(here, MANY)
