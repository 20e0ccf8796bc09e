"""Stores that earlier releases have written, opened by this one (R133, R135)."""

import tarfile
from pathlib import Path
from typing import Final

import msgspec
import pytest
from sqlalchemy import select

from csms.accounts.rules import Role
from csms.db.backup import restore
from csms.db.store import HEAD, Store, open_engine, open_store, revision_of
from csms.key_adoption import open_store_key
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
from v2g.observe import Observe
from v2g_station.store import StationStore

__all__ = ["cluster", "start"]

pytestmark = pytest.mark.requirement("R133", "R135")

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "stores"
VEHICLE: Final = "/vehicles/ev-7f3a"
AGGREGATES: Final = f"{VEHICLE}/aggregates?signal=battery.soc"
SESSION: Final = "1701bb9487043be7"


class OlderBackEnd(msgspec.Struct, frozen=True):
    """What the store of a back end holds."""

    name: str
    revision: str
    session: str
    soc: float
    """Latest of the vehicle, %."""
    first: tuple[float, float, int]
    """Least and greatest of its first aggregate, of how many values."""
    aggregates: int
    to_pay: str
    """What the settlement was booked with, EUR."""


BACK_ENDS: Final = (
    OlderBackEnd("0.2.0", "0042", SESSION, 76.3, (55.0, 60.97, 11), 49, "4.59674"),
    OlderBackEnd("0060", "0060", "989998db85233600", 76.08, (55.0, 63.1, 14), 72, "4.766947"),
)


def extract(name: str, folder: Path) -> Path:
    """Return the folder of stores of a release, or of a revision of the database."""
    with tarfile.open(VECTORS / f"{name}.tar.gz") as archive:
        archive.extractall(folder / "older", filter="data")
    return folder / "older"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The folder of stores of 0.2.0."""
    return extract("0.2.0", tmp_path)


@pytest.mark.parametrize("before", BACK_ENDS, ids=lambda each: each.name)
async def test_a_back_end_has_the_transactions_settlements_and_telemetry_of_before(
    before: OlderBackEnd, start: Start, tmp_path: Path
) -> None:
    (extract(before.name, tmp_path) / "csms").rename(tmp_path / "data")
    (tmp_path / "data").chmod(0o700)
    async with start() as csms:
        found = {}
        postings = f"/settlements/{before.session}/postings"
        for path in ("/transactions", "/settlements", postings, VEHICLE, AGGREGATES):
            async with ask(csms, "GET", path, token=TOKENS[Role.ADMIN]) as answer:
                found[path] = await answer.json()
        (transaction,) = found["/transactions"]
        assert (transaction["station_id"], transaction["active"]) == ("CS-V2G-0001", False)
        (settlement,) = found["/settlements"]
        assert settlement["session_id"] == before.session
        (posting,) = found[postings]
        booked = {each["account"]: each["amount"] for each in posting["amounts"]}
        assert booked["driver"] == before.to_pay
        assert found[VEHICLE]["values"]["battery.soc"]["value"] == before.soc
        first = found[AGGREGATES][0]
        assert (first["minimum"], first["maximum"], first["number"]) == before.first
        assert csms.events("task_failed") == []
    former = open_engine(f"sqlite:///{tmp_path}/data/csms.sqlite3.revision-{before.revision}")  # for a way back
    with former.connect() as connection:
        assert revision_of(connection) == before.revision
    former.dispose()
    store = open_store("", tmp_path / "data")
    assert store.do(revision_of) == HEAD
    reported = list[Observe]()
    await open_store_key(store, None, tmp_path / "data", reported.append, alone=True)
    store.close()
    assert reported == []


@pytest.mark.parametrize("before", BACK_ENDS, ids=lambda each: each.name)
@pytest.mark.some(1)
def test_a_backup_is_restored_into_either_database(before: OlderBackEnd, tmp_path: Path, cluster: Cluster) -> None:
    """Its aggregates are marked as sealed; also where the database is there already, and empty."""
    backup = extract(before.name, tmp_path) / "csms.backup"
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("restored", "empty")] + [cluster.url(cluster.create())]
    Store(urls[1]).close()
    for url in urls:
        assert restore(url, backup) > 500
        store = Store(url)
        assert store.do(revision_of) == HEAD
        assert (
            store.do(lambda c: c.execute(select(telemetry_aggregates.c.sealed)).scalars().all())
            == [True] * before.aggregates
        )
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
    stored = PauseFile(older / "evcc" / "paused.json", lambda _: None).load()
    assert stored is not None
    assert stored.resume is not None
    assert stored.resume.session_id.hex() == SESSION
    assert stored.charged_mwh > 0


async def test_a_gateway_delivers_what_waited(older: Path) -> None:
    box = await Outbox.open(older / "gateway" / "outbox.sqlite3", "EV-1", 1_795_613_165)
    assert [each.body for each in await box.pending()] == [b"record 3", b"record 4", b"record 5", b"urgent"]
    assert box.boot > 1_795_613_164
    await box.close()
