"""The lab's end of the roaming: a platform that is operator, provider and hub, and does wrong where a case wants it.

Requests of the device are answered in threads of a small server; each exchange of both directions is kept for the
judge of the run. What the lab does wrong on purpose is a `Plan`, or a change of what it offers.
"""

import asyncio
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from v2g.errors import OcpiError, TimeoutExpired, TransferError
from v2g.io.http.client import HttpAnswer, request
from v2g.io.http.server import BoundedServer, HttpHandler
from v2g.io.runtime.supervision import new_thread
from v2g.ocpi import wire
from v2g.ocpi.wire import Version
from v2g.rates import retry_after
from v2g.text import printable
from v2g.typed_json import Fields

COUNTRY: Final = "NL"
PARTY: Final = "LAB"
HUB: Final = "LHB"
MOST_BODY: Final = 16 * 1024 * 1024
MOST_KEPT: Final = 100_000
"""Exchanges that are kept of a device, which may flood the lab."""

_ROLES: Final = {"CPO": PARTY, "EMSP": PARTY, "HUB": HUB}
_SENDERS: Final = ("locations", "tariffs", "sessions", "cdrs", "tokens", "hubclientinfo")
_RECEIVERS: Final = (*_SENDERS, "commands", "chargingprofiles")

_ATTEMPTS: Final = 5
_MOST_WAIT_S: Final = 60
"""How often, and how long, the lab waits for a device that limits its requests (429)."""

Wrong = Literal["500", "429", "lost"]


class OcpiBench(msgspec.Struct, frozen=True, kw_only=True):
    """The device: where its versions are, and the token of the first contact. `url` is where it finds the lab; empty:
    where this listens. `seconds`: how long it may take to react where OCPI sets no limit, s."""

    versions_url: str
    token: str
    version: Version = "2.2.1"
    listen: tuple[str, int] = ("127.0.0.1", 0)
    url: str = ""
    bare_token: bool = False
    seconds: float = 10.0


class Exchange(msgspec.Struct, kw_only=True):
    """A request and its answer; `sent`: the lab asked. `path` follows the module of the lab's own URLs."""

    sent: bool
    case: str
    at_s: float
    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: Any = None
    module: str = ""
    role: str = ""
    path: tuple[str, ...] = ()
    status: int = 0
    """HTTP status; 0: there was no answer."""
    answer: Any = None
    answer_headers: Mapping[str, str] = {}
    seconds: float = 0.0
    planned: bool = False
    """Whether the lab asked, or answered, wrongly on purpose."""

    @property
    def code(self) -> int:
        """The status code of OCPI; 0 without one."""
        found = self.answer.get("status_code") if isinstance(self.answer, dict) else None
        return found if isinstance(found, int) else 0

    @property
    def data(self) -> Any:
        """The data of the answer."""
        return self.answer.get("data") if isinstance(self.answer, dict) else None

    @property
    def ok(self) -> bool:
        """Whether the request was granted."""
        return 200 <= self.status < 300 and 1000 <= self.code < 2000

    @property
    def asked(self) -> str:
        """The request in words."""
        return printable(f"{self.method} {self.url}"[:200])

    @property
    def said(self) -> str:
        """The answer in words."""
        if not self.status:
            return f"{self.asked} is not answered"
        code = f" with status_code {self.code}" if self.code else ""
        why = self.answer.get("status_message") if isinstance(self.answer, dict) else None
        return printable(f"{self.method} is answered HTTP {self.status}{code}{f' ({why})' if why else ''}"[:300])


class Plan(msgspec.Struct, kw_only=True):
    """A wrong answer to the next requests at a module."""

    module: str
    wrong: Wrong
    method: str = ""
    times: int = 1
    met: list[Exchange] = []


class _Answer(msgspec.Struct, kw_only=True):
    data: Any = None
    status: int = 200
    code: int = 1000
    headers: dict[str, str] = {}


def moment(seconds: float = 0.0) -> str:
    """Return the time as OCPI writes it, `seconds` from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class SendRequest(Protocol):
    """What sends a request: see `v2g.io.http.client.request`."""

    async def __call__(
        self, method: str, url: str, *, most: int, timeout_s: float, body: bytes | None, headers: Mapping[str, str],
        context: ssl.SSLContext | None,
    ) -> HttpAnswer:  # fmt: skip
        """Return the answer. Raises TransferError."""


class LabPartner:
    """The lab as a partner of the device. Open it before the first case."""

    def __init__(
        self, bench: OcpiBench, tls: ssl.SSLContext | None, context: ssl.SSLContext | None, send: SendRequest = request
    ) -> None:
        """`tls`: the lab's own certificate; `context`: the roots of the device's."""
        self.bench, self._send = bench, send
        self.exchanges: list[Exchange] = []
        self.case = ""
        self.device_token = bench.token
        """The token that the lab uses: A, then C."""
        self.valid: list[str] = []
        """Tokens that the device may use, the newest last."""
        self.registered = False
        self.roles: tuple[str, ...] = ("CPO", "EMSP")
        self.versions: tuple[str, ...] = ("2.1.1", bench.version)
        self.modules_offered = True
        self.endpoints: dict[tuple[str, str], str] = {}
        """The device's modules, by name and role."""
        self.parties: tuple[tuple[str, str], ...] = ()
        """Of the device."""
        self.kept: dict[tuple[str, str], Fields] = {}
        """What the device has pushed, by module and key."""
        self.own: dict[str, list[Fields]] = {}
        """What the lab lists, by module."""
        self.circles = False
        """Whether the links of lists lead in a circle."""
        self.plans: list[Plan] = []
        self._lock = threading.Lock()
        self._context = context
        self._server = BoundedServer(*bench.listen, _handler(self), most_clients=64, tls=tls)
        scheme = "http" if tls is None else "https"
        self.url: Final = (bench.url or f"{scheme}://{bench.listen[0]}:{self._server.server_port}").rstrip("/")
        self._thread = new_thread(partial(self._server.serve_forever, 0.05), name="ocpi lab")

    def open(self) -> None:
        """Listen."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    # -- what the lab asks

    async def ask(
        self, method: str, url: str, body: object = None, *, raw: bytes | None = None, token: str | None = None,
        bare: bool | None = None, planned: bool = False, more: Mapping[str, str] | None = None,
    ) -> Exchange:  # fmt: skip
        """Send a request; `raw` instead of JSON, `more` headers (empty: leave that out). Raises TransferError for an
        unusable URL."""
        number, named = secrets.token_hex(16), self.device_token if token is None else token
        bare = self.bench.bare_token if bare is None else bare
        headers = {"X-Request-ID": number, "X-Correlation-ID": secrets.token_hex(16)}
        if named:
            headers["Authorization"] = wire.authorization(named, bare=bare)
        module = self.module_of(url)
        if module not in ("", "credentials", "hubclientinfo") and self.parties:
            headers |= self.routing(self.parties[0])
        content = raw if raw is not None else None if body is None else wire.encode(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        headers |= dict(more or {})
        begun = time.monotonic()
        made = Exchange(
            sent=True, case=self.case, at_s=begun, method=method, url=url, body=body, module=module, planned=planned,
            headers={name.lower(): value for name, value in headers.items() if value},
        )  # fmt: skip
        try:
            for _ in range(_ATTEMPTS):
                answer = await self._send(
                    method, url, most=MOST_BODY, timeout_s=self.bench.seconds, body=content,
                    headers={name: value for name, value in headers.items() if value}, context=self._context,
                )  # fmt: skip
                if answer.status != 429:
                    break
                asked_s = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
                await asyncio.sleep(1 if asked_s is None else min(asked_s, _MOST_WAIT_S))
        except TransferError as error:
            if error.failure == "refused":
                raise
        else:
            made.status, made.answer_headers = answer.status, answer.headers
            try:
                made.answer = wire.decode(answer.body)
            except OcpiError:
                made.answer = None
        made.seconds = time.monotonic() - begun
        self._keep(made)
        return made

    def routing(self, to: tuple[str, str], sender: tuple[str, str] = (COUNTRY, PARTY)) -> dict[str, str]:
        """Return the headers of a message to a party."""
        return {
            "OCPI-from-country-code": sender[0], "OCPI-from-party-id": sender[1], "OCPI-to-country-code": to[0],
            "OCPI-to-party-id": to[1],
        }  # fmt: skip

    def module_of(self, url: str) -> str:
        """Return the module of the device to which a URL belongs."""
        fitting = [(len(base), module) for (module, _), base in self.endpoints.items() if url.startswith(base)]
        return max(fitting, default=(0, ""))[1]

    def credentials(self, token: str, **changes: object) -> Fields:
        """Return the lab's credentials."""
        roles = [
            {"role": role, "country_code": COUNTRY, "party_id": _ROLES[role], "business_details": {"name": "The lab"}}
            for role in self.roles
        ]
        return {"token": token, "url": f"{self.url}/ocpi/versions", "roles": roles, **changes}

    def new_token(self) -> str:
        """Return a token that the device may use from now on."""
        token = secrets.token_urlsafe(24)
        self.valid.append(token)
        return token

    async def until(self, holds: Callable[[], object], what: str, seconds: float | None = None) -> Any:
        """Wait until something holds; return what it is. Raises TimeoutExpired."""
        limit = self.bench.seconds if seconds is None else seconds
        end = time.monotonic() + limit
        while not (found := holds()):
            if time.monotonic() > end:
                raise TimeoutExpired(what, limit)
            await asyncio.sleep(0.02)
        return found

    def received(self, module: str, method: str = "", since: int = 0) -> list[Exchange]:
        """Return the device's requests at a module from an exchange on."""
        return [
            each for each in self.exchanges[since:]
            if not each.sent and each.module == module and method in ("", each.method)
        ]  # fmt: skip

    # -- what the lab answers

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], raw: bytes
    ) -> tuple[int, bytes, Fields] | None:
        """Answer a request of the device; None: the connection ends without an answer."""
        begun = time.monotonic()
        where = urlsplit(target)
        parts = tuple(unquote(each) for each in where.path.split("/") if each)
        parts = parts[parts.index("ocpi") + 1 :] if "ocpi" in parts else ()
        made = Exchange(
            sent=False, case=self.case, at_s=begun, method=method, url=target, headers=headers,
            module="versions" if len(parts) < 2 and parts[:1] != ("result",) else parts[1],
        )  # fmt: skip
        if parts[:1] == ("result",):
            made.module, made.path = "result", parts[1:]
        elif len(parts) > 2:
            made.role, made.module, made.path = parts[1].upper(), parts[2], parts[3:]
        try:
            made.body = wire.decode(raw) if raw else None
        except OcpiError:
            made.body = ""
        with self._lock:
            plan = next((each for each in self.plans if each.times and each.module == made.module
                         and each.method in ("", method)), None)  # fmt: skip
            if plan is not None:
                plan.times -= 1
                plan.met.append(made)
                made.planned = True
            token = next(iter(wire.tokens_in(headers.get("authorization", ""))), "")
            if token not in self.valid:
                answer = _Answer(status=401, code=2001)
            elif plan is not None and plan.wrong != "lost":
                answer = _wrong(plan.wrong)
            else:
                answer = self._answer(made, parts, wire.query_of(where.query))
            if token in self.valid and made.module != "versions":
                self.valid = self.valid[self.valid.index(token) :]  # the first use of a new token ends the one before
        made.status, made.answer_headers = answer.status, answer.headers
        data = {} if answer.data is None else {"data": answer.data}
        made.answer = {**data, "status_code": answer.code, "timestamp": moment()}
        self._keep(made)
        if plan is not None and plan.wrong == "lost":
            return None
        echoed = {
            name: headers[name.lower()] for name in ("X-Request-ID", "X-Correlation-ID") if name.lower() in headers
        }
        return answer.status, wire.encode(made.answer), {**echoed, **answer.headers}

    def _keep(self, made: Exchange) -> None:
        if len(self.exchanges) < MOST_KEPT:
            self.exchanges.append(made)

    def _answer(self, made: Exchange, parts: tuple[str, ...], query: Mapping[str, str]) -> _Answer:
        base = f"{self.url}/ocpi"
        match parts:
            case ("versions",):
                return _Answer(data=[{"version": each, "url": f"{base}/{each}"} for each in self.versions])
            case (version,) if version == self.bench.version:
                return _Answer(data={"version": version, "endpoints": self._endpoints(f"{base}/{version}")})
            case (_, "credentials") if made.method == "GET":
                return _Answer(data=self.credentials(self.valid[-1]))
            case ("result", *_):
                return _Answer()
            case (_, "sender", module, *path) if module in _SENDERS:
                return self._sender(made, module, tuple(path), query)
            case (_, "receiver", module, *path) if module in _RECEIVERS:
                return self._receiver(made, module, tuple(path))
        return _Answer(status=404, code=2001)

    def _endpoints(self, base: str) -> list[Fields]:
        found = [
            {"identifier": module, "role": role, "url": f"{base}/{role.lower()}/{module}"}
            for role, modules in (("SENDER", _SENDERS), ("RECEIVER", _RECEIVERS))
            for module in modules
        ]
        credentials = [{"identifier": "credentials", "role": "RECEIVER", "url": f"{base}/credentials"}]
        return found + (credentials if self.modules_offered else [])

    def _sender(self, made: Exchange, module: str, path: tuple[str, ...], query: Mapping[str, str]) -> _Answer:
        own = self.own.get(module, [])
        if made.method == "POST" and path[1:] == ("authorize",):
            token = next((each for each in own if each["uid"].lower() == path[0].lower()), None)
            return _Answer(status=404, code=2004) if token is None else _Answer(
                data={"allowed": "ALLOWED", "token": token, "authorization_reference": "lab-ref"}
            )  # fmt: skip
        if made.method != "GET" or path:
            return _Answer(status=404, code=2001)
        asked = wire.list_query(query)
        since_ms = asked.from_ms or 0
        chosen = [each for each in own if wire.read_time(each.get("last_updated", moment())) >= since_ms]
        page = chosen[asked.offset : asked.offset + 1]
        headers = {"X-Total-Count": str(len(chosen)), "X-Limit": "1"}
        url = f"{self.url}/ocpi/{self.bench.version}/sender/{module}"
        if self.circles or asked.offset + 1 < len(chosen):
            following = wire.page_url(url, {}, 0 if self.circles else asked.offset + 1, 1)
            headers["Link"] = f'<{following}>; rel="next"'
        return _Answer(data=page, headers=headers)

    def _receiver(self, made: Exchange, module: str, path: tuple[str, ...]) -> _Answer:
        if module == "cdrs":
            if made.method == "POST" and isinstance(made.body, dict):
                key = str(made.body.get("id")).lower()
                self.kept[module, key] = made.body
                return _Answer(status=201, headers={"Location": f"{self.url}{made.url}/{key}"})
            kept = self.kept.get((module, path[-1].lower())) if path else None
            return _Answer(status=404, code=2001) if kept is None else _Answer(data=kept)
        key = "/".join(path[:3]).lower()
        known = self.kept.get((module, key))
        if made.method == "PUT" and isinstance(made.body, dict) and len(path) == 3:
            self.kept[module, key] = made.body
            return _Answer(status=200 if known else 201)
        if known is None:
            return _Answer(status=404, code=2003 if module == "locations" else 2001)
        if made.method == "PATCH" and isinstance(made.body, dict) and len(path) == 3:
            self.kept[module, key] = {**known, **made.body}
        elif made.method == "DELETE":
            del self.kept[module, key]
        return _Answer(data=known if made.method == "GET" else None)


def _wrong(wrong: Wrong) -> _Answer:
    if wrong == "429":
        return _Answer(status=429, code=2000, headers={"Retry-After": "2"})
    return _Answer(status=500, code=3000)


def _handler(lab: LabPartner) -> type[HttpHandler]:
    class Handler(HttpHandler):
        def do_GET(self) -> None:  # noqa: N802 - a name of http.server
            said = self.headers.get("Content-Length", "0")
            length = int(said) if said.isdecimal() and len(said) < 12 else 0
            raw = self.body.read(min(length, MOST_BODY))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found = lab.answer(self.command, self.path, headers, raw)
            self.close_connection = True
            if found is not None:
                status, body, more = found
                self.answer(status, body, more, "application/json")

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names of http.server

    return Handler
