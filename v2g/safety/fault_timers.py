"""Shared by the monitors of both sides: durations of faults, and a contactor's auxiliary contact."""


class FaultTimers:
    """Durations of several faults."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def __call__(self, what: str, wrong: bool, seconds: float, now: float) -> bool:
        """Return whether a fault has lasted long enough, given whether it is present now."""
        if not wrong:
            self._since.pop(what, None)
            return False
        return now - self._since.setdefault(what, now) >= seconds


class Contact:
    """A contactor's command and auxiliary contact; each move takes time."""

    def __init__(self, *, open_s: float, close_s: float, grace_s: float) -> None:
        self._open_s, self._close_s, self._grace_s = open_s, close_s, grace_s
        self.commanded = self.closed = False
        self._moves_until = float("-inf")

    def close(self, now: float) -> None:
        """It was commanded closed."""
        if not self.commanded:
            self.commanded, self._moves_until = True, now + self._close_s

    def open(self, now: float) -> None:
        """It was commanded open."""
        if self.commanded:
            self.commanded, self._moves_until = False, now + self._open_s

    def feedback(self, now: float, *, closed: bool) -> None:
        """The auxiliary contact has this state."""
        if closed is not self.closed:
            self.closed = closed
            until = max(self._moves_until, now + self._grace_s)
            self._moves_until = now if closed is self.commanded else until

    def contradiction(self, now: float) -> str:
        """Return the fault code of a contactor that does not follow its command, or nothing."""
        if self.closed is self.commanded or now < self._moves_until:
            return ""
        return "contactor_welded" if self.closed else "contactor_dropped"
