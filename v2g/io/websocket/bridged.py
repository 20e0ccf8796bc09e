"""A station of OCPP 1.6 on a socket, for a back end that speaks 2.0.1: runs a pure `v2g.ocpp.v16.bridge.Bridge`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar

from v2g.errors import OcppError, TimeoutExpired, V2GError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import spawn
from v2g.io.websocket.client import OcppSocket
from v2g.io.websocket.rpc import RpcConnection
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version, action_of, is_of_16
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.v16 import messages
from v2g.ocpp.v16 import to_station as _to_station  # noqa: F401 - registers its translations
from v2g.ocpp.v16.bridge import FROM_STATION, Bridge, Numbered, Question, Steps
from v2g.ocpp.v16.from_station import number_of

M = TypeVar("M", bound=Message)

HANDLES: Final = frozenset(each.__name__.removesuffix("Req") for each in FROM_STATION)
"""The actions that stations of 1.6 may send."""


class BridgedConnection:
    """A connection whose station speaks 1.6 and whose caller 2.0.1: see RpcConnection, which it stands for.

    `handle` answers requests of 2.0.1, `quick` those that it can at once, `find` the questions of the bridge. A
    message of a transaction is never answered with a CALLERROR, which makes some stations boot or repeat it for ever:
    one that is refused is reported as `transaction_message_refused`, and answered as if it were not. Where it could
    not be stored the connection ends: the station sends it again on the next one.
    """

    __slots__ = ("_begun", "_clock", "_connection", "_find", "_handle", "_observe", "_quick", "bridge", "socket")

    def __init__(
        self,
        socket: OcppSocket,
        peer: RpcPeer,
        *,
        handle: Callable[[str, Message], Awaitable[Message]],
        find: Callable[[Question], Awaitable[Any]],
        clock: Clock,
        observe: Callable[[Observe], None],
        quick: Callable[[str, Message], Message | None] = lambda _action, _request: None,
        tap: Callable[[Literal["received", "sent"], str], None] = lambda _direction, _text: None,
    ) -> None:
        self.socket: Final = socket
        self._quick = quick
        self._begun: tuple[Steps[Message], Message | Question | None, OcppError | None] | None = None
        self._handle, self._find, self._clock, self._observe = handle, find, clock, observe
        self.bridge: Final = Bridge(clock.utc_ms())
        self._connection = RpcConnection(
            socket, peer, handle=self._answer, quick=self._answer_at_once, clock=clock, observe=observe, tap=tap
        )

    @property
    def version(self) -> Version:
        """The version that the caller speaks."""
        return "2.0.1"

    @property
    def received_at(self) -> float:
        return self._connection.received_at

    async def call(self, request: Message, response: type[M], *, timeout: float | None = None) -> M:
        """Send a request of 2.0.1, as the requests of 1.6 that it takes, or one of 1.6 as it is: see RpcConnection.
        Raises OcppError (`NotSupported`) for what 1.6 has not."""
        if is_of_16(request):
            return await self._connection.call(request, response, timeout=timeout)
        steps = self.bridge.downward(request, self._clock.utc_ms())
        answer = await self._run(steps, lambda step: self._connection.call(step, Message, timeout=timeout))
        while self.bridge.reports:
            spawn(self._report(self.bridge.reports.pop(0)))
        assert isinstance(answer, response)
        return answer

    async def _report(self, request: Message) -> None:
        try:
            await self._handle(action_of(request), request)
        except V2GError as error:
            self._observe(Observe("ocpp", "report_refused", {"reason": str(error)[:200]}))

    async def _follow(self, steps: Steps[object]) -> None:
        """Ask the station what follows its request, once that is answered."""
        try:
            await self._run(steps, lambda step: self._connection.call(step, Message))
        except V2GError as error:
            self._observe(Observe("ocpp", "price_not_shown", {"reason": str(error)[:200]}))

    async def _run(
        self,
        steps: Steps[object],
        ask: Callable[[Message], Awaitable[Message]],
        step: Message | Question | None = None,
        answer: object = None,
    ) -> Message:
        """Carry out a translation: send what it yields, and pass it the answers; from a `step` or an `answer` on."""
        while True:
            if step is None:
                try:
                    step = steps.throw(answer) if isinstance(answer, V2GError) else steps.send(answer)
                except StopIteration as end:
                    result: Message = end.value
                    return result
            try:
                answer = await (ask(step) if isinstance(step, Message) else self._find(step))
            except (OcppError, TimeoutExpired) as refused:
                answer = refused
            step = None

    def _answer_at_once(self, _action: str, request: Message) -> Message | None:
        """Answer a request of the station without a task; None if `_answer` has to go on with its translation."""
        steps, step = self.bridge.upward(request, self._clock.utc_ms()), None
        try:
            step = next(steps)
            while isinstance(step, Message) and (answer := self._quick(action_of(step), step)) is not None:
                step = steps.send(answer)
        except StopIteration as end:
            self._follow_all()
            result: Message = end.value
            return result
        except OcppError as error:
            self._begun = steps, None, error  # thrown into a translation that has ended, it is raised there
        else:
            self._begun = steps, step, None
        return None

    def _follow_all(self) -> None:
        while self.bridge.after:
            spawn(self._follow(self.bridge.after.pop(0)))

    async def _answer(self, action: str, request: Message) -> Message:
        """Answer a request of the station: the one that was begun last, since the peer has one open at a time."""
        assert self._begun is not None
        begun, self._begun = self._begun, None
        try:
            steps, step, refused = begun
            answered = await self._run(steps, lambda step: self._handle(action_of(step), step), step, refused)
            if isinstance(request, messages.StartTransactionReq) and (delay_s := self.bridge.quirks.answer_delay_s):
                await asyncio.sleep(delay_s)
            self._follow_all()
            return answered
        except OcppError as error:
            answer = None if error.answer == "SecurityError" else await self._answer_anyway(request)
            if answer is None:
                raise
            self._observe(
                Observe("ocpp", "transaction_message_refused", {"action": action, "reason": str(error)[:200]})
            )
            return answer
        except V2GError:
            if isinstance(request, _OF_TRANSACTIONS):
                await self.close("not stored")
            raise

    async def _answer_anyway(self, request: Message) -> Message | None:
        match request:
            case messages.StartTransactionReq():
                found: Numbered = await self._find(number_of(self.bridge, request))
                return messages.StartTransactionConf(
                    transaction_id=found.number, id_tag_info=messages.IdTagInfo(status="Invalid")
                )
            case messages.StopTransactionReq():
                return messages.StopTransactionConf()
            case messages.MeterValuesReq():
                return messages.MeterValuesConf()
        return None

    async def run(self) -> None:
        await self._connection.run()

    async def close(self, reason: str = "") -> None:
        await self._connection.close(reason)


_OF_TRANSACTIONS: Final = (messages.StartTransactionReq, messages.StopTransactionReq, messages.MeterValuesReq)
