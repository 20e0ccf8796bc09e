"""Pictures of telemetry: means over time with gaps, and what goes back is below the axis."""

from xml.etree import ElementTree

import pytest

from v2g_cli.csms.vehicle_plot import BATTERY, battery_rows, chart, fleet_health_rows, fleet_rows, held, vehicle_rows


def interval(at_ms: int, mean: float, last: float) -> dict[str, float]:
    return {"at_ms": at_ms, "mean": mean, "last": last, "minimum": 0, "maximum": 0, "number": 1}


def test_what_is_not_known_in_an_interval_is_a_gap() -> None:
    found = held([interval(20, 5, 7), interval(40, 2, 1)], (0, 10, 20, 30, 40, 50))
    assert found == [None, None, 5, None, 2, None]


@pytest.mark.requirement("R96")
def test_a_fleets_rows_are_sums_counts_and_extremes() -> None:
    power, count, soc = fleet_rows([[7000, None, 0], [-3000, 5000, None]], [[50, 60, 70], [None, 20, 30]])
    assert [list(each.values) for each in power.series] == [[7, 5, 0], [-3, 0, 0]]
    assert [list(each.values) for each in count.series] == [[1, 1, 0], [1, 0, 0]]
    assert [list(each.values) for each in soc.series] == [[50, 60, 70], [50, 40, 50], [50, 20, 30]]


def test_a_vehicles_rows_have_units_and_leave_out_what_was_never_reported() -> None:
    rows = vehicle_rows({"battery.soc": [1.0, 2.0], "motor.speed": [None, None], "vehicle.contactor": [0, 1]})
    assert [each.title for each in rows] == ["battery.soc, %", "vehicle.contactor"]
    picture = ElementTree.fromstring(chart("a <fleet>", (0, 900_000, 1_800_000), rows))
    assert picture.attrib["aria-label"] == "a <fleet>"
    assert "12,345" in chart("f", (0, 1), vehicle_rows({"charging.power": [12_345.0]}))


@pytest.mark.requirement("R114", "R125", "R178")
def test_a_battery_is_drawn_as_reported_and_as_estimated_with_its_band() -> None:
    signals = {name: [None, None, None] for name in BATTERY} | {
        "battery.soc": [50.0, 60.0, None],
        "battery.cell_voltage.min": [3.6, 3.5, None],
        "battery.cell_voltage.max": [3.61, None, 3.7],
    }
    known = {"soc_percent": 61.0, "soc_deviation_percent": 1.5, "soh_percent": 92.0, "soh_deviation_percent": 1.0}
    known |= {"soh_in_half_a_year_percent": 90.5, "soh_in_half_a_year_deviation_percent": 1.25}
    charge, health, later, cells = battery_rows(signals, [{}, known, {}])
    assert [(each.name, list(each.values)) for each in charge.series] == [
        ("reported", [50.0, 60.0, None]),
        ("estimated", [None, 61.0, None]),
        ("lower bound", [None, 58.0, None]),
        ("upper bound", [None, 64.0, None]),
    ]
    assert [(each.name, each.values[1]) for each in health.series] == [
        ("estimated", 92.0),
        ("lower bound", 90.0),
        ("upper bound", 94.0),
    ]
    assert [(each.name, each.values[1]) for each in later.series] == [
        ("expected", 90.5),
        ("lower bound", 88.0),
        ("upper bound", 93.0),
    ]
    assert cells.title == "cells apart, mV"
    assert list(cells.series[0].values) == [pytest.approx(10.0), None, None]
    assert ElementTree.fromstring(chart("b", (0, 1, 2, 3), (charge, health, later, cells))).tag.endswith("svg")


@pytest.mark.requirement("R178")
def test_a_fleets_health_is_drawn_from_70_percent_on_with_what_is_expected() -> None:
    point = {
        "at_ms": 0, "vehicles": 3, "lowest_percent": 79.0, "mean_percent": 88.0, "highest_percent": 98.0, "low": 1,
        "expected_percent": 86.5, "expected_low": 2,
    }  # fmt: skip
    health, vehicles = fleet_health_rows([point, {**point, "mean_percent": 87.0}])
    assert [(each.name, list(each.values)) for each in health.series] == [
        ("highest", [98.0, 98.0]),
        ("mean", [88.0, 87.0]),
        ("lowest", [79.0, 79.0]),
        ("mean half a year later", [86.5, 86.5]),
    ]
    assert [list(each.values) for each in vehicles.series] == [[3, 3], [1, 1], [2, 2]]
    picture = ElementTree.fromstring(chart("h", (0, 86_400_000), (health, vehicles)))
    labels = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert labels[1:3] == ["70", "98"]
