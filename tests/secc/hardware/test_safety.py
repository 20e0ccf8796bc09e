"""What reaches the monitor of an EVSE: faults, hangs, limits and the grid's response, each by itself."""

import asyncio
from typing import Any

import pytest

from secc.hardware.safety import SafetyChannel
from secc.session import ports
from tests.secc.hardware.bare import at
from tests.secc.hardware.channel import BOTH_WAYS, RATING, Broken, Evse, Place, Stage, Switch
from v2g.energy.limits import GridResponse, Limit, Setpoint
from v2g.hardware.interfaces import OFF, Contactor, Demand
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.safety import NOTHING


@at(Place)
async def test_a_hang_forbids_energy_until_its_fault_ends(place: Place) -> None:
    assert place.channel.switch(closed=True)
    for _ in range(20):
        place.watchdog.check()
    await asyncio.sleep(0.05)
    assert Observe("safety", "opened", {"reason": "hung"}) in place.events
    assert not place.channel.switch(closed=True)
    assert place.passes() == NOTHING


@pytest.mark.parametrize(("word", "passes"), [("isolation_low", False), ("fan_failed", True)])
@at(Place)
async def test_a_fault_of_the_hardware_forbids_energy_if_it_stops(place: Place, word: str, passes: bool) -> None:
    place.evse.fault(word, active=True)
    assert (place.passes().charge_w > 0) is passes
    place.evse.fault(word, active=False)
    assert place.passes().charge_w == 20_000


@at(Place)
async def test_a_fault_that_was_there_before_the_channel_forbids_energy(place: Place) -> None:
    evse = Evse()
    evse.faults = ("emergency_stop",)
    place.channel.stand_over(evse)
    assert place.passes() == NOTHING


@pytest.mark.parametrize(
    ("response", "charge_w"),
    [
        (GridResponse(), 20_000),
        (GridResponse(ceiling_w=7_000), 7_000),
        (GridResponse(ceiling_w=0), 0),
        (GridResponse(ceiling_w=-3_000), 0),
        (GridResponse(floor_w=-3_000), 20_000),
    ],
)
@at(Place)
async def test_the_response_to_the_grid_bounds_what_is_charged(
    place: Place, response: GridResponse, charge_w: int
) -> None:
    place.channel.fact(ports.GridResponseChanged(response=response))
    assert place.passes().charge_w == charge_w
    place.channel.fact(ports.GridResponseChanged(response=GridResponse()))
    assert place.passes().charge_w == 20_000


@pytest.mark.parametrize(
    ("response", "discharge_w"),
    [
        (GridResponse(), 10_000),
        (GridResponse(floor_w=-3_000), 3_000),
        (GridResponse(floor_w=0), 0),
        (GridResponse(floor_w=3_000), 0),
        (GridResponse(ceiling_w=7_000), 10_000),
    ],
)
@at(Place)
async def test_the_response_to_the_grid_bounds_what_is_fed_back(
    place: Place, response: GridResponse, discharge_w: int
) -> None:
    place.channel.command(BOTH_WAYS)
    place.channel.fact(ports.GridResponseChanged(response=response))
    assert place.passes().discharge_w == discharge_w


@at(Place)
async def test_limits_stop_and_the_end_of_a_transaction_reach_the_monitor(place: Place) -> None:
    place.channel.fact(ports.GridChanged((Limit(source="site", charge_w=5_000, discharge_w=0),)))
    assert place.passes().charge_w == 5_000
    limits = (
        Limit(source="site", charge_w=9_000, discharge_w=0),
        Limit(source="grid", charge_w=8_000, discharge_w=0),
    )
    place.channel.fact(ports.GridChanged(limits, None))
    assert place.passes().charge_w == 8_000
    place.channel.fact(ports.StopRequested(reason="Remote"))
    assert place.passes().charge_w == 0


@pytest.mark.parametrize(
    "command", [ports.TransactionEnded("session", "vehicle", "StoppedByEV", None), ports.EmergencyOff("board_lost")]
)
@at(Place)
async def test_what_ends_a_session_forbids_all(place: Place, command: Command) -> None:
    place.channel.command(command)
    assert place.passes() == NOTHING


@pytest.mark.parametrize(
    ("power_w", "response", "passes"),
    [
        (7_000, GridResponse(), (7_000, 0)),
        (-4_000, GridResponse(), (0, 4_000)),
        (0, GridResponse(), (0, 0)),
        (7_000, GridResponse(delta_w=-2_000), (5_000, 2_000)),
        (-4_000, GridResponse(delta_w=1_000), (1_000, 3_000)),
        (2_000, GridResponse(delta_w=-5_000), (0, 5_000)),
        (-2_000, GridResponse(delta_w=5_000), (5_000, 0)),
        (7_000, GridResponse(ceiling_w=6_000), (6_000, 0)),
    ],
)
@at(Place)
async def test_a_set_point_bounds_both_directions_bent_by_the_grid(
    place: Place, power_w: int, response: GridResponse, passes: tuple[int, int]
) -> None:
    place.channel.command(BOTH_WAYS)
    place.channel.fact(ports.GridResponseChanged(response=response))
    place.channel.fact(ports.SetpointChanged(Setpoint(power_w=power_w, source="back end")))
    passed = place.passes()
    assert (passed.charge_w, passed.discharge_w) == passes
    place.channel.fact(ports.SetpointChanged(None))
    assert place.passes().charge_w == min(20_000, response.ceiling_w or 20_000)


@at(Place)
async def test_by_hand_the_contactor_closes_for_its_time_and_no_power_flows(place: Place) -> None:
    place.channel.command(ports.TransactionEnded("session", "vehicle", "StoppedByEV", None))
    place.channel.maintain(seconds=5.0, voltage_mv=60_000)
    assert place.channel.switch(closed=True)
    passed = place.passes()
    assert (passed.charge_w, passed.discharge_w, passed.voltage_mv) == (0, 0, 60_000)
    place.channel.switch(closed=False)
    place.channel.maintain(seconds=0.0, voltage_mv=0)
    assert not place.channel.switch(closed=True)


@at(Place)
async def test_a_driver_that_failed_before_forbids_energy(place: Place) -> None:
    channel = SafetyChannel(RATING, place.clock, place.events.append)
    channel.guard(Broken(), Contactor).set(closed=False)
    evse, told = Evse(), list[tuple[str, bool]]()
    evse.on_fault(lambda word, active: told.append((word, active)))
    channel.stand_over(evse)
    channel.close()
    assert told == [("charger_failed", True)]


@at(Place)
async def test_what_was_lowered_is_an_event_with_its_powers(place: Place) -> None:
    place.passes()
    place.channel.fact(ports.GridChanged((Limit(source="site", charge_w=5_000, discharge_w=0),)))
    await asyncio.sleep(0.5)
    lowered = [each.data for each in place.events if (each.stage, each.name) == ("safety", "lowered")]
    assert lowered[-1] == {"reason": "limit", "charge_w": 5_000, "discharge_w": 0}


@at(Place)
async def test_a_contactor_closes_only_as_permitted_and_passes_all_else(place: Place) -> None:
    switch, moved = Switch(), list[bool]()
    wrapped = place.channel.contactor(switch)
    wrapped.on_change(moved.append)
    wrapped.set(closed=True)
    assert (switch.closed, wrapped.closed, moved) == (True, True, [True])
    wrapped.set(closed=False)
    assert (switch.closed, wrapped.closed, moved) == (False, False, [True, False])
    wrapped.cut()
    assert switch.cuts == 1
    place.evse.fault("isolation_low", active=True)
    wrapped.set(closed=True)
    assert not switch.closed


@at(Place)
async def test_a_contactor_that_closes_by_itself_is_opened_and_named(place: Place) -> None:
    switch, told = Switch(), list[tuple[str, bool]]()
    place.evse.on_fault(lambda word, active: told.append((word, active)))
    place.channel.contactor(switch)
    place.channel.command(ports.TransactionEnded("session", "vehicle", "StoppedByEV", None))
    switch.set(closed=True)
    await asyncio.sleep(1.0)
    assert not switch.closed
    opened = [each for each in place.events if (each.stage, each.name) == ("safety", "opened")]
    assert opened[0].data == {"reason": "contactor_welded"}
    assert ("contactor_welded", True) in told


@pytest.mark.parametrize(
    ("demand", "passed"),
    [
        (Demand(400_000, 50_000, 20_000), Demand(400_000, 50_000, 5_000)),
        (Demand(400_000, 0, 0), Demand(400_000, 0, 0)),
        (Demand(400_000, -30_000, 9_000), Demand(400_000, -30_000, 3_000)),
    ],
)
@at(Place)
async def test_a_stage_drives_what_is_permitted_of_its_direction(place: Place, demand: Demand, passed: Demand) -> None:
    place.channel.command(BOTH_WAYS)
    switch, stage = Switch(), Stage()
    place.channel.contactor(switch).set(closed=True)
    wrapped = place.channel.stage(stage)
    place.channel.fact(ports.GridChanged((Limit(source="site", charge_w=5_000, discharge_w=3_000),)))
    wrapped.drive(demand)
    assert stage.driven[-1] == passed
    place.evse.fault("isolation_low", active=True)
    await asyncio.sleep(0.8)
    assert stage.driven[-1] == OFF
    assert not switch.closed


@at(Place)
async def test_a_stage_passes_all_else(place: Place) -> None:
    stage, reports = Stage(), list[Any]()
    wrapped = place.channel.stage(stage)
    wrapped.on_report(reports.append)
    wrapped.on_fault(lambda *fault: reports.append(fault))
    wrapped.react(5)
    wrapped.cut()
    assert (wrapped.present, wrapped.max_var, stage.reactive, stage.cuts) == (stage.present, 7, 5, 1)
    for report in stage.listeners:
        report(stage.present)
    for fault in stage.faults:
        fault("module_failed", True)  # noqa: FBT003
    assert reports == [stage.present, ("module_failed", True)]


@at(Place)
async def test_a_driven_stage_that_reports_nothing_has_failed_after_a_second(place: Place) -> None:
    switch, stage, told = Switch(), Stage(), list[str]()
    place.evse.on_fault(lambda word, _: told.append(word))
    place.channel.contactor(switch).set(closed=True)
    wrapped = place.channel.stage(stage)
    await asyncio.sleep(3.0)
    assert not told  # it is not driven
    wrapped.drive(Demand(400_000, 1_000, 400))
    await asyncio.sleep(0.95)
    assert not told
    for report in stage.listeners:
        report(stage.present)
    await asyncio.sleep(0.9)
    assert not told
    await asyncio.sleep(0.2)
    assert told == ["charger_failed"]
    assert (stage.cuts, switch.cuts) == (1, 1)
