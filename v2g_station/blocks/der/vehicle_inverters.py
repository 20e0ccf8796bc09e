"""Controls of block R for vehicles' inverters: converted to grid support, which AC DER carries to them (R221).

Percent become volts, watts and var of the EVSE: of the nominal voltage, of its maximum discharge, and of that reactive
power that inverters of category B have at it (IEEE 1547-2018). The charger keeps what the vehicle has no field for.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from v2g import typed_json
from v2g.energy.grid_support import GridSupport
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.der_control import DERCurve, FreqDroop, SetDERControlRequest
from v2g.ocpp.messages.ev_charging import DERControl
from v2g_station.blocks.der.der import ApplyControls, DerControls, GridEvent
from v2g_station.kernel.kernel import Kernel, StationCommand
from v2g_station.kernel.layout import EvseLayout

REACTIVE_SHARE: Final = 0.44
"""Reactive power of an inverter of category B, of its active one."""

BY_REACTIVE: Final[tuple[DERControl, ...]] = ("FixedPFInject", "FixedVar", "VoltVar", "WattPF", "WattVar")
"""Controls of reactive power that AC DER can carry."""
BY_ACTIVE: Final[tuple[DERControl, ...]] = ("FreqDroop", "VoltWatt")
"""Controls of active power that it can carry, where the charger does not apply them itself."""

_RESPONSE_S: Final = {"VoltVar": 5.0, "VoltWatt": 10.0}
_LN10: Final = math.log(10)  # OCPP counts to 90 %, grid support is a time constant


class SupportGrid(StationCommand, frozen=True, kw_only=True):
    """The controls in force for the vehicle at an EVSE; None: the charger's own configuration."""

    evse_id: int
    support: GridSupport | None


class VehicleGridEvent(Fact, frozen=True, kw_only=True):
    """A vehicle says that its inverter begins or ceases to act because of the grid (GridEventCondition)."""

    evse_id: int
    ended: bool = False


class VehicleInverters:
    """Sends the controls in force to the EVSEs with alternating current, those of these `types`, and the vehicles'
    events to the back end."""

    def __init__(
        self, kernel: Kernel, der: DerControls, types: tuple[DERControl, ...], *, nominal_hz: float, nominal_v: float
    ) -> None:
        self._k, self._types, self._hz, self._v = kernel, frozenset(types), nominal_hz, nominal_v
        self._der, self._in_force, self._acting = der, tuple[DERControl, ...](), set[int]()
        if types:
            der.unfit.append(self._unfit)
            der.on_applied(self._applied)

    @property
    def _evses(self) -> Mapping[int, EvseLayout]:
        return {number: each for number, each in enumerate(self._k.layout.evses, 1) if each.phases}

    def _unfit(self, request: SetDERControlRequest) -> bool:
        """Return whether no vehicle could follow this control: it has more than AC DER can say."""
        if request.control_type not in self._types:
            return False
        try:
            return any(not self._fields([request], each) for each in self._evses.values())
        except ValueError:  # of GridSupport: a curve that goes back, a power factor beyond 1
            return True

    def grid_event(self, fact: VehicleGridEvent) -> None:
        """Report that a first vehicle acts because of the grid, and that the last one ceased: as the first control in
        force, as messages of vehicles do not say which (R05). Without one the back end has asked for nothing."""
        before, own = bool(self._acting), {fact.evse_id}
        self._acting = self._acting - own if fact.ended else self._acting | own
        if self._in_force and bool(self._acting) is not before:
            event = GridEvent(control_type=self._in_force[0], fault="LocalEmergency", ended=fact.ended)
            self._der.grid_event(event)

    def _applied(self, command: ApplyControls) -> None:
        # one that is stored may not fit any more: the configuration has changed
        ours = [each for each in command.controls if each.control_type in self._types and not self._unfit(each)]
        self._in_force = tuple(each.control_type for each in ours)
        for number, each in self._evses.items():
            support = typed_json.convert(self._fields(ours, each), GridSupport) if ours else None
            self._k.do(SupportGrid(evse_id=number, support=support))

    def _fields(self, controls: Iterable[SetDERControlRequest], evse: EvseLayout) -> dict[str, object]:
        """Return the fields of grid support, checked. Raises ValueError."""
        most_w = evse.max_discharge_w
        found: dict[str, object] = {}
        for each in controls:
            if each.freq_droop is not None:
                found |= self._droops(each.freq_droop)
            elif each.fixed_var is not None:
                whole = most_w if each.fixed_var.unit == "PctMaxW" else REACTIVE_SHARE * most_w
                found["q_setpoint"] = {"var": float(each.fixed_var.setpoint) / 100 * whole}
            elif each.fixed_pf_inject is not None:
                factor = float(each.fixed_pf_inject.displacement)
                found["cos_phi_setpoint"] = {"cos_phi": -factor if each.fixed_pf_inject.excitation else factor}
            elif each.curve is not None:
                found |= self._curve(each.control_type, each.curve, most_w)
        typed_json.convert(found, GridSupport)
        return found

    def _droops(self, droop: FreqDroop) -> dict[str, object]:
        """Return both directions; a start below half the nominal frequency is a dead band, as in `response.droop_w`."""
        found: dict[str, object] = {}
        sides = (("over", droop.over_freq, droop.over_droop, 1), ("under", droop.under_freq, droop.under_droop, -1))
        for side, start, slope, sign in sides:
            begin, share = float(start), float(slope)
            begin = begin if begin > self._hz / 2 else self._hz + sign * begin
            if share > 0:
                found[f"{side}_frequency_watt"] = {
                    "start_hz": begin,
                    "stop_hz": begin + sign * self._hz * share,  # there all of it is gone
                    "slope": 100 / (self._hz * share),
                    "reference": "maximum",
                    "response_s": float(droop.response_time) / _LN10,
                }
        return found

    def _curve(self, control_type: str, curve: DERCurve, most_w: int) -> dict[str, object]:
        points = sorted((float(point.x), float(point.y)) for point in curve.curve_data)
        given = curve.response_time
        seconds = _RESPONSE_S.get(control_type, 0.0) if given is None else float(given)
        response = {"response_s": seconds / _LN10}
        whole = most_w if curve.y_unit == "PctMaxW" else REACTIVE_SHARE * most_w
        params = curve.reactive_power_params
        reference = self._v * float(params.v_ref if params is not None and params.v_ref else 100) / 100
        match control_type:
            case "VoltVar" if params is None or not params.autonomous_v_ref_enable:
                return {"volt_var": {"points": [(x / 100 * reference, y / 100 * whole) for x, y in points], **response}}
            case "WattVar":
                return {"watt_var": {"points": [(x / 100 * most_w, y / 100 * whole) for x, y in points], **response}}
            case "WattPF":  # absorbing is positive there (part 2, 2.36)
                return {"watt_cos_phi": {"points": [(x / 100 * most_w, -y) for x, y in points], **response}}
            case "VoltWatt" if len(points) == 2 and points[0][1] == 100 and points[1][1] == 0:
                (start, _), (stop, _) = points
                return {"volt_watt": {"start_v": start / 100 * self._v, "stop_v": stop / 100 * self._v, **response}}
        return {}
