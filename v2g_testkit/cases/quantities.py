"""The numbers in a message, with their names as in the schema, and the faults that each of them alone can show."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, TypeGuard

from msgspec.structs import fields

from v2g.exi.declare import Element
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.engine.identifiers import plain
from v2g.iso15118.engine.physical_values import PhysicalNumber
from v2g.iso15118.engine.response_codes import CodeUse, has_place
from v2g.iso15118.engine.sequence import code_of
from v2g.units import DAY_S

NOISE: Final = 2.0
"""How far below zero a measured value may be, V or A."""

NOISE_W: Final = 100.0
"""How far below zero a measured power may be, W."""

MEASURED: Final = 1.1
"""How far a measured power may be above its maximum, as a factor."""

LEAST_OF_TARGET: Final = 0.5
"""Part of the requested voltage that is at the output at least while energy flows, whatever the battery has."""

_INTERVAL_S: Final = 60.0
"""How old a meter's count may be, s."""

_CLOCK_S: Final = 3600
"""How much a charger's clock may differ from the tester's, s: no text says."""

LATEST_S: Final = 1 << 34
"""Above this a time is not one in s."""

_YEAR_S: Final = 365 * DAY_S

_ORDERS: Final = (
    ("ev_minimum_energy_request", "ev_target_energy_request", "ev_maximum_energy_request"),
    ("ev_minimum_v2x_energy_request", "ev_maximum_v2x_energy_request"),
    ("minimum_soc", "target_soc", "maximum_soc"),
    ("remaining_time_to_minimum_soc", "remaining_time_to_target_soc", "remaining_time_to_maximum_soc"),
    ("ev_min_current", "ev_max_current"),
    ("ev_energy_request", "ev_energy_capacity"),
    ("bulk_soc", "full_soc"),
    ("remaining_time_to_bulk_soc", "remaining_time_to_full_soc"),
)
"""Fields of which none is above the next."""

_UNITS: Final = (
    ("voltage", "V"), ("current", "A"), ("energy", "Wh"), ("e_amount", "Wh"), ("power", "W"), ("p_max", "W"),
    ("remaining_time", "s"),
)  # fmt: skip
"""Part of a field's name -> its unit; the first that fits counts."""


Number = PhysicalNumber | RationalNumber


def amount(number: Number) -> float:
    """Return a PhysicalValue or RationalNumber as a number, in the SI unit of its field."""
    power = number.exponent if isinstance(number, RationalNumber) else number.multiplier
    return float(number.value) * float(10.0**power)


def exceeds(amperes: float, wanted: float) -> bool:
    """Return whether more current flows than was requested, A."""
    return amperes > wanted * 1.05 + NOISE


def too_high(volts: float, wanted: float) -> bool:
    """Return whether a voltage at the output is above the highest that was requested, V."""
    return volts > wanted * 1.05 + NOISE


def counts_too_much(wh: float, watts: float, seconds: float) -> bool:
    """Return whether a meter has counted more than a power allows; it may count whole kWh, and late."""
    return wh > watts * (seconds + _INTERVAL_S) / 3600 + 1000


def other_time(value: object, now: int, *names: str) -> Iterator[str]:
    """Yield the times, s since 1970, that are not the present one."""
    for name in names:
        at = getattr(value, name, None)
        if at is not None and abs(at - now) > _CLOCK_S:
            yield f"{datetime.fromtimestamp(at, UTC)} as the present time" if 0 < at < LATEST_S else f"time {at} s"


def misplaced(response: Element, uses: Mapping[str, CodeUse]) -> Iterator[str]:
    """Yield the code of a response if the edition does not foresee it there."""
    code = code_of(response)
    if code not in uses or not has_place(type(response).__name__, code, uses):
        yield f"{type(response).__name__} with the code {code}"


def is_number(value: object) -> TypeGuard[Number]:
    """Return whether a value is a PhysicalValue or a RationalNumber."""
    return hasattr(value, "value") and (hasattr(value, "multiplier") or hasattr(value, "exponent"))


def numbers(value: Element) -> Iterator[tuple[str, str, Number]]:
    """Yield field, its name in the schema, and number of all numbers in a message or a part of one."""
    for field in fields(value):
        inner = getattr(value, field.name)
        if is_number(inner):
            yield field.name, field.encode_name, inner
        elif isinstance(inner, Element):
            yield from numbers(inner)
        elif isinstance(inner, tuple):
            for each in inner:
                if is_number(each):
                    yield field.name, field.encode_name, each
                elif isinstance(each, Element):
                    yield from numbers(each)


def wrong_units(message: Element) -> Iterator[str]:
    """Yield the PhysicalValues of a message whose unit is not that of their field."""
    for name, shown, number in numbers(message):
        unit = getattr(number, "unit", None)
        wanted = next((each for part, each in _UNITS if part in name), None)
        if unit is not None and wanted is not None and unit.value != wanted:
            yield f"{shown} in {unit.value}, not {wanted}"


def negative(message: Element, signed: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the numbers below zero, but for fields whose name contains one of `signed`."""
    for name, shown, number in numbers(message):
        least = -NOISE if "present" in name else 0.0
        if amount(number) < least and not any(each in name for each in signed):
            yield f"{shown} {amount(number):g}"


def beyond(present: Element, rated: Element) -> Iterator[str]:
    """Yield limits of a loop that are wider than those of the charge parameters [V2G20-2654], [V2G20-2655].

    One in fifty is allowed for rounding. Discharge limits may have either sign.
    """
    for field in fields(present):
        now, before = getattr(present, field.name), getattr(rated, field.name, None)
        if not is_number(now) or not is_number(before) or not field.name.startswith("evse_m"):
            continue
        value, bound = abs(amount(now)), abs(amount(before))
        if value > bound * 1.02 if "maximum" in field.name else value < bound * 0.98:
            yield f"{field.encode_name} {amount(now):g}, that of the charge parameters is {amount(before):g}"


def other_id(found: str, declared: str) -> bool:
    """Return whether an EVSEID is not the declared one, whatever their separators and case."""
    return bool(declared) and plain(found) != plain(declared)


def limits(parameters: Element) -> Iterator[str]:
    """Yield maxima that are not above zero, and minima above their maxima; those of discharging may have either
    sign."""
    for field in fields(parameters):
        name, number = field.name, getattr(parameters, field.name)
        if not is_number(number):
            continue
        if ("max" in name or "nominal" in name) and "asymmetry" not in name and amount(number) <= 0:
            yield f"{field.encode_name} {amount(number):g}"
        most = getattr(parameters, name.replace("minimum", "maximum"), None)
        size = abs if "discharge" in name else float
        if "minimum" in name and is_number(most) and size(amount(number)) > size(amount(most)):
            yield f"{field.encode_name} {amount(number):g} above its maximum of {amount(most):g}"


def unordered(needs: object, now: int) -> Iterator[str]:
    """Yield the needs of a vehicle, or its capabilities, that contradict each other, at a time in s since 1970."""
    shown = {field.name: field.encode_name for field in fields(needs)} if isinstance(needs, Element) else {}
    for names in _ORDERS:
        found = [(name, value) for name in names if (value := getattr(needs, name, None)) is not None]
        for (less, small), (more, great) in pairwise(found):
            low, high = (float(amount(each) if is_number(each) else each) for each in (small, great))
            if low > high:
                yield f"{shown[less]} {low:g}, its {shown[more]} is {high:g}"
    departure = getattr(needs, "departure_time", None) or 0
    if abs(departure - now) < _YEAR_S < now:
        yield f"DepartureTime {departure} s, which is the time since 1970, not from now"


def without_phase_2(mode: Element) -> Iterator[str]:
    """Yield values that are there for phase 3, but not for phase 2."""
    for name in type(mode).__struct_fields__:
        if name.endswith("_l3") and getattr(mode, name) is not None and getattr(mode, f"{name[:-1]}2") is None:
            yield f"{name} without a value of phase 2"


def of_phases(mode: Element | None, name: str) -> list[float]:
    """Return the numbers of a name that a mode states, of one phase or of all."""
    found = (getattr(mode, name + phase, None) for phase in ("", "_l2", "_l3"))
    return [amount(each) for each in found if each is not None]
