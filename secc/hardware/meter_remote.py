"""External meters: their last readings, in the charger's interface."""

from collections.abc import Callable
from typing import Final

import msgspec

from secc.session import ports
from v2g.energy.conductors import Currents
from v2g.energy.settlement.registers import MARGIN_MWH
from v2g.hardware.interfaces import EnergyMeter, MeterValues, OnFault

FRESH_S: Final = 1.0
"""How long a reading says what flows. Meters with an optical head send one each 1 to 4 s, and some are lost."""


class RemoteMeter:
    """A meter on a line. See Meter: a reading is at most one poll or telegram old, and fresh after `refresh`."""

    def __init__(self, serial: str, meter: EnergyMeter, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock, s."""
        self.serial: Final = serial
        self._meter, self._now = meter, now
        self.read_at = now()
        self._power_w: int | None = None
        meter.on_change(lambda: self._was_read(now()))
        self._registers = _Rollover(meter.rollover_mwh)
        self._kept: ports.MeterRead | None = None

    @property
    def rollover_mwh(self) -> int | None:
        return self._meter.rollover_mwh

    def read(self, utc_ms: int) -> ports.MeterRead:
        if self._kept is not None:
            return msgspec.structs.replace(self._kept, utc_ms=utc_ms, answered=False)
        values = self._meter.values
        return self._registers.reading(utc_ms, values, answered=not self._meter.lost)

    def keep(self, reading: ports.MeterRead) -> None:
        self._kept = reading

    @property
    def values(self) -> MeterValues:
        return self._meter.values

    @property
    def power_w(self) -> int | None:
        """See Meter: the last one where the newest reading has none, so that it goes on being compared."""
        present_w = self._meter.values.power_w
        return None if self._meter.lost else self._power_w if present_w is None else present_w

    def _was_read(self, now: float) -> None:
        if (power_w := self._meter.values.power_w) is not None or self._power_w is None:
            self.read_at, self._power_w = now, power_w

    async def refresh(self) -> None:
        await self._meter.refresh()

    def on_fault(self, callback: OnFault) -> None:
        self._meter.on_fault(callback)

    @property
    def has_voltage(self) -> bool:
        return self._meter.has_voltage

    def mains(self, nominal_mv: int) -> "MeterMains":
        """Return the mains behind an AC contactor, as the meter measures them."""
        return MeterMains(self._meter, nominal_mv, lambda: self._now() - self.read_at <= FRESH_S)

    def on_grid(self, callback: Callable[[float | None, float | None, tuple[float, ...]], None]) -> None:
        """Call `callback` with the grid's frequency (Hz) and voltage (V) of every good reading, None for neither, and
        with the voltages of its phases, as many as are measured."""

        def read() -> None:
            values = self._meter.values
            hz, volt = (None if each is None else each / 1000 for each in (values.frequency_mhz, values.voltage_mv))
            callback(hz, volt, tuple(each / 1000 for each in values.line_mv))

        self._meter.on_change(read)

    def save(self, *, sync: bool = True) -> None:
        """See Meter: it stores its registers itself."""

    def sync(self) -> None:
        """See Meter."""

    def close(self) -> None:
        """See Meter: the line is closed by its owner."""


class _Rollover:
    """Registers that continue when those of the meter start again at 0."""

    def __init__(self, rollover_mwh: int | None) -> None:
        self._rollover_mwh = rollover_mwh
        self._last: MeterValues | None = None
        self._rolled = [0, 0]

    def reading(self, utc_ms: int, values: MeterValues, *, answered: bool) -> ports.MeterRead:
        """Return the reading of these values; a register that falls otherwise falls here, too."""
        last, self._last = self._last, values
        if last is not None and self._rollover_mwh is not None:
            now = (values.import_mwh, values.export_mwh)
            for index, before in enumerate((last.import_mwh, last.export_mwh)):
                if now[index] < before and now[index] + self._rollover_mwh - before <= MARGIN_MWH:
                    self._rolled[index] += self._rollover_mwh
        first, second = self._rolled
        registers = values.import_mwh + first, values.export_mwh + second
        return ports.MeterRead(utc_ms, *registers, (first, second), self._rollover_mwh, answered=answered)


class MeterMains:
    """The mains behind an AC contactor, as the meter measures them. See Mains."""

    def __init__(self, meter: EnergyMeter, nominal_mv: int, fresh: Callable[[], bool] = lambda: True) -> None:
        self._meter, self._nominal_mv, self._fresh = meter, nominal_mv, fresh
        self._last = ports.Measured(nominal_mv, 0)  # what was measured last counts while a reading has no power

    @property
    def present(self) -> ports.Measured:
        """See Mains: the current times the voltage is the measured power. Powers of lines without a voltage have the
        nominal one."""
        values = self._meter.values
        voltage_mv, currents = values.voltage_mv or self._nominal_mv, values.currents
        if currents is None and values.line_w and values.voltage_mv is None:
            currents = Currents(*(watts * 1_000_000 // voltage_mv for watts in values.line_w))
        if values.power_w is not None:
            self._last = ports.Measured(voltage_mv, values.power_w * 1_000_000 // voltage_mv, currents=currents)
        elif currents is not None:
            self._last = ports.Measured(voltage_mv, currents.total_ma, currents=currents)
        return self._last

    @property
    def fresh(self) -> bool:
        """See Mains."""
        return self._fresh()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._meter.on_change(callback)
