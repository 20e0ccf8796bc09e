"""Cuts metered energy at the quarter hours of the clock (UTC), and at any other moment at which a price changes.

The registers at a cut are those of a reading at that very ms, or else interpolated linearly between the adjacent
readings and marked as such. Adjacent pieces share the registers at their cut, so that pieces always add up to the
registers, to the mWh.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from v2g.energy.settlement.records import Basis, IntervalClosed, MeterStatus
from v2g.units import QUARTER_MS


class Registers(msgspec.Struct, frozen=True):
    """Both registers (mWh) at a moment. A `substitute` repeats those before it: the meter did not answer."""

    utc_ms: int
    import_mwh: int
    export_mwh: int
    basis: Basis = "metered"
    status: tuple[MeterStatus, ...] | UnsetType = UNSET


class Timeline:
    """The registers of one session as a function of time, from its readings in order of time (at least one)."""

    def __init__(self, readings: Sequence[Registers]) -> None:
        self._readings = readings
        self._times = [reading.utc_ms for reading in readings]

    def at(self, utc_ms: int) -> Registers:
        """Return the registers at a time between the first and the last reading; of several at one ms the last."""
        index = bisect_right(self._times, utc_ms) - 1
        before = self._readings[index]
        if before.utc_ms == utc_ms:
            return before
        return _between(before, self._readings[index + 1], utc_ms)


def _between(before: Registers, after: Registers, utc_ms: int) -> Registers:
    """Return the registers interpolated between two readings, rounded down to the mWh."""
    span, part = after.utc_ms - before.utc_ms, utc_ms - before.utc_ms
    return Registers(
        utc_ms=utc_ms,
        import_mwh=before.import_mwh + (after.import_mwh - before.import_mwh) * part // span,
        export_mwh=before.export_mwh + (after.export_mwh - before.export_mwh) * part // span,
        basis="interpolated",
    )


def next_quarter(utc_ms: int) -> int:
    """Return the first quarter hour of the clock after `utc_ms`."""
    return (utc_ms // QUARTER_MS + 1) * QUARTER_MS


def interval(begin: Registers, end: Registers, status: Iterable[MeterStatus] = ()) -> IntervalClosed:
    """Return the entry for the energy between two cuts, with the status of its readings."""
    return IntervalClosed(
        start_ms=begin.utc_ms,
        end_ms=end.utc_ms,
        import_begin_mwh=begin.import_mwh,
        import_end_mwh=end.import_mwh,
        export_begin_mwh=begin.export_mwh,
        export_end_mwh=end.export_mwh,
        begins=begin.basis,
        ends=end.basis,
        status=tuple(sorted(status)) or UNSET,
    )


class IntervalCloser:
    """Closes intervals while a session runs: a quarter hour is closed by the first reading after its end."""

    def __init__(self, start: Registers) -> None:
        self._begin = start
        self._last = start
        self._status: set[MeterStatus] = set()
        """Of the readings since the last cut."""
        self._gap: set[MeterStatus] = set()
        """Of the substitutes since the last reading."""
        self._substitute: Registers | None = None

    @property
    def last_ms(self) -> int:
        """The time of the last reading (UTC)."""
        return self._last.utc_ms

    @property
    def next_boundary_ms(self) -> int:
        """The quarter hour at which a reading should be taken next."""
        asked_ms = self._substitute.utc_ms - 1 if self._substitute is not None else 0
        return next_quarter(max(self._begin.utc_ms, asked_ms))

    def add(self, reading: Registers) -> list[IntervalClosed]:
        """Take a reading and return the intervals that it closes; a substitute closes none before the end."""
        status = () if reading.status is UNSET else reading.status
        if reading.basis == "substitute":
            self._substitute = reading
            self._gap.update(status)
            return []
        return self._close(reading, self._gap.union(status))

    def _close(self, reading: Registers, status: set[MeterStatus]) -> list[IntervalClosed]:
        closed = []
        while (boundary := next_quarter(self._begin.utc_ms)) < reading.utc_ms:
            if self._last.utc_ms == boundary:
                end = self._last
            else:
                end = _between(self._last, reading, boundary)
                self._status |= status
            closed.append(interval(self._begin, end, self._status))
            self._begin, self._status = end, set()
        self._status |= status
        self._last, self._gap, self._substitute = reading, set(), None
        return closed

    def finish(self) -> list[IntervalClosed]:
        """Return the last interval, up to the last reading; none if no time has passed since the previous one.

        If that is a substitute, also those that it closes.
        """
        closed = [] if self._substitute is None else self._close(self._substitute, self._gap)
        if self._last.utc_ms > self._begin.utc_ms:
            closed.append(interval(self._begin, self._last, self._status))
            self._begin = self._last
        return closed


def intervals_of(readings: Sequence[Registers], *, finished: bool) -> list[IntervalClosed]:
    """Return the intervals of all readings of a session, substitutes included, with the last one if `finished`."""
    closer = IntervalCloser(readings[0])
    closed = [each for reading in readings[1:] for each in closer.add(reading)]
    return closed + closer.finish() if finished else closed
