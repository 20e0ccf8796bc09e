"""The vehicle's conversations beside its main stream: one exchange at a time on each, with a timer of its own."""

from abc import abstractmethod
from typing import Any, Final

from msgspec.structs import replace

from evcc.session.d20.renegotiation import ANSWERS, Turn, plan_anew
from evcc.session.d20.request_context import Plan, RequestContext
from evcc.session.d20.response_policy import Reaction, reaction
from evcc.session.d20.stages import Looping, Stage
from evcc.session.settings import SessionConfig
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.engine.session import Entropy
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Scalar

_BESIDE: Final = "beside:"
_AGAIN: Final = "again:"


class SideStreams(Session20):
    """See `VehicleSession`, which leads the main stream."""

    stage: Stage
    _config: SessionConfig

    def __init__(self, *, entropy: Entropy) -> None:
        super().__init__(entropy=entropy)
        self._beside: dict[PayloadType, Any] = {}  # what waits for an answer, or to be asked again
        self._plan: Plan | None = None  # what a renegotiation has come to, until the charger takes it

    @abstractmethod
    def _request_context(self) -> RequestContext:
        """Return everything as it is now."""

    @abstractmethod
    def _fail(self, reason: str, **data: Scalar) -> None:
        """Make the vehicle safe and close."""

    def _plan_anew(self) -> None:
        if isinstance(self.stage, Looping):
            for stream, request in plan_anew(self.stage, self._request_context()):
                self._ask_beside(stream, request)

    def _ask_beside(self, stream: PayloadType, request: Any) -> None:
        """Send a request on its side stream; it has a timer of its own."""
        self._beside[stream] = request
        self._send(request, stream)
        self._arm(f"{_BESIDE}{stream}", self._config.timers.message_timeout(type(request).__name__))

    def _on_side_message(self, message: Any, stream: PayloadType) -> None:
        request, name = self._beside.pop(stream, None), type(message).__name__
        self._disarm(f"{_BESIDE}{stream}")
        awaited = type(request).__name__ if request is not None else None
        if request is None or name != str(awaited).removesuffix("Req") + "Res":
            self._fail("unexpected_message", message=name, awaited=awaited, stream=stream.name)
        elif reaction(message) is Reaction.END:
            self._fail(message.response_code.name, message=name)
        elif message.header.session_id != self.session_id:
            self._fail("wrong_session_id", message=name)
        else:
            looping = self.stage if isinstance(self.stage, Looping) else getattr(self.stage, "looping", None)
            self._take_turn(ANSWERS[type(request).__name__](request, message, looping, self._request_context()), stream)

    def _take_turn(self, turn: Turn, stream: PayloadType) -> None:
        self._actions.extend(turn.observed)
        if turn.failure:
            self._fail(turn.failure)
            return
        if turn.plan is not None or turn.kept:
            self._plan = turn.plan
        if turn.request is not None and turn.wait:
            self._beside[stream] = turn.request
            self._arm(f"{_AGAIN}{stream}", turn.wait)
        elif turn.request is not None:
            self._ask_beside(stream, turn.request)
        elif stream is PayloadType.SCHEDULE_RENEGOTIATION and self._plan is not None:
            # the charger has taken the profile: from here on the new plan is followed
            new, self._plan = self._plan, None
            if isinstance(self.stage, Looping):
                plan = replace(self.stage.plan, schedule=new.schedule, outlook=new.outlook)
                self.stage = replace(self.stage, plan=plan)

    def _on_side_timer(self, name: str) -> bool:
        """Take a timer of a side stream; return whether it was one."""
        if name.startswith(_AGAIN):
            stream = PayloadType(int(name.removeprefix(_AGAIN)))
            self._ask_beside(stream, replace(self._beside[stream], header=self._header()))
            return True
        if name.startswith(_BESIDE):
            waiting = self._beside.get(PayloadType(int(name.removeprefix(_BESIDE))))
            self._fail("message_timeout", request=type(waiting).__name__)
            return True
        return False
