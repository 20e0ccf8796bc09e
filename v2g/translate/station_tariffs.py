"""OCPP 2.1 tariffs as price plans, for calculation by a station (I07, I08, I11).

Prices are rounded to the micro-unit, taxes to the ppm. A station that cannot observe a condition must reject the tariff
(ConditionNotSupported): conditions of discharging, which are negative, and fractions of Wh, W or A.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Final, Literal

import msgspec

from v2g import typed_json
from v2g.energy.price_plan import Bound, Charge, ChargeKind, PricePlan, Rate, Tax, When
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages import tariff_cost as wire
from v2g.ocpp.times import parse_time
from v2g.translate.ocpp_tariffs import DAYS
from v2g.units import MICRO, decimals_of

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAY: Final = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]")
_PPM_PER_PERCENT: Final = 10_000
_LARGEST: Final = 1e12

Why = Literal["invalid", "condition"]

_NUMBERS: Final = {
    "min_energy": "min_energy_wh",
    "max_energy": "max_energy_wh",
    "min_current": "min_current_a",
    "max_current": "max_current_a",
    "min_power": "min_power_w",
    "max_power": "max_power_w",
    "min_time": "min_time_s",
    "max_time": "max_time_s",
    "min_charging_time": "min_charging_s",
    "max_charging_time": "max_charging_s",
    "min_idle_time": "min_idle_s",
    "max_idle_time": "max_idle_s",
}
"""Conditions of a tariff -> those of a price plan."""


def plan_of(tariff: wire.Tariff, zone: str) -> PricePlan:
    """Return a tariff as a price plan whose clock is that of `zone` (IANA name or offset).

    Raises RefusedError: `invalid` for an invalid tariff, `condition` for an unsupported condition.
    """
    charges: dict[ChargeKind, wire.TariffEnergy | wire.TariffTime | wire.TariffFixed | None] = {
        "energy": tariff.energy,
        "charging_time": tariff.charging_time,
        "idle_time": tariff.idle_time,
        "fixed": tariff.fixed_fee,
        "reservation_time": tariff.reservation_time,
        "reservation_fixed": tariff.reservation_fixed,
    }
    try:
        plan = PricePlan(
            id=tariff.tariff_id,
            currency=tariff.currency,
            zone=zone,
            valid_from_ms=None if tariff.valid_from is None else parse_time(tariff.valid_from),
            least=_bound(tariff.min_cost),
            greatest=_bound(tariff.max_cost),
            **{kind: _charge(charge) for kind, charge in charges.items() if charge is not None},  # type: ignore[arg-type]
        )
        checked = typed_json.convert(msgspec.to_builtins(plan), PricePlan)
        zone_of(zone)
    except (ValueError, OcppError) as error:  # msgspec.ValidationError is a ValueError
        raise _refused("invalid", f"tariff {tariff.tariff_id}: {error}") from None
    return checked


def _charge(charge: wire.TariffEnergy | wire.TariffTime | wire.TariffFixed) -> Charge:
    taxes = tuple(
        Tax(kind=tax.type, ppm=_scaled(tax.tax, _PPM_PER_PERCENT), stack=tax.stack or 0) for tax in charge.tax_rates
    )
    return Charge(rates=tuple(_rate(price) for price in charge.prices), taxes=taxes)


def _rate(price: wire.TariffEnergyPrice | wire.TariffTimePrice | wire.TariffFixedPrice) -> Rate:
    match price:
        case wire.TariffEnergyPrice(price_kwh=amount):
            pass
        case wire.TariffTimePrice(price_minute=amount):
            pass
        case wire.TariffFixedPrice(price_fixed=amount):
            pass
    return Rate(
        price=decimals_of(_scaled(amount, MICRO)), when=When() if price.conditions is None else _when(price.conditions)
    )


def _when(conditions: wire.TariffConditions | wire.TariffConditionsFixed) -> When:
    found = When(
        from_minute=_minute(conditions.start_time_of_day),
        to_minute=_minute(conditions.end_time_of_day),
        weekdays=tuple(DAYS.index(day) for day in conditions.day_of_week),
        from_day=_day(conditions.valid_from_date),
        to_day=_day(conditions.valid_to_date),
        evse_kind=conditions.evse_kind,
    )
    if isinstance(conditions, wire.TariffConditionsFixed):
        return msgspec.structs.replace(
            found, payment_brand=conditions.payment_brand, payment_recognition=conditions.payment_recognition
        )
    numbers = {ours: _whole(getattr(conditions, theirs), theirs) for theirs, ours in _NUMBERS.items()}
    return msgspec.structs.replace(found, **numbers)


def _whole(number: float | None, name: str) -> int | None:
    if number is None:
        return None
    if number != number // 1 or number < 0:
        raise _refused("condition", f"{name} of {number} is not supported: only whole numbers from 0 are")
    return int(number)


def _minute(clock: str | None) -> int | None:
    if clock is None:
        return None
    found = _CLOCK.fullmatch(clock)
    if found is None:
        raise _refused("invalid", f"{clock!r} is not a time of day (hh:mm)")
    return int(found[1]) * 60 + int(found[2])


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    if not _DAY.fullmatch(text):
        raise _refused("invalid", f"{text!r} is not a date (yyyy-mm-dd)")
    return date.fromisoformat(text)  # ValueError: not a day


def _bound(price: wire.Price | None) -> Bound | None:
    if price is None:
        return None
    if price.excl_tax is None and price.incl_tax is None:
        raise _refused("invalid", "a minimum or maximum cost without an amount")
    return Bound(
        excl_tax=None if price.excl_tax is None else decimals_of(_scaled(price.excl_tax, MICRO)),
        incl_tax=None if price.incl_tax is None else decimals_of(_scaled(price.incl_tax, MICRO)),
    )


def _scaled(number: float, scale: int) -> int:
    """Return a number times a scale, rounded half to even."""
    if not abs(number) < _LARGEST:
        raise _refused("invalid", f"{number} is out of range")
    return int((Decimal(repr(number)) * scale).to_integral_value())


def _refused(why: Why, message: str) -> RefusedError:
    return RefusedError(message[:400], reason=why, hint="send the station a tariff that it can calculate")
