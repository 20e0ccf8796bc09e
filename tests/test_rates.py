"""How fast one caller may ask."""

from datetime import UTC, datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g import rates
from v2g.rates import Buckets, caller_at


@given(st.lists(st.floats(0, 10), max_size=200), st.floats(0.1, 100), st.integers(1, 50))
def test_nobody_gets_more_than_the_burst_and_what_filled_since(pauses: list[float], per_s: float, burst: int) -> None:
    buckets, now, taken = Buckets(per_s=per_s, burst=burst), 0.0, 0
    for pause in pauses:
        now += pause
        wait_s = buckets.take("who", now)
        taken += wait_s == 0
        assert taken <= burst + now * per_s + 1e-6
        if wait_s > 0:
            assert wait_s <= 1 / per_s


def test_callers_do_not_slow_each_other_down_and_old_ones_are_forgotten() -> None:
    buckets = Buckets(per_s=1, burst=1)
    assert buckets.take("a", 0) == 0
    assert buckets.take("a", 0) == 1
    assert buckets.take("b", 0) == 0
    for number in range(rates.MAX_CALLERS):
        buckets.take(str(number), 0)
    assert buckets.take("a", 0) == 0


def test_looking_at_a_bucket_takes_nothing_and_it_fills_again() -> None:
    buckets = Buckets(per_s=0.1, burst=2)
    assert [buckets.wait_s("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert [buckets.take("a", 0.0) for _ in range(2)] == [0, 0]
    assert buckets.wait_s("a", 0.0) == pytest.approx(10)
    assert buckets.wait_s("a", 10.0) == 0
    assert buckets.wait_s("b", 0.0) == 0


def test_what_is_given_back_can_be_taken_again_but_no_more_than_the_burst() -> None:
    buckets = Buckets(per_s=1, burst=2)
    buckets.give("a")
    assert [buckets.take("a", 0) for _ in range(3)] == [0, 0, 1]
    buckets.give("a")
    assert [buckets.take("a", 0) for _ in range(2)] == [0, 1]
    for _ in range(5):
        buckets.give("a")
    assert [buckets.take("a", 0) for _ in range(3)] == [0, 0, 1]


@given(st.lists(st.floats(0, 100), max_size=100))
def test_a_clock_that_goes_back_and_forth_gives_nothing_twice(times: list[float]) -> None:
    buckets = Buckets(per_s=1, burst=3)
    assert sum(not buckets.take("a", now) for now in times) <= 3 + max(times, default=0)


def test_a_network_of_one_customer_is_one_caller() -> None:
    assert caller_at("2001:db8:1:2::7") == caller_at("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert caller_at("2001:db8:1:3::7") != caller_at("2001:db8:1:2::7")
    assert caller_at("::ffff:192.0.2.1") == caller_at("192.0.2.1") == "192.0.2.1"
    assert caller_at("192.0.2.2") != caller_at("192.0.2.1")
    assert caller_at("fe80::1") != caller_at("fe80::2")
    assert (caller_at("fe80::1%eth0"), caller_at(""), caller_at("a peer")) == ("fe80::1%eth0", "", "a peer")


@together(
    ("text", "waits_s"),
    [
        ("120", 120), (" 0 ", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", 59), ("Fri, 31 Dec 1999 23:58:59 GMT", 0),
        ("Friday, 31-Dec-99 23:59:59 GMT", 59), ("Fri Dec 31 23:59:59 1999", 59), ("9" * 400, inf),
        ("soon", None), ("-1", None), ("", None), ("\u0663", None), ("Fri, 31 Dec 1999 25:59:59 GMT", None),
    ],
)  # fmt: skip
def test_how_long_a_server_asks_to_wait_is_seconds_or_a_date(text: str, waits_s: float | None) -> None:
    """The examples of RFC 9110 10.2.3, and what is neither."""
    assert rates.retry_after(text, datetime(1999, 12, 31, 23, 59, tzinfo=UTC)) == waits_s
