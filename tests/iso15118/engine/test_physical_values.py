"""Physical values: exact where they fit, rounded to the safe side where not, the units checked."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g import exi
from v2g.errors import Iso15118Error
from v2g.iso15118.d2.messages import data_types as d2
from v2g.iso15118.d2.schedules import VALUES as VALUES_2
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.messages import data_types as din
from v2g.iso15118.din.schedules import VALUES as VALUES_DIN
from v2g.iso15118.engine import physical_values as pv
from v2g.iso15118.engine.physical_values import MOST, Rounding, fitted, watts_int16

EDITIONS = pytest.mark.parametrize(("types", "writer"), [(d2, VALUES_2), (din, VALUES_DIN)], ids=["d2", "din"])


def exact(value: int, multiplier: int) -> Fraction:
    return Fraction(value) * Fraction(10) ** multiplier


@given(st.integers(-(10**10), 10**10), st.sampled_from([-3, 0]), st.sampled_from(Rounding))
def test_what_is_sent_fits_its_type_and_errs_on_the_named_side(amount: int, exponent: int, rounding: Rounding) -> None:
    value, multiplier = fitted(amount, exponent, rounding)
    assert -32767 <= value <= 32767
    assert -3 <= multiplier <= 3
    sent, meant = exact(value, multiplier), exact(amount, exponent)
    if abs(meant) > 32_767_000:
        return
    finest = min(each for each in range(exponent, 4) if abs(meant) <= 32767 * Fraction(10) ** each)
    step = Fraction(10) ** finest
    match rounding:
        case Rounding.DOWN:
            assert abs(meant) - step < abs(sent) <= abs(meant)
        case Rounding.UP:
            assert abs(meant) <= abs(sent) < abs(meant) + step
        case Rounding.NEAREST:
            assert abs(sent - meant) * 2 <= step
    assert multiplier >= 0 or value % 10, "no negative multiplier without need"


@together(
    ("amount", "exponent", "expected"),
    [
        (350_000, 0, (3500, 2)),  # 350 kW: 35000 x 10 is beyond int16
        (400_000, -3, (400, 0)),
        (400_100, -3, (4001, -1)),
        (125_499, -3, (12549, -2)),
        (0, -3, (0, 0)),
        (32_767, 0, (32767, 0)),
        (32_768, 0, (3276, 1)),
        (10**12, 0, (32767, 3)),
        (-(10**12), 0, (-32767, 3)),
    ],
)
def test_published_and_bounding_examples(amount: int, exponent: int, expected: tuple[int, int]) -> None:
    assert fitted(amount, exponent, Rounding.DOWN) == expected


@EDITIONS
@given(value=st.integers(-32768, 32767), multiplier=st.integers(-3, 3))
def test_voltages_and_currents_are_read_exactly(types: Any, writer: Any, value: int, multiplier: int) -> None:
    expected = max(-MOST, min(MOST, value * 10 ** (multiplier + 3)))
    for unit, read in (("V", pv.millivolts), ("A", pv.milliamperes)):
        assert read(types.PhysicalValue(multiplier=multiplier, unit=types.UnitSymbol(unit), value=value)) == expected


@EDITIONS
@given(value=st.integers(-32768, 32767), multiplier=st.integers(-3, 3), rounding=st.sampled_from(Rounding))
def test_power_and_energy_are_read_as_whole_numbers_on_the_named_side(
    types: Any, writer: Any, value: int, multiplier: int, rounding: Rounding
) -> None:
    meant = exact(value, multiplier)
    for unit, read in (("W", pv.watts), ("Wh", pv.watt_hours)):
        got = read(types.PhysicalValue(multiplier=multiplier, unit=types.UnitSymbol(unit), value=value), rounding)
        if abs(meant) <= MOST:
            assert abs(got - meant) < 1
            assert rounding is not Rounding.DOWN or abs(got) <= abs(meant)
            assert rounding is not Rounding.UP or abs(got) >= abs(meant)
        else:
            assert abs(got) == MOST


@EDITIONS
@given(st.integers(0, MOST), st.sampled_from(Rounding))
def test_what_one_side_sends_the_other_reads_after_a_trip_through_the_codec(
    types: Any, writer: Any, amount: int, rounding: Rounding
) -> None:
    for make, read, step in (
        (writer.voltage, pv.millivolts, 1000),
        (writer.current, pv.milliamperes, 1000),
        (writer.power, pv.watts, 1000),
        (writer.energy, pv.watt_hours, 1000),
    ):
        got = read(make(amount, rounding))
        assert abs(got - amount) <= step
        assert rounding is not Rounding.DOWN or got <= amount


def test_the_written_values_are_valid_in_their_schema() -> None:
    message = VALUES_2.power(349_999, Rounding.DOWN)
    assert exi.decode_fragment(exi.encode_fragment(message, ISO2, name="PMax"), ISO2) == message
    assert (message.value, message.multiplier, message.unit) == (3499, 2, d2.UnitSymbol.W)


def test_times_come_in_three_units() -> None:
    for unit, expected in (("s", 90), ("m", 5400), ("h", 324_000)):
        assert pv.seconds(d2.PhysicalValue(multiplier=0, unit=d2.UnitSymbol(unit), value=90)) == expected
    assert pv.seconds(VALUES_DIN.time(3600)) == 3600


def test_a_missing_unit_is_the_right_one_and_a_wrong_one_is_refused() -> None:
    assert pv.milliamperes(din.PhysicalValue(multiplier=0, value=5)) == 5000
    assert pv.watts(din.PhysicalValue(multiplier=3, unit=din.UnitSymbol.VA, value=5)) == 5000
    for unit in set(din.UnitSymbol) - {din.UnitSymbol.A}:
        with pytest.raises(Iso15118Error, match="current in") as caught:
            pv.milliamperes(din.PhysicalValue(multiplier=0, unit=unit, value=5))
        assert caught.value.answer == "FAILED_WrongChargeParameter"


@given(st.integers())
def test_powers_without_a_multiplier_are_never_overstated(power_w: int) -> None:
    assert watts_int16(power_w) == (power_w if 0 <= power_w <= 32767 else 0 if power_w < 0 else 32767)
