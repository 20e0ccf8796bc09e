"""What several tests of day use."""

from functools import cache

from tests.energy.settlement.days import Vehicle, day

VEHICLES = 50


@cache
def vehicles(step_ms: int = 60_000) -> tuple[Vehicle, ...]:
    return tuple(day(VEHICLES, step_ms))
