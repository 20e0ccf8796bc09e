"""Money in the API: decimal text, exact, with the decimals of its currency."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.http.parameters import Money, money_of
from tests.together import together
from v2g.units import decimals_of, micro_of


@pytest.mark.requirement("R33", "R44")
@together(
    ("micro", "currency", "text"),
    [
        (12_000_000, "JPY", "12"), (12_500_000, "JPY", "12.5"), (-12_500_000, "EUR", "-12.50"), (0, "EUR", "0.00"),
        (12_500_000, "BHD", "12.500"), (-1, "BHD", "-0.000001"), (10**15, "EUR", "1000000000.00"),
        (20_000, "EUR", "0.02"), (80_000, "EUR", "0.08"),
    ],
)  # fmt: skip
def test_an_amount_has_the_decimals_of_its_currency(micro: int, currency: str, text: str) -> None:
    assert money_of(micro, currency) == Money(amount=text, currency=currency)


@given(st.integers(-(10**14), 10**14), st.sampled_from(["JPY", "EUR", "BHD"]))
def test_an_amount_is_exact_and_read_back(micro: int, currency: str) -> None:
    text = decimals_of(micro, currency)
    assert Decimal(text) * 10**6 == micro_of(text) == micro
