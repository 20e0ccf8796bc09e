"""Prices of markets: a recorded day, days of 25 hours, omitted points, and documents that are refused with a reason."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csms.support import grid_signal
from tests.together import together
from v2g.energy.price_feeds import FORMATS, FeedData, Markup, parse_feed
from v2g.errors import CodecError

VECTORS = Path(__file__).parents[1] / "vectors" / "prices"
RECORDED = (VECTORS / "energy-charts-de-lu-2024-05-04.json").read_bytes()
A44 = (VECTORS / "synthetic-entsoe-a44-end-of-summer-time.xml").read_text()
_KIND = "Acknowledgement_MarketDocument"
ACKNOWLEDGEMENT = f"<{_KIND}><Reason><text>No matching data</text></Reason></{_KIND}>".encode()
HOUR_MS = 3_600_000


def changed(**values: Any) -> bytes:
    """Return the recorded day with other values."""
    return json.dumps(json.loads(RECORDED) | values).encode()


@pytest.mark.requirement("R52")
def test_a_recorded_day_is_read_hour_by_hour() -> None:
    """Millionths of a euro per kWh, of euros per MWh."""
    day = parse_feed(RECORDED, "energy-charts", Markup())
    assert (day.currency, len(day.slots), day.until_ms) == ("EUR", 24, 1_714_860_000_000)
    assert {slot.duration_s for slot in day.slots} == {3600}
    assert [slot.import_price for slot in day.slots[12:15]] == [24_930, 14_530, 13_340]
    assert all(slot.import_price == slot.export_compensation for slot in day.slots)


def test_vehicles_pay_taxes_and_fees_on_top_and_receive_less() -> None:
    """Each direction has a factor and a surcharge."""
    markup = Markup(import_factor=1.19, import_surcharge=0.12, export_factor=1.0, export_surcharge=-0.01)
    slot = parse_feed(RECORDED, "energy-charts", markup).slots[0]
    assert (slot.import_price, slot.export_compensation) == (228_052, 80_800)


def test_a_price_that_is_missing_is_a_gap_and_a_minute_is_a_minute() -> None:
    """`null` in Energy-Charts; a series of 60 s keeps its resolution."""
    starts = [60 * n for n in range(5)]
    data = changed(unix_seconds=starts, price=[1.0, 2.0, None, 4.0, -5.0], unit="EUR / MWh")
    found = parse_feed(data, "energy-charts", Markup())
    assert [(slot.start_ms, slot.duration_s) for slot in found.slots] == [
        (0, 60),
        (60_000, 60),
        (180_000, 60),
        (240_000, 60),
    ]
    assert found.slots[-1].import_price == -5000


@pytest.mark.parametrize(
    ("minutes", "lasts"),
    [
        ((0, 15, 45, 60, 75), (15, 15, 15, 15, 15)),
        ((0, 15, 75, 90), (15, 15, 15, 15)),
        ((0, 60, 180, 240), (60, 60, 60, 60)),
        ((0, 60, 120, 135, 150), (60, 60, 15, 15, 15)),
        ((0, 30), (30, 30)),
        ((0, 1440), (60, 60)),
        ((0,), (60,)),
    ],
    ids=str,
)
def test_a_time_that_is_missing_is_a_gap_too(minutes: tuple[int, ...], lasts: tuple[int, ...]) -> None:
    """The price before it holds no longer than those beside; series change from hours to quarters."""
    data = changed(unix_seconds=[60 * each for each in minutes], price=[1.0] * len(minutes))
    found = parse_feed(data, "energy-charts", Markup())
    assert tuple(slot.duration_s // 60 for slot in found.slots) == lasts


def test_a_day_of_25_hours_has_100_quarters_and_omitted_points_repeat() -> None:
    """Up to the end of the period; the finer resolution counts, and of auctions the first."""
    found = parse_feed(A44.encode(), "entsoe", Markup())
    prices = [slot.import_price for slot in found.slots]
    assert (found.currency, len(prices)) == ("EUR", 100)
    assert prices[:6] == [80_500, 80_100, 80_100, 80_100, 75_250, 75_250]
    assert prices[47:50] == [75_250, -5_000, -5_000]
    assert prices[96:] == [99_990] * 4


SEQUENCE = "<classificationSequence_AttributeInstanceComponent.position>{}</"


def test_days_of_other_auctions_have_the_prices_of_the_first_that_has_some() -> None:
    """Platforms spread the days of a document over sequences; where two have the same time, the first counts."""
    (head, *series), tail = A44.split("  <TimeSeries>"), "</Publication_MarketDocument>"
    day = "  <TimeSeries>" + series[1]
    assert SEQUENCE.format(1) in day
    later = day.replace("2025-10-26T23", "2025-10-27T23").replace("2025-10-25T22", "2025-10-26T23")
    dearer = day.replace(">80.5<", ">999<").replace(SEQUENCE.format(1), SEQUENCE.format(3))
    for number in (2, 4):
        document = head + later.replace(SEQUENCE.format(1), SEQUENCE.format(number)) + dearer + day + tail
        found = parse_feed(document.encode(), "entsoe", Markup())
        prices = [slot.import_price for slot in found.slots]
        assert (len(prices), prices[0], prices[100]) == (196, 80_500, 80_500)
    only = head + dearer + tail
    assert parse_feed(only.encode(), "entsoe", Markup()).slots[0].import_price == 999_000


def test_without_repetition_an_omitted_point_is_a_gap_that_a_coarser_series_fills() -> None:
    """Curve type A01 names every point."""
    found = parse_feed(A44.replace("A03", "A01").encode(), "entsoe", Markup())
    by_start = {slot.start_ms: slot for slot in found.slots}
    first = min(by_start)
    assert [by_start[first + n * 900_000].import_price for n in range(2)] == [80_500, 80_100]
    assert first + 2 * 900_000 not in by_start
    assert by_start[first + 12 * HOUR_MS].duration_s == 900


def test_a_period_without_a_price_brings_none() -> None:
    """A publication document may announce a period before its prices are known."""
    empty = re.sub(r"<Point>.*?</Point>", "", A44, flags=re.DOTALL)
    assert parse_feed(empty.encode(), "entsoe", Markup()).slots == ()


def test_a_grid_signal_brings_its_limits() -> None:
    """One without limits brings prices only."""
    signal = grid_signal(3)
    found = parse_feed(signal.to_json(), "grid-signal", Markup())
    assert (found.slots, found.import_limit_w) == (signal.slots, signal.site_import_limit_w)
    assert (found.export_limit_w, found.export_until_ms) == (signal.export_limit_w, signal.valid_until_ms)
    bare = {k: v for k, v in json.loads(signal.to_json()).items() if "limit" not in k and k != "valid_until_ms"}
    found = parse_feed(json.dumps(bare).encode(), "grid-signal", Markup())
    assert (found.slots, found.import_limit_w, found.export_limit_w) == (signal.slots, None, None)


@pytest.mark.parametrize(
    ("format_", "data", "reason"),
    [
        ("energy-charts", changed(unit="EUR / barrel"), "unit"),
        ("energy-charts", changed(price=[1.0]), "1 prices for 24 times"),
        ("energy-charts", changed(unix_seconds=[7] * 24), "do not ascend"),
        ("energy-charts", b"<html>", "Energy-Charts"),
        ("energy-charts", b"[" * 100_000, "Energy-Charts"),
        ("energy-charts", b" " * 1_000_001, "1000001 bytes"),
        ("entsoe", b"<a/>", "not a publication document"),
        ("entsoe", b"\xff\xfe<", "UTF-8"),
        ("entsoe", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
        ("entsoe", A44.replace("PT15M", "PT7M").encode(), "resolution"),
        ("entsoe", A44.replace("80.5", "NaN").encode(), "not a number"),
        ("entsoe", A44.replace(">49<", ">1<").encode(), "ascend"),
        ("entsoe", A44.replace(">49<", ">x<").encode(), "position"),
        ("entsoe", A44.replace("EUR", "PLN", 1).encode(), "one currency"),
        (
            "entsoe",
            A44.replace("2025-10-26T23:00Z</end>\n      </time", "soon</end>\n      </time").encode(),
            "not a time",
        ),
        ("entsoe", ACKNOWLEDGEMENT, "No matching data"),
        ("grid-signal", b"{}", "missing required field"),
    ],
    ids=lambda value: "data" if isinstance(value, bytes) else value,
)
def test_what_cannot_be_used_is_refused_with_a_reason(format_: FORMATS, data: bytes, reason: str) -> None:
    """Never a traceback."""
    with pytest.raises(CodecError, match=reason):
        parse_feed(data, format_, Markup())


def _cut(text: bytes) -> st.SearchStrategy[bytes]:
    return st.tuples(st.integers(0, len(text)), st.integers(0, len(text)), st.binary(max_size=8)).map(
        lambda parts: text[: parts[0]] + parts[2] + text[parts[1] :]
    )


@pytest.mark.parametrize(
    ("format_", "cut"), [("energy-charts", _cut(RECORDED)), ("entsoe", _cut(A44.encode()))], ids=["json", "xml"]
)
def test_whatever_arrives_is_read_or_refused(format_: FORMATS, cut: st.SearchStrategy[bytes]) -> None:
    """And what is read has prices in order, without overlap."""

    @given(cut)
    def check(data: bytes) -> None:
        try:
            found = parse_feed(data, format_, Markup())
        except CodecError:
            return
        _in_order(found)

    check()


def _in_order(found: FeedData) -> None:
    ends = [slot.start_ms + slot.duration_s * 1000 for slot in found.slots]
    assert all(slot.start_ms >= end for slot, end in zip(found.slots[1:], ends, strict=False))


@pytest.mark.requirement("R52", "R180")
def test_prices_of_california_are_those_of_the_whole_price_of_one_node() -> None:
    """In USD per MWh, also in the archive that OASIS sends."""
    table = (VECTORS / "caiso-prc-lmp-dam.csv").read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("20220201_PRC_LMP_DAM.csv", table)
    for data in (table, packed.getvalue()):
        found = parse_feed(data, "caiso", Markup())
        assert found.currency == "USD"
        assert [(slot.start_ms, slot.duration_s, slot.import_price) for slot in found.slots] == [
            (1_643_727_600_000, 3600, 74_630),
            (1_643_731_200_000, 3600, -5_500),
        ]
    two = table + table.splitlines()[1].replace(b"0096WD_7_N001", b"TH_NP15_GEN-APND") + b"\n"
    with pytest.raises(CodecError, match="prices of 2 nodes"):
        parse_feed(two, "caiso", Markup())
    assert len(parse_feed(two, "caiso", Markup(), "TH_NP15_GEN-APND").slots) == 1
    with pytest.raises(CodecError, match="no prices of the node"):
        parse_feed(two, "caiso", Markup(), "ELSEWHERE")


@pytest.mark.requirement("R52", "R180")
def test_prices_of_great_britain_are_those_of_a_provider_that_has_traded() -> None:
    """In GBP per MWh, by half hours."""
    data = (VECTORS / "elexon-market-index.json").read_bytes()
    found = parse_feed(data, "elexon", Markup())
    assert found.currency == "GBP"
    assert [(slot.start_ms, slot.duration_s, slot.import_price) for slot in found.slots] == [
        (1_704_067_200_000, 1800, 36_510),
        (1_704_069_000_000, 1800, -2_000),
    ]
    with pytest.raises(CodecError, match="no trade of the data provider N2EXMIDP"):
        parse_feed(data, "elexon", Markup(), "N2EXMIDP")


@pytest.mark.requirement("R52", "R180")
def test_prices_of_japan_are_those_of_an_area_at_half_hours_of_its_clock() -> None:
    """In JPY per kWh; 1 July begins at 15:00 UTC of the day before."""
    data = (VECTORS / "jepx-spot.csv").read_bytes()
    found = parse_feed(data, "jepx", Markup())
    assert found.currency == "JPY"
    begin = 1_782_831_600_000
    assert [(slot.start_ms - begin, slot.import_price) for slot in found.slots] == [
        (0, 17_750_000),
        (1_800_000, 16_200_000),
        (47 * 1_800_000, 10_000),
    ]
    old = data.decode("cp932").replace("受渡日", "年月日").encode()
    assert parse_feed(old, "jepx", Markup(), "Tokyo").slots[0].import_price == 20_150_000
    with pytest.raises(CodecError, match="no area"):
        parse_feed(data, "jepx", Markup(), "okinawa")


@together(
    ("format_", "data", "problem"),
    [
        ("caiso", b"PK\3\4 no archive", "not an archive"),
        ("caiso", b"NODE,MW\nA,1\n", "no column INTERVALSTARTTIME_GMT"),
        ("caiso", b"\xff\xfe\0", "encoding"),
        ("jepx", "受渡日,時刻コード,システムプライス(円/kWh)\n2026/07/01,49,1\n".encode(), "half hour"),
        ("jepx", "受渡日,時刻コード,システムプライス(円/kWh)\n2026/07/01,1,dear\n".encode(), "not a number"),
        ("jepx", "受渡日,時刻コード,システムプライス(円/kWh)\nsoon,1,1\n".encode(), "not a time"),
        ("elexon", b"[]", "market index data"),
        ("jepx", b"x" * 8_000_001, "8000001 bytes"),
    ],
)
def test_documents_of_other_forms_are_refused_with_a_reason(format_: FORMATS, data: bytes, problem: str) -> None:
    with pytest.raises(CodecError, match=problem):
        parse_feed(data, format_, Markup())


def test_an_archive_that_grows_too_large_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.csv", b"0" * 20_000_001)
    with pytest.raises(CodecError, match="unzipped"):
        parse_feed(packed.getvalue(), "caiso", Markup())
