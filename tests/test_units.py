"""Exact quantities on the ISO 15118-20 wire."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.units import payable, payable_micro, to_rational


def exact(value: int, exponent: int) -> Decimal:
    """Return what a RationalNumber says."""
    return Decimal(value).scaleb(exponent)


@given(st.integers(-32768, 32767), st.integers(-20, 20))
def test_every_rational_number_survives_the_way_through_decimal(value: int, exponent: int) -> None:
    number = exact(value, exponent)
    assert exact(*to_rational(number)) == number


@given(st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=6))
def test_rounding_never_moves_a_number_by_more_than_half_a_step(number: Decimal) -> None:
    value, exponent = to_rational(number)
    assert -32768 <= value <= 32767
    assert -128 <= exponent <= 127
    assert abs(exact(value, exponent) - number) <= Decimal("0.56") * Decimal(10) ** exponent


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e200")])
def test_what_a_rational_number_cannot_hold_is_refused(number: Decimal) -> None:
    with pytest.raises(ValueError, match=r"finite|too large"):
        to_rational(number)


def test_powers_are_written_without_needless_exponents() -> None:
    assert to_rational(11000) == (11000, 0)
    assert to_rational(Decimal("400.5")) == (4005, -1)
    assert to_rational(0) == (0, 0)


def test_what_is_paid_has_as_many_digits_as_its_currency() -> None:
    amounts = [payable(Decimal("45.265"), currency) for currency in ("EUR", "JPY", "KWD", "CLF")]
    assert [str(each) for each in amounts] == ["45.27", "45", "45.265", "45.2650"]


def test_what_is_paid_is_rounded_away_from_zero_alike_in_both_directions() -> None:
    """So that a reversal gives back what was debited."""
    for micro, currency, expected in (
        (495_500_000, "JPY", 496_000_000),
        (495_499_999, "JPY", 495_000_000),
        (675_500, "KWD", 676_000),
        (5_000, "EUR", 10_000),
        (4_999, "EUR", 0),
        (123_450, "CLF", 123_500),
    ):
        assert (payable_micro(micro, currency), payable_micro(-micro, currency)) == (expected, -expected)
