"""What the events of a VTN demand at a time: the foremost price and set-point, the lowest limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.openadr.events import HOUR_MS, START_MS, descriptor, events, program, raw_event
from v2g.openadr.demands import Demands, demands
from v2g.openadr.timing import FOREVER


def at(at_ms: int, *raw: Any, of: Any = None) -> Demands:
    """Return the demands of events at a time, with prices of a day."""
    found = events(*raw)
    return demands((of or program(),), found, at_ms, horizon_ms=24 * HOUR_MS, ven_name="VEN-1")


def test_without_events_nothing_is_demanded() -> None:
    """And nothing changes before the next hour."""
    found = at(START_MS + 1)
    assert (found.import_limit_w, found.export_limit_w, found.setpoint_w, found.prices) == (None, None, None, ())
    assert found.until_ms == START_MS + HOUR_MS


@pytest.mark.parametrize(("units", "watts"), [(None, 12_500), ("KW", 12_500), ("kW", 12_500), ("W", 12), ("MW", 10**7)])
def test_a_capacity_limit_is_a_power_in_its_unit(units: str | None, watts: int) -> None:
    """KW where no descriptor says anything; never more than any site has."""
    of = program(descriptor("IMPORT_CAPACITY_LIMIT", **({"units": units} if units else {})))
    assert at(START_MS, raw_event("e", "IMPORT_CAPACITY_LIMIT", 12.5), of=of).import_limit_w == watts


def test_an_events_own_descriptor_comes_before_the_programs() -> None:
    """The nearest context counts."""
    own = [descriptor("EXPORT_CAPACITY_LIMIT", units="W")]
    raw = raw_event("e", "EXPORT_CAPACITY_LIMIT", 7000, payloadDescriptors=own)
    of = program(descriptor("EXPORT_CAPACITY_LIMIT", units="MW"))
    assert at(START_MS, raw, of=of).export_limit_w == 7000


def test_the_lowest_of_all_limits_binds_whatever_its_priority() -> None:
    """And the next change of any of them is a reason to look again."""
    raw = (
        raw_event("low", "IMPORT_CAPACITY_LIMIT", 20, priority=9, duration="PT30M"),
        raw_event("high", "IMPORT_CAPACITY_LIMIT", 50, priority=0),
    )
    assert at(START_MS, *raw).import_limit_w == 20_000
    assert at(START_MS, *raw).until_ms == START_MS + HOUR_MS // 2
    assert at(START_MS + HOUR_MS // 2, *raw).import_limit_w == 50_000
    assert at(START_MS - 1, *raw).import_limit_w is None
    assert at(START_MS - 1, *raw).until_ms == START_MS


def test_of_setpoints_the_lowest_priority_number_counts_then_the_newest() -> None:
    """A negative one asks for export."""
    first = raw_event("a", "DISPATCH_SETPOINT", 10)
    newer = raw_event("b", "DISPATCH_SETPOINT", -20, modificationDateTime="2023-02-09T13:00:00Z")
    important = raw_event("c", "DISPATCH_SETPOINT", 30, priority=1)
    assert at(START_MS, first, newer).setpoint_w == -20_000
    found = at(START_MS, first, newer, important)
    assert (found.setpoint_w, found.setpoint_until_ms) == (30_000, START_MS + HOUR_MS)


def test_a_setpoint_that_cannot_be_used_gives_way_to_the_next() -> None:
    """And is named."""
    broken = raw_event("a", "DISPATCH_SETPOINT", "lots", priority=0)
    found = at(START_MS, broken, raw_event("b", "DISPATCH_SETPOINT", 5))
    assert found.setpoint_w == 5000
    assert found.problems == ("event a: DISPATCH_SETPOINT has the value 'lots', which is not supported",)


def test_an_export_limit_without_values_is_0_w() -> None:
    """What is said of nothing permits no export; an import limit without values is named."""

    def empty(kind: str) -> dict[str, Any]:
        return {"intervals": [{"id": 0, "payloads": [{"type": kind, "values": []}]}]}

    other = raw_event("f", "EXPORT_CAPACITY_LIMIT", 9)
    found = at(START_MS, raw_event("e", "EXPORT_CAPACITY_LIMIT", **empty("EXPORT_CAPACITY_LIMIT")), other)
    assert found.export_limit_w == 0
    assert found.problems == ("event e: an interval of EXPORT_CAPACITY_LIMIT has no values",)
    found = at(START_MS, raw_event("e", "IMPORT_CAPACITY_LIMIT", **empty("IMPORT_CAPACITY_LIMIT")))
    assert (found.import_limit_w, len(found.problems)) == (None, 1)


@pytest.mark.parametrize(
    "broken",
    [
        {"intervalPeriod": {"start": "soon", "duration": "PT1H"}},
        {"payloadDescriptors": [descriptor("EXPORT_CAPACITY_LIMIT", units="PERCENT")]},
    ],
)
def test_an_export_limit_that_cannot_be_read_is_none_at_all(broken: dict[str, Any]) -> None:
    """0 W: what is not understood permits no export. An import limit is passed over, and named."""
    found = at(
        START_MS, raw_event("e", "EXPORT_CAPACITY_LIMIT", 9, **broken), raw_event("f", "EXPORT_CAPACITY_LIMIT", 9)
    )
    assert found.export_limit_w == 0
    assert len(found.problems) == 1
    period = {"start": "soon", "duration": "PT1H"}
    found = at(START_MS, raw_event("g", "IMPORT_CAPACITY_LIMIT", 9, intervalPeriod=period))
    assert (found.import_limit_w, len(found.problems)) == (None, 1)


def test_prices_are_micro_units_per_kwh_with_what_is_paid_for_export() -> None:
    """MWH is the unit of markets; without an export price energy earns nothing."""
    of = program(
        descriptor("PRICE", units="KWH", currency="EUR"), descriptor("EXPORT_PRICE", units="MWH", currency="EUR")
    )
    found = at(START_MS, raw_event("a", "PRICE", 0.17, 0.25), raw_event("b", "EXPORT_PRICE", 90.5), of=of)
    assert found.currency == "EUR"
    assert [(slot.import_price, slot.export_compensation) for slot in found.prices] == [(170_000, 90_500), (250_000, 0)]
    assert [(slot.start_ms, slot.duration_ms) for slot in found.prices] == [
        (START_MS, HOUR_MS),
        (START_MS + HOUR_MS, HOUR_MS),
    ]


@pytest.mark.requirement("R7")
def test_prices_minute_by_minute_stay_the_same_within_an_hour() -> None:
    """60 s resolution; a look a minute later finds the same slots, so that stations are not notified anew."""
    minutes = [0.2 + n / 1000 for n in range(180)]
    raw = raw_event("a", "PRICE", *minutes, duration="PT1M")
    first, later = at(START_MS + 60_000, raw), at(START_MS + 59 * 60_000, raw)
    assert first.prices == later.prices
    assert [slot.import_price for slot in first.prices] == [round(price * 1e6) for price in minutes]
    assert {slot.duration_ms for slot in first.prices} == {60_000}


def test_equal_prices_that_follow_are_one_slot_and_gaps_stay_gaps() -> None:
    """Two hours at one price, nothing for an hour, another one."""
    raw = (raw_event("a", "PRICE", 0.1, 0.1), raw_event("b", "PRICE", 0.2, start="2023-02-10T03:00:00Z"))
    found = at(START_MS, *raw)
    assert [(s.start_ms - START_MS, s.duration_ms) for s in found.prices] == [(0, 2 * HOUR_MS), (3 * HOUR_MS, HOUR_MS)]


def test_prices_in_two_currencies_are_not_used() -> None:
    """One signal has one currency."""
    own = [descriptor("PRICE", currency="GBP")]
    of = program(descriptor("PRICE", currency="EUR"))
    found = at(START_MS, raw_event("a", "PRICE", 1), raw_event("b", "PRICE", 1, payloadDescriptors=own), of=of)
    assert (found.currency, found.prices) == (None, ())
    assert found.problems == ("prices in several currencies: EUR, GBP",)


def test_alerts_in_force_are_reported_with_their_text() -> None:
    """An emergency that began before the event was read, and has no end."""
    raw = raw_event("a", "ALERT_GRID_EMERGENCY", "grid at risk", start="0001-01-01", duration="P9999Y")
    (alert,) = at(START_MS, raw).alerts
    assert (alert.type, alert.text, alert.event_id, alert.until_ms) == (
        "ALERT_GRID_EMERGENCY",
        "grid at risk",
        "a",
        FOREVER,
    )


def test_of_too_many_intervals_the_rest_is_left_out_and_named() -> None:
    """No VTN keeps the back end calculating."""
    raw = [raw_event(f"e{n}", "PRICE", n, duration="PT10S") | {"duration": "P9999Y"} for n in range(5)]
    found = at(START_MS, *raw)
    assert len(found.problems) == 3
    assert "more than 20000 intervals of PRICE" in found.problems[0]


def test_events_of_other_programs_are_passed_over() -> None:
    """A VTN may show more than is followed."""
    raw = raw_event("a", "DISPATCH_SETPOINT", 10, programID="another")
    assert at(START_MS, raw).setpoint_w is None


@given(
    st.lists(
        st.tuples(st.integers(0, 90), st.integers(1, 90), st.none() | st.integers(0, 3), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 179),
)
def test_each_minute_has_the_price_of_the_foremost_event(
    spans: list[tuple[int, int, int | None, int]], minute: int
) -> None:
    """Against a search over all events at that minute."""
    raw = [
        raw_event(
            f"e{number}",
            "PRICE",
            number,
            start=f"2023-02-10T{begin // 60:02}:{begin % 60:02}:00Z",
            duration=f"PT{length}M",
            modificationDateTime=f"2023-02-09T12:0{modified}:00Z",
            **({} if priority is None else {"priority": priority}),
        )
        for number, (begin, length, priority, modified) in enumerate(spans)
    ]
    live = [
        (9 if priority is None else priority, -modified, f"e{number}", number)
        for number, (begin, length, priority, modified) in enumerate(spans)
        if begin <= minute < begin + length
    ]
    at_ms = START_MS + minute * 60_000
    prices = [s.import_price for s in at(START_MS, *raw).prices if s.start_ms <= at_ms < s.end_ms]
    assert prices == ([min(live)[3] * 1_000_000] if live else [])
