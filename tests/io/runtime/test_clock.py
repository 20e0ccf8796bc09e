"""Simulated time begins where the configuration says, also by one of its two origins."""

import time
from collections.abc import Callable

import pytest

from v2g.io.runtime.clock import Clock, ClockConfig, monotonic

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("configure", "ahead_s"),
    [
        (lambda: ClockConfig(origin_utc_ms=0), None),
        (lambda: ClockConfig(origin_monotonic=monotonic() - HOUR_S), 0.0),
        (lambda: ClockConfig(origin_monotonic=monotonic() - HOUR_S, scale=3.0), 2 * HOUR_S),
    ],
)
def test_one_origin_is_enough(configure: Callable[[], ClockConfig], ahead_s: float | None) -> None:
    """The other one is the program's start, or the real time at it."""
    config = configure()
    real_ms = time.time_ns() // 1_000_000
    expected_ms = 0 if ahead_s is None else real_ms + ahead_s * 1000
    assert abs(Clock(config).utc_ms() - expected_ms) < HOUR_S * 1000 / 2
