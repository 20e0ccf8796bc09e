"""The vehicle's side streams: one exchange at a time on each, with its own timer."""

from typing import Final

from evcc.session.d20.renegotiation import Turn
from evcc.session.d20.request_context import Plan
from v2g.exi.declare import Element
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.session_time import SessionTime
from v2g.iso15118.engine.v2gtp import PayloadType

_BESIDE: Final = "beside:"
_AGAIN: Final = "again:"


class SideStreams:
    """Pending requests of each stream, and the result of a renegotiation."""

    def __init__(self, time: SessionTime, timing: Timing) -> None:
        self._time, self._timing = time, timing
        self._asked: dict[PayloadType, Element] = {}  # requests that wait for an answer, or for repetition
        self._plan: Plan | None = None  # until the charger accepts it

    @property
    def busy(self) -> frozenset[PayloadType]:
        """The streams with a pending answer."""
        return frozenset(self._asked)

    def ask(self, stream: PayloadType, request: Element) -> None:
        """A request is sent on this stream: its answer is due."""
        self._asked[stream] = request
        self._time.arm(f"{_BESIDE}{stream}", self._timing.message_timeout(type(request).__name__))

    def answered(self, stream: PayloadType) -> Element | None:
        """An answer has arrived; return its request, None if there was none."""
        self._time.disarm(f"{_BESIDE}{stream}")
        return self._asked.pop(stream, None)

    def take(self, turn: Turn, stream: PayloadType) -> Plan | None:
        """Handle the result of an answer, except a request to be sent at once; return the plan that takes effect.

        The charger has accepted the profile once no request is left: then the new plan is followed.
        """
        if turn.plan is not None or turn.unchanged:
            self._plan = turn.plan
        if turn.request is not None:
            if turn.wait:
                self._asked[stream] = turn.request
                self._time.arm(f"{_AGAIN}{stream}", turn.wait)
            return None
        if stream is not PayloadType.SCHEDULE_RENEGOTIATION:
            return None
        new, self._plan = self._plan, None
        return new

    def expired(self, timer: str) -> tuple[PayloadType, Element, bool] | None:
        """Return stream and request of a timer, and whether to repeat the request; None for other timers.

        A request that is not to be repeated was not answered in time.
        """
        prefix, colon, number = timer.partition(":")
        if not colon:
            return None
        stream = PayloadType(int(number))
        request = self._asked.get(stream)
        return None if request is None else (stream, request, prefix + colon == _AGAIN)
