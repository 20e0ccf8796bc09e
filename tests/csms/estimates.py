"""Estimates of batteries, as if detectors had stored them."""

from typing import Final

from csms.batteries import store as batteries
from csms.batteries.rules import Advanced, Battery
from tests.csms.backend import Backend

DAY_MS: Final = 86_400_000


async def estimate(
    backend: Backend, ev: str, days_ago: float, percent: float | None, later: float | None = None
) -> None:
    """Store what is estimated of a battery."""
    at_ms = backend.clock.utc_ms() - round(days_ago * DAY_MS)
    values = {"soc_percent": 50.0, "soc_deviation_percent": 1.0, "cycles": 9.0}
    values |= {"soh_percent": percent, "soh_deviation_percent": 1.0} if percent is not None else {}
    if later is not None:
        values |= {"soh_in_half_a_year_percent": later, "soh_in_half_a_year_deviation_percent": 1.0}
    store, now = backend.services.store, Advanced(Battery(1, 1), (), ((at_ms, values),))
    before = await store.read(batteries.batteries, [ev])
    assert await store.run(batteries.save, before, {ev: now}, at_ms) is not None
