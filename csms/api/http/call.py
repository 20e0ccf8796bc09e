"""What a handler works with: the back end, who asks, and what they said beside parameters and body."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.api.backend import Backend
from csms.api.http.problems import ApiError
from csms.db.queries import access
from csms.domain.security.access import Permission, Principal, allowed
from csms.ocpp import Services
from v2g.observe import Observe, Scalar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode


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
