"""A vehicle session on a bench: a clock in the hand, hardware that obeys, a charger that a subclass scripts.

No sockets, no sleeping.
"""

import itertools
from collections.abc import Callable
from typing import Any, Protocol

from evcc.policy.battery import Battery, BatteryConfig
from evcc.session.ports import SAFE, CloseContactor, ContactorState, OpenContactor, PresentVoltage
from v2g.iso15118.engine.core import Core
from v2g.iso15118.engine.session import Close, Command, Fact, Send
from v2g.iso15118.engine.v2gtp import Framer
from v2g.observe import Observe

T0 = 1_700_000_000_000


class Output(Protocol):
    """The charger's output, V and A."""

    voltage: float
    current: float


class VehicleBench:
    """A session with the clock in the hand. `scale` simulated seconds pass in a real one.

    A subclass sets `session` and `charger`.
    """

    session: Core
    charger: Output

    lines = 0
    """On how many lines there is voltage, as the inlet reports it."""

    def __init__(self, *, soc: float = 60.0, scale: float = 1.0, battery: BatteryConfig | None = None) -> None:
        self.now = 1000.0
        self.scale = scale
        self.set_ms = 0
        """By how much the simulated clock was set."""
        self.model = Battery(battery or BatteryConfig(soc=soc), at_ms=T0)
        self.commands: list[Command] = []
        self.observed: list[Observe] = []
        self.requests: list[Any] = []
        self.unanswered: list[Any] = []
        self.closed = ""
        self.obey = True
        self.silent = False
        self.contactor_closed = False
        self._framer = Framer()

    @property
    def utc_ms(self) -> int:
        """The simulated clock."""
        return T0 + self.set_ms + int((self.now - 1000.0) * 1000 * self.scale)

    def start(self) -> None:
        self.session.start(self.now, self.utc_ms)
        self.pump()

    def fact(self, fact: Fact) -> None:
        """Tell the session something."""
        self.session.fact(fact, self.now, self.utc_ms)
        self.pump()

    def pump(self) -> None:
        """Carry out what the session wants, as a runner does."""
        facts: list[Fact] = []
        for action in self.session.actions():
            assert not self.closed, "nothing may follow Close"
            match action:
                case Send(data=data):
                    for received in self._framer.feed(data):
                        self.on_sent(received.payload_type, received.payload)
                case Command():
                    self.commands.append(action)
                    if self.obey and isinstance(action, CloseContactor | OpenContactor):
                        self.contactor_closed = isinstance(action, CloseContactor)
                        facts.append(ContactorState(self.contactor_closed))
                case Observe():
                    self.observed.append(action)
                case Close(reason=reason):
                    self.closed = reason
        for fact in facts:
            self.fact(fact)

    def on_sent(self, payload_type: int, payload: bytes) -> None:
        """The session has sent a frame."""
        raise NotImplementedError

    def step(self) -> None:
        """One exchange: answer the request that waits, or let the pause go by."""
        raise NotImplementedError

    def wait(self) -> None:
        """Let the pause go by."""
        deadline = self.session.deadline()
        assert deadline is not None, "the session waits for nothing"
        self.pass_time(max(0.0, deadline - self.now))
        self.battery()

    def receive(self, data: bytes) -> None:
        self.session.receive(data, self.now, self.utc_ms)
        self.pump()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the session is woken at each of its deadlines, and battery and inlet report before."""
        until = self.now + seconds
        while not self.closed:
            deadline = self.session.deadline()
            if deadline is None or deadline > until:
                break
            self.now = max(self.now, deadline)
            if not self.silent:
                self.battery()
            self.session.tick(self.now, self.utc_ms)
            self.pump()
        self.now = max(self.now, until)

    def battery(self) -> None:
        """Let the current flow until now and tell the session."""
        self.model.advance(
            self.utc_ms - self.set_ms, round(self.charger.current * 1000) if self.contactor_closed else 0
        )
        self.report()

    def report(self) -> None:
        """Tell the session what battery and inlet measure."""
        self.fact(self.model.state)
        voltage_mv, current_ma = (round(each * 1000) for each in (self.charger.voltage, self.charger.current))
        self.fact(PresentVoltage(voltage_mv, current_ma, self.lines))

    def run(self, until: Callable[[], bool] = lambda: False, *, most: int = 5000) -> None:
        """Go on until `until` holds or the session has closed."""
        if not self.requests:
            self.start()
        for _ in range(most):
            if self.closed or until():
                return
            self.step()
        raise AssertionError(f"no end after {most} steps, with {type(self.requests[-1]).__name__}")

    def run_to(self, request: str) -> None:
        """Go on until the session has sent that request and waits for the answer."""
        self.run(lambda: bool(self.unanswered) and type(self.unanswered[0]).__name__ == request)
        assert not self.closed, self.closed

    def assert_safe(self, reason: str) -> None:
        """The session has closed for that reason, with current, pilot and contactor in their safe states."""
        assert self.closed == reason
        assert self.session.closed
        assert self.session.deadline() is None
        assert self.commands[-len(SAFE) :] == list(SAFE)
        assert not self.contactor_closed

    def names(self) -> list[str]:
        """The requests sent so far, repetitions folded."""
        return [name for name, _ in itertools.groupby(type(request).__name__ for request in self.requests)]

    def seen(self, stage: str, name: str) -> list[dict[str, Any]]:
        """The data of the observations of that kind."""
        return [each.data for each in self.observed if (each.stage, each.name) == (stage, name)]
