"""What a handler works with: the back end, who asks, and what they said beside parameters and body."""

import base64
import binascii
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.api.http.operations import Page
from csms.api.http.parameters import Paged
from csms.api.http.problems import ApiError
from csms.cluster.feed import FeedEvent, Subscription
from csms.db.queries import access
from csms.domain.security.access import Permission, Principal, allowed
from csms.ocpp import Services
from csms.services.diagnostics.history import History
from csms.services.diagnostics.webhooks import Webhooks
from csms.telemetry.ingest import Ingest
from v2g import typed_json
from v2g.observe import Observe, Scalar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K", str, int)

ACCESS_CHANGED: Final = "access_changed"
"""Kind of the event that says that somebody's access has ended."""

encode: Final = msgspec.json.Encoder().encode


class Streams:
    """How many event streams are open, and whose, and how often who may read them has changed."""

    def __init__(self) -> None:
        self.by_caller: Counter[str] = Counter()
        self.changes = 0
        self._subscriptions: set[Subscription] = set()

    @property
    def open(self) -> int:
        """How many are open."""
        return self.by_caller.total()

    @contextlib.contextmanager
    def reading(self, subscription: Subscription) -> Iterator[None]:
        """Let a subscription end with the API."""
        self._subscriptions.add(subscription)
        try:
            yield
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all that read a subscription."""
        for each in tuple(self._subscriptions):
            each.close()


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """What the API speaks for."""

    services: Services
    ingest: Ingest
    history: History
    webhooks: Webhooks
    streams: Streams = msgspec.field(default_factory=Streams)


def make_backend(services: Services) -> Backend:
    """Return what the API speaks for. Its history and webhooks work once they run."""
    webhooks = Webhooks(
        services.store,
        services.feed,
        services.clock,
        services.observe,
        services.store_key,
        services.config.webhooks.allow,
    )

    streams = Streams()

    def heard(event: FeedEvent) -> None:
        if event.kind == ACCESS_CHANGED:
            streams.changes += 1
        if event.node == services.feed.node:
            services.metrics.events.add(kind=event.kind)
            webhooks.take(event)

    return Backend(
        services=services,
        ingest=Ingest(services.store, services.clock, services.observe, services.feed),
        streams=streams,
        history=History(services.feed, services.frames, heard),
        webhooks=webhooks,
    )


class AuditContext:
    """Whether the audit log tells of a request already."""

    def __init__(self) -> None:
        self.written = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, of the route `operation`. `headers` have names in lower case; `request` is the body as JSON text.

    `request` is None where there is none, and where it may not be kept. `identify` finds out again who asks.
    """

    backend: Backend
    principal: Principal | None
    operation: str
    peer: str
    path: str
    headers: Mapping[str, str]
    request: str | None = None
    only_reads: bool = False
    audit: AuditContext
    identify: Callable[[], Awaitable[Principal | None]]

    @property
    def services(self) -> Services:
        """What all stations share."""
        return self.backend.services

    @property
    def caller(self) -> Principal:
        """Who asks, where the permission makes sure that it is somebody."""
        assert self.principal is not None
        return self.principal

    @property
    def now_ms(self) -> int:
        """The time, ms since 1970 in UTC."""
        return self.services.clock.utc_ms()

    async def run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of `csms.db.queries`, beside the store's writer where the route only reads. Raises
        StoreError."""
        store = self.services.store
        return await (store.read if self.only_reads else store.run)(work, *args, **kwargs)

    async def change(
        self, read: Callable[[Connection], T | None], write: Callable[[Connection, T | None], object]
    ) -> tuple[T | None, T | None]:
        """Change something in one transaction, together with its line in the audit log; return it before and after.

        `read` returns it as a GET would (None: it is not there). If-Match is judged by that before `write` is called.
        Raises StoreError, ApiError, and what `read` and `write` raise; then nothing has changed.
        """
        result: tuple[T | None, T | None] = await self.run(self._change, read, write)
        self.audit.written = True
        return result

    def _change(
        self, connection: Connection, read: Callable[[Connection], T | None], write: Callable[..., object]
    ) -> tuple[T | None, T | None]:
        before = read(connection)
        self.require_match(before)
        write(connection, before)
        after = read(connection)
        access.add_entry(connection, self.entry(200, before, after))
        return before, after

    def entry(self, status: int, before: Any = None, after: Any = None) -> dict[str, Any]:
        """Return the line of the audit log about this request."""
        caller = self.caller
        return {
            "at_ms": self.now_ms,
            "caller": caller.name[:128],
            "role": caller.role.value,
            "peer": self.peer[:64],
            "operation": self.operation[:64],
            "path": self.path[:500],
            "status": status,
            "request": self.request,
            "before": None if before is None else encode(before).decode(),
            "after": None if after is None else encode(after).decode(),
        }

    def observe(self, stage: str, name: str, **data: Scalar) -> None:
        """Record something."""
        self.services.observe(Observe(stage, name, data))

    def require(self, permission: Permission) -> None:
        """Refuse (403) a caller without a permission that only what is asked for shows to be needed."""
        if not allowed(self.principal, permission):
            raise ApiError(
                403,
                f"that takes {permission.value}, which this caller has not",
                "ask the administrator",
                code="permission",
            )

    def require_match(self, current: Any) -> None:
        """Refuse (412) when the caller wants to change another state than `current`, the answer to a GET now."""
        wanted = self.headers.get("if-match")
        if wanted is not None and (current is None or not matches(wanted, etag(encode(current)))):
            raise ApiError(412, "it has changed since you read it", "GET it again and look at what is different")


def etag(body: bytes) -> str:
    """Return the strong entity tag of an answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(wanted: str, tag: str) -> bool:
    """Say whether a list of entity tags, as in If-Match and If-None-Match, has this one."""
    return wanted.strip() == "*" or tag in {each.strip().removeprefix("W/") for each in wanted.split(",")}


def write_cursor(*position: str | int | None) -> str:
    """Return a cursor: where the next page begins, sealed against curiosity rather than malice."""
    return base64.urlsafe_b64encode(encode(position)).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: type[R]) -> R | None:
    """Return the position in a cursor, a tuple type. Raises ApiError for what `write_cursor` has not made."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = typed_json.decode(text, kind)
        if any(isinstance(each, int) and not -(2**63) <= each < 2**63 for each in msgspec.to_builtins(position)):
            raise ValueError("a number that no row has")
        return position
    except (binascii.Error, ValueError):  # msgspec's error is a ValueError
        raise ApiError(400, "the cursor is none of ours", "take it from the header Link of the page before") from None


async def newest_first(
    call: Call,
    paged: Paged,
    kind: type[T],
    key: str,
    fetch: Callable[[Connection, int | None, int], list[dict[str, Any]]],
) -> Page[T]:
    """Return a page of rows with falling numbers `key`; `fetch(connection, before, limit)` finds those below one."""
    position = read_cursor(paged.cursor, tuple[int])
    found = await call.run(fetch, position[0] if position else None, paged.limit + 1)
    items: tuple[T, ...] = tuple(shown(row, kind) for row in found[: paged.limit])
    return Page(items, write_cursor(found[paged.limit - 1][key]) if len(found) > paged.limit else None)


async def pages(
    call: Call,
    paged: Paged,
    kind: type[T],
    position: type[R],
    keys: Sequence[str],
    fetch: Callable[[Connection, R | None, int], list[dict[str, Any]]],
) -> Page[T]:
    """Return a page of rows in an order that some columns together give; `fetch(connection, after, limit)` finds them.

    `position`: a tuple type, of the values of `keys`; null counts as 0.
    """
    found = await call.run(fetch, read_cursor(paged.cursor, position), paged.limit + 1)
    items: tuple[T, ...] = tuple(shown(row, kind) for row in found[: paged.limit])
    more = len(found) > paged.limit
    return Page(items, write_cursor(*(found[paged.limit - 1][key] or 0 for key in keys)) if more else None)


def page_of(found: Sequence[T], paged: Paged, key: Callable[[T], K]) -> Page[T]:
    """Return a page of a list that is there as a whole, whose items have rising keys: texts or numbers."""
    position = read_cursor(paged.cursor, tuple[str | int])
    if position is not None:
        try:
            found = [each for each in found if key(each) > position[0]]  # type: ignore[operator]  # or TypeError
        except TypeError:
            raise ApiError(400, "the cursor is none of ours") from None
    items = tuple(found[: paged.limit])
    return Page(items, write_cursor(key(items[-1])) if len(found) > paged.limit else None)


def shown(found: Any, kind: type[R]) -> R:
    """Return what `csms.db.queries` found, dicts and lists, as the type that goes out."""
    return typed_json.convert(_plain(found), kind)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # SQLAlchemy's names of columns are a kind of str of their own
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
