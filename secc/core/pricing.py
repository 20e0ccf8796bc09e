"""Schedules of power and price for ScheduleExchangeRes, made from limits and tariff."""

from typing import Final

from secc.core.config import ControlMode
from secc.core.context import Plan, World
from secc.core.quantities import rational, watts
from v2g.iso15118.messages.common_messages import ScheduleExchangeReq
from v2g.iso15118.messages.schedules import (
    AbsolutePriceSchedule,
    ChargingSchedule,
    Dynamic_SEResControlMode,
    PowerSchedule,
    PowerScheduleEntry,
    PowerScheduleEntryList,
    PriceLevelSchedule,
    PriceLevelScheduleEntry,
    PriceLevelScheduleEntryList,
    PriceRule,
    PriceRuleStack,
    PriceRuleStackList,
    Scheduled_SEResControlMode,
    ScheduleTuple,
)

ALGORITHM: Final = "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power"
"""The price of the range in which the momentary power lies; with one range a plain price per kWh."""

LANGUAGE: Final = "eng"
DAY_S: Final = 86_400


def horizon(departure_s: int | None) -> int:
    """Return how far to plan, in s: until departure, at least an hour, at most a day."""
    return DAY_S if departure_s is None else max(3600, min(DAY_S, departure_s))


def pricing_parameter(mode: ControlMode, world: World) -> int:
    """Return the service parameter Pricing: 0 none, 1 absolute prices, 2 price levels (Table 207).

    Scheduled vehicles get one level where no price is known, since some cannot do without any price schedule.
    """
    if _has_prices(world):
        return 1
    return 2 if mode is ControlMode.SCHEDULED else 0


def dynamic_mode(request: ScheduleExchangeReq, world: World, horizon_s: int) -> Dynamic_SEResControlMode:
    """Return what a dynamic vehicle is told: prices of energy from the grid, if known."""
    points = request.maximum_supporting_points
    return Dynamic_SEResControlMode(
        absolute_price_schedule=absolute_prices(world, horizon_s, points, schedule_id=1, export=False)
    )


def scheduled_mode(
    request: ScheduleExchangeReq, plan: Plan, world: World, horizon_s: int
) -> Scheduled_SEResControlMode:
    """Return the schedule tuples to choose from."""
    points = request.maximum_supporting_points
    return Scheduled_SEResControlMode(
        schedule_tuple=tuple(
            ScheduleTuple(
                schedule_tuple_id=tuple_id,
                charging_schedule=_schedule(charge_w, world, horizon_s, points, 2 * tuple_id - 1),
                # powers of discharge are negative (V2G20-1034)
                discharging_schedule=_schedule(-discharge_w, world, horizon_s, points, 2 * tuple_id)
                if discharge_w
                else None,
            )
            for tuple_id, charge_w, discharge_w in plan.tuples
        )
    )


def absolute_prices(
    world: World, horizon_s: int, points: int, *, schedule_id: int, export: bool
) -> AbsolutePriceSchedule | None:
    """Return the tariff from now on, one price rule a slot, or None where no price is known.

    With `export` the fees are compensations: positive ones, paid for energy that counts as negative.
    """
    tariff = world.tariff
    if tariff is None or not _has_prices(world):
        return None
    now_s = world.utc_ms // 1000
    slots = tariff.window(world.utc_ms, world.utc_ms + horizon_s * 1000, at_most=min(points, 1024))
    stacks = tuple(
        PriceRuleStack(
            duration=slot.end_ms // 1000 - max(slot.start_ms // 1000, now_s),
            price_rule=(
                PriceRule(
                    energy_fee=rational(slot.export_compensation if export else slot.import_price, -6),
                    power_range_start=watts(0),
                ),
            ),
        )
        for slot in slots
    )
    return AbsolutePriceSchedule(
        time_anchor=now_s,
        price_schedule_id=schedule_id,
        currency=tariff.currency,
        language=LANGUAGE,
        price_algorithm=ALGORITHM,
        price_rule_stacks=PriceRuleStackList(price_rule_stack=stacks),
    )


def _schedule(power_w: int, world: World, horizon_s: int, points: int, schedule_id: int) -> ChargingSchedule:
    now_s = world.utc_ms // 1000
    prices = absolute_prices(world, horizon_s, points, schedule_id=schedule_id, export=power_w < 0)
    entry = PowerScheduleEntry(duration=horizon_s, power=watts(power_w))
    return ChargingSchedule(
        power_schedule=PowerSchedule(
            time_anchor=now_s,
            power_schedule_entries=PowerScheduleEntryList(power_schedule_entry=(entry,)),
        ),
        absolute_price_schedule=prices,
        price_level_schedule=None if prices else _one_level(now_s, horizon_s, schedule_id),
    )


def _one_level(now_s: int, horizon_s: int, schedule_id: int) -> PriceLevelSchedule:
    entry = PriceLevelScheduleEntry(duration=horizon_s, price_level=0)
    return PriceLevelSchedule(
        time_anchor=now_s,
        price_schedule_id=schedule_id,
        number_of_price_levels=1,
        price_level_schedule_entries=PriceLevelScheduleEntryList(price_level_schedule_entry=(entry,)),
    )


def _has_prices(world: World) -> bool:
    tariff = world.tariff
    return world.config.offer_prices and tariff is not None and bool(tariff.window(world.utc_ms, world.utc_ms + 1))
