"""A station killed with -9 in the middle of its work loses nothing that it reported as stored, and repeats nothing."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

import pytest

from secc.station import Hooks, Station, StationConfig
from tests.secc.backend import Backend, backend
from v2g.net.clock import Clock


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
    config = StationConfig(
        url=f"ws://127.0.0.1:{csms.port}/ocpp", identity="CS-V2G-0001", store=store, retry_minimum=0.01
    )
    station = Station(
        config, clock=Clock(), entropy=os.urandom, observe=lambda _: None, hooks=Hooks(), boot_id="boot-1"
    )
    station.recover()
    run = asyncio.create_task(station.run())
    assert await station.drain(60)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    station.close()


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
