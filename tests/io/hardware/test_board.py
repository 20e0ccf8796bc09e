"""A control board at the far end of a port, message by message in simulated time: what is commanded, what is reported,
and what each answer means."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import ConfigError, TransportError
from v2g.hardware.board import inputs
from v2g.hardware.board.protocol import (
    OFF,
    VERSION,
    BoardLine,
    BoardStatus,
    Hello,
    LineReader,
    Set,
    StatusQuery,
    Temperatures,
    encode,
)
from v2g.iec61851.pilot import NOMINAL_MV, PilotState
from v2g.iec61851.proximity import Proximity
from v2g.io.hardware import board as module
from v2g.io.hardware.board import DRIVER, BoardConfig, SerialBoard
from v2g.io.hardware.driver import DriverContext
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe

HELLO = Hello(version=VERSION, board="b", serial="s", firmware="f", boot=1, contactor=True, latch=True, fan=True)
DEAD_MAN_S = 0.3
CONFIG = BoardConfig(device="/dev/board", lost_s=DEAD_MAN_S)


class Far:
    """A board that answers each command with what it does, and shows F when commands cease. `shows` changes that."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.hello: Hello | None = HELLO
        self.shows: Callable[[BoardStatus], BoardStatus | None] = lambda status: status
        self.vehicle = "A"
        self.dead_man = True
        self.opened: list[tuple[str, int, int]] = []
        self.sets: list[Set] = []
        self.tells: list[inputs.Input] = []
        self.missing = self.full = self.holds = False
        self.looks = 0
        self.port: Far | None = None
        self._reader, self._seq = LineReader(), 0
        self._unread = b""
        self._timer: asyncio.TimerHandle | None = None

    # -- the port

    def open(self, device: str, baud_rate: int, *, on_data: Any, on_gone: Any, backlog: int) -> "Far":
        self.opened.append((device, baud_rate, backlog))
        if self.missing:
            raise TransportError("no such port")
        self.port, self.on_data, self.gone = self, on_data, on_gone
        return self

    def write(self, data: bytes) -> None:
        if self.full:
            raise TransportError("the port is closed")
        for line in self._reader.feed(data):
            self._take(line)

    def read_now(self) -> None:
        self.looks += 1
        unread, self._unread = self._unread, b""
        if unread:
            self.on_data(unread)

    def close(self) -> None:
        self.port = None

    # -- the board

    def _take(self, line: BoardLine) -> None:
        match line.message:
            case Hello():
                if self.hello is not None:
                    self.send(self.hello)
            case Set() as wanted:
                self.sets.append(wanted)
                pilot = wanted.pilot if wanted.pilot != "run" else self.vehicle
                runs = wanted.pilot == "run" and wanted.duty != OFF
                self.send(
                    self.shows(
                        BoardStatus(
                            set=line.seq,
                            cp=pilot,  # type: ignore[arg-type]
                            high=NOMINAL_MV[PilotState(pilot)],
                            low=-12_000 if runs else None,
                            duty=wanted.duty,
                            contactor=wanted.contactor,
                            latch=wanted.latch,
                            fan=wanted.fan * 30,
                            told=wanted.told,
                        )
                    )
                )
                if self._timer is not None:
                    self._timer.cancel()
                if self.dead_man:
                    self._timer = self.loop.call_later(DEAD_MAN_S, self._alone, line.seq)
            case StatusQuery(input=what) if self.hello is not None:
                self.tells.append(what)

    def _alone(self, seq: int) -> None:
        self.send(self.shows(BoardStatus(set=seq, cp="F", high=-12_000)))
        self._timer = self.loop.call_later(0.02, self._alone, seq)

    def send(self, message: Any) -> None:
        if message is None:
            return
        self._seq += 1
        data = encode(BoardLine(self._seq, message))
        if self.holds:
            self._unread += data
        else:
            self.loop.call_soon(lambda: self.on_data(data))

    def stop(self) -> None:
        """It sends nothing more."""
        self.hello = None
        self.send = lambda _: None  # type: ignore[method-assign, assignment]
        if self._timer is not None:
            self._timer.cancel()


class Place:
    """A board, and what it reports."""

    def __init__(self, far: Far, config: BoardConfig = CONFIG) -> None:
        self.far, self.loop = far, asyncio.get_running_loop()
        self.notes: list[Observe] = []
        self.faults: list[tuple[str, bool]] = []
        self.moved: list[bool] = []
        self.states: list[PilotState] = []
        self.locked: list[bool] = []
        self.board = SerialBoard(config, Clock(), self.notes.append)
        self.board.on_fault(lambda word, active: self.faults.append((word, active)))
        self.board.contactor.on_change(self.moved.append)
        self.board.on_state(self.states.append)
        self.board.on_latch(self.locked.append)

    @property
    def now(self) -> float:
        return self.loop.time() - 1000

    async def found(self) -> None:
        assert await self.board.ready(1.0)
        await asyncio.sleep(0.01)
        for each in (self.faults, self.moved, self.states, self.notes):
            each.clear()

    def show(self, **changes: Any) -> None:
        """From now on the board shows this."""
        self.far.shows = lambda status: msgspec.structs.replace(status, **changes)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what plays a scene with a board that is found, unless it says otherwise."""

    def play(scene: Callable[[Place], Coroutine[Any, Any, None]], *, found: bool = True, **far: Any) -> None:
        async def scenario() -> None:
            other = Far()
            for name, value in far.items():
                setattr(other, name, value)
            monkeypatch.setattr(module, "SerialPort", other.open)
            place = Place(other)
            if found:
                await place.found()
            await scene(place)
            place.board.close()
            other.stop()

        in_simulated_time(scenario())

    return play


# -- found and lost


def test_a_board_is_lost_until_it_has_answered(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        board = place.board
        assert place.faults == [("board_lost", True)]
        assert (board.state, board.contactor.closed, board.duty_percent) == (PilotState.F, False, None)
        assert (board.has_contactor, board.has_latch, board.has_monitor, board.fan_rpm) == (False, False, False, None)
        assert (board.temperatures, board.proximity, board.age_s) == (
            {},
            Proximity("open"),
            pytest.approx(0.0, abs=0.01),
        )
        assert await board.ready(1.0)
        await asyncio.sleep(0.01)
        assert place.faults == [("board_lost", True), ("board_lost", False), ("board_incompatible", False)]
        assert place.notes == [Observe("hardware", "board_found", {"board": "b", "serial": "s", "firmware": "f"})]
        assert (board.has_contactor, board.has_latch, board.has_monitor, board.fan_rpm) == (True, True, False, 0)
        assert (place.states, place.moved, place.locked) == ([PilotState.A], [False], [False])
        assert place.far.opened == [("/dev/board", 115_200, 4_096)]
        later: list[Any] = []
        board.on_fault(lambda *fault: later.append(fault))
        assert later == []

    scenes(scene, found=False)


def test_a_board_that_says_nothing_is_waited_for(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        assert not await place.board.ready(0.7)
        assert place.now == pytest.approx(0.7, abs=0.001)

    scenes(scene, found=False, hello=None)


def test_a_board_that_restarts_when_its_port_is_opened_is_waited_for(scenes: Any) -> None:
    """As many do: what ran until then answers first."""

    async def scene(place: Place) -> None:
        def restart(status: BoardStatus) -> None:
            place.far.shows = lambda status: status
            place.far.send(status)
            place.far.send(msgspec.structs.replace(HELLO, boot=2))

        place.far.shows = restart
        assert await place.board.ready(1.0)
        assert place.now < 0.1
        assert [each.data.get("why") for each in place.notes] == [None, "restarted", None]

    scenes(scene, found=False)


def test_a_board_that_has_only_introduced_itself_shows_nothing(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.shows = lambda _: None
        await asyncio.sleep(0.1)
        assert (place.board.has_contactor, place.board.fan_rpm, place.board.contactor.closed) == (True, None, False)
        assert not await place.board.ready(0.1)

    scenes(scene, found=False)


@pytest.mark.parametrize(
    ("part", "name"), [("contactor", "has_contactor"), ("latch", "has_latch"), ("monitor", "has_monitor")]
)
@pytest.mark.parametrize("has", [True, False])
def test_a_board_has_what_it_says(scenes: Any, part: str, name: str, has: bool) -> None:
    async def scene(place: Place) -> None:
        assert getattr(place.board, name) is has

    scenes(scene, hello=msgspec.structs.replace(HELLO, **{part: has}))


def test_a_board_without_a_fan_has_no_speed(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        assert place.board.fan_rpm is None

    scenes(scene, hello=msgspec.structs.replace(HELLO, fan=False))


def test_a_board_of_another_version_is_said_to_be_one(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        assert not await place.board.ready(1.0)
        assert place.faults == [("board_lost", True), ("board_incompatible", True)]
        later: list[Any] = []
        place.board.on_fault(lambda *fault: later.append(fault))
        assert later == [("board_incompatible", True)]

    scenes(scene, found=False, hello=msgspec.structs.replace(HELLO, version=VERSION + 1))


def test_a_silent_board_has_opened_its_contactor_and_shows_f(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        board = place.board
        board.contactor.set(closed=True)
        assert not board.contactor.closed  # it has not said so yet
        await asyncio.sleep(0.05)
        assert (board.contactor.closed, place.moved) == (True, [True])
        place.far.stop()
        assert board.age_s == pytest.approx(0.0, abs=0.03)
        await asyncio.sleep(0.35)
        assert place.faults == [("board_lost", True)]
        assert (place.moved, place.states) == ([True, False], [PilotState.F])
        assert (board.contactor.closed, board.fan_rpm, board.fault) == (False, None, "")
        assert board.age_s == pytest.approx(0.35, abs=0.03)
        why = {"fault": "board_lost", "why": "no response for 300 ms", "missed": 0, "broken": 0}
        assert place.notes == [Observe("hardware", "board_lost", why)]
        assert not await board.ready(0.1)

    scenes(scene)


def test_what_a_busy_loop_has_not_read_is_read_before_a_board_counts_as_lost(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.holds = True
        await asyncio.sleep(2.0)
        assert place.faults == []

    scenes(scene)


def test_a_port_that_takes_nothing_is_no_error(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.full = True
        place.board.set_fan(5)
        await asyncio.sleep(0.35)
        assert place.faults[-1] == ("board_lost", True)

    scenes(scene)


def test_a_port_that_is_pulled_out_is_opened_again(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        far = place.far
        far.missing = True
        far.gone()
        assert place.faults == [("board_lost", True)]
        assert place.notes[0].data["why"] == "the port is gone"
        await asyncio.sleep(1.6)
        assert len(far.opened) == 4  # at the start, and each half second
        far.missing = False
        await asyncio.sleep(0.5)
        assert (len(far.opened), place.faults[-2:]) == (5, [("board_lost", False), ("board_incompatible", False)])
        await asyncio.sleep(2.0)
        assert len(far.opened) == 5

    scenes(scene)


def test_a_board_that_has_returned_shows_again_what_it_showed(scenes: Any) -> None:
    """It begins without an oscillator: who is told that it runs would wait for the vehicle in vain."""

    async def scene(place: Place) -> None:
        on: list[bool] = []
        place.board.on_oscillator(on.append)
        place.board.set_duty(5.0)
        place.board.set_light("red")
        place.far.gone()
        assert (on, place.board.duty_percent) == ([True, False], None)
        place.board.set_duty(5.0)  # it is not there
        assert on == [True, False]
        await asyncio.sleep(0.6)
        assert place.far.sets[-1] == Set(light="red")
        place.board.set_error(PilotState.F)
        place.far.gone()
        await asyncio.sleep(0.6)
        assert place.far.sets[-1] == Set(light="red", pilot="F")

    scenes(scene)


def test_a_port_that_has_returned_is_not_opened_twice(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.gone()
        place.far.gone()
        await asyncio.sleep(1.0)
        assert len(place.far.opened) == 2

    scenes(scene)


def test_a_closed_board_is_left_safe_and_not_opened_again(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        far, board = place.far, place.board
        board.contactor.set(closed=True)
        board.close()
        assert (far.port, far.sets[-1].contactor) == (None, False)
        sent = len(far.sets)
        await asyncio.sleep(1.0)
        assert len(far.sets) == sent
        far.gone()
        await asyncio.sleep(2.0)
        assert (len(far.opened), len(far.sets)) == (1, sent)
        board.close()  # without a port

    scenes(scene)


def test_a_closed_board_that_does_not_answer_gets_no_more_commands(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.stop()
        place.board.close()
        sent = len(place.far.sets)
        await asyncio.sleep(1.0)
        assert len(place.far.sets) == sent

    scenes(scene)


def test_a_board_that_is_closed_before_its_port_returns_is_not_opened(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.gone()
        place.board.close()
        await asyncio.sleep(2.0)
        assert len(place.far.opened) == 1

    scenes(scene)


# -- commands


@pytest.mark.parametrize(
    ("percent", "duty", "read"),
    [(5.0, 500, 5.0), (None, OFF, None), (0.29, 29, 0.29), (16 / 0.6, 2_666, 26.66), (100.0, OFF, None)],
)
def test_a_duty_cycle_is_commanded_in_hundredths(
    scenes: Any, percent: float | None, duty: int, read: float | None
) -> None:
    async def scene(place: Place) -> None:
        place.board.set_error(PilotState.E)
        place.board.set_duty(percent)
        assert (place.far.sets[-1].duty, place.far.sets[-1].pilot) == (duty, "run")
        assert place.board.duty_percent == read

    scenes(scene)


def test_an_error_is_forced_and_the_oscillator_is_reported(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        on: list[bool] = []
        place.board.on_oscillator(on.append)
        place.board.set_duty(5.0)
        for error in (PilotState.E, PilotState.F):
            place.board.set_error(error)
            assert (place.far.sets[-1].pilot, place.far.sets[-1].duty) == (error.value, OFF)
        assert on == [True, False]

    scenes(scene)


def test_lamp_lock_fan_and_contactor_are_commanded_together(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        locked: list[bool] = []
        place.board.on_latch(locked.append)
        place.board.set_light("charging")
        place.board.set_latch(locked=True)
        place.board.set_fan(50)
        place.board.contactor.set(closed=True)
        assert place.far.sets[-1] == Set(light="charging", latch=True, fan=50, contactor=True)
        await asyncio.sleep(0.1)
        assert (locked, place.moved, place.board.fan_rpm) == ([True], [True], 1_500)
        place.board.set_latch(locked=False)
        await asyncio.sleep(0.1)
        assert locked == [True, False]

    scenes(scene)


def test_commands_are_repeated(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        sent, looks = len(place.far.sets), place.far.looks
        await asyncio.sleep(1.0)
        assert len(place.far.sets) - sent == pytest.approx(40, abs=1)
        assert place.far.looks - looks == pytest.approx(40, abs=1)  # there is one timer

    scenes(scene)


# -- what it shows


def test_each_state_of_the_pilot_and_the_plug_is_reported_once(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        plugs: list[Proximity] = []
        place.board.on_proximity(plugs.append)
        place.show(cp="B", high=9_000, pp=220)
        await asyncio.sleep(0.2)
        assert (place.states, plugs) == ([PilotState.B], [Proximity("seated", 32)])
        assert place.board.state is PilotState.B

    scenes(scene)


@pytest.mark.parametrize(
    ("levels", "fault"),
    [
        ({"cp": "E", "high": 0}, "pilot_shorted"),
        ({"cp": "E", "high": 9_000, "low": -9_000}, "diode_shorted"),
        ({"cp": "B", "high": 9_000, "low": -9_000}, ""),
    ],
)
def test_an_error_has_its_reason(scenes: Any, levels: dict[str, Any], fault: str) -> None:
    async def scene(place: Place) -> None:
        place.show(**levels)
        await asyncio.sleep(0.1)
        assert (place.board.state.value, place.board.fault) == (levels["cp"], fault)

    scenes(scene)


def test_a_boards_port_is_what_only_one_evse_can_have() -> None:
    assert CONFIG.devices == (CONFIG.device,)


@simulated
async def test_the_coding_of_a_plug_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far()
    monkeypatch.setattr(module, "SerialPort", far.open)
    place = Place(far, msgspec.structs.replace(CONFIG, proximity="type1"))
    place.show(pp=480)
    await place.found()
    assert place.board.proximity == Proximity("unlatched")
    place.board.close()
    far.stop()


def test_temperatures_are_in_degrees_and_a_broken_sensor_has_none(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.send(Temperatures({"board": 355, "plug": None}))
        await asyncio.sleep(0.01)
        assert place.board.temperatures == {"board": 35.5, "plug": None}
        place.board.temperatures.clear()
        assert len(place.board.temperatures) == 2

    scenes(scene)


def test_temperatures_that_a_board_sends_no_more_are_none(scenes: Any) -> None:
    """They would stay cool while its plug burns."""

    async def scene(place: Place) -> None:
        place.far.send(Temperatures({"board": 355, "plug": 400}))
        await asyncio.sleep(4.9)
        assert place.board.temperatures == {"board": 35.5, "plug": 40.0}
        await asyncio.sleep(0.2)
        assert place.board.temperatures == {"board": None, "plug": None}
        place.far.send(Temperatures({"board": 355, "plug": 990}))
        await asyncio.sleep(0.01)
        assert place.board.temperatures == {"board": 35.5, "plug": 99.0}
        place.far.stop()
        await asyncio.sleep(6.0)
        assert place.board.temperatures == {"board": 35.5, "plug": 99.0}, "a lost board is a fault of its own"

    scenes(scene)


def test_the_emergency_stop_is_a_fault_while_it_is_pressed(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.show(estop=True)
        await asyncio.sleep(0.2)
        assert place.faults == [("emergency_stop", True)]
        later: list[Any] = []
        place.board.on_fault(lambda *fault: later.append(fault))
        assert later == [("emergency_stop", True)]
        place.show()
        await asyncio.sleep(0.2)
        assert place.faults == [("emergency_stop", True), ("emergency_stop", False)]

    scenes(scene)


def test_why_a_boards_monitor_opened_is_noted_and_a_fault_until_it_ends(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.show(rule="silent")
        await asyncio.sleep(0.2)
        assert place.faults == [("rule_broken", True)]
        assert place.notes == [Observe("hardware", "board_opened", {"reason": "silent"})]
        place.show()
        await asyncio.sleep(0.2)
        assert place.faults == [("rule_broken", True), ("rule_broken", False)]
        assert len(place.notes) == 1

    scenes(scene)


def test_a_contactor_and_a_lock_that_move_by_themselves_are_reported_once(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        locked: list[bool] = []
        place.board.on_latch(locked.append)
        place.show(contactor=True, latch=True)
        await asyncio.sleep(0.2)
        assert (place.moved, locked) == ([True], [True])
        assert place.board.contactor.closed

    scenes(scene)


def test_a_contactor_that_was_cut_opens_and_stays_open_until_it_is_commanded_open(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        contactor = place.board.contactor
        for closed in (True, False, True):
            contactor.set(closed=closed)
            await asyncio.sleep(0.1)
            assert contactor.closed is closed
        contactor.cut()
        await asyncio.sleep(0.1)
        assert (contactor.closed, place.far.sets[-1].contactor) == (False, False)
        contactor.set(closed=True)
        await asyncio.sleep(0.1)
        assert (contactor.closed, place.moved) == (False, [True, False, True, False])
        for closed in (False, True):
            contactor.set(closed=closed)
        await asyncio.sleep(0.1)
        assert contactor.closed

    scenes(scene)


# -- its monitor


def test_a_monitor_gets_its_inputs_and_a_request_whenever_it_begins_anew(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        begun: list[float] = []
        place.board.on_new(lambda: begun.append(place.now))
        assert len(begun) == 1
        place.board.tell(inputs.Stop())
        assert place.far.tells == [inputs.Stop()]
        place.far.gone()
        await asyncio.sleep(0.6)
        assert len(begun) == 2

    scenes(scene, hello=msgspec.structs.replace(HELLO, monitor=True))


# -- its self-test


def test_a_sound_board_passes_and_returns_to_its_last_command(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.board.set_fan(20)
        place.board.set_duty(10.0)
        place.board.contactor.set(closed=True)
        before = len(place.far.sets)
        assert await place.board.self_test() == ""
        seen = place.far.sets[before:]
        assert list(dict.fromkeys((each.duty, each.pilot) for each in seen)) == [
            (OFF, "F"),
            (OFF, "run"),
            (500, "run"),
            (1_000, "run"),
        ]
        assert not any(each.contactor for each in seen[:-1])
        assert seen[-1] == Set(fan=20, duty=1_000, contactor=True)
        await asyncio.sleep(0.1)
        assert place.faults == []
        assert place.now < 2.0

    scenes(scene)


@pytest.mark.parametrize("state", ["B", "C", "D"])
@pytest.mark.parametrize(("contactor", "said"), [(False, ""), (True, "the contactor is closed")])
def test_a_vehicle_notices_no_test(scenes: Any, state: str, contactor: bool, said: str) -> None:
    async def scene(place: Place) -> None:
        place.board.set_duty(5.0)
        place.far.vehicle = state
        place.show(contactor=contactor)
        await asyncio.sleep(0.1)
        before = len(place.far.sets)
        assert await place.board.self_test() == said
        await asyncio.sleep(2 * DEAD_MAN_S)
        assert {(each.duty, each.pilot) for each in place.far.sets[before:]} == {(500, "run")}
        assert place.board.state is PilotState(state)

    scenes(scene)


def test_a_board_that_was_never_there_fails_its_test(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        assert await place.board.self_test() == "the control board does not answer"

    scenes(scene, found=False, hello=None)


FAILURES: list[tuple[dict[str, Any], Callable[[BoardStatus], bool], str]] = [
    ({"contactor": True}, lambda _: True, "-12000 and None mV, duty cycle 10000 for F with duty cycle 10000"),
    ({"cp": "A"}, lambda each: each.cp == "F", "for F with duty cycle 10000"),
    ({"high": -10_899}, lambda each: each.cp == "F", "the board shows -10899 and None mV"),
    ({"low": -12_000}, lambda each: each.cp == "F", "the board shows -12000 and -12000 mV"),
    ({"cp": "B"}, lambda each: each.cp == "A", "for run with duty cycle 10000"),
    ({"high": 10_899}, lambda each: each.cp == "A", "the board shows 10899 and None mV"),
    ({"low": -12_000}, lambda each: each.cp == "A" and each.duty == OFF, "the board shows 12000 and -12000 mV"),
    ({"duty": 501}, lambda each: each.duty == 500, "duty cycle 501 for run with duty cycle 500"),
    ({"duty": 500}, lambda each: each.cp == "A" and each.duty == OFF, "duty cycle 500 for run with duty cycle 10000"),
    ({"low": -10_899}, lambda each: each.duty == 500, "the board shows 12000 and -10899 mV"),
    ({"low": None}, lambda each: each.duty == 500, "the board shows 12000 and None mV"),
]  # fmt: skip
"""What is wrong of the levels, when, and what the test says."""


@pytest.mark.parametrize(("wrong", "when", "said"), FAILURES)
def test_what_a_board_does_not_show_within_a_second_is_found(
    scenes: Any, wrong: dict[str, Any], when: Callable[[BoardStatus], bool], said: str
) -> None:
    async def scene(place: Place) -> None:
        place.far.shows = lambda status: msgspec.structs.replace(status, **wrong) if when(status) else status
        began = place.now
        assert said in await place.board.self_test()
        assert place.now - began == pytest.approx(1.0, abs=0.1)

    scenes(scene)


def test_a_duty_cycle_counts_only_while_the_pilot_runs(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.shows = lambda status: msgspec.structs.replace(status, duty=7) if status.cp == "F" else status
        assert await place.board.self_test() == ""

    scenes(scene)


def test_levels_within_their_tolerance_pass(scenes: Any) -> None:
    def shows(status: BoardStatus) -> BoardStatus:
        low = None if status.low is None else -10_900
        return msgspec.structs.replace(status, high=-10_900 if status.cp == "F" else 13_100, low=low)

    async def scene(place: Place) -> None:
        place.far.shows = shows
        assert await place.board.self_test() == ""

    scenes(scene)


def test_a_board_without_dead_man_is_found(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        place.far.dead_man = False
        began = place.now
        assert await place.board.self_test() == "the board's dead-man does not act"
        assert place.now - began == pytest.approx(1.5 * DEAD_MAN_S, abs=0.1)

    scenes(scene)


def test_a_board_that_does_not_return_after_its_dead_man_is_found(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        acted: list[bool] = []

        def shows(status: BoardStatus) -> BoardStatus:
            acted.extend([True] * (status.cp == "F" and place.board.duty_percent == 5.0))
            return msgspec.structs.replace(status, cp="F") if acted else status

        place.far.shows = shows
        began = place.now
        assert await place.board.self_test() == "the board does not return after its dead-man"
        assert place.now - began == pytest.approx(2.35, abs=0.15)

    scenes(scene)


def test_a_board_that_is_lost_after_its_dead_man_has_acted_does_not_return(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        def shows(status: BoardStatus) -> BoardStatus:
            if status.cp == "F" and place.board.duty_percent == 5.0:
                place.loop.call_later(0.01, place.far.stop)
            return status

        place.far.shows = shows
        assert await place.board.self_test() == "the board does not return after its dead-man"

    scenes(scene)


def test_a_board_that_is_lost_in_its_test_is_a_fault_at_its_end(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        testing = asyncio.ensure_future(place.board.self_test())
        place.far.stop()
        await asyncio.sleep(0.9)
        assert place.faults == []  # a board may restart meanwhile
        assert "the board shows nothing for F" in await testing
        assert place.faults == [("board_lost", True)]
        place.board.on_fault(lambda *_: None)

    scenes(scene)


def test_after_its_test_a_board_that_is_lost_is_a_fault_at_once(scenes: Any) -> None:
    async def scene(place: Place) -> None:
        assert await place.board.self_test() == ""
        place.far.stop()
        await asyncio.sleep(0.35)
        assert place.faults == [("board_lost", True)]

    scenes(scene)


# -- the driver


@pytest.mark.parametrize(
    ("hello", "monitors", "error"),
    [
        (HELLO, False, None),
        (msgspec.structs.replace(HELLO, monitor=True), True, None),
        (msgspec.structs.replace(HELLO, contactor=False), False, ConfigError),
        (None, False, TransportError),
    ],
)
@simulated
async def test_a_driver_opens_a_board_that_answers_and_has_a_contactor(
    monkeypatch: pytest.MonkeyPatch, hello: Hello | None, monitors: bool, error: Any
) -> None:
    far, loop = Far(), asyncio.get_running_loop()
    far.hello = hello
    monkeypatch.setattr(module, "SerialPort", far.open)
    opening = DRIVER.open(CONFIG, DriverContext(clock=Clock()))
    if error is None:
        async with opening as parts:
            assert isinstance(parts.pilot, SerialBoard)
            assert parts.cabinet is parts.pilot
            assert parts.self_test == parts.pilot.self_test
            assert parts.monitor is (parts.pilot if monitors else None)
            parts.contactor.set(closed=True)
            assert far.sets[-1].contactor
    else:
        with pytest.raises(error, match="/dev/board"):
            async with opening:
                pass
        assert loop.time() - 1000 == pytest.approx(2.0 * (hello is None), abs=0.1)
    assert far.port is None
    far.stop()


def test_a_board_is_configured_by_its_port_alone() -> None:
    assert BoardConfig(device="x") == BoardConfig(device="x", baud_rate=115_200, proximity="type2", lost_s=0.1)
    assert (DRIVER.kind, DRIVER.config) == ("pilot", BoardConfig)
