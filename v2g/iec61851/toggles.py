"""B-C-B toggles, by which a vehicle identifies its pilot wire or wakes a sleeping charger (ISO 15118-3). Pure."""

from collections.abc import Iterator

from v2g.iec61851.pilot import PilotState


class BcbCounter:
    """Counts the vehicle's B-C-B toggles.

    A toggle is one C between two Bs that lasts `shortest` to `longest` seconds; the defaults widen the vehicle's
    200-400 ms by the sampling interval.
    """

    def __init__(self, *, shortest: float = 0.15, longest: float = 0.45) -> None:
        self._shortest = shortest
        self._longest = longest
        self._state: PilotState | None = None
        self._since = 0.0
        self._from_b = False
        self.count = 0

    def on_state(self, state: PilotState, now: float) -> None:
        """Process a state that began at `now` (s)."""
        if state is self._state:
            return
        lasted = now - self._since
        if (
            state is PilotState.B
            and self._state is PilotState.C
            and self._from_b
            and self._shortest <= lasted <= self._longest
        ):
            self.count += 1
        self._from_b = self._state is PilotState.B
        self._state, self._since = state, now


def toggles(count: int, each_s: float) -> Iterator[tuple[PilotState, float]]:
    """Yield a vehicle's states and durations (s): `count` times C and B, `each_s` each. It starts in B."""
    for _ in range(count):
        yield PilotState.C, each_s
        yield PilotState.B, each_s
