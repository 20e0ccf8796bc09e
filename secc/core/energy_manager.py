"""What an energy manager wants, as facts for the charging station, and what holds when it falls silent (K11 to K14,
K27, K29, Q05, Q06, Q09). Pure: `now` is in s on the monotonic clock."""

from collections.abc import Sequence
from typing import Final

import msgspec

from secc.core.station.evse import Fact
from secc.core.station.external_limits import ExternalLimit, ExternalPeriod
from secc.core.station.load_balancing import UpstreamLoad
from v2g.hardware.energy_manager import Word

STATION: Final = 0


class EnergyManagerWatch:
    """One energy manager, known to the CSMS as `source`.

    It is there for `timeout_s` after each of its words, and for as long as one that says so may stand alone. When it is
    not, and until its first word, `fallback` holds for the station, and nothing of what it wanted.
    """

    def __init__(self, source: str, *, timeout_s: float, fallback: Word) -> None:
        self._source, self._timeout_s, self._fallback = source, timeout_s, fallback
        self._words: dict[int, Word] = {}
        """What is in force, by EVSE (0: of the station)."""
        self._until: dict[int, float] = {}
        """How long the word at each place lets the manager be silent; none while it is silent for too long."""

    @property
    def due(self) -> float | None:
        """When it will have been silent for too long; None while it is."""
        return max(self._until.values(), default=None)

    @property
    def heard(self) -> bool:
        """Whether it is there."""
        return self.due is not None

    def begin(self) -> Sequence[Fact]:
        """Return what the station has to know at first."""
        return self._put(STATION, self._fallback)

    def take(self, evse_id: int, word: Word, now: float) -> Sequence[Fact]:
        """Return what the station has to know because of a word."""
        facts = list(self._put(evse_id, word))
        if self.due is None and evse_id != STATION:
            facts += self._put(STATION, Word())  # last: nobody is without limits in between
        self._until[evse_id] = now + (word.valid_s or self._timeout_s)
        return facts

    def tick(self, now: float) -> Sequence[Fact]:
        """Return what the station has to know because of the time."""
        if self.due is None or now < self.due:
            return ()
        self._until.clear()
        facts = list(self._put(STATION, self._fallback))
        for evse_id in [each for each in self._words if each != STATION]:
            facts += self._put(evse_id, Word())
        return facts

    def _put(self, evse_id: int, word: Word) -> Sequence[Fact]:
        before = self._words.get(evse_id, Word())
        self._words[evse_id] = word
        facts: list[Fact] = []
        # a schedule counts from its first word: said again it goes on. Values are told again, should the station have
        # been set not to listen in the meantime.
        if not word.schedule or word.schedule != before.schedule:
            facts.append(self._limit(evse_id, word))
        if word.generation_w is not None or before.generation_w is not None:
            facts.append(
                ExternalLimit(source=self._source, evse_id=evse_id, limit_w=word.generation_w, generation=True)
            )
        if word.load_w is not None:
            facts.append(UpstreamLoad(power_w=word.load_w))
        return facts

    def _limit(self, evse_id: int, word: Word) -> ExternalLimit:
        return ExternalLimit(
            source=self._source,
            evse_id=evse_id,
            limit_w=word.limit_w,
            discharge_w=word.discharge_w,
            setpoint_w=word.setpoint_w,
            schedule=tuple(msgspec.convert(msgspec.structs.asdict(step), ExternalPeriod) for step in word.schedule),
            grid_critical=word.grid_critical,
        )
