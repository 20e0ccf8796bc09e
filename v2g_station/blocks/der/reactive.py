"""The effect of controls of block R on the reactive power of an inverter in the charger (R04, scenario 4).

Only if the power electronics can produce any, up to `max_var`. Injecting (over-excited) is positive, like active power
out of the vehicle. Of several controls in force the one with the best priority applies, since an inverter has one
reactive power mode at a time (IEEE 1547-2018, 5.3).
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from v2g.energy.curves import ResponseLag
from v2g.ocpp.messages.der_control import DERCurve, DERUnit, FixedPF, SetDERControlRequest
from v2g.ocpp.messages.ev_charging import DERControl
from v2g_station.blocks.der.der import SETTLING_S, ApplyControls, DerControls, curve_at
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import StationCommand

REACTIVE: Final[tuple[DERControl, ...]] = ("FixedPFAbsorb", "FixedPFInject", "FixedVar", "VoltVar", "WattPF", "WattVar")
"""Controls of the reactive power."""

BY_VOLTAGE: Final[DERControl] = "VoltVar"

VOLT_VAR_S: Final = 5.0
"""Open loop response time of a VoltVar curve without one (IEEE 1547-2018, table 8, category B)."""

V_REF_S: Final = 300.0
"""Default time constant of the reference of a VoltVar curve (IEEE 1547-2018, 5.3.3)."""


class React(StationCommand, frozen=True, kw_only=True):
    """Set the reactive power of an EVSE's inverter; injected is positive."""

    evse_id: int
    var: int


class InverterRating(msgspec.Struct, frozen=True, kw_only=True):
    """An inverter's rating: W into the grid and out of it, and var."""

    inject_w: int
    absorb_w: int
    max_var: int


def var_by_factor(power_w: float, factor: float, *, inject: bool) -> float:
    """Return the reactive power for an active power at a power factor (above 0, at most 1)."""
    size = abs(power_w) * math.tan(math.acos(min(1.0, max(0.01, abs(factor)))))
    return size if inject else -size


def part_of(percent: float, unit: DERUnit, rating: InverterRating) -> float:
    """Return percent of the quantity that `unit` names, in var; the whole capability counts as available."""
    whole = max(rating.inject_w, rating.absorb_w) if unit == "PctMaxW" else rating.max_var
    return percent / 100 * whole


class DerReactive(FunctionalBlock):
    """Applies reactive power controls at all EVSEs. `read` returns the power at an EVSE, `out` if it has ceased."""

    def __init__(
        self, shared: Shared, der: DerControls, *, out: Callable[[int], bool], nominal_v: float, max_var: int
    ) -> None:
        super().__init__(shared)
        self._nominal_v, self._max_var = nominal_v, max_var
        self._control: SetDERControlRequest | None = None
        self._absorbing: SetDERControlRequest | None = None
        self._volt: float | None = None
        self._reference: float | None = None
        self._seen = self._k.now
        self._lag = ResponseLag(0.0)
        self._reported: dict[int, int] = {}
        self._out = out
        der.on_applied(self._applied)

    def measured(self, fact: GridFrequency) -> None:
        """Handle a measurement: the grid voltage, and the power at each EVSE."""
        self._volt = None if fact.volt is None else fact.volt / self._nominal_v * 100
        self._follow_reference()
        self.follow()

    def _applied(self, command: ApplyControls) -> None:
        found = [each for each in command.controls if each.control_type in REACTIVE]
        found.sort(key=lambda each: (_priority(each), each.control_type))
        best = found[0] if found else None
        pair = {"FixedPFAbsorb": "FixedPFInject", "FixedPFInject": "FixedPFAbsorb"}
        other = pair.get(best.control_type) if best is not None else None
        self._control = best
        self._absorbing = next((each for each in found if each.control_type == other), None)
        self._reference = None
        if best is None or best.control_type != BY_VOLTAGE:
            self._lag = ResponseLag(0.0)
        self.follow()

    def _follow_reference(self) -> None:
        """Let the reference of a VoltVar curve follow the voltage if autonomous."""
        now, seconds = self._k.now, (self._k.now - self._seen) * self._k.scale
        self._seen = now
        curve = self._control.curve if self._control is not None else None
        params = curve.reactive_power_params if curve is not None else None
        if params is None or not params.autonomous_v_ref_enable or self._volt is None:
            self._reference = None
            return
        constant = params.autonomous_v_ref_time_constant or V_REF_S
        before = 100.0 if self._reference is None else self._reference
        self._reference = before + (self._volt - before) * (1 - math.exp(-seconds / constant))

    def follow(self) -> None:
        """Recalculate the reactive power of each inverter."""
        for number in self._evses if self._max_var else ():
            most = self._max_var
            var = max(-most, min(most, round(self._of(number))))
            if var != self._reported.get(number, 0):
                self._reported[number] = var
                self._k.do(React(evse_id=number, var=var))
        if not self._lag.settled:
            self._k.after("der.volt_var", SETTLING_S / self._k.scale, self.follow)

    def _of(self, number: int) -> float:
        layout = self._k.layout.evses[number - 1]
        control, sample = self._control, self._read(number)
        key = f"DCDERCtrlr#{number}.Enabled"
        if control is None or self._out(number) or (self._k.model.has(key) and not self._k.model.flag(key)):
            return 0.0
        rating = InverterRating(inject_w=layout.max_discharge_w, absorb_w=layout.max_power_w, max_var=self._max_var)
        inject_w = -(sample.power_w or 0) if sample is not None else 0
        fixed = self._fixed_factor(inject_w)
        if fixed is not None:
            return var_by_factor(inject_w, fixed.displacement, inject=not fixed.excitation)
        if control.fixed_var is not None:
            return part_of(control.fixed_var.setpoint, control.fixed_var.unit, rating)
        return 0.0 if control.curve is None else self._by_curve(control.control_type, control.curve, inject_w, rating)

    def _fixed_factor(self, inject_w: float) -> FixedPF | None:
        """Return the power factor for this direction, None without power."""
        for control in (self._control, self._absorbing):
            if control is not None and inject_w > 0 and control.fixed_pf_inject is not None:
                return control.fixed_pf_inject
            if control is not None and inject_w < 0 and control.fixed_pf_absorb is not None:
                return control.fixed_pf_absorb
        return None

    def _by_curve(self, control_type: DERControl, curve: DERCurve, inject_w: float, rating: InverterRating) -> float:
        if control_type == BY_VOLTAGE:
            if self._volt is None:
                return 0.0
            params = curve.reactive_power_params
            given = params.v_ref if params is not None and params.v_ref else 100.0
            reference = given if self._reference is None else self._reference
            percent, response_s = curve_at(curve, self._volt / reference * 100), curve.response_time
            percent = self._lag.follow(
                percent, VOLT_VAR_S if response_s is None else response_s, self._k.now * self._k.scale
            )
            return part_of(percent, curve.y_unit, rating)
        percent = inject_w / (rating.inject_w if inject_w >= 0 else rating.absorb_w or 1) * 100 if inject_w else 0.0
        y = curve_at(curve, percent)
        if control_type == "WattPF":  # absorbing is positive (part 2, 2.36)
            return var_by_factor(inject_w, y, inject=y < 0)
        return part_of(y, curve.y_unit, rating)


def _priority(control: SetDERControlRequest) -> int:
    bodies = (control.curve, control.fixed_pf_absorb, control.fixed_pf_inject, control.fixed_var)
    return next((body.priority for body in bodies if body is not None), 0)
