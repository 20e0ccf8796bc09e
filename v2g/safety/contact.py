"""A contactor's command and auxiliary contact, shared by the monitors of both sides. Pure."""

from v2g.safety.excess import UNIT, Excess, microseconds


class Contact:
    """A contactor: it has `open_s` and `close_s` to move, and `grace_s` to bounce afterwards."""

    def __init__(self, *, open_s: float, close_s: float, grace_s: float) -> None:
        self._open_s, self._close_s, self._grace_us = open_s, close_s, microseconds(grace_s)
        self.commanded = self.closed = False
        self._arrived, self._moves_until = False, float("-inf")
        self._strays = Excess()

    def close(self, now: float) -> None:
        """It was commanded closed."""
        if not self.commanded:
            self._move(now + self._close_s)

    def open(self, now: float) -> None:
        """It was commanded open."""
        if self.commanded:
            self._move(now + self._open_s)

    def _move(self, until: float) -> None:
        self.commanded, self._moves_until = not self.commanded, until
        self._arrived, self._strays = False, Excess()

    def feedback(self, now: float, *, closed: bool) -> None:
        """The auxiliary contact has this state."""
        self._arrived = self._arrived or closed is self.commanded or self._has_stayed(now)
        self.closed = closed

    def _has_stayed(self, now: float) -> bool:
        """Return whether it was already where it was commanded, and has had its time to move."""
        return self.closed is self.commanded and now >= self._moves_until

    def rests(self, now: float) -> bool:
        """Return whether it was commanded open, and has had its time to move."""
        return not self.commanded and float("-inf") < self._moves_until <= now

    def contradiction(self, now: float) -> str:
        """Return the fault code of a contactor that does not follow its command, or nothing."""
        astray = self.closed is not self.commanded
        self._strays = self._strays.then(UNIT * (astray and self._arrived), microseconds(now))
        if not astray or not (self._strays.lasts(self._grace_us) if self._arrived else now >= self._moves_until):
            return ""
        return "contactor_welded" if self.closed else "contactor_dropped"
