"""Limits and plans: what is impossible is refused, what is sent is true."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.session import ports
from secc.session.config import ControlMode, SeccConfig
from secc.session.d20.quantities import MOST, scaled, to_milli, to_w
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import MakeBench
from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.prices import fraction
from v2g.iso15118.d20.quantities import milli, rational, whole
from v2g.iso15118.engine.sequence import State

replace = msgspec.structs.replace
SCHEDULED = SeccConfig(control_modes=(ControlMode.SCHEDULED, ControlMode.DYNAMIC))


@given(st.integers(-(10**9), 10**9), st.integers(-6, 3))
def test_no_number_on_the_wire_is_larger_than_what_it_stands_for(amount: int, exponent: int) -> None:
    reported = fraction(rational(amount, exponent))
    meant = Fraction(Decimal(amount).scaleb(exponent))
    assert abs(reported) <= abs(meant)
    assert abs(meant - reported) <= abs(meant) / 3276


@given(st.integers(-128, 127), st.integers(-32768, 32767), st.integers(0, 3))
def test_absurd_numbers_stay_within_reason(exponent: int, amount: int, shift: int) -> None:
    result = scaled(RationalNumber(exponent=exponent, value=amount), shift)
    exact = Decimal(amount).scaleb(exponent + shift)
    assert result == max(-MOST, min(MOST, int(exact)))


def test_units_go_there_and_back() -> None:
    assert to_w(whole(-11_000)) == -11_000
    assert to_milli(milli(399_900)) == 399_900


@pytest.fixture
def discovering(bench: Bench) -> Bench:
    """Return a bench whose next request is the DC_ChargeParameterDiscoveryReq."""
    return bench.reach(State.DC_CHARGE_PARAMETER_DISCOVERY)


def test_the_rating_is_sent_whatever_the_site_allows_at_the_moment(discovering: Bench) -> None:
    mode = discovering.go("DC_ChargeParameterDiscoveryReq").dc_cpd_res_energy_transfer_mode
    assert isinstance(mode, dc.BPT_DC_CPDResEnergyTransferMode)
    assert fraction(mode.evse_maximum_charge_power) == 150_000
    assert fraction(mode.evse_maximum_discharge_power) == 50_000
    assert fraction(mode.evse_maximum_voltage) == 920


def test_discharge_limits_are_written_as_the_edition_wants_them(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(negative_discharge_limits=True)).reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    mode = bench.go("DC_ChargeParameterDiscoveryReq").dc_cpd_res_energy_transfer_mode
    assert fraction(mode.evse_maximum_discharge_power) == -50_000


def test_discharge_limits_are_read_whatever_their_sign(discovering: Bench) -> None:
    request = discovering.ask("DC_ChargeParameterDiscoveryReq")
    mode = replace(
        request.dc_cpd_req_energy_transfer_mode,
        ev_maximum_discharge_power=number(-12_000),
        ev_maximum_discharge_current=number(-40),
    )
    discovering.send(replace(request, dc_cpd_req_energy_transfer_mode=mode))
    vehicle = discovering.session.vehicle
    assert vehicle is not None
    assert (vehicle.max_discharge_w, vehicle.max_discharge_ma) == (12_000, 40_000)


@pytest.mark.parametrize(
    "change",
    [
        {"ev_maximum_charge_power": number(-1)},
        {"ev_maximum_charge_current": number(-1)},
        {"ev_minimum_voltage": number(500)},
        {"ev_minimum_charge_power": number(20_001)},
        {"ev_minimum_charge_current": number(61)},
        {"ev_minimum_discharge_power": number(12_001)},
        {"ev_minimum_discharge_power": number(-12_001)},
        {"ev_minimum_discharge_current": number(41)},
        {"ev_maximum_voltage": number(100), "ev_minimum_voltage": number(50)},
        {"ev_maximum_voltage": number(1500), "ev_minimum_voltage": number(1000)},
        {"ev_maximum_charge_current": number(900), "ev_minimum_charge_current": number(801)},
        {"ev_maximum_charge_power": number(900_000), "ev_minimum_charge_power": number(800_001)},
    ],
    ids=str,
)
def test_limits_that_leave_nothing_are_refused(discovering: Bench, change: dict[str, Any]) -> None:
    request = discovering.ask("DC_ChargeParameterDiscoveryReq")
    mode = replace(request.dc_cpd_req_energy_transfer_mode, **change)
    response = discovering.send(replace(request, dc_cpd_req_energy_transfer_mode=mode))
    word = "FAILED_WrongChargeParameter"
    assert response.response_code.name == word  # V2G20-2272
    (ended,), (closed,) = discovering.commands(ports.TransactionEnded), discovering.commands(ports.CloseJournal)
    (reported,), (over,) = discovering.events("request_failed"), discovering.events("session_ended")
    assert {ended.reason, closed.reason, reported["code"], over["reason"], discovering.reason} == {word}
    assert reported["reason"], "the log says which limit"
    assert not discovering.commands(ports.StartCableCheck)


@pytest.mark.parametrize("selected", [2, 6])
def test_parameters_of_the_other_service_are_refused(bench: Bench, selected: int) -> None:
    bench.selection = (selected, 0, False)
    bench.reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    bench.selection = (8 - selected, 0, False)
    assert bench.go("DC_ChargeParameterDiscoveryReq").response_code.name == "FAILED_WrongChargeParameter"


def test_a_dynamic_vehicle_receives_prices_and_the_back_end_its_needs(bench: Bench) -> None:
    bench.reach(State.SCHEDULE_EXCHANGE)
    response = bench.go("ScheduleExchangeReq")
    schedule = response.dynamic_se_res_control_mode.absolute_price_schedule
    assert (schedule.currency, schedule.time_anchor) == ("EUR", bench.utc_ms // 1000)
    stacks = schedule.price_rule_stacks.price_rule_stack
    assert stacks[0].duration <= 900
    assert {each.duration for each in stacks[1:]} == {900}
    assert fraction(stacks[0].price_rule[0].energy_fee) == Decimal("0.3")
    needs = bench.commands(ports.ReportChargingNeeds)[0].needs
    assert (needs.service, needs.control_mode, needs.target_soc) == ("DC_BPT", "dynamic", 80)
    assert (needs.max_charge_w, needs.max_discharge_w, needs.min_energy_wh) == (20_000, 12_000, -20_000)
    assert (needs.min_charge_w, needs.min_discharge_w) == (1_000, 500)
    assert needs.departure_ms == bench.utc_ms + 7_200_000


def test_no_more_prices_are_sent_than_the_vehicle_can_hold(bench: Bench) -> None:
    bench.reach(State.SCHEDULE_EXCHANGE)
    request = bench.ask("ScheduleExchangeReq", maximum_supporting_points=12)
    mode = replace(request.dynamic_se_req_control_mode, departure_time=86_400)
    response = bench.send(replace(request, dynamic_se_req_control_mode=mode))
    schedule = response.dynamic_se_res_control_mode.absolute_price_schedule
    assert len(schedule.price_rule_stacks.price_rule_stack) == 12


@pytest.mark.parametrize("config", [SeccConfig(), SeccConfig(offer_prices=False)])
def test_without_prices_none_are_sent(make_bench: MakeBench, config: SeccConfig) -> None:
    bench = make_bench(config, **({} if not config.offer_prices else {"tariff": None}))
    response = bench.reach(State.SCHEDULE_EXCHANGE).go("ScheduleExchangeReq")
    assert response.dynamic_se_res_control_mode.absolute_price_schedule is None


def test_a_scheduled_vehicle_gets_one_tuple_for_both_directions(make_bench: MakeBench) -> None:
    bench = make_bench(SCHEDULED)
    bench.scheduled = True
    bench.reach(State.SCHEDULE_EXCHANGE)
    offered, *_ = bench.go("ScheduleExchangeReq").scheduled_se_res_control_mode.schedule_tuple
    power = offered.charging_schedule.power_schedule.power_schedule_entries.power_schedule_entry[0]
    assert (fraction(power.power), power.duration) == (20_000, 7_200)
    back = offered.discharging_schedule.power_schedule.power_schedule_entries.power_schedule_entry[0]
    assert fraction(back.power) == -10_000  # V2G20-1034: out of the vehicle is negative
    fee = offered.discharging_schedule.absolute_price_schedule.price_rule_stacks.price_rule_stack[0].price_rule[0]
    assert fraction(fee.energy_fee) == Decimal("0.25")
    prices = (offered.charging_schedule, offered.discharging_schedule)
    assert len({each.absolute_price_schedule.price_schedule_id for each in prices}) == 2


def test_a_scheduled_vehicle_without_the_service_gets_no_discharge(make_bench: MakeBench) -> None:
    bench = make_bench(SCHEDULED, tariff=None)
    bench.scheduled, bench.selection = True, (6, 0, False)
    bench.reach(State.SCHEDULE_EXCHANGE)
    offered, *_ = bench.go("ScheduleExchangeReq").scheduled_se_res_control_mode.schedule_tuple
    assert offered.discharging_schedule is None
    assert offered.charging_schedule.price_level_schedule.number_of_price_levels == 1


@pytest.mark.parametrize(
    "change",
    [
        {"minimum_soc": 81},
        {"minimum_soc": None},
        {"ev_target_energy_request": number(50_000)},
        {"ev_minimum_energy_request": number(35_000)},
    ],
    ids=str,
)
def test_needs_that_contradict_each_other_are_refused(bench: Bench, change: dict[str, Any]) -> None:
    bench.reach(State.SCHEDULE_EXCHANGE)
    request = bench.ask("ScheduleExchangeReq")
    mode = replace(request.dynamic_se_req_control_mode, **change)
    assert bench.send(replace(request, dynamic_se_req_control_mode=mode)).response_code.name == "FAILED"


def test_needs_in_the_other_control_mode_are_refused(bench: Bench) -> None:
    bench.reach(State.SCHEDULE_EXCHANGE)
    bench.scheduled = True
    assert bench.go("ScheduleExchangeReq").response_code.name == "FAILED"


def test_a_scheduled_vehicle_needs_to_say_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(SCHEDULED)
    bench.scheduled = True
    bench.reach(State.SCHEDULE_EXCHANGE)
    request = bench.ask("ScheduleExchangeReq", scheduled_se_req_control_mode=sched.Scheduled_SEReqControlMode())
    assert bench.send(request).response_code.name == "OK"
    needs = bench.commands(ports.ReportChargingNeeds)[0].needs
    assert (needs.departure_ms, needs.target_energy_wh, needs.target_soc) == (None, None, None)


def energy_offer(watts_back: int, *, power_s: int = 3600, price_s: int = 3600, currency: str = "EUR") -> Any:
    rule = sched.EVPriceRule(energy_fee=number(0), power_range_start=number(0))
    return sched.EVEnergyOffer(
        ev_power_schedule=sched.EVPowerSchedule(
            time_anchor=0,
            ev_power_schedule_entries=sched.EVPowerScheduleEntryList(
                ev_power_schedule_entry=(sched.EVPowerScheduleEntry(duration=power_s, power=number(-watts_back)),)
            ),
        ),
        ev_absolute_price_schedule=sched.EVAbsolutePriceSchedule(
            time_anchor=0,
            currency=currency,
            price_algorithm="urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
            ev_price_rule_stacks=sched.EVPriceRuleStackList(
                ev_price_rule_stack=(sched.EVPriceRuleStack(duration=price_s, ev_price_rule=(rule,)),)
            ),
        ),
    )


@pytest.mark.parametrize(
    ("service", "change", "reason"),
    [
        (6, {}, ""),
        (6, {"price_s": 0}, "an interval of the offer has no duration"),  # as a vehicle in the field has it
        (6, {"power_s": 0}, "an interval of the offer has no duration"),
        (6, {"watts_back": 12_100}, "more power is offered than the vehicle can discharge"),
        (6, {"currency": "eur"}, "'eur' is not a currency"),
        (2, {}, "energy is offered by a service without discharge"),
    ],
)
def test_an_offer_that_nothing_can_come_of_costs_the_offer_and_not_the_session(
    make_bench: MakeBench, service: int, change: dict[str, Any], reason: str
) -> None:
    bench = make_bench(SCHEDULED)
    bench.scheduled = True
    if service == 2:
        bench.selection = (2, 0, False)
    request = bench.reach(State.SCHEDULE_EXCHANGE).ask("ScheduleExchangeReq")
    offer = energy_offer(**({"watts_back": 10_000} | change))
    mode = replace(request.scheduled_se_req_control_mode, ev_energy_offer=offer)
    response = bench.send(replace(request, scheduled_se_req_control_mode=mode))
    assert response.response_code.name == "OK"
    (needs,) = (each.needs for each in bench.commands(ports.ReportChargingNeeds))
    assert (needs.offer is None) is bool(reason)
    assert [event["reason"] for event in bench.events("offer_refused")] == ([reason] if reason else [])
