"""The parts behind the monitor of an EVSE: what they pass on, how they are supervised, and how each is switched off."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from secc.hardware import safety
from secc.hardware.safety import SafetyChannel
from secc.session import ports
from tests.patient import kept_waiting_s
from tests.secc.hardware.bare import at
from tests.secc.hardware.channel import BOTH_WAYS, RATING, Broken, Evse, Place, Stage, Switch, on_mains
from v2g.energy.limits import GridResponse, Limit
from v2g.hardware.board import inputs
from v2g.hardware.interfaces import OFF, Contactor, Demand, PowerStage, PrimaryReport, StageReport
from v2g.iec61851.pilot import PilotState
from v2g.observe import Observe
from v2g.safety import Output
from v2g.safety.flow import Errors


def limited(place: Place, charge_w: int, discharge_w: int = 0) -> None:
    place.channel.fact(ports.GridChanged((Limit(source="site", charge_w=charge_w, discharge_w=discharge_w),)))


def drives(place: Place) -> list[inputs.Drive]:
    return [each for each in place.board.inputs if isinstance(each, inputs.Drive)]


def flows(place: Place) -> list[Any]:
    return [each for each in place.board.inputs if isinstance(each, inputs.Measured | inputs.Drawn)]


# -- contactor


@at(Place)
async def test_a_contactor_that_is_closed_already_has_welded(place: Place) -> None:
    switch = Switch()
    switch.closed = True
    place.channel.contactor(switch)
    await asyncio.sleep(1.0)
    assert (switch.closed, place.opened) == (False, ["contactor_welded"])


@at(Place)
async def test_a_contactor_that_does_not_open_has_welded(place: Place) -> None:
    switch = Switch()
    wrapped = place.channel.contactor(switch)
    wrapped.set(closed=True)
    switch.listeners.clear()
    wrapped.set(closed=False)
    await asyncio.sleep(1.0)
    assert place.opened == ["contactor_welded"]


@at(Place)
async def test_a_contactor_that_opens_by_itself_has_dropped(place: Place) -> None:
    switch = Switch()
    place.channel.contactor(switch).set(closed=True)
    switch.set(closed=False)
    await asyncio.sleep(5.0)
    assert place.evse.reported == [("contactor_dropped", True)]


@at(Place)
async def test_a_contactor_that_must_not_close_is_a_broken_rule(place: Place) -> None:
    place.channel.command(ports.TransactionEnded("session", "vehicle", "StoppedByEV", None))
    place.channel.contactor(Switch()).set(closed=True)
    assert (place.opened, place.evse.reported) == (["not_authorised"], [("rule_broken", True)])


# -- direct current


@pytest.mark.parametrize(
    ("demand", "driven", "lowered"),
    [
        (
            Demand(400_000, 50_000, 20_000),
            Output(20_000, 0, 50_000, 0, 400_000),
            Demand(400_000, 50_000, 5_000),
        ),
        (Demand(400_000, 0, 9_000), Output(9_000, 0, 0, 0, 400_000), Demand(400_000, 0, 5_000)),
        (
            Demand(400_000, -30_000, 9_000),
            Output(0, 9_000, 0, 30_000, 400_000),
            Demand(400_000, -30_000, 3_000),
        ),
    ],
)
@at(Place)
async def test_a_demand_has_one_direction_and_keeps_it_when_it_is_lowered(
    place: Place, demand: Demand, driven: Output, lowered: Demand
) -> None:
    place.channel.command(BOTH_WAYS)
    stage = Stage()
    stage.present = StageReport(400_000, demand.current_ma // 3)  # less than it might, as vehicles do
    wrapped = place.channel.stage(stage)
    wrapped.drive(demand)
    assert stage.driven == [demand]
    assert [Output(*(getattr(each, name) for name in Output.__struct_fields__)) for each in drives(place)] == [driven]
    for _ in range(30):
        await asyncio.sleep(0.1)
        stage.report()
    assert (stage.driven, place.opened) == ([demand], [])
    limited(place, 5_000, 3_000)
    await asyncio.sleep(0.5)
    assert stage.driven == [demand, lowered]


@at(Place)
async def test_a_stage_is_switched_off_before_it_was_ever_driven(place: Place) -> None:
    stage = Stage()
    place.channel.contactor(Switch()).set(closed=True)
    place.channel.stage(stage)
    place.evse.fault("isolation_low", active=True)
    await asyncio.sleep(0.5)
    assert stage.driven == [OFF]


@at(Place)
async def test_each_report_is_measured_at_once_and_each_check_measures_too(place: Place) -> None:
    stage = Stage()
    place.channel.contactor(Switch()).set(closed=True)
    place.channel.stage(stage)
    await asyncio.sleep(0.15)
    stage.present = StageReport(401_000, 1)
    await asyncio.sleep(0.1)
    assert flows(place)[-1] == inputs.Measured(voltage_mv=401_000, current_ma=1)
    stage.present = StageReport(500_000, 0)
    stage.report()
    assert place.evse.reported == [("over_voltage", True)]  # 110 % of 450 V: at once


@at(Place)
async def test_a_stage_that_drives_more_than_it_was_commanded_has_not_obeyed(place: Place) -> None:
    stage = Stage()
    place.channel.contactor(Switch()).set(closed=True)
    place.channel.stage(stage)
    stage.present = StageReport(400_000, 50_000)
    await asyncio.sleep(3.0)
    assert place.evse.reported == [("power_not_obeyed", True), ("contactor_welded", True)]  # it drives on when opened


@at(Place)
async def test_a_stage_that_never_reports_has_failed_after_ten_checks(place: Place) -> None:
    switch, stage = Switch(), Stage()
    cuts: list[str] = []
    switch.cut = lambda: cuts.append("contactor")  # type: ignore[method-assign]
    stage.cut = lambda: cuts.append("stage")  # type: ignore[method-assign]
    wrapped = place.channel.stage(stage)
    place.channel.contactor(switch)
    wrapped.drive(Demand(400_000, 1_000, 400))
    await asyncio.sleep(0.95)
    assert not place.evse.reported
    await asyncio.sleep(0.1)
    assert place.evse.reported == [("charger_failed", True)]
    assert cuts == ["contactor", "stage"]  # another part's driver may hang


# -- drivers and the event loop


def failures(place: Place) -> list[dict[str, Any]]:
    return [dict(each.data) for each in place.events if (each.stage, each.name) == ("hardware", "driver_failed")]


class Moody(Broken):
    """Fails each time for what it is told to."""

    why = "burnt"

    def set(self, *, closed: bool) -> None:
        raise RuntimeError(self.why)


@at(Place)
async def test_a_driver_is_reported_once_for_each_reason_until_its_fault_has_ended(place: Place) -> None:
    moody = Moody()
    guarded = place.channel.guard(moody, Contactor)
    for _ in range(2):
        guarded.set(closed=False)
    place.evse.fault("isolation_low", active=True)
    place.evse.fault("isolation_low", active=False)
    guarded.set(closed=False)
    first = {"why": "Contactor.set: RuntimeError: burnt"}
    assert failures(place) == [first]
    moody.why = "wet"
    guarded.set(closed=False)
    assert failures(place) == [first, {"why": "Contactor.set: RuntimeError: wet"}]
    place.evse.fault("charger_failed", active=False)
    other = Evse()
    place.channel.stand_over(other)
    assert not other.reported
    guarded.set(closed=False)
    assert len(failures(place)) == 3


@at(Place)
async def test_a_driver_that_fails_in_two_ways_by_turns_is_reported_once_for_each(place: Place) -> None:
    moody, stage = place.channel.guard(Moody(), Contactor), place.channel.guard(BrokenStage(), PowerStage)
    for _ in range(3):
        moody.set(closed=False)
        stage.drive(OFF)
    assert [each["why"].split(":")[0] for each in failures(place)] == ["Contactor.set", "PowerStage.drive"]


class Pilot:
    """A pilot whose age is set."""

    state, age_s = PilotState.B, 0.0


@pytest.mark.parametrize(
    ("state", "ages_s", "failed"),
    [
        (PilotState.B, (1.01, 1.01), True),
        (PilotState.B, (1.0, 1.0, 1.0), False),
        (PilotState.B, (1.01, 0.0, 1.01, 0.0), False),
        (PilotState.A, (9.0, 9.0), True),
        (PilotState.F, (9.0, 9.0, 9.0), False),
    ],
)
@at(Place)
async def test_a_pilot_that_is_not_measured_has_failed_after_two_checks(
    place: Place, state: PilotState, ages_s: tuple[float, ...], failed: bool
) -> None:
    pilot: Any = Pilot()
    pilot.state = state
    place.channel.pilot(pilot)
    await asyncio.sleep(0.05)
    for pilot.age_s in ages_s:
        assert not place.evse.reported
        await asyncio.sleep(0.1)
    assert place.evse.reported == [("charger_failed", True)] * failed
    assert failures(place) == [{"why": "ChargerPilot: state not measured for 1 s"}] * failed


@at(Place)
async def test_a_pilot_is_watched_from_the_first_check(place: Place) -> None:
    channel = SafetyChannel(RATING, place.clock, place.events.append)
    pilot: Any = Pilot()
    pilot.age_s = 2.0
    channel.pilot(pilot)
    await asyncio.sleep(0.15)
    assert not failures(place)
    await asyncio.sleep(0.1)
    assert failures(place)
    channel.close()


@at(Place)
async def test_an_event_loop_that_runs_is_never_cut_and_after_the_end_nothing_is_measured(place: Place) -> None:
    looks: list[None] = []

    def watts() -> int:
        looks.append(None)
        return 0

    on_mains(place, watts)
    for _ in range(60):
        place.watchdog.check()
        await asyncio.sleep(0.05)
    assert not place.opened
    assert len(looks) >= 29
    place.channel.close()
    looks.clear()
    await asyncio.sleep(1.0)
    assert not looks


class Slow:
    """A part that takes its time to be cut."""

    def __init__(self, cut: Callable[[], object]) -> None:
        self._cut, self.by = cut, ""

    def cut(self) -> None:
        self._cut()
        self.by = threading.current_thread().name


@at(Place)
async def test_a_part_that_cannot_be_cut_keeps_no_other_one_waiting(place: Place) -> None:
    never, began = threading.Event(), time.monotonic() - kept_waiting_s(os.getpid())
    hanging, slow = Slow(lambda: never.wait(60.0)), Slow(lambda: time.sleep(0.02))
    on_mains(place, lambda: 0, part=hanging)
    on_mains(place, lambda: 0, part=slow)
    for _ in range(20):
        place.watchdog.check()
    while not slow.by:  # its thread may still be kept from running
        await asyncio.sleep(0.001)
    assert (hanging.by, slow.by) == ("", "cut")
    assert time.monotonic() - kept_waiting_s(os.getpid()) - began < 1.0
    never.set()


class BrokenStage(Stage):
    """A power stage that takes no command."""

    present = StageReport(0, 0)

    def drive(self, demand: Demand) -> None:
        raise RuntimeError


@at(Place)
async def test_a_part_that_other_evses_use_is_cut_at_failures_and_not_by_the_self_test(place: Place) -> None:
    shared = Slow(lambda: None)
    place.channel.also_cut(shared)
    assert await place.channel.test_cut() == ""
    assert shared.by == "", "another EVSE may charge through it"
    for _ in range(20):
        place.watchdog.check()
    assert shared.by == "cut"
    shared.by = ""
    place.channel.guard(BrokenStage(), PowerStage).drive(OFF)
    assert (shared.by, place.evse.reported[-1]) == ("", ("charger_failed", True)), "its own contactor separates it"
    place.channel.guard(Broken(), Contactor).set(closed=False)
    assert shared.by == threading.current_thread().name


@at(Place)
async def test_a_part_that_hangs_does_not_delay_the_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the fault is there, what was cut could be switched on again."""
    monkeypatch.setattr(safety, "CUT_S", 60.0)
    never, end = threading.Event(), time.monotonic() + 30.0
    on_mains(place, lambda: 0, part=Slow(lambda: never.wait(60.0)))
    watchdog = threading.Thread(target=lambda: [place.watchdog.check() for _ in range(20)])
    watchdog.start()
    while not place.evse.reported and time.monotonic() < end:
        await asyncio.sleep(0)
    never.set()
    watchdog.join()
    assert (place.opened, place.evse.reported) == (["hung"], [("charger_failed", True)])


# -- the self-test of cut


class Converter(Stage):
    """A power stage that follows commands at once, and a cut if it obeys."""

    present = StageReport(0, 0)
    obeys_cut, was_cut = True, False
    most_mv = 1_000_000

    def drive(self, demand: Demand) -> None:
        super().drive(demand)
        self.was_cut = self.was_cut and demand != OFF
        self.present = StageReport(0 if self.was_cut else min(demand.voltage_mv, self.most_mv), 0)

    def cut(self) -> None:
        super().cut()
        self.was_cut = self.obeys_cut


@at(Place)
async def test_parts_that_were_cut_stay_off_until_they_are_commanded_off(place: Place) -> None:
    """R155: the watchdog's way to switch off is tried at the start; of sound parts none moves."""
    switch, stage = Switch(), Converter()
    place.channel.contactor(switch)
    place.channel.stage(stage)
    moved: list[bool] = []
    switch.on_change(moved.append)
    assert await place.channel.test_cut() == ""
    assert (switch.cuts, stage.cuts, switch.commanded, stage.driven) == (1, 1, [True, False], [Demand(30_000), OFF])
    assert True not in moved
    assert (place.opened, switch.was_cut, stage.was_cut) == ([], False, False)


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ("contactor", "the contactor is on after cut"),
        ("stage", "the power stage is on after cut"),
        ("both", "the contactor is on after cut, the power stage is on after cut"),
    ],
)
@at(Place)
async def test_a_cut_that_does_nothing_is_found(place: Place, broken: str, failed: str) -> None:
    switch, stage = Switch(), Converter()
    switch.obeys_cut, stage.obeys_cut = broken == "stage", broken == "contactor"
    place.channel.contactor(switch)
    place.channel.stage(stage)
    assert await place.channel.test_cut() == failed
    assert (switch.closed, stage.present.voltage_mv) == (False, 0)


@pytest.mark.parametrize(("most_mv", "failed"), [(15_000, "the power stage is on after cut"), (14_999, "")])
@at(Place)
async def test_half_of_the_voltage_shows_that_a_cut_does_nothing(place: Place, most_mv: int, failed: str) -> None:
    stage = Converter()
    stage.obeys_cut, stage.most_mv = False, most_mv
    place.channel.contactor(Switch())
    place.channel.stage(stage)
    assert await place.channel.test_cut() == failed


@at(Place)
async def test_a_power_stage_without_a_contactor_is_cut_but_not_commanded_on(place: Place) -> None:
    stage = Converter()
    place.channel.stage(stage)
    assert await place.channel.test_cut() == ""
    assert (stage.cuts, stage.driven) == (1, [OFF])


@at(Place)
async def test_the_event_loop_goes_on_while_a_part_is_cut(place: Place) -> None:
    """A driver may need it, in a thread of its own, to say that its part is off."""
    loop, needed = asyncio.get_running_loop(), threading.Event()
    part, began = Slow(lambda: needed.wait(5.0)), loop.time()
    on_mains(place, lambda: 0, part=part)
    loop.call_soon(needed.set)
    assert await place.channel.test_cut() == ""
    assert (part.by, loop.time() - began < 1.0) == ("cut", True)


@at(Place)
async def test_a_contactor_of_alternating_current_is_cut_but_not_commanded_on(place: Place) -> None:
    switch = Switch()
    switch.obeys_cut = False
    place.channel.contactor(switch)
    assert await place.channel.test_cut() == ""
    assert (switch.cuts, switch.commanded) == (1, [False])


@at(Place)
async def test_a_cut_that_raises_or_hangs_is_found_and_nothing_is_commanded_on(place: Place) -> None:
    never, switch = threading.Event(), Switch()
    place.channel.contactor(switch)
    place.channel.stage(Converter())
    on_mains(place, lambda: 0, part=Slow(lambda: {}["no such line"]))
    on_mains(place, lambda: 0, part=Slow(lambda: never.wait(5.0)))
    failed = await place.channel.test_cut()
    never.set()
    assert failed == "cutting the mains fails: KeyError('no such line'), the mains is not cut within 0.2 s"
    assert switch.commanded == [False]


# -- alternating current, and coils


@at(Place)
async def test_mains_are_allowed_what_the_monitor_permits(place: Place) -> None:
    place.channel.command(BOTH_WAYS)
    allow = on_mains(place, lambda: 0)
    limited(place, 5_000, 3_000)
    wanted = [(7_000, 0), (0, 4_000), (7_000, 4_000), (0, 0)]
    allowed = [allow(Output(charge_w, discharge_w), 3) for charge_w, discharge_w in wanted]
    assert [(each.charge_w, each.discharge_w) for each in allowed] == [(5_000, 0), (0, 3_000), (5_000, 3_000), (0, 0)]
    currents = [(each.charge_ma, each.discharge_ma) for each in drives(place)]
    assert currents == [(7_246, 4_347)] * 3 + [(0, 0)]  # of a balanced connection; without power nothing is driven


@at(Place)
async def test_a_vehicle_that_draws_more_than_it_is_allowed_is_disconnected(place: Place) -> None:
    place.channel.contactor(Switch()).set(closed=True)
    on_mains(place, lambda: 8_000)(Output(5_000), 3)
    await asyncio.sleep(3.0)
    assert place.opened == ["power_not_obeyed", "contactor_welded"]  # it goes on drawing


@at(Place)
async def test_a_trip_of_the_grid_disconnects_mains(place: Place) -> None:
    switch = Switch()
    place.channel.contactor(switch).set(closed=True)
    on_mains(place, lambda: 0)
    place.channel.fact(ports.GridResponseChanged(GridResponse(trip=True)))
    await asyncio.sleep(0.5)
    assert (switch.closed, place.opened) == (False, ["grid_trip"])


class Primary:
    """A primary device that notes what it is called with."""

    report = PrimaryReport(coil_ma=7)

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.calls.append((name, *args))


@at(Place)
async def test_a_primary_device_passes_on_all_but_power(place: Place) -> None:
    device, callback = Primary(), print
    wrapped = place.channel.primary(device)
    device.calls.clear()
    wrapped.find("m")
    wrapped.pair("n", 5)
    wrapped.on_report(callback)
    wrapped.on_fault(callback)
    wrapped.rest()
    wrapped.cut()
    assert device.calls == [
        ("find", "m"),
        ("pair", "n", 5),
        ("on_report", callback),
        ("on_fault", callback),
        ("rest",),
        ("cut",),
    ]
    assert wrapped.report is device.report


@at(Place)
async def test_a_primary_device_sends_and_excites_what_is_permitted(place: Place) -> None:
    device = Primary()
    wrapped = place.channel.primary(device)
    device.calls.clear()
    limited(place, 5_000)
    wrapped.send(7_000)
    wrapped.excite(30_000, 6_000)
    wrapped.send(0)
    assert list(dict.fromkeys(device.calls)) == [("send", 5_000), ("excite", 30_000, 5_000), ("send", 0)]
    assert [(each.charge_w, each.charge_ma) for each in drives(place)] == [(5_000, 60_000)] * 2 + [(0, 0)]
    wrapped.send(5_000)
    wrapped.rest()
    assert drives(place)[-1].charge_w == drives(place)[-1].charge_ma == 0


@pytest.mark.parametrize(
    ("act", "lowered", "off"),
    [
        (lambda wrapped: wrapped.send(7_000), ("send", 5_000), ("send", 0)),
        (lambda wrapped: wrapped.excite(30_000, 7_000), ("excite", 30_000, 5_000), ("send", 0)),
        (lambda wrapped: None, ("on_report",), ("send", 0)),
        (
            lambda wrapped: (wrapped.excite(30_000, 7_000), wrapped.send(7_000)),
            ("send", 5_000),
            ("send", 0),
        ),
    ],
)
@at(Place)
async def test_a_primary_device_is_lowered_in_its_way_of_sending(
    place: Place, act: Callable[[Any], Any], lowered: tuple[Any, ...], off: tuple[Any, ...]
) -> None:
    device = Primary()
    place.channel.contactor(Switch()).set(closed=True)
    wrapped = place.channel.primary(device)
    act(wrapped)
    limited(place, 5_000)
    await asyncio.sleep(0.5)
    assert device.calls[-1][: len(lowered)] == lowered
    place.evse.fault("isolation_low", active=True)
    await asyncio.sleep(0.5)
    assert device.calls[-1] == off


@at(Place)
async def test_a_primary_device_is_measured_and_cut_with_all_others(place: Place) -> None:
    device = Primary()
    place.channel.contactor(Switch()).set(closed=True)
    place.channel.primary(device)
    assert device.calls[0][0] == "on_report"
    device.report = PrimaryReport(sent_w=9_000)
    place.board.inputs.clear()
    await asyncio.sleep(0.06)
    device.calls[0][1](device.report)
    assert flows(place) == [inputs.Drawn(power_w=9_000)]
    await asyncio.sleep(3.0)
    assert place.opened == ["power_not_obeyed", "contactor_welded"]  # it goes on sending
    place.channel.guard(Broken(), Contactor).set(closed=False)
    assert device.calls[-1] == ("cut",)


# -- a second measurement


class Meter:
    """A meter that measures what it is set to, now or long ago."""

    power_w: int | None = 0
    read_at = float("inf")


class Deaf(Evse):
    """It does not report its faults."""

    def fault(self, word: str, active: bool) -> None:
        self.reported.append((word, active))


@at(Place)
async def test_a_meter_that_differs_from_the_output_opens_once_while_energy_may_flow(place: Place) -> None:
    meter: Any = Meter()
    meter.power_w = 9_000
    deaf = Deaf()
    place.channel.stand_over(deaf)
    place.channel.compare(lambda: 0, meter, Errors(late_s=0.0), 20_000)
    await asyncio.sleep(5.0)
    assert not deaf.reported  # it is off
    switch = Switch()
    place.channel.contactor(switch).set(closed=True)
    switch.set = lambda *, closed: None  # type: ignore[method-assign]
    await asyncio.sleep(0.4)
    assert not deaf.reported
    await asyncio.sleep(0.4)
    assert deaf.reported == [("measurements_differ", True)]
    assert place.opened == ["measurements_differ"]
    assert place.passes() == Output(0, 0, 0, 0, 0)
    deaf.reported.clear()
    await asyncio.sleep(0.2)
    assert "measurements_differ" not in [word for word, _ in deaf.reported]


@at(Place)
async def test_a_meter_is_compared_with_the_time_of_its_reading(place: Place) -> None:
    meter: Any = Meter()
    meter.read_at = asyncio.get_running_loop().time()
    watts = [0]
    place.channel.compare(lambda: watts[0], meter, Errors(late_s=0.0), 20_000)
    place.channel.contactor(Switch()).set(closed=True)
    await asyncio.sleep(0.5)
    watts[0] = 9_000
    await asyncio.sleep(3.0)
    assert not place.opened  # it has read nothing since
    meter.read_at += 3.0
    await asyncio.sleep(1.0)
    assert place.opened == ["measurements_differ"]


@at(Place)
async def test_what_is_lowered_again_alike_is_one_event(place: Place) -> None:
    limited(place, 5_000)
    for _ in range(3):
        place.passes()
    limited(place, 4_000)
    place.passes()
    found = [each.data["charge_w"] for each in place.events if each.name == "lowered"]
    assert found == [5_000, 4_000]
    assert isinstance(place.events[0], Observe)
