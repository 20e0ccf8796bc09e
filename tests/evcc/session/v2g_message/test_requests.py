"""Properties of a vehicle's requests: they never exceed a limit, and the contactor closes only on matching voltage."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evcc.session.context import MATCHED_MV, EvseLimits, matched
from evcc.session.din.session import VOCABULARY as DIN
from evcc.session.ports import CloseContactor, PresentVoltage, SetCpState
from evcc.session.settings import SessionConfig
from evcc.session.v2g_message.context import MessageContext, Vocabulary
from evcc.session.v2g_message.energy import on_pre_charge, repeat_pre_charge
from evcc.session.v2g_message.loop import agree, allowed_w
from evcc.session.v2g_message.stages import Plan, PreCharging
from tests.evcc.session.din.charger import DinBench, DinCharger
from tests.evcc.session.vehicle_bench import T0
from v2g.iso15118.engine.physical_values import milliamperes, millivolts
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step
from v2g.iso15118.engine.sequence import State
from v2g.safety import UNBOUNDED

AMOUNT = st.integers(0, 2_000_000)


@st.composite
def schedules(draw: st.DrawFn) -> PowerSchedule:
    starts = draw(st.lists(st.integers(1, 90_000), max_size=30, unique=True).map(sorted))
    steps = tuple(Step(start, draw(st.integers(0, 400_000))) for start in (0, *starts))
    return PowerSchedule(steps, draw(st.none() | st.integers(steps[-1].start_s + 1, 200_000)))


@st.composite
def contexts(draw: st.DrawFn, vocabulary: Vocabulary = DIN) -> MessageContext:
    battery = replace(
        DinBench().model.state,
        voltage_mv=draw(st.integers(1, 900_000)),
        max_voltage_mv=draw(st.integers(1, 1_000_000)),
        max_charge_ma=draw(AMOUNT),
        max_charge_w=draw(AMOUNT),
        soc=draw(st.floats(0, 100)),
        fault=draw(st.sampled_from(["", "", "cell_overvoltage"])),
    )
    now_ms = T0 + draw(st.integers(0, 100_000_000))
    return MessageContext(
        config=SessionConfig(),
        now=0.0,
        utc_ms=now_ms,
        session_ms=now_ms,
        state=State.DC_CHARGE_LOOP,
        session_id=b"1",
        battery=battery,
        inlet=PresentVoltage(draw(st.integers(0, 1_000_000))),
        contactor_closed=False,
        departure_ms=T0 + draw(st.integers(0, 200_000_000)),
        fresh=draw(st.booleans()),
        vocabulary=vocabulary,
    )


LIMITS = st.builds(EvseLimits, st.just(UNBOUNDED) | AMOUNT, charge_ma=AMOUNT, voltage_mv=st.integers(0, 1_000_000))


@pytest.mark.long
@given(contexts(), LIMITS, st.dictionaries(st.integers(1, 255), schedules(), max_size=3))
def test_no_request_exceeds_a_limit_of_battery_charger_or_schedule(
    context: MessageContext, limits: EvseLimits, offers: dict[int, PowerSchedule]
) -> None:
    plan = agree(offers, limits, replace(context, utc_ms=T0, session_ms=T0))
    power_w = allowed_w(plan, context)
    request: Any = DIN.current_demand(plan, context, power_w)
    current_ma, voltage_mv = milliamperes(request.ev_target_current), millivolts(request.ev_target_voltage)
    assert 0 <= current_ma <= min(limits.charge_ma, context.battery.max_charge_ma)
    assert 0 <= voltage_mv <= min(limits.voltage_mv, context.battery.max_voltage_mv)
    most_w = [context.battery.max_charge_w, limits.charge_w]
    if plan.schedule is not None:
        at_s = (context.utc_ms - T0) // 1000
        offered = offers[plan.schedule.tuple_id]
        now_w = offered.power_at(at_s)
        most_w.append(offered.steps[-1].power_w if now_w is None else now_w)
        assert len(plan.schedule.power.steps) <= 24
    assert power_w <= min(most_w)
    assert current_ma * context.battery.voltage_mv <= power_w * 1_000_000


@given(contexts(), LIMITS)
def test_the_contactor_closes_only_on_fresh_matching_voltage(context: MessageContext, limits: EvseLimits) -> None:
    stage = PreCharging(Plan(limits, limits), since=0.0)
    charger = DinCharger()
    request = DIN.pre_charge(stage.plan, context)
    assert milliamperes(request.ev_target_current) <= min(2_000, limits.charge_ma)
    assert millivolts(request.ev_target_voltage) <= limits.voltage_mv + 50
    for step in (
        on_pre_charge(stage, request, charger.PreChargeReq(request), context),
        repeat_pre_charge(stage, request, context),
    ):
        closes = CloseContactor() in step.commands
        across_mv = abs(context.inlet.voltage_mv - context.battery.voltage_mv)
        assert closes is matched(context)
        assert closes is (context.fresh and not context.battery.fault and across_mv <= MATCHED_MV)


@pytest.mark.parametrize("silent", [True, False])
def test_a_silent_inlet_keeps_the_contactor_open(silent: bool) -> None:
    bench = DinBench()
    bench.run_to("PreChargeReq")
    bench.silent = silent
    bench.charger.voltage = bench.model.state.voltage_mv / 1000
    if not silent:
        bench.battery()
    else:
        bench.pass_time(0.6)
    bench.reply(bench.answered())
    assert (CloseContactor() in bench.commands) is not silent
    assert any(isinstance(each, SetCpState) for each in bench.commands)
