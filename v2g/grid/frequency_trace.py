"""A course of the grid's frequency over time, for simulations and tests. Pure."""

import bisect
from pathlib import Path
from typing import Self

import msgspec

from v2g.errors import CodecError


class FrequencyTrace(msgspec.Struct, frozen=True):
    """Points of (s since its beginning, Hz), and straight lines between them."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read lines `seconds,hertz`; those that begin with # say where they are from. Raises CodecError."""
        points: list[tuple[float, float]] = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                at, hz = (float(part) for part in line.split(","))
            except ValueError:
                raise CodecError(f"line {number} is no time and frequency", hint="seconds,hertz") from None
            if not 40.0 <= hz <= 70.0 or at < 0 or (points and at <= points[-1][0]):
                raise CodecError(f"line {number}: times rise from 0, frequencies are between 40 and 70 Hz")
            points.append((at, hz))
        if not points:
            raise CodecError("a frequency trace has no points", hint="lines of seconds,hertz")
        return cls(tuple(points))

    @property
    def length_s(self) -> float:
        """When the last point is."""
        return self.points[-1][0]

    def at(self, seconds: float) -> float:
        """Return the frequency at a time, Hz; before the first point and after the last one it stands."""
        number = bisect.bisect_right(self.points, (seconds, float("inf")))
        if number == 0 or number == len(self.points):
            return self.points[max(0, number - 1)][1]
        (t1, f1), (t2, f2) = self.points[number - 1], self.points[number]
        return f1 + (f2 - f1) * (seconds - t1) / (t2 - t1)


def load_trace(path: Path) -> FrequencyTrace:
    """Return the trace in a file. Raises CodecError."""
    try:
        return FrequencyTrace.parse(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CodecError(f"{path}: {error}", hint="a text file of seconds,hertz") from None
