"""Live events, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Annotated, Any, Final

import msgspec
from litestar.response import Stream

from csms.accounts.rules import Permission, allowed
from csms.cluster.feed import FRAME, LOST, FeedEvent
from csms.cluster.frames import hide_tokens, without_tokens
from csms.events.work import KINDS, History
from csms.http.call import Call, encode
from csms.http.operations import get
from csms.http.problems import ApiError
from v2g.config import nearest

ALIVE_S: Final = 15.0
_LOOK_S: Final = 5.0
"""How long a stream may outlive its token's expiry; a revoked one ends with its next event."""

ALIVE: Final = b": still here\n\n"
_MAX_STREAMS: Final = 200
_MAX_OF_ONE: Final = 40
"""Streams of one token or client certificate."""

EVENT_STREAM: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


OnlyStation = Annotated[str | None, msgspec.Meta(description="Only of this station.")]


class WhichEvents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for events."""

    kinds: Annotated[
        str | None, msgspec.Meta(description="Only these kinds, with commas between.", examples=["station_connected"])
    ] = None
    station_id: OnlyStation = None


@get(
    "/events",
    Permission.READ_EVENTS,
    media_type=EVENT_STREAM,
    streams=True,
    answer=str,
    request_headers=("Last-Event-ID",),
    for_sites=True,
)
async def stream_events(call: Call, parameters: WhichEvents) -> Any:
    """Stream events from now on.

    `event` is the kind, `data` a JSON object with `station_id`, `at_ms`, `node` and `data`. With `Last-Event-ID`
    events after that one come first, as far as they are retained; `feed_lost` reports that some are not.
    """
    history = call.backend.history
    number = _resume(history, call.headers.get("last-event-id"))
    kinds = None if parameters.kinds is None else check_kinds(parameters.kinds.split(","))
    shown = _whole if allowed(call.principal, Permission.READ_TOKENS) else _without_tokens
    return stream_of(call, _events(history, number, kinds, _chosen(call, parameters.station_id), shown))


@get("/ocpp-log", Permission.READ_EVENTS, media_type=EVENT_STREAM, streams=True, answer=str, for_sites=True)
async def stream_frames(call: Call, station_id: OnlyStation = None) -> Any:
    """Stream OCPP frames from now on, of one station or of all, without passwords and keys.

    Tokens are shown only to callers that may read them.
    `event` is `ocpp_frame`; `data` a JSON object with `station_id`, `at_ms` and, in `data`, `direction` (`received` or
    `sent`, as seen from the back end) and `text`. Slow readers lose frames; `feed_lost` reports how many.
    """
    return stream_of(call, _frames(call, station_id))


def stream_of(call: Call, chunks: AsyncIterator[bytes]) -> Stream:
    """Return an answer of events that ends with its caller's permission. Raises ApiError 429, 503: too many."""
    streams = call.backend.streams
    if streams.open >= _MAX_STREAMS:
        raise ApiError(503, f"{_MAX_STREAMS} streams are open", "close some", headers={"Retry-After": "10"})
    caller = call.caller.id
    if streams.by_caller[caller] >= _MAX_OF_ONE:
        raise ApiError(429, f"{_MAX_OF_ONE} of your streams are open", "close some", headers={"Retry-After": "10"})

    async def permitted() -> AsyncIterator[bytes]:
        clock = call.services.clock
        streams.by_caller[caller] += 1
        changes, looked = streams.changes, clock.monotonic()
        try:
            yield ALIVE  # so that clients see at once that the stream is open
            async for chunk in chunks:
                if changes != streams.changes or clock.monotonic() - looked >= _LOOK_S:
                    changes, looked = streams.changes, clock.monotonic()
                    if await call.identify() != call.principal:
                        return
                yield chunk
        finally:
            streams.by_caller[caller] -= 1
            if not streams.by_caller[caller]:
                del streams.by_caller[caller]

    return Stream(permitted(), media_type=EVENT_STREAM, headers=_HEADERS, status_code=200)


def check_kinds(kinds: Collection[str]) -> frozenset[str]:
    """Return event kinds. Raises ApiError for unknown ones, for which a client would wait in vain."""
    for kind in kinds:
        if kind not in KINDS:
            raise ApiError(400, f"unknown kind of event {kind[:64]!r}", nearest(kind, KINDS), code="unknown_kind")
    return frozenset(kinds)


def _chosen(call: Call, station_id: str | None) -> Callable[[str | None], bool]:
    """Return which stations' events a caller asks for, and may see."""
    only = call.stations

    def chosen(station: str | None) -> bool:
        return station_id in (None, station) and (only is None or station in only)

    return chosen


async def _events(
    history: History,
    number: int,
    kinds: frozenset[str] | None,
    chosen: Callable[[str | None], bool],
    shown: Callable[[FeedEvent], FeedEvent],
) -> AsyncIterator[bytes]:
    async for portion in history.follow(number, ALIVE_S):
        lines = [
            _written(shown(each.event), f"{history.era}-{each.number}")
            for each in portion
            if each.event.kind == LOST
            or ((kinds is None or each.event.kind in kinds) and chosen(each.event.station_id))
        ]
        if lines or not portion:
            yield b"".join(lines) or ALIVE


async def _frames(call: Call, station_id: str | None) -> AsyncIterator[bytes]:
    services = call.services
    shown = _whole if allowed(call.principal, Permission.READ_TOKENS) else _without_tokens
    chosen = _chosen(call, station_id)
    with services.feed.subscribe({FRAME}, station_id) as frames, call.backend.streams.reading(frames):
        services.frames.want(station_id)
        renewed = services.clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(ALIVE_S):
                    frame = await anext(frames)
                if frame.kind == LOST or chosen(frame.station_id):
                    yield _written(shown(frame), "")
            except StopAsyncIteration:
                return
            except TimeoutError:
                yield ALIVE
            if services.clock.monotonic() - renewed >= ALIVE_S:
                services.frames.want(station_id)
                renewed = services.clock.monotonic()


def _whole(frame: FeedEvent) -> FeedEvent:
    return frame


def _without_tokens(frame: FeedEvent) -> FeedEvent:
    if frame.kind != FRAME:
        return msgspec.structs.replace(frame, data=hide_tokens(frame.data))
    return msgspec.structs.replace(frame, data={**frame.data, "text": without_tokens(frame.data["text"])})


def _resume(history: History, last: str | None) -> int:
    """Return the number after which a reader continues; a reader of another era has missed the earlier events."""
    if last is None:
        return history.newest
    era, _, number = last.partition("-")
    if era != history.era or not number.isdecimal() or len(number) > 18:
        return 0
    return min(int(number), history.newest)


def _written(event: FeedEvent, event_id: str) -> bytes:
    body = {"station_id": event.station_id, "at_ms": event.at_ms, "node": event.node, "data": event.data}
    lines = f"id: {event_id}\n" if event_id else ""
    return f"{lines}event: {event.kind}\ndata: ".encode() + encode(body) + b"\n\n"
