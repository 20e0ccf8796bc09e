"""A back end that is not ours, made with the package `ocpp`, joined to the lab in memory."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import ocpp.messages
from ocpp.charge_point import camel_to_snake_case
from ocpp.routing import on
from ocpp.v201 import ChargePoint, call, call_result
from websockets.exceptions import ConnectionClosedOK

from v2g.io.runtime.clock import Clock
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.attempts import Attempt
from v2g_testkit.ocpp.case import NotApplicable
from v2g_testkit.ocpp.declaration import CsmsDeclaration
from v2g_testkit.ocpp.operator import OperatorStep
from v2g_testkit.ocpp.run_judge import JudgedTester

Payload = dict[str, Any]
T = TypeVar("T")
Frame = list[Any]
Change = Callable[[Frame, str], list[Frame | str]]
"""Takes a frame of the device and the action that it is about; returns the frames that are sent instead."""

_END: Final = object()

ocpp.messages.ASYNC_VALIDATION = False  # in threads, for which simulated time does not wait


def as_it_is(frame: Frame, action: str) -> list[Frame | str]:
    """Change nothing."""
    return [frame]


async def results_of(tester: JudgedTester, cases: Iterable[Any], *, until_fail: bool) -> list[Result]:
    """Return the results of cases, with `until_fail` up to the first fault."""
    found: list[Result] = []
    for case in cases:
        found.append(await tester.run(case))
        if until_fail and found[-1].verdict is Verdict.FAIL:
            break
    return found


def acknowledges(results: Any, *actions: str) -> Callable[[type[T]], type[T]]:
    """Return a decorator by which the end of a connection answers these requests with nothing."""

    def extended(end: type[T]) -> type[T]:
        for action in actions:

            def answer(self: T, result: Any = action, **_: Any) -> Any:
                return getattr(results, result)()

            answer.__name__ = f"acknowledges_{action}"  # by which it is found
            setattr(end, answer.__name__, on(action)(answer))
        return end

    return extended


class End:
    """One end of a connection in memory; what the device sends is changed by `change`."""

    def __init__(self, change: Change | None = None) -> None:
        self.peer: End = self
        self._texts: asyncio.Queue[object] = asyncio.Queue()
        self._change = change
        self._asked: dict[str, str] = {}

    async def send(self, text: str) -> None:
        frame = json.loads(text) if self._change else []
        if self._change is None:
            self.peer.take(text)
            return
        action = frame[2] if frame[0] == 2 else self._asked.get(frame[1], "")
        for each in self._change(frame, action):
            self.peer.take(each if isinstance(each, str) else json.dumps(each))

    def take(self, text: str) -> None:
        frame = json.loads(text) if self._change and text.startswith("[") else []
        if frame[:1] == [2]:
            self._asked[frame[1]] = frame[2]
        self._texts.put_nowait(text)

    async def recv(self) -> str:
        text = await self._texts.get()
        if text is _END:
            raise ConnectionClosedOK(None, None)
        return str(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        for each in (self, self.peer):
            each._texts.put_nowait(_END)


def pipe(change: Change) -> tuple[End, End]:
    """Return the ends of the lab and of the device."""
    lab, device = End(), End(change)
    lab.peer, device.peer = device, lab
    return lab, device


# -- a back end


@acknowledges(
    call_result, "StatusNotification", "NotifyReport", "NotifyEvent", "MeterValues", "SecurityEventNotification",
    "FirmwareStatusNotification", "LogStatusNotification", "ReservationStatusUpdate", "ReportChargingProfiles",
)  # fmt: skip
class BackEnd(ChargePoint):  # type: ignore[misc]
    """Its end of one connection."""

    def __init__(self, identity: str, end: End, declared: CsmsDeclaration, now_ms: Callable[[], int]) -> None:
        super().__init__(identity, end, response_timeout=20)
        self._now_ms = now_ms
        known = declared.token, declared.group_token, declared.master_token
        self._tokens = {each.id.lower(): "Accepted" for each in known}
        self._tokens |= {declared.blocked_token.id.lower(): "Blocked", declared.expired_token.id.lower(): "Expired"}
        self._groups = {each.id.lower(): declared.group for each in (declared.token, declared.group_token)}
        self._groups[declared.master_token.id.lower()] = declared.master_group

    def _info(self, token: Payload) -> Payload:
        name = token["id_token"].lower()
        group = {"group_id_token": {"id_token": self._groups[name], "type": "Central"}} if name in self._groups else {}
        return {"status": self._tokens.get(name, "Unknown"), **group}

    @on("BootNotification")
    def boots(self, **_: Any) -> Any:
        return call_result.BootNotification(format_time(self._now_ms()), 300, "Accepted")

    @on("Heartbeat")
    def beats(self) -> Any:
        return call_result.Heartbeat(format_time(self._now_ms()))

    @on("Authorize")
    def authorizes(self, id_token: Payload, **_: Any) -> Any:
        return call_result.Authorize(self._info(id_token))

    @on("TransactionEvent")
    def follows(self, **event: Any) -> Any:
        info = self._info(event["id_token"]) if "id_token" in event else None
        return call_result.TransactionEvent(id_token_info=info)

    @on("DataTransfer")
    def transfers(self, **_: Any) -> Any:
        return call_result.DataTransfer("UnknownVendorId")


class BackEnds:
    """The network, and the operator, of a foreign back end."""

    def __init__(
        self,
        declared: CsmsDeclaration,
        change: Change,
        now_ms: Callable[[], int],
        *,
        waits: bool = True,
        kind: type[Any] = BackEnd,
        calls: Any = call,
    ) -> None:
        """`waits`: it sends a request when it has the answer to the one before."""
        self._declared, self._change, self._now_ms, self._waits = declared, change, now_ms, waits
        self._end: End | None = None
        self._kind, self._calls = kind, calls
        self._latest: Any = None
        self.running: list[asyncio.Task[None]] = []

    async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
        """See Network."""
        lab, device = pipe(self._change)
        self._end = device
        self._latest = self._kind(attempt.station.identity, device, self._declared, self._now_ms)
        self.running.append(asyncio.create_task(self._serve(self._latest)))
        return OcppSocket(lab, attempt.station.identity, version)

    async def _serve(self, back_end: BackEnd) -> None:
        try:
            await back_end.start()
        except ConnectionClosedOK:
            return

    async def agreed(self, attempt: Attempt) -> str | None:
        """See Network."""
        raise NotApplicable("there is no WebSocket in memory")

    async def certificate(self, attempt: Attempt) -> bytes:
        """See Network."""
        raise NotApplicable("there is no TLS in memory")

    async def do(self, step: OperatorStep) -> None:
        """See Operator: the request is under way when this returns."""
        kind = getattr(self._calls, step.action, None)
        if kind is None or self._latest is None:
            raise NotApplicable(f"not possible: {step.sentence}")
        if not self._waits and self._end is not None:
            await self._end.send(json.dumps([2, str(uuid.uuid4()), step.action, step.payload]))
            return
        request = kind(**camel_to_snake_case(step.payload))
        self.running.append(asyncio.create_task(self._ask(self._latest, request)))

    async def _ask(self, back_end: BackEnd, request: Any) -> None:
        try:
            await back_end.call(request, suppress=True)
        except (TimeoutError, ConnectionClosedOK):
            return


# -- faults

Edit = Callable[[Payload], Payload | None]
"""Changes a payload; None drops its frame."""


def answers(action: str, edit: Edit) -> Change:
    """Change answers of the device to an action; None drops one."""

    def change(frame: Frame, about: str) -> list[Frame | str]:
        if frame[0] != 3 or about != action:
            return [frame]
        payload = edit(frame[2])
        return [] if payload is None else [[3, frame[1], payload]]

    return change


def asks(action: str, edit: Edit) -> Change:
    """Change requests of the device for an action; None drops one."""

    def change(frame: Frame, about: str) -> list[Frame | str]:
        if frame[0] != 2 or about != action:
            return [frame]
        payload = edit(frame[3])
        return [] if payload is None else [[*frame[:3], payload]]

    return change


def instead(kind: int, action: str, make: Callable[[Frame], list[Frame | str]]) -> Change:
    """Send other frames than that of a kind for an action (empty: any)."""
    return lambda frame, about: make(frame) if frame[0] == kind and action in ("", about) else [frame]


def sets(**fields: Any) -> Edit:
    """Set fields; None removes one."""

    def edit(payload: Payload) -> Payload:
        return {name: value for name, value in {**payload, **fields}.items() if value is not None}

    return edit


def dropped(_: Payload) -> None:
    return None


def refused(frame: Frame) -> list[Frame | str]:
    return [[4, frame[1], "InternalError", "", {}]]


def once_more(frame: Frame) -> list[Frame | str]:
    return [frame, frame]


LATE: Final = format_time(Clock().utc_ms() - 7_200_000)
"""A time of two hours ago."""
