"""The shell of a charge point's session on a bench: a clock in the hand, and hardware that obeys at once."""

import itertools
from collections.abc import Callable
from typing import Any

from secc.session import ports
from v2g.iso15118.engine.session import Close, Command, Fact, Send
from v2g.iso15118.engine.v2gtp import Framer
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus


def counter(start: int = 1) -> Callable[[int], bytes]:
    """Entropy that never repeats and is the same in every run."""
    numbers = itertools.count(start)
    return lambda n: next(numbers).to_bytes(n, "big")


class Shell:
    """Runs `session`, which a subclass makes. `responses` holds what it said, newest last."""

    session: Any

    def __init__(self, utc_ms: int, *, time_scale: float = 1.0) -> None:
        self.now, self.utc_ms, self.time_scale = 100.0, utc_ms, time_scale
        self.import_mwh, self.export_mwh = 5_000_000, 2_000_000
        self.actions: list[Any] = []
        self.responses: list[Any] = []
        self.reason = ""
        self.framer = Framer()
        self.auto: dict[type, Callable[[Any], Fact | None]] = {
            ports.AuthorizeExternally: lambda c: ports.AuthorizationDecided(c.attempt, AuthorizationStatus.ACCEPTED),
            ports.StartCableCheck: lambda c: ports.CableCheckFinished(passed=True),
            ports.StartPreCharge: lambda c: ports.Measured(c.voltage_mv, 0),
            ports.CloseContactors: lambda c: ports.ContactorState(closed=True),
            ports.OpenContactors: lambda c: ports.ContactorState(closed=False),
            ports.SetOutput: self._measure,
            ports.RecordMeter: lambda c: ports.MeterRead(self.utc_ms, self.import_mwh, self.export_mwh),
        }

    def start(self) -> None:
        """Open the connection."""
        self.session.start(self.now, self.utc_ms)
        self.pump()

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def raw(self, data: bytes) -> None:
        self.session.receive(data, self.now, self.utc_ms)
        self.pump()

    def pump(self) -> None:
        """Execute actions, in order, as the runner does."""
        while actions := self.session.actions():
            facts: list[Fact] = []
            for action in actions:
                self.actions.append(action)
                match action:
                    case Send(data=data):
                        self._take(data)
                    case Close(reason=reason):
                        self.reason = reason
                    case Command():
                        answer = self.auto.get(type(action))
                        fact = answer(action) if answer else None
                        if fact is not None:
                            facts.append(fact)
            for fact in facts:
                if fact == ports.ContactorState(closed=False):
                    self.session.fact(ports.Measured(0, 0), self.now, self.utc_ms)
                self.session.fact(fact, self.now, self.utc_ms)

    def _measure(self, output: ports.SetOutput) -> Fact:
        voltage_mv = min(output.voltage_mv, 400_000)
        highest = output.charge_w * 1_000_000 // max(1, voltage_mv)
        lowest = -output.discharge_w * 1_000_000 // max(1, voltage_mv)
        return ports.Measured(voltage_mv, max(lowest, min(highest, output.current_ma)))

    def fact(self, fact: Fact) -> None:
        self.session.fact(fact, self.now, self.utc_ms)
        self.pump()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tick at every deadline on the way."""
        end = self.now + seconds
        while (deadline := self.session.deadline()) is not None and deadline <= end:
            self.move(max(deadline, self.now))
            self.session.tick(self.now, self.utc_ms)
            self.pump()
        self.move(end)
        self.session.tick(self.now, self.utc_ms)
        self.pump()

    def move(self, now: float) -> None:
        """Let time pass in which nothing happens."""
        self.utc_ms += round((now - self.now) * 1000 * self.time_scale)
        self.now = now

    def commands(self, type_: type | None = None) -> list[Any]:
        return [each for each in self.actions if isinstance(each, type_ or Command)]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [each.data for each in self.actions if isinstance(each, Observe) and each.name == name]

    def records(self) -> list[str]:
        return [type(each.record).__name__ for each in self.commands(ports.Journal)]
