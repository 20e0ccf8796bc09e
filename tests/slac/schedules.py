"""Random schedules: several vehicles and chargers on one line that loses, delays, doubles and reorders frames.

Each schedule is one number; the same number is the same run.
"""

import random
from dataclasses import dataclass, field

from tests.slac.conftest import Line, Station
from v2g.observe import Observe
from v2g.slac.control import ModemConfig
from v2g.slac.ev import EvSlac, EvSlacConfig, EvState
from v2g.slac.evse import EvseSlac, EvseSlacConfig, EvseSlacState
from v2g.slac.modem import AttenuationConfig
from v2g.slac.shared import EV_SIGNAL_DIRECT_DB, EV_SIGNAL_INDIRECT_DB, FAILURES, Matched, MatchingFailed

NEIGHBOURHOODS = ("far", "ambiguous", "lenient")
"""Neighbours too far to be ours; neighbours that could be, with validation required; the same with the default."""

STORM_S = 16.0
CALM_S = 40.0


@dataclass
class Weather:
    """What the line does to a frame."""

    chance: random.Random
    loss: float
    double: float
    late: float
    calm: bool = False

    def travel(self, source: Station, target: Station) -> tuple[float, ...]:
        """Return the delay of each copy that arrives."""
        if self.calm:
            return (0.001,)
        copies = 2 if self.chance.random() < self.double else 1
        return tuple(self._delay() for _ in range(copies) if self.chance.random() >= self.loss)

    def _delay(self) -> float:
        delay = self.chance.uniform(0.0, 0.01)
        return delay + self.chance.uniform(0.0, 0.3) if self.chance.random() < self.late else delay


@dataclass
class Schedule:
    """One run, from its number."""

    number: int
    line: Line = field(default_factory=Line)
    pairs: list[tuple[Station, Station]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)
        self.neighbourhood = NEIGHBOURHOODS[self.number % len(NEIGHBOURHOODS)]
        worst = self.chance.choice((0.0, 0.05, 0.1, 0.2, 0.3))
        self.weather = Weather(
            self.chance,
            loss=worst,
            double=self.chance.choice((0.0, 0.1)),
            late=self.chance.choice((0.0, 0.0, 0.05, 0.2)),
        )
        self.line.travel = self.weather.travel
        self.line.modem_loss = lambda: not self.weather.calm and self.chance.random() < 0.02
        count = self.chance.choice((1, 2, 2, 3))
        for number in range(count):
            self.pairs.append((self._ev(number), self._evse(number, count)))

    def _ev(self, number: int) -> Station:
        validation = "required" if self.neighbourhood == "ambiguous" else "optional"
        make, detection, carriers = self._modem()
        config = EvSlacConfig(
            validation=validation, modem=ModemConfig(link_detection=detection), amplitude_map_carriers=carriers
        )
        return self.line.ev(number, config, make=make)[0]

    def _modem(self) -> tuple[str, str, int]:
        """Return a make, a way to see the link that it knows, and the carriers of an amplitude map."""
        make, detection = self.chance.choice(
            (
                ("qualcomm", "auto"),
                ("qualcomm", "network_info"),
                ("qualcomm", "network_statistics"),
                ("lumissil", "auto"),
                ("other", "auto"),
            )
        )
        return make, detection, self.chance.choice((0, 0, 1155))

    def _evse(self, number: int, count: int) -> Station:
        """Return a charger that receives its own vehicle best, unless nobody can say who is nearest."""
        low, high = {
            "far": (EV_SIGNAL_INDIRECT_DB + 1, 70.0),
            "ambiguous": (EV_SIGNAL_DIRECT_DB + 1, EV_SIGNAL_INDIRECT_DB),
            "lenient": (EV_SIGNAL_DIRECT_DB + 1, EV_SIGNAL_INDIRECT_DB),
        }[self.neighbourhood]
        own = self.chance.randint(5, 25)
        neighbours = {
            bytes((2, 0, 0, 0, 2, other)).hex(":"): round(self.chance.uniform(low, high)) - own
            for other in range(count)
            if other != number
        }
        make, detection, carriers = self._modem()
        config = EvseSlacConfig(modem=ModemConfig(link_detection=detection), amplitude_map_carriers=carriers)
        measures = AttenuationConfig(low_db=own, high_db=own, neighbours=neighbours)
        return self.line.evse(number, config, measures=measures, make=make)[0]

    def run(self) -> None:
        """Go through the storm, then plug in once more what has not matched, in calm."""
        for ev, evse in self.pairs:
            self.line.after(self.chance.uniform(0, 2), lambda ev=ev, evse=evse: self.line.plug(ev, evse))
        self.line.run(STORM_S)
        self._check_documented()
        self.weather.calm = True
        self.line.run(STORM_S + 3)
        for ev, evse in self.pairs:
            if not self._matched(ev, evse):
                ev.plug = evse.plug = -1
                ev.core.leave(self.line.now)
                evse.core.disconnect(self.line.now)
                self.line.after(1.0, lambda ev=ev, evse=evse: self.line.plug(ev, evse))
        end = STORM_S + CALM_S
        while self.line.now < end and not all(self._matched(*pair) for pair in self.pairs):
            self.line.run(min(end, self.line.now + 2))
        self.check()

    def check(self) -> None:
        """Everybody has matched, and never with another than the one at the other end of the cable."""
        for ev, evse in self.pairs:
            assert self._matched(ev, evse), self._story(ev, evse)
            right = (evse.core.mac, ev.core.mac)
            wrong = [m for m in (*ev.of(Matched), *evse.of(Matched)) if (m.evse_mac, m.pev_mac) != right]
            assert not wrong or self._told(wrong), self._story(ev, evse)

    def _told(self, wrong: list[Matched]) -> bool:
        """Whether a vehicle said that it takes a charger which could not be validated: only where it may."""
        said = {
            (station.core.mac, action.data["evse"])
            for station, _ in self.pairs
            for action in station.of(Observe)
            if action.name == "unvalidated"
        }
        return self.neighbourhood == "lenient" and all((m.pev_mac, m.evse_mac.hex(":")) in said for m in wrong)

    def _check_documented(self) -> None:
        """No vehicle hangs: it is matched, at it, or has said why not. No charger is deaf."""
        for ev, evse in self.pairs:
            assert isinstance(ev.core, EvSlac)
            assert isinstance(evse.core, EvseSlac)
            failed = ev.of(MatchingFailed)
            assert all(failure.reason in FAILURES for failure in failed)
            assert ev.core.state is not EvState.UNMATCHED or failed or ev.of(Matched), self._story(ev, evse)
            assert ev.core.state is EvState.UNMATCHED or ev.core.deadline() is not None
            assert evse.core.state is not EvseSlacState.UNMATCHED

    def _matched(self, ev: Station, evse: Station) -> bool:
        return (
            ev.core.state is EvState.MATCHED
            and evse.core.state is EvseSlacState.MATCHED
            and ev.of(Matched)[-1] == evse.of(Matched)[-1]
        )

    def _story(self, ev: Station, evse: Station) -> str:
        lines = [f"schedule {self.number} ({self.neighbourhood}, {self.weather}): {ev.core.state}, {evse.core.state}"]
        for name, station in (("ev", ev), ("evse", evse)):
            lines += [f"{name} {at:7.3f} {what}" for at, what in zip(station.times, station.done, strict=True)]
        return "\n".join(lines)
