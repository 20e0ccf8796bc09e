"""Prices by time: no moment with two, days of 92, 96 and 100 quarter hours, signals that are whole or refused."""

from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import (
    ConnectionPoint,
    ExportSignal,
    PriceSignal,
    Tariff,
    TypedGridSignal,
    has_integer_prices,
    local_day,
    parse_grid_signal,
)
from v2g.errors import CodecError, RefusedError
from v2g.units import LAST_MS, QUARTER_MS

BERLIN = ZoneInfo("Europe/Berlin")

SIGNAL: dict[str, Any] = {
    "version": 7,
    "issued_at_ms": 1_800_000_000_000,
    "source": "grid operator",
    "currency": "EUR",
    "slots": [
        {"start_ms": 1_800_000_000_000, "duration_s": 900, "import_price": 300_000, "export_compensation": 200_000},
        {"start_ms": 1_800_000_900_000, "duration_s": 900, "import_price": -5_000, "export_compensation": 0},
    ],
    "site_import_limit_w": 44_000,
    "export_limit_w": 11_000,
    "valid_until_ms": 1_800_003_600_000,
}


@pytest.mark.requirement("R34")
@pytest.mark.parametrize(
    ("day", "quarters"), [(date(2026, 3, 29), 92), (date(2026, 6, 1), 96), (date(2026, 10, 25), 100)]
)
def test_a_local_day_has_92_96_or_100_quarter_hours(day: date, quarters: int) -> None:
    """The days on which summer time begins and ends."""
    begin, end = local_day(day, BERLIN)
    assert end - begin == quarters * QUARTER_MS
    assert datetime.fromtimestamp(begin / 1000, BERLIN) == datetime(day.year, day.month, day.day, tzinfo=BERLIN)


def test_a_tariff_gives_no_moment_two_prices() -> None:
    """Overlap and disorder are refused when it is made."""
    with pytest.raises(ValueError, match="begins before"):
        Tariff(currency="EUR", slots=(PriceSlot(0, 1_000, 1, 1), PriceSlot(999, 1_000, 2, 2)))
    for slots in ((PriceSlot(0, 0, 1, 1),), (PriceSlot(0, 10, 1, 1), PriceSlot(10, 0, 1, 1))):
        with pytest.raises(ValueError, match="no length"):
            Tariff(currency="EUR", slots=slots)


@pytest.mark.requirement("R34")
@given(
    durations=st.lists(st.integers(1, 5_000), min_size=1, max_size=20),
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_split_covers_exactly_the_span_with_the_price_of_each_moment(
    durations: list[int], ends: tuple[float, float]
) -> None:
    """No ms twice, none left out."""
    slots, start = [], 0
    for number, duration in enumerate(durations):
        slots.append(PriceSlot(start, duration, number, -number))
        start += duration
    tariff = Tariff(currency="EUR", slots=tuple(slots))
    low, high = sorted(int(end * start) for end in ends)
    pieces = list(tariff.split(low, high))
    assert sum(end - begin for begin, end, _ in pieces) == high - low
    for begin, end, slot in pieces:
        assert tariff.price_at(begin) == tariff.price_at(end - 1) == slot


def test_a_gap_has_no_price_and_ends_a_window() -> None:
    """An offer never reaches over a gap."""
    first, second, third = PriceSlot(0, 10, 1, 1), PriceSlot(10, 10, 2, 2), PriceSlot(30, 10, 3, 3)
    tariff = Tariff(currency="EUR", slots=(first, second, third))
    with pytest.raises(RefusedError) as refused:
        tariff.price_at(25)
    assert refused.value.reason == "no_price"
    with pytest.raises(RefusedError):
        list(tariff.split(5, 35))
    assert tariff.window(5, 100) == (first, second)
    assert tariff.window(5, 10) == (first,)
    assert tariff.window(5, 11) == (first, second)
    assert tariff.window(20, 100) == ()
    assert tariff.window(0, 100, at_most=1) == (first,)


def test_a_signal_survives_its_own_json_and_makes_a_tariff() -> None:
    """The same JSON by file, by HTTP and to the station."""
    signal = parse_grid_signal(msgspec.json.encode(SIGNAL))
    assert parse_grid_signal(signal.to_json()) == signal
    tariff = signal.tariff()
    assert tariff.price_at(1_800_000_900_000).import_price == -5_000
    assert (tariff.version, tariff.source, tariff.currency) == (7, "grid operator", "EUR")


@together(
    ("changed", "said"),
    [
        ({"currency": "euro"}, "currency"),
        ({"export_limit_w": -1}, "export_limit_w"),
        ({"slots": {}}, "slots"),
        ({"slots": SIGNAL["slots"][:1] * 2}, "begins before"),
        ({"valid_until_ms": 1_800_000_000_000}, "valid_until_ms"),
        ({"surprise": 1}, "surprise"),
        ({"version": 1.5}, "version"),
    ],
)
def test_a_signal_that_is_not_whole_is_refused_by_the_name_of_its_field(changed: dict[str, Any], said: str) -> None:
    """What cannot be used whole is not used at all."""
    with pytest.raises(CodecError, match=said):
        parse_grid_signal(msgspec.json.encode(SIGNAL | changed))


@given(data=st.binary(max_size=200))
def test_garbage_is_no_signal(data: bytes) -> None:
    """A value or the one documented error."""
    with pytest.raises(CodecError):
        parse_grid_signal(data)


def test_a_signal_is_bounded() -> None:
    """Before it is parsed."""
    with pytest.raises(CodecError, match="signal of 1000001 bytes"):
        parse_grid_signal(b" " * 1_000_001)


class Shifts(tzinfo):
    """A zone whose clocks were put forward by ten minutes at the end of 1 June 2026."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(minutes=10 if dt is not None and dt.day != 1 else 0)

    def dst(self, dt: datetime | None) -> timedelta:
        return timedelta()


def test_a_day_ends_where_the_next_one_begins() -> None:
    begin, end = local_day(date(2026, 6, 1), Shifts())
    assert end - begin == (24 * 60 - 10) * 60_000


def test_a_window_of_many_slots_is_cut() -> None:
    """At what an offer holds."""
    tariff = Tariff(currency="EUR", slots=tuple(PriceSlot(n, 1, 1, 1) for n in range(1025)))
    assert (tariff.version, tariff.source) == (0, "")
    assert tariff.window(0, 1025) == tariff.slots[:1024]


def test_a_station_gets_the_part_that_its_version_knows() -> None:
    signal = parse_grid_signal(msgspec.json.encode(SIGNAL))
    prices, export = signal.part(PriceSignal), signal.part(ExportSignal)
    assert (type(prices), prices.tariff()) == (PriceSignal, signal.tariff())
    assert (type(export), export.export_limit_w, export.valid_until_ms) == (ExportSignal, 11_000, 1_800_003_600_000)
    assert parse_grid_signal(prices.to_json(), PriceSignal) == prices


def test_prices_are_decimal_text_and_integers_are_millionths_as_before() -> None:
    """The same signal, written by people and by machines."""
    machine = parse_grid_signal(msgspec.json.encode(SIGNAL))
    typed = [
        slot | {name: str(Decimal(slot[name]) / 1_000_000) for name in ("import_price", "export_compensation")}
        for slot in SIGNAL["slots"]
    ]
    data = msgspec.json.encode(SIGNAL | {"slots": typed})
    assert parse_grid_signal(data) == machine
    assert (has_integer_prices(data), has_integer_prices(msgspec.json.encode(SIGNAL))) == (False, True)
    assert msgspec.json.decode(data, type=TypedGridSignal).version == machine.version


def test_whole_numbers_may_be_written_with_a_point_but_no_price() -> None:
    """A price of 1.0 could be meant as one EUR."""
    whole = {**SIGNAL, "version": 7.0, "slots": [{**SIGNAL["slots"][0], "duration_s": 900.0}]}
    found = parse_grid_signal(msgspec.json.encode(whole))
    assert (found.version, found.slots[0].duration_s) == (7, 900)
    whole["slots"][0]["import_price"] = 1.0
    with pytest.raises(CodecError, match="import_price"):
        parse_grid_signal(msgspec.json.encode(whole))


@together("price", ["0,30", "", "1e3", "0.1234567", 0.3, None, "\u0663"])
def test_a_price_that_is_neither_is_refused_with_the_way_to_write_it(price: Any) -> None:
    slots = [SIGNAL["slots"][0] | {"import_price": price}]
    with pytest.raises(CodecError, match=r"\$\.slots\[0\]\.import_price") as caught:
        parse_grid_signal(msgspec.json.encode(SIGNAL | {"slots": slots}))
    assert '"0.30"' in caught.value.hint


def test_a_signal_without_slots_has_no_integer_prices_and_a_slot_that_is_none_is_named() -> None:
    assert not has_integer_prices(msgspec.json.encode(SIGNAL | {"slots": []}))
    with pytest.raises(CodecError, match=r"\$\.slots\[0\]"):
        parse_grid_signal(msgspec.json.encode(SIGNAL | {"slots": ["0.30"]}))


@together(
    ("names", "said"),
    [
        ({}, "all"),
        ({"site": "depot"}, "site depot"),
        ({"site": "depot", "feeder": "north"}, "feeder depot/north"),
        ({"station_id": "CS-1", "evse_id": 2}, "EVSE CS-1/2"),
        ({"feeder": "north"}, None),
        ({"station_id": "CS-1"}, None),
        ({"evse_id": 2}, None),
        ({"station_id": "CS-1", "evse_id": 2, "site": "depot"}, None),
        ({"station_id": "CS-1", "evse_id": 2, "feeder": "north"}, None),
    ],
)
def test_a_connection_point_is_one_place(names: dict[str, Any], said: str | None) -> None:
    if said is None:
        with pytest.raises(ValueError, match=r"connection point|feeder"):
            ConnectionPoint(**names)
    else:
        assert str(ConnectionPoint(**names)) == said


def test_export_ends_with_the_signal_and_import_does_not() -> None:
    end_ms = SIGNAL["valid_until_ms"]
    signal = parse_grid_signal(msgspec.json.encode(SIGNAL))
    for at_ms, export_w in ((end_ms - 1, 11_000), (end_ms, 0)):
        held = [(each.direction, each.limit_w, each.source) for each in signal.limits_at(at_ms)]
        assert held == [("import", 44_000, "grid operator"), ("export", export_w, "grid operator")]


def test_a_signal_may_hold_for_ever() -> None:
    signal = parse_grid_signal(msgspec.json.encode(SIGNAL | {"valid_until_ms": LAST_MS}))
    assert [each.limit_w for each in signal.limits_at(LAST_MS - 2)] == [44_000, 11_000]


def test_a_limit_that_names_no_source_has_that_of_the_signal() -> None:
    limits = [{"direction": "import", "limit_w": watts, "source": source} for watts, source in ((1, ""), (2, "DSO"))]
    signal = parse_grid_signal(msgspec.json.encode(SIGNAL | {"limits": limits}))
    assert [(each.limit_w, each.source) for each in signal.every_limit[3:]] == [(1, "grid operator"), (2, "DSO")]
