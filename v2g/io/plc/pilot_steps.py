"""Timed sequences of the charger's pilot: restarts, wake-ups and the transition to basic charging."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from v2g.hardware.interfaces import ChargerPilot
from v2g.iec61851.duty import HLC_DUTY
from v2g.iec61851.pilot import PilotState


class Show(msgspec.Struct, frozen=True):
    """Set a duty cycle (percent, None is X1) or force E or F, for a time (s)."""

    duty: float | None
    seconds: float = 0.0
    forced: PilotState | None = None


def start_over(step_x1_s: float, step_ef_s: float) -> tuple[Show, ...]:
    """X1, then F, then 5 % again: the vehicle starts over (V2G3-M07-04 to -12)."""
    return (Show(None, step_x1_s), Show(None, step_ef_s, PilotState.F), Show(HLC_DUTY))


class PilotSteps:
    """Runs steps on a pilot. Meanwhile the wire's states are ignored; the final one is reported."""

    def __init__(self, pilot: ChargerPilot, on_end: Callable[[], None]) -> None:
        self._pilot, self._on_end = pilot, on_end
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether steps are running."""
        return self._timer is not None

    def play(self, steps: Sequence[Show]) -> None:
        """Begin, replacing running steps; the last step stays."""
        self.cancel()
        self._play(list(steps))

    def cancel(self) -> None:
        """Stop at the present step."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _play(self, steps: list[Show]) -> None:
        step, *rest = steps
        # armed first: callbacks of the pilot within are also to be ignored
        self._timer = self._loop.call_later(step.seconds, self._play, rest) if rest else self._timer
        if step.forced is not None:
            self._pilot.set_error(step.forced)
        else:
            self._pilot.set_duty(step.duty)
        if not rest:
            self._timer = None
            self._on_end()
