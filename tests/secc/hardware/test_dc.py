"""A charger with direct current: what its stage is commanded, and which measurements are faults, each by itself."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from secc.hardware.dc import DcEvse
from secc.hardware.evse import WatchConfig
from secc.session import ports
from tests.secc.hardware.bare import Bare, at, play
from tests.secc.hardware.channel import Isolation, Stage
from v2g.hardware.interfaces import OFF, Demand, StageParts, StageReport
from v2g.hardware.session_metrics import MetricName
from v2g.iso15118.engine.session import Command, Fact

PASSED = ports.CableCheckFinished(passed=True)
FAILED = ports.CableCheckFinished(passed=False)


def refused(why: str) -> Fact:
    """Return the result of a cable check that did not come to its measurement."""
    return ports.CableCheckFinished(passed=False, why=why)


OPEN, CLOSED = ports.ContactorState(closed=False), ports.ContactorState(closed=True)


class Place(Bare):
    """A charger whose stage shows what it is set to."""

    def __init__(self, *, report_s: float = 1e6, test: Any = None) -> None:
        super().__init__()
        self.stage, self.isolation = Stage(), Isolation()
        parts = replace(self.parts, watch=WatchConfig(discharge_s=2.0), report_s=report_s)
        power: Any = StageParts(self.stage, self.isolation, test)  # type: ignore[arg-type]
        self.evse = DcEvse(parts, power)
        self.stage.present = StageReport(0, 0)

    def show(self, voltage_mv: int, current_ma: int = 0) -> None:
        """The stage reports this."""
        self.stage.present = StageReport(voltage_mv, current_ma)
        self.stage.report()

    async def follow(self) -> None:
        """The stage brings each voltage that it is commanded, and no current."""
        while True:
            await asyncio.sleep(0.01)
            self.show((self.stage.driven or [OFF])[-1].voltage_mv)


@at(Place)
async def test_outputs_become_demands_only_after_the_contactor_was_commanded_closed(place: Place) -> None:
    place.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 8_000))
    await place.connect()
    for command in (
        ports.SetOutput(450_000, 60_000, 20_000, 8_000),
        ports.SetOutput(450_000, 0, 20_000, 8_000),
        ports.SetOutput(450_000, -60_000, 20_000, 8_000),
        ports.StartPreCharge(400_000),
        ports.EmergencyOff("test"),
        ports.SetOutput(450_000, 60_000, 20_000, 8_000),
    ):
        assert place.evse.execute(command) is None
    assert place.stage.driven == [
        OFF,
        Demand(450_000, 60_000, 20_000),
        Demand(450_000, 0, 20_000),
        Demand(450_000, -60_000, 8_000),
        Demand(400_000, 0, 0),
        OFF,
        OFF,
        OFF,
    ]


@pytest.mark.parametrize(
    ("before", "limit", "after"),
    [
        ((450_000, 60_000, 20_000, 0), (450_000, 30_000, 20_000, 0), Demand(450_000, 30_000, 20_000)),
        ((450_000, 60_000, 20_000, 0), (440_000, 90_000, 9_000, 5_000), Demand(440_000, 60_000, 9_000)),
        ((450_000, 60_000, 20_000, 0), (460_000, -9_000, 30_000, 5_000), Demand(450_000, 0, 20_000)),
        ((450_000, -60_000, 0, 8_000), (450_000, -30_000, 9_000, 5_000), Demand(450_000, -30_000, 5_000)),
        ((450_000, -60_000, 0, 8_000), (450_000, -90_000, 9_000, 9_000), Demand(450_000, -60_000, 8_000)),
        ((450_000, -60_000, 0, 8_000), (450_000, 9_000, 9_000, 8_000), Demand(450_000, 0, 8_000)),
        ((450_000, 0, 20_000, 0), (450_000, 9_000, 9_000, 5_000), Demand(450_000, 0, 9_000)),
    ],
)
@at(Place, Place.connect)
async def test_a_limit_lowers_each_part_of_a_demand_and_raises_none(
    place: Place, before: tuple[int, int, int, int], limit: tuple[int, int, int, int], after: Demand
) -> None:
    place.evse.execute(ports.SetOutput(*before))
    place.evse.execute(ports.LowerOutput(ports.SetOutput(*limit)))
    assert place.stage.driven[-1] == after


@pytest.mark.parametrize(("var", "passed"), [(9, 7), (7, 7), (3, 3), (-3, -3), (-9, -7)])
@at(Place)
async def test_reactive_power_is_within_what_the_stage_can(place: Place, var: int, passed: int) -> None:
    place.evse.react(var)
    assert (place.evse.max_var, place.stage.reactive) == (7, passed)


@at(Place, Place.connect)
async def test_each_report_and_fault_of_the_stage_is_passed_on(place: Place) -> None:
    place.show(400_000, 3)
    assert place.facts[-1] == place.evse.present == ports.Measured(400_000, 3)
    place.stage.faults[0]("stage_tripped", True)  # noqa: FBT003
    assert place.faults == ["stage_tripped"]


@pytest.mark.parametrize(("voltage_mv", "faults"), [(450_000, []), (450_001, ["over_voltage"])])
@at(Place, Place.connect)
async def test_more_voltage_than_was_ever_commanded_is_a_fault(
    place: Place, voltage_mv: int, faults: list[str]
) -> None:
    place.evse.execute(ports.StartPreCharge(400_000))
    place.evse.execute(ports.StartPreCharge(300_000))
    place.show(voltage_mv)
    assert place.faults == faults


@pytest.mark.parametrize(
    ("forgets", "closed", "voltage_mv"), [(True, False, 59_999), (False, False, 60_000), (False, True, 59_999)]
)
@at(Place, Place.connect)
async def test_a_voltage_counts_as_commanded_until_the_output_is_open_and_dead(
    place: Place, forgets: bool, closed: bool, voltage_mv: int
) -> None:
    place.evse.execute(ports.StartPreCharge(400_000))
    if not closed:
        place.evse.execute(ports.EmergencyOff("test"))
    place.show(voltage_mv)
    await place.do(ports.CloseContactors())
    place.evse.execute(ports.StartPreCharge(200_000))
    place.show(300_000)
    assert place.faults == ["over_voltage"] * forgets


@at(Place, Place.connect)
async def test_a_voltage_counts_as_commanded_while_the_contactor_is_closed(place: Place) -> None:
    place.evse.execute(ports.StartPreCharge(400_000))
    place.evse.execute(ports.SetOutput(0, 0, 0, 0))
    place.show(0)
    place.evse.execute(ports.StartPreCharge(200_000))
    place.show(300_000)
    assert place.faults == []


@at(Place)
async def test_a_voltage_counts_as_commanded_while_the_contactor_is_about_to_close(place: Place) -> None:
    await place.do(ports.TransactionStarted("0011223344556677", ""))
    place.switch.delay_s = 0.25
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))
    await asyncio.sleep(0.1)
    place.evse.execute(ports.StartPreCharge(400_000))
    place.show(0)
    assert await closing == CLOSED
    place.evse.execute(ports.StartPreCharge(200_000))
    place.show(300_000)
    assert place.evse.faults == ()


@at(Place, Place.connect)
async def test_without_a_command_no_voltage_is_too_high(place: Place) -> None:
    place.show(400_000)
    place.evse.execute(ports.EmergencyOff("test"))
    place.show(0)
    await place.do(ports.CloseContactors())
    place.show(400_000)
    assert place.faults == []


def out(current_ma: int, charge_w: int = 9_000, discharge_w: int = 9_000) -> ports.SetOutput:
    return ports.SetOutput(400_000, current_ma, charge_w, discharge_w)


FLOWS: list[tuple[list[Command], int, int, str]] = [
    ([out(-30_000)], 400_000, 1_000, "power_not_obeyed"),
    ([out(30_000)], 400_000, -1_000, "power_not_obeyed"),
    ([out(0)], 400_000, 1_000, "power_not_obeyed"),
    ([out(0)], 400_000, -1_000, "power_not_obeyed"),
    ([ports.EmergencyOff("test")], 400_000, 1_000, "power_not_obeyed"),
    ([out(10_000)], 400_000, 13_500, "over_current"),
    ([out(99_000, charge_w=4_000)], 400_000, 13_500, "over_current"),
    ([out(-9_000)], 400_000, -12_500, "over_current"),
    ([out(2_000_000, charge_w=1)], 0, 1_051_000, "over_current"),
    ([ports.StartPreCharge(400_000)], 400_000, 5_500, "power_not_obeyed"),
    ([ports.StartPreCharge(0)], 400_000, 1_000, "power_not_obeyed"),
    ([out(9_000), ports.StartPreCharge(400_000)], 400_000, 5_500, "power_not_obeyed"),
    ([ports.StartPreCharge(400_000), out(0)], 400_000, 1_000, "power_not_obeyed"),
]
"""What was commanded, the voltage, the greatest current, and what one mA more is."""


@pytest.mark.parametrize(("commands", "voltage_mv", "most_ma", "word"), FLOWS)
@at(Place, Place.connect)
async def test_a_current_beyond_its_command_and_margin_is_a_fault_after_a_second(
    place: Place, commands: list[Command], voltage_mv: int, most_ma: int, word: str
) -> None:
    for command in commands:
        place.evse.execute(command)
    await asyncio.sleep(5.0)
    place.show(voltage_mv, most_ma)
    await asyncio.sleep(5.0)
    assert place.faults == []
    place.show(voltage_mv, most_ma + (1 if most_ma > 0 else -1))  # and nothing more is reported
    await asyncio.sleep(0.95)
    assert place.faults == []
    await asyncio.sleep(0.2)
    assert place.faults == [word]


@at(Place, Place.connect)
async def test_a_stage_has_its_time_to_follow_a_lower_command(place: Place) -> None:
    place.evse.execute(out(20_000))
    for _ in range(50):
        place.show(400_000, 20_000)
        await asyncio.sleep(0.1)
    place.evse.execute(out(0))
    for _ in range(9):
        place.show(400_000, 20_000)
        assert place.faults == []
        await asyncio.sleep(0.1)
    for _ in range(3):
        place.show(400_000, 20_000)
        await asyncio.sleep(0.1)
    assert place.faults == ["power_not_obeyed"]


@pytest.mark.parametrize(
    ("voltage_mv", "ohm", "word"),
    [
        (400_000, 40_000, ""),
        (400_000, 39_999, "isolation_low"),
        (60_000, 0, ""),
        (60_001, 0, "isolation_low"),
        (60_001, None, "isolation_lost"),
        (60_000, None, ""),
    ],
)
@at(Place)
async def test_the_insulation_is_watched_while_a_voltage_is_connected(
    place: Place, voltage_mv: int, ohm: int | None, word: str
) -> None:
    place.isolation.resistance_ohm = ohm
    place.show(voltage_mv)
    assert place.evse.faults == ()
    await place.connect()
    place.show(voltage_mv)
    assert place.faults == [word] * bool(word)
    place.switch.closed = True  # the vehicle's side of a welded one
    place.isolation.resistance_ohm = 1_000_000
    place.show(400_000)
    assert place.evse.faults == (("isolation_low",) if word == "isolation_low" else ())


@at(Place, Place.connect)
async def test_a_monitor_that_answers_again_lets_the_charger_work_again(place: Place) -> None:
    """The contactor has opened then: nothing is measured at the output any more."""
    place.isolation.resistance_ohm = None
    place.show(400_000)
    assert place.evse.faults == ("isolation_lost",)
    assert not place.evse.contactors_closed
    place.show(0)
    assert place.evse.faults == ("isolation_lost",)
    place.isolation.resistance_ohm = 1_000_000
    place.show(0)
    assert place.evse.faults == ()
    assert await place.do(ports.CloseContactors()) == ports.ContactorState(closed=True)


# -- the cable check


async def checked(place: Place, voltage_mv: int = 500_000) -> Fact | None:
    await place.do(ports.TransactionStarted("0011223344556677", ""))
    place.evse.subscribe(place.facts.append)
    return await place.do(ports.StartCableCheck(voltage_mv))


@at(Place)
async def test_a_cable_check_measures_at_its_voltage_and_removes_it(place: Place) -> None:
    following = asyncio.ensure_future(place.follow())
    assert await checked(place) == PASSED
    assert place.stage.driven == [Demand(500_000), OFF]
    assert (place.isolation.measured, place.stage.present.voltage_mv) == ([500_000], 0)
    assert (place.evse.contactors_closed, place.faults, place.log.kept) == (True, [], [])
    following.cancel()


@pytest.mark.parametrize(("ohm", "word"), [(50_000, ""), (49_999, "isolation_low"), (None, "isolation_lost")])
@at(Place)
async def test_a_cable_check_judges_the_measured_insulation(place: Place, ohm: int | None, word: str) -> None:
    following = asyncio.ensure_future(place.follow())
    place.isolation.resistance_ohm = ohm
    assert await checked(place) == (FAILED if word else PASSED)
    assert place.faults == [word] * bool(word)
    following.cancel()


@at(Place)
async def test_within_a_cable_check_the_watch_of_the_insulation_waits_for_its_result(place: Place) -> None:
    place.isolation.resistance_ohm, place.isolation.takes_s = None, 3.0
    following = asyncio.ensure_future(place.follow())
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(2.0)
    assert (place.stage.present.voltage_mv, place.faults) == (500_000, [])
    place.isolation.resistance_ohm = 1_000_000
    assert await checking == PASSED
    place.isolation.resistance_ohm = None
    place.show(400_000)
    assert place.faults == ["isolation_lost"]  # it goes on after it
    following.cancel()


@pytest.mark.parametrize(("current_ma", "faults"), [(5_500, []), (5_501, ["power_not_obeyed"])])
@at(Place, Place.connect)
async def test_a_cable_check_after_charging_bears_what_a_pre_charge_does(
    place: Place, current_ma: int, faults: list[str]
) -> None:
    place.evse.execute(out(9_000))
    place.isolation.takes_s = 60.0
    checking = asyncio.ensure_future(place.do(ports.StartCableCheck(400_000)))
    await asyncio.sleep(1.0)
    place.show(400_000)
    await asyncio.sleep(5.0)
    place.show(400_000, current_ma)
    await asyncio.sleep(5.0)
    assert place.faults == faults
    checking.cancel()


def test_what_was_commanded_bounds_the_current_until_a_cable_check_applies_its_voltage() -> None:
    async def test() -> str:
        await asyncio.sleep(4.5)
        return ""

    async def scene(place: Place) -> None:
        await place.connect()
        place.evse.execute(out(9_000))
        checking = asyncio.ensure_future(place.do(ports.StartCableCheck(400_000)))
        await asyncio.sleep(0.1)
        place.show(400_000, 12_500)
        await asyncio.sleep(4.0)
        assert place.faults == []
        checking.cancel()

    play(Place, scene, test=test)


@pytest.mark.parametrize(
    ("reached_mv", "result"), [(490_000, PASSED), (489_999, refused("the output has 489.999 V, not 500 V"))]
)
@at(Place)
async def test_a_voltage_has_10_s_and_10_v_to_be_reached(place: Place, reached_mv: int, result: Fact) -> None:
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(9.9)
    place.show(reached_mv)
    await asyncio.sleep(0.05)
    assert place.isolation.measured == [500_000] * (result is PASSED)
    assert not checking.done()
    await asyncio.sleep(0.1)
    place.show(0)
    assert await checking == result


@at(Place)
async def test_a_contactor_that_does_not_close_ends_a_cable_check(place: Place) -> None:
    place.switch.set = lambda *, closed: None  # type: ignore[method-assign]
    assert await checked(place) == FAILED
    assert (place.stage.driven, place.faults) == ([OFF], ["contactor_stuck_open"])


@pytest.mark.parametrize(("at_s", "ends_s"), [(0.1, 0.1), (0.5, 0.5), (1.5, 2.0), (2.5, 2.6)])
@at(Place)
async def test_an_emergency_off_ends_a_cable_check_wherever_it_is(place: Place, at_s: float, ends_s: float) -> None:
    """While the contactor closes, the voltage rises, the insulation is measured, the output discharges."""
    place.switch.delay_s, place.isolation.takes_s = 0.25, 1.0
    checking = asyncio.ensure_future(checked(place))
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, place.show, 500_000)
    loop.call_later(at_s, place.evse.execute, ports.EmergencyOff("test"))
    loop.call_later(at_s + 0.1, place.show, 0)
    assert await checking == FAILED
    assert place.now == pytest.approx(ends_s, abs=0.01)
    await asyncio.sleep(0.3)
    assert place.stage.driven[-1] == OFF
    assert [each for each in place.stage.driven if each != OFF] == [Demand(500_000)] * (at_s > 0.25)
    assert not place.evse.contactors_closed


@at(Place)
async def test_a_cable_check_without_authorisation_ends_at_once(place: Place) -> None:
    assert await place.do(ports.StartCableCheck(500_000)) == refused("the contactor may not close: not_authorised")
    assert (place.now, place.stage.driven) == (0.0, [])


@at(Place)
async def test_a_contactor_that_closes_for_a_later_command_does_not_go_on_with_a_cable_check(place: Place) -> None:
    place.switch.delay_s = 0.25
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(0.1)
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))  # begins first, before the check notices
    place.evse.execute(ports.EmergencyOff("test"))
    assert (await checking, await closing) == (FAILED, CLOSED)
    assert {*place.stage.driven} == {OFF}


@at(Place)
async def test_a_cable_check_does_not_pass_with_a_contactor_that_has_opened_in_silence(place: Place) -> None:
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(0.1)
    place.show(500_000)
    await asyncio.sleep(0.1)
    place.switch.closed = False
    place.show(0)
    assert await checking == FAILED


@pytest.mark.parametrize("said", ["", "no response"])
def test_the_isolation_monitor_tests_itself_before_the_contactor_closes(said: str) -> None:
    seen: list[bool] = []

    async def scene(place: Place) -> None:
        seen.append(place.switch.closed)
        following = asyncio.ensure_future(place.follow())
        assert await checked(place) == (FAILED if said else PASSED)
        assert seen == [False, False]
        assert place.log.kept == [("isolation", said, 300, "0011223344556677")]
        assert place.faults == ["isolation_test_failed"] * bool(said)
        assert place.isolation.measured == [] if said else [500_000]
        following.cancel()

    async def test() -> str:
        seen.append(False)
        await asyncio.sleep(0.3)
        return said

    play(Place, scene, test=test)


# -- off


@pytest.mark.parametrize(
    ("current_ma", "opens_s"), [(1_000, 0.0), (1_001, 1.0), (-1_000, 0.0), (-1_001, 1.0), (20_000, 1.0)]
)
@at(Place, Place.connect)
async def test_the_contactor_opens_without_a_current_or_after_a_second(
    place: Place, current_ma: int, opens_s: float
) -> None:
    place.evse.execute(out(20_000))
    place.stage.present = StageReport(0, current_ma)
    began = place.now
    opened: list[float] = []
    place.switch.on_change(lambda closed: opened.append(place.now - began))
    assert await place.do(ports.OpenContactors()) == OPEN
    assert place.stage.driven[-1] == OFF
    assert opened == [pytest.approx(opens_s, abs=0.001)]


@at(Place, Place.connect)
async def test_the_contactor_opens_as_soon_as_the_current_has_ceased(place: Place) -> None:
    place.show(0, 1_001)
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(0.5)
    assert place.switch.closed
    place.show(0, 0)
    await asyncio.sleep(0.01)
    assert opening.result() == OPEN


@pytest.mark.parametrize(("voltage_mv", "faults"), [(59_999, []), (60_000, ["discharge_too_slow"])])
@at(Place, Place.connect)
async def test_an_open_output_is_dead_within_its_time(place: Place, voltage_mv: int, faults: list[str]) -> None:
    place.show(400_000)
    opening = asyncio.ensure_future(place.do(ports.OpenContactors()))
    await asyncio.sleep(1.9)
    assert not opening.done()
    place.show(voltage_mv)
    await asyncio.sleep(0.15)
    assert (opening.result(), place.faults) == (OPEN, faults)
    place.show(59_999)
    assert place.evse.faults == ()


@at(Place, Place.connect)
async def test_a_contactor_that_stays_closed_is_not_waited_for_to_discharge(place: Place) -> None:
    place.show(400_000)
    place.switch.set = lambda *, closed: None  # type: ignore[method-assign]
    assert await place.do(ports.OpenContactors()) == CLOSED
    assert place.faults == ["contactor_welded"]


@pytest.mark.parametrize(
    ("voltage_mv", "failed", "took_ms"),
    [(59_999, "", 0), (60_000, "60 V are at the output", 2_000), (60_500, "60.5 V are at the output", 2_000)],
)
@at(Place)
async def test_a_self_test_finds_a_voltage_that_nobody_commanded(
    place: Place, voltage_mv: int, failed: str, took_ms: int
) -> None:
    place.stage.present = StageReport(voltage_mv, 0)
    await place.evse.power_up()
    assert place.log.kept == [("self_test", failed, took_ms, "")]
    assert place.evse.faults == ("self_test_failed",) * bool(failed)


@at(Place, Place.connect)
async def test_after_its_end_nothing_is_watched(place: Place) -> None:
    place.show(400_000, 1_001)
    await place.evse.close()
    place.facts.clear()
    await asyncio.sleep(10.0)
    assert place.facts == []


@at(Place, Place.connect, report_s=0.1)
async def test_each_check_watches_the_output_without_reports(place: Place) -> None:
    place.evse.execute(out(0))
    place.stage.present = StageReport(400_000, 2_000)
    await asyncio.sleep(2.0)
    assert place.faults == ["power_not_obeyed"]


# -- figures of a session

SESSION = "0011223344556677"


@pytest.mark.requirement("R38")
@at(Place)
async def test_a_session_reports_times_of_contactors_and_cable_check_and_the_gap_of_the_pre_charge(
    place: Place,
) -> None:
    said: list[tuple[str, dict[MetricName, float]]] = []
    place.evse.on_session(lambda session_id, values: said.append((session_id, dict(values))))
    place.switch.delay_s = 0.08
    following = asyncio.ensure_future(place.follow())
    await place.do(ports.TransactionStarted(SESSION, ""))
    assert await place.do(ports.StartCableCheck(500_000)) == ports.CableCheckFinished(passed=True)
    following.cancel()
    place.evse.execute(ports.StartPreCharge(400_000))
    place.show(407_000)
    place.evse.execute(ports.SetOutput(400_000, 60_000, 20_000, 8_000))
    place.show(409_000)
    place.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 8_000))
    place.show(0)
    await place.do(ports.OpenContactors())
    await place.do(ports.TransactionEnded(SESSION, "vehicle", "StoppedByEV", None))
    ((session_id, values),) = said
    assert session_id == SESSION
    assert values.pop("cable_check_s") == pytest.approx(0.09, abs=0.02)
    assert values == {
        "contactor_close_s": pytest.approx(0.08), "contactor_open_s": pytest.approx(0.08), "pre_charge_gap_v": 7.0,
    }  # fmt: skip


@at(Place)
async def test_a_session_without_figures_reports_none(place: Place) -> None:
    said: list[str] = []
    place.evse.on_session(lambda session_id, values: said.append(session_id))
    await place.do(ports.TransactionStarted(SESSION, ""))
    await place.do(ports.TransactionEnded(SESSION, "vehicle", "StoppedByEV", None))
    assert said == []


@pytest.mark.parametrize(
    "commands", [(ports.StartPreCharge(400_000), ports.SetOutput(0, 0, 0, 0)), (ports.SetOutput(400_000, 0, 9, 9),)]
)
@at(Place, Place.connect)
async def test_without_a_pre_charge_to_its_end_there_is_no_gap(place: Place, commands: tuple[Command, ...]) -> None:
    said: list[dict[MetricName, float]] = []
    place.evse.on_session(lambda _, values: said.append(dict(values)))
    for each in commands:
        place.evse.execute(each)
        place.show(20_000)
    await place.do(ports.TransactionEnded(SESSION, "vehicle", "StoppedByEV", None))
    assert ["pre_charge_gap_v" in each for each in said] == [False]


@at(Place, Place.connect)
async def test_each_session_reports_its_energy_for_each_by_the_meter_in_both_directions(place: Place) -> None:
    said: list[dict[MetricName, float]] = []
    place.evse.on_session(lambda _, values: said.append(dict(values)))
    for current_ma, metered_mwh in ((50_000, 340_000), (-50_000, 350_000)):
        await place.do(ports.TransactionStarted(SESSION, ""))
        for each in (current_ma, -current_ma):
            place.show(400_000, each)
            await asyncio.sleep(30)
        place.show(0)
        place.meter.import_mwh += metered_mwh // 2
        place.meter.export_mwh += metered_mwh // 2
        await place.do(ports.TransactionEnded(SESSION, "vehicle", "StoppedByEV", None))
    wanted = [333_333 / 340_000, 333_333 / 350_000]
    assert [each["efficiency"] for each in said] == pytest.approx(wanted, rel=1e-4)


@at(Place, Place.connect, report_s=1.0)
async def test_a_session_reports_by_how_much_its_hottest_sensor_has_risen(place: Place) -> None:
    said: list[dict[MetricName, float]] = []
    place.evse.on_session(lambda _, values: said.append(dict(values)))
    place.cabinet.temperatures = {"plug": 20.0, "cabinet": 25.0}
    place.evse.execute(ports.SetOutput(450_000, 60_000, 20_000, 8_000))
    place.show(400_000, 5_000)
    await asyncio.sleep(10)
    place.cabinet.temperatures = {"plug": 45.0, "cabinet": 25.0}
    await asyncio.sleep(300)
    await place.do(ports.TransactionEnded(SESSION, "vehicle", "StoppedByEV", None))
    assert [each["heat_k_per_kw"] for each in said] == [pytest.approx(10.0)]
