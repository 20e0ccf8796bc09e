"""What several tests of session use."""

from typing import Any

from msgspec.structs import replace

from evcc.session.settings import NeedsConfig, ProgramStep
from tests.evcc.session.d2.charger import DC
from v2g.iso15118.d2.schedules import PriceStep, sales_tariff, schedule_tuple
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step

HOUR = 3600
CHEAP_LATER = (PriceStep(0, 3), PriceStep(2 * HOUR, 1), PriceStep(4 * HOUR, 2))
PLAN = replace(
    DC,
    program=(ProgramStep(do="plan"),),
    needs=NeedsConfig(departure_after_s=6 * HOUR, target_soc=70, minimum_soc=30),
)


def offer(tuple_id: int, power_w: int, prices: tuple[PriceStep, ...] | None) -> Any:
    tariff = None if prices is None else sales_tariff(tuple_id, prices, end_s=86_400)
    return schedule_tuple(tuple_id, PowerSchedule((Step(0, power_w),), 86_400), tariff)
