"""What controls of block R mean for the active power at an EVSE, by the grid's frequency and voltage here (R01, R03).

Followed at once and without the CSMS, faster than any open loop response time that a control names. Powers are signed
as everywhere: into the vehicle is positive.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from secc.core.station.der import ApplyControls, DerControls, GridEvent
from secc.core.station.evse import Evse
from secc.core.station.frequency import GridFrequency
from secc.core.station.kernel import Command, Kernel
from v2g.ocpp.messages.der_control import DERCurve, FreqDroop, GridEventFault, SetDERControlRequest
from v2g.ocpp.messages.ev_charging import DERControl

EMULATED: Final[tuple[DERControl, ...]] = ("FreqDroop", "FreqWatt", "LimitMaxDischarge", "VoltWatt")
"""Controls that a charger follows by the power alone, whatever makes it (R03.FR.03)."""

QUIET_S: Final = 10.0
"""An event of the grid is over when the control has not acted for so long: a frequency at the edge is one event."""

_FAULTS: Final[Mapping[tuple[str, bool], GridEventFault]] = {
    ("hz", True): "OverFrequency",
    ("hz", False): "UnderFrequency",
    ("v", True): "OverVoltage",
    ("v", False): "UnderVoltage",
}


class Respond(Command, frozen=True, kw_only=True):
    """Shift the power that would flow at an EVSE by `delta_w`, and then let it not be less than `floor_w`: so much
    may leave the vehicle at most, or (above 0) has to go into it. None bounds nothing."""

    evse_id: int
    delta_w: int = 0
    floor_w: int | None = None


class Acting(msgspec.Struct, frozen=True):
    """A control that changes the power because of the grid."""

    control_type: DERControl
    fault: GridEventFault


def droop_w(droop: FreqDroop, hz: float, *, nominal_hz: float, rated_w: float) -> float:
    """Return the shift of a frequency droop (IEEE 1547-2018 5.7.2.3.4), W.

    A droop of 0.05 is all of the rated power over 5 % of the nominal frequency. A start below half the nominal
    frequency counts as a dead band around it: OCPP has one word for both, see docs/reference/open-points.md.
    """
    over, under = droop.over_freq, droop.under_freq
    over = over if over > nominal_hz / 2 else nominal_hz + over
    under = under if under > nominal_hz / 2 else nominal_hz - under
    if hz > over and droop.over_droop > 0:
        return (hz - over) / (nominal_hz * droop.over_droop) * rated_w
    if hz < under and droop.under_droop > 0:
        return (hz - under) / (nominal_hz * droop.under_droop) * rated_w
    return 0.0


def curve_at(curve: DERCurve, x: float) -> float:
    """Return the y of a curve: straight lines between its points, level beyond them."""
    points = sorted((point.x, point.y) for point in curve.curve_data)
    if x <= points[0][0]:
        return points[0][1]
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        if x <= x2:
            return y2 if x2 == x1 else y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return points[-1][1]


class DerResponse:
    """Follows the controls in force at all EVSEs of a station. Nominal values are the grid's."""

    def __init__(
        self, kernel: Kernel, evses: Mapping[int, Evse], der: DerControls, *, nominal_hz: float, nominal_v: float
    ) -> None:
        self._k, self._evses, self._der = kernel, evses, der
        self._nominal_hz, self._nominal_v = nominal_hz, nominal_v
        self._controls: tuple[SetDERControlRequest, ...] = ()
        self._grid: GridFrequency | None = None
        self._told: dict[int, Respond] = {}
        self._acting: dict[DERControl, GridEventFault] = {}
        der.on_applied.append(self._applied)

    def measured(self, fact: GridFrequency) -> None:
        """Act on what was measured at once."""
        self._grid = fact
        self._follow()

    def _applied(self, command: ApplyControls) -> None:
        self._controls = command.controls
        self._follow()

    def _follow(self) -> None:
        for number in self._evses:
            respond = self._of(number)
            if respond != self._told.get(number, Respond(evse_id=number)):
                self._told[number] = respond
                self._k.do(respond)
        self._alarm({each.control_type: each.fault for each in self._events()})

    def _of(self, number: int) -> Respond:
        rated_w = self._k.layout.evses[number - 1].max_discharge_w
        delta, floors = 0.0, list[float]()
        for control in self._controls:
            if control.freq_droop is not None and self._grid is not None:
                delta += droop_w(control.freq_droop, self._grid.hz, nominal_hz=self._nominal_hz, rated_w=rated_w)
            percent = self._ceiling(control)
            if percent is not None:
                floors.append(-percent / 100 * rated_w)
        return Respond(evse_id=number, delta_w=round(delta), floor_w=round(max(floors)) if floors else None)

    def _ceiling(self, control: SetDERControlRequest) -> float | None:
        """Return what may leave the vehicle by a control, percent of the rated discharge power."""
        if control.limit_max_discharge is not None:
            return control.limit_max_discharge.pct_max_discharge_power
        x = self._x(control)
        return None if control.curve is None or x is None else curve_at(control.curve, x)

    def _x(self, control: SetDERControlRequest) -> float | None:
        """Return where on its curve a control is: Hz, or percent of the nominal voltage."""
        grid = self._grid
        if grid is None:
            return None
        if control.control_type == "FreqWatt":
            return grid.hz
        if control.control_type == "VoltWatt" and grid.volt is not None:
            return grid.volt / self._nominal_v * 100
        return None

    # -- what the CSMS hears of it (R02)

    def _events(self) -> Iterable[Acting]:
        for control in self._controls:
            x, nominal = self._x(control), 100.0 if control.control_type == "VoltWatt" else self._nominal_hz
            if control.freq_droop is not None and self._grid is not None:
                shift = droop_w(control.freq_droop, self._grid.hz, nominal_hz=self._nominal_hz, rated_w=1.0)
                if shift:
                    yield Acting("FreqDroop", _FAULTS["hz", shift > 0])
            elif (
                control.curve is not None
                and x is not None
                and curve_at(control.curve, x) < curve_at(control.curve, nominal)
            ):
                yield Acting(control.control_type, _FAULTS["v" if nominal == 100.0 else "hz", x > nominal])

    def _alarm(self, acting: Mapping[DERControl, GridEventFault]) -> None:
        for control_type, fault in acting.items():
            self._k.cancel(f"der.quiet.{control_type}")
            if self._acting.get(control_type) != fault:
                self._acting[control_type] = fault
                self._der.grid_event(GridEvent(control_type=control_type, fault=fault))
        for control_type in self._acting.keys() - acting.keys():
            name = f"der.quiet.{control_type}"
            if not self._k.planned(name):
                self._k.after(name, QUIET_S, self._ender(control_type))

    def _ender(self, control_type: DERControl) -> Callable[[], None]:
        def end() -> None:
            fault = self._acting.pop(control_type)
            self._der.grid_event(GridEvent(control_type=control_type, fault=fault, ended=True))

        return end
