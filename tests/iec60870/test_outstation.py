"""An outstation by its octets: frames, acknowledgement, timers, interrogation, select before operate, lost lines."""

import random
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import FrameError
from v2g.iec60870.apci import LinkTimes, UFunction, i_frame, s_frame, u_frame
from v2g.iec60870.asdu import Asdu, Cause, Quality, TypeId, decode, decode_time, encode, encode_time, packed
from v2g.iec60870.outstation import CommandPoint, MonitoredPoint, Outstation, OutstationSettings

pytestmark = pytest.mark.requirement("R208")

NOW_MS = 1_795_161_600_123


class Centre:
    """A control centre at an outstation: it numbers frames, and reads what comes back."""

    def __init__(self, station: Outstation, key: int = 1, *, start: bool = True) -> None:
        self.station, self.key, self.now_s = station, key, 0.0
        self.sent = self.received = 0
        self.frames: list[bytes] = []
        station.open(key, 0.0)
        if start:
            self.octets(u_frame(UFunction.STARTDT_ACT))
            assert self.frames.pop(0) == u_frame(UFunction.STARTDT_CON)

    def octets(self, data: bytes) -> None:
        """Send octets as they are."""
        self.station.receive(self.key, data, self.now_s, NOW_MS + round(self.now_s * 1000))
        self.read()

    def read(self) -> None:
        """Take what the station sends."""
        out = self.station.to_send(self.key)
        while out:
            self.frames.append(out[: 2 + out[1]])
            out = out[2 + out[1] :]

    def tick(self, now_s: float) -> None:
        """Let time pass."""
        self.now_s = now_s
        self.station.tick(self.key, now_s)
        self.read()

    def asdus(self) -> list[Asdu]:
        """Return, once, the ASDUs that came, and acknowledge them."""
        found = [each for each in self.frames if each[2] & 1 == 0]
        self.frames = [each for each in self.frames if each[2] & 1]
        self.received += len(found)
        if found:
            self.octets(s_frame(self.received))
            return [decode(each[6:]) for each in found] + self.asdus()
        return []

    def ask(
        self, kind: TypeId, address: int, element: bytes, cause: int = Cause.ACTIVATION, common: int = 1
    ) -> list[Asdu]:
        """Send a request, and return what came."""
        asdu = Asdu(type=kind, cause=cause, common_address=common, objects=((address, element),), originator=7)
        self.octets(i_frame(self.sent, self.received, encode(asdu)))
        self.sent += 1
        return self.asdus()


@pytest.fixture
def executed() -> list[tuple[int, float]]:
    """What the station carried out."""
    return []


@pytest.fixture
def station(executed: list[tuple[int, float]]) -> Outstation:
    """A station with a state, a value, a counter, a switch and a set-point; 13 kW are refused."""

    def execute(address: int, value: float) -> bool:
        if value != 13.0:
            executed.append((address, value))
        return value != 13.0

    return Outstation(
        OutstationSettings(most_events=5, overflow=3),
        [
            MonitoredPoint(address=1, kind="single"), MonitoredPoint(address=2, kind="float", dead_band=0.5),
            MonitoredPoint(address=3, kind="single"), MonitoredPoint(address=4, kind="counter"),
        ],
        [CommandPoint(address=10, kind="single"), CommandPoint(address=11, kind="float", least=-50, most=50),
         CommandPoint(address=12, kind="float", most=50, select=False)],
        execute,
    )  # fmt: skip


def value(kw: float, *, select: bool = False) -> bytes:
    return struct.pack("<fB", kw, 0x80 if select else 0)


def said(found: Sequence[Asdu]) -> list[tuple[int, int, bool]]:
    return [(each.type, each.cause, each.negative) for each in found]


CON, TERM = Cause.ACTIVATION_CON, Cause.ACTIVATION_TERM


def test_nothing_is_sent_or_taken_before_the_start(station: Outstation) -> None:
    centre = Centre(station, start=False)
    station.update(1, 1.0, 0.0, NOW_MS)
    centre.read()
    assert centre.frames == []
    with pytest.raises(FrameError, match="before STARTDT"):
        centre.octets(i_frame(0, 0, encode(Asdu(type=100, cause=6, common_address=1, objects=((0, b"\x14"),)))))


def test_after_its_start_it_says_so_and_what_happened_before(station: Outstation) -> None:
    station.update(1, 1.0, 0.0, NOW_MS)
    first = Centre(station).asdus()
    assert said(first) == [(TypeId.M_EI_NA, Cause.INITIALISED, False), (TypeId.M_SP_TB, Cause.SPONTANEOUS, False)]
    address, element = first[1].objects[0]
    assert (address, element[0], decode_time(element[1:])) == (1, 1, NOW_MS)
    assert said(Centre(station, 2).asdus()) == []


def test_a_test_is_confirmed_and_so_is_a_stop(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    centre.octets(u_frame(UFunction.TESTFR_ACT) + u_frame(UFunction.STOPDT_ACT))
    assert centre.frames == [u_frame(UFunction.TESTFR_CON), u_frame(UFunction.STOPDT_CON)]
    station.update(1, 1.0, 0.0, NOW_MS)
    centre.read()
    assert len(centre.frames) == 2
    assert station.waiting == 1


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"\x67\x04\x07\0\0\0", "begins with 68"),
        (b"\x68\x03\x07\0\0", "a frame of 3 octets"),
        (b"\x68\xfe" + bytes(254), "a frame of 254 octets"),
        (b"\x68\x04\x0f\0\0\0", "unknown function 0f"),
        (b"\x68\x05\x07\0\0\0\0", "without a number has no ASDU"),
        (u_frame(UFunction.STOPDT_CON), "without a request"),
        (s_frame(9), "acknowledged, but not sent"),
        (i_frame(1, 0, bytes(9)), "frame 1 received, 0 expected"),
        (i_frame(0, 0, b"\x64\x01\x06\x00\x01\x00\x00\x00"), "an ASDU of 8 octets"),
        (i_frame(0, 0, b"\x64\x02\x06\x00\x01\x00\x00\x00\x00\x14"), "2 objects in 4 octets"),
    ],
)
def test_what_is_no_conversation_ends_it(station: Outstation, octets: bytes, why: str) -> None:
    centre = Centre(station)
    with pytest.raises(FrameError, match=why):
        centre.octets(octets)


@given(st.lists(st.integers(1, 40), max_size=20))
def test_frames_may_come_in_any_pieces(sizes: list[int]) -> None:
    one = Outstation(OutstationSettings(), [], [], lambda _address, _value: True)
    centre = Centre(one)
    data = u_frame(UFunction.TESTFR_ACT) * 9
    for size in [*sizes, len(data)]:
        centre.octets(data[:size])
        data = data[size:]
    assert centre.frames.count(u_frame(UFunction.TESTFR_CON)) == 9


@given(st.binary(max_size=400))
def test_any_octets_are_taken_or_refused(data: bytes) -> None:
    one = Outstation(OutstationSettings(), [MonitoredPoint(address=1, kind="single")], [], lambda _a, _v: True)
    centre = Centre(one)
    try:
        centre.octets(data)
        centre.octets(i_frame(0, 0, data[:249]))
    except FrameError:
        pass


def test_no_more_than_k_frames_wait_for_their_acknowledgement(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    for n in range(20):
        station.update(2, float(n + 1), 0.0, NOW_MS)
        centre.read()
    assert len(centre.frames) == 12
    assert station.waiting == 5, "the queue has its bound"
    centre.received += 12
    centre.octets(s_frame(centre.received))
    assert len(centre.frames) == 12 + 5 + 1, "the last one ends the overflow"


def test_an_acknowledgement_is_due_after_t2_or_w_frames() -> None:
    one = Outstation(OutstationSettings(times=LinkTimes(k=1)), [], [], lambda _a, _v: True)
    centre = Centre(one)  # M_EI takes the only place: answers wait
    test = encode(Asdu(type=TypeId.C_TS_NA, cause=6, common_address=1, objects=((0, b"\xaa\x55"),)))
    centre.octets(i_frame(0, 0, test))
    centre.frames.clear()
    centre.tick(9.9)
    assert centre.frames == []
    centre.tick(10.0)
    assert centre.frames == [s_frame(1)]
    centre.octets(b"".join(i_frame(n, 0, test) for n in range(1, 9)))
    assert centre.frames == [s_frame(1), s_frame(9)]


def test_silence_is_tested_and_no_answer_closes(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    centre.tick(19.9)
    assert centre.frames == []
    centre.tick(20.0)
    assert centre.frames == [u_frame(UFunction.TESTFR_ACT)]
    centre.octets(u_frame(UFunction.TESTFR_CON))
    centre.tick(40.0)
    assert len(centre.frames) == 2
    with pytest.raises(FrameError, match="within 15 s"):
        centre.tick(55.0)


def test_a_value_that_is_not_acknowledged_closes(station: Outstation) -> None:
    centre = Centre(station)
    centre.tick(14.9)
    with pytest.raises(FrameError, match="no acknowledgement within 15 s"):
        centre.tick(15.0)


def test_numbers_go_round(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    for n in range(33_000):
        station.update(1, float(n % 2), 0.0, NOW_MS)
        centre.read()
        if len(centre.frames) >= 12:
            centre.received = (centre.received + len(centre.frames)) % 32_768
            centre.frames.clear()
            centre.octets(s_frame(centre.received))
    assert len(centre.ask(TypeId.C_TS_NA, 0, b"\xaa\x55")) >= 1


def test_an_interrogation_reports_all_points_without_times(station: Outstation) -> None:
    centre = Centre(station)
    station.update(2, 7.25, 0.0, NOW_MS)
    centre.asdus()
    for common in (1, 65535):
        found = centre.ask(TypeId.C_IC_NA, 0, b"\x14", common=common)
        assert [(each.type, each.cause) for each in found] == [
            (TypeId.C_IC_NA, CON), (TypeId.M_SP_NA, 20), (TypeId.M_ME_NC, 20), (TypeId.C_IC_NA, TERM),
        ]  # fmt: skip
        assert found[1].objects == ((1, b"\xc0"), (3, b"\x00"))
        assert found[2].objects == ((2, struct.pack("<fB", 7.25, 0)),)
        assert {each.originator for each in found} == {7}
        assert {each.common_address for each in found} == {1}


def test_two_thousand_points_go_into_few_frames() -> None:
    points = [MonitoredPoint(address=1 + n, kind="float") for n in range(2000)]
    centre = Centre(Outstation(OutstationSettings(), points, [], lambda _a, _v: True))
    centre.asdus()
    found = centre.ask(TypeId.C_IC_NA, 0, b"\x14")
    assert [address for each in found[1:-1] for address, _ in each.objects] == [1 + n for n in range(2000)]
    assert len(found) == 2 + 67
    assert max(len(encode(each)) for each in found) <= 249


def test_counters_are_asked_for(station: Outstation) -> None:
    centre = Centre(station)
    station.update(4, 2**31 + 5, 0.0, NOW_MS)
    centre.asdus()
    con, counters, term = centre.ask(TypeId.C_CI_NA, 0, b"\x05")
    assert said([con, term]) == [(TypeId.C_CI_NA, CON, False), (TypeId.C_CI_NA, TERM, False)]
    ((address, element),) = counters.objects
    assert (counters.type, counters.cause, address) == (TypeId.M_IT_TB, Cause.COUNTERS, 4)
    assert struct.unpack("<iB", element[:5]) == (-(2**31) + 5, 0)


def test_counters_freeze_and_are_read_as_they_were_then(station: Outstation) -> None:
    """FRZ 1 freezes and reports nothing; each freeze has a number, and says whether a counter went round before it."""
    centre = Centre(station)
    station.update(4, 2**31 - 1, 0.0, NOW_MS)
    centre.asdus()
    freeze = bytes((1 << 6 | 5,))
    assert said(centre.ask(TypeId.C_CI_NA, 0, freeze)) == [(TypeId.C_CI_NA, CON, False), (TypeId.C_CI_NA, TERM, False)]
    centre.now_s = 60.0
    station.update(4, 2**31, 60.0, NOW_MS + 60_000)
    _, counters, _ = centre.ask(TypeId.C_CI_NA, 0, b"\x05")
    ((_, element),) = counters.objects
    assert struct.unpack("<iB", element[:5]) == (2**31 - 1, 1)
    assert decode_time(element[5:]) == NOW_MS
    for number, flags in ((2, 0x20), (3, 0)):
        centre.ask(TypeId.C_CI_NA, 0, freeze)
        ((_, element),) = centre.ask(TypeId.C_CI_NA, 0, b"\x05")[1].objects
        assert struct.unpack("<iB", element[:5]) == (-(2**31), number | flags)
    for set_back in (2, 3):
        assert said(centre.ask(TypeId.C_CI_NA, 0, bytes((set_back << 6 | 5,)))) == [(TypeId.C_CI_NA, CON, True)]


def test_values_are_scaled_or_normalised_and_say_where_they_do_not_fit() -> None:
    """IEC 60870-5-101, 7.2.6.6 and 7.2.6.7: 16 bits, in whole units or as a fraction."""
    executed: list[tuple[int, float]] = []
    station = Outstation(
        OutstationSettings(),
        [MonitoredPoint(address=1, kind="scaled", unit=0.1), MonitoredPoint(address=2, kind="normalised", unit=200)],
        [
            CommandPoint(address=11, kind="scaled", unit=0.1, least=-50, most=50, select=False),
            CommandPoint(address=12, kind="normalised", unit=200, least=-50, most=150, select=False),
        ],
        lambda address, kw: executed.append((address, kw)) is None,
    )
    centre = Centre(station)
    centre.asdus()
    for kw, scaled, fraction, flags in ((-12.5, -125, -2048, 0), (150, 1500, 24576, 0), (5000, 32767, 32767, 1)):
        station.update(1, kw, 0.0, NOW_MS)
        station.update(2, kw, 0.0, NOW_MS)
        centre.read()
        one, other = centre.asdus()
        assert (one.type, one.objects[0][1][:3]) == (
            TypeId.M_ME_TE,
            struct.pack("<hB", scaled, 0 if scaled < 32767 else 1),
        )
        assert (other.type, other.objects[0][1][:3]) == (TypeId.M_ME_TD, struct.pack("<hB", fraction, flags))
        found = centre.ask(TypeId.C_IC_NA, 0, b"\x14")[1:-1]
        assert [each.type for each in found] == [TypeId.M_ME_NB, TypeId.M_ME_NA]
    assert said(centre.ask(TypeId.C_SE_NB, 11, struct.pack("<hB", -125, 0))) == [(49, CON, False), (49, TERM, False)]
    assert said(centre.ask(TypeId.C_SE_NB, 11, struct.pack("<hB", 501, 0))) == [(49, CON, True)]
    assert said(centre.ask(TypeId.C_SE_NA, 12, struct.pack("<hB", 24576, 0))) == [(48, CON, False), (48, TERM, False)]
    assert said(centre.ask(TypeId.C_SE_NC, 12, value(1))) == [(50, Cause.UNKNOWN_OBJECT, True)], "it has another form"
    dated = struct.pack("<hB", 100, 0) + encode_time(NOW_MS)
    assert said(centre.ask(TypeId.C_SE_TB, 11, dated)) == [(62, CON, False), (62, TERM, False)]
    assert executed == [(11, -12.5), (12, 150.0), (11, 10.0)]


def test_one_point_is_read(station: Outstation) -> None:
    centre = Centre(station)
    station.update(2, 3.5, 0.0, NOW_MS)
    centre.asdus()
    (found,) = centre.ask(TypeId.C_RD_NA, 2, b"", Cause.REQUESTED)
    assert (found.type, found.cause, found.objects) == (TypeId.M_ME_NC, 5, ((2, struct.pack("<fB", 3.5, 0)),))
    assert found.originator == 7, "several centres behind one line know their answers by it"
    assert said(centre.ask(TypeId.C_RD_NA, 99, b"", Cause.REQUESTED)) == [(102, Cause.UNKNOWN_OBJECT, True)]


@pytest.mark.parametrize(
    ("kind", "address", "element", "cause", "common", "answer"),
    [
        (TypeId.C_SC_NA, 10, b"\x01", 6, 2, Cause.UNKNOWN_COMMON_ADDRESS),
        (TypeId.C_SC_NA, 10, b"\x01", 6, 65535, Cause.UNKNOWN_COMMON_ADDRESS),
        (TypeId.C_SC_NA, 99, b"\x01", 6, 1, Cause.UNKNOWN_OBJECT),
        (TypeId.C_SC_NA, 11, b"\x01", 6, 1, Cause.UNKNOWN_OBJECT),
        (TypeId.C_SE_NC, 10, value(1), 6, 1, Cause.UNKNOWN_OBJECT),
        (TypeId.C_SC_NA, 10, b"\x01", 3, 1, Cause.UNKNOWN_CAUSE),
        (TypeId.C_IC_NA, 0, b"\x14", 20, 1, Cause.UNKNOWN_CAUSE),
        (TypeId.C_IC_NA, 0, b"\x15", 6, 1, CON),
        (TypeId.C_IC_NA, 0, b"\x14", 8, 1, Cause.DEACTIVATION_CON),
        (TypeId.C_CI_NA, 0, b"\x01", 6, 1, CON),
        (TypeId.C_RP_NA, 0, b"\x01", 6, 1, CON),
        (TypeId.C_CS_NA, 0, b"\xff" * 7, 6, 1, CON),
        (TypeId.M_SP_NA, 1, b"\x01", 6, 1, Cause.UNKNOWN_TYPE),
    ],
)
def test_what_is_not_known_is_sent_back_as_such(
    station: Outstation, kind: TypeId, address: int, element: bytes, cause: int, common: int, answer: Cause
) -> None:
    centre = Centre(station)
    centre.asdus()
    assert said(centre.ask(kind, address, element, cause, common)) == [(kind, answer, True)]


def test_a_type_that_nobody_knows_is_sent_back_octet_by_octet(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    octets = bytes((200, 3, 6, 0, 1, 0, 5, 0, 0, 1, 2, 3, 4))
    centre.octets(i_frame(0, centre.received, octets))
    assert centre.frames[0][6:] == bytes((200, 3, 0x40 | 44, 0, 1, 0, 5, 0, 0, 1, 2, 3, 4))


def test_a_command_is_selected_then_operated(station: Outstation, executed: list[tuple[int, float]]) -> None:
    centre = Centre(station)
    centre.asdus()
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20, select=True))) == [(50, CON, False)]
    assert executed == []
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == [(50, CON, False), (50, TERM, False)]
    assert executed == [(11, 20.0)]
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == [(50, CON, True)], "a selection serves once"
    centre.ask(TypeId.C_SC_NA, 10, b"\x81")
    centre.ask(TypeId.C_SC_NA, 10, b"\x01")
    assert executed == [(11, 20.0), (10, 1.0)]


def test_without_select_with_another_value_or_too_late_nothing_is_operated(
    station: Outstation, executed: list[tuple[int, float]]
) -> None:
    centre = Centre(station)
    centre.asdus()
    refused = [(50, CON, True)]
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == refused
    centre.ask(TypeId.C_SE_NC, 11, value(20, select=True))
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(21))) == refused
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == refused
    centre.ask(TypeId.C_SE_NC, 11, value(20, select=True))
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20), Cause.DEACTIVATION)) == [(50, Cause.DEACTIVATION_CON, False)]
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == refused
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20), Cause.DEACTIVATION)) == [(50, Cause.DEACTIVATION_CON, True)]
    centre.ask(TypeId.C_SE_NC, 11, value(20, select=True))
    centre.now_s = 20.0
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(20))) == refused
    centre.ask(TypeId.C_SE_NC, 11, value(20, select=True))
    other = Centre(station, 2)
    assert said(other.ask(TypeId.C_SE_NC, 11, value(20))) == refused
    assert executed == []


@pytest.mark.parametrize("kw", [50.1, -50.1, float("nan"), float("inf")])
def test_a_value_beyond_its_bounds_is_refused(
    station: Outstation, executed: list[tuple[int, float]], kw: float
) -> None:
    centre = Centre(station)
    centre.asdus()
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(kw, select=True))) == [(50, CON, True)]
    assert said(centre.ask(TypeId.C_SE_NC, 12, value(kw))) == [(50, CON, True)]
    assert executed == []


def test_a_command_without_select_where_none_is_demanded_and_one_that_fails(
    station: Outstation, executed: list[tuple[int, float]]
) -> None:
    centre = Centre(station)
    centre.asdus()
    assert said(centre.ask(TypeId.C_SE_NC, 12, value(5))) == [(50, CON, False), (50, TERM, False)]
    assert said(centre.ask(TypeId.C_SE_NC, 12, value(13))) == [(50, CON, True)]
    assert executed == [(12, 5.0)]


def test_a_test_of_a_command_is_confirmed_and_does_nothing(
    station: Outstation, executed: list[tuple[int, float]]
) -> None:
    centre = Centre(station)
    centre.asdus()
    asdu = Asdu(type=50, cause=6, common_address=1, objects=((12, value(5)),), test=True)
    centre.octets(i_frame(0, centre.received, encode(asdu)))
    assert [(each.cause, each.test) for each in centre.asdus()] == [(CON, True), (TERM, True)]
    assert executed == []


def test_a_selection_by_a_test_lets_nothing_be_operated(station: Outstation, executed: list[tuple[int, float]]) -> None:
    centre = Centre(station)
    centre.asdus()
    tested = Asdu(type=50, cause=6, common_address=1, objects=((11, value(5, select=True)),), test=True)
    centre.octets(i_frame(0, centre.received, encode(tested)))
    assert [(each.cause, each.test) for each in centre.asdus()] == [(CON, True)]
    centre.sent = 1
    assert said(centre.ask(TypeId.C_SE_NC, 11, value(5))) == [(50, CON, True)]
    assert executed == []


@pytest.mark.parametrize(("age_ms", "refused"), [(10_000, False), (10_001, True), (-10_000, False), (-10_001, True)])
def test_a_command_with_a_time_has_an_age(
    station: Outstation, executed: list[tuple[int, float]], age_ms: int, refused: bool
) -> None:
    centre = Centre(station)
    centre.asdus()
    found = centre.ask(TypeId.C_SE_TC, 12, value(5) + encode_time(NOW_MS - age_ms))
    assert found[0].negative is refused
    assert executed == ([] if refused else [(12, 5.0)])
    assert centre.ask(TypeId.C_SE_TC, 12, value(5) + b"\xff" * 7)[0].negative


def test_the_clock_is_followed_in_time_stamps_only(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    (found,) = centre.ask(TypeId.C_CS_NA, 0, encode_time(NOW_MS + 60_000))
    assert (found.cause, decode_time(found.objects[0][1])) == (CON, NOW_MS)
    station.update(1, 1.0, 0.0, NOW_MS + 5)
    centre.read()
    (event,) = centre.asdus()
    assert decode_time(event.objects[0][1][1:]) == NOW_MS + 60_005


def test_events_of_a_lost_line_are_sent_again_in_order(station: Outstation) -> None:
    first = Centre(station)
    first.asdus()
    for n in range(3):
        station.update(2, float(n + 1), 0.0, NOW_MS + n)
    first.read()
    assert len(first.frames) == 3
    station.close(1)
    station.update(2, 9.0, 0.0, NOW_MS + 9)
    found = Centre(station, 2).asdus()
    assert [decode_time(each.objects[0][1][5:]) - NOW_MS for each in found] == [0, 1, 2, 9]


def test_a_second_centre_takes_over_with_what_the_first_has_not_acknowledged(station: Outstation) -> None:
    first = Centre(station)
    first.asdus()
    station.update(2, 1.0, 0.0, NOW_MS)
    first.read()
    second = Centre(station, 2)
    station.update(2, 2.0, 0.0, NOW_MS + 1)
    second.read()
    assert [struct.unpack("<f", each.objects[0][1][:4])[0] for each in second.asdus()] == [1.0, 2.0]
    with pytest.raises(FrameError, match="before STARTDT"):
        first.ask(TypeId.C_IC_NA, 0, b"\x14")
    station.close(1)
    assert station.waiting == 0


def test_events_that_were_not_acknowledged_at_a_stop_are_kept(station: Outstation) -> None:
    centre = Centre(station)
    centre.asdus()
    station.update(2, 1.0, 0.0, NOW_MS)
    centre.octets(u_frame(UFunction.STOPDT_ACT))
    station.close(1)
    assert station.waiting == 1


def test_a_stop_is_confirmed_once_all_is_acknowledged(station: Outstation) -> None:
    """A control centre acknowledges nothing after the confirmation: the events would be sent again on the next line."""
    centre = Centre(station)
    centre.asdus()
    station.update(2, 1.0, 0.0, NOW_MS)
    centre.read()
    centre.octets(u_frame(UFunction.STOPDT_ACT))
    assert u_frame(UFunction.STOPDT_CON) not in centre.frames
    assert len(centre.asdus()) == 1
    assert centre.frames == [u_frame(UFunction.STOPDT_CON)]
    station.close(1)
    assert station.waiting == 0


def test_beyond_the_bound_the_oldest_events_are_lost_and_an_event_says_so(station: Outstation) -> None:
    for n in range(7):
        station.update(2, float(n + 1), 0.0, NOW_MS + n)
    assert station.waiting == 5
    found = [each.objects[0] for each in Centre(station).asdus()[1:]]
    assert [(address, decode_time(element[-7:]) - NOW_MS) for address, element in found] == [
        (3, 6), (2, 3), (2, 4), (2, 5), (2, 6), (3, 0)
    ]  # fmt: skip
    assert [element[0] for address, element in found if address == 3] == [1, 0], "set, and at an end once all are sent"
    station.update(2, 9.0, 0.0, NOW_MS)
    assert station.waiting == 0, "the next one is like any other"


def test_an_interrogation_says_that_events_were_lost_until_those_left_are_sent(station: Outstation) -> None:
    def state(centre: Centre, asdus: list[Asdu]) -> int:
        (states,) = (each for each in asdus if each.type == TypeId.M_SP_NA)
        return dict(states.objects)[3][0]

    centre = Centre(station)
    assert state(centre, centre.ask(TypeId.C_IC_NA, 0, b"\x14")) == 0, "known from the start"
    for n in range(30):
        station.update(2, float(n + 1), 0.0, NOW_MS)
    centre.read()
    asdu = Asdu(type=TypeId.C_IC_NA, cause=Cause.ACTIVATION, common_address=1, objects=((0, b"\x14"),))
    centre.octets(i_frame(centre.sent, centre.received, encode(asdu)))
    centre.sent += 1
    found = centre.asdus()
    assert state(centre, found) == 1
    assert state(centre, centre.ask(TypeId.C_IC_NA, 0, b"\x14")) == 0


def test_changes_within_the_dead_band_and_of_counters_are_no_events(station: Outstation) -> None:
    station.update(2, 0.4, 0.0, NOW_MS)
    assert station.waiting == 1, "its quality changed"
    for kw in (0.8, 0.9, 0.5):
        station.update(2, kw, 0.0, NOW_MS)
    station.update(4, 99, 0.0, NOW_MS)
    assert station.waiting == 1
    station.update(2, 1.0, 0.0, NOW_MS)
    station.update(2, 1.0, 0.0, NOW_MS, Quality.NOT_TOPICAL)
    assert station.waiting == 3


@given(st.integers(946_684_800_000, 4_102_444_799_999))
def test_times_come_back(ms: int) -> None:
    assert decode_time(encode_time(ms)) == ms


def test_a_time_in_octets() -> None:
    """2026-11-27 (Friday) 14:05:09.250 UTC, by hand."""
    octets = bytes.fromhex("2224050ebb0b1a")
    assert encode_time(1_795_788_309_250) == octets
    assert decode_time(octets[:3] + b"\x8f" + octets[4:]) == 1_795_788_309_250, "summer time is an hour ahead"
    with pytest.raises(FrameError, match="marked as invalid"):
        decode_time(octets[:2] + b"\x85" + octets[3:])


def test_objects_in_a_sequence_share_one_address() -> None:
    octets = bytes((TypeId.M_SP_NA, 0x82, 20, 0, 1, 0, 9, 0, 0, 1, 0))
    assert decode(octets).objects == ((9, b"\x01"), (10, b"\x00"))
    with pytest.raises(FrameError, match="a sequence of 2 objects"):
        decode(octets + b"\0")


def test_objects_are_packed_in_order() -> None:
    objects = [(n, b"\0") for n in range(130)]
    found = packed(TypeId.M_SP_NA, Cause.INTERROGATED, 1, objects)
    assert [len(each.objects) for each in found] == [60, 60, 10]
    assert [one for each in found for one in decode(encode(each)).objects] == objects


def test_of_a_thousand_commands_over_a_line_that_drops_none_is_lost_or_operated_without_select(
    station: Outstation, executed: list[tuple[int, float]]
) -> None:
    chance, key = random.Random(104), 1
    centre, expected = Centre(station, key), list[tuple[int, float]]()
    for number in range(1000):
        kw = float(number % 50) + 0.5
        selects, drops, changes = (chance.random() < share for share in (0.9, 0.2, 0.1))
        if selects:
            assert said(centre.ask(TypeId.C_SE_NC, 11, value(kw, select=True)))[-1] == (TypeId.C_SE_NC, CON, False)
        if drops:
            station.close(key)
            key += 1
            centre = Centre(station, key)
            centre.asdus()
        operated = kw + 0.25 if changes else kw
        found = [each for each in said(centre.ask(TypeId.C_SE_NC, 11, value(operated))) if each[0] == TypeId.C_SE_NC]
        if selects and not drops and not changes:
            expected.append((11, operated))
            assert found == [(TypeId.C_SE_NC, CON, False), (TypeId.C_SE_NC, TERM, False)]
        else:
            assert found == [(TypeId.C_SE_NC, CON, True)], "what was selected before the line dropped is forgotten"
    assert executed == expected
    assert len(expected) > 500


def test_events_of_an_hour_come_once_in_order_and_with_their_own_times_though_the_line_is_cut() -> None:
    station = Outstation(
        OutstationSettings(), [MonitoredPoint(address=2, kind="float")], [], lambda _address, _value: True
    )
    centre: Centre | None = Centre(station, 1)
    got: list[Asdu] = []
    for second in range(3600):
        if second == 1000:
            station.close(1)
            centre = None
        if second == 1600:
            centre = Centre(station, 2)
        for tenth in range(0, 10, 5):
            now_s = second + tenth / 10
            station.update(2, second * 10 + tenth, now_s, NOW_MS + round(now_s * 1000))
        if centre is not None and second % 2:  # at the cut some are sent and not acknowledged
            centre.now_s = second
            centre.read()
            got += centre.asdus()
    values = [struct.unpack("<f", each.objects[0][1][:4])[0] for each in got if each.cause == Cause.SPONTANEOUS]
    times = [decode_time(each.objects[0][1][5:]) for each in got if each.cause == Cause.SPONTANEOUS]
    expected = [second * 10 + tenth for second in range(3600) for tenth in (0, 5)]
    assert values == expected
    assert times == [NOW_MS + number * 500 for number in range(7200)]
