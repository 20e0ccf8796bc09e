"""Power follows the grid's frequency in a running session while the CSMS is away (Q08, R01, R03).

The station's core, what is known of the grid, and a session of ISO 15118-20 in its charge loop, joined as the charger
joins them, and the physics of a power stage or a vehicle's charger behind. Time is turned by hand, 20 ms a step; the
meter is polled every 200 ms. The traces say where they are from.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests.secc.session.bench import AC_BPT, DC_BPT, Bench
from tests.secc.session.d20.ac import UNSIGNED, target
from tests.station.bench import Bench as StationBench
from tests.station.charging import charging
from tests.station.local_control import local
from tests.together import together
from v2g.energy.curves import FrequencyCurve
from v2g.energy.feeder import Feeder, FeederNode
from v2g.energy.frequency_trace import FrequencyTrace, GridTrace, load_grid_trace
from v2g.hardware.interfaces import OFF, Demand
from v2g.hardware.simulation import StageConfig, StageLoad, StageModel
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.sequence import State
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE, Respond
from v2g_station.blocks.smart_charging.local_control import GridFrequency, SetPower
from v2g_station.kernel.layout import EvseLayout

Make = Callable[..., Bench]
TRACES = Path(__file__).parents[2] / "vectors/frequency"
RATED_W = 10_000
STEP_S, POLL_S, LOOP_S = 0.02, 0.2, 0.24
VEHICLE_S = 0.1
"""How long the vehicle's own charger takes to follow a target (AC)."""
ALLOWED = EvseLayout(max_power_w=20_000, max_discharge_w=RATED_W)
CURVE = [(49.5, -8_000), (49.9, 0), (50.1, 0), (50.5, 8_000)]


def on_curve(hz: float) -> float:
    """What the curve of the profile says, worked out by hand: 20 kW a hertz outside 49.9 to 50.1."""
    if hz < 49.9:
        return max(-8_000.0, (hz - 49.9) * 20_000)
    return min(8_000.0, max(0.0, hz - 50.1) * 20_000)


class DcStage:
    """The charger's power stage on a battery of 400 V."""

    def __init__(self) -> None:
        self._model = StageModel(StageConfig())

    def drive(self, output: Any) -> None:
        limit = output.charge_w if output.current_ma >= 0 else output.discharge_w
        self._model.demand = Demand(output.voltage_mv, output.current_ma, limit) if output.voltage_mv else OFF

    def advance(self, seconds: float) -> None:
        self._model.advance(
            seconds,
            StageLoad(400_000, contactor_closed=True, max_charge_ma=200_000, max_discharge_ma=200_000),
            connected=True,
        )

    @property
    def power_w(self) -> float:
        return self._model.voltage_mv * self._model.current_ma / 1_000_000


class Charger:
    """All of it. `power_w` is what flows."""

    def __init__(self, make: Make, station: StationBench, *, service: int) -> None:
        services = (EnergyService.AC_BPT,) if service == AC_BPT else (EnergyService.DC_BPT,)
        config = SeccConfig(services=services, control_modes=(ControlMode.DYNAMIC,), signed_discharge=UNSIGNED)
        self.station, self.service = station, service
        self.grid = SiteGrid(charge_w=20_000, discharge_w=RATED_W)
        self.session = make(
            config,
            pilot=PilotState.C if service == AC_BPT else None,
            limits=self.grid.limits,
            tariff=None,
            setpoint=self.grid.setpoint,
            response=self.grid.response,
        )
        self.session.selection = (service, 0, False)
        self.session.reach(State.AC_CHARGE_LOOP if service == AC_BPT else State.DC_CHARGE_LOOP)
        self.loops = "AC_ChargeLoopReq" if service == AC_BPT else "DC_ChargeLoopReq"
        self.session.go(self.loops)
        self.stage = DcStage()
        self.targets: list[tuple[float, float]] = [(0.0, 0.0)]
        self.seen = 0
        self.now = 0.0
        self.power_w = 0.0
        self.measured = True
        """Whether the frequency is."""
        self.history: list[tuple[float, float, float]] = []
        """(time, frequency, power) of every step."""

    def carry_out(self) -> None:
        """What the station wants gets to the session, as `Charger` passes it on."""
        for command in self.station.commands:
            match command:
                case SetPower(power_w=power_w):
                    facts = self.grid.local(power_w)
                case Respond(response=response):
                    facts = self.grid.respond(response)
                case _:
                    continue
            for fact in facts:
                self.session.fact(fact)
        self.station.commands.clear()

    def play(self, trace: FrequencyTrace, seconds: float, volt: Callable[[], float] = lambda: 230.0) -> None:
        """Let the grid do that for so long."""
        steps, polls, loops = round(seconds / STEP_S), round(POLL_S / STEP_S), round(LOOP_S / STEP_S)
        for step in range(steps):
            hz = trace.at(step * STEP_S)
            self.now += STEP_S
            self.session.pass_time(STEP_S)
            if step % polls == polls // 2:
                self.station.wait(POLL_S)
                unknown = GridFrequency(hz=50.0, measured=False)
                self.station.fact(GridFrequency(hz=hz, volt=volt()) if self.measured else unknown)
                self.carry_out()
            if step % loops == 0:
                response = self.session.go(self.loops)
                if self.service == AC_BPT:
                    self.targets.append((self.now + VEHICLE_S, target(response.cl_res_control_mode)))
            self._flow()
            self.history.append((self.now, hz, self.power_w))

    def _flow(self) -> None:
        if self.service == AC_BPT:
            self.power_w = [watts for at, watts in self.targets if at <= self.now][-1]
            self.session.fact(ports.Measured(230_000, round(self.power_w * 1_000 / 230)))
            return
        outputs = self.session.commands(ports.SetOutput)
        for output in outputs[self.seen :]:
            self.stage.drive(output)
        self.seen = len(outputs)
        self.stage.advance(STEP_S)
        self.power_w = self.stage.power_w

    def follows(self, curve: Callable[[float], float], *, within_s: float = 0.5, part: float = 0.05) -> None:
        """At every moment the power is that of a frequency of the last half second, within 5 % (of it, or 50 W)."""
        window = round(within_s / STEP_S)
        for number in range(window, len(self.history)):
            at, _, power = self.history[number]
            wanted = [curve(hz) for _, hz, _ in self.history[number - window : number + 1]]
            margin = max(50.0, part * max(abs(each) for each in wanted))
            assert min(wanted) - margin <= power <= max(wanted) + margin, (at, power, wanted[0], wanted[-1])


def led_by_frequency() -> StationBench:
    """A station whose CSMS has set a curve, and is gone."""
    found = charging(version="2.1", evses=(ALLOWED,))
    curve = [{"frequency": hz, "power": watts} for hz, watts in CURVE]
    assert local(found, v2xFreqWattCurve=curve)["status"] == "Accepted"
    found.drop()
    found.commands.clear()
    return found


@pytest.mark.some(1)
@pytest.mark.requirement("R47")
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("continental-europe-2021-01-08-north-west", 45),
        ("continental-europe-2021-01-08-south-east", 25),
        ("synthetic-steps", 28),
    ],
)
def test_power_is_that_of_the_curve_while_the_csms_is_away(
    make_bench: Make, service: int, name: str, seconds: int
) -> None:
    station = led_by_frequency()
    charger = Charger(make_bench, station, service=service)
    charger.play(load_grid_trace(TRACES / f"{name}.csv").frequency, seconds)
    assert not station.connected
    charger.follows(on_curve)
    assert max(abs(power) for _, _, power in charger.history) > 3_000
    assert charger.session.session.state in (State.AC_CHARGE_LOOP, State.DC_CHARGE_LOOP)


@pytest.mark.requirement("R47")
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
def test_power_starts_within_half_a_second(make_bench: Make, service: int) -> None:
    charger = Charger(make_bench, led_by_frequency(), service=service)
    charger.play(FrequencyTrace(((0.0, 50.0), (2.0, 50.0), (2.02, 49.5))), 4)
    (started,) = [at for at, _, power in charger.history if power < -500][:1]
    (reached,) = [at for at, _, power in charger.history if power < -7_600][:1]
    assert 2.0 < started <= 2.5
    assert reached <= 2.0 + 0.5 + 0.25  # the power stage's own ramp


@pytest.mark.requirement("R47")
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
@pytest.mark.parametrize("leads", ["the CSMS", "the frequency", "the charger"])
def test_no_power_leaves_a_vehicle_while_the_frequency_is_not_measured(
    make_bench: Make, service: int, leads: str
) -> None:
    """Whatever asks for it. The vehicle may still charge, and feeds back again once the frequency is measured."""
    stations: dict[str, Callable[[], StationBench]]
    stations = {"the CSMS": with_controls, "the frequency": led_by_frequency, "the charger": lambda: alone(FCR)}
    charger = Charger(make_bench, stations[leads](), service=service)
    for fact in charger.grid.profiles(_wish(-5_000)):
        charger.session.fact(fact)
    low = FrequencyTrace(((0.0, 49.75),))
    charger.play(low, 3)
    assert charger.power_w < -2_900
    charger.measured = False
    charger.play(low, 2)
    assert all(power > -50 for at, _, power in charger.history if at > 3.75), "half a second, and the stage's ramp"
    for fact in charger.grid.profiles(_wish(5_000)):
        charger.session.fact(fact)
    charger.play(low, 2)
    assert charger.power_w == pytest.approx(0 if leads == "the frequency" else 5_000, abs=100)
    for fact in charger.grid.profiles(_wish(-5_000)):
        charger.session.fact(fact)
    charger.measured = True
    charger.play(low, 3)
    assert charger.power_w < -2_900


def ffr(power_w: float, dead_hz: float = 0.1) -> FrequencyCurve:
    """Fast frequency response: this power at half a hertz."""
    return FrequencyCurve(curve=((-0.5, -power_w), (-dead_hz, 0.0), (dead_hz, 0.0), (0.5, power_w)))


FCR = FrequencyCurve(curve=((-0.2, -8_000.0), (-0.01, 0.0), (0.01, 0.0), (0.2, 8_000.0)))


def alone(response: FrequencyCurve) -> StationBench:
    """A station that responds by itself, and has no CSMS."""
    found = charging(evses=(ALLOWED,), frequency_response=response)
    found.drop()
    return found


def idle(make_bench: Make, response: FrequencyCurve, service: int) -> Charger:
    """A charger whose vehicle is connected, and neither charges nor discharges."""
    charger = Charger(make_bench, alone(response), service=service)
    for fact in charger.grid.profiles(_wish(0)):
        charger.session.fact(fact)
    charger.play(FrequencyTrace(((0.0, 50.0),)), 1)
    charger.history.clear()
    return charger


def own_curve(response: FrequencyCurve) -> Callable[[float], float]:
    """Its power, by the equation of the straight line through the two points on either side."""
    (edge, full), (dead, _) = response.curve[-1], response.curve[-2]

    def power(hz: float) -> float:
        over = abs(hz - 50.0)
        return math.copysign(min(full, max(0.0, (over - dead) / (edge - dead) * full)), hz - 50.0)

    return power


@pytest.mark.requirement("R47")
@pytest.mark.parametrize("hz", [49.5, 50.5])
@pytest.mark.parametrize("lasts_s", [1.0, 2.0])
@pytest.mark.parametrize(("service", "full_w"), [(AC_BPT, 5_000), (AC_BPT, 9_000), (DC_BPT, 5_000), (DC_BPT, 10_000)])
def test_half_a_hertz_brings_5_to_10_kw_for_1_to_2_s_and_no_longer(
    make_bench: Make, service: int, full_w: float, hz: float, lasts_s: float
) -> None:
    """The vehicle at the AC charger can discharge with 9 kW at most."""
    charger = idle(make_bench, ffr(full_w, dead_hz=0.49), service)
    charger.play(FrequencyTrace(((0.0, 50.0), (1.0, 50.0), (1.02, hz), (1 + lasts_s, hz), (1.02 + lasts_s, 50.0))), 5)
    reached = [at for at, _, power in charger.history if abs(power) >= 0.95 * full_w]
    assert reached[0] <= 2.5 + (0.25 if service == DC_BPT else 0), "the stage has a ramp of its own"
    assert max(abs(power) for _, _, power in charger.history) <= 1.05 * full_w
    assert all((power > 0) is (hz > 50) for _, _, power in charger.history if power)
    assert reached[-1] - reached[0] == pytest.approx(lasts_s, abs=0.5)
    assert charger.power_w == pytest.approx(0, abs=50)


@pytest.mark.some(1)
@pytest.mark.requirement("R47")
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
@pytest.mark.parametrize("response", [FCR, ffr(9_000)], ids=["200 mHz", "500 mHz"])
def test_a_response_of_its_own_follows_its_whole_curve(
    make_bench: Make, service: int, response: FrequencyCurve
) -> None:
    charger = idle(make_bench, response, service)
    charger.play(FrequencyTrace(((0.0, 50.0), (1.0, 50.0), (12.0, 49.45), (34.0, 50.55), (45.0, 50.0))), 46)
    charger.follows(own_curve(response))


@pytest.mark.requirement("R47")
def test_a_response_is_held_after_the_frequency_is_back() -> None:
    station = charging(version="2.1", evses=(ALLOWED,), frequency_response=replace(ffr(5_000), hold_s=2.0))
    station.commands.clear()
    station.fact(GridFrequency(hz=49.5))
    station.wait(0.5)
    station.fact(GridFrequency(hz=50.0))
    assert responses(station) == [(-5_000, None)]
    station.wait(1.4)
    assert responses(station) == [(-5_000, None)]
    station.wait(0.2)
    assert responses(station) == [(-5_000, None), (0, None)]
    for hz in (49.5, 50.5):
        station.fact(GridFrequency(hz=hz))
    station.fact(GridFrequency(hz=50.0, measured=False))
    assert responses(station)[2:] == [(-5_000, None), (5_000, None), (0, 0)], "nothing is held for an unknown grid"


@pytest.mark.requirement("R47")
def test_a_response_gives_way_to_what_the_csms_sets() -> None:
    station = with_controls(frequency_response=ffr(10_000))
    droop(station)
    station.commands.clear()
    station.fact(GridFrequency(hz=49.55))
    assert responses(station) == [(-1_000, None)]
    led = charging(version="2.1", evses=(ALLOWED,), frequency_response=ffr(10_000))
    assert local(led, v2xFreqWattCurve=[{"frequency": 49.5, "power": -1.0}, {"frequency": 50.5, "power": 1.0}])
    led.commands.clear()
    led.fact(GridFrequency(hz=49.5))
    assert responses(led) == []


@together(
    "curve",
    [
        ((-0.5, -1.0),),
        ((-0.5, -1.0), (-0.5, 0.0), (0.5, 0.0)),
        ((-0.5, 5.0), (0.0, 0.0), (0.5, 5.0)),
        ((-0.5, -1.0), (0.5, 2.0)),
        ((-6.0, -1.0), (0.0, 0.0)),
        ((-0.5, -2e7), (0.0, 0.0)),
        ((-0.5, -1.0), (0.0, 0.0), (0.5, float("nan"))),
    ],
)
def test_a_curve_that_would_harm_the_grid_is_refused(curve: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"curve": curve}, FrequencyCurve)


def droop(found: StationBench, **more: Any) -> str:
    """Set a droop: from 50.2 Hz and 49.8 Hz on, all of the power over 5 % of 50 Hz."""
    body = {
        "priority": 0, "overFreq": 50.2, "underFreq": 49.8, "overDroop": 0.05, "underDroop": 0.05, "responseTime": 5.0,
    } | more  # fmt: skip
    answer = found.ask("SetDERControl", isDefault=True, controlId="D", controlType="FreqDroop", freqDroop=body)
    return str(answer["status"])


def with_controls(**more: Any) -> StationBench:
    """A station that follows controls of block R."""
    return charging(version="2.1", evses=(ALLOWED,), der_controls=(*BY_FREQUENCY, *BY_VOLTAGE), **more)


@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
@pytest.mark.parametrize("wish_w", [-4_000, 3_000])
def test_a_droop_bends_the_power_that_would_flow(make_bench: Make, service: int, wish_w: int) -> None:
    station = with_controls()
    assert droop(station) == "Accepted"
    station.drop()
    charger = Charger(make_bench, station, service=service)
    for fact in charger.grid.profiles(_wish(wish_w)):
        charger.session.fact(fact)
    charger.play(FrequencyTrace(((0.0, 50.0), (1.0, 50.0))), 1)
    charger.history.clear()
    charger.play(load_grid_trace(TRACES / "continental-europe-2021-01-08-south-east.csv").frequency, 25)

    def bent(hz: float) -> float:
        return wish_w + max(0.0, hz - 50.2) / 2.5 * RATED_W

    charger.follows(bent)
    charger.play(FrequencyTrace(((0.0, 49.3), (1.0, 49.3))), 2)
    assert charger.power_w == pytest.approx(wish_w - 2_000, rel=0.05)


def _wish(power_w: int) -> Any:
    from v2g_station.blocks.smart_charging.profiles import ProfileLimits

    return ProfileLimits(setpoint_w=power_w)


@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
def test_a_limit_of_discharge_holds_at_once_and_until_it_is_cleared(make_bench: Make, service: int) -> None:
    station = with_controls()
    charger = Charger(make_bench, station, service=service)
    for fact in charger.grid.profiles(_wish(-8_000)):
        charger.session.fact(fact)
    quiet = FrequencyTrace(((0.0, 50.0),))
    charger.play(quiet, 1)
    assert charger.power_w == pytest.approx(-8_000, rel=0.01)
    limit = {"priority": 1, "pctMaxDischargePower": 30.0}
    wanted = {"isDefault": True, "controlId": "L", "controlType": "LimitMaxDischarge", "limitMaxDischarge": limit}
    assert station.ask("SetDERControl", wanted)["status"] == "Accepted"
    charger.carry_out()
    charger.play(quiet, 1)
    assert charger.power_w == pytest.approx(-3_000, rel=0.01)
    assert station.ask("ClearDERControl", isDefault=True, controlId="L")["status"] == "Accepted"
    charger.carry_out()
    charger.play(quiet, 1)
    assert charger.power_w == pytest.approx(-8_000, rel=0.01)


@pytest.mark.parametrize("wish_w", [-8_000, 9_000])
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
def test_a_trip_stops_power_in_either_direction_and_it_comes_back_slowly(
    make_bench: Make, service: int, wish_w: int
) -> None:
    """R04, scenario 3; the vehicle stays connected, and the session goes on."""
    station = with_controls()
    curve(station, "HFMustTrip", [(51.0, 0.4)])
    gradient = {"priority": 1, "gradient": 0.0, "softGradient": 10.0}
    answer = station.ask("SetDERControl", isDefault=True, controlId="G", controlType="Gradients", gradient=gradient)
    assert answer["status"] == "Accepted"
    charger = Charger(make_bench, station, service=service)
    for fact in charger.grid.profiles(_wish(wish_w)):
        charger.session.fact(fact)
    charger.play(FrequencyTrace(((0.0, 50.0),)), 1)
    assert charger.power_w == pytest.approx(wish_w, rel=0.01)
    charger.play(FrequencyTrace(((0.0, 51.2),)), 1.5)
    assert charger.power_w == 0
    charger.play(FrequencyTrace(((0.0, 50.0),)), 5)
    half = 0.5 * (RATED_W if wish_w < 0 else ALLOWED.max_power_w)
    assert abs(charger.power_w) == pytest.approx(min(abs(wish_w), half), rel=0.2)
    charger.play(FrequencyTrace(((0.0, 50.0),)), 6)
    assert charger.power_w == pytest.approx(wish_w, rel=0.01)


@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
def test_power_rises_by_a_gradient_and_falls_at_once(make_bench: Make, service: int) -> None:
    station = with_controls()
    gradient = {"priority": 1, "gradient": 20.0, "softGradient": 0.0}
    station.ask("SetDERControl", isDefault=True, controlId="G", controlType="Gradients", gradient=gradient)
    charger = Charger(make_bench, station, service=service)
    charger.carry_out()
    rise_w = 0.2 * charger.session.config.power_rating(charger.session.session.family)[0]
    quiet = FrequencyTrace(((0.0, 50.0),))
    for fact in charger.grid.profiles(_wish(0)):
        charger.session.fact(fact)
    charger.play(quiet, 2)
    assert charger.power_w == 0
    wish_w = min(int(2 * rise_w), 20_000)
    for fact in charger.grid.profiles(_wish(wish_w)):
        charger.session.fact(fact)
    began = len(charger.history)
    charger.play(quiet, 4)
    powers = [power for _, _, power in charger.history[began:]]
    for first in range(0, len(powers) - 50, 10):
        assert powers[first + 50] - powers[first] <= rise_w * (1 + 2 * LOOP_S) + 50, "a second apart"
    assert powers[-1] == pytest.approx(wish_w, rel=0.01)
    for fact in charger.grid.profiles(_wish(1_000)):
        charger.session.fact(fact)
    charger.play(quiet, 0.5)
    assert charger.power_w == pytest.approx(1_000, rel=0.01)


def curve(station: StationBench, control: str, points: list[tuple[float, float]], **more: Any) -> None:
    """Set a default curve."""
    body = {"priority": 0, "yUnit": "PctMaxW", "curveData": [{"x": x, "y": y} for x, y in points]} | more
    answer = station.ask("SetDERControl", isDefault=True, controlId=control, controlType=control, curve=body)
    assert answer["status"] == "Accepted"


def responses(station: StationBench) -> list[tuple[int, int | None]]:
    """What the station has wanted of the power."""
    return [(each.response.delta_w, each.response.floor_w) for each in station.commands if isinstance(each, Respond)]


@pytest.mark.requirement("R46")
def test_curves_over_frequency_and_voltage_bound_what_is_fed_back() -> None:
    station = with_controls()
    curve(station, "FreqWatt", [(50.2, 100.0), (51.2, 0.0)])
    curve(station, "VoltWatt", [(106.0, 100.0), (110.0, -20.0)], responseTime=0.0)
    station.commands.clear()
    for hz, volt in ((50.0, 230.0), (50.7, 230.0), (50.7, 253.0), (50.7, None), (50.0, 230.0)):
        station.fact(GridFrequency(hz=hz, volt=volt))
    assert responses(station) == [(0, -10_000), (0, -5_000), (0, 2_000), (0, 0), (0, -10_000)]


VOLT_WATT = [(106.0, 100.0), (110.0, 0.0)]


@pytest.mark.some(1)
@pytest.mark.requirement("R46")
@pytest.mark.parametrize("service", [AC_BPT, DC_BPT], ids=["AC_BPT", "DC_BPT"])
def test_two_chargers_at_the_end_of_a_weak_feeder_curtail_their_export_and_do_not_hunt(
    make_bench: Make, service: int
) -> None:
    """Their 16 kW would lift the node to 258 V. The CSMS learns which control curtails them, and why."""
    feeder = Feeder(nodes=(FeederNode(name="end", r_ohm=0.8, x_ohm=0.3, load_w=1_000),))
    stations = [with_controls(), with_controls()]
    chargers = [Charger(make_bench, station, service=service) for station in stations]
    quiet, volts = FrequencyTrace(((0.0, 50.0),)), list[float]()

    def volt() -> float:
        return feeder.voltages({"end": sum(each.power_w for each in chargers)}, 240.0)["end"]

    for station, charger in zip(stations, chargers, strict=True):
        curve(station, "VoltWatt", VOLT_WATT)
        for fact in charger.grid.profiles(_wish(-8_000)):
            charger.session.fact(fact)
    for _ in range(round(60 / POLL_S)):
        for charger in chargers:
            charger.play(quiet, POLL_S, volt)
        volts.append(volt())
    assert max(volts) > 1.08 * 230, "or this feeder is too strong"
    settled = volts[len(volts) // 2 :]
    assert max(settled) <= 1.10 * 230
    assert max(settled) - min(settled) < 0.1
    share = 1 - (volts[-1] / 2.30 - 106) / 4
    for station, charger in zip(stations, chargers, strict=True):
        assert charger.power_w == pytest.approx(-share * RATED_W, rel=0.05)
        assert charger.power_w > -8_000 * 0.9
        station.expect("NotifyDERAlarm", controlType="VoltWatt", gridEventFault="OverVoltage")
        assert charger.session.events("limited")[-1]["discharge_limited_by"] == "grid_response"


def test_the_csms_is_notified_once_that_the_grid_leads_and_once_that_it_does_no_more() -> None:
    station = with_controls()
    droop(station)
    station.clear()
    for hz in (50.0, 50.3, 50.19, 50.3, 50.19):
        station.fact(GridFrequency(hz=hz))
        station.wait(1)
    alarm = station.expect("NotifyDERAlarm", controlType="FreqDroop", gridEventFault="OverFrequency")
    assert "alarmEnded" not in alarm
    station.nothing("NotifyDERAlarm")
    station.wait(10)
    station.expect("NotifyDERAlarm", controlType="FreqDroop", alarmEnded=True)


def test_a_dead_band_may_be_given_instead_of_a_frequency() -> None:
    station = with_controls()
    droop(station, overFreq=0.2, underFreq=0.2)
    station.commands.clear()
    station.fact(GridFrequency(hz=50.45))
    station.fact(GridFrequency(hz=49.55))
    assert responses(station) == [(1_000, None), (-1_000, None)]


@pytest.mark.requirement("R47")
def test_what_the_frequency_led_to_ends_with_its_profile() -> None:
    station = led_by_frequency()
    station.fact(GridFrequency(hz=49.5))
    station.back()
    assert station.ask("ClearChargingProfile", chargingProfileCriteria={"evseId": 1})["status"] == "Accepted"
    reported = [each.power_w for each in station.commands if isinstance(each, SetPower)]
    assert reported == [-8_000, None]


@together("text", ["", "# nothing", "0,50\n0,50", "1,50\n0,50", "0,5", "x,50", "0,50,-3", "-1,50"])
def test_what_is_no_trace_is_refused(text: str) -> None:
    from v2g.errors import CodecError

    with pytest.raises(CodecError):
        GridTrace.parse(text)
