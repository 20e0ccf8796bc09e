"""Registers that only grow, from those that a meter shows: over a rollover, and over a reset or another meter.

Energy counts only where two readings of one register support it. After a rollover that is the rest up to the maximum
and what followed; across a reset nothing is known, so nothing counts. Writer and verifier of a journal use the same
rules.
"""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from v2g.energy.settlement.records import MeterReading, MeterStatus, SessionStarted

MOST_W: Final = 4_000_000
"""More than any vehicle takes: that of a megawatt charger."""

MARGIN_MWH: Final = 100_000_000
"""How far registers may move beyond that: times of readings are not exact, and a clock may have gone back."""


_UNEXPLAINED: Final = "the registers do not follow from those that the meter showed"


class MeterState(msgspec.Struct, frozen=True, gc=False):
    """The last reading: its time, the registers of the journal, and those that the meter showed, all mWh."""

    utc_ms: int
    import_mwh: int
    export_mwh: int
    shown_import_mwh: int
    shown_export_mwh: int
    rollover_mwh: int | UnsetType = UNSET

    @classmethod
    def at_start(cls, started: SessionStarted, utc_ms: int) -> "MeterState":
        """Return the state at the start of a session."""
        registers = (started.import_mwh, started.export_mwh)
        return cls(utc_ms, *registers, *registers, started.rollover_mwh)

    def after(self, record: MeterReading, utc_ms: int) -> "MeterState":
        """Return the state after a reading of the journal; a missing one changes nothing."""
        if _has(record, "missing"):
            return self
        import_mwh, export_mwh = record.import_mwh, record.export_mwh
        if record.shown_import_mwh is UNSET and record.shown_export_mwh is UNSET:
            return MeterState(utc_ms, import_mwh, export_mwh, import_mwh, export_mwh, self.rollover_mwh)
        shown = (_or(record.shown_import_mwh, import_mwh), _or(record.shown_export_mwh, export_mwh))
        return MeterState(utc_ms, import_mwh, export_mwh, *shown, self.rollover_mwh)

    def follow(self, import_mwh: int, export_mwh: int, utc_ms: int) -> "tuple[MeterState, MeterStatus | None]":
        """Return the state after the meter has shown these registers, and what is wrong with them."""
        most_mwh = MOST_W * max(0, utc_ms - self.utc_ms) // 3600 + MARGIN_MWH
        grown, rolled = [], False
        for before, now in ((self.shown_import_mwh, import_mwh), (self.shown_export_mwh, export_mwh)):
            more = now - before
            if more < 0 and self.rollover_mwh is not UNSET and now < self.rollover_mwh:
                more, rolled = more + self.rollover_mwh, True
            grown.append(more)
        status: MeterStatus | None = "rollover" if rolled else None
        if min(grown) < 0 or max(grown) > most_mwh:
            grown, status = [0, 0], "reset"
        registers = (self.import_mwh + grown[0], self.export_mwh + grown[1])
        return MeterState(utc_ms, *registers, import_mwh, export_mwh, self.rollover_mwh), status

    def reading(self, record: MeterReading, utc_ms: int) -> MeterReading:
        """Return the entry for a reading whose registers are those that the meter shows."""
        if _has(record, "missing"):
            return msgspec.structs.replace(record, import_mwh=self.import_mwh, export_mwh=self.export_mwh)
        state, status = self.follow(record.import_mwh, record.export_mwh, utc_ms)
        known = () if record.status is UNSET else record.status
        found = tuple(sorted({*known, status} if status else {*known}))
        moved = (state.import_mwh, state.export_mwh) != (state.shown_import_mwh, state.shown_export_mwh)
        return msgspec.structs.replace(
            record,
            import_mwh=state.import_mwh,
            export_mwh=state.export_mwh,
            shown_import_mwh=state.shown_import_mwh if moved else UNSET,
            shown_export_mwh=state.shown_export_mwh if moved else UNSET,
            status=found or UNSET,
        )

    def problem(self, record: MeterReading, utc_ms: int) -> str:
        """Return why the registers of a reading do not follow from what the meter showed, "" if they do."""
        if record.status is record.shown_import_mwh is record.shown_export_mwh is UNSET:
            good = self.import_mwh == self.shown_import_mwh and self.export_mwh == self.shown_export_mwh
            return "" if good else _UNEXPLAINED
        registers = (record.import_mwh, record.export_mwh)
        if _has(record, "missing"):
            wrong = registers != (self.import_mwh, self.export_mwh)
            return "a missing reading has registers of its own" if wrong else ""
        after = self.after(record, utc_ms)
        if _has(record, "rollover") or _has(record, "reset"):
            expected, status = self.follow(after.shown_import_mwh, after.shown_export_mwh, utc_ms)
            good = after == expected and _has(record, status)
        else:
            good = self._offsets == after._offsets
        return "" if good else _UNEXPLAINED

    @property
    def _offsets(self) -> tuple[int, int]:
        return self.import_mwh - self.shown_import_mwh, self.export_mwh - self.shown_export_mwh


def _has(record: MeterReading, status: MeterStatus | None) -> bool:
    return record.status is not UNSET and status in record.status


def _or(value: int | UnsetType, otherwise: int) -> int:
    return otherwise if value is UNSET else value
