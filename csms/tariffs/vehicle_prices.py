"""Prices for vehicles: their transaction's plan, in their charging profiles (K15 to K19)."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection

from csms.device_model.store import list_variables
from csms.services import Services
from csms.smart_charging.rules import CLOCK_SLACK_MS, Needs, add_prices, add_sales_tariff, asked_of
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from csms.transactions.rules import Transaction, taken_wh
from v2g.energy.price_plan import PricePlan
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time, parse_time

LEAST_ENTRIES: Final = 12
"""Supported by every station in a price schedule (ISO15118Ctrlr.MaxPriceElements may allow more)."""


class _Known(msgspec.Struct, frozen=True):
    transaction: Transaction
    plan: PricePlan
    needs: Needs
    entries: int


async def with_prices(
    services: Services, station_id: str, version: Version | None, profile: ChargingProfile
) -> ChargingProfile:
    """Return a transaction's profile with prices for its vehicle; unchanged without a price, or if the
    vehicle has not sent its needs."""
    form = services.config.tariffs.vehicle_prices
    if form == "nothing" or profile.transaction_id is None:
        return profile
    now_ms = services.clock.utc_ms()
    known = await services.store.look_up(_look_at_all, (station_id, profile.transaction_id, now_ms))
    if known is None:
        return profile
    schedule = profile.charging_schedule[0]
    begin_ms = now_ms // 1000 * 1000
    if schedule.start_schedule is not None and schedule.charging_schedule_period[1:]:
        begin_ms = parse_time(schedule.start_schedule) // 1000 * 1000
    elif schedule.start_schedule is not None:  # long ago for a limit: prices begin with the schedule
        begin_ms = max(parse_time(schedule.start_schedule), now_ms - CLOCK_SLACK_MS) // 1000 * 1000
        schedule = msgspec.structs.replace(schedule, start_schedule=format_time(begin_ms))
        profile = msgspec.structs.replace(profile, charging_schedule=(schedule,))
    started_ms = known.transaction.started_ms or begin_ms
    asked = asked_of(known.needs, begin_ms, started_ms, taken_wh(known.transaction), known.entries)
    if version != "2.1" or not known.needs.edition_20:
        return add_sales_tariff(profile, known.plan, asked)
    return add_prices(profile, known.plan, asked, money=form == "prices")


def has_prices(profile: ChargingProfile) -> bool:
    """Return whether a profile contains prices for its vehicle."""
    return any(
        reported is not None
        for each in profile.charging_schedule
        for reported in (each.absolute_price_schedule, each.price_level_schedule, each.sales_tariff)
    )


async def are_there(services: Services, station_id: str, transaction: Transaction | None, evse_id: int) -> bool:
    """Return whether there are prices for the vehicle at an EVSE."""
    if services.config.tariffs.vehicle_prices == "nothing":
        return False
    return await services.store.read(_is_priced, station_id, transaction, evse_id)


def _is_priced(connection: Connection, station_id: str, transaction: Transaction | None, evse_id: int) -> bool:
    if transaction is not None:
        return bool(tariffs.plans_of(connection, transaction))
    return tariffs.find_plan(connection, tariffs.Scope(station_id=station_id, evse_id=evse_id)) is not None


def _look_at_all(connection: Connection, items: Sequence[tuple[str, str, int]]) -> list[_Known | None]:
    if not tariffs.any_assigned(connection):
        return [None] * len(items)
    return [_look(connection, *each) for each in items]


def _look(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> _Known | None:
    transaction = transactions.get(connection, station_id, transaction_id)
    needs = dict(transactions.with_needs(connection, station_id)).get(transaction_id)
    if transaction is None or needs is None:
        return None
    plans = [plan for since_ms, plan in tariffs.plans_of(connection, transaction) if since_ms <= now_ms]
    if not plans:
        return None
    reported = list_variables(connection, station_id, "ISO15118Ctrlr", "MaxPriceElements")
    counts = [int(each["value"]) for each in reported if str(each["value"]).isdecimal()]
    return _Known(transaction, plans[-1], needs, max(1, min(counts, default=LEAST_ENTRIES)))
