"""How fast both sides are: who is later than ISO 15118-20 allows, and since when our own answers are Ongoing."""

from typing import Any, Final

from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.timing import MESSAGES
from v2g.iso15118.engine.sequence import State

MEASURING_S: Final = 0.05
"""What our own clock and event loop may add to a time that is noted, s."""


class Pacing:
    """Times of requests and responses, s of the monotonic clock. `ongoing_s` is how long answers may be Ongoing."""

    def __init__(self, ongoing_s: float) -> None:
        self._ongoing_s = ongoing_s
        self._asked_at = 0.0
        self._ongoing_since: float | None = None
        self._late_at = float("inf")
        self._late_in: State | None = None

    def requested(self, state: State, now: float, *, anew: bool) -> float:
        """Take a request, `anew` unless one still waits; return by how much (s) it is late, once in a state."""
        if anew:
            self._asked_at = now
        late_s = now - self._late_at
        self._late_at = float("inf")
        if late_s <= 0 or self._late_in is state:  # some vehicles are slow all the time
            return 0.0
        self._late_in = state
        return late_s

    def too_long(self, response: Any, now: float) -> bool:
        """Say whether a chain of our own Ongoing has to end now, before the vehicle gives up; a customer has longer."""
        if getattr(response, "evse_processing", None) is not Processing.Ongoing:
            self._ongoing_since = None
            return False
        if self._ongoing_since is None:
            self._ongoing_since = now
        return now - self._ongoing_since >= self._ongoing_s

    def answered(self, request: str, now: float) -> float:
        """Return how long (s) the answer has taken if that is too long, else 0."""
        seconds = now - self._asked_at
        return seconds if seconds > MESSAGES[request].performance + MEASURING_S else 0.0

    def expect(self, soon_s: float, now: float) -> None:
        """Expect the next request within this time."""
        self._late_at = now + soon_s + MEASURING_S
