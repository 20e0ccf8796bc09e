"""The grid at simulated stations: their measurements, and the effect at an EVSE.

Pure: times are ms of a clock that is never set.
"""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.energy.curves import FrequencyCurve
from v2g.energy.feeder import Feeder
from v2g.energy.frequency_trace import GridTrace
from v2g.energy.limits import GridResponse
from v2g.ocpp.messages.ev_charging import DERControl
from v2g_station.blocks.der.reactive import REACTIVE
from v2g_station.blocks.der.response import BY_FREQUENCY, BY_VOLTAGE
from v2g_station.blocks.smart_charging.local_control import GridFrequency

NEVER_MS: Final = 2**62


class GridPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid at simulated stations: a trace, or constants. Voltages are between phase and neutral."""

    trace: str | None = None
    """File of lines `seconds,hertz,volts`, or the same as JSON; repeated from the start, for all stations."""
    frequency_hz: Annotated[float, Meta(ge=40, le=70)] = 50.0
    """Used without a trace."""
    voltage_v: Annotated[float, Meta(ge=0, le=1000)] = 230.0
    """Used if the trace has no voltages."""
    feeder: Feeder | None = None
    """A distribution feeder, whose head has that voltage; the stations move the voltages of its nodes."""
    nodes: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    """The nodes of the stations, one after the other and over again; without them all of the feeder."""
    max_var: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Reactive power that the inverter of each EVSE can inject or absorb."""
    every_s: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    """Measurement interval."""
    nominal_hz: Annotated[float, Meta(ge=50, le=60)] = 50.0
    nominal_v: Annotated[float, Meta(gt=0, le=1000)] = 230.0
    response: FrequencyCurve | None = None
    """The stations' own response to the frequency, without a back end."""

    def __post_init__(self) -> None:
        """Reject unknown nodes."""
        known = {node.name for node in self.feeder.nodes} if self.feeder is not None else set()
        for name in self.nodes:
            if name not in known:
                raise ValueError(f"nodes: {name!r} is not a node of the feeder")

    @property
    def controls(self) -> tuple[DERControl, ...]:
        """The controls of block R that a station supports here (R03.FR.03)."""
        return tuple(sorted((*BY_FREQUENCY, *BY_VOLTAGE, *(REACTIVE if self.max_var else ()))))


class SimulatedGrid:
    """What stations measure from `began_ms` on; `trace` is the one named by the plan."""

    def __init__(self, plan: GridPlan, trace: GridTrace | None = None, began_ms: int = 0) -> None:
        self.plan = plan
        self._trace, self._began_ms = trace, began_ms
        self._drawn: list[Callable[[], complex]] = []

    def connect(self, drawn: Callable[[], complex]) -> int:
        """Connect a station, which draws W + j var; return its place in the grid."""
        self._drawn.append(drawn)
        return len(self._drawn) - 1

    def at(self, now_ms: int, place: int = 0) -> GridFrequency:
        """Return the current measurement of the station at a place."""
        hz, volt = self.plan.frequency_hz, None
        if self._trace is not None:
            hz, volt = self._trace.at((now_ms - self._began_ms) / 1000)
        volt = self.plan.voltage_v if volt is None else volt
        return GridFrequency(hz=hz, volt=volt if self.plan.feeder is None else self._on(self.plan.feeder, volt, place))

    def _on(self, feeder: Feeder, head_v: float, place: int) -> float:
        names = self.plan.nodes or tuple(node.name for node in feeder.nodes)
        drawn: dict[str, complex] = {}
        for number, draw in enumerate(self._drawn):
            name = names[number % len(names)]
            drawn[name] = drawn.get(name, 0) + draw()
        return feeder.voltages(drawn, head_v)[names[place % len(names)]]

    def next(self, now_ms: int, *, rising: bool) -> int:
        """Return when stations measure next: at a change, and while power may be rising."""
        changes = rising or self._trace is not None or self.plan.feeder is not None
        return now_ms + int(self.plan.every_s * 1000) if changes else NEVER_MS


class GridControl(msgspec.Struct, kw_only=True):
    """The grid's control of an EVSE whose inverter has `rated_w` in either direction."""

    rated_w: int
    local_w: float | None = None
    """The set-point of local control (Q08)."""
    var: int = 0
    """Reactive power, injected is positive."""
    response: GridResponse = GridResponse()
    reach_w: tuple[float, float] | None = None
    """How far power into the vehicle, and out of it, has risen by the gradient."""

    def respond(self, response: GridResponse, flows_w: int) -> None:
        """Apply DER controls from now on; `flows_w` is the power until now."""
        self.response = response
        self.rise(flows_w, 0)

    def rise(self, flows_w: int, passed_ms: int) -> None:
        """Let power rise further."""
        ramp = self.response.ramp_percent
        step = ramp / 100 * self.rated_w * passed_ms / 1000
        self.reach_w = (max(0, flows_w) + step, max(0, -flows_w) + step) if ramp else None

    def slewed(self, power_w: float) -> float:
        """Return the part of a power that is reached: reductions apply at once."""
        if self.reach_w is None:
            return power_w
        into, out = self.reach_w
        return max(-out, min(into, power_w))
