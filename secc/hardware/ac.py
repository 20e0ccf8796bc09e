"""A charge point with alternating current: mains behind a contactor; the vehicle's own charger controls the power."""

from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from secc.hardware.evse import Evse, Parts, WatchConfig
from secc.session import ports
from v2g.iec61851.timing import STANDARD, PilotTiming
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.session import Command, Fact
from v2g.safety.excess import microseconds
from v2g.safety.flow import ALTERNATING, Flow

FOLLOW_S: Final = 5.0
"""Time for a vehicle to follow a lower limit (IEC 61851-1) before it is disconnected."""

EXCESS_S: Final = 0.5
"""How long it may then exceed the limit by its margin, dips included; a larger excess for a quarter at least."""

Allow = Callable[[int, int], tuple[int, int]]
"""Takes W into and out of the vehicle, and returns the permitted part."""


def anything(charge_w: int, discharge_w: int) -> tuple[int, int]:
    """Permit everything; see Allow."""
    return charge_w, discharge_w


class Mains(Protocol):
    """Measurement behind the contactor: a simulated line, or the meter's live values."""

    @property
    def present(self) -> ports.Measured:
        """Voltage between phase and neutral, and the sum of the phases' active currents."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` with each new measurement."""


class AcEvse(Evse):
    """See EvseHardware. `allow` returns the permitted part of the W into and out of the vehicle; `measures`: the mains
    are not measured by the meter."""

    def __init__(
        self,
        parts: Parts,
        mains: Mains,
        clock: Clock,
        watch: WatchConfig,
        *,
        report_s: float,
        most_w: int,
        timing: PilotTiming = STANDARD,
        allow: Allow = anything,
        measures: bool = True,
    ) -> None:
        self._mains, self._allow = mains, allow
        self._allowed: tuple[int, int] = (0, 0)  # W into the vehicle, W out of it
        self._output = Flow()
        super().__init__(parts, clock, watch, report_s=report_s, most_w=most_w, timing=timing, measures=measures)
        mains.on_change(self._line_changed)

    @property
    def present(self) -> ports.Measured:
        """Voltage and current behind the contactor."""
        return self._mains.present

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        """See EvseHardware."""
        match command:
            case ports.SetAcOutput(charge_w=charge_w, discharge_w=discharge_w):
                self._allowed = self._allow(charge_w, discharge_w)
                self._watch_output()
                return None
            case ports.StartCableCheck():
                return _refused()  # no cable check and no pre-charge with alternating current
        return super().execute(command)

    def _off(self) -> None:
        self._allowed = self._allow(0, 0)

    def _lower(self, output: ports.Output) -> None:
        charge_w, discharge_w = self._allowed
        self._allowed = self._allow(min(charge_w, output.charge_w), min(discharge_w, output.discharge_w))
        self._watch_output()

    def _line_changed(self) -> None:
        self._measured()
        self._watch_output()

    async def _calm(self) -> None:
        """The vehicle's own charger has been informed, and the contactor may open under load."""

    def _watch_output(self) -> None:
        """Disconnect a vehicle that exceeds its limits for longer than it needs to follow."""
        now_us, (charge_w, discharge_w) = microseconds(self._clock.monotonic()), self._allowed
        self._output = self._output.then(
            self._mains.present.watts,
            charge_w,
            discharge_w,
            margin=ALTERNATING,
            follow_us=microseconds(FOLLOW_S),
            now_us=now_us,
        )
        if self._output.excess.lasts(microseconds(EXCESS_S)):
            self.fault("over_current", active=True)
        elif self._output.excess.weight or self._output.most.past or self._output.least.past:
            self._look_again(self._watch_output)


async def _refused() -> Fact:
    return ports.CableCheckFinished(passed=False)
