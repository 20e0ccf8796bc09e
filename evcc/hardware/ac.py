"""The simulated on-board charger: alternating current from the AC line into the battery, and back."""

from typing import Final

import msgspec

from evcc.session.ports import PresentVoltage
from evcc.session.settings import NOMINAL_V, OnBoardChargerConfig
from v2g.energy.conductors import Currents, spread
from v2g.energy.grid_support import NO_SUPPORT, GridSupport
from v2g.energy.inverter import SupportingInverter
from v2g.io.simulation.lines import ChargerAc, VehicleAcLine
from v2g.observe import Callbacks

EFFICIENCY: Final = 0.93
"""Efficiency in both directions."""

BENCH_MV: Final = 230_000
"""Voltage between phase and neutral on a bench."""


class BenchAcLine:
    """No AC line: mains are assumed to be present while the vehicle requests them by its pilot state (C, D)."""

    def __init__(self) -> None:
        self.on_change: Final = Callbacks[ChargerAc | None]()
        """Called with the assumed supply from now on."""
        self.seen: ChargerAc | None = None

    def publish(self, currents: Currents) -> None:
        """The current is not visible to a charger."""

    def pass_on(self, *, closed: bool) -> None:
        """Assume that the charge point's contactor is closed, or open."""
        self.seen = ChargerAc(BENCH_MV, 3, contactor_closed=closed)
        self.on_change.tell(self.seen)


class OnBoardCharger:
    """Draws (or feeds back) the commanded power while the charge point supplies voltage. Implements Converter.

    The power flows in equal parts on as many phases as it and the charge point have, on each no more than its rating of
    one. Its inverter supports the grid as it is told (AC DER). Not modelled: currents of reactive power, ramps.
    """

    def __init__(self, line: VehicleAcLine | BenchAcLine, config: OnBoardChargerConfig) -> None:
        self._line, self._config = line, config
        self._wanted_w = 0
        self._present = PresentVoltage(0)
        self.on_change: Final = Callbacks[[]]()
        """Called when voltage or current has changed."""
        self._now = 0.0
        self._inverter = SupportingInverter(
            nominal_v=NOMINAL_V,
            most_out_w=config.max_discharge_w,
            most_var=config.max_reactive_var,
            direct_a=config.inverter.direct_a,
        )
        line.publish(Currents())
        line.on_change(self._changed)

    @property
    def present(self) -> PresentVoltage:
        """Voltage between phase and neutral, and the sum of the phases' currents, at the inlet."""
        return self._present

    @property
    def grid_hz(self) -> float | None:
        """The grid's frequency at the inlet; None without voltage."""
        supply = self._line.seen
        return float(supply.frequency_hz) if supply is not None and self._present.voltage_mv else None

    def limit(self, charge_w: int) -> None:
        """See Converter: commands for the power are within its limits already."""

    def drive(self, power_w: int) -> None:
        """Draw (positive) or feed back this power from now on, within the rating."""
        self._wanted_w = power_w
        self._changed(self._line.seen)

    def support(self, demands: GridSupport) -> None:
        """Let the inverter follow these demands from now on."""
        self._inverter.follow(demands)
        self._changed(self._line.seen)

    def advance(self, now: float) -> None:
        """Let the inverter follow voltage and frequency until now (s)."""
        self._now = now
        if self._inverter.support != NO_SUPPORT:
            self._changed(self._line.seen)

    def battery_ma(self, battery_mv: int) -> int:
        """Return the current into the battery (negative out of it) at its voltage."""
        watts = self._present.voltage_mv * self._present.current_ma / 1_000_000
        through = watts * EFFICIENCY if watts > 0 else watts / EFFICIENCY
        return int(through * 1_000_000 / max(1, battery_mv))

    def cut(self) -> None:
        self._wanted_w = 0
        self._present = msgspec.structs.replace(
            self._present, current_ma=0, currents=self._present.currents and Currents()
        )
        self._line.publish(Currents())

    def _changed(self, charger: ChargerAc | None) -> None:
        present, currents = PresentVoltage(0), Currents()
        if charger is not None and charger.contactor_closed and charger.voltage_mv > 0:
            lines = min(charger.phases, self._config.phases)
            power_w = max(-self._config.most_out_w(lines), min(self._config.most_w(lines), self._wanted_w))
            flow = self._inverter.at(power_w, charger.voltage_mv / 1000, charger.frequency_hz, self._now)
            power_w = flow.power_w
            most_ma = lines * self._config.line_ma
            drawn_ma = max(-most_ma, min(most_ma, int(power_w * 1_000_000 / charger.voltage_mv)))
            currents = spread(drawn_ma, range(lines))
            measured = currents if self._config.measures_lines else None
            present = PresentVoltage(
                *(charger.voltage_mv, currents.total_ma, lines, measured, flow.reactive_var, charger.frequency_hz),
                grid_event=flow.acts,
                direct_ma=flow.direct_ma,
            )
        if present != self._present:
            self._present = present
            self._line.publish(currents)
            self.on_change.tell()
