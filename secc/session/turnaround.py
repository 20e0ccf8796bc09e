"""The dead time between charge and discharge (R28)."""

from typing import Final

from v2g.iso15118.engine.session_time import SessionTime

STILL_SHARE: Final = 200
"""Power below this part (1/x) of the charger's rating counts as none: the measuring error at rest."""
TIMER: Final = "turnaround"


class Turnaround:
    """When power last flowed at a charger of this rating, and in which direction: 1 is into the vehicle, -1 out of it.

    Both what is commanded and what is measured count: power electronics need time to follow a command.
    """

    def __init__(self, time: SessionTime, dead_s: float, rating_w: int) -> None:
        self._time, self._dead_s, self._still_w = time, dead_s, rating_w // STILL_SHARE
        self._driven = self._last = 0
        self._at = 0.0

    def drive(self, direction: int) -> None:
        """The output is now commanded in this direction, or in none (0)."""
        self._note(self._driven)
        self._driven = direction

    def measure(self, power_w: int) -> None:
        """This power (W, signed) flows now."""
        if abs(power_w) > self._still_w:
            self._note(1 if power_w > 0 else -1)

    def _note(self, direction: int) -> None:
        if direction:
            self._last, self._at = direction, self._time.now

    @property
    def turning(self) -> int:
        """The direction that has to wait, or 0."""
        self._note(self._driven)
        return -self._last if self._time.now < self._at + self._dead_s else 0

    def arm(self) -> None:
        """Set the timer `turnaround` to the end of the dead time."""
        self._time.arm(TIMER, max(0.0, self._at + self._dead_s - self._time.now))
