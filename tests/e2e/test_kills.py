"""Charger, vehicle or back end is killed with -9 at a random moment of a session of the demo: its settlement stands.

`V2G_KILLS=200 .venv/bin/pytest -s -m long tests/e2e/test_kills.py` kills as often and shows how it goes on.
"""

import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from sqlalchemy import Connection, Row, Table, select

from csms.books.tables import postings
from csms.db.store import open_store
from csms.settlements.tables import settlements
from csms.transactions.tables import transactions
from tests.kills import MANY, Progress
from v2g.energy.settlement.bundle import SETTLEMENT, verify_bundle
from v2g.energy.settlement.checkpoints import read_copies
from v2g.energy.settlement.report import Report
from v2g.energy.settlement.signed_meter import DIRECTIONS
from v2g.io.storage.journal_file import read_files
from v2g.iso15118.signed_requests import read_confirmation
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.scenario import SCENARIOS
from v2g_cli.demo.timeline import Timeline

SESSION_S: Final = 5.0
"""About how long a session takes here, from plugging in to its settlement."""


class Killing(Conductor):
    """A run in which one program is killed some time after plugging in, and starts again: a vehicle does not."""

    def __init__(self, folder: RunFolder, timeline: Timeline, victim: str, after_s: float) -> None:
        super().__init__(folder, timeline)
        self._victim, self._after_s, self._began = victim, after_s, 0.0
        self.bundles: list[tuple[Path, Report]] = []

    def _choose_fate(self) -> None:
        self._began = time.monotonic()
        self._fate.append(self._kill)

    def _kill(self) -> bool:
        if time.monotonic() < self._began + self._after_s:
            return False
        self.programs[self._victim].stop(signal.SIGKILL)
        if self._victim == "secc":
            self._start_secc()
        elif self._victim == "csms":
            self._start_csms()
        return True

    def _follow_settlement(self) -> None:
        """Verify every bundle, with the vehicle's copies, and compare it with the back end's settlement."""
        super()._follow_settlement()
        copies = self.folder.path / "evcc" / "checkpoints.jsonl"
        for bundle in sorted((self.folder.path / "secc").glob("**/settlements/*")):
            report = verify_bundle(
                read_files(bundle),
                confirmations=read_confirmation,
                most_reaction_ms=3_600_000,
                copies=list(read_copies(copies.read_bytes(), name=str(copies))) if copies.exists() else (),
            )
            self.bundles.append((bundle, report))


def _rows(connection: Connection, table: Table) -> Sequence[Row[Any]]:
    return connection.execute(select(table)).all()


def killed(folder: Path, seed: int, name: str = "discharge") -> str:
    """Play a session of a scenario in which something is killed, and return its name.

    Each session that began has a bundle; the back end settled it alike, and posted it once. Each transaction has ended.
    """
    chance = random.Random(seed)
    victim = chance.choice(("secc", "secc", "evcc", "csms"))
    scenario = msgspec.structs.replace(next(each for each in SCENARIOS if each.name == name), lower_limit=False)
    made = RunFolder(folder, scenario, 900.0)
    made.prepare()
    run = Killing(made, Timeline(time.monotonic(), "none"), victim, chance.uniform(0.0, SESSION_S))
    run.play()
    assert not list(folder.glob("secc/**/journals/*.jsonl")), "a journal without a bundle"
    store = open_store(f"sqlite:///{folder}/csms/csms.sqlite3", folder / "csms")
    try:
        settled = {row.session_id: row.document.encode() for row in store.do(_rows, settlements)}
        posted = [row.session_id for row in store.do(_rows, postings)]
        ongoing = [row.transaction_id for row in store.do(_rows, transactions) if row.active]
    finally:
        store.close()
    assert settled == {bundle.name: (bundle / SETTLEMENT).read_bytes() for bundle, _ in run.bundles}
    assert sorted(posted) == sorted(settled)
    assert ongoing == []
    for _, report in run.bundles:
        begin, end = report.settlement.begin, report.settlement.end
        by_lines = {
            way: sum(line.energy_mwh for line in report.settlement.lines if line.direction == way) for way in DIRECTIONS
        }
        assert by_lines == {"import": end.import_mwh - begin.import_mwh, "export": end.export_mwh - begin.export_mwh}
    return victim


@pytest.mark.e2e
@pytest.mark.requirement("R27", "R31")
@pytest.mark.long
@pytest.mark.parametrize("kills", [5, pytest.param(min(MANY, 200), marks=pytest.mark.hours)])
def test_a_session_is_settled_whatever_is_killed(tmp_path: Path, kills: int) -> None:
    progress = Progress(kills)
    for seed in range(kills):
        killed(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))
        progress()


@pytest.mark.e2e
@pytest.mark.requirement("R199")
@pytest.mark.long
def test_a_session_over_ocpp_1_6_is_settled_whatever_is_killed(tmp_path: Path) -> None:
    for seed in range(3):
        killed(tmp_path / str(seed), seed, "ocpp16")
