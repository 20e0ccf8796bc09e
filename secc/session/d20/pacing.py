"""Response times of both sides: delays beyond those of ISO 15118-20, and the duration of our own Ongoing."""

from typing import Any, Final

from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session_time import SessionTime

MEASURING_S: Final = 0.05
"""Allowance for our own clock and event loop in measured times, s."""

LOOPS: Final = frozenset({"AC_ChargeLoopReq", "DC_ChargeLoopReq", "WPT_ChargeLoopReq"})
"""The requests of charge loops."""


class Pacing:
    """Times of requests and responses.

    Its timers: `sequence` (no further request), `silence` (the loop does not continue), `ongoing` (the vehicle is not
    finished).
    """

    def __init__(self, time: SessionTime, timing: Timing) -> None:
        self._time, self._timing = time, timing
        self._loop_silence_s = timing.secc_sequence_loop + timing.secc_loop_tolerance  # V2G20-1502
        self._asked_at = 0.0
        self._ongoing_since: float | None = None
        self._late_at = float("inf")
        self._late_in: State | None = None

    def begin(self) -> None:
        """Expect the first request."""
        self._time.arm("sequence", self._timing.secc_sequence)

    def requested(self, state: State, *, first: bool) -> float:
        """Note a request, `first` unless one is pending; return its delay (s) beyond the limit, once per state."""
        now = self._time.now
        self._time.disarm("sequence")
        if first:
            self._asked_at = now
        late_s = now - self._late_at
        self._late_at = float("inf")
        if late_s <= 0 or self._late_in is state:  # some vehicles are slow all the time
            return 0.0
        self._late_in = state
        return late_s

    def too_long(self, response: Any) -> bool:
        """Return whether our own Ongoing responses must end before the vehicle times out; a customer has longer."""
        if getattr(response, "evse_processing", None) is not Processing.Ongoing:
            self._ongoing_since = None
            return False
        if self._ongoing_since is None:
            self._ongoing_since = self._time.now
        return self._time.now - self._ongoing_since >= self._timing.ongoing_performance

    def answered(self, request: str) -> float:
        """Return the time (s) that the answer has taken if that exceeds the limit, else 0."""
        seconds = self._time.now - self._asked_at
        return seconds if seconds > MESSAGES[request].performance + MEASURING_S else 0.0

    def expect(self, request: Any, state: State) -> None:
        """Expect the next request, after the response to this one and the change to `state`."""
        time, timing = self._time, self._timing
        processing = getattr(request, "ev_processing", None)
        if processing is None or not processing.name.startswith("Ongoing"):
            time.disarm("ongoing")
        elif "ongoing" not in time.timers:
            time.arm("ongoing", timing.ongoing)
        in_loop = type(request).__name__ in LOOPS
        if in_loop:
            time.arm("silence", self._loop_silence_s)
        if in_loop and state is not State.STANDBY:
            time.arm("sequence", self._loop_silence_s)  # V2G20-441
            self._late_at = time.now + timing.evcc_loop_performance + MEASURING_S
        else:
            time.arm("sequence", timing.secc_sequence)
            self._late_at = time.now + timing.evcc_sequence_performance + MEASURING_S
