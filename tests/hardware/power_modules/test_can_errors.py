"""Error frames of a CAN bus, by the bits of linux/can/error.h."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.hardware.power_modules.can_errors import AGAIN_S, BusHealth, least_bits

STUFF, BUS_OFF, ACK, CONTROLLER, RESTARTED = 0x88, 0x40, 0x20, 0x204, 0x100
STUFFED = bytes((0, 0, 0x04, 0, 0, 0, 0, 0))


def names(health: BusHealth, classes: int, data: bytes = bytes(8), now: float = 0.0) -> list[str]:
    return [each.name for each in health.error(classes, data, now)]


@pytest.mark.requirement("R69")
def test_bus_off_is_a_fault_with_cause_and_remedy() -> None:
    (found,) = BusHealth("can7").error(BUS_OFF, bytes(8), 0.0)
    assert found.name == "bus_off"
    assert "bit rate" in found.cause
    assert "ip link set can7 up type can bitrate 500000" in found.hint


@pytest.mark.requirement("R61", "R69")
def test_only_errors_and_no_valid_frame_is_another_bit_rate() -> None:
    health = BusHealth()
    assert [names(health, STUFF, STUFFED) for _ in range(8)] == [[]] * 7 + [["bit_rate_mismatch"]]
    disturbed = BusHealth()
    for _ in range(20):
        assert names(disturbed, STUFF, STUFFED) == []
        disturbed.received()
    assert disturbed.errors == 20


@pytest.mark.requirement("R69")
def test_a_fault_that_lasts_is_reported_once_a_minute_and_anew_after_a_restart() -> None:
    health = BusHealth()
    assert names(health, BUS_OFF, now=0) == ["bus_off"]
    assert names(health, BUS_OFF, now=AGAIN_S - 1) == []
    assert names(health, BUS_OFF, now=AGAIN_S) == ["bus_off"]
    assert names(health, RESTARTED, now=AGAIN_S + 1) == ["restarted"]
    assert names(health, BUS_OFF, now=AGAIN_S + 2) == ["bus_off"]


@pytest.mark.requirement("R69")
@pytest.mark.parametrize(
    ("classes", "data", "name"),
    [
        (CONTROLLER, bytes((0, 0x01, 0, 0, 0, 0, 0, 0)), "frames_lost"),
        (CONTROLLER, bytes((0, 0x20, 0, 0, 0, 0, 136, 2)), "error_passive"),
        (ACK, b"", "no_acknowledgement"),
        (0x10, bytes((0, 0, 0, 0, 0x04, 0, 0, 0)), "transceiver"),
    ],
)
def test_other_faults(classes: int, data: bytes, name: str) -> None:
    health = BusHealth()
    assert names(health, classes, data) == [name]
    if classes & 0x200:
        assert health.counters == (data[6], data[7])


@pytest.mark.long
@given(st.integers(0, 2**29 - 1), st.binary(max_size=64))
def test_any_error_frame_is_counted(classes: int, data: bytes) -> None:
    health = BusHealth()
    health.error(classes, data, 0.0)
    assert health.errors == 1


def test_bits_of_a_frame() -> None:
    """111 bits for 8 octets: 500 kbit/s carry 4,504 of them in a second."""
    assert (least_bits(8), least_bits(0), least_bits(8, extended=True)) == (111, 47, 131)
