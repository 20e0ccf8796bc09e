"""A small fleet at two nodes of a back end, one of which stores by two processes: PostgreSQL, Redis and mosquitto."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select, text

from benchmarks.gateway import deliveries, plain_broker
from csms.accounts.rules import Role
from csms.app import running
from csms.config import CsmsConfig
from csms.db.store import Store
from csms.telemetry.config import IngestionWorker, MqttSource
from csms.telemetry.subscriber import SLOTS
from csms.telemetry.tables import telemetry
from pki_tools.tree import PkiTree
from tests.csms.api_support import ask, read
from tests.csms.databases import Databases
from tests.csms.support import TOKENS, Running, make_config

pytestmark = pytest.mark.one_worker("fleet at two nodes")

VEHICLES, RECORDS, ROUNDS = 100, 10, 3
TOGETHER = [f"together-{number}" for number in range(12)]
BATCH = 100

COUNTED = """
CREATE SEQUENCE writes;
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM nextval('writes'); RETURN NEW; END$$;
CREATE TRIGGER counted BEFORE INSERT OR UPDATE ON telemetry_states FOR EACH ROW EXECUTE FUNCTION counted();
"""
"""Lets the database count writes of latest states."""


class Fleet(msgspec.Struct, frozen=True):
    """What became of a fleet: what its program says; nodes that have answered each vehicle; records that are stored;
    the processor time (s) of each process that stores, for deliveries at once; writes of latest states, and a vehicle's
    state that is read at once."""

    said: dict[str, float]
    nodes: dict[str, set[str]]
    stored: int
    workers_s: list[float]
    writes: int
    state: dict[str, object]


def spent_s() -> list[float]:
    """Return the processor time of each process that stores for this one."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = [Path("/proc") / each for each in children]
    return [
        sum(int(task.read_text().split()[0]) for task in each.glob("task/*/schedstat")) / 1e9
        for each in found
        if "csms.telemetry.worker" in (each / "cmdline").read_text()
    ]


async def deliver(csms: Running, ev: str) -> None:
    (body,) = deliveries(ev, 1)
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.ADMIN], body=body) as answer:
        assert answer.ok, await answer.text()


async def lives(csms: Running, store: Store, port: int, log: Path) -> Fleet:
    slots = text("SELECT count(*) FROM leases WHERE name LIKE 'telemetry slot %' GROUP BY node")
    while len(shares := store.do(lambda c: c.execute(slots).scalars().all())) < 2 or sum(shares) < SLOTS:
        await asyncio.sleep(0.1)
    store.do(lambda connection: connection.execute(text(COUNTED)))
    command = [sys.executable, "-m", "benchmarks.load.gateway_vehicles", *map(str, (port, VEHICLES, RECORDS, ROUNDS))]
    fleet = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    said = json.loads((await fleet.communicate())[0])
    nodes: dict[str, set[str]] = defaultdict(set)
    for node, ev in re.findall(r"Received PUBLISH from (\S+) \(.*vehicle/([^/]+)/marks'", log.read_text()):
        nodes[ev].add(node)
    before = spent_s()
    await asyncio.gather(*(deliver(csms, ev) for ev in TOGETHER))
    after = spent_s()
    stored = store.do(lambda connection: len(connection.execute(select(telemetry.c.seq)).all()))
    return Fleet(
        said, nodes, stored, [late - early for early, late in zip(before, after, strict=True)],
        store.do(lambda connection: connection.execute(text("SELECT last_value FROM writes")).scalar_one()),
        await read(csms, f"/vehicles/{TOGETHER[0]}"),
    )  # fmt: skip


@contextlib.asynccontextmanager
async def node(folder: Path, pki: PkiTree, **more: object) -> AsyncIterator[Running]:
    folder.mkdir()
    config: CsmsConfig = make_config(folder, pki, api={"requests_per_s": 1e4, "requests_at_once": 1000}, **more)
    async with running(config, folder / "events.jsonl") as csms:
        yield Running(csms, config, folder / "events.jsonl", pki)


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, pki: PkiTree, postgresql_databases: Databases, redis_url: str
) -> Fleet:
    folder, url = tmp_path_factory.mktemp("fleet"), postgresql_databases.create(owner=True)
    key = folder / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)

    async def run(port: int) -> Fleet:
        mqtt = MqttSource(host="127.0.0.1", port=port, without_tls=True, stream=False)
        both = {"store_url": url, "store_key": key, "mqtt": mqtt, "bus_url": redis_url, "bus_without_password": True}
        one, two = ({"node": f"node-{each}", "ingestion_worker": IngestionWorker(threads=each)} for each in (1, 2))
        store = Store(url)
        try:
            async with (
                asyncio.timeout(120),
                node(folder / "two", pki, **both, **two) as csms,
                node(folder / "one", pki, **both, **one),
            ):
                return await lives(csms, store, port, folder / "mosquitto.log")
        finally:
            store.close()

    with plain_broker(folder, f"user root\nlog_dest file {folder / 'mosquitto.log'}\nlog_type all\n") as port:
        return asyncio.run(run(port))


@pytest.mark.requirement("R110", "R176")
def test_a_fleet_of_vehicles_with_connections_of_their_own_is_stored_whole(fleet: Fleet) -> None:
    assert fleet.said["covered"] == VEHICLES * RECORDS * ROUNDS
    assert fleet.stored == VEHICLES * RECORDS * ROUNDS + len(TOGETHER) * BATCH


@pytest.mark.requirement("R187")
def test_each_vehicle_stays_with_one_of_the_nodes(fleet: Fleet) -> None:
    found = {ev: nodes for ev, nodes in fleet.nodes.items() if ev.startswith("EV-")}
    assert len(found) == VEHICLES
    assert {len(nodes) for nodes in found.values()} == {1}
    assert len({node for nodes in found.values() for node in nodes}) == 2


@pytest.mark.requirement("R163", "R172")
def test_two_processes_store_what_comes_at_once(fleet: Fleet) -> None:
    """What a record costs, alone and at once, `benchmarks/gateway.py` measures."""
    assert len(fleet.workers_s) == 2
    assert min(fleet.workers_s) > max(fleet.workers_s) / len(TOGETHER), "one of them stores nothing"


@pytest.mark.requirement("R174")
def test_latest_states_are_read_at_once_and_written_far_less_often_than_records_come(fleet: Fleet) -> None:
    assert fleet.writes < fleet.stored / 4
    values = fleet.state["values"]
    assert isinstance(values, dict)
    assert values["battery.soc"]["value"] == 80.0
