"""Pictures of quantities over time."""

import itertools
from datetime import timedelta, timezone
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.svg_chart import Row, Series, stairs_chart

SVG = "{http://www.w3.org/2000/svg}"
value = st.none() | st.floats(-1e6, 1e6)


@given(
    steps=st.lists(st.tuples(st.integers(1, 10**6), value, value), min_size=1, max_size=20),
    title=st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    width=st.sampled_from([400, 900]),
)
def test_every_value_is_drawn_inside_the_picture_and_text_is_escaped(
    steps: list[tuple[int, float | None, float | None]], title: str, width: int
) -> None:
    edges = [0]
    for step, _, _ in steps:
        edges.append(edges[-1] + step)
    rows = (
        Row(title, (Series("blue", "a", [a for _, a, _ in steps]),)),
        Row(title, (Series("red", "b<&>", [b for _, _, b in steps]),)),
    )
    root = ElementTree.fromstring(stairs_chart(title, edges, rows, width=width))
    assert root.get("aria-label") == title
    assert float(root.get("width", "")) == width
    lines = {each.findtext(f"{SVG}title"): each.get("points", "") for each in root.iter(f"{SVG}polyline")}
    for name, values in (("a", [a for _, a, _ in steps]), ("b<&>", [b for _, _, b in steps])):
        drawn = [each for each in values if each is not None]
        assert (name in lines) == bool(drawn)
        pairs = [tuple(map(float, pair.split(","))) for pair in lines.get(name, "").split()]
        assert len(pairs) == 2 * len(drawn)
        assert all(70 <= x <= width - 10 and 0 <= y <= 300 for x, y in pairs)
        assert [x for x, _ in pairs] == sorted(x for x, _ in pairs)


def test_values_at_the_edges_of_steps_are_joined() -> None:
    rows = (Row("kWh", (Series("green", "energy", [0.0, 5.0, 3.0]),)),)
    root = ElementTree.fromstring(stairs_chart("", [0, 60_000, 120_000], rows))
    (line,) = root.iter(f"{SVG}polyline")
    assert line.get("points") == "70.0,140.0 480.0,30.0 890.0,74.0"


def test_values_at_an_axis_are_a_line_of_text_apart() -> None:
    for least in (-0.1, -5.0, -50.0):
        rows = (Row("power, kW", (Series("blue", "", [least, 50.0]),)),)
        root = ElementTree.fromstring(stairs_chart("", [0, 60_000, 120_000], rows))
        values = [each for each in root.iter() if each.get("text-anchor") == "end" and float(each.get("x", "")) < 70]
        places = sorted(float(each.get("y", "")) for each in values)
        assert len(places) == (3 if least == -50.0 else 2)
        assert all(later - earlier >= 12 for earlier, later in itertools.pairwise(places))


def test_times_are_whole_steps_of_the_clock() -> None:
    rows = (Row("kW", (Series("blue", "power", [1.0]),)),)
    root = ElementTree.fromstring(stairs_chart("", [7 * 60_000, 4 * 3_600_000], rows))
    times = [each.text for each in root.iter(f"{SVG}text") if (each.text or "")[2:3] == ":" and each.text != "kW: \n"]
    assert times == ["00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "03:30", "04:00"]


@pytest.mark.parametrize("days", [2, 7, 30, 365])
def test_days_are_named_by_their_date_and_do_not_crowd(days: int) -> None:
    rows = (Row("kW", (Series("blue", "power", [1.0]),)),)
    root = ElementTree.fromstring(stairs_chart("", [1, days * 86_400_000], rows, width=560))
    dates = [each.text for each in root.iter(f"{SVG}text") if (each.text or "")[2:3] == "-"]
    assert 1 <= len(dates) <= 7
    assert len(set(dates)) == len(dates)


def test_times_are_those_of_the_zone_and_numbers_those_of_the_reader() -> None:
    rows = (Row("kW", (Series("blue", "power", [-1.5]),)),)
    zone = timezone(timedelta(hours=2))
    drawn = stairs_chart("", [0, 3_600_000], rows, zone=zone, number=lambda value: f"{value:.1f}".replace(".", ","))
    assert ">02:00<" in drawn
    assert ">03:00<" in drawn
    assert ">-1,5<" in drawn
