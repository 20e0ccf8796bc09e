"""Removes what glitches of a CAN bus add to its signals, and keeps true steps (R109)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from v2g.telemetry.signals import SIGNALS

REPEATED_S: Final = 0.001
"""The same frame again within this time is a repetition: a transmitter that sees an error in the last bit of a frame
sends it again, though others have received it (ISO 11898-1, end of frame)."""


class GlitchFilter:
    """Counts repeated frames, and holds back values that jump until the next sample decides.

    A value that differs by more than its signal's `jump` from the last valid one waits for the next sample: the
    middle one of the three is valid. So a single outlier never passes, and a step passes one sample late. Two outliers
    in a row that agree count as a step.
    """

    def __init__(self) -> None:
        self._valid: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._frames: dict[int, tuple[float, bytes]] = {}
        self.frames = 0
        """Frames since the start."""
        self.repeated = 0
        """Frames that repeated the one before."""
        self.samples = 0
        """Values since the start."""
        self.outliers: Counter[str] = Counter()
        """Removed values by signal."""

    def is_repeated(self, frame_id: int, data: bytes, now: float) -> bool:
        """Return whether a known frame, at `now` (s by the adapter's clock), is a repetition."""
        self.frames += 1
        at, before = self._frames.get(frame_id, (-1.0, None))
        self._frames[frame_id] = now, data
        repeated = data == before and now - at < REPEATED_S
        self.repeated += repeated
        return repeated

    def valid(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values that are valid now; one that was held back may be among them."""
        self.samples += len(values)
        passed = {}
        for name, value in values.items():
            found = self._decide(name, value, SIGNALS[name].jump)
            if found is not None:
                self._valid[name] = passed[name] = found
        return passed

    def forget(self, names: Iterable[str]) -> None:
        """Forget signals that have no value now: the next one is not compared with what was before."""
        for name in names:
            self._valid.pop(name, None)
            self._held.pop(name, None)

    def _decide(self, name: str, value: float, jump: float) -> float | None:
        last = self._valid.get(name)
        held = self._held.pop(name, None)
        if last is None or not jump or abs(value - last) <= jump:
            self.outliers[name] += held is not None
            return value
        if held is not None and abs(value - held) <= jump:
            return value
        self._held[name] = value
        if held is None:
            return None
        middle = sorted((last, held, value))[1]
        if middle == value:  # between the two: where a ramp ended
            del self._held[name]
            return value
        if middle == held:  # a ramp steeper than the limit
            return held
        self.outliers[name] += 1
        return None
