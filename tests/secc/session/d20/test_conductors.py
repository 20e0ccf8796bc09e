"""Each line conductor within every limit: vehicles on one, two and three phases, both services and control modes."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from secc.session import ports
from secc.session.config import ControlMode, EnergyService, ProfileRules, SeccConfig
from tests.secc.session.bench import AC, AC_BPT, Bench, number
from tests.secc.session.d20.ac import UNSIGNED, watts
from v2g.energy.conductors import Currents
from v2g.energy.limits import CABLE, MOST_W, OPERATOR, SITE, Limit, Setpoint
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import ac
from v2g.iso15118.d20.quantities import PHASES
from v2g.iso15118.engine.sequence import State

Make = Callable[..., Bench]
LIMITS = {
    "rating": (None, 32_000, 22_000),
    "cable": (
        Limit(source=CABLE, charge_w=MOST_W, discharge_w=MOST_W, charge_ma=13_000, discharge_ma=13_000, version=2),
        13_000,
        MOST_W,
    ),
    "site": (Limit(source=SITE, charge_w=4_140, discharge_w=4_140, version=2), 6_000, 4_140),
    "profile in A for one phase": (
        Limit(source=SITE, charge_w=2_300, discharge_w=2_300, charge_ma=10_000, discharge_ma=10_000, version=2),
        10_000,
        2_300,
    ),
}


def powers(name: str, watts_each: int, lines: int) -> dict[str, Any]:
    return {name + phase: number(watts_each) for phase in PHASES[:lines]}


def given(mode: Any, name: str) -> list[float]:
    """Return the powers of the phases that a message has."""
    values = (getattr(mode, name + phase) for phase in PHASES)
    return [watts(value) for value in values if value is not None]


def parameters(lines: int, *, bpt: bool) -> Any:
    """Return the limits of a vehicle that takes and gives 20 kW on each of so many phases."""
    fields = powers("ev_maximum_charge_power", 20_000, lines) | powers("ev_minimum_charge_power", 0, lines)
    if not bpt:
        return ac.AC_CPDReqEnergyTransferMode(**fields)
    back = powers("ev_maximum_discharge_power", 20_000, lines) | powers("ev_minimum_discharge_power", 0, lines)
    return ac.BPT_AC_CPDReqEnergyTransferMode(**fields, **back)


def looped(bench: Bench, lines: int) -> Any:
    """Return the answer to a loop of a vehicle that takes and gives 20 kW on each of so many phases."""
    names = {"ev_maximum_charge_power": 20_000, "ev_minimum_charge_power": 0, "ev_present_active_power": 0}
    if bench.selection[0] == AC_BPT:
        names |= {"ev_maximum_discharge_power": 20_000, "ev_minimum_discharge_power": 0}
    fields: dict[str, Any] = {}
    for name, watts_each in names.items():
        fields |= {name + phase: None for phase in PHASES} | powers(name, watts_each, lines)
    mode = bench.ac_loop_mode(**fields)
    return bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=mode)).cl_res_control_mode


@pytest.mark.requirement("R192")
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("service", [AC, AC_BPT])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_each_conductor_is_within_every_limit(
    make_bench: Make, lines: int, service: int, scheduled: bool, limit: str
) -> None:
    bounded, most_ma, most_w = LIMITS[limit]
    modes = (ControlMode.SCHEDULED,) if scheduled else (ControlMode.DYNAMIC,)
    services = (EnergyService.AC_BPT, EnergyService.AC)
    bench = make_bench(
        SeccConfig(services=services, control_modes=modes, signed_discharge=UNSIGNED), pilot=PilotState.C
    )
    bench.selection, bench.scheduled = (service, 0, False), scheduled
    bench.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=50_000, discharge_w=50_000, version=1),)))
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=50_000, discharge_w=50_000, version=1),)))
    if bounded is not None:
        bench.fact(ports.GridChanged((bounded,)))
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    request = bench.ask(
        "AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=parameters(lines, bpt=service == AC_BPT)
    )
    rated = bench.send(request).ac_cpd_res_energy_transfer_mode
    assert given(rated, "evse_maximum_charge_power") == [min(7_360, 22_000 // lines)] * lines
    if service == AC_BPT:
        assert given(rated, "evse_maximum_discharge_power") == [min(3_680, 11_000 // lines)] * lines
    exchange = bench.go("ScheduleExchangeReq")
    needs, sent = bench.commands(ports.ReportChargingNeeds)[-1].needs, (20_000,) * (lines if lines > 1 else 0)
    assert (needs.line_charge_w, needs.line_discharge_w) == (sent, sent if service == AC_BPT else ())
    each_w = min(most_ma * 230 // 1000, most_w // lines, 22_000 // lines)
    if scheduled:
        (entry,) = exchange.scheduled_se_res_control_mode.schedule_tuple[
            0
        ].charging_schedule.power_schedule.power_schedule_entries.power_schedule_entry
        assert given(entry, "power") == pytest.approx([each_w] * lines, abs=1)
    profile = bench.profile(1, 1_000) if scheduled else None
    bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile))
    mode = looped(bench, lines)
    if not scheduled:
        assert given(mode, "evse_target_active_power") == pytest.approx([each_w] * lines, abs=1)
    output = bench.commands(ports.SetAcOutput)[-1]
    assert (output.charge_ma, output.lines) == (most_ma, lines)
    assert output.charge_w == pytest.approx(each_w * lines, abs=lines)
    if service == AC_BPT:
        bench.fact(ports.SetpointChanged(Setpoint(power_w=-40_000, source="csms")))
        mode, output = looped(bench, lines), bench.commands(ports.SetAcOutput)[-1]
        back_w = min(min(most_ma, 16_000) * 230 // 1000, most_w // lines, 11_000 // lines)
        if not scheduled:
            assert given(mode, "evse_target_active_power") == pytest.approx([-back_w] * lines, abs=1)
            assert output.discharge_ma == min(most_ma, 16_000)
        assert output.discharge_w == pytest.approx(back_w * lines, abs=lines)


@pytest.mark.requirement("R192")
def test_the_target_of_a_vehicle_on_three_phases_is_for_those_in_use(make_bench: Make) -> None:
    config = SeccConfig(services=(EnergyService.AC,), control_modes=(ControlMode.DYNAMIC,), signed_discharge=UNSIGNED)
    bench = make_bench(config, pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), False
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=parameters(3, bpt=False)))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")
    limit = Limit(source=SITE, charge_w=1_840, discharge_w=0, charge_ma=8_000, version=2)
    for used, targets in ((1, [1_840]), (3, [613] * 3)):
        bench.fact(ports.PhasesChanged(used))
        bench.fact(ports.GridChanged((limit,)))
        assert given(looped(bench, 3), "evse_target_active_power") == targets
        assert bench.commands(ports.SetAcOutput)[-1].lines == used


@pytest.mark.requirement("R192")
def test_a_schedule_of_a_vehicle_on_three_phases_is_for_those_in_use(make_bench: Make) -> None:
    config = SeccConfig(services=(EnergyService.AC,), control_modes=(ControlMode.SCHEDULED,), signed_discharge=UNSIGNED)
    bench = make_bench(config, pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), True
    bench.fact(ports.PhasesChanged(1))
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=3_680, discharge_w=0, charge_ma=16_000, version=1),)))
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=parameters(3, bpt=False)))
    offered = bench.go("ScheduleExchangeReq").scheduled_se_res_control_mode.schedule_tuple[0]
    (entry,) = offered.charging_schedule.power_schedule.power_schedule_entries.power_schedule_entry
    assert given(entry, "power") == [3_680]
    profile = bench.profile(1, 3_600)
    (planned,) = profile.ev_power_profile_entries.ev_power_profile_entry
    planned = msgspec.structs.replace(planned, power=number(3_600), power_l2=number(0), power_l3=number(0))
    entries = msgspec.structs.replace(profile.ev_power_profile_entries, ev_power_profile_entry=(planned,))
    profile = msgspec.structs.replace(profile, ev_power_profile_entries=entries)
    started = bench.send(bench.ask("PowerDeliveryReq", ev_power_profile=profile))
    assert started.response_code.name == "OK"


UNEQUAL = {"ev_maximum_charge_power": number(7_360), "ev_maximum_charge_power_l2": number(2_990)}


def of_two(make_bench: Make, limit: Limit | None) -> Bench:
    """Return a charge loop of a vehicle that bears 32 A on L1 and 13 A on L2."""
    profile = ProfileRules(margin_w=300, warn_s=1.0, fail_s=3.0)
    config = SeccConfig(services=(EnergyService.AC,), signed_discharge=UNSIGNED, profile=profile)
    bench = make_bench(config, pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), False
    if limit is not None:
        bench.fact(ports.GridChanged((limit,)))
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = ac.AC_CPDReqEnergyTransferMode(**UNEQUAL, **powers("ev_minimum_charge_power", 0, 2))
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=mode))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")
    return bench


def loop_of_two(bench: Bench) -> Any:
    names = ("ev_maximum_charge_power", "ev_minimum_charge_power", "ev_present_active_power")
    fields = {name + phase: None for name in names for phase in PHASES} | UNEQUAL
    fields |= powers("ev_minimum_charge_power", 0, 2) | powers("ev_present_active_power", 0, 2)
    return bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=bench.ac_loop_mode(**fields)))


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("limit_ma", "volts", "targets"),
    [
        (None, 230, [7_360, 2_990]),
        (20_000, 230, [4_600, 2_990]),
        (20_000, 207, [4_140, 2_990]),
        (13_000, 230, [2_990, 2_990]),
        (13_000, 207, [2_691, 2_691]),
        (6_000, 230, [1_380, 1_380]),
    ],
)
def test_a_vehicle_whose_conductors_differ_is_told_each_ones_own(
    make_bench: Make, limit_ma: int | None, volts: int, targets: list[int]
) -> None:
    limit = Limit(source=CABLE, charge_w=MOST_W, discharge_w=MOST_W, charge_ma=limit_ma, discharge_ma=0, version=2)
    bench = of_two(make_bench, limit if limit_ma else None)
    bench.fact(ports.Measured(volts * 1000, 0))
    assert given(loop_of_two(bench).cl_res_control_mode, "evse_target_active_power") == targets


@pytest.mark.requirement("R192")
def test_a_conductor_beyond_what_its_vehicle_has_stated_for_it_is_warned_of_and_ends(make_bench: Make) -> None:
    """5 kW on L2, which bears 2,990 W; the sum is within all limits."""
    bench, codes = of_two(make_bench, None), list[str]()
    bench.fact(ports.Measured(230_000, 30_000, currents=Currents(8_000, 22_000)))
    while not bench.reason:
        codes.append(loop_of_two(bench).response_code.name)
        bench.pass_time(0.5)
    assert set(codes[:-1]) == {"WARNING_EVPowerProfileViolation"}
    assert codes[-1] == "FAILED_EVPowerProfileViolation"
    other = of_two(make_bench, None)
    other.fact(ports.Measured(230_000, 35_000, currents=Currents(22_000, 13_000)))
    for _ in range(10):
        assert loop_of_two(other).response_code.name == "OK"
        other.pass_time(0.5)


@pytest.mark.requirement("R192")
def test_a_vehicle_that_states_the_sum_of_three_phases_gets_it_once_they_are_seen_to_carry_current(
    make_bench: Make,
) -> None:
    """Its only value may be that of the first phase, or of all: until it draws, it is taken for the first."""
    bench = make_bench(SeccConfig(services=(EnergyService.AC,), signed_discharge=UNSIGNED), pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), False
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=parameters(1, bpt=False)))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")
    assert given(looped(bench, 1), "evse_target_active_power") == [7_360]
    bench.fact(ports.Measured(230_000, 30_000, currents=Currents(10_000, 10_000, 10_000)))
    assert given(looped(bench, 1), "evse_target_active_power") == [20_000]
    assert bench.commands(ports.SetAcOutput)[-1].charge_ma == 32_000


def test_the_present_power_is_that_of_each_phase_as_measured(make_bench: Make) -> None:
    bench = make_bench(SeccConfig(services=(EnergyService.AC,), signed_discharge=UNSIGNED), pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), False
    bench.reach(State.AC_CHARGE_LOOP)
    bench.fact(ports.Measured(230_000, 21_000, currents=Currents(10_000, 6_000, 5_000)))
    assert given(looped(bench, 3), "evse_present_active_power") == [2_300, 1_380, 1_150]


def of_lines(make_bench: Make, stated: dict[str, int], used: int | None = None) -> Bench:
    """Return a charge loop of a vehicle that states these powers (W) of phases, with so many conductors in use."""
    bench = make_bench(SeccConfig(services=(EnergyService.AC,), signed_discharge=UNSIGNED), pilot=PilotState.C)
    bench.selection, bench.scheduled = (AC, 0, False), False
    if used is not None:
        bench.fact(ports.PhasesChanged(used))
    bench.reach(State.AC_CHARGE_PARAMETER_DISCOVERY)
    mode = ac.AC_CPDReqEnergyTransferMode(**stating(stated), ev_minimum_charge_power=number(0))
    bench.send(bench.ask("AC_ChargeParameterDiscoveryReq", ac_cpd_req_energy_transfer_mode=mode))
    bench.go("ScheduleExchangeReq", "PowerDeliveryReq")
    return bench


def stating(stated: dict[str, int]) -> dict[str, Any]:
    return {"ev_maximum_charge_power" + phase: number(watts_each) for phase, watts_each in stated.items()}


def targets_of(bench: Bench, stated: dict[str, int]) -> list[float]:
    """Return the targets that a vehicle gets which states these powers in its loop."""
    names = ("ev_maximum_charge_power", "ev_minimum_charge_power", "ev_present_active_power")
    fields = {name + phase: None for name in names for phase in PHASES} | stating(stated)
    fields |= {"ev_minimum_charge_power": number(0), "ev_present_active_power": number(0)}
    request = bench.ask("AC_ChargeLoopReq", cl_req_control_mode=bench.ac_loop_mode(**fields))
    return given(bench.send(request).cl_res_control_mode, "evse_target_active_power")


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("stated", "looped", "used", "targets"),
    [
        ({"": 7_000, "_l3": 3_000}, {"": 7_000, "_l3": 3_000}, None, [7_000, 0, 3_000]),
        ({"": 7_000, "_l2": 7_000, "_l3": 7_000}, {"": 7_000, "_l2": 5_000}, None, [7_000, 5_000, 0]),
        ({"": 3_680, "_l2": 3_680, "_l3": 3_680}, {"": 3_680, "_l2": 3_680, "_l3": 3_680}, 1, [3_680]),
        ({"": 3_680, "_l2": 7_360, "_l3": 0}, {"": 3_680, "_l2": 7_360, "_l3": 0}, 2, [3_680, 7_360]),
        ({"": 2_000, "_l2": 2_000, "_l3": 2_000}, {"": 1_500}, None, [500, 500, 500]),
    ],
    ids=["without L2", "a loop without L3", "one conductor in use", "two in use", "a loop with a total"],
)
def test_no_conductor_gets_more_than_its_vehicle_states_for_it(
    make_bench: Make, stated: dict[str, int], looped: dict[str, int], used: int | None, targets: list[float]
) -> None:
    bench = of_lines(make_bench, stated, used)
    assert targets_of(bench, looped) == targets
    assert bench.commands(ports.SetAcOutput)[-1].charge_w == pytest.approx(sum(targets), abs=3)


def test_a_conductor_that_a_vehicle_must_not_charge_by_gets_no_power(make_bench: Make) -> None:
    """Its maximum is below 0: by that conductor it would have to feed back."""
    config = SeccConfig(services=(EnergyService.AC,), control_modes=(ControlMode.DYNAMIC,), signed_discharge=UNSIGNED)
    bench = make_bench(config, pilot=PilotState.C)
    bench.selection = (AC, 0, False)
    bench.reach(State.AC_CHARGE_LOOP)
    mode = bench.ac_loop_mode(ev_maximum_charge_power_l3=number(-1_000))
    answer = bench.send(bench.ask("AC_ChargeLoopReq", cl_req_control_mode=mode)).cl_res_control_mode
    assert given(answer, "evse_target_active_power") == [3_100, 3_100, 0]
