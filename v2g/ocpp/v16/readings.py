"""Meter values of 1.6 as those of 2.x: texts become numbers, signed texts are kept beside the register they sign."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar, get_args

from msgspec.structs import replace

from v2g import typed_json
from v2g.energy.meter_records.judge import read_record
from v2g.errors import CodecError
from v2g.ocpp.messages import metering
from v2g.ocpp.v16 import messages

IMPORT: Final = "Energy.Active.Import.Register"
_EXPORT: Final = "Energy.Active.Export.Register"
_POWER: Final = "Power.Active.Import"
_LACKING: Final = frozenset({"Temperature", "RPM"})
"""Measurands that 2.x does not have: they concern neither energy nor safety, and are left out."""
_UNITS: Final[Mapping[str | None, metering.UnitOfMeasure]] = {
    each: metering.UnitOfMeasure(unit={"Celcius": "Celsius"}.get(each, each))
    for each in (*get_args(messages.Unit16), "Hertz")
    if each != "Wh"
}
_REGISTERS: Final = frozenset({None, IMPORT, _EXPORT})
_MOST: Final = 1e15
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PROVES_WH: Final = 10_000
KWH_AS_WH: Final = "kwh_as_wh"
"""Name of the deviation in which registers in kWh are labelled Wh."""
POWER_IN_KW: Final = "power_in_kw"
"""Name of the deviation in which powers without a unit are in kW."""
_ENCODED: Final = re.compile(r"[A-Za-z0-9+/]+=*")
"""Base64 or hexadecimal digits, which need no further encoding."""


def register(wh: int, at: str, context: metering.ReadingContext) -> metering.MeterValue:
    """Return `meterStart` or `meterStop` as a reading of the import register."""
    return metering.MeterValue(
        timestamp=at, sampled_value=(metering.SampledValue(value=float(wh), measurand=IMPORT, context=context),)
    )


def last_register(values: Iterable[metering.MeterValue], before: int | None) -> int | None:
    """Return the import register in the last of these values, Wh, `before` where there is none."""
    for value in values:
        for each in value.sampled_value:
            if (each.measurand or IMPORT) == IMPORT and each.phase is None:
                unit = each.unit_of_measure or metering.UnitOfMeasure()
                before = round(each.value * 10.0**unit.multiplier * (1000 if unit.unit == "kWh" else 1))
    return before


def is_thousandth(wh: int | None, known_wh: int | None) -> bool:
    """Return whether a register has fallen to a thousandth of what is known: it is in kWh and labelled Wh.

    It may be that of up to 1 MWh later, in whole kWh. `known_wh` below 10 kWh proves nothing.
    """
    if wh is None or known_wh is None or known_wh < _PROVES_WH or wh >= known_wh / 100:
        return False
    return known_wh - 1000 <= wh * 1000 + 500 and wh * 1000 - 500 <= known_wh + 1_000_000  # it is rounded


def without_registers(values: Iterable[metering.MeterValue]) -> tuple[metering.MeterValue, ...]:
    """Return values without import registers."""
    found = (
        replace(each, sampled_value=tuple(one for one in each.sampled_value if (one.measurand or IMPORT) != IMPORT))
        for each in values
    )
    return tuple(each for each in found if each.sampled_value)


def kilowatts(values: Iterable[metering.MeterValue], mean_w: float) -> bool | None:
    """Return whether powers without a unit, for which 1.6 names none, are in kW by the mean power that the register
    shows, W; None where that says nothing."""
    for value in values:
        bare = [each for each in value.sampled_value if each.measurand == _POWER and each.unit_of_measure is None]
        whole = [each for each in bare if each.phase is None]
        shown = sum(each.value for each in whole or bare)
        for factor, found in ((1000, True), (1, False)):
            if shown > 0 and 1 / 3 <= mean_w / (shown * factor) <= 3:
                return found
    return None


def in_kilowatts(values: Iterable[metering.MeterValue]) -> tuple[metering.MeterValue, ...]:
    """Return values whose powers without a unit are in kW."""

    def read(each: metering.SampledValue) -> metering.SampledValue:
        bare = each.unit_of_measure is None and each.measurand in (_POWER, "Power.Active.Export", "Power.Offered")
        return replace(each, unit_of_measure=_UNITS["kW"]) if bare else each

    return tuple(replace(value, sampled_value=tuple(read(each) for each in value.sampled_value)) for value in values)


def meter_values(values: Iterable[messages.MeterValue16 | messages.TransactionData]) -> tuple[metering.MeterValue, ...]:
    """Return what of these values 2.x has; an element of which nothing is left is left out."""
    found = [
        metering.MeterValue(timestamp=each.timestamp, sampled_value=_samples(each.sampled_value)) for each in values
    ]
    return tuple([each for each in found if each.sampled_value])


def _samples(values: Sequence[messages.ValueAt]) -> tuple[metering.SampledValue, ...]:
    samples, signed = [], []
    for each in values:
        if each.format == "SignedData":
            signed.append(each)
        elif each.measurand not in _LACKING and (number := _number_of(each)) is not None:
            samples.append(_sampled(each, number))
    for each in signed:
        _attach(samples, each)
    return tuple(samples)


def _number_of(value: messages.ValueAt) -> float | None:
    number = number_in(value.value)
    unanswered = number is not None and number < 0 and value.measurand in _REGISTERS  # by the meter: -1
    return None if unanswered else number


def _sampled(value: messages.ValueAt, number: float) -> metering.SampledValue:
    measurand: metering.Measurand | None = value.measurand  # type: ignore[assignment] # those of _LACKING are gone
    return metering.SampledValue(
        value=number,
        measurand=measurand,
        context=value.context,
        phase=value.phase,
        location=value.location,
        unit_of_measure=_UNITS.get(getattr(value, "unit", None)),
    )


def number_in(text: str) -> float | None:
    """Return the number in a text, in which blanks and a decimal comma are tolerated; None for none."""
    bare = text.strip()
    if "," in bare and "." in bare:  # the first of them groups digits
        bare = bare.replace(min(",.", key=bare.index), "")
    if not _NUMBER.fullmatch(bare):
        return None
    number = float(bare.replace(",", "."))
    return number if -_MOST <= number <= _MOST else None


def _attach(samples: list[metering.SampledValue], signed: messages.ValueAt) -> None:
    """Keep a signed text: at the reading of its register that it signs, else with the value within it."""
    text = signed.value.strip()
    encoded = text if _ENCODED.fullmatch(text) else base64.b64encode(text.encode()).decode()
    kept = metering.SignedMeterValue(signed_meter_data=encoded, signing_method="", encoding_method="", public_key="")
    measurand = signed.measurand or IMPORT
    for index, each in enumerate(samples):
        same = (each.measurand or IMPORT) == measurand and each.context == signed.context and each.phase is None
        if same and each.signed_meter_value is None:
            samples[index] = replace(each, signed_meter_value=kept)
            return
    if (wh := _signed_wh(text, measurand, signed.context)) is not None:
        alone = replace(signed, format=None, measurand=measurand, phase=None)
        samples.append(replace(_sampled(alone, wh), unit_of_measure=None, signed_meter_value=kept))


def _signed_wh(text: str, measurand: str, context: str | None) -> float | None:
    """Return the register in a signed text, by its mark where it has several."""
    direction = {IMPORT: "import", _EXPORT: "export"}.get(measurand)
    mark = {"Transaction.Begin": "begin", "Transaction.End": "end"}.get(context or "", "")
    try:
        readings = [each for each in read_record(text.encode()).readings if each.direction == direction]
    except CodecError:
        return None
    marked = [each for each in readings if each.mark == mark] or readings
    return float(marked[0].wh) if len(marked) == 1 and marked[0].wh is not None else None


# -- and back


def values_in_16(values: Iterable[metering.MeterValue]) -> tuple[messages.MeterValue16, ...]:
    """Return what of these values 1.6 has, for MeterValues; an element of which nothing is left is left out."""
    found = ((each.timestamp, _written(each.sampled_value, messages.SampledValue16, _WORDS)) for each in values)
    return tuple(messages.MeterValue16(timestamp=at, sampled_value=samples) for at, samples in found if samples)


def transaction_data(values: Iterable[metering.MeterValue]) -> tuple[messages.TransactionData, ...]:
    """Return what of these values 1.6 has, for StopTransaction, which has no Hertz."""
    found = (
        (each.timestamp, _written(each.sampled_value, messages.TransactionValue, _WORDS - {"Hertz"})) for each in values
    )
    return tuple(messages.TransactionData(timestamp=at, sampled_value=samples) for at, samples in found if samples)


S = TypeVar("S", messages.SampledValue16, messages.TransactionValue)
_WORDS: Final = frozenset((*get_args(messages.Unit16), "Hertz"))
_MEASURANDS: Final = frozenset(get_args(messages.Measurand16))


def _written(values: Iterable[metering.SampledValue], type_: type[S], units: frozenset[str]) -> tuple[S, ...]:
    """Return values as texts, each followed by the signed one, which is the record of the meter itself."""
    found: list[S] = []
    for each in values:
        unit = "Wh" if each.unit_of_measure is None else each.unit_of_measure.unit
        unit = "Hertz" if unit == "Hz" else unit
        if (each.measurand or IMPORT) not in _MEASURANDS or each.location == "Upstream":
            continue
        exponent = 0 if each.unit_of_measure is None else each.unit_of_measure.multiplier
        value = typed_json.convert(
            {
                "value": f"{each.value * 10.0**exponent:.3f}".rstrip("0").rstrip("."),
                "context": each.context,
                "measurand": each.measurand,
                "phase": each.phase,
                "location": each.location,
                "unit": unit if unit in units and unit != "Wh" else None,
            },
            type_,
        )
        found.append(value)
        if each.signed_meter_value is not None:
            text = _decoded(each.signed_meter_value.signed_meter_data)
            found.append(replace(value, value=text, format="SignedData", unit=None))
    return tuple(found)


def _decoded(encoded: str) -> str:
    """Return a signed record as the text that it is; one that is none stays encoded."""
    try:
        text = base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return encoded
    return text if text.isprintable() else encoded
