"""The application of a back end with console: pages below /console, and all else as the API answers it.

Importing it takes a third of a second, so this happens after start-up.
"""

import gzip
import hashlib
import importlib.resources
import logging
from collections import defaultdict
from functools import cache
from http import HTTPStatus
from typing import Final
from urllib.parse import quote
from weakref import WeakValueDictionary

from jinja2 import Environment
from litestar import Response
from litestar.datastructures import UploadFile
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from csms.accounts.work import Users
from csms.backend import Backend
from csms.console import listing, reference
from csms.console.frame import AREAS
from csms.console.live import LIVE, Drawing, changes
from csms.console.present import environment
from csms.console.visit import COOKIE, MAX_FORM, NOT_ALLOWED, ROOT, Route, Visit, has_token, read_files, same_origin
from csms.events import api as events
from csms.features import modules
from csms.http.application import Application
from csms.http.application import application as api_application
from csms.http.authenticator import Authenticator
from csms.http.operations import Method, declared
from csms.http.pipeline import OPTIONS, Answer, HttpRequest, RequestPipeline, options
from csms.http.problems import ApiError, describe, status_of
from csms.http.site_access import refusal
from v2g.observe import Observe, Scalar

ROUTES: Final = tuple(each for module in (*modules("pages"), listing, reference) for each in declared(Route, module))
"""All pages and actions."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: no inline script or style, no frame, nothing of or for other hosts, nothing left in a cache."""

_PACKED: Final = (b"text/html", b"text/css", b"text/javascript", b"text/csv", b"image/svg")

_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "txt": "text/plain"}

_log = logging.getLogger(__name__)


def application(backend: Backend, authenticator: Authenticator) -> ASGIApp:
    """Return the application."""
    api, console = api_application(backend, authenticator), _Console(backend, authenticator)
    pages = _routes()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        moved = {"/": ROOT, reference.REFERENCE: ROOT + reference.REFERENCE}.get(path)
        if path.startswith("/q/"):  # short, for QR codes
            moved = ROOT + scope["raw_path"].decode("ascii", "replace")
        if moved is not None and scope.get("method") in ("GET", "HEAD"):
            await send({"type": "http.response.start", "status": 303, "headers": [(b"location", moved.encode())]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            await api(scope, receive, send)
            return
        scope["state"]["console"] = console
        packed = b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")
        await pages(scope, receive, _packing(send) if packed else send)

    return answer


def _packing(send: Send) -> Send:
    """Return a way of sending that compresses whole texts. An attacker's text beside a secret is none here: a page is
    asked for only by pages of this host (the cookie is strict)."""
    held: list[HTTPResponseStartEvent] = []

    async def pack(message: Message) -> None:
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type", b"").startswith(_PACKED):
                held.append(message)
                return
        elif message["type"] == "http.response.body" and held:
            start = held.pop()
            if not message.get("more_body"):
                message["body"] = gzip.compress(message["body"], 5, mtime=0)
                headers = [each for each in start["headers"] if each[0] != b"content-length"]
                headers += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
                start["headers"] = [*headers, (b"content-length", b"%d" % len(message["body"]))]
            await send(start)
        await send(message)

    return pack


@cache
def _routes() -> Application:
    """Return the router of pages; the console in the request's scope answers."""
    templates = _templates()
    alike: defaultdict[tuple[Method, int], list[str]] = defaultdict(list)
    for each in ROUTES:
        alike[each.method, each.most_octets].append(ROOT + each.path.replace("}", ":str}"))
    return Application(
        route_handlers=[
            *(
                HTTPRouteHandler(paths, http_method=[method, OPTIONS], status_code=200, request_max_body_size=octets)(
                    _answer
                )
                for (method, octets), paths in alike.items()
            ),
            HTTPRouteHandler(f"{ROOT}/static/{{name:str}}", http_method="GET", status_code=200)(_static),
        ],
        opt={"routes": {(each.method, ROOT + each.path): each for each in ROUTES}},
        exception_handlers={Exception: _failed},
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(templates)),
        request_max_body_size=MAX_FORM,
        openapi_config=None,
        logging_config=None,
    )


@cache
def _templates() -> Environment:
    templates = environment()
    routes = {each.handler.__name__: each for each in ROUTES}
    paths = {name: each.path for name, each in routes.items()}
    templates.globals |= {"root": ROOT, "asset": _url, "routes": routes, "paths": paths, "AREAS": AREAS}
    return templates


async def _answer(request: HttpRequest) -> Answer:
    routes, path = request.route_handler.opt["routes"], request.scope["path_template"]
    if request.method == OPTIONS:
        return options(routes, path)
    return _guarded(await _console_of(request).answer(routes[request.method, path], request))


async def _static(request: HttpRequest) -> Response[bytes]:
    name = request.path_params["name"]
    found = _assets().get(name)
    if found is None:
        raise HTTPException(status_code=404, detail="no such file")
    headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


def _login(there: str) -> str:
    """Return the address of the login that leads on to a page of the console."""
    return f"{ROOT}/login?next={quote(there)}" if there not in ("", ROOT) else f"{ROOT}/login"


def _url(name: str) -> str:
    return f"{ROOT}/static/{name}?{hashlib.sha256(_assets()[name]).hexdigest()[:12]}"


def _failed(request: HttpRequest, error: Exception) -> Answer:
    """Answer what no route could: an unknown page, a body that is too large."""
    return _guarded(_console_of(request).failed(request, error))


def _console_of(request: HttpRequest) -> "_Console":
    found: _Console = request.scope["state"]["console"]
    return found


class _Console:
    def __init__(self, backend: Backend, authenticator: Authenticator) -> None:
        self._pipeline = RequestPipeline(backend, authenticator)
        self._users = Users(backend.services)
        self._drawings: WeakValueDictionary[tuple[object, ...], Drawing] = WeakValueDictionary()

    async def answer(self, route: Route, request: HttpRequest) -> Answer:
        """Answer a request for a page or action; what fails becomes a page."""
        cookie = request.cookies.get(COOKIE)
        session = None if cookie is None else await self._users.session(cookie)
        transport = request.scope["state"].get("transport")
        if session is not None and transport is not None:
            request.scope["state"]["leave"](transport)  # no longer counted as unauthenticated
        visit = Visit(self._pipeline, self._users, request, session, {})
        try:
            self._pipeline.throttle(None if session is None else session.principal, visit.peer)
            if route.method == "POST":
                if not same_origin(request, self._pipeline.backend.services.config.api.origin):
                    raise ApiError(403, "this form was not sent by a page of the console", "open the page again")
                if not route.public and session is None:
                    here = f"//{request.headers.get('host', '-')}"
                    sender = request.headers.get("referer", "").partition(here)[2]
                    return visit.see(
                        _login(sender), "Your login has ended. Log in, and send the form again.", failed=True
                    )
                # the fields of a form, each once, and its files
                found = await request.form()
                fields = {name: value for name, value in found.items() if isinstance(value, str) and "\0" not in value}
                visit.form, visit.files = (
                    fields,
                    await read_files([each for each in found.getall("files", []) if isinstance(each, UploadFile)]),
                )
            if not route.public:
                if session is None:
                    query = f"?{request.url.query}" if request.url.query else ""
                    return visit.see(_login(request.scope["raw_path"].decode() + query))
                if route.method == "POST" and not has_token(visit):
                    raise ApiError(403, "this form is of another session", "open the page again")
                if session.initial and not route.initial:
                    return visit.see(f"{ROOT}/account", "Choose a password of your own first.")
                if route.asks is not None and not route.open_to(visit.may):
                    data: dict[str, Scalar] = {
                        "operation": route.asks.permission.value,
                        "by": session.name,
                        "peer": visit.peer,
                    }
                    self._pipeline.backend.services.observe(Observe("ocpp", "http_refused", data))
                    raise refusal(session.principal, route.asks, NOT_ALLOWED)
            after = request.headers.get("last-event-id") or request.query_params.get(LIVE)
            visit.follows = route.method == "GET" and not route.public
            if after is not None and visit.follows:
                call, _ = await visit.call(events.stream_events, {})
                made = changes(
                    lambda: Visit(self._pipeline, self._users, request, session, {}),
                    route.handler,
                    _templates(),
                    self._pipeline.backend.history,
                    after,
                    self._drawing(visit),
                )
                return events.stream_of(call, made)
            return await route.handler(visit)
        except Exception as error:  # noqa: BLE001  each becomes a page
            return self._problem(visit, error)

    def _drawing(self, visit: Visit) -> Drawing:
        """Return what tabs share: of one login with its present rights, address, language and zone."""
        query = sorted((name, value) for name, value in visit.request.query_params.items() if name != LIVE)
        language = visit.request.headers.get("accept-language", "")[:200]
        person = visit.person
        key = (person.csrf, person.principal, visit.request.url.path, *query, language, visit.chosen_zone)
        return self._drawings.setdefault(key, Drawing(self._pipeline.backend.services.clock.monotonic))

    def _problem(self, visit: Visit, error: Exception) -> Answer:
        problem = ApiError(status_of(error), error.detail) if isinstance(error, HTTPException) else describe(error)
        if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("%s %s", visit.request.method, visit.request.url.path, exc_info=error)
        if visit.back and problem.status != HTTPStatus.FORBIDDEN:
            return visit.see(visit.back, problem.detail, problem.hint, failed=True)
        visit.follows = False
        title = HTTPStatus(problem.status).phrase
        detail = "There is no such page." if problem.detail == HTTPStatus.NOT_FOUND.phrase else problem.detail
        page = visit.show("problem.html", problem.status, title=title, detail=detail, hint=problem.hint)
        page.headers |= problem.headers
        return page

    def failed(self, request: HttpRequest, error: Exception) -> Answer:
        """Return the page about an error."""
        return self._problem(Visit(self._pipeline, self._users, request, None, {}), error)


def _guarded(answer: Answer) -> Answer:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


@cache
def _assets() -> dict[str, bytes]:
    """Return all files that pages load, by name."""
    folder = importlib.resources.files("csms.console") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES}
