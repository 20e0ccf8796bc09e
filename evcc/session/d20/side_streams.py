"""The vehicle's conversations beside its main stream: one exchange at a time on each, with a timer of its own."""

from typing import Any, Final

from evcc.session.d20.renegotiation import Turn
from evcc.session.d20.request_context import Plan
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.session_time import SessionTime
from v2g.iso15118.engine.v2gtp import PayloadType

_BESIDE: Final = "beside:"
_AGAIN: Final = "again:"


class SideStreams:
    """What has been asked on each, and what a renegotiation there has come to."""

    def __init__(self, time: SessionTime, timing: Timing) -> None:
        self._time, self._timing = time, timing
        self._asked: dict[PayloadType, Any] = {}  # what waits for an answer, or to be asked again
        self._plan: Plan | None = None  # until the charger takes it

    @property
    def busy(self) -> frozenset[PayloadType]:
        """The streams on which an answer is awaited."""
        return frozenset(self._asked)

    def ask(self, stream: PayloadType, request: Any) -> None:
        """A request leaves on this stream: its answer is due."""
        self._asked[stream] = request
        self._time.arm(f"{_BESIDE}{stream}", self._timing.message_timeout(type(request).__name__))

    def answered(self, stream: PayloadType) -> Any:
        """An answer has come; return the request that waited for it, None where none did."""
        self._time.disarm(f"{_BESIDE}{stream}")
        return self._asked.pop(stream, None)

    def take(self, turn: Turn, stream: PayloadType) -> Plan | None:
        """Take what an answer leads to, but for a request that leaves at once; return the plan that holds by now.

        The charger has taken the profile once nothing is left to ask: from there on the new plan is followed.
        """
        if turn.plan is not None or turn.kept:
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

    def expired(self, timer: str) -> tuple[PayloadType, Any, bool] | None:
        """Return stream and request of a timer, and whether it is to be asked again; None for other timers.

        A request that is not to be asked again was not answered in time.
        """
        prefix, colon, number = timer.partition(":")
        if not colon:
            return None
        stream = PayloadType(int(number))
        return stream, self._asked.get(stream), prefix + colon == _AGAIN
