"""What an EVSE does with each command, part and report, whatever its kind of current, each by itself."""

import asyncio
from typing import Any

import msgspec
import pytest

from secc.hardware.evse import WatchConfig
from secc.session import ports
from secc.session.ports import MeterRead
from tests.secc.hardware.bare import at
from tests.secc.hardware.plain import Place, Service, made
from v2g.errors import StoreError
from v2g.iec61851.pilot import STANDARD, PilotState
from v2g.iec61851.proximity import Proximity

OPEN, CLOSED = ports.ContactorState(closed=False), ports.ContactorState(closed=True)
ENDED = ports.TransactionEnded("0011223344556677", "ended", "Local", None)
SAVED = ports.SaveSession(None)  # type: ignore[arg-type]


# -- who receives what


@at(made)
async def test_a_new_listener_receives_the_present_values_and_what_stops_energy(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    reading = ports.MeterRead(0, 0, 0)
    assert place.facts == [ports.Measured(0, 0), reading]
    place.evse.fault("fan_failed", active=True)
    place.evse.fault("stage_tripped", active=True)
    later: list[Any] = []
    place.evse.subscribe(later.append)
    assert later == [ports.Measured(0, 0), reading, ports.HardwareFault("stage_tripped")]


@at(made)
async def test_who_leaves_receives_no_more_and_others_do(place: Place) -> None:
    other: list[Any] = []
    leave = place.evse.subscribe(other.append)
    place.evse.subscribe(place.facts.append)
    leave()
    other.clear()
    place.evse.fault("stage_tripped", active=True)
    assert (other, place.facts[-1]) == ([], ports.HardwareFault("stage_tripped"))


@at(made)
async def test_a_fault_is_reported_once_to_everybody_and_its_end_to_listeners_of_faults(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    for active in (False, True, True, False, False):
        place.evse.fault("stage_tripped", active)
    place.evse.fault("fan_failed", active=True)
    assert place.received == [("stage_tripped", True), ("stage_tripped", False), ("fan_failed", True)]
    assert place.faults == ["stage_tripped"]
    assert place.evse.faults == ("fan_failed",)


@at(made)
async def test_what_a_listener_does_reaches_others_in_its_order(place: Place) -> None:
    received: list[str] = []
    place.evse.on_fault(lambda word, active: place.evse.fault("fan_failed", active))
    place.evse.on_fault(lambda word, active: received.append(word))
    place.evse.fault("stage_tripped", active=True)
    assert received == ["stage_tripped", "fan_failed"]


@at(Place)
async def test_faults_of_cabinet_and_meter_are_its_own(place: Place) -> None:
    said: list[Any] = []
    place.meter.on_fault = said.append  # type: ignore[method-assign]
    place.make()
    place.cabinet.faults[0]("emergency_stop", True)  # noqa: FBT003
    said[0]("meter_lost", True)  # noqa: FBT003
    assert place.evse.faults == ("emergency_stop", "meter_lost")


@at(Place)
async def test_faults_for_a_person_are_kept_and_known_from_the_beginning(place: Place) -> None:
    service = place.parts.service = Service("contactor_welded")
    place.make()
    assert place.evse.faults == ("contactor_welded",)
    place.evse.fault("meter_jump", active=True)
    place.evse.fault("stage_tripped", active=True)
    place.evse.fault("meter_jump", active=False)
    assert service.kept == ["meter_jump"]
    assert place.evse.faults == ("contactor_welded", "meter_jump", "stage_tripped")


@at(made)
async def test_without_somewhere_to_keep_them_such_faults_stand_all_the_same(place: Place) -> None:
    place.evse.fault("meter_jump", active=True)
    assert place.evse.faults == ("meter_jump",)


@at(made)
async def test_the_lamp_shows_each_change_and_its_listeners_hear_it(place: Place) -> None:
    assert (place.evse.light, place.cabinet.lights) == ("available", ["available"])
    place.evse.fault("stage_tripped", active=True)
    place.evse.fault("stage_tripped", active=False)
    assert place.evse.light == "available"
    assert place.cabinet.lights[-2:] == place.lights[-2:] == ["red", "available"]


# -- commands


@at(made)
async def test_a_contactor_closes_for_an_authorised_session_only(place: Place) -> None:
    assert place.evse.blocked == "not_authorised"
    assert await place.do(ports.CloseContactors()) == OPEN
    await place.authorise()
    assert place.evse.blocked == ""
    assert await place.do(ports.CloseContactors()) == CLOSED
    assert (place.switch.closed, place.evse.contactors_closed) == (True, True)
    for ended in (SAVED, ENDED):
        place.evse.execute(ended)
        assert (place.evse.contactors_closed, place.evse.blocked) == (False, "not_authorised")
        place.evse.execute(ports.JoinSession("0011223344556677"))
        assert await place.do(ports.CloseContactors()) == CLOSED


@at(made, Place.connect)
async def test_an_emergency_off_switches_off_and_opens(place: Place) -> None:
    assert place.evse.switched_off == 0
    assert place.evse.execute(ports.EmergencyOff("test")) is None
    assert place.evse.switched_off >= 1
    assert not place.evse.contactors_closed
    before = place.evse.switched_off
    place.evse.execute(ports.EmergencyOff("test"))  # with an open contactor, too
    assert place.evse.switched_off > before


@at(made, Place.connect)
async def test_an_emergency_off_opens_although_a_part_cannot_be_switched_off(place: Place) -> None:
    place.evse.breaks_off = RuntimeError()
    with pytest.raises(RuntimeError):
        place.evse.execute(ports.EmergencyOff("test"))
    assert not place.evse.contactors_closed
    assert place.evse.faults == ("charger_failed",)


@at(made)
async def test_limits_are_passed_on_and_other_commands_are_not_its_own(place: Place) -> None:
    limit = ports.SetOutput(1, 2, 3, 4)
    place.evse.execute(ports.LowerOutput(limit))
    assert place.evse.execute(ports.AuthorizeExternally(1)) is None
    assert place.evse.limits == [limit]


@at(made)
async def test_without_support_reactive_power_is_none(place: Place) -> None:
    place.evse.react(5)
    assert (place.evse.max_var, place.evse.var, place.evse.lines) == (0, 0, ())


@at(made, report_s=0.1)
async def test_ventilation_is_switched_by_command_and_lasts(place: Place) -> None:
    place.evse.execute(ports.Ventilate(on=True))
    assert place.cabinet.fans == [100]
    await asyncio.sleep(0.15)
    assert place.cabinet.fans == [100, 100]
    place.evse.execute(ports.Ventilate(on=False))
    await asyncio.sleep(0.1)
    assert place.cabinet.fans == [100, 100, 0, 0]


# -- closing and opening


@at(made, Place.connect)
async def test_a_contactor_that_is_about_to_open_is_closed_when_it_has(place: Place) -> None:
    place.switch.delay_s = 0.05
    place.evse.execute(ports.EmergencyOff("test"))
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.01)
    assert place.evse.contactors_closed
    assert await closing == CLOSED
    assert place.now == pytest.approx(0.1, abs=0.001)


@at(made, Place.connect)
async def test_a_contactor_that_is_about_to_open_and_never_does_is_not_closed(place: Place) -> None:
    place.switch.delay_s = 30.0
    place.evse.execute(ports.EmergencyOff("test"))
    assert await place.do(ports.CloseContactors()) == OPEN
    assert place.now == pytest.approx(STANDARD.contactor_open_s, abs=0.001)
    assert place.evse.faults == ("contactor_welded",)


@at(made, Place.connect)
async def test_an_off_while_it_waits_leaves_the_contactor_open(place: Place) -> None:
    place.switch.delay_s = 0.05
    place.evse.execute(ports.EmergencyOff("test"))
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.01)
    place.evse.execute(ports.EmergencyOff("test"))
    assert await closing == OPEN
    await asyncio.sleep(1.0)
    assert not place.evse.contactors_closed


@pytest.mark.parametrize(("seconds", "faults"), [(1.9, []), (2.1, ["contactor_stuck_open"])])
@at(made, watch=WatchConfig(contactor_s=2.0))
async def test_a_contactor_has_its_time_to_close(place: Place, seconds: float, faults: list[str]) -> None:
    place.evse.subscribe(place.facts.append)
    await place.authorise()
    place.switch.delay_s = seconds
    assert await place.do(ports.CloseContactors()) == (OPEN if faults else CLOSED)
    assert place.now == pytest.approx(min(2.0, seconds), abs=0.001)
    assert place.faults == faults


@at(made)
async def test_who_closes_while_it_closes_waits_for_the_same(place: Place) -> None:
    await place.authorise()
    place.switch.delay_s = 0.5
    first = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.1)
    assert await place.do(ports.CloseContactors()) == CLOSED
    assert (await first, place.now) == (CLOSED, pytest.approx(0.5, abs=0.001))


@at(made, Place.connect)
async def test_a_closed_contactor_is_closed_at_once(place: Place) -> None:
    async with asyncio.timeout(1.0):
        assert await place.do(ports.CloseContactors()) == CLOSED


@at(made, Place.connect)
async def test_who_was_overtaken_learns_that_a_later_closing_has_not_ended(place: Place) -> None:
    place.switch.delay_s = 30.0
    place.evse.execute(ports.EmergencyOff("test"))
    overtaken = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.01)
    place.evse.execute(ports.EmergencyOff("test"))
    await asyncio.sleep(0.01)
    later = asyncio.ensure_future(place.do(ports.CloseContactors()))  # begins first
    place.switch.delay_s = 0.05
    place.switch.move(closed=False)
    assert (await overtaken, await later) == (OPEN, CLOSED)


@at(Place)
async def test_opening_switches_off_calms_down_and_reads_the_meter(place: Place) -> None:
    read: list[float] = []

    async def refresh() -> None:
        read.append(place.now)
        await asyncio.sleep(0.25)

    place.meter.refresh = refresh  # type: ignore[method-assign]
    place.make()
    await place.connect()
    place.evse.calm_s = 0.5
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(0.4)
    assert (place.evse.switched_off, place.switch.closed, read) == (1, True, [])
    await asyncio.sleep(0.2)
    assert (place.switch.closed, opening.done()) == (False, False)
    assert await opening == OPEN
    assert (read, place.now) == ([pytest.approx(0.5, abs=0.001)], pytest.approx(0.75, abs=0.001))


@at(Place)
async def test_after_an_emergency_all_is_counted_once_the_contactor_is_open_and_the_meter_read(
    place: Place,
) -> None:
    read: list[float] = []

    async def refresh() -> None:
        read.append(place.now)
        await asyncio.sleep(0.25)

    place.meter.refresh = refresh  # type: ignore[method-assign]
    place.make()
    assert place.evse.counted() is None
    await place.connect()
    place.switch.delay_s = 0.05
    place.evse.execute(ports.EmergencyOff("test"))
    counted = place.evse.counted()
    assert counted is not None
    await counted
    assert (read, place.now) == ([pytest.approx(0.05, abs=0.001)], pytest.approx(0.3, abs=0.001))
    place.evse.execute(ports.EmergencyOff("nothing flows"))
    assert place.evse.counted() is None


@at(made, Place.connect)
async def test_all_is_counted_also_where_the_contactor_had_opened_before_the_emergency(place: Place) -> None:
    """By itself, or by the board: the registers of a polled meter are those of its last poll."""
    place.switch.move(closed=False)
    place.evse.execute(ports.EmergencyOff("contactor_dropped"))
    counted = place.evse.counted()
    assert counted is not None
    await counted
    assert place.evse.counted() is None


@at(made, Place.connect)
async def test_an_opening_after_an_emergency_leaves_nothing_to_count(place: Place) -> None:
    place.evse.execute(ports.EmergencyOff("test"))
    assert await place.do(ports.OpenContactors()) == OPEN
    assert place.evse.counted() is None


@at(made, Place.connect)
async def test_energy_through_a_welded_contactor_is_counted_until_it_counts_as_welded(place: Place) -> None:
    place.switch.delay_s = 30.0
    place.evse.execute(ports.EmergencyOff("test"))
    counted = place.evse.counted()
    assert counted is not None
    await counted
    assert place.now == pytest.approx(STANDARD.contactor_open_s, abs=0.001)


@at(made, Place.connect)
async def test_a_contactor_that_stays_closed_is_waited_for_until_it_counts_as_welded(place: Place) -> None:
    place.switch.delay_s = 30.0
    assert await place.do(ports.OpenContactors()) == CLOSED
    assert place.now == pytest.approx(STANDARD.contactor_open_s, abs=0.001)


@at(made, Place.connect)
async def test_opening_has_no_result_where_the_contactor_was_closed_again(place: Place) -> None:
    place.evse.calm_s = 0.5
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(0.1)
    place.evse.execute(ports.EmergencyOff("test"))
    assert await place.do(ports.CloseContactors()) == CLOSED
    assert await opening is None
    assert place.evse.contactors_closed


@at(made, Place.connect)
async def test_a_fault_overtakes_an_opening_as_an_off_does(place: Place) -> None:
    place.evse.calm_s = 0.5
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(0.1)
    for active in (True, False):
        place.evse.fault("stage_tripped", active)
    assert await place.do(ports.CloseContactors()) == CLOSED
    assert await opening is None
    assert place.evse.contactors_closed


@at(made, Place.connect)
async def test_each_movement_is_reported_with_its_reason(place: Place) -> None:

    def moved() -> list[Any]:
        reported = [each for each in place.facts if isinstance(each, ports.ContactorState)]
        place.facts.clear()
        return reported

    assert moved() == [CLOSED]
    await place.do(ports.OpenContactors())
    assert moved() == [OPEN]
    await place.do(ports.CloseContactors())
    moved()
    place.evse.fault("stage_tripped", active=True)
    assert moved() == [msgspec.structs.replace(OPEN, why="stage_tripped")]
    place.evse.fault("stage_tripped", active=False)
    assert await place.do(ports.CloseContactors()) == CLOSED
    moved()
    place.evse.execute(ports.EmergencyOff("test"))
    assert moved() == [OPEN]


@at(made)
async def test_a_contactor_that_closes_by_itself_is_not_reported_as_closed(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    place.switch.move(closed=True)
    assert place.facts[-1] != CLOSED
    await asyncio.sleep(0.11)
    assert place.faults == ["contactor_welded"]
    place.switch.move(closed=False)
    assert place.facts[-1] == OPEN


@at(Place)
async def test_a_contactor_that_is_closed_at_the_beginning_is_welded(place: Place) -> None:
    place.switch.closed = True
    place.make()
    await asyncio.sleep(0.11)
    assert place.evse.faults == ("contactor_welded",)


@pytest.mark.parametrize(("seconds", "failed"), [(0.05, ""), (0.5, "the contactor does not open")])
@at(made, Place.connect)
async def test_each_session_ends_with_a_check_of_its_contactor(place: Place, seconds: float, failed: str) -> None:
    place.switch.delay_s = seconds
    place.evse.execute(ports.EmergencyOff("test"))
    place.evse.execute(ports.EmergencyOff("test"))
    await asyncio.sleep(1.0)
    took_ms = round(min(seconds, STANDARD.contactor_open_s) * 1000)
    assert place.log.kept == [("contactor", failed, took_ms, "0011223344556677")]


@at(made, Place.connect)
async def test_a_fault_while_a_contactor_opens_is_no_result_of_its_check(place: Place) -> None:
    place.switch.delay_s = 0.05
    place.evse.execute(ports.EmergencyOff("test"))
    place.evse.fault("stage_tripped", active=True)
    await asyncio.sleep(0.1)
    assert place.log.kept == [("contactor", "", 50, "0011223344556677")]


@at(made)
async def test_the_check_of_a_session_that_was_joined_again_has_its_id(place: Place) -> None:
    """After a restart there was none, and after another vehicle's session there was that one's."""
    await place.authorise()
    place.evse.execute(ENDED)
    place.evse.execute(ports.JoinSession("8877665544332211"))
    await place.do(ports.CloseContactors())
    await place.do(ports.OpenContactors())
    assert place.log.kept == [("contactor", "", 0, "8877665544332211")]


@at(made)
async def test_a_contactor_that_was_open_is_not_checked(place: Place) -> None:
    await place.authorise()
    place.switch.delay_s = 0.5
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.1)
    place.evse.execute(ports.EmergencyOff("test"))
    await closing
    await asyncio.sleep(0.1)
    place.switch.move(closed=False)
    assert place.log.kept == []


@at(made, Place.connect)
async def test_the_check_of_an_opening_that_was_commanded_back_is_dropped(place: Place) -> None:
    place.switch.delay_s = 0.05
    place.evse.execute(ports.EmergencyOff("test"))
    assert await place.do(ports.CloseContactors()) == CLOSED
    assert len(place.log.kept) == 1
    place.switch.move(closed=False)  # by itself: nobody commanded it
    await asyncio.sleep(1.0)
    assert len(place.log.kept) == 1


# -- the pilot and the plug


@at(Place)
async def test_the_pilot_is_known_from_the_beginning_and_each_change_counts(place: Place) -> None:
    place.wire.state = PilotState.B
    place.make(pilot=True)
    await place.authorise()
    assert place.evse.blocked == "pilot_B"
    place.wire.plug(PilotState.C)
    assert place.evse.blocked == ""
    assert await place.do(ports.CloseContactors()) == CLOSED
    place.wire.plug(PilotState.B)
    assert not place.evse.contactors_closed


@pytest.mark.parametrize("begins", [True, False])
@at(Place)
async def test_what_the_pilot_says_of_e_is_a_fault(place: Place, begins: bool) -> None:
    if begins:
        place.wire.state, place.wire.fault = PilotState.E, "diode_shorted"
    place.make(pilot=True)
    place.wire.show(PilotState.E, "diode_shorted")
    assert place.evse.faults == ("diode_shorted",)


@pytest.mark.parametrize("begins", [True, False])
@at(Place)
async def test_the_plugs_contact_is_known_from_the_beginning_and_each_change_counts(place: Place, begins: bool) -> None:
    place.wire.proximity = Proximity("open" if begins else "seated")
    place.wire.state = PilotState.C
    place.make(pilot=True)
    await place.authorise()
    assert place.evse.blocked == "plug_not_seated" * begins
    place.wire.contact(Proximity("seated" if begins else "open"))
    assert place.evse.blocked == "plug_not_seated" * (not begins)


@at(Place)
async def test_a_vehicle_that_draws_on_without_the_oscillator_is_disconnected(place: Place) -> None:
    timing = msgspec.structs.replace(STANDARD, forced_open_s=2.0)
    place.make(pilot=True, timing=timing)
    place.wire.plug(PilotState.C)
    await place.connect()
    place.wire.oscillate(on=False)
    await asyncio.sleep(1.9)
    assert place.evse.contactors_closed
    await asyncio.sleep(0.2)
    assert not place.evse.contactors_closed


@pytest.mark.parametrize(("ventilation", "blocked"), [(True, ""), (False, "no_ventilation")])
@at(Place)
async def test_a_vehicle_that_needs_ventilation_gets_energy_where_there_is_some(
    place: Place, ventilation: bool, blocked: str
) -> None:
    place.make(pilot=True, watch=WatchConfig(ventilation=ventilation))
    await place.authorise()
    place.wire.plug(PilotState.D)
    assert place.evse.blocked == blocked


@at(Place)
async def test_a_plug_is_locked_for_its_session_and_released(place: Place) -> None:
    place.cabinet.has_latch = True
    place.make(pilot=True)
    assert place.evse.has_latch
    place.wire.plug(PilotState.C)
    await place.connect()
    assert place.cabinet.commands == [True]
    place.evse.execute(ENDED)
    assert place.cabinet.commands == [True, False]


@pytest.mark.parametrize(("takes_s", "state", "faults"), [(0.8, CLOSED, ()), (None, OPEN, ("latch_failed",))])
@at(Place)
async def test_a_contactor_closes_once_the_plug_is_locked(
    place: Place, takes_s: float | None, state: ports.ContactorState, faults: tuple[str, ...]
) -> None:
    """A motor moves the lock, and a quick vehicle asks for energy meanwhile."""
    place.cabinet.has_latch = place.cabinet.stuck = True
    place.make(pilot=True)
    place.wire.plug(PilotState.C)
    await place.authorise()
    if takes_s is not None:
        asyncio.get_running_loop().call_later(takes_s, place.cabinet.latch, True)  # noqa: FBT003
    assert await place.do(ports.CloseContactors()) == state
    assert place.evse.faults == faults


@at(Place)
async def test_a_contactor_that_waits_for_the_lock_stays_open_if_it_is_opened_meanwhile(place: Place) -> None:
    """As where the grid trips while the motor moves."""
    place.cabinet.has_latch = place.cabinet.stuck = True
    place.make(pilot=True)
    place.wire.plug(PilotState.C)
    await place.authorise()
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.1)
    assert await place.do(ports.OpenContactors()) == OPEN
    place.cabinet.latch(True)  # noqa: FBT003
    assert await closing == OPEN
    assert not place.evse.contactors_closed
    assert await place.do(ports.CloseContactors()) == CLOSED


@at(made, pilot=True)
async def test_without_a_lock_the_plug_is_not_its_own(place: Place) -> None:
    place.wire.plug(PilotState.C)
    await place.connect()
    assert not place.evse.has_latch
    assert await place.evse.unlock() is False


@pytest.mark.parametrize(("stuck", "after_s", "free"), [(False, 0.0, True), (True, 0.4, True), (True, 1.2, False)])
@at(Place)
async def test_a_stuck_plug_is_tried_again_on_request(place: Place, stuck: bool, after_s: float, free: bool) -> None:
    place.cabinet.has_latch = True
    place.make(pilot=True)
    place.wire.plug(PilotState.C)
    await place.connect()
    assert await place.evse.unlock() is False  # not during a session
    place.cabinet.stuck = True
    place.evse.execute(ENDED)
    await asyncio.sleep(1.1)
    assert place.evse.faults == ("latch_failed",)
    place.cabinet.commands.clear()
    place.cabinet.stuck, began = stuck, place.now
    asyncio.get_running_loop().call_later(after_s or 9.0, place.cabinet.latch, False)  # noqa: FBT003
    assert await place.evse.unlock() is free
    assert place.now - began == pytest.approx(min(1.0, after_s), abs=0.001)
    assert place.cabinet.commands == [False]


# -- what is looked at


@at(Place)
async def test_each_report_measures_reads_and_saves(place: Place) -> None:
    saved: list[bool] = []
    place.meter.save = lambda *, sync=True: saved.append(sync)  # type: ignore[method-assign]
    place.make(report_s=0.5)
    place.evse.subscribe(place.facts.append)
    place.facts.clear()
    place.evse.present = ports.Measured(400_000, 5_000)
    place.meter.import_mwh, place.meter.export_mwh = 2, 1
    await asyncio.sleep(0.6)
    assert place.facts == [ports.Measured(400_000, 5_000), ports.MeterRead(500, 2, 1)]
    assert (place.evse.looked, saved) == (1, [False])
    await asyncio.sleep(0.5)
    assert place.evse.looked == 2


@at(made, report_s=0.95)
async def test_an_excess_is_looked_at_again_ten_times_a_second_from_the_last_look_on(place: Place) -> None:
    place.evse.exceeds = True
    await asyncio.sleep(0.99)
    assert place.evse.looked == 1
    await asyncio.sleep(0.47)
    assert place.evse.looked == 6  # 0.95 to 1.45
    await asyncio.sleep(0.47)
    assert place.evse.looked == 11  # to 1.9, when a report comes and the next look is 0.1 s later
    place.evse.exceeds = False
    await asyncio.sleep(0.5)
    assert place.evse.looked == 12


def test_the_limits_of_a_charger_that_says_nothing_else() -> None:
    assert WatchConfig() == WatchConfig(
        insulation_ohm_per_v=100,
        max_temperature_c=90.0,
        fan_from_c=40.0,
        fan_full_c=65.0,
        discharge_s=5.0,
        contactor_s=3.0,
        device_s=20.0,
        ventilation=False,
    )


@at(made, report_s=0.5)
async def test_what_has_flowed_is_counted_until_now(place: Place) -> None:
    place.evse.present = ports.Measured(400_000, 9_000)
    await asyncio.sleep(1.5)  # 3,600 W from 0.5 s on: 1 mWh in each ms
    assert place.evse.flowed_mwh == (pytest.approx(1_000, abs=2), 0)
    place.evse.present = ports.Measured(400_000, -9_000)
    await asyncio.sleep(1.75)
    inward, outward = place.evse.flowed_mwh
    assert inward == pytest.approx(1_500, abs=502)
    assert outward == pytest.approx(1_250, abs=502)


@at(Place)
async def test_registers_that_cannot_be_stored_are_a_fault_and_the_rest_is_looked_at(place: Place) -> None:
    def full(*, sync: bool = True) -> None:
        raise StoreError("full")

    place.meter.save = full  # type: ignore[method-assign]
    place.make(report_s=0.5)
    await asyncio.sleep(0.6)
    assert (place.evse.faults, place.evse.looked) == (("meter_store",), 1)
    place.meter.save = lambda *, sync=True: None  # type: ignore[method-assign]
    await place.evse.power_up()
    assert place.log.kept[-1][1] == ""  # it is no failure of the supervision


@at(made, report_s=0.5)
async def test_a_look_that_fails_is_a_fault_and_the_others_go_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.evse.breaks = RuntimeError()
    place.evse.subscribe(place.facts.append)
    place.facts.clear()
    await asyncio.sleep(0.6)
    assert place.evse.faults == ("charger_failed",)
    assert isinstance(place.facts[-1], ports.MeterRead)
    assert "_watch_output has failed" in caplog.text


@at(Place)
async def test_a_meter_that_goes_backwards_is_a_fault(place: Place) -> None:
    place.meter.import_mwh = place.meter.export_mwh = 5
    place.make(report_s=0.5)
    await asyncio.sleep(0.6)
    assert place.evse.faults == ()
    assert place.meter.kept is None
    place.meter.export_mwh = 4
    await asyncio.sleep(0.5)
    assert place.evse.faults == ("meter_backward",)
    assert place.meter.kept is not None
    assert (place.meter.kept.import_mwh, place.meter.kept.export_mwh) == (5, 5)


@at(Place)
async def test_what_the_meter_showed_before_it_jumped_is_kept_before_the_session_ends(place: Place) -> None:
    place.make(report_s=1.0, most_w=20_000)
    place.meter.import_mwh = 7
    await asyncio.sleep(1.1)
    kept: list[int | None] = []
    place.evse.on_fault(lambda *_: kept.append(place.meter.kept and place.meter.kept.import_mwh))
    place.meter.import_mwh = 100_000
    await asyncio.sleep(1.0)
    assert kept == [7]


@pytest.mark.parametrize(("most_w", "faults"), [(20_000, ("meter_jump",)), (2_000_000, ())])
@at(Place)
async def test_a_meter_that_counts_more_than_the_charger_can_deliver_is_a_fault(
    place: Place, most_w: int, faults: tuple[str, ...]
) -> None:
    place.make(report_s=1.0, most_w=most_w)
    await asyncio.sleep(1.1)
    place.meter.import_mwh = 100_000
    await asyncio.sleep(1.0)
    assert place.evse.faults == faults
    assert (place.meter.kept is not None) is bool(faults)


@pytest.mark.parametrize("measures", [True, False])
@at(Place)
async def test_a_meter_that_stands_while_energy_flows_is_a_fault_until_it_moves(place: Place, measures: bool) -> None:
    place.make(report_s=1.0, **({} if measures else {"measures": False}))
    place.evse.present = ports.Measured(400_000, 50_000)
    await asyncio.sleep(38.5)
    assert place.evse.faults == ("meter_stuck",)
    place.meter.import_mwh = 1
    place.evse.present = ports.Measured(0, 0)
    await asyncio.sleep(2.0)
    assert place.evse.faults == ()


@pytest.mark.parametrize(
    ("shown", "fault"),
    [
        ({"a": 90.0, "b": -20.0}, ""),
        ({"a": 20.0, "b": 90.1}, "over_temperature"),
        ({"a": None, "b": 20.0}, "temperature_lost"),
        ({"a": None}, "temperature_lost"),
        ({}, ""),
    ],
)
@at(made, report_s=0.1)
async def test_temperatures_are_watched(place: Place, shown: dict[str, float | None], fault: str) -> None:
    place.cabinet.temperatures = shown
    await asyncio.sleep(0.15)
    assert place.evse.faults == (fault,) * bool(fault)
    place.cabinet.temperatures = {"a": 20.0}
    await asyncio.sleep(0.1)
    assert place.evse.faults == ()


@pytest.mark.requirement("R128")
@at(made, report_s=0.1)
async def test_the_share_of_power_that_temperatures_permit_is_reported_when_it_changes(place: Place) -> None:
    said: list[int] = []
    place.evse.on_derating(said.append)
    for celsius in (20.0, 75.0, 90.0):
        place.cabinet.temperatures = {"a": celsius, "b": 20.0}
        await asyncio.sleep(0.35)
    assert said == [50, 0]


@at(made, report_s=0.1)
async def test_a_hot_part_whose_sensor_fails_stays_hot_until_it_is_measured(place: Place) -> None:
    for hot, faults in (
        (95.0, ("over_temperature",)),
        (None, ("over_temperature", "temperature_lost")),
        (20.0, ()),
    ):
        place.cabinet.temperatures = {"a": hot, "b": 20.0}
        await asyncio.sleep(0.15)
        assert place.evse.faults == faults
        assert place.cabinet.fans[-1] == (0 if hot == 20.0 else 100)


@at(made, report_s=0.1, watch=WatchConfig(max_temperature_c=80.0))
async def test_what_was_too_hot_is_until_5_degrees_below(place: Place) -> None:
    for celsius, hot in ((80.0, False), (80.1, True), (75.1, True), (75.0, False), (80.0, False)):
        place.cabinet.temperatures = {"a": celsius}
        await asyncio.sleep(0.1)
        assert place.evse.faults == ("over_temperature",) * hot


@pytest.mark.parametrize(
    ("celsius", "percent"), [(-5.0, 0), (40.0, 0), (40.2, 1), (50.0, 50), (59.8, 99), (60.0, 100), (80.0, 100)]
)
@at(made, report_s=0.1, watch=WatchConfig(fan_from_c=40.0, fan_full_c=60.0))
async def test_the_fan_turns_with_the_hottest_temperature(place: Place, celsius: float, percent: int) -> None:
    place.cabinet.temperatures = {"a": celsius, "b": -10.0}
    await asyncio.sleep(0.15)
    assert place.cabinet.fans == [percent]


@at(made, report_s=0.1, watch=WatchConfig(fan_from_c=0.0, fan_full_c=10.0))
async def test_without_a_temperature_the_fan_stands(place: Place) -> None:
    await asyncio.sleep(0.15)
    assert place.cabinet.fans == [0]


@at(made, report_s=0.1, watch=WatchConfig(fan_from_c=40.0, fan_full_c=40.0))
async def test_a_fan_with_one_temperature_for_both_begins_within_a_degree(place: Place) -> None:
    await asyncio.sleep(0.05)
    for celsius in (40.0, 40.5, 41.0):
        place.cabinet.temperatures = {"a": celsius}
        await asyncio.sleep(0.1)
    assert place.cabinet.fans == [0, 50, 100]


@pytest.mark.parametrize(
    ("celsius", "rpm", "fault"),
    [(44.0, 0, True), (43.9, 1, False), (44.0, 1, False), (44.0, None, False), (43.8, 0, False)],
)
@at(made, report_s=0.1, watch=WatchConfig(fan_from_c=40.0, fan_full_c=60.0))
async def test_a_fan_that_should_turn_has_3_s_to_start(
    place: Place, celsius: float, rpm: int | None, fault: bool
) -> None:
    place.cabinet.temperatures, place.cabinet.fan_rpm = {"a": celsius}, rpm
    await asyncio.sleep(3.05)
    assert place.evse.faults == ()
    await asyncio.sleep(0.2)
    assert place.evse.faults == ("fan_failed",) * fault
    place.cabinet.fan_rpm = 500
    await asyncio.sleep(0.1)
    assert place.evse.faults == ()
    place.cabinet.fan_rpm = 0
    await asyncio.sleep(2.0)
    assert place.evse.faults == ()  # it has its time again


# -- failures of parts, and the end


@at(made, Place.connect)
async def test_a_part_that_fails_does_not_keep_the_contactor_closed(place: Place) -> None:
    place.evse.breaks_off = RuntimeError()
    place.evse.fault("stage_tripped", active=True)
    assert not place.evse.contactors_closed
    assert place.evse.faults == ("stage_tripped", "charger_failed")


@at(Place)
async def test_its_end_leaves_everything_safe_and_nothing_under_way(place: Place) -> None:
    synced: list[bool] = []
    place.meter.save = lambda *, sync=True: synced.append(sync)  # type: ignore[method-assign]
    place.make(report_s=0.5)
    await place.connect()
    place.switch.delay_s = 0.2
    place.evse.breaks_off = RuntimeError()
    await place.evse.close()
    assert synced == [True]
    place.facts.clear()
    await asyncio.sleep(0.15)
    assert place.facts == []  # nobody counts the contactor's time any more
    await asyncio.sleep(2.0)
    assert (place.evse.looked, place.switch.closed) == (0, False)


@at(made)
async def test_its_end_switches_off_without_a_session_too(place: Place) -> None:
    await place.evse.close()
    assert place.evse.switched_off == 1


@at(made, Place.connect)
async def test_its_end_voids_what_is_under_way(place: Place) -> None:
    place.evse.calm_s = 0.5
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(0.1)
    before = place.evse.switched_off
    await place.evse.close()
    assert place.evse.switched_off > before
    assert (place.switch.closed, place.evse.blocked) == (False, "not_authorised")
    assert await opening == OPEN


@at(Place)
async def test_a_reading_has_the_meters_serial_and_its_time(place: Place) -> None:
    place.meter.serial = "7"
    place.meter.read = lambda utc_ms: MeterRead(utc_ms + 5, 2, 1)  # type: ignore[method-assign]
    place.make()
    place.evse.subscribe(place.facts.append)
    assert place.facts[-1] == ports.MeterRead(5, 2, 1)
