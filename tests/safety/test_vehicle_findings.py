"""Ways in which an independent audit had let a vehicle bear what it must not.

Each is tried three times, in simulated time: with what corrects it and without the safety monitor; with the correction
taken out, where the monitor alone has to catch it; and with neither, where the scenario has to fail, as it did.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.hardware.vehicle import BREAK_ANYWAY_S
from evcc.policy.battery import BatteryConfig
from evcc.session import watch
from evcc.session.basic_charging import BasicVehicle
from evcc.session.d20 import energy, loop, positioning, session
from evcc.session.d20 import requests as ask
from evcc.session.d20.stages import Step
from evcc.session.ports import SetAcPower, StopRequested
from evcc.session.settings import ProgramStep
from tests.safety.judged.vehicle_rig import VehicleRig, settings, vehicle_rig
from tests.safety.vehicle_places import Kind
from tests.virtual_time import VirtualLoop, simulated
from v2g.iso15118.d20.messages.common_types import EvseNotification, Processing
from v2g.iso15118.engine.session import Session

Scenario = Callable[[VehicleRig], Coroutine[Any, Any, None]]
Undo = Callable[[pytest.MonkeyPatch], None]


class Case:
    """What happens, with which kind of energy and vehicle, and how the correction is taken out."""

    def __init__(self, name: str, kind: Kind, scenario: Scenario, undo: Undo, made: dict[str, Any]) -> None:
        self.name, self.kind, self.scenario, self.undo, self.made = name, kind, scenario, undo, made


CASES: list[Case] = []


def case(undo: Undo, *kinds: Kind, **made: Any) -> Callable[[Scenario], Scenario]:
    """Note a scenario."""

    def note(scenario: Scenario) -> Scenario:
        name = scenario.__name__.removeprefix("_").replace("_", "-")
        CASES.extend(Case(f"{name}-{kind}", kind, scenario, undo, made) for kind in kinds or ("dc",))
        return scenario

    return note


def looks_at_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch.Watch, "look", lambda self, now, **_: "")
    patch.setattr(watch.Watch, "fresh", lambda self, now: True)


# -- charging is watched ----------------------------------------------------------------------------------------------


@case(looks_at_nothing)
async def _more_current_than_the_battery_bears(found: VehicleRig) -> None:
    await found.charge()
    found.station.force = (found.channel.battery.voltage_mv, 600_000)
    found.station.act()
    await found.off(1.7 + BREAK_ANYWAY_S)
    await found.stays_off(5.0)


@case(looks_at_nothing)
async def _more_current_than_the_battery_bears_whatever_its_dips(found: VehicleRig) -> None:
    await found.charge()
    for _ in range(20):
        for force, seconds in (((found.channel.battery.voltage_mv, 600_000), 0.6), (None, 0.2)):
            found.station.force = force
            found.station.act()
            if found.joined:
                await asyncio.sleep(seconds)
    assert not found.joined
    await found.stays_off(5.0)


@case(looks_at_nothing, battery=BatteryConfig(soc=30, resistance_ohm=5.0, max_charge_current_a=30))
async def _more_voltage_than_the_battery_bears(found: VehicleRig) -> None:
    """520 V at a battery whose highest voltage is 410 V."""
    await found.asked("DC_ChargeLoopReq", times=5)
    found.station.force = (520_000, 34_000)
    found.station.act()
    await found.off(0.5 + BREAK_ANYWAY_S)
    await found.stays_off(5.0)


@case(looks_at_nothing, config=settings("dc", ProgramStep(do="wait", for_s=3600)))
async def _current_while_none_is_wanted(found: VehicleRig) -> None:
    await found.asked("DC_ChargeLoopReq", times=5)
    found.station.force = (found.channel.battery.voltage_mv, 100_000)
    found.station.act()
    await found.off(2.6 + BREAK_ANYWAY_S)
    await found.stays_off(5.0)


@case(looks_at_nothing, config=settings("dc", ProgramStep(do="wait", for_s=3600)))
async def _current_out_of_the_vehicle_while_none_is_wanted(found: VehicleRig) -> None:
    found.patch.setattr(session.VehicleSession, "_check_overdraw", lambda self: None)
    await found.asked("DC_ChargeLoopReq", times=5)
    found.station.force = (found.channel.battery.voltage_mv, -90_000)
    found.station.act()
    await found.off(2.6 + BREAK_ANYWAY_S)
    await found.stays_off(5.0)


def leaves_the_check_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(positioning, "_start", lambda stage, context: ask.power_start(stage.plan, context))


@case(leaves_the_check_open, "wpt", config=settings("wpt", ProgramStep(do="wait", for_s=3600)))
async def _more_through_the_air_than_is_asked_for(found: VehicleRig) -> None:
    """What was let in to find the place stayed open for a vehicle that then waits."""
    await found.asked("WPT_ChargeLoopReq", times=5)
    found.station.force = (400_000, 30_000)
    found.station.act()
    await found.off(0.1)
    await found.stays_off(5.0)


# -- silent sensors ---------------------------------------------------------------------------------------------------


@case(looks_at_nothing, "dc", "ac", "wpt", "acdp")
async def _a_battery_that_falls_silent(found: VehicleRig) -> None:
    await found.charge()
    found.faults.add("battery_silent")
    await found.off(1.7)
    await found.stays_off(5.0)


@case(looks_at_nothing, "dc", "ac", "wpt", "acdp")
async def _an_inlet_that_falls_silent(found: VehicleRig) -> None:
    await found.charge()
    found.faults.add("inlet_silent")
    await found.off(1.7)
    await found.stays_off(5.0)


@case(looks_at_nothing)
async def _no_contactor_closes_on_an_old_reading(found: VehicleRig) -> None:
    found.station.delays["DC_PreChargeReq"] = 1.0
    await found.asked("DC_PreChargeReq")
    await asyncio.sleep(0.1)  # the voltage is there, and seen
    found.faults.add("inlet_silent")
    await found.until(found.running.done, 4.0)
    assert not found.ever_closed
    await found.stays_off(5.0)


# -- contactor feedback -----------------------------------------------------------------------------------------------


def welds_are_ignored(patch: pytest.MonkeyPatch) -> None:
    looks_at_nothing(patch)
    known = energy.begin_cable_check
    patch.setattr(
        energy, "begin_cable_check", lambda plan, context: known(plan, replace(context, contactor_closed=False))
    )


@case(welds_are_ignored, faults=("stuck_closed",))
async def _a_contactor_that_is_welded_before_the_cable_check(found: VehicleRig) -> None:
    await asyncio.sleep(8.0)
    assert not found.station.asked("DC_CableCheckReq")
    assert not found.shows_c
    assert found.running.done()


@case(looks_at_nothing)
async def _a_contactor_that_closes_by_itself(found: VehicleRig) -> None:
    found.station.delays["DC_CableCheckReq"] = 1.5
    await found.asked("DC_CableCheckReq")
    found.faults.add("stuck_closed")
    await found.until(lambda: not found.shows_c and found.running.done(), 1.0)


@case(looks_at_nothing)
async def _a_contactor_that_opens_by_itself(found: VehicleRig) -> None:
    await found.charge()
    found.faults.add("drop")
    await found.until(lambda: not found.shows_c and found.running.done(), 1.0)


@case(welds_are_ignored)
async def _a_contactor_that_closes_again_while_services_are_selected_anew(found: VehicleRig) -> None:
    """The cable check would come before anybody can tell that it is not about to open."""
    await found.charge()
    found.tell(StopRequested("driver", reselect=True))
    await found.asked("SessionStopReq")
    found.faults.add("stuck_closed")
    await found.until(lambda: not found.shows_c, 0.1)
    found.ever_c = False
    await found.until(found.running.done, 3.0)
    assert not found.ever_c


# -- a battery with a fault -------------------------------------------------------------------------------------------


def faults_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.VehicleSession, "_check_battery", lambda self: None)
    patch.setattr(
        energy, "matched", lambda context: abs(context.inlet.voltage_mv - context.battery.voltage_mv) <= 10_000
    )


@case(faults_are_ignored)
async def _a_battery_with_a_fault_is_not_connected(found: VehicleRig) -> None:
    found.station.delays["DC_PreChargeReq"] = 0.2
    await found.asked("DC_PreChargeReq")
    found.faults.add("battery_insulation")
    await found.until(found.running.done, 4.0)
    assert not found.ever_closed


# -- schedules are negotiated anew ------------------------------------------------------------------------------------


def draws_on(patch: pytest.MonkeyPatch) -> None:
    def command(self: Any, *commands: Any) -> None:
        for each in commands:
            if isinstance(each, SetAcPower):
                self._ac_w = each.power_w
            self._watch.command(each, self._time.now)
            Session._command(self, each)

    patch.setattr(session.VehicleSession, "_command", command)
    patch.setattr(watch.Watch, "look", lambda self, now, **_: "")


@case(draws_on, "ac")
async def _nothing_is_drawn_while_schedules_are_exchanged(found: VehicleRig) -> None:
    await found.charge()

    def ongoing(request: Any, response: Any) -> Any:
        if type(request).__name__ == "ScheduleExchangeReq":
            return replace(response, evse_processing=Processing.Ongoing)
        return response

    found.station.twist = ongoing
    found.station.notices.append(EvseNotification.ScheduleRenegotiation)
    await found.asked("ScheduleExchangeReq", times=3)
    await found.off(1.0, joined=True)
    await found.stays_off(50.0, joined=True)
    await found.until(found.running.done, 12.0)
    await found.stays_off(1.0)


# -- state C ----------------------------------------------------------------------------------------------------------


def shows_c_first(patch: pytest.MonkeyPatch) -> None:
    known = energy.begin

    def begin(plan: Any, context: Any) -> Step:
        step = known(plan, context)
        return replace(step, commands=(*step.commands, *step.then), then=())

    patch.setattr(energy, "begin", begin)


@case(shows_c_first, "ac")
async def _state_c_is_not_shown_before_it_is_asked_for(found: VehicleRig) -> None:
    """V2G20-1617."""
    await found.until(lambda: found.shows_c or found.running.done(), 10.0)
    assert found.station.saw_c_after in (None, "PowerDeliveryReq")


# -- voltage that nobody asked for ------------------------------------------------------------------------------------


@case(looks_at_nothing, "dc", "ac")
async def _voltage_before_anything_was_asked_for(found: VehicleRig) -> None:
    found.station.delays["AuthorizationReq"] = 1.4
    await found.asked("AuthorizationReq")
    found.station.force = (400_000, 0)
    found.station.act()
    await found.until(found.running.done, 2.5)
    await found.never_joined(5.0)


# -- what held before: here by the monitor alone ----------------------------------------------------------------------


def waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    known = session.VehicleSession._arm
    patch.setattr(
        session.VehicleSession,
        "_arm",
        lambda self, name, seconds: None if name == "message" else known(self, name, seconds),
    )


@case(waits_for_ever, "dc", "ac")
async def _a_charger_that_does_not_answer(found: VehicleRig) -> None:
    await found.charge()
    found.station.twist = lambda request, response: None
    await found.off(1.5)


def does_not_listen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "stop", lambda stage, context, ending: Step(stage=stage, wait=0.1))
    patch.setattr(session, "stop", lambda stage, context, ending: Step(stage=stage, wait=0.1))


@case(does_not_listen)
async def _a_notice_holds_although_it_is_withdrawn(found: VehicleRig) -> None:
    await found.charge()
    found.station.notices.append(EvseNotification.Terminate)
    await found.off(6.0, joined=True)
    await found.stays_off(5.0, joined=True)
    await found.off(11.0)


def is_deaf_beside_the_loop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session, "wanted_end", lambda status, choice: None)


@case(is_deaf_beside_the_loop, "dc", "ac")
async def _the_end_may_come_with_the_start(found: VehicleRig) -> None:
    """PowerDeliveryRes carries an EVSEStatus, too, and nobody repeats it."""
    found.station.notices.append(EvseNotification.Terminate)
    await found.asked("PowerDeliveryReq")
    await asyncio.sleep(0.5)
    await found.off(5.6, joined=True)
    await found.stays_off(5.0, joined=True)


@case(does_not_listen)
async def _a_driver_who_wants_to_stop_is_heard(found: VehicleRig) -> None:
    await found.charge()
    found.tell(StopRequested("driver"))
    await found.off(6.0, joined=True)
    await found.stays_off(5.0, joined=True)


def duty_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BasicVehicle, "_take_duty", lambda self, reading: None)


@case(duty_is_ignored, "basic")
async def _less_by_the_pilot_is_less(found: VehicleRig) -> None:
    await found.charge()
    found.station.pilot.set_duty(10.0)
    await found.until(lambda: 0 < found.power_w <= 6 * 3 * 230, 1.0)


@case(duty_is_ignored, "basic")
async def _nothing_by_the_pilot_is_nothing(found: VehicleRig) -> None:
    await found.charge()
    found.station.pilot.set_duty(None)
    await found.off(1.0, joined=True)
    await found.off(6.5)


@pytest.mark.some(2)
@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
@pytest.mark.parametrize("how", ["corrected", "monitored", "neither"])
def test_no_way_for_a_vehicle_to_bear_it(each: Case, how: str) -> None:
    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            if how != "corrected":
                each.undo(patch)
            async with vehicle_rig(each.kind, guarded=how == "monitored", **each.made) as found:
                found.patch = patch
                await each.scenario(found)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        if how == "neither":
            with pytest.raises(AssertionError):
                runner.run(run())
        else:
            runner.run(run())


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp", "basic"])
@simulated
async def test_a_sound_vehicle_gives_the_monitor_nothing_to_say(kind: Kind) -> None:
    async with vehicle_rig(kind) as found:
        await found.charge()
        await asyncio.sleep(30.0)
        assert found.power_w > 5_000
        found.tell(StopRequested("driver"))
        await found.until(found.running.done, 10.0)
        await found.stays_off(10.0)
        assert found.named("safety") == []
        assert await found.running == "finished"


@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp"])
@simulated
async def test_a_loop_that_hangs_is_cut_off_by_the_watchdog(kind: Kind) -> None:
    """Here nobody feeds the watchdog because no time passes; nothing else runs either."""
    async with vehicle_rig(kind) as found:
        await found.charge()
        for _ in range(20):
            found.watchdog.check()
        await asyncio.sleep(0)  # what was sent to the wires arrives
        await asyncio.sleep(0)
        assert not found.joined
        assert not found.shows_c
        await found.until(found.running.done, 1.0)
        assert next(each.data for each in found.named("safety", "opened")) == {"reason": "hung"}
        assert await found.running == "program_hung"
        await found.stays_off(10.0)


@pytest.mark.parametrize("state", ["DC_CableCheckReq", "DC_PreChargeReq", "DC_ChargeLoopReq"])
@simulated
async def test_contacts_that_open_for_a_moment_end_the_session(state: str) -> None:
    """Before the contactor was closed nobody was notified of it, and power came after it, with the pilot in state B."""
    async with vehicle_rig("acdp") as found:
        await found.asked(state)
        await asyncio.sleep(0.05)
        device = found.station.responses.pantograph
        assert device is not None
        device.move(connected=False)
        await asyncio.sleep(0.1)
        device.move(connected=True)
        found.station.act()
        await found.until(found.running.done, 0.5)
        assert await found.running == "unplugged"
        await found.stays_off(10.0)
