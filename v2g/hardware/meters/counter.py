"""Energy of a flow, added up exactly. Pure."""

from typing import Final

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
