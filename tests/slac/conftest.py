"""Matching cores joined in memory: simulated modems on one line, cables, and a clock that jumps."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from v2g.iec61851.pilot import PilotState, toggles
from v2g.slac import mme
from v2g.slac.ev import EvSlac, EvSlacConfig
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.host import Host
from v2g.slac.layout import Mme
from v2g.slac.modem import AttenuationConfig, FrameDelivery, SimulatedModem
from v2g.slac.shared import Action, OscillatorOn, RestartPilot, SendFrame, TogglePilot


def entropy_of(seed: bytes) -> Callable[[int], bytes]:
    """Return an entropy source that is the same in every run."""
    number = count()
    return lambda size: hashlib.shake_128(seed + next(number).to_bytes(4, "big")).digest(size)


class Station:
    """A core with its modem."""

    def __init__(self, core: Host, measures: AttenuationConfig | None, make: str) -> None:
        self.core = core
        self.modem = SimulatedModem(host_mac=core.mac, mac=b"\x06" + core.mac[1:], measures=measures, make=make)
        self.modem_answers = True
        self.done: list[Action] = []
        self.times: list[float] = []  # when each of `done` was
        self.plug = 0  # which time it is plugged in

    def of(self, *types: type[Action]) -> list[Action]:
        return [action for action in self.done if isinstance(action, types)]


class Line:
    """Runs the stations.

    `lose(message)` says which frames on the line get lost; `travel(source, target)` gives the delay (s) of each copy
    of a frame that arrives, and none for a frame that does not. `modem_loss()` says whether the next command to a
    modem gets lost on its way.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.stations: list[Station] = []
        self.cables: dict[int, Station] = {}  # id of a vehicle's or charger's station to the one at the other end
        self.sent: list[tuple[float, mme.MmeFrame]] = []
        self.lose: Callable[[Mme], bool] | None = None
        self.travel: Callable[[Station, Station], tuple[float, ...]] | None = None
        self.modem_loss: Callable[[], bool] = lambda: False
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._plugs = count()

    def evse(
        self,
        number: int = 1,
        config: EvseSlacConfig | None = None,
        *,
        measures: AttenuationConfig | None = None,
        make: str = "qualcomm",
    ) -> tuple[Station, EvseSlac]:
        mac = bytes((2, 0, 0, 0, 1, number))
        core = EvseSlac(config or EvseSlacConfig(), mac=mac, entropy=entropy_of(mac))
        station = Station(core, measures or AttenuationConfig(), make)
        self.stations.append(station)
        core.prepare(self.now)
        self.settle()
        return station, core

    def ev(
        self, number: int = 1, config: EvSlacConfig | None = None, *, make: str = "qualcomm"
    ) -> tuple[Station, EvSlac]:
        mac = bytes((2, 0, 0, 0, 2, number))
        core = EvSlac(config or EvSlacConfig(), mac=mac, entropy=entropy_of(mac))
        station = Station(core, None, make)
        self.stations.append(station)
        return station, core

    def plug(self, ev: Station, evse: Station) -> None:
        """Join the two by a cable; both begin at once."""
        assert isinstance(ev.core, EvSlac)
        assert isinstance(evse.core, EvseSlac)
        self.cables[id(ev)], self.cables[id(evse)] = evse, ev
        ev.plug = evse.plug = next(self._plugs)
        evse.core.pilot(PilotState.B, self.now)
        evse.core.connect(self.now)
        ev.core.start(self.now)

    def after(self, delay: float, what: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._later, (self.now + delay, next(self._numbers), what))

    def settle(self) -> None:
        """Execute what all cores want until nobody wants anything at this instant."""
        busy = True
        while busy:
            busy = False
            for station in self.stations:
                for action in station.core.actions():
                    busy = True
                    self._do(station, action)

    def run(self, until: float) -> None:
        """Let time pass to `until` (s), from timer to timer."""
        self.settle()
        while (due := self._next()) is not None and due < until:
            assert due >= self.now, "a timer in the past would spin"
            self.now = due
            while self._later and self._later[0][0] <= due:
                heapq.heappop(self._later)[2]()
            for station in self.stations:
                if (deadline := station.core.deadline()) is not None and deadline <= due:
                    station.core.tick(due)
            self.settle()
        self.now = until

    def count(self, message: type[Mme]) -> int:
        return Counter(type(frame.message) for _, frame in self.sent)[message]

    def _next(self) -> float | None:
        due = [deadline for station in self.stations if (deadline := station.core.deadline()) is not None]
        return min(due + [at for at, _, _ in self._later[:1]], default=None)

    def _do(self, station: Station, action: Action) -> None:
        other = self.cables.get(id(station))
        match action:
            case SendFrame():
                self._from_host(station, action.frame)
                return
            case TogglePilot() if other is not None:
                at = action.state_s
                for state, lasts in toggles(action.count, action.state_s):
                    self._by_wire(other, at, lambda state=state: other.core.pilot(state, self.now))
                    at += lasts
            case RestartPilot() if other is not None:
                timing = station.core._timing
                self._by_wire(other, timing.step_x1_s, lambda: other.core.leave(self.now))
                self._by_wire(other, timing.step_x1_s + timing.step_ef_s, lambda: other.core.start(self.now))
            case OscillatorOn() if other is not None:
                other.core.resume(self.now)
        station.done.append(action)
        station.times.append(self.now)

    def _by_wire(self, other: Station, delay: float, what: Callable[[], None]) -> None:
        """Do something at the other end of the cable later, if the plug is still in."""
        plug = other.plug
        self.after(delay, lambda: what() if other.plug == plug else None)

    def _from_host(self, station: Station, frame: bytes) -> None:
        decoded = mme.decode(frame)
        self.sent.append((self.now, decoded))
        if decoded.destination == mme.LOCAL_MODEM and (not station.modem_answers or self.modem_loss()):
            return
        self._deliver(station, station.modem.from_host(frame))

    def _deliver(self, station: Station, deliveries: list[FrameDelivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "host":
                station.core.receive(delivery.frame, self.now)
                continue
            if self.lose is None or not self.lose(mme.decode(delivery.frame).message):
                for other in self.stations:
                    if other is not station:
                        self._across(station, other, delivery.frame)

    def _across(self, source: Station, target: Station, frame: bytes) -> None:
        if self.travel is None:
            self._deliver(target, target.modem.from_line(frame))
            return
        for delay in self.travel(source, target):
            self.after(delay, lambda: self._deliver(target, target.modem.from_line(frame)))


@pytest.fixture
def line() -> Line:
    return Line()
