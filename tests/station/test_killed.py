"""A station killed with -9 in the middle of its work loses nothing that it reported as stored, and repeats nothing."""

import asyncio
import contextlib
import itertools
import multiprocessing
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kills import MANY, Progress
from tests.secc.backend import Backend, backend
from tests.secc.busy_station import come_and_go, make
from v2g.ocpp.times import parse_time
from v2g_station.kernel.kernel import Keep
from v2g_station.store import StationStore


async def kill_after(lines: int, store: Path, port: int) -> tuple[str, int]:
    """Run a busy station, kill it after some events; return its transaction and the last number it reported."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.secc.busy_station", str(store), str(port),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    transaction = (await process.stdout.readline()).decode().split()[1]
    for _ in range(lines):
        await process.stdout.readline()
    process.kill()
    rest = (await process.stdout.read()).decode()
    await process.wait()
    numbers = [int(line) for line in rest.split("\n")[:-1]]
    return transaction, max(numbers, default=lines)


async def deliver_rest(store: Path, csms: Backend) -> None:
    """Start a station on the same store, which ends what was open, and let it deliver everything."""
    station = make(store, csms.port)
    run = asyncio.create_task(station.run())
    assert await station.drain(120)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await station.close()


@pytest.mark.some(1)
@pytest.mark.parametrize("online", [False, True], ids=["offline", "while delivering"])
async def test_nothing_is_lost_or_repeated(tmp_path: Path, online: bool) -> None:
    store = tmp_path / "station.db"
    reported: dict[str, int] = {}
    async with backend() as csms:
        port = csms.port if online else 1
        for lines in (1, 17, 60):
            transaction, last = await kill_after(lines, store, port)
            reported[transaction] = last
        await deliver_rest(store, csms)
    events = csms.all("TransactionEvent")
    by_number = itertools.groupby(events, key=lambda e: (e["transaction_info"]["transaction_id"], e["seq_no"]))
    once = [next(group) for _, group in by_number]
    assert len(events) - len(once) <= (3 if online else 0), "only the message in flight at a kill may come twice"
    for transaction, last in reported.items():
        mine = [e for e in once if e["transaction_info"]["transaction_id"] == transaction]
        assert [e["seq_no"] for e in mine] == list(range(len(mine))), "in order, without a gap"
        assert [e["event_type"] for e in mine] == ["Started", *["Updated"] * (len(mine) - 2), "Ended"]
        assert len(mine) - 2 >= last, "everything that was reported as stored arrived"
        assert mine[-1]["trigger_reason"] == "AbnormalCondition"
        assert mine[-1]["transaction_info"]["stopped_reason"] == "Reboot"
        assert mine[-1]["meter_value"][0]["sampled_value"][0]["value"] == (len(mine) - 2) / 1000
    lines = [line for d in csms.all("DataTransfer") for line in d["data"]["lines"]]
    for session in {line.split()[0] for line in lines}:
        numbers = [int(line.split()[1]) for line in lines if line.startswith(session)]
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        assert online or numbers == sorted(set(numbers))


@pytest.mark.long
async def test_a_transaction_goes_on_over_kills_where_it_may(tmp_path: Path) -> None:
    """E17: the same contract comes back after each kill; all of it is one transaction, each event sent once."""
    path = tmp_path / "station.db"
    store = StationStore(path)
    store.keep([Keep("variables", "TxCtrlr.ResumptionTimeout", b"86400")])
    store.close()
    names = {(await kill_after(lines, path, 1))[0] for lines in (1, 17)}
    async with backend() as csms:
        station = make(path, csms.port)
        names.add(station.started("last", "EMAID1"))
        station.ended("last", trigger="StopAuthorized", reason="Local")
        await station.close()
        await deliver_rest(path, csms)
    assert len(names) == 1
    events = csms.all("TransactionEvent")
    assert [e["seq_no"] for e in events] == list(range(len(events)))
    assert [e["event_type"] for e in events] == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
    assert {e["transaction_info"]["transaction_id"] for e in events} == names
    assert len([e for e in events if e["trigger_reason"] == "TxResumed"]) == 2


async def killed_at_random(store: Path, csms: Backend, kills: int) -> dict[str, int]:
    """Run a station again and again on the same memory and kill it somewhere, at its start, its work or its delivery.

    Returns the last number that it reported of each transaction.
    """
    chance = random.Random(kills)
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.secc.busy_station"])
    reported: dict[str, int] = {}
    progress = Progress(kills)
    for number in range(1, kills + 1):
        here, there = forks.Pipe(duplex=False)
        process = forks.Process(target=come_and_go, args=(store, csms.port if chance.random() < 0.7 else 1, there))
        process.start()
        there.close()
        if chance.random() < 0.7:
            await asyncio.to_thread(here.poll, 20)
        await asyncio.sleep(0.15 * chance.random())
        process.kill()
        await asyncio.to_thread(process.join)
        with contextlib.suppress(EOFError):
            while True:
                transaction, number = here.recv()
                reported[transaction] = number
        here.close()
        progress(transactions=len(reported), events=len(csms.all("TransactionEvent")))
        if number % 100 == 0:  # a queue that is never emptied thins out in the end
            await deliver_rest(store, csms)
    return reported


def once_and_in_order(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the events of each transaction, those that came twice in a row only once."""
    by_number = itertools.groupby(events, key=lambda e: (e["transaction_info"]["transaction_id"], e["seq_no"]))
    found: dict[str, list[dict[str, Any]]] = {}
    for (transaction, _), group in by_number:
        found.setdefault(transaction, []).append(next(group))
    return found


@pytest.mark.parametrize("kills", [10, pytest.param(MANY, marks=pytest.mark.long)])
async def test_a_station_killed_anywhere_reports_every_event_in_order(tmp_path: Path, kills: int) -> None:
    store = tmp_path / "station.db"
    async with backend() as csms:
        reported = await killed_at_random(store, csms, kills)
        await deliver_rest(store, csms)
    events = csms.all("TransactionEvent")
    found = once_and_in_order(events)
    assert len(found) > kills / 2, "it came to work"
    assert len(events) - sum(map(len, found.values())) <= kills, "only the message in flight at a kill may come twice"
    for transaction, mine in found.items():
        assert [e["seq_no"] for e in mine] == list(range(len(mine))), "in order, without a gap"
        assert [e["event_type"] for e in mine] == ["Started", *["Updated"] * (len(mine) - 2), "Ended"]
        assert len(mine) > reported.get(transaction, 0), "everything that was reported as stored arrived"
    assert reported.keys() <= found.keys()
    begun = [parse_time(mine[0]["timestamp"]) for mine in found.values()]
    assert begun == sorted(begun), "transactions in the order in which they began"
