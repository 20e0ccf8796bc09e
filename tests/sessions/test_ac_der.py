"""Our vehicle at our charge point with AC DER of Amendment 1, joined in memory (R221)."""

import json
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.d20.services import choose
from evcc.session.paused import PausedChoice
from evcc.session.settings import OnBoardChargerConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, SeccConfig
from tests.exi.vectors import FOLDER
from tests.fuzz.mutations import mutated
from tests.sessions.joined import Joined
from tests.together import together
from v2g.energy.grid_support import (
    FactorSetpoint,
    FrequencySupport,
    Function,
    GridSupport,
    ReactiveSetpoint,
    SupportCurve,
    VoltageSupport,
)
from v2g.energy.settlement.records import GridSupportGiven
from v2g.exi import decode, encode
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.der import control, number
from v2g.iso15118.d20.messages import ac_der_iec as iso
from v2g.iso15118.d20.messages.ac import BPT_Dynamic_AC_CLResControlMode
from v2g.iso15118.d20.messages.common_messages import Parameter, ParameterSet, ServiceDetailRes, ServiceParameterList
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.schemas import AC_DER_IEC, COMMON_MESSAGES
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.v2gtp import PayloadType, frame

CURVE = SupportCurve(points=((214, 4800), (223, 0), (237, 0), (246, -4800)))
FACTORS = SupportCurve(points=((0, 1.0), (5500, 1.0), (11_000, -0.9)))
SUPPORT = GridSupport(
    over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51.5),
    under_frequency_watt=FrequencySupport(start_hz=49.8, stop_hz=47.5),
    volt_watt=VoltageSupport(start_v=248, stop_v=253),
    volt_var=CURVE,
    q_setpoint=ReactiveSetpoint(var=1200),
)
CHARGE, DISCHARGE = ProgramStep(do="charge", energy_wh=200), ProgramStep(do="discharge", energy_wh=100)

RESPONSES: dict[str, Any] = {
    "pt1_response_active_power": False,
    "step_response_time_constant_active_power": number(0),
    "pt1_response_reactive_power": False,
    "step_response_time_constant_reactive_power": number(0),
}
Join = Callable[..., Joined]
ResponseT = TypeVar("ResponseT", iso.AC_ChargeParameterDiscoveryRes, iso.AC_ChargeLoopRes)


def charger(support: GridSupport = SUPPORT, **changes: object) -> SeccConfig:
    services = (EnergyService.AC_BPT, EnergyService.AC)
    return replace(SeccConfig(services=services, der="iec", grid_support=support), **changes)


def vehicle(
    mode: str = "dynamic", phases: int = 3, energy: tuple[str, ...] = ("AC_BPT", "AC"), **more: object
) -> SessionConfig:
    services = ServiceConfig(energy=energy, control_mode=(mode,), der="iec")  # type: ignore[arg-type]
    return SessionConfig(
        program=(CHARGE, DISCHARGE),
        services=replace(services, **more),
        on_board_charger=OnBoardChargerConfig(phases=phases),  # type: ignore[arg-type]
    )


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs whose charge point demands grid support."""
    return lambda **options: Joined(
        pki, time.time_ns() // 1_000_000, **{"charger": charger(), "vehicle": vehicle(), **options}
    )


def followed(joined: Joined) -> list[GridSupport]:
    return [each.support for each in joined.evcc_actions if isinstance(each, ev.SetGridSupport)]


@pytest.mark.requirement("R221")
@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_energy_flows_both_ways_and_the_inverter_has_the_demands(join: Join, mode: str, phases: int) -> None:
    joined = join(vehicle=vehicle(mode, phases))
    joined.complete()
    assert joined.secc.family is joined.evcc.family is Family.AC
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC_DER_IEC"
    battery = joined.plant.battery.state
    assert 200_000 <= battery.charged_mwh < 210_000
    assert 100_000 <= battery.discharged_mwh < 110_000
    assert joined.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_000)
    first, *_, last = followed(joined)
    assert first == replace(SUPPORT, q_setpoint=None)  # that is part of the loop
    assert last.q_setpoint is not None
    assert last.q_setpoint.var == pytest.approx(1200)
    records = [each.record for each in joined.secc_actions if isinstance(each, se.Journal)]
    (given,) = [each for each in records if isinstance(each, GridSupportGiven)]
    assert set(given.functions) == SUPPORT.functions
    assert msgspec.json.decode(given.values, type=GridSupport) == SUPPORT


@pytest.mark.parametrize("lacks", ["volt_var", "over_frequency_watt"])
def test_a_vehicle_that_lacks_a_demanded_function_charges_and_never_feeds_back(join: Join, lacks: Function) -> None:
    functions = tuple(each for each in ServiceConfig().der_functions if each != lacks)
    joined = join(vehicle=vehicle(der_functions=functions))
    joined.run(until=lambda: joined.plant.battery.state.charged_mwh > 150_000)
    assert joined.vehicle_saw("service", "lacks_grid_support")[0]["functions"] == lacks
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC"
    assert joined.plant.battery.state.discharged_mwh == 0


def test_where_nothing_else_is_offered_it_charges_by_ac_der(join: Join) -> None:
    joined = join(vehicle=vehicle(der_functions=(), energy=("AC_BPT",)))
    joined.run()
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC_DER_IEC"
    assert joined.plant.battery.state.charged_mwh > 0
    assert joined.plant.battery.state.discharged_mwh == 0
    assert joined.vehicle_saw("service", "lacks_grid_support")
    assert {each["discharge_w"] for each in joined.vehicle_saw("power", "wish")} == {0}


def test_a_vehicle_without_ac_der_charges_and_does_not_feed_back(join: Join) -> None:
    joined = join(vehicle=vehicle(der=None))
    joined.run(until=lambda: bool(joined.vehicle_saw("power", "wish")[1:]) and joined.now > 530)
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC_BPT"
    assert joined.plant.battery.state.charged_mwh > 0
    assert joined.exported_mwh() == 0
    assert joined.charger_saw("power", "limited")[-1]["discharge_limited_by"] == "no_grid_support"


def test_a_set_has_one_curve_of_reactive_power_and_the_vehicle_takes_one_that_it_has(join: Join) -> None:
    support = replace(SUPPORT, watt_cos_phi=FACTORS)
    functions = tuple(each for each in ServiceConfig().der_functions if each != "volt_var")
    joined = join(charger=charger(support), vehicle=vehicle(der_functions=functions))
    joined.run()
    (first, *_) = followed(joined)
    assert first == replace(SUPPORT, q_setpoint=None, volt_var=None, watt_cos_phi=FACTORS)


def point(x: float, y: float) -> iso.DataTuple:
    excitation = iso.PowerFactorExcitation.OverExcited
    return iso.DataTuple(
        x_value=number(x), y_value=iso.SetpointExcitation(setpoint_value=number(y), excitation=excitation)
    )


def curve(**changes: object) -> iso.DERCurve:
    known = control(SUPPORT, ["volt_var"]).reactive_power_support
    assert known is not None
    assert known.volt_var is not None
    return replace(known.volt_var, **changes)


def points(*values: tuple[float, float]) -> iso.CurveDataPointsList:
    return iso.CurveDataPointsList(curve_data_point=tuple(point(x, y) for x, y in values))


def active(start: float, stop: float) -> iso.DERControl:
    known = control(SUPPORT, ["over_frequency_watt"]).active_power_support
    assert known is not None
    assert known.over_frequency_watt is not None
    over = replace(known.over_frequency_watt, fstart=number(start), fstop=number(stop))
    return iso.DERControl(active_power_support=iso.ActivePowerSupport(over_frequency_watt=over))


def reactive(**curves: iso.DERCurve) -> iso.DERControl:
    return iso.DERControl(reactive_power_support=iso.ReactivePowerSupport(**curves))


def changing(kind: type[ResponseT], change: Callable[[ResponseT], ResponseT]) -> Callable[[bytes], bytes]:
    """Return what changes a charger's responses of a kind on their way."""

    def tamper(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC_DER_IEC:
            return data
        message = decode(data[8:], AC_DER_IEC)
        return frame(PayloadType.AC_DER_IEC, encode(change(message))) if isinstance(message, kind) else data

    return tamper


def demanding(demands: iso.DERControl) -> Callable[[bytes], bytes]:
    """Return what changes the demands of a charger on their way."""

    def change(message: iso.AC_ChargeParameterDiscoveryRes) -> iso.AC_ChargeParameterDiscoveryRes:
        mode = message.ac_cpd_res_energy_transfer_mode
        assert isinstance(mode, iso.DER_AC_CPDResEnergyTransferMode)
        return replace(message, ac_cpd_res_energy_transfer_mode=replace(mode, der_control=demands))

    return changing(iso.AC_ChargeParameterDiscoveryRes, change)


@pytest.mark.parametrize(
    ("demands", "why"),
    [
        (reactive(volt_var=curve(curve_data_points=points((246, 0), (214, 0)))), "must rise"),
        (
            reactive(watt_cos_phi=curve(curve_data_points=points((0, 1), (9, 345)), x_unit=iso.CurveDataPointsUnit.W)),
            "power factor 345",
        ),
        (reactive(volt_var=curve(x_unit=iso.CurveDataPointsUnit.Hz)), "var by Hz"),
        (reactive(volt_var=curve(step_response_time_constant_reactive_power=number(-1))), "response_s"),
        (reactive(volt_var=curve(min_cos_phi=number(1.5))), "min_cos_phi"),
        (active(51.5, 50.2), "below"),
        (active(60.2, 61.5), "50 Hz"),
        (iso.DERControl(zero_current=iso.ZeroCurrent(**RESPONSES)), "over_v or under_v"),
    ],
    ids=["falling x", "cos phi", "unit", "time", "least cos phi", "direction", "other grid", "no voltage"],
)
def test_demands_without_sense_are_not_followed_and_the_vehicle_selects_again(
    join: Join, demands: iso.DERControl, why: str
) -> None:
    joined = join()
    joined.wire_to_evcc = demanding(demands)
    joined.run(until=lambda: joined.plant.battery.state.charged_mwh > 150_000)
    assert why in joined.vehicle_saw("parameters", "grid_support")[0]["refused"]
    assert [each["service"] for each in joined.vehicle_saw("service", "selected")] == ["AC_DER_IEC", "AC"]
    assert all(not each.functions for each in followed(joined))
    assert joined.plant.battery.state.discharged_mwh == 0


def test_setpoints_follow_in_the_loop_and_one_that_was_not_negotiated_is_dropped(join: Join) -> None:
    joined = join()
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0)
    factor = replace(SUPPORT, q_setpoint=ReactiveSetpoint(var=-900), cos_phi_setpoint=FactorSetpoint(cos_phi=-0.95))
    joined.secc.fact(se.GridSupportChanged(factor), joined.now, joined.utc_ms)
    joined.run(until=lambda: followed(joined)[-1].q_setpoint == ReactiveSetpoint(var=-900))
    assert followed(joined)[-1].cos_phi_setpoint is None


def test_where_nothing_else_is_offered_demands_without_sense_end_discharge_alone(join: Join) -> None:
    joined = join(vehicle=vehicle(energy=("AC_BPT",)), charger=charger(services=(EnergyService.AC_BPT,)))
    joined.wire_to_evcc = demanding(active(51.5, 50.2))
    joined.complete()
    assert joined.plant.battery.state.charged_mwh >= 200_000
    assert joined.plant.battery.state.discharged_mwh == 0


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_a_paused_session_is_joined_with_its_functions(join: Join, mode: str) -> None:
    first = join(vehicle=vehicle(mode))
    first.run(until=lambda: first.plant.flow()[1] > 1_000)
    first.evcc.fact(ev.StopRequested("driver", pause=True), first.now, first.utc_ms)
    first.settle()
    first.run()
    assert first.evcc_reason == "paused"
    again = join(before=first, vehicle=None, charger=None)
    again.complete()
    assert not again.vehicle_saw("service", "selected")
    assert followed(again)[0] == replace(SUPPORT, q_setpoint=None)
    assert 100_000 <= again.plant.battery.state.discharged_mwh < 110_000


@pytest.mark.parametrize(
    "change", [{"dc_injection": 0.5}, {"cos_phi_setpoint": FactorSetpoint(cos_phi=0.9)}], ids=["function", "set-point"]
)
def test_what_is_demanded_since_the_pause_is_negotiated_again(join: Join, change: dict[str, Any]) -> None:
    first = join()
    first.run(until=lambda: first.plant.flow()[1] > 1_000)
    first.evcc.fact(ev.StopRequested("driver", pause=True), first.now, first.utc_ms)
    first.settle()
    first.run()
    new = replace(SUPPORT, **change)
    again = join(before=first, vehicle=None, charger=charger(new))
    again.run()
    assert again.evcc_reason == "finished"
    assert [each["service"] for each in again.vehicle_saw("service", "selected")] == ["AC_DER_IEC"]
    assert followed(again)[-1] == new
    assert 100_000 <= again.plant.battery.state.discharged_mwh < 110_000


@pytest.mark.parametrize("code", [code for code in ResponseCode if code.name.startswith("FAILED")])
@pytest.mark.parametrize("kind", [iso.AC_ChargeParameterDiscoveryRes, iso.AC_ChargeLoopRes])
@pytest.mark.some(4)
def test_every_failure_ends_the_session_without_power(join: Join, kind: Any, code: ResponseCode) -> None:
    joined = join()
    joined.wire_to_evcc = changing(kind, lambda message: replace(message, response_code=code))
    joined.run()
    assert joined.evcc_reason == code.name
    assert not joined.plant.evse_closed
    assert joined.plant.battery.state.discharged_mwh == 0


def test_the_control_mode_of_another_service_ends_the_loop(join: Join) -> None:
    def plain(message: iso.AC_ChargeLoopRes) -> iso.AC_ChargeLoopRes:
        return replace(message, cl_res_control_mode=BPT_Dynamic_AC_CLResControlMode(evse_target_active_power=number(0)))

    joined = join()
    joined.wire_to_evcc = changing(iso.AC_ChargeLoopRes, plain)
    joined.run()
    assert joined.evcc_reason == "wrong_control_mode"
    assert not joined.plant.evse_closed


def test_a_power_factor_beyond_1_in_the_loop_is_dropped_and_named(join: Join) -> None:
    setpoint = iso.DSOCosPhiSetpoint(
        dso_cos_phi_setpoint_value=number(345),
        excitation=iso.PowerFactorExcitation.OverExcited,
        pt1_response_reactive_power=False,
        step_response_time_constant_reactive_power=number(0),
    )

    def beyond(message: iso.AC_ChargeLoopRes) -> iso.AC_ChargeLoopRes:
        return replace(message, cl_res_control_mode=replace(message.cl_res_control_mode, dso_cos_phi_setpoint=setpoint))

    joined = join(charger=charger(replace(SUPPORT, cos_phi_setpoint=FactorSetpoint(cos_phi=0.9))))
    joined.wire_to_evcc = changing(iso.AC_ChargeLoopRes, beyond)
    joined.run(until=lambda: bool(joined.vehicle_saw("loop", "setpoints")))
    assert "power factor 345" in joined.vehicle_saw("loop", "setpoints")[0]["dropped"]
    assert followed(joined)[-1].cos_phi_setpoint is None


# -- what a charger of another make may do ---------------------------------------------------------------------------


def detail(**parameters: Any) -> ParameterSet:
    """Return a parameter set as EVerest's charger sends it; a value that is no int has another type."""
    named = {"Connector": 3, "ControlMode": 2, "EVSENominalVoltage": 230, "MobilityNeedsMode": 1, "Pricing": 0}
    set_id = parameters.pop("id", 7)
    parameter = tuple(
        Parameter(name=name, **({"int_value": value} if isinstance(value, int) else value))
        for name, value in (named | parameters).items()
    )
    return ParameterSet(parameter_set_id=set_id, parameter=parameter)


def chosen(*sets: ParameterSet, phases: int = 3, **more: object) -> PausedChoice:
    config = vehicle(phases=phases, **more)
    choice = choose(ServiceId.AC_DER_IEC, sets, config.services, phases=phases)
    assert choice is not None
    return choice


@together(
    ("sets", "set_id", "lacking"),
    [
        ([detail(DERControlFunctions=0b1111)], 7, set()),
        ([detail(DERControlFunctions={"byte_value": 5})], 7, set()),
        ([detail(DERControlFunctions={"short_value": 0xFFF})], 7, set()),
        ([detail(DERControlFunctionsBitmap=0b11)], 7, set()),
        ([detail()], 7, set()),
        ([detail(DERControlFunctions=1 << 12)], 7, {"unknown"}),
        ([detail(DERControlFunctions=-1)], 7, {"unknown"}),
        ([detail(DERControlFunctions={"finite_string": "15"})], 7, {"unknown"}),
        ([detail(DERControlFunctions={"rational_number": number(15)})], 7, {"unknown"}),
        ([detail(DERControlFunctions={"bool_value": False})], 7, {"unknown"}),
        ([detail(DERControlFunctions=1 << 12), detail(id=1, DERControlFunctions=3)], 1, set()),
        ([detail(id=9, ControlMode=1, MobilityNeedsMode=1), detail(id=300)], 300, set()),
        ([detail(Connector=1), detail(id=2, Connector=3)], 2, set()),
        ([detail(id=4, Connector=1, DERControlFunctions=1)], 4, set()),
        ([detail(BPTChannel=1, GeneratorMode=1, Another={"finite_string": "x"})], 7, set()),
    ],
)
def test_a_set_is_read_by_what_it_demands(sets: list[ParameterSet], set_id: int, lacking: set[str]) -> None:
    choice = chosen(*sets)
    assert (choice.parameter_set_id, choice.lacking) == (set_id, lacking)


def test_a_single_phase_vehicle_prefers_a_single_phase_set() -> None:
    assert chosen(detail(Connector=3), detail(id=2, Connector=1), phases=1).parameter_set_id == 2


def details(change: Callable[[ParameterSet], ParameterSet]) -> Callable[[bytes], bytes]:
    """Return what changes the parameter sets of AC DER on their way."""

    def tamper(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.COMMON:
            return data
        message = decode(data[8:], COMMON_MESSAGES)
        if not isinstance(message, ServiceDetailRes) or message.service_id != ServiceId.AC_DER_IEC:
            return data
        sets = ServiceParameterList(parameter_set=tuple(map(change, message.service_parameter_list.parameter_set)))
        return frame(PayloadType.COMMON, encode(replace(message, service_parameter_list=sets)))

    return tamper


def test_parameters_without_a_meaning_are_named_and_nothing_more(join: Join) -> None:
    new = Parameter(name="DERStandardControlFunctionsBitmap", int_value=63)
    joined = join()
    joined.wire_to_evcc = details(lambda each: replace(each, parameter=(*each.parameter, new)))
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0)
    assert joined.vehicle_saw("service", "parameters_unread") == [{"names": "DERStandardControlFunctionsBitmap"}]


def foreign(message: Any) -> Any:
    """Return a loop response as another charger may write it: limits by the other sign, no receipt, no meter."""
    mode = message.cl_res_control_mode
    changes = {
        name: replace(value, value=-value.value)
        for name in mode.__struct_fields__
        if name.startswith("evse_maximum_discharge") and (value := getattr(mode, name)) is not None
    }
    return replace(message, cl_res_control_mode=replace(mode, **changes), meter_info=None, receipt=None)


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_either_sign_of_discharge_and_absent_options_are_as_good(join: Join, mode: str) -> None:
    joined = join(vehicle=vehicle(mode))
    joined.wire_to_evcc = changing(iso.AC_ChargeLoopRes, foreign)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert 100_000 <= joined.plant.battery.state.discharged_mwh < 110_000


def test_a_nominal_frequency_of_0_is_no_reason_to_refuse(join: Join) -> None:
    def without(message: iso.AC_ChargeParameterDiscoveryRes) -> iso.AC_ChargeParameterDiscoveryRes:
        mode = replace(message.ac_cpd_res_energy_transfer_mode, evse_nominal_frequency=number(0))
        return replace(message, ac_cpd_res_energy_transfer_mode=mode)

    joined = join()
    joined.wire_to_evcc = changing(iso.AC_ChargeParameterDiscoveryRes, without)
    joined.run(until=lambda: (joined.plant.ac_w or 0) < 0)
    assert joined.vehicle_saw("parameters", "grid_support")[0]["refused"] == ""


def test_a_new_curve_reaches_the_inverter_by_a_new_selection(join: Join) -> None:
    """V2G20-1477: curves cannot change in the loop."""
    joined = join()
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0)
    new = replace(SUPPORT, volt_var=SupportCurve(points=((210, 2000), (250, -2000))))
    joined.secc.fact(se.GridSupportChanged(new), joined.now, joined.utc_ms)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert [each["service"] for each in joined.vehicle_saw("service", "selected")] == ["AC_DER_IEC"] * 2
    assert followed(joined)[-1] == new


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_schedules_are_renegotiated_in_both_ways(join: Join, mode: str) -> None:
    for beside in (False, True):
        joined = join(vehicle=vehicle(mode, renegotiate_beside=beside))
        joined.run(until=lambda joined=joined: (joined.plant.ac_w or 0) > 0)
        joined.evcc.fact(ev.NeedsChanged(target_soc=85.0), joined.now, joined.utc_ms)
        joined.run()
        assert joined.evcc_reason == "finished"
        assert 100_000 <= joined.plant.battery.state.discharged_mwh < 110_000


@pytest.mark.some(2)
@pytest.mark.parametrize("to_vehicle", [False, True], ids=["to charger", "to vehicle"])
@pytest.mark.parametrize("seed", range(40))
def test_broken_octets_never_break_a_role_and_end_in_a_safe_state(join: Join, seed: int, to_vehicle: bool) -> None:
    """Every tenth message of AC DER is bent on its way."""
    chance = random.Random(seed)

    def bend(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC_DER_IEC or chance.random() > 0.1:
            return data
        return frame(PayloadType.AC_DER_IEC, mutated([b"\0" + data[8:]], chance)[1:])

    joined = join()
    setattr(joined, "wire_to_evcc" if to_vehicle else "wire_to_secc", bend)
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > 30)
    assert abs(joined.plant.ac_w or 0) <= 11_000
    for reason in (joined.evcc_reason, joined.secc_reason):
        assert reason not in ("internal_error", "crashed")
    assert not joined.secc_reason or not joined.plant.evse_closed


VECTORS = [json.loads(line) for line in (FOLDER / "iso20_ac_der_iec.jsonl").read_text().splitlines()]
ANSWERS = [each for each in VECTORS if each["message"] in ("AC_ChargeParameterDiscoveryRes", "AC_ChargeLoopRes")]


@pytest.mark.some(1)
@together(("n", "vector"), enumerate(ANSWERS), by=lambda each: f"part {each[0] % 10}")
def test_whatever_another_codec_says_the_vehicle_goes_on_or_ends_in_order(
    join: Join, n: int, vector: dict[str, str]
) -> None:
    """Content of another codec's messages, extreme values among them, at the place of the charger's."""
    drawn: Any = decode(bytes.fromhex(vector["exi_hex"]), AC_DER_IEC)
    joined = join()
    joined.wire_to_evcc = changing(type(drawn), lambda message: replace(drawn, header=message.header))
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > 20)
    assert joined.evcc_reason not in ("internal_error", "crashed")
    assert abs(joined.plant.ac_w or 0) <= 11_000
