"""`v2g station` and the back end as processes, over sockets, through a bad network, killed with -9: nothing is lost."""

import asyncio
import json
import multiprocessing
import random
import shutil
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from csms.db.store import Store
from csms.tokens import store as tokens
from csms.tokens.rules import Token
from csms.transactions import store as transactions
from csms.transactions.tables import transaction_events, transaction_faults
from csms.transactions.tables import transactions as table
from pki_tools.tree import PkiTree
from tests.csms.killable import BackendProcess, survivors_killed
from tests.kills import MANY, Progress
from tests.proxy import WAYS, Proxy
from tests.waiting import until
from v2g_station.kernel.kernel import Keep
from v2g_station.simulator.fleet import METERS
from v2g_station.store import StationStore

__all__ = ["survivors_killed"]  # a fixture

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.csms.killable", "v2g_cli.main", "v2g_station.simulator.fleet"])

SCALE: Final = 30
"""How much faster than in the field time limits pass here: an answer may take a second, a ping comes every second."""

VARIABLES: Final = {
    "OCPPCommCtrlr.WebSocketPingInterval": "1",
    "OCPPCommCtrlr.RetryBackOffWaitMinimum": "0",
    "OCPPCommCtrlr.RetryBackOffRandomRange": "1",
    "OCPPCommCtrlr.RetryBackOffRepeatTimes": "0",
    "OCPPCommCtrlr.MessageAttempts[TransactionEvent]": "100",
    "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]": "0",
    "SampledDataCtrlr.TxUpdatedInterval": "1",
}
CARDS: Final = 3
BUSY: Final = f"""
arrivals_per_hour = 3600.0
energy_kwh = [0.05, 0.5]
linger_minutes = [0.0, 1.0]
authorize_first = 0.0
plug_and_charge = 0.0
tokens = {CARDS}
offline_per_day = 0.0
faults_per_day = 0.0
"""


def run_v2g(arguments: list[str]) -> None:
    """Be `v2g` in a process of its own."""
    from v2g_cli.main import main

    sys.argv = ["v2g", *arguments]
    main()


class Ride:
    """Both programs, and the proxy between them."""

    def __init__(self, folder: Path, store_url: str, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self._folder, self._store_url, self._root = folder, store_url, root
        self._memory = folder / "stations" / "SIM1.sqlite3"
        self._behaviour = folder / "behaviour.toml"
        self._behaviour.write_text(BUSY)
        store = Store(store_url)
        for number in range(CARDS):
            store.do(tokens.put, Token("ISO14443", f"CA4D{number:04d}", "Accepted"))
        store.close()
        memory = StationStore(self._memory)
        memory.keep(Keep("variables", name, value.encode()) for name, value in VARIABLES.items())
        memory.close()

    async def start(self) -> None:
        """Start everything."""
        self.back_end = await self._back_end(0)
        self.proxy = Proxy(self.back_end.port, self.chance)
        await self.proxy.start()
        self.start_station()

    async def _back_end(self, port: int) -> BackendProcess:
        return await asyncio.to_thread(BackendProcess, self._folder, self._store_url, self._root, "", port)

    def start_station(self, *more: str) -> None:
        """Start the station."""
        url = f"ws://127.0.0.1:{self.proxy.port}/ocpp"
        words = ["station", "--url", url, "--store", str(self._memory.parent), "--behaviour", str(self._behaviour)]
        words += ["--message-timeout", str(30 // SCALE), "--speed", "600", "--no-live"]
        words += ["--seed", str(self.chance.randrange(1000)), "--report", str(self._folder / "report.json"), *more]
        self.station = _FORKS.Process(target=run_v2g, args=(words,), daemon=True)
        self.station.start()

    async def first_event(self) -> None:
        """Wait until somebody charges."""
        store = Store(self._store_url)
        await until(lambda: store.do(lambda c: c.execute(select(transaction_events.c.id).limit(1)).all()))
        store.close()

    async def kill_station(self) -> None:
        """kill -9, and start it again."""
        self.station.kill()
        await asyncio.to_thread(self.station.join)
        self.start_station()

    async def kill_back_end(self) -> None:
        """kill -9, and start it again."""
        port = self.back_end.port
        await asyncio.to_thread(self.back_end.kill)
        self.back_end = await self._back_end(port)

    def weather(self) -> None:
        """Let the network become better or worse."""
        match self.chance.randrange(6):
            case 0:
                self.proxy.late_s = self.chance.choice((0.01, 0.4, 30 / SCALE))
            case 1:
                self.proxy.be_deaf(self.chance.choice(WAYS))
            case 2:
                self.proxy.cutting = True
            case 3:
                self.proxy.cut()
            case _:
                self.proxy.heal()

    async def come_to_an_end(self) -> int:
        """Let nobody come any more and everything be reported; judge it; return how many transactions there were."""
        self._behaviour.write_text("arrivals_per_hour = 0.0\noffline_per_day = 0.0\n")
        self.proxy.heal()
        self.station.kill()
        report = self._folder / "report.json"
        for _ in range(60):
            await asyncio.to_thread(self.station.join)
            if report.exists() and json.loads(report.read_bytes())["waiting"] == 0:
                break
            self.start_station("--duration", "1.5")
        await self.proxy.close()
        self.back_end.kill()
        store = Store(self._store_url)
        try:
            return self._judge(store)
        finally:
            store.close()

    def _judge(self, store: Store) -> int:
        memory = StationStore(self._memory)
        saved = memory.saved()
        memory.close()
        assert not saved.get("outbox")
        assert not saved.get("transactions")
        assert not saved.get("refused")
        faults = set(store.do(lambda c: c.execute(select(transaction_faults.c.kind)).scalars().all()))
        assert faults <= {"clock_backwards"}, "a station's simulated time begins again with its process"
        there = transaction_events.c
        found = store.do(lambda c: c.execute(select(table.c.transaction_id)).scalars().all())
        taken: dict[int, Decimal] = {}
        for name in found:
            rows = store.do(
                lambda c, name=name: c.execute(
                    select(there.seq_no, there.kind).where(there.transaction_id == name).order_by(there.id)
                ).all()
            )
            assert [row.seq_no for row in rows] == list(range(len(rows)))
            assert [row.kind for row in rows] == ["Started", *["Updated"] * (len(rows) - 2), "Ended"]
            one = store.do(transactions.get, "SIM1", name)
            assert one is not None
            assert one.closed_ms is None
            assert one.evse_id is not None
            if one.import_wh is not None and one.import_start_wh is not None:
                energy = Decimal(one.import_wh.value) - Decimal(one.import_start_wh.value)
                taken[one.evse_id] = taken.get(one.evse_id, Decimal(0)) + energy
        for key, body in saved[METERS].items():
            counted = int(body.split()[0])  # some energy flows between the last reading and the order to stop
            assert 0 < taken.get(int(key), Decimal(0)) * 1000 <= counted
        return len(found)


@pytest.mark.long
@pytest.mark.parametrize("rounds", [2, min(MANY // 4, 200)])
async def test_nothing_is_lost_on_a_bad_network_between_programs_that_are_killed(
    tmp_path: Path, empty_database: Path, pki: PkiTree, rounds: int
) -> None:
    shutil.copy(empty_database, tmp_path / "csms.sqlite3")
    ride = Ride(tmp_path, f"sqlite:///{tmp_path / 'csms.sqlite3'}", pki.path("mo/root.pem"), rounds)
    await ride.start()
    await ride.first_event()
    progress = Progress(rounds)
    for number in range(rounds):
        await asyncio.sleep(ride.chance.uniform(0.05, 0.6 if rounds < 10 else 2.0))
        ride.weather()
        await (ride.kill_back_end() if number % 2 else ride.kill_station())
        progress(connections=ride.proxy.connections)
    assert await ride.come_to_an_end() > 0
