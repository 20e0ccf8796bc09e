"""Paths of VSS 6: names by vss-tools, data types and units by the specification's text."""

import json
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.interop.environments import environment
from v2g.telemetry.signals import SIGNALS
from v2g.telemetry.vss import signals_at, vss_value

pytestmark = pytest.mark.requirement("R212")

SPECIFIED: Final = {
    **{f"Powertrain.TractionBattery.{name}": ("float", unit) for name, unit in {
        "CurrentVoltage": "V", "CurrentCurrent": "A", "CurrentPower": "W", "StateOfCharge.Current": "percent",
        "StateOfHealth": "percent", "Temperature.Min": "celsius", "Temperature.Max": "celsius",
        "Temperature.Average": "celsius", "CellVoltage.Min": "V", "CellVoltage.Max": "V",
        "AccumulatedChargedEnergy": "kWh", "AccumulatedConsumedEnergy": "kWh",
    }.items()},
    "Powertrain.TractionBattery.IsPowerConnected": ("boolean", ""),
    "Powertrain.Range": ("uint32", "m"),
    "Exterior.AirTemperature": ("float", "celsius"),
    "CurrentLocation.Latitude": ("double", "degrees"),
    "CurrentLocation.Longitude": ("double", "degrees"),
    "Speed": ("float", "km/h"),
    "TraveledDistance": ("float", "km"),
}  # fmt: skip
"""Data types and units of github.com/COVESA/vehicle_signal_specification, November 2026; facts, not its text."""

OURS: Final = {"%": "percent", "degC": "celsius", "Wh": "kWh"}


def test_each_path_is_specified_and_each_unit_is_known() -> None:
    paths = {signal.vss: signal.unit for signal in SIGNALS.values() if signal.vss}
    assert paths.keys() == SPECIFIED.keys()
    differ = {path for path, unit in paths.items() if OURS.get(unit, unit) != SPECIFIED[path][1]}
    assert differ == {"Powertrain.Range"}  # km


@pytest.mark.long
def test_vss_tools_accepts_the_names_and_exports_them(tmp_path: Path) -> None:
    python = environment("vss", ("vss-tools>=6,<7",))
    nodes: dict[str, dict[str, str]] = {}
    for path, (datatype, unit) in SPECIFIED.items():
        *branches, _ = names = ["Vehicle", *path.split(".")]
        for each in range(len(branches)):
            nodes[".".join(names[: each + 1])] = {"type": "branch", "description": "A branch."}
        nodes[".".join(names)] = {"type": "sensor", "datatype": datatype, "description": "A sensor."} | (
            {"unit": unit} if unit else {}
        )
    (tmp_path / "v.vspec").write_text(yaml.safe_dump(nodes))
    known = {"quantity": "any", "allowed-datatypes": ["numeric"]}
    units = {unit: {"definition": unit, "unit": unit, **known} for _, unit in SPECIFIED.values() if unit}
    (tmp_path / "units.yaml").write_text(yaml.safe_dump(units))
    (tmp_path / "quantities.yaml").write_text(yaml.safe_dump({"any": {"definition": "any"}}))
    command = [
        "export",
        "json",
        "--strict",
        "-s",
        "v.vspec",
        "-u",
        "units.yaml",
        "-q",
        "quantities.yaml",
        "-o",
        "o.json",
    ]
    vspec = python.with_name("vspec")
    done = subprocess.run([vspec, *command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    exported = json.loads((tmp_path / "o.json").read_text())
    battery = exported["Vehicle"]["children"]["Powertrain"]["children"]["TractionBattery"]["children"]
    assert battery["StateOfCharge"]["children"]["Current"]["unit"] == "percent"
    nodes["Vehicle.wrong_name"] = {"type": "sensor", "datatype": "float", "description": "Not of VSS."}
    (tmp_path / "v.vspec").write_text(yaml.safe_dump(nodes))
    assert subprocess.run([vspec, *command], cwd=tmp_path, capture_output=True).returncode != 0


def test_a_branch_has_all_below_it_and_a_star_is_one_name() -> None:
    assert len(signals_at("Vehicle")) == len(SPECIFIED)
    assert signals_at("Vehicle.Speed") == {"Vehicle.Speed": "vehicle.speed"}
    assert set(signals_at("Vehicle.Powertrain.TractionBattery.*.Max").values()) == {
        "battery.temperature.max", "battery.cell_voltage.max",
    }  # fmt: skip
    assert set(signals_at("Vehicle.*.Latitude").values()) == {"location.latitude"}
    assert signals_at("Vehicle.Spee") == signals_at("Vehicle.*.*.*.*.*") == {}


def test_values_have_the_unit_and_type_of_their_path() -> None:
    assert vss_value("battery.energy.charged", 1234) == "1.234"
    assert vss_value("vehicle.range", 312.4567) == "312457"
    assert vss_value("vehicle.contactor", 1) == "true"
    assert vss_value("location.latitude", 48.137154) == "48.137154"
    assert vss_value("battery.current", -120.5) == "-120.5"


@given(st.sampled_from(sorted(SIGNALS)), st.floats(-1e9, 1e9))
def test_any_value_is_a_text_that_reads_back(signal: str, value: float) -> None:
    text = vss_value(signal, value)
    assert text in ("true", "false") or float(text) == pytest.approx(value * (1000 if "range" in signal else 0.001 if
        "energy" in signal else 1), abs=1)  # fmt: skip
