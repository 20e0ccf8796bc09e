"""The latest state of a vehicle, in whatever order its records arrive, and the firmware that they tell of (R173)."""

from typing import Any

from csms.vehicles.rules import (
    CONTEXT,
    KEYFRAME,
    PartFirmware,
    StateReading,
    VehicleState,
    decode_state,
    encode_state,
    installed_in,
    join,
    readings_of,
    take,
)
from tests.together import together
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.signals import Record

FIRMWARE = {"hardware": "gw-1", "version": "1.2", "number": 7, "failed": 8}


def record(seq: int, *, boot: int = 1, keyframe: bool = False, **signals: float) -> Record:
    return Record("EV-1", boot, seq, 1000 * seq, "driving", keyframe, signals)


def told(seq: int, ev: str = "EV-1", program: Any = "gateway", name: str = "firmware.installed", **data: Any) -> Record:
    event = LocalEvent(program, name, 99, {**FIRMWARE, **data})
    return Record(ev, 2, seq, 1, "driving", keyframe=False, signals={}, event=event)


def test_a_record_says_its_signals_its_context_and_whether_it_is_whole() -> None:
    assert readings_of(record(3, soc=50.0)) == {
        "soc": StateReading(1, 3, 3000, 50.0), CONTEXT: StateReading(1, 3, 3000, "driving")
    }  # fmt: skip
    assert readings_of(record(3, keyframe=True)) == {
        CONTEXT: StateReading(1, 3, 3000, "driving"), KEYFRAME: StateReading(1, 3, 3000, 1.0)
    }  # fmt: skip
    assert (CONTEXT, KEYFRAME) == ("context", "keyframe")  # as states are stored


@together(
    ("boot", "seq", "newer"), [(1, 4, False), (1, 5, False), (1, 6, True), (2, 1, True), (2, 5, True), (0, 9, False)]
)
def test_a_reading_is_replaced_by_a_newer_one_only(boot: int, seq: int, newer: bool) -> None:
    readings = {"soc": StateReading(1, 5, 10, 1.0)}
    other = StateReading(boot, seq, 20, 2.0)
    assert take(readings, {"soc": other}) is newer
    assert readings == {"soc": other if newer else StateReading(1, 5, 10, 1.0)}


def test_one_newer_reading_among_others_is_a_change() -> None:
    old, new = StateReading(1, 5, 10, 1.0), StateReading(1, 6, 20, 2.0)
    for others in ({"a": new, "b": old}, {"b": old, "a": new}, {"c": old, "b": old}):
        assert take({"a": old, "b": old}, others)
    assert not take({"a": old}, {})


def test_states_are_joined_by_signal_and_keep_their_vehicle() -> None:
    one = VehicleState("EV-1", readings_of(record(3, a=1.0, b=1.0)))
    two = VehicleState("EV-1", readings_of(record(4, b=2.0)))
    joined = join(one, two)
    assert joined.readings == readings_of(record(4, b=2.0)) | {"a": StateReading(1, 3, 3000, 1.0)}
    assert (joined, joined.ev) == (join(two, one), "EV-1")
    assert one.readings == readings_of(record(3, a=1.0, b=1.0))  # is left as it was
    assert (joined.at_ms, joined.position) == (4000, (1, 4))
    assert (VehicleState("EV-1", {}).at_ms, VehicleState("EV-1", {}).position) == (0, (0, 0))
    assert decode_state(encode_state(joined)) == joined


def test_a_signal_that_a_whole_record_lacks_is_there_no_more() -> None:
    state = VehicleState("EV-1", readings_of(record(3, a=1.0)))
    assert state.present("a") == StateReading(1, 3, 3000, 1.0)
    assert state.present("b") is None
    with_whole = join(state, VehicleState("EV-1", readings_of(record(4, keyframe=True, b=2.0))))
    assert (with_whole.present("a"), with_whole.present("c")) == (None, None)
    assert with_whole.present("b") == StateReading(1, 4, 4000, 2.0)
    later = join(with_whole, VehicleState("EV-1", readings_of(record(1, boot=2, a=3.0))))
    assert later.present("a") == StateReading(2, 1, 1000, 3.0)


def test_installed_firmware_is_told_by_vehicle_and_part() -> None:
    records = [
        told(4, "EV-2"), told(3, program="evcc", version="2"), told(2), record(1),
        told(5, program="secc"), told(6, name="telemetry.battery_finding"), told(7, number=-1), told(8, failed=None),
    ]  # fmt: skip
    found = installed_in(records)
    assert [(each.ev, each.part, each.seq, each.failed) for each in found] == [
        ("EV-1", "gateway", 2, 8), ("EV-1", "gateway", 8, None), ("EV-1", "vehicle", 3, 8), ("EV-2", "gateway", 4, 8),
    ]  # fmt: skip
    assert found[0] == PartFirmware(
        ev="EV-1", part="gateway", boot=2, seq=2, at_ms=99, hardware="gw-1", version="1.2", number=7, failed=8
    )
    assert installed_in([told(1, number=2**31 - 1), told(2, number=2**31)])[0].number == 2**31 - 1
    assert installed_in([]) == []
