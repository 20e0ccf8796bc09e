"""What vehicles report is sealed in the database: no file of it shows anything, and no other key opens it."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from csms.db.store import Store
from csms.telemetry import aggregate_store as telemetry_aggregates
from csms.telemetry import store as records
from csms.telemetry.rules import DeliveryOutcome, read_delivery
from csms.telemetry.tables import telemetry
from csms.vehicles import store as rows
from csms.vehicles.rules import VehicleState, readings_of
from tests.csms.sealed_store import sealing
from v2g.errors import SealedError, StoreError
from v2g.telemetry import signals
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.signals import Record, encode_record

ALWAYS = (0, 2**53)
LATITUDE, VOLTAGE = 48.137154, 397.515625
DAY_MS = 86_400_000


FORMS: tuple[Callable[[float], bytes], ...] = (
    lambda value: str(value).encode(),
    lambda value: struct.pack(">d", value),
    lambda value: struct.pack("<d", value),
)


def made(seq: int, **more: float) -> Record:
    signals: dict[str, float | int | str] = {
        "location.latitude": LATITUDE,
        "battery.soc": 50.0 + seq,
        "battery.voltage": VOLTAGE,
        **more,
    }
    return Record("EV-1", 1, seq, seq * 1000, "city", keyframe=True, signals=signals)


def put(store: Store, *found: Record) -> DeliveryOutcome:
    arrival = records.Arrival(read_delivery(encode_delivery(map(encode_record, found))), 7)
    return store.do(records.store, [arrival])[0]


def charge(store: Store) -> list[float]:
    found = store.do(rows.values, "EV-1", ("battery.soc",), ALWAYS, 99, None)
    return [each["values"]["battery.soc"] for each in found]


def shown(folder: Path) -> list[str]:
    """Return the files of a database in which a position, a voltage, or a signal's name as JSON is."""
    values = (form(each) for each in (LATITUDE, VOLTAGE) for form in FORMS)
    wanted = (*values, b'location.latitude":', b'battery.voltage":')
    return [each.name for each in folder.glob("csms.sqlite3*") if any(one in each.read_bytes() for one in wanted)]


@pytest.mark.some(1)
@pytest.mark.requirement("R145")
@pytest.mark.parametrize("sealed", [True, False])
def test_no_file_of_the_database_shows_a_value(sealed: bool, tmp_path: Path) -> None:
    """Records, aggregates, quarantine, latest state; log included. Without sealing the same look finds them."""
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/csms.sqlite3")) as store:
        sealing(store, tmp_path, wanted=sealed)
        put(store, *map(made, range(1, 20)))
        later = encode_record(made(20)).replace(b"v2g-telemetry/1", b"v2g-telemetry/9")
        arrival = records.Arrival(read_delivery(encode_delivery([later])), 7)
        assert len(store.do(records.store, [arrival])[0].quarantine) == 1
        store.do(rows.save_states, [VehicleState("EV-1", readings_of(made(1)))], {"EV-1": 1})
        while store.do(telemetry_aggregates.aggregate_pending):
            pass
        assert bool(shown(tmp_path)) is not sealed
        assert charge(store) == [50.0 + seq for seq in range(1, 20)]
        assert "48.137154" in store.do(records.quarantined, None, 9, None)[0]["document"]
        assert len(store.do(rows.route, "EV-1", ALWAYS, 99, None)) == 19
    assert bool(shown(tmp_path)) is not sealed


def test_what_was_plain_is_read_beside_what_is_sealed_and_repetitions_of_both_are_known(
    owner_url: str, tmp_path: Path
) -> None:
    with contextlib.closing(Store(owner_url)) as store:
        put(store, made(1), made(2))
        sealing(store, tmp_path)
        again = put(store, made(2), made(3), made(4, **{"motor.speed": 7.0}))
        assert (len(again.fresh), again.duplicates) == (2, 1)
        third = put(store, made(4, **{"motor.speed": 7.0}), made(3, **{"motor.speed": 8.0}), made(5))
        assert (len(third.fresh), third.duplicates, third.conflicts) == (1, 1, [("EV-1", 1, 3)])
        assert charge(store) == [51.0, 52.0, 53.0, 54.0, 55.0]
        speed = store.do(rows.values, "EV-1", ("motor.speed",), ALWAYS, 99, None)
        assert [(each["seq"], each["values"]) for each in speed] == [(4, {"motor.speed": 7.0})]
        while store.do(telemetry_aggregates.aggregate_pending):
            pass
        (minute,) = store.do(telemetry_aggregates.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 9, None)
        assert (minute["number"], minute["minimum"], minute["last"]) == (5, 51.0, 55.0)


@pytest.mark.requirement("R145")
def test_a_new_key_seals_after_its_time_and_other_nodes_open_it(owner_url: str, tmp_path: Path) -> None:
    with contextlib.closing(Store(owner_url)) as store, contextlib.closing(Store(owner_url)) as other:
        sealing(store, tmp_path, now_ms=0)
        sealing(other, tmp_path, now_ms=DAY_MS)
        put(store, made(1))
        sealing(store, tmp_path, now_ms=31 * DAY_MS)
        put(store, made(2))
        documents = store.do(
            lambda c: c.execute(select(telemetry.c.document).order_by(telemetry.c.seq)).scalars().all()
        )
        assert [each[:5] for each in documents] == [b"\x01\0\0\0\x01", b"\x01\0\0\0\x02"]
        assert charge(other) == [51.0, 52.0], "a key that it did not know when it opened the database"


@pytest.mark.requirement("R145")
def test_a_key_begins_on_demand_whatever_the_clock_says_and_other_processes_follow(
    owner_url: str, tmp_path: Path
) -> None:
    with contextlib.closing(Store(owner_url)) as store, contextlib.closing(Store(owner_url)) as other:
        seal, of_other = sealing(store, tmp_path, now_ms=DAY_MS), sealing(other, tmp_path, now_ms=DAY_MS)
        asyncio.run(seal.rotate(store, DAY_MS))
        asyncio.run(seal.rotate(store, 0))  # the clock was set back
        put(store, made(1))
        put(other, made(2))
        asyncio.run(of_other.renew(other, DAY_MS, 30))
        put(other, made(3))
        documents = store.do(
            lambda c: c.execute(select(telemetry.c.document).order_by(telemetry.c.seq)).scalars().all()
        )
        assert [each[4] for each in documents] == [3, 1, 3]


def test_a_sealed_record_opens_with_its_key_at_its_place_only(owner_url: str, tmp_path: Path) -> None:
    with contextlib.closing(Store(owner_url)) as store:
        sealing(store, tmp_path)
        put(store, made(1))
        store.do(rows.save_states, [VehicleState("EV-1", readings_of(made(1)))], {"EV-1": 1})
        (tmp_path / "other").mkdir()
        sealing(store, tmp_path / "other")  # the store key was lost: a new one seals, the old rows stay
        put(store, made(2))
        with pytest.raises(SealedError, match="store_key does not open"):
            charge(store)
        assert put(store, made(1), made(2)).conflicts == [("EV-1", 1, 1)], "what is there cannot be compared any more"
        assert store.do(rows.states) == []
        while store.do(telemetry_aggregates.aggregate_pending):  # goes on with what opens
            pass
        (minute,) = store.do(telemetry_aggregates.aggregates, "EV-1", "battery.soc", 60, ALWAYS, 9, None)
        assert minute["number"] == 1
        assert store.do(rows.values, "EV-1", ("battery.soc",), (1500, 2500), 9, None)[0]["values"] == {
            "battery.soc": 52.0
        }
        moved = text("UPDATE telemetry SET seq = 3 WHERE seq = 2")
        store.do(lambda c: c.execute(moved))
        with pytest.raises(StoreError, match="damaged"):
            store.do(rows.values, "EV-1", ("battery.soc",), (1500, 2500), 9, None)
        store.do(lambda c: c.execute(update(telemetry).values(document=b"\x01")))
        with pytest.raises(StoreError):
            charge(store)


def test_records_of_a_lost_store_key_keep_no_others_in_quarantine(
    owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Store(owner_url)) as store:
        for seq, folder in ((1, tmp_path / "lost"), (2, tmp_path / "new")):
            folder.mkdir()
            sealing(store, folder)
            later = encode_record(made(seq)).replace(b"v2g-telemetry/1", b"v2g-telemetry/9")
            store.do(records.store, [records.Arrival(read_delivery(encode_delivery([later])), seq)])
        found = store.do(records.quarantined, None, 9, None)
        assert [(each["seq"], each["document"] == "") for each in found] == [(2, False), (1, True)]
        monkeypatch.setitem(signals.SCHEMAS, "v2g-telemetry/9", signals.Version((), (), signals.SIGNALS))
        assert [each.key for each in store.do(records.release, None, 3).fresh] == [("EV-1", 1, 2)]
        assert charge(store) == [52.0]
        assert [each["seq"] for each in store.do(records.quarantined, None, 9, None)] == [1]


def test_equal_records_are_not_told_apart_or_guessed(owner_url: str, tmp_path: Path) -> None:
    """Two sealed forms of one record differ, and no digest of its text is beside it."""
    with contextlib.closing(Store(owner_url)) as store:
        seal = sealing(store, tmp_path)
        assert seal.seal(b"{}", 1) != seal.seal(b"{}", 1)
        put(store, made(1))
        (row,) = store.do(lambda c: c.execute(select(telemetry)).all())
        assert (row.digest, row.battery_soc, row.location_latitude) == (b"", None, None)
