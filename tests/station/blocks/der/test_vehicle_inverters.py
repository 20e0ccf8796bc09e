"""Controls of block R that reach vehicles' inverters by AC DER (R221), against figures made here."""

from typing import Any

import msgspec
import pytest

from csms.grid.inverter_functions import control_for
from tests.ieee2030_5.curves import BASE, VOLT_VAR, curve
from tests.station.bench import Bench, Payload
from v2g.energy.grid_support import FactorSetpoint, FrequencySupport, GridSupport, ReactiveSetpoint
from v2g.ieee2030_5.functions import FunctionMode, InverterFunction, curve_of, functions_in
from v2g.ieee2030_5.resources import read_resource
from v2g_station.blocks.der.vehicle_inverters import BY_ACTIVE, BY_REACTIVE, SupportGrid, VehicleGridEvent
from v2g_station.kernel.layout import EvseLayout

pytestmark = pytest.mark.requirement("R221")

AC = EvseLayout(max_power_w=22_000, max_discharge_w=10_000, phases=3)
DC = EvseLayout(max_power_w=22_000, max_discharge_w=10_000)
TYPES = (*BY_ACTIVE, *BY_REACTIVE)


class Vehicles(Bench):
    """A station with an EVSE of each current, which carries controls to vehicles."""

    def __init__(self) -> None:
        super().__init__("2.1", evses=(AC, DC), der_controls=tuple(sorted(TYPES)), vehicle_controls=TYPES)

    def put(self, kind: str, member: str = "curve", **body: Any) -> Payload:
        request = {"isDefault": True, "controlId": kind, "controlType": kind, member: {"priority": 1} | body}
        answer = self.ask("SetDERControl", request)
        self.wait(0.1)
        return answer

    def curve(self, kind: str, *points: tuple[float, float], unit: str = "PctMaxVar", **more: Any) -> Payload:
        return self.put(kind, yUnit=unit, curveData=[{"x": x, "y": y} for x, y in points], **more)

    @property
    def support(self) -> GridSupport | None:
        sent = [each for each in self.commands if isinstance(each, SupportGrid)]
        assert {each.evse_id for each in sent} <= {1}
        return sent[-1].support if sent else None


@pytest.fixture
def station() -> Vehicles:
    return Vehicles()


def test_volt_var_becomes_volts_and_var(station: Vehicles) -> None:
    answer = station.curve("VoltVar", (92, 100), (98, 0), (102, 0), (108, -100), responseTime=10)
    assert answer["status"] == "Accepted"
    assert station.support is not None
    curve = station.support.volt_var
    assert curve is not None
    assert curve.points == tuple(
        pytest.approx(each) for each in ((211.6, 4400), (225.4, 0), (234.6, 0), (248.4, -4400))
    )
    assert curve.response_s == pytest.approx(4.343, abs=0.001)  # 90 % after 10 s


@pytest.mark.parametrize(("over", "under"), [(50.2, 49.8), (0.2, 0.2)], ids=["frequencies", "dead band"])
def test_a_droop_becomes_a_slope_of_the_maximum(station: Vehicles, over: float, under: float) -> None:
    body = {"overFreq": over, "underFreq": under, "overDroop": 0.05, "underDroop": 0.05, "responseTime": 0}
    assert station.put("FreqDroop", "freqDroop", **body)["status"] == "Accepted"
    more: dict[str, Any] = {"slope": 40, "reference": "maximum"}
    assert station.support == GridSupport(
        over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=52.7, **more),
        under_frequency_watt=FrequencySupport(start_hz=49.8, stop_hz=47.3, **more),
    )


def test_the_power_factor_of_a_curve_absorbs_where_it_is_positive(station: Vehicles) -> None:
    assert station.curve("WattPF", (50, 1), (100, 0.9), unit="Not_Applicable")["status"] == "Accepted"
    assert station.support is not None
    assert station.support.watt_cos_phi is not None
    assert station.support.watt_cos_phi.points == ((5_000, -1), (10_000, -0.9))


def test_fixed_values_become_setpoints(station: Vehicles) -> None:
    assert station.put("FixedVar", "fixedVar", setpoint=-50, unit="PctMaxVar")["status"] == "Accepted"
    assert station.put("FixedPFInject", "fixedPFInject", displacement=0.95, excitation=True)["status"] == "Accepted"
    assert station.support == GridSupport(
        q_setpoint=ReactiveSetpoint(var=-2_200), cos_phi_setpoint=FactorSetpoint(cos_phi=-0.95)
    )


def test_volt_watt_is_carried_with_two_points_only(station: Vehicles) -> None:
    assert station.curve("VoltWatt", (106, 100), (110, 0), unit="PctMaxW")["status"] == "Accepted"
    assert station.support is not None
    assert station.support.volt_watt is not None
    assert (station.support.volt_watt.start_v, station.support.volt_watt.stop_v) == pytest.approx((243.8, 253.0))
    answer = station.curve("VoltWatt", (104, 100), (106, 60), (110, 0), unit="PctMaxW")
    assert answer["status"] == "NotSupported"


@pytest.mark.parametrize("kind", ["LVMustTrip", "EnterService", "FixedPFAbsorb", "HVMomCess"])
def test_what_a_vehicle_has_no_field_for_is_not_supported(station: Vehicles, kind: str) -> None:
    if kind == "EnterService":
        body = {"highVoltage": 105.0, "lowVoltage": 95.0, "highFreq": 50.1, "lowFreq": 49.9}
        answer = station.put(kind, "enterService", **body)
    elif kind == "FixedPFAbsorb":
        answer = station.put(kind, "fixedPFAbsorb", displacement=0.9, excitation=True)
    else:
        answer = station.curve(kind, (50, 0.2), (60, 1.0), unit="Not_Applicable")
    assert answer["status"] == "NotSupported"


def test_a_curve_that_goes_back_is_not_supported_and_a_cleared_one_is_no_longer_in_force(station: Vehicles) -> None:
    assert station.curve("VoltVar", (98, 10), (98, 0))["status"] == "NotSupported"
    assert station.curve("VoltVar", (98, 10), (102, 0))["status"] == "Accepted"
    assert station.support is not None
    station.ask("ClearDERControl", {"isDefault": True, "controlId": "VoltVar"})
    station.wait(0.1)
    assert station.support is None


def test_a_vehicles_grid_event_is_an_alarm_of_a_control_in_force_at_its_edges(station: Vehicles) -> None:
    """R05: from the first vehicle that acts to the last."""
    station.fact(VehicleGridEvent(evse_id=1))
    station.fact(VehicleGridEvent(evse_id=1, ended=True))
    assert not station.all("NotifyDERAlarm")  # the back end has asked for nothing
    station.curve("VoltVar", (92, 100), (108, -100))
    for number, ended in ((1, False), (2, False), (1, True), (2, True)):
        station.fact(VehicleGridEvent(evse_id=number, ended=ended))
    told = station.all("NotifyDERAlarm")
    assert [(each["controlType"], each["gridEventFault"], each.get("alarmEnded")) for each in told] == [
        ("VoltVar", "LocalEmergency", None),
        ("VoltVar", "LocalEmergency", True),
    ]


def test_the_functions_of_a_utilitys_documents_reach_the_inverter(station: Vehicles) -> None:
    """IEEE 2030.5 to OCPP to AC DER: 2.3 V are a per cent, 44 var one of the reactive power, 100 W one of the power."""
    asked: tuple[FunctionMode, ...] = ("FixedPFInjectW", "FixedVar", "FreqDroop")
    found: dict[FunctionMode, InverterFunction] = functions_in(read_resource(BASE.encode(), "DERControlBase"), asked)[0]
    response = "|<openLoopTms>500</openLoopTms><vRef>9900</vRef>"
    curves = {
        "VoltVar": curve(11, VOLT_VAR, x=-2, y=-1, more=response),
        "VoltWatt": curve(12, [(106, 100), (110, 0)], unit=1),
    }
    for mode, document in curves.items():
        found[mode] = curve_of(read_resource(document, "DERCurve"), mode)  # type: ignore[index, arg-type]
    for mode, function in found.items():
        request = msgspec.to_builtins(control_for(mode, function))
        assert station.ask("SetDERControl", request)["status"] == "Accepted", mode
    station.wait(0.1)
    support = station.support
    assert support is not None
    assert support.functions == {
        *("cos_phi_setpoint", "q_setpoint", "over_frequency_watt", "under_frequency_watt", "volt_var", "volt_watt")
    }
    assert support.cos_phi_setpoint == FactorSetpoint(cos_phi=pytest.approx(-0.95))
    assert support.q_setpoint == ReactiveSetpoint(var=-1100)
    assert support.over_frequency_watt == FrequencySupport(
        start_hz=50.036, stop_hz=52.536, slope=40, reference="maximum", response_s=pytest.approx(2.171, abs=0.001)
    )
    assert support.under_frequency_watt == FrequencySupport(
        start_hz=49.8, stop_hz=47.8, slope=50, reference="maximum", response_s=pytest.approx(2.171, abs=0.001)
    )
    assert support.volt_var is not None
    assert [each for point in support.volt_var.points for each in point] == pytest.approx(
        [209.484, 1936, 223.146, 0, 232.254, 0, 245.916, -1936]
    )
    assert support.volt_watt is not None
    assert (support.volt_watt.start_v, support.volt_watt.stop_v) == pytest.approx((243.8, 253))


def test_a_curve_whose_reference_follows_the_voltage_is_not_carried(station: Vehicles) -> None:
    params = {"autonomousVRefEnable": True, "autonomousVRefTimeConstant": 300}
    answer = station.curve("VoltVar", (92, 100), (108, -100), reactivePowerParams=params)
    assert answer["status"] == "NotSupported"


def test_a_stored_control_that_does_not_fit_the_configuration_any_more_is_not_in_force(station: Vehicles) -> None:
    """Reactive power by discharge, of an outlet that takes none any more."""
    assert station.curve("WattVar", (50, 0), (100, -100))["status"] == "Accepted"
    assert station.curve("VoltVar", (92, 100), (108, -100))["status"] == "Accepted"
    station.layout = msgspec.structs.replace(station.layout, evses=(EvseLayout(max_power_w=22_000, phases=3), DC))
    station.power_loss()
    station.wait(0.1)
    assert station.support is not None
    assert station.support.functions == {"volt_var"}
