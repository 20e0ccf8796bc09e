"""Energy of a flow, added up exactly, and plausibility of meter readings: registers only rise, as fast as energy flows.
Pure."""

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


COMPARED_MS: Final = 1_800_000
"""The energies of power electronics and meter are compared for so long, and then anew: errors are of the whole."""


class MeterGuard:
    """Receives every reading and the energy of the power that was measured meanwhile, by the power electronics or with
    alternating current by the meter itself, whose registers have to agree with its power; returns a fault of
    `v2g.hardware.faults`, or empty.

    `most_w` is the charger's maximum power in either direction. `now_ms` is the (possibly simulated) time of the meter;
    it never goes back.
    """

    def __init__(self, most_w: int) -> None:
        self._most_w = most_w
        self._last: tuple[int, int, int] | None = None  # ms, mWh import, mWh export
        self._moved: tuple[int, int] | None = None
        self._unseen = (0, 0)  # what had flowed when a register moved, mWh in and out
        self._since: tuple[int, tuple[int, int], tuple[int, int]] | None = None  # ms, registers, and what had flowed

    def check(self, now_ms: int, import_mwh: int, export_mwh: int, flowed_mwh: tuple[int, int]) -> str:
        """Check a reading, with the energy that has flowed in and out. Returns a fault or ""."""
        last, self._last = self._last, (now_ms, import_mwh, export_mwh)
        if last is None:
            self._moved, self._unseen = (import_mwh, export_mwh), flowed_mwh
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
            self._moved, self._unseen = (import_mwh, export_mwh), flowed_mwh
        elif sum(flowed_mwh) - sum(self._unseen) > STUCK_WH * 1_000:
            return "meter_stuck"
        # compare the energies of a period
        registers = (import_mwh, export_mwh)
        if self._since is None or now_ms - self._since[0] >= COMPARED_MS:
            self._since = now_ms, registers, flowed_mwh
        _, registers_then, flowed_then = self._since
        for each in (0, 1):
            counted, measured = registers[each] - registers_then[each], flowed_mwh[each] - flowed_then[each]
            if abs(counted - measured) > STUCK_WH * 1_000 + max(counted, measured) * ERROR_PERMILLE // 1_000:
                return "measurements_differ"
        return ""


PER_MWH: Final = 3_600_000_000
"""mV x mA x ms in one mWh."""


class EnergyCounter:
    """Two registers that never fall, into and out of the vehicle, in mV x mA x ms."""

    def __init__(self, imported: int = 0, exported: int = 0) -> None:
        self.imported, self.exported = imported, exported
        self.voltage_mv = self.current_ma = 0
        self._at_ms: int | None = None

    def flow(self, now_ms: int, voltage_mv: int, current_ma: int) -> None:
        """Set the present flow from `now_ms` on; the previous one counts until then. Current > 0: into the vehicle."""
        self.advance(now_ms)
        self.voltage_mv, self.current_ma = voltage_mv, current_ma

    def advance(self, now_ms: int) -> None:
        """Count the present flow until `now_ms`; a time that goes back counts nothing."""
        if self._at_ms is not None and now_ms > self._at_ms:
            energy = self.voltage_mv * self.current_ma * (now_ms - self._at_ms)
            if energy > 0:
                self.imported += energy
            else:
                self.exported -= energy
        self._at_ms = max(now_ms, self._at_ms or now_ms)

    @property
    def power_w(self) -> int:
        """The present power, into the vehicle."""
        return self.voltage_mv * self.current_ma // 1_000_000

    @property
    def mwh(self) -> tuple[int, int]:
        """Whole mWh into and out of the vehicle."""
        return self.imported // PER_MWH, self.exported // PER_MWH
