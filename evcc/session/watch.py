"""A vehicle's own monitoring during a session: battery and inlet report, energy stays
within the battery's limits and the request, and the contactor follows its commands.
"""

from typing import Final

from evcc.session.ports import (
    SAFE_MV,
    BatteryState,
    CloseContactor,
    ContactorState,
    OpenContactor,
    PresentVoltage,
    Reported,
    SetPowerLimits,
)
from v2g.iso15118.engine.session import Command

LOOK_S: Final = 0.25
"""Interval of checks in a session that may have energy, independent of facts."""

TWICE_S: Final = 0.2
"""Silence counts only if two checks at least this far apart find it: a delayed program has received nothing either."""

OVER_VOLTAGE_S: Final = 0.4
OVER_VOLTAGE_PERCENT: Final = 110
"""How long the battery may exceed its maximum voltage by more than 1 % (at least 5 V); above this percentage
not at all. The times are those of IEC 61851-23 for chargers."""

OVER_CURRENT_S: Final = 1.0
MARGIN_MA: Final = 5_000
"""How long the battery's current may exceed its limit by more than 5 % and this margin."""

FOLLOW_S: Final = 2.0
MARGIN_W: Final = 500
"""How long the power into the vehicle may exceed its request by more than 5 % and this margin: one exchange, and the
second in which a charger follows."""

UNASKED_S: Final = 1.0
LEFT_S: Final = 5.0
"""How long an inlet may have voltage without a request; and how long residual voltage may last."""


class Watch:
    """State of battery, inlet and contactor, and its violations; `battery` is the battery's latest report.

    `sensor_s` and `contactor_s` are the maximum silence of a sensor, and the maximum switching time of a contactor, s.
    """

    def __init__(self, battery: BatteryState, *, sensor_s: float, contactor_s: float) -> None:
        self._sensor_s, self._contactor_s = sensor_s, contactor_s
        self.battery, self.inlet = battery, PresentVoltage(0)
        self.contactor_closed = False
        self.limits = SetPowerLimits(0, 0)
        """The latest limits of the session."""
        self._at: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._battery_ms = -1
        self._reported = Reported(0, 0)
        self._wanted = self._arrived = False
        self._opens_until = float("-inf")
        self._powered_at = float("-inf")
        self._overdrawn_since: float | None = None

    # -- inputs

    def take_battery(self, state: BatteryState, now: float) -> None:
        """The battery reports; a repetition of the same report does not count."""
        self.battery = state
        if state.at_ms != self._battery_ms:
            self._battery_ms, self._at["battery"] = state.at_ms, now

    def take_inlet(self, inlet: PresentVoltage, now: float) -> None:
        """The inlet's sensors report."""
        self.inlet, self._at["inlet"] = inlet, now

    def take_contactor(self, state: ContactorState) -> None:
        """The auxiliary contact reports."""
        self.contactor_closed = state.closed
        if not state.closed:
            self._opens_until = float("-inf")  # it has opened: from now on it has no reason to be closed
        self._arrived = self._wanted and (self._arrived or state.closed)

    def command(self, command: Command, now: float) -> None:
        """A command of the session."""
        match command:
            case SetPowerLimits():
                self.limits, self._overdrawn_since = command, None
            case CloseContactor():
                self._wanted = True
            case OpenContactor():
                self._wanted = self._arrived = False
                self._opens_until = now + self._contactor_s
            case Reported():
                self._reported = command

    def begin(self, now: float) -> None:
        """Voltage is requested from now on: silence counts from here."""
        self._at = {"battery": now, "inlet": now} | self._at
        self._since.clear()

    # -- checks

    def overdrawn(self, leaving_w: int, allowed_w: int, *, seconds: float, now: float) -> bool:
        """Return whether more than `allowed_w` has left the vehicle for over `seconds`; new limits restart it."""
        if leaving_w <= allowed_w:
            self._overdrawn_since = None
        elif self._overdrawn_since is None:
            self._overdrawn_since = now
        return self._overdrawn_since is not None and now - self._overdrawn_since > seconds

    def fresh(self, now: float) -> bool:
        """Return whether the reports of battery and inlet are recent enough for closing a contactor."""
        return all(now - self._at.get(each, float("-inf")) <= self._sensor_s / 2 for each in ("battery", "inlet"))

    def look(self, now: float, *, powered: bool, ending: bool) -> str:
        """Return the name of the present violation, or empty.

        `powered`: voltage has been requested, and perhaps power; `ending`: it is being switched off, where a
        remaining voltage is checked by welding detection.
        """
        if powered or ending:
            self._powered_at = now
        rules = (self._contact(now), *(self._energy(now) if powered else (self._unasked(now),)))
        return next((violation for violation in rules if violation), "")

    def _contact(self, now: float) -> str:
        if self.contactor_closed and not self._wanted and now >= self._opens_until:
            return "contactor_welded"
        return "contactor_dropped" if self._arrived and not self.contactor_closed else ""

    def _unasked(self, now: float) -> str:
        there = self.inlet.voltage_mv > SAFE_MV and now - self._powered_at > LEFT_S
        return self._lasting("voltage_not_asked_for", there, UNASKED_S, now)

    def _energy(self, now: float) -> tuple[str, ...]:
        return (
            self._silent("battery", now),
            self._silent("inlet", now),
            self._voltage(now),
            self._current(now),
            self._power(now),
        )

    def _silent(self, sensor: str, now: float) -> str:
        return self._lasting(f"{sensor}_silent", now - self._at.get(sensor, now) > self._sensor_s, TWICE_S, now)

    def _voltage(self, now: float) -> str:
        """With an open contactor, the inlet may exceed the battery's limit."""
        most_mv = self.battery.max_voltage_mv
        there_mv = self.battery.voltage_mv
        if self.contactor_closed:
            there_mv = max(there_mv, self.inlet.voltage_mv, self._reported.voltage_mv)
        if there_mv > most_mv * OVER_VOLTAGE_PERCENT // 100:
            return "over_voltage"
        return self._lasting("over_voltage", there_mv > most_mv + max(5_000, most_mv // 100), OVER_VOLTAGE_S, now)

    def _current(self, now: float) -> str:
        battery = self.battery
        flows = [battery.current_ma]
        if self.contactor_closed:
            flows += [self.inlet.current_ma, self._reported.current_ma]
        most, least = (each * 21 // 20 + MARGIN_MA for each in (battery.max_charge_ma, battery.max_discharge_ma))
        beyond = max(flows) > most or min(flows) < -least
        return self._lasting("over_current", beyond, OVER_CURRENT_S, now)

    def _power(self, now: float) -> str:
        inlet_w = self.inlet.voltage_mv * self.inlet.current_ma // 1_000_000
        beyond = inlet_w > self.limits.charge_w * 21 // 20 + MARGIN_W
        return self._lasting("power_not_obeyed", beyond, FOLLOW_S, now)

    def _lasting(self, violation: str, wrong: bool, seconds: float, now: float) -> str:
        """Return the name of the violation once it has lasted this long."""
        if not wrong:
            self._since.pop(violation, None)
            return ""
        return violation if now - self._since.setdefault(violation, now) >= seconds else ""
