"""Stores that earlier releases have written, opened by this one (R133, R135)."""

import tarfile
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from csms.accounts.rules import Role
from csms.db.backup import restore
from csms.db.store import HEAD, Store, open_engine, open_store, revision_of
from csms.db.store_key import open_store_key
from csms.telemetry.tables import telemetry_aggregates
from evcc.pauses import PauseFile
from secc.evse.paused_session_store import PausedSessionFile
from secc.hardware.check_log import load_checks
from tests.csms.api_support import ask
from tests.csms.conftest import cluster, start
from tests.csms.databases import Cluster
from tests.csms.fixtures import Start
from tests.csms.support import TOKENS
from v2g.io.storage.outbox import Outbox
from v2g_station.store import StationStore

__all__ = ["cluster", "start"]

pytestmark = pytest.mark.requirement("R133", "R135")

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "stores"
VEHICLE: Final = "/vehicles/ev-7f3a"
AGGREGATES: Final = f"{VEHICLE}/aggregates?signal=battery.soc"
SESSION: Final = "1701bb9487043be7"


@pytest.fixture(params=["0.2.0"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of stores of a release."""
    with tarfile.open(VECTORS / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path / "older", filter="data")
    return tmp_path / "older"


async def test_a_back_end_has_the_transactions_settlements_and_telemetry_of_before(
    older: Path, start: Start, tmp_path: Path
) -> None:
    (older / "csms").rename(tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    async with start() as csms:
        found = {}
        for path in ("/transactions", "/settlements", VEHICLE, AGGREGATES):
            async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as answer:
                found[path] = await answer.json()
        (transaction,) = found["/transactions"]
        assert (transaction["station_id"], transaction["active"]) == ("CS-V2G-0001", False)
        (settlement,) = found["/settlements"]
        assert settlement["session_id"] == SESSION
        assert found[VEHICLE]["values"]["battery.soc"]["value"] == 76.3
        first = found[AGGREGATES][0]
        assert (first["minimum"], first["maximum"], first["number"]) == (55.0, 60.97, 11)
        assert csms.events("task_failed") == []
    former = open_engine(f"sqlite:///{tmp_path}/data/csms.sqlite3.revision-0042")  # for a way back
    with former.connect() as connection:
        assert revision_of(connection) == "0042"
    former.dispose()
    store = open_store("", tmp_path / "data")
    assert store.do(revision_of) == HEAD
    _, lost = await open_store_key(store, None, tmp_path / "data", alone=True)
    store.close()
    assert not lost


def test_a_backup_is_restored_into_either_database(older: Path, tmp_path: Path, cluster: Cluster) -> None:
    """Its aggregates are marked as sealed."""
    for url in (f"sqlite:///{tmp_path}/restored.sqlite3", cluster.url(cluster.create())):
        assert restore(url, older / "csms.backup") > 500
        store = Store(url)
        assert store.do(revision_of) == HEAD
        assert store.do(lambda c: c.execute(select(telemetry_aggregates.c.sealed)).scalars().all()) == [True] * 49
        store.close()


def test_a_charger_resumes_what_paused(older: Path) -> None:
    """The session, its transaction at the back end, the profiles set by it, and the journal that is not sent yet."""
    paused = PausedSessionFile(older / "secc").load()
    assert paused is not None
    assert paused.session_id.hex() == SESSION
    assert [each.failed for each in load_checks(older / "secc")] == ["", "", ""]
    store = StationStore(older / "secc" / "station.sqlite3")
    saved = store.saved()
    assert list(saved["managed"]) == [SESSION]
    assert len(saved["profiles"]) == 3
    assert store.taken() != {}
    store.close()


def test_a_vehicle_resumes_what_paused(older: Path) -> None:
    stored = PauseFile(older / "evcc" / "paused.json").load()
    assert stored is not None
    assert stored.resume is not None
    assert stored.resume.session_id.hex() == SESSION
    assert stored.charged_mwh > 0


async def test_a_gateway_delivers_what_waited(older: Path) -> None:
    box = await Outbox.open(older / "gateway" / "outbox.sqlite3", "EV-1", 1_795_613_165)
    assert [each.body for each in await box.pending()] == [b"record 3", b"record 4", b"record 5", b"urgent"]
    assert box.boot > 1_795_613_164
    await box.close()
