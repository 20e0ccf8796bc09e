"""A vehicle's own monitoring during a session: battery and inlet report, energy stays
within the battery's limits and the request, and the contactor follows its commands.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from evcc.session import ports
from evcc.session.steps import seen
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.safety.excess import Excesses, microseconds
from v2g.safety.flow import DIRECT, PACK, Flow, Margin
from v2g.safety.output import UNBOUNDED

LOOK_S: Final = 0.25
"""Interval of checks in a session that may have energy, independent of facts."""

TWICE_S: Final = 0.2
"""Silence counts only if two checks at least this far apart find it: a delayed program has received nothing either."""

OVER_VOLTAGE_S: Final = 0.4
OVER_VOLTAGE_PERCENT: Final = 110
"""How long the battery may exceed its maximum voltage by more than 1 % (at least 5 V); above this percentage
not at all. The times are those of IEC 61851-23 for chargers."""

BEARS_S: Final = 0.75
FOLLOW_S: Final = 1.75
EXCESS_S: Final = 1.0
"""How long the current may exceed a battery's limit that has fallen, and a request that has: one exchange, and the time
in which a charger follows. Then an excess by its margin may last for `EXCESS_S`, dips included, a larger one for a
quarter of it."""
_BEARS_US: Final = microseconds(BEARS_S)
_FOLLOW_US: Final = microseconds(FOLLOW_S)
_EXCESS_US: Final = microseconds(EXCESS_S)

REPORT_S: Final = 2.0
"""How long a charger's report counts: longer than an excess may last."""

UNASKED_S: Final = 1.0
LEFT_S: Final = 5.0
"""How long an inlet may have voltage without a request; and how long residual voltage may last."""


class Watch:
    """State of battery, inlet and contactor, and its violations; `battery` is the battery's latest report.

    `sensor_s` and `contactor_s` are the maximum silence of a sensor, and the maximum switching time of a contactor, s.
    """

    def __init__(self, battery: ports.BatteryState, *, sensor_s: float, contactor_s: float) -> None:
        self._sensor_s, self._contactor_s = sensor_s, contactor_s
        self.battery, self.inlet = battery, ports.PresentVoltage(0)
        self.contactor_closed = False
        self.limits = ports.SetPowerLimits(0, 0)
        """The latest limits of the session."""
        self._at: dict[str, float] = {}
        self._lasts = Excesses()
        self._pack, self._inlet, self._asked, self._reported_flow, self._said = (Flow(),) * 5
        self._battery_ms = -1
        self._reported, self._reported_at = ports.Reported(0, 0), float("-inf")
        self._margin, self._answered_w = DIRECT, 0
        self._awaits = False
        self._wanted = self._arrived = False
        self._opens_until = float("-inf")
        self._powered_at = float("-inf")
        self._agreed = Flow()

    # -- inputs

    def take_battery(self, state: ports.BatteryState, now: float) -> None:
        """The battery reports; a repetition of the same report does not count."""
        self.battery = state
        if state.at_ms != self._battery_ms:
            self._battery_ms, self._at["battery"] = state.at_ms, now

    def take_inlet(self, inlet: ports.PresentVoltage, now: float) -> None:
        """The inlet's sensors report."""
        self.inlet, self._at["inlet"] = inlet, now

    def take_contactor(self, state: ports.ContactorState) -> None:
        """The auxiliary contact reports."""
        self.contactor_closed = state.closed
        if not state.closed:
            self._opens_until = float("-inf")  # it has opened: from now on it has no reason to be closed
        self._arrived = self._wanted and (self._arrived or state.closed)

    def command(self, command: Command, now: float) -> None:
        """A command of the session."""
        match command:
            case ports.SetPowerLimits():
                self.limits = command
            case ports.CloseContactor():
                self._wanted = True
                self._reported = ports.Reported(0, 0)  # what was said of an open contactor is over
            case ports.OpenContactor():
                self._wanted = self._arrived = False
                self._opens_until = now + self._contactor_s
            case ports.Reported():
                self._reported, self._reported_at = command, now

    def agree(self, tolerance_ma: int) -> None:
        """The charger declares how accurately it controls its current, mA; `v2g.safety.flow` bounds it."""
        self._margin = DIRECT.declared(tolerance_ma)

    def exchange(self, *, awaits: bool) -> None:
        """A request was sent, or answered: until the answer a slow charger may follow the request before."""
        self._awaits = awaits
        self._answered_w = self._answered_w if awaits else self.limits.charge_w

    def begin(self, now: float) -> None:
        """Voltage is requested from now on: silence counts from here."""
        self._at = {"battery": now, "inlet": now} | self._at
        self._lasts.forget("battery_silent", "inlet_silent", "over_voltage")
        self._pack = self._inlet = self._asked = self._reported_flow = self._said = Flow()

    # -- checks

    def overdrawn(self, leaving_w: int, allowed_w: int, tolerance_w: int, *, seconds: float, now: float) -> bool:
        """Return whether more has left the vehicle than allowed, by the tolerance. A lower limit may be
        followed for three quarters of the time; then an excess by the tolerance may last for so long, dips included, a
        larger one for a quarter of it."""
        margin = Margin(sensor=max(1, tolerance_w), control=0)
        self._agreed = self._agreed.then(
            leaving_w,
            allowed_w,
            UNBOUNDED,
            margin=margin,
            follow_us=microseconds(seconds * 3 / 4),
            now_us=microseconds(now),
        )
        return self._agreed.excess.lasts(microseconds(seconds))

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
        there = self.inlet.voltage_mv > ports.SAFE_MV and now - self._powered_at > LEFT_S
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
        battery, now_us, follow_us = self.battery, microseconds(now), _BEARS_US
        inlet_ma = self.inlet.current_ma if self.contactor_closed else 0
        reported_ma = self._said_ma(now)
        bounds = battery.max_charge_ma, battery.max_discharge_ma
        self._pack = self._pack.then(battery.current_ma, *bounds, margin=PACK, follow_us=follow_us, now_us=now_us)
        self._inlet = self._inlet.then(inlet_ma, *bounds, margin=DIRECT, follow_us=follow_us, now_us=now_us)
        self._reported_flow = self._reported_flow.then(
            reported_ma, *bounds, margin=DIRECT, follow_us=follow_us, now_us=now_us
        )
        beyond = any(each.excess.lasts(_EXCESS_US) for each in (self._pack, self._inlet, self._reported_flow))
        return "over_current" if beyond else ""

    def _power(self, now: float) -> str:
        """The charger gives, and says that it gives, no more than requested; what leaves the vehicle is checked against
        the agreement. At a request of 0 the latest report may be old: only the inlet counts."""
        most_w = max(self.limits.charge_w, self._answered_w if self._awaits else 0)
        most_ma = most_w * 1_000_000 // max(1, self.inlet.voltage_mv)
        said_ma = self._said_ma(now) if self.limits.charge_w else 0
        follow_us, now_us, margin = _FOLLOW_US, microseconds(now), self._margin
        self._asked = self._asked.then(
            self.inlet.current_ma, most_ma, UNBOUNDED, margin=margin, follow_us=follow_us, now_us=now_us
        )
        self._said = self._said.then(said_ma, most_ma, UNBOUNDED, margin=margin, follow_us=follow_us, now_us=now_us)
        beyond = any(each.excess.lasts(_EXCESS_US) for each in (self._asked, self._said))
        return "power_not_obeyed" if beyond else ""

    def _said_ma(self, now: float) -> int:
        """Return the current that the charger reports; an old report, of a slow charger, says nothing of now."""
        said = self.contactor_closed and now - self._reported_at <= REPORT_S
        return self._reported.current_ma if said else 0

    def _lasting(self, violation: str, wrong: bool, seconds: float, now: float) -> str:
        """Return the name of the violation once it has lasted this long, dips included."""
        return violation if self._lasts(violation, wrong, seconds, now) else ""


NO_ERROR: Final = "NO_ERROR"
INCOMPATIBLE: Final = "FAILED_ChargingSystemIncompatibility"
WRONG_CURRENT: Final = "FAILED_ChargingCurrentdifferential"
WRONG_VOLTAGE: Final = "FAILED_ChargingVoltageOutOfRange"
"""Names of DC_EVErrorCode in ISO 15118-2 and DIN 70121."""


NOISE_MV: Final = 5_000
NOISE_MA: Final = 5_000
"""How far a sensor without voltage or current may show a negative value."""


class Implausible(msgspec.Struct, frozen=True):
    """A report that cannot be right: the cause of the session's end, the field, and its value in the small unit.

    `ev_error` is the DC_EVErrorCode that the vehicle then sends, where its edition has one.
    """

    cause: str
    field: str
    value: int | str
    ev_error: str = INCOMPATIBLE

    def event(self, message: str) -> Observe:
        """Return the event of a finding in a message."""
        return seen(
            "session", "implausible_response", message=message, cause=self.cause, field=self.field, value=self.value
        )


def limits(values: Mapping[str, int]) -> Implausible | None:
    """Judge limits by the names of their fields, `evse_minimum_...` beside `evse_maximum_...`.

    A maximum of 0 A or 0 W is a pause, a voltage of 0 is none. Limits of discharge count by magnitude: sources disagree
    on their sign.
    """
    for name, value in values.items():
        if value < 0 and "discharge" not in name:
            return Implausible("evse_limit_negative", name, value)
        if value == 0 and "voltage" in name and "minimum" not in name:
            return Implausible("evse_limits_contradict", name, value, WRONG_VOLTAGE)
    for name, most in values.items():
        least = name.replace("maximum", "minimum")
        if most and abs(values.get(least, 0)) > abs(most):
            return Implausible("evse_limits_contradict", least, values[least])
    return None


def present(
    *, voltage: tuple[str, int], current: tuple[str, int] | None = None, max_voltage_mv: int | None = None
) -> Implausible | None:
    """Judge the present output, each by its field's name and mV or mA; `max_voltage_mv` is that of a battery whose
    contactor is closed: before that an output falls slowly from the voltage of the cable check, and the vehicle waits.

    `current` is given where none may flow out of the vehicle.
    """
    name, voltage_mv = voltage
    above = max_voltage_mv is not None and voltage_mv > max_voltage_mv * OVER_VOLTAGE_PERCENT // 100
    if voltage_mv < -NOISE_MV or above:
        return Implausible("evse_voltage_out_of_range", name, voltage_mv, WRONG_VOLTAGE)
    if current is not None and current[1] < -NOISE_MA:
        return Implausible("evse_current_out_of_range", *current, WRONG_CURRENT)
    return None
