"""The context of a handler: the back end, the caller, and the request's headers."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.accounts import store as access
from csms.accounts.rules import Permission, Principal, allowed, may_handle
from csms.backend import Backend
from csms.db.leases import lock
from csms.http.problems import ApiError, existing
from csms.services import Services
from v2g.observe import Observe, Scalar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode


class AuditContext:
    """Whether the audit log has an entry for this request."""

    def __init__(self) -> None:
        self.written = False


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, of the route `operation`. `headers` have names in lower case; `request` is the body as JSON text.

    `request` is None without a body or where it must not be stored. `identify` authenticates the caller again. `gone`:
    whether the client has closed its connection. `only_reads`, `large`: as its operation.
    """

    backend: Backend
    principal: Principal | None
    operation: str
    peer: str
    path: str
    headers: Mapping[str, str]
    request: str | None = None
    only_reads: bool = False
    large: bool = False
    audit: AuditContext
    identify: Callable[[], Awaitable[Principal | None]]
    gone: Callable[[], bool] = bool

    @property
    def services(self) -> Services:
        """The services that all stations share."""
        return self.backend.services

    @property
    def caller(self) -> Principal:
        """The caller, where the permission guarantees that there is one."""
        assert self.principal is not None
        return self.principal

    @property
    def stations(self) -> frozenset[str] | None:
        """The only stations that the caller's role extends to; None: all."""
        sites = None if self.principal is None else self.principal.sites
        return None if sites is None else sites.stations

    def own(self, found: Iterable[T]) -> list[T]:
        """Return those that the caller's role extends to, with those that do not say whose they are."""
        sites = None if self.principal is None else self.principal.sites
        return [each for each in found if sites is None or sites.have(each) is not False]

    @property
    def now_ms(self) -> int:
        """The time, ms since 1970 in UTC."""
        return self.services.clock.utc_ms()

    async def run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function of a feature's `store`, beside the store's writer where the route only reads. Raises
        StoreError."""
        store = self.services.store
        if not self.only_reads:
            return await store.run(work, *args, **kwargs)
        return await (store.read_report if self.large else store.read_for_caller)(work, *args, **kwargs)

    async def change(
        self, read: Callable[[Connection], T | None], write: Callable[[Connection, T | None], object]
    ) -> tuple[T | None, T | None]:
        """Change state in one transaction, together with its entry in the audit log; return it before and after.

        `read` returns it as a GET would (None: it does not exist). If-Match is checked against that before `write` is
        called.
        Raises StoreError, ApiError, and whatever `read` and `write` raise; then nothing has changed.
        """
        result: tuple[T | None, T | None] = await self.run(self._change, read, write)
        self.audit.written = True
        return result

    async def put(self, read: Callable[[Connection], T | None], write: Callable[[Connection, T | None], object]) -> T:
        """As `change`, for what exists afterwards: return it."""
        _, after = await self.change(read, write)
        assert after is not None
        return after

    async def update(
        self, what: str, read: Callable[[Connection], T | None], write: Callable[[Connection, T], object]
    ) -> T:
        """As `put`, for what exists before, too. Raises ApiError 404 (`what`)."""
        return await self.put(read, lambda connection, before: write(connection, existing(what, before)))

    async def remove(
        self, what: str, read: Callable[[Connection], T | None], write: Callable[[Connection, T], object]
    ) -> None:
        """As `change`, for what exists before. Raises ApiError 404 (`what`)."""
        await self.change(read, lambda connection, before: write(connection, existing(what, before)))

    def _change(
        self,
        connection: Connection,
        read: Callable[[Connection], T | None],
        write: Callable[[Connection, T | None], object],
    ) -> tuple[T | None, T | None]:
        lock(connection, ("/".join(self.path.split("/")[:4]).lower(),))  # else two nodes could change the same state
        before = read(connection)
        wanted = self.headers.get("if-match")
        if wanted is not None and (before is None or not matches(wanted, etag(encode(before)))):
            raise ApiError(412, "it has changed since you read it", "GET it again and look at what is different")
        write(connection, before)
        after = read(connection)
        access.add_entry(connection, self.entry(200, before, after))
        return before, after

    def entry(self, status: int, before: object = None, after: object = None) -> dict[str, object]:
        """Return this request's entry for the audit log."""
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
        """Record an event."""
        self.services.observe(Observe(stage, name, data))

    def require(self, permission: Permission) -> None:
        """Reject (403) a caller without a permission that depends on the requested data."""
        if not allowed(self.principal, permission):
            raise ApiError(403, f"permission {permission.value} required", "ask the administrator", code="permission")

    def require_vehicle(self, ev: str) -> None:
        """Reject (403) a caller that does not see this vehicle."""
        if not may_handle(self.caller, ev):
            raise ApiError(403, f"{self.caller.name} does not read {ev!r}", "see evs of its token or certificate")


def etag(body: bytes) -> str:
    """Return the strong entity tag of an answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(wanted: str, tag: str) -> bool:
    """Return whether a list of entity tags, as in If-Match and If-None-Match, has this one."""
    return wanted.strip() == "*" or tag in {each.strip().removeprefix("W/") for each in wanted.split(",")}


def part(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a header `Range` asks for of so many, None if everything is to be sent.

    Several ranges at once, other units and invalid ranges ask for everything (RFC 9110, 14.2). Raises ApiError(416) for
    a range beyond the end.
    """
    found = re.fullmatch(r"bytes=([0-9]{0,15})-([0-9]{0,15})", wanted.strip())
    if found is None or wanted.strip() == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        begin, end = max(0, size - int(last)), size - 1
    else:
        begin, end = int(first), min(int(last or size), size - 1)
        if last and int(last) < begin:
            return None
    if begin >= size:
        hint = "leave out Range, or ask for less"
        raise ApiError(416, f"there are {size} bytes", hint, headers={"Content-Range": f"bytes */{size}"})
    return begin, end
