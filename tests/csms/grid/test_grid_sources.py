"""Several sources of the grid signal: the lowest limit, the first price, and no new version without a change."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csms.grid.config import Grid, PriceFeed
from csms.grid.rules import SITE, SiteLimits, SourceSignal, combine, governing
from v2g.energy.grid_fees import FeeDay, GridFees
from v2g.energy.grid_signal import GridSignal, SignalSlot, parse_grid_signal

HOUR_MS = 3_600_000
NOW_MS = 490_000 * HOUR_MS
SOURCES = ("prices:minute", "prices:day", "openadr:V", "scada")
OWN = SiteLimits(currency="EUR", import_limit_w=100_000, export_limit_w=40_000, sources=SOURCES)


def slots(first_hour: float, seconds: int, *prices: int) -> tuple[SignalSlot, ...]:
    """Return slots of one length, `first_hour` from now."""
    begin = NOW_MS + round(first_hour * HOUR_MS)
    return tuple(
        SignalSlot(start_ms=begin + n * seconds * 1000, duration_s=seconds, import_price=price, export_compensation=0)
        for n, price in enumerate(prices)
    )


def made(*signals: SourceSignal, current: GridSignal | None = None, now_ms: int = NOW_MS) -> GridSignal:
    """Return what follows, which must be something."""
    found = combine(OWN, signals, current, now_ms)
    assert found is not None
    return found


@pytest.mark.requirement("R56")
def test_the_lowest_limit_of_each_direction_applies_and_its_source_is_known() -> None:
    """The site's own where no source has a lower one."""
    vtn = SourceSignal(source="openadr:V", import_limit_w=30_000, export_limit_w=50_000)
    scada = SourceSignal(source="scada", import_limit_w=60_000, export_limit_w=5_000)
    found = made(scada, vtn)
    assert (found.site_import_limit_w, found.export_limit_w) == (30_000, 5_000)
    by = governing(OWN, (vtn, scada), NOW_MS)
    assert (by.import_source, by.export_source) == ("openadr:V", "scada")
    assert governing(OWN, (), NOW_MS).export_source == SITE
    gone = SourceSignal(source="openadr:V", export_until_ms=NOW_MS)
    assert governing(OWN, (gone, scada), NOW_MS).export_source == "openadr:V"


def test_export_ends_with_the_first_source_that_no_longer_vouches() -> None:
    """Without any for a day, renewed when half of it is over."""
    first = made(SourceSignal(source="scada", export_until_ms=NOW_MS + 60_000), SourceSignal(source="prices:day"))
    assert first.valid_until_ms == NOW_MS + 60_000
    assert made(SourceSignal(source="prices:day")).valid_until_ms == NOW_MS + 24 * HOUR_MS


def test_prices_come_from_the_first_source_that_has_one() -> None:
    """A series by the minute over that of the day ahead, and what it leaves open stays the day's."""
    minute = SourceSignal(source="prices:minute", slots=slots(0.5, 60, 7, 8))
    day = SourceSignal(source="prices:day", slots=slots(0, 3600, 100, 200))
    found = made(day, minute)
    assert [((s.start_ms - NOW_MS) // 1000, s.duration_s, s.import_price) for s in found.slots] == [
        (0, 1800, 100),
        (1800, 60, 7),
        (1860, 60, 8),
        (1920, 1680, 100),
        (3600, 3600, 200),
    ]


@pytest.mark.requirement("R206")
def test_grid_fees_are_on_top_of_the_prices_of_all_sources() -> None:
    """What vehicles receive stays; and the same prices make no new version."""
    fees = GridFees(
        time_zone="UTC",
        high="0.000003",
        standard="0.000002",
        low="0.000001",
        days=(FeeDay(quarters=(1, 2, 3, 4), high=("00:00-00:30",), low=("00:30-00:00",)),),
    )
    feeds = tuple(PriceFeed(name=name, format="energy-charts", file=Path("x")) for name in ("minute", "day"))
    site = Grid(currency="EUR", import_limit_w=1, prices=feeds, fees=fees).site
    assert site is not None
    midnight = -NOW_MS % (24 * HOUR_MS) / HOUR_MS
    minute = SourceSignal(source="prices:minute", slots=slots(midnight + 0.25, 60, 7))
    day = SourceSignal(source="prices:day", slots=slots(midnight, 3600, 100))
    signal = combine(site, (minute, day), None, NOW_MS)
    assert signal is not None
    assert [(each.duration_s, each.import_price, each.export_compensation) for each in signal.slots] == [
        (900, 103, 0),
        (60, 10, 0),
        (840, 103, 0),
        (1800, 101, 0),
    ]
    assert combine(site, (minute, day), signal, NOW_MS + 1) is None


def test_only_a_change_makes_a_new_version() -> None:
    """A validity is extended when half of it is over; a shorter one applies at once."""

    def stated(until_s: int, **more: int) -> SourceSignal:
        return SourceSignal(source="scada", export_until_ms=NOW_MS + until_s * 1000, **more)

    current = made(stated(900))
    assert combine(OWN, [stated(1300)], current, NOW_MS + 400_000) is None
    assert made(stated(1350), current=current, now_ms=NOW_MS + 450_000).version == current.version + 1
    assert made(stated(800), current=current).valid_until_ms == NOW_MS + 800_000
    assert made(stated(900, import_limit_w=1), current=current).site_import_limit_w == 1
    assert combine(OWN, [stated(900)], current, NOW_MS + 2_000_000) is None, "over is over"


lanes = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40), st.integers(-9, 9)), max_size=12)


def _series(source: str, cells: list[tuple[int, int, int]]) -> SourceSignal:
    found, begin = [], NOW_MS
    for gap, minutes, price in cells:
        begin += gap * 60_000
        found.append(SignalSlot(start_ms=begin, duration_s=minutes * 60, import_price=price, export_compensation=price))
        begin += minutes * 60_000
    return SourceSignal(source=source, slots=tuple(found))


@given(lanes, lanes, st.integers(0, 2000))
def test_at_every_minute_the_first_price_is_in_force(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], minute: int
) -> None:
    """And the signal is one that stations accept."""
    one, two = _series("prices:minute", first), _series("prices:day", second)
    signal = parse_grid_signal(made(one, two).to_json())
    at_ms = NOW_MS + minute * 60_000 + 30_000

    def price(found: tuple[SignalSlot, ...]) -> int | None:
        return next(
            (s.import_price for s in found if s.start_ms <= at_ms < s.start_ms + s.duration_s * 1000),
            None,
        )

    wanted = price(one.slots) if price(one.slots) is not None else price(two.slots)
    assert price(signal.slots) == wanted


def test_what_a_source_states_is_stored_as_it_was() -> None:
    """As JSON."""
    stated = SourceSignal(source="scada", slots=slots(0, 60, 1), export_limit_w=5, setpoint_w=-3, setpoint_until_ms=9)
    assert msgspec.json.decode(msgspec.json.encode(stated), type=SourceSignal) == stated
