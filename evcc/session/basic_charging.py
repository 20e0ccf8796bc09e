"""Charging by the control pilot alone (IEC 61851-1): the vehicle follows the duty cycle, and shows B, C or D."""

from typing import Final

from evcc.session import ports
from evcc.session.settings import BasicConfig, OnBoardChargerConfig, ProgramStep
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.iso15118.engine.core import BasicFallback
from v2g.iso15118.engine.session import Entropy, Fact

FULL: Final = 100.0


class BasicVehicle(BasicFallback):
    """One charge, from the nominal duty cycle to the end of the program; `reason` is then `finished`."""

    def __init__(
        self,
        config: BasicConfig,
        on_board: OnBoardChargerConfig,
        program: ProgramStep,
        *,
        duty: DutyReading,
        battery: ports.BatteryState,
        entropy: Entropy,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__(entropy=entropy, time_scale=time_scale)
        self._config, self._on_board, self._program = config, on_board, program
        self._duty, self._battery = duty, battery
        self._voltage_mv = 0
        self._lines: int = on_board.phases
        self._power_w = 0
        self._shown = PilotState.B
        self._charged_from_s: float | None = None
        self._charged_from_mwh = battery.charged_mwh

    @property
    def allowed_a(self) -> float:
        """The charger's limit per phase, A; 0 if no current is permitted."""
        return self._duty.max_current_a if self._duty.meaning == "current" else 0.0

    def _on_start(self) -> None:
        self._observe("basic", "started", current_a=round(self.allowed_a, 2))
        self._follow()

    def _on_fact(self, fact: Fact) -> None:
        match fact:
            case ports.DutyRead(reading=reading):
                self._take_duty(reading)
            case ports.PresentVoltage(voltage_mv=voltage_mv):
                self._voltage_mv, self._lines = voltage_mv, fact.lines_of(self._on_board.phases)
                self._follow()
            case ports.BatteryState():
                self._battery = fact
                self._follow()
            case ports.StopRequested():
                self._finish()
            case ports.HardwareFault(reason=reason):
                self._on_abort(reason)

    def _on_timer(self, name: str) -> None:
        match name:
            case "ready":
                self._show(PilotState.B)  # the oscillator and then the current went off: B within 3 s
            case "gone":
                self._on_abort("pilot_lost")

    def _on_abort(self, reason: str) -> None:
        self._draw(0)
        self._show(PilotState.B)
        self._observe("basic", "failed", reason=reason)
        self._close(reason)

    # -- inside -------------------------------------------------------------------------------------------------

    def _take_duty(self, reading: DutyReading) -> None:
        """Follow a new duty cycle: a reduction at once, within the permitted 5 s; off, and B soon after."""
        self._duty = reading
        self._observe("basic", "duty", meaning=reading.meaning, current_a=round(reading.max_current_a, 2))
        if reading.meaning == "current":
            self._disarm("ready", "gone")
        elif "gone" not in self._time.timers:
            self._draw(0)
            self._arm("ready", self._config.timers.obey_off_s / 2)
            self._arm("gone", self._config.wait_s)  # F and X1 pass; a charger that has failed stays silent
        self._follow()

    def _follow(self) -> None:
        """Show whether energy is needed, and draw up to the permitted current; a battery with a fault needs none."""
        if self.closed:
            return
        if self._battery.fault:
            self._on_abort(self._battery.fault)
        elif self._satisfied():
            self._finish()
        elif self.allowed_a:
            self._show(PilotState.D if self._config.ventilation else PilotState.C)
            self._draw(self._possible_w() if self._voltage_mv else 0)

    def _finish(self) -> None:
        self._draw(0)
        self._show(PilotState.B)
        self._observe("basic", "finished", soc=round(self._battery.soc, 2))
        self._close("finished")

    def _possible_w(self) -> int:
        line_a = min(self.allowed_a, self._on_board.line_ma / 1000)
        allowed_w = int(line_a * self._lines * self._voltage_mv / 1000)
        most = min(allowed_w, self._on_board.most_w(self._lines), self._battery.max_charge_w)
        if self._program.power_w is not None:
            most = min(most, self._program.power_w)
        return most if most >= self._on_board.min_charge_w else 0

    def _satisfied(self) -> bool:
        program = self._program
        charged_wh = (self._battery.charged_mwh - self._charged_from_mwh) // 1000
        if program.energy_wh is not None and charged_wh >= program.energy_wh:
            return True
        if program.for_s is not None and self._charged_from_s is not None:
            return (self._time.now - self._charged_from_s) * self._time.scale >= program.for_s
        return self._battery.soc >= (FULL if program.until_soc is None else program.until_soc)

    def _draw(self, power_w: int) -> None:
        if power_w != self._power_w:
            self._power_w = power_w
            if power_w and self._charged_from_s is None:
                self._charged_from_s, self._charged_from_mwh = self._time.now, self._battery.charged_mwh
            self._command(ports.SetAcPower(power_w))
            self._observe("basic", "draws", power_w=power_w)

    def _show(self, state: PilotState) -> None:
        if state is not self._shown:
            self._shown = state
            self._command(ports.SetCpState(state))
