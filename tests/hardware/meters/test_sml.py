"""Telegrams of meters in SML, judged by smllib, which we did not write."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smllib import SmlStreamReader

from tests.hardware.meters.sml import file, list_of, message, number, octets, sent, value
from tests.together import together
from v2g.errors import FrameError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.iec62056 import entries, sml_codes, values_of_codes
from v2g.sml import MOST_FILE, START, SmlFramer, crc16

FILES = {
    "easymeter_q3b": MeterValues(8_603_838_798, 14_553_799_514, None, 110),
    "iskra": MeterValues(79_139_300, 0, None, 2_144),
    "dzg": MeterValues(450_091_899, 2_198_000, None, 353, line_w=(82, 27, 244)),
}


def judged(telegram: bytes) -> dict[str, float]:
    """Return the numbers that smllib reads."""
    reader = SmlStreamReader()
    reader.add(telegram)
    frame = reader.get_frame()
    assert frame is not None
    found = {each.obis.obis_short: each.get_value() for each in frame.get_obis()}
    return {code: value for code, value in found.items() if isinstance(value, int | float)}


@together("name", sorted(FILES))
def test_telegrams_of_real_meters_are_read_as_smllib_reads_them(name: str) -> None:
    (payload,) = SmlFramer().receive(b"\x00\x1b" + sent(name))
    theirs = judged(sent(name))
    assert {each.code: each.value * 10.0**each.scaler for each in entries(payload)} == pytest.approx(theirs)
    assert values_of_codes(sml_codes(payload), export=True) == FILES[name]


# -- telegrams made here


SIZES = st.sampled_from((1, 2, 3, 4, 5, 8))


@st.composite
def numbers(draw: st.DrawFn) -> tuple[int, bytes]:
    size, signed = draw(SIZES), draw(st.booleans())
    low, high = (-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1) if signed else (0, (1 << 8 * size) - 1)
    found = draw(st.integers(low, high) | st.just(0x1B1B1B1B & high))
    return found, number(found, size, signed=signed)


@given(
    st.lists(numbers(), min_size=1, max_size=30),
    st.integers(-5, 3),
    st.binary(min_size=1, max_size=40),
    st.integers(1, 200),
)
def test_any_list_is_read_as_it_was_written_and_as_smllib_reads_it(
    values: list[tuple[int, bytes]], scaler: int, text: bytes, cut: int
) -> None:
    rows = [value(f"{at}.8.0", 30, scaler, coded) for at, (_, coded) in enumerate(values, 1)]
    telegram = file(list_of(*rows, value("96.1.0", 30, 0, octets(text))))
    framer, found = SmlFramer(), []
    for at in range(0, len(telegram), cut):
        found += framer.receive(telegram[at : at + cut])
    (payload,) = found
    ours = entries(payload)
    assert [each.value for each in ours] == [each for each, _ in values]
    assert [each.code for each in ours] == [f"{at}.8.0" for at in range(1, len(values) + 1)]
    if b"\x1b\x1b" not in payload:  # smllib finds escapes that are none
        theirs = judged(telegram)
        for each in ours:
            assert each.value * 10.0**each.scaler == pytest.approx(theirs[each.code])
    assert framer.errors == 0


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_octet_never_becomes_a_reading(place: int, change: int) -> None:
    telegram = bytearray(sent("iskra"))
    telegram[place % len(telegram)] ^= change
    assert list(SmlFramer().receive(bytes(telegram))) == []


def test_a_telegram_with_the_other_checksum_of_16_bits_is_read() -> None:
    """Holley DTZ541 sends CRC-16/KERMIT, high octet first, instead of CRC-16/X-25."""
    assert crc16(b"123456789", 0) == 0x2189  # check value of the catalogue of parametrised CRC algorithms
    telegram = sent("iskra")[:-2]
    check = crc16(telegram, 0)
    assert list(SmlFramer().receive(telegram + check.to_bytes(2, "big"))) == list(SmlFramer().receive(sent("iskra")))
    assert list(SmlFramer().receive(telegram + (check ^ 1).to_bytes(2, "big"))) == []


def test_after_a_broken_telegram_the_next_whole_one_is_read() -> None:
    framer, telegram = SmlFramer(), sent("dzg")
    assert len(list(framer.receive(telegram[:100] + telegram))) == 1
    assert framer.errors == 1
    assert list(framer.receive(START + bytes(2 * MOST_FILE))) == []
    assert framer.errors == 2
    assert not framer.waiting
    assert len(list(framer.receive(telegram))) == 1


def test_a_register_of_days_before_is_not_the_present_one() -> None:
    now, past = (value("1.8.0", 30, 0, number(energy, 2, signed=False)) for energy in (900, 12))
    assert sml_codes(list_of(now, past.replace(b"\x01\x08\x00\xff", b"\x01\x08\x00\x60"))) == {"1.8.0": 900.0}


WRONG: list[tuple[bytes, str]] = [
    (list_of(value("1.8.0", 27, 0, number(1, 1, signed=False))), "1.8.0 has the unit 27, not Wh"),
    (list_of(value("1.8.0", 30, 99, number(1, 1, signed=False))), "power of ten"),
    (b"\x77" * 9, "too deep"),
    (b"\x7f", "too long"),
    (b"\x76\x62\x01\x62\x00\x62\x00\x62\x00\x62\x00\x00", "not a message"),
    (b"\x05\x00", "cut"),
    (b"\x82", "wrong length"),
    (b"\x22\x00", "unknown type"),
    (message(0x0701, b"\x01"), "seven parts"),
]


@together(("payload", "said"), WRONG, ids=lambda case: case[1])
def test_what_is_no_sml_is_refused(payload: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        sml_codes(payload)


def missing(**found: Any) -> MeterValues:
    export = found.pop("export", True)
    return values_of_codes({key.strip("c").replace("_", "."): float(v) for key, v in found.items()}, export=export)


def test_energy_must_be_there_in_each_direction_in_which_it_may_flow() -> None:
    assert missing(c1_8_0=5, export=False) == MeterValues(5_000, 0)
    assert missing(c1_8_0=5, c2_8_0=1, c1_7_0=20, c2_7_0=50) == MeterValues(5_000, 1_000, None, -30)
    for found, said in (
        ({"c2_8_0": 1}, "no 1.8.0"),
        ({"c1_8_0": 1}, "no 2.8.0"),
        ({"c1_8_0": 1, "c16_7_0": -1, "export": False}, "does not count energy out"),
        ({"c1_8_0": -1, "c2_8_0": 1}, "negative"),
    ):
        with pytest.raises(FrameError, match=said):
            missing(**found)
