"""The self-test of an EVSE: what it commands, what it finds, and when it is repeated, step by step."""

import asyncio
import itertools
from typing import Any

import pytest

from secc.hardware.evse import asked
from secc.session import ports
from tests.secc.hardware.bare import at, run
from tests.secc.hardware.plain import Place, made
from tests.together import together
from v2g.iec61851.pilot import PilotState


class Board:
    """A driver's own test, which says what it is set to and notes when it was asked."""

    def __init__(self, place: Place) -> None:
        self.place, self.says, self.takes_s = place, "", 0.0
        self.asked: list[float] = []
        self.ended = 0
        place.parts.self_test = self

    async def __call__(self) -> str:
        self.asked.append(self.place.now)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.ended += 1
        return self.says

    @property
    def pauses(self) -> list[float]:
        return [round(after - before) for before, after in itertools.pairwise(self.asked)]


# -- what it commands


@at(made, pilot=True)
async def test_everything_is_commanded_off_and_the_pilot_gets_each_of_its_signals(place: Place) -> None:
    place.wire.duty_percent, place.switch.closed = 10.0, True
    await place.evse.power_up()
    assert (place.switch.closed, place.evse.switched_off) == (False, 1)
    assert place.wire.commanded == [PilotState.F, None, 5.0, 10.0]
    assert (place.log.kept, place.received) == ([("self_test", "", 0, "")], [])


@at(Place)
async def test_without_pilot_board_test_and_log_the_rest_is_tested(place: Place) -> None:
    place.parts.log = None
    place.make()
    await place.evse.power_up()
    assert place.received == []
    assert place.evse.looked == 1


@at(Place)
async def test_a_board_that_begins_with_f_has_a_second_to_be_ready(place: Place) -> None:
    place.wire.state = PilotState.F
    place.make(pilot=True)
    asyncio.get_running_loop().call_later(0.9, place.wire.show, PilotState.A)
    await place.evse.power_up()
    assert (place.now, len(place.log.kept)) == (pytest.approx(0.9, abs=0.03), 1)


@at(Place)
async def test_nothing_is_tested_while_a_fault_is_at_the_pilot(place: Place) -> None:
    place.wire.state = PilotState.F
    place.make(pilot=True)
    await place.evse.power_up()
    assert place.now == pytest.approx(1.0, abs=0.03)
    assert (place.wire.commanded, place.log.kept) == ([], [])


@pytest.mark.parametrize("state", [PilotState.B, PilotState.C])
@pytest.mark.parametrize("says", ["", "the residual current monitor does not trip"])
@at(Place)
async def test_with_a_vehicle_at_the_start_what_it_does_not_notice_is_tested(
    place: Place, says: str, state: PilotState
) -> None:
    board, place.wire.state, place.switch.closed = Board(place), state, True
    board.says = says
    place.make(pilot=True)
    await place.evse.power_up()
    assert (place.switch.closed, place.evse.switched_off, len(board.asked)) == (False, 1, 1)
    assert place.wire.commanded == [], "the pilot does not move"
    assert place.log.kept == [("self_test", says, 0, "")]
    assert place.evse.faults == (("self_test_failed",) if says else ())


@at(made, pilot=True)
async def test_each_step_has_a_second(place: Place) -> None:
    place.wire.delay_s = place.switch.delay_s = 0.97
    place.switch.closed = True
    await place.evse.power_up()
    assert place.log.kept == [("self_test", "", pytest.approx(2_940, abs=100), "")]


# -- what it finds


async def finds(place: Place, failed: str, took_s: float = 0.0) -> None:
    """It fails with this, which is a fault."""
    began = place.now
    await place.evse.power_up()
    assert place.log.kept == [("self_test", failed, pytest.approx(took_s * 1000, abs=50), "")]
    assert place.now - began == pytest.approx(took_s, abs=0.05)
    assert place.evse.faults == ("self_test_failed",)


@at(Place)
async def test_a_contactor_that_does_not_open_is_found(place: Place) -> None:
    board = Board(place)
    place.make()
    place.switch.delay_s, place.switch.closed = 1.1, True
    await finds(place, "the contactor does not open", 1.0)
    assert board.asked == []


@pytest.mark.parametrize(
    ("deaf_to", "shown", "commanded"),
    [
        (PilotState.F, "F", [PilotState.F, 10.0]),
        (None, "A", [PilotState.F, None, 10.0]),
    ],
)
@at(Place)
async def test_a_pilot_that_does_not_show_its_signal_is_found(
    place: Place, deaf_to: Any, shown: str, commanded: list[Any]
) -> None:
    board = Board(place)
    place.make(pilot=True)
    place.wire.duty_percent = 10.0
    place.wire.obeys = lambda signal: signal is not deaf_to
    await finds(place, f"the control pilot does not show {shown}", 1.0)
    assert place.wire.commanded == commanded
    assert board.asked == []


@at(made, pilot=True)
async def test_a_pilot_that_leaves_its_state_with_the_oscillator_is_found(place: Place) -> None:

    def obeys(signal: Any) -> bool:
        if signal == 5.0:
            place.wire.show(PilotState.E)
        return signal != 5.0

    place.wire.obeys = obeys
    await place.evse.power_up()
    assert place.log.kept[0][1] == "the control pilot does not show A"
    assert place.wire.commanded == [PilotState.F, None, 5.0, None]


@pytest.mark.parametrize(("age_s", "failed"), [(1.0, ""), (1.001, "the control pilot is not measured")])
@at(made, pilot=True)
async def test_a_pilot_that_is_not_measured_is_found(place: Place, age_s: float, failed: str) -> None:
    place.wire.age_s = age_s
    await place.evse.power_up()
    assert place.log.kept[0][1] == failed
    assert place.now == pytest.approx(1.0 * bool(failed), abs=0.05)


@at(made, pilot=True)
async def test_a_duty_cycle_that_does_not_return_is_found(place: Place) -> None:
    place.wire.duty_percent = 10.0
    place.wire.obeys = lambda signal: signal != 10.0
    await finds(place, "the control pilot is not measured", 1.0)


@at(Place)
async def test_what_a_boards_own_test_says_is_found_before_the_output_is_looked_at(place: Place) -> None:
    board = Board(place)
    board.says, board.takes_s = "dead-man", 0.5
    place.make(pilot=True)
    place.evse.failed = "60 V are at the output"
    await finds(place, "dead-man", 0.5)


@at(Place)
async def test_an_output_with_a_voltage_is_found(place: Place) -> None:
    board = Board(place)
    place.make(pilot=True)
    place.evse.failed = "60 V are at the output"
    await finds(place, "60 V are at the output")
    assert (len(board.asked), place.evse.looked) == (1, 0)


@at(made)
async def test_a_supervision_that_fails_is_found(place: Place) -> None:
    place.evse.breaks = RuntimeError()
    await place.evse.power_up()
    assert place.log.kept == [("self_test", "supervision fails", 0, "")]
    assert place.evse.faults == ("charger_failed",)  # which says it already


@pytest.mark.parametrize(("word", "failed"), [("charger_failed", "a driver fails"), ("over_temperature", "")])
@pytest.mark.parametrize("before", [False, True])
@at(Place)
async def test_a_driver_that_fails_during_the_test_is_found_also_if_it_had_failed_before(
    place: Place, word: str, failed: str, before: bool
) -> None:
    board = Board(place)
    board.takes_s = 1.0
    place.make()
    if before:
        place.evse.fault(word, active=True)
    asyncio.get_running_loop().call_later(0.5, place.evse.fault, word, True)  # noqa: FBT003
    await place.evse.power_up()
    assert place.log.kept == [("self_test", failed, 1_000, "")]
    assert place.evse.faults == ((word,) if failed else ())


@at(Place)
async def test_the_end_of_a_drivers_failure_is_none(place: Place) -> None:
    board = Board(place)
    board.takes_s = 1.0
    place.make()
    place.evse.fault("charger_failed", active=True)
    asyncio.get_running_loop().call_later(0.5, place.evse.fault, "charger_failed", False)  # noqa: FBT003
    await place.evse.power_up()
    assert place.evse.faults == ()


@at(made)
async def test_a_part_that_cannot_be_switched_off_does_not_keep_the_contactor_closed(place: Place) -> None:
    place.evse.breaks_off, place.switch.closed = RuntimeError(), True
    await place.evse.power_up()
    assert not place.switch.closed
    assert place.log.kept == [("self_test", "", 0, "")]


@at(made, pilot=True)
async def test_only_what_a_test_ends_is_ended_by_one(place: Place) -> None:
    for each in ("charger_failed", "over_temperature", "self_test_failed"):
        place.evse.fault(each, active=True)
    await place.evse.power_up()
    assert place.evse.faults == ()  # each look at the temperatures says that they are fine
    place.evse.fault("stage_tripped", active=True)
    place.evse.fault("charger_failed", active=True)
    await place.evse.power_up()
    assert place.evse.faults == ("stage_tripped",)


@at(Place)
async def test_a_test_beside_a_vehicle_cuts_nothing_and_ends_nothing(place: Place) -> None:
    """It is only of what the vehicle does not notice."""
    cut = Board(place)
    place.parts.self_test, place.parts.cut_test = None, cut
    place.make(pilot=True)
    place.evse.fault("charger_failed", active=True)
    place.wire.plug(PilotState.B)
    await place.evse.power_up()
    assert (place.log.kept, place.evse.faults) == ([("self_test", "", 0, "")], ("charger_failed",))
    assert cut.asked == []


@at(Place)
async def test_what_fails_first_is_the_result(place: Place) -> None:
    """A cut is tried only where the board's own test has passed."""
    place.parts.cut_test = cut = Board(place)
    Board(place).says = "dead-man"
    place.make()
    await place.evse.power_up()
    assert (place.log.kept, cut.asked) == ([("self_test", "dead-man", 0, "")], [])


@at(Place)
async def test_a_failed_test_adds_no_fault_to_one_that_stops_energy_already(place: Place) -> None:
    Board(place).says = "dead-man"
    place.make()
    place.evse.fault("stage_tripped", active=True)
    await place.evse.power_up()
    assert place.evse.faults == ("stage_tripped",)


# -- somebody comes while it runs


@pytest.mark.parametrize("says", ["", "dead-man"])
@at(Place)
async def test_somebody_who_plugs_in_meanwhile_ends_it_without_a_result(place: Place, says: str) -> None:
    board = Board(place)
    board.says, board.takes_s = says, 1.0
    place.make(pilot=True)
    place.evse.fault("charger_failed", active=True)
    asyncio.get_running_loop().call_later(0.5, place.wire.plug, PilotState.B)
    await place.evse.power_up()
    assert (place.log.kept, place.evse.faults) == ([], ("charger_failed",))


@at(made, pilot=True)
async def test_a_contactor_that_stays_closed_is_a_result_whoever_plugs_in(place: Place) -> None:
    place.switch.closed, place.switch.delay_s = True, 9.0
    asyncio.get_running_loop().call_later(0.5, place.wire.plug, PilotState.B)
    await finds(place, "the contactor does not open", 1.0)


# -- when it is repeated

PAUSES = [5, 5, 5, 10, 20, 35, 65, 130, 260, *[300] * 11]
"""1, 2, 4 to 300 s, where it is looked every 5.003 s."""


@at(Place)
async def test_it_is_repeated_ever_less_and_not_for_ever(place: Place) -> None:
    board = Board(place)
    board.says = "dead-man"
    place.make(report_s=5.003)
    await place.evse.power_up()
    await asyncio.sleep(6_000)
    assert board.pauses == PAUSES
    assert place.evse.faults == ("self_test_failed",)


@at(Place)
async def test_it_is_repeated_until_it_passes(place: Place) -> None:
    board = Board(place)
    board.says = "dead-man"
    place.make(report_s=0.1)
    await place.evse.power_up()
    await asyncio.sleep(4.0)
    board.says = ""
    await asyncio.sleep(60.0)
    assert (board.pauses, place.evse.faults) == ([1, 2, 4], ())
    assert [failed for _, failed, _, _ in place.log.kept] == ["dead-man"] * 3 + [""]


@at(Place)
async def test_a_failure_is_tested_at_once(place: Place) -> None:
    board = Board(place)
    place.make(report_s=0.1)
    await asyncio.sleep(1.0)
    assert board.asked == []
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(0.15)
    assert (len(board.asked), place.evse.faults) == (1, ())


@at(Place)
async def test_it_waits_until_nobody_is_plugged_in(place: Place) -> None:
    board = Board(place)
    place.make(pilot=True, report_s=0.1)
    place.wire.plug(PilotState.B)
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(30.0)
    assert board.asked == []
    place.wire.plug(PilotState.A)
    await asyncio.sleep(0.15)
    assert (len(board.asked), place.evse.faults) == (1, ())


@at(Place)
async def test_one_is_finished_before_the_next_begins(place: Place) -> None:
    board = Board(place)
    board.takes_s = 4.0
    place.make(report_s=0.1)
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(4.0)
    assert len(board.asked) == 1
    await asyncio.sleep(1.0)
    assert place.evse.faults == ()


@pytest.mark.parametrize(("sound_s", "first"), [(599.3, 16), (600.7, 1)])
@at(Place)
async def test_ten_minutes_without_a_failure_let_the_pauses_begin_anew(
    place: Place, sound_s: float, first: int
) -> None:
    board = Board(place)
    board.says = "dead-man"
    place.make(report_s=0.5)
    await place.evse.power_up()
    await asyncio.sleep(4.0)
    board.says = ""
    await asyncio.sleep(4.0)  # passes 7 s after the beginning; the next one could be 8 s later
    assert place.evse.faults == ()
    await asyncio.sleep(7.0 + sound_s)
    board.asked.clear()
    board.says = "dead-man"
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(20.0)
    assert board.pauses[0] == first


@pytest.mark.parametrize(("rests_s", "repeated"), [(60, 0), (600, 0), (910, 20)])
@at(Place)
async def test_ten_minutes_without_a_failure_let_the_number_of_repetitions_begin_anew(
    place: Place, rests_s: float, repeated: int
) -> None:
    """They begin when the next one could be: 300 s after the last."""
    board = Board(place)
    board.says = "dead-man"
    place.make(report_s=5.003)
    await place.evse.power_up()
    await asyncio.sleep(sum(PAUSES) - 150)
    board.says = ""
    await asyncio.sleep(160.0)  # the last one passes
    assert (len(board.asked), place.evse.faults) == (21, ())
    await asyncio.sleep(rests_s)
    board.says = "dead-man"
    board.asked.clear()
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(6_000.0)
    assert len(board.asked) == repeated


@at(Place)
async def test_what_is_under_way_ends_with_the_charger(place: Place) -> None:
    board = Board(place)
    board.takes_s = 4.0
    place.make(report_s=0.1)
    place.evse.fault("charger_failed", active=True)
    await asyncio.sleep(1.0)
    await place.evse.close()
    assert (len(board.asked), board.ended) == (1, 1)
    await asyncio.sleep(10.0)
    assert (len(board.asked), place.log.kept) == (1, [])


# -- the driver's own test


async def _raises(error: Exception) -> str:
    raise error


async def _says(what: Any, after_s: float) -> str:
    await asyncio.sleep(after_s)
    return what  # type: ignore[no-any-return]


@together(
    ("test", "failed"),
    [
        (lambda: _says("", 4.99), ""),
        (lambda: _says("dead-man", 4.99), "dead-man"),
        (lambda: _says("", 5.01), "no result of the driver's test within 5 s"),
        (lambda: _raises(ValueError("no\x1b[0m port")), "ValueError: no\\u001b[0m port"),
        (lambda: _raises(ValueError("x" * 300)), f"ValueError: {'x' * 188}"),
        (lambda: _says("a\nb", 0.0), "a\\u000ab"),
        (lambda: _says("x" * 201, 0.0), "x" * 200),
        (lambda: _says(7, 0.0), "7"),
    ],
)
def test_a_drivers_own_test_fails_by_what_it_says_raises_or_lasts(test: Any, failed: str) -> None:
    async def scene() -> None:
        assert await asked(test) == failed

    run(scene)


@at(made)
async def test_a_test_is_of_no_session(place: Place) -> None:
    await place.authorise()
    place.evse.execute(ports.TransactionEnded("0011223344556677", "ended", "Local", None))
    await place.evse.power_up()
    assert place.log.kept == [("self_test", "", 0, "")]
