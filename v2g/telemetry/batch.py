"""Delta and batch: sends changes, immediately if relevant and at the latest after 500 ms (R66, R87).

A change of at least 1 % of the last sent value flushes the batch immediately; smaller ones wait until the oldest is
500 ms old. Unchanged signals are omitted; every `keyframe_every` records all known signals are sent, so that a
receiver that lost something is complete again.
"""

from collections.abc import Mapping

from v2g.energy.settlement.checkpoints import Copy
from v2g.telemetry.signals import CHECKPOINT_SCHEMA, SIGNALS, Record


class Batcher:
    """Collects samples and determines when a record is due. `now` is monotonic seconds, `utc_ms` stamps the record."""

    def __init__(
        self,
        ev: str,
        boot: int,
        *,
        max_age: float = 0.5,
        threshold: float = 0.01,
        keyframe_every: int = 20,
        min_interval: float = 0.0,
    ) -> None:
        self._ev, self._boot, self._seq = ev, boot, 0
        self._max_age, self._threshold = max_age, threshold
        self._keyframe_every, self._min_interval = keyframe_every, min_interval
        self._state: dict[str, float] = {}
        self._sent: dict[str, float] = {}
        self._changed: set[str] = set()
        self._due: float | None = None
        self._last_flush = float("-inf")
        self._utc_ms = 0
        self.context = "parked"

    def offer(self, values: Mapping[str, float], now: float, utc_ms: int, context: str | None = None) -> None:
        """Add new values, at `now`, measured at `utc_ms`. A new context flushes at once."""
        self._utc_ms = max(self._utc_ms, utc_ms)
        if context is not None and context != self.context:
            self.context = context
            self._due = now
        for name, value in values.items():
            self._state[name] = value
            if value == self._sent.get(name):
                self._changed.discard(name)  # changed and returned: the receiver's state is already right
                continue
            self._changed.add(name)
            due = now if self._is_step(name, value) else now + self._max_age
            self._due = due if self._due is None else min(self._due, due)

    def _is_step(self, name: str, value: float) -> bool:
        sent = self._sent.get(name)
        if sent is None:
            return True
        return abs(value - sent) >= max(self._threshold * abs(sent), SIGNALS[name].resolution)

    def deadline(self) -> float | None:
        """Return when `flush` is due (s, monotonic), or None while nothing is pending."""
        if self._due is None:
            return None
        return max(self._due, self._last_flush + self._min_interval)

    def flush(self, now: float) -> Record | None:
        """Return the record that is due at `now`, or None."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return None
        self._due = None
        self._last_flush = now
        self._seq += 1
        keyframe = self._seq % self._keyframe_every == 1 or self._keyframe_every == 1
        names = self._state if keyframe else self._changed
        signals = {name: self._state[name] for name in sorted(names)}
        self._sent.update(signals)
        self._changed.clear()
        return Record(self._ev, self._boot, self._seq, self._utc_ms, self.context, keyframe, dict(signals))

    def checkpoint(self, copy: Copy, utc_ms: int) -> Record:
        """Return a record of its own for a checkpoint, at once."""
        self._seq += 1
        self._utc_ms = max(self._utc_ms, utc_ms)
        return Record(
            ev=self._ev,
            boot=self._boot,
            seq=self._seq,
            utc_ms=self._utc_ms,
            context=self.context,
            keyframe=False,
            signals={},
            schema=CHECKPOINT_SCHEMA,
            checkpoint=copy,
        )


class Mirror:
    """Rebuilds a vehicle's state from records; `complete` is False between a gap and the next keyframe (R66)."""

    def __init__(self) -> None:
        self.state: dict[str, float | int | str] = {}
        self.complete = False
        self._last = (0, 0)

    def apply(self, record: Record) -> None:
        """Apply the next record; older ones and repetitions change nothing."""
        if (record.boot, record.seq) <= self._last:
            return
        consecutive = (record.boot, record.seq - 1) == self._last
        self._last = record.boot, record.seq
        if record.keyframe:
            self.state, self.complete = dict(record.signals), True
        else:
            self.state.update(record.signals)
            self.complete = self.complete and consecutive
