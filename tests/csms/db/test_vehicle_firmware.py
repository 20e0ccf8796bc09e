"""What is installed in vehicles, in either database: the newest record wins, whatever comes when and says what."""

import itertools
from typing import Any

import pytest

from csms.db.store import Store
from csms.vehicles import store as telemetry_values
from tests.csms.db.telemetry import take
from v2g.telemetry.local_events import INSTALLED, LocalEvent, Program
from v2g.telemetry.signals import SCHEMA_4, Record, encode_record

SAID: dict[str, Any] = {"hardware": "gw", "version": "gw-1.img", "number": 1, "failed": None}


def said(seq: int, *, boot: int = 1, ev: str = "EV-1", program: Program = "gateway", **data: Any) -> bytes:
    event = LocalEvent(program, INSTALLED, 1000 * boot + seq, SAID | data)
    tags = {"trip": "1-0", "ambient_c": None, "charging_w": None}
    return encode_record(
        Record(ev, boot, seq, 1, "parked", keyframe=False, signals={}, schema=SCHEMA_4, event=event, **tags)
    )


def parts(store: Store, evs: tuple[str, ...] | None = None) -> list[tuple[Any, ...]]:
    names = "ev", "part", "version", "number", "failed"
    return [tuple(each[name] for name in names) for each in store.do(telemetry_values.parts, None, 100, evs)]


@pytest.mark.requirement("R100")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_newest_record_wins_in_whatever_order_they_come(store: Store, order: tuple[int, ...]) -> None:
    """The second boot's first record is newer than the first one's last."""
    sent = [said(8, number=3), said(9, number=5), said(1, boot=2, number=4, failed=5)]
    for each in order:
        take(store, sent[each])
        take(store, sent[each])  # repeated
    assert parts(store) == [("EV-1", "gateway", "gw-1.img", 4, 5)]
    (row,) = store.do(telemetry_values.parts, None, 9, None)
    assert (row["hardware"], row["at_ms"]) == ("gw", 2001)


@pytest.mark.requirement("R107")
def test_each_part_of_each_vehicle_is_counted_and_erased_with_it(store: Store) -> None:
    vehicle = {"program": "evcc", "hardware": "evcc", "version": "v.img"}
    take(store, said(2, **vehicle), said(1), said(1, ev="EV-2"), said(2, ev="EV-2", **vehicle, number=2))
    counted = [(each["part"], each["number"], each["vehicles"]) for each in store.do(telemetry_values.counts, None)]
    assert counted == [("gateway", 1, 2), ("vehicle", 1, 1), ("vehicle", 2, 1)]
    assert [each["vehicles"] for each in store.do(telemetry_values.counts, ("EV-2",))] == [1, 1]
    first = store.do(telemetry_values.parts, None, 3, None)
    assert [each["part"] for each in first] == ["gateway", "vehicle", "gateway"]
    (last,) = store.do(telemetry_values.parts, (first[-1]["ev"], first[-1]["part"]), 3, None)
    assert (last["ev"], last["number"]) == ("EV-2", 2)
    while store.do(telemetry_values.erase, "EV-2", 10, ()):
        pass
    assert [each[:2] for each in parts(store)] == [("EV-1", "gateway"), ("EV-1", "vehicle")]
    assert parts(store, ("EV-2",)) == []


LIES: tuple[dict[str, Any], ...] = (
    {"number": -1}, {"number": 2**40}, {"number": "7"}, {"number": None}, {"failed": 2**31}, {"failed": 1.5},
    {"version": 7}, {"hardware": None}, {"program": "secc"},
)  # fmt: skip


@pytest.mark.requirement("R143")
def test_what_is_not_understood_says_nothing_and_text_is_bounded(store: Store) -> None:
    take(store, *(said(seq, **lie) for seq, lie in enumerate(LIES, 1)))
    assert parts(store) == []
    take(store, said(20, version="a\0\x1b[31m" + "x" * 5000, hardware="WVWZZZ1JZXW000001"))
    (row,) = store.do(telemetry_values.parts, None, 9, None)
    assert row["version"].startswith(r"a\u0000\u001b[31mxxx")
    assert len(row["version"]) == 64
    assert row["hardware"] == "[VIN]"
