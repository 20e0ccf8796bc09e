"""From OCPP meter values to samples with exact decimal values."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from csms.domain.transactions.transactions import IMPORT_REGISTER, Sample, plain
from v2g.errors import OcppError
from v2g.ocpp.messages.metering import MeterValue, SampledValue, UnitOfMeasure
from v2g.ocpp.times import parse_time

_LARGEST: Final = Decimal(10) ** 18
_SMALLEST: Final = -18

_NO_UNIT: Final = UnitOfMeasure()


def samples_of(values: Iterable[MeterValue]) -> tuple[Sample, ...]:
    """Return the samples of meter values, multipliers applied.

    Raises OcppError (PropertyConstraintViolation) for an invalid time and for a number of more than 18 digits
    before or after the point, which no meter has.
    """
    found: list[Sample] = []
    for meter_value in values:
        at_ms = parse_time(meter_value.timestamp)
        found += [_sample(sampled, at_ms) for sampled in meter_value.sampled_value]
    return tuple(found)


def _sample(sampled: SampledValue, at_ms: int) -> Sample:
    unit = sampled.unit_of_measure or _NO_UNIT
    signed = sampled.signed_meter_value
    return Sample(
        at_ms=at_ms,
        measurand=sampled.measurand or IMPORT_REGISTER,
        value=_decimal(sampled.value, unit.multiplier),
        unit=unit.unit,
        context=sampled.context or "Sample.Periodic",
        phase=sampled.phase or "",
        location=sampled.location or "Outlet",
        signed=msgspec.json.encode(signed).decode() if signed is not None else "",
    )


def _decimal(value: float, multiplier: int) -> str:
    text = repr(value)
    if multiplier == 0 and len(text) < -_SMALLEST and "e" not in text:  # nearly every value
        return text.removesuffix(".0") if value else "0"
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and _SMALLEST <= multiplier <= -_SMALLEST and exponent + multiplier >= _SMALLEST:
        number = number.scaleb(multiplier)
        if abs(number) < _LARGEST:
            return plain(number)
    raise OcppError(f"no meter counts {value} times ten to the {multiplier}", answer="PropertyConstraintViolation")
