"""Response times of both sides: delays beyond those of the edition, and the duration of our own Ongoing."""

from collections.abc import Mapping
from typing import Final

import msgspec

from secc.session.request_context import ChargerTiming
from v2g.exi.declare import Element
from v2g.iso15118.engine.message_timing import MessageTiming, SessionTime
from v2g.iso15118.engine.sequence import State

MEASURING_S: Final = 0.05
"""Allowance for our own clock and event loop in measured times, s."""

ANSWER_S: Final = 2.0
"""How late a message while the contactor is closed is answered, s: from then on `sequence` runs, so the safety monitor,
which knows requests only, waits longer."""


class RequestPace(msgspec.Struct, frozen=True, kw_only=True):
    """The times of an edition, s; those of messages by the name of the request."""

    messages: Mapping[str, MessageTiming]
    loops: Mapping[str, float]
    """Request of a charge loop -> after which time without another one it does not continue."""
    loop_sequence: float
    """Maximum time to the next request after a response in such a loop."""
    loop_performance: float
    """The same as vehicles should keep it; a late request is logged."""
    ongoing: float
    """Maximum duration of a vehicle's own Ongoing."""
    ongoing_performance: float
    """Our own Ongoing has ended by then."""


class Pacing:
    """Times of requests and responses.

    Its timers: `sequence` (no further request), `silence` (the loop does not continue), `ongoing` (the vehicle is not
    finished).
    """

    def __init__(self, time: SessionTime, timing: ChargerTiming, pace: RequestPace) -> None:
        self._time, self._timing, self._pace = time, timing, pace
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

    def too_long(self, response: Element) -> bool:
        """Return whether our own Ongoing responses must end before the vehicle times out; a customer has longer."""
        processing = getattr(response, "evse_processing", None)
        if processing is None or processing.name != "Ongoing":
            self._ongoing_since = None
            return False
        if self._ongoing_since is None:
            self._ongoing_since = self._time.now
        return self._time.now - self._ongoing_since >= self._pace.ongoing_performance

    def answered(self, request: str) -> float:
        """Return the time (s) that the answer has taken if that exceeds the limit, else 0."""
        seconds = self._time.now - self._asked_at
        return seconds if seconds > self._pace.messages[request].performance + MEASURING_S else 0.0

    def expect(self, request: Element, state: State) -> None:
        """Expect the next request, after the response to this one and the change to `state`."""
        time, timing = self._time, self._timing
        processing = getattr(request, "ev_processing", None)
        if processing is None or not processing.name.startswith("Ongoing"):
            time.disarm("ongoing")
        elif "ongoing" not in time.timers:
            time.arm("ongoing", self._pace.ongoing)
        silence_s = self._pace.loops.get(type(request).__name__)
        if silence_s is not None:
            time.arm("silence", silence_s)
        if silence_s is not None and state is not State.STANDBY:
            time.arm("sequence", self._pace.loop_sequence)
            self._late_at = time.now + self._pace.loop_performance + MEASURING_S
        else:
            time.arm("sequence", timing.secc_sequence)
            self._late_at = time.now + timing.evcc_sequence_performance + MEASURING_S
