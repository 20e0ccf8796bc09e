"""Message exchanges on side streams of a charge point's session, each with its own payload type.

State, timers and pending request of the main stream stay unchanged.
"""

from typing import Any

from secc.session.d20.stages import SIDE_HANDLERS, RequestContext
from secc.session.request_context import Handler, Step, Wait
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import SIDE_CHARTS, side_stream_runs
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session_time import SessionTime
from v2g.iso15118.engine.v2gtp import PayloadType


class SideStreams:
    """The state of each side stream. The timer of an open exchange is `side:` with its payload type.

    `patience_s` is how long the vehicle may take to continue an exchange, s.
    """

    def __init__(self, time: SessionTime, patience_s: float) -> None:
        self._time, self._patience_s = time, patience_s
        self._states: dict[int, State] = {}

    def accepts(self, request: Element, stream: PayloadType, main: State) -> bool:
        """Return whether the request is in order on its stream, given the state of the main stream."""
        in_order = side_stream_runs(stream, main) and sequence.accepts(self.state(stream), request, SIDE_CHARTS[stream])
        return in_order and type(request).__name__ in SIDE_HANDLERS.get(stream, {})

    def handler(self, request: Element, stream: PayloadType) -> Handler[Any, Any, RequestContext, Step | Wait]:
        """Return the handler of an accepted request."""
        return SIDE_HANDLERS[stream][type(request).__name__]

    def advance(self, request: Element, response: Element, stream: PayloadType) -> None:
        """Advance the state, and wait for the next request unless the exchange is complete."""
        state = sequence.advance(self.state(stream), request, response, SIDE_CHARTS[stream])
        self._states[stream] = state
        if state is State.SIDE_IDLE:
            self._time.disarm(f"side:{stream}")
        else:
            self._time.arm(f"side:{stream}", self._patience_s)

    def drop(self, stream: PayloadType) -> None:
        """Reset this stream."""
        self._states.pop(stream, None)

    def state(self, stream: PayloadType) -> State:
        """Return the state of the exchange."""
        return self._states.get(stream, State.SIDE_IDLE)
