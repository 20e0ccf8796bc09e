"""The physics of a simulated inverter that supports the grid: active and reactive power by voltage and frequency. Pure.

Signs of active power as in a vehicle: positive into it. Functions only lower its magnitude, as no more than what was
agreed may flow; so a vehicle that discharges does not give more at under-frequency. Reactive power is positive where it
is injected. Not modelled: harmonics, phases that differ, the delay beyond `stop_hz`.
"""

import math
from typing import Final

import msgspec

from v2g.energy.curves import ResponseLag, value_at
from v2g.energy.frequency_limit import FrequencyLimit, Since
from v2g.energy.grid_support import NO_SUPPORT, SETPOINTS, GridSupport, SupportCurve

_LN10: Final = math.log(10)  # ResponseLag counts to 90 %


class InverterFlow(msgspec.Struct, frozen=True):
    """Active (W) and reactive power (var), whether the grid lowers the active one, and the direct current, mA."""

    power_w: int
    reactive_var: int = 0
    acts: bool = False
    direct_ma: int = 0


class SupportingInverter:
    """An inverter of so much discharge and reactive power at this voltage, which injects so much direct current unless
    that is limited. Times are s, on a clock that only rises."""

    def __init__(self, *, nominal_v: float, most_out_w: int, most_var: int, direct_a: float = 0.0) -> None:
        self._nominal_v, self._most_w, self._most_var = nominal_v, most_out_w, most_var
        self._direct_a = direct_a
        self.support = NO_SUPPORT
        self._active, self._reactive = ResponseLag(0.0), ResponseLag(0.0)
        self._start()

    def follow(self, support: GridSupport) -> None:
        """Follow these functions and set-points from now on."""
        before, self.support = self.support, support
        if before.only(before.functions - SETPOINTS) != support.only(support.functions - SETPOINTS):
            self._start()

    def _start(self) -> None:
        each = self.support
        over, under = each.over_frequency_watt, each.under_frequency_watt
        self._over = None if over is None else FrequencyLimit(over, over=True)
        self._under = None if under is None else FrequencyLimit(under, over=False)
        self._volts, self._volts_w = Since(), 0.0
        self._blocked = self._locked = False
        self._asked: tuple[float, float] | None = None

    def at(self, wanted_w: int, volts: float, hertz: float, now: float) -> InverterFlow:
        """Return what flows at this voltage and frequency, of the power that is commanded."""
        each = self.support
        limit = math.inf if each.dc_injection is None else each.dc_injection
        direct_ma = round(1000 * min(self._direct_a, limit)) if wanted_w else 0
        if each == NO_SUPPORT:
            return InverterFlow(wanted_w, direct_ma=direct_ma)
        if self._is_blocked(volts):
            self._active, self._reactive = ResponseLag(0.0), ResponseLag(0.0)
            return InverterFlow(0, 0, acts=True)
        out_w, in_w = max(0, -wanted_w), max(0, wanted_w)
        limits: list[tuple[float, float]] = []
        if self._over is not None and each.over_frequency_watt is not None:
            limit = self._over.at(out_w, self._most_w, hertz, now)
            limits.append((limit if out_w else math.inf, each.over_frequency_watt.response_s))
        if self._under is not None and each.under_frequency_watt is not None:
            limit = self._under.at(in_w, self._most_w, hertz, now)
            limits.append((limit if in_w else math.inf, each.under_frequency_watt.response_s))
        if each.volt_watt is not None:
            limit = self._by_volts(out_w, volts, now)
            limits.append((limit if out_w else math.inf, each.volt_watt.response_s))
        least_w, response_s = min(limits, default=(math.inf, 0.0))
        lowered_w = max(0.0, (out_w or in_w) - least_w)
        lowered_w = self._active.follow(lowered_w, response_s * _LN10, now)
        power_w = round(math.copysign(max(0.0, (out_w or in_w) - lowered_w), wanted_w))
        reactive, response_s = self._wanted_var(power_w, volts, now)
        reactive = max(-self._most_var, min(self._most_var, reactive + self._through(volts)))
        reactive = self._reactive.follow(reactive, response_s * _LN10, now)
        return InverterFlow(power_w, round(reactive), acts=abs(power_w - wanted_w) > 1, direct_ma=direct_ma)

    def _by_volts(self, out_w: float, volts: float, now: float) -> float:
        each = self.support.volt_watt
        assert each is not None
        lasting = self._volts.lasts(now, holds=volts > each.start_v)
        if lasting == 0:
            self._volts_w = out_w
        if lasting is None or lasting < each.delay_s:
            return math.inf
        reference_w = self._most_w if each.reference == "maximum" else self._volts_w
        return reference_w * each.share_at(volts)

    def _wanted_var(self, power_w: int, volts: float, now: float) -> tuple[float, float]:
        """Return the reactive power by set-point or curve, and its time constant."""
        each = self.support
        if each.q_setpoint is not None:
            return each.q_setpoint.var, each.q_setpoint.response_s
        if each.cos_phi_setpoint is not None:
            return _var(power_w, each.cos_phi_setpoint.cos_phi), each.cos_phi_setpoint.response_s
        if each.volt_var is not None:
            curve, wanted = each.volt_var, value_at(each.volt_var.points, volts)
            self._lock(curve, abs(power_w))
        elif each.watt_var is not None:
            curve, wanted = each.watt_var, value_at(each.watt_var.points, -power_w)
            self._lock(curve, volts)
        elif each.watt_cos_phi is not None:
            curve = each.watt_cos_phi
            # from over- to under-excited a power factor passes 1: its distance from 1 is what is linear
            ways = [(x, math.copysign(1 - abs(y), y)) for x, y in curve.points]
            distance = value_at(ways, -power_w)
            wanted = _var(power_w, math.copysign(1 - abs(distance), distance))
            self._lock(curve, volts)
        else:
            return 0.0, 0.0
        wanted = wanted if self._locked else 0.0
        if curve.min_cos_phi is not None:
            most = abs(_var(power_w, curve.min_cos_phi))
            wanted = max(-most, min(most, wanted))
        if self._asked is None or now - self._asked[1] >= curve.delay_s:
            self._asked = wanted, now
        return self._asked[0], curve.response_s

    def _lock(self, curve: SupportCurve, value: float) -> None:
        """Lock in, or out, by a value of the curve's own unit."""
        if curve.lock_in is None or value >= curve.lock_in:
            self._locked = True
        elif value < (curve.lock_in if curve.lock_out is None else curve.lock_out):
            self._locked = False

    def _through(self, volts: float) -> float:
        """Return the reactive power that rides through a fault: against the deviation, by the k factor."""
        over, under = self.support.over_ride_through, self.support.under_ride_through
        if over is not None and volts > over.start_v:
            return -over.k_positive * (volts - over.start_v) / self._nominal_v * self._most_w
        if under is not None and volts < under.start_v:
            return under.k_negative * (under.start_v - volts) / self._nominal_v * self._most_w
        return 0.0

    def _is_blocked(self, volts: float) -> bool:
        """Return whether no current may flow: beyond the limits of zero current, or of ride-through, until recovery."""
        each = self.support
        zero, over, under = each.zero_current, each.over_ride_through, each.under_ride_through
        pairs: list[tuple[float | None, float | None, int]] = []
        if zero is not None:
            pairs += [(zero.over_v, zero.over_recovery_v, 1), (zero.under_v, zero.under_recovery_v, -1)]
        pairs += [(side.stop_v, side.recovery_v, sign) for side, sign in ((over, 1), (under, -1)) if side is not None]
        self._blocked = any(
            (volts - (limit if not self._blocked or back is None else back)) * sign > 0
            for limit, back, sign in pairs
            if limit is not None
        )
        return self._blocked


def _var(power_w: float, cos_phi: float) -> float:
    """Return the reactive power at a signed power factor."""
    magnitude = max(0.01, abs(cos_phi))
    return math.copysign(abs(power_w) * math.sqrt(1 - magnitude**2) / magnitude, cos_phi)
