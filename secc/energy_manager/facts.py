"""An energy manager's commands as facts for the charging station, and the fall-back when it stops responding (K11 to
K14, K27, K29, Q05, Q06, Q09). Pure: `now` is in s on the monotonic clock."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from v2g.hardware.energy_manager.commands import EnergyCommand
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.local_control import UpstreamLoad

STATION: Final = 0


class EnergyManagerWatch:
    """One energy manager, known to the CSMS as `source`, and its commands for each place: the station and its EVSEs.

    A command is valid for `timeout_s`, or for its own validity. Where one has expired, `fallback` applies at its place,
    and what was lower in the command stays: silence raises no power. Before the first command, and when all have
    expired, the fall-back applies to the station as a whole; if only EVSEs were addressed, to each of the others.
    """

    def __init__(
        self,
        source: str,
        *,
        evses: int,
        timeout_s: float,
        fallback: EnergyCommand,
        outlet_v: int = 690,
        kept: Mapping[int, EnergyCommand] = MappingProxyType({}),
    ) -> None:
        """`outlet_v`: see `EnergyCommand.failsafe`; `kept`: what was `kept` before a restart, by place."""
        self._source, self._timeout_s, self._fallback, self._outlet_v = source, timeout_s, fallback, outlet_v
        self._evses = range(1, evses + 1)
        self._said = {place: (word, 0.0) for place, word in kept.items() if place in (STATION, *self._evses)}
        """The latest command for each place, and its expiry."""
        self.silent: frozenset[int] = frozenset(self._said)
        """Places whose command has expired."""
        self._words: dict[int, EnergyCommand] = {}
        """Values in force, by EVSE (0: the station)."""

    @property
    def due(self) -> float | None:
        """When the next command expires; None without commands."""
        return min((until for place, (_, until) in self._said.items() if place not in self.silent), default=None)

    @property
    def alive(self) -> bool:
        """Whether it is responding, for every place that it has addressed."""
        return bool(self._said) and not self.silent

    @property
    def instead(self) -> str:
        """What replaced the commands that have expired, in words."""
        places = sorted({*self.silent, STATION} if self._lost else self.silent)
        found = [self._words.get(place, EnergyCommand()) for place in places]
        word = next((each for each in found if not each.silent), self._fallback)
        unit = "A of each conductor" if word.in_amperes else "W"
        named = ((word.limit, "in"), (word.discharge, "out"))
        text = ", ".join(f"{value:g} {unit} {way}" for value, way in named if value is not None)
        return f"{'fall-back' if word == self._fallback else 'fall-back, and the last command below it'}: {text}"

    @property
    def kept(self) -> dict[int, EnergyCommand]:
        """What remains of its commands once they have expired, by place: limits that outlive a restart, too."""
        remains = {place: word.failsafe() for place, (word, _) in self._said.items()}
        return {place: word for place, word in remains.items() if not word.silent}

    @property
    def _lost(self) -> bool:
        """Whether all commands have expired."""
        return self.silent == self._said.keys()

    def begin(self) -> Sequence[Fact]:
        """Return the initial facts for the station."""
        return self._settle(None) if self._said else self._put(STATION, self._fallback)

    def take(self, evse_id: int, word: EnergyCommand, now: float) -> Sequence[Fact]:
        """Return the facts that result from a command."""
        self._said[evse_id] = word, now + (word.valid_s or self._timeout_s)
        self.silent -= {evse_id}
        return self._settle(evse_id)

    def tick(self, now: float) -> Sequence[Fact]:
        """Return the facts that result from the time."""
        over = {place for place, (_, until) in self._said.items() if now >= until} - self.silent
        if not over:
            return ()
        self.silent |= over
        return self._settle(None)

    def _settle(self, spoken: int | None) -> Sequence[Fact]:
        """Apply all commands; that of `spoken` even if it is unchanged."""
        # the values for each place
        holding = {place: word for place, (word, _) in self._said.items() if place not in self.silent}
        silent = {place: self._said[place][0] for place in self.silent}
        bounds = None if self._lost else self._fallback  # where all is lost it is the station's
        unheard = EnergyCommand() if STATION in self._said or self._lost else self._fallback
        words = dict.fromkeys(self._evses, unheard) | {
            p: each.failsafe(bounds, outlet_v=self._outlet_v) for p, each in silent.items()
        }
        words[STATION] = EnergyCommand()
        if STATION in silent or self._lost:
            words[STATION] = silent.get(STATION, EnergyCommand()).failsafe(self._fallback, outlet_v=self._outlet_v)
        wanted = words | holding
        # no gap without limits in between
        places = sorted(wanted, reverse=STATION not in self.silent and not self._lost)
        facts: list[Fact] = []
        for place in places:
            if place == spoken or wanted[place] != self._words.get(place, EnergyCommand()):
                facts += self._put(place, wanted[place])
        return facts

    def _put(self, evse_id: int, word: EnergyCommand) -> Sequence[Fact]:
        before = self._words.get(evse_id, EnergyCommand())
        self._words[evse_id] = word
        facts: list[Fact] = []
        # a schedule counts from its first command: a repetition continues it. Values are repeated, in case the station
        # was configured to ignore them in the meantime.
        if not word.schedule or word.schedule != before.schedule:
            facts.append(
                ExternalLimit(
                    source=self._source,
                    evse_id=evse_id,
                    limit_w=word.limit_w,
                    discharge_w=word.discharge_w,
                    setpoint_w=word.setpoint_w,
                    limit_ma=word.limit_ma,
                    discharge_ma=word.discharge_ma,
                    schedule=word.schedule,
                    grid_critical=word.grid_critical,
                )
            )
        if word.generation_w is not None or before.generation_w is not None:
            generated = ExternalLimit(source=self._source, evse_id=evse_id, limit_w=word.generation_w, generation=True)
            # less of it before a higher limit: power must not rise in between
            facts.insert(0 if (word.generation_w or 0) < (before.generation_w or 0) else len(facts), generated)
        if (word.load_w is not None or before.load_w is not None) and not word.load_repeated:
            facts.append(UpstreamLoad(power_w=word.load_w))
        return facts
