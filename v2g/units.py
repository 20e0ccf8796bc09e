"""Exact quantities: integers of small units internally, RationalNumber in ISO 15118-20 messages.

Power is signed integer W, positive from charger to vehicle (V2G20-1034); energy integer Wh or mWh; time
integer ms since 1970 in UTC; money integer micro-units of the currency. No floating-point number reaches a register,
a journal or an invoice.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Final

from msgspec import Meta

MICRO: Final = 1_000_000
"""Micro-units in one unit of a currency."""

MWH_PER_KWH: Final = 1_000_000
"""mWh in one kWh."""

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
QUARTER_MS: Final = 900_000
"""A quarter of an hour: the settlement interval."""
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
DAY_S: Final = 86_400

Decimals = Annotated[str, Meta(pattern=r"^-?[0-9]{1,13}(\.[0-9]{1,6})?\Z", examples=["0.25"])]
"""An amount of money, or a price, in documents and in the API: decimal text with at most six decimals."""

PositiveDecimals = Annotated[str, Meta(pattern=r"^[0-9]{1,13}(\.[0-9]{1,6})?\Z", examples=["0.25"])]
"""The same, from 0."""

Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z", examples=["EUR"])]
"""ISO 4217."""

LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, in UTC: the last time that calendars, and RFC 3339 text of OCPP, can name."""

UtcMs = Annotated[int, Meta(ge=0, le=LAST_MS)]
"""A time that people or other programs state: ms since 1970 in UTC."""

_MIN_VALUE, _MAX_VALUE = -32768, 32767
_MIN_EXPONENT, _MAX_EXPONENT = -128, 127


def to_rational(number: Decimal | int) -> tuple[int, int]:
    """Return `(value, exponent)` of -20's RationalNumber, value in -32768..32767, exponent in -128..127.

    Exact if the number has at most four to five significant digits; otherwise rounded half-even to the
    digits that 16 bits hold. Raises ValueError if the magnitude is too large or not finite.
    """
    number = Decimal(number)
    if not number.is_finite():
        raise ValueError(f"{number} is not finite")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    value = int("".join(map(str, digits))) * (-1 if sign else 1)
    while value and value % 10 == 0 and exponent < _MAX_EXPONENT:
        value, exponent = value // 10, exponent + 1
    while not _MIN_VALUE <= value <= _MAX_VALUE or exponent < _MIN_EXPONENT:
        exponent += 1
        value = int((Decimal(value) / 10).to_integral_value())
    if value == 0:
        return 0, 0
    while exponent > _MAX_EXPONENT or (exponent > 0 and _MIN_VALUE <= value * 10 <= _MAX_VALUE):
        if not _MIN_VALUE <= value * 10 <= _MAX_VALUE:
            raise ValueError(f"{number} is too large for a RationalNumber")
        value, exponent = value * 10, exponent - 1
    return value, exponent


_WHOLE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THOUSANDTHS: Final = "BHD IQD JOD KWD LYD OMR TND"
_TEN_THOUSANDTHS: Final = "CLF UYW"
CURRENCY_DIGITS: Final[Mapping[str, int]] = (
    dict.fromkeys(_WHOLE.split(), 0)
    | dict.fromkeys(_THOUSANDTHS.split(), 3)
    | dict.fromkeys(_TEN_THOUSANDTHS.split(), 4)
)
"""Number of decimals ("minor unit") of currencies that do not have two: ISO 4217, list one, of 2024."""


def currency_digits(currency: str) -> int:
    """Return the number of decimals of a currency (ISO 4217), 0, 2, 3 or 4; unknown ones have two."""
    return CURRENCY_DIGITS.get(currency, 2)


def payable(amount: Decimal, currency: str) -> Decimal:
    """Return a payable amount: rounded half up to the currency's smallest unit (ISO 4217)."""
    rounded = amount.quantize(Decimal(1).scaleb(-currency_digits(currency)), rounding=ROUND_HALF_UP)
    return rounded or abs(rounded)  # never -0.00


def payable_micro(micro: int, currency: str) -> int:
    """Return micro-units rounded half up, away from zero, to the currency's smallest unit: what can be paid."""
    return int(payable(Decimal(micro).scaleb(-6), currency).scaleb(6))


def micro_of(text: str) -> int:
    """Return decimal text of `Decimals` in micro-units."""
    return int(Decimal(text) * MICRO)


def decimals_of(micro: int, currency: str = "") -> str:
    """Return micro-units as decimal text, exact; JPY 12, EUR 12.50, BHD 12.500, or more decimals where they are not
    zero. Without a currency it has two."""
    exact = Decimal(micro).scaleb(-6).normalize()
    exponent = exact.as_tuple().exponent
    assert isinstance(exponent, int), "of an integer"
    return f"{exact:.{max(currency_digits(currency), -exponent)}f}"
