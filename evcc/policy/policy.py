"""Whether, and at which power, the vehicle discharges: pure decisions over terms and battery.

`judge` answers an offer once, before energy flows: is there any time for discharging? `permit` is called before
every charge-loop request: how much at present? Both name the first reason against it. A policy of the owner's own
follows the rules here, and can only lower what they permit.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from evcc.session.ports import BatteryState
from evcc.session.settings import DischargeConfig

DISABLED: Final = "disabled"
NO_CONSENT: Final = "no_consent"
CYCLES_SPENT: Final = "cycles_spent"
OWN_POLICY: Final = "own_policy"
POLICY_FAILED: Final = "policy_failed"
BATTERY_FAULT: Final = "battery_fault"
TOO_COLD: Final = "battery_too_cold"
TOO_HOT: Final = "battery_too_hot"
AT_MINIMUM_SOC: Final = "soc_at_minimum"
DEPARTURE: Final = "departure_too_soon"
COMPENSATION: Final = "compensation_too_low"
CURRENCY: Final = "wrong_currency"
NO_POWER: Final = "no_power_offered"
EXPIRED: Final = "terms_expired"
NOT_BIDIRECTIONAL: Final = "not_bidirectional"


class Compensation(msgspec.Struct, frozen=True):
    """Compensation of one discharged kWh between `start_ms` and `end_ms` (excluded), in micro-units."""

    start_ms: int
    end_ms: int
    micro_per_kwh: int

    @property
    def per_kwh(self) -> Decimal:
        """The same in units of the currency, exact."""
        return Decimal(self.micro_per_kwh).scaleb(-6)


class DischargeTerms(msgspec.Struct, frozen=True):
    """The parts of an offer needed for the decision. `max_discharge_w` is never negative."""

    currency: str
    compensation: tuple[Compensation, ...]
    max_discharge_w: int
    valid_until_ms: int


class Permit(msgspec.Struct, frozen=True):
    """Permitted discharge, W; `reason` is empty exactly if it is more than 0."""

    power_w: int
    reason: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner's own policy is asked: may the vehicle discharge with up to `permitted_w` W, more than 0?

    `terms` are those of an offer, None without signed discharge. `offered` is true for an offer, before any energy
    flows under it. Times are ms of UTC.
    """

    permitted_w: int
    battery: BatteryState
    terms: DischargeTerms | None
    utc_ms: int
    departure_ms: int
    fed_back_wh: float
    offered: bool = False


OwnPolicy = Callable[[Situation], Permit]


class OwnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's say: consent in this session (asked for if `discharge.consent` is "ask"), the energy fed back since
    the vehicle was plugged in, and a policy of the owner's own."""

    consents: bool = False
    fed_back_wh: float = 0.0
    policy: OwnPolicy | None = None


def judge(
    config: DischargeConfig,
    terms: DischargeTerms,
    battery: BatteryState,
    *,
    utc_ms: int,
    departure_ms: int,
    charges_first: bool,
    owner: OwnerSettings = OwnerSettings(),  # noqa: B008 - immutable
) -> Permit:
    """Answer an offer: the maximum discharge under it, or the reason for refusing it.

    `charges_first`: the program will charge before it discharges, so that an empty battery
    is no reason for refusing. `departure_ms` and `utc_ms` in milliseconds of UTC.
    """
    if reason := _always(config, battery, owner):
        return Permit(0, reason)
    if terms.currency != config.currency:
        return Permit(0, CURRENCY)
    if utc_ms >= terms.valid_until_ms:
        return Permit(0, EXPIRED)
    latest = departure_ms - config.departure_reserve_s * 1000
    if utc_ms >= latest:
        return Permit(0, DEPARTURE)
    if not _pays(config, terms, utc_ms, latest):
        return Permit(0, COMPENSATION)
    if battery.soc <= config.minimum_soc and not charges_first:
        return Permit(0, AT_MINIMUM_SOC)
    power = min(terms.max_discharge_w, config.max_power_w)
    return _asked(owner, power, battery, terms, utc_ms, departure_ms, offered=True)


def permit(
    config: DischargeConfig,
    terms: DischargeTerms | None,
    battery: BatteryState,
    *,
    utc_ms: int,
    departure_ms: int,
    owner: OwnerSettings = OwnerSettings(),  # noqa: B008 - immutable
) -> Permit:
    """Return the permitted discharge at present. Without terms (plain standard) no price is required."""
    if reason := _always(config, battery, owner):
        return Permit(0, reason)
    if battery.soc <= config.minimum_soc:
        return Permit(0, AT_MINIMUM_SOC)
    if utc_ms + recharge_ms(config, battery) + config.departure_reserve_s * 1000 >= departure_ms:
        return Permit(0, DEPARTURE)
    power = min(config.max_power_w, battery.max_discharge_w)
    if terms is not None:
        if utc_ms >= terms.valid_until_ms:
            return Permit(0, EXPIRED)
        if not _pays(config, terms, utc_ms, utc_ms + 1):
            return Permit(0, COMPENSATION)
        power = min(power, terms.max_discharge_w)
    return _asked(owner, power, battery, terms, utc_ms, departure_ms)


def pays_later(config: DischargeConfig, terms: DischargeTerms, *, utc_ms: int, departure_ms: int) -> bool:
    """Return whether the terms include a time before departure with sufficient compensation."""
    return _pays(config, terms, utc_ms, min(departure_ms - config.departure_reserve_s * 1000, terms.valid_until_ms))


def recharge_ms(config: DischargeConfig, battery: BatteryState) -> int:
    """Return how long charging at full power takes to reach the charge required at departure, ms."""
    goal = config.minimum_soc if config.departure_soc is None else config.departure_soc
    missing_wh = battery.capacity_wh * max(0.0, goal - battery.soc) / 100
    return int(missing_wh / max(1, battery.max_charge_w) * 3_600_000)


def _asked(
    owner: OwnerSettings, permitted_w: int, battery: BatteryState, terms: DischargeTerms | None, utc_ms: int,
    departure_ms: int, *, offered: bool = False,
) -> Permit:  # fmt: skip
    """Return the permit after the owner's own policy, which can only lower it."""
    if permitted_w <= 0:
        return Permit(0, NO_POWER)
    if owner.policy is None:
        return Permit(permitted_w)
    answer = owner.policy(
        Situation(
            permitted_w=permitted_w, battery=battery, terms=terms, utc_ms=utc_ms, departure_ms=departure_ms,
            fed_back_wh=owner.fed_back_wh, offered=offered,
        )
    )  # fmt: skip
    power = min(answer.power_w, permitted_w)
    return Permit(power) if power > 0 else Permit(0, answer.reason or OWN_POLICY)


def _always(config: DischargeConfig, battery: BatteryState, owner: OwnerSettings) -> str:
    """Return the reason why the vehicle does not discharge at all, whatever the terms."""
    if not config.enabled:
        return DISABLED
    if config.consent == "ask" and not owner.consents:
        return NO_CONSENT
    if config.cycle_budget is not None and owner.fed_back_wh >= config.cycle_budget * battery.capacity_wh:
        return CYCLES_SPENT
    if battery.fault:
        return BATTERY_FAULT
    if battery.temperature_c < config.minimum_temperature_c:
        return TOO_COLD
    if battery.temperature_c > config.maximum_temperature_c:
        return TOO_HOT
    return ""


def _pays(config: DischargeConfig, terms: DischargeTerms, start_ms: int, end_ms: int) -> bool:
    """Return whether any slot that overlaps [start_ms, end_ms) pays enough."""
    least = config.minimum_compensation_micro
    return any(
        slot.micro_per_kwh >= least and slot.start_ms < end_ms and slot.end_ms > start_ms for slot in terms.compensation
    )
