"""Plausibility of meter readings: registers only rise, as fast as energy flows. Pure."""

from typing import Final

STUCK_WH: Final = 200
"""Energy by voltage and current that may flow before the registers of a slow meter move."""

MARGIN_WH: Final = 50
"""How far a register may exceed the possible energy: its resolution, and late readings."""


ERROR_PERMILLE: Final = 50
"""How far the energy of power electronics and meter may differ, of the whole: the errors of both."""


def unmetered_mwh(flowed_mwh: int, metered_mwh: int) -> int:
    """Return the energy by the power electronics' own measurement that the meter did not count, in one direction; 0
    within the errors of both."""
    missing_mwh = flowed_mwh - metered_mwh
    return missing_mwh if missing_mwh > MARGIN_WH * 1_000 + flowed_mwh * ERROR_PERMILLE // 1_000 else 0


class MeterGuard:
    """Receives every reading and the simultaneous power; returns a fault of `v2g.hardware.faults`, or empty.

    `most_w` is the charger's maximum power in either direction. `now_ms` is the (possibly simulated) time of the
    meter; it never goes back.
    """

    def __init__(self, most_w: int) -> None:
        self._most_w = most_w
        self._last: tuple[int, int, int] | None = None  # ms, mWh import, mWh export
        self._moved: tuple[int, int] | None = None
        self._unseen_wms = 0  # W x ms that flowed since a register moved

    def check(self, now_ms: int, import_mwh: int, export_mwh: int, power_w: int) -> str:
        """Check a reading, with the power since the last one. Returns a fault or ""."""
        last, self._last = self._last, (now_ms, import_mwh, export_mwh)
        if last is None:
            self._moved = (import_mwh, export_mwh)
            return ""
        elapsed_ms = max(0, now_ms - last[0])
        if import_mwh < last[1] or export_mwh < last[2]:
            self._last = last
            return "meter_backward"
        most_mwh = self._most_w * elapsed_ms // 3_600 + MARGIN_WH * 1_000
        if import_mwh - last[1] > most_mwh or export_mwh - last[2] > most_mwh:
            self._last = last
            return "meter_jump"
        if (import_mwh, export_mwh) != self._moved:
            self._moved, self._unseen_wms = (import_mwh, export_mwh), 0
        else:
            self._unseen_wms += abs(power_w) * elapsed_ms
            if self._unseen_wms > STUCK_WH * 3_600_000:
                return "meter_stuck"
        return ""
