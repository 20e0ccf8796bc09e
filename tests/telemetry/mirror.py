"""A receiver of telemetry that rebuilds a vehicle's state from its records."""

from v2g.telemetry.signals import Record


class BatchMirror:
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
