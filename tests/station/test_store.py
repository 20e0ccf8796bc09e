"""The station's memory over changes of its format: nothing that waits is lost, nothing newer is touched."""

import os
import resource
import sqlite3
from pathlib import Path

import msgspec
import pytest

from secc.station.station import ChargerStation, StationConfig
from tests.sealing import new_keys
from tests.station.bench import FIXED, Bench
from tests.station.no_charger import NoCharger
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.kernel.kernel import Keep
from v2g_station.store import StationStore

FORMAT_1 = """
CREATE TABLE transactions (id TEXT PRIMARY KEY, reference TEXT NOT NULL UNIQUE, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, transaction_id TEXT NOT NULL, body BLOB NOT NULL,
                     attempts INTEGER NOT NULL DEFAULT 0);
CREATE TABLE refused (id INTEGER PRIMARY KEY, transaction_id TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE profiles (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version=1;
"""

PROFILE = ChargingProfile(
    id=7,
    stack_level=0,
    charging_profile_purpose="TxDefaultProfile",
    charging_profile_kind="Relative",
    charging_schedule=(
        ChargingSchedule(
            id=1, charging_rate_unit="W", charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=11.0),)
        ),
    ),
)


def old_file(path: Path) -> None:
    """Write a memory of the first format: a transaction with two events that wait, one that was given up."""
    record = TransactionRecord(
        transaction_id="t-1", reference="s-1", evse_id=1, connector_id=1, started_ms=1,
        id_token="E", id_token_type="eMAID",
    )  # fmt: skip
    record, started = transactions.start(record, 1, trigger="Authorized", sample=None, offline=True)
    record, updated = transactions.update(record, 2, trigger="ChargingStateChanged", offline=True)
    event = msgspec.json.encode
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1)
        db.execute("INSERT INTO transactions VALUES ('t-1', 's-1', ?)", (event(record),))
        for number, request in ((8, started), (9, updated)):
            db.execute("INSERT INTO events VALUES (?, 't-1', ?, 0)", (number, event(request)))
        db.execute("INSERT INTO refused VALUES (3, 't-0', ?, 'InternalError')", (event(started),))
        db.execute("INSERT INTO journal (session_id, line) VALUES ('s-1', 'line')")
        db.execute("INSERT INTO profiles VALUES (1, ?)", (event(InstalledProfile(1, PROFILE, "2.0.1")),))
        db.execute("INSERT INTO facts VALUES ('station.boot_id', 'boot-1')")
        db.execute("INSERT INTO facts VALUES ('station.operative.1', 'no')")
    db.close()


async def test_a_memory_of_the_first_format_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "station.db"
    old_file(path)
    for _ in range(2):  # it is done once
        store, found = StationStore(path), Bench(evses=(FIXED,), managed=True, power=False)
        assert store.waiting() == 1
        found.saved = store.saved()
        store.close()
        core = found.make("ApplicationReset", same_boot=True)
        bodies = [msgspec.json.decode(body) for body in core.outbox.bodies()]
        events = [body for body in bodies if "transactionInfo" in body]
        assert [event["seqNo"] for event in events] == [0, 1]
        assert core.sessions.records["s-1"].next_seq_no == 2  # type: ignore[attr-defined]
        assert [item.profile for item in core.smart_charging.installed] == [PROFILE]
        assert set(found.saved["refused"]) == {"000000000003"}
        assert not core.availability.operative(1)
    observed: list[Observe] = []
    station = ChargerStation(
        StationConfig(url="ws://127.0.0.1:1/", identity="CS", store=path),
        clock=Clock(), entropy=lambda n: bytes(n), observe=observed.append, charger=NoCharger(), boot_id="boot-1",
    )  # fmt: skip
    assert station.transaction_id("s-1") == "t-1"
    assert station.recover() == ["s-1"]
    assert observed[-1].data == {"transaction_id": "t-1", "reason": "Reboot"}, "it knows its boot"
    await station.close()


def test_a_memory_of_a_newer_format_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "station.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="format 99") as raised:
        StationStore(path)
    assert raised.value.hint
    assert path.exists()


@pytest.mark.requirement("R133", "R135")
def test_an_older_program_that_comes_back_finds_its_memory(tmp_path: Path) -> None:
    """The newer program, which is this one at first, has kept the file as it was before it changed the format."""
    path, copy = tmp_path / "station.db", tmp_path / "station.db.format-1"
    old_file(path)
    StationStore(path).close()
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT id FROM events").fetchall() == [(8,), (9,)]
    db.close()
    store = StationStore(path)
    store.keep([Keep("outbox", "1", b"{}")])
    store.close()
    path.rename(tmp_path / "station.db.format-2")  # as a program with format 3 leaves it
    with sqlite3.connect(path) as db:
        db.executescript("CREATE TABLE later (x INT); PRAGMA user_version=3")
    db.close()
    store = StationStore(path)
    assert store.saved()["outbox"].keys() == {"000000000008", "000000000009", "1"}
    store.close()
    with sqlite3.connect(tmp_path / "station.db.newer") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()
    assert not (tmp_path / "station.db.format-2").exists()
    os.utime(copy, (1, 1))
    StationStore(path).close()
    assert not copy.exists(), "no update goes back to it any more"


# -- sealed


@pytest.mark.requirement("R145")
def test_a_sealed_store_shows_nothing_and_opens_with_its_keys(tmp_path: Path) -> None:
    path, keys = tmp_path / "station.db", new_keys(tmp_path / "keys")
    store = StationStore(path, keys)
    store.keep([Keep("outbox", "1", b'{"idToken":"0A1B2C3D"}'), Keep("variables", "v", b"sealed 1 AAAA")])
    store.add_line("s-1", '{"sequence":0,"kind":"PRIVATE"}')
    store.replace_lines("s-2", ['{"sequence":0,"kind":"PRIVATE"}'])
    store.close()
    stored = b"".join(each.read_bytes() for each in tmp_path.glob("station.db*"))
    assert b"0A1B2C3D" not in stored
    assert b"PRIVATE" not in stored
    RecordKeys.rotate(tmp_path / "keys")
    again = StationStore(path, RecordKeys(tmp_path / "keys"))
    assert again.saved() == {"outbox": {"1": b'{"idToken":"0A1B2C3D"}'}, "variables": {"v": b"sealed 1 AAAA"}}
    queued = again.next_lines(10, 10_000)
    assert queued is not None
    assert queued.lines == ('{"sequence":0,"kind":"PRIVATE"}',)
    again.lines_over(queued, accepted=True)
    assert again.taken() == {"s-1": 1}
    again.close()


@pytest.mark.requirement("R145")
def test_plain_entries_are_read_and_sealed_when_they_change(tmp_path: Path) -> None:
    path, keys = tmp_path / "station.db", new_keys(tmp_path / "keys")
    plain = StationStore(path)
    plain.keep([Keep("outbox", "1", b"one"), Keep("outbox", "2", b"two")])
    plain.add_line("s-1", "{}")
    plain.close()
    store = StationStore(path, keys)
    store.keep([Keep("outbox", "2", b"TWO")])
    assert store.saved() == {"outbox": {"1": b"one", "2": b"TWO"}}
    queued = store.next_lines(1, 1)
    assert queued is not None
    assert queued.lines == ("{}",)
    store.close()


@pytest.mark.requirement("R145")
@pytest.mark.parametrize("other", ["none", "wrong", "moved"])
def test_what_does_not_open_is_said_and_kept(other: str, tmp_path: Path) -> None:
    path, keys = tmp_path / "station.db", new_keys(tmp_path / "keys")
    store = StationStore(path, keys)
    store.keep([Keep("outbox", "1", b"one"), Keep("outbox", "2", b"two")])
    store.add_line("s-1", "{}")
    store.close()
    if other == "moved":
        with sqlite3.connect(path) as db:
            db.execute("UPDATE kept SET body = (SELECT body FROM kept WHERE key = '2') WHERE key = '1'")
            db.execute("UPDATE journal SET session_id = 's-2'")
        db.close()
    known = {"none": None, "wrong": new_keys(tmp_path / "others"), "moved": keys}[other]
    before = path.read_bytes()
    again = StationStore(path, known)
    for look in (again.saved, lambda: again.next_lines(1, 1)):
        with pytest.raises(StoreError, match=r"station\.db"):
            look()
    again.close()
    assert path.read_bytes() == before


def test_what_a_full_disk_did_not_take_is_kept_with_what_follows(tmp_path: Path) -> None:
    """A transaction that has ended meanwhile must not begin again with the next start."""
    path = tmp_path / "station.db"
    store = StationStore(path)
    store.keep([Keep("managed", "s-1", b"open"), Keep("program", "boot_id", b"1")])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        for changes in ([Keep("managed", "s-1", None), Keep("outbox", "1", b"{}")], [Keep("outbox", "1", b"{1}")]):
            with pytest.raises(StoreError, match=r"station\.db"):
                store.keep(changes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.keep([Keep("outbox", "2", b"{2}")])
    store.keep([Keep("outbox", "1", None)])
    store.close()
    again = StationStore(path)
    assert again.saved() == {"program": {"boot_id": b"1"}, "outbox": {"2": b"{2}"}}
    again.close()
