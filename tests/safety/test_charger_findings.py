"""Ways in which an independent audit had let power flow on at the charger.

Each is tried three times, in simulated time: with what corrects it and without the safety monitor; with the correction
taken out, where the monitor alone has to catch it; and with neither, where the scenario has to fail, as it did.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.hardware import ac, dc
from secc.hardware.config import Kind
from secc.session import delivery, ports, power
from secc.session.d20 import ac as d20_ac
from secc.session.d20 import loop, renegotiation, session, stages, wpt
from secc.session.session import ChargerSession
from secc.session.stages import Planned
from tests.safety.charger_findings import Undo, any_voltage_matches, forgets_stops, keeps_power, silence_is_borne
from tests.safety.judged.rig import ENERGY_W, Rig, rig
from tests.secc.session.bench import DC, number
from tests.virtual_time import VirtualLoop
from v2g.energy import discharge_gate
from v2g.energy.limits import OPERATOR, GridResponse, Limit, Setpoint
from v2g.hardware import interlock
from v2g.hardware.simulation import StageModel
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType, frame

Scenario = Callable[[Rig], Coroutine[Any, Any, None]]

AC_S = 6.5
"""A vehicle on alternating current has 5 s to follow, and is cut off then."""

LIMITS = Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=2)


class Case:
    """What happens, at which kind of charger, and how the correction is taken out."""

    def __init__(self, name: str, kind: Kind, scenario: Scenario, undo: Undo) -> None:
        self.name, self.kind, self.scenario, self.undo = name, kind, scenario, undo


CASES: list[Case] = []


def case(undo: Undo, *kinds: Kind) -> Callable[[Scenario], Scenario]:
    """Note a scenario."""

    def note(scenario: Scenario) -> Scenario:
        name = scenario.__name__.removeprefix("_").replace("_", "-")
        CASES.extend(Case(f"{name}-{kind}", kind, scenario, undo) for kind in kinds or ("dc",))
        return scenario

    return note


async def stop_with(found: Rig, how: str) -> Any:
    return await found.say("SessionStopReq", charging_session=cm.ChargingSession[how])


# -- 1: SessionStop(ServiceRenegotiation) under power (V2G20-1477, -2188) ---------------------------------------------


@case(keeps_power, "dc", "ac", "wpt", "acdp")
async def _services_anew_under_power(found: Rig) -> None:
    await found.charge()
    await stop_with(found, "ServiceRenegotiation")
    await found.off(1.0)
    for _ in range(5):
        await found.say("ServiceDiscoveryReq")
        await found.stays_off(1.0)


@case(keeps_power)
async def _services_anew_with_pre_charge_voltage(found: Rig) -> None:
    await found.to(State.DC_PRE_CHARGE_ONGOING)
    assert found.car.live
    await stop_with(found, "ServiceRenegotiation")
    await found.off(2.0)
    await found.stays_off(5.0)


@case(keeps_power, "wpt")
async def _services_anew_out_of_the_alignment(found: Rig) -> None:
    await found.to(State.POWER_DELIVERY)
    assert found.car.live
    await stop_with(found, "ServiceRenegotiation")
    await found.off(1.0)
    await found.stays_off(5.0)


# -- 2: a stop that is forgotten --------------------------------------------------------------------------------------


@case(forgets_stops, "dc", "ac", "wpt")
async def _no_power_once_a_stop_is_pending(found: Rig) -> None:
    await found.charge()
    found.tell(ports.StopRequested("deauthorized"))
    await found.off(AC_S if found.kind == "ac" else 0.5, live=True, looping=True)
    await found.stays_off(10.0, live=True, looping=True)


@case(forgets_stops)
async def _a_stop_is_not_undone_by_other_services(found: Rig) -> None:
    await found.charge()
    found.tell(ports.StopRequested("deauthorized"))
    await found.deliver("Stop")
    found.car.switch(closed=False)
    response = await stop_with(found, "ServiceRenegotiation")
    if response.response_code.name == "OK":
        await ask_through(found, "ServiceDiscoveryReq")
    await found.stays_off(2.0, live=True)


@case(forgets_stops)
async def _a_stop_is_not_undone_by_a_pause(found: Rig) -> None:
    await found.charge()
    found.tell(ports.StopRequested("energy_limit"))
    await found.deliver("Stop")
    found.car.switch(closed=False)
    response = await stop_with(found, "Pause")
    if response.response_code.name == "OK":
        kept = next(each.paused for each in found.commanded if isinstance(each, ports.SaveSession))
        found.runner.abort("gone")
        await asyncio.sleep(1.0)
        session_id = found.session.session_id
        found.connect(paused=kept)
        await found.say("SupportedAppProtocolReq")
        await found.say("SessionSetupReq", header=found.header(session_id=session_id))
        await ask_through(found, "DC_ChargeParameterDiscoveryReq")
    await found.stays_off(2.0, live=True)


async def ask_through(found: Rig, first: str) -> None:
    """Ask for everything from a request on, to the loop and power, whatever is answered."""
    ways = (
        "ServiceDiscoveryReq",
        "ServiceDetailReq",
        "ServiceSelectionReq",
        "DC_ChargeParameterDiscoveryReq",
        "ScheduleExchangeReq",
        "DC_CableCheckReq",
        "DC_PreChargeReq",
        "PowerDeliveryReq",
    )
    for name in ways[ways.index(first) :]:
        await found.step(name)
    for _ in range(20):
        await found.go_on(0.5)
        assert abs(found.car.power_w) < 600, found.car.power_w


# -- 3: a welded contactor that nobody notices ------------------------------------------------------------------------


def overlooks_welds(patch: pytest.MonkeyPatch) -> None:
    known = interlock.Interlock._raise
    patch.setattr(
        interlock.Interlock, "_raise", lambda self, word: None if word == "contactor_welded" else known(self, word)
    )
    reported = interlock.Interlock.fault

    def fault(self: Any, word: str, now: float, *, active: bool = True) -> None:
        if word == "contactor_welded" and active:
            self._faults[word] = None  # only the safety monitor can have said so
        else:
            reported(self, word, now, active=active)

    patch.setattr(interlock.Interlock, "fault", fault)


@case(overlooks_welds, "ac")
async def _a_weld_while_the_vehicle_interrupts(found: Rig) -> None:
    await found.charge()
    found.faults.set("weld")
    found.car.pilot.set_state(PilotState.B)
    await asyncio.sleep(1.0)
    assert "contactor_welded" in found.evse.faults
    found.car.pilot.set_state(PilotState.C)
    await asyncio.sleep(1.0)
    assert not found.evse.interlock.commanded


@case(overlooks_welds, "dc", "ac", "wpt")
async def _a_contactor_that_is_closed_when_nobody_has_asked(found: Rig) -> None:
    found.faults.set("stuck_closed")
    await asyncio.sleep(1.0)
    assert "contactor_welded" in found.evse.faults


@case(overlooks_welds)
async def _a_weld_at_an_emergency_off(found: Rig) -> None:
    await found.charge()
    found.faults.set("weld")
    found.runner.abort("link_lost")
    await found.off(0.5, live=True)
    await asyncio.sleep(1.0)
    assert "contactor_welded" in found.evse.faults


# -- 4: a slow disk ---------------------------------------------------------------------------------------------------


def queues_survive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ports.EmergencyOff, "supersedes", lambda self, earlier: False)


@case(queues_survive)
async def _what_waits_for_the_disk_brings_no_voltage_after_an_emergency_off(found: Rig) -> None:
    await found.to(State.DC_CABLE_CHECK)
    found.car.pilot.set_state(PilotState.C)
    await asyncio.sleep(0.1)
    found.disk_s = 4.0
    found.tell(ports.GridChanged((replace(LIMITS, discharge_w=9_000),)))
    found.post_bytes(found.ask("DC_CableCheckReq"))
    await asyncio.sleep(0.5)
    found.runner.abort("link_lost")
    await found.stays_off(15.0)


def lowering_waits(patch: pytest.MonkeyPatch) -> None:
    from secc.session.ports import DrivesPower

    patch.setattr(DrivesPower, "overtakes", None)


@case(lowering_waits, "dc", "wpt")
async def _a_lower_limit_does_not_wait_for_the_disk(found: Rig) -> None:
    await found.charge()
    found.disk_s = 9.0
    found.tell(ports.GridChanged((replace(LIMITS, discharge_w=9_000),)))
    found.tell(ports.GridChanged((), replace(found.tariff, version=2)))
    await asyncio.sleep(0.1)
    found.tell(ports.GridChanged((replace(LIMITS, charge_w=0, discharge_w=0, version=3),)))
    await found.off(0.5, live=True)


# -- 5: flow that does not follow what was commanded ------------------------------------------------------------------


def flow_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dc.DcEvse, "_watch_current", lambda self: None)


@case(flow_is_not_compared)
async def _more_power_than_the_limit(found: Rig) -> None:
    await found.charge()
    runaway(found, 60_000)
    found.tell(ports.GridChanged((replace(LIMITS, charge_w=1_000),)))
    await found.off(1.6, looping=True)


@case(flow_is_not_compared)
async def _a_stage_that_goes_on_in_a_trip_of_the_grid(found: Rig) -> None:
    """With direct current the stage ends it; the contactor opens only if it does not."""
    await found.charge()
    runaway(found, 60_000)
    found.tell(ports.GridResponseChanged(GridResponse(0, 0, 0, trip=True)))
    await found.off(1.6, looping=True)


@case(flow_is_not_compared)
async def _energy_comes_back_where_none_may(found: Rig) -> None:
    found.selection = (DC, 0, False)
    await found.charge()
    runaway(found, -60_000)
    await found.off(1.6, looping=True)


def runaway(found: Rig, current_ma: int) -> None:
    """Let the power stage drive this current, whatever is commanded, until the contactor opens."""
    found.faults.set("stage_strays", value=current_ma / 1000)


# -- 6: wireless ------------------------------------------------------------------------------------------------------


def aligns_without_limits(patch: pytest.MonkeyPatch) -> None:
    def aligned(stage: Planned, context: Any) -> Any:
        if stage.coil_asked_ma == stage.coil_ma:
            return stage, ()
        check = ports.CheckAlignment(stage.coil_asked_ma, 50_000)
        return replace(stage, coil_ma=stage.coil_asked_ma, coil_w=50_000), (check,)

    patch.setattr(wpt, "aligned", aligned)


@case(aligns_without_limits, "wpt")
async def _alignment_obeys_the_limits(found: Rig) -> None:
    found.tell(ports.GridChanged((replace(LIMITS, charge_w=0),)))
    await found.to(State.WPT_ALIGNMENT_CHECK)
    await found.say("WPT_AlignmentCheckReq", target_coil_current=number(75))
    await found.stays_off(2.0, live=True)


@case(aligns_without_limits, "wpt")
async def _a_vehicle_does_not_choose_the_power_of_its_alignment(found: Rig) -> None:
    await found.to(State.WPT_ALIGNMENT_CHECK)
    await found.say("WPT_AlignmentCheckReq", target_coil_current=number(75))
    assert found.car.power_w <= found.config.wpt.alignment_power_w


def leaves_the_coil_on(patch: pytest.MonkeyPatch) -> None:
    known = delivery.stop

    def old(stage: Any, context: Any, respond: Any) -> Any:
        return known(stage, replace(context, powered=False) if isinstance(stage, Planned) else context, respond)

    patch.setattr(delivery, "stop", old)


def sends_more_than_is_asked_for(patch: pytest.MonkeyPatch) -> None:
    known = power.choose_output
    patch.setattr(power, "choose_output", lambda stage, context: known(replace(stage, asked_w=50_000), context))


@case(sends_more_than_is_asked_for, "wpt")
async def _a_vehicle_in_the_field_gets_no_more_than_it_asks_for(found: Rig) -> None:
    await found.charge()
    for each in range(20):
        await found.say("WPT_ChargeLoopReq", evpc_power_request=number(0))
        assert each < 6 or found.car.power_w < 600
        await asyncio.sleep(0.1)


@case(leaves_the_coil_on, "wpt")
async def _a_stop_after_the_alignment_takes_the_field_away(found: Rig) -> None:
    await found.to(State.POWER_DELIVERY)
    assert found.car.live
    await found.deliver("Stop")
    await found.off(4.5)
    await found.stays_off(10.0)


# -- 6b: time, dips and the grid ---------------------------------------------------------------------------------------


def a_dip_starts_again(patch: pytest.MonkeyPatch) -> None:
    """Take what adds up out of session and hardware: the monitor has its own."""
    patch.setattr(dc.DcEvse, "_watch_current", lambda self: None)
    patch.setattr(ac.AcEvse, "_watch_output", lambda self: None)
    patch.setattr(power, "overdraw", lambda stage, context: (stage, 0, ""))
    patch.setattr(d20_ac, "overdraw", lambda stage, context: (stage, 0, ""))


async def in_turns(found: Rig, wrong: Callable[[], None], right: Callable[[], None], on_s: float, off_s: float) -> None:
    """Let something be wrong and right in turns, with loops all the while, until the charger has opened."""
    began = found.now
    while found.car.live:
        for what, seconds in ((wrong, on_s), (right, off_s)):
            what()
            end = found.now + seconds
            while found.now < end and found.car.live:
                await found.go_on(min(0.1, end - found.now))
        assert found.now - began < 30.0


@case(a_dip_starts_again, "ac")
async def _a_vehicle_that_draws_at_a_limit_of_nothing_is_cut_off_whatever_its_dips(found: Rig) -> None:
    await found.charge()
    assert found.car.ac is not None
    line, model = found.car.ac, type(found.car.ac)
    found.tell(ports.GridChanged((replace(LIMITS, charge_w=0, discharge_w=0),)))
    drive = model.drive
    found.patch.setattr(model, "drive", lambda self, watts: None)  # it obeys nobody
    await in_turns(found, lambda: drive(line, 22_000), lambda: drive(line, 0), 4.5, 0.3)


@case(a_dip_starts_again)
async def _a_stage_that_feeds_back_where_none_may_is_cut_off_whatever_its_dips(found: Rig) -> None:
    found.selection = (DC, 0, False)
    await found.charge()
    await in_turns(found, lambda: runaway(found, -60_000), lambda: runaway(found, 0), 0.9, 0.1)


def the_vehicle_is_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ChargerSession, "_hold", lambda self: None)


@case(the_vehicle_is_asked, "ac")
async def _a_trip_of_the_grid_does_not_wait_for_the_vehicle(found: Rig) -> None:
    await found.charge()
    assert found.car.ac is not None
    model, drive = type(found.car.ac), type(found.car.ac).drive
    found.patch.setattr(model, "drive", lambda self, watts: None)
    drive(found.car.ac, 6_000)
    found.tell(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    await found.off(0.6, looping=True)


def closes_in_a_trip(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "tripped", lambda context: False)
    the_vehicle_is_asked(patch)


@case(closes_in_a_trip, "ac")
async def _no_session_closes_its_contactor_in_a_trip_of_the_grid(found: Rig) -> None:
    found.tell(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    with contextlib.suppress(AssertionError):  # the monitor ends the session
        await found.to(State.AC_CHARGE_LOOP)
    await found.stays_off(3.0, looping=True)


def ignores_setpoints(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(power, "towards", lambda setpoint, powers: powers)


@case(ignores_setpoints, "dc", "acdp")
async def _no_more_flows_than_a_set_point(found: Rig) -> None:
    await found.charge()
    for version, watts in enumerate((4_000, 0), 2):
        found.tell(ports.SetpointChanged(Setpoint(power_w=watts, source="csms", version=version)))
        await found.go_on(1.5)
        assert abs(found.car.power_w - watts) <= ENERGY_W, found.car.power_w


# -- 7: the rest of the loop ------------------------------------------------------------------------------------------


@case(silence_is_borne, "dc", "wpt", "acdp")
async def _no_power_without_a_loop_while_schedules_are_exchanged(found: Rig) -> None:
    await found.charge()
    await found.deliver("ScheduleRenegotiation")
    await found.say("ScheduleExchangeReq")
    await asyncio.sleep(1.5)
    await found.off(0.1, live=True)
    assert found.session.state is State.POWER_DELIVERY_RENEGOTIATED


def takes_old_limits(patch: pytest.MonkeyPatch) -> None:
    known = renegotiation.power_delivery

    def old(request: Any, stage: Any, context: Any) -> Any:
        planned = getattr(stage, "beside", None)
        if planned is not None:
            parametrised = replace(stage.planned.parametrised, vehicle=planned.parametrised.vehicle)
            stage = replace(stage, planned=replace(stage.planned, parametrised=parametrised))
        return known(request, stage, context)

    handlers = {name: dict(each) for name, each in stages.SIDE_HANDLERS.items()}
    handlers[PayloadType.SCHEDULE_RENEGOTIATION]["PowerDeliveryReq"] = old
    patch.setattr(stages, "SIDE_HANDLERS", handlers)


@case(takes_old_limits)
async def _a_side_stream_brings_no_older_limit_of_the_vehicle_back(found: Rig) -> None:
    await found.charge()
    low = {"ev_maximum_charge_power": number(2_000)}
    await found.say("DC_ChargeLoopReq", cl_req_control_mode=found.loop_mode(**low))
    stream = PayloadType.SCHEDULE_RENEGOTIATION
    await found.say("DC_ChargeParameterDiscoveryReq", stream=stream)
    await found.say("ScheduleExchangeReq", stream=stream)
    await found.say("PowerDeliveryReq", stream=stream)
    await asyncio.sleep(0.4)
    assert found.car.power_w <= 2_100, found.car.power_w


def standby_is_left_by_accident(patch: pytest.MonkeyPatch) -> None:
    known = renegotiation.continued
    patch.setattr(
        renegotiation,
        "continued",
        lambda stage, context, error: known(replace(stage, standby=False), context, error),
    )


@case(standby_is_left_by_accident, "dc", "ac")
async def _a_failed_renegotiation_does_not_end_standby(found: Rig) -> None:
    await found.charge()
    await found.deliver("Standby")
    await found.off(AC_S, live=True, looping=True)
    await found.deliver("ScheduleRenegotiation")
    mode = found.ask("ScheduleExchangeReq").dynamic_se_req_control_mode
    response = await found.say(
        "ScheduleExchangeReq", dynamic_se_req_control_mode=replace(mode, minimum_soc=90, target_soc=20)
    )
    assert response.response_code.name == "WARNING_ScheduleRenegotiationFailed"
    await found.go_on(AC_S if found.kind == "ac" else 1.0)
    await found.stays_off(5.0, live=True, looping=True)


def voltage_is_not_bounded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.SeccSession, "_bound_voltage", lambda self: None)


@case(voltage_is_not_bounded)
async def _pre_charge_voltage_does_not_stay(found: Rig) -> None:
    await found.to(State.POWER_DELIVERY)
    await asyncio.sleep(0.5)
    assert found.car.live
    began = found.now
    while found.now - began < 160 and not found.running.done():
        await found.deliver("Standby")
        await asyncio.sleep(5.0)
    await found.off(1.0)


@case(any_voltage_matches)
async def _nothing_starts_at_a_voltage_that_was_not_reached(found: Rig) -> None:
    """V2G20-2005."""
    await found.to(State.DC_PRE_CHARGE)
    found.patch.setattr(
        StageModel, "_ramp_voltage", lambda self, seconds, target_mv: setattr(self, "_voltage_mv", 5_000.0)
    )
    await found.say("DC_PreChargeReq", ev_processing=Processing.Ongoing)
    await found.deliver("Start")
    await asyncio.sleep(1.5)
    assert not found.evse.contactors_closed


@case(any_voltage_matches)
async def _a_target_of_no_volts_is_never_reached(found: Rig) -> None:
    await found.to(State.DC_PRE_CHARGE)
    await found.say("DC_PreChargeReq", ev_target_voltage=number(0))
    await found.deliver("Start")
    await asyncio.sleep(1.5)
    assert not found.evse.contactors_closed


def voltage_is_not_watched(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.SeccSession, "_watch_voltage", lambda self: None)


@case(voltage_is_not_watched, "dc", "acdp")
async def _more_voltage_than_the_vehicle_bears_does_not_stay(found: Rig) -> None:
    """IEC 61851-23 CC.6.2: 400 ms; a battery of 400 V holds the output up when the vehicle lowers its limit."""
    await found.charge()
    await found.say("DC_ChargeLoopReq", cl_req_control_mode=found.loop_mode(ev_maximum_voltage=number(390)))
    await found.off(0.75)
    await found.stays_off(2.0)


def readiness_is_ignored(patch: pytest.MonkeyPatch) -> None:
    known = session.SeccSession.request_context
    patch.setattr(
        session.SeccSession, "request_context", lambda self, *, waited: replace(known(self, waited=waited), ready=True)
    )


@case(readiness_is_ignored, "acdp")
async def _a_vehicle_that_is_not_ready_gets_no_power(found: Rig) -> None:
    await found.charge()
    status = replace(found.ask("ACDP_SystemStatusReq").ev_technical_status, ev_ready_to_charge=False)
    await found.say("ACDP_SystemStatusReq", stream=PayloadType.ACDP_SYSTEM_STATUS, ev_technical_status=status)
    await found.off(0.5, live=True)
    await found.stays_off(3.0, live=True, looping=True)


def needs_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "needed", lambda mode: {})


@case(needs_are_ignored)
async def _a_full_vehicle_is_not_charged(found: Rig) -> None:
    await found.charge()
    full = found.loop_mode(ev_maximum_energy_request=number(0), ev_target_energy_request=number(0))
    await found.say("DC_ChargeLoopReq", cl_req_control_mode=full)
    await found.off(0.5, live=True)


@case(needs_are_ignored)
async def _a_vehicle_below_its_least_energy_gives_none_back(found: Rig) -> None:
    await found.charge()
    await found.signed_offer(8_000)
    await found.go_on(1.0)
    assert found.car.power_w < -5_000
    lacks = found.loop_mode(ev_minimum_energy_request=number(5_000))
    await found.say("DC_ChargeLoopReq", cl_req_control_mode=lacks)
    await asyncio.sleep(0.4)
    assert found.car.power_w > -600


# -- limits and signatures, which held before: here by the monitor alone ----------------------------------------------


def limits_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session.SeccSession, "_take_demand", lambda self, fact: None)


@case(limits_are_ignored, "dc", "wpt")
async def _a_limit_of_nothing_is_obeyed(found: Rig) -> None:
    await found.charge()
    found.tell(ports.GridChanged((replace(LIMITS, charge_w=0, discharge_w=0),)))
    await found.off(0.5, live=True)


def signatures_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        power,
        "permitted",
        lambda _selected, vehicle, context: replace(context.station, discharge_w=vehicle.max_discharge_w),
    )


@case(signatures_are_ignored)
async def _nothing_leaves_the_vehicle_without_a_live_command(found: Rig) -> None:
    await found.to(State.DC_CHARGE_LOOP)
    await asyncio.sleep(0.2)
    assert found.car.power_w > -600
    await found.go_on(2.0)
    assert found.car.power_w > -600


def the_newest_word_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(discharge_gate.DischargeGate, "_lower", lambda self, command: None)


@case(the_newest_word_is_ignored)
async def _a_vehicle_that_asks_for_less_while_an_offer_is_on_its_way_gives_no_more(found: Rig) -> None:
    await found.charge()
    await found.signed_offer(9_000)
    await found.go_on(1.0)
    assert found.car.power_w < -8_000
    assert found.discharge is not None
    found.tell(ports.GridChanged((), replace(found.tariff, version=found.tariff.version + 1)))
    command = found.discharge.command(4_000, found.utc_ms)
    found.pipe.incoming.put_nowait(frame(PayloadType.SIGNED_DISCHARGE, command))
    await found.go_on(1.0)
    assert found.named("offer", "command_rejected")
    assert -4_550 < found.car.power_w < -3_000


@pytest.mark.some(19)
@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
@pytest.mark.parametrize("how", ["corrected", "monitored", "neither"])
def test_no_way_for_power_to_flow_on(pki: PkiTree, tmp_path: Path, each: Case, how: str) -> None:
    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            if how != "corrected":
                each.undo(patch)
            async with rig(pki, tmp_path, each.kind, guarded=how == "monitored") as found:
                found.patch = patch
                await each.scenario(found)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        if how == "neither":
            with pytest.raises(AssertionError):
                runner.run(run())
        else:
            runner.run(run())
