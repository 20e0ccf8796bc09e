"""What several tests of charger use."""

from typing import Any

from v2g.safety import ChargerMonitor, ChargerRating, Output, Phase, Request, Verdict

RATING = ChargerRating(charge_w=50_000, discharge_w=30_000)
BEARS = Output(20_000, 10_000, 60_000, 40_000, 450_000)
FULL = Output(20_000, 0, 60_000, 40_000, 450_000)
"""What a vehicle that bears this may be charged with."""
FOREVER = float("inf")
T = 100.0


def powered(rating: ChargerRating = RATING, **changes: Any) -> ChargerMonitor:
    """Return a monitor of a charger in the charge loop, contactor closed, at `T`; nothing flows yet."""
    monitor = ChargerMonitor(rating)
    monitor.authorise(T, allowed=True)
    asked = {"phase": Phase.POWER, "power_s": FOREVER, "closed_s": FOREVER, "bears": BEARS}
    monitor.request(Request(**{**asked, **changes}), T)
    assert monitor.close(T)
    monitor.feedback(T, closed=True)
    assert monitor.verdicts() == []
    return monitor


def charging(rating: ChargerRating = RATING, **changes: Any) -> ChargerMonitor:
    """Return one that drives what the vehicle bears, and that flows."""
    monitor = powered(rating, **changes)
    assert monitor.drive(FULL, T) == FULL
    measured(monitor, 400_000, 20_000, T)
    assert monitor.verdicts() == []
    return monitor


def measured(monitor: ChargerMonitor, voltage_mv: int, power_w: int, now: float) -> None:
    """A direct current of this power, W, is measured; without a voltage an alternating one."""
    monitor.measured(voltage_mv, power_w * 1_000_000 // voltage_mv if voltage_mv else 0, now)
    if not voltage_mv:
        monitor.drawn(power_w, now)


def found(monitor: ChargerMonitor, *times: float) -> list[Verdict]:
    """Look at these times after T, and return what is to be done at the last."""
    for each in times[:-1]:
        monitor.tick(T + each)
        assert monitor.verdicts() == [], each
    monitor.tick(T + times[-1])
    return monitor.verdicts()
