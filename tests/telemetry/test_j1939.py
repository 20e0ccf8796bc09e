"""Parameter groups of a truck as signals: layouts as telematics vendors publish them, frames by cantools."""

import time

import cantools
import j1939
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.j1939 import packets
from tests.together import together
from v2g.telemetry.j1939 import LONGEST, PACKET_S, TRUCK_SIGNALS, Broadcasts, TruckBus, truck_dbc
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.signals import SIGNALS

pytestmark = pytest.mark.requirement("R212")

TRUCK = cantools.database.load_string(truck_dbc())


@together(
    ("frame_id", "data", "values"),
    [
        (0x18FEF100, "f30050ffffffffff", {"vehicle.speed": 80.0}),
        (0x18FEC1EE, "00e1f505ffffffff", {"vehicle.odometer": 500_000.0}),
        (0x18FEF521, "ffffffe0247dffff", {"ambient.temperature": 22.0}),
        (0x18FEF31C, "40efd69940ce9e84", {"location.latitude": 48.1, "location.longitude": 12.5}),
        (0x0CF090F3, "ffffffff803effff", {"battery.voltage": 800.0}),
        (0x0CF091F3, "007dd80e740effff",
         {"battery.soc": 50.0, "battery.cell_voltage.max": 3.8, "battery.cell_voltage.min": 3.7}),
        (0x18FCB7F3, "2075", {"battery.soc": 74.96}),
    ],
)  # fmt: skip
def test_a_frame_is_the_published_quantity_in_our_unit(frame_id: int, data: str, values: dict[str, float]) -> None:
    mapped = TruckBus().receive(frame_id, bytes.fromhex(data), 0.0)
    assert mapped is not None
    assert mapped.values == pytest.approx(values, abs=1e-6)


@together("source", TRUCK_SIGNALS)
def test_each_group_is_read_from_any_source_and_its_codes_of_absence_are_none(source: str) -> None:
    message = TRUCK.get_message_by_name(source.partition(".")[0])
    frame_id = message.frame_id & ~0xFF | 0x21
    empty = TruckBus().receive(frame_id, b"\xff" * message.length, 0.0)
    assert empty is None or not empty.values
    named = {each.name: 1 if each.choices else 3.0 if each.unit == "V" else 40.0 for each in message.signals}
    mapped = TruckBus().receive(frame_id, message.encode(named, strict=False, scaling=True), 0.0)
    assert mapped is not None
    target = TRUCK_SIGNALS[source]
    assert (mapped.context == "parked") if target == "context" else target in mapped.values


def test_a_message_of_several_packets_is_joined_and_the_vin_is_known() -> None:
    bus = TruckBus()
    for frame_id, data in packets(0xFEEC, b"WV2ZZZ7HZ8H000001*"):
        assert bus.receive(frame_id, data, 0.0) is None
    assert bus.vin == "WV2ZZZ7HZ8H000001"
    found = [bus.receive(frame_id, data, 1.0) for frame_id, data in packets(0xFC5E, bytes([240]) + b"\xff" * 36)]
    assert [each for each in found if each] == [Mapped({"battery.soh": 96.0})]


def test_what_is_interrupted_late_or_announced_wrongly_is_no_message() -> None:
    begin, first, second, third = packets(0xFEEC, b"WV2ZZZ7HZ8H000001*")
    for frames, at_s in (
        ([begin, second], 0.0),
        ([begin, first, first], 0.0),
        ([begin, first, begin, second], 0.0),
        ([begin, first, second, third], PACKET_S + 0.1),
        ([(begin[0], begin[1][:3] + b"\x05" + begin[1][4:]), first, second, third], 0.0),
    ):
        joined = Broadcasts()
        assert [joined.receive(*frame, at_s * number) for number, frame in enumerate(frames)] == [None] * len(frames)
        assert joined.broken >= 1


def test_packets_of_several_sources_do_not_mix() -> None:
    joined = Broadcasts()
    both = zip(packets(0xFEEC, b"A" * 20, 1), packets(0xFEEC, b"B" * 20, 2), strict=True)
    found = [joined.receive(*frame, 0.0) for pair in both for frame in pair]
    assert [each for each in found if each] == [(0xFEEC, b"A" * 20), (0xFEEC, b"B" * 20)]


def test_the_better_group_of_a_quantity_wins_whenever_it_comes() -> None:
    bus = TruckBus()
    coarse, fine = bytes.fromhex("ffffffff00093d00"), bytes.fromhex("01e1f505ffffffff")
    assert bus.receive(0x18FEE0EE, coarse, 0.0) == Mapped({"vehicle.odometer": 500_000.0})
    assert bus.receive(0x18FEC1EE, fine, 0.0) == Mapped({"vehicle.odometer": 500_000.005})
    assert bus.receive(0x18FEE0EE, coarse, 0.0) is None


def test_each_target_is_a_signal() -> None:
    assert set(TRUCK_SIGNALS.values()) - {"context"} <= SIGNALS.keys()


ids = st.one_of(
    st.integers(0, 0x1FFFFFFF), st.sampled_from([0x1CECFF03, 0x1CEBFF03, *(each.frame_id for each in TRUCK.messages)])
)


@given(st.lists(st.tuples(ids, st.binary(max_size=64), st.floats(0, 1e6))))
def test_any_frames_are_values_of_the_registry_or_nothing(frames: list[tuple[int, bytes, float]]) -> None:
    bus = TruckBus()
    for frame in frames:
        mapped = bus.receive(*frame)
        assert mapped is None or mapped.values.keys() <= SIGNALS.keys()


@given(st.binary(min_size=9, max_size=LONGEST))
def test_any_content_comes_out_as_it_was_sent(content: bytes) -> None:
    joined = Broadcasts()
    found = [joined.receive(*frame, 0.0) for frame in packets(0xFEEC, content)]
    assert found[-1] == (0xFEEC, content)
    assert not any(found[:-1])


def test_a_message_that_can_j1939_cuts_is_joined() -> None:
    frames = list[tuple[int, bytes]]()
    unit = j1939.ElectronicControlUnit(send_message=lambda can_id, _, data, *__: frames.append((can_id, bytes(data))))
    try:
        unit.send_pgn(0, 0xFE, 0xEC, 6, 0x21, list(b"WV2ZZZ7HZ8H000001*"))
        deadline = time.monotonic() + 10
        while len(frames) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        unit.stop()
    bus = TruckBus()
    for frame in frames:
        bus.receive(*frame, 0.0)
    assert bus.vin == "WV2ZZZ7HZ8H000001"
