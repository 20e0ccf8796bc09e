"""A charge point with alternating current: mains behind a contactor; the vehicle's own charger controls the power."""

from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from secc.hardware.evse import Evse, Parts
from secc.session import ports
from v2g.energy.conductors import LINES, spread
from v2g.iso15118.engine.session import Command, Fact
from v2g.safety.excess import microseconds
from v2g.safety.flow import ALTERNATING, LINE, Flow
from v2g.safety.output import NOTHING, Output

FOLLOW_S: Final = 5.0
"""Time for a vehicle to follow a lower limit (IEC 61851-1) before it is disconnected."""

EXCESS_S: Final = 0.5
"""How long it may then exceed the limit by its margin, dips included; a larger excess for a quarter at least."""

Allow = Callable[[Output, int], Output]
"""Takes W and mA of each line conductor into and out of the vehicle, and in how many conductors a current flows of
which the sum is measured only; returns the permitted part."""


def anything(output: Output, lines: int) -> Output:
    """Permit everything; see Allow."""
    return output


class Mains(Protocol):
    """Measurement behind the contactor: a simulated line, or the meter's live values."""

    @property
    def present(self) -> ports.Measured:
        """Voltage between phase and neutral, the sum of the phases' active currents, and these if measured."""

    @property
    def fresh(self) -> bool:
        """Whether `present` was measured just now. An older one is no excess of a vehicle that has followed since; a
        meter that gives no more is lost (`meter_lost`)."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` with each new measurement."""


def flowing(mains: Mains) -> ports.Measured:
    """Return what flows behind the contactor now, nothing where that is not known."""
    return mains.present if mains.fresh else ports.Measured(0, 0)


class AcEvse(Evse):
    """See `Evse`. `lines` is how many line conductors the outlet has, `allow` returns the permitted part of an
    output; `measures`: the mains are not measured by the meter.

    Where the sum of the currents is measured only, it is taken to flow in equal parts in as many conductors as the
    vehicle has said, or in all.
    """

    def __init__(
        self, parts: Parts, mains: Mains, *, lines: int = len(LINES), allow: Allow = anything, measures: bool = True
    ) -> None:
        self._mains, self._allow = mains, allow
        self._lines = self._used = lines
        self._allowed = NOTHING
        self._flows = (Flow(), *(Flow() for _ in LINES))  # of the power, and of the current of each conductor
        super().__init__(parts, measures=measures)
        mains.on_change(self._line_changed)

    @property
    def present(self) -> ports.Measured:
        """Voltage and current behind the contactor."""
        return self._mains.present

    @property
    def lines(self) -> tuple[int, ...]:
        """As many as the vehicle has said, or all, and those that are measured to carry current."""
        switch, measured = self._parts.phases, self._mains.present.currents
        outlet = tuple(range(self._lines)) if switch is None else switch.lines
        carrying = () if measured is None else measured.carrying
        return tuple(sorted({*outlet[: self._used], *(line for line in carrying if line < self._lines)}))

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        match command:
            case ports.SetAcOutput():
                self._used = command.lines or self._lines
                self._allowed = self._allow(_bound(command), self._used)
                self._watch_output()
                return None
            case ports.TransactionEnded() | ports.SaveSession():
                self._used = self._lines  # of the next vehicle nothing is known
            case ports.StartCableCheck():
                return _refused()  # no cable check and no pre-charge with alternating current
        return super().execute(command)

    def _off(self) -> None:
        self._allowed = self._allow(NOTHING, self._used)

    def _lower(self, output: ports.Output) -> None:
        assert isinstance(output, ports.SetAcOutput)
        self._allowed = self._allow(self._allowed.within(_bound(output)), self._used)
        self._watch_output()

    def _line_changed(self) -> None:
        self._measured()
        self._watch_output()

    async def _calm(self) -> None:
        """The vehicle's own charger has been informed, and the contactor may open under load."""

    def _watch_output(self) -> None:
        """Disconnect a vehicle that exceeds its limits, in all or in one conductor, for longer than it needs to
        follow."""
        now_us, follow_us, allowed = microseconds(self._clock.monotonic()), microseconds(FOLLOW_S), self._allowed
        present = flowing(self._mains)
        currents = present.currents or spread(present.current_ma, range(self._used))
        samples = (
            (present.watts, allowed.charge_w, allowed.discharge_w, ALTERNATING),
            *((current_ma, allowed.charge_ma, allowed.discharge_ma, LINE) for current_ma in currents),
        )
        self._flows = tuple(
            flow.then(value, most, least, margin=margin, follow_us=follow_us, now_us=now_us)
            for flow, (value, most, least, margin) in zip(self._flows, samples, strict=True)
        )
        if any(flow.excess.lasts(microseconds(EXCESS_S)) for flow in self._flows):
            self.fault("over_current", active=True)
        elif any(flow.excess.weight or flow.most.past or flow.least.past for flow in self._flows):
            self._look_again(self._watch_output)


def _bound(output: ports.SetAcOutput) -> Output:
    """Return the bounds of a command; where no power may flow, no conductor carries current."""
    charge_ma = output.charge_ma if output.charge_w else 0
    return Output(output.charge_w, output.discharge_w, charge_ma, output.discharge_ma if output.discharge_w else 0)


async def _refused() -> Fact:
    return ports.CableCheckFinished(passed=False)
