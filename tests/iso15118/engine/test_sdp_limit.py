"""Floods are bounded in answers and in memory; a vehicle by the standard never notices."""

from hypothesis import given
from hypothesis import strategies as st

from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SOURCES, SdpLimiter, SdpLimits


def test_a_vehicle_that_asks_as_the_standard_says_gets_every_answer() -> None:
    limiter = SdpLimiter()
    assert all(limiter.allow("fe80::1", 100 + number * sdp.RETRY_S) for number in range(sdp.MAX_TRIES))


def test_one_source_gets_its_rate_and_does_not_take_from_the_others() -> None:
    limiter = SdpLimiter()
    answered = sum(limiter.allow("fe80::bad", number / 1000) for number in range(10_000))
    limits = SdpLimits()
    assert answered <= limits.source_burst + 10 * limits.source_rate
    assert limiter.allow("fe80::good", 10)


@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 0.01)), max_size=400))
def test_any_flood_is_bounded(requests: list[tuple[int, float]]) -> None:
    limiter, limits, now, answered = SdpLimiter(), SdpLimits(), 0.0, 0
    for source, pause in requests:
        now += pause
        answered += limiter.allow(f"fe80::{source:x}", now)
        assert len(limiter) <= SOURCES
    assert answered <= limits.total_burst + now * limits.total_rate


def test_a_clock_that_is_set_back_gives_no_more() -> None:
    limiter = SdpLimiter(SdpLimits(source_burst=1))
    assert limiter.allow("a", 10)
    assert not limiter.allow("a", 5)
