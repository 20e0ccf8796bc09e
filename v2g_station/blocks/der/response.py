"""The effect of controls of block R on the active power at an EVSE, by the grid's frequency and voltage (R01, R03).

Applied without the CSMS. What follows the frequency applies at once, faster than any open loop response time of a
control: no charger moves the frequency. It does move the voltage of its feeder, so VoltWatt takes its response time, or
chargers would hunt. Power into the vehicle is positive, as everywhere.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from v2g.energy.curves import FrequencyCurve, HeldResponse, ResponseLag
from v2g.energy.limits import NO_RESPONSE, GridResponse
from v2g.observe import Callbacks
from v2g.ocpp.messages.der_control import FreqDroop, GridEventFault, SetDERControlRequest
from v2g.ocpp.messages.ev_charging import DERControl
from v2g_station.blocks.der.der import SETTLING_S, ApplyControls, DerControls, GridEvent, curve_at
from v2g_station.blocks.der.trips import Acting, Trips
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import StationCommand

BY_FREQUENCY: Final[tuple[DERControl, ...]] = (
    "EnterService",
    "FreqDroop",
    "FreqWatt",
    "Gradients",
    "HFMayTrip",
    "HFMustTrip",
    "LFMustTrip",
    "LimitMaxDischarge",
)
"""Controls of the active power by the grid's frequency, with any power electronics (R03.FR.03)."""

BY_VOLTAGE: Final[tuple[DERControl, ...]] = (
    "HVMayTrip",
    "HVMomCess",
    "HVMustTrip",
    "LVMayTrip",
    "LVMomCess",
    "LVMustTrip",
    "VoltWatt",
)
"""Further ones, which need the grid's voltage to be measured."""

VOLT_WATT_S: Final = 10.0
"""Open loop response time of a VoltWatt curve without one (IEEE 1547-2018, table 31)."""

QUIET_S: Final = 10.0
"""A grid event ends when no control has acted for this time; a frequency oscillating at the limit is one event."""

_FAULTS: Final[Mapping[tuple[str, bool], GridEventFault]] = {
    ("hz", True): "OverFrequency",
    ("hz", False): "UnderFrequency",
    ("v", True): "OverVoltage",
    ("v", False): "UnderVoltage",
}


class Respond(StationCommand, frozen=True, kw_only=True):
    """Change the power at an EVSE."""

    evse_id: int
    response: GridResponse


def droop_w(droop: FreqDroop, hz: float, *, nominal_hz: float, rated_w: float) -> float:
    """Return the shift of a frequency droop (IEEE 1547-2018 5.7.2.3.4), W.

    A droop of 0.05 means the full rated power over 5 % of the nominal frequency. A start below half the nominal
    frequency counts as a dead band around it: OCPP uses one field for both, see docs/reference/open-points.md.
    """
    over, under = droop.over_freq, droop.under_freq
    over = over if over > nominal_hz / 2 else nominal_hz + over
    under = under if under > nominal_hz / 2 else nominal_hz - under
    if hz > over and droop.over_droop > 0:
        return (hz - over) / (nominal_hz * droop.over_droop) * rated_w
    if hz < under and droop.under_droop > 0:
        return (hz - under) / (nominal_hz * droop.under_droop) * rated_w
    return 0.0


class DerResponse(FunctionalBlock):
    """Applies the controls in force at all EVSEs of a station. Nominal values are the grid's."""

    def __init__(
        self,
        shared: Shared,
        der: DerControls,
        *,
        nominal_hz: float,
        nominal_v: float,
        own: FrequencyCurve | None = None,
        led: Callable[[Evse], bool] = lambda _: False,
    ) -> None:
        """`own` is the station's own response to the frequency. It gives way to a droop of the CSMS, and at EVSEs that
        are `led`: whose profiles follow the frequency."""
        super().__init__(shared)
        self._der = der
        self._nominal_hz, self._nominal_v = nominal_hz, nominal_v
        self._controls: tuple[SetDERControlRequest, ...] = ()
        self._grid: GridFrequency | None = None
        self._reported: dict[int, GridResponse] = {}
        self._acting: Acting | None = None
        self._own, self._led = None if own is None else HeldResponse(own), led
        self._volt_watt = ResponseLag(100.0)
        self._trips = Trips(self._evses, lambda: int.from_bytes(self._k.entropy(4), "big") / 2**32)
        self._starting = True
        self.on_follow: Final = Callbacks[[]]()
        """Called whenever EVSEs may have ceased to energize, or returned."""
        der.on_applied(self._applied)
        for number in self._evses:
            self._k.model.after[f"dcderctrlr#{number}.enabled"] = lambda _: self._follow()

    def out(self, evse_id: int) -> bool:
        """Return whether an EVSE has ceased to energize."""
        return self._trips.services[evse_id].out

    @property
    def _now(self) -> float:
        """Seconds of grid time."""
        return self._k.now * self._k.scale

    def start(self) -> None:
        """End the start phase: controls set from now on no longer count as set before the start."""
        self._starting = False

    def measured(self, fact: GridFrequency) -> None:
        """Handle a measurement at once."""
        self._grid = fact
        values = {"hz": fact.hz} if fact.measured else {}  # no return to service while the frequency is not measured
        if fact.volt is not None:
            values["v"] = fact.volt / self._nominal_v * 100
        self._trips.measured(values, self._now)
        self._follow()

    def _applied(self, command: ApplyControls) -> None:
        self._controls = command.controls
        if not any(control.control_type == "VoltWatt" for control in command.controls):
            self._volt_watt = ResponseLag(100.0)
        self._trips.apply(command.controls, self._now, starting=self._starting)
        self._follow()

    def _tick(self) -> None:
        self._trips.tick(self._now)
        self._follow()

    def _follow(self) -> None:
        grid, again = self._grid, None
        if self._own is not None and grid is not None:
            again = self._own.follow(grid.hz - self._nominal_hz if grid.measured else None, self._now)
        self._k.cancel("der.own")
        if again is not None:
            self._k.after("der.own", (again - self._now) / self._k.scale, self._follow)
        for number in self._evses:
            response = self._of(number)
            if response != self._reported.get(number, NO_RESPONSE):
                self._reported[number] = response
                self._k.do(Respond(evse_id=number, response=response))
        if not self._volt_watt.settled:
            self._k.after("der.volt_watt", SETTLING_S / self._k.scale, self._follow)
        self.on_follow.tell()
        self._alarm(next(iter(self._events()), None))
        due = self._trips.due(self._now)
        self._k.cancel("der.trips")
        if due is not None:
            self._k.after("der.trips", (due - self._now) / self._k.scale, self._tick)

    def _of(self, number: int) -> GridResponse:
        layout = self._k.layout.evses[number - 1]
        key = f"DCDERCtrlr#{number}.Enabled"
        floors = [0.0] if self._grid is not None and not self._grid.measured else []
        if self._k.model.has(key) and not self._k.model.flag(key):
            return GridResponse(floor_w=0 if floors else None)
        rated_w, share = layout.max_discharge_w, self._trips.services[number].share(self._now)
        if share == 0.0:
            return GridResponse(floor_w=0, ceiling_w=0, trip=self._trips.tripped)
        delta, ramp = self._own_shift(number), 0.0
        for control in self._controls:
            if control.freq_droop is not None and self._grid is not None:
                delta += droop_w(control.freq_droop, self._grid.hz, nominal_hz=self._nominal_hz, rated_w=rated_w)
            if control.gradient is not None:
                ramp = control.gradient.gradient
            percent = self._ceiling(control)
            if percent is not None:
                floors.append(-percent / 100 * rated_w)
        if share < 1.0:
            floors.append(-share * rated_w)
        return GridResponse(
            delta_w=round(delta),
            floor_w=round(max(floors)) if floors else None,
            ceiling_w=int(share * layout.max_power_w) if share < 1.0 else None,
            ramp_percent=ramp,
        )

    def _own_shift(self, number: int) -> float:
        if self._own is None or self._led(self._evses[number]) or any(each.freq_droop for each in self._controls):
            return 0.0
        return self._own.power_w

    def _ceiling(self, control: SetDERControlRequest) -> float | None:
        """Return a control's limit of the discharge power, percent of the rated one; 0 by an unknown value."""
        if control.limit_max_discharge is not None:
            return control.limit_max_discharge.pct_max_discharge_power
        if control.curve is None or control.control_type not in ("FreqWatt", "VoltWatt"):
            return None
        if (x := self._x(control)) is None:
            return 0.0
        percent = curve_at(control.curve, x)
        if control.control_type != "VoltWatt":
            return percent
        response_s = control.curve.response_time
        return self._volt_watt.follow(percent, VOLT_WATT_S if response_s is None else response_s, self._now)

    def _x(self, control: SetDERControlRequest) -> float | None:
        """Return the present position on a control's power curve: Hz, or percent of the nominal voltage."""
        grid = self._grid
        if grid is None:
            return None
        if control.control_type == "FreqWatt":
            return grid.hz
        if control.control_type == "VoltWatt" and grid.volt is not None:
            return grid.volt / self._nominal_v * 100
        return None

    # -- alarms to the CSMS (R05)

    def _events(self) -> Iterable[Acting]:
        """Yield the controls that affect the power now, the most severe first."""
        if self._trips.acting is not None:
            yield self._trips.acting
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

    def _alarm(self, acting: Acting | None) -> None:
        """Report one alarm at a time: another control takes it over, and it ends with the last (R05.FR.01 to .04)."""
        if acting is None:
            if self._acting is not None and not self._k.planned("der.quiet"):
                self._k.after("der.quiet", QUIET_S, self._end)
            return
        self._k.cancel("der.quiet")
        if acting != self._acting:
            self._acting = acting
            self._der.grid_event(GridEvent(control_type=acting.control_type, fault=acting.fault))

    def _end(self) -> None:
        acting, self._acting = self._acting, None
        if acting is not None:
            self._der.grid_event(GridEvent(control_type=acting.control_type, fault=acting.fault, ended=True))
