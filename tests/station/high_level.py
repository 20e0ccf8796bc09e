"""What a vehicle needs, and is offered."""

from tests.station.bench import Bench
from v2g.energy.needs import EvNeeds
from v2g.ocpp.messages.charging_profiles import ChargingSchedule, ChargingSchedulePeriod
from v2g_station.blocks.smart_charging.high_level import OfferSchedules

NEEDS = EvNeeds(
    service="DC", control_mode="scheduled", max_charge_w=50_000, max_current_ma=125_000, max_voltage_mv=400_000
)
PLAN = ChargingSchedule(
    id=1, charging_rate_unit="W", charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=6000.0),)
)


def offers(found: Bench) -> list[str]:
    """What vehicles were offered."""
    return [each.found for each in found.commands if isinstance(each, OfferSchedules)]
