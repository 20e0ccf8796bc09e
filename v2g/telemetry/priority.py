"""Priorities of records: what a full outbox drops first, and what a low-rate uplink carries (R94, R102)."""

from enum import IntEnum
from typing import Final

from msgspec import UNSET

from v2g.events import EVENTS
from v2g.telemetry.cells import IMBALANCE_V
from v2g.telemetry.local_events import DROPPED
from v2g.telemetry.signals import CELL_VOLTAGE, Record


class Priority(IntEnum):
    """A lower number is more important. A full outbox drops the highest number first, and settlement never."""

    SETTLEMENT = 0
    """Countersigned checkpoints, and records of dropped records."""
    SAFETY = 1
    """The contactor has changed, cells are out of balance, or a program beside the gateway reports a danger."""
    SUMMARY = 2
    """A keyframe every few minutes; events of programs beside the gateway."""
    LIVE = 3
    DIAGNOSTIC = 4
    """Only voltages of cells, or the coolant's temperature."""


LOW_RATE: Final = Priority.SUMMARY
"""A low-rate uplink carries records of this priority, and more important ones."""

_SAFETY: Final = "vehicle.contactor"
_IMBALANCE: Final = f"{CELL_VOLTAGE}.imbalance"
_DIAGNOSTIC: Final = frozenset(
    {*(f"{CELL_VOLTAGE}.{each}" for each in ("min", "max", "mean", "imbalance")), "battery.temperature.coolant"}
)


class Prioritiser:
    """Returns the priority of each record of a gateway, in order."""

    def __init__(self, summary_s: float = 300.0) -> None:
        """`summary_s`: minimum interval of summaries."""
        self._summary_ms = summary_s * 1000
        self._summary_at = float("-inf")
        self._imbalanced = False

    def priority(self, record: Record) -> Priority:
        """Return the priority of the next record."""
        if record.checkpoint is not UNSET:
            return Priority.SETTLEMENT
        if record.event is not UNSET:
            if record.event.name == DROPPED:
                return Priority.SETTLEMENT
            return Priority.SAFETY if EVENTS[record.event.name].safety else Priority.SUMMARY
        signals = record.signals
        imbalance = signals.get(_IMBALANCE)
        before = self._imbalanced
        if isinstance(imbalance, float):
            self._imbalanced = imbalance > IMBALANCE_V
        if before != self._imbalanced or (_SAFETY in signals and not record.keyframe):
            return Priority.SAFETY
        if record.keyframe and abs(record.utc_ms - self._summary_at) >= self._summary_ms:
            self._summary_at = record.utc_ms
            return Priority.SUMMARY
        if signals and signals.keys() <= _DIAGNOSTIC and not record.keyframe:
            return Priority.DIAGNOSTIC
        return Priority.LIVE
