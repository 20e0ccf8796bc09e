"""The request pipeline: authentication, permission, throttling, decoding, idempotency, audit, answers."""

import asyncio
import contextlib
import hashlib
import logging
import math
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

import msgspec
from litestar import Request, Response
from litestar.background_tasks import BackgroundTask
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.response import Stream
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from csms.accounts import store as access
from csms.accounts.rules import Permission, Principal, allowed
from csms.backend import Backend
from csms.cluster.frames import presentable, without_tokens
from csms.http.authenticator import Authenticator
from csms.http.call import AuditContext, Call, encode, etag, matches, part
from csms.http.operations import Download, Operation, Page, Reply
from csms.http.problems import MEDIA_TYPE, ApiError, conflict, describe, encoded, status_of
from csms.http.site_access import carry_out, may_ask, refusal
from csms.requests.rules import unknown_action
from v2g import typed_json
from v2g.config import misfit
from v2g.observe import Observe, Scalar
from v2g.ocpp.versions import without_nul
from v2g.rates import Buckets, caller_at

OPTIONS: Final = "OPTIONS"
_MAX_AUDITED: Final = 8192
_NUL: Final = "U+0000 is not allowed: not every database can store it"

_log = logging.getLogger(__name__)

HttpRequest = Request[Any, Any, Any]
Connection = ASGIConnection[Any, Any, Any, Any]
Answer = Response[Any]


class RequestPipeline:
    """Handles the requests of one back end; called by `answered`."""

    def __init__(self, backend: Backend, authenticator: Authenticator) -> None:
        config = backend.services.config.api
        self.metrics = backend.services.metrics
        self.clock = backend.services.clock
        self.backend = backend
        self._authenticator = authenticator
        self._buckets = Buckets(per_s=config.requests_per_s, burst=config.requests_at_once)

    async def identify(self, connection: Connection) -> Principal | None:
        """Return the principal of a request; None: unknown. Raises ApiError 426."""
        headers: dict[bytes, bytes] = {}
        for name, value in connection.scope["headers"]:
            headers.setdefault(name, value)  # of several the first counts
        state = connection.scope["state"]
        transport = state.get("transport")
        tls = None if transport is None else transport.get_extra_info("ssl_object")
        if tls is not None and tls.version() == "TLSv1.2":  # the listener takes it with [roaming] only
            raise ApiError(426, "TLS 1.3 is needed here", "TLS 1.2 is for roaming partners, below /ocpi")
        principal = await self._authenticator.identify(
            headers.get(b"authorization"), transport, headers.get(b"v2g-vehicle", b"")
        )
        if principal is not None and transport is not None:
            state["leave"](transport)  # no longer counted as unauthenticated
        return principal

    def permit(self, operation: Operation, connection: Connection) -> None:
        """Throttle and check the permission, before reading anything. Raises ApiError 401, 403, 429."""
        principal: Principal | None = connection.user
        peer = connection.client.host if connection.client else ""
        if operation.permission is not Permission.PUBLIC:
            self.throttle(principal, peer)
        if may_ask(principal, operation):
            return
        by = principal.name if principal else ""
        data: dict[str, Scalar] = {"operation": operation.permission.value, "by": by, "peer": peer}
        self.backend.services.observe(Observe("ocpp", "http_refused", data))
        if principal is None and "authorization" in connection.headers:
            hint = "is it complete, issued by this back end, and neither expired nor revoked?"
            raise ApiError(401, "unknown token", hint)
        if principal is None:
            hint, ended = "send a bearer token or a client certificate", {"Connection": "close"}
            raise ApiError(401, "authentication required", hint, headers=ended)
        raise refusal(principal, operation, f"{principal.role.value} may not do that")

    def throttle(self, principal: Principal | None, peer: str) -> None:
        """Count a request of a caller, known or at this address. Raises ApiError 429."""
        caller = f"id:{principal.id}" if principal else f"peer:{caller_at(peer)}"
        wait_s = self._buckets.take(caller, self.clock.monotonic())
        if wait_s > 0:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise ApiError(429, "too many requests", "wait for the time in Retry-After", headers=headers)

    async def answer(self, operation: Operation, request: HttpRequest) -> Answer:
        """Answer a request that `permit` has allowed."""
        body = await request.body() if operation.changes or operation.body is not None else b""
        call = Call(
            backend=self.backend,
            principal=request.user,
            operation=operation.name,
            peer=request.client.host if request.client else "",
            path=request.url.path,
            headers=request.headers,
            request=audited(body) if operation.audited and operation.changes and not operation.confidential else None,
            only_reads=not operation.changes,
            large=operation.large,
            audit=AuditContext(),
            identify=partial(self.identify, request),
            gone=partial(_gone, request),
        )
        key = call.headers.get("idempotency-key")
        if key is None or not operation.changes:
            return await self._work(operation, call, request, body)
        # Handle the request unless its key was used before: then repeat the answer
        if not 1 <= len(key) <= 255:
            raise ApiError(400, "Idempotency-Key must have 1 to 255 characters")
        caller = call.caller.id
        asked = f"{operation.method} {request.url.path}?{request.url.query}\n".encode() + body
        fingerprint = hashlib.sha256(asked).hexdigest()
        stored = await call.run(access.claim_key, caller, key, fingerprint, call.now_ms)
        if stored is not None:
            # answer a repeated idempotency key
            if stored.fingerprint != fingerprint:
                raise conflict("this Idempotency-Key was used for another request", "use a new key", code="key_reused")
            if stored.status is None:
                hint = "wait; if the request was interrupted, check its effect and use a new key"
                raise conflict("the request with this Idempotency-Key has no answer yet", hint, code="key_in_use")
            headers = {**stored.headers, "Idempotent-Replayed": "true"}
            media_type = headers.pop("content-type", "")
            if stored.status not in (204, 304) and not stored.body:
                raise conflict("the answer held a secret and was not stored", "use a new key", code="answer_not_kept")
            return Response(
                stored.body, status_code=stored.status, headers=headers, media_type=media_type or "application/json"
            )
        try:
            answer = await self._work(operation, call, request, body)
        except BaseException:
            await call.run(access.release_key, caller, key)
            raise
        status = answer.status_code or 200
        if status >= 500:  # worth another attempt
            await call.run(access.release_key, caller, key)
        else:
            content = b"" if operation.confidential and status < 400 else answer.content
            headers = {name: value for name, value in answer.headers.items() if value is not None}
            headers["content-type"] = str(answer.media_type or "")
            await call.run(access.keep_answer, caller, key, status, headers, content)
        return answer

    async def _work(self, operation: Operation, call: Call, request: HttpRequest, body: bytes) -> Answer:
        """Call the handler; log changes in the audit log."""
        parameters = None if operation.parameters is None else _parameters(operation.parameters, request)
        try:
            found = await carry_out(operation, call, parameters, partial(_decoded, body, operation.body))
            respond = partial(_response, operation, request, found, call.principal)
            answer = await asyncio.to_thread(respond) if operation.large else respond()
        except Exception as error:  # noqa: BLE001  a station may have acted in spite of the error
            answer = problem_response(request, error)
        await audit(operation, call, answer.status_code or 200, answer.content or b"")
        return answer


async def audit(operation: Operation, call: Call, status: int, body: bytes) -> None:
    """Write what a request did into the audit log, unless the handler has, or nothing was done."""
    if operation.audited and not call.audit.written and not 400 <= status < 500:
        after = None if operation.confidential else audited(body)
        await call.run(access.add_entry, call.entry(status, None, after and msgspec.Raw(after.encode())))


def answered(app: ASGIApp) -> ASGIApp:
    """Answer requests in place of the framework's handlers, around which it does more than an answer takes: identify
    and permit before reading anything, and measure response times, by operation and status."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        pipeline: RequestPipeline = scope["state"]["pipeline"]
        operations: dict[tuple[str, str], Operation] = scope["route_handler"].opt["operations"]
        request: HttpRequest = Request(scope, receive, send)
        begun = pipeline.clock.monotonic()
        operation = operations.get((request.method, scope["path_template"]))
        name = OPTIONS.lower() if operation is None else operation.name

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                pipeline.metrics.http_answered(name, message["status"], pipeline.clock.monotonic() - begun)
            await send(message)

        try:
            if operation is None:
                pipeline.throttle(None, request.client.host if request.client else "")
                found: Answer = options(operations, scope["path_template"])
            else:
                scope["user"] = await pipeline.identify(request)
                pipeline.permit(operation, request)
                found = await pipeline.answer(operation, request)
        except Exception as error:  # noqa: BLE001
            found = problem_response(request, error)
        await found.to_asgi_response(None, request)(scope, receive, note)

    return answer


def options(routes: Iterable[tuple[str, str]], path: str) -> Answer:
    """Answer OPTIONS for a path of these routes (methods and paths)."""
    methods = sorted([OPTIONS, *(method for method, each in routes if each == path)])
    return Response(None, status_code=204, headers={"Allow": ", ".join(methods)})


def audited(body: bytes) -> str | None:
    """Return a body for the audit log: JSON without secrets; of anything else, or a long body, only the size."""
    if not body:
        return None
    if len(body) <= _MAX_AUDITED:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            msgspec.json.decode(body)
            return presentable(body.decode())
    return encode({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}).decode()


def has_slash(scope: Scope) -> bool:
    """Return whether a part of a path, such as an id, has a slash. Such a path is routed as it was sent: quoted."""
    return b"%2f" in scope["raw_path"].lower()


def _parameters(kind: type[msgspec.Struct], request: HttpRequest) -> object:
    """Return path and query parameters; the path takes precedence."""
    said, path = request.query_params.dict(), request.path_params
    if has_slash(request.scope):
        path = {name: unquote(value) for name, value in path.items()}
    if any("\0" in each for each in path.values()) or any("\0" in each for values in said.values() for each in values):
        raise ApiError(400, _NUL, "leave it out")
    single = {name: values[0] if len(values) == 1 else values for name, values in said.items()}
    try:
        return typed_json.convert({**single, **path}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(400, misfit(error, kind), "see the parameters of this request in /openapi.json") from None


def _decoded(body: bytes, kind: Any) -> Any:
    if kind is bytes:
        return body
    if without_nul(body) != body:
        raise ApiError(400, f"body: {_NUL}", "leave it out")
    try:
        return typed_json.decode_sent(body, kind)
    except msgspec.DecodeError as error:
        raise ApiError(
            400, f"body: {misfit(error, kind)}"[:300], "see the body of this request in /openapi.json"
        ) from None


def _response(operation: Operation, request: HttpRequest, found: object, principal: Principal | None) -> Answer:
    headers = {} if operation.permission is Permission.PUBLIC else {"Cache-Control": "no-store"}
    status, media_type = operation.status, operation.media_type
    if isinstance(found, Response):
        return found
    if isinstance(found, Reply):
        status, media_type = found.status, found.media_type
        headers |= found.headers
        if "Location" in headers:
            headers["Location"] = quote(headers["Location"], safe="/")
        found = found.content
    if isinstance(found, Page):
        if found.next is not None:
            query = {**request.query_params, "cursor": found.next}
            headers["Link"] = f'<{quote(request.scope["raw_path"], safe="/%")}?{urlencode(query)}>; rel="next"'
        found = found.items
    if status == 204:
        return Response(b"", status_code=204, headers=headers)
    if isinstance(found, Download):
        # answer with a file, of which only a piece is in memory; without waiting for its reader
        with contextlib.ExitStack() as unless_sent:
            unless_sent.callback(found.close)
            first, last, status = _wanted(request, found.tag, found.size, headers)
            if status == 304:
                return Response(b"", status_code=status, headers=headers)
            unless_sent.pop_all()
        headers["Content-Length"] = str(last + 1 - first)
        at_end = BackgroundTask(found.close)  # a client that leaves does not end the iterator
        pieces = found.pieces(first, last)
        return Stream(pieces, status_code=status, media_type=media_type, headers=headers, background=at_end)
    body = found if isinstance(found, bytes) else encode(found)
    if media_type == "application/json" and not may_see_tokens(operation, principal):
        body = without_tokens(body.decode()).encode()
    if operation.method == "GET" and status == 200:
        first, last, status = _wanted(request, etag(body), len(body), headers)
        if status == 304:
            return Response(b"", status_code=status, headers=headers)
        body = body[first : last + 1] if status == 206 else body
    return Response(body, status_code=status, media_type=media_type, headers=headers)


def _gone(request: HttpRequest) -> bool:
    transport = request.scope["state"].get("transport")
    return transport is not None and transport.is_closing()


def _wanted(request: HttpRequest, tag: str, size: int, headers: dict[str, str]) -> tuple[int, int, int]:
    """Return the first and last octet to be sent of so many, and the status; add to the headers. Raises ApiError."""
    headers["ETag"] = tag
    if matches(request.headers.get("if-none-match", ""), tag):
        return 0, -1, 304
    headers["Accept-Ranges"] = "bytes"
    wanted = request.headers.get("range", "")
    if wanted and request.headers.get("if-range", tag) == tag and (found := part(wanted, size)) is not None:
        headers["Content-Range"] = f"bytes {found[0]}-{found[1]}/{size}"
        return *found, 206
    return 0, size - 1, 200


def may_see_tokens(operation: Operation, principal: Principal | None) -> bool:
    """Return whether an answer may hold token numbers, with which a card can be copied."""
    return operation.permission is Permission.PUBLIC or allowed(principal, Permission.READ_TOKENS)


def _of_framework(error: HTTPException, path: str) -> tuple[str, str]:
    """Return what happened, and how to fix it."""
    match error.status_code, path.split("/"):
        case HTTPStatus.NOT_FOUND, ["", "stations", _, "commands", action]:
            return unknown_action(action)
        case HTTPStatus.NOT_FOUND, ["", "door", *_]:
            return error.detail, "/door is now /admissions"
        case ((HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED), _):
            return error.detail, "/openapi.json lists all routes"
    return error.detail, ""


def problem_response(request: HttpRequest, error: Exception) -> Answer:
    """Answer with a problem document."""
    if isinstance(error, HTTPException):  # of the framework: unknown path or method, too large
        detail, hint = _of_framework(error, request.url.path)
        error = ApiError(status_of(error), detail, hint, headers=dict(error.headers or {}))
    reported = describe(error)
    if reported.status == 500:
        _log.error("%s %s", request.method, request.url.path, exc_info=error)
    body, headers = encoded(reported, request.url.path)
    headers = {"Cache-Control": "no-store", **headers}
    return Response(body, status_code=reported.status, media_type=MEDIA_TYPE, headers=headers)
