"""Whatever network, clocks and power do: each transaction arrives whole, once, in order, and costs what it should."""

import asyncio
import itertools
import os
import random
import shutil
from pathlib import Path

import pytest

from csms.config import CsmsConfig
from csms.tokens.rules import TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.support import make_config
from tests.e2e.chaos.faults import Fault, happen, some
from tests.e2e.chaos.judge import judge
from tests.e2e.chaos.world import CARDS, Setting, world
from tests.virtual_time import in_simulated_time
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_station.simulator.behaviour import Behaviour

BUSY = Behaviour(
    arrivals_per_hour=60, energy_kwh=(0.1, 2.0), vehicle_kw=(20, 60), linger_minutes=(0, 2), plug_and_charge=0.0,
    tokens=CARDS, offline_per_day=20, faults_per_day=20,
)  # fmt: skip

BEGINS = tuple(parse_time(each) for each in ("2026-03-29T00:40:00Z", "2026-10-25T00:40:00Z", "2026-12-31T23:50:00Z"))
"""Before summer time, before its end, before the year's (local time of the station is Berlin's)."""


VERSIONS: tuple[Version, ...] = ("2.0.1", "2.1")

WORLDS = int(os.environ.get("V2G_WORLDS", "3000"))
"""How many the long test makes."""
PARTS = 30


def by_chance(seed: int) -> tuple[Setting, list[Fault]]:
    """Return a world and what goes wrong in it."""
    chance = random.Random(seed)
    variables = {
        "ClockCtrlr.TimeZone": "Europe/Berlin",
        "SampledDataCtrlr.TxUpdatedInterval": chance.choice(("10", "60")),
        "TxCtrlr.ResumptionTimeout": chance.choice(("0", "300")),
        "TxCtrlr.TxStartPoint": chance.choice(("PowerPathClosed", "EVConnected", "Authorized")),
        "AlignedDataCtrlr.Interval": chance.choice(("0", "60")),
    }
    begin, version = chance.choice(BEGINS), chance.choice(VERSIONS)
    return Setting(behaviour=BUSY, seed=seed, utc_ms=begin, variables=variables, version=version), some(chance)


class Ground:
    """Where worlds are made, each in a folder of its own."""

    def __init__(self, folder: Path, pki: PkiTree, database: Path) -> None:
        self._folder, self._pki, self._database = folder, pki, database
        self._numbers = itertools.count()

    def config(self) -> tuple[Path, CsmsConfig]:
        """Return a new folder, and a back end's configuration with its database in it."""
        folder = self._folder / str(next(self._numbers))
        tokens = tuple(TokenEntry(id_token=f"CA4D{number:04d}", type="ISO14443") for number in range(CARDS))
        config = make_config(folder, self._pki, unknown_stations="accept", tokens=tokens)
        config.data_dir.mkdir(mode=0o700, parents=True)
        shutil.copy(self._database, config.data_dir / "csms.sqlite3")
        return folder, config

    def live_through(self, setting: Setting, faults: list[Fault]) -> int:
        """Let everything happen, then let all be well, and judge; return how many transactions there were."""

        async def story() -> int:
            folder, config = self.config()
            async with world(folder, config, setting) as found:
                await asyncio.sleep(300)
                for fault in faults:
                    await happen(found, fault)
                await found.settle()
                return judge(found)

        return in_simulated_time(story())


@pytest.fixture
def ground(tmp_path: Path, pki: PkiTree, empty_database: Path) -> Ground:
    """Where worlds are made."""
    return Ground(tmp_path, pki, empty_database)


def test_a_quiet_day_is_reported(ground: Ground) -> None:
    setting = Setting(behaviour=BUSY, seed=1, utc_ms=BEGINS[0])
    assert ground.live_through(setting, [Fault("heal", 0, 0, 1200)]) > 8


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", range(6))
def test_everything_is_reported_whatever_goes_wrong(ground: Ground, seed: int) -> None:
    ground.live_through(*by_chance(seed))


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_everything_is_reported_whatever_goes_wrong_in_many_worlds(ground: Ground, part: int) -> None:
    for seed in range(100 + part, 100 + WORLDS, PARTS):
        setting, faults = by_chance(seed)
        try:
            ground.live_through(setting, faults)
        except AssertionError as error:
            raise AssertionError(f"{setting} {faults}") from error
