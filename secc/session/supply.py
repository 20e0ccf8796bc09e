"""A vehicle that may charge and gets no energy: whose limit is 0, and for how long."""

from typing import Final

from secc.session.config import NoEnergy
from secc.session.ports import Measured, SetAcOutput, SetOutput, SetWptOutput
from secc.session.power import INTERRUPTED, NOT_READY
from secc.session.stages import Charging
from v2g.energy.limits import VEHICLE
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.dc_status import NO_CURRENT_MA
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.observe import Observe

REPORT_S: Final = 30.0
"""After this time without energy it is reported, s."""

NO_POWER_W: Final = 150
"""What counts as no alternating current: what a vehicle's electronics draw in stand-by."""

_OF_VEHICLE: Final = frozenset({VEHICLE, INTERRUPTED, NOT_READY})


def withheld_by(stage: Charging, measured: Measured) -> str:
    """Return whose limit or request of 0 keeps a vehicle from energy, empty if energy flows or nothing forbids it.

    A bidirectional vehicle whose battery is full waits for whoever permits discharge. An AC vehicle that draws less
    than it may is full, or waits for its own timer: that is no limit.
    """
    limits, output, family = stage.limits, stage.output, stage.selected.family
    direct = family in (Family.DC, Family.ACDP)
    flows = abs(measured.current_ma) > NO_CURRENT_MA if direct else abs(measured.watts) > NO_POWER_W
    if limits is None or output is None or flows or stage.standby or not stage.alive:
        return ""
    if not limits.charge_w and not limits.discharge_w:
        returns = stage.selected.bidirectional and stage.vehicle.max_discharge_w
        return limits.discharge_source if returns else limits.charge_source
    match output:
        case SetOutput(current_ma=current_ma) if abs(current_ma) <= NO_CURRENT_MA:
            return VEHICLE
        case SetWptOutput(power_w=0):
            return VEHICLE
        case SetOutput() | SetWptOutput() | SetAcOutput():
            return ""


class Supply:
    """How long a session has been without energy by a limit of the same side. Its timer: `supply`."""

    def __init__(self, time: SessionTime, rules: NoEnergy) -> None:
        self._time, self._rules = time, rules
        self._vehicle: bool | None = None
        self._since, self._reported = 0.0, False

    def look(self, source: str) -> Observe | None:
        """Note what withholds energy now, empty if nothing does; return the event once that has lasted."""
        if not source:
            self._vehicle = None
            self._time.disarm("supply")
            return None
        vehicle = source in _OF_VEHICLE
        if vehicle is not self._vehicle:
            self._vehicle, self._since, self._reported = vehicle, self._time.now, False
            self._time.arm("supply", REPORT_S)
        if self._reported or self._time.now < self._since + REPORT_S:
            return None
        self._reported = True
        self._time.disarm("supply")
        if self._patience is not None:
            self._time.arm("supply", self._since + self._patience - self._time.now)
        advice = "look at the vehicle: its limit or its request is 0" if vehicle else f"raise the limit of {source}"
        return Observe("power", "no_energy", {"limited_by": source, "advice": advice})

    @property
    def over(self) -> bool:
        """Whether the session is to end for that."""
        patience = self._patience
        return self._vehicle is not None and patience is not None and self._time.now >= self._since + patience

    @property
    def _patience(self) -> float | None:
        return self._rules.vehicle_s if self._vehicle else self._rules.charger_s
