"""What simulated stations make of the grid, against sums made here from the trace and what the CSMS sent."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.secc.served import POWER_W, Served
from tests.station.bench import START_MS
from tests.together import together
from v2g.energy.feeder import Feeder, FeederNode
from v2g.energy.frequency_trace import GridTrace
from v2g.errors import CodecError
from v2g_station.blocks.settings import Inverter
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet
from v2g_station.simulator.grid import GridPlan, SimulatedGrid

BEHAVIOUR = Behaviour(
    arrivals_per_hour=60, bidirectional=1.0, plug_and_charge=0.0, vehicle_kw=(40.0, 40.0), battery_kwh=(90.0, 90.0),
    stay_hours=(9.0, 9.0), offline_per_day=0, faults_per_day=0,
)  # fmt: skip
WAVE = [(each, 50 + 0.4 * math.sin(each / 7)) for each in range(61)]


def served(*rows: tuple[float, ...], **more: Any) -> Served:
    plan = GridPlan(**more)
    trace = GridTrace.parse("\n".join(",".join(map(str, row)) for row in rows)) if rows else None
    return Served(
        BEHAVIOUR, grid=SimulatedGrid(plan, trace, START_MS), der_controls=plan.controls, nominal_v=plan.nominal_v
    )


def test_power_follows_the_frequency_of_a_trace_that_begins_again_and_again() -> None:
    """Q08: 20 kW per Hz around 50 Hz, and its energy, with the link and without it."""
    found = served(*WAVE)
    curve = [{"frequency": 49.0, "power": -20_000.0}, {"frequency": 51.0, "power": 20_000.0}]
    assert found.charge(operationMode="LocalFrequency", v2xBaseline=1000.0, v2xFreqWattCurve=curve) == "Accepted"
    found.go_on(60 - (found.utc_ms - START_MS) / 1000 % 60)
    before, into, out = found.shown(), 0.0, 0.0
    found.drop()
    for second in range(120):
        wanted_w = 1000 + 20_000 * (WAVE[second % 60][1] - 50)
        assert found.shown().power_w == pytest.approx(wanted_w, abs=250), second
        into, out = into + max(0.0, wanted_w) / 3.6, out + max(0.0, -wanted_w) / 3.6
        found.go_on(1)
    assert found.shown().import_mwh - before.import_mwh == pytest.approx(into, rel=0.02)
    assert found.shown().export_mwh - before.export_mwh == pytest.approx(out, rel=0.02)


def test_der_controls_bend_the_power_that_would_flow() -> None:
    """R01: a droop of 5 % of 50 Hz is all of the rated power at 2.5 Hz; then a trip by the voltage, and the alarms."""
    quiet = (0, 50, 230)
    found = served(quiet, (86_400, 50, 230))
    assert found.charge(setpoint=-20_000.0, operationMode="CentralSetpoint") == "Accepted"
    data = {"component": {"name": "DCDERCtrlr", "evse": {"id": 1}}, "variable": {"name": "MaxW"}}
    result = found.ask("GetVariables", getVariableData=[data])["getVariableResult"][0]
    assert result["attributeValue"] == str(POWER_W)
    droop = {
        "priority": 1,
        "overFreq": 50.1,
        "underFreq": 49.9,
        "overDroop": 0.05,
        "underDroop": 0.05,
        "responseTime": 1.0,
    }
    trip = {"priority": 1, "yUnit": "Not_Applicable", "curveData": [{"x": 110.0, "y": 2.0}]}
    for kind, body in (("FreqDroop", {"freqDroop": droop}), ("HVMustTrip", {"curve": trip})):
        request = {"isDefault": True, "controlId": kind, "controlType": kind} | body
        assert found.ask("SetDERControl", request)["status"] == "Accepted"
    found.go_on(1)
    assert found.shown().power_w == -20_000
    bad(found, hz=50.6)
    found.go_on(2)
    assert found.shown().power_w == pytest.approx(-20_000 + 0.5 / 2.5 * POWER_W, abs=1)
    found.expect("NotifyDERAlarm", controlType="FreqDroop", gridEventFault="OverFrequency")
    bad(found, volt=260.0)
    found.go_on(1)
    assert found.shown().power_w == -20_000
    found.go_on(3)
    assert found.shown().power_w == 0
    found.expect("NotifyDERAlarm", controlType="HVMustTrip", gridEventFault="OverVoltage")


def bad(found: Served, hz: float = 50.0, volt: float = 230.0) -> None:
    """From now on the grid is like that."""
    assert found.site is not None
    trace = GridTrace.parse(f"0,{hz},{volt}")
    found.site.grid = SimulatedGrid(GridPlan(), trace)


def test_power_rises_by_the_gradient() -> None:
    found = served()
    assert found.charge(setpoint=0.0, operationMode="CentralSetpoint") == "Accepted"
    request = {"isDefault": True, "controlId": "g", "controlType": "Gradients",
               "gradient": {"priority": 1, "gradient": 2.0, "softGradient": 2.0}}  # fmt: skip
    assert found.ask("SetDERControl", request)["status"] == "Accepted"
    found.go_on(1)
    assert found.charge(setpoint=-30_000.0, operationMode="CentralSetpoint") == "Accepted"
    for second in (10, 20):
        found.go_on(10)
        assert found.shown().power_w == pytest.approx(-0.02 * POWER_W * second, abs=0.05 * POWER_W)
    found.go_on(30)
    assert found.shown().power_w == -30_000


@together(
    "text",
    ["", "0", "0,50,230,1", "0,50,230\n1,50", "0,50,1001", "0,50,nan", "nan,50", '{"s":0}', '{"s":0,"hz":50,"w":1}'],
)
def test_what_is_no_trace_of_the_grid_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        GridTrace.parse(text)


def test_both_ways_to_write_a_trace_say_the_same() -> None:
    lines = GridTrace.parse('# made up\n{"s": 0, "hz": 50, "v": 230}\n{"s": 10, "hz": 49, "v": 220}\n')
    assert lines == GridTrace.parse("0,50,230\n10,49,220")
    assert [lines.at(each) for each in (0, 5, 15)] == [(50.0, 230.0), (49.5, 225.0), (49.5, 225.0)]


async def test_a_fleet_plays_the_file_that_its_behaviour_names(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text("0,49.8,231")
    behaviour = msgspec.toml.decode(f'[grid]\ntrace = "{tmp_path}/grid.csv"', type=Behaviour)
    (station,) = Simulator(StationFleet(url="ws://127.0.0.1:9/ocpp", behaviour=behaviour)).stations
    assert station.site.grid is not None
    assert station.site.grid.at(0) == GridFrequency(hz=49.8, volt=231.0)
    await station.close()


VOLT_WATT = ((106.0, 100.0), (110.0, 0.0))
VOLT_VAR = ((92.0, 100.0), (98.0, 0.0), (102.0, 0.0), (106.0, -100.0))


def on_feeder(
    feeder: Feeder, head_v: float, *, volt_var: bool, response_s: float | None, wish_w: float
) -> list[Served]:
    """Two stations at the ends of a feeder whose vehicles feed back."""
    plan = GridPlan(feeder=feeder, voltage_v=head_v, every_s=0.5, nodes=("a", "b"), max_var=20_000 if volt_var else 0)
    grid = SimulatedGrid(plan)
    given = {} if response_s is None else {"responseTime": response_s}
    stations = [
        Served(BEHAVIOUR, grid=grid, der_controls=plan.controls, inverter=Inverter(max_var=plan.max_var))
        for _ in plan.nodes
    ]
    for found in stations:
        assert found.charge(setpoint=-wish_w, operationMode="CentralSetpoint") == "Accepted"
        for kind, points in (("VoltWatt", VOLT_WATT), ("VoltVar", VOLT_VAR))[: 2 if volt_var else 1]:
            data = [{"x": x, "y": y} for x, y in points]
            unit = "PctMaxW" if kind == "VoltWatt" else "PctMaxVar"
            body = {"priority": 1, "yUnit": unit, "curveData": data} | given
            request = {"isDefault": True, "controlId": kind, "controlType": kind, "curve": body}
            assert found.ask("SetDERControl", request)["status"] == "Accepted"
    late = max(found.utc_ms for found in stations)
    for found in stations:
        found.go_on((late - found.utc_ms) / 1000)
    return stations


def watch(stations: list[Served], seconds: float) -> list[list[tuple[float, float]]]:
    """Let them go on side by side; return (V, W) at each of them twice a second."""
    seen: list[list[tuple[float, float]]] = [[] for _ in stations]
    for _ in range(round(2 * seconds)):
        for number, found in enumerate(stations):
            found.go_on(0.5)
            assert found.site is not None
            assert found.site.grid is not None
            volt = found.site.grid.at(found.utc_ms, number).volt
            assert volt is not None
            seen[number].append((volt, found.shown().power_w or 0))
    return seen


def spread(values: Iterable[float]) -> float:
    values = list(values)
    return max(values) - min(values)


@pytest.mark.long
@pytest.mark.requirement("R46")
@settings(max_examples=10, deadline=None)
@given(
    r_ohm=st.floats(0.05, 0.5), x_ohm=st.floats(0.0, 0.4), between_ohm=st.floats(0.0, 0.3),
    load_w=st.floats(-5_000, 5_000), head_v=st.floats(225, 242), volt_var=st.booleans(),
    wish_w=st.floats(5_000, 40_000),
)  # fmt: skip
def test_nodes_stay_in_their_band_and_two_stations_do_not_hunt(
    r_ohm: float, x_ohm: float, between_ohm: float, load_w: float, head_v: float, volt_var: bool, wish_w: float
) -> None:
    a = FeederNode(name="a", r_ohm=r_ohm, x_ohm=x_ohm, load_w=load_w)
    feeder = Feeder(nodes=(a, FeederNode(name="b", parent="a", r_ohm=between_ohm, x_ohm=between_ohm / 2)))
    alone = feeder.voltages({}, head_v)
    stations = on_feeder(feeder, head_v, volt_var=volt_var, response_s=None, wish_w=wish_w)
    watch(stations, 45)
    for found in watch(stations, 10):
        volts, watts = zip(*found, strict=True)
        assert max(volts) <= max(1.10 * 230, *alone.values()) + 0.1, "or others than the chargers lift it"
        assert spread(volts) < 0.1
        assert spread(watts) < 0.01 * POWER_W
        allowed = min(1.0, max(0.0, 1 - (volts[-1] / 2.30 - 106) / 4)) * POWER_W
        assert -watts[-1] == pytest.approx(min(wish_w, allowed), abs=0.02 * POWER_W)


@pytest.mark.requirement("R46")
@pytest.mark.parametrize("r_ohm", [0.1, 0.3, 0.6])
def test_the_power_at_one_line_is_where_curve_and_voltage_meet(r_ohm: float) -> None:
    """By bisection of the closed form: three phases, 240 V at the head, R alone, both stations at its end."""

    def volt(export_w: float) -> float:
        b, c = 2 * r_ohm * -export_w / 3 - 240**2, r_ohm**2 * (export_w / 3) ** 2
        return math.sqrt((-b + math.sqrt(b * b - 4 * c)) / 2)

    low, high = 0.0, 2.0 * 40_000
    for _ in range(60):
        middle = (low + high) / 2
        within = middle / 2 <= (1 - (volt(middle) / 2.30 - 106) / 4) * POWER_W
        low, high = (middle, high) if within else (low, middle)
    feeder = Feeder(nodes=(FeederNode(name="a", r_ohm=r_ohm), FeederNode(name="b", parent="a", r_ohm=0.0)))
    stations = on_feeder(feeder, 240.0, volt_var=False, response_s=None, wish_w=40_000)
    found = watch(stations, 50)
    assert -sum(each[-1][1] for each in found) == pytest.approx(low, rel=0.01)
    assert found[0][-1][0] == pytest.approx(volt(low), abs=0.05)


@pytest.mark.requirement("R46")
def test_without_response_times_they_would_hunt() -> None:
    """So the tests above can fail."""
    feeder = Feeder(nodes=(FeederNode(name="a", r_ohm=0.5), FeederNode(name="b", parent="a", r_ohm=0.0)))
    stations = on_feeder(feeder, 240.0, volt_var=False, response_s=0.0, wish_w=40_000)
    watch(stations, 30)
    assert max(spread(watts for _, watts in found) for found in watch(stations, 10)) > 0.2 * POWER_W
