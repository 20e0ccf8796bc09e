"""The grid's frequency and voltage over time, for simulations and tests. Pure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.curves import value_at
from v2g.errors import CodecError

Points = tuple[tuple[float, float], ...]


class FrequencyTrace(msgspec.Struct, frozen=True):
    """Points of (s since the start, Hz), interpolated linearly."""

    points: Points

    @property
    def length_s(self) -> float:
        """Time of the last point."""
        return self.points[-1][0]

    def at(self, seconds: float) -> float:
        """Return the frequency at a time, Hz; constant before the first point and after the last one."""
        return value_at(self.points, seconds)


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    s: float
    hz: float
    v: Annotated[float, Meta(ge=0, le=1000)] | None = None


class GridTrace(msgspec.Struct, frozen=True):
    """Frequency, and voltage if given (V between phase and neutral), at the same times."""

    frequency: FrequencyTrace
    volts: Points = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse lines `seconds,hertz` or `seconds,hertz,volts`, all of one kind, or the same as JSON
        (`{"s": 0, "hz": 50, "v": 230}`); lines starting with # are comments. Raises CodecError."""
        points, volts = list[tuple[float, float]](), list[tuple[float, float]]()
        for number, line in _lines(text):
            try:
                if line.startswith("{"):
                    row = typed_json.decode(line, _Row)
                else:
                    row = typed_json.convert(
                        dict(zip(("s", "hz", "v", "more"), map(float, line.split(",")), strict=False)), _Row
                    )
            except (ValueError, msgspec.MsgspecError):
                hint = 'seconds,hertz,volts or {"s": 0, "hz": 50, "v": 230}; 0 to 1000 V'
                raise CodecError(f"line {number} is not a time, frequency and voltage", hint=hint) from None
            at = row.s
            if not 40.0 <= row.hz <= 70.0 or not 0 <= at < float("inf") or (points and at <= points[-1][0]):
                raise CodecError(f"line {number}: times must rise from 0, frequencies be between 40 and 70 Hz")
            points.append((at, row.hz))
            if row.v is not None:
                volts.append((row.s, row.v))
        if not points or len(volts) not in (0, len(points)):
            raise CodecError("a grid trace must have points, with a voltage in all of them or none")
        return cls(FrequencyTrace(tuple(points)), tuple(volts))

    def at(self, seconds: float) -> tuple[float, float | None]:
        """Return frequency (Hz) and voltage (V) at a time; the trace repeats after its last point."""
        length = self.frequency.length_s
        seconds = seconds % length if length else 0.0
        return self.frequency.at(seconds), value_at(self.volts, seconds) if self.volts else None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines, without empty ones and comments."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def load_grid_trace(path: Path) -> GridTrace:
    """Return the trace of frequency and voltage in a file. Raises CodecError."""
    try:
        return GridTrace.parse(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CodecError(f"{path}: {error}", hint="a text file of seconds,hertz,volts") from None
