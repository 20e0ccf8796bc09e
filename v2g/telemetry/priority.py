"""Priorities of records: what a full outbox drops first, and what a low-rate uplink carries (R94, R102)."""

from enum import IntEnum
from typing import Final

from msgspec import UNSET

from v2g.events import EVENTS
from v2g.telemetry.local_events import DROPPED
from v2g.telemetry.signals import CELL_VOLTAGE, MODULE_TEMPERATURE, SIGNALS, Record


class Priority(IntEnum):
    """A lower number is more important. A full outbox drops the highest number first, and settlement never."""

    SETTLEMENT = 0
    """Countersigned checkpoints, and records of dropped records."""
    SAFETY = 1
    """A contactor has changed, a detector has found something, or a program beside the gateway reports a danger."""
    SUMMARY = 2
    """A keyframe every few minutes; events of programs beside the gateway; samples of cells around a finding."""
    LIVE = 3
    DIAGNOSTIC = 4
    """Only voltages of cells, temperatures of modules, or the coolant's data."""


LOW_RATE: Final = Priority.SUMMARY
"""A low-rate uplink carries records of this priority, and more important ones."""

_SAFETY: Final = frozenset({"vehicle.contactor", *(each for each in SIGNALS if each.startswith("battery.contactor."))})
_COOLANT: Final = frozenset({"battery.temperature.coolant", "battery.coolant.flow"})
_DIAGNOSTIC: Final = frozenset(
    each for each in SIGNALS if each in _COOLANT or each.startswith((f"{CELL_VOLTAGE}.", f"{MODULE_TEMPERATURE}."))
)


class Prioritiser:
    """Returns the priority of each record of a gateway, in order."""

    def __init__(self, summary_s: float = 300.0) -> None:
        """`summary_s`: minimum interval of summaries."""
        self._summary_ms = summary_s * 1000
        self._summary_at = float("-inf")

    def priority(self, record: Record) -> Priority:
        """Return the priority of the next record."""
        if record.checkpoint is not UNSET:
            return Priority.SETTLEMENT
        if record.event is not UNSET:
            if record.event.name == DROPPED:
                return Priority.SETTLEMENT
            return Priority.SAFETY if EVENTS[record.event.name].safety else Priority.SUMMARY
        if record.cells is not UNSET:
            return Priority.SUMMARY
        signals = record.signals
        if not record.keyframe and not _SAFETY.isdisjoint(signals):
            return Priority.SAFETY
        if record.keyframe and abs(record.utc_ms - self._summary_at) >= self._summary_ms:
            self._summary_at = record.utc_ms
            return Priority.SUMMARY
        if signals and signals.keys() <= _DIAGNOSTIC and not record.keyframe:
            return Priority.DIAGNOSTIC
        return Priority.LIVE
