"""Pictures of telemetry: means over time with gaps, and what goes back is below the axis."""

from xml.etree import ElementTree

import pytest

from v2g_cli.csms.vehicle_plot import BATTERY, battery_rows, chart, fleet_rows, held, vehicle_rows


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
    picture = ElementTree.fromstring(chart("a <fleet>", (0, 900_000), 900_000, rows))
    assert picture.attrib["aria-label"] == "a <fleet>"
    assert "12,345" in chart("f", (0,), 1, vehicle_rows({"charging.power": [12_345.0]}))


@pytest.mark.requirement("R114", "R125", "R178")
def test_a_battery_is_drawn_as_reported_and_as_estimated_with_its_band() -> None:
    signals = {name: [None, None, None] for name in BATTERY} | {
        "battery.soc": [50.0, 60.0, None],
        "battery.cell_voltage.min": [3.6, 3.5, None],
        "battery.cell_voltage.max": [3.61, None, 3.7],
    }
    charge, cells = battery_rows(signals, [{}, {"soc_percent": 61.0, "soc_deviation_percent": 1.5}, {}])
    assert [(each.name, list(each.values)) for each in charge.series] == [
        ("reported", [50.0, 60.0, None]),
        ("estimated", [None, 61.0, None]),
        ("lower bound", [None, 58.0, None]),
        ("upper bound", [None, 64.0, None]),
    ]
    assert cells.title == "cells apart, mV"
    assert list(cells.series[0].values) == [pytest.approx(10.0), None, None]
    assert ElementTree.fromstring(chart("b", (0, 1, 2), 1, (charge, cells))).tag.endswith("svg")
