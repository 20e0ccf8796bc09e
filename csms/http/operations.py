"""Declaration of a route: method, path, permission, and a handler whose annotations are its interface.

A handler is `async def name(call, parameters, body) -> answer`; all but `call` are optional. `parameters`
is a Struct of path and query parameters; a few of them may stand alone instead, by their names. `body` is the request
body (`bytes`: undecoded), and the answer a Struct, a `Page` of them, None (204), or a `Reply` where the handler sets
status and headers. From these come decoding, validation and the OpenAPI document. The docstring's first paragraph is
the summary, the rest the description.

Answers too large for memory: files on disk, sent as fast as the client reads them.
"""

import asyncio
import hashlib
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial, wraps
from io import BufferedRandom
from types import ModuleType
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from csms.accounts.rules import Permission

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list: its `items`, and the cursor of the `next` page (None: last page).

    The answer is the items as a JSON array; the header `Link` refers to the next page (RFC 8288).
    """

    items: tuple[T, ...]
    next: str | None = None


ALONE: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""Content-Security-Policy of a page that needs no script and loads nothing."""


class Reply(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """An answer with its own status or headers. `content` is a Struct, or bytes or a Download, sent unchanged."""

    content: T
    status: int = 200
    headers: Mapping[str, str] = {}
    media_type: str = "application/json"


class Lazy(msgspec.Struct, frozen=True):
    """A type that is imported only when it is documented."""

    load: Callable[[], object]


class ArrayOf(msgspec.Struct, frozen=True):
    """An array whose items each have one of these types: documents a body that the handler decodes itself."""

    kinds: tuple[object, ...]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A route. `problems` are error statuses beyond those of every route."""

    method: Method
    path: str
    permission: Permission
    tag: str
    """The resource: by default the feature."""
    handler: Callable[..., Awaitable[Any]]
    parameters: type[msgspec.Struct] | None
    body: object
    answer: object
    status: int
    media_type: str
    other_media: tuple[str, ...]
    problems: tuple[int, ...]
    audited: bool
    conditional: bool
    confidential: bool
    streams: bool
    large: bool
    for_sites: bool
    lasting: bool
    request_headers: tuple[str, ...]
    takes: object
    body_required: bool
    example: object
    about: str

    @property
    def name(self) -> str:
        """The operationId: the handler's name."""
        return self.handler.__name__

    @property
    def changes(self) -> bool:
        """Whether the request may change something."""
        return self.method != "GET"


def operation(
    method: Method,
    path: str,
    permission: Permission,
    *,
    status: int = 0,
    media_type: str = "application/json",
    other_media: tuple[str, ...] = (),
    problems: tuple[int, ...] = (),
    audited: bool | None = None,
    conditional: bool = False,
    confidential: bool = False,
    streams: bool = False,
    large: bool = False,
    for_sites: bool = False,
    lasting: bool = False,
    request_headers: tuple[str, ...] = (),
    takes: object = None,
    body_required: bool = True,
    answer: object = None,
    example: object = None,
    about: str = "",
    tag: str = "",
) -> Callable[[Callable[..., Awaitable[object]]], Operation]:
    """Declare a route. `takes` and `answer` document bodies that a handler reads or writes as bytes; `example` is one.

    `audited`: whether the audit log records every request; by default all but GET.
    `conditional`: the handler observes If-Match. `confidential`: request or answer hold secrets, never stored.
    `streams`: the answer has no end. `large`: it may have megabytes, is read from the store after
    other such ones, and hashed in a thread.
    `for_sites`: also for callers limited to sites, as nothing in it is of a station, or the handler observes
    `call.stations`. `lasting`: what it ends cannot be had back, as with all DELETE: `v2g csms` asks before.
    `request_headers`: those it reads. `other_media`: what the answer may be, too.
    `about` replaces the handler's docstring, `tag` the feature's name as the resource.
    """

    def declare(handler: Callable[..., Awaitable[object]]) -> Operation:
        hints = inspect.get_annotations(handler)
        returned = hints["return"]
        call, *taken = (each for each in inspect.signature(handler).parameters.values() if each.name != "body")
        parameters, carry_out = hints.get("parameters"), handler
        if call.name != "call" or (parameters is not None and len(taken) > 1):
            raise TypeError(f"{handler.__name__} takes call, its parameters together or alone, and body")
        if taken and parameters is None:
            parameters, carry_out = _together(handler, hints, taken)
        return Operation(
            method=method,
            path=path,
            permission=permission,
            tag=tag or _tag(handler.__module__),
            handler=carry_out,
            parameters=parameters,
            body=hints.get("body"),
            answer=answer or returned,
            status=status or (204 if returned is None else 200),
            media_type=media_type,
            other_media=other_media,
            problems=problems,
            audited=method != "GET" if audited is None else audited,
            conditional=conditional,
            confidential=confidential,
            streams=streams,
            large=large,
            for_sites=for_sites,
            lasting=lasting or method == "DELETE",
            request_headers=request_headers,
            takes=takes or hints.get("body"),
            body_required=body_required,
            example=example,
            about=about,
        )

    return declare


def _together(
    handler: Callable[..., Awaitable[object]], hints: Mapping[str, object], taken: Iterable[inspect.Parameter]
) -> tuple[type[msgspec.Struct], Callable[..., Awaitable[object]]]:
    """Return a Struct of the parameters that a handler takes alone, and a handler that takes it."""
    fields: list[tuple[str, object, object]] = [
        (each.name, hints[each.name], msgspec.field() if each.default is each.empty else each.default) for each in taken
    ]
    kind = msgspec.defstruct(handler.__name__, fields, module=handler.__module__, forbid_unknown_fields=True)

    @wraps(handler)
    async def carry_out(call: object, parameters: msgspec.Struct, **body: object) -> object:
        return await handler(call, **msgspec.structs.asdict(parameters), **body)

    return kind, carry_out


def _tag(module: str) -> str:
    *_, feature, name = module.split(".")
    return feature if name == "api" else name


def declared(kind: type[T], module: ModuleType) -> tuple[T, ...]:
    """Return what a module declares, operations or pages, alone or in tuples, in its order; not what it imports."""
    values = (each for value in vars(module).values() for each in (value if isinstance(value, tuple) else (value,)))
    own = (each for each in values if getattr(getattr(each, "handler", None), "__module__", "") == module.__name__)
    return tuple(each for each in own if isinstance(each, kind))


def to_station(
    method: Method, path: str, permission: Permission, **more: Any
) -> Callable[[Callable[..., Awaitable[object]]], Operation]:
    """Declare a route below a station that asks it: the station may be unknown, refuse, fail or not answer."""
    return operation(method, f"/stations/{{station_id}}{path}", permission, problems=STATION_PROBLEMS, **more)


STATION_PROBLEMS: Final = (404, 501, 502, 504)

get: Final = partial(operation, "GET")
post: Final = partial(operation, "POST")
put: Final = partial(operation, "PUT")
patch: Final = partial(operation, "PATCH")
delete: Final = partial(operation, "DELETE")


PIECE: Final = 256 * 1024
"""Octets of a file that are in memory at a time."""


class Download:
    """A finished file, which is closed once it is sent; `on_closed` is called then, once."""

    def __init__(self, file: BufferedRandom, on_closed: Callable[[], None]) -> None:
        """Reads the file: call it in a thread."""
        file.seek(0)
        self._file, self._on_closed = file, on_closed
        self.tag = f'"{hashlib.file_digest(file, "sha256").hexdigest()[:32]}"'
        """Strong entity tag."""
        self.size = file.tell()
        """Octets."""

    async def pieces(self, first: int, last: int) -> AsyncIterator[bytes]:
        """Return the octets from `first` to `last`, each piece once the client has read most of those before."""
        try:
            while first <= last:
                piece = await asyncio.to_thread(os.pread, self._file.fileno(), min(PIECE, last + 1 - first), first)
                first += len(piece)
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Delete the file. Also when the client has gone before the first piece."""
        if not self._file.closed:
            self._file.close()
            self._on_closed()
