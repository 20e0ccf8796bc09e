"""Readouts of IEC 62056-21: as real meters send them, and everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from tests.hardware.meters.iec62056 import sent
from tests.together import together
from v2g.errors import FrameError
from v2g.hardware.meters.iec62056 import MOST_TELEGRAM, ReadoutFramer, answer_to, codes, values_of_codes, with_parity

READOUTS = {
    "ebz_dd3": {
        "1.8.0": 2_714_128.30185,
        "2.8.0": 1_206.0,
        "16.7.0": 211.26,
        "36.7.0": 157.64,
        "56.7.0": 15.64,
        "76.7.0": 37.98,
    },
    "iskra_mt174": {"1.8.0": 502_853.0, "2.8.0": 98_697_318.0},
}


def framed(data: bytes, *, parity: bool = False, cut: int = 7) -> tuple[list[str], ReadoutFramer]:
    framer, found = ReadoutFramer(parity=parity), []
    for at in range(0, len(data), cut):
        found += framer.receive(data[at : at + cut])
    return found, framer


@together("name", sorted(READOUTS))
@pytest.mark.parametrize("parity", [True, False])
def test_readouts_of_real_meters_are_read(name: str, parity: bool) -> None:
    data = b"\x00noise\r\n" + 2 * sent(name)
    found, framer = framed(with_parity(data) if parity else data, parity=parity)
    assert [codes(each) for each in found] == [READOUTS[name]] * 2
    assert framer.errors == 0
    assert not framer.waiting


def arc(text: bytes) -> int:
    """Return CRC-16/ARC by pymodbus, whose CRC-16/MODBUS differs in the start value only."""
    swapped = FramerRTU.compute_CRC(text) ^ FramerRTU.compute_CRC(bytes(len(text)))
    return swapped >> 8 | (swapped & 0xFF) << 8


def test_the_checksum_of_dsmr_is_crc_16_arc() -> None:
    assert arc(b"123456789") == 0xBB3D  # check value of the catalogue of parametrised CRC algorithms
    text = b"/ISK5\\2M550T-1012\r\n\r\n1-0:1.8.0(000001.500*kWh)\r\n1-0:2.8.0(0*kWh)\r\n!"
    check = arc(text)
    found, _ = framed(text + b"%04X\r\n" % check)
    assert [codes(each) for each in found] == [{"1.8.0": 1_500.0, "2.8.0": 0.0}]
    broken, framer = framed(text + b"%04X\r\n" % (check ^ 1))
    assert (broken, framer.errors) == ([], 1)


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_one_wrong_bit_of_a_line_with_parity_never_becomes_a_reading(place: int, bit: int) -> None:
    data = bytearray(with_parity(sent("iskra_mt174")[17:]))
    data[place % len(data)] ^= 1 << bit
    assert framed(bytes(data), parity=True)[0] == []


def test_what_never_ends_is_dropped() -> None:
    for begin in (b"/", b"\x02"):
        found, framer = framed(begin + b"x" * 2 * MOST_TELEGRAM, cut=4096)
        assert (found, framer.errors, framer.waiting) == ([], 1, False)
    found, framer = framed(sent("ebz_dd3")[:50] + sent("ebz_dd3"))
    assert (len(found), framer.errors) == (1, 1)


@together(
    ("line", "said"),
    [
        ("1-0:1.8.0*255(12,5*kWh)", "not a number of Wh"),
        ("1-0:1.8.0*255(nan*kWh)", "not a number of Wh"),
        ("1-0:1.8.0*255(5*kW)", "not a number of Wh"),
        ("1-0:1.8.0*255(5*furlong)", "not a number of Wh"),
        ("1.8.0(1e9*kWh)", "not a number of Wh"),
    ],
    ids=lambda case: case[0],
)
def test_a_value_that_is_no_number_is_refused(line: str, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        codes(line)


def test_other_lines_are_passed_over() -> None:
    assert codes("0-0:96.1.0(1234)\r\n1.8.0(5*Wh)\r\n1-0:1.8.0*255(\r\n)(\r\n16.7.0(-2.5*kW)") == {
        "1.8.0": 5.0,
        "16.7.0": -2_500.0,
    }


def test_several_data_sets_of_a_line_are_read() -> None:
    """IEC 62056-21, 6.6: a data line has one data set or more; one with several values is another register."""
    line = "0.0.0(7)1-0:1.8.0*255(75.65*kWh)2.8.0(3.5*kWh)1.8.0*96(1.2*kWh)16.7.0(2*kW)(2611302240)"
    assert codes(line) == {"1.8.0": 75_650.0, "2.8.0": 3_500.0}


def test_rates_add_up_to_a_total_that_is_not_sent() -> None:
    """As meters of the Netherlands and Belgium send them (P1 Companion Standard 5.0.2, 6.12)."""
    rates = "1-0:1.8.1(001581.123*kWh)\r\n1-0:1.8.2(001435.706*kWh)\r\n1-0:2.8.1(000000.5*kWh)\r\n"
    both = values_of_codes(codes(rates + "1-0:2.8.2(000001.0*kWh)\r\n1-0:1.7.0(02.027*kW)"), export=True)
    assert (both.import_mwh, both.export_mwh, both.power_w) == (3_016_829_000, 1_500_000, 2_027)
    assert values_of_codes(codes(rates + "1-0:1.8.0(5*kWh)\r\n1-0:1.8.3(-*kWh)"), export=False).import_mwh == 5_000_000
    with pytest.raises(FrameError, match=r"sends no 1\.8\.0"):
        values_of_codes(codes(rates + "1-0:1.8.3(-*kWh)"), export=False)


def test_registers_of_days_and_billing_periods_before_are_not_the_present_ones() -> None:
    """As Logarex LK13BE sends them, and those of a reset on request (VDEW)."""
    past = "1-0:1.8.0*96(000001.2*kWh)\r\n1-0:2.8.0*100(000009.7*kWh)\r\n1.8.0*05(000040.0*kWh)\r\n"
    assert codes("1-0:1.8.0*255(000075.65*kWh)\r\n1-0:2.8.0*255(000003.5*kWh)\r\n" + past) == {
        "1.8.0": 75_650.0,
        "2.8.0": 3_500.0,
    }


def test_a_meter_is_asked_for_the_speed_that_it_offers() -> None:
    assert answer_to(b"/ISk5MT174-0002") == (b"\x06050\r\n", 9_600)
    assert answer_to(b"/ABC0old") == (b"\x06000\r\n", 300)
    assert answer_to(b"/ABC@x") is None
    for wrong in (b"", b"ISk5", b"/IS", b"/12a5", b"/ISk5" + b"x" * 80):
        with pytest.raises(FrameError):
            answer_to(wrong)
