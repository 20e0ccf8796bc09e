"""A vehicle and a charger joined in memory, one testing the other: clock in the hand, hardware that obeys at once."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from v2g.iso15118.engine.session import Close, Command, Fact, Send, Session
from v2g_testkit.cases.case import Seen
from v2g_testkit.cases.scripted_charger import ScriptedCharger
from v2g_testkit.cases.scripted_vehicle import ScriptedVehicle

WIRE_S = 0.001

Vehicle = TypeVar("Vehicle", bound=Session)
Charger = TypeVar("Charger", bound=Session)


class Times(Protocol):
    """Whose clock it is."""

    now: float
    utc_ms: int


class Meeting(Generic[Vehicle, Charger]):
    """One vehicle at one charger, until both have ended."""

    def __init__(
        self, times: Times, vehicle: Vehicle, charger: Charger, tester: ScriptedVehicle | ScriptedCharger
    ) -> None:
        self.times, self.vehicle, self.charger, self.tester = times, vehicle, charger, tester
        self.under_way: list[tuple[float, Session, bytes | Fact | None]] = []

    def run(self) -> Seen:
        times, both = self.times, (self.charger, self.vehicle)
        for each in both:
            each.start(times.now, times.utc_ms)
        self._settle()
        for _ in range(100_000):
            if self.tester.closed and (all(each.closed for each in both) or not self.under_way):
                return self.tester.seen
            ends = [at for at, _, _ in self.under_way[:1]]
            ends += [at for each in both if (at := each.deadline()) is not None]
            assert ends, "nobody waits for anything"
            self._move(max(times.now, min(ends)))
        raise AssertionError("no end")

    def _move(self, now: float) -> None:
        times = self.times
        times.utc_ms += round((now - times.now) * 1000)
        times.now = now
        self._measure()
        while self.under_way and self.under_way[0][0] <= now:
            _, to, data = self.under_way.pop(0)
            if data is None:
                to.receive_eof(now, times.utc_ms)
            elif isinstance(data, Fact):
                to.fact(data, now, times.utc_ms)
            else:
                to.receive(data, now, times.utc_ms)
            self._settle()
        for each in (self.charger, self.vehicle):
            each.tick(now, times.utc_ms)
        self._settle()

    def _settle(self) -> None:
        busy = True
        while busy:
            busy = self._serve(self.vehicle, self.charger, self._obey_vehicle)
            busy |= self._serve(self.charger, self.vehicle, self._obey_charger)

    def _serve(self, session: Session, peer: Session, obey: Callable[[Command], Fact | None]) -> bool:
        actions = session.actions()
        for action in actions:
            match action:
                case Send(data=data):
                    self._post(self._delay(session, data), peer, self._sent(session, data))
                case Close():
                    self._post(WIRE_S, peer, None)
                case Command():
                    fact = obey(action)
                    if fact is not None:
                        session.fact(fact, self.times.now, self.times.utc_ms)
        return bool(actions)

    def _post(self, after: float, to: Session, data: bytes | Fact | None) -> None:
        last = max((at for at, each, _ in self.under_way if each is to and not isinstance(data, Fact)), default=0.0)
        self.under_way.append((max(last, self.times.now + after), to, data))
        self.under_way.sort(key=lambda each: each[0])

    # -- what differs

    def _measure(self) -> None:
        """Tell what hardware shows at this moment."""

    def _delay(self, session: Session, data: bytes) -> float:
        """Return how long a frame takes to the other side, s."""
        return WIRE_S

    def _sent(self, session: Session, data: bytes) -> bytes:
        """Return what comes to the other side instead of a frame."""
        return data

    def _obey_vehicle(self, command: Command) -> Fact | None:
        return None

    def _obey_charger(self, command: Command) -> Fact | None:
        return None
