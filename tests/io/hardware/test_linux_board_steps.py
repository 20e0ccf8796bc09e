"""A control board of the computer's own parts, step by step, in simulated time and without its threads."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from tests.io.hardware.linux_machine import CONTACT, REFERENCE, RELAY, WATCHDOG, config_of
from tests.together import together
from tests.virtual_time import in_simulated_time
from v2g.errors import TransportError
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState, pilot_high_mv, pilot_low_mv
from v2g.iec61851.proximity import Proximity
from v2g.io.hardware.linux_board import BoardThreads, LinuxBoard, LinuxPhaseSwitch, PilotLevels
from v2g.io.runtime.clock import Clock

A, B, C, D, E, F = PilotState

ROUND_S = 0.01


class Hands(Clock):
    """A clock that goes by the loop, and further while that stands."""

    stood_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.stood_s


class Wire:
    """The pilot, as the ADC sees it, and the oscillator that drives it."""

    def __init__(self) -> None:
        self.resistance_ohm: int | None = None
        self.diode, self.percent, self.frozen = True, -1.0, False
        self.percent_off = 0.0
        self.off_mv = 0
        self.low_mv: int | None = None
        self.on_high: Callable[[], object] = lambda: None
        self.broken = False
        self._high = self._low = 0
        self.samples = 0
        self.driven: list[float] = []

    def high(self) -> int:
        self.on_high()
        if not self.frozen:
            self._high = pilot_high_mv(self.resistance_ohm, diode=self.diode) if self.percent else -12_000
        return self._high + self.off_mv

    def sampled(self) -> int:
        """Return the voltage at one of the moments of sampling, which know nothing of the oscillator."""
        self.samples += 1
        return self.high() if self.samples * 37 % 100 < self.percent else self.low()

    def low(self) -> int:
        if not self.frozen:
            of = pilot_low_mv if self.percent < 100 else pilot_high_mv
            self._low = of(self.resistance_ohm, diode=self.diode)
        return self._low if self.low_mv is None else self.low_mv

    def set(self, percent: float) -> None:
        if self.broken:
            raise TransportError("oscillator: Input/output error")
        self.percent = percent
        self.driven.append(percent)

    def read(self) -> float:
        return self.percent + self.percent_off


class Machine(BoardThreads):
    """A board and what is behind it. What its threads do is done here: a round each 10 ms, in no time."""

    def __init__(self, *, plug: bool = False, detectors: bool = True, **changes: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.wire, self.clock, self.config = Wire(), Hands(), config_of(**changes)
        self.plug = Proximity("seated", 32)
        self.inputs = dict.fromkeys(self.config.inputs, False)
        if "plug_contact" in self.inputs:
            self.inputs["plug_contact"] = True
        self.outputs = dict.fromkeys(self.config.outputs, False)
        self.welded = self.jammed = False
        self.guards: bool | None = None
        self.relay: bool | None = None
        self.reference_mv: int | None = None
        self.broken: set[str] = set()
        self.on_write: Callable[[str, bool], object] = lambda _name, _active: None
        self.log: list[tuple[float, str, bool]] = []
        self._fed_at = self._began
        self.hangs, self.stopped, self.opened = False, 0, 0
        self.faults: list[tuple[float, str, bool]] = []
        levels = PilotLevels(self.wire.high, self.wire.low, self.clock.monotonic)
        if not detectors:
            levels = PilotLevels(self._slowly, None, self.clock.monotonic)
        read_plug = (lambda: self.plug) if plug else None
        reference = self._reference if self.config.reference is not None else None
        self.board = LinuxBoard(self.config, self.clock, self, self.wire, levels, read_plug, reference, self)
        self.contactor = self.board.contactor
        self.board.on_fault(self._fault)
        self.log.clear()
        self.faults.clear()

    def _slowly(self) -> int:
        self.clock.stood_s += 0.0005
        return self.wire.sampled()

    def _fault(self, word: str, active: bool) -> None:
        self.faults.append((self.now, word, active))

    @property
    def now(self) -> float:
        return round(self._loop.time() - self._began, 3)

    async def until(self, at: float) -> None:
        await asyncio.sleep(self._began + at - self._loop.time())

    def show(self, state: PilotState) -> None:
        self.wire.resistance_ohm = VEHICLE_OHM.get(state)

    async def passes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def ready(self, *, closed: bool = False) -> None:
        """Have a vehicle ask for energy, and perhaps close the contactor."""
        self.board.set_duty(5.0)
        self.show(C)
        await self.passes(0.1)
        assert self.board.state is C
        if closed:
            self.contactor.set(closed=True)
            await self.passes(0.1)
            assert self.contactor.closed
        self.faults.clear()
        self.log.clear()

    # -- BoardThreads

    def sample(self, each: Callable[[], None]) -> None:
        self.round = each
        self._loop.call_later(ROUND_S, self._turn)

    def _turn(self) -> None:
        if not self.stopped:
            self._loop.call_later(ROUND_S, self._turn)
            if not self.hangs:
                self.round()

    def open(self, opening: Callable[[], None]) -> None:
        self.opened += 1
        self._loop.call_soon(opening)

    def stop(self) -> None:
        self.stopped += 1

    # -- Lines

    def read(self) -> dict[str, bool]:
        self._fail("read")
        seen = {
            "contactor_feedback": (self.outputs["contactor"] and not self.jammed) or self.welded,
            "lock_feedback": self.outputs.get("lock", False),
            "phase_relay_feedback": self.outputs.get("phase_relay", False) if self.relay is None else self.relay,
            "watchdog_feedback": self._loop.time() - self._fed_at < 0.2 if self.guards is None else self.guards,
        }
        return self.inputs | {name: value for name, value in seen.items() if name in self.inputs}

    def write(self, name: str, *, active: bool) -> None:
        self.on_write(name, active)
        self._fail(name)
        self.outputs[name] = active
        self.log.append((self.now, name, active))
        if name == "watchdog":
            self._fed_at = self._loop.time()

    def close(self) -> None:
        """The lines are released."""

    def _reference(self) -> int:
        self._fail("reference_mv")
        shown = 2_500 if self.outputs.get("reference") else 0
        return shown if self.reference_mv is None else self.reference_mv

    def _fail(self, name: str) -> None:
        if name in self.broken:
            raise TransportError(f"{name}: Input/output error")

    def closes(self) -> bool:
        """Return whether the contactor is commanded to be closed."""
        return self.outputs["contactor"]

    def written(self, name: str) -> list[tuple[float, bool]]:
        """Return when an output was set to what."""
        return [(at, active) for at, each, active in self.log if each == name]


def play(scene: Callable[[Machine], Coroutine[Any, Any, None]], **changes: Any) -> None:
    failures: list[dict[str, Any]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
        machine = Machine(**changes)
        await scene(machine)
        assert failures == []
        if not machine.stopped:
            machine.board.close()

    in_simulated_time(scenario())


# -- its beginning and its end


def test_it_begins_with_x1_and_is_ready_with_the_first_levels() -> None:
    async def scene(machine: Machine) -> None:
        board = machine.board
        assert (machine.wire.percent, board.duty_percent, board.state) == (100, None, F)
        assert machine.contactor.closed is False
        await board.ready()
        assert machine.now == 0.01
        assert (board.state, board.fault, board.proximity) == (A, "", Proximity("open"))
        assert (machine.faults, machine.contactor.closed) == ([(0.01, "board_lost", False)], False)

    play(scene)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda machine: setattr(machine, "hangs", True), "the pilot has no level"),
        (lambda machine: machine.broken.add("read"), "read: Input/output error"),
    ],
)
def test_without_levels_it_is_said_after_2_s_what_to_check(harm: Callable[[Machine], object], why: str) -> None:
    async def scene(machine: Machine) -> None:
        harm(machine)
        with pytest.raises(TransportError, match=f"gives no samples: {why}") as caught:
            await machine.board.ready()
        assert "[hardware.drivers.linux]" in caught.value.hint
        assert machine.now == 2.0

    play(scene)


@pytest.mark.parametrize("broken", ["", "contactor", "oscillator"])
def test_at_its_end_everything_is_off_and_f_is_shown(broken: str) -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.board.set_latch(locked=True)
        machine.board.set_fan(1)
        machine.broken.add(broken)
        machine.wire.broken = broken == "oscillator"
        machine.log.clear()
        machine.board.close()
        expected = {"contactor", "lock", "fan", "watchdog", "reference"} - {broken}
        assert {name for _, name, active in machine.log if not active} == expected
        assert [active for _, _, active in machine.log if active] == []
        assert machine.wire.percent == (5.0 if broken == "oscillator" else 0)
        assert machine.stopped == 1
        machine.hangs = True
        await machine.passes(5)
        assert machine.faults == [], "nobody looks any more"

    play(scene, **WATCHDOG, **REFERENCE)


# -- the pilot


def test_a_state_counts_once_it_is_stable() -> None:
    async def scene(machine: Machine) -> None:
        board, seen = machine.board, list[tuple[float, PilotState]]()
        await board.ready()
        board.on_state(lambda state: seen.append((machine.now, state)))
        for at, state in ((0.105, B), (0.205, C), (0.305, D), (0.405, A)):
            await machine.until(at)
            machine.show(state)
        await machine.until(0.5)
        assert seen == [(0.13, B), (0.23, C), (0.33, D), (0.43, A)]
        assert board.age_s == 0.0

    play(scene)


def test_the_oscillator_is_driven_and_faults_of_the_wire_are_seen() -> None:
    async def scene(machine: Machine) -> None:
        board, running = machine.board, list[bool]()
        board.on_oscillator(running.append)
        machine.show(B)
        for percent, shown in ((1.0, 1.0), (None, 100), (99.0, 99.0), (100, 100)):
            board.set_duty(percent)
            assert (machine.wire.percent, board.duty_percent) == (shown, None if shown == 100 else percent)
        assert running == [True, False, True, False]
        board.set_duty(5.0)
        await machine.passes(0.1)
        machine.wire.diode = False
        await machine.passes(0.1)
        assert (board.state, board.fault) == (E, "diode_shorted")
        machine.wire.diode, machine.wire.resistance_ohm = True, 1
        await machine.passes(0.1)
        assert (board.state, board.fault) == (E, "pilot_shorted")
        board.set_error(E)
        await machine.passes(0.1)
        assert (board.state, board.duty_percent, machine.wire.percent) == (F, None, 0)

    play(scene)


def test_a_detector_that_follows_late_shows_no_shorted_diode() -> None:
    async def scene(machine: Machine) -> None:
        machine.show(B)
        await machine.passes(0.1)
        seen: list[PilotState] = []
        machine.board.on_state(seen.append)
        machine.wire.low_mv = 9_000  # its peak of X1
        machine.board.set_duty(5.0)
        await machine.passes(0.08)
        machine.wire.low_mv = None
        await machine.passes(0.1)
        assert (machine.board.state, seen, machine.faults[1:]) == (B, [], [])

    play(scene)


def test_levels_of_an_oscillator_that_is_switched_meanwhile_do_not_count() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.wire.on_high = lambda: machine.board.set_duty(None if machine.wire.percent < 100 else 5.0)
        await machine.passes(0.24)
        assert machine.faults == []
        await machine.passes(0.05)
        assert [fault for _, *fault in machine.faults] == [["board_lost", True]]
        assert not machine.closes()

    play(scene)


def test_the_wire_itself_is_sampled_for_half_a_round_without_detectors() -> None:
    async def scene(machine: Machine) -> None:
        machine.board.set_duty(10.0)
        for state in (B, C, D):
            machine.show(state)
            await machine.passes(0.5)
            assert machine.board.state is state
        samples: list[int] = []
        for _ in range(20):
            before = machine.wire.samples
            await machine.passes(ROUND_S)
            samples.append(machine.wire.samples - before)
        assert max(samples) in (10, 11)
        machine.wire.diode = False
        await machine.passes(0.5)
        assert machine.board.fault == "diode_shorted"
        machine.wire.diode, machine.wire.frozen = True, False
        machine.board.set_duty(None)
        await machine.passes(0.5)
        assert machine.board.state is D
        assert [fault for _, *fault in machine.faults] == [["board_lost", False]]

    play(scene, detectors=False)


def test_the_age_of_samples_grows_while_there_are_none() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready()
        machine.hangs = True
        age_s = machine.board.age_s
        await machine.passes(0.1)
        assert machine.board.age_s - age_s == pytest.approx(0.1, abs=1e-6)

    play(scene)


# -- plug, lock and the rest


def test_a_plug_is_sensed_by_the_pilot_without_anything_else() -> None:
    async def scene(machine: Machine) -> None:
        for state, plug in ((A, "open"), (B, "seated"), (C, "seated"), (D, "seated"), (A, "open")):
            machine.show(state)
            await machine.passes(0.1)
            assert machine.board.proximity.state == plug

    play(scene)


@pytest.mark.parametrize("changes", [{"plug": True}, CONTACT, {"plug": True, **CONTACT}])
def test_a_plug_counts_once_two_samples_have_it(changes: dict[str, Any]) -> None:
    async def scene(machine: Machine) -> None:
        board, seen = machine.board, list[tuple[float, Proximity]]()
        board.on_proximity(lambda plug: seen.append((machine.now, plug)))
        seated = Proximity("seated", 32) if "plug" in changes else Proximity("seated")
        await machine.until(0.105)
        machine.plug = Proximity("open")
        if "plug_contact" in changes:
            machine.inputs["plug_contact"] = False
        await machine.until(0.115)
        machine.plug, machine.inputs["plug_contact"] = Proximity("seated", 32), True  # bounces
        await machine.until(0.205)
        machine.plug = Proximity("open")
        if "plug_contact" in changes:
            machine.inputs["plug_contact"] = False
        await machine.until(0.3)
        assert seen == [(0.02, seated), (0.22, Proximity("open"))]

    play(scene, **changes)


def test_the_contact_of_a_plug_is_believed_before_its_resistance() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.inputs["plug_contact"] = False
        await machine.passes(0.05)
        assert machine.board.proximity == Proximity("open")
        assert not machine.contactor.closed
        machine.inputs["plug_contact"], machine.plug = True, Proximity("fault")
        await machine.passes(0.05)
        assert machine.board.proximity == Proximity("fault")

    play(scene, plug=True, **CONTACT)


def test_the_lock_is_moved_and_seen() -> None:
    async def scene(machine: Machine) -> None:
        board, seen = machine.board, list[tuple[float, bool]]()
        board.on_latch(lambda locked: seen.append((machine.now, locked)))
        assert board.has_latch
        for at, locked in ((0.105, True), (0.205, False)):
            await machine.until(at)
            board.set_latch(locked=locked)
        await machine.until(0.3)
        assert seen == [(0.12, True), (0.22, False)]
        assert machine.written("lock") == [(0.105, True), (0.205, False)]

    play(scene)


def test_a_board_need_not_have_a_lock_a_fan_or_an_emergency_stop() -> None:
    async def scene(machine: Machine) -> None:
        board, locked = machine.board, list[bool]()
        board.on_latch(locked.append)
        assert not board.has_latch
        board.set_latch(locked=True)
        board.set_fan(100)
        await machine.passes(0.1)
        assert (board.temperatures, board.fan_rpm, machine.log) == ({}, None, [(0.01, "contactor", False)])
        await machine.ready(closed=True)
        assert locked == []

    play(scene, lock=None, lock_feedback=None, fan=None, emergency_stop=None)


def test_the_fan_is_on_or_off() -> None:
    async def scene(machine: Machine) -> None:
        for percent in (1, 0, 100):
            machine.board.set_fan(percent)
        assert [active for _, active in machine.written("fan")] == [True, False, True]

    play(scene)


def test_faults_that_are_there_are_reported_at_once() -> None:
    async def scene(machine: Machine) -> None:
        found: list[tuple[str, bool]] = []
        machine.board.on_fault(lambda word, active: found.append((word, active)))
        assert found == [("board_lost", True)]
        found.clear()
        machine.inputs["emergency_stop"] = True
        await machine.passes(0.1)
        assert found == [("board_lost", False), ("emergency_stop", True)]
        found.clear()
        machine.board.on_fault(lambda word, active: found.append((f"late {word}", active)))
        assert found == [("late emergency_stop", True)]

    play(scene)


# -- the contactor


def test_it_closes_on_command_while_the_vehicle_is_ready() -> None:
    async def scene(machine: Machine) -> None:
        contactor, seen = machine.contactor, list[tuple[float, bool]]()
        contactor.on_change(lambda closed: seen.append((machine.now, closed)))
        for state in (A, B):
            machine.show(state)
            await machine.passes(0.1)
            contactor.set(closed=True)
            assert machine.closes() is False
        for state in (C, D):
            machine.show(state)
            await machine.passes(0.1)
            assert machine.closes() is False
            contactor.set(closed=True)
            assert machine.closes() is True
            await machine.passes(0.1)
            contactor.set(closed=False)
            assert machine.closes() is False
        await machine.passes(0.1)
        assert seen == [(0.32, True), (0.42, False), (0.52, True), (0.62, False)]

    play(scene)


HARMS: dict[str, Callable[[Machine], object]] = {
    "not ready": lambda machine: machine.show(B),
    "emergency stop": lambda machine: machine.inputs.update(emergency_stop=True),
    "pulled": lambda machine: machine.inputs.update(plug_contact=False),
}


@pytest.mark.parametrize("harm", HARMS)
def test_it_opens_without_the_event_loop_and_stays_open(harm: str) -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        began, before = machine.now, dict(machine.inputs)
        HARMS[harm](machine)
        await machine.passes(0.1)
        ((at, active),) = machine.written("contactor")
        assert (active, machine.contactor.closed) == (False, False)
        assert at - began <= (0.04 if harm == "not ready" else 0.011)
        machine.contactor.set(closed=True)
        assert not machine.closes()
        machine.inputs = before
        machine.show(C)
        await machine.passes(0.1)
        assert not machine.closes()
        machine.contactor.set(closed=True)
        assert machine.closes()

    play(scene, **CONTACT)


def test_a_loop_that_stands_opens_the_contactor() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.log.clear()
        for _ in range(24):
            machine.clock.stood_s += ROUND_S
            machine.round()
        assert machine.closes()
        toggles = len(machine.written("watchdog"))
        assert toggles == 24
        for _ in range(4):
            machine.clock.stood_s += ROUND_S
            machine.round()
        assert not machine.closes()
        assert len(machine.written("watchdog")) <= toggles + 2
        await machine.passes(0.1)
        assert not machine.closes()
        assert len(machine.written("watchdog")) > toggles + 5

    play(scene, **WATCHDOG)


def test_a_contactor_that_bounces_is_not_yet_open() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        seen: list[bool] = []
        machine.contactor.on_change(seen.append)
        machine.jammed = True
        await machine.passes(ROUND_S)
        machine.jammed = False
        await machine.passes(0.1)
        assert seen == []
        machine.jammed = True
        await machine.passes(0.1)
        assert seen == [False]

    play(scene)


def test_it_is_opened_once_and_again_only_while_that_fails() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.broken.add("contactor")
        machine.show(B)
        await machine.passes(0.1)
        assert machine.closes()
        machine.broken.clear()
        await machine.passes(0.1)
        assert [active for _, active in machine.written("contactor")] == [False]
        assert machine.board.state is B

    play(scene)


def test_a_cut_holds_until_the_contactor_is_commanded_open() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.contactor.cut()
        assert not machine.closes()
        await machine.passes(0.1)
        machine.log.clear()
        for _ in range(2):
            machine.contactor.set(closed=True)
            assert not machine.closes()
        await machine.passes(0.1)
        assert machine.written("watchdog") == []
        machine.contactor.set(closed=False)
        machine.contactor.set(closed=True)
        assert machine.closes()
        await machine.passes(0.1)
        assert len(machine.written("watchdog")) == 10

    play(scene, **WATCHDOG)


def test_the_contactor_of_a_lost_board_is_opened_aside() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        began = machine.now
        machine.hangs = True
        await machine.passes(0.24)
        assert (machine.faults, machine.opened, machine.contactor.closed) == ([], 0, True)
        await machine.passes(0.05)
        ((at, *fault),) = machine.faults
        assert fault == ["board_lost", True]
        assert 0.25 < at - began <= 0.29
        assert (machine.board.state, machine.contactor.closed, machine.opened) == (F, False, 1)
        assert (machine.board.fault, machine.board.proximity) == ("", Proximity("open"))
        assert [active for _, active in machine.written("contactor")] == [False]
        machine.contactor.set(closed=False)
        machine.contactor.set(closed=True)
        assert machine.opened == 3
        await machine.passes(0.1)
        assert not machine.closes()
        machine.hangs = False
        await machine.passes(0.1)
        assert [fault for _, *fault in machine.faults] == [["board_lost", True], ["board_lost", False]]
        assert machine.board.state is C
        machine.contactor.set(closed=True)
        assert machine.closes()

    play(scene)


def test_a_cut_of_a_lost_board_holds_too() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.hangs = True
        await machine.passes(0.3)
        machine.contactor.cut()
        machine.contactor.set(closed=True)
        machine.hangs = False
        await machine.passes(0.1)
        machine.contactor.set(closed=True)
        assert not machine.closes()
        machine.hangs = True
        await machine.passes(0.3)
        machine.contactor.set(closed=False)
        machine.hangs = False
        await machine.passes(0.1)
        machine.contactor.set(closed=True)
        assert machine.closes()

    play(scene)


def test_what_cannot_be_read_is_a_lost_board_whose_contactor_opens() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.broken = {"read"}
        began = machine.now
        await machine.passes(0.24)
        assert machine.closes()
        machine.broken.add("contactor")
        await machine.passes(0.1)
        assert machine.closes()
        machine.broken.remove("contactor")
        machine.opened = 0
        await machine.passes(0.02)
        assert not machine.closes()
        assert (machine.opened, len(machine.written("contactor"))) == (0, 1)
        assert machine.written("contactor")[0][0] - began < 0.37
        assert [fault for _, *fault in machine.faults] == [["board_lost", True]]

    play(scene)


def test_a_thread_that_hangs_while_it_switches_does_not_hold_up_the_loop() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        said: list[str] = []

        def another(command: Callable[[], None]) -> Callable[[str, bool], None]:
            def meanwhile(name: str, _active: bool) -> None:
                if name == "contactor":
                    machine.on_write = lambda _name, _active: None
                    with contextlib.suppress(TransportError):
                        command()
                        said.append("it has switched")

            return meanwhile

        close, open_ = partial(machine.contactor.set, closed=True), partial(machine.contactor.set, closed=False)
        for command, opens in ((close, 0), (open_, 1), (machine.contactor.cut, 1)):
            machine.opened = 0
            await machine.ready(closed=True)
            machine.on_write = another(command)
            machine.contactor.set(closed=True)
            assert (machine.opened, said, machine.closes()) == (opens, [], True)
            await machine.passes(0.1)
            assert machine.closes() is (opens == 0)
        machine.on_write = another(close)
        for _ in range(2):
            machine.contactor.set(closed=True)
            assert not machine.closes(), "it was cut"

    play(scene)


def test_a_command_to_close_that_fails_may_have_closed() -> None:
    async def scene(machine: Machine) -> None:
        def half(name: str, active: bool) -> None:
            machine.outputs[name] = active
            raise TransportError("contactor: Input/output error")

        await machine.ready()
        machine.contactor.set(closed=False)
        machine.on_write = half
        with pytest.raises(TransportError):
            machine.contactor.set(closed=True)
        machine.on_write = lambda _name, _active: None
        machine.show(B)
        await machine.passes(0.1)
        assert not machine.closes()

    play(scene)


def test_an_emergency_stop_is_not_ended_by_a_lost_board() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready()
        machine.inputs["emergency_stop"] = True
        await machine.passes(0.1)
        machine.hangs = True
        await machine.passes(0.5)
        machine.hangs = False
        await machine.passes(0.1)
        machine.inputs["emergency_stop"] = False
        await machine.passes(0.1)
        stop, lost = "emergency_stop", "board_lost"
        assert [fault for _, *fault in machine.faults] == [[stop, True], [lost, True], [lost, False], [stop, False]]

    play(scene)


# -- an ADC that stands still


def test_levels_have_to_follow_the_oscillator() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        machine.wire.frozen = True
        machine.wire.resistance_ohm = None
        machine.contactor.set(closed=False)
        machine.board.set_duty(None)
        await machine.passes(0.5)
        assert machine.faults == []
        await machine.passes(0.03)
        assert [fault for _, *fault in machine.faults] == [["pilot_frozen", True]]
        assert machine.board.state is F
        machine.board.set_duty(5.0)
        await machine.passes(2.0)
        machine.contactor.set(closed=True)
        assert (machine.board.state, machine.closes()) == (F, False)
        machine.wire.off_mv = 1_100
        await machine.passes(0.1)
        assert machine.board.state is F
        machine.wire.off_mv = 1_101
        await machine.passes(0.1)
        assert machine.board.state is not F
        assert [fault for _, *fault in machine.faults] == [["pilot_frozen", True], ["pilot_frozen", False]]

    play(scene)


def test_levels_have_to_be_at_12_v_below_for_an_error() -> None:
    async def scene(machine: Machine) -> None:
        for state in (A, B, C, D):
            machine.show(state)
            machine.board.set_duty(5.0)
            await machine.passes(0.6)
            assert machine.board.state is state
            machine.faults.clear()
            machine.wire.frozen = True
            machine.board.set_error(F)
            await machine.passes(0.45)
            assert machine.faults == []
            await machine.passes(0.1)
            assert [fault for _, *fault in machine.faults] == [["pilot_frozen", True]]
            machine.wire.frozen = False
            await machine.passes(0.1)
            assert [fault for _, *fault in machine.faults[1:]] == [["pilot_frozen", False]]

    play(scene)


def test_a_wire_that_is_shorted_or_slow_has_no_frozen_levels() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready()
        machine.wire.resistance_ohm = 1
        machine.wire.frozen = False
        machine.board.set_error(F)
        machine.wire.off_mv = 12_000  # 0 V
        await machine.passes(2)
        machine.wire.off_mv = 0
        machine.board.set_duty(None)
        for _ in range(5):
            machine.wire.low_mv = -12_000
            await machine.passes(0.4)
            machine.wire.low_mv = None
            await machine.passes(0.4)
        assert machine.faults == []

    play(scene)


def test_a_reference_has_to_follow_its_line() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready(closed=True)
        await machine.passes(0.5)
        toggles = machine.written("reference")
        assert len(toggles) in (4, 5, 6)
        assert [round(later - at, 3) for (at, _), (later, _) in itertools.pairwise(toggles)] == [0.11] * (
            len(toggles) - 1
        )
        assert [active for _, active in toggles] == [toggles[0][1] is (n % 2 == 0) for n in range(len(toggles))]
        assert machine.faults == []
        while not machine.outputs["reference"]:
            await machine.passes(ROUND_S)
        machine.reference_mv = 2_700
        await machine.passes(0.05)
        machine.reference_mv = 2_300
        await machine.passes(0.02)
        machine.reference_mv = 2_701
        began = machine.now
        await machine.passes(0.5)
        assert machine.faults == []
        await machine.passes(0.03)
        assert [fault for _, *fault in machine.faults] == [["pilot_frozen", True]]
        assert (machine.board.state, machine.closes()) == (F, False)
        assert machine.faults[0][0] - began <= 0.52
        machine.reference_mv = None
        await machine.passes(0.1)
        assert machine.board.state is C
        assert [fault for _, *fault in machine.faults[1:]] == [["pilot_frozen", False]]
        assert machine.board.fault == ""

    play(scene, **REFERENCE)


def test_a_reference_that_stands_still_is_found() -> None:
    async def scene(machine: Machine) -> None:
        await machine.ready()
        machine.reference_mv = 0
        await machine.passes(0.75)
        assert [fault for _, *fault in machine.faults] == [["pilot_frozen", True]]

    play(scene, **REFERENCE)


def test_a_reference_without_a_line_is_a_voltage() -> None:
    async def scene(machine: Machine) -> None:
        machine.reference_mv = 2_500
        await machine.passes(1)
        assert machine.faults == [(0.01, "board_lost", False)]
        machine.reference_mv = 2_699
        await machine.passes(1)
        machine.reference_mv = 2_301
        await machine.passes(1)
        assert len(machine.faults) == 1
        machine.reference_mv = 2_299
        await machine.passes(1)
        assert [fault for _, *fault in machine.faults[1:]] == [["pilot_frozen", True]]
        assert machine.written("reference") == []

    play(scene, reference={"channel": "voltage3", "mv": 2_500})


# -- the self-test


def self_test(harm: Callable[[Machine], object], **changes: Any) -> tuple[str, float, Machine]:
    """Return what it says, how long it takes, and the machine."""
    found: list[tuple[str, float, Machine]] = []

    async def scene(machine: Machine) -> None:
        await machine.board.ready()
        await machine.passes(0.1)
        harm(machine)
        await machine.passes(0.1)
        machine.wire.driven.clear()
        machine.log.clear()
        began = machine.now
        said = await machine.board.self_test()
        found.append((said, round(machine.now - began, 1), machine))
        assert machine.wire.driven[-1] == 100
        toggles = len(machine.written("watchdog"))
        await machine.passes(0.1)
        if machine.config.watchdog is not None and not machine.hangs:
            assert len(machine.written("watchdog")) - toggles in (9, 10, 11)

    play(scene, **changes)
    return found[0]


@pytest.mark.parametrize("changes", [{}, WATCHDOG, {"watchdog": {"line": 7}}, {"watchdog_feedback": {"line": 8}}])
def test_a_sound_board_passes_its_test(changes: dict[str, Any]) -> None:
    said, _, machine = self_test(lambda _: None, **changes)
    assert (said, machine.wire.driven) == ("", [0, 100, 50, 100, 0])  # at last it is closed


def test_the_hardware_behind_the_watchdog_gets_its_time() -> None:
    said, took_s, machine = self_test(lambda _: None, **WATCHDOG)
    toggles = machine.written("watchdog")
    pauses = [round(later - at, 2) for (at, _), (later, _) in itertools.pairwise(toggles)]
    assert said == ""
    assert max(pauses) >= 0.2, "the toggling stopped"
    assert all(
        active is not before for (_, before), (_, active) in itertools.pairwise(toggles[:-1])
    )  # at last it is closed
    assert took_s < 1


@together(
    ("harm", "said", "took_s"),
    [
        (lambda machine: setattr(machine, "hangs", True), "the pilot shows (12000, None) mV at 0 %", 1.0),
        (lambda machine: setattr(machine.wire, "frozen", True), "the pilot shows (12000, None) mV at 0 %", 1.0),
        (lambda machine: machine.show(B), "", 0.0),
        (lambda machine: setattr(machine.wire, "low_mv", -10_899), "the pilot shows (12000, -10899) mV at 50 %", 1.0),
        (lambda machine: setattr(machine.wire, "low_mv", -10_900), "", 0.0),
        (lambda machine: setattr(machine.wire, "off_mv", 1_100), "", 0.0),
        (lambda machine: setattr(machine.wire, "off_mv", 1_101), "the pilot shows (-10899, None) mV at 0 %", 1.0),
        (lambda machine: setattr(machine.wire, "percent_off", 0.5), "", 0.0),
        (lambda machine: setattr(machine.wire, "percent_off", 0.75), "the oscillator is at 0.75 %, not 0 %", 0.0),
        (lambda machine: setattr(machine.wire, "percent_off", -0.75), "the oscillator is at -0.75 %, not 0 %", 0.0),
        (lambda machine: setattr(machine, "welded", True), "the contactor is closed", 0.0),
        (
            lambda machine: setattr(machine, "guards", False),
            "the hardware behind the watchdog line does not let the contactor close",
            3.0,
        ),
        (lambda machine: setattr(machine, "guards", True), "the hardware behind the watchdog line does not act", 3.0),
    ],
)
def test_what_is_wrong_is_said(harm: Callable[[Machine], object], said: str, took_s: float) -> None:
    found, took, _ = self_test(harm, **WATCHDOG)
    assert found == said
    assert took == pytest.approx(took_s, abs=0.35)


def test_levels_of_before_the_test_do_not_count() -> None:
    async def scene(machine: Machine) -> None:
        machine.board.set_error(F)
        await machine.passes(0.1)
        machine.hangs = True
        assert await machine.board.self_test() == "the pilot shows (-12000, None) mV at 0 %"

    play(scene)


def test_a_board_that_never_had_levels_has_none_in_its_test() -> None:
    async def scene(machine: Machine) -> None:
        machine.hangs = True
        assert await machine.board.self_test() == "the pilot shows None mV at 0 %"

    play(scene)


# -- the relay of L2 and L3


def used(phases: LinuxPhaseSwitch) -> int:
    """Return how many conductors its contact shows."""
    return len(phases.lines)


@pytest.mark.requirement("R192")
def test_phases_are_switched_only_while_the_contactor_is_open_and_measured_open() -> None:
    async def scene(machine: Machine) -> None:
        phases = LinuxPhaseSwitch(machine.board)
        await machine.ready()
        machine.contactor.set(closed=False)
        phases.set((0, 1, 2))
        assert used(phases) == 1, "not before its contact shows it"
        machine.contactor.set(closed=True)
        assert not machine.closes()
        await machine.passes(0.05)
        assert used(phases) == 3
        assert not phases.selects
        machine.contactor.set(closed=True)
        await machine.passes(0.05)
        assert machine.closes()
        phases.set((0,))
        assert machine.outputs["phase_relay"], "never under load"
        machine.welded = True
        machine.contactor.set(closed=False)
        phases.set((0,))
        await machine.passes(0.1)
        assert machine.outputs["phase_relay"], "commanded open is not measured open"
        machine.welded = False
        await machine.passes(0.05)
        phases.set((0,))
        await machine.passes(0.05)
        assert (used(phases), machine.outputs["phase_relay"]) == (1, False)
        machine.contactor.set(closed=True)
        assert machine.closes()
        assert machine.faults == []

    play(scene, **RELAY)


@pytest.mark.requirement("R192")
def test_a_relay_that_does_not_follow_is_a_fault_and_one_that_drops_opens_the_contactor() -> None:
    async def scene(machine: Machine) -> None:
        phases = LinuxPhaseSwitch(machine.board)
        await machine.ready()
        machine.contactor.set(closed=False)
        machine.relay = False
        phases.set((0, 1, 2))
        began = machine.now
        await machine.passes(1)
        ((at, *fault),) = machine.faults
        assert (fault, 0.5 <= at - began <= 0.6) == (["phases_stuck", True], True)
        machine.contactor.set(closed=True)
        assert not machine.closes()
        machine.relay = True
        await machine.passes(0.1)
        assert [each for _, *each in machine.faults[1:]] == [["phases_stuck", False]]
        machine.contactor.set(closed=True)
        await machine.passes(0.05)
        assert machine.closes()
        machine.relay = False
        await machine.passes(0.04)
        assert not machine.closes()
        machine.relay = None
        await machine.passes(0.1)
        assert not machine.closes(), "not before it is commanded again"

    play(scene, **RELAY)


def test_a_relay_stays_as_it_is_on_a_lost_board_and_when_it_is_closed() -> None:
    async def scene(machine: Machine) -> None:
        phases = LinuxPhaseSwitch(machine.board)
        await machine.ready()
        machine.contactor.set(closed=False)
        phases.set((0, 1, 2))
        await machine.passes(0.1)
        machine.hangs = True
        await machine.passes(1)
        phases.set((0,))
        assert machine.outputs["phase_relay"]
        machine.board.close()
        assert machine.outputs["phase_relay"], "the contactor may not be open yet"

    play(scene, **RELAY)
