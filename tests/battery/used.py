"""A life of a battery with a known use: each day it is charged, then driven, or feeds the grid."""

from collections.abc import Iterator

from tests.battery.worn import PACK, worn
from v2g.battery import health
from v2g.battery.sample import Sample

SETTINGS = health.HealthSettings(pack=PACK)
LOST = 0.06
BEGIN_MS = 1_700_006_400_000


def used(days: int, *, begin_ms: int = BEGIN_MS) -> Iterator[tuple[Sample, str]]:
    """Yield samples and contexts: each third day feeds the grid, the others drive; the second charges at 47 degC."""
    for seconds, current_a, cell_v in worn(LOST, 0, days):
        day = int(seconds // 86_400)
        hot = day == 1 and current_a > 0
        context = "charging" if current_a > 0 else "parked"
        if current_a < 0:
            context = "discharging" if day % 3 == 0 else "city"
        values = {
            "battery.current": current_a,
            "battery.voltage": PACK.cells * cell_v,
            "battery.temperature.max": 47.0 if hot else 25.0,
        }
        yield Sample(begin_ms + round(1000 * seconds), values), context
