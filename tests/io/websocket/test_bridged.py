"""A station of 1.6 on a socket: what can be answered at once waits for no task, whoever refuses it."""

import asyncio
import json
from collections.abc import Callable

from tests.waiting import until
from v2g.errors import OcppError
from v2g.io.runtime.clock import Clock
from v2g.io.websocket.bridged import HANDLES, BridgedConnection
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.messages.availability import HeartbeatResponse
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventResponse
from v2g.ocpp.quirks import StationQuirks
from v2g.ocpp.rpc import RpcPeer
from v2g.ocpp.v16.bridge import Numbered, NumberOf, Question, RemoteOf

BEAT, VALUES = '[2,"1","Heartbeat",{}]', (
    '[2,"2","MeterValues",{"connectorId":1,'
    '"meterValue":[{"timestamp":"2026-01-01T00:00:00Z","sampledValue":[{"value":"1"}]}]}]'
)  # fmt: skip


class _Held(OcppSocket):
    """A socket whose station is the test."""

    __slots__ = ("sent", "take")

    def __init__(self) -> None:
        super().__init__(None, "CS", "1.6")  # type: ignore[arg-type]  # nothing is behind it
        self.sent: list[list[object]] = []

    def listen(self, take: Callable[[str], None]) -> None:
        self.take = take

    def send_now(self, text: str) -> bool:
        self.sent.append(json.loads(text))
        return True

    async def receive(self) -> str:
        return await asyncio.Future()


async def _answers(code: str | None, *texts: str, later: bool) -> tuple[list[list[object]], list[list[object]]]:
    """Return what was answered before a task could run, and all answers."""

    def beat(_action: str, _request: Message) -> Message:
        if code is not None:
            raise OcppError("no", answer=code)
        return HeartbeatResponse(current_time="2026-01-01T00:00:00Z")

    async def handle(action: str, request: Message) -> Message:
        return beat(action, request)

    async def find(_question: Question) -> object:
        raise AssertionError("nothing is asked")

    socket = _Held()
    connection = BridgedConnection(
        socket,
        RpcPeer("1.6", handles=HANDLES, entropy=bytes),
        handle=handle,
        find=find,
        quick=(lambda _action, _request: None) if later else beat,
        clock=Clock(),
        observe=lambda _event: None,
    )
    running = asyncio.create_task(connection.run())
    await asyncio.sleep(0)
    for text in texts:
        socket.take(text)
    at_once = [each[:2] for each in socket.sent]
    await until(lambda: len(socket.sent) >= len(texts))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return at_once, [each[:3] for each in socket.sent]


async def test_what_can_be_answered_at_once_is() -> None:
    beaten = [3, "1", {"currentTime": "2026-01-01T00:00:00Z"}]
    assert await _answers(None, BEAT, BEAT, later=False) == ([[3, "1"], [3, "1"]], [beaten, beaten])
    assert await _answers(None, BEAT, later=True) == ([], [beaten])


async def test_a_refusal_at_once_is_the_same_as_a_later_one() -> None:
    for later in (False, True):
        assert await _answers("GenericError", BEAT, VALUES, later=later) == (
            [], [[4, "1", "GenericError"], [3, "2", {}]]
        )  # fmt: skip
        assert (await _answers("SecurityError", VALUES, later=later))[1] == [[4, "2", "SecurityError"]]


async def test_the_answer_to_a_start_waits_for_a_make() -> None:
    async def handle(_action: str, _request: Message) -> Message:
        return TransactionEventResponse()

    async def find(question: Question) -> object:
        if isinstance(question, RemoteOf):
            return None
        return Numbered(number=7, connector_id=1) if isinstance(question, NumberOf) else "ISO14443"

    socket, loop = _Held(), asyncio.get_running_loop()
    peer = RpcPeer("1.6", handles=HANDLES, entropy=bytes)
    connection = BridgedConnection(socket, peer, handle=handle, find=find, clock=Clock(), observe=lambda _event: None)
    connection.bridge.quirks = StationQuirks(answer_delay_s=0.05)
    running = asyncio.create_task(connection.run())
    await asyncio.sleep(0)
    begun = loop.time()
    socket.take(
        '[2,"1","StartTransaction",{"connectorId":1,"idTag":"C","meterStart":1,"timestamp":"2026-01-01T00:00:00Z"}]'
    )
    await until(lambda: socket.sent)
    assert loop.time() - begun >= 0.05
    running.cancel()
