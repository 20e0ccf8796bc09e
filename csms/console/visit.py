"""One request of a person: pages ask the operations of the API, with the person's role, and show what these answer."""

import base64
import binascii
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, tzinfo
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote

import msgspec
from litestar import Response
from litestar.datastructures import Cookie, UploadFile
from litestar.response import Template

from csms.accounts import store as access
from csms.accounts.rules import Principal
from csms.accounts.work import Users, UserSession
from csms.catalogues import catalogues
from csms.cluster.frames import without_tokens
from csms.console.languages import language_of, point_of
from csms.http.call import AuditContext, Call, encode
from csms.http.operations import Download, Method, Operation, Page, Reply
from csms.http.pipeline import Answer, HttpRequest, RequestPipeline, audit, audited, may_see_tokens
from csms.http.problems import ApiError, describe, details
from csms.http.site_access import carry_out, may_ask, refusal
from csms.services import Services
from v2g import typed_json
from v2g.config import misfit
from v2g.energy.settlement.bundle import LISTED
from v2g.energy.settlement.pieces import zone_of
from v2g.typed_json import Fields

T = TypeVar("T")

ROOT: Final = "/console"
MAX_FORM: Final = 65_536
"""Octets of an ordinary form."""

NOT_ALLOWED: Final = "your role may not do that"

COOKIE: Final = "__Host-v2g-session"
"""With this prefix a browser takes it only from this host, over TLS, for all paths: no neighbour can set it."""

shown_zone: Final[ContextVar[tzinfo]] = ContextVar("shown_zone", default=UTC)
"""The zone of times on the page that is being drawn."""
shown_now_ms: Final[ContextVar[int]] = ContextVar("shown_now_ms", default=0)
"""When it is drawn (UTC ms)."""
shown_point: Final[ContextVar[str]] = ContextVar("shown_point", default=".")
"""Its decimal sign."""

ZONE_COOKIE: Final = "__Host-v2g-zone"

_NOTICE: Final = "__Host-v2g-notice"
_MAX_NOTICE: Final = 1500
_LOCAL: Final = re.compile(r"(?!.*/\.\.)/console(/[\w.~%*=+|@:,-]+)*/?(\?[\w.~%*=+|@:,&-]*)?", re.ASCII)


class DrawnLine(msgspec.Struct, frozen=True):
    """A line of a chart as a page shows it, in the reader's language."""

    label: str
    unit: str
    look: str
    steps: bool
    values: list[float | None]


class DrawnChart(msgspec.Struct, frozen=True):
    """A chart as a page shows it; times in s since 1970. `begins`: how many points stand before these, as before.
    `now`: the point that is now, None: the newest with a value."""

    title: str
    times: list[int]
    lines: list[DrawnLine]
    begins: int = 0
    now: int | None = None


class PageParts(msgspec.Struct):
    """What a page that is drawn for a stream has: the lines of each live part, and its charts, by title."""

    lines: dict[str, list[str]]
    charts: dict[str, DrawnChart]


class PageNotice(msgspec.Struct, frozen=True, array_like=True):
    """What became of an action, shown on the next page. `values`: of fields in braces, if there are any."""

    text: str
    hint: str = ""
    failed: bool = False
    values: dict[str, str] = {}


class Visit:
    """A request of a person who has logged in, or of a stranger (`session` None). `form`: fields of a POST."""

    def __init__(
        self,
        pipeline: RequestPipeline,
        users: Users,
        request: HttpRequest,
        session: UserSession | None,
        form: Mapping[str, str],
    ) -> None:
        self._pipeline = pipeline
        self.users: Final = users
        self.request: Final = request
        self.session: Final = session
        self.form = form
        self.files: Mapping[str, bytes] = {}
        """Uploaded files by name."""
        self.back = ""
        """Where a failed action returns to."""
        self.follows = False
        """Whether the page has a stream of its own: not what a form has answered, nor what strangers may see."""
        self.parts: PageParts | None = None
        """Where a page that is drawn for a stream keeps its parts."""

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.request.client.host if self.request.client else ""

    @property
    def person(self) -> UserSession:
        """Who has logged in, on pages that need a login."""
        assert self.session is not None
        return self.session

    @property
    def services(self) -> Services:
        """The back end."""
        return self._pipeline.backend.services

    @property
    def now_ms(self) -> int:
        """The time, ms since 1970 in UTC."""
        return self._pipeline.backend.services.clock.utc_ms()

    @property
    def zone(self) -> tzinfo:
        """The zone of times and days on pages: the viewer's choice, else that of the back end's days."""
        own = self._pipeline.backend.services.config.accounting_zone
        try:
            return zone_of(self.chosen_zone) if self.chosen_zone else own
        except ValueError:  # a cookie that no browser of ours has made
            return own

    @property
    def chosen_zone(self) -> str:
        """The zone that a viewer has chosen for all pages; "" for the site's."""
        return self.request.cookies.get(ZONE_COOKIE, "")[:64]

    @property
    def zone_name(self) -> str:
        """Its name."""
        return str(self.zone)

    @property
    def site_zone(self) -> str:
        """The name of the zone in which the back end's days begin."""
        return str(self._pipeline.backend.services.config.accounting_zone)

    @property
    def path(self) -> Fields:
        """Parameters of the path, as they were before `segment`."""
        return {name: unquote(value) for name, value in self.request.path_params.items()}

    def asked(self, *names: str) -> dict[str, str]:
        """Return those of these parameters of the query that are not empty."""
        said = self.request.query_params
        return {name: said[name] for name in names if said.get(name)}

    def may(self, operation: Operation) -> bool:
        """Return whether the person may ask an operation."""
        return may_ask(self._principal, operation)

    def opens(self, path: str) -> bool:
        """Return whether the person may see the page that a link, a path below the console's, leads to."""
        names = f"{ROOT}{path.partition('?')[0]}".split("/")
        routes: Mapping[tuple[Method, str], Route] = self.request.route_handler.opt["routes"]
        fit = [each for each in routes.values() if each.method == "GET" and each.fits(names)]
        return bool(fit) and min(fit, key=lambda each: each.path.count("{")).open_to(self.may)

    @property
    def _principal(self) -> Principal | None:
        return None if self.session is None else self.session.principal

    async def ask(self, operation: Operation, body: object = None, /, **parameters: object) -> Any:
        """Return what an operation answers, as JSON values; bytes of other media types. Raises ApiError.

        Permission, validation, audit log and hidden tokens are those of the API.
        """
        return (await self._answer(operation, body, parameters))[0]

    async def find(self, kind: type[T], operation: Operation, body: object = None, /, **parameters: object) -> T:
        """Return what an operation answers, as values of `kind`. Raises ApiError."""
        return typed_json.convert(await self.ask(operation, body, **parameters), kind)

    async def page(self, operation: Operation, /, **parameters: object) -> tuple[list[Any], str]:
        """Return the items of a page of a list, and the cursor of the next one, "" at the end. Raises ApiError."""
        items, following = await self._answer(operation, None, parameters)
        return items, following

    async def every(self, operation: Operation, /, **parameters: object) -> AsyncIterator[Any]:
        """Yield the items of all pages of a list. Raises ApiError."""
        following = ""
        while True:
            more = {"cursor": following} if following else {}
            items, following = await self.page(operation, limit=1000, **parameters, **more)
            for each in items:
                yield each
            if not following:
                return

    async def call(self, operation: Operation, parameters: Mapping[str, object], body: bytes = b"") -> tuple[Call, Any]:
        """Return the call of an operation, and its decoded parameters. Raises ApiError (403, 400)."""
        if not self.may(operation):
            raise refusal(self._principal, operation, NOT_ALLOWED)
        decoded = None
        if operation.parameters is not None:
            try:
                decoded = typed_json.convert(parameters, operation.parameters, strict=False)
            except msgspec.ValidationError as error:
                raise ApiError(400, misfit(error, operation.parameters)) from None
        request = audited(body) if operation.changes and not operation.confidential else None
        path = operation.path.format_map(parameters)
        reads = not operation.changes
        return self._call(operation.name, path, request, only_reads=reads, large=operation.large), decoded

    def _call(
        self, operation: str, path: str, request: str | None = None, *, only_reads: bool = False, large: bool = False
    ) -> Call:
        return Call(
            backend=self._pipeline.backend,
            principal=self._principal,
            operation=operation,
            peer=self.peer,
            path=path,
            headers={},
            request=request,
            only_reads=only_reads,
            large=large,
            audit=AuditContext(),
            identify=self._identify,
        )

    async def stream(self, operation: Operation, parameters: Mapping[str, object]) -> Answer:
        """Return a stream of events as the API does, which ends with the session. Raises ApiError."""
        call, decoded = await self.call(operation, parameters)
        found: Answer = await carry_out(operation, call, decoded, bytes)
        return found

    async def _identify(self) -> Principal | None:
        cookie = self.request.cookies.get(COOKIE)
        session = None if cookie is None else await self.users.session(cookie)
        return None if session is None else session.principal

    async def _answer(self, operation: Operation, body: object, parameters: Mapping[str, object]) -> tuple[Any, str]:
        content = b"" if body is None else encode(body)
        call, decoded = await self.call(operation, parameters, content)
        try:
            found = await carry_out(operation, call, decoded, partial(_decoded, content, operation.body))
        except Exception as error:
            problem = describe(error)
            await audit(operation, call, problem.status, encode(details(problem, call.path)))
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise problem from error
        following = ""
        media_type = operation.media_type
        if isinstance(found, Reply):
            found, media_type = found.content, found.media_type
        if isinstance(found, Page):
            following, found = found.next or "", found.items
        if found is None or isinstance(found, Download):
            await audit(operation, call, operation.status, b"")
            return found, ""
        answer = found if isinstance(found, bytes) else encode(found)
        await audit(operation, call, operation.status, answer)
        if media_type != "application/json":
            return answer, ""
        if not may_see_tokens(operation, self._principal):
            answer = without_tokens(answer.decode()).encode()
        return msgspec.json.decode(answer), following

    async def note(self, operation: str) -> None:
        """Write to the audit log what a person has changed of the own account, which no operation of the API does."""
        call = self._call(operation, f"{ROOT}/account")
        await call.run(access.add_entry, call.entry(200))

    def show(self, template: str, status: int = 200, **context: object) -> Answer:
        """Return a page."""
        notice = self._notice()
        shown_zone.set(self.zone)
        shown_now_ms.set(self.now_ms)
        values = {"visit": self, "session": self.session, "notice": notice, "now_ms": self.now_ms, **context}
        shown_point.set(point_of(self.language))
        page: Answer = Template(f"{self.language}/{template}", context=values, status_code=status)
        if notice is not None:
            page.cookies.append(cookie_of(_NOTICE, "", 0))
        return page

    @property
    def language(self) -> str:
        """The reader's."""
        return language_of(self.request.headers.get("accept-language", ""))

    def said(self, text: str, **values: object) -> str:
        """Return a text of a row in the reader's language, with values for its fields in braces."""
        return catalogues().get(self.language, {}).get(text, text).format_map(values)

    def keep(self, key: str, text: str) -> None:
        """Keep a live part of a page that is drawn for a stream."""
        if self.parts is not None:
            self.parts.lines[key] = str(text).split("\n")

    def keep_chart(self, chart: Mapping[str, object]) -> bool:
        """Keep a chart of a page that is drawn for a stream; return whether the page itself has to have it."""
        if self.parts is None:
            return True
        found = typed_json.convert(chart, DrawnChart)
        self.parts.charts[found.title] = found
        return False

    @property
    def position(self) -> str:
        """The newest event that this page can know."""
        history = self._pipeline.backend.history
        return f"{history.era}-{history.newest}"

    def _notice(self) -> PageNotice | None:
        try:
            octets = base64.b64decode(self.request.cookies.get(_NOTICE, ""), altchars=b"-_", validate=True)
            return typed_json.decode(octets, PageNotice) if octets else None
        except (binascii.Error, ValueError):  # msgspec's error is a ValueError
            return None

    def see(self, path: str, text: str = "", hint: str = "", *, failed: bool = False, **values: object) -> Answer:
        """Return a redirection to a page of the console, on which the notice `text` appears, in the reader's language.

        `values`: what stands for the fields in braces of text and hint.
        """
        cookies = []
        if text:
            given = {name: str(value)[: _MAX_NOTICE // 6] for name, value in values.items()}
            octets = encode(PageNotice(text[: _MAX_NOTICE // 3], hint[: _MAX_NOTICE // 3], failed, given))
            cookies.append(cookie_of(_NOTICE, base64.urlsafe_b64encode(octets).decode(), 60))
        return Response(b"", status_code=303, headers={"Location": path}, cookies=cookies)


def _decoded(body: bytes, kind: object) -> object:
    if kind is bytes:
        return body
    try:
        return typed_json.decode(body, kind)
    except msgspec.DecodeError as error:
        raise ApiError(400, misfit(error, kind)[:300]) from None


def cookie_of(name: str, value: str, max_age: int | None) -> Cookie:
    return Cookie(name, value=value, max_age=max_age, path="/", secure=True, httponly=True, samesite="strict")


def with_session(answer: Answer, cookie: str) -> Answer:
    """Return an answer that begins a session, or ends it ("")."""
    answer.cookies.append(cookie_of(COOKIE, cookie, None if cookie else 0))
    return answer


def segment(text: object) -> str:
    """Return any text as one segment of a path of the console.

    A slash, a percent sign and dots that mean a folder are quoted twice: servers and browsers undo the first time
    before they look at segments. `Visit.path` undoes the second.
    """
    said = str(text).replace("%", "%25").replace("/", "%2F")
    return quote(said.replace(".", "%2E") if said in (".", "..") else said, safe="")


def place(*segments: object) -> str:
    """Return the path of a page of the console."""
    return "/".join((ROOT, *map(segment, segments)))


def local(path: str) -> str:
    """Return a path if it is of the console, else the console's first page: no link leads elsewhere after the login."""
    return path if _LOCAL.fullmatch(path) and len(path) <= 500 else ROOT


def same_origin(request: HttpRequest, configured: str) -> bool:
    """Return whether a page of this host over TLS, or of the `configured` origin, sent the request, by what browsers
    say of it (Fetch Metadata, Origin)."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if origin is None:
        return site == "same-origin"
    here = origin in (f"https://{request.headers.get('host', '-')}", configured)
    return here and site in (None, "same-origin")


def has_token(visit: Visit) -> bool:
    """Return whether a form has the token of this session."""
    said = visit.form.get("csrf", "")
    return visit.session is not None and hmac.compare_digest(said.encode(), visit.session.csrf.encode())


Handler = Callable[[Visit], Awaitable[Answer]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A page (GET) or action (POST). `asks`: the operation without which it makes no sense; None: of all who have
    logged in. `instead`: another with which it makes sense. `public`: without login. `initial`: also before the issued
    password is changed. `most_octets`: of a form."""

    method: Method
    path: str
    handler: Handler
    asks: Operation | None = None
    instead: Operation | None = None
    public: bool = False
    initial: bool = False
    most_octets: int = MAX_FORM

    def open_to(self, may: Callable[[Operation], bool]) -> bool:
        """Return whether it may be seen; `may` tells whether an operation is allowed."""
        return self.asks is None or may(self.asks) or (self.instead is not None and may(self.instead))

    def fits(self, names: Sequence[str]) -> bool:
        """Return whether its path may be one of these segments."""
        own = (ROOT + self.path).split("/")
        return len(own) == len(names) and all(a == b or a.startswith("{") for a, b in zip(own, names, strict=True))


def page(
    path: str,
    asks: Operation | None = None,
    *,
    instead: Operation | None = None,
    public: bool = False,
    initial: bool = False,
) -> Callable[[Handler], Route]:
    """Declare a page."""
    return lambda handler: Route(
        method="GET", path=path, handler=handler, asks=asks, instead=instead, public=public, initial=initial
    )


def action(
    path: str,
    asks: Operation | None = None,
    *,
    public: bool = False,
    initial: bool = False,
    most_octets: int = MAX_FORM,
) -> Callable[[Handler], Route]:
    """Declare an action: a form that is sent."""
    return lambda handler: Route(
        method="POST", path=path, handler=handler, asks=asks, public=public, initial=initial, most_octets=most_octets
    )


_MOST_FILES: Final = len(LISTED) + 3


async def read_files(uploaded: list[UploadFile]) -> dict[str, bytes]:
    """Return uploaded files by name. Raises ApiError for too many."""
    if len(uploaded) > _MOST_FILES:
        raise ApiError(400, f"{len(uploaded)} files", f"a bundle has at most {_MOST_FILES}")
    return {each.filename: await each.read() for each in uploaded if each.filename}
