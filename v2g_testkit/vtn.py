"""An OpenADR 3.1 VTN in memory: programs and events for VENs, and their reports, each validated by its schema.

Its clients are those in `CLIENTS`: business logic (`bl_client`), which writes programs and events, and a VEN
(`ven_client`), which reads them by targets and writes reports. Only for tests, and for trying out a VEN.

The schemas come from the OpenAPI document of the OpenADR 3.1.1 API (`components/schemas`).
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import jsonschema_rs
import msgspec
from aiohttp import web

from v2g.errors import TransportError
from v2g.typed_json import Fields
from v2g_testkit.official_schemas import first_fault

_END: Final = r"(?![\s\S])"
"""The end of a text, in every dialect of regular expressions."""
_DURATION: Final = (
    r"^-?P(?=\d|T\d)(\d+Y)?(\d+M)?(\d+[DW])?"
    r"(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?" + _END
)
_ID: Final = {"type": "string", "pattern": r"^[a-zA-Z0-9_-]*" + _END, "minLength": 1, "maxLength": 128}
_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 128}
_TIME: Final = {"type": "string", "format": "date-time"}


def _object(required: str, **properties: object) -> Fields:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: Mapping[str, object]) -> Fields:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, object]) -> dict[str, object]:
    return {"anyOf": [schema, {"type": "null"}]}


_SPAN: Final = {"type": "string", "pattern": _DURATION}
_START: Final = {"anyOf": [_TIME, {"const": "0001-01-01"}]}
"""Of an alert, which OpenADR lets begin at that day: now."""
_PERIOD: Final = _object("", start=_START, duration=_SPAN, randomizeStart=_SPAN)
_POINT: Final = _object("x y", x={"type": "number"}, y={"type": "number"})
_VALUE: Final = {"anyOf": [{"type": ["number", "string", "boolean"]}, _POINT]}
_VALUES: Final = _object("type values", type=_NAME, values=_list(_VALUE))
_INTERVAL: Final = _object("id payloads", id={"type": "integer"}, intervalPeriod=_PERIOD, payloads=_list(_VALUES))
_TARGETS: Final = _or_null(_list(_NAME))
_TEXT: Final = _or_null({"type": "string"})
_UNITS: Final = _or_null(_NAME)
_EVENT_DESCRIPTOR: Final = _object(
    "objectType payloadType",
    objectType={"const": "EVENT_PAYLOAD_DESCRIPTOR"},
    payloadType=_NAME,
    units=_UNITS,
    currency=_TEXT,
)
_REPORT_DESCRIPTOR: Final = _object(
    "objectType payloadType",
    objectType={"const": "REPORT_PAYLOAD_DESCRIPTOR"},
    payloadType=_NAME,
    readingType=_UNITS,
    units=_UNITS,
    accuracy={"type": ["number", "null"]},
    confidence={"type": ["integer", "null"], "minimum": 0, "maximum": 100},
)
_REPORT_WANTED: Final = _object(
    "payloadType",
    payloadType=_NAME,
    readingType=_UNITS,
    units=_UNITS,
    targets=_TARGETS,
    aggregate={"type": "boolean"},
    historical={"type": "boolean"},
    reportIntervals={"enum": ["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"]},
    **{key: {"type": "integer"} for key in ("startInterval", "numIntervals", "frequency", "repeat")},
)

SCHEMAS: Final = {
    "programRequest": _object(
        "programName",
        programName=_NAME,
        intervalPeriod=_PERIOD,
        payloadDescriptors=_or_null(_list({"anyOf": [_EVENT_DESCRIPTOR, _REPORT_DESCRIPTOR]})),
        attributes=_or_null(_list(_VALUES)),
        targets=_TARGETS,
    ),
    "eventRequest": _object(
        "programID",
        programID=_ID,
        eventName=_TEXT,
        duration=_SPAN,
        priority={"type": ["integer", "null"], "minimum": 0},
        targets=_TARGETS,
        reportDescriptors=_or_null(_list(_REPORT_WANTED)),
        payloadDescriptors=_or_null(_list(_EVENT_DESCRIPTOR)),
        intervalPeriod=_PERIOD,
        intervals=_list(_INTERVAL),
    ),
    "reportRequest": _object(
        "eventID clientName resources",
        eventID=_ID,
        clientName=_NAME,
        reportName=_TEXT,
        payloadDescriptors=_or_null(_list(_REPORT_DESCRIPTOR)),
        resources=_list(
            _object("resourceName intervals", resourceName=_NAME, intervalPeriod=_PERIOD, intervals=_list(_INTERVAL))
        ),
    ),
}


def fault_of(request: str, document: object) -> str | None:
    """Return the error in a request's body, by the schema of that name, or None."""
    return first_fault(_validator(request), document)


@cache
def _validator(request: str) -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(SCHEMAS[request])


CLIENTS: Final = {"bl_client": "bl_secret", "ven_client": "ven_secret"}
_BUSINESS: Final = "bl_client"
_MOST_BYTES: Final = 1_000_000
_MOST_OBJECTS: Final = 10_000
_PAGE: Final = 50
_COLLECTIONS: Final = {"programs": "programRequest", "events": "eventRequest", "reports": "reportRequest"}
_TYPES: Final = {"programs": "PROGRAM", "events": "EVENT", "reports": "REPORT"}

Object = Fields


class Vtn:
    """Serves from `start` to `close`. `objects` has all objects, by collection and id."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), token_s: int = 3600) -> None:
        self._now, self._token_s = now, token_s
        self.objects: dict[str, dict[str, Object]] = {name: {} for name in _COLLECTIONS}
        self.faults: list[str] = []
        """Rejected requests, with the reason."""
        self._tokens: dict[str, tuple[str, float]] = {}
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, host: str = "127.0.0.1") -> int:
        """Listen; return the port. Raises TransportError."""
        application = web.Application(client_max_size=_MOST_BYTES, middlewares=[self._answered])
        application.router.add_post("/auth/token", self._give_token)
        application.router.add_get("/{collection:programs|events|reports}", self._list)
        application.router.add_post("/{collection:programs|events|reports}", self._create)
        application.router.add_get("/{collection:programs|events|reports}/{id}", self._read)
        application.router.add_put("/{collection:programs|events|reports}/{id}", self._update)
        application.router.add_delete("/{collection:programs|events|reports}/{id}", self._delete)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise TransportError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    def forget_tokens(self) -> None:
        """Invalidate all issued tokens."""
        self._tokens.clear()

    def put(self, collection: str, document: Object, object_id: str = "") -> Object:
        """Add or replace an object; return it with its metadata. Raises ValueError if it violates its schema."""
        fault = fault_of(_COLLECTIONS[collection], document)
        if fault is not None:
            raise ValueError(fault)
        here = self.objects[collection]
        if not object_id and len(here) >= _MOST_OBJECTS:
            raise ValueError(f"the limit of {_MOST_OBJECTS} {collection} is reached")
        object_id = object_id or f"{collection[:-1]}-{len(here)}-{secrets.token_hex(4)}"
        now = self._now().isoformat().replace("+00:00", "Z")
        made = here.get(object_id, {}).get("createdDateTime", now)
        metadata = {"id": object_id, "createdDateTime": made, "modificationDateTime": now}
        here[object_id] = {**document, **metadata, "objectType": _TYPES[collection]}
        return here[object_id]

    @web.middleware
    async def _answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Answer rejected requests with a problem (RFC 9457), and record them."""
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            self.faults.append(f"{request.method} {request.path}: {error.status} {error.text}")
            problem = {"type": "about:blank", "title": error.reason, "status": error.status, "detail": error.text}
            return web.json_response(problem, status=error.status)
        return response

    async def _give_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        client = str(form.get("client_id", ""))
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if not client or CLIENTS.get(client) != form.get("client_secret"):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = secrets.token_urlsafe()
        self._tokens[token] = client, self._now().timestamp() + self._token_s
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self._token_s})

    def _client(self, request: web.Request) -> str:
        """Return the client of a request. Raises HTTPUnauthorized."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        client, until = self._tokens.get(token, ("", 0.0))
        if scheme != "Bearer" or not client or until <= self._now().timestamp():
            raise web.HTTPUnauthorized(text="no valid token")
        return client

    def _writer(self, request: web.Request) -> str:
        """Return the client if it may write to the collection. Raises HTTPForbidden."""
        client = self._client(request)
        if (client == _BUSINESS) == (request.match_info["collection"] == "reports"):
            raise web.HTTPForbidden(text=f"{client} may not write {request.match_info['collection']}")
        return client

    async def _document(self, request: web.Request) -> Object:
        try:
            document = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, RecursionError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        if not isinstance(document, dict):
            raise web.HTTPBadRequest(text="the body is not an object")
        return document

    def _put(self, request: web.Request, document: Object, client: str, object_id: str = "") -> Object:
        collection = request.match_info["collection"]
        known = {"events": ("programs", "programID"), "reports": ("events", "eventID")}.get(collection)
        if known is not None and document.get(known[1]) not in self.objects[known[0]]:
            raise web.HTTPBadRequest(text=f"{known[1]} is not the id of one of the {known[0]}")
        own = {"clientID": client} if collection == "reports" else {}
        try:
            return self.put(collection, {**document, **own}, object_id)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None

    async def _create(self, request: web.Request) -> web.Response:
        client = self._writer(request)
        return web.json_response(self._put(request, await self._document(request), client), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        client, collection = self._client(request), request.match_info["collection"]
        try:
            skip, limit = int(request.query.get("skip", "0")), int(request.query.get("limit", str(_PAGE)))
        except ValueError:
            raise web.HTTPBadRequest(text="skip and limit must be numbers") from None
        if skip < 0 or not 0 <= limit <= _PAGE:
            raise web.HTTPBadRequest(text=f"skip must be at least 0, limit at most {_PAGE}")
        targets = set(request.query.getall("targets", []))
        found = [
            each
            for each in self.objects[collection].values()
            if request.query.get("programID", each.get("programID")) == each.get("programID")
            and (client == _BUSINESS or not each.get("targets") or targets & set(each["targets"]))
        ]
        return web.json_response(found[skip : skip + limit])

    def _found(self, request: web.Request) -> Object:
        try:
            return self.objects[request.match_info["collection"]][request.match_info["id"]]
        except KeyError:
            raise web.HTTPNotFound(text="no such object") from None

    async def _read(self, request: web.Request) -> web.Response:
        self._client(request)
        return web.json_response(self._found(request))

    async def _update(self, request: web.Request) -> web.Response:
        client, old = self._writer(request), self._found(request)
        return web.json_response(self._put(request, await self._document(request), client, old["id"]))

    async def _delete(self, request: web.Request) -> web.Response:
        self._writer(request)
        old = self._found(request)
        del self.objects[request.match_info["collection"]][old["id"]]
        return web.json_response(old)
