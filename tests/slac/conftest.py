"""Matching cores joined in memory: simulated modems on one line, a clock that jumps, frames that get lost."""

import hashlib
from collections import Counter
from collections.abc import Callable

import pytest

from v2g.errors import FrameError
from v2g.slac import mme
from v2g.slac.actions import Action, Send
from v2g.slac.ev import EvSlac, EvSlacConfig
from v2g.slac.evse import EvseSlac, EvseSlacConfig
from v2g.slac.host import Host
from v2g.slac.modem import AttenuationConfig, Delivery, SimulatedModem


def entropy_of(seed: bytes) -> Callable[[int], bytes]:
    """Return an entropy source that is the same in every run."""
    count = iter(range(10**9))
    return lambda size: hashlib.shake_128(seed + next(count).to_bytes(4, "big")).digest(size)


class Station:
    """A core with its modem."""

    def __init__(self, core: Host, measures: AttenuationConfig | None) -> None:
        self.core = core
        self.modem = SimulatedModem(host_mac=core.mac, mac=b"\x06" + core.mac[1:], measures=measures)
        self.modem_answers = True
        self.done: list[Action] = []

    def of(self, *types: type[Action]) -> list[Action]:
        return [action for action in self.done if isinstance(action, types)]


class Line:
    """Runs the stations; `lose(source, message)` says which frames on the line get lost."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stations: list[Station] = []
        self.sent: list[tuple[float, mme.MmeFrame]] = []
        self.lose: Callable[[mme.Mme], bool] = lambda message: False

    def evse(
        self, number: int = 1, config: EvseSlacConfig | None = None, *, measures: AttenuationConfig | None = None
    ) -> tuple[Station, EvseSlac]:
        mac = bytes((2, 0, 0, 0, 1, number))
        core = EvseSlac(config or EvseSlacConfig(), mac=mac, entropy=entropy_of(mac))
        station = Station(core, measures or AttenuationConfig())
        self.stations.append(station)
        core.prepare(self.now)
        self.settle()
        return station, core

    def ev(self, number: int = 1, config: EvSlacConfig | None = None) -> tuple[Station, EvSlac]:
        mac = bytes((2, 0, 0, 0, 2, number))
        core = EvSlac(config or EvSlacConfig(), mac=mac, entropy=entropy_of(mac))
        station = Station(core, None)
        self.stations.append(station)
        return station, core

    def settle(self) -> None:
        """Execute what all cores want until nobody wants anything at this instant."""
        busy = True
        while busy:
            busy = False
            for station in self.stations:
                for action in station.core.actions():
                    busy = True
                    if isinstance(action, Send):
                        self._from_host(station, action.frame)
                    else:
                        station.done.append(action)

    def run(self, until: float) -> None:
        """Let time pass to `until` (s), from timer to timer."""
        self.settle()
        while (due := min((d for s in self.stations if (d := s.core.deadline()) is not None), default=until)) < until:
            assert due >= self.now, "a timer in the past would spin"
            self.now = due
            for station in self.stations:
                if (deadline := station.core.deadline()) is not None and deadline <= due:
                    station.core.tick(due)
            self.settle()
        self.now = until

    def count(self, message: type[mme.Mme]) -> int:
        return Counter(type(frame.message) for _, frame in self.sent)[message]

    def _from_host(self, station: Station, frame: bytes) -> None:
        decoded = mme.decode(frame)
        self.sent.append((self.now, decoded))
        if decoded.destination == mme.LOCAL_MODEM and not station.modem_answers:
            return
        self._deliver(station, station.modem.from_host(frame))

    def _deliver(self, station: Station, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "host":
                station.core.receive(delivery.frame, self.now)
                continue
            try:
                lost = self.lose(mme.decode(delivery.frame).message)
            except FrameError:
                lost = False
            if not lost:
                for other in self.stations:
                    if other is not station:
                        self._deliver(other, other.modem.from_line(delivery.frame))


@pytest.fixture
def line() -> Line:
    return Line()
