"""Requests to stations: the answer goes to the caller, into the feed and, if more follows, into the database."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, Generic, TypeVar

import msgspec

from csms.requests import store as requests
from csms.requests.store import UNANSWERED
from csms.services import Services
from csms.stations.work import adopt, doubt, end_doubt
from v2g.errors import OcppError, RefusedError, V2GError
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.routes import action_of

M = TypeVar("M", bound=Message)

NOT_SENT = "NotSent"
"""Stored as the answer to a request that did not reach the station, or that it could not decode."""

CANCELED = "AcceptedCanceled"
"""Answer of a station that cancelled an earlier request of the kind (L01.FR.24, N01.FR.12)."""

AT_ONCE: Final = 50
"""Limit of concurrent requests of background work."""


class Asked(msgspec.Struct, Generic[M], frozen=True):
    """The request's number, for what follows at `/requests`, and the station's answer."""

    request_id: int
    response: M


async def call(
    services: Services, station_id: str, request: Message, response: type[M], *, timeout_s: float | None = None,
    sent: Message | None = None,
) -> M:  # fmt: skip
    """Send a request and return the station's answer; what it has accepted is recorded.

    `sent`: what is sent in its place, as the station wants it. Raises V2GError as `ConnectionRegistry.call` does.
    """
    notes = await doubt(services, station_id, request)
    try:
        answer = await services.connections.expect(station_id, sent or request, response, timeout_s=timeout_s)
    except V2GError as error:
        if (status := failure(error)) != UNANSWERED:
            await end_doubt(services, request, notes)
        _report(services, station_id, request, status, str(error))
        raise
    await adopt(services, station_id, request, answer, notes)
    _report(services, station_id, request, str(getattr(answer, "status", "")), detail_of(answer))
    return answer


async def ask(
    services: Services, station_id: str, make: Callable[[int], Message], response: type[M], follows: Collection[str]
) -> Asked[M]:
    """Send a request that has a `requestId`; more follows after an answer whose status is one of `follows`.

    `make` gets the number. Raises V2GError as `ConnectionRegistry.call` does; the request is stored in any case.
    """
    now_ms = services.clock.utc_ms()
    request_id, request = await services.store.gather(
        requests.open_requests, requests.NewRequest(station_id, make, now_ms)
    )
    return Asked(request_id, await deliver(services, station_id, request_id, request, response, follows))


async def deliver(
    services: Services,
    station_id: str,
    request_id: int,
    request: Message,
    response: type[M],
    follows: Collection[str],
    *,
    timeout_s: float | None = None,
) -> M:
    """Send a stored request, as `ask` does."""
    store, clock = services.store, services.clock
    try:
        answer = await call(services, station_id, request, response, timeout_s=timeout_s)
    except V2GError as error:
        await store.run(requests.save_answer, request_id, failure(error), str(error), clock.utc_ms(), done=True)
        raise
    status = str(getattr(answer, "status", ""))
    done = status not in follows
    if status == CANCELED:
        await store.run(requests.supersede, station_id, action_of(request), request_id, clock.utc_ms())
    await store.run(requests.save_answer, request_id, status, detail_of(answer), clock.utc_ms(), done=done)
    return answer


async def for_each(station_ids: Iterable[str], ask_one: Callable[[str], Awaitable[None]]) -> None:
    """Send requests to stations concurrently, so many at once that one that does not answer delays few."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def take_turn(station_id: str) -> None:
        async with turn:
            await ask_one(station_id)

    async with asyncio.TaskGroup() as tasks:
        for station_id in station_ids:
            tasks.create_task(take_turn(station_id))


def failure(error: V2GError) -> str:
    """Return the stored answer when `call` raised this."""
    return NOT_SENT if isinstance(error, RefusedError | OcppError) else UNANSWERED


def detail_of(answer: Message) -> str:
    """Return a station's status information as text."""
    info = getattr(answer, "status_info", None)
    if not isinstance(info, StatusInfo):
        return ""
    return f"{info.reason_code}: {info.additional_info}" if info.additional_info else info.reason_code


def _report(services: Services, station_id: str, request: Message, status: str, detail: str) -> None:
    data = {"action": action_of(request), "status": status, "detail": detail[:255]}
    services.report("ocpp", "command_result", station_id, data)
