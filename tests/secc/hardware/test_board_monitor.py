"""A control board that runs the safety monitor, too: it opens by itself, whatever the controller goes on commanding."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from secc.hardware.forwarding_monitor import ForwardingMonitor
from tests.board.conftest import Build, build
from tests.waiting import until
from v2g.hardware.board import inputs
from v2g.hardware.board.firmware import BoardFirmware
from v2g.hardware.board.host import BoardDown, BoardHost, BoardUp
from v2g.hardware.board.inputs import Input
from v2g.hardware.board.protocol import LOST_S, MAX_LINE, BoardLine, Set, StatusQuery, decode, encode
from v2g.iec61851.pilot import VEHICLE_OHM, PilotState
from v2g.io.hardware.board import BoardConfig, SerialBoard
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import SILENT_S, BoardSimulator, SimulatedBoardMonitor
from v2g.io.simulation.compiled_monitor import CompiledMonitor
from v2g.observe import Observe
from v2g.safety import ChargerMonitor, ChargerRating, Output, Phase, Request

__all__ = ["build"]

RATING = ChargerRating(charge_w=50_000, discharge_w=30_000)
BEARS = Output(20_000, 10_000, 60_000, 40_000, 450_000)
FULL = Output(20_000, 0, 50_000, 0, 450_000)
LATE_S = 0.1
"""Beyond the monitor's own times: its inputs' way, the board's looks, and the contactor's."""


class Disobedient:
    """A controller that sends its monitor everything and never does what that says, and a board that has one, too."""

    def __init__(self, make: Callable[[ChargerRating], Any] = ChargerMonitor, *, lost: float = 0.0) -> None:
        self.now, self.chance, self.lost = 1.0, random.Random(1), lost
        self.on_board = SimulatedBoardMonitor(make)
        self.host, self.board = BoardHost(), BoardFirmware(monitor=self.on_board)
        self.monitor = ForwardingMonitor(RATING, lambda: self.now)
        self.events: list[Any] = []
        self.again: list[Callable[[], None]] = []
        self.flow: tuple[int, int] | None = (400_000, 50_000)
        self.sent: list[BoardLine] = []
        self.monitor.forward_to(self)
        self.board.wire(msgspec.structs.replace(self.board.inputs, resistance_ohm=VEHICLE_OHM[PilotState.C]), self.now)
        self.run(0.2)
        assert self.host.up

    def tell(self, what: Input) -> None:
        self.host.tell(what, self.now)

    def on_new(self, callback: Callable[[], None]) -> None:
        self.again.append(callback)

    def run(self, seconds: float) -> None:
        """Let time pass; ten times a second the controller sends what it measures."""
        end = self.now + seconds
        while self.now < end:
            before, self.now = self.now, self.now + 0.005
            if self.flow is not None and int(before * 10) != int(self.now * 10):
                self.monitor.measured(*self.flow, self.now)
            self.host.tick(self.now)
            self.board.tick(self.now)
            self.exchange()

    def exchange(self) -> None:
        down = self.host.output().splitlines(keepends=True)
        self.sent += [line for each in down if (line := decode(each[:-1])) is not None]
        self.board.receive(b"".join(each for each in down if self.chance.random() >= self.lost), self.now)
        self.host.receive(self.board.output(), self.now)
        for event in self.host.events():
            self.events.append(event)
            if isinstance(event, BoardUp):
                for each in self.again:
                    each()

    def charge(self) -> None:
        monitor = self.monitor
        monitor.begin(self.now)
        monitor.authorise(self.now, allowed=True)
        asked = Request(phase=Phase.POWER, power_s=60.0, closed_s=60.0, bears=BEARS, ready=True)
        monitor.request(asked, self.now)
        self.close()
        monitor.drive(FULL, self.now)
        self.run(0.2)
        assert self.board.contactor_closed

    def close(self, *, closed: bool = True) -> None:
        self.host.want(Set(duty=500, contactor=closed), self.now)

    def opens(self, within_s: float) -> str:
        """Return why the board opens, within this time."""
        end = self.now + within_s + LATE_S
        while self.board.contactor_closed:
            assert self.now < end
            self.run(0.01)
        self.run(0.05)
        return next(each.rule for each in reversed(self.events) if hasattr(each, "rule"))


@pytest.fixture(params=["python", "compiled"])
def rig(request: pytest.FixtureRequest, build: Build) -> Disobedient:
    make = ChargerMonitor if request.param == "python" else partial(CompiledMonitor, build("libmonitor.so"))
    rig = Disobedient(make)
    rig.charge()
    return rig


def ask(rig: Disobedient, **what: Any) -> None:
    rig.monitor.request(Request(**what), rig.now)


def deauthorise(rig: Disobedient) -> None:
    rig.flow = (0, 0)
    rig.monitor.measured(0, 0, rig.now)
    rig.monitor.authorise(rig.now, allowed=False)


GRACE_S, FLOW_S = RATING.grace_s, RATING.follow_s + RATING.excess_s
BREACHES: dict[str, tuple[Callable[[Disobedient], None], float, str]] = {
    "the vehicle asks for nothing": (lambda rig: ask(rig, phase=Phase.IDLE), GRACE_S, "not_requested"),
    "it falls silent": (lambda rig: ask(rig, closed_s=0.5), 0.5 + GRACE_S, "silent"),
    "de-authorised": (lambda rig: deauthorise(rig), GRACE_S, "not_authorised"),
    "stopped": (lambda rig: rig.monitor.stop(rig.now), GRACE_S + FLOW_S, "power_not_obeyed"),
    "a fault": (lambda rig: rig.monitor.fault("isolation_low", rig.now, active=True), GRACE_S, "isolation_low"),
    "a lower limit, and it flows on": (
        lambda rig: rig.monitor.limit("site", rig.now, charge_w=5_000), GRACE_S + FLOW_S, "power_not_obeyed"
    ),
    "more than commanded": (lambda rig: setattr(rig, "flow", (400_000, 75_000)), FLOW_S, "power_not_obeyed"),
    "the other way": (lambda rig: setattr(rig, "flow", (400_000, -50_000)), FLOW_S, "power_not_obeyed"),
    "far too high a voltage": (lambda rig: setattr(rig, "flow", (500_000, 0)), 0.1, "over_voltage"),
    "nothing is told": (lambda rig: setattr(rig, "flow", None), SILENT_S, "not_told"),
}  # fmt: skip


@pytest.mark.some(2)
@pytest.mark.parametrize("what", BREACHES)
def test_the_board_opens_although_the_controller_goes_on(rig: Disobedient, what: str) -> None:
    breach, within_s, why = BREACHES[what]
    breach(rig)
    assert rig.opens(within_s) == why
    rig.run(2.0)
    assert not rig.board.contactor_closed
    assert rig.host.wanted.contactor


@pytest.mark.some(1)
def test_what_it_opened_for_stays_for_the_session_and_ends_with_it(rig: Disobedient) -> None:
    ask(rig, phase=Phase.IDLE)
    assert rig.opens(GRACE_S) == "not_requested"
    ask(rig, phase=Phase.POWER, power_s=60.0, closed_s=60.0)
    rig.close(closed=False)
    rig.run(0.1)
    rig.close()
    rig.run(0.5)
    assert not rig.board.contactor_closed
    rig.close(closed=False)
    rig.run(0.1)
    rig.charge()


def test_a_board_without_a_command_does_not_close() -> None:
    host, board, now = BoardHost(), BoardFirmware(monitor=SimulatedBoardMonitor()), 0.0
    board.wire(msgspec.structs.replace(board.inputs, resistance_ohm=VEHICLE_OHM[PilotState.C]), now)
    why = ""
    while now < 1.0:
        now += 0.005
        host.tick(now)
        if now > 0.5:
            host.want(Set(duty=500, contactor=True), now)
        board.receive(host.output(), now)
        board.tick(now)
        host.receive(board.output(), now)
        for event in host.events():
            why = getattr(event, "rule", why)
        assert not board.contactor_closed
    assert why == "not_told"


def test_lost_lines_are_repeated_and_each_input_is_taken_once_in_order() -> None:
    rig = Disobedient(lost=0.05)
    taken: list[Input] = []
    take = rig.on_board.take
    rig.on_board.take = lambda what, now: (taken.append(what), take(what, now))  # type: ignore[method-assign, func-returns-value]
    first = len(rig.sent)
    rig.charge()
    for watts in range(5_000, 15_000, 100):
        rig.monitor.limit("site", rig.now, charge_w=watts + 20_000)
        rig.run(0.05)
    told = {line.message.n: line.message.input for line in rig.sent[first:] if isinstance(line.message, StatusQuery)}
    assert taken == list(told.values())[: len(taken)]
    assert len(taken) >= len(told) - 3
    assert rig.board.contactor_closed
    assert not [event for event in rig.events if isinstance(event, BoardDown)]


@pytest.mark.some(1)
def test_a_board_that_takes_nothing_is_lost(rig: Disobedient) -> None:
    rig.lost = 0.0
    receive, began = rig.board.receive, rig.now

    def deaf(data: bytes, now: float) -> None:
        lines = data.splitlines(keepends=True)
        receive(b"".join(each for each in lines if not each.startswith(b"TELL")), now)

    rig.board.receive = deaf  # type: ignore[method-assign]
    while not any(isinstance(each, BoardDown) for each in rig.events):
        rig.run(0.01)
        assert rig.now - began <= 0.1 + LOST_S + 0.1
    assert "does not take inputs" in next(each.why for each in rig.events if isinstance(each, BoardDown))


def test_a_board_that_comes_back_knows_rating_limits_and_faults() -> None:
    rig = Disobedient()
    rig.monitor.limit("site", rig.now, charge_w=5_000, until_s=rig.now + 100.0)
    rig.monitor.fault("isolation_low", rig.now, active=True)
    rig.monitor.fault("over_temperature", rig.now, active=True)
    rig.monitor.fault("over_temperature", rig.now, active=False)
    rig.run(0.1)
    rig.sent.clear()
    rig.host.lost("pulled out", rig.now)
    rig.run(1.0)
    told = [line.message.input for line in rig.sent if isinstance(line.message, StatusQuery)]
    rating, limit, fault = (each for each in told if not isinstance(each, inputs.Measured))
    assert isinstance(rating, inputs.BoardRating)
    assert (rating.charge_w, rating.grace_ms, rating.stop_ms) == (50_000, 250, 65_000)
    assert isinstance(limit, inputs.Limit)
    assert (limit.source, limit.charge_w, limit.discharge_w) == ("site", 5_000, inputs.UNBOUNDED)
    assert 99_000 < limit.until_ms < 100_000
    assert fault == inputs.Fault(word="isolation_low", active=True)


def test_the_longest_lines_are_within_the_bound() -> None:
    most, forever = inputs.UNBOUNDED, inputs.FOREVER_MS
    request = inputs.Request(
        phase="voltage", power_ms=forever, closed_ms=forever, ready=True, target_mv=most, notice_ms=forever
    )
    word = "x" * 32
    powers = dict.fromkeys(("charge_w", "discharge_w", "charge_ma", "discharge_ma"), most)
    limit = inputs.Limit(source=word, **powers, from_ms=-forever, until_ms=-forever)
    drawn = inputs.Drawn(-(2**31) + 1, -(2**31) + 1, -(2**31) + 1, -(2**31) + 1)
    bounded, times = (
        ("charge_w", "discharge_w", "follow_ms", "excess_ms"),
        ("open", "close", "grace", "stop", "voltage"),
    )
    rating = inputs.BoardRating(**dict.fromkeys(bounded, most), **{f"{each}_ms": forever for each in times})
    for each in (request, limit, rating, drawn):
        line = encode(BoardLine(65_535, StatusQuery(65_535, each)))
        assert len(line) <= MAX_LINE
        assert decode(line[:-1]) == BoardLine(65_535, StatusQuery(65_535, each))


async def test_over_a_serial_port_the_board_says_why_it_opened() -> None:
    clock, notes = Clock(), list[Observe]()
    simulator = BoardSimulator(clock, firmware=BoardFirmware(monitor=SimulatedBoardMonitor()))
    board = SerialBoard(BoardConfig(device=simulator.device), clock, notes.append)
    faults: list[tuple[str, bool]] = []
    try:
        assert await board.ready(5.0)
        assert board.has_monitor
        monitor = ForwardingMonitor(RATING, clock.monotonic)
        monitor.forward_to(board)
        board.on_fault(lambda word, active: faults.append((word, active)))
        simulator.set(resistance_ohm=VEHICLE_OHM[PilotState.C])
        monitor.authorise(clock.monotonic(), allowed=True)
        monitor.request(Request(phase=Phase.POWER, power_s=60.0, closed_s=60.0, bears=BEARS), clock.monotonic())
        board.contactor.set(closed=True)
        async with asyncio.timeout(60):
            await until(lambda: board.contactor.closed)
            monitor.authorise(clock.monotonic(), allowed=False)
            await until(lambda: ("rule_broken", True) in faults and not board.contactor.closed)
            board.contactor.set(closed=False)
            await until(lambda: ("rule_broken", False) in faults)
        assert Observe("hardware", "board_opened", {"reason": "not_authorised"}) in notes
    finally:
        board.close()
        simulator.close()
