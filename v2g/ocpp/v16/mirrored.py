"""An RpcPeer whose station speaks 2.0.1 and whose back end 1.6 (R199): runs the mirror's translations, without I/O."""

from collections.abc import Callable, Collection
from typing import Final

from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version, action_of
from v2g.ocpp.rpc import Action, Answered, Called, Failed, Mend, RpcPeer
from v2g.ocpp.v16 import from_back_end as _from_back_end  # noqa: F401 - registers its translations
from v2g.ocpp.v16.bridge import Question, Steps
from v2g.ocpp.v16.mirror import FROM_BACK_END, Mirror
from v2g.ocpp.versions import write_payload

_HANDLES: Final = frozenset(each.__name__.removesuffix("Req") for each in FROM_BACK_END)


class _Run:
    """A translation in progress, of the request `identifier`."""

    __slots__ = ("identifier", "request", "steps", "timeout")

    def __init__(self, identifier: str, request: Message, steps: Steps[Message], timeout: float | None = None) -> None:
        self.identifier, self.request, self.steps, self.timeout = identifier, request, steps, timeout


class MirroredPeer:
    """See RpcPeer, which it stands for on one connection. `handles` are the actions of 2.0.1 that the station answers,
    `find` answers the mirror's questions, `utc_ms` is the time of day."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        handles: Collection[str],
        find: Callable[[Question], object],
        utc_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        timeout: float = 30.0,
        mend: Mend | None = None,
    ) -> None:
        self._mirror, self._handles, self._find, self._utc_ms = mirror, frozenset(handles), find, utc_ms
        self._peer = RpcPeer("1.6", handles=_HANDLES, entropy=entropy, timeout=timeout, mend=mend)
        self._now = 0.0
        self._count = 0
        self._actions: list[Action] = []
        self._up: dict[str, _Run] = {}
        """By the request of 1.6 whose answer it waits for."""
        self._down: dict[str, _Run] = {}

    @property
    def version(self) -> Version:
        """The version on the connection."""
        return "1.6"

    @property
    def idle(self) -> bool:
        return self._peer.idle and not self._up

    def deadline(self) -> float | None:
        return self._peer.deadline()

    def call(self, request: Message, now: float, *, timeout: float | None = None) -> str:
        """See RpcPeer. Raises OcppError (`NotSupported`) for what 1.6 has not; Failed follows for what else is not
        sent."""
        self._now = now
        self._count += 1
        run = _Run(f"{self._count}", request, self._mirror.upward(request, self._utc_ms()), timeout)
        self._ascend(run)
        return run.identifier

    def notify(self, message: Message) -> None:
        """See RpcPeer: 1.6 has no messages without answer."""
        raise OcppError(f"OCPP 1.6 has no {action_of(message)}", answer="NotSupported")

    def receive(self, text: str, now: float) -> None:
        self._now = now
        self._peer.receive(text, now)

    def tick(self, now: float) -> None:
        self._now = now
        self._peer.tick(now)

    def unsent(self, now: float) -> None:
        self._now = now
        self._peer.unsent(now)

    def close(self, now: float) -> None:
        self._now = now
        self._peer.close(now)

    def answer(self, identifier: str, answer: Message | OcppError) -> None:
        run = self._down.pop(identifier, None)
        if run is not None:
            self._descend(run, answer)

    def actions(self) -> list[Action]:
        while inner := self._peer.actions():
            for action in inner:
                match action:
                    case Called(id=identifier, request=request):
                        self._descend(_Run(identifier, request, self._mirror.downward(request, self._utc_ms())))
                    case Answered(id=identifier, response=response):
                        self._ascend(self._up.pop(identifier), response)
                    case Failed(id=identifier, error=OcppError() as error):
                        self._ascend(self._up.pop(identifier), error)
                    case Failed(id=identifier, error=lost):
                        self._fail(self._up.pop(identifier), lost)
                    case _:
                        self._actions.append(action)
        drained, self._actions = self._actions, []
        return drained

    def _ascend(self, run: _Run, answer: Message | OcppError | None = None) -> None:
        """Go on with a request of the station, until it waits for the back end, or has its answer."""
        while True:
            try:
                step = self._step(run, answer)
            except StopIteration as end:
                self._actions.append(Answered(run.identifier, run.request, end.value))
                return
            except OcppError as error:
                self._actions.append(Failed(run.identifier, run.request, error))
                return
            try:
                self._up[self._peer.call(step, self._now, timeout=run.timeout)] = run
            except OcppError as error:
                answer = error
            except RefusedError as error:
                self._fail(run, TransportError(str(error)))
                return
            else:
                return

    def _fail(self, run: _Run, error: OcppError | TimeoutExpired | TransportError) -> None:
        run.steps.close()
        self._actions.append(Failed(run.identifier, run.request, error))

    def _descend(self, run: _Run, answer: Message | OcppError | None = None) -> None:
        """Go on with a request of the back end, until it waits for the station, or has its answer."""
        while True:
            try:
                step = self._step(run, answer)
            except StopIteration as end:
                self._peer.answer(run.identifier, end.value)
                break
            except OcppError as error:
                self._peer.answer(run.identifier, error)
                break
            action = action_of(step)
            if action not in self._handles:
                answer = OcppError(f"this station has no {action}", answer="NotSupported")
                continue
            try:
                write_payload(step, "2.1")
            except OcppError as error:  # a number that 2.x does not have
                answer = error
            else:
                self._down[run.identifier] = run
                self._actions.append(Called(run.identifier, action, step))
                return
        while self._mirror.after:
            self._ascend(_Run("", run.request, self._mirror.after.pop(0)))

    def _step(self, run: _Run, answer: object) -> Message:
        """Return the next request of a translation; its questions are answered here. Raises StopIteration with its
        result."""
        while True:
            step = run.steps.throw(answer) if isinstance(answer, OcppError) else run.steps.send(answer)
            if isinstance(step, Message):
                return step
            answer = self._find(step)
