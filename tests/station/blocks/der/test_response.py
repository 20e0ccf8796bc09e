"""What a station makes of the grid by its DER controls, against sums made here from the points that the CSMS sent."""

import math
from typing import Any

import pytest

from tests import grid_curves as table
from tests.station.bench import Bench, Payload
from tests.together import together
from v2g.energy.limits import GridResponse
from v2g_station.blocks.der.reactive import REACTIVE, React
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE, Respond
from v2g_station.blocks.settings import Inverter
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.kernel.layout import EvseLayout

RATED_W, DRAWN_W, MAX_VAR = 10_000, 22_000, 4_400
V2X = EvseLayout(max_power_w=DRAWN_W, max_discharge_w=RATED_W)
CEASED = GridResponse(floor_w=0, ceiling_w=0)
TRIPPED = GridResponse(floor_w=0, ceiling_w=0, trip=True)
NORMAL = GridResponse()
WELL = {"highVoltage": 105.0, "lowVoltage": 95.0, "highFreq": 50.1, "lowFreq": 49.9}


class Der(Bench):
    """A station with one EVSE of direct current, whose inverter can do everything."""

    def __init__(self, **more: Any) -> None:
        self.power_w = 0
        super().__init__(
            "2.1",
            evses=(V2X,),
            der_controls=(*BY_FREQUENCY, *BY_VOLTAGE, *REACTIVE),
            inverter=Inverter(manufacturer="ACME", max_var=MAX_VAR),
            **more,
        )

    def read(self, evse_id: int, _context: str = "Other") -> MeterSample:
        return MeterSample(utc_ms=self.utc_ms, import_mwh=0, export_mwh=0, power_w=self.power_w if evse_id else 0)

    def put(self, kind: str, member: str = "curve", name: str = "", **body: Any) -> Payload:
        request = {"isDefault": True, "controlId": name or kind, "controlType": kind, member: {"priority": 1} | body}
        return self.ask("SetDERControl", request)

    def curve(self, kind: str, *points: tuple[float, float], unit: str = "Not_Applicable", **more: Any) -> Payload:
        return self.put(kind, yUnit=unit, curveData=[{"x": x, "y": y} for x, y in points], **more)

    def grid(self, hz: float = 50.0, percent: float = 100.0) -> None:
        self.fact(GridFrequency(hz=hz, volt=230.0 * percent / 100))

    @property
    def response(self) -> GridResponse:
        return next((c.response for c in reversed(self.commands) if isinstance(c, Respond)), NORMAL)

    @property
    def var(self) -> int:
        return next((c.var for c in reversed(self.commands) if isinstance(c, React)), 0)


def test_a_trip_waits_as_long_as_its_curve_says_and_ends_by_enter_service() -> None:
    found = Der()
    found.put("EnterService", "enterService", **WELL, delay=60.0, rampRate=100.0)
    assert found.curve("HFMustTrip", (51.0, 2.0), (52.0, 0.2))["status"] == "Accepted"
    found.grid(50.9)
    found.wait(60)
    assert found.response == NORMAL
    found.grid(51.5)  # half way between the points: 1.1 s
    found.wait(1.0)
    assert found.response == NORMAL
    found.wait(0.2)
    assert found.response == TRIPPED
    found.expect("NotifyDERAlarm", controlType="HFMustTrip", gridEventFault="OverFrequency")
    found.grid(50.2)  # not well enough to enter service
    found.wait(120)
    assert found.response == TRIPPED
    found.grid(50.0)
    found.wait(59)
    assert found.response == TRIPPED
    found.wait(2)
    for seconds in (0, 24, 24):
        found.wait(seconds)
        share = found.response.ceiling_w / DRAWN_W if found.response.ceiling_w else 0.0
        assert found.response.floor_w == pytest.approx(-share * RATED_W, abs=1)
    assert 0.4 < share < 0.55
    found.wait(60)
    assert found.response == NORMAL
    found.expect("NotifyDERAlarm", controlType="HFMustTrip", alarmEnded=True)


@pytest.mark.requirement("R46")
@together(
    ("kind", "points", "bad", "seconds", "fault"),
    [
        ("LFMustTrip", ((47.5, 0.5), (47.0, 0.1)), {"hz": 47.2}, 0.26, "UnderFrequency"),
        ("HVMustTrip", ((110.0, 13.0), (120.0, 13.0), (120.0, 0.2)), {"percent": 115.0}, 13.0, "OverVoltage"),
        ("LVMustTrip", ((80.0, 10.0), (45.0, 10.0), (45.0, 0.2)), {"percent": 30.0}, 0.2, "UnderVoltage"),
        ("HFMayTrip", ((51.0, 3.0),), {"hz": 51.2}, 3.0, "OverFrequency"),
        ("HVMomCess", ((110.0, 0.5),), {"percent": 112.0}, 0.5, "OverVoltage"),
        ("LVMomCess", ((50.0, 0.5),), {"percent": 40.0}, 0.5, "UnderVoltage"),
    ],
)
def test_every_kind_of_curve_ceases_in_time_and_ends_with_its_cause(
    kind: str, points: Any, bad: dict[str, float], seconds: float, fault: str
) -> None:
    found = Der()
    found.curve(kind, *points)
    found.grid()
    found.grid(**bad)
    found.wait(seconds - 0.02)
    assert found.response == NORMAL
    found.wait(0.04)
    assert found.response == (TRIPPED if "Trip" in kind else CEASED)
    found.expect("NotifyDERAlarm", controlType=kind, gridEventFault=fault)
    found.grid()
    assert found.response == NORMAL, "nothing else is to be waited for"


def test_nobody_enters_service_at_a_grid_that_nobody_measures() -> None:
    """A source that falls silent, or reads 0 Hz in a blackout, is reported as the nominal frequency, not measured."""
    unknown = GridFrequency(hz=50.0, measured=False)
    found = Der()
    found.put("EnterService", "enterService", **WELL, delay=60.0)
    found.curve("LFMustTrip", (49.0, 1.0))
    found.grid(48.0)
    found.wait(1.1)
    assert found.response == TRIPPED
    found.fact(unknown)
    found.wait(120)
    assert found.response == TRIPPED
    found.grid()
    found.wait(59)
    found.fact(unknown)
    found.wait(60)
    found.grid()
    found.wait(59)
    assert found.response == TRIPPED, "the delay begins anew"
    found.wait(2)
    assert found.response == NORMAL


def test_what_has_to_be_ridden_through_is_where_a_must_trip_curve_says_when() -> None:
    found = Der()
    found.curve("HFMayTrip", (51.0, 1.0))
    found.curve("HFMustTrip", (51.0, 5.0))
    found.grid(51.5)
    found.wait(4.9)
    assert found.response == NORMAL
    found.wait(0.2)
    assert found.response == TRIPPED


def test_hysteresis_says_when_momentary_cessation_is_over() -> None:
    found = Der()
    hysteresis = {"hysteresisHigh": 105.0, "hysteresisDelay": 2.0, "hysteresisGradient": 10.0}
    found.curve("HVMomCess", (110.0, 0.0), hysteresis=hysteresis)
    found.grid(percent=111.0)
    assert found.response == CEASED
    found.grid(percent=107.0)
    found.wait(60)
    assert found.response == CEASED
    found.grid(percent=104.0)
    found.wait(2.0)
    assert found.response == CEASED or found.response.ceiling_w == 0
    found.wait(5.0)
    assert found.response.ceiling_w == pytest.approx(DRAWN_W / 2, rel=0.1), "10 % a second"
    found.wait(6.0)
    assert found.response == NORMAL


def test_the_mean_of_ten_minutes_trips_where_no_moment_does() -> None:
    """EN 50549-1, 4.9.3.4: 110 % for 3 s."""
    found = Der()
    found.curve("HVMustTrip", (115.0, 0.1), voltageParams={"hv10MinMeanValue": 110.0, "hv10MinMeanTripDelay": 3.0})
    tripped = None
    for second in range(0, 900, 2):
        found.grid(percent=112.0)
        found.wait(2)
        if found.response == TRIPPED:
            tripped = second
            break
    assert tripped == pytest.approx(600 * 10 / 12 + 3, abs=8), "from 100 % the mean is 110 % after 500 s"


def test_after_a_start_enter_service_is_waited_for() -> None:
    found = Der()
    found.put("EnterService", "enterService", **WELL, delay=30.0)
    found.grid()
    assert found.response == NORMAL, "whoever is in service stays"
    found.commands.clear()
    found.power_loss()
    assert found.response == CEASED
    found.wait(60)
    assert found.response == CEASED, "nothing is known of the grid"
    found.grid()
    found.wait(31)
    assert found.response == NORMAL
    found.nothing("NotifyDERAlarm")


def test_one_alarm_passes_from_control_to_control() -> None:
    """R05.FR.03, .04."""
    found = Der()
    droop = {"overFreq": 50.2, "underFreq": 49.8, "overDroop": 0.05, "underDroop": 0.05, "responseTime": 1.0}
    found.put("FreqDroop", "freqDroop", **droop)
    found.curve("HFMustTrip", (51.0, 1.0))
    found.grid(51.1)
    found.expect("NotifyDERAlarm", controlType="FreqDroop")
    found.wait(1.1)
    alarm = found.expect("NotifyDERAlarm")
    assert (alarm["controlType"], alarm.get("alarmEnded")) == ("HFMustTrip", None)
    found.grid()
    found.wait(11)
    alarm = found.expect("NotifyDERAlarm")
    assert (alarm["controlType"], alarm["alarmEnded"]) == ("HFMustTrip", True)
    found.nothing("NotifyDERAlarm")


def test_an_alarm_from_before_a_power_failure_ends() -> None:
    """R05.FR.02: the grid that failed after it may be well when the station is back."""
    found = Der()
    found.curve("LVMustTrip", (80.0, 1.0))
    found.grid(percent=70.0)
    found.wait(1.1)
    found.expect("NotifyDERAlarm", controlType="LVMustTrip", gridEventFault="UnderVoltage")
    for _ in range(2):
        found.power_loss()
        found.grid()
    assert [each.get("alarmEnded") for each in found.all("NotifyDERAlarm")] == [None, True]


def test_gradients_are_passed_on_and_a_disabled_inverter_follows_nothing() -> None:
    found = Der()
    found.put("Gradients", "gradient", gradient=5.0, softGradient=1.0)
    assert found.response == GridResponse(ramp_percent=5.0)
    found.put("LimitMaxDischarge", "limitMaxDischarge", pctMaxDischargePower=30.0)
    assert found.response.floor_w == -3_000
    place = {"component": {"name": "DCDERCtrlr", "evse": {"id": 1}}, "variable": {"name": "Enabled"}}
    found.ask("SetVariables", setVariableData=[place | {"attributeValue": "false"}])
    assert found.response == NORMAL


@pytest.mark.parametrize(
    ("kind", "member", "body", "why"),
    [
        ("HFMustTrip", "curve", {"yUnit": "Not_Applicable", "curveData": [{"x": 51.0, "y": -1.0}]}, "negative"),
        ("FixedVar", "fixedVar", {"setpoint": 1.0, "unit": "PctMaxVar", "duration": 60.0}, "scheduled"),
        ("FixedVar", "fixedPFInject", {"displacement": 0.9, "excitation": False}, "allows only"),
        ("PowerMonitoringMustTrip", "curve", {"yUnit": "PctMaxW", "curveData": [{"x": 1.0, "y": 50.0}]}, None),
    ],
)
def test_controls_that_make_no_sense_are_refused(kind: str, member: str, body: Any, why: str | None) -> None:
    """R04.FR.01, .13, .17."""
    answer = Der().put(kind, member, **body)
    assert answer["status"] == ("NotSupported" if why is None else "Rejected")
    assert why is None or why in answer["statusInfo"]["additionalInfo"]


def by_hand(points: tuple[tuple[float, float], ...], x: float) -> float:
    """A curve's y, from the two points around x."""
    below = max((p for p in points if p[0] <= x), default=points[0])
    above = min((p for p in points if p[0] >= x), default=points[-1])
    if above[0] == below[0]:
        return below[1]
    return below[1] + (above[1] - below[1]) * (x - below[0]) / (above[0] - below[0])


VOLT_VAR = ((92.0, 100.0), (98.0, 0.0), (102.0, 0.0), (108.0, -100.0))
WATT_VAR = ((-100.0, 60.0), (-50.0, 0.0), (50.0, 0.0), (100.0, -60.0))
WATT_PF = ((50.0, 1.0), (100.0, 0.9))


@pytest.mark.requirement("R46")
@together("percent", [85.0, 92.0, 94.0, 97.3, 100.0, 105.0, 120.0])
def test_volt_var_follows_its_points(percent: float) -> None:
    found = Der()
    found.curve("VoltVar", *VOLT_VAR, unit="PctMaxVar", responseTime=0.0)
    found.grid(percent=percent)
    assert found.var == pytest.approx(by_hand(VOLT_VAR, percent) / 100 * MAX_VAR, abs=1)


@pytest.mark.requirement("R46")
@together("point", [*table.BY_VOLTAGE, *table.BY_FREQUENCY], ids=str)
def test_the_chargers_own_inverter_keeps_to_the_curves(point: table.Point) -> None:
    """The table that vehicles' inverters keep to, too."""
    found = Der()
    found.curve("VoltVar", *table.VOLT_VAR, unit="PctMaxVar", responseTime=0.0)
    found.curve("VoltWatt", *table.VOLT_WATT, unit="PctMaxW", responseTime=0.0)
    droop = 100 / table.SLOPE / 50
    settings = {"overFreq": table.OVER_HZ, "underFreq": 49.8, "overDroop": droop, "underDroop": droop}
    found.put("FreqDroop", "freqDroop", **settings, responseTime=0.0)
    found.power_w = -RATED_W
    found.grid()
    found.grid(point.hertz, point.volts)
    assert -max(-RATED_W, found.response.bend(-RATED_W)) == pytest.approx(
        point.watts / 100 * RATED_W, abs=table.TOLERANCE * RATED_W
    )
    assert found.var == pytest.approx(point.var / 100 * MAX_VAR, abs=table.TOLERANCE * MAX_VAR)


@pytest.mark.requirement("R46")
@pytest.mark.parametrize(("given", "volt_watt_s", "volt_var_s"), [({}, 10.0, 5.0), ({"responseTime": 3.0}, 3.0, 3.0)])
def test_what_follows_the_voltage_takes_its_response_time(
    given: dict[str, float], volt_watt_s: float, volt_var_s: float
) -> None:
    """IEEE 1547-2018: 90 % of a step after the open loop response time."""
    found = Der()
    found.curve("VoltWatt", (106.0, 100.0), (110.0, 0.0), **given)
    found.curve("VoltVar", *VOLT_VAR, unit="PctMaxVar", **given)
    found.grid()
    found.grid(percent=112.0)
    found.wait(min(volt_watt_s, volt_var_s))
    found.grid(percent=112.0)
    assert found.var == pytest.approx(-0.9 * MAX_VAR, rel=0.001)
    found.wait(volt_watt_s - min(volt_watt_s, volt_var_s))
    found.grid(percent=112.0)
    assert found.response.floor_w == pytest.approx(-0.1 * RATED_W, rel=0.001)
    found.wait(60)
    assert (found.response.floor_w, found.var) == (0, -MAX_VAR)


@together("power_w", [-10_000, -7_500, -2_000, 0, 11_000, 16_500, 22_000])
def test_watt_var_and_watt_pf_follow_the_power(power_w: int) -> None:
    share = -power_w / (RATED_W if power_w < 0 else DRAWN_W) * 100
    found = Der()
    found.power_w = power_w
    found.curve("WattVar", *WATT_VAR, unit="PctMaxVar")
    found.grid()
    assert found.var == pytest.approx(by_hand(WATT_VAR, share) / 100 * MAX_VAR, abs=1)
    found = Der()
    found.power_w = power_w
    found.curve("WattPF", *WATT_PF)
    found.grid()
    factor = by_hand(WATT_PF, share)
    apparent = abs(power_w) / factor
    expected = -min(MAX_VAR, math.sqrt(apparent**2 - power_w**2))  # positive factors absorb
    assert found.var == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(("power_w", "member"), [(-8_000, "fixedPFInject"), (8_000, "fixedPFAbsorb"), (0, "")])
def test_fixed_power_factors_are_of_their_direction(power_w: int, member: str) -> None:
    found = Der()
    found.power_w = power_w
    found.put("FixedPFInject", "fixedPFInject", displacement=0.95, excitation=False)
    found.put("FixedPFAbsorb", "fixedPFAbsorb", displacement=0.9, excitation=True)
    found.grid()
    size = math.sqrt((8_000 / {"fixedPFInject": 0.95, "fixedPFAbsorb": 0.9}[member]) ** 2 - 8_000**2) if member else 0
    assert found.var == pytest.approx(size if power_w < 0 else -size, abs=1)


def test_reactive_power_by_one_control_at_a_time_and_none_after_a_trip() -> None:
    found = Der()
    found.put("FixedVar", "fixedVar", setpoint=-50.0, unit="PctMaxVar")
    assert found.var == -MAX_VAR // 2
    found.curve("VoltVar", *VOLT_VAR, unit="PctMaxVar", responseTime=0.0, priority=0)
    found.grid(percent=92.0)
    assert found.var == MAX_VAR
    found.curve("LFMustTrip", (47.5, 0.0))
    found.grid(47.0, percent=92.0)
    assert found.response == TRIPPED
    assert found.var == 0


def test_the_reference_of_a_voltage_curve_follows_the_voltage_where_it_may() -> None:
    found = Der()
    params = {"autonomousVRefEnable": True, "autonomousVRefTimeConstant": 300.0}
    found.curve("VoltVar", *VOLT_VAR, unit="PctMaxVar", responseTime=0.0, reactivePowerParams=params)
    found.grid(percent=105.0)
    assert found.var == pytest.approx(-MAX_VAR / 2, abs=2)
    for _ in range(300):
        found.wait(10)
        found.grid(percent=105.0)
    assert found.var == pytest.approx(0, abs=20), "105 % is what it is now"


def test_the_nameplate_says_what_the_inverter_can_do() -> None:
    """R01.FR.01, .02."""
    found = Der()
    names = (
        "MaxW",
        "MaxVA",
        "MaxVar",
        "OverExcitedPF",
        "MaxChargeRateW",
        "InverterManufacturer",
        "ReactiveSusceptance",
    )
    items = [{"component": {"name": "DCDERCtrlr", "evse": {"id": 1}}, "variable": {"name": name}} for name in names]
    results = found.ask("GetVariables", getVariableData=items)["getVariableResult"]
    values = dict(zip(names, (each["attributeValue"] for each in results), strict=True))
    apparent = math.hypot(RATED_W, MAX_VAR)
    assert values == {
        "MaxW": "10000", "MaxVA": f"{apparent:.0f}", "MaxVar": "4400", "OverExcitedPF": f"{RATED_W / apparent:.3f}",
        "MaxChargeRateW": "22000", "InverterManufacturer": "ACME", "ReactiveSusceptance": "0",
    }  # fmt: skip
