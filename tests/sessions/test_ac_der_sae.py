"""Our vehicle at our charge point with AC DER by SAE (Amendment 1), joined in memory (R221)."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.settings import InverterConfig, OnBoardChargerConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from tests.exi.vectors import FOLDER
from tests.sessions.joined import Joined
from tests.together import together
from v2g.energy.grid_support import (
    FactorSetpoint,
    FrequencySupport,
    GridSupport,
    ReactiveSetpoint,
    SupportCurve,
    VoltageSupport,
    ZeroCurrentLimits,
)
from v2g.exi import decode, encode
from v2g.iso15118.d20.der import number
from v2g.iso15118.d20.der_sae import supported_modes
from v2g.iso15118.d20.messages import ac_der_sae as iso
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus, Processing
from v2g.iso15118.d20.schemas import AC_DER_SAE
from v2g.iso15118.engine.v2gtp import PayloadType, frame

pytestmark = pytest.mark.requirement("R221")

SUPPORT = GridSupport(
    over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=52.7, slope=40, reference="maximum"),
    volt_watt=VoltageSupport(start_v=248, stop_v=253),
    volt_var=SupportCurve(points=((214, 4800), (223, 0), (237, 0), (246, -4800))),
)
CERTIFIED = InverterConfig(maker="test", certified_s=1_700_000_000)
PROGRAM = (ProgramStep(do="charge", energy_wh=200), ProgramStep(do="discharge", energy_wh=100))
Join = Callable[..., Joined]
Change = Callable[[Any], Any]


def charger(support: GridSupport = SUPPORT, **changes: object) -> SeccConfig:
    services = (EnergyService.AC_BPT, EnergyService.AC)
    return replace(SeccConfig(services=services, der="sae", grid_support=support), **changes)


def vehicle(mode: str = "dynamic", inverter: InverterConfig = CERTIFIED, **more: object) -> SessionConfig:
    services = ServiceConfig(energy=("AC_BPT", "AC"), control_mode=(mode,), der="sae")  # type: ignore[arg-type]
    return SessionConfig(
        program=PROGRAM,
        services=replace(services, **more),
        on_board_charger=OnBoardChargerConfig(inverter=inverter),
    )


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs."""
    return lambda **options: Joined(
        pki, time.time_ns() // 1_000_000, **{"charger": charger(), "vehicle": vehicle(), **options}
    )


def followed(joined: Joined) -> list[GridSupport]:
    return [each.support for each in joined.evcc_actions if isinstance(each, ev.SetGridSupport)]


def requests(joined: Joined) -> list[Any]:
    """Note the vehicle's messages of AC DER."""
    found: list[Any] = []

    def note(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") == PayloadType.AC_DER_SAE:
            found.append(decode(data[8:], AC_DER_SAE))
        return data

    joined.wire_to_secc = note
    return found


def changing(kind: type, change: Change) -> Callable[[bytes], bytes]:
    """Return what changes a charger's responses of a kind on their way."""

    def tamper(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.AC_DER_SAE:
            return data
        message = decode(data[8:], AC_DER_SAE)
        return frame(PayloadType.AC_DER_SAE, encode(change(message))) if isinstance(message, kind) else data

    return tamper


def close(support: GridSupport) -> Any:
    """Return grid support with its numbers rounded, as they have passed through percent and time to 90 %."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float | int) and not isinstance(value, bool):
            return round(float(value), 2)
        return {name: rounded(each) for name, each in value.items()} if isinstance(value, dict) else value

    return {name: rounded({f: getattr(getattr(support, name), f) for f in getattr(support, name).__struct_fields__})
            for name in support.functions}  # fmt: skip


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_energy_flows_both_ways_and_the_inverter_has_the_demands(join: Join, mode: str) -> None:
    joined = join(vehicle=vehicle(mode))
    asked = requests(joined)
    joined.complete()
    assert joined.vehicle_saw("service", "selected")[0]["service"] == "AC_DER_SAE"
    battery = joined.plant.battery.state
    assert 200_000 <= battery.charged_mwh < 210_000
    assert 100_000 <= battery.discharged_mwh < 110_000
    assert close(followed(joined)[-1]) == close(SUPPORT)
    name = "ac_cpd_req_energy_transfer_mode"
    parameters = [getattr(each, name) for each in asked if hasattr(each, name)]
    assert [each.ev_processing for each in parameters] == [Processing.Ongoing, Processing.Finished]
    assert all(each.ev_maximum_discharge_power.value < 0 for each in parameters)
    loops = [each.cl_req_control_mode for each in asked if hasattr(each, "cl_req_control_mode")]
    enabled = sum(1 << bit for bit in (0, 1, 3, 8, 22, 23, 24))
    assert {each.enabled_modes for each in loops} == {enabled}
    assert parameters[-1].supported_modes == supported_modes(ServiceConfig().der_functions)
    assert not joined.charger_saw("power", "modes_not_enabled")


def test_setpoints_are_part_of_its_functions(join: Join) -> None:
    support = GridSupport(q_setpoint=ReactiveSetpoint(var=900), cos_phi_setpoint=FactorSetpoint(cos_phi=-0.95))
    joined = join(charger=charger(support))
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0)
    (last, *_) = followed(joined)[::-1]
    assert last.q_setpoint is not None
    assert last.q_setpoint.var == pytest.approx(900)
    assert last.cos_phi_setpoint is not None
    assert last.cos_phi_setpoint.cos_phi == pytest.approx(-0.95)


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_injected_reactive_power_is_reported_as_negative(
    join: Join, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """By clause 8.3.5.2, as in limits and set-points."""
    joined = join(vehicle=vehicle(mode))
    asked, take = requests(joined), joined.evcc.fact

    def fact(fact: Any, now: float, utc_ms: int) -> None:
        take(replace(fact, reactive_var=900) if isinstance(fact, ev.PresentVoltage) else fact, now, utc_ms)

    monkeypatch.setattr(joined.evcc, "fact", fact)
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0)
    mode_of_loop = asked[-1].cl_req_control_mode
    phases = ("", "_l2", "_l3")
    assert [getattr(mode_of_loop, f"ev_present_reactive_power{phase}") for phase in phases] == [number(-300)] * 3


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"vehicle": vehicle(inverter=InverterConfig())}, "certificate"),
        ({"vehicle": vehicle(der_functions=("volt_watt", "over_frequency_watt"))}, "volt_var"),
        ({"charger": charger(replace(SUPPORT, zero_current=ZeroCurrentLimits(over_v=270)))}, "zero_current"),
        ({"charger": charger(GridSupport(over_frequency_watt=FrequencySupport(start_hz=50.2, stop_hz=51)))},
         "over_frequency_watt"),
    ],
    ids=["not certified", "vehicle", "no field", "no droop"],
)  # fmt: skip
def test_where_something_is_lacking_nothing_is_enabled_and_the_vehicle_only_charges(
    join: Join, options: dict[str, Any], lacks: str
) -> None:
    joined = join(**options)
    joined.run(until=lambda: joined.plant.battery.state.charged_mwh > 150_000)
    assert joined.charger_saw("power", "vehicle_lacks_grid_support")[0]["functions"] == lacks
    assert joined.charger_saw("power", "limited")[-1]["discharge_limited_by"] == "no_grid_support"
    assert all(not each.functions for each in followed(joined))
    assert joined.plant.battery.state.discharged_mwh == 0


def test_the_charger_may_take_its_time(join: Join) -> None:
    turns = iter([Processing.Ongoing] * 3 + [Processing.Finished] * 9)

    def later(message: Any) -> Any:
        mode = replace(message.ac_cpd_res_energy_transfer_mode, evse_processing=next(turns))
        return replace(message, ac_cpd_res_energy_transfer_mode=mode)

    joined = join()
    asked = requests(joined)
    joined.wire_to_evcc = changing(iso.AC_ChargeParameterDiscoveryRes, later)
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 0 or bool(joined.evcc_reason))
    assert len([each for each in asked if hasattr(each, "ac_cpd_req_energy_transfer_mode")]) == 5


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_a_limit_alone_is_that_of_all_phases_whatever_was_said_before(join: Join, mode: str) -> None:
    def alone(message: Any) -> Any:
        name = "evse_maximum_charge_power"
        changes = {name: number(1_500), f"{name}_l2": None, f"{name}_l3": None}
        return replace(message, cl_res_control_mode=replace(message.cl_res_control_mode, **changes))

    joined = join(vehicle=vehicle(mode))
    joined.run(until=lambda: (joined.plant.ac_w or 0) > 3_000)
    joined.wire_to_evcc = changing(iso.AC_ChargeLoopRes, alone)
    seen = len(joined.vehicle_saw("loop", "flow"))
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > seen + 5)
    assert joined.plant.ac_w == pytest.approx(1_500, abs=10)


@pytest.mark.parametrize(("notification", "reason"), [("Terminate", "finished"), ("Pause", "paused")])
def test_a_status_beside_the_parameters_is_heeded(join: Join, notification: str, reason: str) -> None:
    status = EVSEStatus(notification_max_delay=0, evse_notification=EvseNotification(notification))

    def notify(message: Any) -> Any:
        mode = replace(message.ac_cpd_res_energy_transfer_mode, evse_processing=Processing.Ongoing, evse_status=status)
        return replace(message, ac_cpd_res_energy_transfer_mode=mode)

    joined = join()
    joined.wire_to_evcc = changing(iso.AC_ChargeParameterDiscoveryRes, notify)
    joined.run()
    assert (joined.evcc_reason, joined.secc_reason) == (reason, reason)


def in_loop(**changes: Any) -> Change:
    def change(message: Any) -> Any:
        mode = message.cl_res_control_mode
        changed = replace(mode.der_control_cl_res, **changes)
        return replace(message, cl_res_control_mode=replace(mode, der_control_cl_res=changed))

    return change


def test_a_permission_that_is_withdrawn_ends_discharge_alone(join: Join) -> None:
    joined = join()
    joined.run(until=lambda: (joined.plant.ac_w or 0) < 0)
    joined.wire_to_evcc = changing(
        iso.AC_ChargeLoopRes, in_loop(enter_service_cl_res=iso.EnterServiceCLRes(permit_service=False))
    )
    joined.run(until=lambda: joined.plant.ac_w == 0)
    assert not joined.evcc_reason


@pytest.mark.parametrize("enable", [True, False])
def test_functions_may_change_in_the_loop_and_unknown_ones_end_discharge(join: Join, enable: bool) -> None:
    limit = iso.LimitMaxDischargePower(enable=enable, percentage_value=10)
    var = iso.ConstantVar(enable=True, var_setpoint=number(-700), unit=iso.DerUnit.var)
    joined = join()
    joined.run(until=lambda: (joined.plant.ac_w or 0) < 0)
    joined.wire_to_evcc = changing(
        iso.AC_ChargeLoopRes,
        in_loop(
            active_power_support_cl_res=iso.ActivePowerSupportCLRes(limit_max_discharge_power=limit),
            reactive_power_support_cl_res=iso.ReactivePowerSupportCLRes(constant_var=var),
        ),
    )
    joined.run(until=lambda: bool(joined.vehicle_saw("loop", "setpoints")))
    dropped = joined.vehicle_saw("loop", "setpoints")[-1]["dropped"]
    assert ("limit_max_discharge_power" in dropped) is enable
    if enable:
        assert joined.plant.ac_w == 0
    else:
        assert followed(joined)[-1].q_setpoint == ReactiveSetpoint(var=700, response_s=0)
        joined.run(until=lambda: bool(joined.charger_saw("power", "modes_not_enabled")))


def once(changed: dict[str, Any]) -> Change:
    """Return what changes the next loop response, and no other: changes are sent once (V2G20-3358)."""
    left = [changed]

    def change(message: Any) -> Any:
        return (
            replace(message, cl_res_control_mode=replace(message.cl_res_control_mode, **left.pop()))
            if left
            else message
        )

    return change


def enabling(**functions: Any) -> dict[str, Any]:
    """Return the fields of a loop response with these changed blocks."""
    service = iso.EnterServiceCLRes(permit_service=True)
    return {"der_control_cl_res": iso.DERControlCLRes(enter_service_cl_res=service, **functions)}


CONSTANT = iso.ConstantWatt(enable=True, watt_setpoint=number(-100), unit=iso.DerUnit.W)
FORMING = next(each for each in iso.RequiredDEROperatingMode if each is not iso.RequiredDEROperatingMode.GridFollowing)


@pytest.mark.parametrize(
    "changed",
    [
        enabling(active_power_support_cl_res=iso.ActivePowerSupportCLRes(constant_watt=CONSTANT)),
        {"grid_connection_mode": iso.GridConnectionMode.GridIslanded},
        {"required_der_operating_mode": FORMING},
        {f"evse_maximum_discharge_power{phase}": number(0) for phase in ("", "_l2", "_l3")},
    ],
)
def test_what_changes_in_the_loop_lasts_until_it_changes_again(join: Join, changed: dict[str, Any]) -> None:
    limits = dict.fromkeys(f"evse_maximum_discharge_power{phase}" for phase in ("", "_l2", "_l3"))
    joined = join(charger=charger(), vehicle=replace(vehicle(), program=(ProgramStep(do="discharge", energy_wh=100),)))
    change = once(changed)

    def said_once(message: Any) -> Any:  # our charger repeats its limits, which it need not
        left_out = replace(message.cl_res_control_mode, **limits)
        return change(replace(message, cl_res_control_mode=left_out))

    joined.run(until=lambda: (joined.plant.ac_w or 0) < 0)
    joined.wire_to_evcc = changing(iso.AC_ChargeLoopRes, said_once)
    joined.run(until=lambda: joined.plant.ac_w == 0)
    later = joined.now + 5
    joined.run(until=lambda: joined.now >= later or joined.plant.ac_w != 0)
    assert joined.plant.ac_w == 0
    assert not joined.evcc_reason


def test_functions_that_change_before_a_renegotiation_are_followed(join: Join) -> None:
    var = iso.ConstantVar(enable=True, var_setpoint=number(-700), unit=iso.DerUnit.var)
    status = EVSEStatus(notification_max_delay=0, evse_notification=EvseNotification.ScheduleRenegotiation)
    support = enabling(reactive_power_support_cl_res=iso.ReactivePowerSupportCLRes(constant_var=var))
    joined = join()
    joined.run(until=lambda: (joined.plant.ac_w or 0) < 0)
    changes: list[Change] = [lambda message: replace(message, evse_status=status), once(support)]
    joined.wire_to_evcc = changing(
        iso.AC_ChargeLoopRes, lambda message: changes.pop(0)(message) if changes else message
    )
    joined.run(until=lambda: not changes and (joined.plant.ac_w or 0) < 0)
    assert followed(joined)[-1].q_setpoint == ReactiveSetpoint(var=700, response_s=0)


VECTORS = [json.loads(line) for line in (FOLDER / "iso20_ac_der_sae.jsonl").read_text().splitlines()]
PARTS = [each for each in VECTORS if each["message"].startswith(("AC_ChargeParameterDiscovery", "AC_ChargeLoop"))]


@pytest.mark.some(1)
@together(("n", "vector"), enumerate(PARTS), by=lambda each: f"part {each[0] % 16}")
def test_whatever_another_codec_says_both_roles_go_on_or_end_in_order(
    join: Join, n: int, vector: dict[str, str]
) -> None:
    """Content of another codec's messages, extreme values among them, at the place of ours."""
    drawn: Any = decode(bytes.fromhex(vector["exi_hex"]), AC_DER_SAE)
    joined = join(vehicle=vehicle("scheduled" if "Scheduled" in vector["variant"] else "dynamic"))
    put = changing(type(drawn), lambda message: replace(drawn, header=message.header))
    if vector["message"].endswith("Req"):
        joined.wire_to_secc = put
    else:
        joined.wire_to_evcc = put
    joined.run(until=lambda: len(joined.vehicle_saw("loop", "flow")) > 20)
    assert abs(joined.plant.ac_w or 0) <= 11_000
