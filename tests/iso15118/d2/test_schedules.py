"""Schedules, tariffs and profiles of ISO 15118-2 through the codec and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iso15118.engine.power_schedule import steps
from v2g import exi
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import PowerDeliveryReq
from v2g.iso15118.d2.messages.data_types import ChargeProgress, SAScheduleList
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schedules import (
    PriceStep,
    charging_profile,
    planned,
    power_schedules,
    sales_tariff,
    schedule_tuple,
)
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step, covering
from v2g.units import DAY_S


def through_the_codec(fragment: Any, name: str) -> Any:
    return exi.decode_fragment(exi.encode_fragment(fragment, ISO2, name=name), ISO2)


@given(steps(12), st.integers(1, 255))
def test_an_offered_schedule_arrives_with_its_times_and_no_more_power(given_steps: list[Step], tuple_id: int) -> None:
    made = covering(given_steps, DAY_S, 12)
    offered = SAScheduleList(sa_schedule_tuple=(schedule_tuple(tuple_id, made),))
    (received,) = power_schedules(through_the_codec(offered, "SAScheduleList")).values()
    assert [step.start_s for step in received.steps] == [step.start_s for step in made.steps]
    assert received.end_s == made.end_s
    for sent, got in zip(made.steps, received.steps, strict=True):
        assert sent.power_w - 100 < got.power_w <= sent.power_w


def test_only_the_last_entry_has_a_duration_and_the_first_starts_at_0() -> None:
    made = schedule_tuple(7, PowerSchedule((Step(0, 11_000), Step(900, 350_000)), DAY_S))
    intervals = [entry.time_interval for entry in made.p_max_schedule.p_max_schedule_entry]
    assert [(each.start, each.duration) for each in intervals] == [(0, None), (900, DAY_S - 900)]
    assert [entry.p_max.unit.value for entry in made.p_max_schedule.p_max_schedule_entry] == ["W", "W"]
    assert made.sales_tariff is None


def test_a_missing_list_offers_nothing() -> None:
    assert power_schedules(None) == {}


def test_a_tariff_has_levels_and_relative_prices() -> None:
    prices = (PriceStep(0, 2, 80), PriceStep(3600, 1), PriceStep(7200, 3, 100))
    tariff = sales_tariff(5, prices, end_s=DAY_S, description="x" * 40, element_id="id1")
    received = through_the_codec(tariff, "SalesTariff")
    assert received == tariff
    assert (received.num_e_price_levels, received.sales_tariff_description) == (3, "x" * 32)
    assert [each.e_price_level for each in received.sales_tariff_entry] == [2, 1, 3]
    amounts = [
        [cost.amount for use in each.consumption_cost for cost in use.cost] for each in received.sales_tariff_entry
    ]
    assert amounts == [[80], [], [100]]
    assert received.sales_tariff_entry[-1].time_interval.duration == DAY_S - 7200


@given(steps(24))
def test_a_vehicles_plan_arrives_and_its_absence_too(given_steps: list[Step]) -> None:
    body = PowerDeliveryReq(
        charge_progress=ChargeProgress.Start, sa_schedule_tuple_id=1, charging_profile=charging_profile(given_steps)
    )
    message = V2G_Message(header=MessageHeader(session_id=bytes(8)), body=Body(body_element=body))
    received: Any = exi.decode(exi.encode(message), ISO2)
    plan = planned(received.body.body_element.charging_profile)
    assert plan is not None
    assert [step.start_s for step in plan.steps] == [step.start_s for step in given_steps]
    assert all(got.power_w <= sent.power_w for got, sent in zip(plan.steps, given_steps, strict=True))


def test_no_plan() -> None:
    assert charging_profile([]) is None
    assert planned(None) is None


@pytest.mark.parametrize("count", [25, 100])
def test_a_plan_has_at_most_24_entries(count: int) -> None:
    made = charging_profile([Step(at, 1000) for at in range(count)])
    assert made is not None
    assert len(made.profile_entry) == 24
